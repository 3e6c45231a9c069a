//! Texts that moved and were changed on the way, as by a program that writes them anew under another name: told by the
//! lines that a file which is gone and one which is new have in common.
//!
//! The last and weakest evidence of a move, behind the path, the inode and the bytes. Identity decides only where later
//! edits of others land, so a wrong guess costs little. The measure is that of git's rename detection (`-M50%`): of the
//! larger text at least half.

use std::collections::{BTreeMap, BTreeSet};

use super::{RoundError, Rounds, host::Host, lock};
use crate::{
    doc::{entry::Kind, text},
    folder::{
        ingest::Loaded,
        local::{Into as Within, Made, Moved},
    },
    ids::DocId,
    limits,
};

/// The lines of a text and how often each is there.
struct Lines<'a> {
    counts: BTreeMap<&'a str, usize>,
    bytes: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let mut counts = BTreeMap::new();
        for line in text.split_inclusive('\n') {
            *counts.entry(line).or_default() += 1;
        }
        Self { counts, bytes: text.len() }
    }

    /// Whether their lengths allow it.
    const fn may_be_alike(&self, other: &Self) -> bool {
        let (less, more) = if self.bytes < other.bytes { (self.bytes, other.bytes) } else { (other.bytes, self.bytes) };
        less * 1000 >= more * limits::ALIKE_THOUSANDTHS
    }

    /// How much of the larger text both have, in thousandths.
    fn likeness(&self, other: &Self) -> usize {
        let both = |(line, count): (&&str, &usize)| {
            line.len() * other.counts.get(line).copied().unwrap_or_default().min(*count)
        };
        let common: usize = self.counts.iter().map(both).sum();
        common * 1000 / self.bytes.max(other.bytes).max(1)
    }
}

impl Rounds {
    /// Pairs of a file that was made, by its index, and a missing one that it is another version of.
    pub(super) fn moved_and_changed(
        &mut self,
        host: &mut dyn Host,
        made: &[Made],
        loaded: &BTreeMap<usize, Loaded>,
        known: &BTreeSet<usize>,
        missing: &BTreeSet<DocId>,
    ) -> Result<Vec<(usize, Moved)>, RoundError> {
        let new: BTreeMap<usize, &str> = loaded
            .iter()
            .filter(|(index, file)| !known.contains(index) && file.stat.size >= limits::ALIKE_BYTES_MIN)
            .filter_map(|(index, file)| Some((*index, text::as_text(file.bytes.as_deref()?)?)))
            .collect();
        // Who may only read moves nothing.
        if new.is_empty() || new.len() > limits::ALIKE_FILES_MAX || host.space().is_some_and(|space| space.reads_only) {
            return Ok(Vec::new());
        }
        let gone: Vec<DocId> = {
            let base = lock(&self.parts.base);
            let is_large = |size: u64| (limits::ALIKE_BYTES_MIN..=limits::TEXT_BYTES_MAX as u64).contains(&size);
            let is_file = |doc: &&DocId| {
                base.on_disk(doc).is_some_and(|(row, stat)| row.kind == Kind::File && is_large(stat.size))
            };
            missing.iter().filter(is_file).copied().collect()
        };
        if gone.is_empty() || gone.len() > limits::ALIKE_FILES_MAX {
            return Ok(Vec::new());
        }
        let mut old = BTreeMap::new();
        for doc in gone {
            // One that cannot be read is like nothing.
            if let Ok(Some(text)) = self.ingest_with(host, |ingest| ingest.text_of_base(&doc)) {
                old.insert(doc, text);
            }
        }
        let places: BTreeMap<DocId, (Option<DocId>, String)> = {
            let base = lock(&self.parts.base);
            let place = |doc: &DocId| base.row(doc).map(|row| (*doc, (row.parent, row.name.clone())));
            old.keys().filter_map(place).collect()
        };
        Ok(pair(made, &new, &old, &places))
    }
}

