//! A node with this machine behind it.

use outrigger_runtime::decoder::{
    DecodeError, DecodeRequest, Decoded, Decoder, Provenance, Speculation,
};
use std::time::{Duration, Instant};

/// What a user is told when another decoder goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takeover {
    /// This machine goes on, because the node failed.
    Local {
        /// What happened.
        why: String,
    },
    /// The node goes on.
    Remote,
}

/// How long a node that failed is left alone at first.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// And at most.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Decodes at a node for as long as it answers, and else on this machine.
///
/// A failure costs no token: both go on from the transcript, which holds only
/// what was committed.
pub struct FailoverDecoder {
    remote: Box<dyn Decoder>,
    local: Box<dyn Decoder>,
    /// When the node is tried again, after it failed.
    retry: Option<Instant>,
    pause: Duration,
    /// Whether the last tokens came from the node.
    at_node: bool,
    tell: Box<dyn FnMut(Takeover) + Send>,
}

impl FailoverDecoder {
    /// `remote`, with `local` behind it. `tell` hears of every change.
    pub fn new(
        remote: Box<dyn Decoder>,
        local: Box<dyn Decoder>,
        tell: Box<dyn FnMut(Takeover) + Send>,
    ) -> Self {
        Self {
            remote,
            local,
            retry: None,
            pause: PAUSE_MIN,
            at_node: true,
            tell,
        }
    }

    fn current(&self) -> &dyn Decoder {
        match self.at_node {
            true => self.remote.as_ref(),
            false => self.local.as_ref(),
        }
    }
}

impl Decoder for FailoverDecoder {
    fn decode(
        &mut self,
        mut request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        if self.retry.is_none_or(|at| Instant::now() >= at) {
            match self.remote.decode(request.again(), out) {
                Err(DecodeError::Elsewhere(error)) => {
                    self.retry = Some(Instant::now() + self.pause);
                    self.pause = (self.pause * 2).min(PAUSE_MAX);
                    if self.at_node {
                        self.at_node = false;
                        let why = error.to_string();
                        (self.tell)(Takeover::Local { why });
                    }
                }
                result => {
                    self.retry = None;
                    self.pause = PAUSE_MIN;
                    if !self.at_node && result.is_ok() {
                        self.at_node = true;
                        (self.tell)(Takeover::Remote);
                    }
                    return result;
                }
            }
        }
        self.local.decode(request, out)
    }

    fn context(&self) -> u32 {
        self.remote.context().min(self.local.context())
    }

    fn provenance(&self) -> &Provenance {
        self.current().provenance()
    }

    fn speculation(&self) -> Option<&Speculation> {
        self.current().speculation()
    }
}
