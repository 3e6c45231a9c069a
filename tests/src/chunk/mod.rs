//! Chunks of Automerge's binary format, built byte by byte: what a peer could send, whether or not Automerge would write it.
//!
//! Fields are plain and nothing is checked; only length, hash and checksum are made right, and even those can be set. It must
//! not name `automerge`, and must not grow rules: what is refused is for `sync_core::preflight` to say. `column` encodes
//! columns, `document` builds document chunks, `parts` takes a change apart.

pub mod column;
pub mod document;
pub mod parts;

use std::{collections::BTreeMap, io::Write as _};

use flate2::{Compression, write::DeflateEncoder};
use sha2::{Digest as _, Sha256};

pub use self::{
    document::{Document, DocumentChange, DocumentOp},
    parts::Parts,
};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// Type of a chunk that holds a whole document.
pub const DOCUMENT: u8 = 0;
/// Type of a chunk that holds one change.
pub const CHANGE: u8 = 1;
/// Type of a chunk that holds one change, deflated.
pub const DEFLATED: u8 = 2;

/// What operations do.
pub mod action {
    /// Makes a map.
    pub const MAKE_MAP: u64 = 0;
    /// Puts a scalar.
    pub const SET: u64 = 1;
    /// Makes a list.
    pub const MAKE_LIST: u64 = 2;
    /// Deletes.
    pub const DELETE: u64 = 3;
    /// Makes a text.
    pub const MAKE_TEXT: u64 = 4;
    /// Adds to a counter.
    pub const INCREMENT: u64 = 5;
    /// Begins or ends a mark.
    pub const MARK: u64 = 7;
}

/// The id of an operation as a chunk writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    /// The actor's index: 0 is the change's own, others follow in the order of `other_actors`.
    pub actor: u64,
    /// The operation's counter.
    pub counter: u64,
}

/// An id from its actor's index and its counter.
#[must_use]
pub const fn id(actor: u64, counter: u64) -> Id {
    Id { actor, counter }
}

/// Where in its object an operation acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// At a key of a map.
    Prop(String),
    /// At the head of a sequence.
    Head,
    /// At, or behind, an element of a sequence.
    Element(Id),
}

/// A scalar as it is written: its type, and its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Value {
    /// 0 null, 1 false, 2 true, 3 unsigned, 4 signed, 5 float, 6 text, 7 bytes, 8 counter, 9 time.
    pub kind: u8,
    /// What stands in the column of values.
    pub bytes: Vec<u8>,
}

impl Value {
    /// An unsigned number.
    #[must_use]
    pub fn unsigned(value: u64) -> Self {
        Self { kind: 3, bytes: column::uleb(value) }
    }

    /// A signed number.
    #[must_use]
    pub fn signed(value: i64) -> Self {
        Self { kind: 4, bytes: column::sleb(value) }
    }

    /// A text.
    #[must_use]
    pub fn text(value: &str) -> Self {
        Self { kind: 6, bytes: value.as_bytes().to_vec() }
    }

    /// A counter that starts at this.
    #[must_use]
    pub fn counter(value: i64) -> Self {
        Self { kind: 8, bytes: column::sleb(value) }
    }

    const fn meta(&self) -> u64 {
        ((self.bytes.len() as u64) << 4) | self.kind as u64
    }
}

/// One operation of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// The object it acts on; none is the root.
    pub obj: Option<Id>,
    /// Where in the object.
    pub key: Key,
    /// Whether it makes a new element of a sequence.
    pub insert: bool,
    /// What it does, see [`action`].
    pub action: u64,
    /// Its scalar.
    pub value: Value,
    /// What it replaces.
    pub pred: Vec<Id>,
    /// Whether a mark expands.
    pub expand: bool,
    /// The name of a mark.
    pub mark_name: Option<String>,
}

