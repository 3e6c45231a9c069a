//! Finds what an operation names: in its own change, or in the past that the caller holds.
//!
//! [`Past`] is all that a check needs of what came before. Runs that were found are remembered, so that a change which
//! deletes a long text asks once and not once a character. What may be named where is for [`rules`](super::rules).

use std::collections::BTreeMap;

use super::{
    Change, Fault, Id, Key, RuleError, Run, What,
    made::{At, Builder},
};

/// The name of an operation: its counter and the bytes of its actor. They sort as Automerge sorts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpId<'a> {
    /// Its counter.
    pub counter: u64,
    /// Its actor.
    pub actor: &'a [u8],
}

/// The past of a change: what its ancestors made.
pub trait Past {
    /// Why the past cannot be read.
    type Error;

    /// What the operation `id` made, from the [`Summary`](super::Summary) of the change that holds it; nothing if no
    /// ancestor does, or if it made nothing.
    ///
    /// Ancestors are the changes that a change depends on, and those that these depend on: Automerge names nothing
    /// else. Where the caller knows a larger past and always applies it first, that will do.
    ///
    /// # Errors
    /// When it cannot be read. The check ends with that error, which says nothing about the change.
    fn made(&mut self, id: OpId<'_>) -> Result<Option<Run<'_>>, Self::Error>;
}

/// A past without anything, for the first change of a document.
impl Past for () {
    type Error = std::convert::Infallible;

    fn made(&mut self, _: OpId<'_>) -> Result<Option<Run<'_>>, Self::Error> {
        Ok(None)
    }
}

/// The register that a value lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Key(u32),
    Element(Id),
}

/// What one named operation made; ids have places in the table of [`Named`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) object: Option<Id>,
    pub(super) slot: Slot,
    /// Whether it made the element that it lies in.
    pub(super) inserted: bool,
    pub(super) what: What,
}

/// Operations of one actor that made things alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) actor: u16,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) at: At,
}

impl Known {
    fn holds(&self, id: Id) -> bool {
        self.actor == id.actor && (self.first..=self.last).contains(&u64::from(id.counter))
    }

    fn thing(&self, id: Id) -> Option<Thing> {
        match self.at {
            At::Nothing => None,
            At::Key { object, key, what } => Some(Thing { object, slot: Slot::Key(key), inserted: false, what }),
            At::Element { object, element, step, what } => {
                let offset = if step { u64::from(id.counter) - self.first } else { 0 };
                let element = Id { counter: element.counter.checked_add(offset as u32)?, ..element };
                Some(Thing { object, slot: Slot::Element(element), inserted: false, what })
            }
            At::Inserted { object, what, .. } => Some(Thing { object, slot: Slot::Element(id), inserted: true, what }),
        }
    }
}

/// How many runs of the past are remembered: the object, the element and the values of one operation, and some to spare.
const REMEMBERED: usize = 4;

/// The number of a key at which no operation of the change acted so far.
const ANOTHER_KEY: u32 = u32::MAX;

/// What operations of a change may name, as far as it was looked up.
#[derive(Debug)]
pub(super) struct Named<'a, 'p, P> {
    past: &'p mut P,
    change: &'a Change<'a>,
    /// Actors that only the past names, behind those of the change's table, and where they are.
    foreign: Vec<Vec<u8>>,
    places: BTreeMap<Vec<u8>, u16>,
    keys: Vec<&'a str>,
    numbers: BTreeMap<&'a str, u32>,
    last_key: Option<(&'a str, u32)>,
    remembered: [Option<Known>; REMEMBERED],
    replace: usize,
    pub(super) made: Builder,
}

impl<'a, 'p, P: Past> Named<'a, 'p, P> {
    pub(super) fn new(change: &'a Change<'a>, past: &'p mut P) -> Self {
        let table = std::iter::once(change.head.actor.as_slice()).chain(change.others.iter().copied());
        let places = (0..).zip(table).map(|(place, actor)| (actor.to_vec(), place)).collect();
        Self {
            past,
            change,
            foreign: Vec::new(),
            places,
            keys: Vec::new(),
            numbers: BTreeMap::new(),
            last_key: None,
            remembered: [None; REMEMBERED],
            replace: 0,
            made: Builder::new(change.head.start_op),
        }
    }

