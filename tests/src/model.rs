//! A naive model of what documents mean, written from the rules and from nothing of Automerge's: what texts and registers
//! are, given changes.
//!
//! A document is a map at its root; maps hold registers by key, lists and texts hold elements in order, each with a
//! register of its own. The rules, which are those of Automerge 0.12 (automerge.org, "Binary format", and the papers on
//! RGA that it names):
//!
//! - An operation's id is its counter and its actor; ids are ordered by counter, then by the actor's bytes.
//! - An operation takes the values out of its register that it names as predecessors, and puts its own in, if it has one.
//!   What is left beside it was put concurrently. Of several values the one with the largest id wins.
//! - A new element goes behind the element that it names, past all elements there with a larger id.
//! - An element without a value is not seen; it keeps its place.
//!
//! Everything is done in the slowest and plainest way. Changes are read by `preflight`, whose reader is checked against
//! Automerge's; they may come in any order that puts dependencies first.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::{
    doc::entry::{Content, ContentRef, Entry, Kind},
    ids::{ChangeHash, ContentHash, DocId},
    preflight::{Action, Change, ChangeHead, Id, Key, Op, Value},
};

/// Counter and actor of an operation.
pub type OpId = (u64, Vec<u8>);

/// A value in a register.
#[derive(Debug, Clone, PartialEq)]
pub enum Held {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Int(i128),
    /// The bits of a floating point number.
    Float(u64),
    /// Text.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A counter, with what was added to it.
    Counter(i64),
    /// The object that the operation made.
    Object,
    /// One end of a mark, which nobody sees.
    Mark,
}

/// All values of a register that nothing has overwritten; the last one wins.
pub type Register = BTreeMap<OpId, Held>;

#[derive(Debug, Clone)]
struct Element {
    id: OpId,
    values: Register,
}

#[derive(Debug, Clone)]
enum Object {
    Map(BTreeMap<String, Register>),
    List(List),
}

#[derive(Debug, Clone, Default)]
struct List {
    elements: Vec<Element>,
    /// Where something happened last, for the next operation is mostly beside it.
    near: usize,
}

impl List {
    fn place(&mut self, id: &OpId) -> Option<usize> {
        if self.elements.get(self.near).is_none_or(|element| element.id != *id) {
            self.near = self.elements.iter().position(|element| element.id == *id)?;
        }
        Some(self.near)
    }

    /// A new element at a place, or behind those with larger ids that are there.
    fn insert(&mut self, mut place: usize, id: OpId) -> &mut Register {
        while self.elements.get(place).is_some_and(|there| there.id > id) {
            place += 1;
        }
        self.near = place;
        self.elements.insert(place, Element { id, values: Register::new() });
        &mut self.elements[place].values
    }
}

/// What does not fit what came before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit(pub String);

/// A document.
#[derive(Debug, Clone)]
pub struct Model {
    /// By the operation that made it; the root by none.
    objects: BTreeMap<Option<OpId>, Object>,
    /// What has been applied, with what each depends on.
    applied: BTreeMap<ChangeHash, Vec<ChangeHash>>,
    /// Which change put a value of the root.
    put_by: BTreeMap<OpId, ChangeHash>,
    /// Changes that delete the entry.
    deletes: BTreeSet<ChangeHash>,
    /// The parent that the root change names.
    first_parent: Option<Held>,
}

impl Default for Model {
    fn default() -> Self {
        let objects = BTreeMap::from([(None, Object::Map(BTreeMap::new()))]);
        Self {
            objects,
            applied: BTreeMap::new(),
            put_by: BTreeMap::new(),
            deletes: BTreeSet::new(),
            first_parent: None,
        }
    }
}

/// Changes in another order, dependencies first; `pick` chooses among so many that may come next.
///
/// # Errors
/// When a change cannot be read, or its dependencies are not among them.
pub fn reordered(changes: &[Vec<u8>], mut pick: impl FnMut(usize) -> usize) -> Result<Vec<&[u8]>, Misfit> {
    let head = |bytes: &Vec<u8>| ChangeHead::read(bytes).map_err(|refusal| Misfit(refusal.to_string()));
    let mut waiting: Vec<(ChangeHead, &[u8])> =
        changes.iter().map(|bytes| Ok((head(bytes)?, bytes.as_slice()))).collect::<Result<_, Misfit>>()?;
    let mut done = BTreeSet::new();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let is_ready = |at: &usize| waiting[*at].0.deps.iter().all(|dep| done.contains(dep));
        let ready: Vec<usize> = (0..waiting.len()).filter(is_ready).collect();
        if ready.is_empty() {
            return Err(Misfit("a dependency is missing".into()));
        }
        let (head, bytes) = waiting.swap_remove(ready[pick(ready.len())]);
        done.insert(head.hash);
        order.push(bytes);
    }
    Ok(order)
}

