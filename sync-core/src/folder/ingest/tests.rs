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
