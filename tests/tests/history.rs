//! History, conflicts and the question why, through real daemons: what was there comes back, and what both sides did is
//! settled on every device.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use sync_core::limits;
use sync_tests::{daemon::Daemon, disk::differences};
use tempfile::TempDir;

fn daemons<const N: usize>(dir: &TempDir) -> [Daemon; N] {
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    std::array::from_fn(|index| Daemon::new(program, dir.path(), &format!("device {index}")))
}

fn at<'a>(daemon: &Daemon, name: &str, place: &'a mut String) -> &'a str {
    *place = daemon.folder.join(name).to_str().expect("is text").to_owned();
    place
}

/// Runs a command about a path of the folder and returns its exit code and JSON, from stdout or else from stderr.
fn ask(daemon: &Daemon, before: &[&str], name: &str, after: &[&str]) -> (i32, Value) {
    let mut place = String::new();
    let output = daemon.kith(&[before, &[at(daemon, name, &mut place)], after, &["--json"]].concat());
    let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let document = serde_json::from_slice(text).unwrap_or(Value::Null);
    (output.status.code().expect("ends by itself"), document)
}

/// The same for a command that must succeed.
fn tell(daemon: &Daemon, before: &[&str], name: &str, after: &[&str]) -> Value {
    let (code, document) = ask(daemon, before, name, after);
    assert_eq!(code, 0, "kith {before:?} {name} {after:?}: {document:#}\n{}", daemon.log());
    document
}

/// What each commit of a path's log did, newest first, with its revision.
fn log(daemon: &Daemon, name: &str) -> Vec<(String, Vec<String>)> {
    let log = tell(daemon, &["log"], name, &[]);
    assert_eq!(log["schema"], "kith/log/1");
    let commits = log["commits"].as_array().expect("commits").iter();
    commits
        .map(|commit| {
            let did = commit["changes"].as_array().expect("changes").iter().flat_map(|change| {
                change["did"]
                    .as_array()
                    .expect("deeds")
                    .iter()
                    .map(|did| did["what"].as_str().expect("a word").to_owned())
            });
            (commit["rev"].as_str().expect("a revision")[..10].to_owned(), did.collect())
        })
        .collect()
}

fn write(daemon: &Daemon, name: &str, bytes: impl AsRef<[u8]>) {
    fs::write(daemon.folder.join(name), bytes).expect(name);
    daemon.wait_synced();
}

fn read(daemon: &Daemon, name: &str) -> String {
    fs::read_to_string(daemon.folder.join(name)).expect(name)
}

