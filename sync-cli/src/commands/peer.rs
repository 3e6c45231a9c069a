//! `kith peer`: the other devices, with the folders that we share with each.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Context;
use crate::{
    daemon::api::Folder,
    error::{Outcome, Result},
    output::{self, Cell, name},
};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct PeersDocument<'a> {
    schema: &'static str,
    peers: Vec<PeerLine<'a>>,
}

/// A device, and what we share with it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct PeerLine<'a> {
    device: &'a str,
    name: &'a str,
    connected: bool,
    folders: Vec<&'a str>,
}

pub(super) async fn list(context: &Context) -> Result<Outcome> {
    let status = context.client().await?.status().await?;
    let peers = by_device(&status.folders);
    if context.json {
        output::json(&PeersDocument { schema: "kith/peers/1", peers })?;
        return Ok(Outcome::Done);
    }
    if peers.is_empty() {
        context.note("No other device yet. Invite one: kith share DIR");
        return Ok(Outcome::Done);
    }
    let rows = peers
        .iter()
        .map(|peer| {
            vec![
                Cell::new(name(peer.name)),
                Cell::new(if peer.connected { "✓ connected" } else { "– away" }),
                Cell::new(name(&peer.folders.join(", "))),
                Cell::new(peer.device.get(..10).unwrap_or(peer.device)),
            ]
        })
        .collect();
    output::as_is(&output::table(&["PEER", "STATE", "FOLDERS", "DEVICE"], rows, context.colors))?;
    Ok(Outcome::Done)
}

/// Turns folders with peers into peers with folders, by device id.
fn by_device(folders: &[Folder]) -> Vec<PeerLine<'_>> {
    let mut peers: BTreeMap<&str, PeerLine<'_>> = BTreeMap::new();
    for folder in folders {
        for peer in &folder.peers {
            let line = peers.entry(&peer.device).or_insert_with(|| PeerLine {
                device: &peer.device,
                name: &peer.name,
                connected: false,
                folders: Vec::new(),
            });
            line.connected |= peer.connected;
            line.folders.push(&folder.name);
        }
    }
    peers.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::api::{Peer, State};

    #[test]
    fn a_device_is_listed_once() {
        let folder = |name: &str, connected| Folder {
            name: name.to_owned(),
            path: format!("/{name}"),
            space: "00".to_owned(),
            state: State::UpToDate,
            files: 0,
            bytes: 0,
            commits: 0,
            conflicts: Vec::new(),
            line_conflicts: 0,
            problems: Vec::new(),
            held: None,
            polled: None,
            repairs: Vec::new(),
            peers: vec![Peer { device: "ab".to_owned(), name: "laptop".to_owned(), connected, synced: true }],
            progress: None,
        };
        let folders = [folder("a", false), folder("b", true)];
        let expected = PeerLine { device: "ab", name: "laptop", connected: true, folders: vec!["a", "b"] };
        assert_eq!(by_device(&folders), [expected]);
    }
}
