//! How far a model's predictions are from those of a base model.
//!
//! The figures are those of llama.cpp's `llama-perplexity --kl-divergence`,
//! and bear its names.

use super::likelihood::{Estimate, LogSoftmax, Moments};
use outrigger_runtime::tokenizer::TokenId;
use serde::Serialize;
use std::io::{self, Write};

/// Log-probabilities below this add nothing that counts to a divergence.
const NEGLIGIBLE: f32 = -16.0;

/// Shares of the positions whose quantiles are given, in percent.
const PERCENTS: [f64; 9] = [99.9, 99.0, 95.0, 90.0, 50.0, 10.0, 5.0, 1.0, 0.1];

/// Sums over positions at which two models were compared.
#[derive(Debug, Default)]
pub(super) struct Divergence {
    nll: Moments,
    nll_base: Moments,
    nll_products: f64,
    kld: Moments,
    delta_p: Moments,
    delta_p_squared: Moments,
    same_top: usize,
    klds: Vec<f32>,
    deltas_p: Vec<f32>,
}

impl Divergence {
    /// Adds a position: the model's logits, the base's log-probabilities, and
    /// the token that followed.
    pub(super) fn add(&mut self, logits: &[f32], base: &[f32], token: TokenId) {
        let softmax = LogSoftmax::of(logits);
        let at = token as usize;
        let nll = -softmax.log_probability(logits[at]);
        let nll_base = -f64::from(base[at]);
        self.nll.add(nll);
        self.nll_base.add(nll_base);
        self.nll_products += nll * nll_base;

        let pairs = base.iter().zip(logits);
        let pairs = pairs.filter(|(log_base, _)| **log_base > NEGLIGIBLE);
        let kld = pairs
            .map(|(&log_base, &logit)| {
                let ratio = f64::from(log_base) - softmax.log_probability(logit);
                f64::from(log_base.exp()) * ratio
            })
            .sum();
        self.kld.add(kld);
        self.klds.push(kld as f32);
        if largest(logits) == largest(base) {
            self.same_top += 1;
        }

        let delta_p = (-nll).exp() - (-nll_base).exp();
        self.delta_p.add(delta_p);
        self.delta_p_squared.add(delta_p * delta_p);
        self.deltas_p.push(delta_p as f32);
    }

    /// The heading of the lines that [`print_line`](Self::print_line) prints.
    pub(super) fn print_heading(out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "window         PPL  ln(PPL(Q)/PPL(base))  KL divergence    Δp RMS  Same top p"
        )
    }

    /// The figures over all positions so far, on one line.
    pub(super) fn print_line(&self, out: &mut impl Write, window: usize) -> io::Result<()> {
        writeln!(
            out,
            "{window:6}  {:10.4}  {:20.5}  {:13.5}  {:6.3} %  {:8.3} %",
            self.nll.exp_mean().value,
            self.nll.mean().value - self.nll_base.mean().value,
            self.kld.mean().value,
            100.0 * self.delta_p_squared.mean().value.sqrt(),
            100.0 * self.same_top as f64 / self.nll.count as f64,
        )
    }

    /// The figures over all positions.
    pub(super) fn figures(&self) -> Figures {
        let count = self.nll.count as f64;
        let (ln_ppl, ln_base) = (self.nll.mean(), self.nll_base.mean());
        // Of the two means, from which their difference's error follows.
        let covariance = (self.nll_products / count - ln_ppl.value * ln_base.value) / (count - 1.0);
        let ln_ratio = Estimate {
            value: ln_ppl.value - ln_base.value,
            error: difference_error(ln_ppl.error, ln_base.error, covariance),
        };
        let (ppl, ppl_base) = (ln_ppl.exp(), ln_base.exp());
        let ppl_covariance = ppl.value * ppl_base.value * covariance;
        let squared = self.delta_p_squared.mean();
        let rms = squared.value.sqrt();
        let same_top = self.same_top as f64 / count;
        Figures {
            ppl,
            ppl_base,
            ln_ppl_correlation: covariance / (ln_ppl.error * ln_base.error),
            ln_ppl_ratio: ln_ratio,
            ppl_ratio: ln_ratio.exp(),
            ppl_difference: Estimate {
                value: ppl.value - ppl_base.value,
                error: difference_error(ppl.error, ppl_base.error, ppl_covariance),
            },
            kld: Spread::of(self.kld.mean(), &self.klds),
            delta_p: Spread::of(self.delta_p.mean(), &self.deltas_p),
            delta_p_rms: Estimate {
                value: rms,
                error: 0.5 / rms * squared.error,
            },
            same_top: Estimate {
                value: same_top,
                error: (same_top * (1.0 - same_top) / (count - 1.0)).sqrt(),
            },
        }
    }
}

/// The error of the difference of two estimates.
fn difference_error(a: f64, b: f64, covariance: f64) -> f64 {
    (a * a + b * b - 2.0 * covariance).max(0.0).sqrt()
}

/// The index of the largest value, the first of several.
fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = index;
        }
    }
    best
}

/// How values are spread.
#[derive(Debug, Serialize)]
pub(super) struct Spread {
    mean: Estimate,
    max: f64,
    min: f64,
    /// By percent, in falling order.
    percentiles: Vec<(f64, f64)>,
}

