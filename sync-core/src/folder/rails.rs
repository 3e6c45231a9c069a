//! Rails: what keeps one careless command, two programs at odds or a full disk from doing harm everywhere. Pure.
//!
//! [`Brake`] counts what a minute deletes and overwrites, [`Fights`] notices a file that somebody changes each time we
//! have written it, [`Space`] says what a disk can take. What follows from them is decided in [`rounds`](super::rounds).

use std::collections::{BTreeMap, VecDeque};

use crate::{ids::DocId, limits};

/// Counts which entries the last minute deleted and overwrote in one direction: a file that is saved all the time is one.
#[derive(Debug, Default)]
pub struct Brake {
    /// Each with the last time.
    recent: BTreeMap<DocId, u64>,
}

impl Brake {
    /// How many entries more may be deleted or overwritten now, in a folder of so many files.
    pub fn room(&mut self, now_ms: u64, files: usize, floor: usize) -> usize {
        self.recent.retain(|_, then| now_ms < *then + limits::HOLD_WINDOW_MS);
        let spent = self.recent.len();
        // What was deleted meanwhile counted when the minute began.
        let share = files.saturating_add(spent) / limits::HOLD_ONE_IN;
        share.max(floor).saturating_sub(spent)
    }

    /// Whether an entry is counted already.
    #[must_use]
    pub fn counts(&self, doc: &DocId) -> bool {
        self.recent.contains_key(doc)
    }

    /// An entry was deleted or overwritten.
    pub fn note(&mut self, now_ms: u64, doc: DocId) {
        self.recent.insert(doc, now_ms);
    }
}

/// Whether a batch deletes all that there is. Fewer files than a handful are soon made again, and history has them.
#[must_use]
pub const fn empties(gone: usize, files: usize) -> bool {
    gone >= files && files >= limits::HOLD_EMPTIED_MIN
}

/// Files that we write and somebody else on this disk changes in turns.
#[derive(Debug, Default)]
pub struct Fights {
    files: BTreeMap<DocId, Fight>,
}

#[derive(Debug, Default)]
struct Fight {
    /// When we wrote, each time after somebody had changed what we wrote before.
    writes: VecDeque<u64>,
    /// Whether the last write was followed by a change.
    answered: bool,
    /// Not written before this.
    rests_until: Option<u64>,
}

impl Fights {
    /// We replaced the bytes of a file.
    pub fn wrote(&mut self, doc: DocId, now_ms: u64) {
        self.files.retain(|_, fight| !fight.is_over(now_ms));
        let fight = self.files.entry(doc).or_default();
        if !fight.answered {
            // Nobody answered the last one: this is a new beginning.
            fight.writes.clear();
        }
        fight.answered = false;
        fight.writes.push_back(now_ms);
        while fight.writes.front().is_some_and(|then| now_ms >= then + limits::FIGHT_WINDOW_MS) {
            fight.writes.pop_front();
        }
        if fight.writes.len() >= limits::FIGHT_WRITES {
            fight.writes.clear();
            fight.rests_until = Some(now_ms + limits::FIGHT_REST_MS);
        }
    }

    /// Somebody changed the bytes of a file on disk.
    pub fn changed(&mut self, doc: &DocId) {
        if let Some(fight) = self.files.get_mut(doc) {
            fight.answered = true;
        }
    }

    /// Whether a file is left alone for now.
    #[must_use]
    pub fn rests(&self, doc: &DocId, now_ms: u64) -> bool {
        let until = self.files.get(doc).and_then(|fight| fight.rests_until);
        until.is_some_and(|until| now_ms < until)
    }
}

impl Fight {
    fn is_over(&self, now_ms: u64) -> bool {
        let last = self.writes.back().copied().unwrap_or_default();
        self.rests_until.is_none_or(|until| now_ms >= until) && now_ms >= last + limits::FIGHT_WINDOW_MS
    }
}

/// Room on the file system of a folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What may still be written.
    pub free: u64,
    /// Its size.
    pub total: u64,
}

