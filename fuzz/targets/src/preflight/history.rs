//! Random histories: several actors edit copies of a document with everything that Automerge offers, and merge.
//!
//! What an input draws is what they do. Only Automerge writes here, so all of it must pass the door.

use automerge::{
    ActorId, Automerge, AutomergeError, Change, ObjId, ObjType, ROOT, ScalarValue, TextEncoding, Value, hydrate,
    marks::{ExpandMark, Mark},
    transaction::{CommitOptions, Transactable},
};

use crate::input::Input;

/// Positions in texts count Unicode scalar values, as in our documents.
pub const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

fn scalar(input: &mut Input<'_>) -> ScalarValue {
    match input.below(14) {
        0 => ScalarValue::Null,
        1 => input.one_in(2).into(),
        2 => ScalarValue::Uint(input.number() >> input.below(64)),
        3 => ScalarValue::Int((input.number() as i64) >> input.below(64)),
        4 => ScalarValue::F64(f64::from_bits(input.number())),
        5 => ScalarValue::Timestamp((input.number() as i64) >> input.below(64)),
        6..=8 => ScalarValue::counter(input.below(1000) as i64 - 500),
        9 => ScalarValue::Bytes((0..input.below(40)).map(|n| n as u8).collect()),
        10 => ScalarValue::Int(7),
        _ => ScalarValue::Str(words(input).into()),
    }
}

fn words(input: &mut Input<'_>) -> String {
    let some = ["a", "a", "a", "bc", "ünd", "日本", "🦀", "\n", "", "e\u{301}"];
    let count = if input.one_in(40) { 300 } else { input.below(7) };
    (0..count).map(|_| *input.of(&some)).collect()
}

/// Lists and texts in lists, made in one go.
fn nested(input: &mut Input<'_>, depth: usize) -> hydrate::Value {
    match input.below(if depth == 0 { 3 } else { 6 }) {
        0 => hydrate::Value::text(ENCODING, &words(input)),
        1 => hydrate::Value::map(),
        2 => scalar(input).into(),
        _ => (0..input.below(4)).map(|_| nested(input, depth - 1)).collect::<Vec<_>>().into(),
    }
}

fn kind(input: &mut Input<'_>) -> ObjType {
    *input.of(&[ObjType::Map, ObjType::List, ObjType::Text])
}

/// Elements of a list or text among which objects are looked for.
const ELEMENTS_LOOKED_AT: usize = 32;

fn objects<T: Transactable>(tx: &T) -> Vec<(ObjId, ObjType)> {
    let mut found = vec![(ROOT, ObjType::Map)];
    let mut next = 0;
    while next < found.len() && found.len() < 24 {
        let (object, kind) = found[next].clone();
        next += 1;
        let mut add = |value: Value<'_>, id: ObjId| {
            if let Value::Object(kind) = value {
                found.push((id, kind));
            }
        };
        if kind == ObjType::Map {
            for key in tx.keys(&object).collect::<Vec<_>>() {
                for (value, id) in tx.get_all(&object, key.as_str()).expect("is a map") {
                    add(value.to_owned(), id);
                }
            }
        } else {
            for index in 0..tx.length(&object).min(ELEMENTS_LOOKED_AT) {
                for (value, id) in tx.get_all(&object, index).expect("is a sequence") {
                    add(value.to_owned(), id);
                }
            }
        }
    }
    found
}

/// One edit of some object; those that do not fit what is there change nothing.
fn edit<T: Transactable>(input: &mut Input<'_>, tx: &mut T, all: &[(ObjId, ObjType)]) {
    let (object, kind_of) = if input.one_in(3) { &all[0] } else { input.of(all) };
    let done = match kind_of {
        ObjType::Map | ObjType::Table => edit_map(input, tx, object),
        ObjType::List => edit_list(input, tx, object),
        ObjType::Text => edit_text(input, tx, object),
    };
    // Increments of what is no counter, positions behind the end and the like.
    drop(done);
}

/// Some edits in one transaction.
fn edits<T: Transactable>(input: &mut Input<'_>, tx: &mut T) {
    let mut all = objects(tx);
    for _ in 0..1 + input.below(8) {
        edit(input, tx, &all);
        // To look for objects is much of the work.
        if input.one_in(4) {
            all = objects(tx);
        }
        if input.is_empty() {
            break;
        }
    }
}

