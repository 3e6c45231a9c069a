//! Much of anything: streams, connections, bytes that nobody reads, frames as fast as they go. The bench measures memory.

use std::{fs, time::Duration};

use iroh::endpoint::{Connection, RecvStream, SendStream};
use sync_core::{
    commit::{Item, Signed},
    doc::entry::{RootContent, RootSpec},
    ids::{CommitHash, ContentHash, ReplicaId, SpaceTag},
    limits,
    version::{LogRange, Tip, VersionVector},
    wire::{CONTENT_ALPN, CloseCode, JOIN_ALPN, Message, SYNC_ALPN, SpaceHello},
};
use sync_tests::hostile::{
    bench::{Bench, until},
    client::{Client, Wire, ends_with, framed, within},
    standing::{Member, ask_to_join, fresh_seed, root_of},
};

use super::{
    contents::{Request, Want},
    script,
};

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&fresh_seed()).finalize_xof().fill(&mut bytes);
    bytes
}

/// How long a victim is given to take more.
const PAUSE: Duration = Duration::from_millis(300);

/// How many of these bytes a victim takes on a stream, whether or not it reads them.
async fn taken(send: &mut SendStream, mut bytes: &[u8]) -> usize {
    let all = bytes.len();
    while let Ok(Ok(written)) = tokio::time::timeout(PAUSE, send.write(bytes)).await {
        bytes = &bytes[written..];
        if bytes.is_empty() {
            break;
        }
    }
    all - bytes.len()
}

/// How many streams of both kinds a victim lets somebody open at once, and how many bytes it takes on all.
async fn streams_that_open(wire: &Wire, bytes: &[u8]) -> (usize, usize, usize) {
    let (mut bidi, mut uni, mut room) = (Vec::new(), Vec::new(), 0);
    while let Ok(Ok((mut send, receive))) = tokio::time::timeout(PAUSE, wire.connection.open_bi()).await {
        room += taken(&mut send, bytes).await;
        bidi.push((send, receive));
        assert!(bidi.len() < 2_000, "streams without end");
    }
    while let Ok(Ok(mut send)) = tokio::time::timeout(PAUSE, wire.connection.open_uni()).await {
        room += taken(&mut send, bytes).await;
        uni.push(send);
        assert!(uni.len() < 2_000, "streams without end");
    }
    (bidi.len(), uni.len(), room)
}

#[test]
fn streams_end_at_their_bounds_and_hold_little() {
    script(async |bench| {
        let member = bench.member().await;
        let at = &bench.a.address;
        let (name, large) = ("large shared.bin", noise(16 << 20));
        fs::write(bench.a.daemon.folder.join(name), &large).expect("writes");
        within("the file", until(|| fs::read(bench.b.daemon.folder.join(name)).is_ok_and(|read| read == large))).await;
        let before = bench.state().await;
        let bytes = noise(4 << 20);
        let session = member.session(at).await;
        assert_eq!(streams_that_open(&session, &bytes).await, (0, 0, 0), "a session is one stream");
        // Requests for more than is buffered, whose answers nobody reads: so each stream stays open, and is full.
        let (content, want) = (ContentHash::of(&large), Want::Chunks { from: 0, count: 256 });
        let request = Request { space: member.tag(), content, want };
        let endless = [framed(&postcard::to_allocvec(&request).expect("plain data")), bytes].concat();
        let contents = member.client.open(at, CONTENT_ALPN).await;
        let (bidi, uni, room) = streams_that_open(&contents, &endless).await;
        assert_eq!((bidi, uni), (limits::CONTENT_STREAMS_MAX as usize - 1, 0), "the one that is open is one of them");
        // Requests are read, and nothing behind them.
        let read = limits::CONTENT_STREAMS_MAX as usize * 2 * limits::REQUEST_BYTES_MAX;
        let window = limits::WINDOW_CONTENT_BYTES as usize;
        assert!((window / 2..=window + read).contains(&room), "{room} bytes under way");
        let gossip = member.client.dial(at, iroh_gossip::ALPN).await;
        let gossip = Wire::open(gossip).await;
        let (bidi, uni, _) = streams_that_open(&gossip, &[0xff; 100]).await;
        assert!(bidi == 0 && uni <= limits::GOSSIP_STREAMS_MAX as usize, "{bidi} and {uni} streams of gossip");
        bench.unchanged(&before).await;
    });
}

