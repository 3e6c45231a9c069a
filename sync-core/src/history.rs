//! Opens documents from the store: for the door, for views and for edits.
//!
//! Changes rest in the bodies of their commits. A body of an import holds hundreds of documents, so the last bodies
//! that were unpacked are kept at hand.
//!
//! What people ask of the past is in modules of its own: [`point`] names states of a space, [`log`] tells what commits did
//! to a document, [`past`] finds entries by the paths that they have or had, [`conflicts`] lays both sides of a conflict out.

pub mod conflicts;
pub mod log;
pub mod past;
pub mod point;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    commit::{Body, BodyKind, Item},
    doc::{DocError, Document, entry::Entry},
    ids::{ChangeHash, DocId},
    limits,
    probe::{Plant, planted},
    store::{
        Rows, Snapshot, StoreError,
        row::{ChangeRow, DocRow},
    },
};

/// A document cannot be opened from the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Automerge did.
    #[error(transparent)]
    Doc(#[from] DocError),
}

/// The items of a commit's body.
pub(crate) fn unpack_items(rows: &impl Rows, (space, replica, n): BodyKey) -> Result<Vec<Item>, StoreError> {
    let damaged = |_| StoreError::Row { table: "body" };
    let packed = rows.packed_body(space, replica, n)?;
    let body = packed.unpack().map_err(damaged)?;
    match Body::decode(&body, BodyKind::Changes).map_err(damaged)? {
        Body::Changes(items) => Ok(items),
        Body::Membership(_) => Err(StoreError::Row { table: "body" }),
    }
}

/// Space, replica and number of a commit.
pub(crate) type BodyKey = (u32, u32, u64);

/// The bodies that were unpacked last, the last used one last.
#[derive(Debug, Default)]
pub struct Bodies {
    recent: Vec<(BodyKey, Arc<Vec<Item>>)>,
    /// What their items take.
    bytes: usize,
}

impl Bodies {
    fn items(&mut self, rows: &impl Rows, key: BodyKey) -> Result<Arc<Vec<Item>>, StoreError> {
        if let Some(position) = self.recent.iter().position(|(held, _)| *held == key) {
            let held = self.recent.remove(position);
            let items = Arc::clone(&held.1);
            self.recent.push(held);
            return Ok(items);
        }
        let items = Arc::new(unpack_items(rows, key)?);
        self.keep(key, Arc::clone(&items));
        Ok(items)
    }

    fn keep(&mut self, key: BodyKey, items: Arc<Vec<Item>>) {
        self.bytes += bytes_of(&items);
        self.recent.push((key, items));
        while self.bytes > limits::BODIES_KEPT_BYTES_MAX && self.recent.len() > 1 {
            let (_, oldest) = self.recent.remove(0);
            self.bytes -= bytes_of(&oldest);
        }
    }

    fn forget(&mut self, key: BodyKey) {
        if let Some(position) = self.recent.iter().position(|(held, _)| *held == key) {
            let (_, items) = self.recent.remove(position);
            self.bytes -= bytes_of(&items);
        }
    }

    /// The bytes of one change.
    ///
    /// # Errors
    /// When the store fails or its rows do not fit each other.
    pub fn change(&mut self, rows: &impl Rows, space: u32, doc: &DocRow, index: u32) -> Result<Vec<u8>, StoreError> {
        let row = rows.change_row(doc.handle, index)?;
        if row.derived {
            return rows.derived_bytes(doc.handle, index);
        }
        let &(replica, n, item) = row.commits.first().ok_or(StoreError::Row { table: "change" })?;
        let key = (space, replica, n);
        for _ in 0..2 {
            if let Some(Item::Change { bytes, .. }) = self.items(rows, key)?.get(item as usize)
                && is_named(bytes, &row.hash)
            {
                return Ok(bytes.clone());
            }
            // A space that was built again may have another commit of this number.
            self.forget(key);
        }
        Err(StoreError::Row { table: "change" })
    }

    /// When the file was last written that a change brought the content of, as those who committed it say: the latest of
    /// them, where several did.
    fn mtime_ns(&mut self, rows: &impl Rows, space: u32, row: &ChangeRow) -> Result<Option<i64>, StoreError> {
        let mut latest = None;
        for &(replica, n, item) in &row.commits {
            if let Some(Item::Change { bytes, mtime_ns, .. }) =
                self.items(rows, (space, replica, n))?.get(item as usize)
                && is_named(bytes, &row.hash)
            {
                latest = latest.max(*mtime_ns);
            }
        }
        Ok(latest)
    }

