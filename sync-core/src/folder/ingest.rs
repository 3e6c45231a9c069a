//! From what the user did to edits of documents.
//!
//! Every edit is made at the heads of the base, on the content that was on disk then, never on the newest merged text: a
//! remote edit that is not on disk yet must not read as a local revert. Where disk and documents agree already, as after
//! a crash between a write and its note, only the base is brought up to date.
//!
//! Reading files is a step of its own ([`load`]), which hosts run on several threads.

mod reviving;
mod rows;
mod stale;

use std::{collections::BTreeMap, io::Read as _};

pub use reviving::kind_word;
use rows::{base_row, content_writes, cut_small, small_content};

use super::{
    Base, Documents, Found, FoundKind, Fs, FsError,
    local::{Into, Made, Moved},
    stale::Versions,
};
use crate::{
    commit::Item,
    content::{self, ChunkEntry},
    doc::{
        DocError, Document,
        entry::{Content, ContentRef, Entry, EntryOp, Kind, RootContent, RootSpec},
        promotion, text,
    },
    history::{HistoryError, Library},
    ids::{ChangeHash, ContentHash, DocId, ReplicaId, SpaceId},
    limits,
    probe::{self, Plant, planted},
    store::{
        Edit, Write,
        row::{BaseRow, DocRow, Stat},
    },
    tree::RelPath,
};

/// Prefix of temporary files that hold what was fetched so far.
pub const DOWNLOAD: &str = "part-";

/// A file or link as read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it looked like before and after.
    pub stat: Stat,
    /// Whether it was so young that its time stamp may not move with its bytes.
    pub racy: bool,
    /// Hash of the bytes.
    pub hash: ContentHash,
    /// The bytes, where they are few enough to be a text or to rest inline.
    pub bytes: Option<Vec<u8>>,
    /// Reference and chunks, where they are too many to rest inline.
    pub chunks: Option<(ContentRef, Vec<ChunkEntry>)>,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It changed while it was read: look again later.
    #[error("it is being written")]
    Moving,
    /// The disk.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Reads a file once, whatever its size, and checks that it stood still. `wall_ns` is the clock that the disk's time
