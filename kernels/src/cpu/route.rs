//! Routing of a mixture of experts.

use super::{elementwise::exp_from, isa::Isa};

/// How the chosen experts' weights follow from the router's logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Routing {
    /// Experts chosen per column.
    pub used: usize,
    /// Whether the chosen probabilities are divided by their sum.
    pub renormalise: bool,
    /// A factor on the weights.
    pub scale: f32,
}

/// Chooses the `routing.used` experts with the largest logits and writes their
/// indices and weights: softmax over all experts, then the choice. Ties go to
/// the lower index; a NaN is never preferred. `logits` is overwritten.
pub fn route(
    isa: Isa,
    routing: Routing,
    logits: &mut [f32],
    experts: &mut [u32],
    weights: &mut [f32],
) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    exp_from(isa, logits, max);
    let total: f32 = logits.iter().sum();
    let mut chosen_total = 0.0;
    for slot in 0..routing.used {
        let mut best = None;
        for (i, &p) in logits.iter().enumerate() {
            let taken = experts[..slot].contains(&(i as u32));
            if !taken && best.is_none_or(|b: usize| p > logits[b]) {
                best = Some(i);
            }
        }
        let Some(best) = best else {
            weights[slot..routing.used].fill(0.0);
            experts[slot..routing.used].fill(0);
            return;
        };
        experts[slot] = best as u32;
        weights[slot] = logits[best] / total;
        chosen_total += weights[slot];
    }
    for weight in &mut weights[..routing.used] {
        if routing.renormalise {
            *weight /= chosen_total;
        }
        *weight *= routing.scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_chosen_in_order() {
        let mut logits = [0.5, 2.0, -1.0, 2.0];
        let (mut experts, mut weights) = ([0; 3], [0.0; 3]);
        let routing = Routing {
            used: 3,
            renormalise: true,
            scale: 1.0,
        };
        route(
            Isa::detect(),
            routing,
            &mut logits,
            &mut experts,
            &mut weights,
        );
        assert_eq!(experts, [1, 3, 0]);
        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((weights[0] / weights[2] - 1.5f32.exp()).abs() < 1e-4);
    }

    #[test]
    fn without_renormalising_the_rest_of_the_mass_is_lost() {
        let (mut experts, mut weights) = ([0; 1], [0.0; 1]);
        let routing = Routing {
            used: 1,
            renormalise: false,
            scale: 2.0,
        };
        route(
            Isa::detect(),
            routing,
            &mut [0.0, 0.0],
            &mut experts,
            &mut weights,
        );
        assert_eq!((experts, weights), ([0], [1.0]));
    }
}
