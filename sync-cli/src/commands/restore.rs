//! `kith restore`: a file or directory as it was, in its place or elsewhere.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use serde::Serialize;
use sync_net::history::{Content, Kept, Restored, When};

use super::{Context, located::Place, log};
use crate::{
    daemon::api::{self, PathRequest, RestoreRequest},
    error::{Error, Kind, Outcome, Result},
    output,
};

/// Bytes that are copied at once.
const COPY_BYTES: usize = 64 * 1024;
/// Paths that people are shown.
const LISTED_MAX: usize = 20;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct RestoreDocument<'a> {
    schema: &'static str,
    #[serde(flatten)]
    restored: &'a Restored,
}

/// What `--list --json` prints.
#[derive(Debug, Serialize)]
struct KeptDocument<'a> {
    schema: &'static str,
    kept: &'a [Kept],
}

/// What `--output FILE --json` prints.
#[derive(Debug, Serialize)]
struct OutputDocument<'a> {
    schema: &'static str,
    path: &'a str,
    bytes: u64,
    hash: &'a str,
}

pub(super) async fn run(context: &Context, place: &Place, to: Option<When>) -> Result<Outcome> {
    let request = RestoreRequest { folder: place.folder.clone(), path: place.inside()?, to };
    let restored: Restored = place.client.post(api::path::RESTORE, &request).await?;
    let refused = restored.paths.iter().filter(|path| path.outcome == "refused").count();
    if context.json {
        output::json(&RestoreDocument { schema: "kith/restore/1", restored: &restored })?;
    } else {
        say(context, place, &restored);
    }
    Ok(if refused > 0 { Outcome::Exit(Kind::Problems) } else { Outcome::Done })
}

fn say(context: &Context, place: &Place, restored: &Restored) {
    let count = |outcome: &str| restored.paths.iter().filter(|path| path.outcome == outcome).count() as u64;
    let typed = &place.typed;
    match (count("restored"), count("same"), restored.paths.len()) {
        (1, _, 1) => context.note(&format!("{typed} is as it was then. Not what you wanted? kith log {typed}")),
        (0, 1, 1) => context.note(&format!("{typed} is so already")),
        (back, same, _) => {
            context.note(&format!("{typed}: {} restored, {same} the same", output::count(back, "path")));
        }
    }
    let refused = restored.paths.iter().filter_map(|path| Some((&path.path, path.reason.as_ref()?)));
    for (path, reason) in refused.take(LISTED_MAX) {
        output::note(&format!("not restored: {}: {}", output::name(path), output::name(reason)));
    }
}

/// Lists what is kept on this device only.
pub(super) async fn list(context: &Context, place: &Place) -> Result<Outcome> {
    let request = PathRequest { folder: place.folder.clone(), path: place.path.clone() };
    let kept: Vec<Kept> = place.client.post(api::path::KEPT, &request).await?;
    if context.json {
        output::json(&KeptDocument { schema: "kith/kept/1", kept: &kept })?;
    } else if kept.is_empty() {
        context.note(&format!("nothing of {} is kept beside what history has: kith log", place.typed));
    } else {
        output::as_is(&log::kept_text(&kept, context.colors))?;
        context.note("Bring one back: kith restore PATH --to CONTENT");
    }
    Ok(Outcome::Done)
}

/// Writes the bytes elsewhere.
pub(super) async fn print(context: &Context, place: &Place, to: Option<When>, file_name: &Path) -> Result<Outcome> {
    let path = place.inside()?;
    let request = RestoreRequest { folder: place.folder.clone(), path: path.clone(), to };
    let content: Content = place.client.post(api::path::CONTENT, &request).await?;
    let failed =
        |error: io::Error| Error::from_io(Kind::Failed, format!("cannot write {}", file_name.display()), &error);
    if file_name == Path::new("-") {
        match copy(&content, &mut io::stdout().lock()) {
            // Nobody reads any more, which is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(failed)?,
        }
        return Ok(Outcome::Done);
    }
    let mut file = File::create_new(file_name).map_err(|error| {
        let error = failed(error);
        if file_name.exists() { error.hint("choose a name that is free: it is never overwritten") } else { error }
    })?;
    copy(&content, &mut file).and_then(|()| file.sync_all()).map_err(failed)?;
    if context.json {
        let document =
            OutputDocument { schema: "kith/restore-output/1", path: &path, bytes: content.len, hash: &content.hash };
        output::json(&document)?;
    } else {
        let file = file_name.to_string_lossy();
        context.note(&format!("{} of {} are in {}", output::bytes(content.len), place.typed, output::name(&file)));
    }
    Ok(Outcome::Done)
}

fn copy(content: &Content, to: &mut dyn Write) -> io::Result<()> {
    if let Some(bytes) = &content.bytes {
        to.write_all(bytes)?;
        return to.flush();
    }
    let file = content.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let mut file = File::open(file)?.take(content.len);
    let mut buffer = vec![0; COPY_BYTES];
    let mut copied = 0;
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        to.write_all(bytes)?;
        copied += read as u64;
    }
    if copied < content.len {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file that holds the bytes changed meanwhile"));
    }
    to.flush()
}
