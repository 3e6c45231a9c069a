//! A run: some devices, a network and users, one step at a time, everything decided by a seed.
//!
//! [`World::run`] first lets faults happen, with safety checked after every step, then heals everything and waits, within a
//! bounded number of rounds, until all are equal. What must hold is in [`check`](super::check), one function each.

use sync_core::{
    commit::SecretKey,
    engine::{Command, Effect, Event, Input, Outcome, SessionId},
    folder::{Fs as _, disk::temp_dir, ingest::DOWNLOAD},
    ids::{DeviceId, InstallEpoch, InviteKey, SpaceId},
    member::{Role, prove_invite},
    store::row::FolderRow,
};

use super::{
    check::{Checks, Violation},
    disk::{Call, Failure, Fault},
    editor::{Job, random_action},
    fs::{Config, Crash, DiskFault, SimFs, WatchFaults},
    image::Loss,
    net::{Net, Rumour},
    peer::{Peer, Turned, rng_of},
    profile::Profile,
    rng::Rng,
};

/// Where simulated time begins: some day in 2026.
const START_MS: i64 = 1_780_000_000_000;
/// Rounds of anti-entropy, each of [`HEAL_STEP_MS`], in which everything must be equal after the last fault.
const HEAL_ROUNDS: u32 = 60;
const HEAL_STEP_MS: i64 = 30_000;

/// A run of the simulator.
#[derive(Debug)]
pub struct World {
    pub(super) seed: u64,
    pub(super) profile: Profile,
    rng: Rng,
    pub(super) now_ms: i64,
    pub(super) peers: Vec<Peer>,
    pub(super) net: Net,
    pub(super) space: SpaceId,
    pub(super) checks: Checks,
    trace: blake3::Hasher,
    log: Option<fn(&str)>,
    next_fd: u64,
    totals: Totals,
    /// Whether faults are over.
    healing: bool,
    /// Rounds of healing so far.
    heals: u32,
}

/// What a run amounted to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Steps.
    pub steps: u64,
    /// Faults that were let happen.
    pub faults: u64,
    /// Simulated time, in milliseconds, times the devices.
    pub peer_ms: u64,
    /// Commits in the end.
    pub commits: u64,
    /// Rounds until all were equal.
    pub heal_rounds: u64,
}

impl Totals {
    /// Adds another run.
    pub const fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.faults += other.faults;
        self.peer_ms += other.peer_ms;
        self.commits += other.commits;
        self.heal_rounds += other.heal_rounds;
    }
}

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes {
    /// Hash of everything that happened, in order.
    pub trace: [u8; 32],
    /// What it amounted to.
    pub totals: Totals,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
}

/// Runs a seed with so many devices.
#[must_use]
pub fn run(seed: u64, peers: usize) -> Outcomes {
    World::new(seed, peers).run()
}

/// Runs a seed and also tells, line by line, what happens.
#[must_use]
pub fn run_logged(seed: u64, peers: usize, log: fn(&str)) -> Outcomes {
    let mut world = World::new(seed, peers);
    world.log = Some(log);
    world.run()
}

impl World {
    /// A world before its first step: everybody is in the space.
    #[must_use]
    pub fn new(seed: u64, peers: usize) -> Self {
        let mut rng = Rng::new(seed).fork("world");
        let profile = Profile::draw(&mut rng, peers);
        let mut world = Self {
            seed,
            profile,
            rng,
            now_ms: START_MS,
            peers: Vec::new(),
            net: Net::default(),
            space: SpaceId([0; 32]),
            checks: Checks::default(),
            trace: blake3::Hasher::new(),
            log: None,
            next_fd: 1,
            totals: Totals::default(),
            healing: false,
            heals: 0,
        };
        for index in 0..peers {
            world.add_peer(index);
        }
        world
    }

    fn add_peer(&mut self, index: usize) {
        let mut rng = rng_of(&self.rng, index);
        let span = 2 * self.profile.skew_ms.unsigned_abs() + 1;
        let offset = rng.below(span).cast_signed() - self.profile.skew_ms;
        let config = Config {
            granularity_ns: self.profile.granularity_ns,
            crash: if rng.chance(500) { Crash::Ordered } else { Crash::AnySubset },
            user_writes_durable: !self.profile.power || rng.chance(700),
            list_order: rng.below(3),
            ..Config::default()
        };
        let fs = SimFs::new(config, self.wall_ns(offset), &rng.fork("fs"));
        self.peers.push(Peer::new(index, fs, offset));
    }

