//! One suite for the real disk and the simulated one: the same operations in a row give the same results, errors told
//! apart as the folder does, and the same tree. What differs between machines (times, inodes, sizes of directories, the
//! order of listings) is not compared, but that a rename keeps a file's identity is.

use std::{
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
};

use proptest::{
    prelude::{Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest},
    sample::select,
};
use sync_core::{
    folder::{
        Fault, FoundKind, Fs, FsError,
        disk::{Disk, temp_dir},
    },
    tree::RelPath,
};
use sync_tests::{
    disk::tree,
    sim::{
        fs::{Config, SimFs, UserOp},
        rng::Rng,
    },
};

#[derive(Debug, Clone)]
enum Op {
    Look(RelPath),
    List(RelPath),
    Read(RelPath),
    ReadLink(RelPath),
    MakeDir(RelPath),
    MakeLink(RelPath, String),
    WriteNew(RelPath, Vec<u8>),
    Create(RelPath, Vec<u8>),
    SetMode(RelPath, bool, Option<RelPath>),
    SetMtime(RelPath, i64),
    RenameNew(RelPath, RelPath),
    Exchange(RelPath, RelPath),
    RemoveFile(RelPath),
    RemoveDir(RelPath),
    FlushDir(RelPath),
    MakeStateDirs,
    Raw(Vec<u8>),
    RenameTwice(RelPath, RelPath),
}

fn long(len: usize) -> String {
    "n".repeat(len)
}

/// Few names, so that operations meet; the last two are the longest that is possible, and one more.
fn path() -> impl Strategy<Value = RelPath> {
    let name = select(vec!["a", "b", "c", "ü", "A"]);
    let odd = select(vec![long(255), long(256), "z\0".to_owned(), ".kith".to_owned(), "-rf".to_owned()]);
    let component = prop_oneof![12 => name.prop_map(ToOwned::to_owned), 1 => odd];
    proptest::collection::vec(component, 0..4).prop_map(RelPath::from_components)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..20), Just(vec![7; 70_000])]
}

fn op() -> impl Strategy<Value = Op> {
    let target = select(vec!["a", "../x", "/", "", "z\0"]).prop_map(ToOwned::to_owned);
    let target = prop_oneof![8 => target, 1 => Just(long(4095)), 1 => Just(long(4096))];
    prop_oneof![
        4 => path().prop_map(Op::Look),
        2 => path().prop_map(Op::List),
        3 => path().prop_map(Op::Read),
        2 => path().prop_map(Op::ReadLink),
        8 => path().prop_map(Op::MakeDir),
        4 => (path(), target).prop_map(|(path, target)| Op::MakeLink(path, target)),
        6 => (path(), bytes()).prop_map(|(path, bytes)| Op::WriteNew(path, bytes)),
        3 => (path(), bytes()).prop_map(|(path, bytes)| Op::Create(path, bytes)),
        3 => (path(), any::<bool>(), proptest::option::of(path()))
            .prop_map(|(path, exec, like)| Op::SetMode(path, exec, like)),
        2 => (path(), -2_000_000_000_000_000_000..4_000_000_000_000_000_000_i64)
            .prop_map(|(path, mtime_ns)| Op::SetMtime(path, mtime_ns)),
        7 => (path(), path()).prop_map(|(from, to)| Op::RenameNew(from, to)),
        6 => (path(), path()).prop_map(|(a, b)| Op::Exchange(a, b)),
        3 => path().prop_map(Op::RemoveFile),
        3 => path().prop_map(Op::RemoveDir),
        1 => path().prop_map(Op::FlushDir),
        1 => Just(Op::MakeStateDirs),
        1 => any::<u8>().prop_map(|byte| Op::Raw(vec![b'r', byte | 0x80])),
        2 => (path(), path()).prop_map(|(from, to)| Op::RenameTwice(from, to)),
    ]
}

/// A result as far as both must agree.
type Outcome = Result<String, Fault>;

fn shown<T: std::fmt::Debug>(result: Result<T, FsError>) -> Outcome {
    result.map(|value| format!("{value:?}")).map_err(|error| error.fault())
}

fn unit(result: Result<(), FsError>) -> Outcome {
    shown(result)
}

