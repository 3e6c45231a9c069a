//! Joining: what a stranger says, and what an invite is good for.
//!
//! The invite string itself is read by the host, with its network library, and is tested there; this is everything behind it.

use sync_core::{
    commit::{Body, SecretKey},
    ids::{DeviceId, InviteKey, SpaceId},
    member::{InviteRefusal, MemberOp, Membership, Role, is_good_name, prove_invite},
    wire::{JoinRequest, JoinResponse},
};

use crate::input::Input;

/// Requests and answers encode and decode to themselves, and a joiner is taken in if, and only if, it holds the secret of
/// an invite of this space that has a use left, and has a name that can be shown.
///
/// # Panics
/// When a promise is broken.
pub fn invite(bytes: &[u8]) {
    if let Ok((request, [])) = postcard::take_from_bytes::<JoinRequest>(bytes) {
        let again = postcard::to_stdvec(&request).expect("a request is plain data");
        assert!(again.len() <= bytes.len());
        assert_eq!(postcard::from_bytes(&again), Ok(request));
    }
    if let Ok((response, [])) = postcard::take_from_bytes::<JoinResponse>(bytes) {
        let again = postcard::to_stdvec(&response).expect("an answer is plain data");
        assert_eq!(postcard::from_bytes(&again), Ok(response));
    }
    join(&mut Input::new(bytes));
}

fn join(input: &mut Input<'_>) {
    let owner = SecretKey::from_bytes(&[1; 32]).device();
    let genesis =
        MemberOp::Genesis { device: owner, random: [0; 32], space_name: "space".into(), device_name: "desk".into() };
    let space = SpaceId::from_genesis(&Body::Membership(vec![genesis.clone()]).encode().expect("is small"));
    let mut membership = Membership::default();
    membership.apply(space, owner, &[genesis]).expect("founds");
    let secrets = [50, 51].map(|seed| SecretKey::from_bytes(&[seed; 32]));
    let role = *input.of(&[Role::Reader, Role::Writer, Role::Owner]);
    let expires_ms = input.number();
    let uses = 1 + input.below(2) as u32;
    let key = InviteKey(secrets[0].public());
    membership.apply(space, owner, &[MemberOp::Invite { key, role, uses, expires_ms }]).expect("invites");
    let mut left = uses;
    for _ in 0..4 {
        let now_ms = input.number();
        let device = DeviceId([2 + input.byte() % 4; 32]);
        let (named, signed) = (input.below(2), input.below(2));
        let (said_space, said_device) = (input.one_in(4), input.one_in(4));
        let name = String::from_utf8_lossy(input.bytes(130)).into_owned();
        let proof = prove_invite(
            &secrets[signed],
            if said_space { SpaceId([0; 32]) } else { space },
            if said_device { owner } else { device },
        );
        let open = membership.check_invite(&InviteKey(secrets[named].public()), now_ms).map(|invite| invite.uses_left);
        let expected = match (named, left) {
            (1, _) => Err(InviteRefusal::Unknown),
            (_, 0) => Err(InviteRefusal::Used),
            _ if now_ms >= expires_ms => Err(InviteRefusal::Expired),
            _ => Ok(left),
        };
        assert_eq!(open, expected);
        let proven = named == signed && !said_space && !said_device;
        let known = membership.role(&device);
        let accept = MemberOp::Accept { invite: InviteKey(secrets[named].public()), device, name: name.clone(), proof };
        let taken = membership.apply(space, owner, &[accept]).is_ok();
        let wanted = proven && named == 0 && is_good_name(&name) && (left > 0 || known.is_some());
        assert_eq!(taken, wanted);
        if taken && known.is_none() {
            left -= 1;
            assert_eq!(membership.role(&device), Some(role));
        } else {
            assert_eq!(membership.role(&device), known);
        }
    }
}
