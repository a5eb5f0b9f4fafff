//! `outrigger run`.

use crate::binary::{json, outrigger, printed, reference, refusal, run, text};
use serde_json::{Value, json};
use std::{fs, path::Path, thread::available_parallelism};

/// The arguments of a run of a reference model, which continues deterministically.
fn arguments<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "-m", model], more].concat()
}

#[test]
fn help_shows_all_flags() {
    insta::assert_snapshot!("help_run", printed(&["run", "--help"], b""));
}

#[test]
fn json_has_the_text_and_where_it_came_from() {
    let model = reference("qwen3", "qwen3-Q8_0.gguf");
    let flags = ["--json", "--temp", "0", "-n", "6", "-s", "7", "Hello"];
    let mut report = json(&arguments(text(&model), &flags), b"");
    let timings = report["timings"].take();
    assert_eq!(timings["prompt_tokens"], 5);
    assert_eq!(timings["generated_tokens"], 6);
    assert!(timings["ttft_ms"].as_f64() > Some(0.0));
    assert!(timings["tpot_ms"].as_f64() > Some(0.0));
    insta::assert_json_snapshot!("run_json", report);
}

#[test]
fn the_text_alone_goes_to_stdout() {
    let model = reference("qwen3", "qwen3-Q8_0.gguf");
    let flags = ["--json", "--temp", "0", "-n", "6", "Hello"];
    let report = json(&arguments(text(&model), &flags), b"");
    let wanted = format!("{}\n", report["text"].as_str().unwrap());
    let flags = &["--temp", "0", "-n", "6"];
    let by_argument = [flags, &["Hello"][..]].concat();
    assert_eq!(printed(&arguments(text(&model), &by_argument), b""), wanted);
    // Through a pipe, with and without the sign for it.
    assert_eq!(printed(&arguments(text(&model), flags), b"Hello"), wanted);
    let dash = [flags, &["-"][..]].concat();
    assert_eq!(printed(&arguments(text(&model), &dash), b"Hello"), wanted);
}

#[test]
fn the_number_of_threads_is_remembered_and_nothing_hangs_on_it() {
    let model = reference("qwen3", "qwen3-Q8_0.gguf");
    let arguments = arguments(text(&model), &["--temp", "0", "-n", "6", "Hello"]);
    let wanted = printed(&[&arguments[..], &["-t", "1"]].concat(), b"");
    let cache = tempfile::tempdir().unwrap();
    let file = cache.path().join("outrigger/threads.toml");
    let go = |home: &Path| {
        let mut command = outrigger();
        command.args(&arguments).env("XDG_CACHE_HOME", home);
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{errors}");
        assert_eq!(errors, "");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted);
    };
    go(cache.path());
    // One processor leaves no choice.
    if available_parallelism().unwrap().get() > 1 {
        let first = fs::read_to_string(&file).unwrap();
        assert!(first.contains("qwen3"), "{first}");
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        go(cache.path());
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        // What is no such file is written anew.
        fs::write(&file, b"\xff[[choice").unwrap();
        go(cache.path());
        assert!(fs::read_to_string(&file).unwrap().contains("qwen3"));
        let doctor = outrigger()
            .args(["doctor", "--json"])
            .env("XDG_CACHE_HOME", cache.path())
            .output()
            .unwrap();
        let found: Value = serde_json::from_slice(&doctor.stdout).unwrap();
        let chosen = found["threads_chosen"].as_array().unwrap();
        assert_eq!(chosen.len(), 1, "{found}");
    }
    // Where nothing can be written, and where nothing can be.
    go(&file);
    go(Path::new("/dev/null"));
}

#[test]
fn a_seed_decides_the_text() {
    let model = reference("qwen3", "qwen3-Q8_0.gguf");
    let go = |seed: &str, threads: &str| {
        let flags = [
            "-s", seed, "-t", threads, "--temp", "1", "-n", "20", "Hello",
        ];
        printed(&arguments(text(&model), &flags), b"")
    };
    assert_eq!(go("1", "1"), go("1", "3"));
    assert_ne!(go("1", "2"), go("2", "2"));
}

#[test]
fn a_stop_text_and_a_bias_do_what_they_say() {
    let model = reference("qwen3", "qwen3-Q8_0.gguf");
    // 120 is `x`; the bias makes it the only choice.
    let flags = ["--json", "-l", "120+1000", "-n", "9", "a"];
    let report = json(&arguments(text(&model), &flags), b"");
    assert_eq!(
        (&report["text"], &report["finish_reason"]),
        (&json!("xxxxxxxxx"), &json!("length"))
    );
    let flags = ["--json", "-l", "120+1000", "-n", "9", "--stop", "xxx", "a"];
    let report = json(&arguments(text(&model), &flags), b"");
    assert_eq!(
        (&report["text"], &report["finish_reason"]),
        (&json!(""), &json!("stop"))
    );
}

