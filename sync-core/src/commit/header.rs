//! The header of a commit: everything that is signed.

use serde::{Deserialize, Serialize};

use super::{CommitError, body::BodyKind};
use crate::{
    ids::{CommitHash, DeviceId, InstallEpoch, ReplicaId, SpaceId},
    limits,
};

/// Version of the header's encoding, its first byte.
const VERSION: u8 = 1;

/// Binds a replica to its device; carried by commit 1 of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The device whose key signs this log.
    pub device: DeviceId,
    /// The epoch under which the replica id was minted.
    pub epoch: InstallEpoch,
}

/// What a replica signs when it appends to its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The space.
    pub space: SpaceId,
    /// The log this commit is part of.
    pub replica: ReplicaId,
    /// Its number in that log, from 1.
    pub n: u64,
    /// All heads of the commit graph that the writer held, sorted.
    pub parents: Vec<CommitHash>,
    /// The newest membership commits in its past, sorted.
    pub auth: Vec<CommitHash>,
    /// What the body is.
    pub kind: BodyKind,
    /// Hash of the encoded body.
    pub body_hash: [u8; 32],
    /// Length of the encoded body in bytes, before compression.
    pub body_len: u32,
    /// The writer's clock in milliseconds since 1970; shown to people, decides nothing.
    pub wall_ms: u64,
    /// Present in commit 1 of a log and nowhere else.
    pub origin: Option<Origin>,
}

impl Header {
    /// The one encoding, which is what gets signed: a version byte and postcard.
    ///
    /// # Panics
    /// Never: a header is plain data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("a header is plain data")
    }

    /// Reads a header and checks the rules that concern it alone.
    ///
    /// # Errors
    /// When the bytes are not a header in its one encoding, or break a rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, CommitError> {
        let (&version, rest) = bytes.split_first().ok_or(CommitError::Header)?;
        if version != VERSION {
            return Err(CommitError::Version(version));
        }
        if bytes.len() > limits::HEADER_BYTES_MAX {
            return Err(CommitError::Header);
        }
        let header: Self = postcard::from_bytes(rest).map_err(|_| CommitError::Header)?;
        // Postcard accepts longer forms of some integers and trailing bytes: only the one encoding counts.
        if header.encode() != bytes {
            return Err(CommitError::Header);
        }
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), CommitError> {
        if self.n == 0 {
            return Err(CommitError::Rule("commits are numbered from 1"));
        }
        if self.parents.len() > limits::PARENTS_MAX || self.auth.len() > limits::AUTH_MAX {
            return Err(CommitError::Rule("too many parents or membership commits"));
        }
        if !is_sorted_set(&self.parents) || !is_sorted_set(&self.auth) {
            return Err(CommitError::Rule("parents and auth are sorted, without repeats"));
        }
        if self.body_len as usize > limits::BODY_BYTES_MAX {
            return Err(CommitError::Rule("the body is too long"));
        }
        match &self.origin {
            Some(origin) if self.n == 1 => {
                if ReplicaId::derive(origin.device, self.space, origin.epoch) != self.replica {
                    return Err(CommitError::Rule("the replica id does not follow from the device"));
                }
            }
            None if self.n > 1 => {
                if self.parents.is_empty() {
                    return Err(CommitError::Rule("only a first commit has no parents"));
                }
            }
            _ => return Err(CommitError::Rule("commit 1 of a log names its device, and only that")),
        }
        Ok(())
    }
}

fn is_sorted_set(hashes: &[CommitHash]) -> bool {
    hashes.windows(2).all(|pair| pair[0] < pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_bytes_and_other_versions_are_refused() {
        let (_, header, _) = super::super::tests::sample();
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes).as_ref(), Ok(&header));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Header::decode(&longer), Err(CommitError::Header));
        let mut newer = bytes;
        newer[0] = 2;
        assert_eq!(Header::decode(&newer), Err(CommitError::Version(2)));
        assert_eq!(Header::decode(&[]), Err(CommitError::Header));
    }

    #[test]
    fn a_replica_that_is_not_the_devices_is_refused() {
        let (_, mut header, _) = super::super::tests::sample();
        header.replica = ReplicaId([1; 16]);
        assert!(matches!(Header::decode(&header.encode()), Err(CommitError::Rule(_))));
        header.n = 2;
        assert!(matches!(Header::decode(&header.encode()), Err(CommitError::Rule(_))));
    }

    #[test]
    fn parents_at_the_limit_pass_and_one_more_does_not() {
        let (_, mut header, _) = super::super::tests::sample();
        header.parents = (0..16).map(|i| CommitHash([i; 32])).collect();
        assert!(Header::decode(&header.encode()).is_ok());
        header.parents.push(CommitHash([16; 32]));
        assert!(matches!(Header::decode(&header.encode()), Err(CommitError::Rule(_))));
    }

    #[test]
    fn auth_at_the_limit_passes_and_one_more_does_not() {
        let (_, mut header, _) = super::super::tests::sample();
        let hashes = |count: usize| (0..count).map(|i| CommitHash([i as u8; 32])).collect();
        header.auth = hashes(limits::AUTH_MAX);
        assert!(Header::decode(&header.encode()).is_ok());
        header.auth = hashes(limits::AUTH_MAX + 1);
        assert!(matches!(Header::decode(&header.encode()), Err(CommitError::Rule(_))));
    }

    #[test]
    fn a_header_is_refused_by_its_length_before_it_is_read() {
        let (_, mut header, _) = super::super::tests::sample();
        header.auth = vec![CommitHash([1; 32]); (limits::HEADER_BYTES_MAX - header.encode().len()) / 32];
        let bytes = header.encode();
        assert!(limits::HEADER_BYTES_MAX - bytes.len() < 32, "the longest that fits");
        assert!(matches!(Header::decode(&bytes), Err(CommitError::Rule(_))));
        let exact = [&bytes[..], &vec![0; limits::HEADER_BYTES_MAX - bytes.len()]].concat();
        assert!(Header::decode(&exact).is_err());
        header.auth.push(CommitHash([1; 32]));
        assert_eq!(Header::decode(&header.encode()), Err(CommitError::Header));
    }

    #[test]
    fn a_body_may_be_said_to_be_as_long_as_one_may_be() {
        let (_, mut header, _) = super::super::tests::sample();
        header.body_len = limits::BODY_BYTES_MAX as u32;
        assert!(Header::decode(&header.encode()).is_ok());
        header.body_len += 1;
        assert_eq!(Header::decode(&header.encode()), Err(CommitError::Rule("the body is too long")));
    }
}
