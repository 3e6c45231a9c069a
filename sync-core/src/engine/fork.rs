//! Forks: one log with two different commits of one number, as after a store was copied or restored, or by malice.
//!
//! A hello shows that two logs differ somewhere before the shorter one's end. Whoever sees it tells some signed headers
//! of the log as it has it ([`Message::Fork`]); the other compares, asks for headers between the last equal and the first
//! unequal one ([`Message::Trace`]), and so finds the two siblings. Of these the one with the smaller hash stays, on every
//! machine; whoever has the other sets it aside with all that depends on it, which `repair` does, and says hello again. A
//! device that finds its own log forked before anybody could have its branch gives way without asking for the hash. What
//! stays is remembered, so that the branch that lost is not taken in again from somebody who has not heard.

use super::{Engine, EngineError, Event, Now, SessionId, space::Space};
use crate::{
    commit::{Header, Signed, SignedHeader},
    ids::{InstallEpoch, ReplicaId, context, derive},
    limits,
    probe::{Plant, planted},
    store::{
        StoreError, Tables,
        row::{CommitRow, ForkRow},
    },
    version::{LogRange, VersionVector},
    wire::{self, CloseCode, Message},
};

/// A branch that lost.
#[derive(Debug, Clone)]
pub(super) struct Losing {
    /// Whose log.
    pub(super) replica: ReplicaId,
    /// Its first commit that goes.
    pub(super) n: u64,
    /// The sibling that stays.
    pub(super) kept: SignedHeader,
}

/// Where the sender's log and ours are equal and where they differ, among the headers that it told.
struct Compared {
    /// The last number that is equal; 0 when none is.
    equal: u64,
    /// The first one that differs, and the sender's header there.
    differs: Option<(u64, SignedHeader)>,
}

impl Space {
    /// A peer that has more of our own log than ever left this store says that the store is an older copy of itself, or
    /// lies. Only a log that was there when the store was opened can be one. Tells whether the peer says so: nothing is
    /// sent to it then before the matter is clear.
    pub(super) fn note_outrun(&mut self, theirs: &VersionVector) -> bool {
        let claims = !self.renewed && theirs.len_of(&self.row.replica) > self.row.shared;
        self.outrun |= claims;
        claims
    }

    fn commit_of(&self, tables: &Tables<'_>, replica: &ReplicaId, n: u64) -> Result<Option<CommitRow>, StoreError> {
        match self.by_replica.get(replica) {
            Some(handle) => tables.commit_row(self.handle, *handle, n),
            None => Ok(None),
        }
    }

    /// The last commit of a log that others may see: of our own log, what has not left this machine is nobody's business.
    fn told_until(&self, replica: &ReplicaId) -> u64 {
        let held = self.vector.len_of(replica);
        if *replica == self.row.replica { held.min(self.row.shared) } else { held }
    }

    fn compare(
        &self,
        tables: &Tables<'_>,
        replica: &ReplicaId,
        headers: &[(u64, SignedHeader)],
    ) -> Result<Compared, StoreError> {
        let mut found = Compared { equal: 0, differs: None };
        for (n, theirs) in headers {
            let Some(ours) = self.commit_of(tables, replica, *n)? else { break };
            if ours.hash() == theirs.hash() {
                found.equal = *n;
            } else {
                found.differs = Some((*n, theirs.clone()));
                break;
            }
        }
        Ok(found)
    }
}

impl Engine {
    /// Tells a peer headers of a log as it is here, evenly spread over a range and both its ends among them.
    pub(super) fn tell_log(
        &mut self,
        tables: &Tables<'_>,
        session: SessionId,
        handle: u32,
        range: LogRange,
    ) -> Result<(), EngineError> {
        let space = &self.spaces[&handle];
        let to = range.to.min(space.told_until(&range.replica));
        let mut headers = Vec::new();
        for n in spread(range.from, to) {
            if let Some(row) = space.commit_of(tables, &range.replica, n)? {
                headers.push(row.signed_header());
            }
        }
        if !headers.is_empty() {
            self.tell_headers(session, handle, range.replica, headers);
        }
        Ok(())
    }

