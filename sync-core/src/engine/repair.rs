//! Builds a space again without the branches of forked logs that lost, and commits again what this device made in them.
//!
//! All in one transaction: the space gets a new handle, every commit that stays is taken in under it as if it had just
//! arrived, the commits that go rest under the old handle, and folders' base rows are pointed at what their changes
//! became. This is rare and may take as long as the space is large; nothing is sent before it is done. It opens
//! documents inside the turn, which nothing else in the engine does: the edits made again must be in the same
//! transaction as the setting aside, or a crash between the two would lose them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Effect, Engine, EngineError, Event, Now,
    commits::TakenIn,
    door::is_promotion,
    space::{Space, is_in},
};
use crate::{
    commit::{Body, BodyKind, Item, SecretKey},
    doc::{DocError, Document, again, promotion},
    history::{Bodies, HistoryError, Library, Shelf, unpack_items},
    ids::{ChangeHash, ContentHash, DocId, ReplicaId},
    limits,
    member::MemberOp,
    preflight::ChangeHead,
    probe::{Plant, planted},
    store::{
        StoreError, Tables,
        row::{ChangeRow, DocRow, ForkRow, SpaceRow},
    },
};

/// A commit that goes: replica by handle, and number.
type LostCommit = (u32, u64);

impl Engine {
    /// Sets aside what lost, in every space where something did.
    pub(super) fn repair_forks(&mut self, tables: &mut Tables<'_>, now: Now) -> Result<(), EngineError> {
        let handles: Vec<u32> =
            self.spaces.values().filter(|space| !space.losing.is_empty()).map(|space| space.handle).collect();
        for handle in handles {
            self.repair_fork(tables, now, handle)?;
        }
        Ok(())
    }

    fn repair_fork(&mut self, tables: &mut Tables<'_>, now: Now, handle: u32) -> Result<(), EngineError> {
        let epoch = self.new_epoch();
        let device = self.device;
        let old = self.spaces.remove(&handle).expect("the caller listed it");
        let losing = old.losing.clone();
        let cuts: Vec<LostCommit> =
            losing.iter().filter_map(|lost| Some((*old.by_replica.get(&lost.replica)?, lost.n))).collect();
        let new_handle = tables.next_handle("spaces", 1)? as u32;
        let row = SpaceRow {
            retired: old.row.retired.clone(),
            replica: old.row.replica,
            ..SpaceRow::new(old.row.id, device, epoch, old.row.bootstrap.clone())
        };
        let mut new = Space::new(new_handle, row);
        new.forks.clone_from(&old.forks);
        new.has_folder = old.has_folder;
        new.settled = !old.has_folder;
        new.announcements = old.announcements;
        let lost = take_what_stays(tables, &old, &mut new, &cuts)?;
        let own = old.row.replica;
        // A log of ours that lost a part must never be written on again: its numbers are taken.
        if lost.iter().any(|(replica, _)| old.replicas[replica].id == own) {
            let made_here = new.vector.len_of(&own);
            new.renew(device, epoch, made_here);
        } else {
            (new.row.epoch, new.row.shared) = (old.row.epoch, old.row.shared);
            new.renewed = old.renewed;
        }
        for retired in &mut new.row.retired {
            retired.1 = retired.1.min(new.vector.len_of(&retired.0));
        }
        let (again, not_made) = self.commit_again(tables, &old, &mut new, &lost)?;
        let set_aside = lost.len() as u64;
        for losing in losing {
            let by = old.by_replica.get(&losing.replica).map(|replica| old.replicas[replica].device);
            let row = ForkRow {
                device: by.unwrap_or(device),
                ours: by == Some(device),
                kept: Some(losing.kept),
                set_aside,
                committed_again: again,
                aside: Some(handle),
                wall_ms: now.wall_ms,
            };
            tables.put_fork(&new.row.id, &losing.replica, losing.n, &row)?;
            new.forks.insert((losing.replica, losing.n), row);
        }
        let lost: BTreeSet<LostCommit> = lost.into_iter().collect();
        tables.set_aside(handle, |replica, n| lost.contains(&(replica, n)))?;
        self.replace(tables, handle, new)?;
        let space = old.row.id;
        self.effects.push(Effect::Event(Event::Rebuilt { space, set_aside, committed_again: again, not_made }));
        Ok(())
    }

