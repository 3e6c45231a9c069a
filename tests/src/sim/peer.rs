//! One simulated device: its disks, its clock, its user, and the process that runs on it now and then.
//!
//! The process is the real engine on the real store, and the real rounds of a folder, on a simulated disk and a simulated
//! file system. [`Process`] is what `kill -9` takes; the rest of [`Peer`] stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use sync_core::{
    commit::SecretKey,
    doc::entry::ContentRef,
    engine::{Command, Effect, Engine, EngineError, Input, Now, Outcome, SpaceStatus, Ticket},
    folder::{
        Base,
        apply::Keeper,
        rounds::{
            Parts, Rounds,
            host::{Event, Host, HostError, SpaceView, Stopped, Time},
        },
    },
    ids::{ContentHash, DeviceId, ReplicaId, SpaceId},
    member::Role,
    store::{Edit, Snapshot, Store, StoreError, Write, row::FolderRow},
    tree::{Folds, RelPath},
};

use super::{
    disk::SimDisk,
    editor::Job,
    fs::{SimFs, SimTrash},
    rng::Rng,
};

/// A device.
#[derive(Debug)]
pub struct Peer {
    pub(crate) key: SecretKey,
    pub(crate) disk: SimDisk,
    pub(crate) fs: SimFs,
    /// So many deletes and overwrites a minute are never held.
    pub(crate) hold_above: usize,
    /// A copied store runs without its folder.
    pub(crate) has_folder: bool,
    /// Whether its role lets it only read; its user then changes nothing.
    pub(crate) reads_only: bool,
    pub(crate) wall_offset_ms: i64,
    pub(crate) boots: u64,
    pub(crate) process: Option<Process>,
    /// What an editor is in the middle of.
    pub(crate) typing: Option<Job>,
    /// What an editor has loaded and not saved yet.
    pub(crate) buffer: Option<(RelPath, Vec<u8>)>,
    /// Logs as far as they were acknowledged: to the folder as durable, or to a peer.
    pub(crate) acked: BTreeMap<ReplicaId, u64>,
    /// Whether the store was put back to an older state: promises from after it do not bind.
    pub(crate) restored: bool,
    /// An older state of the store.
    pub(crate) backup: Option<super::image::Image>,
}

/// What runs.
#[derive(Debug)]
pub struct Process {
    pub(crate) engine: Engine,
    pub(crate) rounds: Option<Rounds>,
    pub(crate) base: Arc<Mutex<Base>>,
    pub(crate) fetches: BTreeMap<ContentHash, ContentRef>,
    pub(crate) wanted: BTreeSet<ContentHash>,
    pub(crate) fetched: BTreeSet<ContentHash>,
    started_ms: i64,
}

/// What came of a turn or a round.
#[derive(Debug, Default)]
pub(crate) struct Turned {
    pub(crate) effects: Vec<Effect>,
    /// Commits of our own were reported durable.
    pub(crate) acked: bool,
    /// The store failed: the process must end.
    pub(crate) failed: bool,
}

impl Peer {
    /// A new device with an empty disk.
    pub(crate) fn new(index: usize, fs: SimFs, wall_offset_ms: i64) -> Self {
        Self {
            key: SecretKey::from_bytes(&[index as u8 + 1; 32]),
            disk: SimDisk::default(),
            fs,
            hold_above: sync_core::limits::HOLD_ENTRIES_MIN,
            has_folder: true,
            reads_only: false,
            wall_offset_ms,
            boots: 0,
            process: None,
            typing: None,
            buffer: None,
            acked: BTreeMap::new(),
            restored: false,
            backup: None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.key.device()
    }

    /// Starts the process: the store, the engine, and the folder's rounds if the store knows one.
    ///
    /// # Errors
    /// When the store does not open.
    pub(crate) fn start(&mut self, now_ms: i64, space: &SpaceId) -> Result<Turned, EngineError> {
        self.boots += 1;
        let store = Store::with_backend(self.disk.clone())?;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.boots.to_le_bytes());
        seed[8..16].copy_from_slice(&self.device().0[..8]);
        seed[16] = u8::from(self.has_folder);
        let engine = Engine::open(store, self.key.clone(), seed)?;
        self.process = Some(Process {
            engine,
            rounds: None,
            base: Arc::default(),
            fetches: BTreeMap::new(),
            wanted: BTreeSet::new(),
            fetched: BTreeSet::new(),
            started_ms: now_ms,
        });
        let mut turned = Turned::default();
        self.open_folder(now_ms, space, &mut turned);
        Ok(turned)
    }

