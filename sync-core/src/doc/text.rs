//! From two versions of a text to the splices between them.
//!
//! Lines are compared first (histogram diff, hunks slid to their lowest place so that both sides of a merge slide the
//! same way: imara-diff with its line post-processing did best on real merges), then the words inside replaced hunks.
//! Words follow Unicode's word boundaries, so no grapheme and no CRLF is ever split. Positions count Unicode scalar
//! values.

use imara_diff::{Algorithm, Diff, InternedInput, TokenSource};
use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::limits;

/// Replaces `delete` characters at `at` by `insert`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splice {
    /// Position in the old text.
    pub at: usize,
    /// Characters of the old text that go.
    pub delete: usize,
    /// What comes in their place.
    pub insert: String,
}

/// The bytes as text, if they are one that merges: UTF-8 without NUL, not too long.
#[must_use]
pub fn as_text(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > limits::TEXT_BYTES_MAX || bytes.contains(&0) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

/// A replaced hunk with more bytes than this on either side is replaced whole: finding words in it would cost more than
/// its merge could gain.
const WORDS_BYTES_MAX: usize = 16 * 1024;

struct Words<'a>(&'a str);

impl<'a> TokenSource for Words<'a> {
    type Token = &'a str;
    type Tokenizer = unicode_segmentation::UWordBounds<'a>;

    fn tokenize(&self) -> Self::Tokenizer {
        self.0.split_word_bounds()
    }

    fn estimate_tokens(&self) -> u32 {
        (self.0.len() / 4) as u32
    }
}

/// The splices that turn `old` into `new`, ascending and apart; none when they are equal.
#[must_use]
pub fn diff(old: &str, new: &str) -> Vec<Splice> {
    let input = InternedInput::new(old, new);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let mut old_lines = Cursor::new(old);
    let mut new_lines = Cursor::new(new);
    let old_tokens: Vec<&str> = imara_diff::sources::lines(old).collect();
    let new_tokens: Vec<&str> = imara_diff::sources::lines(new).collect();
    let mut splices = Vec::new();
    for hunk in diff.hunks() {
        old_lines.advance_to(hunk.before.start, &old_tokens);
        new_lines.advance_to(hunk.after.start, &new_tokens);
        let (at, old_hunk) = old_lines.take_to(hunk.before.end, &old_tokens);
        let (_, new_hunk) = new_lines.take_to(hunk.after.end, &new_tokens);
        push_hunk(&mut splices, at, old_hunk, new_hunk);
    }
    splices
}

/// Diffs one hunk by words, or replaces it whole.
fn push_hunk(splices: &mut Vec<Splice>, at: usize, old: &str, new: &str) {
    let whole = old.is_empty() || new.is_empty() || old.len().max(new.len()) > WORDS_BYTES_MAX;
    if whole {
        splices.push(Splice { at, delete: old.chars().count(), insert: new.to_owned() });
        return;
    }
    let input = InternedInput::new(Words(old), Words(new));
    let diff = Diff::compute(Algorithm::Histogram, &input);
    let old_tokens: Vec<&str> = Words(old).tokenize().collect();
    let new_tokens: Vec<&str> = Words(new).tokenize().collect();
    let mut old_words = Cursor::new(old);
    let mut new_words = Cursor::new(new);
    for hunk in diff.hunks() {
        old_words.advance_to(hunk.before.start, &old_tokens);
        new_words.advance_to(hunk.after.start, &new_tokens);
        let (offset, gone) = old_words.take_to(hunk.before.end, &old_tokens);
        let (_, come) = new_words.take_to(hunk.after.end, &new_tokens);
        splices.push(Splice { at: at + offset, delete: gone.chars().count(), insert: come.to_owned() });
    }
}

/// Walks a text token by token and keeps count of its characters.
struct Cursor<'a> {
    text: &'a str,
    token: u32,
    byte: usize,
    chars: usize,
}

impl<'a> Cursor<'a> {
    const fn new(text: &'a str) -> Self {
        Self { text, token: 0, byte: 0, chars: 0 }
    }

    fn advance_to(&mut self, token: u32, tokens: &[&str]) {
        for passed in &tokens[self.token as usize..token as usize] {
            self.byte += passed.len();
            self.chars += passed.chars().count();
        }
        self.token = token;
    }

    /// Where the tokens up to `token` start in characters, and their text.
    fn take_to(&mut self, token: u32, tokens: &[&str]) -> (usize, &'a str) {
        let (byte, chars) = (self.byte, self.chars);
        self.advance_to(token, tokens);
        (chars, &self.text[byte..self.byte])
    }
}

/// Applies splices to the text that they were made for.
#[must_use]
pub fn apply(old: &str, splices: &[Splice]) -> String {
    let mut new = String::with_capacity(old.len());
    let mut chars = old.chars();
    let mut position = 0;
    for splice in splices {
        new.extend(chars.by_ref().take(splice.at.saturating_sub(position)));
        chars.by_ref().take(splice.delete).for_each(drop);
        new.push_str(&splice.insert);
        position = splice.at + splice.delete;
    }
    new.extend(chars);
    new
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("fn main() {".to_owned()),
            Just("}".to_owned()),
            Just(String::new()),
            "[a-d ]{0,12}",
            "(\u{1F468}\u{200D}\u{1F469}|e\u{301}|ü|漢|ascii ){0,4}",
        ]
    }

    fn text() -> impl Strategy<Value = String> {
        (proptest::collection::vec((line(), prop_oneof![Just("\n"), Just("\r\n"), Just("\r")]), 0..12), line())
            .prop_map(|(lines, last)| {
                let mut text: String = lines.into_iter().map(|(line, end)| line + end).collect();
                text.push_str(&last);
                text
            })
    }

    proptest! {
        #[test]
        fn splices_turn_the_old_text_into_the_new(old in text(), new in text()) {
            let splices = diff(&old, &new);
            prop_assert_eq!(apply(&old, &splices), new);
            prop_assert!(splices.windows(2).all(|pair| pair[0].at + pair[0].delete <= pair[1].at));
        }
    }

    #[test]
    fn equal_texts_have_no_splices() {
        assert_eq!(diff("a\nb\n", "a\nb\n"), []);
        assert_eq!(diff("", ""), []);
    }

    #[test]
    fn one_changed_word_is_one_small_splice() {
        let splices = diff("one two three\nfour\n", "one 2 three\nfour\n");
        assert_eq!(splices, [Splice { at: 4, delete: 3, insert: "2".into() }]);
    }

    #[test]
    fn what_is_not_text_is_not() {
        assert!(as_text(b"a\0b").is_none());
        assert!(as_text(&[0xff, 0xfe]).is_none());
        assert!(as_text(&vec![b'a'; limits::TEXT_BYTES_MAX]).is_some());
        assert!(as_text(&vec![b'a'; limits::TEXT_BYTES_MAX + 1]).is_none());
    }
}
