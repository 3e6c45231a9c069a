//! Whether a directory is another kith's folder: one with a home of its own, whose daemon may or may not run now.
//!
//! A running daemon holds a lock on the directory; one that does not run has left its marker. Nothing is changed here. The
//! rounds of a folder look at both again whenever they start.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use sync_core::{
    folder::{Fs as _, disk::Disk, rounds::marker_path},
    ids::SpaceId,
};

use crate::error::NodeError;

/// Longest marker that is read: an id in hex and a line feed are 65 bytes.
const MARKER_BYTES_MAX: u64 = 128;

/// Refuses a directory that another kith keeps, or that lies in one. The marker of `space` is no reason: who lost the home
/// joins again where the files are.
pub(crate) fn check_untaken(path: &Path, space: Option<SpaceId>) -> Result<(), NodeError> {
    let unusable = |error: io::Error| NodeError::Directory { path: path.to_owned(), reason: error.to_string() };
    let own = space.map(|space| format!("{space}\n"));
    for dir in path.ancestors() {
        let marker = marker(dir).map_err(unusable)?;
        if marker.is_some() && (marker != own || dir != path) {
            return Err(NodeError::Taken(dir.to_owned()));
        }
    }
    // Taken and given back at once. One that is not there yet nobody has.
    let is_free = match Disk::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        disk => disk.map_err(unusable)?.claim(),
    };
    if is_free { Ok(()) } else { Err(NodeError::Taken(path.to_owned())) }
}

/// Whether a directory has the marker of a space.
pub(crate) fn has_marker_of(dir: &Path, space: &SpaceId) -> bool {
    marker(dir).is_ok_and(|marker| marker == Some(format!("{space}\n")))
}

/// The beginning of a directory's marker, if it has one.
fn marker(dir: &Path) -> io::Result<Option<String>> {
    let path = dir.join(marker_path().components().join("/"));
    // What is no file is no marker, and a pipe in its place would be waited for.
    if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Ok(None);
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MARKER_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
