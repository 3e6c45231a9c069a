//! Operations of a change, and the columns they lie in.
//!
//! What is read here is only well formed; whether an operation makes sense is for [`rules`](super::rules), and how it is
//! written for [`write`](super::write). Keys and values borrow from the bytes, so a row costs the size of [`Op`].

use serde::{Deserialize, Serialize};

use super::{
    Refusal,
    column::{Deltas, Flags, Runs},
    input::Input,
};
use crate::limits;

/// Specifications of the columns, in the order in which Automerge 0.12 writes them: number of the column, then the
/// four bits of its type.
pub(super) mod spec {
    pub(in crate::preflight) const OBJECT_ACTOR: u64 = 0x01;
    pub(in crate::preflight) const OBJECT_COUNTER: u64 = 0x02;
    pub(in crate::preflight) const KEY_ACTOR: u64 = 0x11;
    pub(in crate::preflight) const KEY_COUNTER: u64 = 0x13;
    pub(in crate::preflight) const KEY_STRING: u64 = 0x15;
    pub(in crate::preflight) const INSERT: u64 = 0x34;
    pub(in crate::preflight) const ACTION: u64 = 0x42;
    pub(in crate::preflight) const VALUE_META: u64 = 0x56;
    pub(in crate::preflight) const VALUE: u64 = 0x57;
    pub(in crate::preflight) const PRED_COUNT: u64 = 0x70;
    pub(in crate::preflight) const PRED_ACTOR: u64 = 0x71;
    pub(in crate::preflight) const PRED_COUNTER: u64 = 0x73;
    pub(in crate::preflight) const EXPAND: u64 = 0x94;
    pub(in crate::preflight) const MARK_NAME: u64 = 0xa5;
    pub(in crate::preflight) const ALL: [u64; 14] = [
        OBJECT_ACTOR,
        OBJECT_COUNTER,
        KEY_ACTOR,
        KEY_COUNTER,
        KEY_STRING,
        INSERT,
        ACTION,
        VALUE_META,
        VALUE,
        PRED_COUNT,
        PRED_ACTOR,
        PRED_COUNTER,
        EXPAND,
        MARK_NAME,
    ];
}

/// The name of an operation inside a change: its counter, and its actor by place in the change's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id {
    /// Its counter, from 1.
    pub counter: u32,
    /// Place of its actor: 0 is the change's own, 1 the first of the others.
    pub actor: u16,
}

/// Where in its object an operation acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// At a key of a map.
    Map(&'a str),
    /// In front of all elements of a list or text.
    Head,
    /// At an element, or behind it if the operation inserts.
    Element(Id),
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Makes a map.
    MakeMap = 0,
    /// Puts a value.
    Set = 1,
    /// Makes a list.
    MakeList = 2,
    /// Removes what its predecessors put.
    Delete = 3,
    /// Makes a text.
    MakeText = 4,
    /// Adds to the counters that its predecessors put.
    Increment = 5,
    /// Begins a mark, if it has a name, or ends the one before it.
    Mark = 7,
}

impl Action {
    const fn of(number: u64) -> Result<Self, Refusal> {
        Ok(match number {
            0 => Self::MakeMap,
            1 => Self::Set,
            2 => Self::MakeList,
            3 => Self::Delete,
            4 => Self::MakeText,
            5 => Self::Increment,
            // Automerge 0.12 names the action but cannot apply what is put into a table.
            6 => return Err(Refusal::Malformed("makes a table")),
            7 => Self::Mark,
            _ => return Err(Refusal::Malformed("an unknown action")),
        })
    }
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// An unsigned number.
    Uint(u64),
    /// A signed number.
    Int(i64),
    /// The bits of a floating point number.
    Float(u64),
    /// Text.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A counter at its first value.
    Counter(i64),
    /// Milliseconds since 1970.
    Timestamp(i64),
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op<'a> {
    /// The object it acts on; none for the root.
    pub object: Option<Id>,
    /// Where in the object.
    pub key: Key<'a>,
    /// What it does.
    pub action: Action,
    /// Whether it makes a new element behind `key`.
    pub insert: bool,
    /// Whether a mark takes in what is later typed at its side.
    pub expand: bool,
    /// The name of a mark, by place in the change's table.
    pub mark: Option<u16>,
    /// How many of the change's predecessors are this operation's, behind those of the operations before it.
    pub preds: u32,
    /// What it puts.
    pub value: Value<'a>,
}

