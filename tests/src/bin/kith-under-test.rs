//! The command `kith` under a name of its own, so that tests and benches of this package find it built.

fn main() -> std::process::ExitCode {
    sync_cli::main()
}
