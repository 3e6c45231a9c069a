//! The tree of a simulated file system: nodes, names, lookups with the errors of Linux, and changes of directories as
//! data. No times are taken, nothing is logged here: see [`State`](super::state::State).

use std::{collections::BTreeMap, io, sync::Arc};

use sync_core::{
    folder::{Found, FoundKind},
    limits,
    store::row::Stat,
    tree::{Folds, RelPath},
};

/// Which node; never used twice, unlike an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(pub u64);

/// The folder.
pub(super) const ROOT: NodeId = NodeId(0);
/// A directory of the same file system outside the folder, where displaced files are kept.
pub(super) const OUTSIDE: NodeId = NodeId(1);

/// A name as a disk has it: bytes.
pub(super) type Name = Vec<u8>;
/// An entry of a directory.
pub(super) type Place = (NodeId, Name);

/// Numbers of errors, as on Linux (`errno.h`).
pub(super) mod errno {
    pub(in super::super) const ENOENT: i32 = 2;
    pub(in super::super) const EIO: i32 = 5;
    pub(in super::super) const EBADF: i32 = 9;
    pub(in super::super) const EACCES: i32 = 13;
    pub(in super::super) const EEXIST: i32 = 17;
    pub(in super::super) const EXDEV: i32 = 18;
    pub(in super::super) const ENOTDIR: i32 = 20;
    pub(in super::super) const EISDIR: i32 = 21;
    pub(in super::super) const EINVAL: i32 = 22;
    pub(in super::super) const ENOSPC: i32 = 28;
    pub(in super::super) const ENAMETOOLONG: i32 = 36;
    pub(in super::super) const ENOTEMPTY: i32 = 39;
    pub(in super::super) const ELOOP: i32 = 40;
}
use errno::*;

/// Longest path and longest text of a link, as Linux has it (`PATH_MAX`, with its final zero).
const PATH_BYTES_MAX: usize = 4096;

/// The error of this number.
pub(super) fn failed<T>(number: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(number))
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Dir(BTreeMap<Name, NodeId>),
    File(Arc<Vec<u8>>),
    Link(Vec<u8>),
    Pipe,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) inode: u64,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
    pub(super) btime_ns: i64,
    /// Where it stands; `None` once it was removed, while somebody still has it open.
    pub(super) place: Option<Place>,
}

impl Node {
    pub(super) fn new(body: Body, mode: u32, inode: u64, now_ns: i64) -> Self {
        Self { body, mode, inode, mtime_ns: now_ns, ctime_ns: now_ns, btime_ns: now_ns, place: None }
    }

    pub(super) const fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir(_))
    }

    pub(super) fn content(&self) -> Option<&Arc<Vec<u8>>> {
        match &self.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }

    pub(super) fn found(&self, device: u64) -> Found {
        let (kind, size) = match &self.body {
            Body::Dir(_) => (FoundKind::Dir, 4096),
            Body::File(content) => (FoundKind::File, content.len()),
            Body::Link(target) => (FoundKind::Link, target.len()),
            Body::Pipe => (FoundKind::Other, 0),
        };
        let stat = Stat {
            size: size as u64,
            mtime_ns: self.mtime_ns,
            ctime_ns: self.ctime_ns,
            btime_ns: self.btime_ns,
            inode: self.inode,
            device,
            exec: kind == FoundKind::File && self.mode & 0o100 != 0,
        };
        Found { kind, stat }
    }
}

/// One change of the tree's shape or rights; what happens to bytes is not among them.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Make { at: Place, node: NodeId, new: Node },
    Remove { at: Place, node: NodeId },
    Rename { from: Place, to: Place, node: NodeId, replaced: Option<NodeId> },
    Exchange { a: Place, b: Place },
    Mode { node: NodeId, mode: u32 },
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    /// What it does not tell apart in names; it keeps them as they are written.
    pub(super) folds: Folds,
}

