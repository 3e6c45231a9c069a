//! Hard links: names of one file.
//!
//! Each name is a node of its own, which has its place; those of one file have one inode, and what is written to one is in
//! all. After a crash they are copies: nothing here tells a file's names apart from then on.

use std::{collections::BTreeSet, io, sync::Arc};

use sync_core::{folder::disk::state_path, tree::RelPath};

use super::{
    state::{State, Who},
    tree::{Body, NodeId, errno, failed},
};

impl State {
    /// A user gives a file a second name.
    pub(super) fn link(&mut self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let first = self.live.existing(&self.live.place(from)?)?;
        let to = self.live.place(to)?;
        let node = self.live.node(first);
        let (Body::File(content), mode, inode) = (&node.body, node.mode, node.inode) else {
            return failed(errno::EACCES);
        };
        let content = Arc::clone(content);
        if self.device_of(first) != self.device_of(to.0) {
            return failed(errno::EXDEV);
        }
        let second = self.make_at(&to, Body::File(content), Who::User)?;
        let made_with = std::mem::replace(&mut self.live.node_mut(second).inode, inode);
        self.free_inode(made_with);
        self.live.node_mut(second).mode = mode;
        let mut names = self.names_of(first);
        names.insert(second);
        for name in &names {
            self.links.insert(*name, names.clone());
        }
        Ok(())
    }

    /// All names of a file, itself among them.
    fn names_of(&self, node: NodeId) -> BTreeSet<NodeId> {
        self.links.get(&node).cloned().unwrap_or_else(|| BTreeSet::from([node]))
    }

    /// What is in one name of a file is in all.
    pub(super) fn share_bytes(&mut self, node: NodeId) {
        let Some(names) = self.links.get(&node).cloned() else { return };
        let written = self.live.node(node).clone();
        for other in names.into_iter().filter(|other| *other != node) {
            let other = self.live.node_mut(other);
            other.body = written.body.clone();
            (other.mtime_ns, other.ctime_ns) = (written.mtime_ns, written.ctime_ns);
        }
    }

    /// A user is about to write over what is in a file.
    pub(super) fn let_go_of_bytes(&mut self, node: NodeId) {
        for name in self.names_of(node) {
            self.journal.end(name, self.now_ns);
        }
    }

    /// What a user saved under one name is saved under all.
    pub(super) fn save_under_other_names(&mut self, node: NodeId) {
        let Some(bytes) = self.live.node(node).content().cloned() else { return };
        for name in self.names_of(node).into_iter().filter(|name| *name != node) {
            if let Some(path) = self.live.path(name).filter(|path| !state_path().contains(path)) {
                self.journal.save(path, Arc::clone(&bytes), name, self.now_ns, self.config.user_writes_durable);
            }
        }
    }

    /// A name is gone for good. Says whether the file has no other.
    pub(super) fn unlink_name(&mut self, node: NodeId) -> bool {
        let Some(mut names) = self.links.remove(&node) else { return true };
        names.remove(&node);
        for name in &names {
            self.links.insert(*name, names.clone());
        }
        names.is_empty()
    }
}
