//! Which tokens of two sequences correspond: the alignment that git's histogram diff finds.
//!
//! A merge compares two sides with their common past, each by an alignment of its own. Where a line stands more than once the
//! two must be aligned alike, or an edit that both made looks like two. So the alignment follows git, against whose
//! merges ours are tested: the longest common stretch among the rarest tokens first, then what is left and right of it;
//! common ends get no preference, since that would let an edit elsewhere decide; and what may stand in several places
//! slides to the last of them.
//!
//! A range in which every token is common is left to Myers' algorithm, and so is what remains when the work, which is
//! counted and not timed, becomes too much: the same input gives the same alignment on every machine.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, Token};

use crate::limits;

/// A range of the old sequence that a range of the new one replaces; either may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hunk {
    pub(super) old: Range<usize>,
    pub(super) new: Range<usize>,
}

/// What differs between two sequences whose tokens are below `tokens`, in order; two hunks have a common token between
/// them. A token that is `light`, as the blank between two words, anchors nothing as long as another does.
pub(super) fn hunks(old: &[Token], new: &[Token], tokens: u32, light: impl Fn(Token) -> bool) -> Vec<Hunk> {
    let light = (0..tokens).map(|token| light(Token(token))).collect();
    let mut alignment = Alignment::new(old, new, light);
    alignment.find();
    let Alignment { mut removed, mut added, .. } = alignment;
    slide(&mut removed, &added, old);
    slide(&mut added, &removed, new);
    collect(&removed, &added)
}

/// The hunks that two rows of flags describe.
fn collect(removed: &[bool], added: &[bool]) -> Vec<Hunk> {
    let run = |flags: &[bool], from: usize| flags[from..].iter().take_while(|flag| **flag).count();
    let (mut old, mut new) = (0, 0);
    let mut hunks = Vec::new();
    loop {
        let hunk = Hunk { old: old..old + run(removed, old), new: new..new + run(added, new) };
        (old, new) = (hunk.old.end + 1, hunk.new.end + 1);
        if !hunk.old.is_empty() || !hunk.new.is_empty() {
            hunks.push(hunk);
        }
        if old > removed.len() || new > added.len() {
            return hunks;
        }
    }
}

const NONE: u32 = u32::MAX;

/// A common stretch of the two sequences.
#[derive(Clone)]
struct Stretch {
    old: usize,
    new: usize,
    len: usize,
}

struct Alignment<'a> {
    old: &'a [Token],
    new: &'a [Token],
    light: Vec<bool>,
    /// For each token, its first place in the range of `old` that is looked at, and how often it stands there.
    first: Vec<u32>,
    count: Vec<u32>,
    /// For each place of `old`, the next one of the same token.
    next: Vec<u32>,
    removed: Vec<bool>,
    added: Vec<bool>,
    work: u64,
}

impl<'a> Alignment<'a> {
    fn new(old: &'a [Token], new: &'a [Token], light: Vec<bool>) -> Self {
        Self {
            old,
            new,
            first: vec![NONE; light.len()],
            count: vec![0; light.len()],
            light,
            next: vec![NONE; old.len()],
            removed: vec![false; old.len()],
            added: vec![false; new.len()],
            work: 0,
        }
    }

    /// Marks what was removed and what was added.
    fn find(&mut self) {
        // A list and no recursion: a text can be made so that the stretches lie one left of the other.
        let mut open = vec![(0..self.old.len(), 0..self.new.len())];
        while let Some((old, new)) = open.pop() {
            if old.is_empty() || new.is_empty() {
                self.removed[old].fill(true);
                self.added[new].fill(true);
                continue;
            }
            if self.work > limits::DIFF_WORK_MAX {
                self.myers(old, new);
                continue;
            }
            match self.longest(&old, &new) {
                Found::Nothing => {
                    self.removed[old].fill(true);
                    self.added[new].fill(true);
                }
                Found::Stretch(stretch) => {
                    open.push((old.start..stretch.old, new.start..stretch.new));
                    open.push((stretch.old + stretch.len..old.end, stretch.new + stretch.len..new.end));
                }
                Found::TooCommon => self.myers(old, new),
            }
        }
    }

    fn myers(&mut self, old: Range<usize>, new: Range<usize>) {
        let mut diff = Diff::default();
        diff.compute_with(Algorithm::Myers, &self.old[old.clone()], &self.new[new.clone()], self.first.len() as u32);
        for (index, flag) in self.removed[old].iter_mut().enumerate() {
            *flag = diff.is_removed(index as u32);
        }
        for (index, flag) in self.added[new].iter_mut().enumerate() {
            *flag = diff.is_added(index as u32);
        }
    }

