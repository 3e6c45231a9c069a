//! Conflicts laid out and ended, and what is known of one path.

use std::io::Read as _;

use sync_core::{
    doc::{
        compare,
        entry::{ContentRef, EntryOp, Kind},
        text::{Splice, as_text},
    },
    folder::{
        ingest::kind_word,
        rounds::{self, restoring::Step},
    },
    history::{
        conflicts::{self as sides, Lines, Matter, Says},
        log::Held,
    },
    ids::DocId,
    limits,
    tree::{ConflictKind, RelPath, clash_name},
};

use super::{
    Node, lock,
    past::{Opened, blocking, parse_path},
};
use crate::{
    error::{HistoryFault, NodeError},
    folder::requests::{Answer, Ask},
    history::{Conflict, Decided, Holder, Keep, Side, Why},
};

/// Digits of a content's hash in the name of a file that stands beside the one that won.
const BESIDE_DIGITS: usize = 6;

/// How one conflict is to end.
struct Ending {
    folder: u32,
    paths: Vec<RelPath>,
    steps: Vec<Step>,
    contents: Vec<ContentRef>,
}

impl Node {
    /// The conflicts of a folder, or of all; with the texts of both sides for one path.
    ///
    /// # Errors
    /// When there is no such folder.
    pub async fn conflicts(&self, folder: Option<&str>, path: Option<&str>) -> Result<Vec<Conflict>, NodeError> {
        let folders: Vec<String> = match folder {
            Some(folder) => vec![folder.to_owned()],
            None => lock(&self.0.running).values().map(|held| held.row.name.clone()).collect(),
        };
        let path = path.map(parse_path).transpose()?;
        let node = self.clone();
        blocking(move || {
            let mut all = Vec::new();
            for folder in folders {
                let mut opened = node.open_past(&folder)?;
                let found = opened.library.conflicts(&opened.now)?;
                let chosen = found.iter().filter(|conflict| path.as_ref().is_none_or(|path| concerns(conflict, path)));
                let chosen: Vec<sides::Conflict> = chosen.cloned().collect();
                for conflict in chosen {
                    all.push(opened.shown(&node, &conflict, path.is_some())?);
                }
            }
            all.sort_by(|a, b| (&a.folder, &a.path).cmp(&(&b.folder, &b.path)));
            Ok(all)
        })
        .await
    }

    /// Ends the conflicts of a path. Says which there were; none when the path has none any more.
    ///
    /// # Errors
    /// When nothing is at that path, the way does not fit the conflict, or the disk does not come to rest.
    pub async fn resolve(&self, folder: &str, path: &str, keep: Keep) -> Result<Vec<Conflict>, NodeError> {
        let before = self.conflicts(Some(folder), Some(path)).await?;
        let path = parse_path(path)?;
        for _ in &before {
            let (node, folder, path) = (self.clone(), folder.to_owned(), path.clone());
            let ending = blocking(move || node.open_past(&folder)?.ending(&node, &path, keep)).await?;
            let Some(ending) = ending else { break };
            for content in &ending.contents {
                self.bring_to(ending.folder, content, ending.paths.first().unwrap_or(&RelPath::root())).await?;
            }
            self.ask(ending.folder, Ask::CarryOut { paths: ending.paths, steps: ending.steps }).await?;
        }
        if before.is_empty() {
            let (node, folder) = (self.clone(), folder.to_owned());
            blocking(move || {
                let mut opened = node.open_past(&folder)?;
                match opened.now.view().at(&path) {
                    Some(_) => Ok(()),
                    None => opened.find(&path).map(drop),
                }
            })
            .await?;
        }
        Ok(before)
    }

