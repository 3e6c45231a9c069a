//! Documents onto disk: plans, makes temporary files, notes intents, puts files in place. Where their bytes
//! come from: `contents`.

use std::collections::{BTreeMap, BTreeSet};

use super::{RoundError, Rounds, host::Host, lock};
use crate::{
    doc::entry::{Content, Entry, Kind},
    folder::{
        Fault,
        apply::{Applied, Bytes, Prepared, Want},
        disk::temp_dir,
        ignored::IGNORE_FILE,
        ingest::DOWNLOAD,
        mounts::leave_alone,
        plan::{Action, plan},
    },
    history::{HistoryError, Library},
    ids::{ContentHash, DocId},
    limits,
    probe::{self, Plant, planted},
    store::{
        Write,
        row::{BaseRow, Stat},
    },
    tree::{Place, RelPath, check_link, clash_name},
};

/// Pause before what could not be written is tried again: a full disk or a right that is missing does not mend itself at
/// once.
const WRITE_RETRY_MS: u64 = 5_000;

/// So many files or directories are flushed one by one, more of them with the whole file system.
pub(super) const FLUSHES_MAX: usize = 4;

/// What was done and is not noted yet: rows of the base, and the directories in which it shows. It stays until it is noted:
/// the base in memory has these rows, and a start without them would not know what it finds.
#[derive(Debug, Default)]
pub(super) struct Noted {
    rows: Vec<Write>,
    dirs: BTreeSet<RelPath>,
}

/// So many looks at a path that changed nothing are enough: what a write finds there no look will take in.
const LOOKS_IN_VAIN_MAX: u32 = 3;
/// Why a write is put off then.
const OTHERWISE: &str =
    "the disk is otherwise here than it is known to be, in a way that is not synced: tried again later";

/// What the base knows of a path.
type Known = Option<(DocId, Option<Stat>)>;

/// Paths that writes of the last plan found otherwise than the base knows them, with what that was and how often in a row.
#[derive(Debug, Default)]
pub(super) struct InVain {
    before: BTreeMap<RelPath, (Known, u32)>,
    now: BTreeMap<RelPath, (Known, u32)>,
}

impl InVain {
    /// A plan is carried out.
    fn begin(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// A write found something else. Says whether that was so often enough, and nobody learned anything by looking.
    fn again(&mut self, path: RelPath, known: Known) -> bool {
        let times = match self.before.get(&path).or_else(|| self.now.get(&path)) {
            Some((then, times)) if *then == known => times + 1,
            _ => 1,
        };
        self.now.insert(path, (known, times));
        times > LOOKS_IN_VAIN_MAX
    }
}

impl Rounds {
    pub(super) fn materialize(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        if self.planned {
            return self.sweep_downloads();
        }
        self.planned = true;
        self.in_vain.begin();
        self.write_problems.clear();
        self.undo_what_can_be(host)?;
        let still = self.look_at_mounts(host);
        let mut actions = {
            let base = lock(&self.parts.base);
            plan(&base, &self.documents, &self.ignored)
        };
        leave_alone(&mut actions, &lock(&self.parts.base), &self.documents, &still);
        self.hold_incoming(host, &mut actions)?;
        // Asked once a plan: what is written in it is counted here.
        self.room = self.parts.fs.space().ok();
        self.intend_moves(host, &actions)?;
        let moves = actions.iter().filter_map(|action| match action {
            Action::Move { doc, .. } => Some(*doc),
            _ => None,
        });
        let before = self.with_dirty_below(moves);
        let mut writes = Vec::new();
        let mut deletes = Vec::new();
        for action in actions {
            match action {
                Action::Write { doc, place } => writes.push((doc, place)),
                Action::Delete { doc } => deletes.push(doc),
                Action::Aside { doc } => {
                    let applied = self.apply(host, |applier| applier.put_aside(doc));
                    self.note(host, applied);
                }
                Action::MakeDir { doc, place } => {
                    let heads = self.documents.heads(&doc).unwrap_or_default().to_vec();
                    let applied = self.apply(host, |applier| applier.make_dir(doc, &place, heads));
                    self.note(host, applied);
                }
                Action::Move { doc, place } => {
                    let applied = self.apply(host, |applier| applier.move_to(doc, &place));
                    if !matches!(applied, Some(Applied::Done(..))) {
                        self.forget_intent(doc);
                    }
                    self.note(host, applied);
                }
            }
        }
        self.follow_moved(before);
        self.make_last(host)?;
        if !writes.is_empty() {
            self.look_who_writes();
        }
        self.write_all(host, writes)?;
        if !deletes.is_empty() {
            self.look_who_writes();
            self.noted.dirs.insert(temp_dir());
        }
        // Deletes come last: what is to be written is written before.
        let rules = self.rules_of_deleted(&deletes);
        for doc in deletes {
            if rules.values().any(|file| *file == doc) {
                continue;
            }
            if let Some(file) = rules.get(&doc) {
                self.delete_rules(host, doc, *file)?;
            }
            self.delete(host, doc)?;
        }
        self.make_last(host)?;
        self.retry_ms = host.now().mono_ms + WRITE_RETRY_MS;
        self.ask_for_contents(host);
        self.sweep_downloads()
    }

