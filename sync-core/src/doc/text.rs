//! From two versions of a text to the splices between them.
//!
//! Lines are compared first, aligned as git does it (`lines`), then the words inside replaced hunks.
//! Words follow Unicode's word boundaries where those are boundaries of graphemes too, so no grapheme and no CRLF is ever
//! split. Positions count Unicode scalar values.

use std::ops::Range;

use imara_diff::{InternedInput, Token, TokenSource};
use serde::{Deserialize, Serialize};
use unicode_segmentation::{GraphemeIndices, UWordBoundIndices, UnicodeSegmentation as _};

use super::lines;
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

struct Words<'a>(&'a str);

impl<'a> TokenSource for Words<'a> {
    type Token = &'a str;
    type Tokenizer = WholeWords<'a>;

    fn tokenize(&self) -> Self::Tokenizer {
        WholeWords {
            text: self.0,
            at: 0,
            words: self.0.split_word_bound_indices(),
            graphemes: self.0.grapheme_indices(true),
            grapheme_end: 0,
        }
    }

    fn estimate_tokens(&self) -> u32 {
        (self.0.len() / 4) as u32
    }
}

/// Words that share a grapheme are one: a number sign in front of a letter, say.
struct WholeWords<'a> {
    text: &'a str,
    at: usize,
    words: UWordBoundIndices<'a>,
    graphemes: GraphemeIndices<'a>,
    /// Where the last grapheme that was looked at ends.
    grapheme_end: usize,
}

impl<'a> Iterator for WholeWords<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let (start, word) = self.words.next()?;
            let end = start + word.len();
            while self.grapheme_end < end {
                let (start, grapheme) = self.graphemes.next()?;
                self.grapheme_end = start + grapheme.len();
            }
            if self.grapheme_end == end {
                return Some(&self.text[std::mem::replace(&mut self.at, end)..end]);
            }
        }
    }
}

/// The splices that turn `old` into `new`, ascending and apart; none when they are equal.
#[must_use]
pub fn diff(old: &str, new: &str) -> Vec<Splice> {
    let input = InternedInput::new(old, new);
    let mut old_lines = Cursor::new(imara_diff::sources::lines(old));
    let mut new_lines = Cursor::new(imara_diff::sources::lines(new));
    let mut splices = Vec::new();
    for hunk in lines::hunks(&input.before, &input.after, input.interner.num_tokens(), |_| false) {
        let (at, gone) = old_lines.take(hunk.old);
        let (_, come) = new_lines.take(hunk.new);
        push_hunk(&mut splices, at, &gone, &come);
    }
    splices
}

/// Diffs one hunk by words, or replaces it whole.
fn push_hunk(splices: &mut Vec<Splice>, at: usize, old: &str, new: &str) {
    if old.is_empty() || new.is_empty() || old.len().max(new.len()) > limits::DIFF_WORDS_BYTES_MAX {
        splices.push(Splice { at, delete: old.chars().count(), insert: new.to_owned() });
        return;
    }
    let input = InternedInput::new(Words(old), Words(new));
    // Line ends, blanks and punctuation are in every line, and say little about which words belong together.
    let light = |word: Token| !input.interner[word].contains(char::is_alphanumeric);
    let mut hunks = lines::hunks(&input.before, &input.after, input.interner.num_tokens(), light);
    // Words that stand side by side are replaced as one: the blank between them is equal by chance.
    let blank = |range: &Range<usize>| {
        input.before[range.clone()].iter().all(|word| {
            let word: &str = input.interner[*word];
            word.chars().all(|ch| ch.is_whitespace() && ch != '\n' && ch != '\r')
        })
    };
    hunks.dedup_by(|hunk, before| {
        let replace = !hunk.old.is_empty() && !hunk.new.is_empty() && !before.old.is_empty() && !before.new.is_empty();
        let joins = replace && blank(&(before.old.end..hunk.old.start));
        if joins {
            (before.old.end, before.new.end) = (hunk.old.end, hunk.new.end);
        }
        joins
    });
    let mut old_words = Cursor::new(Words(old).tokenize());
    let mut new_words = Cursor::new(Words(new).tokenize());
    for hunk in hunks {
        let (offset, gone) = old_words.take(hunk.old);
        let (_, come) = new_words.take(hunk.new);
        splices.push(Splice { at: at + offset, delete: gone.chars().count(), insert: come });
    }
}

/// Walks the tokens of a text and keeps count of its characters.
struct Cursor<I> {
    tokens: I,
    token: usize,
    chars: usize,
}

impl<'a, I: Iterator<Item = &'a str>> Cursor<I> {
    const fn new(tokens: I) -> Self {
        Self { tokens, token: 0, chars: 0 }
    }

    /// Where a range of tokens, behind those that were taken before, starts in characters, and its text.
    fn take(&mut self, range: Range<usize>) -> (usize, String) {
        let skipped = self.tokens.by_ref().take(range.start - self.token);
        self.chars += skipped.map(|token| token.chars().count()).sum::<usize>();
        let at = self.chars;
        let text: String = self.tokens.by_ref().take(range.len()).collect();
        self.chars += text.chars().count();
        self.token = range.end;
        (at, text)
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
    fn a_sign_that_belongs_to_the_next_letter_is_not_parted_from_it() {
        // U+0601 is drawn around what follows; Unicode has a word boundary between the two.
        let splices = diff("a \u{601}m b\n", "a \u{601}n b\n");
        assert_eq!(splices, [Splice { at: 2, delete: 2, insert: "\u{601}n".into() }]);
    }

    #[test]
    fn a_replaced_hunk_is_split_by_words_up_to_a_length() {
        let of = |len: usize| {
            let pad = |text: &str| format!("{text}{}\n", "w".repeat(len - text.len() - 1));
            diff(&pad("one two "), &pad("one 2 two "))
        };
        let (most, kept) = (limits::DIFF_WORDS_BYTES_MAX, |splices: &[Splice]| splices[0].at);
        assert_eq!(kept(&of(most)), "one ".len(), "at the limit words are compared");
        assert_eq!(kept(&of(most + 1)), 0, "past it the whole line goes");
    }

    #[test]
    fn what_is_not_text_is_not() {
        assert!(as_text(b"a\0b").is_none());
        assert!(as_text(&[0xff, 0xfe]).is_none());
        assert!(as_text(&vec![b'a'; limits::TEXT_BYTES_MAX]).is_some());
        assert!(as_text(&vec![b'a'; limits::TEXT_BYTES_MAX + 1]).is_none());
    }
}
