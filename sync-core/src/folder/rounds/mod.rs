//! The rounds of one folder: takes hints and documents, plans, submits edits, writes. A machine without a thread or clock.
//!
//! One round takes what it was told, reads the disk where it may have changed and submits what the user did, then reads
//! the documents that changed and brings the disk up to them. What decides lives beside this, in [`local`](super::local)
//! and [`plan`](super::plan); here it is joined, behind a [`Host`], with the engine and with fetching: `reading` is disk
//! into documents, `writing` documents onto disk, `holding` what waits for somebody's word in either direction,
//! `mounted` what waits for a file system,
//! `documents` reads those, [`host`] what a host does for it. [`restoring`] is what people ask for: older versions back,
//! conflicts ended; [`reverting`] what readers do; `why` tells what is known of one path.
//!
//! It must not read a clock, wait, or know the engine: all that comes from the host, in the thread of the host.

mod awaiting;
mod contents;
mod decisions;
mod documents;
mod folding;
mod holding;
pub mod host;
mod in_use;
mod likeness;
mod loading;
mod mounted;
mod reading;
pub mod restoring;
pub mod reverting;
mod root;
mod why;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use self::{decisions::Decision, why::Why};
use self::{
    decisions::Decisions,
    holding::Holding,
    host::{Event, Host, HostError, Stopped},
    mounted::Mounts,
    writing::{InVain, Noted},
};
use super::{
    Base, Documents, Fs, FsError, Ignored, Problem,
    apply::{Applier, Aside},
    disk::state_path,
    rails::{Fights, Space},
    stale::Versions,
};
use crate::{
    doc::{DocError, entry::Kind},
    history::{HistoryError, Library, Shelf},
    ids::{ContentHash, DocId, ReplicaId, SpaceId},
    limits,
    probe::{self, Plant, planted},
    store::{StoreError, Write},
    tree::{ConflictKind, Folds, NameFault, RelPath, STATE_DIR},
};

pub use self::holding::{Held, HeldCounts};

/// Name of the marker in our directory of the folder: without it the folder is not there.
const MARKER: &str = "folder";

/// The marker of a folder: it names the space that the folder shows.
#[must_use]
pub fn marker_path() -> RelPath {
    state_path().join(MARKER)
}

/// What the rounds of a folder start with.
#[derive(Debug)]
pub struct Parts {
    /// The folder's handle.
    pub folder: u32,
    /// The space that it shows.
    pub space: SpaceId,
    /// The space's handle.
    pub space_handle: u32,
    /// Our replica in it.
    pub replica: ReplicaId,
    /// Device number and inode of the directory that was bound: another one there is not this folder.
    pub root: (u64, u64),
    /// Whether the first catch-up is over.
    pub caught_up: bool,
    /// The disk.
    pub fs: Arc<dyn Fs>,
    /// What disk and documents agree on; shared with whoever serves contents from the folder's files. Empty at first.
    pub base: Arc<Mutex<Base>>,
    /// Threads that read files at once, one of them the caller's own; 1 starts none.
    pub threads: usize,
    /// Deletes and overwrites of a minute that never wait for somebody's word, however few files there are:
    /// [`limits::HOLD_ENTRIES_MIN`], less where small folders are to be held.
    pub hold_above: usize,
}

/// What a folder tells of itself.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Files on disk.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that the tree shows, on disk or not yet.
    pub files_wanted: u64,
    /// What both sides changed incompatibly.
    pub conflicts: Vec<(RelPath, ConflictKind)>,
    /// What cannot be synced.
    pub problems: Vec<Problem>,
    /// Entries whose names cannot be shown on disk, by name.
    pub hidden: Vec<(String, NameFault)>,
    /// Something waits to be read or written.
    pub busy: bool,
    /// Contents that nobody has given us yet.
    pub lacking: usize,
    /// Why the folder stands still, if it does.
    pub halted: Option<String>,
    /// How much waits for somebody's word.
    pub held: Held,
    /// Whether the first catch-up is over.
    pub caught_up: bool,
}

/// A path that may have changed.
#[derive(Debug, Clone, Copy)]
struct Dirty {
    /// Not looked at before.
    ready_ms: u64,
    /// When it was first said to have changed.
    since_ms: u64,
    /// Said to be missing: looked at with the rest, believed only after a while.
    missing: bool,
    /// Somebody was seen to write into it: read also where its look is the known one, as after a save of the same length
    /// within a step of the time stamp. We write nothing in place.
    written: bool,
}

