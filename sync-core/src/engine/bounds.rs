//! Tests of the engine's bounds: each at its value and one past it, by inputs and effects with times of the test's own.
//!
//! One real engine over a store in memory; its peers are frames that the test writes.

use super::{Command, Effect, Engine, Event, Input, Now, SessionId, Ticket};
use crate::{
    commit::{Body, Header, Item, Origin, SecretKey, Signed},
    doc::entry::{RootContent, RootSpec},
    ids::{CommitHash, DeviceId, DocId, InstallEpoch, InviteKey, ReplicaId, SpaceId, SpaceTag},
    limits,
    member::{InviteRefusal, MemberOp, Role, prove_invite},
    store::{Edit, Store},
    version::{LogRange, Tip, VersionVector},
    wire::{self, Announcement, CloseCode, Message, SpaceHello},
};

/// When everything begins: wall clock and monotonic clock tell them apart.
const START_MS: u64 = 1_000_000;
const WALL_MS: u64 = 5_000_000_000;

/// An engine that founded a space, and members that are keys.
struct Bench {
    engine: Engine,
    space: SpaceId,
    ms: u64,
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

impl Bench {
    fn new() -> Self {
        let engine = Engine::open(Store::in_memory().expect("opens"), key(1), [0; 32]).expect("opens");
        let mut bench = Self { engine, space: SpaceId([0; 32]), ms: START_MS };
        let (name, device_name) = ("space".to_owned(), "device".to_owned());
        let epoch = InstallEpoch([0; 16]);
        bench.command(Command::CreateSpace { name, device_name, random: [7; 32], epoch });
        bench.space = bench.engine.spaces[&bench.handle()].row.id;
        bench
    }

    fn handle(&self) -> u32 {
        *self.engine.spaces.keys().next().expect("a space is founded")
    }

    fn turn(&mut self, inputs: Vec<Input>) -> Vec<Effect> {
        let now = Now { mono_ms: self.ms, wall_ms: WALL_MS };
        self.engine.turn(now, inputs).expect("the store in memory does not fail")
    }

    fn command(&mut self, command: Command) -> Vec<Effect> {
        let effects = self.turn(vec![Input::Command { command, ticket: Ticket(0) }]);
        let refused = effects.iter().find(|effect| matches!(effect, Effect::Done { outcome: Err(_), .. }));
        assert!(refused.is_none(), "{refused:?}");
        effects
    }

    fn invite(&mut self, secret: &SecretKey, life_ms: u64) {
        let (space, invite) = (self.space, InviteKey(secret.public()));
        self.command(Command::Invite { space, key: invite, role: Role::Writer, uses: 1, life_ms });
    }

    /// Lets the device of this key in.
    fn admit(&mut self, seed: u8) -> DeviceId {
        let (space, secret, device) = (self.space, key(seed.wrapping_add(100)), key(seed).device());
        self.invite(&secret, 1000);
        let (invite, proof) = (InviteKey(secret.public()), prove_invite(&secret, space, device));
        self.command(Command::Accept { space, invite, device, name: format!("device {seed}"), proof });
        device
    }

    fn up(&mut self, session: u64, peer: DeviceId) -> Vec<Effect> {
        self.turn(vec![Input::SessionUp { session: SessionId(session), peer }])
    }

    fn hear(&mut self, session: u64, message: &Message) -> Vec<Effect> {
        let frame = Input::Frame { session: SessionId(session), bytes: wire::encode(message) };
        self.turn(vec![frame])
    }

    /// A hello by a device that has this much.
    fn hello(&self, device: DeviceId, vector: VersionVector) -> Message {
        let root = self.engine.spaces[&self.handle()].row.root;
        Message::Hello { spaces: vec![SpaceHello { space: self.space.tag(device), flags: 0, vector, root }] }
    }

    fn vector(&self) -> VersionVector {
        self.engine.spaces[&self.handle()].vector.clone()
    }

    /// A member with a session that has all that is here.
    fn linked(&mut self, seed: u8) -> DeviceId {
        let device = self.admit(seed);
        self.up(seed.into(), device);
        let hello = self.hello(device, self.vector());
        self.hear(seed.into(), &hello);
        device
    }

