//! House rules, checked by reading the sources: which way imports go, how long files are, what is never written.
//!
//! Each rule is one test and lists all offenders. Comments do not count as imports; a rule that bends says so in a table
//! here, with its reason.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Most lines of a file.
const FILE_LINES_MAX: usize = 900;
/// Most lines of a file without a reason.
const FILE_LINES_FREE: usize = 600;
/// Most lines of the file in the middle, among those of the libraries.
const FILE_LINES_MEDIAN_MAX: usize = 300;

/// Files above [`FILE_LINES_FREE`], and why they are not two.
const LONG_FILES: &[(&str, &str)] = &[
    ("sync-core/src/doc/entry.rs", "one schema: root changes, registers and edits must be read side by side"),
    ("sync-core/src/store/mod.rs", "one schema: a reader and a writer a table, most of it documentation"),
    ("sync-net/src/node.rs", "the whole surface of the library, most of it documentation"),
];

/// Directories of the workspace that hold sources of ours.
const SOURCES: &[&str] = &[
    "sync-core/src",
    "sync-net/src",
    "sync-cli/src",
    "tests/src",
    "tests/tests",
    "fuzz/fuzz_targets",
    "fuzz/targets/src",
];
/// Those of the libraries.
const LIBRARIES: &[&str] = &["sync-core/src", "sync-net/src", "sync-cli/src"];
/// What tools make, wherever it lies.
const GENERATED: &[&str] = &["target", ".git", "corpus", "artifacts", "coverage"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files under a directory of the workspace, by their path in it, sorted.
fn files(dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(root().join(&dir)) else { continue };
        for entry in entries {
            let entry = entry.expect("a directory of the workspace lists");
            let name = entry.file_name().into_string().expect("names in the workspace are UTF-8");
            let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
            let kind = entry.file_type().expect("a directory of the workspace lists");
            if kind.is_dir() {
                if !GENERATED.contains(&name.as_str()) {
                    open.push(path);
                }
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn rust_files(dirs: &[&str]) -> Vec<String> {
    dirs.iter().flat_map(|dir| files(dir)).filter(|path| path.ends_with(".rs")).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lines of code with their numbers: without comments, and without the tests at the end of a file.
fn code(path: &str) -> Vec<(usize, String)> {
    let text = read(path);
    let end = text.find("#[cfg(test)]\nmod tests").or_else(|| text.find("#[cfg(test)]\npub(crate) mod testing"));
    let lines = text[..end.unwrap_or(text.len())].lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line.split(" // ").next().unwrap_or_default().to_owned()))
        .collect()
}

/// Whether a line uses a path that begins with this name: `name::` or `use name;`, and not as the end of another word.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + name.len()..];
        let begins = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '-');
        let is_crate = !name.contains("::");
        let ends = after.chars().next().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        begins && ends && (!is_crate || after.starts_with("::") || line.trim_start().starts_with("use "))
    })
}

/// Where files name what they must not.
fn offenders(paths: &[String], forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths {
        for (number, line) in code(path) {
            for name in forbidden {
                if names(&line, name) {
                    found.push(format!("{path}:{number} names {name}"));
                }
            }
        }
    }
    found
}

