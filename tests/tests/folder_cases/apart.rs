//! Two devices that change the same things while they are apart, and meet.

use std::{fs, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use super::{names, pair, read, rename, together, write};

const TEXT: &str = "# Title\n\nThe first paragraph\nhas two lines.\n\nThe second paragraph\nhas two lines as well.\n\nThe third one.\n";

#[test]
fn texts_that_both_sides_changed_have_both_changes() {
    let dir = TempDir::new().expect("temporary directory");
    let all = ["append", "prepend", "moved", "same edit", "same line", "join", "crlf", "bom", "json.json"];
    let [a, b] = pair(&dir, |folder| {
        for name in all {
            let text = match name {
                "crlf" => TEXT.replace('\n', "\r\n"),
                "bom" => format!("\u{feff}{TEXT}"),
                "json.json" => "{\n  \"a\": 1,\n  \"b\": 2,\n  \"big\": 123456789012345678901234567890.10\n}\n".into(),
                _ => TEXT.to_owned(),
            };
            fs::write(folder.join(name), text).expect("writes");
        }
    });
    a.stop();
    b.stop();
    let of = |name: &str| read(&a, name);
    let (append, prepend) = (of("append"), of("prepend"));
    for (daemon, mark) in [(&a, "a"), (&b, "b")] {
        write(daemon, "append", format!("{append}end of {mark}\n"));
        write(daemon, "prepend", format!("start of {mark}\n{prepend}"));
    }
    // One moves a paragraph, the other edits another one, and a word in it.
    let second = "The second paragraph\nhas two lines as well.\n\n";
    let moved = TEXT.replace(second, "").replace("The first", &format!("{second}The first"));
    write(&a, "moved", &moved);
    write(&b, "moved", TEXT.replace("The third one.", "The third one, edited."));
    let same = TEXT.replace("has two lines.", "has three lines,\nif one counts.");
    write(&a, "same edit", &same);
    write(&b, "same edit", &same);
    write(&a, "same line", TEXT.replace("The third one.", "The third one of a."));
    write(&b, "same line", TEXT.replace("The third one.", "Not the third one."));
    write(&a, "join", TEXT.replace("paragraph\nhas two lines.", "paragraph has two lines."));
    write(&b, "join", TEXT.replace("# Title", "# Another title"));
    for name in ["crlf", "bom"] {
        write(&a, name, of(name).replace("Title", "Heading"));
        write(&b, name, of(name).replace("third one.", "last one"));
    }
    write(&a, "json.json", of("json.json").replace("\"a\": 1", "\"a\": 10"));
    write(&b, "json.json", of("json.json").replace("  \"big\"", "  \"new\": [],\n  \"big\""));
    let lines_of = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    a.start();
    b.start();
    together(&a, &b);
    assert_eq!(lines_of(&of("append")), lines_of(&format!("{append}end of a\nend of b\n")));
    assert!(of("append").starts_with(&append), "{}", of("append"));
    assert!(of("prepend").ends_with(&prepend), "{}", of("prepend"));
    assert_eq!(lines_of(&of("prepend")), lines_of(&format!("start of a\nstart of b\n{prepend}")));
    assert_eq!(of("moved"), moved.replace("The third one.", "The third one, edited."));
    assert_eq!(of("same edit"), same);
    for word in ["Not", "third", "of a."] {
        assert!(of("same line").contains(word), "{word} in {}", of("same line"));
    }
    assert_eq!(
        of("join"),
        TEXT.replace("paragraph\nhas two lines.", "paragraph has two lines.").replace("# T", "# Another t")
    );
    let both = TEXT.replace("Title", "Heading").replace("third one.", "last one");
    assert_eq!((of("crlf"), of("bom")), (both.replace('\n', "\r\n"), format!("\u{feff}{both}")));
    assert_eq!(
        of("json.json"),
        "{\n  \"a\": 10,\n  \"b\": 2,\n  \"new\": [],\n  \"big\": 123456789012345678901234567890.10\n}\n"
    );
}

#[test]
fn names_that_change_on_both_sides_end_where_each_said() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| {
        for name in [
            "swap 1",
            "swap 2",
            "ring 1",
            "ring 2",
            "ring 3",
            "chain 1",
            "chain 2",
            "case/child.txt",
            "top/mid/low.txt",
            "run",
            "kind",
        ] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("is in the folder")).expect("makes");
            fs::write(path, format!("{name}\nsecond line\n")).expect("writes");
        }
    });
    let swap = |one: &str, other: &str| {
        rename(&a, one, "aside");
        rename(&a, other, one);
        rename(&a, "aside", other);
    };
    // While both run: a swap and a ring, and then apart.
    swap("swap 1", "swap 2");
    swap("ring 1", "ring 2");
    swap("ring 2", "ring 3");
    together(&a, &b);
    let first = |name: &str| read(&b, name).lines().next().expect("has a line").to_owned();
    assert_eq!(["swap 1", "swap 2"].map(first), ["swap 2", "swap 1"]);
    assert_eq!(["ring 1", "ring 2", "ring 3"].map(first), ["ring 2", "ring 3", "ring 1"]);

    a.stop();
    b.stop();
    rename(&a, "chain 1", "chain 0");
    rename(&b, "chain 2", "chain 3");
    rename(&b, "chain 1", "chain 2");
    rename(&a, "case", "Case");
    write(&b, "case/child.txt", "case/child.txt\nsecond line\nedited\n");
    rename(&a, "top", "summit");
    rename(&b, "top/mid", "top/middle");
    write(&b, "top/middle/low.txt", "top/mid/low.txt\nsecond line\nedited\n");
    fs::set_permissions(a.folder.join("run"), fs::Permissions::from_mode(0o755)).expect("sets");
    write(&b, "run", "run\nsecond line\nedited\n");
    fs::remove_file(a.folder.join("kind")).expect("removes");
    write(&a, "kind/inside", "a directory now\n");
    write(&b, "kind", "kind\nsecond line\nedited\n");
    a.start();
    b.start();
    together(&a, &b);
    assert_eq!(read(&b, "Case/child.txt"), "case/child.txt\nsecond line\nedited\n");
    assert_eq!(read(&a, "summit/middle/low.txt"), "top/mid/low.txt\nsecond line\nedited\n");
    let mode = fs::metadata(b.folder.join("run")).expect("is there").permissions().mode();
    assert_eq!((mode & 0o100, read(&b, "run").as_str()), (0o100, "run\nsecond line\nedited\n"));
    // Seen at once, a chain is an edit of the name in the middle and a new file at its end; the rename of the other side
    // stays, too.
    let first = |name: &str| read(&a, name).lines().next().expect("has a line").to_owned();
    assert_eq!(["chain 0", "chain 2", "chain 3"].map(first), ["chain 1", "chain 1", "chain 2"]);
    assert!(!a.folder.join("chain 1").exists());
    // The directory has the name, and the edit of the file is beside it.
    assert_eq!(read(&b, "kind/inside"), "a directory now\n");
    let beside = names(&b).into_iter().find(|name| name.starts_with("kind (")).expect("is beside it");
    assert_eq!(read(&a, &beside), "kind\nsecond line\nedited\n");
}

