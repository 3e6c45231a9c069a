//! How programs save files and people move them about, as steps that anything can come between.
//!
//! An [`Action`] is what somebody means to do; its steps are the system calls that programs make for it. A [`Job`] takes
//! one step at a time and gives up as a program does when a step fails. [`random_action`] picks something sensible.

mod odd;
mod random;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use sync_core::{folder::FoundKind, tree::RelPath};

pub use self::{
    odd::{buffer, odd_action, stale_save},
    random::{new_bytes, random_action},
};
use super::{
    cases::Drawn,
    fs::{OpenHow, SimFs, UserOp},
};

/// How a program replaces what is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Editor {
    /// A shell's `>`: truncates and writes.
    Plain,
    /// vim: renames the file to a backup, writes a new one, removes the backup.
    Vim,
    /// vim with `backupcopy=yes`: copies the file to a backup, writes over it, removes the backup.
    VimInPlace,
    /// emacs with `file-precious-flag`: a link as a lock, a temporary file, a rename over the file.
    Emacs,
    /// nano: a lock file, then in place, line by line.
    Nano,
    /// `sed -i`: a temporary file, renamed over the file.
    Sed,
    /// VS Code: truncates the open file, writes, flushes.
    Code,
    /// JetBrains' safe write: a temporary file, the old one to a backup, the temporary file to its name.
    JetBrains,
    /// A slow program: truncates, then writes in pieces.
    Slow,
    /// Truncates and closes, and opens again to write.
    Late,
}

/// All of them.
pub const EDITORS: [Editor; 10] = [
    Editor::Plain,
    Editor::Vim,
    Editor::VimInPlace,
    Editor::Emacs,
    Editor::Nano,
    Editor::Sed,
    Editor::Code,
    Editor::JetBrains,
    Editor::Slow,
    Editor::Late,
];

/// A file to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Save {
    /// Where.
    pub path: RelPath,
    /// What was in it when the program loaded it; `None`: there was no such file.
    pub old: Option<Vec<u8>>,
    /// What is to be in it.
    pub bytes: Vec<u8>,
    /// By which program.
    pub editor: Editor,
}

/// What somebody means to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Saves a file.
    Save(Save),
    /// Writes to the end of a file.
    Append {
        /// Where.
        path: RelPath,
        /// What is added.
        tail: Vec<u8>,
    },
    /// Sets the modification time of a file.
    Touch(RelPath),
    /// Sets or clears the executable bits.
    SetExec {
        /// Of what.
        path: RelPath,
        /// Set or cleared.
        exec: bool,
    },
    /// `mkdir -p`.
    MakeDirs(RelPath),
    /// Renames a file, a link or a directory with everything in it, over whatever is there.
    Rename {
        /// From here.
        from: RelPath,
        /// To there.
        to: RelPath,
    },
    /// Swaps two files by three renames.
    Swap {
        /// One.
        a: RelPath,
        /// The other.
        b: RelPath,
    },
    /// Deletes; what is in a directory comes before it.
    Delete(Vec<(RelPath, FoundKind)>),
    /// Deletes a file and makes it again.
    Recreate {
        /// Where.
        path: RelPath,
        /// What is in the new one.
        bytes: Vec<u8>,
    },
    /// Makes a file with the bytes of another.
    Copy {
        /// Where to.
        to: RelPath,
        /// Those bytes.
        bytes: Vec<u8>,
    },
    /// Makes a link.
    Link {
        /// Where.
        path: RelPath,
        /// Its text.
        target: String,
    },
    /// System calls, whose open files are numbered from 0 on; fewer than four.
    Calls(Vec<UserOp>),
    /// Many at once, as a version control system does when another branch is taken.
    Burst(Vec<Self>),
}

/// Open files that one simple action takes.
const FDS_PER_ACTION: u64 = 4;
/// Bytes that a slow program writes at once.
const PIECES: usize = 4;

