//! Writes a change as Automerge 0.12 does: the one form that `Change::read` lets in.
//!
//! Automerge makes a change again from what it keeps of its operations, when it saves, loads or hands changes on
//! (its `op_set2::change`). A second form of the same operations would thus come back as another change, with another
//! hash, and the document would no longer load: hence one form, and this writer to know it.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{
    CHUNK_CHANGE, Change, MAGIC,
    column::{DeltasWriter, FlagsWriter, RunsWriter},
    input::{put_bytes, put_sleb, put_uleb},
    ops::{Id, Key, Op, Value, spec},
};

/// The chunk of a change: what is in it, behind its magic bytes, checksum, type and length.
pub(super) fn chunk(change: &Change<'_>) -> Vec<u8> {
    frame(&content(change))
}

/// Sets the frame of a change chunk around its content.
pub(super) fn frame(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 16);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.push(CHUNK_CHANGE);
    put_bytes(&mut out, content);
    let hash: [u8; 32] = Sha256::digest(&out[8..]).into();
    out[4..8].copy_from_slice(&hash[..4]);
    out
}

/// What a change chunk holds.
pub(super) fn content(change: &Change<'_>) -> Vec<u8> {
    let head = &change.head;
    let actors = ActorMap::of(change);
    let mut out = Vec::new();
    put_uleb(&mut out, head.deps.len() as u64);
    for dep in &head.deps {
        out.extend_from_slice(&dep.0);
    }
    put_bytes(&mut out, &head.actor);
    put_uleb(&mut out, head.seq);
    put_uleb(&mut out, head.start_op);
    put_sleb(&mut out, head.time);
    put_bytes(&mut out, &head.message);
    put_uleb(&mut out, actors.others.len() as u64);
    for actor in &actors.others {
        put_bytes(&mut out, actor);
    }
    let mut columns = ColumnsWriter::new(actors);
    let mut preds = change.preds.as_slice();
    for op in &change.ops {
        let (own, rest) = preds.split_at_checked(op.preds as usize).unwrap_or((preds, &[]));
        preds = rest;
        columns.push(op, own, &change.marks);
    }
    columns.finish(&mut out);
    out
}

/// Where the actors of a change go: only those that operations name, in the order of their bytes.
struct ActorMap<'a> {
    own: &'a [u8],
    others: Vec<&'a [u8]>,
    /// New place by old place; one that is outside the table counts as the change's own.
    places: Vec<u16>,
}

impl<'a> ActorMap<'a> {
    fn of(change: &'a Change<'a>) -> Self {
        let mut used = vec![false; change.others.len() + 1];
        let mut mark = |id: Id| {
            if let Some(used) = used.get_mut(usize::from(id.actor)) {
                *used = true;
            }
        };
        for op in &change.ops {
            op.object.iter().for_each(|id| mark(*id));
            if let Key::Element(id) = op.key {
                mark(id);
            }
        }
        change.preds.iter().for_each(|id| mark(*id));
        let named = change.others.iter().zip(used.iter().skip(1)).filter(|(_, used)| **used).map(|(actor, _)| *actor);
        let mut order: BTreeMap<&[u8], u16> =
            named.filter(|actor| *actor != change.head.actor).map(|a| (a, 0)).collect();
        for (place, new) in (1..).zip(order.values_mut()) {
            *new = place;
        }
        let place = |actor: &&[u8]| order.get(actor).copied().unwrap_or(0);
        let places = std::iter::once(0).chain(change.others.iter().map(place)).collect();
        Self { own: &change.head.actor, others: order.into_keys().collect(), places }
    }

    #[inline]
    fn place(&self, id: Id) -> u64 {
        u64::from(self.places.get(usize::from(id.actor)).copied().unwrap_or(0))
    }

    /// Sorts by counter, then by the bytes of the actor, among which the change's own has no place of its own.
    fn sort(&self, preds: &mut [Id]) {
        let actor = |id: &Id| match self.place(*id) {
            0 => self.own,
            place => self.others.get(place as usize - 1).copied().unwrap_or_default(),
        };
        preds.sort_by(|a, b| a.counter.cmp(&b.counter).then_with(|| actor(a).cmp(actor(b))));
    }
}

/// Writes operations into their columns.
struct ColumnsWriter<'a> {
    actors: ActorMap<'a>,
    object_actor: RunsWriter<u64>,
    object_counter: RunsWriter<u64>,
    key_actor: RunsWriter<u64>,
    key_counter: DeltasWriter,
    key_string: RunsWriter<&'a str>,
    insert: FlagsWriter,
    action: RunsWriter<u64>,
    value_meta: RunsWriter<u64>,
    value: Vec<u8>,
    pred_count: RunsWriter<u64>,
    pred_actor: RunsWriter<u64>,
    pred_counter: DeltasWriter,
    expand: FlagsWriter,
    mark_name: RunsWriter<&'a str>,
}

