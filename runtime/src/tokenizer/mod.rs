//! Tokenizers built from the vocabulary in a GGUF file.
//!
//! Two kinds exist: SentencePiece's byte-pair encoding, which merges by score,
//! and byte-pair encodings with a list of merges, whose text is first cut into
//! pieces by a pre-tokenizer. Results are those of the original tokenizers as
//! far as llama.cpp reproduces them; no Unicode normalization is applied.

mod bpe;
mod byte_level;
mod detokenizer;
mod error;
mod hash;
mod merge;
mod partition;
mod pretokenizer;
mod queue;
#[cfg(test)]
mod references;
mod sentencepiece;
mod special;
#[cfg(test)]
mod tests;
mod vocabulary;

use crate::gguf::Metadata;
use bpe::BytePairs;
pub(crate) use byte_level::alphabet;
pub use detokenizer::{DecodeOptions, Detokenizer};
pub use error::TokenizerError;
use merge::Merger;
use partition::{Fragment, Partition, Strip};
use pretokenizer::PreTokenizer;
use sentencepiece::SentencePiece;
use special::{Defaults, SpecialTokens};
pub use vocabulary::TokenKind;
use vocabulary::Vocabulary;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";

/// A token's place in the vocabulary.
pub type TokenId = u32;

/// The longest text that is encoded at once, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 30;

/// How SentencePiece writes a blank, U+2581.
const ESCAPED_BLANK: &str = "\u{2581}";

/// How text becomes ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// BOS and EOS are added where the vocabulary asks for them.
    pub add_special: bool,
    /// The texts of control tokens in the text become those tokens. Leave this
    /// off for text from a user: otherwise it can forge the turns of a chat.
    pub parse_special: bool,
}

/// A vocabulary with the rules for its use.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    encoder: Encoder,
    special: SpecialTokens,
    /// Over user-defined tokens, which are always taken whole.
    user_defined: Partition,
    /// Over control and unknown tokens as well.
    all_special: Partition,
    warning: Option<&'static str>,
}

enum Encoder {
    SentencePiece {
        pieces: Box<SentencePiece>,
        add_prefix: bool,
    },
    BytePairs(Box<BytePairs>),
}

