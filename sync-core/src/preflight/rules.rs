//! Which operations make sense where they stand.
//!
//! Automerge trusts what it applies: an operation on something that is not there panics, hangs on to a document that no
//! longer loads, or comes back as another change. So each operation is compared with what it names, which
//! [`named`](super::named) finds, and only what Automerge 0.12 writes itself goes on. The verdict depends on the change
//! and its past alone.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{
    Action, Change, Id, Key, Op, Past, Summary, Value, What,
    made::At,
    named::{Named, Slot, Thing},
    order::{self, Steps},
};
use crate::limits;

/// What is wrong with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It names an operation that does not come before it.
    #[error("it names an operation that does not come before it")]
    Later,
    /// It acts on an object that its past did not make.
    #[error("it acts on an object that its past did not make")]
    Object,
    /// A key of a map on a list or text, an element on a map, or an element of a map.
    #[error("its key is not one of such an object")]
    KeyKind,
    /// It names an element that its object does not have, or the front without inserting.
    #[error("it names an element that its object does not have")]
    Element,
    /// It inserts and has predecessors, or must have some and has none.
    #[error("it has predecessors and must not, or must and has none")]
    PredCount,
    /// Its predecessors are not sorted, or one comes twice.
    #[error("its predecessors are not sorted, or one comes twice")]
    PredOrder,
    /// A predecessor put no value where it acts.
    #[error("a predecessor put no value where it acts")]
    Pred,
    /// A predecessor that the change had overwritten before.
    #[error("a predecessor was overwritten by the same change")]
    Overwritten,
    /// It puts a value beside one that the same change put at the same place.
    #[error("it puts a value beside one of the same change")]
    Beside,
    /// It increments, and no predecessor is a counter.
    #[error("it increments what is no counter")]
    NoCounter,
    /// It changes an element of a text, which may only be deleted.
    #[error("it changes an element of a text")]
    ChangedInText,
    /// A value that its action does not take.
    #[error("its value is not one of such an action")]
    Value,
    /// It inserts and must not, or must and does not.
    #[error("it inserts and must not, or must and does not")]
    Insert,
    /// A mark without its other end beside it, outside of a text, or the name or side of a mark elsewhere.
    #[error("it is not a whole mark, or has what only marks have")]
    Mark,
    /// A mark that ends before it begins.
    #[error("it ends a mark before it begins")]
    MarkOrder,
    /// A count or number above its bound.
    #[error("it is above a bound: {0}")]
    Limit(&'static str),
}

/// A change that may not go on, or a past that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError<E> {
    /// The past cannot be read; nothing is said about the change.
    #[error("the past of the change cannot be read")]
    Past(#[source] E),
    /// An operation does not make sense.
    #[error("operation {counter} of the change: {fault}")]
    Fault {
        /// Its counter.
        counter: u64,
        /// What is wrong with it.
        fault: Fault,
    },
}

impl<E> RuleError<E> {
    /// A fault whose operation the caller will name.
    pub(super) const fn fault(fault: Fault) -> Self {
        Self::Fault { counter: 0, fault }
    }

    fn at(self, counter: u64) -> Self {
        match self {
            Self::Fault { fault, .. } => Self::Fault { counter, fault },
            past @ Self::Past(_) => past,
        }
    }
}

/// Checks all operations of a change against its past, and tells what it made.
///
/// # Errors
/// When an operation does not make sense, or the past cannot be read.
pub fn check<P: Past>(change: &Change<'_>, past: &mut P) -> Result<Summary, RuleError<P::Error>> {
    let mut checker = Checker {
        named: Named::new(change, past),
        change,
        object: (None, What::Map),
        open_mark: None,
        overwritten: Vec::new(),
        put: BTreeMap::new(),
        marks: 0,
        increments: 0,
        steps: Steps::new(),
    };
    let mut preds = change.preds.as_slice();
    let mut counter = change.head.start_op;
    for op in &change.ops {
        let (own, rest) = preds.split_at_checked(op.preds as usize).unwrap_or((preds, &[]));
        preds = rest;
        let at = checker.op(op, own, counter).map_err(|error| error.at(counter))?;
        checker.named.made.push(at);
        counter += 1;
    }
    let last = counter.saturating_sub(1);
    if checker.open_mark.is_some() || !preds.is_empty() {
        return Err(RuleError::Fault { counter: last, fault: Fault::Mark });
    }
    checker.overwritten.sort_unstable();
    if !checker.overwritten.is_sorted_by(|a, b| a < b) {
        return Err(RuleError::Fault { counter: last, fault: Fault::Overwritten });
    }
    Ok(checker.named.finish())
}

/// A mark that the next operation must end.
struct OpenMark {
    id: Id,
    object: Option<Id>,
    after: Option<Id>,
}

