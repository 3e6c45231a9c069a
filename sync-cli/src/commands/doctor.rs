//! `kith doctor`: looks for what could be wrong, one line for each check. Changes nothing.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde::Serialize;

use super::Context;
use crate::{
    daemon::{
        api::{Folder, State},
        client::{Client, RESTART},
    },
    error::{Kind, Outcome, Result},
    output,
};

/// Fewer watches than this run out in a home directory.
const WATCHES_MIN: u64 = 65_536;

/// Below this the node stops taking data; the same reserve as in the folder's rules.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// A check and how it went.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Verdict,
    message: String,
    hint: Option<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct DoctorDocument<'a> {
    schema: &'static str,
    checks: &'a [Check],
}

impl Check {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: Verdict::Ok, message: message.into(), hint: None }
    }

    fn warn(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, status: Verdict::Warn, message: message.into(), hint: Some(hint.into()) }
    }

    fn fail(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, status: Verdict::Fail, message: message.into(), hint: Some(hint.into()) }
    }
}

pub(super) async fn run(context: &Context) -> Result<Outcome> {
    let config = &context.config;
    let mut checks = vec![home(&config.home), free_space(&config.home), store(&config.store())];
    let (daemon, folders) = daemon(context).await;
    checks.push(daemon);
    checks.extend(folders.iter().map(folder));
    checks.extend(watches());
    checks.extend(relays());

    if context.json {
        output::json(&DoctorDocument { schema: "kith/doctor/1", checks: &checks })?;
    } else {
        let lines: Vec<String> = checks.iter().map(line).collect();
        output::data(&lines.join("\n"))?;
    }
    let failed = checks.iter().any(|check| check.status == Verdict::Fail);
    Ok(if failed { Outcome::Exit(Kind::Failed) } else { Outcome::Done })
}

fn line(check: &Check) -> String {
    let verdict = match check.status {
        Verdict::Ok => "ok  ",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    };
    let hint = check.hint.as_ref().map(|hint| format!("\n      hint: {}", output::name(hint))).unwrap_or_default();
    format!("{verdict}  {}: {}{hint}", check.name, output::name(&check.message))
}

fn home(home: &Path) -> Check {
    const NAME: &str = "home";
    let metadata = match fs::metadata(home) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::warn(
                NAME,
                format!("{} is not there yet", home.display()),
                "the daemon makes it: kith daemon start",
            );
        }
        Err(error) => {
            return Check::fail(NAME, format!("{}: {error}", home.display()), "choose another one: kith --home DIR …");
        }
    };
    if !metadata.is_dir() {
        return Check::fail(
            NAME,
            format!("{} is not a directory", home.display()),
            "choose another one: kith --home DIR …",
        );
    }
    let probe = home.join(format!("doctor-{}.tmp", std::process::id()));
    let written = fs::write(&probe, b"kith");
    let _ = fs::remove_file(&probe);
    if let Err(error) = written {
        return Check::fail(
            NAME,
            format!("cannot write into {}: {error}", home.display()),
            "give it back to yourself, or choose another one: kith --home DIR …",
        );
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        let close = format!("close it: chmod 700 {}", output::shell_word(&home.to_string_lossy()));
        return Check::warn(NAME, format!("others may look into {}", home.display()), close);
    }
    Check::ok(NAME, format!("{} can be written", home.display()))
}

fn free_space(home: &Path) -> Check {
    const NAME: &str = "free space";
    // Before the first start there is only the place where the home will be.
    let Some(there) = home.ancestors().find(|path| path.exists()) else {
        return Check::warn(NAME, "not known", "look yourself: df -h");
    };
    match rustix::fs::statvfs(there) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let total = space.f_blocks.saturating_mul(space.f_frsize);
            let message = format!("{} of {}", output::bytes(free), output::bytes(total));
            if free < FREE_BYTES_MIN.max(total / 100) {
                Check::fail(NAME, message, "make room: no new data is taken until there is more")
            } else {
                Check::ok(NAME, message)
            }
        }
        Err(error) => Check::warn(NAME, format!("not known: {error}"), "look yourself: df -h"),
    }
}

fn store(path: &Path) -> Check {
    const NAME: &str = "store";
    match fs::metadata(path) {
        Ok(metadata) => Check::ok(NAME, format!("{}, {}", path.display(), output::bytes(metadata.len()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::warn(NAME, "not there yet", "the daemon makes it: kith daemon start")
        }
        Err(error) => Check::fail(NAME, format!("{}: {error}", path.display()), "see whose it is: ls -l"),
    }
}

async fn daemon(context: &Context) -> (Check, Vec<Folder>) {
    const NAME: &str = "daemon";
    let status = match Client::connect(&context.config).await {
        Ok(client) => client.status().await,
        Err(error) => Err(error),
    };
    match status {
        Ok(status) => {
            (Check::ok(NAME, format!("runs as {}, network {}", status.device.name, status.network)), status.folders)
        }
        Err(error) if error.kind == Kind::DaemonNotRunning => {
            (Check::warn(NAME, error.message, "start it: kith daemon start"), Vec::new())
        }
        Err(error) => {
            let hint = error.hint_line().unwrap_or_else(|| RESTART.to_owned());
            (Check::fail(NAME, error.message, hint), Vec::new())
        }
    }
}

fn folder(folder: &Folder) -> Check {
    const NAME: &str = "folder";
    let words = format!("{}: {}", folder.name, super::status::in_words(folder));
    if !Path::new(&folder.path).is_dir() {
        return Check::fail(
            NAME,
            format!("{}: there is no directory {}", folder.name, folder.path),
            "put it back, or stop syncing it: kith folder remove; nothing is deleted on other devices",
        );
    }
    if folder.state == State::Attention {
        return Check::warn(NAME, words, "see what it needs: kith status");
    }
    Check::ok(NAME, words)
}

/// How many directories this user may watch; only Linux has the limit.
fn watches() -> Option<Check> {
    const NAME: &str = "watches";
    let text = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?;
    let limit: u64 = text.trim().parse().ok()?;
    let message = format!("{limit} directories can be watched");
    Some(if limit < WATCHES_MIN {
        Check::warn(
            NAME,
            format!("{message}; beyond that, changes are seen late"),
            "allow more: sudo sysctl fs.inotify.max_user_watches=524288",
        )
    } else {
        Check::ok(NAME, message)
    })
}

/// A variable for developers that moves all traffic to relays which promise nothing.
fn relays() -> Option<Check> {
    std::env::var_os("IROH_FORCE_STAGING_RELAYS").map(|_| {
        Check::warn(
            "relays",
            "IROH_FORCE_STAGING_RELAYS is set: test relays are used",
            "unset it, then restart the daemon: kith daemon stop && kith daemon start",
        )
    })
}
