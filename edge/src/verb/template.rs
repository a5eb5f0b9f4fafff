//! `template`: what a chat looks like to the model.

use super::Session;
use crate::{
    console,
    exit::Usage,
    model::{self, ModelArgs, read_text},
    printable::Printable,
};
use anyhow::Context as _;
use clap::{Args, ValueHint};
use outrigger_runtime::{
    gguf::Gguf,
    template::{ChatTemplate, CivilTime, TemplateError, TemplateInput},
    tokenizer::Tokenizer,
};
use serde::{Deserialize, Deserializer};
use std::{io::IsTerminal, path::PathBuf};

/// Renders a chat template, as the model's own chat would be
///
/// The template comes from the model's file or, with --template, from a file of its own. The chat
/// is a JSON object: `messages`, `tools`, `add_generation_prompt` (false unless given),
/// `bos_token` and `eos_token` (the model's own unless given), `now` (what the template takes for
/// the present, such as 2025-01-15T12:30:45); every further field is a variable of the template.
/// What the template raises is the error. The file needs no weights.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger template -m model.gguf --messages chat.json
  outrigger template -m model.gguf --name tool_use --messages chat.json
  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}' |
    outrigger template --template chatml.jinja --messages -")]
pub(crate) struct Template {
    /// The chat, a JSON object; - for stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    messages: PathBuf,
    /// A file with the template's source, instead of the model's template
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "name")]
    template: Option<PathBuf>,
    /// The variant of the model's template, such as tool_use
    #[arg(long, value_name = "VARIANT")]
    name: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
}

impl Template {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        let (template, tokens) = match &self.template {
            // A model may be named beside it, for its tokens.
            Some(path) => {
                let source = read_text(path)?;
                let template = ChatTemplate::parse(&source);
                let template = template.with_context(|| path.display().to_string())?;
                let gguf = match &self.model.model {
                    Some(_) => Some(self.model.gguf(&session.config)?),
                    None => None,
                };
                (template, gguf.as_ref().map(EndTokens::of).transpose()?)
            }
            None => {
                let gguf = self.model.gguf(&session.config)?;
                (self.of_model(&gguf)?, Some(EndTokens::of(&gguf)?))
            }
        };
        let input = self.input(tokens.unwrap_or_default())?;
        let text = template.render(&input).map_err(|error| match error {
            // The template's own words stand alone.
            TemplateError::Raised(_) => anyhow::Error::new(error),
            error => anyhow::Error::new(error).context("the chat cannot be rendered"),
        })?;
        if session.json {
            return console::print_json(&serde_json::json!({ "text": text }));
        }
        if std::io::stdout().is_terminal() {
            // The template comes from a file that the terminal must not obey.
            console::print_exact(&Printable::lines(&text).to_string())?;
        } else {
            console::print_exact(&text)?;
        }
        Ok(())
    }

    fn of_model(&self, gguf: &Gguf) -> anyhow::Result<ChatTemplate> {
        let file = model::name(gguf);
        if let Some(name) = &self.name {
            let variants: Vec<&str> = ChatTemplate::variants(gguf.metadata()).collect();
            if !variants.contains(&name.as_str()) {
                let there = match variants.as_slice() {
                    [] => "there are no variants".to_owned(),
                    all => format!("there are {}", all.join(", ")),
                };
                return Err(Usage(format!(
                    "{file}: the model has no template variant `{name}`; {there}"
                ))
                .into());
            }
        }
        let template = ChatTemplate::from_metadata(gguf.metadata(), self.name.as_deref());
        template.with_context(|| file.clone())?.with_context(|| {
            format!("{file}: the model has no chat template; give one with --template")
        })
    }

    fn input(&self, tokens: EndTokens) -> anyhow::Result<TemplateInput> {
        let text = read_text(&self.messages)?;
        let chat: Chat = serde_json::from_str(&text).with_context(|| {
            format!(
                "{}: not a chat, which is an object with `messages`",
                self.messages.display()
            )
        })?;
        let now = chat.now.as_deref().map(CivilTime::parse).transpose();
        Ok(TemplateInput {
            messages: chat.messages,
            tools: chat.tools,
            add_generation_prompt: chat.add_generation_prompt,
            bos_token: chat.bos_token.unwrap_or(tokens.bos),
            eos_token: chat.eos_token.unwrap_or(tokens.eos),
            now: now.with_context(|| self.messages.display().to_string())?,
            variables: chat.variables,
        })
    }
}

/// The texts of a vocabulary's tokens that begin and end a text.
#[derive(Debug, Default)]
struct EndTokens {
    bos: Option<String>,
    eos: Option<String>,
}

impl EndTokens {
    fn of(gguf: &Gguf) -> anyhow::Result<Self> {
        let tokenizer = Tokenizer::from_metadata(gguf.metadata());
        let tokenizer = tokenizer.with_context(|| model::name(gguf))?;
        let text = |id: Option<_>| Some(tokenizer.token_text(id?)?.to_owned());
        Ok(Self {
            bos: text(tokenizer.bos()),
            eos: text(tokenizer.eos()),
        })
    }
}

/// A chat as the file has it.
#[derive(Debug, Deserialize)]
struct Chat {
    messages: Vec<serde_json::Value>,
    #[serde(default)]
    tools: Option<Vec<serde_json::Value>>,
    #[serde(default)]
    add_generation_prompt: bool,
    /// Null leaves the variable undefined; without the field the model's own
    /// token is used.
    #[serde(default, deserialize_with = "present")]
    bos_token: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    eos_token: Option<Option<String>>,
    #[serde(default)]
    now: Option<String>,
    #[serde(flatten)]
    variables: serde_json::Map<String, serde_json::Value>,
}

/// A field that is there, be it null.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
