//! Probes for tests: faults that are planted on purpose, and points at which the process ends as if it were killed.
//!
//! A check that was never seen to fail proves nothing. So each promise has a [`Plant`] that breaks it, and the simulator
//! must find every one; and each step that a crash could come between has a point, and a process that ends there must come
//! back whole. Both exist only with the feature `probes`, which no program for users has: without it `planted` is
//! `false` and [`reach`] nothing, for the compiler too. Nothing here may decide anything when no probe is set.

/// A fault that a test can plant. Each breaks one promise, at the place that keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Plant {
    /// A turn is committed without waiting for the disk.
    SkipFsync,
    /// A turn whose commit failed counts as done.
    EffectsOnFailedCommit,
    /// A commit is taken in though a parent is not here.
    DropParentCheck,
    /// Nobody's role is looked at.
    AcceptReader,
    /// A used invite lets in one more.
    AcceptUsedInvite,
    /// Version vectors carry no hashes.
    ForgetHashInVector,
    /// The root keeps the term of a document's first heads.
    RootNotUpdated,
    /// Signatures are not looked at.
    ForwardUnverified,
    /// A change may depend on what is not in its commit's past.
    DependencyOutsidePast,
    /// Every hello is answered with everything.
    ResendAll,
    /// Commits of others are not passed on.
    NeverForward,
    /// Sending begins one commit too late.
    SkipFirstMissing,
    /// A peer counts as having on disk what was only sent to it.
    DurableWhenSent,
    /// Of two branches of a log each device keeps the one that it has.
    ForkKeepsOwn,
    /// What this device made in a branch that lost is not made again.
    ForkNotCommittedAgain,
    /// Whoever has a name on its disk keeps it.
    WrongTieBreak,
    /// A file that a user deleted is not deleted in its document.
    LoseTombstone,
    /// Edits are made at the newest heads instead of those of the base.
    EditAtCurrentHeads,
    /// An edited text is taken in twice.
    DoubleAppend,
    /// Lost file system events are not made up for.
    IgnoreRescan,
    /// A file that is too young to be sure of is not looked at again.
    TrustYoungFiles,
    /// The folder says that it agrees with the documents while it is still at work.
    SettleTooEarly,
    /// What a write displaced is not looked at.
    WriteWithoutCheck,
    /// What is displaced and rests in no history is removed.
    KeepNothing,
    /// No intent is noted before a write.
    ForgetIntent,
    /// A path that was found changed while it was written to is not looked at again.
    ForgetDirty,
    /// A copied content is not compared with its hash.
    ContentUnverified,
    /// A document that is opened from its snapshot misses the next change.
    SnapshotSkipsChange,
}

/// Whether a fault is planted in this thread.
#[cfg(not(feature = "probes"))]
pub(crate) const fn planted(_plant: Plant) -> bool {
    false
}

/// A point that a kill could come at.
#[cfg(not(feature = "probes"))]
#[inline(always)]
pub const fn reach(_point: &'static str) {}

#[cfg(feature = "probes")]
pub use set::{LastWords, POINTS, arm, plant, reach};

#[cfg(feature = "probes")]
pub(crate) use set::planted;

#[cfg(feature = "probes")]
mod set {
    use std::{
        cell::Cell,
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    use super::Plant;

    /// All points, in about the order of a device's life.
    pub const POINTS: &[&str] = &[
        "identity.written",
        "identity.named",
        "store.made",
        "node.store-open",
        "node.engine-open",
        "node.bound",
        "node.up",
        "store.turn.before-commit",
        "store.turn.after-commit",
        "engine.space-created",
        "engine.folder-added",
        "share.space-created",
        "engine.invited",
        "engine.accepted",
        "join.asked",
        "join.welcome",
        "join.space-added",
        "folder.recovered",
        "folder.marker-written",
        "folder.marker-named",
        "folder.caught-up",
        "engine.taken-in",
        "engine.appended",
        "engine.rows-written",
        "watch.event",
        "folder.round",
        "ingest.looked",
        "ingest.read",
        "ingest.before-edit",
        "ingest.after-edit",
        "fetch.listed",
        "fetch.opened",
        "fetch.chunk-written",
        "fetch.sealed",
        "write.before-temp",
        "write.after-temp",
        "write.before-intent",
        "write.after-intent",
        "write.before-rename",
        "write.after-rename",
        "write.before-exchange",
        "write.after-exchange",
        "write.after-verify",
        "write.before-base",
        "write.after-base",
        "write.dir-made",
        "write.before-move",
        "write.after-move",
        "write.put-aside",
        "write.losing-kept",
        "delete.hidden",
        "delete.before-note",
        "trash.before-move",
        "trash.after-move",
        "snapshot.saved",
        "settled.told",
        "node.folders-stopped",
        "node.closed",
    ];

    thread_local! {
        static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
    }

    /// What a process does right before it ends at a point; one that panics ends the thread alone.
    pub type LastWords = fn();

    static ARMED: OnceLock<(String, u64, LastWords)> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);

    /// Plants a fault in this thread, or takes it out.
    pub fn plant(plant: Option<Plant>) {
        PLANTED.set(plant);
    }

    pub(crate) fn planted(plant: Plant) -> bool {
        PLANTED.get() == Some(plant)
    }

    /// Lets the process end the `nth` time that it reaches a point, counted from 1, so that whoever armed it can note that
    /// it did. Only the first call of a process counts; false if there is no such point.
    pub fn arm(point: &str, nth: u64, last_words: LastWords) -> bool {
        POINTS.contains(&point) && ARMED.set((point.to_owned(), nth, last_words)).is_ok()
    }

    /// A point that a kill could come at.
    pub fn reach(point: &'static str) {
        debug_assert!(POINTS.contains(&point), "{point} is not in the list");
        if let Some((armed, nth, last_words)) = ARMED.get()
            && armed == point
            && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
        {
            last_words();
            // No destructor runs and nothing is flushed.
            std::process::abort();
        }
    }
}
