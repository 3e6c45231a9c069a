//! More of what must hold: what a device says of others is so, forged commits are refused, and in the end a script of
//! two devices whose outcome is known to the letter.
//!
//! [`check`](super::check) compares devices with each other; a fault that all of them share, or that only shows when
//! somebody means harm, is for here.

use sync_core::{
    commit::{Body, Header, Item, SecretKey, Signed},
    doc::{
        Document,
        entry::{EntryOp, RootContent, RootSpec},
    },
    engine::{Command, Effect, Engine, Input, Now, Outcome, SessionId, Ticket},
    ids::{CommitHash, DeviceId, DocId, InviteKey, ReplicaId, SpaceId, context, derive},
    limits,
    member::{Role, prove_invite},
    store::Edit,
    tree::RelPath,
    version::{Tip, VersionVector},
    wire::{self, Message, SpaceHello},
};

use super::{
    check::Violation,
    fs::{OpenHow, UserOp, WatchFaults},
    rng::Rng,
    world::World,
};

/// Seeds that together play all scenes of the script.
const SCENE_TURNS: u64 = 6;
/// Rounds of healing in which devices without faults must agree again.
const SETTLE_ROUNDS: u32 = 6;
/// Calls of the folder code into a write at which the script takes the power away.
const CRASH_CALLS: [u64; 6] = [3, 5, 7, 8, 9, 11];
/// The step of time stamps within which two saves look alike.
const COARSE_NS: i64 = 10_000_000;
/// Bytes of a hello, an answer to it and what else two equal devices tell each other, apart from their vectors.
const GREETING_BYTES: u64 = 600;
/// Bytes of a replica in a vector, in two messages and some.
const TIP_BYTES: u64 = 150;

/// A part of the script, of two devices.
type Scene = fn(&mut World, usize, usize) -> Result<(), Violation>;

impl World {
    // ---- after every step ----

    pub(super) fn check_more_step(&self) -> Result<(), Violation> {
        for index in 0..self.peers.len() {
            self.settled_means_settled(index)?;
            self.durable_means_durable(index)?;
        }
        Ok(())
    }

    /// A device that says that its folder agrees has nothing left to read, to write or to fetch.
    fn settled_means_settled(&self, index: usize) -> Result<(), Violation> {
        let peer = &self.peers[index];
        let rounds = peer.process.as_ref().and_then(|process| process.rounds.as_ref());
        let (Some(rounds), Some(status)) = (rounds, peer.status(&self.space)) else { return Ok(()) };
        let report = rounds.report();
        if status.settled && (report.busy || report.lacking > 0 || report.halted.is_some()) {
            return Err(self.violation("settled means settled", &format!("at {index}: {report:?}")));
        }
        Ok(())
    }

    /// What a device counts as on a peer's disk is there, whatever happened to the peer.
    fn durable_means_durable(&self, index: usize) -> Result<(), Violation> {
        // Of copies and restored stores nobody knows which one is meant.
        if self.profile.restore || self.profile.clone {
            return Ok(());
        }
        let Some(status) = self.peers[index].status(&self.space) else { return Ok(()) };
        for told in status.peers.iter().filter(|told| told.durable_here) {
            let other = self.peers.iter().find(|peer| peer.device() == told.device);
            let Some(held) = other.and_then(|peer| peer.status(&self.space)) else { continue };
            if !held.vector.covers(&status.vector) {
                let what =
                    format!("{index} says that {} has {:?}, which has {:?}", told.name, status.vector, held.vector);
                return Err(self.violation("durable means durable", &what));
            }
        }
        Ok(())
    }

    // ---- in the end ----

    pub(super) fn check_more_end(&mut self) -> Result<(), Violation> {
        self.the_root_is_that_of_the_documents()?;
        self.two_devices_do_what_was_written()?;
        self.forged_commits_are_refused()?;
        self.a_used_invite_lets_nobody_in()
    }

