//! Hard limits on what a policy may choose.

use super::{
    Mode, Signals,
    condition::{Condition, Undecided},
};

/// What a gate does while its condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Bars these modes.
    Deny(Vec<Mode>),
    /// Bars all but these modes.
    Only(Vec<Mode>),
}

impl Effect {
    /// Whether a mode is barred.
    pub fn bars(&self, mode: Mode) -> bool {
        match self {
            Self::Deny(modes) => modes.contains(&mode),
            Self::Only(modes) => !modes.contains(&mode),
        }
    }
}

/// A condition and what it bars.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// The name, unique in its policy.
    pub name: String,
    /// When it is shut.
    pub when: Condition,
    /// What it then does.
    pub effect: Effect,
    /// Why, as a user is told.
    pub reason: String,
}

/// How a gate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its condition does not hold: it bars nothing.
    Open,
    /// Its condition holds.
    Shut,
    /// Its condition has no result.
    Undecided(Undecided),
}

impl Gate {
    /// How it stands.
    pub fn state(&self, signals: &Signals) -> State {
        match self.when.holds(signals) {
            Ok(false) => State::Open,
            Ok(true) => State::Shut,
            Err(undecided) => State::Undecided(undecided),
        }
    }

    /// Whether it bars a mode in this state. An undecided gate is taken to be
    /// shut for what leaves the edge and open for what stays: what is not known
    /// neither sends anything nor stops a generation.
    pub fn bars(&self, state: &State, mode: Mode) -> bool {
        match state {
            State::Open => false,
            State::Shut => self.effect.bars(mode),
            State::Undecided(_) => mode.is_remote() && self.effect.bars(mode),
        }
    }
}
