//! Both sides of each conflict: what they say, and which commit says it.
//!
//! A conflict of entries is what the tree says it is, one of lines what the text says; here both are only laid out for
//! people.

use std::{collections::BTreeMap, fmt, ops::Range};

use super::{
    HistoryError, Library,
    log::{Held, Touch},
    past::Past,
};
use crate::{
    doc::{LineConflict, entry::Content},
    ids::{ChangeHash, DocId},
    store::{StoreError, row::DocRow},
    tree::{ConflictKind, RelPath},
};

/// Changes of the shortest past of a document that is followed by one that joined heads: a root and two sides.
const FEWEST_JOINED: u32 = 3;

/// A conflict with its sides.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// What is the matter.
    pub matter: Matter,
    /// The entry that gave way, or the one that both sides changed.
    pub doc: DocId,
    /// Where it is shown.
    pub path: RelPath,
    /// The sides, the one that holds first.
    pub sides: Vec<Side>,
}

/// What both sides changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matter {
    /// An entry.
    Entry(ConflictKind),
    /// Lines of a text, which shows them merged by words.
    Lines(Lines),
}

/// Lines that both sides changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lines {
    /// The number of the first, from 1.
    pub first: usize,
    /// How many are shown.
    pub count: usize,
    /// Where they stand in the text that is shown at `heads`, in characters, with their line ends.
    pub place: (usize, usize),
    /// What is shown there.
    pub merged: String,
    /// The document's heads.
    pub heads: Vec<ChangeHash>,
}

impl Lines {
    fn of(conflict: &LineConflict, text: &str, heads: &[ChangeHash]) -> Self {
        let Range { start, end } = conflict.range;
        Self {
            first: 1 + text.chars().take(start).filter(|ch| *ch == '\n').count(),
            count: conflict.merged.lines().count(),
            place: (start, end),
            merged: conflict.merged.clone(),
            heads: heads.to_vec(),
        }
    }
}

impl fmt::Display for Matter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(kind) => kind.fmt(f),
            Self::Lines(lines) if lines.count > 1 => {
                let last = lines.first + lines.count - 1;
                write!(f, "lines {} to {last} were changed on both sides, and merged by words", lines.first)
            }
            Self::Lines(lines) => {
                write!(f, "line {} was changed on both sides, and merged by words", lines.first)
            }
        }
    }
}

/// One side of a conflict.
#[derive(Debug, Clone)]
pub struct Side {
    /// The commit that says so.
    pub touch: Touch,
    /// What it says.
    pub says: Says,
}

/// What one side of a conflict says.
#[derive(Debug, Clone)]
pub enum Says {
    /// That this entry has the name.
    Entry {
        /// The entry.
        doc: DocId,
        /// Where it is shown.
        path: RelPath,
    },
    /// That these are the bytes.
    Content(Held),
    /// That these are the lines.
    Lines(String),
    /// That the entry belongs there.
    Place {
        /// In this directory.
        parent: Option<DocId>,
        /// Under this name.
        name: String,
        /// Both as a path.
        path: RelPath,
    },
}

/// How many conflicts of lines texts had at the heads at which they were looked at last. Texts in which no heads can have
/// met are not in it.
#[derive(Debug, Default)]
pub struct LineCounts(BTreeMap<DocId, (Vec<ChangeHash>, u64)>);

impl Library {
    /// How many conflicts of lines there are in all. Opens the texts in which heads met and that have other heads than they
    /// had last.
    ///
    /// # Errors
    /// When the store fails.
    pub fn count_lines(&mut self, counts: &mut LineCounts) -> Result<u64, StoreError> {
        let mut met = Vec::new();
        self.snapshot.each_document(self.space, |doc, row| {
            if row.heads.len() > 1 || row.changes > FEWEST_JOINED {
                met.push((doc, row));
            }
        })?;
        let mut before = std::mem::take(&mut counts.0);
        for (doc, row) in met {
            let count = match before.remove(&doc) {
                Some((heads, count)) if heads == row.heads => count,
                _ => self.lines_of(&doc, &row)?,
            };
            counts.0.insert(doc, (row.heads, count));
        }
        Ok(counts.0.values().map(|(_, count)| count).sum())
    }

