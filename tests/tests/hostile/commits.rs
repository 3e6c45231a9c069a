//! Commits that cannot stand, sent by a member who may otherwise write, and lies about what is held.

use sync_core::{
    commit::{Body, BodyKind, Item, Origin, PackedBody, SecretKey, Signature, Signed, SignedHeader},
    ids::{ChangeHash, CommitHash, DocId, InstallEpoch, ReplicaId, SpaceId},
    limits,
    version::{Tip, VersionVector},
    wire::{CloseCode, Message, SpaceHello},
};
use sync_tests::hostile::{
    bench::{Bench, tick, until},
    client::within,
    standing::{Forge, Member, fresh_seed},
};

use super::script;

/// Sends each of these in a session of its own: the victim ends each as a bad commit and takes nothing in.
async fn each_is_bad(bench: &Bench, member: &Member, cases: Vec<(&str, Signed)>) {
    let before = bench.state().await;
    for (what, signed) in cases {
        member.send(&bench.a.address, &[signed]).await.ends_with(what, CloseCode::BadCommit).await;
    }
    bench.unchanged(&before).await;
}

/// A commit that would stand as it is.
fn good(member: &mut Member) -> Forge {
    let file = member.file("forged.txt", b"forged");
    member.forge(vec![file])
}

#[test]
fn headers_that_break_a_rule_are_bad() {
    script(async |bench| {
        let mut member = bench.member().await;
        let good = good(&mut member);
        let header = good.header.encode();
        let case = |change: &dyn Fn(&mut Forge)| good.with(|forge| change(forge)).sign();
        let many: Vec<CommitHash> = (0..17).map(|byte| CommitHash([byte; 32])).collect();
        let repeated = [good.header.parents[0]; 2].to_vec();
        let cases = vec![
            ("another space", case(&|forge| forge.header.space = SpaceId([1; 32]))),
            ("another replica", case(&|forge| forge.header.replica = ReplicaId([1; 16]))),
            ("number 0", case(&|forge| forge.header.n = 0)),
            ("no origin", case(&|forge| forge.header.origin = None)),
            ("an origin of a later commit", case(&|forge| forge.header.n = 2)),
            (
                "the epoch of nobody",
                case(&|forge| {
                    let device = forge.key.device();
                    forge.header.origin = Some(Origin { device, epoch: InstallEpoch([77; 16]) });
                }),
            ),
            ("17 parents", case(&|forge| forge.header.parents = many.clone())),
            ("a parent twice", case(&|forge| forge.header.parents = repeated.clone())),
            ("17 of auth", case(&|forge| forge.header.auth = many.clone())),
            ("no auth", case(&|forge| forge.header.auth = Vec::new())),
            ("auth of nobody", case(&|forge| forge.header.auth.push(CommitHash([0xff; 32])))),
            ("the wrong kind", case(&|forge| forge.header.kind = BodyKind::Membership)),
            ("another body's hash", case(&|forge| forge.header.body_hash = [1; 32])),
            ("a body said to be longer", case(&|forge| forge.header.body_len += 1)),
            ("a body said to be nothing", case(&|forge| forge.header.body_len = 0)),
            ("a body above the bound", case(&|forge| forge.header.body_len = limits::BODY_BYTES_MAX as u32 + 1)),
            ("a later version", good.sign_bytes([&[2], &header[1..]].concat())),
            ("a byte behind", good.sign_bytes([&header[..], &[0]].concat())),
            ("a header cut short", good.sign_bytes(header[..header.len() - 1].to_vec())),
            ("no header", good.sign_bytes(Vec::new())),
            ("a header of zeros", good.sign_bytes(vec![0; 5000])),
            ("a number in more bytes than it needs", {
                // `n` is 1: the byte behind version, space and replica.
                let at = 1 + 32 + 16;
                good.sign_bytes([&header[..at], &[0x81, 0x00], &header[at + 1..]].concat())
            }),
        ];
        each_is_bad(bench, &member, cases).await;
    });
}

