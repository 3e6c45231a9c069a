//! `git checkout` between distant commits of 3 000 files, on both sides of a shared folder at once, there and back: time,
//! commits, conflicts, and how often somebody's word was needed.
//!
//! `cargo bench -p sync-tests --bench checkout`; `KITH_BENCH_FILES` sets another number of files.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::Value;
use sync_tests::{daemon::Daemon, disk::differences};

fn main() {
    let files: usize = std::env::var("KITH_BENCH_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000);
    let dir = tempfile::tempdir().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let (a, b) = (Daemon::new(program, dir.path(), "a"), Daemon::new(program, dir.path(), "b"));
    history(&a.folder, files);
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    // The other side has the same history, beside the files that came.
    git(dir.path(), &["clone", "-q", "--no-checkout", &a.folder.to_string_lossy(), "clone"]);
    fs::rename(dir.path().join("clone/.git"), b.folder.join(".git")).expect("renames");
    git(&b.folder, &["reset", "-q"]);
    for (from, to) in [("far", "old"), ("old", "near"), ("near", "old"), ("old", "far")] {
        let changed = git(&a.folder, &["diff", "--name-only", from, to]).lines().count();
        let before = commits(&a);
        let started = Instant::now();
        let runs = [&a, &b].map(|daemon| checkout(&daemon.folder, to).spawn().expect("git runs"));
        for mut run in runs {
            assert!(run.wait().expect("git ends").success());
        }
        let checked_out = started.elapsed();
        let held = settle(&[&a, &b]);
        let synced = started.elapsed();
        println!(
            "{from} to {to}, {changed} files differ: git {:.2} s, all equal after {:.2} s, {} commits, {} conflicts, {held} approvals",
            checked_out.as_secs_f64(),
            synced.as_secs_f64(),
            commits(&a) - before,
            conflicts(&a)
        );
        let differing = differences(&a.folder, &b.folder).into_iter().filter(|line| !line.contains(".git/"));
        assert_eq!(differing.collect::<Vec<_>>(), Vec::<String>::new());
        for daemon in [&a, &b] {
            let status = git(&daemon.folder, &["status", "--porcelain"]);
            println!(
                "  git status says of {}: {} lines {}",
                daemon.folder.display(),
                status.lines().count(),
                first(&status)
            );
            assert_eq!(
                (status.as_str(), conflicts(daemon)),
                ("", 0),
                "both sides have the checkout, and nothing beside it"
            );
        }
    }
    println!("peak memory: {} MB and {} MB", a.peak_memory() / 1_000_000, b.peak_memory() / 1_000_000);
}

/// Waits until all are equal; gives the word that so many changes wait for, and tells how often.
fn settle(daemons: &[&Daemon]) -> usize {
    let mut approvals = 0;
    let (mut held, mut approved) = (Vec::new(), Vec::new());
    loop {
        let synced = |daemon: &&Daemon| daemon.kith(&["wait", "--synced", "--timeout", "1s"]).status.success();
        if daemons.iter().all(synced) && daemons.iter().all(synced) {
            return approvals;
        }
        let now: Vec<Value> = daemons.iter().map(|daemon| status(daemon)["held"].clone()).collect();
        // As people do, who see what they decide about: what still grows is not decided, and nobody says it twice.
        if now == held && now != approved {
            for (daemon, _) in daemons.iter().zip(&now).filter(|(_, waits)| !waits.is_null()) {
                daemon.json(&["folder", "approve", daemon.folder.to_str().expect("is text")]);
                approvals += 1;
            }
            approved.clone_from(&now);
        }
        held = now;
    }
}

/// A repository with three commits, tagged `old`, `near` and `far`. From `old` to `near` a sixth of the files change, and
/// of each sixty one goes, one comes and one is in another directory; to `far` half of them change, and of each six one
/// goes, one comes and one is in another directory.
fn history(root: &Path, files: usize) {
    git(root, &["init", "-q", "-b", "main"]);
    for (tag, edition, each) in [("old", 0, 1), ("near", 1, 10), ("far", 2, 1)] {
        if edition > 0 {
            git(root, &["checkout", "-q", "old"]);
        }
        for index in 0..files {
            let old = format!("src/m{:02}/f{index}.rs", index % 40);
            let is_of = (index / 6).is_multiple_of(each);
            match index % 6 {
                _ if edition == 0 => write(&root.join(old), &text(index, 0)),
                0 => write(&root.join(old), &text(index, edition)),
                1 | 2 if each == 1 => write(&root.join(old), &text(index, edition)),
                3 if is_of => fs::remove_file(root.join(old)).expect("removes"),
                4 if is_of => {
                    write(&root.join(format!("src/new{:02}/f{index}.rs", index % 30)), &text(index, edition));
                }
                5 if is_of => {
                    let to = root.join(format!("lib/m{:02}/f{index}.rs", index % 40));
                    fs::create_dir_all(to.parent().expect("is in a directory")).expect("makes");
                    fs::rename(root.join(old), to).expect("renames");
                }
                _ => {}
            }
        }
        commit(root, tag);
    }
}

fn text(index: usize, edition: usize) -> String {
    let line = |line: usize| match (line * 7 + index) % 11 {
        0 if edition > 0 => format!("    let changed_{line} = {index} + {edition};\n"),
        3 => String::from("\n"),
        _ => format!("    let name_{line} = {};\n", line * index),
    };
    (0..20 + index % 60).map(line).collect()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("is in a directory")).expect("makes");
    fs::write(path, text).expect("writes");
}

fn commit(root: &Path, tag: &str) {
    git(root, &["add", "-A"]);
    git(root, &["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", tag]);
    git(root, &["tag", tag]);
}

fn checkout(root: &Path, to: &str) -> Command {
    let mut command = Command::new("git");
    command.current_dir(root).args(["checkout", "-q", "-f", to]).stderr(Stdio::inherit());
    command
}

fn git(root: &Path, args: &[&str]) -> String {
    let output = Command::new("git").current_dir(root).args(args).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `status` says, whatever it wants of people.
fn status(daemon: &Daemon) -> Value {
    let output = daemon.kith(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    status["folders"][0].clone()
}

fn commits(daemon: &Daemon) -> u64 {
    status(daemon)["commits"].as_u64().expect("a count")
}

fn conflicts(daemon: &Daemon) -> usize {
    status(daemon)["conflicts"].as_array().map_or(0, Vec::len)
}

fn first(lines: &str) -> String {
    lines.lines().take(3).collect::<Vec<_>>().join(", ")
}
