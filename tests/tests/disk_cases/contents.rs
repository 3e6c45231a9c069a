//! What files hold: bytes of all kinds go to the documents and back as they are.

use std::fs::{self, File};

use sync_core::{doc::entry::Content, limits};

use crate::rounds::Folder;

/// Texts and what is almost one, with what a peer that knows nothing of line ends makes of it.
const TEXTS: [(&str, &str); 8] = [
    ("bom", "\u{feff}one\ntwo\n"),
    ("crlf", "one\r\ntwo\r\n"),
    ("mixed", "one\r\ntwo\nthree\r\n"),
    ("lone cr", "one\rtwo\rthree\n"),
    ("no last line end", "one\ntwo"),
    ("only line ends", "\n\n\r\n\n"),
    ("families", "👩‍👩‍👧‍👦 e\u{301} שלום\nтри\n"),
    ("controls", "\u{1}\u{7f}\u{85}\u{2028}\n"),
];

#[test]
fn texts_of_every_kind_stay_as_they_are_both_ways() {
    let mut folder = Folder::new();
    for (name, text) in TEXTS {
        folder.put(name, text);
    }
    folder.rest();
    folder.agrees();
    for (name, text) in TEXTS {
        // The user's edit, and then a peer's, each next to what is odd.
        folder.put(name, format!("{text}mine"));
        folder.rest();
        let doc = folder.doc(name);
        folder.edit_elsewhere(doc, &format!("{text}theirs\r\nmine"));
        folder.rest();
        assert_eq!(folder.read(name), format!("{text}theirs\r\nmine"), "{name}");
        assert!(matches!(folder.content(name), Content::Text), "{name}");
    }
    folder.agrees();
}

/// What is no text.
const BYTES: [(&str, &[u8]); 5] = [
    ("invalid", b"one\xff\xfetwo\n"),
    ("nul", b"one\0two\n"),
    ("utf-16", b"\xff\xfeo\0n\0e\0\n\0"),
    ("surrogate", b"\xed\xa0\x80\n"),
    ("overlong", b"\xc0\xaf\n"),
];

#[test]
fn bytes_that_are_no_text_stay_as_they_are() {
    let mut folder = Folder::new();
    for (name, bytes) in BYTES {
        folder.put(name, bytes);
    }
    folder.rest();
    folder.agrees();
    for (name, bytes) in BYTES {
        folder.put(name, [bytes, bytes].concat());
    }
    folder.rest();
    folder.agrees();
    for (name, _) in BYTES {
        assert!(matches!(folder.content(name), Content::Reference(_)), "{name}");
    }
}

#[test]
fn a_text_becomes_bytes_and_bytes_become_a_text() {
    let mut folder = Folder::new();
    for (name, kinds) in [("text first", [true, false, true]), ("bytes first", [false, true, false])] {
        for is_text in kinds {
            let bytes: &[u8] = if is_text { b"one\ntwo\n" } else { b"one\0two\xff\n" };
            folder.put(name, bytes);
            folder.rest();
            folder.agrees();
            folder.put(name, [bytes, b"more\n"].concat());
            folder.rest();
            folder.agrees();
        }
    }
    assert_eq!(folder.entries().len(), 2, "they stay the files that they are");
}

#[test]
fn a_file_grows_past_the_bound_of_texts_and_shrinks_again() {
    let mut folder = Folder::new();
    let lines = |bytes: usize| "a line of a text that is long\n".repeat(bytes / 30);
    for bytes in [900, limits::TEXT_BYTES_MAX - 40, limits::TEXT_BYTES_MAX + 40, 3 * limits::TEXT_BYTES_MAX, 900, 930] {
        folder.put("f", lines(bytes));
        folder.rest();
        folder.agrees();
    }
    assert_eq!(folder.entries().len(), 1);
}

#[test]
fn a_line_of_fifty_megabytes_is_a_content_like_any() {
    let mut folder = Folder::new();
    folder.put("f", vec![b'x'; 50_000_000]);
    folder.rest();
    let Content::Reference(content) = folder.content("f") else { panic!("is no text") };
    assert_eq!(content.len, 50_000_000);
    folder.agrees();
}

#[test]
fn a_sparse_file_is_read_as_its_bytes() {
    let mut folder = Folder::new();
    let file = File::create(folder.at("f")).expect("makes");
    file.set_len(16 << 20).expect("grows");
    folder.look_at(&["f"]);
    folder.agrees();
    file.set_len(1 << 10).expect("shrinks");
    folder.look_at(&["f"]);
    folder.agrees();
    assert_eq!(fs::read(folder.at("f")).expect("reads"), vec![0; 1 << 10]);
}

#[test]
fn a_read_only_file_gets_a_peers_edit_and_stays_read_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut folder = Folder::new();
    folder.put("f", "one\n");
    fs::set_permissions(folder.at("f"), fs::Permissions::from_mode(0o444)).expect("sets");
    folder.rest();
    let doc = folder.doc("f");
    folder.edit_elsewhere(doc, "one\ntwo\n");
    folder.rest();
    assert_eq!(folder.read("f"), "one\ntwo\n");
    let mode = fs::metadata(folder.at("f")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    folder.agrees();
}
