//! Users: what steps do to real directories, and which of their values somebody owes them afterwards.
//!
//! Nothing here knows which program keeps the folders equal, beyond what it promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    model::{Step, place},
    synchroniser::Promise,
};

/// Bytes of noise in a large file: more than rests in a commit itself.
const LARGE_BYTES: usize = 40_000;

/// Why nobody owes a user a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excuse {
    /// Its own user overwrote or deleted it before anybody can have seen it.
    Unseen,
    /// Its own user overwrote or deleted the only copy, and no history of such files is promised.
    OnlyCopy,
    /// It was written into a file that another version had replaced in that moment.
    Replaced,
}

/// The values of one trace.
#[derive(Debug)]
pub struct Ledger {
    /// Directory of the trace, within each folder.
    dir: String,
    /// Values on the disk of each device that it may not have seen.
    unseen: Vec<BTreeSet<u32>>,
    /// What somebody owes.
    owed: BTreeSet<u32>,
    /// What nobody does.
    excused: BTreeMap<u32, Excuse>,
    /// Steps that found something to do.
    pub effective: u64,
}

impl Ledger {
    /// No values yet.
    #[must_use]
    pub fn new(dir: &str, devices: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            unseen: vec![BTreeSet::new(); devices],
            owed: BTreeSet::new(),
            excused: BTreeMap::new(),
            effective: 0,
        }
    }

    /// How a value is written: found in no other one, nor in other traces.
    #[must_use]
    pub fn token(&self, value: u32) -> String {
        format!("<{} value {value}>", self.dir)
    }

    /// What somebody owes.
    #[must_use]
    pub const fn owed(&self) -> &BTreeSet<u32> {
        &self.owed
    }

    /// What nobody does, and why.
    #[must_use]
    pub const fn excused(&self) -> &BTreeMap<u32, Excuse> {
        &self.excused
    }

    /// The values in some bytes.
    #[must_use]
    pub fn values_in(&self, bytes: &[u8]) -> BTreeSet<u32> {
        let text = String::from_utf8_lossy(bytes);
        let before = format!("<{} value ", self.dir);
        let numbers = text.split(&before).skip(1).filter_map(|rest| rest.split_once('>')?.0.parse().ok());
        numbers.collect()
    }

    /// Files below the trace's directory in a folder that hold values which its device may not have seen.
    #[must_use]
    pub fn unseen_files(&self, folder: &Path, device: usize) -> Vec<PathBuf> {
        let files = files_below(&folder.join(&self.dir)).into_iter();
        let holds = |path: &PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            !self.values_in(&bytes).is_disjoint(&self.unseen[device])
        };
        let within = |path: PathBuf| path.strip_prefix(folder).ok().map(Path::to_owned);
        files.filter(holds).filter_map(within).collect()
    }

    /// A device has taken in what its user saved.
    pub fn seen(&mut self, device: usize) {
        self.unseen[device].clear();
    }

    /// Does what a user does, if there is anything to do. `folders` are those of all devices.
    pub fn act(&mut self, step: &Step, value: u32, folders: &[PathBuf], promise: &dyn Fn(bool) -> Promise) {
        let disk = Disk { dir: &self.dir, folders };
        let done = match *step {
            Step::Write(device, at, in_place) => disk.write(device, place(at), &self.token(value), in_place),
            Step::Append(device, at, in_place) => disk.append(device, place(at), &self.token(value), in_place),
            Step::Truncate(device, at) => disk.truncate(device, place(at)),
            Step::Rename(device, from, to) => disk.rename(device, place(from), place(to)),
            Step::Delete(device, at) => disk.delete(device, place(at)),
            Step::MakeDir(device, at) => fs::create_dir(disk.path(device, place(at))).map(|()| Done::default()),
            _ => return,
        };
        // A name that is taken, or not there: the user gives up.
        let Ok(done) = done else { return };
        self.effective += 1;
        self.note(step, value, done, &disk_holders(&self.dir, folders, step), promise);
    }

    fn note(&mut self, step: &Step, value: u32, done: Done, others: &[Vec<u8>], promise: &dyn Fn(bool) -> Promise) {
        let device = device_of(step);
        for bytes in done.removed {
            let stays = self.values_in(&done.left);
            for lost in self.values_in(&bytes).difference(&stays).copied() {
                let elsewhere = || others.iter().any(|held| self.values_in(held).contains(&lost));
                if self.unseen[device].contains(&lost) {
                    self.excuse(lost, Excuse::Unseen);
                } else if promise(is_text(&bytes)) == Promise::RestorableIfShared && !elsewhere() {
                    self.excuse(lost, Excuse::OnlyCopy);
                }
            }
        }
        if matches!(step, Step::Write(..) | Step::Append(..)) {
            self.owed.insert(value);
            self.unseen[device].insert(value);
            if done.replaced {
                self.excuse(value, Excuse::Replaced);
            }
        }
    }

    fn excuse(&mut self, value: u32, excuse: Excuse) {
        if self.owed.remove(&value) {
            self.excused.insert(value, excuse);
        }
    }
}

