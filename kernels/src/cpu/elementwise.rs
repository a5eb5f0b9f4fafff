//! Gates, activations and caps, element by element.

use super::exp::sigmoid;

/// The non-linearity of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU in its tanh form: `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    GeluTanh,
}

/// `x * sigmoid(2 u)` equals `0.5 x (1 + tanh(u))`.
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let u = SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x);
    x * sigmoid(2.0 * u)
}

/// Applies `activation` in place.
pub fn activate(activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::Silu => x.iter_mut().for_each(|x| *x *= sigmoid(*x)),
        Activation::GeluTanh => x.iter_mut().for_each(|x| *x = gelu_tanh(*x)),
    }
}

/// `gate = activation(gate) * up`.
pub fn gate(activation: Activation, gate: &mut [f32], up: &[f32]) {
    activate(activation, gate);
    for (gate, &up) in gate.iter_mut().zip(up) {
        *gate *= up;
    }
}

/// `cap * tanh(x / cap)`.
#[inline]
pub fn soft_cap(x: f32, cap: f32) -> f32 {
    cap * libm::tanhf(x / cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_their_formulas() {
        for i in -80..=80 {
            let x = i as f32 / 8.0;
            let exact = f64::from(x);
            let mut silu = [x];
            activate(Activation::Silu, &mut silu);
            assert!((f64::from(silu[0]) - exact / (1.0 + (-exact).exp())).abs() < 2e-6);
            let mut gelu = [x];
            activate(Activation::GeluTanh, &mut gelu);
            let u = (2.0 / std::f64::consts::PI).sqrt() * (exact + 0.044715 * exact.powi(3));
            assert!((f64::from(gelu[0]) - 0.5 * exact * (1.0 + u.tanh())).abs() < 2e-6);
        }
    }

    #[test]
    fn gate_multiplies_by_up() {
        let mut g = [1.0, 2.0];
        gate(Activation::Silu, &mut g, &[3.0, -1.0]);
        let mut a = [1.0, 2.0];
        activate(Activation::Silu, &mut a);
        assert_eq!(g, [a[0] * 3.0, -a[1]]);
    }

    #[test]
    fn soft_cap_bounds() {
        assert!(soft_cap(1e6, 30.0) <= 30.0);
        assert!((soft_cap(0.1, 30.0) - 0.1).abs() < 1e-5);
    }
}
