//! Text from files, shown so that a terminal does not act on it.

use std::fmt::{self, Write as _};

/// Text with its control and invisible formatting characters escaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printable<'a> {
    text: &'a str,
    lines: bool,
    chars_max: usize,
}

impl<'a> Printable<'a> {
    /// On one line.
    pub(crate) fn line(text: &'a str) -> Self {
        Self {
            text,
            lines: false,
            chars_max: usize::MAX,
        }
    }

    /// On one line and cut, with a mark of the cut, after some characters.
    pub(crate) fn start(text: &'a str, chars_max: usize) -> Self {
        Self {
            text,
            lines: false,
            chars_max,
        }
    }

    /// With its line breaks and tabs.
    pub(crate) fn lines(text: &'a str) -> Self {
        Self {
            text,
            lines: true,
            chars_max: usize::MAX,
        }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, char) in self.text.chars().enumerate() {
            if index == self.chars_max {
                return f.write_char('…');
            }
            match char {
                '\n' | '\t' if self.lines => f.write_char(char)?,
                // `escape_debug` would escape these for a string literal.
                '"' | '\'' | '\\' => f.write_char(char)?,
                _ => write!(f, "{}", char.escape_debug())?,
            }
        }
        Ok(())
    }
}

/// Bytes as text in quotes, those that are not UTF-8 as `\xNN`.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut shown = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\'' => shown.push(char),
                _ => shown.extend(char.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\x{byte:02X}");
        }
    }
    shown.push('"');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        let hostile = "a\x1b[2J\u{9b}1m\u{202e}b\r\n";
        let shown = Printable::line(hostile).to_string();
        assert_eq!(shown, "a\\u{1b}[2J\\u{9b}1m\\u{202e}b\\r\\n");
        assert_eq!(Printable::start("abc", 2).to_string(), "ab…");
        assert_eq!(Printable::start("ab", 2).to_string(), "ab");
        assert_eq!(Printable::lines("a\tb\nc\r").to_string(), "a\tb\nc\\r");
        assert_eq!(quoted(b"it's \xE2\x96 \"x\""), r#""it's \xE2\x96 \"x\"""#);
    }
}
