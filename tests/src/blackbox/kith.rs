//! Kith as a synchroniser: one real process a device, driven by its command line.
//!
//! No command takes the network from a daemon. So a device that is offline runs only while all others stand still: it is
//! stopped, and takes in what its user saved in turns of its own. Nobody sees more of it than of a machine without a network;
//! what that leaves out is a user who works at the same time as an offline daemon.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::synchroniser::{Conflicts, Outcome, Promise, Synchroniser};
use crate::daemon::{Daemon, Halted};

/// How often a device is asked whether it has taken something in, a moment each.
const TAKE_IN_POLLS_MAX: usize = 400;
/// That moment: it ends sooner when all is in sync.
const MOMENT: &str = "50ms";
/// How long one device may take to say that it is in sync, before what it waits for is looked at.
const SYNCED_MAX: &str = "2s";
/// Commits of a directory that are looked at.
const COMMITS: &str = "500";

/// Daemons that share one folder.
#[derive(Debug)]
pub struct Kith {
    daemons: Vec<Daemon>,
    online: Vec<bool>,
    running: Vec<bool>,
    /// How often somebody approved what a folder held.
    pub approvals: u64,
}

impl Kith {
    /// Devices that share a folder with these directories, in which there are so many other files: a folder that has few
    /// holds deletes and overwrites sooner.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn new(program: &Path, home: &Path, devices: usize, dirs: &[String], others: usize) -> Self {
        let daemons: Vec<Daemon> =
            (0..devices).map(|device| Daemon::new(program, home, &format!("device {device}"))).collect();
        let folder = &daemons[0].folder;
        fs::write(folder.join("other.txt"), "nobody touches it\n").expect("writes");
        for number in 0..others {
            let dir = folder.join(format!("others/{}", number / 100));
            fs::create_dir_all(&dir).expect("makes");
            fs::write(dir.join(format!("{number}.txt")), format!("other {number}\n")).expect("writes");
        }
        for dir in dirs {
            fs::create_dir(folder.join(dir)).expect("makes");
        }
        let mut invite = daemons[0].share();
        for daemon in &daemons[1..] {
            daemon.join(&invite);
            daemon.wait_synced();
            let again = daemons[0].json(&["invite", folder.to_str().expect("temporary paths are text")]);
            invite = again["invite"].as_str().expect("an invite").to_owned();
        }
        Self { online: vec![true; devices], running: vec![true; devices], daemons, approvals: 0 }
    }

    /// Approves what a folder holds, as its user would.
    fn approve(&mut self, device: usize) {
        if !status(&self.daemons[device])["held"].is_null() {
            self.approvals += 1;
            let _nothing_held_any_more = self.daemons[device].kith(&["folder", "approve"]);
        }
    }

    fn take_in_now(&mut self, device: usize, files: &[PathBuf]) -> Outcome<()> {
        let mut last = String::new();
        for poll in 0..TAKE_IN_POLLS_MAX {
            let daemon = &self.daemons[device];
            let Some(waits) = files.iter().find_map(|file| waits(daemon, file)) else { return Ok(()) };
            last = waits;
            self.pause(device);
            if poll % 20 == 19 {
                self.approve(device);
            }
        }
        let daemon = &self.daemons[device];
        let why = files.iter().filter(|file| waits(daemon, file).is_some());
        let why: Vec<String> = why
            .map(|file| answer(daemon, &["why", &self.at(device, &file.to_string_lossy()), "--json"]).to_string())
            .collect();
        let status = status(daemon);
        Err(format!("device {device} does not take in what was saved: {last}\n{status}\n{}", why.join("\n")))
    }

    fn at(&self, device: usize, path: &str) -> String {
        self.daemons[device].folder.join(path).to_str().expect("temporary paths are text").to_owned()
    }

    /// The bytes of a path in some state, if there were any.
    fn restored(&self, device: usize, path: &str, to: &str) -> Option<Vec<u8>> {
        let output = self.daemons[device].kith(&["restore", &self.at(device, path), "--to", to, "-o", "-"]);
        output.status.success().then_some(output.stdout)
    }

    fn log(&self, device: usize, path: &str) -> Value {
        answer(&self.daemons[device], &["log", &self.at(device, path), "-n", COMMITS, "--json"])
    }
}

/// A command's document, also where its exit code says that somebody should look.
fn answer(daemon: &Daemon, args: &[&str]) -> Value {
    serde_json::from_slice(&daemon.kith(args).stdout).unwrap_or(Value::Null)
}

fn status(daemon: &Daemon) -> Value {
    answer(daemon, &["status", "--json"])["folders"][0].clone()
}

/// Says why a file is not taken in, unless it is, or is gone: a directory of somebody else may have its name now.
fn waits(daemon: &Daemon, file: &Path) -> Option<String> {
    let place = daemon.folder.join(file);
    let output = daemon.kith(&["diff", place.to_str().expect("temporary paths are text"), "--json"]);
    if !place.is_file() {
        return None;
    }
    let diff: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    if output.status.success() && diff["unsynced"].is_null() {
        return None;
    }
    Some(format!("{}: {diff} {}", file.display(), String::from_utf8_lossy(&output.stderr)))
}

fn strings<'a>(values: &'a Value, name: &'a str) -> impl Iterator<Item = &'a str> {
    values.as_array().into_iter().flatten().filter_map(move |value| value[name].as_str())
}

