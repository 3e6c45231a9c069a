//! How peers have done as sources of contents, and how many fetches may therefore be under way from each.
//!
//! All folders share a few fetches at a time: somebody who serves nothing, or rubbish, must not hold all of them. It must
//! not judge a peer by anything else than what it served.

use std::{cmp::Reverse, collections::BTreeMap, io, sync::Mutex};

use sync_core::ids::DeviceId;

use crate::actor::lock;

/// Contents that are fetched at once.
pub(crate) const FETCHES_MAX: usize = 16;
/// Those of them that may be from one peer that has served nothing yet.
const FETCHES_UNPROVEN_MAX: usize = 4;

/// What is known of all peers.
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<BTreeMap<DeviceId, Source>>);

#[derive(Debug, Default, Clone, Copy)]
struct Source {
    /// Fetches from it that are under way.
    busy: usize,
    /// Fetches in a row that failed by its fault.
    failures: u32,
    /// Whether any fetch from it came to its end.
    proven: bool,
}

impl Source {
    /// Fetches that may be under way from it: few until one succeeds and fewer after each failure.
    fn slots(self) -> usize {
        let most = if self.proven { FETCHES_MAX } else { FETCHES_UNPROVEN_MAX };
        (most >> self.failures.min(usize::BITS - 1)).max(1)
    }
}

impl Sources {
    /// Takes one of a peer's slots, if one is free.
    pub(crate) fn slot(&self, peer: DeviceId) -> Option<Slot<'_>> {
        let mut sources = lock(&self.0);
        let source = sources.entry(peer).or_default();
        (source.busy < source.slots()).then(|| {
            source.busy += 1;
            Slot { sources: self, peer }
        })
    }

    /// Orders peers: those that failed least first, and of these those that ever served us.
    pub(crate) fn rank(&self, peer: &DeviceId) -> (u32, Reverse<bool>) {
        let source = lock(&self.0).get(peer).copied().unwrap_or_default();
        (source.failures, Reverse(source.proven))
    }
}

/// One fetch from one peer; dropping it frees its slot.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    sources: &'a Sources,
    peer: DeviceId,
}

impl Slot<'_> {
    /// Notes how it went. Not to have something is no fault, and mends none.
    pub(crate) fn done(self, fetched: &io::Result<bool>) {
        if let Some(source) = lock(&self.sources.0).get_mut(&self.peer) {
            match fetched {
                Ok(true) => (source.failures, source.proven) = (0, true),
                Ok(false) => {}
                Err(_) => source.failures = source.failures.saturating_add(1),
            }
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some(source) = lock(&self.sources.0).get_mut(&self.peer) {
            source.busy = source.busy.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_gets_fewer_slots_and_comes_last() {
        let (sources, good, bad) = (Sources::default(), DeviceId([1; 32]), DeviceId([2; 32]));
        let slots = |peer| std::iter::from_fn(|| sources.slot(peer)).collect::<Vec<_>>().len();
        assert_eq!(slots(bad), FETCHES_UNPROVEN_MAX);
        for _ in 0..3 {
            sources.slot(bad).expect("is free").done(&Err(io::ErrorKind::InvalidData.into()));
        }
        sources.slot(bad).expect("is free").done(&Ok(false));
        assert_eq!(slots(bad), 1);
        sources.slot(good).expect("is free").done(&Ok(true));
        assert_eq!(slots(good), FETCHES_MAX);
        assert!(sources.rank(&good) < sources.rank(&bad));
    }
}
