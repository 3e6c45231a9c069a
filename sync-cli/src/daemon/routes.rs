//! The daemon's answers: each request becomes one call of the node.
//!
//! Handlers translate and nothing else; what is allowed and what is right the node decides.

mod history;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use sync_net::{
    FolderState, FolderStatus, HeldDecision, Invite, Meeting, Node, NodeError, PROTOCOLS, Paths, Role, ShareOptions,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use super::api::{
    self, DecideReply, DecideRequest, Empty, ErrorReply, InviteReply, InviteRequest, JoinReply, JoinRequest, Plan,
    RemoveRequest, ShareReply, ShareRequest, StatusReply, VersionReply, WaitRequest,
};
use crate::error::{Error, Kind};

/// What every handler has.
#[derive(Clone)]
pub(super) struct Daemon {
    /// The node.
    pub(super) node: Node,
    /// Where its state is, for people.
    pub(super) home: String,
    /// Ends the daemon.
    pub(super) stop: Stop,
    /// What is under way in the node.
    pub(super) work: Work,
}

/// Work that goes on when who asked for it goes away: half a join is worse than one that nobody waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Work(Arc<Mutex<JoinSet<()>>>);

impl Work {
    /// Does the work on a task of its own, which ends with the daemon at the latest.
    async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, NodeError>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, answer) = oneshot::channel();
        {
            let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                // Nobody may be waiting any more.
                let _ = sender.send(work.await);
            });
        }
        match answer.await {
            Ok(done) => done.map_err(Refusal::from),
            Err(_) => Err(Refusal(Error::new(Kind::DaemonNotRunning, "the daemon was stopped"))),
        }
    }
}

/// Tells all parts of the daemon that it ends.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Returns when the daemon is to end.
    pub(super) async fn stopped(self) {
        let mut receiver = self.0.subscribe();
        // The sender is within `self`, so it cannot be gone.
        let _ = receiver.wait_for(|stopped| *stopped).await;
    }
}

/// All requests.
pub(super) fn router(daemon: Daemon) -> Router {
    Router::new()
        .route(api::path::VERSION, get(version))
        .route(api::path::STATUS, get(status))
        .route(api::path::SHARE, post(share))
        .route(api::path::JOIN, post(join))
        .route(api::path::INVITE, post(invite))
        .route(api::path::REMOVE, post(remove))
        .route(api::path::DECIDE, post(decide))
        .merge(history::router())
        .route(api::path::WAIT, post(wait))
        .route(api::path::SHUTDOWN, post(shutdown))
        .fallback(unknown)
        .with_state(daemon)
}

/// An error on its way out.
struct Refusal(Error);

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (http_status(self.0.kind), Json(ErrorReply::from(&self.0))).into_response()
    }
}

/// How long a status waits for the number of lines that both sides changed.
const COUNT_MAX: Duration = Duration::from_millis(300);

type Reply<T> = Result<Json<T>, Refusal>;

const fn http_status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Usage | Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Ambiguous | Kind::Problems => StatusCode::CONFLICT,
        Kind::Refused => StatusCode::FORBIDDEN,
        Kind::TimedOut | Kind::Unreachable => StatusCode::GATEWAY_TIMEOUT,
        Kind::Busy => StatusCode::LOCKED,
        Kind::Incompatible => StatusCode::NOT_IMPLEMENTED,
        Kind::DaemonNotRunning | Kind::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Failed | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn version(State(daemon): State<Daemon>) -> Json<VersionReply> {
    Json(VersionReply {
        version: api::VERSION.to_owned(),
        protocols: PROTOCOLS.iter().map(|&protocol| protocol.to_owned()).collect(),
        pid: std::process::id(),
        network: daemon.node.network().to_string(),
        home: daemon.home,
    })
}

async fn status(State(daemon): State<Daemon>) -> Json<StatusReply> {
    // It goes on where it takes longer, and this tells the number that was counted last.
    let _counted = tokio::time::timeout(COUNT_MAX, daemon.node.count_lines()).await;
    Json(StatusReply::new(daemon.node.status(), daemon.node.network()))
}

async fn share(State(daemon): State<Daemon>, Json(request): Json<ShareRequest>) -> Reply<ShareReply> {
    let options = ShareOptions { name: request.name, role: role(&request.role)?, life: life(request.life_ms) };
    let life_ms = in_ms(options.life);
    let (node, dir) = (daemon.node.clone(), PathBuf::from(request.dir));
    let shared = daemon.work.finish(async move { node.share(&dir, options).await }).await?;
    tracing::info!(space = shared.space.short(), "shared a folder");
    Ok(Json(ShareReply {
        folder: shared.folder,
        space: shared.space.to_string(),
        path: shared.path.to_string_lossy().into_owned(),
        invite: shared.invite.to_string(),
        life_ms,
    }))
}