    /// Tells a peer our side of a log that differs; of our own log, where it differs only in what has not left this
    /// machine, asks for the peer's side.
    pub(super) fn show_fork(
        &mut self,
        tables: &Tables<'_>,
        session: SessionId,
        handle: u32,
        range: LogRange,
    ) -> Result<(), EngineError> {
        let space = &self.spaces[&handle];
        if range.replica == space.row.replica && range.to > space.row.shared {
            let range = LogRange { from: space.row.shared.max(1), ..range };
            let space = space.row.id.tag(self.device);
            self.send(session, &Message::Trace { space, range });
            return Ok(());
        }
        self.tell_log(tables, session, handle, range)
    }

    fn tell_headers(&mut self, session: SessionId, handle: u32, replica: ReplicaId, headers: Vec<SignedHeader>) {
        let space = self.spaces[&handle].row.id.tag(self.device);
        self.send(session, &Message::Fork { space, replica, headers });
    }

    /// Whether a peer may go on about forks; one that does not come to an end loses the session.
    fn has_fork_round(&mut self, session: SessionId) -> bool {
        let Some(state) = self.sessions.get_mut(&session) else {
            return false;
        };
        if state.fork_rounds_left == 0 {
            self.close(session, CloseCode::Protocol, "a fork that does not heal");
            return false;
        }
        state.fork_rounds_left -= 1;
        true
    }

    /// A peer asks for headers of a log.
    pub(super) fn traced(
        &mut self,
        tables: &Tables<'_>,
        session: SessionId,
        handle: u32,
        range: LogRange,
    ) -> Result<(), EngineError> {
        if self.has_fork_round(session) {
            self.tell_log(tables, session, handle, range)?;
        }
        Ok(())
    }

    /// A peer told headers of a log that differs from ours: finds where, and who gives way.
    pub(super) fn compare_logs(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        session: SessionId,
        handle: u32,
        replica: ReplicaId,
        headers: &[SignedHeader],
    ) -> Result<(), EngineError> {
        if !self.has_fork_round(session) {
            return Ok(());
        }
        let space = &self.spaces[&handle];
        let Some(device) = space.by_replica.get(&replica).map(|replica| space.replicas[replica].device) else {
            return Ok(());
        };
        let mut told: Vec<(u64, SignedHeader)> = Vec::with_capacity(headers.len());
        for signed in headers {
            let n = match signed.verify(device) {
                Ok(header) if header.space == space.row.id && header.replica == replica => header.n,
                _ => return self.refuse_proof(session),
            };
            if told.last().is_some_and(|(last, _)| *last >= n) {
                return self.refuse_proof(session);
            }
            told.push((n, signed.clone()));
        }
        let Compared { equal, differs } = space.compare(tables, &replica, &told)?;
        let Some((n, theirs)) = differs else {
            // We have given way since, or it was never so: a new hello shows it.
            self.greet(session, &[handle]);
            return Ok(());
        };
        if n > equal + 1 {
            let range = LogRange { replica, from: equal.max(1), to: n };
            let space = space.row.id.tag(self.device);
            self.send(session, &Message::Trace { space, range });
            return Ok(());
        }
        self.settle_fork(tables, now, session, handle, replica, n, theirs)
    }

    fn refuse_proof(&mut self, session: SessionId) -> Result<(), EngineError> {
        self.close(session, CloseCode::BadCommit, "headers that prove nothing");
        Ok(())
    }

