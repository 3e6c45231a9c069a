//! Two sides that have files meet for the first time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sync_tests::{daemon::Daemon, disk::tree};
use tempfile::TempDir;

use super::{program, together, write};

fn counts(plan: &Value) -> Vec<u64> {
    let kinds = ["only_here", "only_there", "same", "different", "uncompared"];
    kinds.map(|kind| plan[kind]["count"].as_u64().expect("a count")).to_vec()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

#[test]
fn a_joiner_is_told_what_meets_before_anything_does() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = ["a", "b"].map(|name| Daemon::new(program(), dir.path(), name));
    for (name, bytes) in [("same", "x"), ("other", "theirs"), ("there/1", "x"), ("there/2", "x")] {
        write(&a, name, bytes);
    }
    write(&a, "large", vec![3; 200_000]);
    for (name, bytes) in [("same", "x"), ("other", "mine"), ("here/1", "x"), ("scratch", "x")] {
        write(&b, name, bytes);
    }
    write(&b, ".kithignore", "scratch\n");
    write(&b, "large", vec![3; 200_000]);
    let invite = a.share();
    a.wait_synced();

    let before = tree(&b.folder);
    let tried = b.json(&["join", &invite, text(&b.folder), "--dry-run"]);
    assert_eq!((&tried["dry_run"], counts(&tried["plan"])), (&json!(true), vec![2, 2, 2, 1, 0]), "{tried}");
    assert_eq!(tried["plan"]["different"]["first"], json!(["other"]));
    assert_eq!(tried["plan"]["only_here"]["first"], json!([".kithignore", "here/1"]));
    assert_eq!(tree(&b.folder), before, "nothing was written");
    assert_eq!(b.json(&["status"])["folders"], json!([]));

    // Where nothing is yet everything comes, and nothing is made.
    let elsewhere: PathBuf = dir.path().join("elsewhere");
    let tried = b.kith(&["join", &invite, text(&elsewhere), "--dry-run"]);
    let said = String::from_utf8([tried.stdout, tried.stderr].concat()).expect("is text");
    assert!(said.contains("Would join") && said.contains("only there         5 files  comes here"), "{said}");
    assert!(said.contains("Nothing was written there"), "{said}");
    assert!(!fs::exists(&elsewhere).expect("looks"));

    // The invite is still good for this machine, and for no other.
    let c = Daemon::new(program(), dir.path(), "c");
    assert_eq!(c.kith(&["join", &invite, text(&c.folder)]).status.code(), Some(6));
    let joined = b.json(&["join", &invite, text(&b.folder)]);
    assert_eq!((&joined["dry_run"], counts(&joined["plan"])), (&json!(false), vec![2, 2, 2, 1, 0]), "{joined}");
    fs::remove_file(b.folder.join("scratch")).expect("what is ignored stayed where it was");
    together(&a, &b);
    let names = tree(&a.folder).into_keys().filter(|path| path.starts_with("other")).count();
    let beside = super::names(&a).iter().filter(|name| name.starts_with("other (")).count();
    assert_eq!((names, beside), (1, 1), "both versions stay");
}