/// One folder between its disk and its documents.
#[derive(Debug)]
pub struct Rounds {
    parts: Parts,
    documents: Documents,
    ignored: Ignored,
    dirty: BTreeMap<RelPath, Dirty>,
    pending: BTreeSet<DocId>,
    wants: BTreeMap<ContentHash, BTreeSet<DocId>>,
    fetched: BTreeSet<ContentHash>,
    scan_problems: BTreeMap<RelPath, String>,
    write_problems: BTreeMap<RelPath, String>,
    /// Documents that Automerge failed on, and how.
    unreadable: BTreeMap<DocId, String>,
    /// Files that programs had open for writing when that was asked last.
    in_use: BTreeSet<RelPath>,
    /// Where directories stay that were deleted since the start, for what is in them that is not synced.
    left: BTreeSet<(Option<DocId>, String)>,
    caught_up: bool,
    planned: bool,
    rescan_ms: u64,
    rescans: u64,
    /// When what could not be written is tried again.
    retry_ms: u64,
    /// Whether downloads that nobody wants any more may lie about.
    sweep_due: bool,
    settled: Option<u64>,
    holding: Holding,
    mounts: Mounts,
    fights: Fights,
    /// What editors may still show of files that others changed.
    versions: Versions,
    /// What the disk can take, as of the plan that is carried out.
    room: Option<Space>,
    halted: Option<String>,
    /// What the disk does not tell apart in names, once it was asked.
    folds: Option<Folds>,
    /// Whether what a crash left halfway was put back.
    recovered: bool,
    /// Where looks found nothing new and writes still found the disk otherwise.
    in_vain: InVain,
    /// Entries that are out of the way of others in the middle of a plan.
    aside: Aside,
    /// What was done and is not in the store yet.
    noted: Noted,
    /// Documents that are open.
    shelf: Shelf,
    /// What was decided last.
    decisions: Decisions,
}

/// A round cannot go on.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Disk(#[from] FsError),
    #[error("the edit does not stand: {0}")]
    Document(#[from] DocError),
}

impl From<HistoryError> for RoundError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Store(error) => error.into(),
            HistoryError::Doc(error) => Self::Document(error),
        }
    }
}

impl From<StoreError> for RoundError {
    fn from(error: StoreError) -> Self {
        Self::Host(error.into())
    }
}

