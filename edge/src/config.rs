//! The configuration file: read raw, then validated.
//!
//! Flags and environment variables are merged by clap; what neither gives is
//! looked up here, and the verbs fill in what is left with their defaults.

use crate::exit::Usage;
use clap::ValueEnum;
use outrigger_offload::{
    node::NodeLimits,
    policy::{Mode, Privacy},
};
use outrigger_runtime::{kv::KvFormat, model::mixture::Mixture, sampler::SamplerParams};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    model: RawModel,
    run: RawRun,
    sampling: SamplerParams,
    node: RawNode,
    offload: RawOffload,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawNode {
    listen: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    drain_s: Option<u64>,
    state: Option<PathBuf>,
    draft: Option<String>,
    sessions_max: Option<usize>,
    split_sessions_max: Option<usize>,
    client_sessions_max: Option<usize>,
    client_tokens_max: Option<u64>,
    prompt_columns: Option<usize>,
    orphan_s: Option<u64>,
    idle_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawOffload {
    node: Option<String>,
    nodes: Option<Vec<String>>,
    mode: Option<OffloadMode>,
    policy: Option<PathBuf>,
    privacy: Option<Privacy>,
    keep_local_warm: Option<bool>,
    wait_s_max: Option<u64>,
    deadline_ms: Option<f64>,
    price_per_million_tokens: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawModel {
    path: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawRun {
    threads: Option<usize>,
    context: Option<u32>,
    kv: Option<String>,
    columns_max: Option<usize>,
    draft: Option<String>,
    draft_max: Option<usize>,
    draft_min: Option<usize>,
}

/// Settings that a file gave, each within its range.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Config {
    /// The model's file.
    pub(crate) model: Option<PathBuf>,
    /// How models are run.
    pub(crate) run: RunConfig,
    /// What drafts for it.
    pub(crate) draft: DraftConfig,
    /// How tokens are chosen.
    pub(crate) sampling: SamplerParams,
    /// How a node serves.
    pub(crate) node: NodeConfig,
    /// Which node is used, and how.
    pub(crate) offload: OffloadConfig,
}

/// How a node serves.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NodeConfig {
    /// Where it listens.
    pub(crate) listen: Option<SocketAddr>,
    /// Where it tells its metrics.
    pub(crate) metrics: Option<SocketAddr>,
    /// How long generations under way may take when it ends.
    pub(crate) drain: Option<Duration>,
    /// Its folder of keys and certificates.
    pub(crate) state: Option<PathBuf>,
    /// What guesses for generations that ask for it.
    pub(crate) draft: Option<DraftChoice>,
    /// What it gives.
    pub(crate) limits: NodeLimits,
}

/// Which node is used, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OffloadConfig {
    /// The nodes' names, as `pair` was given them, the preferred one first.
    pub(crate) nodes: Vec<String>,
    /// How.
    pub(crate) mode: Option<OffloadMode>,
    /// The policy that chooses between them and this machine.
    pub(crate) policy: Option<PathBuf>,
    /// Who may read what is generated.
    pub(crate) privacy: Option<Privacy>,
    /// Whether this machine computes along where no policy says it.
    pub(crate) keep_local_warm: bool,
    /// How long a node is waited for where only it may go on.
    pub(crate) wait_max: Option<Duration>,
    /// Within which the first token is due, in milliseconds.
    pub(crate) deadline_ms: Option<f64>,
    /// What a million tokens of a node cost, in any currency.
    pub(crate) price_per_million_tokens: Option<f64>,
}

/// How a node is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OffloadMode {
    /// The node decodes, and sends tokens as they come
    Stream,
    /// The draft guesses here, and the node verifies
    Verify,
    /// The node computes some layers, and this machine the rest
    Split,
    /// The same, and the draft guesses on while the node's answers are under way
    #[serde(alias = "verify-pipelined")]
    VerifyPipelined,
    /// The node decodes, with a draft of its own
    #[serde(alias = "draft-at-node")]
    DraftAtNode,
}

impl OffloadMode {
    /// The mode as policies know it.
    pub(crate) fn mode(self) -> Mode {
        match self {
            Self::Stream => Mode::Stream,
            Self::Verify => Mode::VerifySequential,
            Self::VerifyPipelined => Mode::VerifyPipelined,
            Self::DraftAtNode => Mode::DraftAtNode,
            Self::Split => Mode::Split,
        }
    }
}

/// How models are run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct RunConfig {
    /// Threads that compute.
    pub(crate) threads: Option<NonZeroUsize>,
    /// Positions a sequence may have.
    pub(crate) context: Option<NonZeroU32>,
    /// How keys and values are stored.
    pub(crate) kv: Option<KvFormat>,
    /// Most columns in one pass.
    pub(crate) columns_max: Option<NonZeroUsize>,
}

