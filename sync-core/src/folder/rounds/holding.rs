//! What waits for somebody's word: many deletes and overwrites at once, in either direction.
//!
//! Outgoing: the user's disk lost or changed much, which is not told to anybody yet. Incoming: others did, which is not
//! done to this disk yet. Either way everything else goes on, and what is held is told again by each look or plan until
//! it is approved or rejected: nothing of it is kept here but the names of the entries.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    RoundError, Rounds,
    host::{Event, Host, HostError, Stopped},
    lock,
};
use crate::{
    doc::entry::{Content, Kind},
    folder::{
        Found, FoundKind, FsError,
        ingest::{Ingest, LoadError, load},
        local::{Into as Within, Local},
        plan::Action,
        rails::{Brake, empties},
    },
    ids::{ContentHash, DocId},
    limits,
    store::Write,
    tree::RelPath,
};

/// What is held, in both directions.
#[derive(Debug, Default)]
pub(super) struct Holding {
    outgoing: Side,
    incoming: Side,
}

#[derive(Debug, Default)]
struct Side {
    brake: Brake,
    /// Entries that wait, and whether they are deleted.
    held: BTreeMap<DocId, bool>,
    /// Entries that somebody gave their word for.
    approved: BTreeSet<DocId>,
    /// How long that word holds: what could not be done at once is tried again.
    approved_until_ms: u64,
    /// Entries that somebody refused; they still wait for the bytes that are to come back.
    refused: BTreeSet<DocId>,
}

impl Side {
    fn counts(&self) -> HeldCounts {
        let deletes = self.held.values().filter(|deleted| **deleted).count();
        HeldCounts { deletes, overwrites: self.held.len() - deletes }
    }

    /// Whether an entry neither waits nor was approved.
    fn is_new(&self, doc: &DocId) -> bool {
        !self.held.contains_key(doc) && !self.approved.contains(doc)
    }

    /// Whether an entry that is lost or overwritten now is one more.
    fn harms_more(&self, doc: &DocId) -> bool {
        self.is_new(doc) && !self.brake.counts(doc)
    }
}

/// How much is held in one direction.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct HeldCounts {
    /// Entries that are to go.
    pub deletes: usize,
    /// Files that are to get other bytes.
    pub overwrites: usize,
}

impl HeldCounts {
    /// Whether nothing is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.deletes == 0 && self.overwrites == 0
    }
}

/// How much waits for somebody's word.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// What the user's disk lost or changed, and others are not told.
    pub outgoing: HeldCounts,
    /// What others deleted or changed, and is not done here.
    pub incoming: HeldCounts,
    /// How much of what the user's disk lost was rejected, and waits for bytes that other devices have.
    pub awaited: usize,
}

impl Held {
    /// Whether nothing does.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.is_empty()
    }
}

impl Rounds {
    /// How much waits for somebody's word.
    #[must_use]
    pub fn held(&self) -> Held {
        let Holding { outgoing, incoming } = &self.holding;
        Held { outgoing: outgoing.counts(), incoming: incoming.counts(), awaited: outgoing.refused.len() }
    }

    /// Lets everything that is held happen, by the next rounds.
    pub fn approve(&mut self, now_ms: u64) {
        for side in [&mut self.holding.outgoing, &mut self.holding.incoming] {
            side.approved.extend(std::mem::take(&mut side.held).into_keys());
            side.approved_until_ms = now_ms + limits::HOLD_WINDOW_MS;
            side.refused.clear();
        }
        self.planned = false;
        self.rescan();
    }

    /// Undoes everything that is held: the disk gets back what it lost and what was changed, where that was the user's
    /// doing; where it was the doing of others, they get back what this disk has. What only other devices still have is
    /// fetched first, and is held until it has come: what stands on the disk may be all that is left.
    ///
    /// # Errors
    /// When the engine has stopped. Whatever else fails is left held.
    pub fn reject(&mut self, host: &mut dyn Host) -> Result<(), Stopped> {
        let outcome = self.undo_outgoing(host).and_then(|()| self.undo_incoming(host));
        self.planned = false;
        self.rescan();
        match outcome {
            Ok(()) => Ok(()),
            Err(RoundError::Host(HostError::Stopped(stopped))) => Err(stopped),
            Err(error) => {
                host.event(&Event::RoundFailed(&error));
                Ok(())
            }
        }
    }

