//! Asks the daemon: one connection and one HTTP request at a time over its socket.
//!
//! It speaks HTTP/1 with `hyper` alone, since a socket in our own directory needs neither TLS nor names. What the daemon
//! refuses comes back as the same [`Error`] that it made there.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::api::{self, Empty, ErrorReply, StatusReply, VersionReply, WaitRequest};
use crate::{
    config::Config,
    error::{Error, Kind, Result},
};

/// What to do when command and daemon are of different versions.
pub(crate) const RESTART: &str = "restart the daemon: kith daemon stop && kith daemon start";

/// How long a question may take that the daemon answers at once.
const QUICK_MAX: Duration = Duration::from_secs(10);

/// How long the daemon may take for work: a first look at a large directory, a peer far away.
const WORK_MAX: Duration = Duration::from_secs(300);

/// How much longer than the daemon we wait, so that its answer wins.
const GRACE: Duration = Duration::from_secs(5);

/// A way to ask the daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Finds the daemon of a home, and checks that it is of our version.
    ///
    /// # Errors
    ///
    /// [`Kind::DaemonNotRunning`], or [`Kind::Incompatible`] for another version.
    pub async fn connect(config: &Config) -> Result<Self> {
        let client = Self::unchecked(config);
        let version = client.version().await?;
        if version.version != api::VERSION {
            return Err(Error::new(
                Kind::Incompatible,
                format!("the daemon is version {}, this command is version {}", version.version, api::VERSION),
            )
            .hint(RESTART));
        }
        Ok(client)
    }

    /// A client for a daemon of any version, to look at it or to stop it.
    #[must_use]
    pub fn unchecked(config: &Config) -> Self {
        Self { socket: config.socket() }
    }

    /// Asks who answers.
    ///
    /// # Errors
    ///
    /// There is no daemon, or it does not answer in time.
    pub async fn version(&self) -> Result<VersionReply> {
        self.get(api::path::VERSION).await
    }

    /// Asks how all folders are.
    ///
    /// # Errors
    ///
    /// There is no daemon, or it does not answer in time.
    pub async fn status(&self) -> Result<StatusReply> {
        self.get(api::path::STATUS).await
    }

    /// Waits until a folder, or all, are in sync.
    ///
    /// # Errors
    ///
    /// [`Kind::TimedOut`], or there is no such folder, or the daemon went away.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves nothing behind.
    pub async fn wait(&self, folder: Option<&str>, timeout: Option<Duration>) -> Result<()> {
        let timeout_ms = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let request = WaitRequest { folder: folder.map(str::to_owned), timeout_ms };
        let limit = timeout.map(|timeout| timeout.saturating_add(GRACE));
        let Empty {} = self.send(Method::POST, api::path::WAIT, &request, limit).await?;
        Ok(())
    }

    /// Asks the daemon to stop; it answers before it does.
    ///
    /// # Errors
    ///
    /// There is no daemon, or it does not answer in time.
    pub async fn shutdown(&self) -> Result<()> {
        let Empty {} = self.send(Method::POST, api::path::SHUTDOWN, &Empty {}, Some(QUICK_MAX)).await?;
        Ok(())
    }

    /// Asks for work.
    ///
    /// # Errors
    ///
    /// What the daemon says, or that there is none.
    pub async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T> {
        self.send(Method::POST, path, body, Some(WORK_MAX)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(Method::GET, path, &(), Some(QUICK_MAX)).await
    }

    async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
        limit: Option<Duration>,
    ) -> Result<T> {
        let body = if method == Method::GET {
            Vec::new()
        } else {
            serde_json::to_vec(body)
                .map_err(|error| Error::new(Kind::Internal, format!("cannot write the request: {error}")))?
        };
        let (status, bytes) = within(limit, exchange(&self.socket, method, path, body)).await?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|_| not_understood());
        }
        Err(serde_json::from_slice::<ErrorReply>(&bytes).map_or_else(|_| not_understood(), Error::from))
    }
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(limit) = limit else { return work.await };
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(Kind::TimedOut, "the daemon runs, but does not answer")
            .hint("see what it is busy with: kith daemon logs")),
    }
}

/// Sends one request on a connection of its own and takes the answer.
async fn exchange(socket: &Path, method: Method, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes)> {
    let stream = UnixStream::connect(socket).await.map_err(|error| not_connected(socket, &error))?;
    check_owner(socket, &stream)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken_off())?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "kith")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Error::new(Kind::Internal, format!("cannot write the request: {error}")))?;
    let mut answer = pin!(async move {
        let response = sender.send_request(request).await.map_err(|_| broken_off())?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|_| broken_off())?;
        Ok::<_, Error>((status, body.to_bytes()))
    });
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection may end first with the answer in hand.
        _ = connection => answer.await,
    }
}

/// A socket in `/tmp` could be somebody else's, who would like to have our invites.
fn check_owner(socket: &Path, stream: &UnixStream) -> Result<()> {
    let ours = rustix::process::getuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == ours => Ok(()),
        Ok(_) => Err(Error::new(Kind::Refused, format!("{} belongs to another user", socket.display()))
            .hint("choose another home: kith --home DIR …")),
        Err(error) => Err(Error::from_io(Kind::Failed, "cannot see whose daemon this is", &error)),
    }
}

fn not_connected(socket: &Path, error: &io::Error) -> Error {
    match error.kind() {
        // Reset: it was killed in this moment.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            Error::new(Kind::DaemonNotRunning, "the daemon does not run").hint("start it: kith daemon start")
        }
        io::ErrorKind::PermissionDenied => {
            Error::from_io(Kind::Refused, format!("cannot connect to {}", socket.display()), error)
                .hint("run kith as the user whose daemon it is")
        }
        _ => Error::from_io(Kind::Failed, format!("cannot connect to {}", socket.display()), error)
            .hint("look for what is wrong: kith doctor"),
    }
}

fn broken_off() -> Error {
    Error::new(Kind::DaemonNotRunning, "the daemon ended before it answered")
        .hint("see why: kith daemon logs")
        .hint("start it again: kith daemon start")
}

fn not_understood() -> Error {
    Error::new(Kind::Incompatible, "the daemon gave an answer that this version does not understand").hint(RESTART)
}
