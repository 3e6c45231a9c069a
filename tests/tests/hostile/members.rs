//! Roles and invites: what each may not do is refused, whoever sends it.

use sync_core::{
    commit::{Body, SecretKey},
    ids::{DeviceId, InviteKey},
    limits,
    member::{MemberOp, Role, prove_invite},
    wire::{CloseCode, Message},
};
use sync_tests::hostile::{
    bench::Bench,
    client::Client,
    standing::{Forge, Member, fresh_seed},
};

use super::script;

fn invite(role: Role, uses: u32) -> MemberOp {
    let key = InviteKey(SecretKey::from_bytes(&fresh_seed()).public());
    MemberOp::Invite { key, role, uses, expires_ms: u64::MAX }
}

fn accept(member: &Member, secret: &SecretKey, device: DeviceId, name: &str) -> MemberOp {
    let proof = prove_invite(secret, member.space, device);
    MemberOp::Accept { invite: InviteKey(secret.public()), device, name: name.into(), proof }
}

async fn each_is_bad(bench: &Bench, member: &mut Member, cases: Vec<(&str, Vec<MemberOp>)>) {
    let before = bench.state().await;
    for (what, ops) in cases {
        let signed = member.forge_membership(ops).sign();
        member.send(&bench.a.address, &[signed]).await.ends_with(what, CloseCode::BadCommit).await;
    }
    bench.unchanged(&before).await;
}

#[test]
fn a_writer_gives_nobody_more_than_it_has() {
    script(async |bench| {
        let mut member = bench.member().await;
        let secret = SecretKey::from_bytes(&fresh_seed());
        let friend = SecretKey::from_bytes(&fresh_seed()).device();
        let open = bench.a.invite("writer", "1h");
        let me = member.client.device();
        let genesis =
            |device| MemberOp::Genesis { device, random: [1; 32], space_name: "mine".into(), device_name: "me".into() };
        let other_proof = MemberOp::Accept {
            invite: InviteKey(secret.public()),
            device: friend,
            name: "friend".into(),
            proof: prove_invite(&secret, member.space, me),
        };
        let cases = vec![
            ("an invite for owners", vec![invite(Role::Owner, 1)]),
            ("an invite for nobody", vec![invite(Role::Writer, 0)]),
            ("a second genesis", vec![genesis(me)]),
            ("a genesis and more", vec![genesis(me), invite(Role::Owner, 1)]),
            ("somebody else's genesis", vec![genesis(bench.a.device())]),
            ("an accept without invite", vec![accept(&member, &secret, friend, "friend")]),
            ("an accept for another's proof", vec![other_proof]),
            ("a name of control", vec![accept(&member, &open.secret, friend, "\u{7}\u{1b}[31m")]),
            ("a long name", vec![accept(&member, &open.secret, friend, &"x".repeat(129))]),
            ("a good op and a bad one", vec![invite(Role::Reader, 1), invite(Role::Owner, 1)]),
            ("65 ops", (0..=limits::MEMBER_OPS_MAX).map(|_| invite(Role::Reader, 1)).collect()),
        ];
        each_is_bad(bench, &mut member, cases).await;
        // The invite that was there is still good.
        Member::join(Client::bind(fresh_seed()).await, &bench.a.address, &open).await;
    });
}

#[test]
fn a_reader_writes_nothing_and_invites_nobody() {
    script(async |bench| {
        let mut writer = bench.member().await;
        let mut reader = bench.member_as("reader", Client::bind(fresh_seed()).await).await;
        let before = bench.state().await;
        // A reader's own engine refuses too: so its commits are made of a writer's.
        let file = writer.file("by a reader.txt", b"x");
        let template = writer.forge(vec![file]);
        let epoch = template.header.origin.expect("a first commit").epoch;
        let (device, heads) = (reader.client.device(), reader.heads_and_auth());
        let as_reader = |forge: Forge| {
            forge.with(|forge| {
                forge.header.origin = Some(sync_core::commit::Origin { device, epoch });
                forge.header.replica = sync_core::ids::ReplicaId::derive(device, bench.space, epoch);
                (forge.header.parents, forge.header.auth) = heads.clone();
                forge.key = reader.client.key.clone();
            })
        };
        let empty = template.with(|forge| forge.set_body(&Body::Changes(Vec::new())));
        let inviting = writer.forge_membership(vec![invite(Role::Reader, 1)]);
        for (what, forge) in [("a file", template), ("nothing at all", empty), ("an invite", inviting)] {
            let signed = as_reader(forge).sign();
            let wire = reader.send(&bench.a.address, &[signed]).await;
            wire.ends_with(what, CloseCode::BadCommit).await;
        }
        bench.unchanged(&before).await;
        // A reader still hears everything.
        reader.catch_up(&bench.a.address).await;
    });
}

#[test]
fn invites_of_one_member_end_at_the_bound() {
    script(async |bench| {
        let mut member = bench.member().await;
        let mut last = member.forge_membership(vec![invite(Role::Reader, 1)]);
        let mut wire = member.session(&bench.a.address).await;
        let mut commits = Vec::new();
        for count in [50, 50, 50, 50, 50].into_iter().chain([1; 10]) {
            let ops: Vec<MemberOp> = (0..count).map(|_| invite(Role::Reader, 1)).collect();
            last.set_body(&Body::Membership(ops));
            commits.push(last.sign());
            let hash = last.sign().hash();
            last.header.n += 1;
            last.header.origin = None;
            last.header.parents = vec![hash];
            last.header.auth = vec![hash];
        }
        let before = bench.state().await;
        wire.say(&Message::Commits { space: member.tag(), commits }).await;
        wire.ends_with("260 open invites", CloseCode::BadCommit).await;
        assert_eq!(bench.state().await.members, before.members);
        // Nobody can be invited any more, and the daemon says so; the pair goes on.
        let folder = bench.a.daemon.folder.to_str().expect("is text");
        assert!(!bench.a.daemon.kith(&["invite", folder]).status.success());
        bench.pair_syncs().await;
        bench.retire();
    });
}

#[test]
fn membership_without_end_stays_cheap() {
    script(async |bench| {
        let mut member = bench.member().await;
        let secret = SecretKey::from_bytes(&fresh_seed());
        let key = InviteKey(secret.public());
        let first = MemberOp::Invite { key, role: Role::Reader, uses: 1, expires_ms: u64::MAX };
        let me = member.client.device();
        let mut forge = member.forge_membership(vec![first]);
        let replica = member.replica();
        let mut commits = vec![forge.sign()];
        // To take in who is in already is allowed, costs no use, and is checked each time.
        for _ in 0..500 {
            let hash = forge.sign().hash();
            forge.header.n += 1;
            forge.header.origin = None;
            forge.header.parents = vec![hash];
            forge.header.auth = vec![hash];
            forge.set_body(&Body::Membership(vec![accept(&member, &secret, me, "again")]));
            commits.push(forge.sign());
        }
        let mut wire = member.session(&bench.a.address).await;
        for some in commits.chunks(100) {
            wire.say(&Message::Commits { space: member.tag(), commits: some.to_vec() }).await;
        }
        member.until_taken(&mut wire, replica, 501).await;
    });
}
