//! The device's key and name at rest: files of the home directory that only their owner may read.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use iroh::SecretKey;
use sync_core::probe::reach;

use crate::error::NodeError;

/// Name of the file with the secret key, as hex.
const KEY_FILE: &str = "identity.key";
/// Name of the file with the port that was bound last: peers find us there again.
const PORT_FILE: &str = "port";

fn home_error(path: PathBuf) -> impl FnOnce(io::Error) -> NodeError {
    move |source| NodeError::Home { path, source }
}

/// Makes the home directory, for its owner alone.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_home(home: &Path) -> Result<(), NodeError> {
    fs::create_dir_all(home).map_err(home_error(home.to_owned()))?;
    fs::set_permissions(home, fs::Permissions::from_mode(0o700)).map_err(home_error(home.to_owned()))
}

/// Loads the device's key, or makes one.
///
/// # Errors
/// When the file cannot be read or written, is damaged, or others may read it.
pub(crate) fn load_or_create(home: &Path) -> Result<SecretKey, NodeError> {
    let path = home.join(KEY_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let mode = fs::metadata(&path).map_err(home_error(path.clone()))?.permissions().mode();
            if mode & 0o077 != 0 {
                let open = io::Error::new(io::ErrorKind::PermissionDenied, "others may read this key: chmod 600 it");
                return Err(home_error(path)(open));
            }
            let bytes = text
                .trim()
                .parse::<sync_core::ids::DeviceId>()
                .map_err(|_| home_error(path)(io::Error::new(io::ErrorKind::InvalidData, "it does not hold a key")))?;
            Ok(SecretKey::from_bytes(&bytes.0))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = SecretKey::generate();
            let text = sync_core::ids::DeviceId(key.to_bytes()).to_string();
            write_private(&path, text.as_bytes()).map_err(home_error(path))?;
            Ok(key)
        }
        Err(error) => Err(home_error(path)(error)),
    }
}

/// Writes a file whole or not at all, for its owner alone.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    reach("identity.written");
    fs::rename(&temp, path)?;
    reach("identity.named");
    Ok(())
}

/// The port that was bound last, if any.
pub(crate) fn last_port(home: &Path) -> Option<u16> {
    fs::read_to_string(home.join(PORT_FILE)).ok()?.trim().parse().ok()
}

/// Remembers the port that is bound now.
pub(crate) fn remember_port(home: &Path, port: u16) {
    // Only a convenience: without it peers find us by other means.
    let _peers_look_us_up = write_private(&home.join(PORT_FILE), port.to_string().as_bytes());
}

/// What people call this machine.
pub(crate) fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if sync_core::member::is_good_name(&name) { name } else { "device".to_owned() }
}
