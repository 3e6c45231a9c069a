//! Signed, numbered, causal commits: the unit that replicas exchange.
//!
//! A commit is a header, the author's signature over exactly the encoded header, and a body that the header
//! names by hash. [`Signed`] is what came from somewhere and is only decoded; [`Verified`] has passed the checks that
//! need nothing but the commit itself. Whether its parents are held, its author may write and its changes are
//! sound is for `member`, `preflight` and `engine`.

mod body;
mod header;

pub(crate) use body::member_ops;
pub use body::{Body, BodyError, BodyKind, Item, PackedBody};
pub use header::{Header, Origin};

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{CommitHash, DeviceId, context, derive},
    probe::{Plant, planted},
};

/// An Ed25519 signature: 64 bytes, in two halves because serde knows arrays up to 32.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature([u8; 32], [u8; 32]);

impl Signature {
    /// The 64 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.0);
        bytes[32..].copy_from_slice(&self.1);
        bytes
    }
}

impl From<[u8; 64]> for Signature {
    fn from(bytes: [u8; 64]) -> Self {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        Self(r, s)
    }
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signature(..)")
    }
}

/// A key that signs, and whose public half is an id. Its `Debug` shows the public half only.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Takes the 32 bytes of an Ed25519 seed.
    #[must_use]
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The 32 bytes of the seed.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The device whose key this is.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId(self.public())
    }

    /// Signs the hash of the parts under a context.
    #[must_use]
    pub fn sign(&self, context: &str, parts: &[&[u8]]) -> Signature {
        Signature::from(self.0.sign(&derive(context, parts)).to_bytes())
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey({})", self.device().short())
    }
}

/// Checks a signature strictly: weak keys and malleable signatures are refused.
#[must_use]
pub fn verify(key: &[u8; 32], context: &str, parts: &[&[u8]], signature: &Signature) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(key) else {
        return false;
    };
    let signature = ed25519_dalek::Signature::from_bytes(&signature.to_bytes());
    key.verify_strict(&derive(context, parts), &signature).is_ok()
}

/// Why a commit is refused for good. Each names a fault of its author or of whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The header does not decode, or is not in its one encoding.
    #[error("the header is not well formed")]
    Header,
    /// The header is of a version that this program does not know.
    #[error("the header has version {0}, which this program does not know")]
    Version(u8),
    /// The header breaks a rule that needs nothing else to check.
    #[error("the header breaks a rule: {0}")]
    Rule(&'static str),
    /// The signature is not the author's.
    #[error("the signature does not match")]
    Signature,
    /// The body is not the one that the header names.
    #[error("the body does not match its header")]
    BodyHash,
}

/// A commit as it travels and rests: exact header bytes, signature, packed body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The encoded header, exactly as signed.
    #[serde(with = "serde_bytes")]
    pub header: Vec<u8>,
    /// The author's signature over the header.
    pub signature: Signature,
    /// The body, perhaps compressed.
    pub body: PackedBody,
}

/// The header of a commit and its author's signature, without the body: enough to prove that the author made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHeader {
    /// The header exactly as signed.
    #[serde(with = "serde_bytes")]
    pub header: Vec<u8>,
    /// The author's signature over it.
    pub signature: Signature,
}

impl SignedHeader {
    /// The hash of the commit.
    #[must_use]
    pub fn hash(&self) -> CommitHash {
        CommitHash(derive(context::COMMIT, &[&self.header]))
    }

    /// Decodes the header and checks that this device signed it.
    ///
    /// # Errors
    /// When the header is not well formed or the signature is another's.
    pub fn verify(&self, device: DeviceId) -> Result<Header, CommitError> {
        let header = Header::decode(&self.header)?;
        if verify(&device.0, context::COMMIT_SIGNATURE, &[&self.header], &self.signature) {
            Ok(header)
        } else {
            Err(CommitError::Signature)
        }
    }
}

