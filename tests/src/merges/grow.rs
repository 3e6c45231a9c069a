//! Texts that several sides changed at once, grown from a seed.
//!
//! Lines are of a few common ones and of words, so that many stand more than once; edits insert, delete, replace, move
//! and copy lines and change words; some are made by every side. Line ends are of either kind or mixed, and the last one
//! may be missing.

use crate::sim::rng::Rng;

/// A text and what each side made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What all started from.
    pub base: String,
    /// What each has then.
    pub sides: Vec<String>,
}

const COMMON: &[&str] = &["", "}", "    }", "    return x;", "end", "", "a", "b", "{", "// -----"];
const WORDS: &[&str] = &[
    "one",
    "two",
    "three",
    "naïve",
    "漢字",
    "e\u{301}",
    "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}",
    "x",
    "y",
    "foo",
    "bar",
    "=",
    "+",
    "(a, b)",
    "日本",
    "return",
    "let",
    "colour",
    ";",
];

/// One edit of a list of lines; places beyond its end are its end.
#[derive(Debug, Clone)]
enum Edit {
    Insert { at: usize, block: Vec<String> },
    Delete { at: usize, len: usize },
    Replace { at: usize, len: usize, block: Vec<String> },
    Word { at: usize, seed: u64 },
    Move { at: usize, len: usize, to: usize },
    Copy { at: usize, len: usize, to: usize },
}

/// The case of a seed, with this many sides.
#[must_use]
pub fn case(seed: u64, sides: usize) -> Case {
    let mut rng = Rng::new(seed);
    let lines = some_lines(&mut rng);
    let ends = rng.index(7);
    let ends_last = !one_in(&mut rng, 6);
    let shared: Vec<Edit> = if one_in(&mut rng, 3) {
        Vec::new()
    } else {
        (0..1 + rng.index(3)).map(|_| some_edit(&mut rng, lines.len())).collect()
    };
    let shared_first = one_in(&mut rng, 2);
    let base = text(&lines, ends, ends_last);
    let sides = (0..sides)
        .map(|_| {
            let mut lines = lines.clone();
            let own = [0, 1, 1, 2, 2, 4][rng.index(6)];
            if shared_first {
                shared.iter().for_each(|edit| apply(&mut lines, edit));
            }
            for _ in 0..own {
                let edit = some_edit(&mut rng, lines.len());
                apply(&mut lines, &edit);
            }
            if !shared_first {
                shared.iter().for_each(|edit| apply(&mut lines, edit));
            }
            let flips = one_in(&mut rng, 12);
            text(&lines, ends, ends_last != flips)
        })
        .collect();
    Case { base, sides }
}

const fn one_in(rng: &mut Rng, count: usize) -> bool {
    rng.index(count) == 0
}

fn some_line(rng: &mut Rng) -> String {
    if rng.index(10) < 4 {
        return (*rng.pick(COMMON)).to_owned();
    }
    let words: Vec<&str> = (0..1 + rng.index(6)).map(|_| *rng.pick(WORDS)).collect();
    let number = if one_in(rng, 2) { format!(" {}", rng.below(100)) } else { String::new() };
    format!("{}{}{number}", "    ".repeat(rng.index(3)), words.join(" "))
}

fn some_block(rng: &mut Rng) -> Vec<String> {
    if one_in(rng, 4) {
        // Blocks of one shape, as functions are.
        return vec![
            format!("fn f{}() {{", rng.below(20)),
            format!("    x{};", rng.below(5)),
            "}".into(),
            String::new(),
        ];
    }
    (0..1 + rng.index(4)).map(|_| some_line(rng)).collect()
}

fn some_lines(rng: &mut Rng) -> Vec<String> {
    let most = *rng.pick(&[3, 8, 20, 50]);
    let wanted = rng.index(most + 1);
    let mut lines = Vec::new();
    while lines.len() < wanted {
        lines.extend(some_block(rng));
    }
    lines
}

fn some_edit(rng: &mut Rng, lines: usize) -> Edit {
    let at = rng.index(lines + 1);
    let len = 1 + rng.index(3);
    match rng.index(9) {
        0 | 1 => Edit::Insert { at, block: some_block(rng) },
        2 => Edit::Delete { at, len },
        3 => Edit::Replace { at, len, block: some_block(rng) },
        4..=6 => Edit::Word { at, seed: rng.next_u64() },
        7 => Edit::Move { at, len, to: rng.index(lines + 1) },
        _ => Edit::Copy { at, len, to: rng.index(lines + 1) },
    }
}

fn apply(lines: &mut Vec<String>, edit: &Edit) {
    let count = lines.len();
    let range = |at: usize, len: usize| at.min(count)..(at + len).min(count);
    match edit {
        Edit::Insert { at, block } => drop(lines.splice(range(*at, 0), block.iter().cloned())),
        Edit::Delete { at, len } => drop(lines.drain(range(*at, *len))),
        Edit::Replace { at, len, block } => drop(lines.splice(range(*at, *len), block.iter().cloned())),
        Edit::Word { at, seed } => {
            if let Some(line) = lines.get_mut(*at) {
                *line = change_word(line, *seed);
            }
        }
        Edit::Move { at, len, to } => {
            let moved: Vec<String> = lines.drain(range(*at, *len)).collect();
            let to = (*to).min(lines.len());
            lines.splice(to..to, moved);
        }
        Edit::Copy { at, len, to } => {
            let copied = lines[range(*at, *len)].to_vec();
            let to = (*to).min(lines.len());
            lines.splice(to..to, copied);
        }
    }
}

/// The same change for the same line, whoever makes it.
fn change_word(line: &str, seed: u64) -> String {
    let mut rng = Rng::new(seed);
    let mut words: Vec<&str> = line.split(' ').collect();
    let at = rng.index(words.len());
    match rng.index(4) {
        0 => words.insert(at, *rng.pick(WORDS)),
        1 if words.len() > 1 => drop(words.remove(at)),
        _ => words[at] = *rng.pick(WORDS),
    }
    words.join(" ")
}

fn text(lines: &[String], ends: usize, ends_last: bool) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        text.push_str(line);
        if index + 1 < lines.len() || ends_last {
            let crlf = ends == 5 || (ends == 6 && line.len() % 2 == 0);
            text.push_str(if crlf { "\r\n" } else { "\n" });
        }
    }
    text
}
