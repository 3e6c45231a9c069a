//! `kith log`: what changed, newest first, in the whole folder or at one path.

use std::path::Path;

use serde::Serialize;
use sync_net::history::{Change, Commit, Did, Kept, Log};

use super::{Context, located};
use crate::{
    daemon::api::{self, LogRequest},
    error::{Outcome, Result},
    output::{self, Cell, name},
    when,
};

/// Columns of a terminal that is not wide.
const WIDTH: usize = 80;
/// Columns of what stands before the last column, without the device's name.
const BEFORE: usize = 10 + 2 + 16 + 2 + 2;
/// Longest name of a device that is shown whole.
const NAME_MAX: usize = 14;
/// Entries of one commit that people are shown.
const ENTRIES_MAX: usize = 3;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct LogDocument<'a> {
    schema: &'static str,
    #[serde(flatten)]
    log: &'a Log,
}

pub(super) async fn run(
    context: &Context,
    path: Option<&Path>,
    number: usize,
    folder: Option<&str>,
) -> Result<Outcome> {
    let place = match path {
        Some(path) => located::find(context, path, folder).await?,
        None => located::current(context, folder).await?,
    };
    let path = (!place.path.is_empty()).then(|| place.path.clone());
    let request = LogRequest { folder: place.folder.clone(), path, most: Some(number) };
    let log: Log = place.client.post(api::path::LOG, &request).await?;
    if context.json {
        output::json(&LogDocument { schema: "kith/log/1", log: &log })?;
        return Ok(Outcome::Done);
    }
    let typed = &place.typed;
    match (log.standing.as_deref(), &log.now_at) {
        (Some("gone"), _) => context.note(&format!("{typed} is gone. Bring it back: kith restore {typed}")),
        (Some("before"), Some(now)) => context.note(&format!("{typed} has another name now: {}", name(now))),
        _ => {}
    }
    if !log.commits.is_empty() {
        output::as_is(&text(&log, context.colors))?;
    }
    if log.more {
        context.note(&format!("There is more: kith log -n {} …", number.saturating_mul(10)));
    }
    if !log.kept.is_empty() {
        output::as_is(&format!("\n{}", kept_text(&log.kept, context.colors)))?;
    }
    Ok(Outcome::Done)
}

fn text(log: &Log, colors: bool) -> String {
    let names = log.commits.iter().map(|commit| name(&commit.by.name).chars().count().min(NAME_MAX)).max();
    let room = WIDTH - BEFORE - names.unwrap_or_default().max("DEVICE".len());
    let rows = log
        .commits
        .iter()
        .map(|commit| {
            vec![
                Cell::new(output::short(&commit.rev)),
                Cell::new(when::shown(commit.at_ms)),
                Cell::new(output::fit(&name(&commit.by.name), NAME_MAX)),
                Cell::new(what(commit, log.now_at.as_deref(), room)),
            ]
        })
        .collect();
    output::table(&["REV", "WHEN", "DEVICE", "WHAT"], rows, colors)
}

/// What a commit did, a line for each entry; the name of the entry that was asked for is left out.
fn what(commit: &Commit, asked: Option<&str>, room: usize) -> String {
    if commit.changes.is_empty() {
        return "joined what was written apart".to_owned();
    }
    let mut lines: Vec<String> = commit
        .changes
        .iter()
        .take(ENTRIES_MAX)
        .map(|change| {
            let mut words: Vec<String> = change.did.iter().map(did_in_words).collect();
            if let Some(first) = words.first_mut()
                && !change.path.is_empty()
                && asked != Some(change.path.as_str())
            {
                let left = room.saturating_sub(first.chars().count() + 2).max(room / 3);
                *first = format!("{}: {first}", output::fit(&name(&change.path), left));
            }
            wrapped(&words, room)
        })
        .collect();
    let more = commit.changes.len().saturating_sub(ENTRIES_MAX) as u64 + commit.more;
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// As many words in a line as there is room for.
fn wrapped(words: &[String], room: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 2 + word.chars().count() <= room => {
                line.push_str(", ");
                line.push_str(word);
            }
            _ => lines.push(output::fit(word, room.saturating_sub(3))),
        }
    }
    lines.join(",\n  ")
}

