//! Any bytes are a frame or are refused, and what is a message, or hidden
//! states, stays so: its frame is read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_offload::wire::{
    HEADER_BYTES, Header, MessageSet, NumberFormat, STATES_FIELDS_BYTES, STATES_UP, StatesHeader,
    StatesShape, ToEdge, ToNode, decode, encode,
};

fn stays<M: MessageSet>(header: Header, body: &[u8]) {
    let Ok(message) = decode::<M>(header, body) else {
        return;
    };
    let frame = encode(&message).expect("what was read can be written");
    let (first, rest) = frame.split_first_chunk::<HEADER_BYTES>().expect("a header");
    let header = Header::parse(*first).expect("a header of ours");
    assert_eq!(header.body_bytes as usize, rest.len());
    let again = decode::<M>(header, rest).expect("a body of ours");
    // Bytes, for numbers that are none do not equal themselves.
    assert_eq!(encode(&again).expect("the same message"), frame);
}

/// The states in a body, for ends that agreed on this.
fn states(body: &[u8], width: usize, format: NumberFormat) {
    let shape = StatesShape::new(width, format).expect("a width that fits");
    let Some((fields, values)) = body.split_first_chunk::<STATES_FIELDS_BYTES>() else {
        return;
    };
    let Ok(header) = StatesHeader::parse(fields, body.len(), &shape) else {
        return;
    };
    assert!(body.len() <= shape.body_bytes_max());
    let mut read = Vec::new();
    shape.read_values(values, &mut read);
    assert_eq!(read.len(), usize::from(header.columns) * width);
    let mut frame = Vec::new();
    header.write(STATES_UP, &shape, &read, &mut frame);
    let again = frame[HEADER_BYTES..].first_chunk().expect("fields");
    let again = StatesHeader::parse(again, frame.len() - HEADER_BYTES, &shape);
    assert_eq!(again.expect("a frame of ours"), header);
    if format == NumberFormat::F32 {
        assert_eq!(&frame[HEADER_BYTES + STATES_FIELDS_BYTES..], values);
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((&first, body)) = bytes.split_first() {
        let format = NumberFormat::ALL[usize::from(first) % 3];
        states(body, 1 + usize::from(first / 3), format);
    }
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return;
    };
    let Ok(header) = Header::parse(*header) else {
        return;
    };
    let body = &body[..body.len().min(header.body_bytes as usize)];
    stays::<ToNode>(header, body);
    stays::<ToEdge>(header, body);
});
