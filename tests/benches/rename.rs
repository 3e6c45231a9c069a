//! A directory with 10 000 files is renamed, between two nodes in this process over real endpoints: commits, bytes of
//! frames, and whether the other side touches a file.
//!
//! `cargo bench -p sync-tests --bench rename`; `KITH_BENCH_FILES` sets another number of files.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use sync_net::{Network, Node, ShareOptions};
use sync_tests::disk::differences;

/// Bytes of one file.
const FILE_BYTES: usize = 1000;
/// Most bytes of frames that the rename may take.
const SENT_BYTES_MAX: u64 = 1000;

#[tokio::main]
async fn main() {
    let files: usize = std::env::var("KITH_BENCH_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let dir = tempfile::tempdir().expect("temporary directory");
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    for index in 0..files {
        let sub = a.join(format!("large/d{:02}", index % 50));
        fs::create_dir_all(&sub).expect("makes");
        let line = format!("text of {index}\n");
        fs::write(sub.join(format!("f{index}.txt")), line.repeat(FILE_BYTES / line.len())).expect("writes");
    }
    fs::create_dir_all(&b).expect("makes");
    let (node_a, node_b) = (node(dir.path(), "a").await, node(dir.path(), "b").await);
    let shared = node_a.share(&a, ShareOptions::default()).await.expect("shares");
    node_b.join(&shared.invite, &b, None).await.expect("joins");
    synced(&node_a, &node_b).await;
    let (inodes, commits, sent, read) = (inodes(&b.join("large")), commits(&node_a), sent(&node_a), bytes_read());
    let started = Instant::now();
    fs::rename(a.join("large"), a.join("renamed")).expect("renames");
    while !b.join("renamed").exists() {
        tokio::task::yield_now().await;
    }
    let shown = started.elapsed();
    synced(&node_a, &node_b).await;
    let after = self::inodes(&b.join("renamed"));
    let (made, bytes, changed) =
        (self::commits(&node_a) - commits, self::sent(&node_a) - sent, differing(&inodes, &after));
    println!("a directory of {files} files is renamed: {:.0} ms to the other disk", shown.as_secs_f64() * 1000.0);
    println!("  commits: {made}");
    println!("  bytes of frames there, acknowledgements of the wait among them: {bytes}");
    println!("  bytes that both nodes read, sockets and stores among them: {}", bytes_read() - read);
    println!("  files of the other side that are another file or were written: {changed}");
    assert!(made == 1 && bytes <= SENT_BYTES_MAX && changed == 0, "one change, in a kilobyte, and no file is touched");
    assert_eq!(differences(&a, &b), Vec::<String>::new());
    node_a.shutdown().await;
    node_b.shutdown().await;
}

async fn node(dir: &Path, name: &str) -> Node {
    let home = dir.join(format!("{name}-home"));
    Node::builder(home).network(Network::Loopback).device_name(name).spawn().await.expect("starts")
}

async fn synced(a: &Node, b: &Node) {
    for node in [a, b] {
        node.wait_synced(None).await.expect("the node runs");
    }
}

fn commits(node: &Node) -> u64 {
    node.status().folders.iter().map(|folder| folder.commits).sum()
}

fn sent(node: &Node) -> u64 {
    node.traffic().bytes_sent
}

/// Bytes of all reads of this process.
fn bytes_read() -> u64 {
    let io = fs::read_to_string("/proc/self/io").expect("Linux tells");
    let rchar = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    rchar.and_then(|text| text.parse().ok()).expect("is a number")
}

/// Inode and time of the last change, by path below a directory.
fn inodes(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("lists") {
            let entry = entry.expect("lists");
            let metadata = entry.metadata().expect("is there");
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else {
                let below = entry.path().strip_prefix(root).expect("is below").to_path_buf();
                all.insert(below, (metadata.ino(), metadata.ctime(), metadata.ctime_nsec()));
            }
        }
    }
    all
}

fn differing<T: PartialEq>(before: &BTreeMap<PathBuf, T>, after: &BTreeMap<PathBuf, T>) -> usize {
    assert_eq!(before.len(), after.len());
    before.iter().filter(|(path, was)| after.get(*path) != Some(*was)).count()
}
