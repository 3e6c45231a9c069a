//! Parts of the folder that stand still because the file system that they were on is not there.
//!
//! What is missing with it is told to nobody, and nothing is written where it was mounted. Nothing tells of a mount: what
//! stands at the tops of file systems is looked at now and then, and before each plan.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Dirty, RoundError, Rounds,
    host::{Host, Stopped},
    lock,
    restoring::Asked,
};
use crate::{
    doc::entry::Kind,
    folder::{FoundKind, mounts::is_other},
    ids::DocId,
    limits,
    tree::RelPath,
};

/// Why a part stands still, and what helps.
const AWAY: &str = "what is here was on another file system, which is not mounted: it is deleted nowhere, and nothing is \
                    written here, until that is mounted again; if it never comes back: kith folder gone";

/// The file systems within a folder.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Tops of what stands still.
    away: BTreeSet<DocId>,
    /// What stood at the tops of all when they were looked at last.
    seen: BTreeMap<DocId, Option<(u64, u64, i64)>>,
    /// When they are looked at again.
    look_ms: u64,
    /// Whether one is mounted again whose directories nobody watches yet.
    came_back: bool,
}

impl Rounds {
    /// Whether no part stands still.
    pub(super) fn is_whole(&self) -> bool {
        self.mounts.away.is_empty()
    }

    /// When the tops are to be looked at though nothing happens.
    pub(super) fn mounts_ms(&self) -> Option<u64> {
        (!self.mounts.seen.is_empty() || !self.is_whole()).then_some(self.mounts.look_ms)
    }

    /// Whether a file system is mounted again since this was asked last: its directories are new to whoever watches.
    pub const fn came_back(&mut self) -> bool {
        std::mem::replace(&mut self.mounts.came_back, false)
    }

    /// A look begins, which says anew what stands still of all that it looks at.
    pub(super) fn forget_away(&mut self, full: bool, due: &BTreeMap<RelPath, Dirty>) -> BTreeSet<DocId> {
        if full {
            return std::mem::take(&mut self.mounts.away);
        }
        let base = lock(&self.parts.base);
        let looked_at = |doc: &DocId| base.path_of(doc).is_none_or(|path| due.contains_key(&path));
        self.mounts.away.extract_if(.., looked_at).collect()
    }

    /// The look is over, and found these; `before` stood still until then.
    pub(super) fn stand_still(&mut self, before: &BTreeSet<DocId>, away: &[DocId]) {
        self.mounts.away.extend(away);
        if !before.is_subset(&self.mounts.away) {
            self.mounts.came_back = true;
            self.planned = false;
        }
    }

    /// Looks at the tops of file systems, if it is time; where something else stands everything is looked at.
    pub(super) fn look_at_mounts_now_and_then(&mut self, host: &dyn Host) {
        let now_ms = host.now().mono_ms;
        if self.mounts_ms().is_some_and(|look_ms| now_ms >= look_ms) {
            self.look_at_mounts(host);
        }
    }

    /// Looks at the tops of file systems. Gives those in which nothing may be written now.
    pub(super) fn look_at_mounts(&mut self, host: &dyn Host) -> BTreeSet<DocId> {
        self.mounts.look_ms = host.now().mono_ms + limits::HALTED_EVERY_MS;
        let base = lock(&self.parts.base);
        let (mut seen, mut still) = (BTreeMap::new(), self.mounts.away.clone());
        for doc in base.mounts().union(&self.mounts.away) {
            let Some(((_, was), path)) = base.on_disk(doc).zip(base.path_of(doc)) else { continue };
            if self.ignored.covers(&path, true) {
                continue;
            }
            let found = self.parts.fs.look(&path).ok().flatten().filter(|found| found.kind == FoundKind::Dir);
            let is_as_known = found.is_some_and(|found| !is_other(&was, &found.stat));
            let now = found.map(|found| found.stat.identity());
            let changed = match self.mounts.seen.get(doc) {
                Some(before) => *before != now,
                None => is_as_known == self.mounts.away.contains(doc),
            };
            if changed {
                self.rescan_ms = 0;
            }
            if !is_as_known {
                still.insert(*doc);
            }
            seen.insert(*doc, now);
        }
        drop(base);
        self.mounts.seen = seen;
        still
    }

    /// What stands still, and why.
    pub(super) fn away_problems(&self) -> Vec<(RelPath, &'static str)> {
        let base = lock(&self.parts.base);
        self.mounts.away.iter().filter_map(|doc| Some((base.path_of(doc)?, AWAY))).collect()
    }

    /// Deletes in the documents what is missing at a path with the file system that it was on, at its user's word. Gives
    /// the number of files.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub fn let_go(&mut self, host: &mut dyn Host, path: &RelPath) -> Result<Asked<usize>, Stopped> {
        Asked::or_stopped(self.try_let_go(host, path))
    }

    fn try_let_go(&mut self, host: &mut dyn Host, path: &RelPath) -> Result<Asked<usize>, RoundError> {
        match self.come_to_rest(host, &[path])? {
            Some(Asked::NotYet(what)) => return Ok(Asked::NotYet(what)),
            Some(Asked::Refused(why)) => return Ok(Asked::Refused(why)),
            Some(Asked::Done(())) | None => {}
        }
        // Its mount point may still be there, and is nobody's to delete.
        let bare = self.parts.fs.look(path)?.is_some_and(|found| found.kind == FoundKind::Dir);
        let (top, gone, files) = {
            let base = lock(&self.parts.base);
            let Some(top) = base.at(path).filter(|doc| self.mounts.away.contains(doc)) else {
                return Ok(Asked::Refused(format!("{path} waits for no file system: kith status lists what does")));
            };
            let mut gone = base.subtree(top);
            gone.retain(|doc| *doc != top || !bare);
            let is_file = |doc: &&DocId| base.row(doc).is_some_and(|row| row.kind != Kind::Dir);
            let files = gone.iter().filter(is_file).count();
            (top, gone, files)
        };
        let mut ready = Vec::new();
        for doc in gone {
            ready.extend(self.ingest_one(host, doc, |ingest| ingest.gone(doc))?);
        }
        self.submit(host, ready)?;
        self.mounts.away.remove(&top);
        self.rescan();
        self.follow(host)?;
        Ok(Asked::Done(files))
    }
}
