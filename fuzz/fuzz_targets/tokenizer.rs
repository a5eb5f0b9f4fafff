//! A hostile vocabulary is refused or used, and never panics; what it encodes
//! it can decode, streamed or whole.
//!
//! The input is lines of text: the tokenizer's model, its pre-tokenizer, tokens
//! (the first character is the type, `0` to `9`), an empty line, merges, an
//! empty line, and the text to encode.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_runtime::gguf::{Array, Metadata, Value};
use outrigger_runtime::tokenizer::{DecodeOptions, Detokenizer, EncodeOptions, Tokenizer};

fn vocabulary(lines: &mut std::str::Lines) -> Metadata {
    let mut string = || Value::String(lines.next().unwrap_or_default().into());
    let (model, pre) = (string(), string());
    let mut tokens: Vec<Box<str>> = Vec::new();
    let mut types = Vec::new();
    let mut scores = Vec::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let mut text = line.chars();
        types.push(text.next().map_or(0, |kind| kind as i32 - '0' as i32));
        scores.push(-((tokens.len() % 7) as f32));
        tokens.push(text.as_str().into());
    }
    let merges = lines.by_ref().take_while(|line| !line.is_empty());
    let merges = merges.map(Into::into).collect();
    let mut metadata = Metadata::new();
    for (key, value) in [
        ("model", model),
        ("pre", pre),
        ("tokens", Value::Array(Array::String(tokens))),
        ("token_type", Value::Array(Array::I32(types))),
        ("scores", Value::Array(Array::F32(scores))),
        ("merges", Value::Array(Array::String(merges))),
        ("add_bos_token", Value::Bool(false)),
    ] {
        metadata.insert(&format!("tokenizer.ggml.{key}"), value);
    }
    metadata
}

fuzz_target!(|input: &str| {
    let mut lines = input.lines();
    let metadata = vocabulary(&mut lines);
    let Ok(tokenizer) = Tokenizer::from_metadata(&metadata) else {
        return;
    };
    let text = lines.collect::<Vec<_>>().join("\n");
    for parse_special in [false, true] {
        let options = EncodeOptions {
            add_special: false,
            parse_special,
        };
        let Ok(ids) = tokenizer.encode(&text, options) else {
            continue;
        };
        let options = DecodeOptions {
            render_special: parse_special,
            continues: false,
        };
        let whole = tokenizer
            .decode(&ids, options)
            .expect("encoding makes known ids");
        let mut detokenizer = Detokenizer::new(&tokenizer, options);
        let mut streamed = String::new();
        for id in ids {
            streamed += detokenizer.push(&tokenizer, id).expect("as above");
        }
        streamed += detokenizer.finish();
        assert_eq!(streamed, whole);
    }
});
