//! A test of the bound on what redb keeps of the file in memory: what fits is not read again, and what is more is.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::{StorageBackend, backends::InMemoryBackend};

use super::Store;
use crate::limits;

/// Counts the bytes that are read.
#[derive(Debug)]
struct Counted {
    inner: InMemoryBackend,
    read: Arc<AtomicU64>,
}

impl StorageBackend for Counted {
    fn len(&self) -> Result<u64, io::Error> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.read.fetch_add(out.len() as u64, Ordering::Relaxed);
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.inner.write(offset, data)
    }
}

/// Bytes that are read from the file when rows of so many bytes are all read for the second time.
fn read_again(bytes: usize) -> usize {
    const ROW_BYTES: usize = 16 * 1024;
    let read = Arc::new(AtomicU64::new(0));
    let store = Store::with_backend(Counted { inner: InMemoryBackend::new(), read: Arc::clone(&read) }).expect("opens");
    let rows = 0..(bytes / ROW_BYTES) as u64;
    let turn = store.begin().expect("begins");
    {
        let mut tables = turn.tables().expect("opens");
        for row in rows.clone() {
            tables.put_doc_snapshot(row, 1, &[7; ROW_BYTES]).expect("writes");
        }
    }
    turn.commit().expect("commits");
    let snapshot = store.read().expect("reads");
    let read_all = || {
        let before = read.load(Ordering::Relaxed);
        for row in rows.clone() {
            assert!(snapshot.doc_snapshot(row).expect("reads").is_some());
        }
        (read.load(Ordering::Relaxed) - before) as usize
    };
    read_all();
    read_all()
}

#[test]
fn pages_are_kept_up_to_a_bound() {
    let most = limits::STORE_CACHE_BYTES;
    // Nearly all: the cache is of many parts, and one may be full before the others.
    assert!(read_again(most / 4) < most / 64, "what is much less is kept");
    assert!(read_again(2 * most) >= most, "what was read in between is gone");
}
