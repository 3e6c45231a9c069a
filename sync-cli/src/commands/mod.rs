//! The commands, one file each, and what they share.
//!
//! A command turns its arguments into requests and the answers into text or JSON. Its JSON types are in its file: they are
//! an interface, and fields are only added.

use std::path::{Path, PathBuf};

use crate::{
    cli::{Command, DaemonCommand, FolderCommand, Global, PeerCommand},
    config::Config,
    daemon::{
        api::{Folder, StatusReply},
        client::Client,
        spawn,
    },
    error::{Error, Kind, Outcome, Result},
    output,
};

mod conflicts;
mod daemon;
mod demo;
mod diff;
mod doctor;
mod folder;
mod help;
mod invite;
mod join;
mod located;
mod log;
mod paths;
mod peer;
mod rails;
mod restore;
mod revert;
mod share;
mod status;
mod version;
mod wait;
mod why;

/// What every command has.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where things are.
    pub config: Config,
    /// Whether to print JSON.
    pub json: bool,
    /// Whether to print only what was asked for.
    pub quiet: bool,
    /// Whether every question is answered with yes.
    pub yes: bool,
    /// Whether text may have colours.
    pub colors: bool,
    /// How many `-v` there were.
    pub verbose: u8,
}

impl Context {
    /// Puts together what the options say.
    #[must_use]
    pub fn new(config: Config, global: &Global) -> Self {
        Self {
            config,
            json: global.json,
            quiet: global.quiet,
            yes: global.yes,
            colors: output::use_colors(global.color),
            verbose: global.verbose,
        }
    }

    /// Says something that was not asked for, to people who want to hear it.
    pub fn note(&self, text: &str) {
        if !self.json && !self.quiet {
            output::note(text);
        }
    }

    async fn client(&self) -> Result<Client> {
        Client::connect(&self.config).await
    }

    async fn client_or_start(&self) -> Result<Client> {
        spawn::ensure(&self.config, self.verbose).await
    }
}

/// Does what the command line says.
///
/// # Errors
///
/// Whatever the command says went wrong.
pub async fn dispatch(command: Command, context: &Context) -> Result<Outcome> {
    match command {
        Command::Share { dir, name, force, offer } => share::run(context, &dir, name, force, &offer).await,
        Command::Join { invite, dir, name, dry_run, force } => {
            join::run(context, &invite, dir, name, join::How { dry_run, force }).await
        }
        Command::Status { folder } => status::run(context, folder.as_deref()).await,
        Command::Wait { synced: _, timeout, folder } => wait::run(context, folder.as_deref(), timeout).await,
        Command::Log { path, number, folder } => log::run(context, path.as_deref(), number, folder.as_deref()).await,
        Command::Diff { path, from, to, folder } => diff::run(context, &path, from, to, folder.as_deref()).await,
        Command::Restore { path, to, output, list, folder } => {
            let place = located::find(context, &path, folder.as_deref()).await?;
            match (list, output) {
                (true, _) => restore::list(context, &place).await,
                (false, Some(output)) => restore::print(context, &place, to, &output).await,
                (false, None) => restore::run(context, &place, to).await,
            }
        }
        Command::Revert { paths, dry_run, folder } => revert::run(context, &paths, folder.as_deref(), dry_run).await,
        Command::Conflicts { command } => conflicts::run(context, command).await,
        Command::Why { path, folder } => why::run(context, &path, folder.as_deref()).await,
        Command::Invite { folder, offer } => invite::run(context, &folder, &offer).await,
        Command::Folder(FolderCommand::List) => folder::list(context).await,
        Command::Folder(FolderCommand::Remove { folder }) => folder::remove(context, &folder).await,
        Command::Folder(FolderCommand::Approve { folder }) => folder::decide(context, folder.as_deref(), true).await,
        Command::Folder(FolderCommand::Reject { folder }) => folder::decide(context, folder.as_deref(), false).await,
        Command::Folder(FolderCommand::Gone { path, folder }) => folder::gone(context, &path, folder.as_deref()).await,
        Command::Peer(PeerCommand::List) => peer::list(context).await,
        Command::Daemon(DaemonCommand::Run { detached }) => crate::daemon::run::run(&context.config, detached).await,
        Command::Daemon(DaemonCommand::Start) => daemon::start(context).await,
        Command::Daemon(DaemonCommand::Stop) => daemon::stop(context).await,
        Command::Daemon(DaemonCommand::Status) => daemon::status(context).await,
        Command::Daemon(DaemonCommand::Logs { lines, follow }) => daemon::logs(context, lines, follow).await,
        Command::Doctor => doctor::run(context).await,
        Command::Paths => paths::run(context),
        Command::Version => version::run(context),
        Command::Demo { once } => demo::run(context, once).await,
        Command::Help { topic } => help::run(context, &topic),
    }
}

/// The path as the daemon understands it, whose current directory is another one.
///
/// Links and `..` are resolved as far as the path is there.
fn absolute(path: &Path) -> Result<PathBuf> {
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    let full = std::path::absolute(path)
        .map_err(|error| Error::from_io(Kind::Invalid, format!("cannot use {}", path.display()), &error))?;
    match (full.parent().map(Path::canonicalize), full.file_name()) {
        (Some(Ok(parent)), Some(name)) => Ok(parent.join(name)),
        _ => Ok(full),
    }
}

/// The path as text, which is all that JSON can carry.
fn as_text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(Kind::Invalid, format!("the path {} is not UTF-8", path.display()))
            .hint("rename the directory, or share one within it")
    })
}

/// The one folder that goes by a name, a path or an id.
fn pick<'a>(status: &'a StatusReply, asked: &str) -> Result<&'a Folder> {
    let path = absolute(Path::new(asked)).ok();
    let is_asked = |f: &&Folder| f.name == asked || f.space == asked || path.as_deref() == Some(Path::new(&f.path));
    let mut found = status.folders.iter().filter(is_asked);
    match (found.next(), found.next()) {
        (Some(folder), None) => Ok(folder),
        (Some(_), Some(_)) => Err(Error::new(Kind::Ambiguous, format!("several folders are called {asked}"))
            .hint("name the folder by its path: kith folder list")),
        (None, _) => Err(Error::new(Kind::NotFound, format!("there is no folder {asked}"))
            .hint("see which folders there are: kith folder list")),
    }
}

/// The folder as the daemon knows it: a path is made absolute, a name stays.
fn folder_name(asked: &str) -> Result<String> {
    if asked.contains('/') || asked == "." || asked == ".." {
        as_text(&absolute(Path::new(asked))?)
    } else {
        Ok(asked.to_owned())
    }
}
