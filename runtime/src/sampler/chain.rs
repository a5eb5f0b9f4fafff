//! The samplers in their order.

use serde::{Deserialize, Serialize};

use super::candidates::{Candidate, Candidates};
use super::draw::Draw;
use super::dry::{Dry, DryBreakers};
use super::error::{ParamsError, SamplerError};
use super::logprobs::{Logprobs, TokenLogprob};
use super::params::{Mirostat, SamplerParams};
use super::penalties::Penalties;
use super::{min_p, mirostat, temperature, top_n_sigma, top_p, typical, xtc};

/// What a token is sampled for.
#[derive(Debug, Clone, Copy)]
pub struct SampleContext<'a> {
    /// Position of the token to be sampled; with the seed, the key of the draws.
    pub position: u64,
    /// The tokens before it, the prompt's included, which the penalties and
    /// DRY look back at.
    pub history: &'a [u32],
    /// Whether the log-probability is wanted, and of how many of the most
    /// likely tokens besides ([`Sampler::top_logprobs`]).
    pub logprobs: Option<usize>,
}

/// A sampled token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: u32,
    /// Log-softmax of the logits as the model gave them, if it was asked for.
    pub logprob: Option<f32>,
    /// The sampler's state once the token is committed.
    pub state: SamplerState,
}

/// What of a sampler depends on the tokens that it sampled before, and is not
/// a function of the history: part of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerState {
    /// Mirostat's bound on the surprise, in bits.
    pub mirostat_mu: f32,
}

impl SamplerState {
    /// The state before the first token.
    pub fn initial(params: &SamplerParams) -> Self {
        Self {
            mirostat_mu: mirostat::initial_mu(params),
        }
    }
}

/// Samples tokens. Sampling changes nothing but scratch memory: the same
/// logits, context and state give the same token, as often as they are asked.
/// State changes by [`Sampler::restore`], when a token is committed.
#[derive(Debug)]
pub struct Sampler {
    params: SamplerParams,
    seed: u64,
    n_vocab: usize,
    state: SamplerState,
    penalties: Option<Penalties>,
    dry: Option<Dry>,
    /// The logits after bias, penalties and DRY.
    adjusted: Vec<f32>,
    candidates: Candidates,
    logprobs: Logprobs,
}

impl Sampler {
    /// A sampler for a vocabulary of `n_vocab` tokens. `breakers` are those of
    /// `params.dry_sequence_breakers`, found in the vocabulary; they matter
    /// only to DRY.
    pub fn new(
        params: SamplerParams,
        n_vocab: usize,
        breakers: DryBreakers,
    ) -> Result<Self, ParamsError> {
        params.validate()?;
        if let Some((token, _)) = params
            .logit_bias
            .iter()
            .find(|(t, _)| *t as usize >= n_vocab)
        {
            return Err(ParamsError {
                field: "logit_bias",
                value: format!("for token {token}"),
                wanted: "a token of the vocabulary",
            });
        }
        let chain = params.mirostat == Mirostat::Off;
        let adjusts = !params.logit_bias.is_empty()
            || (chain && (params.penalties_are_on() || params.dry_is_on()));
        let params = params.seeded();
        let state = SamplerState::initial(&params);
        Ok(Self {
            seed: params.seed.unwrap_or_default(),
            n_vocab,
            state,
            penalties: (chain && params.penalties_are_on()).then(|| Penalties::new(n_vocab)),
            dry: (chain && params.dry_is_on()).then(|| Dry::new(n_vocab, breakers)),
            adjusted: Vec::with_capacity(if adjusts { n_vocab } else { 0 }),
            candidates: Candidates::with_capacity(n_vocab),
            logprobs: Logprobs::default(),
            params,
        })
    }

    /// The parameters.
    pub fn params(&self) -> &SamplerParams {
        &self.params
    }

    /// The key of the draws, which a transcript keeps.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The state, for a transcript.
    pub fn state(&self) -> SamplerState {
        self.state
    }

    /// Takes up a state: that of a token just committed, or an earlier one.
    pub fn restore(&mut self, state: SamplerState) {
        self.state = state;
    }

    /// The most likely tokens at the position sampled last, most likely first.
    pub fn top_logprobs(&self) -> &[TokenLogprob] {
        self.logprobs.top()
    }

    /// Samples one token.
    pub fn sample(
        &mut self,
        logits: &[f32],
        context: SampleContext<'_>,
    ) -> Result<Sampled, SamplerError> {
        let max = self.checked_max(logits, context.history)?;
        let (chosen, state) = self.choose(logits, context)?;
        let token = chosen.token;
        let logprob = match context.logprobs {
            Some(n) => Some(self.logprobs.compute(logits, max, token, n)),
            None => {
                self.logprobs.clear();
                None
            }
        };
        Ok(Sampled {
            token,
            logprob,
            state,
        })
    }