fn edit_map<T: Transactable>(input: &mut Input<'_>, tx: &mut T, map: &ObjId) -> Result<(), AutomergeError> {
    let key = *input.of(&["a", "b", "c", "dé", ""]);
    match input.below(10) {
        0 => tx.put_object(map, key, kind(input)).map(drop),
        1 => tx.batch_create_object(map, key, &nested(input, 3), false).map(drop),
        2 | 3 => tx.delete(map, key),
        4 | 5 => tx.increment(map, key, input.below(9) as i64 - 4),
        _ => tx.put(map, key, scalar(input)),
    }
}

fn edit_list<T: Transactable>(input: &mut Input<'_>, tx: &mut T, list: &ObjId) -> Result<(), AutomergeError> {
    let len = tx.length(list);
    let at = input.below(len + 1);
    match input.below(12) {
        0 => tx.insert_object(list, at, kind(input)).map(drop),
        1 => tx.batch_create_object(list, at, &nested(input, 2), input.one_in(2)).map(drop),
        2 => tx.put_object(list, at, kind(input)).map(drop),
        3 | 4 => tx.delete(list, at),
        5 | 6 => tx.increment(list, at, input.below(9) as i64 - 4),
        7 => tx.put(list, at, scalar(input)),
        8 => {
            let values: Vec<ScalarValue> = (0..input.below(5)).map(|_| scalar(input)).collect();
            tx.splice(list, at, input.below(3).min(len - at) as isize, values)
        }
        _ => tx.insert(list, at, scalar(input)),
    }
}

fn edit_text<T: Transactable>(input: &mut Input<'_>, tx: &mut T, text: &ObjId) -> Result<(), AutomergeError> {
    let len = tx.length(text);
    let at = input.below(len + 1);
    let to = at + input.below(len - at + 1);
    let expand = *input.of(&[ExpandMark::Before, ExpandMark::After, ExpandMark::Both, ExpandMark::None]);
    match input.below(14) {
        0..=4 => {
            let words = words(input);
            tx.splice_text(text, at, input.below(len - at + 1).min(4) as isize, &words)
        }
        5 => tx.splice_text(text, at, (to - at) as isize, ""),
        6 | 7 => {
            // Nobody makes a mark of what is not equal to itself: Automerge, built to assert, ends on it.
            let value = match scalar(input) {
                ScalarValue::F64(number) if number.is_nan() => ScalarValue::Null,
                value => value,
            };
            tx.mark(text, Mark::new((*input.of(&["bold", "link"])).into(), value, at, to), expand)
        }
        8 => tx.unmark(text, "bold", at, to, expand),
        9 => tx.split_block(text, at).map(drop),
        // Nobody puts a value over an element: two such and a deletion of one end Automerge.
        10 | 11 => tx.insert(text, at, scalar(input)),
        12 => tx.delete(text, at),
        _ => tx.update_text(text, words(input)),
    }
}

/// Time and message of a change.
fn options(input: &mut Input<'_>) -> CommitOptions {
    let options = CommitOptions::default().with_time((input.number() as i64) >> (12 + input.below(50)));
    if input.one_in(4) { options.with_message(words(input)) } else { options }
}

/// Edits a document at its heads as one change, or writes an empty one. Nobody writes at past states: the commits of a
/// device stand in a row, each behind all that it had.
///
/// # Panics
/// Never, unless Automerge does.
pub fn change(input: &mut Input<'_>, document: &mut Automerge) {
    let commit = options(input);
    if input.one_in(8) {
        document.empty_commit(commit);
        return;
    }
    let mut tx = document.transaction();
    edits(input, &mut tx);
    tx.commit_with(commit);
}

/// A history of so many changes or less, dependencies first.
///
/// # Panics
/// When histories of one input do not merge.
pub fn random(input: &mut Input<'_>, changes: usize) -> Vec<Change> {
    let mut documents: Vec<Automerge> = (0..1 + input.below(4))
        .map(|index: usize| {
            let mut actor = vec![input.byte(); *input.of(&[16, 1, 16, 32])];
            // Their order is random, and no two are one.
            actor[0] = (input.byte() << 2) | index as u8;
            Automerge::new_with_encoding(ENCODING).with_actor(ActorId::from(actor))
        })
        .collect();
    for _ in 0..changes {
        if input.is_empty() {
            break;
        }
        let (at, from) = (input.below(documents.len()), input.below(documents.len()));
        if at != from && input.one_in(2) {
            let news = documents[at].get_changes_added(&documents[from]);
            documents[at].apply_changes(news).expect("histories of one input merge");
        }
        change(input, &mut documents[at]);
    }
    let mut all = documents.swap_remove(0);
    for document in documents {
        let news = all.get_changes_added(&document);
        all.apply_changes(news).expect("histories of one input merge");
    }
    all.get_changes(&[])
}
