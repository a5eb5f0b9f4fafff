//! What the service manager is told, where one started the node.

#[cfg(target_os = "linux")]
use sd_notify::{NotifyState, notify};

/// The node takes work.
pub(super) fn ready() {
    #[cfg(target_os = "linux")]
    tell(NotifyState::Ready);
}

/// The node is ending.
pub(super) fn stopping() {
    #[cfg(target_os = "linux")]
    tell(NotifyState::Stopping);
}

#[cfg(target_os = "linux")]
fn tell(state: NotifyState<'_>) {
    if let Err(error) = notify(&[state]) {
        tracing::warn!("the service manager could not be told: {error}");
    }
}
