//! The disk as the folder sees it.

use std::{collections::BTreeSet, io};

use super::{
    disk::{state_path, temp_dir},
    rails::Space,
};
use crate::{
    store::row::Stat,
    tree::{Folds, RelPath},
};

/// What stands at a path; links are never followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: FoundKind,
    /// What it looks like.
    pub stat: Stat,
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundKind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A pipe, socket or device.
    Other,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name, or what can be shown of it where it is not UTF-8.
    pub name: Result<String, String>,
    /// What it is.
    pub found: Found,
}

/// What went wrong on the disk, as far as the folder tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing stands there.
    NotFound,
    /// Something stands there already.
    Exists,
    /// A directory that should be empty is not.
    NotEmpty,
    /// No right to it.
    Denied,
    /// The disk is full.
    NoSpace,
    /// Anything else.
    Other,
}

/// An operation on the disk failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}")]
pub struct FsError {
    /// What was to be done.
    pub operation: &'static str,
    /// To what.
    pub path: RelPath,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl FsError {
    /// What went wrong, as far as the folder tells apart.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self.source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Fault::NotFound,
            io::ErrorKind::AlreadyExists => Fault::Exists,
            io::ErrorKind::DirectoryNotEmpty => Fault::NotEmpty,
            io::ErrorKind::PermissionDenied => Fault::Denied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::NoSpace,
            _ => Fault::Other,
        }
    }

    /// The reason, for people.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("{self}: {}", self.source)
    }
}

/// A file that is open for reading.
pub trait FileRead: io::Read + Send {
    /// What the open file looks like now, wherever it is.
    ///
    /// # Errors
    /// When the disk fails.
    fn stat(&self) -> io::Result<Stat>;
}

/// A file that is being made. Its bytes last once they are flushed.
pub trait FileWrite: io::Write + Send {
    /// Makes the bytes last.
    ///
    /// # Errors
    /// When the disk fails.
    fn flush_to_disk(&mut self) -> io::Result<()>;
}

/// Finds out what a disk does not tell apart in names: makes a file and looks for it under others.
///
/// # Errors
/// When the disk fails.
pub fn find_folds(fs: &dyn Fs) -> Result<Folds, FsError> {
    let named = |name: &str| temp_dir().join(name);
    let file = named("folds-\u{e9}");
    let clear = || match fs.remove_file(&file) {
        Err(error) if error.fault() == Fault::NotFound => Ok(()),
        result => result,
    };
    clear()?;
    fs.write_new(&file, b"", false)?;
    let looks = [named("FOLDS-\u{e9}"), named("folds-e\u{301}")].map(|other| fs.look(&other));
    clear()?;
    let [case, form] = looks;
    Ok(Folds { case: case?.is_some(), form: form?.is_some() })
}

/// A directory tree. Paths are relative to its root; no operation leaves it or follows a link in any component.
pub trait Fs: Send + Sync + std::fmt::Debug {
    /// Looks at a path.
    ///
    /// # Errors
    /// When the disk fails; that nothing is there is no error.
    fn look(&self, path: &RelPath) -> Result<Option<Found>, FsError>;
    /// Lists a directory.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    fn list(&self, dir: &RelPath) -> Result<Vec<Listed>, FsError>;
    /// Opens a regular file.
    ///
    /// # Errors
    /// When it is not there, is none, or cannot be read.
    fn open(&self, path: &RelPath) -> Result<Box<dyn FileRead>, FsError>;
    /// Reads the text of a link.
    ///
    /// # Errors
    /// When it is none.
    fn read_link(&self, path: &RelPath) -> Result<String, FsError>;
    /// Makes a directory.
    ///
    /// # Errors
    /// When something stands there.
    fn make_dir(&self, path: &RelPath) -> Result<(), FsError>;
    /// Makes a link.
    ///
    /// # Errors
    /// When something stands there.
    fn make_link(&self, path: &RelPath, target: &str) -> Result<(), FsError>;
    /// Makes a new file of these bytes and flushes it if asked; with the permissions of `like` where that exists.
    ///
    /// # Errors
    /// When something stands there or the disk fails.
    fn write_new(&self, path: &RelPath, bytes: &[u8], flush: bool) -> Result<(), FsError>;
    /// Opens a temporary file to write from its beginning; makes it where it is not there, and empties it where it is.
    ///
    /// # Errors
    /// When the disk fails.
    fn create(&self, path: &RelPath) -> Result<Box<dyn FileWrite>, FsError>;
    /// Sets or clears the executable bits, otherwise as `like` has its permissions; makes what that changed last if asked.
    ///
    /// # Errors
    /// When the disk fails.
    fn set_mode(&self, path: &RelPath, exec: bool, like: Option<&RelPath>, flush: bool) -> Result<(), FsError>;
    /// Sets when a file was last written, in nanoseconds since 1970; its user's programs see it, nothing of ours decides by it.
    ///
    /// # Errors
    /// When it is not there or the disk fails.
    fn set_mtime(&self, path: &RelPath, mtime_ns: i64) -> Result<(), FsError>;
    /// Renames to a path where nothing stands.
    ///
    /// # Errors
    /// [`Fault::Exists`] when something does.
    fn rename_new(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError>;
    /// Swaps two paths in one step.
    ///
    /// # Errors
    /// When one of them is not there.
    fn exchange(&self, a: &RelPath, b: &RelPath) -> Result<(), FsError>;
    /// Removes a file or link.
    ///
    /// # Errors
    /// When it is not there.
    fn remove_file(&self, path: &RelPath) -> Result<(), FsError>;
    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Fault::NotEmpty`] when it is not.
    fn remove_dir(&self, path: &RelPath) -> Result<(), FsError>;
    /// Makes the bytes of a file last that another program wrote. Where a file system cannot, it has nothing to lose.
    ///
    /// # Errors
    /// When the file is not there or the disk fails.
    fn flush_file(&self, path: &RelPath) -> Result<(), FsError>;
    /// Makes what was renamed in a directory last.
    ///
    /// # Errors
    /// When the disk fails.
    fn flush_dir(&self, dir: &RelPath) -> Result<(), FsError>;
    /// Makes everything on this file system last.
    ///
    /// # Errors
    /// When the disk fails.
    fn flush_all(&self) -> Result<(), FsError>;
    /// Device number and inode of what stands at the root's place now, or `None` when nothing does.
    ///
    /// # Errors
    /// When the disk fails.
    fn root_identity(&self) -> io::Result<Option<(u64, u64)>>;
    /// Room on the file system.
    ///
    /// # Errors
    /// When the disk does not say.
    fn space(&self) -> io::Result<Space>;
    /// Files that programs have open for writing now, as far as the system tells. Where it tells nothing, none.
    fn open_for_writing(&self) -> BTreeSet<RelPath>;
    /// What the disk does not tell apart in names, as [`find_folds`] finds it in our own directory, which must be there.
    ///
    /// # Errors
    /// When the disk fails.
    fn folds(&self) -> Result<Folds, FsError>;
    /// Takes the directory for this process, and says whether it has it: no other process then gets it.
    fn claim(&self) -> bool;
    /// Makes our own directory in the root, and the one for temporary files in it, where they are not there.
    ///
    /// # Errors
    /// When the disk fails.
    fn make_state_dirs(&self) -> Result<(), FsError> {
        for path in [state_path(), temp_dir()] {
            if self.look(&path)?.is_none() {
                self.make_dir(&path)?;
            }
        }
        Ok(())
    }
}
