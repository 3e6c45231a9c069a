//! Two and three real nodes in one process, over real endpoints on the loopback address, with real folders.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use sync_net::{FolderState, Network, Node, NodeErrorKind, ShareOptions};
use sync_tests::disk::{differences, stray_files};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

struct Device {
    home: PathBuf,
    folder: PathBuf,
    node: Option<Node>,
}

impl Device {
    async fn start(dir: &TempDir, name: &str) -> Self {
        let (home, folder) = (dir.path().join(format!("{name}-home")), dir.path().join(name));
        fs::create_dir_all(&folder).expect("makes");
        let node = Some(spawn(&home, name).await);
        Self { home, folder, node }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("runs")
    }

    async fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.shutdown().await;
        }
    }

    async fn start_again(&mut self, name: &str) {
        self.stop().await;
        self.node = Some(spawn(&self.home, name).await);
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().expect("is in the folder")).expect("makes");
        fs::write(path, bytes).expect("writes");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn synced(&self) {
        tokio::time::timeout(DEADLINE, self.node().wait_synced(None))
            .await
            .unwrap_or_else(|_| panic!("not synced in time: {:#?}", self.node().status()))
            .expect("the node runs");
    }
}

async fn spawn(home: &Path, name: &str) -> Node {
    Node::builder(home).network(Network::Loopback).device_name(name).spawn().await.expect("starts")
}

