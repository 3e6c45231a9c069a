//! What is to be done on disk so that it shows the tree: tree against base. Pure.
//!
//! The base says where everything is now, the view where it should be. The order of the actions is such that each finds
//! its directory in place: what stands in the way goes aside, from deep to shallow, then directories are made and everything moves from
//! shallow to deep, then bytes are written, and deletes come last, from deep to shallow.

use std::collections::BTreeSet;

use super::{Base, Documents, Ignored};
use crate::{
    doc::entry::{Content, Kind},
    ids::{ContentHash, DocId},
    probe::{Plant, planted},
    tree::{Place, RelPath},
};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Move an entry out of the way of others, into the directory of temporary files.
    Aside {
        /// The entry.
        doc: DocId,
    },
    /// Make a directory.
    MakeDir {
        /// Its entry.
        doc: DocId,
        /// Where.
        place: Place,
    },
    /// Move or rename an entry with everything in it.
    Move {
        /// The entry.
        doc: DocId,
        /// Where to.
        place: Place,
    },
    /// Bring a file's bytes or a link's text, new or changed.
    Write {
        /// The entry.
        doc: DocId,
        /// Where.
        place: Place,
    },
    /// Remove an entry; a directory only if nothing is left in it.
    Delete {
        /// The entry.
        doc: DocId,
    },
}

/// Compares the tree with the base.
#[must_use]
pub fn plan(base: &Base, documents: &Documents, ignored: &Ignored) -> Vec<Action> {
    let view = documents.view();
    let mut moves: Vec<(usize, DocId, &Place)> = Vec::new();
    let mut dirs = Vec::new();
    let mut writes = Vec::new();
    let mut gone = Vec::new();
    let covers = |path: Option<RelPath>, kind: Kind| path.is_none_or(|path| ignored.covers(&path, kind == Kind::Dir));
    for (doc, place) in view.places() {
        let Some(entry) = documents.entry(doc) else {
            continue;
        };
        let on_disk = base.on_disk(doc);
        let keeps_name = on_disk.is_some_and(|(row, _)| row.name == entry.name && row.parent == place.parent);
        let moved = !(keeps_name && planted(Plant::WrongTieBreak))
            && on_disk.is_some_and(|(row, _)| row.parent != place.parent || row.name != place.name);
        // What a plan before this one had to leave aside goes where it belongs.
        let aside = base.is_aside(doc);
        let moved = moved || aside;
        let heads = documents.heads(doc).unwrap_or_default();
        let behind = on_disk.is_none_or(|(row, _)| row.heads != heads);
        if (moved || behind) && !aside && covers(view.path_of(doc), entry.kind) {
            // What others moved to where it is ignored leaves its place, and is let alone from then on. Where its new
            // directory is not and will not be, as that is ignored, too, there is no place for it.
            if moved && !covers(base.path_of(doc), entry.kind) {
                let is_there = |dir| base.on_disk(&dir).is_some() || !covers(view.path_of(&dir), Kind::Dir);
                if place.parent.is_none_or(is_there) {
                    moves.push((view.depth_of(doc), *doc, place));
                } else if entry.kind != Kind::Dir {
                    gone.push(*doc);
                }
            }
            continue;
        }
        if moved {
            moves.push((view.depth_of(doc), *doc, place));
        }
        match entry.kind {
            Kind::Dir if on_disk.is_none() => dirs.push((view.depth_of(doc), *doc, place)),
            // A directory has no bytes: that its document moved on only has to be noted.
            Kind::Dir | Kind::File | Kind::Link if behind => writes.push((*doc, place)),
            _ => {}
        }
    }
    let staying = staying(base, documents);
    let deleted = base
        .rows()
        .filter(|(doc, row)| row.stat.is_some() && view.place_of(doc).is_none() && documents.entry(doc).is_some())
        // What a rule has come to cover is deleted nowhere.
        .filter(|(doc, row)| !staying.contains(doc) && !covers(base.path_of(doc), row.kind));
    gone.extend(deleted.map(|(doc, _)| *doc));
    order(base, moves, dirs, &writes, gone)
}

/// An entry that lives but cannot be shown here stays where it is, and so do the directories that it is in on disk.
fn staying(base: &Base, documents: &Documents) -> BTreeSet<DocId> {
    let mut staying = BTreeSet::new();
    for (doc, _) in &documents.view().hidden {
        let mut next = base.on_disk(doc).map(|_| *doc);
        while let Some(doc) = next.filter(|doc| staying.insert(*doc)) {
            next = base.row(&doc).and_then(|row| row.parent);
        }
    }
    staying
}

