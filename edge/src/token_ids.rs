//! Token ids as they are written on the command line and in files.

use crate::model::read_text;
use anyhow::{Context as _, bail};
use outrigger_runtime::tokenizer::TokenId;
use std::path::Path;

/// Reads `1,2,3`, `1 2 3` or `[1, 2, 3]`.
pub(crate) fn parse(text: &str) -> anyhow::Result<Vec<TokenId>> {
    let text = text.trim();
    let list = match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .context("the list of token ids begins with `[` but does not end with `]`")?,
        None => text,
    };
    let words = list.split(|c: char| c == ',' || c.is_whitespace());
    let words = words.filter(|word| !word.is_empty());
    words
        .map(|word| match word.parse() {
            Ok(id) => Ok(id),
            Err(_) => bail!(
                "`{}` is not a token id; write ids as 1,2,3",
                word.chars().take(40).collect::<String>()
            ),
        })
        .collect()
}

/// Reads ids, or those in the file that `@FILE` names.
pub(crate) fn parse_or_read(argument: &str) -> anyhow::Result<Vec<TokenId>> {
    match argument.strip_prefix('@') {
        Some(path) => parse(&read_text(Path::new(path))?).with_context(|| path.to_owned()),
        None => parse(argument),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        for text in ["1,2,3", " [1, 2,3]\n", "1 2\n3", "1,2,3,"] {
            assert_eq!(parse(text).unwrap(), [1, 2, 3], "{text}");
        }
        assert!(parse("[]").unwrap().is_empty());
        for text in ["1,-2", "[1", "1.0", "4294967296", "a"] {
            parse(text).unwrap_err();
        }
    }
}