    /// The root is the sum over all documents, made anew from the store.
    fn the_root_is_that_of_the_documents(&self) -> Result<(), Violation> {
        for index in 0..self.peers.len() {
            let Some(status) = self.peers[index].status(&self.space) else { continue };
            let (handle, snapshot) = self.snapshot(index)?;
            let mut sum = [0_u8; 32];
            let space = self.space;
            let listed = snapshot.each_document(handle, |doc, row| {
                let mut parts: Vec<&[u8]> = vec![&space.0, &doc.0];
                parts.extend(row.heads.iter().map(|head| head.0.as_slice()));
                let mut carry = 0_u16;
                for (byte, term) in sum.iter_mut().zip(derive(context::ROOT, &parts)) {
                    let total = u16::from(*byte) + u16::from(term) + carry;
                    *byte = (total & 0xff) as u8;
                    carry = total >> 8;
                }
            });
            listed.map_err(|error| self.violation("stores can be read", &error.to_string()))?;
            if sum != status.root {
                return Err(self.violation("the root is that of the documents", &format!("at {index}")));
            }
        }
        Ok(())
    }

    // ---- the script ----

    /// Two devices and their users do things whose outcome is known; the others take part.
    fn two_devices_do_what_was_written(&mut self) -> Result<(), Violation> {
        let alone = |index: &usize| self.copies(*index).len() == 1;
        let usable = |index: &usize| {
            let peer = &self.peers[*index];
            let runs = peer.process.as_ref().is_some_and(|process| process.rounds.is_some());
            peer.has_folder && !peer.reads_only && runs
        };
        let writers: Vec<usize> = (0..self.peers.len()).filter(alone).filter(usable).collect();
        let &[a, b, ..] = writers.as_slice() else { return Ok(()) };
        // A user's rules of what is ignored may cover anything; the script's names must be free too.
        let taken = self.peers[a].fs.paths().iter().any(|(path, _)| path.to_string().starts_with("script"));
        if taken {
            return Ok(());
        }
        // A seed plays two scenes: all of them would take twice the time of everything else.
        let scenes: [Scene; 12] = [
            Self::both_sides_are_kept,
            Self::a_crash_in_a_write_doubles_nothing,
            |world, a, _| world.lost_events_are_made_up_for(a),
            Self::what_a_write_finds_is_taken_in,
            Self::a_save_in_a_write_is_kept,
            |world, a, _| world.two_saves_of_one_moment_are_seen(a),
            |world, a, _| world.a_long_history_is_read_whole(a),
            Self::what_is_displaced_is_kept,
            Self::a_copy_is_what_it_copies,
            |world, a, _| world.a_failed_turn_tells_nothing(a),
            |world, a, b| world.a_fork_costs_nobody_an_edit(a, b),
            Self::equals_only_say_hello,
        ];
        // What most of them are about.
        self.put(a, "script.txt", "one\ntwo\nthree\n");
        self.settle()?;
        let turn = self.seed % SCENE_TURNS;
        for (_, scene) in (0_u64..).zip(scenes).filter(|(index, _)| index % SCENE_TURNS == turn) {
            scene(self, a, b)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Violation> {
        for _ in 0..SETTLE_ROUNDS {
            self.heal_round()?;
            if self.differences().is_ok() {
                return Ok(());
            }
        }
        let difference = self.differences().err().unwrap_or_default();
        Err(self.violation("quiet devices agree soon", &difference))
    }

    fn part_all(&mut self) -> Result<(), Violation> {
        for a in 0..self.peers.len() {
            for b in 0..a {
                self.cut(a, b)?;
            }
        }
        Ok(())
    }

    /// Two rounds some seconds apart: what a user did is in commits then.
    fn take_in(&mut self, index: usize) -> Result<(), Violation> {
        for _ in 0..3 {
            self.quiet_round(index)?;
        }
        Ok(())
    }

    fn put(&mut self, index: usize, name: &str, text: &str) {
        for op in save(name, text) {
            let _shows_in_what_is_expected = self.peers[index].fs.user(&op);
        }
    }

    fn text(&self, index: usize, name: &str) -> String {
        let bytes = self.peers[index].fs.read(&RelPath::root().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn expect(&self, rule: &'static str, index: usize, name: &str, wanted: &str) -> Result<(), Violation> {
        let found = self.text(index, name);
        if found == wanted {
            return Ok(());
        }
        Err(self.violation(rule, &format!("{name} at {index} is {found:?} instead of {wanted:?}")))
    }

    fn both_sides_are_kept(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        self.put(a, "script.txt", "one\ntwo\nthree\nfour\nfive\n");
        self.put(a, "script gone.txt", "to be deleted\n");
        self.take_in(a)?;
        self.settle()?;
        self.part_all()?;
        self.put(a, "script.txt", "of a\none\ntwo\nthree\nfour\nfive\n");
        self.put(a, "script clash.txt", "of a, too\n");
        let gone = RelPath::root().join("script gone.txt");
        let _shows_below = self.peers[a].fs.user(&UserOp::Remove(gone));
        self.take_in(a)?;
        // The commits of a reach b before its user saves, and its folder does a round only then.
        self.connect(a, b)?;
        self.deliver_all()?;
        self.put(b, "script.txt", "one\ntwo\nthree\nfour\nfive\nof b\n");
        self.put(b, "script clash.txt", "of b, too\n");
        self.take_in(b)?;
        self.settle()?;
        for index in [a, b] {
            self.expect("both sides are kept", index, "script.txt", "of a\none\ntwo\nthree\nfour\nfive\nof b\n")?;
            if self.peers[index].fs.read(&RelPath::root().join("script gone.txt")).is_some() {
                return Err(self.violation("a delete reaches everybody", &format!("not {index}")));
            }
        }
        Ok(())
    }

    fn a_crash_in_a_write_doubles_nothing(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let mut wanted = self.text(a, "script.txt");
        let own =
            |world: &Self| world.peers[b].status(&world.space).map(|status| status.vector.len_of(&status.replica));
        for call in CRASH_CALLS {
            let before = own(self);
            wanted.push_str(&format!("before call {call}\n"));
            self.put(a, "script.txt", &wanted);
            self.take_in(a)?;
            self.connect(a, b)?;
            self.deliver_all()?;
            self.peers[b].fs.cut_power_at(call);
            self.quiet_round(b)?;
            if self.peers[b].process.is_none() {
                // The next edit is there before anybody looks at the disk again.
                wanted.push_str(&format!("after call {call}\n"));
                self.put(a, "script.txt", &wanted);
                self.take_in(a)?;
                self.start(b)?;
                self.connect(a, b)?;
                self.deliver_all()?;
            } else {
                // The round made fewer calls.
                self.peers[b].fs.restart();
                self.peers[b].fs.watch();
            }
            self.settle()?;
            self.expect("a crash doubles nothing", b, "script.txt", &wanted)?;
            // What it wrote itself is nobody's edit, even where the same edit of two sides shows once.
            if own(self) != before {
                let what = format!("{b} had {before:?} commits of its own and made it {:?} at call {call}", own(self));
                return Err(self.violation("a crash doubles nothing", &what));
            }
        }
        Ok(())
    }

    fn lost_events_are_made_up_for(&mut self, a: usize) -> Result<(), Violation> {
        self.peers[a].fs.set_watch_faults(WatchFaults { queue_max: 0, ..WatchFaults::default() });
        let before = self.peers[a].status(&self.space).map(|status| status.arrivals);
        self.put(a, "script.txt", "all new\n");
        self.take_in(a)?;
        self.peers[a].fs.set_watch_faults(WatchFaults::default());
        if self.peers[a].status(&self.space).map(|status| status.arrivals) == before {
            return Err(self.violation("lost events are made up for", &format!("at {a}")));
        }
        self.settle()
    }

    /// A save that no event tells of shows when the folder wants to write over it.
    fn what_a_write_finds_is_taken_in(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        self.put(a, "script.txt", "one\ntwo\nthree\n");
        self.settle()?;
        self.peers[b].fs.set_watch_faults(WatchFaults { lost_per_mille: 1000, ..WatchFaults::default() });
        self.put(b, "script.txt", "one\ntwo\nthree\nof b\n");
        self.peers[b].fs.set_watch_faults(WatchFaults::default());
        self.put(a, "script.txt", "of a\none\ntwo\nthree\n");
        self.settle()?;
        self.expect("what a write finds is taken in", a, "script.txt", "of a\none\ntwo\nthree\nof b\n")
    }

    /// A user saves while the folder is in the middle of writing the same file.
    fn a_save_in_a_write_is_kept(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        for call in CRASH_CALLS {
            let before = self.text(a, "script.txt");
            self.put(a, "script.txt", &format!("of a, {call}\n{before}"));
            self.take_in(a)?;
            self.connect(a, b)?;
            self.deliver_all()?;
            // Of another length: a save of the same one within the step of a time stamp cannot be told from our write.
            let line = format!("by the user of b, {call}\n");
            self.peers[b].fs.schedule(call, save("script.txt", &format!("{before}{line}")));
            self.quiet_round(b)?;
            self.settle()?;
            let found = self.text(a, "script.txt");
            if !found.contains(&line) {
                let what = format!("{b} saved {line:?} before call {call}, and there is {found:?}");
                return Err(self.violation("a save in a write is kept", &what));
            }
        }
        Ok(())
    }

    /// The second save changes neither length nor time stamp.
    fn two_saves_of_one_moment_are_seen(&mut self, a: usize) -> Result<(), Violation> {
        let mut before = 0;
        self.peers[a].fs.configure(|config| before = std::mem::replace(&mut config.granularity_ns, COARSE_NS));
        self.put(a, "script.txt", "the first\n");
        self.round(a)?;
        self.put(a, "script.txt", "the other\n");
        self.take_in(a)?;
        self.peers[a].fs.configure(|config| config.granularity_ns = before);
        self.settle()?;
        self.others_show("two saves of one moment are seen", a, "script.txt", "the other\n")
    }

    fn others_show(&self, rule: &'static str, index: usize, name: &str, wanted: &str) -> Result<(), Violation> {
        for other in (0..self.peers.len()).filter(|other| *other != index && self.peers[*other].has_folder) {
            self.expect(rule, other, name, wanted)?;
        }
        Ok(())
    }

    /// More changes than a snapshot waits for, and a start after it.
    fn a_long_history_is_read_whole(&mut self, a: usize) -> Result<(), Violation> {
        let mut wanted = self.text(a, "script.txt");
        for line in 0..limits::SNAPSHOT_EVERY_CHANGES + 3 {
            wanted.push_str(&format!("line {line} of many\n"));
            self.put(a, "script.txt", &wanted);
            self.quiet_round(a)?;
        }
        self.take_in(a)?;
        self.kill(a, false)?;
        self.start(a)?;
        wanted.push_str("after all\n");
        self.put(a, "script.txt", &wanted);
        self.settle()?;
        self.expect("a long history is read whole", a, "script.txt", &wanted)?;
        self.documents_are_equal()
    }

    /// One replaces bytes that the other's user saved, and that no document holds.
    fn what_is_displaced_is_kept(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let large = |letter: &str| format!("{letter}\0").repeat(limits::INLINE_BYTES_MAX);
        self.put(a, "script large.bin", &large("a"));
        self.settle()?;
        self.put(b, "script large.bin", &large("b"));
        self.settle()?;
        self.no_user_byte_is_lost()
    }

    /// One user edits a file that the other copies, and no event tells of it.
    fn a_copy_is_what_it_copies(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let large = "c\0".repeat(limits::INLINE_BYTES_MAX);
        self.put(a, "script original.bin", &large);
        self.settle()?;
        self.peers[b].fs.set_watch_faults(WatchFaults { lost_per_mille: 1000, ..WatchFaults::default() });
        self.put(b, "script original.bin", &large.to_uppercase());
        self.peers[b].fs.set_watch_faults(WatchFaults::default());
        self.put(a, "script copy.bin", &large);
        self.take_in(a)?;
        self.connect(a, b)?;
        self.deliver_all()?;
        self.quiet_round(b)?;
        if let Some(rounds) = self.peers[b].process.as_mut().and_then(|process| process.rounds.as_mut()) {
            rounds.rescan();
        }
        self.settle()?;
        self.expect("a copy is what it copies", b, "script copy.bin", &large)
    }

    fn equals_only_say_hello(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        self.part_all()?;
        let before = self.net.bytes.values().sum::<u64>();
        self.connect(a, b)?;
        self.deliver_all()?;
        let sent = self.net.bytes.values().sum::<u64>() - before;
        let replicas = self.peers[a].status(&self.space).map_or(0, |status| status.vector.len() as u64);
        if sent > GREETING_BYTES + TIP_BYTES * replicas {
            return Err(self.violation("equals only say hello", &format!("{a} and {b} exchanged {sent} bytes")));
        }
        Ok(())
    }

    // ---- those who mean harm ----

    fn a_used_invite_lets_nobody_in(&mut self) -> Result<(), Violation> {
        let (space, now_ms) = (self.space, self.now_ms);
        let secret = SecretKey::from_bytes(&[253; 32]);
        let key = InviteKey(secret.public());
        let life_ms = limits::INVITE_LIFE_MS_MAX;
        self.peers[0].command(now_ms, Command::Invite { space, key, role: Role::Writer, uses: 1, life_ms });
        let mut accepted = 0;
        for seed in [254, 255] {
            let device = SecretKey::from_bytes(&[seed; 32]).device();
            let proof = prove_invite(&secret, space, device);
            let name = format!("late {seed}");
            let turned = self.peers[0].command(now_ms, Command::Accept { space, invite: key, device, name, proof });
            let is_in = |effect: &Effect| matches!(effect, Effect::Done { outcome: Ok(Outcome::Accepted { .. }), .. });
            accepted += u32::from(turned.effects.iter().any(is_in));
        }
        if accepted == 1 {
            return Ok(());
        }
        Err(self.violation("an invite lets in as many as it says", &format!("{accepted} instead of 1")))
    }

    /// Commits that break one rule each are offered to a device that holds everything; a good one is taken in.
    fn forged_commits_are_refused(&mut self) -> Result<(), Violation> {
        let rule = "forged commits are refused";
        let (mut victim, ..) = self.replay(&mut Rng::new(self.seed))?;
        let host = self.peers[0].device();
        let (doc, root, good) = self.good_commit()?;
        let header = Header::decode(&good.header).map_err(|error| self.violation(rule, &error.to_string()))?;
        let mut offers = Offers { host, space: self.space, next: 2 };
        let mut unsigned = good.clone();
        unsigned.signature = [7; 64].into();
        if offers.is_taken(&mut victim, &unsigned, header.replica) {
            return Err(self.violation(rule, "one without its author's signature was taken in"));
        }
        if let Some((forged, replica)) = self.by_a_reader(&header, doc, &root)
            && offers.is_taken(&mut victim, &forged, replica)
        {
            return Err(self.violation("nothing unauthorised is held", "a reader's commit was taken in"));
        }
        if let Some((forged, replica)) = self.on_a_parent_that_is_not_there(&header, good.hash(), doc, &root)
            && offers.is_taken(&mut victim, &forged, replica)
        {
            return Err(self.violation(rule, "one whose parent is not here was taken in"));
        }
        if !offers.is_taken(&mut victim, &good, header.replica) {
            return Err(self.violation(rule, "and the good one, too"));
        }
        if let Some((forged, replica)) = self.on_what_it_has_not_seen(&header, doc, &root)
            && offers.is_taken(&mut victim, &forged, replica)
        {
            return Err(self.violation(rule, "one that depends on what is not in its past was taken in"));
        }
        Ok(())
    }

    /// Device 0 makes a file without a folder.
    fn good_commit(&mut self) -> Result<(DocId, Vec<u8>, Signed), Violation> {
        let root = RootSpec::file(self.space, None, "script forged.txt", RootContent::Inline(b"x".to_vec())).build();
        let doc = DocId::from(root.hash);
        let edits = vec![Edit { items: vec![Item::change(doc, root.bytes.clone())], writes: Vec::new() }];
        let (now_ms, space) = (self.now_ms, self.space);
        self.peers[0].turn(now_ms, vec![Input::Edit { space, edits, ticket: Ticket(0) }]);
        let own = self.peers[0].status(&self.space).map(|status| status.replica);
        let (handle, snapshot) = self.snapshot(0)?;
        let read = snapshot.replicas(handle).and_then(|logs| {
            let Some((replica, log)) = logs.into_iter().find(|(_, log)| Some(log.id) == own) else { return Ok(None) };
            let Some(row) = snapshot.commit_row(handle, replica, log.n)? else { return Ok(None) };
            Ok(Some(row.with_body(snapshot.body(handle, replica, log.n)?)))
        });
        match read {
            Ok(Some(signed)) => Ok((doc, root.bytes, signed)),
            other => Err(self.violation("stores can be read", &format!("{other:?}"))),
        }
    }

    /// The next commit of a device's log as it would make it, with another body.
    fn next_by(&self, index: usize, like: &Header, body: &Body) -> Option<(Signed, ReplicaId)> {
        let peer = &self.peers[index];
        let replica = peer.status(&self.space)?.replica;
        let n = self.peers[0].status(&self.space)?.vector.len_of(&replica);
        let encoded = body.encode().ok()?;
        // A log that has not begun would have to say whose it is.
        let header = Header {
            replica,
            n: n + 1,
            origin: None,
            body_hash: Body::hash(&encoded),
            body_len: encoded.len() as u32,
            ..like.clone()
        };
        let signed = Signed::create(&header, body, &peer.key).ok()?;
        (n > 0).then_some((signed, replica))
    }

    fn by_a_reader(&self, like: &Header, doc: DocId, root: &[u8]) -> Option<(Signed, ReplicaId)> {
        let body = Body::Changes(vec![Item::change(doc, root.to_vec())]);
        let reader = self.peers.iter().position(|peer| peer.reads_only)?;
        if let Some(forged) = self.next_by(reader, like, &body) {
            return Some(forged);
        }
        // Readers have no log as long as they keep to their role.
        let peer = &self.peers[reader];
        let replica = peer.status(&self.space)?.replica;
        let epoch = sync_core::ids::InstallEpoch([reader as u8; 16]);
        let origin = Some(sync_core::commit::Origin { device: peer.device(), epoch });
        let header = Header { replica, n: 1, origin, ..like.clone() };
        Some((Signed::create(&header, &body, &peer.key).ok()?, replica))
    }

    /// A good commit of a writer, of which a parent has not come yet.
    fn on_a_parent_that_is_not_there(
        &self,
        like: &Header,
        parent: CommitHash,
        doc: DocId,
        root: &[u8],
    ) -> Option<(Signed, ReplicaId)> {
        let mut like = like.clone();
        like.parents.push(parent);
        like.parents.sort_unstable();
        self.next_by(self.other_writer()?, &like, &Body::Changes(vec![Item::change(doc, root.to_vec())]))
    }

    /// Somebody but device 0 whose log is in the store of device 0.
    fn other_writer(&self) -> Option<usize> {
        (1..self.peers.len()).find(|index| {
            let peer = &self.peers[*index];
            let replica = peer.status(&self.space).map(|status| status.replica);
            let held = self.peers[0]
                .status(&self.space)
                .map_or(0, |status| replica.map_or(0, |replica| status.vector.len_of(&replica)));
            !peer.reads_only && held > 0 && self.copies(*index).len() == 1
        })
    }

    /// By a writer that has not seen the document that it changes.
    fn on_what_it_has_not_seen(&self, like: &Header, doc: DocId, root: &[u8]) -> Option<(Signed, ReplicaId)> {
        let writer = self.other_writer()?;
        let replica = self.peers[writer].status(&self.space)?.replica;
        let mut document = Document::from_changes([root]).ok()?;
        let heads = document.heads();
        let change = document.edit(replica, &heads, &[EntryOp::Name("script stolen.txt".into())]).ok()?;
        self.next_by(writer, like, &Body::Changes(vec![Item::change(doc, change.bytes)]))
    }
}

/// The steps of a program that saves in place.
fn save(name: &str, text: &str) -> [UserOp; 3] {
    let (fd, path) = (u64::MAX - 1, RelPath::root().join(name));
    let open = UserOp::Open { fd, path, how: OpenHow::Truncate };
    [open, UserOp::Write { fd, bytes: text.as_bytes().to_vec() }, UserOp::Close { fd }]
}

/// Offers commits, each over a connection of its own: the one before may have been closed.
struct Offers {
    host: DeviceId,
    space: SpaceId,
    next: u64,
}

impl Offers {
    fn is_taken(&mut self, victim: &mut Engine, signed: &Signed, replica: ReplicaId) -> bool {
        let held =
            |victim: &Engine| -> u64 { victim.status().first().map_or(0, |status| status.vector.len_of(&replica)) };
        let before = held(victim);
        let session = SessionId(self.next);
        self.next += 1;
        let space = self.space.tag(self.host);
        let vector: VersionVector = victim.status().first().map(|status| status.vector.clone()).unwrap_or_default();
        let theirs = vector.iter().map(|(replica, tip)| (*replica, Tip { ..*tip })).collect();
        let root = victim.status().first().map_or([0; 32], |status| status.root);
        let hello = SpaceHello { space, flags: 0, vector: theirs, root };
        let frame = |message: &Message| Input::Frame { session, bytes: wire::encode(message) };
        let inputs = vec![
            Input::SessionUp { session, peer: self.host },
            frame(&Message::Hello { spaces: vec![hello] }),
            frame(&Message::Commits { space, commits: vec![signed.clone()] }),
        ];
        let _whatever_it_says = victim.turn(Now { mono_ms: 2, wall_ms: 2 }, inputs);
        held(victim) > before
    }
}
