//! The state of a simulated file system, and what both the user and the code under test do to it.
//!
//! Every change goes through [`State::change`] or the writes of bytes here: they take the time, log what is not on the
//! disk yet, and tell the watcher.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use sync_core::tree::RelPath;

use super::{
    Config,
    durable::{CrashReport, Log},
    faults::{DiskFault, Faults},
    journal::{FolderWrite, Journal},
    mounts::Mounts,
    record::Recorder,
    tree::{Body, Change, Node, NodeId, OUTSIDE, Place, ROOT, Tree, errno, failed},
    user::{Fd, UserOp},
    watch::Watch,
};
use crate::sim::{image::Loss, rng::Rng};

/// Who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    User,
    Folder,
}

/// What a rename does about something that is in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rename {
    New,
    Replace,
    Exchange,
}

/// Room that a new directory takes.
const DIR_BYTES: u64 = 4096;

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) live: Tree,
    pub(super) durable: Tree,
    pub(super) log: Log,
    pub(super) now_ns: i64,
    pub(super) journal: Journal,
    pub(super) watch: Watch,
    pub(super) faults: Faults,
    pub(super) fds: BTreeMap<u64, Fd>,
    pub(super) scheduled: BTreeMap<u64, Vec<UserOp>>,
    pub(super) calls: u64,
    /// Counts crashes: handles of before one are worth nothing.
    pub(super) epoch: u64,
    pub(super) dead: bool,
    /// What stands at the root's path instead of the root, where something else does.
    pub(super) root: Option<Option<(u64, u64)>>,
    pub(super) kept: u64,
    pub(super) mounts: Mounts,
    /// All names of each file that has several.
    pub(super) links: BTreeMap<NodeId, BTreeSet<NodeId>>,
    pub(super) recorder: Option<Recorder>,
    open: BTreeMap<NodeId, u32>,
    pub(super) next_node: u64,
    pub(super) next_inode: u64,
    free_inodes: BTreeSet<u64>,
}

impl State {
    pub(super) fn new(config: Config, now_ns: i64, rng: &Rng) -> Self {
        let live = Tree::new(now_ns, config.folds);
        Self {
            config,
            durable: live.clone(),
            live,
            log: Log::default(),
            now_ns,
            journal: Journal::default(),
            watch: Watch::new(rng.fork("watch")),
            faults: Faults::new(rng.fork("faults")),
            fds: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            calls: 0,
            epoch: 0,
            dead: false,
            root: None,
            kept: 0,
            mounts: Mounts::default(),
            links: BTreeMap::new(),
            recorder: None,
            open: BTreeMap::new(),
            next_node: 2,
            next_inode: 11,
            free_inodes: BTreeSet::new(),
        }
    }

    /// Lets a little time go by, so that two steps are two.
    pub(super) const fn tick(&mut self) {
        self.now_ns += self.config.tick_ns;
    }

    /// The time as the file system writes it down.
    pub(super) const fn stamp(&self) -> i64 {
        self.now_ns - self.now_ns.rem_euclid(self.config.granularity_ns)
    }

    /// A call of the code under test begins: what is scheduled before it happens, and then its fault.
    pub(super) fn enter(&mut self, operation: &'static str, writes: &[&RelPath]) -> Result<(), DiskFault> {
        self.calls += 1;
        self.tick();
        let mut due = self.scheduled.split_off(&(self.calls + 1));
        std::mem::swap(&mut due, &mut self.scheduled);
        for op in due.into_values().flatten() {
            // A user whose step fails sees to it; the call under test is not concerned.
            let _seen_by_the_user = self.user(&op);
        }
        for path in writes {
            let write = FolderWrite { call: self.calls, operation, path: (*path).clone(), at_ns: self.now_ns };
            self.journal.writes.push(write);
        }
        if self.faults.power_cut.is_some_and(|call| self.calls >= call) {
            self.faults.power_cut = None;
            self.dead = true;
        }
        if self.dead {
            return Err(DiskFault::Io);
        }
        self.faults.at_call(self.calls, !writes.is_empty()).map_or(Ok(()), Err)
    }

    /// Something happened to a node: tells the watcher of its directory.
    pub(super) fn tell(&mut self, node: NodeId, closed: bool) {
        if let Some((dir, name)) = self.live.node(node).place.clone() {
            self.watch.tell(&self.live, dir, &name, closed, self.now_ns);
        }
    }

