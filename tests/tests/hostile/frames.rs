//! Frames and messages that are not what they should be, from a member.

use sync_core::{
    commit::SignedHeader,
    ids::{CommitHash, ReplicaId, SpaceTag},
    limits,
    version::{LogRange, Tip, VersionVector},
    wire::{CloseCode, Message, SpaceHello},
};
use sync_tests::hostile::{bench::Bench, client::framed, standing::Member};

use super::script;

/// Sends each of these in a session of its own; the victim ends each with this code and takes nothing in.
async fn each_ends(bench: &Bench, member: &Member, code: CloseCode, cases: Vec<(&str, Vec<u8>)>) {
    let before = bench.state().await;
    for (what, bytes) in cases {
        let mut wire = member.session(&bench.a.address).await;
        wire.raw(&bytes).await;
        wire.ends_with(what, code).await;
    }
    bench.unchanged(&before).await;
}

fn encoded(message: &Message) -> Vec<u8> {
    postcard::to_allocvec(message).expect("plain data")
}

#[test]
fn frames_above_the_bound_are_too_big() {
    script(async |bench| {
        let member = bench.member().await;
        let one_more = (limits::FRAME_BYTES_MAX as u32 + 1).to_be_bytes();
        let whole = [&one_more[1..], &vec![0; limits::FRAME_BYTES_MAX + 1]].concat();
        let cases = vec![
            ("one byte more, all of it", whole),
            ("one byte more, only said", one_more[1..].to_vec()),
            ("the longest length", vec![0xff; 3]),
            ("a length that is text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ];
        each_ends(bench, &member, CloseCode::FrameTooBig, cases).await;
    });
}

#[test]
fn an_endless_frame_ends_at_its_length() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let mut wire = member.session(&bench.a.address).await;
        wire.raw(&[0x0f, 0xff, 0xff]).await;
        wire.raw(&[0xff; 1 << 10]).await;
        // What comes behind a frame of nonsense is not even read.
        for _ in 0..64 {
            wire.raw(&[0; 1 << 16]).await;
        }
        wire.ends_with("a frame without end", CloseCode::Malformed).await;
        bench.unchanged(&before).await;
    });
}

#[test]
fn what_is_no_message_is_malformed() {
    script(async |bench| {
        let member = bench.member().await;
        let hello = encoded(&Message::Hello { spaces: vec![member.hello()] });
        let settled = encoded(&Message::Settled { space: member.tag(), settled: true });
        let huge_count = |tag: u8| [&[tag][..], &[0xff; 8], &[0x01]].concat();
        let cases = vec![
            ("a frame of nothing", framed(&[])),
            ("a tag that nobody has", framed(&[7])),
            ("a tag of five bytes", framed(&[0xff, 0xff, 0xff, 0xff, 0x0f])),
            ("a tag that never ends", framed(&[0x80; 40])),
            ("bytes behind", framed(&[&hello[..], &[0]].concat())),
            ("a hello cut short", framed(&hello[..hello.len() - 1])),
            ("a boolean of 2", framed(&[&settled[..settled.len() - 1], &[2]].concat())),
            ("2^60 spaces", framed(&huge_count(0))),
            ("2^60 commits", framed(&[&[1][..], &[0; 16], &[0xff; 8], &[0x01]].concat())),
            ("noise", framed(&[0xa5; 4096])),
            ("a frame of the largest size", framed(&vec![0x80; limits::FRAME_BYTES_MAX])),
            ("zeros to the brim", framed(&vec![0; limits::FRAME_BYTES_MAX])),
        ];
        each_ends(bench, &member, CloseCode::Malformed, cases).await;
    });
}

#[test]
fn lengths_that_lie_shift_everything_behind_them() {
    script(async |bench| {
        let member = bench.member().await;
        let hello = encoded(&Message::Hello { spaces: vec![SpaceHello { root: [0; 32], ..member.hello() }] });
        let short = [&[0, 0, hello.len() as u8 - 7][..], &hello[..]].concat();
        let long = [&[0, 0, hello.len() as u8 + 3][..], &hello[..], &framed(&hello)].concat();
        each_ends(bench, &member, CloseCode::Malformed, vec![("too short", short), ("too long", long)]).await;
    });
}

#[test]
fn codes_of_close_that_nobody_knows_are_malformed_and_known_ones_end_the_session() {
    script(async |bench| {
        let member = bench.member().await;
        let cases =
            vec![("a code of 9", framed(&[6, 9])), ("a large code", framed(&[6, 0xff, 0xff, 0xff, 0xff, 0x0f]))];
        each_ends(bench, &member, CloseCode::Malformed, cases).await;
        let closes = (0..9).map(|code| framed(&[6, code])).map(|close| ("a good-bye", close)).collect();
        each_ends(bench, &member, CloseCode::Shutdown, closes).await;
    });
}

fn vector(replicas: usize, n: u64) -> VersionVector {
    let id = |index: usize| {
        let mut id = [0xee; 16];
        id[..8].copy_from_slice(&(index as u64).to_le_bytes());
        ReplicaId(id)
    };
    (0..replicas).map(|index| (id(index), Tip::new(n, &CommitHash([1; 32])))).collect()
}

