//! Reads documents, and holds still those that cannot be read.
//!
//! The door lets nothing in that Automerge fails on; should it happen all the same, the document shows its last good
//! state, nothing is written to its file, nothing of its file is submitted, the folder says so, and everything else goes
//! on. It is tried again when it changes, when its file does, and after a restart. A fault of the store is none of the
//! document's: it ends the round, which comes again.

use super::{
    RoundError, Rounds,
    host::{Event, Host},
    lock,
};
use crate::{
    doc::{DocError, entry::Entry},
    history::{HistoryError, Library},
    ids::DocId,
    limits, probe,
    store::{Write, row::DocRow},
    tree::RelPath,
};

impl Rounds {
    /// Reads entries whose documents changed, and keeps what was dear to read.
    pub(super) fn read_documents(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let mut library = self.library(host)?;
        let read = self.read_all(host, &mut library, pending.iter().copied());
        self.shelf = library.into_shelf();
        self.documents.refresh();
        match read {
            Ok(writes) => self.put_rows(host, writes),
            Err(error) => {
                self.pending.extend(pending);
                Err(error)
            }
        }
    }

    fn read_all(
        &mut self,
        host: &mut dyn Host,
        library: &mut Library,
        docs: impl Iterator<Item = DocId>,
    ) -> Result<Vec<Write>, RoundError> {
        let mut writes = Vec::new();
        let mut rows = Vec::new();
        for doc in docs {
            if let Some(row) = library.row(&doc)? {
                rows.push((row.handle, doc, row));
            }
        }
        // In the order of arrival: neighbours rest in one body.
        rows.sort_unstable_by_key(|(handle, ..)| *handle);
        for (_, doc, row) in rows {
            if self.documents.heads(&doc) == Some(&row.heads) {
                // If its file or an edit failed, that shows again.
                self.unreadable.remove(&doc);
                self.planned = false;
                continue;
            }
            match read_one(library, &doc, &row) {
                Ok((entry, snapshot)) => {
                    if row.changes > 1 {
                        writes.push(Write::Entry { doc, heads: row.heads.clone(), entry: Box::new(entry.clone()) });
                    }
                    if let Some(bytes) = snapshot {
                        writes.push(Write::Snapshot { handle: row.handle, changes: row.changes, bytes });
                    }
                    self.unreadable.remove(&doc);
                    self.documents.set(doc, row.heads, entry);
                    self.planned = false;
                }
                Err(HistoryError::Store(error)) => return Err(error.into()),
                Err(HistoryError::Doc(error)) => {
                    self.hold_still(host, doc, error);
                    if self.documents.entry(&doc).is_none()
                        && let Some((heads, entry)) = library.last_entry(&doc, &row)?
                    {
                        self.documents.set(doc, heads, entry);
                        self.planned = false;
                    }
                }
            }
        }
        Ok(writes)
    }

    /// Notes that a document cannot be read.
    pub(super) fn hold_still(&mut self, host: &mut dyn Host, doc: DocId, error: DocError) {
        let error = HistoryError::Doc(error);
        self.unreadable.insert(doc, error.to_string());
        host.event(&Event::Unreadable { doc, error: &error });
    }

    /// What became of work on one document: nothing if Automerge failed, which is noted.
    pub(super) fn unless_unreadable<T>(
        &mut self,
        host: &mut dyn Host,
        doc: DocId,
        result: Result<Option<T>, RoundError>,
    ) -> Result<Option<T>, RoundError> {
        match result {
            Err(RoundError::Document(error)) if error.is_of_the_document() => {
                self.hold_still(host, doc, error);
                self.rescan_ms = self.rescan_ms.min(host.now().mono_ms + limits::UNREADABLE_RETRY_MS);
                Ok(None)
            }
            other => other,
        }
    }

    /// Where the documents are that cannot be read, and why they cannot.
    pub(super) fn unreadable_paths(&self) -> impl Iterator<Item = (RelPath, &String)> {
        self.unreadable.iter().map(|(doc, reason)| {
            let on_disk = lock(&self.parts.base).path_of(doc);
            (on_disk.or_else(|| self.documents.view().path_of(doc)).unwrap_or_default(), reason)
        })
    }
}

/// The entry of a document, and a snapshot if one is due. One that cannot be saved counts as one that cannot be read.
fn read_one(library: &mut Library, doc: &DocId, row: &DocRow) -> Result<(Entry, Option<Vec<u8>>), HistoryError> {
    let entry = library.entry(doc, row)?;
    let snapshot = if row.changes > 1 { library.due_snapshot(doc, row)? } else { None };
    if snapshot.is_some() {
        probe::reach("snapshot.saved");
    }
    Ok((entry, snapshot))
}
