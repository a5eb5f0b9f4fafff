//! What is said of a generation when it ends: never its text.

use super::metrics::reason;
use crate::wire::{Failed, Failure, ToEdge, ToNode};
use std::time::Duration;
use tokio::time::Instant;

/// What an edge asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    mode: Option<&'static str>,
    prompt_tokens: u64,
}

impl Asked {
    pub(super) fn note(&mut self, message: &ToNode) {
        match message {
            ToNode::Append(append) if append.prompt => {
                self.prompt_tokens += append.tokens.len() as u64;
            }
            ToNode::Run(_) => self.mode = Some("stream"),
            ToNode::Verify(_) => self.mode = Some("verify"),
            _ => {}
        }
    }
}

/// What it was answered.
#[derive(Debug)]
pub(super) struct Answered {
    begun: Instant,
    first: Option<Duration>,
    tokens: u64,
    trouble: Option<&'static str>,
}

impl Answered {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            first: None,
            tokens: 0,
            trouble: None,
        }
    }

    pub(super) fn note(&mut self, message: &ToEdge) {
        match message {
            ToEdge::Tokens(tokens) => {
                self.first.get_or_insert_with(|| self.begun.elapsed());
                self.tokens += tokens.tokens.len() as u64;
            }
            ToEdge::Refused(refused)
            | ToEdge::Failed(Failed {
                failure: Failure::Refused(refused),
                ..
            }) => self.trouble = Some(reason(refused)),
            ToEdge::Failed(Failed { failure, .. }) => {
                self.trouble = Some(match failure {
                    Failure::Draining => "draining",
                    _ => "compute",
                });
            }
            _ => {}
        }
    }

    /// Logs the end of a generation; `end` says how it came.
    pub(super) fn log(&self, asked: &Asked, client: &str, session: u64, end: &str) {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            client,
            session,
            mode = asked.mode.unwrap_or("none"),
            prompt_tokens = asked.prompt_tokens,
            tokens = self.tokens,
            ttft_ms = self.first.map(ms),
            ms = ms(self.begun.elapsed()),
            end,
            trouble = self.trouble,
            "generation ended"
        );
    }
}
