//! How the process ends: its exit code and the sentence on stderr.

use crate::printable::Printable;
use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

const FAILED: u8 = 1;
const USAGE: u8 = 2;
pub(crate) const INTERRUPTED: u8 = 130;

/// A mistake in the command line or the configuration, found after parsing.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The user asked for an end.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The exit code of a verb's result, after an error has been told.
pub(crate) fn report(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    if error.chain().any(is_closed_pipe) {
        // The reader, `head` for example, has seen enough.
        return ExitCode::SUCCESS;
    }
    if error.is::<Interrupted>() {
        return INTERRUPTED.into();
    }
    tell(&format!("{error:#}"));
    if error.is::<Usage>() { USAGE } else { FAILED }.into()
}

fn is_closed_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    let io = cause.downcast_ref::<io::Error>();
    io.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Ends a process whose command line clap answered: help and version are
/// printed as they are, a mistake becomes one sentence.
pub(crate) fn refuse(refusal: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as HelpForNothing;
    if !refusal.use_stderr() || refusal.kind() == HelpForNothing {
        // Nothing is left to do if this cannot be written.
        let _ = refusal.print();
        return if refusal.use_stderr() { USAGE } else { 0 }.into();
    }
    tell(&sentence(&refusal.render().to_string()));
    USAGE.into()
}

/// Clap's message, which takes several lines, as one sentence.
fn sentence(message: &str) -> String {
    let (what, usage) = message
        .split_once("\nUsage: ")
        .or_else(|| message.split_once("\nFor more information"))
        .unwrap_or((message, ""));
    let mut sentence = String::new();
    for line in what.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match sentence.chars().last() {
            None => {}
            Some(':') => sentence.push(' '),
            // Clap lists what is missing, an item a line.
            Some('>') => sentence.push_str(", "),
            Some(_) => sentence.push_str("; "),
        }
        sentence.push_str(line.strip_prefix("error: ").unwrap_or(line));
    }
    let command: Vec<&str> = usage
        .split_whitespace()
        .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()))
        .collect();
    let command = if command.is_empty() {
        "outrigger".to_owned()
    } else {
        command.join(" ")
    };
    sentence + &format!("; see `{command} --help`")
}

/// Prints an error. Messages may quote files, so what a terminal would act on
/// is escaped.
fn tell(message: &str) {
    let _ = writeln!(io::stderr(), "outrigger: {}", Printable::lines(message));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_become_sentences() {
        let unexpected = "error: unexpected argument '--tensor' found\n\n  tip: a similar argument \
                          exists: '--tensors'\n\nUsage: outrigger inspect --tensors\n\nFor more \
                          information, try '--help'.\n";
        assert_eq!(
            sentence(unexpected),
            "unexpected argument '--tensor' found; tip: a similar argument exists: '--tensors'; \
             see `outrigger inspect --help`"
        );
        let missing = "error: the following required arguments were not provided:\n  --a <A>\n  \
                       --b <B>\n\nUsage: outrigger logits --a <A> --b <B>\n";
        assert_eq!(
            sentence(missing),
            "the following required arguments were not provided: --a <A>, --b <B>; see \
             `outrigger logits --help`"
        );
        let invalid = "error: invalid value 'x' for '--threads <N>': invalid digit\n\nFor more \
                       information, try '--help'.\n";
        assert_eq!(
            sentence(invalid),
            "invalid value 'x' for '--threads <N>': invalid digit; see `outrigger --help`"
        );
    }
}
