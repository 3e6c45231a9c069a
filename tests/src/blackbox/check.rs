//! The properties, once all is quiet: folders are byte-equal, every value that is owed is in a file, in a conflict, or in
//! history that can be restored, and whoever looks at a whole folder again finds nothing to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    synchroniser::{Outcome, Synchroniser},
    user::{Ledger, files_below},
};
use crate::disk::{Seen, tree};

/// How long a poll waits: what is waited for is a state of other programs, which tell nobody.
const POLL: std::time::Duration = std::time::Duration::from_millis(20);
/// How long quiet may take until somebody who should be quiet is stuck: a peer that was killed is waited for half a minute.
const QUIET_MAX: std::time::Duration = std::time::Duration::from_secs(150);

/// Where values were found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// In a file under a name that a user gave.
    pub file: u64,
    /// In a conflict.
    pub conflict: u64,
    /// In history, or in what is kept.
    pub history: u64,
}

/// Waits until all is quiet and equal.
///
/// # Errors
/// When that does not happen in time: how the folders differ.
pub fn equal_after_quiet(under_test: &mut dyn Synchroniser) -> Outcome<()> {
    let deadline = tokio::time::Instant::now() + QUIET_MAX;
    let mut last = "never quiet".to_owned();
    while tokio::time::Instant::now() < deadline {
        if under_test.is_quiet()? {
            let trees: Vec<_> = (0..under_test.devices()).map(|device| tree_of(under_test, device)).collect();
            let Some(other) = (1..trees.len()).find(|device| trees[*device] != trees[0]) else { return Ok(()) };
            last = format!("quiet, and folders 0 and {other} differ: {}", difference(&trees[0], &trees[other]));
        }
        std::thread::park_timeout(POLL);
    }
    Err(last)
}

/// Has all devices look at their whole folders again.
///
/// # Errors
/// When one then makes or gets a change, or writes to its folder.
pub fn rescan_plans_nothing(under_test: &mut dyn Synchroniser) -> Outcome<()> {
    let devices = 0..under_test.devices();
    let seen = |under_test: &mut dyn Synchroniser| -> Outcome<Vec<_>> {
        devices.clone().map(|device| Ok((under_test.changes(device)?, files_of(under_test, device)))).collect()
    };
    let before = seen(under_test)?;
    for device in devices.clone() {
        under_test.look_again(device)?;
    }
    equal_after_quiet(under_test)?;
    let after = seen(under_test)?;
    for (device, ((changes, files), (changes_then, files_then))) in before.iter().zip(&after).enumerate() {
        let mut paths = files.keys().chain(files_then.keys());
        if let Some(path) = paths.find(|path| files.get(*path) != files_then.get(*path)) {
            return Err(format!("device {device} wrote by looking again: {}", path.display()));
        }
        if changes != changes_then {
            return Err(format!(
                "device {device} had {changes} changes before it looked again, and then {changes_then}"
            ));
        }
    }
    Ok(())
}

/// All files of a device: which each is, and when it was written last.
fn files_of(under_test: &dyn Synchroniser, device: usize) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let folder = under_test.folder(device);
    let files = files_below(folder).into_iter().filter_map(|path| {
        let metadata = fs::symlink_metadata(&path).ok()?;
        let within = path.strip_prefix(folder).ok()?.to_owned();
        Some((within, (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())))
    });
    files.filter(|(path, _)| !under_test.is_own(path) && !path.starts_with(".kith")).collect()
}

fn tree_of(under_test: &dyn Synchroniser, device: usize) -> BTreeMap<PathBuf, Seen> {
    let mut tree = tree(under_test.folder(device));
    tree.retain(|path, _| !under_test.is_own(path));
    tree
}

fn difference(a: &BTreeMap<PathBuf, Seen>, b: &BTreeMap<PathBuf, Seen>) -> String {
    let paths: BTreeSet<&PathBuf> = a.keys().chain(b.keys()).collect();
    let differs = paths.into_iter().filter(|path| a.get(*path) != b.get(*path));
    let lines = differs.map(|path| format!("{}: {:?} and {:?}", path.display(), a.get(path), b.get(path)));
    lines.collect::<Vec<_>>().join("\n  ")
}

/// Looks for every value that is owed.
///
/// # Errors
/// When one is nowhere.
pub fn every_value_is_somewhere(under_test: &mut dyn Synchroniser, dir: &str, ledger: &Ledger) -> Outcome<Found> {
    let mut missing = ledger.owed().clone();
    let mut found = Found::default();
    let conflicts = under_test.conflicts(dir)?;
    let folder = under_test.folder(0).to_owned();
    let (in_conflict, plain): (Vec<PathBuf>, Vec<PathBuf>) =
        files_below(&folder.join(dir)).into_iter().partition(|path| is_among(&conflicts.paths, &folder, path));
    for path in plain {
        found.file += take(&mut missing, ledger, &fs::read(&path).unwrap_or_default());
    }
    let shown = in_conflict.iter().map(|path| fs::read(path).unwrap_or_default());
    for bytes in shown.chain(conflicts.versions) {
        found.conflict += take(&mut missing, ledger, &bytes);
    }
    if !missing.is_empty() {
        under_test.history(dir, &mut |bytes| {
            found.history += take(&mut missing, ledger, bytes);
            missing.is_empty()
        })?;
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let lost: Vec<String> = missing.iter().map(|value| format!("value {value}")).collect();
    Err(format!("in no file, no conflict and no history: {}", lost.join(", ")))
}

fn is_among(paths: &[String], folder: &Path, path: &Path) -> bool {
    let within = path.strip_prefix(folder).unwrap_or(path);
    paths.iter().any(|conflict| Path::new(conflict) == within)
}

/// Crosses off the values in some bytes, and counts them.
fn take(missing: &mut BTreeSet<u32>, ledger: &Ledger, bytes: &[u8]) -> u64 {
    ledger.values_in(bytes).into_iter().filter(|value| missing.remove(value)).count() as u64
}
