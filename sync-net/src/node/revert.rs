//! Words of people about what only their disk shows: changes of a device that may only read are taken back, what is missing
//! with a file system that never comes back is deleted.

use sync_core::{folder::rounds::reverting::Back, tree::RelPath};

use super::{Node, past::parse_path};
use crate::{
    error::NodeError,
    folder::requests::{Answer, Ask},
    history::{Reverted, RevertedPath},
};

impl Node {
    /// Takes back what was changed at some paths of a folder that this device may only read, or everywhere in it; or only
    /// tells what that is. What was made or edited is kept for a while.
    ///
    /// # Errors
    /// When there is no such folder, the device may write in it, or the disk does not come to rest.
    pub async fn revert(&self, folder: &str, paths: &[String], tell: bool) -> Result<Reverted, NodeError> {
        let mut asked = paths.iter().map(|path| parse_path(path)).collect::<Result<Vec<_>, _>>()?;
        if asked.is_empty() {
            asked.push(RelPath::root());
        }
        let (handle, name) = self.named(folder)?;
        match self.ask(handle, Ask::Revert { paths: asked, tell }).await? {
            Answer::Reverted { paths, awaited } => {
                let paths = paths.into_iter().map(|(path, back)| reverted_path(&path, back)).collect();
                Ok(Reverted { folder: name, paths, awaited })
            }
            _ => Err(NodeError::Stopped),
        }
    }

    /// Deletes everywhere what is missing at a path with the file system that it was on. Says how many files.
    ///
    /// # Errors
    /// When there is no such folder, or nothing at the path waits for a file system.
    pub async fn let_go(&self, folder: &str, path: &str) -> Result<usize, NodeError> {
        let path = parse_path(path)?;
        let (handle, _) = self.named(folder)?;
        match self.ask(handle, Ask::LetGo(path)).await? {
            Answer::LetGo(files) => Ok(files),
            _ => Err(NodeError::Stopped),
        }
    }

    /// A folder's handle, and what people call it.
    fn named(&self, folder: &str) -> Result<(u32, String), NodeError> {
        let handle = self.find(folder)?;
        Ok((handle, self.with_folder(handle, |held| held.row.name.clone())?))
    }
}

fn reverted_path(path: &RelPath, back: Back) -> RevertedPath {
    let was = match back {
        Back::Made => "made",
        Back::Edited => "edited",
        Back::Deleted => "deleted",
        Back::Moved => "moved",
    };
    RevertedPath { path: path.to_string(), was: was.into() }
}
