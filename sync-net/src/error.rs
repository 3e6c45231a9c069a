//! Why a node could not do what it was asked.

use std::path::PathBuf;

use sync_core::{
    engine::{EngineError, Refused},
    history::HistoryError,
    member::InviteRefusal,
    store::StoreError,
};

/// What kind of failure it was; decides exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeErrorKind {
    /// The request makes no sense.
    Invalid,
    /// What it names is not there.
    NotFound,
    /// It names several things.
    Ambiguous,
    /// Somebody said no.
    Refused,
    /// Nobody answered.
    Unreachable,
    /// Somebody else has it.
    Locked,
    /// Something must come to rest first.
    Busy,
    /// Of another version.
    Incompatible,
    /// It failed.
    Failed,
    /// A fault of this program.
    Internal,
}

/// A node could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A directory cannot be used.
    #[error("cannot use {path}: {reason}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file of the node's home cannot be used.
    #[error("cannot use {path}")]
    Home {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The directory is a folder already, or within one.
    #[error("{path} overlaps with the folder {folder}")]
    Overlap {
        /// The directory.
        path: PathBuf,
        /// The folder.
        folder: String,
    },
    /// Another kith keeps the directory, or one that it lies in.
    #[error("{0} is a folder of another kith, with a home of its own")]
    Taken(PathBuf),
    /// This device is in that space already.
    #[error("this device has joined it already: it is the folder {0}")]
    AlreadyJoined(String),
    /// No such folder.
    #[error("there is no folder {0}")]
    NoFolder(String),
    /// Several folders go by that name.
    #[error("several folders are called {0}")]
    AmbiguousFolder(String),
    /// This device made the invite.
    #[error("this invite was made by this device: use it on another one")]
    OwnInvite,
    /// The other side turned us away.
    #[error("the invite was refused: {0}")]
    Invite(InviteRefusal),
    /// The other side hung up on us.
    #[error("{0} refused the connection: the invite has been used, has expired, or is not known there")]
    Rejected(String),
    /// The engine refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No answer.
    #[error("cannot reach {peer}")]
    Unreachable {
        /// Who.
        peer: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The network could not be set up.
    #[error("cannot set up the network")]
    Network(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The engine stopped, or the node is shutting down.
    #[error("the node has stopped")]
    Stopped,
    /// Sent what this program does not understand.
    #[error("{peer} sent something that is not of this protocol")]
    Protocol {
        /// Who.
        peer: String,
    },
    /// Something that people asked of history cannot be answered.
    #[error(transparent)]
    History(#[from] HistoryFault),
}

impl NodeError {
    /// What kind of failure it was.
    #[must_use]
    pub const fn kind(&self) -> NodeErrorKind {
        match self {
            Self::Directory { .. }
            | Self::Overlap { .. }
            | Self::AlreadyJoined(_)
            | Self::OwnInvite
            | Self::Refused(Refused::Name) => NodeErrorKind::Invalid,
            Self::NoFolder(_) | Self::Refused(Refused::NoSpace) => NodeErrorKind::NotFound,
            Self::AmbiguousFolder(_) => NodeErrorKind::Ambiguous,
            Self::Invite(_) | Self::Rejected(_) | Self::Refused(Refused::NotAllowed(_) | Refused::Invite(_)) => {
                NodeErrorKind::Refused
            }
            Self::Unreachable { .. } => NodeErrorKind::Unreachable,
            Self::Taken(_) | Self::Store(StoreError::Locked) => NodeErrorKind::Locked,
            Self::Store(StoreError::Schema { .. }) | Self::Protocol { .. } => NodeErrorKind::Incompatible,
            Self::Home { .. } | Self::Network(_) | Self::Store(_) | Self::Stopped => NodeErrorKind::Failed,
            Self::Refused(_) => NodeErrorKind::Internal,
            Self::History(fault) => fault.kind(),
        }
    }

    /// What to do next, where that is known better than from the kind.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::History(fault) => Some(fault.hint()),
            _ => None,
        }
    }
}

/// Something that people asked of history, or of one path, cannot be answered or done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryFault {
    /// Not a path within a folder.
    #[error("{0} is not a path within a folder")]
    Path(String),
    /// Nothing was ever there.
    #[error("there is nothing at {0}, and never was")]
    NoPath(String),
    /// It has no text.
    #[error("{0} is a directory")]
    Directory(String),
    /// Not a commit's name.
    #[error("{0}")]
    BadRev(String),
    /// No commit, and no file that is kept.
    #[error("no commit begins with {0}")]
    UnknownRev(String),
    /// More than one.
    #[error("{} commits begin with {rev}: {}", .commits.len(), .commits.join(", "))]
    AmbiguousRev {
        /// What was asked for.
        rev: String,
        /// The commits.
        commits: Vec<String>,
    },
    /// It was not there at that time.
    #[error("{path} was not there {when}")]
    NotThen {
        /// Where.
        path: String,
        /// When.
        when: String,
    },
    /// More than one restore may bring back.
    #[error("{0} holds too much to be restored at once")]
    TooMuch(String),
    /// Bytes that nobody here has.
    #[error("{path}: its bytes of then are neither on this device nor on any other that is here ({who})")]
    NoContent {
        /// Where.
        path: String,
        /// Who may have them.
        who: String,
    },
    /// The disk did not come to rest.
    #[error("nothing was changed: {0}")]
    NotAtRest(String),
    /// It cannot be done here.
    #[error("nothing was changed: {0}")]
    Refused(String),
    /// No conflict there.
    #[error("there is no conflict at {0}")]
    NoConflict(String),
    /// This way does not end that conflict.
    #[error("{0}")]
    NoSuchWay(String),
}

impl HistoryFault {
    const fn kind(&self) -> NodeErrorKind {
        match self {
            Self::Path(_) | Self::BadRev(_) | Self::Directory(_) | Self::TooMuch(_) | Self::NoSuchWay(_) => {
                NodeErrorKind::Invalid
            }
            Self::NoPath(_) | Self::UnknownRev(_) | Self::NotThen { .. } | Self::NoConflict(_) => {
                NodeErrorKind::NotFound
            }
            Self::AmbiguousRev { .. } => NodeErrorKind::Ambiguous,
            Self::NoContent { .. } => NodeErrorKind::Unreachable,
            Self::NotAtRest(_) => NodeErrorKind::Busy,
            Self::Refused(_) => NodeErrorKind::Refused,
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::Path(_) | Self::NoPath(_) => "see what changed last: kith log".into(),
            Self::Directory(_) => "name a file in it; what changed in it: kith log PATH".into(),
            Self::BadRev(_) | Self::UnknownRev(_) => "see which commits there are: kith log PATH".into(),
            Self::AmbiguousRev { .. } => "write more digits of the one that is meant".into(),
            Self::NotThen { path, .. } => format!("see when it was: kith log {path}"),
            Self::TooMuch(_) => "restore the directories in it one by one".into(),
            Self::NoContent { .. } => "try again when the others are here: kith status".into(),
            Self::NotAtRest(_) => "close the program that writes it, and try again".into(),
            Self::Refused(_) => "see what is known of the path: kith why PATH".into(),
            Self::NoConflict(_) => "see which there are: kith conflicts".into(),
            Self::NoSuchWay(_) => "see both sides: kith conflicts show PATH".into(),
        }
    }
}

impl From<EngineError> for NodeError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => Self::Store(error),
            _ => Self::Stopped,
        }
    }
}

impl From<HistoryError> for NodeError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Store(error) => Self::Store(error),
            other => Self::Refused(Refused::Fault(other.to_string())),
        }
    }
}
