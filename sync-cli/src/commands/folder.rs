//! `kith folder`: lists folders, stops syncing one, and decides about what one holds.

use std::path::Path;

use serde::Serialize;

use super::{Context, located, pick};
use crate::{
    daemon::api::{
        self, DecideReply, DecideRequest, Empty, Folder, GoneReply, Held, PathRequest, RemoveRequest, State,
    },
    error::{Error, Kind, Outcome, Result},
    output::{self, Cell, name},
};

/// What `folder list --json` prints.
#[derive(Debug, Serialize)]
struct FoldersDocument<'a> {
    schema: &'static str,
    folders: Vec<FolderLine<'a>>,
}

/// A folder, in short.
#[derive(Debug, Serialize)]
struct FolderLine<'a> {
    name: &'a str,
    path: &'a str,
    space: &'a str,
    state: State,
    files: u64,
    bytes: u64,
}

impl<'a> From<&'a Folder> for FolderLine<'a> {
    fn from(folder: &'a Folder) -> Self {
        Self {
            name: &folder.name,
            path: &folder.path,
            space: &folder.space,
            state: folder.state,
            files: folder.files,
            bytes: folder.bytes,
        }
    }
}

/// What `folder remove --json` prints.
#[derive(Debug, Serialize)]
struct RemovedDocument<'a> {
    schema: &'static str,
    folder: &'a str,
    path: &'a str,
}

pub(super) async fn list(context: &Context) -> Result<Outcome> {
    let status = context.client().await?.status().await?;
    if context.json {
        let folders = status.folders.iter().map(FolderLine::from).collect();
        output::json(&FoldersDocument { schema: "kith/folders/1", folders })?;
        return Ok(Outcome::Done);
    }
    if status.folders.is_empty() {
        context.note("No folder yet. Share one: kith share DIR");
        return Ok(Outcome::Done);
    }
    let rows = status
        .folders
        .iter()
        .map(|folder| {
            vec![
                Cell::new(name(&folder.name)),
                Cell::new(super::status::in_words(folder)),
                Cell::new(folder.files),
                Cell::new(output::bytes(folder.bytes)),
                Cell::new(name(&folder.path)),
            ]
        })
        .collect();
    output::as_is(&output::table(&["FOLDER", "STATE", "FILES", "SIZE", "PATH"], rows, context.colors))?;
    Ok(Outcome::Done)
}

/// What `folder approve --json` and `folder reject --json` print.
#[derive(Debug, Serialize)]
struct DecidedDocument<'a> {
    schema: &'static str,
    folder: &'a str,
    approved: bool,
    held: Option<Held>,
}

pub(super) async fn decide(context: &Context, asked: Option<&str>, approve: bool) -> Result<Outcome> {
    let client = context.client().await?;
    let status = client.status().await?;
    let folder = match (asked, &status.folders[..]) {
        (Some(asked), _) => pick(&status, asked)?,
        (None, [only]) => only,
        (None, folders) => {
            // With several the one that holds something is meant, if it is one.
            let mut holding = folders.iter().filter(|folder| folder.held.is_some());
            match (holding.next(), holding.next()) {
                (Some(folder), None) => folder,
                (None, _) => return Err(Error::new(Kind::NotFound, "no folder holds anything")),
                (Some(_), Some(_)) => {
                    return Err(Error::new(Kind::Ambiguous, "several folders hold something")
                        .hint("name one of them: kith folder list"));
                }
            }
        }
    };
    if !approve && !context.yes && folder.held.is_some() {
        let question = format!("Undo {} in {}?", super::status::held_in_words(folder), name(&folder.name));
        if !output::confirm(&question).await? {
            return Err(Error::new(Kind::Refused, "nothing was changed"));
        }
    }
    let request = DecideRequest { folder: folder.space.clone(), approve };
    let DecideReply { held } = client.post(api::path::DECIDE, &request).await?;
    if context.json {
        let folder = &folder.name;
        output::json(&DecidedDocument { schema: "kith/decided/1", folder, approved: approve, held })?;
    } else if held.is_none() {
        context.note(&format!("{} holds nothing: there is nothing to decide", name(&folder.name)));
    } else if approve {
        context.note(&format!("approved: {}", super::status::held_in_words(folder)));
    } else {
        let what = super::status::held_in_words(folder);
        context.note(&format!("rejected: {what} undone; what this disk had is kept for 30 days"));
    }
    Ok(Outcome::Done)
}

/// What `folder gone --json` prints.
#[derive(Debug, Serialize)]
struct GoneDocument<'a> {
    schema: &'static str,
    path: &'a str,
    files: usize,
}

pub(super) async fn gone(context: &Context, path: &Path, folder: Option<&str>) -> Result<Outcome> {
    let place = located::find(context, path, folder).await?;
    let path = place.inside()?;
    if !context.yes {
        let what = format!("Delete on every device what was on the disk that was mounted at {}?", place.typed);
        if !output::confirm(&what).await? {
            return Err(Error::new(Kind::Refused, "nothing was changed"));
        }
    }
    let request = PathRequest { folder: place.folder.clone(), path: path.clone() };
    let GoneReply { files } = place.client.post(api::path::GONE, &request).await?;
    if context.json {
        output::json(&GoneDocument { schema: "kith/gone/1", path: &path, files })?;
    } else {
        let files = output::count(files as u64, "file");
        context
            .note(&format!("{files} of {} deleted; other devices keep theirs in history or for 30 days", place.typed));
    }
    Ok(Outcome::Done)
}

pub(super) async fn remove(context: &Context, asked: &str) -> Result<Outcome> {
    let client = context.client().await?;
    let status = client.status().await?;
    let folder = pick(&status, asked)?;
    if !context.yes {
        let question =
            format!("Stop syncing {} on this device? Its files stay in {}.", name(&folder.name), name(&folder.path));
        if !output::confirm(&question).await? {
            return Err(Error::new(Kind::Refused, "nothing was changed"));
        }
    }
    let request = RemoveRequest { folder: folder.name.clone() };
    let Empty {} = client.post(api::path::REMOVE, &request).await?;
    if context.json {
        let document = RemovedDocument { schema: "kith/removed/1", folder: &folder.name, path: &folder.path };
        output::json(&document)?;
    } else {
        context.note(&format!(
            "{} is not synced any more; its files are in {}",
            name(&folder.name),
            name(&folder.path)
        ));
    }
    Ok(Outcome::Done)
}
