//! The gap rule: what two sides put between the characters that both keep is shown once where it is the same.
//!
//! Two sides that made one edit, by a `git pull` or a formatter on both machines, inserted the same characters twice; a
//! text that merges by characters shows both. So the two versions are laid side by side. A *gap* is what stands between
//! two neighbouring characters that both know and keep. Where both versions of it read the same, one is shown and the
//! other hidden; so too for whole lines that lie between lines which neither touched, whatever characters in them are
//! shared, for two that came to the same text by different edits.
//!
//! Which one is hidden depends on the ids of the characters alone, so of three equal copies the same one is left whichever
//! two met first. Unequal insertions at one place both stay, each whole; only a block of lines of one writer that the
//! other side has too goes. Where both rewrote one line differently nothing in it is hidden; it is listed.
//!
//! This file knows characters and ids only; `shown` reads them out of documents.

use std::{
    collections::{BTreeMap, VecDeque},
    iter::once,
    ops::Range,
};

/// The name of an operation that inserted a character; actors by their place among all actors, sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) counter: u64,
    pub(super) actor: u32,
}

/// A character of one side's version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) id: Id,
    pub(super) ch: char,
    /// Where it stands in the merged text; nowhere if the other side deleted it.
    pub(super) place: Option<u32>,
    /// Whether the other side has it too.
    pub(super) shared: bool,
}

/// A line that both sides rewrote, as ranges of their versions and of the merged text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) left: Range<usize>,
    pub(super) right: Range<usize>,
    pub(super) places: Range<u32>,
}

/// What is to be done with the merged text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Places whose characters are not shown.
    pub(super) hidden: Vec<u32>,
    /// Characters that are shown in front of places besides: those that one side deleted although both versions have them,
    /// and some that are hidden where they stand. Those of one place in their order.
    pub(super) restored: Vec<(u32, char)>,
    /// Lines that both rewrote.
    pub(super) rewritten: Vec<Rewritten>,
}

/// Keeps the left of two versions whole, and lists all of it: for a text that is of no use if it is merged by lines.
pub(super) fn keep_left(left: &[Item], right: &[Item]) -> Outcome {
    let all = Rewritten { left: 0..left.len(), right: 0..right.len(), places: 0..u32::MAX };
    let mut outcome = Outcome { rewritten: vec![all], ..Outcome::default() };
    outcome.keep(left, right, 0);
    outcome
}

impl Outcome {
    /// Shows one of two versions of what begins at a place.
    fn keep(&mut self, kept: &[Item], other: &[Item], start: u32) {
        self.hidden.extend(other.iter().filter(|item| !item.shared).filter_map(|item| item.place));
        let mut next = start;
        for item in kept {
            match item.place {
                Some(place) => next = place + 1,
                None => self.restored.push((next, item.ch)),
            }
        }
    }
}

/// Compares the versions of two sides of one text, both in the order of the document.
pub(super) fn compare(left: &[Item], right: &[Item]) -> Outcome {
    let mut sides = Sides { left, right, mates: Vec::new(), outcome: Outcome::default() };
    if sides.find_mates() {
        sides.regions();
    }
    sides.outcome
}

struct Sides<'a> {
    left: &'a [Item],
    right: &'a [Item],
    /// For each shared character of the left, its place among the right.
    mates: Vec<Option<usize>>,
    outcome: Outcome,
}

/// What stands between two shared characters, in both versions.
struct Gap {
    left: Range<usize>,
    right: Range<usize>,
}

