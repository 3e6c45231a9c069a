//! From entry documents to paths: a pure function, the same on every machine.
//!
//! An entry says which directory it is in and what it is called; nothing says that these fit together. [`View::of`]
//! decides: what lives, who is in a cycle, who keeps a name that two claim. Nothing it decides is written back, so a clash
//! that ends is undone by itself. It must not read a disk, a clock or the order in which commits arrived.

mod folds;
mod path;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

pub use folds::Folds;
pub use path::{LinkFault, NameFault, RelPath, STATE_DIR, check_link, check_name, is_reserved};

use crate::{
    doc::entry::{Entry, Kind},
    ids::DocId,
    limits,
};

/// Where an entry is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Directory; `None` at the top.
    pub parent: Option<DocId>,
    /// Name there; another than the entry's own where names clash.
    pub name: String,
}

/// Something that people should know about one entry; nothing is lost and nothing waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The entry.
    pub doc: DocId,
    /// What is the matter.
    pub kind: ConflictKind,
}

/// What both sides did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConflictKind {
    /// Another entry of this name keeps it.
    Name,
    /// Two names or directories; one won.
    Place,
    /// Two contents; one won.
    Content,
    /// Each into the other; this one was put back.
    Cycle,
}

impl std::fmt::Display for ConflictKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Name => "another file has the same name, or one that some disk has as the same",
            Self::Place => "renamed or moved on both sides",
            Self::Content => "changed on both sides",
            Self::Cycle => "two directories were moved into each other",
        })
    }
}

/// All entries of a space as a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    places: BTreeMap<DocId, Place>,
    children: BTreeMap<Option<DocId>, BTreeMap<String, DocId>>,
    folds: Folds,
    /// What people should know.
    pub conflicts: Vec<Conflict>,
    /// Entries that live but cannot be shown, with the reason.
    pub hidden: Vec<(DocId, NameFault)>,
}

impl View {
    /// Computes the tree of all entries, for members whose disks do not tell so much apart in names.
    #[must_use]
    pub fn of(entries: &BTreeMap<DocId, Entry>, folds: Folds) -> Self {
        let mut view = Self { folds, ..Self::default() };
        let parents = view.parents(entries);
        let alive = alive(entries, &parents);
        let mut siblings: BTreeMap<Option<DocId>, Vec<DocId>> = BTreeMap::new();
        for doc in &alive {
            let entry = &entries[doc];
            match check_name(&entry.name) {
                Ok(()) => siblings.entry(parents[doc]).or_default().push(*doc),
                Err(fault) => view.hidden.push((*doc, fault)),
            }
            if entry.lost_place {
                view.conflicts.push(Conflict { doc: *doc, kind: ConflictKind::Place });
            }
            if !entry.lost_contents.is_empty() {
                view.conflicts.push(Conflict { doc: *doc, kind: ConflictKind::Content });
            }
        }
        view.place(entries, &mut siblings);
        view.hide_the_rest(&alive);
        // What is gone is in nobody's way.
        view.conflicts.retain(|conflict| alive.contains(&conflict.doc));
        view
    }

    /// The directory of each entry, with cycles cut. Parents are taken on in the order of their operations; one that
    /// would close a cycle, or is no directory, gives way to the directory that the entry was made in, or to the top.
    fn parents(&mut self, entries: &BTreeMap<DocId, Entry>) -> BTreeMap<DocId, Option<DocId>> {
        let is_dir = |parent: &Option<DocId>| {
            parent.is_none_or(|doc| entries.get(&doc).is_some_and(|entry| entry.kind == Kind::Dir))
        };
        let mut order: Vec<_> = entries.iter().collect();
        order.sort_by(|(a, left), (b, right)| (&left.parent_stamp, a).cmp(&(&right.parent_stamp, b)));
        let mut parents: BTreeMap<DocId, Option<DocId>> = BTreeMap::new();
        for (doc, entry) in order {
            let choices = [entry.parent, entry.first_parent, None];
            let moved = entry.kind == Kind::Dir;
            let chosen = choices
                .into_iter()
                .find(|parent| is_dir(parent) && !(moved && closes_cycle(&parents, *doc, *parent)))
                .flatten();
            if chosen != entry.parent {
                self.conflicts.push(Conflict { doc: *doc, kind: ConflictKind::Cycle });
            }
            parents.insert(*doc, chosen);
        }
        parents
    }

