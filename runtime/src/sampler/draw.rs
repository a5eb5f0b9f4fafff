//! Random draws as a function of (seed, position, token).
//!
//! A token is drawn by the Gumbel-max trick: the largest of logit + noise,
//! the noise standard Gumbel and independent for each token, is distributed
//! as the softmax of the logits. The noise of a token does not depend on the
//! other candidates, so two models with similar logits mostly choose the
//! same token at the same position, which is what makes a draft's guess
//! right; and what truncates the candidates does not disturb the noise.

use super::candidates::Candidate;
use super::philox::philox;

/// Which of the draws at a position.
#[derive(Clone, Copy)]
enum Stream {
    /// The noise of tokens.
    Token = 0,
    /// Whether XTC acts.
    Xtc = 1,
}

/// The draws at one position.
pub(super) struct Draw {
    key: [u32; 2],
    position: [u32; 2],
}

impl Draw {
    pub(super) fn new(seed: u64, position: u64) -> Self {
        let halves = |v: u64| [v as u32, (v >> 32) as u32];
        Self {
            key: halves(seed),
            position: halves(position),
        }
    }

    fn words(&self, stream: Stream, index: u32) -> [u32; 4] {
        let [low, high] = self.position;
        philox([index, stream as u32, low, high], self.key)
    }

    /// Uniform in (0, 1): whether XTC acts.
    pub(super) fn xtc_chance(&self) -> f64 {
        uniform(self.words(Stream::Xtc, 0)[0])
    }

    /// The candidate with the largest logit + noise; `None` if there is none.
    /// Equal sums, which the 32 bits of the noise make possible, go to the
    /// lower token.
    pub(super) fn choose(&self, candidates: &[Candidate]) -> Option<Candidate> {
        let mut block = None;
        let mut best: Option<(f64, Candidate)> = None;
        for &candidate in candidates {
            // One Philox call makes the noise of four tokens.
            let at = candidate.token / 4;
            let words = match block {
                Some((index, words)) if index == at => words,
                _ => {
                    let words = self.words(Stream::Token, at);
                    block = Some((at, words));
                    words
                }
            };
            let word = words[candidate.token as usize % 4];
            let logit = f64::from(candidate.logit);
            let Some((score, chosen)) = best else {
                best = Some((logit + gumbel(word), candidate));
                continue;
            };
            if logit + gumbel_bound(word) < score {
                continue;
            }
            let own = logit + gumbel(word);
            if own > score || (own == score && candidate.token < chosen.token) {
                best = Some((own, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }
}

fn uniform(word: u32) -> f64 {
    (f64::from(word) + 0.5) * (1.0 / 4_294_967_296.0)
}

fn gumbel(word: u32) -> f64 {
    -libm::log(-libm::log(uniform(word)))
}

/// Not less than [`gumbel`], from -log(u) >= 1 - u, without a logarithm: most
/// of a vocabulary cannot win and is told so cheaply.
fn gumbel_bound(word: u32) -> f64 {
    f64::from((!word).leading_zeros() + 2) * std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds() {
        for shift in 0..32 {
            for word in [
                u32::MAX >> shift,
                !(u32::MAX >> shift),
                1 << shift,
                !(1 << shift),
            ] {
                assert!(gumbel(word) <= gumbel_bound(word), "{word:#x}");
            }
        }
        assert!(gumbel(0).is_finite() && gumbel(u32::MAX).is_finite());
    }
}
