//! The thread of one folder: owns its rounds, hands them what comes by mail, and waits between them.
//!
//! All that decides lives in `sync_core::folder::rounds`. Here is its host: the way to the engine, to fetching, to the
//! clock and to the trash.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use sync_core::{
    doc::entry::ContentRef,
    engine::{Command, Input},
    folder::{
        Fs,
        apply::Keeper,
        rounds::{
            Parts, Report, Rounds,
            host::{Event, Host, HostError, SpaceView, Stopped, Time},
        },
    },
    ids::{ContentHash, ReplicaId, SpaceId},
    limits,
    member::Role,
    probe::reach,
    store::{Edit, Snapshot, StoreError, Write, row::FolderRow},
    tree::{Folds, RelPath},
};
use tracing::{debug, error, warn};

use super::{
    FolderReport, FolderShared, HeldDecision, Hint, Mail, Mailbox,
    requests::{Request, Waiting},
    trash::Trash,
    watching::{Look, Watching},
};
use crate::{
    actor::{EngineHandle, lock},
    clock::Clock,
    content::{Fetcher, Wanted},
    error::NodeError,
    status::{ConflictStatus, ProblemStatus},
};

/// Threads that read files of one folder: hashing is most of an import, and an import is not all that a machine does.
const READERS: usize = 2;
/// How often a folder looks around that does not know what it waits for.
const IDLE: Duration = Duration::from_secs(1);

/// Everything that a folder's thread starts with.
#[derive(Debug, Clone)]
pub(crate) struct WorkerParts {
    pub(crate) folder: u32,
    pub(crate) row: FolderRow,
    pub(crate) space_handle: u32,
    pub(crate) replica: ReplicaId,
    pub(crate) engine: EngineHandle,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shared: Arc<FolderShared>,
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) clock: Clock,
}

impl WorkerParts {
    /// Works until the mailbox is stopped. What ends by a fault of this program begins anew after a while: the folder
    /// stands still meanwhile, and says so.
    fn keep_running(mut self) {
        loop {
            let parts = self.clone();
            // Whatever was left halfway is on the disk and in the store, where the next one finds it as after a crash.
            let ended = catch_unwind(AssertUnwindSafe(|| Worker::new(parts).run()));
            // That the engine stopped is no news: whoever stopped it ends this thread too.
            if ended.is_ok() || !self.rest() {
                return;
            }
            self.refresh();
        }
    }

    /// Waits after a fault. False when the folder is to end.
    fn rest(&self) -> bool {
        error!(folder = self.row.name, "a folder's thread ended by a fault: it begins anew");
        {
            let mut report = lock(&self.shared.report);
            report.halted = Some("its work ended by a fault of this program, and begins anew in a moment".into());
            (report.sees_cookies, report.told_all, report.polled) = (false, false, None);
        }
        // What was said of the disk before is not known any more.
        self.engine.send_blocking(Input::Settled { handle: self.space_handle, upto: None });
        let until_ms = self.clock.mono_ms() + limits::HALTED_EVERY_MS;
        while self.clock.mono_ms() < until_ms {
            // Whatever comes is seen by the scan that the next one begins with.
            let mail = self.mailbox.take(self.clock.until(until_ms));
            self.mailbox.reported();
            if mail.stop {
                return false;
            }
        }
        true
    }

    /// Follows what became of the folder since it was started.
    fn refresh(&mut self) {
        self.row.caught_up = lock(&self.shared.report).caught_up;
        let spaces = self.engine.store.read().and_then(|snapshot| snapshot.spaces());
        match spaces.map(|spaces| spaces.into_iter().find(|(_, row)| row.id == self.row.space)) {
            Ok(Some((handle, row))) => (self.space_handle, self.replica) = (handle, row.replica),
            Ok(None) => warn!(space = self.row.space.short(), "a folder's space is gone"),
            Err(error) => error!(%error, "a folder cannot find its space"),
        }
    }
}

/// The folder's thread.
pub(crate) struct Worker {
    rounds: Rounds,
    node: Node,
    watching: Watching,
    /// Where directories may have come, and whether such words were lost, since the last round.
    directories: BTreeSet<RelPath>,
    lost: bool,
    /// What people asked for and have no answer to yet.
    waiting: Waiting,
    /// When what is kept is looked through again.
    sweep_ms: u64,
}

impl Worker {
    /// Starts the thread; it works until its mailbox is stopped.
    pub(crate) fn start(parts: WorkerParts) -> std::io::Result<std::thread::JoinHandle<()>> {
        std::thread::Builder::new().name("kith-folder".into()).spawn(move || parts.keep_running())
    }

