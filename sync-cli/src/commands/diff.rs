//! `kith diff`: what differs between two states of a file, as a unified diff where it is a text.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
};

use serde::Serialize;
use sync_net::history::{Diff, Diffs, Version, When};

use super::{Context, located};
use crate::{
    daemon::api::{self, DiffRequest},
    error::{Outcome, Result},
    output::{self, name},
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct DiffDocument<'a> {
    schema: &'static str,
    #[serde(flatten)]
    diffs: &'a Diffs,
}

pub(super) async fn run(
    context: &Context,
    path: &Path,
    from: Option<When>,
    to: Option<When>,
    folder: Option<&str>,
) -> Result<Outcome> {
    let place = located::find(context, path, folder).await?;
    let request = DiffRequest { folder: place.folder.clone(), path: place.inside()?, from, to };
    let diffs: Diffs = place.client.post(api::path::DIFF, &request).await?;
    if context.json {
        output::json(&DiffDocument { schema: "kith/diff/1", diffs: &diffs })?;
        return Ok(Outcome::Done);
    }
    let shown: Vec<String> = [Some(&diffs.diff), diffs.unsynced.as_ref()]
        .into_iter()
        .flatten()
        .filter(|diff| diff.differs)
        .map(|diff| text(diff, context.colors, io::stdout().is_terminal()))
        .collect();
    if shown.is_empty() {
        let (from, to) = (name(&diffs.diff.from.label), name(&diffs.diff.to.label));
        context.note(&format!("{} is the same: {from}, {to}", place.typed));
    } else {
        let text = shown.join("\n");
        output::as_is(text.strip_suffix('\n').unwrap_or(&text))?;
    }
    Ok(Outcome::Done)
}

/// The lines of a file come as they are, for `patch` and its like, but on a terminal.
fn text(diff: &Diff, colors: bool, terminal: bool) -> String {
    let mut text = format!("--- {}\n+++ {}\n", head(&diff.from), head(&diff.to));
    if diff.from.executable != diff.to.executable && diff.from.there && diff.to.there {
        text.push_str(if diff.to.executable { "made executable\n" } else { "no longer executable\n" });
    }
    match &diff.hunks {
        Some(hunks) if terminal => text.push_str(&output::lines(hunks)),
        Some(hunks) => text.push_str(hunks),
        None => text.push_str(&format!("-{}\n+{}\n", bytes(&diff.from), bytes(&diff.to))),
    }
    if colors { colored(&text) } else { text }
}

fn head(version: &Version) -> String {
    let there = if version.there { "" } else { ", not there" };
    format!("{} ({}{there})", name(&version.path), name(&version.label))
}

fn bytes(version: &Version) -> String {
    match (&version.target, version.bytes, &version.hash) {
        (Some(target), ..) => format!("link to {}", name(target)),
        (None, Some(bytes), Some(hash)) => format!("{}, content {}", output::bytes(bytes), output::short(hash)),
        _ => "nothing".to_owned(),
    }
}

fn colored(text: &str) -> String {
    const RESET: &str = "\u{1b}[0m";
    // Not `lines`, which would take the first half of a CRLF away.
    let lines = text.split_terminator('\n').map(|line| {
        let color = match line.as_bytes() {
            [b'-', b'-', b'-', b' ', ..] | [b'+', b'+', b'+', b' ', ..] => "\u{1b}[1m",
            [b'@', b'@', ..] => "\u{1b}[36m",
            [b'-', ..] => "\u{1b}[31m",
            [b'+', ..] => "\u{1b}[32m",
            _ => return format!("{line}\n"),
        };
        format!("{color}{line}{RESET}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(label: &str, hash: Option<&str>) -> Version {
        Version {
            label: label.into(),
            there: hash.is_some(),
            path: "a".into(),
            bytes: hash.map(|_| 1000),
            hash: hash.map(|hash| hash.repeat(32)),
            text: false,
            executable: false,
            target: None,
        }
    }

    #[test]
    fn binaries_say_size_and_content() {
        let (from, to) = (version("then", Some("ab")), version("now", None));
        let diff = Diff { from, to, differs: true, added: 0, removed: 0, hunks: None };
        let expected = "--- a (then)\n+++ a (now, not there)\n-1.00 kB, content ababababab\n+nothing\n";
        assert_eq!(text(&diff, false, false), expected);
    }

    #[test]
    fn names_are_shown_safely_and_lines_only_on_a_terminal() {
        let (mut from, to) = (version("then", Some("ab")), version("now", Some("cd")));
        from.path = "a\u{1b}[31m\n+++ b".into();
        let hunks = Some("@@ -1 +1 @@\n-a\u{1b}[2J  \r\n+\tb\n".to_owned());
        let diff = Diff { from, to, differs: true, added: 1, removed: 1, hunks };
        let head = "--- a\\x1b[31m\\n+++ b (then)\n+++ a (now)\n@@ -1 +1 @@\n";
        assert_eq!(text(&diff, false, false), format!("{head}-a\u{1b}[2J  \r\n+\tb\n"));
        assert_eq!(text(&diff, false, true), format!("{head}-a\\x1b[2J  \r\n+\tb\n"));
        let colored = text(&diff, true, true);
        assert!(colored.contains("\n\u{1b}[31m-a\\x1b[2J  \r\u{1b}[0m\n\u{1b}[32m+\tb\u{1b}[0m\n"), "{colored:?}");
    }

    #[test]
    fn lines_are_colored_by_what_they_are() {
        assert_eq!(colored("-a\n b\n"), "\u{1b}[31m-a\u{1b}[0m\n b\n");
    }
}
