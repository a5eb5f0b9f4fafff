//! Cuts text into the pieces that byte-pair merges may not cross.
//!
//! Each vocabulary was trained with a regular expression of its own. Here a
//! pre-tokenizer is data, a list of [`rule::Step`]s, run by one scanner without
//! backtracking; tests hold each against its expression.

mod catalog;
mod class;
mod ranges;
mod rule;
mod scan;
#[cfg(test)]
mod tests;

use rule::Step;

/// What is known about one value of `tokenizer.ggml.pre`.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    /// Every name that GGUF files use for it; the first is its own.
    names: &'static [&'static str],
    steps: &'static [Step],
    pub(super) spelling: Spelling,
    pub(super) whole: Whole,
    /// Whether a text starts with BOS where the file does not say.
    pub(super) add_bos: bool,
}

/// How the vocabulary of a byte-pair encoding spells text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// One printable character per byte (GPT-2).
    ByteLevel,
    /// As it is, blanks as U+2581, unknown characters as byte tokens (Gemma 4).
    Escaped,
}

/// Which pieces become one token without merges, if they are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Never,
    Always,
    /// Runs of line feeds, which no merges make.
    LineFeeds,
}

impl PreTokenizer {
    const fn new(names: &'static [&'static str], steps: &'static [Step]) -> Self {
        Self {
            names,
            steps,
            spelling: Spelling::ByteLevel,
            whole: Whole::Never,
            add_bos: false,
        }
    }

    const fn ignoring_merges(self) -> Self {
        Self {
            whole: Whole::Always,
            ..self
        }
    }

    const fn with_bos(self) -> Self {
        Self {
            add_bos: true,
            ..self
        }
    }

    const fn escaped(self) -> Self {
        Self {
            spelling: Spelling::Escaped,
            whole: Whole::LineFeeds,
            ..self
        }
    }

    /// The pre-tokenizer that GGUF files call `name`.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        catalog::ALL.iter().find(|pre| pre.names.contains(&name))
    }

    pub(super) fn name(&self) -> &'static str {
        self.names[0]
    }

    /// Hands the pieces of `text` to `sink`, in order; together they are the text.
    pub(super) fn split<'t>(&self, text: &'t str, sink: &mut dyn FnMut(&'t str)) {
        scan::split(self.steps, text, sink);
    }
}
