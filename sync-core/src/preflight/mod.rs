//! The door: what a change is, read without Automerge, and whether it may go on.
//!
//! Nothing from the network reaches Automerge before [`Change::read`] has found it well formed and [`check`] has found
//! that it makes sense where it stands. What passes neither panics nor hangs Automerge, and leaves a document that loads
//! from what it saves.
//!
//! - [`ChangeHead::read`] is the cheap half: what a change claims about itself, without its operations.
//! - [`Change::read`] reads everything: `input` numbers, `column` columns, `ops` operations. Memory is taken in
//!   proportion to operations, whose count is bounded and known before. `write` is its inverse, and gives the only
//!   form that is let in.
//! - [`check`] (`rules`) compares each operation with what it names, which [`Past`] finds for it, and gives a [`Summary`]
//!   (`made`) to keep: what the change made, for the changes to come.
//!
//! Not looked at here, for it takes the place of the change among the others: that its dependencies are held, that its
//! counters follow theirs ([`ChangeHead::follows`]), and that the change before it by the same actor, whose `seq` is one
//! less, is among its ancestors. Without the last Automerge takes a set of changes in one order and panics in another.
//!
//! The format is Automerge's binary format (automerge.org, "Binary format"), change chunks only: plain, not deflated.

mod column;
mod input;
mod made;
mod named;
mod ops;
mod order;
mod rules;
mod write;

use sha2::{Digest as _, Sha256};

use self::{
    input::Input,
    ops::{Columns, Ops},
};
pub use self::{
    made::{Made, Place, Run, Summary, SummaryError, What},
    named::{OpId, Past},
    ops::{Action, Id, Key, Op, Value},
    rules::{Fault, RuleError, check},
};
use crate::{ids::ChangeHash, limits};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHUNK_CHANGE: u8 = 1;

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
    /// Automerge would write the same operations otherwise.
    #[error("the change is not in the form in which it would be written again")]
    NotCanonical,
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
    /// Counter of the last operation; of a change without any, of the operation before it.
    #[must_use]
    pub const fn max_op(&self) -> u64 {
        (self.start_op + self.ops).saturating_sub(1)
    }

    /// Whether its counters follow those of the changes that it depends on, the highest of which is `deps_max_op`, 0 if
    /// there are none. A writer at an old state may leave a gap, but not in front of nothing: Automerge, which does not
    /// save where a change begins, would look for operations there.
    #[must_use]
    pub const fn follows(&self, deps_max_op: u64) -> bool {
        let gap_max = if self.ops == 0 { 0 } else { limits::CHANGE_COUNTER_JUMP_MAX - 1 };
        match self.start_op.checked_sub(deps_max_op) {
            Some(ahead) => ahead > 0 && ahead - 1 <= gap_max,
            None => false,
        }
    }

    /// Reads exactly one plain change chunk, without looking into its operations.
    ///
    /// # Errors
    /// When the bytes are anything else, or above a bound.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let chunk = Chunk::read(bytes)?;
        Ok(chunk.head)
    }
}

/// A chunk whose operations are not read yet.
struct Chunk<'a> {
    head: ChangeHead,
    others: Vec<&'a [u8]>,
    columns: Columns<'a>,
    content: &'a [u8],
}

impl<'a> Chunk<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut input = Input(bytes);
        if input.take(4)? != MAGIC {
            return Err(Refusal::Malformed("magic bytes"));
        }
        let checksum = input.take(4)?;
        let hashed = input.0;
        if input.take(1)? != [CHUNK_CHANGE] {
            return Err(Refusal::Malformed("not a plain change chunk"));
        }
        let len = input.uleb()?;
        if len != input.0.len() as u64 {
            return Err(Refusal::Malformed("length of the chunk"));
        }
        let hash: [u8; 32] = Sha256::digest(hashed).into();
        if checksum != &hash[..4] {
            return Err(Refusal::Checksum);
        }
        Self::read_content(input, ChangeHash(hash))
    }

    fn read_content(mut input: Input<'a>, hash: ChangeHash) -> Result<Self, Refusal> {
        let content = input.0;
        let deps = input.count(32, limits::CHANGE_DEPS_MAX, "dependencies")?;
        let hash_of = |bytes| ChangeHash::from_slice(bytes).ok_or(Refusal::Malformed("hash"));
        let deps = (0..deps).map(|_| input.take(32).and_then(hash_of)).collect::<Result<Vec<_>, _>>()?;
        if !deps.is_sorted_by(|a, b| a < b) {
            return Err(Refusal::Malformed("dependencies are not sorted"));
        }
        let actor = read_actor(&mut input)?.to_vec();
        let seq = input.uleb()?;
        let start_op = input.uleb()?;
        let time = input.sleb()?;
        let message = input.bytes(limits::CHANGE_MESSAGE_BYTES_MAX, "message")?;
        if std::str::from_utf8(message).is_err() {
            return Err(Refusal::Malformed("text is not UTF-8"));
        }
        let others = input.count(1, limits::CHANGE_ACTORS_MAX, "other actors")?;
        let others = (0..others).map(|_| read_actor(&mut input)).collect::<Result<Vec<_>, _>>()?;
        let columns = Columns::read(&mut input)?;
        let ops = columns.count()?;
        if seq == 0 || start_op == 0 {
            return Err(Refusal::Malformed("numbers start at 1"));
        }
        if start_op.saturating_add(ops) > limits::CHANGE_COUNTER_MAX {
            return Err(Refusal::Limit("operation counter"));
        }
        if seq > limits::CHANGE_SEQ_MAX {
            return Err(Refusal::Limit("number of the change"));
        }
        if time.unsigned_abs() > limits::CHANGE_TIME_MAX.unsigned_abs() {
            return Err(Refusal::Limit("time"));
        }
        let head = ChangeHead { hash, deps, actor, seq, start_op, ops, time, message: message.to_vec() };
        Ok(Self { head, others, columns, content })
    }
}

