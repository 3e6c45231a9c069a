//! The thread of one folder: takes hints and documents, lets the core plan, submits edits, writes.
//!
//! One round takes what is in the mailbox, reads the disk where it may have changed and submits what the user did, then
//! reads the documents that changed and brings the disk up to them. All that decides lives in `sync_core::folder`; here
//! it is joined with the engine, and with fetching: `reading` is disk into documents, `writing` documents onto disk.

mod reading;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use sync_core::{
    doc::entry::Kind,
    engine::Input,
    folder::{
        Documents, Fs as _, FsError, Ignored,
        apply::{Applier, Aside},
        disk::Disk,
    },
    history::{HistoryError, Library, Shelf},
    ids::{ContentHash, DocId, ReplicaId},
    limits,
    store::{StoreError, Write, row::FolderRow},
    tree::{RelPath, STATE_DIR},
};
use tracing::{error, warn};

use super::{FolderReport, FolderShared, Hint, Mailbox, trash::Trash, watcher::Watch};
use crate::{
    actor::{EngineHandle, lock},
    clock::Clock,
    content::Fetcher,
    error::NodeError,
    status::{ConflictStatus, ProblemStatus},
};

/// Name of the marker in our directory of the folder: without it the folder is not there.
const MARKER: &str = "folder";

/// Everything that a folder's thread starts with.
#[derive(Debug)]
pub(crate) struct WorkerParts {
    pub(crate) folder: u32,
    pub(crate) row: FolderRow,
    pub(crate) space_handle: u32,
    pub(crate) replica: ReplicaId,
    pub(crate) engine: EngineHandle,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shared: Arc<FolderShared>,
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) trash: std::path::PathBuf,
    pub(crate) clock: Clock,
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
}

/// The folder's thread.
pub(crate) struct Worker {
    parts: WorkerParts,
    trash: Trash,
    watch: Option<Watch>,
    documents: Documents,
    ignored: Ignored,
    dirty: BTreeMap<RelPath, Dirty>,
    pending: BTreeSet<DocId>,
    wants: BTreeMap<ContentHash, BTreeSet<DocId>>,
    fetched: BTreeSet<ContentHash>,
    scan_problems: BTreeMap<RelPath, String>,
    write_problems: BTreeMap<RelPath, String>,
    caught_up: bool,
    planned: bool,
    rescan_ms: u64,
    rescans: u64,
    /// When what could not be written is tried again.
    retry_ms: u64,
    settled: Option<u64>,
    halted: Option<String>,
    /// Entries that are out of the way of others in the middle of a plan.
    aside: Aside,
    /// Documents that are open.
    shelf: Shelf,
}

/// A round cannot go on.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Disk(#[from] FsError),
}

impl From<HistoryError> for RoundError {
    fn from(error: HistoryError) -> Self {
        Self::Node(error.into())
    }
}

impl From<StoreError> for RoundError {
    fn from(error: StoreError) -> Self {
        Self::Node(error.into())
    }
}

impl Worker {
    /// Starts the thread; it works until its mailbox is stopped.
    pub(crate) fn start(parts: WorkerParts) -> std::io::Result<std::thread::JoinHandle<()>> {
        std::thread::Builder::new().name("kith-folder".into()).spawn(move || Self::new(parts).run())
    }

    fn new(parts: WorkerParts) -> Self {
        let watch = match Watch::start(parts.shared.disk.path(), Arc::clone(&parts.mailbox)) {
            Ok(watch) => Some(watch),
            Err(error) => {
                warn!(%error, "the folder is not watched: it is scanned now and then");
                None
            }
        };
        let trash = Trash::open(parts.trash.clone(), parts.shared.disk.path().to_owned(), parts.clock.wall_ns());
        Self {
            trash,
            watch,
            documents: Documents::default(),
            ignored: Ignored::default(),
            dirty: BTreeMap::new(),
            pending: BTreeSet::new(),
            wants: BTreeMap::new(),
            fetched: BTreeSet::new(),
            scan_problems: BTreeMap::new(),
            write_problems: BTreeMap::new(),
            caught_up: parts.row.caught_up,
            planned: false,
            rescan_ms: 0,
            rescans: 0,
            retry_ms: 0,
            settled: None,
            halted: None,
            aside: Aside::default(),
            shelf: Shelf::default(),
            parts,
        }
    }

