//! Open files of the code under test. Each read and write is a call of its own: a user may come between any two.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use sync_core::{
    folder::{FileRead, FileWrite},
    store::row::Stat,
    tree::RelPath,
};

use super::{
    SimFs,
    faults::DiskFault,
    state::{State, Who},
    tree::{Body, NodeId, errno, failed},
};

/// A file that is open for reading.
pub(super) struct SimRead {
    fs: SimFs,
    node: NodeId,
    offset: usize,
    epoch: u64,
}

impl SimRead {
    pub(super) const fn new(fs: SimFs, node: NodeId, epoch: u64) -> Self {
        Self { fs, node, offset: 0, epoch }
    }

    fn call<T>(&self, run: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.fs.state();
        match state.enter("read", &[]) {
            Err(fault) => failed(fault.errno()),
            Ok(()) if state.epoch != self.epoch => failed(errno::EIO),
            Ok(()) => run(&mut state),
        }
    }
}

impl Read for SimRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.call(|state| match &state.live.node(self.node).body {
            Body::File(content) => {
                let rest = content.get(self.offset..).unwrap_or_default();
                let count = rest.len().min(buffer.len()).min(state.config.read_bytes_max);
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
            Body::Dir(_) => failed(errno::EISDIR),
            Body::Link(_) | Body::Pipe => Ok(0),
        })?;
        self.offset += count;
        Ok(count)
    }
}

impl FileRead for SimRead {
    fn stat(&self) -> io::Result<Stat> {
        self.call(|state| Ok(state.live.node(self.node).found(state.device_of(self.node)).stat))
    }
}

impl Drop for SimRead {
    fn drop(&mut self) {
        let mut state = self.fs.state();
        if state.epoch == self.epoch {
            state.release(self.node);
        }
    }
}

/// A file that is open for writing.
pub(super) struct SimWrite {
    fs: SimFs,
    node: NodeId,
    offset: u64,
    epoch: u64,
    path: RelPath,
}

impl SimWrite {
    pub(super) const fn new(fs: SimFs, node: NodeId, epoch: u64, path: RelPath) -> Self {
        Self { fs, node, offset: 0, epoch, path }
    }
}

impl Write for SimWrite {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = {
            let mut state = self.fs.state();
            match state.enter("write", &[&self.path]) {
                Err(fault) => failed(fault.errno()),
                Ok(()) if state.epoch != self.epoch => failed(errno::EIO),
                Ok(()) => state.write_at(self.node, self.offset, bytes, Who::Folder),
            }?
        };
        self.offset += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FileWrite for SimWrite {
    fn flush_to_disk(&mut self) -> io::Result<()> {
        let mut state = self.fs.state();
        match state.enter("flush", &[]) {
            Err(fault) => {
                state.log.lose_pages(self.node);
                failed(fault.errno())
            }
            Ok(()) if state.epoch != self.epoch => failed(errno::EIO),
            Ok(()) => {
                state.flush_file(self.node);
                Ok(())
            }
        }
    }
}

impl Drop for SimWrite {
    fn drop(&mut self) {
        let mut state = self.fs.state();
        if state.epoch == self.epoch {
            state.tell(self.node, true);
            state.release(self.node);
        }
    }
}

/// Makes a file of these bytes.
pub(super) fn write_new(state: &mut State, path: &RelPath, bytes: &[u8], flush: bool) -> io::Result<()> {
    let node = state.make(path, Body::File(Arc::default()), Who::Folder)?;
    let written = if bytes.is_empty() { 0 } else { state.write_at(node, 0, bytes, Who::Folder)? };
    if written < bytes.len() {
        return failed(errno::ENOSPC);
    }
    if flush {
        state.flush_file(node);
    }
    state.tell(node, true);
    Ok(())
}

/// The same, and it breaks on the way: before the file was made, with nothing or a part in it, or at the flush.
pub(super) fn write_broken(state: &mut State, path: &RelPath, bytes: &[u8], fault: DiskFault) -> io::Result<()> {
    let stage = state.faults.rng.below(4);
    if stage > 0 && fault != DiskFault::Denied {
        let node = state.make(path, Body::File(Arc::default()), Who::Folder)?;
        let end = match stage {
            1 => 0,
            2 => state.faults.rng.index(bytes.len()),
            _ => bytes.len(),
        };
        if end > 0 {
            state.write_at(node, 0, &bytes[..end], Who::Folder)?;
        }
        if stage == 3 {
            state.log.lose_pages(node);
        }
    }
    failed(fault.errno())
}
