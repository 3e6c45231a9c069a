//! The rows of the store. Every value is postcard; `docs/STORAGE.md` says what each table is for.

use serde::{Deserialize, Serialize};

use crate::{
    commit::{Signature, Signed, SignedHeader},
    doc::entry::Kind,
    ids::{ChangeHash, CommitHash, ContentHash, DeviceId, DocId, InstallEpoch, ReplicaId, SpaceId, context, derive},
    limits,
};

/// A space that this device is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceRow {
    /// Its id.
    pub id: SpaceId,
    /// Our own replica in it.
    pub replica: ReplicaId,
    /// The epoch that our replica id was minted under.
    pub epoch: InstallEpoch,
    /// Commits that no other commit held here has among its parents, sorted.
    pub heads: Vec<CommitHash>,
    /// Root digest of all (document, heads).
    pub root: [u8; 32],
    /// Next number in the order of arrival.
    pub arrivals: u64,
    /// Who may talk to us about this space before its genesis is here: the inviter.
    pub bootstrap: Vec<DeviceId>,
    /// Whether this device left; nothing is exchanged any more.
    pub left: bool,
    /// The last commit of our own replica that may have left this machine. What is behind it nobody else can have.
    pub shared: u64,
    /// Replicas that were ours in this store, and how many of their commits were made here.
    pub retired: Vec<(ReplicaId, u64)>,
}

impl SpaceRow {
    /// The row of a space of which nothing is held, under a replica of this device.
    #[must_use]
    pub fn new(id: SpaceId, device: DeviceId, epoch: InstallEpoch, bootstrap: Vec<DeviceId>) -> Self {
        Self {
            id,
            replica: ReplicaId::derive(device, id, epoch),
            epoch,
            heads: Vec::new(),
            root: [0; 32],
            arrivals: 0,
            bootstrap,
            left: false,
            shared: 0,
            retired: Vec::new(),
        }
    }

    /// How many commits of a log were made in this store; `held` is how many of it there are.
    #[must_use]
    pub fn own_until(&self, replica: &ReplicaId, held: u64) -> u64 {
        if *replica == self.replica {
            return held;
        }
        self.retired.iter().find(|(retired, _)| retired == replica).map_or(0, |(_, n)| *n)
    }
}

/// A log that forked, or ran ahead of its own store: what was found and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkRow {
    /// Whose log.
    pub device: DeviceId,
    /// The header of the branch that stays, where two were seen.
    pub kept: Option<SignedHeader>,
    /// Whether the log was ours.
    pub ours: bool,
    /// Commits that were set aside here: the other branch and all that depends on it.
    pub set_aside: u64,
    /// How many of them were ours and were committed again.
    pub committed_again: u64,
    /// Under which handle of a space the set aside commits rest.
    pub aside: Option<u32>,
    /// When, by this device's clock, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// A replica of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRow {
    /// Its id.
    pub id: ReplicaId,
    /// The device that signs its log.
    pub device: DeviceId,
    /// Length of its log here.
    pub n: u64,
    /// Hash of the last commit.
    pub hash: CommitHash,
}

/// How many commits of each replica, by handle, are in a commit's past, itself included.
pub type Clock = Vec<(u32, u64)>;

/// A commit without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRow {
    /// The header exactly as signed.
    #[serde(with = "serde_bytes")]
    pub header: Vec<u8>,
    /// Its signature.
    pub signature: Signature,
    /// Its place in the order of arrival.
    pub arrival: u64,
    /// Its causal past.
    pub clock: Clock,
    /// Whether its body is of membership operations.
    pub membership: bool,
}

impl CommitRow {
    /// The hash of the commit.
    #[must_use]
    pub fn hash(&self) -> CommitHash {
        CommitHash(derive(context::COMMIT, &[&self.header]))
    }

    /// The header as it travels alone.
    #[must_use]
    pub fn signed_header(&self) -> SignedHeader {
        SignedHeader { header: self.header.clone(), signature: self.signature }
    }

    /// The commit as it travels.
    #[must_use]
    pub fn with_body(self, body: crate::commit::PackedBody) -> Signed {
        Signed { header: self.header, signature: self.signature, body }
    }
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocRow {
    /// Key of its changes.
    pub handle: u64,
    /// Changes that no other change of it depends on, sorted.
    pub heads: Vec<ChangeHash>,
    /// How many changes it has.
    pub changes: u32,
    /// How many operations these have together.
    pub ops: u64,
    /// The last change of each replica that changed it.
    pub lasts: Vec<LastChange>,
}

impl DocRow {
    /// The last change by a replica, given by its handle.
    #[must_use]
    pub fn last_of(&self, replica: u32) -> Option<&LastChange> {
        self.lasts.iter().find(|last| last.replica == replica)
    }
}

/// The last change of a document by one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    /// The replica, by handle.
    pub replica: u32,
    /// Its number among the replica's changes of the document.
    pub seq: u64,
    /// Its index.
    pub index: u32,
}

