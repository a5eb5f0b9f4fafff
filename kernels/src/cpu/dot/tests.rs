//! Every format against a naive product in f64; instruction sets against each
//! other; columns against each other; random shapes with tails, at odd
//! addresses.

use proptest::prelude::*;

use super::*;
use crate::cpu::activation::quantize_row;
use crate::format::dequantize;

/// Weights with scales of ordinary size: random codes, and half-precision
/// scales replaced where random bits would give infinities.
#[derive(Debug, Clone)]
struct Case {
    format: Format,
    rows: usize,
    cols: usize,
    /// `shift` bytes, then the weights.
    bytes: Vec<u8>,
    shift: usize,
    /// Columns of f32 activations, one after the other.
    activations: Vec<f32>,
}

/// Where the halves are that scale a whole block.
fn half_offsets(format: Format) -> &'static [usize] {
    match format {
        Format::F16 => &[0],
        Format::Q1_0
        | Format::Q4_0
        | Format::Q5_0
        | Format::Q8_0
        | Format::IQ1_S
        | Format::IQ2_XXS
        | Format::IQ2_XS
        | Format::IQ2_S
        | Format::IQ3_XXS
        | Format::IQ3_S
        | Format::IQ4_NL
        | Format::IQ4_XS => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
        Format::Q2_K => &[80, 82],
        Format::Q3_K => &[108],
        Format::Q6_K => &[208],
        Format::TQ1_0 => &[52],
        Format::TQ2_0 => &[64],
        _ => &[],
    }
}

/// Makes the scales of a block finite and moderate.
fn tame(format: Format, block: &mut [u8]) {
    for &offset in half_offsets(format) {
        // Exponents 8 to 15: magnitudes from 2^-7 to 2.
        block[offset + 1] = (block[offset + 1] & 0x9f) | 0x20;
    }
    match format {
        Format::F32 | Format::Q8_K => block[3] = (block[3] & 0x80) | 0x3e,
        Format::BF16 => block[1] = (block[1] & 0x80) | 0x3e,
        Format::F64 => block[7] = (block[7] & 0x80) | 0x3f,
        Format::IQ1_M => block[55] = (block[55] & 0x9f) | 0x20,
        Format::MXFP4 => block[0] = block[0] % 16 + 115,
        _ => {}
    }
}

impl Case {
    fn weights(&self) -> &[u8] {
        &self.bytes[self.shift..]
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.format, self.weights(), self.rows, self.cols).unwrap()
    }

    fn columns(&self) -> usize {
        self.activations.len() / self.cols
    }

    fn quantized(&self) -> Vec<Q8Group> {
        let per_column = Q8Group::count(self.cols);
        let mut groups = vec![Q8Group::ZERO; per_column * self.columns()];
        for (values, groups) in self
            .activations
            .chunks(self.cols)
            .zip(groups.chunks_mut(per_column))
        {
            quantize_row(Isa::detect(), values, groups);
        }
        groups
    }
}

/// `[column][row]` products of rows `rows`.
fn products(isa: Isa, matrix: &Matrix<'_>, rows: Range<usize>, columns: Columns<'_>) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows.len() * columns.count(matrix.cols())];
    matrix.multiply(
        isa,
        rows.clone(),
        columns,
        Pick::All,
        &mut Scratch::default(),
        |column, first_row, values| {
            out[column * rows.len() + first_row - rows.start..][..values.len()]
                .copy_from_slice(values);
        },
    );
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn weight_formats() -> Vec<Format> {
    Format::ALL
        .into_iter()
        .filter(|format| format.is_weight())
        .collect()
}

fn cases() -> impl Strategy<Value = Case> {
    (
        prop::sample::select(weight_formats()),
        1usize..40,
        1usize..=13,
        1usize..=11,
        0usize..16,
        any::<u64>(),
    )
        .prop_map(|(format, rows, blocks, columns, shift, seed)| {
            // Rows of one value per block get lengths with tails.
            let blocks = if format.block_len() == 1 {
                blocks * 53
            } else {
                blocks
            };
            case(
                format,
                [rows, blocks * format.block_len(), columns],
                shift,
                seed,
            )
        })
}

