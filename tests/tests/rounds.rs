//! The rounds of a folder, run by hand: a real engine and a real disk, with a clock that only the test moves.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
};

use sync_core::{
    commit::{Item, SecretKey},
    doc::entry::{ContentRef, RootContent, RootSpec},
    engine::{Command, Effect, Engine, Input, Now, Outcome, Ticket},
    folder::{
        Base, Fs,
        apply::Keeper,
        disk::Disk,
        rounds::{
            Parts, Rounds,
            host::{Event, Host, HostError, SpaceView, Stopped, Time},
        },
    },
    ids::{ContentHash, DocId, InstallEpoch, SpaceId},
    limits,
    store::{Edit, Snapshot, Store, StoreError, Write, row::FolderRow},
    tree::RelPath,
};

/// A day in 2100: later than any time stamp of the disk, so that no file is too young to be believed.
const WALL_NS: i64 = 4_102_444_800_000_000_000;

/// One device, and the folder's view of it.
struct Device {
    engine: Engine,
    space: SpaceId,
    mono_ms: u64,
    /// What the engine was told last.
    settled: Option<u64>,
    /// Answers nothing any more.
    stopped: bool,
}

/// Nothing in these tests is displaced.
impl Keeper for Device {
    fn keep(&mut self, file: &RelPath, _: &RelPath) -> std::io::Result<()> {
        panic!("{file} was displaced")
    }
}

impl Device {
    fn new() -> Self {
        let key = SecretKey::from_bytes(&[1; 32]);
        let engine = Engine::open(Store::in_memory().expect("opens"), key, [0; 32]).expect("opens");
        let mut device = Self { engine, space: SpaceId([0; 32]), mono_ms: 1, settled: None, stopped: false };
        let founding = Command::CreateSpace {
            name: "space".into(),
            device_name: "device".into(),
            random: [7; 32],
            epoch: InstallEpoch([0; 16]),
        };
        let founded = device.turn(Input::Command { command: founding, ticket: Ticket(0) });
        let Some(Outcome::Space(space)) = founded else { panic!("a space is founded") };
        device.space = space;
        device
    }

    fn turn(&mut self, input: Input) -> Option<Outcome> {
        let now = Now { mono_ms: self.mono_ms, wall_ms: 0 };
        let effects = self.engine.turn(now, vec![input]).expect("the store in memory does not fail");
        effects.into_iter().find_map(|effect| match effect {
            Effect::Done { outcome, .. } => Some(outcome.expect("the folder's inputs are sound")),
            _ => None,
        })
    }

    /// A folder over this disk, as it is after a start.
    fn start(&mut self, folder: u32, disk: Disk) -> Rounds {
        let spaces = self.engine.store().read().expect("reads").spaces().expect("reads");
        let (space_handle, row) = spaces.into_iter().find(|(_, row)| row.id == self.space).expect("is in the space");
        let mut rounds = Rounds::new(Parts {
            folder,
            space: self.space,
            space_handle,
            replica: row.replica,
            root: disk.root_identity().expect("looks").expect("is there"),
            caught_up: true,
            fs: Arc::new(disk),
            base: Arc::new(Mutex::new(Base::default())),
            threads: 1,
        });
        rounds.recover(self).expect("the engine runs");
        rounds
    }

    /// Rounds, each when it is due, until there is nothing to do before the next scan.
    fn rest(&mut self, rounds: &mut Rounds) {
        for _ in 0..20 {
            rounds.round(self).expect("the engine runs");
            rounds.tell_settled(self);
            if self.settled.is_some() {
                return;
            }
            self.mono_ms = self.mono_ms.max(rounds.next_ms().expect("there is something to do"));
        }
        panic!("the folder does not come to rest: {:?}", rounds.report());
    }
}

impl Host for Device {
    fn now(&self) -> Time {
        Time { mono_ms: self.mono_ms, wall_ns: WALL_NS }
    }

    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.engine.store().read()
    }

    fn edit(&mut self, edits: Vec<Edit>) -> Result<Vec<usize>, HostError> {
        if self.stopped {
            return Err(Stopped.into());
        }
        match self.turn(Input::Edit { space: self.space, edits, ticket: Ticket(0) }) {
            Some(Outcome::Edited { stale, .. }) => Ok(stale),
            other => panic!("an edit is answered: {other:?}"),
        }
    }

    fn write(&mut self, writes: Vec<Write>) -> Result<(), HostError> {
        if self.stopped {
            return Err(Stopped.into());
        }
        self.turn(Input::Write { space: self.space, writes, ticket: Ticket(0) });
        Ok(())
    }

    fn space(&self) -> Option<SpaceView> {
        let space = self.engine.status().into_iter().find(|space| space.space == self.space)?;
        let named = space.name.is_some();
        Some(SpaceView { arrivals: space.arrivals, named, behind: space.behind, linked: 0, reads_only: false })
    }

    fn is_quiet(&self) -> bool {
        true
    }

    fn settled(&mut self, upto: Option<u64>) {
        self.settled = upto;
        self.turn(Input::Settled { space: self.space, upto });
    }

    fn wanted(&mut self, contents: BTreeSet<ContentHash>) {
        assert!(contents.is_empty(), "everything here is small");
    }

    fn fetch(&mut self, content: ContentRef) {
        panic!("everything here is small: {content:?}");
    }

    fn keeper(&mut self) -> &mut dyn Keeper {
        self
    }

    fn event(&mut self, event: &Event<'_>) {
        assert!(matches!(event, Event::DiskChanged { .. }), "{event:?}");
    }
}