    fn new(parts: WorkerParts) -> Self {
        let WorkerParts { folder, row, space_handle, replica, engine, mailbox, shared, fetcher, clock } = parts;
        let watching = Watching::new(shared.disk.path().to_owned(), Arc::clone(&mailbox));
        let rounds = Rounds::new(Parts {
            folder,
            space: row.space,
            space_handle,
            replica,
            root: row.root,
            caught_up: row.caught_up,
            fs: Arc::clone(&shared.disk) as Arc<dyn Fs>,
            base: Arc::clone(&shared.base),
            threads: READERS,
            hold_above: limits::HOLD_ENTRIES_MIN,
        });
        let trash = Trash { kept: Arc::clone(&shared.kept), root: shared.disk.path().to_owned() };
        let node = Node { space: row.space, engine, mailbox, shared, fetcher, trash, clock };
        let sweep_ms = clock.mono_ms() + limits::KEPT_SWEEP_EVERY_MS;
        let (directories, waiting) = (BTreeSet::new(), Waiting::default());
        Self { rounds, node, watching, directories, lost: false, waiting, sweep_ms }
    }

    fn run(mut self) -> Result<(), Stopped> {
        self.rounds.recover(&mut self.node)?;
        loop {
            self.report();
            let pause = self.rounds.next_ms().map_or(IDLE, |next| self.node.clock.until(next));
            let pause = pause.min(self.node.clock.until(self.sweep_ms));
            let watching = self.watching.next_ms().filter(|_| !self.rounds.is_halted());
            let pause = watching.map_or(pause, |next| pause.min(self.node.clock.until(next)));
            let mail = self.node.mailbox.take(self.waiting.shorten(pause));
            if mail.stop {
                return Ok(());
            }
            self.hand_over(mail)?;
            reach("folder.round");
            self.look_around();
            self.rounds.round(&mut self.node)?;
            if self.rounds.came_back() {
                // Directories of a file system that is mounted again are new to the watcher, and nobody told of them.
                self.lost = true;
                self.rounds.rescan();
            }
            let now_ms = self.node.clock.mono_ms();
            self.watching.looked(now_ms);
            self.waiting.answer(&mut self.rounds, &mut self.node, now_ms)?;
            if sweep_is_due(&mut self.sweep_ms, now_ms)
                && let Err(error) = self.node.shared.kept.sweep()
            {
                debug!(%error, "what is kept was not swept");
            }
        }
    }

    /// Sees to it that everything is watched, before it is looked at; and looks where nothing is told.
    fn look_around(&mut self) {
        let (directories, lost) = (std::mem::take(&mut self.directories), std::mem::take(&mut self.lost));
        if self.rounds.is_halted() {
            self.watching.stop();
            return;
        }
        let now_ms = self.node.clock.mono_ms();
        match self.watching.keep_up(directories, lost, now_ms) {
            Look::Nowhere => {}
            Look::Into(paths) => paths.into_iter().for_each(|path| self.rounds.hint(path, true, now_ms)),
            Look::Everywhere => self.rounds.rescan(),
        }
    }

    fn hand_over(&mut self, mail: Mail) -> Result<(), Stopped> {
        if mail.rebuilt {
            self.restart();
        }
        self.rounds.documents_changed(mail.docs);
        for content in mail.fetched {
            self.rounds.fetched(content);
        }
        let now_ms = self.node.clock.mono_ms();
        for Hint { path, closed } in mail.hints {
            self.rounds.hint(path, closed, now_ms);
        }
        if mail.rescan {
            self.rounds.rescan();
        }
        self.directories.extend(mail.directories);
        self.lost |= mail.lost;
        let requests: Vec<Request> = mail.requests;
        self.waiting.extend(requests, now_ms);
        match mail.decision {
            Some(HeldDecision::Approve) => self.rounds.approve(now_ms),
            Some(HeldDecision::Reject) => self.rounds.reject(&mut self.node)?,
            None => {}
        }
        Ok(())
    }

    /// Follows the space to where it is after it was built again.
    fn restart(&mut self) {
        let spaces = self.node.engine.store.read().and_then(|snapshot| snapshot.spaces());
        match spaces.map(|spaces| spaces.into_iter().find(|(_, row)| row.id == self.node.space)) {
            Ok(Some((handle, row))) => self.rounds.restart(&mut self.node, handle, row.replica),
            Ok(None) => warn!(space = self.node.space.short(), "a folder's space is gone"),
            Err(error) => error!(%error, "a folder cannot find its space"),
        }
    }

    fn report(&mut self) {
        let report = shown(self.rounds.report(), &self.watching);
        *lock(&self.node.shared.report) = report;
        self.node.mailbox.reported();
        self.rounds.tell_settled(&mut self.node);
    }
}

