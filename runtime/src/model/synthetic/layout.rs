//! Keys and tensors of a complete model of some shape.

use super::{SyntheticFormats, SyntheticShape};
use crate::{
    gguf::{Array, Metadata, TensorShape, Value},
    model::mixture::MixtureModel,
    tokenizer::alphabet,
};
use outrigger_kernels::format::Format;

/// The keys.
pub(super) fn metadata(shape: &SyntheticShape, formats: &SyntheticFormats) -> Metadata {
    let mut metadata = Metadata::new();
    let architecture = shape.architecture;
    let mut put = |key: &str, value: Value| drop(metadata.insert(key, value));
    let string = |text: &str| Value::String(text.into());
    let count = |n: usize| Value::U32(n as u32);
    put("general.architecture", string(architecture));
    put("general.name", string(&format!("synthetic {architecture}")));
    put("general.quantization_version", Value::U32(2));
    if let SyntheticFormats::Mixture(mixture) = formats {
        put("general.file_type", Value::U32(mixture.file_type()));
    }
    let mut own = |key: &str, value: Value| put(&format!("{architecture}.{key}"), value);
    own("context_length", Value::U32(shape.context));
    own("embedding_length", count(shape.width));
    own("block_count", count(shape.layers));
    own("feed_forward_length", count(shape.ff));
    own("attention.head_count", count(shape.heads));
    own("attention.head_count_kv", count(shape.kv_heads));
    own("attention.key_length", count(shape.head_dim));
    own("attention.value_length", count(shape.head_dim));
    own("attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    own("rope.dimension_count", count(shape.head_dim));
    own("rope.freq_base", Value::F32(shape.rope_base));
    own("vocab_size", count(shape.vocab));
    if let Some((experts, used)) = shape.experts {
        own("expert_count", count(experts));
        own("expert_used_count", count(used));
        own("expert_feed_forward_length", count(shape.ff));
    }
    let tokens = tokens(shape.vocab);
    let last = tokens.len() - 1;
    let mut kinds = vec![1; tokens.len()];
    kinds[last - 1..].fill(3);
    put("tokenizer.ggml.model", string("gpt2"));
    put("tokenizer.ggml.pre", string("gpt-2"));
    put("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
    put("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)));
    let merges = vec![format!("{BLANK} {BLANK}").into()];
    put("tokenizer.ggml.merges", Value::Array(Array::String(merges)));
    put("tokenizer.ggml.bos_token_id", count(last - 1));
    put("tokenizer.ggml.eos_token_id", count(last));
    put("tokenizer.ggml.add_bos_token", Value::Bool(true));
    metadata
}

/// How byte-level vocabularies spell a blank.
const BLANK: char = '\u{120}';

/// A token per byte, two blanks, made-up words, BOS and EOS.
fn tokens(vocab: usize) -> Vec<Box<str>> {
    const CONSONANTS: &[u8] = b"bdfgklmnprstvz";
    const VOWELS: &[u8] = b"aeiou";
    let mut tokens: Vec<Box<str>> = alphabet()
        .into_iter()
        .map(|c| c.to_string().into())
        .collect();
    tokens.push([BLANK, BLANK].iter().collect::<String>().into());
    for index in tokens.len()..vocab - 2 {
        // Syllables as digits: each word stands for one number.
        let mut word = String::from(BLANK);
        let mut rest = index;
        while rest > 0 {
            let syllable = rest % (CONSONANTS.len() * VOWELS.len());
            word.push(CONSONANTS[syllable / VOWELS.len()].into());
            word.push(VOWELS[syllable % VOWELS.len()].into());
            rest /= CONSONANTS.len() * VOWELS.len();
        }
        tokens.push(word.into());
    }
    tokens.push("<|bos|>".into());
    tokens.push("<|eos|>".into());
    tokens
}

/// The tensors, in the order in which a pass reads them.
pub(super) fn tensors(shape: &SyntheticShape, formats: &SyntheticFormats) -> Vec<TensorShape> {
    let model = MixtureModel {
        layers: shape.layers,
        experts: shape.experts.map_or(0, |(count, _)| count),
        group: shape.heads.checked_div(shape.kv_heads).unwrap_or(1),
        tied: shape.tied,
        importance: false,
    };
    let width = shape.width;
    let (query, key) = (
        shape.heads * shape.head_dim,
        shape.kv_heads * shape.head_dim,
    );
    let mut tensors = Vec::new();
    let mut put = |name: String, dims: &[usize]| {
        let format = match formats {
            SyntheticFormats::Uniform(format) if is_matrix(&name) => *format,
            SyntheticFormats::Uniform(_) => Format::F32,
            SyntheticFormats::Mixture(mixture) => mixture.format(&name, dims, &model),
        };
        tensors.push(TensorShape {
            name,
            dims: dims.into(),
            format,
        });
    };
    put("token_embd.weight".into(), &[width, shape.vocab]);
    for layer in 0..shape.layers {
        let mut put = |name: &str, dims: &[usize]| put(format!("blk.{layer}.{name}"), dims);
        put("attn_norm.weight", &[width]);
        put("attn_q.weight", &[width, query]);
        put("attn_k.weight", &[width, key]);
        put("attn_v.weight", &[width, key]);
        put("attn_output.weight", &[query, width]);
        if shape.architecture == "qwen2" {
            put("attn_q.bias", &[query]);
            put("attn_k.bias", &[key]);
            put("attn_v.bias", &[key]);
        }
        if shape.architecture.starts_with("qwen3") {
            put("attn_q_norm.weight", &[shape.head_dim]);
            put("attn_k_norm.weight", &[shape.head_dim]);
        }
        put("ffn_norm.weight", &[width]);
        if let Some((count, _)) = shape.experts {
            put("ffn_gate_inp.weight", &[width, count]);
            put("ffn_gate_exps.weight", &[width, shape.ff, count]);
            put("ffn_up_exps.weight", &[width, shape.ff, count]);
            put("ffn_down_exps.weight", &[shape.ff, width, count]);
        } else {
            put("ffn_gate.weight", &[width, shape.ff]);
            put("ffn_up.weight", &[width, shape.ff]);
            put("ffn_down.weight", &[shape.ff, width]);
        }
    }
    put("output_norm.weight".into(), &[width]);
    if !shape.tied {
        put("output.weight".into(), &[width, shape.vocab]);
    }
    tensors
}

/// Whether a tensor is stored in blocks.
fn is_matrix(name: &str) -> bool {
    !name.ends_with("norm.weight")
        && !name.ends_with("ffn_gate_inp.weight")
        && !name.ends_with(".bias")
}
