//! What the binary says about itself, and of mistakes.

use crate::binary::{outrigger, printed, reference, refusal, text};
use std::{fs, process::Stdio};

/// Every verb, in the order of the help.
const VERBS: [&str; 13] = [
    "run",
    "inspect",
    "tokenize",
    "template",
    "logits",
    "perplexity",
    "bench",
    "quantize",
    "node",
    "pair",
    "policy",
    "doctor",
    "completions",
];

#[test]
fn help_names_the_verbs_and_the_exit_codes() {
    insta::assert_snapshot!("help", printed(&["--help"], b""));
    assert_eq!(printed(&["help"], b""), printed(&["--help"], b""));
}

#[test]
fn help_of_each_verb() {
    // `run` is snapshotted where it is tested.
    for verb in &VERBS[1..] {
        let help = printed(&[verb, "--help"], b"");
        assert!(help.contains("Examples:\n"), "{verb} shows no examples");
        insta::assert_snapshot!(format!("help_{verb}"), help);
    }
}

#[test]
fn the_version_is_the_crates() {
    let version = format!("outrigger {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed(&["--version"], b""), version);
}

#[test]
fn mistakes_are_told_in_a_sentence() {
    let cases: [(&[&str], i32, &str); 10] = [
        (
            &["inspct"],
            2,
            "unrecognized subcommand 'inspct'; tip: a similar subcommand exists: 'inspect'; see \
             `outrigger --help`",
        ),
        (
            &["inspect", "--tensor", "x"],
            2,
            "unexpected argument '--tensor' found; tip: a similar argument exists: '--tensors'; \
             see `outrigger inspect --help`",
        ),
        (
            &["logits", "-m", "x"],
            2,
            "the following required arguments were not provided: --tokens <IDS|@FILE>, --output \
             <FILE>; see `outrigger logits --help`",
        ),
        (
            &["logits", "-t", "0", "--tokens", "1", "-o", "x"],
            2,
            "invalid value '0' for '--threads <N>': number would be zero for non-zero type; see \
             `outrigger --help`",
        ),
        (
            &["logits", "--kv", "f8", "--tokens", "1", "-o", "x"],
            2,
            "invalid value 'f8' for '--kv <FORMAT>': `f8` is not a KV cache format; f16, f32 and \
             q8_0 are; see `outrigger --help`",
        ),
        (
            &["inspect", "-m", "hf:owner/repo"],
            2,
            "hf:owner/repo: models cannot be pulled from Hugging Face yet; download the GGUF file \
             and give its path",
        ),
        (
            &["inspect", "-m", "/nowhere/m.gguf"],
            1,
            "cannot open /nowhere/m.gguf: No such file or directory (os error 2)",
        ),
        (
            &["tokenize", "-m", "/nowhere/m.gguf", "text"],
            1,
            "cannot open /nowhere/m.gguf: No such file or directory (os error 2)",
        ),
        (
            &["inspect", "x", "--config", "/nowhere/c.toml"],
            2,
            "/nowhere/c.toml: the configuration cannot be read: No such file or directory (os \
             error 2)",
        ),
        (
            &["perplexity", "-m", "x", "--kl-divergence"],
            2,
            "the following required arguments were not provided: --kl-divergence-base <FILE>; see \
             `outrigger perplexity --help`",
        ),
    ];
    for (arguments, code, sentence) in cases {
        assert_eq!(refusal(arguments, code), sentence, "{arguments:?}");
    }
}

#[test]
fn a_setting_comes_from_the_flag_then_the_environment_then_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["flag", "environment", "file"] {
        let model = reference("qwen3", "qwen3-Q4_0.gguf");
        fs::copy(model, folder.path().join(format!("{name}.gguf"))).unwrap();
    }
    let config = folder.path().join("config.toml");
    fs::write(&config, "[model]\npath = \"file.gguf\"\n").unwrap();
    let named = |flag: bool, environment: bool| {
        let mut command = outrigger();
        command.args(["inspect", "--json", "--config", text(&config)]);
        if environment {
            command.env("OUTRIGGER_MODEL", folder.path().join("environment.gguf"));
        }
        if flag {
            command.arg("-m").arg(folder.path().join("flag.gguf"));
        }
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        report["file"].as_str().unwrap().to_owned()
    };
    assert!(named(true, true).ends_with("/flag.gguf"));
    assert!(named(false, true).ends_with("/environment.gguf"));
    assert!(named(false, false).ends_with("/file.gguf"));

    fs::write(&config, "[run]\nthread = 1\n").unwrap();
    let said = refusal(&["inspect", "x", "--config", text(&config)], 2);
    assert!(said.contains("line 2: unknown field `thread`"), "{said}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let model = reference("qwen3", "qwen3-Q4_0.gguf");
    let mut child = outrigger()
        .args(["inspect", "--json", text(&model)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn ctrl_c_ends_with_its_own_code() {
    let model = reference("qwen3", "qwen3-Q4_0.gguf");
    let mut child = outrigger()
        .args(["tokenize", "-m", text(&model), "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id().to_string();
    // Until the process handles SIGINT, the signal would just kill it.
    let handled = || {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        u64::from_str_radix(caught.unwrap().trim(), 16).unwrap() & 0b10 != 0
    };
    while !handled() {
        std::thread::yield_now();
    }
    let sent = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(sent.unwrap().success());
    // Waiting closes the pipe, and at its end the process would be done.
    let stdin = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
}

#[test]
fn completions_know_every_verb() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = printed(&["completions", shell], b"");
        for verb in VERBS {
            assert!(script.contains(verb), "{shell} does not complete {verb}");
        }
    }
    refusal(&["completions", "cmd"], 2);
}

#[test]
fn doctor_finds_a_machine() {
    let found = crate::binary::json(&["doctor", "--json"], b"");
    assert!(found["cpu"]["cores_usable"].as_u64().unwrap() >= 1);
    assert!(found["memory"]["page_bytes"].as_u64().unwrap() >= 4096);
    let sets = found["cpu"]["instruction_sets"].as_array().unwrap();
    assert_eq!(sets.last(), Some(&found["cpu"]["instruction_set"]));
    if let Some(bandwidth) = found["bandwidth"].as_object() {
        let speed = bandwidth["one_thread"]["bytes_per_second"]
            .as_f64()
            .unwrap();
        assert!((1e8..1e13).contains(&speed), "{speed}");
    }
}
