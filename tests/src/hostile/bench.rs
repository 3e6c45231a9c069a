//! Two honest daemons with one folder, and the scripts that hostile devices play against them.
//!
//! Daemons are processes, so that their memory can be measured and a crash is seen. Scripts take turns on as many benches
//! as there are threads of tests; after each the honest pair must still sync, and a script that failed takes its bench with
//! it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use iroh::{Endpoint, EndpointAddr, EndpointId};
use serde_json::Value;
use sync_core::{
    ids::{DeviceId, SpaceId},
    version::VersionVector,
    wire::SpaceHello,
};
use tempfile::TempDir;

use super::{
    client::{Client, within},
    standing::{Member, Ticket1, fresh_seed},
};
use crate::{blackbox::user::files_below, daemon::Daemon};

/// Growth of a victim's memory that a script may cause.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// Benches that no script is using.
static IDLE: Mutex<Vec<Bench>> = Mutex::new(Vec::new());

/// One honest daemon.
#[derive(Debug)]
pub struct Victim {
    /// The process.
    pub daemon: Daemon,
    /// Where it listens.
    pub address: EndpointAddr,
    pid: u64,
    memory_before: u64,
}

/// Everything that refused input must leave as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What is held.
    pub vector: VersionVector,
    /// Digest of all documents.
    pub root: [u8; 32],
    /// Commits in the order of arrival.
    pub commits: u64,
    /// The other members.
    pub members: usize,
    /// Files in the folder.
    pub files: u64,
}

/// Two honest daemons in one space.
#[derive(Debug)]
pub struct Bench {
    /// Who founded the space.
    pub a: Victim,
    /// Who joined.
    pub b: Victim,
    /// The space.
    pub space: SpaceId,
    witness: Member,
    /// Endpoints of members that scripts brought in, to be closed behind them.
    guests: Mutex<Vec<Endpoint>>,
    pings: u32,
    retired: bool,
    _janitor: Janitor,
    _dir: TempDir,
}

/// Stops daemons whose test process is gone: a bench of a static is never dropped.
#[derive(Debug)]
struct Janitor(Child);

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _gone = self.0.wait();
    }
}

/// Plays a script on a bench that it has for itself.
///
/// # Panics
/// When the script fails, or the honest pair is not what it was afterwards.
pub fn script(program: &str, play: impl AsyncFnOnce(&mut Bench)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("starts");
    // A bench that a script leaves in disorder does not come back.
    let bench = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let bench = runtime.block_on(async {
        let mut bench = match bench {
            Some(mut bench) => {
                bench.witness.client = Client::bind(bench.witness.client.key.to_bytes()).await;
                bench
            }
            None => Bench::start(Path::new(program)).await,
        };
        bench.relax();
        play(&mut bench).await;
        bench.pair_syncs().await;
        for victim in [&bench.a, &bench.b] {
            victim.is_well();
            let before = victim.memory_before;
            let peak = victim.memory("VmHWM:");
            let growth = peak.saturating_sub(before);
            assert!(growth < MEMORY_BYTES_MAX, "memory grew by {} MiB from {} MiB", growth >> 20, before >> 20);
        }
        let guests = std::mem::take(&mut *bench.guests.lock().unwrap_or_else(PoisonError::into_inner));
        for endpoint in guests {
            endpoint.close().await;
        }
        bench.witness.client.endpoint.close().await;
        bench
    });
    if !bench.retired {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(bench);
    }
}

