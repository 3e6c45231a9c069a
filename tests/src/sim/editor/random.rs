//! Random actions on what is there: few names, so that actions meet.

use sync_core::{folder::FoundKind, tree::RelPath};

use super::{Action, EDITORS, Save};
use crate::sim::{fs::SimFs, rng::Rng};

const FILES: [&str; 9] = ["a.txt", "A.txt", "b.txt", "notes.md", "main.rs", "data.bin", "README", "ü.txt", "run.sh"];
const DIRS: [&str; 4] = ["d", "e", "src", "D"];
/// How deep random directories go.
const DEPTH_MAX: usize = 5;

fn name(rng: &mut Rng, names: &[&'static str]) -> &'static str {
    names[rng.index(names.len())]
}

/// What is there to act on.
struct There<'a> {
    fs: &'a SimFs,
    all: Vec<(RelPath, FoundKind)>,
    files: Vec<RelPath>,
    dirs: Vec<RelPath>,
}

impl There<'_> {
    fn new_path(&self, rng: &mut Rng, names: &[&'static str]) -> RelPath {
        rng.pick(&self.dirs).join(name(rng, names))
    }

    fn save(&self, rng: &mut Rng, path: RelPath) -> Action {
        let old = self.fs.read(&path);
        let bytes = new_bytes(rng, old.as_deref());
        Action::Save(Save { path, old, bytes, editor: *rng.pick(&EDITORS) })
    }

    fn delete(&self, top: &RelPath) -> Action {
        let below = self.all.iter().filter(|(path, _)| top.contains(path));
        Action::Delete(below.rev().cloned().collect())
    }

    fn burst(&self, rng: &mut Rng) -> Action {
        let mut actions = Vec::new();
        for path in &self.files {
            match rng.below(6) {
                0 => actions.push(Action::Delete(vec![(path.clone(), FoundKind::File)])),
                1 | 2 => {
                    let bytes = new_bytes(rng, self.fs.read(path).as_deref());
                    // git unlinks what it writes.
                    actions.push(Action::Recreate { path: path.clone(), bytes });
                }
                _ => {}
            }
        }
        for _ in 0..=rng.below(4) {
            let dir = self.new_path(rng, &DIRS);
            actions.push(Action::MakeDirs(dir.clone()));
            actions.push(Action::Copy { to: dir.join(name(rng, &FILES)), bytes: new_bytes(rng, None) });
        }
        Action::Burst(actions)
    }

    fn on_file(&self, rng: &mut Rng, path: &RelPath) -> Action {
        let path = path.clone();
        match rng.below(12) {
            0..5 => self.save(rng, path),
            5 => Action::Append { path, tail: line(rng) },
            6 => Action::Touch(path),
            7 => Action::SetExec { path, exec: rng.chance(500) },
            8 => Action::Rename { from: path, to: self.new_path(rng, &FILES) },
            9 => Action::Recreate { path, bytes: new_bytes(rng, None) },
            10 => match self.fs.read(&path) {
                Some(bytes) => Action::Copy { to: self.new_path(rng, &FILES), bytes },
                None => Action::Touch(path),
            },
            _ => match rng.pick(&self.files) {
                other if *other != path => Action::Swap { a: path, b: other.clone() },
                _ => self.delete(&path),
            },
        }
    }

    fn on_dir(&self, rng: &mut Rng, path: &RelPath) -> Action {
        match rng.below(5) {
            0 => self.delete(path),
            1 => Action::Rename {
                from: path.clone(),
                to: path.split().map_or_else(RelPath::root, |(dir, _)| dir).join(name(rng, &DIRS)),
            },
            2 => {
                let (from, to) = (path.clone(), rng.pick(&self.dirs).clone());
                let name = path.split().map_or("d", |(_, name)| name).to_owned();
                Action::Rename { from, to: to.join(&name) }
            }
            _ => {
                let path = path.join(name(rng, &FILES));
                self.save(rng, path)
            }
        }
    }
}

/// Something that somebody might do to this folder.
#[must_use]
pub fn random_action(rng: &mut Rng, fs: &SimFs) -> Action {
    let all = fs.paths();
    let of = |kind| all.iter().filter(move |(_, found)| *found == kind).map(|(path, _)| path.clone());
    let files: Vec<RelPath> = of(FoundKind::File).collect();
    let dirs = of(FoundKind::Dir).filter(|path| path.components().len() < DEPTH_MAX);
    let dirs = std::iter::once(RelPath::root()).chain(dirs).collect();
    let there = There { fs, files, dirs, all };
    match rng.below(20) {
        0..8 if !there.files.is_empty() => {
            let path = rng.pick(&there.files).clone();
            there.on_file(rng, &path)
        }
        8..12 if there.dirs.len() > 1 => {
            let path = rng.pick(&there.dirs[1..]).clone();
            there.on_dir(rng, &path)
        }
        12 => there.burst(rng),
        13 => {
            let target = rng.pick(&["a.txt", "../b.txt", "/etc/passwd", "nowhere"]);
            Action::Link { path: there.new_path(rng, &["link", "l2"]), target: (*target).to_owned() }
        }
        14..16 => Action::MakeDirs(there.new_path(rng, &DIRS).join(name(rng, &DIRS))),
        16 if !there.files.is_empty() => {
            // A rename that changes nothing but letters' case.
            let from = rng.pick(&there.files).clone();
            let (dir, name) = from.split().expect("a file has a name");
            let folded = if rng.chance(500) { name.to_uppercase() } else { name.to_lowercase() };
            Action::Rename { to: dir.join(&folded), from }
        }
        17 if !there.all.is_empty() => there.delete(&rng.pick(&there.all).0),
        _ => {
            let path = there.new_path(rng, &FILES);
            there.save(rng, path)
        }
    }
}

/// A line that no other save has.
fn line(rng: &mut Rng) -> Vec<u8> {
    const WORDS: [&str; 6] = ["alpha", "beta", "gamma", "über", "漢字", "}"];
    format!("{} {:08x} {}\n", rng.pick(&WORDS), rng.next_u64() >> 32, rng.pick(&WORDS)).into_bytes()
}

/// What comes of a file when somebody edits it, or a new one.
pub fn new_bytes(rng: &mut Rng, old: Option<&[u8]>) -> Vec<u8> {
    match rng.below(40) {
        0 => return Vec::new(),
        1 => return (0..200 + rng.below(3000)).map(|_| rng.next_u64() as u8).collect(),
        2 => return (0..1000 + rng.below(1000)).flat_map(|_| line(rng)).collect(),
        _ => {}
    }
    let Some(old) = old else {
        return (0..1 + rng.below(8)).flat_map(|_| line(rng)).collect();
    };
    let mut lines: Vec<Vec<u8>> = old.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    for _ in 0..1 + rng.below(3) {
        let at = rng.index(lines.len() + 1);
        match rng.below(4) {
            0 if at < lines.len() => drop(lines.remove(at)),
            1 if at < lines.len() => lines[at] = line(rng),
            _ => lines.insert(at, line(rng)),
        }
    }
    lines.concat()
}
