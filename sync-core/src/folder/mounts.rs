//! File systems that are mounted within a folder, and what is not to be done while one is away. Pure.
//!
//! A directory that the base has on one file system and the disk shows on another holds other things: that something is
//! missing from it says nothing. Its part of the folder stands still, which [`observe`](super::observe) and
//! [`local`](super::local) see to for what the disk shows, and [`leave_alone`] for what would be written. When a part goes
//! on, and who is asked, is decided in [`rounds`](super::rounds).

use std::collections::BTreeSet;

use super::{Base, Documents, plan::Action};
use crate::{doc::entry::Kind, ids::DocId, limits, store::row::Stat};

/// Whether a directory is on another file system than it was. One whose number alone became another, as after a start of
/// the machine, still has its inode and birth.
#[must_use]
pub const fn is_other(was: &Stat, now: &Stat) -> bool {
    let same_dir = was.inode == now.inode && was.btime_ns == now.btime_ns && was.btime_ns != 0;
    was.device != now.device && !same_dir
}

impl Base {
    /// Whether an entry was the top of another file system than that of the directory that it was in. Only directories are
    /// asked: some file systems give their files numbers that are not their own.
    #[must_use]
    pub fn is_mount(&self, doc: &DocId) -> bool {
        let Some((row, stat)) = self.on_disk(doc).filter(|(row, _)| row.kind == Kind::Dir) else { return false };
        let above = match row.parent {
            Some(parent) => self.on_disk(&parent).map(|(_, stat)| stat.device),
            None => self.root_device(),
        };
        above.is_some_and(|above| above != stat.device)
    }

    /// All such tops.
    #[must_use]
    pub fn mounts(&self) -> BTreeSet<DocId> {
        self.rows()
            .filter(|(_, row)| row.kind == Kind::Dir)
            .map(|(doc, _)| *doc)
            .filter(|doc| self.is_mount(doc))
            .collect()
    }

    /// Whether there is anything but directories in an entry.
    #[must_use]
    pub fn holds_files(&self, doc: DocId) -> bool {
        self.subtree(doc).iter().any(|doc| self.row(doc).is_some_and(|row| row.kind != Kind::Dir))
    }

    /// Whether an entry is one of these, or in one of them.
    #[must_use]
    pub fn is_in(&self, doc: &DocId, tops: &BTreeSet<DocId>) -> bool {
        let mut next = Some(*doc);
        for _ in 0..=limits::TREE_DEPTH_MAX {
            let Some(doc) = next else { break };
            if tops.contains(&doc) {
                return true;
            }
            next = self.row(&doc).and_then(|row| row.parent);
        }
        false
    }
}

