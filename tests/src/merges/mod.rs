//! Merges of texts as devices make them, beside those that git makes of the same.
//!
//! [`grow`] makes cases; [`Meeting`] takes one the way that a folder takes it: each device promotes the file, makes the
//! splices of its edit at the heads that it had, and gets the changes of the others. [`git`] is the oracle, with the
//! algorithm that `git merge` uses.

pub mod grow;

use std::{fs, path::Path, process::Command};

use sync_core::{
    doc::{
        Document,
        entry::{EntryOp, RootContent, RootSpec},
        promotion, text,
    },
    ids::{ReplicaId, SpaceId},
};

use self::grow::Case;

/// Devices that changed one text at once.
#[derive(Debug)]
pub struct Meeting {
    start: Vec<Vec<u8>>,
    /// What each wrote; nothing if it left the text as it was.
    changes: Vec<Option<Vec<u8>>>,
    /// What each inserted, run by run.
    inserted: Vec<Vec<String>>,
}

const fn replica(side: usize) -> ReplicaId {
    ReplicaId([side as u8 + 1; 16])
}

impl Meeting {
    /// Every device makes its edit, knowing of none.
    ///
    /// # Panics
    /// When an edit fails, or a device does not show what it wrote.
    #[must_use]
    pub fn new(case: &Case) -> Self {
        let content = RootContent::Inline(case.base.clone().into_bytes());
        let root = RootSpec::file(SpaceId([1; 32]), None, "a.txt", content).build();
        let promoted = promotion::of_root(&root.bytes).expect("is text");
        let start = vec![root.bytes, promoted.bytes];
        let (mut changes, mut inserted) = (Vec::new(), Vec::new());
        for (side, new) in case.sides.iter().enumerate() {
            let splices = text::diff(&case.base, new);
            inserted.push(splices.iter().map(|splice| splice.insert.clone()).collect());
            changes.push((!splices.is_empty()).then(|| {
                let mut document = Document::from_changes(&start).expect("opens");
                let at = document.heads();
                let change = document.edit(replica(side), &at, &[EntryOp::Splice(splices)]).expect("edits");
                assert_eq!(shown(&document), *new, "what side {side} wrote");
                change.bytes
            }));
        }
        Self { start, changes, inserted }
    }

    /// What a device shows that got the edits of all sides in this order.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn met(&self, order: &[usize]) -> Document {
        let mut document = Document::from_changes(&self.start).expect("opens");
        for side in order {
            document.apply(&self.changes[*side]).expect("applies");
        }
        document
    }

    /// What a device shows that got them in this order and wrote something else to the document after each.
    ///
    /// # Panics
    /// When it cannot be read or edited.
    #[must_use]
    pub fn joined(&self, order: &[usize]) -> Document {
        let mut document = Document::from_changes(&self.start).expect("opens");
        for side in order {
            document.apply(&self.changes[*side]).expect("applies");
            let before = shown(&document);
            let at = document.heads();
            document.edit(ReplicaId([99; 16]), &at, &[EntryOp::Keep]).expect("edits");
            assert_eq!(shown(&document), before, "joining the heads changes nothing that is shown");
        }
        document
    }

    /// A run of characters that some side inserted and that the text does not have in one piece.
    #[must_use]
    pub fn lost(&self, text: &str) -> Option<&str> {
        self.inserted.iter().flatten().map(String::as_str).find(|run| !text.contains(run))
    }
}

/// The text that a document shows.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn shown(document: &Document) -> String {
    document.text().expect("reads").expect("is text")
}

/// What git merges of two sides, if without a conflict. `dir` is for its files, and nobody else's.
///
/// # Panics
/// When git does not run.
#[must_use]
pub fn git(dir: &Path, base: &str, ours: &str, theirs: &str) -> Option<String> {
    for (name, text) in [("base", base), ("ours", ours), ("theirs", theirs)] {
        fs::write(dir.join(name), text).expect("writes");
    }
    let mut command = Command::new("git");
    command.args(["merge-file", "--stdout", "--quiet", "--diff-algorithm=histogram", "ours", "base", "theirs"]);
    command.current_dir(dir).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", dir);
    let output = command.output().expect("git runs");
    match output.status.code() {
        Some(0) => Some(String::from_utf8(output.stdout).expect("what it got was text")),
        // The number of conflicts.
        Some(1..=127) => None,
        _ => panic!("git failed: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// How a case of two sides went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Git merges it, and so do we.
    Equal,
    /// Git sees a conflict.
    Conflict,
}

/// Compares the merge of two sides with git's.
///
/// # Errors
/// What differs, or is lost.
///
/// # Panics
/// When something cannot be read or git does not run.
pub fn compare(dir: &Path, case: &Case) -> Result<Verdict, String> {
    let [ours, theirs] = case.sides.as_slice() else { panic!("a case of two sides") };
    let meeting = Meeting::new(case);
    let text = shown(&meeting.met(&[0, 1]));
    if text != shown(&meeting.met(&[1, 0])) {
        return Err("the order of meeting matters".into());
    }
    match git(dir, &case.base, ours, theirs) {
        Some(merged) if merged != text => Err(format!("git has {merged:?}\nwe have {text:?}")),
        Some(_) => Ok(Verdict::Equal),
        None => match meeting.lost(&text) {
            Some(run) => Err(format!("{run:?} is lost in {text:?}")),
            None => Ok(Verdict::Conflict),
        },
    }
}
