//! Files of a base model's log-probabilities, in the format of llama.cpp's
//! `llama-perplexity --kl-divergence-base`, so that either program reads what
//! the other wrote.
//!
//! Little-endian throughout: the magic `_logits_`; context, vocabulary and
//! number of windows as i32; the tokens of all windows as i32; then for each
//! window a row for each of the positions `context / 2 .. context - 1`. A row
//! is a scale and a lowest log-probability as f32, and a u16 for each token of
//! the vocabulary, padded to an even number: log-probability = lowest + scale *
//! u16. Logits more than 16 below a row's highest count as the lowest.

use super::likelihood::LogSoftmax;
use crate::whole_file::WholeFile;
use anyhow::{Context as _, bail, ensure};
use outrigger_runtime::tokenizer::TokenId;
use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"_logits_";
/// Logits this far below the highest are not told apart.
const RANGE: f32 = 16.0;
const STEPS: f32 = 65535.0;

/// What a file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BaseShape {
    /// Tokens in a window.
    pub(super) context: usize,
    /// Tokens in the vocabulary.
    pub(super) vocab: usize,
    /// Number of windows.
    pub(super) windows: usize,
}

impl BaseShape {
    /// The least context in which a token is scored.
    pub(super) const CONTEXT_MIN: usize = 3;

    fn row_bytes(&self) -> usize {
        8 + 2 * self.vocab.next_multiple_of(2)
    }

    fn tokens(&self) -> Option<u64> {
        (self.context as u64).checked_mul(self.windows as u64)
    }

    /// Length of a file of this shape; `None` if it is no length at all.
    fn file_bytes(&self) -> Option<u64> {
        let scored = self.context - 1 - self.context / 2;
        let rows = (scored as u64).checked_mul(self.windows as u64)?;
        let rows = rows.checked_mul(self.row_bytes() as u64)?;
        let tokens = self.tokens()?.checked_mul(4)?;
        20_u64.checked_add(tokens)?.checked_add(rows)
    }
}

/// Writes a file.
pub(super) struct BaseWriter {
    file: WholeFile,
    shape: BaseShape,
    row: Vec<u8>,
}

impl BaseWriter {
    /// Begins a file. `tokens` are those of all windows, as the text has them.
    pub(super) fn create(
        path: &Path,
        shape: BaseShape,
        tokens: &[TokenId],
    ) -> anyhow::Result<Self> {
        let mut file = WholeFile::create(path)?;
        file.write(MAGIC)?;
        for number in [shape.context, shape.vocab, shape.windows] {
            let number = i32::try_from(number).context("the file's numbers have 31 bits")?;
            file.write(&number.to_le_bytes())?;
        }
        for token in tokens {
            file.write(&token.to_le_bytes())?;
        }
        let row = Vec::with_capacity(shape.row_bytes());
        Ok(Self { file, shape, row })
    }

    /// Appends the row of a position.
    pub(super) fn append(&mut self, logits: &[f32]) -> anyhow::Result<()> {
        let softmax = LogSoftmax::of(logits);
        let max = softmax.max;
        let min = logits.iter().copied().fold(f32::INFINITY, f32::min);
        let min = min.max(max - RANGE);
        let scale = (max - min) / STEPS;
        let lowest = min - max - softmax.log_sum as f32;
        self.row.clear();
        self.row.extend(scale.to_le_bytes());
        self.row.extend(lowest.to_le_bytes());
        for &logit in logits {
            let step = if scale > 0.0 && logit > min {
                ((logit - min) / scale).round_ties_even() as u16
            } else {
                0
            };
            self.row.extend(step.to_le_bytes());
        }
        self.row.resize(self.shape.row_bytes(), 0);
        self.file.write(&self.row)
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.file.finish()
    }
}

/// Reads a file, which may say anything.
#[derive(Debug)]
pub(super) struct BaseReader {
    file: BufReader<File>,
    path: PathBuf,
    shape: BaseShape,
    tokens: Vec<TokenId>,
    row: Vec<u8>,
    log_probabilities: Vec<f32>,
}

impl BaseReader {
    /// Opens a file and reads everything before its rows.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let named = || path.display().to_string();
        let file = File::open(path).with_context(named)?;
        let bytes = file.metadata().with_context(named)?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let (shape, tokens) = read_head(&mut file, bytes).with_context(named)?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            shape,
            tokens,
            row: vec![0; shape.row_bytes()],
            log_probabilities: vec![0.0; shape.vocab],
        })
    }

    pub(super) fn shape(&self) -> BaseShape {
        self.shape
    }

    /// The tokens of all windows.
    pub(super) fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// The log-probabilities of the next position.
    pub(super) fn next_row(&mut self) -> anyhow::Result<&[f32]> {
        let named = || self.path.display().to_string();
        self.file.read_exact(&mut self.row).with_context(named)?;
        let float = |at: usize| f32::from_le_bytes(std::array::from_fn(|i| self.row[at + i]));
        let (scale, lowest) = (float(0), float(4));
        if !scale.is_finite() || !lowest.is_finite() {
            bail!("{}: a row's scale is not a finite number", named());
        }
        let steps = self.row[8..].chunks_exact(2);
        for (value, step) in self.log_probabilities.iter_mut().zip(steps) {
            *value = scale * f32::from(u16::from_le_bytes([step[0], step[1]])) + lowest;
        }
        Ok(&self.log_probabilities)
    }
}

