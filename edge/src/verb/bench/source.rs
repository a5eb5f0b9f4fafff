//! Models made for the occasion.

use crate::{interrupt, progress::Progress, whole_file::WholeFile};
use outrigger_runtime::{
    gguf::Gguf,
    model::{
        mixture::Mixture,
        synthetic::{PRESETS, SyntheticFormats, SyntheticModel, SyntheticShape},
    },
};
use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

/// What the values are drawn from.
const SEED: u64 = 0;

/// The shape of this name.
pub(super) fn shape(name: &str) -> Result<SyntheticShape, String> {
    SyntheticShape::preset(name).ok_or_else(|| {
        let names = PRESETS.map(|(name, _)| name).join(", ");
        format!("there are {names}")
    })
}

/// Writes a model with random weights to `save`, or to a file that is gone when
/// the guard is.
pub(super) fn make(
    shape: &SyntheticShape,
    mixture: Mixture,
    save: Option<&Path>,
) -> anyhow::Result<(Gguf, Option<Temporary>)> {
    let formats = SyntheticFormats::Mixture(mixture);
    let model = SyntheticModel::new(shape, &formats, SEED)?;
    if let Some(path) = save {
        write(&model, path)?;
        return Ok((Gguf::open(path)?, None));
    }
    let name = format!("outrigger-bench-{}.gguf", process::id());
    let temporary = Temporary(env::temp_dir().join(name));
    write(&model, &temporary.0)?;
    let gguf = Gguf::open(&temporary.0)?;
    // Where a mapped file may lose its name, it does so now: then nothing is
    // left of it however the process ends.
    let guard = (!cfg!(unix)).then_some(temporary);
    Ok((gguf, guard))
}

/// A file that is removed with the guard.
pub(super) struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It lies where the system cleans up by itself.
        let _ = fs::remove_file(&self.0);
    }
}

fn write(model: &SyntheticModel, path: &Path) -> anyhow::Result<()> {
    let bytes = model.tensors.iter().map(|tensor| {
        let blocks = tensor.dims.iter().product::<usize>() / tensor.format.block_len();
        (blocks * tensor.format.block_bytes()) as u64
    });
    let mut out = Output {
        progress: Progress::new(bytes.sum(), "bytes of random weights"),
        file: WholeFile::create(path)?,
    };
    let written = model.write(&mut out);
    interrupt::check()?;
    written?;
    out.file.finish()
}

/// The file, and how much of it is there.
struct Output {
    progress: Progress,
    file: WholeFile,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        interrupt::check().map_err(io::Error::other)?;
        self.file.write(bytes).map_err(io::Error::other)?;
        self.progress.advance(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mixture;

    #[test]
    fn a_temporary_model_leaves_nothing_behind() {
        let shape = shape("tiny").unwrap();
        let (gguf, guard) = make(&shape, Mixture::Q4_0, None).unwrap();
        let path = gguf.path().unwrap().to_path_buf();
        assert_eq!(path.exists(), guard.is_some());
        assert!(gguf.check_intact().is_ok());
        drop(gguf);
        drop(guard);
        assert!(!path.exists());
    }

    #[test]
    fn a_saved_model_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.gguf");
        let shape = shape("tiny").unwrap();
        let (gguf, guard) = make(&shape, Mixture::Q4_K_M, Some(&path)).unwrap();
        assert!(guard.is_none());
        drop(gguf);
        assert!(path.is_file());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_are_listed_where_one_is_wrong() {
        assert!(super::shape("llama-2b").unwrap_err().contains("llama-1b"));
        assert!(mixture("q9").unwrap_err().contains("q4_k_m"));
    }
}
