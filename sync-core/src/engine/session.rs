//! The exchange with one peer: hello both ways, what each lacks, then new commits as they happen.
//!
//! A session has one [`Link`] a common space. A link keeps what the peer has, as far as it said or we sent, and a cursor
//! into our order of arrival: sending is walking that order and skipping what the peer has, so that each frame is a
//! causal prefix and can be applied by itself. Bytes in flight are bounded; the host reports what it has written.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Effect, Engine, EngineError, Event, Now, SessionId, commits::TakenIn, fork::forked_log, sending::first_missing,
    space::Space,
};
use crate::{
    commit::Signed,
    ids::{DeviceId, SpaceTag},
    limits,
    store::Tables,
    version::{LogRange, Tip, VersionVector},
    wire::{self, CloseCode, Message, SpaceHello},
};

/// A connection to a peer.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: DeviceId,
    /// By handle of the space.
    pub(super) links: BTreeMap<u32, Link>,
    /// Spaces in which we have said hello.
    pub(super) greeted: BTreeSet<u32>,
    /// Spaces in which our hello asked for silence, because we were catching up from somebody else.
    pub(super) silenced: BTreeSet<u32>,
    /// Hellos of spaces in which we do not know the peer yet: it may have joined by somebody else.
    pub(super) parked: Vec<SpaceHello>,
    /// Messages about forks that the peer may still send.
    pub(super) fork_rounds_left: u32,
    /// Spaces of which the peer has another branch, and from which nothing is taken until it says hello again.
    pub(super) forked: BTreeSet<u32>,
    /// Spaces in which the peer was told that its log differs from ours.
    pub(super) proved: BTreeSet<u32>,
    /// How much of our own log the peer was told to be here, by space.
    pub(super) told: BTreeMap<u32, u64>,
    /// Bytes of commits without their past that came since the last one that was new, by space.
    gaps: BTreeMap<u32, usize>,
    pub(super) in_flight: usize,
    /// When a peer that has not said hello is given up.
    hello_by: Option<u64>,
}

/// The exchange about one space with one peer.
#[derive(Debug)]
pub(super) struct Link {
    /// What the peer has, or will have once it read what we sent.
    pub(super) theirs: VersionVector,
    /// What the peer has said, or shown by sending it, to be on its disk.
    pub(super) durable: VersionVector,
    /// Whether its folder agrees with that.
    pub(super) settled: bool,
    /// Next place in our order of arrival to look at.
    pub(super) cursor: u64,
    /// Commits of others wait until then: the peer may have them from their author.
    pub(super) hold_until: Option<u64>,
    /// The peer catches up from somebody else and wants nothing unasked.
    pub(super) quiet: bool,
    /// Whether the first catch-up is over, so that what is new came later.
    pub(super) live: bool,
    /// Until when the peer is waited for, if it claims to have what we lack: each commit of its renews that.
    pub(super) patience: u64,
}

impl Link {
    /// Both have the same commits on disk, and the peer's folder agrees with them.
    pub(super) fn is_synced(&self, ours: &VersionVector) -> bool {
        self.settled && self.durable == *ours
    }
}

impl Session {
    pub(super) fn deadline(&self) -> Option<u64> {
        let holds = self.links.values().filter_map(|link| link.hold_until);
        holds.chain(self.hello_by).min()
    }
}

impl Engine {
    pub(super) fn session_up(&mut self, now: Now, session: SessionId, peer: DeviceId) {
        let fresh = Session {
            peer,
            links: BTreeMap::new(),
            greeted: BTreeSet::new(),
            silenced: BTreeSet::new(),
            parked: Vec::new(),
            fork_rounds_left: limits::FORK_ROUNDS_MAX,
            forked: BTreeSet::new(),
            proved: BTreeSet::new(),
            told: BTreeMap::new(),
            gaps: BTreeMap::new(),
            in_flight: 0,
            hello_by: Some(now.mono_ms + limits::HELLO_TIMEOUT_MS),
        };
        self.sessions.insert(session, fresh);
        let common: Vec<u32> =
            self.spaces.values().filter(|space| space.admits(&peer)).map(|space| space.handle).collect();
        self.greet(session, &common);
    }

