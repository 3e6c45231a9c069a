//! What people saved and what the code under test wrote: the ground for "no byte of a user is lost" and "nothing is
//! written outside the folder".

use std::sync::Arc;

use sync_core::tree::{RelPath, STATE_DIR};

use super::tree::NodeId;

/// The complete content of a file, as a user left it when it was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Where it was then; where it was opened, if its name was gone by then.
    pub path: RelPath,
    /// All of it.
    pub bytes: Arc<Vec<u8>>,
    /// When.
    pub at_ns: i64,
    /// When a user let go of it: by writing over it, by deleting it, or by putting another file in its place.
    pub ended_ns: Option<i64>,
    /// Whether a crash may have taken it before anything flushed it: nobody promised to keep it then.
    pub excused: bool,
    /// Whether the file had no name in the folder any more when its program wrote into it: another version had taken its
    /// place while it was open.
    pub nameless: bool,
    pub(super) node: NodeId,
    pub(super) firm: bool,
}

/// A write of the code under test, whether it succeeded or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderWrite {
    /// The number of the call.
    pub call: u64,
    /// What was asked.
    pub operation: &'static str,
    /// Of what.
    pub path: RelPath,
    /// When.
    pub at_ns: i64,
}

impl FolderWrite {
    /// Whether it was in the folder's own directory, which is nobody else's.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.path.components().first().is_some_and(|first| first == STATE_DIR)
    }
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) saved: Vec<Saved>,
    pub(super) writes: Vec<FolderWrite>,
}

impl Journal {
    pub(super) fn save(&mut self, path: RelPath, bytes: Arc<Vec<u8>>, node: NodeId, at_ns: i64, firm: bool) {
        let same = |saved: &&mut Saved| saved.node == node && saved.ended_ns.is_none() && saved.bytes == bytes;
        if let Some(saved) = self.saved.iter_mut().rev().find(same) {
            saved.firm |= firm;
            return;
        }
        self.saved.push(Saved { path, bytes, at_ns, ended_ns: None, excused: false, nameless: false, node, firm });
    }

    /// What was saved last went into a file without a name.
    pub(super) fn last_is_nameless(&mut self) {
        if let Some(saved) = self.saved.last_mut() {
            saved.nameless = true;
        }
    }

    /// A user let go of what is in a file.
    pub(super) fn end(&mut self, node: NodeId, at_ns: i64) {
        for saved in self.saved.iter_mut().filter(|saved| saved.node == node && saved.ended_ns.is_none()) {
            saved.ended_ns = Some(at_ns);
        }
    }

    /// Everything is on the disk.
    pub(super) fn flushed(&mut self) {
        for saved in &mut self.saved {
            saved.firm = true;
        }
    }

    /// What users would miss now, and nothing else.
    pub(super) fn to_keep(&self) -> Self {
        let saved = self.saved.iter().filter(|saved| saved.ended_ns.is_none()).cloned().collect();
        Self { saved, writes: Vec::new() }
    }

    pub(super) fn crashed(&mut self) {
        for saved in self.saved.iter_mut().filter(|saved| !saved.firm) {
            saved.excused = true;
        }
    }
}