    /// Puts the rebuilt space in the place of the old one, and says hello anew to everybody.
    fn replace(&mut self, tables: &mut Tables<'_>, old: u32, mut new: Space) -> Result<(), EngineError> {
        let handle = new.handle;
        new.dirty = true;
        // Everything may be new to the folder and to peers.
        new.received = true;
        new.wrote = new.vector.len_of(&new.row.replica) > 0;
        new.changed.clear();
        let id = new.row.id;
        self.spaces.insert(handle, new);
        for state in self.sessions.values_mut() {
            if state.links.remove(&old).is_some() {
                // What it sent before it hears of this is passed over.
                state.forked.insert(handle);
            }
            state.greeted.remove(&old);
            state.silenced.remove(&old);
            state.forked.remove(&old);
            state.proved.remove(&old);
        }
        self.dirty = true;
        self.effects.push(Effect::Event(Event::Members { space: id }));
        self.greet_members(tables, handle)
    }

    /// Commits again what was made in this store and is among what goes; returns how many of these commits there were,
    /// and how many edits in them could not be made again.
    fn commit_again(
        &self,
        tables: &mut Tables<'_>,
        old: &Space,
        new: &mut Space,
        lost: &[LostCommit],
    ) -> Result<(u64, u64), EngineError> {
        let snapshot = self.store.read()?;
        let mut again = Again {
            old: Library::new(snapshot, old.handle, Shelf::default()),
            lost: lost.iter().copied().collect(),
            twins: BTreeMap::new(),
            not_made: 0,
            unmade: BTreeSet::new(),
        };
        let mut commits = 0;
        for (replica, n) in lost {
            let log = &old.replicas[replica];
            if *n > old.row.own_until(&log.id, log.n) || planted(Plant::ForkNotCommittedAgain) {
                continue;
            }
            let row = again.old.rows().commit_row(old.handle, *replica, *n)?;
            let row = row.ok_or(StoreError::Row { table: "commit" })?;
            let wall_ms = crate::commit::Header::decode(&row.header).map_or(0, |header| header.wall_ms);
            let stands = if row.membership {
                let body = again.old.rows().body(old.handle, *replica, *n)?;
                commit_membership(tables, new, &self.key, wall_ms, &body)?
            } else {
                let items = unpack_items(again.old.rows(), (old.handle, *replica, *n))?;
                let items = again.items(tables, new, items)?;
                let stands = new.append_items(tables, &self.key, wall_ms, items)?.is_ok();
                again.twins.values_mut().for_each(|twin| twin.pending.clear());
                stands
            };
            if !stands {
                // Our role went with what was set aside. The commits rest with the others.
                break;
            }
            commits += 1;
        }
        again.move_bases(tables, new)?;
        Ok((commits, again.not_made))
    }
}

/// Takes the commits that stay into the new space, in the order in which they arrived; returns the others.
fn take_what_stays(
    tables: &mut Tables<'_>,
    old: &Space,
    new: &mut Space,
    cuts: &[LostCommit],
) -> Result<Vec<LostCommit>, StoreError> {
    let mut lost = Vec::new();
    let mut next = 0;
    loop {
        let order = tables.order_from(old.handle, next)?;
        let Some((last, ..)) = order.last() else { break };
        next = last + 1;
        for (_, replica, n) in order {
            let row = tables.commit_row(old.handle, replica, n)?.ok_or(StoreError::Row { table: "commit" })?;
            if cuts.iter().any(|(replica, n)| is_in(&row.clock, *replica, *n)) {
                lost.push((replica, n));
                continue;
            }
            let signed = row.with_body(tables.body(old.handle, replica, n)?);
            // Each stood before, and its past is here.
            let TakenIn::New = new.take_in(tables, &signed)? else {
                return Err(StoreError::Row { table: "commit" });
            };
        }
    }
    new.overtaken_at = None;
    Ok(lost)
}