    /// Two siblings are known: the loser's holder gives way, the winner's holder shows its own.
    #[expect(clippy::too_many_arguments, reason = "where the siblings are, and who showed one")]
    fn settle_fork(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        session: SessionId,
        handle: u32,
        replica: ReplicaId,
        n: u64,
        theirs: SignedHeader,
    ) -> Result<(), EngineError> {
        let peer = self.sessions.get(&session).map(|state| state.peer);
        let own_device = self.device;
        let space = self.spaces.get_mut(&handle).expect("the session is of it");
        let Some(ours) = space.commit_of(tables, &replica, n)? else {
            return Ok(());
        };
        let unshared = replica == space.row.replica && n > space.row.shared;
        let gives_way = unshared || theirs.hash() < ours.hash();
        if gives_way && !planted(Plant::ForkKeepsOwn) {
            let known = space.losing.iter().any(|losing| losing.replica == replica && losing.n <= n);
            if !known {
                space.losing.push(Losing { replica, n, kept: theirs });
            }
            return Ok(());
        }
        let device = space.replicas[&space.by_replica[&replica]].device;
        let kept = ours.signed_header();
        if let std::collections::btree_map::Entry::Vacant(vacant) = space.forks.entry((replica, n)) {
            let row = ForkRow {
                device,
                kept: Some(kept.clone()),
                ours: device == own_device,
                set_aside: 0,
                committed_again: 0,
                aside: None,
                wall_ms: now.wall_ms,
            };
            tables.put_fork(&space.row.id, &replica, n, &row)?;
            vacant.insert(row);
            self.dirty = true;
        }
        let mut headers = Vec::new();
        if n > 1
            && let Some(before) = self.spaces[&handle].commit_of(tables, &replica, n - 1)?
        {
            headers.push(before.signed_header());
        }
        headers.push(kept);
        if let Some(peer) = peer {
            self.fork(handle, peer);
        }
        if let Some(state) = self.sessions.get_mut(&session) {
            state.proved.insert(handle);
        }
        self.tell_headers(session, handle, replica, headers);
        Ok(())
    }

    /// A peer sent a commit of a branch that is not the one here: shows it what is, and hears no more commits of the
    /// space from it until it says hello again.
    pub(super) fn refuse_branch(
        &mut self,
        tables: &Tables<'_>,
        session: SessionId,
        handle: u32,
        signed: &Signed,
    ) -> Result<(), EngineError> {
        let Ok(header) = Header::decode(&signed.header) else {
            return Ok(());
        };
        if let Some(state) = self.sessions.get_mut(&session) {
            state.forked.insert(handle);
            state.proved.insert(handle);
            let peer = state.peer;
            self.fork(handle, peer);
        }
        let space = &self.spaces[&handle];
        let Some(kept) = space.kept_at(&header.replica, header.n) else {
            return self.tell_log(tables, session, handle, LogRange { replica: header.replica, from: 1, to: header.n });
        };
        let mut headers = Vec::new();
        if header.n > 1
            && let Some(before) = space.commit_of(tables, &header.replica, header.n - 1)?
        {
            headers.push(before.signed_header());
        }
        headers.push(kept.clone());
        self.tell_headers(session, handle, header.replica, headers);
        Ok(())
    }

    /// Goes on under a new replica when our own log is known, or claimed, to be longer elsewhere than here.
    pub(super) fn renew_if_outrun(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        handle: u32,
    ) -> Result<(), EngineError> {
        let space = &self.spaces[&handle];
        let made_here = match space.overtaken_at {
            Some(held) => held,
            None if space.outrun => space.vector.len_of(&space.row.replica),
            None => return Ok(()),
        };
        let epoch = self.new_epoch();
        let device = self.device;
        let space = self.spaces.get_mut(&handle).expect("read above");
        let old = space.row.replica;
        space.renew(device, epoch, made_here);
        for state in self.sessions.values_mut() {
            // Nobody was told of anything in the new log.
            state.told.remove(&handle);
            if let Some(link) = state.links.get_mut(&handle) {
                link.quiet = false;
            }
        }
        let space = self.spaces.get_mut(&handle).expect("read above");
        let row = ForkRow {
            device,
            kept: None,
            ours: true,
            set_aside: 0,
            committed_again: 0,
            aside: None,
            wall_ms: now.wall_ms,
        };
        tables.put_fork(&space.row.id, &old, made_here + 1, &row)?;
        space.forks.insert((old, made_here + 1), row);
        self.dirty = true;
        let space = self.spaces[&handle].row.id;
        self.effects.push(super::Effect::Event(Event::Rebuilt {
            space,
            set_aside: 0,
            committed_again: 0,
            not_made: 0,
        }));
        Ok(())
    }

