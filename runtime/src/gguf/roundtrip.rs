//! What the writer writes, the parser reads back.

use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Box<str>> {
    "\\PC{0,12}".prop_map(Into::into)
}

fn flat_array() -> impl Strategy<Value = Array> {
    macro_rules! of {
        ($variant:ident, $element:expr) => {
            prop::collection::vec($element, 0..5).prop_map(Array::$variant)
        };
    }
    prop_oneof![
        of!(U8, any::<u8>()),
        of!(I8, any::<i8>()),
        of!(U16, any::<u16>()),
        of!(I16, any::<i16>()),
        of!(U32, any::<u32>()),
        of!(I32, any::<i32>()),
        of!(U64, any::<u64>()),
        of!(I64, any::<i64>()),
        of!(F32, any::<f32>()),
        of!(F64, any::<f64>()),
        of!(Bool, any::<bool>()),
        of!(String, text()),
    ]
}

fn array() -> impl Strategy<Value = Array> {
    flat_array().prop_recursive(ARRAY_DEPTH_MAX as u32 - 1, 20, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Array::Array)
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        any::<bool>().prop_map(Value::Bool),
        text().prop_map(Value::String),
        array().prop_map(Value::Array),
    ]
}

fn shapes() -> impl Strategy<Value = Vec<TensorShape>> {
    let shape = (
        prop::sample::select(Format::ALL.to_vec()),
        prop::collection::vec(1_usize..4, 1..=DIMS_MAX),
    );
    prop::collection::btree_map("\\PC{1,20}", shape, 0..6).prop_map(|shapes| {
        let shapes = shapes.into_iter();
        shapes
            .map(|(name, (format, mut dims))| {
                dims[0] *= format.block_len();
                TensorShape { name, dims, format }
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn gguf_written_is_read_back(
        pairs in prop::collection::btree_map("\\PC{1,20}", value(), 0..8),
        alignment in prop::option::of(3_u32..10),
        shapes in shapes(),
        piece in 1_usize..3000,
    ) {
        let mut metadata = Metadata::new();
        for (key, value) in pairs {
            metadata.insert(&key, value);
        }
        if let Some(shift) = alignment {
            metadata.insert("general.alignment", Value::U32(1 << shift));
        }
        let mut writer = Writer::new(Vec::new(), &metadata, &shapes).unwrap();
        let tensors = writer.tensors().to_vec();
        let bytes = tensors.iter().map(|tensor| tensor.bytes).sum();
        let data: Vec<u8> = (0_usize..bytes).map(|at| (at % 251) as u8).collect();
        for piece in data.chunks(piece) {
            writer.append(piece).unwrap();
        }
        let file = writer.finish().unwrap();

        let header = parse(&file).unwrap();
        prop_assert_eq!(header.version, 3);
        prop_assert_eq!(header.alignment, alignment.map_or(ALIGNMENT_DEFAULT, |shift| 1 << shift));
        prop_assert_eq!(&header.metadata, &metadata);
        prop_assert_eq!(&header.tensors, &tensors);
        prop_assert_eq!(file.len() % header.alignment as usize, 0);
        let mut rest = &data[..];
        for (tensor, shape) in header.tensors.iter().zip(&shapes) {
            prop_assert_eq!(&*tensor.name, &shape.name);
            prop_assert_eq!(&*tensor.dims, &shape.dims);
            prop_assert_eq!(tensor.format, shape.format);
            let (expected, later) = rest.split_at(tensor.bytes);
            prop_assert_eq!(&file[tensor.offset..][..tensor.bytes], expected);
            rest = later;
        }
    }

    #[test]
    fn gguf_any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(bytes);
        let _ = parse(&file);
    }
}

fn shape(name: &str, dims: &[usize]) -> TensorShape {
    TensorShape {
        name: name.into(),
        dims: dims.into(),
        format: Format::F32,
    }
}

fn refused(metadata: &Metadata, shapes: &[TensorShape]) -> String {
    let mut out = Vec::new();
    let error = Writer::new(&mut out, metadata, shapes).unwrap_err();
    assert_eq!(out.len(), 0);
    error.to_string()
}

#[test]
fn gguf_writer_refuses_what_the_parser_would() {
    let none = Metadata::new();
    let invalid = "the GGUF file would be invalid: ";
    for (shapes, sentence) in [
        (vec![shape("", &[1])], "tensor number 0 has an empty name"),
        (
            vec![shape("a", &[1]), shape("a", &[2])],
            "tensor `a` occurs twice",
        ),
        (
            vec![shape("a", &[3, 0])],
            "tensor `a` has size 0 in dimension 1",
        ),
        (
            vec![shape("a", &[])],
            "tensor `a` has 0 dimensions; 1 to 4 are allowed",
        ),
    ] {
        assert_eq!(refused(&none, &shapes), format!("{invalid}{sentence}"));
    }
    let mut metadata = Metadata::new();
    metadata.insert("", Value::U8(1));
    assert_eq!(
        refused(&metadata, &[]),
        format!("{invalid}metadata key number 0 is empty")
    );
    let mut nested = Array::U8(Vec::new());
    for _ in 0..ARRAY_DEPTH_MAX {
        nested = Array::Array(vec![nested]);
    }
    let mut metadata = Metadata::new();
    metadata.insert("deep", Value::Array(nested));
    assert_eq!(
        refused(&metadata, &[]),
        format!("{invalid}metadata key `deep` nests arrays more than 4 deep")
    );
}

#[test]
fn gguf_writer_counts_the_data() {
    let none = Metadata::new();
    let shapes = [shape("a", &[2]), shape("b", &[1])];
    let mut writer = Writer::new(Vec::new(), &none, &shapes).unwrap();
    writer.append(&[0; 9]).unwrap();
    assert_eq!(&*writer.next_tensor().unwrap().name, "b");
    let error = writer.append(&[0; 5]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 bytes too many were written for the tensors that were declared"
    );

    let mut writer = Writer::new(Vec::new(), &none, &shapes).unwrap();
    writer.append(&[0; 9]).unwrap();
    let error = writer.finish().unwrap_err();
    assert_eq!(error.to_string(), "tensor `b` lacks 3 of its bytes");
}