#[track_caller]
fn assert_none(rule: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

fn in_core_outside(modules: &[&str]) -> Vec<String> {
    let outside = |path: &String| !modules.iter().any(|module| path.starts_with(&format!("sync-core/src/{module}")));
    rust_files(&["sync-core/src"]).into_iter().filter(outside).collect()
}

#[test]
fn imports_between_crates_go_one_way() {
    let core = offenders(&rust_files(&["sync-core/src"]), &["sync_net", "sync_cli", "sync_tests"]);
    let net = offenders(&rust_files(&["sync-net/src"]), &["sync_cli", "sync_tests"]);
    let cli = offenders(&rust_files(&["sync-cli/src"]), &["sync_tests"]);
    assert_none("imports go sync-cli → sync-net → sync-core", &[core, net, cli].concat());
}

#[test]
fn the_core_names_no_runtime_and_no_network() {
    let runtime = ["tokio", "tokio_util", "futures_util", "n0_future", "iroh", "iroh_gossip", "iroh_tickets", "notify"];
    let mut found = offenders(&rust_files(&["sync-core/src"]), &runtime);
    found.extend(offenders(&rust_files(&["sync-cli/src"]), &["iroh", "iroh_gossip", "notify", "redb", "automerge"]));
    for line in read("sync-core/Cargo.toml").lines() {
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default().replace('-', "_");
        if runtime.contains(&name.as_str()) {
            found.push(format!("sync-core/Cargo.toml depends on {name}"));
        }
    }
    assert_none("tokio and iroh live in sync-net; the command may use tokio", &found);
}

#[test]
fn one_module_each_names_automerge_and_redb() {
    let mut found = offenders(&in_core_outside(&["doc/"]), &["automerge"]);
    found.extend(offenders(&in_core_outside(&["store/"]), &["redb"]));
    found.extend(offenders(&rust_files(&["sync-net/src"]), &["automerge", "redb"]));
    assert_none("only doc/ names automerge, only store/ names redb", &found);
}

#[test]
fn engine_folder_and_tree_do_not_know_each_other() {
    let of = |module: &str| rust_files(&[&format!("sync-core/src/{module}")]);
    let mut found = offenders(&of("folder"), &["crate::engine"]);
    found.extend(offenders(&of("engine"), &["crate::folder", "crate::tree"]));
    found.extend(offenders(&of("tree"), &["crate::engine", "crate::store", "crate::folder"]));
    found.extend(offenders(&of("store"), &["crate::engine", "crate::folder"]));
    found.extend(offenders(&of("doc"), &["crate::engine", "crate::folder", "crate::store", "crate::tree"]));
    found.extend(offenders(&of("member"), &["crate::engine", "crate::folder", "crate::store", "crate::doc"]));
    assert_none("a module names another that it must not know", &found);
}

#[test]
fn files_can_be_held_in_the_head() {
    let mut found = Vec::new();
    for path in rust_files(SOURCES) {
        let lines = read(&path).lines().count();
        let has_reason = LONG_FILES.iter().any(|(long, _)| *long == path);
        if lines > FILE_LINES_MAX {
            found.push(format!("{path} has {lines} lines, at most {FILE_LINES_MAX}: split it"));
        } else if lines > FILE_LINES_FREE && !has_reason {
            found.push(format!(
                "{path} has {lines} lines, above {FILE_LINES_FREE}: split it, or give a reason in LONG_FILES"
            ));
        }
    }
    let mut lengths: Vec<usize> = rust_files(LIBRARIES).iter().map(|path| read(path).lines().count()).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    if median > FILE_LINES_MEDIAN_MAX {
        found.push(format!("the median of {} files is {median} lines, at most {FILE_LINES_MEDIAN_MAX}", lengths.len()));
    }
    assert_none("files are too long", &found);
}

#[test]
fn some_things_are_never_written() {
    // Put together here, so that this file passes its own test.
    let everywhere = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
        concat!("#[ig", "nore"),
        concat!("unbounded", "_channel"),
        concat!("allow(un", "safe_code"),
    ];
    let in_tests = [concat!("thread::", "sleep"), concat!("tokio::time::", "sleep"), concat!("time::", "sleep(")];
    let mut found = Vec::new();
    for path in rust_files(SOURCES) {
        for (index, line) in read(&path).lines().enumerate() {
            let forbidden = everywhere.iter().chain(if path.starts_with("tests/") { in_tests.as_slice() } else { &[] });
            found.extend(
                forbidden.filter(|word| line.contains(**word)).map(|word| format!("{path}:{} has {word}", index + 1)),
            );
        }
    }
    assert_none(
        "never written: unfinished code, tests that do not run or wait for a time, queues without a bound",
        &found,
    );
}

#[test]
fn every_source_file_says_what_it_is() {
    let starts = |path: &String| read(path).starts_with("//! ");
    let found: Vec<String> = rust_files(SOURCES).into_iter().filter(|path| !starts(path)).collect();
    assert_none("these do not begin with //!", &found);
}

#[test]
fn the_documents_are_there_and_their_links_lead_somewhere() {
    let wanted = [
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "docs/ARCHITECTURE.md",
        "docs/SPEC.md",
        "docs/STORAGE.md",
        "fuzz/README.md",
    ];
    let is_missing = |path: &&&str| !root().join(path).is_file();
    let mut found: Vec<String> = wanted.iter().filter(is_missing).map(|path| format!("{path} is missing")).collect();
    for page in files("").into_iter().filter(|path| path.ends_with(".md")) {
        let dir = page.rsplit_once('/').map_or("", |(dir, _)| dir);
        for link in read(&page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !root().join(dir).join(file).exists() {
                found.push(format!("{page} links to {link}"));
            }
        }
    }
    assert_none("documents", &found);
}

/// What stands between `before` and `after`, for each occurrence.
fn between(text: &str, before: &str, after: &str) -> Vec<String> {
    text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).map(ToOwned::to_owned).collect()
}