impl Bench {
    async fn start(program: &Path) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let (a, b) = (Daemon::new(program, dir.path(), "a"), Daemon::new(program, dir.path(), "b"));
        let janitor = Janitor::watch(program, dir.path(), [&a, &b]);
        fs::write(a.folder.join("shared.txt"), "one\ntwo\nthree\n").expect("writes");
        let invite = a.share();
        b.join(&invite);
        let (a, b) = (Victim::of(a), Victim::of(b));
        let space = Ticket1::read(&invite).space;
        let witness = a.invite("reader", "1h");
        let witness = Member::join(Client::bind(fresh_seed()).await, &a.address, &witness).await;
        let mut bench = Self {
            a,
            b,
            space,
            witness,
            guests: Mutex::default(),
            pings: 0,
            retired: false,
            _janitor: janitor,
            _dir: dir,
        };
        within("the first file", until(|| bench.b.daemon.folder.join("shared.txt").exists())).await;
        // Both have logs from here on.
        bench.pair_syncs().await;
        bench
    }

    /// Lets a fresh device in.
    pub async fn member(&self) -> Member {
        self.member_as("writer", Client::bind(fresh_seed()).await).await
    }

    /// Lets a device in with a role.
    pub async fn member_as(&self, role: &str, client: Client) -> Member {
        let invite = self.a.invite(role, "1h");
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).push(client.endpoint.clone());
        let member = Member::join(client, &self.a.address, &invite).await;
        // Its victims both know it before it begins.
        let wanted = member.vector();
        self.until_held(&self.b, &wanted).await;
        member
    }

    /// Waits until a victim holds what a vector counts.
    pub async fn until_held(&self, victim: &Victim, vector: &VersionVector) {
        within("both know the same", async {
            while !self.look(victim).await.vector.covers(vector) {
                tick().await;
            }
        })
        .await;
    }

    /// Where a victim stands, as it tells a member that asks.
    pub async fn look(&self, victim: &Victim) -> SpaceHello {
        let nothing = SpaceHello { vector: VersionVector::new(), ..self.witness.hello() };
        let (wire, hello) = self.witness.greet(&victim.address, nothing).await;
        wire.leave();
        hello
    }

    /// All that refused input must leave as it is, of the first victim.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn state(&self) -> State {
        let hello = self.look(&self.a).await;
        let folder = self.a.folder();
        State {
            vector: hello.vector,
            root: hello.root,
            commits: folder["commits"].as_u64().expect("a number"),
            members: folder["peers"].as_array().expect("peers").len(),
            files: folder["files"].as_u64().expect("a number"),
        }
    }

    /// Checks that nothing was taken in.
    ///
    /// # Panics
    /// When something was.
    pub async fn unchanged(&self, before: &State) {
        assert_eq!(&self.state().await, before, "refused input changed the store");
    }

    /// Lets the second victim stop and come back, so that the two compare again.
    pub async fn meet_again(&mut self) {
        self.b.daemon.stop();
        self.b.daemon.start();
        self.b.pid = self.b.daemon.pid();
        self.b.forget_peak();
        self.b.memory_before = self.b.memory("VmRSS:");
        let wanted = self.look(&self.a).await.vector;
        self.until_held(&self.b, &wanted).await;
    }

    /// Measures memory from here: what came before in a script was honest work.
    pub fn relax(&mut self) {
        for victim in [&mut self.a, &mut self.b] {
            victim.forget_peak();
            victim.memory_before = victim.memory("VmRSS:");
        }
    }

    /// Takes the bench out of use after a script that leaves it sound but full.
    pub const fn retire(&mut self) {
        self.retired = true;
    }

    /// Checks that an edit on each side arrives on the other, and that both have the same then.
    ///
    /// # Panics
    /// When it does not.
    pub async fn pair_syncs(&mut self) {
        self.pings += 1;
        let name = |side: &str| format!("ping {} of {side}.txt", self.pings);
        let (a, b) = (&self.a.daemon.folder, &self.b.daemon.folder);
        fs::write(a.join(name("a")), format!("{} of a\n", self.pings)).expect("writes");
        fs::write(b.join(name("b")), format!("{} of b\n", self.pings)).expect("writes");
        let arrived = until(|| {
            let both = b.join(name("a")).exists() && a.join(name("b")).exists();
            both && files_of(a) == files_of(b)
        });
        if tokio::time::timeout(super::client::DEADLINE, arrived).await.is_err() {
            let (of_a, of_b) = (files_of(a), files_of(b));
            let names: BTreeSet<&PathBuf> = of_a.keys().chain(of_b.keys()).collect();
            let differ: Vec<&PathBuf> = names.into_iter().filter(|name| of_a.get(*name) != of_b.get(*name)).collect();
            panic!("the honest pair does not sync {differ:?}\n{}\n{}", self.a.daemon.log(), self.b.daemon.log());
        }
    }
}