    fn run(mut self) {
        if let Err(error) = self.recover() {
            error!(%error, "a folder cannot start");
            self.halted = Some(error.to_string());
        }
        loop {
            self.report();
            let mail = self.parts.mailbox.take(self.pause());
            if mail.stop {
                return;
            }
            self.pending.extend(mail.docs);
            for content in mail.fetched {
                self.fetched.insert(content);
                self.pending.extend(self.wants.remove(&content).unwrap_or_default());
            }
            for hint in mail.hints {
                self.hint(hint);
            }
            if mail.rescan {
                self.rescan_ms = 0;
            }
            match self.round() {
                Ok(()) => {}
                Err(RoundError::Node(NodeError::Stopped)) => return,
                Err(error) => {
                    warn!(%error, "a folder's round did not end well");
                    self.write_problems.insert(RelPath::root(), error.to_string());
                    self.rescan_ms = self.now_ms() + limits::SETTLE_MS_MAX;
                    self.planned = false;
                }
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.parts.clock.mono_ms()
    }

    /// How long there is nothing to do unless somebody writes.
    fn pause(&self) -> Duration {
        let retry = (!self.write_problems.is_empty()).then_some(self.retry_ms);
        let next = self.dirty.values().map(|dirty| dirty.ready_ms).chain([self.rescan_ms]).chain(retry).min();
        let next = if self.caught_up && self.halted.is_none() { next } else { None };
        next.map_or(Duration::from_secs(1), |next| self.parts.clock.until(next))
    }

    fn hint(&mut self, hint: Hint) {
        let now = self.now_ms();
        let settle = if hint.closed { 0 } else { limits::SETTLE_MS };
        let dirty = self.dirty.entry(hint.path).or_insert(Dirty { ready_ms: 0, since_ms: now, missing: false });
        dirty.missing = false;
        // A writer that never pauses is read now and then all the same.
        dirty.ready_ms = (now + settle).min(dirty.since_ms + limits::SETTLE_MS_MAX);
    }

    fn mark_dirty(&mut self, path: RelPath, after_ms: u64) {
        let now = self.now_ms();
        let fresh = Dirty { ready_ms: now + after_ms, since_ms: now, missing: false };
        self.dirty.entry(path).or_insert(fresh).ready_ms = now + after_ms;
    }

    /// Puts back what a crash left halfway, and loads what disk and documents agreed on.
    fn recover(&mut self) -> Result<(), RoundError> {
        let snapshot = self.parts.engine.store.read()?;
        let rows = snapshot.bases(self.parts.folder)?;
        let is_new = rows.is_empty();
        {
            let mut base = lock(&self.parts.shared.base);
            for (doc, row) in rows {
                base.set(doc, Some(row));
            }
        }
        self.check_root(is_new)?;
        if self.halted.is_some() {
            return Ok(());
        }
        let shared = Arc::clone(&self.parts.shared);
        let mut base = lock(&shared.base);
        Applier::new(&shared.disk, &mut base, &mut self.trash, &mut self.aside).recover()?;
        drop(base);
        snapshot.each_document(self.parts.space_handle, |doc, _| {
            self.pending.insert(doc);
        })?;
        if !self.caught_up && self.is_empty_dir()? {
            // Nothing here could be taken for an edit.
            self.set_caught_up()?;
        }
        Ok(())
    }

    fn is_empty_dir(&self) -> Result<bool, RoundError> {
        let listed = self.parts.shared.disk.list(&RelPath::root())?;
        Ok(listed.iter().all(|listed| listed.name.as_deref() == Ok(STATE_DIR)))
    }

    /// The folder is there, and is the one that it was; else nothing is read as deleted.
    fn check_root(&mut self, is_new: bool) -> Result<(), RoundError> {
        let disk = &self.parts.shared.disk;
        let marker = RelPath::root().join(STATE_DIR).join(MARKER);
        let expected = format!("{}\n", self.parts.row.space);
        let identity = Disk::root_identity(disk.path()).ok().flatten();
        let found = disk.look(&marker)?;
        self.halted = if identity != Some(self.parts.row.root) {
            Some("its directory is missing or was replaced by another one".into())
        } else if found.is_some() {
            let mut text = String::new();
            let read = disk.open(&marker).map(|mut file| std::io::Read::read_to_string(&mut file, &mut text));
            let same = matches!(read, Ok(Ok(_))) && text == expected;
            (!same).then(|| "its directory belongs to another folder".to_owned())
        } else if is_new {
            disk.make_state_dirs()?;
            disk.write_new(&marker, expected.as_bytes(), true)?;
            None
        } else {
            Some("its marker .kith/folder is missing: is the disk mounted?".into())
        };
        Ok(())
    }

    fn set_caught_up(&mut self) -> Result<(), RoundError> {
        self.caught_up = true;
        let write = Write::CaughtUp { folder: self.parts.folder };
        Ok(self.parts.engine.write_blocking(self.parts.row.space, vec![write])?)
    }

    /// A joiner catches up before it takes its own files in: what it has already then needs no commit.
    fn watch_catch_up(&mut self) -> Result<(), RoundError> {
        let status = self.parts.engine.status();
        let done = {
            let status = status.borrow();
            let space = status.spaces.iter().find(|space| space.space == self.parts.row.space);
            space.is_some_and(|space| {
                space.name.is_some() && !space.behind && space.peers.iter().any(|peer| peer.linked)
            })
        };
        if done { self.set_caught_up() } else { Ok(()) }
    }

    fn round(&mut self) -> Result<(), RoundError> {
        if self.halted.is_some() {
            return Ok(());
        }
        self.read_documents()?;
        if !self.caught_up {
            self.watch_catch_up()?;
            if !self.caught_up {
                return Ok(());
            }
        }
        self.ingest()?;
        self.read_documents()?;
        if !self.write_problems.is_empty() && self.now_ms() >= self.retry_ms {
            self.planned = false;
        }
        self.materialize()
    }

    /// A view of the store as it is now. Give its shelf back.
    fn library(&mut self) -> Result<Library, RoundError> {
        let snapshot = self.parts.engine.store.read()?;
        Ok(Library::new(snapshot, self.parts.space_handle, std::mem::take(&mut self.shelf)))
    }

    /// Reads entries whose documents changed, and keeps what was dear to read.
    fn read_documents(&mut self) -> Result<(), RoundError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut library = self.library()?;
        let mut writes = Vec::new();
        let mut rows = Vec::with_capacity(self.pending.len());
        for doc in std::mem::take(&mut self.pending) {
            if let Some(row) = library.row(&doc)? {
                rows.push((row.handle, doc, row));
            }
        }
        // In the order of arrival: neighbours rest in one body.
        rows.sort_unstable_by_key(|(handle, ..)| *handle);
        for (_, doc, row) in rows {
            if self.documents.heads(&doc) == Some(&row.heads) {
                self.planned = false;
                continue;
            }
            match library.entry(&doc, &row) {
                Ok(entry) => {
                    if row.changes > 1 {
                        writes.push(Write::Entry { doc, heads: row.heads.clone(), entry: Box::new(entry.clone()) });
                        if let Some(bytes) = library.due_snapshot(&doc, &row)? {
                            writes.push(Write::Snapshot { handle: row.handle, changes: row.changes, bytes });
                        }
                    }
                    self.documents.set(doc, row.heads, entry);
                    self.planned = false;
                }
                Err(HistoryError::Store(error)) => return Err(error.into()),
                // The document shows its last good state; everything else goes on.
                Err(error) => {
                    error!(doc = doc.short(), %error, "a document cannot be read");
                    let path = lock(&self.parts.shared.base).path_of(&doc).unwrap_or_default();
                    self.write_problems.insert(path, error.to_string());
                }
            }
        }
        self.shelf = library.into_shelf();
        self.documents.refresh();
        Ok(self.parts.engine.write_blocking(self.parts.row.space, writes)?)
    }

    fn report(&mut self) {
        let (files, bytes) = lock(&self.parts.shared.base).totals();
        let busy = !self.dirty.is_empty() || !self.pending.is_empty() || !self.planned || !self.caught_up;
        let view = self.documents.view();
        let files_wanted = view
            .places()
            .filter(|(doc, _)| self.documents.entry(doc).is_some_and(|entry| entry.kind == Kind::File))
            .count() as u64;
        let shown = |doc: &DocId| view.path_of(doc).unwrap_or_default().to_string();
        let conflicts = view
            .conflicts
            .iter()
            .map(|conflict| ConflictStatus { path: shown(&conflict.doc), kind: conflict.kind.to_string() })
            .collect();
        let hidden = view.hidden.iter().filter_map(|(doc, fault)| {
            let name = self.documents.entry(doc).map(|entry| entry.name.clone())?;
            Some(ProblemStatus { path: name, reason: fault.to_string() })
        });
        let problems = self
            .scan_problems
            .iter()
            .chain(&self.write_problems)
            .map(|(path, reason)| ProblemStatus { path: path.to_string(), reason: reason.clone() })
            .chain(hidden)
            .collect();
        *lock(&self.parts.shared.report) = FolderReport {
            files: files as u64,
            bytes,
            files_wanted,
            conflicts,
            problems,
            busy,
            lacking: self.wants.len(),
            halted: self.halted.clone(),
            caught_up: self.caught_up,
            watched: self.watch.is_some(),
        };
        self.parts.mailbox.reported();
        self.tell_settled(busy);
    }

    /// Tells the engine whether the disk agrees with everything that it has committed.
    fn tell_settled(&mut self, busy: bool) {
        let arrivals = {
            let status = self.parts.engine.status();
            let status = status.borrow();
            let space = status.spaces.iter().find(|space| space.space == self.parts.row.space);
            space.map(|space| space.arrivals)
        };
        // The status is read before the mailbox: whatever came in between is still in the mailbox.
        let agrees = !busy
            && self.wants.is_empty()
            && self.write_problems.is_empty()
            && self.halted.is_none()
            && self.parts.mailbox.is_empty();
        let settled = arrivals.filter(|_| agrees);
        if settled != self.settled {
            self.settled = settled;
            self.parts.engine.send_blocking(Input::Settled { space: self.parts.row.space, upto: settled });
        }
    }
}