fn read_head(file: &mut impl Read, bytes: u64) -> anyhow::Result<(BaseShape, Vec<TokenId>)> {
    let mut head = [0; 20];
    file.read_exact(&mut head)
        .context("the file is too short for saved log-probabilities")?;
    ensure!(
        head.starts_with(MAGIC),
        "this is not a file of saved log-probabilities: it does not begin with `_logits_`"
    );
    let number = |at: usize| {
        let number = i32::from_le_bytes(std::array::from_fn(|i| head[at + i]));
        usize::try_from(number).unwrap_or(0)
    };
    let shape = BaseShape {
        context: number(8),
        vocab: number(12),
        windows: number(16),
    };
    let BaseShape {
        context,
        vocab,
        windows,
    } = shape;
    ensure!(
        context >= BaseShape::CONTEXT_MIN && vocab > 0 && windows > 0,
        "{windows} windows of {context} tokens from {vocab} cannot be compared with"
    );
    // Before anything is reserved: all that follows is as long as the file.
    let wanted = shape.file_bytes();
    ensure!(
        wanted == Some(bytes),
        "{windows} windows of {context} tokens from {vocab} take {}, but the file has {bytes} \
         bytes; save it again",
        wanted.map_or("more bytes than there are".into(), |n| format!("{n} bytes"))
    );
    let mut raw = vec![0; 4 * context * windows];
    file.read_exact(&mut raw).context("the tokens")?;
    let tokens = raw.chunks_exact(4);
    let tokens: Vec<TokenId> = tokens
        .map(|raw| TokenId::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
        .collect();
    if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocab) {
        bail!("token {token} is beyond the vocabulary of {vocab}");
    }
    Ok((shape, tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: BaseShape = BaseShape {
        context: 4,
        vocab: 3,
        windows: 2,
    };

    fn saved(path: &Path) {
        let tokens = [0, 1, 2, 0, 1, 1, 1, 2];
        let mut writer = BaseWriter::create(path, SHAPE, &tokens).unwrap();
        writer.append(&[1.0, 2.0, -40.0]).unwrap();
        writer.append(&[0.5, 0.5, 0.5]).unwrap();
        writer.finish().unwrap();
    }

    #[test]
    fn rows_come_back_to_within_a_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base");
        saved(&path);
        let mut reader = BaseReader::open(&path).unwrap();
        assert_eq!(reader.shape(), SHAPE);
        assert_eq!(reader.tokens(), [0, 1, 2, 0, 1, 1, 1, 2]);
        let log_sum = (1.0 + (-1.0_f32).exp()).ln();
        let row = reader.next_row().unwrap();
        for (found, wanted) in row.iter().zip([-1.0, 0.0, -16.0]) {
            let wanted = wanted - log_sum;
            assert!((found - wanted).abs() < 16.0 / 65535.0, "{found} {wanted}");
        }
        for found in reader.next_row().unwrap() {
            assert!((found + 3.0_f32.ln()).abs() < 1e-6);
        }
        reader.next_row().unwrap_err();
    }

    #[test]
    fn hostile_files_are_refused_before_memory_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base");
        saved(&path);
        let good = std::fs::read(&path).unwrap();
        let refusal = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            format!("{:#}", BaseReader::open(&path).unwrap_err())
        };
        let set = |at: usize, number: i32| {
            move |bytes: &mut Vec<u8>| bytes[at..at + 4].copy_from_slice(&number.to_le_bytes())
        };
        assert!(refusal(&|b| b.truncate(19)).contains("too short"));
        assert!(refusal(&|b| b[0] = b'x').contains("`_logits_`"));
        assert!(refusal(&|b| b.truncate(b.len() - 1)).contains("save it again"));
        assert!(refusal(&|b| b.push(0)).contains("save it again"));
        for at in [8, 12, 16] {
            for number in [-1, 0, i32::MAX, i32::MIN] {
                refusal(&set(at, number));
            }
        }
        assert!(refusal(&set(20, 3)).contains("token 3 is beyond"));
        assert!(refusal(&set(20, -1)).contains("is beyond"));
    }
}
