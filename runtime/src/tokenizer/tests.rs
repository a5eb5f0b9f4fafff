use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::gguf::{Array, Value};

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// Metadata under construction.
#[derive(Default)]
struct Source {
    metadata: Metadata,
    tokens: Vec<Box<str>>,
    types: Vec<i32>,
    scores: Vec<f32>,
    merges: Vec<Box<str>>,
}

impl Source {
    /// All bytes, and merges that build `words` from the left.
    fn byte_level(pre: &str, words: &[&str]) -> Self {
        let mut source = Self::default();
        source.set("tokenizer.ggml.model", Value::String("gpt2".into()));
        source.set("tokenizer.ggml.pre", Value::String(pre.into()));
        let alphabet = byte_level::alphabet();
        for c in alphabet {
            source.token(&c.to_string(), NORMAL, 0.0);
        }
        for word in words {
            let chars: Vec<char> = word.bytes().map(|byte| alphabet[byte as usize]).collect();
            for end in 2..=chars.len() {
                let whole: String = chars[..end].iter().collect();
                if source.tokens.iter().any(|token| **token == *whole) {
                    continue;
                }
                let left: String = chars[..end - 1].iter().collect();
                source
                    .merges
                    .push(format!("{left} {}", chars[end - 1]).into());
                source.token(&whole, NORMAL, 0.0);
            }
        }
        source
    }

    /// `<unk> <s> </s>`, all byte tokens, and `pieces` with falling scores.
    fn sentencepiece(pieces: &[&str]) -> Self {
        let mut source = Self::default();
        source.set("tokenizer.ggml.model", Value::String("llama".into()));
        source.token("<unk>", UNKNOWN, 0.0);
        source.token("<s>", CONTROL, 0.0);
        source.token("</s>", CONTROL, 0.0);
        for byte in 0..=u8::MAX {
            source.token(&format!("<0x{byte:02X}>"), BYTE, 0.0);
        }
        for (score, piece) in (1..).zip(pieces) {
            source.token(piece, NORMAL, -(score as f32));
        }
        source
    }

    fn set(&mut self, key: &str, value: Value) {
        self.metadata.insert(key, value);
    }

    fn token(&mut self, text: &str, kind: i32, score: f32) -> TokenId {
        self.tokens.push(text.into());
        self.types.push(kind);
        self.scores.push(score);
        self.tokens.len() as TokenId - 1
    }

    fn build(mut self) -> Result<Tokenizer, TokenizerError> {
        let set = |metadata: &mut Metadata, key: &str, array| {
            if metadata.get(key).is_none() {
                metadata.insert(key, Value::Array(array));
            }
        };
        let metadata = &mut self.metadata;
        set(
            metadata,
            "tokenizer.ggml.tokens",
            Array::String(self.tokens),
        );
        set(
            metadata,
            "tokenizer.ggml.token_type",
            Array::I32(self.types),
        );
        set(metadata, "tokenizer.ggml.scores", Array::F32(self.scores));
        set(
            metadata,
            "tokenizer.ggml.merges",
            Array::String(self.merges),
        );
        Tokenizer::from_metadata(metadata)
    }
}

const PLAIN: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: false,
};
const PARSED: EncodeOptions = EncodeOptions {
    add_special: false,
    parse_special: true,
};
const WHOLE: EncodeOptions = EncodeOptions {
    add_special: true,
    parse_special: true,
};

/// The ids as their texts, which read better when they differ.
fn tokens(tokenizer: &Tokenizer, text: &str, options: EncodeOptions) -> Vec<String> {
    let ids = tokenizer.encode(text, options).unwrap();
    ids.iter()
        .map(|&id| tokenizer.token_text(id).unwrap().to_owned())
        .collect()
}

#[test]
fn control_tokens_are_found_only_where_asked() {
    let mut source = Source::byte_level("llama-bpe", &["hi", "the"]);
    let bos = source.token("<|begin|>", CONTROL, 0.0);
    source.token("<|begin|>x", CONTROL, 0.0);
    source.token("<tool>", USER_DEFINED, 0.0);
    source.token("<|eot_id|>", NORMAL, 0.0);
    source.set("tokenizer.ggml.bos_token_id", Value::U32(bos));
    let tokenizer = source.build().unwrap();

    let text = "<|begin|>hi<tool>the<|begin|>x";
    assert_eq!(
        tokens(&tokenizer, text, PARSED),
        ["<|begin|>", "hi", "<tool>", "the", "<|begin|>x"]
    );
    let plain = tokens(&tokenizer, text, PLAIN);
    assert!(!plain.iter().any(|token| token.starts_with("<|")));
    assert!(plain.contains(&"<tool>".to_owned()));
    // Added although the text has one already, as llama.cpp does.
    assert_eq!(
        tokens(&tokenizer, "<|begin|>hi", WHOLE),
        ["<|begin|>", "<|begin|>", "hi"]
    );
    // Known by its text, though the file calls it normal.
    let end = tokenizer.token_id("<|eot_id|>").unwrap();
    assert!(tokenizer.is_end_of_generation(end) && tokenizer.is_control(end));
    assert_eq!(tokenizer.token_bytes(end), Some(&b""[..]));
    let shown = DecodeOptions {
        render_special: true,
        ..DecodeOptions::default()
    };
    assert_eq!(tokenizer.decode(&[end], shown).unwrap(), "<|eot_id|>");
    assert_eq!(
        tokenizer.decode(&[end], DecodeOptions::default()).unwrap(),
        ""
    );
}

