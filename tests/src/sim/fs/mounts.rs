//! File systems that are mounted within a simulated one, each over one of its directories.
//!
//! They are in memory only: a crash knows nothing of them, so they are for file systems that lose no power. What is mounted nobody tells, as on Linux.

use std::{collections::BTreeMap, io};

use sync_core::tree::RelPath;

use super::{
    SimFs,
    state::State,
    tree::{Body, Node, NodeId, errno, failed},
};

/// What is mounted, and what is not now.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Device numbers by the directory that they are mounted over.
    devices: BTreeMap<NodeId, u64>,
    /// What a mount covers, or what was mounted before and is not now.
    other: BTreeMap<NodeId, Node>,
}

impl SimFs {
    /// Mounts a file system over a directory: the one that was there before, or a new one.
    ///
    /// # Errors
    /// When there is no such directory, or something is mounted on it.
    pub fn mount(&self, path: &RelPath, device: u64) -> io::Result<()> {
        let state = &mut *self.state();
        let node = state.live.dir(path)?;
        if state.mounts.devices.contains_key(&node) {
            return failed(errno::EINVAL);
        }
        state.mounts.devices.insert(node, device);
        state.exchange_covered(node);
        Ok(())
    }

    /// Takes the file system away that is mounted over a directory.
    ///
    /// # Errors
    /// When there is none.
    pub fn unmount(&self, path: &RelPath) -> io::Result<()> {
        let state = &mut *self.state();
        let node = state.live.dir(path)?;
        if state.unmount_node(node) { Ok(()) } else { failed(errno::EINVAL) }
    }

    /// Forgets what was mounted on a directory, which is never mounted again: the next one there is another.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn lose_unmounted(&self, path: &RelPath) -> io::Result<()> {
        let state = &mut *self.state();
        let node = state.live.dir(path)?;
        state.mounts.other.remove(&node);
        Ok(())
    }
}

impl Mounts {
    /// Directories over which something is mounted now.
    pub(super) fn mounted(&self) -> impl Iterator<Item = NodeId> {
        self.devices.keys().copied()
    }
}

impl State {
    /// Takes away what is mounted over a directory. Says whether something was.
    pub(super) fn unmount_node(&mut self, node: NodeId) -> bool {
        let was = self.mounts.devices.remove(&node).is_some();
        // A directory on which something was mounted may be gone: nobody keeps a user from deleting it here.
        if was && self.live.nodes.contains_key(&node) {
            self.exchange_covered(node);
        }
        was
    }

    fn exchange_covered(&mut self, id: NodeId) {
        let inode = self.next_inode;
        let new = Node::new(Body::Dir(BTreeMap::new()), 0o755, inode, self.stamp());
        let other = self.mounts.other.remove(&id).unwrap_or_else(|| {
            self.next_inode += 1;
            new
        });
        let place = self.live.node(id).place.clone();
        let shown = self.live.node_mut(id);
        let covered = std::mem::replace(shown, Node { place, ..other });
        self.mounts.other.insert(id, covered);
    }

    /// Number of the device that a node is on.
    pub(super) fn device_of(&self, id: NodeId) -> u64 {
        let mut next = Some(id);
        while let Some(node) = next {
            if let Some(device) = self.mounts.devices.get(&node) {
                return *device;
            }
            next = self.live.node(node).place.as_ref().map(|(dir, _)| *dir);
        }
        self.config.device
    }
}