    /// Says hello in some spaces; an empty hello still ends the peer's wait.
    pub(super) fn greet(&mut self, session: SessionId, handles: &[u32]) {
        let busy = handles.iter().copied().filter(|handle| self.catches_up_elsewhere(session, *handle)).collect();
        self.greet_with(session, handles, &busy);
    }

    /// Says hello, and asks for silence in some of the spaces.
    fn greet_with(&mut self, session: SessionId, handles: &[u32], busy: &BTreeSet<u32>) {
        let device = self.device;
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        for space in handles.iter().filter_map(|handle| self.spaces.get(handle)) {
            state.told.insert(space.handle, space.own_len());
        }
        let spaces = handles
            .iter()
            .filter_map(|handle| self.spaces.get(handle))
            .map(|space| SpaceHello {
                space: space.row.id.tag(device),
                flags: if space.settled { SpaceHello::SETTLED } else { 0 }
                    | if busy.contains(&space.handle) { SpaceHello::CATCHING_UP } else { 0 },
                vector: space.vector.clone(),
                root: space.row.root,
            })
            .collect();
        state.greeted.extend(handles);
        for handle in handles {
            if busy.contains(handle) {
                state.silenced.insert(*handle);
            } else {
                state.silenced.remove(handle);
            }
        }
        for spaces in wire::hello_frames(spaces) {
            let frame = wire::encode(&Message::Hello { spaces });
            self.effects.push(Effect::Send { session, frame });
        }
    }

    /// Whether another session is sending us what we lack of a space: then one copy is enough.
    fn catches_up_elsewhere(&self, session: SessionId, handle: u32) -> bool {
        let Some(space) = self.spaces.get(&handle) else {
            return false;
        };
        self.sessions.iter().any(|(other, state)| {
            *other != session
                && !state.silenced.contains(&handle)
                && state
                    .links
                    .get(&handle)
                    .is_some_and(|link| self.mono_ms < link.patience && !space.vector.covers(&link.durable))
        })
    }

