//! SentencePiece's byte-pair encoding ("llama"): the pair that makes the token
//! with the highest score is merged first.

use std::collections::HashSet;

use super::merge::{Merge, Merger, NO_TOKEN};
use super::vocabulary::{self, TokenKind, Vocabulary};
use super::{ESCAPED_BLANK, TokenId, TokenizerError};
use crate::gguf::Metadata;

const BLANK: char = '\u{2581}';
/// The rank of a token that text is never merged to.
const NEVER: u32 = u32::MAX;

pub(super) struct SentencePiece {
    /// By id: 0 for the highest score; equal scores have equal ranks.
    ranks: Vec<u32>,
    byte_ids: [Option<TokenId>; 256],
    unknown: Option<TokenId>,
    /// The characters that stand before a blank inside some token. After any
    /// other no merge crosses the blank, so the text may be cut there.
    before_blank: HashSet<char>,
}

impl SentencePiece {
    pub(super) fn new(
        metadata: &Metadata,
        vocabulary: &mut Vocabulary,
        unknown: Option<TokenId>,
    ) -> Result<Self, TokenizerError> {
        vocabulary.spell(super::unescape)?;
        let scores = vocabulary::scores(metadata, vocabulary.len())?;
        Ok(Self {
            ranks: ranks(&scores, vocabulary),
            byte_ids: vocabulary.byte_tokens(),
            unknown,
            before_blank: before_blank(vocabulary),
        })
    }

    /// Appends the tokens of `text`, which holds no special ones; `buffer` is
    /// scratch. With `prefix` a blank is put before the text.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        prefix: bool,
        buffer: &mut String,
        merger: &mut Merger,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), TokenizerError> {
        buffer.clear();
        if prefix {
            buffer.push(BLANK);
        }
        let mut parts = text.split(' ');
        buffer.extend(parts.next());
        buffer.extend(parts.flat_map(|part| [ESCAPED_BLANK, part]));

        let mut start = 0;
        let mut before = BLANK;
        for (at, c) in buffer.char_indices() {
            if c == BLANK && before != BLANK && !self.before_blank.contains(&before) {
                self.encode_part(vocabulary, &buffer[start..at], merger, ids)?;
                start = at;
            }
            before = c;
        }
        self.encode_part(vocabulary, &buffer[start..], merger, ids)
    }

    fn encode_part(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        merger: &mut Merger,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), TokenizerError> {
        merger.clear();
        for (at, c) in text.char_indices() {
            // Most characters are merged: those left are looked up at the end.
            merger.push((at + c.len_utf8()) as u32, NO_TOKEN);
        }
        let token = |start: u32, end: u32| {
            let text = text.get(start as usize..end as usize)?;
            let id = (text.len() <= vocabulary.longest())
                .then(|| vocabulary.find(text))
                .flatten()?;
            let rank = self.ranks[id as usize];
            (rank != NEVER).then_some(Merge { rank, id })
        };
        merger.merge(|left, right| token(left.start, right.end));
        for part in merger.parts() {
            if part.id != NO_TOKEN {
                ids.push(part.id);
            } else if let Some(found) = token(part.start, part.end) {
                ids.push(found.id);
            } else {
                let bytes = &text.as_bytes()[part.start as usize..part.end as usize];
                self.encode_bytes(bytes, ids)?;
            }
        }
        Ok(())
    }

    /// A character that is no token: its bytes, or the unknown token.
    fn encode_bytes(&self, bytes: &[u8], ids: &mut Vec<TokenId>) -> Result<(), TokenizerError> {
        let missing = |&&byte: &&u8| self.byte_ids[byte as usize].is_none();
        if let Some(&byte) = bytes.iter().find(missing) {
            ids.push(self.unknown.ok_or(TokenizerError::NoByteToken { byte })?);
        } else {
            ids.extend(
                bytes
                    .iter()
                    .filter_map(|&byte| self.byte_ids[byte as usize]),
            );
        }
        Ok(())
    }
}

fn ranks(scores: &[f32], vocabulary: &Vocabulary) -> Vec<u32> {
    // Adding zero makes -0 and 0 one score.
    let score = |id: TokenId| scores[id as usize] + 0.0;
    let mut ids: Vec<TokenId> = vocabulary
        .ids()
        .filter(|&id| {
            matches!(
                vocabulary.kind(id),
                Some(TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused)
            )
        })
        .collect();
    ids.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
    let mut ranks = vec![NEVER; scores.len()];
    let mut rank = 0;
    let mut before = None;
    for id in ids {
        if before.is_some_and(|before| before != score(id)) {
            rank += 1;
        }
        before = Some(score(id));
        ranks[id as usize] = rank;
    }
    ranks
}

fn before_blank(vocabulary: &Vocabulary) -> HashSet<char> {
    vocabulary
        .ids()
        .filter_map(|id| vocabulary.text(id))
        .flat_map(|text| {
            text.match_indices(BLANK)
                .filter_map(|(at, _)| text[..at].chars().next_back())
        })
        .filter(|&c| c != BLANK)
        .collect()
}
