//! The door: what a change claims about itself, read without Automerge.
//!
//! Nothing from the network reaches Automerge before [`ChangeHead::read`] has found it well formed. The reader takes
//! memory only in proportion to the bytes it holds: every count is compared with what is left of the input before it is
//! believed, and operations are counted by summing run lengths, never by walking them.
//!
//! The format is Automerge's binary format (automerge.org, "Binary format"), change chunks only: plain, not deflated.

use sha2::{Digest as _, Sha256};

use crate::{ids::ChangeHash, limits};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHUNK_CHANGE: u8 = 1;
/// Column id 4, type integer: the column that has one value an operation.
const ACTION_COLUMN: u64 = 0x42;
/// Set in a column's specification when its bytes are deflated.
const COLUMN_DEFLATE_BIT: u64 = 0b1000;

/// Why a change is refused before Automerge sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes end too early, go on too long, or a field is not in its shortest form.
    #[error("the change is not well formed: {0}")]
    Malformed(&'static str),
    /// A count or length above its bound.
    #[error("the change is above a bound: {0}")]
    Limit(&'static str),
    /// The checksum is not the one of the bytes.
    #[error("the checksum does not match")]
    Checksum,
}

/// What a change says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeHead {
    /// SHA-256 of the chunk, Automerge's name for the change.
    pub hash: ChangeHash,
    /// Hashes it depends on, sorted.
    pub deps: Vec<ChangeHash>,
    /// The actor that wrote it.
    pub actor: Vec<u8>,
    /// Its number among that actor's changes, from 1.
    pub seq: u64,
    /// Counter of its first operation.
    pub start_op: u64,
    /// How many operations it has.
    pub ops: u64,
    /// Its time, in the writer's units.
    pub time: i64,
    /// Its message.
    pub message: Vec<u8>,
}

impl ChangeHead {
    /// Counter of the last operation.
    #[must_use]
    pub const fn max_op(&self) -> u64 {
        self.start_op + self.ops.saturating_sub(1)
    }

