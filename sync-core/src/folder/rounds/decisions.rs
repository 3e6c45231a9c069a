//! What the rounds decided last about each path, and why: for people who ask why a file is as it is.
//!
//! In memory only, and bounded: the newest decision of so many paths.

use std::collections::{BTreeMap, VecDeque};

use crate::{limits, tree::RelPath};

/// Something that was decided about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What was done, or was not.
    pub action: &'static str,
    /// Why.
    pub reason: String,
    /// When, in nanoseconds since 1970 by the host's clock.
    pub wall_ns: i64,
}

/// The last decisions.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    by_path: BTreeMap<RelPath, (u64, Decision)>,
    /// In the order in which they were made; one that a newer one of its path replaced is passed over.
    order: VecDeque<(u64, RelPath)>,
    made: u64,
}

impl Decisions {
    pub(super) fn note(&mut self, path: RelPath, action: &'static str, reason: impl Into<String>, wall_ns: i64) {
        self.made += 1;
        let decision = Decision { action, reason: reason.into(), wall_ns };
        self.order.push_back((self.made, path.clone()));
        self.by_path.insert(path, (self.made, decision));
        while self.order.len() > limits::DECISIONS_MAX {
            if let Some((number, path)) = self.order.pop_front()
                && self.by_path.get(&path).is_some_and(|(newest, _)| *newest == number)
            {
                self.by_path.remove(&path);
            }
        }
    }

    pub(super) fn of(&self, path: &RelPath) -> Option<&Decision> {
        self.by_path.get(path).map(|(_, decision)| decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(number: usize) -> RelPath {
        RelPath::root().join(&number.to_string())
    }

    #[test]
    fn the_newest_decision_of_a_path_is_kept_and_old_ones_go_at_the_bound() {
        let mut decisions = Decisions::default();
        decisions.note(path(0), "written", "first", 1);
        decisions.note(path(0), "written", "second", 2);
        assert_eq!(decisions.of(&path(0)).map(|decision| decision.reason.as_str()), Some("second"));
        for number in 1..limits::DECISIONS_MAX {
            decisions.note(path(number), "written", "", 3);
        }
        assert!(decisions.of(&path(0)).is_some(), "the bound is not reached");
        decisions.note(path(limits::DECISIONS_MAX), "written", "", 3);
        assert_eq!(decisions.of(&path(0)), None);
        assert!(decisions.of(&path(1)).is_some() && decisions.order.len() == limits::DECISIONS_MAX);
    }
}
