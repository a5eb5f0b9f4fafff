//! `outrigger bench`.

use crate::binary::{json, outrigger, printed, reference, refusal, text};
use std::{
    process::Stdio,
    time::{Duration, Instant},
};

#[test]
fn json_has_the_fields_of_llama_bench_and_ours() {
    let flags = [
        "bench",
        "--json",
        "-p",
        "8",
        "-n",
        "3",
        "-d",
        "0,5",
        "-r",
        "2",
        "-t",
        "1",
        "--columns",
        "1,2",
        "--kv",
        "q8_0",
    ];
    let records = json(&flags, b"");
    let records = records.as_array().unwrap();
    let names: Vec<&str> = records
        .iter()
        .map(|r| r["test"].as_str().unwrap())
        .collect();
    let wanted = [
        "pp8",
        "tg3",
        "tg3 @ b2",
        "pp8 @ d5",
        "tg3 @ d5",
        "tg3 @ d5 b2",
    ];
    assert_eq!(names, wanted);

    let last = records.last().unwrap();
    for (field, value) in [
        ("n_prompt", 0),
        ("n_gen", 3),
        ("n_depth", 5),
        ("n_parallel", 2),
        ("n_threads", 1),
        ("n_batch", 512),
        ("n_ubatch", 512),
    ] {
        assert_eq!(last[field], value, "{field}");
    }
    for (field, value) in [
        ("backends", "CPU"),
        ("gpu_info", ""),
        ("type_k", "q8_0"),
        ("type_v", "q8_0"),
    ] {
        assert_eq!(last[field], value, "{field}");
    }
    for field in [
        "build_commit",
        "cpu_info",
        "model_filename",
        "isa",
        "kernel_set",
    ] {
        assert!(last[field].is_string(), "{field}");
    }
    assert!(last["build_number"].is_u64());
    assert!(last["model_type"].as_str().unwrap().starts_with("llama 3."));
    assert!(last["model_size"].as_u64() > last["model_n_params"].as_u64());
    let time = last["test_time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.len() == 20, "{time}");

    let figures = |field: &str| -> Vec<f64> {
        let values = last[field].as_array().unwrap();
        values.iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let (ns, rates) = (figures("samples_ns"), figures("samples_ts"));
    assert_eq!((ns.len(), rates.len()), (2, 2));
    for (ns, rate) in ns.iter().zip(&rates) {
        // Three tokens of each of two sequences.
        assert!((rate * ns / 6e9 - 1.0).abs() < 1e-9, "{rate} {ns}");
    }
    let figure = |field: &str| last[field].as_f64().unwrap();
    assert!((figure("avg_ts") - (rates[0] + rates[1]) / 2.0).abs() < 1e-6 * rates[0]);
    assert!((figure("avg_ns") - (ns[0] + ns[1]) / 2.0).abs() <= 1.0);
    assert!(figure("stddev_ts") >= 0.0 && figure("stddev_ns") >= 0.0);

    // Before each repetition and after the last.
    assert_eq!(figures("read_bandwidth_samples").len(), 3);
    let roofline = figure("bytes_per_token") * figure("avg_ts") / figure("read_bandwidth");
    assert!((roofline / figure("roofline") - 1.0).abs() < 1e-9);
    // A prompt is not bound by reading.
    assert!(records[0]["bytes_per_token"].is_null() && records[0]["roofline"].is_null());
    if cfg!(target_os = "linux") {
        let peak = figure("peak_rss_bytes");
        assert!(peak >= figure("peak_anonymous_bytes") && figure("peak_file_bytes") > 0.0);
    }
}

#[test]
fn two_sequences_read_the_weights_once() {
    let flags = [
        "bench",
        "--json",
        "-p",
        "0",
        "-n",
        "1",
        "-r",
        "1",
        "--columns",
        "1,2",
    ];
    let records = json(&flags, b"");
    let bytes = |index: usize| records[index]["bytes_per_token"].as_f64().unwrap();
    assert!(bytes(1) < 0.6 * bytes(0), "{} {}", bytes(0), bytes(1));
}

#[test]
fn the_table_names_tests_and_limits() {
    let table = printed(&["bench", "-p", "4", "-n", "2", "-r", "1"], b"");
    for word in [
        "GB/token",
        "read GB/s",
        "roofline",
        "pp4",
        "tg2",
        "kernels: ",
    ] {
        assert!(table.contains(word), "{word} is not in {table}");
    }
}

/// Every row but those that only some models and batches have.
const OPERATIONS: [&str; 15] = [
    "hand-over",
    "embed, norm",
    "q, k, v",
    "rope, kv store",
    "attention",
    "attention output",
    "residual, ffn norm",
    "ffn gate, up",
    "ffn down",
    "residual, next norm",
    "head norm",
    "head",
    "hand-back",
    "between passes",
    "ffn quantize",
];

#[test]
fn a_profile_tells_where_all_of_the_time_goes() {
    let flags = [
        "bench",
        "--profile",
        "-p",
        "40",
        "-n",
        "3",
        "-d",
        "0,600",
        "-r",
        "2",
    ];
    for threads in ["1", "2"] {
        let flags = [&flags[..], &["-t", threads, "--json"]].concat();
        let records = json(&flags, b"");
        let records = records.as_array().unwrap();
        assert_eq!(records.len(), 4);
        for record in records {
            let profile = &record["profile"];
            let rows = profile["rows"].as_array().unwrap();
            let names: Vec<_> = rows
                .iter()
                .map(|r| r["operation"].as_str().unwrap())
                .collect();
            for name in &OPERATIONS {
                assert!(names.contains(name), "{name} is not in {names:?}");
            }
            let sum = |field: &str| -> f64 { rows.iter().filter_map(|r| r[field].as_f64()).sum() };
            let whole = profile["us_per_token"].as_f64().unwrap();
            assert!(
                (sum("us_per_token") / whole - 1.0).abs() < 0.01,
                "{profile}"
            );
            assert!((sum("share") - 1.0).abs() < 0.01, "{profile}");
            let tokens = record["n_prompt"].as_u64().unwrap() + record["n_gen"].as_u64().unwrap();
            let measured = record["avg_ns"].as_f64().unwrap() / tokens as f64 / 1e3;
            assert!((whole / measured - 1.0).abs() < 0.01, "{whole} {measured}");
            let generates = record["n_gen"].as_u64() > Some(0);
            assert_eq!(profile["sampling_us_per_token"].is_f64(), generates);
            assert_eq!(profile["passes"], if generates { 6 } else { 2 });
            if generates {
                let bytes = record["bytes_per_token"].as_f64().unwrap();
                // One takes the middle of the test for all, the other each position.
                assert!(
                    (sum("bytes_per_token") / bytes - 1.0).abs() < 0.01,
                    "{record}"
                );
            }
        }
    }
}

#[test]
fn a_profile_of_experts_has_their_operations() {
    let flags = ["bench", "--profile", "-p", "4", "-n", "2", "-r", "1", "-m"];
    let model = reference("qwen2moe", "qwen2moe-Q8_0.gguf");
    let printed = printed(&[&flags[..], &[text(&model)]].concat(), b"");
    for name in [
        "router",
        "choice of experts",
        "experts gate, up",
        "experts down",
        "shared weight",
        "shared gate, up",
        "shared down",
        "sampling, besides",
    ] {
        assert!(printed.contains(name), "{name} is not in {printed}");
    }
    assert!(!printed.contains("ffn gate, up"), "{printed}");
    let plain = json(&["bench", "--json", "-p", "0", "-n", "1", "-r", "1"], b"");
    assert!(plain[0]["profile"].is_null());
}

#[test]
fn a_made_model_is_measured_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let flags = [
        "bench",
        "--json",
        "--shape",
        "tiny",
        "--quant",
        "q4_k_m",
        "-p",
        "4",
        "-n",
        "0",
        "-r",
        "1",
        "--save",
        text(&path),
    ];
    let records = json(&flags, b"");
    assert_eq!(records[0]["model_type"], "llama 1.20 M Q4_K_M");
    let metadata = json(&["inspect", "--json", text(&path)], b"");
    assert_eq!(metadata["metadata"]["general.file_type"]["value"], 15);
    let logits = folder.path().join("logits.npy");
    let flags = [
        "logits",
        "-m",
        text(&path),
        "--tokens",
        "1,2,3",
        "-o",
        text(&logits),
    ];
    printed(&flags, b"");
    let bytes = std::fs::read(&logits).unwrap();
    // The array is the end of the file.
    let values = &bytes[bytes.len() - 4 * 3 * 320..];
    let finite = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes).is_finite();
    assert!(values.as_chunks().0.iter().all(finite));
}

