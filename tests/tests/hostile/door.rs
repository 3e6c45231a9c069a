//! At the door: strangers on every protocol, invites that do not hold, and peers that connect and say nothing.

use iroh::EndpointAddr;
use sync_core::{
    commit::SecretKey,
    ids::{InviteKey, SpaceId},
    member::{InviteRefusal, prove_invite},
    wire::{CONTENT_ALPN, CloseCode, JOIN_ALPN, JoinRequest, JoinResponse, SYNC_ALPN},
};
use sync_tests::hostile::{
    bench::{Bench, tick},
    client::{Client, Wire, ended, ends_with, framed},
    standing::{Member, Ticket1, ask_to_join, fresh_seed},
};

use super::script;

const ALPNS: [&[u8]; 4] = [SYNC_ALPN, CONTENT_ALPN, JOIN_ALPN, iroh_gossip::ALPN];

async fn stranger() -> Client {
    Client::bind(fresh_seed()).await
}

/// Uses an invite up, so that the door is closed again.
async fn close_door(bench: &Bench, invite: &Ticket1) {
    Member::join(stranger().await, &bench.a.address, invite).await;
}

#[test]
fn a_stranger_is_refused_alike_on_every_protocol() {
    script(async |bench| {
        let before = bench.state().await;
        let client = stranger().await;
        for alpn in ALPNS {
            let connection = client.dial(&bench.a.address, alpn).await;
            let answer = ended(&connection, "a stranger").await;
            assert_eq!(answer, (2, b"not allowed".to_vec()), "{}", String::from_utf8_lossy(alpn));
        }
        bench.unchanged(&before).await;
    });
}

#[test]
fn a_stranger_finds_only_the_join_protocol_open_while_there_is_an_invite() {
    script(async |bench| {
        let invite = bench.a.invite("writer", "1h");
        let client = stranger().await;
        for alpn in [SYNC_ALPN, CONTENT_ALPN, iroh_gossip::ALPN] {
            ends_with(&client.dial(&bench.a.address, alpn).await, "a stranger", CloseCode::NotAllowed).await;
        }
        // The other device of the space knows of the invite, too, and nothing else.
        bench.until_held(&bench.b, &bench.look(&bench.a).await.vector).await;
        let wire = client.open(&bench.b.address, JOIN_ALPN).await;
        assert!(wire.connection.close_reason().is_none());
        close_door(bench, &invite).await;
    });
}

#[test]
fn unknown_protocols_are_refused_in_the_handshake() {
    script(async |bench| {
        let member = bench.member().await;
        for alpn in [b"kith/sync/2".as_slice(), b"h3", b"kith/sync/1\0", &[0xff; 200]] {
            let dialled = member.client.try_dial(&bench.a.address, alpn).await;
            assert!(dialled.is_err(), "nobody speaks {}", String::from_utf8_lossy(alpn));
        }
    });
}

async fn answer(client: &Client, host: &EndpointAddr, request: &JoinRequest) -> Option<InviteRefusal> {
    match ask_to_join(client, host, request).await.expect("while an invite is open there is an answer") {
        JoinResponse::Refused(refusal) => Some(refusal),
        JoinResponse::Welcome { .. } => None,
    }
}

#[test]
fn invites_that_do_not_hold_let_nobody_in() {
    script(async |bench| {
        let short = bench.a.invite("writer", "1s");
        let used = bench.a.invite("writer", "1h");
        close_door(bench, &used).await;
        let open = bench.a.invite("writer", "1h");
        let client = stranger().await;
        let good = open.request(client.device());
        let other = SecretKey::from_bytes(&fresh_seed());
        let proof = |secret: &SecretKey, space| prove_invite(secret, space, client.device());
        let foreign = SpaceId([9; 32]);
        let cases = [
            (
                "unknown key",
                InviteRefusal::Unknown,
                JoinRequest { invite: InviteKey(other.public()), proof: proof(&other, open.space), ..good.clone() },
            ),
            (
                "foreign space",
                InviteRefusal::Unknown,
                JoinRequest { space: foreign, proof: proof(&open.secret, foreign), ..good.clone() },
            ),
            (
                "another's proof",
                InviteRefusal::Proof,
                JoinRequest { proof: prove_invite(&open.secret, open.space, other.device()), ..good.clone() },
            ),
            (
                "another key's proof",
                InviteRefusal::Proof,
                JoinRequest { proof: proof(&other, open.space), ..good.clone() },
            ),
            ("a key that is no key", InviteRefusal::Proof, JoinRequest { invite: InviteKey([0; 32]), ..good.clone() }),
            ("used", InviteRefusal::Used, used.request(client.device())),
            ("no name", InviteRefusal::Name, JoinRequest { name: " ".into(), ..good.clone() }),
            ("a long name", InviteRefusal::Name, JoinRequest { name: "x".repeat(129), ..good.clone() }),
            ("an escape", InviteRefusal::Name, JoinRequest { name: "a\u{1b}[2J".into(), ..good.clone() }),
        ];
        let before = bench.state().await;
        for (what, refusal, request) in cases {
            assert_eq!(answer(&client, &bench.a.address, &request).await, Some(refusal), "{what}");
        }
        // Until its time is over it may say something else: the name is looked at last, and changes nothing.
        let late = JoinRequest { name: String::new(), ..short.request(client.device()) };
        while answer(&client, &bench.a.address, &late).await != Some(InviteRefusal::Expired) {
            tick().await;
        }
        bench.unchanged(&before).await;
        close_door(bench, &open).await;
    });
}

