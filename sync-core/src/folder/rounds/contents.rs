//! The bytes of files that are written: which are on this disk already, and which others are asked for.

use std::io::{self, Read as _, Write as _};

use super::{RoundError, Rounds, host::Host, lock};
use crate::{
    content,
    doc::{
        entry::{Content, ContentRef},
        text,
    },
    folder::{
        Found, FoundKind, FsError, apply::Bytes, disk::temp_dir, ingest::DOWNLOAD, plan::wanted_content, rails::Space,
    },
    ids::{ContentHash, DocId},
    limits,
    probe::{Plant, planted},
    store::Write,
    tree::RelPath,
};

/// Bytes of a file that are copied at once.
const COPY_BYTES: usize = 64 * 1024;

impl Rounds {
    /// Bytes of a reference that are here: fetched before, or in another file of this folder.
    pub(super) fn fetched_bytes(
        &mut self,
        host: &mut dyn Host,
        doc: &DocId,
        content: &ContentRef,
    ) -> Result<Option<Bytes>, RoundError> {
        let here = {
            let base = lock(&self.parts.base);
            wanted_content(&base, &self.documents, doc).is_none()
        };
        if here {
            return Ok(None);
        }
        let temp = temp_dir().join(&format!("{DOWNLOAD}{}", content.hash));
        if self.fetched.remove(&content.hash) {
            // A fetch also ends when nobody wants the content any more: what it left may be a part of it, or empty.
            return Ok(self.keep_fetched(host, &temp, content)?.then_some(Bytes::Temp(temp)));
        }
        // One that came whole before a crash may be the last that there is.
        let is_whole = |found: Found| found.kind == FoundKind::File && found.stat.size == content.len;
        let was_fetched = !self.wants.contains_key(&content.hash) && self.parts.fs.look(&temp)?.is_some_and(is_whole);
        if was_fetched && self.keep_fetched(host, &temp, content)? {
            return Ok(Some(Bytes::Temp(temp)));
        }
        // Of its own: the same bytes may go to several places, and a download of them may be under way.
        let temp = temp_dir().join(&format!("held-{doc}"));
        if !self.has_room(content.len) {
            // Asking others for it meets the same want of room, and says so.
            return Ok(None);
        }
        if self.copy_held(host, content, &temp) {
            return Ok(Some(Bytes::Temp(temp)));
        }
        self.room = self.room.map(|space| Space { free: space.free + content.len, ..space });
        Ok(None)
    }

    /// Whether a content can be written at once: if it is on this disk somewhere, it is put where fetched ones are.
    pub(super) fn has_fetched(&mut self, host: &mut dyn Host, content: &ContentRef) -> bool {
        let temp = temp_dir().join(&format!("{DOWNLOAD}{}", content.hash));
        if self.fetched.contains(&content.hash) {
            return true;
        }
        // Not while it is being fetched into that very file.
        let here = !self.wants.contains_key(&content.hash) && self.copy_held(host, content, &temp);
        if here {
            self.fetched.insert(content.hash);
        }
        here
    }

    /// Copies a content that is in some file of this folder, or was and is kept.
    pub(super) fn copy_held(&self, host: &mut dyn Host, content: &ContentRef, temp: &RelPath) -> bool {
        let copies: Vec<RelPath> = {
            let base = lock(&self.parts.base);
            base.with_hash(&content.hash).iter().filter_map(|doc| base.path_of(doc)).collect()
        };
        if copies.iter().any(|path| self.copy_verified(path, temp, content)) {
            return true;
        }
        let kept = host.keeper().open(&content.hash).ok().flatten();
        let copied = kept.is_some_and(|mut kept| self.copy_from(&mut *kept, temp, content).unwrap_or(false));
        if !copied {
            let _not_there = self.parts.fs.remove_file(temp);
        }
        copied
    }

    /// Copies a file of this folder that holds the content, if it still does.
    pub(super) fn copy_verified(&self, from: &RelPath, temp: &RelPath, content: &ContentRef) -> bool {
        let source = self.parts.fs.open(from);
        source.is_ok_and(|mut source| self.copy_from(&mut *source, temp, content).unwrap_or(false))
    }

    fn copy_from(&self, source: &mut dyn io::Read, temp: &RelPath, content: &ContentRef) -> io::Result<bool> {
        let fs = &self.parts.fs;
        let mut target = fs.create(temp).map_err(|error| error.source)?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            match source.read(&mut buffer)? {
                0 => break,
                read => target.write_all(&buffer[..read])?,
            }
        }
        target.flush_to_disk()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(fs.open(temp).map_err(|error| error.source)?)?;
        Ok(hasher.finalize().as_bytes() == &content.hash.0 || planted(Plant::ContentUnverified))
    }

    /// What was fetched can be served, and promoted if it is a text. Says whether it is what was wanted.
    fn keep_fetched(&self, host: &mut dyn Host, temp: &RelPath, content: &ContentRef) -> Result<bool, RoundError> {
        let fs = &self.parts.fs;
        let failed = |source| FsError { operation: "read", path: temp.clone(), source };
        let (cut, chunks) = content::cut(fs.open(temp)?, content.len).map_err(failed)?;
        let (mut writes, mut hasher) = (Vec::new(), blake3::Hasher::new());
        if cut.list == content.list {
            writes.push(Write::Content { hash: content.hash, chunks });
        } else if hasher.update_reader(fs.open(temp)?).map_err(failed)?.finalize().as_bytes() != &content.hash.0
            && !planted(Plant::ContentUnverified)
        {
            return Ok(false);
        }
        if content.len <= limits::TEXT_BYTES_MAX as u64 {
            let mut bytes = Vec::new();
            fs.open(temp)?.read_to_end(&mut bytes).map_err(failed)?;
            if let Some(text) = text::as_text(&bytes) {
                writes.push(Write::Text { hash: content.hash, text: text.to_owned() });
            }
        }
        self.put_rows(host, writes)?;
        Ok(true)
    }

    pub(super) fn want(&mut self, doc: DocId, content: ContentHash) {
        self.wants.entry(content).or_default().insert(doc);
    }

    pub(super) fn ask_for_contents(&mut self, host: &mut dyn Host) {
        // What is no longer in the tree is no longer wanted, nor what a rule has come to cover.
        let (documents, ignored) = (&self.documents, &self.ignored);
        let wanted = self.wants.len();
        self.wants.retain(|hash, docs| {
            docs.retain(|doc| {
                let current = documents.entry(doc).and_then(|entry| entry.content.as_ref());
                documents.view().path_of(doc).is_some_and(|path| !ignored.covers(&path, false))
                    && matches!(current, Some(Content::Reference(content)) if content.hash == *hash)
            });
            !docs.is_empty()
        });
        self.sweep_due |= self.wants.len() < wanted;
        let mut fetch = Vec::new();
        for docs in self.wants.values() {
            let Some(doc) = docs.first() else { continue };
            let content = self.documents.entry(doc).and_then(|entry| entry.content.as_ref());
            if let Some(Content::Reference(content)) = content {
                fetch.push((*doc, *content));
            }
        }
        fetch.retain(|(doc, content)| {
            let has_room = self.has_room(content.len);
            if let Some(place) = self.documents.view().place_of(doc).filter(|_| !has_room).cloned() {
                self.no_room(&place);
            }
            has_room
        });
        host.wanted(fetch.iter().map(|(_, content)| content.hash).collect());
        for (_, content) in fetch {
            host.fetch(content);
        }
    }
}
