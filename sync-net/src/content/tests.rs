//! What is asked for and read of contents, within bounds.

use super::*;

#[test]
fn requests_are_runs_within_their_bounds() {
    let chunk = ChunkEntry { hash: ChunkHash([0; 32]), len: 4 << 20 };
    let chunks = vec![chunk; 10];
    assert_eq!(requests(&chunks, &[0, 1, 2, 5, 6]), [(0, 3), (5, 2)]);
    assert_eq!(requests(&chunks, &(0..10).collect::<Vec<_>>()), [(0, 4), (4, 4), (8, 2)]);
    assert_eq!(requests(&chunks, &[]), []);
}

#[test]
fn requests_ask_for_so_many_chunks_and_no_more() {
    let most = limits::CHUNK_REQUEST_MAX;
    let chunks = vec![ChunkEntry { hash: ChunkHash([0; 32]), len: 1 }; most + 1];
    let all: Vec<usize> = (0..=most).collect();
    assert_eq!(requests(&chunks, &all[..most]), [(0, most)]);
    assert_eq!(requests(&chunks, &all), [(0, most), (most, 1)]);
    assert_eq!(asked_for(&chunks, 1, most).map(<[_]>::len), Some(most));
    assert_eq!(asked_for(&chunks, 0, most + 1), None);
    assert_eq!(asked_for(&chunks, 2, most), None, "behind the end");
    assert_eq!(asked_for(&chunks, 0, usize::MAX), None);
    // By bytes, too.
    let chunks = vec![ChunkEntry { hash: ChunkHash([0; 32]), len: (REQUEST_BYTES / 4) as u32 }; 5];
    assert_eq!(requests(&chunks, &[0, 1, 2, 3, 4]), [(0, 4), (4, 1)]);
}

#[test]
fn one_large_list_is_held_at_a_time() {
    let large = Semaphore::new(1);
    let is_small = |bytes| matches!(room_for(&large, bytes), Some(None));
    let held = room_for(&large, limits::CHUNK_LIST_LARGE_BYTES + 1);
    assert!(matches!(held, Some(Some(_))));
    assert!(room_for(&large, limits::CHUNK_LIST_LARGE_BYTES + 1).is_none());
    assert!(is_small(limits::CHUNK_LIST_LARGE_BYTES));
    drop(held);
    assert!(room_for(&large, limits::CHUNK_LIST_LARGE_BYTES + 1).is_some());
}

#[test]
fn a_list_is_as_long_as_it_may_be_and_no_longer() {
    let most = limits::CHUNK_LIST_BYTES_MAX as u32;
    assert!(may_be_listed(u64::MAX, most));
    assert!(!may_be_listed(u64::MAX, most + 1));
    // A content of ten bytes has ten chunks at the most.
    assert!(may_be_listed(10, 11 * 37) && !may_be_listed(10, 11 * 37 + 1));
}
