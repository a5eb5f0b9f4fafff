//! The tokens of a GGUF file, without the rules that apply them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::error::excerpt;
use super::hash::FoldHash;
use super::{TokenId, TokenizerError};
use crate::gguf::{Array, Metadata};

const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";

/// What a token is for (`tokenizer.ggml.token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Text.
    Normal,
    /// Stands for what the vocabulary cannot express.
    Unknown,
    /// Steers the model and is no text: BOS, the marks of a chat turn.
    Control,
    /// Text added to a vocabulary after training, always taken whole.
    UserDefined,
    /// A place kept free.
    Unused,
    /// One byte of a character that is not in the vocabulary.
    Byte,
}

impl TokenKind {
    /// Whether the token shows in decoded text.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Normal | Self::UserDefined | Self::Byte)
    }

    fn from_gguf(value: i64) -> Option<Self> {
        Some(match value {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            // 0 is "undefined": llama.cpp renders neither.
            0 | 5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// Texts, kinds and bytes by id, and ids by text.
pub(super) struct Vocabulary {
    texts: Strings,
    bytes: Strings,
    kinds: Vec<TokenKind>,
    index: HashMap<Box<str>, TokenId, FoldHash>,
    longest: usize,
}

impl Vocabulary {
    /// Reads texts and kinds; what bytes the tokens stand for is set later.
    pub(super) fn from_metadata(metadata: &Metadata) -> Result<Self, TokenizerError> {
        let tokens = metadata
            .strings(TOKENS)?
            .ok_or_else(|| Metadata::missing(TOKENS))?;
        if tokens.is_empty() || tokens.len() >= TokenId::MAX as usize {
            return Err(TokenizerError::VocabularySize { len: tokens.len() });
        }
        let mut texts = Strings::default();
        let mut index = HashMap::with_capacity_and_hasher(tokens.len(), FoldHash::default());
        let mut longest = 0;
        for (id, text) in (0..).zip(tokens) {
            texts.push(text.as_bytes());
            longest = longest.max(text.len());
            if text.is_empty() {
                continue;
            }
            match index.entry(text.clone()) {
                Entry::Vacant(entry) => drop(entry.insert(id)),
                Entry::Occupied(entry) => {
                    return Err(TokenizerError::DuplicateToken {
                        text: excerpt(text),
                        first: *entry.get(),
                        second: id,
                    });
                }
            }
        }
        Ok(Self {
            texts,
            bytes: Strings::default(),
            kinds: kinds(metadata, tokens.len())?,
            index,
            longest,
        })
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Length in bytes of the longest token's text.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TokenId> {
        0..self.len() as TokenId
    }

    pub(super) fn find(&self, text: &str) -> Option<TokenId> {
        self.index.get(text).copied()
    }

    pub(super) fn text(&self, id: TokenId) -> Option<&str> {
        // The texts came in as strings; only their boundaries are kept.
        std::str::from_utf8(self.texts.get(id)?).ok()
    }

    pub(super) fn kind(&self, id: TokenId) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    pub(super) fn set_kind(&mut self, id: TokenId, kind: TokenKind) {
        if let Some(slot) = self.kinds.get_mut(id as usize) {
            *slot = kind;
        }
    }

    /// The bytes the token stands for, whether or not it is text.
    pub(super) fn bytes(&self, id: TokenId) -> Option<&[u8]> {
        self.bytes.get(id)
    }

    /// Sets what the tokens stand for: `spell` appends the bytes of a normal
    /// token's text; a byte token is its byte, any other its text.
    pub(super) fn spell(
        &mut self,
        spell: impl Fn(&str, &mut Vec<u8>),
    ) -> Result<(), TokenizerError> {
        let mut bytes = Strings::default();
        let mut buffer = Vec::new();
        for id in self.ids() {
            let text = self.text(id).unwrap_or_default();
            buffer.clear();
            match self.kinds[id as usize] {
                TokenKind::Normal => spell(text, &mut buffer),
                TokenKind::Byte => {
                    buffer.push(byte_of(text).ok_or_else(|| TokenizerError::ByteToken {
                        id,
                        text: excerpt(text),
                    })?);
                }
                _ => buffer.extend_from_slice(text.as_bytes()),
            }
            bytes.push(&buffer);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// The ids of `<0x00>` to `<0xFF>`.
    pub(super) fn byte_tokens(&self) -> [Option<TokenId>; 256] {
        std::array::from_fn(|byte| self.find(&format!("<0x{byte:02X}>")))
    }
}

/// The byte that `<0xXX>` stands for.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

fn kinds(metadata: &Metadata, len: usize) -> Result<Vec<TokenKind>, TokenizerError> {
    let Some(types) = metadata.array(TOKEN_TYPES)? else {
        return Ok(vec![TokenKind::Normal; len]);
    };
    check_len(TOKEN_TYPES, types, len)?;
    (0..len)
        .map(|at| {
            let found = match types {
                Array::I32(types) => types[at].into(),
                Array::U32(types) => types[at].into(),
                _ => return Err(wrong_type(TOKEN_TYPES, "an array of i32")),
            };
            TokenKind::from_gguf(found).ok_or(TokenizerError::TokenType {
                id: at as TokenId,
                found,
            })
        })
        .collect()
}

/// The score of every token; SentencePiece cannot do without.
pub(super) fn scores(metadata: &Metadata, len: usize) -> Result<Vec<f32>, TokenizerError> {
    let scores = metadata
        .array(SCORES)?
        .ok_or_else(|| Metadata::missing(SCORES))?;
    check_len(SCORES, scores, len)?;
    let scores: Vec<f32> = match scores {
        Array::F32(scores) => scores[..len].to_vec(),
        Array::I32(scores) => scores[..len].iter().map(|&score| score as f32).collect(),
        _ => return Err(wrong_type(SCORES, "an array of f32")),
    };
    match scores.iter().position(|score| score.is_nan()) {
        Some(id) => Err(TokenizerError::Score { id: id as TokenId }),
        None => Ok(scores),
    }
}

fn check_len(key: &'static str, array: &Array, wanted: usize) -> Result<(), TokenizerError> {
    if array.len() < wanted {
        return Err(TokenizerError::ShortArray {
            key,
            found: array.len(),
            wanted,
        });
    }
    Ok(())
}

fn wrong_type(key: &str, wanted: &'static str) -> TokenizerError {
    crate::gguf::MetadataError::WrongType {
        key: key.into(),
        found: "another array",
        wanted,
    }
    .into()
}

/// Byte strings end to end.
#[derive(Default)]
struct Strings {
    data: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    fn push(&mut self, string: &[u8]) {
        self.data.extend_from_slice(string);
        self.ends.push(self.data.len());
    }

    fn get(&self, at: u32) -> Option<&[u8]> {
        let at = at as usize;
        let end = *self.ends.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.data[start..end])
    }
}
