//! A folder on a disk that does not tell all names apart, on the simulated file system: case 73 to 75 and 79 of
//! docs/folder-semantics.md.
//!
//! One device, looked at in chosen moments, as in `rounds`; what its peers do comes as commits. What several devices make of
//! such names is in `tree_cases`, a real disk of this kind in `folder_cases`.

use std::{collections::BTreeMap, sync::Arc};

use sync_core::{
    commit::Item,
    doc::entry::{Entry, EntryOp},
    engine::{Command, Input, Outcome, Ticket},
    folder::{
        Fs as _,
        rounds::{Rounds, host::Host as _},
    },
    ids::DocId,
    store::{Edit, row::FolderRow},
    tree::{Folds, RelPath, clash_name},
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

struct Folder {
    device: Device,
    rounds: Rounds,
    handle: u32,
    fs: SimFs,
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).expect("a path of a test")
}

fn rename(from: &str, to: &str) -> UserOp {
    UserOp::Rename { from: path(from), to: path(to) }
}

impl Folder {
    fn new(folds: Folds) -> Self {
        let mut device = Device::new();
        let fs = SimFs::new(Config { folds, ..Config::default() }, START_NS, &Rng::new(1));
        let root = fs.root_identity().expect("looks").expect("is there");
        let row = FolderRow { space: device.space, path: "/f".into(), name: "f".into(), root, caught_up: true };
        let added = device.turn(Input::Command { command: Command::AddFolder { row }, ticket: Ticket(0) });
        let Some(Outcome::Folder(handle)) = added else { panic!("a folder is added") };
        let rounds = device.start(handle, &Arc::new(fs.clone()));
        fs.watch();
        let mut folder = Self { device, rounds, handle, fs };
        folder.rest();
        folder
    }

    /// A user does something, and the folder hears of it.
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

    /// A peer commits something.
    fn peer(&mut self, doc: DocId, items: Vec<Item>) {
        self.device.edit(vec![Edit { items, writes: Vec::new() }]).expect("the engine runs");
        self.rounds.documents_changed([doc]);
    }

    fn peer_changes(&mut self, doc: DocId, ops: &[EntryOp]) {
        let item = author::change(&self.device.engine, &self.device.space, doc, ops).expect("edits");
        self.peer(doc, item.into_iter().collect());
    }

    fn peer_writes(&mut self, doc: DocId, text: &str) {
        let items = author::write(&self.device.engine, &self.device.space, doc, text).expect("edits");
        self.peer(doc, items);
    }

    fn peer_makes(&mut self, name: &str, text: &str) -> DocId {
        let (doc, item) = author::create(self.device.space, None, name, Some(text));
        self.peer(doc, vec![item]);
        doc
    }

    fn rest(&mut self) {
        self.device.rest(&mut self.rounds);
        for event in self.fs.events() {
            // Of what the folder did itself.
            if let WatchEvent::Hint { path, closed } = event {
                self.rounds.hint(path, closed, self.device.mono_ms);
            }
        }
        self.device.rest(&mut self.rounds);
        assert!(self.rounds.report().problems.is_empty(), "{:?}", self.rounds.report());
    }

    /// The process ends and starts again.
    fn restart(&mut self) {
        self.fs.restart();
        self.device.settled = None;
        self.rounds = self.device.start(self.handle, &Arc::new(self.fs.clone()));
        self.fs.watch();
        self.rest();
    }

    /// Everything is looked at, which must find nothing.
    #[track_caller]
    fn a_scan_finds_nothing(&mut self) {
        let before = self.commits();
        self.rounds.rescan();
        self.rest();
        assert_eq!(self.commits(), before);
    }

    fn commits(&self) -> u64 {
        self.device.engine.status()[0].arrivals
    }

    fn folds(&self) -> Folds {
        self.device.engine.status()[0].folds
    }

    /// Paths on disk as they are written, with texts.
    fn tree(&self) -> BTreeMap<String, String> {
        let text = |path: &RelPath| String::from_utf8(self.fs.read(path).unwrap_or_default()).expect("is a text");
        self.fs.paths().into_iter().map(|(path, _)| (path.to_string(), text(&path))).collect()
    }

