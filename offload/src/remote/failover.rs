//! A node with this machine behind it.

use outrigger_runtime::decoder::{
    DecodeError, DecodeRequest, Decoded, Decoder, Provenance, Speculation,
};

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

/// Whether a node can be used, which is found out beside the decoding.
pub trait Reach: Send {
    /// Told that the node has failed, so that it is tried again from time to
    /// time.
    fn failed(&self);

    /// Whether it answers again.
    fn is_back(&self) -> bool;

    /// Why it will not come back by itself, if it is so.
    fn refused(&self) -> Option<String> {
        None
    }
}

/// Decodes at a node for as long as it answers, and else on this machine.
///
/// A failure costs no token: both go on from the transcript, which holds only
/// what was committed.
pub struct FailoverDecoder {
    remote: Box<dyn Decoder>,
    local: Box<dyn Decoder>,
    reach: Box<dyn Reach>,
    /// Whether the last tokens came from the node.
    at_node: bool,
    tell: Box<dyn FnMut(Takeover) + Send>,
}

impl FailoverDecoder {
    /// `remote`, with `local` behind it. `tell` hears of every change.
    pub fn new(
        remote: Box<dyn Decoder>,
        local: Box<dyn Decoder>,
        reach: Box<dyn Reach>,
        tell: Box<dyn FnMut(Takeover) + Send>,
    ) -> Self {
        Self {
            remote,
            local,
            reach,
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
        if self.at_node || self.reach.is_back() {
            match self.remote.decode(request.again(), out) {
                Err(DecodeError::Elsewhere(error)) => {
                    self.reach.failed();
                    if self.at_node {
                        self.at_node = false;
                        let why = error.to_string();
                        (self.tell)(Takeover::Local { why });
                    }
                }
                result => {
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
