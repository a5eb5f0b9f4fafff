//! Writing NumPy's array files.

use anyhow::Context as _;
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// A matrix of float32, little-endian, in C order, that is written row by row.
///
/// It takes its name once it is whole; until then, and if it never is, the
/// file of that name stays as it was.
pub(crate) struct NpyWriter {
    out: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
}

impl NpyWriter {
    /// Begins a file of shape `(rows, columns)`.
    pub(crate) fn create(path: &Path, rows: usize, columns: usize) -> anyhow::Result<Self> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file =
            File::create(&part).with_context(|| format!("{} cannot be written", part.display()))?;
        let mut writer = Self {
            out: BufWriter::with_capacity(1 << 20, file),
            part,
            path: path.to_path_buf(),
        };
        let dict =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
        // Magic, version, length and dictionary fill a multiple of 64 bytes.
        let len = (10 + dict.len() + 1).next_multiple_of(64) - 10;
        let header = [
            b"\x93NUMPY\x01\x00".as_slice(),
            &(len as u16).to_le_bytes(),
            dict.as_bytes(),
            &vec![b' '; len - dict.len() - 1],
            b"\n",
        ]
        .concat();
        writer.write(&header)?;
        Ok(writer)
    }

    /// Appends values.
    pub(crate) fn append(&mut self, values: &[f32]) -> anyhow::Result<()> {
        let mut bytes = Vec::with_capacity(4096);
        for values in values.chunks(1024) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            self.write(&bytes)?;
        }
        Ok(())
    }

    /// Gives the file its name.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let flushed = self.out.flush();
        flushed.with_context(|| self.failure())?;
        fs::rename(&self.part, &self.path).with_context(|| self.failure())
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.out.write_all(bytes);
        written.with_context(|| self.failure())
    }

    fn failure(&self) -> String {
        format!("{} cannot be written", self.path.display())
    }
}

impl Drop for NpyWriter {
    fn drop(&mut self) {
        // Once it was renamed there is none; a file that cannot be removed is
        // no worse than what brought us here.
        let _ = fs::remove_file(&self.part);
    }
}
