//! What the engine keeps in memory of one space.

use std::collections::{BTreeMap, BTreeSet};

use super::{fork::Losing, session::Link};
use crate::{
    commit::member_ops,
    ids::{CommitHash, DeviceId, DocId, ReplicaId, SpaceId, context, derive},
    member::{self, MemberCommit, Membership},
    store::{
        Rows, StoreError, Tables,
        row::{Clock, ForkRow, ReplicaRow, SpaceRow},
    },
    tree::Folds,
    version::{Tip, VersionVector},
};

/// A membership commit and where it stands in the graph.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) commit: MemberCommit,
    pub(super) replica: u32,
    pub(super) n: u64,
    pub(super) clock: Clock,
}

/// One space.
#[derive(Debug)]
pub struct Space {
    pub(super) handle: u32,
    pub(super) row: SpaceRow,
    pub(super) replicas: BTreeMap<u32, ReplicaRow>,
    pub(super) by_replica: BTreeMap<ReplicaId, u32>,
    pub(super) vector: VersionVector,
    pub(super) membership: Membership,
    /// Sorted so that a commit comes after its past, concurrent ones by hash.
    pub(super) member_commits: Vec<Placed>,
    /// Whether a folder is bound, which then says when it agrees.
    pub(super) has_folder: bool,
    pub(super) settled: bool,
    pub(super) repair_at: Option<u64>,
    pub(super) announcements: u64,
    /// Logs of which announcements told, and how long they said these are.
    pub(super) wanted: BTreeMap<ReplicaId, u64>,
    /// When they may be asked for.
    pub(super) ask_at: u64,
    /// Devices that showed a fork or another root, until the process ends.
    pub(super) faults: BTreeSet<DeviceId>,
    /// Logs that forked or ran ahead of their store, by replica and number of the first commit in question.
    pub(super) forks: BTreeMap<(ReplicaId, u64), ForkRow>,
    /// Branches that lost and are still here. The next turn sets them aside first; until then nothing of the space is
    /// sent.
    pub(super) losing: Vec<Losing>,
    /// A peer claims to have more of our own log than is here: the store may be a restored one.
    pub(super) outrun: bool,
    /// Commits of our own log came from elsewhere; before them it was so long here.
    pub(super) overtaken_at: Option<u64>,
    /// Whether our replica id was minted in this process, so that nobody can have more of its log than is here.
    pub(super) renewed: bool,
    /// Documents changed in this turn.
    pub(super) changed: Vec<DocId>,
    /// Whether commits of others came in in this turn.
    pub(super) received: bool,
    /// Whether commits of our own were made in this turn.
    pub(super) wrote: bool,
    pub(super) dirty: bool,
}

impl Space {
    /// A space of which nothing is held yet.
    pub(super) fn new(handle: u32, row: SpaceRow) -> Self {
        Self {
            handle,
            row,
            replicas: BTreeMap::new(),
            by_replica: BTreeMap::new(),
            vector: VersionVector::new(),
            membership: Membership::default(),
            member_commits: Vec::new(),
            has_folder: false,
            settled: true,
            repair_at: None,
            announcements: 0,
            wanted: BTreeMap::new(),
            ask_at: 0,
            faults: BTreeSet::new(),
            forks: BTreeMap::new(),
            losing: Vec::new(),
            outrun: false,
            overtaken_at: None,
            renewed: false,
            changed: Vec::new(),
            received: false,
            wrote: false,
            dirty: true,
        }
    }

    pub(super) fn load(rows: &impl Rows, handle: u32, row: SpaceRow) -> Result<Self, StoreError> {
        let mut space = Self::new(handle, row);
        space.dirty = false;
        for (replica, row) in rows.replica_rows(handle)? {
            space.by_replica.insert(row.id, replica);
            space.vector.advance(row.id, Tip::new(row.n, &row.hash));
            for (n, commit, body) in rows.membership_rows(handle, replica)? {
                let ops = member_ops(&body).ok_or(StoreError::Row { table: "body" })?;
                let placed = MemberCommit { hash: commit.hash(), author: row.device, ops };
                space.member_commits.push(Placed { commit: placed, replica, n, clock: commit.clock });
            }
            space.replicas.insert(replica, row);
        }
        space.forks = rows.fork_rows(&space.row.id)?.into_iter().map(|(replica, n, row)| ((replica, n), row)).collect();
        if rows.folder_spaces()?.contains(&space.row.id) {
            space.has_folder = true;
            space.settled = false;
        }
        space.sort_members();
        Ok(space)
    }

