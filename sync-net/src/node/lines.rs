//! How many lines of texts both sides changed, for the status of folders.
//!
//! To tell means opening each text in which heads met. So it is counted on a thread that only reads, and only for what
//! changed since it was counted last; the status has the last number at once. It must not be asked for by the folder's own
//! thread.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
};

use sync_core::history::{Library, Shelf, conflicts::LineCounts};

use super::{Node, lock, past::blocking};
use crate::error::NodeError;

/// What was counted, by folder.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<BTreeMap<u32, Arc<Counted>>>);

#[derive(Debug, Default)]
struct Counted {
    total: AtomicU64,
    /// Held while it is counted.
    texts: Mutex<Texts>,
}

#[derive(Debug, Default)]
struct Texts {
    /// As of so many commits.
    arrivals: Option<u64>,
    counts: LineCounts,
}

impl Lines {
    fn of(&self, folder: u32) -> Arc<Counted> {
        Arc::clone(lock(&self.0).entry(folder).or_default())
    }

    /// The last number of a folder.
    pub(super) fn total(&self, folder: u32) -> u64 {
        self.of(folder).total.load(Ordering::Relaxed)
    }

    pub(super) fn forget(&self, folder: u32) {
        lock(&self.0).remove(&folder);
    }
}

impl Node {
    /// Counts the lines that both sides changed, in texts that changed since that was done last; the next
    /// [`status`](Self::status) has the numbers. Does nothing for a folder for which it is under way.
    ///
    /// # Errors
    /// When the store fails, or Automerge does.
    ///
    /// # Cancel safety
    /// Dropping the future lets it go on in the background.
    pub async fn count_lines(&self) -> Result<(), NodeError> {
        let folders: Vec<_> = lock(&self.0.running).iter().map(|(folder, held)| (*folder, held.space())).collect();
        let node = self.clone();
        blocking(move || {
            for (folder, space) in folders {
                let counted = node.0.lines.of(folder);
                let mut texts = match counted.texts.try_lock() {
                    Ok(texts) => texts,
                    Err(TryLockError::WouldBlock) => continue,
                    Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                };
                // Read before the snapshot is taken: what comes in between is counted twice rather than never.
                let status = node.0.engine.status().borrow().clone();
                let arrivals = status.spaces.iter().find(|held| held.space == space).map(|held| held.arrivals);
                if arrivals.is_none() || arrivals == texts.arrivals {
                    continue;
                }
                let (handle, _) = node.space_row(&space)?;
                let mut library = Library::new(node.0.engine.store.read()?, handle, Shelf::default());
                let total = library.count_lines(&mut texts.counts)?;
                texts.arrivals = arrivals;
                counted.total.store(total, Ordering::Relaxed);
            }
            Ok(())
        })
        .await
    }
}