    fn wall_ns(&self, offset_ms: i64) -> i64 {
        (self.now_ms + offset_ms) * 1_000_000
    }

    fn run(mut self) -> Outcomes {
        let violation = self.try_run().err();
        self.totals.peer_ms = (self.now_ms - START_MS).unsigned_abs() * self.peers.len() as u64;
        Outcomes { trace: *self.trace.finalize().as_bytes(), totals: self.totals, violation }
    }

    fn try_run(&mut self) -> Result<(), Violation> {
        self.found()?;
        for _ in 0..self.profile.steps {
            self.step()?;
            self.totals.steps += 1;
        }
        self.heal()?;
        self.totals.commits = self.peers[0].status(&self.space).map_or(0, |status| status.arrivals);
        self.check_end()
    }

    /// Notes what happens, for the hash and for whoever reads along.
    fn note(&mut self, what: &str) {
        self.trace.update(what.as_bytes());
        self.trace.update(&[0]);
        if let Some(log) = self.log {
            log(&format!("{:>10} {what}", self.now_ms - START_MS));
        }
    }

    // ---- the beginning ----

    fn found(&mut self) -> Result<(), Violation> {
        self.start(0)?;
        let random = *blake3::hash(&self.seed.to_le_bytes()).as_bytes();
        let command = Command::CreateSpace {
            name: "space".into(),
            device_name: "device 0".into(),
            random,
            epoch: InstallEpoch([0; 16]),
        };
        let Some(Outcome::Space(space)) = self.command(0, command)? else {
            return Err(self.violation("setup", "no space was founded"));
        };
        self.space = space;
        self.bind_folder(0, true)?;
        let count = self.profile.peers;
        let late = usize::from(self.profile.late_joiner && count > 2);
        for index in 1..count - late {
            let role = if self.profile.reader && index == count - late - 1 { Role::Reader } else { Role::Writer };
            self.join(index, role)?;
        }
        for _ in 0..self.profile.files {
            self.user(0, true);
        }
        Ok(())
    }

    fn bind_folder(&mut self, index: usize, caught_up: bool) -> Result<(), Violation> {
        let root = self.peers[index].fs.root_identity().ok().flatten().unwrap_or_default();
        let row = FolderRow { space: self.space, path: "/folder".into(), name: "folder".into(), root, caught_up };
        self.command(index, Command::AddFolder { row })?;
        let mut turned = Turned::default();
        let (now_ms, space) = (self.now_ms, self.space);
        self.peers[index].open_folder(now_ms, &space, &mut turned);
        self.carry_out(index, turned)
    }

    /// Lets a device in by the first one that is up; its first catch-up comes with the steps.
    fn join(&mut self, index: usize, role: Role) -> Result<(), Violation> {
        self.start(index)?;
        self.start(0)?;
        let space = self.space;
        let secret = SecretKey::from_bytes(&[100 + index as u8; 32]);
        let key = InviteKey(secret.public());
        let device = self.peers[index].device();
        let host = self.peers[0].device();
        self.command(0, Command::Invite { space, key, role, uses: 1, life_ms: 1000 })?;
        let proof = prove_invite(&secret, space, device);
        let name = format!("device {index}");
        self.command(0, Command::Accept { space, invite: key, device, name, proof })?;
        self.peers[index].reads_only = role == Role::Reader;
        let epoch = InstallEpoch([index as u8; 16]);
        self.command(index, Command::AddSpace { space, host, epoch })?;
        self.bind_folder(index, false)?;
        self.note(&format!("{index} joins as {role:?}"));
        self.connect(0, index)
    }

    fn command(&mut self, index: usize, command: Command) -> Result<Option<Outcome>, Violation> {
        let now_ms = self.now_ms;
        let mut turned = self.peers[index].command(now_ms, command);
        let mut answer = None;
        turned.effects.retain(|effect| match effect {
            Effect::Done { outcome, .. } => {
                answer = Some(outcome.clone());
                false
            }
            _ => true,
        });
        self.carry_out(index, turned)?;
        match answer {
            Some(Err(refused)) => Err(self.violation("setup", &refused.to_string())),
            answer => Ok(answer.and_then(Result::ok)),
        }
    }

    // ---- one step ----

