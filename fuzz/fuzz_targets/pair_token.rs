//! Any text is a pairing token or is refused, and what is one stays one: its
//! word is read back as the same. So it is with the address that it names, and
//! with what a client calls itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_offload::{
    transport::NodeAddress,
    trust::{ClientName, Fingerprint, PairToken},
};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(token) = text.parse::<PairToken>() {
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    // No fuzzer finds a checksum, so that one is made.
    if let Some((head, address)) = bytes.split_first_chunk::<52>() {
        let token = PairToken {
            id: u32::from_le_bytes(*head.first_chunk().expect("4 of 52 bytes")),
            secret: *head[4..].first_chunk().expect("16 of 48 bytes"),
            authority: Fingerprint(*head[20..].first_chunk().expect("32 of 32 bytes")),
            address: String::from_utf8_lossy(address).into_owned(),
        };
        let read = token.to_string().parse::<PairToken>();
        assert_eq!(read.is_ok(), token.address.len() <= 255);
        assert!(read.is_err() || read == Ok(token));
    }
    if let Ok(address) = text.parse::<NodeAddress>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(name) = text.parse::<ClientName>() {
        assert!((1..=48).contains(&name.as_str().len()));
        assert_eq!(name.to_string().parse::<ClientName>().ok(), Some(name));
    }
});