async fn join(host: &Device, joiner: &Device) {
    let shared = host.node().share(&host.folder, ShareOptions::default()).await.expect("shares");
    joiner.node().join(&shared.invite, &joiner.folder, None).await.expect("joins");
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let poll = async {
        while !done() {
            tokio::task::yield_now().await;
            std::thread::yield_now();
        }
    };
    tokio::time::timeout(DEADLINE, poll).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn assert_equal(a: &Device, b: &Device) {
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_everything_arrives_and_a_restart_sends_nothing() {
    let dir = TempDir::new().expect("temporary directory");
    let mut a = Device::start(&dir, "a").await;
    let mut b = Device::start(&dir, "b").await;
    a.write("text.txt", "one\ntwo\n");
    a.write("sub dir/ünïcode 漢.txt", "x");
    a.write("sub dir/deep/empty", "");
    a.write("bytes.bin", [0_u8, 159, 146, 150]);
    a.write("large.bin", (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    a.write("medium.txt", "a line of text\n".repeat(3_000));
    fs::create_dir(a.folder.join("empty dir")).expect("makes");
    std::os::unix::fs::symlink("text.txt", a.folder.join("link")).expect("links");
    join(&a, &b).await;
    a.synced().await;
    b.synced().await;
    assert_equal(&a, &b);
    let vectors = (a.node().status().folders.len(), b.node().status().folders[0].files);
    assert_eq!(vectors, (1, 6));
    a.start_again("a").await;
    b.start_again("b").await;
    a.synced().await;
    b.synced().await;
    until("connected", || b.node().status().folders[0].peers[0].synced).await;
    assert_equal(&a, &b);
    // Two hellos, and at most a word that each has settled: no commit.
    assert!(a.node().traffic().bytes_sent < 600, "{:?}", a.node().traffic());
    assert_eq!(stray_files(&b.folder), Vec::<PathBuf>::new());
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_made_apart_are_all_there_when_they_meet() {
    let dir = TempDir::new().expect("temporary directory");
    let mut a = Device::start(&dir, "a").await;
    let mut b = Device::start(&dir, "b").await;
    let text: String = (0..1000).map(|line| format!("line {line} of a text of 30 kB\n")).collect();
    a.write("text.txt", &text);
    a.write("dir/inside.txt", "one\ntwo\n");
    a.write("contested.txt", "x\n");
    join(&a, &b).await;
    a.synced().await;
    b.synced().await;
    assert_equal(&a, &b);
    a.stop().await;
    b.stop().await;

    a.write("text.txt", text.replace("line 10 of", "LINE TEN of"));
    b.write("text.txt", text.replace("line 900 of", "LINE NINE HUNDRED of"));
    a.write("new from a.txt", "a");
    b.write("new from b.txt", "b");
    fs::rename(a.folder.join("dir"), a.folder.join("renamed")).expect("renames");
    b.write("dir/inside.txt", "one\ntwo\nthree\n");
    fs::remove_file(a.folder.join("contested.txt")).expect("removes");
    b.write("contested.txt", "x\ny\n");

    a.start_again("a").await;
    b.start_again("b").await;
    until("connected", || b.node().status().folders[0].peers.iter().any(|peer| peer.connected)).await;
    a.synced().await;
    b.synced().await;
    assert_equal(&a, &b);
    let merged = text.replace("line 10 of", "LINE TEN of").replace("line 900 of", "LINE NINE HUNDRED of");
    assert_eq!(a.read("text.txt"), merged);
    assert_eq!((a.read("new from b.txt"), b.read("new from a.txt")), ("b".into(), "a".into()));
    assert_eq!(a.read("renamed/inside.txt"), "one\ntwo\nthree\n");
    assert!(!b.folder.join("dir").exists());
    assert_eq!(a.read("contested.txt"), "x\ny\n");
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_edits_renames_and_deletes_follow() {
    let dir = TempDir::new().expect("temporary directory");
    let mut a = Device::start(&dir, "a").await;
    let mut b = Device::start(&dir, "b").await;
    join(&a, &b).await;
    b.synced().await;
    a.write("a.txt", "one\n");
    until("the file", || b.folder.join("a.txt").exists()).await;
    b.write("a.txt", "one\ntwo\n");
    until("the edit", || a.read("a.txt") == "one\ntwo\n").await;
    fs::create_dir_all(a.folder.join("x/y/z")).expect("makes");
    fs::write(a.folder.join("x/y/z/deep.txt"), "deep").expect("writes");
    until("the deep file", || b.folder.join("x/y/z/deep.txt").exists()).await;
    fs::rename(b.folder.join("x/y"), b.folder.join("moved")).expect("renames");
    until("the move", || a.folder.join("moved/z/deep.txt").exists() && !a.folder.join("x/y").exists()).await;
    fs::remove_file(a.folder.join("a.txt")).expect("removes");
    until("the delete", || !b.folder.join("a.txt").exists()).await;
    a.synced().await;
    b.synced().await;
    assert_equal(&a, &b);
    assert_eq!(a.node().status().folders[0].state, FolderState::UpToDate);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_directory_is_one_commit_and_modes_and_ignored_files_are_as_they_should() {
    let dir = TempDir::new().expect("temporary directory");
    let mut a = Device::start(&dir, "a").await;
    let mut b = Device::start(&dir, "b").await;
    for index in 0..50 {
        a.write(&format!("many/file {index}.txt"), format!("{index}"));
    }
    a.write(".kithignore", "*.log\nbuild/\n");
    a.write("noise.log", "not for others");
    a.write("build/out", "not for others");
    a.write(".git/config", "never");
    join(&a, &b).await;
    a.synced().await;
    b.synced().await;
    assert!(
        !b.folder.join("noise.log").exists() && !b.folder.join("build").exists() && !b.folder.join(".git").exists()
    );
    let before = a.node().status().folders[0].commits;
    fs::rename(a.folder.join("many"), a.folder.join("moved")).expect("renames");
    until("the move", || b.folder.join("moved/file 49.txt").exists() && !b.folder.join("many").exists()).await;
    a.synced().await;
    assert_eq!(a.node().status().folders[0].commits, before + 1, "one change for fifty files");
    fs::set_permissions(a.folder.join("moved/file 1.txt"), fs::Permissions::from_mode(0o755)).expect("sets");
    let is_executable =
        |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o100 != 0);
    until("the executable bit", || is_executable(&b.folder.join("moved/file 1.txt"))).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_versions_of_a_binary_both_stay() {
    let dir = TempDir::new().expect("temporary directory");
    let mut a = Device::start(&dir, "a").await;
    let mut b = Device::start(&dir, "b").await;
    a.write("image.bin", [0_u8, 1, 2]);
    join(&a, &b).await;
    a.synced().await;
    b.synced().await;
    a.stop().await;
    b.stop().await;
    a.write("image.bin", [0_u8, 0xaa, 0xaa, 0xaa]);
    b.write("image.bin", [0_u8, 0xbb, 0xbb]);
    a.start_again("a").await;
    b.start_again("b").await;
    let versions = |device: &Device| {
        let mut versions: Vec<Vec<u8>> = fs::read_dir(&device.folder)
            .expect("lists")
            .map(|entry| entry.expect("lists").path())
            .filter(|path| path.is_file())
            .filter_map(|path| fs::read(path).ok())
            .collect();
        versions.sort();
        versions
    };
    let both = vec![vec![0_u8, 0xaa, 0xaa, 0xaa], vec![0_u8, 0xbb, 0xbb]];
    until("both versions on both", || versions(&a) == both && versions(&b) == both).await;
    a.synced().await;
    b.synced().await;
    assert_equal(&a, &b);
    assert_eq!(a.node().status().folders[0].conflicts.len(), 1);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_device_that_joins_late_has_everything() {
    let dir = TempDir::new().expect("temporary directory");
    let mut a = Device::start(&dir, "a").await;
    let b = Device::start(&dir, "b").await;
    a.write("a.txt", "one\n");
    join(&a, &b).await;
    b.synced().await;
    let invite = a.node().share(&a.folder, ShareOptions::default()).await.expect("invites").invite;
    for round in 0..10 {
        a.write("a.txt", format!("one\nround {round} of a\n"));
        b.write(&format!("b{round}.txt"), "b");
        a.synced().await;
    }
    let c = Device::start(&dir, "c").await;
    c.write("already here.txt", "c");
    c.write("b0.txt", "b");
    c.node().join(&invite, &c.folder, None).await.expect("joins");
    for device in [&c, &a, &b] {
        device.synced().await;
    }
    // With the host away the others still find each other.
    a.stop().await;
    c.write("from c.txt", "c");
    until("a file of the third", || b.folder.join("from c.txt").exists()).await;
    a.start_again("a").await;
    until("the host is back", || a.folder.join("from c.txt").exists()).await;
    for device in [&a, &b, &c] {
        device.synced().await;
    }
    assert_equal(&a, &b);
    assert_equal(&a, &c);
    for mut device in [a, b, c] {
        device.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn used_expired_and_foreign_invites_are_refused_and_change_nothing() {
    let dir = TempDir::new().expect("temporary directory");
    let a = Device::start(&dir, "a").await;
    let b = Device::start(&dir, "b").await;
    let c = Device::start(&dir, "c").await;
    let used = a.node().share(&a.folder, ShareOptions::default()).await.expect("shares").invite;
    b.node().join(&used, &b.folder, None).await.expect("joins");
    let again = c.node().join(&used, &c.folder, None).await.expect_err("is used");
    assert_eq!(again.kind(), NodeErrorKind::Refused, "{again}");
    let short = ShareOptions { life: Duration::ZERO, ..ShareOptions::default() };
    let expired = a.node().share(&a.folder, short).await.expect("shares").invite;
    let late = c.node().join(&expired, &c.folder, None).await.expect_err("has expired");
    assert_eq!(late.kind(), NodeErrorKind::Refused, "{late}");
    // While another invite is open the host answers, and says why.
    let _open = a.node().share(&a.folder, ShareOptions::default()).await.expect("shares");
    let again = c.node().join(&used, &c.folder, None).await.expect_err("is used");
    assert!(again.to_string().contains("has been used"), "{again}");
    let own = a.node().join(&expired, &a.folder, None).await.expect_err("is its own");
    assert_eq!(own.kind(), NodeErrorKind::Invalid);
    assert!(c.node().status().folders.is_empty());
    assert_eq!(a.node().status().folders[0].peers.len(), 1);
    assert!(!c.folder.join(".kith").exists());
    for mut device in [a, b, c] {
        device.stop().await;
    }
}
