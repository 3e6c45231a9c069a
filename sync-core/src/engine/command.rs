//! What the host asks of the engine: spaces, invites, edits and rows.

use std::collections::BTreeMap;

use super::{Effect, Engine, EngineError, Event, Now, commits::CommitFault, space::Space};
use crate::{
    commit::{Item, Signature, verify},
    content::encode_list,
    ids::{ChangeHash, DeviceId, DocId, InstallEpoch, InviteKey, SpaceId, context},
    limits,
    member::{InviteRefusal, MemberOp, Role},
    preflight::ChangeHead,
    probe,
    store::{
        Edit, StoreError, Tables, Write,
        row::{FolderRow, SpaceRow},
    },
    tree::Folds,
    wire::{self, Announcement, CloseCode},
};

/// A request of the host.
#[derive(Debug, Clone)]
pub enum Command {
    /// Founds a space.
    CreateSpace {
        /// What people call it.
        name: String,
        /// What people call this device.
        device_name: String,
        /// From the host's source of randomness.
        random: [u8; 32],
        /// From the same.
        epoch: InstallEpoch,
    },
    /// Opens an empty space that this device was let into.
    AddSpace {
        /// Its id.
        space: SpaceId,
        /// Who let us in, and may talk to us until we know the members.
        host: DeviceId,
        /// From the host's source of randomness.
        epoch: InstallEpoch,
    },
    /// Stops exchanging a space; what is stored stays.
    LeaveSpace {
        /// Its id.
        space: SpaceId,
    },
    /// Makes an invite.
    Invite {
        /// The space.
        space: SpaceId,
        /// Public half of a fresh key.
        key: InviteKey,
        /// The role that joining gives.
        role: Role,
        /// How many may join.
        uses: u32,
        /// How long it lives, in milliseconds.
        life_ms: u64,
    },
    /// Takes in a device that asks on the join ALPN.
    Accept {
        /// The space that it names.
        space: SpaceId,
        /// The invite that it names.
        invite: InviteKey,
        /// The device that QUIC authenticated.
        device: DeviceId,
        /// What people call it.
        name: String,
        /// Its proof.
        proof: Signature,
    },
    /// Tells the members what the disk of this device's folder does not tell apart in names, unless they know.
    TellDisk {
        /// The space.
        space: SpaceId,
        /// What it does not.
        folds: Folds,
    },
    /// Binds a directory to a space.
    AddFolder {
        /// The row.
        row: FolderRow,
    },
    /// Unbinds a directory.
    RemoveFolder {
        /// Its handle.
        folder: u32,
    },
    /// Remembers where a peer was met.
    MetPeer {
        /// The peer.
        device: DeviceId,
        /// The host's encoding of its addresses.
        addresses: Vec<u8>,
    },
}

/// What came of a command or edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ok,
    /// A space, by its id.
    Space(SpaceId),
    /// A folder, by its handle.
    Folder(u32),
    /// A device was taken in, or was already.
    Accepted {
        /// What people call the space.
        space_name: String,
        /// What people call this device.
        host_name: String,
    },
    /// Edits: how far the order of arrival is now, and which of them were based on a state that is gone.
    Edited {
        /// Commits in the order of arrival.
        arrivals: u64,
        /// Indices of edits that must be made again.
        stale: Vec<usize>,
    },
}

/// Why a command or edit was not done; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No such space here.
    #[error("the space is not known here")]
    NoSpace,
    /// Our own role does not allow it.
    #[error("this device's role does not allow this: {0}")]
    NotAllowed(String),
    /// The joiner is turned away.
    #[error(transparent)]
    Invite(InviteRefusal),
    /// A name that cannot be stored.
    #[error("a name is empty, too long or not printable")]
    Name,
    /// Our own commit does not stand: a fault of this program.
    #[error("the edit does not stand: {0}")]
    Fault(String),
}

