//! Byte-pair encoding with a list of merges ("gpt2", "gemma4").

use std::collections::HashMap;

use super::byte_level::{self, Bytes};
use super::error::excerpt;
use super::hash::FoldHash;
use super::merge::{Merge, Merger, NO_TOKEN};
use super::pretokenizer::{PreTokenizer, Spelling, Whole};
use super::vocabulary::{TokenKind, Vocabulary};
use super::{ESCAPED_BLANK, TokenId, TokenizerError};
use crate::gguf::Metadata;

const MERGES: &str = "tokenizer.ggml.merges";

pub(super) struct BytePairs {
    pub(super) pre: &'static PreTokenizer,
    merges: HashMap<u64, Merge, FoldHash>,
    /// Byte-level: the tokens of single bytes. Escaped: the byte tokens.
    byte_ids: [Option<TokenId>; 256],
    alphabet: [char; 256],
}

impl BytePairs {
    pub(super) fn new(
        metadata: &Metadata,
        vocabulary: &mut Vocabulary,
        pre: &'static PreTokenizer,
    ) -> Result<Self, TokenizerError> {
        let alphabet = byte_level::alphabet();
        let byte_ids = match pre.spelling {
            Spelling::ByteLevel => {
                let bytes = Bytes::new();
                vocabulary.spell(|text, out| bytes.spell(text, out))?;
                alphabet.map(|c| text_token(vocabulary, c.encode_utf8(&mut [0; 4])))
            }
            Spelling::Escaped => {
                vocabulary.spell(super::unescape)?;
                vocabulary.byte_tokens()
            }
        };
        Ok(Self {
            pre,
            merges: merges(metadata, vocabulary)?,
            byte_ids,
            alphabet,
        })
    }

    /// Appends the tokens of `text`, which holds no special ones.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        merger: &mut Merger,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), TokenizerError> {
        let escaped;
        let text = match self.pre.spelling {
            Spelling::ByteLevel => text,
            Spelling::Escaped => {
                escaped = text.replace(' ', ESCAPED_BLANK);
                &escaped
            }
        };
        let mut spelled = String::new();
        let mut result = Ok(());
        self.pre.split(text, &mut |piece| {
            if result.is_ok() {
                result = self.encode_piece(vocabulary, piece, &mut spelled, merger, ids);
            }
        });
        result
    }

    fn encode_piece(
        &self,
        vocabulary: &Vocabulary,
        piece: &str,
        spelled: &mut String,
        merger: &mut Merger,
        ids: &mut Vec<TokenId>,
    ) -> Result<(), TokenizerError> {
        if piece.len() <= vocabulary.longest()
            && self.pre.whole.applies(piece)
            && let Some(id) = text_token(vocabulary, self.spell(piece, spelled))
        {
            ids.push(id);
            return Ok(());
        }
        merger.clear();
        match self.pre.spelling {
            Spelling::ByteLevel => {
                for (end, byte) in (1..).zip(piece.bytes()) {
                    merger.push(end, self.byte_ids[byte as usize].unwrap_or(NO_TOKEN));
                }
            }
            Spelling::Escaped => {
                for (at, c) in piece.char_indices() {
                    let end = at + c.len_utf8();
                    let id = text_token(vocabulary, &piece[at..end]);
                    merger.push(end as u32, id.unwrap_or(NO_TOKEN));
                }
            }
        }
        merger.merge(|left, right| self.merges.get(&pair(left.id, right.id)).copied());
        for part in merger.parts() {
            if part.id != NO_TOKEN {
                ids.push(part.id);
                continue;
            }
            for &byte in &piece.as_bytes()[part.start as usize..part.end as usize] {
                let id = self.byte_ids[byte as usize];
                ids.push(id.ok_or(TokenizerError::NoByteToken { byte })?);
            }
        }
        Ok(())
    }

    /// `piece` as the vocabulary writes it.
    fn spell<'s>(&self, piece: &'s str, buffer: &'s mut String) -> &'s str {
        match self.pre.spelling {
            Spelling::ByteLevel => {
                buffer.clear();
                buffer.extend(piece.bytes().map(|byte| self.alphabet[byte as usize]));
                buffer
            }
            Spelling::Escaped => piece,
        }
    }
}

impl Whole {
    fn applies(self, piece: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::LineFeeds => piece.starts_with('\n'),
        }
    }
}

/// The token `text`, unless it is one that plain text may not become.
fn text_token(vocabulary: &Vocabulary, text: &str) -> Option<TokenId> {
    let id = vocabulary.find(text)?;
    let kind = vocabulary.kind(id)?;
    (kind != TokenKind::Control && kind != TokenKind::Unknown).then_some(id)
}

fn merges(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
) -> Result<HashMap<u64, Merge, FoldHash>, TokenizerError> {
    let list = metadata
        .strings(MERGES)?
        .ok_or_else(|| Metadata::missing(MERGES))?;
    let mut merges = HashMap::with_capacity_and_hasher(list.len(), FoldHash::default());
    let mut joined = String::new();
    for (index, merge) in list.iter().enumerate() {
        // A token may start with a blank, so the separator is looked for after
        // its first byte.
        let separator = merge.bytes().skip(1).position(|byte| byte == b' ');
        let (left, right) = separator
            .map(|at| (&merge[..at + 1], &merge[at + 2..]))
            .filter(|(_, right)| !right.is_empty())
            .ok_or_else(|| TokenizerError::MalformedMerge {
                index,
                merge: excerpt(merge),
            })?;
        joined.clear();
        joined.extend([left, right]);
        let find = |text: &str| {
            vocabulary
                .find(text)
                .ok_or_else(|| TokenizerError::MergeToken {
                    index,
                    token: excerpt(text),
                })
        };
        let made = Merge {
            rank: index as u32,
            id: find(&joined)?,
        };
        merges
            .entry(pair(find(left)?, find(right)?))
            .or_insert(made);
    }
    Ok(merges)
}

fn pair(left: TokenId, right: TokenId) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}
