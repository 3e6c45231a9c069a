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
        Ok(self.pair(made, &new, &old))
    }

    /// The most alike first; of equals those that kept their name, then their directory.
    fn pair(&self, made: &[Made], new: &BTreeMap<usize, &str>, old: &BTreeMap<DocId, String>) -> Vec<(usize, Moved)> {
        let base = lock(&self.parts.base);
        let old: Vec<(DocId, Lines<'_>)> = old.iter().map(|(doc, text)| (*doc, Lines::of(text))).collect();
        let mut pairs = Vec::new();
        for (index, text) in new {
            let lines = Lines::of(text);
            let Made { into, name, .. } = &made[*index];
            for (doc, old) in &old {
                let likeness = lines.likeness(old);
                if likeness >= limits::ALIKE_THOUSANDTHS {
                    let row = base.row(doc);
                    let same_name = row.is_some_and(|row| row.name == *name);
                    let same_dir = row.is_some_and(|row| matches!(into, Within::Known(dir) if *dir == row.parent));
                    pairs.push(((likeness, same_name, same_dir), *index, *doc));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
        let (mut taken, mut moved) = (BTreeSet::new(), BTreeMap::new());
        for (_, index, doc) in pairs {
            if !moved.contains_key(&index) && taken.insert(doc) {
                let Made { into, name, found } = &made[index];
                moved.insert(index, Moved { doc, into: *into, name: name.clone(), found: *found });
            }
        }
        moved.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