impl Engine {
    pub(super) fn command(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        command: Command,
    ) -> Result<Result<Outcome, Refused>, EngineError> {
        // A stranger's request that is turned away must not cost a write, nor what is known: these say when they write.
        self.dirty |= !matches!(command, Command::Accept { .. } | Command::TellDisk { .. });
        match command {
            Command::CreateSpace { name, device_name, random, epoch } => {
                self.create_space(tables, now, name, device_name, random, epoch)
            }
            Command::AddSpace { space, host, epoch } => self.add_space(tables, space, vec![host], epoch),
            Command::LeaveSpace { space } => self.leave_space(tables, space),
            Command::Invite { space, key, role, uses, life_ms } => {
                let expires_ms = now.wall_ms + life_ms.min(limits::INVITE_LIFE_MS_MAX);
                let op = MemberOp::Invite { key, role, uses, expires_ms };
                let Some(handle) = self.space_of(&space) else {
                    return Ok(Err(Refused::NoSpace));
                };
                let invited = self.membership(tables, now, handle, op)?.map(|()| Outcome::Ok);
                probe::reach("engine.invited");
                Ok(invited)
            }
            Command::Accept { space, invite, device, name, proof } => {
                self.accept(tables, now, space, invite, device, name, proof)
            }
            Command::TellDisk { space, folds } => self.tell_disk(tables, now, space, folds),
            Command::AddFolder { row } => {
                let Some(handle) = self.space_of(&row.space) else {
                    return Ok(Err(Refused::NoSpace));
                };
                let folder = tables.next_handle("folders", 1)? as u32;
                tables.put_folder(folder, &row)?;
                probe::reach("engine.folder-added");
                let space = self.spaces.get_mut(&handle).expect("found by its id");
                space.has_folder = true;
                space.settled = false;
                Ok(Ok(Outcome::Folder(folder)))
            }
            Command::RemoveFolder { folder } => {
                let removed = tables.folders()?.into_iter().find(|(handle, _)| *handle == folder);
                tables.remove_folder(folder)?;
                if let Some(handle) = removed.and_then(|(_, row)| self.space_of(&row.space)) {
                    let space = self.spaces.get_mut(&handle).expect("found by its id");
                    space.has_folder = false;
                    space.settled = true;
                }
                Ok(Ok(Outcome::Ok))
            }
            Command::MetPeer { device, addresses } => {
                tables.put_peer(&device, &addresses)?;
                Ok(Ok(Outcome::Ok))
            }
        }
    }

    fn create_space(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        space_name: String,
        device_name: String,
        random: [u8; 32],
        epoch: InstallEpoch,
    ) -> Result<Result<Outcome, Refused>, EngineError> {
        if !crate::member::is_good_name(&space_name) || !crate::member::is_good_name(&device_name) {
            return Ok(Err(Refused::Name));
        }
        let genesis = MemberOp::Genesis { device: self.device, random, space_name, device_name };
        let body = crate::commit::Body::Membership(vec![genesis.clone()]);
        let encoded = body.encode().map_err(|_| StoreError::Row { table: "space" })?;
        let id = SpaceId::from_genesis(&encoded);
        if let Err(refused) = self.add_space(tables, id, Vec::new(), epoch)? {
            return Ok(Err(refused));
        }
        let handle = self.space_of(&id).expect("just added");
        probe::reach("engine.space-created");
        Ok(self.membership(tables, now, handle, genesis)?.map(|()| Outcome::Space(id)))
    }

    fn add_space(
        &mut self,
        tables: &mut Tables<'_>,
        id: SpaceId,
        bootstrap: Vec<DeviceId>,
        epoch: InstallEpoch,
    ) -> Result<Result<Outcome, Refused>, EngineError> {
        if self.space_of(&id).is_some() {
            return Ok(Ok(Outcome::Space(id)));
        }
        // A space that was left is taken up again under its old log.
        let left = tables.spaces()?.into_iter().find(|(_, row)| row.id == id);
        let (handle, row) = match left {
            Some((handle, mut row)) => {
                row.left = false;
                row.bootstrap = bootstrap;
                (handle, row)
            }
            None => {
                let row = SpaceRow::new(id, self.device, epoch, bootstrap);
                (tables.next_handle("spaces", 1)? as u32, row)
            }
        };
        tables.put_space(handle, &row)?;
        let mut space = Space::load(tables, handle, row)?;
        space.dirty = true;
        self.spaces.insert(handle, space);
        self.effects.push(Effect::Event(Event::Members { space: id }));
        self.greet_members(tables, handle)?;
        Ok(Ok(Outcome::Space(id)))
    }