/// Takes out of a plan what concerns parts that stand still: what is in them, and what was to go there.
pub fn leave_alone(actions: &mut Vec<Action>, base: &Base, documents: &Documents, still: &BTreeSet<DocId>) {
    if still.is_empty() {
        return;
    }
    let goes_there = |dir: Option<DocId>| {
        let mut next = dir;
        for _ in 0..=limits::TREE_DEPTH_MAX {
            let Some(dir) = next else { break };
            if base.is_in(&dir, still) {
                return true;
            }
            next = documents.view().place_of(&dir).and_then(|place| place.parent);
        }
        false
    };
    actions.retain(|action| match action {
        Action::Aside { doc } | Action::Delete { doc } => !base.is_in(doc, still),
        Action::MakeDir { doc, place } | Action::Move { doc, place } | Action::Write { doc, place } => {
            !base.is_in(doc, still) && !goes_there(place.parent)
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doc::entry::{Content, Entry},
        folder::{Ignored, plan::plan},
        ids::{ChangeHash, ContentHash},
        store::row::BaseRow,
        tree::Place,
    };

    const DISK: u64 = 1;
    const STICK: u64 = 2;

    fn doc(id: u8) -> DocId {
        DocId([id; 32])
    }

    fn stat(inode: u8, device: u64) -> Stat {
        let (inode, btime_ns) = (u64::from(inode), i64::from(inode));
        Stat { size: 0, mtime_ns: 1, ctime_ns: 1, btime_ns, inode, device, exec: false }
    }

    fn row(id: u8, kind: Kind, parent: Option<u8>, name: &str, device: u64) -> (DocId, BaseRow) {
        let row = BaseRow {
            kind,
            parent: parent.map(doc),
            name: name.into(),
            heads: vec![ChangeHash([id; 32])],
            hash: ContentHash([0; 32]),
            stat: Some(stat(id, device)),
            intent: None,
            racy: false,
        };
        (doc(id), row)
    }

    /// `d/stick` is another file system, which holds `sub/deep`; the overlay that `d` is on numbers its files otherwise.
    fn base() -> Base {
        let mut base = Base::new([
            row(1, Kind::Dir, None, "d", DISK),
            row(2, Kind::Dir, Some(1), "stick", STICK),
            row(3, Kind::Dir, Some(2), "sub", STICK),
            row(4, Kind::File, Some(3), "deep", STICK),
            row(5, Kind::File, Some(1), "plain", 77),
        ]);
        base.set_root_device(DISK);
        base
    }

    fn entry(kind: Kind, parent: Option<u8>, name: &str, alive: bool) -> Entry {
        Entry {
            kind,
            parent: parent.map(doc),
            name: name.into(),
            alive,
            content: (kind == Kind::File).then(|| Content::Inline(vec![])),
            exec: false,
            target: None,
            lost_contents: vec![],
            lost_place: false,
            parent_stamp: (0, vec![]),
            first_parent: None,
        }
    }

    fn documents(entries: &[(u8, Entry)], heads: u8) -> Documents {
        let mut documents = Documents::default();
        for (id, entry) in entries {
            documents.set(doc(*id), vec![ChangeHash([heads.max(*id); 32])], entry.clone());
        }
        documents.refresh();
        documents
    }

    #[test]
    fn the_top_of_another_file_system_is_known_by_the_directory_that_it_is_in() {
        let base = base();
        assert_eq!(base.mounts(), BTreeSet::from([doc(2)]));
        assert!(base.holds_files(doc(2)) && base.is_in(&doc(4), &BTreeSet::from([doc(2)])));
        assert!(!base.is_in(&doc(1), &BTreeSet::from([doc(2)])));
        let mut empty = base;
        empty.set(doc(4), None);
        assert!(!empty.holds_files(doc(2)), "directories alone are soon made again");
    }

    #[test]
    fn a_number_that_became_another_is_the_same_file_system_and_another_directory_is_not() {
        assert!(!is_other(&stat(2, STICK), &stat(2, STICK)));
        assert!(!is_other(&stat(2, STICK), &stat(9, STICK)), "made anew on the same one");
        assert!(!is_other(&stat(2, STICK), &stat(2, 3)), "the number became another");
        assert!(is_other(&stat(2, STICK), &stat(9, DISK)));
        let unborn = |device| Stat { btime_ns: 0, ..stat(2, device) };
        assert!(is_other(&unborn(STICK), &unborn(3)), "inodes alone say little: each file system numbers its own");
    }

    #[test]
    fn nothing_is_written_moved_or_deleted_where_a_mount_is_away() {
        let after = [
            (1, entry(Kind::Dir, None, "d", true)),
            (2, entry(Kind::Dir, Some(1), "stick", true)),
            (3, entry(Kind::Dir, Some(2), "sub", false)),
            (4, entry(Kind::File, Some(1), "deep", true)),
            (5, entry(Kind::File, Some(2), "plain", true)),
            (6, entry(Kind::File, Some(2), "new", true)),
            (7, entry(Kind::Dir, Some(2), "more", true)),
            (8, entry(Kind::File, Some(7), "below", true)),
            (9, entry(Kind::File, Some(1), "beside", true)),
        ];
        let (base, documents) = (base(), documents(&after, 50));
        let whole = plan(&base, &documents, &Ignored::default());
        let mut actions = whole.clone();
        leave_alone(&mut actions, &base, &documents, &BTreeSet::new());
        assert_eq!(actions, whole, "everything is there");
        leave_alone(&mut actions, &base, &documents, &BTreeSet::from([doc(2)]));
        let beside = Place { parent: Some(doc(1)), name: "beside".into() };
        let there = Place { parent: None, name: "d".into() };
        let expected = [Action::Write { doc: doc(1), place: there }, Action::Write { doc: doc(9), place: beside }];
        assert_eq!(actions, expected);
    }
}
