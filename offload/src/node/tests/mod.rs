//! A node whose model is a rule, and edges that mean it no good.

mod ground;
mod hostile;
mod limits;
