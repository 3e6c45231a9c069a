//! Every queue, length, count and wait has its bound here, with the reason.
//!
//! A bound is checked before memory is taken for what it bounds. Times are milliseconds.

/// Longest frame between two peers. One commit of the largest body, incompressible, fits with its header.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Longest body of a commit before compression: the frame less room for the header and the envelope.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - 16 * 1024;

/// Most documents one commit may touch: one turn of an import, and a bound on what one signature makes us do.
pub const BODY_ITEMS_MAX: usize = 1024;

/// Bodies above this travel and rest compressed; below it zstd's own header eats the gain.
pub const COMPRESS_ABOVE_BYTES: usize = 256;

/// Longest encoded header: sixteen parents and sixteen auth hashes are 1 KiB of it.
pub const HEADER_BYTES_MAX: usize = 2048;

/// Most parents of a commit; a writer that holds more heads joins them with empty commits first.
pub const PARENTS_MAX: usize = 16;

/// Most membership commits named by a header.
pub const AUTH_MAX: usize = 16;

/// Most replicas of one space: a vector of this many is about 150 KiB and still fits a frame.
pub const REPLICAS_MAX: usize = 4096;

/// Most spaces named in one hello.
pub const HELLO_SPACES_MAX: usize = 256;

/// Most ranges in one ask.
pub const ASK_RANGES_MAX: usize = 256;

/// Most headers that one message about a fork holds: 100 KiB at the most, and four rounds find where two logs of a
/// million commits part.
pub const FORK_HEADERS_MAX: usize = 48;

/// Most messages about forks that one session may send: rounds of narrowing for some forks at once; a peer that goes on
/// without giving way is not healed by more of them.
pub const FORK_ROUNDS_MAX: u32 = 64;

/// Most operations of one membership commit.
pub const MEMBER_OPS_MAX: usize = 64;

/// Longest name of a device, a space or a folder, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 128;

/// Longest component of a path: what Linux file systems hold.
pub const COMPONENT_BYTES_MAX: usize = 255;

/// Deepest nesting of directories that is materialised; far above any real tree, far below the stack.
pub const TREE_DEPTH_MAX: usize = 128;

/// Most bytes of a file that rest inside its root change. Above it a
/// file is worth its own chunks; below it the list would weigh as much.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;

/// Most bytes of a file that is merged as text; above it the file is replaced whole.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Steps that the alignment of two texts takes before the rest is left to a quicker method: about a tenth of a second.
/// Counted and not timed, so that the same texts give the same edit everywhere.
pub const DIFF_WORK_MAX: u64 = 1 << 26;
/// How often a line may stand in a text and still anchor its alignment; that of git's histogram diff.
pub const DIFF_TOKEN_COUNT_MAX: u32 = 64;
/// A replaced hunk with more bytes than this on either side is replaced whole: finding words in it would cost more than
/// its merge could gain.
pub const DIFF_WORDS_BYTES_MAX: usize = 16 * 1024;

/// Most heads of one text among which equal edits are looked for; each is read once more. Above it a text shows all
/// that it holds.
pub const JOINED_HEADS_MAX: usize = 16;
/// Joins of heads in a document's past that are looked at for lines that both sides rewrote: each costs reading the text
/// three times, and somebody waits for the list.
pub const CONFLICT_JOINS_MAX: usize = 32;

/// Smallest and largest average chunk; between them it is the root of 36 times the size, which makes
/// list and chunk cost the same for a small edit.
pub const CHUNK_AVERAGE_BYTES: (u32, u32) = (16 * 1024, 1024 * 1024);

/// Most chunks of one content: 1 MiB chunks of a file of 1 TiB.
pub const CHUNKS_MAX: usize = 1 << 20;

/// Most chunks asked for in one request of the content protocol.
pub const CHUNK_REQUEST_MAX: usize = 1024;

