//! Entries that make room for others, and what a rename of ours does to how an entry looks.

use super::{ASIDE, Applied, Applier, failed};
use crate::{
    folder::{Fault, Found, disk::temp_dir, observe::is_touched},
    ids::DocId,
    probe,
    store::row::{BaseRow, Stat},
    tree::{RelPath, clash_name},
};

impl Applier<'_> {
    /// Moves an entry out of the way.
    pub fn put_aside(&mut self, doc: DocId) -> Option<Applied> {
        if self.aside.contains_key(&doc) {
            return None;
        }
        let path = self.path(&doc)?;
        let temp = temp_dir().join(&format!("{ASIDE}{doc}"));
        let before = match self.fs.look(&path) {
            Ok(before) => before,
            Err(error) => return Some(failed(path, &error)),
        };
        match self.fs.rename_new(&path, &temp) {
            Ok(()) => {
                probe::reach("write.put-aside");
                if let Some(mut row) = self.base.row(&doc).cloned() {
                    self.renamed(&mut row, before.as_ref(), &temp);
                    self.base.set(doc, Some(row));
                }
                self.aside.insert(doc, temp);
                self.base.put_aside(doc);
                None
            }
            Err(error) => Some(failed(path, &error)),
        }
    }

    /// Notes the change time that a rename of ours gave an entry, if it was as known before. Else an edit that nobody has
    /// seen yet still shows in it.
    pub(super) fn renamed(&self, row: &mut BaseRow, before: Option<&Found>, to: &RelPath) {
        let was_known = before.is_some_and(|found| !is_touched(row, found));
        if let Some(stat) = row.stat.filter(|_| was_known)
            && let Ok(Some(found)) = self.fs.look(to)
            && stat.same_content(&found.stat)
        {
            row.stat = Some(Stat { ctime_ns: found.stat.ctime_ns, ..stat });
        }
    }

    /// Puts an entry that is aside back where people look, beside whatever took its name: what is in it must be looked at.
    pub fn bring_out(&mut self, doc: DocId) -> Option<Applied> {
        let temp = self.aside.get(&doc)?.clone();
        let mut row = self.base.row(&doc)?.clone();
        let before = self.fs.look(&temp).ok()?;
        let above = row.parent.filter(|parent| self.base.on_disk(parent).is_some());
        let dir = above.map_or_else(|| Some(RelPath::root()), |parent| self.path(&parent))?;
        let digits = doc.to_string();
        let beside = (6..=digits.len()).step_by(2).map(|end| clash_name(&row.name, &digits[..end]));
        for name in std::iter::once(row.name.clone()).chain(beside) {
            match self.fs.rename_new(&temp, &dir.join(&name)) {
                Ok(()) => {
                    self.aside.remove(&doc);
                    self.base.bring_back(&doc);
                    (row.parent, row.name, row.intent) = (above, name.clone(), None);
                    self.renamed(&mut row, before.as_ref(), &dir.join(&name));
                    return Some(self.done(doc, Some(row)));
                }
                Err(error) if error.fault() == Fault::Exists => {}
                Err(error) => return Some(failed(dir, &error)),
            }
        }
        None
    }

    /// The entry that is aside and that a path is in, or is.
    #[must_use]
    pub fn aside_above(&self, path: &RelPath) -> Option<(DocId, RelPath)> {
        let (doc, temp) = self.aside.iter().find(|(_, temp)| temp.contains(path))?;
        let below = path.components().get(temp.components().len()..).unwrap_or_default();
        Some((*doc, RelPath::from_components(below.to_vec())))
    }
}
