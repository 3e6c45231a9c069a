//! What a folder's rounds need of whoever runs them: time, the store, the engine, fetching, and a place for displaced files.
//!
//! Nothing here names the engine: a host stands between the two. One is a thread of a node, another may be a simulator.

use std::collections::BTreeSet;

use crate::{
    doc::entry::ContentRef,
    folder::apply::Keeper,
    history::HistoryError,
    ids::{ContentHash, DocId},
    store::{Edit, Snapshot, StoreError, Write},
    tree::Folds,
};

/// The time, as the host's clocks have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Milliseconds that only grow; deadlines are in these.
    pub mono_ms: u64,
    /// Nanoseconds since 1970, on the clock that the disk's time stamps are of.
    pub wall_ns: i64,
}

/// What the engine knows of the folder's space, as far as rounds go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceView {
    /// Commits in the order of arrival.
    pub arrivals: u64,
    /// Whether its genesis is here.
    pub named: bool,
    /// Whether a peer that is here has something that we lack.
    pub behind: bool,
    /// How many peers that are here have said where they stand.
    pub linked: usize,
    /// Whether our role lets us only read.
    pub reads_only: bool,
    /// What some member's disk does not tell apart in names.
    pub folds: Folds,
    /// What ours does not, as the members know it; `None` while we are none.
    pub own_folds: Option<Folds>,
}

/// The engine has stopped: no further round will do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Stopped;

/// The host could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The engine has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The store.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// Anything else, for people.
    #[error("{0}")]
    Failed(String),
}

/// Something that a host may want to log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The user changed the disk: so many entries.
    DiskChanged {
        /// Made.
        made: usize,
        /// Moved or renamed.
        moved: usize,
        /// With other bytes, perhaps.
        touched: usize,
        /// Gone.
        gone: usize,
    },
    /// A document cannot be read: it shows its last good state, and everything else goes on.
    Unreadable {
        /// The document.
        doc: DocId,
        /// Why not.
        error: &'a HistoryError,
    },
    /// The folder cannot start, and stands still.
    CannotStart(&'a dyn std::error::Error),
    /// A round did not end well; a later one tries again.
    RoundFailed(&'a dyn std::error::Error),
}

/// Whoever runs the rounds of a folder. Calls come from within a round and may block it.
pub trait Host {
    /// The time now. It may pass within a round.
    fn now(&self) -> Time;
    /// A view of the last committed turn.
    ///
    /// # Errors
    /// When the store is closed or fails.
    fn snapshot(&self) -> Result<Snapshot, StoreError>;
    /// Submits edits of the folder's space, and waits until they are durable. Says by index which were stale: of those
    /// nothing was written.
    ///
    /// # Errors
    /// When the engine has stopped or refuses.
    fn edit(&mut self, edits: Vec<Edit>) -> Result<Vec<usize>, HostError>;
    /// Writes rows of the folder, and waits until they are durable.
    ///
    /// # Errors
    /// When the engine has stopped or refuses.
    fn write(&mut self, writes: Vec<Write>) -> Result<(), HostError>;
    /// Tells the members what our disk does not tell apart in names, and waits until that is durable.
    ///
    /// # Errors
    /// When the engine has stopped or refuses.
    fn tell_disk(&mut self, folds: Folds) -> Result<(), HostError>;
    /// What the engine knew of the space after its last turn; `None` when it does not know it.
    fn space(&self) -> Option<SpaceView>;
    /// Whether everything that happened outside has been handed to the rounds. What a [`space`](Self::space) that was
    /// asked for before counts must either have been handed over or show here.
    fn is_quiet(&self) -> bool;
    /// The disk agrees with the first so many commits of the space with this handle, which are all, or no longer does.
    fn settled(&mut self, space_handle: u32, upto: Option<u64>);
    /// These contents, and no others, are still wanted.
    fn wanted(&mut self, contents: BTreeSet<ContentHash>);
    /// Begin to fetch a content, unless that is under way, into the temporary file that
    /// [`DOWNLOAD`](crate::folder::ingest::DOWNLOAD) names.
    fn fetch(&mut self, content: ContentRef);
    /// Takes files that are displaced and rest in no history.
    fn keeper(&mut self) -> &mut dyn Keeper;
    /// Something happened that may be worth a line in a log.
    fn event(&mut self, event: &Event<'_>);
}
