//! Opening models: whole, split, embedded, and cut while in use.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::*;

/// A file with some keys and one tensor of `values` floats per name, all bytes
/// of which are `fill`.
fn file(keys: &[(&str, Value)], names: &[&str], values: usize, fill: u8) -> Vec<u8> {
    let mut metadata = Metadata::new();
    for (key, value) in keys {
        metadata.insert(key, value.clone());
    }
    let shapes: Vec<_> = names
        .iter()
        .map(|&name| TensorShape {
            name: name.into(),
            dims: vec![values],
            format: Format::F32,
        })
        .collect();
    let mut writer = Writer::new(Vec::new(), &metadata, &shapes).unwrap();
    writer
        .append(&vec![fill; names.len() * values * 4])
        .unwrap();
    writer.finish().unwrap()
}

fn part(number: u16, count: u16, tensors: i32, names: &[&str]) -> Vec<u8> {
    let keys = [
        ("split.no", Value::U16(number)),
        ("split.count", Value::U16(count)),
        ("split.tensors.count", Value::I32(tensors)),
        ("only", Value::String(format!("part {number}").into())),
    ];
    file(&keys, names, 16, number as u8)
}

fn save(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn sentence(path: &Path) -> String {
    Gguf::open(path).unwrap_err().to_string()
}

#[test]
fn gguf_open_lends_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = file(&[("n", Value::U32(7))], &["a", "b"], 100, 5);
    let path = save(folder.path(), "model.gguf", &bytes);
    let model = Gguf::open(&path).unwrap();
    assert_eq!(model.metadata().u32("n"), Ok(Some(7)));
    assert_eq!(model.path(), Some(&*path));
    assert_eq!(model.total_bytes(), bytes.len() as u64);
    assert_eq!(model.tensors().len(), 2);
    assert!(model.tensor("c").is_none());
    let tensor = model.tensor("b").unwrap();
    assert_eq!(
        (tensor.row_len(), tensor.rows(), tensor.values()),
        (100, 1, 100)
    );
    assert_eq!(model.bytes(tensor), [5; 400]);

    let handle = model.tensor_bytes(tensor);
    assert_eq!(handle.file_offset(), tensor.offset);
    drop(model);
    let middle = handle.slice(4..12).slice(4..8);
    assert_eq!(middle.as_ptr(), handle[8..].as_ptr());
    assert_eq!(*middle, [5; 4]);
    assert_eq!(middle.path(), Some(&*path));
}

#[test]
#[should_panic(expected = "bytes 3..5 of a tensor that has 4")]
fn gguf_slice_past_the_end_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), "model.gguf", &file(&[], &["a"], 1, 0));
    let model = Gguf::open(&path).unwrap();
    model.tensor_bytes(&model.tensors()[0]).slice(3..5);
}

#[test]
fn gguf_open_refuses_what_is_not_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.gguf");
    let found = sentence(&absent);
    assert!(
        found.starts_with(&format!("cannot open {}: ", absent.display())),
        "{found}"
    );
    assert_eq!(
        sentence(folder.path()),
        format!(
            "{} is not a regular file, so it cannot be mapped",
            folder.path().display()
        )
    );
}

#[test]
fn gguf_open_names_the_file_at_fault() {
    let folder = tempfile::tempdir().unwrap();
    let empty = save(folder.path(), "empty.gguf", b"");
    assert_eq!(
        sentence(&empty),
        format!(
            "{}: the file is truncated: it ends after 0 bytes, inside the header",
            empty.display()
        )
    );
}

#[test]
fn gguf_embedded_model_needs_no_file() {
    let bytes = file(&[], &["a"], 8, 3);
    let mut memory = vec![0; bytes.len() + 8];
    let start = memory.as_ptr().align_offset(8);
    memory[start..][..bytes.len()].copy_from_slice(&bytes);
    let memory = memory.leak();
    let model = Gguf::from_static(&memory[start..][..bytes.len()]).unwrap();
    assert_eq!(model.path(), None);
    assert_eq!(model.bytes(&model.tensors()[0]), [3; 32]);
    model.check_intact().unwrap();

    let error = Gguf::from_static(&memory[start + 1..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the embedded model begins at an address that is not a multiple of 8; \
         align the bytes it is embedded as"
    );
    let split = part(0, 2, 1, &["a"]).leak();
    let error = Gguf::from_static(split).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the embedded model: this is one of 2 parts of a split model; merge them first"
    );
}