    /// What is known of one path.
    ///
    /// # Errors
    /// When there is no such folder.
    pub async fn why(&self, folder: &str, path: &str) -> Result<Why, NodeError> {
        let path = parse_path(path)?;
        let handle = self.find(folder)?;
        let Answer::Why(known) = self.ask(handle, Ask::Why(path.clone())).await? else {
            return Err(NodeError::Stopped);
        };
        let (node, folder) = (self.clone(), folder.to_owned());
        let (name, last) = blocking({
            let path = path.clone();
            let doc = known.doc;
            move || node.open_past(&folder)?.last_commit(&path, doc)
        })
        .await?;
        let devices = self.holders(handle, &known)?;
        Ok(why(name, &path, &known, last, devices))
    }

    fn holders(&self, folder: u32, known: &rounds::Why) -> Result<Vec<Holder>, NodeError> {
        let space = self.with_folder(folder, crate::folder::FolderHandle::space)?;
        let status = self.0.engine.status().borrow().clone();
        let own = match (&known.base, known.is_current) {
            (Some(row), true) if row.stat.is_some() => "on_disk",
            _ if known.entry.is_some() => "committed",
            _ => "unknown",
        };
        let mut holders = vec![Holder { name: self.0.name.clone(), has: own.into() }];
        if known.entry.is_none() {
            return Ok(holders);
        }
        let space = status.spaces.iter().find(|held| held.space == space);
        holders.extend(space.into_iter().flat_map(|space| &space.peers).map(|peer| {
            let has = match (peer.synced, peer.durable_here) {
                (true, _) => "on_disk",
                (false, true) => "committed",
                _ => "unknown",
            };
            Holder { name: peer.name.clone(), has: has.into() }
        }));
        Ok(holders)
    }
}

/// Whether people who name a path mean this conflict.
fn concerns(conflict: &sides::Conflict, path: &RelPath) -> bool {
    let is_there = |side: &sides::Side| matches!(&side.says, Says::Entry { path: at, .. } if at == path);
    conflict.path == *path || conflict.sides.iter().any(is_there)
}

const fn word(matter: &Matter) -> &'static str {
    match matter {
        Matter::Entry(ConflictKind::Name) => "name",
        Matter::Entry(ConflictKind::Place) => "place",
        Matter::Entry(ConflictKind::Content) => "content",
        Matter::Entry(ConflictKind::Cycle) => "cycle",
        Matter::Lines(_) => "lines",
    }
}

impl Opened {
    /// Which side is ours: the one that this device wrote; where both or none are, the one that holds.
    fn mine(&self, conflict: &sides::Conflict) -> usize {
        let ours = |side: &sides::Side| self.author(side.touch.replica).here;
        let mut found = conflict.sides.iter().enumerate().filter(|(_, side)| ours(side)).map(|(index, _)| index);
        match (found.next(), found.next()) {
            (Some(one), None) => one,
            _ => 0,
        }
    }

    fn held_now(&mut self, doc: &DocId) -> Result<Held, NodeError> {
        let (Some(row), Some(entry)) = (self.now.row(doc), self.now.entry(doc)) else { return Ok(Held::None) };
        Ok(self.library.held_at(doc, row, &row.heads, entry)?)
    }

    /// The bytes of one side, where it has any.
    fn held_of(&mut self, side: &sides::Side) -> Result<Held, NodeError> {
        match &side.says {
            Says::Entry { doc, .. } => self.held_now(doc),
            Says::Content(held) => Ok(held.clone()),
            Says::Lines(text) => Ok(Held::Bytes(text.clone().into_bytes())),
            Says::Place { .. } => Ok(Held::None),
        }
    }

