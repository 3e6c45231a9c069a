//! What leaves the program: data on stdout, all else on stderr.
//!
//! Nothing else in this crate writes to a terminal, except the progress bar of a first sync. A reader that went away
//! (`kith status | head -1`) is no failure, so nothing here panics on a broken pipe.
//!
//! Names and messages come from other people's disks, and a terminal obeys some characters instead of showing them. So
//! whoever puts a name into a text uses [`name`], and what is written for people goes through [`lines`] once more.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
    io::{self, IsTerminal as _, Write as _},
};

use comfy_table::{Color as TableColor, Table, presets};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::Color,
    error::{Error, Kind, Result},
};

/// Whether a terminal may do something else with a character than show it in its place: the controls (C0, DEL, C1), what
/// begins another line, and what turns the direction of the text around it.
fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name, or another text of one line from elsewhere, as it is shown to people: what a terminal would obey is written
/// out, as `\n`, `\x1b` or `\u{202e}`. A backslash stays as it is; `--json` has the true name.
#[must_use]
pub fn name(text: &str) -> Cow<'_, str> {
    escaped(text, |_, _| false)
}

/// Like [`name`] for texts of several lines: line ends and tabs stay.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character, rest| match character {
        '\n' | '\t' => true,
        '\r' => rest.starts_with('\n'),
        _ => false,
    })
}

fn escaped(text: &str, stays: impl Fn(char, &str) -> bool) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut copied = 0;
    for (at, character) in text.char_indices() {
        let (before, after) = (text.get(copied..at), at + character.len_utf8());
        if !is_unsafe(character) || stays(character, text.get(after..).unwrap_or_default()) {
            continue;
        }
        shown.push_str(before.unwrap_or_default());
        copied = after;
        // A `String` takes all that is written to it.
        let _ = match character {
            '\n' => shown.write_str("\\n"),
            '\r' => shown.write_str("\\r"),
            '\t' => shown.write_str("\\t"),
            '\0'..='\x7f' => write!(shown, "\\x{:02x}", u32::from(character)),
            _ => write!(shown, "\\u{{{:x}}}", u32::from(character)),
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    shown.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(shown)
}

/// Writes a line, or several, for people to stdout.
///
/// # Errors
///
/// Stdout cannot be written, for another reason than that nobody reads.
pub fn data(text: &str) -> Result<()> {
    as_is(&lines(text))
}

/// Writes what has colours of ours, or must reach its reader byte by byte; the caller has seen to names.
///
/// # Errors
///
/// Stdout cannot be written, for another reason than that nobody reads.
pub fn as_is(text: &str) -> Result<()> {
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
    as_is(&to_json(document)?)
}

/// What JSON lets stand in a text and a terminal obeys is written as `\u202e`, which any reader takes for the same.
fn to_json<T: Serialize>(document: &T) -> Result<String> {
    let text = serde_json::to_string(document)
        .map_err(|error| Error::new(Kind::Internal, format!("cannot write the answer as JSON: {error}")))?;
    if !text.contains(is_unsafe) {
        return Ok(text);
    }
    let shown = text.chars().map(|character| {
        // All of them have four digits at most.
        if is_unsafe(character) { format!("\\u{:04x}", u32::from(character)) } else { character.to_string() }
    });
    Ok(shown.collect())
}

/// Writes a line for people to stderr.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", lines(text));
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
    // A name in the message may hold line ends: no line of it may look like one of ours.
    note(&format!("kith: {}", error.message.replace('\n', "\n  | ")));
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

/// A cell of a table. Whatever it is made of, only line ends of it reach the terminal as more than they show.
#[derive(Debug)]
pub struct Cell(comfy_table::Cell);

impl Cell {
    /// A cell with a text, of several lines if need be.
    pub fn new(content: impl Display) -> Self {
        let text = content.to_string();
        Self(comfy_table::Cell::new(escaped(&text, |character, _| character == '\n')))
    }

    /// Gives it a colour.
    #[must_use]
    pub fn fg(self, color: TableColor) -> Self {
        Self(self.0.fg(color))
    }
}

/// Makes a table without lines, two spaces between its columns.
#[must_use]
pub fn table(header: &[&str], rows: Vec<Vec<Cell>>, colors: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| cell.0));
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

/// Quotes a word for a shell, if it needs it; what a terminal would obey as the shells' `$'…'` has it, byte by byte.
#[must_use]
pub fn shell_word(word: &str) -> String {
    if word.contains(is_unsafe) {
        let mut quoted = String::from("$'");
        for character in word.chars() {
            match character {
                '\'' | '\\' => quoted.extend(['\\', character]),
                _ if is_unsafe(character) => {
                    let mut bytes = [0; 4];
                    for byte in character.encode_utf8(&mut bytes).bytes() {
                        let _ = write!(quoted, "\\{byte:03o}");
                    }
                }
                _ => quoted.push(character),
            }
        }
        quoted.push('\'');
        return quoted;
    }
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
    let _ = write!(stderr, "{} [y/N] ", lines(question)).and_then(|()| stderr.flush());
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

/// Where logs go: one line of safe characters for each event, which arrives here in one piece.
#[derive(Debug)]
struct LogWriter<W>(W);

impl<W: io::Write> io::Write for LogWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        self.0.write_all(format!("{}{end}", name(line)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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
    let _ = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(|| LogWriter(io::stderr()))
        .try_init();
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
        assert_eq!(shell_word("it's \u{1b}[31m\u{202e}"), r"$'it\'s \033[31m\342\200\256'");
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        let plain = r"ünï 漢字 \x1b a‍b";
        assert_eq!((name(plain), lines(plain)), (plain.into(), plain.into()));
        assert_eq!(name("n\u{1b}[31mred\n\r\t\0\u{7f}"), r"n\x1b[31mred\n\r\t\x00\x7f");
        assert_eq!(name("\u{9b}31m \u{85}"), r"\u{9b}31m \u{85}", "C1: some terminals take it for ESC [");
        assert_eq!(name("a\u{202e}txt.exe\u{2066}b\u{2029}"), r"a\u{202e}txt.exe\u{2066}b\u{2029}");
        assert_eq!(lines("a\n\tb\r\nc\rd\u{1b}"), "a\n\tb\r\nc\\rd\\x1b");
    }

    #[test]
    fn json_has_the_true_name_in_safe_characters() {
        let name = "n\u{1b}[31m\u{7f}\u{9b}\u{202e}\n";
        let text = to_json(&name).expect("is text");
        assert!(!text.contains(is_unsafe), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).ok().as_deref(), Some(name));
    }

    #[test]
    fn tables_and_logs_show_no_more_than_text() {
        let table = table(&["A"], vec![vec![Cell::new("x\u{1b}[31m\ty\nz")]], true);
        assert_eq!(table.lines().map(str::trim).collect::<Vec<_>>(), ["A", r"x\x1b[31m\ty", "z"]);
        let mut written = Vec::new();
        LogWriter(&mut written).write_all(b"INFO a\nINFO forged \x1b[31m\n").expect("memory takes it");
        assert_eq!(String::from_utf8_lossy(&written), "INFO a\\nINFO forged \\x1b[31m\n");
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
