//! `kith demo`: two devices on this machine, edits on both sides, and what becomes of them.
//!
//! It runs two nodes of its own on the loopback network, in a temporary directory. It touches neither the daemon nor the
//! user's folders, and removes all it made. What it claims it checks: a merge that does not come out as written here
//! fails the command.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, IsTerminal as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use sync_net::{Network, Node, ShareOptions};
use tokio::time::Instant;

use super::Context;
use crate::{
    error::{Error, Kind, Outcome, Result},
    output,
};

/// How long the devices may take to agree.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// How long a device may take to end.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How often the folders are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How often they are looked at when the user plays.
const WATCH: Duration = Duration::from_millis(500);

/// The script's files are compared whole; larger ones, which only the user can have put there, by their length.
const COMPARED_BYTES_MAX: u64 = 1024 * 1024;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct DemoDocument {
    schema: &'static str,
    equal: bool,
    files: usize,
}

pub(super) async fn run(context: &Context, once: bool) -> Result<Outcome> {
    let once = once || context.json || !io::stdin().is_terminal();
    let place = Place::make()?;
    let mut devices = Devices { laptop: Device::new("laptop", &place.0)?, desktop: Device::new("desktop", &place.0)? };
    let mut result = tokio::select! {
        result = play(context, &mut devices) => result,
        _ = tokio::signal::ctrl_c() => Err(Error::new(Kind::Interrupted, "interrupted")),
    };
    if result.is_ok() && !once {
        result = leave_to_the_user(context, &devices).await;
    }
    tokio::join!(devices.laptop.stop(), devices.desktop.stop());
    drop(place);
    let files = result?;
    if context.json {
        output::json(&DemoDocument { schema: "kith/demo/1", equal: true, files })?;
    } else {
        say(context, "\nThe demo is over, and its folders are removed. Share one of yours: kith share DIR")?;
    }
    Ok(Outcome::Done)
}

/// The script. Returns how many files there are in the end.
async fn play(context: &Context, devices: &mut Devices) -> Result<usize> {
    say(context, "Two devices on this machine, each with a folder of its own:\n")?;
    for device in [&devices.laptop, &devices.desktop] {
        say(context, &format!("  {:<8} {}", device.name, device.folder.display()))?;
    }
    begin(context, devices).await?;
    offline(context, devices).await?;
    online(context, devices).await
}

/// First act: one shares, the other joins.
async fn begin(context: &Context, devices: &mut Devices) -> Result<()> {
    let start = [
        ("shopping.txt", "milk\nbread\napples\ncheese\nrice\n"),
        ("travel/plan.txt", "Monday: train\nTuesday: harbour\n"),
        ("draft.txt", "A first thought.\n"),
    ];
    say(context, "\n1. laptop shares three files, desktop joins")?;
    for (path, text) in start {
        devices.laptop.write(path, text)?;
    }
    devices.start().await?;
    let shared = devices.laptop.node()?.share(&devices.laptop.folder, ShareOptions::default()).await?;
    devices.desktop.node()?.join(&shared.invite, &devices.desktop.folder, None).await?;
    let files = devices.settle(&start.map(|(path, text)| (path, Some(text)))).await?;
    say(context, &format!("   both folders hold the same: {}", output::count(files as u64, "file")))
}

/// Second act: both are edited while they cannot see each other, then they meet.
async fn offline(context: &Context, devices: &mut Devices) -> Result<()> {
    say(context, "\n2. both go offline, and both are edited")?;
    devices.stop().await;

    let (laptop, desktop) = (&devices.laptop, &devices.desktop);
    laptop.write("shopping.txt", "oat milk\nbread\napples\ncheese\nrice\n")?;
    say(context, "   laptop   shopping.txt: makes the milk oat milk")?;
    desktop.write("shopping.txt", "milk\nbread\napples\ncheese\nbrown rice\n")?;
    say(context, "   desktop  shopping.txt: makes the rice brown rice")?;
    let moved = fs::rename(laptop.folder.join("travel"), laptop.folder.join("trips"));
    moved.map_err(|error| Error::from_io(Kind::Failed, "cannot rename a directory of the demo", &error))?;
    say(context, "   laptop   renames travel/ to trips/")?;
    desktop.write("travel/plan.txt", "Monday: train\nTuesday: harbour\nWednesday: museum\n")?;
    say(context, "   desktop  travel/plan.txt: adds the museum")?;
    let removed = fs::remove_file(laptop.folder.join("draft.txt"));
    removed.map_err(|error| Error::from_io(Kind::Failed, "cannot delete a file of the demo", &error))?;
    say(context, "   laptop   deletes draft.txt")?;
    desktop.write("draft.txt", "A first thought.\nAnd a second one.\n")?;
    say(context, "   desktop  draft.txt: adds a second thought")?;

    say(context, "\n3. both are online again")?;
    devices.start().await?;
    let shopping = "oat milk\nbread\napples\ncheese\nbrown rice\n";
    let plan = "Monday: train\nTuesday: harbour\nWednesday: museum\n";
    let draft = "A first thought.\nAnd a second one.\n";
    let merged = [
        ("shopping.txt", Some(shopping)),
        ("trips/plan.txt", Some(plan)),
        ("draft.txt", Some(draft)),
        ("travel", None),
    ];
    let files = devices.settle(&merged).await?;
    for (path, why, text) in [
        ("shopping.txt", "has both edits", shopping),
        ("trips/plan.txt", "is renamed and edited", plan),
        ("draft.txt", "is back: an edit survives a delete that did not know of it", draft),
    ] {
        say(context, &format!("   {path} {why}"))?;
        for line in text.lines() {
            say(context, &format!("     | {line}"))?;
        }
    }
    say(context, &format!("   both folders hold the same, byte by byte: {}", output::count(files as u64, "file")))
}