/// Bytes that are no text, and too many to rest inline.
fn noise(seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; 40_000];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn a_text_comes_back_from_any_state_and_its_log_tells_the_story() {
    let dir = TempDir::new().expect("temporary directory");
    let [a] = daemons(&dir);
    fs::write(a.folder.join("a.txt"), "one\ntwo\nthree\n").expect("writes");
    let _invite = a.share();
    a.wait_synced();
    write(&a, "a.txt", "one\n2\nthree\nfour\n");
    fs::rename(a.folder.join("a.txt"), a.folder.join("b.txt")).expect("renames");
    a.wait_synced();
    let story = log(&a, "b.txt");
    let deeds: Vec<&[String]> = story.iter().map(|(_, deeds)| deeds.as_slice()).collect();
    assert_eq!(deeds, [&["renamed"], &["edited"], &["created"]]);
    let edit = &tell(&a, &["log"], "b.txt", &[])["commits"][1];
    let (edited, edited_at) = (&edit["changes"][0]["did"][0], &edit["at_ms"]);
    assert_eq!((&edited["added"], &edited["removed"]), (&2.into(), &1.into()));
    // The rename changed nothing in it.
    assert_eq!(tell(&a, &["diff"], "b.txt", &[])["diff"]["added"], 2);
    // Under its former name too.
    let former = tell(&a, &["log"], "a.txt", &[]);
    assert_eq!((&former["standing"], &former["now_at"]), (&"before".into(), &"b.txt".into()));

    let (first, second) = (story[2].0.as_str(), story[1].0.as_str());
    let diff = tell(&a, &["diff"], "b.txt", &["--from", first, "--to", second]);
    assert_eq!(diff["diff"]["hunks"], "@@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n");
    tell(&a, &["restore"], "b.txt", &["--to", first]);
    assert_eq!(read(&a, "b.txt"), "one\ntwo\nthree\n");
    a.wait_synced();
    let last = tell(&a, &["diff"], "b.txt", &[]);
    assert_eq!((&last["diff"]["added"], &last["diff"]["removed"]), (&1.into(), &2.into()));
    let again = tell(&a, &["restore"], "b.txt", &["--to", first]);
    assert_eq!(again["paths"][0]["outcome"], "same");
    // As it was at a time: that of the edit, as the log tells it.
    let at_ms = edited_at.as_u64().expect("a time");
    let date = format!("@{}.{:03}", at_ms / 1000, at_ms % 1000);
    let time = Command::new("date").args(["-u", "-d", &date, "+%Y-%m-%dT%H:%M:%S.%3NZ"]).output().expect("date runs");
    let time = String::from_utf8(time.stdout).expect("is text");
    tell(&a, &["restore"], "b.txt", &["--to", time.trim()]);
    assert_eq!(read(&a, "b.txt"), "one\n2\nthree\nfour\n");
    a.wait_synced();
    tell(&a, &["restore"], "b.txt", &["--to", first]);
    a.wait_synced();
    // A copy under the name that it had, and bytes on stdout, change nothing in its place.
    tell(&a, &["restore"], "a.txt", &["--to", second]);
    assert_eq!(
        (read(&a, "a.txt").as_str(), read(&a, "b.txt").as_str()),
        ("one\n2\nthree\nfour\n", "one\ntwo\nthree\n")
    );
    let mut place = String::new();
    let printed = a.kith(&["restore", at(&a, "b.txt", &mut place), "--to", second, "-o", "-"]);
    assert_eq!(printed.stdout, b"one\n2\nthree\nfour\n");
}

#[test]
fn a_page_of_a_log_names_so_many_entries_and_counts_so_many_edits() {
    let dir = TempDir::new().expect("temporary directory");
    let [a] = daemons(&dir);
    let write_all = |count: usize, text: &str| {
        (0..count).for_each(|file| fs::write(a.folder.join(format!("{file}.txt")), text).expect("writes"));
    };
    write_all(limits::LOG_ENTRIES_MAX + 1, "one\n");
    let _invite = a.share();
    a.wait_synced();
    let page = || tell(&a, &["log"], "", &["-n", "100"])["commits"].as_array().expect("commits").clone();
    let import = page();
    let import = import.iter().find(|commit| commit["more"] == 1).expect("one commit has them all");
    assert_eq!(import["changes"].as_array().map(Vec::len), Some(limits::LOG_ENTRIES_MAX));
    // Fewer files than a commit names, so that all of what follows is told.
    for text in ["two\n", "three\n", "four\n"] {
        write_all(limits::LOG_ENTRIES_MAX, text);
        a.wait_synced();
    }
    let edits: Vec<Value> = page()
        .iter()
        .flat_map(|commit| commit["changes"].as_array().expect("changes"))
        .map(|change| change["did"][0].clone())
        .filter(|did| did["what"] == "edited")
        .collect();
    assert_eq!(edits.len(), 3 * limits::LOG_ENTRIES_MAX);
    let counted = |edits: &[Value]| edits.iter().filter(|did| did["added"] == 1).count();
    assert_eq!(counted(&edits), limits::LOG_COUNTED_MAX);
    assert_eq!(counted(&edits[..2 * limits::LOG_ENTRIES_MAX]), 2 * limits::LOG_ENTRIES_MAX, "the newest are counted");
}

