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

#[test]
fn a_mixture_is_named_in_the_file() {
    let shape = SyntheticShape::preset("tiny").unwrap();
    let formats = SyntheticFormats::Mixture(Mixture::Q4_K_M);
    let model = SyntheticModel::new(&shape, &formats, 5).unwrap();
    let file = model.write(Cursor::new(Vec::new())).unwrap().into_inner();
    let header = parse(&file).unwrap();
    assert_eq!(header.metadata.u32("general.file_type").unwrap(), Some(15));
    let format = |name: &str| {
        header
            .tensors
            .iter()
            .find(|t| &*t.name == name)
            .unwrap()
            .format
    };
    assert_eq!(format("token_embd.weight"), Format::Q6_K);
    assert_eq!(format("blk.0.ffn_up.weight"), Format::Q4_K);
    assert_eq!(format("blk.1.ffn_down.weight"), Format::Q6_K);
    assert_eq!(format("blk.0.attn_norm.weight"), Format::F32);
}