    // ---- disk into documents ----

    /// Takes out what is held, or must be, of what the user changed and deleted.
    pub(super) fn hold_outgoing(&mut self, host: &dyn Host, touched: &mut Vec<(DocId, Found)>, gone: &mut Vec<DocId>) {
        let lost = self.lost_files(gone);
        match self.what_to_hold(host, &lost, touched, gone) {
            Some(held) => self.holding.outgoing.held.extend(held),
            None => {
                let now_ms = host.now().mono_ms;
                lost.into_iter().for_each(|doc| self.holding.outgoing.brake.note(now_ms, doc));
            }
        }
        let side = &mut self.holding.outgoing;
        touched.retain(|(doc, _)| !side.held.contains_key(doc));
        gone.retain(|doc| !side.held.contains_key(doc));
    }

    /// Files among these that are lost anew.
    fn lost_files(&self, gone: &[DocId]) -> Vec<DocId> {
        let base = lock(&self.parts.base);
        let is_file = |doc: &&DocId| base.row(doc).is_some_and(|row| row.kind != Kind::Dir);
        let side = &self.holding.outgoing;
        gone.iter().filter(|doc| side.is_new(doc)).filter(is_file).copied().collect()
    }

    /// What must be held of what the user changed and deleted, if anything must.
    fn what_to_hold(
        &mut self,
        host: &dyn Host,
        lost: &[DocId],
        touched: &[(DocId, Found)],
        gone: &[DocId],
    ) -> Option<Vec<(DocId, bool)>> {
        let now_ms = host.now().mono_ms;
        if now_ms >= self.holding.outgoing.approved_until_ms {
            self.holding.outgoing.approved.clear();
        }
        let files = lock(&self.parts.base).totals().0;
        let side = &mut self.holding.outgoing;
        let room = side.brake.room(now_ms, files, self.parts.hold_above);
        let more = lost.iter().filter(|doc| !side.brake.counts(doc)).count();
        let suspects = touched.iter().filter(|(doc, found)| found.kind == FoundKind::File && side.harms_more(doc));
        let empties = empties(lost.len(), files);
        if more + suspects.count() <= room && !empties {
            return None;
        }
        let changed = self.overwritten(host, touched);
        let side = &self.holding.outgoing;
        if more + changed.iter().filter(|doc| side.harms_more(doc)).count() <= room && !empties {
            return None;
        }
        let gone = gone.iter().filter(|doc| !side.approved.contains(*doc)).map(|doc| (*doc, true));
        Some(gone.chain(changed.into_iter().map(|doc| (doc, false))).collect())
    }

    /// Where something new stands in the place of what is held as deleted, that is not told either: an entry has one place,
    /// and who approves or rejects decides on both.
    pub(super) fn hold_what_took_places(&mut self, host: &dyn Host, changes: &mut Local) {
        let taken = self.gone_from_places_taken(changes);
        if taken.is_empty() {
            return;
        }
        // What is found to have moved when its bytes are read is forgotten then.
        let lost = self.lost_files(&changes.gone);
        let held = self.what_to_hold(host, &lost, &changes.touched, &changes.gone);
        let side = &mut self.holding.outgoing;
        side.held.extend(held.into_iter().flatten());
        let held_places: BTreeSet<(Option<DocId>, &str)> = (taken.iter())
            .filter(|(doc, _)| side.held.contains_key(doc))
            .map(|(_, (parent, name))| (*parent, &**name))
            .collect();
        let is_held = |into: Within, name: &str| match into {
            Within::Known(parent) => held_places.contains(&(parent, name)),
            Within::Made(_) => false,
        };
        let mut dropped = BTreeSet::new();
        for (index, made) in changes.made.iter().enumerate() {
            if is_held(made.into, &made.name) || matches!(made.into, Within::Made(above) if dropped.contains(&above)) {
                dropped.insert(index);
            }
        }
        let in_dropped = |into: Within| matches!(into, Within::Made(above) if dropped.contains(&above));
        let stays: BTreeSet<DocId> = (changes.moved.iter())
            .filter(|moved| is_held(moved.into, &moved.name) || in_dropped(moved.into))
            .map(|moved| moved.doc)
            .collect();
        changes.forget(&dropped, &stays);
    }

