//! Products of rows with activations: ggml's, ours and exact ones.

use crate::{blocks::encoded, random::Random};
use outrigger_kernels::{
    cpu::{
        activation::{Q8Group, quantize_row},
        dot::{ActivationKind, Columns, Matrix, Pick, Scratch},
        isa::Isa,
    },
    format::{Format, dequantize},
};
use outrigger_runtime::{
    ggml::{self, Ggml},
    quantize::{Encoder, Rows},
};

const ROWS: usize = 64;
const COLS: usize = 2048;

/// What rounding activations to 8 bits may cost, as a root mean square over
/// rows and in units of the row's norm times the activations' root mean square.
/// A step is the largest magnitude of a block over 127, that magnitude about
/// 2.2 standard deviations among 32 values and 2.7 among 256 (ggml's
/// K-quants), and the error of a rounding a step over the root of 12: 0.005 and
/// 0.0062.
const EIGHT_BITS: f64 = 0.009;
/// The same for sums in f32 of exact products.
const FLOATS: f64 = 1e-6;

/// ggml's own rounding of activations.
fn tolerance(format: Format) -> f64 {
    match format {
        Format::F32 => FLOATS,
        // Half a unit in the last of 11 bits, and of 8.
        Format::F16 => 3e-4,
        Format::BF16 => 2.5e-3,
        _ => EIGHT_BITS,
    }
}

struct Case {
    format: Format,
    weights: Vec<u8>,
    activations: Vec<f32>,
    exact: Vec<f64>,
    units: Vec<f64>,
}

impl Case {
    fn new(format: Format, random: &mut Random) -> Self {
        let values = random.values(ROWS * COLS);
        let importance = vec![1.0; COLS];
        let mut weights = vec![0; format.row_bytes(COLS).unwrap() * ROWS];
        let rows = Rows {
            values: &values,
            cols: COLS,
            importance: Some(&importance),
        };
        Ggml.encode(format, rows, &mut weights).unwrap();
        let mut decoded = vec![0.0; values.len()];
        dequantize(format, &weights, &mut decoded).unwrap();
        let activations = random.values(COLS);
        let norm = |values: &[f32]| values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        let mean = (norm(&activations) / COLS as f64).sqrt();
        let product = |row: &[f32]| {
            let pairs = row.iter().zip(&activations);
            pairs.map(|(&w, &x)| f64::from(w) * f64::from(x)).sum()
        };
        let rows = decoded.chunks(COLS);
        Self {
            format,
            weights,
            exact: rows.clone().map(product).collect(),
            units: rows.map(|row| norm(row).sqrt() * mean).collect(),
            activations,
        }
    }

    fn ours(&self, columns: Columns<'_>) -> Vec<f32> {
        let matrix = Matrix::new(self.format, &self.weights, ROWS, COLS).unwrap();
        let mut products = vec![0.0; ROWS];
        let mut scratch = Scratch::default();
        let sink = |_, first: usize, values: &[f32]| {
            products[first..][..values.len()].copy_from_slice(values);
        };
        matrix.multiply(
            Isa::detect(),
            0..ROWS,
            columns,
            Pick::All,
            &mut scratch,
            sink,
        );
        products
    }

    fn ggml(&self) -> Vec<f32> {
        let rows = self.weights.chunks(self.weights.len() / ROWS);
        rows.map(|row| ggml::dot(self.format, row, &self.activations).unwrap())
            .collect()
    }

    fn assert(&self, whose: &str, products: &[f32], tolerance: f64) {
        let expected = self.exact.iter().zip(&self.units);
        let errors = products.iter().zip(expected);
        let squares = errors.map(|(&p, (exact, unit))| ((f64::from(p) - exact) / unit).powi(2));
        let error = (squares.sum::<f64>() / ROWS as f64).sqrt();
        println!("{} {whose}: {error:.2e}", self.format);
        assert!(
            error < tolerance,
            "{} {whose}: {error:e}, more than {tolerance:e}",
            self.format
        );
    }
}

#[test]
fn products_agree() {
    if ggml::dot(Format::F32, &[0; 4], &[0.0]).is_none() {
        eprintln!("skipped: this processor lacks what ggml's backend is compiled for");
        return;
    }
    let mut random = Random(4);
    for format in encoded() {
        let case = Case::new(format, &mut random);
        case.assert("ggml", &case.ggml(), tolerance(format));
        let columns = Columns::F32(&case.activations);
        case.assert("ours, floats", &case.ours(columns), FLOATS);
        if ActivationKind::of(format) == ActivationKind::Q8 {
            let mut groups = vec![Q8Group::ZERO; Q8Group::count(COLS)];
            quantize_row(Isa::detect(), &case.activations, &mut groups);
            let products = case.ours(Columns::Q8(&groups));
            case.assert("ours, 8 bits", &products, EIGHT_BITS);
        }
    }
}
