//! Notes what a simulated disk is after each change, so that the power can be taken away at every one of them afterwards.
//!
//! A [`Moment`] knows how much a store on another disk had done by then, for a crash takes both at once. Contents are
//! shared, so a moment costs the names and the changes that wait.

use std::sync::{Arc, Mutex};

use super::{SimFs, state::State};
use crate::sim::{disk::SimDisk, image::Loss, rng::Rng};

/// What a disk is at some moment, durable and not.
#[derive(Debug)]
pub struct Moment {
    /// How many operations of the store's disk were recorded when it became so.
    pub store_at: usize,
    state: State,
}

impl Moment {
    /// The disk after a power cut at this moment, with its loss.
    #[must_use]
    pub fn crash(&self, loss: Loss, rng: &mut Rng) -> SimFs {
        let mut state = self.state.fork();
        state.crash(Some(loss), rng);
        SimFs(Arc::new(Mutex::new(state)))
    }

    /// Whether a power cut loses nothing.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.state.log.waiting() == (0, 0)
    }

    /// The clock.
    #[must_use]
    pub const fn now_ns(&self) -> i64 {
        self.state.now_ns
    }
}

/// Takes notes.
#[derive(Debug)]
pub(super) struct Recorder {
    store: SimDisk,
    moments: Vec<Moment>,
}

impl Recorder {
    pub(super) const fn len(&self) -> usize {
        self.moments.len()
    }

    pub(super) fn into_moments(self) -> Vec<Moment> {
        self.moments
    }
}

impl State {
    pub(super) fn record(&mut self, store: SimDisk) {
        self.recorder = Some(Recorder { store, moments: Vec::new() });
        self.changed();
    }

    /// Something is not as it was.
    pub(super) fn changed(&mut self) {
        let Some(store_at) = self.recorder.as_ref().map(|recorder| recorder.store.recorded()) else { return };
        let state = self.fork();
        if let Some(recorder) = &mut self.recorder {
            recorder.moments.push(Moment { store_at, state });
        }
    }

    /// A copy that goes its own way, without what a crash takes anyway: open files, a watch, steps and faults to come.
    fn fork(&self) -> Self {
        let mut fork = Self::new(self.config.clone(), self.now_ns, &Rng::new(0));
        fork.live = self.live.clone();
        fork.durable = self.durable.clone();
        fork.log = self.log.clone();
        fork.journal = self.journal.to_keep();
        (fork.root, fork.kept, fork.epoch) = (self.root, self.kept, self.epoch);
        (fork.next_node, fork.next_inode) = (self.next_node, self.next_inode);
        fork
    }
}
