//! Digests of model files, remembered by what a file is without reading it.
//!
//! Nothing depends on that memory: a file that cannot be read or written means
//! that tensors are hashed again.

use crate::identity::{Hash, tensor_digest};
use outrigger_runtime::gguf::Gguf;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// Most files that are remembered; then the oldest goes.
const ENTRIES_MAX: usize = 256;
/// No memory of that many is larger.
const BYTES_MAX: u64 = 1 << 20;

/// What is remembered of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    file: PathBuf,
    bytes: u64,
    modified_ns: u64,
    inode: u64,
    digest: Hash,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Entries {
    entry: Vec<Entry>,
}

/// [`tensor_digest`] of a model, from the memory in `cache` where the file is
/// the one that was hashed.
pub fn digest(gguf: &Gguf, cache: Option<&Path>) -> Hash {
    let key = gguf.path().and_then(describe);
    let (Some(key), Some(cache)) = (key, cache) else {
        return tensor_digest(gguf);
    };
    let mut entries = read(cache).unwrap_or_default();
    let same = |entry: &Entry| {
        let digest = entry.digest;
        *entry
            == Entry {
                digest,
                ..key.clone()
            }
    };
    if let Some(entry) = entries.entry.iter().find(|entry| same(entry)) {
        return entry.digest;
    }
    let digest = tensor_digest(gguf);
    entries.entry.retain(|entry| entry.file != key.file);
    let surplus = (entries.entry.len() + 1).saturating_sub(ENTRIES_MAX);
    entries.entry.drain(..surplus);
    entries.entry.push(Entry { digest, ..key });
    if let Err(error) = write(cache, &entries) {
        tracing::debug!("{} was not written: {error}", cache.display());
    }
    digest
}

/// A file as it is now. Of a split model the first part stands for all: their
/// parts are made together.
fn describe(path: &Path) -> Option<Entry> {
    let file = fs::canonicalize(path).ok()?;
    let metadata = fs::metadata(&file).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Entry {
        file,
        bytes: metadata.len(),
        modified_ns: u64::try_from(modified.as_nanos()).ok()?,
        inode: inode(&metadata),
        digest: [0; 32],
    })
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}

fn read(cache: &Path) -> Option<Entries> {
    let mut text = String::new();
    let file = fs::File::open(cache).ok()?;
    file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Under a name of its own first, so that nobody reads half of it.
fn write(cache: &Path, entries: &Entries) -> std::io::Result<()> {
    if let Some(folder) = cache.parent() {
        fs::create_dir_all(folder)?;
    }
    let part = cache.with_extension(format!("part{}", std::process::id()));
    fs::write(&part, serde_json::to_vec(entries)?)?;
    fs::rename(part, cache)
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_runtime::gguf::Format;
    use outrigger_runtime::model::synthetic::{SyntheticFormats, SyntheticModel, SyntheticShape};

    fn model(path: &Path, seed: u64) {
        let shape = SyntheticShape::preset("tiny").unwrap();
        let formats = SyntheticFormats::all(Format::F32);
        let model = SyntheticModel::new(&shape, &formats, seed).unwrap();
        model.write(&fs::File::create(path).unwrap()).unwrap();
    }

    #[test]
    fn another_file_has_another_digest_and_the_same_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (file, cache) = (folder.path().join("m.gguf"), folder.path().join("c/d.json"));
        model(&file, 1);
        let gguf = Gguf::open(&file).unwrap();
        let first = digest(&gguf, Some(&cache));
        assert_eq!(first, tensor_digest(&gguf));
        // What is remembered is taken at its word.
        let lie = fs::read_to_string(&cache).unwrap();
        let entries: Entries = serde_json::from_str(&lie).unwrap();
        let entry = Entry {
            digest: [7; 32],
            ..entries.entry[0].clone()
        };
        write(&cache, &Entries { entry: vec![entry] }).unwrap();
        assert_eq!(digest(&gguf, Some(&cache)), [7; 32]);
        fs::remove_file(&file).unwrap();
        model(&file, 2);
        let second = digest(&Gguf::open(&file).unwrap(), Some(&cache));
        assert!(second != first && second != [7; 32]);
        fs::write(&cache, "{").unwrap();
        assert_eq!(digest(&Gguf::open(&file).unwrap(), Some(&cache)), second);
    }
}
