//! The door against Automerge itself: what Automerge writes passes, and what passes does Automerge no harm.
//!
//! `PREFLIGHT_MUTATIONS` sets how many changes are mutated, `PREFLIGHT_SEED` where the numbers begin; a failure prints
//! the seed of its case. What was found once stays in `found`.

mod history;
mod mutate;
mod world;

use automerge::{Change as AutomergeChange, legacy};
use proptest::prelude::*;
use sync_core::preflight::{Action, Change, Id, Key, Op, Value};

use self::{
    history::{Habit, Rng},
    world::{Closed, World},
};

fn op_id(change: &Change<'_>, id: Id) -> legacy::OpId {
    let actor = change.actor(id.actor).expect("is in the table");
    legacy::OpId::new(u64::from(id.counter), &actor.into())
}

fn value(value: Value<'_>) -> automerge::ScalarValue {
    use automerge::ScalarValue;
    match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::Boolean(value),
        Value::Uint(value) => ScalarValue::Uint(value),
        Value::Int(value) => ScalarValue::Int(value),
        Value::Float(bits) => ScalarValue::F64(f64::from_bits(bits)),
        Value::Str(value) => ScalarValue::Str(value.into()),
        Value::Bytes(value) => ScalarValue::Bytes(value.to_vec()),
        Value::Counter(value) => ScalarValue::counter(value),
        Value::Timestamp(value) => ScalarValue::Timestamp(value),
    }
}

/// An operation as Automerge would describe it.
fn described(change: &Change<'_>, op: &Op<'_>, preds: &[Id]) -> String {
    let action = match op.action {
        Action::MakeMap => legacy::OpType::Make(automerge::ObjType::Map),
        Action::MakeList => legacy::OpType::Make(automerge::ObjType::List),
        Action::MakeText => legacy::OpType::Make(automerge::ObjType::Text),
        Action::Set => legacy::OpType::Put(value(op.value)),
        Action::Delete => legacy::OpType::Delete,
        Action::Increment => match op.value {
            Value::Int(by) => legacy::OpType::Increment(by),
            other => panic!("increment by {other:?}"),
        },
        Action::Mark => match op.mark {
            Some(place) => legacy::OpType::MarkBegin(legacy::MarkData {
                name: change.marks[usize::from(place)].into(),
                value: value(op.value),
                expand: op.expand,
            }),
            None => legacy::OpType::MarkEnd(op.expand),
        },
    };
    let obj = op.object.map_or(legacy::ObjectId::Root, |id| legacy::ObjectId::Id(op_id(change, id)));
    let key = match op.key {
        Key::Map(key) => legacy::Key::Map(key.into()),
        Key::Head => legacy::Key::head(),
        Key::Element(id) => legacy::Key::Seq(legacy::ElementId::Id(op_id(change, id))),
    };
    let pred = preds.iter().map(|id| op_id(change, *id)).collect();
    format!("{:?}", legacy::Op { action, obj, key, pred, insert: op.insert })
}

fn assert_read_alike(theirs: &AutomergeChange) {
    let ours = Change::read(theirs.raw_bytes()).expect("automerge wrote it");
    let expanded = theirs.decode();
    assert_eq!(ours.head.hash.0, theirs.hash().0);
    assert_eq!(ours.head.actor, theirs.actor_id().to_bytes());
    assert_eq!((ours.head.seq, ours.head.start_op), (theirs.seq(), theirs.start_op().get()));
    assert_eq!((ours.head.ops, ours.head.max_op()), (theirs.len() as u64, theirs.max_op()));
    assert_eq!(
        (ours.head.time, ours.head.message.as_slice()),
        (theirs.timestamp(), theirs.message().unwrap_or_default().as_bytes())
    );
    assert!(ours.head.deps.iter().map(|hash| hash.0).eq(theirs.deps().iter().map(|hash| hash.0)));
    assert!(ours.others.iter().copied().eq(theirs.other_actor_ids().iter().map(automerge::ActorId::to_bytes)));
    let mut preds = ours.preds.as_slice();
    assert_eq!(ours.ops.len(), expanded.operations.len());
    for (op, expected) in ours.ops.iter().zip(&expanded.operations) {
        let (own, rest) = preds.split_at(op.preds as usize);
        preds = rest;
        assert_eq!(described(&ours, op, own), format!("{expected:?}"));
    }
}

fn world(seed: u64, changes: usize) -> World {
    let mut world = World::new(Habit::of(seed));
    for change in history::random(seed, changes) {
        assert_read_alike(&change);
        if let Err(closed) = world.let_in(change.raw_bytes()) {
            panic!("seed {seed}: {closed:?}: {:?}\nbehind {:#?}", change.decode(), world.described());
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_automerge_writes_passes(seed: u64, changes in 1_usize..24) {
        world(seed, changes);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let chunk = mutate::chunk(&bytes);
        if let Ok(change) = Change::read(&chunk) {
            prop_assert_eq!(change.encode(), chunk);
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// How cases ended.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    same: u64,
    unreadable: u64,
    place: u64,
    rule: u64,
    passed: u64,
}

/// Mutates changes of random histories, and verifies the property for those that pass.
fn mutations(from: u64, mutant: impl Fn(&mut Rng, &World, &[u8]) -> Option<Vec<u8>>) -> Tally {
    const CASES_A_HISTORY: u64 = 40;
    let cases = number("PREFLIGHT_MUTATIONS", 400);
    let seed = number("PREFLIGHT_SEED", from);
    let mut tally = Tally::default();
    for round in 0..cases.div_ceil(CASES_A_HISTORY) {
        let seed = seed.wrapping_add(round);
        let world = world(seed, 4 + (seed % 7) as usize);
        let rng = &mut Rng(!seed);
        for _ in 0..CASES_A_HISTORY {
            let case = rng.clone();
            let place = rng.below(world.held.len());
            tally.cases += 1;
            let original = &world.held[place].bytes;
            let Some(bytes) = mutant(rng, &world, original).filter(|bytes| bytes != original) else {
                tally.same += 1;
                continue;
            };
            let mut mutated = world.without(place);
            match mutated.let_in(&bytes) {
                Err(Closed::Unreadable(_)) => tally.unreadable += 1,
                Err(Closed::Place(_)) => tally.place += 1,
                Err(Closed::Rule(_)) => tally.rule += 1,
                Ok(()) => {
                    tally.passed += 1;
                    if let Err(error) = mutated.verify(rng) {
                        let decoded = |bytes: &[u8]| AutomergeChange::from_bytes(bytes.to_vec()).map(|c| c.decode());
                        panic!(
                            "seed {seed}, case {:#x}, change {place}: {error}\nwas {:?}\nis {:?}\namong {:#?}",
                            case.0,
                            decoded(original),
                            decoded(&bytes),
                            mutated.described(),
                        );
                    }
                }
            }
        }
    }
    eprintln!("{tally:?}");
    tally
}

#[test]
fn mutated_bytes_do_no_harm() {
    let tally = mutations(1, |rng, _, bytes| Some(mutate::bytes(rng, bytes)));
    assert!(tally.passed > 0 && tally.unreadable > 0, "{tally:?}");
}

#[test]
fn mutated_operations_do_no_harm() {
    let tally = mutations(1_000_000, mutate::operations);
    assert!(tally.passed > 0 && tally.rule > 0, "{tally:?}");
}

#[test]
fn histories_of_automerge_do_no_harm() {
    for seed in 0..number("PREFLIGHT_MUTATIONS", 400).div_ceil(20) {
        let result = world(seed, 12).verify(&mut Rng(seed));
        assert_eq!(result, Ok(()), "seed {seed}");
    }
}