#[test]
fn nobody_signs_for_somebody_else() {
    script(async |bench| {
        let mut member = bench.member().await;
        let good = good(&mut member);
        let stranger = SecretKey::from_bytes(&fresh_seed());
        let epoch = InstallEpoch([3; 16]);
        let in_the_name_of = |device, key: &SecretKey| {
            good.with(|forge| {
                forge.header.origin = Some(Origin { device, epoch });
                forge.header.replica = ReplicaId::derive(device, bench.space, epoch);
                forge.key = key.clone();
            })
        };
        let signed = good.sign();
        let mut bytes = signed.signature.to_bytes();
        bytes[63] ^= 1;
        let hello = bench.look(&bench.a).await;
        let (log, tip) = hello.vector.iter().next().map(|(log, tip)| (*log, *tip)).expect("has commits");
        let next_of_another = good.with(|forge| {
            forge.header.replica = log;
            forge.header.n = tip.n + 1;
            forge.header.origin = None;
        });
        let cases = vec![
            ("a flipped bit", Signed { signature: Signature::from(bytes), ..signed.clone() }),
            ("no signature", Signed { signature: Signature::from([0; 64]), ..signed.clone() }),
            ("another's key", good.with(|forge| forge.key = stranger.clone()).sign()),
            ("a new log of the victim", in_the_name_of(bench.a.device(), &member.client.key).sign()),
            ("a log of a stranger, rightly signed", in_the_name_of(stranger.device(), &stranger).sign()),
            ("the next commit of another log", next_of_another.sign()),
        ];
        each_is_bad(bench, &member, cases).await;
    });
}

#[test]
fn bodies_that_are_not_what_was_signed_are_bad() {
    script(async |bench| {
        let mut member = bench.member().await;
        let good = good(&mut member);
        let signed = good.sign();
        let with_body = |body: PackedBody| Signed { body, ..signed.clone() };
        let with_bytes = |bytes: Vec<u8>| good.with(|forge| forge.set_bytes(bytes)).sign();
        let zeros = vec![0; 64 << 20];
        let bomb = zstd::bulk::compress(&zeros, 1).expect("compresses");
        let promise = Item::Promotion { doc: DocId([1; 32]), of: ChangeHash([1; 32]), hash: ChangeHash([2; 32]) };
        let items = |count| postcard::to_allocvec(&vec![promise.clone(); count]).expect("plain data");
        let cases = vec![
            ("another body", with_body(PackedBody::Plain(vec![0; 100]))),
            ("no body", with_body(PackedBody::Plain(Vec::new()))),
            ("a bomb that lies", with_body(PackedBody::Zstd { len: good.header.body_len, bytes: bomb.clone() })),
            ("a bomb that does not", with_body(PackedBody::Zstd { len: zeros.len() as u32, bytes: bomb.clone() })),
            ("a bomb of 4 GiB", with_body(PackedBody::Zstd { len: u32::MAX, bytes: bomb })),
            ("a frame that is none", with_body(PackedBody::Zstd { len: good.header.body_len, bytes: vec![1; 90] })),
            ("zeros", with_bytes(vec![0; limits::BODY_BYTES_MAX])),
            ("noise", with_bytes((0..5000_u32).map(|byte| (byte * 7) as u8).collect())),
            ("2^60 items", with_bytes([&[0xff; 8][..], &[1]].concat())),
            ("an item of 2^60 bytes", with_bytes([&[1, 0][..], &[5; 32], &[0xff; 8], &[1]].concat())),
            ("1025 items", with_bytes(items(limits::BODY_ITEMS_MAX + 1))),
            ("a byte behind", with_bytes([&good.body[..], &[0]].concat())),
            ("a promotion of nothing", with_bytes(items(1))),
        ];
        each_is_bad(bench, &member, cases).await;
    });
}

