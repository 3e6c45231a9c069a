//! A scan of 100 000 files of which none changed: system calls a file, time beside `find`, memory beyond the base.
//!
//! `cargo bench -p sync-tests --bench scan`; `KITH_BENCH_FILES` sets another number of files. The look that it measures
//! is the one of every round; the base is as an import leaves it. System calls are counted by `strace`, as the difference
//! between a run with three looks and one with one.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sync_core::{
    folder::{
        Base, Fs as _, Ignored,
        disk::Disk,
        observe::{Looks, Observer, kind_of},
    },
    ids::{ChangeHash, ContentHash, DocId},
    store::row::BaseRow,
    tree::RelPath,
};

/// Files of one directory.
const DIR_FILES: usize = 100;
/// Looks of which the fastest counts, beside as many runs of `find`.
const LOOKS: usize = 7;

/// Bounds of a scan in which nothing changed.
const STATX_A_FILE_MAX: f64 = 1.1;
const READS_A_FILE_MAX: f64 = 0.01;
const RATIO_MAX: f64 = 1.5;
const BYTES_A_FILE_MAX: f64 = 64.0;

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("--looks") {
        let (dir, looks) = (args.next().expect("a directory"), args.next().expect("a count"));
        return only_look(Path::new(&dir), looks.parse().expect("is a number"));
    }
    let files: usize = std::env::var("KITH_BENCH_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir().expect("temporary directory");
    for index in 0..files {
        let sub = dir.path().join(format!("d{:04}", index / DIR_FILES));
        if index % DIR_FILES == 0 {
            fs::create_dir(&sub).expect("makes");
        }
        fs::write(sub.join(format!("file-{index}.txt")), format!("{index}\n")).expect("writes");
    }
    let disk = Disk::open(dir.path()).expect("opens");
    let base = based(&disk);
    look(&disk, &base);
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..LOOKS {
        theirs = theirs.min(timed(|| find(dir.path())));
        ours = ours.min(timed(|| look(&disk, &base)));
    }
    let memory = peak_beyond(|| look(&disk, &base));
    println!("a scan of {files} files without a change, the fastest of {LOOKS}");
    println!("  look: {:.1} ms", ours.as_secs_f64() * 1000.0);
    println!("  find -type f -printf '%s %T@ %p': {:.1} ms", theirs.as_secs_f64() * 1000.0);
    let (ratio, memory) = (ours.as_secs_f64() / theirs.as_secs_f64(), memory as f64 / files as f64);
    println!("  ratio: {ratio:.2}");
    println!("  memory at the peak beyond the base: {memory:.1} bytes a file");
    let (once, thrice) = (calls(dir.path(), 1), calls(dir.path(), 3));
    for (call, count) in &thrice {
        let more = count.saturating_sub(once.get(call).copied().unwrap_or(0));
        if more > 0 {
            let more = more as f64 / 2.0 / files as f64;
            println!("  {call}: {more:.3} a file");
            assert!(call != "statx" || more <= STATX_A_FILE_MAX, "each file is looked at once");
            assert!(!call.contains("read") || more <= READS_A_FILE_MAX, "no content is read");
        }
    }
    assert!(ratio <= RATIO_MAX && memory <= BYTES_A_FILE_MAX, "as fast as find, and in little memory");
}

fn only_look(dir: &Path, looks: usize) {
    let disk = Disk::open(dir).expect("opens");
    let base = based(&disk);
    (0..looks).for_each(|_| look(&disk, &base));
}

fn look(disk: &Disk, base: &Base) {
    let ignored = Ignored::default();
    let mut observer = Observer::new(disk, base, &ignored, BTreeSet::new());
    observer.directory(None, &RelPath::root()).expect("can be read");
    assert_eq!(observer.finish(), Looks::default(), "nothing changed");
}

/// A base that has everything as it is.
fn based(disk: &Disk) -> Base {
    let mut rows = Vec::new();
    let mut dirs = vec![(None, RelPath::root())];
    while let Some((parent, path)) = dirs.pop() {
        for listed in disk.list(&path).expect("can be read") {
            let name = listed.name.expect("is UTF-8");
            let below = path.join(&name);
            let doc = DocId(*blake3::hash(below.to_string().as_bytes()).as_bytes());
            let kind = kind_of(listed.found.kind).expect("is an entry");
            if kind == sync_core::doc::entry::Kind::Dir {
                dirs.push((Some(doc), below));
            }
            let row = BaseRow {
                kind,
                parent,
                name,
                heads: vec![ChangeHash(doc.0)],
                hash: ContentHash(doc.0),
                stat: Some(listed.found.stat),
                intent: None,
                racy: false,
            };
            rows.push((doc, row));
        }
    }
    Base::new(rows)
}

fn find(dir: &Path) {
    let mut command = Command::new("find");
    command.arg(dir).args(["-type", "f", "-printf", "%s %T@ %p\n"]).stdout(Stdio::null());
    assert!(command.status().expect("find runs").success());
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// By how many bytes the process grew at the most while it worked.
fn peak_beyond(work: impl FnOnce()) -> u64 {
    fs::write("/proc/self/clear_refs", "5").expect("Linux forgets the peak");
    let before = kilobytes("VmRSS:");
    work();
    kilobytes("VmHWM:").saturating_sub(before) * 1024
}

fn kilobytes(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells");
    line.trim().trim_end_matches(" kB").parse().expect("is a number")
}

/// System calls of a process that looks so often, by name.
fn calls(dir: &Path, looks: usize) -> BTreeMap<String, u64> {
    let counts = tempfile::NamedTempFile::new().expect("temporary file");
    let this = std::env::current_exe().expect("has a path");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(counts.path()).arg(this).arg("--looks").arg(dir).arg(looks.to_string());
    let Ok(status) = command.status() else {
        println!("  strace is not installed: no system calls counted");
        return BTreeMap::new();
    };
    assert!(status.success());
    let table = fs::read_to_string(counts.path()).expect("strace wrote it");
    let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    columns
        .filter_map(|columns| Some((columns.last()?.to_string(), columns.get(3)?.parse().ok()?)))
        .filter(|(call, _): &(String, u64)| call != "total")
        .collect()
}
