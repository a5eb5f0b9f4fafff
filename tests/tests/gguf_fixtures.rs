//! Every GGUF file among the fixtures opens, and its tensors lie inside it.

use std::path::{Path, PathBuf};

use outrigger_runtime::gguf::Gguf;
use outrigger_tests::fixtures::fixtures;

fn ggufs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            ggufs(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "gguf") {
            found.push(path);
        }
    }
}

#[test]
fn gguf_fixtures_open() {
    let Some(root) = fixtures() else {
        return;
    };
    let mut files = Vec::new();
    ggufs(&root, &mut files);
    assert!(!files.is_empty());
    for path in files {
        let model = Gguf::open(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(model.metadata().get("general.architecture").is_some());
        for tensor in model.tensors() {
            assert_eq!(model.bytes(tensor).len(), tensor.bytes);
            assert_eq!(model.tensor(&tensor.name), Some(tensor));
            let handle = model.tensor_bytes(tensor);
            assert_eq!(handle.as_ptr(), model.bytes(tensor).as_ptr());
            assert!(handle.as_ptr().addr().is_multiple_of(8));
        }
        model.check_intact().unwrap();
    }
}
