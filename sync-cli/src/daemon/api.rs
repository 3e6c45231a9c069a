//! What command and daemon say to each other: JSON over HTTP, under `/v1`.
//!
//! Both sides are of one version (the command checks), so nothing here needs to be understood by another one. The types
//! of [`StatusReply`] are also those of `kith status --json`, where scripts depend on their names: fields are only added.

use std::fmt;

use serde::{Deserialize, Serialize};
use sync_net::{
    FolderState, FolderStatus, HeldStatus, NodeStatus,
    history::{Keep, When},
};

use crate::error::{Error, Kind};

/// Version of this program, which the other side must share.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Paths of the requests.
pub mod path {
    /// GET: [`VersionReply`](super::VersionReply).
    pub const VERSION: &str = "/v1/version";
    /// GET: [`StatusReply`](super::StatusReply).
    pub const STATUS: &str = "/v1/status";
    /// POST [`ShareRequest`](super::ShareRequest): [`ShareReply`](super::ShareReply).
    pub const SHARE: &str = "/v1/share";
    /// POST [`JoinRequest`](super::JoinRequest): [`JoinReply`](super::JoinReply).
    pub const JOIN: &str = "/v1/join";
    /// POST [`InviteRequest`](super::InviteRequest): [`InviteReply`](super::InviteReply).
    pub const INVITE: &str = "/v1/invite";
    /// POST [`RemoveRequest`](super::RemoveRequest): [`Empty`](super::Empty).
    pub const REMOVE: &str = "/v1/folder/remove";
    /// POST [`DecideRequest`](super::DecideRequest): [`DecideReply`](super::DecideReply).
    pub const DECIDE: &str = "/v1/folder/decide";
    /// POST [`PathRequest`](super::PathRequest): [`GoneReply`](super::GoneReply).
    pub const GONE: &str = "/v1/folder/gone";
    /// POST [`RevertRequest`](super::RevertRequest): [`Reverted`](sync_net::history::Reverted).
    pub const REVERT: &str = "/v1/revert";
    /// POST [`LogRequest`](super::LogRequest): [`Log`](sync_net::history::Log).
    pub const LOG: &str = "/v1/log";
    /// POST [`DiffRequest`](super::DiffRequest): [`Diffs`](sync_net::history::Diffs).
    pub const DIFF: &str = "/v1/diff";
    /// POST [`RestoreRequest`](super::RestoreRequest): [`Restored`](sync_net::history::Restored).
    pub const RESTORE: &str = "/v1/restore";
    /// POST [`RestoreRequest`](super::RestoreRequest): [`Content`](sync_net::history::Content).
    pub const CONTENT: &str = "/v1/content";
    /// POST [`PathRequest`](super::PathRequest): [`Kept`](sync_net::history::Kept), several.
    pub const KEPT: &str = "/v1/kept";
    /// POST [`ConflictsRequest`](super::ConflictsRequest): [`Conflict`](sync_net::history::Conflict), several.
    pub const CONFLICTS: &str = "/v1/conflicts";
    /// POST [`ResolveRequest`](super::ResolveRequest): [`Conflict`](sync_net::history::Conflict), those that there were.
    pub const RESOLVE: &str = "/v1/conflicts/resolve";
    /// POST [`PathRequest`](super::PathRequest): [`Why`](sync_net::history::Why).
    pub const WHY: &str = "/v1/why";
    /// POST [`WaitRequest`](super::WaitRequest): [`Empty`](super::Empty).
    pub const WAIT: &str = "/v1/wait";
    /// POST [`Empty`](super::Empty): [`Empty`](super::Empty).
    pub const SHUTDOWN: &str = "/v1/shutdown";
}

/// Nothing to say.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Empty {}

/// Who answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionReply {
    /// Version of the program.
    pub version: String,
    /// Protocols that it speaks with peers.
    pub protocols: Vec<String>,
    /// Its process.
    pub pid: u32,
    /// How far it reaches.
    pub network: String,
    /// Where its state is.
    pub home: String,
}

