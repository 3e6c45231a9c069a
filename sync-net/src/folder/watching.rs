//! Keeps the watch of a folder up, and says what to look at where nothing is told.
//!
//! A watch that cannot be had, or whose thread has ended, is begun anew; directories that cannot be watched, and those that
//! others change without this system, are looked into now and then. It waits for nothing and looks at no file.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc};

use sync_core::{limits, tree::RelPath};
use tracing::{info, warn};

use super::{
    Mailbox,
    watcher::{Watch, Why},
};
use crate::status::PolledStatus;

/// Number of directories that a system lets its users watch which has memory enough for that; those that set it
/// themselves mostly set this.
const WATCHES_USUAL: u64 = 524_288;

/// How the system's number for too many open files ends the words for it: no more programs may watch.
const TOO_MANY_INSTANCES: &str = "(os error 24)";

/// What to look at without a hint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing: everything is told.
    Nowhere,
    /// These directories, with all that is below.
    Into(Vec<RelPath>),
    /// The whole folder.
    Everywhere,
}

/// When directories are looked into that nothing tells of.
#[derive(Debug, Default)]
struct Pace {
    next_ms: u64,
    began_ms: Option<u64>,
}

impl Pace {
    /// Whether it is time; then a look begins.
    const fn begin(&mut self, now_ms: u64) -> bool {
        let is_due = now_ms >= self.next_ms;
        if is_due {
            self.began_ms = Some(now_ms);
        }
        is_due
    }

    /// What began is done: the next one comes after a pause that is long for one that took long.
    fn end(&mut self, now_ms: u64) {
        if let Some(began_ms) = self.began_ms.take() {
            let took_ms = now_ms.saturating_sub(began_ms);
            self.next_ms = now_ms + limits::POLL_EVERY_MS.max(took_ms.saturating_mul(limits::POLL_PAUSE_TIMES));
        }
    }
}

/// The watch of one folder.
#[derive(Debug)]
pub(super) struct Watching {
    root: PathBuf,
    mailbox: Arc<Mailbox>,
    watch: Option<Watch>,
    /// Why there is none.
    fault: Option<String>,
    /// When it may be begun again.
    start_ms: u64,
    pace: Pace,
}

impl Watching {
    pub(super) fn new(root: PathBuf, mailbox: Arc<Mailbox>) -> Self {
        Self { root, mailbox, watch: None, fault: None, start_ms: 0, pace: Pace::default() }
    }

    /// The folder stands still: when it goes on, another directory may be there.
    pub(super) fn stop(&mut self) {
        self.watch = None;
        self.fault = None;
        self.start_ms = 0;
    }

    /// Does what is to be done between two rounds. `new` are paths at which directories may have come, `lost` that such
    /// words were lost.
    pub(super) fn keep_up(&mut self, new: BTreeSet<RelPath>, lost: bool, now_ms: u64) -> Look {
        if self.watch.as_ref().is_some_and(Watch::has_ended) {
            warn!("the watcher ended by a fault: it is begun again");
            self.watch = None;
            self.fault = Some("the watcher ended by a fault of this program".into());
            self.mailbox.give_up_cookies();
        }
        let Some(watch) = &mut self.watch else {
            return self.start(now_ms);
        };
        if lost {
            watch.follow_all();
        } else {
            watch.follow(new);
        }
        if watch.missed().is_empty() || !self.pace.begin(now_ms) {
            return Look::Nowhere;
        }
        // Also into what can be watched from now on: until now it could not.
        let look = watch.missed().listed().map_or(Look::Everywhere, Look::Into);
        watch.retry();
        look
    }

    fn start(&mut self, now_ms: u64) -> Look {
        if now_ms < self.start_ms {
            return Look::Nowhere;
        }
        // One that ends at once is not begun again and again without a pause.
        self.start_ms = now_ms + limits::POLL_EVERY_MS;
        match Watch::start(&self.root, Arc::clone(&self.mailbox)) {
            Ok(watch) => {
                if let Some((dir, count)) = watch.missed().first(Why::Limit) {
                    warn!(%dir, count, "the limit of watches is reached: what cannot be watched is looked into");
                }
                self.watch = Some(watch);
                if self.fault.take().is_some() {
                    info!("the folder is watched again");
                    // The last ones may have been dropped when nobody watched any more.
                    self.mailbox.give_up_cookies();
                }
                self.pace = Pace { next_ms: now_ms + limits::POLL_EVERY_MS, began_ms: None };
                // What changed before is told by nobody.
                Look::Everywhere
            }
            Err(error) => {
                if self.fault.is_none() {
                    warn!(%error, "the folder is not watched: it is scanned now and then");
                }
                self.fault = Some(error.to_string());
                if self.pace.begin(now_ms) { Look::Everywhere } else { Look::Nowhere }
            }
        }
    }

