//! A change taken apart into its fields, its columns as they lie, and put together with anything wrong about them.
//!
//! Where operations matter, `Chunk` writes them; here they are bytes.

use super::{
    CHANGE, chunk,
    column::{put_bytes, put_columns, sleb, uleb},
    hash,
};

/// A change as its fields.
#[derive(Debug, Clone)]
pub struct Parts {
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
    pub columns: Vec<(u32, Vec<u8>)>,
    /// Bytes behind the operations.
    pub extra: Vec<u8>,
}

impl Parts {
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
        let specs: Vec<(u32, u64)> =
            (0..uleb_in(&mut input)).map(|_| (uleb_in(&mut input) as u32, uleb_in(&mut input))).collect();
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
    pub fn column(&mut self, spec: u32) -> &mut Vec<u8> {
        let found = self.columns.iter_mut().find(|(held, _)| *held == spec);
        &mut found.expect("the change has this column").1
    }

    fn content(&self) -> Vec<u8> {
        let mut content = uleb(self.deps.len() as u64);
        content.extend(self.deps.as_flattened());
        put_bytes(&mut content, &self.actor);
        content.extend([uleb(self.seq), uleb(self.start_op), sleb(self.time)].concat());
        put_bytes(&mut content, &self.message);
        content.extend(uleb(self.others.len() as u64));
        self.others.iter().for_each(|other| put_bytes(&mut content, other));
        put_columns(&mut content, &self.columns);
        content.extend(&self.extra);
        content
    }

    /// Puts it together, with the right length and checksum.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        chunk(CHANGE, &self.content(), None)
    }

    /// The hash that names it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(CHANGE, &self.content())
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
