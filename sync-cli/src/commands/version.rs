//! `kith version`: this program's version, and what it speaks with peers. Asks nobody.

use serde::Serialize;
use sync_net::PROTOCOLS;

use super::Context;
use crate::{
    daemon::api,
    error::{Outcome, Result},
    output,
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct VersionDocument {
    schema: &'static str,
    version: &'static str,
    protocols: &'static [&'static str],
}

pub(super) fn run(context: &Context) -> Result<Outcome> {
    if context.json {
        output::json(&VersionDocument { schema: "kith/version/1", version: api::VERSION, protocols: PROTOCOLS })?;
    } else if context.quiet {
        output::data(api::VERSION)?;
    } else {
        output::data(&format!("kith {}\nprotocols: {}", api::VERSION, PROTOCOLS.join(", ")))?;
    }
    Ok(Outcome::Done)
}
