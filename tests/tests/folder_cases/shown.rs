//! What one disk can show, on two: contents, names, kinds and rules of every sort go through real daemons, watchers and a
//! network, and come out as they were. Each by itself, and from one moment to another, is in `disk_cases`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    process::Command,
};

use sync_core::limits;
use sync_tests::daemon::Daemon;
use tempfile::TempDir;

use super::{arrives, commits, names, pair, read, rename, together, until, words, write};

/// A text of so many bytes, in lines.
fn text(bytes: usize) -> String {
    let mut text = String::new();
    let mut line = 0;
    while text.len() < bytes {
        line += 1;
        text.push_str(&format!("this is line {line}\n"));
    }
    text.truncate(bytes);
    text
}

#[test]
fn contents_of_every_sort_come_as_they_are_and_become_others() {
    let dir = TempDir::new().expect("temporary directory");
    let near = limits::TEXT_BYTES_MAX;
    let contents: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("full", text(100).into_bytes()),
        ("no text", vec![0xff, 0xfe, b'a', 0, b'\n', 0]),
        ("a nul", b"one\0two\n".to_vec()),
        ("accents", "e\u{301}\u{1f469}\u{200d}\u{1f4bb}\u{5e9}\u{5dc}\u{5d5}\u{5dd}\n".into()),
        ("crlf", b"one\r\ntwo\rthree\n\r\n".to_vec()),
        ("bom", "\u{feff}one\n".into()),
        ("one line", vec![b'x'; 3 << 20]),
        ("below the bound", text(near).into_bytes()),
        ("above it", text(near + 1).into_bytes()),
    ];
    let [a, b] = pair(&dir, |folder| {
        for (name, bytes) in &contents {
            fs::write(folder.join(name), bytes).expect("writes");
        }
        let sparse = fs::File::create(folder.join("sparse")).expect("makes");
        sparse.set_len(5 << 20).expect("grows");
    });
    // Each becomes what the next one was, on either side.
    for (round, daemon) in [(1, &a), (2, &b), (3, &a)] {
        for (index, (name, _)) in contents.iter().enumerate() {
            write(daemon, name, &contents[(index + round) % contents.len()].1);
        }
        together(&a, &b);
        for (index, (name, _)) in contents.iter().enumerate() {
            let wanted = &contents[(index + round) % contents.len()].1;
            assert!(fs::read(b.folder.join(name)).expect("reads") == *wanted, "{name} in round {round}");
        }
    }
    assert_eq!(fs::read(b.folder.join("sparse")).expect("reads"), vec![0; 5 << 20]);
}

#[test]
fn saves_that_look_like_none_and_none_that_look_like_saves() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| {
        for name in ["touched", "under the old time", "of one moment", "again", "grown"] {
            fs::write(folder.join(name), "one\n").expect("writes");
        }
    });
    let before = commits(&a);
    fs::File::options()
        .append(true)
        .open(a.folder.join("touched"))
        .and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH))
        .expect("is ours");
    together(&a, &b);
    assert_eq!(commits(&a), before, "a touch is no edit");
    // Other bytes of the same length under the old time, and twice within a tick of the clock.
    let path = a.folder.join("under the old time");
    let time = fs::metadata(&path).and_then(|found| found.modified()).expect("has a time");
    fs::write(&path, "two\n").expect("writes");
    fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(time)).expect("is ours");
    for text in ["two\n", "ten\n", "six\n"] {
        write(&a, "of one moment", text);
    }
    fs::remove_file(a.folder.join("again")).expect("removes");
    write(&a, "again", "one more\n");
    for size in 1..200 {
        write(&a, "grown", text(size * 10));
    }
    together(&a, &b);
    let seen = ["under the old time", "of one moment", "again"].map(|name| read(&b, name));
    assert_eq!(seen, ["two\n", "six\n", "one more\n"]);
    assert_eq!(read(&b, "grown"), text(1990));
    assert_eq!(names(&b).len(), 5);
}

