//! What the fuzzers run, without a fuzzer: every seed, every input that ever broke a promise, and random changes of them.
//!
//! `FUZZ_CASES` says how many random inputs each target gets. One that fails is written to a file and named; put it into
//! `fuzz/regressions/<target>/` with the fix.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, panic,
    path::{Path, PathBuf},
};

use sync_fuzz::{TARGETS, seeds::seeds};
use sync_net::Invite;

/// Random inputs for each target, unless `FUZZ_CASES` says otherwise.
const CASES: usize = 2000;
/// Longest random input: longer ones only take longer.
const INPUT_BYTES_MAX: usize = 2048;

fn fuzz(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(path)
}

/// Names of what is in a directory; none where it is not there.
fn names(dir: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz(dir)).into_iter().flatten();
    entries.map(|entry| entry.expect("lists").file_name().into_string().expect("names are UTF-8")).collect()
}

/// Files of a target's directory.
fn inputs(dir: &str, target: &str) -> BTreeMap<String, Vec<u8>> {
    let of = format!("{dir}/{target}");
    names(&of).into_iter().map(|name| (name.clone(), fs::read(fuzz(&of).join(name)).expect("reads"))).collect()
}

fn targets() -> BTreeSet<String> {
    TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[test]
fn binaries_seeds_and_documents_have_the_same_targets() {
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).expect("reads");
    let binaries = manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next());
    assert_eq!(binaries.map(ToOwned::to_owned).collect::<BTreeSet<_>>(), targets());
    let sources = names("fuzz_targets").into_iter().map(|name| name.trim_end_matches(".rs").to_owned());
    assert_eq!(sources.collect::<BTreeSet<_>>(), targets());
    for name in targets() {
        let source = fs::read_to_string(fuzz(&format!("fuzz_targets/{name}.rs"))).expect("reads");
        assert_eq!(source.matches(&format!("(\"{name}\"")).count(), 2, "the binary {name} runs another target");
    }
    assert_eq!(names("seeds"), targets());
    assert!(names("regressions").is_subset(&targets()));
    let readme = fs::read_to_string(fuzz("README.md")).expect("reads");
    let listed = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(listed.map(ToOwned::to_owned).collect::<BTreeSet<_>>(), targets());
}

#[test]
fn the_seeds_are_those_that_the_generator_makes() {
    let mut made: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for (target, name, bytes) in seeds() {
        assert!(made.entry(target.to_owned()).or_default().insert(name, bytes).is_none(), "a seed twice");
    }
    assert_eq!(made.keys().cloned().collect::<BTreeSet<_>>(), targets(), "every target has seeds");
    for (target, seeds) in made {
        assert!(inputs("seeds", &target) == seeds, "run: cargo run -p sync-fuzz --bin seeds ({target})");
    }
}

/// Runs an input, and says which one it was if it fails.
fn check(target: &str, name: &str, bytes: &[u8]) {
    let run = || sync_fuzz::run(target, bytes);
    if let Err(reason) = panic::catch_unwind(run) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-{name}"));
        fs::write(&kept, bytes).expect("writes");
        eprintln!("target {target}, input {name}, kept in {}", kept.display());
        panic::resume_unwind(reason);
    }
}

#[test]
fn what_once_broke_a_promise_holds() {
    for target in targets() {
        for (name, bytes) in inputs("regressions", &target) {
            check(&target, &name, &bytes);
        }
    }
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end.max(1)
    }
}

/// Changes an input in a few places, as a fuzzer does.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 if at < bytes.len() => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff].get(random.below(5)).unwrap_or(&0),
            3 => bytes.insert(at, random.below(256) as u8),
            4 => drop(bytes.drain(at..(at + random.below(8)).min(bytes.len()))),
            5 => bytes.extend((0..random.below(64)).map(|_| random.below(256) as u8).collect::<Vec<_>>()),
            _ => {
                let from = random.below(other.len() + 1);
                let part = &other[from..(from + random.below(64)).min(other.len())];
                bytes.splice(at..at, part.iter().copied());
            }
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
}

fn seeds_hold_and_so_do_random_changes_of_them(target: &str) {
    let seeds = inputs("seeds", target);
    for (name, bytes) in &seeds {
        check(target, name, bytes);
    }
    let mut pool: Vec<Vec<u8>> = seeds.into_values().collect();
    pool.extend(inputs("regressions", target).into_values());
    let cases = std::env::var("FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for case in 0..cases {
        let mut bytes = pool[random.below(pool.len())].clone();
        let other = pool[random.below(pool.len())].clone();
        mutate(&mut random, &mut bytes, &other);
        check(target, &format!("case-{case}"), &bytes);
    }
}

/// One test a target, so that they run side by side.
macro_rules! each_target {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                super::seeds_hold_and_so_do_random_changes_of_them(stringify!($target));
            }
        )*

        #[test]
        fn every_target_is_here() {
            let here = [$(stringify!($target).to_owned()),*];
            assert_eq!(std::collections::BTreeSet::from(here), super::targets());
        }
    };
}

mod seeds_and_random_inputs {
    each_target! {
        announcement apply body change chunk_list commit cut entry folder_local folder_plan frame hello invite membership path preflight
        store text_diff text_merge tree vector
    }
}

/// An invite string that no program of ours wrote, only the specification: space `01*32`, seed `02*32`, the device with
/// seed `03*32`, one address and no relay.
const INVITE: &str = concat!(
    "kithaaaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba",
    "eaqcaibaeaqc5vesrrri2hbmn2xjam4jawmvmeuvsjz2lrr7snrwyfdbjlehg7iqcad7aaaadujcac3zsivt"
);

#[test]
fn an_invite_string_reads_back_or_is_refused() {
    let invite: Invite = INVITE.parse().expect("is an invite");
    assert_eq!(invite.to_string(), INVITE);
    let mut random = Random(1);
    for case in 0..CASES {
        let mut bytes = INVITE.as_bytes().to_vec();
        mutate(&mut random, &mut bytes, b"kith://234567=-");
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(read) = text.parse::<Invite>() {
            assert_eq!(read, invite, "case {case}: {text}");
        }
    }
}
