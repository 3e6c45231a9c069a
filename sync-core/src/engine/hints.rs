//! Hints: what gossip announces, and asking for what did not come along.
//!
//! An announcement costs its author nothing, so it moves nothing by itself: a commit in it is checked as any other, and a
//! claim leads to at most one question in a while.

use std::collections::BTreeMap;

use super::{Effect, Engine, EngineError, Now, SessionId, commits::TakenIn, session::Link};
use crate::{
    ids::SpaceId,
    limits,
    store::Tables,
    version::LogRange,
    wire::{self, Message},
};

impl Engine {
    pub(super) fn announcement(
        &mut self,
        tables: &mut Tables<'_>,
        now: Now,
        space: SpaceId,
        bytes: &[u8],
    ) -> Result<(), EngineError> {
        let (Some(handle), Ok(announcement)) = (self.space_of(&space), wire::decode_announcement(bytes)) else {
            return Ok(());
        };
        let state = self.spaces.get_mut(&handle).expect("found by its id");
        let held = state.vector.len_of(&announcement.replica);
        if announcement.n <= held {
            return Ok(());
        }
        let members = state.member_commits.len();
        if let Some(signed) = &announcement.commit
            && let TakenIn::New = state.take_in(tables, signed)?
        {
            return self.took_in(tables, now, handle, None, members);
        }
        let state = self.spaces.get_mut(&handle).expect("found by its id");
        if state.wanted.len() < limits::ASK_RANGES_MAX {
            state.wanted.insert(announcement.replica, announcement.n);
        }
        Ok(())
    }

    /// Asks for what announcements told of and did not come along, all of it at once and not too often.
    pub(super) fn ask_for_wanted(&mut self, now: Now, handle: u32) {
        let space = self.spaces.get_mut(&handle).expect("the caller has it from the keys");
        if space.wanted.is_empty() || now.mono_ms < space.ask_at {
            return;
        }
        space.ask_at = now.mono_ms + limits::ASK_EVERY_MS;
        let tag = space.row.id.tag(self.device);
        let vector = &space.vector;
        let ranges: Vec<LogRange> = std::mem::take(&mut space.wanted)
            .into_iter()
            .map(|(replica, to)| LogRange { replica, from: vector.len_of(&replica) + 1, to })
            .filter(|range| range.from <= range.to)
            .collect();
        let mut asks: BTreeMap<SessionId, Vec<LogRange>> = BTreeMap::new();
        for range in ranges {
            if let Some(session) = self.whoever_has(handle, &range) {
                asks.entry(session).or_default().push(range);
            }
        }
        for (session, ranges) in asks {
            let frame = wire::encode(&Message::Ask { space: tag, ranges });
            self.effects.push(Effect::Send { session, frame });
        }
    }

    /// A linked peer that has a part of a log, or else any: which of several is drawn, since some may only claim to.
    fn whoever_has(&mut self, handle: u32, range: &LogRange) -> Option<SessionId> {
        let linked = || self.sessions.iter().filter_map(|(session, state)| Some((*session, state.links.get(&handle)?)));
        let claims = |link: &Link| link.theirs.len_of(&range.replica) >= range.to;
        let mut from: Vec<SessionId> = linked().filter(|(_, link)| claims(link)).map(|(session, _)| session).collect();
        if from.is_empty() {
            from = linked().map(|(session, _)| session).collect();
        }
        let pick = self.draw(from.len() as u64) as usize;
        from.get(pick).copied()
    }
}
