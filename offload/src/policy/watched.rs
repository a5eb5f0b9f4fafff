//! A policy that follows its file.

use super::{Policy, PolicyError};
use arc_swap::ArcSwap;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

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

/// A policy that is read again when its file changes. A wrong edit leaves the
/// last right one in force.
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
        let state = Arc::new(State {
            policy: ArcSwap::from_pointee(Policy::load(&full)?),
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
        state.reload();
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
    fn reload(&self) {
        let mut last = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        match Policy::load(&self.path) {
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
    use std::{
        fs, thread,
        time::{Duration, Instant},
    };

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

        fs::remove_file(&path).unwrap();
        eventually("a removed file", || watched.error().is_some());
        assert_eq!(watched.policy().modes_allowed, [Mode::Split]);
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
