//! Messages of `kith/sync/1` and their bounded codec.
//!
//! A frame is a 3-byte big-endian length and one postcard message of at most [`limits::FRAME_BYTES_MAX`] bytes; the
//! host reads and writes the length, this module the message. [`decode`] is the only door for bytes from a peer: it
//! yields messages whose counts are within bounds, or an error whose fault is the sender's.

use serde::{Deserialize, Serialize};

use crate::{
    commit::{Signed, SignedHeader},
    ids::{CommitHash, ReplicaId, SpaceId, SpaceTag},
    limits,
    version::{LogRange, VersionVector},
};

/// ALPN of the exchange between members.
pub const SYNC_ALPN: &[u8] = b"kith/sync/1";
/// ALPN of the exchange of file contents.
pub const CONTENT_ALPN: &[u8] = b"kith/content/1";
/// ALPN on which strangers with an invite are heard.
pub const JOIN_ALPN: &[u8] = b"kith/join/1";

/// Bytes of the length in front of each frame.
pub const FRAME_LENGTH_BYTES: usize = 3;

/// What one peer tells another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Where the sender stands; first on every session, and again whenever it wants to compare.
    Hello {
        /// One entry a common space.
        spaces: Vec<SpaceHello>,
    },
    /// Commits of one space in the sender's arrival order.
    Commits {
        /// The space, as the sender tags it.
        space: SpaceTag,
        /// Each after its parents.
        commits: Vec<Signed>,
    },
    /// What is on the sender's disk now.
    Durable {
        /// The space, as the sender tags it.
        space: SpaceTag,
        /// Vector of what is committed.
        vector: VersionVector,
        /// Whether the sender's folder agrees with it.
        settled: bool,
    },
    /// The sender's folder came to agree, or ceased to, with the vector last told.
    Settled {
        /// The space, as the sender tags it.
        space: SpaceTag,
        /// Whether it agrees.
        settled: bool,
    },
    /// Asks for parts of logs.
    Ask {
        /// The space, as the sender tags it.
        space: SpaceTag,
        /// Which parts.
        ranges: Vec<LogRange>,
    },
    /// Headers of one log as the sender has it, to be compared with the receiver's: the two differ somewhere.
    Fork {
        /// The space, as the sender tags it.
        space: SpaceTag,
        /// Whose log.
        replica: ReplicaId,
        /// Some of its headers, by rising number.
        headers: Vec<SignedHeader>,
    },
    /// Last message of a session that ends for a reason.
    Close {
        /// Why.
        code: CloseCode,
    },
    /// Asks for headers between two numbers of a log, to find where it forks.
    Trace {
        /// The space, as the sender tags it.
        space: SpaceTag,
        /// Which numbers of which log, both included.
        range: LogRange,
    },
}

/// Where a peer stands in one space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceHello {
    /// The space, as the sender tags it.
    pub space: SpaceTag,
    /// Bits of [`SpaceHello::SETTLED`] and [`SpaceHello::CATCHING_UP`].
    pub flags: u8,
    /// What is committed on the sender's disk.
    pub vector: VersionVector,
    /// Root digest of that.
    pub root: [u8; 32],
}

impl SpaceHello {
    /// The sender's folder agrees with its documents.
    pub const SETTLED: u8 = 1;
    /// The sender already receives from somebody: send nothing unasked.
    pub const CATCHING_UP: u8 = 2;
}

/// Why a session ends; also the application error code of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CloseCode {
    /// Going away, come back later.
    Shutdown,
    /// Another connection to the same peer is kept instead.
    Duplicate,
    /// The device is in no common space.
    NotAllowed,
    /// A frame above the bound.
    FrameTooBig,
    /// A frame that does not decode.
    Malformed,
    /// A commit that can never be accepted.
    BadCommit,
    /// A message out of place, such as commits before a hello.
    Protocol,
    /// Nothing was said in time.
    Timeout,
    /// Something failed on the sender's side.
    Internal,
}