    /// All that is gone where something new has taken its place or that of a directory above it, with that place.
    fn gone_from_places_taken(&self, changes: &Local) -> Vec<(DocId, (Option<DocId>, String))> {
        let taken = changes.places_taken();
        let gone: BTreeSet<DocId> = changes.gone.iter().copied().collect();
        let base = lock(&self.parts.base);
        let mut found = Vec::new();
        for top in &changes.gone {
            let Some(row) = base.row(top).filter(|row| taken.contains(&(row.parent, &*row.name))) else { continue };
            let place = (row.parent, row.name.clone());
            let below = base.subtree(*top).into_iter().filter(|doc| gone.contains(doc));
            found.extend(below.map(|doc| (doc, place.clone())));
        }
        found
    }

    /// What was held as deleted has moved, as its bytes say.
    pub(super) fn has_moved(&mut self, doc: &DocId) {
        self.holding.outgoing.held.remove(doc);
    }

    /// After a look at everything only what differs is still held.
    pub(super) fn forget_what_came_back(&mut self, changes: &Local) {
        let differs: BTreeSet<&DocId> = changes.touched.iter().map(|(doc, _)| doc).chain(changes.gone.iter()).collect();
        self.holding.outgoing.held.retain(|doc, _| differs.contains(doc));
    }

    /// Files of these that have other bytes than the base knows, and are not approved.
    fn overwritten(&self, host: &dyn Host, touched: &[(DocId, Found)]) -> Vec<DocId> {
        let new: Vec<_> = touched.iter().filter(|(doc, _)| self.holding.outgoing.is_new(doc)).copied().collect();
        self.with_other_bytes(host, &new)
    }

    /// Files of these that have other bytes than the base knows, or cannot be read now.
    pub(super) fn with_other_bytes(&self, host: &dyn Host, touched: &[(DocId, Found)]) -> Vec<DocId> {
        let mut changed = Vec::new();
        for (doc, found) in touched {
            if found.kind != FoundKind::File {
                continue;
            }
            let known = {
                let base = lock(&self.parts.base);
                base.path_of(doc).zip(base.row(doc).map(|row| row.hash))
            };
            let Some((path, hash)) = known else { continue };
            match load(&*self.parts.fs, &path, host.now().wall_ns) {
                Ok(loaded) if loaded.hash == hash => {}
                // One that cannot be read now is looked at again with the others.
                _ => changed.push(*doc),
            }
        }
        changed
    }

    /// Files that the user changed were told to the documents.
    pub(super) fn told_overwrites(&mut self, host: &dyn Host, docs: &[DocId]) {
        let now_ms = host.now().mono_ms;
        for doc in docs {
            self.holding.outgoing.brake.note(now_ms, *doc);
            self.fights.changed(doc);
        }
    }

    fn undo_outgoing(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        let side = &mut self.holding.outgoing;
        side.refused.extend(side.held.keys());
        self.undo_what_can_be(host)
    }

    /// Undoes what the disk lost (true) or changed (false) as if it had been held and somebody had refused it.
    pub(super) fn refuse_outgoing(
        &mut self,
        host: &mut dyn Host,
        lost: impl IntoIterator<Item = (DocId, bool)>,
    ) -> Result<(), RoundError> {
        for (doc, deleted) in lost {
            self.holding.outgoing.held.insert(doc, deleted);
            self.holding.outgoing.refused.insert(doc);
        }
        self.undo_what_can_be(host)
    }