impl Sides<'_> {
    /// Whether both list the shared characters in one order; they do unless one was overwritten.
    fn find_mates(&mut self) -> bool {
        let mut right = self.right.iter().enumerate().filter(|(_, item)| item.shared);
        for item in self.left {
            let mate = if item.shared {
                match right.next() {
                    Some((index, mate)) if mate.id == item.id => Some(index),
                    _ => return false,
                }
            } else {
                None
            };
            self.mates.push(mate);
        }
        right.next().is_none()
    }

    /// What lies between lines that both have whole and untouched.
    fn regions(&mut self) {
        let (mut left, mut right) = (0, 0);
        let mut start = 0;
        while start < self.left.len() {
            let end = line_end(self.left, start);
            if let Some(mate) = self.untouched(start..end) {
                self.region(left..start, right..mate.start);
                (left, right) = (end, mate.end);
            }
            start = end;
        }
        self.region(left..self.left.len(), right..self.right.len());
    }

    /// Where a line of the left lies in the right, if it is one there too.
    fn untouched(&self, line: Range<usize>) -> Option<Range<usize>> {
        let first = self.mates[line.start]?;
        let mate = first..first + line.len();
        let aligned = self.mates[line.clone()].iter().copied().eq(mate.clone().map(Some));
        let begins = first == 0 || self.right[first - 1].ch == '\n';
        let ends = self.left[line.end - 1].ch == '\n' || mate.end == self.right.len();
        (aligned && begins && ends).then_some(mate)
    }

    fn region(&mut self, left: Range<usize>, right: Range<usize>) {
        let own = |items: &[Item]| items.iter().any(|item| !item.shared);
        if !own(&self.left[left.clone()]) || !own(&self.right[right.clone()]) {
            return;
        }
        if same_text(&self.left[left.clone()], &self.right[right.clone()]) {
            self.keep_one(left, right);
            return;
        }
        let mut line = Vec::new();
        let mut from = (left.start, right.start);
        let mut begin = from;
        for index in left.clone() {
            let Some(mate) = self.mates[index] else {
                continue;
            };
            line.push(Gap { left: from.0..index, right: from.1..mate });
            from = (index + 1, mate + 1);
            if self.left[index].ch == '\n' {
                self.line(&std::mem::take(&mut line), begin.0..from.0, begin.1..from.1);
                begin = from;
            }
        }
        line.push(Gap { left: from.0..left.end, right: from.1..right.end });
        self.line(&line, begin.0..left.end, begin.1..right.end);
    }

    /// The gaps between two line ends that both have.
    fn line(&mut self, gaps: &[Gap], left: Range<usize>, right: Range<usize>) {
        let rewritten = gaps.iter().any(|gap| {
            let (a, b) = (live(&self.left[gap.left.clone()]), live(&self.right[gap.right.clone()]));
            let whole = self.whole(gap, &a) || self.whole(gap, &b);
            !whole && !same(&a, &b)
        });
        for gap in gaps {
            self.gap(gap, rewritten);
        }
        if rewritten {
            let places = self.start_place(left.start)..self.end_place(left.end);
            self.outcome.rewritten.push(Rewritten { left, right, places });
        }
    }

    fn gap(&mut self, gap: &Gap, rewritten: bool) {
        let (left, right) = (&self.left[gap.left.clone()], &self.right[gap.right.clone()]);
        if left.is_empty() || right.is_empty() {
            return;
        }
        let (a, b) = (live(left), live(right));
        if same_text(left, right) {
            if !rewritten || self.whole(gap, &left.iter().collect::<Vec<_>>()) {
                self.keep_one(gap.left.clone(), gap.right.clone());
            }
        } else if same(&a, &b) {
            if !a.is_empty() && (!rewritten || self.whole(gap, &a)) {
                hide_greater(&mut self.outcome.hidden, &a, &b);
            }
        } else if self.begins_line(gap) && contains(&b, &a) {
            self.outcome.hidden.extend(a.iter().filter_map(|item| item.place));
        } else if self.begins_line(gap) && contains(&a, &b) {
            self.outcome.hidden.extend(b.iter().filter_map(|item| item.place));
        } else if self.whole(gap, &a) != self.whole(gap, &b) {
            self.order(gap, &a, &b);
        } else if self.begins_line(gap) {
            let text = |block: &[&Item]| block.iter().map(|item| item.ch).collect::<String>();
            let mut others: BTreeMap<String, VecDeque<&[&Item]>> = BTreeMap::new();
            for block in blocks(&b) {
                others.entry(text(block)).or_default().push_back(block);
            }
            for block in blocks(&a) {
                if let Some(other) = others.get_mut(&text(block)).and_then(VecDeque::pop_front) {
                    hide_greater(&mut self.outcome.hidden, block, other);
                }
            }
        }
    }

    /// Lines that one side inserted beside what the other wrote into the line that follows them, or goes before: they must
    /// not stand in the middle of it.
    fn order(&mut self, gap: &Gap, a: &[&Item], b: &[&Item]) {
        let (lines, part) = if self.whole(gap, a) { (a, b) } else { (b, a) };
        let place = |item: Option<&&Item>| item.and_then(|item| item.place);
        let (Some(from), Some(to)) = (place(lines.first()), place(lines.last())) else {
            return;
        };
        let (Some(part_from), Some(part_to)) = (place(part.first()), place(part.last())) else {
            return;
        };
        let lines_first = lines.last().is_some_and(|last| last.ch == '\n') && self.begins_line(gap);
        let at = match lines_first {
            true if part_from < to => to + 1,
            false if part_to > from => from,
            _ => return,
        };
        self.outcome.hidden.extend(part.iter().filter_map(|item| item.place));
        self.outcome.restored.extend(part.iter().map(|item| (at, item.ch)));
    }

    /// Two versions that read the same: one is shown. That with nothing deleted, if there is one, else that with the
    /// smaller id.
    fn keep_one(&mut self, left: Range<usize>, right: Range<usize>) {
        let start = self.start_place(left.start);
        let (left, right) = (&self.left[left], &self.right[right]);
        let rank = |items: &[Item]| {
            let first = items.iter().find(|item| !item.shared).map(|item| item.id);
            (items.iter().any(|item| item.place.is_none()), first)
        };
        let (kept, other) = if rank(left) <= rank(right) { (left, right) } else { (right, left) };
        self.outcome.keep(kept, other, start);
    }

    /// Whether what stands in a gap are lines of its own.
    fn whole(&self, gap: &Gap, items: &[&Item]) -> bool {
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return true;
        };
        let ends_line = self.left.get(gap.left.end).is_none_or(|item| item.ch == '\n');
        (self.begins_line(gap) && last.ch == '\n') || (first.ch == '\n' && ends_line)
    }

    fn begins_line(&self, gap: &Gap) -> bool {
        gap.left.start.checked_sub(1).is_none_or(|before| self.left[before].ch == '\n')
    }

    /// The place behind the last shared character before an index of the left.
    fn start_place(&self, index: usize) -> u32 {
        let shared = self.left[..index].iter().rev().find(|item| item.shared);
        shared.and_then(|item| item.place).map_or(0, |place| place + 1)
    }

    fn end_place(&self, index: usize) -> u32 {
        match index.checked_sub(1).map(|last| self.left[last]) {
            Some(Item { ch: '\n', shared: true, place: Some(place), .. }) => place + 1,
            _ => u32::MAX,
        }
    }
}

