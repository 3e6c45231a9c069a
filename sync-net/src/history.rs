//! What a node tells of the past and of conflicts: plain data, for people and scripts.
//!
//! Revisions are commits, by their hash in hex. Times are what the writers' clocks said: they are shown, and order nothing.

use serde::{Deserialize, Serialize};

/// A state that people name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The commit that begins with these hex digits, and all that was before it.
    Rev(String),
    /// What had been committed by then, in milliseconds since 1970.
    AtMs(u64),
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rev(rev) => write!(f, "at {rev}"),
            Self::AtMs(_) => f.write_str("at that time"),
        }
    }
}

/// A commit in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its hash.
    pub rev: String,
    /// When, as its writer's clock had it, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who wrote it.
    pub by: Author,
    /// What it did.
    pub changes: Vec<Change>,
    /// How many entries it changed beyond those.
    pub more: u64,
}

/// A device that wrote something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Its id.
    pub device: String,
    /// What people call it.
    pub name: String,
    /// Whether it is this one.
    pub here: bool,
}

/// What a commit did to one entry, or to the list of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where the entry is now, or was last; empty for the space itself.
    pub path: String,
    /// What was done.
    pub did: Vec<Did>,
}

/// One thing that was done to an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Did {
    /// Made.
    Created {
        /// file, directory or link.
        kind: String,
        /// Bytes of a file.
        bytes: Option<u64>,
    },
    /// Its text was edited.
    Edited {
        /// Lines that came, if they were counted.
        added: Option<u64>,
        /// Lines that went.
        removed: Option<u64>,
    },
    /// It got other bytes as a whole.
    Replaced {
        /// How many.
        bytes: u64,
    },
    /// It got another name.
    Renamed {
        /// The one before.
        from: String,
    },
    /// It came from another directory.
    Moved {
        /// That one; empty for the top.
        from: String,
    },
    /// It became executable, or no longer is.
    Executable {
        /// Whether it is.
        on: bool,
    },
    /// A link got another target.
    Target {
        /// The one before.
        from: String,
    },
    /// Deleted.
    Deleted,
    /// Brought back.
    Restored,
    /// Nothing that shows.
    Kept,
    /// Something about members.
    Members {
        /// What, for people.
        text: String,
    },
}

/// A file that was displaced here and is kept for a while, on this device only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where it was.
    pub path: String,
    /// Hash of its bytes; its beginning names it for a restore.
    pub hash: String,
    /// How many bytes.
    pub bytes: u64,
    /// When it was put aside.
    pub at_ms: u64,
    /// Until when it is kept.
    pub until_ms: u64,
}

/// A page of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The folder.
    pub folder: String,
    /// The path that was asked for.
    pub path: Option<String>,
    /// here, gone or before: whether an entry is there, was deleted there, or was there before it moved.
    pub standing: Option<String>,
    /// Where the entry is now, or was last.
    pub now_at: Option<String>,
    /// Commits, newest first in causal order.
    pub commits: Vec<Commit>,
    /// Whether there are more.
    pub more: bool,
    /// Files of that path that are kept on this device only.
    pub kept: Vec<Kept>,
}

/// One side of a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Which one, for people.
    pub label: String,
    /// Whether the entry was there.
    pub there: bool,
    /// Where.
    pub path: String,
    /// Bytes.
    pub bytes: Option<u64>,
    /// Their hash.
    pub hash: Option<String>,
    /// Whether it is a text.
    pub text: bool,
    /// Whether it is executable.
    pub executable: bool,
    /// The target of a link.
    pub target: Option<String>,
}

/// Two versions and what differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The older one.
    pub from: Version,
    /// The newer one.
    pub to: Version,
    /// Whether anything differs.
    pub differs: bool,
    /// Lines that came, of texts.
    pub added: u64,
    /// Lines that went.
    pub removed: u64,
    /// Hunks of a unified diff, of texts.
    pub hunks: Option<String>,
}

/// What differs between versions, and between the newest and the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diffs {
    /// The folder.
    pub folder: String,
    /// The path.
    pub path: String,
    /// Between the versions that were asked for.
    pub diff: Diff,
    /// Between the newest version and what is on disk and not taken in yet.
    pub unsynced: Option<Diff>,
}

/// What became of one path of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredPath {
    /// Where.
    pub path: String,
    /// restored, same or refused.
    pub outcome: String,
    /// Why it was refused.
    pub reason: Option<String>,
}

/// What became of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The folder.
    pub folder: String,
    /// The path that was asked for.
    pub path: String,
    /// All paths, directories before what is in them.
    pub paths: Vec<RestoredPath>,
}

/// Something that a device that may only read had otherwise than the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevertedPath {
    /// Where; of what was moved where the others have it.
    pub path: String,
    /// What was done to it here: made, edited, deleted or moved.
    pub was: String,
}

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverted {
    /// The folder.
    pub folder: String,
    /// All of it by path.
    pub paths: Vec<RevertedPath>,
    /// How many files stay as they are until another device has sent theirs.
    pub awaited: usize,
}

/// The bytes of a file at some state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The bytes, if they are in history itself.
    pub bytes: Option<Vec<u8>>,
    /// Else a file of this machine that holds them; whoever copies it checks the hash.
    pub file: Option<String>,
    /// Their hash.
    pub hash: String,
    /// How many.
    pub len: u64,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// mine or theirs; of several that are not mine each is theirs.
    pub side: String,
    /// The commit that says so.
    pub rev: String,
    /// When, by its writer's clock.
    pub at_ms: u64,
    /// Who.
    pub by: Author,
    /// Where it is, or would be.
    pub path: String,
    /// Whether it holds now.
    pub holds: bool,
    /// Bytes of a content.
    pub bytes: Option<u64>,
    /// Hash of a content.
    pub hash: Option<String>,
    /// The text, if it is one and was asked for.
    pub text: Option<String>,
}

/// A conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The folder.
    pub folder: String,
    /// Where.
    pub path: String,
    /// name, content, place, cycle or lines.
    pub kind: String,
    /// The same for people.
    pub text: String,
    /// What is shown of lines that both sides changed, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<String>,
    /// Both sides.
    pub sides: Vec<Side>,
}

/// How a conflict is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// What this device did.
    Mine,
    /// What another did.
    Theirs,
    /// Both: each file under a name of its own, of lines both.
    Both,
    /// One text of the lines of both; of lines what is shown.
    Merge,
}

/// What is known of one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The folder.
    pub folder: String,
    /// The path.
    pub path: String,
    /// In one sentence.
    pub verdict: String,
    /// What stands there on disk.
    pub disk: String,
    /// What disk and documents agreed on last.
    pub base: String,
    /// What the documents say.
    pub tree: String,
    /// The rule by which it is ignored.
    pub ignored: Option<String>,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// A write that was begun.
    pub intent: Option<String>,
    /// Conflicts of it.
    pub conflicts: Vec<String>,
    /// What was decided last since the daemon started.
    pub decision: Option<Decided>,
    /// The commit that changed it last.
    pub last: Option<Commit>,
    /// Which devices have it.
    pub devices: Vec<Holder>,
}

/// Something that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What was done, or was not.
    pub action: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// A device, and whether it has something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// What people call it.
    pub name: String,
    /// on_disk, committed or unknown.
    pub has: String,
}