struct Checker<'a, 'p, P> {
    named: Named<'a, 'p, P>,
    change: &'a Change<'a>,
    /// The last object acted on, and what it is.
    object: (Option<Id>, What),
    open_mark: Option<OpenMark>,
    /// What was overwritten, which may happen to a value once in a change: it is not seen any more after that.
    overwritten: Vec<Id>,
    /// The last value that the change put into each register which it did not make.
    put: BTreeMap<(Option<Id>, Slot), Id>,
    marks: usize,
    increments: usize,
    steps: Steps,
}

impl<'a, P: Past> Checker<'a, '_, P> {
    #[inline]
    fn op(&mut self, op: &Op<'a>, preds: &[Id], counter: u64) -> Result<At, RuleError<P::Error>> {
        let object = self.object(op.object, counter)?;
        let what = self.action(op, object).map_err(RuleError::fault)?;
        if op.insert {
            if !preds.is_empty() {
                return Err(RuleError::fault(Fault::PredCount));
            }
            let after = self.insert_after(op, object, counter)?;
            if op.action == Action::Mark {
                self.mark(op, after, counter)?;
            } else if self.open_mark.is_some() {
                return Err(RuleError::fault(Fault::Mark));
            }
            let what = what.ok_or_else(|| RuleError::fault(Fault::Insert))?;
            return Ok(At::Inserted { object: op.object, after, chained: false, what });
        }
        if self.open_mark.is_some() {
            return Err(RuleError::fault(Fault::Mark));
        }
        let slot = self.slot(op, object, counter)?;
        self.preds(op, slot, preds, counter)?;
        let place = (op.object, slot);
        if what.is_some() {
            self.put(place, preds, counter).map_err(RuleError::fault)?;
        } else if op.action == Action::Delete && self.put.get(&place).is_some_and(|put| preds.contains(put)) {
            self.put.remove(&place);
        }
        Ok(match (what, slot) {
            (None, _) => At::Nothing,
            (Some(what), Slot::Key(key)) => At::Key { object: op.object, key, what },
            (Some(what), Slot::Element(element)) => At::Element { object: op.object, element, step: false, what },
        })
    }

    /// What kind of object it is.
    #[inline]
    fn object(&mut self, object: Option<Id>, counter: u64) -> Result<What, RuleError<P::Error>> {
        if self.object.0 == object {
            return Ok(self.object.1);
        }
        let what = match object {
            None => What::Map,
            Some(id) => match self.named.thing(id, counter)? {
                Some(Thing { what: what @ (What::Map | What::List | What::Text), .. }) => what,
                _ => return Err(RuleError::fault(Fault::Object)),
            },
        };
        self.object = (object, what);
        Ok(what)
    }

    /// Whether the action goes with the rest of the operation, and what it makes.
    #[inline]
    fn action(&mut self, op: &Op<'a>, object: What) -> Result<Option<What>, Fault> {
        if op.action != Action::Mark && (op.mark.is_some() || op.expand) {
            return Err(Fault::Mark);
        }
        // Automerge offers to put a value over an element of a text, and panics when somebody deletes the lesser of two
        // that were put there; an increment it takes for a value, and panics when that is read.
        if object == What::Text && !op.insert && !matches!(op.action, Action::Delete | Action::Mark) {
            return Err(Fault::ChangedInText);
        }
        let nothing = op.value == Value::Null;
        Ok(Some(match op.action {
            Action::Set => match op.value {
                Value::Counter(first) if too_large(first) => return Err(Fault::Limit("a counter")),
                Value::Counter(_) => What::Counter,
                _ => What::Scalar,
            },
            Action::MakeMap | Action::MakeList | Action::MakeText if !nothing => return Err(Fault::Value),
            Action::MakeMap => What::Map,
            Action::MakeList => What::List,
            Action::MakeText => What::Text,
            Action::Delete if op.insert => return Err(Fault::Insert),
            Action::Delete if !nothing => return Err(Fault::Value),
            Action::Delete => return Ok(None),
            Action::Increment if op.insert => return Err(Fault::Insert),
            Action::Increment => {
                match op.value {
                    Value::Int(by) if too_large(by) => return Err(Fault::Limit("an increment")),
                    Value::Int(_) => {}
                    _ => return Err(Fault::Value),
                }
                self.increments += 1;
                if self.increments > limits::CHANGE_INCREMENTS_MAX {
                    return Err(Fault::Limit("increments"));
                }
                return Ok(None);
            }
            Action::Mark if object != What::Text || !op.insert => return Err(Fault::Mark),
            Action::Mark if op.mark.is_none() && !nothing => return Err(Fault::Value),
            Action::Mark => What::Mark,
        }))
    }

    /// The element that a new one goes behind; none for the front.
    #[inline]
    fn insert_after(&mut self, op: &Op<'a>, object: What, counter: u64) -> Result<Option<Id>, RuleError<P::Error>> {
        if object == What::Map {
            return Err(RuleError::fault(Fault::KeyKind));
        }
        match op.key {
            Key::Map(_) => Err(RuleError::fault(Fault::KeyKind)),
            Key::Head => Ok(None),
            Key::Element(id) => self.element(op.object, id, counter).map(|_| Some(id)),
        }
    }

    /// The register of an operation that inserts nothing.
    #[inline]
    fn slot(&mut self, op: &Op<'a>, object: What, counter: u64) -> Result<Slot, RuleError<P::Error>> {
        if matches!(op.key, Key::Map(_)) != (object == What::Map) {
            return Err(RuleError::fault(Fault::KeyKind));
        }
        if let Key::Element(id) = op.key
            && self.element(op.object, id, counter)? == What::Mark
        {
            return Err(RuleError::fault(Fault::Element));
        }
        self.named.slot(op.key).ok_or_else(|| RuleError::fault(Fault::Element))
    }

    /// What was inserted as this element of this object.
    #[inline]
    fn element(&mut self, object: Option<Id>, id: Id, counter: u64) -> Result<What, RuleError<P::Error>> {
        if id.actor == 0
            && let Some(what) = self.named.made.inserted_last(object, u64::from(id.counter))
        {
            return Ok(what);
        }
        match self.named.thing(id, counter)? {
            Some(thing) if thing.inserted && thing.object == object => Ok(thing.what),
            _ => Err(RuleError::fault(Fault::Element)),
        }
    }

    #[inline]
    fn preds(&mut self, op: &Op<'a>, slot: Slot, preds: &[Id], counter: u64) -> Result<(), RuleError<P::Error>> {
        let first_of_key = matches!(slot, Slot::Key(_)) && !matches!(op.action, Action::Delete | Action::Increment);
        if preds.is_empty() && !first_of_key {
            return Err(RuleError::fault(Fault::PredCount));
        }
        let mut counters = 0;
        let mut before: Option<Id> = None;
        for id in preds {
            if before.is_some_and(|before| self.compare(before, *id) != Ordering::Less) {
                return Err(RuleError::fault(Fault::PredOrder));
            }
            before = Some(*id);
            match self.named.thing(*id, counter)? {
                Some(thing) if thing.object == op.object && thing.slot == slot && thing.what != What::Mark => {
                    counters += usize::from(thing.what == What::Counter);
                }
                _ => return Err(RuleError::fault(Fault::Pred)),
            }
        }
        if op.action == Action::Increment {
            if counters == 0 {
                return Err(RuleError::fault(Fault::NoCounter));
            }
        } else {
            self.overwritten.extend_from_slice(preds);
        }
        Ok(())
    }

    /// A writer sees what it has put and puts the next value over it. So a change leaves one value in a register, and
    /// there are no more of them in conflict than changes.
    fn put(&mut self, place: (Option<Id>, Slot), preds: &[Id], counter: u64) -> Result<(), Fault> {
        let put = Id { counter: counter as u32, actor: 0 };
        let inserted = match place.1 {
            Slot::Element(id) if id.actor == 0 && u64::from(id.counter) >= self.change.head.start_op => Some(id),
            _ => None,
        };
        let before = self.put.insert(place, put).or(inserted);
        if before.is_none_or(|before| preds.contains(&before)) { Ok(()) } else { Err(Fault::Beside) }
    }

    fn compare(&self, a: Id, b: Id) -> Ordering {
        let by_actor = || self.change.actor(a.actor).cmp(&self.change.actor(b.actor));
        a.counter.cmp(&b.counter).then_with(by_actor)
    }

    /// A mark begins, and the very next operation ends it: its end knows its beginning by that only.
    fn mark(&mut self, op: &Op<'a>, after: Option<Id>, counter: u64) -> Result<(), RuleError<P::Error>> {
        if op.mark.is_some() {
            self.marks += 1;
            // One that is not equal to itself: Automerge compares marks, and asserts that they are (in debug builds).
            let is_nan = matches!(op.value, Value::Float(bits) if f64::from_bits(bits).is_nan());
            if self.open_mark.is_some() || is_nan {
                return Err(RuleError::fault(Fault::Mark));
            }
            if self.marks > limits::CHANGE_MARKS_MAX {
                return Err(RuleError::fault(Fault::Limit("marks")));
            }
            self.open_mark = Some(OpenMark { id: Id { counter: counter as u32, actor: 0 }, object: op.object, after });
            return Ok(());
        }
        let begin = self.open_mark.take().filter(|begin| begin.object == op.object);
        let begin = begin.ok_or_else(|| RuleError::fault(Fault::Mark))?;
        let in_order = match (begin.after, after) {
            (_, None) => false,
            (_, Some(end)) if end == begin.id => true,
            (None, Some(_)) => true,
            (Some(begin), Some(end)) => begin != end && order::is_before(&mut self.named, &mut self.steps, begin, end)?,
        };
        if in_order { Ok(()) } else { Err(RuleError::fault(Fault::MarkOrder)) }
    }
}

const fn too_large(counter: i64) -> bool {
    counter.unsigned_abs() > limits::CHANGE_COUNTER_VALUE_MAX.unsigned_abs()
}