#[test]
fn log_probabilities_come_where_asked_for() {
    let model = reference("qwen3", "qwen3-Q8_0.gguf");
    let flags = [
        "--json",
        "--temp",
        "0",
        "--logprobs",
        "2",
        "-n",
        "3",
        "Hello",
    ];
    let report = json(&arguments(text(&model), &flags), b"");
    let tokens = report["logprobs"].as_array().unwrap();
    assert_eq!(tokens.len(), 3);
    for token in tokens {
        assert_eq!(
            token["logprob"], token["top"][0]["logprob"],
            "the likeliest was chosen"
        );
        assert_eq!(token["top"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn the_bundled_model_tells_a_story() {
    let story = printed(&["run", "--temp", "0", "-n", "60", "Once upon a time"], b"");
    assert!(story.split_whitespace().count() > 20, "{story}");
    assert!(story.is_ascii() && story.contains('.'), "{story}");
}

#[test]
fn a_draft_changes_the_speed_and_not_the_text() {
    let flags = ["run", "--json", "-n", "60", "-s", "5", "Once upon a time"];
    let mut alone = json(&flags, b"");
    for (draft, name) in [("bundled", "Outrigger demo draft"), ("ngram", "ngram")] {
        let more = ["--draft", draft, "--draft-min", "4", "--draft-max", "4"];
        let mut report = json(&[&flags[..], &more].concat(), b"");
        let record = report["speculation"].take();
        assert_eq!(record["draft"], name);
        assert!(record["accepted"].as_u64() <= record["drafted"].as_u64());
        let count = |name: &str| record[name].as_f64().unwrap();
        if draft == "bundled" {
            assert!(count("tokens_per_step") > 1.5, "{record}");
            assert!(count("acceptance_rate") > 0.3, "{record}");
            assert!(count("target_steps") < 40.0, "{record}");
        }
        alone["speculation"].take();
        alone["timings"].take();
        report["timings"].take();
        assert_eq!(report, alone);
    }
}

#[test]
fn a_draft_that_does_not_fit_is_refused() {
    let model = reference("qwen3", "qwen3-Q8_0.gguf");
    let go = |flags: &[&str], code| refusal(&arguments(text(&model), flags), code);
    let message = go(&["--draft", "bundled", "x"], 1);
    assert!(
        message.contains("Outrigger demo draft cannot draft for")
            && message.contains("its token 0 is"),
        "{message}"
    );
    assert!(go(&["--draft", "/does/not/exist", "x"], 1).contains("/does/not/exist"));
    assert!(go(&["--draft", "ngram", "--draft-max", "8", "x"], 2).contains("1 to 7"));
    assert!(
        go(
            &[
                "--draft",
                "ngram",
                "--draft-min",
                "5",
                "--draft-max",
                "4",
                "x"
            ],
            2
        )
        .contains("5")
    );
}

#[test]
fn a_chat_answers_line_by_line() {
    let lines = b"Tell me a story about a cat and a kite.\n/foo\n/again\n/new\nHello!\n";
    let output = run(&["run", "--chat", "--temp", "0", "-n", "12"], lines);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    assert!(
        lines.contains(&"/foo is not a command; /help lists them."),
        "{text}"
    );
    assert_eq!(
        lines[0], lines[2],
        "at temperature 0 an answer comes out the same again"
    );
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let model = reference("qwen3", "qwen3-Q8_0.gguf");
    let go = |flags: &[&str], code| refusal(&arguments(text(&model), flags), code);
    assert_eq!(
        go(&["-c", "3", "Hello"], 1),
        "the prompt has 5 tokens, but the context holds 3; shorten the prompt or ask for a larger \
         context"
    );
    assert!(go(&["--top-p", "1.5", "x"], 2).contains("top_p"));
    assert!(go(&["-l", "99999+1", "x"], 1).contains("logit_bias"));
    assert!(go(&["-l", "x", "x"], 2).contains("TOKEN+X"));
    assert!(go(&["--chat", "x"], 1).contains("no chat template"));
    assert!(go(&["--chat", "--json", "x"], 2).contains("--json"));
    assert!(go(&["--kv", "f8", "x"], 2).contains("f16, f32 and q8_0"));
    assert!(go(&["-f", "/does/not/exist"], 1).contains("/does/not/exist"));
}

#[test]
fn an_empty_prompt_starts_from_the_bos_token() {
    let model = reference("qwen3", "qwen3-Q8_0.gguf");
    let report: Value = json(&arguments(text(&model), &["--json", "-n", "2", ""]), b"");
    assert_eq!(report["timings"]["prompt_tokens"], 1);
    let none = json(&arguments(text(&model), &["--json", "-n", "0", "a"]), b"");
    assert_eq!((&none["text"], &none["tokens"]), (&json!(""), &json!([])));
}
