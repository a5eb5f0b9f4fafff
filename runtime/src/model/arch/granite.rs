//! Granite 3, dense and with experts.

use super::{Family, PLAIN, Shape, llama::LLAMA};
use crate::model::{ModelError, keys::Keys};

pub(super) const GRANITE: Family = Family {
    architectures: &["granite", "granitemoe"],
    pairing: LLAMA.pairing,
    adjust,
    ..PLAIN
};

fn adjust(keys: &Keys<'_>, shape: &mut Shape) -> Result<(), ModelError> {
    shape.embedding_scale = keys.factor("embedding_scale")?.unwrap_or(1.0);
    shape.residual_scale = keys.factor("residual_scale")?.unwrap_or(1.0);
    shape.logit_scale = 1.0 / keys.factor("logit_scale")?.unwrap_or(1.0);
    Ok(())
}