    /// A first commit of a member, behind these.
    fn first_commit(&self, seed: u8, body: &Body, parents: Vec<CommitHash>, auth: Vec<CommitHash>) -> Signed {
        let (epoch, device) = (InstallEpoch([seed; 16]), key(seed).device());
        let encoded = body.encode().expect("is small");
        let header = Header {
            space: self.space,
            replica: ReplicaId::derive(device, self.space, epoch),
            n: 1,
            parents,
            auth,
            kind: body.kind(),
            body_hash: Body::hash(&encoded),
            body_len: encoded.len() as u32,
            wall_ms: 0,
            origin: Some(Origin { device, epoch }),
        };
        Signed::create(&header, body, &key(seed)).expect("is small")
    }

    fn create(&mut self, name: &str, bytes: Vec<u8>) -> Vec<Effect> {
        let root = RootSpec::file(self.space, None, name, RootContent::Inline(bytes)).build();
        let items = vec![Item::change(root.hash.into(), root.bytes)];
        let (space, edits) = (self.space, vec![Edit { items, writes: Vec::new() }]);
        self.turn(vec![Input::Edit { space, edits, ticket: Ticket(0) }])
    }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Messages that go to a session.
fn sent(effects: &[Effect], to: u64) -> Vec<Message> {
    let frames = effects.iter().filter_map(|effect| match effect {
        Effect::Send { session, frame } if *session == SessionId(to) => Some(frame),
        _ => None,
    });
    frames.map(|frame| wire::decode(frame).expect("is of ours")).collect()
}

fn closed(effects: &[Effect]) -> Option<CloseCode> {
    effects.iter().find_map(|effect| match effect {
        Effect::Close { code, .. } => Some(*code),
        _ => None,
    })
}

/// A replica of nobody, and a hint that its log is so long.
fn hint(bench: &Bench, number: u64, n: u64) -> Input {
    let mut replica = [0xee; 16];
    replica[..8].copy_from_slice(&number.to_le_bytes());
    let announcement =
        Announcement { replica: ReplicaId(replica), n, hash: CommitHash([9; 32]), counter: 0, commit: None };
    let bytes = wire::encode_announcement(&announcement).expect("is small");
    Input::Announcement { space: bench.space, bytes }
}

fn vector_of(replicas: usize, seed: u8) -> VersionVector {
    let replica = |index: usize| {
        let mut id = [seed; 16];
        id[..8].copy_from_slice(&(index as u64).to_le_bytes());
        (ReplicaId(id), Tip::new(1, &CommitHash([1; 32])))
    };
    (0..replicas).map(replica).collect()
}

fn asks(effects: &[Effect], to: u64) -> Vec<LogRange> {
    let ask = |message| if let Message::Ask { ranges, .. } = message { Some(ranges) } else { None };
    sent(effects, to).into_iter().filter_map(ask).flatten().collect()
}

#[test]
fn who_says_nothing_is_closed_in_time() {
    let mut bench = Bench::new();
    let device = bench.admit(2);
    bench.up(2, device);
    bench.ms = START_MS + limits::HELLO_TIMEOUT_MS - 1;
    assert_eq!(closed(&bench.turn(Vec::new())), None);
    assert_eq!(bench.engine.next_deadline(), Some(START_MS + limits::HELLO_TIMEOUT_MS));
    bench.ms += 1;
    assert_eq!(closed(&bench.turn(Vec::new())), Some(CloseCode::Timeout));
}

#[test]
fn the_slow_timer_rings_around_its_middle() {
    let mut bench = Bench::new();
    let now = Now { mono_ms: START_MS, wall_ms: WALL_MS };
    let half = limits::REPAIR_EVERY_MS / 2;
    let draws: Vec<u64> = (0..300).map(|_| bench.engine.next_repair(now) - START_MS).collect();
    assert!(draws.iter().all(|wait| (half..3 * half).contains(wait)));
    assert!(draws.iter().any(|wait| *wait < half + half / 4) && draws.iter().any(|wait| *wait > 2 * half + half / 2));
    bench.linked(2);
    let at = bench.engine.spaces[&bench.handle()].repair_at.expect("was set by the first turn");
    bench.ms = at - 1;
    assert_eq!(sent(&bench.turn(Vec::new()), 2), []);
    bench.ms = at;
    assert!(matches!(sent(&bench.turn(Vec::new()), 2)[..], [Message::Hello { .. }]));
}

#[test]
fn asks_are_not_too_often_and_not_too_long() {
    let mut bench = Bench::new();
    bench.linked(2);
    let many = (0..limits::ASK_RANGES_MAX as u64 + 1).map(|number| hint(&bench, number, 5)).collect();
    let first = bench.turn(many);
    assert_eq!(asks(&first, 2).len(), limits::ASK_RANGES_MAX);
    bench.ms = START_MS + limits::ASK_EVERY_MS - 1;
    let next = hint(&bench, 0, 6);
    assert_eq!(asks(&bench.turn(vec![next]), 2), []);
    assert_eq!(bench.engine.next_deadline(), Some(START_MS + limits::ASK_EVERY_MS));
    bench.ms += 1;
    assert_eq!(asks(&bench.turn(Vec::new()), 2).len(), 1);
}

#[test]
fn a_commit_of_somebody_else_is_passed_on_in_a_while() {
    let mut bench = Bench::new();
    let author = bench.linked(2);
    bench.linked(3);
    let commits = |effects: &[Effect]| {
        sent(effects, 3).into_iter().filter(|message| matches!(message, Message::Commits { .. })).count()
    };
    // It takes one turn until a link counts as caught up.
    assert_eq!(commits(&bench.turn(Vec::new())), 0);
    let heads = bench.engine.spaces[&bench.handle()].row.heads.clone();
    let signed = bench.first_commit(2, &Body::Changes(Vec::new()), heads.clone(), heads);
    let commit = Message::Commits { space: bench.space.tag(author), commits: vec![signed] };
    let before = bench.vector();
    assert_eq!(commits(&bench.hear(2, &commit)), 0);
    assert_eq!(bench.vector().beyond(&before).len(), 1, "it was taken in");
    bench.ms = START_MS + limits::FORWARD_DELAY_MS - 1;
    assert_eq!(commits(&bench.turn(Vec::new())), 0);
    bench.ms += 1;
    assert_eq!(commits(&bench.turn(Vec::new())), 1);
}

#[test]
fn who_only_claims_to_have_more_is_waited_for_a_while() {
    let mut bench = Bench::new();
    let (claimer, other) = (bench.admit(2), bench.admit(3));
    bench.up(2, claimer);
    let mut vector = bench.vector();
    vector.advance(ReplicaId([9; 16]), Tip::new(9, &CommitHash([9; 32])));
    let hello = bench.hello(claimer, vector);
    bench.hear(2, &hello);
    let hellos = |effects: &[Effect]| -> Vec<bool> {
        let spaces = |message| if let Message::Hello { spaces } = message { Some(spaces) } else { None };
        let spaces = sent(effects, 3).into_iter().filter_map(spaces).flatten();
        spaces.map(|space| space.flags & SpaceHello::CATCHING_UP != 0).collect()
    };
    assert_eq!(hellos(&bench.up(3, other)), [true], "one copy is enough");
    bench.ms = START_MS + limits::CATCH_UP_PATIENCE_MS - 1;
    assert!(hellos(&bench.turn(Vec::new())).is_empty());
    bench.ms += 1;
    assert_eq!(hellos(&bench.turn(Vec::new())), [false]);
}

#[test]
fn commits_under_way_end_at_the_window() {
    let mut bench = Bench::new();
    let device = bench.admit(2);
    for index in 0..6 {
        bench.create(&format!("file {index}"), noise(800_000, index));
    }
    bench.up(2, device);
    let hello = bench.hello(device, VersionVector::new());
    let mut effects = bench.hear(2, &hello);
    let mut all = 0;
    loop {
        let frames: Vec<usize> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Send { frame, .. } => Some(frame.len()),
                _ => None,
            })
            .filter(|len| *len > 100_000)
            .collect();
        let under_way = bench.engine.sessions[&SessionId(2)].in_flight;
        let Some(last) = frames.last() else { break };
        assert!(under_way - last < limits::SESSION_WINDOW_BYTES, "the last one still found the window open");
        all += frames.len();
        // What is written makes room, and not before.
        if all < 6 {
            assert!(under_way >= limits::SESSION_WINDOW_BYTES);
            let one_too_few = under_way - limits::SESSION_WINDOW_BYTES;
            let written = |bytes| vec![Input::Written { session: SessionId(2), bytes }];
            assert!(bench.turn(written(one_too_few)).is_empty());
            effects = bench.turn(written(1));
        } else {
            effects = Vec::new();
        }
    }
    assert_eq!(all, 6);
}

