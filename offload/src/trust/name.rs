use super::TrustError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

const LENGTH_MAX: usize = 48;

/// What a client calls itself: 1 to 48 lower-case letters, digits, `-`, `_`
/// and `.`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ClientName(String);

impl ClientName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same with a number behind it, for a second client of the name.
    pub(super) fn numbered(&self, number: usize) -> Self {
        let suffix = format!("-{number}");
        let kept = self.0.len().min(LENGTH_MAX - suffix.len());
        Self(format!("{}{suffix}", &self.0[..kept]))
    }
}

impl FromStr for ClientName {
    type Err = TrustError;

    /// Cleans what was given: other characters become `-`.
    fn from_str(given: &str) -> Result<Self, TrustError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let cleaned: String = given
            .chars()
            .map(|c| c.to_ascii_lowercase())
            .map(|c| {
                if plain(c) || "-_.".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .skip_while(|&c| !plain(c))
            .take(LENGTH_MAX)
            .collect();
        if cleaned.is_empty() {
            return Err(TrustError::EmptyName(given.chars().take(80).collect()));
        }
        Ok(Self(cleaned))
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ClientName> for String {
    fn from(name: ClientName) -> Self {
        name.0
    }
}

impl TryFrom<String> for ClientName {
    type Error = TrustError;

    fn try_from(given: String) -> Result<Self, TrustError> {
        given.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_cleaned() {
        let name: ClientName = "-- Anna's Laptop\n".parse().unwrap();
        assert_eq!(name.as_str(), "anna-s-laptop-");
        assert!("../--".parse::<ClientName>().is_err());
        assert_eq!(name.numbered(2).as_str(), "anna-s-laptop--2");
    }

    proptest! {
        #[test]
        fn any_name_fits_a_file_and_a_certificate(given in ".{0,80}", number in 2usize..10_000) {
            if let Ok(name) = given.parse::<ClientName>() {
                for name in [name.numbered(number), name] {
                    prop_assert!((1..=LENGTH_MAX).contains(&name.as_str().len()));
                    prop_assert!(!name.as_str().starts_with('.'));
                    prop_assert!(!name.as_str().contains('/'));
                    prop_assert_eq!(&name.to_string().parse::<ClientName>().unwrap(), &name);
                }
            }
        }
    }
}
