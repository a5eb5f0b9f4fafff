//! Where tokens can come from.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where the next tokens come from. Every mode commits the same text; they
/// differ in time, in what crosses the link and in who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The edge computes. Nothing crosses the link.
    Local,
    /// The edge computes the first layers, the node the others. One hidden
    /// state crosses each way for every token.
    Split,
    /// The node computes. The prompt's ids go up once, ids come down.
    Stream,
    /// The edge drafts, the node verifies, the edge waits for it. Draft ids go
    /// up, the committed ones come down.
    #[serde(rename = "verify")]
    VerifySequential,
    /// The same, and the edge drafts on while it waits.
    VerifyPipelined,
    /// The node drafts and verifies. What crosses is as in `Stream`.
    DraftAtNode,
}

impl Mode {
    /// All modes; where two cost the same, the earlier is taken.
    pub const ALL: [Self; 6] = [
        Self::Local,
        Self::Split,
        Self::Stream,
        Self::VerifySequential,
        Self::VerifyPipelined,
        Self::DraftAtNode,
    ];

    /// The name in policies and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Split => "split",
            Self::Stream => "stream",
            Self::VerifySequential => "verify",
            Self::VerifyPipelined => "verify_pipelined",
            Self::DraftAtNode => "draft_at_node",
        }
    }

    /// Whether anything of the generation leaves the edge.
    pub fn is_remote(self) -> bool {
        self != Self::Local
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_serde() {
        for mode in Mode::ALL {
            let name = serde_json::to_value(mode).unwrap();
            assert_eq!(name, mode.name());
            assert_eq!(serde_json::from_value::<Mode>(name).unwrap(), mode);
        }
    }
}