impl Op {
    /// An operation at a key of the root.
    #[must_use]
    pub fn root(key: &str, action: u64, value: Value) -> Self {
        Self {
            obj: None,
            key: Key::Prop(key.to_owned()),
            insert: false,
            action,
            value,
            pred: Vec::new(),
            expand: false,
            mark_name: None,
        }
    }

    /// Puts a scalar at a key of the root.
    #[must_use]
    pub fn put(key: &str, value: Value) -> Self {
        Self::root(key, action::SET, value)
    }

    /// Puts a scalar somewhere else.
    #[must_use]
    pub fn put_in(obj: Id, key: Key, value: Value) -> Self {
        Self { obj: Some(obj), key, ..Self::put("", value) }
    }

    /// Makes a new element of a sequence, behind another.
    #[must_use]
    pub fn insert(obj: Id, after: Key, value: Value) -> Self {
        Self { insert: true, ..Self::put_in(obj, after, value) }
    }

    /// The same, in place of these.
    #[must_use]
    pub fn over(self, pred: impl IntoIterator<Item = Id>) -> Self {
        Self { pred: pred.into_iter().collect(), ..self }
    }
}

/// One change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Hashes it depends on; Automerge writes them sorted.
    pub deps: Vec<[u8; 32]>,
    /// The actor that wrote it.
    pub actor: Vec<u8>,
    /// Its number among that actor's changes.
    pub seq: u64,
    /// Counter of its first operation.
    pub start_op: u64,
    /// Its time.
    pub time: i64,
    /// Its message.
    pub message: Vec<u8>,
    /// The other actors that its operations name; Automerge writes them sorted.
    pub other_actors: Vec<Vec<u8>>,
    /// What it does.
    pub ops: Vec<Op>,
    /// What stands in a column instead of what `ops` says, by the column's specification; an empty one is left out.
    pub columns: BTreeMap<u32, Vec<u8>>,
    /// What stands behind the columns.
    pub extra: Vec<u8>,
    /// A checksum instead of the right one.
    pub checksum: Option<[u8; 4]>,
}

impl Chunk {
    /// A change with only its place: the rest is for the caller.
    #[must_use]
    pub fn new(actor: &[u8], seq: u64, start_op: u64, deps: &[[u8; 32]]) -> Self {
        let mut deps = deps.to_vec();
        deps.sort_unstable();
        Self { deps, actor: actor.to_vec(), seq, start_op, ..Self::default() }
    }

    /// The same with these operations.
    #[must_use]
    pub fn with(self, ops: impl IntoIterator<Item = Op>) -> Self {
        Self { ops: ops.into_iter().collect(), ..self }
    }

    /// The same with one more column, or with other bytes in one.
    #[must_use]
    pub fn with_column(mut self, spec: u32, bytes: Vec<u8>) -> Self {
        self.columns.insert(spec, bytes);
        self
    }

    /// Counter of the last operation.
    #[must_use]
    pub const fn max_op(&self) -> u64 {
        self.start_op + self.ops.len() as u64 - 1
    }

    /// The columns that `ops` and `columns` give, in the order in which they are written.
    #[must_use]
    pub fn encoded_columns(&self) -> Vec<(u32, Vec<u8>)> {
        let mut columns = column::of_ops(&self.ops);
        columns.extend(self.columns.iter().map(|(spec, bytes)| (*spec, bytes.clone())));
        column::in_order(columns)
    }

    /// All of the change before the bytes of its message, and all behind them.
    fn around_message(&self, message_bytes: u64) -> (Vec<u8>, Vec<u8>) {
        let mut before = column::uleb(self.deps.len() as u64);
        before.extend(self.deps.as_flattened());
        column::put_bytes(&mut before, &self.actor);
        before.extend([column::uleb(self.seq), column::uleb(self.start_op), column::sleb(self.time)].concat());
        before.extend(column::uleb(message_bytes));
        let mut behind = column::uleb(self.other_actors.len() as u64);
        for actor in &self.other_actors {
            column::put_bytes(&mut behind, actor);
        }
        column::put_columns(&mut behind, &self.encoded_columns());
        behind.extend(&self.extra);
        (before, behind)
    }

