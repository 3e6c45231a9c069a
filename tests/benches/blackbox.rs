//! The black-box model, as many traces as asked for, of Kith or of another synchroniser; prints what became of each value.
//!
//! `cargo bench -p sync-tests --bench blackbox -- --traces 5000 --from 0 [--threads 6] [--texts] [--program syncthing]`. What breaks a
//! property is made shorter and printed; `--from SEED --traces 1` draws it again.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{path::Path, process::ExitCode};

use sync_tests::blackbox::{
    kith::Kith,
    sweep,
    synchroniser::{Outcome, Synchroniser},
    syncthing::{self, Syncthing},
};

/// Other files of Kith's folder: with these, a quarter of all files is more than traces change in a minute.
const OTHERS: usize = 400;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let after = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, default: u64| {
        after(name).map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name} {text}: {error}")))
    };
    let (traces, from, threads) = (number("--traces", 100), number("--from", 0), number("--threads", 6));
    let bytes = !args.iter().any(|arg| arg == "--texts");
    let dir = tempfile::tempdir().expect("temporary directory");
    let home = || tempfile::tempdir_in(dir.path()).expect("temporary directory").keep();
    let kith = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let make_kith = |devices: usize, dirs: &[String]| -> Outcome<Box<dyn Synchroniser>> {
        Ok(Box::new(Kith::new(kith, &home(), devices, dirs, OTHERS)))
    };
    let make_syncthing = |devices: usize, dirs: &[String]| -> Outcome<Box<dyn Synchroniser>> {
        Ok(Box::new(Syncthing::new(&syncthing::program()?, &home(), devices, dirs)?))
    };
    let program = after("--program").map_or("kith", String::as_str);
    let (totals, violations) = match program {
        "kith" => sweep(&make_kith, from..from + traces, threads, bytes),
        "syncthing" => sweep(&make_syncthing, from..from + traces, threads, bytes),
        other => panic!("--program is kith or syncthing, not {other}"),
    };
    println!("{program}, seeds {from} to {}", from + traces);
    println!("{totals}");
    for violation in &violations {
        println!("\n{violation}");
    }
    println!("violations: {}", violations.len());
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
