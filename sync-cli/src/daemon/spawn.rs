//! Starts a daemon in the background and waits until it answers.
//!
//! The daemon is this very program, in a process group of its own, with its output in the log. Whoever starts it only
//! polls the socket: when two commands start one at once, one daemon gives way to the other, and both commands go on.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::Instant;

use super::client::Client;
use crate::{
    config::Config,
    error::{Error, Kind, Result},
};

/// How long a daemon may take until it answers.
const READY_MAX: Duration = Duration::from_secs(10);

/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);

/// How long after one that gave way another is started.
const RESPAWN_AFTER: Duration = Duration::from_millis(300);

/// A log beyond this is put aside at the next start.
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// Most bytes of the log that are looked through for its last lines.
const TAIL_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Gives a client of the daemon, which is started if it does not run.
///
/// # Errors
///
/// It does not start, is of another version, or reaches further or less far than the command line asks.
pub async fn ensure(config: &Config, verbose: u8) -> Result<Client> {
    let client = match Client::connect(config).await {
        Err(error) if error.kind == Kind::DaemonNotRunning => start(config, verbose).await?,
        other => other?,
    };
    if let Some(asked) = config.asked_network {
        let version = client.version().await?;
        if version.network != asked.to_string() {
            return Err(Error::new(
                Kind::Incompatible,
                format!("the daemon runs with --network {}, not {asked}", version.network),
            )
            .hint(format!("restart it: kith daemon stop && kith --network {asked} daemon start")));
        }
    }
    Ok(client)
}

/// Starts the daemon and waits until it answers.
///
/// # Errors
///
/// It does not start in time; the message has the end of its log.
pub async fn start(config: &Config, verbose: u8) -> Result<Client> {
    config.make_home()?;
    let log = config.log();
    let mut child = spawn(config, verbose, &log)?;
    let mut started = Instant::now();
    let deadline = started + READY_MAX;
    loop {
        // The socket may be there before the daemon answers on it, so each try has a limit.
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, Client::connect(config)).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) if error.kind != Kind::DaemonNotRunning => return Err(error),
            Ok(Err(_)) => {}
            Err(_) => return Err(not_ready("the daemon did not get ready in time", Kind::TimedOut, &log)),
        }
        // One that found the home locked gave way to another daemon, which gets ready now; or to one that was just
        // killed, whose lock goes with the last of its memory: so another is started until one answers.
        let gave_way = i32::from(Kind::Busy.exit_code());
        match child.try_wait() {
            Ok(Some(status)) if status.code() != Some(gave_way) => {
                let kind = if status.code() == Some(i32::from(Kind::Incompatible.exit_code())) {
                    Kind::Incompatible
                } else {
                    Kind::Failed
                };
                return Err(not_ready("the daemon ended while it started", kind, &log));
            }
            Ok(Some(_)) if Instant::now() >= started + RESPAWN_AFTER => {
                child = spawn(config, verbose, &log)?;
                started = Instant::now();
            }
            _ => {}
        }
        if Instant::now() >= deadline {
            return Err(not_ready("the daemon did not get ready in time", Kind::TimedOut, &log));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn spawn(config: &Config, verbose: u8, log: &Path) -> Result<Child> {
    let program = std::env::current_exe()
        .map_err(|error| Error::from_io(Kind::Failed, "cannot find this program to start the daemon", &error))?;
    let out = open_log(log)
        .map_err(|error| Error::from_io(Kind::Failed, format!("cannot write the log {}", log.display()), &error))?;
    let err = out.try_clone().map_err(|error| Error::from_io(Kind::Failed, "cannot start the daemon", &error))?;
    let mut command = Command::new(&program);
    command.arg("--home").arg(&config.home);
    if let Some(asked) = config.asked_network {
        command.args(["--network", &asked.to_string()]);
    }
    command.args(std::iter::repeat_n("-v", usize::from(verbose)));
    command.args(["daemon", "run", "--detached"]);
    command.current_dir("/").process_group(0).stdin(Stdio::null()).stdout(out).stderr(err);
    command.spawn().map_err(|error| {
        Error::from_io(Kind::Failed, format!("cannot start the daemon {}", program.display()), &error)
            .hint("run it in the foreground: kith daemon run")
    })
}

/// Opens the log at its end; one that got long is put aside first, in place of the one before.
fn open_log(log: &Path) -> io::Result<File> {
    if fs::metadata(log).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        fs::rename(log, log.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(log)
}

fn not_ready(what: &str, kind: Kind, log: &Path) -> Error {
    let end = tail(log, 8).unwrap_or_default();
    let message = if end.is_empty() {
        format!("{what}, and logged nothing")
    } else {
        format!("{what}; its log ends with:\n{}", end.trim_end())
    };
    Error::new(kind, message).hint("read the log: kith daemon logs").hint("run it in the foreground: kith daemon run")
}

/// The last lines of a file, with their line ends.
///
/// # Errors
///
/// The file cannot be read.
pub fn tail(path: &Path, lines: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.split_inclusive('\n').collect();
    Ok(all.iter().skip(all.len().saturating_sub(lines)).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_takes_the_last_lines() -> io::Result<()> {
        let path = std::env::temp_dir().join(format!("kith-tail-{}", std::process::id()));
        fs::write(&path, "one\ntwo\nthree\n")?;
        let last = tail(&path, 2)?;
        let all = tail(&path, 9)?;
        fs::remove_file(&path)?;
        assert_eq!(last, "two\nthree\n");
        assert_eq!(all, "one\ntwo\nthree\n");
        Ok(())
    }
}
