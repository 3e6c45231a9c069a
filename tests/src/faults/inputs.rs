//! The bytes of each case: honest changes that any replica may hold, and the faulty ones that come after them. Everything
//! is built by `chunk`, so no call of Automerge is between us and the bytes.

use crate::chunk::{
    CHANGE, Chunk, DEFLATED, Document, DocumentChange, DocumentOp, Key, Op, Value, action, chunk, column,
    deflated_zeros, document, id,
};

/// Actor of the honest changes. As an index of a faulty change's ids it is 1, where the change names it.
pub const HONEST: [u8; 16] = [0xaa; 16];
/// Actor of the faulty changes.
pub const FAULTY: [u8; 16] = [0xbb; 16];
/// Somebody else.
pub const OTHER: [u8; 16] = [0xcc; 16];

/// What a case needs.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// Changes that are held before.
    pub honest: Vec<Vec<u8>>,
    /// What comes then: among it at least one that must be refused.
    pub faulty: Vec<Vec<u8>>,
}

/// Counter of the list in the first honest change.
pub const LIST: u64 = 2;
/// Counter of the list's only element.
pub const ELEMENT: u64 = 3;
/// Counter of the last operation of the first honest change.
pub const LAST: u64 = 4;

/// The first honest change: a scalar, a list with one element, a text.
#[must_use]
pub fn base() -> Chunk {
    Chunk::new(&HONEST, 1, 1, &[]).with([
        Op::put("a", Value::unsigned(1)),
        Op::root("list", action::MAKE_LIST, Value::default()),
        Op::insert(id(0, LIST), Key::Head, Value::text("x")),
        Op::root("text", action::MAKE_TEXT, Value::default()),
    ])
}

/// The start of a faulty change that would be in its place: number 1 of its actor, behind the first honest change.
#[must_use]
pub fn next() -> Chunk {
    Chunk { other_actors: vec![HONEST.to_vec()], ..alone() }
}

/// The same, which names no other actor.
#[must_use]
pub fn alone() -> Chunk {
    Chunk::new(&FAULTY, 1, LAST + 1, &[base().hash()])
}

/// A harmless operation.
#[must_use]
pub fn put() -> Op {
    Op::put("b", Value::unsigned(2))
}

/// Behind the first honest change.
fn after_base(faulty: impl IntoIterator<Item = Vec<u8>>) -> Input {
    Input { honest: vec![base().bytes()], faulty: faulty.into_iter().collect() }
}

fn one(faulty: &Chunk) -> Input {
    after_base([faulty.bytes()])
}

/// A run of this many of one encoded value.
fn run(exponent: u32, value: &[u8]) -> Vec<u8> {
    column::run(1 << exponent, value)
}

pub(super) fn message_inflates() -> Input {
    after_base([alone().with([put()]).deflated_bomb(64 << 20)])
}

pub(super) fn zeros_inflate() -> Input {
    after_base([chunk(DEFLATED, &deflated_zeros(1 << 29), Some([0; 4]))])
}

pub(super) fn column_inflates() -> Input {
    let mut document = document_of_three();
    document.change_columns.insert(document::CHANGE_MESSAGE | column::DEFLATE_BIT, deflated_zeros(1 << 29));
    after_base([document.bytes()])
}

/// Operations by run lengths alone: so many puts of null at one key.
fn many_ops(exponent: u32) -> Chunk {
    alone()
        .with_column(column::KEY_STRING, run(exponent, &[1, b'k']))
        .with_column(column::INSERT, column::uleb(1 << exponent))
        .with_column(column::ACTION, run(exponent, &[1]))
        .with_column(column::VALUE_META, run(exponent, &[0]))
        .with_column(column::PRED_COUNT, run(exponent, &[0]))
}

pub(super) fn ops_without_end() -> Input {
    one(&many_ops(62))
}

pub(super) fn four_million_ops() -> Input {
    one(&many_ops(22))
}

pub(super) fn preds_without_end() -> Input {
    let faulty = next()
        .with([put()])
        .with_column(column::PRED_COUNT, column::literal(&[column::uleb(1 << 62)]))
        .with_column(column::PRED_ACTOR, run(62, &[1]))
        .with_column(column::PRED_COUNTER, run(62, &[1]));
    one(&faulty)
}

/// Number 1 of the faulty actor, in order.
fn first() -> Chunk {
    alone().with([put()])
}

pub(super) fn seq_gap() -> Input {
    let third = Chunk::new(&FAULTY, 3, LAST + 2, &[first().hash()]).with([put()]);
    Input { honest: vec![base().bytes(), first().bytes()], faulty: vec![third.bytes()] }
}

