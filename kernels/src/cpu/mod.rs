//! Kernels that run on the CPU: products, norms, rotations, attention.
//!
//! The order of every reduction is fixed by the shape alone, never by the
//! thread count or by what else is in the batch, and no function of the
//! platform's libm is called: the same weights give the same bits everywhere.

pub mod activation;
pub mod attention;
pub mod dot;
pub mod elementwise;
pub mod exp;
pub mod isa;
pub mod kv;
pub(crate) mod lanes;
pub mod norm;
pub mod rope;
pub mod route;
mod simd;
pub mod vector;
