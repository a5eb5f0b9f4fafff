//! Any bytes are an importance matrix or are refused, in either form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_runtime::quantize::{IMPORTANCE_MAX, ImportanceMatrix};
use std::fs;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("outrigger-fuzz-{}.imatrix", std::process::id()));
    fs::write(&path, bytes).expect("there is room");
    let read = ImportanceMatrix::open(&path);
    fs::remove_file(&path).expect("it was written above");
    let Ok(matrix) = read else {
        return;
    };
    assert!(matrix.len() > 0);
    if let Some(values) = matrix.get("a") {
        assert!(
            values
                .iter()
                .all(|value| (0.0..=IMPORTANCE_MAX).contains(value))
        );
    }
});
