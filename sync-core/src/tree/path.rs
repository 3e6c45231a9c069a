//! Paths inside a folder: lists of components, each of them checked.

use std::fmt;

use super::Folds;
use crate::limits;

/// Name of the directory in each folder that is ours and never synced.
pub const STATE_DIR: &str = ".kith";

/// Why a name cannot stand on this disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// Empty, `.`, `..`, or with a separator or NUL.
    #[error("not the name of a file")]
    NotAName,
    /// Longer than a component may be.
    #[error("the name is too long")]
    TooLong,
    /// Under too many directories.
    #[error("too many directories deep")]
    TooDeep,
    /// Another entry has it, and all that would be shown instead of it.
    #[error("the name is taken")]
    Taken,
    /// A directory above it cannot stand on this disk.
    #[error("it is in a directory that cannot be shown")]
    Above,
    /// Of our own state or of a version-control system.
    #[error("the name is reserved")]
    Reserved,
}

/// Whether a name from elsewhere may be made on this disk.
///
/// # Errors
/// Why not.
pub fn check_name(name: &str) -> Result<(), NameFault> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(NameFault::NotAName);
    }
    if name.len() > limits::COMPONENT_BYTES_MAX {
        return Err(NameFault::TooLong);
    }
    if is_reserved(name) {
        return Err(NameFault::Reserved);
    }
    Ok(())
}

/// Whether a name belongs to our own state or to a version-control system, whose files must not be mixed.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    const RESERVED: [&str; 6] = [STATE_DIR, ".git", ".hg", ".svn", ".jj", ".bzr"];
    if name.is_ascii() {
        return RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name));
    }
    // As the coarsest disk has it: a sign that nobody sees must not lead into our own state there.
    RESERVED.contains(&&*Folds::ALL.key(name))
}

/// Why a link is not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkFault {
    /// It names a place by its whole path, which is another on each machine.
    #[error("a link to an absolute path is not synced")]
    Absolute,
    /// It leads out of the folder.
    #[error("a link that leads out of the folder is not synced")]
    Escapes,
}

/// Whether a link with this text, at this path, may be shown to others and made on this disk. Only the text is looked at:
/// what it leads through may be links themselves, or not be there.
///
/// # Errors
/// Why not.
pub fn check_link(at: &RelPath, target: &str) -> Result<(), LinkFault> {
    if target.starts_with('/') {
        return Err(LinkFault::Absolute);
    }
    let mut depth = at.components().len().saturating_sub(1);
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1).ok_or(LinkFault::Escapes)?,
            _ => depth += 1,
        }
    }
    Ok(())
}

/// A path relative to the root of a folder. The empty one is the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Vec<String>);

impl RelPath {
    /// The root of the folder.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// A path of components that were checked one by one.
    #[must_use]
    pub const fn from_components(components: Vec<String>) -> Self {
        Self(components)
    }

    /// Reads a path that people write, with `/` between components.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let components: Vec<String> = text.split('/').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect();
        components.iter().all(|component| component != "." && component != "..").then_some(Self(components))
    }

    /// The components from the top.
    #[must_use]
    pub fn components(&self) -> &[String] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of something in this directory.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let mut components = self.0.clone();
        components.push(name.to_owned());
        Self(components)
    }

    /// The directory and the last component; `None` for the root.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &str)> {
        let (last, above) = self.0.split_last()?;
        Some((Self(above.to_vec()), last))
    }

    /// Whether `other` is this path or under it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_in_their_folder() {
        let at = |path: &str| RelPath::parse(path).expect("a path");
        for (path, target) in [("l", "a"), ("d/l", "../a"), ("d/l", "."), ("d/e/l", "../../x/../y"), ("l", "gone/./b")]
        {
            assert_eq!(check_link(&at(path), target), Ok(()), "{path} -> {target}");
        }
        for (path, target) in [("l", ".."), ("d/l", "../.."), ("d/l", "x/../../../d"), ("l", "../a")] {
            assert_eq!(check_link(&at(path), target), Err(LinkFault::Escapes), "{path} -> {target}");
        }
        assert_eq!(check_link(&at("l"), "/etc/passwd"), Err(LinkFault::Absolute));
    }

    #[test]
    fn names_that_leave_the_folder_or_hide_state_are_refused() {
        for name in ["", ".", "..", "a/b", "a\0", ".git", ".GIT", ".kith", ".g\u{200c}it", ".\u{212a}ith"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "...", ".gitignore", "ü b", "-rf", &"x".repeat(limits::COMPONENT_BYTES_MAX)] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
        assert_eq!(check_name(&"x".repeat(limits::COMPONENT_BYTES_MAX + 1)), Err(NameFault::TooLong));
    }

    #[test]
    fn paths_of_people_do_not_climb() {
        assert_eq!(RelPath::parse("a//b/").map(|path| path.to_string()).as_deref(), Some("a/b"));
        assert_eq!(RelPath::parse("a/../b"), None);
    }
}
