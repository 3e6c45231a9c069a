//! What people ask of a folder's thread, between two of its rounds: older versions back, conflicts
//! ended, changes taken back, why.
//!
//! A request that needs the disk to come to rest waits for that, and not for ever.

use std::time::Duration;

use sync_core::{
    folder::rounds::{
        Rounds, Why,
        host::{Host, Stopped},
        restoring::{Asked, Fate, Step, Wanted},
        reverting::Back,
    },
    limits,
    tree::RelPath,
};
use tokio::sync::oneshot;

/// How long a request waits for the disk to come to rest: a file that vanished is believed to be gone after a second, and
/// an editor is done in less.
const PATIENCE_MS: u64 = 10_000;

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Entries as they were.
    Restore(Vec<Wanted>),
    /// The end of a conflict.
    CarryOut { paths: Vec<RelPath>, steps: Vec<Step> },
    /// What is known of a path.
    Why(RelPath),
    /// The end of what is missing with the file system that it was on.
    LetGo(RelPath),
    /// What a device that may only read has otherwise than the others, taken back or only told.
    Revert { paths: Vec<RelPath>, tell: bool },
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Answer {
    Restored(Vec<(RelPath, Fate)>),
    Done,
    Why(Box<Why>),
    /// So many files.
    LetGo(usize),
    /// What was taken back, and how much of it waits for bytes of others.
    Reverted {
        paths: Vec<(RelPath, Back)>,
        awaited: usize,
    },
    /// Something did not come to rest in time.
    NotAtRest(String),
    /// It cannot be done here.
    Refused(String),
}

/// Somebody who asks.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// Requests without an answer, and until when each may wait.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<(Request, u64)>);

impl Waiting {
    pub(super) fn extend(&mut self, requests: Vec<Request>, now_ms: u64) {
        self.0.extend(requests.into_iter().map(|request| (request, now_ms + PATIENCE_MS)));
    }

    /// A pause that does not let anybody wait for nothing.
    pub(super) fn shorten(&self, pause: Duration) -> Duration {
        if self.0.is_empty() { pause } else { pause.min(Duration::from_millis(limits::SETTLE_MS)) }
    }

    /// Answers what can be answered now.
    pub(super) fn answer(&mut self, rounds: &mut Rounds, host: &mut dyn Host, now_ms: u64) -> Result<(), Stopped> {
        for (request, until_ms) in std::mem::take(&mut self.0) {
            if request.answer.is_closed() {
                continue;
            }
            match answer(&request.ask, rounds, host)? {
                Answer::NotAtRest(_) if now_ms < until_ms => self.0.push((request, until_ms)),
                answer => {
                    // Nobody may be waiting any more.
                    let _gone = request.answer.send(answer);
                }
            }
        }
        Ok(())
    }
}

fn answer(ask: &Ask, rounds: &mut Rounds, host: &mut dyn Host) -> Result<Answer, Stopped> {
    Ok(match ask {
        Ask::Restore(wanted) => match rounds.restore(host, wanted)? {
            Asked::Done(fates) => Answer::Restored(fates),
            Asked::NotYet(what) => Answer::NotAtRest(what),
            Asked::Refused(why) => Answer::Refused(why),
        },
        Ask::CarryOut { paths, steps } => match rounds.carry_out(host, paths, steps)? {
            Asked::Done(()) => Answer::Done,
            Asked::NotYet(what) => Answer::NotAtRest(what),
            Asked::Refused(why) => Answer::Refused(why),
        },
        Ask::LetGo(path) => match rounds.let_go(host, path)? {
            Asked::Done(files) => Answer::LetGo(files),
            Asked::NotYet(what) => Answer::NotAtRest(what),
            Asked::Refused(why) => Answer::Refused(why),
        },
        Ask::Revert { paths, tell } => {
            let asked = if *tell { rounds.changed_here(host, paths)? } else { rounds.revert(host, paths)? };
            match asked {
                Asked::Done(paths) => Answer::Reverted { paths, awaited: rounds.held().awaited },
                Asked::NotYet(what) => Answer::NotAtRest(what),
                Asked::Refused(why) => Answer::Refused(why),
            }
        }
        Ask::Why(path) => Answer::Why(Box::new(rounds.why(path))),
    })
}
