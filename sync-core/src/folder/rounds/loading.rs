//! Files read, on several threads, and made to last: what the base says of a file holds after a power cut, too.
//!
//! Nothing is decided here; what becomes of the bytes is [`reading`](super::reading).

use std::collections::BTreeMap;

use super::{Rounds, host::Host, writing::FLUSHES_MAX};
use crate::{
    folder::{
        Fs,
        ingest::{LoadError, Loaded, load},
    },
    limits,
    tree::RelPath,
};

/// Fewer files than this are not worth a thread.
const FILES_A_THREAD_MIN: usize = 17;

impl Rounds {
    /// Reads files, on several threads if the host wants them, and makes them last.
    pub(super) fn load_all(&mut self, host: &dyn Host, files: &[(usize, RelPath)]) -> BTreeMap<usize, Loaded> {
        let results = load_on(self.parts.threads, &*self.parts.fs, files, host.now().wall_ns);
        let paths: BTreeMap<usize, &RelPath> = files.iter().map(|(index, path)| (*index, path)).collect();
        let mut loaded = BTreeMap::new();
        for (index, result) in results {
            match result {
                Ok(file) => {
                    loaded.insert(index, file);
                }
                Err(error) => self.not_loaded(host, paths[&index].clone(), error),
            }
        }
        self.make_young_last(host, &paths, &mut loaded);
        loaded
    }

    /// What the base says of a file must be so after a power cut, too: else the half of a file that its program did not
    /// flush, or none of it, would read as an edit, or pass for what was committed. Files that cannot be flushed are left
    /// out.
    fn make_young_last(
        &mut self,
        host: &dyn Host,
        paths: &BTreeMap<usize, &RelPath>,
        loaded: &mut BTreeMap<usize, Loaded>,
    ) {
        let wall_ns = host.now().wall_ns;
        let young: Vec<usize> =
            loaded.iter().filter(|(_, file)| is_unflushed(file, wall_ns)).map(|(index, _)| *index).collect();
        if young.len() > FLUSHES_MAX {
            if let Err(error) = self.parts.fs.flush_all() {
                for index in young {
                    loaded.remove(&index);
                    self.unreadable(host, paths[&index].clone(), &error);
                }
            }
            return;
        }
        for index in young {
            let path = paths[&index];
            let dir = path.split().map_or_else(RelPath::root, |(dir, _)| dir);
            if let Err(error) = self.parts.fs.flush_file(path).and_then(|()| self.parts.fs.flush_dir(&dir)) {
                loaded.remove(&index);
                self.unreadable(host, path.clone(), &error);
            }
        }
    }
}

/// Whether the system may not have written a file out by itself. A stamp of the future says nothing.
const fn is_unflushed(file: &Loaded, wall_ns: i64) -> bool {
    wall_ns.saturating_sub(file.stat.changed_ns()) < limits::UNFLUSHED_NS
}

type Read = (usize, Result<Loaded, LoadError>);

/// Reads files on so many threads, one of which is this one: hashing is most of an import.
fn load_on(threads: usize, fs: &dyn Fs, files: &[(usize, RelPath)], wall_ns: i64) -> Vec<Read> {
    let read = |part: &[(usize, RelPath)]| -> Vec<Read> {
        part.iter().map(|(index, path)| (*index, load(fs, path, wall_ns))).collect()
    };
    if threads <= 1 || files.len() / threads < FILES_A_THREAD_MIN {
        return read(files);
    }
    let (own, others) = files.split_at(files.len() / threads);
    std::thread::scope(|scope| {
        let read = &read;
        let parts = others.chunks(others.len().div_ceil(threads - 1));
        let others: Vec<_> = parts.map(|part| (part, scope.spawn(move || read(part)))).collect();
        let mut results = read(own);
        for (part, thread) in others {
            results.extend(thread.join().unwrap_or_else(|_panicked| read(part)));
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::disk::Disk;

    #[test]
    fn a_file_is_flushed_until_the_system_has_done_so() {
        let stat = crate::store::row::Stat {
            size: 0,
            mtime_ns: 0,
            ctime_ns: 1_000,
            btime_ns: 0,
            inode: 1,
            device: 1,
            exec: false,
        };
        let file = Loaded { stat, racy: false, hash: crate::ids::ContentHash([0; 32]), bytes: None, chunks: None };
        assert!(is_unflushed(&file, 999 + limits::UNFLUSHED_NS));
        assert!(!is_unflushed(&file, 1_000 + limits::UNFLUSHED_NS));
        assert!(is_unflushed(&file, 0), "a stamp of the future");
    }

    #[test]
    fn files_read_the_same_on_any_number_of_threads() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = Disk::open(dir.path()).expect("opens");
        let mut files = Vec::new();
        for index in 0..100 {
            let path = RelPath::root().join(&index.to_string());
            // Some are not there.
            if index % 7 != 0 {
                disk.write_new(&path, format!("file {index}").as_bytes(), false).expect("writes");
            }
            files.push((index, path));
        }
        let hashes = |threads| {
            let read = load_on(threads, &disk, &files, 0);
            assert_eq!(read.len(), files.len());
            let hashes = read.into_iter().map(|(index, loaded)| (index, loaded.ok().map(|loaded| loaded.hash)));
            hashes.collect::<BTreeMap<_, _>>()
        };
        let alone = hashes(1);
        assert_eq!(alone.values().flatten().count(), 85);
        for threads in [0, 2, 3, 5, 100] {
            assert_eq!(hashes(threads), alone);
        }
    }
}
