//! The body of a commit: changes to documents, or membership operations.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ChangeHash, DocId, context, derive},
    limits,
    member::MemberOp,
};

/// What a body holds; part of the signed header. Tags are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyKind {
    /// Changes to documents.
    Changes,
    /// Operations on the list of members.
    Membership,
}

/// One change in a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// An encoded Automerge change.
    Change {
        /// The document.
        doc: DocId,
        /// One plain change chunk.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// When the file was last written that its content was read from, in nanoseconds since 1970 by the clock of its
        /// disk; none for a change that brings no content of a file. Display only, as the time of a commit is.
        mtime_ns: Option<i64>,
    },
    /// The promotion to text of content that rests inline in change `of`. Everybody who holds that change can make
    /// these bytes, so only their hash travels.
    Promotion {
        /// The document.
        doc: DocId,
        /// The change that put the inline content.
        of: ChangeHash,
        /// The hash that the promotion must have.
        hash: ChangeHash,
    },
}

impl Item {
    /// A change that brings no content of a file.
    #[must_use]
    pub const fn change(doc: DocId, bytes: Vec<u8>) -> Self {
        Self::Change { doc, bytes, mtime_ns: None }
    }

    /// The change that brings the content of a file which was last written then.
    #[must_use]
    pub const fn content(doc: DocId, bytes: Vec<u8>, mtime_ns: i64) -> Self {
        Self::Change { doc, bytes, mtime_ns: Some(mtime_ns) }
    }

    /// The document that the item changes.
    #[must_use]
    pub const fn doc(&self) -> DocId {
        match self {
            Self::Change { doc, .. } | Self::Promotion { doc, .. } => *doc,
        }
    }

    /// An upper bound of the encoded length.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        match self {
            Self::Change { bytes, .. } => bytes.len() + 51,
            Self::Promotion { .. } => 97,
        }
    }
}

/// A decoded body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Changes, each after the ones it depends on. An empty list only joins heads.
    Changes(Vec<Item>),
    /// Membership operations, in order.
    Membership(Vec<MemberOp>),
}

/// A body is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Above a bound of `limits`.
    #[error("the body is too large")]
    TooLarge,
    /// Does not decode, or is not in its one encoding.
    #[error("the body is not well formed")]
    Malformed,
    /// Does not inflate to the length it announced.
    #[error("the compressed body is damaged")]
    Compressed,
}

/// The operations of a membership commit as it rests in the store; `None` when it is damaged.
pub(crate) fn member_ops(packed: &PackedBody) -> Option<Vec<MemberOp>> {
    match Body::decode(&packed.unpack().ok()?, BodyKind::Membership).ok()? {
        Body::Membership(ops) => Some(ops),
        Body::Changes(_) => None,
    }
}

impl Body {
    /// What kind this is.
    #[must_use]
    pub const fn kind(&self) -> BodyKind {
        match self {
            Self::Changes(_) => BodyKind::Changes,
            Self::Membership(_) => BodyKind::Membership,
        }
    }

    /// The one encoding: postcard.
    ///
    /// # Errors
    /// When it is above the bounds of a commit.
    pub fn encode(&self) -> Result<Vec<u8>, BodyError> {
        let bytes = self.to_postcard();
        if bytes.len() > limits::BODY_BYTES_MAX || self.is_too_long() {
            return Err(BodyError::TooLarge);
        }
        Ok(bytes)
    }

    /// The hash that a header names.
    #[must_use]
    pub fn hash(encoded: &[u8]) -> [u8; 32] {
        derive(context::BODY, &[encoded])
    }

    /// Reads a body of the kind that its header names.
    ///
    /// # Errors
    /// When the bytes are not such a body in its one encoding, or above a bound.
    pub fn decode(bytes: &[u8], kind: BodyKind) -> Result<Self, BodyError> {
        if bytes.len() > limits::BODY_BYTES_MAX {
            return Err(BodyError::TooLarge);
        }
        let body = match kind {
            BodyKind::Changes => postcard::from_bytes(bytes).map(Self::Changes),
            BodyKind::Membership => postcard::from_bytes(bytes).map(Self::Membership),
        }
        .map_err(|_| BodyError::Malformed)?;
        if body.is_too_long() {
            return Err(BodyError::TooLarge);
        }
        if body.to_postcard() != bytes {
            return Err(BodyError::Malformed);
        }
        Ok(body)
    }

    fn is_too_long(&self) -> bool {
        match self {
            Self::Changes(items) => items.len() > limits::BODY_ITEMS_MAX,
            Self::Membership(ops) => ops.len() > limits::MEMBER_OPS_MAX,
        }
    }

    fn to_postcard(&self) -> Vec<u8> {
        match self {
            Self::Changes(items) => postcard::to_stdvec(items),
            Self::Membership(ops) => postcard::to_stdvec(ops),
        }
        .expect("a body is plain data")
    }
}

