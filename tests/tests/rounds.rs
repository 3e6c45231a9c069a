//! The rounds of a folder, run by hand: a real engine and a real disk, with a clock that only the test moves.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
};

use sync_core::{
    commit::{Item, SecretKey},
    doc::{
        entry::{ContentRef, RootContent, RootSpec},
        probe,
    },
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
    ids::{ChangeHash, ContentHash, DocId, InstallEpoch, SpaceId},
    limits,
    preflight::ChangeHead,
    store::{Edit, Snapshot, Store, StoreError, Write, row::FolderRow},
    tree::{Folds, RelPath, View},
};
use sync_tests::author;

/// A day in 2100: later than any time stamp of the disk, so that no file is too young to be believed.
const WALL_NS: i64 = 4_102_444_800_000_000_000;

/// One device, and the folder's view of it.
pub(crate) struct Device {
    pub(crate) engine: Engine,
    pub(crate) space: SpaceId,
    pub(crate) mono_ms: u64,
    /// The clock that the disk's time stamps are of.
    pub(crate) wall_ns: i64,
    /// What the engine was told last.
    pub(crate) settled: Option<u64>,
    stopped: bool,
    /// Documents that the folder could not read.
    unreadable: Vec<DocId>,
    /// How many edits came at once, each time.
    edits: Vec<usize>,
    pub(crate) disk_fails: bool,
    /// What the folder's directory was when it was added, if it is another now.
    pub(crate) root: Option<(u64, u64)>,
}

/// Nothing in these tests is displaced.
impl Keeper for Device {
    fn keep(&mut self, file: &RelPath, _: &RelPath, _: Option<ContentHash>) -> std::io::Result<()> {
        panic!("{file} was displaced")
    }
}

impl Device {
    pub(crate) fn new() -> Self {
        let key = SecretKey::from_bytes(&[1; 32]);
        let engine = Engine::open(Store::in_memory().expect("opens"), key, [0; 32]).expect("opens");
        let mut device = Self {
            engine,
            space: SpaceId([0; 32]),
            mono_ms: 1,
            wall_ns: WALL_NS,
            settled: None,
            root: None,
            stopped: false,
            unreadable: Vec::new(),
            edits: Vec::new(),
            disk_fails: false,
        };
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

    pub(crate) fn turn(&mut self, input: Input) -> Option<Outcome> {
        let now = Now { mono_ms: self.mono_ms, wall_ms: 0 };
        let effects = self.engine.turn(now, vec![input]).expect("the store in memory does not fail");
        effects.into_iter().find_map(|effect| match effect {
            Effect::Done { outcome, .. } => Some(outcome.expect("the folder's inputs are sound")),
            _ => None,
        })
    }

    /// A folder over this disk, as it is after a start.
    pub(crate) fn start(&mut self, folder: u32, disk: &Arc<impl Fs + 'static>) -> Rounds {
        let spaces = self.engine.store().read().expect("reads").spaces().expect("reads");
        let (space_handle, row) = spaces.into_iter().find(|(_, row)| row.id == self.space).expect("is in the space");
        let mut rounds = Rounds::new(Parts {
            folder,
            space: self.space,
            space_handle,
            replica: row.replica,
            root: self.root.unwrap_or_else(|| disk.root_identity().expect("looks").expect("is there")),
            caught_up: true,
            fs: Arc::clone(disk) as Arc<dyn Fs>,
            base: Arc::new(Mutex::new(Base::default())),
            threads: 1,
            hold_above: sync_core::limits::HOLD_ENTRIES_MIN,
        });
        rounds.recover(self).expect("the engine runs");
        rounds
    }

    /// Rounds, each when it is due, until there is nothing to do before the next scan.
    pub(crate) fn rest(&mut self, rounds: &mut Rounds) {
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
        Time { mono_ms: self.mono_ms, wall_ns: self.wall_ns }
    }

    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.engine.store().read()
    }

