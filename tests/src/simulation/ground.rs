//! A node and an edge on a simulated network.

use super::{
    ClockCompute, ClockDecoder, ClockDraft, Language, Times, compute::CONTEXT, draft::Guesser,
    local::provenance,
};
use outrigger_offload::{
    Waiter,
    node::{Engine, Node, NodeLimits},
    policy::Terms,
    remote::{NodeLink, PipelinedDecoder, Pipelining, Remote, StreamDecoder, VerifyTarget},
    transport::{LinkConfig, NodeAddress, Path, listen, simulated::Network},
    trust::{Authority, EnrolAnswer, EnrolRequest, Identity, NewKey, Validity},
    wire::{Hello, ModelIdentity, StepTimes},
};
use outrigger_runtime::decoder::{DRAFT_MAX, Decoder, SpeculativeDecoder};
use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    task::AbortHandle,
    time::Instant,
};

/// The node's address.
pub const NODE: SocketAddr = address(1);
/// The edge's, at first.
pub const EDGE: SocketAddr = address(2);

/// How long a node may be silent in the binary too.
const SILENCE: Duration = Duration::from_secs(5);
const TOKEN_LASTS: Duration = Duration::from_secs(600);

/// An address of the network.
pub const fn address(last: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 7443)
}

/// What simulations fail with before they begin.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A node's authority and an edge that it has signed, for many simulations.
pub struct Trust {
    authority: Arc<Authority>,
    identity: Identity,
    _folder: TempDir,
}

impl Trust {
    /// Makes keys and pairs.
    ///
    /// # Errors
    /// If the keys cannot be kept in a temporary folder.
    pub fn new() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let now = SystemTime::now();
        let path = folder.path().join("trust");
        let authority = Authority::open(&path, Validity::default(), now)?;
        let address = NODE.to_string();
        let token = authority.issue_token(&address, TOKEN_LASTS, now)?;
        let key = NewKey::generate()?;
        let request = EnrolRequest::First {
            id: token.id,
            secret: token.secret,
            name: "edge".into(),
            csr: key.csr().to_vec(),
        };
        let EnrolAnswer::Signed(signed) = authority.answer(&request, None, now)? else {
            return Err("the authority does not let the edge in".into());
        };
        Ok(Self {
            identity: Identity::new(&address, &key, signed)?,
            authority: Arc::new(authority),
            _folder: folder,
        })
    }
}

/// What a simulation is made of.
#[derive(Clone)]
pub struct Setting<'a> {
    /// Where all chances come from.
    pub seed: u64,
    /// Who knows whom.
    pub trust: &'a Trust,
    /// What the models say.
    pub language: Language,
    /// What they take.
    pub times: Times,
    /// How often a draft is right at each place, given that it was before; the
    /// last goes on.
    pub acceptance: Arc<[f32]>,
    /// What datagrams meet, each way.
    pub path: Path,
}

/// A simulation under way.
pub struct Ground<'a> {
    /// What it is made of.
    pub setting: Setting<'a>,
    /// The network.
    pub network: Network,
    runtime: Arc<Runtime>,
}

/// A machine for nodes, one at a time.
#[derive(Clone)]
pub struct Host {
    network: Network,
    authority: Arc<Authority>,
    times: Times,
    acceptance: Arc<[f32]>,
}

/// A node that serves.
pub struct Served {
    tasks: [AbortHandle; 2],
}

