//! Random histories: several actors edit copies of a document with everything that Automerge offers, and merge.
//!
//! One seed gives one history.

use automerge::{
    ActorId, Automerge, AutomergeError, Change, ChangeHash, ObjId, ObjType, PatchLog, ROOT, ScalarValue, TextEncoding,
    Value, hydrate,
    marks::{ExpandMark, Mark},
    transaction::{CommitOptions, Transactable},
};

/// Positions in texts count Unicode scalar values, as in our documents.
pub(crate) const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

/// A small generator (splitmix64): the same numbers on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }
}

fn scalar(rng: &mut Rng) -> ScalarValue {
    match rng.below(14) {
        0 => ScalarValue::Null,
        1 => rng.one_in(2).into(),
        2 => ScalarValue::Uint(rng.next() >> rng.below(64)),
        3 => ScalarValue::Int((rng.next() as i64) >> rng.below(64)),
        4 => ScalarValue::F64(f64::from_bits(rng.next())),
        5 => ScalarValue::Timestamp((rng.next() as i64) >> rng.below(64)),
        6..=8 => ScalarValue::counter(rng.below(1000) as i64 - 500),
        9 => ScalarValue::Bytes((0..rng.below(40)).map(|n| n as u8).collect()),
        10 => ScalarValue::Int(7),
        _ => ScalarValue::Str(words(rng).into()),
    }
}

fn words(rng: &mut Rng) -> String {
    let some = ["a", "a", "a", "bc", "ünd", "日本", "🦀", "\n", "", "e\u{301}"];
    let count = if rng.one_in(40) { 300 } else { rng.below(7) };
    (0..count).map(|_| *rng.pick(&some)).collect()
}

/// Lists and texts in lists, made in one go.
fn nested(rng: &mut Rng, depth: usize) -> hydrate::Value {
    match rng.below(if depth == 0 { 3 } else { 6 }) {
        0 => hydrate::Value::text(ENCODING, &words(rng)),
        1 => hydrate::Value::map(),
        2 => scalar(rng).into(),
        _ => (0..rng.below(4)).map(|_| nested(rng, depth - 1)).collect::<Vec<_>>().into(),
    }
}

fn kind(rng: &mut Rng) -> ObjType {
    *rng.pick(&[ObjType::Map, ObjType::List, ObjType::Text])
}

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
            for index in 0..tx.length(&object) {
                for (value, id) in tx.get_all(&object, index).expect("is a sequence") {
                    add(value.to_owned(), id);
                }
            }
        }
    }
    found
}

/// One random edit; those that do not fit what is there change nothing.
pub(crate) fn edit<T: Transactable>(rng: &mut Rng, tx: &mut T, marking: bool) {
    let all = objects(tx);
    let (object, kind_of) = if rng.one_in(3) { all[0].clone() } else { rng.pick(&all).clone() };
    let done = match kind_of {
        ObjType::Map | ObjType::Table => edit_map(rng, tx, &object),
        ObjType::List => edit_list(rng, tx, &object),
        ObjType::Text => edit_text(rng, tx, &object, marking),
    };
    // Increments of what is no counter, positions behind the end and the like.
    drop(done);
}

fn edit_map<T: Transactable>(rng: &mut Rng, tx: &mut T, map: &ObjId) -> Result<(), AutomergeError> {
    let key = *rng.pick(&["a", "b", "c", "dé", ""]);
    match rng.below(10) {
        0 => tx.put_object(map, key, kind(rng)).map(drop),
        1 => tx.batch_create_object(map, key, &nested(rng, 3), false).map(drop),
        2 | 3 => tx.delete(map, key),
        4 | 5 => tx.increment(map, key, rng.below(9) as i64 - 4),
        _ => tx.put(map, key, scalar(rng)),
    }
}

fn edit_list<T: Transactable>(rng: &mut Rng, tx: &mut T, list: &ObjId) -> Result<(), AutomergeError> {
    let len = tx.length(list);
    let at = rng.below(len + 1);
    match rng.below(12) {
        0 => tx.insert_object(list, at, kind(rng)).map(drop),
        1 => tx.batch_create_object(list, at, &nested(rng, 2), rng.one_in(2)).map(drop),
        2 => tx.put_object(list, at, kind(rng)).map(drop),
        3 | 4 => tx.delete(list, at),
        5 | 6 => tx.increment(list, at, rng.below(9) as i64 - 4),
        7 => tx.put(list, at, scalar(rng)),
        8 => {
            let values: Vec<ScalarValue> = (0..rng.below(5)).map(|_| scalar(rng)).collect();
            tx.splice(list, at, rng.below(3).min(len - at) as isize, values)
        }
        _ => tx.insert(list, at, scalar(rng)),
    }
}

