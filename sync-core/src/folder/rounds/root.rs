//! The folder's own directory: whether it is there, and is the one that it was.

use super::{MARKER, RoundError, Rounds, host::Host, lock, marker_path};
use crate::{
    folder::{
        FsError,
        disk::{state_path, temp_dir},
    },
    ids::DocId,
    probe,
    store::{
        Write,
        row::{BaseRow, Stat},
    },
    tree::RelPath,
};

impl Rounds {
    /// The folder is there, and is the one that it was; else nothing is read as deleted. A disk that was plugged in again may
    /// have another number: its inode and the marker then tell.
    pub(super) fn check_root(&mut self, host: &mut dyn Host, is_new: bool) -> Result<(), RoundError> {
        let fs = &self.parts.fs;
        let marker = marker_path();
        let expected = format!("{}\n", self.parts.space);
        let identity = fs.root_identity().ok().flatten();
        let found = fs.look(&marker)?;
        let was = self.parts.root;
        let renumbered = |(device, inode): (u64, u64)| device != was.0 && inode == was.1 && found.is_some();
        let root = identity.filter(|root| *root == was || renumbered(*root));
        self.halted = if root.is_none() {
            Some("its directory is missing or was replaced by another one".into())
        } else if !fs.claim() {
            Some("another kith that runs has its directory".into())
        } else if found.is_some() {
            let mut text = String::new();
            let failed = |source| FsError { operation: "read", path: marker.clone(), source };
            std::io::Read::read_to_string(&mut fs.open(&marker)?, &mut text).map_err(failed)?;
            (text != expected).then(|| "its directory belongs to another folder".to_owned())
        } else if is_new {
            fs.make_state_dirs()?;
            // Whole or not at all: half a marker would be another folder's.
            let temp = temp_dir().join(MARKER);
            if fs.look(&temp)?.is_some() {
                fs.remove_file(&temp)?;
            }
            fs.write_new(&temp, expected.as_bytes(), true)?;
            probe::reach("folder.marker-written");
            fs.rename_new(&temp, &marker)?;
            probe::reach("folder.marker-named");
            // Without it the next start would take the folder for one whose disk is not there.
            fs.flush_dir(&state_path())?;
            fs.flush_dir(&RelPath::root())?;
            None
        } else {
            Some("its marker .kith/folder is missing: is the disk mounted?".into())
        };
        match root.filter(|_| self.halted.is_none()) {
            Some(root) => self.renumber(host, root),
            None => Ok(()),
        }
    }

    /// The file system that the folder is on may have another number than it had.
    fn renumber(&mut self, host: &mut dyn Host, root: (u64, u64)) -> Result<(), RoundError> {
        let was = self.parts.root;
        if was == root {
            return Ok(());
        }
        let on_it = |row: &BaseRow| row.stat.filter(|stat| stat.device == was.0);
        let rows: Vec<(DocId, BaseRow)> = {
            let base = lock(&self.parts.base);
            let rows = base.rows().filter_map(|(doc, row)| Some((*doc, row.clone(), on_it(row)?)));
            rows.map(|(doc, row, stat)| (doc, BaseRow { stat: Some(Stat { device: root.0, ..stat }), ..row })).collect()
        };
        let folder = self.parts.folder;
        let note = |(doc, row): &(DocId, BaseRow)| Write::Base { folder, doc: *doc, row: Some(Box::new(row.clone())) };
        let writes = [Write::Root { folder, root }].into_iter().chain(rows.iter().map(note)).collect();
        // What is not in the store is tried again by the next look, with all of these.
        self.put_rows(host, writes)?;
        let mut base = lock(&self.parts.base);
        base.set_root_device(root.0);
        for (doc, row) in rows {
            base.set(doc, Some(row));
        }
        drop(base);
        self.parts.root = root;
        Ok(())
    }
}
