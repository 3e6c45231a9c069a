//! What disks do not tell apart in names, and the key under which such names are one.
//!
//! Names are kept as they are written; a key is only ever compared. It is meant to be at least as coarse as any disk that
//! folds: two names with two keys stand side by side everywhere, and of two with one key the worst that comes is a clash
//! that some disk would not have had. It must give the same on every machine, so the tables that it goes by are pinned.

use std::borrow::Cow;

use caseless::Caseless as _;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// What some disks do not tell apart in names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Folds {
    /// `a` and `A`.
    pub case: bool,
    /// One letter with its accent, and the letter and the accent behind it.
    pub form: bool,
}

impl Folds {
    /// Every name is one of its own, as Linux has it.
    pub const NONE: Self = Self { case: false, form: false };
    /// Neither case nor normal form tells names apart.
    pub const ALL: Self = Self { case: true, form: true };

    /// Whether any two names are taken for one.
    #[must_use]
    pub const fn any(self) -> bool {
        self.case || self.form
    }

    /// What one of two disks does not tell apart.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { case: self.case || other.case, form: self.form || other.form }
    }

    /// What names have in common that are one.
    #[must_use]
    pub fn key(self, name: &str) -> Cow<'_, str> {
        if !self.any() {
            return Cow::Borrowed(name);
        }
        if name.is_ascii() {
            let lower = self.case && name.bytes().any(|byte| byte.is_ascii_uppercase());
            return if lower { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) };
        }
        let seen = name.chars().filter(|sign| !is_ignorable(*sign));
        // Some letters have another case than their parts: both are taken apart first (Unicode Standard, D145).
        Cow::Owned(match (self.case, self.form) {
            (true, true) => seen.nfd().default_case_fold().nfc().collect(),
            (true, false) => seen.default_case_fold().collect(),
            (false, _) => seen.nfc().collect(),
        })
    }
}

/// Signs that show nothing, which disks that fold pass over: ext4 and HFS+ do. `Default_Ignorable_Code_Point` of Unicode,
/// `DerivedCoreProperties.txt`.
const fn is_ignorable(sign: char) -> bool {
    matches!(sign as u32,
        0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x202a..=0x202e
        | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfff8 | 0x1_bca0..=0x1_bca3
        | 0x1_d173..=0x1_d17a | 0xe_0000..=0xe_0fff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CASE: Folds = Folds { case: true, form: false };
    const FORM: Folds = Folds { case: false, form: true };

    #[test]
    fn names_are_one_where_a_disk_has_them_as_one() {
        for (a, b, folds) in [
            ("Readme.MD", "README.md", CASE),
            ("stra\u{df}e", "STRASSE", CASE),
            ("\u{3a3}\u{3c3}\u{3c2}", "\u{3c3}\u{3c3}\u{3c3}", CASE),
            // The sign for kelvin is no letter of ours, and is one for every disk that folds.
            ("\u{212a}ith", "kith", CASE),
            ("caf\u{e9}", "cafe\u{301}", FORM),
            ("CAF\u{c9}", "cafe\u{301}", Folds::ALL),
            ("\u{1fb3}", "\u{391}\u{345}", Folds::ALL),
            ("a\u{200d}b", "ab\u{feff}", FORM),
        ] {
            assert_eq!(folds.key(a), folds.key(b), "{a:?} {b:?}");
            assert_ne!(Folds::NONE.key(a), Folds::NONE.key(b));
        }
    }

    #[test]
    fn names_are_two_where_every_disk_has_two() {
        for (a, b, folds) in
            [("a", "A", FORM), ("\u{e9}", "e\u{301}", CASE), ("a", "b", Folds::ALL), ("e", "\u{e9}", Folds::ALL)]
        {
            assert_ne!(folds.key(a), folds.key(b), "{a:?} {b:?}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key_and_a_coarser_one_keeps_names_together(a in "\\PC{0,8}", b in "\\PC{0,8}") {
            for folds in [Folds::NONE, CASE, FORM, Folds::ALL] {
                let key = folds.key(&a).into_owned();
                prop_assert_eq!(folds.key(&key), &*key);
                if folds.key(&a) == folds.key(&b) {
                    prop_assert_eq!(Folds::ALL.key(&a), Folds::ALL.key(&b));
                }
            }
        }
    }
}
