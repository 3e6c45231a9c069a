//! Programs save: those that are installed really run, the others as scripts of what they were seen to do.

use std::{
    fs,
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

use sync_tests::daemon::Daemon;

use super::{names, pair, read, rename, together, words, write};

const TEXT: &str = "one\ntwo\nthree\nfour\nfive\nsix\n";

/// What appends the line `last` to the file that is the last argument.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("vim", &["-u", "NONE", "-es", "-c", "set backup backupcopy=no", "-c", "normal! Golast", "-c", "wq"]),
    (
        "vim",
        &["-u", "NONE", "-es", "-c", "set nobackup writebackup backupcopy=yes", "-c", "normal! Golast", "-c", "wq"],
    ),
    ("vim", &["-u", "NONE", "-es", "-c", "set nowritebackup", "-c", "normal! Golast", "-c", "wq"]),
    ("nano", &[]),
    ("ed", &["-s"]),
    ("sed", &["-i", "-e", "$alast"]),
    ("sed", &["-i.bak", "-e", "$alast"]),
    ("perl", &["-i", "-pe", "$_ .= \"last\\n\" if eof"]),
    (
        "python3",
        &[
            "-c",
            "import mmap, sys\nwith open(sys.argv[1], 'r+b') as f:\n f.seek(0, 2); f.write(b'.....'); f.flush()\n m = mmap.mmap(f.fileno(), 0); m[-5:] = b'last\\n'; m.flush(); m.close()",
        ],
    ),
    ("sh", &["-c", "echo last >> \"$0\""]),
    ("dd", &["oflag=append", "conv=notrunc", "status=none"]),
];

/// Whether it ran. One that is not installed is passed over.
fn run(program: &str, args: &[&str], path: &Path) -> bool {
    if program == "nano" {
        return run_nano(path);
    }
    let mut command = Command::new(program);
    command.args(args).env("HOME", "/nonexistent");
    let script: &[u8] = match program {
        "ed" => b"$a\nlast\n.\nw\nq\n",
        "dd" => b"last\n",
        _ => b"",
    };
    let path = path.to_str().expect("is text");
    if program == "dd" {
        command.arg(format!("of={path}"))
    } else {
        command.arg(path)
    };
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        eprintln!("passed over: {program} is not installed");
        return false;
    };
    child.stdin.take().expect("is a pipe").write_all(script).expect("writes");
    let status = child.wait().expect("ends");
    // vim in its silent mode counts warnings.
    assert!(status.success() || program == "vim", "{program}: {status}");
    true
}