    fn delete(&mut self, host: &mut dyn Host, doc: DocId) -> Result<(), RoundError> {
        if self.is_in_use(host, doc) {
            return Ok(());
        }
        let mut library = self.library(host)?;
        let in_history = self.in_history(&mut library, &doc);
        self.shelf = library.into_shelf();
        let in_history = in_history?;
        let path = self.apply(host, |applier| applier.path(&doc));
        let place = lock(&self.parts.base).row(&doc).map(|row| (row.parent, row.name.clone()));
        let applied = self.apply(host, |applier| applier.delete(doc, in_history));
        probe::reach("delete.before-note");
        let wall_ns = host.now().wall_ns;
        match applied {
            Some(Applied::Done(..)) => {
                self.did_harm(host, doc, false);
                self.decisions.note(path.clone().unwrap_or_default(), "deleted", "a commit deleted it", wall_ns);
            }
            Some(Applied::Left(_)) => {
                self.left.extend(place);
                let reason = "a commit deleted it, and what is in it is not synced";
                self.decisions.note(path.clone().unwrap_or_default(), "left", reason, wall_ns);
            }
            _ => {}
        }
        self.noted.dirs.extend(path.and_then(|path| Some(path.split()?.0)));
        self.note(host, applied);
        Ok(())
    }

    /// The ignore files among these that are in a directory which is one of these, too, by their directory.
    fn rules_of_deleted(&self, deletes: &[DocId]) -> BTreeMap<DocId, DocId> {
        let all: BTreeSet<&DocId> = deletes.iter().collect();
        let base = lock(&self.parts.base);
        let rules = deletes.iter().filter_map(|doc| {
            let row = base.row(doc).filter(|row| row.kind == Kind::File && row.name == IGNORE_FILE)?;
            Some((row.parent.filter(|parent| all.contains(parent))?, *doc))
        });
        rules.collect()
    }

    /// Deletes the rules of a directory that is about to be, if that goes as a whole. Where what they cover stays in it, they
    /// stay, as nobody's: without them it would be taken for new, and sent to everybody.
    fn delete_rules(&mut self, host: &mut dyn Host, dir: DocId, file: DocId) -> Result<(), RoundError> {
        let path = self.apply(host, |applier| applier.path(&dir));
        let others_of_ours = lock(&self.parts.base).children(Some(dir)).any(|(_, child)| *child != file);
        let listed = path.as_ref().map(|path| self.parts.fs.list(path)).transpose();
        let stays = match listed {
            Ok(listed) => listed.into_iter().flatten().any(|listed| listed.name.as_deref() != Ok(IGNORE_FILE)),
            Err(error) if error.fault() == Fault::NotFound => false,
            // Nobody can tell what stays: both do for now.
            Err(error) => {
                self.write_problems.insert(error.path.clone(), error.reason());
                return Ok(());
            }
        };
        if !stays {
            return self.delete(host, file);
        }
        if !others_of_ours {
            lock(&self.parts.base).set(file, None);
            self.noted.rows.push(Write::Base { folder: self.parts.folder, doc: file, row: None });
            let path = path.unwrap_or_default().join(IGNORE_FILE);
            let reason = "its directory was deleted, and holds what it covers";
            self.decisions.note(path, "left", reason, host.now().wall_ns);
        }
        Ok(())
    }

