//! What a text shows where several heads meet, and which lines both sides rewrote there.
//!
//! Automerge gives the characters of all sides. [`gaps`](super::gaps) tells which of them are one edit that two sides
//! made; those are shown once. That is a function of the document and the heads alone, so every machine shows the same, and
//! whatever is compared with the disk or written by position is what is shown. The edit that joins the heads writes it
//! down ([`Document::edit`]), for with one head a text shows what it holds.

mod sides;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use automerge::{
    ActorId, Automerge, ChangeMetadata, ObjId, ROOT, ReadDoc as _, ScalarValue, ScalarValueRef, Value, ValueRef,
};

use sides::{Sides, overlapping_as_one};

use super::{
    DocError, Document,
    entry::key,
    gaps::{self, Id, Item, Outcome, Rewritten},
    guarded,
    text::Splice,
};
use crate::{ids::ChangeHash, limits, preflight};

/// A line that several sides rewrote, merged by words: nothing is lost, but somebody should look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineConflict {
    /// Where it stands in the text that is shown now, in characters, with its line end.
    pub range: Range<usize>,
    /// What is shown there.
    pub merged: String,
    /// What each side had, in the order of the hashes of its heads.
    pub sides: Vec<LineVersion>,
}

/// One side's version of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineVersion {
    /// Newest changes of that side.
    pub heads: Vec<ChangeHash>,
    /// Its text, which may be some lines, or none.
    pub text: String,
}

/// The characters that several heads have together, and what is shown of them.
#[derive(Default)]
pub(super) struct Joined {
    elements: Vec<Element>,
    /// Automerge's numbers of the actors, whose places the ids name.
    numbers: Vec<u32>,
    hidden: BTreeSet<u32>,
    /// What is shown in front of places besides; each behind those of the same place before it.
    restored: Vec<(u32, char)>,
    rewritten: Vec<(Range<u32>, Vec<LineVersion>)>,
}

/// A character that is shown, with the id of its insertion unless it was restored. In these ids actors have Automerge's
/// numbers, as all of one document have.
type Shown = (Option<Id>, char);

#[derive(Debug, Clone, Copy)]
struct Element {
    id: Id,
    ch: char,
}

impl Joined {
    /// The text that is shown.
    pub(super) fn text(&self) -> String {
        self.shown(0..u32::MAX).into_iter().map(|(_, ch)| ch).collect()
    }

    /// What is shown from a range of places.
    fn shown(&self, places: Range<u32>) -> Vec<Shown> {
        let mut restored = self.restored.iter().skip_while(|(place, _)| *place < places.start).peekable();
        let mut shown = Vec::new();
        for place in places.start..places.end.min(self.elements.len() as u32 + 1) {
            while let Some((_, ch)) = restored.next_if(|(before, _)| *before == place) {
                shown.push((None, *ch));
            }
            if let Some(element) = self.elements.get(place as usize).filter(|_| !self.hidden.contains(&place)) {
                let actor = self.numbers.get(element.id.actor as usize).copied().unwrap_or(u32::MAX);
                shown.push((Some(Id { actor, ..element.id }), element.ch));
            }
        }
        shown
    }

    /// What turns all characters into those that are shown.
    pub(super) fn fixes(&self) -> Vec<Splice> {
        let mut fixes: Vec<Splice> = Vec::new();
        let mut restored = self.restored.iter().peekable();
        let mut hidden = self.hidden.iter().peekable();
        loop {
            let insert_first = match (restored.peek(), hidden.peek()) {
                (None, None) => return fixes,
                (Some((at, _)), Some(place)) => at <= place,
                (restored, _) => restored.is_some(),
            };
            if insert_first {
                if let Some((at, ch)) = restored.next() {
                    let at = *at as usize;
                    match fixes.last_mut() {
                        Some(last) if last.at == at && last.delete == 0 => last.insert.push(*ch),
                        _ => fixes.push(Splice { at, delete: 0, insert: (*ch).into() }),
                    }
                }
            } else if let Some(place) = hidden.next() {
                let at = *place as usize;
                match fixes.last_mut() {
                    Some(last) if last.at + last.delete == at => last.delete += 1,
                    _ => fixes.push(Splice { at, delete: 1, insert: String::new() }),
                }
            }
        }
    }
}