/// Longest chunk: four times the largest average, where FastCDC cuts at the latest.
pub const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest chunk list on the wire: `CHUNKS_MAX` entries of 36 bytes.
pub const CHUNK_LIST_BYTES_MAX: usize = CHUNKS_MAX * 37;

/// Chunk lists above this, of files of some ten gigabytes, are held one at a time.
pub const CHUNK_LIST_LARGE_BYTES: usize = 1024 * 1024;

/// Most dependencies, other actors and operations of one change.
pub const CHANGE_DEPS_MAX: usize = 256;
/// Most other actors one change may name.
pub const CHANGE_ACTORS_MAX: usize = 1024;
/// Most operations of one change: a text of the largest size is one operation a character, twice over.
pub const CHANGE_OPS_MAX: u64 = 2 * TEXT_BYTES_MAX as u64 + 1024;
/// Operations of one change beyond those that its bytes pay for: whoever inserts text sends a byte for each, but lists
/// of nothing and runs of one key cost almost no bytes and hundreds of them in a document.
pub const CHANGE_OPS_FREE: u64 = 1024;
/// Most predecessors of all operations of one change: a deletion has one for each value it removes.
pub const CHANGE_PREDS_MAX: u64 = CHANGE_OPS_MAX;
/// Most marks of one change: what is typed below open marks is compared with each of them.
pub const CHANGE_MARKS_MAX: usize = 1024;
/// Most increments of one change: a counter keeps each of them, and each new one is sorted in among them.
pub const CHANGE_INCREMENTS_MAX: usize = 1024;
/// Most steps from element to element that one change's marks are worth.
pub const CHANGE_MARK_STEPS_MAX: usize = 1 << 16;
/// First values and increments of counters: a sum of them does not overflow before a document has 2^30 of them.
pub const CHANGE_COUNTER_VALUE_MAX: i64 = 1 << 32;
/// Longest actor; ours have 16 bytes.
pub const ACTOR_BYTES_MAX: usize = 64;
/// Ceiling of the number of a change among its actor's: half of Automerge's 32 bits.
pub const CHANGE_SEQ_MAX: u64 = 1 << 31;
/// Furthest time of a change from 1970, either way: the differences that Automerge keeps do not overflow.
pub const CHANGE_TIME_MAX: i64 = 1 << 53;
/// Longest message of a change.
pub const CHANGE_MESSAGE_BYTES_MAX: usize = 1024;
/// How far an operation counter may jump beyond its dependencies.
pub const CHANGE_COUNTER_JUMP_MAX: u64 = 1 << 20;
/// Ceiling of operation counters: half of what Automerge's own 32 bits hold.
pub const CHANGE_COUNTER_MAX: u64 = 1 << 31;

/// Most changes of a document: a save each second for eleven days. Whoever opens it without a snapshot, or asks what
/// lies between two of its changes, walks them all.
pub const DOC_CHANGES_MAX: u64 = 1_000_000;
/// Most operations of a document, deletions among them: a text of the largest size written over thirty-two times. Changes
/// are bounded each, but many small ones can each delete the same long text, which costs them few bytes and everybody
/// else an operation a character.
pub const DOC_OPS_MAX: u64 = 1 << 26;
/// Most operations of a document whose next save is still taken in as edits of a text. From there on the file is kept whole
/// at each save, which costs an operation or two: so nobody's saves end at [`DOC_OPS_MAX`].
pub const DOC_TEXT_OPS_MAX: u64 = DOC_OPS_MAX / 2;
/// Most changes of a document whose content is still taken in. What is left is for renames and for its end.
pub const DOC_SAVES_MAX: u32 = 900_000;
/// Bytes of summaries of past changes that are read to check one commit: a text put together from a million places. They
/// take ten times as much memory.
pub const COMMIT_PAST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of commits handed to one session before it must report them written: two frames keep the stream
/// busy while the next is read from the store.
pub const SESSION_WINDOW_BYTES: usize = 2 * FRAME_BYTES_MAX;

