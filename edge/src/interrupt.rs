//! What Ctrl-C does in verbs that do not talk with the user.

use crate::exit::{INTERRUPTED, Interrupted};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};

/// Set once the user asked for an end; long work looks at it.
static REQUESTED: AtomicBool = AtomicBool::new(false);
/// Presses of Ctrl-C that are answered by the flag alone.
static PATIENCE: AtomicU8 = AtomicU8::new(0);

/// From now on Ctrl-C ends the process.
pub(crate) fn handle() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        let patient = PATIENCE.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        REQUESTED.store(true, SeqCst);
        if patient.is_err() {
            std::process::exit(INTERRUPTED.into());
        }
    })?;
    Ok(())
}

/// The flag that Ctrl-C sets from now on, instead of ending the process at
/// once, so that the work under way can be ended cleanly. A second Ctrl-C
/// does not wait for that.
pub(crate) fn flag() -> &'static AtomicBool {
    REQUESTED.store(false, SeqCst);
    PATIENCE.store(1, SeqCst);
    &REQUESTED
}

/// An error once the user has asked for an end.
pub(crate) fn check() -> Result<(), Interrupted> {
    if REQUESTED.load(SeqCst) {
        return Err(Interrupted);
    }
    Ok(())
}