fn read(fs: &dyn Fs, path: &RelPath) -> Outcome {
    let mut file = fs.open(path).map_err(|error| error.fault())?;
    let mut bytes = Vec::new();
    let read = file.read_to_end(&mut bytes);
    read.map_err(|source| FsError { operation: "read", path: path.clone(), source }.fault())?;
    let stat = file.stat().map_err(|_| Fault::Other)?;
    Ok(format!("{} bytes, {}, {}", stat.size, blake3::hash(&bytes), stat.exec))
}

fn create(fs: &dyn Fs, path: &RelPath, bytes: &[u8]) -> Result<(), FsError> {
    let mut file = fs.create(path)?;
    let written = file.write_all(bytes).and_then(|()| file.flush_to_disk());
    written.map_err(|source| FsError { operation: "write", path: path.clone(), source })
}

fn run(fs: &dyn Fs, op: &Op) -> Outcome {
    match op {
        Op::Look(path) => shown(fs.look(path).map(|found| {
            let sized = |kind| matches!(kind, FoundKind::File | FoundKind::Link);
            found.map(|found| (found.kind, found.stat.exec, sized(found.kind).then_some(found.stat.size)))
        })),
        Op::List(path) => shown(fs.list(path).map(|listed| {
            let mut names: Vec<_> =
                listed.into_iter().map(|listed| format!("{:?} {:?}", listed.name, listed.found.kind)).collect();
            names.sort();
            names
        })),
        Op::Read(path) => read(fs, path),
        Op::ReadLink(path) => shown(fs.read_link(path)),
        Op::MakeDir(path) => unit(fs.make_dir(path)),
        Op::MakeLink(path, target) => unit(fs.make_link(path, target)),
        Op::WriteNew(path, bytes) => unit(fs.write_new(path, bytes, false)),
        Op::Create(path, bytes) => unit(create(fs, path, bytes)),
        Op::SetMode(path, exec, like) => {
            // A directory that nobody may enter ends what a test can do with it, unless root runs it.
            let is_dir = fs.look(path).is_ok_and(|found| found.is_some_and(|found| found.kind == FoundKind::Dir));
            if is_dir { Ok("a directory".into()) } else { unit(fs.set_mode(path, *exec, like.as_ref(), true)) }
        }
        Op::SetMtime(path, mtime_ns) => {
            unit(fs.set_mtime(path, *mtime_ns))?;
            shown(fs.look(path).map(|found| found.map(|found| found.stat.mtime_ns)))
        }
        Op::RenameNew(from, to) => unit(fs.rename_new(from, to)),
        Op::Exchange(a, b) => unit(fs.exchange(a, b)),
        Op::RemoveFile(path) => unit(fs.remove_file(path)),
        Op::RemoveDir(path) => unit(fs.remove_dir(path)),
        Op::FlushDir(path) => unit(fs.flush_dir(path)),
        Op::MakeStateDirs => unit(fs.make_state_dirs()),
        Op::Raw(_) => Ok(String::new()),
        Op::RenameTwice(from, to) => {
            let identity = |path| fs.look(path).ok().flatten().map(|found| found.stat.identity());
            let before = identity(from);
            let there = unit(fs.rename_new(from, to))?;
            let kept = identity(to) == before;
            let back = unit(fs.rename_new(to, from));
            Ok(format!("{there} {kept} {back:?} {}", identity(from) == before))
        }
    }
}

/// A disk in a temporary directory and a simulated one.
struct Both {
    dir: tempfile::TempDir,
    disk: Disk,
    sim: SimFs,
}

impl Both {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = Disk::open(dir.path()).expect("opens");
        let config = Config { list_order: seed, read_bytes_max: 1000, ..Config::default() };
        Self { dir, disk, sim: SimFs::new(config, 1_700_000_000_000_000_000, &Rng::new(seed)) }
    }

    fn raw(&self, name: &[u8]) {
        let path = self.dir.path().join(std::ffi::OsStr::from_bytes(name));
        let real = std::fs::File::create_new(path).is_ok();
        let sim = self.sim.user(&UserOp::MakeRaw { dir: RelPath::root(), name: name.to_vec() }).is_ok();
        assert_eq!(real, sim);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn disk_and_simulation_do_the_same(seed in any::<u64>(), ops in proptest::collection::vec(op(), 1..60)) {
        let both = Both::new(seed);
        for (nth, op) in ops.iter().enumerate() {
            if let Op::Raw(name) = op {
                both.raw(name);
            }
            let (real, sim) = (run(&both.disk, op), run(&both.sim, op));
            prop_assert_eq!(real, sim, "operation {} {:?}", nth, op);
        }
        prop_assert_eq!(tree(both.dir.path()), both.sim.tree());
    }
}