#[test]
fn what_was_deleted_comes_back_with_everything_in_it() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = daemons(&dir);
    fs::create_dir_all(a.folder.join("d/sub")).expect("makes");
    fs::write(a.folder.join("d/text.txt"), "kept\n").expect("writes");
    fs::write(a.folder.join("d/sub/noise.bin"), noise(1)).expect("writes");
    fs::write(a.folder.join("d/small.bin"), [0, 1, 2]).expect("writes");
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    write(&a, "d/text.txt", "kept\nand edited\n");
    b.wait_synced();
    fs::remove_dir_all(b.folder.join("d")).expect("removes");
    b.wait_synced();
    a.wait_synced();
    assert!(!a.folder.join("d").exists());
    assert_eq!(tell(&a, &["log"], "d/text.txt", &[])["standing"], "gone");
    assert_eq!(log(&a, "d/text.txt")[0].1, ["deleted"]);
    // On the device that deleted it: the bytes are at the other one, which keeps what was displaced.
    let restored = tell(&b, &["restore"], "d", &[]);
    assert!(restored["paths"].as_array().is_some_and(|paths| paths.len() == 5), "{restored:#}");
    b.wait_synced();
    a.wait_synced();
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
    assert_eq!(read(&b, "d/text.txt"), "kept\nand edited\n");
    assert_eq!(fs::read(a.folder.join("d/sub/noise.bin")).expect("reads"), noise(1));
    assert_eq!(fs::read(a.folder.join("d/small.bin")).expect("reads"), [0, 1, 2]);
    assert_eq!(log(&a, "d/text.txt")[0].1, ["restored"]);
}

#[test]
fn a_binary_that_a_remote_change_displaced_is_kept_and_comes_back() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = daemons(&dir);
    fs::write(a.folder.join("photo.bin"), noise(1)).expect("writes");
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    a.wait_synced();
    write(&a, "photo.bin", noise(2));
    b.wait_synced();
    assert_eq!(fs::read(b.folder.join("photo.bin")).expect("reads"), noise(2));
    let kept = tell(&b, &["restore"], "photo.bin", &["--list"]);
    assert_eq!(kept["kept"][0]["path"], "photo.bin", "{kept:#}");
    a.stop();
    let first = log(&b, "photo.bin").pop().expect("was created").0;
    tell(&b, &["restore"], "photo.bin", &["--to", &first]);
    assert_eq!(fs::read(b.folder.join("photo.bin")).expect("reads"), noise(1));
    // And the newer one, which gave way to it: by its content, as the list has it.
    let kept = tell(&b, &["restore"], "photo.bin", &["--list"]);
    let hash = blake3::hash(&noise(2)).to_hex();
    assert_eq!(kept["kept"][0]["hash"], hash.as_str(), "{kept:#}");
    tell(&b, &["restore"], "photo.bin", &["--to", &hash[..12]]);
    assert_eq!(fs::read(b.folder.join("photo.bin")).expect("reads"), noise(2));
    a.start();
    a.wait_synced();
    b.wait_synced();
    assert_eq!(fs::read(a.folder.join("photo.bin")).expect("reads"), noise(2));
}