    pub(crate) fn folder_row(&self, space: &SpaceId) -> Option<(u32, FolderRow)> {
        let engine = &self.process.as_ref()?.engine;
        let folders = engine.store().read().and_then(|snapshot| snapshot.folders()).ok()?;
        folders.into_iter().find(|(_, row)| row.space == *space)
    }

    /// Lets the folder follow its space, which was built again.
    pub(crate) fn follow(&mut self, now_ms: i64, space: &SpaceId, turned: &mut Turned) {
        let Some(process) = &mut self.process else { return };
        let at = process.engine.space_handle(space).zip(process.engine.replica(space));
        let (Some((handle, replica)), Some(mut rounds)) = (at, process.rounds.take()) else {
            // A folder that could not start before may now.
            return self.open_folder(now_ms, space, turned);
        };
        self.hosted(now_ms, space, turned, |host| rounds.restart(host, handle, replica));
        if let Some(process) = &mut self.process {
            process.rounds = Some(rounds);
        }
    }

    /// Starts the folder's rounds.
    pub(crate) fn open_folder(&mut self, now_ms: i64, space: &SpaceId, turned: &mut Turned) {
        let Some((folder, row)) = self.folder_row(space).filter(|_| self.has_folder) else { return };
        let fs = self.fs.clone();
        let Some(process) = &mut self.process else { return };
        let (Some(space_handle), Some(replica)) = (process.engine.space_handle(space), process.engine.replica(space))
        else {
            return;
        };
        process.base = Arc::default();
        let mut rounds = Rounds::new(Parts {
            folder,
            space: *space,
            space_handle,
            replica,
            root: row.root,
            caught_up: row.caught_up,
            fs: Arc::new(fs.clone()),
            base: Arc::clone(&process.base),
            threads: 1,
            hold_above: self.hold_above,
        });
        fs.watch();
        let stopped = self.hosted(now_ms, space, turned, |host| rounds.recover(host));
        if let Some(process) = self.process.as_mut().filter(|_| stopped.is_some_and(|result| result.is_ok())) {
            process.rounds = Some(rounds);
        }
    }

    /// Ends the folder's rounds, as when it is removed.
    pub(crate) fn close_folder(&mut self) {
        if let Some(process) = &mut self.process {
            process.rounds = None;
            process.base = Arc::default();
            process.fetches.clear();
            process.wanted.clear();
            process.fetched.clear();
        }
    }

    /// The time of a turn on this device.
    pub(crate) fn now(&self, now_ms: i64) -> Now {
        let started = self.process.as_ref().map_or(now_ms, |process| process.started_ms);
        Now {
            mono_ms: (now_ms - started).max(0).unsigned_abs() + 1,
            wall_ms: (now_ms + self.wall_offset_ms).max(0).unsigned_abs(),
        }
    }

    /// Gives the engine a turn.
    pub(crate) fn turn(&mut self, now_ms: i64, inputs: Vec<Input>) -> Turned {
        let now = self.now(now_ms);
        let Some(process) = &mut self.process else { return Turned::default() };
        match process.engine.turn(now, inputs) {
            Ok(effects) => Turned { effects, ..Turned::default() },
            Err(_) => Turned { failed: true, ..Turned::default() },
        }
    }

    /// Runs a command; the answer is among the effects.
    pub(crate) fn command(&mut self, now_ms: i64, command: Command) -> Turned {
        self.turn(now_ms, vec![Input::Command { command, ticket: Ticket(0) }])
    }

