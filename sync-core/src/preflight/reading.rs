//! Tests of reading: every reason to refuse bytes, and each bound at its value and one above.
//!
//! Changes are built byte by byte here, columns and all; what operations mean is tested in `ruling`.

use super::{
    Change, ChangeHead, Refusal,
    column::{DeltasWriter, RunsWriter},
    input::{put_bytes, put_sleb, put_uleb},
    ops::spec,
    write::frame,
};
use crate::limits;

/// A change as bytes, field by field.
#[derive(Clone)]
struct Raw {
    deps: Vec<u8>,
    actor: Vec<u8>,
    seq: u64,
    start_op: u64,
    time: i64,
    message: Vec<u8>,
    others: Vec<Vec<u8>>,
    columns: Vec<(u64, Vec<u8>)>,
    behind: Vec<u8>,
}

impl Raw {
    /// Puts nothing at key `a` of the root.
    fn put() -> Self {
        let columns = vec![
            (spec::KEY_STRING, vec![0x7f, 1, b'a']),
            (spec::INSERT, vec![1]),
            (spec::ACTION, vec![0x7f, 1]),
            (spec::VALUE_META, vec![0x7f, 0]),
            (spec::PRED_COUNT, vec![0x7f, 0]),
        ];
        let (deps, actor, message) = (vec![0], vec![7; 16], Vec::new());
        Self { deps, actor, seq: 1, start_op: 1, time: 0, message, others: Vec::new(), columns, behind: Vec::new() }
    }

    fn with(mut self, spec: u64, column: &[u8]) -> Self {
        self.columns.retain(|(known, _)| *known != spec);
        self.columns.push((spec, column.to_vec()));
        self.columns.sort_by_key(|(spec, _)| *spec);
        self
    }

    fn without(mut self, spec: u64) -> Self {
        self.columns.retain(|(known, _)| *known != spec);
        self
    }

    /// With one predecessor or element, at this counter and actor.
    fn naming(self, counter: u64, actor: u8) -> Self {
        let mut delta = vec![0x7f];
        put_sleb(&mut delta, counter as i64);
        self.with(spec::PRED_COUNT, &[0x7f, 1]).with(spec::PRED_ACTOR, &[0x7f, actor]).with(spec::PRED_COUNTER, &delta)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut content = self.deps.clone();
        put_bytes(&mut content, &self.actor);
        put_uleb(&mut content, self.seq);
        put_uleb(&mut content, self.start_op);
        put_sleb(&mut content, self.time);
        put_bytes(&mut content, &self.message);
        put_uleb(&mut content, self.others.len() as u64);
        self.others.iter().for_each(|actor| put_bytes(&mut content, actor));
        put_uleb(&mut content, self.columns.len() as u64);
        for (spec, column) in &self.columns {
            put_uleb(&mut content, *spec);
            put_uleb(&mut content, column.len() as u64);
        }
        self.columns.iter().for_each(|(_, column)| content.extend_from_slice(column));
        content.extend_from_slice(&self.behind);
        frame(&content)
    }

    #[track_caller]
    fn reads(&self) {
        let bytes = self.bytes();
        let change = Change::read(&bytes).expect("is whole");
        assert_eq!(ChangeHead::read(&bytes), Ok(change.head.clone()));
        assert_eq!(change.encode(), bytes);
    }

    #[track_caller]
    fn is(&self, refusal: Refusal) {
        assert_eq!(Change::read(&self.bytes()), Err(refusal));
    }
}

fn runs(run: i64, value: u64) -> Vec<u8> {
    let mut column = Vec::new();
    put_sleb(&mut column, run);
    put_uleb(&mut column, value);
    column
}

/// This many deletions of one and the same value.
fn deletions(count: u64) -> Raw {
    let (mut actor, mut counter) = (RunsWriter::new(), DeltasWriter::new());
    for _ in 0..count {
        actor.push(Some(0_u64));
        counter.push(Some(1));
    }
    let mut key = Vec::new();
    put_sleb(&mut key, count as i64);
    put_bytes(&mut key, b"a");
    let mut insert = Vec::new();
    put_uleb(&mut insert, count);
    Raw { start_op: 2, ..Raw::put() }
        .with(spec::KEY_STRING, &key)
        .with(spec::INSERT, &insert)
        .with(spec::ACTION, &runs(count as i64, 3))
        .with(spec::VALUE_META, &runs(count as i64, 0))
        .with(spec::PRED_COUNT, &runs(count as i64, 1))
        .with(spec::PRED_ACTOR, &actor.finish())
        .with(spec::PRED_COUNTER, &counter.finish())
}