async fn join(State(daemon): State<Daemon>, Json(request): Json<JoinRequest>) -> Reply<JoinReply> {
    let invite: Invite = request.invite.parse().map_err(|_| Error::new(Kind::Invalid, "this is not an invite"))?;
    let (node, dir, name, dry_run) = (daemon.node.clone(), PathBuf::from(request.dir), request.name, request.dry_run);
    let work = async move {
        if dry_run { node.try_join(&invite, &dir, name).await } else { node.join(&invite, &dir, name).await }
    };
    let joined = daemon.work.finish(work).await?;
    tracing::info!(space = joined.space.short(), dry_run, "joined a folder");
    Ok(Json(JoinReply {
        folder: joined.folder,
        space: joined.space.to_string(),
        path: joined.path.to_string_lossy().into_owned(),
        host: joined.host,
        plan: joined.meeting.map(plan),
    }))
}

async fn invite(State(daemon): State<Daemon>, Json(request): Json<InviteRequest>) -> Reply<InviteReply> {
    let role = role(&request.role)?;
    let life = life(request.life_ms);
    let expires = expiry(life)?;
    let invite = daemon.node.invite(&request.folder, role, life).await?;
    Ok(Json(InviteReply {
        folder: name_of(&daemon.node, request.folder),
        invite: invite.to_string(),
        role: role.to_string(),
        life_ms: in_ms(life),
        expires,
    }))
}

async fn remove(State(daemon): State<Daemon>, Json(request): Json<RemoveRequest>) -> Reply<Empty> {
    let node = daemon.node.clone();
    daemon.work.finish(async move { node.remove_folder(&request.folder).await }).await?;
    tracing::info!("stopped syncing a folder");
    Ok(Json(Empty {}))
}

async fn decide(State(daemon): State<Daemon>, Json(request): Json<DecideRequest>) -> Reply<DecideReply> {
    let decision = if request.approve { HeldDecision::Approve } else { HeldDecision::Reject };
    let held = daemon.node.decide(&request.folder, decision)?;
    tracing::info!(?decision, "decided about what a folder held");
    Ok(Json(DecideReply { held: held.map(Into::into) }))
}

async fn wait(State(daemon): State<Daemon>, Json(request): Json<WaitRequest>) -> Reply<Empty> {
    let folder = request.folder.as_deref();
    let late = async {
        match request.timeout_ms {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        synced = daemon.node.wait_synced(folder) => synced?,
        () = late => return Err(not_synced(&daemon.node, folder).into()),
        () = daemon.stop.clone().stopped() => {
            return Err(Error::new(Kind::DaemonNotRunning, "the daemon was stopped").into());
        }
    }
    Ok(Json(Empty {}))
}

async fn shutdown(State(daemon): State<Daemon>, Json(Empty {}): Json<Empty>) -> Json<Empty> {
    tracing::info!("asked to stop");
    daemon.stop.stop();
    Json(Empty {})
}

async fn unknown() -> Refusal {
    Refusal(Error::new(Kind::Incompatible, "the daemon does not know this request").hint(super::client::RESTART))
}

/// Says which folders a wait was still waiting for.
fn not_synced(node: &Node, folder: Option<&str>) -> Error {
    let late: Vec<String> = node
        .status()
        .folders
        .into_iter()
        .filter(|f| f.state != FolderState::UpToDate)
        .filter(|f| folder.is_none_or(|asked| asked == f.name || Path::new(asked) == f.path))
        .map(|f| format!("{} ({})", f.name, f.state.as_str().replace('_', " ")))
        .collect();
    let message = if late.is_empty() {
        "not everything was in sync in time".to_owned()
    } else {
        format!("not in sync in time: {}", late.join(", "))
    };
    Error::new(Kind::TimedOut, message).hint("see what it waits for: kith status")
}

/// What people call a folder that was named by its name, path or id.
fn plan(meeting: Meeting) -> Plan {
    let paths = |paths: Paths| api::Paths { count: paths.count, first: paths.first };
    let Meeting { only_here, only_there, same, different, uncompared } = meeting;
    Plan {
        only_here: paths(only_here),
        only_there: paths(only_there),
        same: paths(same),
        different: paths(different),
        uncompared: paths(uncompared),
    }
}

fn name_of(node: &Node, asked: String) -> String {
    let is_asked = |f: &FolderStatus| f.name == asked || Path::new(&asked) == f.path || f.space == asked;
    let found = node.status().folders.into_iter().find(is_asked);
    found.map_or(asked, |folder| folder.name)
}

fn role(word: &str) -> Result<Role, Error> {
    word.parse().map_err(|_| Error::new(Kind::Invalid, "a role is reader or writer"))
}

fn life(asked_ms: Option<u64>) -> Duration {
    asked_ms.map_or_else(|| ShareOptions::default().life, Duration::from_millis)
}

fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// When something that starts now and lives so long ends, as RFC 3339.
fn expiry(life: Duration) -> Result<String, Error> {
    let now = jiff::Timestamp::now().as_second();
    i64::try_from(life.as_secs())
        .ok()
        .and_then(|seconds| now.checked_add(seconds))
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map(|at| at.to_string())
        .ok_or_else(|| Error::new(Kind::Invalid, "the invite would live beyond the calendar"))
}
