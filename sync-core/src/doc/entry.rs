//! Entries: documents that describe one file, directory or link of a folder.
//!
//! The root map holds plain registers (`docs/SPEC.md`, "Entry documents"). The root change is derived from what is
//! imported and from nothing else, so two devices that import the same file at the same place make the very same
//! document. Parent and name are separate registers: a rename on one machine and a move on another both take effect.

use std::mem::ManuallyDrop;

use automerge::{
    Automerge, ObjId, ObjType, ROOT, ReadDoc as _, ScalarValue, Value,
    transaction::{CommitOptions, Transactable as _, Transaction},
};
use serde::{Deserialize, Serialize};

use super::{DocError, Document, ENCODING, NewChange, actor_of, decode, guarded, hashes_of, text::Splice};
use crate::ids::{ChangeHash, ContentHash, DocId, ReplicaId, SpaceId, context, derive16};

/// Message of every root change: the version of this schema.
pub const SCHEMA: &str = "kith/entry/1";

pub(super) mod key {
    pub(in crate::doc) const KIND: &str = "kind";
    pub(in crate::doc) const PARENT: &str = "parent";
    pub(in crate::doc) const NAME: &str = "name";
    pub(in crate::doc) const ALIVE: &str = "alive";
    pub(in crate::doc) const CONTENT: &str = "content";
    pub(in crate::doc) const EXEC: &str = "exec";
    pub(in crate::doc) const TARGET: &str = "target";
    pub(in crate::doc) const NONCE: &str = "nonce";
}

/// Key of the register that every edit puts again and a delete removes.
pub(crate) const ALIVE: &str = key::ALIVE;

/// First byte of a content register that holds the bytes themselves.
const INLINE: u8 = 0;
/// First byte of a content register that refers to bytes by hash.
const REFERENCE: u8 = 1;

/// What an entry is; set once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::File => "file",
            Self::Link => "link",
        }
    }
}

/// Refers to the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentRef {
    /// BLAKE3 of all bytes.
    pub hash: ContentHash,
    /// How many bytes.
    pub len: u64,
    /// Hash of the list of chunks.
    pub list: [u8; 32],
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Content {
    /// The bytes, in the root change.
    Inline(Vec<u8>),
    /// Bytes that travel as chunks.
    Reference(ContentRef),
    /// A text that merges; read it with [`Document::text`].
    Text,
}

/// Current values of an entry's registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The directory it is in; `None` at the top.
    pub parent: Option<DocId>,
    /// Its name as the user wrote it.
    pub name: String,
    /// Whether it exists; a delete that had not seen an edit does not count.
    pub alive: bool,
    /// Bytes of a file.
    pub content: Option<Content>,
    /// Executable bit of a file.
    pub exec: bool,
    /// Text of a link.
    pub target: Option<String>,
    /// Contents that lost against a concurrent one; a text has no list of chunks.
    pub lost_contents: Vec<ContentRef>,
    /// Whether a concurrent name or parent lost.
    pub lost_place: bool,
    /// Counter and actor of the operation that set the parent: orders moves the same way everywhere.
    pub parent_stamp: (u64, Vec<u8>),
    /// The directory that the root change names, where that is another one.
    pub first_parent: Option<DocId>,
}

/// Content of a new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootContent {
    /// At most [`INLINE_BYTES_MAX`](crate::limits::INLINE_BYTES_MAX) bytes.
    Inline(Vec<u8>),
    /// More.
    Reference(ContentRef),
}

/// Everything that a root change is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSpec {
    /// The space.
    pub space: SpaceId,
    /// The directory; `None` at the top.
    pub parent: Option<DocId>,
    /// Name in it.
    pub name: String,
    /// File, directory or link.
    pub kind: Kind,
    /// Content of a file.
    pub content: Option<RootContent>,
    /// Executable bit.
    pub exec: bool,
    /// Text of a link.
    pub target: Option<String>,
    /// Goes up when the document that this makes already lives elsewhere.
    pub nonce: u64,
}

impl RootSpec {
    /// A file that is not executable.
    #[must_use]
    pub fn file(space: SpaceId, parent: Option<DocId>, name: &str, content: RootContent) -> Self {
        Self {
            space,
            parent,
            name: name.to_owned(),
            kind: Kind::File,
            content: Some(content),
            exec: false,
            target: None,
            nonce: 0,
        }
    }

