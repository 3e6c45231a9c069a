//! The real disk: every operation relative to a handle of the root, no link followed in any component.
//!
//! The directory of a path is opened with `openat2` and `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, so that a component
//! that somebody swaps for a link between two operations makes the second fail instead of leaving the folder. `remote` knows
//! file systems that tell of nothing.

mod remote;
mod stat;
mod writers;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags},
    io::Errno,
};

pub use remote::is_remote;
use stat::{WANTED, found, written_at};

use super::{
    fs::{FileRead, FileWrite, Found, Fs, FsError, Listed, find_folds},
    rails::Space,
};
use crate::{
    store::row::Stat,
    tree::{Folds, RelPath, STATE_DIR},
};

/// Mode of new files and directories, less what the umask takes.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
const DIR_MODE: Mode = Mode::from_raw_mode(0o777);

/// The directory that a disk works in, and which one that is.
#[derive(Debug)]
struct Root {
    dir: Arc<OwnedFd>,
    /// Device number, inode, and the mount that it was reached by: a disk that was unplugged and comes back is another
    /// mount, and the handle into the old one is good for nothing.
    identity: (u64, u64, u64),
}

impl Root {
    /// Opens what stands at a path; `None` when no directory does.
    fn at(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let dir = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let looked = rustix::fs::statx(&dir, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::MNT_ID)?;
        let device = rustix::fs::makedev(looked.stx_dev_major, looked.stx_dev_minor);
        Ok(Some(Self { dir: Arc::new(dir), identity: (device, looked.stx_ino, looked.stx_mnt_id) }))
    }
}

/// A directory on disk.
#[derive(Debug)]
pub struct Disk {
    root: Mutex<Option<Root>>,
    path: PathBuf,
    /// Holds the lock on the directory as long as it is open.
    claim: Mutex<Option<OwnedFd>>,
}

