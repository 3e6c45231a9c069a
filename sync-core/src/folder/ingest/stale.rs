//! Saves over a version that their editor had not seen, taken in as edits of the version that it had.

use super::{Ingest, Loaded, Ready};
use crate::{
    doc::{DocError, Document, entry::Content, text},
    folder::stale::{Version, is_stale},
    history::HistoryError,
    ids::{ChangeHash, ContentHash, DocId},
    limits,
    store::row::{BaseRow, DocRow},
};

impl Ingest<'_> {
    /// The edit that a file was saved with, if it was made on an older version than the base.
    pub(super) fn stale_save(
        &mut self,
        doc: DocId,
        row: &BaseRow,
        loaded: &Loaded,
        same_bytes: bool,
        same_exec: bool,
    ) -> Result<Option<Ready>, HistoryError> {
        if same_bytes || loaded.stat.size > limits::STALE_TEXT_BYTES_MAX {
            return Ok(None);
        }
        let Some(version) = self.version_of(&doc, row, loaded)? else { return Ok(None) };
        let older = BaseRow { heads: version.heads, hash: version.hash, ..row.clone() };
        match self.edit_file(doc, older, loaded.clone(), false, same_exec) {
            // A change of ours came after that version.
            Err(HistoryError::Doc(DocError::StaleBase)) => Ok(None),
            made => made.map(Some),
        }
    }

    /// The replaced version that a save is an edit of: of those that fit, the one to which it is closest.
    fn version_of(&mut self, doc: &DocId, row: &BaseRow, loaded: &Loaded) -> Result<Option<Version>, HistoryError> {
        let (versions, now_ms) = self.versions;
        let recent: Vec<Version> = versions.recent(doc, now_ms).cloned().collect();
        // Who wrote the bytes of an older version wants that version.
        if recent.is_empty() || recent.iter().any(|version| version.hash == loaded.hash) {
            return Ok(None);
        }
        let Some(disk) = loaded.bytes.as_deref().and_then(text::as_text) else { return Ok(None) };
        let (doc_row, document) = self.open(doc)?;
        let mut closest: Option<(usize, Version)> = None;
        if let Some(base) = self.text_of(doc, &doc_row, &document, &row.heads, row.hash)? {
            for version in recent {
                let Some(older) = self.text_of(doc, &doc_row, &document, &version.heads, version.hash)? else {
                    continue;
                };
                if let Some(size) = is_stale(&older, &base, disk)
                    && closest.as_ref().is_none_or(|(least, _)| size < *least)
                {
                    closest = Some((size, version));
                }
            }
        }
        self.library.put_back(doc, &doc_row, document);
        Ok(closest.map(|(_, version)| version))
    }

    /// The text that a file had on disk at some heads, if it is to be had and can be edited there.
    fn text_of(
        &mut self,
        doc: &DocId,
        row: &DocRow,
        document: &Document,
        heads: &[ChangeHash],
        hash: ContentHash,
    ) -> Result<Option<String>, HistoryError> {
        let found = match document.text_at(heads)? {
            Some(text) => Some(text),
            None => match document.content_at(heads)? {
                Some((_, Content::Inline(bytes))) => text::as_text(&bytes).map(ToOwned::to_owned),
                Some((of, Content::Reference(content))) if self.library.closure(doc, row, &of)?.is_some() => {
                    self.library.rows().text(&content.hash)?
                }
                _ => None,
            },
        };
        let fits = |text: &String| {
            text.len() as u64 <= limits::STALE_TEXT_BYTES_MAX && ContentHash::of(text.as_bytes()) == hash
        };
        Ok(found.filter(fits))
    }
}