/// Number 2 of the faulty actor, which does not depend on number 1.
fn second_beside_first() -> Chunk {
    Chunk::new(&FAULTY, 2, LAST + 2, &[base().hash()]).with([Op::put("c", Value::unsigned(3))])
}

pub(super) fn second_behind_first() -> Input {
    after_base([first().bytes(), second_beside_first().bytes()])
}

pub(super) fn second_before_first() -> Input {
    after_base([second_beside_first().bytes(), first().bytes()])
}

pub(super) fn missing_object() -> Input {
    one(&next().with([Op::put_in(id(1, 77), Key::Prop("k".into()), Value::unsigned(1))]))
}

pub(super) fn no_object() -> Input {
    one(&next().with([Op::put_in(id(1, 1), Key::Prop("k".into()), Value::unsigned(1))]))
}

pub(super) fn actor_index_too_high() -> Input {
    one(&alone().with([Op::put_in(id(9, 1), Key::Prop("k".into()), Value::unsigned(1))]))
}

pub(super) fn wide_counter() -> Input {
    one(&next().with([Op::put_in(id(1, 1 << 32), Key::Prop("k".into()), Value::unsigned(1))]))
}

pub(super) fn wide_actor_index() -> Input {
    one(&next().with([Op::put_in(id(1 << 32, 1), Key::Prop("k".into()), Value::unsigned(1))]))
}

fn map_key_on_list(key: &str) -> Op {
    Op::put_in(id(1, LIST), Key::Prop(key.into()), Value::unsigned(1))
}

pub(super) fn map_key() -> Input {
    one(&next().with([map_key_on_list("k")]))
}

pub(super) fn two_map_keys() -> Input {
    one(&next().with([map_key_on_list("k"), map_key_on_list("l")]))
}

fn set_missing_element(counter: u64) -> Op {
    Op::put_in(id(1, LIST), Key::Element(id(1, counter)), Value::unsigned(1))
}

pub(super) fn missing_element_set() -> Input {
    one(&next().with([set_missing_element(77)]))
}

/// A counter in the text, and one more.
pub(super) fn increment_in_text() -> Input {
    let (text, counter) = (id(1, LAST), id(0, LAST + 1));
    let increment =
        Op { action: action::INCREMENT, ..Op::put_in(text, Key::Element(counter), Value::signed(1)).over([counter]) };
    one(&next().with([Op::insert(text, Key::Head, Value::counter(1)), increment]))
}

/// A letter, two that each put another one over it, not knowing of each other, and the first of all, who has seen only the
/// lesser of the two and deletes it. Automerge's own `put` and `delete` make just these.
pub(super) fn lesser_of_two_in_text_deleted() -> Input {
    let (own_text, text, first) = (id(0, LAST), id(1, LAST), LAST + 1);
    let letter =
        Chunk::new(&HONEST, 2, first, &[base().hash()]).with([Op::insert(own_text, Key::Head, Value::text("a"))]);
    let put_by = |actor| {
        let over = Op::put_in(text, Key::Element(id(1, first)), Value::text("b")).over([id(1, first)]);
        let chunk = Chunk::new(actor, 1, first + 1, &[letter.hash()]).with([over]);
        Chunk { other_actors: vec![HONEST.to_vec()], ..chunk }
    };
    let (lesser, greater) = (put_by(&FAULTY), put_by(&OTHER));
    let deletion = Op { action: action::DELETE, ..Op::put_in(own_text, Key::Element(id(0, first)), Value::default()) };
    let deleting = Chunk::new(&HONEST, 3, first + 2, &[lesser.hash()]).with([deletion.over([id(1, first + 1)])]);
    let deleting = Chunk { other_actors: vec![FAULTY.to_vec()], ..deleting };
    Input {
        honest: vec![base().bytes(), letter.bytes()],
        faulty: vec![lesser.bytes(), greater.bytes(), deleting.bytes()],
    }
}

pub(super) fn two_missing_elements_set() -> Input {
    one(&next().with([set_missing_element(77), set_missing_element(78)]))
}

pub(super) fn missing_element_insert() -> Input {
    one(&next().with([Op::insert(id(1, LIST), Key::Element(id(1, 77)), Value::unsigned(1))]))
}

pub(super) fn author_at_seq_2() -> Input {
    let second = Chunk::new(&FAULTY, 2, LAST + 2, &[first().hash()]).with([put().over([id(0, LAST + 1)])]);
    // Footer 1, an author of two bytes.
    let faulty = Chunk { extra: vec![1, 2, 7, 7], ..second };
    Input { honest: vec![base().bytes(), first().bytes()], faulty: vec![faulty.bytes()] }
}

