//! Chat templates: Jinja source from the model file, rendered as Hugging
//! Face's transformers renders it.
//!
//! A template comes with a model, so it is as hostile as any file. Work and
//! bytes are charged against a budget in proportion to the input, depth is
//! bounded where values are kept and used (`source`) and where they are
//! printed, and both compiling and rendering run on a thread whose stack is large enough
//! for what those bounds allow.

mod charges;
mod clock;
mod error;
mod hold;
mod json;
mod methods;
mod source;
mod text;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

use std::io;

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};

use crate::gguf::Metadata;

pub use clock::CivilTime;
pub use error::TemplateError;

use error::{Exceeded, Raised};

/// The key of a model's chat template; named variants follow after a dot.
const TEMPLATE_KEY: &str = "tokenizer.chat_template";

/// The name the engine knows the template by.
const NAME: &str = "chat_template";

/// Bytes of rendered text.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// Steps of work for any input, and for each byte of it. A step is an
/// instruction or 64 bytes made; a template of 2025 takes about 200 a message.
const FUEL_BASE: u64 = 1_000_000;
const FUEL_PER_BYTE: u64 = 8;

/// Frames of loops and calls inside each other.
const RECURSION_MAX: usize = 200;

/// Address space for the stack, touched only as far as it is used: the bounds
/// in `source` let a value nest some 80,000 deep within one expression.
const STACK_BYTES: usize = 256 << 20;

/// What a template is rendered with.
#[derive(Debug, Clone, Default)]
pub struct TemplateInput {
    /// The conversation, as in OpenAI's API: objects with `role`, `content`,
    /// `tool_calls` and whatever else the template reads.
    pub messages: Vec<serde_json::Value>,
    /// Descriptions of the tools the model may call; `None` is Jinja's `none`.
    pub tools: Option<Vec<serde_json::Value>>,
    /// Whether to end with the opening of the assistant's next message.
    pub add_generation_prompt: bool,
    /// Text of the begin-of-sequence token; undefined when absent.
    pub bos_token: Option<String>,
    /// Text of the end-of-sequence token; undefined when absent.
    pub eos_token: Option<String>,
    /// What `strftime_now` sees; the system's clock in UTC when absent.
    pub now: Option<CivilTime>,
    /// Further variables of the template, such as `enable_thinking`. They win
    /// over the ones above.
    pub variables: serde_json::Map<String, serde_json::Value>,
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
}

impl ChatTemplate {
    /// Reads a template.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        on_large_stack(|| {
            let mut environment = environment();
            environment.add_template_owned(NAME, source::guarded(source)?)?;
            Ok(Self {
                environment,
                source: source.into(),
            })
        })
    }

    /// Reads the template of a model: the one called `name` if there is such
    /// a variant (`tool_use`, `rag`), otherwise the default one. `None` if the
    /// model has no template.
    pub fn from_metadata(
        metadata: &Metadata,
        name: Option<&str>,
    ) -> Result<Option<Self>, TemplateError> {
        let variant = match name {
            Some(name) => metadata.str(&format!("{TEMPLATE_KEY}.{name}"))?,
            None => None,
        };
        let source = match variant {
            Some(source) => Some(source),
            None => metadata.str(TEMPLATE_KEY)?,
        };
        source.map(Self::parse).transpose()
    }

    /// The names of the variants a model has beside the default template.
    pub fn variants(metadata: &Metadata) -> impl Iterator<Item = &str> {
        metadata.iter().filter_map(|(key, _)| {
            let name = key.strip_prefix(TEMPLATE_KEY)?.strip_prefix('.')?;
            (!name.is_empty()).then_some(name)
        })
    }

    /// The source as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a conversation.
    pub fn render(&self, input: &TemplateInput) -> Result<String, TemplateError> {
        on_large_stack(|| {
            let mut bytes = 0;
            let context = context(input, &mut bytes)?;
            let mut environment = self.environment.clone();
            environment.set_fuel(Some(FUEL_BASE + FUEL_PER_BYTE * bytes));
            let template = environment.get_template(NAME)?;
            let mut text = BoundedText::default();
            template.render_captured_to(context, &mut text)?;
            String::from_utf8(text.0)
                .map_err(|_| TemplateError::Limit("its output is not text".into()))
        })
    }
}

/// Runs `work` where recursion as deep as the limits allow has room.
fn on_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, TemplateError> + Send,
) -> Result<T, TemplateError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("chat-template".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(TemplateError::Thread)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(TemplateError::Limit("the template engine panicked".into())))
    })
}

