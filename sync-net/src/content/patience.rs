//! How long a peer is waited for that says nothing, while others may have the same.
//!
//! A machine that was killed or unplugged closes nothing: its connection counts as open until QUIC gives it up, which takes
//! 15 s from the first heartbeat that nobody answers. Who waits that long for one peer must have nobody else to ask. A slow peer is not silent:
//! its datagrams come. It must not decide whom to ask next.

use std::{io, pin::pin, time::Duration};

use iroh::endpoint::Connection;

/// A peer that sends nothing at all for this long is left for another one. Most hard disks wake up, and most links come
/// back, within it; where nobody else can be asked, the longer bounds of each step hold.
const SILENT_MAX: Duration = Duration::from_secs(3);

/// Whether somebody else could be asked.
pub(super) type Others<'a> = &'a (dyn Fn() -> bool + Sync);

/// Waits for a peer's part of the work, unless it is silent while somebody else could be asked.
///
/// # Cancel safety
/// As that of the work.
pub(super) async fn unless_silent<T>(
    connection: Option<&Connection>,
    others: Others<'_>,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let mut work = pin!(work);
    let heard = || connection.map_or(0, |connection| connection.stats().udp_rx.datagrams);
    let mut before = heard();
    loop {
        if let Ok(done) = tokio::time::timeout(SILENT_MAX, &mut work).await {
            return done;
        }
        let now = heard();
        if now == before && others() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer is silent, and others can be asked"));
        }
        before = now;
    }
}
