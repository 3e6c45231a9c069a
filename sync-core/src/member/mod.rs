//! Who belongs to a space, and who may do what: roles computed from the commit graph.
//!
//! Membership operations are commits like any other, so their causal order is the graph's. [`Membership`] is a pure
//! function of a set of such commits: [`Membership::at`] restricts it to the causal past of another commit, which is
//! how every device reaches the same verdict about that commit, whenever it arrives.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    commit::{Body, SecretKey, Signature, verify},
    ids::{CommitHash, DeviceId, InviteKey, SpaceId, context},
    limits,
    probe::{Plant, planted},
    tree::Folds,
};

/// What a member may do; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Receives everything, changes nothing.
    Reader,
    /// Changes documents.
    Writer,
    /// Changes documents and the list of members.
    Owner,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Owner => "owner",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "reader" => Ok(Self::Reader),
            "writer" => Ok(Self::Writer),
            "owner" => Ok(Self::Owner),
            _ => Err(UnknownRole),
        }
    }
}

/// The text names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is reader, writer or owner")]
pub struct UnknownRole;

/// One operation of a membership commit. Tags are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberOp {
    /// Founds a space: the only operation of the commit whose body hash names it.
    Genesis {
        /// The first owner; signs the commit.
        device: DeviceId,
        /// Makes the space's id unique.
        random: [u8; 32],
        /// What people call the space.
        space_name: String,
        /// What people call the first device.
        device_name: String,
    },
    /// Lets whoever proves the secret of `key` join.
    Invite {
        /// Public half of the invite's key.
        key: InviteKey,
        /// The role that joining gives.
        role: Role,
        /// How many devices may join with it.
        uses: u32,
        /// Until when a device may admit a joiner, by its own clock: milliseconds since 1970.
        expires_ms: u64,
    },
    /// Takes a device in.
    Accept {
        /// The invite that it used.
        invite: InviteKey,
        /// The new member.
        device: DeviceId,
        /// What people call it.
        name: String,
        /// The invite key's signature over space and device.
        proof: Signature,
    },
    /// Says what the disk of the author's folder does not tell apart in names; the last word of a device holds.
    Disk {
        /// What it does not.
        folds: Folds,
    },
}

/// Proves an invite's secret for one device: only that device can use what this returns.
#[must_use]
pub fn prove_invite(secret: &SecretKey, space: SpaceId, device: DeviceId) -> Signature {
    secret.sign(context::INVITE_PROOF, &[&space.0, &device.0])
}

/// A member as seen from some point of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it may do.
    pub role: Role,
    /// What people call it.
    pub name: String,
    /// What its disk does not tell apart in names.
    pub folds: Folds,
}

/// An invite as seen from some point of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// The role that joining gives.
    pub role: Role,
    /// Uses that are left.
    pub uses_left: u32,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// Why a membership operation does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The author's role does not allow it.
    #[error("the author's role does not allow this")]
    NotAllowed,
    /// No such invite in the commit's past.
    #[error("the invite is not known")]
    UnknownInvite,
    /// All its uses are taken.
    #[error("the invite is used up")]
    UsedUp,
    /// The signature is not by the invite's key for this device and space.
    #[error("the proof of the invite does not match")]
    Proof,
    /// A second genesis, or a genesis that does not make the id of its space.
    #[error("the genesis does not found this space")]
    Genesis,
    /// A name is empty, too long or holds control characters.
    #[error("a name is empty, too long or not printable")]
    Name,
    /// Too many open invites.
    #[error("the space has too many open invites")]
    TooManyInvites,
}

/// Whether a name of a person's making may be shown and stored: printable, of sane length.
#[must_use]
pub fn is_good_name(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= limits::NAME_BYTES_MAX && !name.chars().any(char::is_control)
}

/// Whether operations are the one genesis that the space's id is the hash of. With anything beside it, or in another
/// space, a genesis would make an owner of whoever signs a first commit.
fn is_genesis_of(space: SpaceId, ops: &[MemberOp]) -> bool {
    ops.len() == 1 && Body::Membership(ops.to_vec()).encode().is_ok_and(|body| SpaceId::from_genesis(&body) == space)
}

/// Members and invites after a set of membership commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    space_name: Option<String>,
    members: BTreeMap<DeviceId, Member>,
    invites: BTreeMap<InviteKey, Invite>,
}

impl Membership {
    /// Applies the operations of one commit by `author`, all or none.
    ///
    /// # Errors
    /// The first operation that is not allowed; nothing is applied then.
    pub fn apply(&mut self, space: SpaceId, author: DeviceId, ops: &[MemberOp]) -> Result<(), MemberError> {
        let founds = ops.iter().any(|op| matches!(op, MemberOp::Genesis { .. }));
        if founds && !is_genesis_of(space, ops) {
            return Err(MemberError::Genesis);
        }
        self.apply_all(author, ops, |invite, device, proof| {
            verify(&invite.0, context::INVITE_PROOF, &[&space.0, &device.0], proof)
        })
    }