/// The engine set up as transformers sets up Jinja.
fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_syntax(source::syntax());
    env.set_debug(false);
    env.set_undefined_behavior(UndefinedBehavior::Lenient);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_recursion_limit(RECURSION_MAX);
    env.set_unknown_method_callback(methods::call);
    env.set_formatter(|out, state, value| {
        if let Some(text) = value.as_str() {
            return Ok(out.write_str(text)?);
        }
        let mut sink = text::Sink::new(state);
        text::write_str(&mut sink, value)?;
        Ok(out.write_str(&sink.into_string())?)
    });

    env.remove_global("debug");
    env.remove_filter("pprint");
    env.add_filter("tojson", json::tojson);
    env.add_filter("string", text::string);
    env.add_filter("trim", methods::trim);
    env.add_filter("format", methods::format);
    env.add_filter("join", methods::join);
    env.add_filter("outrigger_hold", hold::hold);
    env.add_filter("outrigger_hold_attribute", hold::hold_attribute);
    env.add_filter("outrigger_operand", hold::operand);
    env.add_filter("outrigger_factor", hold::factor);
    env.add_filter("outrigger_text", text::operand);
    env.add_function("namespace", hold::namespace);
    env.add_function(
        "raise_exception",
        |state: &State, message: &Value| -> Result<Value, Error> {
            let message = text::string(state, message)?.to_string();
            let error = Error::new(ErrorKind::InvalidOperation, message.clone());
            Err(error.with_source(Raised(message)))
        },
    );

    // Jinja asks whether a value has a length and items, so that strings and
    // mappings count as sequences.
    env.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map
        )
    });
    env.add_test("iterable", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Undefined
                | ValueKind::String
                | ValueKind::Seq
                | ValueKind::Map
                | ValueKind::Iterable
        )
    });
    env
}

/// The template's variables; counts the bytes of the input.
fn context(input: &TemplateInput, bytes: &mut u64) -> Result<Value, TemplateError> {
    let mut list = |items: &[serde_json::Value]| -> Result<Value, TemplateError> {
        let items = items.iter().map(|item| value(item, bytes, 0));
        Ok(Value::from(items.collect::<Result<Vec<_>, _>>()?))
    };
    let messages = list(&input.messages)?;
    let tools = match &input.tools {
        Some(tools) => list(tools)?,
        None => Value::from(()),
    };
    let now = input.now;
    let strftime_now = Value::from_function(move |state: &State, format: &str| {
        // A directive of two characters may stand for thirty.
        text::pay(state, format.len().saturating_mul(16))?;
        Ok::<_, Error>(now.unwrap_or_else(CivilTime::now).format(format))
    });
    let mut variables = vec![
        (Value::from("messages"), messages),
        (Value::from("tools"), tools),
        (Value::from("documents"), Value::from(())),
        (
            Value::from("add_generation_prompt"),
            Value::from(input.add_generation_prompt),
        ),
        (Value::from("strftime_now"), strftime_now),
    ];
    for (name, token) in [
        ("bos_token", &input.bos_token),
        ("eos_token", &input.eos_token),
    ] {
        if let Some(token) = token {
            variables.push((Value::from(name), Value::from(token.as_str())));
        }
    }
    for (name, extra) in &input.variables {
        variables.push((Value::from(name.as_str()), value(extra, bytes, 0)?));
    }
    Ok(Value::from_pairs(variables))
}

/// A JSON value as the engine's.
fn value(json: &serde_json::Value, bytes: &mut u64, depth: usize) -> Result<Value, TemplateError> {
    use serde_json::Value as Json;
    if depth >= hold::DEPTH_MAX {
        return Err(Exceeded::error("a value is nested too deeply").into());
    }
    *bytes += 8;
    Ok(match json {
        Json::Null => Value::from(()),
        Json::Bool(v) => Value::from(*v),
        Json::Number(v) => match (v.as_u64(), v.as_i64(), v.as_f64()) {
            (Some(v), _, _) => Value::from(v),
            (_, Some(v), _) => Value::from(v),
            (_, _, v) => Value::from(v.unwrap_or(f64::NAN)),
        },
        Json::String(v) => {
            *bytes += v.len() as u64;
            Value::from(v.as_str())
        }
        Json::Array(items) => {
            let items = items.iter().map(|item| value(item, bytes, depth + 1));
            Value::from(items.collect::<Result<Vec<_>, _>>()?)
        }
        Json::Object(fields) => {
            let fields = fields.iter().map(|(key, field)| {
                *bytes += key.len() as u64;
                Ok((Value::from(key.as_str()), value(field, bytes, depth + 1)?))
            });
            Value::from_pairs(fields.collect::<Result<Vec<_>, TemplateError>>()?)
        }
    })
}

/// Rendered text that refuses to grow past its bound.
#[derive(Default)]
struct BoundedText(Vec<u8>);

impl io::Write for BoundedText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other(Exceeded("its output is too long")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
