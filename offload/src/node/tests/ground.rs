//! A node over pipes in memory, and an edge that says what it likes.

use crate::{
    frames::{FrameError, FrameReader},
    node::{Compute, Engine, EngineHandle, Node, NodeLimits},
    remote::{Connect, RemoteError},
    wire::{
        Append, Failed, Failure, ModelIdentity, Open, Refused, Run, StepTimes, ToEdge, ToNode,
        WireToken, encode,
    },
};
use outrigger_runtime::{
    decoder::{DecodeError, Decoded, Outcome, Part},
    kv::SequenceId,
    sampler::{SamplerParams, SamplerState},
    tokenizer::TokenId,
    transcript::Transcript,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    task::JoinHandle,
};

pub(super) const CONTEXT: u32 = 512;
const TIMES: StepTimes = StepTimes {
    step_ms: 1.0,
    prefill_ms: 1.0,
    verify_ms: 1.0,
};
/// A pass that holds this token fails.
pub(super) const POISON: TokenId = 1_000_000;

/// The token behind `prefix`.
pub(super) fn rule(prefix: &[TokenId]) -> TokenId {
    let mix = |hash: u32, &token: &u32| (hash ^ token).wrapping_mul(0x0100_0193);
    prefix.iter().fold(0x811c_9dc5, mix) >> 4 & 0xffff
}

pub(super) fn open(session: u64) -> Open {
    Open {
        session,
        sampling: SamplerParams {
            seed: Some(1),
            ..SamplerParams::default()
        },
        logprobs: None,
        tokens_max: u32::MAX,
        draft: false,
    }
}

pub(super) fn state() -> SamplerState {
    SamplerState::initial(&open(0).sampling)
}

/// Decodes by the rule.
#[derive(Default)]
pub(in crate::node) struct Rule {
    computed: BTreeMap<SequenceId, u32>,
}

impl Compute for Rule {
    fn context(&self) -> u32 {
        CONTEXT
    }

    fn columns_max(&self) -> usize {
        64
    }

    fn ends(&self, _: TokenId) -> bool {
        false
    }

    fn open(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        assert_eq!(self.computed.insert(id, 0), None);
        Ok(())
    }

    fn close(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        assert!(self.computed.remove(&id).is_some());
        Ok(())
    }

    fn behind(&self, id: SequenceId, transcript: &Transcript) -> u32 {
        let last = transcript.len().saturating_sub(1);
        transcript.len() - self.computed[&id].min(last)
    }

    async fn pass(
        &mut self,
        parts: &[Part<'_>],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), DecodeError> {
        outcomes.clear();
        tokio::task::yield_now().await;
        if parts
            .iter()
            .any(|p| p.transcript.tokens().contains(&POISON))
        {
            return Err(DecodeError::EmptyPrompt);
        }
        for part in parts {
            let len = part.transcript.len();
            assert!(len > 0 && len <= CONTEXT, "{len} positions");
            let start = len - self.behind(part.sequence, part.transcript);
            let end = len.min(start + part.columns_max as u32);
            self.computed.insert(part.sequence, end);
            if end < len {
                outcomes.push(Outcome::Behind { computed: end });
                continue;
            }
            let mut prefix = part.transcript.tokens().to_vec();
            let mut chosen = Vec::new();
            loop {
                let token = rule(&prefix);
                let right = part.drafted.get(chosen.len()) == Some(&token);
                prefix.push(token);
                chosen.push(Decoded {
                    token,
                    logprob: None,
                    top: Vec::new(),
                    state: state(),
                });
                if !right {
                    break;
                }
            }
            outcomes.push(Outcome::Tokens(chosen));
        }
        Ok(())
    }
}

/// A node, under way.
pub(crate) struct Ground {
    node: Node,
    pub(super) handle: EngineHandle,
    pub(super) engine: JoinHandle<()>,
}

impl Ground {
    /// What links are served by.
    pub(crate) fn node(&self) -> Node {
        self.node.clone()
    }

    pub(crate) fn start(limits: NodeLimits) -> Self {
        let (engine, handle) = Engine::new(Rule::default(), limits);
        let model = ModelIdentity {
            model: [0; 32],
            tokenizer: [0; 32],
            title: "rule".into(),
            quant: String::new(),
            kernel_set: "rule".into(),
            context: CONTEXT,
            vocab: POISON,
        };
        Self {
            node: Node::new(model, TIMES, handle.clone(), limits),
            handle,
            engine: tokio::spawn(engine.run()),
        }
    }