#[test]
fn what_cannot_be_measured_is_said_in_a_sentence() {
    let said = |flags: &[&str], code| refusal(&[&["bench"], flags].concat(), code);
    assert_eq!(
        said(&["-p", "0", "-n", "0"], 2),
        "nothing to measure; -p and -n name no token"
    );
    assert!(said(&["-p", "x"], 2).contains("ranges such as"));
    assert!(said(&["-t", "0"], 2).contains("at least 1"));
    assert!(said(&["-r", "0"], 2).contains("--repetitions"));
    assert!(said(&["--kv", "f16,f8"], 2).contains("f16, f32 and q8_0"));
    assert!(said(&["--shape", "llama-1b"], 2).contains("--quant"));
    assert!(said(&["--shape", "x", "--quant", "q4_0"], 2).contains("llama-1b"));
    assert!(said(&["--shape", "tiny", "--quant", "q9"], 2).contains("q4_k_m"));
    assert!(said(&["--save", "x"], 2).contains("--shape"));
    let both = ["-m", "m.gguf", "--shape", "tiny", "--quant", "q4_0"];
    assert!(said(&both, 2).contains("give one of them"));
    assert!(said(&["-m", "/nowhere/m.gguf"], 1).contains("cannot open /nowhere/m.gguf"));
    // Formats that only ggml encodes cannot be made.
    let rare = ["--shape", "tiny", "--quant", "iq4_nl"];
    assert!(said(&rare, 1).contains("no encoder for IQ4_NL"));
}

#[test]
#[cfg(target_os = "linux")]
fn ctrl_c_ends_a_measurement() {
    let mut child = outrigger()
        .args(["bench", "-p", "0", "-n", "100000", "-r", "1000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let id = child.id().to_string();
    // More than the main thread: the team computes, so the verb is under way.
    let threads = || {
        std::fs::read_dir(format!("/proc/{id}/task"))
            .unwrap()
            .count()
    };
    while threads() < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(sent.unwrap().success());
    let started = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(30));
}
