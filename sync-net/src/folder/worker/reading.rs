//! Disk into documents: looks where something may have changed, and submits what the user did.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sync_core::{
    folder::{
        Fault, Found, FoundKind, Fs as _, FsError, Problem,
        ingest::{Ingest, LoadError, Loaded, Ready, load},
        local::{Into as Within, Local, Made, Moved, local},
        observe::{Looks, Observer},
    },
    history::HistoryError,
    ids::DocId,
    limits,
    tree::RelPath,
};
use tracing::debug;

use super::{Dirty, RoundError, Worker};
use crate::actor::lock;

impl Worker {
    pub(super) fn ingest(&mut self) -> Result<(), RoundError> {
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
        &mut self,
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
        let result = work(&mut ingest);
        drop(base);
        self.shelf = library.into_shelf();
        Ok(result?)
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
        touched: &mut Vec<(DocId, Found)>,
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
        let wall = self.parts.clock.wall_ns();
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

    fn submit_touched(&mut self, touched: Vec<(DocId, Found)>) -> Result<(), RoundError> {
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
        modified.is_none_or(|modified| self.parts.clock.wall_ns() - modified > limits::VANISH_MS as i64 * 1_000_000)
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
}

fn left_of(files: &[(usize, RelPath)]) -> &[(usize, RelPath)] {
    &files[..files.len() / 2]
}
