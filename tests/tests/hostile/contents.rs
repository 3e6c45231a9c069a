//! The content protocol from both ends, and gossip: what is asked for without right, served wrongly, or said too often.

use std::{fs, sync::Arc};

use iroh_gossip::{net::Gossip, proto::TopicId};
use serde::{Deserialize, Serialize};
use sync_core::{
    commit::Item,
    content::{ChunkEntry, encode_list, list_hash},
    doc::entry::{ContentRef, RootContent, RootSpec},
    ids::{ChunkHash, CommitHash, ContentHash, ReplicaId, SpaceTag},
    version::Tip,
    wire::{Announcement, CONTENT_ALPN, CloseCode},
};
use sync_tests::hostile::{
    bench::{Bench, until},
    client::{Client, Wire, framed, within},
    standing::{Member, fresh_seed, root_of},
};

use super::script;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) space: SpaceTag,
    pub(super) content: ContentHash,
    pub(super) want: Want,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Want {
    List,
    Chunks { from: u32, count: u32 },
}

/// What a victim answers to a request, whole: frames until the stream ends.
async fn asked(member: &Member, to: &iroh::EndpointAddr, request: &[u8]) -> Vec<Vec<u8>> {
    let mut wire = member.client.open(to, CONTENT_ALPN).await;
    wire.frame(request).await;
    let _gone = wire.send.finish();
    let mut frames = Vec::new();
    while let Some(frame) = wire.hear().await {
        frames.push(frame);
    }
    wire.leave();
    frames
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&fresh_seed()).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn contents_are_for_those_who_share_them() {
    script(async |bench| {
        let member = bench.member().await;
        let bytes = noise(300_000);
        let name = "large shared.bin";
        fs::write(bench.a.daemon.folder.join(name), &bytes).expect("writes");
        within("the file", until(|| fs::read(bench.b.daemon.folder.join(name)).is_ok_and(|read| read == bytes))).await;
        let content = ContentHash::of(&bytes);
        let request =
            |space, content, want| postcard::to_allocvec(&Request { space, content, want }).expect("plain data");
        let at = &bench.a.address;
        // So that what is refused below is refused for its own sake.
        let list = asked(&member, at, &request(member.tag(), content, Want::List)).await;
        assert!(list.len() >= 2, "a member is served: {list:?}");
        let not_here = vec![vec![2]];
        let secret = ContentHash::of(&fs::read(bench.a.daemon.home.join("identity.key")).expect("reads"));
        for (what, space, content) in [
            ("a file outside the folder", member.tag(), secret),
            ("a content that nobody has", member.tag(), ContentHash([5; 32])),
            ("another's tag", bench.space.tag(bench.a.device()), content),
            ("the space's id", SpaceTag(bench.space.0[..16].try_into().expect("16 bytes")), content),
        ] {
            let answer = asked(&member, at, &request(space, content, Want::List)).await;
            assert_eq!(answer, not_here, "{what}");
        }
        for (from, count) in [(0, u32::MAX), (u32::MAX, 1), (u32::MAX, u32::MAX), (0, 1025), (1 << 20, 1)] {
            let want = Want::Chunks { from, count };
            assert_eq!(asked(&member, at, &request(member.tag(), content, want)).await.len(), 0, "{want:?}");
        }
        for junk in [vec![], vec![0xff; 100], vec![0; 5_000], request(member.tag(), content, Want::List)[1..].to_vec()]
        {
            assert_eq!(asked(&member, at, &junk).await.len(), 0, "{} bytes of junk", junk.len());
        }
    });
}

/// Serves every request with what `answer` makes of it, for as long as the returned task lives.
fn serve(client: &Client, answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> tokio::task::JoinSet<()> {
    let (endpoint, answer) = (client.endpoint.clone(), Arc::new(answer));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut held = tokio::task::JoinSet::new();
        while let Some(incoming) = endpoint.accept().await {
            let answer = Arc::clone(&answer);
            held.spawn(async move {
                let Ok(connection) = incoming.await else { return };
                let mut kept = Vec::new();
                while let Ok((send, receive)) = connection.accept_bi().await {
                    let mut wire = Wire { connection: connection.clone(), send, receive };
                    let Some(frame) = wire.hear().await else { continue };
                    let Ok(request) = postcard::from_bytes(&frame) else { continue };
                    wire.raw(&answer(&request)).await;
                    // Never finished: the stream hangs where the answer does.
                    kept.push(wire);
                }
            });
        }
    });
    tasks
}

/// A file by reference that only the member has.
fn referenced(member: &Member, name: &str, len: u64, chunks: &[ChunkEntry]) -> Item {
    let content = ContentRef { hash: ContentHash::of(name.as_bytes()), len, list: list_hash(&encode_list(chunks)) };
    root_of(&RootSpec::file(member.space, None, name, RootContent::Reference(content)))
}

