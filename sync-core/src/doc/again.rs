//! Making an edit again: from what a change did in one version of a document to the edit that does the same in another.
//!
//! Used when a change was set aside because the log that it was in forked. Where the other version has the same state
//! as the change was made on, the edit is the same; where it lacks a part, positions are carried over.

use super::{
    DocError, Document,
    entry::{Content, Entry, EntryOp},
    text::{self, Splice},
};
use crate::ids::ChangeHash;

/// What a change did to the registers and the text of `old`, as an edit of `new` at the heads `at`.
///
/// # Errors
/// When Automerge cannot read one of the states, or one is not an entry.
pub fn edit_of(
    old: &Document,
    deps: &[ChangeHash],
    change: ChangeHash,
    new: &Document,
    at: &[ChangeHash],
) -> Result<Vec<EntryOp>, DocError> {
    let (before, after) = (old.entry_at(deps)?, old.entry_at(&[change])?);
    let mut ops = registers(&before, &after);
    if let Some(text_after) = old.text_at(&[change])? {
        let text_before = match old.text_at(deps)? {
            Some(text) => text,
            None => inline(&before),
        };
        let text_there = new.text_at(at)?.unwrap_or_default();
        let splices = text::diff(&text_before, &text_after);
        let splices = if text_there == text_before { splices } else { carry(&text_before, &text_there, &splices) };
        if !splices.is_empty() {
            ops.push(EntryOp::Splice(splices));
        }
    }
    if ops.is_empty() && after.alive {
        ops.push(EntryOp::Keep);
    }
    Ok(ops)
}

fn inline(entry: &Entry) -> String {
    match &entry.content {
        Some(Content::Inline(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

fn registers(before: &Entry, after: &Entry) -> Vec<EntryOp> {
    if !after.alive {
        return if before.alive { vec![EntryOp::Delete] } else { Vec::new() };
    }
    let mut ops = Vec::new();
    if before.parent != after.parent {
        ops.push(EntryOp::Parent(after.parent));
    }
    if before.name != after.name {
        ops.push(EntryOp::Name(after.name.clone()));
    }
    if before.exec != after.exec {
        ops.push(EntryOp::Exec(after.exec));
    }
    if before.target != after.target
        && let Some(target) = &after.target
    {
        ops.push(EntryOp::Target(target.clone()));
    }
    if before.content != after.content
        && let Some(Content::Reference(content)) = &after.content
    {
        ops.push(EntryOp::Content(*content));
    }
    ops
}

/// Splices of `from` as splices of `to`: each position moves with the characters around it.
fn carry(from: &str, to: &str, splices: &[Splice]) -> Vec<Splice> {
    let between = text::diff(from, to);
    let moved = |at: usize| {
        let mut shift = 0_isize;
        for step in &between {
            if step.at >= at {
                break;
            }
            // Within what is not there: to where it was.
            let deleted = step.delete.min(at - step.at);
            let inserted = if step.at + step.delete <= at { step.insert.chars().count() } else { 0 };
            shift += inserted as isize - deleted as isize;
        }
        at.saturating_add_signed(shift)
    };
    let mut end = 0;
    splices
        .iter()
        .map(|splice| {
            let at = moved(splice.at).max(end);
            let delete = moved(splice.at + splice.delete).saturating_sub(at);
            end = at + delete;
            Splice { at, delete, insert: splice.insert.clone() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splice(at: usize, delete: usize, insert: &str) -> Splice {
        Splice { at, delete, insert: insert.into() }
    }

    #[test]
    fn positions_move_with_the_characters_around_them() {
        let from = "one\ntwo\nthree\n";
        let edit = [splice(4, 3, "zwei"), splice(14, 0, "four\n")];
        assert_eq!(carry(from, "one\ntwo\nthree\n", &edit), edit);
        assert_eq!(carry(from, "zero\none\ntwo\nthree\n", &edit), [splice(9, 3, "zwei"), splice(19, 0, "four\n")]);
        assert_eq!(carry(from, "two\nthree\n", &edit), [splice(0, 3, "zwei"), splice(10, 0, "four\n")]);
        // What it replaced is gone: it is put where that was.
        assert_eq!(carry(from, "one\nthree\n", &edit), [splice(4, 0, "zwei"), splice(10, 0, "four\n")]);
    }
}
