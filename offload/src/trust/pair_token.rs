use super::Fingerprint;
use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

const PREFIX: &str = "orpair1";
const ID: usize = 4;
const SECRET: usize = 16;
const DIGEST: usize = 32;
const CHECK: usize = 4;
const FIXED: usize = ID + SECRET + DIGEST;
const ADDRESS_MAX: usize = 255;

/// What an edge needs to enrol with a node, as one word that can be copied.
///
/// The word is `orpair1` and, in base 32: the token's id and secret, the
/// SHA-256 of the authority's certificate, the node's address, and a checksum.
/// Who holds it may enrol one client while it lasts.
#[derive(Clone, PartialEq, Eq)]
pub struct PairToken {
    /// Which token it is.
    pub id: u32,
    /// What proves that it was handed out.
    pub secret: [u8; SECRET],
    /// That of the authority to trust.
    pub authority: Fingerprint,
    /// The node's address, `host:port`.
    pub address: String,
}

impl fmt::Debug for PairToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PairToken {{ id: {}, address: {:?}, .. }}",
            self.id, self.address
        )
    }
}

impl fmt::Display for PairToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.to_le_bytes().to_vec();
        bytes.extend(self.secret);
        bytes.extend(self.authority.0);
        bytes.extend(self.address.as_bytes());
        let check = checksum(&bytes);
        bytes.extend(check);
        write!(
            f,
            "{PREFIX}{}",
            BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
        )
    }
}

/// Why a text is no pairing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairTokenError {
    /// It is something else.
    #[error("this is no pairing token: one begins with \"{PREFIX}\"")]
    Foreign,
    /// A character is not one of a token's.
    #[error("the pairing token has characters that no token has; copy it again")]
    Characters,
    /// Its checksum is another.
    #[error("the pairing token is incomplete or mistyped; copy it again")]
    Checksum,
}

impl FromStr for PairToken {
    type Err = PairTokenError;

    fn from_str(text: &str) -> Result<Self, PairTokenError> {
        let text = text.trim().to_ascii_lowercase();
        let coded = text.strip_prefix(PREFIX).ok_or(PairTokenError::Foreign)?;
        let coded = coded.to_ascii_uppercase();
        if coded.len() > BASE32_NOPAD.encode_len(FIXED + ADDRESS_MAX + CHECK) {
            return Err(PairTokenError::Checksum);
        }
        let bytes = BASE32_NOPAD
            .decode(coded.as_bytes())
            .map_err(|e| match e.kind {
                data_encoding::DecodeKind::Symbol => PairTokenError::Characters,
                _ => PairTokenError::Checksum,
            })?;
        let read = || {
            let (body, check) = bytes.split_last_chunk::<CHECK>()?;
            if checksum(body) != *check {
                return None;
            }
            let (id, rest) = body.split_first_chunk::<ID>()?;
            let (secret, rest) = rest.split_first_chunk::<SECRET>()?;
            let (authority, address) = rest.split_first_chunk::<DIGEST>()?;
            Some(Self {
                id: u32::from_le_bytes(*id),
                secret: *secret,
                authority: Fingerprint(*authority),
                address: String::from_utf8(address.to_vec()).ok()?,
            })
        };
        read().ok_or(PairTokenError::Checksum)
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECK] {
    let digest = Sha256::digest(bytes);
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_survives_copying(
            id: u32,
            secret: [u8; 16],
            digest: [u8; 32],
            address in "[a-z0-9.]{1,40}:[0-9]{1,5}",
        ) {
            let token = PairToken { id, secret, authority: Fingerprint(digest), address };
            let text = token.to_string();
            prop_assert!(text.chars().all(|c| c.is_ascii_alphanumeric()), "one word: {}", text);
            prop_assert_eq!(text.parse(), Ok(token.clone()));
            prop_assert_eq!(format!(" {}\n", text.to_uppercase()).parse(), Ok(token));
        }

        #[test]
        fn a_changed_character_is_noticed(at in 7usize..95, to in "[a-z2-7]") {
            let token = PairToken {
                id: 7,
                secret: [8; 16],
                authority: Fingerprint([9; 32]),
                address: "node.example:4433".to_owned(),
            };
            let mut text = token.to_string();
            prop_assume!(text[at..=at] != to);
            text.replace_range(at..=at, &to);
            prop_assert_eq!(text.parse::<PairToken>(), Err(PairTokenError::Checksum));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,600}") {
            let _ = text.parse::<PairToken>();
            let _ = format!("{PREFIX}{text}").parse::<PairToken>();
        }
    }
}
