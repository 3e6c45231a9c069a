//! Rows that go with what was read.

use super::Loaded;
use crate::{
    content::{self, ChunkEntry},
    doc::{
        DocError,
        entry::{ContentRef, Kind},
        text,
    },
    history::HistoryError,
    ids::{ChangeHash, ContentHash, DocId},
    store::{
        Write,
        row::{BaseRow, Stat},
    },
};

/// Rows that let this device serve a content, and promote it later if it is a text.
pub(super) fn content_writes(loaded: &Loaded) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some((content, chunks)) = &loaded.chunks {
        writes.push(Write::Content { hash: content.hash, chunks: chunks.clone() });
        if let Some(text) = loaded.bytes.as_deref().and_then(text::as_text) {
            writes.push(Write::Text { hash: content.hash, text: text.to_owned() });
        }
    }
    writes
}

/// A small content that changes later than in its root travels by reference too.
pub(super) fn cut_small(loaded: &Loaded) -> Result<(ContentRef, Vec<ChunkEntry>), HistoryError> {
    let bytes = loaded.bytes.as_deref().unwrap_or_default();
    let cut = content::cut(bytes, bytes.len() as u64);
    cut.map_err(|_| DocError::NotAnEntry("bytes in memory do not cut").into())
}

pub(super) fn small_content(loaded: &Loaded) -> Result<Vec<Write>, HistoryError> {
    let (content, chunks) = cut_small(loaded)?;
    let mut writes = vec![Write::Content { hash: content.hash, chunks }];
    if let Some(text) = loaded.bytes.as_deref().and_then(text::as_text) {
        writes.push(Write::Text { hash: content.hash, text: text.to_owned() });
    }
    Ok(writes)
}

pub(super) fn base_row(
    kind: Kind,
    parent: Option<DocId>,
    name: &str,
    heads: Vec<ChangeHash>,
    hash: ContentHash,
    stat: Stat,
    racy: bool,
) -> BaseRow {
    BaseRow { kind, parent, name: name.to_owned(), heads, hash, stat: Some(stat), intent: None, racy }
}