pub(super) fn unknown_actor() -> Input {
    one(&Chunk { seq: 2, ..alone().with([put()]) })
}

pub(super) fn unknown_other_actor() -> Input {
    one(&Chunk { other_actors: vec![OTHER.to_vec()], ..alone().with([put()]) })
}

pub(super) fn bad_action() -> Input {
    one(&alone().with([Op::root("k", 99, Value::default())]))
}

/// A sync message: version 1, which can carry a Bloom filter, or 2, which can carry a document.
#[must_use]
pub fn sync_message(version: u8, bloom: Option<&[u8]>, chunk: Option<&[u8]>) -> Vec<u8> {
    // No heads, no needs.
    let mut bytes = vec![0x41 + version, 0, 0, u8::from(bloom.is_some())];
    if let Some(bloom) = bloom {
        bytes.push(0);
        column::put_bytes(&mut bytes, bloom);
    }
    bytes.push(u8::from(chunk.is_some()));
    if let Some(chunk) = chunk {
        column::put_bytes(&mut bytes, chunk);
    }
    bytes
}

fn bloom(entries: u64, bits_each: u64, probes: u64, bits: &[u8]) -> Input {
    let filter = [column::uleb(entries), column::uleb(bits_each), column::uleb(probes), bits.to_vec()].concat();
    let mut honest = vec![base()];
    for number in 1..50 {
        let last = &honest[number - 1];
        let (seq, start_op) = (last.seq + 1, last.max_op() + 1);
        honest.push(
            Chunk::new(&HONEST, seq, start_op, &[last.hash()]).with([Op::put(&format!("k{number}"), Value::default())]),
        );
    }
    let honest = honest.iter().map(Chunk::bytes).collect();
    Input { honest, faulty: vec![sync_message(1, Some(&filter), None)] }
}

pub(super) fn bloom_without_bits() -> Input {
    bloom(1, 0, 7, &[])
}

pub(super) fn bloom_of_all_probes() -> Input {
    bloom(1, 8, u64::from(u32::MAX), &[0xff])
}

pub(super) fn bloom_of_many_probes() -> Input {
    bloom(1, 8, 200_000_000, &[0xff])
}

/// A document of three changes, one after the other, each with one put.
#[must_use]
pub fn document_of_three() -> Document {
    let keys = ["a", "b", "c"];
    let mut last: Option<Chunk> = None;
    for (number, key) in (1..).zip(keys) {
        let deps: Vec<_> = last.iter().map(Chunk::hash).collect();
        last = Some(Chunk::new(&OTHER, number, number, &deps).with([Op::put(key, Value::unsigned(number))]));
    }
    let row = |number: i64| DocumentChange {
        seq: number,
        max_op: number,
        deps: (1..number).last().map(|before| before - 1).into_iter().collect(),
        ..DocumentChange::default()
    };
    let op = |number: u64| DocumentOp {
        id: id(0, number),
        obj: None,
        key: Key::Prop(keys[number as usize - 1].to_owned()),
        insert: false,
        action: action::SET,
        value: Value::unsigned(number),
        succ: Vec::new(),
        expand: false,
        mark_name: None,
    };
    Document {
        actors: vec![OTHER.to_vec()],
        heads: last.iter().map(Chunk::hash).collect(),
        head_rows: vec![2],
        changes: (1..=3).map(row).collect(),
        ops: (1..=3).map(op).collect(),
        ..Document::default()
    }
}

fn document(damage: impl FnOnce(&mut Document)) -> Input {
    let mut document = document_of_three();
    damage(&mut document);
    after_base([document.bytes()])
}

pub(super) fn dependency_beyond() -> Input {
    document(|document| document.changes[2].deps = vec![1000])
}

pub(super) fn dependency_forward() -> Input {
    document(|document| {
        // Else its counters would be out of order, which is looked at first.
        document.actors.push([0xdd; 16].to_vec());
        document.ops[2].id = id(1, 3);
        document.changes[1] =
            DocumentChange { actor: 1, seq: 1, max_op: 3, deps: vec![2], ..DocumentChange::default() };
        document.changes[2] = DocumentChange { seq: 2, max_op: 2, deps: vec![0], ..DocumentChange::default() };
    })
}

pub(super) fn too_many_dependency_counts() -> Input {
    document(|document| {
        document.change_columns.insert(document::CHANGE_DEPS_COUNT, column::run(9, &[0]));
    })
}

pub(super) fn cut_column() -> Input {
    document(|document| {
        document.change_columns.insert(document::CHANGE_ACTOR, column::run(3, &[]));
    })
}

pub(super) fn actors_without_end() -> Input {
    document(|document| {
        document.change_columns.insert(document::CHANGE_ACTOR, run(60, &[0]));
    })
}

