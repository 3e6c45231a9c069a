//! What people and programs do now and then: each thing of [`cases`](crate::sim::cases) that one folder's user can do alone.

use sync_core::{folder::FoundKind, limits, tree::RelPath};

use super::{Action, EDITORS, Editor, Save, beside, rename, write};
use crate::sim::{
    cases::Drawn,
    fs::{OpenHow, SimFs, UserOp},
    rng::Rng,
};

/// Names that somebody's system does not have, or that look like our own.
const STRANGE: [&str; 12] = [
    "CON",
    "a:b?.txt",
    "end.",
    "end ",
    "-rf",
    "new\nline",
    "a (b2c3d4).txt",
    ".kith-temp",
    "kith",
    "back\\slash",
    "%41.txt",
    "\u{202e}txt.a",
];
/// Both normal forms of two names.
const FORMS: [(&str, &str); 2] = [("\u{fc}.txt", "u\u{308}.txt"), ("caf\u{e9}", "cafe\u{301}")];
/// What may stand in an ignore file; nothing that the scripts of [`check_more`](crate::sim) use.
const RULES: [&str; 9] = ["data.*", "d/", "/e/", "README", "!README", "src/**/*.md", "*.sh", "!/d/", "# a remark"];
/// Bytes that everybody has from somewhere.
const SHARED: [&[u8]; 3] = [b"", b"the same\n", b"the same\nin two lines\n"];
/// Names that are used for files and for directories.
const EITHER: [&str; 2] = ["x", "y"];
const FILES: [&str; 4] = ["a.txt", "b.txt", "notes.md", "run.sh"];
const JSON: [&str; 2] = ["settings.json", "list.json"];
const DIRS: [&str; 3] = ["d", "e", "src"];
/// Letters that are several code points, and some that join with what is beside them.
const LETTERS: [&str; 6] =
    ["e\u{301}", "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f466}", "\u{0301}", "\u{202b}שלום", "\u{1f1e9}\u{1f1ea}", "ⅻ"];
/// Nanoseconds since 1970 of some day in 1901, 1970, 2106 and 2200.
const TIMES: [i64; 4] = [-2_150_000_000_000_000_000, 0, 4_300_000_000_000_000_000, 7_260_000_000_000_000_000];
/// Files of a crowd.
const CROWD: u64 = 40;
/// How deep a way goes: within what is shown.
const DEPTH: u64 = 40;

/// What is there, as the actions here need it.
struct There<'a> {
    fs: &'a SimFs,
    all: Vec<(RelPath, FoundKind)>,
    files: Vec<RelPath>,
    dirs: Vec<RelPath>,
}

/// Something out of the way that somebody might do to this folder, and what it is. It takes another thing where what it
/// needs is not there.
#[must_use]
pub fn odd_action(rng: &mut Rng, fs: &SimFs) -> (Drawn, Action) {
    let all = fs.paths();
    let of = |kind| all.iter().filter(move |(_, found)| *found == kind).map(|(path, _)| path.clone());
    let files = of(FoundKind::File).collect();
    let dirs = std::iter::once(RelPath::root()).chain(of(FoundKind::Dir)).collect();
    let there = There { fs, files, dirs, all };
    there.action(rng)
}

/// A buffer that an editor may still have: what was in some file.
#[must_use]
pub fn buffer(rng: &mut Rng, fs: &SimFs) -> Option<(RelPath, Vec<u8>)> {
    let files: Vec<RelPath> =
        fs.paths().into_iter().filter(|(_, kind)| *kind == FoundKind::File).map(|(path, _)| path).collect();
    let path = files.get(rng.index(files.len()))?;
    Some((path.clone(), fs.read(path)?))
}

/// A save of what somebody makes of a buffer that he loaded some time ago.
#[must_use]
pub fn stale_save(rng: &mut Rng, fs: &SimFs, (path, loaded): (RelPath, Vec<u8>)) -> Action {
    let old = fs.read(&path);
    let bytes = super::new_bytes(rng, Some(&loaded));
    Action::Save(Save { path, old, bytes, editor: *rng.pick(&EDITORS) })
}

/// What the formatter that everybody has makes of a text: the same wherever it runs, and nothing more when it runs again.
fn formatted(text: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(text) else { return text.to_vec() };
    let mut formatted = String::from("// formatted\n");
    for line in text.lines().filter(|line| !line.starts_with("// formatted")) {
        formatted.push_str("    ");
        formatted.push_str(line.trim());
        formatted.push('\n');
    }
    formatted.into_bytes()
}