impl CloseCode {
    /// The code of a QUIC close frame.
    #[must_use]
    pub const fn to_u32(self) -> u32 {
        match self {
            Self::Shutdown => 0,
            Self::Duplicate => 1,
            Self::NotAllowed => 2,
            Self::FrameTooBig => 3,
            Self::Malformed => 4,
            Self::BadCommit => 5,
            Self::Protocol => 6,
            Self::Timeout => 7,
            Self::Internal => 8,
        }
    }
}

impl std::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shutdown => "shutting down",
            Self::Duplicate => "duplicate connection",
            Self::NotAllowed => "not allowed",
            Self::FrameTooBig => "frame too big",
            Self::Malformed => "malformed frame",
            Self::BadCommit => "bad commit",
            Self::Protocol => "message out of place",
            Self::Timeout => "timeout",
            Self::Internal => "internal error",
        })
    }
}

/// A hint on gossip: this replica now has this commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Whose log.
    pub replica: ReplicaId,
    /// Number of the newest commit.
    pub n: u64,
    /// Its hash.
    pub hash: CommitHash,
    /// Makes equal hints differ, since gossip swallows a payload that it saw in the last 90 s.
    pub counter: u64,
    /// The commit itself, where it is small and somebody may not get it on a session.
    pub commit: Option<Signed>,
}

/// Bytes from a peer are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Above the bound of a frame or announcement.
    #[error("the frame is too big")]
    TooBig,
    /// Does not decode, has trailing bytes, or a count above its bound.
    #[error("the frame is malformed")]
    Malformed,
}

impl From<WireError> for CloseCode {
    fn from(error: WireError) -> Self {
        match error {
            WireError::TooBig => Self::FrameTooBig,
            WireError::Malformed => Self::Malformed,
        }
    }
}

/// Encodes a message, without the length in front.
///
/// # Panics
/// Never: messages are plain data. That they stay below the bound is the caller's duty.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let bytes = postcard::to_stdvec(message).expect("messages are plain data");
    debug_assert!(bytes.len() <= limits::FRAME_BYTES_MAX, "a frame above its bound");
    bytes
}

/// Splits what is to be said of many spaces so that each hello is within its bounds; always at least one, since an
/// empty hello is one, too.
#[must_use]
pub fn hello_frames(spaces: Vec<SpaceHello>) -> Vec<Vec<SpaceHello>> {
    // A tip is an id, a number and half a hash; the rest is the tag, the root and counts.
    let len_of = |space: &SpaceHello| 64 + space.vector.len() * 48;
    let mut frames = vec![Vec::new()];
    let mut len = 0;
    for space in spaces {
        let more = len_of(&space);
        let full = frames.last().is_some_and(|frame: &Vec<_>| {
            !frame.is_empty() && (frame.len() == limits::HELLO_SPACES_MAX || len + more > limits::FRAME_BYTES_MAX - 64)
        });
        if full {
            frames.push(Vec::new());
            len = 0;
        }
        len += more;
        if let Some(frame) = frames.last_mut() {
            frame.push(space);
        }
    }
    frames
}

/// Decodes one frame.
///
/// # Errors
/// When it is not exactly one message within bounds.
pub fn decode(frame: &[u8]) -> Result<Message, WireError> {
    if frame.len() > limits::FRAME_BYTES_MAX {
        return Err(WireError::TooBig);
    }
    let (message, rest) = postcard::take_from_bytes(frame).map_err(|_| WireError::Malformed)?;
    let in_bounds = match &message {
        Message::Hello { spaces } => {
            spaces.len() <= limits::HELLO_SPACES_MAX && spaces.iter().all(|space| space.vector.is_well_formed())
        }
        Message::Durable { vector, .. } => vector.is_well_formed(),
        Message::Ask { ranges, .. } => {
            ranges.len() <= limits::ASK_RANGES_MAX
                && ranges.iter().all(|range| range.from > 0 && range.from <= range.to)
        }
        Message::Fork { headers, .. } => headers.len() <= limits::FORK_HEADERS_MAX,
        Message::Trace { range, .. } => range.from > 0 && range.from <= range.to,
        Message::Commits { .. } | Message::Settled { .. } | Message::Close { .. } => true,
    };
    if rest.is_empty() && in_bounds { Ok(message) } else { Err(WireError::Malformed) }
}

