//! What a node says of itself.

use std::path::PathBuf;

use serde::Serialize;
use sync_core::ids::DeviceId;

/// A node and its folders.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStatus {
    /// This device.
    #[serde(serialize_with = "as_text")]
    pub device: DeviceId,
    /// What people call it.
    pub name: String,
    /// Its folders by name.
    pub folders: Vec<FolderStatus>,
}

fn as_text<S: serde::Serializer>(id: &DeviceId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// One folder.
#[derive(Debug, Clone, Serialize)]
pub struct FolderStatus {
    /// What people call it here.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The space that it shows, in hex.
    pub space: String,
    /// How it is.
    pub state: FolderState,
    /// Files on disk.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Commits of its space that are here.
    pub commits: u64,
    /// What both sides changed.
    pub conflicts: Vec<ConflictStatus>,
    /// How many lines of texts both sides changed, as they were counted last; they are merged by words.
    pub line_conflicts: u64,
    /// What cannot be synced.
    pub problems: Vec<ProblemStatus>,
    /// What waits for somebody's word, if anything does.
    pub held: Option<HeldStatus>,
    /// Why changes on this disk show within seconds instead of at once, if they do.
    pub polled: Option<PolledStatus>,
    /// Histories that came in two versions, as after a store was copied or restored, and what was done.
    pub repairs: Vec<RepairStatus>,
    /// The other members.
    pub peers: Vec<PeerStatus>,
    /// How far a first sync is, while there is one.
    pub progress: Option<Progress>,
}

/// Deletes and overwrites that were too many at once: they wait for `approve` or `reject`, and all else goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HeldStatus {
    /// What is gone from this disk, and nobody else is told.
    pub outgoing_deletes: usize,
    /// What got other bytes on this disk, and nobody else is told.
    pub outgoing_overwrites: usize,
    /// What others deleted, and is still on this disk.
    pub incoming_deletes: usize,
    /// What others changed, and is as it was on this disk.
    pub incoming_overwrites: usize,
    /// How much of what is gone or got other bytes on this disk was rejected, and waits for what other devices have of it.
    pub awaited: usize,
}

/// A device of which two histories were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepairStatus {
    /// Which, as people call it.
    pub device: String,
    /// Whether it is this one.
    pub ours: bool,
    /// Commits that were set aside here.
    pub set_aside: u64,
    /// How many of them were ours and were made again.
    pub committed_again: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// How a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderState {
    /// Disk and documents agree, and so does every peer that is here.
    UpToDate,
    /// Something is under way.
    Syncing,
    /// Nobody is here whom it waits for.
    Waiting,
    /// It needs somebody to look.
    Attention,
    /// Told to stop for now.
    Paused,
}

impl FolderState {
    /// The word of scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "up_to_date",
            Self::Syncing => "syncing",
            Self::Waiting => "waiting",
            Self::Attention => "attention",
            Self::Paused => "paused",
        }
    }
}

/// Something that both sides changed.
#[derive(Debug, Clone, Serialize)]
pub struct ConflictStatus {
    /// Where.
    pub path: String,
    /// What happened.
    pub kind: String,
}

/// Something that cannot be synced.
#[derive(Debug, Clone, Serialize)]
pub struct ProblemStatus {
    /// Where.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Part of a folder is looked into now and then, because nothing tells of what changes in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolledStatus {
    /// Why.
    pub reason: String,
    /// What helps, if anything does.
    pub hint: Option<String>,
}

/// Another member.
#[derive(Debug, Clone, Serialize)]
pub struct PeerStatus {
    /// Its id in hex.
    pub device: String,
    /// What people call it.
    pub name: String,
    /// Whether it is here.
    pub connected: bool,
    /// Whether both disks hold the same.
    pub synced: bool,
}

/// How far a first sync is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Progress {
    /// Files on disk.
    pub files_done: u64,
    /// Files of the folder as far as they are known.
    pub files_total: u64,
}
