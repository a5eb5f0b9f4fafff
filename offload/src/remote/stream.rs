//! Tokens as a node decodes them: the round trip is paid once.

use super::{Client, Connect, Remote, RemoteError, Traffic};
use crate::{
    Waiter,
    wire::{Accepted, Open},
};
use outrigger_runtime::{
    decoder::{DecodeError, DecodeRequest, Decoded, Decoder, Progress, Provenance},
    transcript::Transcript,
};

/// What one request may ask of a node.
pub(super) const RUN_MAX: u32 = 4096;

/// Lets a node decode.
///
/// The node runs ahead of what the edge has committed by what is under way;
/// going back costs a round trip and nothing else.
pub struct StreamDecoder<C: Connect> {
    remote: Remote<C>,
    waiter: Waiter,
    client: Option<Client<C::Write>>,
    draft: bool,
    context: u32,
    provenance: Provenance,
}

impl<C: Connect> StreamDecoder<C> {
    /// A decoder over a node whose model has `context` positions. It must be
    /// used outside of the runtime that it waits on.
    pub fn new(
        remote: Remote<C>,
        waiter: impl Into<Waiter>,
        context: u32,
        provenance: Provenance,
    ) -> Self {
        Self {
            remote,
            waiter: waiter.into(),
            client: None,
            draft: false,
            context,
            provenance,
        }
    }

    /// The same, with the node's draft guessing for it, where the node has one.
    pub fn with_draft_at_node(mut self) -> Self {
        self.draft = true;
        self
    }

    /// Bytes of the frames so far, without what QUIC and UDP add.
    pub fn traffic(&self) -> Traffic {
        self.remote.traffic()
    }
}

impl<C: Connect> Decoder for StreamDecoder<C> {
    fn decode(
        &mut self,
        request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        if request.transcript.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        let DecodeRequest {
            transcript,
            tokens_max,
            logprobs,
            cancel,
            progress,
        } = request;
        let waiter = self.waiter.clone();
        let (told, mut tell) = std::sync::mpsc::sync_channel::<Accepted>(PROGRESS_QUEUE);
        let result = waiter.wait(async {
            let client = session(
                &mut self.client,
                &self.remote,
                transcript,
                logprobs,
                self.draft,
            )
            .await?;
            if !client.has(transcript) || client.left() == 0 {
                client.follow(transcript).await?;
                let room = self.context.saturating_sub(transcript.len()) + 1;
                let wanted = u32::try_from(tokens_max).unwrap_or(u32::MAX);
                let wanted = wanted.min(room).min(RUN_MAX);
                client.run(transcript, wanted).await?;
            }
            let mut report = |accepted| {
                // Progress that nobody looks at is of no use later.
                let _ = told.try_send(accepted);
            };
            self.remote.tokens(client, cancel, &mut report).await
        });
        drain(&mut tell, progress);
        match result {
            Ok(mut tokens) => {
                tokens.truncate(tokens_max);
                out.append(&mut tokens);
                Ok(())
            }
            Err(error) => {
                // What the stream holds no longer goes with the transcript.
                self.client = None;
                Err(error.into())
            }
        }
    }

    fn context(&self) -> u32 {
        self.context
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

/// Messages about a prompt's progress that wait to be shown.
const PROGRESS_QUEUE: usize = 16;

/// The stream for this transcript's generation: the one there is, or a new one
/// where its sampling is another.
pub(super) async fn session<'a, C: Connect>(
    client: &'a mut Option<Client<C::Write>>,
    remote: &Remote<C>,
    transcript: &Transcript,
    logprobs: Option<usize>,
    draft: bool,
) -> Result<&'a mut Client<C::Write>, RemoteError> {
    let logprobs = logprobs.map(|top| u8::try_from(top).unwrap_or(u8::MAX));
    let fits = |client: &Client<C::Write>| {
        let opened = client.opened();
        opened.sampling == *transcript.sampling() && opened.logprobs == logprobs && !client.ended()
    };
    // The old one says goodbye as it goes.
    drop(client.take_if(|client| !fits(client)));
    match client {
        Some(client) => Ok(client),
        none => {
            let open = Open {
                session: remote.next_session(),
                sampling: transcript.sampling().clone(),
                logprobs,
                tokens_max: u32::MAX,
                draft,
            };
            Ok(none.insert(Client::open(remote, open).await?))
        }
    }
}

/// Shows the last of what was told.
pub(super) fn drain(
    told: &mut std::sync::mpsc::Receiver<Accepted>,
    progress: &mut dyn FnMut(Progress),
) {
    for accepted in told.try_iter() {
        progress(Progress {
            done: accepted.done,
            total: accepted.total,
        });
    }
}
