//! The thread of one folder: takes hints and documents, lets the core plan, submits edits, writes.
//!
//! One round takes what is in the mailbox, reads the disk where it may have changed and submits what the user did, then
//! reads the documents that changed and brings the disk up to them. All that decides lives in `sync_core::folder`; here
//! it is joined with the engine, and with fetching.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use sync_core::{
    content,
    doc::{
        entry::{Content, ContentRef, Entry, Kind},
        text,
    },
    engine::Input,
    folder::{
        Documents, Fault, FoundKind, Fs as _, FsError, Ignored, Problem,
        apply::{Applied, Applier, Aside, Bytes, Prepared, Want},
        disk::temp_dir,
        ingest::{DOWNLOAD, Ingest, LoadError, Loaded, Ready, load, wall_ns},
        local::{Into as Within, Local, Made, Moved, local},
        observe::{Looks, Observer},
        plan::{Action, plan, wanted_content},
    },
    history::{HistoryError, Library},
    ids::{ContentHash, DocId, ReplicaId},
    limits,
    store::{
        Write,
        row::{BaseRow, FolderRow},
    },
    tree::{Place, RelPath, STATE_DIR},
};
use tracing::{debug, error, warn};

use super::{FolderReport, FolderShared, Hint, Mailbox, trash::Trash, watcher::Watch};
use crate::{
    actor::{EngineHandle, lock},
    clock::Clock,
    content::{Fetcher, Wanted},
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
    _watch: Option<Watch>,
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
    settled: Option<u64>,
    halted: Option<String>,
    /// Entries that are out of the way of others in the middle of a plan.
    aside: Aside,
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

impl From<sync_core::store::StoreError> for RoundError {
    fn from(error: sync_core::store::StoreError) -> Self {
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
        let trash = Trash::open(parts.trash.clone(), parts.shared.disk.path().to_owned());
        Self {
            trash,
            _watch: watch,
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
            settled: None,
            halted: None,
            aside: Aside::default(),
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
                }
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.parts.clock.mono_ms()
    }

    /// How long there is nothing to do unless somebody writes.
    fn pause(&self) -> Duration {
        let next = self.dirty.values().map(|dirty| dirty.ready_ms).chain([self.rescan_ms]).min();
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
        let identity = sync_core::folder::disk::Disk::root_identity(disk.path()).ok().flatten();
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
        self.materialize()
    }

    fn library(&self) -> Result<Library, RoundError> {
        Ok(Library::new(self.parts.engine.store.read()?, self.parts.space_handle))
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
        self.documents.refresh();
        Ok(self.parts.engine.write_blocking(self.parts.row.space, writes)?)
    }

    // ---- disk into documents ----

    fn ingest(&mut self) -> Result<(), RoundError> {
        let now = self.now_ms();
        let full = now >= self.rescan_ms;
        let due: Vec<RelPath> = if full {
            self.dirty.keys().cloned().collect()
        } else if self.dirty.values().any(|dirty| now >= dirty.ready_ms) {
            // What is missing is looked at with whatever appears: it may be the same thing.
            let due = self.dirty.iter().filter(|(_, dirty)| now >= dirty.ready_ms || dirty.missing);
            due.map(|(path, _)| path.clone()).collect()
        } else {
            return Ok(());
        };
        let mut ages = BTreeMap::new();
        for path in due {
            if let Some(dirty) = self.dirty.remove(&path) {
                ages.insert(path, dirty);
            }
        }
        if full {
            self.check_root(false)?;
            if self.halted.is_some() {
                return Ok(());
            }
            // The first scan knows of no rules but the root's; the others show as it goes.
            self.ignored.load(&self.parts.shared.disk, &RelPath::root());
            self.rescans += 1;
            let quarter = limits::RESCAN_EVERY_MS / 4;
            let spread = u64::from(self.parts.folder).wrapping_mul(7919).wrapping_add(self.rescans * 104_729);
            self.rescan_ms = now + limits::RESCAN_EVERY_MS - quarter + spread % (2 * quarter);
        }
        let looks = self.look(full, ages.keys())?;
        let first_scan = full && self.rescans == 1;
        let mut changes = {
            let base = lock(&self.parts.shared.base);
            local(&base, looks)
        };
        if !first_scan {
            self.await_the_missing(&mut changes, &ages, full);
        }
        self.submit_local(changes)
    }

    fn look<'a>(&mut self, full: bool, paths: impl Iterator<Item = &'a RelPath>) -> Result<Looks, RoundError> {
        let shared = Arc::clone(&self.parts.shared);
        let looks = {
            let base = lock(&shared.base);
            let mut observer = Observer::new(&shared.disk, &base, &self.ignored);
            if full {
                self.scan_problems.clear();
                observer.directory(None, &RelPath::root())?;
            } else {
                for path in paths {
                    self.scan_problems.remove(path);
                    observer.path(path)?;
                }
            }
            observer.finish()
        };
        for Problem { path, reason } in &looks.problems {
            self.scan_problems.insert(path.clone(), reason.clone());
        }
        let mut changed = false;
        for dir in &looks.ignore_files {
            changed |= self.ignored.load(&shared.disk, dir) && (!full || self.rescans == 1);
        }
        if changed {
            self.planned = false;
            if !full || looks.ignore_files.iter().any(|dir| !dir.is_root()) && self.rescans == 1 {
                self.rescan_ms = 0;
            }
        }
        Ok(looks)
    }

    /// Files that are gone may be on their way back: editors delete and create, or move in two steps.
    fn await_the_missing(&mut self, changes: &mut Local, ages: &BTreeMap<RelPath, Dirty>, full: bool) {
        let now = self.now_ms();
        let mut waiting: BTreeSet<DocId> = BTreeSet::new();
        let gone: BTreeSet<DocId> = changes.gone.iter().copied().collect();
        let mut again = Vec::new();
        {
            let base = lock(&self.parts.shared.base);
            for doc in &changes.gone {
                let top = base.row(doc).is_none_or(|row| row.parent.is_none_or(|parent| !gone.contains(&parent)));
                let Some(path) = base.path_of(doc).filter(|_| top) else { continue };
                let since = match ages.get(&path) {
                    Some(dirty) => dirty.since_ms,
                    None if full => now,
                    None => continue,
                };
                if now < since + limits::VANISH_MS {
                    waiting.extend(base.subtree(*doc));
                    again.push((path, since));
                }
            }
        }
        changes.gone.retain(|doc| !waiting.contains(doc));
        for (path, since_ms) in again {
            let dirty = Dirty { ready_ms: since_ms + limits::VANISH_MS, since_ms, missing: true };
            self.dirty.insert(path, dirty);
        }
    }

    fn submit_local(&mut self, changes: Local) -> Result<(), RoundError> {
        let Local { made, moved, mut touched, mut gone } = changes;
        if made.is_empty() && moved.is_empty() && touched.is_empty() && gone.is_empty() {
            return Ok(());
        }
        debug!(made = made.len(), moved = moved.len(), touched = touched.len(), gone = gone.len(), "the disk changed");
        let mut docs = BTreeMap::new();
        self.make(&made, &mut BTreeMap::new(), &BTreeMap::new(), &mut docs)?;
        for entry in &moved {
            let parent = match entry.into {
                Within::Known(parent) => parent,
                Within::Made(index) => match docs.get(&index) {
                    Some(doc) => Some(*doc),
                    None => continue,
                },
            };
            let ready = self.ingest_with(|ingest| ingest.moved(entry, parent))?;
            self.submit(ready.into_iter().collect())?;
        }
        self.make_links(&made, &mut docs)?;
        self.make_files(&made, &mut docs, &mut gone, &mut touched)?;
        self.submit_touched(touched)?;
        let mut ready = Vec::new();
        for doc in gone {
            ready.extend(self.ingest_with(|ingest| ingest.gone(doc))?);
            if ready.len() >= limits::FOLDER_BATCH {
                self.submit(std::mem::take(&mut ready))?;
            }
        }
        self.submit(ready)
    }

    fn ingest_with<T>(
        &self,
        work: impl FnOnce(&mut Ingest<'_>) -> Result<T, HistoryError>,
    ) -> Result<T, RoundError> {
        let mut library = self.library()?;
        let base = lock(&self.parts.shared.base);
        let mut ingest = Ingest {
            fs: &self.parts.shared.disk,
            library: &mut library,
            documents: &self.documents,
            base: &base,
            space: self.parts.row.space,
            replica: self.parts.replica,
            folder: self.parts.folder,
        };
        Ok(work(&mut ingest)?)
    }

    fn make(
        &mut self,
        made: &[Made],
        files: &mut BTreeMap<usize, Loaded>,
        links: &BTreeMap<usize, String>,
        docs: &mut BTreeMap<usize, DocId>,
    ) -> Result<(), RoundError> {
        let ready = self.ingest_with(|ingest| ingest.made(made, files, links, docs))?;
        self.submit(ready)
    }

    /// Where something that was made is, now that directories have moved.
    fn path_of_made(&self, made: &[Made], index: usize, docs: &BTreeMap<usize, DocId>) -> Option<RelPath> {
        let entry = made.get(index)?;
        let parent = match entry.into {
            Within::Known(parent) => parent,
            Within::Made(above) => Some(*docs.get(&above)?),
        };
        Some(lock(&self.parts.shared.base).dir_path(parent)?.join(&entry.name))
    }

    fn make_links(&mut self, made: &[Made], docs: &mut BTreeMap<usize, DocId>) -> Result<(), RoundError> {
        let mut links = BTreeMap::new();
        for (index, entry) in made.iter().enumerate() {
            if entry.found.kind == FoundKind::Link
                && let Some(path) = self.path_of_made(made, index, docs)
            {
                match self.parts.shared.disk.read_link(&path) {
                    Ok(target) => {
                        links.insert(index, target);
                    }
                    Err(error) => self.unreadable(path, &error),
                }
            }
        }
        self.make(made, &mut BTreeMap::new(), &links, docs)
    }

    /// Files in batches: read on two threads, then made, or told to be ones that moved.
    fn make_files(
        &mut self,
        made: &[Made],
        docs: &mut BTreeMap<usize, DocId>,
        gone: &mut Vec<DocId>,
        touched: &mut Vec<(DocId, sync_core::folder::Found)>,
    ) -> Result<(), RoundError> {
        let files: Vec<(usize, RelPath)> = made
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.found.kind == FoundKind::File)
            .filter_map(|(index, _)| Some((index, self.path_of_made(made, index, docs)?)))
            .collect();
        for batch in files.chunks(limits::FOLDER_BATCH) {
            let mut loaded = self.load_all(batch);
            // A file with the bytes of one that is gone is that one, elsewhere.
            let twins: Vec<(usize, DocId)> = {
                let base = lock(&self.parts.shared.base);
                let mut free: BTreeSet<DocId> = gone.iter().copied().collect();
                loaded
                    .iter()
                    .filter(|(_, file)| file.stat.size > 0)
                    .filter_map(|(index, file)| {
                        let doc = *base.with_hash(&file.hash).iter().find(|doc| free.contains(doc))?;
                        free.remove(&doc);
                        Some((*index, doc))
                    })
                    .collect()
            };
            for (index, doc) in twins {
                let parent = match made[index].into {
                    Within::Known(parent) => parent,
                    Within::Made(above) => docs.get(&above).copied(),
                };
                let moved = Moved {
                    doc,
                    into: Within::Known(parent),
                    name: made[index].name.clone(),
                    found: made[index].found,
                };
                let ready = self.ingest_with(|ingest| ingest.moved(&moved, parent))?;
                self.submit(ready.into_iter().collect())?;
                loaded.remove(&index);
                docs.insert(index, doc);
                gone.retain(|held| *held != doc);
                touched.push((doc, made[index].found));
            }
            self.make(made, &mut loaded, &BTreeMap::new(), docs)?;
        }
        Ok(())
    }

    /// Reads files on two threads: hashing is most of an import.
    fn load_all(&mut self, files: &[(usize, RelPath)]) -> BTreeMap<usize, Loaded> {
        let disk = &self.parts.shared.disk;
        let wall = wall_ns();
        let read = |part: &[(usize, RelPath)]| -> Vec<(usize, Result<Loaded, LoadError>)> {
            part.iter().map(|(index, path)| (*index, load(disk, path, wall))).collect()
        };
        let (left, right) = files.split_at(files.len() / 2);
        let results = std::thread::scope(|scope| {
            let left = (left.len() > 16).then(|| scope.spawn(|| read(left)));
            let mut results = read(right);
            match left.map(std::thread::ScopedJoinHandle::join) {
                Some(Ok(left)) => results.extend(left),
                _ => results.extend(read(left_of(files))),
            }
            results
        });
        let paths: BTreeMap<usize, &RelPath> = files.iter().map(|(index, path)| (*index, path)).collect();
        let mut loaded = BTreeMap::new();
        for (index, result) in results {
            match result {
                Ok(file) => {
                    loaded.insert(index, file);
                }
                Err(error) => self.not_loaded(paths[&index].clone(), error),
            }
        }
        loaded
    }

    fn not_loaded(&mut self, path: RelPath, error: LoadError) {
        match error {
            LoadError::Fs(error) => self.unreadable(path, &error),
            _ => self.mark_dirty(path, limits::SETTLE_MS),
        }
    }

    /// A file that cannot be read is a problem, never a delete; one that is gone again shows in its next look.
    fn unreadable(&mut self, path: RelPath, error: &FsError) {
        if error.fault() == Fault::NotFound {
            self.mark_dirty(path, limits::SETTLE_MS);
        } else {
            self.scan_problems.insert(path, error.reason());
        }
    }

    fn submit_touched(&mut self, touched: Vec<(DocId, sync_core::folder::Found)>) -> Result<(), RoundError> {
        let mut ready = Vec::new();
        let mut files = Vec::new();
        for (doc, found) in &touched {
            let Some(path) = lock(&self.parts.shared.base).path_of(doc) else { continue };
            match found.kind {
                FoundKind::Dir => ready.extend(self.ingest_with(|ingest| ingest.touched_plain(*doc, found, None))?),
                FoundKind::Link => match self.parts.shared.disk.read_link(&path) {
                    Ok(target) => {
                        ready.extend(self.ingest_with(|ingest| ingest.touched_plain(*doc, found, Some(&target)))?);
                    }
                    Err(error) => self.unreadable(path, &error),
                },
                FoundKind::File if found.stat.size == 0 && !self.was_empty(doc) && !self.is_old(&path) => {
                    // Truncated, and perhaps about to be written.
                    self.await_bytes(path);
                }
                FoundKind::File => files.push((files.len(), path, *doc)),
                FoundKind::Other => {}
            }
        }
        self.submit(ready)?;
        for batch in files.chunks(limits::FOLDER_BATCH) {
            let paths: Vec<(usize, RelPath)> = batch.iter().map(|(index, path, _)| (*index, path.clone())).collect();
            let mut loaded = self.load_all(&paths);
            let mut ready = Vec::new();
            for (index, path, doc) in batch {
                if let Some(file) = loaded.remove(index) {
                    if file.racy {
                        // Its time stamp may not move with its next bytes: look once more when it must.
                        self.mark_dirty(path.clone(), limits::SETTLE_MS);
                    }
                    ready.extend(self.ingest_with(|ingest| ingest.touched_file(*doc, file))?);
                }
            }
            self.submit(ready)?;
        }
        Ok(())
    }

    fn was_empty(&self, doc: &DocId) -> bool {
        lock(&self.parts.shared.base).on_disk(doc).is_some_and(|(_, stat)| stat.size == 0)
    }

    /// Whether a path has been dirty for so long that nothing more is to be awaited.
    fn is_old(&self, path: &RelPath) -> bool {
        let modified = self.parts.shared.disk.look(path).ok().flatten().map(|found| found.stat.mtime_ns);
        modified.is_none_or(|modified| wall_ns() - modified > limits::VANISH_MS as i64 * 1_000_000)
    }

    fn await_bytes(&mut self, path: RelPath) {
        self.mark_dirty(path, limits::VANISH_MS);
    }

    fn submit(&mut self, mut ready: Vec<Ready>) -> Result<(), RoundError> {
        while !ready.is_empty() {
            let rest = ready.split_off(ready.len().min(limits::FOLDER_BATCH));
            let (mut edits, mut rows) = (Vec::new(), Vec::new());
            for Ready { doc, edit, row } in std::mem::replace(&mut ready, rest) {
                edits.push(edit);
                rows.push((doc, row));
            }
            let stale = self.parts.engine.edit_blocking(self.parts.row.space, edits)?;
            let mut again = Vec::new();
            {
                let mut base = lock(&self.parts.shared.base);
                for (index, (doc, row)) in rows.into_iter().enumerate() {
                    if stale.contains(&index) {
                        again.extend(base.path_of(&doc));
                    } else {
                        base.set(doc, row);
                    }
                    self.pending.insert(doc);
                }
            }
            for path in again {
                self.mark_dirty(path, limits::SETTLE_MS);
            }
        }
        Ok(())
    }

    // ---- documents onto disk ----

    fn materialize(&mut self) -> Result<(), RoundError> {
        if self.planned {
            return Ok(());
        }
        self.planned = true;
        self.write_problems.clear();
        let actions = {
            let base = lock(&self.parts.shared.base);
            plan(&base, &self.documents, &self.ignored)
        };
        let mut writes = Vec::new();
        let mut rows = Vec::new();
        for action in actions {
            match action {
                Action::Write { doc, place } => writes.push((doc, place)),
                Action::Aside { doc } => {
                    let applied = self.apply(|applier| applier.put_aside(doc));
                    self.note(applied, &mut rows);
                }
                Action::MakeDir { doc, place } => {
                    let heads = self.documents.heads(&doc).unwrap_or_default().to_vec();
                    let applied = self.apply(|applier| applier.make_dir(doc, &place, heads));
                    self.note(applied, &mut rows);
                }
                Action::Move { doc, place } => {
                    let applied = self.apply(|applier| applier.move_to(doc, &place));
                    self.note(applied, &mut rows);
                }
                Action::Delete { doc } => {
                    // Deletes come last: what is to be written is written before.
                    if !writes.is_empty() {
                        self.write_all(std::mem::take(&mut writes), &mut rows)?;
                    }
                    let in_history = self.in_history(&doc);
                    let applied = self.apply(|applier| applier.delete(doc, in_history));
                    self.note(applied, &mut rows);
                }
            }
        }
        self.write_all(writes, &mut rows)?;
        self.put_rows(rows)?;
        self.ask_for_contents();
        Ok(())
    }

    fn apply<T>(&mut self, work: impl FnOnce(&mut Applier<'_>) -> T) -> T {
        let shared = Arc::clone(&self.parts.shared);
        let mut base = lock(&shared.base);
        let mut applier = Applier::new(&shared.disk, &mut base, &mut self.trash, &mut self.aside);
        work(&mut applier)
    }

    fn note(&mut self, applied: Option<Applied>, rows: &mut Vec<Write>) {
        match applied {
            Some(Applied::Done(doc, row)) => rows.push(Write::Base { folder: self.parts.folder, doc, row }),
            Some(Applied::Dirty(path)) => {
                self.mark_dirty(path, 0);
                self.planned = false;
            }
            Some(Applied::Problem(path, reason)) => {
                self.write_problems.insert(path, reason);
            }
            None => {}
        }
    }

    fn put_rows(&self, rows: Vec<Write>) -> Result<(), RoundError> {
        Ok(self.parts.engine.write_blocking(self.parts.row.space, rows)?)
    }

    /// Whether the bytes that an entry has on disk can be had again from commits.
    fn in_history(&self, doc: &DocId) -> bool {
        let base = lock(&self.parts.shared.base);
        let Some((row, _)) = base.on_disk(doc) else { return true };
        match self.documents.entry(doc).and_then(|entry| entry.content.as_ref()) {
            Some(Content::Text) => true,
            Some(Content::Inline(bytes)) => ContentHash::of(bytes) == row.hash,
            _ => row.kind != Kind::File,
        }
    }

    fn write_all(&mut self, writes: Vec<(DocId, Place)>, rows: &mut Vec<Write>) -> Result<(), RoundError> {
        let mut library = self.library()?;
        for batch in writes.chunks(limits::FOLDER_BATCH) {
            // A batch shares two flushes of the file system; a few files have their own.
            let single = batch.len() <= 4;
            let mut prepared = Vec::new();
            let mut intents = Vec::new();
            for (doc, place) in batch {
                match self.prepare(&mut library, *doc, place, single, rows)? {
                    Some((ready, row)) => {
                        let row = Some(Box::new(row));
                        intents.push(Write::Base { folder: self.parts.folder, doc: *doc, row });
                        prepared.push((*doc, ready));
                    }
                    None => continue,
                }
            }
            if prepared.is_empty() {
                continue;
            }
            if !single {
                self.parts.shared.disk.flush_all()?;
            }
            self.put_rows(intents)?;
            let mut dirs = BTreeSet::new();
            for (doc, ready) in prepared {
                let in_history = self.in_history(&doc);
                let applied = self.apply(|applier| applier.commit(ready, in_history));
                if let Applied::Done(doc, _) = &applied {
                    let path = lock(&self.parts.shared.base).path_of(doc);
                    dirs.extend(path.and_then(|path| path.split().map(|(dir, _)| dir)));
                }
                self.note(Some(applied), rows);
            }
            if single {
                for dir in dirs {
                    self.parts.shared.disk.flush_dir(&dir)?;
                }
            } else {
                self.parts.shared.disk.flush_all()?;
            }
            self.put_rows(std::mem::take(rows))?;
        }
        Ok(())
    }

    /// Finds the bytes of an entry and makes its temporary file; or notes that there is nothing to write.
    fn prepare(
        &mut self,
        library: &mut Library,
        doc: DocId,
        place: &Place,
        flush: bool,
        rows: &mut Vec<Write>,
    ) -> Result<Option<(Prepared, BaseRow)>, RoundError> {
        let Some(entry) = self.documents.entry(&doc).cloned() else { return Ok(None) };
        let heads = self.documents.heads(&doc).unwrap_or_default().to_vec();
        let Some((bytes, hash)) = self.bytes_of(library, &doc, &entry)? else { return Ok(None) };
        let on_disk = lock(&self.parts.shared.base).on_disk(&doc).map(|(row, stat)| (row.clone(), stat));
        if let Some((mut row, stat)) = on_disk
            && (row.hash == hash || row.kind == Kind::Dir)
        {
            // The document moved on and its bytes did not.
            if row.kind == Kind::File && stat.exec != entry.exec {
                let Some(path) = lock(&self.parts.shared.base).path_of(&doc) else { return Ok(None) };
                self.parts.shared.disk.set_mode(&path, entry.exec, None)?;
                row.stat = self.parts.shared.disk.look(&path)?.map(|found| found.stat);
            }
            row.heads = heads;
            row.intent = None;
            lock(&self.parts.shared.base).set(doc, Some(row.clone()));
            rows.push(Write::Base { folder: self.parts.folder, doc, row: Some(Box::new(row)) });
            return Ok(None);
        }
        let want = Want { heads, hash, exec: entry.exec };
        let Some(bytes) = bytes else {
            self.want(doc, &entry);
            return Ok(None);
        };
        match self.apply(|applier| applier.prepare(doc, place, bytes, want, flush)) {
            Ok(ready) => Ok(Some(ready)),
            Err(applied) => {
                self.note(Some(applied), rows);
                Ok(None)
            }
        }
    }

    /// The bytes that an entry should have, and their hash. No bytes: they must be fetched first.
    fn bytes_of(
        &mut self,
        library: &mut Library,
        doc: &DocId,
        entry: &Entry,
    ) -> Result<Option<(Option<Bytes>, ContentHash)>, RoundError> {
        if entry.kind == Kind::Dir {
            return Ok(Some((None, ContentHash([0; 32]))));
        }
        if let Some(target) = &entry.target {
            let hash = ContentHash::of(target.as_bytes());
            return Ok(Some((Some(Bytes::Link(target.clone())), hash)));
        }
        match &entry.content {
            Some(Content::Inline(bytes)) => {
                Ok(Some((Some(Bytes::Memory(bytes.clone())), ContentHash::of(bytes))))
            }
            Some(Content::Text) => {
                let Some(row) = library.row(doc)? else { return Ok(None) };
                let document = library.open(&row)?;
                let behind = row.changes - library.rows().doc_snapshot(row.handle)?.map_or(0, |(changes, _)| changes);
                if behind >= limits::SNAPSHOT_EVERY_CHANGES {
                    let bytes = document.save().map_err(HistoryError::from)?;
                    let write = Write::Snapshot { handle: row.handle, changes: row.changes, bytes };
                    self.put_rows(vec![write])?;
                }
                let text = document.text().map_err(HistoryError::from)?.unwrap_or_default();
                let hash = ContentHash::of(text.as_bytes());
                Ok(Some((Some(Bytes::Memory(text.into_bytes())), hash)))
            }
            Some(Content::Reference(content)) => Ok(Some((self.fetched_bytes(doc, content)?, content.hash))),
            None => Ok(None),
        }
    }

    /// Bytes of a reference that are here: fetched before, or in another file of this folder.
    fn fetched_bytes(&mut self, doc: &DocId, content: &ContentRef) -> Result<Option<Bytes>, RoundError> {
        let here = {
            let base = lock(&self.parts.shared.base);
            wanted_content(&base, &self.documents, doc).is_none()
        };
        if here {
            return Ok(None);
        }
        let temp = temp_dir().join(&format!("{DOWNLOAD}{}", content.hash));
        if self.fetched.remove(&content.hash) {
            self.keep_fetched(&temp, content)?;
            return Ok(Some(Bytes::Temp(temp)));
        }
        let copies: Vec<RelPath> = {
            let base = lock(&self.parts.shared.base);
            base.with_hash(&content.hash).iter().filter_map(|doc| base.path_of(doc)).collect()
        };
        for path in copies {
            if self.copy_verified(&path, &temp, content) {
                return Ok(Some(Bytes::Temp(temp)));
            }
        }
        Ok(None)
    }

    /// Copies a file of this folder that holds the content, if it still does.
    fn copy_verified(&self, from: &RelPath, temp: &RelPath, content: &ContentRef) -> bool {
        let disk = &self.parts.shared.disk;
        let copy = || -> std::io::Result<bool> {
            let mut source = disk.open_file(from)?;
            let mut target = disk.open_or_create(temp)?;
            target.set_len(0)?;
            std::io::copy(&mut source, &mut target)?;
            target.sync_all()?;
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(disk.open_file(temp)?)?;
            Ok(hasher.finalize().as_bytes() == &content.hash.0)
        };
        copy().unwrap_or(false)
    }

    /// What was fetched can be served, and promoted if it is a text.
    fn keep_fetched(&self, temp: &RelPath, content: &ContentRef) -> Result<(), RoundError> {
        let disk = &self.parts.shared.disk;
        let failed = |source| FsError { operation: "read", path: temp.clone(), source };
        let mut file = disk.open_file(temp).map_err(failed)?;
        let (cut, chunks) = content::cut(&mut file, content.len).map_err(failed)?;
        let mut writes = Vec::new();
        if cut.list == content.list {
            writes.push(Write::Content { hash: content.hash, chunks });
        }
        if content.len <= limits::TEXT_BYTES_MAX as u64 {
            let mut bytes = Vec::new();
            std::io::Seek::rewind(&mut file).map_err(failed)?;
            std::io::Read::read_to_end(&mut file, &mut bytes).map_err(failed)?;
            if let Some(text) = text::as_text(&bytes) {
                writes.push(Write::Text { hash: content.hash, text: text.to_owned() });
            }
        }
        self.put_rows(writes)
    }

    fn want(&mut self, doc: DocId, entry: &Entry) {
        if let Some(Content::Reference(content)) = &entry.content {
            self.wants.entry(content.hash).or_default().insert(doc);
        }
    }

    fn ask_for_contents(&mut self) {
        // What is no longer in the tree is no longer wanted.
        let documents = &self.documents;
        self.wants.retain(|hash, docs| {
            docs.retain(|doc| {
                let current = documents.entry(doc).and_then(|entry| entry.content.as_ref());
                documents.view().place_of(doc).is_some()
                    && matches!(current, Some(Content::Reference(content)) if content.hash == *hash)
            });
            !docs.is_empty()
        });
        self.parts.mailbox.want(self.wants.keys().copied().collect());
        for docs in self.wants.values() {
            let content = docs.first().and_then(|doc| self.documents.entry(doc)).and_then(|entry| entry.content.as_ref());
            if let Some(Content::Reference(content)) = content {
                self.parts.fetcher.fetch(Wanted {
                    space: self.parts.row.space,
                    content: *content,
                    folder: Arc::clone(&self.parts.shared),
                    mailbox: Arc::clone(&self.parts.mailbox),
                });
            }
        }
    }

    // ---- what others see ----

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
        };
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

fn left_of(files: &[(usize, RelPath)]) -> &[(usize, RelPath)] {
    &files[..files.len() / 2]
}