/// Inputs one turn takes at most; more wait, and share the next commit.
pub const TURN_INPUTS_MAX: usize = 256;

/// Bytes of frames one turn takes at most, so that a turn's dirty pages stay small.
pub const TURN_BYTES_MAX: usize = 8 * FRAME_BYTES_MAX;

/// How long a commit of somebody else waits before it is passed on, so that a peer which has it already
/// from its author can say so.
pub const FORWARD_DELAY_MS: u64 = 250;

/// Middle of the slow timer that repairs whatever was missed; each wait is this, plus or minus half.
pub const REPAIR_EVERY_MS: u64 = 60_000;

/// A session that has not said hello by then is closed, as is one that has not opened its stream.
pub const HELLO_TIMEOUT_MS: u64 = 10_000;

/// A frame that has begun must come further by [`FRAME_PROGRESS_BYTES`] in each of these: a peer that sends one
/// byte at a time holds memory for nothing, and the slowest honest link is far above this.
pub const FRAME_STALL_MS: u64 = 10_000;
/// See [`FRAME_STALL_MS`].
pub const FRAME_PROGRESS_BYTES: usize = 4 * 1024;

/// Frames that wait for the engine, in bytes, of all sessions together: two turns' worth. Counted by number alone they
/// could be as many megabytes as inputs may wait.
pub const FRAMES_WAITING_BYTES_MAX: usize = 2 * TURN_BYTES_MAX;

/// Frames that wait for the stream of one session, in bytes: the window of commits and what is said beside it. A peer
/// that reads nothing is closed at this, and finds everything again when it comes back.
pub const SESSION_WAITING_BYTES_MAX: usize = 8 * FRAME_BYTES_MAX;

/// Bytes of commits without their past that one session may bring after another. A peer that skipped some is told so
/// once; what it sent before it heard that is at most what waits at its end and in the windows of the connection. Who
/// goes on has another history than it says.
pub const GAP_BYTES_MAX: usize = 2 * SESSION_WAITING_BYTES_MAX;

/// Tips kept for a session in hellos of spaces in which its peer is not known yet: a few vectors of the largest kind,
/// since who sends them may be nobody.
pub const PARKED_TIPS_MAX: usize = 2 * REPLICAS_MAX;

/// How long a peer that claims to have something may send nothing of it before others are asked again.
pub const CATCH_UP_PATIENCE_MS: u64 = 5_000;

/// Shortest pause between two asks of one space: claims on gossip cost their author nothing.
pub const ASK_EVERY_MS: u64 = 100;

/// Longest request on the join and content protocols: a name, two keys and a signature need a third of it.
pub const REQUEST_BYTES_MAX: usize = 1024;

/// Bytes that a connection may have under way before its protocol is known to be allowed; a joiner never gets more.
pub const WINDOW_FIRST_BYTES: u32 = 64 * 1024;
/// Bytes under way on a session or a connection of gossip: more than QUIC's window of one stream.
pub const WINDOW_SESSION_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes under way on a connection of contents.
pub const WINDOW_CONTENT_BYTES: u32 = 16 * 1024 * 1024;
/// Requests for contents that one connection may have open; a fetch of ours has as many.
pub const CONTENT_STREAMS_MAX: u32 = 16;
/// Streams of one connection of gossip: one a common space.
pub const GOSSIP_STREAMS_MAX: u32 = HELLO_SPACES_MAX as u32;
/// Connections of one device on the content or gossip protocol: a second one while the first is found to be dead.
pub const CONNECTIONS_OF_DEVICE_MAX: usize = 2;
/// Connections of all devices on the content or gossip protocol.
pub const CONNECTIONS_MAX: usize = 256;
/// Joiners that are heard at once; one more, and the one that has waited longest goes. A joiner needs a round trip.
pub const JOINERS_MAX: usize = 16;

/// Longest payload of an announcement: iroh-gossip's frame of 4096 bytes less its envelope.
pub const ANNOUNCEMENT_BYTES_MAX: usize = 3 * 1024;

