//! What becomes of bytes of the disk, and when they are not believed.

use super::*;
use crate::folder::disk::Disk;

/// A file of so many bytes, as it is read by this clock.
fn loaded(len: usize, age_ns: i64) -> Loaded {
    let dir = tempfile::tempdir().expect("temporary directory");
    let disk = Disk::open(dir.path()).expect("opens");
    let path = RelPath::root().join("file");
    disk.write_new(&path, &vec![b'a'; len], false).expect("writes");
    let stat = disk.look(&path).expect("looks").expect("is there").stat;
    load(&disk, &path, stat.mtime_ns.max(stat.ctime_ns) + age_ns).expect("stands still")
}

#[test]
fn contents_are_cut_and_held_by_their_size() {
    let at = |len| {
        let loaded = loaded(len, 0);
        (loaded.chunks.is_some(), loaded.bytes.is_some())
    };
    assert_eq!(at(limits::INLINE_BYTES_MAX), (false, true));
    assert_eq!(at(limits::INLINE_BYTES_MAX + 1), (true, true));
    assert_eq!(at(limits::TEXT_BYTES_MAX), (true, true));
    assert_eq!(at(limits::TEXT_BYTES_MAX + 1), (true, false));
}

#[test]
fn a_young_file_is_not_believed() {
    for age_ns in [0, limits::RACY_NS - 1, 1 - limits::RACY_NS] {
        assert!(loaded(1, age_ns).racy, "{age_ns}");
    }
    for age_ns in [limits::RACY_NS, -limits::RACY_NS] {
        assert!(!loaded(1, age_ns).racy, "{age_ns}");
    }
}

fn row_of(changes: u32, ops: u64) -> DocRow {
    DocRow { handle: 1, heads: Vec::new(), changes, ops, lasts: Vec::new() }
}

#[test]
fn a_text_grows_up_to_its_operations_and_is_kept_whole_from_there() {
    let splices = [
        text::Splice { at: 0, delete: 3, insert: String::new() },
        text::Splice { at: 9, delete: 0, insert: "漢字!".into() },
    ];
    assert!(has_room(&row_of(1, limits::DOC_TEXT_OPS_MAX - 6), &splices));
    assert!(!has_room(&row_of(1, limits::DOC_TEXT_OPS_MAX - 5), &splices));
    assert!(!has_room(&row_of(1, u64::MAX), &splices));
}

#[test]
fn a_document_takes_so_many_saves_and_no_more() {
    assert!(takes_saves(&row_of(limits::DOC_SAVES_MAX - 1, 1)));
    assert!(!takes_saves(&row_of(limits::DOC_SAVES_MAX, 1)));
}