impl Tree {
    pub(super) fn new(now_ns: i64, folds: Folds) -> Self {
        let dir = |inode| Node::new(Body::Dir(BTreeMap::new()), 0o755, inode, now_ns);
        Self { nodes: BTreeMap::from([(ROOT, dir(2)), (OUTSIDE, dir(3))]), folds }
    }

    /// A node that some directory, handle or change names.
    ///
    /// # Panics
    /// When there is none: the simulation is broken then.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(&id).expect("what is named is there")
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("what is named is there")
    }

    pub(super) fn entries(&self, dir: NodeId) -> &BTreeMap<Name, NodeId> {
        match &self.node(dir).body {
            Body::Dir(entries) => entries,
            _ => unreachable!("places are in directories"),
        }
    }

    fn entries_mut(&mut self, dir: NodeId) -> &mut BTreeMap<Name, NodeId> {
        match &mut self.node_mut(dir).body {
            Body::Dir(entries) => entries,
            _ => unreachable!("places are in directories"),
        }
    }

    /// Asks for rights of the owner: 4 to read, 2 to write, 1 to go through.
    pub(super) fn may(&self, node: NodeId, rights: u32) -> io::Result<()> {
        let has = (self.node(node).mode >> 6) & 7;
        if has & rights == rights { Ok(()) } else { failed(EACCES) }
    }

    /// Finds a directory, and follows no link.
    pub(super) fn dir(&self, path: &RelPath) -> io::Result<NodeId> {
        let bytes: usize = path.components().iter().map(|component| component.len() + 1).sum();
        if path.components().iter().any(|component| component.contains('\0')) {
            return failed(EINVAL);
        }
        if bytes > PATH_BYTES_MAX {
            return failed(ENAMETOOLONG);
        }
        let mut at = ROOT;
        for component in path.components() {
            let Some(next) = self.lookup(&(at, component.clone().into_bytes()))? else { return failed(ENOENT) };
            match self.node(next).body {
                Body::Dir(_) => at = next,
                Body::Link(_) => return failed(ELOOP),
                Body::File(_) | Body::Pipe => return failed(ENOTDIR),
            }
        }
        // A handle of the directory is opened to read it.
        self.may(at, 4)?;
        Ok(at)
    }

    /// The directory of a path, and the name in it.
    pub(super) fn place(&self, path: &RelPath) -> io::Result<Place> {
        let (dir, name) = path.split().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.dir(&dir)?, name.as_bytes().to_vec()))
    }

    /// What no call to the system can say.
    pub(super) fn check_name((_, name): &Place) -> io::Result<()> {
        if name.contains(&0) { failed(EINVAL) } else { Ok(()) }
    }

    pub(super) fn lookup(&self, at: &Place) -> io::Result<Option<NodeId>> {
        Self::check_name(at)?;
        let (dir, name) = at;
        self.may(*dir, 1)?;
        if name.len() > limits::COMPONENT_BYTES_MAX {
            return failed(ENAMETOOLONG);
        }
        Ok(self.entries(*dir).get(&self.spelled(at).1).copied())
    }

    /// What names have in common that are one here. Names that are no text are each their own.
    pub(super) fn key(&self, name: &Name) -> Name {
        std::str::from_utf8(name).map_or_else(|_| name.clone(), |text| self.folds.key(text).as_bytes().to_vec())
    }

    /// A place as it is written, if something stands there under a name that is the same one here.
    pub(super) fn spelled(&self, at: &Place) -> Place {
        let entries = self.entries(at.0);
        if !self.folds.any() || entries.contains_key(&at.1) {
            return at.clone();
        }
        let key = self.key(&at.1);
        (at.0, entries.keys().find(|name| self.key(name) == key).unwrap_or(&at.1).clone())
    }

    pub(super) fn existing(&self, at: &Place) -> io::Result<NodeId> {
        self.lookup(at)?.map_or_else(|| failed(ENOENT), Ok)
    }

    pub(super) fn check_link_text(target: &[u8]) -> io::Result<()> {
        match target {
            [] => failed(ENOENT),
            _ if target.contains(&0) => failed(EINVAL),
            _ if target.len() >= PATH_BYTES_MAX => failed(ENAMETOOLONG),
            _ => Ok(()),
        }
    }

    /// Whether `below` is `above` or in it.
    pub(super) fn is_within(&self, above: NodeId, below: NodeId) -> bool {
        let mut at = below;
        loop {
            if at == above {
                return true;
            }
            match &self.node(at).place {
                Some((dir, _)) => at = *dir,
                None => return false,
            }
        }
    }

    /// Names from the root down, or `None` for what is not in the folder.
    pub(super) fn names(&self, node: NodeId) -> Option<Vec<Name>> {
        let mut names = Vec::new();
        let mut at = node;
        while at != ROOT {
            let (dir, name) = self.nodes.get(&at)?.place.as_ref()?;
            names.push(name.clone());
            at = *dir;
        }
        names.reverse();
        Some(names)
    }

    /// Where a node is in the folder, if its names are text.
    pub(super) fn path(&self, node: NodeId) -> Option<RelPath> {
        let names: Option<Vec<String>> =
            self.names(node)?.into_iter().map(|name| String::from_utf8(name).ok()).collect();
        names.map(RelPath::from_components)
    }

    /// Everything under a node, directories before what is in them.
    pub(super) fn below(&self, top: NodeId) -> Vec<NodeId> {
        let mut found = vec![top];
        let mut next = 0;
        while let Some(id) = found.get(next).copied() {
            if let Body::Dir(entries) = &self.node(id).body {
                found.extend(entries.values());
            }
            next += 1;
        }
        found.remove(0);
        found
    }

    fn unhook(&mut self, at: &Place, now_ns: i64) -> Option<NodeId> {
        let removed = self.entries_mut(at.0).remove(&at.1);
        self.changed(at.0, now_ns);
        removed
    }

    fn hook(&mut self, at: &Place, node: NodeId, now_ns: i64) {
        self.entries_mut(at.0).insert(at.1.clone(), node);
        self.changed(at.0, now_ns);
        let node = self.node_mut(node);
        node.place = Some(at.clone());
        node.ctime_ns = now_ns;
    }

    fn changed(&mut self, dir: NodeId, now_ns: i64) {
        let dir = self.node_mut(dir);
        (dir.mtime_ns, dir.ctime_ns) = (now_ns, now_ns);
    }

    /// Carries out a change that was checked. Returns what has no place any more; whoever calls lets it go.
    pub(super) fn apply(&mut self, change: &Change, now_ns: i64) -> Option<NodeId> {
        let mut detached = None;
        match change {
            Change::Make { at, node, new } => {
                self.nodes.insert(*node, new.clone());
                self.hook(at, *node, now_ns);
            }
            Change::Remove { at, node } => {
                self.unhook(at, now_ns);
                detached = Some(*node);
            }
            Change::Rename { from, to, node, replaced } => {
                self.unhook(from, now_ns);
                if replaced.is_some() {
                    self.unhook(to, now_ns);
                }
                detached = *replaced;
                self.hook(to, *node, now_ns);
            }
            Change::Exchange { a, b } => {
                let left = self.unhook(a, now_ns).expect("both sides of an exchange are there");
                let right = self.unhook(b, now_ns).expect("both sides of an exchange are there");
                self.hook(a, right, now_ns);
                self.hook(b, left, now_ns);
            }
            // What it was of may be gone by now.
            Change::Mode { node, mode } => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.mode = *mode;
                    node.ctime_ns = now_ns;
                }
            }
        }
        if let Some(node) = detached {
            let node = self.node_mut(node);
            node.place = None;
            node.ctime_ns = now_ns;
        }
        detached
    }
}
