//! What a change made that later changes may name, kept so that the change need not be read again.
//!
//! [`Summary`] lists it by counter, in runs: a typed text of any length is one run of some twenty bytes. It holds whole
//! actors in a small table, for places in the change's own table would mean nothing without the change; the change's own
//! actor is not among them, for whoever keeps a summary keeps it under that actor. [`check`](super::check) makes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Id, OpId};
use crate::limits;

/// What an operation left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A value without parts.
    Scalar,
    /// A counter, which increments may name.
    Counter,
    /// A map.
    Map,
    /// A list.
    List,
    /// A text.
    Text,
    /// One end of a mark: an element to insert behind, and nothing else.
    Mark,
}

/// Where an operation put what it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// At a key of a map.
    Key(&'a str),
    /// At an element that was there.
    Element(OpId<'a>),
    /// In a new element of its own, behind this one, or in front of all.
    Inserted(Option<OpId<'a>>),
}

/// What one operation made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made<'a> {
    /// The object it acted on; none for the root.
    pub object: Option<OpId<'a>>,
    /// Where in the object.
    pub place: Place<'a>,
    /// What it is.
    pub what: What,
}

/// Where a run of operations put what they made, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum At {
    /// They made nothing that may be named.
    Nothing,
    /// All at one key.
    Key { object: Option<Id>, key: u32, what: What },
    /// All at one element, or each at the element behind (by counter) the one before it.
    Element { object: Option<Id>, element: Id, step: bool, what: What },
    /// New elements, all behind one, or each behind the one before it.
    Inserted { object: Option<Id>, after: Option<Id>, chained: bool, what: What },
}

impl At {
    /// This run of `len` operations beginning at `first` and one more, if that continues it.
    fn and(self, first: u64, len: u32, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Nothing | Self::Key { .. }, next) if self == next => Some(self),
            (
                Self::Element { object, element, step, what },
                Self::Element { object: next_object, element: next, what: next_what, .. },
            ) if (object, what) == (next_object, next_what) => {
                let stepped = next.actor == element.actor && element.counter.checked_add(len) == Some(next.counter);
                let step = if stepped && (step || len == 1) {
                    true
                } else if !step && next == element {
                    false
                } else {
                    return None;
                };
                Some(Self::Element { object, element, step, what })
            }
            (
                Self::Inserted { object, after, chained, what },
                Self::Inserted { object: next_object, after: next, what: next_what, .. },
            ) if (object, what) == (next_object, next_what) => {
                let last = first + u64::from(len) - 1;
                let chains = next.is_some_and(|next| next.actor == 0 && u64::from(next.counter) == last);
                let chained = if chains && (chained || len == 1) {
                    true
                } else if !chained && next == after {
                    false
                } else {
                    return None;
                };
                Some(Self::Inserted { object, after, chained, what })
            }
            _ => None,
        }
    }

    fn ids(&mut self) -> [Option<&mut Id>; 2] {
        match self {
            Self::Nothing => [None, None],
            Self::Key { object, .. } => [object.as_mut(), None],
            Self::Element { object, element, .. } => [object.as_mut(), Some(element)],
            Self::Inserted { object, after, .. } => [object.as_mut(), after.as_mut()],
        }
    }
}

/// Operations that made things of one kind, side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stretch {
    len: u32,
    at: At,
}

/// Runs in the making; ids have places in the table of whoever builds, where 0 is the change's own actor.
#[derive(Debug)]
pub(super) struct Builder {
    start_op: u64,
    runs: Vec<Stretch>,
    /// Counter of the first operation of each run.
    firsts: Vec<u64>,
    next: u64,
}

impl Builder {
    pub(super) const fn new(start_op: u64) -> Self {
        Self { start_op, runs: Vec::new(), firsts: Vec::new(), next: start_op }
    }

    /// Adds what the next operation made.
    #[inline]
    pub(super) fn push(&mut self, at: At) {
        if let (Some(last), Some(first)) = (self.runs.last_mut(), self.firsts.last())
            && let Some(both) = last.at.and(*first, last.len, at)
        {
            last.at = both;
            last.len += 1;
        } else {
            self.runs.push(Stretch { len: 1, at });
            self.firsts.push(self.next);
        }
        self.next += 1;
    }