    pub(super) fn change(&mut self, change: Change, who: Who) {
        let now_ns = self.stamp();
        let seq = self.config.loses_power.then(|| self.log.push(change.clone(), now_ns, &self.live));
        if let Some(detached) = self.live.apply(&change, now_ns) {
            if who == Who::User {
                self.journal.end(detached, self.now_ns);
                self.forget_writers(detached);
            }
            self.let_go(detached);
        }
        if let Some(seq) = seq.filter(|_| who == Who::User && self.config.user_writes_durable) {
            self.log.commit(&mut self.durable, vec![seq]);
        }
        self.changed();
    }

    /// A node without a place goes when nobody has it open.
    fn let_go(&mut self, node: NodeId) {
        if self.open.contains_key(&node) {
            return;
        }
        self.log.forget(node);
        let was_last = self.unlink_name(node);
        if let Some(node) = self.live.nodes.remove(&node)
            && was_last
        {
            self.free_inode(node.inode);
        }
    }

    /// A number of an inode may be used for another.
    pub(super) fn free_inode(&mut self, inode: u64) {
        if self.config.reuse_inodes {
            self.free_inodes.insert(inode);
        }
    }

    pub(super) fn hold(&mut self, node: NodeId) {
        *self.open.entry(node).or_default() += 1;
    }

    pub(super) fn release(&mut self, node: NodeId) {
        let Some(count) = self.open.get_mut(&node) else { return };
        *count -= 1;
        if *count == 0 {
            self.open.remove(&node);
            if self.live.node(node).place.is_none() {
                self.let_go(node);
            }
        }
    }

    pub(super) fn make(&mut self, path: &RelPath, body: Body, who: Who) -> io::Result<NodeId> {
        let at = self.live.place(path)?;
        self.make_at(&at, body, who)
    }

    pub(super) fn make_at(&mut self, at: &Place, body: Body, who: Who) -> io::Result<NodeId> {
        Tree::check_name(at)?;
        if let Body::Link(target) = &body {
            Tree::check_link_text(target)?;
        }
        if self.live.lookup(at)?.is_some() {
            return failed(errno::EEXIST);
        }
        self.live.may(at.0, 3)?;
        let mode = match &body {
            Body::Dir(_) if self.room() < DIR_BYTES => return failed(errno::ENOSPC),
            Body::Dir(_) => 0o755,
            Body::Link(_) => 0o777,
            Body::File(_) | Body::Pipe => 0o644,
        };
        let inode = self.free_inodes.pop_first().unwrap_or(self.next_inode);
        self.next_inode = self.next_inode.max(inode + 1);
        let node = NodeId(self.next_node);
        self.next_node += 1;
        let mut new = Node::new(body, mode, inode, self.stamp());
        if !self.config.birth_times {
            new.btime_ns = 0;
        }
        self.change(Change::Make { at: at.clone(), node, new }, who);
        self.tell(node, false);
        Ok(node)
    }

    pub(super) fn remove_file(&mut self, path: &RelPath, who: Who) -> io::Result<()> {
        let at = self.live.spelled(&self.live.place(path)?);
        let node = self.live.existing(&at)?;
        self.live.may(at.0, 3)?;
        if self.live.node(node).is_dir() {
            return failed(errno::EISDIR);
        }
        self.remove(at, node, who);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &RelPath, who: Who) -> io::Result<()> {
        let at = self.live.spelled(&self.live.place(path)?);
        let node = self.live.existing(&at)?;
        self.live.may(at.0, 3)?;
        match &self.live.node(node).body {
            Body::Dir(entries) if entries.is_empty() => {}
            Body::Dir(_) => return failed(errno::ENOTEMPTY),
            _ => return failed(errno::ENOTDIR),
        }
        self.remove(at, node, who);
        Ok(())
    }

    pub(super) fn remove(&mut self, at: Place, node: NodeId, who: Who) {
        self.change(Change::Remove { at: at.clone(), node }, who);
        self.watch.tell(&self.live, at.0, &at.1, true, self.now_ns);
    }

