//! One connection on the sync ALPN: frames in, frames out, and who keeps which of two connections.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::SinkExt as _;
use iroh::endpoint::{Connection, RecvStream, SendStream, Side, VarInt};
use sync_core::{
    engine::{Command, Input, SessionId},
    ids::DeviceId,
    limits,
    wire::{CloseCode, FRAME_LENGTH_BYTES},
};
use tokio::sync::mpsc;
use tracing::{debug, info};

use crate::{
    actor::{EngineHandle, Outgoing, lock},
    clock::Clock,
    frames,
};

/// Frames that wait for the stream: commits are bounded by bytes before, the rest are small and few.
pub(crate) const FRAMES_WAITING_MAX: usize = 256;

/// Two connections made within this time were dialled from both sides at once.
const SAME_TIME_MS: u64 = 1_000;

/// How long what waits for a session that ends may still be sent: its last frame says why.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// The sessions that are up, and what they have moved.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    up: Mutex<BTreeMap<DeviceId, Up>>,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) frames_sent: AtomicU64,
}

#[derive(Debug)]
struct Up {
    session: SessionId,
    connection: Connection,
    since_ms: u64,
    /// The connection on which we fetch contents from this peer. It ends with the session: once a peer that was killed
    /// is here again, nothing waits any longer for answers of the one that is gone.
    contents: Option<Connection>,
}

impl Up {
    fn close(&self, code: CloseCode) {
        for connection in self.contents.iter().chain([&self.connection]) {
            close(connection, code);
        }
    }
}

pub(crate) fn device_of(connection: &Connection) -> DeviceId {
    DeviceId(*connection.remote_id().as_bytes())
}

fn close(connection: &Connection, code: CloseCode) {
    connection.close(VarInt::from_u32(code.to_u32()), code.to_string().as_bytes());
}

impl Sessions {
    /// Whether a peer is here.
    pub(crate) fn is_up(&self, device: &DeviceId) -> bool {
        lock(&self.up).contains_key(device)
    }

    /// The devices that are here.
    pub(crate) fn devices(&self) -> Vec<DeviceId> {
        lock(&self.up).keys().copied().collect()
    }

    /// Keeps one of two connections to a peer, the same on both sides. A peer dials only when it has none: one that dials
    /// although we have had a connection for a while has lost that one. Of two made at the same time the one that the
    /// smaller id dialled stays.
    fn keep(&self, own: DeviceId, now_ms: u64, session: SessionId, connection: &Connection) -> bool {
        let peer = device_of(connection);
        let dialled_by_smaller = |connection: &Connection| (connection.side() == Side::Client) == (own < peer);
        let mut up = lock(&self.up);
        if let Some(held) = up.get(&peer) {
            let alive = held.connection.close_reason().is_none();
            let same_time = now_ms < held.since_ms + SAME_TIME_MS;
            if alive && same_time && dialled_by_smaller(&held.connection) && !dialled_by_smaller(connection) {
                return false;
            }
            held.close(CloseCode::Duplicate);
        }
        up.insert(peer, Up { session, connection: connection.clone(), since_ms: now_ms, contents: None });
        true
    }

    /// The session with a peer, its connection, and that for contents that goes with it if there is one that is open.
    pub(crate) fn contents(&self, peer: &DeviceId) -> Option<(SessionId, Connection, Option<Connection>)> {
        let up = lock(&self.up);
        let held = up.get(peer)?;
        let open = held.contents.as_ref().filter(|connection| connection.close_reason().is_none());
        Some((held.session, held.connection.clone(), open.cloned()))
    }

    /// Ties a connection for contents to a session; one whose session is over by now ends with it.
    pub(crate) fn tie_contents(&self, peer: &DeviceId, session: SessionId, connection: &Connection) {
        match lock(&self.up).get_mut(peer).filter(|held| held.session == session) {
            Some(held) => held.contents = Some(connection.clone()),
            None => close(connection, CloseCode::Shutdown),
        }
    }

    fn forget(&self, peer: &DeviceId, session: SessionId) {
        let mut up = lock(&self.up);
        if up.get(peer).is_some_and(|held| held.session == session)
            && let Some(held) = up.remove(peer)
        {
            held.close(CloseCode::Shutdown);
        }
    }

    /// Ends all sessions.
    pub(crate) fn close_all(&self) {
        for up in lock(&self.up).values() {
            up.close(CloseCode::Shutdown);
        }
    }
}

