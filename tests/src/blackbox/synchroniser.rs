//! What is under test, from outside: programs that keep folders equal. Nothing here knows how.

use std::path::{Path, PathBuf};

/// What went wrong, in words.
pub type Outcome<T> = Result<T, String>;

/// What a synchroniser says of a value that was taken in and then overwritten or deleted by the same user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It can be restored.
    Restorable,
    /// It can be restored if another machine had it on its disk, and a change of somebody else took it from there.
    RestorableIfShared,
}

/// Real programs, one folder each, that keep the folders equal. A device starts running and connected.
pub trait Synchroniser {
    /// How many devices there are.
    fn devices(&self) -> usize;

    /// The folder of a device.
    fn folder(&self, device: usize) -> &Path;

    /// Starts a device that was killed or stopped.
    ///
    /// # Errors
    /// It does not start.
    fn start(&mut self, device: usize) -> Outcome<()>;

    /// Stops a device as a user would.
    ///
    /// # Errors
    /// It does not stop.
    fn stop(&mut self, device: usize) -> Outcome<()>;

    /// Kills a device in the middle of whatever it does.
    ///
    /// # Errors
    /// There is nothing to kill.
    fn kill(&mut self, device: usize) -> Outcome<()>;

    /// Cuts a device from all others. It may run or not.
    ///
    /// # Errors
    /// It cannot be cut off.
    fn disconnect(&mut self, device: usize) -> Outcome<()>;

    /// Ends that.
    ///
    /// # Errors
    /// It cannot be connected.
    fn connect(&mut self, device: usize) -> Outcome<()>;

    /// Waits until a device that runs has taken in these files as they are on its disk; paths within its folder.
    ///
    /// # Errors
    /// That takes too long.
    fn take_in(&mut self, device: usize, files: &[PathBuf]) -> Outcome<()>;

    /// Gives a device that runs a moment.
    fn pause(&mut self, device: usize);

    /// Whether all devices, which run and are connected, say that all is in sync. Waits a little; gives them the word that
    /// they wait for, as users would.
    ///
    /// # Errors
    /// A device does not answer.
    fn is_quiet(&mut self) -> Outcome<bool>;

    /// Makes a device that runs look at its whole folder, as it does after a start.
    ///
    /// # Errors
    /// It does not.
    fn look_again(&mut self, device: usize) -> Outcome<()>;

    /// How many changes a device knows of, its own and those of others: this grows with each.
    ///
    /// # Errors
    /// It does not say.
    fn changes(&mut self, device: usize) -> Outcome<u64>;

    /// Whether a path within a folder is the synchroniser's own.
    fn is_own(&self, path: &Path) -> bool;

    /// What it promises of values in texts, or in files that are none.
    fn promise(&self, text: bool) -> Promise;

    /// Paths within a directory of the folder that it calls conflicts, and the versions that no file holds.
    ///
    /// # Errors
    /// It does not say.
    fn conflicts(&mut self, dir: &str) -> Outcome<Conflicts>;

    /// Shows versions of files of a directory that can be restored, as far as is wanted: until `look` says that it has
    /// seen enough.
    ///
    /// # Errors
    /// It does not say.
    fn history(&mut self, dir: &str, look: &mut dyn FnMut(&[u8]) -> bool) -> Outcome<()>;

    /// What helps to understand a failure.
    fn describe(&mut self) -> String;
}

/// Conflicts of a directory.
#[derive(Debug, Default)]
pub struct Conflicts {
    /// Where they are shown; paths within the folder.
    pub paths: Vec<String>,
    /// Versions that are in a conflict and in no file.
    pub versions: Vec<Vec<u8>>,
}