#[test]
fn whole_pieces_go_before_merges_where_the_vocabulary_says_so() {
    for (pre, expected) in [
        ("llama-bpe", &["hello"][..]),
        ("qwen2", &["he", "l", "l", "o"]),
    ] {
        let mut source = Source::byte_level(pre, &["he"]);
        source.token("hello", NORMAL, 0.0);
        source.token("<s>", CONTROL, 0.0);
        source.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
        assert_eq!(tokens(&source.build().unwrap(), "hello", PLAIN), expected);
    }
}

#[test]
fn sentencepiece_puts_a_blank_before_text_and_takes_it_off_again() {
    let pieces = ["▁h", "▁hi", "hi", "h", "i", "▁", "x"];
    let tokenizer = Source::sentencepiece(&pieces).build().unwrap();
    assert_eq!(tokens(&tokenizer, "hi hi", WHOLE), ["<s>", "▁hi", "▁hi"]);
    assert_eq!(
        tokens(&tokenizer, "hi<s>hi", WHOLE),
        ["<s>", "▁hi", "<s>", "▁hi"]
    );
    assert_eq!(tokens(&tokenizer, "", PLAIN), [""; 0]);
    assert_eq!(tokens(&tokenizer, "é", PLAIN), ["▁", "<0xC3>", "<0xA9>"]);
    let ids = tokenizer.encode("hi é", WHOLE).unwrap();
    assert_eq!(
        tokenizer.decode(&ids, DecodeOptions::default()).unwrap(),
        "hi é"
    );
    let continuing = DecodeOptions {
        continues: true,
        ..DecodeOptions::default()
    };
    assert_eq!(tokenizer.decode(&ids, continuing).unwrap(), " hi é");

    let mut source = Source::sentencepiece(&pieces);
    source.set("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    source.set("tokenizer.ggml.add_eos_token", Value::Bool(true));
    let tokenizer = source.build().unwrap();
    assert_eq!(
        tokens(&tokenizer, "hi hi", WHOLE),
        ["<s>", "hi", "▁hi", "</s>"]
    );
    assert_eq!(tokenizer.pre_tokenizer_name(), None);
}

#[test]
fn text_never_merges_to_control_tokens() {
    let mut source = Source::sentencepiece(&["<s", "s>", "<", "s", ">", "▁", "/"]);
    source.set("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    let tokenizer = source.build().unwrap();
    for text in ["<s>", "</s>", "<unk>", "<0x41>"] {
        for id in tokenizer.encode(text, PLAIN).unwrap() {
            assert_ne!(tokenizer.token_text(id), Some(text));
        }
    }
}

#[test]
fn equal_scores_merge_from_the_left() {
    let mut source = Source::sentencepiece(&["a"]);
    source.token("aa", NORMAL, -5.0);
    source.token("aaa", NORMAL, -5.0);
    source.set("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    let tokenizer = source.build().unwrap();
    assert_eq!(tokens(&tokenizer, "aaaaa", PLAIN), ["aaa", "aa"]);
}

#[test]
fn phi_3_takes_whitespace_after_its_special_tokens() {
    let mut source = Source::sentencepiece(&["▁h", "▁hi", "hi", "h", "i", "▁"]);
    source.token("<|user|>", USER_DEFINED, 0.0);
    source.set("general.name", Value::String("Phi-3 mini".into()));
    let tokenizer = source.build().unwrap();
    assert_eq!(
        tokens(&tokenizer, "<|user|>\n hi", PARSED),
        ["<|user|>", "▁hi"]
    );
    assert_eq!(tokens(&tokenizer, "<s> hi", PARSED), ["<s>", "▁", "▁hi"]);
}

#[test]
fn ends_of_generation_are_known_by_name() {
    let mut source = Source::byte_level("gpt-4o", &[]);
    let [end, ret, call, html] =
        ["<|end|>", "<|return|>", "<|call|>", "</s>"].map(|text| source.token(text, NORMAL, 0.0));
    let eos = source.token("<stop>", CONTROL, 0.0);
    source.set("tokenizer.ggml.eos_token_id", Value::U32(eos));
    let tokenizer = source.build().unwrap();
    assert_eq!(tokenizer.end_of_generation(), [ret, call, eos]);
    assert!(!tokenizer.is_end_of_generation(end) && !tokenizer.is_end_of_generation(html));
}

#[test]
fn escaped_vocabularies_spell_blanks_and_bytes() {
    let mut source = Source::default();
    source.set("tokenizer.ggml.model", Value::String("gemma4".into()));
    source.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
    for text in ["▁", "h", "i", "hi", "▁hi", "\n", "\n\n"] {
        source.token(text, NORMAL, 0.0);
    }
    for byte in 0..=u8::MAX {
        source.token(&format!("<0x{byte:02X}>"), BYTE, 0.0);
    }
    source.merges = ["h i", "▁ hi"].map(Into::into).into();
    let bos = source.token("<bos>", CONTROL, 0.0);
    source.set("tokenizer.ggml.bos_token_id", Value::U32(bos));
    let tokenizer = source.build().unwrap();
    assert!(tokenizer.add_bos());
    let text = "hi hi\n\né";
    let ids = tokenizer.encode(text, PLAIN).unwrap();
    assert_eq!(
        tokens(&tokenizer, text, PLAIN),
        ["hi", "▁hi", "\n\n", "<0xC3>", "<0xA9>"]
    );
    assert_eq!(
        tokenizer.decode(&ids, DecodeOptions::default()).unwrap(),
        text
    );
}

#[test]
fn a_missing_pre_tokenizer_warns_and_an_unknown_one_fails() {
    let mut source = Source::byte_level("", &[]);
    source.metadata = Metadata::new();
    source.set("tokenizer.ggml.model", Value::String("gpt2".into()));
    let tokenizer = source.build().unwrap();
    assert!(tokenizer.warning().is_some());
    assert_eq!(tokenizer.pre_tokenizer_name(), Some("default"));

    let error = Source::byte_level("tomorrow", &[]).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "pre-tokenizer `tomorrow` is unknown; refusing to guess how it splits text"
    );
}

#[test]
fn hostile_vocabularies_are_errors() {
    use TokenizerError as E;
    let bytes = || Source::byte_level("qwen2", &["ab"]);
    let pieces = || Source::sentencepiece(&["a"]);
    let broken = |mut source: Source, change: &dyn Fn(&mut Source)| {
        change(&mut source);
        source.build().unwrap_err()
    };
    let u32 = Value::U32;
    let text = |text: &str| Value::String(text.into());

    let error = broken(bytes(), &|s| s.set("tokenizer.ggml.model", text("bert")));
    assert!(matches!(error, E::UnsupportedModel { .. }));
    let error = broken(bytes(), &|s| s.set("tokenizer.ggml.model", u32(3)));
    assert!(matches!(error, E::Metadata(_)));
    let error = broken(Source::default(), &|s| {
        s.set("tokenizer.ggml.model", text("llama"))
    });
    assert!(matches!(error, E::VocabularySize { len: 0 }));
    let error = broken(bytes(), &|s| s.merges.push("a nowhere".into()));
    assert!(matches!(error, E::MergeToken { index: 1, .. }));
    for merge in ["", " ", "a", "a ", " a", "é"] {
        let error = broken(bytes(), &|s| s.merges.push(merge.into()));
        assert!(
            matches!(error, E::MalformedMerge { index: 1, .. }),
            "{merge:?}"
        );
    }
    let error = broken(bytes(), &|s| {
        s.token("ab", NORMAL, 0.0);
    });
    assert!(matches!(error, E::DuplicateToken { .. }));
    let error = broken(pieces(), &|s| s.scores.truncate(9));
    assert!(matches!(error, E::ShortArray { .. }));
    let error = broken(pieces(), &|s| s.types.truncate(9));
    assert!(matches!(error, E::ShortArray { .. }));
    let error = broken(pieces(), &|s| s.scores[7] = f32::NAN);
    assert!(matches!(error, E::Score { id: 7 }));
    let error = broken(pieces(), &|s| s.types[7] = -1);
    assert!(matches!(error, E::TokenType { id: 7, found: -1 }));
    for byte in ["<0xé>", "<0x+1>", "<0x1>", "x", ""] {
        let error = broken(pieces(), &|s| {
            s.token(byte, BYTE, 0.0);
        });
        assert!(matches!(error, E::ByteToken { .. }), "{byte:?}");
    }
    let error = broken(bytes(), &|s| {
        s.set("tokenizer.ggml.eos_token_id", u32(9999))
    });
    assert!(matches!(error, E::SpecialId { id: 9999, .. }));
    let error = broken(bytes(), &|s| {
        s.set("tokenizer.ggml.add_bos_token", Value::Bool(true))
    });
    assert!(matches!(error, E::NoSpecialId { .. }));
    let error = broken(bytes(), &|s| {
        s.set("tokenizer.ggml.merges", Value::Bool(true))
    });
    assert_eq!(error.to_string().lines().count(), 1);
}

#[test]
fn what_a_vocabulary_lacks_is_an_error_when_it_is_met() {
    let mut source = Source::byte_level("qwen2", &[]);
    source.tokens[usize::from(b'z')] = "[free]".into();
    let tokenizer = source.build().unwrap();
    assert!(tokenizer.encode("a", PLAIN).is_ok());
    assert_eq!(
        tokenizer.encode("az", PLAIN),
        Err(TokenizerError::NoByteToken { byte: b'z' })
    );
    assert_eq!(
        tokenizer.decode(&[256], DecodeOptions::default()),
        Err(TokenizerError::UnknownId { id: 256, len: 256 })
    );
    assert_eq!(tokenizer.token_bytes(TokenId::MAX), None);
}

/// A byte-level vocabulary in which some merges cut characters.
fn stream_tokenizer() -> Tokenizer {
    let mut source = Source::byte_level("qwen2", &["the", " the", "é", "漢", "  "]);
    source.token("<|im_end|>", CONTROL, 0.0);
    source.build().unwrap()
}

proptest! {
    #[test]
    fn encoding_is_undone_by_decoding(text in "(the| |é|漢|🦙|\\PC|\n){0,40}") {
        let tokenizer = stream_tokenizer();
        let ids = tokenizer.encode(&text, PLAIN).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids, DecodeOptions::default()).unwrap(), text);
    }

    #[test]
    fn streamed_text_is_the_whole_text(ids in prop::collection::vec(0..270_u32, 0..60)) {
        let tokenizer = stream_tokenizer();
        let ids: Vec<u32> =
            ids.into_iter().filter(|&id| (id as usize) < tokenizer.vocab_len()).collect();
        let bytes: Vec<u8> =
            ids.iter().flat_map(|&id| tokenizer.token_bytes(id).unwrap()).copied().collect();

        let mut detokenizer = Detokenizer::new(&tokenizer, DecodeOptions::default());
        let mut streamed = String::new();
        let mut taken = 0;
        for &id in &ids {
            taken += tokenizer.token_bytes(id).unwrap().len();
            streamed += detokenizer.push(&tokenizer, id).unwrap();
            // Held back is only the start of a character.
            let now = String::from_utf8_lossy(&bytes[..taken]).into_owned();
            let missing = now.strip_prefix(&streamed).unwrap();
            prop_assert!(["", "\u{FFFD}"].contains(&missing), "{missing:?} is held back");
        }
        streamed += detokenizer.finish();
        prop_assert_eq!(&streamed, &String::from_utf8_lossy(&bytes));
        prop_assert_eq!(streamed, tokenizer.decode(&ids, DecodeOptions::default()).unwrap());
    }

    #[test]
    fn any_text_is_encoded_or_refused(text: String, add_special: bool, parse_special: bool) {
        let options = EncodeOptions { add_special, parse_special };
        let pieces = Source::sentencepiece(&["▁", "a", "▁a", "e", "<", "aa"]).build().unwrap();
        prop_assert!(pieces.encode(&text, options).is_ok());
        prop_assert!(stream_tokenizer().encode(&text, options).is_ok());
    }
}

