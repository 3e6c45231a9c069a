//! Faults of a simulated disk: at a call that is named, or by chance.

use std::collections::BTreeMap;

use super::tree::errno::{EACCES, EIO, ENOSPC};
use crate::sim::rng::Rng;

/// An error that a disk gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The device fails (EIO). A flush that fails so has lost what it was to write.
    Io,
    /// No room is left (ENOSPC); only for what writes.
    NoSpace,
    /// No right to it (EACCES).
    Denied,
}

impl DiskFault {
    pub(super) const fn errno(self) -> i32 {
        match self {
            Self::Io => EIO,
            Self::NoSpace => ENOSPC,
            Self::Denied => EACCES,
        }
    }
}

#[derive(Debug)]
pub(super) struct Faults {
    /// By the number of the call.
    pub(super) at: BTreeMap<u64, DiskFault>,
    /// How many in a thousand calls fail with this error.
    pub(super) per_mille: Vec<(DiskFault, u64)>,
    /// The call before which the power goes.
    pub(super) power_cut: Option<u64>,
    pub(super) rng: Rng,
}

impl Faults {
    pub(super) const fn new(rng: Rng) -> Self {
        Self { at: BTreeMap::new(), per_mille: Vec::new(), power_cut: None, rng }
    }

    /// Takes back all that are to come.
    pub(super) fn heal(&mut self) {
        self.at.clear();
        self.per_mille.clear();
        self.power_cut = None;
    }

    /// What happens to this call instead of what was asked.
    pub(super) fn at_call(&mut self, call: u64, writes: bool) -> Option<DiskFault> {
        let fits = |fault: &DiskFault| writes || *fault != DiskFault::NoSpace;
        if let Some(fault) = self.at.remove(&call) {
            return Some(fault).filter(fits);
        }
        let rng = &mut self.rng;
        self.per_mille
            .iter()
            .filter(|(fault, _)| fits(fault))
            .find(|(_, rate)| rng.chance(*rate))
            .map(|(fault, _)| *fault)
    }
}
