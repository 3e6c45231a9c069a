//! Runs a case in a process of its own, with limits that the kernel holds: address space and processor time. A process that
//! computes without end is ended by its processor time, so that a busy machine changes no verdict.

use std::{
    fmt,
    io::Read as _,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    Case, Seen,
    calls::{CALLS, SEES},
};

/// What ends a process that neither ends nor computes.
const WALL: Duration = Duration::from_secs(120);

const SIGABRT: i32 = 6;
/// The processor time is used up.
const SIGXCPU: i32 = 24;

/// What a call led to, as the process told, or as its end did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The call.
    pub call: String,
    /// The first word: what happened; then the text.
    pub outcome: String,
}

impl Told {
    /// Whether this is what the table says.
    #[must_use]
    pub fn is(&self, seen: Seen) -> bool {
        let (word, text) = self.outcome.split_once(' ').unwrap_or((&self.outcome, ""));
        match seen {
            Seen::Fine => word == "fine",
            Seen::Says(part) => word == "says" && text.contains(part),
            Seen::Fails(part) => word == "fails" && text.contains(part),
            Seen::Panics(part) => word == "panics" && text.contains(part),
            Seen::Aborts => word == "aborts",
            Seen::Hangs => word == "hangs",
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.outcome)
    }
}

/// Runs the case and returns what was told, call by call, to the end of the process.
///
/// # Panics
/// When the process cannot be run.
#[must_use]
pub fn run(program: &Path, case: &Case) -> Vec<Told> {
    let limits = r#"ulimit -c 0 && ulimit -v "$1" && ulimit -S -t "$2" && shift 2 && exec "$@""#;
    let mut child = Command::new("sh")
        .args(["-c", limits, "sh", &(case.memory_bytes / 1024).to_string(), &case.cpu_seconds.to_string()])
        .arg(program)
        .arg(case.name)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell runs");
    let (mut stdout, mut stderr) = (child.stdout.take().expect("is piped"), child.stderr.take().expect("is piped"));
    let (sender, texts) = mpsc::sync_channel(1);
    // Ends with the process, whose ends of the pipes are the only ones.
    let reader = thread::spawn(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let read = stdout.read_to_end(&mut out).and_then(|_| stderr.read_to_end(&mut err));
        let _nobody_waits = sender.send((read.is_ok(), out, err));
    });
    let received = texts.recv_timeout(WALL);
    if received.is_err() {
        child.kill().expect("it runs or has ended");
    }
    let status = child.wait().expect("it was started");
    reader.join().expect("the reader does not panic");
    let (_, out, err) = received.unwrap_or_default();
    told(&String::from_utf8_lossy(&out), &String::from_utf8_lossy(&err), status)
}

fn told(out: &str, err: &str, status: ExitStatus) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    for line in out.lines() {
        if let Some(call) = line.strip_prefix(CALLS) {
            all.push(Told { call: call.trim().to_owned(), outcome: String::new() });
        } else if let (Some(outcome), Some(last)) = (line.strip_prefix(SEES), all.last_mut()) {
            last.outcome = outcome.trim().to_owned();
        }
    }
    if !status.success() {
        let end = match status.signal() {
            Some(SIGABRT) => "aborts",
            Some(SIGXCPU) => "hangs",
            _ => "ends",
        };
        let outcome = format!("{end} {status} {}", err.lines().next().unwrap_or_default());
        match all.last_mut() {
            Some(last) if last.outcome.is_empty() => last.outcome = outcome,
            _ => all.push(Told { call: "after all calls".into(), outcome }),
        }
    }
    all
}