    fn edit(&mut self, edits: Vec<Edit>) -> Result<Vec<usize>, HostError> {
        if self.stopped {
            return Err(Stopped.into());
        }
        self.edits.push(edits.len());
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

    fn tell_disk(&mut self, folds: Folds) -> Result<(), HostError> {
        let command = Command::TellDisk { space: self.space, folds };
        self.turn(Input::Command { command, ticket: Ticket(0) });
        Ok(())
    }

    fn space(&self) -> Option<SpaceView> {
        let space = self.engine.status().into_iter().find(|space| space.space == self.space)?;
        let named = space.name.is_some();
        Some(SpaceView {
            arrivals: space.arrivals,
            named,
            behind: space.behind,
            linked: 0,
            reads_only: false,
            folds: space.folds,
            own_folds: space.own_folds,
        })
    }

    fn is_quiet(&self) -> bool {
        true
    }

    fn settled(&mut self, handle: u32, upto: Option<u64>) {
        self.settled = upto;
        self.turn(Input::Settled { handle, upto });
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
        match event {
            Event::DiskChanged { .. } => {}
            Event::Unreadable { doc, .. } => self.unreadable.push(*doc),
            event => assert!(self.disk_fails, "{event:?}"),
        }
    }
}

pub(crate) struct Folder {
    pub(crate) device: Device,
    pub(crate) rounds: Rounds,
    pub(crate) handle: u32,
    pub(crate) disk: Arc<Disk>,
    pub(crate) dir: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let mut device = Device::new();
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = Arc::new(Disk::open(dir.path()).expect("opens"));
        let path = dir.path().to_str().expect("is text").to_owned();
        let root = disk.root_identity().expect("looks").expect("is there");
        let row = FolderRow { space: device.space, path, name: "folder".into(), root, caught_up: true };
        let added = device.turn(Input::Command { command: Command::AddFolder { row }, ticket: Ticket(0) });
        let Some(Outcome::Folder(handle)) = added else { panic!("a folder is added") };
        let rounds = device.start(handle, &disk);
        Self { device, rounds, handle, disk, dir }
    }

    pub(crate) fn hint(&mut self, path: &str) {
        let path = RelPath::parse(path).expect("a path of a test");
        self.rounds.hint(path, false, self.device.mono_ms);
    }

    pub(crate) fn rest(&mut self) {
        self.device.rest(&mut self.rounds);
    }

    /// Rounds until nothing more is due soon, whether or not all is well.
    pub(crate) fn calm(&mut self) {
        for _ in 0..20 {
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

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).expect("reads")
    }

    /// As the user does: writes, and the folder hears of it.
    pub(crate) fn save(&mut self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).expect("writes");
        self.hint(name);
    }

    /// As a peer does: a commit that the folder did not make. Returns its last change.
    pub(crate) fn edit_elsewhere(&mut self, doc: DocId, text: &str) -> ChangeHash {
        let items = author::write(&self.device.engine, &self.device.space, doc, text).expect("edits");
        let Some(Item::Change { bytes, .. }) = items.last() else { panic!("an edit ends with a change") };
        let hash = ChangeHead::read(bytes).expect("reads").hash;
        self.device.edit(vec![Edit { items, writes: Vec::new() }]).expect("the engine runs");
        self.rounds.documents_changed([doc]);
        self.device.settled = None;
        hash
    }

    pub(crate) fn restart(&mut self) {
        self.disk.release();
        self.disk = Arc::new(Disk::open(self.dir.path()).expect("opens"));
        self.device.stopped = false;
        self.device.settled = None;
        self.rounds = self.device.start(self.handle, &self.disk);
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
    let edit = Edit { items: vec![Item::change(doc, root.bytes)], writes: Vec::new() };
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
    assert_eq!(fs::read_dir(folder.dir.path()).expect("lists").count(), 1, "nothing was written");
    // It looks again now and then, and goes on once its directory is there.
    fs::write(folder.dir.path().join(".kith/folder"), format!("{}\n", folder.device.space)).expect("writes");
    assert!(folder.rounds.next_ms().is_some());
    folder.device.mono_ms += limits::HALTED_EVERY_MS;
    folder.rest();
    assert_eq!(folder.rounds.report().halted, None);
}

