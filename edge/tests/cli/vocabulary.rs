//! The verbs that need a vocabulary alone: `tokenize` and `template`.

use crate::binary::{json, printed, reference, refusal, text};
use outrigger_runtime::gguf::{Gguf, Value, Writer};
use std::{fs, path::Path};

/// Writes a GGUF without tensors: the metadata of a reference model, and more.
fn vocabulary(path: &Path, further: &[(&str, &str)]) {
    let model = Gguf::open(&reference("mistral", "mistral-F16.gguf")).unwrap();
    let mut metadata = model.metadata().clone();
    metadata.insert("tokenizer.ggml.add_bos_token", Value::Bool(true));
    for (key, value) in further {
        metadata.insert(key, Value::String((*value).into()));
    }
    let file = fs::File::create(path).unwrap();
    Writer::new(file, &metadata, &[]).unwrap().finish().unwrap();
}

#[test]
fn text_comes_back_from_its_ids() {
    for (model, file) in [
        ("mistral", "mistral-F16.gguf"),
        ("qwen3", "qwen3-Q4_0.gguf"),
    ] {
        let model = reference(model, file);
        let model = text(&model);
        for sample in [
            "",
            "the hen",
            "  two  blanks\n",
            "naïve 🦙\u{0}\t",
            "- dash",
        ] {
            let ids = printed(&["tokenize", "-m", model, "--ids", "-"], sample.as_bytes());
            let parsed: Vec<u32> = serde_json::from_str(&ids).unwrap();
            let back = printed(&["tokenize", "-m", model, "--decode", "-"], ids.as_bytes());
            assert_eq!(back, sample, "{parsed:?}");
        }
    }
}

#[test]
fn ids_are_shown_with_their_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("vocabulary.gguf");
    vocabulary(&model, &[]);
    let model = text(&model);
    insta::assert_snapshot!(printed(&["tokenize", "-m", model, "the", "é<|eos|>"], b""));
    let found = json(&["tokenize", "-m", model, "--json", "the"], b"");
    let ids = found["ids"].as_array().unwrap();
    assert_eq!(ids.len(), found["pieces"].as_array().unwrap().len());
    let without = json(&["tokenize", "-m", model, "--ids", "--no-bos", "the"], b"");
    assert_eq!(without.as_array().unwrap(), &ids[1..]);
    let plain = [
        "tokenize",
        "-m",
        model,
        "--ids",
        "--no-parse-special",
        "<|eos|>",
    ];
    assert!(json(&plain, b"").as_array().unwrap().len() > 2);
}

#[test]
fn ids_are_checked() {
    let model = reference("qwen3", "qwen3-Q4_0.gguf");
    let decode = |ids| refusal(&["tokenize", "-m", text(&model), "--decode", ids], 1);
    assert_eq!(decode("1,x"), "`x` is not a token id; write ids as 1,2,3");
    let beyond = "token id 260 is not in the vocabulary of 260 tokens";
    assert!(decode("260").ends_with(beyond));
    let special = ["tokenize", "-m", text(&model), "--decode", "258"];
    assert_eq!(printed(&special, b""), "");
    let special = [special.as_slice(), &["--special"]].concat();
    assert_ne!(printed(&special, b""), "");
}

#[test]
fn a_model_without_weights_has_a_template() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("vocabulary.gguf");
    let template = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n\
                    {% endfor %}{% if add_generation_prompt %}assistant:{% endif %}{{ mood }}";
    vocabulary(
        &model,
        &[
            ("tokenizer.chat_template", template),
            (
                "tokenizer.chat_template.rag",
                "{{ eos_token }}{{ strftime_now('%Y') }}",
            ),
            (
                "tokenizer.chat_template.strict",
                "{{ raise_exception('no tools here') }}",
            ),
        ],
    );
    let model = text(&model);
    printed(&["tokenize", "-m", model, "the"], b"");
    let chat = br#"{"messages": [{"role": "user", "content": "hi"}], "mood": "!",
                    "add_generation_prompt": true, "now": "2025-01-15T12:30:45"}"#;
    let render = ["template", "-m", model, "--messages", "-"];
    assert_eq!(printed(&render, chat), "<|bos|>user: hi\nassistant:!");
    let rag = [render.as_slice(), &["--name", "rag", "--json"]].concat();
    assert_eq!(json(&rag, chat)["text"], "<|eos|>2025");
    let undefined = br#"{"messages": [], "bos_token": null}"#;
    assert_eq!(printed(&render, undefined), "");

    let file = folder.path().join("chat.json");
    fs::write(&file, chat).unwrap();
    let render = ["template", "-m", model, "--messages", text(&file)];
    let strict = [render.as_slice(), &["--name", "strict"]].concat();
    assert_eq!(refusal(&strict, 1), "no tools here");
    let absent = [render.as_slice(), &["--name", "poem"]].concat();
    let said = refusal(&absent, 2);
    let wanted = "the model has no template variant `poem`; there are rag, strict";
    assert!(said.ends_with(wanted), "{said}");
}

#[test]
fn a_template_may_stand_alone() {
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("t.jinja");
    fs::write(&template, "{{ messages[0].content }}|{{ bos_token }}").unwrap();
    let chat = br#"{"messages": [{"content": "a"}], "bos_token": "<b>"}"#;
    let render = ["template", "--template", text(&template), "--messages", "-"];
    assert_eq!(printed(&render, chat), "a|<b>");
    fs::write(&template, "{% for %}").unwrap();
    let file = folder.path().join("chat.json");
    fs::write(&file, chat).unwrap();
    let render = [
        "template",
        "--template",
        text(&template),
        "--messages",
        text(&file),
    ];
    assert!(refusal(&render, 1).contains("line 1"));
    fs::write(&template, "").unwrap();
    fs::write(&file, "[]").unwrap();
    assert!(refusal(&render, 1).contains("an object with `messages`"));
}

#[test]
fn what_a_terminal_acts_on_is_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("hostile.gguf");
    let hostile = "\u{1b}[2J\u{9b}31m\u{202e}x";
    vocabulary(&model, &[("general.name", hostile), (hostile, "value")]);
    for flags in [&[][..], &["--json"]] {
        let arguments = [&["inspect", text(&model)], flags].concat();
        let shown = printed(&arguments, b"");
        let acting = |c: char| c.is_control() && c != '\n';
        assert!(!shown.contains(acting), "{flags:?}");
    }
    let found = json(&["inspect", "--json", text(&model)], b"");
    assert_eq!(found["name"], hostile);
}
