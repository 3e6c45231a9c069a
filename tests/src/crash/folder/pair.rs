//! A device with a folder, both on simulated disks, and a peer without one, whose edits the device materializes.
//!
//! Nothing here may fail: whatever a power cut left, the device starts, agrees with its peer and comes to rest. What it
//! does is put on a [`Tape`] where that was asked for. The code under test is that of the simulator's devices,
//! [`Peer`](crate::sim::peer::Peer).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use sync_core::{
    commit::{Item, SecretKey},
    engine::{Command, Effect, Engine, Event, Input, Now, Outcome, SessionId, SpaceStatus, Ticket},
    folder::{Fs as _, disk::temp_dir, ingest::DOWNLOAD},
    ids::{ContentHash, InstallEpoch, InviteKey, SpaceId},
    limits,
    member::{Role, prove_invite},
    store::{Edit, Store, row::FolderRow},
};

use super::tape::{Mark, Tape};
use crate::sim::{
    disk::SimDisk,
    fs::SimFs,
    image::Image,
    peer::{Peer, Turned},
};

/// Bytes that can be had from the peer.
pub(super) type Contents = BTreeMap<ContentHash, Arc<Vec<u8>>>;

/// Rounds within which a folder comes to rest.
const ROUNDS_MAX: u32 = 60;
/// Time between two rounds.
const ROUND_MS: i64 = 700;
/// Writes of a folder that are told when it does not.
const LAST_WRITES: usize = 8;
/// Frames of one exchange.
const FRAMES_MAX: usize = 10_000;

/// The device and its peer.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) device: Peer,
    pub(super) remote: Engine,
    pub(super) space: SpaceId,
    pub(super) contents: Contents,
    /// Whether the user has done nothing that the documents do not hold.
    pub(super) quiet: bool,
    remote_disk: SimDisk,
    now_ms: i64,
    link: Option<(SessionId, SessionId)>,
    to_device: VecDeque<Vec<u8>>,
    to_remote: VecDeque<Vec<u8>>,
    sessions: u64,
    marks: Option<Vec<Mark>>,
}

fn open_remote(disk: &SimDisk) -> Engine {
    let store = Store::with_backend(disk.clone()).expect("the peer's disk is healthy");
    Engine::open(store, SecretKey::from_bytes(&[2; 32]), [2; 32]).expect("the peer's disk is healthy")
}

impl Pair {
    fn new(fs: SimFs, disk: SimDisk, remote_disk: SimDisk, now_ms: i64) -> Self {
        fs.set_now_ns(now_ms * 1_000_000);
        let mut device = Peer::new(0, fs, 0);
        device.disk = disk;
        // Nobody is there to approve.
        device.hold_above = usize::MAX;
        Self {
            device,
            remote: open_remote(&remote_disk),
            space: SpaceId([0; 32]),
            contents: Contents::new(),
            quiet: true,
            remote_disk,
            now_ms,
            link: None,
            to_device: VecDeque::new(),
            to_remote: VecDeque::new(),
            sessions: 0,
            marks: None,
        }
    }

    /// A device that founds a space, and its peer, who joins it.
    pub(super) fn found(fs: SimFs) -> Self {
        let now_ms = fs.now_ns() / 1_000_000;
        let mut pair = Self::new(fs, SimDisk::default(), SimDisk::default(), now_ms);
        pair.start();
        let (name, device_name) = ("space".into(), "device".into());
        let founding = Command::CreateSpace { name, device_name, random: [7; 32], epoch: InstallEpoch([0; 16]) };
        let Outcome::Space(space) = pair.command(founding) else { panic!("a space is founded") };
        pair.space = space;
        let root = pair.device.fs.root_identity().expect("looks").expect("is there");
        let (path, name) = ("/folder".into(), "folder".into());
        pair.command(Command::AddFolder { row: FolderRow { space, path, name, root, caught_up: true } });
        let mut turned = Turned::default();
        pair.device.open_folder(pair.now_ms, &space, &mut turned);
        pair.carry(turned);
        let secret = SecretKey::from_bytes(&[9; 32]);
        let (invite, device) = (InviteKey(secret.public()), pair.remote.device());
        pair.command(Command::Invite { space, key: invite, role: Role::Writer, uses: 1, life_ms: 1000 });
        let proof = prove_invite(&secret, space, device);
        pair.command(Command::Accept { space, invite, device, name: "peer".into(), proof });
        let host = pair.device.device();
        let command = Command::AddSpace { space, host, epoch: InstallEpoch([1; 16]) };
        pair.remote_turn(vec![Input::Command { command, ticket: Ticket(0) }]);
        pair
    }

