//! A node whose streams are pipes in memory.

use outrigger_offload::{
    frames::FrameError,
    node::{
        Command, Engine, EngineHandle, ModelCompute, ModelStages, Node, NodeDraft, NodeLimits,
        Snapshot, Stages,
    },
    remote::{Connect, Remote, RemoteError},
    wire::{ModelIdentity, StepTimes},
};
use outrigger_runtime::{
    decoder::SharedDecoder,
    loaded::{LoadedModel, RunOptions},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{DuplexStream, ReadHalf, WriteHalf, duplex, split},
    runtime::{Builder, Handle, Runtime},
    task::AbortHandle,
};

const TIMES: StepTimes = StepTimes {
    step_ms: 1.0,
    prefill_ms: 1.0,
    verify_ms: 1.0,
};

/// Bytes that a pipe holds.
const PIPE: usize = 64 << 10;

#[derive(Clone)]
pub(crate) struct TestNode {
    node: Node,
    engine: EngineHandle,
    runtime: Arc<Runtime>,
    clients: Arc<AtomicU64>,
}

impl TestNode {
    pub(crate) fn start(model: &LoadedModel, limits: NodeLimits) -> Self {
        Self::start_with(model, None, limits)
    }

    /// A node that has a draft.
    pub(crate) fn start_with(
        model: &LoadedModel,
        draft: Option<&LoadedModel>,
        limits: NodeLimits,
    ) -> Self {
        let options = RunOptions {
            threads: Some(1),
            sequences: limits.sessions_max,
            ..RunOptions::default()
        };
        let team = options.team().unwrap();
        let decoder = SharedDecoder::on(&team, model, &options).unwrap();
        let identity = ModelIdentity {
            model: [0; 32],
            tokenizer: [0; 32],
            title: model.model().title().into(),
            quant: String::new(),
            kernel_set: decoder.provenance().kernel_set.clone(),
            context: decoder.context(),
            vocab: model.model().vocab as u32,
        };
        let cancel = Arc::new(AtomicBool::new(false));
        let mut compute = ModelCompute::new(decoder, model.tokenizer().clone(), cancel);
        if let Some(draft) = draft {
            let decoder = SharedDecoder::new(draft, &options).unwrap();
            compute = compute.with_draft(NodeDraft::new(decoder));
        }
        let split = RunOptions {
            sequences: limits.split_sessions_max,
            ..options
        };
        let stages = Stages::new(ModelStages::new(model.clone(), team, split), limits);
        let (engine, handle) = Engine::new(compute, limits);
        let engine = engine.with_stages(stages);
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(engine.run());
        });
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            node: Node::new(identity, TIMES, handle.clone(), limits),
            engine: handle,
            runtime: Arc::new(runtime),
            clients: Arc::default(),
        }
    }

    pub(crate) fn runtime(&self) -> Handle {
        self.runtime.handle().clone()
    }

    pub(crate) fn metrics(&self) -> Snapshot {
        self.engine.metrics.snapshot()
    }

    /// Has it take no more work.
    pub(crate) fn drain(&self) {
        let drain = self.engine.commands.try_send(Command::Drain);
        drain.unwrap();
    }

    /// A stream of `client`.
    pub(crate) fn dial(&self, client: u64) -> (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>) {
        let _entered = self.runtime.enter();
        let (near, far) = duplex(PIPE);
        let node = self.node.clone();
        tokio::spawn(async move {
            let (read, write) = split(far);
            // How it ended is told on the stream.
            let _ = node.stream(client, read, write).await;
        });
        split(near)
    }

    /// A client of its own.
    pub(crate) fn remote(&self) -> Remote<Pipes> {
        let pipes = Pipes {
            node: self.node.clone(),
            client: self.clients.fetch_add(1, Ordering::Relaxed),
        };
        Remote::new(pipes, Duration::from_secs(20))
    }
}

/// Makes pipes to a node.
pub(crate) struct Pipes {
    node: Node,
    client: u64,
}

impl Connect for Pipes {
    type Read = ReadHalf<DuplexStream>;
    type Write = WriteHalf<DuplexStream>;

    async fn stream(&self) -> Result<(Self::Read, Self::Write), RemoteError> {
        let (near, far) = duplex(PIPE);
        let (node, client) = (self.node.clone(), self.client);
        tokio::spawn(async move {
            let (read, write) = split(far);
            match node.stream(client, read, write).await {
                Ok(()) | Err(FrameError::Io(_)) => {}
                Err(error) => panic!("{error}"),
            }
        });
        Ok(split(near))
    }
}

/// A client whose streams can be cut.
#[derive(Clone)]
pub(crate) struct Breakable {
    node: TestNode,
    client: u64,
    copies: Arc<Mutex<Vec<AbortHandle>>>,
    streams: Arc<AtomicU64>,
}

impl Breakable {
    pub(crate) fn new(node: &TestNode) -> Self {
        Self {
            node: node.clone(),
            client: node.clients.fetch_add(1, Ordering::Relaxed),
            copies: Arc::default(),
            streams: Arc::default(),
        }
    }

    pub(crate) fn remote(&self) -> Remote<Self> {
        Remote::new(self.clone(), Duration::from_secs(20))
    }

    /// Streams that were asked for.
    pub(crate) fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// Ends all streams where they are.
    pub(crate) fn cut(&self) {
        let mut copies = self.copies.lock().unwrap();
        copies.drain(..).for_each(|copy| copy.abort());
    }
}

impl Connect for Breakable {
    type Read = ReadHalf<DuplexStream>;
    type Write = WriteHalf<DuplexStream>;

    async fn stream(&self) -> Result<(Self::Read, Self::Write), RemoteError> {
        let (mut from_node, mut to_node) = self.node.dial(self.client);
        self.streams.fetch_add(1, Ordering::Relaxed);
        let (near, far) = duplex(PIPE);
        let (mut from_edge, mut to_edge) = split(far);
        let copy = tokio::spawn(async move {
            let up = tokio::io::copy(&mut from_edge, &mut to_node);
            let down = tokio::io::copy(&mut from_node, &mut to_edge);
            let _ = tokio::join!(up, down);
        });
        self.copies.lock().unwrap().push(copy.abort_handle());
        Ok(split(near))
    }
}
