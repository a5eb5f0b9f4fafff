//! Every file in `configs/` works as it stands.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the workspace above the crate").to_owned()
}

/// The settings in `configs/` with what they hold.
fn configs() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("configs")];
    let mut configs = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "toml") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                configs.push((path, text));
            }
        }
    }
    assert!(configs.len() >= 2, "found only {configs:?}");
    configs
}

/// Whether a file is a policy, which has another form.
fn is_policy(path: &Path) -> bool {
    path.starts_with(root().join("configs/policies"))
}

/// Checks `file` if it is a policy, and otherwise computes under it.
fn use_file(file: &Path, is_policy: bool) -> Output {
    if is_policy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        let output = command.args(["policy", "check"]).arg(file).output();
        output.expect("the binary runs")
    } else {
        compute(file)
    }
}

/// Computes with a tiny model under `config`, which alone decides: settings in
/// the environment do not get through.
fn compute(config: &Path) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("OUTRIGGER_") {
            command.env_remove(name);
        }
    }
    command
        .arg("--config")
        .arg(config)
        .args(["logits", "--tokens", "1,2,3", "-m"])
        .arg(root().join("tests/data/references/qwen3/qwen3-F16.gguf"))
        .arg("-o")
        .arg(folder.path().join("logits.npy"))
        .output()
        .expect("the binary runs")
}

#[test]
fn every_file_works() {
    for (path, _) in configs() {
        let output = use_file(&path, is_policy(&path));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {stderr}", path.display());
    }
}

#[test]
fn what_is_commented_out_works_too() {
    for (path, text) in configs() {
        let is_setting = |line: &str| {
            let key = line.split_once(" = ").map_or("", |(key, _)| key);
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        let active: Vec<&str> = text
            .lines()
            .map(|line| {
                let setting = line.strip_prefix("# ").filter(|line| is_setting(line));
                setting.unwrap_or(line)
            })
            .collect();
        let active = active.join("\n");
        assert_ne!(active, text.trim_end(), "nothing was commented out");
        let copy = tempfile::NamedTempFile::new().expect("a file");
        fs::write(copy.path(), active).expect("a write");
        let output = use_file(copy.path(), is_policy(&path));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {stderr}", path.display());
    }
}

#[test]
fn a_wrong_file_is_refused() {
    for (text, error) in [
        ("[run]\nthread = 1\n", "unknown field `thread`"),
        ("[run]\ncontext = 0\n", "`run.context` must be at least 1"),
        ("[run]\ncontext = 2\n", "do not fit a context of 2"),
    ] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("a write");
        let output = compute(file.path());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text}");
        assert!(stderr.contains(error), "{stderr}");
    }
}

/// The values of a unit's key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(k, _)| *k == key)
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn the_service_starts_a_node_as_it_is() {
    let path = root().join("configs/outrigger-node.service");
    let unit = fs::read_to_string(&path).expect("a unit");
    for (number, line) in unit.lines().enumerate() {
        let section = line.starts_with('[') && line.ends_with(']');
        let setting = line.split_once('=').is_some_and(|(key, _)| {
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        assert!(
            line.is_empty() || line.starts_with('#') || section || setting,
            "line {}: {line}",
            number + 1
        );
    }
    let command = values(&unit, "ExecStart")[0];
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/outrigger"));
    assert_eq!(words.next(), Some("node"));
    let words: Vec<&str> = words.collect();
    // All that is wrong with it here is that its file is not there.
    let output = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .arg("node")
        .args(words.iter().map(|word| match *word {
            "/etc/outrigger/node.toml" => "/nonexistent/node.toml",
            word => word,
        }))
        .output();
    let said = String::from_utf8(output.expect("the binary runs").stderr).expect("text");
    assert!(
        said.contains("/nonexistent/node.toml: the configuration cannot be read"),
        "{said}"
    );
    let help = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["node", "--help"])
        .output();
    let help = String::from_utf8(help.expect("the binary runs").stdout).expect("text");
    for flag in words.iter().filter(|word| word.starts_with('-')) {
        assert!(help.contains(flag), "{flag} is not a flag of node");
    }
    let after = |flag| {
        let mut words = words.iter().skip_while(|word| **word != flag);
        words.nth(1).copied()
    };
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().expect("seconds");
    let drain = seconds(after("--drain").expect("a time"));
    assert!(seconds(values(&unit, "TimeoutStopSec")[0]) > drain);
    assert_eq!(values(&unit, "KillSignal"), ["SIGTERM"]);
    let state = after("--state").expect("a folder");
    let folder = format!("/var/lib/{}/", values(&unit, "StateDirectory")[0]);
    assert!(state.starts_with(&folder), "{state}");
}
