//! What commits did to a document, and the document as it was at earlier heads.
//!
//! A document's changes are numbered in the order of arrival, so the newest commits are found from the end and a page of
//! a log costs that page. What a commit did is told against what its own changes depend on: it is the same on every
//! machine, whatever else had arrived there.

use std::collections::BTreeSet;

use super::{HistoryError, Library, point};
use crate::{
    doc::{
        compare,
        entry::{ALIVE, Content, ContentRef, Entry, Kind},
        promotion,
        text::as_text,
    },
    history::point::Point,
    ids::{ChangeHash, CommitHash, ContentHash, DocId},
    preflight::{Action, Change, Key, Op},
    store::{StoreError, row::DocRow},
};

/// What one commit has of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The commit.
    pub commit: CommitHash,
    /// Its log, by handle.
    pub replica: u32,
    /// Its number there.
    pub n: u64,
    /// Its place in the order of arrival, which is causal.
    pub arrival: u64,
    /// What its writer's clock said, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Its changes of the document, by index.
    pub changes: Vec<u32>,
}

fn is_alive(op: &Op<'_>) -> bool {
    op.key == Key::Map(ALIVE)
}

/// One thing that a commit did to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Made it.
    Created {
        /// What it is.
        kind: Kind,
        /// Bytes of a file.
        len: Option<u64>,
    },
    /// Changed its text.
    Edited {
        /// Lines that came and went, if they were counted.
        lines: Option<(usize, usize)>,
    },
    /// Gave it other bytes as a whole.
    Replaced {
        /// How many it has now.
        len: u64,
    },
    /// Gave it another name.
    Renamed {
        /// The one before.
        from: String,
    },
    /// Put it into another directory.
    Moved {
        /// The one before; `None` for the top.
        from: Option<DocId>,
    },
    /// Made it executable, or no longer.
    Exec(bool),
    /// Let a link point elsewhere.
    Target {
        /// Where it pointed before.
        from: String,
    },
    /// Deleted it.
    Deleted,
    /// Brought it back.
    Restored,
    /// Nothing that shows: it says again that the entry is alive.
    Kept,
}

/// The bytes of a file as history has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// These.
    Bytes(Vec<u8>),
    /// Elsewhere: in a file that holds them still, or kept, or at a peer.
    Elsewhere(ContentRef),
    /// The entry is no file.
    None,
}

impl Held {
    /// The hash of the bytes.
    #[must_use]
    pub fn hash(&self) -> Option<ContentHash> {
        match self {
            Self::Bytes(bytes) => Some(ContentHash::of(bytes)),
            Self::Elsewhere(content) => Some(content.hash),
            Self::None => None,
        }
    }

    /// How many bytes.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Elsewhere(content) => Some(content.len),
            Self::None => None,
        }
    }
}

impl Library {
    /// The heads of a document at a point; none when it was not there yet.
    ///
    /// # Errors
    /// When the store fails.
    pub fn heads_at(&self, doc: &DocId, row: &DocRow, point: &Point) -> Result<Vec<ChangeHash>, StoreError> {
        let mut whole = true;
        for head in &row.heads {
            let index = self.index_of(doc, row, head)?;
            whole &= point.has_change(&self.snapshot.change(row.handle, index)?);
        }
        if whole {
            return Ok(row.heads.clone());
        }
        let changes = self.snapshot.changes(row.handle)?;
        let inside: BTreeSet<u32> =
            (0..).zip(&changes).filter(|(_, row)| point.has_change(row)).map(|(i, _)| i).collect();
        let mut heads = inside.clone();
        for index in &inside {
            for dep in changes.get(*index as usize).into_iter().flat_map(|row| &row.deps) {
                heads.remove(dep);
            }
        }
        Ok(heads.iter().filter_map(|index| Some(changes.get(*index as usize)?.hash)).collect())
    }

    pub(super) fn index_of(&self, doc: &DocId, row: &DocRow, change: &ChangeHash) -> Result<u32, StoreError> {
        if change.0 == doc.0 {
            return Ok(0);
        }
        self.snapshot.change_index(row.handle, change)?.ok_or(StoreError::Row { table: "change_index" })
    }