impl Synchroniser for Kith {
    fn devices(&self) -> usize {
        self.daemons.len()
    }

    fn folder(&self, device: usize) -> &Path {
        &self.daemons[device].folder
    }

    fn start(&mut self, device: usize) -> Outcome<()> {
        self.running[device] = true;
        if self.online[device] {
            self.daemons[device].start();
        }
        Ok(())
    }

    fn stop(&mut self, device: usize) -> Outcome<()> {
        if self.online[device] && self.running[device] {
            self.daemons[device].stop();
        }
        self.running[device] = false;
        Ok(())
    }

    fn kill(&mut self, device: usize) -> Outcome<()> {
        if self.online[device] && self.running[device] {
            self.daemons[device].kill();
        }
        self.running[device] = false;
        Ok(())
    }

    fn disconnect(&mut self, device: usize) -> Outcome<()> {
        if self.running[device] && self.online[device] {
            self.daemons[device].stop();
        }
        self.online[device] = false;
        Ok(())
    }

    fn connect(&mut self, device: usize) -> Outcome<()> {
        if self.running[device] && !self.online[device] {
            self.daemons[device].start();
        }
        self.online[device] = true;
        Ok(())
    }

    fn take_in(&mut self, device: usize, files: &[PathBuf]) -> Outcome<()> {
        if self.online[device] || files.is_empty() {
            return self.take_in_now(device, files);
        }
        let is_up = |other: &usize| *other != device && self.online[*other] && self.running[*other];
        let others = (0..self.daemons.len()).filter(is_up);
        let _stand_still: Vec<Halted> = others.map(|other| self.daemons[other].halt()).collect();
        self.daemons[device].start();
        let done = self.take_in_now(device, files);
        self.daemons[device].stop();
        done
    }

    fn pause(&mut self, device: usize) {
        let _late_or_not = self.daemons[device].kith(&["wait", "--synced", "--timeout", MOMENT]);
    }

    fn is_quiet(&mut self) -> Outcome<bool> {
        for device in 0..self.daemons.len() {
            let waited = self.daemons[device].kith(&["wait", "--synced", "--timeout", SYNCED_MAX]);
            let peers = &status(&self.daemons[device])["peers"];
            let met = peers.as_array().is_some_and(|peers| peers.iter().all(|peer| peer["connected"] == true));
            if !waited.status.success() || !met {
                self.approve(device);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn look_again(&mut self, device: usize) -> Outcome<()> {
        self.daemons[device].stop();
        self.daemons[device].start();
        Ok(())
    }

    fn changes(&mut self, device: usize) -> Outcome<u64> {
        let status = status(&self.daemons[device]);
        status["commits"].as_u64().ok_or_else(|| format!("no count of commits: {status}"))
    }

    fn is_own(&self, _path: &Path) -> bool {
        // What lists trees leaves it out already.
        false
    }

    fn promise(&self, text: bool) -> Promise {
        // docs/guide/history.md: every version of a text; others while somebody has them, or after they were displaced.
        if text { Promise::Restorable } else { Promise::RestorableIfShared }
    }

    fn conflicts(&mut self, dir: &str) -> Outcome<Conflicts> {
        let daemon = &self.daemons[0];
        let listed = answer(daemon, &["conflicts", "--json"]);
        let inside = |path: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
        let mut found = Conflicts::default();
        for conflict in listed["conflicts"].as_array().into_iter().flatten() {
            let Some(path) = conflict["path"].as_str().filter(|path| inside(path)) else { continue };
            found.paths.push(path.to_owned());
            found.paths.extend(strings(&conflict["sides"], "path").map(ToOwned::to_owned));
            let shown = answer(daemon, &["conflicts", "show", &self.at(0, path), "--json"]);
            for conflict in shown["conflicts"].as_array().into_iter().flatten() {
                found.versions.extend(strings(&conflict["sides"], "text").map(|text| text.as_bytes().to_vec()));
            }
        }
        Ok(found)
    }

    fn history(&mut self, dir: &str, look: &mut dyn FnMut(&[u8]) -> bool) -> Outcome<()> {
        let log = self.log(0, dir);
        let mut paths = std::collections::BTreeSet::new();
        for commit in log["commits"].as_array().into_iter().flatten() {
            let rev = commit["rev"].as_str().ok_or_else(|| format!("no revision: {commit}"))?;
            for path in strings(&commit["changes"], "path") {
                paths.insert(path.to_owned());
                if self.restored(0, path, rev).is_some_and(|bytes| look(&bytes)) {
                    return Ok(());
                }
            }
        }
        // What only one device keeps.
        for device in 0..self.daemons.len() {
            for kept in self.log(device, dir)["kept"].as_array().into_iter().flatten() {
                let (Some(path), Some(hash)) = (kept["path"].as_str(), kept["hash"].as_str()) else { continue };
                if self.restored(device, path, hash).is_some_and(|bytes| look(&bytes)) {
                    return Ok(());
                }
            }
        }
        // Each name by itself: files that had it before others, and more commits than a page of the directory has.
        for path in paths {
            for rev in strings(&self.log(0, &path)["commits"], "rev") {
                if self.restored(0, &path, rev).is_some_and(|bytes| look(&bytes)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn describe(&mut self) -> String {
        let about = |daemon: &Daemon| format!("{}\n{}", status(daemon), daemon.log());
        self.daemons.iter().map(about).collect::<Vec<_>>().join("\n\n")
    }
}