    /// A device after a power cut, not started yet, and its peer as it was then.
    pub(super) fn after_a_crash(
        fs: SimFs,
        store: Image,
        mark: &Mark,
        (space, contents): (SpaceId, Contents),
        now_ms: i64,
    ) -> Self {
        let mut pair = Self::new(fs, SimDisk::from_image(store), SimDisk::from_image(mark.remote.clone()), now_ms);
        (pair.space, pair.contents, pair.quiet) = (space, contents, mark.quiet);
        pair
    }

    /// Begins a tape; `own` is how much of the device's own log was acknowledged before.
    pub(super) fn record(&mut self, own: u64) {
        self.device.disk.record();
        self.device.fs.record(&self.device.disk);
        let first = Mark { moments: 1, store_at: 0, remote: self.remote_disk.image(), own, quiet: self.quiet };
        self.marks = Some(vec![first]);
    }

    /// Ends the tape.
    pub(super) fn take_tape(&mut self) -> Tape {
        let log = self.device.disk.take_log().expect("was recorded");
        Tape { log, moments: self.device.fs.take_moments(), marks: self.marks.take().expect("was recorded") }
    }

    /// Notes what is acknowledged now.
    pub(super) fn mark(&mut self) {
        let (own, quiet) = (self.own(), self.quiet);
        if let Some(marks) = &mut self.marks {
            let (moments, store_at) = (self.device.fs.moments(), self.device.disk.recorded());
            marks.push(Mark { moments, store_at, remote: self.remote_disk.image(), own, quiet });
        }
    }

    /// Starts the device.
    pub(super) fn start(&mut self) {
        let turned = self.device.start(self.now_ms, &self.space).expect("a store opens after a crash");
        self.carry(turned);
    }

    pub(super) fn tick(&mut self, ms: i64) {
        self.now_ms += ms;
        self.device.fs.set_now_ns(self.now_ms * 1_000_000);
    }

    pub(super) fn status(&self) -> Option<SpaceStatus> {
        self.device.status(&self.space)
    }

    /// Commits of the device itself.
    pub(super) fn own(&self) -> u64 {
        self.status().map_or(0, |status| status.vector.len_of(&status.replica))
    }

    /// All commits.
    pub(super) fn arrivals(&self) -> u64 {
        self.status().map_or(0, |status| status.arrivals)
    }

    // ---- turns ----

    fn command(&mut self, command: Command) -> Outcome {
        let mut turned = self.device.command(self.now_ms, command);
        let done = turned.effects.iter().position(|effect| matches!(effect, Effect::Done { .. }));
        let Some(Effect::Done { outcome, .. }) = done.map(|done| turned.effects.remove(done)) else {
            panic!("a command is answered")
        };
        self.carry(turned);
        outcome.expect("commands of the test are sound")
    }

    fn device_turn(&mut self, inputs: Vec<Input>) {
        let turned = self.device.turn(self.now_ms, inputs);
        self.carry(turned);
    }

    /// Carries out what the device wants; by then it is durable.
    fn carry(&mut self, turned: Turned) {
        assert!(!turned.failed, "the store failed");
        self.mark();
        for effect in turned.effects {
            match effect {
                Effect::Send { session, frame } => {
                    if self.link.is_some_and(|(device, _)| device == session) {
                        self.to_remote.push_back(frame);
                    }
                }
                Effect::Changed { docs, .. } => {
                    let rounds = self.device.process.as_mut().and_then(|process| process.rounds.as_mut());
                    if let Some(rounds) = rounds {
                        rounds.documents_changed(docs);
                    }
                }
                Effect::Close { code, .. } => panic!("the device closed the session: {code}"),
                Effect::Event(event) => assert_sound(&event),
                Effect::Done { .. } | Effect::Announce { .. } => {}
            }
        }
    }

    fn remote_turn(&mut self, inputs: Vec<Input>) {
        let now = Now { mono_ms: self.now_ms.unsigned_abs(), wall_ms: 0 };
        let effects = self.remote.turn(now, inputs).expect("the peer's disk is healthy");
        self.mark();
        for effect in effects {
            match effect {
                Effect::Send { session, frame } => {
                    if self.link.is_some_and(|(_, remote)| remote == session) {
                        self.to_device.push_back(frame);
                    }
                }
                Effect::Close { code, .. } => panic!("the peer closed the session: {code}"),
                Effect::Event(event) => assert_sound(&event),
                Effect::Done { outcome, .. } => drop(outcome.expect("edits of the test are sound")),
                Effect::Changed { .. } | Effect::Announce { .. } => {}
            }
        }
    }

