//! A file system in memory that behaves like Linux and fails like a disk.
//!
//! [`SimFs`] is the [`Fs`] that folders run on. Its clones are one file system: one side is the code under test, which
//! calls [`Fs`]; the other the simulator, which plays the user ([`SimFs::user`]), sets the clock, lets user's steps come
//! between two calls ([`SimFs::schedule`]), breaks calls, takes power away, and reads the journal. No operation follows a
//! link or leaves the root; errors are those of the real [`Disk`](sync_core::folder::disk::Disk), which a test holds it to.

mod durable;
mod faults;
mod handle;
mod journal;
mod links;
mod mend;
mod mounts;
mod record;
mod state;
#[cfg(test)]
mod tests;
mod tree;
mod user;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sync_core::{
    folder::{
        FileRead, FileWrite, Found, FoundKind, Fs, FsError, Listed,
        apply::Keeper,
        disk::{state_path, temp_dir},
        find_folds,
        rails::Space,
    },
    ids::ContentHash,
    tree::{Folds, RelPath, STATE_DIR},
};

pub use self::{
    durable::{Crash, CrashReport},
    faults::DiskFault,
    journal::{FolderWrite, Saved},
    record::Moment,
    user::{OpenHow, UserOp},
    watch::{WatchEvent, WatchFaults},
};
use self::{
    handle::{SimRead, SimWrite},
    record::Recorder,
    state::{Rename, State, Who},
    tree::{Body, Node, NodeId, OUTSIDE, ROOT, errno, failed},
};
use super::{disk::SimDisk, rng::Rng};
use crate::disk::Seen;

/// What kind of file system this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Steps of its time stamps: 1 ns, 10 ms, 2 s as on FAT.
    pub granularity_ns: i64,
    /// How much later each call and each step of a user is than the one before.
    pub tick_ns: i64,
    /// Whether the inode of a file that is gone is given to the next, as ext4 does.
    pub reuse_inodes: bool,
    /// Whether it notes when files were born.
    pub birth_times: bool,
    /// Whether what users do is on the disk at once.
    pub user_writes_durable: bool,
    /// What a crash leaves.
    pub crash: Crash,
    /// Whether there is such a crash at all: what is not flushed is noted only then.
    pub loses_power: bool,
    /// Most bytes of all files.
    pub capacity_bytes: Option<u64>,
    /// Most bytes that one read gives: a long file then takes several calls, between which things happen.
    pub read_bytes_max: usize,
    /// The order of listings; 0: by name.
    pub list_order: u64,
    /// Its device number.
    pub device: u64,
    /// What it does not tell apart in names.
    pub folds: Folds,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            granularity_ns: 1,
            tick_ns: 1_000,
            reuse_inodes: true,
            birth_times: true,
            user_writes_durable: true,
            crash: Crash::Ordered,
            loses_power: true,
            capacity_bytes: None,
            read_bytes_max: 64 * 1024,
            list_order: 0,
            device: 0x10_0001,
            folds: Folds::NONE,
        }
    }
}

/// A simulated file system; clones are the same one.
#[derive(Debug, Clone)]
pub struct SimFs(Arc<Mutex<State>>);

impl SimFs {
    /// Makes an empty one.
    #[must_use]
    pub fn new(config: Config, now_ns: i64, rng: &Rng) -> Self {
        Self(Arc::new(Mutex::new(State::new(config, now_ns, rng))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the clock, forwards or back.
    pub fn set_now_ns(&self, now_ns: i64) {
        self.state().now_ns = now_ns;
    }

    /// The clock.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        self.state().now_ns
    }

    /// Changes what kind of file system this is.
    pub fn configure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut self.state().config);
    }

    /// Makes it a disk with other rules of names, as when a directory is copied to one.
    pub fn remount(&self, folds: Folds) {
        let state = &mut *self.state();
        (state.config.folds, state.live.folds, state.durable.folds) = (folds, folds, folds);
    }

