//! Answers about the past, conflicts, and single paths, and what is taken back.

use axum::{Json, Router, extract::State, routing::post};
use sync_net::history::{Conflict, Content, Diffs, Kept, Log, Restored, Reverted, Why};

use super::{Daemon, Reply};
use crate::daemon::api::{
    self, ConflictsRequest, DiffRequest, GoneReply, LogRequest, PathRequest, ResolveRequest, RestoreRequest,
    RevertRequest,
};

pub(super) fn router() -> Router<Daemon> {
    Router::new()
        .route(api::path::LOG, post(log))
        .route(api::path::DIFF, post(diff))
        .route(api::path::RESTORE, post(restore))
        .route(api::path::CONTENT, post(content))
        .route(api::path::KEPT, post(kept))
        .route(api::path::CONFLICTS, post(conflicts))
        .route(api::path::RESOLVE, post(resolve))
        .route(api::path::WHY, post(why))
        .route(api::path::REVERT, post(revert))
        .route(api::path::GONE, post(gone))
}

async fn log(State(daemon): State<Daemon>, Json(request): Json<LogRequest>) -> Reply<Log> {
    let LogRequest { folder, path, most } = request;
    Ok(Json(daemon.node.log(&folder, path.as_deref(), most).await?))
}

async fn diff(State(daemon): State<Daemon>, Json(request): Json<DiffRequest>) -> Reply<Diffs> {
    let DiffRequest { folder, path, from, to } = request;
    Ok(Json(daemon.node.diff(&folder, &path, from, to).await?))
}

async fn restore(State(daemon): State<Daemon>, Json(request): Json<RestoreRequest>) -> Reply<Restored> {
    let RestoreRequest { folder, path, to } = request;
    let node = daemon.node.clone();
    let restored = daemon.work.finish(async move { node.restore(&folder, &path, to).await }).await?;
    tracing::info!(paths = restored.paths.len(), "restored");
    Ok(Json(restored))
}

async fn content(State(daemon): State<Daemon>, Json(request): Json<RestoreRequest>) -> Reply<Content> {
    let RestoreRequest { folder, path, to } = request;
    Ok(Json(daemon.node.content(&folder, &path, to).await?))
}

async fn kept(State(daemon): State<Daemon>, Json(request): Json<PathRequest>) -> Reply<Vec<Kept>> {
    Ok(Json(daemon.node.kept(&request.folder, &request.path)?))
}

async fn conflicts(State(daemon): State<Daemon>, Json(request): Json<ConflictsRequest>) -> Reply<Vec<Conflict>> {
    Ok(Json(daemon.node.conflicts(request.folder.as_deref(), request.path.as_deref()).await?))
}

async fn resolve(State(daemon): State<Daemon>, Json(request): Json<ResolveRequest>) -> Reply<Vec<Conflict>> {
    let ResolveRequest { folder, path, keep } = request;
    let node = daemon.node.clone();
    let resolved = daemon.work.finish(async move { node.resolve(&folder, &path, keep).await }).await?;
    tracing::info!(conflicts = resolved.len(), "settled");
    Ok(Json(resolved))
}

async fn revert(State(daemon): State<Daemon>, Json(request): Json<RevertRequest>) -> Reply<Reverted> {
    let RevertRequest { folder, paths, tell } = request;
    let node = daemon.node.clone();
    let reverted = daemon.work.finish(async move { node.revert(&folder, &paths, tell).await }).await?;
    tracing::info!(paths = reverted.paths.len(), tell, "took back what a reader changed");
    Ok(Json(reverted))
}

async fn gone(State(daemon): State<Daemon>, Json(request): Json<PathRequest>) -> Reply<GoneReply> {
    let PathRequest { folder, path } = request;
    let node = daemon.node.clone();
    let files = daemon.work.finish(async move { node.let_go(&folder, &path).await }).await?;
    tracing::info!(files, "deleted what was on a file system that is gone");
    Ok(Json(GoneReply { files }))
}

async fn why(State(daemon): State<Daemon>, Json(request): Json<PathRequest>) -> Reply<Why> {
    Ok(Json(daemon.node.why(&request.folder, &request.path).await?))
}