    /// What an operation of the last run inserted into `object`: all that a typed text asks.
    #[inline]
    pub(super) fn inserted_last(&self, object: Option<Id>, counter: u64) -> Option<What> {
        match self.runs.last()?.at {
            At::Inserted { object: of, what, .. } if of == object => {
                (*self.firsts.last()? <= counter && counter < self.next).then_some(what)
            }
            _ => None,
        }
    }

    /// The run of an operation that was added: its first and last counter, and what it made.
    #[inline]
    pub(super) fn find(&self, counter: u64) -> Option<(u64, u64, At)> {
        let last = self.firsts.len().checked_sub(1)?;
        let index = if self.firsts.get(last).is_some_and(|first| *first <= counter) {
            last
        } else {
            self.firsts.partition_point(|first| *first <= counter).checked_sub(1)?
        };
        let (first, run) = (*self.firsts.get(index)?, self.runs.get(index)?);
        let end = first + u64::from(run.len);
        (counter < end).then_some((first, end - 1, run.at))
    }

    /// What was built, with the actors and keys that it names: `actor` by place, from 1, and `keys` by number.
    pub(super) fn finish<'k>(
        mut self,
        own: &[u8],
        actor: impl Fn(u16) -> Vec<u8>,
        keys: impl Fn(u32) -> &'k str,
    ) -> Summary {
        let (mut places, mut numbers) = (Table::default(), Table::default());
        for run in &mut self.runs {
            for id in run.at.ids().into_iter().flatten().filter(|id| id.actor != 0) {
                id.actor = places.number(id.actor.into()) as u16 + 1;
            }
            if let At::Key { key, .. } = &mut run.at {
                *key = numbers.number(*key);
            }
        }
        Summary {
            own: own.to_vec(),
            stored: Stored {
                start_op: self.start_op,
                actors: places.order.into_iter().map(|place| serde_bytes::ByteBuf::from(actor(place as u16))).collect(),
                keys: numbers.order.into_iter().map(|number| keys(number).to_owned()).collect(),
                runs: self.runs,
            },
            firsts: self.firsts,
        }
    }
}

/// Numbers given to items in the order in which they come.
#[derive(Debug, Default)]
struct Table {
    order: Vec<u32>,
    numbers: BTreeMap<u32, u32>,
}

impl Table {
    fn number(&mut self, item: u32) -> u32 {
        *self.numbers.entry(item).or_insert_with(|| {
            self.order.push(item);
            self.order.len() as u32 - 1
        })
    }
}

/// The bytes of a summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    start_op: u64,
    actors: Vec<serde_bytes::ByteBuf>,
    keys: Vec<String>,
    runs: Vec<Stretch>,
}

/// The bytes of a summary are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the summary of a change does not decode")]
pub struct SummaryError;

/// What one change made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    own: Vec<u8>,
    stored: Stored,
    firsts: Vec<u64>,
}

impl Summary {
    /// Counter of the change's first operation.
    #[must_use]
    pub const fn start_op(&self) -> u64 {
        self.stored.start_op
    }

