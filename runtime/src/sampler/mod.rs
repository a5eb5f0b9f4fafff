//! The sampler: from logits to one token.
//!
//! The chain and its order are llama.cpp's: logit bias, repetition penalties,
//! DRY, top-n-sigma, top-k, typical-p, top-p, min-p, XTC, temperature; or,
//! with mirostat, logit bias, temperature, mirostat. What is left is drawn
//! from with noise that depends on the seed, the position and the token alone
//! (`draw`), so that a position sampled twice, or by a draft model, sees
//! the same noise.

mod candidates;
mod chain;
mod draw;
mod dry;
mod error;
mod exponential;
mod logprobs;
mod min_p;
mod mirostat;
mod params;
mod penalties;
mod philox;
mod stop;
mod temperature;
mod top_n_sigma;
mod top_p;
mod typical;
mod xtc;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

pub use chain::{SampleContext, Sampled, Sampler, SamplerState};
pub use dry::{BreakerVocabulary, DryBreakers};
pub use error::{ParamsError, SamplerError};
pub use logprobs::TokenLogprob;
pub use params::{Mirostat, SamplerParams};
pub use stop::StopStrings;