    /// Once a catch-up is over, or whoever sent it is gone, compares with those who were asked for silence.
    pub(super) fn end_silence(&mut self, handle: u32) {
        let silenced: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, state)| state.silenced.contains(&handle))
            .map(|(session, _)| *session)
            .collect();
        for session in silenced {
            if !self.catches_up_elsewhere(session, handle) {
                self.greet(session, &[handle]);
            }
        }
    }

    /// Says hello to everybody who is connected and may now talk about this space, and was not told yet; and hears what
    /// they said of it before we knew them.
    pub(super) fn greet_members(&mut self, tables: &Tables<'_>, handle: u32) -> Result<(), EngineError> {
        let Some(space) = self.spaces.get(&handle) else {
            return Ok(());
        };
        let id = space.row.id;
        let new: Vec<(SessionId, DeviceId)> = self
            .sessions
            .iter()
            .filter(|(_, state)| !state.greeted.contains(&handle) && space.admits(&state.peer))
            .map(|(session, state)| (*session, state.peer))
            .collect();
        for (session, peer) in new {
            self.greet(session, &[handle]);
            let tag = id.tag(peer);
            let parked = self.sessions.get_mut(&session).and_then(|state| {
                let position = state.parked.iter().position(|hello| hello.space == tag)?;
                Some(state.parked.swap_remove(position))
            });
            if let Some(hello) = parked {
                self.hello(tables, session, peer, hello)?;
            }
        }
        Ok(())
    }

    pub(super) fn written(&mut self, session: SessionId, bytes: usize) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.in_flight = state.in_flight.saturating_sub(bytes);
        }
    }

    pub(super) fn message(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        session: SessionId,
        message: Message,
    ) -> Result<(), EngineError> {
        let Some(peer) = self.sessions.get(&session).map(|state| state.peer) else {
            return Ok(());
        };
        match message {
            Message::Hello { spaces } => {
                for hello in spaces {
                    self.hello(tables, session, peer, hello)?;
                }
                if let Some(state) = self.sessions.get_mut(&session) {
                    state.hello_by = None;
                }
            }
            Message::Commits { space, commits } => {
                if let Some(handle) = self.linked(session, &space) {
                    self.commits(tables, now, session, handle, &commits)?;
                } else if !self.is_forked(session, &space) {
                    self.close(session, CloseCode::Protocol, "commits of a space that is not shared");
                }
            }
            Message::Durable { space, vector, settled } => {
                let mut too_many = false;
                let handle = self.linked(session, &space);
                let forked = handle.map(|handle| forked_log(&self.spaces[&handle], tables, &vector)).transpose()?;
                if let (Some(handle), Some(Some((replica, n)))) = (handle, forked) {
                    self.fork(handle, peer);
                    let range = LogRange { replica, from: 1, to: n };
                    if self.sessions.get_mut(&session).is_some_and(|state| state.proved.insert(handle)) {
                        self.show_fork(tables, session, handle, range)?;
                    }
                } else if let Some(link) = self.link(session, &space) {
                    link.durable.merge(&vector);
                    link.theirs.merge(&vector);
                    link.settled = settled;
                    too_many = link.theirs.len() > limits::REPLICAS_MAX;
                }
                if too_many {
                    self.close(session, CloseCode::Malformed, "more replicas than a space may have");
                }
            }
            Message::Settled { space, settled } => {
                if let Some(link) = self.link(session, &space) {
                    link.settled = settled;
                }
            }
            Message::Ask { space, ranges } => {
                if let Some(handle) = self.linked(session, &space) {
                    self.asked(tables, session, handle, &ranges)?;
                }
            }
            Message::Fork { space, replica, headers } => {
                if let Some(handle) = self.tagged(peer, &space) {
                    self.compare_logs(tables, now, session, handle, replica, &headers)?;
                }
            }
            Message::Trace { space, range } => {
                if let Some(handle) = self.tagged(peer, &space) {
                    self.traced(tables, session, handle, range)?;
                }
            }
            Message::Close { .. } => {
                self.sessions.remove(&session);
                self.effects.push(Effect::Close { session, code: CloseCode::Shutdown });
            }
        }
        Ok(())
    }

    /// The space that a peer's tag names, if the two share it.
    fn tagged(&self, peer: DeviceId, tag: &SpaceTag) -> Option<u32> {
        self.spaces
            .values()
            .find(|space| space.row.id.tag(peer) == *tag && space.admits(&peer))
            .map(|space| space.handle)
    }

    /// Whether the space was built again since the peer last said hello.
    fn is_forked(&self, session: SessionId, tag: &SpaceTag) -> bool {
        let state = self.sessions.get(&session);
        let handle = state.and_then(|state| self.tagged(state.peer, tag));
        state
            .zip(handle)
            .is_some_and(|(state, handle)| state.forked.contains(&handle) || state.proved.contains(&handle))
    }

    fn linked(&self, session: SessionId, tag: &SpaceTag) -> Option<u32> {
        let state = self.sessions.get(&session)?;
        let handle = self.tagged(state.peer, tag)?;
        state.links.contains_key(&handle).then_some(handle)
    }

    fn link(&mut self, session: SessionId, tag: &SpaceTag) -> Option<&mut Link> {
        let handle = self.linked(session, tag)?;
        self.sessions.get_mut(&session)?.links.get_mut(&handle)
    }

    fn hello(
        &mut self,
        tables: &Tables<'_>,
        session: SessionId,
        peer: DeviceId,
        hello: SpaceHello,
    ) -> Result<(), EngineError> {
        let Some(handle) = self.tagged(peer, &hello.space) else {
            // A space that so far only the peer thinks is shared; it learns nothing from silence.
            self.park(session, hello);
            return Ok(());
        };
        let space = &self.spaces[&handle];
        if let Some((replica, n)) = forked_log(space, tables, &hello.vector)? {
            self.fork(handle, peer);
            // Once is enough until it says hello without a fork: what we tell may be a thousand times as long as a hello.
            if self.sessions.get_mut(&session).is_some_and(|state| state.proved.insert(handle)) {
                self.show_fork(tables, session, handle, LogRange { replica, from: 1, to: n })?;
            }
            // Should we be the one to give way, this is what it has: it says hello again only if it was shown a fork itself.
            self.park(session, hello);
            return Ok(());
        }
        if hello.vector == space.vector && hello.root != space.row.root {
            let event = Event::RootMismatch { space: space.row.id, peer };
            self.effects.push(Effect::Event(event));
            self.mark_faulty(handle, peer);
            return Ok(());
        }
        let cursor = first_missing(space, tables, &hello.vector)?;
        let space = self.spaces.get_mut(&handle).expect("the tag named this space");
        space.faults.remove(&peer);
        let outruns = space.note_outrun(&hello.vector);
        // Who has given way says hello anew, and is answered: it dropped what we said before.
        let greeted = self
            .sessions
            .get(&session)
            .is_some_and(|state| state.greeted.contains(&handle) && !state.proved.contains(&handle));
        if !greeted {
            self.greet(session, &[handle]);
        }
        // Saying hello again shows nothing of what was claimed before.
        let before = self.sessions.get(&session).and_then(|state| state.links.get(&handle));
        let patience = before.map_or(self.mono_ms + limits::CATCH_UP_PATIENCE_MS, |link| link.patience);
        let link = Link {
            theirs: hello.vector.clone(),
            durable: hello.vector,
            settled: hello.flags & SpaceHello::SETTLED != 0,
            cursor,
            hold_until: None,
            quiet: outruns || hello.flags & SpaceHello::CATCHING_UP != 0,
            live: false,
            patience,
        };
        if let Some(state) = self.sessions.get_mut(&session) {
            state.forked.remove(&handle);
            state.proved.remove(&handle);
            state.links.insert(handle, link);
        }
        Ok(())
    }

    /// Keeps a hello until there is something to answer it with.
    fn park(&mut self, session: SessionId, hello: SpaceHello) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.parked.retain(|parked| parked.space != hello.space);
        let tips: usize = state.parked.iter().map(|parked| parked.vector.len()).sum();
        if state.parked.len() < limits::HELLO_SPACES_MAX && tips + hello.vector.len() <= limits::PARKED_TIPS_MAX {
            state.parked.push(hello);
        }
    }

    pub(super) fn fork(&mut self, handle: u32, peer: DeviceId) {
        self.mark_faulty(handle, peer);
        let space = self.spaces[&handle].row.id;
        self.effects.push(Effect::Event(Event::Fork { space, peer }));
    }

    fn mark_faulty(&mut self, handle: u32, peer: DeviceId) {
        if let Some(space) = self.spaces.get_mut(&handle) {
            space.faults.insert(peer);
        }
    }

    fn commits(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        session: SessionId,
        handle: u32,
        commits: &[Signed],
    ) -> Result<(), EngineError> {
        if self.sessions.get(&session).is_none_or(|state| state.forked.contains(&handle)) {
            return Ok(());
        }
        for signed in commits {
            let space = self.spaces.get_mut(&handle).expect("the session is linked to it");
            let members = space.member_commits.len();
            match space.take_in(tables, signed)? {
                TakenIn::New => {
                    self.took_in(tables, now, handle, Some(session), members)?;
                    if let Some(state) = self.sessions.get_mut(&session) {
                        state.gaps.remove(&handle);
                        if let Some(link) = state.links.get_mut(&handle) {
                            link.patience = now.mono_ms + limits::CATCH_UP_PATIENCE_MS;
                        }
                    }
                }
                TakenIn::Known => {}
                TakenIn::Missing => {
                    self.gap(session, handle, commits);
                    return Ok(());
                }
                TakenIn::Fork => {
                    self.refuse_branch(tables, session, handle, signed)?;
                    return Ok(());
                }
                TakenIn::Refused(fault) => {
                    self.close(session, CloseCode::BadCommit, &fault.to_string());
                    return Ok(());
                }
            }
            // The sender has what it sends, and a sender tells only what is on its disk.
            self.note_held(session, handle, signed);
        }
        Ok(())
    }

    /// The sender skipped something that it thinks we have: compares again from the start, once. What it had sent by
    /// then lacks the same.
    fn gap(&mut self, session: SessionId, handle: u32, commits: &[Signed]) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let is_first = !state.gaps.contains_key(&handle);
        let bytes = state.gaps.entry(handle).or_default();
        *bytes += commits.iter().map(Signed::wire_len).sum::<usize>();
        if *bytes > limits::GAP_BYTES_MAX {
            self.close(session, CloseCode::Protocol, "commits without their past");
        } else if is_first {
            self.greet(session, &[handle]);
        }
    }

    fn note_held(&mut self, session: SessionId, handle: u32, signed: &Signed) {
        let Ok(header) = crate::commit::Header::decode(&signed.header) else {
            return;
        };
        if let Some(link) = self.sessions.get_mut(&session).and_then(|state| state.links.get_mut(&handle)) {
            let tip = Tip::new(header.n, &signed.hash());
            link.theirs.advance(header.replica, tip);
            link.durable.advance(header.replica, tip);
        }
    }

    /// After a commit of somebody else is in: tell everybody, pass it on in a while, let the folder follow.
    pub(super) fn took_in(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        handle: u32,
        from: Option<SessionId>,
        members_before: usize,
    ) -> Result<(), EngineError> {
        self.dirty = true;
        if self.spaces[&handle].overtaken_at.is_some() {
            self.renew_if_outrun(tables, now, handle)?;
        }
        let space = self.spaces.get_mut(&handle).expect("the commit is of it");
        if space.has_folder {
            space.settled = false;
        }
        space.received = true;
        if space.member_commits.len() != members_before {
            let id = space.row.id;
            self.effects.push(Effect::Event(Event::Members { space: id }));
            self.greet_members(tables, handle)?;
        }
        for (session, state) in &mut self.sessions {
            if Some(*session) != from
                && let Some(link) = state.links.get_mut(&handle)
                && link.live
            {
                link.hold_until.get_or_insert(now.mono_ms + limits::FORWARD_DELAY_MS);
            }
        }
        Ok(())
    }

    fn asked(
        &mut self,
        tables: &Tables<'_>,
        session: SessionId,
        handle: u32,
        ranges: &[LogRange],
    ) -> Result<(), EngineError> {
        let space = &self.spaces[&handle];
        let Some(link) = self.sessions.get_mut(&session).and_then(|state| state.links.get_mut(&handle)) else {
            return Ok(());
        };
        for range in ranges {
            link.theirs.rewind(range.replica, range.from - 1);
        }
        link.cursor = link.cursor.min(first_missing(space, tables, &link.theirs)?);
        link.quiet = false;
        link.hold_until = None;
        Ok(())
    }

    pub(super) fn settled(&mut self, handle: u32, upto: Option<u64>) {
        let Some(state) = self.spaces.get_mut(&handle) else {
            return;
        };
        let settled = upto == Some(state.row.arrivals);
        if state.settled == settled {
            return;
        }
        state.settled = settled;
        let tag = state.row.id.tag(self.device);
        self.tell_greeted(handle, &Message::Settled { space: tag, settled });
    }

    /// Tells everybody who was told where we stand, whether or not they have said where they stand.
    pub(super) fn tell_greeted(&mut self, handle: u32, message: &Message) {
        let frame = wire::encode(message);
        let own = self.spaces.get(&handle).map_or(0, Space::own_len);
        for (session, state) in &mut self.sessions {
            if state.greeted.contains(&handle) {
                if matches!(message, Message::Durable { .. }) {
                    state.told.insert(handle, own);
                }
                self.effects.push(Effect::Send { session: *session, frame: frame.clone() });
            }
        }
    }

    /// Ends waits that are over: holds, silent peers, the slow timer.
    pub(super) fn expire(&mut self, _tables: &mut Tables<'_>, now: Now) -> Result<(), EngineError> {
        let silent: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, state)| state.hello_by.is_some_and(|by| now.mono_ms >= by))
            .map(|(session, _)| *session)
            .collect();
        for session in silent {
            self.close(session, CloseCode::Timeout, "said nothing in time");
        }
        for state in self.sessions.values_mut() {
            for link in state.links.values_mut() {
                if link.hold_until.is_some_and(|until| now.mono_ms >= until) {
                    link.hold_until = None;
                }
            }
        }
        let handles: Vec<u32> = self.spaces.keys().copied().collect();
        for handle in handles {
            let due = self.spaces[&handle].repair_at.is_none_or(|at| now.mono_ms >= at);
            if due {
                let first = self.spaces[&handle].repair_at.is_none();
                let next = self.next_repair(now);
                self.spaces.get_mut(&handle).expect("from the keys").repair_at = Some(next);
                if !first {
                    self.repair(handle);
                }
            }
        }
        Ok(())
    }

    /// Compares with one random peer, which mends whatever was missed.
    pub(super) fn repair(&mut self, handle: u32) {
        let linked: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, state)| state.links.contains_key(&handle))
            .map(|(session, _)| *session)
            .collect();
        if linked.is_empty() {
            return;
        }
        let pick = self.draw(linked.len() as u64) as usize;
        // Without asking for silence: somebody who claims to send us everything may never do it.
        self.greet_with(linked[pick], &[handle], &BTreeSet::new());
    }
}