#[test]
fn hellos_of_unknown_spaces_are_kept_up_to_their_bounds() {
    let mut bench = Bench::new();
    let device = bench.admit(2);
    bench.up(2, device);
    let parked = |bench: &Bench| bench.engine.sessions[&SessionId(2)].parked.len();
    let unknown = |tag: u16, replicas| {
        let mut space = [0xcc; 16];
        space[..2].copy_from_slice(&tag.to_le_bytes());
        SpaceHello { space: SpaceTag(space), flags: 0, vector: vector_of(replicas, 3), root: [0; 32] }
    };
    let half = limits::PARKED_TIPS_MAX / 2;
    bench.hear(2, &Message::Hello { spaces: vec![unknown(0, half), unknown(1, half)] });
    assert_eq!(parked(&bench), 2, "at the bound of tips");
    bench.hear(2, &Message::Hello { spaces: vec![unknown(2, 1)] });
    assert_eq!(parked(&bench), 2, "and one past it");
    let spaces = (0..limits::HELLO_SPACES_MAX as u16).map(|tag| unknown(tag, 1)).collect();
    bench.hear(2, &Message::Hello { spaces });
    assert_eq!(parked(&bench), limits::HELLO_SPACES_MAX, "said again, they take less");
    bench.hear(2, &Message::Hello { spaces: vec![unknown(0xffff, 0)] });
    assert_eq!(parked(&bench), limits::HELLO_SPACES_MAX);
}

