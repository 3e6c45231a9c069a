//! What leaves the program: data on stdout, all else on stderr.
//!
//! Nothing else in this crate writes to a terminal, except the progress bar of a first sync. A reader that went away
//! (`kith status | head -1`) is no failure, so nothing here panics on a broken pipe.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Table, presets};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::Color,
    error::{Error, Kind, Result},
};

/// Writes a line, or several, of data to stdout.
///
/// # Errors
///
/// Stdout cannot be written, for another reason than that nobody reads.
pub fn data(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::from_io(Kind::Failed, "cannot write to stdout", &error))
        }
        _ => Ok(()),
    }
}

/// Writes one JSON document to stdout.
///
/// # Errors
///
/// Stdout cannot be written.
pub fn json<T: Serialize>(document: &T) -> Result<()> {
    data(&to_json(document)?)
}

fn to_json<T: Serialize>(document: &T) -> Result<String> {
    serde_json::to_string(document)
        .map_err(|error| Error::new(Kind::Internal, format!("cannot write the answer as JSON: {error}")))
}

/// Writes a line for people to stderr.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error for scripts.
#[derive(Debug, Serialize)]
pub struct ErrorDocument<'a> {
    schema: &'static str,
    code: &'static str,
    message: &'a str,
    hint: Option<String>,
}

impl<'a> From<&'a Error> for ErrorDocument<'a> {
    fn from(error: &'a Error) -> Self {
        Self { schema: "kith/error/1", code: error.kind.code(), message: &error.message, hint: error.hint_line() }
    }
}

/// Says on stderr why a command failed.
pub fn error(error: &Error, json: bool) {
    if json {
        match to_json(&ErrorDocument::from(error)) {
            Ok(text) => note(&text),
            Err(_) => note(&error.message),
        }
        return;
    }
    if error.kind == Kind::Interrupted {
        return;
    }
    note(&format!("kith: {}", error.message));
    for hint in &error.hints {
        note(&format!("  hint: {hint}"));
    }
}

/// Whether text for people may have colours.
#[must_use]
pub fn use_colors(choice: Color) -> bool {
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            !refused && io::stdout().is_terminal()
        }
    }
}

/// Makes a table without lines, two spaces between its columns.
#[must_use]
pub fn table(header: &[&str], rows: Vec<Vec<comfy_table::Cell>>, colors: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.force_no_tty();
    if colors {
        table.enforce_styling();
    }
    table.trim_fmt()
}

/// Says how many there are of something, with the plural that most words have.
#[must_use]
pub fn count(number: u64, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// Says a number of bytes.
#[must_use]
pub fn bytes(number: u64) -> String {
    indicatif::DecimalBytes(number).to_string()
}

/// The beginning of a hash in hex, long enough to name it.
#[must_use]
pub fn short(hash: &str) -> &str {
    hash.get(..10).unwrap_or(hash)
}

/// Shortens a text in its middle to so many characters.
#[must_use]
pub fn fit(text: &str, width: usize) -> String {
    let len = text.chars().count();
    if len <= width {
        return text.to_owned();
    }
    // What is at the end tells more, as in paths.
    let head = width.saturating_sub(1) / 3;
    let tail = width.saturating_sub(1) - head;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(len - tail)).collect()
}

/// Quotes a word for a shell, if it needs it.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Asks a question on the terminal; anything but a yes is a no.
///
/// # Errors
///
/// There is no terminal to ask on, or it went away.
pub async fn confirm(question: &str) -> Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Error::new(Kind::Refused, "this needs a yes, and there is no terminal to ask on")
            .hint("say yes on the command line: --yes"));
    }
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    drop(stderr);
    let answer = read_stdin(|line| io::stdin().read_line(line).map(drop)).await?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Reads stdin on a thread of its own, so that Ctrl-C still works.
///
/// # Errors
///
/// Stdin cannot be read, or is not text.
pub async fn read_stdin(read: impl FnOnce(&mut String) -> io::Result<()> + Send + 'static) -> Result<String> {
    let line = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        read(&mut text).map(|()| text)
    });
    match line.await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(Error::from_io(Kind::Failed, "cannot read stdin", &error)),
        Err(_) => Err(Error::new(Kind::Internal, "reading stdin ended early")),
    }
}

/// Sends logs to stderr, as `KITH_LOG` or the number of `-v` says.
pub fn start_logs(verbose: u8) {
    let default = match verbose {
        0 => "info",
        1 => "info,sync_core=debug,sync_net=debug,sync_cli=debug",
        _ => "debug,sync_core=trace,sync_net=trace,sync_cli=trace",
    };
    let (filter, refused) = match std::env::var("KITH_LOG") {
        Ok(asked) if !asked.is_empty() => match EnvFilter::try_new(&asked) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(default), Some(error)),
        },
        _ => (EnvFilter::new(default), None),
    };
    // A second call, in tests, keeps the first.
    let _ = tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(io::stderr).try_init();
    if let Some(error) = refused {
        tracing::warn!(%error, "KITH_LOG is not understood and ignored");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_document_has_its_shape() {
        let error = Error::new(Kind::DaemonNotRunning, "the daemon does not run").hint("start it: kith daemon start");
        let document = serde_json::to_value(ErrorDocument::from(&error)).ok();
        assert_eq!(
            document,
            Some(serde_json::json!({
                "schema": "kith/error/1",
                "code": "daemon_not_running",
                "message": "the daemon does not run",
                "hint": "start it: kith daemon start",
            }))
        );
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("notes"), "notes");
        assert_eq!(shell_word("my notes"), "'my notes'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("~x"), "'~x'");
    }

    #[test]
    fn long_words_lose_their_middle() {
        assert_eq!(fit("short", 5), "short");
        assert_eq!(fit("a/long/path/file.txt", 12), "a/l…file.txt");
        assert_eq!(fit("äöüäöü", 3), "…öü");
        assert_eq!(short("0123456789abcdef"), "0123456789");
    }

    #[test]
    fn counts() {
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(0, "file"), "0 files");
    }
}
