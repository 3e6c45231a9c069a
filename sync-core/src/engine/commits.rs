//! Takes commits in and appends our own.
//!
//! A commit is checked whole before anything of it is written: header, place in the graph, signature, role of its
//! author in its own causal past, and every change at the [`door`](super::door). The verdict depends on the commit and
//! its past alone, so it is the same on every machine.

use std::collections::BTreeMap;

use super::{
    door::{ChangeFault, Draft, Place},
    space::{Placed, Space, is_in, update_root},
};
use crate::{
    commit::{Body, BodyKind, CommitError, Header, Item, Origin, RefusedCommit, SecretKey, Signed, Verified},
    ids::{CommitHash, DeviceId, DocId, SpaceId},
    limits,
    member::{MemberCommit, MemberError, MemberOp, Role},
    probe::{self, Plant, planted},
    store::{
        StoreError, Tables,
        row::{Clock, CommitRow, ReplicaRow},
    },
    version::Tip,
};

/// Why a commit can never be accepted: its author's fault, or that of whoever made it up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitFault {
    /// Header, signature or body.
    #[error(transparent)]
    Commit(#[from] RefusedCommit),
    /// Of another space.
    #[error("the commit is of another space")]
    OtherSpace,
    /// The author's own last commit is not in its past.
    #[error("the author's own last commit is not in its past")]
    OwnPast,
    /// It names other membership commits than the newest in its past.
    #[error("the commit names the wrong membership commits")]
    Auth,
    /// The author may not do this.
    #[error("the author is not a member, or its role does not allow this")]
    Role,
    /// A membership operation that does not count.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// A change that the door does not let in.
    #[error("change of document {doc}: {reason}")]
    Change {
        /// The document.
        doc: DocId,
        /// Why.
        reason: ChangeFault,
    },
    /// More replicas than a space may have.
    #[error("the space has too many replicas")]
    TooManyReplicas,
}

impl From<CommitError> for CommitFault {
    fn from(error: CommitError) -> Self {
        Self::Commit(error.into())
    }
}

/// What became of a commit that came in.
#[derive(Debug)]
pub(super) enum TakenIn {
    /// It is new and now part of the turn.
    New,
    /// It was here already.
    Known,
    /// Something in its past is not here.
    Missing,
    /// The replica has another commit of this number here.
    Fork,
    /// It can never be accepted.
    Refused(CommitFault),
}

/// A check that failed: the store's fault ends the turn, the commit's ends the commit.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitFault),
}

impl Space {
    /// Checks a commit from elsewhere and writes it.
    pub(super) fn take_in(&mut self, tables: &mut Tables<'_>, signed: &Signed) -> Result<TakenIn, StoreError> {
        match self.try_take_in(tables, signed) {
            Ok(taken) => Ok(taken),
            Err(Fault::Store(error)) => Err(error),
            Err(Fault::Commit(fault)) => Ok(TakenIn::Refused(fault)),
        }
    }

    fn try_take_in(&mut self, tables: &mut Tables<'_>, signed: &Signed) -> Result<TakenIn, Fault> {
        let header = Header::decode(&signed.header).map_err(CommitFault::from)?;
        if header.space != self.row.id {
            return Err(CommitFault::OtherSpace.into());
        }
        if self.kept_at(&header.replica, header.n).is_some_and(|kept| kept.hash() != signed.hash()) {
            return Ok(TakenIn::Fork);
        }
        let known = self.by_replica.get(&header.replica).copied();
        let held = known.map_or(0, |replica| self.replicas[&replica].n);
        if header.n <= held {
            let replica = known.unwrap_or_default();
            let row = tables.commit_row(self.handle, replica, header.n)?;
            let same = row.is_some_and(|row| row.hash() == signed.hash());
            return Ok(if same { TakenIn::Known } else { TakenIn::Fork });
        }
        if header.n > held + 1 {
            return Ok(TakenIn::Missing);
        }
        let Some(mut past) = self.past_of(tables, &header.parents)? else {
            return Ok(TakenIn::Missing);
        };
        let device = match (&header.origin, known) {
            (Some(origin), None) => origin.device,
            (None, Some(replica)) => self.replicas[&replica].device,
            _ => return Err(CommitFault::OwnPast.into()),
        };
        // Handles of replicas that are new here are only given out once the commit stands.
        let replica = known.unwrap_or_else(|| self.next_replica());
        if held > 0 && !is_in(&past, replica, held) {
            return Err(CommitFault::OwnPast.into());
        }
        if known.is_none() && self.replicas.len() >= limits::REPLICAS_MAX {
            return Err(CommitFault::TooManyReplicas.into());
        }
        let verified = signed.verify(header, device).map_err(CommitFault::from)?;
        let drafts = self.check(tables, &verified, device, replica, &past)?;
        advance(&mut past, replica, verified.header.n);
        let author = Author { device, replica };
        self.write(tables, signed, &verified, author, past, drafts)?;
        probe::reach("engine.taken-in");
        if verified.header.replica == self.row.replica {
            self.overtaken_at.get_or_insert(held);
        }
        Ok(TakenIn::New)
    }

