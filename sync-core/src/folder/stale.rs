//! Saves of an editor that still showed an older version, and would take back what others wrote since.
//!
//! Whoever loads a file, and saves it after a version of somebody else was put in its place, writes over that version
//! without having seen it. Such a save is an edit of the version that was loaded. It is told from somebody who takes a
//! change back by what it leaves: it undoes all that came and nothing else near it, and changes something far from that.
//! What has the bytes of the older version exactly is that somebody, as `git checkout` does. Where it could be either, it
//! is not one of these: then the other's edit goes, and rests in history.
//!
//! [`is_stale`] and [`Versions`] decide and remember; nothing here reads a document or a disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    doc::{
        entry::Kind,
        text::{self, Splice},
    },
    ids::{ChangeHash, ContentHash, DocId},
    limits,
    store::row::BaseRow,
};

/// What a file held until a version of others took its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Heads whose content it was.
    pub heads: Vec<ChangeHash>,
    /// Hash of its bytes.
    pub hash: ContentHash,
    displaced_ms: u64,
}

/// The last versions of files that others changed and nobody here has saved since.
#[derive(Debug, Default)]
pub struct Versions {
    files: BTreeMap<DocId, VecDeque<Version>>,
    /// The files by when their newest version was displaced.
    order: BTreeSet<(u64, DocId)>,
}

impl Versions {
    /// A version of others took the place of what a file held.
    pub fn displaced(&mut self, doc: DocId, was: &BaseRow, now_ms: u64) {
        if was.kind != Kind::File {
            return;
        }
        let versions = self.files.entry(doc).or_default();
        if let Some(last) = versions.back() {
            self.order.remove(&(last.displaced_ms, doc));
        }
        if versions.len() >= limits::STALE_VERSIONS_MAX {
            versions.pop_front();
        }
        versions.push_back(Version { heads: was.heads.clone(), hash: was.hash, displaced_ms: now_ms });
        self.order.insert((now_ms, doc));
        while self.order.len() > limits::STALE_FILES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.files.remove(&oldest);
        }
    }

    /// Somebody here has saved the file: whoever does so again has this version, or the one that comes next.
    pub fn forget(&mut self, doc: &DocId) {
        if let Some(last) = self.files.remove(doc).as_ref().and_then(VecDeque::back) {
            self.order.remove(&(last.displaced_ms, *doc));
        }
    }

    /// Versions that an editor may still show, the newest first.
    pub fn recent(&self, doc: &DocId, now_ms: u64) -> impl Iterator<Item = &Version> {
        let versions = self.files.get(doc).into_iter().flatten().rev();
        versions.take_while(move |version| now_ms.saturating_sub(version.displaced_ms) <= limits::STALE_SAVE_MS)
    }
}

/// Lines of a text from one up to another that an edit touches; none where it only puts lines between two of them.
type Lines = (usize, usize);

/// The lines of `old` that splices touch.
fn touched(old: &str, splices: &[Splice]) -> Vec<Lines> {
    let ends = old.chars().enumerate().filter(|(_, ch)| *ch == '\n').map(|(at, _)| at + 1);
    let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
    let line_of = |at: usize| starts.partition_point(|start| *start <= at) - 1;
    let lines = splices.iter().map(|splice| {
        let first = line_of(splice.at);
        let puts_lines = splice.delete == 0 && starts[first] == splice.at && splice.insert.ends_with('\n');
        match splice.delete {
            0 if puts_lines => (first, first),
            0 => (first, first + 1),
            delete => (first, line_of(splice.at + delete - 1) + 1),
        }
    });
    lines.collect()
}

/// Whether there is a line between any two of these that neither touches.
fn are_apart(ours: &[Lines], theirs: &[Lines]) -> bool {
    ours.iter().all(|(from, to)| theirs.iter().all(|(other_from, other_to)| to < other_from || other_to < from))
}

