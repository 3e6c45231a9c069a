//! Edits that no disk shows: an entry that was deleted comes back, or its registers are set at the user's word.
//!
//! The disk follows the documents as it does after a commit of somebody else.

use super::{Ingest, Loaded, Ready, content_writes, small_content};
use crate::{
    commit::Item,
    content,
    doc::{
        DocError,
        entry::{Entry, EntryOp, Kind, RootSpec},
        text::{self, Splice},
    },
    history::{HistoryError, log::Held},
    ids::{ChangeHash, ContentHash, DocId},
    limits,
    store::{
        Edit, Write,
        row::{BaseRow, Stat},
    },
};

impl Ingest<'_> {
    /// An entry that is gone, back in a directory and under a name with what it held at `heads`.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn revived(
        &mut self,
        doc: DocId,
        parent: Option<DocId>,
        name: &str,
        heads: &[ChangeHash],
    ) -> Result<Option<Ready>, HistoryError> {
        let Some(now) = self.documents.entry(&doc).cloned() else { return Ok(None) };
        let (row, mut document) = self.open(&doc)?;
        let then = self.library.entry_at(&doc, &row, heads)?;
        let mut ops = vec![EntryOp::Keep];
        if now.parent != parent {
            ops.push(EntryOp::Parent(parent));
        }
        if now.name != name {
            ops.push(EntryOp::Name(name.to_owned()));
        }
        if now.exec != then.exec {
            ops.push(EntryOp::Exec(then.exec));
        }
        if let Some(target) = then.target.clone().filter(|_| now.target != then.target) {
            ops.push(EntryOp::Target(target));
        }
        let mut at = document.heads();
        let mut items = Vec::new();
        let mut writes = Vec::new();
        let held = self.library.held_at(&doc, &row, heads, &then)?;
        if held.hash() != self.content_hash(&doc, &now)? {
            match held {
                Held::Bytes(bytes) => {
                    let splices = match text::as_text(&bytes) {
                        Some(new) => self.splices(&doc, &row, &mut document, &mut at, &mut items, new)?,
                        None => None,
                    };
                    match splices {
                        Some(splices) => ops.push(EntryOp::Splice(splices)),
                        None => {
                            items.clear();
                            at = row.heads.clone();
                            let loaded = in_memory(bytes)?;
                            ops.push(EntryOp::Content(self.reference(&loaded)?));
                            writes = writes_of(&loaded)?;
                        }
                    }
                }
                Held::Elsewhere(content) => ops.push(EntryOp::Content(content)),
                Held::None => {}
            }
        }
        let change = document.edit(self.replica, &at, &ops)?;
        self.library.put_back(&doc, &row, document);
        items.push(Item::change(doc, change.bytes));
        Ok(Some(self.ready(doc, items, None, writes)))
    }

    /// A new directory that is on no disk yet.
    ///
    /// # Errors
    /// When the store fails.
    pub fn new_dir(&mut self, parent: Option<DocId>, name: &str) -> Result<Ready, HistoryError> {
        let (doc, item) = self.new_root(&mut RootSpec::dir(self.space, parent, name), None)?;
        Ok(Ready { doc, edit: Edit { items: item.into_iter().collect(), writes: Vec::new() }, row: None })
    }

    /// Whether a document has these heads.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_at(&self, doc: &DocId, heads: &[ChangeHash]) -> Result<bool, HistoryError> {
        Ok(self.library.row(doc)?.is_some_and(|row| row.heads == heads))
    }

    /// Registers of an entry set anew, which ends a conflict over them. What it has on disk, if anything, must be what the
    /// document has.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn registers(
        &mut self,
        doc: DocId,
        ops: &[EntryOp],
        mut writes: Vec<Write>,
    ) -> Result<Option<Ready>, HistoryError> {
        let (doc_row, mut document) = self.open(&doc)?;
        let at = document.heads();
        let change = match document.edit(self.replica, &at, ops) {
            Err(DocError::NoChange) => return Ok(None),
            change => change?,
        };
        self.library.put_back(&doc, &doc_row, document);
        let item = Item::change(doc, change.bytes);
        // What is on disk is what the document has but for these registers: the next edit of it follows this one.
        let row = self.base.row(&doc).map(|row| BaseRow { heads: vec![change.hash], ..row.clone() });
        let Some(row) = row else {
            return Ok(Some(Ready { doc, edit: Edit { items: vec![item], writes }, row: None }));
        };
        writes.push(Write::Base { folder: self.folder, doc, row: Some(Box::new(row.clone())) });
        Ok(Some(Ready { doc, edit: Edit { items: vec![item], writes }, row: Some(row) }))
    }

    /// Changes of a text as it shows at some heads, made at `wall_ns`; none when it has others. The disk is to follow, as it
    /// follows a peer.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn text_edit(
        &mut self,
        doc: DocId,
        heads: &[ChangeHash],
        splices: &[Splice],
        wall_ns: i64,
    ) -> Result<Option<Ready>, HistoryError> {
        let (doc_row, mut document) = self.open(&doc)?;
        let at = document.heads();
        let change = if at == heads {
            document.edit(self.replica, &at, &[EntryOp::Splice(splices.to_vec())])
        } else {
            Err(DocError::NoChange)
        };
        self.library.put_back(&doc, &doc_row, document);
        let change = match change {
            Err(DocError::NoChange) => return Ok(None),
            change => change?,
        };
        let item = Item::content(doc, change.bytes, wall_ns);
        // What disk and document agree on stays what it was.
        let row = self.base.row(&doc).cloned();
        Ok(Some(Ready { doc, edit: Edit { items: vec![item], writes: Vec::new() }, row }))
    }

    /// The content register as a reference to the bytes that it stands for now, and the rows that go with that.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn as_reference(&mut self, doc: &DocId, entry: &Entry) -> Result<Option<(EntryOp, Vec<Write>)>, HistoryError> {
        let (row, _) = self.open(doc)?;
        Ok(match self.library.held_at(doc, &row, &row.heads, entry)? {
            Held::Bytes(bytes) => {
                let loaded = in_memory(bytes)?;
                Some((EntryOp::Content(self.reference(&loaded)?), writes_of(&loaded)?))
            }
            Held::Elsewhere(content) => Some((EntryOp::Content(content), Vec::new())),
            Held::None => None,
        })
    }
}

/// Bytes as if they had been read from a file.
fn in_memory(bytes: Vec<u8>) -> Result<Loaded, HistoryError> {
    let size = bytes.len() as u64;
    let chunks = if bytes.len() > limits::INLINE_BYTES_MAX {
        let cut = content::cut(&bytes[..], size);
        Some(cut.map_err(|_| DocError::NotAnEntry("bytes in memory do not cut"))?)
    } else {
        None
    };
    let stat = Stat { size, mtime_ns: 0, ctime_ns: 0, btime_ns: 0, inode: 0, device: 0, exec: false };
    Ok(Loaded { stat, racy: false, hash: ContentHash::of(&bytes), bytes: Some(bytes), chunks })
}

fn writes_of(loaded: &Loaded) -> Result<Vec<Write>, HistoryError> {
    let mut writes = content_writes(loaded);
    if loaded.chunks.is_none() {
        writes.extend(small_content(loaded)?);
    }
    Ok(writes)
}

/// What an entry is, in words.
#[must_use]
pub const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Dir => "directory",
        Kind::File => "file",
        Kind::Link => "link",
    }
}
