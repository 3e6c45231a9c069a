//! Carries actions out on disk, each checked against the base at the last moment.
//!
//! A write happens in steps that the host interleaves with turns of the engine: [`Applier::prepare`] makes a temporary
//! file, the host makes the intent durable, [`Applier::commit`] puts the file in place and looks at what came out. Bytes
//! that the base did not know are a local edit that nobody had seen: they go back where they were, and the path is
//! dirty. What is displaced or deleted and rests in no history is handed to the [`Keeper`].

mod displaced;
mod out_of_the_way;
mod replace;

use std::collections::BTreeMap;

pub(crate) use replace::temp_of;

use super::{
    Base, Fault, Found, FoundKind, Fs, FsError,
    disk::temp_dir,
    observe::{is_touched, kind_of},
};
use crate::{
    doc::entry::Kind,
    ids::{ChangeHash, ContentHash, DocId},
    limits,
    probe::{self, Plant, planted},
    store::row::{BaseRow, Intent, Stat},
    tree::{Place, RelPath},
};

/// Keeps files that are about to leave the folder and rest in no history.
pub trait Keeper {
    /// Takes the file over, from where it is in the folder. `was` is where people knew it, `hash` that of its bytes as far
    /// as it is known.
    ///
    /// # Errors
    /// When it cannot; the file stays where it is then.
    fn keep(&mut self, file: &RelPath, was: &RelPath, hash: Option<ContentHash>) -> std::io::Result<()>;

    /// Opens a file that was kept and held a content then; whoever reads it checks what it holds. A keeper that gives
    /// nothing back has none.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self, _content: &ContentHash) -> std::io::Result<Option<Box<dyn std::io::Read + Send>>> {
        Ok(None)
    }
}

/// What became of an action.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied {
    /// Done; the base is to have this row.
    Done(DocId, Option<Box<BaseRow>>),
    /// A directory that is no more stays, for what is in it, and is nobody's: the base is to have no row.
    Left(DocId),
    /// The disk is not as the base has it: look there first.
    Dirty(RelPath),
    /// It cannot be done here.
    Problem(RelPath, String),
}

/// Bytes for a path, waiting in a temporary file.
#[derive(Debug)]
pub struct Prepared {
    doc: DocId,
    place: Place,
    temp: RelPath,
    kind: Kind,
    exec: bool,
    heads: Vec<ChangeHash>,
    hash: ContentHash,
}

/// What a file or link is to hold.
#[derive(Debug)]
pub enum Bytes {
    /// These bytes.
    Memory(Vec<u8>),
    /// What is in this temporary file already.
    Temp(RelPath),
    /// This link text.
    Link(String),
}

/// Names of entries that were moved aside: so a restart can put them back.
pub(super) const ASIDE: &str = "aside-";
/// Names of entries that are about to be deleted.
pub(super) const DELETED: &str = "deleted-";
/// Names of files that take the place of others at the user's word.
pub(super) const RESTORED: &str = "restored-";
/// Names of files that are about to be put in place, and of what they displaced.
pub(super) const NEW: &str = "new-";

/// Entries that are out of the way of others, and where.
pub type Aside = BTreeMap<DocId, RelPath>;

/// Applies actions to one folder.
pub struct Applier<'a> {
    pub(super) fs: &'a dyn Fs,
    /// The base, kept up to date as actions are done, so that paths are where things are now.
    pub(super) base: &'a mut Base,
    pub(super) aside: &'a mut Aside,
    pub(super) keeper: &'a mut dyn Keeper,
}

impl std::fmt::Debug for Applier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Applier")
    }
}

impl<'a> Applier<'a> {
    /// Applies to this disk.
    #[must_use]
    pub fn new(fs: &'a dyn Fs, base: &'a mut Base, keeper: &'a mut dyn Keeper, aside: &'a mut Aside) -> Self {
        Self { fs, base, aside, keeper }
    }

    /// Where an entry is now: it, or a directory that it is in, may be aside.
    #[must_use]
    pub fn path(&self, doc: &DocId) -> Option<RelPath> {
        let mut below = Vec::new();
        let mut next = Some(*doc);
        let top = loop {
            let Some(doc) = next else { break RelPath::root() };
            if let Some(temp) = self.aside.get(&doc) {
                break temp.clone();
            }
            let row = self.base.row(&doc)?;
            below.push(&row.name);
            next = row.parent;
            if below.len() > limits::TREE_DEPTH_MAX + 1 {
                return None;
            }
        };
        Some(below.into_iter().rev().fold(top, |path, name| path.join(name)))
    }