/// Encodes an announcement; `None` when it does not fit gossip.
#[must_use]
pub fn encode_announcement(announcement: &Announcement) -> Option<Vec<u8>> {
    let bytes = postcard::to_stdvec(announcement).ok()?;
    (bytes.len() <= limits::ANNOUNCEMENT_BYTES_MAX).then_some(bytes)
}

/// Decodes an announcement.
///
/// # Errors
/// When it is not exactly one within bounds.
pub fn decode_announcement(bytes: &[u8]) -> Result<Announcement, WireError> {
    if bytes.len() > limits::ANNOUNCEMENT_BYTES_MAX {
        return Err(WireError::TooBig);
    }
    match postcard::take_from_bytes(bytes) {
        Ok((announcement, [])) => Ok(announcement),
        _ => Err(WireError::Malformed),
    }
}

/// First message of a joiner on [`JOIN_ALPN`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The space of the invite.
    pub space: SpaceId,
    /// Public half of the invite's key.
    pub invite: crate::ids::InviteKey,
    /// What people call the joining device.
    pub name: String,
    /// The invite key's signature over space and device; the device is the one that QUIC authenticated.
    pub proof: crate::commit::Signature,
}

/// The answer to a joiner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinResponse {
    /// Taken in: the commit that says so is on the host's disk.
    Welcome {
        /// What people call the space.
        space_name: String,
        /// What people call the host.
        host_name: String,
    },
    /// Turned away, and nothing changed.
    Refused(crate::member::InviteRefusal),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Tip;

    fn hello(replicas: u8) -> Message {
        Message::Hello {
            spaces: vec![SpaceHello {
                space: SpaceTag([1; 16]),
                flags: SpaceHello::SETTLED,
                vector: (0..replicas).map(|i| (ReplicaId([i; 16]), Tip::new(70_000, &CommitHash([i; 32])))).collect(),
                root: [4; 32],
            }],
        }
    }

    #[test]
    fn hellos_between_two_replicas_fit_256_bytes_both_ways_and_four_replicas_one_way() {
        let two = encode(&hello(2)).len() + FRAME_LENGTH_BYTES;
        let four = encode(&hello(4)).len() + FRAME_LENGTH_BYTES;
        assert!(2 * two <= 256, "two hellos of two replicas take {} bytes", 2 * two);
        assert!(four <= 256, "a hello of four replicas takes {four} bytes");
    }

    #[test]
    fn the_hello_vector_of_the_specification_holds() {
        assert_eq!(data_encoding::HEXLOWER.encode(&encode(&hello(2))), include_str!("../../vectors/hello.hex").trim());
        assert_eq!(decode(&encode(&hello(2))), Ok(hello(2)));
    }

    #[test]
    fn trailing_bytes_bad_ranges_and_long_frames_are_refused() {
        let mut bytes = encode(&hello(1));
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(WireError::Malformed));
        let ask = |from, to| {
            encode(&Message::Ask {
                space: SpaceTag([0; 16]),
                ranges: vec![LogRange { replica: ReplicaId([0; 16]), from, to }],
            })
        };
        assert!(decode(&ask(1, 1)).is_ok());
        assert_eq!(decode(&ask(0, 1)), Err(WireError::Malformed));
        assert_eq!(decode(&ask(2, 1)), Err(WireError::Malformed));
        assert_eq!(decode(&vec![0; limits::FRAME_BYTES_MAX + 1]), Err(WireError::TooBig));
    }

    #[test]
    fn hellos_of_many_spaces_and_long_vectors_stay_within_a_frame() {
        let space = |replicas: usize| SpaceHello {
            space: SpaceTag([1; 16]),
            flags: 0,
            vector: (0..replicas)
                .map(|index| {
                    let mut id = [0; 16];
                    id[..8].copy_from_slice(&(index as u64).to_le_bytes());
                    (ReplicaId(id), Tip::new(u64::MAX, &CommitHash([9; 32])))
                })
                .collect(),
            root: [4; 32],
        };
        assert_eq!(hello_frames(Vec::new()), [Vec::new()]);
        assert_eq!(hello_frames(vec![space(1); limits::HELLO_SPACES_MAX]).len(), 1);
        assert_eq!(hello_frames(vec![space(1); limits::HELLO_SPACES_MAX + 1]).len(), 2);
        let frames = hello_frames(vec![space(limits::REPLICAS_MAX); 20]);
        assert_eq!(frames.iter().map(Vec::len).sum::<usize>(), 20);
        for spaces in frames {
            assert!(decode(&encode(&Message::Hello { spaces })).is_ok());
        }
    }

    #[test]
    fn a_count_that_lies_costs_no_memory() {
        // A hello that claims 2^60 spaces and holds none.
        let bytes = [&[0_u8][..], &[0x80; 8], &[0x10]].concat();
        assert_eq!(decode(&bytes), Err(WireError::Malformed));
    }

    #[test]
    fn counts_in_messages_hold_at_the_limit_and_one_past_it() {
        let (space, replica) = (SpaceTag([1; 16]), ReplicaId([2; 16]));
        let spaces = |count| {
            let hello = SpaceHello { space, flags: 0, vector: VersionVector::new(), root: [4; 32] };
            Message::Hello { spaces: vec![hello; count] }
        };
        let ranges = |count| Message::Ask { space, ranges: vec![LogRange { replica, from: 1, to: 1 }; count] };
        let headers = |count| {
            let header = SignedHeader { header: vec![1; 300], signature: crate::commit::Signature::from([0; 64]) };
            Message::Fork { space, replica, headers: vec![header; count] }
        };
        let cases: [(usize, &dyn Fn(usize) -> Message); 3] = [
            (limits::HELLO_SPACES_MAX, &spaces),
            (limits::ASK_RANGES_MAX, &ranges),
            (limits::FORK_HEADERS_MAX, &headers),
        ];
        for (most, message) in cases {
            assert_eq!(decode(&encode(&message(most))), Ok(message(most)));
            assert_eq!(decode(&encode(&message(most + 1))), Err(WireError::Malformed));
        }
    }

    #[test]
    fn a_frame_is_read_up_to_its_bound() {
        // What is in it is no message; only whether it is looked at changes.
        assert_eq!(decode(&vec![0xff; limits::FRAME_BYTES_MAX]), Err(WireError::Malformed));
        assert_eq!(decode(&vec![0xff; limits::FRAME_BYTES_MAX + 1]), Err(WireError::TooBig));
    }

    #[test]
    fn an_announcement_holds_at_the_limit_and_one_byte_past_it() {
        let with = |len: usize| {
            let commit = crate::commit::Signed {
                header: vec![1; len],
                signature: crate::commit::Signature::from([0; 64]),
                body: crate::commit::PackedBody::Plain(Vec::new()),
            };
            Announcement {
                replica: ReplicaId([1; 16]),
                n: 1,
                hash: CommitHash([2; 32]),
                counter: 0,
                commit: Some(commit),
            }
        };
        let around = postcard::to_stdvec(&with(128)).expect("plain data").len() - 128;
        let most = with(limits::ANNOUNCEMENT_BYTES_MAX - around);
        let bytes = encode_announcement(&most).expect("fits");
        assert_eq!(bytes.len(), limits::ANNOUNCEMENT_BYTES_MAX);
        assert_eq!(decode_announcement(&bytes), Ok(most));
        let more = with(limits::ANNOUNCEMENT_BYTES_MAX - around + 1);
        assert_eq!(encode_announcement(&more), None);
        assert_eq!(decode_announcement(&postcard::to_stdvec(&more).expect("plain data")), Err(WireError::TooBig));
    }
}
