//! Waiting, outside of a runtime, for what happens on it.

use std::{future::Future, sync::Arc};
use tokio::runtime::{Handle, Runtime};

/// Waits on a runtime.
#[derive(Debug, Clone)]
pub enum Waiter {
    /// A runtime that has threads of its own.
    Driven(Handle),
    /// A runtime that is driven by nothing but waiting on it: between two
    /// waits nothing happens there, and its clock, if it is paused, stands
    /// still. This is how a simulation runs decoders, which know nothing of
    /// runtimes.
    Driving(Arc<Runtime>),
}

impl Waiter {
    /// What a future comes to.
    ///
    /// # Panics
    /// On a thread that runs the runtime's tasks.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Driven(handle) => handle.block_on(future),
            Self::Driving(runtime) => runtime.block_on(future),
        }
    }
}

impl From<Handle> for Waiter {
    fn from(handle: Handle) -> Self {
        Self::Driven(handle)
    }
}

impl From<Arc<Runtime>> for Waiter {
    fn from(runtime: Arc<Runtime>) -> Self {
        Self::Driving(runtime)
    }
}
