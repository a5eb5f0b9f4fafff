//! What a pass reads: the bytes that bound how fast tokens can be generated.

use super::{Dense, FeedForward, Layer, Linear, Matrix, Model, Operation};
use crate::kv::KvFormat;
use outrigger_kernels::cpu::route::Routing;
use std::ops::Range;

/// A matrix that passes read.
struct Read<'a> {
    matrix: &'a Matrix,
    /// For a stack of experts: how they are chosen and how many there are.
    chosen: Option<(Routing, usize)>,
    /// What it is read for.
    operation: Operation,
}

/// What a pass does with a matrix, or with a stack of experts' matrices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MatrixUse {
    pub(crate) operation: Operation,
    /// Multiplications and additions for a column.
    pub(crate) arithmetic: f64,
    bytes: usize,
    chosen: Option<(Routing, usize)>,
}

impl MatrixUse {
    /// Bytes that a pass of `columns` columns reads of it.
    ///
    /// Any choice of experts is taken to be as likely as any other, so that
    /// with several columns this is the number to expect.
    pub(crate) fn bytes_read(&self, columns: usize) -> f64 {
        let share = match self.chosen {
            _ if columns == 0 => 0.0,
            None => 1.0,
            Some((routing, count)) => {
                let passed_over = 1.0 - routing.used as f64 / count as f64;
                1.0 - passed_over.powi(columns as i32)
            }
        };
        share * self.bytes as f64
    }
}

impl Model {
    /// Bytes of matrices that one pass of `columns` columns reads: the layers,
    /// the head, and a row of the embedding per column.
    ///
    /// Of a mixture of experts only those that are chosen are read. Any choice
    /// is taken to be as likely as any other, so that with several columns
    /// this is the number to expect. Norms and biases, some thousandths of it,
    /// are not counted.
    pub fn pass_bytes(&self, columns: usize) -> f64 {
        let matrices = self.matrix_uses(0..self.layers.len(), true);
        let bytes = matrices.map(|matrix| matrix.bytes_read(columns));
        bytes.sum::<f64>() + (columns * self.embedding.row_bytes()) as f64
    }

    /// What a pass does with the matrices of some layers, and with the head if
    /// `head` says so.
    pub(crate) fn matrix_uses(
        &self,
        layers: Range<usize>,
        head: bool,
    ) -> impl Iterator<Item = MatrixUse> {
        self.reads(layers, head).map(|read| {
            let Read {
                matrix,
                chosen,
                operation,
            } = read;
            let used = chosen.map_or(1.0, |(routing, count)| routing.used as f64 / count as f64);
            MatrixUse {
                operation,
                arithmetic: 2.0 * used * (matrix.rows() * matrix.cols()) as f64,
                bytes: matrix.bytes().len(),
                chosen,
            }
        })
    }

    /// Bytes of keys and values that one column reads when it sees `positions`
    /// positions, itself included; layers with a sliding window see no more
    /// than that. `None` if the format cannot hold the model's heads.
    pub fn kv_bytes(&self, format: KvFormat, positions: u32) -> Option<u64> {
        let layers = self.kv_shape(0..self.layers.len());
        let mut bytes = layers.iter().map(|layer| {
            let row = format.row_bytes(layer.key_len)? + format.row_bytes(layer.value_len)?;
            let seen = layer.window.map_or(positions, |w| positions.min(w));
            Some(row as u64 * layer.heads as u64 * u64::from(seen))
        });
        bytes.try_fold(0, |sum, bytes| Some(sum + bytes?))
    }

    /// The matrices that passes read, in the order in which they do: the
    /// layers' and the head's, with all their experts.
    pub fn pass_matrices(&self) -> impl Iterator<Item = &Matrix> {
        self.part_matrices(0..self.layers.len(), true)
    }

    /// Those of some layers, and of the head if `head` says so.
    ///
    /// # Panics
    /// If there are no such layers.
    pub fn part_matrices(&self, layers: Range<usize>, head: bool) -> impl Iterator<Item = &Matrix> {
        self.reads(layers, head).map(|read| read.matrix)
    }

    fn reads(&self, layers: Range<usize>, head: bool) -> impl Iterator<Item = Read<'_>> {
        let layers = self.layers[layers].iter().flat_map(layer_reads);
        layers.chain(head.then(|| read(&self.head.weight, Operation::Head)))
    }
}

