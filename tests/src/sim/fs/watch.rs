//! File system events as the watcher of a folder gets them, and how they go wrong: lost, doubled, late, too many.
//!
//! The meaning of `closed` is that of the real watcher: a name came or went, or a writer closed the file.

use std::collections::{BTreeSet, VecDeque};

use sync_core::{
    folder::disk::temp_dir,
    tree::{RelPath, is_reserved},
};

use super::tree::{Name, NodeId, Tree};
use crate::sim::rng::Rng;

/// What a watcher says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// Something may have changed at a path of the folder.
    Hint {
        /// Where.
        path: RelPath,
        /// Whether nothing more is to be awaited.
        closed: bool,
    },
    /// Something happened to this name in the directory of temporary files: a cookie perhaps.
    Temp(String),
    /// Events were lost: look at everything.
    Rescan,
}

/// What goes wrong with events, in a thousand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchFaults {
    /// Never told.
    pub lost_per_mille: u64,
    /// Told twice.
    pub doubled_per_mille: u64,
    /// Told up to [`delay_max_ns`](Self::delay_max_ns) later.
    pub delayed_per_mille: u64,
    /// The longest delay.
    pub delay_max_ns: u64,
    /// Most events that wait; one more, and all of them become one [`WatchEvent::Rescan`].
    pub queue_max: usize,
}

impl Default for WatchFaults {
    fn default() -> Self {
        // The length of Linux's own queue (`fs.inotify.max_queued_events`).
        Self { lost_per_mille: 0, doubled_per_mille: 0, delayed_per_mille: 0, delay_max_ns: 0, queue_max: 16_384 }
    }
}

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) faults: WatchFaults,
    queue: VecDeque<(i64, WatchEvent)>,
    /// Directories with a watch; one that is new gets its own when events are taken.
    watched: BTreeSet<NodeId>,
    on: bool,
    /// Nothing is told now.
    hushed: bool,
    rng: Rng,
}

/// Events that have a name in other letters, on a disk that folds them.
const SHOUTED_PER_MILLE: u64 = 200;

impl Watch {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            faults: WatchFaults::default(),
            queue: VecDeque::new(),
            watched: BTreeSet::new(),
            on: false,
            hushed: false,
            rng,
        }
    }

    /// Begins, or begins again: what waits is forgotten.
    pub(super) fn start(&mut self, live: &Tree) {
        self.queue.clear();
        self.on = true;
        self.watch_all(live);
    }

    pub(super) fn stop(&mut self) {
        self.queue.clear();
        self.on = false;
    }

    /// Something happens now that no system tells of, or is over.
    pub(super) const fn hush(&mut self, hushed: bool) {
        self.hushed = hushed;
    }

    fn watch_all(&mut self, live: &Tree) {
        let below = live.below(super::tree::ROOT).into_iter().filter(|node| live.node(*node).is_dir());
        self.watched = below.chain([super::tree::ROOT]).collect();
    }

    /// Something happened to an entry of a directory.
    pub(super) fn tell(&mut self, live: &Tree, dir: NodeId, name: &Name, closed: bool, now_ns: i64) {
        if !self.on || self.hushed || !self.watched.contains(&dir) {
            return;
        }
        let Some((path, name)) = live.path(dir).zip(String::from_utf8(name.clone()).ok()) else { return };
        let event = if path == temp_dir() {
            WatchEvent::Temp(name)
        } else {
            // Of a disk that folds names events may have them as somebody wrote them once.
            let shouted = live.folds.case && self.rng.chance(SHOUTED_PER_MILLE);
            let path = path.join(&if shouted { name.to_uppercase() } else { name });
            if path.components().iter().any(|component| is_reserved(component)) {
                return;
            }
            WatchEvent::Hint { path, closed }
        };
        if self.rng.chance(self.faults.lost_per_mille) {
            return;
        }
        if self.rng.chance(self.faults.doubled_per_mille) {
            self.put(event.clone(), now_ns);
        }
        self.put(event, now_ns);
    }

    fn put(&mut self, event: WatchEvent, now_ns: i64) {
        let late = self.rng.chance(self.faults.delayed_per_mille);
        let delay = if late { self.rng.below(self.faults.delay_max_ns) } else { 0 };
        if self.queue.len() >= self.faults.queue_max {
            self.queue.clear();
            self.queue.push_back((now_ns, WatchEvent::Rescan));
            return;
        }
        self.queue.push_back((now_ns.saturating_add_unsigned(delay), event));
    }

    /// Takes what is due.
    pub(super) fn take(&mut self, live: &Tree, now_ns: i64) -> Vec<WatchEvent> {
        if self.on {
            self.watch_all(live);
        }
        let (due, later) = std::mem::take(&mut self.queue).into_iter().partition(|(due_ns, _)| *due_ns <= now_ns);
        self.queue = later;
        let due: VecDeque<(i64, WatchEvent)> = due;
        due.into_iter().map(|(_, event)| event).collect()
    }

    /// When the next event is due.
    pub(super) fn next_due_ns(&self) -> Option<i64> {
        self.queue.iter().map(|(due_ns, _)| *due_ns).min()
    }
}