    pub(super) fn rename(&mut self, from: &RelPath, to: &RelPath, how: Rename, who: Who) -> io::Result<()> {
        let (from, mut to) = (self.live.place(from)?, self.live.place(to)?);
        if self.device_of(from.0) != self.device_of(to.0) {
            return failed(errno::EXDEV);
        }
        let live = &self.live;
        Tree::check_name(&to)?;
        let node = live.existing(&from)?;
        let mut target = live.lookup(&to)?;
        let from = live.spelled(&from);
        match (how, target) {
            (Rename::New, Some(_)) => return failed(errno::EEXIST),
            (Rename::Exchange, None) => return failed(errno::ENOENT),
            _ => {}
        }
        if live.is_within(node, to.0) {
            return failed(errno::EINVAL);
        }
        if target.is_some_and(|target| live.is_within(target, from.0)) {
            return failed(if how == Rename::Exchange { errno::EINVAL } else { errno::ENOTEMPTY });
        }
        if target == Some(node) {
            if from == to || how == Rename::Exchange {
                return Ok(());
            }
            // The same name in other letters, as macOS does it; Linux would do nothing.
            target = None;
        } else {
            to = live.spelled(&to);
        }
        live.may(from.0, 3)?;
        live.may(to.0, 3)?;
        if let (Rename::Replace, Some(target)) = (how, target) {
            match (live.node(node).is_dir(), &live.node(target).body) {
                (true, Body::Dir(entries)) if !entries.is_empty() => return failed(errno::ENOTEMPTY),
                (false, Body::Dir(_)) => return failed(errno::EISDIR),
                (true, Body::File(_) | Body::Link(_) | Body::Pipe) => return failed(errno::ENOTDIR),
                _ => {}
            }
        }
        let change = if how == Rename::Exchange {
            Change::Exchange { a: from.clone(), b: to.clone() }
        } else {
            Change::Rename { from: from.clone(), to: to.clone(), node, replaced: target }
        };
        self.change(change, who);
        for at in [from, to] {
            self.watch.tell(&self.live, at.0, &at.1, true, self.now_ns);
        }
        Ok(())
    }

    /// A user moves something out of the folder.
    pub(super) fn move_out(&mut self, from: &RelPath, name: &str) -> io::Result<()> {
        let from = self.live.spelled(&self.live.place(from)?);
        self.carry(from, (OUTSIDE, name.as_bytes().to_vec()))
    }

    /// A user moves it in again.
    pub(super) fn move_in(&mut self, name: &str, to: &RelPath) -> io::Result<()> {
        let to = self.live.place(to)?;
        self.carry((OUTSIDE, name.as_bytes().to_vec()), to)
    }

    /// A rename into a place that is free, on one device, where both directories may be changed.
    fn carry(&mut self, from: Place, to: Place) -> io::Result<()> {
        let node = self.live.existing(&from)?;
        if self.live.lookup(&to)?.is_some() {
            return failed(errno::EEXIST);
        }
        if self.device_of(from.0) != self.device_of(to.0) {
            return failed(errno::EXDEV);
        }
        self.live.may(from.0, 3)?;
        self.live.may(to.0, 3)?;
        self.forget_writers(node);
        self.change(Change::Rename { from: from.clone(), to: to.clone(), node, replaced: None }, Who::User);
        for at in [from, to] {
            self.watch.tell(&self.live, at.0, &at.1, true, self.now_ns);
        }
        Ok(())
    }

    pub(super) fn chmod(&mut self, node: NodeId, mode: u32, who: Who) {
        self.change(Change::Mode { node, mode }, who);
        self.tell(node, false);
    }

    /// Moves a file out of the folder.
    pub(super) fn keep(&mut self, path: &RelPath, name: &str) -> io::Result<()> {
        let from = self.live.spelled(&self.live.place(path)?);
        let node = self.live.existing(&from)?;
        self.kept += 1;
        let to = (OUTSIDE, format!("{}-{name}", self.kept).into_bytes());
        self.change(Change::Rename { from: from.clone(), to, node, replaced: None }, Who::Folder);
        self.watch.tell(&self.live, from.0, &from.1, true, self.now_ns);
        Ok(())
    }

    /// Whether a node can be opened to write to it.
    pub(super) fn check_writable(&self, node: NodeId) -> io::Result<()> {
        match self.live.node(node).body {
            Body::File(_) => self.live.may(node, 2),
            Body::Dir(_) => failed(errno::EISDIR),
            Body::Link(_) => failed(errno::ELOOP),
            Body::Pipe => failed(errno::EINVAL),
        }
    }

