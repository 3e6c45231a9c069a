//! One file on a disk that fails when it is told to and loses what was not synced when the power goes.
//!
//! [`SimDisk`] is the file; clones are further handles to it, as another process would have. It serves as redb's
//! [`StorageBackend`], with the lock that a real file has: one open handle at a time. There is no clock and no ambient
//! randomness: all chance comes from the seeds that the caller brings. What survives a power cut is decided in
//! [`image`](super::image).

use std::{
    fmt, io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard},
};

use redb::{BackendError, StorageBackend};

use super::{
    image::{Image, Loss, Op, after_loss},
    replay::Log,
    rng,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Which calls a failure is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// All.
    Any,
    /// Reads, and questions for the length.
    Read,
    /// Writes, and changes of the length.
    Write,
    /// Syncs.
    Sync,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`; nothing was done. After a sync that failed so, a later one still saves everything.
    Io,
    /// `ENOSPC` for what writes, `EIO` for what reads.
    Full,
    /// Half of the bytes were read or written, then `EIO`.
    Short,
    /// For a sync, `EIO`, and the writes before it count as clean: reads show them, but some, by this seed, never reach the
    /// disk, although later syncs succeed. Linux does so; see Rebello et al., "Can Applications Recover from fsync
    /// Failures?", ATC 2020. Other calls fail as by [`Fault::Io`].
    LostSync(u64),
    /// One bit of what is read or written is turned around, and nobody is told; this one, counted modulo the length.
    /// Other calls succeed.
    Flip(u64),
}

/// A failure on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Which calls count.
    pub call: Call,
    /// How many of them still succeed.
    pub after: u64,
    /// What goes wrong then.
    pub fault: Fault,
    /// Whether it stays so until [`SimDisk::heal`].
    pub lasts: bool,
}

/// What was done to a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads, and questions for the length.
    pub reads: u64,
    /// Bytes that reads asked for.
    pub read_bytes: u64,
    /// Writes, and changes of the length.
    pub writes: u64,
    /// Bytes that writes brought.
    pub written_bytes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Calls that failures met.
    pub faults: u64,
}

impl Counters {
    /// All calls.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.reads + self.writes + self.syncs
    }
}

#[derive(Debug, Default)]
struct File {
    durable: Image,
    /// What reads show.
    seen: Image,
    unsynced: Vec<Op>,
    /// Counts power cuts: handles from before one are dead.
    cuts: u64,
    handles: u64,
    locked_by: Option<u64>,
    failures: Vec<Failure>,
    bytes_max: Option<u64>,
    counters: Counters,
    log: Option<Log>,
}

impl File {
    fn done(&mut self, op: Op) {
        if let Some(log) = &mut self.log {
            log.ops.push(op.clone());
        }
        if op == Op::Sync {
            for op in self.unsynced.drain(..) {
                self.durable.apply(&op);
            }
        } else {
            self.seen.apply(&op);
            self.unsynced.push(op);
        }
    }

    /// Counts a call and tells what befalls it.
    fn fault(&mut self, call: Call) -> Option<Fault> {
        match call {
            Call::Sync => self.counters.syncs += 1,
            Call::Write => self.counters.writes += 1,
            Call::Read | Call::Any => self.counters.reads += 1,
        }
        let mut due = None;
        self.failures.retain_mut(|failure| {
            if failure.call != Call::Any && failure.call != call {
                return true;
            }
            if failure.after > 0 {
                failure.after -= 1;
                return true;
            }
            due = due.or(Some(failure.fault));
            failure.lasts
        });
        self.counters.faults += u64::from(due.is_some());
        due
    }

    fn put_on(&mut self, image: Image) {
        self.cuts += 1;
        self.locked_by = None;
        self.unsynced.clear();
        self.durable = image.clone();
        self.seen = image;
        self.log = None;
    }
}

/// A handle to a file on a simulated disk.
pub struct SimDisk {
    file: Arc<Mutex<File>>,
    cuts: u64,
    handle: u64,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file();
        f.debug_struct("SimDisk").field("seen", &file.seen).field("unsynced", &file.unsynced.len()).finish()
    }
}

impl Clone for SimDisk {
    fn clone(&self) -> Self {
        let mut file = self.file();
        file.handles += 1;
        Self { file: Arc::clone(&self.file), cuts: self.cuts, handle: file.handles }
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::from_image(Image::default())
    }
}

fn os_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl SimDisk {
    /// A disk that holds this, all of it durable.
    #[must_use]
    pub fn from_image(image: Image) -> Self {
        let file = File { durable: image.clone(), seen: image, ..File::default() };
        Self { file: Arc::new(Mutex::new(file)), cuts: 0, handle: 0 }
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().expect("nothing panics while it holds the lock")
    }

    fn handle_of(&self, file: &mut File) -> Self {
        file.handles += 1;
        Self { file: Arc::clone(&self.file), cuts: file.cuts, handle: file.handles }
    }

    /// Cuts the power. All handles are dead; the new one sees what survived. A recording ends, and failures that were on
    /// their way do not come.
    #[must_use]
    pub fn crash(&self, loss: Loss, seed: u64) -> Self {
        let mut file = self.file();
        let image = after_loss(&file.durable, &file.unsynced, loss, &mut rng(seed));
        file.put_on(image);
        file.failures.clear();
        self.handle_of(&mut file)
    }

    /// Puts an image in the file's place, such as an old backup. All handles are dead; the new one sees the image.
    #[must_use]
    pub fn restore(&self, image: Image) -> Self {
        let mut file = self.file();
        file.put_on(image);
        self.handle_of(&mut file)
    }

    /// What reads show now.
    #[must_use]
    pub fn image(&self) -> Image {
        self.file().seen.clone()
    }

    /// Another disk that holds the same, durable and not: a copy that the first knows nothing of.
    #[must_use]
    pub fn fork(&self) -> Self {
        let file = self.file();
        let copy = File {
            durable: file.durable.clone(),
            seen: file.seen.clone(),
            unsynced: file.unsynced.clone(),
            ..File::default()
        };
        Self { file: Arc::new(Mutex::new(copy)), cuts: 0, handle: 0 }
    }

    /// Lets a call fail.
    pub fn fail(&self, failure: Failure) {
        self.file().failures.push(failure);
    }

    /// Takes back all failures and the limit.
    pub fn heal(&self) {
        let mut file = self.file();
        file.failures.clear();
        file.bytes_max = None;
    }

    /// Limits the room on the disk: writes that would take more fail with `ENOSPC`. Holes take no room.
    pub fn limit(&self, bytes_max: Option<u64>) {
        self.file().bytes_max = bytes_max;
    }

    /// Turns one bit around on the disk itself.
    ///
    /// # Panics
    /// When the file has no such bit.
    pub fn flip_bit(&self, bit: u64) {
        let mut file = self.file();
        file.seen.flip_bit(bit);
        if bit / 8 < file.durable.len() {
            file.durable.flip_bit(bit);
        }
    }

    /// Forgets what the operating system held in memory: what a failed sync lost is now seen to be lost.
    pub fn evict(&self) {
        let mut file = self.file();
        file.seen = file.durable.clone();
        let file = &mut *file;
        file.unsynced.iter().for_each(|op| file.seen.apply(op));
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.file().counters
    }

    /// Begins a recording.
    pub fn record(&self) {
        let mut file = self.file();
        file.log = Some(Log { base: file.durable.clone(), ops: file.unsynced.clone() });
    }

    /// How many operations are recorded.
    #[must_use]
    pub fn recorded(&self) -> usize {
        self.file().log.as_ref().map_or(0, |log| log.ops.len())
    }

    /// Ends the recording and gives it out.
    #[must_use]
    pub fn take_log(&self) -> Option<Log> {
        self.file().log.take()
    }

    /// Begins a call: fails on a dead handle, else tells what befalls it.
    fn call(&self, call: Call) -> io::Result<(MutexGuard<'_, File>, Option<Fault>)> {
        let mut file = self.file();
        if self.cuts != file.cuts {
            return Err(io::Error::other("the power was cut"));
        }
        let fault = file.fault(call);
        Ok((file, fault))
    }
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        match self.call(Call::Read)? {
            (file, None | Some(Fault::Flip(_))) => Ok(file.seen.len()),
            (_, Some(_)) => Err(os_error(EIO)),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (mut file, fault) = self.call(Call::Read)?;
        file.counters.read_bytes += out.len() as u64;
        match fault {
            None => file.seen.read(offset, out),
            Some(Fault::Flip(bit)) => {
                file.seen.read(offset, out)?;
                flip(out, bit);
                Ok(())
            }
            Some(Fault::Short) => {
                let half = out.len() / 2;
                file.seen.read(offset, &mut out[..half])?;
                Err(os_error(EIO))
            }
            Some(_) => Err(os_error(EIO)),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut file, fault) = self.call(Call::Write)?;
        match fault {
            None | Some(Fault::Flip(_)) => {
                file.done(Op::SetLen(len));
                Ok(())
            }
            Some(Fault::Full) => Err(os_error(ENOSPC)),
            Some(_) => Err(os_error(EIO)),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut file, fault) = self.call(Call::Sync)?;
        match fault {
            None | Some(Fault::Flip(_)) => {
                file.done(Op::Sync);
                Ok(())
            }
            Some(Fault::LostSync(seed)) => {
                let unsynced = std::mem::take(&mut file.unsynced);
                file.durable = after_loss(&file.durable, &unsynced, Loss::Torn, &mut rng(seed));
                Err(os_error(EIO))
            }
            Some(Fault::Full) => Err(os_error(ENOSPC)),
            Some(_) => Err(os_error(EIO)),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (mut file, fault) = self.call(Call::Write)?;
        file.counters.written_bytes += data.len() as u64;
        let wanted = file.seen.held_bytes() + file.seen.wanted_bytes(offset, data.len());
        if file.bytes_max.is_some_and(|bytes_max| wanted > bytes_max.max(file.seen.held_bytes())) {
            file.counters.faults += 1;
            return Err(os_error(ENOSPC));
        }
        match fault {
            None => {
                file.done(Op::Write { offset, bytes: data.into() });
                Ok(())
            }
            Some(Fault::Flip(bit)) => {
                let mut bytes = data.to_vec();
                flip(&mut bytes, bit);
                file.done(Op::Write { offset, bytes: bytes.into() });
                Ok(())
            }
            Some(Fault::Short) => {
                file.done(Op::Write { offset, bytes: data[..data.len() / 2].into() });
                Err(os_error(EIO))
            }
            Some(Fault::Full) => Err(os_error(ENOSPC)),
            Some(_) => Err(os_error(EIO)),
        }
    }

    fn close(&self) -> io::Result<()> {
        let mut file = self.file();
        if file.locked_by == Some(self.handle) {
            file.locked_by = None;
        }
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if !matches!((start, end), (Bound::Unbounded | Bound::Included(0), Bound::Unbounded)) {
            return Err(BackendError::Unsupported);
        }
        let mut file = self.file();
        if self.cuts != file.cuts {
            return Err(BackendError::Io(io::Error::other("the power was cut")));
        }
        let is_free = file.locked_by.is_none();
        if is_free {
            file.locked_by = Some(self.handle);
        }
        Ok(is_free)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        self.close().map_err(BackendError::Io)
    }
}

fn flip(bytes: &mut [u8], bit: u64) {
    if !bytes.is_empty() {
        let bit = (bit % (bytes.len() as u64 * 8)) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(disk: &SimDisk, at: u64) -> u8 {
        let mut byte = [0];
        disk.read(at, &mut byte).expect("reads");
        byte[0]
    }

    fn once(call: Call, after: u64, fault: Fault) -> Failure {
        Failure { call, after, fault, lasts: false }
    }

    #[test]
    fn what_was_synced_survives_and_old_handles_are_dead() {
        let disk = SimDisk::default();
        disk.write(0, &[1; 4096]).expect("writes");
        disk.sync_data().expect("syncs");
        disk.write(0, &[2; 4096]).expect("writes");
        assert_eq!(byte(&disk, 0), 2);
        let other = disk.fork();
        let after = disk.crash(Loss::All, 0);
        assert_eq!(byte(&after, 0), 1);
        assert!(disk.read(0, &mut [0]).is_err() && disk.write(0, &[3]).is_err() && disk.sync_data().is_err());
        assert_eq!(byte(&after, 0), 1, "a dead handle writes nothing");
        assert_eq!(byte(&other.crash(Loss::Nothing, 0), 0), 2, "the copy has its own fate");
    }

    #[test]
    fn a_backup_is_restored() {
        let disk = SimDisk::default();
        disk.write(0, &[1; 10]).expect("writes");
        let backup = disk.image();
        disk.write(0, &[2; 10]).expect("writes");
        let restored = disk.restore(backup);
        assert_eq!(byte(&restored, 9), 1);
        assert!(disk.len().is_err());
    }

    #[test]
    fn calls_fail_by_plan() {
        let disk = SimDisk::default();
        disk.fail(once(Call::Write, 1, Fault::Io));
        disk.fail(once(Call::Write, 3, Fault::Short));
        disk.write(0, &[1; 512]).expect("the first");
        assert_eq!(disk.write(0, &[2; 512]).expect_err("the second").raw_os_error(), Some(EIO));
        disk.write(0, &[3; 512]).expect("the third");
        assert!(disk.write(0, &[4; 512]).is_err());
        assert_eq!((byte(&disk, 255), byte(&disk, 256)), (4, 3), "half of it");
        disk.fail(Failure { lasts: true, ..once(Call::Any, 0, Fault::Full) });
        assert_eq!(disk.set_len(1).expect_err("full").raw_os_error(), Some(ENOSPC));
        assert!(disk.read(0, &mut [0]).is_err() && disk.sync_data().is_err());
        disk.heal();
        disk.fail(once(Call::Read, 0, Fault::Flip(3)));
        let mut bytes = [0];
        disk.read(300, &mut bytes).expect("says nothing");
        assert_eq!((bytes[0], byte(&disk, 300)), (3 ^ 8, 3));
        assert_eq!(disk.counters().faults, 6);
    }

    #[test]
    fn a_disk_that_is_full_takes_no_more_pages() {
        let disk = SimDisk::default();
        disk.set_len(100_000).expect("a hole takes no room");
        disk.limit(Some(8192));
        disk.write(0, &[1; 8192]).expect("there is room");
        assert_eq!(disk.write(90_000, &[1]).expect_err("full").raw_os_error(), Some(ENOSPC));
        disk.write(10, &[2; 100]).expect("what is there can be written again");
        disk.limit(None);
        disk.write(90_000, &[1]).expect("there is room again");
    }

    #[test]
    fn what_a_failed_sync_lost_stays_lost_though_reads_show_it() {
        let lost = (0..100).any(|seed| {
            let disk = SimDisk::default();
            disk.write(0, &[1; 512]).expect("writes");
            disk.sync_data().expect("syncs");
            disk.write(0, &[2; 512]).expect("writes");
            disk.fail(once(Call::Sync, 0, Fault::LostSync(seed)));
            assert!(disk.sync_data().is_err());
            disk.sync_data().expect("a later one succeeds");
            assert_eq!(byte(&disk, 0), 2, "from memory");
            let fork = disk.fork();
            fork.evict();
            let crashed = disk.crash(Loss::Nothing, 0);
            assert_eq!(byte(&crashed, 0), byte(&fork, 0));
            byte(&crashed, 0) == 1
        });
        assert!(lost);
    }

    #[test]
    fn one_handle_holds_the_lock() {
        let disk = SimDisk::default();
        let (a, b) = (disk.clone(), disk.clone());
        let all = (Bound::Unbounded, Bound::Unbounded);
        assert!(a.try_lock_range(all.0, all.1).expect("asks"));
        assert!(!b.try_lock_range(all.0, all.1).expect("asks"));
        b.close().expect("closes");
        assert!(!b.try_lock_range(all.0, all.1).expect("asks"), "it is not b's to give up");
        a.close().expect("closes");
        assert!(b.try_lock_range(all.0, all.1).expect("asks"));
        let after = disk.crash(Loss::All, 0);
        assert!(after.try_lock_range(all.0, all.1).expect("asks"), "locks die with the power");
    }

    #[test]
    fn a_recording_replays_to_the_disk_that_it_was() {
        let disk = SimDisk::default();
        disk.write(0, &[1; 512]).expect("writes");
        disk.record();
        disk.sync_data().expect("syncs");
        disk.write(0, &[2; 512]).expect("writes");
        assert_eq!(disk.recorded(), 3);
        let log = disk.take_log().expect("was recorded");
        let mut replay = log.replay();
        let mut seen = Vec::new();
        loop {
            let of = |loss| {
                let image = replay.image(loss, &mut rng(0));
                (!image.is_empty()).then(|| byte(&SimDisk::from_image(image), 0))
            };
            seen.push((of(Loss::All), of(Loss::Nothing)));
            if !replay.step() {
                break;
            }
        }
        assert_eq!(seen, [(None, None), (None, Some(1)), (Some(1), Some(1)), (Some(1), Some(2))]);
    }
}
