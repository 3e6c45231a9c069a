//! What the user seems to have done and may not have meant: programs rename, delete and make anew in the middle of a save.
//!
//! It is taken out of the changes of a look, and its paths are looked at once more when their time has come. Nothing is
//! read or submitted here; that is [`reading`](super::reading).

use std::collections::{BTreeMap, BTreeSet};

use super::{Dirty, Rounds, host::Host, lock};
use crate::{
    doc::entry::Kind,
    folder::local::{Into as Within, Local},
    ids::DocId,
    limits,
    tree::RelPath,
};

impl Rounds {
    /// A file that has another name for a moment may be the backup of an editor that writes the name anew: an edit then,
    /// and no move.
    pub(super) fn await_the_renamed(&mut self, host: &dyn Host, changes: &mut Local, ages: &BTreeMap<RelPath, Dirty>) {
        let now = host.now().mono_ms;
        let mut waiting = BTreeSet::new();
        let mut again = Vec::new();
        {
            let base = lock(&self.parts.base);
            for entry in &changes.moved {
                let Within::Known(parent) = entry.into else { continue };
                let is_file = base.row(&entry.doc).is_some_and(|row| row.kind == Kind::File);
                let paths = base.path_of(&entry.doc).zip(base.dir_path(parent)).filter(|_| is_file);
                let Some((from, dir)) = paths else { continue };
                let Some(since_ms) = ages.get(&from).map(|dirty| dirty.since_ms) else { continue };
                if now < since_ms + limits::SETTLE_MS {
                    waiting.insert(entry.doc);
                    again.extend([(from, since_ms), (dir.join(&entry.name), since_ms)]);
                }
            }
        }
        changes.moved.retain(|entry| !waiting.contains(&entry.doc));
        changes.touched.retain(|(doc, _)| !waiting.contains(doc));
        for (path, since_ms) in again {
            let dirty = Dirty { ready_ms: since_ms + limits::SETTLE_MS, since_ms, missing: true, written: false };
            self.dirty.insert(path, dirty);
        }
    }

    /// Entries that are about to move, each with its path, where something below it is to be looked at.
    pub(super) fn with_dirty_below(&self, docs: impl IntoIterator<Item = DocId>) -> Vec<(DocId, RelPath)> {
        if self.dirty.is_empty() {
            return Vec::new();
        }
        let base = lock(&self.parts.base);
        let paths = docs.into_iter().filter_map(|doc| Some((doc, base.path_of(&doc)?)));
        paths.filter(|(_, path)| self.dirty.keys().any(|dirty| path.contains(dirty) && dirty != path)).collect()
    }

    /// What is to be looked at below a directory moves with it: under its old path nobody would find it, and a file that was
    /// deleted there would count as there until the next scan.
    pub(super) fn follow_moved(&mut self, mut before: Vec<(DocId, RelPath)>) {
        // The nearest directory that moved knows where a path is now, whatever those above it did.
        before.sort_by_key(|(_, path)| std::cmp::Reverse(path.components().len()));
        let mut moved = Vec::new();
        {
            let base = lock(&self.parts.base);
            for path in self.dirty.keys() {
                let near = before.iter().find(|(_, from)| from.contains(path) && from != path);
                let Some((from, to)) = near.and_then(|(doc, from)| Some((from, base.path_of(doc)?))) else { continue };
                let rest = &path.components()[from.components().len()..];
                moved.push((path.clone(), rest.iter().fold(to, |path, name| path.join(name))));
            }
        }
        // All leave before any arrives: directories may have changed places.
        let leave = |(from, to)| Some((to, self.dirty.remove(&from)?));
        let arriving: Vec<(RelPath, Dirty)> = moved.into_iter().filter_map(leave).collect();
        for (path, dirty) in arriving {
            self.dirty.entry(path).or_insert(dirty);
        }
    }

    /// Files that are gone may be on their way back: editors delete and create, or move in two steps. Tells what waits.
    pub(super) fn await_the_missing(
        &mut self,
        host: &dyn Host,
        changes: &mut Local,
        ages: &BTreeMap<RelPath, Dirty>,
        full: bool,
    ) -> BTreeSet<DocId> {
        let now = host.now().mono_ms;
        let mut waiting: BTreeSet<DocId> = BTreeSet::new();
        let gone: BTreeSet<DocId> = changes.gone.iter().copied().collect();
        let mut again = Vec::new();
        let taken = changes.places_taken();
        {
            let base = lock(&self.parts.base);
            for doc in &changes.gone {
                // Something else has its place: it does not come back there.
                let is_taken = base.row(doc).is_some_and(|row| taken.contains(&(row.parent, &*row.name)));
                if is_taken || base.is_ousted(doc) {
                    continue;
                }
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
            let dirty = Dirty { ready_ms: since_ms + limits::VANISH_MS, since_ms, missing: true, written: false };
            self.dirty.insert(path, dirty);
        }
        waiting
    }
}
