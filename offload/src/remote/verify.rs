//! A node as the target of a draft on this machine.

use super::{
    Client, Connect, Remote, RemoteError, Traffic,
    stream::{drain, session},
};
use crate::{
    Waiter,
    wire::{Accepted, DRAFT_TOKENS_MAX},
};
use outrigger_runtime::{
    decoder::{DecodeError, DecodeRequest, Decoded, Decoder, Provenance, Target},
    tokenizer::TokenId,
};

/// Lets a node verify guesses: a round trip for several tokens, and only ids
/// on the wire. The node samples, with the request's own seed, so the text is
/// what it would decode by itself.
pub struct VerifyTarget<C: Connect> {
    remote: Remote<C>,
    waiter: Waiter,
    client: Option<Client<C::Write>>,
    context: u32,
    vocab: usize,
    provenance: Provenance,
}

impl<C: Connect> VerifyTarget<C> {
    /// A target over a node whose model has `context` positions and `vocab`
    /// tokens. It must be used outside of the runtime that it waits on.
    pub fn new(
        remote: Remote<C>,
        waiter: impl Into<Waiter>,
        context: u32,
        vocab: usize,
        provenance: Provenance,
    ) -> Self {
        Self {
            remote,
            waiter: waiter.into(),
            client: None,
            context,
            vocab,
            provenance,
        }
    }

    /// Bytes of the frames so far, without what QUIC and UDP add.
    pub fn traffic(&self) -> Traffic {
        self.remote.traffic()
    }
}

impl<C: Connect> Target for VerifyTarget<C> {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn guesses_max(&self) -> usize {
        DRAFT_TOKENS_MAX
    }

    fn step(
        &mut self,
        request: &mut DecodeRequest<'_>,
        drafted: &[TokenId],
        out: &mut Vec<Decoded>,
    ) -> Result<u32, DecodeError> {
        let transcript = request.transcript;
        if transcript.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        let drafted = &drafted[..drafted.len().min(DRAFT_TOKENS_MAX)];
        let waiter = self.waiter.clone();
        let (told, mut tell) = std::sync::mpsc::sync_channel::<Accepted>(1);
        let mut columns = drafted.len() + 1;
        let result: Result<_, RemoteError> = waiter.wait(async {
            let client = session(
                &mut self.client,
                &self.remote,
                transcript,
                request.logprobs,
                false,
            )
            .await?;
            if !client.has(transcript) {
                let before = client.known_len();
                client.follow(transcript).await?;
                columns += transcript.len().saturating_sub(before) as usize;
            }
            client.verify(transcript, drafted).await?;
            let mut report = |accepted| {
                let _ = told.try_send(accepted);
            };
            let tokens = (self.remote)
                .tokens(client, request.cancel, &mut report)
                .await?;
            let mut pairs = tokens.iter().zip(drafted);
            if pairs.any(|(token, guess)| token.token != *guess) {
                client.begin_epoch();
            }
            Ok(tokens)
        });
        drain(&mut tell, request.progress);
        match result {
            Ok(tokens) => {
                out.extend(tokens);
                Ok(u32::try_from(columns).unwrap_or(u32::MAX))
            }
            Err(error) => {
                self.client = None;
                Err(error.into())
            }
        }
    }
}

impl<C: Connect> Decoder for VerifyTarget<C> {
    fn decode(
        &mut self,
        mut request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        self.step(&mut request, &[], out).map(drop)
    }

    fn context(&self) -> u32 {
        self.context
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}
