//! Every pattern ends with the bytes that were meant, and the journal knows them.

use super::*;
use crate::sim::{
    fs::{Config, WatchEvent},
    rng::Rng,
};

fn fs() -> SimFs {
    SimFs::new(Config::default(), 1_700_000_000_000_000_000, &Rng::new(1))
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).expect("a path of a test")
}

fn save(editor: Editor, old: Option<&[u8]>, bytes: &[u8]) -> Action {
    Action::Save(Save { path: path("f"), old: old.map(<[u8]>::to_vec), bytes: bytes.to_vec(), editor })
}

fn done(fs: &SimFs, action: &Action) {
    let mut job = Job::new(action, 0);
    job.run(fs);
    assert_eq!(job.failures(), 0, "{action:?}");
}

fn names(fs: &SimFs) -> Vec<String> {
    fs.paths().into_iter().map(|(path, _)| path.to_string()).collect()
}

#[test]
fn every_editor_leaves_one_file_with_the_bytes_meant() {
    for editor in EDITORS {
        let fs = fs();
        done(&fs, &save(editor, None, b"one\ntwo\n"));
        assert_eq!(fs.read(&path("f")).as_deref(), Some(&b"one\ntwo\n"[..]), "{editor:?}");
        let action = save(editor, Some(b"one\ntwo\n"), b"one\n2\nthree\n");
        done(&fs, &action);
        assert_eq!(fs.read(&path("f")).as_deref(), Some(&b"one\n2\nthree\n"[..]), "{editor:?}");
        assert_eq!(names(&fs), ["f"], "{editor:?}");
        let left: Vec<_> = fs.saved().into_iter().filter(|saved| saved.ended_ns.is_none()).collect();
        assert_eq!(left.len(), 1, "{editor:?}: {left:?}");
        assert_eq!(
            vec![left[0].bytes.to_vec()],
            action.saved().into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>()
        );
    }
}

#[test]
fn editors_that_replace_a_file_change_its_inode_and_others_do_not() {
    use sync_core::folder::Fs as _;
    for editor in EDITORS {
        let fs = fs();
        done(&fs, &save(Editor::Plain, None, b"old"));
        let before = fs.look(&path("f")).expect("looks").expect("is there").stat;
        done(&fs, &save(editor, Some(b"old"), b"new"));
        let after = fs.look(&path("f")).expect("looks").expect("is there").stat;
        let replaces = matches!(editor, Editor::Vim | Editor::Emacs | Editor::Sed | Editor::JetBrains);
        assert_eq!(!before.same_file(&after), replaces, "{editor:?}");
        assert!(!before.same_content(&after), "{editor:?}");
    }
}

#[test]
fn the_watcher_hears_that_each_save_is_over() {
    for editor in EDITORS {
        let fs = fs();
        done(&fs, &save(Editor::Plain, None, b"old"));
        fs.watch();
        done(&fs, &save(editor, Some(b"old"), b"new"));
        let events = fs.events();
        assert!(events.contains(&WatchEvent::Hint { path: path("f"), closed: true }), "{editor:?}: {events:?}");
    }
}

#[test]
fn a_slow_writer_shows_halves_and_a_late_one_nothing() {
    for (editor, steps, seen) in [(Editor::Slow, 3, &b"12"[..]), (Editor::Late, 3, b"")] {
        let fs = fs();
        done(&fs, &save(Editor::Plain, None, b"old"));
        let mut job = Job::new(&save(editor, Some(b"old"), b"1234"), 0);
        for _ in 0..steps {
            job.step(&fs);
        }
        assert_eq!(fs.read(&path("f")).as_deref(), Some(seen), "{editor:?}");
        job.run(&fs);
        assert_eq!(fs.read(&path("f")).as_deref(), Some(&b"1234"[..]), "{editor:?}");
    }
}

#[test]
fn a_program_whose_step_fails_closes_and_gives_up() {
    let fs = fs();
    done(&fs, &save(Editor::Plain, None, b"old"));
    let mut job = Job::new(&save(Editor::JetBrains, Some(b"old"), b"new"), 0);
    job.step(&fs);
    fs.user(&UserOp::Remove(path("f"))).expect("removes");
    job.run(&fs);
    assert_eq!(job.failures(), 1);
    assert_eq!(names(&fs), ["f___jb_tmp___"]);
}

#[test]
fn trees_move_swap_and_go() {
    let fs = fs();
    done(&fs, &Action::MakeDirs(path("d/e")));
    done(&fs, &Action::MakeDirs(path("d/e")));
    done(&fs, &Action::Copy { to: path("d/e/x"), bytes: b"x".to_vec() });
    done(&fs, &Action::Copy { to: path("y"), bytes: b"y".to_vec() });
    done(&fs, &Action::Swap { a: path("d/e/x"), b: path("y") });
    assert_eq!(fs.read(&path("y")).as_deref(), Some(&b"x"[..]));
    done(&fs, &Action::Rename { from: path("d/e"), to: path("E") });
    assert_eq!(fs.read(&path("E/x")).as_deref(), Some(&b"y"[..]));
    done(&fs, &Action::Append { path: path("y"), tail: b"!".to_vec() });
    assert!(fs.saved().iter().any(|saved| **saved.bytes == *b"x!"));
    done(&fs, &Action::Recreate { path: path("y"), bytes: b"z".to_vec() });
    done(&fs, &Action::SetExec { path: path("y"), exec: true });
    done(&fs, &Action::Link { path: path("l"), target: "y".into() });
    let delete =
        Action::Delete(vec![(path("E/x"), FoundKind::File), (path("E"), FoundKind::Dir), (path("l"), FoundKind::Link)]);
    done(&fs, &Action::Burst(vec![delete, Action::Touch(path("y"))]));
    assert_eq!(names(&fs), ["d", "y"]);
}

#[test]
fn random_actions_mostly_work_and_one_seed_is_one_run() {
    let run = |seed| {
        let (fs, mut rng) = (fs(), Rng::new(seed));
        let (mut failures, mut largest) = (0, 0);
        for nth in 0..300 {
            let action = random_action(&mut rng, &fs);
            let mut job = Job::new(&action, nth * 1000);
            job.run(&fs);
            failures += job.failures();
            largest = largest.max(fs.paths().len());
        }
        assert!(failures < 150, "{failures} steps failed");
        assert!(largest > 10, "{largest} paths");
        for saved in fs.saved().iter().filter(|saved| saved.ended_ns.is_none()) {
            assert!(fs.contents().contains(&saved.bytes), "{} is lost", saved.path);
        }
        (fs.tree(), fs.saved().len())
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