/// A change of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRow {
    /// Its hash.
    pub hash: ChangeHash,
    /// Indices of the changes it depends on.
    pub deps: Vec<u32>,
    /// Counter of its last operation.
    pub max_op: u64,
    /// How many operations it has.
    pub ops: u64,
    /// The commits that brought it: replica handle, number, and index in the body. A derived change may come by several.
    pub commits: Vec<(u32, u64, u32)>,
    /// Whether its bytes rest in table `derived` and not in the body.
    pub derived: bool,
}

/// A directory on disk that is bound to a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderRow {
    /// The space.
    pub space: SpaceId,
    /// Absolute path of the directory.
    pub path: String,
    /// What people call it here.
    pub name: String,
    /// Device number and inode of the root when it was bound: another root there is not this folder.
    pub root: (u64, u64),
    /// Whether the first catch-up is over, so that files which are already here may be taken in.
    pub caught_up: bool,
}

/// What a file looked like when it was last seen, apart from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Time of birth in nanoseconds since 1970, 0 where the file system keeps none; tells a moved file from one that
    /// got the inode of a deleted one.
    pub btime_ns: i64,
    /// Inode.
    pub inode: u64,
    /// Device number of the file system.
    pub device: u64,
    /// Executable by its owner.
    pub exec: bool,
}

impl Stat {
    /// Whether the bytes cannot have changed between two looks, as far as a look can tell.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        (self.size, self.mtime_ns, self.inode, self.device) == (other.size, other.mtime_ns, other.inode, other.device)
    }

    /// Whether both looks saw one and the same file, wherever it was.
    #[must_use]
    pub fn same_file(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    /// How old a file must be until its time stamp moves with its bytes: as far as one stamp tells, by the step of all. The
    /// change time tells, for nobody can set that: a file that came from elsewhere has the other stamp from there.
    #[must_use]
    pub const fn step_ns(&self) -> i64 {
        const SECOND_NS: i64 = 1_000_000_000;
        if self.ctime_ns % SECOND_NS == 0 { limits::COARSE_NS } else { limits::RACY_NS }
    }

    /// Whether the next write may leave the change time as it is. One of the future, as after a clock was set back, is not
    /// what the next write gets.
    #[must_use]
    pub const fn is_racy(&self, wall_ns: i64) -> bool {
        wall_ns.saturating_sub(self.ctime_ns).saturating_abs() < self.step_ns()
    }

    /// When anything of the file changed last, by its time stamps.
    #[must_use]
    pub const fn changed_ns(&self) -> i64 {
        if self.mtime_ns > self.ctime_ns { self.mtime_ns } else { self.ctime_ns }
    }

    /// What stays when a file is renamed.
    #[must_use]
    pub const fn identity(&self) -> (u64, u64, i64) {
        (self.device, self.inode, self.btime_ns)
    }
}

/// Bytes that were about to be put at a path: after a crash both these and the base are ours. With the hash of the row
/// itself, an entry that was about to move there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Heads that the bytes were made of.
    pub heads: Vec<ChangeHash>,
    /// Hash of the bytes.
    pub hash: ContentHash,
    /// Directory and name that they go to.
    pub place: (Option<DocId>, String),
}

/// What disk and documents last agreed on for one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRow {
    /// What it is.
    pub kind: Kind,
    /// Directory that it is in.
    pub parent: Option<DocId>,
    /// Its name on this disk; another than the entry's where names clash.
    pub name: String,
    /// Heads of the document whose content is on disk.
    pub heads: Vec<ChangeHash>,
    /// Hash of the bytes; of the target for a link; zero for a directory.
    pub hash: ContentHash,
    /// As last seen on disk; `None` while only an intent exists.
    pub stat: Option<Stat>,
    /// What was about to be written.
    pub intent: Option<Intent>,
    /// Whether the file was so young when it was read that its time stamp may not move with its bytes.
    pub racy: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_stamps_are_whole_seconds_a_file_is_young_for_longer() {
        let stat =
            |ns: i64| Stat { size: 1, mtime_ns: ns, ctime_ns: ns, btime_ns: 0, inode: 1, device: 1, exec: false };
        for (ns, step_ns) in [(7_000_000_000, limits::COARSE_NS), (7_000_000_001, limits::RACY_NS)] {
            assert!(stat(ns).is_racy(ns + step_ns - 1) && stat(ns).is_racy(ns - step_ns + 1), "{ns}");
            assert!(!stat(ns).is_racy(ns + step_ns) && !stat(ns).is_racy(ns - step_ns), "{ns}");
        }
    }
}
