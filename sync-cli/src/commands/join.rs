//! `kith join`: takes part in a folder, with an invite.
//!
//! On a terminal it stays and shows the first sync; the sync itself is the daemon's, and goes on without it.

use std::{
    io::{self, IsTerminal as _, Read as _},
    path::PathBuf,
    pin::pin,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sync_net::Invite;

use super::{Context, absolute, as_text, rails::check_place};
use crate::{
    daemon::{
        api::{self, Folder, JoinReply, JoinRequest, Plan, State},
        client::Client,
    },
    error::{Error, Kind, Outcome, Result},
    output::{self, shell_word},
};

/// Longest text that is read as an invite.
const INVITE_BYTES_MAX: u64 = 64 * 1024;

/// Paths of a plan that are shown; `--json` names more.
const PATHS_SHOWN: usize = 10;

/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct JoinDocument<'a> {
    schema: &'static str,
    folder: &'a str,
    space: &'a str,
    path: &'a str,
    dry_run: bool,
    /// What met, where the directory had something.
    plan: &'a Option<Plan>,
}

/// How it is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// Only say what would meet.
    pub(super) dry_run: bool,
    /// Whatever the directory is.
    pub(super) force: bool,
}

pub(super) async fn run(
    context: &Context,
    invite: &str,
    dir: Option<PathBuf>,
    name: Option<String>,
    How { dry_run, force }: How,
) -> Result<Outcome> {
    let text = if invite == "-" { read_invite().await? } else { invite.trim().to_owned() };
    let invite: Invite = text.parse().map_err(|_| {
        Error::new(Kind::Invalid, "this is not an invite, or a part of it is missing")
            .hint("copy all of it, from kith to its end; the other machine makes a new one with: kith invite FOLDER")
    })?;
    let dir = dir.unwrap_or_else(|| directory_for(&invite, name.as_deref()));
    let dir = absolute(&dir)?;
    check_place(&dir, force)?;
    let request = JoinRequest { invite: text, dir: as_text(&dir)?, name, dry_run };
    let client = context.client_or_start().await?;
    let reply: JoinReply = client.post(api::path::JOIN, &request).await?;
    if context.json {
        output::json(&JoinDocument {
            schema: "kith/join/1",
            folder: &reply.folder,
            space: &reply.space,
            path: &reply.path,
            dry_run,
            plan: &reply.plan,
        })?;
        return Ok(Outcome::Done);
    }
    if context.quiet && !dry_run {
        output::data(&reply.path)?;
        return Ok(Outcome::Done);
    }
    let [folder, host, path] = [&reply.folder, &reply.host, &reply.path].map(|text| output::name(text));
    let did = if dry_run { "Would join" } else { "Joined" };
    output::data(&format!("{did} {folder} from {host}\n  {path}"))?;
    for line in reply.plan.iter().flat_map(in_words) {
        output::data(&line)?;
    }
    if dry_run {
        output::data("Nothing was written there. To do it, give the same command without --dry-run.")?;
        return Ok(Outcome::Done);
    }
    if !(io::stdout().is_terminal() && io::stderr().is_terminal()) {
        return Ok(Outcome::Done);
    }
    let folder = follow(&client, &reply.folder).await?;
    output::data(&format!(
        "In sync: {}, {}. The daemon goes on in the background; see how it is: kith status {}",
        output::count(folder.files, "file"),
        output::bytes(folder.bytes),
        shell_word(&folder.name),
    ))?;
    let troubled = folder.state == State::Attention;
    Ok(if troubled { Outcome::Exit(Kind::Problems) } else { Outcome::Done })
}

/// What meets, a line for each kind that there is, and the paths that people will want to look at.
fn in_words(plan: &Plan) -> Vec<String> {
    let kinds = [
        (&plan.only_there, "only there", "comes here", false),
        (&plan.only_here, "only here", "goes to the others", false),
        (&plan.same, "the same", "stays as it is", false),
        (&plan.different, "different", "both versions stay, one under another name", true),
        (&plan.uncompared, "not compared", "too large to look into now, or not readable", true),
    ];
    let mut lines = Vec::new();
    for (paths, kind, fate, named) in kinds {
        if paths.count == 0 {
            continue;
        }
        let files = output::count(paths.count, "file");
        lines.push(format!("  {kind:<12}  {files:>12}  {fate}"));
        let shown = if named { PATHS_SHOWN } else { 0 };
        lines.extend(paths.first.iter().take(shown).map(|path| format!("      {}", output::name(path))));
        let more = paths.count.saturating_sub(shown as u64);
        if named && more > 0 {
            lines.push(format!("      and {more} more"));
        }
    }
    if lines.is_empty() {
        lines.push("  neither side has a file".into());
    }
    lines
}