#[test]
fn a_joiner_gets_one_stream_and_little_room() {
    script(async |bench| {
        let invite = bench.a.invite("writer", "1h");
        let mut joiners = Vec::new();
        let bytes = noise(1 << 20);
        for _ in 0..40 {
            let client = Client::bind(fresh_seed()).await;
            let mut wire = client.open(&bench.a.address, JOIN_ALPN).await;
            // A length that is allowed and bytes without end behind it: nobody reads these.
            wire.raw(&[0, 4, 0]).await;
            if joiners.is_empty() {
                let room = taken(&mut wire.send, &bytes).await;
                let window = limits::WINDOW_FIRST_BYTES as usize;
                let read = 2 * limits::REQUEST_BYTES_MAX;
                assert!((window - read..=window + read).contains(&room), "{room} bytes under way");
            } else {
                let full = wire.send.write_all(&bytes);
                let _never = tokio::time::timeout(Duration::from_millis(20), full).await;
            }
            joiners.push((client, wire));
        }
        let open = joiners.iter().filter(|(_, wire)| wire.connection.close_reason().is_none()).count();
        assert!(open <= limits::JOINERS_MAX, "{open} joiners are heard at once");
        // Whoever has the invite is heard all the same.
        Member::join(Client::bind(fresh_seed()).await, &bench.a.address, &invite).await;
    });
}

#[test]
fn requests_to_join_without_end_cost_no_commit() {
    script(async |bench| {
        let invite = bench.a.invite("writer", "1h");
        let before = bench.state().await;
        let client = Client::bind(fresh_seed()).await;
        let mut request = invite.request(client.device());
        request.space.0[0] ^= 1;
        for _ in 0..60 {
            ask_to_join(&client, &bench.a.address, &request).await.expect("is answered");
        }
        bench.unchanged(&before).await;
        Member::join(client, &bench.a.address, &invite).await;
    });
}

/// Fills the space with commits that do not compress, and waits until both have them.
async fn fill(bench: &Bench, member: &mut Member, commits: usize) -> ReplicaId {
    let replica = member.replica();
    let mut forge = None;
    let mut wire = member.session(&bench.a.address).await;
    for _ in 0..commits {
        // Deep in a hidden directory: stored and passed on, and never put on disk.
        let hidden = root_of(&RootSpec::dir(member.space, None, ".kith")).doc();
        let file = |index: usize| {
            let spec = RootContent::Inline(noise(limits::INLINE_BYTES_MAX));
            root_of(&RootSpec::file(member.space, Some(hidden), &format!("{index}"), spec))
        };
        let items: Vec<Item> = (0..55).map(file).collect();
        let next = match forge.take() {
            None => member.forge(items),
            Some(last) => sync_tests::hostile::standing::Forge::next(&last, items),
        };
        wire.say(&Message::Commits { space: member.tag(), commits: vec![next.sign()] }).await;
        forge = Some(next);
    }
    member.until_taken(&mut wire, replica, commits as u64).await;
    wire.leave();
    replica
}

#[test]
fn who_reads_nothing_is_let_go() {
    script(async |bench| {
        let mut writer = bench.member().await;
        let replica = fill(bench, &mut writer, 12).await;
        bench.retire();
        bench.relax();
        let member = bench.member().await;
        let nothing = SpaceHello { vector: VersionVector::new(), ..member.hello() };
        let (mut wire, _) = member.greet(&bench.a.address, nothing.clone()).await;
        let ask = Message::Ask {
            space: member.tag(),
            ranges: vec![LogRange { replica, from: 1, to: u64::MAX }; limits::ASK_RANGES_MAX],
        };
        // A proof of a megabyte for each of these, if there were no bound.
        let mut forked = VersionVector::new();
        forked.advance(replica, Tip::new(1, &CommitHash([1; 32])));
        let lie = SpaceHello { vector: forked, ..member.hello() };
        for _ in 0..500 {
            wire.say(&ask).await;
            wire.say(&Message::Hello { spaces: vec![lie.clone()] }).await;
            wire.say(&Message::Hello { spaces: vec![nothing.clone()] }).await;
            if wire.connection.close_reason().is_some() {
                break;
            }
        }
        bench.pair_syncs().await;
        wire.leave();
    });
}

#[test]
fn hellos_of_unknown_spaces_are_not_kept_for_ever() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let mut wire = member.session(&bench.a.address).await;
        let vector: VersionVector = (0..limits::REPLICAS_MAX)
            .map(|index| {
                let mut id = [0; 16];
                id[..8].copy_from_slice(&(index as u64).to_le_bytes());
                (ReplicaId(id), Tip::new(1, &CommitHash([1; 32])))
            })
            .collect();
        for number in 0..256_u16 {
            let mut tag = [0xaa; 16];
            tag[..2].copy_from_slice(&number.to_le_bytes());
            let hello = SpaceHello { space: SpaceTag(tag), flags: 0, vector: vector.clone(), root: [0; 32] };
            wire.say(&Message::Hello { spaces: vec![hello] }).await;
        }
        bench.unchanged(&before).await;
        assert!(wire.connection.close_reason().is_none(), "they may be of spaces that both will be in");
    });
}