#[test]
fn deletes_meet_edits_and_what_is_made_inside() {
    let dir = TempDir::new().expect("temporary directory");
    let [a, b] = pair(&dir, |folder| {
        for name in
            ["edited.txt", "both.txt", "d/dead.txt", "d/edited.txt", "e/dead.txt", "ignored/dead.txt", "binary", "text"]
        {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("is in the folder")).expect("makes");
            fs::write(path, format!("{name}\n")).expect("writes");
        }
        fs::write(folder.join(".kithignore"), "*.o\n").expect("writes");
    });
    a.stop();
    b.stop();
    for name in ["edited.txt", "both.txt"] {
        fs::remove_file(a.folder.join(name)).expect("removes");
    }
    for name in ["d", "e", "ignored"] {
        fs::remove_dir_all(a.folder.join(name)).expect("removes");
    }
    write(&b, "edited.txt", "edited.txt\nmore\n");
    fs::remove_file(b.folder.join("both.txt")).expect("removes");
    write(&b, "d/edited.txt", "d/edited.txt\nmore\n");
    write(&b, "e/new/made.txt", "made\n");
    write(&b, "ignored/local.o", "stays\n");
    // A text becomes bytes on one side, and is edited on the other; of bytes there are two versions.
    write(&a, "text", b"\0bytes now\n");
    write(&b, "text", "text\nmore\n");
    write(&a, "binary", b"\0of a");
    write(&b, "binary", b"\0of b");
    // Both make the same, and each another one of a name.
    for (daemon, mark) in [(&a, "a"), (&b, "b")] {
        write(daemon, "same.txt", "same\n");
        write(daemon, "clash.txt", format!("of {mark}\n"));
    }
    a.start();
    b.start();
    for daemon in [&a, &b, &a] {
        daemon.wait_synced();
    }
    assert_eq!(read(&b, "ignored/local.o"), "stays\n");
    assert!(!b.folder.join("ignored/dead.txt").exists() && !a.folder.join("both.txt").exists());
    fs::remove_file(b.folder.join("ignored/local.o")).expect("removes");
    together(&a, &b);
    assert_eq!(read(&a, "edited.txt"), "edited.txt\nmore\n");
    assert_eq!(
        (read(&a, "d/edited.txt").as_str(), read(&a, "e/new/made.txt").as_str()),
        ("d/edited.txt\nmore\n", "made\n")
    );
    assert!(!a.folder.join("d/dead.txt").exists() && !b.folder.join("e/dead.txt").exists());
    let listed = names(&a);
    let versions = |stem: &str| {
        let of = |name: &&String| **name == stem || name.starts_with(&format!("{} (", stem.trim_end_matches(".txt")));
        let mut versions: Vec<Vec<u8>> =
            listed.iter().filter(of).map(|name| fs::read(a.folder.join(name)).expect("reads")).collect();
        versions.sort();
        versions
    };
    assert_eq!(versions("binary"), [b"\0of a", b"\0of b"]);
    assert_eq!(versions("text"), [b"\0bytes now\n".to_vec(), b"text\nmore\n".to_vec()]);
    assert_eq!(versions("clash.txt"), [b"of a\n", b"of b\n"]);
    assert_eq!(versions("same.txt"), [b"same\n"]);
}