/// A report as the node tells it.
fn shown(report: Report, watching: &Watching) -> FolderReport {
    let conflicts = report.conflicts.into_iter();
    let problems = report.problems.into_iter();
    let hidden = report.hidden.into_iter();
    FolderReport {
        files: report.files,
        bytes: report.bytes,
        files_wanted: report.files_wanted,
        conflicts: conflicts
            .map(|(path, kind)| ConflictStatus { path: path.to_string(), kind: kind.to_string() })
            .collect(),
        problems: problems
            .map(|problem| ProblemStatus { path: problem.path.to_string(), reason: problem.reason })
            .chain(hidden.map(|(name, fault)| ProblemStatus { path: name, reason: fault.to_string() }))
            .collect(),
        busy: report.busy,
        lacking: report.lacking,
        halted: report.halted,
        held: report.held,
        caught_up: report.caught_up,
        sees_cookies: watching.sees_cookies(),
        told_all: watching.tells_all(),
        polled: watching.polled(),
    }
}

/// The node as the rounds of one folder see it.
struct Node {
    space: SpaceId,
    engine: EngineHandle,
    mailbox: Arc<Mailbox>,
    shared: Arc<FolderShared>,
    fetcher: Arc<Fetcher>,
    trash: Trash,
    clock: Clock,
}

impl Host for Node {
    fn now(&self) -> Time {
        Time { mono_ms: self.clock.mono_ms(), wall_ns: self.clock.wall_ns() }
    }

    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.engine.store.read()
    }

    fn edit(&mut self, edits: Vec<Edit>) -> Result<Vec<usize>, HostError> {
        self.engine.edit_blocking(self.space, edits).map_err(host_error)
    }

    fn write(&mut self, writes: Vec<Write>) -> Result<(), HostError> {
        self.engine.write_blocking(self.space, writes).map_err(host_error)
    }

    fn tell_disk(&mut self, folds: Folds) -> Result<(), HostError> {
        self.engine.command_blocking(Command::TellDisk { space: self.space, folds }).map(drop).map_err(host_error)
    }

    fn space(&self) -> Option<SpaceView> {
        let status = self.engine.status();
        let status = status.borrow();
        let space = status.spaces.iter().find(|space| space.space == self.space)?;
        Some(SpaceView {
            arrivals: space.arrivals,
            named: space.name.is_some(),
            behind: space.behind,
            linked: space.peers.iter().filter(|peer| peer.linked).count(),
            reads_only: space.role == Some(Role::Reader),
            folds: space.folds,
            own_folds: space.own_folds,
        })
    }

    fn is_quiet(&self) -> bool {
        self.mailbox.is_empty()
    }

    fn settled(&mut self, handle: u32, upto: Option<u64>) {
        self.engine.send_blocking(Input::Settled { handle, upto });
    }

    fn wanted(&mut self, contents: BTreeSet<ContentHash>) {
        self.mailbox.want(contents);
    }

    fn fetch(&mut self, content: ContentRef) {
        self.fetcher.fetch(Wanted {
            space: self.space,
            content,
            folder: Arc::clone(&self.shared),
            mailbox: Arc::clone(&self.mailbox),
        });
    }

    fn keeper(&mut self) -> &mut dyn Keeper {
        &mut self.trash
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::DiskChanged { made, moved, touched, gone } => {
                debug!(made, moved, touched, gone, "the disk changed");
            }
            Event::Unreadable { doc, error } => error!(doc = doc.short(), %error, "a document cannot be read"),
            Event::CannotStart(error) => error!(%error, "a folder cannot start"),
            Event::RoundFailed(error) => warn!(%error, "a folder's round did not end well"),
            _ => {}
        }
    }
}

fn host_error(error: NodeError) -> HostError {
    match error {
        NodeError::Stopped => Stopped.into(),
        NodeError::Store(error) => error.into(),
        other => HostError::Failed(other.to_string()),
    }
}

/// Whether what is kept is to be looked through now; then it is again after a while.
const fn sweep_is_due(sweep_ms: &mut u64, now_ms: u64) -> bool {
    let is_due = now_ms >= *sweep_ms;
    if is_due {
        *sweep_ms = now_ms + limits::KEPT_SWEEP_EVERY_MS;
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_looked_through_when_its_time_has_come() {
        let mut sweep_ms = 1;
        assert!(!sweep_is_due(&mut sweep_ms, 0));
        assert!(sweep_is_due(&mut sweep_ms, 1));
        assert!(!sweep_is_due(&mut sweep_ms, limits::KEPT_SWEEP_EVERY_MS));
        assert!(sweep_is_due(&mut sweep_ms, 1 + limits::KEPT_SWEEP_EVERY_MS));
    }
}
