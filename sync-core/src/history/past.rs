//! Entries by the paths that they have, or had: the tree now, the tree at a point, and what is gone from it.
//!
//! A path is computed from registers, so a deleted entry still says where it was last, and the changes of one that was
//! renamed say what it was called before. Everything here reads the whole space; nothing is kept for it.

use std::collections::{BTreeMap, BTreeSet};

use super::{HistoryError, Library, point::Point};
use crate::{
    commit::{Item, member_ops},
    doc::entry::Entry,
    ids::{ChangeHash, DocId},
    limits,
    member::{MemberCommit, Membership, rank},
    preflight::ChangeHead,
    store::{Rows as _, StoreError, row::DocRow},
    tree::{Folds, RelPath, View},
};

/// How an entry stands to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is there.
    Here,
    /// It was there when it was deleted.
    Gone,
    /// It was there once, and was renamed or moved since.
    Before,
}

/// An entry, and how it stands to the path that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// How it stands to the path.
    pub standing: Standing,
    /// The entry.
    pub doc: DocId,
}

/// What the members' disks did not tell apart in names at a point, or do not now.
fn folds_at(library: &Library, point: Option<&Point>) -> Result<Folds, StoreError> {
    let mut commits = Vec::new();
    for (replica, log) in library.snapshot.replica_rows(library.space)? {
        for (n, row, body) in library.snapshot.membership_rows(library.space, replica)? {
            if point.is_none_or(|point| point.has(replica, n)) {
                let ops = member_ops(&body).ok_or(StoreError::Row { table: "body" })?;
                let commit = MemberCommit { hash: row.hash(), author: log.device, ops };
                commits.push((rank(row.clock.iter().map(|(_, n)| *n), commit.hash), commit));
            }
        }
    }
    commits.sort_by_key(|(rank, _)| *rank);
    Ok(Membership::at(commits.iter().map(|(_, commit)| commit)).folds())
}

/// All entries of a space at some point, and the tree that they made.
#[derive(Debug, Default)]
pub struct Past {
    rows: BTreeMap<DocId, DocRow>,
    heads: BTreeMap<DocId, Vec<ChangeHash>>,
    entries: BTreeMap<DocId, Entry>,
    view: View,
}

impl Past {
    /// The tree as it is. Documents that cannot be read are left out: they say so elsewhere.
    ///
    /// # Errors
    /// When the store fails.
    pub fn now(library: &mut Library) -> Result<Self, StoreError> {
        let folds = folds_at(library, None)?;
        Self::read(library, folds, |_, _, row| Ok(row.heads.clone()))
    }

    /// The tree as it was at a point.
    ///
    /// # Errors
    /// When the store fails.
    pub fn at(library: &mut Library, point: &Point) -> Result<Self, StoreError> {
        let folds = folds_at(library, Some(point))?;
        Self::read(library, folds, |library, doc, row| library.heads_at(doc, row, point))
    }

    fn read(
        library: &mut Library,
        folds: Folds,
        heads_of: impl Fn(&Library, &DocId, &DocRow) -> Result<Vec<ChangeHash>, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut rows = Vec::new();
        library.snapshot.each_document(library.space, |doc, row| rows.push((row.handle, doc, row)))?;
        // In the order of arrival: neighbours rest in one body.
        rows.sort_unstable_by_key(|(handle, ..)| *handle);
        let mut past = Self::default();
        for (_, doc, row) in rows {
            let heads = heads_of(library, &doc, &row)?;
            if heads.is_empty() {
                continue;
            }
            match library.entry_at(&doc, &row, &heads) {
                Ok(entry) => {
                    past.entries.insert(doc, entry);
                    past.heads.insert(doc, heads);
                    past.rows.insert(doc, row);
                }
                Err(HistoryError::Store(error)) => return Err(error),
                Err(HistoryError::Doc(_)) => {}
            }
        }
        past.view = View::of(&past.entries, folds);
        Ok(past)
    }

    /// The tree.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// An entry's registers then.
    #[must_use]
    pub fn entry(&self, doc: &DocId) -> Option<&Entry> {
        self.entries.get(doc)
    }

    /// An entry's heads then.
    #[must_use]
    pub fn heads(&self, doc: &DocId) -> &[ChangeHash] {
        self.heads.get(doc).map_or(&[], Vec::as_slice)
    }

    /// All documents' rows now.
    pub fn rows(&self) -> impl Iterator<Item = (&DocId, &DocRow)> {
        self.rows.iter()
    }

    /// A document's row now.
    #[must_use]
    pub fn row(&self, doc: &DocId) -> Option<&DocRow> {
        self.rows.get(doc)
    }

    /// Where an entry is shown, or was last.
    #[must_use]
    pub fn path_of(&self, doc: &DocId) -> RelPath {
        self.view.path_of(doc).unwrap_or_else(|| self.last_path(doc))
    }

    /// The path of a directory; the root for `None`.
    #[must_use]
    pub fn dir_path(&self, dir: Option<&DocId>) -> RelPath {
        dir.map_or_else(RelPath::root, |dir| self.path_of(dir))
    }