    /// Removes what was fetched, or begun, and is wanted no more: its file got other bytes meanwhile, or is gone.
    fn sweep_downloads(&mut self) -> Result<(), RoundError> {
        // Only a plan that was carried out whole has said all that it wants.
        if !self.sweep_due || !self.planned || !self.write_problems.is_empty() {
            return Ok(());
        }
        self.sweep_due = false;
        // What the plan needed of these it has taken.
        self.fetched.clear();
        for listed in self.parts.fs.list(&temp_dir())? {
            let Ok(name) = listed.name else { continue };
            let Some(hash) = name.strip_prefix(DOWNLOAD).and_then(|hash| hash.parse::<ContentHash>().ok()) else {
                continue;
            };
            if !self.wants.contains_key(&hash) {
                self.parts.fs.remove_file(&temp_dir().join(&name))?;
            }
        }
        Ok(())
    }

    /// Makes durable where entries are about to move, so that after a crash nobody takes that for the user's doing.
    fn intend_moves(&mut self, host: &mut dyn Host, actions: &[Action]) -> Result<(), RoundError> {
        let mut intents = Vec::new();
        for action in actions {
            if let Action::Move { doc, place } = action
                && let Some(row) = self.apply(host, |applier| applier.intend_move(*doc, place))
            {
                intents.push(Write::Base { folder: self.parts.folder, doc: *doc, row: Some(Box::new(row)) });
            }
        }
        self.put_rows(host, intents)
    }

    fn forget_intent(&mut self, doc: DocId) {
        let mut base = lock(&self.parts.base);
        if let Some(row) = base.row(&doc).cloned() {
            let row = BaseRow { intent: None, ..row };
            base.set(doc, Some(row.clone()));
            self.noted.rows.push(Write::Base { folder: self.parts.folder, doc, row: Some(Box::new(row)) });
        }
    }

    /// Makes what was done on the disk last, and then notes it: what is noted must not come undone.
    pub(super) fn make_last(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        if self.noted.dirs.len() > FLUSHES_MAX {
            self.parts.fs.flush_all()?;
        } else {
            for dir in &self.noted.dirs {
                match self.parts.fs.flush_dir(dir) {
                    // It was deleted since, which the directory that it was in tells.
                    Err(error) if error.fault() == Fault::NotFound => {}
                    result => result?,
                }
            }
        }
        let Noted { rows, .. } = std::mem::take(&mut self.noted);
        self.put_rows(host, rows)
    }