    fn step(&mut self) -> Result<(), Violation> {
        let weights = self.profile.weights;
        let kinds = [
            weights.deliver,
            weights.user,
            weights.round,
            weights.tick,
            weights.connect,
            weights.cut,
            weights.stall,
            weights.crash,
            weights.start,
            weights.gossip,
            weights.fetch,
            weights.rare,
        ];
        let mut draw = self.rng.below(kinds.iter().sum());
        let kind = kinds.iter().position(|weight| match draw.checked_sub(*weight) {
            Some(rest) => {
                draw = rest;
                false
            }
            None => true,
        });
        self.tick(1 + self.rng.clone().below(3).cast_signed());
        let at = self.rng.index(self.peers.len());
        match kind {
            Some(0) => self.deliver_some(),
            Some(1) => {
                self.user(at, false);
                Ok(())
            }
            Some(2) => self.round(at),
            Some(3) => self.pass_time(),
            Some(4) => {
                let other = self.rng.index(self.peers.len());
                self.connect(at, other)
            }
            Some(5) => self.cut_some(),
            Some(6) => {
                self.stall();
                Ok(())
            }
            Some(7) => self.crash(at),
            Some(8) => self.start(at),
            Some(9) => self.rumour(),
            Some(10) => {
                self.fetch(at);
                Ok(())
            }
            _ => self.rare(at),
        }?;
        self.check_step()
    }

    fn tick(&mut self, ms: i64) {
        self.now_ms += ms;
        for peer in &self.peers {
            peer.fs.set_now_ns((self.now_ms + peer.wall_offset_ms) * 1_000_000);
        }
    }

    fn pass_time(&mut self) -> Result<(), Violation> {
        let ms = match self.rng.below(10) {
            0..=5 => 1 + self.rng.below(200),
            6..=8 => 1 + self.rng.below(5_000),
            _ if self.profile.hours => 1 + self.rng.below(48 * 3_600_000),
            _ => 1 + self.rng.below(90_000),
        };
        self.tick(ms.cast_signed());
        if self.rng.chance(self.profile.clock_jump) {
            let at = self.rng.index(self.peers.len());
            let jump = self.rng.below(7_200_000).cast_signed() - 3_600_000;
            self.peers[at].wall_offset_ms += jump;
            self.totals.faults += 1;
        }
        self.note(&format!("{ms} ms pass"));
        self.deadlines()
    }

    fn deadlines(&mut self) -> Result<(), Violation> {
        for index in 0..self.peers.len() {
            let now_ms = self.now_ms;
            let peer = &mut self.peers[index];
            let mono = peer.now(now_ms).mono_ms;
            let due = peer.process.as_ref().and_then(|process| process.engine.next_deadline());
            if due.is_some_and(|due| due <= mono) {
                self.turn(index, Vec::new())?;
            }
        }
        Ok(())
    }

    /// Gives a device a turn, perhaps one in which its disk fails.
    fn turn(&mut self, index: usize, inputs: Vec<Input>) -> Result<(), Violation> {
        let power = self.arm_store(index);
        let now_ms = self.now_ms;
        let turned = self.peers[index].turn(now_ms, inputs);
        self.disarm(index, power, &turned)?;
        self.carry_out(index, turned)
    }

    /// Perhaps lets a call on the store's disk fail; tells whether that is to be the end of power.
    fn arm_store(&mut self, index: usize) -> bool {
        let power = !self.healing && self.rng.chance(self.profile.power_in_step);
        let fault = !self.healing && self.rng.chance(self.profile.store_fault);
        if !power && !fault {
            return false;
        }
        let fault = *self.rng.pick(&[Fault::Io, Fault::Full, Fault::Short, Fault::LostSync(self.seed)]);
        let call = if matches!(fault, Fault::LostSync(_)) { Call::Sync } else { Call::Any };
        let after = self.rng.below(if call == Call::Sync { 2 } else { 25 });
        self.peers[index].disk.fail(Failure { call, after, fault, lasts: power });
        power
    }

