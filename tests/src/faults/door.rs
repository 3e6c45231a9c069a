//! Our own gates, one by one, for the cases of the table: which of them stops a change, and whether an engine does that is
//! handed it in a signed commit of a member.
//!
//! The actors of the cases are nobody's replicas, so for the engine each change is written again under the replica of a
//! member; hashes that it depends on follow. Nothing here applies a change to Automerge.

use std::{collections::BTreeMap, convert::Infallible};

use sync_core::{
    commit::{Body, Header, Item, Origin, SecretKey, Signed},
    engine::{Command, Engine, Input, Now, Outcome, Ticket},
    ids::{ChangeHash, CommitHash, DocId, InstallEpoch, InviteKey, ReplicaId, SpaceId},
    member::{Role, prove_invite},
    preflight::{Change, OpId, Past, Run, Summary, check},
    store::Store,
    wire::{Announcement, encode_announcement},
};

use super::{
    Gate,
    inputs::{FAULTY, HONEST, OTHER},
};

/// The actors of all cases.
const ACTORS: [[u8; 16]; 3] = [HONEST, FAULTY, OTHER];

/// What the changes before made, whether or not they are ancestors.
struct Before<'s>(&'s [(Vec<u8>, Summary)]);

impl Past for Before<'_> {
    type Error = Infallible;

    fn made(&mut self, id: OpId<'_>) -> Result<Option<Run<'_>>, Infallible> {
        let of_actor = self.0.iter().filter(|(actor, _)| actor == id.actor);
        Ok(of_actor.filter_map(|(_, summary)| summary.run(id.counter)).next())
    }
}

/// Which gate stops the first of these changes that is stopped, taken in this order, and which one that is. What passes
/// the first two is for the engine.
#[must_use]
pub fn first_refused(changes: &[Vec<u8>]) -> Option<(usize, Gate)> {
    let mut before = Vec::new();
    for (index, bytes) in changes.iter().enumerate() {
        let Ok(change) = Change::read(bytes) else {
            return Some((index, Gate::Reader));
        };
        match check(&change, &mut Before(&before)) {
            Ok(summary) => before.push((change.head.actor.clone(), summary)),
            Err(_) => return Some((index, Gate::Rules)),
        }
    }
    let taken = Bench::new().take(changes);
    taken.iter().position(|taken| !taken).map(|index| (index, Gate::Engine))
}

/// An engine, and three members that sign whatever they like.
#[derive(Debug)]
pub struct Bench {
    engine: Engine,
    space: SpaceId,
    /// The only membership commit without another behind it.
    auth: CommitHash,
    doc: Option<DocId>,
    writers: Vec<Writer>,
    /// What new commits come behind, if not behind everything.
    parents: Option<Vec<CommitHash>>,
    /// New hashes of changes by the ones that they had.
    hashes: BTreeMap<ChangeHash, ChangeHash>,
}

#[derive(Debug)]
struct Writer {
    key: SecretKey,
    replica: ReplicaId,
    n: u64,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// A space that nobody has written to.
    ///
    /// # Panics
    /// When the engine fails.
    #[must_use]
    pub fn new() -> Self {
        let key = SecretKey::from_bytes(&[1; 32]);
        let engine = Engine::open(Store::in_memory().expect("opens"), key, [0; 32]).expect("opens");
        let mut bench = Self {
            engine,
            space: SpaceId([0; 32]),
            auth: CommitHash([0; 32]),
            doc: None,
            writers: Vec::new(),
            parents: None,
            hashes: BTreeMap::new(),
        };
        let founding = Command::CreateSpace {
            name: "space".into(),
            device_name: "device".into(),
            random: [7; 32],
            epoch: InstallEpoch([0; 16]),
        };
        let Some(Outcome::Space(space)) = bench.turn(founding) else { panic!("a space is founded") };
        bench.space = space;
        for index in 1..=ACTORS.len() as u8 {
            bench.admit(index);
        }
        bench.auth = bench.heads()[0];
        bench
    }

    fn turn(&mut self, command: Command) -> Option<Outcome> {
        self.input(Input::Command { command, ticket: Ticket(0) })
    }

    fn input(&mut self, input: Input) -> Option<Outcome> {
        let effects = self.engine.turn(Now { mono_ms: 1, wall_ms: 0 }, vec![input]).expect("the store does not fail");
        effects.into_iter().find_map(|effect| match effect {
            sync_core::engine::Effect::Done { outcome, .. } => Some(outcome.expect("commands of tests are sound")),
            _ => None,
        })
    }

