//! Planted faults: each breaks one promise, and the simulator must find it.
//!
//! [`TABLE`] says for each which seed finds it first; a test runs these seeds, and `simulate plants` makes the table of
//! `docs/testing.md` anew, with the rules. A seed counts only if it holds without the fault.

use std::collections::BTreeSet;

use sync_core::probe::{Plant, plant};

use super::world::{self, Outcomes};

/// Devices of all runs here.
pub const PEERS: usize = 5;

/// A fault, what it breaks, and how it is found.
#[derive(Debug, Clone, Copy)]
pub struct Planted {
    /// The fault.
    pub plant: Plant,
    /// What it breaks.
    pub breaks: &'static str,
    /// The first seed that finds it.
    pub seed: u64,
}

const fn found(plant: Plant, breaks: &'static str, seed: u64) -> Planted {
    Planted { plant, breaks, seed }
}

/// All faults.
pub const TABLE: &[Planted] = &[
    found(Plant::SkipFsync, "a turn is durable before its effects leave", 0),
    found(Plant::EffectsOnFailedCommit, "a turn that failed has no effects", 3),
    found(Plant::DropParentCheck, "a commit is taken in after its parents", 0),
    found(Plant::AcceptReader, "who may only read changes nothing", 5),
    found(Plant::AcceptUsedInvite, "an invite lets in as many as it says", 0),
    found(Plant::ForgetHashInVector, "a fork shows in the vectors", 0),
    found(Plant::RootNotUpdated, "the root names the heads of all documents", 0),
    found(Plant::ForwardUnverified, "a commit is its author's", 0),
    found(Plant::DependencyOutsidePast, "a change depends on its commit's past alone", 0),
    found(Plant::ResendAll, "nobody is sent what it has", 5),
    found(Plant::NeverForward, "commits reach those who share no session", 0),
    found(Plant::SkipFirstMissing, "a peer is sent all that it lacks", 0),
    found(Plant::DurableWhenSent, "acknowledged means on the peer's disk", 1),
    found(Plant::ForkKeepsOwn, "of two branches all keep the same one", 4),
    found(Plant::ForkNotCommittedAgain, "a fork costs nobody an edit", 4),
    found(Plant::WrongTieBreak, "the tree is a function of the entries alone", 0),
    found(Plant::LoseTombstone, "a delete is an edit", 0),
    found(Plant::EditAtCurrentHeads, "a save reverts nothing that its user has not seen", 0),
    found(Plant::DoubleAppend, "a save is taken in once", 0),
    found(Plant::IgnoreRescan, "lost events cost time and nothing else", 2),
    found(Plant::TrustYoungFiles, "a save within the step of a time stamp is seen", 5),
    found(Plant::SettleTooEarly, "in sync means that the disk agrees", 0),
    found(Plant::WriteWithoutCheck, "bytes that nobody had seen are not written over", 4),
    found(Plant::KeepNothing, "what rests in no history is kept", 1),
    found(Plant::ForgetIntent, "our own write is not read as an edit after a crash", 1),
    found(Plant::ForgetDirty, "what stood in the way is looked at again", 3),
    found(Plant::ContentUnverified, "a content is what its hash says", 2),
    found(Plant::SnapshotSkipsChange, "a snapshot and what follows is the whole document", 0),
];

/// A run with a fault planted.
#[must_use]
pub fn run_with(fault: Plant, seed: u64, peers: usize) -> Outcomes {
    plant(Some(fault));
    let outcomes = std::panic::catch_unwind(|| world::run(seed, peers));
    plant(None);
    match outcomes {
        Ok(outcomes) => outcomes,
        // An assertion in the code itself is as good a find.
        Err(_) => {
            let mut outcomes =
                Outcomes { trace: [0; 32], totals: world::Totals::default(), drawn: BTreeSet::new(), violation: None };
            let (what, rule) = (format!("{fault:?}"), "no panic");
            outcomes.violation = Some(super::check::Violation { seed, peers, rule, what });
            outcomes
        }
    }
}

/// The first of some seeds that finds a fault and holds without it, and the rule.
pub fn first_find(fault: Plant, seeds: impl IntoIterator<Item = u64>) -> Option<(u64, &'static str)> {
    seeds.into_iter().find_map(|seed| {
        let found = run_with(fault, seed, PEERS).violation?;
        world::run(seed, PEERS).violation.is_none().then_some((seed, found.rule))
    })
}
