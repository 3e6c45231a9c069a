//! How far a daemon reaches, as it was chosen once: told by real processes, none of which reaches beyond this machine.

use std::{fs, path::Path};

use sync_cli::config::Config;
use sync_net::Network;
use sync_tests::daemon::Daemon;
use tempfile::TempDir;

fn config(home: &Path, asked_network: Option<Network>) -> Config {
    Config { home: home.to_owned(), asked_network }
}

#[test]
fn a_network_is_kept_until_another_one_is_asked_for() {
    let dir = TempDir::new().expect("temporary directory");
    let file = dir.path().join("network");
    let config = |asked_network| config(dir.path(), asked_network);
    assert_eq!(config(None).network(), Ok(Network::Public));
    config(None).keep_network().expect("keeps nothing");
    assert!(!file.exists(), "a default is no choice");
    for asked in [Network::Loopback, Network::Lan, Network::Public] {
        config(Some(asked)).keep_network().expect("keeps");
        config(None).keep_network().expect("keeps nothing");
        assert_eq!(config(None).network(), Ok(asked));
    }
    assert_eq!(config(Some(Network::Lan)).network(), Ok(Network::Lan));
    for damaged in [&b"moon"[..], b"", b"\xff"] {
        fs::write(&file, damaged).expect("writes");
        assert!(config(None).network().is_err(), "never the default instead");
    }
    config(Some(Network::Lan)).keep_network().expect("keeps");
    assert_eq!(config(None).network(), Ok(Network::Lan));
}

#[test]
fn a_plain_start_takes_the_network_of_the_last_one() {
    let dir = TempDir::new().expect("temporary directory");
    let program = Path::new(env!("CARGO_BIN_EXE_kith-under-test"));
    let a = Daemon::new(program, dir.path(), "a");
    let _invite = a.share();
    let network = || a.json(&["daemon", "status"])["network"].as_str().map(str::to_owned);
    assert_eq!(network().as_deref(), Some("loopback"));
    a.stop();
    let started = a.kith_on_its_network(&["daemon", "start"]);
    assert!(started.status.success(), "{}", a.log());
    assert_eq!(network().as_deref(), Some("loopback"));
    assert!(String::from_utf8_lossy(&started.stderr).contains("network loopback"));
    // While it runs another one is refused, and not kept either.
    let refused = a.kith_on_its_network(&["--network", "lan", "daemon", "start"]);
    assert_eq!(refused.status.code(), Some(9));
    for words in [["status"].as_slice(), &["daemon", "status"]] {
        let shown = a.kith_on_its_network(words);
        assert!(String::from_utf8_lossy(&shown.stdout).contains("network loopback"), "{words:?}");
    }
    a.stop();
    assert_eq!(config(&a.home, None).network(), Ok(Network::Loopback));
    // Asked for, it takes the place of what was kept.
    fs::write(a.home.join("network"), "lan\n").expect("writes");
    a.start();
    assert_eq!(config(&a.home, None).network(), Ok(Network::Loopback));
    a.stop();
    // What cannot be read is no reason to reach further than somebody wants.
    fs::write(a.home.join("network"), "loopbac\n").expect("writes");
    let refused = a.kith_on_its_network(&["daemon", "start"]);
    assert!(!refused.status.success());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("a network is public, lan or loopback"), "{words}");
}
