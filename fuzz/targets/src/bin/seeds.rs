//! Writes the seeds into `fuzz/seeds`, and removes those that are no more.

use std::{fs, io, path::Path};

use sync_fuzz::seeds::seeds;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds");
    fs::remove_dir_all(&root)?;
    for (target, name, bytes) in seeds() {
        let dir = root.join(target);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(name), bytes)?;
    }
    Ok(())
}
