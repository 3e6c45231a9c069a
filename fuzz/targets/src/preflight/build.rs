//! Changes put together from what their past made, without Automerge: most pass the door, and they say things that
//! Automerge's own interface never says.
//!
//! A draw decides who writes, behind what, and each operation. What an operation names is picked among what is there, so
//! that few are refused; the rules are not repeated here.

use sync_core::{
    ids::ChangeHash,
    preflight::{Action, Change, ChangeHead, Id, Key, Made, Op, OpId, Place, Value, What},
};

use super::world::World;
use crate::input::Input;

/// Who writes; one has a short id, and none is in order of time.
const ACTORS: [&[u8]; 4] = [&[5; 16], &[9; 16], &[3; 16], &[7]];
const KEYS: [&str; 4] = ["a", "b", "", "dé"];
const MARKS: [&str; 2] = ["bold", "link"];
/// Most operations that one draw adds: a run of letters.
const RUN_MAX: usize = 4;

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Key(usize),
    Element(Id),
}

/// What an operation of the past, or an earlier one of the same change, made.
#[derive(Debug, Clone, Copy)]
struct Thing {
    id: Id,
    object: Option<Id>,
    slot: Slot,
    inserted: bool,
    what: What,
}

/// A change in the making.
struct Draft<'a> {
    others: Vec<&'a [u8]>,
    own: &'a [u8],
    start_op: u64,
    things: Vec<Thing>,
    ops: Vec<Op<'a>>,
    preds: Vec<Id>,
    /// What the change has overwritten, which it may do once.
    overwritten: Vec<Id>,
}

/// The next change of a world.
pub fn change(input: &mut Input<'_>, world: &World) -> Vec<u8> {
    let own = *input.of(&ACTORS);
    let by_own = || world.held.iter().filter(|held| held.head.actor == own);
    let mut deps: Vec<ChangeHash> = by_own().next_back().map(|held| held.head.hash).into_iter().collect();
    if !world.held.is_empty() {
        for _ in 0..1 + input.below(2) {
            // The last one first: most changes follow what is there.
            let back = input.below(world.held.len());
            deps.push(world.held[world.held.len() - 1 - back].head.hash);
        }
    }
    deps.sort_unstable();
    deps.dedup();
    let past = world.ancestors(&deps).expect("they are held");
    let deps_max_op = world.of(past).map(|held| held.head.max_op()).max().unwrap_or(0);
    let gap = if input.one_in(16) { input.below(20) as u64 } else { 0 };
    let others = ACTORS.into_iter().filter(|actor| *actor != own).collect();
    let start_op = deps_max_op + 1 + gap;
    let mut draft = Draft {
        others,
        own,
        start_op,
        things: Vec::new(),
        ops: Vec::new(),
        preds: Vec::new(),
        overwritten: Vec::new(),
    };
    draft.learn(world, past);
    for _ in 0..1 + input.below(6) {
        draft.draw(input);
    }
    let seq = by_own().count() as u64 + 1;
    let Draft { others, ops, preds, .. } = draft;
    let (time, message) = if input.one_in(8) { (input.number() as i64 >> 12, b"m".to_vec()) } else { (0, Vec::new()) };
    let count = ops.len() as u64;
    let head =
        ChangeHead { hash: ChangeHash([0; 32]), deps, actor: own.to_vec(), seq, start_op, ops: count, time, message };
    Change { head, others, ops, preds, marks: MARKS.to_vec() }.encode()
}

impl<'a> Draft<'a> {
    fn id(&self, id: OpId<'_>) -> Id {
        let other = self.others.iter().position(|actor| *actor == id.actor);
        Id { counter: id.counter as u32, actor: other.map_or(0, |place| place as u16 + 1) }
    }

    /// All that the past made.
    fn learn(&mut self, world: &World, past: u64) {
        for held in world.of(past) {
            for counter in held.head.start_op..=held.head.max_op() {
                if let Some(Made { object, place, what }) = held.summary.find(counter) {
                    let id = self.id(OpId { counter, actor: &held.head.actor });
                    let slot = match place {
                        Place::Key(key) => Slot::Key(KEYS.iter().position(|known| *known == key).unwrap_or(0)),
                        Place::Element(element) => Slot::Element(self.id(element)),
                        Place::Inserted(_) => Slot::Element(id),
                    };
                    let object = object.map(|object| self.id(object));
                    let inserted = matches!(place, Place::Inserted(_));
                    self.things.push(Thing { id, object, slot, inserted, what });
                }
            }
        }
    }

    fn next_id(&self) -> Id {
        Id { counter: (self.start_op + self.ops.len() as u64) as u32, actor: 0 }
    }

