//! Real engines over stores in memory, joined by a network that the test delivers by hand.
//!
//! Nothing here has a clock or a task: the test decides what arrives when, so a run replays from its inputs.

use std::collections::{BTreeMap, VecDeque};

use sync_core::{
    commit::{Item, SecretKey},
    doc::{
        Document,
        entry::{Content, Entry, EntryOp},
    },
    engine::{Command, Effect, Engine, Event, Input, Now, Outcome, SessionId, Ticket},
    ids::{DocId, InstallEpoch, InviteKey, SpaceId},
    member::{Role, prove_invite},
    store::{Edit, Store},
    tree::View,
    version::VersionVector,
};

use crate::{
    author,
    model::{Model, reordered},
};

/// A frame on its way.
#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
}

/// Several devices in one space.
#[derive(Debug)]
pub struct Cluster {
    engines: Vec<Engine>,
    /// Frames from one engine to another, in order.
    wires: BTreeMap<(usize, usize), VecDeque<Frame>>,
    /// Session of an engine with another, while they are connected.
    sessions: BTreeMap<(usize, usize), SessionId>,
    /// The space that all share.
    pub space: SpaceId,
    next_session: u64,
    mono_ms: u64,
    /// Bytes of frames that were sent, with the three of each length.
    pub bytes_sent: u64,
    /// Frames that were sent.
    pub frames_sent: u64,
    /// Faults that engines reported.
    pub faults: Vec<Event>,
    /// Payloads for gossip, by sender; nothing delivers them by itself.
    pub announced: Vec<(usize, Vec<u8>)>,
}