#[test]
fn words_about_forks_come_to_an_end() {
    let mut bench = Bench::new();
    let device = bench.linked(2);
    let replica = bench.engine.spaces[&bench.handle()].row.replica;
    let trace = Message::Trace { space: bench.space.tag(device), range: LogRange { replica, from: 1, to: 1 } };
    for round in 0..limits::FORK_ROUNDS_MAX {
        assert_eq!(closed(&bench.hear(2, &trace)), None, "round {round}");
    }
    assert_eq!(closed(&bench.hear(2, &trace)), Some(CloseCode::Protocol));
}

#[test]
fn commits_without_their_past_come_to_an_end() {
    let mut bench = Bench::new();
    let device = bench.linked(2);
    let body = Body::Changes(vec![Item::change(DocId([3; 32]), noise(200_000, 1))]);
    let signed = bench.first_commit(2, &body, vec![CommitHash([9; 32])], Vec::new());
    let wire_len = signed.wire_len();
    let commits = Message::Commits { space: bench.space.tag(device), commits: vec![signed] };
    let mut greeted = 0;
    for _ in 0..limits::GAP_BYTES_MAX / wire_len {
        let effects = bench.hear(2, &commits);
        assert_eq!(closed(&effects), None);
        greeted += sent(&effects, 2).iter().filter(|message| matches!(message, Message::Hello { .. })).count();
    }
    assert_eq!(greeted, 1, "the peer is told once");
    assert_eq!(closed(&bench.hear(2, &commits)), Some(CloseCode::Protocol));
}

#[test]
fn an_invite_lives_no_longer_than_it_may() {
    let mut bench = Bench::new();
    let longest = limits::INVITE_LIFE_MS_MAX;
    for (seed, asked) in [(50, longest), (51, longest + 1), (52, u64::MAX)] {
        bench.invite(&key(seed), asked);
        let membership = &bench.engine.spaces[&bench.handle()].membership;
        let check = |ms| membership.check_invite(&InviteKey(key(seed).public()), ms).map(drop);
        assert_eq!(check(WALL_MS + longest - 1), Ok(()), "{asked}");
        assert_eq!(check(WALL_MS + longest), Err(InviteRefusal::Expired), "{asked}");
    }
}

