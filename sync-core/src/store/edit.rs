//! What a host's workers have for the store: edits with the rows that hold when they do, and rows alone.

use super::row::BaseRow;
use crate::{
    commit::Item,
    content::ChunkEntry,
    doc::entry::Entry,
    ids::{ChangeHash, ContentHash, DocId},
};

/// Changes to one document that go together, and what they mean for the base.
#[derive(Debug, Clone)]
pub struct Edit {
    /// In order; a known derived change is passed over.
    pub items: Vec<Item>,
    /// Rows that hold when, and only when, the items do.
    pub writes: Vec<Write>,
}

/// A row that a host's worker has for the store.
#[derive(Debug, Clone)]
pub enum Write {
    /// What disk and documents agree on.
    Base {
        /// The folder's handle.
        folder: u32,
        /// The entry.
        doc: DocId,
        /// The row; `None` forgets it.
        row: Option<Box<BaseRow>>,
    },
    /// An entry as read at some heads.
    Entry {
        /// The entry.
        doc: DocId,
        /// The heads.
        heads: Vec<ChangeHash>,
        /// Its registers.
        entry: Box<Entry>,
    },
    /// The chunks of a content that this device can serve.
    Content {
        /// The content.
        hash: ContentHash,
        /// Its chunks in order.
        chunks: Vec<ChunkEntry>,
    },
    /// A text that a later promotion will need.
    Text {
        /// Hash of its bytes.
        hash: ContentHash,
        /// The text.
        text: String,
    },
    /// A snapshot that was proven to load.
    Snapshot {
        /// Key of the document's changes.
        handle: u64,
        /// How many changes it holds.
        changes: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The folder is past its first catch-up.
    CaughtUp {
        /// The folder's handle.
        folder: u32,
    },
    /// The folder's directory has another device number.
    Root {
        /// The folder's handle.
        folder: u32,
        /// Device number and inode.
        root: (u64, u64),
    },
}
