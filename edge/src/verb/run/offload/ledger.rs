//! What nodes have computed for this user, over all runs.

use crate::{folders, whole_file::WholeFile};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// No such file is larger.
const BYTES_MAX: u64 = 4 << 10;

/// Counts tokens, and adds them to those of other runs at its end.
pub(crate) struct Ledger {
    path: Option<PathBuf>,
    tokens: Arc<AtomicU64>,
    before: u64,
}

/// The file's contents.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Usage {
    cloud_tokens: u64,
}

impl Ledger {
    /// The user's own, `$XDG_STATE_HOME/outrigger/usage.toml`.
    pub(super) fn open() -> Self {
        Self::at(folders::state().map(|folder| folder.join("usage.toml")))
    }

    fn at(path: Option<PathBuf>) -> Self {
        let before = path.as_deref().map_or(0, |path| read(path).cloud_tokens);
        Self {
            path,
            tokens: Arc::new(AtomicU64::new(before)),
            before,
        }
    }

    /// The count of all runs, to go on with.
    pub(super) fn tokens(&self) -> Arc<AtomicU64> {
        self.tokens.clone()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let new = self.tokens.load(Relaxed).saturating_sub(self.before);
        let Some(path) = self.path.as_deref().filter(|_| new > 0) else {
            return;
        };
        if let Err(error) = add(path, new) {
            tracing::warn!("tokens of nodes are not counted on: {error:#}");
        }
    }
}

/// What the file says; nothing, if it cannot be read.
fn read(path: &Path) -> Usage {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => toml::from_str(&text).unwrap_or_default(),
        Err(_) => Usage::default(),
    }
}

/// Adds tokens, whoever else does so meanwhile.
fn add(path: &Path, tokens: u64) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let lock = path.with_extension("lock");
    let held = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock)
        .and_then(|file| file.lock().map(|()| file));
    let _held = held.with_context(|| lock.display().to_string())?;
    let usage = Usage {
        cloud_tokens: read(path).cloud_tokens.saturating_add(tokens),
    };
    let mut file = WholeFile::create(path)?;
    file.write(toml::to_string(&usage)?.as_bytes())?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/usage.toml");
        let ledger = || Ledger::at(Some(path.clone()));
        let (first, second) = (ledger(), ledger());
        first.tokens().fetch_add(5, Relaxed);
        second.tokens().fetch_add(7, Relaxed);
        drop(first);
        drop(second);
        assert_eq!(ledger().tokens().load(Relaxed), 12);
        fs::write(&path, "cloud_tokens = \"many\"").unwrap();
        assert_eq!(ledger().tokens().load(Relaxed), 0);
        drop(Ledger::at(None));
    }
}
