//! Numbers and byte strings as they lie in a change: LEB128 in its shortest form, lengths believed only if they can be.
//!
//! Reading never takes memory. [`column`](super::column) builds columns of these.

use super::Refusal;

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Refusal> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Refusal::Malformed("ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Refusal> {
        let (byte, rest) = self.0.split_first().ok_or(Refusal::Malformed("ends too early"))?;
        self.0 = rest;
        Ok(*byte)
    }

    /// An unsigned number.
    #[inline]
    pub(super) fn uleb(&mut self) -> Result<u64, Refusal> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Refusal::Malformed("number above 64 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(Refusal::Malformed("number not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(Refusal::Malformed("number above 64 bits"))
    }

    /// A signed number.
    #[inline]
    pub(super) fn sleb(&mut self) -> Result<i64, Refusal> {
        let mut value = 0_i64;
        let mut before = None;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte != 0 && byte != 0x7f {
                return Err(Refusal::Malformed("number above 64 bits"));
            }
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let negative = byte & 0x40 != 0;
                if negative && shift + 7 < 64 {
                    value |= -1 << (shift + 7);
                }
                // A last byte of nothing but sign adds nothing to a byte that shows the same sign.
                let sign_only = if negative { 0x7f } else { 0 };
                if byte == sign_only && before.is_some_and(|before: u8| (before & 0x40 != 0) == negative) {
                    return Err(Refusal::Malformed("number not in its shortest form"));
                }
                return Ok(value);
            }
            before = Some(byte);
        }
        Err(Refusal::Malformed("number above 64 bits"))
    }

    /// A count of things of at least `each` bytes: believed only if so many can follow.
    pub(super) fn count(&mut self, each: usize, max: usize, what: &'static str) -> Result<usize, Refusal> {
        let count = self.uleb()?;
        if count > max as u64 {
            return Err(Refusal::Limit(what));
        }
        let count = count as usize;
        if count.saturating_mul(each) > self.0.len() {
            return Err(Refusal::Malformed("ends too early"));
        }
        Ok(count)
    }

    pub(super) fn bytes(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], Refusal> {
        let len = self.count(1, max, what)?;
        self.take(len)
    }
}

/// Writes an unsigned number.
#[inline]
pub(super) fn put_uleb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a signed number.
#[inline]
pub(super) fn put_sleb(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = value as u8 & 0x7f;
        value >>= 7;
        let negative = byte & 0x40 != 0;
        if (value == 0 && !negative) || (value == -1 && negative) {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

/// Writes bytes behind their length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uleb(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_SHORTEST: Refusal = Refusal::Malformed("number not in its shortest form");
    const TOO_LARGE: Refusal = Refusal::Malformed("number above 64 bits");

    #[test]
    fn numbers_come_back_at_every_length() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1_u64 << shift).wrapping_sub(1), u64::MAX >> shift] {
                let mut out = Vec::new();
                put_uleb(&mut out, value);
                assert_eq!(Input(&out).uleb(), Ok(value));
                for signed in [value as i64, (value as i64).wrapping_neg(), !(value as i64)] {
                    let mut out = Vec::new();
                    put_sleb(&mut out, signed);
                    assert_eq!(Input(&out).sleb(), Ok(signed), "{signed}");
                }
            }
        }
    }

    #[test]
    fn a_number_has_one_form() {
        assert_eq!(Input(&[0x81, 0]).uleb(), Err(NOT_SHORTEST));
        assert_eq!(Input(&[0x80, 0]).sleb(), Err(NOT_SHORTEST));
        assert_eq!(Input(&[0xc1, 0]).sleb(), Ok(0x41));
        assert_eq!(Input(&[0xff, 0x7f]).sleb(), Err(NOT_SHORTEST));
        assert_eq!(Input(&[0xbf, 0x7f]).sleb(), Ok(-65));
    }

    #[test]
    fn a_number_has_64_bits_at_most() {
        let mut bytes = [0xff; 10];
        bytes[9] = 1;
        assert_eq!(Input(&bytes).uleb(), Ok(u64::MAX));
        bytes[9] = 2;
        assert_eq!(Input(&bytes).uleb(), Err(TOO_LARGE));
        assert_eq!(Input(&[0xff; 11]).uleb(), Err(TOO_LARGE));
        let mut least = [0x80; 10];
        least[9] = 0x7f;
        assert_eq!(Input(&least).sleb(), Ok(i64::MIN));
        least[9] = 1;
        assert_eq!(Input(&least).sleb(), Err(TOO_LARGE));
        assert_eq!(Input(&[0xff; 11]).sleb(), Err(TOO_LARGE));
    }

    #[test]
    fn a_length_that_lies_is_refused_before_anything_is_taken() {
        assert_eq!(Input(&[3, 1, 2]).bytes(8, "x"), Err(Refusal::Malformed("ends too early")));
        assert_eq!(Input(&[9, 1, 2]).bytes(8, "x"), Err(Refusal::Limit("x")));
        assert_eq!(Input(&[2, 1, 2]).bytes(2, "x"), Ok(&[1, 2][..]));
    }
}
