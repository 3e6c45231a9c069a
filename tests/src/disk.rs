//! Looking at real directories.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A directory.
    Dir,
    /// A file: its bytes by hash and length, and whether it is executable.
    File([u8; 32], u64, bool),
    /// A link.
    Link(PathBuf),
}

/// Everything in a directory but our own state.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut tree = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.expect("lists").path();
            let relative = path.strip_prefix(root).expect("is in the root").to_owned();
            if relative.starts_with(".kith") {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).expect("is there");
            let seen = if metadata.is_dir() {
                open.push(path);
                Seen::Dir
            } else if metadata.is_symlink() {
                Seen::Link(fs::read_link(&path).expect("is a link"))
            } else {
                let mut hasher = blake3::Hasher::new();
                hasher.update_reader(fs::File::open(&path).expect("opens")).expect("reads");
                let executable = metadata.permissions().mode() & 0o100 != 0;
                Seen::File(*hasher.finalize().as_bytes(), metadata.len(), executable)
            };
            tree.insert(relative, seen);
        }
    }
    tree
}

/// Says how two directories differ; nothing when they do not.
#[must_use]
pub fn differences(a: &Path, b: &Path) -> Vec<String> {
    let (left, right) = (tree(a), tree(b));
    let mut differences = Vec::new();
    for (path, seen) in &left {
        match right.get(path) {
            None => differences.push(format!("only in the first: {}", path.display())),
            Some(other) if other != seen => differences.push(format!("{}: {seen:?} and {other:?}", path.display())),
            Some(_) => {}
        }
    }
    let only = right.keys().filter(|path| !left.contains_key(*path));
    differences.extend(only.map(|path| format!("only in the second: {}", path.display())));
    differences
}

/// Files of our own that should not outlive a write.
///
/// # Panics
/// When the directory cannot be read.
#[must_use]
pub fn stray_files(root: &Path) -> Vec<PathBuf> {
    let temp = root.join(".kith/tmp");
    fs::read_dir(&temp)
        .unwrap_or_else(|error| panic!("{}: {error}", temp.display()))
        .map(|entry| entry.expect("lists").path())
        .collect()
}
