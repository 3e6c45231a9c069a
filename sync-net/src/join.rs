//! The join protocol: an invite's secret proved over a connection, both sides.

use std::{sync::Arc, time::Duration};

use iroh::{
    Endpoint,
    endpoint::{Connection, ConnectionError, VarInt},
    protocol::{AcceptError, ProtocolHandler},
};
use sync_core::{
    engine::{Command, Outcome, Refused},
    ids::DeviceId,
    member::prove_invite,
    probe::reach,
    wire::{CloseCode, JOIN_ALPN, JoinRequest, JoinResponse},
};
use tracing::{info, warn};

use crate::{actor::EngineHandle, error::NodeError, frames, guests::Guests, invite::Invite, session::device_of};

/// How long either side waits for the other: a person waits at a terminal.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Hears joiners.
#[derive(Debug, Clone)]
pub(crate) struct JoinHandler {
    pub(crate) engine: EngineHandle,
    pub(crate) guests: Arc<Guests>,
}

impl ProtocolHandler for JoinHandler {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        let _guest = self.guests.admit(&connection);
        let code = match tokio::time::timeout(JOIN_TIMEOUT, self.serve(&connection)).await {
            Ok(Some(())) => CloseCode::Shutdown,
            Ok(None) => CloseCode::Malformed,
            Err(_) => CloseCode::Timeout,
        };
        connection.close(VarInt::from_u32(code.to_u32()), code.to_string().as_bytes());
        Ok(())
    }
}

impl JoinHandler {
    async fn serve(&self, connection: &Connection) -> Option<()> {
        let (send, receive) = connection.accept_bi().await.ok()?;
        let request: JoinRequest = frames::read(&mut frames::request_reader(receive)).await?;
        let device = device_of(connection);
        let command = Command::Accept {
            space: request.space,
            invite: request.invite,
            device,
            name: request.name,
            proof: request.proof,
        };
        let response = match self.engine.command(command).await {
            Ok(Outcome::Accepted { space_name, host_name }) => {
                info!(peer = device.short(), "a device joined");
                JoinResponse::Welcome { space_name, host_name }
            }
            Err(NodeError::Refused(Refused::Invite(refusal))) => {
                warn!(peer = device.short(), reason = %refusal, "turned a device away");
                JoinResponse::Refused(refusal)
            }
            Ok(_) | Err(_) => return None,
        };
        let mut writer = frames::writer(send);
        frames::write(&mut writer, &response).await.ok()?;
        writer.get_mut().finish().ok()?;
        // The joiner has the last word, and closes.
        connection.closed().await;
        Some(())
    }
}

/// What the host said of itself.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub(crate) space_name: String,
    pub(crate) host_name: String,
}

/// Asks the host of an invite to take this device in.
pub(crate) async fn join(
    endpoint: &Endpoint,
    own: DeviceId,
    name: &str,
    invite: &Invite,
) -> Result<Welcome, NodeError> {
    let peer = invite.host().id.fmt_short().to_string();
    let unreachable =
        |source: Box<dyn std::error::Error + Send + Sync>| NodeError::Unreachable { peer: peer.clone(), source };
    let timeout = tokio::time::timeout(JOIN_TIMEOUT, async {
        let connection =
            endpoint.connect(invite.host().clone(), JOIN_ALPN).await.map_err(|error| unreachable(error.into()))?;
        let response = ask(&connection, own, name, invite).await;
        let answer = match response {
            Some(response) => Ok(response),
            None => Err(why_closed(&connection, &peer).await),
        };
        connection.close(VarInt::from_u32(CloseCode::Shutdown.to_u32()), b"done");
        answer
    });
    match timeout.await {
        Ok(Ok(JoinResponse::Welcome { space_name, host_name })) => Ok(Welcome { space_name, host_name }),
        Ok(Ok(JoinResponse::Refused(refusal))) => Err(NodeError::Invite(refusal)),
        Ok(Err(error)) => Err(error),
        Err(elapsed) => Err(unreachable(elapsed.into())),
    }
}

async fn ask(connection: &Connection, own: DeviceId, name: &str, invite: &Invite) -> Option<JoinResponse> {
    let (send, receive) = connection.open_bi().await.ok()?;
    let secret = invite.secret();
    let request = JoinRequest {
        space: invite.space(),
        invite: invite.key(),
        name: name.to_owned(),
        proof: prove_invite(&secret, invite.space(), own),
    };
    let mut writer = frames::writer(send);
    frames::write(&mut writer, &request).await.ok()?;
    writer.get_mut().finish().ok()?;
    reach("join.asked");
    let answer = frames::read(&mut frames::request_reader(receive)).await;
    reach("join.welcome");
    answer
}

/// A host with no open invite hangs up without a word, so that strangers learn nothing.
async fn why_closed(connection: &Connection, peer: &str) -> NodeError {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close)
            if close.error_code == VarInt::from_u32(CloseCode::NotAllowed.to_u32()) =>
        {
            NodeError::Rejected(peer.to_owned())
        }
        ConnectionError::ApplicationClosed(_) => NodeError::Protocol { peer: peer.to_owned() },
        error => NodeError::Unreachable { peer: peer.to_owned(), source: error.into() },
    }
}
