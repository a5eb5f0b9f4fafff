//! A node whose streams are pipes in memory.

use outrigger_offload::{
    frames::FrameError,
    node::{Engine, EngineHandle, ModelCompute, Node, NodeLimits, Snapshot},
    remote::{Connect, Remote, RemoteError},
    wire::{ModelIdentity, StepTimes},
};
use outrigger_runtime::{
    decoder::SharedDecoder,
    loaded::{LoadedModel, RunOptions},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{DuplexStream, ReadHalf, WriteHalf, duplex, split},
    runtime::{Builder, Handle, Runtime},
};

const TIMES: StepTimes = StepTimes {
    step_ms: 1.0,
    prefill_ms: 1.0,
};

/// Bytes that a pipe holds.
const PIPE: usize = 64 << 10;

pub(crate) struct TestNode {
    node: Node,
    engine: EngineHandle,
    runtime: Runtime,
    clients: AtomicU64,
}

impl TestNode {
    pub(crate) fn start(model: &LoadedModel, limits: NodeLimits) -> Self {
        let options = RunOptions {
            threads: Some(1),
            sequences: limits.sessions_max,
            ..RunOptions::default()
        };
        let decoder = SharedDecoder::new(model, &options).unwrap();
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
        let compute = ModelCompute::new(decoder, model.tokenizer().clone(), cancel);
        let (engine, handle) = Engine::new(compute, limits);
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
            runtime,
            clients: AtomicU64::new(0),
        }
    }

    pub(crate) fn runtime(&self) -> Handle {
        self.runtime.handle().clone()
    }

    pub(crate) fn metrics(&self) -> Snapshot {
        self.engine.metrics.snapshot()
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