    fn target(&self, place: &Place) -> Option<RelPath> {
        let dir = place.parent.map_or_else(|| Some(RelPath::root()), |dir| self.path(&dir))?;
        Some(dir.join(&place.name))
    }

    /// Whether the base has another entry at a place. A plan has moved it out of the way; if it is there all the same, the
    /// disk must be looked at: its user may have taken it away in the meantime, and it must not be forgotten.
    fn is_taken(&self, doc: &DocId, place: &Place) -> bool {
        self.base.namesakes(place.parent, &place.name).iter().any(|there| there != doc)
    }

    fn done(&mut self, doc: DocId, row: Option<BaseRow>) -> Applied {
        self.base.set(doc, row.clone());
        Applied::Done(doc, row.map(Box::new))
    }

    /// Makes a directory.
    pub fn make_dir(&mut self, doc: DocId, place: &Place, heads: Vec<ChangeHash>) -> Option<Applied> {
        let target = self.target(place)?;
        if self.is_taken(&doc, place) {
            return Some(Applied::Dirty(target));
        }
        if let Err(error) = self.fs.make_dir(&target) {
            return Some(failed(target, &error));
        }
        probe::reach("write.dir-made");
        let stat = match self.fs.look(&target) {
            Ok(Some(found)) if found.kind == FoundKind::Dir => found.stat,
            _ => return Some(Applied::Dirty(target)),
        };
        let row = row(Kind::Dir, place, heads, ContentHash([0; 32]), stat);
        Some(self.done(doc, Some(row)))
    }

    /// The row of an entry that is about to move, to be made durable before it does: after a crash it is known where it
    /// went.
    pub fn intend_move(&mut self, doc: DocId, place: &Place) -> Option<BaseRow> {
        let mut row = self.base.row(&doc)?.clone();
        let place = (place.parent, place.name.clone());
        row.intent = Some(Intent { heads: row.heads.clone(), hash: row.hash, place });
        self.base.set(doc, Some(row.clone()));
        Some(row)
    }

    /// Moves an entry with everything in it.
    pub fn move_to(&mut self, doc: DocId, place: &Place) -> Option<Applied> {
        let from = self.path(&doc)?;
        let to = self.target(place)?;
        let mut row = self.base.on_disk(&doc)?.0.clone();
        if self.is_taken(&doc, place) {
            return Some(Applied::Dirty(to));
        }
        let before = match self.fs.look(&from) {
            Ok(Some(found)) if kind_of(found.kind) == Some(row.kind) => found,
            Ok(_) => return Some(Applied::Dirty(from)),
            Err(error) => return Some(failed(from, &error)),
        };
        probe::reach("write.before-move");
        if let Err(error) = self.fs.rename_new(&from, &to) {
            return Some(failed(to, &error));
        }
        probe::reach("write.after-move");
        self.aside.remove(&doc);
        self.base.bring_back(&doc);
        row.parent = place.parent;
        row.name.clone_from(&place.name);
        row.intent = None;
        self.renamed(&mut row, Some(&before), &to);
        Some(self.done(doc, Some(row)))
    }

    /// Removes an entry that is no more.
    pub fn delete(&mut self, doc: DocId, in_history: bool) -> Option<Applied> {
        let path = self.path(&doc)?;
        let row = self.base.row(&doc)?.clone();
        if self.base.children(Some(doc)).next().is_some() {
            // What is in it could not go where it belongs: without this row nobody would find it again.
            return None;
        }
        let removed = match self.fs.look(&path) {
            Ok(None) => Ok(()),
            Ok(Some(found)) if kind_of(found.kind) != Some(row.kind) => return Some(Applied::Dirty(path)),
            Ok(Some(found)) if row.kind == Kind::Dir => {
                if !row.stat.is_some_and(|stat| stat.same_file(&found.stat)) {
                    return Some(Applied::Dirty(path));
                }
                self.fs.remove_dir(&path)
            }
            Ok(Some(found)) => {
                if is_touched(&row, &found) {
                    return Some(Applied::Dirty(path));
                }
                self.remove_checked(doc, &path, &row, in_history)
            }
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => {
                self.aside.remove(&doc);
                Some(self.done(doc, None))
            }
            // What a user put there shows where people look, and is seen.
            Err(error) if error.fault() == Fault::NotEmpty && self.aside.contains_key(&doc) => {
                Some(Applied::Dirty(path))
            }
            Err(error) if error.fault() == Fault::NotEmpty => {
                // Ignored or unsynced files are in it.
                self.base.set(doc, None);
                Some(Applied::Left(doc))
            }
            Err(error) => Some(failed(path, &error)),
        }
    }