    fn disarm(&mut self, index: usize, power: bool, turned: &Turned) -> Result<(), Violation> {
        self.peers[index].disk.heal();
        if turned.failed {
            self.totals.faults += 1;
            self.note(&format!("the store of {index} failed"));
            self.kill(index, power && self.profile.power)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, index: usize, turned: Turned) -> Result<(), Violation> {
        if turned.acked {
            self.acknowledge(index);
        }
        for effect in turned.effects {
            match effect {
                Effect::Send { session, frame } => {
                    self.note(&format!("{index} sends {} bytes", frame.len()));
                    self.net.send(index, session, frame);
                }
                Effect::Close { session, .. } => {
                    if let Some((_, other)) = self.net.ends(index, session) {
                        self.cut(index, other)?;
                    }
                }
                Effect::Announce { payload, .. } => self.gossip(index, &payload),
                Effect::Changed { docs, .. } => {
                    if let Some(rounds) = self.peers[index].process.as_mut().and_then(|process| process.rounds.as_mut())
                    {
                        rounds.documents_changed(docs);
                    }
                }
                Effect::Done { .. } => {}
                Effect::Event(event) => self.event(index, &event)?,
            }
        }
        Ok(())
    }

    fn event(&mut self, index: usize, event: &Event) -> Result<(), Violation> {
        self.note(&format!("{index}: {event:?}"));
        match event {
            Event::BadPeer { reason, .. } if reason != "said nothing in time" => {
                Err(self.violation("no honest peer is refused", &format!("{index}: {reason}")))
            }
            Event::RootMismatch { .. } => Err(self.violation("equal vectors have equal roots", &format!("at {index}"))),
            Event::Fork { .. } if !self.may_fork() => {
                Err(self.violation("logs do not fork by themselves", &format!("at {index}")))
            }
            Event::Rebuilt { .. } => {
                self.checks.rebuilt(index);
                let mut turned = Turned::default();
                let (now_ms, space) = (self.now_ms, self.space);
                self.peers[index].open_folder(now_ms, &space, &mut turned);
                self.carry_out(index, turned)
            }
            _ => Ok(()),
        }
    }

    fn may_fork(&self) -> bool {
        self.profile.restore || self.profile.clone
    }

    // ---- the network ----

    pub(super) fn connect(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let up = self.peers[a].process.is_some() && self.peers[b].process.is_some();
        let (device_a, device_b) = (self.peers[a].device(), self.peers[b].device());
        if a == b || !up || device_a == device_b || self.net.connected(a, b) {
            return Ok(());
        }
        // One device has one connection to another: of two copies of a device the newer one is heard.
        for copy in self.copies(a).into_iter().filter(|copy| *copy != a) {
            self.cut(copy, b)?;
        }
        for copy in self.copies(b).into_iter().filter(|copy| *copy != b) {
            self.cut(a, copy)?;
        }
        self.note(&format!("{a} and {b} connect"));
        let (session_a, session_b) = self.net.connect(a, b);
        self.turn(a, vec![Input::SessionUp { session: session_a, peer: device_b }])?;
        if self.net.connected(a, b) && self.peers[b].process.is_some() {
            self.turn(b, vec![Input::SessionUp { session: session_b, peer: device_a }])?;
        }
        Ok(())
    }

    pub(super) fn copies(&self, of: usize) -> Vec<usize> {
        let device: DeviceId = self.peers[of].device();
        (0..self.peers.len()).filter(|other| self.peers[*other].device() == device).collect()
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let Some((session_a, session_b)) = self.net.cut(a, b) else { return Ok(()) };
        self.note(&format!("{a} and {b} part"));
        self.down(a, session_a)?;
        self.down(b, session_b)
    }

    fn down(&mut self, index: usize, session: SessionId) -> Result<(), Violation> {
        if self.peers[index].process.is_some() {
            self.turn(index, vec![Input::SessionDown { session }])?;
        }
        Ok(())
    }

    fn cut_some(&mut self) -> Result<(), Violation> {
        let ends: Vec<(usize, usize)> = self.net.wires.keys().copied().collect();
        if ends.is_empty() {
            return Ok(());
        }
        let (a, b) = *self.rng.pick(&ends);
        self.totals.faults += 1;
        self.cut(a, b)
    }

    fn stall(&mut self) {
        let ends: Vec<(usize, usize)> = self.net.wires.keys().copied().collect();
        if !ends.is_empty() {
            let ends = *self.rng.pick(&ends);
            if let Some(wire) = self.net.wires.get_mut(&ends) {
                wire.stalled = !wire.stalled;
                self.totals.faults += 1;
            }
        }
    }

    fn deliver_some(&mut self) -> Result<(), Violation> {
        let moving = self.net.moving();
        if moving.is_empty() {
            return Ok(());
        }
        let ends = *self.rng.pick(&moving);
        if !self.healing && self.rng.chance(self.profile.frame_cut) {
            // A part of a frame arrived; then the connection broke.
            self.totals.faults += 1;
            return self.cut(ends.0, ends.1);
        }
        let most = 1 + self.rng.below(4);
        self.deliver(ends, most)
    }

    /// Lets up to so many frames of a direction arrive in one turn.
    fn deliver(&mut self, (from, to): (usize, usize), most: u64) -> Result<(), Violation> {
        let Some(session) = self.net.wires.get(&(to, from)).map(|wire| wire.session) else { return Ok(()) };
        let Some(wire) = self.net.wires.get_mut(&(from, to)) else { return Ok(()) };
        let count = wire.frames.len().min(most as usize);
        let frames: Vec<Vec<u8>> = wire.frames.drain(..count).collect();
        let written: usize = frames.iter().map(Vec::len).sum();
        let back = wire.session;
        self.note(&format!("{count} frames of {from} reach {to}"));
        self.turn(to, frames.into_iter().map(|bytes| Input::Frame { session, bytes }).collect())?;
        if self.net.wires.get(&(from, to)).is_some_and(|wire| wire.session == back) {
            self.turn(from, vec![Input::Written { session: back, bytes: written }])?;
        }
        Ok(())
    }

    /// Delivers until nothing is on its way.
    pub(super) fn deliver_all(&mut self) -> Result<(), Violation> {
        let mut steps = 0;
        while let Some(ends) = self.net.moving().first().copied() {
            self.deliver(ends, 16)?;
            steps += 1;
            if steps > 20_000 {
                return Err(self.violation("the exchange comes to rest", "20 000 frames and more to come"));
            }
        }
        Ok(())
    }

    fn gossip(&mut self, from: usize, payload: &[u8]) {
        for to in 0..self.peers.len() {
            if to == from || self.healing || self.rng.chance(self.profile.gossip_lost) {
                continue;
            }
            let copies = 1 + u64::from(self.rng.chance(self.profile.gossip_doubled));
            for _ in 0..copies {
                self.net.rumours.push(Rumour { to, payload: payload.to_vec() });
            }
        }
    }

    /// Any rumour may come next: they overtake each other.
    fn rumour(&mut self) -> Result<(), Violation> {
        if self.net.rumours.is_empty() {
            return Ok(());
        }
        let index = self.rng.index(self.net.rumours.len());
        let Rumour { to, payload } = self.net.rumours.swap_remove(index);
        self.note(&format!("{to} hears {} bytes", payload.len()));
        let space = self.space;
        self.turn(to, vec![Input::Announcement { space, bytes: payload }])
    }

    // ---- users and folders ----

    /// A user goes on with what is under way, or begins something.
    fn user(&mut self, index: usize, all: bool) {
        let peer = &mut self.peers[index];
        if !peer.has_folder || peer.reads_only || peer.fs.is_dead() {
            return;
        }
        if peer.typing.is_none() {
            let action = random_action(&mut self.rng, &peer.fs);
            let fd = self.next_fd;
            self.next_fd += action.fds();
            let what = format!("user of {index}: {action:?}");
            peer.typing = Some(Job::new(&action, fd));
            self.note(&what);
        }
        let whole = all || self.rng.chance(600);
        let peer = &mut self.peers[index];
        let fs = peer.fs.clone();
        if let Some(job) = &mut peer.typing {
            if whole {
                job.run(&fs);
            } else {
                job.step(&fs);
            }
            if job.is_done() {
                peer.typing = None;
            }
        }
    }

    pub(super) fn round(&mut self, index: usize) -> Result<(), Violation> {
        if self.peers[index].process.as_ref().is_none_or(|process| process.rounds.is_none()) {
            return Ok(());
        }
        let fs = self.peers[index].fs.clone();
        let mut power = self.arm_store(index);
        if !self.healing && self.rng.chance(self.profile.folder_fault) {
            let fault = *self.rng.pick(&[DiskFault::Io, DiskFault::NoSpace, DiskFault::Denied]);
            fs.fail_nth(1 + self.rng.below(40), fault);
            self.totals.faults += 1;
        }
        if !self.healing && self.rng.chance(self.profile.power_in_step) {
            fs.cut_power_at(1 + self.rng.below(60));
            power = true;
        }
        let types = self.peers[index].typing.is_none() && !self.peers[index].reads_only;
        if !self.healing && types && self.rng.chance(self.profile.race) {
            let action = random_action(&mut self.rng, &fs);
            let fd = self.next_fd;
            self.next_fd += action.fds();
            self.note(&format!("user of {index}, in a round: {action:?}"));
            fs.schedule(1 + self.rng.below(50), Job::new(&action, fd).into_steps());
        }
        let (now_ms, space) = (self.now_ms, self.space);
        let written = fs.writes().len();
        let turned = self.peers[index].round(now_ms, &space);
        if self.log.is_some() {
            for write in &fs.writes()[written..] {
                self.note(&format!("  {index}: {} {}", write.operation, write.path));
            }
            let status = self.peers[index].status(&self.space);
            let bytes: usize = fs.contents().iter().map(|bytes| bytes.len()).sum();
            let commits = status.map_or(0, |status| status.arrivals);
            self.note(&format!("  {index} has {commits} commits and {bytes} bytes"));
        }
        let dead = fs.is_dead();
        self.note(&format!(
            "{index} does a round, {} calls so far{}",
            fs.calls(),
            if dead { ", and dies" } else { "" }
        ));
        self.disarm(index, power, &turned)?;
        if dead && self.peers[index].process.is_some() {
            self.kill(index, power && self.profile.power)?;
        }
        self.carry_out(index, turned)
    }

    /// A content that a folder wants comes from a neighbour that has it on disk.
    fn fetch(&mut self, index: usize) {
        let Some(process) = &self.peers[index].process else { return };
        let wanted: Vec<_> = process.fetches.values().copied().collect();
        if wanted.is_empty() {
            return;
        }
        let content = *self.rng.pick(&wanted);
        for from in self.net.neighbours(index) {
            let Some(bytes) = self.peers[from].content(&content.hash) else { continue };
            let fs = self.peers[index].fs.clone();
            let temp = temp_dir().join(&format!("{DOWNLOAD}{}", content.hash));
            let written = fs.create(&temp).is_ok_and(|mut file| {
                std::io::Write::write_all(&mut file, &bytes).is_ok() && file.flush_to_disk().is_ok()
            });
            if written && let Some(process) = &mut self.peers[index].process {
                process.fetches.remove(&content.hash);
                process.fetched.insert(content.hash);
            }
            self.note(&format!("{index} has a content from {from}: {written}"));
            return;
        }
    }

    // ---- processes ----

    pub(super) fn start(&mut self, index: usize) -> Result<(), Violation> {
        if self.peers[index].process.is_some() {
            return Ok(());
        }
        self.note(&format!("{index} starts"));
        let (now_ms, space) = (self.now_ms, self.space);
        match self.peers[index].start(now_ms, &space) {
            Ok(turned) => {
                self.carry_out(index, turned)?;
                self.check_start(index)
            }
            Err(error) => Err(self.violation("a store opens after a crash", &format!("{index}: {error}"))),
        }
    }

    fn crash(&mut self, index: usize) -> Result<(), Violation> {
        if self.peers[index].process.is_none() {
            return Ok(());
        }
        self.totals.faults += 1;
        let power = self.profile.power && self.rng.chance(500);
        self.kill(index, power)
    }

    /// Ends a process at once; with the power, what was not flushed goes too.
    pub(super) fn kill(&mut self, index: usize, power: bool) -> Result<(), Violation> {
        self.note(&format!("{index} is killed{}", if power { ", with the power" } else { "" }));
        let loss = if power {
            *self.rng.pick(&[Loss::All, Loss::Nothing, Loss::Tail, Loss::Some, Loss::Torn])
        } else {
            Loss::Nothing
        };
        let seed = self.rng.next_u64();
        let peer = &mut self.peers[index];
        peer.disk = peer.disk.crash(loss, seed);
        if power {
            peer.typing = None;
            peer.fs.crash(&mut self.rng);
        } else {
            peer.fs.restart();
        }
        peer.process = None;
        for other in self.net.neighbours(index) {
            if let Some((_, session)) = self.net.cut(index, other) {
                self.down(other, session)?;
            }
        }
        Ok(())
    }

    /// A backup is made, put back, or run on another machine.
    fn rare(&mut self, index: usize) -> Result<(), Violation> {
        if self.profile.restore && self.peers[index].has_folder {
            let Some(image) = self.peers[index].backup.take() else {
                self.peers[index].backup = Some(self.peers[index].disk.image());
                return Ok(());
            };
            if self.peers[index].process.is_some() {
                self.kill(index, false)?;
            }
            self.totals.faults += 1;
            self.note(&format!("the store of {index} is put back"));
            self.peers[index].disk = self.peers[index].disk.restore(image);
            self.peers[index].restored = true;
            self.checks.restored(index);
        } else if self.profile.clone
            && self.copies(index).len() == 1
            && self.peers.len() <= self.profile.peers
            && self.peers[index].status(&self.space).is_some()
        {
            self.totals.faults += 1;
            let copy = self.peers.len();
            self.note(&format!("{copy} is a copy of {index}"));
            self.add_peer(copy);
            self.peers[copy].key = self.peers[index].key.clone();
            self.peers[copy].has_folder = false;
            self.peers[copy].disk = self.peers[index].disk.fork().crash(Loss::Nothing, 0);
        }
        Ok(())
    }

    fn acknowledge(&mut self, index: usize) {
        let Some(status) = self.peers[index].status(&self.space) else { return };
        let n = status.vector.len_of(&status.replica);
        self.peers[index].acked.insert(status.replica, n);
    }

    // ---- healing ----

    fn heal(&mut self) -> Result<(), Violation> {
        self.healing = true;
        self.note("faults are over");
        self.net.rumours.clear();
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            peer.disk.heal();
            peer.fs.heal();
            peer.fs.set_watch_faults(WatchFaults::default());
            if let Some(mut job) = peer.typing.take() {
                let fs = peer.fs.clone();
                job.run(&fs);
            }
        }
        let count = self.peers.len();
        for index in 0..count {
            self.start(index)?;
        }
        let last = self.profile.peers - 1;
        if self.profile.late_joiner && self.peers[last].status(&self.space).is_none() {
            self.join(last, Role::Writer)?;
        }
        for wire in self.net.wires.values_mut() {
            wire.stalled = false;
        }
        // Events that were lost are made up for by the next full look.
        for peer in &mut self.peers {
            if let Some(rounds) = peer.process.as_mut().and_then(|process| process.rounds.as_mut()) {
                rounds.rescan();
            }
        }
        let mut rounds = 0;
        loop {
            self.heal_round()?;
            rounds += 1;
            if let Err(difference) = self.differences() {
                if rounds >= HEAL_ROUNDS {
                    return Err(self.violation("all are equal after healing", &difference));
                }
            } else {
                self.totals.heal_rounds = u64::from(rounds);
                return Ok(());
            }
        }
    }

