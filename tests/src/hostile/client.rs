//! An endpoint of its own, connections by ALPN, streams, raw bytes and frames, and the codes with which a victim closes.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use iroh::{
    Endpoint, EndpointAddr, NetReportConfig,
    endpoint::{Connection, ConnectionError, PortmapperConfig, RecvStream, RelayMode, SendStream, VarInt, presets},
};
use sync_core::{
    commit::SecretKey,
    ids::DeviceId,
    wire::{self, CloseCode, Message},
};

/// How long anything may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// Waits for something within [`DEADLINE`].
///
/// # Panics
/// When it takes longer.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// A device that dials whom it likes.
#[derive(Debug)]
pub struct Client {
    /// Its connections come from here.
    pub endpoint: Endpoint,
    /// Its identity.
    pub key: SecretKey,
}

impl Client {
    /// Binds an endpoint that accepts nothing.
    pub async fn bind(seed: [u8; 32]) -> Self {
        Self::serving(seed, &[]).await
    }

    /// Binds an endpoint that accepts connections on these ALPNs.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn serving(seed: [u8; 32], alpns: &[&[u8]]) -> Self {
        let endpoint = Endpoint::builder(presets::Minimal)
            .relay_mode(RelayMode::Disabled)
            .portmapper_config(PortmapperConfig::Disabled)
            .net_report_config(NetReportConfig::minimal())
            .secret_key(iroh::SecretKey::from_bytes(&seed))
            .alpns(alpns.iter().map(|alpn| alpn.to_vec()).collect())
            .clear_ip_transports()
            .bind_addr(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
            .expect("an address")
            .bind()
            .await
            .expect("binds");
        Self { endpoint, key: SecretKey::from_bytes(&seed) }
    }

    /// Its id.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.key.device()
    }

    /// Dials; the connection may be refused at once.
    ///
    /// # Panics
    /// When there is no connection at all.
    pub async fn dial(&self, to: &EndpointAddr, alpn: &[u8]) -> Connection {
        self.try_dial(to, alpn).await.unwrap_or_else(|error| panic!("no connection: {error}"))
    }

    /// Dials, or says why there is no connection.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn try_dial(&self, to: &EndpointAddr, alpn: &[u8]) -> Result<Connection, String> {
        within("a handshake", self.endpoint.connect(to.clone(), alpn)).await.map_err(|error| error.to_string())
    }

    /// Dials and opens one stream.
    pub async fn open(&self, to: &EndpointAddr, alpn: &[u8]) -> Wire {
        Wire::open(self.dial(to, alpn).await).await
    }
}

/// A connection with one stream.
#[derive(Debug)]
pub struct Wire {
    /// The connection.
    pub connection: Connection,
    /// What goes out.
    pub send: SendStream,
    /// What comes in.
    pub receive: RecvStream,
}

impl Wire {
    /// Opens a stream; the other side hears of it with the first byte.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn open(connection: Connection) -> Self {
        let (send, receive) = within("a stream", connection.open_bi()).await.expect("the connection is up");
        Self { connection, send, receive }
    }

    /// Sends bytes as they are; what a victim that has closed no longer takes is lost.
    pub async fn raw(&mut self, bytes: &[u8]) {
        let _closed = within("a write", self.send.write_all(bytes)).await;
    }

    /// Sends a frame with its right length.
    pub async fn frame(&mut self, body: &[u8]) {
        self.raw(&framed(body)).await;
    }

    /// Sends a message, however long it is.
    ///
    /// # Panics
    /// Never: messages are plain data.
    pub async fn say(&mut self, message: &Message) {
        self.frame(&postcard::to_stdvec(message).expect("plain data")).await;
    }

    /// The next frame; `None` when there are no more.
    pub async fn hear(&mut self) -> Option<Vec<u8>> {
        within("a frame", async {
            let mut length = [0; 3];
            self.receive.read_exact(&mut length).await.ok()?;
            let mut body = vec![0; length.iter().fold(0, |len, byte| len << 8 | usize::from(*byte))];
            self.receive.read_exact(&mut body).await.ok()?;
            Some(body)
        })
        .await
    }

    /// The next message of the sync protocol that is what `wanted` says.
    ///
    /// # Panics
    /// When the stream ends before.
    pub async fn hear_until<T>(&mut self, what: &str, mut wanted: impl FnMut(Message) -> Option<T>) -> T {
        loop {
            let frame = self.hear().await.unwrap_or_else(|| panic!("closed, and no {what}"));
            let message = wire::decode(&frame).expect("an honest peer sends messages");
            if let Some(found) = wanted(message) {
                return found;
            }
        }
    }

    /// Checks the code with which the victim ends the connection.
    ///
    /// # Panics
    /// When it does not, or with another.
    pub async fn ends_with(&self, what: &str, code: CloseCode) {
        ends_with(&self.connection, what, code).await;
    }

    /// Goes, as a peer does that is done.
    pub fn leave(self) {
        self.connection.close(VarInt::from_u32(0), b"done");
    }
}

/// A frame with its right length.
#[must_use]
pub fn framed(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&length[1..], body].concat()
}

/// Why a victim ended a connection: its code and its words.
///
/// # Panics
/// When it does not in time, or not on purpose.
pub async fn ended(connection: &Connection, what: &str) -> (u64, Vec<u8>) {
    match within(what, connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => (close.error_code.into_inner(), close.reason.to_vec()),
        error => panic!("{what}: {error}"),
    }
}

/// Checks the code with which a victim ends a connection.
///
/// # Panics
/// When it does not, or with another.
pub async fn ends_with(connection: &Connection, what: &str, code: CloseCode) {
    let (found, reason) = ended(connection, what).await;
    assert_eq!(found, u64::from(code.to_u32()), "{what}: closed with {}", String::from_utf8_lossy(&reason));
}
