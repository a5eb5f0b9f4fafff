//! What the operations of a pass have to read and compute.

use crate::{
    kv::KvFormat,
    model::{MatrixUse, Model, Operation},
    stage::{OperationProfile, Span},
};

/// A stage's matrices and attentions, as a profile counts them.
pub(super) struct Demand {
    matrices: Vec<MatrixUse>,
    attentions: Vec<AttentionUse>,
    /// Bytes of a row of the embedding, where the stage embeds.
    embedding_row: usize,
}

/// How large a pass is.
pub(super) struct PassSize<'a> {
    pub(super) columns: usize,
    /// Columns that go through the head.
    pub(super) wanted: usize,
    /// For each sequence, its length after the pass and its columns.
    pub(super) sequences: &'a mut dyn Iterator<Item = (u32, u32)>,
}

struct AttentionUse {
    /// Bytes of keys and values of a position.
    bytes: usize,
    /// Multiplications and additions for a column and a position that it sees.
    arithmetic: usize,
    window: Option<u32>,
}

impl Demand {
    pub(super) fn new(model: &Model, span: &Span, format: KvFormat) -> Self {
        let attention = |layer: &crate::model::Layer| {
            let attention = &layer.attention;
            let values = attention.key_len + attention.value_len;
            let row = |len| format.row_bytes(len).unwrap_or(0);
            AttentionUse {
                bytes: attention.kv_heads * (row(attention.key_len) + row(attention.value_len)),
                arithmetic: 2 * attention.heads * values,
                window: attention.window,
            }
        };
        let layers = &model.layers[span.layers.clone()];
        Self {
            matrices: model.matrix_uses(span.layers.clone(), span.head).collect(),
            attentions: layers.iter().map(attention).collect(),
            embedding_row: if span.embed {
                model.embedding.row_bytes()
            } else {
                0
            },
        }
    }

    /// Adds one pass.
    pub(super) fn add(&self, size: &mut PassSize<'_>, sums: &mut [OperationProfile]) {
        sums[Operation::Embed.index()].bytes += (size.columns * self.embedding_row) as f64;
        for matrix in &self.matrices {
            let columns = match matrix.operation {
                Operation::Head => size.wanted,
                _ => size.columns,
            };
            let sum = &mut sums[matrix.operation.index()];
            sum.bytes += matrix.bytes_read(columns);
            sum.arithmetic += matrix.arithmetic * columns as f64;
        }
        let sum = &mut sums[Operation::Attention.index()];
        for (end, count) in &mut *size.sequences {
            for attention in &self.attentions {
                let (read, pairs) = seen(end, count, attention.window);
                sum.bytes += (read * attention.bytes as u64) as f64;
                sum.arithmetic += (pairs * attention.arithmetic as u64) as f64;
            }
        }
    }
}

/// Positions that the last `count` columns of a sequence of `end` positions
/// see, once each, and in all.
fn seen(end: u32, count: u32, window: Option<u32>) -> (u64, u64) {
    let (end, count) = (u64::from(end), u64::from(count));
    let window = window.map_or(end, u64::from);
    let start = end - count;
    let read = end.min(window + count.saturating_sub(1));
    // Up to the window each column sees one more than the one before.
    let rising = window.clamp(start, end) - start;
    let pairs = rising * (2 * start + rising + 1) / 2 + (count - rising) * window;
    (read, pairs)
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

    #[test]
    fn operations_read_what_a_pass_does() {
        let tiny = SyntheticShape::preset("tiny").unwrap();
        let experts = SyntheticShape {
            architecture: "qwen3moe",
            experts: Some((4, 1)),
            ..tiny.clone()
        };
        for shape in [tiny, experts] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.gguf");
            let formats = SyntheticFormats::all(Format::Q8_0);
            let made = SyntheticModel::new(&shape, &formats, 1).unwrap();
            made.write(File::create(&path).unwrap()).unwrap();
            let loaded = LoadedModel::open(&path, &ModelOptions::default()).unwrap();
            let model = loaded.model();
            let demand = Demand::new(model, &Span::whole(model.layers.len()), KvFormat::F16);
            for (columns, end) in [(1, 9), (5, 5)] {
                let mut sums = [OperationProfile::default(); Operation::COUNT];
                let mut size = PassSize {
                    columns,
                    wanted: 1,
                    sequences: &mut [(end, columns as u32)].into_iter(),
                };
                demand.add(&mut size, &mut sums);
                let bytes: f64 = sums.iter().map(|sum| sum.bytes).sum();
                let kv = model.kv_bytes(KvFormat::F16, end).unwrap() as f64;
                assert!((bytes - model.pass_bytes(columns) - kv).abs() < 1e-3);
                let head = sums[Operation::Head.index()].arithmetic;
                assert_eq!(head, 2.0 * (model.vocab * model.width) as f64);
            }
        }
    }

    #[test]
    fn what_columns_see_is_counted() {
        for (end, count) in [(1, 1), (7, 7), (9, 2), (9, 9), (5, 0)] {
            for window in [None, Some(1), Some(3), Some(8), Some(100)] {
                let of = |position: u32| window.map_or(position, |w: u32| position.min(w));
                let pairs: u32 = (end - count + 1..=end).map(of).sum();
                let first = (end - count + 1..=end).map(|p| p - of(p)).min();
                let read = end - first.unwrap_or(end);
                let wanted = (u64::from(read), u64::from(pairs));
                if count > 0 {
                    assert_eq!(seen(end, count, window), wanted, "{end} {count} {window:?}");
                }
            }
        }
    }
}