    pub(super) fn note(&mut self, host: &mut dyn Host, applied: Option<Applied>) {
        let wall_ns = host.now().wall_ns;
        match &applied {
            Some(Applied::Done(doc, Some(_))) => {
                let path = lock(&self.parts.base).path_of(doc);
                self.decisions.note(path.unwrap_or_default(), "written", "a commit changed it", wall_ns);
            }
            Some(Applied::Dirty(path)) => {
                let reason = "the disk was not as it was known: it is looked at first";
                self.decisions.note(path.clone(), "not written", reason, wall_ns);
            }
            Some(Applied::Problem(path, reason)) => {
                self.decisions.note(path.clone(), "not written", reason.clone(), wall_ns);
            }
            _ => {}
        }
        let applied = match applied {
            Some(Applied::Dirty(path)) => Some(Applied::Dirty(self.missing_above(path))),
            applied => applied,
        };
        match applied {
            Some(Applied::Done(doc, row)) => {
                let path = self.apply(host, |applier| applier.path(&doc));
                self.noted.dirs.extend(path.and_then(|path| Some(path.split()?.0)));
                self.noted.rows.push(Write::Base { folder: self.parts.folder, doc, row });
            }
            Some(Applied::Dirty(_)) if planted(Plant::ForgetDirty) => {}
            // Looking again would find the same: what stands there cannot be taken in.
            Some(Applied::Dirty(path)) if self.in_the_way(&path).is_some() => {
                let reason = self.in_the_way(&path).unwrap_or_default();
                self.write_problems.insert(path, reason);
            }
            Some(Applied::Dirty(path)) => {
                let path = self.bring_out(host, path);
                let known = {
                    let base = lock(&self.parts.base);
                    base.at(&path).and_then(|doc| Some((doc, base.row(&doc)?.stat)))
                };
                // What is missing and may be on its way back is looked at when its time has come.
                let waits = self.dirty.get(&path).is_some_and(|dirty| dirty.missing);
                if !waits && self.in_vain.again(path.clone(), known) {
                    self.write_problems.insert(path, OTHERWISE.to_owned());
                    return;
                }
                if !waits {
                    self.mark_dirty(host, path, 0);
                }
                self.planned = false;
            }
            Some(Applied::Problem(path, reason)) => {
                self.write_problems.insert(path, reason);
            }
            Some(Applied::Left(doc)) => {
                self.noted.rows.push(Write::Base { folder: self.parts.folder, doc, row: None });
            }
            None => {}
        }
    }

    /// The topmost directory above a path that is known and not there, or else the path: to look at what was in a directory
    /// that is gone would find nothing, again and again.
    fn missing_above(&self, path: RelPath) -> RelPath {
        let depths = 1..path.components().len();
        let mut above = depths.map(|depth| RelPath::from_components(path.components()[..depth].to_vec()));
        let is_missing = |dir: &RelPath| {
            let is_known = lock(&self.parts.base).at(dir).is_some();
            is_known && matches!(self.parts.fs.look(dir), Ok(None))
        };
        above.find(is_missing).unwrap_or(path)
    }

    /// Where a path that must be looked at is to be looked at: not in our own directory, which nobody looks into.
    fn bring_out(&mut self, host: &mut dyn Host, path: RelPath) -> RelPath {
        let Some((doc, below)) = self.apply(host, |applier| applier.aside_above(&path)) else { return path };
        let applied = self.apply(host, |applier| applier.bring_out(doc));
        match applied {
            Some(Applied::Done(..)) => {
                let out = lock(&self.parts.base).path_of(&doc).unwrap_or_default();
                self.note(host, applied);
                below.components().iter().fold(out, |path, name| path.join(name))
            }
            Some(Applied::Problem(at, reason)) => {
                self.write_problems.insert(at, reason);
                path
            }
            Some(Applied::Dirty(_) | Applied::Left(_)) | None => path,
        }
    }

    /// Whether the bytes that an entry has on disk can be had again from commits: what the base's heads hold, whatever the
    /// document holds now.
    pub(super) fn in_history(&self, library: &mut Library, doc: &DocId) -> Result<bool, RoundError> {
        let (kind, heads) = {
            let base = lock(&self.parts.base);
            let Some((row, _)) = base.on_disk(doc) else { return Ok(true) };
            (row.kind, row.heads.clone())
        };
        if kind != Kind::File {
            return Ok(true);
        }
        let Some(row) = library.row(doc)? else { return Ok(false) };
        match library.entry_at(doc, &row, &heads) {
            Ok(entry) => Ok(matches!(entry.content, Some(Content::Text | Content::Inline(_)))),
            Err(HistoryError::Store(error)) => Err(error.into()),
            // What cannot be read is not to be had again.
            Err(HistoryError::Doc(_)) => Ok(false),
        }
    }