    /// Gives every sibling a name of its own, from the top down.
    fn place(&mut self, entries: &BTreeMap<DocId, Entry>, siblings: &mut BTreeMap<Option<DocId>, Vec<DocId>>) {
        let mut open = vec![(None, 0)];
        while let Some((parent, depth)) = open.pop() {
            let Some(docs) = siblings.remove(&parent) else {
                continue;
            };
            let (names, nameless) = settle_names(entries, self.folds, &docs);
            self.hidden.extend(nameless.into_iter().map(|doc| (doc, NameFault::Taken)));
            for (name, doc) in &names {
                let entry = &entries[doc];
                if depth >= limits::TREE_DEPTH_MAX {
                    self.hidden.push((*doc, NameFault::TooDeep));
                    continue;
                }
                if *name != entry.name {
                    self.conflicts.push(Conflict { doc: *doc, kind: ConflictKind::Name });
                }
                self.places.insert(*doc, Place { parent, name: name.clone() });
                if entry.kind == Kind::Dir {
                    open.push((Some(*doc), depth + 1));
                }
            }
            self.children.insert(parent, names);
        }
    }

    /// What is in a directory that cannot be shown cannot be shown either, and must not read as deleted.
    fn hide_the_rest(&mut self, alive: &BTreeSet<DocId>) {
        let hidden: BTreeSet<DocId> = self.hidden.iter().map(|(doc, _)| *doc).collect();
        let rest = alive.iter().filter(|doc| !self.places.contains_key(doc) && !hidden.contains(doc));
        self.hidden.extend(rest.map(|doc| (*doc, NameFault::Above)));
    }

    /// Where an entry is shown; `None` when it is not.
    #[must_use]
    pub fn place_of(&self, doc: &DocId) -> Option<&Place> {
        self.places.get(doc)
    }

    /// All that is shown, by id.
    pub fn places(&self) -> impl Iterator<Item = (&DocId, &Place)> {
        self.places.iter()
    }

    /// Which entry is shown under a name of a directory.
    #[must_use]
    pub fn child(&self, parent: Option<DocId>, name: &str) -> Option<DocId> {
        self.children.get(&parent)?.get(name).copied()
    }

    /// Which entry keeps a name of a directory, or one that some member's disk has as the same.
    #[must_use]
    pub fn holder_of(&self, parent: Option<DocId>, name: &str) -> Option<DocId> {
        let like = || {
            let key = self.folds.key(name);
            self.children(parent).find(|(shown, _)| self.folds.key(shown) == key).map(|(_, doc)| *doc)
        };
        self.child(parent, name).or_else(|| like().filter(|_| self.folds.any()))
    }

    /// Which entry is shown at a path; `None` for the root, which is none.
    #[must_use]
    pub fn at(&self, path: &RelPath) -> Option<DocId> {
        path.components().iter().try_fold(None, |at, name| Some(Some(self.child(at, name)?))).flatten()
    }

    /// What is shown in a directory, by name.
    pub fn children(&self, parent: Option<DocId>) -> impl Iterator<Item = (&String, &DocId)> {
        self.children.get(&parent).into_iter().flatten()
    }

    /// The path of an entry that is shown.
    #[must_use]
    pub fn path_of(&self, doc: &DocId) -> Option<RelPath> {
        let mut components = Vec::new();
        let mut next = Some(*doc);
        while let Some(doc) = next {
            let place = self.places.get(&doc)?;
            components.push(place.name.clone());
            next = place.parent;
        }
        components.reverse();
        Some(RelPath::from_components(components))
    }