/// Appends membership operations that still count.
fn commit_membership(
    tables: &mut Tables<'_>,
    new: &mut Space,
    key: &SecretKey,
    wall_ms: u64,
    body: &crate::commit::PackedBody,
) -> Result<bool, StoreError> {
    let damaged = |_| StoreError::Row { table: "body" };
    let body = body.unpack().map_err(damaged)?;
    let Body::Membership(ops) = Body::decode(&body, BodyKind::Membership).map_err(damaged)? else {
        return Err(StoreError::Row { table: "body" });
    };
    let mut stands = true;
    for op in ops {
        // What does not count any more was done by somebody else meanwhile.
        if !matches!(op, MemberOp::Genesis { .. }) {
            stands = new.append_membership(tables, key, wall_ms, vec![op])?.is_ok();
        }
    }
    Ok(stands)
}

/// Makes edits of the old space again in the new one.
struct Again {
    old: Library,
    lost: BTreeSet<LostCommit>,
    twins: BTreeMap<DocId, Twin>,
    /// Edits that could not be made again.
    not_made: u64,
    /// Of which documents.
    unmade: BTreeSet<DocId>,
}

/// A document in the old space and what its changes became in the new one.
struct Twin {
    old_row: DocRow,
    old_changes: Vec<ChangeRow>,
    /// By index in the old document, as far as known.
    became: BTreeMap<u32, Vec<ChangeHash>>,
    /// Our last change that was made again.
    last_own: Option<ChangeHash>,
    /// Changes that the commit which is being made will bring.
    pending: Vec<Vec<u8>>,
    /// The document before and now.
    open: Option<(Document, Document)>,
}

impl Again {
    /// The items that do in the new space what `items` did in the old one.
    fn items(&mut self, tables: &Tables<'_>, new: &Space, items: Vec<Item>) -> Result<Vec<Item>, EngineError> {
        let mut made = Vec::new();
        for item in items {
            match self.item(tables, new, &item) {
                Ok(item) => made.extend(item),
                Err(HistoryError::Store(error)) => return Err(error.into()),
                // A document that cannot be read shows its last good state; its lost edits rest with the others.
                Err(HistoryError::Doc(_)) => {
                    self.not_made += 1;
                    self.unmade.insert(item.doc());
                }
            }
        }
        Ok(made)
    }

    fn item(&mut self, tables: &Tables<'_>, new: &Space, item: &Item) -> Result<Option<Item>, HistoryError> {
        let doc = item.doc();
        self.twin(tables, new, doc)?;
        let (hash, head, mtime_ns) = match item {
            Item::Promotion { hash, .. } => (*hash, None, None),
            Item::Change { bytes, mtime_ns, .. } => {
                let head = ChangeHead::read(bytes).map_err(|error| DocError::Automerge(error.to_string()))?;
                (head.hash, Some(head), *mtime_ns)
            }
        };
        let Some(twin) = self.twins.get_mut(&doc) else { return Ok(None) };
        let Some(index) = twin.old_changes.iter().position(|change| change.hash == hash).map(|index| index as u32)
        else {
            return Ok(None);
        };
        if twin.became_of(index).is_some() {
            return Ok(None);
        }
        if let (Some(head), Item::Change { bytes, .. }) = (&head, item)
            && head.hash.0 == doc.0
        {
            // A root derived from its own values is the same change whoever brings it.
            twin.became.insert(0, vec![hash]);
            twin.pending.push(bytes.clone());
            return Ok(Some(item.clone()));
        }
        self.open(tables, new, doc)?;
        let Some(twin) = self.twins.get_mut(&doc) else { return Ok(None) };
        let Some((old, mut now)) = twin.open.take() else { return Ok(None) };
        let item = match head {
            Some(head) if !is_promotion(&head) => {
                twin.edit(new.row.replica, &old, &mut now, index)?.map(|bytes| Item::Change { doc, bytes, mtime_ns })
            }
            _ => {
                let closure = self.old.closure(&doc, &twin.old_row, &hash)?.unwrap_or_default();
                twin.promotion(doc, &old, &mut now, index, item, closure.last())?
            }
        };
        twin.open = Some((old, now));
        Ok(item)
    }

