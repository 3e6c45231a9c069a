//! Entries with names, links and places that would lead out of the folder: they are stored, and never followed.

use std::{collections::BTreeSet, fs, path::Path};

use sync_core::{
    commit::Item,
    doc::entry::{RootContent, RootSpec},
    ids::DocId,
};
use sync_tests::{
    disk::{Seen, tree},
    hostile::{
        bench::{Bench, until},
        client::within,
        standing::{Member, root_of},
    },
};

use super::script;

const WHAT: &[u8] = b"must not be here\n";

fn file(member: &Member, parent: Option<DocId>, name: &str) -> Item {
    root_of(&RootSpec::file(member.space, parent, name, RootContent::Inline(WHAT.to_vec())))
}

/// Everything beside the folders: homes aside, which change by themselves.
fn outside(bench: &Bench) -> BTreeSet<String> {
    let dir = bench.a.daemon.folder.parent().expect("has a parent");
    let names = fs::read_dir(dir).expect("lists").map(|entry| entry.expect("lists").file_name());
    names.map(|name| name.into_string().expect("is text")).collect()
}

/// Takes items in and waits until both folders have gone past them.
async fn plant(bench: &mut Bench, member: &mut Member, mut items: Vec<Item>) {
    let last = format!("behind {}.txt", member.client.device().short());
    items.push(file(member, None, &last));
    let replica = member.replica();
    let forge = member.forge(items);
    let mut wire = member.send(&bench.a.address, &[forge.sign()]).await;
    member.until_taken(&mut wire, replica, 1).await;
    let (a, b) = (bench.a.daemon.folder.join(&last), bench.b.daemon.folder.join(&last));
    within("the last of the entries", until(|| a.exists() && b.exists())).await;
    bench.pair_syncs().await;
}

fn is_planted(path: &Path) -> bool {
    path.is_file() && fs::read(path).is_ok_and(|bytes| bytes == WHAT)
}

#[test]
fn names_that_lead_elsewhere_lead_nowhere() {
    script(async |bench| {
        let mut member = bench.member().await;
        let before = outside(bench);
        let long = "x".repeat(256);
        let names = [
            "..",
            ".",
            "",
            "../escaped",
            "../../escaped",
            "/escaped",
            "a/b",
            "a/../../escaped",
            "nul\0byte",
            ".kith",
            ".KITH",
            ".git",
            ".Git",
            ".hg",
            ".svn",
            "..\u{0}",
            &long,
        ];
        let items = names.iter().map(|name| file(&member, None, name)).collect();
        plant(bench, &mut member, items).await;
        assert_eq!(outside(bench), before);
        for folder in [&bench.a.daemon.folder, &bench.b.daemon.folder] {
            let planted: Vec<_> = tree(folder).into_keys().filter(|path| is_planted(&folder.join(path))).collect();
            let wanted = |path: &&std::path::PathBuf| !path.to_string_lossy().starts_with("behind ");
            assert_eq!(planted.iter().filter(wanted).count(), 0, "{planted:?}");
            assert!(folder.join(".kith").is_dir() && !folder.join(".git").exists());
        }
    });
}

#[test]
fn places_that_lead_elsewhere_lead_nowhere() {
    script(async |bench| {
        let mut member = bench.member().await;
        let before = outside(bench);
        let target = bench.a.daemon.folder.parent().expect("has a parent").to_str().expect("is text").to_owned();
        let doc = |item: &Item| item.doc();
        let up = root_of(&RootSpec::dir(member.space, None, ".."));
        let state = root_of(&RootSpec::dir(member.space, None, ".kith"));
        let link = root_of(&RootSpec::link(member.space, None, "out", &target));
        let dots = root_of(&RootSpec::link(member.space, None, "dots", "../"));
        let plain = file(&member, None, "plain.txt");
        let mut items = vec![
            file(&member, Some(doc(&up)), "under dots"),
            file(&member, Some(doc(&state)), "folder"),
            file(&member, Some(doc(&link)), "through a link"),
            file(&member, Some(doc(&dots)), "through dots"),
            file(&member, Some(doc(&plain)), "under a file"),
            file(&member, Some(DocId([0xee; 32])), "under nothing"),
            // A directory of the link's name, and something in it: one of the two gets another name.
            root_of(&RootSpec::dir(member.space, None, "out")),
        ];
        let dir = doc(items.last().expect("was put"));
        items.push(file(&member, Some(dir), "in the directory"));
        items.extend([up, state, link, dots, plain]);
        plant(bench, &mut member, items).await;
        assert_eq!(outside(bench), before);
        for folder in [&bench.a.daemon.folder, &bench.b.daemon.folder] {
            let marker = fs::read_to_string(folder.join(".kith/folder")).expect("the marker stays");
            assert_eq!(marker.trim(), bench.space.to_string());
            for (path, seen) in tree(folder) {
                // What stands behind a link is not in the tree: nothing went through one.
                assert!(!matches!(seen, Seen::Link(_)) || folder.join(&path).is_symlink());
            }
        }
    });
}

#[test]
fn directories_without_end_end() {
    script(async |bench| {
        let mut member = bench.member().await;
        let mut items = Vec::new();
        let mut parent = None;
        for depth in 0..180 {
            let dir = root_of(&RootSpec::dir(member.space, parent, &format!("deep {depth}")));
            parent = Some(dir.doc());
            items.push(dir);
        }
        items.push(file(&member, parent, "at the bottom"));
        plant(bench, &mut member, items).await;
        let deepest = tree(&bench.b.daemon.folder).into_keys().map(|path| path.components().count()).max();
        assert!(deepest.is_some_and(|deepest| deepest <= 130), "{deepest:?}");
        bench.retire();
    });
}

#[test]
fn documents_that_are_no_entries_do_no_harm() {
    script(async |bench| {
        let mut member = bench.member().await;
        let spec = RootSpec::file(member.space, None, "x", RootContent::Inline(WHAT.to_vec()));
        let chunk = sync_tests::chunk::Parts::read(&spec.build().bytes);
        let actor = member.replica().0.to_vec();
        // Its own actor may write any root; the schema is then not what any reader expects.
        let strange: Vec<Item> = [b"".as_slice(), b"kith/entry/9", b"\xff\xfe", b"kith/promotion/1"]
            .into_iter()
            .map(|message| {
                let chunk = chunk.with(|chunk| (chunk.actor, chunk.message) = (actor.clone(), message.to_vec()));
                Item::change(DocId(chunk.hash()), chunk.bytes())
            })
            .collect();
        let before = bench.state().await;
        for item in strange {
            let forge = member.forge(vec![item]);
            let mut wire = member.send(&bench.a.address, &[forge.sign()]).await;
            let replica = member.replica();
            // Taken in or refused: both are well, as long as nobody comes to harm.
            while let Some(frame) = wire.hear().await {
                if let Ok(sync_core::wire::Message::Durable { vector, .. }) = sync_core::wire::decode(&frame)
                    && vector.len_of(&replica) > 0
                {
                    member = bench.member().await;
                    break;
                }
            }
        }
        bench.pair_syncs().await;
        assert_eq!(bench.state().await.files, before.files + 2, "the files of the pair, and no other");
    });
}