    /// A stream of `client`, over a pipe of `bytes`.
    pub(super) fn pipe(&self, client: u64, bytes: usize) -> Edge {
        let (near, far) = duplex(bytes);
        let node = self.node.clone();
        let served = tokio::spawn(async move {
            let (read, write) = split(far);
            node.stream(client, read, write).await
        });
        let (read, write) = split(near);
        Edge {
            reader: FrameReader::new(read),
            writer: write,
            served,
        }
    }

    pub(super) fn dial(&self, client: u64) -> Edge {
        self.pipe(client, 64 << 10)
    }

    /// A generation of `client` behind a prompt.
    pub(super) async fn generation(&self, client: u64, session: u64, prompt: &[TokenId]) -> Edge {
        let mut edge = self.dial(client);
        edge.say(ToNode::Open(open(session))).await;
        edge.say(append(0, 0, prompt)).await;
        edge
    }

    /// Asserts that another client is served meanwhile.
    pub(super) async fn serves(&self) {
        let prompt = [1, 2, 3];
        let mut edge = self.generation(u64::MAX, 0, &prompt).await;
        edge.say(run(0, 3, 20)).await;
        assert_eq!(edge.tokens(20).await, follow(&prompt, 20));
        edge.say(ToNode::Goodbye(crate::wire::Goodbye)).await;
        assert!(edge.served.await.unwrap().is_ok());
    }
}

pub(super) fn append(epoch: u32, position: u32, tokens: &[TokenId]) -> ToNode {
    ToNode::Append(Append {
        epoch,
        position,
        prompt: true,
        begins: true,
        tokens: tokens.to_vec(),
    })
}

pub(super) fn run(epoch: u32, position: u32, tokens_max: u32) -> ToNode {
    ToNode::Run(Run {
        epoch,
        position,
        tokens_max,
        state: state(),
    })
}

/// What the rule says behind `prompt`.
pub(super) fn follow(prompt: &[TokenId], count: usize) -> Vec<TokenId> {
    let mut tokens = prompt.to_vec();
    for _ in 0..count {
        tokens.push(rule(&tokens));
    }
    tokens.split_off(prompt.len())
}

/// The near end of a stream.
pub(super) struct Edge {
    reader: FrameReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
    pub(super) served: JoinHandle<Result<(), FrameError>>,
}

impl Edge {
    pub(super) async fn say(&mut self, message: ToNode) {
        self.bytes(&encode(&message).unwrap()).await;
    }

    pub(super) async fn bytes(&mut self, bytes: &[u8]) {
        // A node that has had enough is gone.
        let _ = self.writer.write_all(bytes).await;
    }

    /// Hangs up, and tells how the node took it.
    pub(super) async fn end(self) -> Result<(), FrameError> {
        drop((self.reader, self.writer));
        self.served.await.unwrap()
    }

    /// The next message; `None` where the node has ended the stream.
    pub(super) async fn hear(&mut self) -> Option<ToEdge> {
        let heard = tokio::time::timeout(Duration::from_secs(5), self.reader.read());
        heard.await.expect("an answer in time").unwrap()
    }

    /// The next `count` tokens.
    pub(super) async fn tokens(&mut self, count: usize) -> Vec<TokenId> {
        let mut tokens = Vec::new();
        while tokens.len() < count {
            match self.hear().await {
                Some(ToEdge::Tokens(more)) => {
                    tokens.extend(more.tokens.iter().map(|t: &WireToken| t.token));
                }
                Some(ToEdge::Accepted(_)) => {}
                other => panic!("{other:?} behind {} tokens", tokens.len()),
            }
        }
        tokens
    }

    /// The refusal of the stream or of a request, which comes next.
    pub(super) async fn refusal(&mut self) -> Refused {
        match self.hear().await {
            Some(ToEdge::Refused(refused)) => refused,
            Some(ToEdge::Failed(Failed {
                failure: Failure::Refused(refused),
                ..
            })) => refused,
            other => panic!("{other:?} is no refusal"),
        }
    }

    /// What the refusal for breaking the protocol says.
    pub(super) async fn broke(&mut self) -> String {
        match self.refusal().await {
            Refused::Protocol { what } => what,
            other => panic!("{other:?}"),
        }
    }
}

impl Connect for Ground {
    type Read = ReadHalf<DuplexStream>;
    type Write = WriteHalf<DuplexStream>;

    async fn stream(&self) -> Result<(Self::Read, Self::Write), RemoteError> {
        let (near, far) = duplex(64 << 10);
        let node = self.node.clone();
        tokio::spawn(async move {
            let (read, write) = split(far);
            node.stream(7, read, write).await
        });
        Ok(split(near))
    }
}
