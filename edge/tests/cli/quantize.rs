//! Other formats for a model.

use crate::binary::{json, reference, refusal, text};
use std::fs;

#[test]
fn a_model_gets_other_formats() {
    let folder = tempfile::tempdir().unwrap();
    let model = reference("qwen3", "qwen3-F16.gguf");
    let made = folder.path().join("q8_0.gguf");
    let arguments = ["quantize", text(&model), text(&made), "q8_0", "--json"];
    let planned = json(&[&arguments[..], &["--dry-run"]].concat(), b"");
    assert!(!made.exists());
    let report = json(&arguments, b"");
    for key in ["tensor_bytes", "tensors_changed", "bits_per_weight"] {
        assert_eq!(report[key], planned[key], "{key}");
    }
    let found = json(&["inspect", text(&made), "--json"], b"");
    assert_eq!(found["tensor_bytes"], report["tensor_bytes"]);
    assert_eq!(found["metadata"]["general.file_type"]["value"], 7);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn refusals_say_what_is_missing() {
    let model = reference("qwen3", "qwen3-F16.gguf");
    let refusal = |rest: &[&str], code| {
        let arguments = [&["quantize", text(&model), "/nowhere/out.gguf"], rest].concat();
        refusal(&arguments, code)
    };
    assert!(refusal(&["q8"], 2).contains("there are f32, f16, bf16, "));
    assert!(refusal(&["q8_0", "--imatrix", "/nowhere"], 1).contains("/nowhere cannot be read"));
    assert!(refusal(&["q8_0"], 1).contains("/nowhere/out.gguf.part cannot be written"));
    #[cfg(not(feature = "ggml"))]
    assert!(refusal(&["q4_k_m"], 2).contains("one by `cargo build --release --features ggml`"));
}
