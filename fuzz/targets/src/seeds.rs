//! The seeds: inputs that lead each target to where it matters.
//!
//! They are made here and not by hand, so that they follow the formats: `cargo run -p sync-fuzz --bin seeds` writes them, and
//! a test compares. Bytes of the specification are its test vectors; where a target draws structure from bytes, a seed is
//! a list of choices, and some are noise, which makes histories of all kinds.

use sync_core::{
    commit::{Body, BodyKind, Header, Item, Origin, PackedBody, SecretKey, Signed, SignedHeader},
    content::{ChunkEntry, encode_list},
    ids::{ChangeHash, ChunkHash, CommitHash, DocId, InstallEpoch, InviteKey, ReplicaId, SpaceId, SpaceTag, derive},
    member::{InviteRefusal, MemberOp, Role, prove_invite},
    tree::Folds,
    version::{LogRange, Tip, VersionVector},
    wire::{self, Announcement, CloseCode, JoinRequest, JoinResponse, Message},
};

/// A seed: target, name, bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// All seeds.
///
/// # Panics
/// Never: they are plain data within their bounds.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| seeds.push((target, name.to_owned(), bytes));
    for (name, bytes) in messages() {
        add("frame", name, bytes);
    }
    for (name, bytes) in announcements() {
        add("announcement", name, bytes);
    }
    for (name, bytes) in commits() {
        add("commit", name, bytes);
    }
    for (name, bytes) in bodies() {
        add("body", name, bytes);
    }
    for (name, bytes) in joins() {
        add("invite", name, bytes);
    }
    add("change", "entry_root", vector(include_str!("../../../sync-core/vectors/entry_root.hex")));
    add("change", "promotion", vector(include_str!("../../../sync-core/vectors/promotion.hex")));
    let list = [ChunkEntry { hash: ChunkHash([1; 32]), len: 5 }, ChunkEntry { hash: ChunkHash([2; 32]), len: 7 }];
    add("chunk_list", "two", [&12_u64.to_le_bytes()[..], &encode_list(&list)].concat());
    for (name, text) in PATHS {
        add("path", name, text.as_bytes().to_vec());
    }
    add("path", "long_extension", format!("a.{}", "x".repeat(253)).into_bytes());
    for (name, parts) in TEXTS {
        add("text_diff", name, parts[..2].join("\0").into_bytes());
        add("text_merge", name, parts.join("\0").into_bytes());
    }
    for (name, edits) in DAMAGES {
        add("store", name, edits.to_vec());
    }
    for target in STRUCTURED {
        for (index, len) in NOISE_BYTES.into_iter().enumerate() {
            add(target, &format!("noise_{index}"), noise(target, index, len));
        }
    }
    seeds
}

/// Targets that draw all their structure from choices.
const STRUCTURED: &[&str] = &[
    "apply",
    "commit",
    "cut",
    "entry",
    "folder_local",
    "folder_plan",
    "hello",
    "invite",
    "membership",
    "preflight",
    "store",
    "tree",
    "vector",
];
/// Lengths of the seeds of noise.
const NOISE_BYTES: [usize; 5] = [0, 24, 96, 300, 900];

fn noise(target: &str, index: usize, len: usize) -> Vec<u8> {
    let blocks = (0..len.div_ceil(32)).flat_map(|block| derive(target, &[&[index as u8, block as u8]]));
    blocks.take(len).collect()
}

const PATHS: &[(&str, &str)] = &[
    ("plain", "dir/file.txt"),
    ("climb", "../etc"),
    ("dots", "a/./b/..."),
    ("state", ".kith/marker"),
    ("versions", ".GIT"),
    ("doubled", "//a//b//"),
    ("composed", "e\u{301}/\u{e9}"),
    ("turned", "a\u{202e}txt.exe"),
    ("spaces", " a . "),
    ("nul", "a\0b"),
    ("backslash", "a\\..\\b"),
    ("device", "CON.txt"),
];

const TEXTS: &[(&str, [&str; 3])] = &[
    ("words", ["one two three\nfour\n", "one 2 three\nfour\n", "one two three\nfive\n"]),
    ("lines", ["a\nb\nc\n", "a\nx\nb\nc\n", "a\nb\nc\ny\n"]),
    ("same_edit", ["a\nb\n", "a\nnew\nb\n", "a\nnew\nb\n"]),
    ("line_ends", ["a\r\nb\r\n", "a\nb\n", "a\r\nb\r\nc"]),
    ("marks", ["e\u{301}\u{1F468}\u{200D}\u{1F469} x", "e\u{1F468} x", "\u{feff}e\u{301} \u{1F1E9}\u{1F1EA}"]),
    ("emptied", ["a\nb\n", "", "a\nb\nc\n"]),
    ("made", ["", "a\n", "b\n"]),
    ("repeats", ["x\nx\nx\nx\n", "x\nx\nx\n", "x\ny\nx\ny\nx\n"]),
];

/// How much is cut, then offsets and values.
const DAMAGES: &[(&str, &[u8])] = &[
    ("sound", &[]),
    ("cut", &[32]),
    ("header", &[0, 9, 0, 0, 0xff]),
    ("magic", &[0, 0, 0, 0, 0]),
    ("slots", &[0, 64, 0, 0, 7, 192, 0, 0, 7]),
    ("pages", &[0, 0, 0x10, 0, 0xff, 0, 0x20, 0, 0xff, 0, 0x30, 0, 0xff]),
];

