//! Rotation frequencies and their scalings.

use super::{ModelError, Vector, keys::Keys};
use outrigger_kernels::cpu::rope::Pairing;

/// A rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Which elements form a pair.
    pub pairing: Pairing,
    /// Radians per position, one per pair; twice as many elements are rotated.
    pub frequencies: Vec<f32>,
    /// Factor on the rotated elements (YaRN's and LongRope's attention factor).
    pub magnitude: f32,
}

/// How positions beyond the original context are brought into range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scaling {
    None,
    /// Positions are divided by the factor.
    Linear {
        factor: f32,
    },
    /// YaRN (arXiv 2309.00071): low frequencies are divided, high ones kept.
    Yarn {
        factor: f32,
        original_context: u32,
        attention_factor: f32,
        beta_fast: f32,
        beta_slow: f32,
    },
    /// LongRope: the frequencies come divided in the file; only the magnitude
    /// is left to apply.
    Long {
        magnitude: f32,
    },
}

impl Scaling {
    pub(super) fn read(keys: &Keys<'_>) -> Result<Self, ModelError> {
        let factor = keys.positive("rope.scaling.factor")?;
        let old_linear = keys.positive("rope.scale_linear")?;
        match keys.str("rope.scaling.type")? {
            None | Some("none") => Ok(match factor.or(old_linear) {
                // Files from before the type key, and Gemma 3's, name a
                // factor alone: it was always linear.
                Some(factor) if factor != 1.0 => Self::Linear { factor },
                _ => Self::None,
            }),
            Some("linear") => Ok(Self::Linear {
                factor: factor.or(old_linear).unwrap_or(1.0),
            }),
            Some("yarn") => {
                let factor = factor.unwrap_or(1.0);
                let trained = keys.count("context_length")? as u32;
                Ok(Self::Yarn {
                    factor,
                    original_context: keys
                        .u32("rope.scaling.original_context_length")?
                        .unwrap_or(trained),
                    attention_factor: yarn_attention_factor(keys, factor)?,
                    beta_fast: keys
                        .positive("rope.scaling.yarn_beta_fast")?
                        .unwrap_or(32.0),
                    beta_slow: keys.positive("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                })
            }
            Some("longrope") => Self::long(keys),
            Some(other) => Err(keys.bad(
                "rope.scaling.type",
                &format!("`{other}`"),
                "none, linear, yarn or longrope",
            )),
        }
    }
}

impl Scaling {
    /// LongRope, which files also mean when they carry its factors and no type.
    pub(super) fn long(keys: &Keys<'_>) -> Result<Self, ModelError> {
        Ok(Self::Long {
            magnitude: keys.positive("rope.scaling.attn_factor")?.unwrap_or(1.0),
        })
    }
}

/// `0.1 ln(factor) + 1` (equation 22 of the paper), times the file's own factor.
fn yarn_attention_factor(keys: &Keys<'_>, factor: f32) -> Result<f32, ModelError> {
    let own = keys.positive("rope.scaling.attn_factor")?.unwrap_or(1.0);
    let by_length = if factor > 1.0 {
        0.1 * libm::logf(factor) + 1.0
    } else {
        1.0
    };
    Ok(own * by_length)
}

/// A rotation of `dims` elements of each head.
pub(super) fn rope(
    pairing: Pairing,
    dims: usize,
    base: f32,
    scaling: Scaling,
    divisors: Option<&Vector>,
) -> Rope {
    let frequency = |pair: usize| {
        let exponent = (2 * pair) as f64 / dims as f64;
        1.0 / libm::pow(f64::from(base), exponent)
    };
    let mut frequencies: Vec<f64> = (0..dims / 2).map(frequency).collect();
    let mut magnitude = 1.0;
    match scaling {
        Scaling::None => {}
        Scaling::Linear { factor } => {
            for frequency in &mut frequencies {
                *frequency /= f64::from(factor);
            }
        }
        Scaling::Yarn {
            factor,
            original_context,
            attention_factor,
            beta_fast,
            beta_slow,
        } => {
            magnitude = attention_factor;
            let context = f64::from(original_context);
            // The pair that turns `rotations` times over the original context.
            let pair_of = |rotations: f32| {
                let turns = libm::log(context / (f64::from(rotations) * std::f64::consts::TAU));
                dims as f64 * turns / (2.0 * libm::log(f64::from(base)))
            };
            let low = pair_of(beta_fast).floor().max(0.0);
            let high = pair_of(beta_slow).ceil().min(dims as f64 - 1.0);
            let width = if high == low { 0.001 } else { high - low };
            for (pair, frequency) in frequencies.iter_mut().enumerate() {
                let ramp = ((pair as f64 - low) / width).clamp(0.0, 1.0);
                *frequency = *frequency / f64::from(factor) * ramp + *frequency * (1.0 - ramp);
            }
        }
        Scaling::Long { magnitude: m } => magnitude = m,
    }
    if let Some(divisors) = divisors {
        for (frequency, &divisor) in frequencies.iter_mut().zip(divisors.iter()) {
            *frequency /= f64::from(divisor);
        }
    }
    Rope {
        pairing,
        frequencies: frequencies.into_iter().map(|f| f as f32).collect(),
        magnitude,
    }
}