    #[track_caller]
    fn shows(&self, wanted: &[(&str, &str)]) {
        let wanted = wanted.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        assert_eq!(self.tree(), wanted.collect());
    }

    fn entries(&self) -> BTreeMap<DocId, Entry> {
        author::entries(&self.device.engine, &self.device.space).expect("reads")
    }

    #[track_caller]
    fn named(&self, name: &str) -> DocId {
        let entries = self.entries();
        let mut found = entries.iter().filter(|(_, entry)| entry.name == name && entry.alive);
        *found.next().unwrap_or_else(|| panic!("nobody is called {name}: {entries:?}")).0
    }
}

#[test]
fn what_the_disk_folds_is_told_once_and_again_when_it_is_another() {
    for folds in [Folds::ALL, Folds { case: true, form: false }, Folds { case: false, form: true }] {
        let mut folder = Folder::new(folds);
        assert_eq!((folder.folds(), folder.commits()), (folds, 2));
        folder.restart();
        assert_eq!((folder.folds(), folder.commits()), (folds, 2));
        folder.fs.remount(Folds::NONE);
        folder.restart();
        assert_eq!((folder.folds(), folder.commits()), (Folds::NONE, 3));
    }
    let linux = Folder::new(Folds::NONE);
    assert_eq!((linux.folds(), linux.commits()), (Folds::NONE, 1));
}

#[test]
fn a_rename_by_case_alone_on_a_disk_that_folds_it_is_a_rename() {
    let mut folder = Folder::new(Folds::ALL);
    folder.user(UserOp::MakeDir(path("dir")));
    folder.save("dir/file", "one\n");
    folder.rest();
    let (dir, file) = (folder.named("dir"), folder.named("file"));

    // By a user, with a word of the watcher or found by a scan.
    folder.user(rename("dir/file", "dir/File"));
    folder.rest();
    assert_eq!(folder.entries()[&file].name, "File");
    folder.fs.user(&rename("dir", "Dir")).expect("renames");
    drop(folder.fs.events());
    folder.rounds.rescan();
    folder.rest();
    assert_eq!(folder.entries()[&dir].name, "Dir");
    folder.shows(&[("Dir", ""), ("Dir/File", "one\n")]);

    // With an edit, whatever way the watcher writes the name; and by deleting and making anew.
    folder.fs.user(&rename("Dir/File", "Dir/FILE")).expect("renames");
    folder.save("Dir/FILE", "one\ntwo\n");
    folder.rounds.hint(path("dir/fILE"), false, folder.device.mono_ms);
    folder.rest();
    assert_eq!(folder.entries()[&file].name, "FILE");
    folder.user(UserOp::Remove(path("dir/file")));
    folder.save("dir/file", "one\nthree\n");
    folder.rest();
    assert_eq!((folder.entries()[&file].name.as_str(), folder.entries().len()), ("file", 2));
    folder.shows(&[("Dir", ""), ("Dir/file", "one\nthree\n")]);

    // By a peer, with an edit below.
    folder.peer_changes(dir, &[EntryOp::Name("DIR".into())]);
    folder.peer_changes(file, &[EntryOp::Name("fiLE".into())]);
    folder.peer_writes(file, "one\nthree\nfour\n");
    folder.rest();
    folder.shows(&[("DIR", ""), ("DIR/fiLE", "one\nthree\nfour\n")]);
    folder.a_scan_finds_nothing();
    assert!(folder.entries().values().all(|entry| entry.alive));
}

#[test]
fn names_that_the_disk_has_as_one_stand_beside_each_other_until_the_clash_ends() {
    for (mine, theirs) in [("a.txt", "A.txt"), ("caf\u{e9}.txt", "cafe\u{301}.txt")] {
        let mut folder = Folder::new(Folds::ALL);
        folder.save(mine, "mine\n");
        folder.rest();
        let (first, second) = (folder.named(mine), folder.peer_makes(theirs, "theirs\n"));
        folder.rest();
        let (kept, beside) = if first < second { (first, second) } else { (second, first) };
        let name = |doc| if doc == first { mine } else { theirs };
        let clash = clash_name(name(beside), &beside.to_string()[..6]);
        let text = |doc| if doc == first { "mine\n" } else { "theirs\n" };
        folder.shows(&[(name(kept), text(kept)), (&clash, text(beside))]);
        folder.a_scan_finds_nothing();

        // An edit is of the one that it was made to, and a clash that ends is undone.
        folder.save(&clash, "edited\n");
        folder.rest();
        folder.shows(&[(name(kept), text(kept)), (&clash, "edited\n")]);
        folder.peer_changes(kept, &[EntryOp::Delete]);
        folder.rest();
        folder.shows(&[(name(beside), "edited\n")]);
        folder.a_scan_finds_nothing();
    }
}

