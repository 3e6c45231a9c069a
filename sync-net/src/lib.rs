//! Nodes: the engine of `sync-core` on tokio and iroh, with folders bound to disks.
//!
//! A [`Node`] is one device. It owns a home directory (key and store), an iroh endpoint, and one thread on which the
//! engine takes its turns; sessions, gossip, joins, contents and folders are tasks and threads around it. Start at
//! `node`; `actor` is the engine's thread, `session` one connection, `folder` the disk.

mod actor;
mod clock;
mod config;
mod content;
mod dial;
mod endpoint;
mod error;
mod folder;
mod frames;
mod gossip;
mod guests;
pub mod history;
mod identity;
mod invite;
mod join;
mod node;
mod session;
mod sources;
mod status;

pub use config::{Network, ShareOptions, UnknownNetwork};
pub use error::{HistoryFault, NodeError, NodeErrorKind};
pub use folder::HeldDecision;
pub use invite::{Invite, InviteError};
pub use node::{Joined, Meeting, Node, NodeBuilder, Paths, Shared, Traffic};
pub use status::{
    ConflictStatus, FolderState, FolderStatus, HeldStatus, NodeStatus, PeerStatus, PolledStatus, ProblemStatus,
    Progress,
};
pub use sync_core::{
    ids::{DeviceId, SpaceId},
    member::Role,
};

/// The protocols that this version speaks.
pub const PROTOCOLS: &[&str] = &["kith/sync/1", "kith/content/1", "kith/join/1"];
