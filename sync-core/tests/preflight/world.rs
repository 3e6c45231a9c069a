//! What stands around the door in these tests: a past that is checked as an engine checks it, and the property itself.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use automerge::{Automerge, Change as AutomergeChange, LoadOptions, ObjType, Prop, ROOT, ReadDoc as _, Value};
use sync_core::{
    ids::ChangeHash,
    preflight::{Change, ChangeHead, OpId, Past, Refusal, RuleError, Run, Summary, check},
};

use crate::history::{self, ENCODING, Habit, Rng};

/// Why a change was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closed {
    Unreadable(Refusal),
    Rule(RuleError<Infallible>),
    Place(&'static str),
}

/// A change that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: ChangeHead,
    summary: Summary,
    /// Places of all its ancestors and of itself.
    closure: BTreeSet<usize>,
}

/// Changes that were let in, dependencies first.
#[derive(Debug, Clone)]
pub(crate) struct World {
    habit: Habit,
    pub(crate) held: Vec<Held>,
    places: BTreeMap<ChangeHash, usize>,
}

struct Ancestors<'w> {
    world: &'w World,
    closure: &'w BTreeSet<usize>,
}

impl Past for Ancestors<'_> {
    type Error = Infallible;

    fn made(&mut self, id: OpId<'_>) -> Result<Option<Run<'_>>, Infallible> {
        let world = self.world;
        Ok(self.closure.iter().map(|place| &world.held[*place]).find_map(|held| {
            let has = held.head.actor == id.actor && (held.head.start_op..=held.head.max_op()).contains(&id.counter);
            if has { held.summary.run(id.counter) } else { None }
        }))
    }
}

impl World {
    pub(crate) const fn new(habit: Habit) -> Self {
        Self { habit, held: Vec::new(), places: BTreeMap::new() }
    }

    /// Lets a change in, or tells why not.
    pub(crate) fn let_in(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        let change = Change::read(bytes).map_err(Closed::Unreadable)?;
        assert_eq!(change.encode(), bytes, "what is read is written again");
        let head = change.head.clone();
        assert_eq!(ChangeHead::read(bytes).as_ref(), Ok(&head), "the head reads by itself");
        let mut closure = BTreeSet::new();
        let mut deps_max_op = 0;
        for dep in &head.deps {
            let place = *self.places.get(dep).ok_or(Closed::Place("a dependency is not held"))?;
            closure.extend(&self.held[place].closure);
            deps_max_op = deps_max_op.max(self.held[place].head.max_op());
        }
        if self.places.contains_key(&head.hash) {
            return Err(Closed::Place("held"));
        }
        let own = self.held.iter().enumerate().filter(|(_, held)| held.head.actor == head.actor);
        if own.clone().count() as u64 + 1 != head.seq || own.clone().any(|(place, _)| !closure.contains(&place)) {
            return Err(Closed::Place("not behind all that its actor wrote"));
        }
        if !head.follows(deps_max_op) {
            return Err(Closed::Place("its counter does not follow"));
        }
        // Where the ancestors are not enough, a change stands behind all that came before it, as behind a commit's past.
        let behind = if self.habit == Habit::Both { (0..self.held.len()).collect() } else { closure.clone() };
        let summary = check(&change, &mut Ancestors { world: self, closure: &behind }).map_err(Closed::Rule)?;
        let kept = summary.encode();
        assert_eq!(Summary::decode(&kept, &head.actor).as_ref(), Ok(&summary), "a summary comes back from its bytes");
        assert_eq!((summary.start_op(), summary.ops()), (head.start_op, head.ops));
        let place = self.held.len();
        closure.insert(place);
        self.places.insert(head.hash, place);
        self.held.push(Held { bytes: bytes.to_vec(), head, summary, closure });
        Ok(())
    }

    /// What was let in, without one change, all that depends on it, and all that its actor wrote later.
    pub(crate) fn without(&self, place: usize) -> Self {
        let gone = &self.held[place].head;
        let mut world = Self::new(self.habit);
        for held in &self.held {
            if held.closure.contains(&place) || (held.head.actor == gone.actor && held.head.seq >= gone.seq) {
                continue;
            }
            // What depended on the later changes of its actor goes with them.
            let _ = world.let_in(&held.bytes);
        }
        world
    }

    /// All changes, a line each.
    pub(crate) fn described(&self) -> Vec<String> {
        let line = |held: &Held| {
            let change = AutomergeChange::from_bytes(held.bytes.clone()).expect("was let in").decode();
            let deps = held.head.deps.iter().map(|dep| dep.short()).collect::<Vec<_>>();
            let (hash, from) = (held.head.hash.short(), held.head.start_op);
            format!("{hash} by {} from {from} after {deps:?}: {:?}", change.actor_id, change.operations)
        };
        self.held.iter().map(line).collect()
    }