#[test]
fn names_kinds_and_bits_of_every_sort_come_as_they_are_or_are_told() {
    let dir = TempDir::new().expect("temporary directory");
    let long = format!("{}.txt", "n".repeat(251));
    let odd = [
        "caf\u{e9}",
        "cafe\u{301}",
        "NUL",
        "con.txt",
        "ends with a dot.",
        "ends with a blank ",
        "a:b?c*d",
        "-rf",
        "line\nend",
        "name",
        "Name",
        ".kithignored",
        "new-name",
        "aside-name",
        &long,
    ];
    let [a, b] = pair(&dir, |folder| {
        for name in odd {
            fs::write(folder.join(name), "by its name\n").expect("writes");
        }
        fs::create_dir_all(folder.join("empty/in empty")).expect("makes");
        fs::write(folder.join("original"), "original\n").expect("writes");
        fs::copy(folder.join("original"), folder.join("copy")).expect("copies");
        fs::hard_link(folder.join("original"), folder.join("hard link")).expect("links");
        fs::write(folder.join("script"), "#!/bin/sh\n").expect("writes");
        fs::set_permissions(folder.join("script"), fs::Permissions::from_mode(0o755)).expect("is ours");
        for (name, target) in
            [("to a file", "original"), ("to nothing", "nowhere"), ("ring", "ring"), ("to a dir", "empty")]
        {
            symlink(target, folder.join(name)).expect("links");
        }
    });
    assert_eq!((names(&a), names(&a).len()), (names(&b), odd.len() + 9));
    assert_eq!(fs::read_link(b.folder.join("to nothing")).expect("is a link").to_str(), Some("nowhere"));
    assert!(b.folder.join("empty/in empty").is_dir());

    // What cannot come is told, and is in nobody's way.
    let raw = OsStr::from_bytes(b"no \xff text");
    fs::write(a.folder.join(raw), "x\n").expect("writes");
    symlink("/etc/passwd", a.folder.join("absolute")).expect("links");
    symlink("../outside", a.folder.join("climbs")).expect("links");
    assert!(Command::new("mkfifo").arg(a.folder.join("pipe")).status().expect("mkfifo runs").success());
    let _socket = UnixListener::bind(a.folder.join("socket")).expect("binds");
    write(&a, "beside them", "x\n");
    arrives(&b, "given what is beside them", || b.folder.join("beside them").exists());
    until(&a, "told of each", || {
        let words = words(&a);
        ["absolute", "climbs", "pipe", "socket"].iter().all(|name| words.contains(name))
    });
    // A name that is no text is told by the next look at the whole folder, as after a start.
    a.stop();
    a.start();
    until(&a, "told of the name", || words(&a).contains("the name is not UTF-8"));
    assert!(
        !["absolute", "climbs", "pipe", "socket"].iter().any(|name| b.folder.join(name).symlink_metadata().is_ok())
    );
    for name in [raw, "absolute".as_ref(), "climbs".as_ref(), "pipe".as_ref(), "socket".as_ref()] {
        fs::remove_file(a.folder.join(name)).expect("removes");
    }

    // One kind becomes another, a bit stays with an edit of others, a copy is no move, a link ends with a peer's edit.
    fs::remove_file(a.folder.join("to a file")).expect("removes");
    write(&a, "to a file", "a file now\n");
    fs::remove_file(a.folder.join("name")).expect("removes");
    symlink("original", a.folder.join("name")).expect("links");
    write(&b, "script", "#!/bin/sh\nexit 1\n");
    write(&b, "hard link", "of b\n");
    fs::set_permissions(b.folder.join("copy"), fs::Permissions::from_mode(0o444)).expect("is ours");
    write(&a, "copy", "of a\n");
    together(&a, &b);
    assert_eq!((read(&b, "to a file").as_str(), read(&b, "copy").as_str()), ("a file now\n", "of a\n"));
    assert_eq!((read(&a, "hard link").as_str(), read(&a, "original").as_str()), ("of b\n", "original\n"));
    assert!(fs::metadata(a.folder.join("script")).expect("is there").mode() & 0o111 != 0);
    assert!(fs::metadata(b.folder.join("copy")).expect("is there").permissions().readonly());
    // A directory that becomes a file, and the other way round.
    fs::remove_dir_all(a.folder.join("empty")).expect("removes");
    write(&a, "empty", "full\n");
    fs::remove_file(a.folder.join("NUL")).expect("removes");
    write(&a, "NUL/inside", "inside\n");
    together(&a, &b);
    assert_eq!((read(&b, "empty").as_str(), read(&b, "NUL/inside").as_str()), ("full\n", "inside\n"));
}