    /// Of one text that is there; a document that cannot be read says so elsewhere.
    fn lines_of(&mut self, doc: &DocId, row: &DocRow) -> Result<u64, StoreError> {
        if !self.may_have_met(row)? {
            return Ok(0);
        }
        let found = self.entry(doc, row).and_then(|entry| {
            if !entry.alive || entry.content != Some(Content::Text) {
                return Ok(0);
            }
            let document = self.open(doc, row)?;
            let found = document.conflicts();
            self.put_back(doc, row, document);
            Ok(found?.len() as u64)
        });
        match found {
            Err(HistoryError::Store(error)) => Err(error),
            Err(HistoryError::Doc(_)) => Ok(0),
            Ok(count) => Ok(count),
        }
    }

    /// All conflicts now, of entries and of lines, by path.
    ///
    /// # Errors
    /// When the store fails or Automerge does.
    pub fn conflicts(&mut self, now: &Past) -> Result<Vec<Conflict>, HistoryError> {
        let mut conflicts = Vec::new();
        for found in &now.view().conflicts {
            let (Some(path), Some(row)) = (now.view().path_of(&found.doc), now.row(&found.doc)) else { continue };
            let sides = match found.kind {
                ConflictKind::Name => self.sides_of_name(now, &found.doc)?,
                ConflictKind::Content => self.sides_of_content(&found.doc, row)?,
                ConflictKind::Place => self.sides_of_place(now, &found.doc, row)?,
                ConflictKind::Cycle => self.sides_of_cycle(now, &found.doc, row)?,
            };
            conflicts.push(Conflict { matter: Matter::Entry(found.kind), doc: found.doc, path, sides });
        }
        for (doc, row) in now.rows() {
            let is_text = now.entry(doc).is_some_and(|entry| entry.content == Some(Content::Text));
            let Some(path) = now.view().path_of(doc).filter(|_| is_text) else { continue };
            if self.may_have_met(row)? {
                self.conflicts_of_lines(doc, row, &path, &mut conflicts)?;
            }
        }
        conflicts.sort_by(|a, b| (&a.path, &a.matter).cmp(&(&b.path, &b.matter)));
        Ok(conflicts)
    }