    /// What the user's disk lost comes back from the documents; what was changed goes to the keeper and comes back, too.
    /// Where the bytes are not here yet they are asked for.
    pub(super) fn undo_what_can_be(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        let side = &mut self.holding.outgoing;
        side.refused.retain(|doc| side.held.contains_key(doc));
        let mut ready = BTreeMap::new();
        for doc in self.holding.outgoing.refused.clone() {
            let path = lock(&self.parts.base).path_of(&doc);
            if path.is_some_and(|path| self.ignored.covers(&path, false)) {
                // A rule lets it be as it is now.
                self.holding.outgoing.refused.remove(&doc);
                self.holding.outgoing.held.remove(&doc);
            } else if self.brings_back(host, &doc) {
                self.holding.outgoing.refused.remove(&doc);
                ready.extend(self.holding.outgoing.held.remove_entry(&doc));
            }
        }
        let (paths, rows): (Vec<RelPath>, BTreeSet<DocId>) = {
            let base = lock(&self.parts.base);
            let paths = ready.iter().filter(|(_, deleted)| !**deleted).filter_map(|(doc, _)| base.path_of(doc));
            // With what is in a directory, which its user may have made anew: without it nobody would find that again.
            (paths.collect(), ready.keys().flat_map(|doc| base.subtree(*doc)).collect())
        };
        let folder = self.parts.folder;
        // First the rows: whatever stands on disk without one is taken in as something new, and never lost.
        self.put_rows(host, rows.iter().map(|doc| Write::Base { folder, doc: *doc, row: None }).collect())?;
        {
            let mut base = lock(&self.parts.base);
            rows.iter().for_each(|doc| base.set(*doc, None));
        }
        for path in paths {
            host.keeper().keep(&path, &path, None).map_err(|source| FsError {
                operation: "keep a copy of",
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Whether what an entry held can be written now; else it is asked for. Of one that others deleted nothing comes back.
    fn brings_back(&mut self, host: &mut dyn Host, doc: &DocId) -> bool {
        if self.documents.view().place_of(doc).is_none() {
            return true;
        }
        let Some(Content::Reference(content)) = self.documents.entry(doc).and_then(|entry| entry.content.as_ref())
        else {
            return true;
        };
        let content = *content;
        if self.has_fetched(host, &content) {
            return true;
        }
        self.want(*doc, content.hash);
        false
    }

    // ---- documents onto disk ----

    /// Takes out what is held, or must be, of what is to be done to the disk.
    pub(super) fn hold_incoming(&mut self, host: &dyn Host, actions: &mut Vec<Action>) -> Result<(), RoundError> {
        let mut harm = BTreeMap::new();
        {
            let base = lock(&self.parts.base);
            for action in actions.iter() {
                match action {
                    Action::Delete { doc } => harm.insert(*doc, true),
                    Action::Write { doc, .. } if base.on_disk(doc).is_some() => harm.insert(*doc, false),
                    _ => None,
                };
            }
        }
        let side = &mut self.holding.incoming;
        side.held.retain(|doc, _| harm.contains_key(doc));
        side.approved.retain(|doc| harm.contains_key(doc));
        let new: Vec<(DocId, bool)> = harm.into_iter().filter(|(doc, _)| side.is_new(doc)).collect();
        let now_ms = host.now().mono_ms;
        let (files, lost, room, more) = {
            let base = lock(&self.parts.base);
            let is_file = |doc: &DocId| base.row(doc).is_some_and(|row| row.kind != Kind::Dir);
            let lost: Vec<&DocId> =
                new.iter().filter(|(doc, deleted)| *deleted && is_file(doc)).map(|(doc, _)| doc).collect();
            let files = base.totals().0;
            let room = side.brake.room(now_ms, files, self.parts.hold_above);
            (files, lost.len(), room, lost.into_iter().filter(|doc| !side.brake.counts(doc)).count())
        };
        let suspects = new.iter().filter(|(doc, deleted)| !deleted && side.harms_more(doc)).count();
        let empties = empties(lost, files);
        if more + suspects > room || empties {
            let mut changed = Vec::new();
            for (doc, _) in new.iter().filter(|(_, deleted)| !deleted) {
                if self.gets_other_bytes(host, doc)? {
                    changed.push(*doc);
                }
            }
            let side = &self.holding.incoming;
            if more + changed.iter().filter(|doc| side.harms_more(doc)).count() > room || empties {
                let gone = new.iter().filter(|(_, deleted)| *deleted).copied();
                self.holding.incoming.held.extend(gone.chain(changed.into_iter().map(|doc| (doc, false))));
            }
        }
        let held = &self.holding.incoming.held;
        actions.retain(|action| match action {
            Action::Delete { doc } | Action::Write { doc, .. } | Action::Aside { doc } => !held.contains_key(doc),
            Action::MakeDir { .. } | Action::Move { .. } => true,
        });
        // What the user's disk changed and others are not told is not overwritten either, nor is a file in a fight.
        let outgoing = &self.holding.outgoing.held;
        let fights = &self.fights;
        let mut resting = Vec::new();
        actions.retain(|action| match action {
            Action::Write { doc, .. } if fights.rests(doc, now_ms) => {
                resting.push(*doc);
                false
            }
            Action::Write { doc, .. } | Action::Delete { doc } => !outgoing.contains_key(doc),
            _ => true,
        });
        let base = lock(&self.parts.base);
        for path in resting.iter().filter_map(|doc| base.path_of(doc)) {
            self.write_problems.insert(path, FIGHT.to_owned());
        }
        Ok(())
    }

    fn gets_other_bytes(&mut self, host: &dyn Host, doc: &DocId) -> Result<bool, RoundError> {
        let held = lock(&self.parts.base).on_disk(doc).map(|(row, _)| (row.kind, row.hash));
        let Some((Kind::File, held)) = held else { return Ok(false) };
        let hash = match self.documents.entry(doc).and_then(|entry| entry.content.as_ref()) {
            Some(Content::Inline(bytes)) => ContentHash::of(bytes),
            Some(Content::Reference(content)) => content.hash,
            Some(Content::Text) => {
                let mut library = self.library(host)?;
                let text = match library.row(doc)? {
                    Some(row) => library.text(doc, &row),
                    None => Ok(None),
                };
                self.shelf = library.into_shelf();
                match text {
                    Ok(Some(text)) => ContentHash::of(text.as_bytes()),
                    // One that cannot be read is not written either.
                    Ok(None) | Err(_) => return Ok(false),
                }
            }
            None => return Ok(false),
        };
        Ok(hash != held)
    }

    /// An entry was removed from the disk, or a file got other bytes, by the doing of others.
    pub(super) fn did_harm(&mut self, host: &dyn Host, doc: DocId, overwrote: bool) {
        let now_ms = host.now().mono_ms;
        self.holding.incoming.brake.note(now_ms, doc);
        self.holding.incoming.approved.remove(&doc);
        if overwrote {
            self.fights.wrote(doc, now_ms);
        }
    }

    /// Others get back what this disk has: as an edit of what they made of it.
    fn undo_incoming(&mut self, host: &mut dyn Host) -> Result<(), RoundError> {
        let held = std::mem::take(&mut self.holding.incoming.held);
        let mut ready = Vec::new();
        for (doc, _) in held {
            let known = {
                let base = lock(&self.parts.base);
                base.path_of(&doc).zip(base.row(&doc).map(|row| row.kind))
            };
            let Some((path, kind)) = known else { continue };
            let loaded = match kind {
                Kind::File => match load(&*self.parts.fs, &path, host.now().wall_ns) {
                    Ok(loaded) => Some(loaded),
                    Err(LoadError::Fs(error)) => return Err(error.into()),
                    Err(_) => {
                        self.holding.incoming.held.insert(doc, false);
                        continue;
                    }
                },
                Kind::Dir | Kind::Link => None,
            };
            ready.extend(self.ingest_one(host, doc, |ingest: &mut Ingest<'_>| ingest.insist(doc, loaded))?);
        }
        self.submit(host, ready)
    }
}

/// Why a file is not written.
const FIGHT: &str = "another program changes it each time it is written: left alone for a while";
