//! `kith help`: a command's own help, or one of the topics.

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

use super::Context;
use crate::{
    cli::Cli,
    error::{Error, Kind, Outcome, Result},
    output,
};

const EXIT_CODES: &str = "\
Exit codes of every command:

    0  ok
    1  failed
    2  usage: the command, or what it was given, makes no sense
    3  done, but there are problems or conflicts
    4  the daemon does not run
    5  not found, or ambiguous
    6  refused
    7  timed out, or unreachable
    8  busy, or locked by another kith
    9  incompatible versions
   70  internal: a fault of kith
  130  interrupted

With --json an error is one document on stderr, {\"schema\":\"kith/error/1\",\"code\",\"message\",\"hint\"}.";

const ENVIRONMENT: &str = "\
Environment:

  KITH_HOME       keeps all state in this directory, like --home
  KITH_NETWORK    public, lan or loopback, like --network; kept in the home for later starts
  KITH_LOG        what is logged, like info or sync_net=debug; the daemon takes it when it starts
  KITH_DEMO_ONCE  1 ends kith demo after its last check, like --once
  NO_COLOR        no colours, like --color never
  XDG_STATE_HOME  where the state is without KITH_HOME: in the directory kith within it";

pub(super) fn run(context: &Context, topic: &[String]) -> Result<Outcome> {
    let text = match topic {
        [] => Cli::command().render_long_help().to_string(),
        [word] if word == "exit-codes" => EXIT_CODES.to_owned(),
        [word] if word == "environment" => ENVIRONMENT.to_owned(),
        words => command_help(words, context.colors)?,
    };
    output::as_is(text.trim_end())?;
    Ok(Outcome::Done)
}

/// Asks clap as the command line `kith WORDS --help` would.
fn command_help(words: &[String], colors: bool) -> Result<String> {
    let unknown = || {
        Error::new(Kind::Usage, format!("there is no help on {}", words.join(" ")))
            .hint("see the commands: kith help")
            .hint("topics are exit-codes and environment")
    };
    // An option here would be taken for one of the command.
    if words.iter().any(|word| word.starts_with('-')) {
        return Err(unknown());
    }
    let line = std::iter::once("kith").chain(words.iter().map(String::as_str)).chain(["--help"]);
    match Cli::try_parse_from(line) {
        Err(help) if help.kind() == ErrorKind::DisplayHelp => {
            let help = help.render();
            Ok(if colors { help.ansi().to_string() } else { help.to_string() })
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_help() {
        for words in [vec!["share"], vec!["daemon", "logs"], vec!["folder"]] {
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            assert!(command_help(&words, false).is_ok_and(|text| text.contains("Usage: kith")), "{words:?}");
        }
        assert!(command_help(&["fly".to_owned()], false).is_err());
    }

    #[test]
    fn every_exit_code_is_in_the_table() {
        for kind in Kind::ALL {
            let code = format!("\n{:>5}  ", kind.exit_code());
            assert!(EXIT_CODES.contains(&code), "{code:?}");
        }
    }
}
