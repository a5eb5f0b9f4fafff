//! A chat: messages, the template that makes a prompt of them, and the
//! transcript that their tokens make up.

use crate::{
    decoder::Generation,
    loaded::LoadedModel,
    sampler::SamplerParams,
    template::{ChatTemplate, TemplateError, TemplateInput},
    tokenizer::{DecodeOptions, EncodeOptions, Tokenizer, TokenizerError},
    transcript::Transcript,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Why a chat cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The model came without a template.
    #[error(
        "the model has no chat template, so it is probably not made for chats; \
         give it a prompt to complete, or name a template"
    )]
    NoTemplate,
    /// The template does not take these messages.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The text cannot be expressed in the vocabulary.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// A conversation with a model.
///
/// Its tokens are kept from turn to turn as they were generated: text that is
/// cut into tokens again may be cut otherwise, and all that follows would have
/// to be computed anew.
pub struct Chat {
    template: ChatTemplate,
    tokenizer: Arc<Tokenizer>,
    /// Further variables of the template.
    variables: Map<String, Value>,
    messages: Vec<Value>,
    transcript: Transcript,
    /// The text that the transcript's tokens stand for.
    text: String,
}

impl Chat {
    /// A chat without messages. `template` stands in for the model's own.
    pub fn new(
        loaded: &LoadedModel,
        template: Option<ChatTemplate>,
        sampling: SamplerParams,
    ) -> Result<Self, ChatError> {
        let template = match template {
            Some(template) => template,
            None => loaded.template(None)?.ok_or(ChatError::NoTemplate)?,
        };
        Ok(Self {
            template,
            tokenizer: loaded.tokenizer().clone(),
            variables: Map::new(),
            messages: Vec::new(),
            transcript: Transcript::new(sampling),
            text: String::new(),
        })
    }

    /// Sets a further variable of the template, such as `enable_thinking`.
    pub fn set_variable(&mut self, name: &str, value: Value) {
        self.variables.insert(name.into(), value);
    }

    /// The messages so far.
    pub fn messages(&self) -> &[Value] {
        &self.messages
    }

    /// Appends a message; roles are `system`, `user`, `assistant` and what
    /// else the template knows.
    pub fn push(&mut self, role: &str, content: &str) {
        self.messages
            .push(json!({"role": role, "content": content}));
    }

    /// Takes back the last message.
    pub fn pop(&mut self) -> Option<Value> {
        self.messages.pop()
    }

    /// Takes back the last message if it is an answer, so that the next one
    /// to the same messages comes out otherwise.
    pub fn take_back_answer(&mut self) -> Option<Value> {
        let is_answer = |message: &mut Value| message["role"] == "assistant";
        let answer = self.messages.pop_if(is_answer)?;
        self.transcript.reseed();
        Some(answer)
    }

    /// The transcript up to where the assistant answers next.
    pub fn prompt(&mut self) -> Result<Transcript, ChatError> {
        let token_text = |id: Option<u32>| {
            let text = id.and_then(|id| self.tokenizer.token_text(id));
            text.map(str::to_owned)
        };
        let bos = token_text(self.tokenizer.bos());
        let rendered = self.template.render(&TemplateInput {
            messages: self.messages.clone(),
            add_generation_prompt: true,
            bos_token: bos.clone(),
            eos_token: token_text(self.tokenizer.eos()),
            variables: self.variables.clone(),
            ..TemplateInput::default()
        })?;
        let options = |add_special| EncodeOptions {
            add_special,
            parse_special: true,
        };
        let follows = rendered.strip_prefix(&self.text);
        match follows.filter(|_| !self.transcript.is_empty()) {
            Some(new) => {
                let tokens = self.tokenizer.encode(new, options(false))?;
                self.transcript.push_prompt(&tokens);
            }
            None => {
                // Most templates write the BOS token themselves.
                let has_bos = bos.is_some_and(|bos| rendered.starts_with(&bos));
                let mut tokens = self.tokenizer.encode(&rendered, options(!has_bos))?;
                if !has_bos && self.tokenizer.add_eos() {
                    tokens.pop();
                }
                self.transcript.continue_as(&tokens);
            }
        }
        self.text = rendered;
        Ok(self.transcript.clone())
    }

    /// Takes in what was generated from [`prompt`](Self::prompt). An answer
    /// that was interrupted counts as far as it came.
    pub fn answered(&mut self, generation: Generation, answer: &str) -> Result<(), ChatError> {
        let start = self.transcript.len() as usize;
        self.transcript = generation.into_transcript();
        let options = DecodeOptions {
            render_special: true,
            continues: true,
        };
        let generated = &self.transcript.tokens()[start..];
        self.text += &self.tokenizer.decode(generated, options)?;
        self.push("assistant", answer);
        Ok(())
    }

    /// Forgets all messages but a system message at the beginning.
    pub fn clear(&mut self) {
        let keep = usize::from(self.messages.first().is_some_and(|m| m["role"] == "system"));
        self.messages.truncate(keep);
        self.text.clear();
        self.transcript.continue_as(&[]);
    }
}