impl Model {
    /// A document of these changes, dependencies first.
    ///
    /// # Errors
    /// When one does not fit those before it.
    pub fn of<B: AsRef<[u8]>>(changes: impl IntoIterator<Item = B>) -> Result<Self, Misfit> {
        let mut model = Self::default();
        for bytes in changes {
            let change = Change::read(bytes.as_ref()).map_err(|refusal| Misfit(refusal.to_string()))?;
            model.apply(&change)?;
        }
        Ok(model)
    }

    /// Applies a change.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn apply(&mut self, change: &Change<'_>) -> Result<(), Misfit> {
        if let Some(dep) = change.head.deps.iter().find(|dep| !self.applied.contains_key(*dep)) {
            return Err(Misfit(format!("depends on {dep:?}, which is not here")));
        }
        let mut preds = change.preds.as_slice();
        for (counter, op) in (change.head.start_op..).zip(&change.ops) {
            let (own, rest) = preds.split_at(op.preds as usize);
            preds = rest;
            let own: Vec<OpId> = own.iter().map(|id| name(change, *id)).collect();
            self.operation(change, (counter, change.head.actor.clone()), op, &own)?;
        }
        if change.head.deps.is_empty() {
            self.first_parent = self.winner("parent").map(|(_, value)| value.clone());
        }
        self.applied.insert(change.head.hash, change.head.deps.clone());
        Ok(())
    }

    fn operation(&mut self, change: &Change<'_>, id: OpId, op: &Op<'_>, preds: &[OpId]) -> Result<(), Misfit> {
        let made = match op.action {
            Action::MakeMap => Some(Object::Map(BTreeMap::new())),
            Action::MakeList | Action::MakeText => Some(Object::List(List::default())),
            _ => None,
        };
        if let Some(object) = made {
            self.objects.insert(Some(id.clone()), object);
        }
        if op.object.is_none() {
            self.put_by.insert(id.clone(), change.head.hash);
            if op.key == Key::Map("alive") && op.action == Action::Delete {
                self.deletes.insert(change.head.hash);
            }
        }
        let object = op.object.map(|object| name(change, object));
        let object = self.objects.get_mut(&object).ok_or_else(|| Misfit(format!("{object:?} is no object")))?;
        let register = match (object, op.key) {
            (Object::Map(map), Key::Map(key)) => map.entry(key.to_owned()).or_default(),
            (Object::List(list), Key::Head) if op.insert => list.insert(0, id.clone()),
            (Object::List(list), Key::Element(at)) => {
                let at = name(change, at);
                let place = list.place(&at).ok_or_else(|| Misfit(format!("{at:?} is no element")))?;
                if op.insert { list.insert(place + 1, id.clone()) } else { &mut list.elements[place].values }
            }
            (_, key) => return Err(Misfit(format!("{key:?} is no key of such an object"))),
        };
        if op.action == Action::Increment {
            let Value::Int(by) = op.value else { return Err(Misfit(format!("adds {:?}", op.value))) };
            for pred in preds {
                if let Some(Held::Counter(sum)) = register.get_mut(pred) {
                    *sum += by;
                }
            }
            return Ok(());
        }
        for pred in preds {
            register.remove(pred);
        }
        if op.action != Action::Delete {
            register.insert(id, value(op));
        }
        Ok(())
    }

    /// The values of a key of the root, by the operations that put them; the last one wins.
    #[must_use]
    pub fn register(&self, key: &str) -> Register {
        match self.objects.get(&None) {
            Some(Object::Map(map)) => map.get(key).cloned().unwrap_or_default(),
            _ => Register::new(),
        }
    }

    fn winner(&self, key: &str) -> Option<(&OpId, &Held)> {
        match self.objects.get(&None)? {
            Object::Map(map) => map.get(key)?.last_key_value(),
            Object::List(_) => None,
        }
    }

    /// The contents, the one that is shown last: those that were there when somebody deleted the file come first.
    fn contents(&self) -> Vec<(OpId, Held)> {
        let given_up = |(id, _): &(OpId, Held)| {
            let by = self.put_by.get(id);
            by.is_some_and(|by| self.deletes.iter().any(|delete| self.past_of(*delete).contains(by)))
        };
        let all = self.register("content").into_iter();
        let (mut ordered, kept): (Vec<_>, Vec<_>) = all.partition(given_up);
        ordered.extend(kept);
        ordered
    }

    /// A change and all that it depends on.
    fn past_of(&self, change: ChangeHash) -> BTreeSet<ChangeHash> {
        let mut past = BTreeSet::from([change]);
        let mut open = vec![change];
        while let Some(change) = open.pop() {
            open.extend(self.applied.get(&change).into_iter().flatten().filter(|dep| past.insert(**dep)));
        }
        past
    }

    /// What the text holds, if the content that is shown is one.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self.contents().pop()? {
            (id, Held::Object) => self.text_of(&id),
            _ => None,
        }
    }

    fn text_of(&self, id: &OpId) -> Option<String> {
        let Object::List(list) = self.objects.get(&Some(id.clone()))? else { return None };
        let seen = list.elements.iter().filter_map(|element| element.values.last_key_value());
        Some(
            seen.map(|(_, value)| match value {
                Held::Str(text) => text.as_str(),
                Held::Mark => "",
                // Whatever else stands in a text shows as the replacement of an object.
                _ => "\u{fffc}",
            })
            .collect(),
        )
    }

    /// The registers of an entry, as `docs/SPEC.md` reads them.
    ///
    /// # Errors
    /// When the document is not an entry.
    pub fn entry(&self) -> Result<Entry, Misfit> {
        let str_of = |key| match self.winner(key) {
            Some((_, Held::Str(text))) => Some(text.clone()),
            _ => None,
        };
        let kind = match str_of("kind").as_deref() {
            Some("dir") => Kind::Dir,
            Some("file") => Kind::File,
            Some("link") => Kind::Link,
            other => return Err(Misfit(format!("{other:?} is no kind"))),
        };
        let parent = self.winner("parent").map(|(_, value)| parent_of(value)).transpose()?.flatten();
        let first = self.first_parent.as_ref().map(parent_of).transpose()?.flatten();
        let content = self.contents().pop().map(|(_, value)| content(&value)).transpose()?;
        Ok(Entry {
            kind,
            parent,
            name: str_of("name").ok_or_else(|| Misfit("has no name".into()))?,
            alive: matches!(self.winner("alive"), Some((_, Held::Int(_)))),
            exec: matches!(self.winner("exec"), Some((_, Held::Bool(true)))),
            target: str_of("target"),
            lost_contents: self.lost_contents(content.as_ref())?,
            lost_place: ["name", "parent"].into_iter().any(|key| self.differs(key)),
            parent_stamp: self.winner("parent").map(|(id, _)| id.clone()).unwrap_or_default(),
            first_parent: first.filter(|first| kind == Kind::Dir && Some(*first) != parent),
            content,
        })
    }

    /// References and texts that lost, but for those that hold what the reference that won does. A text has no list.
    fn lost_contents(&self, winner: Option<&Content>) -> Result<Vec<ContentRef>, Misfit> {
        let mut lost = Vec::new();
        let contents = self.contents();
        for (id, value) in contents.iter().rev().skip(1) {
            let reference = match content(value)? {
                Content::Reference(reference) => reference,
                Content::Text => {
                    let text = self.text_of(id).ok_or_else(|| Misfit("an object at content is no text".into()))?;
                    ContentRef { hash: ContentHash::of(text.as_bytes()), len: text.len() as u64, list: [0; 32] }
                }
                Content::Inline(_) => continue,
            };
            let same = matches!(winner, Some(Content::Reference(winner)) if winner.hash == reference.hash);
            lost.extend((!same).then_some(reference));
        }
        lost.reverse();
        Ok(lost)
    }

    /// Whether a value that lost is another than the one that won.
    fn differs(&self, key: &str) -> bool {
        let register = self.register(key);
        let winner = register.values().next_back();
        register.values().any(|value| Some(value) != winner)
    }
}

