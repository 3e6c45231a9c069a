//! What a folder would do with a directory that has files already, before it is bound to a space: which are only here, only
//! in the space, the same in both, and which differ. Reads, and changes nothing.
//!
//! What becomes of them is the folder's: it unites both sides, and where they differ both versions stay.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Base, FoundKind, Fs, FsError, Ignored,
    ingest::{LoadError, load},
    observe::{Appeared, Looks, Observer, kind_of},
};
use crate::{
    doc::entry::{Content, Entry, Kind},
    history::{HistoryError, Library, past::Past},
    ids::{ContentHash, DocId},
    limits,
    tree::{RelPath, check_link},
};

/// Files and links of a directory and of a space that meet for the first time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Union {
    /// Only in the directory.
    pub only_here: Vec<RelPath>,
    /// Only in the space.
    pub only_there: Vec<RelPath>,
    /// The same in both.
    pub same: Vec<RelPath>,
    /// Other bytes, or another kind, or the executable bit on one side only.
    pub different: Vec<RelPath>,
    /// In both, and not compared: too much is to be read, or it cannot be read.
    pub uncompared: Vec<RelPath>,
}

/// A union cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UniteError {
    /// The directory cannot be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The space cannot.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Compares a disk that no folder has with the tree of a space; without a disk, one that is empty. At most so many bytes
/// of files are read; `wall_ns` is the time.
///
/// # Errors
/// When the directory or the store cannot be read.
pub fn unite(
    fs: Option<&dyn Fs>,
    library: &mut Library,
    tree: &Past,
    mut bytes_max: u64,
    wall_ns: i64,
) -> Result<Union, UniteError> {
    let (mut here, ignored, problems) = fs.map(look).transpose()?.unwrap_or_default();
    let is_problem = |path: &RelPath| problems.iter().any(|problem| problem.contains(path));
    let mut union = Union::default();
    let mut there = BTreeMap::new();
    for (doc, _) in tree.view().places() {
        if let Some((path, entry)) = tree.view().path_of(doc).zip(tree.entry(doc)) {
            there.insert(path, (*doc, entry));
        }
    }
    for (path, (doc, entry)) in there {
        // What is ignored here stops at the border, whatever the space has.
        if ignored.covers(&path, entry.kind == Kind::Dir) {
            continue;
        }
        let list = match fs.zip(here.remove(&path)) {
            None if entry.kind == Kind::Dir => continue,
            None if is_problem(&path) => &mut union.uncompared,
            None => &mut union.only_there,
            Some((_, FoundKind::Dir)) if entry.kind == Kind::Dir => continue,
            Some((_, found)) if kind_of(found) != Some(entry.kind) => &mut union.different,
            Some((fs, FoundKind::Link)) => match fs.read_link(&path) {
                Ok(target) if entry.target.as_ref() == Some(&target) => &mut union.same,
                _ => &mut union.different,
            },
            Some((fs, _)) => match compare(fs, library, &path, (&doc, entry), &mut bytes_max, wall_ns)? {
                Some(true) => &mut union.same,
                Some(false) => &mut union.different,
                None => &mut union.uncompared,
            },
        };
        list.push(path);
    }
    union.only_here = here.into_iter().filter(|(_, found)| *found != FoundKind::Dir).map(|(path, _)| path).collect();
    Ok(union)
}

/// What is in a directory, the rules of its ignore files, and where something cannot be synced.
type Look = (BTreeMap<RelPath, FoundKind>, Ignored, Vec<RelPath>);

/// What a folder would see in the directory, by its rules, and these.
fn look(fs: &dyn Fs) -> Result<Look, UniteError> {
    let (base, mut ignored) = (Base::default(), Ignored::default());
    let mut looks = look_once(fs, &base, &ignored)?;
    // Rules are read where nothing ignores them, so each look has those of a level more. Where a look more than there are
    // levels still finds new ones, somebody is writing them.
    for _ in 0..limits::TREE_DEPTH_MAX {
        let mut changed = false;
        for dir in &looks.ignore_files {
            changed |= ignored.load(fs, dir);
        }
        if !changed {
            break;
        }
        looks = look_once(fs, &base, &ignored)?;
    }
    let mut here = BTreeMap::new();
    for (_, appeared) in looks.appeared {
        gather(&mut here, &RelPath::root(), appeared);
    }
    // A link that leads out stays here, as a problem of the folder.
    let leads_out = |path: &RelPath| fs.read_link(path).is_ok_and(|target| check_link(path, &target).is_err());
    here.retain(|path, found| *found != FoundKind::Link || !leads_out(path));
    Ok((here, ignored, looks.problems.into_iter().map(|problem| problem.path).collect()))
}

fn look_once(fs: &dyn Fs, base: &Base, ignored: &Ignored) -> Result<Looks, UniteError> {
    let mut observer = Observer::new(fs, base, ignored, BTreeSet::new());
    observer.directory(None, &RelPath::root())?;
    Ok(observer.finish())
}

fn gather(here: &mut BTreeMap<RelPath, FoundKind>, dir: &RelPath, appeared: Appeared) {
    let path = dir.join(&appeared.name);
    for child in appeared.children {
        gather(here, &path, child);
    }
    here.insert(path, appeared.found.kind);
}