impl Document {
    /// How the text shows at some heads, unless it shows what it holds.
    pub(super) fn joined(&self, text: &ObjId, heads: &[automerge::ChangeHash]) -> Result<Option<Joined>, DocError> {
        if heads.len() < 2 {
            return Ok(None);
        }
        guarded(|| {
            let apart = apart(&self.automerge, heads);
            if apart.len() < 2 {
                return Ok(None);
            }
            Ok(join(&self.automerge, text, heads, &apart))
        })
    }

    /// Lines of the text that is shown now which several sides rewrote at once, as long as nobody has touched them since. Looks
    /// at the heads and at the last changes that joined heads.
    ///
    /// # Errors
    /// When Automerge cannot read it.
    pub fn conflicts(&self) -> Result<Vec<LineConflict>, DocError> {
        let Some(text) = self.text_object(None)? else {
            return Ok(Vec::new());
        };
        let heads = self.automerge.get_heads();
        let metas = self.automerge.get_changes_meta(&[]);
        let by_hash: Metas<'_> = metas.iter().map(|meta| (meta.hash, meta)).collect();
        let joins = metas.iter().rev().filter(|meta| joins(&by_hash, &meta.deps)).take(limits::CONFLICT_JOINS_MAX);
        let mut meetings: Vec<Vec<automerge::ChangeHash>> = joins.map(|meta| meta.deps.clone()).collect();
        meetings.push(heads.clone());
        let now: Vec<Shown> = match self.joined(&text, &heads)? {
            Some(joined) => joined.shown(0..u32::MAX),
            None => match guarded(|| Ok(Reading::new(&self.automerge, &text).elements(None)))? {
                Some(elements) => elements.iter().map(|element| (Some(element.id), element.ch)).collect(),
                None => return Ok(Vec::new()),
            },
        };
        let mut conflicts = Vec::new();
        for meeting in meetings {
            let then = self.text_object(Some(&meeting))?;
            let Some(joined) =
                then.filter(|then| *then == text).map(|text| self.joined(&text, &meeting)).transpose()?
            else {
                continue;
            };
            let Some(joined) = joined else {
                continue;
            };
            for (places, sides) in &joined.rewritten {
                let line = joined.shown(places.clone());
                if let Some(range) = find(&now, &line) {
                    let merged = line.iter().map(|(_, ch)| ch).collect();
                    conflicts.push(LineConflict { range, merged, sides: sides.clone() });
                }
            }
        }
        conflicts.sort_by_key(|conflict| (conflict.range.start, conflict.range.end));
        conflicts.dedup_by(|a, b| a.range == b.range);
        Ok(conflicts)
    }
}

type Metas<'a> = BTreeMap<automerge::ChangeHash, &'a ChangeMetadata<'a>>;

/// Whether two of these changes were made apart. Automerge names the last change of the same actor besides the heads,
/// which mostly is in their past.
fn joins(metas: &Metas<'_>, deps: &[automerge::ChangeHash]) -> bool {
    let apart = |a, b| !is_past(metas, a, b) && !is_past(metas, b, a);
    deps.iter().enumerate().any(|(index, a)| deps[..index].iter().any(|b| apart(*a, *b)))
}

/// Whether a change is in the past of another. What a change has in its past began with smaller counters.
fn is_past(metas: &Metas<'_>, past: automerge::ChangeHash, of: automerge::ChangeHash) -> bool {
    let Some(start) = metas.get(&past).map(|meta| meta.start_op) else { return false };
    let mut open = vec![of];
    let mut seen = BTreeSet::new();
    while let Some(hash) = open.pop() {
        if hash == past {
            return true;
        }
        if let Some(meta) = metas.get(&hash).filter(|meta| meta.start_op > start && seen.insert(hash)) {
            open.extend_from_slice(&meta.deps);
        }
    }
    false
}

/// Where a line stands with the same characters, none put between them since. What was restored got ids when it was
/// written down; a line of nothing else cannot be told from one that somebody wrote since, and is not looked for.
fn find(now: &[Shown], line: &[Shown]) -> Option<Range<usize>> {
    if line.iter().all(|(id, _)| id.is_none()) {
        return None;
    }
    let same = |(now, then): (&Shown, &Shown)| now.1 == then.1 && (now.0 == then.0 || then.0.is_none());
    let len = Some(line.len()).filter(|len| *len > 0)?;
    let start = now.windows(len).position(|shown| shown.iter().zip(line).all(same))?;
    Some(start..start + len)
}

