//! What stands around the door: a past that is checked as an engine checks it, and the promise about what is let in.
//!
//! An engine stands behind commits; here a change stands behind its ancestors alone, which is less. Nothing here knows
//! where changes come from.

use std::{collections::BTreeMap, convert::Infallible, fmt::Write as _};

use automerge::{Automerge, Change as AutomergeChange, LoadOptions, ObjType, Prop, ROOT, ReadDoc as _, Value};
use sync_core::{
    ids::ChangeHash,
    preflight::{Change, ChangeHead, OpId, Past, Refusal, RuleError, Run, Summary, check},
};

use super::history::{self, ENCODING};
use crate::input::Input;

/// Most changes of a world: a set of them is the bits of a number.
pub const CHANGES_MAX: usize = 64;

/// Why a change was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The reader refused it.
    Unreadable(Refusal),
    /// The rules did.
    Rule(RuleError<Infallible>),
    /// It has no place among the others.
    Place(&'static str),
}

/// A change that was let in.
#[derive(Debug, Clone)]
pub struct Held {
    /// All of it.
    pub bytes: Vec<u8>,
    /// What it says about itself.
    pub head: ChangeHead,
    /// What it made.
    pub summary: Summary,
    /// Places of all its ancestors and of itself.
    closure: u64,
}

/// Changes that were let in, dependencies first.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The changes.
    pub held: Vec<Held>,
    places: BTreeMap<ChangeHash, usize>,
}

const fn bit(place: usize) -> u64 {
    1 << place
}

fn places(set: u64) -> impl Iterator<Item = usize> {
    (0..CHANGES_MAX).filter(move |place| set & bit(*place) != 0)
}

struct Ancestors<'w> {
    world: &'w World,
    set: u64,
}

impl Past for Ancestors<'_> {
    type Error = Infallible;

    fn made(&mut self, id: OpId<'_>) -> Result<Option<Run<'_>>, Infallible> {
        let world = self.world;
        Ok(places(self.set).map(|place| &world.held[place]).find_map(|held| {
            let has = held.head.actor == id.actor && (held.head.start_op..=held.head.max_op()).contains(&id.counter);
            if has { held.summary.run(id.counter) } else { None }
        }))
    }
}

impl World {
    /// All ancestors of a change with these dependencies; an error where one is not held.
    pub fn ancestors(&self, deps: &[ChangeHash]) -> Result<u64, Closed> {
        let place = |dep| self.places.get(dep).ok_or(Closed::Place("a dependency is not held"));
        deps.iter().try_fold(0, |set, dep| Ok(set | self.held[*place(dep)?].closure))
    }

    /// Changes of a set, in order.
    pub fn of(&self, set: u64) -> impl Iterator<Item = &Held> {
        places(set).filter_map(|place| self.held.get(place))
    }

    /// Lets a change in, or tells why not.
    ///
    /// # Errors
    /// When the door is closed to it.
    ///
    /// # Panics
    /// When reader, writer and summary do not fit each other.
    pub fn let_in(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        let change = Change::read(bytes).map_err(Closed::Unreadable)?;
        assert_eq!(change.encode(), bytes, "what is read is written again");
        let head = &change.head;
        assert_eq!(ChangeHead::read(bytes).as_ref(), Ok(head), "the head reads by itself");
        let closure = self.ancestors(&head.deps)?;
        let deps_max_op = self.of(closure).map(|held| held.head.max_op()).max().unwrap_or(0);
        let place = self.held.len();
        if self.places.contains_key(&head.hash) || place == CHANGES_MAX {
            return Err(Closed::Place("held, or no room"));
        }
        let own = |set| self.of(set).filter(|held| held.head.actor == head.actor).count() as u64;
        if own(u64::MAX) + 1 != head.seq || own(closure) != own(u64::MAX) {
            return Err(Closed::Place("not behind all that its actor wrote"));
        }
        if !head.follows(deps_max_op) {
            return Err(Closed::Place("its counter does not follow"));
        }
        let summary = check(&change, &mut Ancestors { world: self, set: closure }).map_err(Closed::Rule)?;
        let kept = summary.encode();
        assert_eq!(Summary::decode(&kept, &head.actor).as_ref(), Ok(&summary), "a summary comes back from its bytes");
        assert_eq!((summary.start_op(), summary.ops()), (head.start_op, head.ops));
        let held = Held { bytes: bytes.to_vec(), head: change.head, summary, closure: closure | bit(place) };
        self.places.insert(held.head.hash, place);
        self.held.push(held);
        Ok(())
    }

    /// What was let in before the change at a place.
    #[must_use]
    pub fn before(&self, place: usize) -> Self {
        let held: Vec<Held> = self.held[..place].to_vec();
        let places = held.iter().enumerate().map(|(place, held)| (held.head.hash, place)).collect();
        Self { held, places }
    }

    /// What was let in, without one change, all that depends on it, and all that its actor wrote later.
    #[must_use]
    pub fn without(&self, place: usize) -> Self {
        let gone = &self.held[place].head;
        let mut world = self.before(place);
        for held in &self.held[place..] {
            let is_gone =
                held.closure & bit(place) != 0 || (held.head.actor == gone.actor && held.head.seq >= gone.seq);
            if !is_gone {
                // What depended on the later changes of its actor goes with them.
                let _ = world.let_in(&held.bytes);
            }
        }
        world
    }