    /// A directory.
    #[must_use]
    pub fn dir(space: SpaceId, parent: Option<DocId>, name: &str) -> Self {
        Self {
            space,
            parent,
            name: name.to_owned(),
            kind: Kind::Dir,
            content: None,
            exec: false,
            target: None,
            nonce: 0,
        }
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(space: SpaceId, parent: Option<DocId>, name: &str, target: &str) -> Self {
        Self { target: Some(target.to_owned()), kind: Kind::Link, ..Self::dir(space, parent, name) }
    }

    fn actor(&self) -> ReplicaId {
        let parent = self.parent.map_or([0; 32], |parent| parent.0);
        let content = match (&self.content, &self.target) {
            (Some(RootContent::Inline(bytes)), _) => ContentHash::of(bytes).0,
            (Some(RootContent::Reference(content)), _) => content.hash.0,
            (None, Some(target)) => ContentHash::of(target.as_bytes()).0,
            (None, None) => [0; 32],
        };
        let name_len = (self.name.len() as u64).to_le_bytes();
        ReplicaId(derive16(
            context::ENTRY_ACTOR,
            &[
                &self.space.0,
                &parent,
                &name_len,
                self.name.as_bytes(),
                self.kind.as_str().as_bytes(),
                &content,
                &[u8::from(self.exec)],
                &self.nonce.to_le_bytes(),
            ],
        ))
    }

    /// Makes the root change; its hash is the document's id.
    ///
    /// # Panics
    /// Never: putting scalars into a fresh root map cannot fail.
    #[must_use]
    pub fn build(&self) -> NewChange {
        let mut automerge = Automerge::new_with_encoding(ENCODING).with_actor(actor_of(self.actor()));
        let mut tx = automerge.transaction();
        let mut put = |key: &str, value: ScalarValue| {
            tx.put(ROOT, key, value).expect("a scalar fits a fresh map");
        };
        put(key::ALIVE, 1_u64.into());
        if let Some(content) = &self.content {
            put(key::CONTENT, ScalarValue::Bytes(encode_content(content)));
        }
        if self.exec {
            put(key::EXEC, true.into());
        }
        put(key::KIND, self.kind.as_str().into());
        put(key::NAME, self.name.as_str().into());
        if self.nonce > 0 {
            put(key::NONCE, self.nonce.into());
        }
        put(key::PARENT, ScalarValue::Bytes(encode_parent(self.parent)));
        if let Some(target) = &self.target {
            put(key::TARGET, target.as_str().into());
        }
        tx.commit_with(CommitOptions::default().with_message(SCHEMA).with_time(0));
        automerge.get_last_local_change().expect("the transaction had operations").into()
    }

    /// Checks that `bytes` are the root change that their own values derive, as the door demands of a change whose
    /// actor is not the replica of its commit.
    ///
    /// # Errors
    /// When the change is not an entry's root, or its actor does not follow from its values.
    pub fn verify(space: SpaceId, bytes: &[u8]) -> Result<(), DocError> {
        let change = decode(bytes)?;
        let spec = Self::read(space, &change)?;
        if change.actor_id().to_bytes() == spec.actor().0 && change.timestamp() == 0 {
            Ok(())
        } else {
            Err(DocError::NotAnEntry("its actor does not follow from its values"))
        }
    }

    fn read(space: SpaceId, change: &automerge::Change) -> Result<Self, DocError> {
        let entry = Registers::of_root(change)?;
        Ok(Self {
            space,
            parent: entry.parent,
            name: entry.name.ok_or(DocError::NotAnEntry("no name"))?,
            kind: entry.kind.ok_or(DocError::NotAnEntry("no kind"))?,
            content: match entry.content {
                None => None,
                Some(Content::Inline(bytes)) => Some(RootContent::Inline(bytes)),
                Some(Content::Reference(content)) => Some(RootContent::Reference(content)),
                Some(Content::Text) => return Err(DocError::NotAnEntry("a text in the root change")),
            },
            exec: entry.exec,
            target: entry.target,
            nonce: entry.nonce,
        })
    }
}

fn encode_parent(parent: Option<DocId>) -> Vec<u8> {
    parent.map_or_else(Vec::new, |parent| parent.0.to_vec())
}

fn encode_content(content: &RootContent) -> Vec<u8> {
    match content {
        RootContent::Inline(bytes) => [&[INLINE][..], bytes].concat(),
        RootContent::Reference(content) => encode_reference(content),
    }
}

fn encode_reference(content: &ContentRef) -> Vec<u8> {
    postcard::to_extend(content, vec![REFERENCE]).expect("a reference is plain data")
}

pub(super) fn decode_content(bytes: &[u8]) -> Result<Content, DocError> {
    match bytes.split_first() {
        Some((&INLINE, rest)) => Ok(Content::Inline(rest.to_vec())),
        Some((&REFERENCE, rest)) => {
            postcard::from_bytes(rest).map(Content::Reference).map_err(|_| DocError::NotAnEntry("content reference"))
        }
        _ => Err(DocError::NotAnEntry("content")),
    }
}

pub(super) fn decode_parent(bytes: &[u8]) -> Result<Option<DocId>, DocError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    DocId::from_slice(bytes).map(Some).ok_or(DocError::NotAnEntry("parent"))
}

