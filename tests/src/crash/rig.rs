//! A device on a simulated disk, with a peer in memory, that does a bit of everything a store sees.
//!
//! What it does is decided by its seed, so two rigs of one seed do the same until a disk fails. Nothing of the device may
//! panic: all that its store says is handed on, and [`Rig::reopen`] goes on after it.

use std::collections::VecDeque;

use rand::RngExt as _;
use sync_core::{
    commit::{Item, SecretKey},
    content::ChunkEntry,
    doc::entry::{EntryOp, Kind},
    engine::{Command, Effect, Engine, EngineError, Event, Input, Now, Outcome, SessionId, Ticket},
    history::HistoryError,
    ids::{ChunkHash, ContentHash, DeviceId, DocId, InstallEpoch, InviteKey, SpaceId},
    member::{Role, prove_invite},
    store::{
        Edit, Store, StoreError, Write,
        row::{BaseRow, DocRow, FolderRow},
    },
};

use super::state::State;
use crate::{
    author,
    sim::{SimRng, disk::SimDisk, rng},
};

/// A turn of the device that returned.
#[derive(Debug, Clone)]
pub struct Mark {
    /// How many operations of the disk were recorded then.
    pub at: usize,
    /// What the device held, and had said that it does.
    pub state: State,
}

#[derive(Debug)]
struct Link {
    device: SessionId,
    peer: SessionId,
    to_device: VecDeque<Vec<u8>>,
    to_peer: VecDeque<Vec<u8>>,
}

/// The device, its disk and its peer.
#[derive(Debug)]
pub struct Rig {
    /// The handle that the device has to its disk.
    pub disk: SimDisk,
    /// One for each turn that returned, where they are wanted.
    pub marks: Option<Vec<Mark>>,
    /// How many turns returned.
    pub turns: usize,
    /// Whether a turn has begun and not returned.
    pub in_flight: bool,
    device: Option<Engine>,
    peer: Engine,
    link: Option<Link>,
    rng: SimRng,
    mono_ms: u64,
    sessions: u64,
}

/// The engine of the device.
///
/// # Errors
/// When the store does not open.
pub fn open(disk: &SimDisk) -> Result<Engine, StoreError> {
    let store = Store::with_backend(disk.clone())?;
    Engine::open(store, SecretKey::from_bytes(&[1; 32]), [1; 32]).map_err(of_engine)
}

/// How the device founds its space, which is the same one whenever it does.
fn founding() -> Command {
    let (name, device_name) = ("space".into(), "device".into());
    Command::CreateSpace { name, device_name, random: [7; 32], epoch: InstallEpoch([0; 16]) }
}

/// Lets an engine append one commit, whatever it holds: a file of this name, or the space itself where there is none.
///
/// # Errors
/// When the store fails.
pub fn append(engine: &mut Engine, name: &str) -> Result<(), StoreError> {
    let ticket = Ticket(0);
    let input = match engine.status().first() {
        Some(status) => {
            let items = vec![author::create(status.space, None, name, Some("x\n")).1];
            Input::Edit { space: status.space, edits: vec![Edit { items, writes: Vec::new() }], ticket }
        }
        None => Input::Command { command: founding(), ticket },
    };
    engine.turn(Now { mono_ms: 1, wall_ms: 0 }, vec![input]).map_err(of_engine)?;
    Ok(())
}

fn of_engine(error: EngineError) -> StoreError {
    match error {
        EngineError::Store(error) => error,
        other => panic!("an engine fails by its store alone: {other}"),
    }
}

fn of_history(error: HistoryError) -> StoreError {
    match error {
        HistoryError::Store(error) => error,
        other => panic!("the documents of the test are sound: {other}"),
    }
}

const LINES: [&str; 5] = ["alpha\n", "beta gamma\n", "über 漢\r\n", "}\n", "a longer line, so that some pages split\n"];

impl Rig {
    /// A device that is not open yet, and its peer.
    ///
    /// # Panics
    /// When the peer's store in memory fails.
    #[must_use]
    pub fn new(seed: u64, disk: SimDisk) -> Self {
        let store = Store::in_memory().expect("opens");
        let peer = Engine::open(store, SecretKey::from_bytes(&[2; 32]), [2; 32]).expect("opens");
        Self {
            disk,
            marks: None,
            turns: 0,
            in_flight: false,
            device: None,
            peer,
            link: None,
            rng: rng(seed),
            mono_ms: 0,
            sessions: 0,
        }
    }

