//! Sending what peers lack: walks our order of arrival for each link, in frames, within the window of the session.

use super::{Effect, Engine, EngineError, Now, SessionId, session::Link, space::Space};
use crate::{
    commit::Signed,
    ids::DeviceId,
    limits,
    probe::{Plant, planted},
    store::{StoreError, Tables},
    version::{Tip, VersionVector},
    wire::{self, Message},
};

impl Engine {
    /// Sends what peers lack, acknowledges what came in, tells the folder.
    pub(super) fn pump_all(&mut self, tables: &mut Tables<'_>, now: Now) -> Result<(), EngineError> {
        let handles: Vec<u32> = self.spaces.keys().copied().collect();
        for handle in handles {
            self.report(handle);
            self.end_silence(handle);
            self.ask_for_wanted(now, handle);
            let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
            for session in sessions {
                self.pump(tables, now, session, handle)?;
            }
            let space = self.spaces.get_mut(&handle).expect("from the keys");
            if std::mem::take(&mut space.wrote) && space.losing.is_empty() {
                self.announce(tables, handle)?;
            }
        }
        Ok(())
    }

    /// After commits of others came in: `Durable` to everybody, and `Changed` to the host.
    fn report(&mut self, handle: u32) {
        let space = self.spaces.get_mut(&handle).expect("from the keys");
        let docs = std::mem::take(&mut space.changed);
        if !std::mem::take(&mut space.received) {
            return;
        }
        let message = durable(space, self.device);
        let changed = Effect::Changed { space: space.row.id, docs, arrivals: space.row.arrivals };
        self.tell_greeted(handle, &message);
        self.effects.push(changed);
    }

    fn pump(&mut self, tables: &Tables<'_>, now: Now, session: SessionId, handle: u32) -> Result<(), EngineError> {
        let space = &self.spaces[&handle];
        let Some(state) = self.sessions.get_mut(&session) else {
            return Ok(());
        };
        let Some(link) = state.links.get_mut(&handle) else {
            return Ok(());
        };
        let waits = link.hold_until.is_some_and(|until| now.mono_ms < until);
        // A commit of our own is news to everybody: it goes at once, with whatever is before it.
        if link.quiet || (waits && !space.wrote) || !space.losing.is_empty() {
            return Ok(());
        }
        link.hold_until = None;
        let mut shared = 0;
        while link.cursor < space.row.arrivals && state.in_flight < limits::SESSION_WINDOW_BYTES {
            let (commits, own) = next_frame(space, tables, link)?;
            shared = shared.max(own);
            if commits.is_empty() {
                // A stretch that the peer has already.
                continue;
            }
            let message = Message::Commits { space: space.row.id.tag(self.device), commits };
            let frame = wire::encode(&message);
            state.in_flight += frame.len();
            self.effects.push(Effect::Send { session, frame });
        }
        let told = state.told.entry(handle).or_default();
        *told = (*told).max(shared);
        if link.cursor >= space.row.arrivals {
            link.live = true;
            // What the peer had of our own log before we sent it came by others; that we have it nobody has told.
            if *told < space.own_len() {
                *told = space.own_len();
                let frame = wire::encode(&durable(space, self.device));
                self.effects.push(Effect::Send { session, frame });
            }
        }
        self.share(handle, shared);
        Ok(())
    }

    /// Notes, with this turn, how much of our own log leaves the machine.
    pub(super) fn share(&mut self, handle: u32, n: u64) {
        let space = self.spaces.get_mut(&handle).expect("the caller sends of it");
        if n > space.row.shared {
            space.row.shared = n;
            space.dirty = true;
            self.dirty = true;
        }
    }
}

/// What a device has on its disk, and whether its folder agrees.
fn durable(space: &Space, device: DeviceId) -> Message {
    Message::Durable { space: space.row.id.tag(device), vector: space.vector.clone(), settled: space.settled }
}

/// The first place in our order of arrival that the peer may lack.
pub(super) fn first_missing(space: &Space, tables: &Tables<'_>, theirs: &VersionVector) -> Result<u64, StoreError> {
    let mut first = space.row.arrivals;
    if planted(Plant::ResendAll) {
        return Ok(0);
    }
    for range in space.vector.beyond(theirs) {
        let replica = space.by_replica[&range.replica];
        if let Some(row) = tables.commit_row(space.handle, replica, range.from)? {
            first = first.min(row.arrival);
        }
    }
    Ok(if planted(Plant::SkipFirstMissing) { first + 1 } else { first })
}

/// The next commits that the peer lacks, as many as fit one frame, and the last number of our own log among them;
/// counts them as sent.
fn next_frame(space: &Space, tables: &Tables<'_>, link: &mut Link) -> Result<(Vec<Signed>, u64), StoreError> {
    let mut commits = Vec::new();
    let mut own = 0;
    let mut len = 64;
    for (arrival, replica, n) in tables.order_from(space.handle, link.cursor)? {
        let id = space.replicas[&replica].id;
        let is_passed_over = planted(Plant::NeverForward) && id != space.row.replica;
        if (link.theirs.len_of(&id) < n && !is_passed_over) || planted(Plant::ResendAll) {
            let row = tables.commit_row(space.handle, replica, n)?.ok_or(StoreError::Row { table: "commit" })?;
            let hash = row.hash();
            let signed = row.with_body(tables.body(space.handle, replica, n)?);
            if len + signed.wire_len() > limits::FRAME_BYTES_MAX {
                return Ok((commits, own));
            }
            len += signed.wire_len();
            commits.push(signed);
            if id == space.row.replica {
                own = n;
            }
            link.theirs.advance(id, Tip::new(n, &hash));
            if planted(Plant::DurableWhenSent) {
                link.durable.advance(id, Tip::new(n, &hash));
            }
        }
        link.cursor = arrival + 1;
    }
    Ok((commits, own))
}
