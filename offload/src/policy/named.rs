//! What is done where a node and a mode were named, and no policy.

use super::{Mode, Policy, PolicyError};

impl Policy {
    /// The node in this mode while it answers, else this machine; private text
    /// stays here.
    ///
    /// # Errors
    /// None that a caller could help.
    pub fn named(mode: Mode, keep_local_warm: bool) -> Result<Self, PolicyError> {
        // Where the node cannot be used so, this machine writes.
        let able = match mode {
            Mode::Split => "node_model_matches",
            Mode::VerifySequential | Mode::VerifyPipelined => "edge_has_draft",
            Mode::DraftAtNode => "node_has_draft",
            Mode::Local | Mode::Stream => "node_tokenizer_matches",
        };
        let text = format!(
            "modes_allowed = [\"local\", \"{mode}\"]\n\
         keep_local_warm = {keep_local_warm}\n\
         [[gate]]\n\
         name = \"private\"\n\
         when = 'privacy == \"private\"'\n\
         only = [\"local\"]\n\
         reason = \"the request is private\"\n\
         [[gate]]\n\
         name = \"named\"\n\
         when = 'online && {able} && privacy != \"private\"'\n\
         deny = [\"local\"]\n\
         reason = \"a node was named, and it answers\"\n"
        );
        Self::parse(&text, "--node")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Chooser, Privacy, Signals};
    use std::{sync::Arc, time::Duration};

    #[test]
    fn the_node_writes_while_it_answers() {
        for mode in Mode::ALL.into_iter().filter(|mode| mode.is_remote()) {
            let policy = Arc::new(Policy::named(mode, true).unwrap());
            assert!(policy.keep_local_warm);
            let there = Signals {
                online: Some(true),
                edge_has_model: Some(true),
                edge_has_draft: Some(true),
                node_has_draft: Some(true),
                node_model_matches: Some(true),
                node_tokenizer_matches: Some(true),
                privacy: Some(Privacy::Internal),
                t_local_ms: Some(1.0),
                ..Signals::default()
            };
            let choice = |signals: &Signals| {
                Chooser::new(policy.clone())
                    .decide(signals, Duration::ZERO)
                    .choice
            };
            assert_eq!(choice(&there), Some(mode));
            let gone = Signals {
                online: Some(false),
                ..there.clone()
            };
            assert_eq!(choice(&gone), Some(Mode::Local));
            let private = Signals {
                privacy: Some(Privacy::Private),
                ..there.clone()
            };
            assert_eq!(choice(&private), Some(Mode::Local));
            let without_drafts = Signals {
                edge_has_draft: Some(false),
                node_has_draft: Some(false),
                node_model_matches: Some(false),
                ..there.clone()
            };
            let expected = match mode {
                Mode::Stream => mode,
                _ => Mode::Local,
            };
            assert_eq!(choice(&without_drafts), Some(expected));
            let without_a_model = Signals {
                edge_has_model: Some(false),
                ..gone
            };
            assert_eq!(choice(&without_a_model), None);
        }
    }
}
