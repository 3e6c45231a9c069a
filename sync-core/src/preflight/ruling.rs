//! Tests of rules and summaries: every fault, each bound at its value and one above, and what is kept of a change.
//!
//! Changes are lists of operations here; bytes are tested in `reading`, and Automerge's view of it all by the
//! integration test `preflight`.

use std::convert::Infallible;

use super::{
    Action, Change, ChangeHead, Fault, Id, Key, Op, OpId, Past, Place, RuleError, Run, Summary, Value, What, check,
};
use crate::{ids::ChangeHash, limits};

const OLD: [u8; 16] = [5; 16];
const NEW: [u8; 16] = [3; 16];
const NOT_THERE: u32 = 99;

/// An operation of the change before, in the table of one by [`NEW`].
const fn old(counter: u32) -> Id {
    Id { counter, actor: 1 }
}

const fn own(counter: u32) -> Id {
    Id { counter, actor: 0 }
}

type Row<'a> = (Op<'a>, Vec<Id>);

fn op<'a>(object: Option<Id>, key: Key<'a>, action: Action) -> Row<'a> {
    let op = Op { object, key, action, insert: false, expand: false, mark: None, preds: 0, value: Value::Null };
    (op, Vec::new())
}

fn put<'a>(object: Option<Id>, key: Key<'a>, value: Value<'a>) -> Row<'a> {
    let (op, preds) = op(object, key, Action::Set);
    (Op { value, ..op }, preds)
}

fn insert<'a>(object: Id, key: Key<'a>, value: Value<'a>) -> Row<'a> {
    let (op, preds) = put(Some(object), key, value);
    (Op { insert: true, ..op }, preds)
}

fn mark(object: Id, key: Key<'_>, begins: bool) -> Row<'_> {
    let (op, preds) = insert(object, key, Value::Null);
    (Op { action: Action::Mark, mark: begins.then_some(0), ..op }, preds)
}

fn over<'a>((op, _): Row<'a>, preds: &[Id]) -> Row<'a> {
    (op, preds.to_vec())
}

