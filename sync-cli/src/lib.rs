//! The `kith` command and its daemon.
//!
//! A command parses its arguments ([`cli`]), asks the daemon over a Unix socket ([`daemon`]) and prints what it said
//! ([`output`]). Only the daemon and the demo open a [`sync_net::Node`]; no module here looks into a store or a folder's
//! documents. Failures become a kind, a message and hints in one place, [`error`], and from there an exit code.

use std::{
    ffi::OsString,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use clap::Parser as _;

pub mod cli;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod duration;
pub mod error;
pub mod output;
pub mod when;

use cli::{Cli, Command, DaemonCommand};
use commands::Context;
use config::Config;
use error::{Error, Kind, Outcome};

/// Runs `kith` with the arguments of this process.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs `kith` with these arguments, the program's name first.
pub fn run<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    // Usage errors come before there is a parsed `--json`.
    let json = args.iter().any(|arg| arg == "--json");
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(usage) => return refuse_usage(&usage, &args, json),
    };
    let json = cli.global.json;
    match catch_unwind(AssertUnwindSafe(|| execute(cli))) {
        Ok(Ok(Outcome::Done)) => ExitCode::SUCCESS,
        Ok(Ok(Outcome::Exit(kind))) => ExitCode::from(kind.exit_code()),
        Ok(Err(error)) => {
            output::error(&error, json);
            ExitCode::from(error.kind.exit_code())
        }
        // The panic hook has said where.
        Err(_) => {
            let error = Error::new(Kind::Internal, "kith ran into a fault of its own")
                .hint("please report it, with what `kith daemon logs` shows");
            output::error(&error, json);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// Prints what clap says: help and version on stdout, mistakes on stderr.
fn refuse_usage(usage: &clap::Error, args: &[OsString], json: bool) -> ExitCode {
    if usage.use_stderr() && json {
        let text = usage.render().to_string();
        // What is wrong, and with which arguments; then clap goes on with how it should be.
        let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let message = lines.join(" ").trim_start_matches("error: ").to_owned();
        let error = Error::new(Kind::Usage, message).hint("see how it is used: kith help");
        output::error(&error, true);
    } else {
        // A pattern of the shell may have become names of files, and clap repeats what it was given.
        let shown = Cli::try_parse_from(args.iter().map(|arg| output::name(&arg.to_string_lossy()).into_owned()));
        // A closed pipe is no reason to fail.
        let _ = shown.map_or_else(|usage| usage.print(), |_| usage.print());
        let _ = std::io::stdout().flush();
    }
    if usage.use_stderr() { ExitCode::from(Kind::Usage.exit_code()) } else { ExitCode::SUCCESS }
}

fn execute(cli: Cli) -> error::Result<Outcome> {
    let config = Config::resolve(&cli.global)?;
    let context = Context::new(config, &cli.global);
    let is_daemon = matches!(cli.command, Command::Daemon(DaemonCommand::Run { .. }));
    // These two hold a node, and handle Ctrl-C themselves to close it in order.
    let holds_node = is_daemon || matches!(cli.command, Command::Demo { .. });
    // Other commands have stderr for their own words, which scripts read as JSON.
    if is_daemon || context.verbose > 0 || (holds_node && std::env::var_os("KITH_LOG").is_some()) {
        output::start_logs(context.verbose);
    }
    let mut builder = if holds_node {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Error::from_io(Kind::Failed, "cannot start: the system gives no threads", &error))?;
    let result = runtime.block_on(async {
        let work = commands::dispatch(cli.command, &context);
        if holds_node {
            return work.await;
        }
        tokio::select! {
            result = work => result,
            _ = tokio::signal::ctrl_c() => Err(Error::new(Kind::Interrupted, "interrupted")),
        }
    });
    // A thread may still wait for a line of stdin.
    runtime.shutdown_background();
    result
}
