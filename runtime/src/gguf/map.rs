//! A model file mapped into memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use memmap2::Mmap;

use super::error::GgufError;
use crate::platform::{advise, sigbus::Guard};

/// A file mapped read-only, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Mapping {
    /// Above `map`, because it must be dropped first.
    guard: Option<Guard>,
    map: Mmap,
    file: File,
    path: PathBuf,
    /// Whether the file has been seen shorter than the map.
    cut: AtomicBool,
}

impl Mapping {
    pub(super) fn open(path: &Path) -> Result<Self, GgufError> {
        let io = |action| {
            move |error| GgufError::Io {
                path: path.to_path_buf(),
                action,
                error,
            }
        };
        // Asked before opening: opening a pipe would wait for its writer.
        let kind = std::fs::metadata(path).map_err(io("open"))?;
        if !kind.is_file() {
            return Err(GgufError::NotAFile {
                path: path.to_path_buf(),
            });
        }
        let file = File::open(path).map_err(io("open"))?;
        // SAFETY: the map is read-only and all that is read from it are
        // numbers of any value. What remains is another process that changes
        // the file: changed bytes give other numbers, and a file made shorter
        // is what the guard is for.
        let map = unsafe { Mmap::map(&file) }.map_err(io("map"))?;
        advise::large_pages(&map);
        let guard = match map.len() {
            // An empty file is not mapped at all.
            0 => None,
            // SAFETY: `map` is a mapping of a file for reading, from its first
            // byte on, and is dropped after the guard: it is declared later.
            len => Some(unsafe { Guard::new(map.as_ptr(), len) }.map_err(io("guard"))?),
        };
        Ok(Self {
            guard,
            map,
            file,
            path: path.to_path_buf(),
            cut: AtomicBool::new(false),
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether all the bytes that were mapped are still the file's, and have
    /// been whenever this was asked.
    ///
    /// The guard knows of pages that were read and not there; the length knows
    /// of the rest. Bytes that another process exchanges go unnoticed.
    pub(super) fn check_intact(&self) -> Result<(), GgufError> {
        let file = self.file.metadata().map_err(|error| GgufError::Io {
            path: self.path.clone(),
            action: "look at",
            error,
        })?;
        if file.len() < self.map.len() as u64 {
            self.cut.store(true, Relaxed);
        }
        let torn = self.guard.as_ref().is_some_and(Guard::is_torn);
        if torn || self.cut.load(Relaxed) {
            return Err(GgufError::Torn {
                path: self.path.clone(),
            });
        }
        Ok(())
    }
}