    /// The round that looked is over.
    pub(super) fn looked(&mut self, now_ms: u64) {
        self.pace.end(now_ms);
    }

    /// When there is something to do though nothing happens.
    pub(super) fn next_ms(&self) -> Option<u64> {
        match &self.watch {
            None => Some(self.start_ms),
            Some(watch) if watch.has_ended() => Some(self.start_ms),
            Some(watch) => (!watch.missed().is_empty()).then_some(self.pace.next_ms),
        }
    }

    /// Whether a file that is made to see how far the watcher is will be told.
    pub(super) fn sees_cookies(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::sees_cookies)
    }

    /// Whether a scan may find what nobody told.
    pub(super) fn tells_all(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.missed().is_empty())
    }

    /// Why changes show late, and what helps, for people.
    pub(super) fn polled(&self) -> Option<PolledStatus> {
        let Some(watch) = &self.watch else {
            let fault = self.fault.as_ref()?;
            let hint = "allow more programs to watch: sudo sysctl fs.inotify.max_user_instances=1024";
            let hint = fault.contains(TOO_MANY_INSTANCES).then(|| hint.to_owned());
            return Some(PolledStatus { reason: format!("the directory cannot be watched: {fault}"), hint });
        };
        if let Some((dir, count)) = watch.missed().first(Why::Limit) {
            let (name, limit) = limit_of_watches();
            let which = if dir.is_root() { "the folder".to_owned() } else { dir.to_string() };
            let others = if count > 1 { format!(" and {} more at least", count - 1) } else { String::new() };
            let reason = format!("only {limit} directories may be watched here, and {which}{others} cannot be");
            let more = WATCHES_USUAL.max(limit.saturating_mul(2));
            return Some(PolledStatus { reason, hint: Some(format!("allow more: sudo sysctl {name}={more}")) });
        }
        let (dir, _) = watch.missed().first(Why::Remote)?;
        let which = if dir.is_root() { "the folder".to_owned() } else { dir.to_string() };
        let reason = format!("{which} is on a file system that others can change without this system hearing of it");
        Some(PolledStatus { reason, hint: None })
    }
}

/// The limit that holds here: that of the system, or a lower one of the namespace that this process is in.
fn limit_of_watches() -> (&'static str, u64) {
    let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let system = ("fs.inotify.max_user_watches", read("/proc/sys/fs/inotify/max_user_watches").unwrap_or_default());
    match read("/proc/sys/user/max_inotify_watches") {
        Some(own) if own < system.1 => ("user.max_inotify_watches", own),
        _ => system,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_so_far_apart_and_further_where_they_take_long() {
        let mut pace = Pace::default();
        assert!(pace.begin(1_000));
        pace.end(1_000);
        assert!(!pace.begin(1_000 + limits::POLL_EVERY_MS - 1));
        assert!(pace.begin(1_000 + limits::POLL_EVERY_MS));
        let (took_ms, done_ms) = (limits::POLL_EVERY_MS, 1_000 + 2 * limits::POLL_EVERY_MS);
        pace.end(done_ms);
        assert!(!pace.begin(done_ms + limits::POLL_PAUSE_TIMES * took_ms - 1));
        assert!(pace.begin(done_ms + limits::POLL_PAUSE_TIMES * took_ms));
    }

    #[test]
    fn a_watch_that_cannot_be_had_is_tried_again_after_a_pause() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut watching = Watching::new(dir.path().to_owned(), Arc::default());
        assert_eq!(watching.next_ms(), Some(0));
        assert_eq!(watching.keep_up(BTreeSet::new(), false, 10), Look::Everywhere, "what came before is not told");
        assert!(watching.tells_all() && watching.polled().is_none());
        assert_eq!((watching.next_ms(), watching.keep_up(BTreeSet::new(), true, 11)), (None, Look::Nowhere));
        watching.watch = None;
        watching.fault = Some("a fault".into());
        assert!(!watching.tells_all() && watching.polled().is_some());
        let again_ms = 10 + limits::POLL_EVERY_MS;
        assert_eq!(watching.next_ms(), Some(again_ms));
        assert_eq!(watching.keep_up(BTreeSet::new(), false, again_ms - 1), Look::Nowhere);
        assert_eq!(watching.keep_up(BTreeSet::new(), false, again_ms), Look::Everywhere);
        assert!(watching.tells_all() && watching.polled().is_none());
        watching.stop();
        assert_eq!(watching.next_ms(), Some(0), "whatever the pause was");
    }
}