impl Tokenizer {
    /// Builds the tokenizer that a model's metadata describes.
    ///
    /// # Errors
    ///
    /// If keys are missing, contradict each other, or name a kind of tokenizer
    /// or pre-tokenizer that is not known.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, TokenizerError> {
        let model = metadata
            .str(MODEL)?
            .ok_or_else(|| Metadata::missing(MODEL))?;
        let pre = match model {
            "llama" => None,
            "gpt2" => metadata
                .str(PRE)?
                .filter(|name| !name.is_empty())
                .or(Some("default")),
            "gemma4" => Some("gemma4"),
            _ => {
                return Err(TokenizerError::UnsupportedModel {
                    model: error::excerpt(model),
                });
            }
        };
        let pre = pre
            .map(|name| {
                PreTokenizer::find(name).ok_or_else(|| TokenizerError::UnknownPreTokenizer {
                    name: error::excerpt(name),
                })
            })
            .transpose()?;
        let warning = (model == "gpt2" && metadata.get(PRE).is_none()).then_some(
            "the file names no pre-tokenizer; llama.cpp's default is used, \
             which is not the one the model was trained with",
        );
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }

        let mut vocabulary = Vocabulary::from_metadata(metadata)?;
        let defaults = match pre {
            Some(pre) => Defaults {
                add_bos: pre.add_bos,
                // Gemma 4 was released with files that say it does not.
                needs_bos: model == "gemma4",
                ..Defaults::default()
            },
            None => Defaults {
                unknown: Some(0),
                bos: Some(1),
                eos: Some(2),
                add_bos: true,
                needs_bos: false,
            },
        };
        let special = SpecialTokens::from_metadata(metadata, &mut vocabulary, &defaults)?;
        let encoder = match pre {
            Some(pre) => Encoder::BytePairs(BytePairs::new(metadata, &mut vocabulary, pre)?.into()),
            None => Encoder::SentencePiece {
                pieces: SentencePiece::new(metadata, &mut vocabulary, special.unknown)?.into(),
                add_prefix: metadata
                    .bool("tokenizer.ggml.add_space_prefix")?
                    .unwrap_or(true),
            },
        };
        let strip = stripping(metadata)?;
        let user_defined = [TokenKind::UserDefined];
        let all_special = [
            TokenKind::UserDefined,
            TokenKind::Control,
            TokenKind::Unknown,
        ];
        Ok(Self {
            user_defined: Partition::new(&vocabulary, &user_defined, &strip)?,
            all_special: Partition::new(&vocabulary, &all_special, &strip)?,
            vocabulary,
            encoder,
            special,
            warning,
        })
    }

    /// The ids of `text`.
    ///
    /// Takes time linear in the text, but for the merges inside one word, which
    /// take O(n log n); memory is bounded by a constant times the text.
    ///
    /// # Errors
    ///
    /// If the text is longer than [`TEXT_BYTES_MAX`], or the vocabulary can
    /// express neither a character nor its bytes.
    pub fn encode(
        &self,
        text: &str,
        options: EncodeOptions,
    ) -> Result<Vec<TokenId>, TokenizerError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenizerError::TextTooLong {
                len: text.len(),
                max: TEXT_BYTES_MAX,
            });
        }
        let SpecialTokens {
            bos,
            eos,
            add_bos,
            add_eos,
            ..
        } = self.special;
        let mut ids = Vec::new();
        if options.add_special && add_bos {
            ids.extend(bos);
        }
        let partition = if options.parse_special {
            &self.all_special
        } else {
            &self.user_defined
        };
        let mut merger = Merger::default();
        let mut buffer = String::new();
        let mut after_special = true;
        partition.split(text, |fragment| match fragment {
            Fragment::Token(id) => {
                after_special = true;
                ids.push(id);
                Ok(())
            }
            Fragment::Text(text) => match &self.encoder {
                Encoder::BytePairs(pairs) => {
                    pairs.encode(&self.vocabulary, text, &mut merger, &mut ids)
                }
                Encoder::SentencePiece { pieces, add_prefix } => {
                    let prefix = *add_prefix && std::mem::take(&mut after_special);
                    pieces.encode(
                        &self.vocabulary,
                        text,
                        prefix,
                        &mut buffer,
                        &mut merger,
                        &mut ids,
                    )
                }
            },
        })?;
        if options.add_special && add_bos && bos.is_some() && ids.get(1).copied() == bos {
            tracing::warn!(
                "the text starts with the BOS token that is added to it: there are two now"
            );
        }
        if options.add_special && add_eos {
            ids.extend(eos);
        }
        Ok(ids)
    }

    /// The text of `ids`; bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownId`] if an id is not in the vocabulary.
    pub fn decode(
        &self,
        ids: &[TokenId],
        options: DecodeOptions,
    ) -> Result<String, TokenizerError> {
        let mut detokenizer = Detokenizer::new(self, options);
        let mut text = String::new();
        for &id in ids {
            text.push_str(detokenizer.push(self, id)?);
        }
        text.push_str(detokenizer.finish());
        Ok(text)
    }

    /// The bytes `id` stands for in decoded text: none for a control, unknown
    /// or unused token. `None` if it is not in the vocabulary.
    pub fn token_bytes(&self, id: TokenId) -> Option<&[u8]> {
        self.rendered_bytes(id, false).ok()
    }

    fn rendered_bytes(&self, id: TokenId, render_special: bool) -> Result<&[u8], TokenizerError> {
        match (self.vocabulary.kind(id), self.vocabulary.bytes(id)) {
            (Some(kind), Some(bytes)) if kind.is_text() || render_special => Ok(bytes),
            (Some(_), _) => Ok(&[]),
            (None, _) => Err(TokenizerError::UnknownId {
                id,
                len: self.vocab_len(),
            }),
        }
    }

    /// The text of `id` as the file has it.
    pub fn token_text(&self, id: TokenId) -> Option<&str> {
        self.vocabulary.text(id)
    }

    /// The token whose text in the file is `text`.
    pub fn token_id(&self, text: &str) -> Option<TokenId> {
        self.vocabulary.find(text)
    }

    /// What `id` is for.
    pub fn token_kind(&self, id: TokenId) -> Option<TokenKind> {
        self.vocabulary.kind(id)
    }

    /// Whether `id` is a control token.
    pub fn is_control(&self, id: TokenId) -> bool {
        self.token_kind(id) == Some(TokenKind::Control)
    }

    /// Number of tokens.
    pub fn vocab_len(&self) -> usize {
        self.vocabulary.len()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<TokenId> {
        self.special.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<TokenId> {
        self.special.eos
    }

    /// Whether [`EncodeOptions::add_special`] adds BOS.
    pub fn add_bos(&self) -> bool {
        self.special.add_bos
    }

    /// Whether [`EncodeOptions::add_special`] adds EOS.
    pub fn add_eos(&self) -> bool {
        self.special.add_eos
    }

    /// Whether a generation ends with `id`: EOS, the end of a turn or message,
    /// or a token known by its text to be one of those.
    pub fn is_end_of_generation(&self, id: TokenId) -> bool {
        self.special.ends.binary_search(&id).is_ok()
    }

    /// The tokens that end a generation, in ascending order.
    pub fn end_of_generation(&self) -> &[TokenId] {
        &self.special.ends
    }

    /// The pre-tokenizer in use; SentencePiece has none.
    pub fn pre_tokenizer_name(&self) -> Option<&'static str> {
        match &self.encoder {
            Encoder::BytePairs(pairs) => Some(pairs.pre.name()),
            Encoder::SentencePiece { .. } => None,
        }
    }

    /// What the user should know about this vocabulary, as one sentence.
    pub fn warning(&self) -> Option<&'static str> {
        self.warning
    }

    fn has_blank_prefix(&self) -> bool {
        matches!(
            self.encoder,
            Encoder::SentencePiece {
                add_prefix: true,
                ..
            }
        )
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("tokens", &self.vocab_len())
            .field("pre_tokenizer", &self.pre_tokenizer_name())
            .field("special", &self.special)
            .finish_non_exhaustive()
    }
}

/// Which special tokens take whitespace with them. GGUF does not say; as
/// llama.cpp does, it is known by the model's name.
fn stripping(metadata: &Metadata) -> Result<impl Fn(&str) -> Strip, TokenizerError> {
    let name = metadata.str("general.name")?.unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let phi_3 = name.contains("phi-3") || name.contains("phi3");
    let jina_v2 = metadata
        .str(PRE)?
        .is_some_and(|pre| ["jina-v2-de", "jina-v2-es", "jina-v2-code"].contains(&pre));
    Ok(move |text: &str| match text {
        "<unk>" | "<s>" | "<|endoftext|>" if phi_3 => Strip::None,
        _ if phi_3 => Strip::After,
        "<mask>" if jina_v2 => Strip::Before,
        _ => Strip::None,
    })
}

/// Appends `text` with its escaped blanks as blanks.
fn unescape(text: &str, bytes: &mut Vec<u8>) {
    let mut parts = text.split(ESCAPED_BLANK);
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        bytes.push(b' ');
        bytes.extend_from_slice(part.as_bytes());
    }
}
