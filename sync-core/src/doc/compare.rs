//! Two versions of a text side by side, line by line, for people: how much differs, a unified diff, and the union.
//!
//! What merges never goes by this: `text` makes the splices of edits.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput, sources};

/// Unchanged lines around a change in a unified diff, as everybody is used to.
const CONTEXT_LINES: u32 = 3;

/// Lines of two versions and where they differ.
struct Lines<'a> {
    old: Vec<&'a str>,
    new: Vec<&'a str>,
    hunks: Vec<(Range<u32>, Range<u32>)>,
}

impl<'a> Lines<'a> {
    fn compare(old: &'a str, new: &'a str) -> Self {
        let input = InternedInput::new(old, new);
        let mut diff = Diff::compute(Algorithm::Histogram, &input);
        diff.postprocess_lines(&input);
        let hunks = diff.hunks().map(|hunk| (hunk.before, hunk.after)).collect();
        Self { old: sources::lines(old).collect(), new: sources::lines(new).collect(), hunks }
    }
}

fn part<'a, 'b>(lines: &'b [&'a str], range: &Range<u32>) -> &'b [&'a str] {
    lines.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// How many lines of `new` are not in `old`, and how many of `old` are not in `new`.
#[must_use]
pub fn count(old: &str, new: &str) -> (usize, usize) {
    let lines = Lines::compare(old, new);
    lines.hunks.iter().fold((0, 0), |(added, removed), (old, new)| (added + new.len(), removed + old.len()))
}

/// The differences as a unified diff without the lines that name the files; empty when there are none.
#[must_use]
pub fn unified(old: &str, new: &str) -> String {
    let lines = Lines::compare(old, new);
    let mut text = String::new();
    let mut rest = lines.hunks.as_slice();
    while let Some(first) = rest.first() {
        // Hunks whose context would touch are shown as one.
        let near = rest.windows(2).take_while(|pair| pair[1].0.start - pair[0].0.end <= 2 * CONTEXT_LINES).count();
        let (group, others) = rest.split_at(near + 1);
        rest = others;
        let last = group.last().unwrap_or(first);
        let before = first.0.start.min(first.1.start).min(CONTEXT_LINES);
        let after = (lines.old.len() as u32).saturating_sub(last.0.end).min(CONTEXT_LINES);
        let old = first.0.start - before..last.0.end + after;
        let new = first.1.start - before..last.1.end + after;
        text.push_str(&format!("@@ -{} +{} @@\n", span(&old), span(&new)));
        let mut at = old.start;
        for (gone, come) in group {
            push(&mut text, ' ', part(&lines.old, &(at..gone.start)));
            push(&mut text, '-', part(&lines.old, gone));
            push(&mut text, '+', part(&lines.new, come));
            at = gone.end;
        }
        push(&mut text, ' ', part(&lines.old, &(at..old.end)));
    }
    text
}

/// First line and number of lines, as unified diffs have it: an empty span names the line before it.
fn span(lines: &Range<u32>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        len => format!("{},{len}", lines.start + 1),
    }
}

fn push(text: &mut String, sign: char, lines: &[&str]) {
    for line in lines {
        text.push(sign);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// Both texts in one: what they share once, and where they differ the lines of the first before those of the second.
#[must_use]
pub fn union(first: &str, second: &str) -> String {
    let lines = Lines::compare(first, second);
    let mut all: Vec<&str> = Vec::new();
    let mut at = 0;
    for (ours, theirs) in &lines.hunks {
        all.extend(part(&lines.old, &(at..ours.end)));
        all.extend(part(&lines.new, theirs));
        at = ours.end;
    }
    all.extend(part(&lines.old, &(at..lines.old.len() as u32)));
    let mut text = String::with_capacity(first.len() + second.len() + 1);
    for line in all {
        // A last line without its end is not the last one any more.
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_changed_line_counts_on_both_sides() {
        assert_eq!(count("a\nb\nc\n", "a\nB\nc\nd\n"), (2, 1));
        assert_eq!(count("", "a"), (1, 0));
        assert_eq!(count("a\n", "a\n"), (0, 0));
    }

    #[test]
    fn a_unified_diff_is_as_everybody_reads_it() {
        let old: String = (1..=20).map(|line| format!("{line}\n")).collect();
        let new = old.replace("\n5\n", "\nfive\n").replace("\n19\n20\n", "\n19\n20");
        let expected = "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n\
                        @@ -17,4 +17,4 @@\n 17\n 18\n 19\n-20\n+20\n\\ No newline at end of file\n";
        assert_eq!(unified(&old, &new), expected);
        assert_eq!(unified(&old, &old), "");
        assert_eq!(unified("", "a\n"), "@@ -0,0 +1 @@\n+a\n");
        assert_eq!(unified("a\n", ""), "@@ -1 +0,0 @@\n-a\n");
    }

    #[test]
    fn hunks_that_are_near_each_other_are_one() {
        let old: String = (1..=12).map(|line| format!("{line}\n")).collect();
        let new = old.replace("2\n", "two\n").replace("9\n", "nine\n");
        assert_eq!(unified(&old, &new).matches("@@ -").count(), 1);
    }

    #[test]
    fn a_union_loses_no_line_and_repeats_none_that_both_have() {
        assert_eq!(union("a\nx\nb\n", "a\ny\nb\n"), "a\nx\ny\nb\n");
        assert_eq!(union("a\nb", "a\nc\n"), "a\nb\nc\n");
        assert_eq!(union("a\n", "a\n"), "a\n");
        assert_eq!(union("", "a"), "a");
    }

    proptest! {
        #[test]
        fn every_line_of_both_is_in_the_union(
            first in proptest::collection::vec("[a-c]{0,2}", 0..8),
            second in proptest::collection::vec("[a-c]{0,2}", 0..8),
        ) {
            let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let (first, second) = (text(&first), text(&second));
            let united = union(&first, &second);
            for side in [&first, &second] {
                // In its order.
                let mut rest = united.lines();
                prop_assert!(side.lines().all(|line| rest.any(|other| other == line)));
            }
        }

        #[test]
        fn a_unified_diff_holds_as_many_lines_as_are_counted(old in "[a-c\n]{0,40}", new in "[a-c\n]{0,40}") {
            let (added, removed) = count(&old, &new);
            let diff = unified(&old, &new);
            prop_assert_eq!(diff.lines().filter(|line| line.starts_with('+')).count(), added);
            prop_assert_eq!(diff.lines().filter(|line| line.starts_with('-')).count(), removed);
        }
    }
}
