//! Output files that are there whole or not at all.

use anyhow::Context as _;
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// A file that takes its name once it is whole.
///
/// Until [`finish`](Self::finish), and if that is never called, what was at the
/// path before stays there.
pub(crate) struct WholeFile {
    out: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
}

impl WholeFile {
    /// Begins a file that will be at `path`.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file =
            File::create(&part).with_context(|| format!("{} cannot be written", part.display()))?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 20, file),
            part,
            path: path.to_path_buf(),
        })
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.out.write_all(bytes);
        written.with_context(|| self.failure())
    }

    /// For those who write themselves.
    pub(crate) fn writer(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Gives the file its name.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let flushed = self.out.flush();
        flushed.with_context(|| self.failure())?;
        fs::rename(&self.part, &self.path).with_context(|| self.failure())
    }

    fn failure(&self) -> String {
        format!("{} cannot be written", self.path.display())
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        // Once it was renamed there is none; a file that cannot be removed is
        // no worse than what brought us here.
        let _ = fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_appear_when_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        fs::write(&path, "before").unwrap();
        let mut abandoned = WholeFile::create(&path).unwrap();
        abandoned.write(b"half").unwrap();
        drop(abandoned);
        assert_eq!(fs::read(&path).unwrap(), b"before");
        let mut file = WholeFile::create(&path).unwrap();
        file.write(b"whole").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
