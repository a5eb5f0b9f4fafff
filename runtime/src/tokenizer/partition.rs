//! Finds the tokens in a text that are taken whole, before anything else.

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};

use super::vocabulary::{TokenKind, Vocabulary};
use super::{TokenId, TokenizerError};

/// A stretch of text between special tokens, or one of those.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fragment<'t> {
    Text(&'t str),
    Token(TokenId),
}

/// An automaton over the special tokens; of those that start at one place the
/// longest is taken. Time is linear in the text, however many there are.
pub(super) struct Partition {
    automaton: AhoCorasick,
    tokens: Vec<Special>,
}

#[derive(Debug, Clone, Copy)]
struct Special {
    id: TokenId,
    strip: Strip,
}

/// Whitespace that a special token takes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strip {
    None,
    Before,
    After,
}

impl Partition {
    /// Over the tokens whose kind is in `kinds`.
    pub(super) fn new(
        vocabulary: &Vocabulary,
        kinds: &[TokenKind],
        strip: impl Fn(&str) -> Strip,
    ) -> Result<Self, TokenizerError> {
        let (texts, tokens): (Vec<&str>, Vec<Special>) = vocabulary
            .ids()
            .filter_map(|id| {
                vocabulary.kind(id).filter(|kind| kinds.contains(kind))?;
                let text = vocabulary.text(id).filter(|text| !text.is_empty())?;
                let strip = strip(text);
                Some((text, Special { id, strip }))
            })
            .unzip();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(texts)
            .map_err(|_| TokenizerError::SpecialTokens)?;
        Ok(Self { automaton, tokens })
    }

    /// Hands the fragments of `text` to `sink`, in order, as long as it succeeds.
    pub(super) fn split<'t>(
        &self,
        text: &'t str,
        mut sink: impl FnMut(Fragment<'t>) -> Result<(), TokenizerError>,
    ) -> Result<(), TokenizerError> {
        let mut done = 0;
        while let Some(found) = self.automaton.find(Input::new(text).span(done..text.len())) {
            let special = self.tokens[found.pattern().as_usize()];
            let before = match special.strip {
                Strip::Before => text[done..found.start()].trim_end(),
                _ => &text[done..found.start()],
            };
            if !before.is_empty() {
                sink(Fragment::Text(before))?;
            }
            sink(Fragment::Token(special.id))?;
            done = match special.strip {
                Strip::After => text.len() - text[found.end()..].trim_start().len(),
                _ => found.end(),
            };
        }
        if done < text.len() {
            sink(Fragment::Text(&text[done..]))?;
        }
        Ok(())
    }
}