/// The id that a change means by its table of actors.
fn name(change: &Change<'_>, id: Id) -> OpId {
    (u64::from(id.counter), change.actor(id.actor).unwrap_or_default().to_vec())
}

fn value(op: &Op<'_>) -> Held {
    match (op.action, op.value) {
        (Action::MakeMap | Action::MakeList | Action::MakeText, _) => Held::Object,
        (Action::Mark, _) => Held::Mark,
        (_, Value::Null) => Held::Null,
        (_, Value::Bool(is)) => Held::Bool(is),
        (_, Value::Uint(number)) => Held::Int(number.into()),
        (_, Value::Int(number) | Value::Timestamp(number)) => Held::Int(number.into()),
        (_, Value::Float(bits)) => Held::Float(bits),
        (_, Value::Str(text)) => Held::Str(text.to_owned()),
        (_, Value::Bytes(bytes)) => Held::Bytes(bytes.to_vec()),
        (_, Value::Counter(first)) => Held::Counter(first),
    }
}

fn parent_of(value: &Held) -> Result<Option<DocId>, Misfit> {
    match value {
        Held::Bytes(bytes) if bytes.is_empty() => Ok(None),
        Held::Bytes(bytes) => {
            DocId::from_slice(bytes).map(Some).ok_or_else(|| Misfit(format!("{bytes:?} is no directory")))
        }
        other => Err(Misfit(format!("{other:?} is no directory"))),
    }
}