impl Space {
    /// What is left alone, so that a disk does not fill up by what others send.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        limits::SPACE_RESERVE_MIN.max(self.total / limits::SPACE_RESERVE_ONE_IN).min(self.total / 10)
    }

    /// Whether so many bytes more leave the reserve untouched.
    #[must_use]
    pub fn takes(&self, bytes: u64) -> bool {
        self.free.saturating_sub(bytes) >= self.reserve()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: usize = limits::HOLD_ENTRIES_MIN;

    #[test]
    fn a_minute_may_delete_a_quarter_and_never_less_than_the_floor() {
        let mut brake = Brake::default();
        let docs: Vec<DocId> = (0..=255).map(|number| DocId([number; 32])).collect();
        assert_eq!(brake.room(0, 10, FLOOR), FLOOR);
        assert_eq!(brake.room(0, 4 * FLOOR + 4, FLOOR), FLOOR + 1);
        assert_eq!(brake.room(0, 1000, FLOOR), 250);
        docs[..200].iter().for_each(|doc| brake.note(0, *doc));
        // The 200 are gone, and count as if they were there.
        assert_eq!(brake.room(limits::HOLD_WINDOW_MS - 1, 800, FLOOR), 50);
        docs[200..250].iter().for_each(|doc| brake.note(1, *doc));
        assert_eq!(brake.room(limits::HOLD_WINDOW_MS - 1, 750, FLOOR), 0);
        assert_eq!(brake.room(limits::HOLD_WINDOW_MS, 750, FLOOR), 200 - 50);
        assert_eq!(brake.room(limits::HOLD_WINDOW_MS + 1, 750, FLOOR), 187);
    }

    #[test]
    fn a_file_that_is_saved_again_and_again_is_one() {
        let (mut brake, doc) = (Brake::default(), DocId([1; 32]));
        for now in 0..100 {
            brake.note(now, doc);
            assert_eq!(brake.room(now, 3, FLOOR), FLOOR - 1);
        }
        assert!(brake.counts(&doc) && !brake.counts(&DocId([2; 32])));
        assert_eq!(brake.room(99 + limits::HOLD_WINDOW_MS, 3, FLOOR), FLOOR);
        assert!(!brake.counts(&doc), "a minute later it is new again");
    }

    #[test]
    fn a_handful_of_files_may_be_emptied() {
        assert!(!empties(limits::HOLD_EMPTIED_MIN - 1, limits::HOLD_EMPTIED_MIN - 1));
        assert!(empties(limits::HOLD_EMPTIED_MIN, limits::HOLD_EMPTIED_MIN));
        assert!(!empties(limits::HOLD_EMPTIED_MIN - 1, limits::HOLD_EMPTIED_MIN));
    }

    #[test]
    fn a_file_that_is_changed_after_each_of_our_writes_rests_and_is_tried_again() {
        let (mut fights, doc) = (Fights::default(), DocId([1; 32]));
        let step = limits::FIGHT_WINDOW_MS / 4;
        for turn in 0..3 {
            assert!(!fights.rests(&doc, turn * step));
            fights.wrote(doc, turn * step);
            fights.changed(&doc);
        }
        let quarantined = 2 * step;
        assert!(fights.rests(&doc, quarantined + limits::FIGHT_REST_MS - 1));
        assert!(!fights.rests(&doc, quarantined + limits::FIGHT_REST_MS));
        assert!(!fights.rests(&DocId([2; 32]), quarantined));
    }

    #[test]
    fn fewer_writes_in_the_window_are_no_fight() {
        let doc = DocId([1; 32]);
        let turns = |step: u64| {
            let mut fights = Fights::default();
            for turn in 0..limits::FIGHT_WRITES as u64 {
                fights.wrote(doc, turn * step);
                fights.changed(&doc);
            }
            fights.rests(&doc, (limits::FIGHT_WRITES as u64 - 1) * step)
        };
        let gaps = limits::FIGHT_WRITES as u64 - 1;
        assert!(turns((limits::FIGHT_WINDOW_MS - 1) / gaps));
        assert!(!turns(limits::FIGHT_WINDOW_MS.div_ceil(gaps)), "the first one is too long ago");
    }

    #[test]
    fn many_writes_that_nobody_answers_and_slow_turns_are_no_fight() {
        let (mut fights, doc) = (Fights::default(), DocId([1; 32]));
        for now in 0..100 {
            fights.wrote(doc, now);
            assert!(!fights.rests(&doc, now));
        }
        for turn in 1..20 {
            let now = 1_000 + turn * limits::FIGHT_WINDOW_MS / 2;
            fights.changed(&doc);
            fights.wrote(doc, now);
            assert!(!fights.rests(&doc, now));
        }
    }

    #[test]
    fn the_reserve_of_a_disk_is_left_alone() {
        let mib = 1 << 20;
        let large = Space { free: 200 * 1024 * mib, total: 1000 * 1024 * mib };
        assert_eq!(large.reserve(), 10 * 1024 * mib);
        let usual = Space { free: 65 * mib, total: 4096 * mib };
        assert!(usual.takes(mib) && !usual.takes(mib + 1));
        assert_eq!(Space { free: 0, total: 20 * mib }.reserve(), 2 * mib);
    }
}
