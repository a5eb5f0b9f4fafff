//! Conditions over the signals, in CEL.
//!
//! Of the Common Expression Language a condition may use signals by name,
//! literals, `! && || == != < <= > >= + - * / ?:`, `in` with a list of
//! literals, and `known(SIGNAL)`. There are no functions, macros or fields, so
//! the work of an evaluation is bounded by the length of the text. All numbers
//! are floating-point. Kinds are checked when a condition is read, so that
//! nothing but an unknown signal or a division can leave it without a result.
//!
//! An unknown signal has no value: `true || charge < 0.2` is true without it
//! and `false && charge < 0.2` false, as CEL has it, and where the result
//! depends on it the condition is undecided.

mod checker;

use super::{
    Signals,
    signal::{Kind, Scalar, Signal},
};
use cel::{Context, Env, IdedExpr, Value};
use checker::Checker;
use std::sync::Arc;

/// Longest condition, in bytes.
pub const CONDITION_BYTES_MAX: usize = 512;
/// Deepest nesting of brackets and of `?:`. The parser descends through a dozen
/// functions for each, and its own limit comes after a thread's usual stack.
const DEPTH_MAX: u16 = 6;
/// Before the name of a signal: the variable that says whether it is known.
const KNOWN: &str = "known_";

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of the condition: {what}")]
pub struct ConditionError {
    /// Where, counted in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

/// Why a condition has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// It depends on signals that are not known.
    #[error("{} not known", names(.0))]
    Unknown(Vec<&'static str>),
    /// It divides zero by zero.
    #[error("its arithmetic has no result")]
    Arithmetic,
}

fn names(signals: &[&'static str]) -> String {
    let verb = if signals.len() == 1 { "is" } else { "are" };
    format!("`{}` {verb}", signals.join("`, `"))
}

/// A condition that was read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    text: String,
    expression: IdedExpr,
    signals: Vec<&'static str>,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// The first place at which the text is too long or nested too deep, is not
    /// CEL, names what is not a signal, or mixes kinds.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let refuse = |column, what: String| ConditionError { column, what };
        if text.len() > CONDITION_BYTES_MAX {
            let what = format!(
                "it may have {CONDITION_BYTES_MAX} bytes, not {}",
                text.len()
            );
            return Err(refuse(CONDITION_BYTES_MAX + 1, what));
        }
        let plain = |c: char| c.is_ascii_graphic() || c == ' ' || c == '\n';
        if let Some(at) = text.chars().position(|c| !plain(c)) {
            return Err(refuse(at + 1, "only ASCII can stand here".into()));
        }
        if text.trim().is_empty() {
            return Err(refuse(1, "it is empty".into()));
        }
        if let Some(at) = too_deep(text) {
            let what = format!("it is nested deeper than {DEPTH_MAX}");
            return Err(refuse(at + 1, what));
        }
        // Of the default environment: one without macros and functions.
        let parser = Env::default().parser().max_recursion_depth(DEPTH_MAX);
        let (mut expression, source) = parser.parse_with_source_info(text).map_err(|errors| {
            let first = errors.errors.first();
            let (line, column) = first.map_or((1, 1), |error| error.pos);
            let what = first.map_or("it cannot be read", |error| error.msg.as_str());
            refuse(column_of(text, line, column), what.replace('\n', " "))
        })?;
        let mut checker = Checker {
            source: &source,
            signals: Vec::new(),
        };
        match checker.kind(&mut expression, 0)? {
            Kind::Bool => Ok(Self {
                text: text.to_owned(),
                expression,
                signals: checker.signals,
            }),
            other => {
                let what = format!("it is {}, where true or false is wanted", other.name());
                Err(refuse(1, what))
            }
        }
    }

