//! What the user did: from where disk and base differ to edits, moves, creations and deletes. Pure.
//!
//! The same path still there is an edit, whatever its inode. Something that vanished here and appeared there with one
//! identity (device, inode, birth) moved, a directory with everything in it. The rest was made or deleted; a file that
//! was made with the bytes of one that is gone is told apart later, when its bytes have been read.

use std::collections::BTreeSet;

use super::{
    Base, Found, FoundKind,
    mounts::is_other,
    observe::{Appeared, Looks, Unseen, is_touched, kind_of},
};
use crate::{doc::entry::Kind, ids::DocId};

/// The directory of something that was made or moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// One that has a document, or the top.
    Known(Option<DocId>),
    /// One that was made in the same batch, by its index there.
    Made(usize),
}

/// Something that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Where.
    pub into: Into,
    /// Its name.
    pub name: String,
    /// What it is.
    pub found: Found,
    /// Whether it cannot be synced, or is a directory in which nothing can.
    pub left_alone: bool,
}

/// Something that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The entry.
    pub doc: DocId,
    /// Where to.
    pub into: Into,
    /// Its name there.
    pub name: String,
    /// What it looks like now.
    pub found: Found,
}

/// What the user did since the base.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// Made, directories before what is in them.
    pub made: Vec<Made>,
    /// Moved, or renamed, or both.
    pub moved: Vec<Moved>,
    /// May have other bytes or another executable bit.
    pub touched: Vec<(DocId, Found)>,
    /// Gone, directories before what is in them.
    pub gone: Vec<DocId>,
    /// The tops of what is missing with the file system that it was on: nothing is known of it.
    pub away: Vec<DocId>,
}

impl Local {
    /// Places in directories that have a document, at which something was made or moved.
    pub(super) fn places_taken(&self) -> BTreeSet<(Option<DocId>, &str)> {
        let made = self.made.iter().map(|entry| (entry.into, &*entry.name));
        let moved = self.moved.iter().map(|entry| (entry.into, &*entry.name));
        made.chain(moved)
            .filter_map(|(into, name)| match into {
                Into::Known(parent) => Some((parent, name)),
                Into::Made(_) => None,
            })
            .collect()
    }

    /// Forgets, for now, things that were made, by their indices, with all that is in them, and entries that moved.
    pub(super) fn forget(&mut self, made: &BTreeSet<usize>, moved: &BTreeSet<DocId>) {
        self.moved.retain(|entry| !moved.contains(&entry.doc));
        self.touched.retain(|(doc, _)| !moved.contains(doc));
        let left = |into: Into| match into {
            Into::Known(_) => into,
            Into::Made(above) => Into::Made(above - made.range(..above).count()),
        };
        for entry in &mut self.moved {
            entry.into = left(entry.into);
        }
        let all = std::mem::take(&mut self.made).into_iter().enumerate();
        let kept = all.filter(|(index, _)| !made.contains(index)).map(|(_, one)| Made { into: left(one.into), ..one });
        self.made = kept.collect();
    }
}

/// Tells from the looks what the user did.
#[must_use]
pub fn local(base: &Base, looks: Looks) -> Local {
    let mut matcher = Matcher {
        base,
        missing: BTreeSet::new(),
        order: Vec::new(),
        local: Local { touched: looks.touched, ..Local::default() },
        unseen: BTreeSet::new(),
    };
    for doc in looks.vanished {
        for doc in base.subtree(doc) {
            if let Some((row, stat)) = base.on_disk(&doc) {
                matcher.missing.insert((row.kind, stat.identity(), doc));
                matcher.order.push(doc);
            }
        }
    }
    for (doc, name, found) in looks.renamed {
        let Some(row) = base.row(&doc) else { continue };
        if row.kind != Kind::Dir && is_touched(row, &found) {
            matcher.local.touched.push((doc, found));
        }
        matcher.local.moved.push(Moved { doc, into: Into::Known(row.parent), name, found });
    }
    for (dir, appeared) in looks.appeared {
        matcher.place(Into::Known(dir), appeared);
    }
    let left: BTreeSet<DocId> = matcher.missing.into_iter().map(|(_, _, doc)| doc).collect();
    let mut local = matcher.local;
    let unseen = matcher.unseen;
    let mut away: BTreeSet<DocId> = looks.away.into_iter().collect();
    away.extend(left.iter().filter(|doc| is_away(base, doc)).map(|doc| top(base, *doc, &left)));
    local.gone = matcher
        .order
        .into_iter()
        .filter(|doc| left.contains(doc) && !base.is_in(doc, &away) && !base.is_in(doc, &unseen))
        .collect();
    local.away = away.into_iter().collect();
    local
}

/// Whether something that is missing was a file system of its own, with files: it may be mounted again.
fn is_away(base: &Base, doc: &DocId) -> bool {
    base.is_mount(doc) && base.holds_files(*doc)
}