    /// Lets the folder do a round.
    pub(crate) fn round(&mut self, now_ms: i64, space: &SpaceId) -> Turned {
        let mut turned = Turned::default();
        let Some(mut rounds) = self.process.as_mut().and_then(|process| process.rounds.take()) else { return turned };
        let mono_ms = self.now(now_ms).mono_ms;
        for event in self.fs.events() {
            match event {
                super::fs::WatchEvent::Hint { path, closed } => rounds.hint(path, closed, mono_ms),
                super::fs::WatchEvent::Rescan => rounds.rescan(),
                super::fs::WatchEvent::Temp(_) => {}
            }
        }
        for content in self.process.as_mut().map(|process| std::mem::take(&mut process.fetched)).unwrap_or_default() {
            rounds.fetched(content);
        }
        let result = self.hosted(now_ms, space, &mut turned, |host| {
            rounds.round(host)?;
            rounds.tell_settled(host);
            Ok::<_, Stopped>(())
        });
        if let Some(process) = &mut self.process
            && matches!(result, Some(Ok(())))
        {
            process.rounds = Some(rounds);
        }
        turned
    }

    /// Whether the folder waits for somebody's word.
    pub(crate) fn is_held(&self) -> bool {
        let rounds = self.process.as_ref().and_then(|process| process.rounds.as_ref());
        rounds.is_some_and(|rounds| !rounds.report().held.is_empty())
    }

    /// Whether somebody who may only read took back what waits for bytes of others.
    pub(crate) fn awaits(&self) -> bool {
        let rounds = self.process.as_ref().and_then(|process| process.rounds.as_ref());
        self.reads_only && rounds.is_some_and(|rounds| rounds.held().awaited > 0)
    }

    /// Somebody gives his word for what is held, or refuses it.
    pub(crate) fn decide(&mut self, now_ms: i64, space: &SpaceId, approve: bool) -> Turned {
        let mono_ms = self.now(now_ms).mono_ms;
        self.ask(now_ms, space, |rounds, host| {
            if approve {
                rounds.approve(mono_ms);
                return Ok(());
            }
            rounds.reject(host)
        })
    }

    /// Somebody takes back what he changed where he may only read. Also gives what he is told.
    pub(crate) fn revert(&mut self, now_ms: i64, space: &SpaceId) -> (Turned, String) {
        let mut told = String::new();
        let turned = self.ask(now_ms, space, |rounds, host| {
            told = format!("{:?}", rounds.revert(host, &[RelPath::root()])?);
            Ok(())
        });
        (turned, told)
    }

    /// Somebody says that no file system that is away comes back.
    pub(crate) fn let_go(&mut self, now_ms: i64, space: &SpaceId) -> Turned {
        self.ask(now_ms, space, |rounds, host| {
            for problem in rounds.report().problems {
                rounds.let_go(host, &problem.path)?;
            }
            Ok(())
        })
    }

    /// Lets somebody ask something of the folder.
    fn ask(
        &mut self,
        now_ms: i64,
        space: &SpaceId,
        ask: impl FnOnce(&mut Rounds, &mut dyn Host) -> Result<(), Stopped>,
    ) -> Turned {
        let mut turned = Turned::default();
        let Some(mut rounds) = self.process.as_mut().and_then(|process| process.rounds.take()) else { return turned };
        let result = self.hosted(now_ms, space, &mut turned, |host| ask(&mut rounds, host));
        if let Some(process) = &mut self.process
            && matches!(result, Some(Ok(())))
        {
            process.rounds = Some(rounds);
        }
        turned
    }

    fn hosted<T>(
        &mut self,
        now_ms: i64,
        space: &SpaceId,
        turned: &mut Turned,
        work: impl FnOnce(&mut dyn Host) -> T,
    ) -> Option<T> {
        let now = self.now(now_ms);
        let fs = self.fs.clone();
        let quiet = fs.next_event_ns().is_none();
        let process = self.process.as_mut()?;
        let mut host = SimHost {
            engine: &mut process.engine,
            fetches: &mut process.fetches,
            wanted: &mut process.wanted,
            trash: SimTrash(fs.clone()),
            fs,
            now,
            space: *space,
            quiet,
            turned,
        };
        Some(work(&mut host))
    }

