//! Gates, activations and caps, element by element.

use super::{
    exp,
    isa::per_isa,
    lanes::{LANES, Lanes, padded},
};

/// The non-linearity of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU in its tanh form: `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    GeluTanh,
}

per_isa! {
    /// Applies `activation` in place.
    pub fn activate[][](activation: Activation, x: &mut [f32]) = activate_body;
}

#[inline(always)]
fn activate_body<S: Lanes>(s: S, activation: Activation, x: &mut [f32]) {
    let (chunks, tail) = x.as_chunks_mut::<LANES>();
    for x in chunks {
        let y = active(s, activation, s.load(x));
        s.store(y, x);
    }
    if !tail.is_empty() {
        let mut all = padded(tail);
        let y = active(s, activation, s.load(&all));
        s.store(y, &mut all);
        tail.copy_from_slice(&all[..tail.len()]);
    }
}

per_isa! {
    /// `gate = activation(gate) * up`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn gate[][](activation: Activation, gate: &mut [f32], up: &[f32]) = gate_body;
}

#[inline(always)]
fn gate_body<S: Lanes>(s: S, activation: Activation, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len());
    let (chunks, tail) = gate.as_chunks_mut::<LANES>();
    let (up_chunks, up_tail) = up.as_chunks::<LANES>();
    for (gate, up) in chunks.iter_mut().zip(up_chunks) {
        let y = active(s, activation, s.load(gate));
        s.store(s.mul(y, s.load(up)), gate);
    }
    if !tail.is_empty() {
        let mut all = padded(tail);
        let y = active(s, activation, s.load(&all));
        s.store(s.mul(y, s.load(&padded(up_tail))), &mut all);
        tail.copy_from_slice(&all[..tail.len()]);
    }
}

#[inline(always)]
fn active<S: Lanes>(s: S, activation: Activation, x: S::F) -> S::F {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    match activation {
        Activation::Silu => s.mul(x, exp::sigmoid(s, x)),
        // `x * sigmoid(2 u)` equals `0.5 x (1 + tanh(u))`.
        Activation::GeluTanh => {
            let cube = s.mul(s.mul(x, x), s.mul(x, s.splat(0.044_715)));
            let twice = s.mul(s.splat(2.0 * SQRT_2_OVER_PI), s.add(x, cube));
            s.mul(x, exp::sigmoid(s, twice))
        }
    }
}

per_isa! {
    /// `1 / (1 + e^-x)` in place.
    pub fn sigmoid[][](x: &mut [f32]) = sigmoid_body;
}

#[inline(always)]
fn sigmoid_body<S: Lanes>(s: S, x: &mut [f32]) {
    for x in x.chunks_mut(LANES) {
        let mut all = padded(x);
        let y = exp::sigmoid(s, s.load(&all));
        s.store(y, &mut all);
        x.copy_from_slice(&all[..x.len()]);
    }
}

per_isa! {
    /// `e^(x - origin)` in place.
    pub fn exp_from[][](x: &mut [f32], origin: f32) = exp_from_body;
}

#[inline(always)]
fn exp_from_body<S: Lanes>(s: S, x: &mut [f32], origin: f32) {
    for x in x.chunks_mut(LANES) {
        let mut all = padded(x);
        let y = exp::exp(s, s.sub(s.load(&all), s.splat(origin)));
        s.store(y, &mut all);
        x.copy_from_slice(&all[..x.len()]);
    }
}

per_isa! {
    /// `cap * tanh(x / cap)` in place.
    pub fn soft_cap[][](x: &mut [f32], cap: f32) = soft_cap_body;
}

#[inline(always)]
fn soft_cap_body<S: Lanes>(s: S, x: &mut [f32], cap: f32) {
    for x in x.chunks_mut(LANES) {
        let mut all = padded(x);
        let y = capped(s, s.load(&all), cap);
        s.store(y, &mut all);
        x.copy_from_slice(&all[..x.len()]);
    }
}

/// `cap * tanh(x / cap)`.
#[inline(always)]
pub(crate) fn capped<S: Lanes>(s: S, x: S::F, cap: f32) -> S::F {
    let cap = s.splat(cap);
    s.mul(cap, exp::tanh(s, s.div(x, cap)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::Isa;

    #[test]
    fn activations_are_their_formulas() {
        for i in -80..=80 {
            let x = i as f32 / 8.0;
            let exact = f64::from(x);
            let mut silu = [x];
            activate(Isa::detect(), Activation::Silu, &mut silu);
            assert!((f64::from(silu[0]) - exact / (1.0 + (-exact).exp())).abs() < 2e-6);
            let mut gelu = [x];
            activate(Isa::detect(), Activation::GeluTanh, &mut gelu);
            let u = (2.0 / std::f64::consts::PI).sqrt() * (exact + 0.044715 * exact.powi(3));
            assert!((f64::from(gelu[0]) - 0.5 * exact * (1.0 + u.tanh())).abs() < 2e-6);
        }
    }

    #[test]
    fn gate_multiplies_by_up() {
        let mut g = [1.0, 2.0];
        gate(Isa::detect(), Activation::Silu, &mut g, &[3.0, -1.0]);
        let mut a = [1.0, 2.0];
        activate(Isa::detect(), Activation::Silu, &mut a);
        assert_eq!(g, [a[0] * 3.0, -a[1]]);
    }

    #[test]
    fn soft_cap_bounds() {
        let mut x = [1e6, -1e6, 0.1];
        soft_cap(Isa::detect(), &mut x, 30.0);
        assert_eq!(x[..2], [30.0, -30.0]);
        assert!((x[2] - 0.1).abs() < 1e-6);
    }

    #[test]
    fn every_set_gives_the_same_bits() {
        let x: Vec<f32> = (0..77).map(|i| (i as f32 - 40.0) * 0.37).collect();
        let all = |isa| {
            let mut results = Vec::new();
            for activation in [Activation::Silu, Activation::GeluTanh] {
                let (mut active, mut gated) = (x.clone(), x.clone());
                activate(isa, activation, &mut active);
                gate(isa, activation, &mut gated, &x);
                results.extend([active, gated]);
            }
            let (mut capped, mut sigmoids) = (x.clone(), x.clone());
            soft_cap(isa, &mut capped, 3.0);
            sigmoid(isa, &mut sigmoids);
            results.extend([capped, sigmoids]);
            results
        };
        for isa in Isa::available() {
            assert_eq!(all(isa), all(Isa::portable()), "{}", isa.name());
        }
    }
}
