//! A model whose file is cut under the map: an error, not a crash.
#![cfg(unix)]

use outrigger_runtime::{
    kv::SequenceId,
    stage::{Recovery, StageError},
    transcript::Class,
};
use outrigger_tests::{
    local::{Options, load, logits, pipeline},
    stages::reference_file,
};
use std::fs::{self, File};

#[test]
fn a_pass_over_a_file_cut_under_the_map_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::copy(reference_file("llama3-rope", "Q8_0"), &path).unwrap();
    let options = Options::default();
    let model = load(&path, &options);
    let id = SequenceId(0);
    let mut whole = pipeline(&model, &options);
    let mut torn = pipeline(&model, &options);
    for pipeline in [&mut whole, &mut torn] {
        pipeline.create(id).unwrap();
        logits(pipeline, id, &[1, 2, 3], Class::Prompt, 3).unwrap();
    }
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(8192).unwrap();
    for _ in 0..3 {
        let error = logits(&mut torn, id, &[4], Class::Generated, 1).unwrap_err();
        assert!(matches!(error, StageError::Weights(_)), "{error}");
        assert_eq!(error.recovery(), Recovery::Fatal);
        let text = error.to_string();
        let name = path.to_string_lossy();
        assert!(text.contains(&*name) && !text.contains('\n'), "{text}");
        assert_eq!(torn.len(id), Some(3), "the pass counts for nothing");
    }
    // Another model in the same process is not touched by it.
    let other = load(&reference_file("llama3-rope", "Q8_0"), &options);
    let mut other = pipeline(&other, &options);
    other.create(id).unwrap();
    logits(&mut other, id, &[1, 2, 3, 4], Class::Prompt, 4).unwrap();
}