    fn next_replica(&self) -> u32 {
        self.replicas.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    /// The union of the pasts of some commits; `None` when one is not here.
    fn past_of(&self, tables: &Tables<'_>, parents: &[CommitHash]) -> Result<Option<Clock>, StoreError> {
        let mut past = Clock::new();
        for parent in parents {
            let Some((replica, n)) = tables.commit_by_hash(self.handle, parent)? else {
                if planted(Plant::DropParentCheck) {
                    continue;
                }
                return Ok(None);
            };
            let row = tables.commit_row(self.handle, replica, n)?.ok_or(StoreError::Row { table: "commit" })?;
            for (replica, n) in row.clock {
                advance(&mut past, replica, n);
            }
        }
        Ok(Some(past))
    }

    /// Role of the author, membership operations, and every change.
    fn check(
        &self,
        tables: &Tables<'_>,
        commit: &Verified,
        author: DeviceId,
        replica: u32,
        past: &Clock,
    ) -> Result<BTreeMap<DocId, Draft>, Fault> {
        if commit.header.auth != self.auth_heads(past) {
            return Err(CommitFault::Auth.into());
        }
        let mut membership = self.membership_in(past);
        match &commit.body {
            Body::Membership(ops) => {
                if let [MemberOp::Genesis { .. }] = ops.as_slice() {
                    let body = commit.body.encode().map_err(RefusedCommit::from).map_err(CommitFault::from)?;
                    let founds = commit.header.parents.is_empty() && SpaceId::from_genesis(&body) == self.row.id;
                    if !founds {
                        return Err(CommitFault::Member(MemberError::Genesis).into());
                    }
                }
                membership.apply(self.row.id, author, ops).map_err(CommitFault::from)?;
                Ok(BTreeMap::new())
            }
            Body::Changes(items) => {
                if membership.role(&author).is_none_or(|role| role < Role::Writer) && !planted(Plant::AcceptReader) {
                    return Err(CommitFault::Role.into());
                }
                let place = Place {
                    tables,
                    space: self.row.id,
                    handle: self.handle,
                    replica,
                    replica_id: commit.header.replica.0,
                    n: commit.header.n,
                    past,
                };
                let mut drafts = place.open(items)?;
                for (index, item) in items.iter().enumerate() {
                    place.draft(&mut drafts, item, index as u32)?;
                }
                Ok(drafts.by_doc)
            }
        }
    }

    /// Writes a commit that stands, and brings everything that follows from it up to date.
    fn write(
        &mut self,
        tables: &mut Tables<'_>,
        signed: &Signed,
        commit: &Verified,
        author: Author,
        clock: Clock,
        drafts: BTreeMap<DocId, Draft>,
    ) -> Result<(), StoreError> {
        let Author { device, replica } = author;
        let header = &commit.header;
        let row = CommitRow {
            header: signed.header.clone(),
            signature: signed.signature,
            arrival: self.row.arrivals,
            clock,
            membership: header.kind == BodyKind::Membership,
        };
        tables.put_commit(self.handle, replica, header.n, &row, &signed.body)?;
        self.row.arrivals += 1;
        self.row.heads.retain(|head| !header.parents.contains(head));
        self.row.heads.push(commit.hash);
        self.row.heads.sort_unstable();
        let log = ReplicaRow { id: header.replica, device, n: header.n, hash: commit.hash };
        tables.put_replica(self.handle, replica, &log)?;
        self.by_replica.insert(header.replica, replica);
        self.replicas.insert(replica, log);
        self.vector.advance(header.replica, Tip::new(header.n, &commit.hash));
        self.dirty = true;
        if let Body::Membership(ops) = &commit.body {
            let placed = MemberCommit { hash: commit.hash, author: device, ops: ops.clone() };
            self.member_commits.push(Placed { commit: placed, replica, n: header.n, clock: row.clock });
            self.sort_members();
        }
        self.write_drafts(tables, drafts)
    }

    fn write_drafts(&mut self, tables: &mut Tables<'_>, drafts: BTreeMap<DocId, Draft>) -> Result<(), StoreError> {
        let new = drafts.values().filter(|draft| draft.old_heads.is_none()).count() as u64;
        let mut handle = if new > 0 { tables.next_handle("documents", new)? } else { 0 };
        for (doc, mut draft) in drafts {
            if draft.old_heads.is_none() {
                draft.row.handle = handle;
                handle += 1;
            }
            for (index, row) in &draft.brought {
                tables.put_change(draft.row.handle, *index, row)?;
            }
            if draft.added.is_empty() {
                continue;
            }
            for (index, row, derived) in &draft.added {
                tables.put_change(draft.row.handle, *index, row)?;
                if row.hash.0 != doc.0 {
                    tables.put_change_index(draft.row.handle, &row.hash, *index)?;
                }
                if let Some(bytes) = derived {
                    tables.put_derived(draft.row.handle, *index, bytes)?;
                }
            }
            for ((actor, max_op), (index, summary)) in &draft.made {
                tables.put_made(draft.row.handle, actor, *max_op, *index, &summary.encode())?;
            }
            tables.put_document(self.handle, &doc, &draft.row)?;
            let old = draft.old_heads.as_deref();
            if old.is_none() || !planted(Plant::RootNotUpdated) {
                update_root(&mut self.row.root, &self.row.id, &doc, old, &draft.row.heads);
            }
            self.changed.push(doc);
        }
        Ok(())
    }

    /// Appends a commit of our own; the caller has checked that it stands.
    fn append(
        &mut self,
        tables: &mut Tables<'_>,
        key: &SecretKey,
        wall_ms: u64,
        body: &Body,
    ) -> Result<Result<(), CommitFault>, StoreError> {
        match self.try_append(tables, key, wall_ms, body) {
            Ok(()) => Ok(Ok(())),
            Err(Fault::Commit(fault)) => Ok(Err(fault)),
            Err(Fault::Store(error)) => Err(error),
        }
    }

    fn try_append(&mut self, tables: &mut Tables<'_>, key: &SecretKey, wall_ms: u64, body: &Body) -> Result<(), Fault> {
        while self.row.heads.len() > limits::PARENTS_MAX {
            // Joins the first heads, so that the next commit has everything in its past.
            let parents = self.row.heads[..limits::PARENTS_MAX].to_vec();
            self.append_on(tables, key, wall_ms, &Body::Changes(Vec::new()), parents)?;
        }
        self.append_on(tables, key, wall_ms, body, self.row.heads.clone())
    }

    fn append_on(
        &mut self,
        tables: &mut Tables<'_>,
        key: &SecretKey,
        wall_ms: u64,
        body: &Body,
        mut parents: Vec<CommitHash>,
    ) -> Result<(), Fault> {
        let known = self.by_replica.get(&self.row.replica).copied();
        let replica = known.unwrap_or_else(|| self.next_replica());
        let own = known.map(|replica| self.replicas[&replica].clone());
        let n = own.as_ref().map_or(1, |own| own.n + 1);
        let mut past = self.past_of(tables, &parents)?.ok_or(StoreError::Row { table: "by_hash" })?;
        if let Some(own) = own.filter(|own| !is_in(&past, replica, own.n)) {
            // Only a join of many heads can leave our own last commit out.
            parents.pop();
            parents.push(own.hash);
            parents.sort_unstable();
            past = self.past_of(tables, &parents)?.ok_or(StoreError::Row { table: "by_hash" })?;
        }
        let encoded = body.encode().map_err(RefusedCommit::from).map_err(CommitFault::from)?;
        let header = Header {
            space: self.row.id,
            replica: self.row.replica,
            n,
            parents,
            auth: self.auth_heads(&past),
            kind: body.kind(),
            body_hash: Body::hash(&encoded),
            body_len: encoded.len() as u32,
            wall_ms,
            origin: (n == 1).then_some(Origin { device: key.device(), epoch: self.row.epoch }),
        };
        let signed = Signed::create(&header, body, key).map_err(RefusedCommit::from).map_err(CommitFault::from)?;
        let verified = Verified { hash: signed.hash(), header, body: body.clone() };
        let drafts = self.check(tables, &verified, key.device(), replica, &past)?;
        advance(&mut past, replica, n);
        let author = Author { device: key.device(), replica };
        self.write(tables, &signed, &verified, author, past, drafts)?;
        probe::reach("engine.appended");
        Ok(())
    }

    /// Appends membership operations.
    pub(super) fn append_membership(
        &mut self,
        tables: &mut Tables<'_>,
        key: &SecretKey,
        wall_ms: u64,
        ops: Vec<MemberOp>,
    ) -> Result<Result<(), CommitFault>, StoreError> {
        self.append(tables, key, wall_ms, &Body::Membership(ops))
    }

    /// Appends changes to documents in as few commits as their bounds allow.
    pub(super) fn append_items(
        &mut self,
        tables: &mut Tables<'_>,
        key: &SecretKey,
        wall_ms: u64,
        items: Vec<Item>,
    ) -> Result<Result<(), CommitFault>, StoreError> {
        let mut batch = Vec::new();
        let mut len = 0;
        for item in items {
            let full = len + item.encoded_len() > limits::BODY_BYTES_MAX - 64 || batch.len() == limits::BODY_ITEMS_MAX;
            if full && !batch.is_empty() {
                let body = Body::Changes(std::mem::take(&mut batch));
                if let Err(fault) = self.append(tables, key, wall_ms, &body)? {
                    return Ok(Err(fault));
                }
                len = 0;
            }
            len += item.encoded_len();
            batch.push(item);
        }
        if batch.is_empty() {
            return Ok(Ok(()));
        }
        self.append(tables, key, wall_ms, &Body::Changes(batch))
    }
}

/// Who wrote a commit, and the handle of the log.
#[derive(Clone, Copy)]
struct Author {
    device: DeviceId,
    replica: u32,
}

/// Puts commit `n` of a replica, and all before it, into a past.
fn advance(past: &mut Clock, replica: u32, n: u64) {
    match past.iter_mut().find(|(held, _)| *held == replica) {
        Some((_, held)) => *held = (*held).max(n),
        None => past.push((replica, n)),
    }
}
