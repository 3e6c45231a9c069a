//! The iroh endpoint, its one allow-list, and what a connection may make us hold.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    sync::Arc,
    time::Duration,
};

use iroh::{
    Endpoint, SecretKey,
    address_lookup::memory::MemoryLookup,
    endpoint::{
        AfterHandshakeOutcome, Builder, Connection, EndpointHooks, PortmapperConfig, QuicTransportConfig, RelayMode,
        Side, VarInt, presets,
    },
};
use iroh_mdns_address_lookup::MdnsAddressLookup;
use sync_core::{
    limits,
    wire::{CONTENT_ALPN, CloseCode, JOIN_ALPN, SYNC_ALPN},
};
use tokio::sync::watch;
use tracing::warn;

use crate::{actor::EngineStatus, config::Network, error::NodeError, identity, session::device_of};

/// How often the port of the last time is tried, and the pause between: peers look for us there, and a process that is
/// just ending may still hold it.
const LAST_PORT_TRIES: usize = 20;
/// See [`LAST_PORT_TRIES`].
const LAST_PORT_PAUSE: Duration = Duration::from_millis(50);

/// Lets in members of a common space, and on the join ALPN also anybody else while an invite is open.
#[derive(Debug)]
struct AllowList {
    status: watch::Receiver<Arc<EngineStatus>>,
}

impl EndpointHooks for AllowList {
    async fn after_handshake<'a>(&'a self, connection: &'a Connection) -> AfterHandshakeOutcome {
        // Whom we dialled we chose ourselves, and QUIC has checked that it is the one.
        if connection.side() == Side::Client {
            widen(connection);
            return AfterHandshakeOutcome::Accept;
        }
        let status = self.status.borrow();
        // A member asks to join once more if it lost the answer, or died before it was noted.
        let joins = connection.alpn() == JOIN_ALPN && status.expects_joiners;
        let allowed = joins || status.admitted.binary_search(&device_of(connection)).is_ok();
        if allowed {
            widen(connection);
            return AfterHandshakeOutcome::Accept;
        }
        let alpn = String::from_utf8_lossy(connection.alpn()).into_owned();
        warn!(peer = device_of(connection).short(), alpn, "refused a connection: no member, or no invite is open");
        let code = CloseCode::NotAllowed;
        AfterHandshakeOutcome::Reject {
            error_code: VarInt::from_u32(code.to_u32()),
            reason: code.to_string().into_bytes(),
        }
    }
}

/// What every connection begins with: one stream and a small window, which is all that a joiner ever needs. Datagrams
/// are never read, so none are taken. The window of a stream stays the library's own of 1.25 MB: with 8 MiB one transfer
/// of 200 MB on the loopback address takes 16 s instead of 1 s, since bursts outrun the receiver and the sender takes that
/// for congestion.
fn transport() -> QuicTransportConfig {
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(limits::WINDOW_FIRST_BYTES))
        .datagram_receive_buffer_size(None)
        .build()
}

/// Gives a connection that is allowed what its protocol needs. QUIC leaves open what a whole connection may make us hold.
fn widen(connection: &Connection) {
    let (bidi, uni, window) = match connection.alpn() {
        SYNC_ALPN => (1, 0, limits::WINDOW_SESSION_BYTES),
        CONTENT_ALPN => (limits::CONTENT_STREAMS_MAX, 0, limits::WINDOW_CONTENT_BYTES),
        alpn if alpn == iroh_gossip::ALPN => (1, limits::GOSSIP_STREAMS_MAX, limits::WINDOW_SESSION_BYTES),
        _ => return,
    };
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(bidi));
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(uni));
    connection.set_receive_window(VarInt::from_u32(window));
}

fn builder(network: Network, key: SecretKey, lookup: MemoryLookup) -> Builder {
    let builder = match network {
        Network::Public => {
            Endpoint::builder(presets::N0).address_lookup(MdnsAddressLookup::builder().service_name("kith"))
        }
        Network::Lan => Endpoint::builder(presets::Minimal)
            .relay_mode(RelayMode::Disabled)
            .address_lookup(MdnsAddressLookup::builder().service_name("kith")),
        Network::Loopback => Endpoint::builder(presets::Minimal)
            .relay_mode(RelayMode::Disabled)
            .portmapper_config(PortmapperConfig::Disabled)
            .net_report_config(iroh::NetReportConfig::minimal()),
    };
    builder.secret_key(key).address_lookup(lookup).transport_config(transport()).alpns(vec![
        SYNC_ALPN.to_vec(),
        CONTENT_ALPN.to_vec(),
        JOIN_ALPN.to_vec(),
        iroh_gossip::ALPN.to_vec(),
    ])
}

/// Binds the endpoint, at the port that it had last where that is free.
pub(crate) async fn bind(
    home: &Path,
    network: Network,
    key: SecretKey,
    lookup: MemoryLookup,
    status: watch::Receiver<Arc<EngineStatus>>,
) -> Result<Endpoint, NodeError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| NodeError::Network(error);
    let last = identity::last_port(home);
    let tries = last.map_or(0, |_| LAST_PORT_TRIES);
    let ports = std::iter::repeat_n(last.unwrap_or_default(), tries).chain([0]);
    let mut last_error = None;
    for port in ports {
        let hooks = AllowList { status: status.clone() };
        let mut builder = builder(network, key.clone(), lookup.clone()).hooks(hooks).clear_ip_transports();
        let address = match network {
            Network::Loopback => Ipv4Addr::LOCALHOST,
            Network::Lan | Network::Public => Ipv4Addr::UNSPECIFIED,
        };
        builder = builder.bind_addr(SocketAddrV4::new(address, port)).map_err(|error| failed(error.into()))?;
        match builder.bind().await {
            Ok(endpoint) => {
                if let Some(bound) = endpoint.bound_sockets().first() {
                    identity::remember_port(home, bound.port());
                }
                return Ok(endpoint);
            }
            Err(error) => {
                last_error = Some(error);
                tokio::time::sleep(LAST_PORT_PAUSE).await;
            }
        }
    }
    match last_error {
        Some(error) => Err(failed(error.into())),
        None => Err(NodeError::Stopped),
    }
}
