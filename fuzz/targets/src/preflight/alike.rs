//! One change as our reader and as Automerge's own decoder tell it.

use automerge::{ActorId, Change as AutomergeChange, ObjType, ScalarValue, legacy};
use sync_core::preflight::{Action, Change, Id, Key, Op, Value};

fn op_id(change: &Change<'_>, id: Id) -> legacy::OpId {
    let actor = change.actor(id.actor).expect("is in the table");
    legacy::OpId::new(u64::from(id.counter), &actor.into())
}

fn scalar(value: Value<'_>) -> ScalarValue {
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

/// An operation as Automerge would tell it.
fn told(change: &Change<'_>, op: &Op<'_>, preds: &[Id]) -> legacy::Op {
    let action = match op.action {
        Action::MakeMap => legacy::OpType::Make(ObjType::Map),
        Action::MakeList => legacy::OpType::Make(ObjType::List),
        Action::MakeText => legacy::OpType::Make(ObjType::Text),
        Action::Set => legacy::OpType::Put(scalar(op.value)),
        Action::Delete => legacy::OpType::Delete,
        Action::Increment => match op.value {
            Value::Int(by) => legacy::OpType::Increment(by),
            other => panic!("increment by {other:?}"),
        },
        Action::Mark => match op.mark {
            Some(place) => legacy::OpType::MarkBegin(legacy::MarkData {
                name: change.marks[usize::from(place)].into(),
                value: scalar(op.value),
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
    legacy::Op { action, obj, key, pred, insert: op.insert }
}

/// Both read the same operations, actors, dependencies and counters.
///
/// # Panics
/// When they do not.
pub fn assert_read_alike(theirs: &AutomergeChange) {
    let ours = Change::read(theirs.raw_bytes()).expect("is well formed");
    assert_eq!(ours.head.hash.0, theirs.hash().0);
    assert_eq!(ours.head.actor, theirs.actor_id().to_bytes());
    assert_eq!((ours.head.seq, ours.head.start_op), (theirs.seq(), theirs.start_op().get()));
    assert_eq!((ours.head.ops, ours.head.max_op()), (theirs.len() as u64, theirs.max_op()));
    assert_eq!(
        (ours.head.time, ours.head.message.as_slice()),
        (theirs.timestamp(), theirs.message().unwrap_or_default().as_bytes())
    );
    assert!(ours.head.deps.iter().map(|hash| hash.0).eq(theirs.deps().iter().map(|hash| hash.0)));
    assert!(ours.others.iter().copied().eq(theirs.other_actor_ids().iter().map(ActorId::to_bytes)));
    let mut preds = ours.preds.as_slice();
    let operations = theirs.decode().operations;
    assert_eq!(ours.ops.len(), operations.len());
    for (op, theirs) in ours.ops.iter().zip(&operations) {
        let (own, rest) = preds.split_at(op.preds as usize);
        preds = rest;
        let told = told(&ours, op, own);
        // A number that is none is not equal to itself.
        assert!(told == *theirs || format!("{told:?}") == format!("{theirs:?}"), "{told:?} and {theirs:?}");
    }
}
