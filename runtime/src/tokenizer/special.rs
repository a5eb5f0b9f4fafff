//! The tokens that are not text: which they are, and which end a generation.

use super::vocabulary::{TokenKind, Vocabulary};
use super::{TokenId, TokenizerError};
use crate::gguf::Metadata;

const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
/// Further ids that end a generation: of a turn, of a message, and of a text
/// to be filled in.
const END_KEYS: [&str; 5] = [
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
];

/// Tokens that end a generation wherever they are found: files often name only
/// one of those that their model uses. The list is llama.cpp's.
const END_TEXTS: [&str; 21] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<\u{FF5C}end\u{2581}of\u{2581}sentence\u{FF5C}>",
    "[e~[",
];

/// The same, but only where the file marks them as no text: they are plausible
/// text too, `</s>` as HTML for one.
const END_TEXTS_IF_MARKED: [&str; 12] = [
    "</s>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// What a kind of tokenizer does where the file does not say.
#[derive(Default)]
pub(super) struct Defaults {
    pub(super) bos: Option<TokenId>,
    pub(super) eos: Option<TokenId>,
    pub(super) unknown: Option<TokenId>,
    pub(super) add_bos: bool,
    /// Files may say that no BOS is added, and are wrong.
    pub(super) needs_bos: bool,
}

#[derive(Debug)]
pub(super) struct SpecialTokens {
    pub(super) bos: Option<TokenId>,
    pub(super) eos: Option<TokenId>,
    pub(super) unknown: Option<TokenId>,
    pub(super) add_bos: bool,
    pub(super) add_eos: bool,
    /// Sorted.
    pub(super) ends: Vec<TokenId>,
}

impl SpecialTokens {
    /// Reads them, and marks as control tokens the ends that a file has as text.
    pub(super) fn from_metadata(
        metadata: &Metadata,
        vocabulary: &mut Vocabulary,
        defaults: &Defaults,
    ) -> Result<Self, TokenizerError> {
        let len = vocabulary.len();
        let id = |key: &str, default: Option<TokenId>| match metadata.u32(key)? {
            // Written for "none" by some converters.
            Some(TokenId::MAX) => Ok(None),
            Some(id) if id as usize >= len => Err(TokenizerError::SpecialId {
                key: key.into(),
                id,
                len,
            }),
            Some(id) => Ok(Some(id)),
            None => Ok(default.filter(|&id| (id as usize) < len)),
        };
        let bos = id(BOS, defaults.bos)?;
        let eos = id(EOS, defaults.eos)?;
        let add_bos = metadata.bool(ADD_BOS)?.unwrap_or(defaults.add_bos)
            || (defaults.needs_bos && bos.is_some());
        let add_eos = metadata.bool(ADD_EOS)?.unwrap_or(false);
        for (add, id, key) in [(add_bos, bos, BOS), (add_eos, eos, EOS)] {
            if add && id.is_none() {
                return Err(TokenizerError::NoSpecialId { key });
            }
        }
        let mut ends: Vec<TokenId> = eos.into_iter().collect();
        for key in END_KEYS {
            ends.extend(id(key, None)?);
        }
        let unknown = id(UNKNOWN, defaults.unknown)?;
        ends.extend(named_ends(vocabulary));
        ends.sort_unstable();
        ends.dedup();
        Ok(Self {
            bos,
            eos,
            unknown,
            add_bos,
            add_eos,
            ends,
        })
    }
}

fn named_ends(vocabulary: &mut Vocabulary) -> Vec<TokenId> {
    let has = |text: &str| vocabulary.find(text).is_some();
    // There `<|end|>` closes a message, and the answer goes on.
    let end_is_inner = (has("<|return|>") && has("<|call|>"))
        || (has("<|flush|>") && (has("<|call|>") || has("<|calls|>")));
    // A vocabulary with tool responses has `</s>` as text (Gemma 4).
    let has_tool_response = has("<|tool_response>");

    let mut ends: Vec<TokenId> = END_TEXTS
        .iter()
        .filter(|&&text| !(text == "<|end|>" && end_is_inner))
        .filter_map(|text| vocabulary.find(text))
        .collect();
    for &id in &ends {
        vocabulary.set_kind(id, TokenKind::Control);
    }
    ends.extend(
        END_TEXTS_IF_MARKED
            .iter()
            .filter(|&&text| !(text == "</s>" && has_tool_response))
            .filter_map(|text| vocabulary.find(text))
            .filter(|&id| vocabulary.kind(id) == Some(TokenKind::Control)),
    );
    ends
}
