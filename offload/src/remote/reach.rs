//! Whether a node can be had.

/// Whether a node can be used, which is found out beside the decoding.
pub trait Reach: Send {
    /// Told that the node has failed, so that it is tried again from time to
    /// time.
    fn failed(&self);

    /// Whether it answers again.
    fn is_back(&self) -> bool;

    /// Why it will not come back by itself, if it is so.
    fn refused(&self) -> Option<String> {
        None
    }
}
