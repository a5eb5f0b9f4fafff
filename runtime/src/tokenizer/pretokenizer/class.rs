//! Character classes as pre-tokenizer patterns name them.
//!
//! Every character belongs to exactly one class, so that a bracket expression
//! such as `[^\s\p{L}\p{N}]` is a bit set. The classes are Unicode's general
//! categories, cut finer where a pattern names single ASCII characters.

use std::sync::LazyLock;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// A set of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Classes(u32);

impl Classes {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ASCII_UPPER: Self = Self(1);
    pub(super) const ASCII_LOWER: Self = Self(1 << 1);
    const OTHER_UPPER: Self = Self(1 << 2);
    const OTHER_LOWER: Self = Self(1 << 3);
    const TITLE: Self = Self(1 << 4);
    const MODIFIER: Self = Self(1 << 5);
    const UNCASED: Self = Self(1 << 6);
    /// `\p{M}`
    pub(super) const MARK: Self = Self(1 << 7);
    /// `\p{Nd}`, which is `\d`
    pub(super) const DECIMAL: Self = Self(1 << 8);
    const OTHER_NUMBER: Self = Self(1 << 9);
    pub(super) const SLASH: Self = Self(1 << 10);
    const ASCII_PUNCTUATION: Self = Self(1 << 11);
    const OTHER_PUNCTUATION: Self = Self(1 << 12);
    pub(super) const BACKTICK: Self = Self(1 << 13);
    /// `[$+<=>^|~]`; the backtick has a class of its own.
    pub(super) const ASCII_SYMBOL: Self = Self(1 << 14);
    const OTHER_SYMBOL: Self = Self(1 << 15);
    pub(super) const SPACE: Self = Self(1 << 16);
    pub(super) const LINE_FEED: Self = Self(1 << 17);
    pub(super) const CARRIAGE_RETURN: Self = Self(1 << 18);
    const OTHER_WHITESPACE: Self = Self(1 << 19);
    const REST: Self = Self(1 << 20);

    /// Every character.
    pub(super) const ANY: Self = Self((1 << 21) - 1);
    /// `[\r\n]`
    pub(super) const LINE_END: Self = Self(Self::LINE_FEED.0 | Self::CARRIAGE_RETURN.0);
    /// `\s`
    pub(super) const WHITESPACE: Self =
        Self(Self::SPACE.0 | Self::LINE_END.0 | Self::OTHER_WHITESPACE.0);
    /// `[A-Za-z]`
    pub(super) const ASCII_LETTER: Self = Self(Self::ASCII_UPPER.0 | Self::ASCII_LOWER.0);
    /// Letters without case: `[\p{Lm}\p{Lo}]`
    const CASELESS: Self = Self(Self::MODIFIER.0 | Self::UNCASED.0);
    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
    pub(super) const UPPER_OR_CASELESS: Self = Self(
        Self::ASCII_UPPER.0 | Self::OTHER_UPPER.0 | Self::TITLE.0 | Self::CASELESS.0 | Self::MARK.0,
    );
    /// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
    pub(super) const LOWER_OR_CASELESS: Self =
        Self(Self::ASCII_LOWER.0 | Self::OTHER_LOWER.0 | Self::CASELESS.0 | Self::MARK.0);
    /// `\p{L}`
    pub(super) const LETTER: Self =
        Self((Self::UPPER_OR_CASELESS.0 | Self::LOWER_OR_CASELESS.0) & !Self::MARK.0);
    /// `\p{N}`
    pub(super) const NUMBER: Self = Self(Self::DECIMAL.0 | Self::OTHER_NUMBER.0);
    /// `\p{P}`
    pub(super) const PUNCTUATION: Self =
        Self(Self::SLASH.0 | Self::ASCII_PUNCTUATION.0 | Self::OTHER_PUNCTUATION.0);
    /// `\p{S}`
    pub(super) const SYMBOL: Self =
        Self(Self::BACKTICK.0 | Self::ASCII_SYMBOL.0 | Self::OTHER_SYMBOL.0);
    /// The printable ASCII characters that are neither letters, digits nor blank.
    pub(super) const ASCII_GRAPHIC: Self =
        Self(Self::SLASH.0 | Self::ASCII_PUNCTUATION.0 | Self::BACKTICK.0 | Self::ASCII_SYMBOL.0);

