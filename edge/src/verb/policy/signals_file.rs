//! Signals from a file.

use anyhow::{Context as _, bail};
use outrigger_offload::policy::Signals;
use std::{fs::File, io::Read as _, path::Path};

const BYTES_MAX: u64 = 64 << 10;

/// Reads a JSON object of signals; those it leaves out are not known.
pub(super) fn read(path: &Path) -> anyhow::Result<Signals> {
    let named = || path.display().to_string();
    let mut text = String::new();
    let file = File::open(path).with_context(named)?;
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
    if read.with_context(named)? as u64 > BYTES_MAX {
        bail!("{}: signals may take {BYTES_MAX} bytes", path.display());
    }
    serde_json::from_str(&text)
        .with_context(|| format!("{}: not an object of signals", path.display()))
}
