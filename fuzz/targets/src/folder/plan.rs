//! Plans of random changes, carried out on a model of a disk.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::{
    doc::entry::{Entry, Kind},
    folder::{
        Base, Documents, Ignored,
        plan::{Action, plan},
    },
    ids::{ChangeHash, ContentHash, DocId},
    store::row::{BaseRow, Intent},
    tree::{Place, check_name},
};

use super::{DOCS, change_entries, row, stat};
use crate::{input::Input, tree::doc};

/// A plan, carried out step by step, finds each directory in place and each name free, ends with the tree on disk, and
/// leaves nothing to plan. Where an entry cannot be shown, it stays where it was and nothing else is lost; what is ignored
/// where others moved it is not.
///
/// # Panics
/// When a promise is broken.
pub fn folder_plan(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let good = !input.one_in(4);
    any_base(&mut Input::new(bytes));
    let mut entries = Vec::new();
    let mut disk = Disk::default();
    for _ in 0..=input.below(4) {
        change_entries(&mut input, &mut entries, good);
        let documents = documents_of(&entries);
        let before: BTreeSet<DocId> = disk.at.keys().copied().collect();
        let strict = disk.bring(&documents);
        assert_nothing_lost(&documents, &before, &disk);
        if !strict {
            return;
        }
        let shown: BTreeMap<DocId, Place> =
            documents.view().places().map(|(doc, place)| (*doc, place.clone())).collect();
        assert_eq!(disk.at, shown, "the disk shows the tree");
    }
}

fn documents_of(entries: &[(DocId, Entry, u8)]) -> Documents {
    let mut documents = Documents::default();
    for (doc, entry, version) in entries {
        documents.set(*doc, vec![ChangeHash([*version; 32])], entry.clone());
    }
    documents.refresh();
    documents
}

fn assert_nothing_lost(documents: &Documents, before: &BTreeSet<DocId>, disk: &Disk) {
    let ignored = Ignored::default();
    // What others moved into a directory that is ignored, and so is not here, has no place on this disk.
    let has_no_place = |doc: &DocId| {
        documents.view().path_of(doc).and_then(|path| path.split().map(|(dir, _)| ignored.covers(&dir, true)))
            == Some(true)
    };
    for doc in before {
        let lives = documents.entry(doc).is_some_and(|entry| entry.alive) && !has_no_place(doc);
        assert!(!lives || disk.at.contains_key(doc) || disk.aside.contains(doc), "{doc} lives and was deleted");
    }
}

/// A disk that knows of each entry where it is; the base is what the folder believes of it.
#[derive(Default)]
struct Disk {
    at: BTreeMap<DocId, Place>,
    aside: BTreeSet<DocId>,
    base: Base,
    inodes: u64,
}

impl Disk {
    /// Plans and carries out until there is nothing to do. Says whether everything could be done; only what cannot be
    /// shown may be in the way.
    fn bring(&mut self, documents: &Documents) -> bool {
        let ignored = Ignored::default();
        let actions = plan(&self.base, documents, &ignored);
        for action in &actions {
            assert_inside(action, documents);
        }
        let in_the_way = !documents.view().hidden.is_empty()
            || documents
                .view()
                .places()
                .any(|(doc, _)| documents.view().path_of(doc).is_some_and(|path| ignored.covers(&path, true)));
        for action in &actions {
            let done = self.carry_out(action, documents);
            assert!(done || in_the_way, "{action:?} cannot be carried out\n{actions:#?}");
        }
        if in_the_way {
            return false;
        }
        assert!(self.aside.is_empty(), "something was left aside: {actions:#?}");
        assert_eq!(plan(&self.base, documents, &ignored), [], "the plan was carried out: {actions:#?}");
        true
    }