    fn admit(&mut self, index: u8) {
        let (space, key) = (self.space, SecretKey::from_bytes(&[index + 1; 32]));
        let (secret, device) = (SecretKey::from_bytes(&[100 + index; 32]), key.device());
        let invite = InviteKey(secret.public());
        self.turn(Command::Invite { space, key: invite, role: Role::Writer, uses: 1, life_ms: 1000 });
        let proof = prove_invite(&secret, space, device);
        self.turn(Command::Accept { space, invite, device, name: format!("device {index}"), proof });
        let replica = ReplicaId::derive(device, space, InstallEpoch([index; 16]));
        self.writers.push(Writer { key, replica, n: 0 });
    }

    fn heads(&self) -> Vec<CommitHash> {
        let spaces = self.engine.store().read().expect("reads").spaces().expect("reads");
        spaces.into_iter().find(|(_, row)| row.id == self.space).expect("is in the space").1.heads
    }

    /// From now on commits come behind what is here now and nothing later, or again behind everything.
    pub fn stay(&mut self, stay: bool) {
        self.parents = stay.then(|| self.heads());
    }

    /// Hands changes to the engine, each in a commit of its own that has all before it in its past, and says which were
    /// taken in. The first is the root of the document.
    ///
    /// # Panics
    /// When one does not read.
    pub fn take(&mut self, changes: &[Vec<u8>]) -> Vec<bool> {
        let own = self.under_replicas(changes);
        changes
            .iter()
            .zip(own)
            .map(|(bytes, own)| {
                let actor = Change::read(bytes).expect("reads").head.actor;
                // What is by nobody comes from the member that all faulty ones are by.
                let writer = ACTORS.iter().position(|known| *known == actor[..]).unwrap_or(1);
                self.hear(writer, own)
            })
            .collect()
    }

    /// The same changes by replicas of members, in the same order; a dependency may come behind what depends on it.
    fn under_replicas(&mut self, changes: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut own = vec![Vec::new(); changes.len()];
        for _ in changes {
            for (bytes, own) in changes.iter().zip(&mut own) {
                let change = Change::read(bytes).expect("reads");
                let known = |dep: &ChangeHash| self.hashes.get(dep).copied();
                let is_ready = change.head.deps.iter().all(|dep| known(dep).is_some() || !is_one_of(changes, dep));
                if own.is_empty() && is_ready {
                    let mut deps: Vec<_> = change.head.deps.iter().map(|dep| known(dep).unwrap_or(*dep)).collect();
                    deps.sort_unstable();
                    let (hash, bytes) = self.under_replica(change, deps);
                    self.hashes.insert(hash, Change::read(&bytes).expect("reads").head.hash);
                    *own = bytes;
                }
            }
        }
        own
    }

    fn under_replica(&self, change: Change<'_>, deps: Vec<ChangeHash>) -> (ChangeHash, Vec<u8>) {
        let replica = |actor: &[u8]| match ACTORS.iter().position(|known| known == actor) {
            Some(index) => self.writers[index].replica.0.to_vec(),
            None => actor.to_vec(),
        };
        let others: Vec<Vec<u8>> = change.others.iter().map(|actor| replica(actor)).collect();
        let mut own = Change { others: others.iter().map(Vec::as_slice).collect(), ..change.clone() };
        own.head.actor = replica(&change.head.actor);
        own.head.deps = deps;
        (change.head.hash, own.encode())
    }

    fn hear(&mut self, writer: usize, bytes: Vec<u8>) -> bool {
        let hash = Change::read(&bytes).expect("reads").head.hash;
        let doc = *self.doc.get_or_insert(DocId::from(hash));
        let body = Body::Changes(vec![Item::change(doc, bytes)]);
        let encoded = body.encode().expect("is small");
        let parents = self.parents.clone().unwrap_or_else(|| self.heads());
        let (space, auth) = (self.space, vec![self.auth]);
        let Writer { key, replica, n } = &self.writers[writer];
        let (replica, n) = (*replica, n + 1);
        let epoch = InstallEpoch([writer as u8 + 1; 16]);
        let header = Header {
            space,
            replica,
            n,
            parents,
            auth,
            kind: body.kind(),
            body_hash: Body::hash(&encoded),
            body_len: encoded.len() as u32,
            wall_ms: 0,
            origin: (n == 1).then(|| Origin { device: key.device(), epoch }),
        };
        let signed = Signed::create(&header, &body, key).expect("is small");
        let announcement = Announcement { replica, n, hash: signed.hash(), counter: 0, commit: Some(signed) };
        let bytes = encode_announcement(&announcement).expect("fits an announcement");
        self.input(Input::Announcement { space, bytes });
        let held = self.engine.status().remove(0).vector.len_of(&replica);
        self.writers[writer].n = held;
        held == n
    }
}

fn is_one_of(changes: &[Vec<u8>], hash: &ChangeHash) -> bool {
    changes.iter().any(|bytes| Change::read(bytes).is_ok_and(|change| change.head.hash == *hash))
}