    /// The device's engine.
    ///
    /// # Panics
    /// When it is not open.
    #[must_use]
    pub fn device(&self) -> &Engine {
        self.device.as_ref().expect("the device is open")
    }

    /// The space, once it is founded.
    #[must_use]
    pub fn space(&self) -> Option<SpaceId> {
        self.device().status().first().map(|space| space.space)
    }

    /// Drops the engine, if there is one, and opens it again from a disk.
    ///
    /// # Errors
    /// When the store does not open; the device is closed then.
    pub fn reopen(&mut self, disk: SimDisk) -> Result<(), StoreError> {
        self.device = None;
        self.in_flight = false;
        if let Some(link) = self.link.take() {
            self.peer_turn(vec![Input::SessionDown { session: link.peer }]);
        }
        self.disk = disk;
        self.device = Some(open(&self.disk)?);
        Ok(())
    }

    /// Gives the device a turn.
    fn turn(&mut self, inputs: Vec<Input>) -> Result<Option<Outcome>, StoreError> {
        self.mono_ms += 1;
        self.in_flight = true;
        let engine = self.device.as_mut().expect("the device is open");
        let effects = engine.turn(Now { mono_ms: self.mono_ms, wall_ms: 0 }, inputs).map_err(of_engine)?;
        self.in_flight = false;
        self.turns += 1;
        if let Some(marks) = &mut self.marks {
            marks.push(Mark { at: self.disk.recorded(), state: State::of(engine)? });
        }
        let (frames, answer) = self.effects(effects);
        if let Some(link) = &mut self.link {
            link.to_peer.extend(frames);
        }
        Ok(answer)
    }

    fn peer_turn(&mut self, inputs: Vec<Input>) -> Option<Outcome> {
        self.mono_ms += 1;
        let now = Now { mono_ms: self.mono_ms, wall_ms: 0 };
        let effects = self.peer.turn(now, inputs).expect("a store in memory does not fail");
        let (frames, answer) = self.effects(effects);
        if let Some(link) = &mut self.link {
            link.to_device.extend(frames);
        }
        answer
    }

