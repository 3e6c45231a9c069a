//! `kith status`: what is going on, in words for people and in fields for scripts.

use comfy_table::Color;
use serde::Serialize;

use super::{Context, pick};
use crate::{
    daemon::api::{Device, Folder, Peer, Repair, State, StatusReply},
    error::{Kind, Outcome, Result},
    output::{self, Cell, name, shell_word},
};

/// Most conflicts and problems of a folder that people are shown; `--json` has all.
const LISTED_MAX: usize = 10;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct StatusDocument<'a> {
    schema: &'static str,
    network: &'a str,
    device: &'a Device,
    folders: &'a [Folder],
}

impl<'a> StatusDocument<'a> {
    fn new(status: &'a StatusReply) -> Self {
        Self { schema: "kith/status/1", network: &status.network, device: &status.device, folders: &status.folders }
    }
}

pub(super) async fn run(context: &Context, folder: Option<&str>) -> Result<Outcome> {
    let mut status = context.client().await?.status().await?;
    if let Some(asked) = folder {
        let folder = pick(&status, asked)?.clone();
        status.folders = vec![folder];
    }
    if context.json {
        output::json(&StatusDocument::new(&status))?;
    } else {
        output::as_is(&text(&status, context.colors))?;
    }
    let attention = status.folders.iter().any(|folder| folder.state == State::Attention);
    Ok(if attention { Outcome::Exit(Kind::Problems) } else { Outcome::Done })
}

fn text(status: &StatusReply, colors: bool) -> String {
    let short = status.device.id.get(..10).unwrap_or(&status.device.id);
    let mut text = format!("This device: {} ({short}), network {}\n\n", name(&status.device.name), status.network);
    if status.folders.is_empty() {
        text.push_str("No folder yet. Share one: kith share DIR. Or join one: kith join INVITE DIR");
        return text;
    }
    let rows = status.folders.iter().map(row).collect();
    text.push_str(&output::table(&["FOLDER", "STATE", "FILES", "SIZE", "PEERS", "PATH"], rows, colors));
    for folder in &status.folders {
        text.push_str(&output::lines(&details(folder)));
    }
    text
}

fn row(folder: &Folder) -> Vec<Cell> {
    let state = Cell::new(in_words(folder)).fg(match folder.state {
        State::UpToDate => Color::Green,
        State::Syncing => Color::Cyan,
        State::Attention => Color::Red,
        State::Waiting | State::Paused => Color::Yellow,
    });
    let peers: Vec<String> = folder.peers.iter().map(peer_in_words).collect();
    let peers = if peers.is_empty() { "nobody yet".to_owned() } else { peers.join("\n") };
    vec![
        Cell::new(name(&folder.name)),
        state,
        Cell::new(folder.files),
        Cell::new(output::bytes(folder.bytes)),
        Cell::new(peers),
        Cell::new(name(&folder.path)),
    ]
}

/// Says how a folder is.
pub(super) fn in_words(folder: &Folder) -> String {
    match folder.state {
        State::UpToDate => "up to date".to_owned(),
        State::Paused => "paused".to_owned(),
        State::Syncing => match percent(folder) {
            Some(percent) => format!("syncing {percent}%"),
            None => "syncing".to_owned(),
        },
        State::Waiting => waiting_for(&folder.peers),
        State::Attention => {
            let held = folder.held.map_or(0, |held| held.changes());
            let conflicts = folder.conflicts.len() as u64 + folder.line_conflicts;
            let counts =
                [(held as u64, "held change"), (conflicts, "conflict"), (folder.problems.len() as u64, "problem")];
            let counts: Vec<String> = counts
                .into_iter()
                .filter(|(number, _)| *number > 0)
                .map(|(number, word)| output::count(number, word))
                .collect();
            if counts.is_empty() { "needs you".to_owned() } else { format!("needs you: {}", counts.join(", ")) }
        }
    }
}

/// How far a first sync is; 100 only when it is done, and then there is no progress any more.
fn percent(folder: &Folder) -> Option<u64> {
    let progress = folder.progress?;
    let percent = progress.files_done.saturating_mul(100).checked_div(progress.files_total)?;
    Some(percent.min(99))
}

