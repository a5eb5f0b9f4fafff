//! The number of threads that `run` uses where nobody names one: tried once for
//! each model and machine, and remembered in the user's cache folder.
//!
//! Nothing depends on that file: one that cannot be read or written means that
//! the threads are tried again.

use crate::{folders, whole_file::WholeFile};
use anyhow::Context as _;
use outrigger_kernels::cpu::isa::Isa;
use outrigger_runtime::{
    loaded::{LoadedModel, RunOptions},
    platform::cpus,
    threads::{candidates, choice},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

/// Most choices that are remembered; then the oldest goes.
const CHOICES_MAX: usize = 64;
/// No file of that many choices is larger.
const BYTES_MAX: u64 = 64 << 10;

/// A choice that was made, and what it holds for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// The machine's processor, and how many of its processors may be used.
    processor: String,
    processors: usize,
    /// The kernels' instruction set.
    kernels: String,
    /// The model: its architecture, shape and size.
    pub(crate) model: String,
    /// What was fastest.
    pub(crate) threads: usize,
}

impl Choice {
    fn is_for(&self, other: &Self) -> bool {
        self.is_here(other) && self.model == other.model && self.kernels == other.kernels
    }

    fn is_here(&self, other: &Self) -> bool {
        self.processor == other.processor && self.processors == other.processors
    }

    /// For this machine, of no model yet.
    fn here() -> Self {
        Self {
            processor: cpus::model_name().unwrap_or_default(),
            processors: cpus::usable(),
            kernels: String::new(),
            model: String::new(),
            threads: cpus::usable(),
        }
    }

    fn can_be(&self) -> bool {
        (1..=self.processors).contains(&self.threads)
    }
}

/// The file's contents.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Choices {
    choice: Vec<Choice>,
}

/// Threads to run `loaded` with: the number remembered, or else the fastest
/// of those tried now. `None` if there is nothing to choose or it cannot be
/// told yet.
pub(crate) fn choose(loaded: &LoadedModel, options: &RunOptions) -> Option<usize> {
    let file = file()?;
    let candidates = candidates(cpus::usable(), cpus::physical());
    if candidates.len() == 1 {
        return None;
    }
    let model = loaded.model();
    let wanted = Choice {
        kernels: options.isa.unwrap_or_else(Isa::detect).name().to_owned(),
        model: format!(
            "{}, {} layers of {}, {} bytes",
            model.architecture,
            model.layers.len(),
            model.width,
            model.gguf().total_bytes()
        ),
        ..Choice::here()
    };
    let mut choices = Choices::read(&file);
    if let Some(threads) = choices.find(&wanted) {
        return Some(threads);
    }
    let trials = match loaded.try_threads(options, &candidates) {
        Ok(trials) => trials,
        // Laying out the model will say it better.
        Err(error) => {
            tracing::debug!("the number of threads cannot be tried: {error}");
            return None;
        }
    };
    let threads = choice(&trials)?;
    tracing::debug!(?trials, threads, "threads tried");
    choices.add(Choice { threads, ..wanted });
    if let Err(error) = choices.write(&file) {
        tracing::debug!("the number of threads is not remembered: {error:#}");
    }
    Some(threads)
}

/// The choices that were made on this machine.
pub(crate) fn remembered() -> Vec<Choice> {
    let Some(file) = file() else {
        return Vec::new();
    };
    let here = Choice::here();
    let mut choices = Choices::read(&file).choice;
    choices.retain(|choice| choice.is_here(&here) && choice.can_be());
    choices
}

/// `$XDG_CACHE_HOME/outrigger/threads.toml`, or where the system keeps such
/// files.
fn file() -> Option<PathBuf> {
    Some(folders::cache()?.join("threads.toml"))
}

impl Choices {
    /// What the file says; nothing, if it cannot be read.
    fn read(path: &Path) -> Self {
        let read = || -> anyhow::Result<Self> {
            let mut text = String::new();
            let file = File::open(path)?;
            file.take(BYTES_MAX).read_to_string(&mut text)?;
            Ok(toml::from_str(&text)?)
        };
        read().unwrap_or_else(|error| {
            tracing::debug!("{}: {error:#}", path.display());
            Self::default()
        })
    }

    fn find(&self, wanted: &Choice) -> Option<usize> {
        let found = self.choice.iter().find(|choice| choice.is_for(wanted));
        found.filter(|choice| choice.can_be()).map(|c| c.threads)
    }

    fn add(&mut self, choice: Choice) {
        self.choice.retain(|other| !other.is_for(&choice));
        self.choice.push(choice);
        let surplus = self.choice.len().saturating_sub(CHOICES_MAX);
        self.choice.drain(..surplus);
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let mut file = WholeFile::create(path)?;
        file.write(text.as_bytes())?;
        file.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(model: &str, threads: usize) -> Choice {
        Choice {
            processor: "a processor".into(),
            processors: 8,
            kernels: "avx2".into(),
            model: model.into(),
            threads,
        }
    }

    #[test]
    fn a_choice_is_found_again_by_what_it_holds_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/threads.toml");
        assert_eq!(Choices::read(&path), Choices::default());
        let mut choices = Choices::default();
        choices.add(choice("small", 4));
        choices.add(choice("large", 8));
        choices.add(choice("small", 1));
        choices.write(&path).unwrap();
        let choices = Choices::read(&path);
        assert_eq!(choices.find(&choice("small", 8)), Some(1));
        assert_eq!(choices.find(&choice("large", 8)), Some(8));
        assert_eq!(choices.find(&choice("other", 8)), None);
        let fewer = Choice {
            processors: 4,
            ..choice("small", 8)
        };
        assert_eq!(choices.find(&fewer), None);
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let mut choices = Choices::default();
        choices.add(choice("none", 0));
        choices.add(choice("many", 9));
        assert_eq!(choices.find(&choice("none", 1)), None);
        assert_eq!(choices.find(&choice("many", 1)), None);
    }

    #[test]
    fn a_file_that_is_no_such_file_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("threads.toml");
        let long = format!("# {}", "x".repeat(2 * BYTES_MAX as usize));
        for bytes in [
            &b"\xff\xfe"[..],
            b"[[choice]]\nmodel = 3\n",
            long.as_bytes(),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(Choices::read(&path), Choices::default());
        }
        // A folder can neither be read nor replaced.
        let mut choices = Choices::default();
        choices.add(choice("small", 1));
        assert_eq!(Choices::read(folder.path()), Choices::default());
        choices.write(folder.path()).unwrap_err();
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let mut choices = Choices::default();
        for model in 0..CHOICES_MAX + 3 {
            choices.add(choice(&"m".repeat(model), 1));
        }
        assert_eq!(choices.choice.len(), CHOICES_MAX);
        assert_eq!(choices.choice[0].model, "mmm");
    }
}
