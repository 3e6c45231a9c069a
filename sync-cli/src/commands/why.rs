//! `kith why`: why a path is as it is.

use std::path::Path;

use serde::Serialize;
use sync_net::history::Why;

use super::{Context, located, log};
use crate::{
    daemon::api::{self, PathRequest},
    error::{Outcome, Result},
    output::{self, name},
    when,
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct WhyDocument<'a> {
    schema: &'static str,
    #[serde(flatten)]
    why: &'a Why,
}

pub(super) async fn run(context: &Context, path: &Path, folder: Option<&str>) -> Result<Outcome> {
    let place = located::find(context, path, folder).await?;
    let request = PathRequest { folder: place.folder.clone(), path: place.inside()? };
    let why: Why = place.client.post(api::path::WHY, &request).await?;
    if context.json {
        output::json(&WhyDocument { schema: "kith/why/1", why: &why })?;
    } else {
        output::data(&text(&why))?;
    }
    Ok(Outcome::Done)
}

fn text(why: &Why) -> String {
    let mut text = format!("{} in {}: {}\n", name(&why.path), name(&why.folder), name(&why.verdict));
    let mut line = |what: &str, words: &str| text.push_str(&format!("\n  {what:<9} {}", name(words)));
    line("disk", &why.disk);
    line("base", &why.base);
    line("commits", &why.tree);
    let optional = [("ignored", &why.ignored), ("problem", &why.problem), ("begun", &why.intent)];
    for (what, words) in optional {
        if let Some(words) = words {
            line(what, words);
        }
    }
    for conflict in &why.conflicts {
        line("conflict", conflict);
    }
    if let Some(decision) = &why.decision {
        line("decided", &format!("{}: {} ({})", decision.action, decision.reason, when::shown(decision.at_ms)));
    }
    if let Some(last) = &why.last {
        let did: Vec<String> = last.changes.iter().map(log::in_words).collect();
        let (rev, at) = (output::short(&last.rev), when::shown(last.at_ms));
        line("last", &format!("{} by {}, {at}, {rev}", did.join(", "), last.by.name));
    }
    for device in &why.devices {
        let words = match device.has.as_str() {
            "on_disk" => "has it on disk",
            "committed" => "has the commits",
            _ => "not known to have it",
        };
        line("device", &format!("{}: {words}", device.name));
    }
    text
}
