//! Which folder a path of this machine is in, also a path where nothing is any more.

use std::path::{Component, Path, PathBuf};

use super::{Context, as_text, pick};
use crate::{
    daemon::{
        api::{Folder, StatusReply},
        client::Client,
    },
    error::{Error, Kind, Result},
    output,
};

/// A path within a folder, and the daemon to ask about it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) client: Client,
    /// The folder's own path, by which the daemon knows it.
    pub(super) folder: String,
    /// The path in it; empty for the folder itself.
    pub(super) path: String,
    /// As it was typed, for hints.
    pub(super) typed: String,
}

impl Place {
    /// The path, if it is not the folder itself.
    pub(super) fn inside(&self) -> Result<String> {
        if self.path.is_empty() {
            return Err(Error::new(Kind::Invalid, format!("{} is a whole folder: name something in it", self.typed))
                .hint("see what changed in it: kith log"));
        }
        Ok(self.path.clone())
    }
}

/// Finds the folder of a path, or the path in a folder that was named.
pub(super) async fn find(context: &Context, path: &Path, folder: Option<&str>) -> Result<Place> {
    let client = context.client().await?;
    let status = client.status().await?;
    let typed = output::shell_word(&path.to_string_lossy());
    let (folder, path) = match folder {
        Some(asked) => (pick(&status, asked)?, within(path)?),
        None => around(&status, path)?,
    };
    Ok(Place { folder: folder.path.clone(), path, typed, client })
}

/// The folder that the current directory is in, or else the only one.
pub(super) async fn current(context: &Context, folder: Option<&str>) -> Result<Place> {
    let client = context.client().await?;
    let status = client.status().await?;
    let here = std::env::current_dir().ok();
    let folder = match (folder, &status.folders[..]) {
        (Some(asked), _) => pick(&status, asked)?,
        (None, [only]) => only,
        (None, []) => {
            return Err(Error::new(Kind::NotFound, "there is no folder yet").hint("share one: kith share DIR"));
        }
        (None, all) => all
            .iter()
            .find(|folder| here.as_ref().is_some_and(|here| here.starts_with(&folder.path)))
            .ok_or_else(|| {
                Error::new(Kind::Ambiguous, "there are several folders")
                    .hint("name one: kith log --folder FOLDER; they are listed by: kith folder list")
            })?,
    };
    Ok(Place { folder: folder.path.clone(), path: String::new(), typed: String::new(), client })
}

fn around<'a>(status: &'a StatusReply, path: &Path) -> Result<(&'a Folder, String)> {
    let full = real(path)?;
    let around = status.folders.iter().filter_map(|folder| Some((folder, full.strip_prefix(&folder.path).ok()?)));
    // The innermost, should one ever be within another.
    let found = around.max_by_key(|(folder, _)| folder.path.len());
    let Some((folder, rest)) = found else {
        return Err(Error::new(Kind::NotFound, format!("{} is in no folder", path.display()))
            .hint("see which folders there are: kith folder list; or name one: --folder FOLDER"));
    };
    Ok((folder, as_text(rest)?))
}

/// The path with the links resolved of what is there of it, except for its last component, which may be a link itself.
fn real(path: &Path) -> Result<PathBuf> {
    let failed = |error| Error::from_io(Kind::Invalid, format!("cannot use {}", path.display()), &error);
    let full = lexical(&std::path::absolute(path).map_err(failed)?);
    let mut above = full.as_path();
    while let Some(parent) = above.parent() {
        if let Ok(real) = parent.canonicalize() {
            let rest = full.strip_prefix(parent).unwrap_or(&full);
            return Ok(real.join(rest));
        }
        above = parent;
    }
    Ok(full)
}

fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// A path within a folder that was named.
fn within(path: &Path) -> Result<String> {
    let plain = lexical(path);
    if plain.is_absolute() {
        return Err(Error::new(Kind::Invalid, format!("{} is not a path within the folder", path.display()))
            .hint("leave out --folder, or write the path as it is in the folder"));
    }
    as_text(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_taken_away() {
        assert_eq!(lexical(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(within(Path::new("./a/../b")).ok().as_deref(), Some("b"));
        assert!(within(Path::new("/a")).is_err());
    }

    #[test]
    fn what_is_gone_is_found_below_what_is_there() {
        let here = std::env::temp_dir();
        let real_here = here.canonicalize().expect("is there");
        let gone = here.join("never-was-there/at all/a.txt");
        assert_eq!(real(&gone).ok(), Some(real_here.join("never-was-there/at all/a.txt")));
    }
}
