//! `kith revert`: where a device may only read, what was changed on it is taken back.

use std::path::PathBuf;

use serde::Serialize;
use sync_net::history::{Reverted, RevertedPath};

use super::{Context, located};
use crate::{
    daemon::{
        api::{self, RevertRequest},
        client::Client,
    },
    error::{Error, Kind, Outcome, Result},
    output,
};

/// Paths that people are shown.
const LISTED_MAX: usize = 20;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct RevertDocument<'a> {
    schema: &'static str,
    dry_run: bool,
    #[serde(flatten)]
    reverted: &'a Reverted,
}

pub(super) async fn run(context: &Context, paths: &[PathBuf], folder: Option<&str>, dry_run: bool) -> Result<Outcome> {
    let (client, mut request) = asked_for(context, paths, folder).await?;
    if dry_run || !context.yes {
        let found: Reverted = client.post(api::path::REVERT, &request).await?;
        if dry_run && context.json {
            output::json(&RevertDocument { schema: "kith/revert/1", dry_run, reverted: &found })?;
            return Ok(Outcome::Done);
        }
        if found.paths.is_empty() && !context.json {
            context.note(&format!("{} is as the others have it: there is nothing to take back", found.folder));
            return Ok(Outcome::Done);
        }
        if !found.paths.is_empty() {
            if dry_run {
                output::data(&listed(&found.paths))?;
                return Ok(Outcome::Done);
            }
            output::note(&listed(&found.paths));
            let question =
                format!("Take back {} in {}?", output::count(found.paths.len() as u64, "change"), found.folder);
            if !output::confirm(&question).await? {
                return Err(Error::new(Kind::Refused, "nothing was changed"));
            }
        }
    }
    request.tell = false;
    let reverted: Reverted = client.post(api::path::REVERT, &request).await?;
    if context.json {
        output::json(&RevertDocument { schema: "kith/revert/1", dry_run, reverted: &reverted })?;
    } else {
        say(context, &reverted);
    }
    Ok(Outcome::Done)
}

/// What to ask whom, to begin with only for what there is to take back.
async fn asked_for(context: &Context, paths: &[PathBuf], folder: Option<&str>) -> Result<(Client, RevertRequest)> {
    let Some((first, others)) = paths.split_first() else {
        let place = located::current(context, folder).await?;
        return Ok((place.client, RevertRequest { folder: place.folder, paths: Vec::new(), tell: true }));
    };
    let first = located::find(context, first, folder).await?;
    let mut inside = vec![first.path];
    for path in others {
        let place = located::find(context, path, folder).await?;
        if place.folder != first.folder {
            return Err(Error::new(Kind::Ambiguous, format!("{} is in another folder than the first", place.typed))
                .hint("take back what is in one folder at a time"));
        }
        inside.push(place.path);
    }
    // The folder itself is all that is in it.
    if inside.iter().any(String::is_empty) {
        inside.clear();
    }
    Ok((first.client, RevertRequest { folder: first.folder, paths: inside, tell: true }))
}

fn listed(paths: &[RevertedPath]) -> String {
    let line = |path: &RevertedPath| {
        let becomes = match path.was.as_str() {
            "made" => "made here: goes out of the folder, and is kept for 30 days",
            "edited" => "edited here: gets the others' version, and the edit is kept for 30 days",
            "deleted" => "deleted here: comes back",
            _ => "moved here: comes back to where the others have it",
        };
        format!("{}: {becomes}", path.path)
    };
    let mut lines: Vec<String> = paths.iter().take(LISTED_MAX).map(line).collect();
    if paths.len() > LISTED_MAX {
        lines.push(format!("and {} more: kith revert --dry-run --json", paths.len() - LISTED_MAX));
    }
    lines.join("\n")
}

fn say(context: &Context, reverted: &Reverted) {
    let count = |was: &str| reverted.paths.iter().filter(|path| path.was == was).count();
    let kept = count("made") + count("edited");
    if reverted.paths.is_empty() {
        context.note(&format!("{} is as the others have it: there was nothing to take back", reverted.folder));
        return;
    }
    let changes = output::count(reverted.paths.len() as u64, "change");
    context.note(&format!("took back {changes} in {}", reverted.folder));
    if kept > 0 {
        context.note(&format!("what was made or edited here ({kept}) is kept for 30 days: kith restore PATH --list"));
    }
    if reverted.awaited > 0 {
        let files = output::count(reverted.awaited as u64, "file");
        context.note(&format!("{files} will follow once another device has sent its version"));
    }
}