    /// Bytes that may still be written.
    pub(super) fn room(&self) -> u64 {
        let Some(capacity) = self.config.capacity_bytes else { return u64::MAX };
        let used: u64 = self.live.nodes.values().filter_map(Node::content).map(|content| content.len() as u64).sum();
        capacity.saturating_sub(used)
    }

    /// Writes what there is room for.
    pub(super) fn write_at(&mut self, node: NodeId, offset: u64, bytes: &[u8], who: Who) -> io::Result<usize> {
        let room = self.room();
        let now_ns = self.stamp();
        let target = self.live.node_mut(node);
        let Body::File(content) = &mut target.body else { return failed(errno::EINVAL) };
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let growth = (offset + bytes.len()).saturating_sub(content.len()) as u64;
        let short = usize::try_from(growth.saturating_sub(room)).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().saturating_sub(short)];
        if bytes.is_empty() && short > 0 {
            return failed(errno::ENOSPC);
        }
        let content = Arc::make_mut(content);
        if content.len() < offset + bytes.len() {
            content.resize(offset + bytes.len(), 0);
        }
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
        (target.mtime_ns, target.ctime_ns) = (now_ns, now_ns);
        self.wrote(node, false, who);
        Ok(bytes.len())
    }

    pub(super) fn set_len(&mut self, node: NodeId, len: u64, who: Who) -> io::Result<()> {
        let now_ns = self.stamp();
        let target = self.live.node_mut(node);
        let Body::File(content) = &mut target.body else { return failed(errno::EINVAL) };
        Arc::make_mut(content).resize(usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?, 0);
        (target.mtime_ns, target.ctime_ns) = (now_ns, now_ns);
        self.wrote(node, len == 0, who);
        Ok(())
    }

    fn wrote(&mut self, node: NodeId, cut_to_nothing: bool, who: Who) {
        if self.config.loses_power {
            self.log.soil(node, cut_to_nothing);
        }
        if who == Who::User && self.config.user_writes_durable {
            self.log.flush_file(&mut self.durable, &self.live, node);
        }
        self.share_bytes(node);
        self.changed();
        self.tell(node, false);
    }

    fn flush_bytes(&mut self, node: NodeId) {
        self.log.flush_file(&mut self.durable, &self.live, node);
        self.changed();
    }

    /// Flushes the entries of a directory.
    pub(super) fn flush_dir(&mut self, dir: NodeId) {
        let model = self.config.crash;
        self.log.flush_dir(&mut self.durable, dir, model);
        self.changed();
    }

    /// Flushes a file as its owner asked for.
    pub(super) fn flush_file(&mut self, node: NodeId) {
        if self.config.crash == super::Crash::Ordered {
            let all = self.log.all();
            self.log.commit(&mut self.durable, all);
        }
        self.flush_bytes(node);
    }

    pub(super) fn flush_all(&mut self) {
        self.log.flush_all(&mut self.durable, &self.live);
        self.journal.flushed();
        self.changed();
    }

    /// The power goes and comes back; what is lost is as asked for, or left to chance.
    pub(super) fn crash(&mut self, loss: Option<Loss>, rng: &mut Rng) -> CrashReport {
        assert!(self.config.loses_power, "nobody noted what was not flushed");
        let log = std::mem::take(&mut self.log);
        let report = log.crash(&mut self.durable, &self.live, (self.config.crash, loss), rng);
        self.live = self.durable.clone();
        self.free_inodes.clear();
        self.links.clear();
        self.fds.clear();
        self.scheduled.clear();
        self.journal.crashed();
        self.restart();
        report
    }

    /// The process under test is gone, the machine is not.
    pub(super) fn restart(&mut self) {
        self.epoch += 1;
        self.dead = false;
        self.faults.power_cut = None;
        self.watch.stop();
        self.open.clear();
        let held: Vec<NodeId> = self.fds.values().map(|fd| fd.node).collect();
        for node in held {
            self.hold(node);
        }
        let nodes = self.live.nodes.iter();
        let lost = nodes.filter(|(id, node)| node.place.is_none() && **id != ROOT && **id != OUTSIDE);
        let lost: Vec<NodeId> = lost.map(|(id, _)| *id).collect();
        for node in lost {
            self.let_go(node);
        }
    }
}