/// What guesses tokens for a model to verify, and how many.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DraftConfig {
    /// What guesses.
    pub(crate) choice: Option<DraftChoice>,
    /// Most tokens guessed for one pass.
    pub(crate) max: Option<NonZeroUsize>,
    /// Fewest tokens guessed for one pass.
    pub(crate) min: Option<usize>,
}

/// What guesses tokens for a model to verify.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DraftChoice {
    /// Nothing.
    None,
    /// What followed earlier in the text.
    Ngram,
    /// The draft that comes with the program.
    Bundled,
    /// The model in a file.
    File(PathBuf),
}

impl Config {
    /// Reads a file; without one nothing is set.
    pub(crate) fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let named = |what: String| Usage(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path)
            .map_err(|e| named(format!("the configuration cannot be read: {e}")))?;
        let mut config = Self::parse(&text).map_err(named)?;
        // A relative path means a file beside the configuration, wherever the
        // program is started.
        if let (Some(model), Some(folder)) = (&config.model, path.parent()) {
            config.model = Some(folder.join(model));
        }
        if let (Some(state), Some(folder)) = (&config.node.state, path.parent()) {
            config.node.state = Some(folder.join(state));
        }
        if let (Some(policy), Some(folder)) = (&config.offload.policy, path.parent()) {
            config.offload.policy = Some(folder.join(policy));
        }
        for choice in [&mut config.draft.choice, &mut config.node.draft] {
            if let (Some(DraftChoice::File(draft)), Some(folder)) = (choice, path.parent()) {
                *draft = folder.join(&*draft);
            }
        }
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let raw: RawConfig = toml::from_str(text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|&b| b == b'\n').count();
            format!("line {line}: {}", e.message().replace('\n', "; "))
        })?;
        Self::validate(raw)
    }

    fn validate(raw: RawConfig) -> Result<Self, String> {
        let run = raw.run;
        let positive = |name: &'static str, value: Option<usize>| match value {
            None => Ok(None),
            Some(value) => match NonZeroUsize::new(value) {
                Some(value) => Ok(Some(value)),
                None => Err(format!("`{name}` must be at least 1")),
            },
        };
        let node = raw.node;
        let defaults = NodeLimits::default();
        let or = |name, value, default: usize| {
            positive(name, value).map(|value| value.map_or(default, NonZeroUsize::get))
        };
        let limits = NodeLimits {
            sessions_max: or(
                "node.sessions_max",
                node.sessions_max,
                defaults.sessions_max,
            )?,
            client_sessions_max: or(
                "node.client_sessions_max",
                node.client_sessions_max,
                defaults.client_sessions_max,
            )?,
            prompt_columns: or(
                "node.prompt_columns",
                node.prompt_columns,
                defaults.prompt_columns,
            )?,
            split_sessions_max: node
                .split_sessions_max
                .unwrap_or(defaults.split_sessions_max),
            client_tokens_max: node.client_tokens_max,
            orphan: node.orphan_s.map_or(defaults.orphan, Duration::from_secs),
            idle: node.idle_s.map_or(defaults.idle, Duration::from_secs),
            ..defaults
        };
        let context = positive("run.context", run.context.map(|n| n as usize))?;
        raw.sampling
            .validate()
            .map_err(|e| format!("`[sampling]`: {e}"))?;
        Ok(Self {
            sampling: raw.sampling,
            model: raw.model.path,
            node: NodeConfig {
                listen: node.listen,
                metrics: node.metrics,
                drain: node.drain_s.map(Duration::from_secs),
                state: node.state,
                draft: node.draft.as_deref().map(draft_choice).transpose()?,
                limits,
            },
            offload: offload(raw.offload)?,
            draft: DraftConfig {
                choice: run.draft.as_deref().map(draft_choice).transpose()?,
                max: positive("run.draft_max", run.draft_max)?,
                min: run.draft_min,
            },
            run: RunConfig {
                threads: positive("run.threads", run.threads)?,
                context: context.and_then(|n| NonZeroU32::try_from(n).ok()),
                kv: match run.kv.as_deref().map(kv_format) {
                    None => None,
                    Some(Ok(kv)) => Some(kv),
                    Some(Err(e)) => return Err(format!("`run.kv`: {e}")),
                },
                columns_max: positive("run.columns_max", run.columns_max)?,
            },
        })
    }
}

