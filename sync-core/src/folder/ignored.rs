//! What is not synced: our own state, version-control directories, litter of systems and editors, and what
//! `.kithignore` files say in gitignore's syntax.

use std::{collections::BTreeMap, io::Read as _};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use super::{Found, FoundKind, Fs, FsError};
use crate::tree::{Folds, RelPath, is_reserved};

/// Name of the files with a user's own rules; synced like any file, in force for their directory and below.
pub(super) const IGNORE_FILE: &str = ".kithignore";

/// Longest ignore file that is read: rules beyond it would be a mistake.
const IGNORE_BYTES_MAX: u64 = 256 * 1024;

/// What an ignore file says that cannot be read.
const EVERYTHING: &str = "*";

/// The text of an ignore file, as far as it is one. It may be gone by now, or another.
fn read(fs: &dyn Fs, file: &RelPath) -> Option<String> {
    let mut bytes = Vec::new();
    fs.open(file).ok()?.take(IGNORE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Rules of a folder.
#[derive(Debug, Default)]
pub struct Ignored {
    /// The text of each directory's file, and what it says.
    rules: BTreeMap<RelPath, (String, Gitignore)>,
    /// Whether the disk shows a file under other names than its own.
    folds: bool,
}

impl Ignored {
    /// Reads the ignore file of a directory, or forgets its rules when there is none. Says whether the rules changed. Of one
    /// that cannot be read the rules stay that were read last; before any were, everything beside it is ignored: what
    /// somebody wanted to keep to themselves must not be sent.
    pub fn load(&mut self, fs: &dyn Fs, dir: &RelPath) -> bool {
        let file = dir.join(IGNORE_FILE);
        let text = match self.look(fs, dir) {
            Ok(Some(found)) if found.kind == FoundKind::File => read(fs, &file),
            Ok(_) => return self.rules.remove(dir).is_some(),
            Err(_) => None,
        };
        let text = match text {
            Some(text) => text,
            None if self.rules.contains_key(dir) => return false,
            None => EVERYTHING.to_owned(),
        };
        if self.rules.get(dir).is_some_and(|(held, _)| *held == text) {
            return false;
        }
        let mut builder = GitignoreBuilder::new("");
        for line in text.lines() {
            // A line that is no pattern is passed over, as git does.
            let _no_pattern = builder.add_line(None, line);
        }
        match builder.build() {
            Ok(rules) => {
                self.rules.insert(dir.clone(), (text, rules));
                true
            }
            Err(_) => self.rules.remove(dir).is_some(),
        }
    }

    /// On a disk that does not tell all names apart only the very name counts, as on all others.
    pub(super) const fn set_folds(&mut self, folds: Folds) {
        self.folds = folds.any();
    }

    /// Looks at the ignore file of a directory.
    fn look(&self, fs: &dyn Fs, dir: &RelPath) -> Result<Option<Found>, FsError> {
        let found = fs.look(&dir.join(IGNORE_FILE))?;
        if !self.folds || found.is_none() {
            return Ok(found);
        }
        let mut listed = fs.list(dir)?.into_iter();
        Ok(listed.find(|listed| listed.name.as_deref() == Ok(IGNORE_FILE)).map(|listed| listed.found))
    }

    /// Directories whose ignore file was read.
    pub(super) fn dirs(&self) -> impl Iterator<Item = &RelPath> {
        self.rules.keys()
    }

    /// Forgets the rules of a directory whose ignore file is not there any more. Says whether it did.
    pub(super) fn forget_if_gone(&mut self, fs: &dyn Fs, dir: &RelPath) -> bool {
        matches!(self.look(fs, dir), Ok(None)) && self.rules.remove(dir).is_some()
    }

    /// Whether one entry of a directory that is itself not ignored is ignored.
    #[must_use]
    pub fn is_ignored(&self, path: &RelPath, is_dir: bool) -> bool {
        let Some(name) = path.components().last() else {
            return false;
        };
        is_reserved(name) || is_litter(name) || self.rule_of(path, is_dir).is_some()
    }

    /// The line of an ignore file that ignores an entry, and the directory of that file.
    fn rule_of(&self, path: &RelPath, is_dir: bool) -> Option<(RelPath, String)> {
        if self.rules.is_empty() {
            return None;
        }
        let components = path.components();
        for depth in (0..components.len()).rev() {
            let above = RelPath::from_components(components[..depth].to_vec());
            let Some((_, rules)) = self.rules.get(&above) else {
                continue;
            };
            match rules.matched(components[depth..].join("/"), is_dir) {
                Match::Ignore(rule) => return Some((above, rule.original().to_owned())),
                Match::Whitelist(_) => return None,
                Match::None => {}
            }
        }
        None
    }

    /// Why a path is ignored, for people, if it or a directory above it is.
    #[must_use]
    pub fn reason(&self, path: &RelPath, is_dir: bool) -> Option<String> {
        let components = path.components();
        (1..=components.len()).find_map(|depth| {
            let part = RelPath::from_components(components[..depth].to_vec());
            let is_dir = is_dir || depth < components.len();
            let name = components.get(depth - 1)?;
            if is_reserved(name) {
                return Some(format!("{name} belongs to version control or to kith itself"));
            }
            if is_litter(name) {
                return Some(format!("{name} is litter of a system or an editor"));
            }
            let (dir, rule) = self.rule_of(&part, is_dir)?;
            Some(format!("the line `{rule}` of {} covers {part}", dir.join(IGNORE_FILE)))
        })
    }

    /// Whether a path or any directory above it is ignored.
    #[must_use]
    pub fn covers(&self, path: &RelPath, is_dir: bool) -> bool {
        let components = path.components();
        (1..=components.len()).any(|depth| {
            let part = RelPath::from_components(components[..depth].to_vec());
            self.is_ignored(&part, is_dir || depth < components.len())
        })
    }
}

/// What systems leave behind, and what editors put beside a file while it is open: vim and nano, emacs, Microsoft's and
/// LibreOffice's. All of it says what happens on one machine.
fn is_litter(name: &str) -> bool {
    let is_swap = name.ends_with(".swp") || name.ends_with(".swx") || name.ends_with(".swo");
    matches!(name, ".DS_Store" | "Thumbs.db" | "desktop.ini")
        || (name.starts_with('.') && is_swap)
        || name.starts_with(".#")
        || name.starts_with("~$")
        || (name.starts_with(".~lock.") && name.ends_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::disk::Disk;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).expect("a path of a test")
    }

    #[test]
    fn rules_hold_below_their_directory_and_the_nearest_decides() {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir(dir.path().join("sub")).expect("makes");
        std::fs::write(dir.path().join(IGNORE_FILE), "*.log\n/build/\n").expect("writes");
        std::fs::write(dir.path().join("sub").join(IGNORE_FILE), "!keep.log\n").expect("writes");
        let disk = Disk::open(dir.path()).expect("opens");
        let mut ignored = Ignored::default();
        assert!(ignored.load(&disk, &RelPath::root()));
        assert!(ignored.load(&disk, &path("sub")));
        assert!(ignored.is_ignored(&path("a.log"), false));
        assert!(ignored.is_ignored(&path("sub/a.log"), false));
        assert!(!ignored.is_ignored(&path("sub/keep.log"), false));
        assert!(ignored.is_ignored(&path("build"), true));
        assert!(!ignored.is_ignored(&path("sub/build"), true));
        assert!(ignored.covers(&path("build/deep/a.txt"), false));
        let reason = ignored.reason(&path("build/deep/a.txt"), false);
        assert_eq!(reason.as_deref(), Some("the line `/build/` of .kithignore covers build"));
        assert!(ignored.reason(&path("sub/.git/config"), false).is_some_and(|reason| reason.contains(".git")));
        assert_eq!(ignored.reason(&path("sub/keep.log"), false), None);
        assert!(ignored.covers(&path("sub/.git/config"), false));
        assert!(!ignored.covers(&path("sub/a.txt"), false));
    }
}
