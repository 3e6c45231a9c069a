//! `kith conflicts`: lists what both sides changed, shows both versions, and settles it.

use serde::Serialize;
use sync_net::history::{Conflict, Keep, Side};

use super::{Context, folder_name, located};
use crate::{
    cli::ConflictsCommand,
    daemon::api::{self, ConflictsRequest, ResolveRequest},
    error::{Error, Kind, Outcome, Result},
    output::{self, name},
    when,
};

/// Lines of each text that people are shown.
const LINES_MAX: usize = 40;

/// What `list` and `show` print with `--json`.
#[derive(Debug, Serialize)]
struct ConflictsDocument<'a> {
    schema: &'static str,
    conflicts: &'a [Conflict],
}

/// What `resolve` prints with `--json`.
#[derive(Debug, Serialize)]
struct ResolvedDocument<'a> {
    schema: &'static str,
    path: &'a str,
    keep: Keep,
    settled: &'a [Conflict],
}

pub(super) async fn run(context: &Context, command: Option<ConflictsCommand>) -> Result<Outcome> {
    match command {
        None => list(context, None).await,
        Some(ConflictsCommand::List { folder }) => list(context, folder.as_deref()).await,
        Some(ConflictsCommand::Show { path, folder }) => {
            let place = located::find(context, &path, folder.as_deref()).await?;
            show(context, &place).await
        }
        Some(ConflictsCommand::Resolve { path, keep, folder }) => {
            let place = located::find(context, &path, folder.as_deref()).await?;
            resolve(context, &place, keep).await
        }
    }
}

async fn list(context: &Context, folder: Option<&str>) -> Result<Outcome> {
    let folder = folder.map(folder_name).transpose()?;
    let client = context.client().await?;
    let request = ConflictsRequest { folder, path: None };
    let conflicts: Vec<Conflict> = client.post(api::path::CONFLICTS, &request).await?;
    if context.json {
        output::json(&ConflictsDocument { schema: "kith/conflicts/1", conflicts: &conflicts })?;
    } else if conflicts.is_empty() {
        context.note("no conflicts");
    } else {
        let lines: Vec<String> = conflicts.iter().map(in_words).collect();
        output::data(&lines.join("\n"))?;
        context.note("\nSee both versions: kith conflicts show PATH");
        context.note("Settle one: kith conflicts resolve PATH --keep mine|theirs|both|merge");
    }
    Ok(if conflicts.is_empty() { Outcome::Done } else { Outcome::Exit(Kind::Problems) })
}

/// One line for the conflict, and one for each side.
fn in_words(conflict: &Conflict) -> String {
    let mut text = format!("{} in {}: {}", name(&conflict.path), name(&conflict.folder), name(&conflict.text));
    for side in &conflict.sides {
        text.push_str(&format!("\n  {}", side_in_words(side)));
    }
    text
}

fn side_in_words(side: &Side) -> String {
    let what = match (side.bytes, &side.hash) {
        (Some(bytes), Some(hash)) => format!(", {}, content {}", output::bytes(bytes), output::short(hash)),
        _ => String::new(),
    };
    let holds = if side.holds { ", holds now" } else { "" };
    let (at, rev) = (when::shown(side.at_ms), output::short(&side.rev));
    format!("{:<6} {} by {}, {at}, {rev}{what}{holds}", side.side, name(&side.path), name(&side.by.name))
}

async fn show(context: &Context, place: &located::Place) -> Result<Outcome> {
    let request = ConflictsRequest { folder: Some(place.folder.clone()), path: Some(place.inside()?) };
    let conflicts: Vec<Conflict> = place.client.post(api::path::CONFLICTS, &request).await?;
    if conflicts.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("there is no conflict at {}", place.typed))
            .hint("see which there are: kith conflicts"));
    }
    if context.json {
        output::json(&ConflictsDocument { schema: "kith/conflicts/1", conflicts: &conflicts })?;
        return Ok(Outcome::Done);
    }
    for conflict in &conflicts {
        let mut text = in_words(conflict);
        for side in &conflict.sides {
            if let Some(version) = &side.text {
                text.push_str(&format!("\n\n{} ({}):\n{}", side.side, name(&side.by.name), excerpt(version)));
            }
        }
        if let Some(merged) = &conflict.merged {
            text.push_str(&format!("\n\nmerged, as the file has it now:\n{}", excerpt(merged)));
        }
        output::data(&text)?;
    }
    context.note(&format!("\nSettle it: kith conflicts resolve {} --keep mine|theirs|both|merge", place.typed));
    Ok(Outcome::Done)
}

fn excerpt(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut shown: Vec<String> = lines.iter().take(LINES_MAX).map(|line| format!("  {line}")).collect();
    if lines.len() > LINES_MAX {
        shown.push(format!("  … and {} more lines", lines.len() - LINES_MAX));
    }
    shown.join("\n")
}

async fn resolve(context: &Context, place: &located::Place, keep: Keep) -> Result<Outcome> {
    let path = place.inside()?;
    let request = ResolveRequest { folder: place.folder.clone(), path: path.clone(), keep };
    let settled: Vec<Conflict> = place.client.post(api::path::RESOLVE, &request).await?;
    if context.json {
        output::json(&ResolvedDocument { schema: "kith/resolved/1", path: &path, keep, settled: &settled })?;
    } else if settled.is_empty() {
        context.note(&format!("{} has no conflict", place.typed));
    } else {
        context.note(&format!("settled {}: what gave way is in history, kith log {}", place.typed, place.typed));
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use sync_net::history::Author;

    use super::*;

    #[test]
    fn a_conflict_is_a_line_and_one_for_each_side() {
        let side = |side: &str, holds: bool| Side {
            side: side.into(),
            rev: "ab".repeat(32),
            at_ms: 0,
            by: Author { device: "cd".into(), name: "desk".into(), here: holds },
            path: "a.txt".into(),
            holds,
            bytes: None,
            hash: None,
            text: None,
        };
        let conflict = Conflict {
            folder: "notes".into(),
            path: "a.txt".into(),
            kind: "name".into(),
            merged: None,
            text: "another file has the same name".into(),
            sides: vec![side("mine", true), side("theirs", false)],
        };
        let text = in_words(&conflict);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.starts_with("a.txt in notes: another file"), "{text}");
        assert!(text.contains("\n  mine   a.txt by desk, ") && text.contains(", holds now\n  theirs a.txt"), "{text}");
    }

    #[test]
    fn long_texts_are_cut() {
        let text = "line\n".repeat(LINES_MAX + 2);
        assert!(excerpt(&text).ends_with("  … and 2 more lines"));
    }
}