    /// The bytes of a change and of all that it depends on, dependencies first.
    ///
    /// # Errors
    /// When the store fails or its rows do not fit each other.
    pub fn closure(
        &mut self,
        rows: &impl Rows,
        space: u32,
        doc: &DocRow,
        index: u32,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut wanted = BTreeSet::from([index]);
        let mut open = vec![index];
        while let Some(next) = open.pop() {
            for dep in rows.change_row(doc.handle, next)?.deps {
                if wanted.insert(dep) {
                    open.push(dep);
                }
            }
        }
        // Arrival puts dependencies first.
        wanted.into_iter().map(|index| self.change(rows, space, doc, index)).collect()
    }
}

fn bytes_of(items: &[Item]) -> usize {
    items.iter().map(Item::encoded_len).sum()
}

/// Whether a change may have this hash, by its first bytes, which the change itself tells behind its magic number.
fn is_named(bytes: &[u8], hash: &ChangeHash) -> bool {
    bytes.get(4..8) == hash.0.get(..4)
}

/// Documents that were open last, so that the next change to one costs that change and not its whole history; and the
/// bodies that changes were read from.
#[derive(Debug, Default)]
pub struct Shelf {
    bodies: Bodies,
    /// The last one was used last. Each with the number of changes that it holds for sure.
    open: Vec<(DocId, Document, u32)>,
}

impl Shelf {
    fn take(&mut self, doc: &DocId) -> Option<(Document, u32)> {
        let position = self.open.iter().position(|(held, ..)| held == doc)?;
        let (_, document, changes) = self.open.remove(position);
        Some((document, changes))
    }

    fn put(&mut self, doc: DocId, document: Document, changes: u32) {
        self.take(&doc);
        if self.open.len() >= limits::OPEN_DOCUMENTS_MAX {
            self.open.remove(0);
        }
        self.open.push((doc, document, changes));
    }
}

/// Reads documents of one space as of one committed turn.
#[derive(Debug)]
pub struct Library {
    snapshot: Snapshot,
    space: u32,
    shelf: Shelf,
}

impl Library {
    /// Reads through `snapshot` the space with this handle, with documents that are open from before.
    #[must_use]
    pub fn new(snapshot: Snapshot, space: u32, shelf: Shelf) -> Self {
        Self { snapshot, space, shelf }
    }

    /// Ends the view of this turn and gives back what is open.
    #[must_use]
    pub fn into_shelf(self) -> Shelf {
        self.shelf
    }

    /// The store's rows.
    #[must_use]
    pub const fn rows(&self) -> &Snapshot {
        &self.snapshot
    }

    /// A document's row, if it is held.
    ///
    /// # Errors
    /// When the store fails.
    pub fn row(&self, doc: &DocId) -> Result<Option<DocRow>, StoreError> {
        self.snapshot.document(self.space, doc)
    }

    /// Opens a document whole: from the shelf if it is there, else from its snapshot, and the changes behind it in one
    /// batch. Whoever has done with it may [`put it back`](Self::put_back).
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn open(&mut self, doc: &DocId, row: &DocRow) -> Result<Document, HistoryError> {
        if let Some((mut document, held)) = self.shelf.take(doc)
            && held <= row.changes
        {
            self.catch_up(&mut document, row, held)?;
            // One with an edit that was never taken is of no use.
            if document.heads() == row.heads {
                return Ok(document);
            }
        }
        let (mut document, from) = match self.snapshot.doc_snapshot(row.handle)? {
            Some((changes, bytes)) => {
                let missed = u32::from(planted(Plant::SnapshotSkipsChange) && changes < row.changes);
                (Document::from_snapshot(&bytes)?, changes + missed)
            }
            None => (Document::from_changes::<Vec<u8>>([])?, 0),
        };
        self.catch_up(&mut document, row, from)?;
        Ok(document)
    }

    /// Keeps a document that [`open`](Self::open) gave open for the next time.
    pub fn put_back(&mut self, doc: &DocId, row: &DocRow, document: Document) {
        self.shelf.put(*doc, document, row.changes);
    }

    fn catch_up(&mut self, document: &mut Document, row: &DocRow, from: u32) -> Result<(), HistoryError> {
        if from == row.changes {
            return Ok(());
        }
        let changes = (from..row.changes)
            .map(|index| self.shelf.bodies.change(&self.snapshot, self.space, row, index))
            .collect::<Result<Vec<_>, _>>()?;
        document.apply(changes)?;
        Ok(())
    }