fn change<'a>(actor: [u8; 16], start_op: u64, others: Vec<&'a [u8]>, rows: &[Row<'a>]) -> Change<'a> {
    let ops = rows.iter().map(|(op, preds)| Op { preds: preds.len() as u32, ..*op }).collect();
    let preds = rows.iter().flat_map(|(_, preds)| preds.iter().copied()).collect();
    let (hash, actor, count) = (ChangeHash([0; 32]), actor.to_vec(), rows.len() as u64);
    let head = ChangeHead { hash, deps: Vec::new(), actor, seq: 1, start_op, ops: count, time: 0, message: Vec::new() };
    Change { head, others, ops, preds, marks: vec!["bold"] }
}

/// One change in the past, by [`OLD`].
struct One(Summary);

impl Past for One {
    type Error = Infallible;

    fn made(&mut self, id: OpId<'_>) -> Result<Option<Run<'_>>, Infallible> {
        Ok(if id.actor == OLD { self.0.run(id.counter) } else { None })
    }
}

const MAP: u32 = 1;
const LIST: u32 = 2;
const TEXT: u32 = 3;
const COUNTER: u32 = 4;
const NUMBER: u32 = 5;
const FIRST: u32 = 6;
const SECOND: u32 = 7;
const LETTER: u32 = 8;
const MARK: u32 = 9;
const DELETION: u32 = 11;
const BLOCK: u32 = 12;

fn before() -> One {
    let root = |key, action| op(None, Key::Map(key), action);
    let rows = [
        root("map", Action::MakeMap),
        root("list", Action::MakeList),
        root("text", Action::MakeText),
        put(None, Key::Map("counter"), Value::Counter(1)),
        put(Some(own(MAP)), Key::Map("number"), Value::Int(1)),
        insert(own(LIST), Key::Head, Value::Int(1)),
        insert(own(LIST), Key::Element(own(FIRST)), Value::Counter(1)),
        insert(own(TEXT), Key::Head, Value::Str("a")),
        mark(own(TEXT), Key::Head, true),
        mark(own(TEXT), Key::Element(own(LETTER)), false),
        over(op(Some(own(LIST)), Key::Element(own(FIRST)), Action::Delete), &[own(FIRST)]),
        {
            let (block, preds) = insert(own(TEXT), Key::Element(own(LETTER)), Value::Null);
            (Op { action: Action::MakeMap, ..block }, preds)
        },
    ];
    One(check(&change(OLD, 1, Vec::new(), &rows), &mut ()).expect("is whole"))
}

fn verdict(rows: &[Row<'_>]) -> Result<(), (u64, Fault)> {
    match check(&change(NEW, 20, vec![&OLD], rows), &mut before()) {
        Ok(summary) => {
            let bytes = summary.encode();
            assert_eq!(Summary::decode(&bytes, &NEW), Ok(summary));
            Ok(())
        }
        Err(RuleError::Fault { counter, fault }) => Err((counter, fault)),
        Err(RuleError::Past(never)) => match never {},
    }
}

#[track_caller]
fn passes(row: Row<'_>) {
    assert_eq!(verdict(&[row]), Ok(()));
}

#[track_caller]
fn fails(row: Row<'_>, fault: Fault) {
    assert_eq!(verdict(&[row]), Err((20, fault)));
}

const LIST_FIRST: (Option<Id>, Key<'_>) = (Some(old(LIST)), Key::Element(old(FIRST)));

#[test]
fn objects_are_there() {
    let at = |id| put(Some(id), Key::Map("x"), Value::Null);
    passes(at(old(MAP)));
    passes(at(old(BLOCK)));
    for id in [old(NOT_THERE), old(COUNTER), old(FIRST), old(MARK), old(DELETION)] {
        fails(at(id), if id.counter < 20 { Fault::Object } else { Fault::Later });
    }
    fails(at(own(20)), Fault::Later);
    fails(at(own(19)), Fault::Object);
    let made = op(None, Key::Map("x"), Action::MakeMap);
    assert_eq!(verdict(&[made.clone(), at(own(20))]), Ok(()));
    assert_eq!(verdict(&[made, at(own(21))]), Err((21, Fault::Later)));
}

#[test]
fn keys_fit_their_objects() {
    for object in [LIST, TEXT] {
        fails(op(Some(old(object)), Key::Map("x"), Action::Delete), Fault::KeyKind);
        fails(insert(old(object), Key::Map("x"), Value::Null), Fault::KeyKind);
    }
    fails(insert(old(MAP), Key::Head, Value::Null), Fault::KeyKind);
    fails(put(None, Key::Head, Value::Null), Fault::KeyKind);
    fails(put(None, Key::Element(old(FIRST)), Value::Null), Fault::KeyKind);
    fails(put(Some(old(LIST)), Key::Head, Value::Null), Fault::Element);
    passes(insert(old(LIST), Key::Head, Value::Null));
}

#[test]
fn elements_are_of_the_object() {
    for id in [old(FIRST), old(SECOND)] {
        passes(insert(old(LIST), Key::Element(id), Value::Null));
    }
    for id in [old(LETTER), old(NUMBER), old(DELETION), old(LIST), own(19)] {
        fails(insert(old(LIST), Key::Element(id), Value::Null), Fault::Element);
        fails(over(put(Some(old(LIST)), Key::Element(id), Value::Null), &[old(FIRST)]), Fault::Element);
    }
    fails(insert(old(LIST), Key::Element(own(20)), Value::Null), Fault::Later);
    passes(insert(old(TEXT), Key::Element(old(MARK)), Value::Null));
    let at_mark = over(op(Some(old(TEXT)), Key::Element(old(MARK)), Action::Delete), &[old(MARK)]);
    fails(at_mark, Fault::Element);
}

#[test]
fn predecessors_are_values_of_the_same_place() {
    let (list, first) = LIST_FIRST;
    passes(over(put(list, first, Value::Null), &[old(FIRST)]));
    passes(over(op(list, first, Action::Delete), &[old(FIRST)]));
    passes(over(put(Some(old(MAP)), Key::Map("number"), Value::Null), &[old(NUMBER)]));
    passes(put(Some(old(MAP)), Key::Map("number"), Value::Null));
    passes(over(op(Some(old(TEXT)), Key::Element(old(BLOCK)), Action::Delete), &[old(BLOCK)]));
    for pred in [old(SECOND), old(DELETION), old(NUMBER), old(LETTER), own(19)] {
        fails(over(put(list, first, Value::Null), &[pred]), Fault::Pred);
    }
    fails(over(put(None, Key::Map("number"), Value::Null), &[old(NUMBER)]), Fault::Pred);
    fails(over(put(Some(old(MAP)), Key::Map("other"), Value::Null), &[old(NUMBER)]), Fault::Pred);
    fails(over(put(list, first, Value::Null), &[own(20)]), Fault::Later);
    fails(over(put(list, first, Value::Null), &[old(FIRST), old(FIRST)]), Fault::PredOrder);
    let (again, _) = put(list, first, Value::Null);
    let twice = over((again, Vec::new()), &[own(20), old(FIRST)]);
    let rows = [over(put(list, first, Value::Null), &[old(FIRST)]), twice];
    assert_eq!(verdict(&rows), Err((21, Fault::PredOrder)));
}

#[test]
fn predecessors_are_as_many_as_the_action_asks() {
    let (list, first) = LIST_FIRST;
    fails(put(list, first, Value::Null), Fault::PredCount);
    fails(op(list, first, Action::Delete), Fault::PredCount);
    fails(op(None, Key::Map("counter"), Action::Delete), Fault::PredCount);
    fails(over(insert(old(LIST), first, Value::Null), &[old(FIRST)]), Fault::PredCount);
    let deletion = over(op(None, Key::Map("counter"), Action::Delete), &[old(COUNTER)]);
    assert_eq!(verdict(&[deletion.clone(), deletion]), Err((21, Fault::Overwritten)));
}

#[test]
fn a_change_leaves_one_value_at_a_place() {
    let x = |value| put(None, Key::Map("x"), Value::Int(value));
    assert_eq!(verdict(&[x(1), x(2)]), Err((21, Fault::Beside)));
    assert_eq!(verdict(&[x(1), over(x(2), &[own(20)]), over(x(3), &[own(21)])]), Ok(()));
    let deletion = over(op(None, Key::Map("x"), Action::Delete), &[own(20)]);
    assert_eq!(verdict(&[x(1), deletion, x(2)]), Ok(()));
    let (list, first) = LIST_FIRST;
    let set = over(put(list, first, Value::Null), &[old(FIRST)]);
    assert_eq!(verdict(&[set.clone(), over(set.clone(), &[own(20)])]), Ok(()));
    let second = over(put(list, Key::Element(old(SECOND)), Value::Null), &[old(SECOND)]);
    assert_eq!(verdict(&[set, second]), Ok(()));
    let new = insert(old(LIST), Key::Head, Value::Null);
    let again = put(list, Key::Element(own(20)), Value::Null);
    let [once, twice] = [own(20), own(21)].map(|pred| over(again.clone(), &[pred]));
    assert_eq!(verdict(&[new.clone(), once.clone(), twice]), Ok(()));
    assert_eq!(verdict(&[new, once.clone(), once]), Err((22, Fault::Beside)));
}

#[test]
fn increments_are_of_counters_and_bounded() {
    let by = |value| {
        let (increment, _) = op(None, Key::Map("counter"), Action::Increment);
        (Op { value, ..increment }, vec![old(COUNTER)])
    };
    let max = limits::CHANGE_COUNTER_VALUE_MAX;
    passes(by(Value::Int(-max)));
    passes(by(Value::Int(max)));
    fails(by(Value::Int(max + 1)), Fault::Limit("an increment"));
    fails(by(Value::Int(i64::MIN)), Fault::Limit("an increment"));
    fails(by(Value::Uint(1)), Fault::Value);
    fails(by(Value::Null), Fault::Value);
    fails(over(by(Value::Int(1)), &[]), Fault::PredCount);
    let (increment, _) = by(Value::Int(1));
    let (list, first) = LIST_FIRST;
    fails((Op { object: list, key: first, ..increment }, vec![old(FIRST)]), Fault::NoCounter);
    fails((Op { insert: true, ..increment }, Vec::new()), Fault::Insert);
    let many = |count| verdict(&vec![by(Value::Int(1)); count]);
    assert_eq!(many(limits::CHANGE_INCREMENTS_MAX), Ok(()));
    assert_eq!(many(limits::CHANGE_INCREMENTS_MAX + 1), Err((20 + 1024, Fault::Limit("increments"))));
    passes(put(None, Key::Map("x"), Value::Counter(max)));
    fails(put(None, Key::Map("x"), Value::Counter(max + 1)), Fault::Limit("a counter"));
}

#[test]
fn an_element_of_a_text_is_deleted_and_never_changed() {
    let (text, letter) = (Some(old(TEXT)), Key::Element(old(LETTER)));
    let at_letter = |action| over(op(text, letter, action), &[old(LETTER)]);
    passes(at_letter(Action::Delete));
    passes(insert(old(TEXT), letter, Value::Str("b")));
    passes((Op { insert: true, ..op(text, letter, Action::MakeMap).0 }, Vec::new()));
    for action in [Action::Set, Action::MakeMap, Action::MakeList, Action::MakeText, Action::Increment] {
        fails(at_letter(action), Fault::ChangedInText);
    }
    // What the same change inserted is no exception.
    let own = insert(old(TEXT), letter, Value::Counter(1));
    let (increment, preds) = over(op(text, Key::Element(self::own(20)), Action::Increment), &[self::own(20)]);
    let by_one = (Op { value: Value::Int(1), ..increment }, preds);
    assert_eq!(verdict(&[own, by_one]), Err((21, Fault::ChangedInText)));
}

#[test]
fn values_fit_their_actions() {
    for action in [Action::MakeMap, Action::MakeList, Action::MakeText] {
        let (made, _) = op(None, Key::Map("x"), action);
        passes((made, Vec::new()));
        fails((Op { value: Value::Int(1), ..made }, Vec::new()), Fault::Value);
    }
    let (list, first) = LIST_FIRST;
    let (deletion, preds) = over(op(list, first, Action::Delete), &[old(FIRST)]);
    fails((Op { value: Value::Bool(true), ..deletion }, preds), Fault::Value);
    fails((Op { insert: true, ..deletion }, Vec::new()), Fault::Insert);
    let (value, _) = put(None, Key::Map("x"), Value::Null);
    fails((Op { expand: true, ..value }, Vec::new()), Fault::Mark);
    fails((Op { mark: Some(0), ..value }, Vec::new()), Fault::Mark);
}

#[test]
fn marks_have_two_ends_in_order() {
    let text = old(TEXT);
    let letter = Key::Element(old(LETTER));
    let marks = |begin, end| verdict(&[mark(text, begin, true), mark(text, end, false)]);
    assert_eq!(marks(Key::Head, letter), Ok(()));
    assert_eq!(marks(letter, Key::Element(own(20))), Ok(()));
    assert_eq!(marks(letter, Key::Element(old(BLOCK))), Ok(()));
    // The mark that was there begins in front of the letter.
    assert_eq!(marks(Key::Element(old(MARK)), letter), Ok(()));
    for (begin, end) in [
        (letter, letter),
        (Key::Head, Key::Head),
        (letter, Key::Head),
        (letter, Key::Element(old(MARK))),
        (Key::Element(old(BLOCK)), letter),
    ] {
        assert_eq!(marks(begin, end), Err((21, Fault::MarkOrder)));
    }
    let lone = Err((20, Fault::Mark));
    let (begin, _) = mark(text, letter, true);
    for (value, allowed) in [(1.5, true), (f64::INFINITY, true), (f64::NAN, false)] {
        let begin = (Op { value: Value::Float(value.to_bits()), ..begin }, Vec::new());
        let verdict = verdict(&[begin, mark(text, Key::Element(own(20)), false)]);
        assert_eq!(verdict, if allowed { Ok(()) } else { lone }, "{value}");
    }
    assert_eq!(verdict(&[mark(text, letter, true)]), lone);
    assert_eq!(verdict(&[mark(text, letter, false)]), lone);
    let [begin, end] = [true, false].map(|begins| mark(text, letter, begins));
    let within = Err((21, Fault::Mark));
    assert_eq!(verdict(&[begin.clone(), put(None, Key::Map("x"), Value::Null), end.clone()]), within);
    assert_eq!(verdict(&[begin.clone(), insert(text, letter, Value::Null), end]), within);
    assert_eq!(verdict(&[begin.clone(), begin.clone()]), within);
    let elsewhere = mark(own(19), Key::Head, true);
    assert_eq!(verdict(&[elsewhere]), Err((20, Fault::Object)));
    assert_eq!(verdict(&[mark(old(LIST), Key::Head, true)]), lone);
    let (flat, _) = begin;
    assert_eq!(verdict(&[(Op { insert: false, ..flat }, vec![old(LETTER)])]), lone);
    let (end, _) = mark(text, Key::Element(own(20)), false);
    let valued = (Op { value: Value::Int(1), ..end }, Vec::new());
    assert_eq!(verdict(&[mark(text, letter, true), valued]), Err((21, Fault::Value)));
}

#[test]
fn marks_are_bounded() {
    let many = |count: usize| {
        let rows = (0..count)
            .flat_map(|_| [mark(old(TEXT), Key::Head, true), mark(old(TEXT), Key::Element(old(LETTER)), false)]);
        verdict(&rows.collect::<Vec<_>>())
    };
    assert_eq!(many(limits::CHANGE_MARKS_MAX), Ok(()));
    assert_eq!(many(limits::CHANGE_MARKS_MAX + 1), Err((20 + 2048, Fault::Limit("marks"))));
}

#[test]
fn steps_between_the_ends_of_marks_are_bounded() {
    // Letters and counters in turn, each behind the one before, so that each is a stretch of its own; then one in front.
    let with = |letters: usize| {
        let mut rows = vec![op(None, Key::Map("text"), Action::MakeText)];
        for n in 0..letters as u32 {
            let value = if n % 2 == 0 { Value::Str("a") } else { Value::Counter(0) };
            rows.push(insert(own(20), if n == 0 { Key::Head } else { Key::Element(own(20 + n)) }, value));
        }
        rows.push(insert(own(20), Key::Head, Value::Null));
        let (last, front) = (20 + letters as u32, 21 + letters as u32);
        rows.push(mark(own(20), Key::Element(own(front)), true));
        rows.push(mark(own(20), Key::Element(own(last)), false));
        verdict(&rows)
    };
    assert_eq!(with(limits::CHANGE_MARK_STEPS_MAX - 1), Ok(()));
    let fault = Fault::Limit("steps between the ends of marks");
    assert_eq!(with(limits::CHANGE_MARK_STEPS_MAX), Err((20 + limits::CHANGE_MARK_STEPS_MAX as u64 + 3, fault)));
}

#[test]
fn a_summary_tells_what_was_made() {
    let One(summary) = before();
    let id = |counter: u32| OpId { counter: counter.into(), actor: &OLD };
    let made = |counter: u32| summary.find(counter.into()).map(|made| (made.object, made.place, made.what));
    assert_eq!(made(MAP), Some((None, Place::Key("map"), What::Map)));
    assert_eq!(made(COUNTER), Some((None, Place::Key("counter"), What::Counter)));
    assert_eq!(made(NUMBER), Some((Some(id(MAP)), Place::Key("number"), What::Scalar)));
    assert_eq!(made(FIRST), Some((Some(id(LIST)), Place::Inserted(None), What::Scalar)));
    assert_eq!(made(SECOND), Some((Some(id(LIST)), Place::Inserted(Some(id(FIRST))), What::Counter)));
    assert_eq!(made(MARK + 1), Some((Some(id(TEXT)), Place::Inserted(Some(id(LETTER))), What::Mark)));
    assert_eq!((made(DELETION), made(0), made(13)), (None, None, None));
    assert_eq!((summary.start_op(), summary.ops()), (1, 12));
}

#[test]
fn a_long_text_is_summed_up_in_twenty_bytes() {
    const LETTERS: u32 = 1 << 17;
    let mut rows = vec![insert(old(TEXT), Key::Element(old(LETTER)), Value::Str("a"))];
    rows.extend((1..LETTERS).map(|n| insert(old(TEXT), Key::Element(own(19 + n)), Value::Str("a"))));
    let summary = check(&change(NEW, 20, vec![&OLD], &rows), &mut before()).expect("is whole");
    let bytes = summary.encode();
    assert!(bytes.len() <= 20 + OLD.len(), "{} bytes", bytes.len());
    let object = Some(OpId { counter: TEXT.into(), actor: &OLD });
    let letter = OpId { counter: LETTER.into(), actor: &OLD };
    for (counter, after) in
        [(20, letter), (21, OpId { counter: 20, actor: &NEW }), (1000, OpId { counter: 999, actor: &NEW })]
    {
        let made = summary.find(counter).expect("is a letter");
        assert_eq!((made.object, made.place), (object, Place::Inserted(Some(after))));
    }
    assert_eq!(summary.find(20 + u64::from(LETTERS)), None);
    let mut rows = vec![op(None, Key::Map("text"), Action::MakeText)];
    rows.extend((0..LETTERS).map(|_| insert(own(20), Key::Head, Value::Null)));
    rows.extend((21..21 + LETTERS).map(|n| over(op(Some(own(20)), Key::Element(own(n)), Action::Delete), &[own(n)])));
    let summary = check(&change(NEW, 20, Vec::new(), &rows), &mut ()).expect("is whole");
    assert!(summary.encode().len() < 32, "front insertions and deletions are a run each");
}

#[test]
fn elements_that_are_set_in_a_row_are_one_run() {
    let mut rows = vec![op(None, Key::Map("list"), Action::MakeList)];
    rows.extend((0..10).map(|_| insert(own(20), Key::Head, Value::Int(1))));
    rows.extend((21..31).map(|n| over(put(Some(own(20)), Key::Element(own(n)), Value::Int(2)), &[own(n)])));
    rows.push(over(put(Some(own(20)), Key::Element(own(30)), Value::Int(3)), &[own(40)]));
    rows.push(over(put(Some(own(20)), Key::Element(own(30)), Value::Int(4)), &[own(41)]));
    let summary = check(&change(NEW, 20, Vec::new(), &rows), &mut ()).expect("is whole");
    assert_eq!(summary.run(31).map(|run| run.counters()), Some((31, 40)));
    assert_eq!(summary.run(41).map(|run| run.counters()), Some((41, 42)));
    let element = |counter| summary.find(counter).map(|made| made.place);
    let place = |counter| Some(Place::Element(OpId { counter, actor: &NEW }));
    assert_eq!([31, 35, 40, 41, 42].map(element), [21, 25, 30, 30, 30].map(place));
}

#[test]
fn a_damaged_summary_does_not_decode() {
    let One(summary) = before();
    let bytes = summary.encode();
    assert_eq!(Summary::decode(&bytes, &OLD).as_ref(), Ok(&summary));
    assert!(Summary::decode(&[&bytes[..], &[0]].concat(), &OLD).is_err());
    for end in 0..bytes.len() {
        assert!(Summary::decode(&bytes[..end], &OLD).is_err(), "cut at {end}");
    }
    for (index, bit) in (0..bytes.len()).flat_map(|index| (0..8).map(move |bit| (index, bit))) {
        let mut flipped = bytes.clone();
        flipped[index] ^= 1 << bit;
        if let Ok(other) = Summary::decode(&flipped, &OLD) {
            assert_eq!(other.encode(), flipped, "byte {index}");
            assert!((0..40).all(|counter| other.find(counter).is_none() || other.run(counter).is_some()));
        }
    }
}
