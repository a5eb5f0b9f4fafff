//! Writing NumPy's array files.

use crate::whole_file::WholeFile;
use std::path::Path;

/// A matrix of float32, little-endian, in C order, that is written row by row.
pub(crate) struct NpyWriter {
    file: WholeFile,
    bytes: Vec<u8>,
}

impl NpyWriter {
    /// Begins a file of shape `(rows, columns)`.
    pub(crate) fn create(path: &Path, rows: usize, columns: usize) -> anyhow::Result<Self> {
        let mut file = WholeFile::create(path)?;
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
        file.write(&header)?;
        Ok(Self {
            file,
            bytes: Vec::new(),
        })
    }

    /// Appends values.
    pub(crate) fn append(&mut self, values: &[f32]) -> anyhow::Result<()> {
        for values in values.chunks(1024) {
            self.bytes.clear();
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            self.bytes.extend(bytes);
            self.file.write(&self.bytes)?;
        }
        Ok(())
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        self.file.finish()
    }
}