    /// How many directories are above an entry that is shown.
    #[must_use]
    pub fn depth_of(&self, doc: &DocId) -> usize {
        std::iter::successors(self.places.get(doc), |place| self.places.get(&place.parent?)).count()
    }
}

fn closes_cycle(parents: &BTreeMap<DocId, Option<DocId>>, doc: DocId, parent: Option<DocId>) -> bool {
    std::iter::successors(parent, |above| parents.get(above).copied().flatten()).any(|above| above == doc)
}

/// What lives: whatever says so, and the directories above it.
fn alive(entries: &BTreeMap<DocId, Entry>, parents: &BTreeMap<DocId, Option<DocId>>) -> BTreeSet<DocId> {
    let mut alive = BTreeSet::new();
    for (doc, entry) in entries {
        if !entry.alive {
            continue;
        }
        let mut next = Some(*doc);
        while let Some(doc) = next {
            if !alive.insert(doc) {
                break;
            }
            next = parents.get(&doc).copied().flatten();
        }
    }
    alive
}

/// Directories keep their names before files, then the smaller id does; the others are shown beside it. Names are one where
/// some member's disk has them as one. Those for whom every such name is taken, which takes somebody's intent, come back
/// without one.
fn settle_names(
    entries: &BTreeMap<DocId, Entry>,
    folds: Folds,
    docs: &[DocId],
) -> (BTreeMap<String, DocId>, Vec<DocId>) {
    let mut claims: Vec<DocId> = docs.to_vec();
    claims.sort_by_key(|doc| (entries[doc].kind, *doc));
    let mut taken: BTreeSet<Cow<'_, str>> = BTreeSet::new();
    let mut names: BTreeMap<String, DocId> = BTreeMap::new();
    let mut losers = Vec::new();
    for doc in claims {
        let name = &entries[&doc].name;
        if taken.insert(folds.key(name)) {
            names.insert(name.clone(), doc);
        } else {
            losers.push(doc);
        }
    }
    let mut nameless = Vec::new();
    for doc in losers {
        let name = &entries[&doc].name;
        let free = (6..=64)
            .step_by(2)
            .map(|digits| clash_name(name, &doc.to_string()[..digits]))
            .find(|name| taken.insert(Cow::Owned(folds.key(name).into_owned())));
        match free {
            Some(free) => drop(names.insert(free, doc)),
            None => nameless.push(doc),
        }
    }
    (names, nameless)
}