    /// Takes a file out of sight, looks at what that was, and only then lets it go.
    fn remove_checked(&mut self, doc: DocId, path: &RelPath, row: &BaseRow, in_history: bool) -> Result<(), FsError> {
        let temp = temp_dir().join(&format!("{DELETED}{doc}"));
        self.fs.rename_new(path, &temp)?;
        probe::reach("delete.hidden");
        let as_known =
            self.fs.look(&temp)?.is_some_and(|found| row.stat.is_some_and(|stat| stat.same_content(&found.stat)));
        if !as_known {
            self.fs.rename_new(&temp, path)?;
            let source = std::io::Error::other("it changed while it was to be deleted");
            return Err(FsError { operation: "delete", path: path.clone(), source });
        }
        if in_history || row.kind == Kind::Link || planted(Plant::KeepNothing) {
            return self.fs.remove_file(&temp);
        }
        // One that went aside before is kept under the name that people know.
        let was = self.base.path_of(&doc).unwrap_or_else(|| path.clone());
        if let Err(source) = self.keeper.keep(&temp, &was, Some(row.hash)) {
            self.fs.rename_new(&temp, path)?;
            return Err(FsError { operation: "keep a copy of", path: path.clone(), source });
        }
        Ok(())
    }

    /// Sets or clears the executable bit of a file in its place, if the disk is as the base has it. Returns its look then, in
    /// which an edit that nobody saw still shows.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn set_exec(&mut self, doc: DocId, exec: bool) -> Result<Stat, Applied> {
        let not_there = || Applied::Problem(RelPath::root(), "the entry is not on this disk".into());
        let path = self.path(&doc).ok_or_else(not_there)?;
        let (row, stat) = self.base.on_disk(&doc).ok_or_else(not_there)?;
        let looked = |fs: &dyn Fs| fs.look(&path).map_err(|error| failed(path.clone(), &error));
        if looked(self.fs)?.is_none_or(|found| is_touched(row, &found)) {
            return Err(Applied::Dirty(path));
        }
        self.fs.set_mode(&path, exec, None, true).map_err(|error| failed(path.clone(), &error))?;
        Ok(match looked(self.fs)? {
            // A bit that could not be set must not read as one that the user cleared.
            Some(Found { stat: now, .. }) if stat.same_content(&now) => {
                Stat { ctime_ns: now.ctime_ns, exec: now.exec, ..stat }
            }
            _ => Stat { exec, ..stat },
        })
    }

    /// Makes the temporary file of a write, if the disk is as the base has it. The host then makes the row's intent
    /// durable and calls [`commit`](Self::commit).
    ///
    /// # Errors
    /// What stands in the way.
    pub fn prepare(
        &mut self,
        doc: DocId,
        place: &Place,
        bytes: Bytes,
        want: Want,
        flush: bool,
    ) -> Result<(Prepared, BaseRow), Applied> {
        let Some(target) = self.target(place) else {
            return Err(Applied::Problem(RelPath::root().join(&place.name), "its directory is not there".into()));
        };
        let on_disk = self.base.on_disk(&doc).map(|(row, _)| row.clone());
        let found = self.fs.look(&target).map_err(|error| failed(target.clone(), &error))?;
        let as_known = match (&found, &on_disk) {
            _ if self.is_taken(&doc, place) => false,
            (None, None) => true,
            (Some(found), Some(row)) => kind_of(found.kind) == Some(row.kind) && !is_touched(row, found),
            _ => false,
        };
        if !as_known {
            // An entry that could not be moved to its place stands where it is known to be, or does not.
            let elsewhere = on_disk.is_some_and(|row| (row.parent, &row.name) != (place.parent, &place.name));
            let known = self.base.path_of(&doc).filter(|_| elsewhere && found.is_none());
            return Err(Applied::Dirty(known.unwrap_or(target)));
        }
        let kind = if matches!(bytes, Bytes::Link(_)) { Kind::Link } else { Kind::File };
        probe::reach("write.before-temp");
        let temp = self.make_temp(&doc, bytes, flush).map_err(|error| failed(target.clone(), &error))?;
        if kind == Kind::File && (want.exec || found.is_some()) {
            let like = found.is_some().then_some(&target);
            self.fs.set_mode(&temp, want.exec, like, flush).map_err(|error| failed(target.clone(), &error))?;
        }
        if kind == Kind::File
            && let Some(mtime_ns) = want.mtime_ns
        {
            match self.fs.set_mtime(&temp, mtime_ns) {
                Err(error) if error.fault() == Fault::NotFound => return Err(failed(target, &error)),
                // A disk that keeps no times, or of which all files are another user's, gets the file all the same.
                Err(_) | Ok(()) => {}
            }
        }
        probe::reach("write.after-temp");
        let intent = Intent { heads: want.heads.clone(), hash: want.hash, place: (place.parent, place.name.clone()) };
        let row = match on_disk {
            Some(row) if planted(Plant::ForgetIntent) => row,
            Some(row) => BaseRow { intent: Some(intent), ..row },
            None => BaseRow {
                kind,
                parent: place.parent,
                name: place.name.clone(),
                heads: Vec::new(),
                hash: ContentHash([0; 32]),
                stat: None,
                intent: Some(intent),
                racy: false,
            },
        };
        self.base.set(doc, Some(row.clone()));
        let prepared =
            Prepared { doc, place: place.clone(), temp, kind, exec: want.exec, heads: want.heads, hash: want.hash };
        Ok((prepared, row))
    }

    fn make_temp(&self, doc: &DocId, bytes: Bytes, flush: bool) -> Result<RelPath, FsError> {
        let temp = temp_dir().join(&format!("{NEW}{doc}"));
        match bytes {
            Bytes::Temp(ready) => {
                // What comes out of an exchange must not pass for a download.
                self.clear(&temp)?;
                self.fs.rename_new(&ready, &temp)?;
            }
            Bytes::Memory(bytes) => {
                self.clear(&temp)?;
                self.fs.write_new(&temp, &bytes, flush)?;
            }
            Bytes::Link(target) => {
                self.clear(&temp)?;
                self.fs.make_link(&temp, &target)?;
            }
        }
        Ok(temp)
    }

    /// A temporary file of a write that did not happen is in the way of the next.
    fn clear(&self, temp: &RelPath) -> Result<(), FsError> {
        match self.fs.remove_file(temp) {
            Err(error) if error.fault() != Fault::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts a prepared file in place and checks what came out.
    pub fn commit(&mut self, prepared: Prepared, in_history: bool) -> Applied {
        let Prepared { doc, place, temp, kind, exec, heads, hash } = prepared;
        let Some(target) = self.target(&place) else {
            return Applied::Problem(RelPath::root().join(&place.name), "its directory is not there".into());
        };
        let ours = match self.fs.look(&temp) {
            Ok(Some(found)) => found.stat,
            _ => return Applied::Dirty(target),
        };
        let old = self.base.on_disk(&doc).map(|(row, _)| row.clone());
        probe::reach(if old.is_none() { "write.before-rename" } else { "write.before-exchange" });
        // Others of the batch were made ready since this was looked at, and an exchange hides when its bytes last changed.
        let is_known = |row: &BaseRow| {
            let found = self.fs.look(&target).ok().flatten();
            found.is_some_and(|found| !is_touched(row, &found))
        };
        if old.as_ref().is_some_and(|row| !planted(Plant::WriteWithoutCheck) && !is_known(row)) {
            let _left_for_the_sweep = self.fs.remove_file(&temp);
            return Applied::Dirty(target);
        }
        let swapped = match &old {
            None => self.fs.rename_new(&temp, &target),
            Some(_) => self.fs.exchange(&temp, &target),
        };
        probe::reach(if old.is_none() { "write.after-rename" } else { "write.after-exchange" });
        if let Err(error) = swapped {
            let _left_for_the_sweep = self.fs.remove_file(&temp);
            return failed(target, &error);
        }
        if let Some(row) = &old
            && let Err(applied) = self.let_go(&temp, &target, row, &ours, in_history)
        {
            return applied;
        }
        probe::reach("write.after-verify");
        let Ok(Some(Found { stat, .. })) = self.fs.look(&target) else {
            return Applied::Dirty(target);
        };
        // Somebody may have written to the file since it is in place: the base has it as it was before.
        let stat = if ours.same_content(&stat) { stat } else { ours };
        let mut new = row(kind, &place, heads, hash, stat);
        // A bit that could not be set must not read as one that the user cleared. And where stamps are coarse, a save right
        // after this one may look like it: the next scan reads it.
        new.racy = kind == Kind::File && (stat.exec != exec || stat.step_ns() > limits::RACY_NS);
        self.done(doc, Some(new))
    }
}

/// What a write is of.
#[derive(Debug, Clone)]
pub struct Want {
    /// Heads whose content it is.
    pub heads: Vec<ChangeHash>,
    /// Hash of the bytes.
    pub hash: ContentHash,
    /// Executable or not.
    pub exec: bool,
    /// When its user last wrote it, as far as that is known.
    pub mtime_ns: Option<i64>,
}

fn row(kind: Kind, place: &Place, heads: Vec<ChangeHash>, hash: ContentHash, stat: Stat) -> BaseRow {
    BaseRow {
        kind,
        parent: place.parent,
        name: place.name.clone(),
        heads,
        hash,
        stat: Some(stat),
        intent: None,
        racy: false,
    }
}

/// Something unexpected stands there, or is not there: look first. Anything else is for people.
fn failed(path: RelPath, error: &FsError) -> Applied {
    match error.fault() {
        Fault::Exists | Fault::NotFound => Applied::Dirty(path),
        _ => Applied::Problem(path, error.reason()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::disk::Disk;

    struct NoKeeper;

    impl Keeper for NoKeeper {
        fn keep(&mut self, _: &RelPath, _: &RelPath, _: Option<ContentHash>) -> std::io::Result<()> {
            Err(std::io::Error::other("everything here rests in history"))
        }
    }

    fn place(parent: Option<u8>, name: &str) -> Place {
        Place { parent: parent.map(doc), name: name.into() }
    }

    fn doc(id: u8) -> DocId {
        DocId([id; 32])
    }

    fn write(applier: &mut Applier<'_>, id: u8, place: &Place, bytes: &[u8]) {
        let want = Want { heads: vec![], hash: ContentHash::of(bytes), exec: false, mtime_ns: None };
        let prepared = applier.prepare(doc(id), place, Bytes::Memory(bytes.to_vec()), want, false);
        let (prepared, _) = prepared.expect("nothing stands there");
        assert!(matches!(applier.commit(prepared, true), Applied::Done(..)));
    }

    #[test]
    fn a_bit_that_is_set_hides_no_edit() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = Disk::open(dir.path()).expect("opens");
        disk.make_state_dirs().expect("makes");
        let (mut base, mut keeper, mut aside) = (Base::default(), NoKeeper, Aside::default());
        let mut applier = Applier::new(&disk, &mut base, &mut keeper, &mut aside);
        write(&mut applier, 1, &place(None, "f"), b"as it was");
        let stat = applier.set_exec(doc(1), true).expect("nobody wrote to it");
        let found = disk.look(&RelPath::root().join("f")).expect("looks").expect("is there");
        assert!(stat.exec && stat == found.stat);
        std::fs::write(dir.path().join("f"), b"edited").expect("writes");
        assert_eq!(applier.set_exec(doc(1), false), Err(Applied::Dirty(RelPath::root().join("f"))));
        assert_eq!(applier.base.on_disk(&doc(1)).map(|(_, stat)| stat.size), Some(9));
    }

    #[test]
    fn what_is_in_a_directory_that_went_aside_is_deleted_there_and_not_where_it_was() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = Disk::open(dir.path()).expect("opens");
        disk.make_state_dirs().expect("makes");
        let (mut base, mut keeper, mut aside) = (Base::default(), NoKeeper, Aside::default());
        let mut applier = Applier::new(&disk, &mut base, &mut keeper, &mut aside);
        let done = |applied: Option<Applied>| assert!(matches!(applied, Some(Applied::Done(..))), "{applied:?}");
        done(applier.make_dir(doc(1), &place(None, "d"), vec![]));
        write(&mut applier, 2, &place(Some(1), "a"), b"old");
        assert_eq!(applier.put_aside(doc(1)), None);
        assert_eq!(applier.put_aside(doc(1)), None, "it is there already");
        done(applier.make_dir(doc(3), &place(None, "d"), vec![]));
        write(&mut applier, 4, &place(Some(3), "a"), b"new");
        assert_eq!(applier.delete(doc(1), true), None, "something of ours is in it");
        done(applier.delete(doc(2), true));
        done(applier.delete(doc(1), true));
        assert_eq!(std::fs::read(dir.path().join("d/a")).expect("reads"), b"new");
        assert_eq!(disk.list(&temp_dir()).expect("lists"), []);
    }
}