    /// All changes, a line each.
    ///
    /// # Panics
    /// When Automerge does not read what was let in.
    #[must_use]
    pub fn described(&self) -> Vec<String> {
        let line = |held: &Held| {
            let change = AutomergeChange::from_bytes(held.bytes.clone()).expect("was let in").decode();
            let deps = held.head.deps.iter().map(|dep| dep.short()).collect::<Vec<_>>();
            let (hash, from) = (held.head.hash.short(), held.head.start_op);
            format!("{hash} by {} from {from} after {deps:?}: {:?}", change.actor_id, change.operations)
        };
        self.held.iter().map(line).collect()
    }

    /// The promise: in two causal orders and batchings Automerge takes it all and shows the same, gives it all back, and
    /// loads what it saves; and honest edits on top of it do so too.
    ///
    /// # Errors
    /// When it is broken, with what was found instead.
    pub fn verify(&self, input: &mut Input<'_>) -> Result<(), String> {
        let read = |held: &Held| AutomergeChange::from_bytes(held.bytes.clone()).map_err(|error| error.to_string());
        let changes = self.held.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let order: Vec<AutomergeChange> =
            self.causal_order(input).into_iter().map(|place| changes[place].clone()).collect();
        let heads = self.heads();
        let mut document = applied(&order, 1 + input.below(4))?;
        let batch = if input.one_in(2) { 1 } else { changes.len().max(1) };
        let other = applied(&changes, batch)?;
        let (shown, shown_other) = (values(&document), values(&other));
        if shown != shown_other || document.get_heads() != other.get_heads() {
            return Err(format!("orders give other documents:\n{shown}and\n{shown_other}"));
        }
        let loaded = comes_back(&document, &heads)?;
        if values(&loaded) != shown {
            return Err(format!("loads to other values:\n{shown}and\n{}", values(&loaded)));
        }
        let mut given: Vec<_> = loaded.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect();
        let mut held: Vec<&Vec<u8>> = self.held.iter().map(|held| &held.bytes).collect();
        given.sort_unstable();
        held.sort_unstable();
        if given.iter().ne(held) {
            return Err("other changes come back".into());
        }
        if input.one_in(4) {
            for _ in 0..2 {
                history::change(input, &mut document);
            }
            // Not compared by values: where counters are in conflict, Automerge shows the key of one that it increments
            // twice until the document is loaded again.
            comes_back(&document, &document.get_heads())?;
        }
        Ok(())
    }

    /// Hashes that nothing else depends on, sorted.
    fn heads(&self) -> Vec<automerge::ChangeHash> {
        let named = |hash| self.held.iter().any(|held| held.head.deps.contains(hash));
        let heads = self.places.keys().filter(|hash| !named(hash));
        heads.map(|hash| automerge::ChangeHash(hash.0)).collect()
    }

    /// Some order in which each change comes behind what it stands behind.
    fn causal_order(&self, input: &mut Input<'_>) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::new();
        let mut done = 0;
        while order.len() < self.held.len() {
            let mut ready = (0..self.held.len())
                .filter(|place| done & bit(*place) == 0 && self.held[*place].closure & !done == bit(*place));
            let first = ready.next().expect("dependencies come first");
            let later: Vec<usize> = ready.collect();
            let drawn = input.below(later.len() + 1);
            let next = if drawn == 0 { first } else { later[drawn - 1] };
            done |= bit(next);
            order.push(next);
        }
        order
    }
}

/// A document of these changes, so many at a time.
fn applied(changes: &[AutomergeChange], batch: usize) -> Result<Automerge, String> {
    let mut document = Automerge::new_with_encoding(ENCODING);
    for batch in changes.chunks(batch) {
        document.apply_changes(batch.iter().cloned()).map_err(|error| error.to_string())?;
    }
    if document.get_missing_deps(&[]).is_empty() { Ok(document) } else { Err("dependencies are missing".into()) }
}

/// A document has these heads, and loads from what it saves to the same.
fn comes_back(document: &Automerge, heads: &[automerge::ChangeHash]) -> Result<Automerge, String> {
    if document.get_heads() != heads {
        return Err("other heads".into());
    }
    let saved = document.save();
    let options = LoadOptions::new().text_encoding(ENCODING);
    let loaded = Automerge::load_with_options(&saved, options).map_err(|error| format!("does not load: {error}"))?;
    if loaded.get_heads() == heads { Ok(loaded) } else { Err("loads to other heads".into()) }
}

/// All values of a document, also those in conflict, with the operations that put them.
fn values(document: &Automerge) -> String {
    let mut text = String::new();
    let mut open = vec![(ROOT, ObjType::Map)];
    while let Some((object, kind)) = open.pop() {
        let _ = write!(text, "{object}: ");
        let keys: Vec<Prop> = match kind {
            ObjType::Map | ObjType::Table => document.keys(&object).map(Prop::Map).collect(),
            ObjType::List => (0..document.length(&object)).map(Prop::Seq).collect(),
            ObjType::Text => {
                let _ = write!(text, "{:?} {:?}; ", document.text(&object), document.marks(&object));
                (0..document.length(&object)).map(Prop::Seq).collect()
            }
        };
        for key in keys {
            let _ = write!(text, "{key}: ");
            for (value, id) in document.get_all(&object, key).expect("the key is of the object") {
                let _ = write!(text, "{value:?} by {id}, ");
                if let Value::Object(kind) = value {
                    open.push((id, kind));
                }
            }
        }
        text.push('\n');
    }
    text
}