/// Those of some heads that changed a text which the others did not know. The text at these is that at all.
pub(super) fn apart(automerge: &Automerge, heads: &[automerge::ChangeHash]) -> Vec<automerge::ChangeHash> {
    let mut left: Vec<automerge::ChangeHash> = heads.to_vec();
    left.sort_unstable();
    left.dedup();
    if left.len() > limits::JOINED_HEADS_MAX {
        return Vec::new();
    }
    let mut index = 0;
    while index < left.len() && left.len() > 1 {
        let head = left.remove(index);
        if touches(automerge, head, &left) {
            left.insert(index, head);
            index += 1;
        }
    }
    left
}

/// Whether a change of a head's past that is not in the past of the others is one of a text.
fn touches(automerge: &Automerge, head: automerge::ChangeHash, others: &[automerge::ChangeHash]) -> bool {
    unknown(automerge, head, others).into_iter().any(|hash| {
        automerge.get_change_by_hash(&hash).is_none_or(|change| {
            // One that cannot be told counts.
            preflight::Change::read(change.raw_bytes())
                .map_or(true, |change| change.ops.iter().any(|op| op.object.is_some()))
        })
    })
}

/// Changes of a head's past that are not in the past of the others.
fn unknown(
    automerge: &Automerge,
    head: automerge::ChangeHash,
    others: &[automerge::ChangeHash],
) -> BTreeSet<automerge::ChangeHash> {
    let metas = automerge.get_changes_meta(others);
    let deps: BTreeMap<automerge::ChangeHash, &[automerge::ChangeHash]> =
        metas.iter().map(|meta| (meta.hash, meta.deps.as_slice())).collect();
    let mut open = vec![head];
    let mut seen = BTreeSet::new();
    while let Some(hash) = open.pop() {
        if let Some(deps) = deps.get(&hash).filter(|_| seen.insert(hash)) {
            open.extend_from_slice(deps);
        }
    }
    seen
}

/// Ids of operations inside objects that changes of a head which another does not know overwrote or deleted; none if that
/// cannot be told.
fn overwritten(
    automerge: &Automerge,
    head: automerge::ChangeHash,
    other: automerge::ChangeHash,
) -> Option<BTreeSet<(u32, Vec<u8>)>> {
    let mut ids = BTreeSet::new();
    for hash in unknown(automerge, head, &[other]) {
        let change = automerge.get_change_by_hash(&hash)?;
        let change = preflight::Change::read(change.raw_bytes()).ok()?;
        let mut preds = change.preds.iter();
        for op in &change.ops {
            for pred in preds.by_ref().take(op.preds as usize) {
                if op.object.is_some() {
                    ids.insert((pred.counter, change.actor(pred.actor)?.to_vec()));
                }
            }
        }
    }
    Some(ids)
}

/// Which of two heads has characters that the other deleted: their versions are read; another's is what it knows of all.
fn has_deleted(automerge: &Automerge, left: automerge::ChangeHash, right: automerge::ChangeHash) -> [bool; 2] {
    match (overwritten(automerge, left, right), overwritten(automerge, right, left)) {
        (Some(by_left), Some(by_right)) => [!by_right.is_subset(&by_left), !by_left.is_subset(&by_right)],
        _ => [true, true],
    }
}

/// Reads characters with their ids.
struct Reading<'a> {
    automerge: &'a Automerge,
    text: &'a ObjId,
    /// Automerge's numbers of actors, until all are known and can be sorted.
    actors: BTreeMap<usize, ActorId>,
}

impl<'a> Reading<'a> {
    const fn new(automerge: &'a Automerge, text: &'a ObjId) -> Self {
        Self { automerge, text, actors: BTreeMap::new() }
    }

