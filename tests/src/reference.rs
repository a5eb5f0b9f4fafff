//! Reference models: GGUF files with the logits that another implementation
//! computed from the same weights.

use crate::{fixtures::fixtures, npy::Npy};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// `ref.json` of a model's folder; see the fixtures' README for the fields.
#[derive(Debug, Deserialize)]
pub struct Reference {
    /// The folder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The architecture as the GGUF files name it.
    pub gguf_arch: String,
    /// Token ids by number of them.
    pub inputs: BTreeMap<String, Vec<u32>>,
    /// For each file the key of its reference.
    pub files: BTreeMap<String, FileEntry>,
    /// By key.
    pub references: BTreeMap<String, Expected>,
}

/// Which reference a file is held against.
#[derive(Debug, Deserialize)]
pub struct FileEntry {
    /// Key into [`Reference::references`].
    pub reference: String,
}

/// What a file should give.
#[derive(Debug, Deserialize)]
pub struct Expected {
    /// For each input, the file of its logits.
    pub logits: BTreeMap<String, String>,
    /// For each input, the positions that the rows of the logits belong to;
    /// all of them where this is absent.
    #[serde(default)]
    pub positions: BTreeMap<String, Vec<usize>>,
    /// A greedy continuation.
    pub greedy: Greedy,
}

/// A greedy continuation and how clear each step was.
#[derive(Debug, Deserialize)]
pub struct Greedy {
    /// The ids it starts from.
    pub prompt: Vec<u32>,
    /// The ids that follow.
    pub tokens: Vec<u32>,
    /// Best minus second-best logit of each step.
    pub margins: Vec<f32>,
}

impl Reference {
    /// Reads a model's folder.
    ///
    /// # Panics
    ///
    /// When there is no readable `ref.json`.
    pub fn read(folder: &Path) -> Self {
        let path = folder.join("ref.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut reference: Self =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        reference.folder = folder.to_owned();
        reference
    }

    /// The folder's name.
    pub fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// What `file` should give.
    ///
    /// # Panics
    ///
    /// When `ref.json` does not name it.
    pub fn expected(&self, file: &str) -> &Expected {
        &self.references[&self.files[file].reference]
    }

    /// The expected logits for an input of `file`: positions and their rows.
    /// `None` if the input has no reference.
    pub fn logits(&self, file: &str, input: &str) -> Option<(Vec<usize>, Npy)> {
        let expected = self.expected(file);
        let npy = Npy::read(&self.folder.join(expected.logits.get(input)?));
        let positions = match expected.positions.get(input) {
            Some(positions) => positions.clone(),
            None => (0..self.inputs[input].len()).collect(),
        };
        assert_eq!(npy.shape[0], positions.len(), "{file}, input {input}");
        Some((positions, npy))
    }
}

/// The folders of models in `parent` that have a reference, in order.
pub fn references_in(parent: &Path) -> Vec<Reference> {
    let entries = fs::read_dir(parent).unwrap_or_else(|e| panic!("{}: {e}", parent.display()));
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.join("ref.json").is_file())
        .collect();
    folders.sort();
    folders
        .iter()
        .map(|folder| Reference::read(folder))
        .collect()
}

/// The models in the shared fixtures; `None` where those are not at hand.
pub fn shared_references() -> Option<Vec<Reference>> {
    Some(references_in(&fixtures()?.join("models")))
}

/// The models that come with the repository, made by `tools/reference`.
pub fn own_references() -> Vec<Reference> {
    references_in(&own_folder())
}

/// Where the repository's own reference models are.
pub fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/references")
}

/// `sum((a - b)^2) / sum(b^2)`, `b` being the reference.
pub fn nmse(pairs: impl IntoIterator<Item = (f32, f32)>) -> f64 {
    let (mut error, mut power) = (0.0, 0.0);
    for (a, b) in pairs {
        let (a, b) = (f64::from(a), f64::from(b));
        error += (a - b) * (a - b);
        power += b * b;
    }
    error / power
}
