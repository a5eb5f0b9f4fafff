//! Sampling parameters, under llama.cpp's names and with its defaults.

use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};

use super::error::ParamsError;

/// Whether mirostat replaces the truncating samplers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Mirostat {
    /// 0: the chain as the other fields describe it.
    #[default]
    Off,
    /// 2: logit bias, temperature and mirostat 2, nothing else.
    V2,
}

impl TryFrom<u8> for Mirostat {
    type Error = ParamsError;

    fn try_from(version: u8) -> Result<Self, ParamsError> {
        match version {
            0 => Ok(Self::Off),
            2 => Ok(Self::V2),
            _ => Err(ParamsError {
                field: "mirostat",
                value: version.to_string(),
                wanted: "0 (off) or 2",
            }),
        }
    }
}

impl From<Mirostat> for u8 {
    fn from(mirostat: Mirostat) -> Self {
        match mirostat {
            Mirostat::Off => 0,
            Mirostat::V2 => 2,
        }
    }
}

/// How tokens are sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerParams {
    /// Key of the random draws. `None`, the default, takes one from the
    /// system ([`seeded`](Self::seeded)).
    pub seed: Option<u64>,
    /// Divisor of the logits; default 0.8. Lower is more predictable; 0 or
    /// less takes the most likely token.
    pub temperature: f32,
    /// Half the width of the range that the temperature moves in with the
    /// entropy of the candidates; default 0 (fixed temperature), at least 0.
    pub dynatemp_range: f32,
    /// Exponent of the normalised entropy in that range; default 1, above 0.
    pub dynatemp_exponent: f32,
    /// Number of most likely tokens kept; default 40, 0 keeps all.
    pub top_k: u32,
    /// Probability mass of the most likely tokens kept; default 0.95, from 0
    /// to 1, 1 keeps all.
    pub top_p: f32,
    /// Least probability kept, as a fraction of the most likely token's;
    /// default 0.05, from 0 to 1, 0 keeps all.
    pub min_p: f32,
    /// Probability mass of the tokens kept whose surprise is nearest to the
    /// entropy (Meister et al. 2022); default 1 (keeps all), from 0 to 1.
    pub typical_p: f32,
    /// Standard deviations of the logits below the highest that are kept
    /// (Tang et al. 2024); default -1, 0 or less keeps all.
    pub top_n_sigma: f32,
    /// Chance that XTC acts on a token; default 0 (never), from 0 to 1.
    pub xtc_probability: f32,
    /// Probability from which XTC excludes all tokens but the least likely
    /// one; default 0.1, from 0 to 1, above 0.5 XTC never acts.
    pub xtc_threshold: f32,
    /// Divisor of the logits of tokens in the last `repeat_last_n` (factor if
    /// the logit is negative); default 1 (none), above 0.
    pub repeat_penalty: f32,
    /// Tokens that the three repetition penalties look back; default 64, 0
    /// turns them off, -1 is the whole history.
    pub repeat_last_n: i32,
    /// Subtracted from a logit for every occurrence; default 0.
    pub frequency_penalty: f32,
    /// Subtracted from the logit of a token that occurs; default 0.
    pub presence_penalty: f32,
    /// Scale of the DRY penalty on continuing a repetition, in logits;
    /// default 0 (off), at least 0.
    pub dry_multiplier: f32,
    /// Factor of the penalty for each further token of the repetition;
    /// default 1.75, at least 1.
    pub dry_base: f32,
    /// Tokens of a repetition that are not penalised; default 2.
    pub dry_allowed_length: u32,
    /// Tokens that DRY looks back; default -1 (the whole history), 0 turns it
    /// off.
    pub dry_penalty_last_n: i32,
    /// Texts across which DRY sees no repetition; default newline, colon,
    /// double quote and asterisk, each 1 to 40 bytes.
    pub dry_sequence_breakers: Vec<String>,
    /// Whether mirostat replaces the chain; default 0, or 2.
    pub mirostat: Mirostat,
    /// Mirostat's target surprise in bits; default 5, at least 0.
    pub mirostat_tau: f32,
    /// Mirostat's learning rate; default 0.1, from 0 to 1.
    pub mirostat_eta: f32,
    /// Added to the logits of tokens, each once; negative infinity excludes.
    pub logit_bias: Vec<(u32, f32)>,
}

/// The longest DRY breaker, in bytes; llama.cpp's limit.
const BREAKER_BYTES_MAX: usize = 40;

impl Default for SamplerParams {
    fn default() -> Self {
        Self {
            seed: None,
            temperature: 0.8,
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            top_n_sigma: -1.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_penalty_last_n: -1,
            dry_sequence_breakers: ["\n", ":", "\"", "*"].map(String::from).into(),
            mirostat: Mirostat::Off,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
            logit_bias: Vec::new(),
        }
    }
}

