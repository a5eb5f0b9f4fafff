//! GGUF files of a real shape with random weights: for benchmarks and tests
//! that need a model's size and not its sense.
//!
//! The file is written as a stream. For each tensor a pool of values is drawn
//! and encoded, and its rows are put together from pieces of that pool, so
//! that gigabytes take seconds while no two rows are alike.

use crate::{
    gguf::{Array, Metadata, TensorShape, Value, WriteError, Writer},
    tokenizer::alphabet,
};
use outrigger_kernels::format::{Format, FormatError, quantize};
use std::io::Write;

/// The sizes of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticShape {
    /// `llama`, `qwen2`, `qwen3` or `qwen3moe`.
    pub architecture: &'static str,
    /// Decoder layers.
    pub layers: usize,
    /// Values in a hidden state.
    pub width: usize,
    /// Values between the matrices of the feed-forward block; with experts, of
    /// each expert.
    pub ff: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Values in a head.
    pub head_dim: usize,
    /// Tokens in the vocabulary, at least [`VOCAB_MIN`].
    pub vocab: usize,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Experts, and how many of them a token goes through.
    pub experts: Option<(usize, usize)>,
    /// Positions that the metadata claims the model was trained on.
    pub context: u32,
    /// Base of the rotation's frequencies.
    pub rope_base: f32,
}

/// The smallest vocabulary: a token per byte, one that is merged, BOS and EOS.
pub const VOCAB_MIN: usize = 259;

/// Shapes by name: Llama 3.2 1B, Qwen 2.5 3B, Llama 3.1 8B, Qwen3 30B-A3B, and
/// one of a few hundred kilobytes.
pub const PRESETS: [(&str, SyntheticShape); 5] = [
    ("tiny", TINY),
    ("llama-1b", LLAMA_1B),
    (
        "qwen-3b",
        SyntheticShape {
            architecture: "qwen2",
            layers: 36,
            ff: 11_008,
            heads: 16,
            kv_heads: 2,
            head_dim: 128,
            vocab: 151_936,
            context: 32_768,
            rope_base: 1e6,
            ..LLAMA_1B
        },
    ),
    (
        "llama-8b",
        SyntheticShape {
            layers: 32,
            width: 4096,
            ff: 14_336,
            head_dim: 128,
            tied: false,
            ..LLAMA_1B
        },
    ),
    (
        "qwen3-30b-a3b",
        SyntheticShape {
            architecture: "qwen3moe",
            layers: 48,
            ff: 768,
            kv_heads: 4,
            head_dim: 128,
            vocab: 151_936,
            tied: false,
            experts: Some((128, 8)),
            context: 40_960,
            rope_base: 1e6,
            ..LLAMA_1B
        },
    ),
];

const LLAMA_1B: SyntheticShape = SyntheticShape {
    architecture: "llama",
    layers: 16,
    width: 2048,
    ff: 8192,
    heads: 32,
    kv_heads: 8,
    head_dim: 64,
    vocab: 128_256,
    tied: true,
    experts: None,
    context: 131_072,
    rope_base: 500_000.0,
};

const TINY: SyntheticShape = SyntheticShape {
    architecture: "llama",
    layers: 2,
    width: 256,
    ff: 512,
    heads: 8,
    kv_heads: 2,
    head_dim: 32,
    vocab: 320,
    tied: true,
    experts: None,
    context: 2048,
    rope_base: 10_000.0,
};

impl SyntheticShape {
    /// The shape of this name in [`PRESETS`].
    pub fn preset(name: &str) -> Option<Self> {
        let (_, shape) = PRESETS.into_iter().find(|(n, _)| *n == name)?;
        Some(shape)
    }
}

/// How the matrices are stored. Norms, biases and routers are F32, as in all
/// GGUF files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticFormats {
    /// The token embedding, which is the head as well where they are tied.
    pub embedding: Format,
    /// Query, key, value and output of the attention.
    pub attention: Format,
    /// The feed-forward block, experts included.
    pub feed_forward: Format,
    /// The head, where it is a tensor of its own.
    pub head: Format,
}

