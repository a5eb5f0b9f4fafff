//! Any bytes are a frame or are refused, and what is a message stays one: its
//! frame is read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_offload::wire::{HEADER_BYTES, Header, MessageSet, ToEdge, ToNode, decode, encode};

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

fuzz_target!(|bytes: &[u8]| {
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