    fn leave_space(&mut self, tables: &mut Tables<'_>, id: SpaceId) -> Result<Result<Outcome, Refused>, EngineError> {
        let Some(handle) = self.space_of(&id) else {
            return Ok(Err(Refused::NoSpace));
        };
        if let Some(mut space) = self.spaces.remove(&handle) {
            space.row.left = true;
            tables.put_space(handle, &space.row)?;
        }
        // Peers go on with what they were told of the space for as long as the session lasts. So it ends: what else is shared
        // goes on in a new one, and whoever takes the space up again is greeted anew.
        let told = self.sessions.iter().filter(|(_, state)| state.greeted.contains(&handle));
        for session in told.map(|(session, _)| *session).collect::<Vec<_>>() {
            self.close(session, CloseCode::Shutdown, "a space was left");
        }
        self.effects.push(Effect::Event(Event::Members { space: id }));
        Ok(Ok(Outcome::Ok))
    }

    /// Appends one membership operation of our own.
    fn membership(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        handle: u32,
        op: MemberOp,
    ) -> Result<Result<(), Refused>, EngineError> {
        self.renew_if_outrun(tables, now, handle)?;
        let key = self.key.clone();
        let space = self.spaces.get_mut(&handle).expect("the caller found it");
        match space.append_membership(tables, &key, now.wall_ms, vec![op])? {
            Ok(()) => {
                self.wrote(handle);
                let id = self.spaces[&handle].row.id;
                self.effects.push(Effect::Event(Event::Members { space: id }));
                self.greet_members(tables, handle)?;
                Ok(Ok(()))
            }
            Err(CommitFault::Member(fault)) => Ok(Err(Refused::NotAllowed(fault.to_string()))),
            Err(fault) => Ok(Err(Refused::Fault(fault.to_string()))),
        }
    }