    /// The register of an operation that inserts nothing.
    #[inline]
    pub(super) fn slot(&mut self, key: Key<'a>) -> Option<Slot> {
        match key {
            Key::Head => None,
            Key::Element(id) => Some(Slot::Element(id)),
            Key::Map(key) => {
                if let Some((last, number)) = self.last_key
                    && last == key
                {
                    return Some(Slot::Key(number));
                }
                let number = *self.numbers.entry(key).or_insert_with(|| {
                    self.keys.push(key);
                    self.keys.len() as u32 - 1
                });
                self.last_key = Some((key, number));
                Some(Slot::Key(number))
            }
        }
    }

    /// What the operation `id` made; it must come before the one with counter `at`.
    #[inline]
    pub(super) fn thing(&mut self, id: Id, at: u64) -> Result<Option<Thing>, RuleError<P::Error>> {
        if u64::from(id.counter) >= at {
            return Err(RuleError::fault(Fault::Later));
        }
        Ok(self.known(id)?.and_then(|known| known.thing(id)))
    }

    /// The run of the operation `id`, here or in the past.
    pub(super) fn known(&mut self, id: Id) -> Result<Option<Known>, RuleError<P::Error>> {
        if id.actor == 0 && u64::from(id.counter) >= self.change.head.start_op {
            let found = self.made.find(u64::from(id.counter));
            return Ok(found.map(|(first, last, at)| Known { actor: 0, first, last, at }));
        }
        if let Some(known) = self.remembered.iter().flatten().find(|known| known.holds(id)) {
            return Ok(Some(*known));
        }
        let Self { past, change, foreign, places, numbers, .. } = self;
        let actor = actor_in(change, foreign, id.actor);
        let Some(run) = past.made(OpId { counter: u64::from(id.counter), actor }).map_err(RuleError::Past)? else {
            return Ok(None);
        };
        let (first, last) = run.counters();
        let mut new = Vec::new();
        let base = change.others.len() + 1 + foreign.len();
        let place = |actor: &[u8]| {
            if let Some(place) = places.get(actor) {
                return Ok(*place);
            }
            let place = u16::try_from(base + new.len()).map_err(|_| RuleError::fault(Fault::Limit("actors named")))?;
            places.insert(actor.to_vec(), place);
            new.push(actor.to_vec());
            Ok(place)
        };
        let at = run.translate(place, |key| numbers.get(key).copied().unwrap_or(ANOTHER_KEY))?;
        foreign.append(&mut new);
        let known = Known { actor: id.actor, first, last, at };
        if matches!(at, At::Key { key: ANOTHER_KEY, .. }) {
            // A later operation may act at that key.
            return Ok(Some(known));
        }
        if let Some(slot) = self.remembered.get_mut(self.replace) {
            *slot = Some(known);
        }
        self.replace = (self.replace + 1) % REMEMBERED;
        Ok(Some(known))
    }

    /// The bytes of an actor, by its place in the table.
    pub(super) fn actor(&self, place: u16) -> &[u8] {
        actor_in(self.change, &self.foreign, place)
    }

    /// What the change made, to keep.
    pub(super) fn finish(self) -> super::Summary {
        let Self { change, foreign, keys, made, .. } = self;
        let actor = |place| actor_in(change, &foreign, place).to_vec();
        made.finish(&change.head.actor, actor, |number| keys.get(number as usize).copied().unwrap_or_default())
    }
}

fn actor_in<'t>(change: &'t Change<'_>, foreign: &'t [Vec<u8>], place: u16) -> &'t [u8] {
    let behind = || foreign.get(usize::from(place).checked_sub(change.others.len() + 1)?).map(Vec::as_slice);
    change.actor(place).or_else(behind).unwrap_or_default()
}