    /// Puts membership commits in an order that is the same everywhere, and evaluates them all.
    pub(super) fn sort_members(&mut self) {
        self.member_commits
            .sort_by_key(|placed| member::rank(placed.clock.iter().map(|(_, n)| *n), placed.commit.hash));
        let commits = self.member_commits.iter().map(|placed| &placed.commit);
        self.membership = Membership::at(commits);
    }

    /// Members as seen from a point of the graph, given as a clock.
    pub(super) fn membership_in(&self, past: &Clock) -> Membership {
        if self.member_commits.iter().all(|placed| is_in(past, placed.replica, placed.n)) {
            return self.membership.clone();
        }
        let commits = self
            .member_commits
            .iter()
            .filter(|placed| is_in(past, placed.replica, placed.n))
            .map(|placed| &placed.commit);
        Membership::at(commits)
    }

    /// The newest membership commits in a past, sorted by hash.
    pub(super) fn auth_heads(&self, past: &Clock) -> Vec<CommitHash> {
        // From the newest: what is in the past of none that came before here is in that of none at all.
        let mut covered: BTreeMap<u32, u64> = BTreeMap::new();
        let mut heads = Vec::new();
        for placed in self.member_commits.iter().rev().filter(|placed| is_in(past, placed.replica, placed.n)) {
            if covered.get(&placed.replica).is_none_or(|n| *n < placed.n) {
                heads.push(placed.commit.hash);
            }
            for (replica, n) in &placed.clock {
                let held = covered.entry(*replica).or_default();
                *held = (*held).max(*n);
            }
        }
        heads.sort_unstable();
        heads.truncate(crate::limits::AUTH_MAX);
        heads
    }

    /// Whether a peer may talk to us about this space: a member, or the inviter while we know no members.
    pub(super) fn admits(&self, device: &DeviceId) -> bool {
        self.membership.role(device).is_some()
            || (self.membership.space_name().is_none() && self.row.bootstrap.contains(device))
    }

    /// Commits of our own log.
    pub(super) fn own_len(&self) -> u64 {
        self.vector.len_of(&self.row.replica)
    }

    pub(super) fn flush(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        if self.dirty {
            tables.put_space(self.handle, &self.row)?;
            self.dirty = false;
        }
        Ok(())
    }

    pub(super) fn status<'a>(&self, own: DeviceId, links: impl Iterator<Item = (DeviceId, &'a Link)>) -> SpaceStatus {
        let links: BTreeMap<_, _> = links.collect();
        let peers = self
            .membership
            .members()
            .filter(|(device, _)| **device != own)
            .map(|(device, member)| {
                let link = links.get(device);
                PeerStatus {
                    device: *device,
                    name: member.name.clone(),
                    role: member.role,
                    linked: link.is_some(),
                    synced: self.settled && link.is_some_and(|link| link.is_synced(&self.vector)),
                    durable_here: link.is_some_and(|link| link.durable.covers(&self.vector)),
                    faulty: self.faults.contains(device),
                }
            })
            .collect();
        SpaceStatus {
            space: self.row.id,
            name: self.membership.space_name().map(ToOwned::to_owned),
            role: self.membership.role(&own),
            folds: self.membership.folds(),
            own_folds: self.membership.folds_of(&own),
            vector: self.vector.clone(),
            root: self.row.root,
            arrivals: self.row.arrivals,
            settled: self.settled,
            behind: links.values().any(|link| !self.vector.covers(&link.durable)),
            peers,
            bootstrap: self.row.bootstrap.clone(),
            replica: self.row.replica,
            forks: self
                .forks
                .iter()
                .map(|((replica, n), row)| ForkStatus {
                    device: row.device,
                    replica: *replica,
                    n: *n,
                    ours: row.ours,
                    set_aside: row.set_aside,
                    committed_again: row.committed_again,
                    wall_ms: row.wall_ms,
                })
                .collect(),
        }
    }
}

/// Whether commit `n` of a replica is in a past.
pub(super) fn is_in(past: &Clock, replica: u32, n: u64) -> bool {
    past.iter().any(|(held, len)| *held == replica && *len >= n)
}

