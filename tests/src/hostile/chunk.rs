//! Change chunks of Automerge's binary format, taken apart and put together with anything wrong about them.
//!
//! Written from the format's description, not with Automerge: what is made here Automerge would never write.

use sha2::{Digest as _, Sha256};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];

/// A change as its fields.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Hashes that it depends on.
    pub deps: Vec<[u8; 32]>,
    /// Who wrote it.
    pub actor: Vec<u8>,
    /// Its number among that actor's.
    pub seq: u64,
    /// Counter of its first operation.
    pub start_op: u64,
    /// Its time.
    pub time: i64,
    /// Its message.
    pub message: Vec<u8>,
    /// Other actors.
    pub others: Vec<Vec<u8>>,
    /// Columns of operations: specification and bytes.
    pub columns: Vec<(u64, Vec<u8>)>,
    /// Bytes behind the operations.
    pub extra: Vec<u8>,
}

impl Chunk {
    /// Takes a plain change apart.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut input = &bytes[9..];
        let _len = uleb_in(&mut input);
        let deps = (0..uleb_in(&mut input)).map(|_| take(&mut input, 32).try_into().expect("a hash")).collect();
        let len = uleb_in(&mut input);
        let actor = take(&mut input, len).to_vec();
        let (seq, start_op) = (uleb_in(&mut input), uleb_in(&mut input));
        // Times of ours are 0 and fit one byte.
        let time = i64::from(take(&mut input, 1)[0]);
        let len = uleb_in(&mut input);
        let message = take(&mut input, len).to_vec();
        let others = (0..uleb_in(&mut input))
            .map(|_| {
                let len = uleb_in(&mut input);
                take(&mut input, len).to_vec()
            })
            .collect();
        let specs: Vec<(u64, u64)> =
            (0..uleb_in(&mut input)).map(|_| (uleb_in(&mut input), uleb_in(&mut input))).collect();
        let columns = specs.into_iter().map(|(spec, len)| (spec, take(&mut input, len).to_vec())).collect();
        Self { deps, actor, seq, start_op, time, message, others, columns, extra: input.to_vec() }
    }

    /// With something changed.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    /// A column's bytes.
    ///
    /// # Panics
    /// When there is no such column.
    pub fn column(&mut self, spec: u64) -> &mut Vec<u8> {
        let found = self.columns.iter_mut().find(|(held, _)| *held == spec);
        &mut found.expect("the change has this column").1
    }

    /// Puts it together, with the right length and checksum.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut content = uleb(self.deps.len() as u64);
        self.deps.iter().for_each(|dep| content.extend_from_slice(dep));
        let put = |content: &mut Vec<u8>, bytes: &[u8]| {
            content.extend(uleb(bytes.len() as u64));
            content.extend_from_slice(bytes);
        };
        put(&mut content, &self.actor);
        content.extend(uleb(self.seq));
        content.extend(uleb(self.start_op));
        content.extend(sleb(self.time));
        put(&mut content, &self.message);
        content.extend(uleb(self.others.len() as u64));
        self.others.iter().for_each(|other| put(&mut content, other));
        content.extend(uleb(self.columns.len() as u64));
        for (spec, bytes) in &self.columns {
            content.extend(uleb(*spec));
            content.extend(uleb(bytes.len() as u64));
        }
        self.columns.iter().for_each(|(_, bytes)| content.extend_from_slice(bytes));
        content.extend_from_slice(&self.extra);
        sealed(1, &content)
    }

    /// The hash that names it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.build())
    }
}

/// The hash of a chunk.
#[must_use]
pub fn hash(chunk: &[u8]) -> [u8; 32] {
    Sha256::digest(&chunk[8..]).into()
}

/// A chunk of a type around its content, with the right length and checksum.
#[must_use]
pub fn sealed(kind: u8, content: &[u8]) -> Vec<u8> {
    let hashed = [&[kind][..], &uleb(content.len() as u64), content].concat();
    let checksum = Sha256::digest(&hashed);
    [&MAGIC[..], &checksum[..4], &hashed].concat()
}

/// An unsigned number.
#[must_use]
pub fn uleb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A signed number.
#[must_use]
pub fn sleb(mut value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        let last = (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0);
        bytes.push(if last { byte } else { byte | 0x80 });
        if last {
            return bytes;
        }
    }
}

fn take<'a>(input: &mut &'a [u8], len: u64) -> &'a [u8] {
    let (head, rest) = input.split_at(usize::try_from(len).expect("is short"));
    *input = rest;
    head
}

fn uleb_in(input: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(input, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
