//! What a user takes away or puts right before all is to be equal, and what is asked of files without a call.

use sync_core::tree::RelPath;

use super::{
    SimFs,
    state::{State, Who},
    tree::{Body, Node, NodeId, ROOT},
};

impl SimFs {
    /// A user takes away what nobody can sync, gives himself the rights that are missing, and mounts nothing any more.
    pub fn mend(&self) {
        let state = &mut *self.state();
        state.root = None;
        state.config.capacity_bytes = None;
        state.mend();
    }

    /// How long all files are together.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let state = self.state();
        state.live.nodes.values().filter_map(Node::content).map(|content| content.len() as u64).sum()
    }

    /// Permissions and the time of the last change of something; no call of the code under test.
    #[must_use]
    pub fn rights_and_time(&self, path: &RelPath) -> Option<(u32, i64)> {
        let state = self.state();
        let node = state.live.lookup(&state.live.place(path).ok()?).ok()??;
        let node = state.live.node(node);
        Some((node.mode, node.mtime_ns))
    }
}

impl State {
    /// A user takes away what nobody can sync: pipes, names that are no text, and rights that are missing.
    fn mend(&mut self) {
        let mounted: Vec<NodeId> = self.mounts.mounted().collect();
        for node in mounted {
            self.unmount_node(node);
        }
        let below = self.live.below(ROOT);
        for id in &below {
            let (own, needed) = {
                let node = self.live.node(*id);
                (node.mode, if node.is_dir() { 0o700 } else { 0o600 })
            };
            if own & needed != needed {
                self.chmod(*id, own | needed, Who::User);
            }
        }
        for id in below {
            let Some(place) = self.live.nodes.get(&id).and_then(|node| node.place.clone()) else { continue };
            let is_pipe = matches!(self.live.node(id).body, Body::Pipe);
            let is_empty_file = self.live.node(id).content().is_some_and(|content| content.is_empty());
            if is_pipe || (is_empty_file && String::from_utf8(place.1.clone()).is_err()) {
                self.remove(place, id, Who::User);
            }
        }
    }
}