impl Spread {
    fn of(mean: Estimate, values: &[f32]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f32::total_cmp);
        let end = |value: Option<&f32>| value.map_or(f64::NAN, |&v| v.into());
        Self {
            mean,
            max: end(sorted.last()),
            min: end(sorted.first()),
            percentiles: PERCENTS.map(|p| (p, percentile(&sorted, p))).to_vec(),
        }
    }

    fn print(&self, out: &mut impl Write, name: &str, unit: &Unit) -> io::Result<()> {
        unit.print(out, &format!("Mean    {name}"), self.mean)?;
        let mut line = |label: String, value: f64| {
            let value = value * unit.factor;
            writeln!(out, "{label}: {value:10.6}{}", unit.suffix)
        };
        line(format!("Maximum {name}"), self.max)?;
        for &(percent, value) in &self.percentiles {
            line(format!("{percent:4.1}%   {name}"), value)?;
        }
        line(format!("Minimum {name}"), self.min)
    }
}

/// The value below which so many percent of sorted values lie, interpolated.
fn percentile(sorted: &[f32], percent: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = percent / 100.0 * last as f64;
    let below = (place as usize).min(last);
    let above = (below + 1).min(last);
    let part = place - below as f64;
    f64::from(sorted[below]) * (1.0 - part) + f64::from(sorted[above]) * part
}

/// How an estimate is printed.
struct Unit {
    factor: f64,
    suffix: &'static str,
}

const PLAIN: Unit = Unit {
    factor: 1.0,
    suffix: "",
};
const PERCENT: Unit = Unit {
    factor: 100.0,
    suffix: " %",
};

impl Unit {
    fn print(&self, out: &mut impl Write, label: &str, estimate: Estimate) -> io::Result<()> {
        let Self { factor, suffix } = self;
        let (value, error) = (estimate.value * factor, estimate.error * factor);
        writeln!(out, "{label}: {value:10.6} +/- {error:.6}{suffix}")
    }
}

/// What two models' comparison comes to.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    ppl: Estimate,
    ppl_base: Estimate,
    ln_ppl_correlation: f64,
    ln_ppl_ratio: Estimate,
    ppl_ratio: Estimate,
    ppl_difference: Estimate,
    kld: Spread,
    delta_p: Spread,
    delta_p_rms: Estimate,
    same_top: Estimate,
}

impl Figures {
    /// All figures.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "\n====== Perplexity statistics ======")?;
        PLAIN.print(out, "Mean PPL(Q)                   ", self.ppl)?;
        PLAIN.print(out, "Mean PPL(base)                ", self.ppl_base)?;
        let correlation = 100.0 * self.ln_ppl_correlation;
        writeln!(out, "Cor(ln(PPL(Q)), ln(PPL(base))): {correlation:10.2} %")?;
        PLAIN.print(out, "Mean ln(PPL(Q)/PPL(base))     ", self.ln_ppl_ratio)?;
        PLAIN.print(out, "Mean PPL(Q)/PPL(base)         ", self.ppl_ratio)?;
        PLAIN.print(out, "Mean PPL(Q)-PPL(base)         ", self.ppl_difference)?;
        writeln!(out, "\n====== KL divergence statistics ======")?;
        self.kld.print(out, "KLD", &PLAIN)?;
        writeln!(out, "\n====== Token probability statistics ======")?;
        self.delta_p.print(out, "Δp", &PERCENT)?;
        PERCENT.print(out, "RMS Δp    ", self.delta_p_rms)?;
        PERCENT.print(out, "Same top p", self.same_top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_does_not_diverge_from_itself() {
        let mut divergence = Divergence::default();
        for token in 0..3 {
            let logits = [0.5, 1.5, -2.0];
            let softmax = LogSoftmax::of(&logits);
            let base = logits.map(|logit| softmax.log_probability(logit) as f32);
            divergence.add(&logits, &base, token);
        }
        let figures = divergence.figures();
        assert!(figures.kld.mean.value.abs() < 1e-6);
        assert!(figures.ln_ppl_ratio.value.abs() < 1e-6);
        assert!(figures.delta_p_rms.value < 1e-6);
        assert_eq!(figures.same_top.value, 1.0);
    }

    #[test]
    fn divergence_is_that_of_the_definition() {
        // p = (1/2, 1/2) against q = (1/4, 3/4).
        let base = [0.5_f32.ln(); 2];
        let logits = [0.25_f32.ln(), 0.75_f32.ln()];
        let mut divergence = Divergence::default();
        divergence.add(&logits, &base, 1);
        divergence.add(&logits, &base, 0);
        let figures = divergence.figures();
        let wanted = 0.5 * 2.0_f64.ln() + 0.5 * (2.0_f64 / 3.0).ln();
        assert!((figures.kld.mean.value - wanted).abs() < 1e-6);
        assert!((figures.ppl_base.value - 2.0).abs() < 1e-6);
        assert!((figures.delta_p_rms.value - 0.25).abs() < 1e-6);
        assert_eq!(figures.same_top.value, 0.0);
    }

    #[test]
    fn percentiles_are_interpolated() {
        assert_eq!(percentile(&[0.0, 1.0, 2.0], 50.0), 1.0);
        assert_eq!(percentile(&[0.0, 1.0, 2.0, 3.0], 50.0), 1.5);
        assert_eq!(percentile(&[5.0], 99.9), 5.0);
        assert!(percentile(&[], 1.0).is_nan());
    }
}