async fn read_invite() -> Result<String> {
    let text =
        output::read_stdin(|text| io::stdin().lock().take(INVITE_BYTES_MAX).read_to_string(text).map(drop)).await?;
    Ok(text.trim().to_owned())
}

/// Where a folder goes when nobody said: into the current directory, under its name.
///
/// The invite knows the space by its id only, so without `--name` that is what the name is made of.
fn directory_for(invite: &Invite, name: Option<&str>) -> PathBuf {
    let plain = name.filter(|name| !name.is_empty() && !name.starts_with('.') && !name.contains('/'));
    match plain {
        Some(name) => PathBuf::from(name),
        None => PathBuf::from(format!("kith-{}", invite.space().short())),
    }
}

/// Shows the first sync until it is done. Ends with an error when the daemon does.
async fn follow(client: &Client, name: &str) -> Result<Folder> {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(120));
    bar.set_message("looking for what is there");
    let result = loop {
        let mut synced = pin!(client.wait(Some(name), None));
        let waited = loop {
            tokio::select! {
                result = &mut synced => break result,
                () = tokio::time::sleep(LOOK) => {}
            }
            // A look that fails says nothing; the wait does.
            if let Ok(Some(folder)) = look(client, name).await {
                show(&bar, &folder);
            }
        };
        match (waited, look(client, name).await) {
            (Err(error), _) | (Ok(()), Err(error)) => break Err(error),
            (Ok(()), Ok(None)) => {
                break Err(Error::new(Kind::NotFound, format!("the folder {name} was removed meanwhile"))
                    .hint("see which folders there are: kith folder list"));
            }
            // In sync with nobody yet: the first peer is still on its way.
            (Ok(()), Ok(Some(folder))) if folder.progress.is_some() || folder.state == State::Syncing => {
                tokio::time::sleep(LOOK).await;
            }
            (Ok(()), Ok(Some(folder))) => break Ok(folder),
        }
    };
    bar.finish_and_clear();
    result
}

async fn look(client: &Client, name: &str) -> Result<Option<Folder>> {
    Ok(client.status().await?.folders.into_iter().find(|folder| folder.name == name))
}

fn show(bar: &ProgressBar, folder: &Folder) {
    let Some(progress) = folder.progress.filter(|progress| progress.files_total > 0) else {
        bar.set_message(super::status::in_words(folder));
        return;
    };
    if bar.length().is_none() {
        let style = ProgressStyle::with_template("{spinner} {wide_bar} {pos}/{len} files, {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    }
    bar.set_length(progress.files_total);
    bar.set_position(progress.files_done);
    bar.set_message(output::bytes(folder.bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::api::Paths;

    fn paths(count: u64) -> Paths {
        Paths { count, first: (0..count.min(100)).map(|n| format!("file {n}")).collect() }
    }

    #[test]
    fn a_plan_says_what_there_is_and_names_what_is_different() {
        let none = || paths(0);
        let mut plan =
            Plan { only_here: none(), only_there: none(), same: none(), different: none(), uncompared: none() };
        assert_eq!(in_words(&plan), ["  neither side has a file"]);
        (plan.only_there, plan.same, plan.different) = (paths(2000), paths(1), paths(12));
        let lines = in_words(&plan);
        assert_eq!(lines[0], "  only there      2000 files  comes here");
        assert_eq!(lines[1], "  the same            1 file  stays as it is");
        assert_eq!(lines[2], "  different         12 files  both versions stay, one under another name");
        assert_eq!((lines[3].as_str(), lines[13].as_str(), lines.len()), ("      file 0", "      and 2 more", 14));
    }
}
