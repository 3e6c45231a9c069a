//! A node: one device with its home directory, endpoint, engine and folders.
//!
//! What people ask of history and of conflicts is in modules of its own.

mod conflicts;
mod diff;
mod joining;
mod lines;
mod past;
mod restore;
mod revert;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use iroh::{Endpoint, address_lookup::memory::MemoryLookup, protocol::Router};
use iroh_gossip::net::Gossip;
use sync_core::{
    commit::SecretKey,
    engine::{Command, Engine, Outcome, SpaceStatus},
    folder::{disk::Disk, rounds::Held},
    ids::{DeviceId, InstallEpoch, InviteKey, ReplicaId, SpaceId},
    limits,
    member::{Role, is_good_name},
    probe::reach,
    store::{Store, row::FolderRow},
    wire::{CONTENT_ALPN, JOIN_ALPN, SYNC_ALPN},
};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use joining::{Joined, Meeting, Paths};

use crate::{
    actor::{EngineHandle, lock},
    clock::Clock,
    config::{Network, ShareOptions},
    content::{ContentHandler, Fetcher, Folders},
    dial::{self, Dialer, Dialing, SyncHandler},
    endpoint,
    error::NodeError,
    folder::{
        FolderHandle, FolderReport, FolderShared, HeldDecision, Mailbox, Worker, WorkerParts, check_untaken,
        has_marker_of, trash::Kept, trash_dir,
    },
    gossip::{self, GossipHandler},
    guests::Guests,
    identity,
    invite::Invite,
    join::JoinHandler,
    session::Sessions,
    status::{FolderState, FolderStatus, HeldStatus, NodeStatus, PeerStatus, Progress},
};

/// Name of the store in the home directory.
const STORE_FILE: &str = "kith.redb";
/// How long a shutdown waits for tasks to end by themselves.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a wait looks again, besides whenever the engine has news.
const WAIT_TICK: Duration = Duration::from_millis(20);

/// Starts a node.
#[derive(Debug)]
pub struct NodeBuilder {
    home: PathBuf,
    network: Network,
    device_name: Option<String>,
}

impl NodeBuilder {
    /// How far the node reaches; public unless told.
    #[must_use]
    pub const fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// What people call this device; the machine's name unless told.
    #[must_use]
    pub fn device_name(mut self, name: impl Into<String>) -> Self {
        self.device_name = Some(name.into());
        self
    }

    /// Starts the node and its folders.
    ///
    /// # Errors
    /// When the home directory cannot be used, another process has it, or the network cannot be set up.
    ///
    /// # Cancel safety
    /// Dropping the future before it is done may leave threads that end when their store is closed.
    pub async fn spawn(self) -> Result<Node, NodeError> {
        identity::make_home(&self.home)?;
        let key = identity::load_or_create(&self.home)?;
        let clock = Clock::start();
        let store = Store::open(&self.home.join(STORE_FILE))?;
        reach("node.store-open");
        let peers = store.read()?.peers()?;
        let signer = SecretKey::from_bytes(&key.to_bytes());
        let engine = Engine::open(store, signer, rand::random())?;
        let own = engine.device();
        reach("node.engine-open");
        let runtime = tokio::runtime::Handle::current();
        let (handle, announced, thread) =
            EngineHandle::start(engine, clock).map_err(|source| NodeError::Home { path: self.home.clone(), source })?;
        let lookup = MemoryLookup::new();
        dial::remember(&lookup, peers);
        let endpoint = endpoint::bind(&self.home, self.network, key, lookup.clone(), handle.status()).await?;
        reach("node.bound");
        let tasks = TaskTracker::new();
        let sessions = Arc::new(Sessions::default());
        let folders = Arc::new(Folders::default());
        let gossip = Gossip::builder().spawn(endpoint.clone());
        let sync =
            SyncHandler { engine: handle.clone(), sessions: Arc::clone(&sessions), own, clock, tasks: tasks.clone() };
        let content = ContentHandler {
            engine: handle.clone(),
            folders: Arc::clone(&folders),
            guests: Guests::members(),
            tasks: tasks.clone(),
        };
        let announcements = GossipHandler { gossip: gossip.clone(), guests: Guests::members(), tasks: tasks.clone() };
        let join = JoinHandler { engine: handle.clone(), guests: Guests::new(1, limits::JOINERS_MAX) };
        let router = Router::builder(endpoint.clone())
            .accept(SYNC_ALPN, sync)
            .accept(CONTENT_ALPN, content)
            .accept(JOIN_ALPN, join)
            .accept(iroh_gossip::ALPN, announcements)
            .spawn();
        let dialer = Arc::new(Dialer::default());
        let dialing = Dialing {
            endpoint: endpoint.clone(),
            engine: handle.clone(),
            sessions: Arc::clone(&sessions),
            dialer: Arc::clone(&dialer),
            own,
            clock,
            tasks: tasks.clone(),
        };
        let fetcher =
            Fetcher::new(endpoint.clone(), handle.clone(), Arc::clone(&sessions), own, tasks.clone(), runtime);
        let background = vec![
            tasks.spawn(dial::run(dialing)),
            tasks.spawn(gossip::run(gossip, handle.clone(), own, announced, tasks.clone())),
        ];
        let node = Node(Arc::new(Inner {
            home: self.home,
            network: self.network,
            name: self.device_name.unwrap_or_else(identity::machine_name),
            own,
            endpoint,
            lookup,
            router,
            engine: handle,
            sessions,
            dialer,
            folders,
            lines: lines::Lines::default(),
            fetcher: Arc::new(fetcher),
            running: Mutex::default(),
            joining: tokio::sync::Mutex::default(),
            visits: joining::Visits::default(),
            background: Mutex::new(background),
            thread: Mutex::new(Some(thread)),
            clock,
        }));
        node.leave_what_has_no_folder().await?;
        node.start_folders()?;
        reach("node.up");
        info!(device = own.short(), "node is up");
        Ok(node)
    }
}

