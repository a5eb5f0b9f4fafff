//! OLMo 2.

use super::{Family, Norms, PLAIN, QueryKeyNorm};

pub(super) const OLMO2: Family = Family {
    architectures: &["olmo2"],
    norms: Norms::After,
    query_key_norm: QueryKeyNorm::AllHeads,
    ..PLAIN
};