#[test]
fn gguf_split_opens_from_any_part() {
    let folder = tempfile::tempdir().unwrap();
    let names: [&[&str]; 3] = [&["a", "b"], &["c"], &["d"]];
    let paths: Vec<_> = (0..3)
        .map(|number| {
            let name = format!("m-v1-{:05}-of-00003.gguf", number + 1);
            let bytes = part(number, 3, 4, names[usize::from(number)]);
            save(folder.path(), &name, &bytes)
        })
        .collect();
    for path in &paths {
        let model = Gguf::open(path).unwrap();
        assert_eq!(model.path(), Some(&*paths[0]));
        assert_eq!(model.metadata().str("only"), Ok(Some("part 0")));
        let found: Vec<_> = model.tensors().iter().map(|tensor| &*tensor.name).collect();
        assert_eq!(found, ["a", "b", "c", "d"]);
        for (name, number) in [("a", 0), ("b", 0), ("c", 1), ("d", 2)] {
            let tensor = model.tensor(name).unwrap();
            assert_eq!(tensor.part, number);
            assert_eq!(model.bytes(tensor), [number as u8; 64]);
        }
        model.check_intact().unwrap();
    }

    fs::remove_file(&paths[1]).unwrap();
    assert_eq!(
        sentence(&paths[2]),
        format!(
            "part 2 of 3 of the model is missing: there is no file {}",
            paths[1].display()
        )
    );
}

#[test]
fn gguf_split_refuses_parts_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let renamed = save(folder, "renamed.gguf", &part(1, 2, 2, &["b"]));
    assert_eq!(
        sentence(&renamed),
        format!(
            "{}: this is part 2 of 2 of a split model, \
             so its name must end in -00002-of-00002.gguf",
            renamed.display()
        )
    );

    let first = save(folder, "m-00001-of-00002.gguf", &part(0, 2, 2, &["a"]));
    let second = folder.join("m-00002-of-00002.gguf");
    for (bytes, at_fault, reason) in [
        (
            part(1, 3, 2, &["b"]),
            &second,
            "the file's metadata does not say that it is part 2 of 2",
        ),
        (
            file(&[], &["b"], 1, 0),
            &second,
            "the file's metadata does not say that it is part 2 of 2",
        ),
        (part(1, 2, 2, &["a"]), &second, "tensor `a` occurs twice"),
        (
            part(1, 2, 2, &["b", "c"]),
            &first,
            "the model should have 2 tensors, but its parts hold 3",
        ),
        (
            part(2, 2, 2, &["b"]),
            &second,
            "metadata key `split.no` is 2, but there are only 2 parts",
        ),
    ] {
        fs::write(&second, bytes).unwrap();
        assert_eq!(
            sentence(&first),
            format!("{}: {reason}", at_fault.display())
        );
    }
    let odd = save(
        folder,
        "odd.gguf",
        &file(&[("split.count", Value::U32(70_000))], &[], 1, 0),
    );
    assert_eq!(
        sentence(&odd),
        format!(
            "{}: metadata key `split.count` is 70000, more than 65535",
            odd.display()
        )
    );
}

/// Twice: cut to a page, where reading would fault, and by the last few bytes,
/// where it would not and the numbers are zeros all the same.
#[test]
#[cfg(unix)]
fn gguf_file_cut_under_a_live_map() {
    let folder = tempfile::tempdir().unwrap();
    for (name, len) in [("far.gguf", 4096), ("near.gguf", 400_000)] {
        let bytes = file(&[], &["weights"], 100_000, 1);
        let path = save(folder.path(), name, &bytes);
        let model = Gguf::open(&path).unwrap();
        let weights = model.tensor_bytes(&model.tensors()[0]);
        assert_eq!(weights[weights.len() - 1], 1);
        model.check_intact().unwrap();

        let cut = OpenOptions::new().write(true).open(&path).unwrap();
        cut.set_len(len).unwrap();
        assert!(len < bytes.len() as u64);
        let sum: u64 = weights.iter().map(|&byte| u64::from(byte)).sum();
        assert!(sum < 400_000);
        assert_eq!(
            model.check_intact().unwrap_err().to_string(),
            format!(
                "the model file {} was truncated or became unreadable while in use; \
                 restore it and load the model again",
                path.display()
            )
        );
        // The length restored does not bring the bytes back.
        cut.set_len(bytes.len() as u64).unwrap();
        assert!(model.check_intact().is_err());
    }
}