/// A device. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    home: PathBuf,
    network: Network,
    name: String,
    own: DeviceId,
    endpoint: Endpoint,
    lookup: MemoryLookup,
    router: Router,
    engine: EngineHandle,
    sessions: Arc<Sessions>,
    dialer: Arc<Dialer>,
    folders: Arc<Folders>,
    lines: lines::Lines,
    fetcher: Arc<Fetcher>,
    running: Mutex<BTreeMap<u32, FolderHandle>>,
    /// Held while a folder is bound to a directory and a space, or a space without one is left.
    joining: tokio::sync::Mutex<()>,
    /// Who looks at a space before there is a folder of it.
    visits: joining::Visits,
    background: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    clock: Clock,
}

/// A folder that was shared.
#[derive(Debug, Clone)]
pub struct Shared {
    /// What people call it.
    pub folder: String,
    /// Its space.
    pub space: SpaceId,
    /// Lets one device join.
    pub invite: Invite,
    /// Where it is.
    pub path: PathBuf,
}

/// Bytes and frames of all sessions since the start, without contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Application bytes sent.
    pub bytes_sent: u64,
    /// Application bytes received.
    pub bytes_received: u64,
    /// Frames sent.
    pub frames_sent: u64,
}

impl Node {
    /// Begins to build a node that lives in this directory.
    pub fn builder(home: impl Into<PathBuf>) -> NodeBuilder {
        NodeBuilder { home: home.into(), network: Network::default(), device_name: None }
    }

