//! What the past of a change made, found in the draft of its document and in the store.
//!
//! The store keeps the summary of each change under its document, actor and last counter, so an operation's name finds
//! its change by one look. A derived root has no row: an import writes thousands of them and nobody may ever ask, so its
//! summary is made of its bytes when somebody does. What was found is kept until the commit is checked. It must not find
//! what is outside of the commit's past: the verdict would not be the same everywhere.

use std::collections::BTreeMap;

use super::door::{Draft, Place};
use crate::{
    history::Bodies,
    ids::DocId,
    limits,
    preflight::{Change, OpId, Past, Run, Summary, check},
    store::StoreError,
};

/// Why a past cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The commit names more of it than is read for one commit.
    #[error("too much of the past is named")]
    TooMuch,
}

type Actor = [u8; 16];

/// What was looked up for one commit.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// By document, actor and last counter.
    found: BTreeMap<(DocId, Actor, u64), Summary>,
    /// Bytes of summaries in there.
    bytes: usize,
    /// Roots that may be asked for. They count once they are: which were read ahead is not the same everywhere.
    roots: BTreeMap<DocId, (Actor, Summary)>,
    root_bytes: usize,
}

impl Looked {
    fn find(&self, doc: DocId, actor: Actor, counter: u64) -> Option<&Summary> {
        let (_, summary) = self.found.range((doc, actor, counter)..=(doc, actor, u64::MAX)).next()?;
        (summary.start_op() <= counter).then_some(summary)
    }

    fn read(&mut self, bytes: usize) -> Result<(), Unread> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > limits::COMMIT_PAST_BYTES_MAX { Err(Unread::TooMuch) } else { Ok(()) }
    }

    /// Whether more roots may be read ahead.
    pub(super) const fn has_room_for_roots(&self) -> bool {
        self.root_bytes < limits::COMMIT_PAST_BYTES_MAX
    }

    /// Sums up the root of a document, from its bytes.
    pub(super) fn read_root(&mut self, doc: DocId, root: &[u8]) -> Result<(), StoreError> {
        let damaged = || StoreError::Row { table: "change" };
        let change = Change::read(root).map_err(|_| damaged())?;
        let summary = check(&change, &mut ()).map_err(|_| damaged())?;
        if let Ok(actor) = Actor::try_from(change.head.actor.as_slice()) {
            self.root_bytes += root.len();
            self.roots.insert(doc, (actor, summary));
        }
        Ok(())
    }

    /// The root of a document counts from now on, if it is this actor's.
    fn use_root(&mut self, doc: DocId, actor: Actor) -> Result<(), Unread> {
        if let Some((of, summary)) = self.roots.remove(&doc)
            && of == actor
        {
            self.read(summary.encode().len())?;
            self.put(doc, actor, summary);
        }
        Ok(())
    }

    fn put(&mut self, doc: DocId, actor: Actor, summary: Summary) {
        let last = (summary.start_op() + summary.ops()).saturating_sub(1);
        self.found.insert((doc, actor, last), summary);
    }
}

/// The past of the next change of a draft.
pub(super) struct DraftPast<'a, 'p, 't> {
    pub(super) place: &'a Place<'p, 't>,
    pub(super) doc: DocId,
    pub(super) draft: &'a Draft,
    pub(super) bodies: &'a mut Bodies,
    pub(super) looked: &'a mut Looked,
}

impl Past for DraftPast<'_, '_, '_> {
    type Error = Unread;

    fn made(&mut self, id: OpId<'_>) -> Result<Option<Run<'_>>, Unread> {
        // Every actor that was let in has 16 bytes.
        let Ok(actor) = Actor::try_from(id.actor) else {
            return Ok(None);
        };
        let counter = id.counter;
        let drafted = self.draft.made.range((actor, counter)..=(actor, u64::MAX)).next();
        if let Some((_, (_, summary))) = drafted.filter(|(_, (_, summary))| summary.start_op() <= counter) {
            return Ok(summary.run(counter));
        }
        if self.looked.find(self.doc, actor, counter).is_none() {
            self.look_up(actor, counter)?;
        }
        Ok(self.looked.find(self.doc, actor, counter).and_then(|summary| summary.run(counter)))
    }
}

impl DraftPast<'_, '_, '_> {
    fn look_up(&mut self, actor: Actor, counter: u64) -> Result<(), Unread> {
        let (tables, draft) = (self.place.tables, self.draft);
        if draft.old_heads.is_some()
            && let Some((index, bytes)) = tables.made(draft.row.handle, &actor, counter)?
        {
            if self.place.has(&draft.change(tables, index)?) {
                self.looked.read(bytes.len())?;
                let summary = Summary::decode(&bytes, &actor).map_err(|_| StoreError::Row { table: "made" })?;
                self.looked.put(self.doc, actor, summary);
            }
            return Ok(());
        }
        // The root is in every past that is not empty.
        if !self.looked.roots.contains_key(&self.doc) {
            let root = match &draft.new_root {
                Some(bytes) => bytes.clone(),
                None if draft.old_heads.is_some() => self.bodies.change(tables, self.place.handle, &draft.row, 0)?,
                None => return Ok(()),
            };
            self.looked.read_root(self.doc, &root)?;
        }
        self.looked.use_root(self.doc, actor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_of_the_past_is_read_and_no_more() {
        let mut looked = Looked::default();
        assert!(looked.read(limits::COMMIT_PAST_BYTES_MAX - 1).is_ok());
        assert!(looked.read(1).is_ok());
        assert!(matches!(looked.read(1), Err(Unread::TooMuch)));
        assert!(matches!(Looked::default().read(usize::MAX), Err(Unread::TooMuch)));
        // Roots that are read ahead count by themselves, and the last one may go beyond.
        let mut looked = Looked { root_bytes: limits::COMMIT_PAST_BYTES_MAX - 1, ..Looked::default() };
        assert!(looked.has_room_for_roots());
        looked.root_bytes += 1;
        assert!(!looked.has_room_for_roots());
    }
}
