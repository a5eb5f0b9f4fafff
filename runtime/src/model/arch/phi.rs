//! Phi-3 and Phi-4.

use super::{Family, PLAIN};

pub(super) const PHI3: Family = Family {
    architectures: &["phi3"],
    fused: true,
    ..PLAIN
};