    /// The common stretch of two ranges with the rarest token, and among such the longest, and the first.
    fn longest(&mut self, old: &Range<usize>, new: &Range<usize>) -> Found {
        for place in old.clone().rev() {
            let token = self.old[place].0 as usize;
            self.next[place] = self.first[token];
            self.first[token] = place as u32;
            self.count[token] += 1;
        }
        let found = match self.search(old, new, false) {
            Found::Nothing => self.search(old, new, true),
            found => found,
        };
        for token in &self.old[old.clone()] {
            self.first[token.0 as usize] = NONE;
            self.count[token.0 as usize] = 0;
        }
        self.work += (old.len() + new.len()) as u64;
        found
    }

    fn search(&mut self, old: &Range<usize>, new: &Range<usize>, light: bool) -> Found {
        let mut best = Stretch { old: 0, new: 0, len: 0 };
        let mut rarest = limits::DIFF_TOKEN_COUNT_MAX + 1;
        let mut in_common = false;
        let mut place = new.start;
        while place < new.end {
            let token = self.new[place].0 as usize;
            let count = if self.light[token] == light { self.count[token] } else { 0 };
            in_common |= count > 0;
            let mut behind = place + 1;
            if count > 0 && count <= rarest {
                let mut from = self.first[token];
                while from != NONE {
                    let (stretch, count) = self.widen(old, new, from as usize, place);
                    behind = behind.max(stretch.new + stretch.len);
                    let end = (stretch.old + stretch.len) as u32;
                    if stretch.len > best.len.max(1) || count < rarest {
                        (best, rarest) = (stretch, count);
                    }
                    while from != NONE && from < end {
                        from = self.next[from as usize];
                    }
                }
            }
            place = behind;
        }
        if !in_common {
            Found::Nothing
        } else if rarest > limits::DIFF_TOKEN_COUNT_MAX {
            Found::TooCommon
        } else {
            Found::Stretch(best)
        }
    }

    /// The whole stretch around two equal tokens, and how often its rarest token stands in the old range.
    fn widen(&mut self, old: &Range<usize>, new: &Range<usize>, from: usize, to: usize) -> (Stretch, u32) {
        let mut stretch = Stretch { old: from, new: to, len: 1 };
        let mut rarest = self.count[self.old[from].0 as usize];
        while stretch.old > old.start
            && stretch.new > new.start
            && self.old[stretch.old - 1] == self.new[stretch.new - 1]
        {
            stretch = Stretch { old: stretch.old - 1, new: stretch.new - 1, len: stretch.len + 1 };
            rarest = rarest.min(self.count[self.old[stretch.old].0 as usize]);
        }
        while let (after_old, after_new) = (stretch.old + stretch.len, stretch.new + stretch.len)
            && after_old < old.end
            && after_new < new.end
            && self.old[after_old] == self.new[after_new]
        {
            rarest = rarest.min(self.count[self.old[after_old].0 as usize]);
            stretch.len += 1;
        }
        self.work += stretch.len as u64;
        (stretch, rarest)
    }
}

enum Found {
    /// The ranges have no token in common.
    Nothing,
    /// Every common token stands too often.
    TooCommon,
    Stretch(Stretch),
}

/// A run of flagged places; empty between two places that are not flagged.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
}

impl Run {
    fn first(flags: &[bool]) -> Self {
        let mut run = Self { start: 0, end: 0 };
        run.grow(flags);
        run
    }

    fn grow(&mut self, flags: &[bool]) {
        while flags.get(self.end) == Some(&true) {
            self.end += 1;
        }
        while self.start > 0 && flags[self.start - 1] {
            self.start -= 1;
        }
    }

    /// The run behind the next place that is not flagged; false at the end.
    fn forward(&mut self, flags: &[bool]) -> bool {
        if self.end >= flags.len() {
            return false;
        }
        *self = Self { start: self.end + 1, end: self.end + 1 };
        self.grow(flags);
        true
    }

    fn back(&mut self, flags: &[bool]) {
        let end = self.start.saturating_sub(1);
        *self = Self { start: end, end };
        self.grow(flags);
    }