/// Third act: both are edited while they see each other.
async fn online(context: &Context, devices: &Devices) -> Result<usize> {
    say(context, "\n4. both are edited online")?;
    let began = Instant::now();
    devices.laptop.write("hello.txt", "Hello from the laptop.\n")?;
    devices.desktop.write("notes/today.txt", "Hello from the desktop.\n")?;
    say(context, "   laptop   writes hello.txt")?;
    say(context, "   desktop  writes notes/today.txt")?;
    let both =
        [("hello.txt", Some("Hello from the laptop.\n")), ("notes/today.txt", Some("Hello from the desktop.\n"))];
    let files = devices.settle(&both).await?;
    let took = began.elapsed().as_millis();
    say(context, &format!("   both folders hold the same after {took} ms: {}", output::count(files as u64, "file")))?;
    Ok(files)
}

/// Leaves both folders to the user, and says what became the same, until Ctrl-C.
async fn leave_to_the_user(context: &Context, devices: &Devices) -> Result<usize> {
    let (laptop, desktop) = (&devices.laptop.folder, &devices.desktop.folder);
    say(
        context,
        &format!(
            "\nNow it is your turn: edit in either folder. Ctrl-C ends the demo and removes both.\n\n  {}\n  {}\n",
            laptop.display(),
            desktop.display()
        ),
    )?;
    let mut shown = tree(laptop).unwrap_or_default();
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(files_of(&shown)),
            () = tokio::time::sleep(WATCH) => {}
        }
        // A tree that changes while it is read is looked at again.
        let (Ok(one), Ok(other)) = (tree(laptop), tree(desktop)) else { continue };
        if one == other && one != shown {
            let paths: BTreeSet<&Path> = shown.keys().chain(one.keys()).map(PathBuf::as_path).collect();
            let changed: Vec<String> = paths
                .into_iter()
                .filter(|path| shown.get(*path) != one.get(*path))
                .map(|path| output::name(&path.to_string_lossy()).into_owned())
                .collect();
            say(context, &format!("  the same on both: {}", changed.join(", ")))?;
            shown = one;
        }
    }
}

fn say(context: &Context, text: &str) -> Result<()> {
    if context.json || context.quiet { Ok(()) } else { output::data(text) }
}

/// The temporary directory of a demo; removed when dropped.
struct Place(PathBuf);