    /// Carries out a step of a user, now.
    ///
    /// # Errors
    /// As Linux gives them.
    pub fn user(&self, op: &UserOp) -> io::Result<()> {
        self.state().user(op)
    }

    /// Lets a user's steps happen right before the n-th call from now of the code under test; 1 is the next. Every call
    /// of [`Fs`], and every read, stat, write and flush of an open file is one.
    pub fn schedule(&self, nth: u64, ops: impl IntoIterator<Item = UserOp>) {
        let mut state = self.state();
        let call = state.calls + nth;
        state.scheduled.entry(call).or_default().extend(ops);
    }

    /// Carries out, now, what is scheduled and has not come yet.
    pub fn catch_up(&self) {
        let mut state = self.state();
        for op in std::mem::take(&mut state.scheduled).into_values().flatten() {
            // A step whose file is gone fails, as it would have.
            let _ = state.user(&op);
        }
    }

    /// Lets the n-th call from now fail.
    pub fn fail_nth(&self, nth: u64, fault: DiskFault) {
        let mut state = self.state();
        let call = state.calls + nth;
        state.faults.at.insert(call, fault);
    }

    /// Lets so many of a thousand calls fail with each of these.
    pub fn fail_often(&self, per_mille: Vec<(DiskFault, u64)>) {
        self.state().faults.per_mille = per_mille;
    }

    /// Takes back all faults that are to come.
    pub fn heal(&self) {
        self.state().faults.heal();
    }

    /// Takes the power away at the n-th call from now: it and all after it fail, until [`crash`](Self::crash) or
    /// [`restart`](Self::restart).
    pub fn cut_power_at(&self, nth: u64) {
        let mut state = self.state();
        state.faults.power_cut = Some(state.calls + nth);
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Loses what was not flushed, as the configured model has it. Open files and scheduled steps are gone.
    pub fn crash(&self, rng: &mut Rng) -> CrashReport {
        self.state().crash(None, rng)
    }

    /// Begins to note what the disk is after each change, and how much was recorded of a store's disk by then.
    pub fn record(&self, store: &SimDisk) {
        self.state().record(store.clone());
    }

    /// How many moments were noted.
    #[must_use]
    pub fn moments(&self) -> usize {
        self.state().recorder.as_ref().map_or(0, Recorder::len)
    }

    /// Ends that, and gives out the moments, the first of which is the beginning.
    #[must_use]
    pub fn take_moments(&self) -> Vec<Moment> {
        self.state().recorder.take().map(Recorder::into_moments).unwrap_or_default()
    }

    /// Ends the process under test and nothing else: its open files and its watch are gone, the disk stays as it is.
    pub fn restart(&self) {
        self.state().restart();
    }

    /// Puts everything on the disk, as the system does after some seconds.
    pub fn settle(&self) {
        self.state().flush_all();
    }

    /// Changes of directories, and files with bytes, that are not on the disk yet.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        self.state().log.waiting()
    }

    /// How many calls the code under test has made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Begins to watch, or begins again.
    pub fn watch(&self) {
        let state = &mut *self.state();
        state.watch.start(&state.live);
    }

    /// Sets what goes wrong with events.
    pub fn set_watch_faults(&self, faults: WatchFaults) {
        self.state().watch.faults = faults;
    }

    /// Takes the events that are due.
    #[must_use]
    pub fn events(&self) -> Vec<WatchEvent> {
        let state = &mut *self.state();
        let now_ns = state.now_ns;
        state.watch.take(&state.live, now_ns)
    }

    /// When the next event is due.
    #[must_use]
    pub fn next_event_ns(&self) -> Option<i64> {
        self.state().watch.next_due_ns()
    }

    /// Nobody answers for what this is said of any longer.
    pub fn excuse(&self, is_gone: impl Fn(&Saved) -> bool) {
        let mut state = self.state();
        for saved in state.journal.saved.iter_mut().filter(|saved| is_gone(saved)) {
            saved.excused = true;
        }
    }

