//! The black-box model, a few traces: real daemons on two to four folders keep every value, and end byte-equal. And that it
//! finds who does not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sync_tests::blackbox::{
    Runner, Violation,
    kith::Kith,
    model::Step,
    sweep,
    synchroniser::{Conflicts, Outcome, Promise, Synchroniser},
    user::files_below,
};
use tempfile::TempDir;

/// Threads; a multiple of the numbers of devices that there are, so that all traces of one have as many.
const THREADS: u64 = 6;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_value_ends_in_a_file_a_conflict_or_history_and_folders_are_equal() {
    let dir = TempDir::new().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let make = |devices: usize, dirs: &[String]| -> Outcome<Box<dyn Synchroniser>> {
        let home = tempfile::tempdir_in(dir.path()).expect("temporary directory").keep();
        Ok(Box::new(Kith::new(program, &home, devices, dirs, 0)))
    };
    let first = number("BLACKBOX_FIRST", 0);
    let (totals, violations) = sweep(&make, first..first + number("BLACKBOX_TRACES", 6), THREADS, true);
    let shown: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{}\n{totals}", shown.join("\n\n"));
    // Something was at stake.
    assert!(totals.written() > 0 && totals.found.file > 0, "{totals}");
}

/// Two directories that a loop over files keeps equal: the larger one wins, and nobody keeps the other.
struct Copier {
    folders: Vec<PathBuf>,
    /// Whether it writes all files anew when it looks again.
    restless: bool,
}

impl Synchroniser for Copier {
    fn devices(&self) -> usize {
        self.folders.len()
    }

    fn folder(&self, device: usize) -> &Path {
        &self.folders[device]
    }

    fn start(&mut self, _device: usize) -> Outcome<()> {
        Ok(())
    }

    fn stop(&mut self, _device: usize) -> Outcome<()> {
        Ok(())
    }

    fn kill(&mut self, _device: usize) -> Outcome<()> {
        Ok(())
    }

    fn disconnect(&mut self, _device: usize) -> Outcome<()> {
        Ok(())
    }

    fn connect(&mut self, _device: usize) -> Outcome<()> {
        Ok(())
    }

    fn take_in(&mut self, _device: usize, _files: &[PathBuf]) -> Outcome<()> {
        Ok(())
    }

    fn pause(&mut self, _device: usize) {}

    fn is_quiet(&mut self) -> Outcome<bool> {
        for from in self.folders.clone() {
            for file in files_below(&from) {
                let bytes = fs::read(&file).map_err(|error| error.to_string())?;
                for to in &self.folders {
                    let there = to.join(file.strip_prefix(&from).expect("is below"));
                    let _stands_in_the_way = fs::create_dir_all(there.parent().expect("is below"));
                    if fs::read(&there).is_ok_and(|held| held < bytes) || !there.exists() {
                        let _stands_in_the_way = fs::write(&there, &bytes);
                    }
                }
            }
        }
        Ok(true)
    }

    fn look_again(&mut self, device: usize) -> Outcome<()> {
        for file in files_below(&self.folders[device]).into_iter().filter(|_| self.restless) {
            let bytes = fs::read(&file).map_err(|error| error.to_string())?;
            fs::rename(&file, self.folders[device].join("old")).map_err(|error| error.to_string())?;
            fs::write(&file, &bytes).map_err(|error| error.to_string())?;
            fs::remove_file(self.folders[device].join("old")).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn changes(&mut self, _device: usize) -> Outcome<u64> {
        Ok(0)
    }

    fn is_own(&self, path: &Path) -> bool {
        // It knows files only.
        self.folders[0].join(path).is_dir() || self.folders[1].join(path).is_dir()
    }

    fn promise(&self, _text: bool) -> Promise {
        Promise::Restorable
    }

    fn conflicts(&mut self, _dir: &str) -> Outcome<Conflicts> {
        Ok(Conflicts::default())
    }

    fn history(&mut self, _dir: &str, _look: &mut dyn FnMut(&[u8]) -> bool) -> Outcome<()> {
        Ok(())
    }

    fn describe(&mut self) -> String {
        String::new()
    }
}

/// The first violation of a copier.
fn found_in_copier(restless: bool) -> Option<Box<Violation>> {
    let dir = TempDir::new().expect("temporary directory");
    let make = |devices: usize, dirs: &[String]| -> Outcome<Box<dyn Synchroniser>> {
        let home = tempfile::tempdir_in(dir.path()).expect("temporary directory").keep();
        let folders: Vec<PathBuf> = (0..devices).map(|device| home.join(device.to_string())).collect();
        for folder in &folders {
            dirs.iter().for_each(|dir| fs::create_dir_all(folder.join(dir)).expect("makes"));
        }
        Ok(Box::new(Copier { folders, restless }))
    };
    // Every third seed has two devices.
    (0..300).step_by(3).find_map(|seed| Runner::new(&make, false).run(seed).err())
}

#[test]
fn who_writes_what_is_there_anew_is_found() {
    let violation = found_in_copier(true).expect("it does so each time");
    assert!(violation.what.contains("wrote by looking again"), "{violation}");
}

#[test]
fn who_keeps_no_history_is_found_and_the_trace_is_short() {
    let violation = found_in_copier(false).expect("values that were overwritten are lost");
    assert!(violation.what.contains("in no file, no conflict and no history: value"), "{violation}");
    let writes = violation.steps.iter().filter(|step| matches!(step, Step::Write(..))).count();
    assert!(writes >= 1 && violation.steps.len() <= violation.drawn.len() && violation.steps.len() <= 6, "{violation}");
}
