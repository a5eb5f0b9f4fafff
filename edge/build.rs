//! Notes the commit that the program is built from, for what `bench` reports.

use std::{path::Path, process::Command};

fn main() {
    // This file of git's changes with every commit and every checkout.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists());
    println!(
        "cargo::rerun-if-changed={}",
        log.as_deref().unwrap_or("build.rs")
    );
    let commit = git(&["rev-parse", "--short", "HEAD"]);
    let number = git(&["rev-list", "--count", "HEAD"]);
    let set = |name, value: Option<String>, unknown: &str| {
        let value = value.unwrap_or_else(|| unknown.into());
        println!("cargo::rustc-env={name}={value}");
    };
    set("OUTRIGGER_BUILD_COMMIT", commit, "unknown");
    set("OUTRIGGER_BUILD_NUMBER", number, "0");
}

/// What git answers; `None` outside a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
