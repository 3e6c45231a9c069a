//! What a watcher may miss or see too late.

use std::fs;

use tempfile::TempDir;

use super::{names, pair, read, rename, together, write};

#[test]
fn bursts_new_directories_and_moves_in_and_out_are_all_seen() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| fs::write(folder.join("first.txt"), "first\n").expect("writes"));
    let outside = dir.path().join("outside");
    fs::create_dir_all(outside.join("tree/sub")).expect("makes");
    for index in 0..50 {
        fs::write(outside.join(format!("tree/sub/{index}.txt")), format!("{index}\n")).expect("writes");
    }
    // A burst, and directories that are full before anybody can watch them.
    for index in 0..3_000 {
        write(&a, &format!("burst/{index}.txt"), format!("{index}\n"));
    }
    for index in 0..60 {
        write(&b, &format!("deep/{index}/x/y/z/file.txt"), "deep\n");
    }
    fs::rename(outside.join("tree"), a.folder.join("came")).expect("renames");
    together(&a, &b);
    assert_eq!(fs::read_dir(b.folder.join("burst")).expect("lists").count(), 3_000);
    assert_eq!(read(&a, "deep/59/x/y/z/file.txt"), "deep\n");
    assert_eq!(read(&b, "came/sub/49.txt"), "49\n");
    // Within, and what is written right after it; and out again, one file at a time below what is held.
    rename(&a, "came", "deep/moved");
    write(&a, "deep/moved/sub/0.txt", "written after the move\n");
    write(&a, "deep/moved/new/1.txt", "new\n");
    fs::create_dir_all(a.folder.join("small")).expect("makes");
    write(&a, "small/1.txt", "small\n");
    together(&a, &b);
    assert_eq!(read(&b, "deep/moved/sub/0.txt"), "written after the move\n");
    fs::rename(a.folder.join("small"), outside.join("small")).expect("renames");
    together(&a, &b);
    assert_eq!(names(&b), ["burst", "deep", "first.txt"]);
    assert_eq!(fs::read_to_string(outside.join("small/1.txt")).expect("is there"), "small\n");
}

#[test]
fn what_changes_while_a_daemon_is_stopped_or_suspended_is_found() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| {
        for name in ["edited.txt", "deleted.txt", "moved.txt", "kind", "d/inside.txt"] {
            fs::create_dir_all(folder.join("d")).expect("makes");
            fs::write(folder.join(name), format!("{name}\n")).expect("writes");
        }
    });
    let change = |round: usize| {
        write(&a, "edited.txt", format!("edited {round}\n"));
        write(&a, &format!("new {round}/deep/file.txt"), "new\n");
        let (from, to) = if round == 0 { ("d", "e") } else { ("e", "d") };
        rename(&a, from, to);
        write(&a, &format!("{to}/inside.txt"), format!("inside {round}\n"));
    };
    a.stop();
    change(0);
    fs::remove_file(a.folder.join("deleted.txt")).expect("removes");
    rename(&a, "moved.txt", "e/moved.txt");
    fs::remove_file(a.folder.join("kind")).expect("removes");
    write(&a, "kind/inside.txt", "a directory now\n");
    a.start();
    together(&a, &b);
    assert_eq!(names(&b), ["e", "edited.txt", "kind", "new 0"]);
    assert_eq!(read(&b, "e/moved.txt"), "moved.txt\n");
    // As a laptop that sleeps.
    a.halted(|| change(1));
    together(&a, &b);
    assert_eq!(read(&b, "d/inside.txt"), "inside 1\n");
    assert_eq!(read(&b, "edited.txt"), "edited 1\n");
}