/// The topmost directory that is missing, too: a mount is not told from the directory that it was mounted in.
fn top(base: &Base, doc: DocId, missing: &BTreeSet<DocId>) -> DocId {
    let mut top = doc;
    while let Some(parent) = base.row(&top).and_then(|row| row.parent).filter(|parent| missing.contains(parent)) {
        top = parent;
    }
    top
}

struct Matcher<'a> {
    base: &'a Base,
    /// Kind and identity of what vanished. Hard links share them, so the entry belongs to the key.
    missing: BTreeSet<(Kind, (u64, u64, i64), DocId)>,
    order: Vec<DocId>,
    local: Local,
    /// What cannot be told to be gone: it moved along with its directory, in which something that cannot be read or synced
    /// stands in its place.
    unseen: BTreeSet<DocId>,
}

impl Matcher<'_> {
    fn place(&mut self, into: Into, appeared: Appeared) {
        let Appeared { name, found, children, unseen, left_alone } = appeared;
        let Some(kind) = kind_of(found.kind) else {
            return;
        };
        let identity = found.stat.identity();
        let of_identity = (kind, identity, DocId([0; 32]))..=(kind, identity, DocId([0xff; 32]));
        let moved = self.missing.range(of_identity).next().copied();
        if let Some((_, _, doc)) = moved.filter(|key| self.missing.remove(key)) {
            self.local.moved.push(Moved { doc, into, name, found });
            self.pair(doc, found, children, unseen);
            return;
        }
        let index = self.local.made.len();
        self.local.made.push(Made { into, name, found, left_alone });
        for child in children {
            self.place(Into::Made(index), child);
        }
    }

    /// What moved along with its directory is matched by name.
    fn pair(&mut self, doc: DocId, found: Found, children: Vec<Appeared>, unseen: Unseen) {
        let base = self.base;
        match unseen {
            Unseen::All => self.unseen.extend(base.children(Some(doc)).map(|(_, child)| *child)),
            Unseen::Names(names) => self.unseen.extend(names.iter().filter_map(|name| base.child(Some(doc), name))),
        }
        if self.base.row(&doc).is_some_and(|row| row.kind != Kind::Dir && is_touched(row, &found)) {
            self.local.touched.push((doc, found));
        }
        for child in children {
            let known = self.base.child(Some(doc), &child.name);
            let row = known.and_then(|known| Some((known, self.base.on_disk(&known)?)));
            match row {
                // What was mounted there is away; the directory that it was mounted on is nothing new.
                Some((known, (_, stat)))
                    if child.found.kind == FoundKind::Dir
                        && is_other(&stat, &child.found.stat)
                        && is_away(self.base, &known) => {}
                Some((known, (row, stat)))
                    if Some(row.kind) == kind_of(child.found.kind)
                        && self.missing.remove(&(row.kind, stat.identity(), known)) =>
                {
                    self.pair(known, child.found, child.children, child.unseen);
                }
                _ => self.place(Into::Known(Some(doc)), child),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::ContentHash,
        store::row::{BaseRow, Stat},
    };

    fn stat(inode: u64) -> Stat {
        Stat { size: 1, mtime_ns: 1, ctime_ns: 1, btime_ns: 1, inode, device: 1, exec: false }
    }

    fn doc(id: u8) -> DocId {
        DocId([id; 32])
    }

    fn row(kind: Kind, parent: Option<u8>, name: &str, inode: u64) -> BaseRow {
        BaseRow {
            kind,
            parent: parent.map(doc),
            name: name.into(),
            heads: vec![],
            hash: ContentHash([0; 32]),
            stat: Some(stat(inode)),
            intent: None,
            racy: false,
        }
    }

    fn base() -> Base {
        Base::new([
            (doc(1), row(Kind::Dir, None, "d", 1)),
            (doc(2), row(Kind::File, Some(1), "a", 2)),
            (doc(3), row(Kind::File, Some(1), "b", 3)),
            (doc(4), row(Kind::File, None, "top", 4)),
        ])
    }

    fn found(kind: FoundKind, inode: u64) -> Found {
        Found { kind, stat: stat(inode) }
    }

    fn file(name: &str, inode: u64) -> Appeared {
        Appeared {
            name: name.into(),
            found: found(FoundKind::File, inode),
            children: vec![],
            unseen: Unseen::default(),
            left_alone: false,
        }
    }

    #[test]
    fn a_renamed_directory_is_one_move_and_nothing_else() {
        let appeared = Appeared {
            name: "e".into(),
            found: found(FoundKind::Dir, 1),
            children: vec![file("a", 2), file("b", 3)],
            unseen: Unseen::default(),
            left_alone: false,
        };
        let looks = Looks { vanished: vec![doc(1)], appeared: vec![(None, appeared)], ..Looks::default() };
        let local = local(&base(), looks);
        assert_eq!(local.moved.len(), 1);
        assert_eq!((local.moved[0].doc, local.moved[0].name.as_str()), (doc(1), "e"));
        assert!(local.made.is_empty() && local.gone.is_empty() && local.touched.is_empty());
    }

    #[test]
    fn what_cannot_be_seen_in_a_renamed_directory_is_not_gone() {
        let renamed = |children, unseen| {
            let appeared =
                Appeared { name: "e".into(), found: found(FoundKind::Dir, 1), children, unseen, left_alone: false };
            let looks = Looks { vanished: vec![doc(1)], appeared: vec![(None, appeared)], ..Looks::default() };
            let local = local(&base(), looks);
            assert_eq!((local.moved.len(), local.moved[0].doc), (1, doc(1)));
            local.gone
        };
        assert_eq!(renamed(vec![], Unseen::All), []);
        assert_eq!(renamed(vec![file("b", 3)], Unseen::Names(vec!["a".into()])), []);
        assert_eq!(renamed(vec![file("b", 3)], Unseen::Names(vec![])), [doc(2)]);
    }

    #[test]
    fn a_file_moved_out_of_a_deleted_directory_is_a_move_and_the_rest_is_gone() {
        let looks = Looks { vanished: vec![doc(1)], appeared: vec![(None, file("a2", 2))], ..Looks::default() };
        let local = local(&base(), looks);
        assert_eq!((local.moved[0].doc, local.moved[0].name.as_str()), (doc(2), "a2"));
        assert_eq!(local.gone, [doc(1), doc(3)]);
    }

    #[test]
    fn of_two_hard_links_that_vanish_both_are_gone_or_one_moved() {
        let mut base = base();
        base.set(doc(5), Some(row(Kind::File, None, "link", 4)));
        let vanished = || vec![doc(4), doc(5)];
        let none_left = local(&base, Looks { vanished: vanished(), ..Looks::default() });
        assert_eq!(none_left.gone, [doc(4), doc(5)]);
        let one_left =
            local(&base, Looks { vanished: vanished(), appeared: vec![(None, file("new", 4))], ..Looks::default() });
        assert_eq!((one_left.moved[0].doc, &one_left.gone[..]), (doc(4), &[doc(5)][..]));
    }

    #[test]
    fn another_birth_at_the_same_inode_is_not_a_move() {
        let mut other = file("new", 4);
        other.found.stat.btime_ns = 99;
        let looks = Looks { vanished: vec![doc(4)], appeared: vec![(None, other)], ..Looks::default() };
        let local = local(&base(), looks);
        assert_eq!(local.gone, [doc(4)]);
        assert_eq!(local.made.len(), 1);
    }

    #[test]
    fn a_renamed_directory_in_which_files_were_edited_made_and_deleted() {
        let mut edited = file("a", 2);
        edited.found.stat.mtime_ns = 50;
        let appeared = Appeared {
            name: "e".into(),
            found: found(FoundKind::Dir, 1),
            children: vec![edited, file("c", 9)],
            unseen: Unseen::default(),
            left_alone: false,
        };
        let looks = Looks { vanished: vec![doc(1)], appeared: vec![(None, appeared)], ..Looks::default() };
        let local = local(&base(), looks);
        assert_eq!(local.touched.len(), 1);
        assert_eq!(local.gone, [doc(3)]);
        assert_eq!(local.made[0].into, Into::Known(Some(doc(1))));
    }

    /// The directory `d` is a file system of its own.
    fn mounted() -> Base {
        let mut base = base();
        base.set_root_device(7);
        base.set(doc(4), None);
        base
    }

    #[test]
    fn what_is_missing_with_the_file_system_that_it_was_on_is_not_gone() {
        let local = local(&mounted(), Looks { vanished: vec![doc(1)], ..Looks::default() });
        assert_eq!((local.away, local.gone), (vec![doc(1)], vec![]));
    }

    #[test]
    fn what_was_deleted_on_a_file_system_that_is_there_is_gone() {
        let local = local(&mounted(), Looks { vanished: vec![doc(3)], ..Looks::default() });
        assert_eq!((local.away, local.gone), (vec![], vec![doc(3)]));
    }

    #[test]
    fn a_mount_in_a_directory_that_moved_is_still_awaited_and_where_it_was_mounted_is_nothing_new() {
        let mut base = mounted();
        let mut above = row(Kind::Dir, None, "above", 9);
        above.stat = Some(Stat { device: 7, ..stat(9) });
        base.set(doc(9), Some(above));
        base.set(doc(1), Some(row(Kind::Dir, Some(9), "d", 1)));
        let on_root = |inode| Found { kind: FoundKind::Dir, stat: Stat { device: 7, ..stat(inode) } };
        let bare = Appeared {
            name: "d".into(),
            found: on_root(20),
            children: vec![],
            unseen: Unseen::default(),
            left_alone: false,
        };
        let moved = Appeared {
            name: "elsewhere".into(),
            found: on_root(9),
            children: vec![bare],
            unseen: Unseen::default(),
            left_alone: false,
        };
        let looks = Looks { vanished: vec![doc(9)], appeared: vec![(None, moved)], ..Looks::default() };
        let local = local(&base, looks);
        assert_eq!(local.moved.iter().map(|moved| moved.doc).collect::<Vec<_>>(), [doc(9)]);
        assert_eq!((local.away, local.gone, local.made), (vec![doc(1)], vec![], vec![]));
    }
}