impl Action {
    /// The steps, where open files are numbered from `fd` on.
    #[must_use]
    pub fn steps(&self, fd: u64) -> Vec<UserOp> {
        match self {
            Self::Save(save) => save.steps(fd),
            Self::Append { path, tail } => write(fd, path, OpenHow::Append, tail),
            Self::Touch(path) => vec![UserOp::Touch(path.clone())],
            Self::SetExec { path, exec } => {
                vec![UserOp::Chmod { path: path.clone(), mode: if *exec { 0o755 } else { 0o644 } }]
            }
            Self::MakeDirs(path) => {
                let parts = 1..=path.components().len();
                let dir = |end: usize| RelPath::from_components(path.components()[..end].to_vec());
                parts.map(|end| UserOp::MakeDir(dir(end))).collect()
            }
            Self::Rename { from, to } => vec![rename(from, to)],
            Self::Swap { a, b } => {
                let aside = beside(a, "", ".swap");
                vec![rename(a, &aside), rename(b, a), rename(&aside, b)]
            }
            Self::Delete(paths) => {
                let remove = |(path, kind): &(RelPath, FoundKind)| match kind {
                    FoundKind::Dir => UserOp::RemoveDir(path.clone()),
                    _ => UserOp::Remove(path.clone()),
                };
                paths.iter().map(remove).collect()
            }
            Self::Recreate { path, bytes } => {
                [vec![UserOp::Remove(path.clone())], write(fd, path, OpenHow::New, bytes)].concat()
            }
            Self::Copy { to, bytes } => write(fd, to, OpenHow::Truncate, bytes),
            Self::Link { path, target } => {
                vec![UserOp::MakeLink { path: path.clone(), target: target.clone() }]
            }
            Self::Calls(ops) => ops.iter().map(|op| op.clone().numbered_from(fd)).collect(),
            Self::Burst(actions) => {
                actions.iter().zip(0..).flat_map(|(action, nth)| action.steps(fd + nth * FDS_PER_ACTION)).collect()
            }
        }
    }

    /// The complete contents that count as saved when all steps succeed, and where they end up; what an append adds to is
    /// the journal's to know.
    #[must_use]
    pub fn saved(&self) -> Vec<(RelPath, Vec<u8>)> {
        match self {
            Self::Save(save) => vec![(save.path.clone(), save.bytes.clone())],
            Self::Recreate { path, bytes } | Self::Copy { to: path, bytes } => vec![(path.clone(), bytes.clone())],
            Self::Burst(actions) => actions.iter().flat_map(Self::saved).collect(),
            _ => vec![],
        }
    }

    /// What of [`cases`](super::cases) this is, on such a file system.
    #[must_use]
    pub fn draws(&self, fs: &SimFs) -> Vec<Drawn> {
        match self {
            Self::Save(save) => save.draws(),
            Self::Append { .. } => vec![Drawn::Appended],
            Self::SetExec { .. } => vec![Drawn::Exec],
            Self::MakeDirs(_) => vec![Drawn::NewDirectories],
            Self::Rename { from, to } => renames(fs, from, to),
            Self::Swap { .. } => vec![Drawn::Swap],
            Self::Delete(paths) if !paths.is_empty() => vec![Drawn::Deleted],
            Self::Recreate { .. } => vec![Drawn::Recreated],
            Self::Copy { .. } => vec![Drawn::Copied],
            Self::Link { .. } => vec![Drawn::Link],
            Self::Burst(actions) => actions.iter().flat_map(|action| action.draws(fs)).collect(),
            Self::Delete(_) | Self::Touch(_) | Self::Calls(_) => vec![],
        }
    }

    /// How many numbers of open files it takes.
    #[must_use]
    pub fn fds(&self) -> u64 {
        match self {
            Self::Burst(actions) => actions.len() as u64 * FDS_PER_ACTION,
            _ => FDS_PER_ACTION,
        }
    }
}

/// A name next to a file, made of its own.
fn beside(path: &RelPath, before: &str, after: &str) -> RelPath {
    let (dir, name) = path.split().expect("a file has a name");
    dir.join(&format!("{before}{name}{after}"))
}

