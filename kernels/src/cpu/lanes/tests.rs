use super::{LANES, Lanes, portable::mul_add_by_doubles};
use crate::cpu::isa::{Isa, per_isa};
use proptest::prelude::*;

/// What every operation makes of three vectors and some bytes.
type Results = Vec<[f32; LANES]>;

#[inline(always)]
fn all_operations<S: Lanes>(s: S, x: &[[f32; LANES]; 3], bytes: &[u8; 64], out: &mut Results) {
    let [a, b, c] = x.each_ref().map(|x| s.load(x));
    let mut put = |x| {
        out.push([0.0; LANES]);
        if let Some(last) = out.last_mut() {
            s.store(x, last);
        }
    };
    put(s.add(a, b));
    put(s.sub(a, b));
    put(s.mul(a, b));
    put(s.div(a, b));
    put(s.mul_add(a, b, c));
    put(s.max(a, b));
    put(s.min(a, b));
    put(s.select_less(a, b, c, a));
    put(s.nan_or(a, b));
    put(s.abs(a));
    put(s.with_sign(s.abs(a), b));
    put(s.scale_exponent(a, b));
    put(s.splat(s.sum(a)));
    put(s.splat(s.largest(a)));
    put(s.load_f32_bytes(bytes));
    put(s.load_f16_bytes(bytes[..32].try_into().unwrap()));
    put(s.load_i8_bytes(bytes[16..32].try_into().unwrap()));
}

per_isa! {
    fn run[][](x: &[[f32; LANES]; 3], bytes: &[u8; 64], out: &mut Results) = all_operations;
}

/// Bits, with one NaN for all.
fn bits(results: &Results) -> Vec<u32> {
    let one_nan = |x: &f32| if x.is_nan() { f32::NAN } else { *x }.to_bits();
    results.iter().flatten().map(one_nan).collect()
}

proptest! {
    #[test]
    fn every_set_gives_the_same_bits(
        any_bits in any::<bool>(),
        raw in prop::collection::vec(any::<u32>(), 3 * LANES),
        bytes in prop::collection::vec(any::<u8>(), 64),
    ) {
        let value = |&x: &u32| match any_bits {
            true => f32::from_bits(x),
            false => (x as f32 / u32::MAX as f32 - 0.5) * 40.0,
        };
        let values: Vec<f32> = raw.iter().map(value).collect();
        let x: [[f32; LANES]; 3] = std::array::from_fn(|i| {
            values[i * LANES..][..LANES].try_into().unwrap()
        });
        let bytes = bytes.try_into().unwrap();
        let mut expected = Vec::new();
        run(Isa::portable(), &x, &bytes, &mut expected);
        for isa in Isa::available() {
            let mut found = Vec::new();
            run(isa, &x, &bytes, &mut found);
            prop_assert_eq!(bits(&found), bits(&expected), "{}", isa.name());
        }
    }

    #[test]
    fn the_fused_product_is_rounded_once(a in any::<u32>(), b in any::<u32>(), c in any::<u32>(), near in any::<bool>()) {
        let [a, b, mut c] = [a, b, c].map(f32::from_bits);
        if near {
            // Where the product and the sum nearly cancel, rounding shows.
            c = -(a * b) * (1.0 + (c.to_bits() % 64) as f32 * f32::EPSILON);
        }
        let (found, exact) = (mul_add_by_doubles(a, b, c), libm::fmaf(a, b, c));
        prop_assert!(
            found.to_bits() == exact.to_bits() || found.is_nan() && exact.is_nan(),
            "{a:e} * {b:e} + {c:e}: {found:e} for {exact:e}"
        );
    }
}
