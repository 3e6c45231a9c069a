//! The very first moments of a store: a power cut while redb makes the file leaves one that redb refuses for ever.
//!
//! redb 4.4 gives a new file its length and its header, syncs, and only then writes the magic number (`TransactionalMemory::
//! new`). A file without the magic number is no database to it, and is not empty either. Such a file never held a turn, so
//! it is emptied and made again. A damaged store is never taken for one: everything behind the first page must be zeros,
//! and the file no longer than a new one.

use std::ops::Bound;

use redb::{BackendError, StorageBackend};

use super::{Context as _, StoreError};

/// How much of the beginning redb's header may take: a page.
const HEADER_BYTES: u64 = 4096;
/// Length of redb's magic number.
const MAGIC_BYTES: usize = 9;
/// A new file is a little over 1 MiB; whatever is longer has been in use.
const NEW_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Empties a file that redb had begun to make and not finished.
pub(super) fn discard(backend: &impl StorageBackend) -> Result<(), StoreError> {
    // Nearly always the magic number is there, and nothing else is looked at.
    if !is_unfinished(backend)? {
        return Ok(());
    }
    // Another process may be making it at this moment.
    let all = (Bound::Unbounded, Bound::Unbounded);
    let is_locked = match backend.try_lock_range(all.0, all.1) {
        Ok(true) => true,
        Ok(false) => return Err(StoreError::Locked),
        // A disk without locks is nobody else's.
        Err(BackendError::Unsupported) => false,
        Err(error) => return Err(error).context("open"),
    };
    if is_unfinished(backend)? {
        backend.set_len(0).context("open")?;
        backend.sync_data().context("open")?;
    }
    if is_locked {
        backend.unlock_range(all.0, all.1).context("open")?;
    }
    Ok(())
}

fn is_unfinished(backend: &impl StorageBackend) -> Result<bool, StoreError> {
    let len = backend.len().context("open")?;
    if len == 0 || len > NEW_FILE_BYTES_MAX {
        return Ok(false);
    }
    let mut magic = [0; MAGIC_BYTES];
    let magic = &mut magic[..MAGIC_BYTES.min(len as usize)];
    backend.read(0, magic).context("open")?;
    if magic.iter().any(|byte| *byte != 0) {
        return Ok(false);
    }
    let mut rest = vec![0; len.saturating_sub(HEADER_BYTES) as usize];
    backend.read(HEADER_BYTES.min(len), &mut rest).context("open")?;
    Ok(rest.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Seek as _, SeekFrom, Write as _},
        path::Path,
    };

    use super::super::*;

    fn made(path: &Path) {
        let store = Store::open(path).expect("opens");
        drop(store);
    }

    fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
        let mut file = fs::OpenOptions::new().write(true).open(path).expect("opens");
        file.seek(SeekFrom::Start(at)).expect("seeks");
        file.write_all(bytes).expect("writes");
    }

    #[test]
    fn a_file_that_was_never_finished_is_made_again() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("kith.redb");
        for len in [1, 9, 4096, 1 << 20] {
            fs::write(&path, vec![0; len]).expect("writes");
            // The header without the magic number.
            overwrite(&path, 9, &vec![7; len.saturating_sub(9).min(311)]);
            made(&path);
            made(&path);
        }
    }

    #[test]
    fn a_damaged_store_is_left_as_it_is() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("kith.redb");
        made(&path);
        overwrite(&path, 0, &[0; 9]);
        let before = fs::read(&path).expect("reads");
        assert!(matches!(Store::open(&path), Err(StoreError::Redb { operation: "open", .. })));
        assert_eq!(fs::read(&path).expect("reads"), before);
    }
}