    const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Slides each run of flagged places as far down as it goes, joining those that meet on the way; but not past the last
/// place where the other sequence has a run too, so that what replaces something stays with it. `other` has the same
/// number of places that are not flagged.
fn slide(flags: &mut [bool], other: &[bool], tokens: &[Token]) {
    let mut run = Run::first(flags);
    let mut beside = Run::first(other);
    loop {
        if !run.is_empty() {
            slide_one(flags, other, tokens, &mut run, &mut beside);
        }
        if !run.forward(flags) || !beside.forward(other) {
            return;
        }
    }
}

fn slide_one(flags: &mut [bool], other: &[bool], tokens: &[Token], run: &mut Run, beside: &mut Run) {
    let mut replaces;
    loop {
        let len = run.end - run.start;
        while up(flags, tokens, run) {
            beside.back(other);
        }
        replaces = !beside.is_empty();
        while down(flags, tokens, run) {
            beside.forward(other);
            replaces |= !beside.is_empty();
        }
        // What was joined may go further up, past a run of the other sequence.
        if run.end - run.start == len {
            break;
        }
    }
    while replaces && beside.is_empty() && up(flags, tokens, run) {
        beside.back(other);
    }
}

fn up(flags: &mut [bool], tokens: &[Token], run: &mut Run) -> bool {
    if run.start == 0 || tokens[run.start - 1] != tokens[run.end - 1] {
        return false;
    }
    (run.start, run.end) = (run.start - 1, run.end - 1);
    (flags[run.start], flags[run.end]) = (true, false);
    run.grow(flags);
    true
}

fn down(flags: &mut [bool], tokens: &[Token], run: &mut Run) -> bool {
    if run.end == tokens.len() || tokens[run.start] != tokens[run.end] {
        return false;
    }
    (flags[run.start], flags[run.end]) = (false, true);
    (run.start, run.end) = (run.start + 1, run.end + 1);
    run.grow(flags);
    true
}

#[cfg(test)]
mod tests {
    use imara_diff::InternedInput;

    use super::*;

    fn of(old: &str, new: &str) -> Vec<(Range<usize>, Range<usize>)> {
        let spread = |text: &str| text.chars().map(|ch| format!("{ch}\n")).collect::<String>();
        let (old, new) = (spread(old), spread(new));
        let input = InternedInput::new(old.as_str(), new.as_str());
        let hunks = hunks(&input.before, &input.after, input.interner.num_tokens(), |_| false);
        hunks.into_iter().map(|hunk| (hunk.old, hunk.new)).collect()
    }

    #[test]
    fn what_may_stand_in_several_places_slides_to_the_last() {
        assert_eq!(of("xxx", "xxxx"), [(3..3, 3..4)]);
        assert_eq!(of("xxxx", "xxx"), [(3..4, 3..3)]);
        assert_eq!(of("f{}g{}", "f{}n{}g{}"), [(3..3, 3..6)]);
        assert_eq!(of("ab", "aab"), [(1..1, 1..2)]);
    }

    #[test]
    fn what_replaces_something_stays_with_it() {
        // The second x may go as well; then a and z would be one replacement and one insertion.
        assert_eq!(of("axxb", "zxb"), [(0..2, 0..1)]);
    }

    #[test]
    fn rare_lines_are_the_anchors() {
        assert_eq!(of("{}{}u", "u{}{}"), [(0..4, 0..0), (5..5, 1..5)]);
    }

    #[test]
    fn ranges_of_common_lines_only_are_aligned_too() {
        let (old, new) = ("ab".repeat(200), "ba".repeat(180));
        let hunks = of(&old, &new);
        let gone: usize = hunks.iter().map(|(old, _)| old.len()).sum();
        let come: usize = hunks.iter().map(|(_, new)| new.len()).sum();
        assert_eq!(old.len() - gone, new.len() - come);
        assert!(gone < 60, "{gone} of {} lines go", old.len());
    }

    #[test]
    fn a_line_anchors_as_long_as_it_does_not_stand_too_often() {
        for (count, anchors) in [(limits::DIFF_TOKEN_COUNT_MAX, true), (limits::DIFF_TOKEN_COUNT_MAX + 1, false)] {
            let (old, new) = (vec![Token(0); count as usize], [Token(0)]);
            let found = Alignment::new(&old, &new, vec![false]).longest(&(0..old.len()), &(0..1));
            assert_eq!(matches!(found, Found::Stretch(_)), anchors, "{count} times");
            assert_eq!(matches!(found, Found::TooCommon), !anchors, "{count} times");
        }
    }

    #[test]
    fn the_work_is_bounded_for_many_hunks() {
        let text = |seed: usize| {
            (0..60_000).map(|line| format!("{}\n", if line % 2 == 0 { line } else { line * seed })).collect::<String>()
        };
        let (old, new) = (text(1_000_003), text(1_000_033));
        let input = InternedInput::new(old.as_str(), new.as_str());
        let tokens = input.interner.num_tokens();
        let mut alignment = Alignment::new(&input.before, &input.after, vec![false; tokens as usize]);
        alignment.find();
        assert!(alignment.work < 2 * limits::DIFF_WORK_MAX, "{} steps", alignment.work);
        assert_eq!(hunks(&input.before, &input.after, tokens, |_| false).len(), 30_000);
    }
}
