//! `kith wait`: returns when every folder equals every reachable peer, and all is durable there.

use std::time::Duration;

use serde::Serialize;

use super::{Context, folder_name};
use crate::{
    error::{Outcome, Result},
    output,
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct WaitDocument {
    schema: &'static str,
    synced: bool,
}

pub(super) async fn run(context: &Context, folder: Option<&str>, timeout: Option<Duration>) -> Result<Outcome> {
    let folder = folder.map(folder_name).transpose()?;
    context.client().await?.wait(folder.as_deref(), timeout).await?;
    if context.json {
        output::json(&WaitDocument { schema: "kith/wait/1", synced: true })?;
    } else {
        context.note("in sync");
    }
    Ok(Outcome::Done)
}