    /// The entry of a document: from its cached row, from its lone root change, or by opening it.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn entry(&mut self, doc: &DocId, row: &DocRow) -> Result<Entry, HistoryError> {
        if row.changes == 1 {
            let root = self.shelf.bodies.change(&self.snapshot, self.space, row, 0)?;
            return Ok(Entry::of_root(&root)?);
        }
        if let Some((heads, entry)) = self.snapshot.entry(self.space, doc)?
            && heads == row.heads
        {
            return Ok(entry);
        }
        let document = self.open(doc, row)?;
        let entry = document.entry()?;
        self.put_back(doc, row, document);
        Ok(entry)
    }

    /// The entry of a document as it was read last, and the heads that it was read at, for one that cannot be read now:
    /// its cached row, or else what its root change says.
    ///
    /// # Errors
    /// When the store fails.
    pub fn last_entry(&mut self, doc: &DocId, row: &DocRow) -> Result<Option<(Vec<ChangeHash>, Entry)>, StoreError> {
        if let Some(cached) = self.snapshot.entry(self.space, doc)? {
            return Ok(Some(cached));
        }
        let root = self.shelf.bodies.change(&self.snapshot, self.space, row, 0)?;
        Ok(Entry::of_root(&root).ok().map(|entry| (vec![ChangeHash(doc.0)], entry)))
    }

    /// The text of a document now, if its content is one.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn text(&mut self, doc: &DocId, row: &DocRow) -> Result<Option<String>, HistoryError> {
        let document = self.open(doc, row)?;
        let text = document.text()?;
        self.put_back(doc, row, document);
        Ok(text)
    }

    /// When the content of a file was last written, in nanoseconds since 1970: of the changes that brought content and that
    /// no later one followed, what the latest says. Where several meet the bytes are none of theirs, and so is the time: a
    /// moment later. Walks back from the heads to the first such change on each way.
    ///
    /// # Errors
    /// When the store fails or its rows do not fit each other.
    pub fn mtime_ns(&mut self, doc: &DocId, row: &DocRow) -> Result<Option<i64>, StoreError> {
        let index_of = |head: &ChangeHash| match head.0 == doc.0 {
            true => Ok(Some(0)),
            false => self.snapshot.change_index(row.handle, head),
        };
        let heads = row.heads.iter().map(index_of).collect::<Result<Vec<_>, _>>()?;
        let mut open: Vec<u32> = heads.into_iter().flatten().collect();
        let (mut seen, mut told) = (BTreeSet::new(), Vec::new());
        while let Some(index) = open.pop() {
            if !seen.insert(index) {
                continue;
            }
            let change = self.snapshot.change_row(row.handle, index)?;
            match self.shelf.bodies.mtime_ns(&self.snapshot, self.space, &change)? {
                None => open.extend(change.deps),
                Some(mtime_ns) => told.push(mtime_ns),
            }
        }
        let moment = if told.len() > 1 { limits::MET_AFTER_NS } else { 0 };
        Ok(told.into_iter().max().map(|latest| latest.saturating_add(moment)))
    }

    /// A fresh snapshot of a document with many changes behind its last one, proven to load.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn due_snapshot(&mut self, doc: &DocId, row: &DocRow) -> Result<Option<Vec<u8>>, HistoryError> {
        let covered = match self.snapshot.doc_snapshot(row.handle)? {
            Some((changes, _)) => changes,
            None => 0,
        };
        if row.changes < covered + limits::SNAPSHOT_EVERY_CHANGES {
            return Ok(None);
        }
        let document = self.open(doc, row)?;
        let bytes = document.save()?;
        self.put_back(doc, row, document);
        Ok(Some(bytes))
    }

    /// The bytes of a document's root change.
    ///
    /// # Errors
    /// When the store fails.
    pub fn root_change(&mut self, row: &DocRow) -> Result<Vec<u8>, HistoryError> {
        Ok(self.shelf.bodies.change(&self.snapshot, self.space, row, 0)?)
    }

    /// The bytes of a change and of all that it depends on, dependencies first; `None` when it is not held.
    ///
    /// # Errors
    /// When the store fails.
    pub fn closure(
        &mut self,
        doc: &DocId,
        row: &DocRow,
        of: &ChangeHash,
    ) -> Result<Option<Vec<Vec<u8>>>, HistoryError> {
        let index = if of.0 == doc.0 { Some(0) } else { self.snapshot.change_index(row.handle, of)? };
        let Some(index) = index else {
            return Ok(None);
        };
        Ok(Some(self.shelf.bodies.closure(&self.snapshot, self.space, row, index)?))
    }
}
