//! Files that left a folder by somebody else's doing and rest in no history: kept for a while in the home directory.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use sync_core::{folder::apply::Keeper, limits, probe::reach, tree::RelPath};
use tracing::{debug, warn};

/// The trash of one folder.
#[derive(Debug)]
pub(crate) struct Trash {
    dir: PathBuf,
    root: PathBuf,
    kept: u64,
}

impl Trash {
    /// Opens the trash, and lets go of what is old.
    pub(crate) fn open(dir: PathBuf, root: PathBuf, wall_ns: i64) -> Self {
        if let Err(error) = sweep(&dir, wall_ns) {
            debug!(%error, "the trash was not swept");
        }
        Self { dir, root, kept: 0 }
    }

    fn on_disk(&self, path: &RelPath) -> PathBuf {
        path.components().iter().fold(self.root.clone(), |path, component| path.join(component))
    }
}

impl Keeper for Trash {
    fn keep(&mut self, file: &RelPath, was: &RelPath) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let name = was.components().last().map_or("file", String::as_str);
        let from = self.on_disk(file);
        let target = loop {
            self.kept += 1;
            let target = self.dir.join(format!("{}-{}-{name}", std::process::id(), self.kept));
            if !target.exists() {
                break target;
            }
        };
        reach("trash.before-move");
        let moved = match fs::rename(&from, &target) {
            // The home directory is on another file system.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                fs::copy(&from, &target)?;
                fs::remove_file(&from)
            }
            other => other,
        };
        reach("trash.after-move");
        moved
    }
}

/// Removes what has been kept for long enough.
fn sweep(dir: &Path, wall_ns: i64) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // The change time says when it came here; a rename sets it.
        let moved_ns = entry.metadata()?.ctime().saturating_mul(1_000_000_000);
        let age = Duration::from_nanos(u64::try_from(wall_ns.saturating_sub(moved_ns)).unwrap_or_default());
        if age > Duration::from_millis(limits::KEEP_MS)
            && let Err(error) = fs::remove_file(entry.path())
        {
            warn!(%error, "an old file in the trash was not removed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_displaced_is_kept_so_long_and_no_longer() {
        let dir = std::env::temp_dir().join(format!("kith-trash-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("makes");
        let file = dir.join("file");
        fs::write(&file, "kept").expect("writes");
        let came_ns = file.metadata().expect("is there").ctime() * 1_000_000_000;
        let keep_ns = limits::KEEP_MS as i64 * 1_000_000;
        sweep(&dir, came_ns + keep_ns).expect("sweeps");
        assert!(file.exists(), "at the limit");
        // A clock that was set back removes nothing.
        sweep(&dir, 0).expect("sweeps");
        assert!(file.exists());
        sweep(&dir, came_ns + keep_ns + 1).expect("sweeps");
        assert!(!file.exists(), "and past it");
        fs::remove_dir(&dir).expect("is empty");
        sweep(&dir, 0).expect("nothing there is nothing to sweep");
    }
}
