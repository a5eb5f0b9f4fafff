use crate::gguf::MetadataError;

/// Why a tokenizer could not be built, or a text or an id not be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// A metadata key is missing or of the wrong type.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// `tokenizer.ggml.model` names a tokenizer that is not built here.
    #[error("tokenizer model `{model}` is not supported; llama, gpt2 and gemma4 are")]
    UnsupportedModel {
        /// The name in the file.
        model: String,
    },
    /// `tokenizer.ggml.pre` names a pre-tokenizer that is not known.
    #[error("pre-tokenizer `{name}` is unknown; refusing to guess how it splits text")]
    UnknownPreTokenizer {
        /// The name in the file.
        name: String,
    },
    /// The vocabulary has no tokens, or more than 32-bit ids can name.
    #[error("a vocabulary of {len} tokens cannot be used")]
    VocabularySize {
        /// Number of tokens.
        len: usize,
    },
    /// An array that has one element per token has fewer.
    #[error("metadata key `{key}` has {found} elements for {wanted} tokens")]
    ShortArray {
        /// The array's key.
        key: &'static str,
        /// Its length.
        found: usize,
        /// Number of tokens.
        wanted: usize,
    },
    /// Two tokens have the same text.
    #[error("tokens {first} and {second} are both `{text}`")]
    DuplicateToken {
        /// Their text, shortened.
        text: String,
        /// The lower id.
        first: u32,
        /// The higher id.
        second: u32,
    },
    /// A score is NaN, so that merges have no order.
    #[error("the score of token {id} is not a number")]
    Score {
        /// The token.
        id: u32,
    },
    /// A token's type is none that GGUF defines.
    #[error("token {id} has type {found}, which GGUF does not define")]
    TokenType {
        /// The token.
        id: u32,
        /// Its type in the file.
        found: i64,
    },
    /// A byte token is not written `<0xXX>`.
    #[error("token {id} is a byte token, but its text `{text}` is not of the form <0xXX>")]
    ByteToken {
        /// The token.
        id: u32,
        /// Its text, shortened.
        text: String,
    },
    /// A merge is not two tokens with a blank between them.
    #[error("merge {index}, `{merge}`, is not two tokens separated by a blank")]
    MalformedMerge {
        /// Its place in the list.
        index: usize,
        /// The merge, shortened.
        merge: String,
    },
    /// A merge takes or makes a token that is not in the vocabulary.
    #[error("merge {index} names `{token}`, which is not in the vocabulary")]
    MergeToken {
        /// Its place in the list.
        index: usize,
        /// The token, shortened.
        token: String,
    },
    /// A special token's id is not in the vocabulary.
    #[error("metadata key `{key}` is {id}, but the vocabulary has {len} tokens")]
    SpecialId {
        /// The key of the id.
        key: String,
        /// The id in the file.
        id: u32,
        /// Number of tokens.
        len: usize,
    },
    /// A token is to be added to every text, but the file does not say which.
    #[error("every text is to get the token `{key}` names, but the key is missing")]
    NoSpecialId {
        /// The key that is missing.
        key: &'static str,
    },
    /// The special tokens do not fit a search automaton.
    #[error("the special tokens are too many or too long to search for")]
    SpecialTokens,
    /// A text is longer than can be encoded at once.
    #[error("a text of {len} bytes is longer than the {max} that can be encoded at once")]
    TextTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The vocabulary cannot express a byte of the text.
    #[error("the vocabulary has no token for the byte 0x{byte:02X}")]
    NoByteToken {
        /// The byte.
        byte: u8,
    },
    /// An id is not in the vocabulary.
    #[error("token id {id} is not in the vocabulary of {len} tokens")]
    UnknownId {
        /// The id.
        id: u32,
        /// Number of tokens.
        len: usize,
    },
}

/// The start of `text`, short enough for an error message.
pub(super) fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
