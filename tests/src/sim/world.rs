//! A run: some devices, a network and users, one step at a time, everything decided by a seed.
//!
//! [`run`] first lets faults happen, with safety checked after every step, then heals everything and waits, within a
//! bounded number of rounds, until all are equal. What must hold is in [`check`](super::check), one function each.

mod healing;
mod network;
mod odd;
mod processes;
mod users;

use std::collections::BTreeSet;

use sync_core::{
    commit::SecretKey,
    engine::{Command, Effect, Event, Input, Outcome},
    folder::Fs as _,
    ids::{InstallEpoch, InviteKey, SpaceId},
    member::{Role, prove_invite},
    store::row::FolderRow,
};

use super::{
    cases::Drawn,
    check::{Checks, Violation},
    disk::{Call, Failure, Fault},
    fs::{Config, Crash, SimFs, WatchFaults},
    net::Net,
    peer::{Peer, Turned, rng_of},
    profile::Profile,
    rng::Rng,
};

/// Where simulated time begins: some day in 2026.
const START_MS: i64 = 1_780_000_000_000;
/// Rounds of anti-entropy, each of [`HEAL_STEP_MS`], in which everything must be equal after the last fault.
const HEAL_ROUNDS: u32 = 60;
const HEAL_STEP_MS: i64 = 30_000;
/// How much later events come at most.
const EVENTS_LATE_NS_MAX: u64 = 3_000_000_000;
/// After so long a system has written to the disk what programs did not flush: Linux does so with pages that are older
/// than 30 s, and the folder flushes what is younger than a minute.
const WRITTEN_OUT_MS: u64 = 40_000;

/// A run of the simulator.
#[derive(Debug)]
pub struct World {
    pub(super) seed: u64,
    pub(super) profile: Profile,
    rng: Rng,
    pub(super) now_ms: i64,
    /// Time since all disks last had everything.
    unwritten_ms: u64,
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
    /// What came so far.
    drawn: BTreeSet<Drawn>,
    /// Devices that lost their home, which joined anew.
    homes_lost: BTreeSet<usize>,
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
    /// Holds that somebody gave a word for.
    pub words: u64,
}

impl Totals {
    /// Adds another run.
    pub const fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.faults += other.faults;
        self.peer_ms += other.peer_ms;
        self.commits += other.commits;
        self.heal_rounds += other.heal_rounds;
        self.words += other.words;
    }
}

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes {
    /// Hash of everything that happened, in order.
    pub trace: [u8; 32],
    /// What it amounted to.
    pub totals: Totals,
    /// What it contained.
    pub drawn: BTreeSet<Drawn>,
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
        let profile = Profile::draw(&mut rng, peers).with_folding(seed).with_oddities(seed);
        let mut world = Self {
            seed,
            profile,
            rng,
            now_ms: START_MS,
            unwritten_ms: 0,
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
            drawn: BTreeSet::from([Drawn::Forged]),
            homes_lost: BTreeSet::new(),
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
            loses_power: self.profile.power,
            folds: self.profile.folding.filter(|(at, _)| *at == index).map(|(_, folds)| folds).unwrap_or_default(),
            ..Config::default()
        };
        if config.folds.any() {
            self.drew(Drawn::FoldingDisk);
        }
        let fs = SimFs::new(config, self.wall_ns(offset), &rng.fork("fs"));
        fs.set_watch_faults(self.watch_faults());
        let mut peer = Peer::new(index, fs, offset);
        peer.hold_above = self.profile.hold_above;
        self.peers.push(peer);
    }

    fn watch_faults(&mut self) -> WatchFaults {
        let (lost_per_mille, doubled_per_mille, delayed_per_mille) = self.profile.watch;
        if lost_per_mille + doubled_per_mille + delayed_per_mille > 0 {
            self.drew(Drawn::WatchFaults);
        }
        if self.profile.queue_max.is_some() {
            self.drew(Drawn::Overflow);
        }
        let usual = WatchFaults::default();
        let queue_max = self.profile.queue_max.unwrap_or(usual.queue_max);
        WatchFaults {
            lost_per_mille,
            doubled_per_mille,
            delayed_per_mille,
            delay_max_ns: EVENTS_LATE_NS_MAX,
            queue_max,
        }
    }

    fn wall_ns(&self, offset_ms: i64) -> i64 {
        (self.now_ms + offset_ms) * 1_000_000
    }

    fn run(mut self) -> Outcomes {
        let violation = self.try_run().err();
        self.totals.peer_ms = (self.now_ms - START_MS).unsigned_abs() * self.peers.len() as u64;
        Outcomes { trace: *self.trace.finalize().as_bytes(), totals: self.totals, drawn: self.drawn, violation }
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
        // Nobody adds what is not there, or cannot be looked at.
        self.peers[index].fs.replace_root(None);
        self.peers[index].fs.heal();
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
        if !self.peers[index].fs.paths().is_empty() {
            self.drew(Drawn::LateJoiner);
        }
        self.join_with(index, role, 100 + index as u8, InstallEpoch([index as u8; 16]))
    }

    /// The same, with an invite made of this number.
    fn join_with(&mut self, index: usize, role: Role, invite: u8, epoch: InstallEpoch) -> Result<(), Violation> {
        self.start(index)?;
        self.start(0)?;
        let space = self.space;
        let secret = SecretKey::from_bytes(&[invite; 32]);
        let key = InviteKey(secret.public());
        let device = self.peers[index].device();
        let host = self.peers[0].device();
        self.command(0, Command::Invite { space, key, role, uses: 1, life_ms: 1000 })?;
        let proof = prove_invite(&secret, space, device);
        let name = format!("device {index}");
        self.command(0, Command::Accept { space, invite: key, device, name, proof })?;
        self.peers[index].reads_only = role == Role::Reader;
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
            weights.odd,
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
            Some(11) => self.rare(at),
            _ => self.odd(at),
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
        if self.rng.chance(self.profile.clock_jump) {
            let at = self.rng.index(self.peers.len());
            let jump = self.rng.below(7_200_000).cast_signed() - 3_600_000;
            self.peers[at].wall_offset_ms += jump;
            self.totals.faults += 1;
            self.drew(Drawn::Clock);
        }
        self.let_pass(ms)
    }

    fn let_pass(&mut self, ms: u64) -> Result<(), Violation> {
        self.tick(ms.cast_signed());
        self.note(&format!("{ms} ms pass"));
        self.unwritten_ms += ms;
        if self.unwritten_ms >= WRITTEN_OUT_MS {
            self.unwritten_ms = 0;
            self.peers.iter().for_each(|peer| peer.fs.settle());
        }
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
                self.nothing_is_due_for_ever(index)?;
            }
        }
        Ok(())
    }

    /// Gives a device a turn, perhaps one in which its disk fails.
    pub(super) fn turn(&mut self, index: usize, inputs: Vec<Input>) -> Result<(), Violation> {
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
                self.peers[index].follow(now_ms, &space, &mut turned);
                self.carry_out(index, turned)
            }
            _ => Ok(()),
        }
    }

    fn may_fork(&self) -> bool {
        self.profile.restore || self.profile.clone
    }

    pub(super) fn violation(&self, rule: &'static str, what: &str) -> Violation {
        Violation { seed: self.seed, peers: self.profile.peers, rule, what: what.to_owned() }
    }
}
