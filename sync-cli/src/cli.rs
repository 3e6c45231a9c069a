//! The command line, as clap types.
//!
//! Only words, types and help; no command does anything here. The forms are an interface that scripts depend on.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use sync_net::{
    Network, Role,
    history::{Keep, When},
};

use crate::{duration, when};

/// Syncs folders between your devices, directly, and merges what both sides changed.
#[derive(Debug, Parser)]
#[command(
    name = "kith",
    version,
    disable_help_subcommand = true,
    after_help = "Try it on this machine alone: kith demo\nMore: kith help COMMAND, kith help exit-codes, kith help environment"
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Prints one JSON document with a schema field
    #[arg(long, global = true)]
    pub json: bool,
    /// Keeps all state in this directory
    #[arg(long, global = true, value_name = "DIR", env = "KITH_HOME", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// How far the daemon reaches: everywhere, the local network, or this machine only; kept for later starts
    #[arg(
        long,
        global = true,
        value_name = "NETWORK",
        env = "KITH_NETWORK",
        hide_env_values = true,
        value_parser = PossibleValuesParser::new(["public", "lan", "loopback"]).try_map(|word| word.parse::<Network>())
    )]
    pub network: Option<Network>,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,
    /// Prints only what was asked for
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Logs more, to stderr; in a daemon, to its log
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Answers every question with yes
    #[arg(long, short, global = true)]
    pub yes: bool,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shares a directory and prints an invite for another device
    Share {
        /// The directory
        dir: PathBuf,
        /// What to call the folder; the directory's name unless told
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Also a home directory or the root of a mounted file system
        #[arg(long)]
        force: bool,
        /// What the invite lets in to
        #[command(flatten)]
        offer: Offer,
    },
    /// Joins a shared folder with an invite
    Join {
        /// The invite; - reads it from stdin
        invite: String,
        /// Where the folder goes; made if it is not there
        dir: Option<PathBuf>,
        /// What to call the folder here
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Only say what is here, there, and different; write nothing. This machine is a member then, and the invite stays
        /// good for it
        #[arg(long)]
        dry_run: bool,
        /// Also a home directory or the root of a mounted file system
        #[arg(long)]
        force: bool,
    },
    /// Shows the folders, what is going on, and what needs you
    Status {
        /// Only this folder, by name or path
        folder: Option<String>,
    },
    /// Waits until every folder equals every reachable peer
    Wait {
        /// Until all is in sync and durable there (what it waits for in any case)
        #[arg(long)]
        synced: bool,
        /// How long at most, like 60s or 10m
        #[arg(long, value_name = "TIME", value_parser = duration::parse)]
        timeout: Option<Duration>,
        /// Only this folder, by name or path
        #[arg(long, value_name = "FOLDER")]
        folder: Option<String>,
    },
    /// Shows what changed, newest first
    Log {
        /// A file or directory, also one that is gone or had another name; the whole folder unless told
        path: Option<PathBuf>,
        /// How many commits
        #[arg(long, short = 'n', value_name = "COMMITS", default_value_t = 30)]
        number: usize,
        /// The folder, by name or path; PATH is then within it
        #[arg(long, value_name = "FOLDER")]
        folder: Option<String>,
    },
    /// Shows what differs between two states of a file
    Diff {
        /// The file
        path: PathBuf,
        /// From this state: a commit, a time, or how long ago, like 2h; the one before the last change unless told
        #[arg(long, value_name = "STATE", value_parser = when::parse)]
        from: Option<When>,
        /// To this state; now unless told
        #[arg(long, value_name = "STATE", value_parser = when::parse)]
        to: Option<When>,
        /// The folder, by name or path; PATH is then within it
        #[arg(long, value_name = "FOLDER")]
        folder: Option<String>,
    },
    /// Brings a file or directory back as it was; deletes nothing
    Restore {
        /// The file or directory, also one that is gone
        path: PathBuf,
        /// As it was in this state: a commit, a time like 2025-01-31T12:00:00Z, or how long ago, like 2h or 3d; for
        /// something that is gone, the last one in which it was there unless told
        #[arg(long, value_name = "STATE", value_parser = when::parse)]
        to: Option<When>,
        /// Writes the bytes to this file instead and changes nothing in the folder; - is stdout
        #[arg(long, short, value_name = "FILE", conflicts_with = "list")]
        output: Option<PathBuf>,
        /// Lists what is kept of it on this device only
        #[arg(long, conflicts_with = "to")]
        list: bool,
        /// The folder, by name or path; PATH is then within it
        #[arg(long, value_name = "FOLDER")]
        folder: Option<String>,
    },
    /// Takes back what was changed on this device, where it may only read
    ///
    /// What was made is gone from the folder, what was edited has the others' version again, what was deleted or moved is
    /// back. What was here is kept for 30 days: kith restore --list
    Revert {
        /// Only these files and directories; everything in the folder unless told
        paths: Vec<PathBuf>,
        /// Only shows what would be taken back
        #[arg(long)]
        dry_run: bool,
        /// The folder, by name or path; PATHS are then within it
        #[arg(long, value_name = "FOLDER")]
        folder: Option<String>,
    },
    /// Lists what both sides changed, shows both versions, and settles it
    Conflicts {
        /// What to do; lists them all unless told
        #[command(subcommand)]
        command: Option<ConflictsCommand>,
    },
    /// Tells why a path is as it is: disk, commits, and what was decided last
    Why {
        /// The path
        path: PathBuf,
        /// The folder, by name or path; PATH is then within it
        #[arg(long, value_name = "FOLDER")]
        folder: Option<String>,
    },
    /// Makes another invite to a folder
    Invite {
        /// The folder, by name or path
        folder: String,
        /// What the invite lets in to
        #[command(flatten)]
        offer: Offer,
    },
    /// Lists and removes folders
    #[command(subcommand)]
    Folder(FolderCommand),
    /// Shows other devices
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Starts, stops and shows the daemon
    #[command(subcommand)]
    Daemon(DaemonCommand),
    /// Looks for what could be wrong
    Doctor,
    /// Shows where state is kept
    Paths,
    /// Shows the version and the protocols
    Version,
    /// Shows merging on this machine: two devices, two folders, edits on both sides
    Demo {
        /// Ends after the last check, and removes everything
        #[arg(long, env = "KITH_DEMO_ONCE", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
        once: bool,
    },
    /// Explains a command, or a topic: exit-codes, environment
    Help {
        /// The command or the topic
        topic: Vec<String>,
    },
}