/// The device and its folders.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusReply {
    /// How far the daemon reaches.
    pub network: String,
    /// This device.
    pub device: Device,
    /// Its folders by name.
    pub folders: Vec<Folder>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id in hex.
    pub id: String,
    /// What people call it.
    pub name: String,
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// What people call it here.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// The space that it shows, in hex.
    pub space: String,
    /// How it is.
    pub state: State,
    /// Files on disk.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Commits of its space that are here.
    pub commits: u64,
    /// What both sides changed.
    pub conflicts: Vec<Conflict>,
    /// How many places of texts both sides changed, which are merged by words.
    pub line_conflicts: u64,
    /// What cannot be synced.
    pub problems: Vec<Problem>,
    /// What waits for somebody's word, if anything does.
    pub held: Option<Held>,
    /// Why changes on this disk show within seconds instead of at once, if they do.
    pub polled: Option<Polled>,
    /// Histories that came in two versions, as after a store was copied or restored, and what was done.
    pub repairs: Vec<Repair>,
    /// The other members.
    pub peers: Vec<Peer>,
    /// How far a first sync is, while there is one.
    pub progress: Option<Progress>,
}

/// Part of a folder is looked into now and then, because nothing tells of what changes in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polled {
    /// Why.
    pub reason: String,
    /// What helps, if anything does.
    pub hint: Option<String>,
}

/// Deletes and overwrites that were too many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
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

impl Held {
    /// All of them.
    #[must_use]
    pub const fn changes(&self) -> usize {
        self.outgoing_deletes + self.outgoing_overwrites + self.incoming_deletes + self.incoming_overwrites
    }
}

/// How a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
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

/// Something that both sides changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Where.
    pub path: String,
    /// What happened.
    pub kind: String,
}

/// Something that cannot be synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// A device of which two histories were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
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

/// Another member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Files on disk.
    pub files_done: u64,
    /// Files of the folder as far as they are known.
    pub files_total: u64,
}

/// Shares a directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShareRequest {
    /// The directory; absolute.
    pub dir: String,
    /// What to call the folder.
    pub name: Option<String>,
    /// The role that the invite gives.
    pub role: String,
    /// How long the invite lives.
    pub life_ms: Option<u64>,
}

/// A shared folder.
#[derive(Clone, Serialize, Deserialize)]
pub struct ShareReply {
    /// What people call it here.
    pub folder: String,
    /// Its space, in hex.
    pub space: String,
    /// Where it is.
    pub path: String,
    /// Lets one device join.
    pub invite: String,
    /// How long the invite lives.
    pub life_ms: u64,
}

/// Joins a folder.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The invite.
    pub invite: String,
    /// The directory; absolute.
    pub dir: String,
    /// What to call the folder here.
    pub name: Option<String>,
    /// Only say what would meet.
    #[serde(default)]
    pub dry_run: bool,
}

/// A joined folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinReply {
    /// What people call it here.
    pub folder: String,
    /// Its space, in hex.
    pub space: String,
    /// Where it is.
    pub path: String,
    /// Who let us in.
    pub host: String,
    /// What the directory and the folder have, where the directory had something and that could be found out.
    pub plan: Option<Plan>,
}

/// What joining does to what is on both sides: files and links.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Only in the directory: goes to the others.
    pub only_here: Paths,
    /// Only in the folder: comes here.
    pub only_there: Paths,
    /// The same in both: stays as it is.
    pub same: Paths,
    /// Not the same: both versions stay.
    pub different: Paths,
    /// Not compared, as it is much or cannot be read.
    pub uncompared: Paths,
}

/// Some files and links.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Paths {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

/// Makes another invite.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InviteRequest {
    /// The folder, by name or path.
    pub folder: String,
    /// The role that the invite gives.
    pub role: String,
    /// How long it lives.
    pub life_ms: Option<u64>,
}

/// An invite.
#[derive(Clone, Serialize, Deserialize)]
pub struct InviteReply {
    /// The folder.
    pub folder: String,
    /// Lets one device join.
    pub invite: String,
    /// The role that it gives.
    pub role: String,
    /// How long it lives.
    pub life_ms: u64,
    /// Until when, as RFC 3339.
    pub expires: String,
}

/// Stops syncing a folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveRequest {
    /// The folder, by name or path.
    pub folder: String,
}

/// What is to become of what a folder holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DecideRequest {
    /// The folder, by name or path.
    pub folder: String,
    /// Whether it happens; else it is undone.
    pub approve: bool,
}

/// What was decided about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DecideReply {
    /// What was held; nothing when nothing was.
    pub held: Option<Held>,
}

/// What was deleted with the file system that it was on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GoneReply {
    /// How many files.
    pub files: usize,
}

/// Takes back what was changed where a device may only read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevertRequest {
    /// The folder, by name or path.
    pub folder: String,
    /// Paths in it; none is everything.
    pub paths: Vec<String>,
    /// Only tells what would be.
    pub tell: bool,
}