/// Locks, whatever a panicking holder left: a base stays whole between statements.
fn lock(base: &Mutex<Base>) -> MutexGuard<'_, Base> {
    base.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rounds {
    /// A folder that has yet to [`recover`](Self::recover).
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            documents: Documents::default(),
            ignored: Ignored::default(),
            dirty: BTreeMap::new(),
            pending: BTreeSet::new(),
            wants: BTreeMap::new(),
            fetched: BTreeSet::new(),
            scan_problems: BTreeMap::new(),
            write_problems: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            in_use: BTreeSet::new(),
            left: BTreeSet::new(),
            caught_up: parts.caught_up,
            planned: false,
            rescan_ms: 0,
            rescans: 0,
            retry_ms: 0,
            sweep_due: true,
            settled: None,
            holding: Holding::default(),
            mounts: Mounts::default(),
            fights: Fights::default(),
            versions: Versions::default(),
            room: None,
            halted: None,
            folds: None,
            recovered: false,
            in_vain: InVain::default(),
            aside: Aside::default(),
            noted: Noted::default(),
            shelf: Shelf::default(),
            decisions: Decisions::default(),
            parts,
        }
    }

    // ---- what happened outside ----

    /// A path may have changed on disk; `closed` when nothing more is to be awaited from its writer.
    pub fn hint(&mut self, path: RelPath, closed: bool, now_ms: u64) {
        let settle = if closed { 0 } else { limits::SETTLE_MS };
        let fresh = Dirty { ready_ms: 0, since_ms: now_ms, missing: false, written: false };
        let dirty = self.dirty.entry(path).or_insert(fresh);
        dirty.missing = false;
        // What closes nothing and moves no name is a write.
        dirty.written |= !closed;
        // A writer that never pauses is read now and then all the same.
        dirty.ready_ms = (now_ms + settle).min(dirty.since_ms + limits::SETTLE_MS_MAX);
    }

    /// Documents changed by commits of others.
    pub fn documents_changed(&mut self, docs: impl IntoIterator<Item = DocId>) {
        self.pending.extend(docs);
    }

    /// A content was fetched, or is no longer wanted.
    pub fn fetched(&mut self, content: ContentHash) {
        self.fetched.insert(content);
        self.pending.extend(self.wants.remove(&content).unwrap_or_default());
    }

    /// The next round looks at everything: hints were lost.
    pub fn rescan(&mut self) {
        if !planted(Plant::IgnoreRescan) {
            self.rescan_ms = 0;
        }
    }

    /// The space was built again, under another handle and perhaps another replica of ours: everything that is known of
    /// documents and of the base is read anew by the next round.
    pub fn restart(&mut self, host: &mut dyn Host, space_handle: u32, replica: ReplicaId) {
        if self.settled.take().is_some() {
            // What was said of the space as it was does not hold for what it is now.
            host.settled(space_handle, None);
        }
        (self.parts.space_handle, self.parts.replica) = (space_handle, replica);
        self.documents = Documents::default();
        self.pending.clear();
        self.wants.clear();
        self.shelf = Shelf::default();
        self.recovered = false;
        self.planned = false;
        self.retry_ms = 0;
    }

    // ---- what the host does with it ----

    /// Puts back what a crash left halfway, and loads what disk and documents agreed on. Comes before the first round.
    ///
    /// # Errors
    /// When the engine has stopped. A folder that cannot start for another reason says so in its report.
    pub fn recover(&mut self, host: &mut dyn Host) -> Result<(), Stopped> {
        match self.try_recover(host) {
            Ok(()) => Ok(()),
            Err(RoundError::Host(HostError::Stopped(stopped))) => Err(stopped),
            Err(error) => {
                host.event(&Event::CannotStart(&error));
                self.halted = Some(error.to_string());
                self.retry_ms = host.now().mono_ms + limits::HALTED_EVERY_MS;
                Ok(())
            }
        }
    }

    /// Takes in what the user did and brings the disk up to the documents, as far as both can be done now.
    ///
    /// # Errors
    /// When the engine has stopped. Whatever else fails is tried again by a later round, and shows in the report.
    pub fn round(&mut self, host: &mut dyn Host) -> Result<(), Stopped> {
        match self.try_round(host) {
            Ok(()) => Ok(()),
            Err(RoundError::Host(HostError::Stopped(stopped))) => Err(stopped),
            Err(error) => {
                host.event(&Event::RoundFailed(&error));
                self.write_problems.insert(RelPath::root(), error.to_string());
                // Not later for each round that fails: what it dropped is found by that scan.
                let now = host.now().mono_ms;
                let due = if self.rescan_ms > now { self.rescan_ms } else { u64::MAX };
                self.rescan_ms = due.min(now + limits::SETTLE_MS_MAX);
                self.planned = false;
                Ok(())
            }
        }
    }

    /// When there is something to do even if nothing happens outside; `None` while that is not known, as when the folder
    /// waits for its first peer.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        if self.halted.is_some() {
            return Some(self.retry_ms);
        }
        if !self.caught_up {
            return None;
        }
        let retry = (!self.write_problems.is_empty()).then_some(self.retry_ms);
        self.dirty
            .values()
            .map(|dirty| dirty.ready_ms)
            .chain([self.rescan_ms])
            .chain(retry)
            .chain(self.mounts_ms())
            .min()
    }

    /// Whether the folder stands still.
    #[must_use]
    pub const fn is_halted(&self) -> bool {
        self.halted.is_some()
    }

    /// What there is to tell.
    #[must_use]
    pub fn report(&self) -> Report {
        let (files, bytes) = lock(&self.parts.base).totals();
        let view = self.documents.view();
        let files_wanted = view
            .places()
            .filter(|(doc, _)| self.documents.entry(doc).is_some_and(|entry| entry.kind == Kind::File))
            .count() as u64;
        let shown = |doc: &DocId| view.path_of(doc).unwrap_or_default();
        let problems = self.scan_problems.iter().chain(&self.write_problems);
        let problems = problems.map(|(path, reason)| (path.clone(), reason)).chain(self.unreadable_paths());
        let away = self.away_problems().into_iter().map(|(path, reason)| Problem { path, reason: reason.to_owned() });
        let name_of = |doc: &DocId| self.documents.entry(doc).map(|entry| entry.name.clone());
        Report {
            files: files as u64,
            bytes,
            files_wanted,
            conflicts: view.conflicts.iter().map(|conflict| (shown(&conflict.doc), conflict.kind)).collect(),
            problems: problems.map(|(path, reason)| Problem { path, reason: reason.clone() }).chain(away).collect(),
            hidden: view.hidden.iter().filter_map(|(doc, fault)| Some((name_of(doc)?, *fault))).collect(),
            busy: self.is_busy(),
            lacking: self.wants.len(),
            halted: self.halted.clone(),
            held: self.held(),
            caught_up: self.caught_up,
        }
    }

    /// Tells the engine whether the disk agrees with everything that it has committed, if that is otherwise than it was
    /// told last. Comes after each round, once what the round did is reported.
    pub fn tell_settled(&mut self, host: &mut dyn Host) {
        let arrivals = host.space().map(|space| space.arrivals);
        // The space is read before the host is asked: whatever came in between is not handed over yet.
        let at_rest =
            !self.is_busy() && self.wants.is_empty() && self.write_problems.is_empty() && self.unreadable.is_empty();
        let at_rest = at_rest || planted(Plant::SettleTooEarly);
        let agrees = at_rest && self.recovered && self.halted.is_none() && self.held().is_empty() && self.is_whole();
        let agrees = agrees && host.is_quiet();
        let settled = arrivals.filter(|_| agrees);
        if settled != self.settled {
            self.settled = settled;
            host.settled(self.parts.space_handle, settled);
            probe::reach("settled.told");
        }
    }

    // ---- the round ----

    fn is_busy(&self) -> bool {
        !self.dirty.is_empty() || !self.pending.is_empty() || !self.planned || !self.caught_up
    }

    fn mark_dirty(&mut self, host: &dyn Host, path: RelPath, after_ms: u64) {
        let now = host.now().mono_ms;
        let fresh = Dirty { ready_ms: now + after_ms, since_ms: now, missing: false, written: false };
        self.dirty.entry(path).or_insert(fresh).ready_ms = now + after_ms;
    }

    fn try_recover(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        self.halted = None;
        let snapshot = host.snapshot()?;
        let rows = snapshot.bases(self.parts.folder)?;
        let is_new = rows.is_empty();
        {
            let mut base = lock(&self.parts.base);
            *base = Base::default();
            base.set_root_device(self.parts.root.0);
            for (doc, row) in rows {
                base.set(doc, Some(row));
            }
        }
        self.check_root(host, is_new)?;
        if self.halted.is_some() {
            return Ok(());
        }
        self.folds = None;
        self.ask_the_disk(host);
        self.recovered = true;
        self.rescan_ms = 0;
        self.planned = false;
        self.aside = Aside::default();
        // The store has what was noted, and the disk tells the rest.
        self.noted = Noted::default();
        let noted = self.apply(host, |applier| applier.recover())?;
        if !noted.is_empty() {
            self.parts.fs.flush_all()?;
        }
        let rows = noted.into_iter().map(|(doc, row)| Write::Base { folder: self.parts.folder, doc, row });
        self.put_rows(host, rows.collect())?;
        probe::reach("folder.recovered");
        snapshot.each_document(self.parts.space_handle, |doc, _| {
            self.pending.insert(doc);
        })?;
        if !self.caught_up && self.is_empty_dir()? {
            // Nothing here could be taken for an edit.
            self.set_caught_up(host)?;
        }
        Ok(())
    }

    fn is_empty_dir(&self) -> Result<bool, RoundError> {
        let listed = self.parts.fs.list(&RelPath::root())?;
        Ok(listed.iter().all(|listed| listed.name.as_deref() == Ok(STATE_DIR)))
    }

    fn set_caught_up(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        self.caught_up = true;
        self.put_rows(host, vec![Write::CaughtUp { folder: self.parts.folder }])?;
        probe::reach("folder.caught-up");
        Ok(())
    }

    /// A joiner catches up before it takes its own files in: what it has already then needs no commit.
    fn watch_catch_up(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        let done = host.space().is_some_and(|space| space.named && !space.behind && space.linked > 0);
        if done { self.set_caught_up(host) } else { Ok(()) }
    }

    fn try_round(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        if !self.recovered || self.halted.is_some() {
            let now = host.now().mono_ms;
            if now < self.retry_ms {
                return Ok(());
            }
            self.retry_ms = now + limits::HALTED_EVERY_MS;
            // The disk may be there again.
            self.try_recover(host)?;
            if self.halted.is_some() {
                return Ok(());
            }
        }
        // A flush failed in the round before.
        self.make_last(host)?;
        self.follow_folds(host)?;
        self.read_documents(host)?;
        if !self.caught_up {
            self.watch_catch_up(host)?;
            if !self.caught_up {
                return Ok(());
            }
        }
        self.look_at_mounts_now_and_then(host);
        self.ingest(host)?;
        if self.halted.is_some() {
            // What stands there now is not the folder: nothing is to be done to it.
            return Ok(());
        }
        self.read_documents(host)?;
        if !self.write_problems.is_empty() && host.now().mono_ms >= self.retry_ms {
            self.planned = false;
        }
        self.materialize(host)
    }

    /// A view of the store as it is now. Give its shelf back.
    fn library(&mut self, host: &dyn Host) -> Result<Library, RoundError> {
        let snapshot = host.snapshot()?;
        Ok(Library::new(snapshot, self.parts.space_handle, std::mem::take(&mut self.shelf)))
    }

    fn put_rows(&self, host: &mut dyn Host, rows: Vec<Write>) -> Result<(), RoundError> {
        if rows.is_empty() {
            return Ok(());
        }
        Ok(host.write(rows)?)
    }

    fn apply<T>(&mut self, host: &mut dyn Host, work: impl FnOnce(&mut Applier<'_>) -> T) -> T {
        let mut base = lock(&self.parts.base);
        work(&mut Applier::new(&*self.parts.fs, &mut base, host.keeper(), &mut self.aside))
    }
}
