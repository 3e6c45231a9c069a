//! Syncthing as a synchroniser: one real process a device, driven by its REST API.
//!
//! Used where the program is on `PATH` or `BLACKBOX_SYNCTHING` names it. It talks on the loopback address only: discovery,
//! relays, reports and upgrades are off. Versioning is `simple`, which keeps what changes of others displace; of what its own
//! user overwrites Syncthing keeps nothing, and promises nothing.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    synchroniser::{Conflicts, Outcome, Promise, Synchroniser},
    user::files_below,
};

/// The folder's id.
const FOLDER: &str = "blackbox";
/// The key of its REST API, which answers on the loopback address only.
const API_KEY: &str = "blackbox";
/// How long a request may take: a scan answers when it is done.
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// How long a poll waits.
const POLL: Duration = Duration::from_millis(50);
/// How often a device that starts is asked whether it answers.
const READY_POLLS_MAX: usize = 600;

/// Where the program is: what `BLACKBOX_SYNCTHING` names, or `syncthing` on `PATH`.
///
/// # Errors
/// It is not there.
pub fn program() -> Outcome<PathBuf> {
    let named = env::var_os("BLACKBOX_SYNCTHING").map(PathBuf::from);
    let on_path =
        || env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join("syncthing")).find(|file| file.is_file());
    named.or_else(on_path).ok_or_else(|| "no syncthing on PATH, and BLACKBOX_SYNCTHING names none".to_owned())
}

/// Processes that share one folder.
#[derive(Debug)]
pub struct Syncthing {
    program: PathBuf,
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    home: PathBuf,
    folder: PathBuf,
    id: String,
    api: SocketAddr,
    listen: SocketAddr,
    process: Option<Child>,
    online: bool,
}