    /// The property: in three orders and batchings Automerge takes it all, gives it all back, and loads what it saves;
    /// and honest edits on top of it do so too.
    pub(crate) fn verify(&self, rng: &mut Rng) -> Result<(), String> {
        quietly(|| {
            let all: Vec<usize> = (0..self.held.len()).collect();
            let one_by_one = self.applied(all.iter().map(std::slice::from_ref))?;
            let at_once = self.applied([&all[..]])?;
            let order = self.random_order(rng);
            let batched = self.applied(order.chunks(1 + rng.below(4)))?;
            let texts = [&one_by_one, &at_once, &batched].map(values);
            if texts[0] != texts[1] || texts[0] != texts[2] {
                return Err(format!("orders give other documents:\n{}", texts.join("and\n")));
            }
            let mut edited = batched;
            for _ in 0..2 {
                history::change(rng, &mut edited, Habit::Marking);
            }
            let heads = edited.get_heads();
            // Not compared by values: where counters are in conflict, Automerge shows the key of one that it increments
            // twice until the document is loaded again.
            comes_back(&edited, &heads).map(drop)
        })
    }

    /// Some order in which each change comes behind what it stands behind.
    fn random_order(&self, rng: &mut Rng) -> Vec<usize> {
        if self.habit == Habit::Both {
            return (0..self.held.len()).collect();
        }
        let mut order: Vec<usize> = Vec::new();
        let mut done = BTreeSet::new();
        while order.len() < self.held.len() {
            let ready = |place: &usize| {
                !done.contains(place)
                    && self.held[*place].closure.iter().all(|before| before == place || done.contains(before))
            };
            let ready: Vec<usize> = (0..self.held.len()).filter(ready).collect();
            let next = *rng.pick(&ready);
            done.insert(next);
            order.push(next);
        }
        order
    }

    fn applied<'o>(&self, batches: impl IntoIterator<Item = &'o [usize]>) -> Result<Automerge, String> {
        let mut document = Automerge::new_with_encoding(ENCODING);
        for batch in batches {
            let changes = batch.iter().map(|place| {
                AutomergeChange::from_bytes(self.held[*place].bytes.clone()).map_err(|error| error.to_string())
            });
            let changes = changes.collect::<Result<Vec<_>, _>>()?;
            document.apply_changes(changes).map_err(|error| error.to_string())?;
        }
        if !document.get_missing_deps(&[]).is_empty() {
            return Err("dependencies are missing".into());
        }
        let mut heads: BTreeSet<ChangeHash> = self.held.iter().map(|held| held.head.hash).collect();
        self.held.iter().flat_map(|held| &held.head.deps).for_each(|dep| {
            heads.remove(dep);
        });
        let heads: Vec<_> = heads.into_iter().map(|hash| automerge::ChangeHash(hash.0)).collect();
        let loaded = comes_back(&document, &heads)?;
        if values(&loaded) != values(&document) {
            return Err(format!("loads to other values:\n{}and\n{}", values(&document), values(&loaded)));
        }
        let mut given: Vec<Vec<u8>> =
            document.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect();
        let mut held: Vec<&Vec<u8>> = self.held.iter().map(|held| &held.bytes).collect();
        given.sort_unstable();
        held.sort_unstable();
        if given.iter().ne(held) {
            return Err("other changes come back".into());
        }
        Ok(document)
    }
}

/// A document has these heads, and loads from what it saves to the same changes.
fn comes_back(document: &Automerge, heads: &[automerge::ChangeHash]) -> Result<Automerge, String> {
    if document.get_heads() != heads {
        return Err("other heads".into());
    }
    let saved = document.save();
    let options = LoadOptions::new().text_encoding(ENCODING);
    let loaded = Automerge::load_with_options(&saved, options).map_err(|error| format!("does not load: {error}"))?;
    if loaded.get_heads() != heads {
        return Err("loads to other heads".into());
    }
    let hashes =
        |document: &Automerge| -> BTreeSet<_> { document.get_changes(&[]).iter().map(AutomergeChange::hash).collect() };
    if hashes(&loaded) != hashes(document) {
        return Err("loads to other changes".into());
    }
    Ok(loaded)
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

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: Cell<String> = const { Cell::new(String::new()) };
}

/// Turns a panic of Automerge into an error that names its place, without printing it.
fn quietly<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(
            move |info| {
                if QUIET.get() { MESSAGE.set(format!("panic: {info}")) } else { usual(info) }
            },
        ));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    result.unwrap_or_else(|_| Err(MESSAGE.take()))
}