/// The most alike first; of equals those that kept their name, then their directory.
fn pair(
    made: &[Made],
    new: &BTreeMap<usize, &str>,
    old: &BTreeMap<DocId, String>,
    places: &BTreeMap<DocId, (Option<DocId>, String)>,
) -> Vec<(usize, Moved)> {
    let old: Vec<(DocId, Lines<'_>)> = old.iter().map(|(doc, text)| (*doc, Lines::of(text))).collect();
    let mut compared = 0;
    let mut pairs = Vec::new();
    for (index, text) in new {
        let lines = Lines::of(text);
        let Made { into, name, .. } = &made[*index];
        for (doc, old) in old.iter().filter(|(_, old)| lines.may_be_alike(old)) {
            compared += lines.bytes;
            // What is beyond is told by its bytes only.
            let likeness = if compared <= limits::ALIKE_BYTES_MAX { lines.likeness(old) } else { 0 };
            if likeness >= limits::ALIKE_THOUSANDTHS {
                let place = places.get(doc);
                let same_name = place.is_some_and(|(_, was)| was == name);
                let same_dir = place.is_some_and(|(was, _)| matches!(into, Within::Known(dir) if dir == was));
                pairs.push(((likeness, same_name, same_dir), *index, *doc));
            }
        }
    }
    pairs.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
    let (mut taken, mut moved) = (BTreeSet::new(), BTreeMap::new());
    for (_, index, doc) in pairs {
        if !moved.contains_key(&index) && taken.insert(doc) {
            let Made { into, name, found, .. } = &made[index];
            moved.insert(index, Moved { doc, into: *into, name: name.clone(), found: *found });
        }
    }
    moved.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        folder::{Found, FoundKind},
        store::row::Stat,
    };

    fn likeness(a: &str, b: &str) -> usize {
        let (forth, back) = (Lines::of(a).likeness(&Lines::of(b)), Lines::of(b).likeness(&Lines::of(a)));
        assert_eq!(forth, back);
        forth
    }

    #[test]
    fn texts_are_alike_by_the_lines_that_both_have() {
        let text = "one\ntwo\nthree\nfour\n";
        assert_eq!(likeness(text, text), 1000);
        assert_eq!(likeness(text, "four\nthree\ntwo\none\n"), 1000, "in any order");
        assert_eq!(likeness(text, "five\n"), 0);
        assert_eq!(likeness("aaaa\nbbbb\n", "aaaa\ncccc\n"), 500);
        assert_eq!(likeness("aaaa\n", "aaaa\naaaa\naaaa\naaaa\n"), 250, "each line counts as often as it is there");
        assert_eq!(likeness("", ""), 0);
        assert_eq!(likeness("no end", "no end\n"), 0);
        let may = |a: &str, b: &str| Lines::of(a).may_be_alike(&Lines::of(b));
        assert!(may("12", "1234") && may("1234", "12") && !may("12", "12345") && !may("12345", "12"));
    }

    #[test]
    fn so_many_bytes_of_texts_are_compared_and_no_more() {
        let stat = Stat { size: 1, mtime_ns: 1, ctime_ns: 1, btime_ns: 1, inode: 1, device: 1, exec: false };
        let found = Found { kind: FoundKind::File, stat };
        let made =
            ["1", "2"].map(|name| Made { into: Within::Known(None), name: name.into(), found, left_alone: false });
        for (over, pairs) in [(0, 2), (1, 1)] {
            let texts = [("a", limits::ALIKE_BYTES_MAX - 100), ("b", 100 + over)].map(|(line, len)| line.repeat(len));
            let new = BTreeMap::from([(0, texts[0].as_str()), (1, texts[1].as_str())]);
            let old = BTreeMap::from([(DocId([1; 32]), texts[0].clone()), (DocId([2; 32]), texts[1].clone())]);
            assert_eq!(pair(&made, &new, &old, &BTreeMap::new()).len(), pairs, "{over} bytes more");
        }
    }
}
