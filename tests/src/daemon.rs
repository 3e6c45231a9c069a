//! Real `kith` processes on the loopback address: one home, one folder, one daemon each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

/// How long a process may take to stand still.
const HALT_MAX: Duration = Duration::from_secs(30);

/// A device that is a process.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    /// Its state.
    pub home: PathBuf,
    /// Its folder.
    pub folder: PathBuf,
}

impl Daemon {
    /// A device with a home and an empty folder under `dir`; nothing runs yet.
    ///
    /// # Panics
    /// When the directories cannot be made.
    #[must_use]
    pub fn new(program: &Path, dir: &Path, name: &str) -> Self {
        let (home, folder) = (dir.join(format!("{name}-home")), dir.join(name));
        fs::create_dir_all(&folder).expect("makes");
        Self { program: program.to_owned(), home, folder }
    }

    /// Runs `kith` with these arguments and waits for it.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn kith(&self, args: &[&str]) -> Output {
        self.kith_with(args, &[])
    }

    /// Runs `kith` with more in its environment, which a daemon that it starts inherits.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn kith_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = self.command(args);
        command.envs(environment.iter().copied()).env("KITH_NETWORK", "loopback").output().expect("kith runs")
    }

    /// Runs `kith` without telling it which network to use, in a home that keeps one: no test may reach further than this
    /// machine.
    ///
    /// # Panics
    /// When it cannot be run, or the home keeps no network.
    pub fn kith_on_its_network(&self, args: &[&str]) -> Output {
        let kept = fs::read_to_string(self.home.join("network")).expect("a network is kept");
        assert_ne!(kept.trim(), "public");
        self.command(args).env_remove("KITH_NETWORK").output().expect("kith runs")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("KITH_HOME", &self.home)
            .env("KITH_LOG", std::env::var("KITH_LOG").unwrap_or_else(|_| "info".into()))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed and returns its JSON.
    ///
    /// # Panics
    /// When it fails or prints anything else.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.kith(&[args, &["--json"]].concat());
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kith {args:?}: {}\n{out}\n{err}", output.status);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("kith {args:?}: {error}\n{out}"))
    }

    fn folder_arg(&self) -> &str {
        self.folder.to_str().expect("temporary paths are text")
    }

    /// Shares the folder and returns an invite.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn share(&self) -> String {
        let shared = self.json(&["share", self.folder_arg()]);
        shared["invite"].as_str().expect("an invite").to_owned()
    }

    /// Joins the folder of an invite.
    ///
    /// # Panics
    /// When it fails.
    pub fn join(&self, invite: &str) {
        self.json(&["join", invite, self.folder_arg()]);
    }

    /// Waits until everybody who can be reached has the same.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_synced(&self) {
        let output = self.kith(&["wait", "--synced", "--timeout", "120s"]);
        let status = self.kith(&["status", "--json"]);
        assert!(
            output.status.success(),
            "{}: {}\n{}\n{}",
            self.home.display(),
            output.status,
            String::from_utf8_lossy(&status.stdout),
            self.log()
        );
    }

    /// The end of the daemon's log.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.home.join("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The daemon's process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u64 {
        self.json(&["daemon", "status"])["pid"].as_u64().expect("a process id")
    }

    /// Starts the daemon.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self) {
        let output = self.kith(&["daemon", "start"]);
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.log());
    }

    /// Starts the daemon, which somebody else's handle of the same home then stops.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_and_forget(self) {
        self.start();
        std::mem::forget(self);
    }

    /// Stops the daemon as a user would.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&self) {
        let output = self.kith(&["daemon", "stop"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Kills the daemon in the middle of whatever it does.
    ///
    /// # Panics
    /// When there is none.
    pub fn kill(&self) {
        signal("KILL", self.pid());
    }

    /// Lets the daemon stand still while something is done.
    ///
    /// # Panics
    /// When there is none.
    pub fn halted<T>(&self, work: impl FnOnce() -> T) -> T {
        let _until_then = self.halt();
        work()
    }

    /// Lets the daemon stand still until what this gives is dropped.
    ///
    /// # Panics
    /// When there is none, or it goes on for too long.
    #[must_use]
    pub fn halt(&self) -> Halted {
        let pid = self.pid();
        signal("STOP", pid);
        let halted = Halted(pid);
        // Each thread stops when the kernel next lets it run, which on a busy machine is after `kill` has returned.
        let deadline = Instant::now() + HALT_MAX;
        while !stands_still(pid) {
            assert!(Instant::now() < deadline, "process {pid} was stopped and still runs");
            std::thread::yield_now();
        }
        halted
    }

    /// The most memory that the daemon has had, in bytes.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux says so");
        let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
        kib * 1024
    }
}

/// A daemon that stands still.
#[derive(Debug)]
pub struct Halted(u64);

impl Drop for Halted {
    fn drop(&mut self) {
        signal("CONT", self.0);
    }
}

/// Whether all threads of a process are stopped.
fn stands_still(pid: u64) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    tasks.map(|task| task.expect("reads").path().join("stat")).all(|stat| {
        // The state comes after the name, which is in brackets and may hold any. A thread that is gone does nothing.
        let Ok(stat) = fs::read_to_string(stat) else { return true };
        let after_name = stat.rsplit_once(')').expect("proc(5) has a name").1;
        matches!(after_name.split_whitespace().next(), Some("T" | "X" | "Z"))
    })
}

/// Sends a signal to a process that the caller started.
///
/// # Panics
/// When there is none.
pub fn signal(name: &str, pid: u64) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success(), "there is a process {pid}");
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A failed test must not leave a process behind.
        let _not_running = self.kith(&["daemon", "stop"]);
    }
}
