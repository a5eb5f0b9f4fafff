//! Every instruction set's operations against the portable ones, lane by lane.

use std::array;

use proptest::prelude::*;

use super::*;
use crate::cpu::isa::{Isa, Portable, per_dot_isa};

/// What the operations gave: bytes of results, one lane after the other.
type Results = Vec<Vec<u8>>;

per_dot_isa! {
    fn results[][](input: &[[[u8; 16]; 4]; 6], out: &mut Vec<Results>) = apply;
}

/// Applies every operation to vectors whose lanes are `input[i]`.
#[inline(always)]
fn apply<S: Simd>(set: S, input: &[[[u8; 16]; 4]; 6], out: &mut Vec<Results>) {
    let lanes = |set: S, vector: S::Bytes| -> Results {
        let mut bytes = vec![0; 16 * S::LANES];
        set.write(vector, &mut bytes);
        bytes.chunks(16).map(<[u8]>::to_vec).collect()
    };
    let v: [S::Bytes; 6] = array::from_fn(|i| set.load(array::from_fn(|lane| &input[i][lane])));
    let splat = |byte: u8| set.splat4([byte; 4]);
    // Codes up to 31, as four vectors' sum must not pass 128, and activations
    // without -128.
    let codes: [S::Bytes; 4] = array::from_fn(|i| set.and(v[i], splat(0x1f)));
    let activation = |vector: S::Bytes| {
        let least = set.equal(vector, splat(0x80));
        set.or(vector, set.and(least, splat(1)))
    };
    let x: [S::Bytes; 4] = array::from_fn(|i| activation(v[i]));
    let ints = v.map(|vector| set.ints(vector));
    let as_bytes = |ints: S::Ints| set.bytes(set.to_floats(ints));
    // Below 2^20, so that sums stay exact in floats.
    let small = ints.map(|vector| set.shr_ints(vector, 12));
    let signed = set.dot_signed(set.zero(), set.bias(v[0]), x[1]);
    let bias = set.splat4(
        [(-S::BIAS).to_le_bytes(), (-S::BIAS).to_le_bytes()]
            .concat()
            .try_into()
            .unwrap(),
    );
    // Signed products without the bias: less BIAS times the activations' sum.
    let sums = {
        let (low, high) = (set.shl(x[1], 8), x[1]);
        let widen = |pairs: S::Bytes| {
            // The upper byte of each pair as a signed 16-bit integer.
            let magnitude = set.shr(pairs, 8);
            let negative = set.and(magnitude, set.splat4([0x80, 0, 0x80, 0]));
            let fill = set.equal(negative, set.splat4([0x80, 1, 0x80, 1]));
            set.or(magnitude, set.shl(fill, 8))
        };
        set.pairs(set.pairs(signed, widen(low), bias), widen(high), bias)
    };
    let halves = array::from_fn(|lane| {
        array::from_fn(|i| u16::from_le_bytes([2 * i, 2 * i + 1].map(|i| input[0][lane][i] & 0xbb)))
    });
    let f = [2, 3, 4].map(|i| set.to_floats(small[i]));
    *out = [
        v[0],
        set.splat16(&input[0][0]),
        set.splat4([1, 2, 3, 4]),
        set.and(v[0], v[1]),
        set.or(v[0], v[1]),
        set.shl(v[0], 3),
        set.shr(v[0], 5),
        set.equal(v[0], v[1]),
        set.shuffle(v[0], set.and(v[1], splat(0x8f))),
        as_bytes(small[5]),
        as_bytes(set.dot(small[0], codes, x)),
        as_bytes(set.dot(small[0], [codes[1]], [x[1]])),
        as_bytes(sums),
        as_bytes(set.sum4([small[0], small[1], small[2], small[3]])),
        set.bytes(set.splat(1.5)),
        set.bytes(set.splat_floats(&[1.0, 2.0, 3.0, 4.0])),
        set.bytes(set.halves(halves)),
        set.bytes(set.add(f[0], f[1])),
        set.bytes(set.mul(f[0], f[1])),
        set.bytes(set.mul_add(f[0], f[1], f[2])),
        set.bytes(set.mul_sub(f[0], f[1], f[2])),
        set.bytes(set.floats(set.bytes(f[2]))),
    ]
    .into_iter()
    .chain(set.transpose([v[0], v[1], v[2], v[3]]))
    .map(|vector| lanes(set, vector))
    .collect();
}

proptest! {
    #[test]
    fn instruction_sets_agree(bytes in prop::collection::vec(any::<u8>(), 6 * 64)) {
        let input: [[[u8; 16]; 4]; 6] =
            array::from_fn(|i| array::from_fn(|lane| array::from_fn(|j| bytes[64 * i + 16 * lane + j])));
        for isa in Isa::available() {
            let mut wide = Vec::new();
            results(isa, &input, &mut wide);
            let lane_count = wide[0].len();
            for lane in 0..lane_count {
                // What is splatted comes from lane 0.
                let mut alone = input.map(|lanes| [lanes[lane]; 4]);
                let mut portable = Vec::new();
                apply(Portable, &alone, &mut portable);
                alone[0] = input[0];
                for (operation, (wide, portable)) in wide.iter().zip(&portable).enumerate() {
                    if operation == 1 {
                        prop_assert_eq!(&wide[lane][..], &input[0][0][..]);
                        continue;
                    }
                    prop_assert_eq!(&wide[lane], &portable[0], "{} operation {}", isa.name(), operation);
                }
            }
        }
    }
}
