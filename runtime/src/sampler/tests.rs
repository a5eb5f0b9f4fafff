use proptest::prelude::*;

use super::candidates::{Candidate, Candidates};
use super::draw::Draw;
use super::dry::Dry;
use super::penalties::Penalties;
use super::*;
use super::{min_p, mirostat, temperature, top_n_sigma, top_p, typical};

/// Distance from a threshold within which f32 and f64 may disagree.
const SLACK: f64 = 2e-5;

fn filled(logits: &[f32]) -> Candidates {
    let mut candidates = Candidates::with_capacity(logits.len());
    candidates.fill(logits, f32::NEG_INFINITY);
    candidates
}

fn tokens(candidates: &Candidates) -> Vec<u32> {
    let mut tokens: Vec<u32> = candidates.list().iter().map(|c| c.token).collect();
    tokens.sort_unstable();
    tokens
}

/// Tokens, most likely first.
fn ranking(logits: &[f32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    order.sort_by(|&a, &b| {
        logits[b as usize]
            .total_cmp(&logits[a as usize])
            .then(a.cmp(&b))
    });
    order
}

fn wide(logits: &[f32]) -> Vec<f64> {
    logits.iter().map(|&l| l.into()).collect()
}

fn some_logits() -> impl Strategy<Value = Vec<f32>> {
    let any = prop::collection::vec(-12.0_f32..12.0, 1..600);
    // Few distinct values, for ties.
    let tied = prop::collection::vec((-6..6_i8).prop_map(f32::from), 1..100);
    prop_oneof![any, tied]
}

fn params() -> SamplerParams {
    SamplerParams {
        seed: Some(7),
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        ..SamplerParams::default()
    }
}

fn sampler(params: SamplerParams, n_vocab: usize) -> Sampler {
    Sampler::new(params, n_vocab, DryBreakers::default()).unwrap()
}

fn at(position: u64) -> SampleContext<'static> {
    SampleContext {
        position,
        history: &[],
        logprobs: None,
    }
}