    fn last_path(&self, doc: &DocId) -> RelPath {
        let mut components = Vec::new();
        let mut next = Some(*doc);
        while let Some(entry) = next.and_then(|doc| self.entries.get(&doc)) {
            components.push(entry.name.clone());
            next = entry.parent;
            if components.len() > limits::TREE_DEPTH_MAX {
                break;
            }
        }
        components.reverse();
        RelPath::from_components(components)
    }

    /// What is shown at and under an entry, directories before what is in them, with paths in which the entry itself is
    /// called `path`.
    #[must_use]
    pub fn subtree(&self, doc: DocId, path: &RelPath) -> Vec<(RelPath, DocId)> {
        let mut all = vec![(path.clone(), doc)];
        let mut next = 0;
        while let Some((path, doc)) = all.get(next).cloned() {
            all.extend(self.view.children(Some(doc)).map(|(name, child)| (path.join(name), *child)));
            next += 1;
        }
        all
    }

    /// Entries and everything that is in them, or was in them last.
    #[must_use]
    pub fn within(&self, docs: &[DocId]) -> Vec<DocId> {
        let mut below: BTreeMap<DocId, Vec<DocId>> = BTreeMap::new();
        for (doc, entry) in &self.entries {
            if let Some(parent) = entry.parent {
                below.entry(parent).or_default().push(*doc);
            }
        }
        let mut seen: BTreeSet<DocId> = docs.iter().copied().collect();
        let mut all: Vec<DocId> = seen.iter().copied().collect();
        let mut next = 0;
        while let Some(doc) = all.get(next) {
            let inside: Vec<DocId> =
                below.get(doc).into_iter().flatten().copied().filter(|doc| seen.insert(*doc)).collect();
            all.extend(inside);
            next += 1;
        }
        all
    }

    /// Entries that are at a path, or were when they were deleted; or else those that were there before they moved.
    ///
    /// # Errors
    /// When the store fails.
    pub fn find(&self, library: &mut Library, path: &RelPath) -> Result<Vec<Candidate>, StoreError> {
        let here = self.view.at(path);
        let places: Vec<Placed> = self.entries.iter().map(|(doc, entry)| Placed::of(*doc, entry)).collect();
        let mut found: Vec<Candidate> = follow(&places, path)
            .into_iter()
            .filter(|doc| self.view.place_of(doc).is_none())
            .map(|doc| Candidate { standing: Standing::Gone, doc })
            .chain(here.map(|doc| Candidate { standing: Standing::Here, doc }))
            .collect();
        if found.is_empty() {
            let former = self.former_places(library, path)?;
            let places: Vec<Placed> = places.into_iter().chain(former).collect();
            let before = follow(&places, path).into_iter();
            found = before.map(|doc| Candidate { standing: Standing::Before, doc }).collect();
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Where entries were before that have ever had one of a path's names. A name rests as it is in the bytes of the
    /// change that gave it, so only changes that hold the bytes of a name are read.
    fn former_places(&self, library: &mut Library, path: &RelPath) -> Result<Vec<Placed>, StoreError> {
        let mut places = Vec::new();
        let mut next = 0;
        loop {
            let batch = library.snapshot.order_from(library.space, next)?;
            let Some((last, ..)) = batch.last() else { return Ok(places) };
            next = last + 1;
            for (_, replica, n) in batch {
                let row = library.snapshot.commit_row(library.space, replica, n)?;
                if row.is_none_or(|row| row.membership) {
                    continue;
                }
                for item in super::unpack_items(&library.snapshot, (library.space, replica, n))? {
                    if let Some(placed) = self.former_place(library, &item, path)? {
                        places.push(placed);
                    }
                }
            }
        }
    }

    fn former_place(&self, library: &mut Library, item: &Item, path: &RelPath) -> Result<Option<Placed>, StoreError> {
        let Item::Change { doc, bytes, .. } = item else { return Ok(None) };
        let named = path.components().iter().any(|name| holds(bytes, name.as_bytes()));
        let Some(row) = self.rows.get(doc).filter(|_| named) else { return Ok(None) };
        let Ok(head) = ChangeHead::read(bytes) else { return Ok(None) };
        match library.entry_at(doc, row, &[head.hash]) {
            Ok(entry) => Ok(Some(Placed::of(*doc, &entry))),
            Err(HistoryError::Store(error)) => Err(error),
            Err(HistoryError::Doc(_)) => Ok(None),
        }
    }
}

/// What an entry was called, and in which directory, at some time.
struct Placed {
    doc: DocId,
    parent: Option<DocId>,
    name: String,
}

impl Placed {
    fn of(doc: DocId, entry: &Entry) -> Self {
        Self { doc, parent: entry.parent, name: entry.name.clone() }
    }
}

/// Entries that some of the places put at a path, one component after the other.
fn follow(places: &[Placed], path: &RelPath) -> BTreeSet<DocId> {
    let mut dirs: BTreeSet<Option<DocId>> = BTreeSet::from([None]);
    for name in path.components() {
        let within = places.iter().filter(|placed| placed.name == *name && dirs.contains(&placed.parent));
        dirs = within.map(|placed| Some(placed.doc)).collect();
    }
    dirs.into_iter().flatten().collect()
}

fn holds(bytes: &[u8], name: &[u8]) -> bool {
    !name.is_empty() && bytes.windows(name.len()).any(|window| window == name)
}
