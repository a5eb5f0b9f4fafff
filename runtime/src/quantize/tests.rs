//! Files made with the encoders of this crate, and importance matrices.

use super::*;
use crate::{
    gguf::{Array, Format, Gguf, Metadata, TensorShape, Value, Writer},
    model::{
        mixture::Mixture,
        synthetic::{SyntheticFormats, SyntheticModel, SyntheticShape},
    },
};
use outrigger_kernels::format::{dequantize, quantize};
use std::{fs, num::NonZeroUsize};

/// A file with these keys and tensors.
fn file(keys: &[(&str, Value)], tensors: &[(&str, &[usize], Vec<f32>)]) -> Gguf {
    let mut metadata = Metadata::new();
    for (key, value) in keys {
        metadata.insert(key, value.clone());
    }
    let shapes: Vec<_> = tensors
        .iter()
        .map(|(name, dims, _)| TensorShape {
            name: (*name).into(),
            dims: dims.to_vec(),
            format: Format::F32,
        })
        .collect();
    let mut writer = Writer::new(Vec::new(), &metadata, &shapes).unwrap();
    for (_, _, values) in tensors {
        writer.append(bytemuck::cast_slice(values)).unwrap();
    }
    open(&writer.finish().unwrap())
}

fn open(bytes: &[u8]) -> Gguf {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    // A mapping outlives the name.
    Gguf::open(&path).unwrap()
}

fn tiny() -> Gguf {
    let shape = SyntheticShape::preset("tiny").unwrap();
    let formats = SyntheticFormats::Mixture(Mixture::F16);
    let mut model = SyntheticModel::new(&shape, &formats, 0).unwrap();
    model.metadata.insert("split.count", Value::U16(1));
    open(&model.write(Vec::new()).unwrap())
}

fn write(plan: &Plan<'_>, threads: usize) -> Result<Vec<u8>, QuantizeError> {
    let threads = NonZeroUsize::new(threads).unwrap();
    plan.write(Vec::new(), &Native, threads, |_| true)
}

#[test]
fn matrices_are_encoded_and_the_rest_is_copied() {
    let source = tiny();
    let plan = Plan::new(&source, Mixture::Q8_0, None, &Native).unwrap();
    let bytes = write(&plan, 1).unwrap();
    assert_eq!(bytes, write(&plan, 3).unwrap());
    let made = open(&bytes);
    let size: usize = made.tensors().iter().map(|tensor| tensor.bytes).sum();
    assert_eq!(plan.bytes(), size as u64);
    assert_eq!(made.tensors().len(), source.tensors().len());
    for tensor in made.tensors() {
        let before = source.tensor(&tensor.name).unwrap();
        let old = source.bytes(before);
        if before.dims.len() < 2 {
            assert_eq!((tensor.format, made.bytes(tensor)), (before.format, old));
            continue;
        }
        let mut values = vec![0.0; before.values()];
        dequantize(before.format, old, &mut values).unwrap();
        let mut blocks = vec![0; tensor.bytes];
        quantize(Format::Q8_0, &values, &mut blocks).unwrap();
        assert_eq!(tensor.format, Format::Q8_0);
        assert_eq!(made.bytes(tensor), blocks, "{}", tensor.name);
    }
    let metadata = made.metadata();
    assert_eq!(metadata.u32("general.file_type"), Ok(Some(7)));
    assert_eq!(metadata.u32("general.quantization_version"), Ok(Some(2)));
    assert!(metadata.get("split.count").is_none());
    let names: Vec<_> = made.tensors().iter().map(|tensor| &*tensor.name).collect();
    assert_eq!(names[..2], ["output_norm.weight", "token_embd.weight"]);
    assert!(names[2].starts_with("blk.0."));
}

#[test]
fn formats_of_others_are_refused_before_anything_is_written() {
    let source = tiny();
    let refusal = |mixture| Plan::new(&source, mixture, None, &Native).unwrap_err();
    let missing = refusal(Mixture::Q4_K_M);
    assert!(matches!(missing, PlanError::NoEncoder { .. }), "{missing}");
    let noise = refusal(Mixture::IQ2_XXS).to_string();
    let start = "IQ2_XXS needs an importance matrix, without which tensor `blk.0.attn_";
    assert!(noise.starts_with(start), "{noise}");
}

#[test]
fn a_value_that_cannot_be_stored_names_its_tensor() {
    for value in [f32::NAN, f32::NEG_INFINITY, 1e30] {
        let mut values = vec![0.5; 128];
        values[77] = value;
        let source = file(&[], &[("blk.0.attn_q.weight", &[64, 2], values)]);
        let plan = Plan::new(&source, Mixture::Q8_0, None, &Native).unwrap();
        assert_eq!(
            write(&plan, 2).unwrap_err().to_string(),
            format!(
                "tensor `blk.0.attn_q.weight` cannot be quantized: the value {value} cannot be \
                 stored as Q8_0"
            )
        );
    }
}

