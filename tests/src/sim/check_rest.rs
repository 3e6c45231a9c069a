//! Nobody works for nothing: what must hold of timers and rounds.

use super::{check::Violation, world::World};

/// So many turns at one moment may be due: one for each session that waits for something, and one for what each leads to.
const DUE_TURNS_MAX: u32 = 64;
/// A folder that is at rest does nothing for so long.
const REST_MS_MIN: u64 = 500;

/// Rounds after which a folder at rest has nothing to do soon.
const QUIET_ROUNDS_MAX: usize = 3;

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
            let mut wants = None;
            // An event may be told late.
            for _ in 0..QUIET_ROUNDS_MAX {
                self.quiet_round(index)?;
                wants = self.wants_a_round_soon(index);
                if wants.is_none() {
                    break;
                }
            }
            if let Some(what) = wants {
                return Err(self.violation("no busy loop", &what));
            }
        }
        Ok(())
    }

    /// What a folder says that is to do something in a moment.
    fn wants_a_round_soon(&self, index: usize) -> Option<String> {
        let peer = &self.peers[index];
        let mono_ms = peer.now(self.now_ms).mono_ms;
        let rounds = peer.process.as_ref()?.rounds.as_ref()?;
        let next_ms = rounds.next_ms().filter(|next| *next < mono_ms + REST_MS_MIN)?;
        let report = rounds.report();
        Some(format!("the folder of {index} wants a round at {next_ms}, at {mono_ms}: {report:?}"))
    }
}