/// All files of a folder that are there now, with their bytes.
fn files_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_below(folder).into_iter().filter(|path| !path.starts_with(folder.join(".kith")));
    let read = files.filter_map(|path| Some((path.strip_prefix(folder).ok()?.to_owned(), fs::read(&path).ok()?)));
    read.collect()
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for victim in [&self.a, &self.b] {
                eprintln!("{}:\n{}", victim.daemon.home.display(), victim.daemon.log());
            }
        }
    }
}

impl Victim {
    fn of(daemon: Daemon) -> Self {
        let status = daemon.json(&["status"]);
        let device: DeviceId = status["device"]["id"].as_str().expect("a device").parse().expect("an id");
        let port = fs::read_to_string(daemon.home.join("port")).expect("a port");
        let port: u16 = port.trim().parse().expect("a number");
        let id = EndpointId::from_bytes(&device.0).expect("a key");
        let address = EndpointAddr::new(id).with_ip_addr(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let pid = daemon.pid();
        Self { daemon, address, pid, memory_before: 0 }
    }

    /// Its id.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId(*self.address.id.as_bytes())
    }

    /// What it says of its folder, well or not.
    ///
    /// # Panics
    /// When it says nothing.
    #[must_use]
    pub fn folder(&self) -> Value {
        // Its exit code tells whether something needs a look.
        let output = self.daemon.kith(&["status", "--json"]);
        let mut status: Value = serde_json::from_slice(&output.stdout).expect("its status");
        status["folders"][0].take()
    }

    /// Whether it reports a problem.
    #[must_use]
    pub fn reports_a_problem(&self) -> bool {
        self.folder()["problems"].as_array().is_some_and(|problems| !problems.is_empty())
    }

    /// Whether it reports a problem, or one that was mended before anybody looked.
    #[must_use]
    pub fn reports_a_fork(&self) -> bool {
        self.reports_a_problem() || self.folder()["repairs"].as_array().is_some_and(|repairs| !repairs.is_empty())
    }

    /// Makes an invite.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn invite(&self, role: &str, life: &str) -> Ticket1 {
        let folder = self.daemon.folder.to_str().expect("is text");
        let reply = self.daemon.json(&["invite", folder, "--role", role, "--expires", life]);
        Ticket1::read(reply["invite"].as_str().expect("an invite"))
    }

    /// Checks that it is the process that it was, and that nothing in it panicked.
    ///
    /// # Panics
    /// When it is not.
    pub fn is_well(&self) {
        let log = fs::read_to_string(self.daemon.home.join("daemon.log")).unwrap_or_default();
        assert!(!log.contains("panicked"), "a panic:\n{log}");
        assert!(!log.contains("the store failed"), "the engine stopped:\n{log}");
        assert_eq!(self.daemon.pid(), self.pid, "the daemon was started again");
    }

    /// A line of what the system says of its memory, in bytes.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("runs");
        let line = status.lines().find_map(|found| found.strip_prefix(line)).expect("Linux says so");
        let kib: u64 = line.split_whitespace().next().expect("a number").parse().expect("a number");
        kib * 1024
    }

    /// Lets the highest memory be counted from now.
    fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").expect("its owner may");
    }
}

impl Janitor {
    fn watch(program: &Path, dir: &Path, daemons: [&Daemon; 2]) -> Self {
        let work = "cat; for home in \"$2\" \"$3\"; do KITH_HOME=\"$home\" \"$0\" daemon stop; done; rm -rf \"$1\"";
        let child = Command::new("sh")
            .args(["-c", work])
            .arg(program)
            .arg(dir)
            .args(daemons.map(|daemon| &daemon.home))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("there is a shell"))
    }
}

/// Waits until something is so.
pub async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tick().await;
    }
}

/// A moment between two looks.
pub async fn tick() {
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    pause.tick().await;
    pause.tick().await;
}