fn vector(hex: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(hex.trim().as_bytes()).expect("a vector is hex")
}

/// The commit of the specification's vectors.
fn signed() -> (Header, Body, Signed) {
    let key = SecretKey::from_bytes(&[9; 32]);
    let (space, epoch) = (SpaceId([2; 32]), InstallEpoch([3; 16]));
    let body = Body::Changes(vec![Item::change(DocId([5; 32]), vec![6; 600])]);
    let encoded = body.encode().expect("is small");
    let header = Header {
        space,
        replica: ReplicaId::derive(key.device(), space, epoch),
        n: 1,
        parents: vec![],
        auth: vec![],
        kind: BodyKind::Changes,
        body_hash: Body::hash(&encoded),
        body_len: encoded.len() as u32,
        wall_ms: 1_700_000_000_000,
        origin: Some(Origin { device: key.device(), epoch }),
    };
    let signed = Signed::create(&header, &body, &key).expect("is small");
    (header, body, signed)
}

fn commits() -> Vec<(&'static str, Vec<u8>)> {
    let signed = postcard::to_stdvec(&signed().2).expect("a commit is plain data");
    vec![("header", vector(include_str!("../../../sync-core/vectors/commit_header.hex"))), ("signed", signed)]
}

fn member_ops() -> Vec<MemberOp> {
    let (owner, invite) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[50; 32]));
    let (device, key) = (SecretKey::from_bytes(&[2; 32]).device(), InviteKey(invite.public()));
    vec![
        MemberOp::Genesis {
            device: owner.device(),
            random: [7; 32],
            space_name: "space".into(),
            device_name: "desk".into(),
        },
        MemberOp::Invite { key, role: Role::Writer, uses: 1, expires_ms: 1000 },
        MemberOp::Accept {
            invite: key,
            device,
            name: "laptop".into(),
            proof: prove_invite(&invite, SpaceId([2; 32]), device),
        },
        MemberOp::Disk { folds: Folds::ALL },
    ]
}

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let changes = signed().1.encode().expect("is small");
    let promotion = Item::Promotion { doc: DocId([1; 32]), of: ChangeHash([2; 32]), hash: ChangeHash([3; 32]) };
    let members = Body::Membership(member_ops());
    let packed = |body: &PackedBody| postcard::to_stdvec(body).expect("a body is plain data");
    vec![
        ("packed_zstd", packed(&PackedBody::pack(&changes))),
        ("packed_plain", packed(&PackedBody::Plain(changes.clone()))),
        ("changes", changes),
        ("promotion", Body::Changes(vec![promotion]).encode().expect("is small")),
        ("membership", members.encode().expect("is small")),
    ]
}

fn some_vector() -> VersionVector {
    (1..4).map(|seed| (ReplicaId([seed; 16]), Tip::new(u64::from(seed) * 100, &CommitHash([seed; 32])))).collect()
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let space = SpaceTag([1; 16]);
    let commit = signed().2;
    let header = SignedHeader { header: commit.header.clone(), signature: commit.signature };
    let ranges = vec![LogRange { replica: ReplicaId([1; 16]), from: 1, to: 300 }];
    let messages = [
        ("commits", Message::Commits { space, commits: vec![commit] }),
        ("durable", Message::Durable { space, vector: some_vector(), settled: true }),
        ("settled", Message::Settled { space, settled: false }),
        ("ask", Message::Ask { space, ranges }),
        ("fork", Message::Fork { space, replica: ReplicaId([1; 16]), headers: vec![header] }),
        ("trace", Message::Trace { space, range: LogRange { replica: ReplicaId([1; 16]), from: 3, to: 70_000 } }),
        ("close", Message::Close { code: CloseCode::Malformed }),
    ];
    let hello = ("hello", vector(include_str!("../../../sync-core/vectors/hello.hex")));
    messages.iter().map(|(name, message)| (*name, wire::encode(message))).chain([hello]).collect()
}

fn announcements() -> Vec<(&'static str, Vec<u8>)> {
    let (header, _, commit) = signed();
    let of = |commit: Option<Signed>, hash| {
        let announcement = Announcement { replica: header.replica, n: 1, hash, counter: 7, commit };
        wire::encode_announcement(&announcement).expect("is small")
    };
    let hash = commit.hash();
    vec![("hint", of(None, hash)), ("with_commit", of(Some(commit), hash))]
}

fn joins() -> Vec<(&'static str, Vec<u8>)> {
    let invite = SecretKey::from_bytes(&[50; 32]);
    let (space, device) = (SpaceId([2; 32]), SecretKey::from_bytes(&[2; 32]).device());
    let request = JoinRequest {
        space,
        invite: InviteKey(invite.public()),
        name: "laptop".into(),
        proof: prove_invite(&invite, space, device),
    };
    let welcome = JoinResponse::Welcome { space_name: "space".into(), host_name: "desk".into() };
    let refused = JoinResponse::Refused(InviteRefusal::Expired);
    vec![
        ("request", postcard::to_stdvec(&request).expect("a request is plain data")),
        ("welcome", postcard::to_stdvec(&welcome).expect("an answer is plain data")),
        ("refused", postcard::to_stdvec(&refused).expect("an answer is plain data")),
    ]
}