impl Syncthing {
    /// Devices that share a folder with these directories.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn new(program: &Path, home: &Path, devices: usize, dirs: &[String]) -> Outcome<Self> {
        let devices = (0..devices).map(|device| Device::new(program, home, device));
        let mut made = Self { program: program.to_owned(), devices: devices.collect::<Outcome<_>>()? };
        for dir in dirs {
            fs::create_dir(made.devices[0].folder.join(dir)).map_err(|error| error.to_string())?;
        }
        for device in 0..made.devices.len() {
            made.start(device)?;
            made.configure(device)?;
        }
        Ok(made)
    }

    fn configure(&self, device: usize) -> Outcome<()> {
        let own = &self.devices[device];
        let options = json!({
            "listenAddresses": [format!("tcp://{}", own.listen)],
            "globalAnnounceEnabled": false, "localAnnounceEnabled": false, "relaysEnabled": false,
            "natEnabled": false, "crashReportingEnabled": false, "urAccepted": -1, "autoUpgradeIntervalH": 0,
            "startBrowser": false, "reconnectionIntervalS": 1, "setLowPriority": false,
        });
        own.ask("PATCH", "/rest/config/options", Some(&options))?;
        let devices: Vec<Value> = self.devices.iter().enumerate().map(|(number, device)| {
            json!({ "deviceID": device.id, "name": format!("device {number}"), "addresses": [format!("tcp://{}", device.listen)] })
        }).collect();
        own.ask("PUT", "/rest/config/devices", Some(&devices.into()))?;
        let members: Vec<Value> = self.devices.iter().map(|device| json!({ "deviceID": device.id })).collect();
        let folder = json!([{
            "id": FOLDER, "path": own.folder, "type": "sendreceive", "devices": members,
            "fsWatcherEnabled": true, "fsWatcherDelayS": 1, "rescanIntervalS": 3600, "maxConflicts": -1,
            "versioning": { "type": "simple", "params": { "keep": "1000" } },
        }]);
        own.ask("PUT", "/rest/config/folders", Some(&folder))?;
        Ok(())
    }

    fn is_met(&self, device: usize) -> Outcome<bool> {
        let connections = self.devices[device].ask("GET", "/rest/system/connections", None)?;
        let mut others = self.devices.iter().enumerate().filter(|(other, _)| *other != device);
        let is_met = |id: &str| connections["connections"][id]["connected"] == true;
        Ok(others.all(|(_, other)| is_met(&other.id)))
    }

    fn is_settled(&self, device: usize) -> Outcome<bool> {
        let own = &self.devices[device];
        let status = own.ask("GET", &format!("/rest/db/status?folder={FOLDER}"), None)?;
        if status["state"] != "idle" || status["needTotalItems"] != 0 {
            return Ok(false);
        }
        for other in self.devices.iter().filter(|other| other.id != own.id) {
            let path = format!("/rest/db/completion?folder={FOLDER}&device={}", other.id);
            let completion = own.ask("GET", &path, None)?;
            if completion["completion"].as_f64() != Some(100.0) || completion["needDeletes"] != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn scan(&self, device: usize) -> Outcome<()> {
        self.devices[device].ask("POST", &format!("/rest/db/scan?folder={FOLDER}"), None).map(|_| ())
    }
}

impl Device {
    fn new(program: &Path, dir: &Path, number: usize) -> Outcome<Self> {
        let (home, folder) = (dir.join(format!("device {number}-home")), dir.join(format!("device {number}")));
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let run = |args: &[&str]| -> Outcome<String> {
            let output = Command::new(program).args(args).arg("--home").arg(&home).output();
            let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
            if !output.status.success() {
                return Err(format!("syncthing {args:?}: {}", String::from_utf8_lossy(&output.stderr)));
            }
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        run(&["generate", "--no-default-folder"])?;
        // The first is how 1.x names it, the second is a command of 2.x.
        let id = run(&["--device-id"]).or_else(|_| run(&["device-id"]))?;
        Ok(Self { home, folder, id, api: free_address()?, listen: free_address()?, process: None, online: true })
    }

    /// Asks its REST API and returns the JSON, or null where there is none.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Outcome<Value> {
        let failed = |error: std::io::Error| format!("{method} {path}: {error}");
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(self.api).map_err(failed)?;
        stream.set_read_timeout(Some(REQUEST_MAX)).map_err(failed)?;
        // HTTP/1.0: the answer ends with the connection, and comes in one piece.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nX-API-Key: {API_KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.api,
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{method} {path}: no answer"))?;
        let is_done = head.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
        if !is_done {
            return Err(format!("{method} {path}: {} {body}", head.lines().next().unwrap_or_default()));
        }
        Ok(serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

/// An address that nobody listens on now.
fn free_address() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}

impl Synchroniser for Syncthing {
    fn devices(&self) -> usize {
        self.devices.len()
    }

    fn folder(&self, device: usize) -> &Path {
        &self.devices[device].folder
    }

    fn start(&mut self, device: usize) -> Outcome<()> {
        let own = &mut self.devices[device];
        let log = fs::OpenOptions::new().create(true).append(true).open(own.home.join("log.txt"));
        let log = log.map_err(|error| error.to_string())?;
        let started = Command::new(&self.program)
            .args(["serve", "--no-browser", "--gui-apikey", API_KEY])
            .arg(format!("--gui-address=http://{}", own.api))
            .arg("--home")
            .arg(&own.home)
            // The process that does the work, without the one that watches over it and would start it again.
            .envs([("STMONITORED", "yes"), ("STNOUPGRADE", "1"), ("STNODEFAULTFOLDER", "1")])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        own.process = Some(started.map_err(|error| error.to_string())?);
        for _ in 0..READY_POLLS_MAX {
            if own.ask("GET", "/rest/system/ping", None).is_ok() {
                return Ok(());
            }
            std::thread::park_timeout(POLL);
        }
        Err(format!("device {device} does not answer"))
    }

    fn stop(&mut self, device: usize) -> Outcome<()> {
        let own = &mut self.devices[device];
        own.ask("POST", "/rest/system/shutdown", None)?;
        let ended = own.process.take().map(|mut process| process.wait());
        ended.transpose().map(|_| ()).map_err(|error| error.to_string())
    }

    fn kill(&mut self, device: usize) -> Outcome<()> {
        let process = self.devices[device].process.take();
        let mut process = process.ok_or_else(|| format!("device {device} does not run"))?;
        process.kill().and_then(|()| process.wait()).map(|_| ()).map_err(|error| error.to_string())
    }

    fn disconnect(&mut self, device: usize) -> Outcome<()> {
        let own = &mut self.devices[device];
        own.online = false;
        // What is paused stays so after a restart; one that does not run is paused when it does, by whoever connects it.
        if own.process.is_some() { own.ask("POST", "/rest/system/pause", None).map(|_| ()) } else { Ok(()) }
    }

    fn connect(&mut self, device: usize) -> Outcome<()> {
        let own = &mut self.devices[device];
        own.online = true;
        if own.process.is_some() { own.ask("POST", "/rest/system/resume", None).map(|_| ()) } else { Ok(()) }
    }

    fn take_in(&mut self, device: usize, _files: &[PathBuf]) -> Outcome<()> {
        self.scan(device)
    }

    fn pause(&mut self, _device: usize) {
        std::thread::park_timeout(POLL);
    }

    fn is_quiet(&mut self) -> Outcome<bool> {
        for device in 0..self.devices.len() {
            // Those that were disconnected while they did not run, or connected.
            self.devices[device].ask("POST", "/rest/system/resume", None)?;
            self.scan(device)?;
        }
        for device in 0..self.devices.len() {
            if !self.is_met(device)? || !self.is_settled(device)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn look_again(&mut self, device: usize) -> Outcome<()> {
        self.scan(device)
    }

    fn changes(&mut self, device: usize) -> Outcome<u64> {
        let status = self.devices[device].ask("GET", &format!("/rest/db/status?folder={FOLDER}"), None)?;
        status["sequence"].as_u64().ok_or_else(|| format!("no sequence: {status}"))
    }

    fn is_own(&self, path: &Path) -> bool {
        path.components()
            .next()
            .is_some_and(|first| [".stfolder", ".stversions"].iter().any(|own| first.as_os_str() == *own))
    }

    fn promise(&self, _text: bool) -> Promise {
        Promise::RestorableIfShared
    }

    fn conflicts(&mut self, dir: &str) -> Outcome<Conflicts> {
        let folder = &self.devices[0].folder;
        let files = files_below(&folder.join(dir));
        let within = files.iter().filter_map(|path| path.strip_prefix(folder).ok()?.to_str());
        let paths = within.filter(|path| path.contains(".sync-conflict-")).map(ToOwned::to_owned).collect();
        Ok(Conflicts { paths, versions: Vec::new() })
    }

    fn history(&mut self, dir: &str, look: &mut dyn FnMut(&[u8]) -> bool) -> Outcome<()> {
        for device in &self.devices {
            for kept in files_below(&device.folder.join(".stversions").join(dir)) {
                if look(&fs::read(kept).unwrap_or_default()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn describe(&mut self) -> String {
        let end_of = |device: &Device| {
            let log = fs::read_to_string(device.home.join("log.txt")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(15)..].join("\n")
        };
        self.devices.iter().map(end_of).collect::<Vec<_>>().join("\n\n")
    }
}

impl Drop for Syncthing {
    fn drop(&mut self) {
        for process in self.devices.iter_mut().filter_map(|device| device.process.as_mut()) {
            let _ended_already = process.kill().and_then(|()| process.wait());
        }
    }
}