fn layer_reads(layer: &Layer) -> Vec<Read<'_>> {
    let attention = &layer.attention;
    let mut reads: Vec<_> = [&attention.query, &attention.key, &attention.value]
        .map(|linear| read(&linear.weight, Operation::QueryKeyValue))
        .into();
    reads.push(read(&attention.output.weight, Operation::AttentionOutput));
    match &layer.ffn {
        FeedForward::Dense(block) => {
            reads.extend(dense_reads(block, Operation::GateUp, Operation::Down));
        }
        FeedForward::Experts(experts) => {
            reads.push(read(&experts.router.weight, Operation::Router));
            let stacks = [
                (&experts.gate, Operation::ExpertsGateUp),
                (&experts.up, Operation::ExpertsGateUp),
                (&experts.down, Operation::ExpertsDown),
            ];
            reads.extend(stacks.map(|(stack, operation)| Read {
                matrix: stack.stack(),
                chosen: Some((experts.routing, experts.count)),
                operation,
            }));
            if let Some(shared) = &experts.shared {
                reads.push(read(&shared.weight, Operation::SharedWeight));
                let (gate_up, down) = (Operation::SharedGateUp, Operation::SharedDown);
                reads.extend(dense_reads(&shared.block, gate_up, down));
            }
        }
    }
    reads
}

fn dense_reads(
    block: &Dense,
    gate_up: Operation,
    down: Operation,
) -> impl Iterator<Item = Read<'_>> {
    let first = block.gate.iter().chain([&block.up]);
    let first = first.map(move |linear: &Linear| read(&linear.weight, gate_up));
    first.chain([read(&block.down.weight, down)])
}

fn read(matrix: &Matrix, operation: Operation) -> Read<'_> {
    Read {
        matrix,
        chosen: None,
        operation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        loaded::LoadedModel,
        model::{
            ModelOptions,
            synthetic::{SyntheticFormats, SyntheticModel, SyntheticShape},
        },
    };
    use outrigger_kernels::format::Format;
    use std::fs::File;

    fn load(shape: &SyntheticShape) -> LoadedModel {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let model = SyntheticModel::new(shape, &SyntheticFormats::all(Format::F16), 1).unwrap();
        model.write(File::create(&path).unwrap()).unwrap();
        LoadedModel::open(&path, &ModelOptions::default()).unwrap()
    }

    #[test]
    fn a_dense_model_is_read_whole() {
        let shape = SyntheticShape::preset("tiny").unwrap();
        let loaded = load(&shape);
        let model = loaded.model();
        // q and output, k and v, three of the feed-forward block; the head.
        let layer = 2 * 256 * 256 + 2 * 256 * 64 + 3 * 256 * 512;
        let values = shape.layers * layer + 320 * 256;
        for columns in [1, 5] {
            let wanted = 2 * (values + columns * 256);
            assert_eq!(model.pass_bytes(columns), wanted as f64);
        }
        let matrices: usize = model.pass_matrices().map(|m| m.bytes().len()).sum();
        assert_eq!(matrices, 2 * values);
    }

    #[test]
    fn experts_are_read_as_far_as_they_are_chosen() {
        let shape = SyntheticShape {
            architecture: "qwen3moe",
            experts: Some((4, 1)),
            tied: false,
            ..SyntheticShape::preset("tiny").unwrap()
        };
        let loaded = load(&shape);
        let model = loaded.model();
        let stacks = (shape.layers * 4 * 3 * 256 * 512 * 2) as f64;
        let read = |columns| model.pass_bytes(columns) - (columns * 256 * 2) as f64;
        let all = model.pass_matrices().map(|m| m.bytes().len() as f64);
        let others = all.sum::<f64>() - stacks;
        assert_eq!(read(1), others + stacks / 4.0);
        assert_eq!(read(2), others + stacks * 7.0 / 16.0);
    }

    #[test]
    fn keys_and_values_grow_with_what_is_seen() {
        let shape = SyntheticShape::preset("tiny").unwrap();
        let loaded = load(&shape);
        let bytes = |format, positions| loaded.model().kv_bytes(format, positions);
        let row = 2 * 2 * 32 * shape.layers as u64;
        assert_eq!(bytes(KvFormat::F16, 100), Some(100 * 2 * row));
        assert_eq!(bytes(KvFormat::F32, 0), Some(0));
        assert_eq!(bytes(KvFormat::Q8_0, 10), Some(10 * row * 34 / 32));
    }
}