#[test]
fn what_comes_while_a_user_takes_the_name_in_other_letters_stays() {
    let mut folder = Folder::new(Folds::ALL);
    // Nobody has looked yet when the peer's file is to be written.
    folder.fs.user(&UserOp::MakeDir(path("D"))).expect("makes");
    drop(folder.fs.events());
    folder.save("d/Readme", "mine\n");
    drop(folder.fs.events());
    let theirs = folder.peer_makes("d", "theirs\n");
    folder.rest();
    let clash = clash_name("d", &theirs.to_string()[..6]);
    folder.shows(&[("D", ""), ("D/Readme", "mine\n"), (&clash, "theirs\n")]);
    folder.a_scan_finds_nothing();
}

#[test]
fn a_rename_by_case_that_a_crash_cuts_is_finished_and_nobodys_edit() {
    for call in 1.. {
        let mut folder = Folder::new(Folds::ALL);
        folder.user(UserOp::MakeDir(path("dir")));
        folder.save("dir/file", "one\n");
        folder.rest();
        folder.peer_changes(folder.named("dir"), &[EntryOp::Name("DIR".into())]);
        folder.peer_changes(folder.named("file"), &[EntryOp::Name("FILE".into())]);
        let commits = folder.commits();
        folder.fs.settle();
        folder.fs.cut_power_at(call);
        folder.device.disk_fails = true;
        folder.rounds.round(&mut folder.device).expect("the engine runs");
        let died = folder.fs.is_dead();
        folder.fs.crash(&mut Rng::new(call));
        folder.device.disk_fails = false;
        folder.restart();
        folder.shows(&[("DIR", ""), ("DIR/FILE", "one\n")]);
        folder.a_scan_finds_nothing();
        assert_eq!(folder.commits(), commits, "cut at call {call}");
        if !died {
            assert!(call > 10, "renaming takes some calls");
            return;
        }
    }
}

#[test]
fn names_change_places_on_a_disk_that_folds_them() {
    let mut folder = Folder::new(Folds::ALL);
    folder.save("a", "1\n");
    folder.save("b", "2\n");
    folder.rest();
    let (a, b) = (folder.named("a"), folder.named("b"));
    folder.peer_changes(a, &[EntryOp::Name("B".into())]);
    folder.peer_changes(b, &[EntryOp::Name("A".into())]);
    folder.rest();
    folder.shows(&[("A", "2\n"), ("B", "1\n")]);
    folder.a_scan_finds_nothing();
}

#[test]
fn a_folder_that_comes_to_a_disk_that_folds_names_loses_neither_and_gets_both_back() {
    let mut folder = Folder::new(Folds::NONE);
    folder.save("a", "small\n");
    folder.save("A", "large\n");
    folder.rest();
    let (small, large) = (folder.named("a"), folder.named("A"));
    for gone in ["a", "A"] {
        // One of them is all that such a disk has taken.
        folder.fs.user(&UserOp::Remove(path(gone))).expect("removes");
        folder.fs.remount(Folds::ALL);
        folder.restart();
        let kept = small.min(large);
        let beside = small.max(large);
        let (name, text) =
            (|doc| if doc == small { "a" } else { "A" }, |doc| if doc == small { "small\n" } else { "large\n" });
        let clash = clash_name(name(beside), &beside.to_string()[..6]);
        folder.shows(&[(name(kept), text(kept)), (&clash, text(beside))]);
        folder.fs.remount(Folds::NONE);
        folder.restart();
        folder.shows(&[("A", "large\n"), ("a", "small\n")]);
        folder.a_scan_finds_nothing();
    }
}