struct Folder {
    device: Device,
    rounds: Rounds,
    handle: u32,
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let mut device = Device::new();
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = Disk::open(dir.path()).expect("opens");
        let path = dir.path().to_str().expect("is text").to_owned();
        let root = disk.root_identity().expect("looks").expect("is there");
        let row = FolderRow { space: device.space, path, name: "folder".into(), root, caught_up: true };
        let added = device.turn(Input::Command { command: Command::AddFolder { row }, ticket: Ticket(0) });
        let Some(Outcome::Folder(handle)) = added else { panic!("a folder is added") };
        let rounds = device.start(handle, disk);
        Self { device, rounds, handle, dir }
    }

    fn hint(&mut self, path: &str) {
        let path = RelPath::parse(path).expect("a path of a test");
        self.rounds.hint(path, false, self.device.mono_ms);
    }

    fn rest(&mut self) {
        self.device.rest(&mut self.rounds);
    }

    fn restart(&mut self) {
        let disk = Disk::open(self.dir.path()).expect("opens");
        self.device.stopped = false;
        self.device.settled = None;
        self.rounds = self.device.start(self.handle, disk);
    }
}

#[test]
fn a_folder_that_only_the_test_drives_follows_disk_and_documents() {
    let mut folder = Folder::new();
    fs::write(folder.dir.path().join("mine"), "one").expect("writes");
    folder.rest();
    assert_eq!(folder.device.engine.documents(&folder.device.space).len(), 1);
    assert_eq!(folder.rounds.report().files, 1);

    // As a peer's would, a commit that the folder did not make shows on disk.
    let content = RootContent::Inline(b"two".to_vec());
    let root = RootSpec::file(folder.device.space, None, "theirs", content).build();
    let doc = DocId::from(root.hash);
    let edit = Edit { items: vec![Item::Change { doc, bytes: root.bytes }], writes: Vec::new() };
    folder.device.edit(vec![edit]).expect("the engine runs");
    folder.rounds.documents_changed([doc]);
    folder.device.settled = None;
    folder.rest();
    assert_eq!(fs::read(folder.dir.path().join("theirs")).expect("reads"), b"two");

    // A file that vanished is awaited, by the clock of the host alone.
    fs::remove_file(folder.dir.path().join("mine")).expect("removes");
    let before = folder.device.mono_ms;
    folder.hint("mine");
    folder.rounds.round(&mut folder.device).expect("the engine runs");
    folder.rounds.tell_settled(&mut folder.device);
    assert_eq!((folder.device.settled, folder.rounds.next_ms()), (None, Some(before + limits::SETTLE_MS)));
    folder.rest();
    assert_eq!(folder.device.mono_ms, before + limits::VANISH_MS);
    assert_eq!(folder.rounds.report().files, 1);
    assert!(folder.rounds.report().problems.is_empty());
}

#[test]
fn a_round_that_the_engine_stops_is_made_up_for_after_a_restart() {
    let mut folder = Folder::new();
    folder.rest();
    fs::write(folder.dir.path().join("file"), "one").expect("writes");
    folder.hint("file");
    folder.device.mono_ms += limits::SETTLE_MS;
    folder.device.stopped = true;
    assert_eq!(folder.rounds.round(&mut folder.device), Err(Stopped));
    assert_eq!(folder.device.engine.documents(&folder.device.space).len(), 0);
    folder.restart();
    folder.rest();
    assert_eq!(folder.device.engine.documents(&folder.device.space).len(), 1);
    folder.restart();
    folder.rest();
    assert_eq!(folder.device.engine.documents(&folder.device.space).len(), 1);
    assert_eq!(fs::read(folder.dir.path().join("file")).expect("reads"), b"one");
}

#[test]
fn a_folder_whose_directory_is_another_one_stands_still() {
    let mut folder = Folder::new();
    fs::write(folder.dir.path().join("file"), "one").expect("writes");
    folder.rest();
    let path = folder.dir.path().join(".kith/folder");
    fs::write(path, "somebody else's\n").expect("writes");
    fs::remove_file(folder.dir.path().join("file")).expect("removes");
    folder.rounds.rescan();
    folder.rounds.round(&mut folder.device).expect("the engine runs");
    folder.rounds.tell_settled(&mut folder.device);
    let report = folder.rounds.report();
    assert_eq!(report.halted.as_deref(), Some("its directory belongs to another folder"));
    assert_eq!((report.files, folder.device.settled), (1, None));
    assert_eq!(folder.rounds.next_ms(), None);
}