impl Disk {
    /// Opens a directory as the root.
    ///
    /// # Errors
    /// When it is not there or is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        let disk = Self::awaited(path);
        match disk.find_root()? {
            Some(_) => Ok(disk),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// A root that need not be there yet: nothing is found in it until [`Fs::root_identity`] was asked when it was.
    #[must_use]
    pub fn awaited(path: &Path) -> Self {
        Self { root: Mutex::default(), path: path.to_owned(), claim: Mutex::default() }
    }

    /// Gives up what [`Fs::claim`] took.
    pub fn release(&self) {
        *locked(&self.claim) = None;
    }

    /// Looks at what stands at the root's place now, and goes on in that one if it is another one than before.
    fn find_root(&self) -> io::Result<Option<(u64, u64)>> {
        let found = Root::at(&self.path)?;
        let Some(found) = found else { return Ok(None) };
        let (device, inode, _) = found.identity;
        let is_other = locked(&self.root).as_ref().is_none_or(|root| root.identity != found.identity);
        if is_other {
            *locked(&self.root) = Some(found);
            // The lock was of the other one.
            self.release();
        }
        Ok(Some((device, inode)))
    }

    fn root(&self) -> io::Result<Arc<OwnedFd>> {
        let root = locked(&self.root);
        root.as_ref().map(|root| Arc::clone(&root.dir)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Where the root is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device number and inode of what stands at a path now, or `None` when nothing does.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn identity_of(path: &Path) -> io::Result<Option<(u64, u64)>> {
        match rustix::fs::stat(path) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a regular file to read at any place.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn open_file(&self, path: &RelPath) -> io::Result<File> {
        let (dir, name) = path.split().ok_or(io::ErrorKind::InvalidInput)?;
        open_regular(&self.dir(&dir)?, name)
    }

    /// Opens a regular file to read and write at any place, and makes it where it is not there.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open_or_create(&self, path: &RelPath) -> io::Result<File> {
        let (dir, name) = path.split().ok_or(io::ErrorKind::InvalidInput)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        regular(rustix::fs::openat(self.dir(&dir)?, name, flags, FILE_MODE)?)
    }

    fn dir(&self, path: &RelPath) -> io::Result<OwnedFd> {
        let root = self.root()?;
        if path.is_root() {
            return Ok(rustix::fs::openat(&root, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
        }
        Ok(rustix::fs::openat2(
            &root,
            path.components().join("/"),
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )?)
    }

    /// Runs an operation on the last component, in a handle of its directory.
    fn at<T>(
        &self,
        operation: &'static str,
        path: &RelPath,
        run: impl FnOnce(&OwnedFd, &str) -> io::Result<T>,
    ) -> Result<T, FsError> {
        let result = match path.split() {
            Some((dir, name)) => self.dir(&dir).and_then(|dir| run(&dir, name)),
            None => Err(io::ErrorKind::InvalidInput.into()),
        };
        result.map_err(|source| FsError { operation, path: path.clone(), source })
    }

    fn at_two(&self, operation: &'static str, from: &RelPath, to: &RelPath, flags: RenameFlags) -> Result<(), FsError> {
        self.at(operation, from, |from_dir, from_name| {
            let (to_dir, to_name) = to.split().ok_or(io::ErrorKind::InvalidInput)?;
            let to_dir = self.dir(&to_dir)?;
            Ok(rustix::fs::renameat_with(from_dir, from_name, &to_dir, to_name, flags)?)
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a regular file to read. Its type is looked at first, since to open a device can already do something; and again
/// once it is open, since another one may have taken its place. A pipe without a writer is not waited for.
fn open_regular(dir: &OwnedFd, name: &str) -> io::Result<File> {
    let looked = rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)?;
    check_regular(u32::from(looked.stx_mode))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    regular(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

/// What is open, if it is a regular file.
fn regular(file: OwnedFd) -> io::Result<File> {
    check_regular(rustix::fs::fstat(&file)?.st_mode)?;
    Ok(File::from(file))
}

fn check_regular(mode: u32) -> io::Result<()> {
    if FileType::from_raw_mode(mode) == FileType::RegularFile {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

/// The path of our own directory in a folder.
#[must_use]
pub fn state_path() -> RelPath {
    RelPath::root().join(STATE_DIR)
}

/// The directory of files that are being made.
#[must_use]
pub fn temp_dir() -> RelPath {
    state_path().join("tmp")
}

struct DiskFile(File);

impl Read for DiskFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl FileRead for DiskFile {
    fn stat(&self) -> io::Result<Stat> {
        Ok(found(&rustix::fs::statx(self.0.as_fd(), "", AtFlags::EMPTY_PATH, WANTED)?).stat)
    }
}

impl Write for DiskFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl FileWrite for DiskFile {
    fn flush_to_disk(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl Fs for Disk {
    fn look(&self, path: &RelPath) -> Result<Option<Found>, FsError> {
        let looked = self.at("look at", path, |dir, name| {
            Ok(found(&rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, WANTED)?))
        });
        match looked {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.fault() == super::Fault::NotFound => Ok(None),
            // A component became a link: what we knew is not there any more.
            Err(error) if error.source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &RelPath) -> Result<Vec<Listed>, FsError> {
        let list = || -> io::Result<Vec<Listed>> {
            let dir = self.dir(path)?;
            let mut entries = Vec::new();
            for entry in rustix::fs::Dir::read_from(&dir)? {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_bytes() == b"." || name.to_bytes() == b".." {
                    continue;
                }
                match rustix::fs::statx(&dir, name, AtFlags::SYMLINK_NOFOLLOW, WANTED) {
                    Ok(statx) => entries.push(Listed {
                        name: name.to_str().map(ToOwned::to_owned).map_err(|_| name.to_string_lossy().into_owned()),
                        found: found(&statx),
                    }),
                    // Gone between the two calls.
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(entries)
        };
        list().map_err(|source| FsError { operation: "list", path: path.clone(), source })
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn FileRead>, FsError> {
        self.at("open", path, |dir, name| Ok(Box::new(DiskFile(open_regular(dir, name)?)) as Box<dyn FileRead>))
    }

    fn read_link(&self, path: &RelPath) -> Result<String, FsError> {
        self.at("read the link", path, |dir, name| {
            let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
            target.into_string().map_err(|_| io::ErrorKind::InvalidData.into())
        })
    }

    fn make_dir(&self, path: &RelPath) -> Result<(), FsError> {
        self.at("make the directory", path, |dir, name| Ok(rustix::fs::mkdirat(dir, name, DIR_MODE)?))
    }

    fn make_link(&self, path: &RelPath, target: &str) -> Result<(), FsError> {
        self.at("make the link", path, |dir, name| Ok(rustix::fs::symlinkat(target, dir, name)?))
    }

    fn write_new(&self, path: &RelPath, bytes: &[u8], flush: bool) -> Result<(), FsError> {
        self.at("write", path, |dir, name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(dir, name, flags, FILE_MODE)?);
            file.write_all(bytes)?;
            if flush {
                file.sync_all()?;
            }
            Ok(())
        })
    }

    fn create(&self, path: &RelPath) -> Result<Box<dyn FileWrite>, FsError> {
        self.at("write", path, |dir, name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(dir, name, flags | OFlags::NONBLOCK, FILE_MODE)?;
            Ok(Box::new(DiskFile(regular(file)?)) as Box<dyn FileWrite>)
        })
    }

    fn set_mode(&self, path: &RelPath, exec: bool, like: Option<&RelPath>, flush: bool) -> Result<(), FsError> {
        let mode_of = |path: &RelPath| {
            self.at("look at", path, |dir, name| {
                let statx = rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MODE)?;
                Ok(u32::from(statx.stx_mode) & 0o777)
            })
        };
        let own = mode_of(path)?;
        let mode = match like {
            Some(like) => mode_of(like)?,
            None => own,
        };
        // Whoever may read may execute, as a shell's umask has it.
        let mode = if exec { mode | ((mode & 0o444) >> 2) } else { mode & !0o111 };
        if mode == own {
            return Ok(());
        }
        self.at("set the permissions of", path, |dir, name| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            if flush {
                rustix::fs::fsync(&file)?;
            }
            Ok(())
        })
    }

    fn set_mtime(&self, path: &RelPath, mtime_ns: i64) -> Result<(), FsError> {
        self.at("set the time of", path, |dir, name| {
            Ok(rustix::fs::utimensat(dir, name, &written_at(mtime_ns), AtFlags::SYMLINK_NOFOLLOW)?)
        })
    }

    fn rename_new(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        self.at_two("rename", from, to, RenameFlags::NOREPLACE)
    }

    fn exchange(&self, a: &RelPath, b: &RelPath) -> Result<(), FsError> {
        self.at_two("exchange", a, b, RenameFlags::EXCHANGE)
    }

    fn remove_file(&self, path: &RelPath) -> Result<(), FsError> {
        self.at("remove", path, |dir, name| Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?))
    }

    fn remove_dir(&self, path: &RelPath) -> Result<(), FsError> {
        self.at("remove the directory", path, |dir, name| Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?))
    }

    fn flush_file(&self, path: &RelPath) -> Result<(), FsError> {
        let flush = || match rustix::fs::fsync(self.open_file(path)?) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::ROFS) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        };
        flush().map_err(|source| FsError { operation: "flush", path: path.clone(), source })
    }

    fn flush_dir(&self, dir: &RelPath) -> Result<(), FsError> {
        let flush = || -> io::Result<()> { Ok(rustix::fs::fsync(self.dir(dir)?)?) };
        flush().map_err(|source| FsError { operation: "flush", path: dir.clone(), source })
    }

    fn flush_all(&self) -> Result<(), FsError> {
        let flush = || -> io::Result<()> { Ok(rustix::fs::syncfs(self.dir(&RelPath::root())?)?) };
        flush().map_err(|source| FsError { operation: "flush", path: RelPath::root(), source })
    }

    fn root_identity(&self) -> io::Result<Option<(u64, u64)>> {
        self.find_root()
    }

    fn space(&self) -> io::Result<Space> {
        let held = rustix::fs::fstatvfs(self.root()?)?;
        // What the system keeps for the administrator is not free to us.
        let bytes = |blocks: u64| blocks.saturating_mul(held.f_frsize);
        Ok(Space { free: bytes(held.f_bavail), total: bytes(held.f_blocks) })
    }

    fn open_for_writing(&self) -> BTreeSet<RelPath> {
        self.root().map(|root| writers::open_below(&root)).unwrap_or_default()
    }

    fn folds(&self) -> Result<Folds, FsError> {
        find_folds(self)
    }

    fn claim(&self) -> bool {
        let mut claim = locked(&self.claim);
        if claim.is_some() {
            return true;
        }
        // A lock is of an open file, and the handle of the root is none. It ends with the process, however that ends.
        let lock = || {
            let root = self.root().map_err(|_not_there| Errno::NOENT)?;
            let dir = rustix::fs::openat(&root, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive)?;
            Ok(dir)
        };
        match lock() {
            Ok(dir) => {
                *claim = Some(dir);
                true
            }
            Err(Errno::WOULDBLOCK) => false,
            // A file system without locks keeps nobody out.
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Fault;

    fn disk() -> (tempfile::TempDir, Disk) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = Disk::open(dir.path()).expect("opens");
        (dir, disk)
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).expect("a path of a test")
    }

    #[test]
    fn a_link_in_a_component_is_never_followed() {
        let (outside, _) = disk();
        let (dir, disk) = disk();
        std::fs::write(outside.path().join("secret"), "x").expect("writes");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("d")).expect("links");
        assert!(disk.write_new(&path("d/new"), b"y", false).is_err());
        assert!(disk.open(&path("d/secret")).is_err());
        assert!(disk.remove_file(&path("d/secret")).is_err());
        assert_eq!(disk.look(&path("d/secret")).expect("looks"), None);
        assert!(!outside.path().join("new").exists());
    }

    #[test]
    fn a_rename_to_a_taken_name_is_refused_and_an_exchange_swaps() {
        let (dir, disk) = disk();
        disk.write_new(&path("a"), b"a", false).expect("writes");
        disk.write_new(&path("b"), b"b", true).expect("writes");
        let error = disk.rename_new(&path("a"), &path("b")).expect_err("b is taken");
        assert_eq!(error.fault(), Fault::Exists);
        disk.exchange(&path("a"), &path("b")).expect("swaps");
        assert_eq!(std::fs::read(dir.path().join("a")).expect("reads"), b"b");
    }

    #[test]
    fn the_executable_bit_follows_the_right_to_read() {
        let (_dir, disk) = disk();
        disk.write_new(&path("a"), b"", false).expect("writes");
        disk.set_mode(&path("a"), true, None, true).expect("sets");
        assert!(disk.look(&path("a")).expect("looks").expect("is there").stat.exec);
        disk.set_mode(&path("a"), false, None, false).expect("sets");
        assert!(!disk.look(&path("a")).expect("looks").expect("is there").stat.exec);
    }

    #[test]
    fn a_file_has_the_time_that_it_is_given() {
        let (_dir, disk) = disk();
        disk.write_new(&path("a"), b"a", false).expect("writes");
        for mtime_ns in [1_700_000_000_123_456_789, 0, -1, -2_000_000_000_000_000_000] {
            disk.set_mtime(&path("a"), mtime_ns).expect("sets");
            assert_eq!(disk.look(&path("a")).expect("looks").expect("is there").stat.mtime_ns, mtime_ns);
        }
        assert_eq!(disk.set_mtime(&path("b"), 0).expect_err("is not there").fault(), Fault::NotFound);
    }

    #[test]
    fn a_file_that_is_made_again_starts_empty() {
        let (dir, disk) = disk();
        for bytes in [&b"a longer text"[..], b"short"] {
            let mut file = disk.create(&path("t")).expect("makes");
            file.write_all(bytes).expect("writes");
            file.flush_to_disk().expect("flushes");
        }
        assert_eq!(std::fs::read(dir.path().join("t")).expect("reads"), b"short");
    }

    #[test]
    fn the_root_is_what_stands_at_its_path() {
        let (outer, _) = disk();
        let inner = outer.path().join("folder");
        std::fs::create_dir(&inner).expect("makes");
        let disk = Disk::open(&inner).expect("opens");
        let was = disk.root_identity().expect("looks");
        assert_eq!(was, Disk::identity_of(&inner).expect("looks"));
        assert!(was.is_some());
        std::fs::rename(&inner, outer.path().join("elsewhere")).expect("renames");
        assert_eq!(disk.root_identity().expect("looks"), None);
    }

    #[test]
    fn a_root_that_is_awaited_is_empty_until_it_is_found_there() {
        let (outer, _) = disk();
        let inner = outer.path().join("folder");
        let disk = Disk::awaited(&inner);
        assert_eq!(disk.root_identity().expect("looks"), None);
        assert_eq!(disk.look(&path("f")).expect("looks"), None);
        assert_eq!(disk.list(&RelPath::root()).expect_err("nothing to list").fault(), Fault::NotFound);
        std::fs::create_dir(&inner).expect("makes");
        std::fs::write(inner.join("f"), "x").expect("writes");
        assert_eq!(disk.look(&path("f")).expect("looks"), None, "nobody has asked whether it is there");
        assert_eq!(disk.root_identity().expect("looks"), Disk::identity_of(&inner).expect("looks"));
        assert!(disk.look(&path("f")).expect("looks").is_some());
        assert!(disk.claim());
        // Another one in its place is worked in once somebody asked which one is there, and has to be claimed anew.
        std::fs::rename(&inner, outer.path().join("elsewhere")).expect("renames");
        std::fs::create_dir(&inner).expect("makes");
        assert!(disk.look(&path("f")).expect("looks").is_some());
        assert_eq!(disk.root_identity().expect("looks"), Disk::identity_of(&inner).expect("looks"));
        assert_eq!(disk.look(&path("f")).expect("looks"), None);
        let other = Disk::open(&outer.path().join("elsewhere")).expect("opens");
        assert!(other.claim(), "nobody holds the old one any more");
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened_and_not_waited_for() {
        let (dir, disk) = disk();
        let made = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().expect("mkfifo runs");
        assert!(made.success());
        std::fs::create_dir(dir.path().join("d")).expect("makes");
        for name in ["pipe", "d"] {
            assert!(disk.open(&path(name)).is_err(), "{name}");
            assert!(disk.open_file(&path(name)).is_err(), "{name}");
            assert!(disk.open_or_create(&path(name)).is_err(), "{name}");
            assert!(disk.create(&path(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_directory_is_claimed_once() {
        let (dir, one) = disk();
        let other = Disk::open(dir.path()).expect("opens");
        assert!(one.claim());
        assert!(one.claim(), "again by the same");
        assert!(!other.claim());
        one.release();
        assert!(other.claim());
        assert!(!one.claim());
        drop(other);
        assert!(one.claim());
    }

    #[test]
    fn a_listing_shows_names_that_are_not_text() {
        use std::os::unix::ffi::OsStrExt as _;
        let (dir, disk) = disk();
        std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff")), "").expect("writes");
        let listed = disk.list(&RelPath::root()).expect("lists");
        assert!(matches!(&listed[..], [Listed { name: Err(_), .. }]));
    }
}