fn size(splices: &[Splice]) -> usize {
    splices.iter().map(|splice| splice.delete + splice.insert.chars().count()).sum()
}

/// Whether `disk`, which was saved where `base` was, is an edit of `older`, and how large that is. All that came from
/// `older` to `base` was brought by others.
#[must_use]
pub fn is_stale(older: &str, base: &str, disk: &str) -> Option<usize> {
    if older == base || older == disk || base == disk {
        return None;
    }
    let brought = text::diff(older, base);
    let edit = text::diff(older, disk);
    // Where they are apart, all that was brought is undone, and by nothing but the old text.
    let undoes_all = are_apart(&touched(older, &edit), &touched(older, &brought));
    let edit = size(&edit);
    (undoes_all && edit < size(&text::diff(base, disk))).then_some(edit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "one\ntwo\nthree\nfour\nfive\n";
    const NEW: &str = "one\nof a peer\ntwo\nthree\nfour\nfive\n";

    #[test]
    fn a_save_that_undoes_what_came_and_edits_elsewhere_is_stale() {
        assert!(is_stale(OLD, NEW, "one\ntwo\nthree\nfour\nfive\nsix\n").is_some(), "appends");
        assert!(is_stale(OLD, NEW, "one\ntwo\nthree\n4\nfive\n").is_some(), "rewrites");
        assert!(is_stale(OLD, NEW, "one\ntwo\nthree\nfive\n").is_some(), "deletes");
        assert!(is_stale(NEW, OLD, "one\nof a peer\ntwo\nthree\nfour\nfive\nsix\n").is_some(), "brings back");
        let twice = "one\nof a peer\ntwo\nthree\nfour\nfive\nof a peer\n";
        assert!(is_stale(OLD, twice, "one\ntwo\nthree\n4\nfive\n").is_some(), "two places");
    }

    #[test]
    fn who_takes_something_back_is_not_stale() {
        assert_eq!(is_stale(OLD, NEW, OLD), None, "the old bytes exactly");
        assert_eq!(is_stale(OLD, NEW, NEW), None, "the new ones");
        assert_eq!(is_stale(OLD, NEW, "one\nof me\ntwo\nthree\nfour\nfive\n"), None, "writes in its place");
        assert_eq!(is_stale(OLD, NEW, "one\n2\nthree\nfour\nfive\n"), None, "rewrites what is right beside it");
        assert_eq!(is_stale(OLD, NEW, "1\ntwo\nthree\nfour\nfive\n"), None, "on either side");
        assert_eq!(is_stale(OLD, NEW, "one\nof a peer\ntwo\nthree\nfour\nfive\nsix\n"), None, "leaves it");
        let twice = "one\nof a peer\ntwo\nthree\nfour\nfive\nof a peer\n";
        assert_eq!(is_stale(OLD, twice, "one\ntwo\nthree\n4\nfive\nof a peer\n"), None, "takes back a part");
        assert_eq!(is_stale(OLD, "another text\n", "one\nno longer\n"), None, "a file that was replaced");
        assert_eq!(is_stale("a\n", "a\nof a peer\n", "a\nof me\n"), None, "both at the end");
        assert_eq!(is_stale("", "of a peer\n", "of me\n"), None, "both in an empty file");
    }

    fn row(heads: u8) -> BaseRow {
        BaseRow {
            kind: Kind::File,
            parent: None,
            name: "f".into(),
            heads: vec![ChangeHash([heads; 32])],
            hash: ContentHash([heads; 32]),
            stat: None,
            intent: None,
            racy: false,
        }
    }

    fn doc(number: usize) -> DocId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        DocId(id)
    }

    fn hashes(versions: &Versions, number: usize, now_ms: u64) -> Vec<u8> {
        versions.recent(&doc(number), now_ms).map(|version| version.hash.0[0]).collect()
    }

    #[test]
    fn so_many_versions_are_known_for_so_long() {
        let mut versions = Versions::default();
        let last = limits::STALE_VERSIONS_MAX as u8;
        (1..=last).for_each(|number| versions.displaced(doc(0), &row(number), 5));
        assert_eq!(hashes(&versions, 0, 5), (1..=last).rev().collect::<Vec<_>>(), "at the bound");
        versions.displaced(doc(0), &row(last + 1), 6);
        assert_eq!(hashes(&versions, 0, 6), (2..=last + 1).rev().collect::<Vec<_>>(), "and one past it");
        assert_eq!(hashes(&versions, 0, 6 + limits::STALE_SAVE_MS), [last + 1]);
        assert_eq!(hashes(&versions, 0, 7 + limits::STALE_SAVE_MS), [0; 0]);
        versions.forget(&doc(0));
        assert_eq!(hashes(&versions, 0, 6), [0; 0]);
        versions.displaced(doc(0), &BaseRow { kind: Kind::Link, ..row(1) }, 5);
        assert_eq!(hashes(&versions, 0, 5), [0; 0]);
    }

    #[test]
    fn versions_of_so_many_files_are_known() {
        let mut versions = Versions::default();
        (0..limits::STALE_FILES_MAX).for_each(|number| versions.displaced(doc(number), &row(1), number as u64));
        versions.displaced(doc(0), &row(2), limits::STALE_FILES_MAX as u64);
        assert_eq!((hashes(&versions, 0, 0), hashes(&versions, 1, 0)), (vec![2, 1], vec![1]), "at the bound");
        versions.displaced(doc(limits::STALE_FILES_MAX), &row(1), limits::STALE_FILES_MAX as u64);
        assert_eq!((hashes(&versions, 0, 0), hashes(&versions, 1, 0)), (vec![2, 1], vec![]), "the oldest goes");
        assert_eq!((versions.files.len(), versions.order.len()), (limits::STALE_FILES_MAX, limits::STALE_FILES_MAX));
    }

    /// Changes line `at` of a text of lines that are all different; `how` says in which way.
    fn edited(lines: &[String], at: usize, how: u8, word: &str) -> Vec<String> {
        let mut lines = lines.to_vec();
        match how % 3 {
            0 => lines[at] = format!("{word} {at}\n"),
            1 => lines.insert(at, format!("{word} before {at}\n")),
            _ => drop(lines.remove(at)),
        }
        lines
    }

    proptest! {
        #[test]
        fn edits_of_both_sides_meet_wherever_they_are_apart(
            count in 3_usize..40, at in any::<(usize, usize)>(), how in any::<(u8, u8)>(),
        ) {
            let lines: Vec<String> = (0..count).map(|number| format!("line {number}\n")).collect();
            let (theirs, ours) = (at.0 % count, at.1 % count);
            let older = lines.concat();
            let base = edited(&lines, theirs, how.0, "theirs").concat();
            let disk = edited(&lines, ours, how.1, "ours").concat();
            if theirs.abs_diff(ours) >= 2 {
                prop_assert!(is_stale(&older, &base, &disk).is_some());
            } else if theirs == ours {
                prop_assert_eq!(is_stale(&older, &base, &disk), None);
            }
            // What leaves theirs in place is of the version that has it.
            let seen = edited(&lines, theirs, 0, "theirs");
            let on_top = edited(&seen, ours, how.1, "ours").concat();
            if theirs != ours {
                prop_assert_eq!(is_stale(&older, &seen.concat(), &on_top), None);
            }
        }

        #[test]
        fn any_three_texts_are_decided(older in "[abc\n]{0,30}", base in "[abc\n]{0,30}", disk in "[abc\n]{0,30}") {
            if let Some(edit) = is_stale(&older, &base, &disk) {
                prop_assert!(older != base && base != disk && disk != older);
                prop_assert_eq!(edit, size(&text::diff(&older, &disk)));
            }
        }
    }
}