/// What an invite lets in to.
#[derive(Debug, Clone, Args)]
pub struct Offer {
    /// What the device that joins may do
    #[arg(
        long,
        value_name = "ROLE",
        default_value = "writer",
        value_parser = PossibleValuesParser::new(["reader", "writer"]).try_map(|word| word.parse::<Role>())
    )]
    pub role: Role,
    /// How long the invite can be used, like 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub expires: Option<Duration>,
}

impl Offer {
    /// How long the invite lives, if somebody said.
    #[must_use]
    pub fn life_ms(&self) -> Option<u64> {
        self.expires.map(|life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What to do with conflicts.
#[derive(Debug, Subcommand)]
pub enum ConflictsCommand {
    /// Lists them
    List {
        /// Only of this folder, by name or path
        folder: Option<String>,
    },
    /// Shows both versions of one
    Show {
        /// Where it is
        path: PathBuf,
        /// The folder, by name or path; PATH is then within it
        #[arg(long, value_name = "FOLDER")]
        folder: Option<String>,
    },
    /// Settles one, on every device
    Resolve {
        /// Where it is
        path: PathBuf,
        /// mine or theirs keeps one, and the other stays in history; both gives each a name; merge makes one text of both
        #[arg(
            long,
            value_name = "SIDE",
            value_parser = PossibleValuesParser::new(["mine", "theirs", "both", "merge"]).map(|word| keep(&word))
        )]
        keep: Keep,
        /// The folder, by name or path; PATH is then within it
        #[arg(long, value_name = "FOLDER")]
        folder: Option<String>,
    },
}

fn keep(word: &str) -> Keep {
    match word {
        "mine" => Keep::Mine,
        "theirs" => Keep::Theirs,
        "both" => Keep::Both,
        _ => Keep::Merge,
    }
}

/// What to do with folders.
#[derive(Debug, Subcommand)]
pub enum FolderCommand {
    /// Lists the folders
    List,
    /// Stops syncing a folder; deletes no file
    Remove {
        /// The folder, by name or path
        folder: String,
    },
    /// Lets many deletes and overwrites happen that wait for your word
    Approve {
        /// The folder, by name or path; may be left out when there is only one
        folder: Option<String>,
    },
    /// Undoes many deletes and overwrites that wait for your word
    Reject {
        /// The folder, by name or path; may be left out when there is only one
        folder: Option<String>,
    },
    /// Deletes everywhere what was on a disk that was mounted within a folder and never comes back
    Gone {
        /// Where it was mounted
        path: PathBuf,
        /// The folder, by name or path; PATH is then within it
        #[arg(long, value_name = "FOLDER")]
        folder: Option<String>,
    },
}

/// What to do with peers.
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// Lists the other devices of all folders
    List,
}