/// Operations with what they refer to.
#[derive(Debug, Default)]
pub(super) struct Ops<'a> {
    pub(super) ops: Vec<Op<'a>>,
    pub(super) preds: Vec<Id>,
    pub(super) marks: Vec<&'a str>,
}

/// The columns of a change, by their place in [`spec::ALL`]; one that is absent is empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a>([&'a [u8]; spec::ALL.len()]);

impl<'a> Columns<'a> {
    /// Reads the table of columns and cuts the rest of the input into them.
    pub(super) fn read(input: &mut Input<'a>) -> Result<Self, Refusal> {
        let count = input.count(2, spec::ALL.len(), "columns")?;
        let mut lengths = [(0_usize, 0_u64); spec::ALL.len()];
        let mut next = 0;
        for length in lengths.iter_mut().take(count) {
            let spec = input.uleb()?;
            let place = spec::ALL.iter().skip(next).position(|known| *known == spec);
            let place = next + place.ok_or(Refusal::Malformed("a column that is unknown, deflated or not in order"))?;
            *length = (place, input.uleb()?);
            next = place + 1;
        }
        let mut columns = [&[][..]; spec::ALL.len()];
        for (place, length) in lengths.into_iter().take(count) {
            let length = usize::try_from(length).map_err(|_| Refusal::Malformed("ends too early"))?;
            if length == 0 {
                return Err(Refusal::Malformed("an empty column"));
            }
            if let Some(column) = columns.get_mut(place) {
                *column = input.take(length)?;
            }
        }
        if input.is_empty() {
            Ok(Self(columns))
        } else {
            // Automerge writes an author there; who wrote a change is told by the commit that holds it.
            Err(Refusal::Malformed("bytes behind the operations"))
        }
    }

    fn column(&self, spec: u64) -> &'a [u8] {
        let place = spec::ALL.iter().position(|known| *known == spec);
        place.and_then(|place| self.0.get(place)).copied().unwrap_or_default()
    }

    /// How many operations there are: the actions are the column that has one value for each.
    pub(super) fn count(&self) -> Result<u64, Refusal> {
        Runs::<u64>::new(self.column(spec::ACTION)).rows(limits::CHANGE_OPS_MAX, "operations")
    }

    /// Reads all operations; `actors` is the size of the change's table.
    pub(super) fn ops(&self, actors: usize) -> Result<Ops<'a>, Refusal> {
        let count = self.count()? as usize;
        let pred_counts = Runs::<u64>::new(self.column(spec::PRED_COUNT));
        let preds = pred_counts.sum(limits::CHANGE_PREDS_MAX, "predecessors")? as usize;
        let mut rows = Rows::new(self, actors);
        let mut ops = Ops { ops: Vec::with_capacity(count), preds: Vec::with_capacity(preds), marks: Vec::new() };
        for _ in 0..count {
            let op = rows.next(&mut ops.preds, &mut ops.marks)?;
            ops.ops.push(op);
        }
        Ok(ops)
    }
}

/// Reads the columns of operations side by side.
struct Rows<'a> {
    actors: u64,
    object_actor: Runs<'a, u64>,
    object_counter: Runs<'a, u64>,
    key_actor: Runs<'a, u64>,
    key_counter: Deltas<'a>,
    key_string: Runs<'a, &'a str>,
    insert: Flags<'a>,
    action: Runs<'a, u64>,
    value_meta: Runs<'a, u64>,
    value: Input<'a>,
    pred_count: Runs<'a, u64>,
    pred_actor: Runs<'a, u64>,
    pred_counter: Deltas<'a>,
    expand: Flags<'a>,
    mark_name: Runs<'a, &'a str>,
}

impl<'a> Rows<'a> {
    fn new(columns: &Columns<'a>, actors: usize) -> Self {
        Self {
            actors: actors as u64,
            object_actor: Runs::new(columns.column(spec::OBJECT_ACTOR)),
            object_counter: Runs::new(columns.column(spec::OBJECT_COUNTER)),
            key_actor: Runs::new(columns.column(spec::KEY_ACTOR)),
            key_counter: Deltas::new(columns.column(spec::KEY_COUNTER)),
            key_string: Runs::new(columns.column(spec::KEY_STRING)),
            insert: Flags::new(columns.column(spec::INSERT)),
            action: Runs::new(columns.column(spec::ACTION)),
            value_meta: Runs::new(columns.column(spec::VALUE_META)),
            value: Input(columns.column(spec::VALUE)),
            pred_count: Runs::new(columns.column(spec::PRED_COUNT)),
            pred_actor: Runs::new(columns.column(spec::PRED_ACTOR)),
            pred_counter: Deltas::new(columns.column(spec::PRED_COUNTER)),
            expand: Flags::new(columns.column(spec::EXPAND)),
            mark_name: Runs::new(columns.column(spec::MARK_NAME)),
        }
    }

