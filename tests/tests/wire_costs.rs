//! What an exchange costs, counted in frames and bytes, never timed.

use sync_core::{doc::promotion, preflight::ChangeHead};
use sync_tests::{author, cluster::Cluster};

fn populated(documents: usize) -> Cluster {
    let mut cluster = Cluster::new(2);
    for index in 0..documents {
        cluster.create(0, None, &format!("file {index}"), Some(&format!("text of {index}\n").repeat(10)));
    }
    cluster.heal();
    cluster.assert_synced();
    cluster.disconnect(0, 1);
    cluster.bytes_sent = 0;
    cluster.frames_sent = 0;
    cluster
}

#[test]
fn equal_peers_take_one_round_trip_and_256_bytes_however_many_documents() {
    let costs = [10, 10_000].map(|documents| {
        let mut cluster = populated(documents);
        cluster.connect(0, 1);
        cluster.deliver_all();
        cluster.assert_synced();
        (cluster.frames_sent, cluster.bytes_sent)
    });
    for (frames, bytes) in costs {
        assert_eq!(frames, 2, "one hello each way");
        assert!(bytes <= 256, "{bytes} bytes");
    }
}

#[test]
fn one_changed_file_among_10_000_takes_less_than_2_kb() {
    let mut cluster = populated(10_000);
    let doc = cluster.docs(0)[0];
    let text = cluster.text(0, doc).expect("is a text");
    cluster.write(0, doc, &(text + "one more line\n"));
    cluster.connect(0, 1);
    cluster.deliver_all();
    cluster.assert_synced();
    assert!(cluster.bytes_sent <= 2048, "{} bytes", cluster.bytes_sent);
}

#[test]
fn an_imported_file_is_summed_up_by_no_row_before_it_is_edited() {
    let mut cluster = populated(10);
    let (space, doc) = (cluster.space, cluster.docs(0)[0]);
    let root_actor = |cluster: &Cluster, at: usize| {
        let mut library = author::library(cluster.engine(at), &space).expect("reads");
        let row = library.row(&doc).expect("reads").expect("is held");
        let head = ChangeHead::read(&library.root_change(&row).expect("reads")).expect("reads");
        (row.handle, head.actor.try_into().expect("ours have 16 bytes"))
    };
    let rows = |cluster: &Cluster, at: usize| {
        let (handle, root) = root_actor(cluster, at);
        let snapshot = cluster.engine(at).store().read().expect("reads");
        [root, promotion::actor(doc.into()).0].map(|actor| snapshot.made(handle, &actor, 1).expect("reads").is_some())
    };
    for at in 0..2 {
        assert_eq!(rows(&cluster, at), [false, false]);
    }
    cluster.write(0, doc, "another text\n");
    cluster.heal();
    for at in 0..2 {
        assert_eq!(rows(&cluster, at), [false, true], "the promotion has a row, the root still has none");
    }
}

#[test]
fn a_device_that_catches_up_from_one_peer_is_not_sent_a_second_copy_by_another() {
    let mut cluster = Cluster::new(3);
    cluster.heal();
    cluster.disconnect(0, 2);
    cluster.disconnect(1, 2);
    for index in 0..200 {
        cluster.create(0, None, &format!("file {index}"), Some(&format!("text of {index}\n").repeat(50)));
    }
    cluster.heal_pair(0, 1);
    cluster.bytes_sent = 0;
    cluster.connect(0, 2);
    // 2 hears what 0 has before it says hello to 1.
    cluster.deliver(0, 2);
    cluster.connect(1, 2);
    cluster.deliver_all();
    cluster.assert_synced();
    let all = cluster.log_bytes(0);
    assert!(cluster.bytes_sent < all * 3 / 2, "{} bytes were sent for a log of {all}", cluster.bytes_sent);
}
