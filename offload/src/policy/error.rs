//! What can be wrong with a policy.

use super::condition::ConditionError;

/// A policy that cannot be used, and where it says what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {}{fault}", gate_prefix(.gate.as_deref()))]
pub struct PolicyError {
    /// The file, as the caller names it.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The gate, where it is in one.
    pub gate: Option<String>,
    /// What is wrong.
    pub fault: Box<Fault>,
}

fn gate_prefix(gate: Option<&str>) -> String {
    gate.map_or_else(String::new, |name| format!("gate `{name}`: "))
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file cannot be read.
    #[error("the policy cannot be read: {0}")]
    Unreadable(String),
    /// The file is larger than a policy may be.
    #[error("a policy may have {max} bytes, and there are more")]
    TooLarge {
        /// Bytes it may have.
        max: usize,
    },
    /// It is not TOML, or not of a policy's form.
    #[error("{0}")]
    Form(String),
    /// There are too many gates.
    #[error("a policy may have {max} gates, not {found}")]
    TooManyGates {
        /// Gates it may have.
        max: usize,
        /// Gates it has.
        found: usize,
    },
    /// A text is empty or too long.
    #[error("`{field}` must have 1 to {max} characters, none of them a control character")]
    Text {
        /// The field.
        field: &'static str,
        /// Characters it may have.
        max: usize,
    },
    /// A number is out of its range.
    #[error("`{field}` must be from {min} to {max}, not {value}")]
    Range {
        /// The field.
        field: &'static str,
        /// Least value.
        min: String,
        /// Largest value.
        max: String,
        /// What it is.
        value: String,
    },
    /// No mode is allowed, or a gate is about none.
    #[error("`{0}` must name at least one mode")]
    NoModes(&'static str),
    /// A gate says neither `deny` nor `only`, or both.
    #[error("a gate says either `deny = [...]` or `only = [...]`")]
    Effect,
    /// Two gates have one name.
    #[error("another gate has this name")]
    Twice,
    /// The condition is wrong.
    #[error("`when`, {0}")]
    Condition(#[from] ConditionError),
}