    /// The entry of a document as it was at some heads.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn entry_at(&mut self, doc: &DocId, row: &DocRow, heads: &[ChangeHash]) -> Result<Entry, HistoryError> {
        if heads == row.heads {
            return self.entry(doc, row);
        }
        if heads == [ChangeHash(doc.0)] {
            return Ok(Entry::of_root(&self.root_change(row)?)?);
        }
        let document = self.open(doc, row)?;
        let entry = document.entry_at(heads)?;
        self.put_back(doc, row, document);
        Ok(entry)
    }

    /// The bytes of a file as it was at some heads; `entry` is the entry then.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn held_at(
        &mut self,
        doc: &DocId,
        row: &DocRow,
        heads: &[ChangeHash],
        entry: &Entry,
    ) -> Result<Held, HistoryError> {
        Ok(match &entry.content {
            Some(Content::Inline(bytes)) => Held::Bytes(bytes.clone()),
            Some(Content::Reference(content)) => match self.snapshot.text(&content.hash)? {
                Some(text) => Held::Bytes(text.into_bytes()),
                None => Held::Elsewhere(*content),
            },
            Some(Content::Text) => Held::Bytes(self.text_at(doc, row, heads)?.unwrap_or_default().into_bytes()),
            None => Held::None,
        })
    }

    fn text_at(&mut self, doc: &DocId, row: &DocRow, heads: &[ChangeHash]) -> Result<Option<String>, HistoryError> {
        if heads == row.heads {
            return self.text(doc, row);
        }
        let document = self.open(doc, row)?;
        let text = document.text_at(heads)?;
        self.put_back(doc, row, document);
        Ok(text)
    }

    /// The commits that changed a document last, newest first, at most so many.
    ///
    /// # Errors
    /// When the store fails.
    pub fn touches(&self, row: &DocRow, most: usize) -> Result<Vec<Touch>, StoreError> {
        let mut touches: Vec<Touch> = Vec::new();
        for index in (0..row.changes).rev() {
            let change = self.snapshot.change(row.handle, index)?;
            let &(replica, n, _) = change.commits.first().ok_or(StoreError::Row { table: "change" })?;
            if let Some(touch) = touches.last_mut().filter(|touch| (touch.replica, touch.n) == (replica, n)) {
                touch.changes.push(index);
                continue;
            }
            if touches.len() == most {
                break;
            }
            touches.push(self.touch(replica, n, vec![index])?);
        }
        for touch in &mut touches {
            touch.changes.reverse();
        }
        Ok(touches)
    }

    /// What a commit has of a document, by the hashes of its changes.
    ///
    /// # Errors
    /// When the store fails.
    pub fn touch_of(
        &self,
        (replica, n): (u32, u64),
        doc: &DocId,
        row: &DocRow,
        changes: &[ChangeHash],
    ) -> Result<Touch, StoreError> {
        let mut changes = changes.iter().map(|hash| self.index_of(doc, row, hash)).collect::<Result<Vec<_>, _>>()?;
        changes.sort_unstable();
        self.touch(replica, n, changes)
    }

    /// A commit without any change of a document.
    ///
    /// # Errors
    /// When the store fails.
    pub fn bare_touch(&self, replica: u32, n: u64) -> Result<Touch, StoreError> {
        self.touch(replica, n, Vec::new())
    }

    pub(super) fn touch(&self, replica: u32, n: u64, changes: Vec<u32>) -> Result<Touch, StoreError> {
        let row = self.snapshot.commit_row(self.space, replica, n)?.ok_or(StoreError::Row { table: "commit" })?;
        let wall_ms = point::wall_ms(&row)?;
        Ok(Touch { commit: row.hash(), replica, n, arrival: row.arrival, wall_ms, changes })
    }

    /// What the author of a commit had of an entry when he made it, as heads: the changes of the entry that he knew and had
    /// on his disk are in their past, those that had only come to his machine are not.
    ///
    /// # Errors
    /// When the store fails.
    pub fn authored(&self, row: &DocRow, touch: &Touch) -> Result<Vec<ChangeHash>, StoreError> {
        Ok(self.around(row, touch)?.1)
    }

    /// The heads that a touch is based on, and those that it leaves.
    fn around(&self, row: &DocRow, touch: &Touch) -> Result<(Vec<ChangeHash>, Vec<ChangeHash>), StoreError> {
        let mut before = BTreeSet::new();
        let mut after: BTreeSet<u32> = touch.changes.iter().copied().collect();
        let mut hashes = Vec::new();
        for index in &touch.changes {
            let change = self.snapshot.change(row.handle, *index)?;
            for dep in change.deps {
                after.remove(&dep);
                if !touch.changes.contains(&dep) {
                    before.insert(dep);
                }
            }
            hashes.push((*index, change.hash));
        }
        let before = before.into_iter().map(|index| Ok(self.snapshot.change(row.handle, index)?.hash));
        let after = hashes.into_iter().filter(|(index, _)| after.contains(index)).map(|(_, hash)| hash);
        Ok((before.collect::<Result<_, StoreError>>()?, after.collect()))
    }

    /// What a commit did to an entry; lines are counted if asked, which costs reading the text twice.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn deeds(
        &mut self,
        doc: &DocId,
        row: &DocRow,
        touch: &Touch,
        counted: bool,
    ) -> Result<Vec<Deed>, HistoryError> {
        if !counted && self.is_plain_edit(row, touch)? {
            return Ok(vec![Deed::Edited { lines: None }]);
        }
        let (before, after) = self.around(row, touch)?;
        let new = self.entry_at(doc, row, &after)?;
        if before.is_empty() {
            let len = self.held_at(doc, row, &after, &new)?.size();
            return Ok(vec![Deed::Created { kind: new.kind, len }]);
        }
        let old = self.entry_at(doc, row, &before)?;
        if old.alive && !new.alive {
            return Ok(vec![Deed::Deleted]);
        }
        let mut deeds = Vec::new();
        if !old.alive && new.alive {
            deeds.push(Deed::Restored);
        }
        let mut registers = Vec::new();
        if old.name != new.name {
            registers.push(Deed::Renamed { from: old.name.clone() });
        }
        if old.parent != new.parent {
            registers.push(Deed::Moved { from: old.parent });
        }
        if old.exec != new.exec {
            registers.push(Deed::Exec(new.exec));
        }
        if old.target != new.target {
            registers.push(Deed::Target { from: old.target.clone().unwrap_or_default() });
        }
        let (before, after) = ((&before[..], &old), (&after[..], &new));
        // Each register has an operation of its own, and so has that the entry is alive: the rest is of the text.
        let in_text = self.operations(row, touch)? > 1 + registers.len() as u64;
        deeds.extend(registers);
        deeds.extend(self.content_deed(doc, row, touch, before, after, counted && in_text, in_text)?);
        if deeds.is_empty() {
            deeds.push(Deed::Kept);
        }
        Ok(deeds)
    }

    #[expect(clippy::too_many_arguments, reason = "two states of one document, and what is asked of them")]
    fn content_deed(
        &mut self,
        doc: &DocId,
        row: &DocRow,
        touch: &Touch,
        (before, old): (&[ChangeHash], &Entry),
        (after, new): (&[ChangeHash], &Entry),
        counted: bool,
        in_text: bool,
    ) -> Result<Option<Deed>, HistoryError> {
        match &new.content {
            Some(Content::Reference(content)) if old.content != new.content => {
                return Ok(Some(Deed::Replaced { len: content.len }));
            }
            Some(Content::Text) if in_text && !counted => return Ok(Some(Deed::Edited { lines: None })),
            Some(Content::Text) if in_text => {}
            _ => return Ok(None),
        }
        let was = match &old.content {
            Some(Content::Text) => self.text_at(doc, row, before)?,
            Some(Content::Inline(bytes)) => as_text(bytes).map(ToOwned::to_owned),
            // The promotion that came along holds what was referred to.
            _ => match &touch.changes[..] {
                [promotion, _, ..] => {
                    let promoted = self.snapshot.change(row.handle, *promotion)?.hash;
                    self.text_at(doc, row, &[promoted])?
                }
                _ => None,
            },
        };
        let now = self.text_at(doc, row, after)?;
        Ok(match was.zip(now).map(|(was, now)| compare::count(&was, &now)) {
            Some((0, 0)) => None,
            lines => Some(Deed::Edited { lines }),
        })
    }

    /// Whether a commit only edited the text of a file that was there, as nearly all of a long log did. Told from its
    /// changes and from those that they depend on, whose bytes are read and no document: so a whole log takes time in
    /// proportion to its length.
    fn is_plain_edit(&mut self, row: &DocRow, touch: &Touch) -> Result<bool, StoreError> {
        let mut in_text = false;
        for index in &touch.changes {
            let bytes = self.shelf.bodies.change(&self.snapshot, self.space, row, *index)?;
            let change = Change::read(&bytes).map_err(|_| StoreError::Row { table: "change" })?;
            if change.head.deps.is_empty() {
                return Ok(false);
            }
            if change.head.message == promotion::SCHEMA.as_bytes() {
                continue;
            }
            let says_alive = |op: &Op<'_>| op.object.is_none() && is_alive(op) && op.action != Action::Delete;
            if !change.ops.iter().all(|op| op.object.is_some() || says_alive(op)) {
                return Ok(false);
            }
            in_text |= change.ops.iter().any(|op| op.object.is_some());
            for dep in self.snapshot.change(row.handle, *index)?.deps {
                let bytes = self.shelf.bodies.change(&self.snapshot, self.space, row, dep)?;
                let change = Change::read(&bytes).map_err(|_| StoreError::Row { table: "change" })?;
                if change.ops.iter().any(|op| op.object.is_none() && is_alive(op) && op.action == Action::Delete) {
                    return Ok(false);
                }
            }
        }
        Ok(in_text)
    }

    fn operations(&self, row: &DocRow, touch: &Touch) -> Result<u64, StoreError> {
        touch.changes.iter().try_fold(0, |sum, index| Ok(sum + self.snapshot.change(row.handle, *index)?.ops))
    }
}