/// Bytes of all files of the other devices.
fn disk_holders(dir: &str, folders: &[PathBuf], step: &Step) -> Vec<Vec<u8>> {
    let others = folders.iter().enumerate().filter(|(device, _)| *device != device_of(step));
    others.flat_map(|(_, folder)| files_below(&folder.join(dir))).filter_map(|path| fs::read(path).ok()).collect()
}

const fn device_of(step: &Step) -> usize {
    match *step {
        Step::Write(device, ..)
        | Step::Append(device, ..)
        | Step::Truncate(device, _)
        | Step::Rename(device, ..)
        | Step::Delete(device, _)
        | Step::MakeDir(device, _)
        | Step::Offline(device)
        | Step::Online(device)
        | Step::Kill(device)
        | Step::Start(device)
        | Step::TakeIn(device)
        | Step::Wait(device) => device,
    }
}

/// Whether bytes of ours are a text.
fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0)
}

/// All files below a directory; what goes away meanwhile is left out.
#[must_use]
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let (mut files, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(dir) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// What a user's step did.
#[derive(Debug, Default)]
struct Done {
    /// Bytes that it took from the disk.
    removed: Vec<Vec<u8>>,
    /// Bytes that are there instead.
    left: Vec<u8>,
    /// What was written went into a file that had lost its name in that moment.
    replaced: bool,
}

struct Disk<'a> {
    dir: &'a str,
    folders: &'a [PathBuf],
}

impl Disk<'_> {
    fn path(&self, device: usize, at: &str) -> PathBuf {
        self.folders[device].join(self.dir).join(at)
    }

    fn write(&self, device: usize, at: &str, token: &str, in_place: bool) -> io::Result<Done> {
        let path = self.path(device, at);
        fs::create_dir_all(path.parent().expect("places are in the trace's directory"))?;
        save(&path, &content(at, token), in_place)
    }

    fn append(&self, device: usize, at: &str, token: &str, in_place: bool) -> io::Result<Done> {
        let path = self.path(device, at);
        let line = format!("{token}\n");
        if in_place {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&path)?;
            file.write_all(line.as_bytes())?;
            return Ok(Done { replaced: lost_its_name(&file, &path), ..Done::default() });
        }
        let bytes = [fs::read(&path)?, line.into_bytes()].concat();
        save(&path, &bytes, false)
    }

    fn truncate(&self, device: usize, at: &str) -> io::Result<Done> {
        let path = self.path(device, at);
        let bytes = fs::read(&path)?;
        let half = bytes.len() / 2;
        let mut file = fs::OpenOptions::new().write(true).open(&path)?;
        file.set_len(half as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Done { left: bytes[..half].to_vec(), removed: vec![bytes], replaced: false })
    }

    fn rename(&self, device: usize, from: &str, to: &str) -> io::Result<Done> {
        let (from, to) = (self.path(device, from), self.path(device, to));
        let removed: Vec<Vec<u8>> = fs::read(&to).into_iter().collect();
        fs::rename(from, to)?;
        Ok(Done { removed, ..Done::default() })
    }

    fn delete(&self, device: usize, at: &str) -> io::Result<Done> {
        let path = self.path(device, at);
        let mut removed: Vec<Vec<u8>> = files_below(&path).iter().filter_map(|file| fs::read(file).ok()).collect();
        if fs::symlink_metadata(&path)?.is_dir() {
            fs::remove_dir_all(&path)?;
        } else {
            removed.push(fs::read(&path)?);
            fs::remove_file(&path)?;
        }
        Ok(Done { removed, ..Done::default() })
    }
}

/// Puts bytes in place of whatever is there.
fn save(path: &Path, bytes: &[u8], in_place: bool) -> io::Result<Done> {
    let removed: Vec<Vec<u8>> = fs::read(path).into_iter().collect();
    let mut done = Done { removed, left: bytes.to_vec(), replaced: false };
    if in_place {
        let mut file = fs::File::create(path)?;
        file.write_all(bytes)?;
        done.replaced = lost_its_name(&file, path);
    } else {
        // As editors do.
        let beside = path.with_extension("new~");
        fs::write(&beside, bytes)?;
        fs::rename(&beside, path).inspect_err(|_| {
            let _gone = fs::remove_file(&beside);
        })?;
    }
    Ok(done)
}

/// Whether another file has the name now that this one was opened under.
fn lost_its_name(file: &fs::File, path: &Path) -> bool {
    let (open, named) = (file.metadata(), fs::symlink_metadata(path));
    !matches!((open, named), (Ok(open), Ok(named)) if open.ino() == named.ino())
}

/// A text or, by the name, bytes that are none, with a value in them.
fn content(at: &str, token: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if at.ends_with("large.bin") {
        bytes.resize(LARGE_BYTES, 0);
        blake3::Hasher::new().update(token.as_bytes()).finalize_xof().fill(&mut bytes);
    }
    if at.ends_with(".bin") {
        bytes.extend_from_slice(b"\0\n");
    }
    bytes.extend_from_slice(token.as_bytes());
    bytes.push(b'\n');
    bytes
}