    /// The text of bytes, if they are one and are to be had here.
    fn text_of(&self, node: &Node, held: &Held) -> Result<Option<String>, NodeError> {
        match held {
            Held::Bytes(bytes) => Ok(as_text(bytes).map(ToOwned::to_owned)),
            Held::Elsewhere(content) if content.len <= limits::TEXT_BYTES_MAX as u64 => {
                if let Some(text) = self.library.rows().text(&content.hash)? {
                    return Ok(Some(text));
                }
                let file = node.with_folder(self.folder, |held| held.shared.open_content(&content.hash))?;
                let Some(file) = file.ok().flatten() else { return Ok(None) };
                let mut bytes = Vec::new();
                let read = file.take(limits::TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
                let is_whole = read.is_ok() && Held::Bytes(bytes.clone()).hash() == Some(content.hash);
                Ok(as_text(&bytes).filter(|_| is_whole).map(ToOwned::to_owned))
            }
            _ => Ok(None),
        }
    }

    fn shown(&mut self, node: &Node, conflict: &sides::Conflict, with_text: bool) -> Result<Conflict, NodeError> {
        let mine = self.mine(conflict);
        let mut shown = Vec::new();
        for (index, side) in conflict.sides.iter().enumerate() {
            let held = self.held_of(side)?;
            let path = match &side.says {
                Says::Entry { path, .. } | Says::Place { path, .. } => path,
                Says::Content(_) | Says::Lines(_) => &conflict.path,
            };
            shown.push(Side {
                side: if index == mine { "mine" } else { "theirs" }.into(),
                rev: side.touch.commit.to_string(),
                at_ms: side.touch.wall_ms,
                by: self.author(side.touch.replica),
                path: path.to_string(),
                // Of lines neither holds: they are merged.
                holds: index == 0 && matches!(conflict.matter, Matter::Entry(_)),
                bytes: held.size(),
                hash: held.hash().map(|hash| hash.to_string()),
                text: if with_text { self.text_of(node, &held)? } else { None },
            });
        }
        Ok(Conflict {
            folder: self.name.clone(),
            path: conflict.path.to_string(),
            kind: word(&conflict.matter).into(),
            text: conflict.matter.to_string(),
            merged: match &conflict.matter {
                Matter::Lines(lines) if with_text => Some(lines.merged.clone()),
                _ => None,
            },
            sides: shown,
        })
    }

    /// What ends the first conflict of a path.
    fn ending(&mut self, node: &Node, path: &RelPath, keep: Keep) -> Result<Option<Ending>, NodeError> {
        let all = self.library.conflicts(&self.now)?;
        let found: Vec<&sides::Conflict> = all.iter().filter(|conflict| concerns(conflict, path)).collect();
        let exact = found.iter().find(|conflict| conflict.path == *path).copied();
        let conflict = match (exact, &found[..]) {
            (Some(exact), _) => exact,
            (None, []) => return Ok(None),
            (None, [one]) => one,
            (None, several) => {
                let names: Vec<String> = several.iter().map(|conflict| conflict.path.to_string()).collect();
                let why = format!("several files claim this name; resolve one of them: {}", names.join(", "));
                return Err(HistoryFault::NoSuchWay(why).into());
            }
        };
        let mut ending = Ending { folder: self.folder, paths: vec![], steps: vec![], contents: vec![] };
        ending.paths.push(conflict.path.clone());
        match &conflict.matter {
            Matter::Entry(ConflictKind::Name) => self.end_name(node, conflict, keep, &mut ending)?,
            Matter::Entry(ConflictKind::Content) => self.end_content(node, conflict, keep, &mut ending)?,
            Matter::Entry(ConflictKind::Place) => self.end_place(conflict, keep, &mut ending)?,
            Matter::Entry(ConflictKind::Cycle) => self.end_cycle(conflict, keep, &mut ending)?,
            Matter::Lines(_) => self.end_lines(conflict.doc, &all, keep, &mut ending)?,
        }
        Ok(Some(ending))
    }

    /// The side that is kept, and the others.
    fn choose<'a>(&self, conflict: &'a sides::Conflict, keep: Keep) -> Option<(&'a sides::Side, Vec<&'a sides::Side>)> {
        let mine = self.mine(conflict);
        let kept = match keep {
            Keep::Mine => mine,
            _ => (0..conflict.sides.len()).find(|index| *index != mine)?,
        };
        Some((conflict.sides.get(kept)?, without(&conflict.sides, kept).collect()))
    }

