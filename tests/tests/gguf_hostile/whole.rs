//! Whole files: cut, changed, and as dense as they can be.

use outrigger_runtime::gguf::{Array, Format, Metadata, TensorShape, Value, Writer};

use crate::allocator::read;
use crate::bytes::{Bytes, F32};

/// A well-formed file with something of everything.
fn sample() -> Vec<u8> {
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", Value::String("llama".into()));
    metadata.insert("flag", Value::Bool(true));
    let words = (0..40).map(|n| format!("w{n}").into()).collect();
    metadata.insert("words", Value::Array(Array::String(words)));
    let nested = vec![Array::F32(vec![1.0, 2.0]), Array::Bool(vec![true])];
    metadata.insert("nested", Value::Array(Array::Array(nested)));
    let shape = |name: &str, dims: &[usize], format| TensorShape {
        name: name.into(),
        dims: dims.into(),
        format,
    };
    let shapes = [
        shape("a", &[32, 3], Format::Q4_0),
        shape("b", &[5], Format::F32),
    ];
    let mut writer = Writer::new(Vec::new(), &metadata, &shapes).unwrap();
    writer.append(&[1; 3 * 18 + 20]).unwrap();
    writer.finish().unwrap()
}

#[test]
fn gguf_truncated_anywhere() {
    let file = sample();
    let tensors = read(&file).unwrap().tensors;
    let padding = tensors[1].offset + tensors[1].bytes..file.len();
    assert_eq!(padding.len(), 12);
    for len in padding.clone() {
        assert_eq!(read(&file[..len]).unwrap().tensors, tensors);
    }
    for len in 0..padding.start {
        let sentence = read(&file[..len]).unwrap_err();
        assert!(
            sentence.contains("truncated")
                || sentence.contains("past the end")
                || sentence.contains("can hold"),
            "cut to {len}: {sentence}"
        );
    }
}

#[test]
fn gguf_any_byte_changed() {
    let file = sample();
    for at in 0..file.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[at] = value;
            if let Ok(header) = read(&changed) {
                for tensor in &header.tensors {
                    assert!(tensor.offset + tensor.bytes <= file.len());
                }
            }
        }
    }
}

/// The files that make the parser allocate most for their size.
#[test]
fn gguf_dense_files_stay_within_the_bound() {
    // One more than a hash table of 32,768 slots takes, so that it has just grown.
    let many = 28_673;
    let keys = (0..many).fold(Bytes::header(0, many), |file, n| {
        // Distinct keys of up to 3 bytes, with values of one byte.
        let key: String = [n / 2500, n / 50 % 50, n % 50]
            .iter()
            .map(|&digit| char::from(b'0' + digit as u8))
            .collect();
        file.string(&key).u32(0).raw(&[1])
    });
    assert_eq!(read(&keys.0).unwrap().metadata.len(), many as usize);

    let strings = Bytes::header(0, 1)
        .array_key("s", 8, many)
        .data(8 * many as usize);
    read(&strings.0).unwrap();
    let words = (0..many).fold(Bytes::header(0, 1).array_key("s", 8, many), |file, _| {
        file.string("x")
    });
    read(&words.0).unwrap();
    let arrays = Bytes::header(0, 1).array_key("a", 9, many);
    read(&arrays.data(12 * many as usize).0).unwrap();
    let tensors = (0..many).fold(Bytes::header(many, 0), |file, n| {
        file.tensor(&format!("{n:x}"), &[1], F32, 32 * n)
    });
    let tensors = tensors.data(32 * many as usize);
    assert_eq!(read(&tensors.0).unwrap().tensors.len(), many as usize);
}