    fn carry_out(&mut self, action: &Action, documents: &Documents) -> bool {
        match action {
            Action::Aside { doc } => {
                let there = self.at.contains_key(doc) && self.is_in_place(Some(*doc));
                self.at.remove(doc);
                self.aside.insert(*doc);
                there
            }
            Action::MakeDir { doc, place } => self.is_free(place) && self.make(*doc, Kind::Dir, place, documents),
            Action::Move { doc, place } => {
                let inside_itself = self.is_within(place.parent, *doc);
                if !self.is_free(place) || inside_itself || !(self.at.contains_key(doc) || self.aside.contains(doc)) {
                    return false;
                }
                self.aside.remove(doc);
                self.at.insert(*doc, place.clone());
                self.change_row(*doc, |row| (row.parent, row.name) = (place.parent, place.name.clone()));
                true
            }
            Action::Write { doc, place } => {
                let kind = documents.entry(doc).map_or(Kind::File, |entry| entry.kind);
                if self.base.on_disk(doc).is_none() {
                    return self.is_free(place) && self.make(*doc, kind, place, documents);
                }
                let heads = documents.heads(doc).unwrap_or_default().to_vec();
                let there = self.at.get(doc) == Some(place);
                if there {
                    self.change_row(*doc, |row| row.heads = heads);
                }
                there
            }
            Action::Delete { doc } => {
                let is_empty = self.at.values().all(|place| place.parent != Some(*doc));
                let there = self.at.contains_key(doc) || self.aside.contains(doc);
                if is_empty && there {
                    self.at.remove(doc);
                    self.aside.remove(doc);
                    self.base.set(*doc, None);
                }
                is_empty && there
            }
        }
    }

    fn make(&mut self, doc: DocId, kind: Kind, place: &Place, documents: &Documents) -> bool {
        self.inodes += 1;
        let heads = documents.heads(&doc).unwrap_or_default().to_vec();
        self.base.set(doc, Some(row(kind, place, heads, self.inodes)));
        self.at.insert(doc, place.clone());
        true
    }

    fn change_row(&mut self, doc: DocId, change: impl FnOnce(&mut BaseRow)) {
        if let Some(mut row) = self.base.row(&doc).cloned() {
            change(&mut row);
            self.base.set(doc, Some(row));
        }
    }

    /// Whether a directory is there, and no directory above it is aside.
    fn is_in_place(&self, dir: Option<DocId>) -> bool {
        dir.is_none_or(|dir| self.at.get(&dir).is_some_and(|place| self.is_in_place(place.parent)))
    }

    fn is_free(&self, place: &Place) -> bool {
        self.is_in_place(place.parent) && !self.at.values().any(|taken| taken == place)
    }

    fn is_within(&self, dir: Option<DocId>, doc: DocId) -> bool {
        dir.is_some_and(|dir| dir == doc || self.at.get(&dir).is_some_and(|place| self.is_within(place.parent, doc)))
    }
}

/// No action has a place outside the folder, or a name that no disk may see.
fn assert_inside(action: &Action, documents: &Documents) {
    let (Action::MakeDir { doc, place } | Action::Move { doc, place } | Action::Write { doc, place }) = action else {
        return;
    };
    assert_eq!(check_name(&place.name), Ok(()));
    let path = documents.view().path_of(doc).expect("what is planned has a path");
    assert!(path.components().iter().all(|name| check_name(name).is_ok()));
}

/// A base that no disk ever was: with parents that are not there or in each other, names twice, intents alone.
fn any_base(input: &mut Input<'_>) {
    let mut entries = Vec::new();
    change_entries(input, &mut entries, false);
    let rows = (0..input.below(DOCS)).map(|index| {
        let parent = (!input.one_in(3)).then(|| doc(input.below(DOCS)));
        let place = Place { parent, name: (*input.of(&["a", "b", "a.txt"])).to_owned() };
        let kind = *input.of(&[Kind::Dir, Kind::File, Kind::Link]);
        let mut row = row(kind, &place, vec![ChangeHash([input.byte() % 3; 32])], index as u64);
        if input.one_in(4) {
            let intent = Intent { heads: vec![], hash: ContentHash([1; 32]), place: (place.parent, place.name) };
            row.intent = Some(intent);
            row.stat = input.one_in(2).then(|| stat(index as u64));
        }
        (doc(index), row)
    });
    let base = Base::new(rows.collect::<Vec<_>>());
    let documents = documents_of(&entries);
    for action in plan(&base, &documents, &Ignored::default()) {
        assert_inside(&action, &documents);
    }
}