#[test]
fn the_documents_keep_up_with_the_code() {
    let (spec, storage) = (read("docs/SPEC.md"), read("docs/STORAGE.md"));
    let mut found = Vec::new();
    for context in between(&read("sync-core/src/ids.rs"), ": &str = \"", "\"") {
        if !spec.contains(&context) {
            found.push(format!("docs/SPEC.md lacks the context {context:?}"));
        }
    }
    for table in between(&read("sync-core/src/store/mod.rs"), "TableDefinition::new(\"", "\"") {
        if !storage.contains(&format!("| `{table}` |")) {
            found.push(format!("docs/STORAGE.md lacks the table {table}"));
        }
    }
    for vector in files("sync-core/vectors") {
        let name = vector.rsplit('/').next().unwrap_or_default();
        if !spec.contains(&format!("`{name}`")) || !spec.contains(read(&vector).trim()) {
            found.push(format!("docs/SPEC.md lacks the vector {name}, or has another value"));
        }
    }
    assert_none("documents are behind the code", &found);
}

#[test]
fn every_limit_has_its_tests() {
    let testing = read("docs/testing.md");
    let table = testing.split("\n## Limits\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let (libraries, tests) = (rust_files(LIBRARIES), rust_files(SOURCES));
    let libraries: String = libraries.iter().map(|path| read(path)).collect();
    let tests: String = tests.iter().map(|path| read(path)).collect();
    let mut found = Vec::new();
    for limit in between(&read("sync-core/src/limits.rs"), "pub const ", ":") {
        if !rows.iter().any(|row| row[0].trim_matches('`') == limit) {
            found.push(format!("{limit} is not in the table of limits of docs/testing.md"));
        }
    }
    for row in &rows {
        let limit = row[0].trim_matches('`');
        if !libraries.contains(&format!("const {limit}:")) {
            found.push(format!("{limit} is no constant any more"));
        }
        let named: Vec<String> = row.get(2).map(|tests| between(tests, "`", "`")).unwrap_or_default();
        let named: Vec<&String> = named.iter().step_by(2).collect();
        if named.is_empty() {
            found.push(format!("{limit} has no test"));
        }
        let gone = named.into_iter().filter(|test| !tests.contains(&format!("fn {test}(")));
        found.extend(gone.map(|test| format!("there is no test {test} of {limit}")));
    }
    assert_none("limits", &found);
}

/// The lines of the tables of a page, as cells.
fn table_rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|---"));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The functions of a source that the test harness runs.
fn tests_of(source: &str) -> Vec<String> {
    let mut tests = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        if let Some((_, rest)) = line.split_once("fn ") {
            let name = rest.split('(').next().filter(|_| is_test);
            tests.extend(name.map(ToOwned::to_owned));
            is_test = false;
        }
    }
    tests
}

/// That a name stands in a source is not enough: it must be of a test, or of a scene that the simulator plays.
#[test]
fn every_case_of_a_folder_has_its_tests() {
    let page = read("docs/folder-semantics.md");
    let tests: BTreeSet<String> = rust_files(SOURCES).iter().flat_map(|path| tests_of(&read(path))).collect();
    let scenes = read("tests/src/sim/check_more.rs");
    let is_scene =
        |name: &str| [format!("Self::{name},"), format!("world.{name}(a")].iter().any(|it| scenes.contains(it));
    let runs = |test: &String| tests.contains(test) || is_scene(test);
    let mut found = Vec::new();
    let mut numbers = Vec::new();
    for row in table_rows(&page) {
        let (case, tests) = (row[0], row.last().copied().unwrap_or_default());
        if tests == "tests" {
            continue;
        }
        numbers.extend(case.parse::<usize>());
        let named: Vec<String> = between(tests, "`", "`").into_iter().step_by(2).collect();
        if named.is_empty() && !row.concat().to_lowercase().contains("not yet") {
            found.push(format!("{case} names no test, and does not say \"not yet\""));
        }
        let gone = named.into_iter().filter(|test| !runs(test));
        found.extend(gone.map(|test| format!("there is no test {test} of {case}")));
    }
    if numbers != (1..=100).collect::<Vec<_>>() {
        found.push(format!("the cases are not 1 to 100: {numbers:?}"));
    }
    assert_none("docs/folder-semantics.md", &found);
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let machine = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut found = Vec::new();
    for path in files("") {
        // What is not text names nothing.
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (index, line) in text.lines().enumerate() {
            found.extend(
                machine
                    .iter()
                    .filter(|place| line.contains(**place))
                    .map(|place| format!("{path}:{}: {place}", index + 1)),
            );
        }
    }
    assert_none("absolute paths of one machine", &found);
}