    fn write_all(&mut self, host: &mut dyn Host, writes: Vec<(DocId, Place)>) -> Result<(), RoundError> {
        let mut library = self.library(host)?;
        for batch in writes.chunks(limits::FOLDER_BATCH) {
            // A batch shares two flushes of the file system; a few files have their own.
            let single = batch.len() <= FLUSHES_MAX;
            let mut prepared = Vec::new();
            let mut intents = Vec::new();
            for (doc, place) in batch {
                let prepared_one = self.prepare(host, &mut library, *doc, place, single);
                match self.unless_unreadable(host, *doc, prepared_one)? {
                    Some((ready, row)) => {
                        let row = Some(Box::new(row));
                        intents.push(Write::Base { folder: self.parts.folder, doc: *doc, row });
                        // While its document is open.
                        let in_history = self.in_history(&mut library, doc)?;
                        prepared.push((*doc, ready, in_history));
                    }
                    None => continue,
                }
            }
            if prepared.is_empty() {
                continue;
            }
            if !single {
                self.parts.fs.flush_all()?;
            }
            probe::reach("write.before-intent");
            self.put_rows(host, intents)?;
            probe::reach("write.after-intent");
            for (doc, ready, in_history) in prepared {
                let replaced = lock(&self.parts.base).on_disk(&doc).map(|(row, _)| row.clone());
                let applied = self.apply(host, |applier| applier.commit(ready, in_history));
                if let (Some(was), Applied::Done(..)) = (&replaced, &applied) {
                    self.did_harm(host, doc, true);
                    self.versions.displaced(doc, was, host.now().mono_ms);
                }
                self.note(host, Some(applied));
            }
            // What was displaced and kept left from there.
            self.noted.dirs.insert(temp_dir());
            probe::reach("write.before-base");
            self.make_last(host)?;
            probe::reach("write.after-base");
        }
        self.shelf = library.into_shelf();
        Ok(())
    }

    /// Finds the bytes of an entry and makes its temporary file; or notes that there is nothing to write.
    fn prepare(
        &mut self,
        host: &mut dyn Host,
        library: &mut Library,
        doc: DocId,
        place: &Place,
        flush: bool,
    ) -> Result<Option<(Prepared, BaseRow)>, RoundError> {
        if self.unreadable.contains_key(&doc) {
            // What is on disk may be newer than the state that could be read last.
            return Ok(None);
        }
        let Some(entry) = self.documents.entry(&doc).cloned() else { return Ok(None) };
        let heads = self.documents.heads(&doc).unwrap_or_default().to_vec();
        if let Some(path) = lock(&self.parts.base).dir_path(place.parent).map(|dir| dir.join(&place.name))
            && let Some(fault) = entry.target.as_ref().and_then(|target| check_link(&path, target).err())
        {
            self.write_problems.insert(path, fault.to_string());
            return Ok(None);
        }
        let Some((bytes, hash)) = self.bytes_of(host, library, &doc, &entry)? else { return Ok(None) };
        let on_disk = lock(&self.parts.base).on_disk(&doc).map(|(row, stat)| (row.clone(), stat));
        if let Some((mut row, stat)) = on_disk
            && (row.hash == hash || row.kind == Kind::Dir)
        {
            // The document moved on and its bytes did not.
            if row.kind == Kind::File && stat.exec != entry.exec {
                match self.apply(host, |applier| applier.set_exec(doc, entry.exec)) {
                    Ok(stat) => row.stat = Some(stat),
                    Err(applied) => {
                        self.note(host, Some(applied));
                        return Ok(None);
                    }
                }
            }
            row.heads = heads;
            row.intent = None;
            lock(&self.parts.base).set(doc, Some(row.clone()));
            self.noted.rows.push(Write::Base { folder: self.parts.folder, doc, row: Some(Box::new(row)) });
            return Ok(None);
        }
        if let Some(Bytes::Memory(bytes)) = &bytes
            && !self.has_room(bytes.len() as u64)
        {
            self.no_room(place);
            return Ok(None);
        }
        if self.is_in_use(host, doc) {
            return Ok(None);
        }
        self.keep_losing_bytes(host, &doc, place, &entry)?;
        let mtime_ns = match library.row(&doc)? {
            Some(row) if entry.kind == Kind::File => library.mtime_ns(&doc, &row)?,
            _ => None,
        };
        let want = Want { heads, hash, exec: entry.exec, mtime_ns };
        let Some(bytes) = bytes else {
            self.want(doc, hash);
            return Ok(None);
        };
        match self.apply(host, |applier| applier.prepare(doc, place, bytes, want, flush)) {
            Ok(ready) => Ok(Some(ready)),
            Err(applied) => {
                self.note(host, Some(applied));
                Ok(None)
            }
        }
    }