    /// The characters at some heads; none if the text holds anything else, which we never write.
    fn elements(&mut self, heads: Option<&[automerge::ChangeHash]>) -> Option<Vec<Element>> {
        let (items, len) = match heads {
            Some(heads) => {
                (self.automerge.list_range_at(self.text, .., heads), self.automerge.length_at(self.text, heads))
            }
            None => (self.automerge.list_range(self.text, ..), self.automerge.length(self.text)),
        };
        let mut elements = Vec::with_capacity(len);
        let mut last = usize::MAX;
        for item in items {
            let ObjId::Id(counter, actor, number) = item.id() else {
                return None;
            };
            if number != last {
                self.actors.entry(number).or_insert(actor);
                last = number;
            }
            let ValueRef::Scalar(ScalarValueRef::Str(value)) = &item.value else {
                return None;
            };
            let mut chars = value.chars();
            let (Some(ch), None) = (chars.next(), chars.next()) else {
                return None;
            };
            elements.push(Element { id: Id { counter, actor: number as u32 }, ch });
        }
        // Marks are listed and have no width.
        (elements.len() == len).then_some(elements)
    }

    /// Renames actors to their places among all of them in the order of their bytes.
    fn sort_actors(&self, elements: &mut [Element]) -> (Vec<&ActorId>, Vec<u32>) {
        let mut sorted: Vec<(&ActorId, usize)> = self.actors.iter().map(|(number, actor)| (actor, *number)).collect();
        sorted.sort_unstable();
        let places: BTreeMap<u32, u32> =
            sorted.iter().enumerate().map(|(place, (_, number))| (*number as u32, place as u32)).collect();
        let mut last = (u32::MAX, 0);
        for element in elements {
            if last.0 != element.id.actor {
                last = (element.id.actor, places.get(&element.id.actor).copied().unwrap_or(u32::MAX));
            }
            element.id.actor = last.1;
        }
        sorted.into_iter().map(|(actor, number)| (actor, number as u32)).unzip()
    }
}

/// The operations that a head knows: of each actor those below a counter, since what an actor does is one chain.
struct Past(Vec<u64>);

impl Past {
    fn of(automerge: &Automerge, head: automerge::ChangeHash, actors: &[&ActorId]) -> Self {
        let mut unknown = vec![u64::MAX; actors.len()];
        for meta in automerge.get_changes_meta(&[head]) {
            if let Ok(place) = actors.binary_search(&meta.actor.as_ref()) {
                unknown[place] = unknown[place].min(meta.start_op);
            }
        }
        Self(unknown)
    }

    fn knows(&self, id: Id) -> bool {
        self.0.get(id.actor as usize).is_some_and(|unknown| id.counter < *unknown)
    }
}

/// Joins the texts of some heads, one after the other. `all` are the heads that they stand for.
fn join(
    automerge: &Automerge,
    text: &ObjId,
    all: &[automerge::ChangeHash],
    apart: &[automerge::ChangeHash],
) -> Option<Joined> {
    let mut reading = Reading::new(automerge, text);
    let mut elements = reading.elements((all != automerge.get_heads()).then_some(all))?;
    // What one of two deleted and the other kept shows in their own versions only.
    let versions = match apart {
        [left, right] => {
            let [of_left, of_right] = has_deleted(automerge, *left, *right);
            let mut read = |head, needed| if needed { reading.elements(Some(&[head])).map(Some) } else { Some(None) };
            [read(*left, of_left)?, read(*right, of_right)?]
        }
        _ => [None, None],
    };
    let [has_left, has_right] = [versions[0].is_some(), versions[1].is_some()];
    let versions = versions.map(Option::unwrap_or_default);
    let all_elements = elements.len();
    let [left, right] = &versions;
    elements.extend(left.iter().chain(right));
    let (actors, numbers) = reading.sort_actors(&mut elements);
    let right = elements.split_off(all_elements + left.len());
    let left = elements.split_off(all_elements);
    let pasts: Vec<Past> = apart.iter().map(|head| Past::of(automerge, *head, &actors)).collect();
    let mut joined = Joined { elements, numbers, ..Joined::default() };
    if let [first, second] = pasts.as_slice() {
        let version = |read: bool, version: &[Element], own: &Past, other: &Past| {
            if read {
                placed(version, &joined.elements, own, other)
            } else {
                joined.living(|id| own.knows(id), |id| other.knows(id))
            }
        };
        let left = version(has_left, &left, first, second);
        let right = version(has_right, &right, second, first);
        joined.take_two(gaps::compare(&left, &right), [&left, &right], apart);
        let text = |items: &[Item]| items.iter().map(|item| item.ch).collect::<String>();
        if is_json(automerge, all) && parses(&text(&left)) && parses(&text(&right)) && !parses(&joined.text()) {
            joined = Joined { elements: joined.elements, numbers: joined.numbers, ..Joined::default() };
            joined.take_two(gaps::keep_left(&left, &right), [&left, &right], apart);
        }
    } else {
        let mut rewritten = Vec::new();
        for index in 1..apart.len() {
            let known = |pasts: &[Past], id| pasts.iter().any(|past| past.knows(id));
            let (before, one) = (&pasts[..index], &pasts[index..=index]);
            let left = joined.living(|id| known(before, id), |id| known(one, id));
            let right = joined.living(|id| known(one, id), |id| known(before, id));
            let lines = joined.take(gaps::compare(&left, &right));
            rewritten.extend(lines.into_iter().map(|line| line.places));
        }
        if !rewritten.is_empty() {
            let sides = Sides::read(&mut reading, &joined, apart)?;
            let listed = overlapping_as_one(rewritten).into_iter().map(|places| (sides.at(&places), places));
            // What was rewritten alike is no conflict.
            joined.rewritten =
                listed.filter(|(sides, _)| sides.len() > 1).map(|(sides, places)| (places, sides)).collect();
        }
    }
    Some(joined)
}

