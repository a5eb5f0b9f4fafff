//! The verbs that show and run a model: `inspect`, `logits`, `perplexity`.

use crate::binary::{json, outrigger, printed, reference, refusal, text};
use std::{fs, path::Path};

/// The values of a float32 array file, with its shape as it is written there.
fn npy(path: &Path) -> (String, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(data.is_multiple_of(64));
    let header = std::str::from_utf8(&bytes[10..data]).unwrap();
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"));
    let shape = header.split_once("'shape': ").unwrap().1;
    let shape = shape.split_inclusive(')').next().unwrap().to_owned();
    let values = bytes[data..].chunks_exact(4);
    let values = values.map(|raw| f32::from_le_bytes(raw.try_into().unwrap()));
    (shape, values.collect())
}

/// Squared differences, as a share of the reference's squares.
fn nmse(found: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let differences = found.iter().zip(wanted).map(|(a, b)| square(a - b));
    differences.sum::<f64>() / wanted.iter().map(|&b| square(b)).sum::<f64>()
}

#[test]
fn logits_are_those_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("logits.npy");
    for model in ["mistral", "qwen3", "gemma3"] {
        let facts = fs::read_to_string(reference(model, "ref.json")).unwrap();
        let facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
        for len in ["1", "64", "300"] {
            let ids = folder.path().join("ids.json");
            fs::write(&ids, facts["inputs"][len].to_string()).unwrap();
            let tokens = format!("@{}", ids.display());
            let file = reference(model, &format!("{model}-F16.gguf"));
            let arguments = [
                "logits",
                "-m",
                text(&file),
                "--tokens",
                &tokens,
                "-o",
                text(&out),
            ];
            assert_eq!(printed(&arguments, b""), "");
            let (shape, found) = npy(&out);
            let (_, wanted) = npy(&reference(model, &format!("logits-float-{len}.npy")));
            let vocab = facts["n_vocab"].as_u64().unwrap() as usize;
            assert_eq!(shape, format!("({len}, {vocab})"));
            // The reference has the rows of some positions.
            let positions = facts["references"]["float"]["positions"][len].as_array();
            let rows = positions.unwrap().iter().flat_map(|position| {
                let position = position.as_u64().unwrap() as usize;
                found[position * vocab..][..vocab].iter().copied()
            });
            let found: Vec<f32> = rows.collect();
            let nmse = nmse(&found, &wanted);
            assert!(nmse < 1e-5, "{model} {len}: {nmse:e}");
        }
    }
}

