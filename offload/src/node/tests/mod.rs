//! A node whose model is a rule, and edges: one of ours, and such as mean it no
//! good.

mod client;
pub(crate) mod ground;
mod hostile;
mod limits;

pub(in crate::node) use ground::Rule;
