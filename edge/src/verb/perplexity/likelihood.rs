//! How likely a model finds a text.

use outrigger_runtime::tokenizer::TokenId;

/// The logarithm of a softmax: what turns logits into log-probabilities.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogSoftmax {
    /// The largest logit.
    pub(super) max: f32,
    /// ln of the sum over all logits of exp(logit - max).
    pub(super) log_sum: f64,
}

impl LogSoftmax {
    pub(super) fn of(logits: &[f32]) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&x| f64::from((x - max).exp())).sum();
        Self {
            max,
            log_sum: sum.ln(),
        }
    }

    /// The log-probability of what has this logit.
    pub(super) fn log_probability(&self, logit: f32) -> f64 {
        f64::from(logit - self.max) - self.log_sum
    }
}

/// A mean with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) error: f64,
}

/// Sums over values, for their mean.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) count: usize,
    sum: f64,
    squares: f64,
}

impl Moments {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    pub(super) fn mean(&self) -> Estimate {
        if self.count == 0 {
            return Estimate {
                value: f64::NAN,
                error: f64::NAN,
            };
        }
        let count = self.count as f64;
        let value = self.sum / count;
        let variance = (self.squares / count - value * value).max(0.0);
        let error = match self.count {
            1 => f64::NAN,
            _ => (variance / (count - 1.0)).sqrt(),
        };
        Estimate { value, error }
    }

    /// exp of the mean, its error to first order.
    pub(super) fn exp_mean(&self) -> Estimate {
        self.mean().exp()
    }
}

impl Estimate {
    pub(super) fn exp(self) -> Self {
        let value = self.value.exp();
        Self {
            value,
            error: value * self.error,
        }
    }
}

/// The negative log-likelihood of the tokens of a text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Likelihood(pub(super) Moments);

impl Likelihood {
    /// Adds a token that followed where the model gave these logits.
    pub(super) fn add(&mut self, logits: &[f32], token: TokenId) {
        let softmax = LogSoftmax::of(logits);
        self.0.add(-softmax.log_probability(logits[token as usize]));
    }

    /// exp of the mean negative log-likelihood.
    pub(super) fn perplexity(&self) -> Estimate {
        self.0.exp_mean()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_model_is_as_perplexed_as_its_vocabulary_is_large() {
        let mut likelihood = Likelihood::default();
        for token in 0..4 {
            likelihood.add(&[3.0; 4], token);
        }
        let perplexity = likelihood.perplexity();
        assert!((perplexity.value - 4.0).abs() < 1e-9, "{perplexity:?}");
        assert!(perplexity.error.abs() < 1e-6);
    }

    #[test]
    fn means_have_standard_errors() {
        let mut moments = Moments::default();
        for value in [1.0, 2.0, 3.0, 4.0] {
            moments.add(value);
        }
        let mean = moments.mean();
        assert_eq!(mean.value, 2.5);
        // The sample's standard deviation over the root of its size.
        assert!((mean.error - (5.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
    }
}