/// This many values at one key, which take no bytes.
fn nothings(count: u64) -> Raw {
    let mut raw = deletions(count).with(spec::ACTION, &runs(count as i64, 1));
    raw.columns.retain(|(spec, _)| ![spec::PRED_ACTOR, spec::PRED_COUNTER].contains(spec));
    raw.with(spec::PRED_COUNT, &runs(count as i64, 0))
}

#[test]
fn the_smallest_changes_read() {
    Raw::put().reads();
    Raw { columns: Vec::new(), ..Raw::put() }.reads();
}

#[test]
fn the_frame_is_exact() {
    let bytes = Raw::put().bytes();
    let refused = |change: fn(&mut Vec<u8>), refusal| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        assert_eq!(Change::read(&bytes), Err(refusal));
    };
    refused(|bytes| bytes[0] = 0, Refusal::Malformed("magic bytes"));
    refused(|bytes| bytes[4] ^= 1, Refusal::Checksum);
    refused(|bytes| bytes[8] = 2, Refusal::Malformed("not a plain change chunk"));
    refused(|bytes| bytes[9] += 1, Refusal::Malformed("length of the chunk"));
    refused(|bytes| bytes.push(0), Refusal::Malformed("length of the chunk"));
    refused(|bytes| bytes.truncate(9), Refusal::Malformed("ends too early"));
}

#[test]
fn the_head_is_bounded() {
    let malformed = |raw: Raw, what| raw.is(Refusal::Malformed(what));
    let limit = |raw: Raw, what| raw.is(Refusal::Limit(what));

    let sorted = |count: u8| {
        let hashes = (0..count).flat_map(|n| [n; 32]);
        Raw { deps: std::iter::once(count).chain(hashes).collect(), ..Raw::put() }
    };
    sorted(2).reads();
    malformed(Raw { deps: [&[2][..], &[1; 64]].concat(), ..Raw::put() }, "dependencies are not sorted");
    malformed(Raw { deps: vec![0x80, 0], ..Raw::put() }, "number not in its shortest form");
    let deps = |count: u64| {
        let mut deps = Vec::new();
        put_uleb(&mut deps, count);
        (0..count).for_each(|n| deps.extend_from_slice(&[&n.to_be_bytes()[..], &[0; 24]].concat()));
        Raw { deps, ..Raw::put() }
    };
    deps(limits::CHANGE_DEPS_MAX as u64).reads();
    limit(deps(limits::CHANGE_DEPS_MAX as u64 + 1), "dependencies");

    Raw { actor: vec![7; limits::ACTOR_BYTES_MAX], ..Raw::put() }.reads();
    limit(Raw { actor: vec![7; limits::ACTOR_BYTES_MAX + 1], ..Raw::put() }, "actor");
    malformed(Raw { actor: Vec::new(), ..Raw::put() }, "an actor without bytes");

    Raw { seq: limits::CHANGE_SEQ_MAX, ..Raw::put() }.reads();
    limit(Raw { seq: limits::CHANGE_SEQ_MAX + 1, ..Raw::put() }, "number of the change");
    malformed(Raw { seq: 0, ..Raw::put() }, "numbers start at 1");

    Raw { start_op: limits::CHANGE_COUNTER_MAX - 1, ..Raw::put() }.reads();
    limit(Raw { start_op: limits::CHANGE_COUNTER_MAX, ..Raw::put() }, "operation counter");
    limit(Raw { start_op: u64::MAX, ..Raw::put() }, "operation counter");
    malformed(Raw { start_op: 0, ..Raw::put() }, "numbers start at 1");

    for time in [limits::CHANGE_TIME_MAX, -limits::CHANGE_TIME_MAX] {
        Raw { time, ..Raw::put() }.reads();
        limit(Raw { time: time + time.signum(), ..Raw::put() }, "time");
    }
    limit(Raw { time: i64::MIN, ..Raw::put() }, "time");

    Raw { message: vec![b'm'; limits::CHANGE_MESSAGE_BYTES_MAX], ..Raw::put() }.reads();
    limit(Raw { message: vec![b'm'; limits::CHANGE_MESSAGE_BYTES_MAX + 1], ..Raw::put() }, "message");
    malformed(Raw { message: vec![0xff], ..Raw::put() }, "text is not UTF-8");
}