/// Commits up to this size travel inside the announcement.
pub const ANNOUNCE_INLINE_BYTES_MAX: usize = 1024;

/// How long an invite lives unless told otherwise, and at the most.
pub const INVITE_LIFE_MS: u64 = 24 * 3600 * 1000;
/// Longest life of an invite.
pub const INVITE_LIFE_MS_MAX: u64 = 30 * 24 * 3600 * 1000;
/// Open invites of one space.
pub const INVITES_OPEN_MAX: usize = 256;

/// Memory that redb may use for pages; its own default is 1 GiB.
pub const STORE_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Changes behind a snapshot before a new one is written: loading that many is about as dear as one save.
pub const SNAPSHOT_EVERY_CHANGES: u32 = 64;

/// Bytes of unpacked bodies that whoever opens documents keeps at hand: those of an import of some thousand texts, which
/// are edited again in whatever order, and each of which would unpack the hundreds that came with it.
pub const BODIES_KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Documents the folder keeps open, newest first; reopening one costs its whole history.
pub const OPEN_DOCUMENTS_MAX: usize = 16;

/// Two equal looks at a file this far apart say that its writer has paused.
pub const SETTLE_MS: u64 = 50;
/// How long a file that vanished or shrank to nothing may be on its way back (editors truncate and rename).
pub const VANISH_MS: u64 = 1_000;
/// A file that never settles is read this often.
pub const SETTLE_MS_MAX: u64 = 2_000;
/// Full scan of a folder; each wait is this, plus or minus a quarter.
pub const RESCAN_EVERY_MS: u64 = 600_000;
/// A folder whose root is not there, or not readable, looks for it this often.
pub const HALTED_EVERY_MS: u64 = 10_000;
/// Where nothing tells of changes, the disk is looked at this often: somebody who saves and looks at the other machine
/// waits that long.
pub const POLL_EVERY_MS: u64 = 5_000;
/// A look that took long is followed by a pause so many times as long: large folders and slow disks are not read all the
/// time.
pub const POLL_PAUSE_TIMES: u64 = 20;
/// Directories that cannot be watched and are looked into one by one; where there are more, the whole folder is.
pub const UNWATCHED_LISTED_MAX: usize = 256;
/// What could not be submitted because its document cannot be read is tried again after this, by a full scan: rarely, for
/// it is a fault of ours that seldom mends itself.
pub const UNREADABLE_RETRY_MS: u64 = 60_000;
/// A file younger than this when it was seen is read again: its time stamp may not move with its bytes.
pub const RACY_NS: i64 = 20_000_000;
/// The same where time stamps are whole seconds: FAT's are even ones.
pub const COARSE_NS: i64 = 2_000_000_000;
/// Files younger than this are flushed before they are taken in: what is older the system has written out by itself, which
/// Linux does after 30 s.
pub const UNFLUSHED_NS: i64 = 60_000_000_000;

/// Deletes and overwrites are counted over this time: a command that goes through a folder takes less.
pub const HOLD_WINDOW_MS: u64 = 60_000;
/// One in so many files may be deleted or overwritten in that time; with more, all wait for somebody's word.
pub const HOLD_ONE_IN: usize = 4;
/// So many may be in any folder: the everyday changes of a small one are no accident.
pub const HOLD_ENTRIES_MIN: usize = 25;
/// A folder of at least so many files is not emptied without somebody's word.
pub const HOLD_EMPTIED_MIN: usize = 5;

/// A file that we wrote and somebody changed in turns, so often within this time, is left alone for a while: two writers
/// that undo each other would go on for ever, on every device.
pub const FIGHT_WINDOW_MS: u64 = 15_000;
/// How often we write in that time before we stop.
pub const FIGHT_WRITES: usize = 3;
/// For how long: long enough for people to notice, short enough for those who both just type.
pub const FIGHT_REST_MS: u64 = 30_000;

