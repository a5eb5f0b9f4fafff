//! Any bytes are parsed or refused; what is parsed survives the writer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_runtime::gguf::{Header, TensorShape, Writer, parse};

fn write(file: &[u8], header: &Header) -> Vec<u8> {
    let shapes: Vec<TensorShape> = header
        .tensors
        .iter()
        .map(|tensor| TensorShape {
            name: tensor.name.to_string(),
            dims: tensor.dims.to_vec(),
            format: tensor.format,
        })
        .collect();
    let mut writer = Writer::new(Vec::new(), &header.metadata, &shapes)
        .expect("what the parser takes, the writer takes");
    for tensor in &header.tensors {
        let data = &file[tensor.offset..][..tensor.bytes];
        writer.append(data).expect("a vector takes all bytes");
    }
    writer.finish().expect("every tensor has its data")
}

fuzz_target!(|file: &[u8]| {
    let Ok(header) = parse(file) else {
        return;
    };
    let written = write(file, &header);
    let again = parse(&written).expect("what the writer writes, the parser takes");
    assert_eq!(again.tensors.len(), header.tensors.len());
    // Bytes are compared, not values: a NaN differs from itself.
    assert_eq!(write(&written, &again), written);
});