    /// Makes sure that a document is open in both spaces.
    fn open(&mut self, tables: &Tables<'_>, new: &Space, doc: DocId) -> Result<(), HistoryError> {
        if self.twins.values().filter(|twin| twin.open.is_some()).count() >= limits::OPEN_DOCUMENTS_MAX {
            self.twins.iter_mut().filter(|(held, _)| **held != doc).for_each(|(_, twin)| twin.open = None);
        }
        let Some(twin) = self.twins.get_mut(&doc).filter(|twin| twin.open.is_none()) else {
            return Ok(());
        };
        let old = self.old.open(&doc, &twin.old_row)?;
        let mut bodies = Bodies::default();
        let mut changes = match tables.document(new.handle, &doc)? {
            None => Vec::new(),
            Some(row) => (0..row.changes)
                .map(|index| bodies.change(tables, new.handle, &row, index))
                .collect::<Result<Vec<_>, _>>()?,
        };
        changes.extend(twin.pending.iter().cloned());
        twin.open = Some((old, Document::from_changes(changes)?));
        Ok(())
    }

    /// Reads what is known of a document's changes in both spaces.
    fn twin(&mut self, tables: &Tables<'_>, new: &Space, doc: DocId) -> Result<(), HistoryError> {
        if self.twins.contains_key(&doc) {
            return Ok(());
        }
        let Some(old_row) = self.old.row(&doc)? else { return Ok(()) };
        let rows = self.old.rows();
        let old_changes =
            (0..old_row.changes).map(|index| rows.change(old_row.handle, index)).collect::<Result<Vec<_>, _>>()?;
        let mut twin =
            Twin { old_row, old_changes, became: BTreeMap::new(), last_own: None, pending: Vec::new(), open: None };
        if let Some(row) = tables.document(new.handle, &doc)? {
            for (index, change) in (0..).zip(&twin.old_changes) {
                if change.hash.0 == doc.0 || tables.change_index(row.handle, &change.hash)?.is_some() {
                    twin.became.insert(index, vec![change.hash]);
                }
            }
        }
        self.twins.insert(doc, twin);
        Ok(())
    }

    /// Points the base rows of the space's folders at what their changes became.
    fn move_bases(&mut self, tables: &mut Tables<'_>, new: &Space) -> Result<(), EngineError> {
        if self.lost.is_empty() {
            return Ok(());
        }
        for (folder, _) in tables.folders()?.into_iter().filter(|(_, row)| row.space == new.row.id) {
            for (doc, mut base) in tables.bases(folder)? {
                if tables.document(new.handle, &doc)?.is_none() {
                    // It was made in commits of somebody else that went: its file is taken in as a new one, so that no byte
                    // is lost and nothing keeps its place for ever.
                    tables.remove_base(folder, &doc)?;
                    continue;
                }
                let intent = base.intent.as_ref().map_or(&[][..], |intent| &intent.heads);
                if base.heads.iter().chain(intent).all(|head| head.0 == doc.0) {
                    continue;
                }
                match self.twin(tables, new, doc) {
                    Ok(()) => {}
                    Err(HistoryError::Store(error)) => return Err(error.into()),
                    Err(HistoryError::Doc(_)) => continue,
                }
                let Some(twin) = self.twins.get_mut(&doc) else { continue };
                base.heads = twin.heads_became(&base.heads);
                if let Some(intent) = &mut base.intent {
                    intent.heads = twin.heads_became(&intent.heads);
                }
                if self.unmade.contains(&doc) {
                    // The file may be all that is left of the edit: it is read again, and is one to what is known now.
                    (base.hash, base.racy) = (ContentHash([0; 32]), true);
                }
                tables.put_base(folder, &doc, &base)?;
            }
        }
        Ok(())
    }
}

