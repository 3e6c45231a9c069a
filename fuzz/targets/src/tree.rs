//! The tree that any entries make.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::{
    doc::entry::{Content, Entry, Kind},
    folder::Documents,
    ids::DocId,
    limits,
    tree::{Folds, View, check_name, clash_name},
};

use crate::input::Input;

/// Names that get in each other's way, and some that no disk may see.
const NAMES: &[&str] = &["a", "b", "a.txt", "b.txt", "c.d.e", ".x", "ü", ".git", "..", "", "a/b", ".kith", ".DS_Store"];
/// Names of [`NAMES`] that any disk may see.
pub(crate) const GOOD_NAMES: usize = 7;

/// An entry with nothing special.
pub(crate) fn plain(kind: Kind, parent: Option<DocId>, name: &str) -> Entry {
    Entry {
        kind,
        parent,
        name: name.to_owned(),
        alive: true,
        content: (kind == Kind::File).then(|| Content::Inline(vec![])),
        exec: false,
        target: None,
        lost_contents: Vec::new(),
        lost_place: false,
        parent_stamp: (1, Vec::new()),
        first_parent: None,
    }
}

/// A document's id; many begin alike, so that the names of clashes clash.
pub(crate) fn doc(index: usize) -> DocId {
    let mut id = [(index % 3) as u8; 32];
    id[31] = index as u8;
    id[30] = (index >> 8) as u8;
    DocId(id)
}

/// A name; `good` ones can stand on any disk.
pub(crate) fn some_name(input: &mut Input<'_>, good: bool) -> String {
    match input.below(16) {
        0 => "x".repeat(limits::COMPONENT_BYTES_MAX - input.below(3)),
        1 => format!("a.{}", "x".repeat(limits::COMPONENT_BYTES_MAX - 2 - input.below(3))),
        // What a clash would make of another entry.
        2 => {
            let digits = 6 + 2 * input.below(30);
            let name: &str = input.of::<&str>(&["a", "a.txt"]);
            clash_name(name, &doc(input.below(12)).to_string()[..digits])
        }
        _ => (*input.of(if good { &NAMES[..GOOD_NAMES] } else { NAMES })).to_owned(),
    }
}

fn some_entries(input: &mut Input<'_>) -> Vec<(DocId, Entry)> {
    let mut entries = Vec::new();
    let count = 1 + input.below(20);
    for index in 0..count {
        let kind = *input.of(&[Kind::Dir, Kind::Dir, Kind::File, Kind::Link]);
        // One past the last names a directory that nobody has.
        let some_dir = |input: &mut Input<'_>| (!input.one_in(3)).then(|| doc(input.below(count + 1)));
        let parent = some_dir(input);
        let mut entry = plain(kind, parent, &some_name(input, false));
        entry.first_parent = some_dir(input);
        entry.alive = !input.one_in(3);
        entry.lost_place = input.one_in(8);
        entry.parent_stamp = (input.below(4) as u64, vec![input.byte() % 2]);
        entries.push((doc(index), entry));
    }
    if input.one_in(8) {
        // Deeper than any tree may be.
        let depth = limits::TREE_DEPTH_MAX - 4 + input.below(16);
        for index in 0..depth {
            let parent = (index > 0).then(|| doc(1000 + index - 1));
            entries.push((doc(1000 + index), plain(Kind::Dir, parent, "d")));
        }
    }
    entries
}

/// Every entry that lives has one place or is hidden, places are unique and make a tree, the names in it can stand on a
/// disk, and the order in which the entries came does not matter.
///
/// # Panics
/// When a promise is broken.
pub fn tree(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let list = some_entries(&mut input);
    let entries: BTreeMap<DocId, Entry> = list.iter().cloned().collect();
    let mut documents = Documents::default();
    let mut left = list;
    while !left.is_empty() {
        let (doc, entry) = left.swap_remove(input.below(left.len()));
        documents.set(doc, Vec::new(), entry);
        // A tree of many entries is computed at the end only.
        if left.len() < 24 && input.one_in(3) {
            documents.refresh();
        }
    }
    let folds = Folds { case: input.below(2) == 1, form: input.below(2) == 1 };
    documents.set_folds(folds);
    documents.refresh();
    let view = View::of(&entries, folds);
    assert_tree(&entries, &view, folds);
    assert_life(&entries, &view);
    assert_eq!(documents.view(), &view);
}

fn assert_tree(entries: &BTreeMap<DocId, Entry>, view: &View, folds: Folds) {
    let mut taken = BTreeSet::new();
    let mut paths = BTreeSet::new();
    for (doc, place) in view.places() {
        assert!(taken.insert((place.parent, folds.key(&place.name))), "two entries at one place");
        assert_eq!(check_name(&place.name), Ok(()), "{:?}", place.name);
        assert_eq!(view.child(place.parent, &place.name), Some(*doc));
        if let Some(parent) = place.parent {
            assert!(view.place_of(&parent).is_some() && entries[&parent].kind == Kind::Dir);
        }
        let path = view.path_of(doc).expect("what has a place has a path");
        assert!(path.components().len() <= limits::TREE_DEPTH_MAX);
        assert_eq!(view.depth_of(doc), path.components().len());
        assert!(paths.insert(path), "two entries at one path");
    }
}

fn assert_life(entries: &BTreeMap<DocId, Entry>, view: &View) {
    let hidden: BTreeSet<DocId> = view.hidden.iter().map(|(doc, _)| *doc).collect();
    assert_eq!(hidden.len(), view.hidden.len(), "an entry is hidden twice");
    for (doc, entry) in entries {
        let shown = view.place_of(doc).is_some();
        assert!(!(shown && hidden.contains(doc)), "{doc} is shown and hidden");
        assert!(!entry.alive || shown || hidden.contains(doc), "{doc} lives and is neither shown nor hidden");
        // What is dead is shown only because of something that lives.
        assert!(entry.alive || !shown || entry.kind == Kind::Dir, "{doc} is dead and shown");
    }
    let lives = |doc: &DocId| entries.get(doc).is_some_and(|entry| entry.alive);
    assert!(entries.keys().any(lives) || view.places().next().is_none(), "nothing lives and something is shown");
}