    /// The highest logit of a set that can be sampled from.
    fn checked_max(&self, logits: &[f32], history: &[u32]) -> Result<f32, SamplerError> {
        if logits.is_empty() {
            return Err(SamplerError::Empty);
        }
        if logits.len() != self.n_vocab {
            return Err(SamplerError::Length {
                found: logits.len(),
                wanted: self.n_vocab,
            });
        }
        let mut max = f32::NEG_INFINITY;
        for (token, &logit) in (0..).zip(logits) {
            if logit.is_nan() || logit == f32::INFINITY {
                return Err(SamplerError::NotFinite { token });
            }
            max = max.max(logit);
        }
        if max == f32::NEG_INFINITY {
            return Err(SamplerError::AllExcluded);
        }
        if self.penalties.is_none() && self.dry.is_none() {
            return Ok(max);
        }
        match history
            .iter()
            .find(|token| **token as usize >= self.n_vocab)
        {
            Some(&token) => Err(SamplerError::History {
                token,
                n_vocab: self.n_vocab,
            }),
            None => Ok(max),
        }
    }

    fn choose(
        &mut self,
        logits: &[f32],
        context: SampleContext<'_>,
    ) -> Result<(Candidate, SamplerState), SamplerError> {
        let Self {
            params, candidates, ..
        } = self;
        let logits = if self.adjusted.capacity() > 0 {
            self.adjusted.clear();
            self.adjusted.extend_from_slice(logits);
            for &(token, bias) in &params.logit_bias {
                self.adjusted[token as usize] += bias;
            }
            if let Some(penalties) = &mut self.penalties {
                penalties.apply(&mut self.adjusted, context.history, params);
            }
            if let Some(dry) = &mut self.dry {
                dry.apply(&mut self.adjusted, context.history, params);
            }
            bound(&mut self.adjusted, logits, &params.logit_bias);
            &self.adjusted
        } else {
            logits
        };
        let draw = Draw::new(self.seed, context.position);
        let mut state = self.state;
        let chosen = if params.mirostat == Mirostat::V2 {
            candidates.fill(logits, f32::NEG_INFINITY);
            if params.temperature <= 0.0 {
                candidates.keep_top(1);
            } else {
                temperature::apply(candidates, params.temperature);
            }
            mirostat::truncate(candidates, state.mirostat_mu);
            let chosen = draw.choose(candidates.list());
            if let Some(chosen) = chosen {
                state.mirostat_mu =
                    mirostat::updated_mu(candidates, chosen, state.mirostat_mu, params);
            }
            chosen
        } else if params.is_greedy() && params.typical_p >= 1.0 && params.xtc_probability <= 0.0 {
            // No other sampler can exclude the most likely token.
            most_likely(logits)
        } else {
            truncate(candidates, logits, params, &draw);
            let temperature = temperature::of(candidates, params);
            if temperature > 0.0 {
                temperature::apply(candidates, temperature);
                draw.choose(candidates.list())
            } else {
                candidates.keep_top(1);
                candidates.list().first().copied()
            }
        };
        chosen
            .map(|chosen| (chosen, state))
            .ok_or(SamplerError::AllExcluded)
    }
}

/// Lists the candidates that all truncating samplers keep.
fn truncate(candidates: &mut Candidates, logits: &[f32], params: &SamplerParams, draw: &Draw) {
    let least = top_n_sigma::least_logit(logits, params.top_n_sigma);
    match params.top_k as usize {
        0 => candidates.fill(logits, least),
        k if k >= logits.len() => candidates.fill(logits, least),
        k => candidates.fill_top(logits, least, k),
    }
    typical::apply(candidates, params.typical_p);
    top_p::apply(candidates, params.top_p);
    min_p::apply(candidates, params.min_p);
    xtc::apply(candidates, params, draw);
}

/// The highest logit, of the lowest token that has it.
fn most_likely(logits: &[f32]) -> Option<Candidate> {
    let mut best: Option<Candidate> = None;
    for (token, &logit) in (0..).zip(logits) {
        if logit > best.map_or(f32::NEG_INFINITY, |best| best.logit) {
            best = Some(Candidate { token, logit });
        }
    }
    best
}

/// Keeps adjusted logits finite: extreme biases and penalties overflow, but
/// only the model and a bias of negative infinity exclude a token.
fn bound(adjusted: &mut [f32], logits: &[f32], bias: &[(u32, f32)]) {
    for (adjusted, &logit) in adjusted.iter_mut().zip(logits) {
        *adjusted = if logit == f32::NEG_INFINITY {
            f32::NEG_INFINITY
        } else if adjusted.is_nan() {
            // Infinity less infinity: raised and lowered beyond all bounds.
            logit
        } else {
            adjusted.clamp(f32::MIN, f32::MAX)
        };
    }
    for &(token, bias) in bias {
        if bias == f32::NEG_INFINITY {
            adjusted[token as usize] = f32::NEG_INFINITY;
        }
    }
}