    /// A fresh epoch for a replica id, from the host's seed.
    pub(super) fn new_epoch(&mut self) -> InstallEpoch {
        self.draws += 1;
        let bytes = derive(context::JITTER, &[&self.seed, &self.draws.to_le_bytes()]);
        let mut epoch = [0; 16];
        epoch.copy_from_slice(&bytes[..16]);
        InstallEpoch(epoch)
    }
}

impl Space {
    /// The header that stays at a place where a log forked.
    pub(super) fn kept_at(&self, replica: &ReplicaId, n: u64) -> Option<&SignedHeader> {
        self.forks.get(&(*replica, n)).and_then(|row| row.kept.as_ref())
    }

    /// Goes on under a new replica; of the old one's commits so many were made here.
    pub(super) fn renew(&mut self, device: crate::ids::DeviceId, epoch: InstallEpoch, made_here: u64) {
        self.row.retired.push((self.row.replica, made_here));
        self.row.epoch = epoch;
        self.row.replica = ReplicaId::derive(device, self.row.id, epoch);
        self.row.shared = 0;
        self.outrun = false;
        self.overtaken_at = None;
        self.renewed = true;
        self.dirty = true;
    }
}

/// At most so many numbers of a range as a message holds, both ends among them.
fn spread(from: u64, to: u64) -> Vec<u64> {
    let most = limits::FORK_HEADERS_MAX as u64;
    if from > to {
        return Vec::new();
    }
    let len = to - from + 1;
    if len <= most {
        return (from..=to).collect();
    }
    // In 128 bits: a claimed range may be as long as numbers go.
    let step = |index: u64| from + (u128::from(len - 1) * u128::from(index) / u128::from(most - 1)) as u64;
    (0..most).map(step).collect()
}

/// A log that is not the same here and there as far as the shorter one goes, and a number at which it differs.
pub(super) fn forked_log(
    space: &Space,
    tables: &Tables<'_>,
    theirs: &VersionVector,
) -> Result<Option<(ReplicaId, u64)>, StoreError> {
    if theirs == &space.vector {
        return Ok(None);
    }
    for (id, tip) in theirs.iter() {
        let Some(replica) = space.by_replica.get(id) else {
            continue;
        };
        let held = &space.replicas[replica];
        if tip.n > held.n || (tip.n == held.n && tip.names(&held.hash)) {
            continue;
        }
        let row = tables.commit_row(space.handle, *replica, tip.n)?.ok_or(StoreError::Row { table: "commit" })?;
        if !tip.names(&row.hash()) {
            return Ok(Some((*id, tip.n)));
        }
    }
    Ok(None)
}

impl Engine {
    fn send(&mut self, session: SessionId, message: &Message) {
        self.effects.push(super::Effect::Send { session, frame: wire::encode(message) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_spread_over_a_range_with_both_ends() {
        assert_eq!(spread(3, 2), Vec::<u64>::new());
        assert_eq!(spread(5, 5), [5]);
        assert_eq!(spread(1, 48), (1..=48).collect::<Vec<_>>());
        for to in [49, 1_000_000, u64::MAX] {
            let spread = spread(1, to);
            assert_eq!((spread.len(), spread[0], spread[47]), (limits::FORK_HEADERS_MAX, 1, to));
            assert!(spread.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