impl SyntheticFormats {
    /// One format for all matrices.
    pub fn all(format: Format) -> Self {
        Self {
            embedding: format,
            attention: format,
            feed_forward: format,
            head: format,
        }
    }
}

/// A model that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// Not an architecture that can be made here.
    #[error("no synthetic model of architecture `{0}` can be made")]
    Architecture(&'static str),
    /// The vocabulary cannot hold a token per byte.
    #[error("a vocabulary of {vocab} tokens is too small; at least {VOCAB_MIN} are needed")]
    Vocabulary {
        /// Tokens asked for.
        vocab: usize,
    },
    /// A tensor's rows cannot be stored in the format.
    #[error("tensor `{tensor}` cannot be made: {error}")]
    Format {
        /// The tensor.
        tensor: String,
        /// Why not.
        error: FormatError,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A file that is to be written. What is in it may be changed before.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticModel {
    /// The keys.
    pub metadata: Metadata,
    /// The tensors. A vector whose name ends in `norm.weight` is made of
    /// values around 1, a bias of small ones, and a matrix of values that keep
    /// the size of what it is multiplied with.
    pub tensors: Vec<TensorShape>,
    /// What the values are drawn from; the same seed gives the same bytes.
    pub seed: u64,
}

impl SyntheticModel {
    /// Keys and tensors of a complete model.
    pub fn new(
        shape: &SyntheticShape,
        formats: &SyntheticFormats,
        seed: u64,
    ) -> Result<Self, SyntheticError> {
        if !["llama", "qwen2", "qwen3", "qwen3moe"].contains(&shape.architecture) {
            return Err(SyntheticError::Architecture(shape.architecture));
        }
        if shape.vocab < VOCAB_MIN {
            return Err(SyntheticError::Vocabulary { vocab: shape.vocab });
        }
        Ok(Self {
            metadata: metadata(shape),
            tensors: tensors(shape, formats),
            seed,
        })
    }

    /// Writes the file, in pieces of about a megabyte.
    pub fn write<W: Write>(&self, out: W) -> Result<W, SyntheticError> {
        let mut writer = Writer::new(out, &self.metadata, &self.tensors)?;
        for (index, tensor) in (0..).zip(&self.tensors) {
            let mut random = Random::new(self.seed, index);
            let pool = pool(tensor, &mut random)?;
            let cols = tensor.dims.first().copied().unwrap_or(0);
            let format = tensor.format;
            let rows: usize = tensor.dims.iter().skip(1).product();
            let row = cols / format.block_len();
            let mut pieces = Vec::with_capacity(pool.len() * 2);
            for _ in 0..rows {
                for piece in 0..PIECES {
                    let blocks = (piece + 1) * row / PIECES - piece * row / PIECES;
                    let bytes = blocks * format.block_bytes();
                    let places = (pool.len() - bytes) / format.block_bytes() + 1;
                    let start = random.below(places) * format.block_bytes();
                    pieces.extend_from_slice(&pool[start..start + bytes]);
                }
                if pieces.len() >= pool.len() {
                    writer.append(&pieces)?;
                    pieces.clear();
                }
            }
            writer.append(&pieces)?;
        }
        Ok(writer.finish()?)
    }
}

/// Pieces of the pool that a row is put together from: with a thousand places
/// for each, rows that are alike do not occur.
const PIECES: usize = 4;

/// Values in a pool, if its tensor has as many.
const POOL_VALUES: usize = 1 << 20;

/// Encoded values of a tensor, at least a row.
fn pool(tensor: &TensorShape, random: &mut Random) -> Result<Vec<u8>, SyntheticError> {
    let format = tensor.format;
    let cols = tensor.dims.first().copied().unwrap_or(0);
    let all: usize = tensor.dims.iter().product();
    let values = all.min(POOL_VALUES.max(cols)) / format.block_len() * format.block_len();
    let (mean, deviation) = if tensor.name.ends_with("norm.weight") {
        (1.0, 0.1)
    } else if tensor.name.ends_with(".bias") {
        (0.0, 0.1)
    } else {
        (0.0, 1.0 / (cols.max(1) as f32).sqrt())
    };
    let values: Vec<f32> = (0..values)
        .map(|_| mean + deviation * random.normal())
        .collect();
    let bytes = values.len() / format.block_len() * format.block_bytes();
    let mut pool = vec![0; bytes];
    quantize(format, &values, &mut pool).map_err(|error| SyntheticError::Format {
        tensor: tensor.name.clone(),
        error,
    })?;
    Ok(pool)
}

fn metadata(shape: &SyntheticShape) -> Metadata {
    let mut metadata = Metadata::new();
    let architecture = shape.architecture;
    let mut put = |key: &str, value: Value| drop(metadata.insert(key, value));
    let string = |text: &str| Value::String(text.into());
    let count = |n: usize| Value::U32(n as u32);
    put("general.architecture", string(architecture));
    put("general.name", string(&format!("synthetic {architecture}")));
    put("general.quantization_version", Value::U32(2));
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

fn tensors(shape: &SyntheticShape, formats: &SyntheticFormats) -> Vec<TensorShape> {
    let width = shape.width;
    let (query, key) = (
        shape.heads * shape.head_dim,
        shape.kv_heads * shape.head_dim,
    );
    let mut tensors = Vec::new();
    let mut put = |name: &str, dims: &[usize], format| {
        tensors.push(TensorShape {
            name: name.into(),
            dims: dims.into(),
            format,
        });
    };
    put(
        "token_embd.weight",
        &[width, shape.vocab],
        formats.embedding,
    );
    for layer in 0..shape.layers {
        let mut put = |name: &str, dims: &[usize], format| {
            put(&format!("blk.{layer}.{name}"), dims, format);
        };
        let (attention, ff) = (formats.attention, formats.feed_forward);
        put("attn_norm.weight", &[width], Format::F32);
        put("attn_q.weight", &[width, query], attention);
        put("attn_k.weight", &[width, key], attention);
        put("attn_v.weight", &[width, key], attention);
        put("attn_output.weight", &[query, width], attention);
        if shape.architecture == "qwen2" {
            put("attn_q.bias", &[query], Format::F32);
            put("attn_k.bias", &[key], Format::F32);
            put("attn_v.bias", &[key], Format::F32);
        }
        if shape.architecture.starts_with("qwen3") {
            put("attn_q_norm.weight", &[shape.head_dim], Format::F32);
            put("attn_k_norm.weight", &[shape.head_dim], Format::F32);
        }
        put("ffn_norm.weight", &[width], Format::F32);
        if let Some((count, _)) = shape.experts {
            put("ffn_gate_inp.weight", &[width, count], Format::F32);
            put("ffn_gate_exps.weight", &[width, shape.ff, count], ff);
            put("ffn_up_exps.weight", &[width, shape.ff, count], ff);
            put("ffn_down_exps.weight", &[shape.ff, width, count], ff);
        } else {
            put("ffn_gate.weight", &[width, shape.ff], ff);
            put("ffn_up.weight", &[width, shape.ff], ff);
            put("ffn_down.weight", &[shape.ff, width], ff);
        }
    }
    put("output_norm.weight", &[width], Format::F32);
    if !shape.tied {
        put("output.weight", &[width, shape.vocab], formats.head);
    }
    tensors
}

/// Numbers from a counter (SplitMix64: Steele, Lea and Flood, OOPSLA 2014).
struct Random {
    state: u64,
}

impl Random {
    /// The numbers of one stream of a seed.
    fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self { state: seed };
        let seed = random.next();
        Self {
            state: seed ^ stream.wrapping_mul(0xD129_0E1E_6A3F_8B45),
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// About a normal distribution of mean 0 and deviation 1: the sum of four
    /// uniform numbers.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: i32 = (0..4).map(|i| i32::from((bits >> (16 * i)) as i16)).sum();
        // Each has a variance of (2^16)^2 / 12; half an ulp off the middle.
        (sum as f32 + 2.0) / (65_536.0 * 0.577_350_26)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gguf::{Gguf, parse},
        loaded::LoadedModel,
        model::ModelOptions,
        tokenizer::EncodeOptions,
    };
    use std::io::Cursor;

    fn bytes(shape: &SyntheticShape, format: Format, seed: u64) -> Vec<u8> {
        let model = SyntheticModel::new(shape, &SyntheticFormats::all(format), seed).unwrap();
        let out = model.write(Cursor::new(Vec::new())).unwrap();
        out.into_inner()
    }

    #[test]
    fn the_seed_alone_decides_the_bytes() {
        let shape = SyntheticShape::preset("tiny").unwrap();
        let first = bytes(&shape, Format::Q8_0, 1);
        assert_eq!(first, bytes(&shape, Format::Q8_0, 1));
        assert_ne!(first, bytes(&shape, Format::Q8_0, 2));
    }

    #[test]
    fn every_architecture_and_format_loads_with_its_tokenizer() {
        let tiny = SyntheticShape::preset("tiny").unwrap();
        let shapes = [
            tiny.clone(),
            SyntheticShape {
                architecture: "qwen2",
                tied: false,
                ..tiny.clone()
            },
            SyntheticShape {
                architecture: "qwen3",
                ..tiny.clone()
            },
            SyntheticShape {
                architecture: "qwen3moe",
                experts: Some((4, 2)),
                ff: 256,
                ..tiny
            },
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        for (shape, format) in
            shapes
                .iter()
                .zip([Format::Q8_0, Format::F16, Format::Q4_0, Format::Q6_K])
        {
            std::fs::write(&path, bytes(shape, format, 7)).unwrap();
            let gguf = Gguf::open(&path).unwrap();
            let loaded = LoadedModel::from_gguf(gguf, &ModelOptions::default()).unwrap();
            assert_eq!(loaded.model().vocab, shape.vocab);
            let tokenizer = loaded.tokenizer();
            assert_eq!(tokenizer.vocab_len(), shape.vocab);
            let ids = tokenizer.encode("a\u{e9}  ", EncodeOptions::default());
            assert_eq!(ids.unwrap(), [97, 0xC3, 0xA9, 256]);
        }
    }

    #[test]
    fn rows_differ_and_have_the_size_they_should() {
        let shape = SyntheticShape::preset("tiny").unwrap();
        let file = bytes(&shape, Format::F32, 3);
        let header = parse(&file).unwrap();
        let tensor = header
            .tensors
            .iter()
            .find(|t| &*t.name == "token_embd.weight");
        let tensor = tensor.unwrap();
        let bytes = &file[tensor.offset..][..tensor.bytes];
        let values: Vec<f32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b))
            .collect();
        let rows: Vec<_> = values.chunks_exact(shape.width).collect();
        for (i, row) in rows.iter().enumerate() {
            assert!(rows[..i].iter().all(|other| other != row), "row {i}");
        }
        let squares: f32 = values.iter().map(|v| v * v).sum();
        let size = squares / values.len() as f32 * shape.width as f32;
        assert!((size - 1.0).abs() < 0.05, "{size}");
    }

    #[test]
    fn what_cannot_be_made_is_an_error() {
        let tiny = SyntheticShape::preset("tiny").unwrap();
        let new = |shape: &SyntheticShape, format| {
            SyntheticModel::new(shape, &SyntheticFormats::all(format), 0)
                .and_then(|model| model.write(Vec::new()))
                .map(drop)
                .unwrap_err()
                .to_string()
        };
        let narrow = SyntheticShape {
            width: 64,
            ..tiny.clone()
        };
        assert!(new(&narrow, Format::Q4_K).contains("token_embd.weight"));
        assert!(new(&tiny, Format::IQ2_S).contains("no encoder for IQ2_S"));
        let small = SyntheticShape {
            vocab: 258,
            ..tiny.clone()
        };
        assert!(new(&small, Format::F32).contains("259"));
        let other = SyntheticShape {
            architecture: "gemma",
            ..tiny
        };
        assert!(new(&other, Format::F32).contains("`gemma`"));
    }
}