/// Where the line that begins at an index ends, behind its line end.
fn line_end(items: &[Item], start: usize) -> usize {
    let len = items[start..].iter().position(|item| item.ch == '\n').map_or(items.len() - start, |last| last + 1);
    start + len
}

/// What one side inserted.
fn live(items: &[Item]) -> Vec<&Item> {
    items.iter().filter(|item| !item.shared && item.place.is_some()).collect()
}

fn same_text(left: &[Item], right: &[Item]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.ch == right.ch)
}

fn same(left: &[&Item], right: &[&Item]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.ch == right.ch)
}

/// Whether the lines of `part` stand side by side among those of `all`, both of which begin a line.
fn contains(all: &[&Item], part: &[&Item]) -> bool {
    let text = |items: &[&Item]| once('\n').chain(items.iter().map(|item| item.ch)).collect::<String>();
    part.last().is_some_and(|last| last.ch == '\n') && text(all).contains(&text(part))
}

fn hide_greater(hidden: &mut Vec<u32>, left: &[&Item], right: &[&Item]) {
    let first = |items: &[&Item]| items.first().map(|item| item.id);
    let greater = if first(left) <= first(right) { right } else { left };
    hidden.extend(greater.iter().filter_map(|item| item.place));
}

/// The blocks of whole lines, one behind the other at the begin of a line, that one actor each wrote.
fn blocks<'a>(items: &'a [&'a Item]) -> Vec<&'a [&'a Item]> {
    let mut begins_line = true;
    let mut blocks: Vec<&[&Item]> = Vec::new();
    for block in items.chunk_by(|a, b| a.id.actor == b.id.actor) {
        let ends_line = block.last().is_some_and(|last| last.ch == '\n');
        if begins_line && ends_line {
            blocks.push(block);
        }
        begins_line = ends_line;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two versions as lists of characters, each with its writer in front: `b` is the base, `l` and `r` the sides. A small
    /// letter lives, a capital one (`B`) was deleted by the other side.
    fn sides(merged: &[(char, &str)]) -> (Vec<Item>, Vec<Item>) {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let mut place = 0;
        for (counter, (writer, text)) in merged.iter().enumerate() {
            for (offset, ch) in text.chars().enumerate() {
                let counter = (counter * 100 + offset) as u64;
                let actor = u32::from(*writer) % 7;
                let lives = matches!(writer, 'b' | 'l' | 'r' | 'm');
                let item =
                    Item { id: Id { counter, actor }, ch, place: lives.then_some(place), shared: *writer == 'b' };
                place += u32::from(lives);
                // `L` is of the base and only the left still has it.
                if matches!(writer, 'b' | 'l' | 'L' | 'm') {
                    left.push(item);
                }
                if matches!(writer, 'b' | 'r' | 'R') {
                    right.push(item);
                }
            }
        }
        (left, right)
    }

    fn shown(merged: &[(char, &str)]) -> (String, Outcome) {
        let (left, right) = sides(merged);
        let outcome = compare(&left, &right);
        let mut text = String::new();
        let mut place = 0;
        for (writer, part) in merged {
            for ch in part.chars().filter(|_| matches!(writer, 'b' | 'l' | 'r' | 'm')) {
                text.extend(outcome.restored.iter().filter(|(at, _)| *at == place).map(|(_, ch)| ch));
                if !outcome.hidden.contains(&place) {
                    text.push(ch);
                }
                place += 1;
            }
        }
        text.extend(outcome.restored.iter().filter(|(at, _)| *at == place).map(|(_, ch)| ch));
        (text, outcome)
    }

    #[test]
    fn equal_lines_at_one_place_are_shown_once_and_the_smaller_id_stays() {
        let (text, outcome) = shown(&[('b', "one\n"), ('l', "new\n"), ('r', "new\n"), ('b', "two\n")]);
        assert_eq!(text, "one\nnew\ntwo\n");
        assert_eq!(outcome.hidden, [8, 9, 10, 11]);
    }

    #[test]
    fn equal_lines_at_two_places_both_stay() {
        let (text, _) = shown(&[('l', "new\n"), ('b', "one\n"), ('r', "new\n"), ('b', "two\n")]);
        assert_eq!(text, "new\none\nnew\ntwo\n");
    }

    #[test]
    fn an_equal_word_is_shown_once() {
        let (text, outcome) =
            shown(&[('b', "the "), ('l', "color"), ('r', "color"), ('b', " of a "), ('l', "sky"), ('b', "\n")]);
        assert_eq!(text, "the color of a sky\n");
        assert_eq!(outcome.rewritten, []);
    }

    #[test]
    fn in_a_line_that_both_rewrote_nothing_is_hidden_and_it_is_listed() {
        let (text, outcome) =
            shown(&[('b', "a\nx "), ('l', "y"), ('r', "y"), ('b', " "), ('l', "1"), ('r', "2"), ('b', "\nz\n")]);
        assert_eq!(text, "a\nx yy 12\nz\n");
        assert_eq!(outcome.rewritten, [Rewritten { left: 2..8, right: 2..8, places: 2..10 }]);
    }

    #[test]
    fn blocks_of_equal_shape_stay_whole() {
        let merged = [('b', "top\n"), ('l', "fn a {\n}\n"), ('r', "fn b {\n}\n"), ('b', "end\n")];
        let (text, outcome) = shown(&merged);
        assert_eq!(text, "top\nfn a {\n}\nfn b {\n}\nend\n");
        assert_eq!(outcome, Outcome::default());
    }

    #[test]
    fn a_block_that_the_other_side_has_too_goes_whoever_wrote_beside_it() {
        // The left joined two sides before: what one of them wrote is here once more.
        let merged = [('b', "top\n"), ('l', "fn a {\n}\n"), ('m', "fn c {\n}\n"), ('r', "fn a {\n}\n"), ('b', "end\n")];
        assert_eq!(shown(&merged).0, "top\nfn a {\n}\nfn c {\n}\nend\n");
    }

    #[test]
    fn lines_that_the_other_side_has_among_its_own_go() {
        let merged = [('b', "top\n"), ('l', "x\n"), ('r', "w\nx\ny\n"), ('b', "end\n")];
        assert_eq!(shown(&merged).0, "top\nw\nx\ny\nend\n");
        let merged = [('b', "top\n"), ('l', "x\ny\n"), ('r', "x\n"), ('b', "end\n")];
        assert_eq!(shown(&merged).0, "top\nx\ny\nend\n");
        let merged = [('b', "top\n"), ('l', "x\n"), ('r', "wx\ny\n"), ('b', "end\n")];
        assert_eq!(shown(&merged).0, "top\nx\nwx\ny\nend\n");
    }

    #[test]
    fn inserted_lines_do_not_tear_the_line_that_follows() {
        for merged in [
            [('b', "top\n"), ('l', "the "), ('r', "new\n"), ('b', "end\n")],
            [('b', "top\n"), ('r', "new\n"), ('l', "the "), ('b', "end\n")],
            [('b', "top\n"), ('r', "the "), ('l', "new\n"), ('b', "end\n")],
        ] {
            let (text, outcome) = shown(&merged);
            assert_eq!((text.as_str(), outcome.rewritten.len()), ("top\nnew\nthe end\n", 0));
        }
        for merged in [[('b', "end"), ('l', "\nnew"), ('r', " it")], [('b', "end"), ('l', " it"), ('r', "\nnew")]] {
            assert_eq!(shown(&merged).0, "end it\nnew");
        }
    }

    #[test]
    fn two_that_came_to_one_text_by_different_edits_show_it() {
        // Each deleted the line that the other kept.
        let merged = [('b', "a\n"), ('L', "x\n"), ('R', "x\n"), ('b', "b\n")];
        assert_eq!(shown(&merged).0, "a\nx\nb\n");
        // One moved what the other kept.
        let merged = [('b', "a\n"), ('r', "x\n"), ('L', "x\n"), ('b', "b\n")];
        assert_eq!(shown(&merged), ("a\nx\nb\n".to_owned(), Outcome::default()));
        // One wrote behind what it kept, the other anew.
        let merged = [('b', "a\n"), ('L', "x\n"), ('l', "y\n"), ('r', "x\ny\n"), ('b', "b\n")];
        assert_eq!(shown(&merged).0, "a\nx\ny\nb\n");
        // Lines that are the same although the shared characters in them lie elsewhere.
        let merged = [('b', "a\n"), ('l', "x y "), ('b', "x"), ('r', " y x"), ('b', "\n")];
        assert_eq!(shown(&merged).0, "a\nx y x\n");
    }

    #[test]
    fn a_missing_last_line_end_is_no_conflict_of_lines() {
        let (text, outcome) = shown(&[('b', "p"), ('l', "\nq"), ('r', "\nq")]);
        assert_eq!((text.as_str(), outcome.rewritten.len()), ("p\nq", 0));
        let (text, outcome) = shown(&[('b', "p"), ('l', "\nq"), ('r', "\nz")]);
        assert_eq!((text.as_str(), outcome.rewritten.len()), ("p\nq\nz", 0));
    }

    #[test]
    fn what_only_one_changed_is_left_alone() {
        for merged in [&[('b', "a\n"), ('l', "x\nx\n"), ('b', "b\n")][..], &[('l', "x")], &[('R', "x")], &[]] {
            assert_eq!(shown(merged).1, Outcome::default());
        }
    }
}