#[test]
fn commits_without_their_past_are_asked_for_again_and_not_taken() {
    script(async |bench| {
        let mut member = bench.member().await;
        let good = good(&mut member);
        let file = member.file("later.txt", b"later");
        let next = good.next(vec![file]);
        let before = bench.state().await;
        let cases = [
            ("a gap", next.clone()),
            ("a great gap", next.with(|forge| forge.header.n = 1 << 60)),
            ("a parent that nobody has", good.with(|forge| forge.header.parents = vec![CommitHash([9; 32])])),
            (
                "one of two parents that nobody has",
                good.with(|forge| {
                    forge.header.parents.push(CommitHash([0xff; 32]));
                }),
            ),
        ];
        for (what, forge) in cases {
            let mut wire = member.send(&bench.a.address, &[forge.sign()]).await;
            wire.hear_until(what, |message| matches!(message, Message::Hello { .. }).then_some(())).await;
            assert!(wire.connection.close_reason().is_none(), "{what}");
        }
        bench.unchanged(&before).await;
        // The second of two that does not name the first is its author's fault.
        let astray = next.with(|forge| forge.header.parents.clone_from(&good.header.parents));
        let wire = member.send(&bench.a.address, &[good.sign(), astray.sign()]).await;
        wire.ends_with("an own past left out", CloseCode::BadCommit).await;
        assert_eq!(bench.state().await.commits, before.commits + 1, "what stood before the bad one is kept");
    });
}

#[test]
fn what_was_there_may_come_again_and_again() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let mut commits: Vec<Signed> = Vec::new();
        for (replica, tip) in member.vector().iter() {
            commits.extend((1..=tip.n).map(|n| member.held(*replica, n)));
        }
        let mut wire = member.session(&bench.a.address).await;
        for _ in 0..3 {
            for some in commits.chunks(50) {
                wire.say(&Message::Commits { space: member.tag(), commits: some.to_vec() }).await;
            }
            commits.reverse();
        }
        bench.unchanged(&before).await;
        assert!(wire.connection.close_reason().is_none(), "to repeat is no fault");
    });
}

#[test]
fn a_log_with_two_ends_stops_nobody_else() {
    script(async |bench| {
        let mut member = bench.member().await;
        let replica = member.replica();
        let (one, two) = (member.file("one.txt", b"one"), member.file("two.txt", b"two"));
        let (one, two) = (member.forge(vec![one]).sign(), member.forge(vec![two]).sign());
        let mut to_a = member.send(&bench.a.address, &[one]).await;
        // At once, before the honest two have told each other.
        let mut to_b = member.silent(&bench.b.address).await;
        let nothing = SpaceHello { vector: VersionVector::new(), ..member.hello() };
        to_b.say(&Message::Hello { spaces: vec![nothing] }).await;
        to_b.say(&Message::Commits { space: member.tag(), commits: vec![two] }).await;
        member.until_taken(&mut to_a, replica, 1).await;
        let reported = || bench.a.reports_a_fork() || bench.b.reports_a_fork();
        within("the fault is reported", until(reported)).await;
        // Of the two the same one stays on both. What the other made stays as a file, nobody's, where it was; its user clears
        // it away, which tells nobody anything.
        let folders = [&bench.a.daemon.folder, &bench.b.daemon.folder];
        let on_both = |name: &str| folders.iter().all(|folder| folder.join(name).exists());
        within("one stays", until(|| on_both("one.txt") || on_both("two.txt"))).await;
        let loser = if on_both("one.txt") { "two.txt" } else { "one.txt" };
        let left: Vec<_> = folders.iter().map(|folder| folder.join(loser)).filter(|path| path.exists()).collect();
        assert_eq!(left.len(), 1, "{left:?}");
        std::fs::remove_file(&left[0]).expect("removes");
    });
}

