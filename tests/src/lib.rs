//! What the tests that cross crates share: where the fixtures are and how
//! their arrays are read.

pub mod fixtures;
pub mod npy;
