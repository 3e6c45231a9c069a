//! The life of the daemon: lock, socket, node, requests, and an orderly end.
//!
//! The lock comes first, and whoever holds it may remove a socket that a crash left. The socket is there before the node,
//! so a command that comes early waits instead of failing. There is no network on the way to readiness beyond what
//! [`sync_net::NodeBuilder::spawn`] does.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use rustix::{fs::Mode, process::umask};
use sync_net::Node;
use tokio::{
    net::UnixListener,
    signal::unix::{Signal, SignalKind, signal},
};

use super::routes::{self, Daemon, Stop, Work};
use crate::{
    config::Config,
    error::{Error, Kind, Outcome, Result},
};

/// How long the node may take to put everything down.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How often the lock is tried again while commands look at it, each for a moment.
const LOCK_TRIES: u32 = 20;

/// The pause between.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How long answers that are under way may take after that was asked for.
const ANSWERS_MAX: Duration = Duration::from_secs(1);

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// Another daemon has the home ([`Kind::Busy`]), or the home, the socket or the node cannot be opened.
pub async fn run(config: &Config, detached: bool) -> Result<Outcome> {
    config.make_home()?;
    let lock = lock(config).await?;
    let network = config.network()?;
    config.keep_network()?;
    let mut signals = Signals::listen(detached)?;
    let socket = Socket::bind(&config.socket())?;
    let node = tokio::select! {
        node = Node::builder(&config.home).network(network).spawn() => node?,
        () = signals.next() => return Ok(Outcome::Done),
    };
    tracing::info!(version = super::api::VERSION, %network, "ready");
    serve(config, node, &socket.listener, &mut signals).await?;
    // The socket goes before the lock: a daemon that starts now finds neither.
    drop(socket);
    drop(lock);
    tracing::info!("stopped");
    Ok(Outcome::Done)
}

/// Answers until a signal or a request says stop, then drains.
async fn serve(config: &Config, node: Node, listener: &Listener, signals: &mut Signals) -> Result<()> {
    let stop = Stop::new();
    let daemon = Daemon {
        node: node.clone(),
        home: config.home.to_string_lossy().into_owned(),
        stop: stop.clone(),
        work: Work::default(),
    };
    let listener = listener.for_serving()?;
    let server = axum::serve(listener, routes::router(daemon)).with_graceful_shutdown(stop.clone().stopped());
    let mut server = pin!(server.into_future());

    let answers = async {
        let late = async {
            stop.clone().stopped().await;
            tokio::time::sleep(ANSWERS_MAX).await;
        };
        tokio::select! {
            ended = &mut server => ended,
            () = late => Ok(()),
        }
    };
    let drain = async {
        tokio::select! {
            () = stop.clone().stopped() => {}
            () = signals.next() => {}
        }
        tracing::info!("stopping");
        stop.stop();
        tokio::select! {
            drained = tokio::time::timeout(DRAIN_MAX, node.shutdown()) => {
                if drained.is_err() {
                    tracing::warn!("the node took too long to stop; what is missing is done at the next start");
                }
            }
            () = signals.next() => {
                tracing::warn!("told twice to stop");
                std::process::exit(i32::from(Kind::Interrupted.exit_code()));
            }
        }
    };
    let (ended, ()) = tokio::join!(answers, drain);
    ended.map_err(|error| Error::from_io(Kind::Failed, "cannot answer on the socket", &error))
}

/// Takes the home for this process; held until the file is dropped.
async fn lock(config: &Config) -> Result<File> {
    let path = config.lock();
    let failed = |error: io::Error| Error::from_io(Kind::Failed, format!("cannot lock {}", path.display()), &error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            // A daemon gives way at once: one that lingers would take over when the other is told to stop.
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES && is_only_looked_at(&file) => {
                tries += 1;
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(Kind::Busy, format!("a daemon already runs for {}", config.home.display()))
                    .hint("see it: kith daemon status"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    // For people who look at it; nothing reads it back.
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}

/// Whether a lock that could not be taken is only shared, by commands like [`is_locked`].
fn is_only_looked_at(file: &File) -> bool {
    file.try_lock_shared().is_ok() && file.unlock().is_ok()
}

/// Whether some daemon holds the lock of a home. It looks with a shared lock, which no daemon takes for another daemon's.
#[must_use]
pub fn is_locked(config: &Config) -> bool {
    let Ok(file) = File::open(config.lock()) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// A bound socket, in the form that can be handed to a server more than once.
struct Listener(std::os::unix::net::UnixListener);

impl Listener {
    fn for_serving(&self) -> Result<UnixListener> {
        let failed = |error: io::Error| Error::from_io(Kind::Failed, "cannot listen on the socket", &error);
        let listener = self.0.try_clone().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        UnixListener::from_std(listener).map_err(failed)
    }
}

/// The socket on disk; removed when dropped.
struct Socket {
    path: PathBuf,
    listener: Listener,
}

impl Socket {
    /// Binds, in place of a socket that a crash left. The caller holds the lock.
    fn bind(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::from_io(Kind::Failed, format!("cannot listen on {}", path.display()), &error)
                .hint("choose another home with a shorter path: --home DIR")
        };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // No moment in which others may connect. No other thread makes files yet: the node starts after this.
        let before = umask(Mode::from_raw_mode(0o177));
        let bound = std::os::unix::net::UnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), listener: Listener(listener) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The signals that end the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    detached: bool,
}

impl Signals {
    fn listen(detached: bool) -> Result<Self> {
        let listen =
            |kind| signal(kind).map_err(|error| Error::from_io(Kind::Failed, "cannot listen to signals", &error));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            detached,
        })
    }

    /// Returns at the next signal that ends the daemon. One in the background outlives its terminal.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    if !self.detached {
                        return;
                    }
                }
            }
        }
    }
}