pub(super) fn negative_seq() -> Input {
    document(|document| document.changes[2].seq = -3)
}

pub(super) fn huge_max_op() -> Input {
    document(|document| document.changes[2].max_op = 1 << 40)
}

/// A second number 1 of the faulty actor.
fn sibling() -> Chunk {
    alone().with([Op::put("b", Value::unsigned(9))])
}

/// A change of somebody else behind the first honest one.
fn good() -> Chunk {
    Chunk::new(&OTHER, 1, LAST + 1, &[base().hash()]).with([Op::put("good", Value::unsigned(1))])
}

pub(super) fn sibling_in_a_batch() -> Input {
    Input { honest: vec![base().bytes(), first().bytes()], faulty: vec![sibling().bytes(), good().bytes()] }
}

pub(super) fn siblings() -> Input {
    after_base([first().bytes(), sibling().bytes()])
}

pub(super) fn dependant_of_sibling() -> Input {
    let dependant = Chunk::new(&OTHER, 1, LAST + 2, &[sibling().hash()]).with([Op::put("d", Value::unsigned(1))]);
    Input { honest: vec![base().bytes(), first().bytes()], faulty: vec![dependant.bytes(), sibling().bytes()] }
}

/// Numbers 3 and 2 of an honest actor, the later one first, and a forged number 1 between them.
pub(super) fn forged_old_seq() -> Input {
    let second = Chunk::new(&FAULTY, 2, LAST + 2, &[first().hash()]).with([Op::put("c", Value::unsigned(3))]);
    let third = Chunk::new(&FAULTY, 3, LAST + 3, &[second.hash()]).with([Op::put("d", Value::unsigned(4))]);
    let faulty = vec![third.bytes(), sibling().bytes(), second.bytes()];
    Input { honest: vec![base().bytes(), first().bytes()], faulty }
}

fn at_counter(start_op: u64, ops: usize) -> Chunk {
    let keys = ["y", "z"];
    let ops = keys[..ops].iter().map(|key| Op::put(key, Value::unsigned(1)));
    Chunk { start_op, ..alone().with(ops) }
}

pub(super) fn last_counter() -> Input {
    after_base([at_counter(u64::from(u32::MAX), 1).bytes(), good().bytes()])
}

pub(super) fn beyond_last_counter() -> Input {
    one(&at_counter(u64::from(u32::MAX), 2))
}

pub(super) fn counter_too_large() -> Input {
    one(&at_counter(1 << 32, 1))
}

pub(super) fn counter_too_low() -> Input {
    one(&at_counter(2, 1))
}

pub(super) fn counter_used_twice() -> Input {
    let second = Chunk::new(&FAULTY, 2, LAST + 1, &[first().hash()]).with([Op::put("c", Value::unsigned(3))]);
    Input { honest: vec![base().bytes(), first().bytes()], faulty: vec![second.bytes()] }
}

pub(super) fn wrong_checksum() -> Input {
    after_base([Chunk { checksum: Some([0; 4]), ..first() }.bytes(), good().bytes()])
}

pub(super) fn other_form() -> Input {
    after_base([first().deflated(&[])])
}

pub(super) fn other_form_with_garbage() -> Input {
    after_base([first().deflated(b"garbage")])
}

pub(super) fn missing_pred() -> Input {
    one(&next().with([put().over([id(1, 77)])]))
}

pub(super) fn unused_actor() -> Input {
    one(&next().with([put()]))
}

pub(super) fn unknown_column() -> Input {
    one(&alone().with([put()]).with_column(0xb2, column::literal(&[vec![5]])))
}

pub(super) fn literal_for_run() -> Input {
    let ops = [put(), Op::put("c", Value::unsigned(3))];
    one(&alone().with(ops).with_column(column::ACTION, column::literal(&[vec![1], vec![1]])))
}

/// Damaged changes: a change with nothing wrong in it, each byte changed in a few ways, and the checksum right again.
/// Some of them are still right.
#[must_use]
pub fn mutants() -> Vec<Vec<u8>> {
    let healthy = next().with([
        Op::put("a", Value::unsigned(7)).over([id(1, 1)]),
        Op::insert(id(1, LIST), Key::Element(id(1, ELEMENT)), Value::text("y")),
    ]);
    let content = healthy.content();
    let mutant = |index: usize, flip: u8| {
        let mut content = content.clone();
        content[index] ^= flip;
        chunk(CHANGE, &content, None)
    };
    (0..content.len()).flat_map(|index| [1, 2, 0x40].map(|flip| mutant(index, flip))).collect()
}

pub(super) fn nothing_faulty() -> Input {
    after_base([])
}