    /// Whether several heads of a document may have met: told without opening it, since most never did.
    fn may_have_met(&self, row: &DocRow) -> Result<bool, StoreError> {
        if row.heads.len() > 1 {
            return Ok(true);
        }
        for index in (FEWEST_JOINED..row.changes).rev() {
            if self.snapshot.change(row.handle, index)?.deps.len() > 1 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn conflicts_of_lines(
        &mut self,
        doc: &DocId,
        row: &DocRow,
        path: &RelPath,
        conflicts: &mut Vec<Conflict>,
    ) -> Result<(), HistoryError> {
        let document = self.open(doc, row)?;
        let found = document.conflicts().and_then(|found| Ok((found, document.text()?)));
        self.put_back(doc, row, document);
        let (found, text) = found?;
        let text = text.unwrap_or_default();
        for conflict in found {
            let mut sides = Vec::new();
            for version in &conflict.sides {
                if let Some(head) = version.heads.first() {
                    let says = Says::Lines(version.text.clone());
                    sides.push(Side { touch: self.touch_by(doc, row, head)?, says });
                }
            }
            let matter = Matter::Lines(Lines::of(&conflict, &text, &row.heads));
            conflicts.push(Conflict { matter, doc: *doc, path: path.clone(), sides });
        }
        Ok(())
    }

    fn touch_by(&self, doc: &DocId, row: &DocRow, change: &ChangeHash) -> Result<Touch, StoreError> {
        let index = self.index_of(doc, row, change)?;
        let commits = self.snapshot.change(row.handle, index)?.commits;
        let &(replica, n, _) = commits.first().ok_or(StoreError::Row { table: "change" })?;
        self.touch(replica, n, vec![index])
    }

    fn sides_of_name(&self, now: &Past, loser: &DocId) -> Result<Vec<Side>, StoreError> {
        let place = now.view().place_of(loser);
        let name = now.entry(loser).map(|entry| &entry.name);
        let winner = place.zip(name).and_then(|(place, name)| now.view().holder_of(place.parent, name));
        let mut sides = Vec::new();
        for doc in winner.into_iter().chain([*loser]) {
            if let Some(row) = now.row(&doc) {
                let touch = self.touch_by(&doc, row, &ChangeHash(doc.0))?;
                sides.push(Side { touch, says: Says::Entry { doc, path: now.path_of(&doc) } });
            }
        }
        Ok(sides)
    }

    fn sides_of_content(&mut self, doc: &DocId, row: &DocRow) -> Result<Vec<Side>, HistoryError> {
        let document = self.open(doc, row)?;
        let versions = document.contents();
        self.put_back(doc, row, document);
        let mut sides = Vec::new();
        for version in versions?.into_iter().rev() {
            let held = match version.value {
                (Content::Inline(bytes), _) => Held::Bytes(bytes),
                (Content::Reference(content), _) => Held::Elsewhere(content),
                (Content::Text, text) => Held::Bytes(text.unwrap_or_default().into_bytes()),
            };
            let touch = self.touch_by(doc, row, &version.by)?;
            sides.push(Side { touch, says: Says::Content(held) });
        }
        Ok(sides)
    }

    fn sides_of_place(&mut self, now: &Past, doc: &DocId, row: &DocRow) -> Result<Vec<Side>, HistoryError> {
        let document = self.open(doc, row)?;
        let (names, parents) = (document.names(), document.parents());
        self.put_back(doc, row, document);
        let (names, parents) = (names?, parents?);
        let (Some(name), Some(parent)) = (names.last(), parents.last()) else { return Ok(Vec::new()) };
        let mut changes: Vec<ChangeHash> = Vec::new();
        // The winners come last.
        let contested = |count: usize| count > 1;
        let of_names = names.iter().rev().filter(|_| contested(names.len())).map(|version| version.by);
        let of_parents = parents.iter().rev().filter(|_| contested(parents.len())).map(|version| version.by);
        for by in of_names.chain(of_parents) {
            if !changes.contains(&by) {
                changes.push(by);
            }
        }
        let mut sides = Vec::new();
        for by in changes {
            let name = names.iter().find(|version| version.by == by).unwrap_or(name).value.clone();
            let parent = parents.iter().find(|version| version.by == by).unwrap_or(parent).value;
            let path = now.dir_path(parent.as_ref()).join(&name);
            sides.push(Side { touch: self.touch_by(doc, row, &by)?, says: Says::Place { parent, name, path } });
        }
        Ok(sides)
    }

    fn sides_of_cycle(&mut self, now: &Past, doc: &DocId, row: &DocRow) -> Result<Vec<Side>, HistoryError> {
        let document = self.open(doc, row)?;
        let parents = document.parents();
        self.put_back(doc, row, document);
        let (Some(entry), Some(place)) = (now.entry(doc), now.view().place_of(doc)) else { return Ok(Vec::new()) };
        let Some(skipped) = parents?.pop() else { return Ok(Vec::new()) };
        let touch = self.touch_by(doc, row, &skipped.by)?;
        let says = |parent: Option<DocId>| {
            let path = now.dir_path(parent.as_ref()).join(&entry.name);
            Says::Place { parent, name: entry.name.clone(), path }
        };
        Ok(vec![Side { touch: touch.clone(), says: says(place.parent) }, Side { touch, says: says(entry.parent) }])
    }
}