/// A case of a shape `[rows, cols, columns]`.
fn case(format: Format, [rows, cols, columns]: [usize; 3], shift: usize, seed: u64) -> Case {
    let mut state = seed;
    let mut next = move || {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut bytes: Vec<u8> = (0..shift + rows * format.row_bytes(cols).unwrap())
        .map(|_| next() as u8)
        .collect();
    for block in bytes[shift..].chunks_mut(format.block_bytes()) {
        tame(format, block);
    }
    let activations = (0..cols * columns)
        .map(|_| (next() >> 40) as f32 / 8_388_608.0 - 1.0)
        .collect();
    Case {
        format,
        rows,
        cols,
        bytes,
        shift,
        activations,
    }
}

/// Holds every product against a sum in f64 over the decoded weights and
/// `activations`, as `[column][row]`. The error must stay below `tolerance`
/// times the sum of the magnitudes of the products (and of the parts they
/// are made of, see [`magnitude`]).
fn check(case: &Case, products: &[f32], activations: &[f32], tolerance: f64) {
    let mut weights = vec![0.0; case.rows * case.cols];
    dequantize(case.format, case.weights(), &mut weights).unwrap();
    for (column, activations) in activations.chunks(case.cols).enumerate() {
        for (row, weights) in weights.chunks(case.cols).enumerate() {
            let product = f64::from(products[column * case.rows + row]);
            let (mut sum, mut magnitude) = (0.0, 0.0);
            for (blocks, x) in weights.chunks(32).zip(activations.chunks(32)) {
                // A min that cancels most of scale * code leaves small values
                // whose parts, and so whose rounding errors, are larger.
                let largest = blocks.iter().fold(0.0f32, |m, w| m.max(w.abs()));
                for (&w, &x) in blocks.iter().zip(x) {
                    sum += f64::from(w) * f64::from(x);
                    magnitude += f64::from(largest) * f64::from(x).abs();
                }
            }
            assert!(
                (product - sum).abs() <= tolerance * magnitude.max(1e-30),
                "{}, column {column}, row {row} of {}x{}: {product} instead of {sum}",
                case.format,
                case.rows,
                case.cols
            );
        }
    }
}

/// The activations that `groups` stand for.
fn decoded(groups: &[Q8Group], cols: usize) -> Vec<f32> {
    groups
        .chunks(Q8Group::count(cols))
        .flat_map(|groups| (0..cols).map(|i| groups[i / 128].value(i % 128)))
        .collect()
}

#[test]
fn every_kind_of_format_has_its_activations() {
    for format in weight_formats() {
        let case = case(format, [3, 256, 2], 0, 7);
        let groups = case.quantized();
        let columns = match ActivationKind::of(format) {
            ActivationKind::F32 => Columns::F32(&case.activations),
            ActivationKind::Q8 => Columns::Q8(&groups),
        };
        let products = products(Isa::detect(), &case.matrix(), 0..3, columns);
        assert!(
            products.iter().all(|product| product.is_finite()),
            "{format}"
        );
    }
}

#[test]
fn f32_products_are_accurate() {
    let case = case(Format::F32, [64, 4096, 2], 0, 3);
    let products = products(
        Isa::detect(),
        &case.matrix(),
        0..64,
        Columns::F32(&case.activations),
    );
    let weights: Vec<f32> = case
        .weights()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&value| f32::from_le_bytes(value))
        .collect();
    let (mut error, mut power) = (0.0, 0.0);
    for (column, x) in case.activations.chunks(4096).enumerate() {
        for (row, w) in weights.chunks(4096).enumerate() {
            let sum: f64 = w
                .iter()
                .zip(x)
                .map(|(&w, &x)| f64::from(w) * f64::from(x))
                .sum();
            error += (f64::from(products[column * 64 + row]) - sum).powi(2);
            power += sum.powi(2);
        }
    }
    let nmse = error / power;
    assert!(nmse < 1e-12, "NMSE {nmse:e}");
}