    fn end_name(
        &mut self,
        node: &Node,
        conflict: &sides::Conflict,
        keep: Keep,
        ending: &mut Ending,
    ) -> Result<(), NodeError> {
        let no_way = |why: &str| Err(HistoryFault::NoSuchWay(why.to_owned()).into());
        let [Some((winner, first)), Some((loser, second))] =
            [0, 1].map(|index| match conflict.sides.get(index)?.says {
                Says::Entry { doc, ref path } => Some((doc, path.clone())),
                _ => None,
            })
        else {
            return no_way("one side of this conflict cannot be read");
        };
        ending.paths.extend([first, second.clone()]);
        if keep == Keep::Both {
            let name = second.components().last().cloned().unwrap_or_default();
            ending.steps.push(Step::Registers { doc: loser, ops: vec![EntryOp::Name(name)] });
            return Ok(());
        }
        let is_file = |doc: &DocId| self.now.entry(doc).is_some_and(|entry| entry.kind != Kind::Dir);
        if !is_file(&winner) || !is_file(&loser) {
            return no_way("one of the two is a directory: keep both, or move one away by hand");
        }
        let gone = match keep {
            Keep::Merge => {
                let (ours, theirs) = (self.held_now(&winner)?, self.held_now(&loser)?);
                let texts = self.text_of(node, &ours)?.zip(self.text_of(node, &theirs)?);
                let Some((ours, theirs)) = texts else { return no_way("only texts can be merged: keep one, or both") };
                let held = Held::Bytes(compare::union(&ours, &theirs).into_bytes());
                ending.steps.push(Step::Write { doc: winner, held });
                loser
            }
            _ => {
                let Some((kept, _)) = self.choose(conflict, keep) else { return no_way("there is one side only") };
                let is_winner = matches!(kept.says, Says::Entry { doc, .. } if doc == winner);
                if is_winner { loser } else { winner }
            }
        };
        ending.steps.push(Step::Registers { doc: gone, ops: vec![EntryOp::Delete] });
        Ok(())
    }

    fn end_content(
        &mut self,
        node: &Node,
        conflict: &sides::Conflict,
        keep: Keep,
        ending: &mut Ending,
    ) -> Result<(), NodeError> {
        let no_way = |why: &str| Err(HistoryFault::NoSuchWay(why.to_owned()).into());
        let doc = conflict.doc;
        let sides: Vec<Held> =
            conflict.sides.iter().map(|side| self.held_of(side)).collect::<Result<_, NodeError>>()?;
        let beside: Vec<(RelPath, &Held)> =
            sides.iter().skip(1).filter_map(|held| Some((beside(&conflict.path, held)?, held))).collect();
        ending.paths.extend(beside.iter().map(|(path, _)| path.clone()));
        match keep {
            Keep::Both => {
                for (path, held) in &beside {
                    if self.now.view().at(path).is_none() {
                        ending.contents.extend(reference(held));
                        ending.steps.push(Step::WriteNew { path: path.clone(), held: (*held).clone() });
                    }
                }
            }
            Keep::Merge => {
                let mut texts = Vec::new();
                for held in &sides {
                    let Some(text) = self.text_of(node, held)? else {
                        return no_way("only texts can be merged: keep one, or both");
                    };
                    texts.push(text);
                }
                let merged = texts.into_iter().reduce(|all, text| compare::union(&all, &text)).unwrap_or_default();
                ending.steps.push(Step::Write { doc, held: Held::Bytes(merged.into_bytes()) });
            }
            Keep::Mine | Keep::Theirs => {
                let Some((kept, _)) = self.choose(conflict, keep) else { return no_way("there is one side only") };
                let held = self.held_of(kept)?;
                ending.contents.extend(reference(&held));
                ending.steps.push(Step::Write { doc, held });
            }
        }
        ending.steps.push(Step::Settle { doc });
        if keep != Keep::Both {
            for (path, held) in &beside {
                let Some(doc) = self.now.view().at(path) else { continue };
                if self.held_now(&doc)?.hash() == held.hash() {
                    ending.steps.push(Step::Registers { doc, ops: vec![EntryOp::Delete] });
                }
            }
        }
        Ok(())
    }

