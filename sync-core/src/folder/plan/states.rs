//! The plan for every combination of what the base knows of an entry and what the tree says of it, and for every way in
//! which a few entries can change places. What a plan does to a disk is played on a list of places, which is no disk.

use std::collections::BTreeMap;

use super::*;
use crate::{
    doc::entry::Entry,
    ids::ChangeHash,
    store::row::{BaseRow, Stat},
};

const DIR: DocId = DocId([9; 32]);

fn doc(id: u8) -> DocId {
    DocId([id; 32])
}

fn heads(of: u8) -> Vec<ChangeHash> {
    vec![ChangeHash([of; 32])]
}

fn entry(kind: Kind, parent: Option<DocId>, name: &str, alive: bool) -> Entry {
    Entry {
        kind,
        parent,
        name: name.into(),
        alive,
        content: (kind == Kind::File).then(|| Content::Inline(vec![])),
        exec: false,
        target: (kind == Kind::Link).then(|| "x".into()),
        lost_contents: vec![],
        lost_place: false,
        parent_stamp: (1, vec![]),
        first_parent: None,
    }
}

fn row(kind: Kind, parent: Option<DocId>, name: &str, of: u8, on_disk: bool) -> BaseRow {
    let stat = Stat { size: 0, mtime_ns: 1, ctime_ns: 1, btime_ns: 1, inode: 1, device: 1, exec: false };
    BaseRow {
        kind,
        parent,
        name: name.into(),
        heads: heads(of),
        hash: ContentHash([0; 32]),
        stat: on_disk.then_some(stat),
        intent: None,
        racy: false,
    }
}

/// What the base knows of an entry, what the tree says of it, and the plan, for a file or a link and for a directory.
const ROWS: [(&str, &str, &str, &str); 24] = [
    ("nothing", "no document", "", ""),
    ("nothing", "deleted", "", ""),
    ("nothing", "hidden", "", ""),
    ("nothing", "here", "write", "make"),
    ("nothing", "renamed", "write", "make"),
    ("nothing", "moved", "write", "make"),
    ("only intended", "no document", "", ""),
    ("only intended", "deleted", "", ""),
    ("only intended", "hidden", "", ""),
    ("only intended", "here", "write", "make"),
    ("only intended", "renamed", "write", "make"),
    ("only intended", "moved", "write", "make"),
    ("on disk", "no document", "", ""),
    ("on disk", "deleted", "delete", "delete"),
    ("on disk", "hidden", "", ""),
    ("on disk", "here", "", ""),
    ("on disk", "renamed", "move", "move"),
    ("on disk", "moved", "move", "move"),
    ("on disk, behind", "no document", "", ""),
    ("on disk, behind", "deleted", "delete", "delete"),
    ("on disk, behind", "hidden", "", ""),
    ("on disk, behind", "here", "write", "write"),
    ("on disk, behind", "renamed", "move write", "move write"),
    ("on disk, behind", "moved", "move write", "move write"),
];

#[test]
fn every_state_of_base_and_tree_has_its_plan() {
    for kind in [Kind::File, Kind::Link, Kind::Dir] {
        for (known, said, of_file, of_dir) in ROWS {
            let base_of = |on_disk, of| vec![(doc(1), row(kind, None, "a", of, on_disk))];
            let mut rows = match known {
                "nothing" => vec![],
                "only intended" => base_of(false, 1),
                "on disk" => base_of(true, 1),
                _ => base_of(true, 7),
            };
            rows.push((DIR, row(Kind::Dir, None, "d", 9, true)));
            let mut documents = Documents::default();
            documents.set(DIR, heads(9), entry(Kind::Dir, None, "d", true));
            let told = match said {
                "deleted" => Some(entry(kind, None, "a", false)),
                "hidden" => Some(entry(kind, None, ".git", true)),
                "here" => Some(entry(kind, None, "a", true)),
                "renamed" => Some(entry(kind, None, "b", true)),
                "moved" => Some(entry(kind, Some(DIR), "a", true)),
                _ => None,
            };
            if let Some(entry) = told {
                documents.set(doc(1), heads(1), entry);
            }
            documents.refresh();
            let planned = plan(&Base::new(rows), &documents, &Ignored::default());
            let words: Vec<&str> = planned.iter().map(word).collect();
            let wanted = if kind == Kind::Dir { of_dir } else { of_file };
            assert_eq!(words.join(" "), wanted, "a {kind:?} that is {known} in the base and {said} in the tree");
        }
    }
}

fn word(action: &Action) -> &'static str {
    match action {
        Action::Aside { .. } => "aside",
        Action::MakeDir { .. } => "make",
        Action::Move { .. } => "move",
        Action::Write { .. } => "write",
        Action::Delete { .. } => "delete",
    }
}

#[test]
fn what_is_ignored_here_is_neither_written_nor_moved() {
    let swap = ".a.swp";
    let planned = |known: Option<&str>, said: &str, alive: bool| {
        let rows = known.map(|name| (doc(1), row(Kind::File, None, name, 7, true)));
        let mut documents = Documents::default();
        documents.set(doc(1), heads(1), entry(Kind::File, None, said, alive));
        documents.refresh();
        plan(&Base::new(rows), &documents, &Ignored::default())
    };
    for known in [None, Some(swap)] {
        assert_eq!(planned(known, swap, true), [], "{known:?}");
    }
    // Nor is it deleted; but what others moved there leaves its place.
    assert_eq!(planned(Some(swap), swap, false), []);
    let place = Place { parent: None, name: swap.into() };
    assert_eq!(planned(Some("a"), swap, true), [Action::Move { doc: doc(1), place }]);
}