impl Ground<'_> {
    /// Simulates: what `simulation` waits for is all that happens.
    ///
    /// # Errors
    /// Those of `simulation`, or the system gives no runtime.
    pub fn run<T>(
        setting: Setting<'_>,
        simulation: impl FnOnce(&Ground<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let runtime = Arc::new(runtime);
        // So that the paused clock is that of whoever asks for the time.
        let _context = runtime.enter();
        // Waits between attempts are drawn from this generator.
        fastrand::seed(setting.seed);
        let ground = Ground {
            network: Network::new(setting.seed, setting.path),
            setting,
            runtime: runtime.clone(),
        };
        simulation(&ground)
    }

    /// Waits on the simulation's runtime.
    pub fn waiter(&self) -> Waiter {
        self.runtime.clone().into()
    }

    /// The machine that nodes are started on.
    pub fn host(&self) -> Host {
        Host {
            network: self.network.clone(),
            authority: self.setting.trust.authority.clone(),
            times: self.setting.times,
            acceptance: self.setting.acceptance.clone(),
        }
    }

    /// The edge's link to the node; nothing is sent yet.
    ///
    /// # Errors
    /// If its address is in use.
    pub fn link(&self) -> Result<NodeLink, Failure> {
        let model = identity(&self.setting.language);
        let hello = Hello {
            tokenizer: model.tokenizer,
            model: Some(model),
            require_bitwise: false,
        };
        Ok(NodeLink::new(
            self.network.endpoint(EDGE)?,
            NodeAddress::from(NODE),
            self.setting.trust.identity.clone(),
            LinkConfig::default(),
            hello,
        ))
    }

    /// The decoder of mode `local`.
    pub fn local(&self, warm: bool) -> ClockDecoder {
        let Setting {
            language, times, ..
        } = &self.setting;
        ClockDecoder::new(language.clone(), *times, self.waiter(), warm)
    }

    /// The decoder of mode `stream`.
    pub fn stream(&self, link: &NodeLink) -> Box<dyn Decoder> {
        let remote = Remote::new(link.clone(), SILENCE);
        let place = provenance("stream");
        Box::new(StreamDecoder::new(remote, self.waiter(), CONTEXT, place))
    }

    /// The decoder of mode `draft_at_node`.
    pub fn draft_at_node(&self, link: &NodeLink) -> Box<dyn Decoder> {
        let remote = Remote::new(link.clone(), SILENCE);
        let place = provenance("draft_at_node");
        let decoder = StreamDecoder::new(remote, self.waiter(), CONTEXT, place);
        Box::new(decoder.with_draft_at_node())
    }

    /// The decoder of mode `verify_pipelined`.
    pub fn pipelined(&self, link: &NodeLink) -> Box<dyn Decoder> {
        let tokenizer = self.setting.language.tokenizer();
        let decoder = PipelinedDecoder::new(
            Remote::new(link.clone(), SILENCE),
            self.waiter(),
            Pipelining {
                draft: Box::new(self.draft()),
                tokenizer: tokenizer.clone(),
                vocab: tokenizer.vocab_len(),
                context: CONTEXT,
                lengths: 1..=DRAFT_MAX,
                in_flight_max: Terms::default().in_flight_max,
                provenance: provenance("verify_pipelined"),
            },
        );
        Box::new(decoder.with_clock(|| Instant::now().into_std()))
    }

    fn draft(&self) -> ClockDraft {
        let Setting {
            language, times, ..
        } = &self.setting;
        let guesser = Guesser::new(language.clone(), self.setting.acceptance.clone());
        ClockDraft::new(guesser, *times, self.waiter())
    }

    /// The decoder of mode `verify`.
    ///
    /// # Errors
    /// None with the draft lengths that are used.
    pub fn verify(&self, link: &NodeLink) -> Result<Box<dyn Decoder>, Failure> {
        let tokenizer = self.setting.language.tokenizer();
        let target = VerifyTarget::new(
            Remote::new(link.clone(), SILENCE),
            self.waiter(),
            CONTEXT,
            tokenizer.vocab_len(),
            provenance("verify"),
        );
        let decoder = SpeculativeDecoder::over(
            Box::new(target),
            tokenizer.clone(),
            Box::new(self.draft()),
            0..=DRAFT_MAX,
        )?;
        Ok(Box::new(decoder.with_clock(|| Instant::now().into_std())))
    }
}

impl Host {
    /// Starts a node whose model says `language`.
    ///
    /// # Errors
    /// If its address is in use.
    pub fn serve(&self, language: &Language) -> Result<Served, Failure> {
        let Self { times, .. } = self;
        let endpoint = self.network.endpoint(NODE)?;
        let mut listener = listen(endpoint, self.authority.clone(), &LinkConfig::default())?;
        let limits = NodeLimits::default();
        let guesser = Guesser::new(language.clone(), self.acceptance.clone());
        let compute = ClockCompute::new(language.clone(), guesser, *times);
        let (engine, handle) = Engine::new(compute, limits);
        let steps = StepTimes {
            step_ms: times.cloud_ms as f32,
            prefill_ms: times.prefill_cloud_ms as f32,
            verify_ms: times.verify(8).as_secs_f32() * 1e3,
        };
        let node = Node::new(identity(language), steps, handle, limits).with_draft();
        let engine = tokio::spawn(engine.run());
        let serving = tokio::spawn(async move { node.listen(&mut listener).await });
        Ok(Served {
            tasks: [engine.abort_handle(), serving.abort_handle()],
        })
    }

    /// Ends a node as a power cut would: nothing is said any more, and all
    /// that it knew is gone. Its address is free.
    pub fn kill(&self, served: Served) {
        self.network.kill(NODE);
        for task in served.tasks {
            task.abort();
        }
    }
}

/// What a model that says `language` is to the other end.
fn identity(language: &Language) -> ModelIdentity {
    let mut model = [0; 32];
    model[..8].copy_from_slice(&language.hash(&[]).to_le_bytes());
    ModelIdentity {
        model,
        tokenizer: [0; 32],
        title: format!("model {:016x}", language.hash(&[])),
        quant: "clock".into(),
        kernel_set: "clock".into(),
        context: CONTEXT,
        vocab: language.tokenizer().vocab_len() as u32,
    }
}