    /// The peer commits, all of it at once.
    pub(super) fn remote_edit(&mut self, items: Vec<Item>) {
        let edits = vec![Edit { items, writes: Vec::new() }];
        self.remote_turn(vec![Input::Edit { space: self.space, edits, ticket: Ticket(0) }]);
    }

    // ---- meeting ----

    /// Lets the two talk until nothing more is said.
    pub(super) fn exchange(&mut self) {
        if self.link.is_none() {
            let (device, remote) = (SessionId(self.sessions), SessionId(self.sessions + 1));
            self.sessions += 2;
            self.link = Some((device, remote));
            let (device_id, remote_id) = (self.device.device(), self.remote.device());
            self.device_turn(vec![Input::SessionUp { session: device, peer: remote_id }]);
            self.remote_turn(vec![Input::SessionUp { session: remote, peer: device_id }]);
        }
        // What only time ends.
        self.device_turn(Vec::new());
        self.remote_turn(Vec::new());
        let (device, remote) = self.link.expect("was made above");
        for _ in 0..FRAMES_MAX {
            if let Some(bytes) = self.to_remote.pop_front() {
                let len = bytes.len();
                self.remote_turn(vec![Input::Frame { session: remote, bytes }]);
                self.device_turn(vec![Input::Written { session: device, bytes: len }]);
            } else if let Some(bytes) = self.to_device.pop_front() {
                let len = bytes.len();
                self.device_turn(vec![Input::Frame { session: device, bytes }]);
                self.remote_turn(vec![Input::Written { session: remote, bytes: len }]);
            } else {
                return;
            }
        }
        panic!("the exchange does not come to rest");
    }

    /// Lets the folder do a round.
    pub(super) fn round(&mut self) {
        let turned = self.device.round(self.now_ms, &self.space);
        self.carry(turned);
    }

    /// What the folder wants comes from the peer.
    fn fetch(&mut self) {
        let Some(process) = &mut self.device.process else { return };
        let here: Vec<ContentHash> =
            process.fetches.keys().copied().filter(|hash| self.contents.contains_key(hash)).collect();
        for hash in here {
            let temp = temp_dir().join(&format!("{DOWNLOAD}{hash}"));
            let mut file = self.device.fs.create(&temp).expect("a healthy disk does not fail");
            std::io::Write::write_all(&mut file, &self.contents[&hash]).expect("a healthy disk does not fail");
            file.flush_to_disk().expect("a healthy disk does not fail");
            process.fetches.remove(&hash);
            process.fetched.insert(hash);
        }
    }

    /// What the user has in large files can be had elsewhere from now on.
    pub(super) fn spread(&mut self) {
        let large = |bytes: &Arc<Vec<u8>>| bytes.len() > limits::INLINE_BYTES_MAX;
        for bytes in self.device.fs.contents().into_iter().filter(large) {
            self.contents.insert(ContentHash::of(&bytes), bytes);
        }
    }

    /// Waits until the two hold the same and the folder agrees.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            self.exchange();
            self.tick(ROUND_MS);
            self.round();
            self.fetch();
            if self.is_at_rest() {
                return Ok(());
            }
        }
        let rounds = self.device.process.as_ref().and_then(|process| process.rounds.as_ref());
        let writes = self.device.fs.writes();
        let last = &writes[writes.len().saturating_sub(LAST_WRITES)..];
        let last: Vec<String> = last.iter().map(|write| format!("{} {}", write.operation, write.path)).collect();
        Err(format!(
            "the folder does not come to rest: {:?}, and did last: {}",
            rounds.map(|rounds| rounds.report()),
            last.join(", ")
        ))
    }

    fn is_at_rest(&self) -> bool {
        let remote = self.remote.status().into_iter().find(|status| status.space == self.space);
        let (Some(status), Some(remote)) = (self.status(), remote) else { return false };
        let process = self.device.process.as_ref();
        let fetches = process.is_some_and(|process| !process.fetches.is_empty() || !process.fetched.is_empty());
        status.settled && (status.vector, status.root) == (remote.vector, remote.root) && !fetches
    }
}

/// Nobody finds fault with anybody, whatever a disk did: else something was lost that had left.
fn assert_sound(event: &Event) {
    if let Event::Fork { .. } | Event::RootMismatch { .. } | Event::BadPeer { .. } | Event::Rebuilt { .. } = event {
        panic!("what was acknowledged was lost: {event:?}");
    }
}
