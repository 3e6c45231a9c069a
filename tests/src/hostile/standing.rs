//! What a hostile device is to its victims: nobody, somebody with an invite, or a member that signs what it likes.
//!
//! A member has a real engine over a store in memory, which catches up as anybody would and so knows heads and roles; what
//! it then sends is made from one of the engine's own commits with something wrong about it.

use std::sync::atomic::{AtomicU32, Ordering};

use iroh::EndpointAddr;
use serde::Deserialize;
use sync_core::{
    commit::{Body, Header, Item, PackedBody, SecretKey, Signature, Signed},
    doc::entry::{RootContent, RootSpec},
    engine::{Command, Effect, Engine, Input, Now, Outcome, SessionId, Ticket},
    ids::{CommitHash, DeviceId, DocId, InstallEpoch, InviteKey, ReplicaId, SpaceId, SpaceTag, context},
    member::{MemberOp, prove_invite},
    store::{Edit, Store},
    version::VersionVector,
    wire::{self, JOIN_ALPN, JoinRequest, JoinResponse, Message, SYNC_ALPN, SpaceHello},
};

use super::client::{Client, Wire};

static SEEDS: AtomicU32 = AtomicU32::new(1);

/// The seed of an identity that nobody has had in this process.
#[must_use]
pub fn fresh_seed() -> [u8; 32] {
    let number = SEEDS.fetch_add(1, Ordering::Relaxed);
    *blake3::Hasher::new().update(b"hostile").update(&number.to_le_bytes()).finalize().as_bytes()
}

/// An invite string, read as the specification has it.
#[derive(Debug, Clone)]
pub struct Ticket1 {
    /// The space.
    pub space: SpaceId,
    /// The secret half of the invite's key.
    pub secret: SecretKey,
    /// Who made it.
    pub host: DeviceId,
}

impl Ticket1 {
    /// Reads an invite.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn read(invite: &str) -> Self {
        #[derive(Deserialize)]
        enum Wire {
            V1 { space: SpaceId, secret: [u8; 32], host: DeviceId },
        }
        let letters = invite.trim().strip_prefix("kith").expect("an invite").to_ascii_uppercase();
        let bytes = data_encoding::BASE32_NOPAD.decode(letters.as_bytes()).expect("base32");
        let (Wire::V1 { space, secret, host }, _) = postcard::take_from_bytes(&bytes).expect("an invite");
        Self { space, secret: SecretKey::from_bytes(&secret), host }
    }

    /// The request of a device that may use this.
    #[must_use]
    pub fn request(&self, device: DeviceId) -> JoinRequest {
        JoinRequest {
            space: self.space,
            invite: InviteKey(self.secret.public()),
            name: "a friend".into(),
            proof: prove_invite(&self.secret, self.space, device),
        }
    }
}

/// Sends a request to join and returns the answer, if there is one.
pub async fn ask_to_join(client: &Client, host: &EndpointAddr, request: &JoinRequest) -> Option<JoinResponse> {
    let mut wire = client.open(host, JOIN_ALPN).await;
    wire.frame(&postcard::to_stdvec(request).ok()?).await;
    let answer = wire.hear().await;
    wire.leave();
    postcard::from_bytes(&answer?).ok()
}

/// A member of the space of its victims.
#[derive(Debug)]
pub struct Member {
    /// Its endpoint and key.
    pub client: Client,
    /// The space.
    pub space: SpaceId,
    engine: Engine,
    mono_ms: u64,
    next_session: u64,
}

impl Member {
    /// Joins with an invite and catches up with its host.
    ///
    /// # Panics
    /// When it is turned away.
    pub async fn join(client: Client, host: &EndpointAddr, invite: &Ticket1) -> Self {
        let answer = ask_to_join(&client, host, &invite.request(client.device())).await;
        assert!(matches!(answer, Some(JoinResponse::Welcome { .. })), "the invite is good: {answer:?}");
        let store = Store::in_memory().expect("opens");
        let engine = Engine::open(store, client.key.clone(), [7; 32]).expect("opens");
        let mut member = Self { client, space: invite.space, engine, mono_ms: 1, next_session: 1 };
        let epoch = InstallEpoch([1; 16]);
        let command = Command::AddSpace { space: invite.space, host: invite.host, epoch };
        member.turn(vec![Input::Command { command, ticket: Ticket(0) }]);
        member.catch_up(host).await;
        member
    }

    fn turn(&mut self, inputs: Vec<Input>) -> Vec<Effect> {
        self.mono_ms += 1;
        let now = Now { mono_ms: self.mono_ms, wall_ms: 1_700_000_000_000 };
        self.engine.turn(now, inputs).expect("the store in memory does not fail")
    }