/// An encoded body as it travels and rests: zstd where that is shorter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PackedBody {
    /// As encoded.
    Plain(#[serde(with = "serde_bytes")] Vec<u8>),
    /// One zstd frame that inflates to `len` bytes.
    Zstd {
        /// Length of the encoded body.
        len: u32,
        /// The compressed bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
}

impl PackedBody {
    /// zstd's level: its fastest that still finds the repeats of change headers.
    const LEVEL: i32 = 1;

    /// Packs an encoded body.
    #[must_use]
    pub fn pack(encoded: &[u8]) -> Self {
        if encoded.len() > limits::COMPRESS_ABOVE_BYTES
            && let Ok(bytes) = zstd::bulk::compress(encoded, Self::LEVEL)
            && bytes.len() < encoded.len()
            && let Ok(len) = u32::try_from(encoded.len())
        {
            return Self::Zstd { len, bytes };
        }
        Self::Plain(encoded.to_vec())
    }

    /// Gives the encoded body back, within its bound.
    ///
    /// # Errors
    /// When it is longer than allowed or damaged.
    pub fn unpack(&self) -> Result<std::borrow::Cow<'_, [u8]>, BodyError> {
        match self {
            Self::Plain(bytes) if bytes.len() <= limits::BODY_BYTES_MAX => Ok(bytes.into()),
            Self::Zstd { len, bytes } if *len as usize <= limits::BODY_BYTES_MAX => {
                let plain = zstd::bulk::decompress(bytes, *len as usize).map_err(|_| BodyError::Compressed)?;
                if plain.len() != *len as usize {
                    return Err(BodyError::Compressed);
                }
                Ok(plain.into())
            }
            _ => Err(BodyError::TooLarge),
        }
    }

    /// Bytes as packed.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Plain(bytes) | Self::Zstd { bytes, .. } => bytes.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::InviteKey, member::Role};

    fn items(count: usize) -> Body {
        let item = Item::Promotion { doc: DocId([1; 32]), of: ChangeHash([2; 32]), hash: ChangeHash([3; 32]) };
        Body::Changes(vec![item; count])
    }

    #[test]
    fn item_counts_hold_at_the_limit_and_one_past_it() {
        let body = items(limits::BODY_ITEMS_MAX);
        let bytes = body.encode().expect("at the limit");
        assert_eq!(Body::decode(&bytes, BodyKind::Changes), Ok(body));
        let past = items(limits::BODY_ITEMS_MAX + 1);
        assert_eq!(past.encode(), Err(BodyError::TooLarge));
        assert_eq!(Body::decode(&past.to_postcard(), BodyKind::Changes), Err(BodyError::TooLarge));
    }

    #[test]
    fn packing_round_trips_and_a_bomb_is_refused_before_it_inflates() {
        let encoded = items(100).encode().expect("small");
        let packed = PackedBody::pack(&encoded);
        assert!(packed.len() < encoded.len() / 4);
        assert_eq!(packed.unpack().expect("sound").as_ref(), encoded);

        let zeros = vec![0; 64 * 1024 * 1024];
        let bytes = zstd::bulk::compress(&zeros, 1).expect("compresses");
        let honest = PackedBody::Zstd { len: zeros.len() as u32, bytes: bytes.clone() };
        assert_eq!(honest.unpack(), Err(BodyError::TooLarge));
        let lying = PackedBody::Zstd { len: 1000, bytes };
        assert_eq!(lying.unpack(), Err(BodyError::Compressed));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = items(1).encode().expect("small");
        bytes.push(0);
        assert_eq!(Body::decode(&bytes, BodyKind::Changes), Err(BodyError::Malformed));
    }

    #[test]
    fn membership_operations_hold_at_the_limit_and_one_past_it() {
        let op = MemberOp::Invite { key: InviteKey([1; 32]), role: Role::Reader, uses: 1, expires_ms: 0 };
        let ops = |count| Body::Membership(vec![op.clone(); count]);
        let body = ops(limits::MEMBER_OPS_MAX);
        let bytes = body.encode().expect("at the limit");
        assert_eq!(Body::decode(&bytes, BodyKind::Membership), Ok(body));
        let past = ops(limits::MEMBER_OPS_MAX + 1);
        assert_eq!(past.encode(), Err(BodyError::TooLarge));
        assert_eq!(Body::decode(&past.to_postcard(), BodyKind::Membership), Err(BodyError::TooLarge));
    }

    #[test]
    fn bodies_hold_at_the_longest_and_one_byte_past_it() {
        let change = |len: usize| Body::Changes(vec![Item::change(DocId([1; 32]), vec![0; len])]);
        let around = change(0).to_postcard().len();
        // The length of so many bytes takes two bytes more than that of none.
        let longest = change(limits::BODY_BYTES_MAX - around - 2);
        let bytes = longest.encode().expect("at the limit");
        assert_eq!(bytes.len(), limits::BODY_BYTES_MAX);
        assert_eq!(Body::decode(&bytes, BodyKind::Changes).as_ref(), Ok(&longest));
        assert_eq!(PackedBody::Plain(bytes.clone()).unpack().as_deref(), Ok(&bytes[..]));
        assert_eq!(PackedBody::pack(&bytes).unpack().as_deref(), Ok(&bytes[..]));

        let past = change(limits::BODY_BYTES_MAX - around - 1);
        assert_eq!(past.encode(), Err(BodyError::TooLarge));
        let bytes = past.to_postcard();
        assert_eq!(Body::decode(&bytes, BodyKind::Changes), Err(BodyError::TooLarge));
        assert_eq!(PackedBody::pack(&bytes).unpack(), Err(BodyError::TooLarge));
        assert_eq!(PackedBody::Plain(bytes).unpack(), Err(BodyError::TooLarge));
    }

    #[test]
    fn only_bodies_above_a_size_are_compressed() {
        let zeros = |len: usize| PackedBody::pack(&vec![0; len]);
        assert!(matches!(zeros(limits::COMPRESS_ABOVE_BYTES), PackedBody::Plain(_)));
        assert!(matches!(zeros(limits::COMPRESS_ABOVE_BYTES + 1), PackedBody::Zstd { .. }));
    }
}
