//! A file system within the folder that goes away and comes back, on the simulated file system: case 84 of
//! docs/folder-semantics.md.
//!
//! One device, looked at in chosen moments, as in `rounds`; what its peers do comes as commits. A real disk of this kind is in
//! `folder_cases`.

use std::{collections::BTreeMap, sync::Arc};

use sync_core::{
    doc::entry::Entry,
    engine::{Command, Input, Outcome, Ticket},
    folder::{
        Fs as _,
        rounds::{Rounds, host::Host as _, restoring::Asked},
    },
    ids::DocId,
    limits,
    store::{Edit, row::FolderRow},
    tree::RelPath,
};
use sync_tests::{
    author,
    sim::{
        fs::{Config, OpenHow, SimFs, UserOp, WatchEvent},
        rng::Rng,
    },
};

use crate::rounds::Device;

const START_NS: i64 = 1_700_000_000_000_000_000;
/// Numbers of file systems that are mounted.
const STICK: u64 = 5;
const RENUMBERED: u64 = 6;

struct Folder {
    device: Device,
    rounds: Rounds,
    handle: u32,
    fs: SimFs,
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).expect("a path of a test")
}

impl Folder {
    fn new(config: Config) -> Self {
        let mut device = Device::new();
        let fs = SimFs::new(config, START_NS, &Rng::new(1));
        let root = fs.root_identity().expect("looks").expect("is there");
        let row = FolderRow { space: device.space, path: "/f".into(), name: "f".into(), root, caught_up: true };
        let added = device.turn(Input::Command { command: Command::AddFolder { row }, ticket: Ticket(0) });
        let Some(Outcome::Folder(handle)) = added else { panic!("a folder is added") };
        let rounds = device.start(handle, &Arc::new(fs.clone()));
        fs.watch();
        Self { device, rounds, handle, fs }
    }

    /// One that has `plain` beside a stick at `d/stick` with `a` and `sub/b` on it.
    fn with_stick(config: Config) -> Self {
        let mut folder = Self::new(config);
        folder.save("plain", "plain\n");
        folder.user(UserOp::MakeDir(path("d")));
        folder.user(UserOp::MakeDir(path("d/stick")));
        folder.fs.mount(&path("d/stick"), STICK).expect("mounts");
        folder.save("d/stick/a", "of the stick\n");
        folder.user(UserOp::MakeDir(path("d/stick/sub")));
        folder.save("d/stick/sub/b", "deep\n");
        folder.calm();
        assert_eq!(folder.troubles(), [""; 0]);
        assert!(folder.device.settled.is_some());
        folder
    }

    fn user(&mut self, op: UserOp) {
        self.fs.user(&op).expect("the user can do that");
        for event in self.fs.events() {
            if let WatchEvent::Hint { path, closed } = event {
                self.rounds.hint(path, closed, self.device.mono_ms);
            }
        }
    }

    fn save(&mut self, at: &str, text: &str) {
        for op in [
            UserOp::Open { fd: 1, path: path(at), how: OpenHow::Truncate },
            UserOp::Write { fd: 1, bytes: text.into() },
            UserOp::Close { fd: 1 },
        ] {
            self.user(op);
        }
    }

    /// A peer makes a file.
    fn peer_makes(&mut self, dir: DocId, name: &str) {
        let (doc, item) = author::create(self.device.space, Some(dir), name, Some("of a peer\n"));
        self.device.edit(vec![Edit { items: vec![item], writes: Vec::new() }]).expect("the engine runs");
        self.rounds.documents_changed([doc]);
    }

    /// Rounds until nothing more is due soon.
    fn calm(&mut self) {
        for _ in 0..40 {
            self.rounds.round(&mut self.device).expect("the engine runs");
            self.rounds.tell_settled(&mut self.device);
            let next_ms = self.rounds.next_ms().expect("the folder is caught up");
            if next_ms > self.device.mono_ms + limits::SETTLE_MS_MAX {
                return;
            }
            self.device.mono_ms = self.device.mono_ms.max(next_ms);
        }
        panic!("the folder does not calm down: {:?}", self.rounds.report());
    }

    /// So long that the tops of file systems are looked at.
    fn after_a_while(&mut self) {
        self.device.mono_ms += limits::HALTED_EVERY_MS;
        self.calm();
    }