    /// Reads exactly one plain change chunk.
    ///
    /// # Errors
    /// When the bytes are anything else, or above a bound.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut input = Input(bytes);
        if input.take(4)? != MAGIC {
            return Err(Refusal::Malformed("magic bytes"));
        }
        let checksum = input.take(4)?;
        let hashed_from = bytes.len() - input.0.len();
        if input.take(1)? != [CHUNK_CHANGE] {
            return Err(Refusal::Malformed("not a plain change chunk"));
        }
        let len = input.uleb()?;
        if len != input.0.len() as u64 {
            return Err(Refusal::Malformed("length of the chunk"));
        }
        let hash: [u8; 32] = Sha256::digest(&bytes[hashed_from..]).into();
        if checksum != &hash[..4] {
            return Err(Refusal::Checksum);
        }
        Self::read_content(input, ChangeHash(hash))
    }

    fn read_content(mut input: Input<'_>, hash: ChangeHash) -> Result<Self, Refusal> {
        let deps = input.count(32, limits::CHANGE_DEPS_MAX, "dependencies")?;
        let deps = (0..deps).map(|_| input.hash()).collect::<Result<Vec<_>, _>>()?;
        if !deps.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(Refusal::Malformed("dependencies are not sorted"));
        }
        let actor = input.bytes(limits::CHANGE_MESSAGE_BYTES_MAX, "actor")?.to_vec();
        let seq = input.uleb()?;
        let start_op = input.uleb()?;
        let time = input.sleb()?;
        let message = input.bytes(limits::CHANGE_MESSAGE_BYTES_MAX, "message")?.to_vec();
        let others = input.count(1, limits::CHANGE_ACTORS_MAX, "other actors")?;
        for _ in 0..others {
            input.bytes(limits::CHANGE_MESSAGE_BYTES_MAX, "actor")?;
        }
        let ops = input.operations()?;
        if !input.0.is_empty() {
            return Err(Refusal::Malformed("bytes behind the operations"));
        }
        if seq == 0 || start_op == 0 {
            return Err(Refusal::Malformed("numbers start at 1"));
        }
        if start_op.saturating_add(ops) > limits::CHANGE_COUNTER_MAX {
            return Err(Refusal::Limit("operation counter"));
        }
        Ok(Self { hash, deps, actor, seq, start_op, ops, time, message })
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Refusal> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Refusal::Malformed("ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        Ok(self.take(1)?[0])
    }

    fn hash(&mut self) -> Result<ChangeHash, Refusal> {
        let bytes = self.take(32)?;
        ChangeHash::from_slice(bytes).ok_or(Refusal::Malformed("hash"))
    }

    /// An unsigned LEB128 number in its shortest form.
    fn uleb(&mut self) -> Result<u64, Refusal> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Refusal::Malformed("number above 64 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(Refusal::Malformed("number not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(Refusal::Malformed("number above 64 bits"))
    }

    /// A signed LEB128 number.
    fn sleb(&mut self) -> Result<i64, Refusal> {
        let mut value = 0_i64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte & 0x40 != 0 && shift + 7 < 64 {
                    value |= -1 << (shift + 7);
                }
                return Ok(value);
            }
        }
        Err(Refusal::Malformed("number above 64 bits"))
    }

    /// A count of things of at least `each` bytes: believed only if so many can follow.
    fn count(&mut self, each: usize, max: usize, what: &'static str) -> Result<usize, Refusal> {
        let count = self.uleb()?;
        if count > max as u64 {
            return Err(Refusal::Limit(what));
        }
        let count = count as usize;
        if count.saturating_mul(each) > self.0.len() {
            return Err(Refusal::Malformed("ends too early"));
        }
        Ok(count)
    }

    fn bytes(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], Refusal> {
        let len = self.count(1, max, what)?;
        self.take(len)
    }

    /// Reads the columns of operations and returns how many operations there are.
    fn operations(&mut self) -> Result<u64, Refusal> {
        let columns = self.count(2, limits::CHANGE_COLUMNS_MAX, "columns")?;
        let mut lengths = Vec::with_capacity(columns);
        let mut last_spec = None;
        for _ in 0..columns {
            let spec = self.uleb()?;
            if last_spec.is_some_and(|last| spec <= last) {
                return Err(Refusal::Malformed("columns are not sorted"));
            }
            if spec & COLUMN_DEFLATE_BIT != 0 {
                return Err(Refusal::Malformed("a deflated column"));
            }
            last_spec = Some(spec);
            lengths.push((spec, self.uleb()?));
        }
        let mut ops = 0;
        for (spec, len) in lengths {
            let len = usize::try_from(len).map_err(|_| Refusal::Malformed("ends too early"))?;
            let column = self.take(len)?;
            if spec == ACTION_COLUMN {
                ops = Input(column).run_lengths()?;
            }
        }
        Ok(ops)
    }

    /// Sums the run lengths of a run-length encoded column of unsigned numbers.
    fn run_lengths(mut self) -> Result<u64, Refusal> {
        let mut total = 0_u64;
        while !self.0.is_empty() {
            let run = self.sleb()?;
            let rows = match run {
                0 => return Err(Refusal::Malformed("an operation without an action")),
                1.. => {
                    self.uleb()?;
                    run.unsigned_abs()
                }
                _ => {
                    let literals = run.unsigned_abs();
                    if literals > self.0.len() as u64 {
                        return Err(Refusal::Malformed("ends too early"));
                    }
                    for _ in 0..literals {
                        self.uleb()?;
                    }
                    literals
                }
            };
            total = total.saturating_add(rows);
            if total > limits::CHANGE_OPS_MAX {
                return Err(Refusal::Limit("operations"));
            }
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doc::testing;

    #[test]
    fn the_reader_agrees_with_automerge_on_what_it_writes() {
        for (bytes, expected) in testing::sample_changes() {
            assert_eq!(ChangeHead::read(&bytes), Ok(expected));
        }
    }

    #[test]
    fn no_flipped_or_missing_byte_passes() {
        let (bytes, _) = testing::sample_changes().swap_remove(0);
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 1;
            assert!(ChangeHead::read(&flipped).is_err(), "byte {index}");
            assert!(ChangeHead::read(&bytes[..index]).is_err(), "cut at {index}");
        }
    }

    /// Builds a chunk around `content` with the right length and checksum.
    fn chunk(content: &[u8]) -> Vec<u8> {
        let mut hashed = vec![CHUNK_CHANGE];
        let mut len = content.len();
        while len >= 0x80 {
            hashed.push((len as u8 & 0x7f) | 0x80);
            len >>= 7;
        }
        hashed.push(len as u8);
        hashed.extend_from_slice(content);
        let hash = Sha256::digest(&hashed);
        [&MAGIC, &hash[..4], &hashed].concat()
    }

    #[test]
    fn two_to_the_62_operations_are_refused_at_once() {
        // No deps, 1-byte actor, seq 1, start 1, time 0, no message, no others, one column of a run of 2^62.
        let run = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xc0, 0x00, 1];
        let mut content = vec![0, 1, 7, 1, 1, 0, 0, 0, 1, ACTION_COLUMN as u8, run.len() as u8];
        content.extend_from_slice(&run);
        assert_eq!(ChangeHead::read(&chunk(&content)), Err(Refusal::Limit("operations")));
    }

    #[test]
    fn a_dependency_count_that_lies_is_refused_before_memory_is_taken() {
        let content = [&[0xff, 0x01][..], &[0; 40]].concat();
        assert_eq!(ChangeHead::read(&chunk(&content)), Err(Refusal::Malformed("ends too early")));
        let content = [0x81, 0x02, 0];
        assert_eq!(ChangeHead::read(&chunk(&content)), Err(Refusal::Limit("dependencies")));
    }
}