pub(super) fn in_words(change: &Change) -> String {
    let words: Vec<String> = change.did.iter().map(did_in_words).collect();
    words.join(", ")
}

fn did_in_words(did: &Did) -> String {
    match did {
        Did::Created { kind, bytes: None } => format!("created, a {}", name(kind)),
        Did::Created { bytes: Some(bytes), .. } => format!("created, {}", output::bytes(*bytes)),
        Did::Edited { added: Some(added), removed: Some(removed) } => format!("edited +{added} −{removed}"),
        Did::Edited { .. } => "edited".to_owned(),
        Did::Replaced { bytes } => format!("replaced, {}", output::bytes(*bytes)),
        Did::Renamed { from } => format!("renamed from {}", name(from)),
        Did::Moved { from } if from.is_empty() => "moved from the top".to_owned(),
        Did::Moved { from } => format!("moved from {}/", name(from)),
        Did::Executable { on: true } => "made executable".to_owned(),
        Did::Executable { on: false } => "no longer executable".to_owned(),
        Did::Target { from } => format!("points elsewhere, before to {}", name(from)),
        Did::Deleted => "deleted".to_owned(),
        Did::Restored => "restored".to_owned(),
        Did::Kept => "kept".to_owned(),
        Did::Members { text } => name(text).into_owned(),
    }
}

/// Files that are kept on this device only.
pub(super) fn kept_text(kept: &[Kept], colors: bool) -> String {
    let rows = kept
        .iter()
        .map(|kept| {
            vec![
                Cell::new(output::short(&kept.hash)),
                Cell::new(when::shown(kept.at_ms)),
                Cell::new(output::bytes(kept.bytes)),
                Cell::new(output::fit(&name(&kept.path), WIDTH - BEFORE - 10)),
            ]
        })
        .collect();
    format!(
        "Kept on this device only, for 30 days:\n{}",
        output::table(&["CONTENT", "KEPT", "SIZE", "PATH"], rows, colors)
    )
}

#[cfg(test)]
mod tests {
    use sync_net::history::Author;

    use super::*;

    fn log(path: Option<&str>, changes: Vec<Change>) -> Log {
        let by = Author { device: "ab".into(), name: "a laptop of a very long name".into(), here: false };
        let commit = Commit { rev: "12ab34cd56ef".repeat(5), at_ms: 0, by, changes, more: 2 };
        let now_at = path.map(str::to_owned);
        Log {
            folder: "notes".into(),
            path: now_at.clone(),
            standing: None,
            now_at,
            commits: vec![commit],
            more: false,
            kept: Vec::new(),
        }
    }

    #[test]
    fn lines_fit_a_terminal() {
        let edited = Did::Edited { added: Some(3), removed: Some(1) };
        let renamed = Did::Renamed { from: "another name that is quite as long as the first one.txt".into() };
        let change = |path: &str| Change { path: path.into(), did: vec![renamed.clone(), edited.clone()] };
        let path = "a directory/and a file in it with a name that is long.txt";
        let text = text(&log(None, vec![change(path), change("b"), change("c"), change("d")]), false);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("and 3 more"), "{text}");
    }

    #[test]
    fn the_entry_that_was_asked_for_is_not_named_in_each_line() {
        let did = vec![Did::Edited { added: Some(3), removed: Some(1) }];
        let text = text(&log(Some("a.txt"), vec![Change { path: "a.txt".into(), did }]), false);
        assert!(text.contains("edited +3 −1") && !text.contains("a.txt"), "{text}");
        assert!(text.contains("12ab34cd56 "), "{text}");
    }
}
