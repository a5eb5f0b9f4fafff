//! Sampling flags, under llama.cpp's names.

use crate::{config::Config, exit::Usage};
use clap::Args;
use outrigger_runtime::sampler::{Mirostat, SamplerParams};

/// How tokens are chosen. What is not given comes from the configuration, else
/// from llama.cpp's defaults.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling options")]
pub(super) struct SamplingArgs {
    /// Seed of the random draws; the same seed gives the same text [default: random]
    #[arg(short, long, value_name = "N")]
    seed: Option<u64>,
    /// Higher is more surprising; 0 takes the most likely token [default: 0.8]
    #[arg(long = "temp", alias = "temperature", value_name = "T")]
    temperature: Option<f32>,
    /// Keeps the K most likely tokens; 0 keeps all [default: 40]
    #[arg(long, value_name = "K")]
    top_k: Option<u32>,
    /// Keeps the most likely tokens up to this mass; 1 keeps all [default: 0.95]
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Keeps tokens this likely relative to the likeliest; 0 keeps all [default: 0.05]
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Locally typical sampling; 1 keeps all [default: 1]
    #[arg(long = "typical", value_name = "P")]
    typical_p: Option<f32>,
    /// Keeps logits within N standard deviations of the highest; -1 keeps all [default: -1]
    #[arg(long = "top-nsigma", value_name = "N", allow_negative_numbers = true)]
    top_n_sigma: Option<f32>,
    /// Chance that XTC leaves out the likeliest tokens [default: 0]
    #[arg(long, value_name = "P")]
    xtc_probability: Option<f32>,
    /// Probability from which XTC leaves tokens out [default: 0.1]
    #[arg(long, value_name = "P")]
    xtc_threshold: Option<f32>,
    /// Half the range of a temperature that follows the entropy [default: 0]
    #[arg(long, value_name = "T")]
    dynatemp_range: Option<f32>,
    /// Exponent of the dynamic temperature [default: 1]
    #[arg(long = "dynatemp-exp", value_name = "X")]
    dynatemp_exponent: Option<f32>,
    /// Divides the logits of recent tokens; 1 does nothing [default: 1]
    #[arg(long, value_name = "X")]
    repeat_penalty: Option<f32>,
    /// Recent tokens that are penalised; -1 is all [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    repeat_last_n: Option<i32>,
    /// Taken from a token's logit if it occurred [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    presence_penalty: Option<f32>,
    /// Taken from a token's logit each time it occurred [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    frequency_penalty: Option<f32>,
    /// Strength of DRY, which penalises going on with a repetition [default: 0]
    #[arg(long, value_name = "X")]
    dry_multiplier: Option<f32>,
    /// Growth of DRY's penalty per repeated token [default: 1.75]
    #[arg(long, value_name = "X")]
    dry_base: Option<f32>,
    /// Repeated tokens that DRY allows [default: 2]
    #[arg(long, value_name = "N")]
    dry_allowed_length: Option<u32>,
    /// Tokens that DRY looks back; -1 is all [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    dry_penalty_last_n: Option<i32>,
    /// Text that ends a repetition for DRY; replaces the defaults
    #[arg(long = "dry-sequence-breaker", value_name = "TEXT")]
    dry_sequence_breakers: Vec<String>,
    /// 2 holds the surprise constant by mirostat 2.0; 0 is off [default: 0]
    #[arg(long, value_name = "N")]
    mirostat: Option<u8>,
    /// Mirostat's target surprise in bits [default: 5]
    #[arg(long = "mirostat-ent", value_name = "BITS")]
    mirostat_tau: Option<f32>,
    /// Mirostat's learning rate [default: 0.1]
    #[arg(long = "mirostat-lr", value_name = "X")]
    mirostat_eta: Option<f32>,
    /// Adds to a token's logit: TOKEN+X or TOKEN-X; `-inf` excludes it
    #[arg(short = 'l', long, value_name = "TOKEN(+/-)X", value_parser = bias)]
    logit_bias: Vec<(u32, f32)>,
}

impl SamplingArgs {
    /// The parameters, checked.
    pub(super) fn params(&self, config: &Config) -> anyhow::Result<SamplerParams> {
        let mut params = config.sampling.clone();
        macro_rules! take {
            ($($field:ident),*) => {
                $(if let Some(value) = self.$field { params.$field = value; })*
            };
        }
        take!(
            temperature,
            top_k,
            top_p,
            min_p,
            typical_p,
            top_n_sigma,
            xtc_probability,
            xtc_threshold,
            dynatemp_range,
            dynatemp_exponent,
            repeat_penalty,
            repeat_last_n,
            presence_penalty,
            frequency_penalty,
            dry_multiplier,
            dry_base,
            dry_allowed_length,
            dry_penalty_last_n,
            mirostat_tau,
            mirostat_eta
        );
        params.seed = self.seed.or(params.seed);
        if let Some(version) = self.mirostat {
            params.mirostat = Mirostat::try_from(version).map_err(|e| Usage(e.to_string()))?;
        }
        if !self.dry_sequence_breakers.is_empty() {
            params
                .dry_sequence_breakers
                .clone_from(&self.dry_sequence_breakers);
        }
        params.logit_bias.extend(&self.logit_bias);
        params.validate().map_err(|e| Usage(e.to_string()))?;
        Ok(params)
    }
}

/// Reads `15043+1.5` or `15043-inf`.
fn bias(text: &str) -> Result<(u32, f32), String> {
    let wanted = || format!("`{text}` is not TOKEN+X or TOKEN-X, such as 15043+1 or 29905-inf");
    let at = text.find(['+', '-']).ok_or_else(wanted)?;
    let token = text[..at].parse().map_err(|_| wanted())?;
    let value: f32 = text[at..].parse().map_err(|_| wanted())?;
    if value.is_nan() {
        return Err(wanted());
    }
    Ok((token, value))
}

#[cfg(test)]
mod tests {
    use super::bias;

    #[test]
    fn a_bias_is_a_token_and_a_signed_number() {
        assert_eq!(bias("15043+1.5"), Ok((15043, 1.5)));
        assert_eq!(bias("7-2"), Ok((7, -2.0)));
        assert_eq!(bias("7-inf"), Ok((7, f32::NEG_INFINITY)));
        for wrong in ["", "7", "+1", "7+", "x+1", "7+nan", "7+1x"] {
            assert!(bias(wrong).is_err(), "{wrong}");
        }
    }
}