    /// Talks to a peer as an honest device would, until both have the same.
    pub async fn catch_up(&mut self, host: &EndpointAddr) {
        let mut wire = self.client.open(host, SYNC_ALPN).await;
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let peer = DeviceId(*host.id.as_bytes());
        let mut effects = self.turn(vec![Input::SessionUp { session, peer }]);
        let mut theirs = VersionVector::new();
        loop {
            for effect in effects {
                if let Effect::Send { frame, .. } = effect {
                    wire.frame(&frame).await;
                }
            }
            if !theirs.is_empty() && self.vector().covers(&theirs) {
                break;
            }
            let frame = wire.hear().await.unwrap_or_default();
            if let Ok(Message::Hello { spaces }) = wire::decode(&frame) {
                spaces.into_iter().for_each(|hello| theirs.merge(&hello.vector));
            }
            effects = self.turn(vec![Input::Frame { session, bytes: frame }]);
        }
        self.turn(vec![Input::SessionDown { session }]);
        wire.leave();
    }

    /// What it holds.
    #[must_use]
    pub fn vector(&self) -> VersionVector {
        self.engine.status().into_iter().next().map(|status| status.vector).unwrap_or_default()
    }

    /// Its tag of the space.
    #[must_use]
    pub fn tag(&self) -> SpaceTag {
        self.space.tag(self.client.device())
    }

    /// Its log.
    ///
    /// # Panics
    /// Never: it is in the space.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.engine.replica(&self.space).expect("is in the space")
    }

    /// A true hello.
    ///
    /// # Panics
    /// Never: it is in the space.
    #[must_use]
    pub fn hello(&self) -> SpaceHello {
        let status = self.engine.status().into_iter().next().expect("is in the space");
        SpaceHello { space: self.tag(), flags: SpaceHello::SETTLED, vector: status.vector, root: status.root }
    }

    /// Opens a session without a word.
    pub async fn silent(&self, to: &EndpointAddr) -> Wire {
        self.client.open(to, SYNC_ALPN).await
    }

    /// Opens a session with this hello, and hears the peer's.
    pub async fn greet(&self, to: &EndpointAddr, hello: SpaceHello) -> (Wire, SpaceHello) {
        let mut wire = self.silent(to).await;
        wire.say(&Message::Hello { spaces: vec![hello] }).await;
        let tag = self.space.tag(DeviceId(*to.id.as_bytes()));
        let theirs = wire
            .hear_until("hello", |message| match message {
                Message::Hello { spaces } => spaces.into_iter().find(|hello| hello.space == tag),
                _ => None,
            })
            .await;
        (wire, theirs)
    }

    /// Opens a session as a peer that has everything.
    pub async fn session(&self, to: &EndpointAddr) -> Wire {
        // Without what it has written itself: a hello that claims it would be true, and none of the matter.
        let (wire, _) = self.greet(to, SpaceHello { vector: VersionVector::new(), ..self.hello() }).await;
        wire
    }

    /// Sends commits in a session of their own and returns it.
    pub async fn send(&self, to: &EndpointAddr, commits: &[Signed]) -> Wire {
        let mut wire = self.session(to).await;
        wire.say(&Message::Commits { space: self.tag(), commits: commits.to_vec() }).await;
        wire
    }

    /// Waits until a peer says that it has this commit on its disk.
    pub async fn until_taken(&self, wire: &mut Wire, replica: ReplicaId, n: u64) {
        wire.hear_until("word that it is taken", |message| match message {
            Message::Durable { vector, .. } => (vector.len_of(&replica) >= n).then_some(()),
            _ => None,
        })
        .await;
    }

    /// The heads of the graph that it holds, and the newest membership commits in their past.
    ///
    /// # Panics
    /// When the past is not that of one line of membership.
    #[must_use]
    pub fn heads_and_auth(&self) -> (Vec<CommitHash>, Vec<CommitHash>) {
        let snapshot = self.engine.store().read().expect("reads");
        let spaces = snapshot.spaces().expect("reads");
        let (space, row) = spaces.into_iter().find(|(_, row)| row.id == self.space).expect("is in the space");
        let order = snapshot.order_from(space, 0).expect("reads");
        let rows = order.into_iter().map(|(_, replica, n)| snapshot.commit_row(space, replica, n));
        let newest = rows.filter_map(|row| row.expect("reads")).rfind(|row| row.membership);
        (row.heads, vec![newest.expect("has a genesis").hash()])
    }

    /// Appends items to its own log and returns the commit.
    ///
    /// # Panics
    /// When its own engine refuses them.
    pub fn append(&mut self, items: Vec<Item>) -> Forge {
        let edits = vec![Edit { items, writes: Vec::new() }];
        let effects = self.turn(vec![Input::Edit { space: self.space, edits, ticket: Ticket(0) }]);
        let done = effects.iter().find_map(|effect| match effect {
            Effect::Done { outcome, .. } => Some(outcome),
            _ => None,
        });
        assert!(matches!(done, Some(Ok(Outcome::Edited { stale, .. })) if stale.is_empty()), "{done:?}");
        self.last()
    }

    /// The last commit of its log.
    fn last(&self) -> Forge {
        let snapshot = self.engine.store().read().expect("reads");
        let space = self.engine.space_handle(&self.space).expect("is in the space");
        let logs = snapshot.replicas(space).expect("reads");
        let (handle, log) = logs.into_iter().find(|(_, log)| log.id == self.replica()).expect("has written");
        let row = snapshot.commit_row(space, handle, log.n).expect("reads").expect("is held");
        let body = snapshot.body(space, handle, log.n).expect("reads");
        let header = Header::decode(&row.header).expect("its own header");
        let encoded = body.unpack().expect("its own body").into_owned();
        Forge { header, body: encoded, key: self.client.key.clone() }
    }

    /// Any commit that it holds, by the place in the log of whom it is.
    ///
    /// # Panics
    /// When it does not hold it.
    #[must_use]
    pub fn held(&self, replica: ReplicaId, n: u64) -> Signed {
        let snapshot = self.engine.store().read().expect("reads");
        let space = self.engine.space_handle(&self.space).expect("is in the space");
        let logs = snapshot.replicas(space).expect("reads");
        let (handle, _) = logs.into_iter().find(|(_, log)| log.id == replica).expect("is known");
        let row = snapshot.commit_row(space, handle, n).expect("reads").expect("is held");
        row.with_body(snapshot.body(space, handle, n).expect("reads"))
    }

    /// Appends the root change of a file.
    pub fn append_file(&mut self, name: &str, bytes: &[u8]) -> Forge {
        let item = self.file(name, bytes);
        self.append(vec![item])
    }

    /// The root change of a file.
    #[must_use]
    pub fn file(&self, name: &str, bytes: &[u8]) -> Item {
        root_of(&RootSpec::file(self.space, None, name, RootContent::Inline(bytes.to_vec())))
    }

    /// An honest next commit with another body, which its own engine does not see.
    pub fn forge(&mut self, items: Vec<Item>) -> Forge {
        let mut forge = self.first();
        forge.set_body(&Body::Changes(items));
        forge
    }

    /// The same with membership operations.
    pub fn forge_membership(&mut self, ops: Vec<MemberOp>) -> Forge {
        let mut forge = self.first();
        forge.header.kind = sync_core::commit::BodyKind::Membership;
        forge.set_body(&Body::Membership(ops));
        forge
    }

    /// Its first commit, made once and sent by nobody: what all forgeries begin with.
    fn first(&mut self) -> Forge {
        if self.vector().len_of(&self.replica()) == 0 {
            let file = self.file("never sent", b"");
            return self.append(vec![file]);
        }
        let forge = self.last();
        assert_eq!(forge.header.n, 1, "forgeries begin with the first commit");
        forge
    }
}