/// Whether a file here is what the space has; `None` when that is not known.
fn compare(
    fs: &dyn Fs,
    library: &mut Library,
    path: &RelPath,
    (doc, entry): (&DocId, &Entry),
    bytes_max: &mut u64,
    wall_ns: i64,
) -> Result<Option<bool>, UniteError> {
    // One that is gone again, or cannot be looked at, is none of these.
    let Ok(Some(found)) = fs.look(path) else { return Ok(None) };
    let (hash, len) = match &entry.content {
        Some(Content::Inline(bytes)) => (ContentHash::of(bytes), bytes.len() as u64),
        Some(Content::Reference(content)) => (content.hash, content.len),
        Some(Content::Text) => {
            let row = library.row(doc).map_err(HistoryError::from)?;
            let Some(row) = row else { return Ok(None) };
            let Some(text) = library.text(doc, &row)? else { return Ok(None) };
            (ContentHash::of(text.as_bytes()), text.len() as u64)
        }
        None => return Ok(None),
    };
    if found.stat.size != len || found.stat.exec != entry.exec {
        return Ok(Some(false));
    }
    let Some(left) = bytes_max.checked_sub(len) else { return Ok(None) };
    *bytes_max = left;
    match load(fs, path, wall_ns) {
        Ok(loaded) => Ok(Some(loaded.hash == hash)),
        // One that is being written, or that nobody may read, is none of these; the folder will say so.
        Err(LoadError::Moving | LoadError::Fs(_)) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doc::entry::RootSpec, folder::disk::Disk, history::testing::Writer};

    fn texts(paths: &[RelPath]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    /// A space and a directory that share some files.
    fn both() -> (tempfile::TempDir, Writer) {
        let mut writer = Writer::new();
        let space = writer.space;
        let sub = writer.make(&RootSpec::dir(space, None, "sub")).doc;
        for (parent, name, text) in [
            (None, "same", "text"),
            (None, "other", "theirs"),
            (None, "longer", "theirs, and longer"),
            (None, "there", "text"),
            (Some(sub), "deep", "text"),
            (Some(sub), "script", "text"),
            (None, "cache", "text"),
            (None, "kind", "text"),
        ] {
            writer.file(parent, name, text);
        }
        for (name, target) in [("link", "same"), ("other-link", "same")] {
            writer.make(&RootSpec::link(space, None, name, target));
        }
        // An edited text, which is not inline any more.
        let mut edited = writer.file(None, "edited", "one\ntwo\n");
        writer.save(&mut edited, "one\n2\n");

        let dir = tempfile::tempdir().expect("temporary directory");
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("writes");
        for name in ["sub", "sub/only", "kind", "ignored"] {
            std::fs::create_dir(dir.path().join(name)).expect("makes");
        }
        for (name, text) in [
            ("same", "text"),
            ("other", "mine !"),
            ("longer", "mine"),
            ("here", "text"),
            ("edited", "one\n2\n"),
            ("sub/deep", "text"),
            ("sub/script", "text"),
            ("sub/only/here", "text"),
            ("cache", "mine"),
            (".kithignore", "cache\n"),
            ("ignored/.kithignore", "x\n"),
            ("ignored/x", "mine"),
        ] {
            put(name, text);
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path().join("sub/script"), mode).expect("sets");
        std::os::unix::net::UnixListener::bind(dir.path().join("there")).expect("binds");
        for (name, target) in [("link", "same"), ("other-link", "other"), ("out", "/etc")] {
            std::os::unix::fs::symlink(target, dir.path().join(name)).expect("makes");
        }
        (dir, writer)
    }

    fn united(dir: &tempfile::TempDir, writer: &Writer, bytes_max: u64) -> Union {
        let mut library = writer.library();
        let tree = Past::now(&mut library).expect("reads");
        let disk = Disk::open(dir.path()).expect("opens");
        unite(Some(&disk), &mut library, &tree, bytes_max, 0).expect("compares")
    }

    #[test]
    fn two_sides_that_meet_are_told_apart_file_by_file() {
        let (dir, writer) = both();
        let before = Disk::open(dir.path()).expect("opens").list(&RelPath::root()).expect("lists");
        let union = united(&dir, &writer, u64::MAX);
        assert_eq!(texts(&union.only_here), [".kithignore", "here", "ignored/.kithignore", "sub/only/here"]);
        assert_eq!(texts(&union.only_there), Vec::<String>::new());
        assert_eq!(texts(&union.same), ["edited", "link", "same", "sub/deep"]);
        assert_eq!(texts(&union.different), ["kind", "longer", "other", "other-link", "sub/script"]);
        assert_eq!(texts(&union.uncompared), ["there"], "a socket stands there");
        let after = Disk::open(dir.path()).expect("opens").list(&RelPath::root()).expect("lists");
        assert_eq!(before, after, "nothing was made");
    }

    #[test]
    fn a_directory_that_is_not_there_gets_everything() {
        let (_dir, writer) = both();
        let mut library = writer.library();
        let tree = Past::now(&mut library).expect("reads");
        let union = unite(None, &mut library, &tree, 0, 0).expect("compares");
        assert_eq!(union.only_there.len(), 11);
        assert_eq!(union, Union { only_there: union.only_there.clone(), ..Union::default() });
    }

    #[test]
    fn contents_are_compared_up_to_a_bound() {
        let (dir, writer) = both();
        let all = united(&dir, &writer, 6 + 6 + 4 + 4);
        assert_eq!((all.same.len(), all.uncompared.len()), (4, 1));
        let fewer = united(&dir, &writer, 6 + 6 + 4 + 3);
        assert_eq!((fewer.same.len(), texts(&fewer.uncompared)), (3, vec!["sub/deep".to_owned(), "there".to_owned()]));
    }
}