#[test]
fn a_small_commit_travels_in_its_announcement_and_a_larger_one_does_not() {
    let mut bench = Bench::new();
    // Somebody who is not here, for whoever has a session needs no copy; and somebody who is.
    bench.admit(2);
    let here = bench.admit(3);
    bench.up(3, here);
    let hello = bench.hello(here, VersionVector::default());
    bench.hear(3, &hello);
    let mut lengths = Vec::new();
    for len in 400..900 {
        let effects = bench.create("name", noise(len, len as u64));
        let announced = effects.iter().find_map(|effect| match effect {
            Effect::Announce { payload, .. } => Some(wire::decode_announcement(payload).expect("is of ours")),
            _ => None,
        });
        let announced = announced.expect("a commit is announced");
        let snapshot = bench.engine.store.read().expect("reads");
        let row = snapshot.commit_row(bench.handle(), 0, announced.n).expect("reads").expect("is held");
        let body = snapshot.body(bench.handle(), 0, announced.n).expect("reads");
        let wire_len = row.with_body(body).wire_len();
        assert_eq!(announced.commit.is_some(), wire_len <= limits::ANNOUNCE_INLINE_BYTES_MAX, "{wire_len}");
        lengths.push(wire_len);
        if wire_len > limits::ANNOUNCE_INLINE_BYTES_MAX {
            break;
        }
    }
    let max = limits::ANNOUNCE_INLINE_BYTES_MAX;
    assert_eq!(lengths[lengths.len() - 2..], [max, max + 1], "each is one byte longer than the one before");
}

#[test]
fn with_nobody_here_no_commit_leaves_in_an_announcement() {
    let mut bench = Bench::new();
    bench.admit(2);
    let effects = bench.create("name", noise(100, 1));
    let payload = effects.iter().find_map(|effect| match effect {
        Effect::Announce { payload, .. } => Some(wire::decode_announcement(payload).expect("is of ours")),
        _ => None,
    });
    assert_eq!(payload.expect("a commit is announced").commit, None);
    assert_eq!(bench.engine.spaces[&bench.handle()].row.shared, 0);
}

#[test]
fn more_heads_than_a_commit_may_name_are_joined_first() {
    let mut bench = Bench::new();
    let writers: Vec<u8> = (2..2 + limits::PARENTS_MAX as u8 + 1).collect();
    for seed in &writers {
        bench.admit(*seed);
    }
    let heads = bench.engine.spaces[&bench.handle()].row.heads.clone();
    // All invite at once, so that as many membership commits are new as there are heads.
    for seed in &writers {
        let invite = InviteKey(key(seed + 150).public());
        let op = MemberOp::Invite { key: invite, role: Role::Reader, uses: 1, expires_ms: u64::MAX };
        let signed = bench.first_commit(*seed, &Body::Membership(vec![op]), heads.clone(), heads.clone());
        let header = Header::decode(&signed.header).expect("is of ours");
        let announcement =
            Announcement { replica: header.replica, n: 1, hash: signed.hash(), counter: 0, commit: Some(signed) };
        let bytes = wire::encode_announcement(&announcement).expect("is small");
        bench.turn(vec![Input::Announcement { space: bench.space, bytes }]);
    }
    let space = &bench.engine.spaces[&bench.handle()];
    assert_eq!(space.row.heads.len(), limits::PARENTS_MAX + 1);
    let before = space.vector.len_of(&space.row.replica);
    bench.create("file", vec![1]);
    let space = &bench.engine.spaces[&bench.handle()];
    assert_eq!(space.row.heads.len(), 1, "the edit has everything in its past");
    assert_eq!(space.vector.len_of(&space.row.replica), before + 2, "one commit joins, one edits");
    let snapshot = bench.engine.store.read().expect("reads");
    let header = |n| {
        let row = snapshot.commit_row(space.handle, 0, n).expect("reads").expect("is held");
        Header::decode(&row.with_body(snapshot.body(space.handle, 0, n).expect("reads")).header).expect("is of ours")
    };
    assert_eq!(header(before + 1).parents.len(), limits::PARENTS_MAX);
    // The join has sixteen of the invites behind it and names all; the edit has seventeen and names as many as it may.
    assert_eq!(header(before + 1).auth.len(), limits::AUTH_MAX);
    assert_eq!(header(before + 2).auth.len(), limits::AUTH_MAX);
}