fn read_actor<'a>(input: &mut Input<'a>) -> Result<&'a [u8], Refusal> {
    let actor = input.bytes(limits::ACTOR_BYTES_MAX, "actor")?;
    if actor.is_empty() { Err(Refusal::Malformed("an actor without bytes")) } else { Ok(actor) }
}

/// A change, with all its operations. Keys, values and actors borrow from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// What it says about itself.
    pub head: ChangeHead,
    /// The other actors that its operations name, sorted.
    pub others: Vec<&'a [u8]>,
    /// Its operations, the first with counter `head.start_op`.
    pub ops: Vec<Op<'a>>,
    /// Predecessors of all operations, one operation's behind the other's.
    pub preds: Vec<Id>,
    /// Names of its marks.
    pub marks: Vec<&'a str>,
}

impl<'a> Change<'a> {
    /// Reads exactly one plain change chunk, in the only form in which Automerge writes it.
    ///
    /// # Errors
    /// When the bytes are anything else, or above a bound.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let Chunk { head, others, columns, content } = Chunk::read(bytes)?;
        let Ops { ops, preds, marks } = columns.ops(others.len() + 1)?;
        let kept = ops.iter().filter(|op| op.action != Action::Delete).count() as u64;
        if kept > limits::CHANGE_OPS_FREE + content.len() as u64 {
            return Err(Refusal::Limit("operations for so few bytes"));
        }
        let change = Self { head, others, ops, preds, marks };
        if write::content(&change) == content { Ok(change) } else { Err(Refusal::NotCanonical) }
    }

    /// Writes the change as Automerge does: its actors sorted and only those that are named, each operation's
    /// predecessors sorted. An actor's place outside the table counts as the change's own; `head.ops` and `head.hash` are
    /// not looked at.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write::chunk(self)
    }

    /// The bytes of the actor at a place of the table.
    #[must_use]
    pub fn actor(&self, place: u16) -> Option<&[u8]> {
        match usize::from(place) {
            0 => Some(&self.head.actor),
            place => self.others.get(place - 1).copied(),
        }
    }
}

#[cfg(test)]
mod reading;
#[cfg(test)]
mod ruling;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doc::testing;

    #[test]
    fn the_reader_agrees_with_automerge_on_what_it_writes() {
        for (bytes, expected) in testing::sample_changes() {
            assert_eq!(ChangeHead::read(&bytes), Ok(expected.clone()));
            let change = Change::read(&bytes).expect("is whole");
            assert_eq!(change.head, expected);
            assert_eq!(change.encode(), bytes);
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
            assert!(Change::read(&flipped).is_err(), "byte {index}");
        }
    }

    #[test]
    fn counters_follow_those_of_the_dependencies() {
        let (bytes, _) = testing::sample_changes().swap_remove(0);
        let mut head = ChangeHead::read(&bytes).expect("is whole");
        let jump = limits::CHANGE_COUNTER_JUMP_MAX;
        for (start_op, ops, follows) in [
            (9, 1, false),
            (10, 1, false),
            (11, 1, true),
            (10 + jump, 1, true),
            (11 + jump, 1, false),
            (10, 0, false),
            (11, 0, true),
            (12, 0, false),
        ] {
            (head.start_op, head.ops) = (start_op, ops);
            assert_eq!(head.follows(10), follows, "{start_op}, {ops} operations");
        }
        (head.start_op, head.ops) = (11, 0);
        assert_eq!(head.max_op(), 10);
    }

    #[test]
    fn two_to_the_62_operations_are_refused_at_once() {
        // No deps, 1-byte actor, seq 1, start 1, time 0, no message, no others, one column of a run of 2^62.
        let run = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xc0, 0x00, 1];
        let mut content = vec![0, 1, 7, 1, 1, 0, 0, 0, 1, ops::spec::ACTION as u8, run.len() as u8];
        content.extend_from_slice(&run);
        assert_eq!(ChangeHead::read(&write::frame(&content)), Err(Refusal::Limit("operations")));
    }

    #[test]
    fn a_dependency_count_that_lies_is_refused_before_memory_is_taken() {
        let content = [&[0xff, 0x01][..], &[0; 40]].concat();
        assert_eq!(ChangeHead::read(&write::frame(&content)), Err(Refusal::Malformed("ends too early")));
        let content = [0x81, 0x02, 0];
        assert_eq!(ChangeHead::read(&write::frame(&content)), Err(Refusal::Limit("dependencies")));
    }
}