proptest! {
    #[test]
    fn top_k_keeps_the_most_likely(logits in some_logits(), k in 1_usize..80) {
        let mut candidates = Candidates::with_capacity(logits.len());
        candidates.fill_top(&logits, f32::NEG_INFINITY, k);
        let mut expected = ranking(&logits);
        expected.truncate(k);
        candidates.sort();
        let got: Vec<u32> = candidates.list().iter().map(|c| c.token).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn top_p_keeps_the_smallest_nucleus(logits in some_logits(), p in 0.0_f32..1.0) {
        let mut candidates = filled(&logits);
        top_p::apply(&mut candidates, p);
        let order = ranking(&logits);
        let probabilities = naive::probabilities(&wide(&logits));
        let kept = candidates.len();
        let mut expected = order[..kept].to_vec();
        expected.sort_unstable();
        prop_assert_eq!(tokens(&candidates), expected);
        let mass = |n: usize| order[..n].iter().map(|t| probabilities[*t as usize]).sum::<f64>();
        prop_assert!(kept == logits.len() || mass(kept) >= f64::from(p) - SLACK);
        prop_assert!(kept == 1 || mass(kept - 1) < f64::from(p) + SLACK);
    }

    #[test]
    fn min_p_compares_with_the_most_likely(logits in some_logits(), p in 0.0_f32..=1.0) {
        let mut candidates = filled(&logits);
        min_p::apply(&mut candidates, p);
        let probabilities = naive::probabilities(&wide(&logits));
        let most = probabilities.iter().copied().fold(0.0, f64::max);
        let kept = tokens(&candidates);
        prop_assert!(!kept.is_empty());
        for (token, probability) in probabilities.iter().enumerate() {
            let share = probability / most;
            let p = f64::from(p);
            if kept.contains(&(token as u32)) {
                prop_assert!(share >= p - SLACK);
            } else {
                prop_assert!(share < p + SLACK);
            }
        }
    }

    #[test]
    fn typical_keeps_the_least_surprising(logits in some_logits(), p in 0.0_f32..1.0) {
        let mut candidates = filled(&logits);
        typical::apply(&mut candidates, p);
        let probabilities = naive::probabilities(&wide(&logits));
        let entropy = naive::entropy(&probabilities);
        let score = |t: u32| (-probabilities[t as usize].ln() - entropy).abs();
        let kept = tokens(&candidates);
        prop_assert!(!kept.is_empty());
        let worst = kept.iter().map(|t| score(*t)).fold(0.0, f64::max);
        let mass: f64 = kept.iter().map(|t| probabilities[*t as usize]).sum();
        for token in (0..logits.len() as u32).filter(|t| !kept.contains(t)) {
            prop_assert!(score(token) >= worst - SLACK);
        }
        prop_assert!(kept.len() == logits.len() || mass > f64::from(p) - SLACK);
        // Without one of the worst, the mass was not yet enough.
        let last = kept.iter().filter(|t| score(**t) >= worst - SLACK);
        let most = last.map(|t| probabilities[*t as usize]).fold(0.0, f64::max);
        prop_assert!(kept.len() == 1 || mass - most <= f64::from(p) + SLACK);
    }

    #[test]
    fn top_n_sigma_measures_deviations(logits in some_logits(), n in 0.01_f32..3.0) {
        let least = f64::from(top_n_sigma::least_logit(&logits, n));
        let logits = wide(&logits);
        let count = logits.len() as f64;
        let mean = logits.iter().sum::<f64>() / count;
        let variance = logits.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / count;
        let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        prop_assert!((least - (max - f64::from(n) * variance.sqrt())).abs() < SLACK);
        prop_assert!(least <= max);
    }

    #[test]
    fn penalties_agree(
        logits in prop::collection::vec(-12.0_f32..12.0, 8),
        history in prop::collection::vec(0_u32..8, 0..40),
        repeat_last_n in -1_i32..50,
        repeat_penalty in 0.5_f32..2.0,
        frequency_penalty in -1.0_f32..1.0,
        presence_penalty in -1.0_f32..1.0,
    ) {
        let params = SamplerParams {
            repeat_last_n, repeat_penalty, frequency_penalty, presence_penalty, ..params()
        };
        let expected = naive::penalised(&wide(&logits), &history, &params);
        let mut penalties = Penalties::new(8);
        for _ in 0..2 {
            let mut got = logits.clone();
            penalties.apply(&mut got, &history, &params);
            for (got, expected) in got.iter().zip(&expected) {
                prop_assert!((f64::from(*got) - expected).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn dry_agrees(
        logits in prop::collection::vec(-12.0_f32..12.0, 4),
        history in prop::collection::vec(0_u32..4, 0..60),
        breakers in prop::collection::vec(prop::collection::vec(0_u32..4, 1..4), 0..3),
        dry_allowed_length in 0_u32..5,
        dry_penalty_last_n in -1_i32..60,
    ) {
        let params = SamplerParams {
            dry_multiplier: 0.8, dry_base: 1.1, dry_allowed_length, dry_penalty_last_n, ..params()
        };
        let expected = naive::dried(&wide(&logits), &history, &breakers, &params);
        let sequences = DryBreakers::of_sequences(breakers.iter().map(Vec::as_slice));
        let mut dry = Dry::new(4, sequences);
        for _ in 0..2 {
            let mut got = logits.clone();
            dry.apply(&mut got, &history, &params);
            for (got, expected) in got.iter().zip(&expected) {
                prop_assert!((f64::from(*got) - expected).abs() < expected.abs() * 1e-6 + 1e-4);
            }
        }
    }

    #[test]
    fn dynamic_temperature_follows_the_entropy(
        logits in prop::collection::vec(-12.0_f32..12.0, 2..200),
        exponent in 0.2_f32..3.0,
    ) {
        let params = SamplerParams {
            temperature: 1.0, dynatemp_range: 0.5, dynatemp_exponent: exponent, ..params()
        };
        let entropy = naive::entropy(&naive::probabilities(&wide(&logits)));
        let share = (entropy / (logits.len() as f64).ln()).powf(exponent.into());
        let got = f64::from(temperature::of(&filled(&logits), &params));
        prop_assert!((got - (0.5 + share)).abs() < 1e-3, "{} and {}", got, 0.5 + share);
    }

    #[test]
    fn mirostat_bounds_the_surprise(logits in some_logits(), mu in 0.0_f32..12.0) {
        let mut candidates = filled(&logits);
        mirostat::truncate(&mut candidates, mu);
        let probabilities = naive::probabilities(&wide(&logits));
        let kept = tokens(&candidates);
        prop_assert!(!kept.is_empty());
        for (token, probability) in probabilities.iter().enumerate() {
            let surprise = -probability.log2();
            if kept.contains(&(token as u32)) {
                prop_assert!(kept.len() == 1 || surprise <= f64::from(mu) + SLACK);
            } else {
                prop_assert!(kept.len() == 1 || surprise > f64::from(mu) - SLACK);
            }
        }
    }

    #[test]
    fn the_order_of_candidates_does_not_matter(
        logits in some_logits(), seed: u64, position: u64, rotation in 0_usize..600,
    ) {
        let draw = Draw::new(seed, position);
        let mut list: Vec<Candidate> = filled(&logits).list().to_vec();
        let chosen = draw.choose(&list);
        let n = list.len();
        list.rotate_left(rotation % n);
        prop_assert_eq!(draw.choose(&list), chosen);
        list.reverse();
        prop_assert_eq!(draw.choose(&list), chosen);
        // Nor do the candidates that are not chosen.
        list.retain(|c| Some(*c) == chosen || c.token % 2 == 0);
        prop_assert_eq!(draw.choose(&list), chosen);
    }

    #[test]
    fn every_chain_keeps_a_token(
        logits in some_logits(),
        (top_k, top_p, min_p, typical_p) in (0_u32..5, 0.0_f32..=1.0, 0.0_f32..=1.0, 0.0_f32..=1.0),
        (top_n_sigma, xtc_threshold, temperature, dynatemp_range) in
            (-1.0_f32..2.0, 0.0_f32..1.0, 0.0_f32..2.0, 0.0_f32..1.0),
        mirostat in prop_oneof![Just(Mirostat::Off), Just(Mirostat::V2)],
        history in prop::collection::vec(0_u32..1, 0..20),
        position: u64,
    ) {
        let params = SamplerParams {
            top_k, top_p, min_p, typical_p, top_n_sigma, xtc_threshold, temperature,
            dynatemp_range, mirostat, xtc_probability: 1.0, repeat_penalty: 1.3,
            frequency_penalty: 0.3, dry_multiplier: 0.8, ..params()
        };
        let mut sampler = sampler(params, logits.len());
        let context = SampleContext { position, history: &history, logprobs: Some(3) };
        let first = sampler.sample(&logits, context).unwrap();
        prop_assert!((first.token as usize) < logits.len());
        prop_assert_eq!(sampler.sample(&logits, context).unwrap(), first);
        let probability = naive::probabilities(&wide(&logits))[first.token as usize];
        prop_assert!((f64::from(first.logprob.unwrap()) - probability.ln()).abs() < 1e-4);
        let top = sampler.top_logprobs();
        let best: Vec<u32> = ranking(&logits).into_iter().take(3).collect();
        prop_assert_eq!(top.iter().map(|t| t.token).collect::<Vec<_>>(), best);
    }
}

#[test]
fn draws_follow_the_softmax() {
    let logits = [1.0_f32, 0.0, -1.0, 2.0, 0.5, -3.0, 1.5, 0.25];
    let mut sampler = sampler(params(), logits.len());
    let draws = 200_000;
    let mut counts = [0.0_f64; 8];
    for position in 0..draws {
        counts[sampler.sample(&logits, at(position)).unwrap().token as usize] += 1.0;
    }
    let expected = naive::probabilities(&wide(&logits));
    let terms = counts.iter().zip(expected).map(|(count, p)| {
        let expected = p * draws as f64;
        (count - expected).powi(2) / expected
    });
    // The 99.9% quantile of chi-square with 7 degrees of freedom.
    let chi_square: f64 = terms.sum();
    assert!(chi_square < 24.32, "{chi_square}: {counts:?}");
}

#[test]
fn draws_at_neighbouring_positions_are_independent() {
    let logits = [0.0_f32; 2];
    let mut sampler = sampler(params(), 2);
    let bits: Vec<u32> = (0..40_000)
        .map(|p| sampler.sample(&logits, at(p)).unwrap().token)
        .collect();
    let equal = bits.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64;
    assert!((equal / 40_000.0 - 0.5).abs() < 0.01, "{equal}");
}

#[test]
fn a_draft_with_similar_logits_draws_alike() {
    let n = 50;
    let logits: Vec<f32> = (0..n).map(|i| ((i * 37) % 50) as f32 / 10.0).collect();
    let draft: Vec<f32> = logits
        .iter()
        .enumerate()
        .map(|(i, l)| l + (i % 3) as f32 * 0.1)
        .collect();
    let (mut a, mut b) = (sampler(params(), n), sampler(params(), n));
    let alike = (0..4000)
        .filter(|&p| {
            a.sample(&logits, at(p)).unwrap().token == b.sample(&draft, at(p)).unwrap().token
        })
        .count();
    assert!(alike > 3600, "{alike} of 4000");
}

#[test]
fn seeds_differ() {
    let logits = vec![0.0_f32; 1000];
    let text = |seed| {
        let mut sampler = sampler(
            SamplerParams {
                seed: Some(seed),
                ..params()
            },
            1000,
        );
        (0..20)
            .map(|p| sampler.sample(&logits, at(p)).unwrap().token)
            .collect::<Vec<_>>()
    };
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
    assert_ne!(text(1), text(1 << 32));
    let mut random = params();
    random.seed = None;
    assert_ne!(
        sampler(random.clone(), 10).seed(),
        sampler(random, 10).seed()
    );
}

#[test]
fn greedy_takes_the_lowest_of_equals() {
    let mut sampler = sampler(SamplerParams::greedy(), 5);
    let logits = [0.0, 2.0, f32::NEG_INFINITY, 2.0, -1.0];
    assert_eq!(sampler.sample(&logits, at(0)).unwrap().token, 1);
    let mut biased = SamplerParams::greedy();
    biased.logit_bias = vec![(1, f32::NEG_INFINITY), (4, 9.0)];
    let mut sampler = Sampler::new(biased, 5, DryBreakers::default()).unwrap();
    assert_eq!(sampler.sample(&logits, at(0)).unwrap().token, 4);
}

#[test]
fn logits_that_cannot_be_sampled() {
    let mut two = sampler(params(), 2);
    assert_eq!(two.sample(&[], at(0)), Err(SamplerError::Empty));
    assert_eq!(
        two.sample(&[1.0], at(0)),
        Err(SamplerError::Length {
            found: 1,
            wanted: 2
        })
    );
    assert_eq!(
        two.sample(&[0.0, f32::NAN], at(0)),
        Err(SamplerError::NotFinite { token: 1 })
    );
    assert_eq!(
        two.sample(&[f32::INFINITY, 0.0], at(0)),
        Err(SamplerError::NotFinite { token: 0 })
    );
    assert_eq!(
        two.sample(&[f32::NEG_INFINITY; 2], at(0)),
        Err(SamplerError::AllExcluded)
    );
    let excluding = SamplerParams {
        logit_bias: vec![(0, f32::NEG_INFINITY), (1, f32::NEG_INFINITY)],
        ..params()
    };
    assert_eq!(
        sampler(excluding, 2).sample(&[0.0; 2], at(0)),
        Err(SamplerError::AllExcluded)
    );
    let penalised = SamplerParams {
        repeat_penalty: 1.1,
        ..params()
    };
    let context = SampleContext {
        history: &[2],
        ..at(0)
    };
    assert_eq!(
        sampler(penalised, 2).sample(&[0.0; 2], context),
        Err(SamplerError::History {
            token: 2,
            n_vocab: 2
        })
    );
}

#[test]
fn extreme_logits_and_parameters_stay_finite() {
    let logits = [f32::MAX, f32::MIN, 0.0, 1e30];
    for temperature in [1e-38, 1e-3, 1e30] {
        let extreme = SamplerParams {
            temperature,
            frequency_penalty: f32::MAX,
            logit_bias: vec![(0, f32::MAX), (1, f32::MIN)],
            dry_multiplier: f32::MAX,
            dry_base: f32::MAX,
            dry_allowed_length: 0,
            ..params()
        };
        let history = [0, 1, 0, 1, 0, 1];
        let context = SampleContext {
            history: &history,
            logprobs: Some(4),
            ..at(1)
        };
        let sampled = sampler(extreme, 4).sample(&logits, context).unwrap();
        assert!(sampled.token < 4);
    }
}

#[test]
fn mirostat_steers_towards_its_target() {
    let logits: Vec<f32> = (0..2000).map(|i| -((i + 1) as f32).ln()).collect();
    let params = SamplerParams {
        mirostat: Mirostat::V2,
        mirostat_tau: 3.0,
        ..params()
    };
    let mut sampler = sampler(params, logits.len());
    assert_eq!(sampler.state().mirostat_mu, 6.0);
    let probabilities = naive::probabilities(&wide(&logits));
    let mut surprise = 0.0;
    for position in 0..3000 {
        let before = sampler.state();
        let sampled = sampler.sample(&logits, at(position)).unwrap();
        assert_eq!(sampler.state(), before, "sampling does not commit");
        sampler.restore(sampled.state);
        surprise -= probabilities[sampled.token as usize].log2();
    }
    // The steered surprise is under the truncated distribution, the one here
    // under the whole, which is larger.
    assert!(
        (2.5..4.5).contains(&(surprise / 3000.0)),
        "{}",
        surprise / 3000.0
    );
}

#[test]
fn parameters_out_of_range_are_named() {
    let invalid = |change: fn(&mut SamplerParams)| {
        let mut params = SamplerParams::default();
        change(&mut params);
        params.validate().unwrap_err().field
    };
    assert_eq!(SamplerParams::default().validate(), Ok(()));
    assert_eq!(invalid(|p| p.temperature = f32::NAN), "temperature");
    assert_eq!(invalid(|p| p.top_p = 1.5), "top_p");
    assert_eq!(invalid(|p| p.repeat_penalty = 0.0), "repeat_penalty");
    assert_eq!(invalid(|p| p.repeat_last_n = -2), "repeat_last_n");
    assert_eq!(
        invalid(|p| p.logit_bias = vec![(1, f32::INFINITY)]),
        "logit_bias"
    );
    assert_eq!(
        invalid(|p| p.dry_sequence_breakers.push(String::new())),
        "dry_sequence_breakers"
    );
    let outside = SamplerParams {
        logit_bias: vec![(9, 1.0)],
        ..SamplerParams::default()
    };
    assert_eq!(
        Sampler::new(outside, 9, DryBreakers::default())
            .unwrap_err()
            .field,
        "logit_bias"
    );
}
