//! What can go wrong with a chat template.

use crate::gguf::MetadataError;

/// Why a template was refused or did not render.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The source is longer than a template may be.
    #[error("the chat template has {bytes} bytes, at most {max} are read")]
    TooLarge {
        /// Length of the source.
        bytes: usize,
        /// The longest source that is read.
        max: usize,
    },
    /// The source is not a template, or uses what a chat template cannot use.
    #[error("chat template, line {line}: {message}")]
    Syntax {
        /// Line of the source, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The template called `raise_exception`; the message is its own.
    #[error("{0}")]
    Raised(String),
    /// Rendering took more work, memory, nesting or output than is allowed.
    #[error("the chat template was stopped: {0}")]
    Limit(String),
    /// An expression failed, as it would in Jinja.
    #[error("chat template, line {line}: {message}")]
    Render {
        /// Line of the source, from 1; 0 if the engine does not know it.
        line: usize,
        /// What failed there.
        message: String,
    },
    /// `now` is not a date that exists, written like `2025-01-15T12:30:45`.
    #[error("`{0}` is not a time like 2025-01-15T12:30:45")]
    Time(String),
    /// A template key of the model holds something else than a string.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The thread a template is read and rendered on could not be started.
    #[error("the chat template's thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// Marks an engine error as one that the template raised itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// Marks an engine error as a limit of ours.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Exceeded(pub(super) &'static str);

impl Exceeded {
    pub(super) fn error(what: &'static str) -> minijinja::Error {
        minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, what).with_source(Self(what))
    }
}

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(at) = cause {
            if let Some(Raised(message)) = at.downcast_ref() {
                return Self::Raised(message.clone());
            }
            if let Some(Exceeded(what)) = at.downcast_ref() {
                return Self::Limit((*what).into());
            }
            if let Some(inner) = at.downcast_ref::<minijinja::Error>()
                && inner.kind() == minijinja::ErrorKind::OutOfFuel
            {
                return Self::Limit("it does more work than its input can need".into());
            }
            cause = at.source();
        }
        let line = error.line().unwrap_or(0);
        let message = match error.detail() {
            Some(detail) => detail.into(),
            None => error.kind().to_string(),
        };
        if error.kind() == minijinja::ErrorKind::SyntaxError {
            Self::Syntax { line, message }
        } else {
            Self::Render { line, message }
        }
    }
}