/// First byte 0: the bytes themselves; 1: a reference to them.
fn content(value: &Held) -> Result<Content, Misfit> {
    let misfit = || Misfit(format!("{value:?} is no content"));
    let bytes = match value {
        Held::Object => return Ok(Content::Text),
        Held::Bytes(bytes) => bytes,
        _ => return Err(misfit()),
    };
    match bytes.split_first() {
        Some((0, rest)) => Ok(Content::Inline(rest.to_vec())),
        Some((1, rest)) => postcard::from_bytes(rest).map(Content::Reference).map_err(|_| misfit()),
        _ => Err(misfit()),
    }
}

#[cfg(test)]
mod tests {
    use sync_core::{
        doc::{
            Document, NewChange,
            entry::{EntryOp, RootContent, RootSpec},
            promotion,
            text::Splice,
        },
        ids::{ReplicaId, SpaceId},
    };

    use super::*;

    /// A text, and what two did to it at once, one of them at the same place.
    fn changes() -> Vec<Vec<u8>> {
        let root = RootSpec::file(SpaceId([1; 32]), None, "a.txt", RootContent::Inline(b"one\ntwo\n".to_vec())).build();
        let promoted = promotion::of_root(&root.bytes).expect("is text");
        let edit = |replica: u8, insert: &str| -> NewChange {
            let mut document = Document::from_changes([&root.bytes, &promoted.bytes]).expect("opens");
            let splice = Splice { at: 4, delete: 3, insert: insert.into() };
            let at = document.heads();
            let ops = [EntryOp::Splice(vec![splice]), EntryOp::Name(format!("{replica}.txt"))];
            document.edit(ReplicaId([replica; 16]), &at, &ops).expect("edits")
        };
        let edits = [edit(3, "zwei"), edit(2, "deux")];
        [root, promoted].into_iter().chain(edits).map(|change| change.bytes).collect()
    }

    #[test]
    fn the_model_and_automerge_say_the_same_in_any_order() {
        let changes = changes();
        let document = Document::from_changes(&changes).expect("opens");
        for turn in [0, 1] {
            let order = reordered(&changes, |ready| turn % ready).expect("is whole");
            let model = Model::of(order).expect("fits");
            assert_eq!(model.text(), document.text().expect("reads"));
            assert_eq!(model.entry(), Ok(document.entry().expect("reads")));
            assert_eq!(model.register("name").len(), 2, "both names are kept");
        }
        assert_eq!(Model::of(&changes).expect("fits").text().as_deref(), Some("one\nzweideux\n"));
    }

    /// It must be able to tell: without one of the changes it says something else, and without a dependency nothing.
    #[test]
    fn the_model_notices_what_is_missing() {
        let mut changes = changes();
        let whole = Model::of(&changes).expect("fits").text();
        let last = changes.pop().expect("has some");
        assert_ne!(Model::of(&changes).expect("fits").text(), whole);
        changes.push(last);
        changes.remove(1);
        assert!(Model::of(&changes).is_err());
        assert!(reordered(&changes, |_| 0).is_err());
    }
}