#[test]
fn questions_that_make_no_sense_get_an_answer_that_does() {
    let dir = TempDir::new().expect("temporary directory");
    let [a] = daemons(&dir);
    fs::write(a.folder.join("a.bin"), noise(1)).expect("writes");
    let _invite = a.share();
    a.wait_synced();
    write(&a, "a.bin", noise(2));
    let first = log(&a, "a.bin").pop().expect("was created").0;
    let code = |before: &[&str], name: &str, after: &[&str]| {
        let (code, document) = ask(&a, before, name, after);
        assert!(document["hint"].as_str().is_some_and(|hint| hint.contains("kith")), "{before:?} {name}: {document}");
        code
    };
    assert_eq!(code(&["log"], "never.txt", &[]), 5);
    assert_eq!(code(&["diff"], "never.txt", &[]), 5);
    assert_eq!(code(&["restore"], "a.bin", &["--to", "00000000"]), 5, "no such commit");
    assert_eq!(code(&["restore"], "a.bin", &["--to", "1970-01-02T00:00:00Z"]), 5, "before it was there");
    assert_eq!(code(&["restore"], "a.bin", &["--to", "yesterday"]), 2, "no time");
    assert_eq!(code(&["restore"], "a.bin", &[]), 2, "it is there: which state?");
    // Its own device overwrote it, and nobody else was here to keep it.
    assert_eq!(code(&["restore"], "a.bin", &["--to", &first]), 7);
    assert_eq!(fs::read(a.folder.join("a.bin")).expect("reads"), noise(2));
    assert_eq!(code(&["conflicts", "show"], "a.bin", &[]), 5);
    assert_eq!(code(&["conflicts", "resolve"], "never.txt", &["--keep", "mine"]), 5);
    tell(&a, &["conflicts", "resolve"], "a.bin", &["--keep", "mine"]);
    assert_eq!(a.kith(&["log", "/"]).status.code(), Some(5), "in no folder");
    assert_eq!(a.kith(&["log"]).status.code(), Some(0));
}

#[test]
fn why_tells_what_is_known_of_a_path() {
    let dir = TempDir::new().expect("temporary directory");
    let [a] = daemons(&dir);
    fs::write(a.folder.join("a.txt"), "a\n").expect("writes");
    fs::write(a.folder.join("gone.txt"), "gone\n").expect("writes");
    fs::write(a.folder.join(".kithignore"), "*.log\n").expect("writes");
    fs::write(a.folder.join("x.log"), "x\n").expect("writes");
    let _invite = a.share();
    a.wait_synced();
    fs::remove_file(a.folder.join("gone.txt")).expect("removes");
    a.wait_synced();
    let why = |name: &str| tell(&a, &["why"], name, &[]);
    let known = why("a.txt");
    assert_eq!((&known["schema"], &known["verdict"]), (&"kith/why/1".into(), &"disk and commits agree".into()));
    assert!(known["decision"]["reason"].is_string() && known["last"]["rev"].is_string(), "{known:#}");
    assert_eq!(known["devices"][0]["has"], "on_disk");
    assert_eq!(why("x.log")["ignored"], "the line `*.log` of .kithignore covers x.log");
    assert_eq!(why("gone.txt")["last"]["changes"][0]["did"][0]["what"], "deleted");
    assert_eq!(why("never.txt")["verdict"], "there is nothing, neither on disk nor in commits");
}

/// Two devices that both were stopped while `apart` changed their folders.
fn apart(dir: &TempDir, before: impl Fn(&Path), apart: impl Fn(&Path, &Path)) -> [Daemon; 2] {
    let [a, b] = daemons(dir);
    before(&a.folder);
    let invite = a.share();
    b.join(&invite);
    b.wait_synced();
    a.wait_synced();
    a.stop();
    b.stop();
    apart(&a.folder, &b.folder);
    a.start();
    b.start();
    together(&a, &b);
    [a, b]
}

/// Waits until both have everything of each other.
fn together(a: &Daemon, b: &Daemon) {
    for daemon in [a, b, a] {
        daemon.wait_synced();
    }
    assert_eq!(differences(&a.folder, &b.folder), Vec::<String>::new());
}