    /// Frames and the answer; nobody may find fault with anybody, whatever a disk did.
    fn effects(&self, effects: Vec<Effect>) -> (Vec<Vec<u8>>, Option<Outcome>) {
        let mut frames = Vec::new();
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Send { frame, .. } => frames.push(frame),
                Effect::Close { code, .. } => panic!("a session was closed: {code}"),
                Effect::Done { outcome, .. } => answer = Some(outcome.expect("commands of the test are sound")),
                Effect::Event(event @ (Event::Fork { .. } | Event::RootMismatch { .. } | Event::BadPeer { .. })) => {
                    panic!("what was acknowledged was lost: {event:?}");
                }
                Effect::Announce { .. } | Effect::Changed { .. } | Effect::Event(_) => {}
            }
        }
        (frames, answer)
    }

    fn command(&mut self, command: Command) -> Result<Outcome, StoreError> {
        let answer = self.turn(vec![Input::Command { command, ticket: Ticket(0) }])?;
        Ok(answer.expect("a command is answered"))
    }

    fn edit(&mut self, space: SpaceId, items: Vec<Item>, writes: Vec<Write>) -> Result<(), StoreError> {
        let edits = vec![Edit { items, writes }];
        self.turn(vec![Input::Edit { space, edits, ticket: Ticket(0) }])?;
        Ok(())
    }

    fn rows(&mut self, space: SpaceId, writes: Vec<Write>) -> Result<(), StoreError> {
        self.turn(vec![Input::Write { space, writes, ticket: Ticket(0) }])?;
        Ok(())
    }

    fn found(&mut self) -> Result<SpaceId, StoreError> {
        let Outcome::Space(space) = self.command(founding())? else { panic!("a space is founded") };
        Ok(space)
    }

    /// The space, founded and joined as far as that has not happened.
    fn settle(&mut self) -> Result<SpaceId, StoreError> {
        let space = self.space().map_or_else(|| self.found(), Ok)?;
        if self.peer.status().is_empty() {
            let secret = self.invite(space)?;
            let (invite, device) = (InviteKey(secret.public()), self.peer.device());
            let proof = prove_invite(&secret, space, device);
            self.command(Command::Accept { space, invite, device, name: "peer".into(), proof })?;
            let host = self.device().device();
            let command = Command::AddSpace { space, host, epoch: InstallEpoch([1; 16]) };
            self.peer_turn(vec![Input::Command { command, ticket: Ticket(0) }]);
        }
        Ok(space)
    }

    fn invite(&mut self, space: SpaceId) -> Result<SecretKey, StoreError> {
        let secret = SecretKey::from_bytes(&self.rng.random());
        let key = InviteKey(secret.public());
        self.command(Command::Invite { space, key, role: Role::Writer, uses: 1, life_ms: 1000 })?;
        Ok(secret)
    }

    /// Does the next thing.
    ///
    /// # Errors
    /// When the device's store fails; the device must be reopened then.
    pub fn step(&mut self) -> Result<(), StoreError> {
        let space = self.settle()?;
        let documents = author::documents(self.device(), &space).map_err(of_history)?;
        let documents: Vec<(DocId, DocRow)> = documents.into_iter().collect();
        if documents.len() < 3 {
            return self.create(space, None);
        }
        let (doc, row) = documents[self.rng.random_range(0..documents.len())].clone();
        match self.rng.random_range(0..20) {
            0..=7 => self.write(space, doc),
            8..=10 => {
                let parent = self.rng.random_bool(0.5).then_some(doc);
                self.create(space, parent)
            }
            11 => {
                let name = format!("renamed {}", self.rng.random_range(0..100));
                let item = author::change(self.device(), &space, doc, &[EntryOp::Name(name)]).map_err(of_history)?;
                self.edit(space, item.into_iter().collect(), Vec::new())
            }
            12..=14 => self.receive(space),
            15 => self.base(space, doc, &row),
            16 => self.snapshot(space, doc),
            17 => {
                let addresses = vec![7; self.rng.random_range(0..200)];
                let device = DeviceId([self.rng.random_range(0..4); 32]);
                self.command(Command::MetPeer { device, addresses })?;
                Ok(())
            }
            18 => self.invite(space).map(|_| ()),
            _ => self.reopen(self.disk.clone()),
        }
    }

    fn create(&mut self, space: SpaceId, parent: Option<DocId>) -> Result<(), StoreError> {
        let name = format!("file {}", self.rng.random::<u32>());
        let lines = match self.rng.random_range(0..8) {
            0 => None,
            1 => Some(self.rng.random_range(50..600)),
            _ => Some(self.rng.random_range(1..20)),
        };
        let content = lines.map(|lines: usize| LINES[lines % LINES.len()].repeat(lines));
        let (_, root) = author::create(space, parent, &name, content.as_deref());
        let texts = content.map(|text| Write::Text { hash: ContentHash::of(text.as_bytes()), text });
        self.edit(space, vec![root], texts.into_iter().collect())
    }

    fn write(&mut self, space: SpaceId, doc: DocId) -> Result<(), StoreError> {
        let Some(new) = changed(&mut self.rng, self.device.as_ref().expect("is open"), space, doc)? else {
            return Ok(());
        };
        let items = author::write(self.device(), &space, doc, &new).map_err(of_history)?;
        self.edit(space, items, Vec::new())
    }

    /// The peer edits, and the device receives.
    fn receive(&mut self, space: SpaceId) -> Result<(), StoreError> {
        self.exchange()?;
        for _ in 0..self.rng.random_range(1..4) {
            let documents = author::documents(&self.peer, &space).expect("a store in memory does not fail");
            let docs: Vec<DocId> = documents.into_keys().collect();
            let doc = docs[self.rng.random_range(0..docs.len())];
            let new = changed(&mut self.rng, &self.peer, space, doc).expect("a store in memory does not fail");
            let items = match new {
                Some(new) => author::write(&self.peer, &space, doc, &new).expect("a store in memory does not fail"),
                None => vec![author::create(space, Some(doc), "from the peer", Some("x\n")).1],
            };
            let edits = vec![Edit { items, writes: Vec::new() }];
            self.peer_turn(vec![Input::Edit { space, edits, ticket: Ticket(0) }]);
        }
        self.exchange()
    }

    /// Connects the two, if they are not, and delivers all that is on its way.
    ///
    /// # Errors
    /// When the device's store fails.
    ///
    /// # Panics
    /// When the exchange does not come to rest.
    pub fn exchange(&mut self) -> Result<(), StoreError> {
        if self.link.is_none() {
            let (device, peer) = (SessionId(self.sessions), SessionId(self.sessions + 1));
            self.sessions += 2;
            self.link = Some(Link { device, peer, to_device: VecDeque::new(), to_peer: VecDeque::new() });
            let (device_id, peer_id) = (self.device().device(), self.peer.device());
            self.peer_turn(vec![Input::SessionUp { session: peer, peer: device_id }]);
            self.turn(vec![Input::SessionUp { session: device, peer: peer_id }])?;
        }
        for _ in 0..10_000 {
            let link = self.link.as_mut().expect("was made above");
            let (device, peer) = (link.device, link.peer);
            if let Some(bytes) = link.to_peer.pop_front() {
                let len = bytes.len();
                self.peer_turn(vec![Input::Frame { session: peer, bytes }]);
                self.turn(vec![Input::Written { session: device, bytes: len }])?;
            } else if let Some(bytes) = link.to_device.pop_front() {
                let len = bytes.len();
                self.turn(vec![Input::Frame { session: device, bytes }])?;
                self.peer_turn(vec![Input::Written { session: peer, bytes: len }]);
            } else {
                return Ok(());
            }
        }
        panic!("the exchange does not come to rest");
    }

    fn base(&mut self, space: SpaceId, doc: DocId, row: &DocRow) -> Result<(), StoreError> {
        let folders = self.device().store().read()?.folders()?;
        let folder = match folders.first() {
            Some((folder, _)) => *folder,
            None => {
                let (path, name) = ("folder".into(), "folder".into());
                let row = FolderRow { space, path, name, root: (1, 2), caught_up: false };
                let Outcome::Folder(folder) = self.command(Command::AddFolder { row })? else {
                    panic!("a folder is bound")
                };
                folder
            }
        };
        let hash = ContentHash::of(&doc.0);
        let base = BaseRow {
            kind: Kind::File,
            parent: None,
            name: "name".into(),
            heads: row.heads.clone(),
            hash,
            stat: None,
            intent: None,
            racy: false,
        };
        let entry = author::entries(self.device(), &space).map_err(of_history)?.remove(&doc).expect("is held");
        let kept = self.rng.random_bool(0.8);
        let chunks = vec![ChunkEntry { hash: ChunkHash(hash.0), len: 1000 }; self.rng.random_range(1..200)];
        self.rows(
            space,
            vec![
                Write::Base { folder, doc, row: kept.then(|| Box::new(base)) },
                Write::Entry { doc, heads: row.heads.clone(), entry: Box::new(entry) },
                Write::Content { hash, chunks },
                Write::CaughtUp { folder },
            ],
        )
    }

    fn snapshot(&mut self, space: SpaceId, doc: DocId) -> Result<(), StoreError> {
        let mut library = author::library(self.device(), &space).map_err(of_history)?;
        let row = library.row(&doc)?.expect("is held");
        let document = library.open(&doc, &row).map_err(of_history)?;
        let bytes = document.save().expect("the documents of the test are sound");
        drop(library);
        self.rows(space, vec![Write::Snapshot { handle: row.handle, changes: row.changes, bytes }])
    }

    /// Checks that device and peer hold the same.
    ///
    /// # Errors
    /// When the device's store fails.
    ///
    /// # Panics
    /// When they do not.
    pub fn assert_converged(&mut self) -> Result<(), StoreError> {
        let space = self.settle()?;
        self.exchange()?;
        let (device, peer) = (self.device().status().remove(0), self.peer.status().remove(0));
        assert_eq!((device.vector, device.root), (peer.vector, peer.root), "device and peer differ");
        let entries = author::entries(self.device(), &space).map_err(of_history)?;
        assert_eq!(entries, author::entries(&self.peer, &space).expect("a store in memory does not fail"));
        Ok(())
    }
}

/// Another text for a file; nothing where the document is none, or its text is as long as it shall be.
fn changed(rng: &mut SimRng, engine: &Engine, space: SpaceId, doc: DocId) -> Result<Option<String>, StoreError> {
    let Some(text) = author::text(engine, &space, doc).map_err(of_history)? else { return Ok(None) };
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let place = rng.random_range(0..=lines.len());
    if place < lines.len() && rng.random_bool(0.3) {
        lines.remove(place);
    } else {
        lines.insert(place, LINES[rng.random_range(0..LINES.len())]);
    }
    Ok(Some(lines.concat()))
}