    fn apply_all(
        &mut self,
        author: DeviceId,
        ops: &[MemberOp],
        holds: impl Fn(&InviteKey, &DeviceId, &Signature) -> bool,
    ) -> Result<(), MemberError> {
        let mut next = self.clone();
        for op in ops {
            next.apply_one(author, op, &holds)?;
        }
        *self = next;
        Ok(())
    }

    fn apply_one(
        &mut self,
        author: DeviceId,
        op: &MemberOp,
        holds: impl Fn(&InviteKey, &DeviceId, &Signature) -> bool,
    ) -> Result<(), MemberError> {
        match op {
            MemberOp::Genesis { device, space_name, device_name, .. } => {
                if self.space_name.is_some() || *device != author {
                    return Err(MemberError::Genesis);
                }
                if !is_good_name(space_name) || !is_good_name(device_name) {
                    return Err(MemberError::Name);
                }
                self.space_name = Some(space_name.clone());
                let first = Member { role: Role::Owner, name: device_name.clone(), folds: Folds::NONE };
                self.members.insert(author, first);
            }
            MemberOp::Invite { key, role, uses, expires_ms } => {
                // Only an owner may let another owner in; a writer may invite writers and readers.
                let own = self.role(&author).ok_or(MemberError::NotAllowed)?;
                if own < Role::Writer || *role > own || *uses == 0 {
                    return Err(MemberError::NotAllowed);
                }
                let open = self.invites.values().filter(|invite| invite.uses_left > 0).count();
                if open >= limits::INVITES_OPEN_MAX {
                    return Err(MemberError::TooManyInvites);
                }
                let invite = Invite { role: *role, uses_left: *uses, expires_ms: *expires_ms };
                self.invites.entry(*key).or_insert(invite);
            }
            MemberOp::Accept { invite, device, name, proof } => {
                if self.role(&author).is_none() {
                    return Err(MemberError::NotAllowed);
                }
                if !is_good_name(name) {
                    return Err(MemberError::Name);
                }
                if !holds(invite, device, proof) {
                    return Err(MemberError::Proof);
                }
                let open = self.invites.get_mut(invite).ok_or(MemberError::UnknownInvite)?;
                if self.members.contains_key(device) {
                    return Ok(());
                }
                if open.uses_left == 0 && !planted(Plant::AcceptUsedInvite) {
                    return Err(MemberError::UsedUp);
                }
                open.uses_left = open.uses_left.saturating_sub(1);
                let member = Member { role: open.role, name: name.clone(), folds: Folds::NONE };
                self.members.insert(*device, member);
            }
            MemberOp::Disk { folds } => {
                self.members.get_mut(&author).ok_or(MemberError::NotAllowed)?.folds = *folds;
            }
        }
        Ok(())
    }

    /// Evaluates a set of membership commits, given by ascending [`rank`]. What a later commit would take twice is left
    /// out there: of two concurrent uses of a one-use invite the one that comes first holds.
    ///
    /// Each must have been valid in its own past. Proofs are not checked again: whether one holds depends on nothing else,
    /// and a signature a commit, each time, would let anybody make membership dear.
    pub fn at<'a>(commits: impl IntoIterator<Item = &'a MemberCommit>) -> Self {
        let mut membership = Self::default();
        for commit in commits {
            // Each was valid in its own past; what fails here lost against a concurrent one.
            let _lost_to_a_concurrent_commit = membership.apply_all(commit.author, &commit.ops, |_, _, _| true);
        }
        membership
    }

    /// The role of a device, if it is a member.
    #[must_use]
    pub fn role(&self, device: &DeviceId) -> Option<Role> {
        self.members.get(device).map(|member| member.role)
    }

    /// What a member's own disk does not tell apart in names.
    #[must_use]
    pub fn folds_of(&self, device: &DeviceId) -> Option<Folds> {
        self.members.get(device).map(|member| member.folds)
    }

    /// What some member's disk does not tell apart in names: in the tree such names clash.
    #[must_use]
    pub fn folds(&self) -> Folds {
        self.members.values().fold(Folds::NONE, |folds, member| folds.or(member.folds))
    }

    /// All members by id.
    pub fn members(&self) -> impl Iterator<Item = (&DeviceId, &Member)> {
        self.members.iter()
    }

    /// What people call the space, once its genesis is held.
    #[must_use]
    pub fn space_name(&self) -> Option<&str> {
        self.space_name.as_deref()
    }

    /// Checks whether `device` may join now with this invite, by the clock of whoever admits it.
    ///
    /// # Errors
    /// Why not.
    pub fn check_invite(&self, key: &InviteKey, now_ms: u64) -> Result<&Invite, InviteRefusal> {
        let invite = self.invites.get(key).ok_or(InviteRefusal::Unknown)?;
        if invite.uses_left == 0 && !planted(Plant::AcceptUsedInvite) {
            return Err(InviteRefusal::Used);
        }
        if now_ms >= invite.expires_ms {
            return Err(InviteRefusal::Expired);
        }
        Ok(invite)
    }

    /// Whether anybody could join now.
    #[must_use]
    pub fn has_open_invite(&self, now_ms: u64) -> bool {
        self.invites.values().any(|invite| invite.uses_left > 0 && now_ms < invite.expires_ms)
    }
}

