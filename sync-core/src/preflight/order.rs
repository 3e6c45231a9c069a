//! Which of two elements of a list or text comes first, from what they were inserted behind.
//!
//! Automerge refuses to load a document in which a mark ends before it begins, so the door must know. The order is that
//! of RGA: below an element lie those that were inserted behind it, the one with the greatest id first, each followed by
//! those below itself. Elements typed in a row are one step here, and steps are counted.

use std::cmp::Ordering;

use super::{
    Fault, Id, Past, RuleError,
    made::At,
    named::{Known, Named},
};
use crate::limits;

/// Steps that are left.
#[derive(Debug)]
pub(super) struct Steps(usize);

impl Steps {
    pub(super) const fn new() -> Self {
        Self(limits::CHANGE_MARK_STEPS_MAX)
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.0 = self.0.checked_sub(1).ok_or(Fault::Limit("steps between the ends of marks"))?;
        Ok(())
    }
}

/// The stretch of elements, each behind the one before it, in which an element lies: its first, and what that is behind.
fn stretch(known: Known, id: Id) -> Option<(Id, Option<Id>)> {
    match known.at {
        At::Inserted { after, chained: true, .. } => Some((Id { counter: known.first as u32, ..id }, after)),
        At::Inserted { after, .. } => Some((id, after)),
        _ => None,
    }
}

/// Whether element `first` comes before element `second` of the same object, which are not one.
pub(super) fn is_before<P: Past>(
    named: &mut Named<'_, '_, P>,
    steps: &mut Steps,
    first: Id,
    second: Id,
) -> Result<bool, RuleError<P::Error>> {
    let lost = || RuleError::fault(Fault::Element);
    // Where each is on its way up, and by which child it came there.
    let mut left = (Some(first), None);
    let mut right = (Some(second), None);
    while left.0 != right.0 {
        steps.step().map_err(RuleError::fault)?;
        let (Some(a), Some(b)) = (left.0, right.0) else {
            // One is at the front of all; the other climbs on.
            let side = if left.0.is_some() { &mut left } else { &mut right };
            let id = side.0.ok_or_else(lost)?;
            let (top, after) = named.known(id)?.and_then(|known| stretch(known, id)).ok_or_else(lost)?;
            *side = (after, Some(top));
            continue;
        };
        let (a_top, a_after) = named.known(a)?.and_then(|known| stretch(known, a)).ok_or_else(lost)?;
        let (b_top, b_after) = named.known(b)?.and_then(|known| stretch(known, b)).ok_or_else(lost)?;
        if a_top == b_top {
            // In one stretch the later one lies below the earlier.
            return Ok(if a.counter < b.counter {
                left.1.is_none_or(|child| wins(named, child, next(a)))
            } else {
                right.1.is_some_and(|child| !wins(named, child, next(b)))
            });
        }
        // Nothing below the greater top lies above the other element, so nothing is missed.
        if compare(named, a_top, b_top) == Ordering::Greater {
            left = (a_after, Some(a_top));
        } else {
            right = (b_after, Some(b_top));
        }
    }
    Ok(match (left.1, right.1) {
        (None, _) => true,
        (_, None) => false,
        (Some(a), Some(b)) => wins(named, a, b),
    })
}

const fn next(id: Id) -> Id {
    Id { counter: id.counter + 1, ..id }
}

/// Whether `a` comes before `b` among elements behind one and the same.
fn wins<P: Past>(named: &Named<'_, '_, P>, a: Id, b: Id) -> bool {
    compare(named, a, b) == Ordering::Greater
}

fn compare<P: Past>(named: &Named<'_, '_, P>, a: Id, b: Id) -> Ordering {
    a.counter.cmp(&b.counter).then_with(|| named.actor(a.actor).cmp(named.actor(b.actor)))
}