    fn tell_disk(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        id: SpaceId,
        folds: Folds,
    ) -> Result<Result<Outcome, Refused>, EngineError> {
        let Some(handle) = self.space_of(&id) else {
            return Ok(Err(Refused::NoSpace));
        };
        // Whoever was let in and has not heard of it yet says it later.
        if self.spaces[&handle].membership.folds_of(&self.device).is_none_or(|known| known == folds) {
            return Ok(Ok(Outcome::Ok));
        }
        self.dirty = true;
        Ok(self.membership(tables, now, handle, MemberOp::Disk { folds })?.map(|()| Outcome::Ok))
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    fn accept(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        id: SpaceId,
        invite: InviteKey,
        device: DeviceId,
        name: String,
        proof: Signature,
    ) -> Result<Result<Outcome, Refused>, EngineError> {
        let refuse = |refusal| Ok(Err(Refused::Invite(refusal)));
        let Some(handle) = self.space_of(&id) else {
            return refuse(InviteRefusal::Unknown);
        };
        let membership = &self.spaces[&handle].membership;
        let parts: [&[u8]; 2] = [&id.0, &device.0];
        if !verify(&invite.0, context::INVITE_PROOF, &parts, &proof) {
            return refuse(InviteRefusal::Proof);
        }
        // A joiner that lost the answer asks again, and gets it again.
        if membership.role(&device).is_none() {
            if let Err(refusal) = membership.check_invite(&invite, now.wall_ms) {
                return refuse(refusal);
            }
            if !crate::member::is_good_name(&name) {
                return refuse(InviteRefusal::Name);
            }
            let op = MemberOp::Accept { invite, device, name, proof };
            self.dirty = true;
            if let Err(refused) = self.membership(tables, now, handle, op)? {
                return Ok(Err(refused));
            }
            probe::reach("engine.accepted");
        }
        let membership = &self.spaces[&handle].membership;
        let host = membership.members().find(|(member, _)| **member == self.device);
        Ok(Ok(Outcome::Accepted {
            space_name: membership.space_name().unwrap_or_default().to_owned(),
            host_name: host.map(|(_, member)| member.name.clone()).unwrap_or_default(),
        }))
    }

    /// After commits of our own: they go out at once, and are announced.
    fn wrote(&mut self, handle: u32) {
        self.dirty = true;
        let space = self.spaces.get_mut(&handle).expect("the caller found it");
        space.wrote = true;
        // Membership counts for the folder too: it then agrees with one commit more.
        space.received = true;
    }

    /// Tells gossip about our newest commit; the commit goes with it where some member has a session with us and some have
    /// none.
    pub(super) fn announce(&mut self, tables: &Tables<'_>, handle: u32) -> Result<(), EngineError> {
        let space = &self.spaces[&handle];
        let Some(replica) = space.by_replica.get(&space.row.replica).copied() else {
            return Ok(());
        };
        let own = &space.replicas[&replica];
        let everybody_linked = space.membership.members().all(|(device, _)| {
            *device == self.device
                || self.sessions.values().any(|state| state.peer == *device && state.links.contains_key(&handle))
        });
        let mut announcement = Announcement {
            replica: space.row.replica,
            n: own.n,
            hash: own.hash,
            counter: space.announcements,
            commit: None,
        };
        // With nobody here it does not go: gossip may still have a neighbour, and a commit that leaves while this store
        // believes that it has not makes the store look like an old copy of itself.
        let carries = !everybody_linked && !self.sessions.is_empty();
        if carries && let Some(row) = tables.commit_row(handle, replica, own.n)? {
            let signed = row.with_body(tables.body(handle, replica, own.n)?);
            if signed.wire_len() <= limits::ANNOUNCE_INLINE_BYTES_MAX {
                announcement.commit = Some(signed);
            }
        }
        let carried = if announcement.commit.is_some() { announcement.n } else { 0 };
        if let Some(payload) = wire::encode_announcement(&announcement) {
            self.share(handle, carried);
            let space = &self.spaces[&handle];
            let space = space.row.id;
            self.effects.push(Effect::Announce { space, payload });
        }
        self.spaces.get_mut(&handle).expect("read above").announcements += 1;
        Ok(())
    }

    pub(super) fn edit(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        id: SpaceId,
        edits: Vec<Edit>,
    ) -> Result<Result<Outcome, Refused>, EngineError> {
        let Some(handle) = self.space_of(&id) else {
            return Ok(Err(Refused::NoSpace));
        };
        self.renew_if_outrun(tables, now, handle)?;
        let key = self.key.clone();
        let space = self.spaces.get_mut(&handle).expect("found by its id");
        let changed_before = space.changed.len();
        let mut items = Vec::new();
        let mut seen: BTreeMap<DocId, Vec<Item>> = BTreeMap::new();
        let mut writes = Vec::new();
        let mut stale = Vec::new();
        for (index, edit) in edits.into_iter().enumerate() {
            match space.current_items(tables, edit.items)? {
                Some(mut new) => {
                    // Two edits may come to the same change, as two deletes of one file do.
                    new.retain(|item| {
                        let of_doc: &mut Vec<Item> = seen.entry(item.doc()).or_default();
                        let is_new = !of_doc.contains(item);
                        of_doc.extend(is_new.then(|| item.clone()));
                        is_new
                    });
                    items.extend(new);
                    writes.extend(edit.writes);
                }
                None => stale.push(index),
            }
        }
        if !items.is_empty() {
            // Whatever comes of it: what is in memory and what is in the transaction stay the same.
            self.dirty = true;
            space.wrote = true;
            if let Err(fault) = space.append_items(tables, &key, now.wall_ms, items)? {
                return Ok(Err(match fault {
                    CommitFault::Role => Refused::NotAllowed("it may only read".into()),
                    fault => Refused::Fault(fault.to_string()),
                }));
            }
            // The folder made these: it follows already.
            space.changed.truncate(changed_before);
        }
        let arrivals = self.spaces[&handle].row.arrivals;
        self.write_rows(tables, handle, writes)?;
        Ok(Ok(Outcome::Edited { arrivals, stale }))
    }

    pub(super) fn write(
        &mut self,
        tables: &mut Tables<'_>,
        id: SpaceId,
        writes: Vec<Write>,
    ) -> Result<Result<Outcome, Refused>, EngineError> {
        let Some(handle) = self.space_of(&id) else {
            return Ok(Err(Refused::NoSpace));
        };
        self.write_rows(tables, handle, writes)?;
        probe::reach("engine.rows-written");
        Ok(Ok(Outcome::Ok))
    }

    fn write_rows(&mut self, tables: &mut Tables<'_>, space: u32, writes: Vec<Write>) -> Result<(), StoreError> {
        self.dirty |= !writes.is_empty();
        for write in writes {
            match write {
                Write::Base { folder, doc, row: Some(row) } => {
                    // A row from before the space was built again may name changes that are gone; its folder reads anew.
                    if knows_heads(tables, space, &doc, &row.heads)? {
                        tables.put_base(folder, &doc, &row)?;
                    }
                }
                Write::Base { folder, doc, row: None } => tables.remove_base(folder, &doc)?,
                Write::Entry { doc, heads, entry } => tables.put_entry(space, &doc, &heads, &entry)?,
                Write::Content { hash, chunks } => {
                    let mut offset = 0;
                    for chunk in &chunks {
                        tables.put_chunk(&chunk.hash, &hash, offset)?;
                        offset += u64::from(chunk.len);
                    }
                    tables.put_content(&hash, &encode_list(&chunks))?;
                }
                Write::Text { hash, text } => tables.put_text(&hash, &text)?,
                Write::Snapshot { handle, changes, bytes } => tables.put_doc_snapshot(handle, changes, &bytes)?,
                Write::CaughtUp { folder } => {
                    if let Some((_, mut row)) = tables.folders()?.into_iter().find(|(held, _)| *held == folder) {
                        row.caught_up = true;
                        tables.put_folder(folder, &row)?;
                    }
                }
                Write::Root { folder, root } => {
                    if let Some((_, mut row)) = tables.folders()?.into_iter().find(|(held, _)| *held == folder) {
                        row.root = root;
                        tables.put_folder(folder, &row)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a document has all these changes.
fn knows_heads(tables: &Tables<'_>, space: u32, doc: &DocId, heads: &[ChangeHash]) -> Result<bool, StoreError> {
    if heads.iter().all(|head| head.0 == doc.0) {
        return Ok(true);
    }
    let Some(row) = tables.document(space, doc)? else {
        return Ok(false);
    };
    for head in heads {
        if head.0 != doc.0 && tables.change_index(row.handle, head)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Space {
    /// The items of an edit that are not here yet; `None` when the edit is based on a state that is gone.
    fn current_items(&self, tables: &Tables<'_>, items: Vec<Item>) -> Result<Option<Vec<Item>>, StoreError> {
        let mut new = Vec::new();
        for item in items {
            let doc = item.doc();
            let Some(row) = tables.document(self.handle, &doc)? else {
                new.push(item);
                continue;
            };
            match &item {
                Item::Promotion { hash, .. } => {
                    if tables.change_index(row.handle, hash)?.is_none() {
                        new.push(item);
                    }
                }
                Item::Change { bytes, .. } => {
                    let Ok(head) = ChangeHead::read(bytes) else {
                        return Ok(None);
                    };
                    let known = head.hash.0 == doc.0 || tables.change_index(row.handle, &head.hash)?.is_some();
                    let own = self.by_replica.get(&self.row.replica);
                    let last = own.and_then(|own| row.last_of(*own));
                    if known {
                        continue;
                    }
                    if self.row.retired.iter().any(|(retired, _)| head.actor == retired.0) {
                        return Ok(None);
                    }
                    if head.actor == self.row.replica.0 && head.seq != last.map_or(0, |last| last.seq) + 1 {
                        return Ok(None);
                    }
                    new.push(item);
                }
            }
        }
        Ok(Some(new))
    }

    /// The document's row, for tests and tools that read through a turn.
    #[must_use]
    pub const fn handle(&self) -> u32 {
        self.handle
    }
}
