//! What can go wrong, as people and scripts see it: a kind, a message, hints.
//!
//! The kind alone decides the exit code and the word in JSON; both are an interface that scripts depend on, so kinds are
//! only added. Other modules make an [`Error`], and never print or exit by themselves.

use std::{error::Error as StdError, fmt, io};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// It said all there is to say on stdout, and ends with the exit code of this kind.
    Exit(Kind),
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It failed.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// What the command was given makes no sense.
    Invalid,
    /// Done, but there are problems or conflicts.
    Problems,
    /// No daemon.
    DaemonNotRunning,
    /// What it names is not there.
    NotFound,
    /// It names several things.
    Ambiguous,
    /// Somebody said no.
    Refused,
    /// Not done in time.
    TimedOut,
    /// Nobody answered.
    Unreachable,
    /// Somebody else has it.
    Busy,
    /// Of another version.
    Incompatible,
    /// A fault of kith.
    Internal,
    /// Ctrl-C.
    Interrupted,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Failed,
        Self::Usage,
        Self::Invalid,
        Self::Problems,
        Self::DaemonNotRunning,
        Self::NotFound,
        Self::Ambiguous,
        Self::Refused,
        Self::TimedOut,
        Self::Unreachable,
        Self::Busy,
        Self::Incompatible,
        Self::Internal,
        Self::Interrupted,
    ];

    /// The exit code of a process.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage | Self::Invalid => 2,
            Self::Problems => 3,
            Self::DaemonNotRunning => 4,
            Self::NotFound | Self::Ambiguous => 5,
            Self::Refused => 6,
            Self::TimedOut | Self::Unreachable => 7,
            Self::Busy => 8,
            Self::Incompatible => 9,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    /// The word in JSON.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Invalid => "invalid",
            Self::Problems => "problems",
            Self::DaemonNotRunning => "daemon_not_running",
            Self::NotFound => "not_found",
            Self::Ambiguous => "ambiguous",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Incompatible => "incompatible",
            Self::Internal => "internal",
            Self::Interrupted => "interrupted",
        }
    }

    /// The kind of a word in JSON; an unknown one comes from a newer daemon, and is a plain failure.
    #[must_use]
    pub fn from_code(code: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.code() == code).unwrap_or(Self::Failed)
    }
}

/// A command could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Decides the exit code.
    pub kind: Kind,
    /// What happened and why, without a full stop.
    pub message: String,
    /// What to do next, one command each if there is one.
    pub hints: Vec<String>,
}

impl Error {
    /// Makes an error without hints.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Makes an error of an operation and what the system said of it.
    pub fn from_io(kind: Kind, what: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(kind, format!("{what}: {error}"))
    }

    /// All hints in one line, if there are any.
    #[must_use]
    pub fn hint_line(&self) -> Option<String> {
        (!self.hints.is_empty()).then(|| self.hints.join("; "))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {}

impl From<sync_net::NodeError> for Error {
    fn from(error: sync_net::NodeError) -> Self {
        use sync_net::NodeErrorKind as Node;

        let message = chain(&error);
        let (kind, hint) = match error.kind() {
            Node::Invalid => (Kind::Invalid, None),
            Node::NotFound => (Kind::NotFound, Some("see which folders there are: kith folder list")),
            Node::Ambiguous => (Kind::Ambiguous, Some("name the folder by its path: kith folder list")),
            Node::Refused => {
                (Kind::Refused, Some("ask for a new invite; the other machine makes one with: kith invite FOLDER"))
            }
            Node::Unreachable => {
                (Kind::Unreachable, Some("see that the other machine is on and its daemon runs: kith daemon status"))
            }
            Node::Busy => (Kind::Busy, Some("try again in a moment")),
            Node::Locked if matches!(error, sync_net::NodeError::Taken(_)) => {
                (Kind::Busy, Some("share it from there; if nobody uses it any more, remove the directory .kith in it"))
            }
            Node::Locked => (Kind::Busy, Some("see whether another kith uses the same home: kith daemon status")),
            Node::Incompatible => (Kind::Incompatible, Some("compare the versions on both machines: kith version")),
            Node::Internal => {
                (Kind::Internal, Some("this is a fault of kith; please report it with: kith daemon logs"))
            }
            _ => (Kind::Failed, Some("see what the daemon says: kith daemon logs")),
        };
        let own = error.hint();
        let error = Self::new(kind, message);
        match own.or_else(|| hint.map(str::to_owned)) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// An error and its sources in one line; a source that only repeats what was said is left out.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_design() {
        let codes: Vec<u8> = Kind::ALL.into_iter().map(Kind::exit_code).collect();
        assert_eq!(codes, [1, 2, 2, 3, 4, 5, 5, 6, 7, 7, 8, 9, 70, 130]);
    }

    #[test]
    fn words_find_their_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(kind.code()), kind);
        }
        assert_eq!(Kind::from_code("from the future"), Kind::Failed);
    }

    #[test]
    fn chain_does_not_repeat() {
        let inner = io::Error::other("disk on fire");
        let outer = io::Error::other(inner);
        assert_eq!(chain(&outer), "disk on fire");
    }
}