/// What changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogRequest {
    /// The folder, by name or path.
    pub folder: String,
    /// A path in it.
    pub path: Option<String>,
    /// How many commits.
    pub most: Option<usize>,
}

/// What differs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiffRequest {
    /// The folder, by name or path.
    pub folder: String,
    /// A path in it.
    pub path: String,
    /// From which state.
    pub from: Option<When>,
    /// To which.
    pub to: Option<When>,
}

/// Brings something back, or its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoreRequest {
    /// The folder, by name or path.
    pub folder: String,
    /// A path in it.
    pub path: String,
    /// As it was then.
    pub to: Option<When>,
}

/// Names a path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PathRequest {
    /// The folder, by name or path.
    pub folder: String,
    /// A path in it.
    pub path: String,
}

/// Lists conflicts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConflictsRequest {
    /// Only of this folder, by name or path.
    pub folder: Option<String>,
    /// Only of this path, with the texts of both sides.
    pub path: Option<String>,
}

/// Ends a conflict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResolveRequest {
    /// The folder, by name or path.
    pub folder: String,
    /// Where.
    pub path: String,
    /// How.
    pub keep: Keep,
}

/// Waits until all is in sync.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WaitRequest {
    /// Only this folder, by name or path.
    pub folder: Option<String>,
    /// How long at most.
    pub timeout_ms: Option<u64>,
}

/// Why not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorReply {
    /// The word of the kind.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl From<ErrorReply> for Error {
    fn from(reply: ErrorReply) -> Self {
        Self { kind: Kind::from_code(&reply.code), message: reply.message, hints: reply.hint.into_iter().collect() }
    }
}

impl From<&Error> for ErrorReply {
    fn from(error: &Error) -> Self {
        Self { code: error.kind.code().to_owned(), message: error.message.clone(), hint: error.hint_line() }
    }
}

/// Invites are passwords: these show what they are for, not what they are.
macro_rules! debug_without_invite {
    ($($name:ident: $field:ident),*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field(stringify!($field), &self.$field).finish_non_exhaustive()
            }
        })*
    };
}

debug_without_invite!(ShareReply: folder, JoinRequest: dir, InviteReply: folder);

impl From<FolderState> for State {
    fn from(state: FolderState) -> Self {
        match state {
            FolderState::UpToDate => Self::UpToDate,
            FolderState::Syncing => Self::Syncing,
            FolderState::Waiting => Self::Waiting,
            FolderState::Attention => Self::Attention,
            FolderState::Paused => Self::Paused,
        }
    }
}

impl From<HeldStatus> for Held {
    fn from(held: HeldStatus) -> Self {
        Self {
            outgoing_deletes: held.outgoing_deletes,
            outgoing_overwrites: held.outgoing_overwrites,
            incoming_deletes: held.incoming_deletes,
            incoming_overwrites: held.incoming_overwrites,
            awaited: held.awaited,
        }
    }
}

impl From<FolderStatus> for Folder {
    fn from(status: FolderStatus) -> Self {
        Self {
            name: status.name,
            // JSON holds text only; a directory that is not text is shown as well as it can be.
            path: status.path.to_string_lossy().into_owned(),
            space: status.space,
            state: status.state.into(),
            files: status.files,
            bytes: status.bytes,
            commits: status.commits,
            conflicts: status.conflicts.into_iter().map(|c| Conflict { path: c.path, kind: c.kind }).collect(),
            line_conflicts: status.line_conflicts,
            problems: status.problems.into_iter().map(|p| Problem { path: p.path, reason: p.reason }).collect(),
            held: status.held.map(Into::into),
            polled: status.polled.map(|polled| Polled { reason: polled.reason, hint: polled.hint }),
            repairs: status
                .repairs
                .into_iter()
                .map(|r| Repair {
                    device: r.device,
                    ours: r.ours,
                    set_aside: r.set_aside,
                    committed_again: r.committed_again,
                    at_ms: r.at_ms,
                })
                .collect(),
            peers: status
                .peers
                .into_iter()
                .map(|p| Peer { device: p.device, name: p.name, connected: p.connected, synced: p.synced })
                .collect(),
            progress: status.progress.map(|p| Progress { files_done: p.files_done, files_total: p.files_total }),
        }
    }
}

impl StatusReply {
    /// Says what a node says of itself.
    #[must_use]
    pub fn new(status: NodeStatus, network: sync_net::Network) -> Self {
        Self {
            network: network.to_string(),
            device: Device { id: status.device.to_string(), name: status.name },
            folders: status.folders.into_iter().map(Folder::from).collect(),
        }
    }
}