#[test]
fn logits_leave_no_half_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("logits.npy");
    let model = reference("qwen3", "qwen3-Q4_0.gguf");
    let logits = |tokens: &str, more: &[&str]| {
        let arguments = [
            "logits",
            "-m",
            text(&model),
            "-o",
            text(&out),
            "--tokens",
            tokens,
        ];
        refusal(&[arguments.as_slice(), more].concat(), 1)
    };
    let said = logits("1,260", &[]);
    assert!(
        said.ends_with("token 260 is beyond the vocabulary of 260"),
        "{said}"
    );
    let said = logits("1,2,3", &["-c", "2"]);
    assert_eq!(said, "3 tokens do not fit a context of 2; raise --ctx-size");
    let said = logits("[]", &[]);
    assert_eq!(said, "--tokens names no token; give at least one id");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn inspect_shows_what_is_there() {
    let folder = reference("qwen3", "ref.json");
    let shown = outrigger()
        .current_dir(folder.parent().unwrap())
        .args(["inspect", "qwen3-Q4_0.gguf"])
        .output()
        .unwrap();
    insta::assert_snapshot!("inspect_qwen3", String::from_utf8(shown.stdout).unwrap());

    let model = reference("qwen3", "qwen3-Q4_0.gguf");
    let found = json(&["inspect", "--json", text(&model)], b"");
    assert_eq!(found["architecture"], "qwen3");
    let metadata = &found["metadata"];
    assert_eq!(metadata["qwen3.block_count"]["type"], "u32");
    assert_eq!(metadata["qwen3.block_count"]["value"], 2);
    let tokens = metadata["tokenizer.ggml.tokens"]["value"].as_array();
    assert_eq!(tokens.unwrap().len(), 260);
    let bytes = |list: &str| {
        let list = found[list].as_array().unwrap().iter();
        list.map(|item| item["bytes"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(bytes("tensors"), bytes("types"));
    assert_eq!(Some(bytes("tensors")), found["tensor_bytes"].as_u64());
}

/// Words that the small vocabularies spell in some thousand tokens.
fn prose() -> String {
    let words = ["the", "hen", "ate", "then", "he", "heard", "that", "other"];
    let words = (0..900_usize).map(|i| words[(i * i + i / 7) % words.len()]);
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_model_does_not_diverge_from_itself_but_its_quantization_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.txt");
    fs::write(&file, prose()).unwrap();
    let base = folder.path().join("base.kld");
    let (exact, quantized) = (
        reference("qwen3", "qwen3-F16.gguf"),
        reference("qwen3", "qwen3-Q4_0.gguf"),
    );
    let common = [
        "perplexity",
        "--json",
        "-c",
        "64",
        "--kl-divergence-base",
        text(&base),
    ];
    let save = [common.as_slice(), &["-m", text(&exact), "-f", text(&file)]].concat();
    let saved = json(&save, b"");
    let windows = saved["windows"].as_u64().unwrap();
    assert!(windows > 10);
    assert_eq!(saved["tokens_scored"], windows * 31);
    let compare = |model: &Path| {
        let more = ["-m", text(model), "--kl-divergence"];
        json(&[common.as_slice(), &more].concat(), b"")
    };
    let figure =
        |found: &serde_json::Value, path: &str| found.pointer(path).unwrap().as_f64().unwrap();
    let itself = compare(&exact);
    // What is left is the 16 bits that log-probabilities are saved in.
    assert!(figure(&itself, "/kld/mean/value").abs() < 1e-5);
    assert!(figure(&itself, "/ppl_ratio/value") - 1.0 < 1e-3);
    assert!(figure(&itself, "/same_top/value") > 0.99);
    let ppl = figure(&saved, "/ppl/value");
    assert!((figure(&itself, "/ppl/value") / ppl - 1.0).abs() < 1e-6);
    let other = compare(&quantized);
    assert!(figure(&other, "/kld/mean/value") > 1e-3);
    assert!(figure(&other, "/same_top/value") < 1.0);

    let other_context = [common.as_slice(), &["-m", text(&exact), "--kl-divergence"]].concat();
    let other_context: Vec<&str> = other_context
        .into_iter()
        .map(|word| if word == "64" { "32" } else { word })
        .collect();
    assert_eq!(
        refusal(&other_context, 1),
        "the base was saved with --ctx-size 64, not 32; leave it out"
    );
    fs::write(&base, "_logits_ and then nothing of the kind").unwrap();
    let more = ["-m", text(&exact), "--kl-divergence"];
    refusal(&[common.as_slice(), &more].concat(), 1);
}

#[test]
fn perplexity_prints_as_it_goes() {
    let model = reference("qwen3", "qwen3-Q4_0.gguf");
    let arguments = [
        "perplexity",
        "-m",
        text(&model),
        "-c",
        "64",
        "--chunks",
        "2",
        "-f",
        "-",
    ];
    let text = printed(&arguments, prose().as_bytes());
    assert!(text.starts_with("[1]") && text.contains(",[2]"), "{text}");
    assert!(text.contains("\nFinal estimate: PPL = "), "{text}");
    let strided = [arguments.as_slice(), &["--ppl-stride", "16"]].concat();
    assert_ne!(printed(&strided, prose().as_bytes()), text);
    let said = refusal(&arguments, 1);
    assert!(said.contains("but two windows take 128"), "{said}");
}