/// Registers as they are read one by one.
#[derive(Default)]
struct Registers {
    kind: Option<Kind>,
    parent: Option<DocId>,
    name: Option<String>,
    alive: bool,
    content: Option<Content>,
    exec: bool,
    target: Option<String>,
    nonce: u64,
    parent_stamp: (u64, Vec<u8>),
}

impl Registers {
    /// Reads a root change without opening a document, which is what an import of thousands of files needs.
    fn of_root(change: &automerge::Change) -> Result<Self, DocError> {
        use automerge::legacy::{Key, ObjectId};

        if change.message() != Some(SCHEMA) {
            return Err(DocError::NotAnEntry("schema"));
        }
        let mut registers = Self::default();
        let actor = change.actor_id().to_bytes();
        for (index, op) in guarded(|| Ok(change.decode()))?.operations.into_iter().enumerate() {
            let (ObjectId::Root, Key::Map(name)) = (&op.obj, &op.key) else {
                return Err(DocError::NotAnEntry("more than registers in the root change"));
            };
            let Some(value) = op.primitive_value() else {
                return Err(DocError::NotAnEntry("more than scalars in the root change"));
            };
            registers.set(name, &value)?;
            if name == key::PARENT {
                registers.parent_stamp = (change.start_op().get() + index as u64, actor.to_vec());
            }
        }
        Ok(registers)
    }

    fn set(&mut self, name: &str, value: &ScalarValue) -> Result<(), DocError> {
        match (name, value) {
            (key::KIND, ScalarValue::Str(kind)) => {
                self.kind = Some(match kind.as_str() {
                    "dir" => Kind::Dir,
                    "file" => Kind::File,
                    "link" => Kind::Link,
                    _ => return Err(DocError::NotAnEntry("kind")),
                });
            }
            (key::PARENT, ScalarValue::Bytes(bytes)) => self.parent = decode_parent(bytes)?,
            (key::NAME, ScalarValue::Str(name)) => self.name = Some(name.to_string()),
            // The number only makes each put an operation: Automerge drops one that repeats the value.
            (key::ALIVE, ScalarValue::Uint(_)) => self.alive = true,
            (key::CONTENT, ScalarValue::Bytes(bytes)) => self.content = Some(decode_content(bytes)?),
            (key::EXEC, ScalarValue::Boolean(exec)) => self.exec = *exec,
            (key::TARGET, ScalarValue::Str(target)) => self.target = Some(target.to_string()),
            (key::NONCE, ScalarValue::Uint(nonce)) => self.nonce = *nonce,
            // A later version may add registers; what is not understood is left alone.
            _ => {}
        }
        Ok(())
    }

    fn into_entry(self) -> Result<Entry, DocError> {
        Ok(Entry {
            kind: self.kind.ok_or(DocError::NotAnEntry("no kind"))?,
            parent: self.parent,
            name: self.name.ok_or(DocError::NotAnEntry("no name"))?,
            alive: self.alive,
            content: self.content,
            exec: self.exec,
            target: self.target,
            lost_contents: Vec::new(),
            lost_place: false,
            parent_stamp: self.parent_stamp,
            first_parent: None,
        })
    }
}

