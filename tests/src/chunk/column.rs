//! Columns of Automerge's binary format: numbers, runs, differences, booleans, as its own encoder would write them.
//!
//! A column's specification is its id, shifted by four, and its type; bit 3 says that its bytes are deflated.

use super::{Id, Key, Op, Value};

/// Actor of the object an operation acts on.
pub const OBJ_ACTOR: u32 = 0x01;
/// Counter of that object.
pub const OBJ_COUNTER: u32 = 0x02;
/// Actor of the element an operation acts on.
pub const KEY_ACTOR: u32 = 0x11;
/// Counter of that element.
pub const KEY_COUNTER: u32 = 0x13;
/// Key in a map.
pub const KEY_STRING: u32 = 0x15;
/// Actor of the operation itself; documents only.
pub const ID_ACTOR: u32 = 0x21;
/// Counter of the operation itself; documents only.
pub const ID_COUNTER: u32 = 0x23;
/// Whether it inserts.
pub const INSERT: u32 = 0x34;
/// What it does.
pub const ACTION: u32 = 0x42;
/// Type and length of its scalar.
pub const VALUE_META: u32 = 0x56;
/// Its scalar.
pub const VALUE: u32 = 0x57;
/// How many operations it replaces; changes only.
pub const PRED_COUNT: u32 = 0x70;
/// Their actors.
pub const PRED_ACTOR: u32 = 0x71;
/// Their counters.
pub const PRED_COUNTER: u32 = 0x73;
/// How many operations replace it; documents only.
pub const SUCC_COUNT: u32 = 0x80;
/// Their actors.
pub const SUCC_ACTOR: u32 = 0x81;
/// Their counters.
pub const SUCC_COUNTER: u32 = 0x83;
/// Whether a mark expands.
pub const EXPAND: u32 = 0x94;
/// Name of a mark.
pub const MARK_NAME: u32 = 0xa5;
/// Set in the specification of a column whose bytes are deflated.
pub const DEFLATE_BIT: u32 = 0b1000;

/// An unsigned LEB128 number in its shortest form.
#[must_use]
pub fn uleb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A signed LEB128 number in its shortest form.
#[must_use]
pub fn sleb(mut value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = value as u8 & 0x7f;
        value >>= 7;
        let is_last = (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0);
        if is_last {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// Bytes behind their length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(uleb(bytes.len() as u64));
    out.extend(bytes);
}

/// A run of one value: `value` stands there in its encoded form.
#[must_use]
pub fn run(count: i64, value: &[u8]) -> Vec<u8> {
    [&sleb(count)[..], value].concat()
}

/// A literal run: values that stand one by one, in their encoded form.
#[must_use]
pub fn literal(values: &[Vec<u8>]) -> Vec<u8> {
    [sleb(-(values.len() as i64)), values.concat()].concat()
}

/// Run-length encoding of values in their encoded form, as Automerge writes it: equal neighbours are a run, single ones
/// stand together, and a column without any value is empty.
#[must_use]
pub fn runs(values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut singles = Vec::new();
    if values.iter().all(Option::is_none) {
        return out;
    }
    let flush = |singles: &mut Vec<Vec<u8>>, out: &mut Vec<u8>| {
        if !singles.is_empty() {
            out.extend(literal(&std::mem::take(singles)));
        }
    };
    for group in values.chunk_by(|a, b| a == b) {
        match &group[0] {
            Some(value) if group.len() == 1 => singles.push(value.clone()),
            Some(value) => {
                flush(&mut singles, &mut out);
                out.extend(run(group.len() as i64, value));
            }
            None => {
                flush(&mut singles, &mut out);
                out.extend([sleb(0), uleb(group.len() as u64)].concat());
            }
        }
    }
    flush(&mut singles, &mut out);
    out
}

/// A column of unsigned numbers.
#[must_use]
pub fn unsigned(values: impl IntoIterator<Item = Option<u64>>) -> Vec<u8> {
    runs(&values.into_iter().map(|value| value.map(uleb)).collect::<Vec<_>>())
}

/// A column of differences: each number less the one before it that is there.
#[must_use]
pub fn differences(values: impl IntoIterator<Item = Option<i64>>) -> Vec<u8> {
    let mut last = 0;
    let mut difference = |value: i64| sleb(value.wrapping_sub(std::mem::replace(&mut last, value)));
    runs(&values.into_iter().map(|value| value.map(&mut difference)).collect::<Vec<_>>())
}

/// A column of texts.
#[must_use]
pub fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Vec<u8> {
    let encode = |value: &str| [uleb(value.len() as u64), value.as_bytes().to_vec()].concat();
    runs(&values.into_iter().map(|value| value.map(encode)).collect::<Vec<_>>())
}

/// A column of booleans: lengths of runs in turn, false first.
#[must_use]
pub fn booleans(values: impl IntoIterator<Item = bool>) -> Vec<u8> {
    let mut lengths = vec![0_u64];
    for value in values {
        if value != (lengths.len() % 2 == 0) {
            lengths.push(0);
        }
        *lengths.last_mut().expect("there is one from the start") += 1;
    }
    if lengths == [0] {
        return Vec::new();
    }
    lengths.into_iter().flat_map(uleb).collect()
}

/// The columns that changes and documents share.
pub(super) fn shared<'a>(
    ops: impl Iterator<Item = (Option<Id>, &'a Key)> + Clone,
    values: impl Iterator<Item = &'a Value> + Clone,
) -> Vec<(u32, Vec<u8>)> {
    let element = |key: &Key| match key {
        Key::Prop(_) => (None, None),
        Key::Head => (None, Some(0)),
        Key::Element(id) => (Some(id.actor), Some(id.counter as i64)),
    };
    let prop = |key: &'a Key| match key {
        Key::Prop(prop) => Some(prop.as_str()),
        Key::Head | Key::Element(_) => None,
    };
    vec![
        (OBJ_ACTOR, unsigned(ops.clone().map(|(obj, _)| obj.map(|id| id.actor)))),
        (OBJ_COUNTER, unsigned(ops.clone().map(|(obj, _)| obj.map(|id| id.counter)))),
        (KEY_ACTOR, unsigned(ops.clone().map(|(_, key)| element(key).0))),
        (KEY_COUNTER, differences(ops.clone().map(|(_, key)| element(key).1))),
        (KEY_STRING, texts(ops.map(|(_, key)| prop(key)))),
        (VALUE_META, unsigned(values.clone().map(|value| Some(value.meta())))),
        (VALUE, values.flat_map(|value| value.bytes.clone()).collect()),
    ]
}