    /// Ends all conflicts of lines that a text has: each is written anew, so that nobody takes it for what was merged.
    fn end_lines(&self, doc: DocId, all: &[sides::Conflict], keep: Keep, ending: &mut Ending) -> Result<(), NodeError> {
        let mut splices: Vec<Splice> = Vec::new();
        let mut at = Vec::new();
        for conflict in all.iter().filter(|conflict| conflict.doc == doc) {
            let Matter::Lines(Lines { place: (start, end), merged, heads, .. }) = &conflict.matter else { continue };
            // Where two meetings are about the same lines, the first decides.
            if splices.last().is_some_and(|last| *start < last.at + last.delete) {
                continue;
            }
            let text = |side: &sides::Side| match &side.says {
                Says::Lines(text) => text.clone(),
                _ => String::new(),
            };
            let mine = self.mine(conflict);
            let insert = match keep {
                Keep::Merge => merged.clone(),
                Keep::Both => {
                    let mut both = String::new();
                    for side in conflict.sides.get(mine).into_iter().chain(without(&conflict.sides, mine)) {
                        if !both.is_empty() && !both.ends_with('\n') {
                            both.push('\n');
                        }
                        both.push_str(&text(side));
                    }
                    both
                }
                Keep::Mine | Keep::Theirs => {
                    let Some((kept, _)) = self.choose(conflict, keep) else {
                        return Err(HistoryFault::NoSuchWay("there is one side only".into()).into());
                    };
                    text(kept)
                }
            };
            at.clone_from(heads);
            splices.push(Splice { at: *start, delete: end - start, insert });
        }
        ending.steps.push(Step::Splice { doc, heads: at, splices });
        Ok(())
    }

    fn end_place(&self, conflict: &sides::Conflict, keep: Keep, ending: &mut Ending) -> Result<(), NodeError> {
        let chosen = match keep {
            Keep::Mine | Keep::Theirs => self.choose(conflict, keep),
            _ => None,
        };
        let Some((sides::Side { says: Says::Place { parent, name, .. }, .. }, _)) = chosen else {
            let why = "it is one file, and can be in one place only: keep mine or theirs";
            return Err(HistoryFault::NoSuchWay(why.into()).into());
        };
        let ops = vec![EntryOp::Name(name.clone()), EntryOp::Parent(*parent)];
        ending.steps.push(Step::Registers { doc: conflict.doc, ops });
        Ok(())
    }

    /// The move that was skipped cannot be made: whoever ends the conflict keeps what is shown.
    fn end_cycle(&self, conflict: &sides::Conflict, keep: Keep, ending: &mut Ending) -> Result<(), NodeError> {
        let shown = conflict.sides.first().map(|side| &side.says);
        match (shown, keep) {
            (Some(Says::Place { parent, .. }), Keep::Mine | Keep::Theirs) => {
                let ops = vec![EntryOp::Parent(*parent)];
                ending.steps.push(Step::Registers { doc: conflict.doc, ops });
                Ok(())
            }
            _ => {
                let why = "two directories cannot be in each other: keep mine or theirs, which both keep what is shown";
                Err(HistoryFault::NoSuchWay(why.into()).into())
            }
        }
    }

    fn last_commit(
        &mut self,
        path: &RelPath,
        doc: Option<DocId>,
    ) -> Result<(String, Option<crate::history::Commit>), NodeError> {
        let doc = match doc {
            Some(doc) => Some(doc),
            None => self.now.find(&mut self.library, path)?.first().map(|found| found.doc),
        };
        let row = doc.and_then(|doc| Some((doc, self.now.row(&doc)?.clone())));
        let Some((doc, row)) = row else { return Ok((self.name.clone(), None)) };
        let Some(touch) = self.library.touches(&row, 1)?.pop() else { return Ok((self.name.clone(), None)) };
        let change = self.change(&doc, &touch, &mut 0)?;
        let mut commit = self.commit(&touch);
        commit.changes.push(change);
        Ok((self.name.clone(), Some(commit)))
    }
}