    /// All complete contents that users saved.
    #[must_use]
    pub fn saved(&self) -> Vec<Saved> {
        self.state().journal.saved.clone()
    }

    /// All writes of the code under test.
    #[must_use]
    pub fn writes(&self) -> Vec<FolderWrite> {
        self.state().journal.writes.clone()
    }

    /// Lets something else stand at the root's path: another directory, or nothing; or the root again.
    pub fn replace_root(&self, instead: Option<Option<(u64, u64)>>) {
        self.state().root = instead;
    }

    /// The bytes of a file; no call of the code under test.
    #[must_use]
    pub fn read(&self, path: &RelPath) -> Option<Vec<u8>> {
        let state = self.state();
        let node = state.live.lookup(&state.live.place(path).ok()?).ok()??;
        state.live.node(node).content().map(|content| content.to_vec())
    }

    /// All bytes that rest on this file system, in the folder, in its own directory and outside.
    #[must_use]
    pub fn contents(&self) -> Vec<Arc<Vec<u8>>> {
        let state = self.state();
        let placed = state.live.nodes.values().filter(|node| node.place.is_some());
        placed.filter_map(Node::content).cloned().collect()
    }

    /// What was kept outside the folder, by name.
    #[must_use]
    pub fn kept(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let entries = state.live.entries(OUTSIDE).iter();
        let bytes = |node: &NodeId| state.live.node(*node).content().map(|content| content.to_vec());
        entries.map(|(name, node)| (durable::shown(name), bytes(node).unwrap_or_default())).collect()
    }

    /// Everything that has a path and is not in the folder's own directory, parents first.
    #[must_use]
    pub fn paths(&self) -> Vec<(RelPath, FoundKind)> {
        let state = self.state();
        let mut paths: Vec<(RelPath, FoundKind)> = state
            .live
            .below(ROOT)
            .into_iter()
            .filter_map(|node| Some((state.live.path(node)?, state.live.node(node).found(0).kind)))
            .filter(|(path, _)| !state_path().contains(path))
            .collect();
        paths.sort_by(|(a, _), (b, _)| a.cmp(b));
        paths
    }

    /// Everything but the folder's own directory, as [`disk::tree`](crate::disk::tree) shows a real one; no pipes.
    #[must_use]
    pub fn tree(&self) -> BTreeMap<PathBuf, Seen> {
        let state = self.state();
        let mut tree = BTreeMap::new();
        for id in state.live.below(ROOT) {
            let node = state.live.node(id);
            let seen = match &node.body {
                Body::Dir(_) => Seen::Dir,
                Body::File(content) => {
                    let hash = *blake3::hash(content).as_bytes();
                    Seen::File(hash, content.len() as u64, node.mode & 0o100 != 0)
                }
                Body::Link(target) => Seen::Link(OsString::from_vec(target.clone()).into()),
                Body::Pipe => continue,
            };
            let names = state.live.names(id).unwrap_or_default();
            let path: PathBuf = names.into_iter().map(OsString::from_vec).collect();
            if !path.starts_with(STATE_DIR) {
                tree.insert(path, seen);
            }
        }
        tree
    }

    fn call<T>(
        &self,
        operation: &'static str,
        path: &RelPath,
        writes: &[&RelPath],
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> Result<T, FsError> {
        let mut state = self.state();
        let result = match state.enter(operation, writes) {
            Ok(()) => run(&mut state),
            Err(fault) => failed(fault.errno()),
        };
        result.map_err(|source| FsError { operation, path: path.clone(), source })
    }
}

/// Where names go in a listing that is not sorted.
fn list_key(seed: u64, name: &[u8]) -> u64 {
    let hash = name.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    if seed == 0 { 0 } else { Rng::new(hash).next_u64() }
}

impl Fs for SimFs {
    fn look(&self, path: &RelPath) -> Result<Option<Found>, FsError> {
        self.call("look at", path, &[], |state| {
            let looked = state.live.place(path).and_then(|at| state.live.existing(&at));
            match looked {
                Ok(node) => Ok(Some(state.live.node(node).found(state.device_of(node)))),
                Err(error) => match error.raw_os_error() {
                    Some(errno::ENOENT | errno::ENOTDIR | errno::ELOOP) => Ok(None),
                    _ => Err(error),
                },
            }
        })
    }