/// A group: how many ids each operation has, then all of them.
pub(super) fn ids<'a>(lists: impl Iterator<Item = &'a Vec<Id>> + Clone, specs: [u32; 3]) -> Vec<(u32, Vec<u8>)> {
    let all = || lists.clone().flatten();
    vec![
        (specs[0], unsigned(lists.clone().map(|list| Some(list.len() as u64)))),
        (specs[1], unsigned(all().map(|id| Some(id.actor)))),
        (specs[2], differences(all().map(|id| Some(id.counter as i64)))),
    ]
}

/// The columns of a change's operations.
pub(super) fn of_ops(ops: &[Op]) -> Vec<(u32, Vec<u8>)> {
    let mut columns = shared(ops.iter().map(|op| (op.obj, &op.key)), ops.iter().map(|op| &op.value));
    columns.push((INSERT, booleans(ops.iter().map(|op| op.insert))));
    columns.push((ACTION, unsigned(ops.iter().map(|op| Some(op.action)))));
    columns.extend(ids(ops.iter().map(|op| &op.pred), [PRED_COUNT, PRED_ACTOR, PRED_COUNTER]));
    if ops.iter().any(|op| op.expand) {
        columns.push((EXPAND, booleans(ops.iter().map(|op| op.expand))));
    }
    columns.push((MARK_NAME, texts(ops.iter().map(|op| op.mark_name.as_deref()))));
    columns
}

/// Sorts columns as they are written; of two for the same place the later one stays, and empty ones are left out.
pub(super) fn in_order(columns: Vec<(u32, Vec<u8>)>) -> Vec<(u32, Vec<u8>)> {
    let place = |spec: u32| spec & !DEFLATE_BIT;
    let mut ordered: Vec<(u32, Vec<u8>)> = Vec::new();
    for column in columns {
        match ordered.iter_mut().find(|(spec, _)| place(*spec) == place(column.0)) {
            Some(held) => *held = column,
            None => ordered.push(column),
        }
    }
    ordered.retain(|(_, bytes)| !bytes.is_empty());
    ordered.sort_by_key(|(spec, _)| place(*spec));
    ordered
}

/// Specifications and lengths of columns.
pub(super) fn put_column_heads(out: &mut Vec<u8>, columns: &[(u32, Vec<u8>)]) {
    out.extend(uleb(columns.len() as u64));
    for (spec, bytes) in columns {
        out.extend([uleb(u64::from(*spec)), uleb(bytes.len() as u64)].concat());
    }
}

/// Specifications and lengths, then the bytes of all columns.
pub(super) fn put_columns(out: &mut Vec<u8>, columns: &[(u32, Vec<u8>)]) {
    put_column_heads(out, columns);
    out.extend(columns.iter().flat_map(|(_, bytes)| bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_shortest_form() {
        assert_eq!(uleb(0), [0]);
        assert_eq!(uleb(127), [127]);
        assert_eq!(uleb(128), [0x80, 1]);
        assert_eq!(uleb(u64::MAX).len(), 10);
        assert_eq!(sleb(63), [63]);
        assert_eq!(sleb(64), [0xc0, 0]);
        assert_eq!(sleb(-1), [0x7f]);
        assert_eq!(sleb(-65), [0xbf, 0x7f]);
        assert_eq!(sleb(1 << 62), [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xc0, 0x00]);
    }

    #[test]
    fn equal_neighbours_are_runs_and_single_values_stand_together() {
        assert!(unsigned([None, None]).is_empty());
        assert_eq!(unsigned([Some(5), Some(5), Some(6), Some(7), None]), [2, 5, 0x7e, 6, 7, 0, 1]);
        assert_eq!(differences([Some(3), Some(4), Some(5)]), [0x7f, 3, 2, 1]);
        assert_eq!(booleans([true, true, false]), [0, 2, 1]);
        assert_eq!(booleans([false]), [1]);
    }
}