    /// The text that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signals it names.
    pub fn signals(&self) -> &[&'static str] {
        &self.signals
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// It has no result.
    pub fn holds(&self, signals: &Signals) -> Result<bool, Undecided> {
        let mut context = Context::with_env(Arc::new(Env::default()));
        let mut unknown = Vec::new();
        for &name in &self.signals {
            let value = Signal::find(name).and_then(|signal| signal.value(signals));
            context.add_variable_from_value(format!("{KNOWN}{name}"), value.is_some());
            match value {
                None => unknown.push(name),
                Some(Scalar::Bool(value)) => context.add_variable_from_value(name, value),
                Some(Scalar::Number(value)) => context.add_variable_from_value(name, value),
                Some(Scalar::Text(value)) => context.add_variable_from_value(name, value),
            }
        }
        match Value::resolve(&self.expression, &context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            _ if unknown.is_empty() => Err(Undecided::Arithmetic),
            _ => Err(Undecided::Unknown(unknown)),
        }
    }
}

/// Where brackets or conditionals are nested too deep.
fn too_deep(text: &str) -> Option<usize> {
    let (mut brackets, mut conditionals) = (0_u16, 0_u16);
    text.bytes().position(|byte| {
        match byte {
            b'(' | b'[' | b'{' => brackets += 1,
            b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
            b'?' => conditionals += 1,
            _ => {}
        }
        brackets + conditionals > DEPTH_MAX
    })
}

/// The column in the whole text, whose lines are counted from 1.
fn column_of(text: &str, line: isize, column: isize) -> usize {
    let before = usize::try_from(line - 1).unwrap_or(0);
    let before: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let column = usize::try_from(column).unwrap_or(0).max(1);
    (before + column).min(text.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Privacy;
    use proptest::prelude::*;

    fn signals() -> Signals {
        Signals {
            online: Some(true),
            rtt_ms: Some(40.0),
            loss: Some(0.0),
            on_battery: Some(false),
            privacy: Some(Privacy::Internal),
            queue_depth: Some(0.0),
            ..Signals::default()
        }
    }

    #[test]
    fn conditions_hold_or_do_not() {
        for (text, holds) in [
            ("rtt_ms > 39", true),
            ("rtt_ms + 5 * 2 == 50", true),
            ("rtt_ms - 50 < -9.5", true),
            ("!online || rtt_ms >= 41.0", false),
            ("privacy == \"internal\"", true),
            ("privacy in ['private', 'public']", false),
            ("rtt_ms in [1, 40]", true),
            ("known(charge)", false),
            ("known(rtt_ms) && rtt_ms / 2 == 20", true),
            ("online ? loss > 0.1 : true", false),
            ("on_battery && charge < 0.2", false),
            ("charge < 0.2 && on_battery", false),
            ("known(charge) && charge < 0.2", false),
            ("charge < 0.2 || online", true),
            ("rtt_ms / loss > 1e300", true),
        ] {
            let condition = Condition::parse(text).unwrap();
            assert_eq!(condition.holds(&signals()), Ok(holds), "{text}");
        }
    }

    #[test]
    fn what_depends_on_the_unknown_is_undecided() {
        let condition = Condition::parse("online && charge < 0.2").unwrap();
        assert_eq!(condition.signals(), ["online", "charge"]);
        let error = condition.holds(&signals()).unwrap_err();
        assert_eq!(error, Undecided::Unknown(vec!["charge"]));
        assert_eq!(error.to_string(), "`charge` is not known");
        let condition = Condition::parse("loss / queue_depth > 1").unwrap();
        assert_eq!(condition.holds(&signals()), Err(Undecided::Arithmetic));
    }

    #[test]
    fn what_is_no_condition_is_refused_where_it_is_wrong() {
        for (text, error) in [
            ("", "column 1 of the condition: it is empty"),
            (
                "rtt > 4",
                "column 1 of the condition: `rtt` is not a signal; did you mean `rtt_ms`?",
            ),
            (
                "rtt_ms",
                "column 1 of the condition: it is a number, where true or false is wanted",
            ),
            (
                "online && rtt_ms",
                "column 11 of the condition: a number stands here",
            ),
            (
                "rtt_ms > 'public'",
                "column 10 of the condition: a text stands here",
            ),
            (
                "privacy == 'secret'",
                "the texts there are: public, internal, private",
            ),
            ("size([1]) > 0", "conditions have no `size`"),
            (
                "[1].exists(x, x > 0)",
                "conditions have no function `exists`",
            ),
            (
                "rtt_ms.matches('a')",
                "conditions have no function `matches`",
            ),
            ("signals.rtt_ms > 1", "signals have no fields"),
            ("rtt_ms % 2 == 0", "conditions have no `%`"),
            ("{1: 2} == {1: 2}", "only signals, literals and operators"),
            ("known(1)", "takes the name of a signal"),
            ("rtt_ms >", "column 9 of the condition"),
            (
                "online && \u{1f600}",
                "column 11 of the condition: only ASCII",
            ),
            ("99999999999999999999 > rtt_ms", "column 1 "),
        ] {
            let said = Condition::parse(text).unwrap_err().to_string();
            assert!(said.contains(error), "{text}: {said}");
        }
    }

    #[test]
    fn size_is_bounded() {
        let long = "online || ".repeat(60) + "online";
        assert!(
            Condition::parse(&long)
                .unwrap_err()
                .what
                .contains("512 bytes")
        );
        for text in [
            format!("{}online{}", "(".repeat(240), ")".repeat(240)),
            format!("{}online", "!".repeat(500)),
            format!("rtt_ms > {}1", "-".repeat(500)),
            format!("{}1 > 0", "1+".repeat(250)),
            format!("online{}", "[0]".repeat(160)),
            format!("{}online", "online?".repeat(70)),
            format!("{}online{}", "online?".repeat(6), ":online".repeat(6)),
            format!("{}online{}", "(".repeat(6), ")".repeat(6)),
            format!("{}online{}", "(!".repeat(6), ")".repeat(6)),
            "[".repeat(500),
            "()".repeat(250),
            "online.".repeat(70),
            "online && ".repeat(50) + "online",
            "rtt_ms == ".repeat(50) + "rtt_ms",
        ] {
            // Refused or not, it returns.
            let _ = Condition::parse(&text).map(|condition| condition.holds(&signals()));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = Condition::parse(&text);
        }

        #[test]
        fn no_mixture_of_words_panics(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "rtt_ms", "online", "privacy", "charge", "known", "(", ")", "[", "]", "{", "}",
                    ",", ".", "?", ":", "!", "-", "+", "*", "/", "%", "<", "<=", "==", "!=", "&&",
                    "||", "in", "1", "2.5", "1e9", "'a", "\"private\"", "true", "null", "b'x'",
                    "r\"\\", "0x", "0u", "`", "\\", "//", "\n", "has", "has(online.x)", "..", ".?",
                ]),
                0..24,
            ),
            joint in prop::sample::select(vec!["", " "]),
        ) {
            if let Ok(condition) = Condition::parse(&words.join(joint)) {
                let _ = condition.holds(&signals());
            }
        }
    }
}