/// What to do with the daemon.
#[derive(Debug, Subcommand)]
pub enum DaemonCommand {
    /// Runs the daemon in the foreground
    Run {
        /// Goes on when the terminal closes; what `start` uses
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Starts the daemon in the background, if it does not run
    Start,
    /// Stops the daemon and waits until it is gone
    Stop,
    /// Shows whether the daemon runs
    Status,
    /// Shows what the daemon in the background logged
    Logs {
        /// How many lines
        #[arg(long, short = 'n', value_name = "LINES", default_value_t = 100)]
        lines: usize,
        /// Goes on with new lines until Ctrl-C
        #[arg(long, short)]
        follow: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("kith").chain(line.split_whitespace()))
    }

    #[test]
    fn clap_agrees() {
        Cli::command().debug_assert();
    }

    #[test]
    fn forms_that_scripts_use() {
        for line in [
            "share DIR --json",
            "share DIR --name notes --role reader --expires 24h",
            "join kith123 DIR --json",
            "join kith123 DIR --dry-run",
            "join kith123 DIR --force",
            "share DIR --force",
            "join - --json",
            "status --json",
            "--json status notes",
            "wait --synced --timeout 60s",
            "invite notes --json",
            "log",
            "log a/b.txt -n 5 --json",
            "diff a.txt --from 12ab34cd --to 2h",
            "restore a.txt --to 2025-01-31T12:00:00Z",
            "restore a.txt --to 3d -o -",
            "restore a.txt --list --folder notes",
            "conflicts --json",
            "conflicts list notes",
            "conflicts show a.txt",
            "conflicts resolve a.txt --keep mine",
            "why a.txt --json",
            "revert",
            "revert a.txt d --dry-run --json",
            "revert a.txt --folder notes --yes",
            "folder gone notes/stick --yes",
            "folder list",
            "folder remove notes --yes",
            "peer list",
            "daemon run",
            "daemon start",
            "daemon stop",
            "daemon status",
            "daemon logs -n 5 -f",
            "doctor",
            "paths",
            "version",
            "demo --once",
            "help exit-codes",
            "--home /h --network loopback --color never -q -vv --yes status",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn usage_errors_exit_with_two() {
        for line in [
            "fly",
            "share",
            "wait --timeout 60",
            "share d --role owner",
            "status --network moon",
            "diff",
            "restore a --to x",
            "conflicts resolve a",
            "conflicts resolve a --keep it",
        ] {
            let Err(error) = parse(line) else { panic!("{line} was taken") };
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn options_reach_their_command() {
        let Ok(cli) = parse("share d --network lan --expires 7d") else { panic!("refused") };
        assert_eq!(cli.global.network, Some(Network::Lan));
        let Command::Share { offer, .. } = cli.command else { panic!("another command") };
        assert_eq!(offer.role, Role::Writer);
        assert_eq!(offer.expires, Some(Duration::from_secs(7 * 86_400)));
    }
}