    /// The classes of either set.
    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `[^...]`
    pub(super) const fn not(self) -> Self {
        Self(Self::ANY.0 & !self.0)
    }

    /// Whether the set has the class of `c`.
    pub(super) fn contains(self, c: char) -> bool {
        let class = match TABLE.get(c as usize) {
            Some(&class) => class,
            None => classify(c),
        };
        self.0 >> class & 1 != 0
    }
}

/// The class numbers of the Basic Multilingual Plane; a lookup in Unicode's
/// range tables costs ten times as much.
static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..=0xFFFF)
        .map(|c| char::from_u32(c).map_or(0, classify))
        .collect()
});

fn classify(c: char) -> u8 {
    use GeneralCategory as G;
    let ascii = c.is_ascii();
    let class = match (c, c.general_category()) {
        (' ', _) => Classes::SPACE,
        ('\n', _) => Classes::LINE_FEED,
        ('\r', _) => Classes::CARRIAGE_RETURN,
        (c, _) if c.is_whitespace() => Classes::OTHER_WHITESPACE,
        ('/', _) => Classes::SLASH,
        ('`', _) => Classes::BACKTICK,
        (_, G::UppercaseLetter) if ascii => Classes::ASCII_UPPER,
        (_, G::UppercaseLetter) => Classes::OTHER_UPPER,
        (_, G::LowercaseLetter) if ascii => Classes::ASCII_LOWER,
        (_, G::LowercaseLetter) => Classes::OTHER_LOWER,
        (_, G::TitlecaseLetter) => Classes::TITLE,
        (_, G::ModifierLetter) => Classes::MODIFIER,
        (_, G::OtherLetter) => Classes::UNCASED,
        (_, G::NonspacingMark | G::SpacingMark | G::EnclosingMark) => Classes::MARK,
        (_, G::DecimalNumber) => Classes::DECIMAL,
        (_, G::LetterNumber | G::OtherNumber) => Classes::OTHER_NUMBER,
        (
            _,
            G::ConnectorPunctuation
            | G::DashPunctuation
            | G::OpenPunctuation
            | G::ClosePunctuation
            | G::InitialPunctuation
            | G::FinalPunctuation
            | G::OtherPunctuation,
        ) => {
            if ascii {
                Classes::ASCII_PUNCTUATION
            } else {
                Classes::OTHER_PUNCTUATION
            }
        }
        (_, G::MathSymbol | G::CurrencySymbol | G::ModifierSymbol | G::OtherSymbol) => {
            if ascii {
                Classes::ASCII_SYMBOL
            } else {
                Classes::OTHER_SYMBOL
            }
        }
        _ => Classes::REST,
    };
    class.0.trailing_zeros() as u8
}

/// `\w` as Unicode TR 18 defines it, which `\b` rests on.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphabetic()
        || matches!(c, '\u{200C}' | '\u{200D}')
        || Classes::MARK.or(Classes::DECIMAL).contains(c)
        || c.general_category() == GeneralCategory::ConnectorPunctuation
}

/// A bracket expression: some classes, and ranges on top of or taken from them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set {
    pub(super) classes: Classes,
    pub(super) plus: &'static [(char, char)],
    pub(super) minus: &'static [(char, char)],
}

impl Set {
    pub(super) const fn of(classes: Classes) -> Self {
        Self {
            classes,
            plus: &[],
            minus: &[],
        }
    }

    pub(super) const fn ranges(plus: &'static [(char, char)]) -> Self {
        Self {
            classes: Classes::NONE,
            plus,
            minus: &[],
        }
    }

    pub(super) const fn without(classes: Classes, minus: &'static [(char, char)]) -> Self {
        Self {
            classes,
            plus: &[],
            minus,
        }
    }

    pub(super) fn contains(&self, c: char) -> bool {
        (self.classes.contains(c) && !within(self.minus, c)) || within(self.plus, c)
    }
}

/// Whether `c` is in one of `ranges`, which are sorted.
fn within(ranges: &[(char, char)], c: char) -> bool {
    let after = ranges.partition_point(|&(first, _)| first <= c);
    after > 0 && c <= ranges[after - 1].1
}