#[test]
fn a_folder_whose_directory_another_process_has_stands_still_until_that_ends() {
    let mut folder = Folder::new();
    fs::write(folder.dir.path().join("file"), "one").expect("writes");
    folder.rest();
    folder.disk.release();
    let other = Disk::open(folder.dir.path()).expect("opens");
    assert!(other.claim());
    fs::remove_file(folder.dir.path().join("file")).expect("removes");
    folder.rounds = folder.device.start(folder.handle, &folder.disk);
    assert_eq!(folder.rounds.report().halted.as_deref(), Some("another kith that runs has its directory"));
    // It looks again now and then, and not sooner.
    let begun = folder.device.mono_ms;
    round_at(&mut folder, begun);
    drop(other);
    round_at(&mut folder, begun + limits::HALTED_EVERY_MS - 1);
    assert!(folder.rounds.report().halted.is_some());
    folder.device.mono_ms += 1;
    folder.device.settled = None;
    folder.rest();
    assert_eq!((folder.rounds.report().halted, folder.rounds.report().files), (None, 0));
}

#[test]
fn a_document_that_automerge_fails_on_stands_still_and_nothing_else_does() {
    let mut folder = Folder::new();
    folder.save("bad", "0\n");
    folder.rest();
    let bad = folder.device.engine.documents(&folder.device.space)[0];
    folder.save("good", "one\n");
    folder.rest();
    // So many that a snapshot would be due with the next one.
    let changes = u64::from(limits::SNAPSHOT_EVERY_CHANGES) - 2;
    for number in 1..changes {
        folder.edit_elsewhere(bad, &format!("{number}\n"));
    }
    folder.rest();
    let shown = format!("{}\n", changes - 1);
    assert_eq!(folder.read("bad"), shown);

    // The next change makes Automerge panic. It is prepared before that, as on another machine.
    let last = folder.edit_elsewhere(bad, "last\n");
    probe::panic_on(Some(last));
    folder.calm();
    stands_still(&folder, bad, &shown);

    // Another file goes both ways, and an edit of this one waits on the disk.
    folder.save("good", "two\n");
    folder.save("bad", "mine\n");
    folder.calm();
    stands_still(&folder, bad, "mine\n");
    let good =
        folder.device.engine.documents(&folder.device.space).into_iter().find(|doc| *doc != bad).expect("is held");
    let text = |folder: &Folder, doc| author::text(&folder.device.engine, &folder.device.space, doc).expect("reads");
    assert_eq!(text(&folder, good).as_deref(), Some("two\n"));
    folder.edit_elsewhere(good, "three\n");
    folder.calm();
    assert_eq!(folder.read("good"), "three\n");

    // A restart finds it as it was, and the user takes the edit back.
    folder.save("bad", &shown);
    folder.restart();
    folder.calm();
    stands_still(&folder, bad, &shown);
    assert_eq!(folder.read("good"), "three\n");

    probe::panic_on(None);
    folder.restart();
    folder.rest();
    assert_eq!((folder.read("bad").as_str(), folder.read("good").as_str()), ("last\n", "three\n"));
    assert!(folder.rounds.report().problems.is_empty());
    assert!(has_snapshot(&folder, bad), "a snapshot was due");
}