/// The item that makes an entry.
#[must_use]
pub fn root_of(spec: &RootSpec) -> Item {
    let root = spec.build();
    Item::change(DocId::from(root.hash), root.bytes)
}

/// A commit that may have anything wrong about it.
#[derive(Debug, Clone)]
pub struct Forge {
    /// What is signed.
    pub header: Header,
    /// The encoded body.
    pub body: Vec<u8>,
    /// Who signs.
    pub key: SecretKey,
}

impl Forge {
    /// Another body, with hash and length to match.
    ///
    /// # Panics
    /// When it cannot be encoded.
    pub fn set_body(&mut self, body: &Body) {
        let encoded = match body {
            Body::Changes(items) => postcard::to_stdvec(items),
            Body::Membership(ops) => postcard::to_stdvec(ops),
        };
        self.set_bytes(encoded.expect("plain data"));
    }

    /// Other bytes for a body, with hash and length to match.
    pub fn set_bytes(&mut self, encoded: Vec<u8>) {
        self.header.body_hash = Body::hash(&encoded);
        self.header.body_len = encoded.len() as u32;
        self.body = encoded;
    }

    /// With something changed.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    /// Signed as it is.
    #[must_use]
    pub fn sign(&self) -> Signed {
        let header = self.header.encode();
        Signed { signature: self.signature(&header), header, body: PackedBody::pack(&self.body) }
    }

    /// Signed with header bytes that need not be a header.
    #[must_use]
    pub fn sign_bytes(&self, header: Vec<u8>) -> Signed {
        Signed { signature: self.signature(&header), header, body: PackedBody::pack(&self.body) }
    }

    fn signature(&self, header: &[u8]) -> Signature {
        self.key.sign(context::COMMIT_SIGNATURE, &[header])
    }

    /// The next one of the same log.
    #[must_use]
    pub fn next(&self, items: Vec<Item>) -> Self {
        let mut next = self.clone();
        next.header.n += 1;
        next.header.origin = None;
        next.header.parents = vec![self.sign().hash()];
        next.set_body(&Body::Changes(items));
        next
    }
}