/// One way to serve wrongly: the pair goes on, with large files as well, and no file of it appears.
async fn served_wrongly(bench: &mut Bench, what: &str, answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) {
    let client = Client::serving(fresh_seed(), &[CONTENT_ALPN]).await;
    let mut member = bench.member_as("writer", client).await;
    let serving = serve(&member.client, answer);
    let chunks = vec![ChunkEntry { hash: ChunkHash([3; 32]), len: 100_000 }; 3];
    let items = (0..20).map(|index| referenced(&member, &format!("{what} {index}.bin"), 300_000, &chunks)).collect();
    let replica = member.replica();
    let forge = member.forge(items);
    let mut wire = member.send(&bench.a.address, &[forge.sign()]).await;
    member.until_taken(&mut wire, replica, 1).await;
    let large = noise(200_000);
    let name = format!("honest beside {what}.bin");
    fs::write(bench.b.daemon.folder.join(&name), &large).expect("writes");
    let path = bench.a.daemon.folder.join(&name);
    within("a large file of the other", until(|| fs::read(&path).is_ok_and(|read| read == large))).await;
    bench.pair_syncs().await;
    assert!(!bench.a.daemon.folder.join(format!("{what} 0.bin")).exists(), "{what}");
    wire.leave();
    drop(serving);
}

#[test]
fn lists_and_chunks_that_lie_reach_no_file() {
    script(async |bench| {
        let chunks = vec![ChunkEntry { hash: ChunkHash([3; 32]), len: 100_000 }; 3];
        let list = encode_list(&chunks);
        let head =
            |len: u32| [&framed(&[&[0][..], &postcard::to_allocvec(&len).expect("plain data")].concat())[..]].concat();
        let right_list = [head(list.len() as u32), framed(&list)].concat();
        let wrong_chunks = [framed(&[1]), framed(&[0xee; 100_000]), framed(&[0xee; 100_000])].concat();
        served_wrongly(bench, "wrong chunks", move |request| match request.want {
            Want::List => right_list.clone(),
            Want::Chunks { .. } => wrong_chunks.clone(),
        })
        .await;
        served_wrongly(bench, "another list", move |_| [head(37), framed(&[7; 37])].concat()).await;
        let endless = [head(37 << 20), framed(&vec![7; 1 << 20]).repeat(3)].concat();
        served_wrongly(bench, "an endless list", move |_| endless.clone()).await;
        served_wrongly(bench, "a list above the bound", move |_| head(u32::MAX)).await;
        served_wrongly(bench, "frames of nothing", move |_| [head(100), framed(&[]).repeat(1000)].concat()).await;
        served_wrongly(bench, "not an answer", |_| framed(&[9; 40])).await;
    });
}

#[test]
fn who_serves_nothing_keeps_nobody_waiting() {
    script(async |bench| {
        served_wrongly(bench, "silence", |_| Vec::new()).await;
        bench.retire();
    });
}

#[test]
fn gossip_without_end_is_only_a_hint() {
    script(async |bench| {
        let client = Client::serving(fresh_seed(), &[iroh_gossip::ALPN]).await;
        let mut member = bench.member_as("writer", client).await;
        let before = bench.state().await;
        let lookup = iroh::address_lookup::memory::MemoryLookup::new();
        lookup.add_endpoint_info(bench.a.address.clone());
        member.client.endpoint.address_lookup().expect("is open").add(lookup);
        let gossip = Gossip::builder().spawn(member.client.endpoint.clone());
        let topic = TopicId::from_bytes(bench.space.topic());
        let joined = gossip.subscribe_and_join(topic, vec![bench.a.address.id]);
        let (sender, _receiver) = within("a neighbour", joined).await.expect("joins").split();
        let log = *before.vector.iter().next().expect("has commits").0;
        for counter in 0..1_000_u64 {
            let mut unknown = [0xcc; 16];
            unknown[..8].copy_from_slice(&counter.to_le_bytes());
            let announcement = Announcement {
                replica: if counter % 2 == 0 { log } else { ReplicaId(unknown) },
                n: (1 << 50) + counter,
                hash: CommitHash([1; 32]),
                counter,
                commit: None,
            };
            let payload = match counter % 5 {
                0 => noise(3_500),
                1 => Vec::new(),
                _ => postcard::to_allocvec(&announcement).expect("plain data"),
            };
            let _refused_here = sender.broadcast(payload.into()).await;
        }
        // What comes last is good, so that all before it has been heard.
        let signed = member.forge(Vec::new()).sign();
        let (replica, hash) = (member.replica(), signed.hash());
        let good = Announcement { replica, n: 1, hash, counter: 0, commit: Some(signed) };
        sender.broadcast(postcard::to_allocvec(&good).expect("plain data").into()).await.expect("is sent");
        let mut wanted = before.vector.clone();
        wanted.advance(replica, Tip::new(1, &hash));
        bench.until_held(&bench.a, &wanted).await;
        bench.pair_syncs().await;
        let after = bench.state().await;
        assert_eq!((after.members, after.vector.len()), (before.members, before.vector.len() + 1));
        let _gone = gossip.shutdown().await;
    });
}

#[test]
fn bytes_that_are_no_gossip_end_only_their_own_stream() {
    script(async |bench| {
        let member = bench.member().await;
        let before = bench.state().await;
        let connection = member.client.dial(&bench.a.address, iroh_gossip::ALPN).await;
        for junk in [vec![0xff; 4], vec![0; 10_000], [&[0, 0, 0, 32][..], &bench.space.topic(), &[0xff; 60]].concat()] {
            let mut stream = within("a stream", connection.open_uni()).await.expect("is up");
            let _refused = stream.write_all(&junk).await;
            let _refused = stream.finish();
        }
        bench.pair_syncs().await;
        let after = bench.state().await;
        assert_eq!((after.members, after.vector.len()), (before.members, before.vector.len()));
        connection.close(CloseCode::Shutdown.to_u32().into(), b"done");
    });
}