fn parse(text: &str) -> RelPath {
    RelPath::parse(text).expect("a path of a test")
}

/// Runs a check on both.
fn on_both(check: impl Fn(&dyn Fs)) {
    let both = Both::new(0);
    check(&both.disk);
    check(&both.sim);
    assert_eq!(tree(both.dir.path()), both.sim.tree());
}

#[test]
fn a_directory_does_not_go_into_itself() {
    on_both(|fs| {
        fs.make_dir(&parse("a")).expect("makes");
        fs.make_dir(&parse("a/b")).expect("makes");
        let fault = |result: Result<(), FsError>| result.expect_err("is refused").fault();
        assert_eq!(fault(fs.rename_new(&parse("a"), &parse("a/c"))), Fault::Other);
        assert_eq!(fault(fs.rename_new(&parse("a"), &parse("a/b"))), Fault::Exists);
        assert_eq!(fault(fs.rename_new(&parse("a/b"), &parse("a"))), Fault::Exists);
        assert_eq!(fault(fs.exchange(&parse("a"), &parse("a/b"))), Fault::Other);
        assert_eq!(fault(fs.exchange(&parse("a/b"), &parse("a"))), Fault::Other);
        assert_eq!(fault(fs.remove_dir(&parse("a"))), Fault::NotEmpty);
        assert_eq!(fault(fs.remove_file(&parse("a"))), Fault::Other);
        fs.exchange(&parse("a"), &parse("a")).expect("is nothing to do");
    });
}

#[test]
fn a_link_in_a_component_is_never_followed() {
    on_both(|fs| {
        fs.make_dir(&parse("d")).expect("makes");
        fs.write_new(&parse("d/f"), b"x", true).expect("writes");
        fs.make_link(&parse("l"), "d").expect("links");
        let below = parse("l/f");
        assert_eq!(fs.look(&below).expect("looks"), None);
        assert!(fs.open(&below).is_err() && fs.open(&parse("l")).is_err());
        assert!(fs.list(&parse("l")).is_err());
        assert!(fs.write_new(&parse("l/g"), b"y", false).is_err());
        assert!(fs.create(&below).is_err() && fs.create(&parse("l")).is_err());
        assert!(fs.rename_new(&below, &parse("g")).is_err() && fs.rename_new(&parse("d/f"), &parse("l/g")).is_err());
        assert!(fs.exchange(&below, &parse("d/f")).is_err());
        assert!(fs.remove_file(&below).is_err() && fs.remove_dir(&parse("l")).is_err());
        assert!(
            fs.set_mode(&below, true, None, false).is_err()
                && fs.set_mode(&parse("d/f"), true, Some(&below), false).is_err()
        );
        assert!(fs.flush_dir(&parse("l")).is_err());
    });
}

#[test]
fn a_file_shows_writes_through_its_open_handle_and_an_exchange_keeps_it() {
    on_both(|fs| {
        fs.write_new(&parse("f"), b"old", false).expect("writes");
        fs.write_new(&parse("t"), b"newer", false).expect("writes");
        let mut file = fs.open(&parse("f")).expect("opens");
        fs.exchange(&parse("t"), &parse("f")).expect("swaps");
        fs.remove_file(&parse("t")).expect("removes");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("reads");
        assert_eq!((text.as_str(), file.stat().expect("stats").size), ("old", 3));
        let mut again = fs.create(&parse("f")).expect("opens");
        again.write_all(b"x").expect("writes");
        again.write_all(b"yz").expect("writes");
        again.flush_to_disk().expect("flushes");
        assert_eq!(fs.look(&parse("f")).expect("looks").expect("is there").stat.size, 3);
    });
}

#[test]
fn both_know_their_root_and_make_their_own_directory_once() {
    on_both(|fs| {
        let identity = fs.root_identity().expect("looks").expect("is there");
        fs.make_state_dirs().expect("makes");
        fs.make_state_dirs().expect("is there");
        fs.write_new(&temp_dir().join("t"), b"", true).expect("writes");
        fs.flush_dir(&RelPath::root()).expect("flushes");
        fs.flush_all().expect("flushes");
        assert_eq!(fs.root_identity().expect("looks"), Some(identity));
        let found = fs.look(&temp_dir()).expect("looks").expect("is there");
        assert_eq!(found.stat.device, identity.0);
    });
}
