//! Takes commits in and appends our own.
//!
//! A commit is checked whole before anything of it is written: header, place in the graph, signature, role of its
//! author in its own causal past, and every change at the door. The verdict depends on the commit and its past alone,
//! so it is the same on every machine.

use std::collections::BTreeMap;

use super::space::{Placed, Space, is_in, update_root};
use crate::{
    commit::{Body, BodyKind, CommitError, Header, Item, Origin, RefusedCommit, SecretKey, Signed, Verified},
    doc::{DocError, entry::RootSpec, promotion},
    history::Bodies,
    ids::{ChangeHash, CommitHash, DeviceId, DocId, SpaceId},
    limits,
    member::{MemberCommit, MemberError, MemberOp, Role},
    preflight::{ChangeHead, Refusal},
    probe::{self, Plant, planted},
    store::{
        StoreError, Tables,
        row::{ChangeRow, Clock, CommitRow, DocRow, ReplicaRow},
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

/// Why a change is not let in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeFault {
    /// Not well formed, or above a bound.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The document is not there, and this is not its root.
    #[error("the document does not exist and this is not its root change")]
    NoDocument,
    /// Already there, and not one that several may make.
    #[error("the change is already there")]
    Repeated,
    /// Depends on something outside its causal past.
    #[error("it depends on a change outside its causal past")]
    Dependency,
    /// Neither the commit's replica nor a derived actor.
    #[error("its actor is not the commit's")]
    Actor,
    /// Not the next change of its actor.
    #[error("it is not the next change of its actor")]
    Sequence,
    /// The operation counter is not above the dependencies', or too far above.
    #[error("its operation counter does not follow its dependencies")]
    Counter,
    /// A derived change that its inputs do not derive.
    #[error(transparent)]
    Derived(#[from] DocError),
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
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitFault),
}

/// A document as a commit would leave it.
struct Draft {
    row: DocRow,
    old_heads: Option<Vec<ChangeHash>>,
    /// New changes with their index, and bytes where only their hash travels.
    added: Vec<(u32, ChangeRow, Option<Vec<u8>>)>,
    /// Changes that were here and that this commit also brings.
    brought: Vec<(u32, ChangeRow)>,
    /// Whether this commit brings the root, which it may then not promote: the verdict must not depend on whether
    /// somebody else brought the root here before.
    brings_root: bool,
}

/// Where a commit that is being checked stands.
struct Place<'a> {
    space: SpaceId,
    handle: u32,
    replica: u32,
    replica_id: [u8; 16],
    n: u64,
    past: &'a Clock,
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
                    space: self.row.id,
                    handle: self.handle,
                    replica,
                    replica_id: commit.header.replica.0,
                    n: commit.header.n,
                    past,
                };
                let mut drafts = BTreeMap::new();
                let mut bodies = Bodies::default();
                for (index, item) in items.iter().enumerate() {
                    place.draft(tables, &mut bodies, &mut drafts, item, index as u32)?;
                }
                Ok(drafts)
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

