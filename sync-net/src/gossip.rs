//! Announcements on gossip: one topic a space. A hint only; everything must converge with it switched off.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use iroh::{
    EndpointId,
    endpoint::Connection,
    protocol::{AcceptError, ProtocolHandler},
};
use iroh_gossip::{
    api::{Event, GossipReceiver, GossipSender},
    net::Gossip,
    proto::TopicId,
};
use sync_core::{
    engine::Input,
    ids::{DeviceId, SpaceId},
};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::{
    actor::{Announced, EngineHandle},
    guests::Guests,
};

/// How often topics without neighbours look for members again: gossip does not heal a split by itself.
const REJOIN_EVERY: Duration = Duration::from_secs(30);

/// Hands connections to gossip, which itself takes as many as anybody opens.
#[derive(Debug, Clone)]
pub(crate) struct GossipHandler {
    pub(crate) gossip: Gossip,
    pub(crate) guests: Arc<Guests>,
    pub(crate) tasks: TaskTracker,
}

impl ProtocolHandler for GossipHandler {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        let guest = self.guests.admit(&connection);
        let closed = connection.weak_handle().closed();
        self.tasks.spawn(async move {
            closed.await;
            drop(guest);
        });
        ProtocolHandler::accept(&self.gossip, connection).await
    }

    async fn shutdown(&self) {
        ProtocolHandler::shutdown(&self.gossip).await;
    }
}

struct Topic {
    sender: GossipSender,
    members: BTreeSet<DeviceId>,
}

/// Runs gossip for all spaces until the node stops.
pub(crate) async fn run(
    gossip: Gossip,
    engine: EngineHandle,
    own: DeviceId,
    mut announced: Announced,
    tasks: TaskTracker,
) {
    let mut topics: BTreeMap<SpaceId, Topic> = BTreeMap::new();
    let mut status = engine.status();
    status.mark_changed();
    let mut rejoin = tokio::time::interval(REJOIN_EVERY);
    loop {
        tokio::select! {
            announcement = announced.recv() => {
                let Some((space, payload)) = announcement else { return };
                if let Some(topic) = topics.get(&space)
                    && let Err(error) = topic.sender.broadcast(Bytes::from(payload)).await
                {
                    debug!(%error, "an announcement was not sent");
                }
            }
            changed = status.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = status.borrow_and_update().clone();
                let spaces: BTreeSet<SpaceId> = now.spaces.iter().map(|space| space.space).collect();
                topics.retain(|space, _| spaces.contains(space));
                for space in &now.spaces {
                    let members: BTreeSet<DeviceId> = space
                        .peers
                        .iter()
                        .map(|peer| peer.device)
                        .chain(space.bootstrap.iter().copied())
                        .filter(|device| *device != own)
                        .collect();
                    follow(&gossip, &engine, &tasks, &mut topics, space.space, members).await;
                }
            }
            _ = rejoin.tick() => {
                for topic in topics.values() {
                    join(&topic.sender, &topic.members).await;
                }
            }
        }
    }
}

/// Subscribes to a space's topic, or brings new members to it.
async fn follow(
    gossip: &Gossip,
    engine: &EngineHandle,
    tasks: &TaskTracker,
    topics: &mut BTreeMap<SpaceId, Topic>,
    space: SpaceId,
    members: BTreeSet<DeviceId>,
) {
    if let Some(topic) = topics.get_mut(&space) {
        let new: BTreeSet<DeviceId> = members.difference(&topic.members).copied().collect();
        join(&topic.sender, &new).await;
        topic.members = members;
        return;
    }
    match gossip.subscribe(TopicId::from_bytes(space.topic()), endpoint_ids(&members)).await {
        Ok(topic) => {
            let (sender, receiver) = topic.split();
            tasks.spawn(listen(engine.clone(), space, receiver));
            topics.insert(space, Topic { sender, members });
        }
        Err(error) => debug!(%error, "gossip is not there"),
    }
}

async fn join(sender: &GossipSender, members: &BTreeSet<DeviceId>) {
    if !members.is_empty()
        && let Err(error) = sender.join_peers(endpoint_ids(members)).await
    {
        debug!(%error, "members were not brought to gossip");
    }
}

fn endpoint_ids(members: &BTreeSet<DeviceId>) -> Vec<EndpointId> {
    members.iter().filter_map(|device| EndpointId::from_bytes(&device.0).ok()).collect()
}

async fn listen(engine: EngineHandle, space: SpaceId, mut receiver: GossipReceiver) {
    while let Some(event) = receiver.next().await {
        match event {
            Ok(Event::Received(message)) => {
                engine.send(Input::Announcement { space, bytes: message.content.to_vec() }).await;
            }
            Ok(Event::Lagged) => engine.send(Input::Missed { space }).await,
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
