//! What people and their programs do to files, one system call a step, so that anything can come between two of them.

use std::{collections::BTreeSet, io, sync::Arc};

use sync_core::{folder::disk::state_path, tree::RelPath};

use super::{
    state::{Rename, State, Who},
    tree::{Body, NodeId, errno, failed},
};

/// How a file is opened to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenHow {
    /// Made where it is not there; what is in it goes.
    Truncate,
    /// Made where it is not there; writes go to its end.
    Append,
    /// Made; it must not be there.
    New,
    /// It must be there; what is in it stays, and writes begin at its start.
    InPlace,
}

/// One step of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserOp {
    /// Opens a file to write.
    Open {
        /// Names the open file until it is closed.
        fd: u64,
        /// Where.
        path: RelPath,
        /// How.
        how: OpenHow,
    },
    /// Writes where the open file is.
    Write {
        /// The open file.
        fd: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Writes through a memory map from the file's start: nobody is told before the file is closed.
    WriteMapped {
        /// The open file.
        fd: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Cuts an open file, or fills it up with zeros.
    SetLen {
        /// The open file.
        fd: u64,
        /// Bytes.
        len: u64,
    },
    /// Flushes an open file.
    Flush {
        /// The open file.
        fd: u64,
    },
    /// Closes an open file: what is in it counts as saved.
    Close {
        /// The open file.
        fd: u64,
    },
    /// Makes a directory.
    MakeDir(RelPath),
    /// Makes a link.
    MakeLink {
        /// Where.
        path: RelPath,
        /// Its text.
        target: String,
    },
    /// Gives a file a second name.
    MakeHardLink {
        /// Its first one.
        from: RelPath,
        /// The second.
        to: RelPath,
    },
    /// Makes a pipe.
    MakePipe(RelPath),
    /// Makes an empty file whose name need not be text.
    MakeRaw {
        /// Where.
        dir: RelPath,
        /// Its name.
        name: Vec<u8>,
    },
    /// Renames, over whatever is there.
    Rename {
        /// From here.
        from: RelPath,
        /// To there.
        to: RelPath,
    },
    /// Moves something out of the folder.
    MoveOut {
        /// From here.
        from: RelPath,
        /// Its name there.
        name: String,
    },
    /// Moves it in again.
    MoveIn {
        /// Its name outside.
        name: String,
        /// To here.
        to: RelPath,
    },
    /// Removes a file or link.
    Remove(RelPath),
    /// Removes an empty directory.
    RemoveDir(RelPath),
    /// Sets all permissions.
    Chmod {
        /// Of what.
        path: RelPath,
        /// The nine bits.
        mode: u32,
    },
    /// Sets the modification time to now.
    Touch(RelPath),
    /// Sets the modification time, as an archive does that is unpacked.
    SetTime {
        /// Of what.
        path: RelPath,
        /// Nanoseconds since 1970.
        mtime_ns: i64,
    },
}

/// A file that a user has open.
#[derive(Debug, Clone)]
pub(super) struct Fd {
    pub(super) node: NodeId,
    path: RelPath,
    offset: u64,
    append: bool,
    changed: bool,
    /// Whether the code under test was told of it, and its user has not taken the file's name away since: what is written
    /// through it is then not to be lost.
    told: bool,
}

impl UserOp {
    /// The same, with its open file numbered from `first` on.
    #[must_use]
    pub fn numbered_from(mut self, first: u64) -> Self {
        if let Self::Open { fd, .. }
        | Self::Write { fd, .. }
        | Self::WriteMapped { fd, .. }
        | Self::SetLen { fd, .. }
        | Self::Flush { fd }
        | Self::Close { fd } = &mut self
        {
            *fd += first;
        }
        self
    }
}

impl State {
    /// Carries out a step of a user.
    pub(super) fn user(&mut self, op: &UserOp) -> io::Result<()> {
        self.tick();
        let who = Who::User;
        match op {
            UserOp::Open { fd, path, how } => self.user_open(*fd, path, *how),
            UserOp::Write { fd, bytes } => self.user_write(*fd, bytes),
            UserOp::WriteMapped { fd, bytes } => {
                let node = self.fd(*fd)?.node;
                self.fd(*fd)?.changed = true;
                self.let_go_of_bytes(node);
                self.watch.hush(true);
                let written = self.write_at(node, 0, bytes, who);
                self.watch.hush(false);
                written.map(drop)
            }
            UserOp::SetLen { fd, len } => {
                let node = self.fd(*fd)?.node;
                self.let_go_of_bytes(node);
                self.set_len(node, *len, who)?;
                self.fd(*fd)?.changed = true;
                Ok(())
            }
            UserOp::Flush { fd } => {
                let node = self.fd(*fd)?.node;
                self.flush_file(node);
                Ok(())
            }
            UserOp::Close { fd } => self.user_close(*fd),
            UserOp::MakeDir(path) => self.make(path, Body::Dir([].into()), who).map(drop),
            UserOp::MakeLink { path, target } => self.make(path, Body::Link(target.clone().into()), who).map(drop),
            UserOp::MakeHardLink { from, to } => self.link(from, to),
            UserOp::MakePipe(path) => self.make(path, Body::Pipe, who).map(drop),
            UserOp::MakeRaw { dir, name } => {
                let at = (self.live.dir(dir)?, name.clone());
                self.make_at(&at, Body::File(Arc::default()), who).map(drop)
            }
            UserOp::Rename { from, to } => self.rename(from, to, Rename::Replace, who),
            UserOp::MoveOut { from, name } => self.move_out(from, name),
            UserOp::MoveIn { name, to } => self.move_in(name, to),
            UserOp::Remove(path) => self.remove_file(path, who),
            UserOp::RemoveDir(path) => self.remove_dir(path, who),
            UserOp::Chmod { path, mode } => {
                let node = self.live.existing(&self.live.place(path)?)?;
                self.chmod(node, *mode, who);
                Ok(())
            }
            UserOp::Touch(path) => {
                let now_ns = self.stamp();
                self.set_time(path, now_ns)
            }
            UserOp::SetTime { path, mtime_ns } => self.set_time(path, *mtime_ns),
        }
    }

    fn fd(&mut self, fd: u64) -> io::Result<&mut Fd> {
        self.fds.get_mut(&fd).map_or_else(|| failed(errno::EBADF), Ok)
    }

    fn user_open(&mut self, fd: u64, path: &RelPath, how: OpenHow) -> io::Result<()> {
        let at = self.live.place(path)?;
        let mut changed = true;
        let node = match (self.live.lookup(&at)?, how) {
            (Some(_), OpenHow::New) => return failed(errno::EEXIST),
            (None, OpenHow::InPlace) => return failed(errno::ENOENT),
            (None, _) => self.make_at(&at, Body::File(Arc::default()), Who::User)?,
            (Some(node), _) => {
                self.check_writable(node)?;
                changed = how == OpenHow::Truncate;
                if changed {
                    self.let_go_of_bytes(node);
                    self.set_len(node, 0, Who::User)?;
                }
                node
            }
        };
        self.hold(node);
        let open = Fd { node, path: path.clone(), offset: 0, append: how == OpenHow::Append, changed, told: false };
        self.fds.insert(fd, open);
        Ok(())
    }

    fn user_write(&mut self, fd: u64, bytes: &[u8]) -> io::Result<()> {
        let (node, mut offset) = {
            let fd = self.fd(fd)?;
            (fd.node, fd.offset)
        };
        if self.fd(fd)?.append {
            offset = self.live.node(node).content().map_or(0, |content| content.len() as u64);
        }
        self.let_go_of_bytes(node);
        let written = self.write_at(node, offset, bytes, Who::User);
        let fd = self.fd(fd)?;
        fd.changed = true;
        fd.offset = offset + *written.as_ref().unwrap_or(&0) as u64;
        if written? < bytes.len() { failed(errno::ENOSPC) } else { Ok(()) }
    }

    /// Tells which files users have open.
    pub(super) fn tell_writers(&mut self) -> BTreeSet<RelPath> {
        let live = &self.live;
        let told = self.fds.values_mut().filter_map(|fd| {
            let path = live.path(fd.node)?;
            fd.told = true;
            Some(path)
        });
        told.collect()
    }

    /// A user took the name of a file away.
    pub(super) fn forget_writers(&mut self, node: NodeId) {
        for fd in self.fds.values_mut().filter(|fd| fd.node == node) {
            fd.told = false;
        }
    }

    fn user_close(&mut self, fd: u64) -> io::Result<()> {
        let Some(fd) = self.fds.remove(&fd) else { return failed(errno::EBADF) };
        let node = self.live.node(fd.node);
        if fd.changed
            && let Some(bytes) = node.content().cloned()
        {
            let named = self.live.path(fd.node).filter(|path| !state_path().contains(path));
            let nameless = named.is_none();
            let path = named.unwrap_or(fd.path);
            self.journal.save(path, bytes, fd.node, self.now_ns, self.config.user_writes_durable);
            if nameless && !fd.told {
                self.journal.last_is_nameless();
            }
            self.save_under_other_names(fd.node);
        }
        self.tell(fd.node, true);
        self.release(fd.node);
        Ok(())
    }

    pub(super) fn set_time(&mut self, path: &RelPath, mtime_ns: i64) -> io::Result<()> {
        let node = self.live.existing(&self.live.place(path)?)?;
        let now_ns = self.stamp();
        let target = self.live.node_mut(node);
        (target.mtime_ns, target.ctime_ns) = (mtime_ns, now_ns);
        if self.config.user_writes_durable
            && let Some(target) = self.durable.nodes.get_mut(&node)
        {
            (target.mtime_ns, target.ctime_ns) = (mtime_ns, now_ns);
        }
        self.tell(node, false);
        Ok(())
    }
}