    /// How many operations the change has.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.end() - self.stored.start_op
    }

    fn end(&self) -> u64 {
        match (self.firsts.last(), self.stored.runs.last()) {
            (Some(first), Some(run)) => first + u64::from(run.len),
            _ => self.stored.start_op,
        }
    }

    /// What the operation with this counter made; nothing if it made nothing that may be named, or is not of this change.
    #[must_use]
    pub fn find(&self, counter: u64) -> Option<Made<'_>> {
        self.run(counter)?.at(counter)
    }

    /// The run that the operation with this counter belongs to, if it made something that may be named.
    #[must_use]
    pub fn run(&self, counter: u64) -> Option<Run<'_>> {
        let index = self.firsts.partition_point(|first| *first <= counter).checked_sub(1)?;
        let (first, run) = (*self.firsts.get(index)?, self.stored.runs.get(index)?);
        let last = first + u64::from(run.len) - 1;
        (counter <= last && run.at != At::Nothing).then_some(Run { summary: self, first, last, at: run.at })
    }

    /// The bytes to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.stored).expect("writing to memory does not fail")
    }

    /// Reads what [`encode`](Self::encode) gave for a change by `own`.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn decode(bytes: &[u8], own: &[u8]) -> Result<Self, SummaryError> {
        let stored: Stored = postcard::from_bytes(bytes).map_err(|_| SummaryError)?;
        if stored.start_op == 0 || stored.start_op > limits::CHANGE_COUNTER_MAX {
            return Err(SummaryError);
        }
        let mut builder = Builder::new(stored.start_op);
        for run in &stored.runs {
            let end = builder.next.saturating_add(u64::from(run.len));
            if run.len == 0 || end > limits::CHANGE_COUNTER_MAX || !stored.holds(run.at) {
                return Err(SummaryError);
            }
            let merges = builder.runs.last().zip(builder.firsts.last());
            if merges.is_some_and(|(last, first)| last.at.and(*first, last.len, run.at).is_some() && run.len == 1) {
                return Err(SummaryError);
            }
            builder.runs.push(*run);
            builder.firsts.push(builder.next);
            builder.next = end;
        }
        let summary = Self { own: own.to_vec(), stored, firsts: builder.firsts };
        if summary.encode() == bytes { Ok(summary) } else { Err(SummaryError) }
    }

    fn actor(&self, place: u16) -> &[u8] {
        match usize::from(place) {
            0 => &self.own,
            place => self.stored.actors.get(place - 1).map_or(&[], |actor| actor.as_slice()),
        }
    }

    fn op_id(&self, id: Id) -> OpId<'_> {
        OpId { counter: u64::from(id.counter), actor: self.actor(id.actor) }
    }
}

impl Stored {
    /// Whether all that a run refers to is in the tables.
    fn holds(&self, mut at: At) -> bool {
        let key = if let At::Key { key, .. } = at { (key as usize) < self.keys.len() } else { true };
        key && at.ids().into_iter().flatten().all(|id| usize::from(id.actor) <= self.actors.len())
    }
}

/// Operations of one change that made things alike, side by side.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    summary: &'a Summary,
    first: u64,
    last: u64,
    at: At,
}

impl<'a> Run<'a> {
    /// Counters of its first and last operation.
    #[must_use]
    pub const fn counters(&self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// What the operation with this counter made.
    #[must_use]
    pub fn at(&self, counter: u64) -> Option<Made<'a>> {
        if counter < self.first || counter > self.last {
            return None;
        }
        let offset = (counter - self.first) as u32;
        let summary = self.summary;
        let id = |id: Id| summary.op_id(id);
        match self.at {
            At::Nothing => None,
            At::Key { object, key, what } => {
                let key = summary.stored.keys.get(key as usize)?;
                Some(Made { object: object.map(id), place: Place::Key(key), what })
            }
            At::Element { object, element, step, what } => {
                let counter = element.counter.saturating_add(if step { offset } else { 0 });
                let element = Id { counter, ..element };
                Some(Made { object: object.map(id), place: Place::Element(id(element)), what })
            }
            At::Inserted { object, after, chained, what } => {
                let before = Id { counter: (counter - 1) as u32, actor: 0 };
                let after = if chained && offset > 0 { Some(before) } else { after };
                Some(Made { object: object.map(id), place: Place::Inserted(after.map(id)), what })
            }
        }
    }

    /// What it made, with `place` in the caller's table for each actor, and `number` for each key.
    pub(super) fn translate<E>(
        &self,
        mut place: impl FnMut(&[u8]) -> Result<u16, E>,
        number: impl FnOnce(&str) -> u32,
    ) -> Result<At, E> {
        let mut at = self.at;
        for id in at.ids().into_iter().flatten() {
            id.actor = place(self.summary.actor(id.actor))?;
        }
        if let At::Key { key, .. } = &mut at {
            *key = number(self.summary.stored.keys.get(*key as usize).map_or("", String::as_str));
        }
        Ok(at)
    }
}