impl Place {
    fn make() -> Result<Self> {
        let parent = std::env::temp_dir();
        let mut tries = 0;
        loop {
            let path = parent.join(format!("kith-demo-{}-{tries}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                // What an earlier process of this number left.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < 100 => tries += 1,
                Err(error) => {
                    return Err(Error::from_io(Kind::Failed, format!("cannot make {}", path.display()), &error)
                        .hint("choose another place: set TMPDIR"));
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A device of the demo: a node while it is online.
struct Device {
    name: &'static str,
    home: PathBuf,
    folder: PathBuf,
    node: Option<Node>,
}

impl Device {
    fn new(name: &'static str, place: &Path) -> Result<Self> {
        let (home, folder) = (place.join(format!(".{name}-home")), place.join(name));
        for dir in [&home, &folder] {
            fs::create_dir(dir)
                .map_err(|error| Error::from_io(Kind::Failed, format!("cannot make {}", dir.display()), &error))?;
        }
        Ok(Self { name, home, folder, node: None })
    }

    async fn start(&mut self) -> Result<()> {
        let builder = Node::builder(&self.home).network(Network::Loopback).device_name(self.name);
        self.node = Some(builder.spawn().await?);
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            // One that takes longer is ended with the process, or says so when it is started again.
            let _ = tokio::time::timeout(STOP_MAX, node.shutdown()).await;
        }
    }

    fn node(&self) -> Result<&Node> {
        self.node.as_ref().ok_or_else(|| Error::new(Kind::Internal, format!("{} is offline in the demo", self.name)))
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.folder.join(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text))
            .map_err(|error| Error::from_io(Kind::Failed, format!("cannot write {}", path.display()), &error))
    }

    /// Whether a file has this text, or, without one, whether there is nothing of that name.
    fn has(&self, path: &str, text: Option<&str>) -> bool {
        let path = self.folder.join(path);
        match text {
            Some(text) => fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes()),
            None => !path.exists(),
        }
    }
}

/// Both devices.
struct Devices {
    laptop: Device,
    desktop: Device,
}

impl Devices {
    async fn start(&mut self) -> Result<()> {
        self.laptop.start().await?;
        self.desktop.start().await
    }

    async fn stop(&mut self) {
        tokio::join!(self.laptop.stop(), self.desktop.stop());
    }

    /// Waits until both folders hold the same, and what is expected, and both devices say so. Returns how many files.
    ///
    /// The folders come first: a device that has not seen an edit yet believes that all is in sync.
    async fn settle(&self, expected: &[(&str, Option<&str>)]) -> Result<usize> {
        let deadline = Instant::now() + SETTLE_MAX;
        let files = loop {
            let as_expected = |device: &Device| expected.iter().all(|(path, text)| device.has(path, *text));
            if as_expected(&self.laptop)
                && as_expected(&self.desktop)
                && let (Ok(one), Ok(other)) = (tree(&self.laptop.folder), tree(&self.desktop.folder))
                && one == other
            {
                break files_of(&one);
            }
            if Instant::now() >= deadline {
                return Err(self.not_settled(expected));
            }
            tokio::time::sleep(LOOK).await;
        };
        for device in [&self.laptop, &self.desktop] {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, device.node()?.wait_synced(None)).await {
                Ok(synced) => synced?,
                Err(_) => return Err(self.not_settled(expected)),
            }
        }
        Ok(files)
    }

    fn not_settled(&self, expected: &[(&str, Option<&str>)]) -> Error {
        let missing: Vec<String> = [&self.laptop, &self.desktop]
            .into_iter()
            .flat_map(|device| expected.iter().map(move |expectation| (device, expectation)))
            .filter(|(device, (path, text))| !device.has(path, *text))
            .map(|(device, (path, _))| format!("{path} on {}", device.name))
            .collect();
        let what = if missing.is_empty() {
            "the two devices did not agree in time".to_owned()
        } else {
            format!("not as expected in time: {}", missing.join(", "))
        };
        Error::new(Kind::TimedOut, what).hint("look closer: kith demo -v")
    }
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Directory,
    File(Vec<u8>),
    LargeFile(u64),
    Link(PathBuf),
    Other,
}

type Tree = BTreeMap<PathBuf, Item>;

fn files_of(tree: &Tree) -> usize {
    tree.values().filter(|item| matches!(item, Item::File(_) | Item::LargeFile(_))).count()
}

/// Reads a folder, without the directory in which kith keeps its own state.
fn tree(folder: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(folder.join(&dir))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            if path == Path::new(".kith") {
                continue;
            }
            let metadata = entry.metadata()?;
            let item = if metadata.is_dir() {
                open.push(path.clone());
                Item::Directory
            } else if metadata.is_symlink() {
                Item::Link(fs::read_link(entry.path())?)
            } else if !metadata.is_file() {
                Item::Other
            } else if metadata.len() > COMPARED_BYTES_MAX {
                Item::LargeFile(metadata.len())
            } else {
                Item::File(fs::read(entry.path())?)
            };
            tree.insert(path, item);
        }
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_ignore_only_our_own_state() -> Result<(), Box<dyn std::error::Error>> {
        let place = Place::make()?;
        let [one, other] = [Device::new("one", &place.0)?, Device::new("other", &place.0)?];
        for device in [&one, &other] {
            device.write("dir/file", "text")?;
            device.write(".kith/state", device.name)?;
        }
        assert_eq!(tree(&one.folder)?, tree(&other.folder)?);
        assert_eq!(files_of(&tree(&one.folder)?), 1);
        other.write("dir/.kith", "a file of the user")?;
        assert_ne!(tree(&one.folder)?, tree(&other.folder)?);
        assert!(other.has("dir/file", Some("text")) && other.has("nothing", None));
        Ok(())
    }
}
