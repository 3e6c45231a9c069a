//! Files that left a folder by somebody else's doing and rest in no history: kept for a while in the home directory.
//!
//! A file is named by when it came, and by its content; beside it lies where people knew it. What is kept is served to
//! peers and comes back with `kith restore`, as long as it holds what it held.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use sync_core::{
    folder::{apply::Keeper, rails::Space},
    ids::ContentHash,
    limits,
    probe::reach,
    tree::RelPath,
};
use tracing::{debug, warn};

use crate::{actor::lock, clock::Clock};

/// Ends the names of the files that say where others were.
const WHERE: &str = ".path";

/// A file that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptFile {
    /// Where people knew it, in the folder.
    pub(crate) path: String,
    /// What it holds.
    pub(crate) hash: ContentHash,
    /// How many bytes.
    pub(crate) len: u64,
    /// When it came here, in milliseconds since 1970.
    pub(crate) kept_ms: u64,
    /// Where it is.
    pub(crate) file: PathBuf,
}

/// What is kept of one folder.
#[derive(Debug)]
pub(crate) struct Kept {
    dir: PathBuf,
    files: Mutex<BTreeMap<ContentHash, Vec<KeptFile>>>,
    count: AtomicU64,
    clock: Clock,
}

impl Kept {
    /// Opens what is kept in a directory, and lets go of what is old.
    pub(crate) fn open(dir: PathBuf, clock: Clock) -> Self {
        let kept = Self { dir, files: Mutex::default(), count: AtomicU64::new(0), clock };
        if let Err(error) = kept.sweep() {
            debug!(%error, "what is kept was not swept");
        }
        kept
    }

    fn now_ms(&self) -> u64 {
        self.clock.now().wall_ms
    }

    /// Removes what has been kept for long enough, and reads what is there.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        let mut files: BTreeMap<ContentHash, Vec<KeptFile>> = BTreeMap::new();
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let now_ms = self.now_ms();
        for entry in entries {
            let file = entry?.path();
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
            let stem = name.strip_suffix(WHERE);
            let Some((kept_ms, hash)) = parse_name(stem.unwrap_or(name)) else { continue };
            if now_ms.saturating_sub(kept_ms) > limits::KEEP_MS {
                if let Err(error) = fs::remove_file(&file) {
                    warn!(%error, "an old file was not removed");
                }
                continue;
            }
            if stem.is_some() {
                continue;
            }
            let path = fs::read_to_string(where_of(&file)).unwrap_or_default();
            let len = fs::symlink_metadata(&file)?.len();
            files.entry(hash).or_default().push(KeptFile { path, hash, len, kept_ms, file });
        }
        for same in files.values_mut() {
            same.sort_by_key(|kept| kept.kept_ms);
        }
        *lock(&self.files) = files;
        Ok(())
    }

    /// Takes a file over. `was` is where people knew it.
    pub(crate) fn take(&self, from: &Path, was: &RelPath, hash: Option<ContentHash>) -> io::Result<()> {
        if fs::symlink_metadata(from)?.is_symlink() {
            // Its text rests in history.
            return fs::remove_file(from);
        }
        let hash = match hash {
            Some(hash) => hash,
            None => hash_of(File::open(from)?)?,
        };
        self.admit(hash, was, |target| {
            reach("trash.before-move");
            let moved = match fs::rename(from, target) {
                // The home directory is on another file system.
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    copied(from, target)?;
                    fs::remove_file(from)
                }
                other => other,
            };
            reach("trash.after-move");
            moved
        })
    }

    /// Keeps a copy of bytes that are in memory.
    pub(crate) fn put(&self, bytes: &[u8], was: &RelPath) -> io::Result<()> {
        self.admit(ContentHash::of(bytes), was, |target| {
            let mut file = File::create_new(target)?;
            io::Write::write_all(&mut file, bytes)?;
            file.sync_all()
        })
    }

    fn admit(&self, hash: ContentHash, was: &RelPath, bring: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let kept_ms = self.now_ms();
        let file = loop {
            let count = self.count.fetch_add(1, Ordering::Relaxed);
            let file = self.dir.join(format!("{kept_ms}-{count}-{hash}"));
            if !file.exists() {
                break file;
            }
        };
        // One without a file is of no harm; a file without one would not be found by its path.
        fs::write(where_of(&file), was.to_string())?;
        bring(&file)?;
        let len = fs::metadata(&file)?.len();
        let kept = KeptFile { path: was.to_string(), hash, len, kept_ms, file };
        lock(&self.files).entry(hash).or_default().push(kept);
        Ok(())
    }

    /// The newest file that held a content when it came.
    pub(crate) fn find(&self, content: &ContentHash) -> Option<KeptFile> {
        lock(&self.files).get(content).and_then(|same| same.last().cloned())
    }

    /// Opens the newest file that held a content when it came. Whoever reads it checks.
    pub(crate) fn open_content(&self, content: &ContentHash) -> io::Result<Option<File>> {
        match self.find(content).map(|kept| File::open(kept.file)) {
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.transpose(),
        }
    }

    /// What is kept of a path and of what was under it, newest first.
    pub(crate) fn under(&self, path: &RelPath) -> Vec<KeptFile> {
        let is_under = |kept: &&KeptFile| RelPath::parse(&kept.path).is_some_and(|was| path.contains(&was));
        let mut found: Vec<KeptFile> = lock(&self.files).values().flatten().filter(is_under).cloned().collect();
        found.sort_by(|a, b| (b.kept_ms, &b.path).cmp(&(a.kept_ms, &a.path)));
        found
    }
}