    /// What the engine knows of the space.
    #[must_use]
    pub fn status(&self, space: &SpaceId) -> Option<SpaceStatus> {
        let process = self.process.as_ref()?;
        process.engine.status().into_iter().find(|status| status.space == *space)
    }
}

/// The rounds' host: turns of the engine happen where the real one waits for them.
struct SimHost<'a> {
    engine: &'a mut Engine,
    fetches: &'a mut BTreeMap<ContentHash, ContentRef>,
    wanted: &'a mut BTreeSet<ContentHash>,
    trash: SimTrash,
    fs: SimFs,
    now: Now,
    space: SpaceId,
    quiet: bool,
    turned: &'a mut Turned,
}

impl SimHost<'_> {
    fn turn(&mut self, input: Input) -> Result<Option<Outcome>, HostError> {
        if self.turned.failed {
            return Err(Stopped.into());
        }
        let Ok(effects) = self.engine.turn(self.now, vec![input]) else {
            self.turned.failed = true;
            return Err(Stopped.into());
        };
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Done { outcome, .. } => {
                    answer = Some(outcome.map_err(|refused| HostError::Failed(refused.to_string()))?);
                }
                effect => self.turned.effects.push(effect),
            }
        }
        Ok(answer)
    }
}

impl Host for SimHost<'_> {
    fn now(&self) -> Time {
        Time { mono_ms: self.now.mono_ms, wall_ns: self.fs.now_ns() }
    }

    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.engine.store().read()
    }

    fn edit(&mut self, edits: Vec<Edit>) -> Result<Vec<usize>, HostError> {
        let space = self.space;
        match self.turn(Input::Edit { space, edits, ticket: Ticket(0) })? {
            Some(Outcome::Edited { stale, .. }) => {
                self.turned.acked = true;
                Ok(stale)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn write(&mut self, writes: Vec<Write>) -> Result<(), HostError> {
        let space = self.space;
        if !writes.is_empty() {
            self.turn(Input::Write { space, writes, ticket: Ticket(0) })?;
        }
        Ok(())
    }

    fn tell_disk(&mut self, folds: Folds) -> Result<(), HostError> {
        let command = Command::TellDisk { space: self.space, folds };
        self.turn(Input::Command { command, ticket: Ticket(0) }).map(drop)
    }

    fn space(&self) -> Option<SpaceView> {
        let status = self.engine.status().into_iter().find(|status| status.space == self.space)?;
        Some(SpaceView {
            arrivals: status.arrivals,
            named: status.name.is_some(),
            behind: status.behind,
            linked: status.peers.iter().filter(|peer| peer.linked).count(),
            reads_only: status.role == Some(Role::Reader),
            folds: status.folds,
            own_folds: status.own_folds,
        })
    }

    fn is_quiet(&self) -> bool {
        self.quiet && !self.turned.effects.iter().any(|effect| matches!(effect, Effect::Changed { .. }))
    }

    fn settled(&mut self, handle: u32, upto: Option<u64>) {
        let _stopped = self.turn(Input::Settled { handle, upto });
    }

    fn wanted(&mut self, contents: BTreeSet<ContentHash>) {
        self.fetches.retain(|hash, _| contents.contains(hash));
        *self.wanted = contents;
    }

    fn fetch(&mut self, content: ContentRef) {
        self.fetches.insert(content.hash, content);
    }

    fn keeper(&mut self) -> &mut dyn Keeper {
        &mut self.trash
    }

    fn event(&mut self, _event: &Event<'_>) {}
}

/// Where a device's random numbers begin.
pub(crate) fn rng_of(rng: &Rng, index: usize) -> Rng {
    rng.fork(&format!("peer {index}"))
}