#[test]
fn who_asks_twice_is_one_member() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let open = bench.a.invite("writer", "1h");
        let invited = bench.state().await;
        assert_eq!(answer(&member.client, &bench.a.address, &open.request(member.client.device())).await, None);
        bench.unchanged(&invited).await;
        assert_eq!(invited.members, before.members);
        close_door(bench, &open).await;
    });
}

#[test]
fn what_is_no_request_to_join_is_malformed() {
    script(async |bench| {
        let open = bench.a.invite("writer", "1h");
        let before = bench.state().await;
        let client = stranger().await;
        let good = postcard::to_allocvec(&open.request(client.device())).expect("plain data");
        let name = JoinRequest { name: "x".repeat(5_000), ..open.request(client.device()) };
        let cases = [
            ("nothing", framed(&[])),
            ("rubbish", framed(&[0xff; 300])),
            ("cut", framed(&good[..good.len() - 1])),
            ("more behind", framed(&[&good[..], &[0]].concat())),
            ("too long", framed(&postcard::to_allocvec(&name).expect("plain data"))),
            ("a length of 16 MiB", vec![0xff; 64]),
        ];
        for (what, bytes) in cases {
            let mut wire = client.open(&bench.a.address, JOIN_ALPN).await;
            wire.raw(&bytes).await;
            wire.ends_with(what, CloseCode::Malformed).await;
        }
        bench.unchanged(&before).await;
        close_door(bench, &open).await;
    });
}

/// Sends one byte of a long frame after the other until the connection is closed.
async fn dribble(mut wire: Wire) -> Wire {
    wire.raw(&[0x0f, 0, 0]).await;
    while wire.connection.close_reason().is_none() {
        wire.raw(&[0]).await;
        for _ in 0..10 {
            tick().await;
        }
    }
    wire
}

#[test]
fn peers_that_stand_still_are_closed_in_time() {
    script(async |bench| {
        let open = bench.a.invite("writer", "1h");
        let mut members = Vec::new();
        for _ in 0..6 {
            members.push(bench.member().await);
        }
        let [m0, m1, m2, m3, m4, m5] = &members[..] else { panic!("six members") };
        let (before, at, code) = (bench.state().await, &bench.a.address, CloseCode::Timeout);
        let client = stranger().await;
        let no_stream = async {
            ends_with(&m0.client.dial(at, SYNC_ALPN).await, "no stream", code).await;
        };
        let no_hello = async {
            let mut wire = m1.silent(at).await;
            wire.raw(&[0]).await;
            wire.ends_with("no hello", code).await;
        };
        let half_a_length = async {
            let mut wire = m2.session(at).await;
            wire.raw(&[0, 1]).await;
            wire.ends_with("half a length", code).await;
        };
        let half_a_frame = async {
            let mut wire = m3.session(at).await;
            wire.raw(&[0x0f, 0xff, 0xff]).await;
            wire.raw(&[0; 100_000]).await;
            wire.ends_with("half a frame", code).await;
        };
        let drop_by_drop = async {
            let wire = dribble(m4.session(at).await).await;
            wire.ends_with("one byte after the other", code).await;
        };
        let half_a_request = async {
            let mut wire = m5.client.open(at, CONTENT_ALPN).await;
            wire.raw(&[0, 0, 80, 1]).await;
            assert_eq!(wire.hear().await, None, "half a request for content");
        };
        let no_request = async {
            ends_with(&client.dial(at, JOIN_ALPN).await, "no request to join", code).await;
        };
        tokio::join!(no_stream, no_hello, half_a_length, half_a_frame, drop_by_drop, half_a_request, no_request);
        bench.unchanged(&before).await;
        close_door(bench, &open).await;
    });
}