impl Cluster {
    /// Founds a space on the first of `count` devices and lets the others in.
    ///
    /// # Panics
    /// When an engine fails.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let engines = (0..count)
            .map(|index| {
                let key = SecretKey::from_bytes(&[index as u8 + 1; 32]);
                Engine::open(Store::in_memory().expect("opens"), key, [index as u8; 32]).expect("opens")
            })
            .collect();
        let mut cluster = Self {
            engines,
            wires: BTreeMap::new(),
            sessions: BTreeMap::new(),
            space: SpaceId([0; 32]),
            next_session: 1,
            mono_ms: 1,
            bytes_sent: 0,
            frames_sent: 0,
            faults: Vec::new(),
            announced: Vec::new(),
        };
        let founded = cluster.command(
            0,
            Command::CreateSpace {
                name: "space".into(),
                device_name: "device 0".into(),
                random: [7; 32],
                epoch: InstallEpoch([0; 16]),
            },
        );
        let Outcome::Space(space) = founded else { panic!("a space is founded") };
        cluster.space = space;
        for joiner in 1..count {
            cluster.join(joiner);
        }
        cluster
    }

    fn join(&mut self, joiner: usize) {
        let space = self.space;
        let secret = SecretKey::from_bytes(&[100 + joiner as u8; 32]);
        let key = InviteKey(secret.public());
        self.command(0, Command::Invite { space, key, role: Role::Writer, uses: 1, life_ms: 1000 });
        let device = self.engines[joiner].device();
        let proof = prove_invite(&secret, space, device);
        let name = format!("device {joiner}");
        self.command(0, Command::Accept { space, invite: key, device, name, proof });
        let host = self.engines[0].device();
        let epoch = InstallEpoch([joiner as u8; 16]);
        self.command(joiner, Command::AddSpace { space, host, epoch });
        self.connect(0, joiner);
        self.deliver_all();
        self.disconnect(0, joiner);
    }

    /// One engine.
    #[must_use]
    pub fn engine(&self, at: usize) -> &Engine {
        &self.engines[at]
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    /// When it is refused.
    pub fn command(&mut self, at: usize, command: Command) -> Outcome {
        self.turn(at, vec![Input::Command { command, ticket: Ticket(0) }]).expect("a command is answered")
    }

    /// Gives an engine one turn and carries its effects out; returns the answer to a command or edit.
    fn turn(&mut self, at: usize, inputs: Vec<Input>) -> Option<Outcome> {
        self.mono_ms += 1;
        let now = Now { mono_ms: self.mono_ms, wall_ms: 0 };
        let effects = self.engines[at].turn(now, inputs).expect("the store in memory does not fail");
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Send { session, frame } => {
                    let link = self.sessions.iter().find(|((from, _), held)| *from == at && **held == session);
                    if let Some((&link, _)) = link {
                        self.bytes_sent += frame.len() as u64 + 3;
                        self.frames_sent += 1;
                        self.wires.entry(link).or_default().push_back(Frame { bytes: frame });
                    }
                }
                Effect::Close { session, code } => panic!("engine {at} closed session {session:?}: {code}"),
                Effect::Done { outcome, .. } => answer = Some(outcome.expect("commands of tests are sound")),
                Effect::Event(event @ (Event::Fork { .. } | Event::RootMismatch { .. } | Event::BadPeer { .. })) => {
                    self.faults.push(event);
                }
                Effect::Announce { payload, .. } => self.announced.push((at, payload)),
                Effect::Changed { .. } | Effect::Event(_) => {}
            }
        }
        answer
    }

    /// Connects two devices.
    pub fn connect(&mut self, a: usize, b: usize) {
        if self.sessions.contains_key(&(a, b)) {
            return;
        }
        for (from, to) in [(a, b), (b, a)] {
            let session = SessionId(self.next_session);
            self.next_session += 1;
            self.sessions.insert((from, to), session);
            let peer = self.engines[to].device();
            self.turn(from, vec![Input::SessionUp { session, peer }]);
        }
    }

    /// Cuts two devices off; what was on its way is lost.
    pub fn disconnect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.wires.remove(&(from, to));
            if let Some(session) = self.sessions.remove(&(from, to)) {
                self.turn(from, vec![Input::SessionDown { session }]);
            }
        }
    }

    /// Lets a device hear a payload of gossip.
    pub fn hear(&mut self, at: usize, payload: &[u8]) {
        let space = self.space;
        self.turn(at, vec![Input::Announcement { space, bytes: payload.to_vec() }]);
    }

    /// Delivers the next frame from one device to another, if there is one.
    pub fn deliver(&mut self, from: usize, to: usize) -> bool {
        let Some(frame) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return false;
        };
        let (sender, receiver) = (self.sessions[&(from, to)], self.sessions[&(to, from)]);
        let bytes = frame.bytes.len();
        self.turn(to, vec![Input::Frame { session: receiver, bytes: frame.bytes }]);
        if self.sessions.contains_key(&(from, to)) {
            self.turn(from, vec![Input::Written { session: sender, bytes }]);
        }
        true
    }

    /// Delivers until nothing is on its way and no engine holds anything back.
    ///
    /// # Panics
    /// When that takes more steps than any sane exchange.
    pub fn deliver_all(&mut self) {
        for _ in 0..200 {
            let mut steps = 0;
            while let Some((&(from, to), _)) = self.wires.iter().find(|(_, frames)| !frames.is_empty()) {
                self.deliver(from, to);
                steps += 1;
                assert!(steps < 100_000, "the exchange does not come to rest");
            }
            // Let holds end.
            self.mono_ms += 1_000;
            for at in 0..self.engines.len() {
                self.turn(at, Vec::new());
            }
            if self.wires.values().all(VecDeque::is_empty) {
                return;
            }
        }
        panic!("the exchange does not come to rest");
    }

    /// Connects everybody with everybody and delivers all.
    pub fn heal(&mut self) {
        for a in 0..self.engines.len() {
            for b in a + 1..self.engines.len() {
                self.connect(a, b);
            }
        }
        self.deliver_all();
    }

    /// Connects two devices and delivers all.
    pub fn heal_pair(&mut self, a: usize, b: usize) {
        self.connect(a, b);
        self.deliver_all();
    }

    /// Bytes that all commits of a device take on the wire.
    ///
    /// # Panics
    /// When the store fails.
    #[must_use]
    pub fn log_bytes(&self, at: usize) -> u64 {
        let snapshot = self.engines[at].store().read().expect("reads");
        let space = self.engines[at].space_handle(&self.space).expect("is in the space");
        let mut bytes = 0;
        let mut from = 0;
        loop {
            let order = snapshot.order_from(space, from).expect("reads");
            let Some((last, ..)) = order.last() else { return bytes };
            from = last + 1;
            for (_, replica, n) in order {
                let row = snapshot.commit_row(space, replica, n).expect("reads").expect("is held");
                bytes += row.with_body(snapshot.body(space, replica, n).expect("reads")).wire_len() as u64;
            }
        }
    }

    /// The ids of all documents that an engine holds.
    #[must_use]
    pub fn docs(&self, at: usize) -> Vec<DocId> {
        self.engines[at].documents(&self.space)
    }

    fn submit(&mut self, at: usize, items: Vec<Item>) {
        let space = self.space;
        let edits = vec![Edit { items, writes: Vec::new() }];
        let answer = self.turn(at, vec![Input::Edit { space, edits, ticket: Ticket(0) }]);
        let Some(Outcome::Edited { stale, .. }) = answer else { panic!("an edit is answered") };
        assert!(stale.is_empty(), "edits of tests are current");
    }

    /// Makes a file or, without content, a directory.
    pub fn create(&mut self, at: usize, parent: Option<DocId>, name: &str, content: Option<&str>) -> DocId {
        let (doc, root) = author::create(self.space, parent, name, content);
        self.submit(at, vec![root]);
        doc
    }

    /// Applies operations at the document's current heads.
    ///
    /// # Panics
    /// When the document is not held.
    pub fn change(&mut self, at: usize, doc: DocId, ops: &[EntryOp]) {
        let item = author::change(&self.engines[at], &self.space, doc, ops).expect("edits");
        if let Some(item) = item {
            self.submit(at, vec![item]);
        }
    }

    /// Turns a file's text into `new`, promoting it first where it must.
    ///
    /// # Panics
    /// When the document is not held or no text.
    pub fn write(&mut self, at: usize, doc: DocId, new: &str) {
        let items = author::write(&self.engines[at], &self.space, doc, new).expect("edits");
        self.submit(at, items);
    }

    /// A file's text now.
    ///
    /// # Panics
    /// When the document is not held.
    #[must_use]
    pub fn text(&self, at: usize, doc: DocId) -> Option<String> {
        author::text(&self.engines[at], &self.space, doc).expect("reads")
    }

    /// All entries that an engine holds.
    ///
    /// # Panics
    /// When one does not open.
    #[must_use]
    pub fn entries(&self, at: usize) -> BTreeMap<DocId, Entry> {
        author::entries(&self.engines[at], &self.space).expect("reads")
    }

    /// The tree that an engine shows.
    #[must_use]
    pub fn view(&self, at: usize) -> View {
        View::of(&self.entries(at), self.engines[at].status().remove(0).folds)
    }

    /// What an engine holds.
    #[must_use]
    pub fn vector(&self, at: usize) -> VersionVector {
        self.engines[at].status().remove(0).vector
    }

    /// Checks that all devices hold the same commits, which costs no document.
    ///
    /// # Panics
    /// When they do not.
    pub fn assert_synced(&self) {
        let status = self.engines[0].status().remove(0);
        for engine in &self.engines[1..] {
            let other = engine.status().remove(0);
            assert_eq!((&status.vector, status.root), (&other.vector, other.root));
        }
    }

    /// Checks that all devices are equal in everything that can be seen.
    ///
    /// # Panics
    /// When they are not.
    pub fn assert_converged(&self) {
        let status = self.engines[0].status().remove(0);
        let view = self.view(0);
        for at in 1..self.engines.len() {
            let other = self.engines[at].status().remove(0);
            assert_eq!(status.vector, other.vector, "vectors of 0 and {at}");
            assert_eq!(status.root, other.root, "roots of 0 and {at}");
            assert_eq!(self.docs(0), self.docs(at), "documents of 0 and {at}");
            assert_eq!(view, self.view(at), "trees of 0 and {at}");
            for doc in self.docs(0) {
                assert_eq!(self.text(0, doc), self.text(at, doc), "texts of 0 and {at}");
            }
        }
        assert_eq!(self.faults, [], "faults");
    }

    /// Checks that documents are what the naive model makes of their changes, in an order that `pick` chooses, and that
    /// they show the same when they are read in that order.
    ///
    /// # Panics
    /// When one is not.
    pub fn assert_modelled(&self, mut pick: impl FnMut(usize) -> usize) {
        let engine = &self.engines[0];
        for (doc, entry) in self.entries(0) {
            let changes = author::changes(engine, &self.space, doc).expect("reads");
            let order = reordered(&changes, &mut pick).expect("is whole");
            let model = Model::of(&order).expect("fits");
            assert_eq!(model.entry().as_ref(), Ok(&entry), "registers, and those of the model");
            let document = Document::from_changes(&order).expect("opens");
            assert_eq!(document.entry().expect("reads"), entry, "registers in another order");
            if entry.content == Some(Content::Text) {
                assert_eq!(model.text(), document.held_text().expect("reads"), "text, and that of the model");
                assert_eq!(document.text().expect("reads"), self.text(0, doc), "text in another order");
            }
        }
    }
}