/// What is known of one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceStatus {
    /// Its id.
    pub space: SpaceId,
    /// What people call it, once its genesis is here.
    pub name: Option<String>,
    /// Our own role.
    pub role: Option<crate::member::Role>,
    /// What some member's disk does not tell apart in names.
    pub folds: Folds,
    /// What our own does not, as the members know it; `None` while we are none.
    pub own_folds: Option<Folds>,
    /// What is committed here.
    pub vector: VersionVector,
    /// Root digest of that.
    pub root: [u8; 32],
    /// Commits in the order of arrival.
    pub arrivals: u64,
    /// Whether the folder agrees with the documents.
    pub settled: bool,
    /// Whether a peer that is here has something that we lack.
    pub behind: bool,
    /// The other members.
    pub peers: Vec<PeerStatus>,
    /// Who may be asked before any member is known.
    pub bootstrap: Vec<DeviceId>,
    /// Our own replica now.
    pub replica: ReplicaId,
    /// Logs that forked, and what was done about them here.
    pub forks: Vec<ForkStatus>,
}

/// A log of which two versions were found, as after a store was copied or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkStatus {
    /// Whose log.
    pub device: DeviceId,
    /// Under which replica.
    pub replica: ReplicaId,
    /// The first commit in question.
    pub n: u64,
    /// Whether it was our own log.
    pub ours: bool,
    /// Commits that were set aside here.
    pub set_aside: u64,
    /// How many of them were ours and were committed again.
    pub committed_again: u64,
    /// When, by this device's clock, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// What is known of one peer in one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub device: DeviceId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: crate::member::Role,
    /// Whether it has said where it stands.
    pub linked: bool,
    /// Whether both have the same commits on disk and both folders agree with them.
    pub synced: bool,
    /// Whether everything of ours is on its disk.
    pub durable_here: bool,
    /// Whether it showed a fork or another root.
    pub faulty: bool,
}

/// The term of a document in the root digest.
fn root_term(space: &SpaceId, doc: &DocId, heads: &[crate::ids::ChangeHash]) -> [u8; 32] {
    let mut parts: Vec<&[u8]> = vec![&space.0, &doc.0];
    parts.extend(heads.iter().map(|head| head.0.as_slice()));
    derive(context::ROOT, &parts)
}

/// Replaces a document's term in the root digest: a sum of 256-bit little-endian numbers.
pub(super) fn update_root(
    root: &mut [u8; 32],
    space: &SpaceId,
    doc: &DocId,
    old: Option<&[crate::ids::ChangeHash]>,
    new: &[crate::ids::ChangeHash],
) {
    if let Some(old) = old {
        subtract(root, &root_term(space, doc, old));
    }
    add(root, &root_term(space, doc, new));
}

fn add(sum: &mut [u8; 32], term: &[u8; 32]) {
    let mut carry = 0_u16;
    for (byte, term) in sum.iter_mut().zip(term) {
        let total = u16::from(*byte) + u16::from(*term) + carry;
        *byte = (total & 0xff) as u8;
        carry = total >> 8;
    }
}

fn subtract(sum: &mut [u8; 32], term: &[u8; 32]) {
    let mut negated = term.map(|byte| !byte);
    let mut one = [0; 32];
    one[0] = 1;
    add(&mut negated, &one);
    add(sum, &negated);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChangeHash;

    #[test]
    fn the_root_depends_on_the_set_and_not_on_the_order() {
        let space = SpaceId([1; 32]);
        let (a, b) = (DocId([2; 32]), DocId([3; 32]));
        let (old, new) = ([ChangeHash([4; 32])], [ChangeHash([5; 32])]);
        let mut left = [0; 32];
        update_root(&mut left, &space, &a, None, &old);
        update_root(&mut left, &space, &b, None, &new);
        update_root(&mut left, &space, &a, Some(&old), &new);
        let mut right = [0; 32];
        update_root(&mut right, &space, &b, None, &new);
        update_root(&mut right, &space, &a, None, &new);
        assert_eq!(left, right);
        subtract(&mut left, &root_term(&space, &a, &new));
        subtract(&mut left, &root_term(&space, &b, &new));
        assert_eq!(left, [0; 32]);
    }
}
