//! Walks a recording of a disk and makes the disk that a power cut would leave at each point of it.
//!
//! Where recordings come from: [`SimDisk::record`](super::disk::SimDisk::record).

use super::{
    SimRng,
    image::{Image, Loss, Op, after_loss},
};

/// All that was done to a file from some moment on.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// What was durable at that moment.
    pub base: Image,
    /// What was done since, in order. Operations that failed are not among them.
    pub ops: Vec<Op>,
}

impl Log {
    /// Begins to walk.
    #[must_use]
    pub fn replay(&self) -> Replay<'_> {
        Replay { log: self, at: 0, synced: 0, durable: self.base.clone() }
    }
}

/// A place in a recording.
#[derive(Debug)]
pub struct Replay<'l> {
    log: &'l Log,
    at: usize,
    synced: usize,
    durable: Image,
}

impl Replay<'_> {
    /// How many operations are behind this place.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// The operations behind this place that no sync has covered.
    #[must_use]
    pub fn unsynced(&self) -> &[Op] {
        &self.log.ops[self.synced..self.at]
    }

    /// Goes past the next operation; `false` at the end.
    pub fn step(&mut self) -> bool {
        let Some(op) = self.log.ops.get(self.at) else { return false };
        self.at += 1;
        if *op == Op::Sync {
            for op in &self.log.ops[self.synced..self.at] {
                self.durable.apply(op);
            }
            self.synced = self.at;
        }
        true
    }

    /// The disk after a power cut here.
    #[must_use]
    pub fn image(&self, loss: Loss, rng: &mut SimRng) -> Image {
        after_loss(&self.durable, self.unsynced(), loss, rng)
    }
}