impl Place<'_> {
    /// Checks one item and adds what it does to the drafts.
    fn draft(
        &self,
        tables: &Tables<'_>,
        bodies: &mut Bodies,
        drafts: &mut BTreeMap<DocId, Draft>,
        item: &Item,
        index: u32,
    ) -> Result<(), Fault> {
        let doc = item.doc();
        let fault = |reason: ChangeFault| Fault::Commit(CommitFault::Change { doc, reason });
        if let std::collections::btree_map::Entry::Vacant(vacant) = drafts.entry(doc)
            && let Some(row) = tables.document(self.handle, &doc)?
        {
            let old_heads = Some(row.heads.clone());
            vacant.insert(Draft { row, old_heads, added: Vec::new(), brought: Vec::new(), brings_root: false });
        }
        let (bytes, derived) = match item {
            Item::Change { bytes, .. } => (bytes.clone(), false),
            Item::Promotion { of, hash, .. } => {
                let draft = drafts.get(&doc).ok_or_else(|| fault(ChangeFault::NoDocument))?;
                if of.0 != doc.0 || draft.brings_root {
                    return Err(fault(ChangeFault::Dependency));
                }
                if let Some(held) = draft.find(tables, hash)? {
                    let bytes = bodies.change(tables, self.handle, &draft.row, held)?;
                    let head = ChangeHead::read(&bytes).map_err(|error| fault(error.into()))?;
                    if head.deps != [*of] || !is_promotion(&head) {
                        return Err(fault(ChangeFault::Derived(DocError::NotAnEntry("not a promotion"))));
                    }
                    if self.dependencies(tables, draft, &head)?.is_none() {
                        return Err(fault(ChangeFault::Dependency));
                    }
                    return self.bring_again(tables, drafts, doc, held, index).map_err(Fault::from);
                }
                let root = bodies.change(tables, self.handle, &draft.row, 0)?;
                let made = promotion::of_root(&root).map_err(|error| fault(error.into()))?;
                if made.hash != *hash {
                    return Err(fault(ChangeFault::Derived(DocError::NotAnEntry("another promotion"))));
                }
                (made.bytes, true)
            }
        };
        let head = ChangeHead::read(&bytes).map_err(|error| fault(error.into()))?;
        let Some(draft) = drafts.get(&doc) else {
            self.check_root(doc, &head, &bytes).map_err(fault)?;
            drafts.insert(doc, self.new_document(&head, index));
            return Ok(());
        };
        if let Some(held) = draft.find(tables, &head.hash)? {
            // Only what several may make may come twice, and each time its own past must hold what it depends on.
            if head.hash.0 == doc.0 {
                if head.actor == self.replica_id {
                    return Err(fault(ChangeFault::Repeated));
                }
                self.check_root(doc, &head, &bytes).map_err(fault)?;
            } else if !is_promotion(&head) {
                return Err(fault(ChangeFault::Repeated));
            } else if self.dependencies(tables, draft, &head)?.is_none() || draft.brings_root {
                return Err(fault(ChangeFault::Dependency));
            }
            return self.bring_again(tables, drafts, doc, held, index).map_err(Fault::from);
        }
        let (deps, deps_max_op) =
            self.dependencies(tables, draft, &head)?.ok_or_else(|| fault(ChangeFault::Dependency))?;
        let counter_follows =
            head.start_op > deps_max_op && head.start_op <= deps_max_op.saturating_add(limits::CHANGE_COUNTER_JUMP_MAX);
        if !counter_follows {
            return Err(fault(ChangeFault::Counter));
        }
        let own = head.actor == self.replica_id;
        if own {
            if head.seq != draft.last_seq(self.replica) + 1 {
                return Err(fault(ChangeFault::Sequence));
            }
        } else if !derived {
            self.check_promotion(tables, bodies, draft, &head, &deps, &bytes).map_err(|error| match error {
                Ok(store) => Fault::Store(store),
                Err(reason) => fault(reason),
            })?;
        }
        let row = ChangeRow {
            hash: head.hash,
            deps,
            max_op: head.max_op(),
            commits: vec![(self.replica, self.n, index)],
            derived,
        };
        if let Some(draft) = drafts.get_mut(&doc) {
            draft.add(row, &head, derived.then_some(bytes), own.then_some(self.replica));
        }
        Ok(())
    }

    /// The first change of a document names it, and is either by the commit's replica or derived from its own values.
    fn check_root(&self, doc: DocId, head: &ChangeHead, bytes: &[u8]) -> Result<(), ChangeFault> {
        if head.hash.0 != doc.0 || !head.deps.is_empty() {
            return Err(ChangeFault::NoDocument);
        }
        if head.seq != 1 {
            return Err(ChangeFault::Sequence);
        }
        if head.actor != self.replica_id {
            RootSpec::verify(self.space, bytes)?;
        }
        Ok(())
    }

    fn new_document(&self, head: &ChangeHead, index: u32) -> Draft {
        let row = DocRow { handle: 0, heads: Vec::new(), changes: 0, seqs: Vec::new() };
        let mut draft = Draft { row, old_heads: None, added: Vec::new(), brought: Vec::new(), brings_root: true };
        let change = ChangeRow {
            hash: head.hash,
            deps: Vec::new(),
            max_op: head.max_op(),
            commits: vec![(self.replica, self.n, index)],
            derived: false,
        };
        let own = (head.actor == self.replica_id).then_some(self.replica);
        draft.add(change, head, None, own);
        draft
    }

    /// A derived change that is here comes by one more commit, which then also has it in its past.
    fn bring_again(
        &self,
        tables: &Tables<'_>,
        drafts: &mut BTreeMap<DocId, Draft>,
        doc: DocId,
        held: u32,
        index: u32,
    ) -> Result<(), StoreError> {
        let Some(draft) = drafts.get_mut(&doc) else {
            return Ok(());
        };
        draft.brings_root |= held == 0;
        if draft.is_added(held) {
            return Ok(());
        }
        let mut row = match draft.brought.iter().position(|(brought, _)| *brought == held) {
            Some(position) => draft.brought.swap_remove(position).1,
            None => tables.change(draft.row.handle, held)?,
        };
        row.commits.push((self.replica, self.n, index));
        draft.brought.push((held, row));
        Ok(())
    }

    /// Indices and the highest counter of what a change depends on; `None` when something is outside its past.
    fn dependencies(
        &self,
        tables: &Tables<'_>,
        draft: &Draft,
        head: &ChangeHead,
    ) -> Result<Option<(Vec<u32>, u64)>, StoreError> {
        if head.deps.is_empty() {
            return Ok(None);
        }
        let mut deps = Vec::with_capacity(head.deps.len());
        let mut max_op = 0;
        for dep in &head.deps {
            let Some(index) = draft.find(tables, dep)? else {
                return Ok(None);
            };
            let row = match draft.row_of(index) {
                Some(row) => row.clone(),
                None => tables.change(draft.row.handle, index)?,
            };
            let in_past = row
                .commits
                .iter()
                .any(|(replica, n, _)| is_in(self.past, *replica, *n) || (*replica == self.replica && *n == self.n));
            if !in_past && !planted(Plant::DependencyOutsidePast) {
                return Ok(None);
            }
            max_op = max_op.max(row.max_op);
            deps.push(index);
        }
        Ok(Some((deps, max_op)))
    }

    /// A promotion that travels as bytes is made again and compared.
    fn check_promotion(
        &self,
        tables: &Tables<'_>,
        bodies: &mut Bodies,
        draft: &Draft,
        head: &ChangeHead,
        deps: &[u32],
        bytes: &[u8],
    ) -> Result<(), Result<StoreError, ChangeFault>> {
        let &[dep] = deps else {
            return Err(Err(ChangeFault::Actor));
        };
        if !is_promotion(head) {
            return Err(Err(ChangeFault::Actor));
        }
        if draft.is_added(dep) || draft.brings_root {
            // What it promotes came in this very commit: nobody edits what nobody has.
            return Err(Err(ChangeFault::Dependency));
        }
        let history = bodies.closure(tables, self.handle, &draft.row, dep).map_err(Ok)?;
        promotion::verify(history, bytes).map_err(|error| Err(error.into()))
    }
}