    /// Connects everybody in a ring, delivers everything, lets folders do their rounds, and lets some time pass.
    pub(super) fn heal_round(&mut self) -> Result<(), Violation> {
        let count = self.peers.len();
        // Copies of a device take turns: there is one connection to a device.
        self.heals += 1;
        let turn = self.heals % 2 == 1;
        let here: Vec<usize> = (0..count)
            .filter(|index| self.copies(*index).len() == 1 || (*index < self.profile.peers) == turn)
            .collect();
        // A ring and no more: what two do not share directly must be passed on.
        for (place, a) in here.iter().enumerate() {
            self.connect(*a, here[(place + 1) % here.len()])?;
            // Until it has the genesis, a joiner knows nobody but its host.
            if self.peers[*a].status(&self.space).is_none_or(|status| status.name.is_none()) {
                self.connect(*a, 0)?;
            }
        }
        for _ in 0..6 {
            self.deliver_all()?;
            for index in 0..count {
                self.tick(300);
                self.round(index)?;
                for _ in 0..8 {
                    self.fetch(index);
                }
            }
            self.tick(700);
            self.deadlines()?;
        }
        self.tick(HEAL_STEP_MS);
        self.deadlines()
    }

    pub(super) fn violation(&self, rule: &'static str, what: &str) -> Violation {
        Violation { seed: self.seed, peers: self.profile.peers, rule, what: what.to_owned() }
    }
}

impl World {
    /// A round of a folder when nothing fails any more.
    pub(super) fn quiet_round(&mut self, index: usize) -> Result<(), Violation> {
        self.healing = true;
        self.tick(2_500);
        self.round(index)
    }
}
