//! What a disk holds of one file, and what a power cut leaves of writes that were on their way.
//!
//! Images share their pages until one of them writes, so a copy costs a pointer a page and thousands can be made of one
//! recording. Where they are used: [`disk`](super::disk) and [`replay`](super::replay).

use std::{fmt, io, ops::Range, sync::Arc};

use rand::RngExt as _;

use super::SimRng;

/// What a disk writes as a whole.
pub const SECTOR_BYTES: u64 = 512;

/// What images share.
const PAGE_BYTES: usize = 4096;

/// The bytes of a file. What was never written takes no memory and reads as zeros.
#[derive(Clone, Default)]
pub struct Image {
    pages: Vec<Option<Arc<[u8; PAGE_BYTES]>>>,
    len: u64,
    pages_held: u64,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("len", &self.len).field("held_bytes", &self.held_bytes()).finish()
    }
}

/// Cuts `len` bytes at `offset` at the borders of pages: page, place in it, and range of the bytes.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        (done < len).then(|| {
            let place = offset + done as u64;
            let (page, start) = ((place / PAGE_BYTES as u64) as usize, (place % PAGE_BYTES as u64) as usize);
            let from = done;
            done = len.min(done + PAGE_BYTES - start);
            (page, start, from..done)
        })
    })
}

impl Image {
    /// How long the file is.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes of the disk it takes: holes take none.
    #[must_use]
    pub const fn held_bytes(&self) -> u64 {
        self.pages_held * PAGE_BYTES as u64
    }

    /// How many bytes more of the disk a write would take.
    #[must_use]
    pub fn wanted_bytes(&self, offset: u64, len: usize) -> u64 {
        let holes = pieces(offset, len).filter(|(page, ..)| self.pages.get(*page).is_none_or(Option::is_none));
        holes.count() as u64 * PAGE_BYTES as u64
    }

    /// Reads a range of the file.
    ///
    /// # Errors
    /// When it ends behind the file.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, start, range) in pieces(offset, out.len()) {
            let out = &mut out[range];
            match &self.pages[page] {
                Some(bytes) => out.copy_from_slice(&bytes[start..start + out.len()]),
                None => out.fill(0),
            }
        }
        Ok(())
    }

    /// Writes a range of the file, which grows where it must.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.set_len(self.len.max(offset + bytes.len() as u64));
        for (page, start, range) in pieces(offset, bytes.len()) {
            let slot = &mut self.pages[page];
            self.pages_held += u64::from(slot.is_none());
            let held = Arc::make_mut(slot.get_or_insert_with(|| Arc::new([0; PAGE_BYTES])));
            held[start..start + range.len()].copy_from_slice(&bytes[range]);
        }
    }

    /// Cuts the file, or makes it longer by zeros.
    pub fn set_len(&mut self, len: u64) {
        if len < self.len {
            let keep = (len as usize).div_ceil(PAGE_BYTES);
            self.pages_held -= self.pages.drain(keep..).flatten().count() as u64;
            let tail = (len as usize) % PAGE_BYTES;
            if tail > 0
                && let Some(Some(last)) = self.pages.last_mut()
            {
                Arc::make_mut(last)[tail..].fill(0);
            }
        }
        self.pages.resize((len as usize).div_ceil(PAGE_BYTES), None);
        self.len = len;
    }

    /// Turns one bit around.
    ///
    /// # Panics
    /// When the file has no such bit.
    pub fn flip_bit(&mut self, bit: u64) {
        let mut byte = [0];
        self.read(bit / 8, &mut byte).expect("the bit is in the file");
        self.write(bit / 8, &[byte[0] ^ (1 << (bit % 8))]);
    }

    /// Carries out one operation.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { offset, bytes } => self.write(*offset, bytes),
            Op::SetLen(len) => self.set_len(*len),
            Op::Sync => {}
        }
    }
}

/// One operation on a file, as it was done.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Bytes were written.
    Write {
        /// Where.
        offset: u64,
        /// Which.
        bytes: Arc<[u8]>,
    },
    /// The file was cut, or made longer by zeros.
    SetLen(u64),
    /// Everything before it is durable.
    Sync,
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { offset, bytes } => write!(f, "Write({offset}, {} bytes)", bytes.len()),
            Self::SetLen(len) => write!(f, "SetLen({len})"),
            Self::Sync => f.write_str("Sync"),
        }
    }
}

/// What a power cut takes of the operations that no sync has covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of them: the disk is as after the last sync.
    All,
    /// None: everything had reached the disk by chance.
    Nothing,
    /// All after some point, where the last write may be torn: a disk that writes in order.
    Tail,
    /// Some, whichever: a disk that writes in any order. Where writes overlap, losing the later one is the same as their
    /// coming in the other order.
    Some,
    /// Some, and others come in part, sector by sector.
    Torn,
}

/// Ranges of a write's bytes that a disk takes as a whole.
fn sectors(offset: u64, len: usize) -> impl Iterator<Item = Range<usize>> {
    let mut done = 0;
    std::iter::from_fn(move || {
        (done < len).then(|| {
            let from = done;
            let rest = SECTOR_BYTES - (offset + done as u64) % SECTOR_BYTES;
            done = len.min(done + rest as usize);
            from..done
        })
    })
}