fn waiting_for(peers: &[Peer]) -> String {
    let mut missing = peers.iter().filter(|peer| !peer.connected);
    match (missing.next(), missing.count()) {
        (Some(peer), 0) => format!("waiting for {}", name(&peer.name)),
        (Some(peer), more) => format!("waiting for {} and {more} more", name(&peer.name)),
        (None, _) if peers.is_empty() => "waiting for a first peer".to_owned(),
        (None, _) => "waiting".to_owned(),
    }
}

/// Says how a peer is: a sign, its name, and words, so that no meaning is in the sign alone.
pub(super) fn peer_in_words(peer: &Peer) -> String {
    let (sign, words) = match (peer.connected, peer.synced) {
        (true, true) => ("✓", "has everything"),
        (true, false) => ("↔", "syncing"),
        (false, true) => ("–", "away, has everything"),
        (false, false) => ("–", "away"),
    };
    format!("{sign} {}: {words}", name(&peer.name))
}

/// What a folder holds: "200 deletes and 3 overwrites of this disk, 12 deletes of others".
pub(super) fn held_in_words(folder: &Folder) -> String {
    let Some(held) = folder.held else { return "nothing".to_owned() };
    let side = |deletes: usize, overwrites: usize, whose: &str| {
        let parts: Vec<String> = [(deletes, "delete"), (overwrites, "overwrite")]
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| output::count(number as u64, word))
            .collect();
        (!parts.is_empty()).then(|| format!("{} {whose}", parts.join(" and ")))
    };
    let outgoing = side(held.outgoing_deletes, held.outgoing_overwrites, "made on this device");
    let incoming = side(held.incoming_deletes, held.incoming_overwrites, "made elsewhere");
    outgoing.into_iter().chain(incoming).collect::<Vec<_>>().join(", ")
}

/// What is held, conflicts and problems one by one, and what to do about them.
fn details(folder: &Folder) -> String {
    let mut text = String::new();
    let called = name(&folder.name);
    if folder.held.is_some() {
        let (what, word) = (held_in_words(folder), shell_word(&folder.name));
        text.push_str(&format!("\n\n{called} waits for your word: {what}"));
        text.push_str("\n  so many at once may be a mistake; all else goes on syncing");
        if let Some(awaited) = folder.held.map(|held| held.awaited).filter(|awaited| *awaited > 0) {
            let files = output::count(awaited as u64, "file");
            text.push_str(&format!("\n  {files} will come back once another device has sent the former content"));
        }
        text.push_str(&format!("\n  hint: kith folder approve {word}, or to undo them: kith folder reject {word}"));
    }
    if let Some(polled) = &folder.polled {
        text.push_str(&format!("\n\nchanges in {called} show within seconds, not at once: {}", name(&polled.reason)));
        if let Some(hint) = &polled.hint {
            text.push_str(&format!("\n  hint: {hint}"));
        }
    }
    if folder.line_conflicts > 0 {
        let conflicts = output::count(folder.line_conflicts, "conflict");
        text.push_str(&format!(
            "\n\n{conflicts} of lines in {called}: both sides changed them, and they are merged by words"
        ));
        text.push_str("\n  hint: see both versions of each: kith conflicts");
    }
    let mut list = |word: &str, number: usize, lines: &mut dyn Iterator<Item = String>, hint: &str| {
        if number == 0 {
            return;
        }
        text.push_str(&format!("\n\n{} in {called}:", output::count(number as u64, word)));
        for line in lines.take(LISTED_MAX) {
            text.push_str("\n  ");
            text.push_str(&line);
        }
        if number > LISTED_MAX {
            text.push_str(&format!("\n  and {} more: kith status --json", number - LISTED_MAX));
        }
        text.push_str("\n  hint: ");
        text.push_str(hint);
    };
    list(
        "conflict",
        folder.conflicts.len(),
        &mut folder.conflicts.iter().map(|conflict| format!("{}: {}", name(&conflict.path), name(&conflict.kind))),
        "nothing is lost: see both versions, and settle it when you like: kith conflicts",
    );
    list(
        "problem",
        folder.problems.len(),
        &mut folder.problems.iter().map(|problem| format!("{}: {}", name(&problem.path), name(&problem.reason))),
        "all else goes on syncing; change or move these, or name them in .kithignore",
    );
    list(
        "repair",
        folder.repairs.len(),
        &mut folder.repairs.iter().map(repair),
        "nothing is lost; run one copy of a device's state only, and bring back backups of files, not of that",
    );
    text
}