fn offload(raw: RawOffload) -> Result<OffloadConfig, String> {
    let nodes = match (raw.node, raw.nodes) {
        (Some(_), Some(_)) => {
            return Err("`offload.node` and `offload.nodes` exclude each other".into());
        }
        (Some(node), None) => vec![node],
        (None, nodes) => nodes.unwrap_or_default(),
    };
    if raw.mode.is_some() && raw.policy.is_some() {
        return Err("`offload.mode` and `offload.policy` exclude each other".into());
    }
    for (name, value) in [
        ("deadline_ms", raw.deadline_ms),
        ("price_per_million_tokens", raw.price_per_million_tokens),
    ] {
        if value.is_some_and(|value| !value.is_finite() || value < 0.0) {
            return Err(format!("`offload.{name}` must be 0 or more"));
        }
    }
    Ok(OffloadConfig {
        nodes,
        mode: raw.mode,
        policy: raw.policy,
        privacy: raw.privacy,
        keep_local_warm: raw.keep_local_warm.unwrap_or(false),
        wait_max: raw.wait_s_max.map(Duration::from_secs),
        deadline_ms: raw.deadline_ms,
        price_per_million_tokens: raw.price_per_million_tokens,
    })
}

/// The draft of this name; any other is a file's.
pub(crate) fn draft_choice(name: &str) -> Result<DraftChoice, String> {
    Ok(match name {
        "" => return Err("a draft is a GGUF file, `bundled`, `ngram` or `none`".into()),
        "none" => DraftChoice::None,
        "ngram" => DraftChoice::Ngram,
        "bundled" => DraftChoice::Bundled,
        path => DraftChoice::File(path.into()),
    })
}

/// The KV cache format of this name.
pub(crate) fn kv_format(name: &str) -> Result<KvFormat, String> {
    let all = [KvFormat::F16, KvFormat::F32, KvFormat::Q8_0];
    let found = all.into_iter().find(|format| format.name() == name);
    found.ok_or_else(|| {
        let name = crate::printable::Printable::start(name, 40);
        format!("`{name}` is not a KV cache format; f16, f32 and q8_0 are")
    })
}

/// The mixture of formats of this name.
pub(crate) fn mixture(name: &str) -> Result<Mixture, String> {
    Mixture::from_name(name).ok_or_else(|| {
        let names = Mixture::ALL.map(|mixture| mixture.name().to_lowercase());
        format!("there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_validated() {
        assert_eq!(Config::parse(""), Ok(Config::default()));
        let config = Config::parse(
            "[model]\npath = \"m.gguf\"\n[run]\nthreads = 2\ncontext = 512\nkv = \"q8_0\"\n",
        )
        .unwrap();
        assert_eq!(config.model.as_deref(), Some(Path::new("m.gguf")));
        assert_eq!(config.run.threads, NonZeroUsize::new(2));
        assert_eq!(config.run.kv, Some(KvFormat::Q8_0));
        let text = "[run]\ndraft = \"d.gguf\"\ndraft_max = 4\n";
        let draft = Config::parse(text).unwrap().draft;
        assert_eq!(draft.choice, Some(DraftChoice::File("d.gguf".into())));
        assert_eq!((draft.max, draft.min), (NonZeroUsize::new(4), None));
        let draft = Config::parse("[run]\ndraft = \"ngram\"\n").unwrap().draft;
        assert_eq!(draft.choice, Some(DraftChoice::Ngram));
        let config = Config::parse("[sampling]\ntop_k = 5\n").unwrap();
        assert_eq!(config.sampling.top_k, 5);
        let error = Config::parse("[sampling]\ntop_p = 2.0\n").unwrap_err();
        assert!(error.contains("top_p"), "{error}");
        for (text, error) in [
            ("[run]\nthreads = 0\n", "`run.threads` must be at least 1"),
            (
                "[run]\ndraft_max = 0\n",
                "`run.draft_max` must be at least 1",
            ),
            (
                "[run]\nkv = \"f8\"\n",
                "`run.kv`: `f8` is not a KV cache format; f16, f32 and q8_0 are",
            ),
        ] {
            assert_eq!(Config::parse(text).unwrap_err(), error);
        }
        let text = "[offload]\nnodes = [\"a\", \"b\"]\nprivacy = \"private\"\nwait_s_max = 5\n";
        let offload = Config::parse(text).unwrap().offload;
        assert_eq!(offload.nodes, ["a", "b"]);
        assert_eq!(offload.privacy, Some(Privacy::Private));
        assert_eq!(offload.wait_max, Some(Duration::from_secs(5)));
        for (text, error) in [
            (
                "node = \"a\"\nnodes = [\"b\"]",
                "`offload.node` and `offload.nodes` exclude",
            ),
            (
                "mode = \"stream\"\npolicy = \"p\"",
                "`offload.mode` and `offload.policy` exclude",
            ),
            (
                "deadline_ms = -1.0",
                "`offload.deadline_ms` must be 0 or more",
            ),
        ] {
            let said = Config::parse(&format!("[offload]\n{text}\n")).unwrap_err();
            assert!(said.starts_with(error), "{said}");
        }
        let unknown = Config::parse("[run]\n\nthread = 1\n").unwrap_err();
        assert!(
            unknown.starts_with("line 3: unknown field `thread`"),
            "{unknown}"
        );
    }
}