impl Twin {
    fn became_of(&self, index: u32) -> Option<&Vec<ChangeHash>> {
        self.became.get(&index)
    }

    /// What an edit that named these changes names now. A change of somebody else that went stands for what it was made
    /// on: its author makes it again.
    fn became_all(&mut self, indices: &[u32]) -> Vec<ChangeHash> {
        let last = indices.iter().copied().max().map_or(0, |last| last + 1);
        for index in 0..last {
            if !self.became.contains_key(&index) {
                let deps = self.old_changes[index as usize].deps.clone();
                let became = deps.iter().filter_map(|dep| self.became.get(dep)).flatten().copied();
                let became: BTreeSet<ChangeHash> = became.collect();
                self.became.insert(index, became.into_iter().collect());
            }
        }
        let all: BTreeSet<ChangeHash> =
            indices.iter().filter_map(|index| self.became.get(index)).flatten().copied().collect();
        all.into_iter().collect()
    }

    fn heads_became(&mut self, heads: &[ChangeHash]) -> Vec<ChangeHash> {
        let at = |head: &ChangeHash| self.old_changes.iter().position(|change| change.hash == *head);
        let indices: Vec<u32> = heads.iter().filter_map(at).map(|index| index as u32).collect();
        self.became_all(&indices)
    }

    fn edit(
        &mut self,
        replica: ReplicaId,
        old: &Document,
        now: &mut Document,
        index: u32,
    ) -> Result<Option<Vec<u8>>, DocError> {
        let change = self.old_changes[index as usize].clone();
        let deps: Vec<ChangeHash> = change.deps.iter().map(|dep| self.old_changes[*dep as usize].hash).collect();
        let mut at = self.became_all(&change.deps);
        if let Some(last) = self.last_own.filter(|last| !at.contains(last)) {
            at.push(last);
        }
        let ops = again::edit_of(old, &deps, change.hash, now, &at)?;
        match now.edit(replica, &at, &ops) {
            Ok(made) => {
                self.last_own = Some(made.hash);
                self.became.insert(index, vec![made.hash]);
                self.pending.push(made.bytes.clone());
                Ok(Some(made.bytes))
            }
            Err(DocError::NoChange) => {
                self.became.insert(index, at);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A promotion follows from the change that put the content; where that was made again, so is its promotion.
    fn promotion(
        &mut self,
        doc: DocId,
        old: &Document,
        now: &mut Document,
        index: u32,
        item: &Item,
        bytes: Option<&Vec<u8>>,
    ) -> Result<Option<Item>, DocError> {
        let change = self.old_changes[index as usize].clone();
        let at = self.became_all(&change.deps);
        let &[of] = at.as_slice() else { return Err(DocError::MissingDependency) };
        let same = change.deps.first().is_some_and(|dep| self.old_changes[*dep as usize].hash == of);
        if same && let Some(bytes) = bytes {
            now.apply([bytes])?;
            self.became.insert(index, vec![change.hash]);
            self.pending.push(bytes.clone());
            return Ok(Some(item.clone()));
        }
        let text = old.text_at(&[change.hash])?.ok_or(DocError::NotAnEntry("not a promotion"))?;
        let made = promotion::build(now.closure(of)?, &text)?;
        now.apply([&made.bytes])?;
        self.became.insert(index, vec![made.hash]);
        self.pending.push(made.bytes.clone());
        Ok(Some(Item::change(doc, made.bytes)))
    }
}
