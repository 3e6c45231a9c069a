//! Which files programs have open for writing, as `/proc` tells: the processes that this one may look into, which are those of
//! the same user. What a process has only mapped does not show, nor what it reached by another mount.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd, AsRawFd as _},
    path::Path,
};

use crate::tree::RelPath;

/// Bits of the flags of an open file that say what it is open for, of which these are for writing (`fcntl.h`).
const ACCESS: u32 = 0o3;
const FOR_WRITING: [u32; 2] = [0o1, 0o2];

/// Files below a directory that are open for writing.
pub(super) fn open_below(root: &impl AsFd) -> BTreeSet<RelPath> {
    // Its name as the system has it, which is how those of the files begin, too.
    let own = format!("/proc/self/fd/{}", root.as_fd().as_raw_fd());
    let (Ok(root), Ok(processes)) = (fs::read_link(own), fs::read_dir("/proc")) else { return BTreeSet::new() };
    let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let processes = processes.flatten().filter(|entry| is_process(&entry.file_name()));
    processes.flat_map(|process| of_process(&process.path(), &root)).collect()
}

/// The same for one process. One that is another user's, or ends meanwhile, has none.
fn of_process(process: &Path, root: &Path) -> Vec<RelPath> {
    let Ok(open) = fs::read_dir(process.join("fd")) else { return Vec::new() };
    let below = open.flatten().filter_map(|entry| {
        let file = fs::read_link(entry.path()).ok()?;
        let path = RelPath::parse(file.strip_prefix(root).ok()?.to_str()?)?;
        is_for_writing(&process.join("fdinfo").join(entry.file_name())).then_some(path)
    });
    below.collect()
}

fn is_for_writing(info: &Path) -> bool {
    let Ok(text) = fs::read_to_string(info) else { return false };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| FOR_WRITING.contains(&(flags & ACCESS)))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};

    use super::*;

    #[test]
    fn what_is_open_for_writing_is_told_and_what_is_read_is_not() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = File::open(dir.path()).expect("opens");
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("d")).expect("makes");
        let written = File::create(at("d/written")).expect("makes");
        let appended = OpenOptions::new().append(true).create(true).open(at("appended")).expect("makes");
        fs::write(at("read"), "x").expect("writes");
        let read = File::open(at("read")).expect("opens");
        let expected = ["appended", "d/written"].map(|path| RelPath::parse(path).expect("a path"));
        assert_eq!(open_below(&root), BTreeSet::from(expected.clone()));
        // It is the file that is open, whatever it is called now.
        fs::rename(at("appended"), at("d/renamed")).expect("renames");
        let renamed = RelPath::parse("d/renamed").expect("a path");
        assert_eq!(open_below(&root), BTreeSet::from([renamed, expected[1].clone()]));
        drop((written, appended, read));
        assert_eq!(open_below(&root), BTreeSet::new());
    }
}
