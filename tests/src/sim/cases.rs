//! What runs are made of, and which of the hundred cases of `docs/folder-semantics.md` that brings about.
//!
//! A run notes what it draws ([`Outcomes::drawn`](super::world::Outcomes::drawn)); a test runs seeds until everything came,
//! and `simulate` tells what did not. A case that is a meeting of several sides is drawn by what each side does: that they
//! do it apart is for chance, since all act on few names while connections come and go.

use std::collections::BTreeSet;

/// Something that a run contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drawn {
    /// A new file is renamed over the old one.
    RenamedOver,
    /// The old file becomes a backup, and a new one is made.
    Backup,
    /// A file is cut to nothing, then written.
    Truncated,
    /// Deleted, and made again.
    Recreated,
    /// Written at its end.
    Appended,
    /// Small writes into a file that stays open.
    Log,
    /// Saved without a change.
    SameBytes,
    /// Other bytes of the same length, and the old time put back.
    OldTime,
    /// Two saves of one length, one right after the other.
    SameLength,
    /// Written through a memory map: nobody is told before the file is closed.
    Mapped,
    /// Saved from a buffer that is older than the file.
    StaleBuffer,
    /// Put into form by a program that everybody has.
    Formatter,
    /// With a lock or swap file beside it.
    Lock,
    /// Between two calls of the folder code.
    InARound,
    /// No right to read.
    Unreadable,
    /// Events are lost, doubled or late.
    WatchFaults,
    /// More events than the queue holds.
    Overflow,
    /// Directories that are full before anybody watches them.
    NewDirectories,
    /// Moved out of the folder, and in again.
    Away,
    /// The folder's directory is away, or another one is there.
    RootGone,
    /// The folder's disk has another number than before.
    Renumbered,
    /// A clock jumps.
    Clock,
    /// More than a year passes.
    Year,
    /// A process is killed, or the power goes.
    Killed,
    /// A user works while the program does not run.
    WhileStopped,
    /// Nothing is left in a file.
    Emptied,
    /// Other ends of lines, or none in the end.
    LineEnds,
    /// A byte-order mark.
    Mark,
    /// No text: invalid UTF-8, a zero, UTF-16.
    NotText,
    /// Letters of several code points beside each other.
    Letters,
    /// A long line.
    LongLine,
    /// More than a text may be.
    Large,
    /// Lines are edited, added and deleted.
    Lines,
    /// Lines move.
    MovedLines,
    /// JSON.
    Json,
    /// A content arrives in part, or is another.
    BadContent,
    /// A file with a hole.
    Sparse,
    /// Many saves of one file.
    ManySaves,
    /// A name changes.
    Renamed,
    /// Something goes into another directory.
    Moved,
    /// A directory moves.
    MovedDirectory,
    /// Deleted, a directory with all that is in it.
    Deleted,
    /// Bytes that others make, too.
    SameFile,
    /// A new file.
    NewFile,
    /// A name that is a file here and a directory there.
    SharedName,
    /// A name that becomes something of another kind.
    Became,
    /// The executable bit.
    Exec,
    /// Two change names.
    Swap,
    /// Three change names.
    Ring,
    /// One takes the name that another leaves.
    Chain,
    /// Renames at several depths, and an edit below.
    Depths,
    /// Many files in one directory.
    Crowd,
    /// A long way down.
    Deep,
    /// A copy.
    Copied,
    /// A second name of one file.
    HardLink,
    /// What stands beside a clash is renamed, edited or deleted.
    OnClash,
    /// A name in other letters.
    CaseRename,
    /// A name in another normal form.
    Form,
    /// A disk that folds names.
    FoldingDisk,
    /// Names that other systems do not have, and that look like ours.
    StrangeName,
    /// A name that is no text.
    NoTextName,
    /// A disk that is exchanged for one with other rules of names.
    OtherDisk,
    /// A link, also one that leads out, nowhere, or round in a ring.
    Link,
    /// A pipe, also in the place of a file.
    Pipe,
    /// A file or directory that is read-only.
    ReadOnly,
    /// A file system is mounted within, and goes away.
    Mount,
    /// A call of the disk fails.
    DiskFault,
    /// A disk is full.
    FullDisk,
    /// Times of other centuries.
    OldTimes,
    /// Rules of what is ignored.
    Rules,
    /// A directory of version control.
    VersionControl,
    /// A store is put back to an older state.
    Restored,
    /// A store runs on two machines.
    Doubled,
    /// A folder is removed, and added again.
    FolderAgain,
    /// A home is lost; its folder joins anew.
    LostHome,
    /// A device joins with files of its own.
    LateJoiner,
    /// Who may only read edits.
    ReaderEdits,
    /// And takes it back.
    Reverted,
    /// What is held gets a word.
    Word,
    /// Connections end, stand still, begin.
    Parted,
    /// Commits that are forged.
    Forged,
}