#[test]
fn work_can_be_cancelled() {
    let source = tiny();
    let plan = Plan::new(&source, Mixture::Q8_0, None, &Native).unwrap();
    let threads = NonZeroUsize::MIN;
    let error = plan.write(Vec::new(), &Native, threads, |_| false);
    assert!(matches!(error, Err(QuantizeError::Cancelled)));
}

fn imatrix_keys() -> [(&'static str, Value); 2] {
    let datasets = Array::String(vec!["a.txt".into(), "b.txt".into()]);
    [
        ("imatrix.datasets", Value::Array(datasets)),
        ("imatrix.chunk_count", Value::U32(5)),
    ]
}

#[test]
fn importance_is_a_mean_for_each_expert() {
    let name = "blk.0.ffn_up_exps.weight";
    let (sums, counts) = (format!("{name}.in_sum2"), format!("{name}.counts"));
    let gguf = file(
        &imatrix_keys(),
        &[
            (&sums, &[2, 2], vec![2.0, 4.0, 9.0, 9.0]),
            (&counts, &[1, 2], vec![2.0, 0.0]),
        ],
    );
    let matrix = ImportanceMatrix::from_gguf(&gguf).unwrap();
    assert_eq!(matrix.get(name), Some(&[1.0, 2.0, 1.0, 1.0][..]));
    assert_eq!(matrix.get("blk.1.ffn_up_exps.weight"), None);
    assert_eq!((matrix.len(), matrix.chunks), (1, 5));
    assert_eq!(matrix.dataset.as_deref(), Some("a.txt"));
}

#[test]
fn importance_of_another_model_is_refused() {
    let name = "blk.0.attn_q.weight";
    let (sums, counts) = (format!("{name}.in_sum2"), format!("{name}.counts"));
    let imatrix = file(
        &imatrix_keys(),
        &[(&sums, &[2], vec![1.0; 2]), (&counts, &[1], vec![1.0])],
    );
    let importance = ImportanceMatrix::from_gguf(&imatrix).unwrap();
    let source = file(&[], &[(name, &[64, 2], vec![0.5; 128])]);
    let refusal = Plan::new(&source, Mixture::Q8_0, Some(&importance), &Native).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the importance matrix has 2 values for tensor `blk.0.attn_q.weight`, which needs 64; it \
         was made for another model"
    );
}

#[test]
fn importance_files_that_are_wrong_are_refused() {
    let refusal = |keys: &[_], tensors: &[_]| {
        let gguf = file(keys, tensors);
        ImportanceMatrix::from_gguf(&gguf).unwrap_err()
    };
    let keys = imatrix_keys();
    let sums = |values| ("a.in_sum2", &[3_usize][..], values);
    assert!(refusal(&[], &[]).contains("lacks the keys"));
    assert!(refusal(&keys, &[]).contains("no entries"));
    assert!(refusal(&keys, &[sums(vec![1.0; 3])]).contains("`a.counts` is missing"));
    let odd = ("a.counts", &[2_usize][..], vec![1.0; 2]);
    assert!(refusal(&keys, &[sums(vec![1.0; 3]), odd]).contains("other counts"));
    for value in [-1.0, f32::NAN, f32::INFINITY] {
        let one = ("a.counts", &[1_usize][..], vec![1.0]);
        let error = refusal(&keys, &[sums(vec![value; 3]), one]);
        assert!(error.contains("not a mean of squares"), "{error}");
    }
}

#[test]
fn older_importance_files_are_read_and_cut_ones_refused() {
    let mut dat = Vec::new();
    dat.extend(1_i32.to_le_bytes());
    dat.extend(4_i32.to_le_bytes());
    dat.extend(b"name");
    dat.extend(2_i32.to_le_bytes());
    dat.extend(3_i32.to_le_bytes());
    dat.extend([2.0_f32, 4.0, 6.0].iter().flat_map(|v| v.to_le_bytes()));
    let entries = dat.len();
    dat.extend(10_i32.to_le_bytes());
    dat.extend(5_i32.to_le_bytes());
    dat.extend(b"a.txt");
    let matrix = ImportanceMatrix::from_dat(&dat).unwrap();
    assert_eq!(matrix.get("name"), Some(&[1.0, 2.0, 3.0][..]));
    assert_eq!(matrix.chunks, 10);
    assert_eq!(matrix.dataset.as_deref(), Some("a.txt"));
    for len in 0..dat.len() {
        // The text's name may be absent, and the number of chunks with it.
        let whole = len == entries || len == entries + 4;
        let read = ImportanceMatrix::from_dat(&dat[..len]);
        assert_eq!(read.is_ok(), whole, "{len} bytes");
    }
    for at in [0, 4, 16] {
        let mut hostile = dat.clone();
        hostile[at..at + 4].copy_from_slice(&i32::MAX.to_le_bytes());
        assert!(ImportanceMatrix::from_dat(&hostile).is_err(), "at {at}");
        hostile[at..at + 4].copy_from_slice(&(-1_i32).to_le_bytes());
        assert!(ImportanceMatrix::from_dat(&hostile).is_err(), "at {at}");
    }
}
