//! Command R and R+.

use super::{Family, Norms, PLAIN, QueryKeyNorm, Shape};
use crate::model::{ModelError, NormKind, keys::Keys};
use outrigger_kernels::cpu::rope::Pairing;

pub(super) const COMMAND_R: Family = Family {
    architectures: &["command-r"],
    norm: NormKind::Layer,
    pairing: Pairing::Interleaved,
    norms: Norms::Parallel,
    query_key_norm: QueryKeyNorm::OptionalEachHead,
    adjust,
    ..PLAIN
};

fn adjust(keys: &Keys<'_>, shape: &mut Shape) -> Result<(), ModelError> {
    shape.logit_scale = keys.factor("logit_scale")?.unwrap_or(1.0);
    Ok(())
}
