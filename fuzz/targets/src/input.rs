//! Structure from bytes.
//!
//! Small choices take one byte each, so that a changed byte changes one choice and a seed can be written as a list of
//! them. When the bytes are used up every choice is the first one.

use arbitrary::Unstructured;

/// Bytes that choices are drawn from.
#[derive(Debug)]
pub struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    /// Draws from these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// Whether all bytes are used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.int_in_range(0..=end - 1).unwrap_or_default()
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn of<'b, T>(&mut self, choices: &'b [T]) -> &'b T {
        &choices[self.below(choices.len())]
    }

    /// A number of any size, small ones and the largest more often.
    pub fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => u64::from(self.byte()),
            1 => u64::MAX - u64::from(self.byte()),
            _ => self.0.arbitrary().unwrap_or_default(),
        }
    }

    /// Up to `max` bytes.
    pub fn bytes(&mut self, max: usize) -> &'a [u8] {
        let len = self.below(max + 1).min(self.0.len());
        self.0.bytes(len).unwrap_or_default()
    }

    /// An array of bytes that are mostly equal, so that two draws are often the same.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [self.byte() % 8; N];
        if let Some(last) = array.last_mut() {
            *last = self.byte() % 4;
        }
        array
    }

    /// All bytes that are left.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }
}

/// Parts of an input that is a list of texts with NUL between them; what is missing is empty.
#[must_use]
pub fn texts<const N: usize>(bytes: &[u8]) -> [String; N] {
    let mut parts = bytes.splitn(N, |byte| *byte == 0);
    // A part after the last NUL that counts keeps none: a text has none.
    std::array::from_fn(|_| String::from_utf8_lossy(parts.next().unwrap_or_default()).replace('\0', ""))
}

/// Changes bytes at places, as pairs of offset and value: the offset in three bytes, least significant first, wraps.
pub fn edit_bytes(bytes: &mut [u8], edits: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    for edit in edits.chunks_exact(4) {
        let offset = usize::from(edit[0]) | usize::from(edit[1]) << 8 | usize::from(edit[2]) << 16;
        let len = bytes.len();
        bytes[offset % len] = edit[3];
    }
}
