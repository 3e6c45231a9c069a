//! `kith share`: makes a directory a folder, and prints an invite to it.

use std::{path::Path, time::Duration};

use serde::Serialize;
use sync_net::Network;

use super::{Context, absolute, as_text, rails::check_place};
use crate::{
    cli::Offer,
    daemon::api::{self, Folder, ShareReply, ShareRequest, State},
    duration,
    error::{Error, Kind, Outcome, Result},
    output::{self, shell_word},
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct ShareDocument<'a> {
    schema: &'static str,
    folder: &'a str,
    space: &'a str,
    invite: &'a str,
}

impl<'a> ShareDocument<'a> {
    fn new(reply: &'a ShareReply) -> Self {
        Self { schema: "kith/share/1", folder: &reply.folder, space: &reply.space, invite: &reply.invite }
    }
}

pub(super) async fn run(
    context: &Context,
    dir: &Path,
    name: Option<String>,
    force: bool,
    offer: &Offer,
) -> Result<Outcome> {
    check_directory(dir)?;
    let dir = absolute(dir)?;
    // One that is shared already only gets another invite.
    if !is_shared(context, &dir).await {
        check_place(&dir, force)?;
    }
    let request = ShareRequest { dir: as_text(&dir)?, name, role: offer.role.to_string(), life_ms: offer.life_ms() };
    let client = context.client_or_start().await?;
    let reply: ShareReply = client.post(api::path::SHARE, &request).await?;
    if context.json {
        output::json(&ShareDocument::new(&reply))?;
    } else if context.quiet {
        output::data(&reply.invite)?;
    } else {
        // The daemon may have been started with another network than this command would take.
        let status = client.status().await?;
        let folder = status.folders.iter().find(|folder| folder.name == reply.folder);
        output::data(&explain(&reply, folder, offer, &status.network))?;
    }
    Ok(Outcome::Done)
}

/// Whether a daemon that runs has this directory as a folder.
async fn is_shared(context: &Context, dir: &Path) -> bool {
    let Ok(client) = context.client().await else { return false };
    let status = client.status().await;
    status.is_ok_and(|status| status.folders.iter().any(|folder| Path::new(&folder.path) == dir))
}

/// Refuses what is no directory before a daemon is started for it.
fn check_directory(dir: &Path) -> Result<()> {
    match std::fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Error::new(Kind::Invalid, format!("{} is not a directory", dir.display()))
            .hint("share the directory that it is in")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(Kind::NotFound, format!("there is no directory {}", dir.display()))
                .hint(format!("make it first: mkdir -p {}", shell_word(&dir.to_string_lossy()))))
        }
        Err(error) => Err(Error::from_io(Kind::Failed, format!("cannot look at {}", dir.display()), &error)),
    }
}

/// What people read after sharing.
fn explain(reply: &ShareReply, folder: Option<&Folder>, offer: &Offer, network: &str) -> String {
    let what = match folder {
        Some(folder) if folder.state == State::Syncing => "reading what is in it".to_owned(),
        Some(folder) => format!("{}, {}", output::count(folder.files, "file"), output::bytes(folder.bytes)),
        None => "reading what is in it".to_owned(),
    };
    let life = duration::in_words(Duration::from_millis(reply.life_ms));
    let (flags, remark) = if network == Network::default().to_string() {
        (String::new(), String::new())
    } else {
        (
            format!(" --network {network}"),
            format!("This device runs with --network {network}; the other one has to as well.\n"),
        )
    };
    format!(
        "Sharing {name} ({what})\n  {path}\n\n\
         On the other machine run:\n\n  kith{flags} join {invite} {dir}\n\n\
         The invite lets one device join as {role}, within {life}. Send it as you would send a password.\n{remark}\
         The daemon goes on in the background; see how it is: kith status",
        name = output::name(&reply.folder),
        path = output::name(&reply.path),
        invite = reply.invite,
        dir = shell_word(&reply.folder),
        role = offer.role,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> ShareReply {
        ShareReply {
            folder: "my notes".to_owned(),
            space: "00ff".to_owned(),
            path: "/home/a/my notes".to_owned(),
            invite: "kithabc".to_owned(),
            life_ms: 86_400_000,
        }
    }

    #[test]
    fn document_has_its_shape() {
        let document = serde_json::to_value(ShareDocument::new(&reply())).ok();
        let expected = serde_json::json!({
            "schema": "kith/share/1", "folder": "my notes", "space": "00ff", "invite": "kithabc",
        });
        assert_eq!(document, Some(expected));
    }

    #[test]
    fn people_get_the_command_for_the_other_machine() {
        let offer = Offer { role: sync_net::Role::Writer, expires: None };
        let text = explain(&reply(), None, &offer, "public");
        assert!(text.contains("\n  kith join kithabc 'my notes'\n"), "{text}");
        assert!(text.contains("within 24 hours"), "{text}");
        let text = explain(&reply(), None, &offer, "loopback");
        assert!(text.contains("\n  kith --network loopback join kithabc 'my notes'\n"), "{text}");
    }
}