/// Whether the name of an entry says that its text is JSON.
fn is_json(automerge: &Automerge, heads: &[automerge::ChangeHash]) -> bool {
    match automerge.get_at(ROOT, key::NAME, heads) {
        Ok(Some((Value::Scalar(name), _))) => {
            matches!(name.as_ref(), ScalarValue::Str(name) if name.ends_with(".json"))
        }
        _ => false,
    }
}

pub(super) fn parses(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A version of one of two sides, with the places of its characters in the merged text.
fn placed(version: &[Element], merged: &[Element], own: &Past, other: &Past) -> Vec<Item> {
    let mut place = 0;
    let mut items = Vec::with_capacity(version.len());
    for element in version {
        // What this side does not know; what it knows and is there it has too.
        while merged.get(place).is_some_and(|there| there.id != element.id && !own.knows(there.id)) {
            place += 1;
        }
        let is_there = merged.get(place).is_some_and(|there| there.id == element.id);
        items.push(Item {
            id: element.id,
            ch: element.ch,
            place: is_there.then_some(place as u32),
            shared: is_there && other.knows(element.id),
        });
        place += usize::from(is_there);
    }
    items
}

impl Joined {
    /// What some heads know of what is shown.
    fn living(&self, own: impl Fn(Id) -> bool, other: impl Fn(Id) -> bool) -> Vec<Item> {
        let shown = self.elements.iter().enumerate().filter(|(place, _)| !self.hidden.contains(&(*place as u32)));
        shown
            .filter(|(_, element)| own(element.id))
            .map(|(place, element)| Item {
                id: element.id,
                ch: element.ch,
                place: Some(place as u32),
                shared: other(element.id),
            })
            .collect()
    }

    /// Takes in what came of comparing two sides, and gives the lines that both rewrote.
    fn take(&mut self, outcome: Outcome) -> Vec<Rewritten> {
        let Outcome { hidden, restored, rewritten } = outcome;
        self.hidden.extend(hidden);
        self.restored.extend(restored);
        self.restored.sort_by_key(|(place, _)| *place);
        rewritten
    }

    /// Takes in what came of comparing the two heads that there are.
    fn take_two(&mut self, outcome: Outcome, [left, right]: [&[Item]; 2], heads: &[automerge::ChangeHash]) {
        let version = |items: &[Item], head: Option<&automerge::ChangeHash>| LineVersion {
            heads: head.iter().map(|head| ChangeHash(head.0)).collect(),
            text: items.iter().map(|item| item.ch).collect(),
        };
        for line in self.take(outcome) {
            let left = version(&left[line.left], heads.first());
            let right = version(&right[line.right], heads.last());
            self.rewritten.push((line.places, vec![left, right]));
        }
    }
}