#[test]
fn actors_are_those_that_are_named() {
    Raw { others: vec![vec![9; 16]], ..Raw::put() }.naming(3, 1).reads();
    Raw { others: vec![vec![9; 16]], ..Raw::put() }.is(Refusal::NotCanonical);
    Raw { others: vec![vec![7; 16]], ..Raw::put() }.naming(3, 1).is(Refusal::NotCanonical);
    Raw { others: vec![vec![9; 16], vec![8; 16]], ..Raw::put() }.naming(3, 2).is(Refusal::NotCanonical);
    Raw::put().naming(3, 0).reads();
    Raw::put().naming(3, 1).is(Refusal::Malformed("an actor outside the table"));
    let many = |count: usize| Raw { others: vec![vec![9]; count], ..Raw::put() };
    many(limits::CHANGE_ACTORS_MAX).is(Refusal::NotCanonical);
    many(limits::CHANGE_ACTORS_MAX + 1).is(Refusal::Limit("other actors"));
}

#[test]
fn columns_are_known_sorted_and_not_empty() {
    let unknown = Refusal::Malformed("a column that is unknown, deflated or not in order");
    Raw::put().with(0x35, &[1]).is(unknown);
    Raw::put().with(spec::ACTION | 8, &[1]).is(unknown);
    let mut swapped = Raw::put();
    swapped.columns.swap(0, 1);
    swapped.is(unknown);
    let mut twice = Raw::put();
    twice.columns.insert(0, twice.columns[0].clone());
    twice.is(unknown);
    let mut many = Raw::put();
    many.columns = (0..15).map(|n| (n, vec![1])).collect();
    many.is(Refusal::Limit("columns"));
    Raw::put().with(spec::MARK_NAME, &[]).is(Refusal::Malformed("an empty column"));
    Raw { behind: vec![1, 1, 65], ..Raw::put() }.is(Refusal::Malformed("bytes behind the operations"));
}

#[test]
fn a_column_has_one_form() {
    // A run of one, a literal where a run belongs, nothing written out, a row too many, flags that are off.
    Raw::put().with(spec::ACTION, &[1, 1]).is(Refusal::NotCanonical);
    Raw::put().with(spec::MARK_NAME, &[0, 1]).is(Refusal::NotCanonical);
    Raw::put().with(spec::VALUE_META, &[2, 0]).is(Refusal::NotCanonical);
    Raw::put().with(spec::EXPAND, &[1]).is(Refusal::NotCanonical);
    Raw::put().with(spec::INSERT, &[2]).is(Refusal::NotCanonical);
    Raw::put().with(spec::VALUE, &[1]).is(Refusal::NotCanonical);
    Raw::put().without(spec::INSERT).is(Refusal::NotCanonical);
    Raw::put().with(spec::VALUE_META, &[0x7f, 0x80, 0]).is(Refusal::Malformed("number not in its shortest form"));
}

#[test]
fn rows_are_whole() {
    let malformed = |raw: Raw, what| raw.is(Refusal::Malformed(what));
    malformed(Raw::put().with(spec::OBJECT_ACTOR, &[0x7f, 0]), "half an object");
    malformed(Raw::put().with(spec::OBJECT_COUNTER, &[0x7f, 1]), "half an object");
    malformed(Raw::put().with(spec::KEY_ACTOR, &[0x7f, 0]), "half a key, or two");
    malformed(Raw::put().with(spec::KEY_COUNTER, &[0x7f, 1]), "half a key, or two");
    malformed(Raw::put().without(spec::KEY_STRING), "half a key, or two");
    malformed(Raw::put().with(spec::KEY_STRING, &[0x7f, 1, 0xff]), "text is not UTF-8");
    malformed(Raw::put().with(spec::ACTION, &[0, 1]), "an operation without an action");
    malformed(Raw::put().with(spec::ACTION, &[0x7f, 6]), "makes a table");
    malformed(Raw::put().with(spec::ACTION, &[0x7f, 8]), "an unknown action");
    malformed(Raw::put().without(spec::VALUE_META), "an operation without a value");
    malformed(Raw::put().without(spec::PRED_COUNT), "an operation without predecessors");
    malformed(Raw::put().with(spec::PRED_COUNT, &[0x7f, 1]), "half a predecessor");
    malformed(Raw::put().with(spec::ACTION, &[0x7e, 1]), "ends too early");
}