    /// This device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.0.own
    }

    /// What people call it.
    #[must_use]
    pub fn device_name(&self) -> &str {
        &self.0.name
    }

    /// How far it reaches.
    #[must_use]
    pub fn network(&self) -> Network {
        self.0.network
    }

    /// Makes a directory a folder and an invite for it. A directory that is a folder already only gets the invite.
    ///
    /// # Errors
    /// When the directory cannot be used, overlaps with another folder, or is one of another node.
    pub async fn share(&self, dir: &Path, options: ShareOptions) -> Result<Shared, NodeError> {
        let path = existing_dir(dir)?;
        let known = self.folder_at(&path);
        let (folder, space) = match known {
            Some(known) => known,
            None => {
                let name = self.free_name(options.name.as_deref(), &path)?;
                self.check_overlap(&path)?;
                check_untaken(&path, None)?;
                let created = Command::CreateSpace {
                    name: name.clone(),
                    device_name: self.0.name.clone(),
                    random: rand::random(),
                    epoch: InstallEpoch(rand::random()),
                };
                let Outcome::Space(space) = self.0.engine.command(created).await? else {
                    return Err(NodeError::Stopped);
                };
                reach("share.space-created");
                self.add_folder(space, path.clone(), name.clone(), true).await?;
                (name, space)
            }
        };
        let invite = self.new_invite(space, options.role, options.life).await?;
        Ok(Shared { folder, space, invite, path })
    }

    /// Makes another invite for a folder, given by name, path or id.
    ///
    /// # Errors
    /// When there is no such folder or the role does not allow it.
    pub async fn invite(&self, folder: &str, role: Role, life: Duration) -> Result<Invite, NodeError> {
        let handle = self.find(folder)?;
        let space = lock(&self.0.running).get(&handle).map(FolderHandle::space);
        let space = space.ok_or_else(|| NodeError::NoFolder(folder.to_owned()))?;
        self.new_invite(space, role, life).await
    }

    async fn new_invite(&self, space: SpaceId, role: Role, life: Duration) -> Result<Invite, NodeError> {
        let secret = SecretKey::from_bytes(&rand::random());
        let command = Command::Invite {
            space,
            key: InviteKey(secret.public()),
            role,
            uses: 1,
            life_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX),
        };
        self.0.engine.command(command).await?;
        Ok(Invite::new(space, &secret, self.0.endpoint.addr()))
    }

    /// Stops to sync a folder; its files stay.
    ///
    /// # Errors
    /// When there is no such folder.
    pub async fn remove_folder(&self, folder: &str) -> Result<(), NodeError> {
        let handle = self.find(folder)?;
        let held = lock(&self.0.running).remove(&handle);
        let Some(mut held) = held else {
            return Err(NodeError::NoFolder(folder.to_owned()));
        };
        self.0.lines.forget(handle);
        let space = held.space();
        let path = held.path().join(sync_core::tree::STATE_DIR);
        // What stands there may be another folder by now, whose marker is not ours to remove.
        let is_there = Disk::identity_of(held.path())
            .is_ok_and(|found| found.is_some_and(|(_, inode)| inode == held.row.root.1))
            && has_marker_of(held.path(), &space);
        self.0.engine.remove_mailbox(&space);
        self.0.folders.remove(&space);
        tokio::task::spawn_blocking(move || held.stop()).await.map_err(|_| NodeError::Stopped)?;
        self.0.engine.command(Command::RemoveFolder { folder: handle }).await?;
        self.0.engine.command(Command::LeaveSpace { space }).await?;
        if is_there && let Err(error) = std::fs::remove_dir_all(&path) {
            warn!(%error, "the marker of a removed folder stays");
        }
        Ok(())
    }

    /// Lets what a folder holds happen, or undoes it. Says how much that is; it is done soon after.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn decide(&self, folder: &str, decision: HeldDecision) -> Result<Option<HeldStatus>, NodeError> {
        let handle = self.find(folder)?;
        let running = lock(&self.0.running);
        let folder = running.get(&handle).ok_or_else(|| NodeError::NoFolder(folder.to_owned()))?;
        let held = held(&lock(&folder.shared.report));
        if held.is_some() {
            folder.mailbox.decide(decision);
        }
        Ok(held)
    }

    /// What the node and its folders are doing now.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let engine = self.0.engine.status().borrow().clone();
        let mut folders: Vec<FolderStatus> = lock(&self.0.running)
            .iter()
            .map(|(number, folder)| {
                let space = engine.spaces.iter().find(|space| space.space == folder.space());
                self.folder_status(*number, folder, space)
            })
            .collect();
        folders.sort_by(|a, b| a.name.cmp(&b.name));
        NodeStatus { device: self.0.own, name: self.0.name.clone(), folders }
    }

    fn repairs(&self, space: &SpaceStatus) -> Vec<crate::status::RepairStatus> {
        let name = |device| space.peers.iter().find(|peer| peer.device == device).map(|peer| peer.name.clone());
        let repair = |fork: &sync_core::engine::ForkStatus| crate::status::RepairStatus {
            device: name(fork.device).unwrap_or_else(|| self.0.name.clone()),
            ours: fork.ours,
            set_aside: fork.set_aside,
            committed_again: fork.committed_again,
            at_ms: fork.wall_ms,
        };
        space.forks.iter().map(repair).collect()
    }

    fn folder_status(&self, number: u32, folder: &FolderHandle, space: Option<&SpaceStatus>) -> FolderStatus {
        let report = lock(&folder.shared.report).clone();
        let peers: Vec<PeerStatus> = space
            .iter()
            .flat_map(|space| &space.peers)
            .map(|peer| PeerStatus {
                device: peer.device.to_string(),
                name: peer.name.clone(),
                connected: self.0.sessions.is_up(&peer.device),
                synced: peer.synced,
            })
            .collect();
        let mut problems = report.problems.clone();
        problems.extend(space.iter().flat_map(|space| &space.peers).filter(|peer| peer.faulty).map(|peer| {
            crate::status::ProblemStatus {
                path: String::new(),
                reason: format!("{} shows another history of one device: it was copied or restored", peer.name),
            }
        }));
        problems.extend(
            report
                .halted
                .iter()
                .map(|reason| crate::status::ProblemStatus { path: String::new(), reason: reason.clone() }),
        );
        let state = state(&report, space, &peers, !problems.is_empty());
        let first_sync = report.files < report.files_wanted || !report.caught_up;
        FolderStatus {
            name: folder.row.name.clone(),
            path: folder.path().to_owned(),
            space: folder.space().to_string(),
            state,
            files: report.files,
            bytes: report.bytes,
            commits: space.map_or(0, |space| space.arrivals),
            held: held(&report),
            conflicts: report.conflicts,
            line_conflicts: self.0.lines.total(number),
            problems,
            polled: report.polled,
            repairs: space.map(|space| self.repairs(space)).unwrap_or_default(),
            peers,
            progress: first_sync.then_some(Progress { files_done: report.files, files_total: report.files_wanted }),
        }
    }

    /// Waits until every folder, or one, agrees with every peer that can be reached, and everything is on their disks.
    ///
    /// # Errors
    /// When there is no such folder, or the node stops.
    ///
    /// # Cancel safety
    /// Changes nothing, whenever it is dropped.
    pub async fn wait_synced(&self, folder: Option<&str>) -> Result<(), NodeError> {
        let only = folder.map(|folder| self.find(folder)).transpose()?;
        let cookies = self.drop_cookies();
        let mut status = self.0.engine.status();
        loop {
            let told = cookies.iter().all(|(mailbox, cookie)| mailbox.has_seen(*cookie));
            if told && self.is_synced(only) {
                return Ok(());
            }
            let tick = tokio::time::timeout(WAIT_TICK, status.changed()).await;
            if matches!(tick, Ok(Err(_))) {
                return Err(NodeError::Stopped);
            }
        }
    }

    /// What was saved before a wait began counts for it: so the watchers first have to tell everything that they know, and
    /// what they do not is looked at.
    fn drop_cookies(&self) -> Vec<(Arc<Mailbox>, u64)> {
        let running = lock(&self.0.running);
        running
            .values()
            .filter_map(|folder| {
                let (sees_cookies, told_all) = {
                    let report = lock(&folder.shared.report);
                    (report.sees_cookies, report.told_all)
                };
                if !told_all {
                    folder.mailbox.scan();
                }
                if !sees_cookies {
                    return None;
                }
                let cookie = folder.mailbox.new_cookie();
                // A folder whose disk cannot be written says so in its own way.
                folder.shared.drop_cookie(cookie).ok()?;
                Some((Arc::clone(&folder.mailbox), cookie))
            })
            .collect()
    }

    fn is_synced(&self, only: Option<u32>) -> bool {
        let engine = self.0.engine.status().borrow().clone();
        let running = lock(&self.0.running);
        running.iter().filter(|(handle, _)| only.is_none_or(|only| only == **handle)).all(|(_, folder)| {
            let report = lock(&folder.shared.report).clone();
            let Some(space) = engine.spaces.iter().find(|space| space.space == folder.space()) else {
                return false;
            };
            let reachable = |device: &DeviceId| self.0.sessions.is_up(device) || !self.0.dialer.is_unreachable(device);
            // Without a genesis nothing has come yet, not even who the members are.
            let here = space.name.is_some()
                && folder.mailbox.is_idle()
                && !report.busy
                && report.lacking == 0
                && report.halted.is_none()
                && space.settled;
            here && space.peers.iter().filter(|peer| reachable(&peer.device)).all(|peer| peer.synced)
        })
    }

    /// Bytes and frames of all sessions since the start, without contents.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let sessions = &self.0.sessions;
        Traffic {
            bytes_sent: sessions.bytes_sent.load(Ordering::Relaxed),
            bytes_received: sessions.bytes_received.load(Ordering::Relaxed),
            frames_sent: sessions.frames_sent.load(Ordering::Relaxed),
        }
    }

    /// Ends the node: folders finish what they are in the middle of, peers are told, the store is closed.
    pub async fn shutdown(&self) {
        let folders: Vec<FolderHandle> = std::mem::take(&mut *lock(&self.0.running)).into_values().collect();
        let stop = tokio::task::spawn_blocking(move || {
            for mut folder in folders {
                folder.stop();
            }
        });
        if stop.await.is_err() {
            warn!("folders did not stop well");
        }
        reach("node.folders-stopped");
        for task in lock(&self.0.background).drain(..) {
            task.abort();
        }
        self.0.sessions.close_all();
        let closed = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.0.router.shutdown()).await;
        if !matches!(closed, Ok(Ok(()))) {
            warn!("the network was not shut down in time");
        }
        self.0.engine.stop().await;
        let thread = lock(&self.0.thread).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                warn!("the engine's thread did not end well");
            }
        }
        reach("node.closed");
    }

    // ---- folders ----

    /// A space that a join or a dry run was cut off in would go on, and nobody would see it. Whoever joins takes it up again.
    async fn leave_what_has_no_folder(&self) -> Result<(), NodeError> {
        let snapshot = self.0.engine.store.read()?;
        let folders = snapshot.folders()?;
        for (_, row) in snapshot.spaces()? {
            if !row.left && folders.iter().all(|(_, folder)| folder.space != row.id) {
                self.0.engine.command(Command::LeaveSpace { space: row.id }).await?;
            }
        }
        Ok(())
    }

    fn start_folders(&self) -> Result<(), NodeError> {
        let rows = self.0.engine.store.read()?.folders()?;
        for (handle, row) in rows {
            if let Err(error) = self.start_folder(handle, row.clone()) {
                warn!(%error, folder = row.name, "a folder was not started");
            }
        }
        Ok(())
    }

    async fn add_folder(&self, space: SpaceId, path: PathBuf, name: String, caught_up: bool) -> Result<(), NodeError> {
        let unusable = |reason: String| NodeError::Directory { path: path.clone(), reason };
        let root = Disk::identity_of(&path).map_err(|error| unusable(error.to_string()))?;
        let root = root.ok_or_else(|| unusable("it is not there".into()))?;
        let text = path.to_str().ok_or_else(|| unusable("its path is not text".into()))?.to_owned();
        let row = FolderRow { space, path: text, name, root, caught_up };
        let command = Command::AddFolder { row: row.clone() };
        let Outcome::Folder(handle) = self.0.engine.command(command).await? else {
            return Err(NodeError::Stopped);
        };
        self.start_folder(handle, row)
    }

    fn start_folder(&self, folder: u32, row: FolderRow) -> Result<(), NodeError> {
        let unusable =
            |error: std::io::Error| NodeError::Directory { path: PathBuf::from(&row.path), reason: error.to_string() };
        let (space_handle, replica) = self.space_row(&row.space)?;
        // One that is not there is awaited: its folder stands still until it is back.
        let disk = Disk::awaited(Path::new(&row.path));
        let shared = Arc::new(FolderShared {
            disk: Arc::new(disk),
            base: Arc::default(),
            kept: Arc::new(Kept::open(trash_dir(&self.0.home, folder), self.0.clock)),
            report: Mutex::new(FolderReport { busy: true, caught_up: row.caught_up, ..FolderReport::default() }),
        });
        let mailbox = Arc::new(Mailbox::default());
        self.0.engine.add_mailbox(row.space, Arc::clone(&mailbox));
        self.0.folders.add(row.space, Arc::clone(&shared));
        let thread = Worker::start(WorkerParts {
            folder,
            row: row.clone(),
            space_handle,
            replica,
            engine: self.0.engine.clone(),
            mailbox: Arc::clone(&mailbox),
            shared: Arc::clone(&shared),
            fetcher: Arc::clone(&self.0.fetcher),
            clock: self.0.clock,
        })
        .map_err(unusable)?;
        lock(&self.0.running).insert(folder, FolderHandle { row, mailbox, shared, thread: Some(thread) });
        Ok(())
    }

    fn space_row(&self, space: &SpaceId) -> Result<(u32, ReplicaId), NodeError> {
        let spaces = self.0.engine.store.read()?.spaces()?;
        let found = spaces.into_iter().find(|(_, row)| row.id == *space);
        found.map(|(handle, row)| (handle, row.replica)).ok_or(NodeError::Refused(sync_core::engine::Refused::NoSpace))
    }

    /// A folder by name, path, or the beginning of its space's id.
    fn find(&self, folder: &str) -> Result<u32, NodeError> {
        let running = lock(&self.0.running);
        let matches = |held: &FolderHandle| {
            held.row.name == folder
                || held.row.path == folder
                || (folder.len() >= 6 && held.space().to_string().starts_with(folder))
        };
        let found: Vec<u32> = running.iter().filter(|(_, held)| matches(held)).map(|(handle, _)| *handle).collect();
        match found[..] {
            [one] => Ok(one),
            [] => Err(NodeError::NoFolder(folder.to_owned())),
            _ => Err(NodeError::AmbiguousFolder(folder.to_owned())),
        }
    }

    fn folder_at(&self, path: &Path) -> Option<(String, SpaceId)> {
        lock(&self.0.running)
            .values()
            .find(|held| held.path() == path)
            .map(|held| (held.row.name.clone(), held.space()))
    }

    fn running_in(&self, space: &SpaceId) -> Option<String> {
        lock(&self.0.running).values().find(|held| held.space() == *space).map(|held| held.row.name.clone())
    }

    /// Folders within folders would sync each other's files; our own state must not be synced at all.
    fn check_overlap(&self, path: &Path) -> Result<(), NodeError> {
        let home = self.0.home.canonicalize().unwrap_or_else(|_| self.0.home.clone());
        if home.starts_with(path) {
            let reason = "it holds the state of this program".to_owned();
            return Err(NodeError::Directory { path: path.to_owned(), reason });
        }
        for held in lock(&self.0.running).values() {
            if held.path().starts_with(path) || path.starts_with(held.path()) {
                return Err(NodeError::Overlap { path: path.to_owned(), folder: held.row.name.clone() });
            }
        }
        Ok(())
    }

    /// The name asked for, or the directory's own, made unique.
    fn free_name(&self, asked: Option<&str>, path: &Path) -> Result<String, NodeError> {
        let own = path.file_name().and_then(|name| name.to_str()).unwrap_or("folder");
        let name = asked.unwrap_or(own).to_owned();
        if !is_good_name(&name) {
            return Err(NodeError::Refused(sync_core::engine::Refused::Name));
        }
        let running = lock(&self.0.running);
        let taken = |name: &str| running.values().any(|held| held.row.name == name);
        let free = std::iter::once(name.clone())
            .chain((2..).map(|number| format!("{name}-{number}")))
            .find(|name| !taken(name));
        Ok(free.unwrap_or(name))
    }
}

