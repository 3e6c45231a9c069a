//! Directories that nobody means to share: a home directory, and the root of a file system.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::error::{Error, Kind, Result};

/// Refuses a directory that is, or holds, this user's home directory, and one that is a file system of its own, unless
/// told otherwise. `dir` is absolute, and need not be there.
pub(super) fn check_place(dir: &Path, force: bool) -> Result<()> {
    let home = etcetera::home_dir().ok().and_then(|home| home.canonicalize().ok());
    match why_not(dir, home.as_deref()) {
        Some(why) if !force => Err(Error::new(Kind::Refused, format!("{} {why}", dir.display()))
            .hint("a directory in it is what most people want; if you do mean all of it, add: --force")),
        _ => Ok(()),
    }
}

fn why_not(dir: &Path, home: Option<&Path>) -> Option<&'static str> {
    if home == Some(dir) {
        return Some("is your home directory: keys, caches and settings of all programs are in it");
    }
    if home.is_some_and(|home| home.starts_with(dir)) {
        return Some("has your home directory in it");
    }
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    let (own, above) = (device(dir)?, dir.parent().and_then(device));
    (above != Some(own)).then_some("is a whole file system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_and_file_systems_are_told_from_directories() {
        let home = std::env::temp_dir().canonicalize().expect("is there");
        let why = |path: &Path| why_not(path, Some(&home));
        assert_eq!(why(&home.join("not there")), None);
        assert!(why(&home).is_some_and(|why| why.starts_with("is your home directory")));
        assert_eq!(why(Path::new("/")), Some("has your home directory in it"));
        assert_eq!(why_not(Path::new("/usr/bin"), None), None);
        for root in ["/", "/proc"] {
            assert_eq!(why_not(Path::new(root), None), Some("is a whole file system"));
        }
    }
}