#[test]
fn what_is_moved_into_a_directory_that_is_ignored_and_not_here_goes() {
    let mut documents = Documents::default();
    documents.set(doc(1), heads(1), entry(Kind::Dir, None, ".git~.swp", true));
    documents.set(doc(2), heads(1), entry(Kind::File, Some(doc(1)), "f", true));
    documents.refresh();
    let rows = [(doc(2), row(Kind::File, None, "f", 7, true))];
    assert_eq!(plan(&Base::new(rows), &documents, &Ignored::default()), [Action::Delete { doc: doc(2) }]);
}

/// A place of the played disk.
type At = (Option<DocId>, &'static str);

/// All ways to put three files at these places or nowhere.
fn ways(places: &[At]) -> Vec<[Option<At>; 3]> {
    let mut choices: Vec<Option<At>> = places.iter().copied().map(Some).collect();
    choices.push(None);
    let mut ways = Vec::new();
    for a in &choices {
        for b in &choices {
            for c in &choices {
                let distinct = |x: &Option<At>, y: &Option<At>| x.is_none() || x != y;
                if distinct(a, b) && distinct(a, c) && distinct(b, c) {
                    ways.push([*a, *b, *c]);
                }
            }
        }
    }
    ways
}

/// Carries a plan out on a list of places and checks that each action finds what it needs.
fn play(disk: &mut BTreeMap<DocId, Option<Place>>, actions: &[Action]) {
    let is_free = |disk: &BTreeMap<DocId, Option<Place>>, doc: &DocId, place: &Place| {
        let parent = place.parent.is_none_or(|parent| matches!(disk.get(&parent), Some(Some(_))));
        parent && !disk.iter().any(|(other, at)| other != doc && at.as_ref() == Some(place))
    };
    for action in actions {
        match action {
            Action::Aside { doc } => {
                assert!(disk.insert(*doc, None).is_some_and(|at| at.is_some()), "{actions:?}");
            }
            Action::MakeDir { doc, place } => {
                assert!(is_free(disk, doc, place), "{action:?} of {actions:?} on {disk:?}");
                assert_eq!(disk.insert(*doc, Some(place.clone())), None);
            }
            Action::Move { doc, place } => {
                assert!(
                    is_free(disk, doc, place) && place.parent != Some(*doc),
                    "{action:?} of {actions:?} on {disk:?}"
                );
                assert!(disk.insert(*doc, Some(place.clone())).is_some(), "{actions:?}");
            }
            Action::Write { doc, place } => {
                assert!(is_free(disk, doc, place), "{action:?} of {actions:?} on {disk:?}");
                let was = disk.insert(*doc, Some(place.clone()));
                assert!(was.is_none_or(|at| at.as_ref() == Some(place)), "{actions:?}");
            }
            Action::Delete { doc } => {
                let filled = disk.values().flatten().any(|place| place.parent == Some(*doc));
                assert!(!filled && disk.remove(doc).is_some(), "{action:?} of {actions:?} on {disk:?}");
            }
        }
    }
}

/// Swaps, rings, chains, files that leave a directory that goes or come into one that is new, with a directory that takes
/// the name of a file: whatever three files and a directory were and are to be.
#[test]
fn entries_change_places_in_every_way_and_none_is_in_the_way() {
    let places: [At; 3] = [(None, "a"), (None, "b"), (Some(DIR), "a")];
    let mut plans = 0;
    for dir_was in [None, Some("d"), Some("a")] {
        let usable = |way: &[Option<At>; 3]| {
            way.iter().flatten().all(|(parent, name)| match parent {
                Some(_) => dir_was.is_some(),
                None => dir_was != Some(name),
            })
        };
        for was in ways(&places).into_iter().filter(usable) {
            let files = was.iter().zip(1..).filter_map(|(at, id)| Some((doc(id), (*at)?)));
            let mut rows: Vec<(DocId, BaseRow)> =
                files.map(|(doc, (parent, name))| (doc, row(Kind::File, parent, name, 7, true))).collect();
            rows.extend(dir_was.map(|name| (DIR, row(Kind::Dir, None, name, 9, true))));
            let base = Base::new(rows.clone());
            for (dir_is, alive) in [("d", true), ("b", true), ("d", false)] {
                for is in ways(&places) {
                    let mut documents = Documents::default();
                    documents.set(DIR, heads(9), entry(Kind::Dir, None, dir_is, alive));
                    for (at, id) in is.iter().zip(1..) {
                        let (parent, name) = at.unwrap_or((None, "gone"));
                        documents.set(doc(id), heads(id), entry(Kind::File, parent, name, at.is_some()));
                    }
                    documents.refresh();
                    let place_of = |row: &BaseRow| Some(Place { parent: row.parent, name: row.name.clone() });
                    let mut disk = rows.iter().map(|(doc, row)| (*doc, place_of(row))).collect();
                    play(&mut disk, &plan(&base, &documents, &Ignored::default()));
                    let wanted: BTreeMap<DocId, Option<Place>> =
                        documents.view().places().map(|(doc, place)| (*doc, Some(place.clone()))).collect();
                    assert_eq!(disk, wanted, "from {was:?}, {dir_was:?}");
                    plans += 1;
                }
            }
        }
    }
    assert!(plans > 5_000, "{plans}");
}