fn existing_dir(dir: &Path) -> Result<PathBuf, NodeError> {
    let unusable = |reason: String| NodeError::Directory { path: dir.to_owned(), reason };
    let path = dir.canonicalize().map_err(|error| unusable(error.to_string()))?;
    if !path.is_dir() {
        return Err(unusable("it is not a directory".into()));
    }
    if path.parent().is_none() {
        return Err(unusable("a whole file system cannot be a folder".into()));
    }
    Ok(path)
}

fn held(report: &FolderReport) -> Option<HeldStatus> {
    let Held { outgoing, incoming, awaited } = report.held;
    (!report.held.is_empty()).then_some(HeldStatus {
        outgoing_deletes: outgoing.deletes,
        outgoing_overwrites: outgoing.overwrites,
        incoming_deletes: incoming.deletes,
        incoming_overwrites: incoming.overwrites,
        awaited,
    })
}

fn state(report: &FolderReport, space: Option<&SpaceStatus>, peers: &[PeerStatus], has_problems: bool) -> FolderState {
    let Some(space) = space else {
        return FolderState::Waiting;
    };
    if has_problems || !report.conflicts.is_empty() || !report.held.is_empty() {
        return FolderState::Attention;
    }
    let anybody = peers.iter().any(|peer| peer.connected);
    if (report.lacking > 0 || !report.caught_up) && !anybody {
        return FolderState::Waiting;
    }
    let unsynced = peers.iter().any(|peer| peer.connected && !peer.synced);
    if report.busy || report.lacking > 0 || !space.settled || unsynced {
        return FolderState::Syncing;
    }
    FolderState::UpToDate
}
