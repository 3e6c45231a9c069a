//! After a crash: what was under way is known for what it is, and undone or kept, before anybody looks for what the user
//! did. A file that we moved must not read as one that the user moved, nor one that we put aside as one that is gone.
//!
//! What is noted before it is done makes that possible: the [`Intent`] of a row says where its entry was to go, and with
//! which bytes; names of temporary files say whose they are. Nothing of a user's is removed here: what displaced it may
//! have come before anybody could look at it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    Fault, Found, FoundKind, FsError,
    apply::{ASIDE, Applier, DELETED, NEW, RESTORED},
    disk::temp_dir,
    ingest::DOWNLOAD,
    observe::kind_of,
};
use crate::{
    doc::entry::Kind,
    ids::{ContentHash, DocId},
    limits,
    store::row::{BaseRow, Intent, Stat},
    tree::RelPath,
};

/// Rows of the base that became others.
pub type Noted = BTreeMap<DocId, Option<Box<BaseRow>>>;

impl Applier<'_> {
    /// Puts back what was aside, takes note of what was moved, and removes what was being made. Gives the rows that
    /// became others.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn recover(&mut self) -> Result<Noted, FsError> {
        let mut noted = Noted::new();
        self.adopt_moves(&mut noted)?;
        let mut hidden = Vec::new();
        for listed in self.fs.list(&temp_dir())? {
            let Ok(name) = listed.name else { continue };
            let temp = temp_dir().join(&name);
            let of = |prefix: &str| name.strip_prefix(prefix).and_then(|id| id.parse::<DocId>().ok());
            let is_based = |doc: &DocId| self.base.on_disk(doc).is_some();
            match (of(ASIDE).or_else(|| of(DELETED)).filter(is_based), of(NEW).filter(is_based)) {
                (Some(doc), _) => hidden.push((doc, temp, listed.found)),
                (None, Some(doc)) => self.recover_new(doc, &temp, &listed.found)?,
                // Unfinished downloads are taken up again where they were cut.
                (None, None) if name.starts_with(DOWNLOAD) => {}
                (None, None) if listed.found.kind == FoundKind::Dir => {}
                // It gave way to an older version at the user's word, or is that.
                (None, None) if name.starts_with(RESTORED) => {
                    let was = of(RESTORED).and_then(|doc| self.base.path_of(&doc));
                    self.keep(&temp, was.as_ref().unwrap_or(&temp))?;
                }
                (None, None) if name.starts_with(ASIDE) || name.starts_with(DELETED) => self.keep(&temp, &temp)?,
                (None, None) => self.fs.remove_file(&temp)?,
            }
        }
        self.put_home(hidden)?;
        self.part_namesakes(&mut noted)?;
        Ok(noted)
    }

    /// What stands where an intent says that it was to move is there by our doing.
    fn adopt_moves(&mut self, noted: &mut Noted) -> Result<(), FsError> {
        let moving = |(doc, row): (&DocId, &BaseRow)| {
            // With the same bytes: else something was to be written.
            let Intent { place, .. } = row.intent.as_ref().filter(|intent| intent.hash == row.hash)?;
            row.stat.is_some().then(|| (*doc, place.clone()))
        };
        let mut moving: Vec<(DocId, (Option<DocId>, String))> = self.base.rows().filter_map(moving).collect();
        // A directory first, then what is in it: its path is known by then.
        loop {
            let before = moving.len();
            let mut left = Vec::new();
            for (doc, (parent, name)) in moving {
                let Some((row, stat)) = self.base.on_disk(&doc).map(|(row, stat)| (row.clone(), stat)) else {
                    continue;
                };
                let target = self.base.dir_path(parent).map(|dir| dir.join(&name));
                let found = target.map(|target| self.look_exactly(&target)).transpose()?.flatten();
                match found.filter(|found| is_same(&row, &stat, found)) {
                    Some(_) => {
                        // Moving changed the change time, so the next look reads it: an edit may have done so, too.
                        let row = BaseRow { parent, name, intent: None, ..row };
                        self.note(doc, Some(row), noted);
                    }
                    None => left.push((doc, (parent, name))),
                }
            }
            moving = left;
            if moving.is_empty() || moving.len() == before {
                break;
            }
        }
        for (doc, _) in moving {
            let row = self.base.row(&doc).cloned().map(|row| BaseRow { intent: None, ..row });
            self.note(doc, row, noted);
        }
        Ok(())
    }

    /// Looks at a path by the very name: a disk that folds names also shows what has a like one.
    fn look_exactly(&self, path: &RelPath) -> Result<Option<Found>, FsError> {
        let found = self.fs.look(path)?;
        let (Some(_), Some((dir, name)), true) = (&found, path.split(), self.base.folds().any()) else {
            return Ok(found);
        };
        let listed = self.fs.list(&dir)?.into_iter().find(|listed| listed.name.as_deref() == Ok(name));
        Ok(listed.map(|listed| listed.found))
    }

    fn note(&mut self, doc: DocId, row: Option<BaseRow>, noted: &mut Noted) {
        self.base.set(doc, row.clone());
        noted.insert(doc, row.map(Box::new));
    }

    /// Entries that went out of the way of others, or out of sight before they were deleted, go back if their place is
    /// free. Else they stay aside, until a plan says where they go.
    fn put_home(&mut self, mut hidden: Vec<(DocId, RelPath, Found)>) -> Result<(), FsError> {
        // Directories before what is in them.
        hidden.sort_by_cached_key(|(doc, ..)| self.base.path_of(doc).map_or(0, |path| path.components().len()));
        for (doc, temp, found) in hidden {
            let Some(row) = self.base.row(&doc).cloned() else { continue };
            let home = self.home_of(&row)?;
            match home.map(|home| self.fs.rename_new(&temp, &home)) {
                Some(Ok(())) => continue,
                Some(Err(error)) if !matches!(error.fault(), Fault::Exists | Fault::NotFound) => return Err(error),
                _ => {}
            }
            let is_known = row.stat.is_some_and(|stat| is_same(&row, &stat, &found));
            if temp.split().is_some_and(|(_, name)| name.starts_with(ASIDE)) && is_known {
                self.aside.insert(doc, temp);
                self.base.put_aside(doc);
            } else if found.kind != FoundKind::Dir {
                let was = self.base.path_of(&doc).unwrap_or_else(|| temp.clone());
                self.keep(&temp, &was)?;
            }
        }
        Ok(())
    }

    /// Where an entry is at home, if the directory is there and is the one that the base knows.
    fn home_of(&self, row: &BaseRow) -> Result<Option<RelPath>, FsError> {
        let mut above = row.parent;
        for _ in 0..=limits::TREE_DEPTH_MAX {
            let Some(dir) = above else { break };
            if self.base.is_aside(&dir) {
                return Ok(None);
            }
            above = self.base.row(&dir).and_then(|row| row.parent);
        }
        let Some(dir) = self.base.dir_path(row.parent) else { return Ok(None) };
        if let Some(parent) = row.parent.and_then(|parent| self.base.row(&parent)) {
            let found = self.fs.look(&dir)?;
            let is_it = found.zip(parent.stat).is_some_and(|(found, stat)| is_same(parent, &stat, &found));
            if !is_it {
                return Ok(None);
            }
        }
        Ok(Some(dir.join(&row.name)))
    }

    /// What was to be put in place of an entry's bytes, or the bytes that it displaced.
    fn recover_new(&mut self, doc: DocId, temp: &RelPath, found: &Found) -> Result<(), FsError> {
        let row = self.base.row(&doc).cloned();
        let (Some(row), Some(target)) = (row.filter(|row| row.kind == Kind::File), self.base.path_of(&doc)) else {
            return self.fs.remove_file(temp);
        };
        let Some(stat) = row.stat else { return self.fs.remove_file(temp) };
        let there = self.fs.look(&target)?;
        if there.is_some_and(|there| is_same(&row, &stat, &there)) {
            // Nothing was displaced.
            return self.fs.remove_file(temp);
        }
        let displaced = is_same(&row, &stat, found);
        if displaced && stat.same_content(&found.stat) {
            return self.keep(temp, &target);
        }
        let intended = row.intent.map(|intent| intent.hash);
        if !displaced && intended.is_some() && self.hash_of(temp) == intended {
            return self.fs.remove_file(temp);
        }
        let ours_is_there = there.is_some() && intended.is_some() && self.hash_of(&target) == intended;
        if ours_is_there {
            // An edit that nobody had looked at: it goes back, and is seen as one.
            self.fs.exchange(temp, &target)?;
            return self.fs.remove_file(temp);
        }
        self.keep(temp, &target)
    }

    fn hash_of(&self, path: &RelPath) -> Option<ContentHash> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(self.fs.open(path).ok()?).ok()?;
        Some(ContentHash(*hasher.finalize().as_bytes()))
    }

    fn keep(&mut self, temp: &RelPath, was: &RelPath) -> Result<(), FsError> {
        let failed = |source| FsError { operation: "keep", path: temp.clone(), source };
        self.keeper.keep(temp, was, None).map_err(failed)
    }

    /// Two entries that the base has at one place: one took the place of the other, whose delete was not noted, or the
    /// folder came to a disk that has two names as one. Who is there stays; the other is on no disk any more, and what is
    /// not dead is written again.
    fn part_namesakes(&mut self, noted: &mut Noted) -> Result<(), FsError> {
        let folds = self.base.folds();
        let mut claims: BTreeMap<(Option<DocId>, Cow<'_, str>), Vec<DocId>> = BTreeMap::new();
        for (doc, row) in self.base.rows() {
            if row.stat.is_some() && !self.base.is_aside(doc) {
                claims.entry((row.parent, folds.key(&row.name))).or_default().push(*doc);
            }
        }
        let claims: Vec<Vec<DocId>> = claims.into_values().collect();
        let mut gone = BTreeSet::new();
        for docs in claims {
            let stays = if docs.len() == 1 { docs.first().copied() } else { self.who_is_there(&docs)? };
            gone.extend(docs.into_iter().filter(|doc| Some(*doc) != stays));
            let Some((stays, row)) = stays.and_then(|stays| Some((stays, self.base.row(&stays)?.clone()))) else {
                continue;
            };
            // Whoever was set first has the place, until it is forgotten.
            if self.base.child(row.parent, &row.name) != Some(stays) {
                self.base.set(stays, None);
                self.base.set(stays, Some(row));
            }
        }
        let all: BTreeSet<DocId> = gone.iter().flat_map(|doc| self.base.subtree(*doc)).collect();
        for doc in all {
            self.note(doc, None, noted);
        }
        Ok(())
    }

    /// Which of the entries that the base has at one place stands there.
    fn who_is_there(&self, docs: &[DocId]) -> Result<Option<DocId>, FsError> {
        let mut named = None;
        for doc in docs {
            let Some(path) = self.base.path_of(doc) else { continue };
            let Some(found) = self.look_exactly(&path)? else { continue };
            if self.base.on_disk(doc).is_some_and(|(row, stat)| is_same(row, &stat, &found)) {
                return Ok(Some(*doc));
            }
            named = Some(*doc);
        }
        Ok(named.or(docs.last().copied()))
    }
}