/// Runs a connection until it ends.
pub(crate) async fn run(
    engine: EngineHandle,
    sessions: Arc<Sessions>,
    own: DeviceId,
    clock: Clock,
    connection: Connection,
) {
    let peer = device_of(&connection);
    let (session, outgoing) = engine.open_session();
    if !sessions.keep(own, clock.mono_ms(), session, &connection) {
        close(&connection, CloseCode::Duplicate);
        engine.close_session(session).await;
        return;
    }
    remember(&engine, &connection, peer).await;
    let mut spoke = Spoke { peer, spoke: false };
    if let Some(streams) = streams(&connection).await {
        engine.send(Input::SessionUp { session, peer }).await;
        if let Some(code) = exchange(&engine, &sessions, session, outgoing, streams, &mut spoke).await {
            close(&connection, code);
        }
    }
    close(&connection, CloseCode::Shutdown);
    sessions.forget(&peer, session);
    engine.close_session(session).await;
    if spoke.spoke {
        info!(peer = peer.short(), "session is down");
    } else {
        debug!(peer = peer.short(), reason = ?connection.close_reason(), "a connection ended before the peer said anything");
    }
}

/// Whether a peer has said anything yet: a session is up from then on. One that does not let us in, or holds another
/// connection for alive, ends it before.
#[derive(Debug)]
struct Spoke {
    peer: DeviceId,
    spoke: bool,
}

impl Spoke {
    fn note(&mut self) {
        if !self.spoke {
            self.spoke = true;
            info!(peer = self.peer.short(), "session is up");
        }
    }
}

/// The one stream of a session. A peer that dialled and opens none is closed, as is one that opens it and says nothing.
async fn streams(connection: &Connection) -> Option<(SendStream, RecvStream)> {
    if connection.side() == Side::Client {
        return connection.open_bi().await.ok();
    }
    // The stream shows with the peer's first frame, and ours need not wait for it.
    let hello = Duration::from_millis(limits::HELLO_TIMEOUT_MS);
    match tokio::time::timeout(hello, connection.accept_bi()).await {
        Ok(streams) => streams.ok(),
        Err(_) => {
            close(connection, CloseCode::Timeout);
            None
        }
    }
}

/// Frames both ways until one side ends; says with which code to close, where there is a reason.
async fn exchange(
    engine: &EngineHandle,
    sessions: &Sessions,
    session: SessionId,
    outgoing: Outgoing,
    (send, receive): (SendStream, RecvStream),
    spoke: &mut Spoke,
) -> Option<CloseCode> {
    let Outgoing { frames: outgoing, waiting_bytes, mut end } = outgoing;
    let reason = end.clone();
    let ended = async { end.wait_for(Option::is_some).await.ok().and_then(|code| *code) };
    let write = write(engine, sessions, session, outgoing, &waiting_bytes, frames::writer(send));
    tokio::pin!(write);
    tokio::select! {
        code = ended => {
            // A peer that reads nothing must not keep the session by that.
            let _cut_short = tokio::time::timeout(CLOSE_GRACE, &mut write).await;
            code
        }
        // Where the engine ends a session, its queue ends as well, and that may show first.
        () = &mut write => *reason.borrow(),
        code = read(engine, sessions, session, frames::reader(receive), spoke) => code.or(*reason.borrow()),
    }
}

/// Remembers where a peer was met, for the next time.
async fn remember(engine: &EngineHandle, connection: &Connection, peer: DeviceId) {
    let addresses: Vec<_> = connection.paths().iter().map(|path| path.remote_addr().clone()).collect();
    if let Ok(addresses) = postcard::to_stdvec(&addresses) {
        let command = Command::MetPeer { device: peer, addresses };
        if let Err(error) = engine.command(command).await {
            debug!(%error, "an address was not remembered");
        }
    }
}

async fn write(
    engine: &EngineHandle,
    sessions: &Sessions,
    session: SessionId,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    waiting_bytes: &AtomicUsize,
    mut frames: frames::FrameWriter,
) {
    while let Some(frame) = outgoing.recv().await {
        let bytes = frame.len();
        if frames.send(Bytes::from(frame)).await.is_err() {
            return;
        }
        waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        sessions.bytes_sent.fetch_add((bytes + FRAME_LENGTH_BYTES) as u64, Ordering::Relaxed);
        sessions.frames_sent.fetch_add(1, Ordering::Relaxed);
        engine.send(Input::Written { session, bytes }).await;
    }
}

/// Reads until the stream ends; says with which code to close, where the fault is the peer's.
async fn read(
    engine: &EngineHandle,
    sessions: &Sessions,
    session: SessionId,
    mut frames: frames::FrameReader,
    spoke: &mut Spoke,
) -> Option<CloseCode> {
    while let Some(frame) = frames.next().await {
        match frame {
            Ok(frame) => {
                spoke.note();
                let bytes = (frame.len() + FRAME_LENGTH_BYTES) as u64;
                sessions.bytes_received.fetch_add(bytes, Ordering::Relaxed);
                engine.send_frame(session, frame).await;
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Some(CloseCode::FrameTooBig),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Some(CloseCode::Timeout),
            Err(_) => return None,
        }
    }
    None
}
