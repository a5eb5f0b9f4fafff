//! Writing a model file anew with its matrices in another format.

use outrigger_kernels::format::{dequantize, quantize};
use outrigger_runtime::gguf::{Format, Gguf, TensorShape, Writer};
use std::{fs::File, io::BufWriter, path::Path};

/// Copies the model at `from` to `to`, storing every half-precision matrix in
/// `format`, which must be able to hold its values.
///
/// # Panics
///
/// When a file cannot be read or written.
pub fn rewrite(from: &Path, to: &Path, format: Format) {
    let gguf = Gguf::open(from).unwrap_or_else(|e| panic!("{e}"));
    let target = |old: Format| if old == Format::F16 { format } else { old };
    let shapes: Vec<TensorShape> = gguf
        .tensors()
        .iter()
        .map(|t| TensorShape {
            name: t.name.to_string(),
            dims: t.dims.to_vec(),
            format: target(t.format),
        })
        .collect();
    let file = BufWriter::new(File::create(to).expect("a file to write"));
    let mut writer = Writer::new(file, gguf.metadata(), &shapes).expect("a header");
    for tensor in gguf.tensors() {
        let bytes = gguf.bytes(tensor);
        if tensor.format == target(tensor.format) {
            writer.append(bytes).expect("room on the disk");
            continue;
        }
        let mut values = vec![0.0; tensor.values()];
        dequantize(tensor.format, bytes, &mut values).expect("weights");
        let len = format.row_bytes(values.len()).expect("whole blocks");
        let mut out = vec![0; len];
        quantize(format, &values, &mut out).expect("an encoder");
        writer.append(&out).expect("room on the disk");
    }
    writer.finish().expect("all tensors");
}