/// The disk after a power cut: what was durable, and what the loss leaves of the operations since.
#[must_use]
pub fn after_loss(durable: &Image, unsynced: &[Op], loss: Loss, rng: &mut SimRng) -> Image {
    let mut image = durable.clone();
    match loss {
        Loss::All => {}
        Loss::Nothing => unsynced.iter().for_each(|op| image.apply(op)),
        Loss::Tail => {
            let whole = rng.random_range(0..=unsynced.len());
            unsynced[..whole].iter().for_each(|op| image.apply(op));
            if let Some(Op::Write { offset, bytes }) = unsynced.get(whole) {
                let ends: Vec<usize> = sectors(*offset, bytes.len()).map(|sector| sector.end).collect();
                let kept = rng.random_range(0..ends.len().max(1));
                if kept > 0 {
                    image.write(*offset, &bytes[..ends[kept - 1]]);
                }
            }
        }
        Loss::Some => lose_some(&mut image, unsynced, rng, 0.0),
        Loss::Torn => lose_some(&mut image, unsynced, rng, 0.5),
    }
    image
}

/// Applies some operations, and of a share of them only some sectors.
///
/// The length is metadata: it is on disk as it was after one of the operations, and what was written behind it is lost.
fn lose_some(image: &mut Image, unsynced: &[Op], rng: &mut SimRng, torn: f64) {
    let kept = f64::from(rng.random_range(1..8)) / 8.0;
    let mut lens = vec![image.len()];
    for op in unsynced {
        let before = lens[lens.len() - 1];
        lens.push(match op {
            Op::Write { offset, bytes } => before.max(offset + bytes.len() as u64),
            Op::SetLen(len) => *len,
            Op::Sync => before,
        });
    }
    let last = rng.random_range(0..lens.len());
    for (index, op) in unsynced.iter().enumerate() {
        if index < last && lens[index] != lens[index + 1] {
            image.set_len(lens[index + 1]);
        }
        let Op::Write { offset, bytes } = op else { continue };
        if !rng.random_bool(kept) {
            continue;
        }
        let is_torn = rng.random_bool(torn);
        for sector in sectors(*offset, bytes.len()) {
            let start = offset + sector.start as u64;
            if start < image.len() && !(is_torn && rng.random_bool(0.5)) {
                let room = (image.len() - start).min(sector.len() as u64) as usize;
                image.write(start, &bytes[sector.start..sector.start + room]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::rng;

    fn read(image: &Image, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        image.read(offset, &mut bytes).expect("is in the file");
        bytes
    }

    fn write(offset: u64, byte: u8, len: usize) -> Op {
        Op::Write { offset, bytes: vec![byte; len].into() }
    }

    #[test]
    fn an_image_reads_what_was_written_across_pages_and_zeros_elsewhere() {
        let mut image = Image::default();
        image.write(4000, &[7; 5000]);
        assert_eq!((image.len(), image.held_bytes()), (9000, 3 * 4096));
        assert_eq!(read(&image, 3999, 5001), [vec![0], vec![7; 5000]].concat());
        assert!(image.read(8999, &mut [0; 2]).is_err(), "it ends there");
        let copy = image.clone();
        image.set_len(4001);
        image.set_len(20_000);
        assert_eq!(read(&image, 4000, 3), [7, 0, 0], "what was cut off does not come back");
        assert_eq!(image.held_bytes(), 4096, "holes take nothing");
        assert_eq!(read(&copy, 4000, 3), [7, 7, 7], "a copy stays");
    }

    #[test]
    fn a_bit_is_flipped_there_and_back() {
        let mut image = Image::default();
        image.write(0, &[0; 10]);
        image.flip_bit(17);
        assert_eq!(read(&image, 2, 1), [2]);
        image.flip_bit(17);
        assert_eq!(read(&image, 0, 10), [0; 10]);
    }

    #[test]
    fn what_is_lost_is_lost_by_sectors() {
        let mut durable = Image::default();
        durable.write(0, &[1; 4096]);
        let unsynced = [write(100, 2, 2000), write(2048, 3, 2048)];
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let image = after_loss(&durable, &unsynced, Loss::Torn, &mut rng(seed));
            let bytes = read(&image, 0, 4096);
            let held = |at: usize, end: usize| {
                assert!(bytes[at..end].iter().all(|byte| *byte == bytes[at]), "a sector comes whole");
                bytes[at]
            };
            assert_eq!(held(0, 100), 1, "nobody wrote that");
            // The fifth sector belongs to both: up to byte 2100 the first, from 2048 on the second.
            seen.insert([held(100, 512), held(512, 1024), held(1024, 1536), held(1536, 2048), held(2560, 3072)]);
        }
        assert!(seen.len() > 10, "many outcomes: {seen:?}");
    }

    #[test]
    fn a_length_that_is_lost_takes_what_is_behind_it() {
        let mut durable = Image::default();
        durable.write(0, &[1; 512]);
        let unsynced = [Op::SetLen(8192), write(4096, 2, 512), Op::SetLen(6000)];
        let mut lens = std::collections::BTreeSet::new();
        for seed in 0..100 {
            lens.insert(after_loss(&durable, &unsynced, Loss::Some, &mut rng(seed)).len());
        }
        assert_eq!(lens.into_iter().collect::<Vec<_>>(), [512, 6000, 8192]);
    }
}
