//! A model file mapped into memory.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::error::GgufError;

/// A file mapped read-only, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Mapping {
    map: Mmap,
    file: File,
    path: PathBuf,
}

impl Mapping {
    pub(super) fn open(path: &Path) -> Result<Self, GgufError> {
        let io = |action| {
            move |source| GgufError::Io {
                path: path.to_path_buf(),
                action,
                source,
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
        // SAFETY: the map is read-only and every access to it goes through
        // bytes of any value. What remains is another process that changes the
        // file: changed bytes give other numbers, and a file made shorter is
        // met by `check_intact`.
        let map = unsafe { Mmap::map(&file) }.map_err(io("map"))?;
        Ok(Self {
            map,
            file,
            path: path.to_path_buf(),
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether all the bytes that were mapped are still the file's.
    pub(super) fn check_intact(&self) -> Result<(), GgufError> {
        let len = self.file.metadata().map_err(|source| GgufError::Io {
            path: self.path.clone(),
            action: "look at",
            source,
        })?;
        if len.len() < self.map.len() as u64 {
            return Err(GgufError::Torn {
                path: self.path.clone(),
            });
        }
        Ok(())
    }
}