/// Paths and kinds of the conflicts that a device lists; with any, the exit code is 3.
fn conflicts(daemon: &Daemon) -> Vec<(String, String)> {
    let output = daemon.kith(&["conflicts", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a word").to_owned();
    let listed = document["conflicts"].as_array().expect("a list").iter();
    let listed: Vec<_> = listed.map(|conflict| (text(&conflict["path"]), text(&conflict["kind"]))).collect();
    assert_eq!(output.status.code(), Some(if listed.is_empty() { 0 } else { 3 }), "{document:#}");
    listed
}

fn resolve(daemon: &Daemon, name: &str, keep: &str) {
    let resolved = tell(daemon, &["conflicts", "resolve"], name, &["--keep", keep]);
    assert_eq!(resolved["settled"].as_array().map(Vec::len), Some(1), "{resolved:#}");
}

#[test]
fn files_of_one_name_are_settled_in_every_way() {
    let dir = TempDir::new().expect("temporary directory");
    let names = ["both.txt", "merged.txt", "mine.txt", "theirs.txt"];
    let [a, b] = apart(
        &dir,
        |_| {},
        |a, b| {
            for name in names {
                fs::write(a.join(name), "shared\nof a\n").expect("writes");
                fs::write(b.join(name), "shared\nof b\n").expect("writes");
            }
        },
    );
    let listed = conflicts(&a);
    assert_eq!(listed.len(), 4, "{listed:?}");
    assert!(listed.iter().all(|(_, kind)| kind == "name"));
    assert_eq!(conflicts(&b), listed, "every device tells the same");
    let shown = tell(&a, &["conflicts", "show"], "both.txt", &[]);
    let mut texts: Vec<&str> = Vec::new();
    for side in shown["conflicts"][0]["sides"].as_array().expect("sides") {
        let text = side["text"].as_str().expect("a text");
        assert_eq!(side["side"] == "mine", text.contains("of a"), "{shown:#}");
        texts.push(text);
    }
    assert_eq!(texts.len(), 2);
    for (name, keep) in names.into_iter().zip(["both", "merge", "mine", "theirs"]) {
        resolve(&a, name, keep);
    }
    together(&a, &b);
    assert_eq!((conflicts(&a), conflicts(&b)), (vec![], vec![]));
    assert_eq!((read(&b, "mine.txt").as_str(), read(&b, "theirs.txt").as_str()), ("shared\nof a\n", "shared\nof b\n"));
    let merged = read(&b, "merged.txt");
    assert!(
        merged.contains("of a\n") && merged.contains("of b\n") && merged.matches("shared").count() == 1,
        "{merged}"
    );
    let both = fs::read_dir(&b.folder).expect("lists").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert_eq!(both.filter(|name| name.starts_with("both")).count(), 2);
    // What gave way is in history.
    assert_eq!(read(&a, "mine.txt"), "shared\nof a\n");
    tell(&a, &["conflicts", "resolve"], "mine.txt", &["--keep", "mine"]);
}

#[test]
fn lines_that_both_sides_changed_are_listed_and_settled_in_every_way() {
    let dir = TempDir::new().expect("temporary directory");
    let names = ["mine.txt", "theirs.txt", "both.txt", "merge.txt"];
    let write_all = |folder: &Path, line: &str| {
        for name in names {
            fs::write(folder.join(name), format!("one\n{line}\nthree\n")).expect("writes");
        }
    };
    let [a, b] = apart(
        &dir,
        |folder| write_all(folder, "two here"),
        |a, b| {
            write_all(a, "two is of a");
            write_all(b, "two is of b");
        },
    );
    let listed = conflicts(&a);
    assert_eq!(listed.len(), 4, "{listed:?}");
    assert!(listed.iter().all(|(_, kind)| kind == "lines"), "{listed:?}");
    assert_eq!(conflicts(&b), listed, "every device tells the same");
    // It waits a moment for a number that is being counted, and tells the last one after that.
    let counts = |daemon: &Daemon, wanted: u64| {
        (0..200).any(|_| daemon.json(&["status"])["folders"][0]["line_conflicts"].as_u64() == Some(wanted))
    };
    assert!(counts(&a, 4) && counts(&b, 4));
    let words = String::from_utf8_lossy(&a.kith(&["status"]).stdout).into_owned();
    assert!(words.contains("4 conflicts of lines in ") && words.contains("up to date"), "{words}");
    let shown = tell(&a, &["conflicts", "show"], "mine.txt", &[]);
    let conflict = &shown["conflicts"][0];
    assert_eq!(conflict["text"], "line 2 was changed on both sides, and merged by words");
    for side in conflict["sides"].as_array().expect("sides") {
        let text = side["text"].as_str().expect("a text");
        assert_eq!(text, if side["side"] == "mine" { "two is of a\n" } else { "two is of b\n" }, "{shown:#}");
    }
    let merged = read(&a, "merge.txt");
    assert_eq!(merged, format!("one\n{}three\n", conflict["merged"].as_str().expect("a text")));
    let clock = dir.path().join("clock");
    fs::write(&clock, "").expect("writes");
    let decided = fs::metadata(&clock).and_then(|found| found.modified()).expect("has a time");
    for (name, keep) in names.into_iter().zip(["mine", "theirs", "both", "merge"]) {
        resolve(&a, name, keep);
    }
    together(&a, &b);
    assert_eq!((conflicts(&a), conflicts(&b)), (vec![], vec![]));
    assert!(counts(&a, 0) && counts(&b, 0));
    let time = |daemon: &Daemon, name: &str| {
        let found = fs::metadata(daemon.folder.join(name)).expect("is there");
        found.modified().expect("has a time")
    };
    for name in ["mine.txt", "theirs.txt", "both.txt"] {
        assert!(time(&a, name) >= decided, "{name} has the time of the decision");
        assert_eq!(time(&a, name), time(&b, name));
    }
    for daemon in [&a, &b] {
        assert_eq!(read(daemon, "mine.txt"), "one\ntwo is of a\nthree\n");
        assert_eq!(read(daemon, "theirs.txt"), "one\ntwo is of b\nthree\n");
        assert_eq!(read(daemon, "both.txt"), "one\ntwo is of a\ntwo is of b\nthree\n");
        assert_eq!(read(daemon, "merge.txt"), merged);
    }
}

#[test]
fn contents_and_places_that_both_sides_set_are_settled() {
    let dir = TempDir::new().expect("temporary directory");
    let names = ["mine.bin", "theirs.bin", "both.bin"];
    let [a, b] = apart(
        &dir,
        |folder| {
            for name in names {
                fs::write(folder.join(name), noise(0)).expect("writes");
            }
            fs::write(folder.join("place.txt"), "place\n").expect("writes");
        },
        |a, b| {
            for name in names {
                fs::write(a.join(name), noise(1)).expect("writes");
                fs::write(b.join(name), noise(2)).expect("writes");
            }
            fs::rename(a.join("place.txt"), a.join("of a.txt")).expect("renames");
            fs::rename(b.join("place.txt"), b.join("of b.txt")).expect("renames");
        },
    );
    let listed = conflicts(&b);
    let of_kind =
        |kind: &'static str| listed.iter().filter(move |(_, found)| found == kind).map(|(path, _)| path.as_str());
    assert_eq!(of_kind("content").collect::<Vec<_>>(), ["both.bin", "mine.bin", "theirs.bin"], "{listed:?}");
    let place = of_kind("place").next().expect("a place").to_owned();
    assert_eq!(ask(&b, &["conflicts", "resolve"], "mine.bin", &["--keep", "merge"]).0, 2, "no texts");
    resolve(&b, "mine.bin", "mine");
    resolve(&b, "theirs.bin", "theirs");
    resolve(&b, "both.bin", "both");
    resolve(&b, &place, "mine");
    together(&a, &b);
    assert_eq!((conflicts(&a), conflicts(&b)), (vec![], vec![]));
    let bytes = |name: &str| fs::read(a.folder.join(name)).expect(name);
    assert_eq!((bytes("mine.bin"), bytes("theirs.bin")), (noise(2), noise(1)));
    assert_eq!(read(&a, "of b.txt"), "place\n");
    let mut left: Vec<String> = fs::read_dir(&a.folder)
        .expect("lists")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    left.retain(|name| name != ".kith");
    left.sort();
    assert_eq!(left.len(), 5, "both versions of one file, one of each other: {left:?}");
}