impl<'a> ColumnsWriter<'a> {
    const fn new(actors: ActorMap<'a>) -> Self {
        Self {
            actors,
            object_actor: RunsWriter::new(),
            object_counter: RunsWriter::new(),
            key_actor: RunsWriter::new(),
            key_counter: DeltasWriter::new(),
            key_string: RunsWriter::new(),
            insert: FlagsWriter::new(),
            action: RunsWriter::new(),
            value_meta: RunsWriter::new(),
            value: Vec::new(),
            pred_count: RunsWriter::new(),
            pred_actor: RunsWriter::new(),
            pred_counter: DeltasWriter::new(),
            expand: FlagsWriter::new(),
            mark_name: RunsWriter::new(),
        }
    }

    fn push(&mut self, op: &Op<'a>, preds: &[Id], marks: &[&'a str]) {
        self.object_actor.push(op.object.map(|id| self.actors.place(id)));
        self.object_counter.push(op.object.map(|id| u64::from(id.counter)));
        let (actor, counter, string) = match op.key {
            Key::Map(key) => (None, None, Some(key)),
            Key::Head => (None, Some(0), None),
            Key::Element(id) => (Some(self.actors.place(id)), Some(id.counter), None),
        };
        self.key_actor.push(actor);
        self.key_counter.push(counter);
        self.key_string.push(string);
        self.insert.push(op.insert);
        self.action.push(Some(op.action as u64));
        let meta = put_value(&mut self.value, op.value);
        self.value_meta.push(Some(meta));
        self.pred_count.push(Some(preds.len() as u64));
        let mut sorted = Vec::new();
        let preds = if preds.len() > 1 {
            sorted.extend_from_slice(preds);
            self.actors.sort(&mut sorted);
            &sorted
        } else {
            preds
        };
        for id in preds {
            self.pred_actor.push(Some(self.actors.place(*id)));
            self.pred_counter.push(Some(id.counter));
        }
        self.expand.push(op.expand);
        self.mark_name.push(op.mark.and_then(|place| marks.get(usize::from(place))).copied());
    }

    fn finish(self, out: &mut Vec<u8>) {
        let columns = [
            (spec::OBJECT_ACTOR, self.object_actor.finish()),
            (spec::OBJECT_COUNTER, self.object_counter.finish()),
            (spec::KEY_ACTOR, self.key_actor.finish()),
            (spec::KEY_COUNTER, self.key_counter.finish()),
            (spec::KEY_STRING, self.key_string.finish()),
            (spec::INSERT, self.insert.finish()),
            (spec::ACTION, self.action.finish()),
            (spec::VALUE_META, self.value_meta.finish()),
            (spec::VALUE, self.value),
            (spec::PRED_COUNT, self.pred_count.finish()),
            (spec::PRED_ACTOR, self.pred_actor.finish()),
            (spec::PRED_COUNTER, self.pred_counter.finish()),
            (spec::EXPAND, self.expand.finish_unless_off()),
            (spec::MARK_NAME, self.mark_name.finish()),
        ];
        let present = || columns.iter().filter(|(_, column)| !column.is_empty());
        put_uleb(out, present().count() as u64);
        for (spec, column) in present() {
            put_uleb(out, *spec);
            put_uleb(out, column.len() as u64);
        }
        for (_, column) in present() {
            out.extend_from_slice(column);
        }
    }
}

/// Writes a value and returns its type and length in one number.
#[inline]
fn put_value(out: &mut Vec<u8>, value: Value<'_>) -> u64 {
    let from = out.len();
    let kind = match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Uint(number) => {
            put_uleb(out, number);
            3
        }
        Value::Int(number) => {
            put_sleb(out, number);
            4
        }
        Value::Float(bits) => {
            out.extend_from_slice(&bits.to_le_bytes());
            5
        }
        Value::Str(text) => {
            out.extend_from_slice(text.as_bytes());
            6
        }
        Value::Bytes(bytes) => {
            out.extend_from_slice(bytes);
            7
        }
        Value::Counter(number) => {
            put_sleb(out, number);
            8
        }
        Value::Timestamp(number) => {
            put_sleb(out, number);
            9
        }
    };
    ((out.len() - from) as u64) << 4 | kind
}
