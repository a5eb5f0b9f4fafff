//! What goes to stdout, and what is said on stderr.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::ser::Formatter;
use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Buffered stdout. Errors of writing are returned, so that a closed pipe can
/// end the process quietly; flush it before it goes.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 << 10, io::stdout().lock())
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = stdout();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, PlainJson);
    // An error of writing comes out as what it was, a closed pipe for example.
    value.serialize(&mut serializer).map_err(io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// Says something beside the data. A stderr that was closed ends no work.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints text byte for byte, ended by a line break only where a terminal's
/// prompt would follow on it.
pub(crate) fn print_exact(text: &str) -> io::Result<()> {
    let mut out = stdout();
    out.write_all(text.as_bytes())?;
    if io::stdout().is_terminal() && !text.ends_with('\n') {
        writeln!(out)?;
    }
    out.flush()
}

/// Text as a terminal may show it: what it would act on, other than line
/// breaks and tabs, is escaped.
pub(crate) fn visible(text: &str) -> Visible<'_> {
    Visible(text)
}

/// See [`visible`].
pub(crate) struct Visible<'a>(&'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\n' | '\t' => f.write_char(char)?,
                _ if char.is_control() => write!(f, "{}", char.escape_unicode())?,
                _ => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// JSON without blanks in which control characters beyond ASCII are escaped
/// too: some terminals act on them.
struct PlainJson;

impl Formatter for PlainJson {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        let mut plain = 0;
        for (at, control) in fragment.match_indices(char::is_control) {
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            for char in control.chars() {
                write!(writer, "\\u{:04x}", u32::from(char))?;
            }
            plain = at + control.len();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Sends what the program says about its work to stderr.
pub(crate) fn log(verbose: u8, format: LogFormat) -> anyhow::Result<()> {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .with_env_var("OUTRIGGER_LOG")
        .from_env()
        .map_err(|e| crate::exit::Usage(format!("OUTRIGGER_LOG is not a log filter: {e}")))?;
    let log = tracing_subscriber::fmt()
        // A stderr that was closed ends no work.
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => {
            let ansi = io::stderr().is_terminal();
            log.with_ansi(ansi).without_time().init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_all_control_characters() {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PlainJson);
        "a\x1b\u{9b}é\u{7f}".serialize(&mut serializer).unwrap();
        let json = String::from_utf8(bytes).unwrap();
        assert_eq!(json, "\"a\\u001b\\u009bé\\u007f\"");
        let back: String = serde_json::from_str(&json).unwrap();
        assert_eq!(back, "a\x1b\u{9b}é\u{7f}");
    }
}
