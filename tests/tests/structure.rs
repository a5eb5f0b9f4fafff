//! What the tree promises: dependencies run one way, every crate keeps the
//! workspace's lints, and files stay small and say what they hold.

use serde::Deserialize;
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The crates of the workspace, each with those of the workspace it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("outrigger-kernels", &[]),
    ("outrigger-runtime", &["outrigger-kernels"]),
    ("outrigger-offload", &["outrigger-runtime"]),
    (
        "outrigger",
        &[
            "outrigger-offload",
            "outrigger-runtime",
            "outrigger-kernels",
        ],
    ),
    (
        "outrigger-tests",
        &[
            "outrigger",
            "outrigger-offload",
            "outrigger-runtime",
            "outrigger-kernels",
        ],
    ),
];

/// Crates from elsewhere that would bring in what a crate never holds.
const OUT_OF_PLACE: &[(&str, &[&str])] = &[
    (
        "outrigger-kernels",
        &[
            "axum", "clap", "memmap2", "quinn", "serde", "tokio", "toml", "ureq",
        ],
    ),
    (
        "outrigger-runtime",
        &[
            "axum",
            "clap",
            "quinn",
            "rustyline",
            "tokio",
            "toml",
            "ureq",
        ],
    ),
    ("outrigger-offload", &["clap", "rustyline"]),
];

/// Past this many lines a file wants to be two.
const LINES_MAX: usize = 1000;

/// Files that may be longer: tables, which are read by nobody.
const TABLES: &[&str] = &[];

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &[
    "common",
    "helper",
    "helpers",
    "misc",
    "util",
    "utilities",
    "utils",
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `None`, "dev" or "build". An arrow of any kind counts.
    kind: Option<String>,
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the workspace above the tests").to_owned()
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("cargo's JSON");
    metadata.packages
}

/// The source files below the folders of `packages`, by their path from `root`.
fn sources(packages: &[Package], root: &Path) -> BTreeMap<String, usize> {
    let mut sources = BTreeMap::new();
    let mut folders: Vec<PathBuf> = packages
        .iter()
        .map(|package| package.manifest_path.parent().expect("a folder").to_owned())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs" || e == "cu") {
                let lines = fs::read_to_string(&path).expect("UTF-8").lines().count();
                let name = path.strip_prefix(root).expect("a path below the root");
                let name = name.to_str().expect("UTF-8").replace('\\', "/");
                sources.insert(name, lines);
            }
        }
    }
    sources
}

fn backward_arrows(packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            faults.push(format!("{name} has no place in the order of crates"));
            continue;
        };
        let out_of_place = OUT_OF_PLACE.iter().find(|(from, _)| *from == name);
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let ours = ARROWS.iter().any(|(name, _)| *name == to)
                || packages.iter().any(|package| package.name == to);
            if ours && !allowed.contains(&to) {
                faults.push(format!("{name} must not depend on {to}"));
            }
            let used = dependency.kind.as_deref() != Some("dev");
            if used && out_of_place.is_some_and(|(_, crates)| crates.contains(&to)) {
                faults.push(format!("{name} has no business with {to}"));
            }
        }
    }
    faults
}

/// `manifests`: a crate's name and the text of its `Cargo.toml`.
fn without_workspace_lints(manifests: &[(&str, &str)]) -> Vec<String> {
    let inherits = |text: &str| {
        let manifest: toml::Table = text.parse().expect("TOML");
        let lints = manifest.get("lints").and_then(toml::Value::as_table);
        let inherited = lints.and_then(|lints| lints.get("workspace"));
        inherited.and_then(toml::Value::as_bool) == Some(true)
    };
    manifests
        .iter()
        .filter(|(_, text)| !inherits(text))
        .map(|(name, _)| format!("{name} does not inherit the workspace's lints"))
        .collect()
}

/// `sources`: paths with their lines. A table that needs no exception is a
/// fault too, so that the list stays true.
fn long_files(sources: &BTreeMap<String, usize>, tables: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, &lines) in sources {
        if lines > LINES_MAX && !tables.contains(&path.as_str()) {
            faults.push(format!("{path} has {lines} lines, {LINES_MAX} at most"));
        }
    }
    for &table in tables {
        if sources.get(table).is_none_or(|&lines| lines <= LINES_MAX) {
            faults.push(format!("{table} is listed as a long table and is none"));
        }
    }
    faults
}

fn empty_names<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let says_nothing = |path: &str| {
        let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
        stem.split('/').any(|part| EMPTY_NAMES.contains(&part))
    };
    paths
        .into_iter()
        .filter(|path| says_nothing(path))
        .map(|path| format!("{path} has a name that says nothing"))
        .collect()
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn dependencies_run_one_way() {
    let packages = packages();
    assert!(packages.len() >= 4, "found only {packages:?}");
    assert_none(&backward_arrows(&packages));
}