fn repair(repair: &Repair) -> String {
    let whose = if repair.ours { "this device".to_owned() } else { name(&repair.device).into_owned() };
    let what = "its state was copied or restored, so that two histories of it were found";
    let Repair { set_aside, committed_again, .. } = repair;
    match (set_aside, committed_again) {
        (0, _) => format!("{whose}: {what}; everything here stays"),
        (_, 0) => format!("{whose}: {what}; {} set aside", output::count(*set_aside, "commit")),
        _ => format!(
            "{whose}: {what}; {} set aside, {committed_again} of ours made again",
            output::count(*set_aside, "commit")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::api::{Conflict, Problem, Progress};

    fn peer(name: &str, connected: bool, synced: bool) -> Peer {
        Peer { device: "ab".to_owned(), name: name.to_owned(), connected, synced }
    }

    fn folder(state: State) -> Folder {
        Folder {
            name: "notes".to_owned(),
            path: "/notes".to_owned(),
            space: "00".to_owned(),
            state,
            files: 3,
            bytes: 1000,
            commits: 5,
            conflicts: Vec::new(),
            line_conflicts: 0,
            problems: Vec::new(),
            held: None,
            polled: None,
            repairs: Vec::new(),
            peers: vec![peer("laptop", false, false)],
            progress: None,
        }
    }

    #[test]
    fn document_has_its_shape() {
        let status = StatusReply {
            network: "lan".to_owned(),
            device: Device { id: "cd".to_owned(), name: "desk".to_owned() },
            folders: vec![folder(State::UpToDate)],
        };
        let expected = serde_json::json!({
            "schema": "kith/status/1",
            "network": "lan",
            "device": { "id": "cd", "name": "desk" },
            "folders": [{
                "name": "notes", "path": "/notes", "space": "00", "state": "up_to_date", "files": 3, "bytes": 1000,
                "commits": 5, "conflicts": [], "line_conflicts": 0, "problems": [], "held": null, "polled": null, "repairs": [], "progress": null,
                "peers": [{ "device": "ab", "name": "laptop", "connected": false, "synced": false }],
            }],
        });
        assert_eq!(serde_json::to_value(StatusDocument::new(&status)).ok(), Some(expected));
    }

    #[test]
    fn states_in_words() {
        assert_eq!(in_words(&folder(State::UpToDate)), "up to date");
        assert_eq!(in_words(&folder(State::Waiting)), "waiting for laptop");
        assert_eq!(in_words(&folder(State::Attention)), "needs you");

        let mut syncing = folder(State::Syncing);
        assert_eq!(in_words(&syncing), "syncing");
        syncing.progress = Some(Progress { files_done: 62, files_total: 100 });
        assert_eq!(in_words(&syncing), "syncing 62%");
        syncing.progress = Some(Progress { files_done: 0, files_total: 0 });
        assert_eq!(in_words(&syncing), "syncing");

        let mut waiting = folder(State::Waiting);
        waiting.peers.push(peer("phone", false, false));
        assert_eq!(in_words(&waiting), "waiting for laptop and 1 more");
        waiting.peers.clear();
        assert_eq!(in_words(&waiting), "waiting for a first peer");
    }

    #[test]
    fn what_needs_people_is_listed() {
        let mut attention = folder(State::Attention);
        attention.conflicts = vec![
            Conflict { path: "a".to_owned(), kind: "both edited".to_owned() },
            Conflict { path: "b".to_owned(), kind: "both edited".to_owned() },
        ];
        attention.problems = vec![Problem { path: "pipe".to_owned(), reason: "a FIFO".to_owned() }];
        attention.line_conflicts = 1;
        assert_eq!(in_words(&attention), "needs you: 3 conflicts, 1 problem");
        let text = details(&attention);
        assert!(text.contains("  a: both edited"), "{text}");
        assert!(text.contains("  pipe: a FIFO"), "{text}");
        assert!(text.contains("\n1 conflict of lines in notes: "), "{text}");
        assert!(text.contains("hint: "), "{text}");
    }
}
