//! What people see of names that a terminal would obey, told by real daemons.

use std::{fs, path::Path, process::Output};

use serde_json::Value;
use sync_tests::daemon::Daemon;
use tempfile::TempDir;

/// Colours what follows, begins another line, turns the text around, and has a CSI of one character.
const HOSTILE: &str = "n\u{1b}[31mred\nforged\u{202e}txt\u{9b}32m.txt";
/// As people are shown it.
const SHOWN: &str = r"n\x1b[31mred\nforged\u{202e}txt\u{9b}32m.txt";

fn daemons<const N: usize>(dir: &TempDir, names: [&str; N]) -> [Daemon; N] {
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    names.map(|name| Daemon::new(program, dir.path(), name))
}

fn assert_harmless(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let harmful = |character: char| character != '\n' && (character.is_control() || character == '\u{202e}');
    assert!(!text.contains(harmful), "{what}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{what}: {text}");
}

fn texts(daemon: &Daemon, args: &[&str]) -> String {
    let Output { stdout, stderr, .. } = daemon.kith(args);
    let what = format!("kith {args:?}");
    assert_harmless(&what, &stdout);
    assert_harmless(&what, &stderr);
    String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
}

#[test]
fn names_that_a_terminal_would_obey_are_shown_as_text() {
    let dir = TempDir::new().expect("temporary directory");
    // So is the place of the second; what folders are called is checked where they are shared.
    let [a, b] = daemons(&dir, ["a", HOSTILE]);
    fs::write(a.folder.join(HOSTILE), "one\n").expect("writes");
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    a.wait_synced();
    // A conflict, and something that cannot be synced.
    a.stop();
    b.stop();
    for (daemon, text) in [(&a, "of a\n"), (&b, "of b \u{1b}[2J\r\n")] {
        fs::write(daemon.folder.join(HOSTILE), text).expect("writes");
        fs::write(daemon.folder.join(format!("{HOSTILE} twice")), text).expect("writes");
        daemon.start();
    }
    std::os::unix::fs::symlink("/", b.folder.join(format!("{HOSTILE} link"))).expect("links");
    b.wait_synced();
    a.wait_synced();
    let at = b.folder.join(HOSTILE);
    let at = at.to_str().expect("is text");
    let gone = format!("{at} gone");
    for args in [
        &["status"][..],
        &["folder", "list"],
        &["peer", "list"],
        &["log", "--folder", HOSTILE],
        &["log", "--folder", "a"],
        &["log", at],
        &["why", at],
        &["conflicts"],
        &["conflicts", "show", at],
        &["restore", at, "--to", "ffffffffff"],
        &["restore", at, "--list"],
        &["log", &gone],
        &["why", &gone],
        &["diff", &gone],
        &["log", at, at],
        &["invite", HOSTILE, "--role", HOSTILE],
        &["doctor"],
        &["paths"],
        &["daemon", "status"],
        &["daemon", "logs"],
    ] {
        texts(&b, args);
    }
    for (args, count) in [(&["status"][..], 2), (&["folder", "list"], 1), (&["conflicts"], 1)] {
        let text = texts(&b, args);
        assert!(text.matches(SHOWN).count() >= count, "{args:?}: {text}");
    }
    // Scripts have the true name.
    let why = b.json(&["why", at]);
    assert_eq!((&why["path"], &why["folder"]), (&Value::from(HOSTILE), &Value::from("a")), "{why:#}");
    assert_harmless("--json", &b.kith(&["status", "--json"]).stdout);
    for daemon in [&a, &b] {
        assert_harmless("the log", daemon.log().as_bytes());
    }
}

#[test]
fn the_lines_of_a_diff_are_what_they_are() {
    let dir = TempDir::new().expect("temporary directory");
    let [a] = daemons(&dir, ["a"]);
    let at = a.folder.join(HOSTILE);
    fs::write(&at, "one\n").expect("writes");
    let _invite = a.share();
    a.wait_synced();
    fs::write(&at, "two \u{1b}[2J\r\n  \n").expect("writes");
    a.wait_synced();
    let at = at.to_str().expect("is text");
    let lines = |more: &[&str]| {
        let output = a.kith(&[&["diff", at], more].concat());
        String::from_utf8_lossy(&output.stdout).split('\n').map(str::to_owned).collect::<Vec<_>>()
    };
    let plain = lines(&[]);
    assert!(plain[0].starts_with(&format!("--- {SHOWN} (")), "{plain:?}");
    assert!(plain[1].starts_with(&format!("+++ {SHOWN} (")), "{plain:?}");
    assert_eq!(plain[2..], ["@@ -1 +1,2 @@", "-one", "+two \u{1b}[2J\r", "+  ", ""]);
    let colored = lines(&["--color", "always"]);
    let expected = ["-one", "+two \u{1b}[2J\r", "+  "].into_iter().zip([31, 32, 32]);
    let expected: Vec<String> = expected.map(|(line, color)| format!("\u{1b}[{color}m{line}\u{1b}[0m")).collect();
    assert_eq!(colored[3..6], expected);
}
