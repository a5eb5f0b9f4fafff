//! What a model is to the other end: digests of its tensors and its tokenizer.

use crate::wire::ModelIdentity;
use outrigger_runtime::{
    gguf::{Array, Gguf, Metadata, Value},
    loaded::LoadedModel,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A SHA-256.
pub type Hash = [u8; 32];

/// Identifies a model that is computed by `kernel_set`. `tensors` is
/// [`tensor_digest`] of its file, which takes a while for a large one.
pub fn identify(loaded: &LoadedModel, kernel_set: &str, tensors: Hash) -> ModelIdentity {
    let model = loaded.model();
    let gguf = model.gguf();
    ModelIdentity {
        model: tensors,
        tokenizer: tokenizer_digest(gguf.metadata()),
        title: model.title().into(),
        quant: quant(gguf),
        kernel_set: kernel_set.into(),
        context: model.context,
        vocab: u32::try_from(model.vocab).unwrap_or(u32::MAX),
    }
}

/// SHA-256 of all that decides what a model computes: names, types, shapes and
/// bytes of its tensors, and the metadata of its architecture.
pub fn tensor_digest(gguf: &Gguf) -> Hash {
    let mut hash = Sha256::new();
    let metadata = gguf.metadata();
    let architecture = metadata.str("general.architecture").ok().flatten();
    if let Some(architecture) = architecture {
        text(&mut hash, architecture);
        keys(&mut hash, metadata, &format!("{architecture}."));
    }
    let mut tensors: Vec<_> = gguf.tensors().iter().collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    for tensor in tensors {
        text(&mut hash, &tensor.name);
        text(&mut hash, tensor.format.name());
        number(&mut hash, tensor.dims.len());
        for &dim in &tensor.dims {
            number(&mut hash, dim);
        }
        hash.update(gguf.bytes(tensor));
    }
    hash.finalize().into()
}

/// SHA-256 of the metadata of a tokenizer, its chat template left out.
pub fn tokenizer_digest(metadata: &Metadata) -> Hash {
    let mut hash = Sha256::new();
    keys(&mut hash, metadata, "tokenizer.ggml.");
    hash.finalize().into()
}

/// Names of the tensors' types with the bytes of each, the largest first.
fn quant(gguf: &Gguf) -> String {
    let mut bytes: BTreeMap<&str, usize> = BTreeMap::new();
    for tensor in gguf.tensors() {
        *bytes.entry(tensor.format.name()).or_default() += tensor.bytes;
    }
    let mut bytes: Vec<_> = bytes.into_iter().collect();
    bytes.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
    let names: Vec<_> = bytes.into_iter().map(|(name, _)| name).collect();
    names.join("+")
}

/// Adds the keys that begin so, in their order.
fn keys(hash: &mut Sha256, metadata: &Metadata, prefix: &str) {
    let mut keys: Vec<_> = metadata
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .collect();
    keys.sort_by_key(|&(key, _)| key);
    for (key, held) in keys {
        text(hash, key);
        value(hash, held);
    }
}

/// Adds a number in a form of fixed length.
fn number(hash: &mut Sha256, value: usize) {
    hash.update((value as u64).to_le_bytes());
}

/// Adds a text with its length, so that what follows cannot be taken for it.
fn text(hash: &mut Sha256, value: &str) {
    number(hash, value.len());
    hash.update(value);
}

fn value(hash: &mut Sha256, value: &Value) {
    text(hash, value.type_name());
    match value {
        Value::U8(x) => hash.update(x.to_le_bytes()),
        Value::I8(x) => hash.update(x.to_le_bytes()),
        Value::U16(x) => hash.update(x.to_le_bytes()),
        Value::I16(x) => hash.update(x.to_le_bytes()),
        Value::U32(x) => hash.update(x.to_le_bytes()),
        Value::I32(x) => hash.update(x.to_le_bytes()),
        Value::U64(x) => hash.update(x.to_le_bytes()),
        Value::I64(x) => hash.update(x.to_le_bytes()),
        Value::F32(x) => hash.update(x.to_le_bytes()),
        Value::F64(x) => hash.update(x.to_le_bytes()),
        Value::Bool(x) => hash.update([u8::from(*x)]),
        Value::String(x) => text(hash, x),
        Value::Array(x) => array(hash, x),
    }
}

/// Adds an array with its length.
fn array(hash: &mut Sha256, array: &Array) {
    macro_rules! each {
        ($values:ident) => {{
            number(hash, $values.len());
            for x in $values {
                hash.update(x.to_le_bytes());
            }
        }};
    }
    match array {
        Array::U8(values) => each!(values),
        Array::I8(values) => each!(values),
        Array::U16(values) => each!(values),
        Array::I16(values) => each!(values),
        Array::U32(values) => each!(values),
        Array::I32(values) => each!(values),
        Array::U64(values) => each!(values),
        Array::I64(values) => each!(values),
        Array::F32(values) => each!(values),
        Array::F64(values) => each!(values),
        Array::Bool(values) => {
            number(hash, values.len());
            values.iter().for_each(|&x| hash.update([u8::from(x)]));
        }
        Array::String(values) => {
            number(hash, values.len());
            values.iter().for_each(|x| text(hash, x));
        }
        Array::Array(values) => {
            number(hash, values.len());
            for inner in values {
                self::array(hash, inner);
            }
        }
    }
}