    fn scan(&mut self) {
        self.rounds.rescan();
        self.calm();
    }

    /// The process ends and starts again.
    fn restart(&mut self) {
        self.fs.restart();
        self.device.settled = None;
        self.rounds = self.device.start(self.handle, &Arc::new(self.fs.clone()));
        self.fs.watch();
        self.calm();
    }

    fn commits(&self) -> u64 {
        self.device.engine.status()[0].arrivals
    }

    fn entries(&self) -> BTreeMap<DocId, Entry> {
        author::entries(&self.device.engine, &self.device.space).expect("reads")
    }

    fn named(&self, name: &str) -> DocId {
        let entries = self.entries();
        let found = entries.iter().find(|(_, entry)| entry.name == name && entry.alive);
        *found.unwrap_or_else(|| panic!("nobody is called {name}: {entries:?}")).0
    }

    /// Names of what lives in the documents.
    fn alive(&self) -> Vec<String> {
        let mut alive: Vec<String> =
            self.entries().into_values().filter(|entry| entry.alive).map(|entry| entry.name).collect();
        alive.sort();
        alive
    }

    /// Where there are problems.
    fn troubles(&self) -> Vec<String> {
        self.rounds.report().problems.into_iter().map(|problem| problem.path.to_string()).collect()
    }

    #[track_caller]
    fn stands_still_at(&self, at: &str) {
        let report = self.rounds.report();
        let problem = report.problems.iter().find(|problem| problem.path == path(at));
        let problem = problem.unwrap_or_else(|| panic!("nothing is said of {at}: {report:?}"));
        assert!(problem.reason.contains("not mounted") && problem.reason.contains("kith folder gone"), "{problem:?}");
        assert_eq!(self.device.settled, None, "the disk does not have everything");
    }

    fn is_there(&self, at: &str) -> bool {
        self.fs.look(&path(at)).expect("looks").is_some()
    }
}

#[test]
fn a_mount_that_goes_away_deletes_nothing_and_goes_on_when_it_is_back() {
    for (birth_times, device) in [(true, STICK), (true, RENUMBERED), (false, STICK), (false, RENUMBERED)] {
        let mut folder = Folder::with_stick(Config { birth_times, ..Config::default() });
        let commits = folder.commits();
        let stick = folder.named("stick");
        folder.fs.unmount(&path("d/stick")).expect("is mounted");
        // A program writes where nothing is mounted, and a peer has something new for that place.
        folder.save("d/stick/below", "under the mount point\n");
        folder.peer_makes(stick, "new");
        folder.peer_makes(folder.named("d"), "beside");
        folder.calm();
        folder.stands_still_at("d/stick");
        assert!(folder.is_there("d/beside"), "all else goes on");
        assert!(!folder.is_there("d/stick/new"), "it would be under the mount point");
        assert_eq!(folder.commits(), commits + 2, "both of the peer");
        folder.scan();
        folder.restart();
        folder.save("plain", "edited\n");
        folder.calm();
        folder.stands_still_at("d/stick");
        assert_eq!(folder.commits(), commits + 3);
        assert_eq!(folder.rounds.report().held, sync_core::folder::rounds::Held::default());

        folder.fs.mount(&path("d/stick"), device).expect("mounts");
        folder.after_a_while();
        assert!(folder.rounds.came_back());
        assert_eq!(folder.commits(), commits + 3, "nothing on it changed");
        // What a peer makes on another file system than the folder's cannot be put there in one step.
        assert_eq!(folder.troubles(), ["d/stick/new"]);
        assert!(!folder.is_there("d/stick/below"));
        folder.save("d/stick/a", "edited\n");
        folder.user(UserOp::Remove(path("d/stick/sub/b")));
        folder.calm();
        assert_eq!(folder.commits(), commits + 5, "an edit and a delete of the user are what they were always");
        assert_eq!(folder.alive(), ["a", "beside", "d", "new", "plain", "stick", "sub"]);
    }
}

