//! Nobody works for nothing: what must hold of timers and rounds.

use super::{check::Violation, world::World};

/// So many turns at one moment may be due: one for each session that waits for something, and one for what each leads to.
const DUE_TURNS_MAX: u32 = 64;
/// A folder that is at rest does nothing for so long.
const REST_MS_MIN: u64 = 500;

impl World {
    /// A turn does what was due: else whoever drives the engine would turn for ever.
    pub(super) fn nothing_is_due_for_ever(&mut self, index: usize) -> Result<(), Violation> {
        for _ in 0..DUE_TURNS_MAX {
            let (now_ms, peer) = (self.now_ms, &mut self.peers[index]);
            let mono_ms = peer.now(now_ms).mono_ms;
            let due = peer.process.as_ref().and_then(|process| process.engine.next_deadline());
            if due.is_none_or(|due| due > mono_ms) {
                return Ok(());
            }
            self.turn(index, Vec::new())?;
        }
        Err(self.violation("no busy loop", &format!("{index} is due again after each turn")))
    }

    /// Devices that agree on everything have nothing to do soon.
    pub(super) fn quiet_devices_rest(&mut self) -> Result<(), Violation> {
        for index in 0..self.peers.len() {
            self.nothing_is_due_for_ever(index)?;
            self.quiet_round(index)?;
            let (now_ms, peer) = (self.now_ms, &mut self.peers[index]);
            let mono_ms = peer.now(now_ms).mono_ms;
            let Some(rounds) = peer.process.as_ref().and_then(|process| process.rounds.as_ref()) else { continue };
            if rounds.next_ms().is_some_and(|next| next < mono_ms + REST_MS_MIN) {
                let (next_ms, report) = (rounds.next_ms(), rounds.report());
                let what = format!("the folder of {index} wants a round at {next_ms:?}, at {mono_ms}: {report:?}");
                return Err(self.violation("no busy loop", &what));
            }
        }
        Ok(())
    }
}
