//! `kith invite`: makes another invite to a folder.

use std::time::Duration;

use serde::Serialize;

use super::{Context, folder_name};
use crate::{
    cli::Offer,
    daemon::api::{self, InviteReply, InviteRequest},
    duration,
    error::{Outcome, Result},
    output,
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct InviteDocument<'a> {
    schema: &'static str,
    folder: &'a str,
    invite: &'a str,
    role: &'a str,
    expires: &'a str,
}

pub(super) async fn run(context: &Context, folder: &str, offer: &Offer) -> Result<Outcome> {
    let request =
        InviteRequest { folder: folder_name(folder)?, role: offer.role.to_string(), life_ms: offer.life_ms() };
    let reply: InviteReply = context.client().await?.post(api::path::INVITE, &request).await?;
    if context.json {
        output::json(&InviteDocument {
            schema: "kith/invite/1",
            folder: &reply.folder,
            invite: &reply.invite,
            role: &reply.role,
            expires: &reply.expires,
        })?;
        return Ok(Outcome::Done);
    }
    // The invite alone on stdout, so that it can be piped; the rest is for people.
    output::data(&reply.invite)?;
    let life = duration::in_words(Duration::from_millis(reply.life_ms));
    context.note(&format!("One device can join as {} with it, within {life}: kith join INVITE DIR", reply.role));
    Ok(Outcome::Done)
}
