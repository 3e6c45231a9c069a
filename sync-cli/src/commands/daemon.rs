//! `kith daemon`: starts, stops and shows the daemon. Its life itself is in [`crate::daemon::run`].

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    time::Duration,
};

use serde::Serialize;
use sync_net::Network;
use tokio::time::Instant;

use super::Context;
use crate::{
    daemon::{api::VersionReply, client::Client, run, spawn},
    error::{Error, Kind, Outcome, Result},
    output,
};

/// How long a daemon may take to be gone.
const GONE_MAX: Duration = Duration::from_secs(15);

/// How often it is looked for.
const POLL: Duration = Duration::from_millis(50);

/// How often the log is looked at for new lines.
const FOLLOW: Duration = Duration::from_millis(300);

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct DaemonDocument {
    schema: &'static str,
    running: bool,
    pid: Option<u32>,
    version: Option<String>,
    network: Option<String>,
    home: String,
}

impl DaemonDocument {
    fn new(context: &Context, reply: Option<VersionReply>) -> Self {
        let home = context.config.home.to_string_lossy().into_owned();
        let (pid, version, network) = match reply {
            Some(reply) => (Some(reply.pid), Some(reply.version), Some(reply.network)),
            None => (None, None, None),
        };
        Self { schema: "kith/daemon/1", running: pid.is_some(), pid, version, network, home }
    }
}

pub(super) async fn start(context: &Context) -> Result<Outcome> {
    let client = context.client_or_start().await?;
    let reply = client.version().await?;
    if context.json {
        output::json(&DaemonDocument::new(context, Some(reply)))?;
    } else {
        let default = reply.network == Network::default().to_string();
        let network = if default { String::new() } else { format!(", network {}", reply.network) };
        context.note(&format!("the daemon runs, process {}{network}", reply.pid));
    }
    Ok(Outcome::Done)
}

pub(super) async fn status(context: &Context) -> Result<Outcome> {
    let reply = match Client::unchecked(&context.config).version().await {
        Ok(reply) => Some(reply),
        Err(error) if error.kind == Kind::DaemonNotRunning => None,
        Err(error) => return Err(error),
    };
    let outcome = if reply.is_some() { Outcome::Done } else { Outcome::Exit(Kind::DaemonNotRunning) };
    if context.json {
        output::json(&DaemonDocument::new(context, reply))?;
        return Ok(outcome);
    }
    let home = context.config.home.to_string_lossy();
    let home = output::name(&home);
    output::data(&match reply {
        Some(reply) => format!(
            "The daemon runs: process {}, version {}, network {}\n  {home}",
            reply.pid, reply.version, reply.network
        ),
        None => format!("The daemon does not run; start it: kith daemon start\n  {home}"),
    })?;
    Ok(outcome)
}

pub(super) async fn stop(context: &Context) -> Result<Outcome> {
    let client = Client::unchecked(&context.config);
    let asked_pid = client.version().await.ok().map(|reply| reply.pid);
    // One that ends before it has answered is what we want.
    let asked = match client.shutdown().await {
        Ok(()) => true,
        Err(error) if error.kind == Kind::DaemonNotRunning => false,
        Err(error) => return Err(error),
    };
    let was_there = asked || run::is_locked(&context.config);
    let deadline = Instant::now() + GONE_MAX;
    while run::is_locked(&context.config) {
        // Somebody started another one right after: ours is gone.
        if client.version().await.is_ok_and(|reply| Some(reply.pid) != asked_pid) {
            break;
        }
        if Instant::now() >= deadline {
            return Err(Error::new(Kind::TimedOut, "the daemon was asked to stop, and has not yet")
                .hint("see what it does: kith daemon logs"));
        }
        tokio::time::sleep(POLL).await;
    }
    if context.json {
        output::json(&DaemonDocument::new(context, None))?;
    } else {
        context.note(if was_there { "the daemon stopped" } else { "the daemon did not run" });
    }
    Ok(Outcome::Done)
}

pub(super) async fn logs(context: &Context, lines: usize, follow: bool) -> Result<Outcome> {
    let path = context.config.log();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Error::new(Kind::NotFound, format!("there is no log {} yet", path.display()))
            .hint("a daemon in the foreground logs to its terminal; start one in the background: kith daemon start"),
        _ => Error::from_io(Kind::Failed, format!("cannot read the log {}", path.display()), &error),
    };
    // The length comes first: what is logged in between is shown twice rather than never.
    let mut seen = fs::metadata(&path).map_err(failed)?.len();
    let text = spawn::tail(&path, lines).map_err(failed)?;
    if !text.is_empty() {
        output::data(text.trim_end_matches('\n'))?;
    }
    if !follow {
        return Ok(Outcome::Done);
    }
    // Until Ctrl-C, which ends the command as a whole.
    loop {
        tokio::time::sleep(FOLLOW).await;
        let text = news(&path, &mut seen).map_err(failed)?;
        if !text.is_empty() {
            output::data(&text)?;
        }
    }
}

/// The whole lines that a file has beyond what was seen; from its start if it is a new one.
fn news(path: &Path, seen: &mut u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() < *seen {
        *seen = 0;
    }
    file.seek(SeekFrom::Start(*seen))?;
    let mut bytes = Vec::new();
    file.take(1024 * 1024).read_to_end(&mut bytes)?;
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(String::new()) };
    *seen += end as u64 + 1;
    bytes.truncate(end);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