    /// What the chunk's hash covers, without type and length.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let (before, behind) = self.around_message(self.message.len() as u64);
        [before, self.message.clone(), behind].concat()
    }

    /// The change's hash, of which a right checksum is the first four bytes.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(CHANGE, &self.content())
    }

    /// The chunk.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        chunk(CHANGE, &self.content(), self.checksum)
    }

    /// The chunk in its other form, deflated, with these bytes behind the deflated ones.
    #[must_use]
    pub fn deflated(&self, garbage: &[u8]) -> Vec<u8> {
        let content = [deflate(&self.content()), garbage.to_vec()].concat();
        chunk(DEFLATED, &content, self.checksum.or(Some(checksum(&self.hash()))))
    }

    /// The chunk deflated, with a message of so many bytes of one letter; they are never held at once.
    #[must_use]
    pub fn deflated_bomb(&self, message_bytes: u64) -> Vec<u8> {
        let (before, behind) = self.around_message(message_bytes);
        let mut hasher = Sha256::new();
        hasher.update([CHANGE]);
        hasher.update(column::uleb(before.len() as u64 + message_bytes + behind.len() as u64));
        let mut deflater = DeflateEncoder::new(Vec::new(), Compression::default());
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            deflater.write_all(bytes).expect("a vector takes everything");
        };
        put(&before);
        blocks(b'a', message_bytes).for_each(&mut put);
        put(&behind);
        let hash: [u8; 32] = hasher.finalize().into();
        let content = deflater.finish().expect("a vector takes everything");
        chunk(DEFLATED, &content, Some(checksum(&hash)))
    }
}

/// So many bytes of one kind, in pieces.
fn blocks(byte: u8, mut bytes: u64) -> impl Iterator<Item = &'static [u8]> {
    static LETTERS: [u8; 1 << 16] = [b'a'; 1 << 16];
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    let block: &'static [u8] = if byte == 0 { &ZEROS } else { &LETTERS };
    std::iter::from_fn(move || {
        let len = bytes.min(block.len() as u64);
        bytes -= len;
        (len > 0).then_some(&block[..len as usize])
    })
}

/// Deflates.
#[must_use]
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut deflater = DeflateEncoder::new(Vec::new(), Compression::default());
    deflater.write_all(bytes).expect("a vector takes everything");
    deflater.finish().expect("a vector takes everything")
}

/// So many zeros, deflated; they are never held at once.
#[must_use]
pub fn deflated_zeros(bytes: u64) -> Vec<u8> {
    let mut deflater = DeflateEncoder::new(Vec::new(), Compression::default());
    blocks(0, bytes).for_each(|block| deflater.write_all(block).expect("a vector takes everything"));
    deflater.finish().expect("a vector takes everything")
}

/// The hash of a chunk.
#[must_use]
pub fn hash(kind: u8, content: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update([kind]);
    hasher.update(column::uleb(content.len() as u64));
    hasher.update(content);
    hasher.finalize().into()
}

/// The hash of a whole chunk, whatever is in it.
#[must_use]
pub fn hash_of(chunk: &[u8]) -> [u8; 32] {
    Sha256::digest(&chunk[8..]).into()
}

const fn checksum(hash: &[u8; 32]) -> [u8; 4] {
    [hash[0], hash[1], hash[2], hash[3]]
}

/// A chunk of any type around any content; without a checksum it gets the right one.
#[must_use]
pub fn chunk(kind: u8, content: &[u8], given: Option<[u8; 4]>) -> Vec<u8> {
    let checksum = given.unwrap_or_else(|| checksum(&hash(kind, content)));
    [&MAGIC[..], &checksum, &[kind], &column::uleb(content.len() as u64), content].concat()
}
