//! A policy that follows its file.

use super::{Policy, PolicyError, file};
use arc_swap::ArcSwap;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// How long a file must stay as it is before it is taken for whole, and how
/// often that is looked at: some editors empty a file and then write it.
const SETTLE: Duration = Duration::from_millis(30);
const SETTLE_TRIES: usize = 20;

/// Why a policy cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The policy is wrong as it stands.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The system does not report changes.
    #[error("{path}: changes of the policy cannot be watched: {source}", path = .path.display())]
    Watch {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: notify::Error,
    },
}

/// A policy that is read again when its file changes, within a second at most
/// and usually 30 ms after the last write. A wrong edit leaves the last right
/// policy in force.
#[derive(Debug)]
pub struct Watched {
    state: Arc<State>,
    _watcher: RecommendedWatcher,
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    policy: ArcSwap<Policy>,
    /// Why the file as it is now is not in force.
    error: Mutex<Option<PolicyError>>,
}

impl Watched {
    /// Reads a file and follows it.
    ///
    /// # Errors
    /// The policy is wrong, or the system does not report changes.
    pub fn open(path: &Path) -> Result<Self, WatchError> {
        let failed = |source| WatchError::Watch {
            path: path.to_owned(),
            source,
        };
        let full = path
            .canonicalize()
            .map_err(notify::Error::io)
            .map_err(failed)?;
        let text = file::read(&full)?;
        let state = Arc::new(State {
            policy: ArcSwap::from_pointee(Policy::parse_at(&text, &full)?),
            path: full,
            error: Mutex::new(None),
        });
        let reader = Arc::clone(&state);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Overflowed queues come as errors: what changed is not known.
                let concerned = event.map_or(true, |event| {
                    let reads = matches!(event.kind, EventKind::Access(_));
                    !reads && (event.need_rescan() || event.paths.contains(&reader.path))
                });
                if concerned {
                    reader.reload();
                }
            })
            .map_err(failed)?;
        // Editors replace a file by another; the folder sees that.
        let folder = state.path.parent().unwrap_or(Path::new("/"));
        watcher
            .watch(folder, RecursiveMode::NonRecursive)
            .map_err(failed)?;
        // What was written before the watch began is not reported.
        if file::read(&state.path).as_ref() != Ok(&text) {
            state.reload();
        }
        Ok(Self {
            state,
            _watcher: watcher,
        })
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.state.policy.load_full()
    }

    /// Why the file as it is now is not in force, if it is not.
    pub fn error(&self) -> Option<PolicyError> {
        let error = self.state.error.lock();
        error.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    /// The file's text once it stands still.
    fn settled(&self) -> Result<String, PolicyError> {
        let mut text = file::read(&self.path);
        for _ in 0..SETTLE_TRIES {
            thread::sleep(SETTLE);
            let again = file::read(&self.path);
            if again == text {
                break;
            }
            text = again;
        }
        text
    }

    fn reload(&self) {
        let mut last = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        match self
            .settled()
            .and_then(|text| Policy::parse_at(&text, &self.path))
        {
            Ok(policy) => {
                if **self.policy.load() != policy {
                    tracing::info!(path = %self.path.display(), "the policy was read again");
                    self.policy.store(Arc::new(policy));
                }
                *last = None;
            }
            // One edit makes several events; it is told once.
            Err(error) if last.as_ref() != Some(&error) => {
                tracing::warn!("{error}; the policy before stays in force");
                *last = Some(error);
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Mode;
    use std::{fs, io::Write as _, time::Instant};

    fn eventually(what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(10), "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn edits_come_into_force_and_broken_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        fs::write(&path, "").unwrap();
        let watched = Watched::open(&path).unwrap();
        assert_eq!(*watched.policy(), Policy::default());

        fs::write(&path, "modes_allowed = [\"stream\"]\n").unwrap();
        eventually("an edit", || {
            watched.policy().modes_allowed == [Mode::Stream]
        });

        fs::write(&path, "modes_allowed = [\"cloud\"]\n").unwrap();
        eventually("a broken edit", || watched.error().is_some());
        assert_eq!(watched.policy().modes_allowed, [Mode::Stream]);
        let said = watched.error().unwrap().to_string();
        assert!(said.contains("unknown variant `cloud`"), "{said}");

        // As editors do it.
        let new = folder.path().join("policy.toml.new");
        fs::write(&new, "modes_allowed = [\"split\"]\n").unwrap();
        fs::rename(&new, &path).unwrap();
        eventually("a replaced file", || {
            watched.policy().modes_allowed == [Mode::Split] && watched.error().is_none()
        });

        // Slow editors leave it empty for a while.
        let mut slow = fs::File::create(&path).unwrap();
        thread::sleep(SETTLE / 3);
        slow.write_all(b"modes_allowed = [\"stream\"]\n").unwrap();
        eventually("a slow edit", || {
            let modes = &watched.policy().modes_allowed;
            assert_ne!(*modes, [Mode::Local], "an empty file came into force");
            *modes == [Mode::Stream]
        });

        fs::remove_file(&path).unwrap();
        eventually("a removed file", || watched.error().is_some());
        assert_eq!(watched.policy().modes_allowed, [Mode::Stream]);
    }

    #[test]
    fn a_broken_policy_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        assert!(matches!(
            Watched::open(&path),
            Err(WatchError::Watch { .. })
        ));
        fs::write(&path, "mode = 1").unwrap();
        assert!(matches!(Watched::open(&path), Err(WatchError::Policy(_))));
    }
}
