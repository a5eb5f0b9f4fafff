//! The alternatives that pre-tokenizer patterns are made of, each with the
//! regular expression it stands for.

use super::class::{Classes, Set};

/// One alternative of a pattern.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// `'s|'t|'re|'ve|'m|'ll|'d`, under `(?i:)` if `any_case`.
    Contraction { any_case: bool },
    /// See [`Run`].
    Run(Run),
    /// `lead?upper*lower+(contraction)?|lead?upper+lower*(contraction)?`
    Cased(Cased),
    /// `[0-9][0-9][0-9]`
    ThreeDigits,
    /// `lead?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`, lead being `[^\r\n\p{L}\p{N}]`
    Phrase,
    /// `\s*[\r\n]+`
    LineEnds,
    /// `\s+(?!\S)`
    SpacesBeforeLast,
    /// `\s{512}(?!\S)|\s{256}(?!\S)|...|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`
    SpaceCascade,
}

/// `lead body{1,body_max} tail{0,tail_max}`, all greedy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) lead: Lead,
    pub(super) body: Set,
    pub(super) body_max: usize,
    pub(super) tail: Set,
    pub(super) tail_max: usize,
}

/// What stands before a run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lead {
    None,
    /// `[...]?`
    Maybe(Set),
    /// `[...]`
    Needed(Set),
}

/// Words with case, as GPT-4o's and Tekken's patterns split them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cased {
    pub(super) upper: Set,
    pub(super) lower: Set,
    pub(super) contraction: bool,
}

/// `[^\r\n\p{L}\p{N}]`, which may precede a word.
pub(super) const WORD_LEAD: Set = Set::of(
    Classes::LINE_END
        .or(Classes::LETTER)
        .or(Classes::NUMBER)
        .not(),
);

impl Rule {
    /// `body+`
    pub(super) const fn run(body: Set) -> Self {
        Self::at_most(body, usize::MAX)
    }

    /// `body{1,max}`
    pub(super) const fn at_most(body: Set, max: usize) -> Self {
        Self::Run(Run {
            lead: Lead::None,
            body,
            body_max: max,
            tail: Set::of(Classes::NONE),
            tail_max: 0,
        })
    }

    /// `lead?body+`
    pub(super) const fn led(lead: Set, body: Set) -> Self {
        Self::Run(Run {
            lead: Lead::Maybe(lead),
            body,
            body_max: usize::MAX,
            tail: Set::of(Classes::NONE),
            tail_max: 0,
        })
    }

    /// ` ?body+`
    pub(super) const fn spaced(body: Classes) -> Self {
        Self::led(Set::of(Classes::SPACE), Set::of(body))
    }

    /// ` ?body+tail{0,tail_max}`
    pub(super) const fn spaced_with_tail(body: Classes, tail: Classes, tail_max: usize) -> Self {
        Self::Run(Run {
            lead: Lead::Maybe(Set::of(Classes::SPACE)),
            body: Set::of(body),
            body_max: usize::MAX,
            tail: Set::of(tail),
            tail_max,
        })
    }

    /// `lead body+`
    pub(super) const fn after(lead: Classes, body: Classes) -> Self {
        Self::Run(Run {
            lead: Lead::Needed(Set::of(lead)),
            body: Set::of(body),
            body_max: usize::MAX,
            tail: Set::of(Classes::NONE),
            tail_max: 0,
        })
    }
}

/// One pass over every piece the passes before it left.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// At each place the first rule that matches makes a piece; what no rule
    /// matches is a piece too ("isolated" in Hugging Face's words).
    First(&'static [Rule]),
    /// `\s+$`
    TrailingSpace,
    /// `(?=(\d{3})+(?!\d))`: digits are cut before every third from their end.
    DigitTriples,
    /// `\d{1,3}(?=(?:\d{3})*\b)`: the same, if a word ends with the digits.
    DigitTriplesAtWordEnd,
}