/// The document's file holds this text, the report names it, the folder does not call itself in sync, and no snapshot
/// was kept.
#[track_caller]
fn stands_still(folder: &Folder, doc: DocId, text: &str) {
    assert_eq!(folder.read("bad"), text);
    let report = folder.rounds.report();
    let problems: Vec<_> = report.problems.iter().map(|problem| (problem.path.to_string(), &*problem.reason)).collect();
    assert_eq!(problems, [("bad".to_owned(), "automerge panicked while a document was open")]);
    assert_eq!((report.files, report.files_wanted, folder.device.settled), (2, 2, None));
    assert!(folder.device.unreadable.contains(&doc));
    assert!(folder.device.unreadable.iter().all(|unreadable| *unreadable == doc));
    assert!(!has_snapshot(folder, doc));
}

fn has_snapshot(folder: &Folder, doc: DocId) -> bool {
    let rows = author::documents(&folder.device.engine, &folder.device.space).expect("reads");
    let snapshot = folder.device.engine.store().read().expect("reads");
    snapshot.doc_snapshot(rows[&doc].handle).expect("reads").is_some()
}

/// Rounds at this time, whether or not anything is due.
fn round_at(folder: &mut Folder, mono_ms: u64) -> usize {
    folder.device.mono_ms = mono_ms;
    folder.rounds.round(&mut folder.device).expect("the engine runs");
    folder.device.engine.documents(&folder.device.space).len()
}

#[test]
fn a_file_is_read_once_its_writer_has_paused() {
    let mut folder = Folder::new();
    folder.rest();
    let saved = folder.device.mono_ms;
    folder.save("file", "one");
    assert_eq!(round_at(&mut folder, saved + limits::SETTLE_MS - 1), 0);
    assert_eq!(round_at(&mut folder, saved + limits::SETTLE_MS), 1);
}

#[test]
fn a_file_whose_writer_never_pauses_is_read_now_and_then() {
    let mut folder = Folder::new();
    folder.rest();
    let begun = folder.device.mono_ms;
    for ms in (0..limits::SETTLE_MS_MAX).step_by(limits::SETTLE_MS as usize - 1) {
        assert_eq!(round_at(&mut folder, begun + ms), 0);
        folder.save("file", &ms.to_string());
    }
    assert_eq!(round_at(&mut folder, begun + limits::SETTLE_MS_MAX - 1), 0);
    folder.save("file", "and on");
    assert_eq!(round_at(&mut folder, begun + limits::SETTLE_MS_MAX), 1);
}

#[test]
fn a_file_that_vanished_is_awaited_so_long_and_no_longer() {
    let mut folder = Folder::new();
    fs::write(folder.dir.path().join("file"), "one").expect("writes");
    folder.rest();
    fs::remove_file(folder.dir.path().join("file")).expect("removes");
    let vanished = folder.device.mono_ms;
    folder.hint("file");
    for (ms, files) in [(limits::SETTLE_MS, 1), (limits::VANISH_MS - 1, 1), (limits::VANISH_MS, 0)] {
        round_at(&mut folder, vanished + ms);
        assert_eq!(folder.rounds.report().files, files, "after {ms} ms");
    }
}

#[test]
fn files_that_are_deleted_and_made_anew_elsewhere_have_moved_with_one_commit() {
    const FILES: usize = 30;
    let mut folder = Folder::new();
    let path = |dir: &str, number: usize| format!("{dir}/{number}.txt");
    ["old", "new"].iter().for_each(|dir| fs::create_dir(folder.dir.path().join(dir)).expect("makes"));
    for number in 0..FILES {
        fs::write(folder.dir.path().join(path("old", number)), format!("text {number}\n")).expect("writes");
    }
    folder.rest();
    let documents = folder.device.engine.documents(&folder.device.space);
    let commits = |folder: &Folder| folder.device.engine.status()[0].arrivals;
    let before = commits(&folder);
    for number in 0..FILES {
        fs::remove_file(folder.dir.path().join(path("old", number))).expect("removes");
        folder.hint(&path("old", number));
    }
    fs::remove_dir(folder.dir.path().join("old")).expect("removes");
    folder.hint("old");
    let vanished = folder.device.mono_ms;
    round_at(&mut folder, vanished + limits::SETTLE_MS);
    for number in 0..FILES {
        fs::write(folder.dir.path().join(path("new", number)), format!("text {number}\n")).expect("writes");
        folder.hint(&path("new", number));
    }
    round_at(&mut folder, vanished + 2 * limits::SETTLE_MS);
    assert_eq!(commits(&folder), before + 1);
    folder.rest();
    assert_eq!(commits(&folder), before + 2, "the directory went later");
    assert_eq!(folder.device.engine.documents(&folder.device.space), documents);
    assert_eq!(folder.rounds.report().files, FILES as u64);
    let entries = author::entries(&folder.device.engine, &folder.device.space).expect("reads");
    let view = View::of(&entries, Folds::default());
    let paths = documents.iter().filter_map(|doc| view.path_of(doc)).map(|path| path.to_string());
    assert_eq!(paths.filter(|path| path.starts_with("new/")).count(), FILES);
}