    fn next(&mut self, preds: &mut Vec<Id>, marks: &mut Vec<&'a str>) -> Result<Op<'a>, Refusal> {
        let object = match (self.object_actor.next()?, self.object_counter.next()?) {
            (None, None) => None,
            (Some(actor), Some(counter)) => Some(self.id(actor, counter)?),
            _ => return Err(Refusal::Malformed("half an object")),
        };
        let key = match (self.key_actor.next()?, self.key_counter.next()?, self.key_string.next()?) {
            (None, None, Some(key)) => Key::Map(key),
            (None, Some(0), None) => Key::Head,
            (Some(actor), Some(counter), None) => Key::Element(self.id(actor, counter.cast_unsigned())?),
            _ => return Err(Refusal::Malformed("half a key, or two")),
        };
        let insert = self.insert.next()?;
        let action = self.action.next()?.ok_or(Refusal::Malformed("an operation without an action"))?;
        let meta = self.value_meta.next()?.ok_or(Refusal::Malformed("an operation without a value"))?;
        let value = self.value(meta)?;
        let op_preds = self.pred_count.next()?.ok_or(Refusal::Malformed("an operation without predecessors"))?;
        for _ in 0..op_preds {
            let (Some(actor), Some(counter)) = (self.pred_actor.next()?, self.pred_counter.next()?) else {
                return Err(Refusal::Malformed("half a predecessor"));
            };
            preds.push(self.id(actor, counter.cast_unsigned())?);
        }
        let expand = self.expand.next()?;
        let mark = match self.mark_name.next()? {
            None => None,
            Some(name) => Some(mark_place(marks, name)?),
        };
        Ok(Op { object, key, action: Action::of(action)?, insert, expand, mark, preds: op_preds as u32, value })
    }

    /// A counter and an actor that Automerge's 32 bits and the change's table hold.
    #[inline]
    fn id(&self, actor: u64, counter: u64) -> Result<Id, Refusal> {
        if actor >= self.actors {
            return Err(Refusal::Malformed("an actor outside the table"));
        }
        if counter == 0 || counter > limits::CHANGE_COUNTER_MAX {
            return Err(Refusal::Limit("operation counter"));
        }
        Ok(Id { counter: counter as u32, actor: actor as u16 })
    }

    #[inline]
    fn value(&mut self, meta: u64) -> Result<Value<'a>, Refusal> {
        let length = usize::try_from(meta >> 4).map_err(|_| Refusal::Malformed("ends too early"))?;
        let bytes = self.value.take(length)?;
        let mut number = Input(bytes);
        let value = match meta & 0xf {
            0 => Value::Null,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => Value::Uint(number.uleb()?),
            4 => Value::Int(number.sleb()?),
            5 => {
                let bytes = bytes.try_into().map_err(|_| Refusal::Malformed("a number of another length"))?;
                return Ok(Value::Float(u64::from_le_bytes(bytes)));
            }
            6 => {
                let text = std::str::from_utf8(bytes).map_err(|_| Refusal::Malformed("text is not UTF-8"))?;
                return Ok(Value::Str(text));
            }
            7 => return Ok(Value::Bytes(bytes)),
            8 => Value::Counter(number.sleb()?),
            9 => Value::Timestamp(number.sleb()?),
            _ => return Err(Refusal::Malformed("an unknown type of value")),
        };
        if number.is_empty() { Ok(value) } else { Err(Refusal::Malformed("a number of another length")) }
    }
}

/// Place of a mark's name in the table, which grows by one for each run of a name.
fn mark_place<'a>(marks: &mut Vec<&'a str>, name: &'a str) -> Result<u16, Refusal> {
    if marks.last() != Some(&name) {
        if marks.len() >= limits::CHANGE_MARKS_MAX {
            return Err(Refusal::Limit("marks"));
        }
        marks.push(name);
    }
    Ok((marks.len() - 1) as u16)
}
