//! Where things are: the home, the socket, the lock, the log; and which network was chosen.
//!
//! Command and daemon both ask here, so that they cannot disagree. Nothing here opens the network; only
//! [`Config::make_home`] and [`Config::keep_network`] write.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy as _;
use sync_net::Network;

use crate::{
    cli::Global,
    error::{Error, Kind, Result},
};

/// Longest path of a socket that every system binds; some take 104 bytes with the final zero.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// Where state is, and how far the daemon reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Directory of all state; absolute.
    pub home: PathBuf,
    /// The network, if somebody asked for one, so that another one would be a surprise.
    pub asked_network: Option<Network>,
}

impl Config {
    /// Takes the home and the network from the options, the environment, or the platform.
    ///
    /// # Errors
    ///
    /// There is no home directory to put the state in.
    pub fn resolve(global: &Global) -> Result<Self> {
        let home = match &global.home {
            Some(home) => home.clone(),
            None => default_home()?,
        };
        let home = std::path::absolute(&home)
            .map_err(|error| Error::from_io(Kind::Failed, format!("cannot use the home {}", home.display()), &error))?;
        Ok(Self { home, asked_network: global.network })
    }

    /// How far a daemon of this home reaches: as asked, or as was asked the last time, or the default.
    ///
    /// # Errors
    ///
    /// The former choice cannot be read. To take the default then could reach further than somebody wants.
    pub fn network(&self) -> Result<Network> {
        match self.asked_network {
            Some(asked) => Ok(asked),
            None => Ok(self.kept_network()?.unwrap_or_default()),
        }
    }

    fn network_file(&self) -> PathBuf {
        self.home.join("network")
    }

    fn kept_network(&self) -> Result<Option<Network>> {
        let path = self.network_file();
        let unknown = |why: &dyn std::fmt::Display| {
            Error::new(Kind::Invalid, format!("cannot tell the network from {}: {why}", path.display()))
                .hint("choose it again: kith --network public|lan|loopback daemon start")
        };
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|error| unknown(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unknown(&error)),
        }
    }

    /// Keeps the network that was asked for, so that later starts take it without being told. For the daemon, which holds
    /// the lock.
    ///
    /// # Errors
    ///
    /// The home cannot be written.
    pub fn keep_network(&self) -> Result<()> {
        let Some(asked) = self.asked_network else { return Ok(()) };
        if self.kept_network().is_ok_and(|kept| kept == Some(asked)) {
            return Ok(());
        }
        let path = self.network_file();
        let temp = path.with_extension("new");
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
            writeln!(file, "{asked}")?;
            file.sync_all()?;
            fs::rename(&temp, &path)
        };
        write().map_err(|error| Error::from_io(Kind::Failed, format!("cannot write {}", path.display()), &error))
    }

    /// The socket that the daemon listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket_in(&self.home)
    }

    /// The file whose lock the daemon holds.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.home.join("daemon.lock")
    }

    /// What a daemon in the background writes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.home.join("daemon.log")
    }

    /// The store of the node. Named here for people only: the node opens it.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.home.join("kith.redb")
    }

    /// Makes the home, for its owner only.
    ///
    /// A directory that is there and open to others is closed, but only if it is ours or empty: `--home /tmp` must not
    /// close `/tmp`.
    ///
    /// # Errors
    ///
    /// The directory cannot be made, or others may look into it and it is not clearly ours.
    pub fn make_home(&self) -> Result<()> {
        let what = || format!("cannot use the home {}", self.home.display());
        let failed = |error: io::Error| {
            Error::from_io(Kind::Failed, what(), &error).hint("choose another one: kith --home DIR …, or set KITH_HOME")
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.home).map_err(failed)?;
        let metadata = fs::metadata(&self.home).map_err(failed)?;
        if metadata.permissions().mode() & 0o077 == 0 {
            return Ok(());
        }
        let empty = fs::read_dir(&self.home).map_err(failed)?.next().is_none();
        if !empty && !self.lock().exists() {
            return Err(Error::new(
                Kind::Invalid,
                format!("{}: others may look into it, and it holds other things", what()),
            )
            .hint("choose an empty directory with --home, or close this one with chmod 700"));
        }
        fs::set_permissions(&self.home, fs::Permissions::from_mode(0o700)).map_err(failed)
    }
}

/// The platform's state directory, or its data directory where it knows none.
fn default_home() -> Result<PathBuf> {
    let strategy = etcetera::choose_base_strategy().map_err(|_| {
        Error::new(Kind::Failed, "there is no home directory to keep the state in")
            .hint("say where: kith --home DIR …, or set KITH_HOME")
    })?;
    Ok(strategy.state_dir().unwrap_or_else(|| strategy.data_dir()).join("kith"))
}

/// The socket of a home: within it, or, where that path is too long to bind, in `/tmp` under a name of its own.
fn socket_in(home: &Path) -> PathBuf {
    let plain = home.join("daemon.sock");
    if plain.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return plain;
    }
    let user = rustix::process::getuid().as_raw();
    let hash = fnv1a(home.as_os_str().as_bytes());
    PathBuf::from(format!("/tmp/kith-{user}-{hash:016x}.sock"))
}

/// FNV-1a: names a path and guards nothing. The socket's owner is checked on connecting.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_is_in_the_home_if_it_fits() {
        assert_eq!(socket_in(Path::new("/home/a/.kith")), Path::new("/home/a/.kith/daemon.sock"));
        let deep = PathBuf::from(format!("/{}", "x".repeat(200)));
        let deeper = PathBuf::from(format!("/{}", "x".repeat(201)));
        let socket = socket_in(&deep);
        assert!(socket.starts_with("/tmp"));
        assert!(socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
        assert_eq!(socket, socket_in(&deep));
        assert_ne!(socket, socket_in(&deeper));
    }
}
