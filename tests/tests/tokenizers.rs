//! Tokenizers against the reference pairs of text and ids.

use std::fs;
use std::path::{Path, PathBuf};

use outrigger_runtime::gguf::Gguf;
use outrigger_runtime::tokenizer::{DecodeOptions, Detokenizer, EncodeOptions, Tokenizer};
use outrigger_tests::fixtures::fixtures;

const PLAIN: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};

/// The vocabularies, each with the pre-tokenizer it must be read with.
const VOCABULARIES: [(&str, Option<&str>); 7] = [
    ("deepseek-coder", Some("deepseek-coder")),
    ("deepseek-llm", Some("deepseek-llm")),
    ("gpt-2", Some("gpt-2")),
    ("llama-bpe", Some("llama-bpe")),
    ("llama-spm", None),
    ("phi-3", None),
    ("qwen2", Some("qwen2")),
];

fn load(path: &Path) -> Tokenizer {
    let gguf = Gguf::open(path).expect("the fixture is a GGUF file");
    Tokenizer::from_metadata(gguf.metadata()).expect("the fixture has a vocabulary")
}

/// The texts of `path` with `.inp` appended, and their ids.
fn cases(path: &Path) -> Vec<(String, Vec<u32>)> {
    let beside = |extension: &str| {
        let name = PathBuf::from(format!("{}{extension}", path.display()));
        fs::read_to_string(name).expect("the fixture is UTF-8 text")
    };
    let (inputs, outputs) = (beside(".inp"), beside(".out"));
    let texts = inputs.split("\n__ggml_vocab_test__\n");
    let ids = outputs.lines().map(|line| {
        line.split_whitespace()
            .map(|id| id.parse().expect("an id is a number"))
            .collect()
    });
    texts.map(str::to_owned).zip(ids).collect()
}

#[test]
fn references_are_met() {
    let Some(fixtures) = fixtures() else { return };
    for (name, pre) in VOCABULARIES {
        let path = fixtures.join(format!("tokenizers/ggml-vocab-{name}.gguf"));
        let tokenizer = load(&path);
        assert_eq!(tokenizer.pre_tokenizer_name(), pre, "{name}");
        assert_eq!(tokenizer.warning(), None, "{name}");
        let cases = cases(&path);
        assert!(cases.len() > 40, "{name}: only {} cases", cases.len());
        for (text, ids) in cases {
            assert_eq!(
                tokenizer.encode(&text, PLAIN).as_ref(),
                Ok(&ids),
                "{name}: {text:?}"
            );
            let decoded = tokenizer.decode(&ids, DecodeOptions::default());
            assert_eq!(decoded.as_ref(), Ok(&text), "{name}");

            let mut detokenizer = Detokenizer::new(&tokenizer, DecodeOptions::default());
            let mut streamed = String::new();
            for id in ids {
                streamed += detokenizer.push(&tokenizer, id).expect("the id is known");
            }
            streamed += detokenizer.finish();
            assert_eq!(streamed, text, "{name}");
        }
    }
}