impl Signed {
    /// Signs a header and packs its body.
    ///
    /// # Errors
    /// When the body is above its bound.
    pub fn create(header: &Header, body: &Body, key: &SecretKey) -> Result<Self, BodyError> {
        let encoded = header.encode();
        let signature = key.sign(context::COMMIT_SIGNATURE, &[&encoded]);
        Ok(Self { header: encoded, signature, body: PackedBody::pack(&body.encode()?) })
    }

    /// The hash that names this commit.
    #[must_use]
    pub fn hash(&self) -> CommitHash {
        CommitHash(derive(context::COMMIT, &[&self.header]))
    }

    /// Bytes that this commit takes on the wire, give or take a few of framing.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.header.len() + 64 + self.body.len() + 8
    }

    /// Checks all that needs nothing but the commit and the device that its replica is bound to: one canonical
    /// encoding, the header's own rules, the signature, the hash of the body, and that the body decodes.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, header: Header, device: DeviceId) -> Result<Verified, RefusedCommit> {
        let signed = verify(&device.0, context::COMMIT_SIGNATURE, &[&self.header], &self.signature);
        if !signed && !planted(Plant::ForwardUnverified) {
            return Err(CommitError::Signature.into());
        }
        let body = self.body.unpack()?;
        if body.len() != header.body_len as usize || header.body_hash != Body::hash(&body) {
            return Err(CommitError::BodyHash.into());
        }
        let body = Body::decode(&body, header.kind)?;
        Ok(Verified { hash: self.hash(), header, body })
    }
}

/// A commit or its body is not acceptable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedCommit {
    /// Header, signature or the binding of the two to the body.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The body.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// A commit whose header, signature and body belong together.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The hash that names it.
    pub hash: CommitHash,
    /// Its header.
    pub header: Header,
    /// Its body.
    pub body: Body,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DocId, InstallEpoch, ReplicaId, SpaceId};

    pub(super) fn sample() -> (SecretKey, Header, Body) {
        let key = SecretKey::from_bytes(&[9; 32]);
        let space = SpaceId([2; 32]);
        let epoch = InstallEpoch([3; 16]);
        let body = Body::Changes(vec![Item::content(DocId([5; 32]), vec![6; 600], 1_600_000_000_123_456_789)]);
        let encoded = body.encode().expect("small");
        let header = Header {
            space,
            replica: ReplicaId::derive(key.device(), space, epoch),
            n: 1,
            parents: vec![],
            auth: vec![],
            kind: BodyKind::Changes,
            body_hash: Body::hash(&encoded),
            body_len: encoded.len() as u32,
            wall_ms: 1_700_000_000_000,
            origin: Some(Origin { device: key.device(), epoch }),
        };
        (key, header, body)
    }

    #[test]
    fn a_commit_verifies_and_any_flipped_bit_does_not() {
        let (key, header, body) = sample();
        let signed = Signed::create(&header, &body, &key).expect("small");
        let verified = signed.verify(header.clone(), key.device()).expect("sound");
        assert_eq!(verified.body, body);
        for index in 0..signed.header.len() {
            let mut forged = signed.clone();
            forged.header[index] ^= 1;
            let refused = match Header::decode(&forged.header) {
                Ok(header) => forged.verify(header, key.device()).is_err(),
                Err(_) => true,
            };
            assert!(refused, "byte {index} of the header may be flipped");
        }
    }

    #[test]
    fn the_commit_vector_of_the_specification_holds() {
        let (key, header, body) = sample();
        let signed = Signed::create(&header, &body, &key).expect("small");
        assert_eq!(
            data_encoding::HEXLOWER.encode(&signed.header),
            include_str!("../../vectors/commit_header.hex").trim()
        );
        assert_eq!(signed.hash().to_string(), include_str!("../../vectors/commit_hash.hex").trim());
        assert_eq!(
            data_encoding::HEXLOWER.encode(&signed.signature.to_bytes()),
            include_str!("../../vectors/commit_signature.hex").trim()
        );
    }
}