fn own_line(rng: &mut Rng) -> String {
    format!("own {:08x}", rng.next_u64() >> 32)
}

impl There<'_> {
    fn calls(ops: Vec<UserOp>) -> Action {
        Action::Calls(ops)
    }

    fn file(&self, rng: &mut Rng) -> Option<RelPath> {
        self.files.get(rng.index(self.files.len())).cloned()
    }

    /// A directory below the folder.
    fn below(&self, rng: &mut Rng) -> Option<RelPath> {
        self.dirs[1..].get(rng.index(self.dirs.len() - 1)).cloned()
    }

    fn dir(&self, rng: &mut Rng) -> RelPath {
        rng.pick(&self.dirs).clone()
    }

    fn place(&self, rng: &mut Rng, names: &[&str]) -> RelPath {
        self.dir(rng).join(names[rng.index(names.len())])
    }

    fn save(&self, rng: &mut Rng, path: RelPath, bytes: Vec<u8>) -> Action {
        let old = self.fs.read(&path);
        Action::Save(Save { path, old, bytes, editor: *rng.pick(&EDITORS) })
    }

    fn action(&self, rng: &mut Rng) -> (Drawn, Action) {
        let drawn = match rng.below(9) {
            0 | 1 => self.on_contents(rng),
            2 | 3 => self.on_files(rng),
            4 | 5 => self.on_tree(rng),
            6 | 7 => self.on_names(rng),
            _ => self.on_clash(rng),
        };
        drawn.unwrap_or_else(|| (Drawn::SameFile, self.same_file(rng)))
    }

    fn same_file(&self, rng: &mut Rng) -> Action {
        let (path, bytes) = (self.place(rng, &FILES), rng.pick(&SHARED).to_vec());
        self.save(rng, path, bytes)
    }

    /// Other things in a file.
    fn on_contents(&self, rng: &mut Rng) -> Option<(Drawn, Action)> {
        let path = match self.file(rng) {
            Some(path) if rng.chance(800) => path,
            _ => self.place(rng, &FILES),
        };
        let old = self.fs.read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&old).into_owned();
        let own = own_line(rng);
        let (drawn, path, bytes) = match rng.below(10) {
            0 => (Drawn::Emptied, path, Vec::new()),
            1 => {
                let text = format!("{text}{own}\n");
                let bytes = match rng.below(4) {
                    0 => text.replace('\n', "\r\n"),
                    1 => text.trim_end().to_owned(),
                    2 => text.replacen('\n', "\r", 1),
                    _ => text.replace("\r\n", "\n"),
                };
                (Drawn::LineEnds, path, bytes.into_bytes())
            }
            2 => {
                let bytes = text.strip_prefix('\u{feff}').map_or_else(|| format!("\u{feff}{text}"), str::to_owned);
                (Drawn::Mark, path, format!("{bytes}{own}\n").into_bytes())
            }
            3 => {
                let bytes = match rng.below(3) {
                    0 => [old.as_slice(), own.as_bytes(), &[0xff, 0xc3, 0x28]].concat(),
                    1 => format!("{own}\0{text}").into_bytes(),
                    _ => format!("\u{feff}{own}\n").encode_utf16().flat_map(u16::to_le_bytes).collect(),
                };
                (Drawn::NotText, path, bytes)
            }
            4 => {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                let (a, b) = (*rng.pick(&LETTERS), *rng.pick(&LETTERS));
                let at = rng.index(lines.len());
                match lines.get_mut(at) {
                    Some(line) => *line = format!("{a}{line}{b}"),
                    None => lines.push(format!("{a}{own}{b}")),
                }
                (Drawn::Letters, path, lines.join("\n").into_bytes())
            }
            5 => (Drawn::LongLine, path, [own.as_bytes(), &b"long ".repeat(4_000), b"\n"].concat()),
            // Rarely: every device hashes and writes it.
            6 if rng.chance(100) => {
                let lines = limits::TEXT_BYTES_MAX / 12 + rng.index(2_000);
                let bytes = (0..lines).flat_map(|line| format!("{line:010}\n\n").into_bytes()).collect();
                (Drawn::Large, path, [own.into_bytes(), bytes].concat())
            }
            6 | 7 => (Drawn::Formatter, path, formatted(&old)),
            8 => {
                let mut lines: Vec<&str> = text.lines().collect();
                let end = rng.index(lines.len() + 1);
                lines.rotate_left(end);
                (Drawn::MovedLines, path, [lines.join("\n").as_bytes(), b"\n"].concat())
            }
            _ => {
                let path = self.place(rng, &JSON);
                let old = self.fs.read(&path).unwrap_or_default();
                (Drawn::Json, path, json(rng, &old))
            }
        };
        Some((drawn, self.save(rng, path, bytes)))
    }

    /// Other ways to write.
    fn on_files(&self, rng: &mut Rng) -> Option<(Drawn, Action)> {
        let path = self.file(rng)?;
        let old = self.fs.read(&path)?;
        let (mode, mtime_ns) = self.fs.rights_and_time(&path)?;
        Some(match rng.below(11) {
            0 => {
                let mut ops = vec![UserOp::Open { fd: 0, path, how: OpenHow::Append }];
                for _ in 0..4 + rng.below(12) {
                    ops.push(UserOp::Write { fd: 0, bytes: format!("{}\n", own_line(rng)).into_bytes() });
                }
                ops.push(UserOp::Close { fd: 0 });
                (Drawn::Log, Self::calls(ops))
            }
            1 => (Drawn::SameBytes, self.save(rng, path, old)),
            2 | 3 => {
                let bytes = other_of_length(rng, old.len());
                let mut ops = write(0, &path, OpenHow::InPlace, &bytes);
                if rng.chance(500) {
                    ops.push(UserOp::SetTime { path, mtime_ns });
                    return Some((Drawn::OldTime, Self::calls(ops)));
                }
                ops.extend(write(1, &path, OpenHow::InPlace, &other_of_length(rng, old.len())));
                (Drawn::SameLength, Self::calls(ops))
            }
            4 => {
                let bytes = other_of_length(rng, old.len());
                let open = UserOp::Open { fd: 0, path, how: OpenHow::InPlace };
                (Drawn::Mapped, Self::calls(vec![open, UserOp::WriteMapped { fd: 0, bytes }, UserOp::Close { fd: 0 }]))
            }
            5 => {
                let mode = mode & 0o111;
                (Drawn::Unreadable, Self::calls(vec![UserOp::Chmod { path, mode }]))
            }
            6 => {
                let (path, cleared) = match self.below(rng) {
                    Some(dir) if rng.chance(400) => (dir, 0o222),
                    _ => (path, 0o222),
                };
                let (mode, _) = self.fs.rights_and_time(&path)?;
                (Drawn::ReadOnly, Self::calls(vec![UserOp::Chmod { path, mode: mode & !cleared }]))
            }
            7 => {
                let len = 8_192 + rng.below(50_000);
                let ops = vec![
                    UserOp::Open { fd: 0, path, how: OpenHow::Truncate },
                    UserOp::SetLen { fd: 0, len },
                    UserOp::Write { fd: 0, bytes: own_line(rng).into_bytes() },
                    UserOp::Close { fd: 0 },
                ];
                (Drawn::Sparse, Self::calls(ops))
            }
            8 => {
                let saves = (0..12).map(|_| {
                    let bytes = super::new_bytes(rng, Some(&old));
                    Action::Save(Save { path: path.clone(), old: None, bytes, editor: Editor::Plain })
                });
                (Drawn::ManySaves, Action::Burst(saves.collect()))
            }
            9 => {
                let mtime_ns = *rng.pick(&TIMES);
                let bytes = super::new_bytes(rng, Some(&old));
                let mut ops = self.save(rng, path.clone(), bytes).steps(0);
                ops.push(UserOp::SetTime { path, mtime_ns });
                (Drawn::OldTimes, Self::calls(ops))
            }
            _ => {
                // Out of the folder, and back where it was or elsewhere.
                let from = self.below(rng).filter(|_| rng.chance(500)).unwrap_or(path);
                let name = format!("away-{:08x}", rng.next_u64() >> 32);
                let to = if rng.chance(600) { from.clone() } else { self.place(rng, &DIRS) };
                (
                    Drawn::Away,
                    Self::calls(vec![UserOp::MoveOut { from, name: name.clone() }, UserOp::MoveIn { name, to }]),
                )
            }
        })
    }

    /// Other shapes of the tree.
    fn on_tree(&self, rng: &mut Rng) -> Option<(Drawn, Action)> {
        Some(match rng.below(9) {
            0 => (Drawn::SameFile, self.same_file(rng)),
            1 => {
                let path = self.place(rng, &EITHER);
                if rng.chance(500) {
                    return Some((Drawn::SharedName, Action::MakeDirs(path.join("in"))));
                }
                let bytes = format!("{}\n", own_line(rng)).into_bytes();
                (Drawn::SharedName, self.save(rng, path, bytes))
            }
            2 => (Drawn::Became, self.becomes(rng)?),
            3 => {
                let mut ring: Vec<RelPath> = (0..3).filter_map(|_| self.file(rng)).collect();
                ring.sort_unstable();
                ring.dedup();
                let [a, b, c] = ring.as_slice() else { return None };
                let aside = beside(a, "", ".ring");
                (Drawn::Ring, Self::calls(vec![rename(a, &aside), rename(b, a), rename(c, b), rename(&aside, c)]))
            }
            4 => {
                let (a, b) = (self.file(rng)?, self.file(rng)?);
                if a == b {
                    return None;
                }
                let to = self.place(rng, &FILES);
                (Drawn::Chain, Self::calls(vec![rename(&b, &to), rename(&a, &b)]))
            }
            5 => {
                let file = self.files.iter().filter(|path| path.components().len() > 1);
                let file = file.max_by_key(|path| path.components().len())?.clone();
                let bytes = format!("{}\n", own_line(rng)).into_bytes();
                let mut ops = self.save(rng, file.clone(), bytes).steps(0);
                for depth in (1..=file.components().len()).rev() {
                    let from = RelPath::from_components(file.components()[..depth].to_vec());
                    let is_file = depth == file.components().len();
                    let to = beside(&from, "", if is_file { ".r" } else { "r" });
                    if to.components().last().is_some_and(|name| name.len() < 40) {
                        ops.push(rename(&from, &to));
                    }
                }
                (Drawn::Depths, Self::calls(ops))
            }
            6 => {
                let dir = self.place(rng, &DIRS);
                let copy = |nth| Action::Copy {
                    to: dir.join(&format!("f{nth}")),
                    bytes: format!("{nth} of many\n").into_bytes(),
                };
                let all = std::iter::once(Action::MakeDirs(dir.clone())).chain((0..CROWD).map(copy));
                (Drawn::Crowd, Action::Burst(all.collect()))
            }
            7 => {
                let deep = (0..DEPTH).fold(RelPath::root().join("deep"), |path, _| path.join("p"));
                let bytes = format!("{}\n", own_line(rng)).into_bytes();
                let file = Action::Copy { to: deep.join("bottom"), bytes };
                (Drawn::Deep, Action::Burst(vec![Action::MakeDirs(deep), file]))
            }
            _ => {
                let (from, to) = (self.file(rng)?, self.place(rng, &FILES));
                (Drawn::HardLink, Self::calls(vec![UserOp::MakeHardLink { from, to }]))
            }
        })
    }

    /// A file that is shown beside a clash gets another name or other bytes, or goes.
    fn on_clash(&self, rng: &mut Rng) -> Option<(Drawn, Action)> {
        let is_beside = |path: &&RelPath| path.components().last().is_some_and(|name| name.contains(" ("));
        let beside: Vec<&RelPath> = self.files.iter().filter(is_beside).collect();
        let path = (*beside.get(rng.index(beside.len()))?).clone();
        let action = match rng.below(3) {
            0 => Action::Rename { from: path, to: self.place(rng, &FILES) },
            1 => Action::Delete(vec![(path, FoundKind::File)]),
            _ => {
                let bytes = super::new_bytes(rng, self.fs.read(&path).as_deref());
                self.save(rng, path, bytes)
            }
        };
        Some((Drawn::OnClash, action))
    }

    /// What stands at a name becomes something else.
    fn becomes(&self, rng: &mut Rng) -> Option<Action> {
        if self.all.is_empty() {
            return None;
        }
        let (path, kind) = rng.pick(&self.all).clone();
        let below = self.all.iter().filter(|(other, _)| path.contains(other)).rev().cloned().collect();
        let mut ops = Action::Delete(below).steps(0);
        let bytes = format!("{}\n", own_line(rng)).into_bytes();
        match (kind, rng.below(3)) {
            (FoundKind::File | FoundKind::Link, 0) | (FoundKind::File, 1) => {
                ops.push(UserOp::MakeDir(path.clone()));
                ops.extend(write(0, &path.join("in"), OpenHow::New, &bytes));
            }
            (FoundKind::Dir, 0 | 1) | (FoundKind::Link, 1) => ops.extend(write(0, &path, OpenHow::New, &bytes)),
            _ => ops.push(UserOp::MakeLink { path, target: "a.txt".into() }),
        }
        Some(Self::calls(ops))
    }

    /// Other names, other kinds, and rules.
    fn on_names(&self, rng: &mut Rng) -> Option<(Drawn, Action)> {
        let bytes = format!("{}\n", own_line(rng)).into_bytes();
        Some(match rng.below(9) {
            0 => {
                let long = "n".repeat(limits::COMPONENT_BYTES_MAX);
                let name = if rng.chance(200) { long.as_str() } else { *rng.pick(&STRANGE) };
                let path = self.dir(rng).join(name);
                (Drawn::StrangeName, Self::calls(write(0, &path, OpenHow::Truncate, &bytes)))
            }
            1 | 2 => {
                let (one, other) = *rng.pick(&FORMS);
                let (one, other) = if rng.chance(500) { (one, other) } else { (other, one) };
                let path = self.dir(rng).join(one);
                let is_there = self.files.contains(&path);
                let to = path.split()?.0.join(other);
                let action = if is_there { Action::Rename { from: path, to } } else { self.save(rng, path, bytes) };
                (Drawn::Form, action)
            }
            3 => {
                let name = [rng.pick(&FILES).as_bytes(), &[0xff, 0xfe]].concat();
                (Drawn::NoTextName, Self::calls(vec![UserOp::MakeRaw { dir: self.dir(rng), name }]))
            }
            4 => {
                let target = *rng.pick(&["d", "../d/a.txt", "link", "l2", ".", "a.txt/../b.txt", "\u{fc}"]);
                let path = self.place(rng, &["link", "l2"]);
                (Drawn::Link, Action::Link { path, target: target.into() })
            }
            5 => {
                let (path, mut ops) = match self.file(rng) {
                    Some(file) if rng.chance(500) => (file.clone(), vec![UserOp::Remove(file)]),
                    _ => (self.place(rng, &["pipe", "socket"]), Vec::new()),
                };
                ops.push(UserOp::MakePipe(path));
                (Drawn::Pipe, Self::calls(ops))
            }
            6 | 7 => {
                let lines: Vec<&str> = (0..rng.below(4)).map(|_| *rng.pick(&RULES)).collect();
                let dir = if rng.chance(600) { RelPath::root() } else { self.dir(rng) };
                let bytes = lines.into_iter().flat_map(|line| [line, "\n"]).collect::<String>().into_bytes();
                (Drawn::Rules, self.save(rng, dir.join(".kithignore"), bytes))
            }
            _ => {
                let git = self.dir(rng).join(".git");
                let copy = Action::Copy { to: git.join("HEAD"), bytes };
                (Drawn::VersionControl, Action::Burst(vec![Action::MakeDirs(git), copy]))
            }
        })
    }
}

/// Letters that nobody else writes, so many of them.
fn other_of_length(rng: &mut Rng, len: usize) -> Vec<u8> {
    (0..len).map(|at| if at % 24 == 23 { b'\n' } else { b'a' + rng.below(26) as u8 }).collect()
}

/// A document with another value for some key, or what remains of one after a bad edit.
fn json(rng: &mut Rng, old: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(old).into_owned();
    if !text.starts_with('{') {
        return b"{\n  \"a\": 1,\n  \"b\": [1, 2],\n  \"c\": {\"d\": null}\n}\n".to_vec();
    }
    let value = rng.below(1000);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = 1 + rng.index(lines.len() - 1).min(lines.len().saturating_sub(2));
    match rng.below(4) {
        0 => lines.insert(1, format!("  \"k{value}\": {value},")),
        1 if lines.len() > 3 => drop(lines.remove(at)),
        _ => {
            if let Some(line) = lines.get_mut(at)
                && let Some((key, _)) = line.clone().split_once(':')
            {
                *line = format!("{key}: {value},");
            }
        }
    }
    (lines.join("\n") + "\n").into_bytes()
}