#[test]
fn frames_as_fast_as_they_go_wait_outside() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        // A megabyte each, of commits that are held: each is read whole and put away.
        let vector = member.vector();
        let held: Vec<Signed> = vector.iter().flat_map(|(id, tip)| (1..=tip.n).map(|n| member.held(*id, n))).collect();
        let each = held.iter().map(Signed::wire_len).sum::<usize>();
        let commits = held.iter().cycle().take(held.len() * ((1 << 20) / each - 1)).cloned().collect();
        let frame =
            framed(&postcard::to_allocvec(&Message::Commits { space: member.tag(), commits }).expect("is plain"));
        let Wire { connection, mut send, mut receive } = member.session(&bench.a.address).await;
        let write = async {
            for _ in 0..100 {
                send.write_all(&frame).await.expect("is no fault");
            }
        };
        let read = async { while let Ok(Some(_)) = receive.read_chunk(1 << 20).await {} };
        tokio::select! {
            () = within("100 MB", write) => {}
            () = read => panic!("the session ended"),
        }
        bench.unchanged(&before).await;
        connection.close(0_u32.into(), b"done");
    });
}

#[test]
fn commits_without_their_past_end_the_session_in_the_end() {
    script(async |bench| {
        let mut member = bench.member().await;
        let before = bench.state().await;
        let file = member.file("x", b"");
        let orphan = member.forge(vec![file]).with(|forge| {
            forge.header.parents = vec![CommitHash([1; 32])];
            forge.set_bytes(noise(limits::BODY_BYTES_MAX));
        });
        let commits = vec![orphan.sign()];
        let frame =
            framed(&postcard::to_allocvec(&Message::Commits { space: member.tag(), commits }).expect("is plain"));
        let Wire { connection, mut send, mut receive } = member.session(&bench.a.address).await;
        let write = async { while send.write_all(&frame).await.is_ok() {} };
        let read = async { while let Ok(Some(_)) = receive.read_chunk(1 << 20).await {} };
        tokio::join!(within("commits without end", write), read);
        ends_with(&connection, "commits without their past", CloseCode::Protocol).await;
        bench.unchanged(&before).await;
    });
}

#[test]
fn who_comes_again_and_again_has_one_session() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let hello = postcard::to_allocvec(&Message::Hello { spaces: vec![member.hello()] }).expect("is plain");
        let mut connections = Vec::new();
        for _ in 0..200 {
            let connection = member.client.dial(&bench.a.address, SYNC_ALPN).await;
            // One of them may be closed before its stream is open.
            if let Ok((mut send, receive)) = connection.open_bi().await {
                let _closed = send.write_all(&framed(&hello)).await;
                connections.push((connection, send, receive));
            }
        }
        let is_open = |held: &&(Connection, SendStream, RecvStream)| held.0.close_reason().is_none();
        within("one is left", until(|| connections.iter().filter(is_open).count() <= 1)).await;
        let closed = connections.iter().find(|held| !is_open(held)).expect("all but one");
        ends_with(&closed.0, "an older session", CloseCode::Duplicate).await;
        bench.unchanged(&before).await;
        // It may still come as anybody may.
        member.session(&bench.a.address).await.leave();
    });
}

#[test]
fn connections_of_one_device_end_at_their_bound() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        for alpn in [CONTENT_ALPN, iroh_gossip::ALPN] {
            let mut connections = Vec::new();
            for _ in 0..60 {
                connections.push(member.client.dial(&bench.a.address, alpn).await);
            }
            let open = || connections.iter().filter(|held| held.close_reason().is_none()).count();
            within("all but a few are closed", until(|| open() <= limits::CONNECTIONS_OF_DEVICE_MAX)).await;
            ends_with(&connections[0], "the oldest", CloseCode::Duplicate).await;
        }
        bench.unchanged(&before).await;
    });
}

#[test]
fn strangers_who_dial_without_end_keep_nobody_out() {
    script(async |bench| {
        let before = bench.state().await;
        let client = Client::bind(fresh_seed()).await;
        for _ in 0..150 {
            ends_with(&client.dial(&bench.a.address, SYNC_ALPN).await, "a stranger", CloseCode::NotAllowed).await;
        }
        bench.unchanged(&before).await;
    });
}

#[test]
fn small_words_without_end_are_heard_and_cost_little() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let mut wire = member.session(&bench.a.address).await;
        let hello = Message::Hello { spaces: vec![member.hello()] };
        for round in 0..3_000 {
            wire.say(&hello).await;
            wire.say(&Message::Settled { space: member.tag(), settled: round % 2 == 0 }).await;
            wire.say(&Message::Ask { space: member.tag(), ranges: Vec::new() }).await;
        }
        bench.unchanged(&before).await;
        assert!(wire.connection.close_reason().is_none(), "none of it was wrong");
    });
}