fn without(sides: &[sides::Side], left_out: usize) -> impl Iterator<Item = &sides::Side> {
    sides.iter().enumerate().filter(move |(index, _)| *index != left_out).map(|(_, side)| side)
}

fn reference(held: &Held) -> Option<ContentRef> {
    match held {
        Held::Elsewhere(content) => Some(*content),
        _ => None,
    }
}

/// Where the losing bytes of a file stand, or would.
fn beside(path: &RelPath, held: &Held) -> Option<RelPath> {
    let (dir, name) = path.split()?;
    let hash = held.hash()?.to_string();
    Some(dir.join(&clash_name(name, hash.get(..BESIDE_DIGITS)?)))
}

fn why(
    folder: String,
    path: &RelPath,
    known: &rounds::Why,
    last: Option<crate::history::Commit>,
    devices: Vec<Holder>,
) -> Why {
    let disk = match &known.disk {
        Err(reason) => reason.clone(),
        Ok(None) => "nothing".to_owned(),
        Ok(Some(found)) => match sync_core::folder::observe::kind_of(found.kind) {
            Some(Kind::File) => format!("a file of {} bytes{}", found.stat.size, executable(found.stat.exec)),
            Some(kind) => format!("a {}", kind_word(kind)),
            None => "neither a file, a directory nor a link".to_owned(),
        },
    };
    let base = match &known.base {
        Some(row) => match row.stat {
            Some(stat) if row.kind == Kind::File => format!("a file of {} bytes, {}", stat.size, row.hash.short()),
            Some(_) => format!("a {}", kind_word(row.kind)),
            None => "only a write that was begun".to_owned(),
        },
        None => "nothing: disk and commits never agreed on it, or agreed that it is gone".to_owned(),
    };
    let tree = match &known.entry {
        None => "no entry".to_owned(),
        Some(entry) if !known.shown => format!("a {} that is gone or cannot be shown", kind_word(entry.kind)),
        Some(entry) if known.base.is_some() && known.is_current => {
            format!("a {}{}, the same as on disk", kind_word(entry.kind), executable(entry.exec))
        }
        Some(entry) => format!("a {}{}, newer than the disk", kind_word(entry.kind), executable(entry.exec)),
    };
    let intent = known.base.as_ref().and_then(|row| row.intent.as_ref());
    Why {
        folder,
        path: path.to_string(),
        verdict: verdict(known),
        disk,
        base,
        tree,
        ignored: known.ignored.clone(),
        problem: known.problem.clone().or_else(|| known.hidden.map(|fault| fault.to_string())),
        intent: intent.map(|intent| format!("to write bytes {}", intent.hash.short())),
        conflicts: known.conflicts.iter().map(ToString::to_string).collect(),
        decision: known.decision.as_ref().map(|decision| Decided {
            action: decision.action.into(),
            reason: decision.reason.clone(),
            at_ms: u64::try_from(decision.wall_ns / 1_000_000).unwrap_or_default(),
        }),
        last,
        devices,
    }
}

const fn executable(exec: bool) -> &'static str {
    if exec { ", executable" } else { "" }
}

fn verdict(known: &rounds::Why) -> String {
    let on_disk = matches!(known.disk, Ok(Some(_)));
    if known.ignored.is_some() {
        return "it is ignored: it stays as it is here, and is sent to nobody".into();
    }
    if known.problem.is_some() || known.hidden.is_some() {
        return "it cannot be synced here".into();
    }
    if known.waits {
        return "it changed, and is looked at as soon as its writer pauses".into();
    }
    if known.lacks_content {
        return "its bytes are still to come from another device".into();
    }
    match (known.shown, known.is_current, on_disk) {
        (true, true, true) => "disk and commits agree".into(),
        (true, _, _) => "a newer version is about to be written".into(),
        (false, _, true) => "it is on disk only, and not taken in yet".into(),
        (false, _, false) if known.entry.is_some() => "it was deleted".into(),
        (false, _, false) => "there is nothing, neither on disk nor in commits".into(),
    }
}
