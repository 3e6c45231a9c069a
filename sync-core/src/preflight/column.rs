//! Columns of a change, one value a row: runs, differences and flags, read and written as Automerge does.
//!
//! Readers are lenient about which runs a column is cut into, for `Change::read` compares with what the writers give;
//! they never take memory, and a row costs constant time. What the columns mean is for [`ops`](super::ops).

use super::{
    Refusal,
    input::{Input, put_bytes, put_sleb, put_uleb},
};

/// What a run-length encoded column holds.
pub(super) trait Cell<'a>: Copy + PartialEq {
    fn read(input: &mut Input<'a>) -> Result<Self, Refusal>;
    fn write(self, out: &mut Vec<u8>);
}

impl<'a> Cell<'a> for u64 {
    #[inline]
    fn read(input: &mut Input<'a>) -> Result<Self, Refusal> {
        input.uleb()
    }

    #[inline]
    fn write(self, out: &mut Vec<u8>) {
        put_uleb(out, self);
    }
}

impl<'a> Cell<'a> for i64 {
    #[inline]
    fn read(input: &mut Input<'a>) -> Result<Self, Refusal> {
        input.sleb()
    }

    #[inline]
    fn write(self, out: &mut Vec<u8>) {
        put_sleb(out, self);
    }
}

impl<'a> Cell<'a> for &'a str {
    fn read(input: &mut Input<'a>) -> Result<Self, Refusal> {
        let bytes = input.bytes(usize::MAX, "text")?;
        std::str::from_utf8(bytes).map_err(|_| Refusal::Malformed("text is not UTF-8"))
    }

    fn write(self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_bytes());
    }
}

/// Reads a run-length encoded column: runs of one value, of different values, of none.
#[derive(Debug)]
pub(super) struct Runs<'a, T> {
    input: Input<'a>,
    /// Rows left of the run.
    left: u64,
    /// What each row of the run holds; different values are read row by row.
    run: Run<T>,
}

#[derive(Debug)]
enum Run<T> {
    Same(Option<T>),
    Literals,
}

impl<'a, T: Cell<'a>> Runs<'a, T> {
    pub(super) const fn new(column: &'a [u8]) -> Self {
        Self { input: Input(column), left: 0, run: Run::Same(None) }
    }

    /// The next row; a column that has ended goes on with nothing, which is how an absent one is read.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<T>, Refusal> {
        if self.left == 0 {
            self.begin_some()?;
        }
        self.left -= 1;
        match self.run {
            Run::Same(value) => Ok(value),
            Run::Literals => T::read(&mut self.input).map(Some),
        }
    }

    /// Begins the next run that has rows.
    #[inline(never)]
    fn begin_some(&mut self) -> Result<(), Refusal> {
        while self.left == 0 {
            if self.input.is_empty() {
                (self.left, self.run) = (u64::MAX, Run::Same(None));
            } else {
                self.begin()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Refusal> {
        let run = self.input.sleb()?;
        (self.left, self.run) = match run {
            0 => (self.input.uleb()?, Run::Same(None)),
            1.. => (run.unsigned_abs(), Run::Same(Some(T::read(&mut self.input)?))),
            _ => (run.unsigned_abs(), Run::Literals),
        };
        Ok(())
    }

    /// Sums the rows, of which there may be `max`, without walking runs of one value.
    pub(super) fn rows(mut self, max: u64, what: &'static str) -> Result<u64, Refusal> {
        let mut rows = 0_u64;
        while !self.input.is_empty() {
            self.begin()?;
            if matches!(self.run, Run::Literals) {
                if self.left > self.input.0.len() as u64 {
                    return Err(Refusal::Malformed("ends too early"));
                }
                for _ in 0..self.left {
                    T::read(&mut self.input)?;
                }
            }
            rows = rows.saturating_add(self.left);
            if rows > max {
                return Err(Refusal::Limit(what));
            }
        }
        Ok(rows)
    }
}

impl<'a> Runs<'a, u64> {
    /// Sums the values, which may be `max` together.
    pub(super) fn sum(mut self, max: u64, what: &'static str) -> Result<u64, Refusal> {
        let mut sum = 0_u64;
        while !self.input.is_empty() {
            self.begin()?;
            let rows = self.left;
            let part = match self.run {
                Run::Same(value) => value.unwrap_or_default().saturating_mul(rows),
                Run::Literals => {
                    let mut part = 0_u64;
                    for _ in 0..rows {
                        part = part.saturating_add(self.input.uleb()?);
                    }
                    part
                }
            };
            sum = sum.saturating_add(part);
            if sum > max {
                return Err(Refusal::Limit(what));
            }
        }
        Ok(sum)
    }
}

/// Reads a column of differences to the value before; rows without a value do not count.
#[derive(Debug)]
pub(super) struct Deltas<'a> {
    runs: Runs<'a, i64>,
    value: i64,
}

impl<'a> Deltas<'a> {
    pub(super) const fn new(column: &'a [u8]) -> Self {
        Self { runs: Runs::new(column), value: 0 }
    }

    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<i64>, Refusal> {
        let Some(delta) = self.runs.next()? else {
            return Ok(None);
        };
        self.value = self.value.checked_add(delta).ok_or(Refusal::Malformed("difference above 64 bits"))?;
        Ok(Some(self.value))
    }
}

/// Reads a column of flags: how many are off, how many are on, and so on.
#[derive(Debug)]
pub(super) struct Flags<'a> {
    input: Input<'a>,
    left: u64,
    value: bool,
}