    fn list(&self, dir: &RelPath) -> Result<Vec<Listed>, FsError> {
        self.call("list", dir, &[], |state| {
            let dir = state.live.dir(dir)?;
            state.live.may(dir, 1)?;
            let mut entries: Vec<_> = state.live.entries(dir).iter().collect();
            entries.sort_by_key(|(name, _)| list_key(state.config.list_order, name));
            let listed = entries.into_iter().map(|(name, node)| Listed {
                name: String::from_utf8(name.clone()).map_err(|_| durable::shown(name)),
                found: state.live.node(*node).found(state.device_of(*node)),
            });
            Ok(listed.collect())
        })
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn FileRead>, FsError> {
        self.call("open", path, &[], |state| {
            let node = state.live.existing(&state.live.place(path)?)?;
            if matches!(state.live.node(node).body, Body::Link(_)) {
                return failed(errno::ELOOP);
            }
            state.live.may(node, 4)?;
            state.hold(node);
            Ok(Box::new(SimRead::new(self.clone(), node, state.epoch)) as Box<dyn FileRead>)
        })
    }

    fn read_link(&self, path: &RelPath) -> Result<String, FsError> {
        self.call("read the link", path, &[], |state| {
            let node = state.live.existing(&state.live.place(path)?)?;
            match &state.live.node(node).body {
                Body::Link(target) => String::from_utf8(target.clone()).map_err(|_| io::ErrorKind::InvalidData.into()),
                _ => failed(errno::EINVAL),
            }
        })
    }

    fn make_dir(&self, path: &RelPath) -> Result<(), FsError> {
        self.call("make the directory", path, &[path], |state| {
            state.make(path, Body::Dir(BTreeMap::new()), Who::Folder).map(drop)
        })
    }

    fn make_link(&self, path: &RelPath, target: &str) -> Result<(), FsError> {
        self.call("make the link", path, &[path], |state| {
            state.make(path, Body::Link(target.into()), Who::Folder).map(drop)
        })
    }

    fn write_new(&self, path: &RelPath, bytes: &[u8], flush: bool) -> Result<(), FsError> {
        let mut state = self.state();
        let result = match state.enter("write", &[path]) {
            Ok(()) => handle::write_new(&mut state, path, bytes, flush),
            Err(fault) => handle::write_broken(&mut state, path, bytes, fault),
        };
        result.map_err(|source| FsError { operation: "write", path: path.clone(), source })
    }

    fn set_mode(&self, path: &RelPath, exec: bool, like: Option<&RelPath>, flush: bool) -> Result<(), FsError> {
        self.call("set the permissions of", path, &[path], |state| {
            let node = state.live.existing(&state.live.place(path)?)?;
            let own = state.live.node(node).mode;
            let mode = match like {
                Some(like) => state.live.node(state.live.existing(&state.live.place(like)?)?).mode,
                None => own,
            };
            let mode = if exec { mode | ((mode & 0o444) >> 2) } else { mode & !0o111 };
            if mode == own {
                return Ok(());
            }
            // A handle is opened to read, and no link is followed.
            if matches!(state.live.node(node).body, Body::Link(_)) {
                return failed(errno::ELOOP);
            }
            state.live.may(node, 4)?;
            state.chmod(node, mode, Who::Folder);
            if flush {
                state.flush_file(node);
            }
            Ok(())
        })
    }

    fn set_mtime(&self, path: &RelPath, mtime_ns: i64) -> Result<(), FsError> {
        self.call("set the time of", path, &[path], |state| state.set_time(path, mtime_ns))
    }

    fn rename_new(&self, from: &RelPath, to: &RelPath) -> Result<(), FsError> {
        self.call("rename", from, &[from, to], |state| state.rename(from, to, Rename::New, Who::Folder))
    }

    fn exchange(&self, a: &RelPath, b: &RelPath) -> Result<(), FsError> {
        self.call("exchange", a, &[a, b], |state| state.rename(a, b, Rename::Exchange, Who::Folder))
    }

    fn remove_file(&self, path: &RelPath) -> Result<(), FsError> {
        self.call("remove", path, &[path], |state| state.remove_file(path, Who::Folder))
    }

    fn remove_dir(&self, path: &RelPath) -> Result<(), FsError> {
        self.call("remove the directory", path, &[path], |state| state.remove_dir(path, Who::Folder))
    }

    fn flush_file(&self, path: &RelPath) -> Result<(), FsError> {
        self.call("flush", path, &[], |state| {
            let node = state.live.existing(&state.live.place(path)?)?;
            state.flush_file(node);
            Ok(())
        })
    }

    fn flush_dir(&self, dir: &RelPath) -> Result<(), FsError> {
        self.call("flush", dir, &[], |state| {
            let dir = state.live.dir(dir)?;
            state.flush_dir(dir);
            Ok(())
        })
    }

    fn flush_all(&self) -> Result<(), FsError> {
        self.call("flush", &RelPath::root(), &[], |state| {
            state.flush_all();
            Ok(())
        })
    }

    fn create(&self, path: &RelPath) -> Result<Box<dyn FileWrite>, FsError> {
        self.call("create", path, &[path], |state| {
            let at = state.live.place(path)?;
            let node = match state.live.lookup(&at)? {
                Some(node) => {
                    state.check_writable(node)?;
                    state.set_len(node, 0, Who::Folder)?;
                    node
                }
                None => state.make_at(&at, Body::File(Arc::default()), Who::Folder)?,
            };
            state.hold(node);
            Ok(Box::new(SimWrite::new(self.clone(), node, state.epoch, path.clone())) as Box<dyn FileWrite>)
        })
    }

    fn root_identity(&self) -> io::Result<Option<(u64, u64)>> {
        let mut state = self.state();
        match state.enter("look at", &[]) {
            Ok(()) => Ok(state.root.unwrap_or_else(|| Some((state.config.device, state.live.node(ROOT).inode)))),
            Err(fault) => failed(fault.errno()),
        }
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.state();
        Ok(Space { free: state.room(), total: state.config.capacity_bytes.unwrap_or(u64::MAX) })
    }

    fn open_for_writing(&self) -> BTreeSet<RelPath> {
        let mut state = self.state();
        if state.enter("look for writers", &[]).is_err() {
            return BTreeSet::new();
        }
        state.tell_writers()
    }

    fn folds(&self) -> Result<Folds, FsError> {
        // One that tells names apart is not asked: what it would be asked in calls is no part of any run.
        let folds = self.state().config.folds;
        if folds.any() { find_folds(self) } else { Ok(folds) }
    }

    fn claim(&self) -> bool {
        // Nobody else is on a simulated disk.
        true
    }

    fn make_state_dirs(&self) -> Result<(), FsError> {
        for path in [state_path(), temp_dir()] {
            if self.look(&path)?.is_none() {
                self.make_dir(&path)?;
            }
        }
        Ok(())
    }
}

/// Keeps files outside the folder, on the same file system.
#[derive(Debug, Clone)]
pub struct SimTrash(pub SimFs);

impl Keeper for SimTrash {
    fn keep(&mut self, file: &RelPath, was: &RelPath, _: Option<ContentHash>) -> io::Result<()> {
        let name = was.components().last().map_or("file", String::as_str);
        let kept = self.0.call("keep", file, &[file], |state| state.keep(file, name));
        kept.map_err(|error| error.source)
    }
}