#[test]
fn nan_activations_show() {
    for format in [Format::Q8_0, Format::Q4_K, Format::Q6_K, Format::F16] {
        let mut case = case(format, [2, 512, 2], 0, 11);
        case.activations[512 + 300] = f32::NAN;
        let groups = case.quantized();
        for columns in [Columns::Q8(&groups), Columns::F32(&case.activations)] {
            if matches!(columns, Columns::Q8(_))
                && ActivationKind::of(format) == ActivationKind::F32
            {
                continue;
            }
            let products = products(Isa::detect(), &case.matrix(), 0..2, columns);
            assert!(products[..2].iter().all(|product| product.is_finite()));
            assert!(products[2..].iter().all(|product| product.is_nan()));
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    assert_eq!(
        Matrix::new(Format::I8, &[0; 4], 2, 2).unwrap_err(),
        MatrixError::NotAWeight(Format::I8)
    );
    for cols in [0, 33] {
        assert_eq!(
            Matrix::new(Format::Q8_0, &[0; 34], 1, cols).unwrap_err(),
            MatrixError::Row {
                format: Format::Q8_0,
                cols
            }
        );
    }
    assert_eq!(
        Matrix::new(Format::Q8_0, &[0; 35], 1, 32).unwrap_err(),
        MatrixError::Length {
            bytes: 35,
            rows: 1,
            row_bytes: 34
        }
    );
}

#[test]
#[should_panic(expected = "do not take 8-bit activations")]
fn f16_weights_refuse_8_bit_activations() {
    let case = case(Format::F16, [1, 128, 1], 0, 1);
    let groups = case.quantized();
    products(Isa::portable(), &case.matrix(), 0..1, Columns::Q8(&groups));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn products_agree_with_f64(case in cases()) {
        let matrix = case.matrix();
        let exact = products(Isa::detect(), &matrix, 0..case.rows, Columns::F32(&case.activations));
        check(&case, &exact, &case.activations, 1e-6);
        if ActivationKind::of(case.format) == ActivationKind::Q8 {
            let groups = case.quantized();
            let coarse = products(Isa::detect(), &matrix, 0..case.rows, Columns::Q8(&groups));
            check(&case, &coarse, &decoded(&groups, case.cols), 1e-6);
        }
    }

    #[test]
    fn instruction_sets_agree_bit_for_bit(case in cases()) {
        let matrix = case.matrix();
        let groups = case.quantized();
        let mut forms = vec![Columns::F32(&case.activations)];
        if ActivationKind::of(case.format) == ActivationKind::Q8 {
            forms.push(Columns::Q8(&groups));
        }
        for columns in forms {
            let portable = products(Isa::portable(), &matrix, 0..case.rows, columns);
            for isa in Isa::available() {
                let same = products(isa, &matrix, 0..case.rows, columns);
                prop_assert_eq!(bits(&same), bits(&portable), "{}", isa.name());
            }
        }
    }

    #[test]
    fn neither_companions_nor_ranges_matter(case in cases(), split in 0usize..40, one in 0usize..11) {
        let matrix = case.matrix();
        let groups = case.quantized();
        let columns = match ActivationKind::of(case.format) {
            ActivationKind::F32 => Columns::F32(&case.activations),
            ActivationKind::Q8 => Columns::Q8(&groups),
        };
        let (split, one) = (split % case.rows, one % case.columns());
        let all = products(Isa::detect(), &matrix, 0..case.rows, columns);
        let alone = columns.slice(one..one + 1, case.cols);
        let mut parts = products(Isa::detect(), &matrix, 0..split, alone);
        parts.extend(products(Isa::detect(), &matrix, split..case.rows, alone));
        prop_assert_eq!(bits(&parts), bits(&all[one * case.rows..][..case.rows]));
    }

    #[test]
    fn picked_columns_are_the_same(case in cases(), slots in prop::collection::vec(0u32..22, 1..20)) {
        let matrix = case.matrix();
        let groups = case.quantized();
        let columns = match ActivationKind::of(case.format) {
            ActivationKind::F32 => Columns::F32(&case.activations),
            ActivationKind::Q8 => Columns::Q8(&groups),
        };
        let slots: Vec<u32> = slots.iter().map(|s| s % (2 * case.columns() as u32)).collect();
        let all = products(Isa::detect(), &matrix, 0..case.rows, columns);
        let mut picked = vec![0.0; slots.len() * case.rows];
        let pick = Pick::Slots { slots: &slots, per_column: 2 };
        let scratch = &mut Scratch::default();
        matrix.multiply(Isa::detect(), 0..case.rows, columns, pick, scratch, |index, first, values| {
            picked[index * case.rows + first..][..values.len()].copy_from_slice(values);
        });
        for (index, slot) in slots.iter().enumerate() {
            let column = *slot as usize / 2;
            prop_assert_eq!(
                bits(&picked[index * case.rows..][..case.rows]),
                bits(&all[column * case.rows..][..case.rows])
            );
        }
    }

    #[test]
    fn arbitrary_weights_never_panic(
        format in prop::sample::select(weight_formats()),
        bytes in prop::collection::vec(any::<u8>(), 292),
    ) {
        let cols = format.block_len();
        let matrix = Matrix::new(format, &bytes[..format.block_bytes()], 1, cols).unwrap();
        let values = vec![1.0; cols];
        products(Isa::detect(), &matrix, 0..1, Columns::F32(&values));
        if ActivationKind::of(format) == ActivationKind::Q8 {
            let mut groups = vec![Q8Group::ZERO; Q8Group::count(cols)];
            quantize_row(Isa::detect(), &values, &mut groups);
            products(Isa::detect(), &matrix, 0..1, Columns::Q8(&groups));
        }
    }
}
