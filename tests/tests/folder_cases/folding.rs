//! A disk that does not tell `a` from `A`: ext4 with `casefold`, in an image that the test mounts.
//!
//! It takes the right to mount and a kernel with Unicode. Where these are not to be had the test says why and does nothing;
//! the same is done on a simulated disk in `folding`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use sync_tests::{daemon::Daemon, disk::tree};
use tempfile::TempDir;

use super::{program, read, together, until, write};

/// Bytes of the image: enough for a journal.
const IMAGE_BYTES: u64 = 32 << 20;

/// A mounted image, with a directory that folds names.
struct FoldingDisk {
    mount: PathBuf,
}

impl FoldingDisk {
    /// Makes and mounts one under `dir`, or says why that cannot be done here.
    fn mount(dir: &Path) -> Result<Self, String> {
        let (image, mount) = (dir.join("image"), dir.join("mount"));
        let made = fs::File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES));
        made.and_then(|()| fs::create_dir(&mount)).map_err(|error| format!("no image: {error}"))?;
        let (image, at) = (image.to_string_lossy().into_owned(), mount.to_string_lossy().into_owned());
        run("mkfs.ext4", &["-q", "-O", "casefold", "-E", "encoding=utf8", &image])?;
        run("mount", &["-o", "loop", &image, &at])?;
        let disk = Self { mount };
        fs::create_dir(disk.folder()).map_err(|error| format!("no directory: {error}"))?;
        run("chattr", &["+F", &disk.folder().to_string_lossy()])?;
        Ok(disk)
    }

    fn folder(&self) -> PathBuf {
        self.mount.join("folder")
    }
}

impl Drop for FoldingDisk {
    fn drop(&mut self) {
        let at = self.mount.to_string_lossy().into_owned();
        // A daemon that has not ended yet must not keep the image mounted for ever.
        if let Err(why) = run("umount", &[&at]).or_else(|_| run("umount", &["--lazy", &at])) {
            eprintln!("{at} stays mounted: {why}");
        }
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{program} is not installed")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Names and texts of a directory, as they are written.
fn files(folder: &Path) -> Vec<(String, String)> {
    let read = |path: &PathBuf| fs::read_to_string(folder.join(path)).unwrap_or_default();
    tree(folder).keys().map(|path| (path.to_string_lossy().into_owned(), read(path))).collect()
}

#[test]
fn a_disk_that_folds_names_and_one_that_does_not_show_the_same() {
    let dir = TempDir::new().expect("temporary directory");
    let disk = match FoldingDisk::mount(dir.path()) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("not run: no disk that folds names can be had here: {why}");
            return;
        }
    };
    let [a, mut b] = ["a", "b"].map(|name| Daemon::new(program(), dir.path(), name));
    b.folder = disk.folder();
    for (name, text) in [("note.txt", "small\n"), ("NOTE.txt", "large\n"), ("plain", "1\n"), ("caf\u{e9}", "é\n")] {
        fs::write(a.folder.join(name), text).expect("writes");
    }
    b.join(&a.share());
    together(&a, &b);
    let shown = files(&a.folder);
    let texts = |text: &str| shown.iter().filter(|(_, held)| held == text).count();
    assert_eq!((shown.len(), texts("small\n"), texts("large\n")), (4, 1, 1), "{shown:?}");
    assert!(shown.iter().any(|(name, _)| name.to_lowercase() == "note.txt"), "{shown:?}");
    assert!(shown.iter().any(|(name, _)| name.to_lowercase().starts_with("note (")), "{shown:?}");

    // Other letters come and go as a rename.
    fs::rename(a.folder.join("plain"), a.folder.join("Plain")).expect("renames");
    until(&b, "shown in other letters", || files(&b.folder).iter().any(|(name, _)| name == "Plain"));
    together(&a, &b);
    // Linux itself renames in two steps there.
    fs::rename(b.folder.join("Plain"), b.folder.join("plain.new")).expect("renames");
    fs::rename(b.folder.join("plain.new"), b.folder.join("PLAIN")).expect("renames");
    write(&b, "PLAIN", "1\n2\n");
    until(&a, "shown as the other wrote it", || a.folder.join("PLAIN").exists());
    together(&a, &b);
    assert_eq!(read(&a, "PLAIN"), "1\n2\n");
    assert_eq!(files(&a.folder).len(), 4);
    drop([a, b]);
    drop(disk);
}