#[test]
fn words_of_forks_that_are_none_change_nothing() {
    script(async |bench| {
        let mut member = bench.member().await;
        let forged = good(&mut member).sign();
        let before = bench.state().await;
        let log = *before.vector.iter().next().expect("has commits").0;
        let same = member.held(log, 1);
        let mut wire = member.session(&bench.a.address).await;
        let junk = Signed { header: vec![0; 3000], ..forged.clone() };
        let replica = member.replica();
        for (replica, signed) in [(log, same), (replica, forged)] {
            let headers = vec![SignedHeader { header: signed.header, signature: signed.signature }];
            wire.say(&Message::Fork { space: member.tag(), replica, headers }).await;
        }
        bench.unchanged(&before).await;
        // A header that the log's owner never signed ends the session.
        let mut liar = member.session(&bench.a.address).await;
        let headers = vec![SignedHeader { header: junk.header, signature: junk.signature }];
        liar.say(&Message::Fork { space: member.tag(), replica: log, headers }).await;
        liar.ends_with("a proof that proves nothing", CloseCode::BadCommit).await;
        let mut wire = member.session(&bench.a.address).await;
        bench.unchanged(&before).await;
        // A vector with another hash for a log of the victim: one proof, however often it is claimed.
        let mut vector = VersionVector::new();
        vector.advance(log, Tip::new(1, &CommitHash([0xcd; 32])));
        let lie = Message::Hello { spaces: vec![SpaceHello { vector, ..member.hello() }] };
        for _ in 0..50 {
            wire.say(&lie).await;
        }
        wire.say(&Message::Hello { spaces: vec![SpaceHello { vector: VersionVector::new(), ..member.hello() }] }).await;
        let mut proofs = 0;
        wire.hear_until("commits, as the last hello had no lie", |message| {
            proofs += usize::from(matches!(message, Message::Fork { .. }));
            matches!(message, Message::Commits { .. }).then_some(())
        })
        .await;
        // The first commits may be those of the first hello: the proof is not yet there then.
        assert!(proofs <= 1, "{proofs} proofs");
        bench.unchanged(&before).await;
    });
}

#[test]
fn who_claims_what_nobody_has_silences_nobody() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let mut vector = VersionVector::new();
        for (replica, _) in before.vector.iter() {
            vector.advance(*replica, Tip::new(1 << 40, &CommitHash([1; 32])));
        }
        let claim = SpaceHello { vector: vector.clone(), ..member.hello() };
        let (mut to_a, _) = member.greet(&bench.a.address, claim.clone()).await;
        let (mut to_b, _) = member.greet(&bench.b.address, claim).await;
        for wire in [&mut to_a, &mut to_b] {
            wire.say(&Message::Durable { space: member.tag(), vector: vector.clone(), settled: true }).await;
            wire.say(&Message::Settled { space: member.tag(), settled: true }).await;
        }
        bench.unchanged(&before).await;
        bench.pair_syncs().await;
        // The two meet again while the lie stands.
        bench.meet_again().await;
        bench.pair_syncs().await;
        drop((to_a, to_b));
    });
}

#[test]
fn a_root_that_does_not_fit_its_vector_is_reported() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let mut wire = member.session(&bench.a.address).await;
        let lie = SpaceHello { vector: before.vector.clone(), root: [7; 32], ..member.hello() };
        wire.say(&Message::Hello { spaces: vec![lie] }).await;
        let reported = || bench.a.reports_a_problem();
        within("the fault is reported", until(&reported)).await;
        bench.unchanged(&before).await;
        // It ends with a hello that has no fault.
        wire.say(&Message::Hello { spaces: vec![SpaceHello { vector: VersionVector::new(), ..member.hello() }] }).await;
        while reported() {
            tick().await;
        }
    });
}

#[test]
fn an_empty_commit_by_a_writer_is_the_least_that_stands() {
    // So that the refusals above are of what is wrong about each, and not of all that this client signs.
    script(async |bench| {
        let mut member = bench.member().await;
        let replica = member.replica();
        let mut forge = good(&mut member);
        forge.set_body(&Body::Changes(Vec::new()));
        let mut wire = member.send(&bench.a.address, &[forge.sign()]).await;
        member.until_taken(&mut wire, replica, 1).await;
    });
}