#[test]
fn rules_come_and_go_and_nothing_is_deleted_for_them() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| {
        fs::create_dir_all(folder.join("sub/deep")).expect("makes");
        for name in ["x.log", "keep.log", "sub/x.log", "sub/deep/x.log", "f"] {
            fs::write(folder.join(name), "one\n").expect("writes");
        }
    });
    let stays = |daemon: &Daemon| {
        let logs = ["x.log", "keep.log", "sub/x.log", "sub/deep/x.log"];
        assert!(logs.iter().all(|name| daemon.folder.join(name).exists()), "nothing is deleted for a rule");
    };
    // What a rule covers that was synced stops, but for exceptions; rules below decide.
    write(&b, "sub/.kithignore", "!x.log\n/deep/\n");
    write(&b, ".kithignore", "*.log\n!keep.log\n");
    together(&a, &b);
    stays(&a);
    for name in ["x.log", "keep.log", "sub/x.log", "sub/deep/x.log", "f"] {
        write(&a, name, "two\n");
    }
    arrives(&b, "given what no rule covers", || read(&b, "f") == "two\n" && read(&b, "keep.log") == "two\n");
    arrives(&b, "given what a rule below excepts", || read(&b, "sub/x.log") == "two\n");
    assert_eq!((read(&b, "x.log").as_str(), read(&b, "sub/deep/x.log").as_str()), ("one\n", "one\n"));
    // Both edit a file of rules; then they go, and both sides' edits meet.
    a.halted(|| write(&b, ".kithignore", "*.log\n!keep.log\n*.tmp\n"));
    write(&a, "x.tmp", "of a\n");
    arrives(&a, "given the rule", || read(&a, ".kithignore").contains("*.tmp"));
    write(&b, "y.tmp", "of b\n");
    write(&b, "sub/deep/x.log", "zero\none\n");
    for name in [".kithignore", "sub/.kithignore"] {
        fs::remove_file(a.folder.join(name)).expect("removes");
    }
    until(&b, "without rules", || !b.folder.join(".kithignore").exists() && !b.folder.join("sub/.kithignore").exists());
    together(&a, &b);
    stays(&b);
    assert_eq!((read(&b, "x.log").as_str(), read(&a, "sub/deep/x.log").as_str()), ("two\n", "zero\ntwo\n"));
    assert_eq!((read(&b, "x.tmp").as_str(), read(&a, "y.tmp").as_str()), ("of a\n", "of b\n"));
}

#[test]
fn the_file_beside_a_clash_is_a_file_like_any() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |_| ());
    b.stop();
    for name in ["one", "two", "three"] {
        write(&a, name, "of a\n");
    }
    a.stop();
    b.start();
    for name in ["one", "two", "three"] {
        write(&b, name, "of b\n");
    }
    b.wait_synced();
    a.start();
    together(&a, &b);
    let beside = |name: &str| {
        let found = names(&a).into_iter().find(|other| other.starts_with(&format!("{name} (")));
        found.unwrap_or_else(|| panic!("nothing beside {name}: {:?}", names(&a)))
    };
    let both = |name: &str| {
        let mut both = [read(&a, name), read(&a, &beside(name))];
        both.sort();
        assert_eq!(both, ["of a\n", "of b\n"]);
    };
    ["one", "two", "three"].iter().for_each(|name| both(name));
    let kept = [read(&a, "two"), read(&a, "three")];
    rename(&a, &beside("one"), "uno");
    write(&b, &beside("two"), "edited\n");
    fs::remove_file(b.folder.join(beside("three"))).expect("removes");
    together(&a, &b);
    assert!(a.folder.join("uno").exists() && a.folder.join("one").exists());
    assert_eq!([read(&b, "two"), read(&b, "three")], kept);
    assert_eq!(read(&a, &beside("two")), "edited\n");
    assert_eq!(names(&a).len(), 5, "{:?}", names(&a));
}

#[test]
fn what_a_program_has_open_waits_and_then_both_sides_are_there() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| {
        for name in ["log", "gone", "replaced"] {
            fs::write(folder.join(name), "one\n").expect("writes");
        }
    });
    let mut held = ["log", "gone", "replaced"]
        .map(|name| fs::File::options().append(true).open(b.folder.join(name)).expect("opens"));
    write(&a, "log", "zero\none\n");
    write(&a, "replaced", [0, 1, 2]);
    fs::remove_file(a.folder.join("gone")).expect("removes");
    until(&b, "says what waits", || words(&b).matches("open for writing").count() == 3);
    for file in &mut held[..2] {
        std::io::Write::write_all(file, b"two\n").expect("writes");
    }
    drop(held);
    arrives(&b, "the end", || fs::read(b.folder.join("replaced")).is_ok_and(|bytes| bytes == [0, 1, 2]));
    together(&a, &b);
    for daemon in [&a, &b] {
        assert_eq!(read(daemon, "log"), "zero\none\ntwo\n");
        assert_eq!(read(daemon, "gone"), "one\ntwo\n", "an edit is more than a delete");
    }
}