    /// Where both sides replaced the bytes of a file and ours lost, they are kept beside it as a file of their own, under
    /// a name that follows from them: any device that holds them makes the same file.
    fn keep_losing_bytes(
        &mut self,
        host: &dyn Host,
        doc: &DocId,
        place: &Place,
        entry: &Entry,
    ) -> Result<(), RoundError> {
        let held = lock(&self.parts.base).on_disk(doc).map(|(row, _)| row.hash);
        let Some(lost) = entry.lost_contents.iter().find(|lost| Some(lost.hash) == held).copied() else {
            return Ok(());
        };
        let paths = {
            let base = lock(&self.parts.base);
            base.path_of(doc).zip(base.dir_path(place.parent))
        };
        let Some((path, dir)) = paths else { return Ok(()) };
        let beside = dir.join(&clash_name(&place.name, &lost.hash.to_string()[..6]));
        let temp = temp_dir().join(&format!("lost-{}", lost.hash));
        if self.copy_verified(&path, &temp, &lost) {
            match self.parts.fs.rename_new(&temp, &beside) {
                Ok(()) => {
                    self.parts.fs.flush_dir(&dir)?;
                    probe::reach("write.losing-kept");
                    self.mark_dirty(host, beside, 0);
                }
                Err(error) if error.fault() == Fault::Exists => self.parts.fs.remove_file(&temp)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes room for so many bytes, if they leave the reserve of the disk untouched.
    pub(super) fn has_room(&mut self, bytes: u64) -> bool {
        let Some(space) = &mut self.room else { return true };
        let takes = space.takes(bytes);
        if takes {
            space.free -= bytes;
        }
        takes
    }

    pub(super) fn no_room(&mut self, place: &Place) {
        let path = lock(&self.parts.base).dir_path(place.parent).map(|dir| dir.join(&place.name));
        if let Some((path, space)) = path.zip(self.room) {
            let mib = |bytes: u64| bytes >> 20;
            let (free, reserve) = (mib(space.free), mib(space.reserve()));
            let reason = format!("the disk is nearly full: {free} MiB are free, and {reserve} MiB are left alone");
            self.write_problems.insert(path, reason);
        }
    }

    /// The bytes that an entry should have, and their hash. No bytes: they must be fetched first.
    fn bytes_of(
        &mut self,
        host: &mut dyn Host,
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
            Some(Content::Inline(bytes)) => Ok(Some((Some(Bytes::Memory(bytes.clone())), ContentHash::of(bytes)))),
            Some(Content::Text) => {
                let Some(row) = library.row(doc)? else { return Ok(None) };
                let text = library.text(doc, &row)?.unwrap_or_default();
                let hash = ContentHash::of(text.as_bytes());
                Ok(Some((Some(Bytes::Memory(text.into_bytes())), hash)))
            }
            Some(Content::Reference(content)) => Ok(Some((self.fetched_bytes(host, doc, content)?, content.hash))),
            None => Ok(None),
        }
    }
}