    /// One operation more, or a few that belong together.
    fn draw(&mut self, input: &mut Input<'_>) {
        let objects = |thing: &&Thing| matches!(thing.what, What::Map | What::List | What::Text);
        let inner: Vec<(Option<Id>, What)> =
            self.things.iter().filter(objects).map(|thing| (Some(thing.id), thing.what)).collect();
        // The newest ones first.
        let (object, kind) = match input.below(inner.len() + 1) {
            0 => (None, What::Map),
            back => inner[inner.len() - back],
        };
        if kind == What::Map {
            let slot = Slot::Key(input.below(KEYS.len()));
            self.act(input, object, slot, kind);
            return;
        }
        let elements: Vec<(Id, What)> = self
            .things
            .iter()
            .filter(|thing| thing.inserted && thing.object == object)
            .map(|thing| (thing.id, thing.what))
            .collect();
        let behind = |input: &mut Input<'_>| match input.below(elements.len() + 1) {
            0 => Key::Head,
            back => Key::Element(elements[elements.len() - back].0),
        };
        match input.below(4) {
            0 | 1 => {
                let mut after = behind(input);
                for _ in 0..1 + input.below(RUN_MAX) {
                    let (action, value) = some_value(input, kind);
                    let id = self.insert(object, after, action, value, None);
                    after = Key::Element(id);
                }
            }
            2 if kind == What::Text => {
                let (begin, end) = (behind(input), behind(input));
                let value = *input.of(&[Value::Bool(true), Value::Null]);
                let mark = input.below(MARKS.len()) as u16;
                let id = self.insert(object, begin, Action::Mark, value, Some(mark));
                // The same place twice would end the mark before it begins.
                let end = if end == begin { Key::Element(id) } else { end };
                self.insert(object, end, Action::Mark, Value::Null, None);
                let sides = input.below(4);
                for (op, side) in self.ops.iter_mut().rev().zip([1, 2]) {
                    op.expand = sides & side != 0;
                }
            }
            _ => {
                let values: Vec<Id> =
                    elements.iter().filter(|(_, what)| *what != What::Mark).map(|(id, _)| *id).collect();
                if !values.is_empty() {
                    let back = input.below(values.len());
                    self.act(input, object, Slot::Element(values[values.len() - 1 - back]), kind);
                }
            }
        }
    }

    fn insert(&mut self, object: Option<Id>, key: Key<'a>, action: Action, value: Value<'a>, mark: Option<u16>) -> Id {
        let id = self.next_id();
        self.ops.push(Op { object, key, action, insert: true, expand: false, mark, preds: 0, value });
        let what = made(action, value).unwrap_or(What::Scalar);
        self.things.push(Thing { id, object, slot: Slot::Element(id), inserted: true, what });
        id
    }

    /// Puts, deletes or increments what is at a place.
    fn act(&mut self, input: &mut Input<'_>, object: Option<Id>, slot: Slot, kind: What) {
        let free =
            |thing: &&Thing| thing.object == object && thing.slot == slot && !self.overwritten.contains(&thing.id);
        let mut values: Vec<Thing> = self.things.iter().filter(free).copied().collect();
        values.sort_by_key(|thing| (thing.id.counter, self.actor(thing.id)));
        // Most see all that is there; some leave a few out. What the change put itself it sees.
        let leave = if input.one_in(3) { input.byte() } else { 0 };
        let start_op = self.start_op;
        let mut place = 0;
        values.retain(|thing| {
            place += 1;
            let own = thing.id.actor == 0 && u64::from(thing.id.counter) >= start_op;
            own || leave & (1 << (place % 8)) == 0
        });
        let has_counter = values.iter().any(|thing| thing.what == What::Counter);
        let (action, value) = match input.below(6) {
            0 if !values.is_empty() => (Action::Delete, Value::Null),
            1 | 2 if has_counter => (Action::Increment, Value::Int(i64::from(input.byte()) - 100)),
            // What stands in a text may only be deleted; to change it is drawn now and then, for the door to refuse.
            3 if kind == What::Text => (Action::Set, *input.of(&SCALARS)),
            _ if kind == What::Text => (Action::Delete, Value::Null),
            _ => some_value(input, kind),
        };
        if values.is_empty() && matches!(slot, Slot::Element(_)) {
            return;
        }
        let key = match slot {
            Slot::Key(key) => Key::Map(KEYS[key]),
            Slot::Element(id) => Key::Element(id),
        };
        let preds = values.len() as u32;
        let id = self.next_id();
        self.ops.push(Op { object, key, action, insert: false, expand: false, mark: None, preds, value });
        self.preds.extend(values.iter().map(|thing| thing.id));
        if action != Action::Increment {
            self.overwritten.extend(values.iter().map(|thing| thing.id));
        }
        if let Some(what) = made(action, value) {
            self.things.push(Thing { id, object, slot, inserted: false, what });
        }
    }

    fn actor(&self, id: Id) -> &'a [u8] {
        match id.actor {
            0 => self.own,
            place => self.others[usize::from(place) - 1],
        }
    }
}

const SCALARS: [Value<'_>; 8] = [
    Value::Str("a"),
    Value::Str("🦀é\u{301}"),
    Value::Counter(5),
    Value::Int(-3),
    Value::Null,
    Value::Bytes(b"bytes"),
    Value::Float(f64::NAN.to_bits()),
    Value::Str(""),
];

fn some_value(input: &mut Input<'_>, kind: What) -> (Action, Value<'static>) {
    let objects = [Action::MakeText, Action::MakeList, Action::MakeMap];
    // Letters are most of a text.
    match input.below(if kind == What::Text { 16 } else { 6 }) {
        0..3 => (*input.of(&objects), Value::Null),
        _ => (Action::Set, *input.of(&SCALARS)),
    }
}

/// What an operation leaves behind.
const fn made(action: Action, value: Value<'_>) -> Option<What> {
    Some(match action {
        Action::MakeMap => What::Map,
        Action::MakeList => What::List,
        Action::MakeText => What::Text,
        Action::Mark => What::Mark,
        Action::Set if matches!(value, Value::Counter(_)) => What::Counter,
        Action::Set => What::Scalar,
        Action::Delete | Action::Increment => return None,
    })
}