/// When a file came, and what it held.
fn parse_name(name: &str) -> Option<(u64, ContentHash)> {
    let mut parts = name.split('-');
    let (kept_ms, _, hash) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((kept_ms, hash))
}

fn where_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(WHERE);
    file.with_file_name(name)
}

/// Copies a file to another file system, if that leaves its reserve untouched: what is kept must not fill the disk on which
/// the state lies.
fn copied(from: &Path, to: &Path) -> io::Result<()> {
    let stat = rustix::fs::statvfs(to.parent().unwrap_or(to))?;
    let space = Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize };
    if !space.takes(fs::metadata(from)?.len()) {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk of what is kept is nearly full"));
    }
    let copied = fs::copy(from, to).and_then(|_| File::open(to)?.sync_all());
    if copied.is_err()
        && let Err(error) = fs::remove_file(to)
    {
        debug!(%error, "half a copy was not removed");
    }
    copied
}

fn hash_of(file: File) -> io::Result<ContentHash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(ContentHash(*hasher.finalize().as_bytes()))
}

/// The folder's own hand on what is kept.
#[derive(Debug)]
pub(crate) struct Trash {
    pub(crate) kept: Arc<Kept>,
    pub(crate) root: PathBuf,
}

impl Keeper for Trash {
    fn keep(&mut self, file: &RelPath, was: &RelPath, hash: Option<ContentHash>) -> io::Result<()> {
        let from = file.components().iter().fold(self.root.clone(), |path, component| path.join(component));
        self.kept.take(&from, was, hash)
    }

    fn open(&self, content: &ContentHash) -> io::Result<Option<Box<dyn Read + Send>>> {
        Ok(self.kept.open_content(content)?.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).expect("a path of a test")
    }

    #[test]
    fn what_is_kept_is_found_by_content_and_path_also_after_a_restart() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("displaced");
        fs::write(&file, b"old").expect("writes");
        let home = dir.path().join("kept");
        let kept = Kept::open(home.clone(), Clock::start());
        kept.take(&file, &path("d/photo.jpg"), None).expect("keeps");
        kept.put(b"older", &path("other")).expect("keeps");
        assert!(!file.exists());
        for kept in [kept, Kept::open(home, Clock::start())] {
            let mut text = String::new();
            let opened = kept.open_content(&ContentHash::of(b"old")).expect("opens");
            opened.expect("is kept").read_to_string(&mut text).expect("reads");
            assert_eq!(text, "old");
            assert_eq!(kept.under(&path("d")).len(), 1);
            assert_eq!(kept.under(&RelPath::root()).len(), 2);
            assert!(kept.find(&ContentHash::of(b"never")).is_none());
        }
    }

    #[test]
    fn thirty_days_are_kept_and_not_a_moment_more() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let clock = Clock::start();
        let kept = Kept::open(dir.path().to_owned(), clock);
        let hash = ContentHash::of(b"x");
        let now_ms = clock.now().wall_ms;
        let minute = 60_000;
        let of_age = |age_ms: u64| {
            let file = dir.path().join(format!("{}-0-{hash}", now_ms - age_ms));
            fs::write(&file, b"x").expect("writes");
            fs::write(where_of(&file), "a").expect("writes");
            file
        };
        let (young, old) = (of_age(limits::KEEP_MS - minute), of_age(limits::KEEP_MS + minute));
        kept.sweep().expect("sweeps");
        assert!(young.exists() && where_of(&young).exists());
        assert!(!old.exists() && !where_of(&old).exists());
        assert_eq!(kept.find(&hash).map(|kept| kept.file), Some(young));
    }
}
