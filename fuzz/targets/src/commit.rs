//! The doors for commits and their bodies.

use sync_core::{
    commit::{Body, BodyKind, Header, Item, Origin, PackedBody, SecretKey, Signed},
    ids::{ChangeHash, CommitHash, DocId, InstallEpoch, ReplicaId, SpaceId},
    limits,
};

use crate::input::{Input, edit_bytes};

/// A header has one encoding, a signed commit verifies or is refused, and one that was signed cannot be made to say
/// anything else.
///
/// # Panics
/// When a promise is broken.
pub fn commit(bytes: &[u8]) {
    any_bytes(bytes);
    signed_and_edited(bytes);
}

fn any_bytes(bytes: &[u8]) {
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(header.encode(), bytes);
    }
    let Ok((signed, _)) = postcard::take_from_bytes::<Signed>(bytes) else {
        return;
    };
    let Ok(header) = Header::decode(&signed.header) else {
        return;
    };
    if let Some(origin) = header.origin
        && let Ok(verified) = signed.verify(header, origin.device)
    {
        assert_eq!(verified.hash, signed.hash());
    }
}

fn signed_and_edited(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let key = SecretKey::from_bytes(&[9; 32]);
    let body = some_body(&mut input);
    let header = some_header(&mut input, &key, &body);
    let Ok(signed) = Signed::create(&header, &body, &key) else {
        return;
    };
    // A header that breaks a rule is refused by whoever reads it, whatever its signature.
    let Ok(read) = Header::decode(&signed.header) else {
        return;
    };
    assert_eq!(read, header);
    let verified = signed.verify(read, key.device()).expect("was just signed");
    assert_eq!(verified.body, body);

    let mut edited = postcard::to_stdvec(&signed).expect("a commit is plain data");
    edit_bytes(&mut edited, input.rest());
    let Ok(edited) = postcard::from_bytes::<Signed>(&edited) else {
        return;
    };
    if let Ok(read) = Header::decode(&edited.header)
        && let Ok(forged) = edited.verify(read, key.device())
    {
        assert_eq!((forged.hash, &forged.header, &forged.body), (signed.hash(), &header, &body));
        assert_eq!(edited.signature, signed.signature);
    }
}

fn some_body(input: &mut Input<'_>) -> Body {
    let count = input.below(4);
    let items = (0..count).map(|_| {
        let doc = DocId(input.array());
        if input.one_in(3) {
            return Item::Promotion { doc, of: ChangeHash(input.array()), hash: ChangeHash(input.array()) };
        }
        let len = input.below(600);
        Item::change(doc, vec![input.byte(); len])
    });
    Body::Changes(items.collect())
}

fn some_header(input: &mut Input<'_>, key: &SecretKey, body: &Body) -> Header {
    let space = SpaceId(input.array());
    let epoch = InstallEpoch(input.array());
    let encoded = body.encode().expect("is small");
    let first = input.one_in(2);
    let mut hashes =
        |max: usize| -> Vec<CommitHash> { (0..input.below(max)).map(|_| CommitHash(input.array())).collect() };
    let (mut parents, mut auth) = (hashes(limits::PARENTS_MAX + 3), hashes(limits::AUTH_MAX + 3));
    if !input.one_in(8) {
        for list in [&mut parents, &mut auth] {
            list.sort_unstable();
            list.dedup();
        }
    }
    Header {
        space,
        replica: ReplicaId::derive(key.device(), space, epoch),
        n: if first { 1 } else { input.number() },
        parents,
        auth,
        kind: BodyKind::Changes,
        body_hash: Body::hash(&encoded),
        body_len: encoded.len() as u32,
        wall_ms: input.number(),
        origin: first.then(|| Origin { device: key.device(), epoch }),
    }
}

/// A body has one encoding, and a packed one inflates within its bound.
///
/// # Panics
/// When a promise is broken.
pub fn body(bytes: &[u8]) {
    for kind in [BodyKind::Changes, BodyKind::Membership] {
        if let Ok(body) = Body::decode(bytes, kind) {
            let again = body.encode().expect("is within its bounds");
            assert_eq!(again, bytes);
            let packed = PackedBody::pack(&again);
            assert_eq!(packed.unpack().expect("was just packed").as_ref(), again);
        }
    }
    if let Ok(packed) = postcard::from_bytes::<PackedBody>(bytes)
        && let Ok(plain) = packed.unpack()
    {
        assert!(plain.len() <= limits::BODY_BYTES_MAX);
    }
}