#[test]
fn what_is_deleted_while_a_file_system_is_mounted_is_deleted() {
    let mut folder = Folder::with_stick(Config::default());
    folder.user(UserOp::Remove(path("d/stick/sub/b")));
    folder.user(UserOp::RemoveDir(path("d/stick/sub")));
    folder.user(UserOp::Remove(path("d/stick/a")));
    folder.calm();
    assert_eq!(folder.alive(), ["d", "plain", "stick"]);
    // Empty it says nothing: its directory is one of the folder again.
    folder.fs.unmount(&path("d/stick")).expect("is mounted");
    folder.after_a_while();
    assert_eq!(folder.troubles(), [""; 0]);
    folder.peer_makes(folder.named("stick"), "new");
    folder.calm();
    assert!(folder.is_there("d/stick/new"));
}

#[test]
fn a_mount_point_that_goes_with_its_file_system_deletes_nothing() {
    for above in [false, true] {
        let mut folder = Folder::with_stick(Config::default());
        let commits = folder.commits();
        folder.fs.unmount(&path("d/stick")).expect("is mounted");
        folder.user(UserOp::RemoveDir(path("d/stick")));
        if above {
            folder.user(UserOp::RemoveDir(path("d")));
        }
        // A late word of the watcher, too.
        folder.rounds.hint(path("d/stick/a"), true, folder.device.mono_ms);
        folder.calm();
        folder.scan();
        let top = if above { "d" } else { "d/stick" };
        folder.stands_still_at(top);
        folder.peer_makes(folder.named("sub"), "new");
        folder.calm();
        assert_eq!(folder.commits(), commits + 1, "of the peer alone");
        assert!(!folder.is_there(top));
        let asked = folder.rounds.let_go(&mut folder.device, &path("d/stick/sub")).expect("the engine runs");
        assert!(matches!(asked, Asked::Refused(_)), "{asked:?}");
        let asked = folder.rounds.let_go(&mut folder.device, &path(top)).expect("the engine runs");
        assert_eq!(asked, Asked::Done(2));
        folder.calm();
        assert_eq!(folder.troubles(), [""; 0]);
        let alive = folder.alive();
        assert!(!alive.iter().any(|name| name == "a" || name == "b"), "{alive:?}");
        assert!(folder.is_there("d/stick/sub/new"), "these are the folder's own directories now");
    }
}

#[test]
fn what_was_on_a_file_system_that_never_comes_back_goes_at_a_word_and_comes_back_with_it() {
    let mut folder = Folder::with_stick(Config::default());
    folder.fs.unmount(&path("d/stick")).expect("is mounted");
    folder.after_a_while();
    folder.stands_still_at("d/stick");
    let asked = folder.rounds.let_go(&mut folder.device, &path("d/stick")).expect("the engine runs");
    assert_eq!(asked, Asked::Done(2));
    folder.calm();
    assert_eq!(folder.alive(), ["d", "plain", "stick"], "the mount point is still a directory");
    assert_eq!(folder.troubles(), [""; 0]);
    assert!(folder.device.settled.is_some());
    folder.peer_makes(folder.named("stick"), "new");
    folder.calm();
    assert!(folder.is_there("d/stick/new"), "it is one of the folder's own directories now");
    // It was not lost after all: what is on it is there for everybody, and what it covers is not deleted.
    folder.fs.mount(&path("d/stick"), STICK).expect("mounts");
    folder.scan();
    folder.stands_still_at("d/stick");
    assert!(folder.alive().contains(&"new".to_owned()));
}

#[test]
fn a_file_system_that_is_mounted_over_files_deletes_none_of_them() {
    let mut folder = Folder::new(Config::default());
    folder.user(UserOp::MakeDir(path("d")));
    folder.save("d/a", "one\n");
    folder.calm();
    let commits = folder.commits();
    folder.fs.mount(&path("d"), STICK).expect("mounts");
    folder.rounds.hint(path("d/a"), true, folder.device.mono_ms);
    folder.calm();
    folder.scan();
    folder.stands_still_at("d");
    assert_eq!(folder.commits(), commits);
    folder.fs.unmount(&path("d")).expect("is mounted");
    folder.after_a_while();
    assert_eq!((folder.commits(), folder.troubles().len()), (commits, 0));
    assert!(folder.device.settled.is_some());
    // One that holds the same files takes their place.
    folder.fs.lose_unmounted(&path("d")).expect("is there");
    folder.fs.mount(&path("d"), RENUMBERED).expect("mounts");
    folder.save("d/a", "one\n");
    folder.scan();
    assert_eq!((folder.commits(), folder.troubles().len()), (commits, 0));
}
