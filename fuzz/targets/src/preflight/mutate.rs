//! Changes that are not what they were: other bytes with length and checksum mended, or other operations written again.

use sha2::{Digest as _, Sha256};
use sync_core::preflight::{Action, Change, Id, Key, Op, Value};

use super::world::Held;
use crate::input::Input;

fn put_uleb(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A change chunk with this content.
pub fn chunk(content: &[u8]) -> Vec<u8> {
    let mut hashed = vec![1];
    put_uleb(&mut hashed, content.len());
    hashed.extend_from_slice(content);
    let hash: [u8; 32] = Sha256::digest(&hashed).into();
    [&[0x85, 0x6f, 0x4a, 0x83], &hash[..4], &hashed].concat()
}

fn content(bytes: &[u8]) -> &[u8] {
    let length = bytes[9..].iter().take_while(|byte| **byte & 0x80 != 0).count();
    &bytes[10 + length..]
}

/// One to three bytes changed, or a stretch doubled, dropped or swapped.
pub fn bytes(input: &mut Input<'_>, original: &[u8]) -> Vec<u8> {
    let mut content = content(original).to_vec();
    // Most of a change is hashes and actors, of which hardly a mutation passes: the operations are behind them.
    let from = if input.one_in(4) { 0 } else { content.len() / 2 };
    let at = |input: &mut Input<'_>, content: &[u8]| (from + input.below(content.len() - from)).min(content.len() - 1);
    match input.below(8) {
        0 => {
            let (a, b) = (at(input, &content), at(input, &content));
            content.swap(a, b);
        }
        1 => {
            let a = at(input, &content);
            let b = (a + 1 + input.below(4)).min(content.len());
            let stretch = content[a..b].to_vec();
            if input.one_in(2) {
                content.splice(a..a, stretch);
            } else {
                content.splice(a..b, []);
            }
        }
        _ => {
            for _ in 0..1 + input.below(3) {
                let a = at(input, &content);
                content[a] = match input.below(4) {
                    0 => input.byte(),
                    1 => content[a].wrapping_add(1),
                    2 => content[a].wrapping_sub(1),
                    _ => content[a] ^ (1 << input.below(8)),
                };
            }
        }
    }
    chunk(&content)
}

/// What operations of a world may be named by: all that it holds.
fn some_id(input: &mut Input<'_>, change: &Change<'_>) -> Id {
    let max = change.head.max_op() + 1;
    let named: Vec<Id> = change
        .ops
        .iter()
        .flat_map(|op| op.object.into_iter().chain(if let Key::Element(id) = op.key { Some(id) } else { None }))
        .chain(change.preds.iter().copied())
        .collect();
    let actor = input.below(change.others.len() + 1) as u16;
    match input.below(4) {
        0 if !named.is_empty() => *input.of(&named),
        1 if !named.is_empty() => {
            let id = *input.of(&named);
            Id { counter: (id.counter + input.below(3) as u32).max(2) - 1, ..id }
        }
        2 => Id { counter: (change.head.start_op + input.below(change.ops.len() + 1) as u64) as u32, actor: 0 },
        _ => Id { counter: 1 + input.below(max as usize) as u32, actor },
    }
}

fn some_value(input: &mut Input<'_>) -> Value<'static> {
    *input.of(&[
        Value::Null,
        Value::Bool(true),
        Value::Uint(3),
        Value::Int(-3),
        Value::Int(1 << 40),
        Value::Float(f64::NAN.to_bits()),
        Value::Str("x"),
        Value::Str(""),
        Value::Str("é\u{301}long"),
        Value::Bytes(b"b"),
        Value::Counter(5),
        Value::Counter(i64::MAX),
        Value::Timestamp(i64::MIN),
    ])
}

/// Predecessors by operation.
fn preds_of(change: &Change<'_>) -> Vec<Vec<Id>> {
    let mut rest = change.preds.as_slice();
    let take = |op: &Op<'_>| {
        let (own, behind) = rest.split_at(op.preds as usize);
        rest = behind;
        own.to_vec()
    };
    change.ops.iter().map(take).collect()
}

/// Changes one thing about one operation, or the list of them.
fn one(input: &mut Input<'_>, change: &mut Change<'_>, preds: &mut Vec<Vec<Id>>) {
    if change.ops.is_empty() {
        return;
    }
    let at = input.below(change.ops.len());
    let id = some_id(input, change);
    let other = change.ops[input.below(change.ops.len())];
    let op = &mut change.ops[at];
    match input.below(16) {
        0 => op.object = if input.one_in(4) { None } else { Some(id) },
        1 => op.object = other.object,
        2 => op.key = Key::Element(id),
        3 => op.key = *input.of(&[Key::Head, Key::Map("a"), Key::Map("b"), Key::Map(""), other.key]),
        4 => op.insert = !op.insert,
        5 => {
            use Action::{Delete, Increment, MakeList, MakeMap, MakeText, Mark, Set};
            op.action = *input.of(&[MakeMap, Set, MakeList, Delete, MakeText, Increment, Mark, Set, Increment]);
            if op.action == Increment && input.one_in(2) {
                op.value = Value::Int(1);
            } else if op.action != Set && input.one_in(2) {
                op.value = Value::Null;
            }
        }
        6 => op.value = some_value(input),
        7 => {
            let after = input.below(preds[at].len() + 1);
            preds[at].insert(after, id);
        }
        8 if !preds[at].is_empty() => {
            let gone = input.below(preds[at].len());
            preds[at].remove(gone);
        }
        9 if !preds[at].is_empty() => {
            let changed = input.below(preds[at].len());
            preds[at][changed] = id;
        }
        10 => match input.below(3) {
            0 => op.expand = !op.expand,
            1 => op.mark = other.mark,
            _ => op.mark = if op.mark.is_none() && !change.marks.is_empty() { Some(0) } else { None },
        },
        11 => {
            change.ops.insert(at, other);
            let own = if input.one_in(2) { Vec::new() } else { preds[at].clone() };
            preds.insert(at, own);
        }
        12 => {
            change.ops.remove(at);
            preds.remove(at);
        }
        13 => {
            let to = input.below(change.ops.len());
            change.ops.swap(at, to);
            preds.swap(at, to);
        }
        14 => {
            // An operation whole, with what it acts on: an insertion or a deletion at another element.
            op.key = Key::Element(id);
            if !op.insert {
                preds[at] = vec![id];
            }
        }
        _ => {
            op.object = other.object;
            op.key = other.key;
            preds[at] = Vec::new();
        }
    }
}

/// One to three operations changed, or the head, and the change written again in its one form; `others` are changes that
/// it may come to depend on. Nothing if it does not read.
pub fn operations(input: &mut Input<'_>, others: &[Held], bytes: &[u8]) -> Option<Vec<u8>> {
    let mut change = Change::read(bytes).ok()?;
    // Actors that the change did not name may be named now.
    for actor in others.iter().map(|held| held.head.actor.as_slice()) {
        if change.head.actor != actor && !change.others.contains(&actor) {
            change.others.push(actor);
        }
    }
    let mut preds = preds_of(&change);
    for _ in 0..1 + input.below(3) {
        one(input, &mut change, &mut preds);
    }
    if input.one_in(10) {
        match input.below(5) {
            0 => change.head.time = *input.of(&[-1 << 53, 1 << 53, 0, -1]),
            1 => change.head.message = "ein Wort".into(),
            2 => change.head.start_op += input.below(50) as u64,
            3 if !change.head.deps.is_empty() => {
                let gone = input.below(change.head.deps.len());
                change.head.deps.remove(gone);
            }
            _ if others.is_empty() => {}
            _ => {
                change.head.deps.push(input.of(others).head.hash);
                change.head.deps.sort_unstable();
                change.head.deps.dedup();
            }
        }
    }
    for (op, own) in change.ops.iter_mut().zip(&preds) {
        op.preds = own.len() as u32;
    }
    change.preds = preds.concat();
    Some(change.encode())
}