fn order(
    base: &Base,
    moves: Vec<(usize, DocId, &Place)>,
    dirs: Vec<(usize, DocId, &Place)>,
    writes: &[(DocId, &Place)],
    gone: Vec<DocId>,
) -> Vec<Action> {
    let leaving: BTreeSet<DocId> = moves.iter().map(|(_, doc, _)| *doc).chain(gone.iter().copied()).collect();
    let targets = moves
        .iter()
        .map(|(_, doc, place)| (doc, place))
        .chain(dirs.iter().map(|(_, doc, place)| (doc, place)))
        .chain(writes.iter().map(|(doc, place)| (doc, place)));
    let mut aside = BTreeSet::new();
    for (doc, place) in targets {
        let in_the_way = base.namesakes(place.parent, &place.name).into_iter();
        aside.extend(in_the_way.filter(|occupant| occupant != doc && leaving.contains(occupant)));
        // A disk that folds names has the new one already, and would not rename at all.
        if base.on_disk(doc).is_some_and(|(row, _)| leaving.contains(doc) && base.is_respelled(row, place)) {
            aside.insert(*doc);
        }
    }
    let depth_of = |doc: &DocId| base.path_of(doc).map_or(0, |path| path.components().len());
    let mut aside: Vec<DocId> = aside.into_iter().collect();
    aside.sort_by_cached_key(|doc| std::cmp::Reverse(depth_of(doc)));
    let mut actions: Vec<Action> = aside.into_iter().map(|doc| Action::Aside { doc }).collect();
    let mut placed: Vec<(usize, Action)> = dirs
        .into_iter()
        .map(|(depth, doc, place)| (depth, Action::MakeDir { doc, place: place.clone() }))
        .chain(moves.into_iter().map(|(depth, doc, place)| (depth, Action::Move { doc, place: place.clone() })))
        .collect();
    placed.sort_by_key(|(depth, _)| *depth);
    actions.extend(placed.into_iter().map(|(_, action)| action));
    actions.extend(writes.iter().map(|(doc, place)| Action::Write { doc: *doc, place: (*place).clone() }));
    let mut deletes = gone;
    deletes.sort_by_cached_key(|doc| std::cmp::Reverse(depth_of(doc)));
    actions.extend(deletes.into_iter().map(|doc| Action::Delete { doc }));
    actions
}

/// The hash of content that must be fetched before it can be written, if the disk does not have it already.
#[must_use]
pub fn wanted_content(base: &Base, documents: &Documents, doc: &DocId) -> Option<crate::doc::entry::ContentRef> {
    let Some(Content::Reference(content)) = documents.entry(doc)?.content else {
        return None;
    };
    let here = base.on_disk(doc).is_some_and(|(row, _)| row.hash == content.hash);
    (!here).then_some(content)
}

/// Whether the disk holds some content somewhere.
#[must_use]
pub fn is_on_disk(base: &Base, hash: &ContentHash) -> bool {
    !base.with_hash(hash).is_empty()
}