impl Draft {
    fn add(&mut self, row: ChangeRow, head: &ChangeHead, derived: Option<Vec<u8>>, own: Option<u32>) {
        self.row.heads.retain(|held| !head.deps.contains(held));
        self.row.heads.push(head.hash);
        self.row.heads.sort_unstable();
        if let Some(replica) = own {
            match self.row.seqs.iter_mut().find(|(held, _)| *held == replica) {
                Some((_, seq)) => *seq = head.seq,
                None => self.row.seqs.push((replica, head.seq)),
            }
        }
        self.added.push((self.row.changes, row, derived));
        self.row.changes += 1;
    }

    fn last_seq(&self, replica: u32) -> u64 {
        let held = self.row.seqs.iter().find(|(held, _)| *held == replica);
        held.map_or(0, |(_, seq)| *seq)
    }

    fn row_of(&self, index: u32) -> Option<&ChangeRow> {
        let added = self.added.iter().map(|(index, row, _)| (index, row));
        let brought = self.brought.iter().map(|(index, row)| (index, row));
        added.chain(brought).find_map(|(held, row)| (*held == index).then_some(row))
    }

    /// Whether a change is new with this commit.
    fn is_added(&self, index: u32) -> bool {
        self.added.iter().any(|(added, ..)| *added == index)
    }

    /// The index of a change, in the draft or in the store.
    fn find(&self, tables: &Tables<'_>, hash: &ChangeHash) -> Result<Option<u32>, StoreError> {
        if let Some((index, ..)) = self.added.iter().find(|(_, row, _)| row.hash == *hash) {
            return Ok(Some(*index));
        }
        if self.old_heads.is_none() {
            return Ok(None);
        }
        if tables.change(self.row.handle, 0)?.hash == *hash {
            return Ok(Some(0));
        }
        tables.change_index(self.row.handle, hash)
    }
}

/// Whether a change claims to be the promotion of the one change that it depends on; whoever took it in first has made
/// it again to see.
pub(super) fn is_promotion(head: &ChangeHead) -> bool {
    matches!(head.deps[..], [of] if head.seq == 1 && head.actor == promotion::actor(of).0)
}

/// Puts commit `n` of a replica, and all before it, into a past.
fn advance(past: &mut Clock, replica: u32, n: u64) {
    match past.iter_mut().find(|(held, _)| *held == replica) {
        Some((_, held)) => *held = (*held).max(n),
        None => past.push((replica, n)),
    }
}