fn edit_text<T: Transactable>(rng: &mut Rng, tx: &mut T, text: &ObjId, marking: bool) -> Result<(), AutomergeError> {
    let len = tx.length(text);
    let at = rng.below(len + 1);
    let to = at + rng.below(len - at + 1);
    let expand = *rng.pick(&[ExpandMark::Before, ExpandMark::After, ExpandMark::Both, ExpandMark::None]);
    match rng.below(14) {
        0..=4 => {
            let words = words(rng);
            tx.splice_text(text, at, rng.below(len - at + 1).min(4) as isize, &words)
        }
        5 => tx.splice_text(text, at, (to - at) as isize, ""),
        6 | 7 if marking => {
            tx.mark(text, Mark::new((*rng.pick(&["bold", "link"])).into(), scalar(rng), at, to), expand)
        }
        8 if marking => tx.unmark(text, "bold", at, to, expand),
        9 => tx.split_block(text, at).map(drop),
        10 => tx.put(text, at, scalar(rng)),
        11 => tx.insert(text, at, scalar(rng)),
        12 => tx.delete(text, at),
        _ => tx.update_text(text, words(rng)),
    }
}

fn options(rng: &mut Rng) -> CommitOptions {
    let options = CommitOptions::default().with_time((rng.next() as i64) >> (12 + rng.below(50)));
    if rng.one_in(4) { options.with_message(words(rng)) } else { options }
}

/// What actors of a history do besides editing at their heads. Automerge does not bear all of it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// They mark texts and write empty changes. They do not edit at past states: Automerge takes an actor whose last
    /// change is empty for one that has not written since, and lets it write beside that change.
    Marking,
    /// They edit at past states.
    Returning,
    /// They mark texts and edit at past states. Automerge then inserts behind ends of marks that lie outside of the
    /// past which it writes down.
    Both,
}

impl Habit {
    pub(crate) const fn of(seed: u64) -> Self {
        match seed % 5 {
            0 | 1 => Self::Marking,
            2 | 3 => Self::Returning,
            _ => Self::Both,
        }
    }
}

/// Edits a document as one change: at its heads or at some past state, or without any edit.
pub(crate) fn change(rng: &mut Rng, document: &mut Automerge, habit: Habit) {
    if habit == Habit::Marking && rng.one_in(8) {
        document.empty_commit(options(rng));
        return;
    }
    let past: Vec<ChangeHash> = document.get_changes_meta(&[]).into_iter().map(|change| change.hash).collect();
    let commit = options(rng);
    let edits = 1 + rng.below(8);
    let marking = habit != Habit::Returning;
    if habit != Habit::Marking && !past.is_empty() && rng.one_in(5) {
        let at = [*rng.pick(&past)];
        let mut tx = document.transaction_at(PatchLog::inactive(), &at).expect("the log is inactive");
        (0..edits).for_each(|_| edit(rng, &mut tx, marking));
        tx.commit_with(commit);
    } else {
        let mut tx = document.transaction();
        (0..edits).for_each(|_| edit(rng, &mut tx, marking));
        tx.commit_with(commit);
    }
}

/// A history of about so many changes, dependencies first.
pub(crate) fn random(seed: u64, changes: usize) -> Vec<Change> {
    let rng = &mut Rng(seed);
    let mut documents: Vec<Automerge> = (0..1 + rng.below(4))
        .map(|index: usize| {
            let mut bytes: Vec<u8> = (0..*rng.pick(&[1, 16, 16, 32])).map(|_| rng.next() as u8).collect();
            // Their order is random, and no two are one.
            bytes[0] = (bytes[0] << 2) | index as u8;
            Automerge::new_with_encoding(ENCODING).with_actor(ActorId::from(bytes))
        })
        .collect();
    let habit = Habit::of(seed);
    for _ in 0..changes {
        let (at, from) = (rng.below(documents.len()), rng.below(documents.len()));
        if at != from && rng.one_in(2) {
            let mut other = documents[from].clone();
            documents[at].merge(&mut other).expect("histories of one seed merge");
        }
        change(rng, &mut documents[at], habit);
    }
    let mut all = documents.swap_remove(0);
    for mut document in documents {
        all.merge(&mut document).expect("histories of one seed merge");
    }
    all.get_changes(&[])
}