fn is_same(row: &BaseRow, stat: &Stat, found: &Found) -> bool {
    kind_of(found.kind) == Some(row.kind) && stat.same_file(&found.stat)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::{
        folder::{
            Base, Fs as _,
            apply::{Applied, Aside, Bytes, Keeper, Prepared, Want},
            disk::Disk,
        },
        tree::Place,
    };

    /// Reads what it is given, and removes it.
    struct Kept<'a>(&'a Disk, Vec<String>);

    impl Keeper for Kept<'_> {
        fn keep(&mut self, file: &RelPath, _: &RelPath, _: Option<ContentHash>) -> std::io::Result<()> {
            self.1.push(read(self.0, file));
            self.0.remove_file(file).map_err(|error| error.source)
        }
    }

    fn read(disk: &Disk, path: &RelPath) -> String {
        let mut text = String::new();
        disk.open(path).expect("is there").read_to_string(&mut text).expect("reads");
        text
    }

    fn disk() -> (tempfile::TempDir, Disk) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = Disk::open(dir.path()).expect("opens");
        disk.make_state_dirs().expect("makes");
        (dir, disk)
    }

    fn doc(id: u8) -> DocId {
        DocId([id; 32])
    }

    fn place(name: &str) -> Place {
        Place { parent: None, name: name.into() }
    }

    fn path(name: &str) -> RelPath {
        RelPath::root().join(name)
    }

    /// What a start after a crash has: rows as they were noted last.
    fn recover(disk: &Disk, rows: Vec<(DocId, BaseRow)>) -> (Base, Aside, Noted, Vec<String>) {
        let (mut base, mut aside, mut keeper) = (Base::new(rows), Aside::new(), Kept(disk, Vec::new()));
        let noted = Applier::new(disk, &mut base, &mut keeper, &mut aside).recover().expect("recovers");
        (base, aside, noted, keeper.1)
    }

    fn rows(base: &Base) -> Vec<(DocId, BaseRow)> {
        base.rows().map(|(doc, row)| (*doc, row.clone())).collect()
    }

    #[test]
    fn a_swap_that_a_crash_cut_is_known_as_ours_and_goes_on() {
        let (_dir, disk) = disk();
        let (mut base, mut keeper, mut aside) = (Base::default(), Kept(&disk, Vec::new()), Aside::new());
        let mut applier = Applier::new(&disk, &mut base, &mut keeper, &mut aside);
        for (id, name) in [(1, "a"), (2, "b")] {
            assert!(matches!(applier.make_dir(doc(id), &place(name), vec![]), Some(Applied::Done(..))));
        }
        assert!(
            applier.intend_move(doc(1), &place("b")).is_some() && applier.intend_move(doc(2), &place("a")).is_some()
        );
        let noted_rows = rows(applier.base);
        for id in [1, 2] {
            assert_eq!(applier.put_aside(doc(id)), None);
        }
        assert!(matches!(applier.move_to(doc(1), &place("b")), Some(Applied::Done(..))));
        let (mut base, mut aside, noted, _) = recover(&disk, noted_rows);
        assert_eq!(base.path_of(&doc(1)), Some(path("b")));
        assert_eq!((base.child(None, "b"), base.child(None, "a")), (Some(doc(1)), None));
        assert!(base.is_aside(&doc(2)) && noted.len() == 2);
        let mut applier = Applier::new(&disk, &mut base, &mut keeper, &mut aside);
        assert!(matches!(applier.move_to(doc(2), &place("a")), Some(Applied::Done(..))));
        assert_eq!(disk.list(&temp_dir()).expect("lists"), []);
    }

    /// A file with other bytes prepared for it, right before they are exchanged: the rows then, and the temporary file.
    fn prepared(disk: &Disk) -> (Vec<(DocId, BaseRow)>, RelPath) {
        let (mut base, mut keeper, mut aside) = (Base::default(), Kept(disk, Vec::new()), Aside::new());
        let mut applier = Applier::new(disk, &mut base, &mut keeper, &mut aside);
        let prepare = |applier: &mut Applier<'_>, text: &str| -> Prepared {
            let want = Want { heads: vec![], hash: ContentHash::of(text.as_bytes()), exec: false, mtime_ns: None };
            let bytes = Bytes::Memory(text.into());
            applier.prepare(doc(1), &place("f"), bytes, want, true).expect("nothing is in the way").0
        };
        let first = prepare(&mut applier, "old");
        assert!(matches!(applier.commit(first, true), Applied::Done(..)));
        prepare(&mut applier, "new");
        (rows(&base), temp_dir().join(&format!("{NEW}{}", doc(1))))
    }

    #[test]
    fn what_was_displaced_and_not_let_go_is_kept() {
        let (_dir, disk) = disk();
        let (rows, temp) = prepared(&disk);
        disk.exchange(&temp, &path("f")).expect("exchanges");
        let (.., kept) = recover(&disk, rows);
        assert_eq!((kept, read(&disk, &path("f"))), (vec!["old".to_owned()], "new".to_owned()));
        assert_eq!(disk.list(&temp_dir()).expect("lists"), []);
    }

    #[test]
    fn what_was_not_exchanged_is_made_again() {
        let (_dir, disk) = disk();
        let (rows, _) = prepared(&disk);
        let (.., kept) = recover(&disk, rows);
        assert_eq!((kept.len(), read(&disk, &path("f"))), (0, "old".to_owned()));
        assert_eq!(disk.list(&temp_dir()).expect("lists"), []);
    }

    #[test]
    fn a_save_that_was_displaced_before_anybody_saw_it_goes_back() {
        let (_dir, disk) = disk();
        let (rows, temp) = prepared(&disk);
        // As editors do it: another file takes the name.
        disk.write_new(&path("save"), b"saved", true).expect("writes");
        disk.remove_file(&path("f")).expect("removes");
        disk.rename_new(&path("save"), &path("f")).expect("renames");
        disk.exchange(&temp, &path("f")).expect("exchanges");
        let (.., kept) = recover(&disk, rows);
        assert_eq!((kept.len(), read(&disk, &path("f"))), (0, "saved".to_owned()));
        assert_eq!(disk.list(&temp_dir()).expect("lists"), []);
    }

    #[test]
    fn of_two_entries_at_one_place_the_one_that_is_there_stays() {
        let (_dir, disk) = disk();
        let (mut base, mut keeper, mut aside) = (Base::default(), Kept(&disk, Vec::new()), Aside::new());
        let mut applier = Applier::new(&disk, &mut base, &mut keeper, &mut aside);
        assert!(matches!(applier.make_dir(doc(2), &place("d"), vec![]), Some(Applied::Done(..))));
        let gone = applier.base.row(&doc(2)).cloned().expect("was made");
        assert_eq!(applier.put_aside(doc(2)), None);
        assert!(matches!(applier.make_dir(doc(1), &place("d"), vec![]), Some(Applied::Done(..))));
        assert!(matches!(applier.delete(doc(2), true), Some(Applied::Done(..))));
        // The delete was not noted.
        let mut noted_rows = rows(&base);
        noted_rows.push((doc(2), gone));
        let (base, _, noted, _) = recover(&disk, noted_rows);
        assert_eq!((base.child(None, "d"), base.row(&doc(2))), (Some(doc(1)), None));
        assert_eq!(noted, Noted::from([(doc(2), None)]));
    }
}
