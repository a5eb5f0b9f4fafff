//! Encodings of generated texts by independent implementations, written by
//! `tools/reference/tokenizer_references.py`.

use std::collections::HashMap;

use serde::Deserialize;

use super::pretokenizer::PreTokenizer;
use super::{EncodeOptions, TokenId, Tokenizer};
use crate::gguf::{Array, Metadata, Value};

#[derive(Deserialize)]
struct References {
    texts: Vec<String>,
    /// In characters, by pre-tokenizer.
    piece_lengths: HashMap<String, Vec<Vec<usize>>>,
    byte_pairs: BytePairReferences,
    sentence_pieces: SentencePieceReferences,
}

#[derive(Deserialize)]
struct BytePairReferences {
    tokens: Vec<Box<str>>,
    merges: Vec<Box<str>>,
    ids: HashMap<String, Vec<Vec<TokenId>>>,
}

#[derive(Deserialize)]
struct SentencePieceReferences {
    tokens: Vec<Box<str>>,
    scores: Vec<f32>,
    types: Vec<i32>,
    ids: Vec<Vec<TokenId>>,
}

fn references() -> References {
    serde_json::from_str(include_str!("testdata/references.json")).expect("valid JSON")
}

fn tokenizer(keys: impl IntoIterator<Item = (&'static str, Value)>) -> Tokenizer {
    let mut metadata = Metadata::new();
    for (key, value) in keys {
        metadata.insert(&format!("tokenizer.ggml.{key}"), value);
    }
    Tokenizer::from_metadata(&metadata).expect("a vocabulary")
}

#[test]
fn pieces_are_those_of_oniguruma() {
    let references = references();
    assert!(references.piece_lengths.len() > 25);
    for (name, expected) in &references.piece_lengths {
        let pre = PreTokenizer::find(name).expect("a known name");
        assert_eq!(expected.len(), references.texts.len());
        for (text, expected) in references.texts.iter().zip(expected) {
            let mut lengths = Vec::new();
            pre.split(text, &mut |piece| lengths.push(piece.chars().count()));
            assert_eq!(&lengths, expected, "{name}: {text:?}");
        }
    }
}

#[test]
fn byte_pairs_are_those_of_hugging_face() {
    let references = references();
    for (name, expected) in references.byte_pairs.ids {
        let tokenizer = tokenizer([
            ("model", Value::String("gpt2".into())),
            ("pre", Value::String(name.as_str().into())),
            ("add_bos_token", Value::Bool(false)),
            (
                "tokens",
                Value::Array(Array::String(references.byte_pairs.tokens.clone())),
            ),
            (
                "merges",
                Value::Array(Array::String(references.byte_pairs.merges.clone())),
            ),
        ]);
        for (text, expected) in references.texts.iter().zip(expected) {
            let ids = tokenizer.encode(text, EncodeOptions::default());
            assert_eq!(ids, Ok(expected), "{name}: {text:?}");
        }
    }
}

#[test]
fn sentence_pieces_are_those_of_sentencepiece() {
    let references = references();
    let SentencePieceReferences {
        tokens,
        scores,
        types,
        ids,
    } = references.sentence_pieces;
    let tokenizer = tokenizer([
        ("model", Value::String("llama".into())),
        ("tokens", Value::Array(Array::String(tokens))),
        ("scores", Value::Array(Array::F32(scores))),
        ("token_type", Value::Array(Array::I32(types))),
    ]);
    for (text, expected) in references.texts.iter().zip(ids) {
        // The reference takes no NUL.
        let text = text.replace('\0', "");
        let ids = tokenizer.encode(&text, EncodeOptions::default());
        assert_eq!(ids, Ok(expected), "{text:?}");
    }
}