#[test]
fn counts_above_their_bounds_are_malformed() {
    script(async |bench| {
        let member = bench.member().await;
        let space = member.tag();
        let range = |from, to| LogRange { replica: member.replica(), from, to };
        let ask = |ranges| framed(&encoded(&Message::Ask { space, ranges }));
        let empty = SpaceHello { space: SpaceTag([3; 16]), flags: 0, vector: vector(0, 1), root: [0; 32] };
        let too_long = vector(limits::REPLICAS_MAX + 1, 1);
        let hello = |hello| framed(&encoded(&Message::Hello { spaces: vec![hello] }));
        let durable = |vector| framed(&encoded(&Message::Durable { space, vector, settled: true }));
        let cases = vec![
            ("10 000 spaces", framed(&encoded(&Message::Hello { spaces: vec![empty; 10_000] }))),
            ("a long vector", hello(SpaceHello { vector: too_long.clone(), ..member.hello() })),
            ("a log of nothing", hello(SpaceHello { vector: vector(1, 0), ..member.hello() })),
            ("a long vector on disk", durable(too_long)),
            ("an ask from 0", ask(vec![range(0, 1)])),
            ("an ask that runs backwards", ask(vec![range(u64::MAX, 1)])),
            ("an ask of too much", ask(vec![range(1, 1); limits::ASK_RANGES_MAX + 1])),
        ];
        each_ends(bench, &member, CloseCode::Malformed, cases).await;
    });
}

#[test]
fn vectors_that_grow_message_by_message_end_at_the_bound() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let mut wire = member.session(&bench.a.address).await;
        for round in 0..8 {
            let mut vector = VersionVector::new();
            for index in 0..2_000_u32 {
                let mut id = [round; 16];
                id[..4].copy_from_slice(&index.to_le_bytes());
                vector.advance(ReplicaId(id), Tip::new(5, &CommitHash([1; 32])));
            }
            wire.say(&Message::Durable { space: member.tag(), vector, settled: true }).await;
        }
        wire.ends_with("16 000 replicas", CloseCode::Malformed).await;
        bench.unchanged(&before).await;
    });
}

#[test]
fn messages_out_of_place_are_a_fault_or_passed_over() {
    script(async |bench| {
        let mut member = bench.member().await;
        let commit = member.append_file("early.txt", b"x").sign();
        let before = bench.state().await;
        let commits = |space| Message::Commits { space, commits: vec![commit.clone()] };
        // Before any hello.
        let mut wire = member.silent(&bench.a.address).await;
        wire.say(&commits(member.tag())).await;
        wire.ends_with("commits before a hello", CloseCode::Protocol).await;
        // Of a space that is not shared, and by the tag of another device.
        for tag in [SpaceTag([0; 16]), bench.space.tag(bench.a.device())] {
            let mut wire = member.session(&bench.a.address).await;
            wire.say(&commits(tag)).await;
            wire.ends_with("commits of another space", CloseCode::Protocol).await;
        }
        // The rest is passed over, and the session goes on.
        let mut wire = member.session(&bench.a.address).await;
        let space = SpaceTag([0; 16]);
        wire.say(&Message::Durable { space, vector: vector(3, 9), settled: true }).await;
        wire.say(&Message::Settled { space, settled: false }).await;
        wire.say(&Message::Ask { space, ranges: vec![] }).await;
        let headers = vec![SignedHeader { header: commit.header.clone(), signature: commit.signature }];
        wire.say(&Message::Fork { space, replica: ReplicaId([7; 16]), headers }).await;
        wire.say(&Message::Trace { space, range: LogRange { replica: ReplicaId([7; 16]), from: 1, to: u64::MAX } })
            .await;
        bench.unchanged(&before).await;
        assert!(wire.connection.close_reason().is_none(), "nothing was wrong with these");
    });
}

#[test]
fn hellos_in_disorder_change_nothing() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let mut wire = member.session(&bench.a.address).await;
        let stranger = |byte| SpaceHello { space: SpaceTag([byte; 16]), ..member.hello() };
        // Twice the same, with strange ones between, in no order.
        let spaces = vec![stranger(9), member.hello(), stranger(1), member.hello(), stranger(9)];
        wire.say(&Message::Hello { spaces }).await;
        // A vector whose keys descend, and one with a key twice: maps on the wire are lists.
        let hello = encoded(&Message::Hello { spaces: vec![SpaceHello { vector: vector(2, 7), ..member.hello() }] });
        let at = 1 + 1 + 16 + 1 + 1;
        let (one, two) = (&hello[at..at + 33], &hello[at + 33..at + 66]);
        for (first, second) in [(two, one), (one, one)] {
            wire.frame(&[&hello[..at], first, second, &hello[at + 66..]].concat()).await;
        }
        // Numbers in more bytes than they need: 0 in two for the tag of the message.
        wire.frame(&[&[0x80, 0x00][..], &encoded(&Message::Hello { spaces: vec![member.hello()] })[1..]].concat())
            .await;
        wire.say(&Message::Hello { spaces: Vec::new() }).await;
        bench.unchanged(&before).await;
    });
}

#[test]
fn asks_for_absurd_ranges_get_what_there_is() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let (mut wire, _) = member.greet(&bench.a.address, member.hello()).await;
        let held: Vec<ReplicaId> = before.vector.iter().map(|(replica, _)| *replica).collect();
        let range = |replica, from| LogRange { replica, from, to: u64::MAX };
        let ranges: Vec<LogRange> = held.iter().map(|replica| range(*replica, 1)).collect();
        let nowhere = vec![range(ReplicaId([0xab; 16]), 1), range(held[0], u64::MAX)];
        wire.say(&Message::Ask { space: member.tag(), ranges: nowhere }).await;
        wire.say(&Message::Ask { space: member.tag(), ranges }).await;
        let mut commits = 0;
        while commits < before.commits {
            let some = |message| match message {
                Message::Commits { commits, .. } => Some(commits.len() as u64),
                _ => None,
            };
            commits += wire.hear_until("all commits once more", some).await;
        }
        assert_eq!(commits, before.commits, "each once");
        bench.unchanged(&before).await;
    });
}
