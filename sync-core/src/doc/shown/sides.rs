//! What each of three and more heads has of lines that several of them rewrote.
//!
//! Two heads are compared once, and that says it. More are compared one after the other, each with all before it, so that a
//! line which three rewrote differs twice, the second time against a version that nobody wrote. So the lines are gathered
//! first, and then each head's own version of them is read.

use std::{collections::BTreeSet, ops::Range};

use super::{Element, Joined, LineVersion, Past, Reading, placed};
use crate::{doc::gaps::Id, ids::ChangeHash};

/// Ranges that have places in common, as one.
pub(super) fn overlapping_as_one(mut ranges: Vec<Range<u32>>) -> Vec<Range<u32>> {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut apart: Vec<Range<u32>> = Vec::new();
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.start < last.end || range == *last => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

/// The whole versions of several heads, beside what they have together.
pub(super) struct Sides<'a> {
    heads: &'a [automerge::ChangeHash],
    merged: Vec<Element>,
    versions: Vec<(Vec<Element>, Past)>,
}

impl<'a> Sides<'a> {
    /// Reads them.
    pub(super) fn read(reading: &mut Reading<'_>, joined: &Joined, heads: &'a [automerge::ChangeHash]) -> Option<Self> {
        // What others deleted may be of actors that wrote nothing which is left: all are named anew.
        let number = |actor: u32| joined.numbers.get(actor as usize).copied().unwrap_or(u32::MAX);
        let mut all: Vec<Element> = (joined.elements.iter())
            .map(|element| Element { id: Id { actor: number(element.id.actor), ..element.id }, ..*element })
            .collect();
        let mut starts = Vec::new();
        for head in heads {
            starts.push(all.len());
            all.extend(reading.elements(Some(&[*head]))?);
        }
        let (actors, _) = reading.sort_actors(&mut all);
        let pasts = heads.iter().map(|head| Past::of(reading.automerge, *head, &actors));
        let mut versions: Vec<Vec<Element>> = starts.iter().rev().map(|start| all.split_off(*start)).collect();
        versions.reverse();
        Some(Self { heads, merged: all, versions: versions.into_iter().zip(pasts).collect() })
    }

    /// The versions of some places that those have who changed anything there. Heads with the same are one side.
    pub(super) fn at(&self, places: &Range<u32>) -> Vec<LineVersion> {
        let versions: Vec<Vec<Element>> =
            self.versions.iter().map(|(version, past)| within(version, &self.merged, past, places)).collect();
        let all: BTreeSet<Id> = versions.iter().flatten().map(|element| element.id).collect();
        let all_know = |id: Id| self.versions.iter().all(|(_, past)| past.knows(id));
        let mut sides: Vec<LineVersion> = Vec::new();
        for ((head, (_, past)), version) in self.heads.iter().zip(&self.versions).zip(&versions) {
            let has: BTreeSet<Id> = version.iter().map(|element| element.id).collect();
            let wrote = has.iter().any(|id| !all_know(*id));
            if !wrote && !all.iter().any(|id| past.knows(*id) && !has.contains(id)) {
                continue;
            }
            let text: String = version.iter().map(|element| element.ch).collect();
            match sides.iter_mut().find(|side| side.text == text) {
                Some(side) => side.heads.push(ChangeHash(head.0)),
                None => sides.push(LineVersion { heads: vec![ChangeHash(head.0)], text }),
            }
        }
        sides
    }
}

/// What a version of one side has at some places of the merged text, with what it keeps there and another deleted.
fn within(version: &[Element], merged: &[Element], own: &Past, places: &Range<u32>) -> Vec<Element> {
    let is_last = places.end as usize >= merged.len();
    let inside = |place: Option<u32>, at: usize| match place {
        Some(place) => places.contains(&place),
        None => at >= places.start as usize && (at < places.end as usize || is_last),
    };
    let mut within = Vec::new();
    // Where in the merged text what it lacks would stand: behind what is known of before.
    let mut at = 0;
    for (element, item) in version.iter().zip(placed(version, merged, own, own)) {
        if inside(item.place, at) {
            within.push(*element);
        }
        at = item.place.map_or(at, |place| place as usize + 1);
    }
    within
}