#[test]
fn values_have_one_form() {
    let value = |meta: u64, bytes: &[u8]| {
        let raw = Raw::put().with(spec::VALUE_META, &runs(-1, meta));
        if bytes.is_empty() { raw } else { raw.with(spec::VALUE, bytes) }
    };
    for (kind, bytes) in [
        (0, &b""[..]),
        (1, b""),
        (2, b""),
        (3, &[0x80, 1]),
        (4, &[0x80, 0x7f]),
        (5, &[1; 8]),
        (6, "ä".as_bytes()),
        (7, &[0xff]),
        (8, &[5]),
        (9, &[0x7f]),
    ] {
        value(kind | (bytes.len() as u64) << 4, bytes).reads();
    }
    let another = Refusal::Malformed("a number of another length");
    value(1 << 4, &[0]).is(another);
    value(3 | 2 << 4, &[1, 1]).is(another);
    value(5 | 7 << 4, &[1; 7]).is(another);
    value(4 | 2 << 4, &[0x80, 0]).is(Refusal::Malformed("number not in its shortest form"));
    value(6 | 1 << 4, &[0xff]).is(Refusal::Malformed("text is not UTF-8"));
    value(10, &[]).is(Refusal::Malformed("an unknown type of value"));
    value(7 | 2 << 4, &[1]).is(Refusal::Malformed("ends too early"));
    value(u64::MAX, &[1]).is(Refusal::Malformed("ends too early"));
}

#[test]
fn names_of_operations_are_bounded() {
    Raw::put().naming(limits::CHANGE_COUNTER_MAX, 0).reads();
    for counter in [0, limits::CHANGE_COUNTER_MAX + 1, u64::MAX, 1 << 32] {
        Raw::put().naming(counter, 0).is(Refusal::Limit("operation counter"));
    }
    Raw::put()
        .naming(1, 0)
        .with(spec::PRED_ACTOR, &runs(-1, 1 << 32))
        .is(Refusal::Malformed("an actor outside the table"));
}

#[test]
fn predecessors_are_sorted() {
    let two = |actors: [u8; 2], counters: [u8; 2]| {
        Raw { others: vec![vec![5; 16], vec![9; 16]], ..Raw::put() }
            .with(spec::PRED_COUNT, &[0x7f, 2])
            .with(spec::PRED_ACTOR, &[0x7e, actors[0], actors[1]])
            .with(spec::PRED_COUNTER, &[0x7e, counters[0], counters[1]])
    };
    // By counter, then by the bytes of the actors: 5, the change's own 7, and 9.
    two([1, 2], [3, 0]).reads();
    two([2, 1], [3, 1]).reads();
    two([2, 1], [3, 0]).is(Refusal::NotCanonical);
    two([1, 2], [3, 0x7f]).is(Refusal::NotCanonical);
}

#[test]
fn operations_and_predecessors_are_bounded() {
    let head = |count| ChangeHead::read(&deletions_head(count)).map(|head| head.ops);
    assert_eq!(head(limits::CHANGE_OPS_MAX), Ok(limits::CHANGE_OPS_MAX));
    assert_eq!(head(limits::CHANGE_OPS_MAX + 1), Err(Refusal::Limit("operations")));
    deletions(10_000).reads();
    let preds = |count: u64| {
        let mut raw = deletions(count);
        for (spec, one) in [(spec::KEY_STRING, &[0x7f, 1, b'a'][..]), (spec::INSERT, &[1]), (spec::ACTION, &[0x7f, 3])]
        {
            raw = raw.with(spec, one);
        }
        raw.with(spec::VALUE_META, &[0x7f, 0]).with(spec::PRED_COUNT, &runs(-1, count))
    };
    preds(limits::CHANGE_PREDS_MAX).reads();
    preds(limits::CHANGE_PREDS_MAX + 1).is(Refusal::Limit("predecessors"));
}

/// Only what the head needs: the column of actions.
fn deletions_head(count: u64) -> Vec<u8> {
    let columns = vec![(spec::ACTION, runs(count as i64, 3))];
    Raw { columns, ..Raw::put() }.bytes()
}

#[test]
fn what_is_kept_is_paid_for_in_bytes() {
    let content = |raw: &Raw| raw.bytes().len() as u64 - 10;
    let mut count = limits::CHANGE_OPS_FREE;
    count += content(&nothings(count));
    nothings(count).reads();
    nothings(count + 1).is(Refusal::Limit("operations for so few bytes"));
    nothings(limits::CHANGE_OPS_MAX).is(Refusal::Limit("operations for so few bytes"));
}

#[test]
fn names_of_marks_are_bounded() {
    let names = |count: usize| {
        let mut names = Vec::new();
        put_sleb(&mut names, -(count as i64));
        (0..count).for_each(|n| put_bytes(&mut names, n.to_string().as_bytes()));
        nothings(count as u64).with(spec::MARK_NAME, &names)
    };
    names(limits::CHANGE_MARKS_MAX).reads();
    names(limits::CHANGE_MARKS_MAX + 1).is(Refusal::Limit("marks"));
}
