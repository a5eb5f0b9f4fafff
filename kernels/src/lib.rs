//! Block formats, CPU kernels and the thread team of Outrigger.
//!
//! This crate knows numbers and threads. It does no I/O, holds no
//! configuration and has never heard of a model's name: the crates above hand
//! it slices and shapes.
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod cpu;
pub mod format;
pub mod team;
