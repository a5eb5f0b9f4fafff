use super::{TokenId, Tokenizer, TokenizerError};

/// How ids become text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Control tokens show as their text; otherwise they are left out.
    pub render_special: bool,
    /// The ids follow on other text. Otherwise the blank that SentencePiece
    /// puts before a text is taken off again.
    pub continues: bool,
}

/// Turns ids into text one at a time and never cuts a character: bytes that
/// may be the start of one are held back until it is whole or proven invalid.
///
/// Invalid bytes become U+FFFD as [`String::from_utf8_lossy`] has it, so what
/// the calls return is, end to end, what [`Tokenizer::decode`] returns.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    render_special: bool,
    strip_blank: bool,
    /// Bytes of an incomplete character, then those of the next token.
    bytes: Vec<u8>,
    text: String,
}

impl Detokenizer {
    /// For ids of `tokenizer`'s vocabulary.
    pub fn new(tokenizer: &Tokenizer, options: DecodeOptions) -> Self {
        Self {
            render_special: options.render_special,
            strip_blank: tokenizer.has_blank_prefix() && !options.continues,
            bytes: Vec::new(),
            text: String::new(),
        }
    }

    /// Takes the next id and returns the characters that it completes.
    /// `tokenizer` is the one given to [`Detokenizer::new`].
    ///
    /// Allocates only while the buffers grow to the longest token.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownId`]; the state is then as before.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: TokenId) -> Result<&str, TokenizerError> {
        let mut token = tokenizer.rendered_bytes(id, self.render_special)?;
        if self.strip_blank && !token.is_empty() {
            self.strip_blank = false;
            token = token.strip_prefix(b" ").unwrap_or(token);
        }
        self.bytes.extend_from_slice(token);
        self.text.clear();
        self.take_characters();
        Ok(&self.text)
    }

    /// Ends the text: what is still held back is invalid.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        if !self.bytes.is_empty() {
            self.bytes.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        &self.text
    }

    fn take_characters(&mut self) {
        let mut taken = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.text.push_str(chunk.valid());
            taken += chunk.valid().len();
            let invalid = chunk.invalid();
            let at_end = taken + invalid.len() == self.bytes.len();
            if at_end && may_continue(invalid) {
                break;
            }
            if !invalid.is_empty() {
                self.text.push(char::REPLACEMENT_CHARACTER);
                taken += invalid.len();
            }
        }
        self.bytes.drain(..taken);
    }
}

/// Whether `bytes` are the start of a character.
fn may_continue(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
