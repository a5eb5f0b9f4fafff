//! The pairing tokens that a node has handed out.

use super::{EnrolRefusal, Fingerprint, TrustError, folder::PrivateFolder};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

const FILE: &str = "tokens.json";
/// The most tokens that may wait to be used.
pub const OUTSTANDING_MAX: usize = 16;
/// The wrong secrets after which a token is locked.
pub const WRONG_GUESSES_MAX: u32 = 10;
/// How long an ended token is remembered, so that its end can be told.
const REMEMBERED_S: u64 = 24 * 3600;
const REMEMBERED_MAX: usize = 64;

/// Tokens by their ids, each with the hash of its secret. Times are in
/// seconds since 1970.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenBook {
    tokens: Vec<Entry>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: u32,
    secret_sha256: Fingerprint,
    expires_unix_s: u64,
    wrong_guesses: u32,
    used: bool,
}

impl Entry {
    fn locked(&self) -> bool {
        self.wrong_guesses >= WRONG_GUESSES_MAX
    }

    fn outstanding(&self, now: u64) -> bool {
        !self.used && !self.locked() && self.expires_unix_s > now
    }
}

impl TokenBook {
    pub(super) fn load(folder: &PrivateFolder) -> Result<Self, TrustError> {
        let Some(text) = folder.read_secret(FILE)? else {
            return Ok(Self::default());
        };
        serde_json::from_str(&text).map_err(|e| folder.damaged(FILE, e))
    }

    pub(super) fn save(&self, folder: &PrivateFolder) -> Result<(), TrustError> {
        let text = serde_json::to_string_pretty(self);
        folder.write(FILE, &text.map_err(|e| folder.damaged(FILE, e))?)
    }

    /// Notes a new token, whose id no other has.
    pub(super) fn issue(
        &mut self,
        id: u32,
        secret: &[u8],
        lasts: std::ops::Range<u64>,
    ) -> Result<(), TrustError> {
        let now = lasts.start;
        let remembered =
            |t: &Entry| t.id != id && t.expires_unix_s.saturating_add(REMEMBERED_S) > now;
        self.tokens.retain(remembered);
        if self.tokens.iter().filter(|t| t.outstanding(now)).count() >= OUTSTANDING_MAX {
            return Err(TrustError::TooManyTokens(OUTSTANDING_MAX));
        }
        if self.tokens.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.tokens.iter().position(|t| !t.outstanding(now))
        {
            self.tokens.remove(oldest);
        }
        self.tokens.push(Entry {
            id,
            secret_sha256: Fingerprint::of(secret),
            expires_unix_s: lasts.end,
            wrong_guesses: 0,
            used: false,
        });
        Ok(())
    }

    /// Whether a secret may enrol a client now; counts it where it is wrong.
    pub(super) fn check(&mut self, id: u32, secret: &[u8], now: u64) -> Result<(), EnrolRefusal> {
        let entry = self.tokens.iter_mut().find(|t| t.id == id);
        let entry = entry.ok_or(EnrolRefusal::UnknownToken)?;
        if entry.locked() {
            return Err(EnrolRefusal::Locked);
        }
        let given = Fingerprint::of(secret);
        if !bool::from(given.0.ct_eq(&entry.secret_sha256.0)) {
            entry.wrong_guesses += 1;
            return Err(EnrolRefusal::WrongSecret);
        }
        if entry.used {
            return Err(EnrolRefusal::Used);
        }
        if entry.expires_unix_s <= now {
            return Err(EnrolRefusal::Expired);
        }
        Ok(())
    }

    /// A token is good for one client.
    pub(super) fn spend(&mut self, id: u32) {
        if let Some(entry) = self.tokens.iter_mut().find(|t| t.id == id) {
            entry.used = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_once_in_its_time() {
        let mut book = TokenBook::default();
        book.issue(1, b"one", 100..700).unwrap();
        book.issue(2, b"two", 100..700).unwrap();
        assert_eq!(book.check(3, b"one", 100), Err(EnrolRefusal::UnknownToken));
        assert_eq!(book.check(1, b"two", 100), Err(EnrolRefusal::WrongSecret));
        assert_eq!(book.check(1, b"one", 699), Ok(()));
        book.spend(1);
        assert_eq!(book.check(1, b"one", 699), Err(EnrolRefusal::Used));
        assert_eq!(book.check(2, b"two", 700), Err(EnrolRefusal::Expired));
    }

    #[test]
    fn wrong_guesses_lock_a_token() {
        let mut book = TokenBook::default();
        book.issue(1, b"one", 0..600).unwrap();
        for _ in 0..WRONG_GUESSES_MAX {
            assert_eq!(book.check(1, b"?", 0), Err(EnrolRefusal::WrongSecret));
        }
        assert_eq!(book.check(1, b"one", 0), Err(EnrolRefusal::Locked));
    }

    #[test]
    fn the_book_is_bounded() {
        let mut book = TokenBook::default();
        for id in 0..OUTSTANDING_MAX as u32 {
            book.issue(id, b"x", 0..600).unwrap();
        }
        assert!(matches!(
            book.issue(99, b"x", 0..600),
            Err(TrustError::TooManyTokens(_))
        ));
        for id in 100..1000 {
            for used in 0..id {
                book.spend(used);
            }
            book.issue(id, b"x", 0..600).unwrap();
        }
        assert!(book.tokens.len() <= REMEMBERED_MAX);
        book.issue(5000, b"x", 600 + REMEMBERED_S..u64::MAX)
            .unwrap();
        assert_eq!(book.tokens.len(), 1);
    }
}
