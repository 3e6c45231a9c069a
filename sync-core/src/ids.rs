//! Identifiers and the hash that derives them.
//!
//! Every identifier is a fixed array of bytes in its own type, so that a document can never be passed where a
//! space is meant. All hashing of our own is BLAKE3 with a `derive_key` context per purpose: [`derive()`] is the
//! only door, and the contexts are the constants in [`context`]. `docs/SPEC.md` lists each with a test vector.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Contexts of `derive_key`, one per purpose; none is ever used for two things.
pub mod context {
    /// Replica id from device, space and install epoch.
    pub const REPLICA: &str = "kith replica 1";
    /// Space id from the body of the genesis commit.
    pub const SPACE: &str = "kith space 1";
    /// Hash of a commit header.
    pub const COMMIT: &str = "kith commit 1";
    /// Hash of a commit body.
    pub const BODY: &str = "kith body 1";
    /// Term of a document in the root digest.
    pub const ROOT: &str = "kith root 1";
    /// Tag that names a space in a hello.
    pub const TAG: &str = "kith tag 1";
    /// Gossip topic of a space.
    pub const TOPIC: &str = "kith topic 1";
    /// Actor of the root change of an entry.
    pub const ENTRY_ACTOR: &str = "kith entry actor 1";
    /// Actor of a promotion to text.
    pub const PROMOTION_ACTOR: &str = "kith promotion actor 1";
    /// What an invite's key signs for a device.
    pub const INVITE_PROOF: &str = "kith invite proof 1";
    /// What a device signs in a commit.
    pub const COMMIT_SIGNATURE: &str = "kith commit signature 1";
    /// Hash of a chunk list.
    pub const CHUNK_LIST: &str = "kith chunk list 1";
    /// Check value of an invite string.
    pub const INVITE_CHECK: &str = "kith invite check 1";
    /// Jitter of the engine's timers.
    pub const JITTER: &str = "kith jitter 1";
}

/// Hashes the parts one after the other under a context.
///
/// The caller keeps parts of variable length unambiguous (fixed lengths, or a length in front).
#[must_use]
pub fn derive(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// First 16 bytes of [`derive()`].
#[must_use]
pub fn derive16(context: &str, parts: &[&[u8]]) -> [u8; 16] {
    let full = derive(context, parts);
    let mut short = [0; 16];
    short.copy_from_slice(&full[..16]);
    short
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// First ten hex digits, for logs and tables.
            #[must_use]
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..5])
            }

            /// Reads the id from exactly its number of bytes.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                <[u8; $len]>::try_from(bytes).ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                data_encoding::HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| Self::from_slice(&bytes))
                    .ok_or(ParseIdError)
            }
        }
    };
}

/// The text is not an identifier of the asked kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of the expected length in hex")]
pub struct ParseIdError;

id!(
    /// A machine's identity: the public half of its iroh key.
    DeviceId,
    32
);
id!(
    /// Hash of the body of the genesis commit.
    SpaceId,
    32
);
id!(
    /// One store on one device; also the Automerge actor of what it writes.
    ReplicaId,
    16
);
id!(
    /// Hash of a document's root change.
    DocId,
    32
);
id!(
    /// Automerge's hash of one change.
    ChangeHash,
    32
);
id!(
    /// Hash of a commit header.
    CommitHash,
    32
);
id!(
    /// BLAKE3 of the bytes of a file.
    ContentHash,
    32
);
id!(
    /// BLAKE3 of the bytes of a chunk.
    ChunkHash,
    32
);
id!(
    /// Random bytes minted with a store, and again after a restore.
    InstallEpoch,
    16
);
id!(
    /// Names a space in a hello to one peer without telling strangers which.
    SpaceTag,
    16
);
id!(
    /// Public half of an invite's key.
    InviteKey,
    32
);

impl SpaceId {
    /// Derives the id from the encoded body of the genesis commit.
    #[must_use]
    pub fn from_genesis(body: &[u8]) -> Self {
        Self(derive(context::SPACE, &[body]))
    }

    /// The tag under which `sender` names this space.
    #[must_use]
    pub fn tag(&self, sender: DeviceId) -> SpaceTag {
        SpaceTag(derive16(context::TAG, &[&self.0, &sender.0]))
    }

    /// The gossip topic of this space.
    #[must_use]
    pub fn topic(&self) -> [u8; 32] {
        derive(context::TOPIC, &[&self.0])
    }
}

impl ReplicaId {
    /// Derives the id that binds a store to its device.
    #[must_use]
    pub fn derive(device: DeviceId, space: SpaceId, epoch: InstallEpoch) -> Self {
        Self(derive16(context::REPLICA, &[&device.0, &space.0, &epoch.0]))
    }
}

impl ContentHash {
    /// Hashes the bytes of a file.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl ChunkHash {
    /// Hashes the bytes of a chunk.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl From<DocId> for ChangeHash {
    /// A document is named by its root change.
    fn from(doc: DocId) -> Self {
        Self(doc.0)
    }
}

impl From<ChangeHash> for DocId {
    fn from(root: ChangeHash) -> Self {
        Self(root.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These bytes are in `docs/SPEC.md`; a change here is a change of the format.
    #[test]
    fn derivations_match_the_specification() {
        let device = DeviceId([1; 32]);
        let space = SpaceId([2; 32]);
        let epoch = InstallEpoch([3; 16]);
        assert_eq!(
            ReplicaId::derive(device, space, epoch).to_string(),
            include_str!("../vectors/replica_id.hex").trim()
        );
        assert_eq!(space.tag(device).to_string(), include_str!("../vectors/space_tag.hex").trim());
        assert_eq!(data_encoding::HEXLOWER.encode(&space.topic()), include_str!("../vectors/topic.hex").trim());
    }

    #[test]
    fn text_form_round_trips_and_refuses_other_lengths() {
        let id = DocId([0xab; 32]);
        assert_eq!(id.to_string().parse::<DocId>(), Ok(id));
        assert_eq!("abcd".parse::<DocId>(), Err(ParseIdError));
        assert_eq!("zz".repeat(32).parse::<DocId>(), Err(ParseIdError));
    }
}