#[test]
fn a_space_has_so_many_replicas_and_no_more() {
    let mut bench = Bench::new();
    for seed in [2, 3] {
        bench.admit(seed);
    }
    bench.create("file", vec![1]);
    let handle = bench.handle();
    let heads = bench.engine.spaces[&handle].row.heads.clone();
    let auth = bench.engine.spaces[&handle].auth_heads(&vec![(0, u64::MAX)]);
    // One place is left.
    let space = bench.engine.spaces.get_mut(&handle).expect("is there");
    let own = space.replicas[&0].clone();
    for replica in 1..limits::REPLICAS_MAX as u32 - 1 {
        space.replicas.insert(replica, own.clone());
    }
    let hear = |bench: &mut Bench, seed: u8| {
        let body = Body::Changes(Vec::new());
        let signed = bench.first_commit(seed, &body, heads.clone(), auth.clone());
        let header = Header::decode(&signed.header).expect("is of ours");
        let announcement =
            Announcement { replica: header.replica, n: 1, hash: signed.hash(), counter: 0, commit: Some(signed) };
        let bytes = wire::encode_announcement(&announcement).expect("is small");
        bench.turn(vec![Input::Announcement { space: bench.space, bytes }]);
        bench.vector().len_of(&header.replica)
    };
    assert_eq!(hear(&mut bench, 2), 1, "the last one");
    assert_eq!(hear(&mut bench, 3), 0, "one too many");
}

#[test]
fn a_peer_may_tell_of_as_many_replicas_as_a_space_has() {
    let mut bench = Bench::new();
    let device = bench.linked(2);
    let held = bench.vector().len();
    let durable = |bench: &Bench, replicas| {
        let mut vector = vector_of(replicas, 3);
        vector.merge(&bench.vector());
        Message::Durable { space: bench.space.tag(device), vector, settled: false }
    };
    let most = durable(&bench, limits::REPLICAS_MAX - held);
    assert_eq!(closed(&bench.hear(2, &most)), None);
    // Another vector that is in bounds by itself, and is not with what was said before.
    let mut more = VersionVector::new();
    more.advance(ReplicaId([0xdd; 16]), Tip::new(1, &CommitHash([1; 32])));
    let more = Message::Durable { space: bench.space.tag(device), vector: more, settled: false };
    let effects = bench.hear(2, &more);
    assert_eq!(closed(&effects), Some(CloseCode::Malformed));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Event(Event::BadPeer { .. }))));
}

#[test]
fn a_peer_that_had_our_commits_from_others_is_told_that_they_are_here() {
    let mut bench = Bench::new();
    let (device, third) = (bench.admit(2), bench.admit(3));
    for (session, peer) in [(2, device), (3, third)] {
        bench.up(session, peer);
        let has_nothing = bench.hello(peer, VersionVector::new());
        bench.hear(session, &has_nothing);
    }
    // It catches up from the third one, and is sent nothing meanwhile.
    let mut hello = bench.hello(device, bench.vector());
    let Message::Hello { spaces } = &mut hello else { unreachable!("it is a hello") };
    spaces[0].flags = SpaceHello::CATCHING_UP;
    bench.hear(2, &hello);
    let sent = |effects: Vec<Effect>| {
        let frames = effects.into_iter().filter_map(|effect| match effect {
            Effect::Send { session: SessionId(2), frame } => Some(wire::decode(&frame).expect("is ours")),
            _ => None,
        });
        frames.collect::<Vec<_>>()
    };
    assert_eq!(sent(bench.create("file", b"text\n".to_vec())), []);
    // What we wrote reaches it by the third, and then it wants to hear of us again.
    let (space, vector) = (bench.space.tag(device), bench.vector());
    assert_eq!(sent(bench.hear(2, &Message::Durable { space, vector: vector.clone(), settled: true })), []);
    let hello = bench.hello(device, vector.clone());
    let space = bench.space.tag(bench.engine.device);
    let told = Message::Durable { space, vector, settled: true };
    assert_eq!(sent(bench.hear(2, &hello)), [told]);
    assert_eq!(sent(bench.hear(2, &hello)), [], "once is enough");
    // Who gets them from us needs no word besides.
    let sent = sent(bench.create("other", b"text\n".to_vec()));
    assert!(matches!(&sent[..], [Message::Commits { .. }]), "{sent:?}");
}
