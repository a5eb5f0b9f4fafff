//! GPT-2's spelling of bytes as printable characters.
//!
//! Bytes that Latin-1 prints stand for themselves, the others for the
//! characters from U+0100 on, in order (`bytes_to_unicode` of GPT-2's
//! `encoder.py`).

fn prints(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The characters of all bytes.
pub(crate) fn alphabet() -> [char; 256] {
    let mut next = '\u{100}'..;
    std::array::from_fn(|byte| match byte as u8 {
        byte if prints(byte) => byte.into(),
        byte => next.next().unwrap_or(byte.into()),
    })
}

/// The bytes of characters: the inverse of [`alphabet`].
pub(super) struct Bytes([Option<u8>; 0x180]);

impl Bytes {
    pub(super) fn new() -> Self {
        let mut bytes = [None; 0x180];
        for (byte, c) in (0..=u8::MAX).zip(alphabet()) {
            bytes[c as usize] = Some(byte);
        }
        Self(bytes)
    }

    /// Appends what `text` spells; a text with characters that spell no byte
    /// stands for itself.
    pub(super) fn spell(&self, text: &str, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        for c in text.chars() {
            match self.0.get(c as usize) {
                Some(&Some(byte)) => bytes.push(byte),
                _ => {
                    bytes.truncate(start);
                    bytes.extend_from_slice(text.as_bytes());
                    return;
                }
            }
        }
    }
}