/// Why a joiner is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum InviteRefusal {
    /// Not an invite of a space that this device is in.
    #[error("the invite is not known here")]
    Unknown,
    /// All its uses are taken.
    #[error("the invite has been used")]
    Used,
    /// Its time is over.
    #[error("the invite has expired")]
    Expired,
    /// The joiner does not hold its secret.
    #[error("the invite is damaged: its secret does not match")]
    Proof,
    /// The joiner's name cannot be shown.
    #[error("the device's name is empty, too long or not printable")]
    Name,
}

/// The key that puts commits in an order that is the same everywhere, each after its past: how many commits are in its
/// past, itself included, and then its hash.
#[must_use]
pub fn rank(clock: impl IntoIterator<Item = u64>, hash: CommitHash) -> (u64, CommitHash) {
    (clock.into_iter().fold(0, u64::saturating_add), hash)
}

/// A membership commit with what evaluation needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCommit {
    /// Its hash.
    pub hash: CommitHash,
    /// The device that signed it.
    pub author: DeviceId,
    /// Its operations.
    pub ops: Vec<MemberOp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    fn genesis(device: DeviceId) -> MemberOp {
        MemberOp::Genesis { device, random: [0; 32], space_name: "notes".into(), device_name: "desk".into() }
    }

    fn space() -> SpaceId {
        let body = Body::Membership(vec![genesis(key(1).device())]).encode().expect("small");
        SpaceId::from_genesis(&body)
    }

    fn founded() -> Membership {
        let owner = key(1).device();
        let mut membership = Membership::default();
        membership.apply(space(), owner, &[genesis(owner)]).expect("founds");
        membership
    }

    fn invite(uses: u32, role: Role) -> MemberOp {
        MemberOp::Invite { key: InviteKey(key(50).public()), role, uses, expires_ms: 1000 }
    }

    fn accept(device: DeviceId) -> MemberOp {
        MemberOp::Accept {
            invite: InviteKey(key(50).public()),
            device,
            name: "laptop".into(),
            proof: prove_invite(&key(50), space(), device),
        }
    }

    #[test]
    fn an_invite_takes_in_one_device_and_no_second() {
        let (owner, first, second) = (key(1).device(), key(2).device(), key(3).device());
        let mut membership = founded();
        membership.apply(space(), owner, &[invite(1, Role::Writer)]).expect("invites");
        membership.apply(space(), owner, &[accept(first)]).expect("takes in");
        assert_eq!(membership.role(&first), Some(Role::Writer));
        // The same device again changes nothing; another one is turned away.
        membership.apply(space(), first, &[accept(first)]).expect("is idempotent");
        assert_eq!(membership.apply(space(), first, &[accept(second)]), Err(MemberError::UsedUp));
        assert_eq!(membership.check_invite(&InviteKey(key(50).public()), 10), Err(InviteRefusal::Used));
    }

    #[test]
    fn what_a_disk_folds_is_the_vector_of_the_specification() {
        let body = Body::Membership(vec![MemberOp::Disk { folds: Folds { case: true, form: false } }]);
        let vector = include_str!("../../vectors/member_disk.hex").trim();
        assert_eq!(data_encoding::HEXLOWER.encode(&body.encode().expect("small")), vector);
    }

    #[test]
    fn what_any_members_disk_folds_counts_until_that_member_says_otherwise() {
        let (owner, first, stranger) = (key(1).device(), key(2).device(), key(9).device());
        let disk = |case, form| MemberOp::Disk { folds: Folds { case, form } };
        let mut membership = founded();
        assert_eq!(membership.folds(), Folds::NONE);
        membership.apply(space(), owner, &[invite(1, Role::Reader)]).expect("invites");
        membership.apply(space(), owner, &[accept(first)]).expect("takes in");
        membership.apply(space(), first, &[disk(true, false)]).expect("who only reads may say it, too");
        membership.apply(space(), owner, &[disk(false, true)]).expect("says");
        assert_eq!(membership.folds(), Folds::ALL);
        membership.apply(space(), first, &[disk(false, false)]).expect("has another disk");
        assert_eq!(membership.folds(), Folds { case: false, form: true });
        assert_eq!(membership.apply(space(), stranger, &[disk(true, true)]), Err(MemberError::NotAllowed));
    }

    #[test]
    fn a_genesis_founds_its_own_space_alone_and_nothing_else() {
        let (owner, stranger) = (key(1).device(), key(9).device());
        for (author, ops) in [
            // A second founder; the founder with an operation of its own in the same breath; a founder for somebody else.
            (stranger, vec![genesis(stranger)]),
            (stranger, vec![genesis(stranger), invite(1, Role::Owner)]),
            (owner, vec![genesis(owner), invite(1, Role::Owner)]),
            (stranger, vec![genesis(owner)]),
        ] {
            let mut membership = Membership::default();
            assert_eq!(membership.apply(space(), author, &ops), Err(MemberError::Genesis));
            assert_eq!(membership, Membership::default());
        }
    }

    #[test]
    fn strangers_readers_and_forged_proofs_change_nothing() {
        let (owner, stranger) = (key(1).device(), key(9).device());
        let mut membership = founded();
        assert_eq!(membership.apply(space(), stranger, &[invite(1, Role::Reader)]), Err(MemberError::NotAllowed));
        membership.apply(space(), owner, &[invite(2, Role::Reader)]).expect("invites");
        let MemberOp::Accept { invite: used, name, .. } = accept(stranger) else {
            unreachable!("accept makes an accept")
        };
        let forged =
            MemberOp::Accept { invite: used, device: stranger, name, proof: prove_invite(&key(51), space(), stranger) };
        assert_eq!(membership.apply(space(), owner, &[forged]), Err(MemberError::Proof));
        let reader = key(2).device();
        membership.apply(space(), owner, &[accept(reader)]).expect("takes in");
        assert_eq!(membership.apply(space(), reader, &[invite(1, Role::Reader)]), Err(MemberError::NotAllowed));
        assert_eq!(membership.members().count(), 2);
    }

    #[test]
    fn an_invite_ends_with_its_time() {
        let mut membership = founded();
        let key50 = InviteKey(key(50).public());
        membership.apply(space(), key(1).device(), &[invite(1, Role::Writer)]).expect("invites");
        assert!(membership.check_invite(&key50, 999).is_ok());
        assert_eq!(membership.check_invite(&key50, 1000), Err(InviteRefusal::Expired));
        assert_eq!(membership.check_invite(&InviteKey([7; 32]), 0), Err(InviteRefusal::Unknown));
    }

    #[test]
    fn names_hold_at_the_limit_and_one_byte_past_it() {
        assert!(is_good_name(&"x".repeat(limits::NAME_BYTES_MAX)));
        assert!(!is_good_name(&"x".repeat(limits::NAME_BYTES_MAX + 1)));
        assert!(!is_good_name(&format!("{}ü", "x".repeat(limits::NAME_BYTES_MAX - 1))), "bytes count, not letters");
        let owner = key(1).device();
        let named = |len: usize| {
            let mut op = accept(key(2).device());
            if let MemberOp::Accept { name, .. } = &mut op {
                *name = "x".repeat(len);
            }
            let mut membership = founded();
            membership.apply(space(), owner, &[invite(1, Role::Writer)]).expect("invites");
            membership.apply(space(), owner, &[op])
        };
        assert_eq!(named(limits::NAME_BYTES_MAX), Ok(()));
        assert_eq!(named(limits::NAME_BYTES_MAX + 1), Err(MemberError::Name));
    }

    #[test]
    fn open_invites_hold_at_the_limit_and_one_past_it() {
        let owner = key(1).device();
        let mut membership = founded();
        let numbered = |number: usize| {
            let mut key = [7; 32];
            key[..8].copy_from_slice(&number.to_le_bytes());
            MemberOp::Invite { key: InviteKey(key), role: Role::Reader, uses: 1, expires_ms: 1000 }
        };
        membership.apply(space(), owner, &[invite(1, Role::Writer)]).expect("invites");
        for number in 1..limits::INVITES_OPEN_MAX {
            membership.apply(space(), owner, &[numbered(number)]).expect("is within the bound");
        }
        let more = numbered(limits::INVITES_OPEN_MAX);
        assert_eq!(membership.apply(space(), owner, std::slice::from_ref(&more)), Err(MemberError::TooManyInvites));
        // One that is used makes room.
        membership.apply(space(), owner, &[accept(key(2).device())]).expect("takes in");
        assert_eq!(membership.apply(space(), owner, &[more]), Ok(()));
    }
}