/// What a rename changes: the directory, the name, or only its letters.
fn renames(fs: &SimFs, from: &RelPath, to: &RelPath) -> Vec<Drawn> {
    let (Some((from_dir, from_name)), Some((to_dir, to_name))) = (from.split(), to.split()) else { return vec![] };
    let mut drawn = Vec::new();
    if from_dir != to_dir {
        drawn.push(if fs.read(from).is_some() { Drawn::Moved } else { Drawn::MovedDirectory });
    }
    if from_name != to_name {
        let is_case = from_name.to_lowercase() == to_name.to_lowercase();
        drawn.push(if is_case { Drawn::CaseRename } else { Drawn::Renamed });
    }
    drawn
}

fn rename(from: &RelPath, to: &RelPath) -> UserOp {
    UserOp::Rename { from: from.clone(), to: to.clone() }
}

fn write(fd: u64, path: &RelPath, how: OpenHow, bytes: &[u8]) -> Vec<UserOp> {
    vec![
        UserOp::Open { fd, path: path.clone(), how },
        UserOp::Write { fd, bytes: bytes.to_vec() },
        UserOp::Close { fd },
    ]
}

fn flushed(fd: u64, path: &RelPath, how: OpenHow, bytes: &[u8]) -> Vec<UserOp> {
    let mut steps = write(fd, path, how, bytes);
    steps.insert(2, UserOp::Flush { fd });
    steps
}

fn in_pieces(fd: u64, path: &RelPath, pieces: impl Iterator<Item = Vec<u8>>) -> Vec<UserOp> {
    let open = UserOp::Open { fd, path: path.clone(), how: OpenHow::Truncate };
    let writes = pieces.map(|bytes| UserOp::Write { fd, bytes });
    [open].into_iter().chain(writes).chain([UserOp::Close { fd }]).collect()
}

impl Save {
    fn draws(&self) -> Vec<Drawn> {
        let how = match self.editor {
            Editor::Plain | Editor::Code | Editor::Slow | Editor::Late => vec![Drawn::Truncated],
            Editor::VimInPlace => vec![Drawn::Truncated, Drawn::Backup],
            Editor::Nano => vec![Drawn::Truncated, Drawn::Lock],
            Editor::Vim => vec![Drawn::Backup],
            Editor::JetBrains => vec![Drawn::Backup, Drawn::RenamedOver],
            Editor::Emacs => vec![Drawn::RenamedOver, Drawn::Lock],
            Editor::Sed => vec![Drawn::RenamedOver],
        };
        if self.old.is_some() { [how, vec![Drawn::Lines]].concat() } else { vec![Drawn::NewFile] }
    }