/// A save that comes later than this after others replaced a version is no edit of that version any more: the longer
/// ago, the likelier it is that somebody has seen the new one and takes it back.
pub const STALE_SAVE_MS: u64 = 600_000;
/// Replaced versions of one file that a save is compared with; each costs reading it and two diffs.
pub const STALE_VERSIONS_MAX: usize = 4;
/// Files of which replaced versions are known, as heads: less than a megabyte.
pub const STALE_FILES_MAX: usize = 1024;
/// Texts above this are not compared with replaced versions: people type in smaller ones.
pub const STALE_TEXT_BYTES_MAX: u64 = 256 * 1024;

/// Free space that is not taken by what others send: a full disk fails everybody else on it.
pub const SPACE_RESERVE_MIN: u64 = 64 << 20;
/// On large disks one part in so many is. Never more than a tenth, for disks that are small.
pub const SPACE_RESERVE_ONE_IN: u64 = 100;

/// Displaced and deleted files are kept this long.
pub const KEEP_MS: u64 = 30 * 24 * 3600 * 1000;

/// Paths of a folder whose last decision is remembered for those who ask why: about a quarter of a megabyte.
pub const DECISIONS_MAX: usize = 1024;

/// Requests for a folder's thread that wait; people ask one after the other.
pub const FOLDER_REQUESTS_MAX: usize = 16;

/// How much later than the latest of them a file counts as written in which several edits met: programs that compare times
/// and sizes see that it is another one.
pub const MET_AFTER_NS: i64 = 1_000_000;
/// How much of the larger of two texts must be lines of both, in thousandths, for one to be the other that moved: half, as
/// git's rename detection has it.
pub const ALIKE_THOUSANDTHS: usize = 500;
/// Texts below this are the same or are not: a line or two is alike by chance.
pub const ALIKE_BYTES_MIN: u64 = 64;
/// Files that are gone, and files that are new, at most, to be compared with each other: each with each. More of them are
/// no rename by hand, and are told by their bytes only.
pub const ALIKE_FILES_MAX: usize = 64;

/// Bytes of new texts that are compared so at a look, once for each text that is gone: a second or two of work.
pub const ALIKE_BYTES_MAX: usize = 16 << 20;

/// Bytes of files that a device reads to say what meets when it joins with files of its own: a gibibyte takes seconds, and
/// is read again when it is taken in.
pub const MEETING_BYTES_MAX: u64 = 1 << 30;
/// The same for who only wants to be told: some minutes of reading.
pub const MEETING_BYTES_TRIED_MAX: u64 = 64 << 30;
/// Paths of each kind that are named of what meets: more than people read, and the answer stays small.
pub const MEETING_PATHS_MAX: usize = 100;

/// Commits that one page of a log shows unless told otherwise, and at the most.
pub const LOG_COMMITS: usize = 30;
/// See [`LOG_COMMITS`]: a file that was saved ten thousand times still shows whole.
pub const LOG_COMMITS_MAX: usize = 20_000;
/// Edits of one page whose lines are counted: counting reads two versions of the text, which takes as long as it is old.
pub const LOG_COUNTED_MAX: usize = 50;
/// Entries of one commit that a log names; an import has a thousand.
pub const LOG_ENTRIES_MAX: usize = 20;

/// Entries that one restore brings back: whoever wants more takes a directory at a time.
pub const RESTORE_ENTRIES_MAX: usize = 100_000;

/// What is kept of displaced files is looked through for old ones this often.
pub const KEPT_SWEEP_EVERY_MS: u64 = 3_600_000;

/// Entries that one turn of an import or of a materialisation covers.
pub const FOLDER_BATCH: usize = 2048;

const _: () = assert!(BODY_BYTES_MAX + HEADER_BYTES_MAX + 64 < FRAME_BYTES_MAX);
const _: () = assert!(ANNOUNCE_INLINE_BYTES_MAX < ANNOUNCEMENT_BYTES_MAX);