#[test]
fn every_crate_inherits_the_workspace_lints() {
    let packages = packages();
    let texts: Vec<String> = packages
        .iter()
        .map(|package| fs::read_to_string(&package.manifest_path).expect("a manifest"))
        .collect();
    let names = packages.iter().map(|package| package.name.as_str());
    let manifests: Vec<(&str, &str)> = names.zip(texts.iter().map(String::as_str)).collect();
    assert_none(&without_workspace_lints(&manifests));
}

#[test]
fn files_are_short() {
    let sources = sources(&packages(), &root());
    assert!(
        sources.contains_key("tests/tests/structure.rs"),
        "{sources:?}"
    );
    assert_none(&long_files(&sources, TABLES));
}

#[test]
fn names_say_something() {
    let sources = sources(&packages(), &root());
    assert_none(&empty_names(sources.keys().map(String::as_str)));
}

mod the_checks_can_fail {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies.iter().map(|&(name, kind)| Dependency {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
        });
        Package {
            name: name.to_owned(),
            manifest_path: PathBuf::from("Cargo.toml"),
            dependencies: dependencies.collect(),
        }
    }

    #[test]
    fn on_an_arrow_that_runs_backwards() {
        for (from, to) in [
            ("outrigger-kernels", "outrigger-runtime"),
            ("outrigger-kernels", "outrigger"),
            ("outrigger-runtime", "outrigger-offload"),
            ("outrigger-runtime", "outrigger-tests"),
            ("outrigger-offload", "outrigger-kernels"),
            ("outrigger", "outrigger-tests"),
        ] {
            for kind in [None, Some("dev"), Some("build")] {
                let faults = backward_arrows(&[package(from, &[(to, kind)])]);
                assert_eq!(faults, [format!("{from} must not depend on {to}")]);
            }
        }
    }

    #[test]
    fn on_a_crate_without_a_place() {
        let packages = [
            package("outrigger-extras", &[]),
            package("outrigger-runtime", &[("outrigger-extras", None)]),
        ];
        let expected = [
            "outrigger-extras has no place in the order of crates",
            "outrigger-runtime must not depend on outrigger-extras",
        ];
        assert_eq!(backward_arrows(&packages), expected);
    }

    #[test]
    fn on_a_crate_that_is_out_of_place() {
        let kernels = |kind| backward_arrows(&[package("outrigger-kernels", &[("tokio", kind)])]);
        let fault = "outrigger-kernels has no business with tokio";
        assert_eq!(kernels(None), [fault]);
        assert_eq!(kernels(Some("build")), [fault]);
        assert!(kernels(Some("dev")).is_empty());
    }

    #[test]
    fn but_not_on_arrows_as_designed() {
        let packages = [
            package("outrigger-kernels", &[("half", None)]),
            package("outrigger-runtime", &[("outrigger-kernels", None)]),
            package("outrigger-offload", &[("outrigger-runtime", None)]),
            package("outrigger", &[("outrigger-kernels", None), ("clap", None)]),
            package("outrigger-tests", &[("outrigger-offload", Some("dev"))]),
        ];
        assert_none(&backward_arrows(&packages));
    }

    #[test]
    fn on_a_crate_with_lints_of_its_own() {
        let manifests = [
            ("inherits", "[lints]\nworkspace = true\n"),
            ("silent", "[package]\nname = \"silent\"\n"),
            ("refuses", "[lints]\nworkspace = false\n"),
            ("own", "[lints.rust]\nunsafe_code = \"allow\"\n"),
        ];
        let expected = ["silent", "refuses", "own"]
            .map(|name| format!("{name} does not inherit the workspace's lints"));
        assert_eq!(without_workspace_lints(&manifests), expected);
    }

    #[test]
    fn on_a_long_file_and_on_a_stale_exception() {
        let sources = BTreeMap::from([
            ("a.rs".to_owned(), LINES_MAX),
            ("b.rs".to_owned(), LINES_MAX + 1),
            ("table.rs".to_owned(), 5 * LINES_MAX),
        ]);
        let faults = long_files(&sources, &["a.rs", "gone.rs", "table.rs"]);
        let expected = [
            "b.rs has 1001 lines, 1000 at most",
            "a.rs is listed as a long table and is none",
            "gone.rs is listed as a long table and is none",
        ];
        assert_eq!(faults, expected);
    }

    #[test]
    fn on_a_name_that_says_nothing() {
        let paths = [
            "runtime/src/utils.rs",
            "runtime/src/helpers/mod.rs",
            "edge/src/common.rs",
            "edge/src/commonwealth.rs",
            "kernels/src/team/run.rs",
        ];
        let expected = &paths[..3];
        let faults = empty_names(paths);
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, path) in faults.iter().zip(expected) {
            assert!(fault.starts_with(path), "{fault}");
        }
    }
}
