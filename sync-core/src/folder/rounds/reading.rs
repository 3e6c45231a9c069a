//! Disk into documents: looks where something may have changed, and submits what the user did.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Dirty, RoundError, Rounds,
    host::{Event, Host},
    lock,
};
use crate::{
    folder::{
        Fault, Found, FoundKind, FsError, Problem,
        ignored::IGNORE_FILE,
        ingest::{Ingest, LoadError, Loaded, Ready},
        local::{Into as Within, Local, Made, Moved, local},
        observe::{Looks, Observer},
    },
    history::HistoryError,
    ids::DocId,
    limits,
    probe::{self, Plant},
    tree::{Folds, RelPath, check_link},
};

/// How often one look is repeated because it found new rules: each time those may show more of them.
const RULES_LOOKS_MAX: usize = 4;

/// Why a change of the user is not sent.
const READS_ONLY: &str = "this device may only read: what is changed here stays here";

impl Rounds {
    pub(super) fn ingest(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        let now = host.now().mono_ms;
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
            self.check_root(host, false)?;
            if self.halted.is_some() {
                return Ok(());
            }
            // The other rules show as it goes.
            if self.ignored.load(&*self.parts.fs, &RelPath::root()) {
                self.planned = false;
            }
            self.rescans += 1;
            self.sweep_due = true;
            let quarter = limits::RESCAN_EVERY_MS / 4;
            let spread = u64::from(self.parts.folder).wrapping_mul(7919).wrapping_add(self.rescans * 104_729);
            self.rescan_ms = now + limits::RESCAN_EVERY_MS - quarter + spread % (2 * quarter);
        }
        let away_before = self.forget_away(full, &ages);
        let looks = self.look(full, &ages)?;
        let first_scan = full && self.rescans == 1;
        let mut changes = {
            let base = lock(&self.parts.base);
            local(&base, looks)
        };
        self.stand_still(&away_before, &changes.away);
        if full {
            self.forget_what_came_back(&changes);
        }
        let mut waiting = BTreeSet::new();
        if !first_scan {
            waiting = self.await_the_missing(host, &mut changes, &ages, full);
            self.await_the_renamed(host, &mut changes, &ages);
        }
        if !changes.gone.is_empty() {
            // What went with the directory that it was in was not deleted.
            self.check_root(host, false)?;
            if self.halted.is_some() {
                return Ok(());
            }
        }
        self.submit_local(host, changes, &waiting)?;
        self.forget_rules_that_are_gone();
        Ok(())
    }

    pub(super) fn look(&mut self, full: bool, due: &BTreeMap<RelPath, Dirty>) -> Result<Looks, RoundError> {
        let mut looks = self.look_once(full, due)?;
        // What was seen was seen by the rules that held then: rules that are new hold for what is beside them.
        for _ in 0..RULES_LOOKS_MAX {
            let mut changed = false;
            for dir in &looks.ignore_files {
                changed |= self.ignored.load(&*self.parts.fs, dir);
            }
            if !changed {
                break;
            }
            self.planned = false;
            if !full {
                self.rescan_ms = 0;
            }
            looks = self.look_once(full, due)?;
        }
        probe::reach("ingest.looked");
        for Problem { path, reason } in &looks.problems {
            self.scan_problems.insert(path.clone(), reason.clone());
        }
        self.forget_rules_that_are_gone();
        Ok(looks)
    }

    fn look_once(&mut self, full: bool, due: &BTreeMap<RelPath, Dirty>) -> Result<Looks, RoundError> {
        let base = lock(&self.parts.base);
        let believed = probe::planted(Plant::TrustYoungFiles);
        let written = due.iter().filter(|(_, dirty)| dirty.written && !believed).map(|(path, _)| path);
        let mut observer = Observer::new(&*self.parts.fs, &base, &self.ignored, written.collect());
        if full {
            self.scan_problems.clear();
            observer.directory(None, &RelPath::root())?;
        } else {
            for path in due.keys() {
                self.scan_problems.remove(path);
                match observer.path(path) {
                    // Nothing is known of it, and the others are looked at all the same.
                    Err(error) if error.fault() == Fault::Denied => {
                        self.scan_problems.insert(path.clone(), error.reason());
                    }
                    looked => looked?,
                }
            }
        }
        Ok(observer.finish())
    }

    /// Rules end with their file. One that the base still has may be on its way back: an editor saves it.
    fn forget_rules_that_are_gone(&mut self) {
        let dirs: Vec<RelPath> = {
            let base = lock(&self.parts.base);
            let is_known = |dir: &RelPath| {
                let mut dir = dir.components().iter();
                let doc = dir.try_fold(None, |at, name| base.child(at, name).map(Some));
                doc.is_some_and(|doc| base.child(doc, IGNORE_FILE).is_some())
            };
            self.ignored.dirs().filter(|dir| !is_known(dir)).cloned().collect()
        };
        for dir in dirs {
            if self.ignored.forget_if_gone(&*self.parts.fs, &dir) {
                self.planned = false;
                self.rescan_ms = 0;
            }
        }
    }

    /// Submits what the user did. Of what is waited for, only files that are somewhere else now are.
    fn submit_local(
        &mut self,
        host: &mut dyn Host,
        mut changes: Local,
        waiting: &BTreeSet<DocId>,
    ) -> Result<(), RoundError> {
        self.pass_over_what_is_left_alone(&mut changes);
        self.hold_what_took_places(host, &mut changes);
        if host.space().is_some_and(|space| space.reads_only) {
            self.pass_over_what_moved_here(&mut changes);
        }
        let Local { made, moved, mut touched, mut gone, away: _ } = changes;
        if made.is_empty() && moved.is_empty() && touched.is_empty() && gone.is_empty() {
            return Ok(());
        }
        host.event(&Event::DiskChanged {
            made: made.len(),
            moved: moved.len(),
            touched: touched.len(),
            gone: gone.len(),
        });
        let mut docs = BTreeMap::new();
        self.make(host, &made, &mut BTreeMap::new(), &BTreeMap::new(), &mut docs)?;
        let before = self.with_dirty_below(moved.iter().map(|entry| entry.doc));
        for moved in moved.chunks(limits::FOLDER_BATCH) {
            self.submit_moved(host, moved, &docs)?;
        }
        self.follow_moved(before);
        self.make_links(host, &made, &mut docs)?;
        let mut missing: BTreeSet<DocId> = gone.iter().chain(waiting).copied().collect();
        self.make_files(host, &made, &mut docs, &mut missing)?;
        gone.retain(|doc| {
            let is_gone = missing.contains(doc);
            if !is_gone {
                self.has_moved(doc);
            }
            is_gone
        });
        if host.space().is_some_and(|space| space.reads_only) {
            // The same of what was edited in it.
            let base = lock(&self.parts.base);
            let is_there = |path: &RelPath| self.parts.fs.look(path).ok().flatten().is_some();
            touched.retain(|(doc, _)| base.path_of(doc).is_some_and(|path| is_there(&path)));
        }
        self.hold_outgoing(host, &mut touched, &mut gone);
        self.submit_touched(host, touched)?;
        let mut ready = Vec::new();
        for doc in gone {
            ready.extend(self.ingest_one(host, doc, |ingest| ingest.gone(doc))?);
            if ready.len() >= limits::FOLDER_BATCH {
                self.submit(host, std::mem::take(&mut ready))?;
            }
        }
        self.submit(host, ready)
    }

    /// What stays of a directory that was deleted, nothing but what is ignored here or cannot be synced, is nobody's, unless
    /// others have one at its place again.
    fn pass_over_what_is_left_alone(&self, changes: &mut Local) {
        if !changes.made.iter().any(|made| made.left_alone) {
            return;
        }
        let deleted: BTreeSet<(Option<DocId>, &str)> = self.documents.deleted_dirs().collect();
        // It may have had another name here than the one that it had in the end.
        let stayed: BTreeSet<(Option<DocId>, &str)> =
            self.left.iter().map(|(dir, name)| (*dir, name.as_str())).collect();
        let mut left = BTreeSet::new();
        for (index, made) in changes.made.iter().enumerate() {
            let is_left = match made.into {
                Within::Made(above) => left.contains(&above),
                Within::Known(dir) => {
                    let is_free = self.documents.view().child(dir, &made.name).is_none();
                    let is_left = made.left_alone && made.found.kind == FoundKind::Dir;
                    let place = (dir, made.name.as_str());
                    is_left && is_free && (deleted.contains(&place) || stayed.contains(&place))
                }
            };
            if is_left {
                left.insert(index);
            }
        }
        changes.forget(&left, &BTreeSet::new());
    }

    /// Where the user of a device that may only read moved a directory, the base has it where the others do, and there is
    /// nothing to be read: what was made in it waits until the directory is back.
    fn pass_over_what_moved_here(&self, changes: &mut Local) {
        let base = lock(&self.parts.base);
        let mut waits = BTreeSet::new();
        for (index, made) in changes.made.iter().enumerate() {
            let is_there = match made.into {
                Within::Made(above) => !waits.contains(&above),
                Within::Known(dir) => base
                    .dir_path(dir)
                    .is_some_and(|dir| matches!(self.parts.fs.look(&dir.join(&made.name)), Ok(Some(_)))),
            };
            if !is_there {
                waits.insert(index);
            }
        }
        changes.forget(&waits, &BTreeSet::new());
    }

    fn submit_moved(
        &mut self,
        host: &mut dyn Host,
        moved: &[Moved],
        docs: &BTreeMap<usize, DocId>,
    ) -> Result<(), RoundError> {
        let mut ready = Vec::new();
        for entry in moved {
            let parent = match entry.into {
                Within::Known(parent) => parent,
                Within::Made(index) => match docs.get(&index) {
                    Some(doc) => Some(*doc),
                    None => continue,
                },
            };
            ready.extend(self.ingest_one(host, entry.doc, |ingest| ingest.moved(entry, parent))?);
        }
        self.submit(host, ready)
    }

    pub(super) fn ingest_with<T>(
        &mut self,
        host: &dyn Host,
        work: impl FnOnce(&mut Ingest<'_>) -> Result<T, HistoryError>,
    ) -> Result<T, RoundError> {
        let mut library = self.library(host)?;
        let base = lock(&self.parts.base);
        let mut ingest = Ingest {
            fs: &*self.parts.fs,
            library: &mut library,
            documents: &self.documents,
            base: &base,
            space: self.parts.space,
            replica: self.parts.replica,
            folder: self.parts.folder,
            versions: (&self.versions, host.now().mono_ms),
        };
        let result = work(&mut ingest);
        drop(base);
        self.shelf = library.into_shelf();
        Ok(result?)
    }

    /// The same for what concerns one document: where Automerge fails on it, only that one is not taken in.
    pub(super) fn ingest_one(
        &mut self,
        host: &mut dyn Host,
        doc: DocId,
        work: impl FnOnce(&mut Ingest<'_>) -> Result<Option<Ready>, HistoryError>,
    ) -> Result<Option<Ready>, RoundError> {
        let result = self.ingest_with(host, work);
        self.unless_unreadable(host, doc, result)
    }

    fn make(
        &mut self,
        host: &mut dyn Host,
        made: &[Made],
        files: &mut BTreeMap<usize, Loaded>,
        links: &BTreeMap<usize, String>,
        docs: &mut BTreeMap<usize, DocId>,
    ) -> Result<(), RoundError> {
        let ready = self.ingest_with(host, |ingest| ingest.made(made, files, links, docs))?;
        self.submit(host, ready)
    }

    /// Where something that was made is, now that directories have moved.
    fn path_of_made(&self, made: &[Made], index: usize, docs: &BTreeMap<usize, DocId>) -> Option<RelPath> {
        let entry = made.get(index)?;
        let parent = match entry.into {
            Within::Known(parent) => parent,
            Within::Made(above) => Some(*docs.get(&above)?),
        };
        Some(lock(&self.parts.base).dir_path(parent)?.join(&entry.name))
    }

    fn make_links(
        &mut self,
        host: &mut dyn Host,
        made: &[Made],
        docs: &mut BTreeMap<usize, DocId>,
    ) -> Result<(), RoundError> {
        let mut links = BTreeMap::new();
        for (index, entry) in made.iter().enumerate() {
            if entry.found.kind == FoundKind::Link
                && let Some(path) = self.path_of_made(made, index, docs)
                && let Some(target) = self.link_text(host, path)
            {
                links.insert(index, target);
            }
        }
        self.make(host, made, &mut BTreeMap::new(), &links, docs)
    }

    /// The text of a link that others may see; else it is a problem.
    fn link_text(&mut self, host: &dyn Host, path: RelPath) -> Option<String> {
        match self.parts.fs.read_link(&path) {
            Ok(target) => match check_link(&path, &target) {
                Ok(()) => return Some(target),
                Err(fault) => drop(self.scan_problems.insert(path, fault.to_string())),
            },
            Err(error) => self.unreadable(host, path, &error),
        }
        None
    }

    /// Files in batches: read, then made, or told to be ones that moved.
    fn make_files(
        &mut self,
        host: &mut dyn Host,
        made: &[Made],
        docs: &mut BTreeMap<usize, DocId>,
        missing: &mut BTreeSet<DocId>,
    ) -> Result<(), RoundError> {
        let files: Vec<(usize, RelPath)> = made
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.found.kind == FoundKind::File)
            .filter_map(|(index, _)| Some((index, self.path_of_made(made, index, docs)?)))
            .collect();
        for batch in files.chunks(limits::FOLDER_BATCH) {
            let mut loaded = self.load_all(host, batch);
            // A file with the bytes of one that is missing is that one, elsewhere.
            let mut moved = Vec::new();
            {
                let base = lock(&self.parts.base);
                for (index, file) in loaded.iter().filter(|(_, file)| file.stat.size > 0) {
                    let Some(doc) = base.with_hash(&file.hash).iter().find(|doc| missing.contains(doc)) else {
                        continue;
                    };
                    missing.remove(doc);
                    let Made { into, name, found, .. } = &made[*index];
                    moved.push((*index, Moved { doc: *doc, into: *into, name: name.clone(), found: *found }));
                }
            }
            let known = moved.iter().map(|(index, _)| *index).collect();
            for (index, entry) in self.moved_and_changed(host, made, &loaded, &known, missing)? {
                missing.remove(&entry.doc);
                moved.push((index, entry));
            }
            docs.extend(moved.iter().map(|(index, entry)| (*index, entry.doc)));
            let read: Vec<(usize, DocId, Loaded)> =
                (moved.iter()).filter_map(|(index, entry)| Some((*index, entry.doc, loaded.remove(index)?))).collect();
            let moved: Vec<Moved> = moved.into_iter().map(|(_, entry)| entry).collect();
            self.submit_moved(host, &moved, docs)?;
            let read = {
                // Who may only read moves nothing: for the base it stays where the others have it.
                let base = lock(&self.parts.base);
                let places = batch.iter().map(|(index, path)| (*index, path)).collect::<BTreeMap<_, _>>();
                let there = read.into_iter().filter_map(|(index, doc, file)| {
                    base.path_of(&doc).filter(|path| places.get(&index) == Some(&path)).map(|path| (path, doc, file))
                });
                there.collect()
            };
            self.submit_files(host, read)?;
            self.make(host, made, &mut loaded, &BTreeMap::new(), docs)?;
        }
        Ok(())
    }

    pub(super) fn not_loaded(&mut self, host: &dyn Host, path: RelPath, error: LoadError) {
        match error {
            LoadError::Fs(error) => self.unreadable(host, path, &error),
            _ => self.mark_dirty(host, path, limits::SETTLE_MS),
        }
    }

    /// A file that cannot be read is a problem, never a delete; one that is gone again shows in its next look.
    pub(super) fn unreadable(&mut self, host: &dyn Host, path: RelPath, error: &FsError) {
        if error.fault() == Fault::NotFound {
            self.mark_dirty(host, path, limits::SETTLE_MS);
        } else {
            self.scan_problems.insert(path, error.reason());
        }
    }

    fn submit_touched(&mut self, host: &mut dyn Host, touched: Vec<(DocId, Found)>) -> Result<(), RoundError> {
        let mut ready = Vec::new();
        let mut files = Vec::new();
        for (doc, found) in &touched {
            let Some(path) = lock(&self.parts.base).path_of(doc) else { continue };
            match found.kind {
                FoundKind::Dir => {
                    ready.extend(self.ingest_one(host, *doc, |ingest| ingest.touched_plain(*doc, found, None))?)
                }
                FoundKind::Link => {
                    if let Some(target) = self.link_text(host, path) {
                        let work = |ingest: &mut Ingest<'_>| ingest.touched_plain(*doc, found, Some(&target));
                        ready.extend(self.ingest_one(host, *doc, work)?);
                    }
                }
                FoundKind::File if found.stat.size == 0 && !self.was_empty(doc) && !self.is_old(host, &path) => {
                    // Truncated, and perhaps about to be written.
                    self.await_bytes(host, path);
                }
                FoundKind::File => files.push((files.len(), path, *doc)),
                FoundKind::Other => {}
            }
        }
        self.submit(host, ready)?;
        for batch in files.chunks(limits::FOLDER_BATCH) {
            let paths: Vec<(usize, RelPath)> = batch.iter().map(|(index, path, _)| (*index, path.clone())).collect();
            let mut loaded = self.load_all(host, &paths);
            let loaded =
                batch.iter().filter_map(|(index, path, doc)| Some((path.clone(), *doc, loaded.remove(index)?)));
            let loaded = loaded.collect();
            self.submit_files(host, loaded)?;
        }
        Ok(())
    }

    /// Submits what was read of files that have a document.
    fn submit_files(&mut self, host: &mut dyn Host, files: Vec<(RelPath, DocId, Loaded)>) -> Result<(), RoundError> {
        let mut ready = Vec::new();
        for (path, doc, file) in files {
            if file.racy {
                // Its time stamp may not move with its next bytes: look once more when it must.
                let step_ms = u64::try_from(file.stat.step_ns() / 1_000_000).unwrap_or_default();
                self.mark_dirty(host, path, limits::SETTLE_MS.max(step_ms));
            }
            ready.extend(self.ingest_one(host, doc, |ingest| ingest.touched_file(doc, file))?);
        }
        let edited: Vec<DocId> =
            ready.iter().filter(|ready| !ready.edit.items.is_empty()).map(|ready| ready.doc).collect();
        self.told_overwrites(host, &edited);
        self.submit(host, ready)
    }

    /// Why nothing can be taken in or written at a path: something stands there, or in the place of a directory above, that
    /// cannot be synced.
    pub(super) fn in_the_way(&self, path: &RelPath) -> Option<String> {
        if let Some(reason) = self.scan_problems.get(path) {
            return Some(reason.clone());
        }
        // The same name in other letters, where the disk does not tell them apart.
        let folds = self.folds.filter(|folds| folds.any());
        let key = |folds: Folds, path: &RelPath| {
            path.components().iter().map(|name| folds.key(name).into_owned()).collect::<Vec<_>>()
        };
        let is_same = |at: &RelPath| folds.is_some_and(|folds| key(folds, at) == key(folds, path));
        if let Some((_, reason)) = self.scan_problems.iter().find(|(at, _)| is_same(at)) {
            return Some(reason.clone());
        }
        if let Some((_, reason)) = self.away_problems().into_iter().find(|(top, _)| top.contains(path)) {
            return Some(reason.to_owned());
        }
        let above = self.scan_problems.iter().filter(|(at, _)| at.contains(path));
        let is_dir = |at: &RelPath| {
            let found = self.parts.fs.look(at).ok().flatten();
            found.is_none_or(|found| found.kind == FoundKind::Dir)
        };
        above.into_iter().find(|(at, _)| !is_dir(at)).map(|(_, reason)| reason.clone())
    }

    fn was_empty(&self, doc: &DocId) -> bool {
        lock(&self.parts.base).on_disk(doc).is_some_and(|(_, stat)| stat.size == 0)
    }

    /// Whether a file was written so long ago that nothing more is to be awaited, or, by its time, is yet to be: then its
    /// time says nothing.
    fn is_old(&self, host: &dyn Host, path: &RelPath) -> bool {
        let Some(found) = self.parts.fs.look(path).ok().flatten() else { return true };
        let age_ns = host.now().wall_ns.saturating_sub(found.stat.mtime_ns).unsigned_abs();
        age_ns > limits::VANISH_MS * 1_000_000
    }

    fn await_bytes(&mut self, host: &dyn Host, path: RelPath) {
        self.mark_dirty(host, path, limits::VANISH_MS);
    }

    /// A device that may only read tells nobody what its user changed; everything else goes on.
    fn keep_to_ourselves(&mut self, ready: &mut Vec<Ready>) {
        let base = lock(&self.parts.base);
        ready.retain(|Ready { doc, edit, row }| {
            if edit.items.is_empty() {
                return true;
            }
            let made = row.as_ref().and_then(|row| Some(base.dir_path(row.parent)?.join(&row.name)));
            if let Some(path) = base.path_of(doc).or(made) {
                self.scan_problems.insert(path, READS_ONLY.to_owned());
            }
            false
        });
    }

    pub(super) fn submit(&mut self, host: &mut dyn Host, mut ready: Vec<Ready>) -> Result<(), RoundError> {
        if host.space().is_some_and(|space| space.reads_only) {
            self.keep_to_ourselves(&mut ready);
        }
        while !ready.is_empty() {
            let rest = ready.split_off(ready.len().min(limits::FOLDER_BATCH));
            let (mut edits, mut rows) = (Vec::new(), Vec::new());
            for Ready { doc, edit, row } in std::mem::replace(&mut ready, rest) {
                rows.push((doc, row, !edit.items.is_empty()));
                edits.push(edit);
            }
            probe::reach("ingest.before-edit");
            let stale = host.edit(edits)?;
            probe::reach("ingest.after-edit");
            let mut again = Vec::new();
            let wall_ns = host.now().wall_ns;
            {
                let mut base = lock(&self.parts.base);
                for (index, (doc, row, is_edit)) in rows.into_iter().enumerate() {
                    let before = base.path_of(&doc);
                    if stale.contains(&index) {
                        again.extend(before);
                    } else {
                        base.set(doc, row);
                        if is_edit {
                            self.versions.forget(&doc);
                        }
                        let after = base.path_of(&doc);
                        let reason = match (&before, &after) {
                            (None, Some(_)) => "it is new on the disk",
                            (Some(_), None) => "it is gone from the disk",
                            (Some(before), Some(after)) if before != after => "it moved on the disk",
                            _ => "it changed on the disk",
                        };
                        if let Some(path) = after.or(before) {
                            let action =
                                if is_edit { "committed" } else { "looked at, and nothing was to be committed" };
                            self.decisions.note(path, action, reason, wall_ns);
                        }
                    }
                    self.pending.insert(doc);
                }
            }
            for path in again {
                self.mark_dirty(host, path, limits::SETTLE_MS);
            }
        }
        Ok(())
    }
}