impl Entry {
    /// Reads the entry that a lone root change makes, without opening a document.
    ///
    /// # Errors
    /// When it is not the root change of an entry.
    pub fn of_root(bytes: &[u8]) -> Result<Self, DocError> {
        Registers::of_root(&decode(bytes)?)?.into_entry()
    }
}

/// One thing that an edit does to an entry. Every edit but a delete also says that the entry is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryOp {
    /// Into another directory.
    Parent(Option<DocId>),
    /// Another name.
    Name(String),
    /// Executable or not.
    Exec(bool),
    /// Another link text.
    Target(String),
    /// Other bytes, as a whole.
    Content(ContentRef),
    /// Changes of the text, positions in the text before the edit, ascending and apart.
    Splice(Vec<Splice>),
    /// Nothing but that it is alive.
    Keep,
    /// Deleted.
    Delete,
}

impl Document {
    /// Reads the entry's registers now.
    ///
    /// # Errors
    /// When the document is not an entry.
    pub fn entry(&self) -> Result<Entry, DocError> {
        self.read_entry(None)
    }

    /// Reads the entry's registers as they were at some heads.
    ///
    /// # Errors
    /// When the document was not an entry.
    pub fn entry_at(&self, heads: &[ChangeHash]) -> Result<Entry, DocError> {
        self.read_entry(Some(&hashes_of(heads)))
    }

    fn read_entry(&self, at: Option<&[automerge::ChangeHash]>) -> Result<Entry, DocError> {
        let mut registers = Registers::default();
        let mut lost_contents = Vec::new();
        let mut lost_place = false;
        let names: Vec<String> = match at {
            Some(heads) => self.automerge.keys_at(ROOT, heads).collect(),
            None => self.automerge.keys(ROOT).collect(),
        };
        for name in names {
            let all = if name == key::CONTENT { self.contents_in_order(at)? } else { self.all_of(&name, at)? };
            // The last one is the winner.
            for (index, (value, id)) in all.iter().enumerate() {
                let wins = index + 1 == all.len();
                if wins
                    && name == key::PARENT
                    && let ObjId::Id(counter, actor, _) = id
                {
                    registers.parent_stamp = (*counter, actor.to_bytes().to_vec());
                }
                match (wins, name.as_str(), value) {
                    (true, key::CONTENT, Value::Object(ObjType::Text)) => registers.content = Some(Content::Text),
                    (true, name, Value::Scalar(scalar)) => registers.set(name, scalar)?,
                    (false, key::CONTENT, Value::Scalar(scalar)) => {
                        if let ScalarValue::Bytes(bytes) = scalar.as_ref()
                            && let Content::Reference(content) = decode_content(bytes)?
                        {
                            lost_contents.push(content);
                        }
                    }
                    (false, key::CONTENT, Value::Object(ObjType::Text)) => {
                        let text = self.automerge.text(id)?;
                        let (hash, len) = (ContentHash::of(text.as_bytes()), text.len() as u64);
                        lost_contents.push(ContentRef { hash, len, list: [0; 32] });
                    }
                    (false, key::NAME | key::PARENT, value) => {
                        lost_place |= all.last().is_some_and(|(winner, _)| winner != value);
                    }
                    _ => {}
                }
            }
        }
        let mut entry = registers.into_entry()?;
        if let Some(Content::Reference(winner)) = &entry.content {
            lost_contents.retain(|lost| lost.hash != winner.hash);
        }
        entry.lost_contents = lost_contents;
        entry.lost_place = lost_place;
        // Only directories can be in a cycle, and only then is this asked for.
        if entry.kind == Kind::Dir {
            entry.first_parent = self.first_parent()?.filter(|first| Some(*first) != entry.parent);
        }
        Ok(entry)
    }

