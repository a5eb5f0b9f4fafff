//! Running the binary as a user does.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The binary, with nothing of this process' environment that it would heed.
pub(crate) fn outrigger() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    for name in [
        "MODEL",
        "THREADS",
        "CTX_SIZE",
        "KV",
        "CONFIG",
        "LOG",
        "LOG_FORMAT",
        "METRICS",
        "DRAIN",
        "DRAFT",
        "DRAFT_MAX",
        "DRAFT_MIN",
        "LISTEN",
        "NODE",
        "NODE_STATE",
        "OFFLOAD_MODE",
        "POLICY",
        "PRIVACY",
    ] {
        command.env_remove(format!("OUTRIGGER_{name}"));
    }
    // The user's own is not for tests to write.
    command.env("XDG_CACHE_HOME", cache_folder());
    // How wide help is, where stdout is no terminal.
    command.env_remove("COLUMNS");
    command
}

/// What is remembered from test to test: trying threads takes its time.
fn cache_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = outrigger()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A process that does not read its stdin may be gone by now.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("an end")
}

/// What a run that has to succeed prints.
#[track_caller]
pub(crate) fn printed(arguments: &[&str], input: &[u8]) -> String {
    let output = run(arguments, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// What a run that has to succeed prints as JSON.
#[track_caller]
pub(crate) fn json(arguments: &[&str], input: &[u8]) -> serde_json::Value {
    let text = printed(arguments, input);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {text}"))
}

/// What a run that has to fail with this code says on stderr: one line that
/// says who speaks, and nothing on stdout.
#[track_caller]
pub(crate) fn refusal(arguments: &[&str], code: i32) -> String {
    let output = run(arguments, b"");
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    let sentence = errors.trim_end().strip_prefix("outrigger: ");
    sentence.expect("the program's name").to_owned()
}

/// A file of a checked-in reference model.
pub(crate) fn reference(model: &str, file: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/references");
    let path = folder.join(model).join(file);
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}
