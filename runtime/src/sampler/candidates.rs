//! The tokens that are still in the draw.

use super::exponential::{exp, sum_of_exp};

/// A token with its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) token: u32,
    pub(super) logit: f32,
}

impl Candidate {
    /// Orders by falling logit, then by rising token: a total order that puts
    /// the most likely first, as one integer.
    pub(super) fn rank(self) -> u64 {
        // Adding zero makes -0 and 0 equal.
        let bits = (self.logit + 0.0).to_bits();
        let rising = if bits >> 31 == 0 {
            bits | 1 << 31
        } else {
            !bits
        };
        u64::from(!rising) << 32 | u64::from(self.token)
    }
}

/// The candidates of one draw, all with finite logits. Never empty once
/// filled: what truncates keeps at least one.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    /// Most likely first.
    sorted: bool,
    /// Room to sort by something else than the logit.
    scored: Vec<(f32, Candidate)>,
}

impl Candidates {
    pub(super) fn with_capacity(n: usize) -> Self {
        Self {
            list: Vec::with_capacity(n),
            sorted: false,
            scored: Vec::new(),
        }
    }

    /// Takes all tokens whose logits are at least `least`; negative infinity
    /// is never one.
    pub(super) fn fill(&mut self, logits: &[f32], least: f32) {
        self.list.clear();
        self.sorted = false;
        for (token, &logit) in (0..).zip(logits) {
            if logit >= least && logit > f32::NEG_INFINITY {
                self.list.push(Candidate { token, logit });
            }
        }
    }

    /// Takes the `k` most likely tokens of those, without listing the others.
    pub(super) fn fill_top(&mut self, logits: &[f32], least: f32, k: usize) {
        self.list.clear();
        self.sorted = false;
        let mut least = least.max(f32::MIN);
        for (token, &logit) in (0..).zip(logits) {
            if logit < least {
                continue;
            }
            self.list.push(Candidate { token, logit });
            if self.list.len() >= 2 * k + 64 {
                self.keep_top(k);
                let tail = self.list.iter().map(|c| c.logit);
                least = tail.fold(f32::INFINITY, f32::min);
            }
        }
        self.keep_top(k);
    }

    pub(super) fn list(&self) -> &[Candidate] {
        &self.list
    }

    pub(super) fn list_mut(&mut self) -> &mut [Candidate] {
        &mut self.list
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn max_logit(&self) -> f32 {
        if self.sorted
            && let Some(first) = self.list.first()
        {
            return first.logit;
        }
        let logits = self.list.iter().map(|c| c.logit);
        logits.fold(f32::NEG_INFINITY, f32::max)
    }

    /// Most likely first.
    pub(super) fn sort(&mut self) {
        if !self.sorted {
            self.list.sort_unstable_by_key(|c| c.rank());
            self.sorted = true;
        }
    }

    /// Brings the `k` most likely to the front, in order; `k` is within the list.
    pub(super) fn sort_front(&mut self, k: usize) {
        if self.sorted || k == 0 {
            return;
        }
        if k < self.list.len() {
            self.list.select_nth_unstable_by_key(k - 1, |c| c.rank());
        }
        self.list[..k].sort_unstable_by_key(|c| c.rank());
        self.sorted = k == self.list.len();
    }

    /// Keeps the `k` most likely, in no order; at least one.
    pub(super) fn keep_top(&mut self, k: usize) {
        let k = k.max(1);
        if k < self.list.len() {
            if !self.sorted {
                self.list.select_nth_unstable_by_key(k - 1, |c| c.rank());
            }
            self.list.truncate(k);
        }
    }

    /// Keeps the first `n`, which are in order if `sorted`; at least one.
    pub(super) fn keep_first(&mut self, n: usize, sorted: bool) {
        self.list.truncate(n.max(1));
        self.sorted |= sorted;
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Candidate) -> bool) {
        self.list.retain(keep);
    }

    /// Softmax denominator relative to the largest logit.
    pub(super) fn total(&self, max: f32) -> f64 {
        sum_of_exp(self.list.iter().map(|c| c.logit), max)
    }

    /// Entropy of the softmax in nats.
    pub(super) fn entropy(&self) -> f64 {
        let max = self.max_logit();
        let total = self.total(max);
        // H = log Z - E[logit - max].
        let expected: f64 = self
            .list
            .iter()
            .map(|c| f64::from(exp(c.logit - max)) * f64::from(c.logit - max))
            .sum();
        libm::log(total) - expected / total
    }

    /// Orders by rising `score`, ties most likely first.
    pub(super) fn sort_by_score(&mut self, mut score: impl FnMut(&Candidate) -> f32) {
        self.scored.clear();
        self.scored.extend(self.list.iter().map(|c| (score(c), *c)));
        self.scored
            .sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.rank().cmp(&b.1.rank())));
        for (slot, (_, candidate)) in self.list.iter_mut().zip(&self.scored) {
            *slot = *candidate;
        }
        self.sorted = false;
    }
}
