//! Rotary position embedding.

use super::isa::per_isa;

/// Which two elements of a head form a rotated pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// Elements `2i` and `2i + 1` (Llama's own layout, "norm" in llama.cpp).
    Interleaved,
    /// Elements `i` and `i + n/2` of the `n` rotated ones (GPT-NeoX's layout).
    HalfSplit,
}

/// Writes the cosines and sines of `position * frequency`, times `magnitude`.
///
/// `frequencies`, `cos` and `sin` hold one entry per pair. The angle is formed
/// in f32, as the models were trained with; sine and cosine are taken of that
/// value in f64.
pub fn angles(
    position: u32,
    frequencies: &[f32],
    magnitude: f32,
    cos: &mut [f32],
    sin: &mut [f32],
) {
    for (i, &frequency) in frequencies.iter().enumerate() {
        let (s, c) = libm::sincos(f64::from(position as f32 * frequency));
        cos[i] = c as f32 * magnitude;
        sin[i] = s as f32 * magnitude;
    }
}

per_isa! {
    /// Rotates the first `2 * cos.len()` elements of `head` by the given angles;
    /// the others keep their values.
    ///
    /// # Panics
    /// If `sin` is shorter than `cos`, or `head` than twice that.
    pub fn rotate[][](head: &mut [f32], pairing: Pairing, cos: &[f32], sin: &[f32]) = rotate_body;
}

#[inline(always)]
fn rotate_body<S>(_: S, head: &mut [f32], pairing: Pairing, cos: &[f32], sin: &[f32]) {
    let pairs = cos.len();
    let sin = &sin[..pairs];
    let head = &mut head[..2 * pairs];
    match pairing {
        Pairing::Interleaved => {
            for (pair, (&c, &s)) in head.chunks_exact_mut(2).zip(cos.iter().zip(sin)) {
                let (x, y) = (pair[0], pair[1]);
                pair[0] = x * c - y * s;
                pair[1] = x * s + y * c;
            }
        }
        Pairing::HalfSplit => {
            let (low, high) = head.split_at_mut(pairs);
            for i in 0..pairs {
                let (x, y) = (low[i], high[i]);
                low[i] = x * cos[i] - y * sin[i];
                high[i] = x * sin[i] + y * cos[i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::Isa;

    fn rotate(head: &mut [f32], pairing: Pairing, cos: &[f32], sin: &[f32]) {
        let before = head.to_vec();
        super::rotate(Isa::portable(), head, pairing, cos, sin);
        for isa in Isa::available() {
            let mut found = before.clone();
            super::rotate(isa, &mut found, pairing, cos, sin);
            assert_eq!(found, head, "{}", isa.name());
        }
    }

    #[test]
    fn every_set_rotates_a_long_head_alike() {
        let cos: Vec<f32> = (0..37).map(|i| (i as f32).cos()).collect();
        let sin: Vec<f32> = (0..37).map(|i| (i as f32).sin()).collect();
        for pairing in [Pairing::Interleaved, Pairing::HalfSplit] {
            let mut head: Vec<f32> = (0..80).map(|i| i as f32 / 7.0 - 5.0).collect();
            rotate(&mut head, pairing, &cos, &sin);
            assert_eq!(
                head[74..],
                [74, 75, 76, 77, 78, 79].map(|i| i as f32 / 7.0 - 5.0)
            );
        }
    }

    #[test]
    fn pairings_rotate_the_pairs_they_name() {
        let (mut cos, mut sin) = ([0.0; 2], [0.0; 2]);
        angles(3, &[0.5, 0.25], 1.0, &mut cos, &mut sin);
        let mut interleaved = [1.0, 2.0, 3.0, 4.0, 9.0];
        rotate(&mut interleaved, Pairing::Interleaved, &cos, &sin);
        let mut split = [1.0, 3.0, 2.0, 4.0, 9.0];
        rotate(&mut split, Pairing::HalfSplit, &cos, &sin);
        let (s, c) = 1.5f32.sin_cos();
        assert!((interleaved[0] - (c - 2.0 * s)).abs() < 1e-6);
        assert!((interleaved[1] - (s + 2.0 * c)).abs() < 1e-6);
        assert_eq!(interleaved[0], split[0]);
        assert_eq!(interleaved[1], split[2]);
        assert_eq!(interleaved[3], split[3]);
        assert_eq!((interleaved[4], split[4]), (9.0, 9.0));
    }

    #[test]
    fn position_zero_changes_nothing() {
        let (mut cos, mut sin) = ([0.0; 1], [0.0; 1]);
        angles(0, &[1.0], 1.0, &mut cos, &mut sin);
        let mut head = [5.0, -7.0];
        rotate(&mut head, Pairing::Interleaved, &cos, &sin);
        assert_eq!(head, [5.0, -7.0]);
    }
}