    /// The directory that the root change names.
    fn first_parent(&self) -> Result<Option<DocId>, DocError> {
        let root = self.automerge.get_changes_meta(&[]).into_iter().find(|meta| meta.deps.is_empty());
        let Some(root) = root else {
            return Ok(None);
        };
        match self.automerge.get_at(ROOT, key::PARENT, &[root.hash])? {
            Some((Value::Scalar(value), _)) => match value.as_ref() {
                ScalarValue::Bytes(bytes) => decode_parent(bytes),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    pub(super) fn text_object(&self, heads: Option<&[automerge::ChangeHash]>) -> Result<Option<ObjId>, DocError> {
        let value = self.contents_in_order(heads)?.pop();
        Ok(value.and_then(|(value, id)| (value == Value::Object(ObjType::Text)).then_some(id)))
    }

    /// The text that is shown now, if the content is one: where heads meet, an edit that both made is shown once.
    ///
    /// # Errors
    /// When Automerge cannot read it.
    pub fn text(&self) -> Result<Option<String>, DocError> {
        self.text_object(None)?.map(|id| self.shown_text(&id)).transpose()
    }

    /// How a text object shows now.
    pub(super) fn shown_text(&self, id: &ObjId) -> Result<String, DocError> {
        Ok(match self.joined(id, &self.automerge.get_heads())? {
            Some(joined) => joined.text(),
            None => self.automerge.text(id)?,
        })
    }

    /// What the text holds, if the content is one: also what is not shown where several heads meet.
    ///
    /// # Errors
    /// When Automerge cannot read it.
    pub fn held_text(&self) -> Result<Option<String>, DocError> {
        Ok(self.text_object(None)?.map(|id| self.automerge.text(id)).transpose()?)
    }

    /// The text as it was shown at `heads`, if the content was one.
    ///
    /// # Errors
    /// When Automerge cannot read it.
    pub fn text_at(&self, heads: &[ChangeHash]) -> Result<Option<String>, DocError> {
        let heads = hashes_of(heads);
        let Some(id) = self.text_object(Some(&heads))? else {
            return Ok(None);
        };
        Ok(Some(match self.joined(&id, &heads)? {
            Some(joined) => joined.text(),
            None => self.automerge.text_at(id, &heads)?,
        }))
    }

    /// The content as it was at `at`, and the change that put it.
    ///
    /// # Errors
    /// When Automerge cannot read it.
    pub fn content_at(&self, at: &[ChangeHash]) -> Result<Option<(ChangeHash, Content)>, DocError> {
        let Some((value, id)) = self.contents_in_order(Some(&hashes_of(at)))?.pop() else {
            return Ok(None);
        };
        let content = match &value {
            Value::Object(ObjType::Text) => Content::Text,
            Value::Scalar(scalar) => match scalar.as_ref() {
                ScalarValue::Bytes(bytes) => decode_content(bytes)?,
                _ => return Err(DocError::NotAnEntry("content")),
            },
            Value::Object(_) => return Err(DocError::NotAnEntry("content")),
        };
        let put_by = self.automerge.hash_for_opid(&id).ok_or(DocError::NotAnEntry("content"))?;
        Ok(Some((ChangeHash(put_by.0), content)))
    }

    /// Edits the entry as it was at `at`, and returns the change, which this document then holds.
    ///
    /// # Errors
    /// [`DocError::StaleBase`] when `at` does not contain the last change of `replica`.
    pub fn edit(&mut self, replica: ReplicaId, at: &[ChangeHash], ops: &[EntryOp]) -> Result<NewChange, DocError> {
        if at != self.heads() {
            // On a document of its own: Automerge finds a place in a text that is not the newest by walking all of it,
            // once for each character that goes.
            let mut then = Self::from_changes(self.past(at)?)?;
            let made = then.edit_now(replica, ops)?;
            if self.has(&[made.hash]) {
                return Err(DocError::StaleBase);
            }
            return match self.apply([&made.bytes]) {
                Ok(()) => Ok(made),
                // This replica has changes that are not in that past.
                Err(_) => Err(DocError::StaleBase),
            };
        }
        self.edit_now(replica, ops)
    }

    /// These heads, and the last change of a replica that is not in their past: what it edits next must follow that.
    #[must_use]
    pub fn with_own(&self, replica: ReplicaId, at: &[ChangeHash]) -> Vec<ChangeHash> {
        let mut with_own = at.to_vec();
        if at != self.heads() {
            let actor = actor_of(replica);
            let unknown = self.automerge.get_changes_meta(&hashes_of(at));
            let own = unknown.iter().filter(|meta| *meta.actor == actor).max_by_key(|meta| meta.seq);
            with_own.extend(own.map(|meta| ChangeHash(meta.hash.0)));
        }
        with_own
    }

    fn edit_now(&mut self, replica: ReplicaId, ops: &[EntryOp]) -> Result<NewChange, DocError> {
        self.automerge.set_actor(actor_of(replica));
        let text = self.text_object(None)?;
        // What is shown where heads meet, the edit that joins them makes true: whatever it changes, for there is one head
        // behind it.
        let joined = text.as_ref().map(|text| self.joined(text, &self.automerge.get_heads())).transpose()?;
        let fixes = joined.flatten().map(|joined| joined.fixes()).unwrap_or_default();
        let automerge = &mut self.automerge;
        let made = guarded(|| {
            // Automerge undoes a transaction that is dropped, and after a panic in it that panics again, which would end
            // the process: it is not dropped then, and the document goes as a whole.
            let mut tx = ManuallyDrop::new(automerge.transaction());
            let written = write(&mut tx, text.as_ref(), &fixes, ops);
            let tx = ManuallyDrop::into_inner(tx);
            written?;
            let (made, _) = tx.commit_with(CommitOptions::default().with_time(0));
            made.ok_or(DocError::NoChange)
        })?;
        let change = self.automerge.get_change_by_hash(&made).ok_or(DocError::StaleBase)?;
        Ok(change.into())
    }
}

/// Writes the operations of an edit into a transaction; `text` is the text that splices change, once `fixes` have made it
/// what is shown.
fn write(tx: &mut Transaction<'_>, text: Option<&ObjId>, fixes: &[Splice], ops: &[EntryOp]) -> Result<(), DocError> {
    let mut fixes = Some(fixes);
    for op in ops {
        match op {
            EntryOp::Parent(parent) => tx.put(ROOT, key::PARENT, ScalarValue::Bytes(encode_parent(*parent)))?,
            EntryOp::Name(name) => tx.put(ROOT, key::NAME, name.as_str())?,
            EntryOp::Exec(exec) => tx.put(ROOT, key::EXEC, *exec)?,
            EntryOp::Target(target) => tx.put(ROOT, key::TARGET, target.as_str())?,
            EntryOp::Content(content) => {
                tx.put(ROOT, key::CONTENT, ScalarValue::Bytes(encode_reference(content)))?;
            }
            EntryOp::Splice(splices) => {
                let text = text.ok_or(DocError::NotAnEntry("not a text"))?;
                splice(tx, text, fixes.take().unwrap_or_default())?;
                splice(tx, text, splices)?;
            }
            EntryOp::Keep => {}
            EntryOp::Delete => tx.delete(ROOT, key::ALIVE)?,
        }
    }
    if !ops.contains(&EntryOp::Delete) {
        let last = match tx.get(ROOT, key::ALIVE)? {
            Some((Value::Scalar(value), _)) => value.as_u64().unwrap_or_default(),
            _ => 0,
        };
        tx.put(ROOT, key::ALIVE, last.saturating_add(1))?;
    }
    // An edit that changes nothing joins nothing.
    if let (Some(text), Some(fixes)) = (text, fixes)
        && tx.pending_ops() > 0
    {
        splice(tx, text, fixes)?;
    }
    Ok(())
}

/// Splices a text, from its end, so that the positions hold.
fn splice(tx: &mut Transaction<'_>, text: &ObjId, splices: &[Splice]) -> Result<(), DocError> {
    for splice in splices.iter().rev() {
        // What comes in place of something is put behind it and not in front: a line that another side inserts in front
        // does then not come between it and the rest of its own line.
        tx.splice_text(text, splice.at + splice.delete, 0, &splice.insert)?;
        tx.splice_text(text, splice.at, splice.delete as isize, "")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId([1; 32]);
    const A: ReplicaId = ReplicaId([10; 16]);
    const B: ReplicaId = ReplicaId([11; 16]);

    fn file() -> NewChange {
        RootSpec::file(SPACE, None, "a.bin", RootContent::Inline(vec![0, 1, 2])).build()
    }

    #[test]
    fn the_root_change_is_the_one_of_the_specification() {
        assert_eq!(data_encoding::HEXLOWER.encode(&file().bytes), include_str!("../../vectors/entry_root.hex").trim());
    }

    #[test]
    fn two_devices_make_one_document_and_other_values_make_another() {
        assert_eq!(file(), file());
        let mut other = RootSpec::file(SPACE, None, "a.bin", RootContent::Inline(vec![0, 1, 2]));
        other.exec = true;
        assert_ne!(other.build().hash, file().hash);
        other.exec = false;
        other.nonce = 1;
        assert_ne!(other.build().hash, file().hash);
    }

    #[test]
    fn a_root_reads_back_with_and_without_opening_the_document() {
        let root = file();
        let quick = Entry::of_root(&root.bytes).expect("is an entry");
        let opened = Document::from_changes([&root.bytes]).expect("opens").entry().expect("is an entry");
        assert_eq!(quick, opened);
        assert_eq!(quick.content, Some(Content::Inline(vec![0, 1, 2])));
        assert!(quick.alive);
        RootSpec::verify(SPACE, &root.bytes).expect("follows from its values");
        assert!(RootSpec::verify(SpaceId([2; 32]), &root.bytes).is_err());
    }

    #[test]
    fn an_edit_survives_a_concurrent_delete_and_not_a_later_one() {
        let root = file();
        let mut ours = Document::from_changes([&root.bytes]).expect("opens");
        let mut theirs = ours.clone();
        let at = ours.heads();
        let delete = ours.edit(A, &at, &[EntryOp::Delete]).expect("deletes");
        let rename = theirs.edit(B, &at, &[EntryOp::Name("b.bin".into())]).expect("renames");
        ours.apply([&rename.bytes]).expect("applies");
        theirs.apply([&delete.bytes]).expect("applies");
        let entry = ours.entry().expect("reads");
        assert_eq!(entry, theirs.entry().expect("reads"));
        assert!(entry.alive && entry.name == "b.bin");
        let at = ours.heads();
        ours.edit(A, &at, &[EntryOp::Delete]).expect("deletes");
        assert!(!ours.entry().expect("reads").alive);
    }

    #[test]
    fn a_rename_and_a_move_both_take_effect() {
        let root = file();
        let dir = RootSpec::dir(SPACE, None, "d").build();
        let mut ours = Document::from_changes([&root.bytes]).expect("opens");
        let mut theirs = ours.clone();
        let at = ours.heads();
        ours.edit(A, &at, &[EntryOp::Name("b".into())]).expect("renames");
        let moved = theirs.edit(B, &at, &[EntryOp::Parent(Some(dir.hash.into()))]).expect("moves");
        ours.apply([&moved.bytes]).expect("applies");
        let entry = ours.entry().expect("reads");
        assert_eq!((entry.name.as_str(), entry.parent), ("b", Some(dir.hash.into())));
        assert!(!entry.lost_place);
    }

    #[test]
    fn concurrent_contents_keep_the_loser_in_sight() {
        let root = file();
        let reference = |seed: u8| ContentRef { hash: ContentHash([seed; 32]), len: 5, list: [seed; 32] };
        let mut ours = Document::from_changes([&root.bytes]).expect("opens");
        let mut theirs = ours.clone();
        let at = ours.heads();
        ours.edit(A, &at, &[EntryOp::Content(reference(1))]).expect("edits");
        let other = theirs.edit(B, &at, &[EntryOp::Content(reference(2))]).expect("edits");
        ours.apply([&other.bytes]).expect("applies");
        let entry = ours.entry().expect("reads");
        let Some(Content::Reference(winner)) = entry.content else { panic!("a reference wins over what it replaced") };
        assert_eq!(entry.lost_contents.len(), 1);
        assert_ne!(entry.lost_contents[0].hash, winner.hash);
    }

    #[test]
    fn an_edit_at_heads_without_the_own_last_change_is_stale() {
        let root = file();
        let mut document = Document::from_changes([&root.bytes]).expect("opens");
        let at = document.heads();
        document.edit(A, &at, &[EntryOp::Keep]).expect("edits");
        assert!(matches!(document.edit(A, &at, &[EntryOp::Keep]), Err(DocError::StaleBase)));
    }
}