/// stamps are of, in nanoseconds since 1970.
///
/// # Errors
/// When it did not, or cannot be read.
pub fn load(fs: &dyn Fs, path: &RelPath, wall_ns: i64) -> Result<Loaded, LoadError> {
    let failed = |source| FsError { operation: "read", path: path.clone(), source };
    let mut file = fs.open(path)?;
    let before = file.stat().map_err(failed)?;
    let small = before.size <= limits::TEXT_BYTES_MAX as u64;
    let (bytes, hash, chunks) = if small {
        let mut bytes = Vec::with_capacity(before.size as usize + 1);
        (&mut file).take(limits::TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        let hash = ContentHash::of(&bytes);
        let chunks = if bytes.len() > limits::INLINE_BYTES_MAX {
            Some(content::cut(&bytes[..], bytes.len() as u64).map_err(failed)?)
        } else {
            None
        };
        (Some(bytes), hash, chunks)
    } else {
        let (content, chunks) = content::cut(&mut file, before.size).map_err(failed)?;
        (None, content.hash, Some((content, chunks)))
    };
    let after = file.stat().map_err(failed)?;
    let whole = bytes.as_ref().map_or(before.size, |bytes| bytes.len() as u64);
    if before != after || whole != after.size {
        return Err(LoadError::Moving);
    }
    probe::reach("ingest.read");
    let racy = !planted(Plant::TrustYoungFiles) && after.is_racy(wall_ns);
    Ok(Loaded { stat: after, racy, hash, bytes, chunks })
}

/// An edit that is ready for the engine, and the base row that it leaves.
#[derive(Debug)]
pub struct Ready {
    /// The entry that it concerns.
    pub doc: DocId,
    /// For the engine; may be only rows.
    pub edit: Edit,
    /// What the base is then.
    pub row: Option<BaseRow>,
}

/// Makes edits for one folder.
#[derive(Debug)]
pub struct Ingest<'a> {
    /// The disk.
    pub fs: &'a dyn Fs,
    /// Documents as stored.
    pub library: &'a mut Library,
    /// Entries and tree.
    pub documents: &'a Documents,
    /// What disk and documents last agreed on.
    pub base: &'a Base,
    /// The space.
    pub space: SpaceId,
    /// Our replica in it.
    pub replica: ReplicaId,
    /// The folder's handle.
    pub folder: u32,
    /// What editors may still show, and the time.
    pub versions: (&'a Versions, u64),
}

impl Ingest<'_> {
    fn ready(&self, doc: DocId, items: Vec<Item>, row: Option<BaseRow>, mut writes: Vec<Write>) -> Ready {
        writes.push(Write::Base { folder: self.folder, doc, row: row.clone().map(Box::new) });
        Ready { doc, edit: Edit { items, writes }, row }
    }

    /// Documents for everything that was made: directories first, then what `files` were read. Entries of `made` that
    /// were not read get none. Returns the documents by index of `made`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn made(
        &mut self,
        made: &[Made],
        files: &mut BTreeMap<usize, Loaded>,
        links: &BTreeMap<usize, String>,
        docs: &mut BTreeMap<usize, DocId>,
    ) -> Result<Vec<Ready>, HistoryError> {
        let mut ready = Vec::new();
        for (index, entry) in made.iter().enumerate() {
            if docs.contains_key(&index) {
                continue;
            }
            let parent = match entry.into {
                Into::Known(parent) => parent,
                Into::Made(above) => match docs.get(&above) {
                    Some(doc) => Some(*doc),
                    None => continue,
                },
            };
            let made = match entry.found.kind {
                FoundKind::Dir => self.make_plain(RootSpec::dir(self.space, parent, &entry.name), entry.found.stat)?,
                FoundKind::Link => match links.get(&index) {
                    Some(target) => {
                        let spec = RootSpec::link(self.space, parent, &entry.name, target);
                        self.make_plain(spec, entry.found.stat)?
                    }
                    None => continue,
                },
                FoundKind::File => match files.remove(&index) {
                    Some(loaded) => self.make_file(parent, &entry.name, loaded)?,
                    None => continue,
                },
                FoundKind::Other => continue,
            };
            docs.insert(index, made.doc);
            ready.push(made);
        }
        Ok(ready)
    }

    /// The entry that the tree shows at a place where the disk had nothing of ours: perhaps it is the same thing.
    fn twin(&self, parent: Option<DocId>, name: &str) -> Option<(DocId, &Entry)> {
        let doc = self.documents.view().child(parent, name)?;
        if self.base.on_disk(&doc).is_some() {
            return None;
        }
        Some((doc, self.documents.entry(&doc)?))
    }

    /// A directory or link.
    fn make_plain(&mut self, mut spec: RootSpec, stat: Stat) -> Result<Ready, HistoryError> {
        let hash = spec.target.as_ref().map_or(ContentHash([0; 32]), |target| ContentHash::of(target.as_bytes()));
        if let Some((doc, entry)) = self.twin(spec.parent, &spec.name)
            && entry.kind == spec.kind
            && entry.target == spec.target
        {
            let heads = self.documents.heads(&doc).unwrap_or_default().to_vec();
            let row = base_row(spec.kind, spec.parent, &spec.name, heads, hash, stat, false);
            return Ok(self.ready(doc, Vec::new(), Some(row), Vec::new()));
        }
        let (doc, item) = self.new_root(&mut spec, None)?;
        let row = base_row(spec.kind, spec.parent, &spec.name, vec![doc.into()], hash, stat, false);
        Ok(self.ready(doc, item.into_iter().collect(), Some(row), Vec::new()))
    }

    fn make_file(&mut self, parent: Option<DocId>, name: &str, loaded: Loaded) -> Result<Ready, HistoryError> {
        let twin = self.twin(parent, name).map(|(doc, entry)| (doc, entry.clone()));
        if let Some((doc, entry)) = twin
            && entry.kind == Kind::File
            && entry.exec == loaded.stat.exec
            && self.content_hash(&doc, &entry)? == Some(loaded.hash)
        {
            let heads = self.documents.heads(&doc).unwrap_or_default().to_vec();
            let row = base_row(Kind::File, parent, name, heads, loaded.hash, loaded.stat, loaded.racy);
            let writes = content_writes(&loaded);
            return Ok(self.ready(doc, Vec::new(), Some(row), writes));
        }
        let writes = content_writes(&loaded);
        let content = match (loaded.chunks, loaded.bytes) {
            (Some((content, _)), _) => RootContent::Reference(content),
            (None, Some(bytes)) => RootContent::Inline(bytes),
            (None, None) => return Err(DocError::NotAnEntry("a file without bytes").into()),
        };
        let mut spec = RootSpec::file(self.space, parent, name, content);
        spec.exec = loaded.stat.exec;
        let (doc, item) = self.new_root(&mut spec, Some(loaded.stat.mtime_ns))?;
        let row = base_row(Kind::File, parent, name, vec![doc.into()], loaded.hash, loaded.stat, loaded.racy);
        Ok(self.ready(doc, item.into_iter().collect(), Some(row), writes))
    }

    /// The root change of a document that does not exist yet: where the derived one does, with another nonce. One that
    /// somebody else made of the same, and that came since the tree was read, is that document: there is nothing to make.
    fn new_root(&mut self, spec: &mut RootSpec, mtime_ns: Option<i64>) -> Result<(DocId, Option<Item>), HistoryError> {
        loop {
            let root = spec.build();
            let doc = DocId::from(root.hash);
            let Some(row) = self.library.row(&doc)? else {
                return Ok((doc, Some(Item::Change { doc, bytes: root.bytes, mtime_ns })));
            };
            if row.heads == [root.hash] && self.documents.entry(&doc).is_none() {
                return Ok((doc, None));
            }
            spec.nonce += 1;
        }
    }

    /// The hash of a file's bytes as its document has them now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn content_hash(&mut self, doc: &DocId, entry: &Entry) -> Result<Option<ContentHash>, HistoryError> {
        Ok(match &entry.content {
            Some(Content::Inline(bytes)) => Some(ContentHash::of(bytes)),
            Some(Content::Reference(content)) => Some(content.hash),
            Some(Content::Text) => match self.library.row(doc)? {
                Some(row) => self.library.text(doc, &row)?.map(|text| ContentHash::of(text.as_bytes())),
                None => None,
            },
            None => None,
        })
    }

    /// The text of a file as it was when disk and documents last agreed; `None` when it was none.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn text_of_base(&mut self, doc: &DocId) -> Result<Option<String>, HistoryError> {
        let Some(heads) = self.base.row(doc).map(|row| row.heads.clone()) else { return Ok(None) };
        let (row, document) = self.open(doc)?;
        let (text, content) = (document.text_at(&heads)?, document.content_at(&heads)?);
        self.library.put_back(doc, &row, document);
        Ok(match (text, content) {
            (Some(text), _) => Some(text),
            (None, Some((_, Content::Inline(bytes)))) => text::as_text(&bytes).map(ToOwned::to_owned),
            (None, Some((_, Content::Reference(content)))) => self.library.rows().text(&content.hash)?,
            (None, _) => None,
        })
    }

    /// An entry that moved or got another name.
    ///
    /// # Errors
    /// When the store fails.
    pub fn moved(&mut self, moved: &Moved, parent: Option<DocId>) -> Result<Option<Ready>, HistoryError> {
        // Moving changed the change time, as an edit on the way may have done: the next look at a file reads it.
        let Some((row, _)) = self.base.on_disk(&moved.doc) else {
            return Ok(None);
        };
        let mut row = row.clone();
        let was = (row.parent, row.name.clone());
        row.parent = parent;
        row.name.clone_from(&moved.name);
        let shown = self.documents.view().place_of(&moved.doc);
        if shown.is_some_and(|place| place.parent == parent && place.name == moved.name) {
            return Ok(Some(self.ready(moved.doc, Vec::new(), Some(row), Vec::new())));
        }
        let mut ops = Vec::new();
        if was.0 != parent {
            ops.push(EntryOp::Parent(parent));
        }
        if was.1 != moved.name {
            ops.push(EntryOp::Name(moved.name.clone()));
        }
        let (doc_row, mut document) = self.open(&moved.doc)?;
        let at = document.with_own(self.replica, &row.heads);
        let change = document.edit(self.replica, &at, &ops)?;
        self.library.put_back(&moved.doc, &doc_row, document);
        if at == row.heads {
            row.heads = vec![change.hash];
        }
        let item = Item::change(moved.doc, change.bytes);
        Ok(Some(self.ready(moved.doc, vec![item], Some(row), Vec::new())))
    }

    /// An entry that is gone from the disk.
    ///
    /// # Errors
    /// When the store fails.
    pub fn gone(&mut self, doc: DocId) -> Result<Option<Ready>, HistoryError> {
        let Some(row) = self.base.row(&doc).cloned() else {
            return Ok(None);
        };
        let is_dead = self.documents.view().place_of(&doc).is_none();
        if is_dead || planted(Plant::LoseTombstone) {
            return Ok(Some(self.ready(doc, Vec::new(), None, Vec::new())));
        }
        let (_, mut document) = self.open(&doc)?;
        let at = document.with_own(self.replica, &row.heads);
        let change = match document.edit(self.replica, &at, &[EntryOp::Delete]) {
            // A directory that was kept for what was in it was deleted before.
            Err(DocError::NoChange) => return Ok(Some(self.ready(doc, Vec::new(), None, Vec::new()))),
            change => change?,
        };
        let item = Item::change(doc, change.bytes);
        Ok(Some(self.ready(doc, vec![item], None, Vec::new())))
    }

    /// A directory or link whose look changed: a directory was replaced by another at its path, a link points elsewhere.
    ///
    /// # Errors
    /// When the store fails.
    pub fn touched_plain(
        &mut self,
        doc: DocId,
        found: &Found,
        target: Option<&str>,
    ) -> Result<Option<Ready>, HistoryError> {
        let Some(row) = self.base.row(&doc).cloned() else {
            return Ok(None);
        };
        let mut row = BaseRow { stat: Some(found.stat), racy: false, ..row };
        let Some(target) = target else {
            return Ok(Some(self.ready(doc, Vec::new(), Some(row), Vec::new())));
        };
        let hash = ContentHash::of(target.as_bytes());
        let mut items = Vec::new();
        // After a crash it may be the one that we were about to put there; or both sides came to the same.
        let intended = row.intent.take().filter(|intent| intent.hash == hash).map(|intent| intent.heads);
        let shown = self.documents.entry(&doc).is_some_and(|entry| entry.target.as_deref() == Some(target));
        let heads = intended.or_else(|| Some(self.documents.heads(&doc)?.to_vec()).filter(|_| shown));
        if let Some(heads) = heads.filter(|_| hash != row.hash) {
            row.heads = heads;
            row.hash = hash;
        } else if hash != row.hash {
            let (_, mut document) = self.open(&doc)?;
            let change = document.edit(self.replica, &row.heads, &[EntryOp::Target(target.to_owned())])?;
            row.heads = vec![change.hash];
            row.hash = hash;
            items.push(Item::change(doc, change.bytes));
        }
        Ok(Some(self.ready(doc, items, Some(row), Vec::new())))
    }

    /// A file whose look changed, as read.
    ///
    /// # Errors
    /// When the store fails.
    pub fn touched_file(&mut self, doc: DocId, loaded: Loaded) -> Result<Option<Ready>, HistoryError> {
        let Some(row) = self.base.row(&doc).cloned() else {
            return Ok(None);
        };
        let was_exec = row.stat.is_some_and(|stat| stat.exec);
        let mut row = BaseRow { stat: Some(loaded.stat), racy: loaded.racy, ..row };
        // After a crash the bytes on disk may be the ones that we were about to put there.
        if let Some(intent) = row.intent.take()
            && intent.hash == loaded.hash
            && row.hash != loaded.hash
        {
            row.heads = intent.heads;
            row.hash = intent.hash;
        }
        let same_bytes = row.hash == loaded.hash;
        let same_exec = was_exec == loaded.stat.exec;
        if same_bytes && same_exec {
            return Ok(Some(self.ready(doc, Vec::new(), Some(row), Vec::new())));
        }
        let Some(entry) = self.documents.entry(&doc).cloned() else {
            return Ok(None);
        };
        // Both sides may have come to the same.
        if entry.exec == loaded.stat.exec && self.content_hash(&doc, &entry)? == Some(loaded.hash) {
            row.heads = self.documents.heads(&doc).unwrap_or_default().to_vec();
            row.hash = loaded.hash;
            let writes = content_writes(&loaded);
            return Ok(Some(self.ready(doc, Vec::new(), Some(row), writes)));
        }
        if let Some(ready) = self.stale_save(doc, &row, &loaded, same_bytes, same_exec)? {
            return Ok(Some(ready));
        }
        self.edit_file(doc, row, loaded, same_bytes, same_exec).map(Some)
    }

    /// An entry as it is on disk, against what others made of it: lives, and has these bytes.
    ///
    /// # Errors
    /// When the store fails.
    pub fn insist(&mut self, doc: DocId, loaded: Option<Loaded>) -> Result<Option<Ready>, HistoryError> {
        let Some((row, entry)) = self.base.row(&doc).cloned().zip(self.documents.entry(&doc).cloned()) else {
            return Ok(None);
        };
        let mut row = BaseRow { heads: self.documents.heads(&doc).unwrap_or_default().to_vec(), intent: None, ..row };
        if let Some(loaded) = loaded {
            row.stat = Some(loaded.stat);
            row.racy = loaded.racy;
            let same_exec = entry.exec == loaded.stat.exec;
            let same_bytes = self.content_hash(&doc, &entry)? == Some(loaded.hash);
            if !(same_bytes && same_exec) {
                return self.edit_file(doc, row, loaded, same_bytes, same_exec).map(Some);
            }
        }
        let (doc_row, mut document) = self.open(&doc)?;
        let change = document.edit(self.replica, &row.heads, &[EntryOp::Keep])?;
        self.library.put_back(&doc, &doc_row, document);
        row.heads = vec![change.hash];
        let item = Item::change(doc, change.bytes);
        Ok(Some(self.ready(doc, vec![item], Some(row), Vec::new())))
    }

    fn edit_file(
        &mut self,
        doc: DocId,
        mut row: BaseRow,
        loaded: Loaded,
        same_bytes: bool,
        same_exec: bool,
    ) -> Result<Ready, HistoryError> {
        let (doc_row, mut document) = self.open(&doc)?;
        let mut items = Vec::new();
        let mut ops = Vec::new();
        // A change of ours that never came to this disk, as an end of a conflict that could not be written, is before this one
        // all the same: what is on the disk is compared with that, and holds.
        let mut at = document.with_own(self.replica, &row.heads);
        let is_behind_own = at != row.heads;
        if planted(Plant::EditAtCurrentHeads) {
            at = document.heads();
        }
        let mut writes = Vec::new();
        if !same_exec {
            ops.push(EntryOp::Exec(loaded.stat.exec));
        }
        row.hash = loaded.hash;
        if !same_bytes {
            if !takes_saves(&doc_row) {
                return Err(DocError::Full.into());
            }
            let new = loaded.bytes.as_deref().and_then(text::as_text);
            let splices = match new {
                Some(new) => self.splices(&doc, &doc_row, &mut document, &mut at, &mut items, new)?,
                None => None,
            };
            if let Some(splices) = splices {
                if has_room(&doc_row, &splices) {
                    let ops: Vec<EntryOp> = ops.iter().cloned().chain([EntryOp::Splice(splices)]).collect();
                    let change = document.edit(self.replica, &at, &ops)?;
                    let item = Item::content(doc, change.bytes, loaded.stat.mtime_ns);
                    if item.encoded_len() <= limits::BODY_BYTES_MAX - 64 {
                        self.library.put_back(&doc, &doc_row, document);
                        row.heads = vec![change.hash];
                        items.push(item);
                        return Ok(self.ready(doc, items, Some(row), writes));
                    }
                }
                // More text at once than a commit holds, or than the document has room for: the file is replaced whole, as
                // one above the bound of texts.
                document = self.open(&doc)?.1;
            }
            items.clear();
            at = document.with_own(self.replica, &row.heads);
            ops.push(EntryOp::Content(self.reference(&loaded)?));
            writes = content_writes(&loaded);
            if loaded.chunks.is_none() {
                writes.extend(small_content(&loaded)?);
            }
        }
        let change = document.edit(self.replica, &at, &ops)?;
        self.library.put_back(&doc, &doc_row, document);
        // Where the bytes are those of the base they are still to become those of our change.
        if !(same_bytes && is_behind_own) {
            row.heads = vec![change.hash];
        }
        let mtime_ns = Some(loaded.stat.mtime_ns).filter(|_| !same_bytes);
        items.push(Item::Change { doc, bytes: change.bytes, mtime_ns });
        Ok(self.ready(doc, items, Some(row), writes))
    }

    fn reference(&self, loaded: &Loaded) -> Result<ContentRef, HistoryError> {
        if let Some((content, _)) = &loaded.chunks {
            return Ok(*content);
        }
        Ok(cut_small(loaded)?.0)
    }

    /// The splices from the text of the base to `new`, after a promotion where the base has none; `None` when the file
    /// was no text, or its text is not to be had.
    fn splices(
        &mut self,
        doc: &DocId,
        row: &DocRow,
        document: &mut Document,
        at: &mut Vec<ChangeHash>,
        items: &mut Vec<Item>,
        new: &str,
    ) -> Result<Option<Vec<text::Splice>>, HistoryError> {
        if let Some(old) = document.text_at(at)? {
            let mut splices = text::diff(&old, new);
            if planted(Plant::DoubleAppend) {
                splices.iter_mut().for_each(|splice| splice.insert = splice.insert.repeat(2));
            }
            return Ok(Some(splices));
        }
        let Some((of, content)) = document.content_at(at)? else {
            return Ok(None);
        };
        let (old, promotion, item) = match content {
            Content::Inline(bytes) => {
                let Some(old) = text::as_text(&bytes).map(ToOwned::to_owned) else {
                    return Ok(None);
                };
                let promotion = promotion::of_root(&self.library.root_change(row)?)?;
                let item = Item::Promotion { doc: *doc, of, hash: promotion.hash };
                (old, promotion, item)
            }
            Content::Reference(content) => {
                let Some(old) = self.library.rows().text(&content.hash)? else {
                    return Ok(None);
                };
                let Some(history) = self.library.closure(doc, row, &of)? else {
                    return Ok(None);
                };
                let promotion = promotion::build(history, &old)?;
                let item = Item::change(*doc, promotion.bytes.clone());
                if item.encoded_len() > limits::BODY_BYTES_MAX - 64 {
                    return Ok(None);
                }
                (old, promotion, item)
            }
            Content::Text => return Ok(None),
        };
        if !document.has(&[promotion.hash]) {
            document.apply([&promotion.bytes])?;
        }
        items.push(item);
        at.retain(|head| *head != of);
        at.push(promotion.hash);
        at.sort_unstable();
        Ok(Some(text::diff(&old, new)))
    }

    fn open(&mut self, doc: &DocId) -> Result<(DocRow, Document), HistoryError> {
        let row = self.library.row(doc)?.ok_or(DocError::NotAnEntry("the document is not held"))?;
        let document = self.library.open(doc, &row)?;
        Ok((row, document))
    }
}

/// Whether a document takes in content at all.
const fn takes_saves(row: &DocRow) -> bool {
    row.changes < limits::DOC_SAVES_MAX
}

/// Whether a document may grow by an edit of its text.
fn has_room(row: &DocRow, splices: &[text::Splice]) -> bool {
    let ops = splices.iter().map(|splice| (splice.delete + splice.insert.chars().count()) as u64);
    row.ops.saturating_add(ops.sum()) <= limits::DOC_TEXT_OPS_MAX
}

#[cfg(test)]
mod tests;
