//! Logits and greedy continuations against those that Hugging Face
//! transformers computed from the same weights.

use outrigger_runtime::{gguf::Format, kv::SequenceId, transcript::Class};
use outrigger_tests::{
    local::{Options, argmax, load, logits, pipeline},
    reference::{Expected, Reference, nmse, own_folder, own_references, shared_references},
    rewrite::rewrite,
};
use std::{collections::BTreeMap, fs, path::Path};

/// llama.cpp's worst NMSE on the files of the shared fixtures, from their
/// README. Ours may be at most 1.5 times as large.
const LLAMA_CPP: &[(&str, f64)] = &[
    ("gemma2-Q8_0.gguf", 6.8e-4),
    ("gemma2-Q4_0.gguf", 7.0e-4),
    ("llama-Q8_0.gguf", 5.0e-4),
    ("llama-Q4_0.gguf", 4.9e-4),
    ("llama-Q4_K_M.gguf", 1.0e-3),
    ("llama-Q5_K_M.gguf", 1.0e-3),
    ("llama-Q6_K.gguf", 9.9e-4),
    ("phi3-Q8_0.gguf", 5.4e-4),
    ("phi3-Q4_0.gguf", 5.3e-4),
    ("qwen2-Q8_0.gguf", 5.7e-4),
    ("qwen2-Q4_0.gguf", 5.2e-4),
];

const SEQUENCE: SequenceId = SequenceId(0);

/// What a file's precision allows.
struct Limits {
    nmse: f64,
    /// Greedy tokens may differ from where the margin is below this.
    margin: f32,
}

fn limits(file: &str, experts: bool) -> Limits {
    let limit = |nmse, margin| Limits { nmse, margin };
    match file.rsplit('-').next().unwrap_or_default() {
        "F32.gguf" => limit(1e-9, 0.001),
        "F16.gguf" => limit(1e-5, 0.01),
        "BF16.gguf" => limit(2e-4, 0.05),
        // Rounding to 8 bits can change which expert is chosen.
        _ if experts => limit(3e-2, 1.0),
        _ => limit(5e-3, 1.0),
    }
}

/// Positions a sequence may have while the input of `len` ids is run. Phi-3's
/// long factors are for contexts above 256 in its reference.
fn context(len: usize) -> u32 {
    if len < 200 { 256 } else { 512 }
}

fn check_file(reference: &Reference, path: &Path, file: &str, peer: Option<f64>) -> String {
    let experts = reference.gguf_arch.contains("moe") || reference.name() == "mixtral";
    let limits = limits(&path.file_name().unwrap().to_string_lossy(), experts);
    let mut line = format!("{:<28}", path.file_name().unwrap().to_string_lossy());
    let mut worst = 0.0f64;
    for (key, ids) in &reference.inputs {
        let Some((positions, expected)) = reference.logits(file, key) else {
            continue;
        };
        let options = Options {
            context: context(ids.len()),
            ..Options::default()
        };
        let model = load(path, &options);
        let mut outputs: Vec<Vec<Vec<f32>>> = Vec::new();
        let ways = [
            (Class::Prompt, 512),
            (Class::Generated, 7),
            (Class::Generated, 1),
        ];
        // All ways for one input; one way is enough for the others.
        let ways = if key == "64" { &ways[..] } else { &ways[..1] };
        for &(class, chunk) in ways {
            let mut pipeline = pipeline(&model, &options);
            pipeline.create(SEQUENCE).unwrap();
            outputs.push(logits(&mut pipeline, SEQUENCE, ids, class, chunk).unwrap());
        }
        for output in &outputs {
            let pairs = positions.iter().enumerate().flat_map(|(row, &position)| {
                output[position]
                    .iter()
                    .zip(expected.row(row))
                    .map(|(&a, &b)| (a, b))
            });
            let nmse = nmse(pairs);
            worst = worst.max(nmse);
            assert!(
                nmse <= limits.nmse,
                "{}: NMSE {nmse:.1e} on {key} ids is above {:.0e}",
                path.display(),
                limits.nmse
            );
        }
        line += &format!(" {key}:{worst:.1e}");
    }
    if let Some(peer) = peer.filter(|_| !experts) {
        assert!(
            worst <= 1.5 * peer,
            "{}: NMSE {worst:.1e} is above 1.5 times llama.cpp's {peer:.1e}",
            path.display()
        );
        line += &format!(" (llama.cpp {peer:.1e})");
    }
    let equal = check_greedy(reference.expected(file), path, limits.margin);
    line + &format!(" greedy {equal}")
}

/// Returns how many tokens are equal.
fn check_greedy(expected: &Expected, path: &Path, margin: f32) -> usize {
    let greedy = &expected.greedy;
    let options = Options {
        context: context(0),
        ..Options::default()
    };
    let model = load(path, &options);
    let mut pipeline = pipeline(&model, &options);
    pipeline.create(SEQUENCE).unwrap();
    let prompt = logits(&mut pipeline, SEQUENCE, &greedy.prompt, Class::Prompt, 512);
    let mut token = argmax(prompt.unwrap().last().unwrap());
    for (step, (&wanted, &clear)) in greedy.tokens.iter().zip(&greedy.margins).enumerate() {
        if token != wanted {
            assert!(
                clear < margin,
                "{}: token {token} instead of {wanted} at step {step}, where the margin is {clear}",
                path.display()
            );
            return step;
        }
        let next = logits(&mut pipeline, SEQUENCE, &[token], Class::Generated, 1);
        token = argmax(&next.unwrap()[0]);
    }
    greedy.tokens.len()
}

#[test]
fn the_shared_fixtures() {
    let Some(references) = shared_references() else {
        return;
    };
    assert!(references.len() >= 5, "all five models of the fixtures");
    for reference in &references {
        for file in reference.files.keys() {
            let peer = LLAMA_CPP.iter().find(|(name, _)| name == file);
            let path = reference.folder.join(file);
            println!("{}", check_file(reference, &path, file, peer.map(|p| p.1)));
        }
    }
}

#[test]
fn the_models_of_the_repository() {
    let table = fs::read_to_string(own_folder().join("llama_cpp.json")).unwrap();
    let table: BTreeMap<String, serde_json::Value> = serde_json::from_str(&table).unwrap();
    let references = own_references();
    assert!(references.len() >= 20, "all models of tools/reference");
    for reference in &references {
        for file in reference.files.keys() {
            let path = reference.folder.join(file);
            let quantized = !file.contains("F16");
            let peer = table[file]["nmse"]["64"].as_f64().filter(|_| quantized);
            println!("{}", check_file(reference, &path, file, peer));
        }
    }
}

/// Every weight of these models is exact in all three precisions, so one
/// reference serves them all.
#[test]
fn the_models_of_the_repository_in_single_and_brain_precision() {
    let folder = tempfile::tempdir().unwrap();
    for reference in &own_references() {
        let file = format!("{}-F16.gguf", reference.name());
        for format in [Format::F32, Format::BF16] {
            let path = folder
                .path()
                .join(format!("{}-{format}.gguf", reference.name()));
            rewrite(&reference.folder.join(&file), &path, format);
            println!("{}", check_file(reference, &path, &file, None));
            fs::remove_file(&path).unwrap();
        }
    }
}