#[test]
fn the_whole_folder_is_looked_at_now_and_then() {
    let mut folder = Folder::new();
    folder.rest();
    let quarter = limits::RESCAN_EVERY_MS / 4;
    for documents in 1..5 {
        let due = folder.rounds.next_ms().expect("a scan is due some time");
        let wait = due - folder.device.mono_ms;
        assert!((3 * quarter..5 * quarter).contains(&wait), "{wait} ms");
        // Nobody tells of it.
        fs::write(folder.dir.path().join(documents.to_string()), documents.to_string()).expect("writes");
        assert_eq!(round_at(&mut folder, due - 1), documents - 1);
        assert_eq!(round_at(&mut folder, due), documents);
        folder.rest();
    }
}

#[test]
fn what_could_not_be_submitted_is_tried_again_by_a_scan() {
    let mut folder = Folder::new();
    folder.save("bad", "0\n");
    folder.rest();
    let bad = folder.device.engine.documents(&folder.device.space)[0];
    let last = folder.edit_elsewhere(bad, "1\n");
    probe::panic_on(Some(last));
    folder.calm();
    folder.save("bad", "mine\n");
    let failed = folder.device.mono_ms + limits::SETTLE_MS;
    round_at(&mut folder, failed);
    let again = failed + limits::UNREADABLE_RETRY_MS;
    assert_eq!(folder.rounds.next_ms(), Some(again));
    // By a scan: what nobody told of is seen as well.
    fs::write(folder.dir.path().join("other"), "other").expect("writes");
    assert_eq!(round_at(&mut folder, again - 1), 1);
    assert_eq!(round_at(&mut folder, again), 2);
    assert_eq!(folder.rounds.next_ms(), Some(again + limits::UNREADABLE_RETRY_MS), "it failed again");
    probe::panic_on(None);
}

#[test]
fn an_import_goes_in_batches() {
    let mut folder = Folder::new();
    for number in 0..=limits::FOLDER_BATCH {
        fs::write(folder.dir.path().join(number.to_string()), number.to_string()).expect("writes");
    }
    folder.rest();
    assert_eq!(folder.device.edits, [limits::FOLDER_BATCH, 1]);
}

#[test]
fn a_snapshot_is_kept_after_so_many_changes() {
    let mut folder = Folder::new();
    folder.save("file", "0\n");
    folder.rest();
    let doc = folder.device.engine.documents(&folder.device.space)[0];
    let mut changes = 1;
    while changes < limits::SNAPSHOT_EVERY_CHANGES {
        assert!(!has_snapshot(&folder, doc), "{changes} changes");
        folder.edit_elsewhere(doc, &format!("{changes}\n"));
        folder.rest();
        changes = author::documents(&folder.device.engine, &folder.device.space).expect("reads")[&doc].changes;
    }
    assert_eq!(changes, limits::SNAPSHOT_EVERY_CHANGES);
    assert!(has_snapshot(&folder, doc));
}