/// Types into nano, which wants a terminal: to the last line, a word, and out with a save.
fn run_nano(path: &Path) -> bool {
    let installed = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !installed("nano") || !installed("script") {
        eprintln!("passed over: nano or script is not installed");
        return false;
    }
    let nano = format!("nano --ignorercfiles '{}'", path.display());
    let mut child = Command::new("timeout")
        .args(["60", "script", "-qec", &nano, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("coreutils are there");
    let (mut keys, mut screen) = (child.stdin.take().expect("is a pipe"), child.stdout.take().expect("is a pipe"));
    let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
    // What is typed before it has the terminal is lost.
    while !String::from_utf8_lossy(&shown).contains("GNU nano") {
        let read = screen.read(&mut buffer).expect("reads");
        assert!(read > 0, "nano ended early: {}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&buffer[..read]);
    }
    keys.write_all(b"\x1b/last\x18y\r").expect("types");
    screen.read_to_end(&mut shown).expect("reads");
    let status = child.wait().expect("ends");
    assert!(status.success(), "nano: {status}: {}", String::from_utf8_lossy(&shown));
    true
}

#[test]
fn programs_save_while_the_other_side_edits_the_same_file() {
    let dir = TempDir::new().expect("temporary directory");
    let name = |index: usize| format!("file {index}.txt");
    let [a, b] = pair(&dir, |folder| {
        (0..PROGRAMS.len()).for_each(|index| std::fs::write(folder.join(name(index)), TEXT).expect("writes"));
    });
    let mut ran = Vec::new();
    for (index, (program, args)) in PROGRAMS.iter().enumerate() {
        if run(program, args, &a.folder.join(name(index))) {
            ran.push(index);
            write(&b, &name(index), format!("first\n{TEXT}"));
        }
    }
    assert!(ran.len() >= 4, "sed, sh and dd are everywhere");
    // Whoever installed editors for this wants to know that they ran.
    let wanted = std::env::var("KITH_TEST_EDITORS").unwrap_or_default();
    for editor in wanted.split_whitespace() {
        assert!(ran.iter().any(|index| PROGRAMS[*index].0 == editor), "{editor} did not run");
    }
    together(&a, &b);
    for index in ran {
        assert_eq!(read(&b, &name(index)), format!("first\n{TEXT}last\n"), "{:?}", PROGRAMS[index]);
    }
    let left: Vec<String> = names(&a).into_iter().filter(|name| !name.ends_with(".txt")).collect();
    assert!(left.iter().all(|name| name.ends_with(".bak") || name.ends_with('~')), "{left:?}");
}

/// What programs do that are not installed everywhere; `$1` is the file, `$2` a file with the new text.
const SCRIPTS: &[(&str, &str)] = &[
    ("vim", r#"touch 4913; rm 4913; mv "$1" "$1~"; cat "$2" > "$1"; rm "$1~""#),
    (
        "emacs",
        r##"ln -s me@host.1:2 ".#$1"; cat "$2" > "#$1#"; mv "$1" "$1~"; cat "$2" > "$1"; rm ".#$1" "#$1#" "$1~""##,
    ),
    ("emacs, precious", r##"ln -s me@host.1:2 ".#$1"; cat "$2" > tmpx.el; mv tmpx.el "$1"; rm ".#$1""##),
    ("nano", r#"echo b0nano > ".$1.swp"; : > "$1"; while read -r l; do echo "$l"; done < "$2" > "$1"; rm ".$1.swp""#),
    ("VS Code", r#": > "$1"; cat "$2" >> "$1""#),
    (
        "JetBrains",
        r#"cat "$2" > "$1___jb_tmp___"; mv "$1" "$1___jb_old___"; mv "$1___jb_tmp___" "$1"; rm "$1___jb_old___""#,
    ),
    ("an office", r#"echo me > "~\$$1"; cat "$2" > "$1.tmp"; mv "$1" "$1.old"; mv "$1.tmp" "$1"; rm "$1.old" "~\$$1""#),
    ("git checkout", r#"rm "$1"; cat "$2" > "$1""#),
    ("rsync", r#"cat "$2" > ".$1.Ab12Cd"; mv ".$1.Ab12Cd" "$1""#),
    ("a copy", r#"cp "$2" "$1""#),
    ("many small writes", r#": > "$1"; dd if="$2" of="$1" bs=1 conv=notrunc status=none"#),
];

fn script(daemon: &sync_tests::daemon::Daemon, script: &str, name: &str, text: &str) {
    let new = daemon.home.join("new text");
    std::fs::write(&new, text).expect("writes");
    let mut command = Command::new("sh");
    command.current_dir(&daemon.folder).args(["-ec", script, "sh", name]).arg(&new);
    assert!(command.status().expect("sh runs").success(), "{script}");
}

#[test]
fn saves_of_all_programs_on_both_sides_are_edits_and_leave_nothing() {
    let dir = TempDir::new().expect("temporary directory");
    let name = |index: usize| format!("file{index}.txt");
    let [a, b] = pair(&dir, |folder| {
        (0..SCRIPTS.len()).for_each(|index| std::fs::write(folder.join(name(index)), TEXT).expect("writes"));
    });
    let before = names(&a);
    // Both sides save the same files at the same time, each in its own way. Neither daemon looks meanwhile: a shell that waits
    // for its turn between two steps of a save, on a busy machine, would leave half of it for longer than they do.
    for (index, (_, of_a)) in SCRIPTS.iter().enumerate() {
        let other = (index + 3) % SCRIPTS.len();
        let _stand_still = [a.halt(), b.halt()];
        script(&a, of_a, &name(index), &format!("{TEXT}last\n"));
        script(&b, SCRIPTS[other].1, &name(index), &format!("first\n{TEXT}"));
    }
    together(&a, &b);
    for (index, (program, _)) in SCRIPTS.iter().enumerate() {
        assert_eq!(read(&a, &name(index)), format!("first\n{TEXT}last\n"), "{program}");
        let path = a.folder.join(name(index));
        let log = a.json(&["log", path.to_str().expect("is text")]);
        let deeds: Vec<&str> = log["commits"].as_array().expect("commits").iter().flat_map(deeds).collect();
        assert!(!deeds.contains(&"deleted") && deeds.contains(&"created"), "{program}: {deeds:?}");
    }
    assert_eq!(names(&a), before);
    assert_eq!(super::words(&a).matches("conflict").count(), 0, "{}", super::words(&a));
}

fn deeds(commit: &serde_json::Value) -> Vec<&str> {
    let changes = commit["changes"].as_array().expect("changes").iter();
    changes
        .flat_map(|change| change["did"].as_array().expect("deeds"))
        .map(|did| did["what"].as_str().expect("a word"))
        .collect()
}

#[test]
fn a_log_that_never_rests_and_a_formatter_on_both_sides_come_to_rest() {
    let dir = TempDir::new().expect("temporary directory");
    let unformatted = "fn f(){\nx();\n}\nfn g(){\ny();\n}\n";
    let formatted = "fn f() {\n    x();\n}\nfn g() {\n    y();\n}\n";
    let [a, b] = pair(&dir, |folder| std::fs::write(folder.join("f.rs"), unformatted).expect("writes"));
    // Both sides run the same formatter on what they have.
    write(&a, "f.rs", formatted);
    write(&b, "f.rs", formatted);
    together(&a, &b);
    assert_eq!(read(&b, "f.rs"), formatted);
    let before = super::commits(&a);
    let mut log = String::new();
    for line in 0..400 {
        log.push_str(&format!("{line} something happened\n"));
        write(&a, "app.log", &log);
    }
    together(&a, &b);
    assert_eq!(read(&b, "app.log"), log);
    assert!(super::commits(&a) - before < 200, "not each write is a commit");
    // Quiet is quiet.
    let before = super::commits(&a);
    for daemon in [&a, &b] {
        daemon.stop();
        daemon.start();
    }
    together(&a, &b);
    assert_eq!(super::commits(&b), before);
}

#[test]
fn an_editor_that_shows_an_older_version_does_not_take_back_what_a_peer_wrote() {
    let dir = TempDir::new().expect("temporary directory");
    let lines: Vec<String> = (0..20).map(|number| format!("line {number}\n")).collect();
    let [a, b] = pair(&dir, |folder| fs::write(folder.join("f.txt"), lines.concat()).expect("writes"));
    // An editor of a loads the file, and shows it while b writes.
    let loaded = read(&a, "f.txt");
    write(&b, "f.txt", lines.concat().replace("line 3\n", "line 3 of b\nand one more of b\n"));
    together(&a, &b);
    assert!(read(&a, "f.txt").contains("one more of b"));
    // Its user types, and saves without a look; twice, by both ways of saving.
    let first = loaded.replace("line 15\n", "line 15 of a\n");
    write(&a, "f.txt", &first);
    together(&a, &b);
    let both = |text: &str| text.contains("line 3 of b\nand one more of b\n") && text.contains("line 15 of a\n");
    assert!(both(&read(&a, "f.txt")), "{}", read(&a, "f.txt"));
    write(&a, "f.txt~", format!("{first}line 20 of a\n"));
    rename(&a, "f.txt~", "f.txt");
    together(&a, &b);
    let text = read(&b, "f.txt");
    assert!(both(&text) && text.contains("line 20 of a\n"), "{text}");
    assert_eq!(names(&b), ["f.txt"]);
    assert!(!words(&a).contains("conflict"), "{}", words(&a));
    // The commit of a save has what was saved, though what b had written was here by then.
    let file = a.folder.join("f.txt");
    let file = file.to_str().expect("temporary paths are text");
    let log = b.json(&["log", b.folder.join("f.txt").to_str().expect("temporary paths are text")]);
    let commits = log["commits"].as_array().expect("a list");
    let by_a = commits.iter().filter(|commit| commit["by"]["here"] == false);
    let saved: Vec<String> = by_a
        .map(|commit| {
            let rev = commit["rev"].as_str().expect("a revision");
            let output = a.kith(&["restore", file, "--to", rev, "-o", "-"]);
            String::from_utf8(output.stdout).expect("is text")
        })
        .collect();
    assert_eq!(saved, [format!("{first}line 20 of a\n"), first, loaded]);
    // Who has seen it may take it back.
    write(&b, "f.txt", text.replace("line 10\n", ""));
    together(&a, &b);
    write(&a, "f.txt", &text);
    together(&a, &b);
    assert_eq!(read(&b, "f.txt"), text);
}

/// Files of a, which b changes while an editor of a shows them, and what that saves then.
const STALE: &[(&str, &str, &str, &str, &str)] = &[
    ("an edit elsewhere", "1\n2\n3\n", "1\nb\n2\n3\n", "1\n2\n3\na\n", "1\nb\n2\n3\na\n"),
    ("what b deleted", "1\n2\n3\n4\n", "1\n3\n4\n", "1\n2\n3\na\n", "1\n3\na\n"),
    ("two places of b", "1\n2\n3\n4\n5\n", "b\n2\n3\n4\nb\n", "1\n2\na\n4\n5\n", "b\n2\na\n4\nb\n"),
    // Whoever does these has seen what b wrote, or may have.
    ("the old bytes", "1\n2\n3\n", "1\nb\n2\n3\n", "1\n2\n3\n", "1\n2\n3\n"),
    ("its place", "1\n2\n3\n", "1\nb\n2\n3\n", "1\na\n2\n3\n", "1\na\n2\n3\n"),
    ("right beside it", "1\n2\n3\n", "1\nb\n2\n3\n", "1\na\n3\n", "1\na\n3\n"),
    ("a part of it", "1\n2\n3\n4\n5\n", "b\n2\n3\n4\nb\n", "1\n2\na\n4\nb\n", "1\n2\na\n4\nb\n"),
    ("with it", "1\n2\n3\n", "1\nb\n2\n3\n", "1\nb\n2\n3\na\n", "1\nb\n2\n3\na\n"),
];

#[test]
fn a_save_over_what_its_editor_had_not_seen_keeps_that_and_no_other_does() {
    let dir = TempDir::new().expect("temporary directory");
    let (long, longer) = ("long.txt", "longer.txt");
    let longest = usize::try_from(sync_core::limits::STALE_TEXT_BYTES_MAX).expect("fits");
    let lines: String = (0..).map(|number| format!("line {number}\n")).take((longest - 100) / 12).collect();
    let [a, b] = pair(&dir, |folder| {
        STALE.iter().for_each(|(name, loaded, ..)| fs::write(folder.join(name), loaded).expect("writes"));
        [long, longer].iter().for_each(|name| fs::write(folder.join(name), &lines).expect("writes"));
    });
    STALE.iter().for_each(|(name, _, of_b, ..)| write(&b, name, of_b));
    [long, longer].iter().for_each(|name| write(&b, name, format!("b\n{lines}")));
    together(&a, &b);
    STALE.iter().for_each(|(name, _, _, saved, _)| write(&a, name, saved));
    let saved = |bytes: usize| format!("{lines}{}\n", "a".repeat(bytes - lines.len() - 1));
    write(&a, long, saved(longest));
    write(&a, longer, saved(longest + 1));
    together(&a, &b);
    for (name, .., ends) in STALE {
        assert_eq!(read(&b, name), *ends, "{name}");
    }
    assert_eq!(read(&b, long), format!("b\n{}", saved(longest)), "at the bound");
    assert_eq!(read(&b, longer), saved(longest + 1), "and one past it");
    // Once it was saved here, what is there has been seen.
    let (name, ..) = STALE[7];
    write(&a, name, "1\n2\n3\na\nmore\n");
    together(&a, &b);
    assert_eq!(read(&b, name), "1\n2\n3\na\nmore\n");
}

/// A file as a program leaves it that gives it a time before anybody sees it, as `cp -p`, `rsync` and `tar` do.
fn put_with_time(dir: &TempDir, daemon: &Daemon, name: &str, bytes: &[u8], time: SystemTime) {
    let made = dir.path().join("made");
    fs::write(&made, bytes).expect("writes");
    File::options().append(true).open(&made).expect("opens").set_modified(time).expect("sets");
    fs::rename(&made, daemon.folder.join(name)).expect("renames");
}

fn time_of(daemon: &Daemon, name: &str) -> SystemTime {
    let metadata = fs::metadata(daemon.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    metadata.modified().expect("has a time")
}

#[test]
fn a_file_keeps_its_time_wherever_it_comes() {
    let dir = TempDir::new().expect("temporary directory");
    let at = |day: u64| UNIX_EPOCH + Duration::new(day * 86_400, 123_456_789);
    let [a, b] = ["a", "b"].map(|name| Daemon::new(super::program(), dir.path(), name));
    put_with_time(&dir, &a, "text", TEXT.as_bytes(), at(9_000));
    put_with_time(&dir, &a, "photo", &[7; 300_000], at(8_000));
    put_with_time(&dir, &a, "both", b"the same\n", at(7_000));
    put_with_time(&dir, &b, "both", b"the same\n", at(7_500));
    b.join(&a.share());
    together(&a, &b);
    assert_eq!((time_of(&b, "text"), time_of(&b, "photo")), (at(9_000), at(8_000)));
    assert_eq!((time_of(&a, "both"), time_of(&b, "both")), (at(7_000), at(7_500)), "nobody writes what is there");

    // An edit may be older than what it replaces: what counts is which came after which.
    put_with_time(&dir, &b, "text", TEXT.replace("one", "1").as_bytes(), at(5_000));
    put_with_time(&dir, &b, "photo", &[8; 300_000], at(8_500));
    together(&a, &b);
    rename(&b, "photo", "picture");
    together(&a, &b);
    assert_eq!((time_of(&a, "text"), time_of(&a, "picture")), (at(5_000), at(8_500)));

    // Where edits meet, it is a moment after the later of their times on both sides.
    b.stop();
    put_with_time(&dir, &a, "text", TEXT.replace("one", "1").replace("three", "3").as_bytes(), at(10_000));
    put_with_time(&dir, &b, "text", TEXT.replace("one", "1").replace("six", "6").as_bytes(), at(9_500));
    a.wait_synced();
    b.start();
    together(&a, &b);
    assert_eq!(read(&a, "text"), "1\ntwo\n3\nfour\nfive\n6\n");
    let met = at(10_000) + Duration::from_millis(1);
    assert_eq!((time_of(&a, "text"), time_of(&b, "text")), (met, met));
}