impl SamplerParams {
    /// The same with a seed: its own, or one that differs from run to run, of
    /// 32 bits, so that it is short to type and exact in any JSON reader.
    #[must_use]
    pub fn seeded(mut self) -> Self {
        self.seed
            .get_or_insert_with(|| RandomState::new().hash_one(std::process::id()) >> 32);
        self
    }

    /// Parameters that take the most likely token.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// Whether the most likely token is taken without a draw.
    pub fn is_greedy(&self) -> bool {
        self.temperature <= 0.0 && (self.dynatemp_range <= 0.0 || self.mirostat == Mirostat::V2)
    }

    /// Checks every field against its range.
    pub fn validate(&self) -> Result<(), ParamsError> {
        let share = |v: f32| (0.0..=1.0).contains(&v);
        let not_negative = |v: f32| v.is_finite() && v >= 0.0;
        let positive = |v: f32| v.is_finite() && v > 0.0;
        let any = f32::is_finite;
        #[rustfmt::skip]
        let ranges = [
            ("temperature", self.temperature, any(self.temperature), "a finite number"),
            ("dynatemp_range", self.dynatemp_range, not_negative(self.dynatemp_range), "a number from 0"),
            ("dynatemp_exponent", self.dynatemp_exponent, positive(self.dynatemp_exponent), "a number above 0"),
            ("top_p", self.top_p, share(self.top_p), "a number from 0 to 1"),
            ("min_p", self.min_p, share(self.min_p), "a number from 0 to 1"),
            ("typical_p", self.typical_p, share(self.typical_p), "a number from 0 to 1"),
            ("top_n_sigma", self.top_n_sigma, any(self.top_n_sigma), "a finite number"),
            ("xtc_probability", self.xtc_probability, share(self.xtc_probability), "a number from 0 to 1"),
            ("xtc_threshold", self.xtc_threshold, share(self.xtc_threshold), "a number from 0 to 1"),
            ("repeat_penalty", self.repeat_penalty, positive(self.repeat_penalty), "a number above 0"),
            ("frequency_penalty", self.frequency_penalty, any(self.frequency_penalty), "a finite number"),
            ("presence_penalty", self.presence_penalty, any(self.presence_penalty), "a finite number"),
            ("dry_multiplier", self.dry_multiplier, not_negative(self.dry_multiplier), "a number from 0"),
            ("dry_base", self.dry_base, any(self.dry_base) && self.dry_base >= 1.0, "a number from 1"),
            ("mirostat_tau", self.mirostat_tau, not_negative(self.mirostat_tau), "a number from 0"),
            ("mirostat_eta", self.mirostat_eta, share(self.mirostat_eta), "a number from 0 to 1"),
        ];
        for (field, value, valid, wanted) in ranges {
            check(field, value, valid, wanted)?;
        }
        for (field, value) in [
            ("repeat_last_n", self.repeat_last_n),
            ("dry_penalty_last_n", self.dry_penalty_last_n),
        ] {
            check(field, value, value >= -1, "-1 or more")?;
        }
        for breaker in &self.dry_sequence_breakers {
            let valid = (1..=BREAKER_BYTES_MAX).contains(&breaker.len());
            check(
                "dry_sequence_breakers",
                breaker,
                valid,
                "texts of 1 to 40 bytes",
            )?;
        }
        for &(_, bias) in &self.logit_bias {
            let valid = bias < f32::INFINITY;
            check(
                "logit_bias",
                bias,
                valid,
                "a finite number or negative infinity",
            )?;
        }
        Ok(())
    }

    pub(super) fn penalties_are_on(&self) -> bool {
        self.repeat_last_n != 0
            && (self.repeat_penalty != 1.0
                || self.frequency_penalty != 0.0
                || self.presence_penalty != 0.0)
    }

    /// Whether DRY acts, and needs its breakers.
    pub fn dry_is_on(&self) -> bool {
        self.dry_multiplier > 0.0 && self.dry_penalty_last_n != 0
    }
}

fn check(
    field: &'static str,
    value: impl ToString,
    valid: bool,
    wanted: &'static str,
) -> Result<(), ParamsError> {
    if valid {
        return Ok(());
    }
    Err(ParamsError {
        field,
        value: value.to_string(),
        wanted,
    })
}

/// The part of `history` that a sampler looking back `last_n` tokens sees.
pub(super) fn window(history: &[u32], last_n: i32) -> &[u32] {
    match usize::try_from(last_n) {
        Ok(n) => &history[history.len().saturating_sub(n)..],
        Err(_) => history,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_by_name() {
        let params: SamplerParams = serde_json::from_str(r#"{"top_k": 5, "mirostat": 2}"#).unwrap();
        assert_eq!((params.top_k, params.mirostat), (5, Mirostat::V2));
        assert!(serde_json::from_str::<SamplerParams>(r#"{"topk": 5}"#).is_err());
        assert!(serde_json::from_str::<SamplerParams>(r#"{"mirostat": 1}"#).is_err());
        let text = serde_json::to_string(&params).unwrap();
        assert_eq!(
            serde_json::from_str::<SamplerParams>(&text).unwrap(),
            params
        );
    }
}