    fn steps(&self, fd: u64) -> Vec<UserOp> {
        let Self { path, old, bytes, editor } = self;
        match (editor, old) {
            (Editor::Plain, _) | (Editor::VimInPlace | Editor::Code, None) => write(fd, path, OpenHow::Truncate, bytes),
            (Editor::Vim, Some(_)) => {
                let (backup, probe) = (beside(path, "", "~"), path.split().expect("a file has a name").0.join("4913"));
                let mut steps = vec![
                    UserOp::Open { fd: fd + 1, path: probe.clone(), how: OpenHow::New },
                    UserOp::Close { fd: fd + 1 },
                    UserOp::Remove(probe),
                    rename(path, &backup),
                ];
                steps.extend(flushed(fd, path, OpenHow::New, bytes));
                steps.push(UserOp::Remove(backup));
                steps
            }
            (Editor::VimInPlace, Some(old)) => {
                let backup = beside(path, "", "~");
                let mut steps = write(fd + 1, &backup, OpenHow::Truncate, old);
                steps.extend(flushed(fd, path, OpenHow::Truncate, bytes));
                steps.push(UserOp::Remove(backup));
                steps
            }
            (Editor::Emacs, _) => {
                let (lock, temp) = (beside(path, ".#", ""), beside(path, "tmp", ".el"));
                let target = "somebody@host.4711:1700000000".to_owned();
                let mut steps = vec![UserOp::MakeLink { path: lock.clone(), target }];
                steps.extend(flushed(fd, &temp, OpenHow::New, bytes));
                steps.extend([rename(&temp, path), UserOp::Remove(lock)]);
                steps
            }
            (Editor::Nano, _) => {
                let lock = beside(path, ".", ".swp");
                let mut steps = write(fd + 1, &lock, OpenHow::New, b"b0nano");
                steps.extend(in_pieces(fd, path, bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec)));
                steps.push(UserOp::Remove(lock));
                steps
            }
            (Editor::Sed, Some(_)) => {
                let temp = path.split().expect("a file has a name").0.join("sedA1b2C3");
                let mut steps = write(fd, &temp, OpenHow::New, bytes);
                steps.push(rename(&temp, path));
                steps
            }
            (Editor::Code, Some(_)) => vec![
                UserOp::Open { fd, path: path.clone(), how: OpenHow::InPlace },
                UserOp::SetLen { fd, len: 0 },
                UserOp::Write { fd, bytes: bytes.clone() },
                UserOp::Flush { fd },
                UserOp::Close { fd },
            ],
            (Editor::JetBrains, Some(_)) => {
                let (temp, backup) = (beside(path, "", "___jb_tmp___"), beside(path, "", "___jb_old___"));
                let mut steps = flushed(fd, &temp, OpenHow::New, bytes);
                steps.extend([rename(path, &backup), rename(&temp, path), UserOp::Remove(backup)]);
                steps
            }
            (Editor::Slow, _) => {
                let piece = bytes.len().div_ceil(PIECES).max(1);
                in_pieces(fd, path, bytes.chunks(piece).map(<[u8]>::to_vec))
            }
            (Editor::Late, _) => {
                let mut steps =
                    vec![UserOp::Open { fd, path: path.clone(), how: OpenHow::Truncate }, UserOp::Close { fd }];
                steps.extend(write(fd + 1, path, OpenHow::InPlace, bytes));
                steps
            }
            // What is new needs no backup.
            (Editor::Vim | Editor::Sed | Editor::JetBrains, None) => write(fd, path, OpenHow::New, bytes),
        }
    }
}

/// An action that is under way.
#[derive(Debug, Clone)]
pub struct Job {
    parts: VecDeque<VecDeque<UserOp>>,
    failures: usize,
}

impl Job {
    /// Begins an action, whose open files are numbered from `fd` on.
    #[must_use]
    pub fn new(action: &Action, fd: u64) -> Self {
        let parts = match action {
            Action::Burst(actions) => {
                actions.iter().zip(0..).map(|(action, nth)| action.steps(fd + nth * FDS_PER_ACTION).into()).collect()
            }
            one => VecDeque::from([one.steps(fd).into()]),
        };
        Self { parts, failures: 0 }
    }

    /// Takes one step. When it fails, the program closes what it has open and does no more; other parts of a burst go on.
    pub fn step(&mut self, fs: &SimFs) {
        while self.parts.front().is_some_and(VecDeque::is_empty) {
            self.parts.pop_front();
        }
        let Some(part) = self.parts.front_mut() else { return };
        let Some(op) = part.pop_front() else { return };
        if let Err(error) = fs.user(&op) {
            let is_there = matches!(op, UserOp::MakeDir(_)) && error.kind() == std::io::ErrorKind::AlreadyExists;
            if !is_there {
                self.failures += 1;
                part.retain(|op| matches!(op, UserOp::Close { .. }));
            }
        }
    }

    /// Takes all steps that are left.
    pub fn run(&mut self, fs: &SimFs) {
        while !self.is_done() {
            self.step(fs);
        }
    }

    /// Whether no step is left.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.parts.iter().all(VecDeque::is_empty)
    }

    /// How many steps failed.
    #[must_use]
    pub const fn failures(&self) -> usize {
        self.failures
    }

    /// The steps that are left, for [`SimFs::schedule`].
    #[must_use]
    pub fn into_steps(self) -> Vec<UserOp> {
        self.parts.into_iter().flatten().collect()
    }
}