#[cfg(test)]
mod states;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doc::entry::Entry,
        ids::ChangeHash,
        store::row::{BaseRow, Stat},
    };

    fn doc(id: u8) -> DocId {
        DocId([id; 32])
    }

    fn entry(kind: Kind, parent: Option<u8>, name: &str) -> Entry {
        Entry {
            kind,
            parent: parent.map(doc),
            name: name.into(),
            alive: true,
            content: (kind == Kind::File).then(|| Content::Inline(vec![])),
            exec: false,
            target: None,
            lost_contents: vec![],
            lost_place: false,
            parent_stamp: (1, vec![]),
            first_parent: None,
        }
    }

    fn documents(entries: &[(u8, Entry)]) -> Documents {
        let mut documents = Documents::default();
        for (id, entry) in entries {
            documents.set(doc(*id), vec![ChangeHash([*id; 32])], entry.clone());
        }
        documents.refresh();
        documents
    }

    /// A base in which all of these are on disk as they are.
    fn base(entries: &[(u8, Entry)]) -> Base {
        Base::new(entries.iter().map(|(id, entry)| {
            let stat =
                Stat { size: 0, mtime_ns: 1, ctime_ns: 1, btime_ns: 1, inode: u64::from(*id), device: 1, exec: false };
            let row = BaseRow {
                kind: entry.kind,
                parent: entry.parent,
                name: entry.name.clone(),
                heads: vec![ChangeHash([*id; 32])],
                hash: ContentHash([0; 32]),
                stat: Some(stat),
                intent: None,
                racy: false,
            };
            (doc(*id), row)
        }))
    }

    #[test]
    fn nothing_is_planned_where_nothing_differs() {
        let entries = [(1, entry(Kind::Dir, None, "d")), (2, entry(Kind::File, Some(1), "a"))];
        assert_eq!(plan(&base(&entries), &documents(&entries), &Ignored::default()), []);
    }

    #[test]
    fn a_swap_goes_by_way_of_temporary_names() {
        let before = [(1, entry(Kind::File, None, "a")), (2, entry(Kind::File, None, "b"))];
        let after = [(1, entry(Kind::File, None, "b")), (2, entry(Kind::File, None, "a"))];
        let actions = plan(&base(&before), &documents(&after), &Ignored::default());
        assert!(matches!(
            actions[..],
            [Action::Aside { .. }, Action::Aside { .. }, Action::Move { .. }, Action::Move { .. }]
        ));
    }

    #[test]
    fn directories_come_before_what_is_in_them_and_deletes_come_last_from_the_deep() {
        let before = [
            (1, entry(Kind::Dir, None, "old")),
            (2, entry(Kind::Dir, Some(1), "sub")),
            (3, entry(Kind::File, Some(2), "gone")),
            (4, entry(Kind::File, Some(2), "kept")),
        ];
        let mut after = before.clone();
        for (_, entry) in &mut after[..3] {
            entry.alive = false;
        }
        after[3].1 = entry(Kind::File, Some(5), "kept");
        let mut after = after.to_vec();
        after.push((5, entry(Kind::Dir, None, "new")));
        let actions = plan(&base(&before), &documents(&after), &Ignored::default());
        let expected = [
            Action::MakeDir { doc: doc(5), place: Place { parent: None, name: "new".into() } },
            Action::Move { doc: doc(4), place: Place { parent: Some(doc(5)), name: "kept".into() } },
            Action::Delete { doc: doc(3) },
            Action::Delete { doc: doc(2) },
            Action::Delete { doc: doc(1) },
        ];
        assert_eq!(actions, expected);
    }

    #[test]
    fn a_renamed_directory_is_one_action_whatever_it_holds() {
        let before = [(1, entry(Kind::Dir, None, "d")), (2, entry(Kind::File, Some(1), "a"))];
        let after = [(1, entry(Kind::Dir, None, "e")), (2, entry(Kind::File, Some(1), "a"))];
        let actions = plan(&base(&before), &documents(&after), &Ignored::default());
        assert_eq!(actions, [Action::Move { doc: doc(1), place: Place { parent: None, name: "e".into() } }]);
    }

    #[test]
    fn what_gets_an_ignored_name_in_a_new_directory_moves_there() {
        let before = [(1, entry(Kind::File, None, "a"))];
        let after = [(1, entry(Kind::File, Some(2), ".DS_Store")), (2, entry(Kind::Dir, None, "new"))];
        let actions = plan(&base(&before), &documents(&after), &Ignored::default());
        let expected = [
            Action::MakeDir { doc: doc(2), place: Place { parent: None, name: "new".into() } },
            Action::Move { doc: doc(1), place: Place { parent: Some(doc(2)), name: ".DS_Store".into() } },
        ];
        assert_eq!(actions, expected);
    }

    #[test]
    fn what_is_in_a_directory_that_cannot_be_shown_is_not_deleted() {
        let before = [(1, entry(Kind::Dir, None, "d")), (2, entry(Kind::File, Some(1), "a"))];
        let after = [(1, entry(Kind::Dir, None, ".git")), (2, entry(Kind::File, Some(1), "a"))];
        assert_eq!(plan(&base(&before), &documents(&after), &Ignored::default()), []);
    }

    #[test]
    fn what_moved_into_a_directory_that_cannot_be_shown_stays_where_it_is() {
        let before =
            [(1, entry(Kind::Dir, None, "d")), (2, entry(Kind::File, Some(1), "a")), (3, entry(Kind::Dir, None, "e"))];
        let mut after = before.clone();
        after[0].1.alive = false;
        after[1].1.parent = Some(doc(3));
        after[2].1.name = ".git".into();
        assert_eq!(plan(&base(&before), &documents(&after), &Ignored::default()), []);
    }

    #[test]
    fn what_goes_aside_goes_before_the_directory_that_it_is_in() {
        let before = [(1, entry(Kind::Dir, None, "d")), (2, entry(Kind::File, Some(1), "a"))];
        let mut after = before.to_vec();
        after[0].1.name = "e".into();
        after[1].1.name = "b".into();
        after.push((3, entry(Kind::File, Some(1), "a")));
        after.push((4, entry(Kind::File, None, "d")));
        let actions = plan(&base(&before), &documents(&after), &Ignored::default());
        assert_eq!(actions[..2], [Action::Aside { doc: doc(2) }, Action::Aside { doc: doc(1) }]);
    }

    #[test]
    fn a_base_without_a_document_is_left_alone() {
        let before = [(1, entry(Kind::File, None, "a"))];
        assert_eq!(plan(&base(&before), &Documents::default(), &Ignored::default()), []);
    }
}
