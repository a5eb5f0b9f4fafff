//! Qwen 2, 2.5 and 3, dense and with experts.

use super::{Family, PLAIN, QueryKeyNorm};

pub(super) const QWEN: Family = Family {
    architectures: &["qwen2"],
    ..PLAIN
};

pub(super) const QWEN2_MOE: Family = Family {
    architectures: &["qwen2moe"],
    renormalise_experts: false,
    shared_expert: true,
    ..PLAIN
};

pub(super) const QWEN3: Family = Family {
    architectures: &["qwen3", "qwen3moe"],
    query_key_norm: QueryKeyNorm::Head,
    ..PLAIN
};
