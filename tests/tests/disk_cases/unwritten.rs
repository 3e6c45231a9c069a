//! Changes that the documents have and the disk does not yet: this device's own, and those that come in between.

use sync_core::{
    doc::entry::EntryOp,
    folder::rounds::restoring::{Asked, Step},
    tree::RelPath,
};

use crate::rounds::Folder;

#[test]
fn a_save_before_an_own_change_came_to_the_disk_holds_and_stops_nothing() {
    let mut folder = Folder::new();
    folder.put("f", "one\ntwo\nthree\n");
    folder.put("gone", "gone\n");
    folder.put("moved", "one\n");
    folder.put("exec", "one\n");
    folder.rest();
    let docs = ["f", "gone", "moved", "exec"].map(|name| folder.doc(name));
    // As the end of a conflict does that cannot be written at once: under this device's own log.
    for doc in docs {
        folder.edit_elsewhere(doc, "resolved\n");
    }
    folder.put("f", "one\ntwo\nthree\nfour\n");
    std::fs::remove_file(folder.at("gone")).expect("removes");
    std::fs::rename(folder.at("moved"), folder.at("moved away")).expect("renames");
    let bits = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.at("exec"), bits).expect("is ours");
    folder.look_at(&["f", "gone", "moved", "moved away", "exec"]);
    assert_eq!(folder.read("f"), "one\ntwo\nthree\nfour\n", "what its user saved last");
    assert_eq!((folder.read("moved away"), folder.read("exec")), ("resolved\n".into(), "resolved\n".into()));
    folder.agrees();
    // And it goes on.
    folder.put("f", "one\ntwo\nthree\nfour\nfive\n");
    folder.put("new", "new\n");
    folder.rest();
    folder.agrees();
}

#[test]
fn what_comes_while_a_conflict_is_ended_comes_to_the_disk() {
    let mut folder = Folder::new();
    folder.put("f", "one\n");
    folder.rest();
    let doc = folder.doc("f");
    // It is committed, and the folder has not heard of it.
    let told = folder.rounds.next_ms();
    folder.edit_unheard(doc, "one\ntwo\n");
    assert_eq!(folder.rounds.next_ms(), told);
    let path = RelPath::parse("f").expect("a path");
    let steps = [Step::Registers { doc, ops: vec![EntryOp::Name("g".into())] }];
    let asked = folder.rounds.carry_out(&mut folder.device, &[path], &steps).expect("the engine runs");
    assert!(matches!(asked, Asked::NotYet(_)), "{asked:?}");
    folder.rounds.documents_changed([doc]);
    folder.device.settled = None;
    folder.rest();
    assert_eq!(folder.read("f"), "one\ntwo\n");
    let path = RelPath::parse("f").expect("a path");
    let asked = folder.rounds.carry_out(&mut folder.device, &[path], &steps).expect("the engine runs");
    assert_eq!(asked, Asked::Done(()));
    folder.rest();
    assert_eq!(folder.read("g"), "one\ntwo\n");
    folder.agrees();
}