/// `stem (mark).ext`, shortened so that it still fits a component. What follows a dot and leaves no room for a stem is no
/// extension.
#[must_use]
pub fn clash_name(name: &str, mark: &str) -> String {
    let suffix = format!(" ({mark})");
    let (stem, extension) = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot + suffix.len() < limits::COMPONENT_BYTES_MAX => name.split_at(dot),
        _ => (name, ""),
    };
    let room = limits::COMPONENT_BYTES_MAX.saturating_sub(suffix.len() + extension.len());
    let mut end = room.min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}{extension}", &stem[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(kind: Kind, parent: Option<u8>, name: &str, stamp: u64) -> Entry {
        Entry {
            kind,
            parent: parent.map(|parent| DocId([parent; 32])),
            name: name.to_owned(),
            alive: true,
            content: None,
            exec: false,
            target: None,
            lost_contents: Vec::new(),
            lost_place: false,
            parent_stamp: (stamp, vec![]),
            first_parent: None,
        }
    }

    fn tree(entries: &[(u8, Entry)]) -> BTreeMap<DocId, Entry> {
        entries.iter().map(|(id, entry)| (DocId([*id; 32]), entry.clone())).collect()
    }

    fn path(view: &View, id: u8) -> Option<String> {
        view.path_of(&DocId([id; 32])).map(|path| path.to_string())
    }

    #[test]
    fn a_live_child_brings_its_deleted_directory_back() {
        let mut dir = entry(Kind::Dir, None, "d", 1);
        dir.alive = false;
        let mut gone = entry(Kind::File, Some(1), "gone", 1);
        gone.alive = false;
        let view = View::of(&tree(&[(1, dir), (2, entry(Kind::File, Some(1), "a", 1)), (3, gone)]), Folds::NONE);
        assert_eq!(path(&view, 2).as_deref(), Some("d/a"));
        assert_eq!(path(&view, 3), None);
    }

    #[test]
    fn two_directories_moved_into_each_other_keep_one_of_the_moves() {
        let a = entry(Kind::Dir, Some(2), "a", 5);
        let b = entry(Kind::Dir, Some(1), "b", 6);
        let view = View::of(&tree(&[(1, a), (2, b)]), Folds::NONE);
        // The earlier move holds, the later one is put back.
        assert_eq!(path(&view, 1).as_deref(), Some("b/a"));
        assert_eq!(path(&view, 2).as_deref(), Some("b"));
        let cycle = Conflict { doc: DocId([2; 32]), kind: ConflictKind::Cycle };
        assert_eq!(view.conflicts, [cycle]);
    }

    #[test]
    fn of_two_files_with_one_name_one_keeps_it_and_a_directory_goes_first() {
        let view = View::of(
            &tree(&[
                (1, entry(Kind::File, None, "a.txt", 1)),
                (2, entry(Kind::File, None, "a.txt", 1)),
                (3, entry(Kind::Dir, None, "a.txt", 1)),
            ]),
            Folds::NONE,
        );
        assert_eq!(path(&view, 3).as_deref(), Some("a.txt"));
        assert_eq!(path(&view, 1).as_deref(), Some("a (010101).txt"));
        assert_eq!(path(&view, 2).as_deref(), Some("a (020202).txt"));
    }

    #[test]
    fn names_that_some_disk_has_as_one_clash_by_the_rule_and_only_while_it_does() {
        let (case, form) = (Folds { case: true, form: false }, Folds { case: false, form: true });
        let entries = tree(&[
            (1, entry(Kind::File, None, "Read.me", 1)),
            (2, entry(Kind::File, None, "read.ME", 1)),
            (3, entry(Kind::Dir, None, "READ.ME", 1)),
            (4, entry(Kind::File, Some(3), "caf\u{e9}", 1)),
            (5, entry(Kind::File, Some(3), "cafe\u{301}", 1)),
        ]);
        let paths = |folds| {
            let view = View::of(&entries, folds);
            [1, 2, 3, 4, 5].map(|id| path(&view, id).expect("is shown"))
        };
        let plain = ["Read.me", "read.ME", "READ.ME", "READ.ME/caf\u{e9}", "READ.ME/cafe\u{301}"];
        assert_eq!(paths(Folds::NONE), plain);
        let cased = ["Read (010101).me", "read (020202).ME", "READ.ME"];
        assert_eq!(paths(case), [cased[0], cased[1], cased[2], plain[3], plain[4]]);
        assert_eq!(paths(form), [plain[0], plain[1], plain[2], plain[3], "READ.ME/cafe\u{301} (050505)"]);
        assert_eq!(paths(Folds::ALL)[..3], cased);
    }

    #[test]
    fn a_name_beside_a_clash_that_a_disk_would_fold_is_taken_too() {
        let entries = tree(&[
            (1, entry(Kind::File, None, "a.txt", 1)),
            (2, entry(Kind::File, None, "A.txt", 1)),
            (3, entry(Kind::File, None, "a (020202).TXT", 1)),
        ]);
        let view = View::of(&entries, Folds::ALL);
        assert_eq!(path(&view, 2).as_deref(), Some("A (02020202).txt"));
    }

    #[test]
    fn a_name_no_disk_may_see_is_hidden_and_said() {
        let view = View::of(&tree(&[(1, entry(Kind::File, None, "..", 1))]), Folds::NONE);
        assert_eq!(path(&view, 1), None);
        assert_eq!(view.hidden.len(), 1);
    }

    #[test]
    fn what_is_in_a_directory_that_cannot_be_shown_is_hidden_too() {
        let view = View::of(
            &tree(&[
                (1, entry(Kind::Dir, None, ".git", 1)),
                (2, entry(Kind::Dir, Some(1), "d", 1)),
                (3, entry(Kind::File, Some(2), "a", 1)),
            ]),
            Folds::NONE,
        );
        let hidden: BTreeMap<DocId, NameFault> = view.hidden.iter().copied().collect();
        let all = [(1, NameFault::Reserved), (2, NameFault::Above), (3, NameFault::Above)];
        assert_eq!(hidden, all.map(|(id, fault)| (DocId([id; 32]), fault)).into());
    }

    #[test]
    fn an_entry_whose_every_name_is_taken_is_hidden_and_said() {
        let mut entries = vec![(1, entry(Kind::Dir, None, "a", 1)), (99, entry(Kind::File, None, "a", 1))];
        for (index, digits) in (6..=64).step_by(2).enumerate() {
            let name = clash_name("a", &DocId([99; 32]).to_string()[..digits]);
            entries.push((2 + index as u8, entry(Kind::File, None, &name, 1)));
        }
        let view = View::of(&tree(&entries), Folds::NONE);
        assert_eq!(view.hidden, [(DocId([99; 32]), NameFault::Taken)]);
    }

    #[test]
    fn the_name_of_a_clash_fits_whatever_the_extension() {
        for name in ["a".repeat(255), format!("a.{}", "x".repeat(253)), format!("{}.x", "ü".repeat(126)), ".x".into()]
        {
            let shown = clash_name(&name, "010101");
            assert_eq!(check_name(&shown), Ok(()), "{shown}");
            assert!(shown.contains(" (010101)"));
        }
        assert_eq!(clash_name(".tar.gz", "010101"), ".tar (010101).gz");
    }

    #[test]
    fn directories_nest_so_deep_and_no_deeper() {
        let doc = |depth: usize| DocId([depth as u8; 32]);
        let nested = |depth: usize| {
            let mut dir = entry(Kind::Dir, None, "d", 1);
            dir.parent = depth.checked_sub(1).map(doc);
            (doc(depth), dir)
        };
        let view = View::of(&(0..=limits::TREE_DEPTH_MAX).map(nested).collect(), Folds::NONE);
        let deepest = view.path_of(&doc(limits::TREE_DEPTH_MAX - 1)).expect("is shown");
        assert_eq!(deepest.components().len(), limits::TREE_DEPTH_MAX);
        assert_eq!(view.hidden, [(doc(limits::TREE_DEPTH_MAX), NameFault::TooDeep)]);
    }

    proptest! {
        #[test]
        fn whatever_the_registers_say_the_view_is_a_tree(
            raw in proptest::collection::vec((0u8..3, proptest::option::of(0u8..12), 0u8..5, 0u64..5, any::<bool>()), 1..12),
            case in any::<bool>(), form in any::<bool>()
        ) {
            let folds = Folds { case, form };
            let entries: Vec<_> = raw
                .iter()
                .enumerate()
                .map(|(id, (kind, parent, name, stamp, alive))| {
                    let kind = [Kind::Dir, Kind::Dir, Kind::File][*kind as usize];
                    let mut entry = entry(kind, *parent, ["a", "b", "\u{e9}.x", "A", "e\u{301}.X"][*name as usize], *stamp);
                    entry.alive = *alive;
                    (id as u8, entry)
                })
                .collect();
            let view = View::of(&tree(&entries), folds);
            let mut paths = BTreeSet::new();
            for (doc, _) in view.places() {
                let path = view.path_of(doc).expect("what has a place has a path");
                prop_assert!(paths.insert(folds.key(&path.to_string()).into_owned()), "two entries at one path");
            }
            for (id, entry) in &entries {
                if entry.alive {
                    prop_assert!(view.place_of(&DocId([*id; 32])).is_some(), "{} lives and is not shown", id);
                }
            }
        }
    }
}
