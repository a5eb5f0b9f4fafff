//! Where a user's files are kept.

use std::{env, path::PathBuf};

/// What may be lost, because it is made again: `$XDG_CACHE_HOME/outrigger`, or
/// where the system keeps such files.
pub(crate) fn cache() -> Option<PathBuf> {
    let of_system = if cfg!(windows) {
        folder("LOCALAPPDATA", "")
    } else if cfg!(target_os = "macos") {
        folder("HOME", "Library/Caches")
    } else {
        folder("HOME", ".cache")
    };
    of("XDG_CACHE_HOME", of_system)
}

/// What must be kept, such as keys: `$XDG_STATE_HOME/outrigger`, or where the
/// system keeps such files.
pub(crate) fn state() -> Option<PathBuf> {
    let of_system = if cfg!(windows) {
        folder("APPDATA", "")
    } else if cfg!(target_os = "macos") {
        folder("HOME", "Library/Application Support")
    } else {
        folder("HOME", ".local/state")
    };
    of("XDG_STATE_HOME", of_system)
}

fn of(variable: &str, of_system: Option<PathBuf>) -> Option<PathBuf> {
    let own = env::var_os(variable).map(PathBuf::from);
    let own = own.filter(|path| path.is_absolute());
    Some(own.or(of_system)?.join("outrigger"))
}

fn folder(variable: &str, inside: &str) -> Option<PathBuf> {
    Some(PathBuf::from(env::var_os(variable)?).join(inside))
}