impl<'a> Flags<'a> {
    pub(super) const fn new(column: &'a [u8]) -> Self {
        Self { input: Input(column), left: 0, value: true }
    }

    /// The next row; a column that has ended goes on with flags that are off.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<bool, Refusal> {
        if self.left == 0 {
            self.begin_some()?;
        }
        self.left -= 1;
        Ok(self.value)
    }

    #[inline(never)]
    fn begin_some(&mut self) -> Result<(), Refusal> {
        while self.left == 0 {
            if self.input.is_empty() {
                (self.left, self.value) = (u64::MAX, false);
            } else {
                self.left = self.input.uleb()?;
                self.value = !self.value;
            }
        }
        Ok(())
    }
}

/// Writes a run-length encoded column in the one form that Automerge gives it: a run wherever two neighbours are
/// equal, different values together, and nothing at all for a column without a value.
#[derive(Debug)]
pub(super) struct RunsWriter<T> {
    out: Vec<u8>,
    /// Different values that wait for their count: where they begin in `tail`, and how many.
    literals: u64,
    tail: Vec<u8>,
    last: Option<T>,
    same: u64,
}

impl<'a, T: Cell<'a>> RunsWriter<T> {
    pub(super) const fn new() -> Self {
        Self { out: Vec::new(), literals: 0, tail: Vec::new(), last: None, same: 0 }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, value: Option<T>) {
        if self.same > 0 && value == self.last {
            self.same += 1;
        } else {
            self.close_run();
            self.last = value;
            self.same = 1;
        }
    }

    /// Writes the run that has ended, or sets its single value among the literals.
    #[inline(never)]
    fn close_run(&mut self) {
        match (self.last, self.same) {
            (_, 0) => {}
            (None, nulls) => {
                self.close_literals();
                put_sleb(&mut self.out, 0);
                put_uleb(&mut self.out, nulls);
            }
            (Some(value), 1) => {
                value.write(&mut self.tail);
                self.literals += 1;
            }
            (Some(value), same) => {
                self.close_literals();
                put_sleb(&mut self.out, same as i64);
                value.write(&mut self.out);
            }
        }
    }

    fn close_literals(&mut self) {
        if self.literals > 0 {
            put_sleb(&mut self.out, -(self.literals as i64));
            self.out.append(&mut self.tail);
            self.literals = 0;
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let only_nulls = self.out.is_empty() && self.literals == 0 && self.last.is_none();
        if !only_nulls {
            self.close_run();
            self.close_literals();
        }
        self.out
    }
}

/// Writes a column of differences.
#[derive(Debug)]
pub(super) struct DeltasWriter {
    runs: RunsWriter<i64>,
    value: i64,
}

impl DeltasWriter {
    pub(super) const fn new() -> Self {
        Self { runs: RunsWriter::new(), value: 0 }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, value: Option<u32>) {
        let value = value.map(i64::from);
        self.runs.push(value.map(|value| value - self.value));
        self.value = value.unwrap_or(self.value);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.runs.finish()
    }
}

/// Writes a column of flags.
#[derive(Debug)]
pub(super) struct FlagsWriter {
    out: Vec<u8>,
    value: bool,
    same: u64,
}

impl FlagsWriter {
    pub(super) const fn new() -> Self {
        Self { out: Vec::new(), value: false, same: 0 }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, value: bool) {
        if value != self.value {
            put_uleb(&mut self.out, self.same);
            self.value = value;
            self.same = 0;
        }
        self.same += 1;
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.same > 0 {
            put_uleb(&mut self.out, self.same);
        }
        self.out
    }

