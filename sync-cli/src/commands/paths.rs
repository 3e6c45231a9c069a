//! `kith paths`: where state is kept. Asks nobody, and makes nothing.

use std::path::Path;

use serde::Serialize;

use super::{Context, as_text};
use crate::{
    error::{Outcome, Result},
    output,
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct PathsDocument {
    schema: &'static str,
    home: String,
    socket: String,
    store: String,
    log: String,
}

pub(super) fn run(context: &Context) -> Result<Outcome> {
    let config = &context.config;
    let (socket, store, log) = (config.socket(), config.store(), config.log());
    if context.json {
        output::json(&PathsDocument {
            schema: "kith/paths/1",
            home: as_text(&config.home)?,
            socket: as_text(&socket)?,
            store: as_text(&store)?,
            log: as_text(&log)?,
        })?;
    } else {
        let line = |name: &str, path: &Path| format!("{name:<7} {}", output::name(&path.to_string_lossy()));
        let lines = [line("home", &config.home), line("socket", &socket), line("store", &store), line("log", &log)];
        output::data(&lines.join("\n"))?;
    }
    Ok(Outcome::Done)
}