use Drawn::*;

/// The cases, and what brings each of them about.
pub const CASES: &[(u8, &[Drawn])] = &[
    (1, &[RenamedOver]),
    (2, &[Backup]),
    (3, &[Truncated]),
    (4, &[Recreated]),
    (5, &[Appended, Log]),
    (6, &[Log]),
    (7, &[SameBytes]),
    (8, &[OldTime]),
    (9, &[SameLength]),
    (10, &[Mapped]),
    (11, &[Log]),
    (12, &[StaleBuffer]),
    (13, &[Formatter]),
    (14, &[Lock]),
    (15, &[InARound]),
    (16, &[InARound]),
    (17, &[Unreadable]),
    (18, &[Overflow]),
    (19, &[WatchFaults]),
    (20, &[NewDirectories]),
    (21, &[NewDirectories]),
    (22, &[Away, MovedDirectory]),
    (23, &[RootGone]),
    (24, &[Clock, WhileStopped]),
    (25, &[WatchFaults]),
    (26, &[Killed]),
    (27, &[WhileStopped]),
    (28, &[InARound, Killed]),
    (31, &[Emptied]),
    (32, &[LineEnds]),
    (33, &[Mark]),
    (34, &[NotText]),
    (35, &[NotText, Lines]),
    (36, &[Letters]),
    (37, &[LongLine]),
    (38, &[Large]),
    (39, &[Large]),
    (40, &[Formatter]),
    (41, &[Lines]),
    (42, &[Appended, Lines]),
    (43, &[MovedLines]),
    (44, &[Json]),
    (45, &[BadContent]),
    (46, &[Sparse]),
    (47, &[ManySaves]),
    (48, &[Lines]),
    (49, &[Formatter]),
    (50, &[Lines, Deleted]),
    (51, &[Renamed, Moved, Lines]),
    (52, &[Renamed]),
    (53, &[Moved]),
    (54, &[MovedDirectory]),
    (55, &[Moved, Deleted]),
    (56, &[Deleted, NewFile, Lines]),
    (57, &[Deleted]),
    (58, &[SameFile]),
    (59, &[NewFile]),
    (60, &[SharedName]),
    (61, &[Became]),
    (62, &[Exec, Renamed, Lines]),
    (63, &[Swap, Ring]),
    (64, &[Chain]),
    (65, &[Depths]),
    (66, &[MovedDirectory]),
    (67, &[Became]),
    (68, &[NewDirectories]),
    (69, &[Crowd, Deep]),
    (70, &[Copied, HardLink]),
    (71, &[SameFile, NewFile]),
    (72, &[OnClash]),
    (73, &[CaseRename, Lines]),
    (74, &[FoldingDisk]),
    (75, &[Form]),
    (76, &[StrangeName]),
    (77, &[NoTextName]),
    (78, &[StrangeName]),
    (79, &[OtherDisk]),
    (80, &[Link, Became]),
    (81, &[Pipe]),
    (82, &[Exec]),
    (83, &[ReadOnly]),
    (84, &[Mount, Renumbered]),
    (85, &[DiskFault, FullDisk]),
    (86, &[OldTimes]),
    (87, &[Rules]),
    (88, &[Rules]),
    (89, &[Rules, Deleted]),
    (90, &[VersionControl]),
    (91, &[Year]),
    (92, &[Restored]),
    (93, &[Doubled]),
    (94, &[FolderAgain, LostHome]),
    (95, &[LateJoiner, SameFile]),
    (96, &[ReaderEdits, Reverted]),
    (97, &[Word]),
    (98, &[Parted]),
    (100, &[Forged]),
];

/// The cases that no run can contain, and why.
pub const NOT_DRAWN: &[(u8, &str)] = &[
    (29, "a second process on a directory is a matter of the system's locks"),
    (30, "a watcher is no thread here"),
    (99, "there is one version"),
];

/// Everything that runs can draw.
#[must_use]
pub fn all() -> BTreeSet<Drawn> {
    CASES.iter().flat_map(|(_, drawn)| *drawn).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_hundred_is_drawn_or_says_why_it_is_not() {
        let drawn = CASES.iter().map(|(number, _)| *number);
        let mut numbers: Vec<u8> = drawn.chain(NOT_DRAWN.iter().map(|(number, _)| *number)).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=100).collect::<Vec<u8>>());
    }
}