    /// Nothing at all where no flag was on.
    pub(super) fn finish_unless_off(self) -> Vec<u8> {
        if self.out.is_empty() && !self.value { Vec::new() } else { self.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(values: &[Option<u64>]) -> Vec<u8> {
        let mut writer = RunsWriter::new();
        values.iter().for_each(|value| writer.push(*value));
        let column = writer.finish();
        let mut reader = Runs::<u64>::new(&column);
        for value in values {
            assert_eq!(reader.next(), Ok(*value), "{values:?} as {column:?}");
        }
        assert_eq!(reader.next(), Ok(None));
        column
    }

    #[test]
    fn runs_literals_and_nulls_have_one_form() {
        assert_eq!(runs(&[]), [0_u8; 0]);
        assert_eq!(runs(&[None, None]), [0_u8; 0]);
        assert_eq!(runs(&[Some(7)]), [0x7f, 7]);
        assert_eq!(runs(&[Some(7), Some(7)]), [2, 7]);
        assert_eq!(runs(&[Some(1), Some(2), Some(2)]), [0x7f, 1, 2, 2]);
        assert_eq!(runs(&[Some(1), Some(1), Some(2), Some(3)]), [2, 1, 0x7e, 2, 3]);
        assert_eq!(runs(&[None, Some(1), None, None]), [0, 1, 0x7f, 1, 0, 2]);
    }

    #[test]
    fn differences_pass_over_rows_without_a_value() {
        let mut writer = DeltasWriter::new();
        for value in [Some(5), None, Some(6), Some(7), Some(3)] {
            writer.push(value);
        }
        let column = writer.finish();
        assert_eq!(column, [0x7f, 5, 0, 1, 2, 1, 0x7f, 0x7c]);
        let mut reader = Deltas::new(&column);
        for value in [Some(5), None, Some(6), Some(7), Some(3), None] {
            assert_eq!(reader.next(), Ok(value));
        }
        let mut wraps = Vec::from([2]);
        put_sleb(&mut wraps, i64::MAX);
        let mut reader = Deltas::new(&wraps);
        assert_eq!(reader.next(), Ok(Some(i64::MAX)));
        assert_eq!(reader.next(), Err(Refusal::Malformed("difference above 64 bits")));
    }

    #[test]
    fn flags_begin_with_those_that_are_off() {
        for (flags, column) in
            [(&[true, true, false][..], &[0, 2, 1][..]), (&[false, true], &[1, 1]), (&[false], &[1]), (&[], &[])]
        {
            let mut writer = FlagsWriter::new();
            flags.iter().for_each(|flag| writer.push(*flag));
            assert_eq!(writer.finish(), column);
            let mut reader = Flags::new(column);
            for flag in flags {
                assert_eq!(reader.next(), Ok(*flag));
            }
        }
        let mut off = FlagsWriter::new();
        off.push(false);
        assert_eq!(off.finish_unless_off(), [0_u8; 0]);
    }

    #[test]
    fn rows_and_sums_are_bounded_without_walking() {
        let mut column = Vec::new();
        put_sleb(&mut column, 1 << 62);
        column.push(3);
        assert_eq!(Runs::<u64>::new(&column).rows(1000, "rows"), Err(Refusal::Limit("rows")));
        assert_eq!(Runs::<u64>::new(&column).sum(1000, "sum"), Err(Refusal::Limit("sum")));
        let column = [0x7e, 1, 2, 4, 3];
        assert_eq!(Runs::<u64>::new(&column).rows(6, "rows"), Ok(6));
        assert_eq!(Runs::<u64>::new(&column).rows(5, "rows"), Err(Refusal::Limit("rows")));
        assert_eq!(Runs::<u64>::new(&column).sum(15, "sum"), Ok(15));
        assert_eq!(Runs::<u64>::new(&column).sum(14, "sum"), Err(Refusal::Limit("sum")));
        let lies = [0x41, 1];
        assert_eq!(Runs::<u64>::new(&lies).rows(1000, "rows"), Err(Refusal::Malformed("ends too early")));
    }
}
