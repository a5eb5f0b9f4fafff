//! StarCoder 2.

use super::{Family, PLAIN};
use crate::model::NormKind;
use outrigger_kernels::cpu::elementwise::Activation;

pub(super) const STARCODER2: Family = Family {
    architectures: &["starcoder2"],
    norm: NormKind::Layer,
    gated: false,
    activation: Activation::GeluTanh,
    ..PLAIN
};