#[test]
fn time_is_linear_and_the_stack_small() {
    let words = ["aaaaaaaa", "        ", "\n\n\n\n", "!!!!", "漢漢", "🦙"];
    let pieces = ["a", "aa", "aaaa", "▁", "▁▁", "▁▁▁▁", "!", "!!", "漢", "\n"];
    let tokenizers = [
        Source::sentencepiece(&pieces).build().unwrap(),
        Source::byte_level("qwen2", &words).build().unwrap(),
        Source::byte_level("jais-2", &words).build().unwrap(),
        Source::byte_level("deepseek-llm", &words).build().unwrap(),
    ];
    // A debug build is an order of magnitude slower.
    let unit = if cfg!(debug_assertions) {
        1 << 16
    } else {
        1 << 20
    };
    for tokenizer in &tokenizers {
        for run in [
            "a", " ", "\n", "7", "!", "漢", "🦙", "e\u{301}", " .", "<", "'",
        ] {
            let seconds = |len: usize| {
                let text = run.repeat(len / run.len());
                let start = Instant::now();
                tokenizer.encode(&text, PARSED).unwrap();
                start.elapsed().as_secs_f64()
            };
            let (short, long) = std::thread::scope(|scope| {
                std::thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn_scoped(scope, || (seconds(unit), seconds(8 * unit)))
                    .unwrap()
                    .join()
                    .unwrap()
            });
            // Quadratic time would be a factor of 64; machines are noisy.
            assert!(
                long < 32.0 * short + 0.5,
                "{run:?}: {short} s, then {long} s"
            );
        }
    }
}
