//! A thread that brings a stage's weights into memory ahead of their use.
//!
//! From a cold page cache, the threads that compute would wait for the disk at
//! every few pages that they touch. The reader goes through the weights in the
//! order in which a pass does, so that the first pass takes the longer of
//! reading and computing, not their sum. Of a mixture it reads all experts,
//! since a prompt of some length uses nearly all of them.
//!
//! It populates and gives no advice beforehand: for pages that are populated
//! Linux reads ahead in large folios, for `MADV_WILLNEED` in single pages,
//! which took 13 times the processor's time and twice as long.

use crate::{
    gguf::TensorBytes,
    model::{Matrix, Model},
    platform::{advise, memory},
    stage::Span,
};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

/// What is waited for at a time: a fraction of a large matrix, so that those
/// who compute find the first rows soon, and that the reader stops soon.
const PIECE: usize = 4 << 20;

/// The reader of one stage. It stops within a piece of being dropped.
pub(super) struct Reader {
    stop: Arc<AtomicBool>,
}

impl Reader {
    /// Starts reading the weights of `span`, as far as memory has room for
    /// them. `None` where that is not worth a thread or none is to be had:
    /// then those who compute read for themselves.
    pub(super) fn start(model: &Model, span: &Span) -> Option<Self> {
        let matrices = model.part_matrices(span.layers.clone(), span.head);
        let weights: Vec<TensorBytes> = matrices.map(Matrix::data).cloned().collect();
        let bytes: usize = weights.iter().map(|weight| weight.len()).sum();
        if bytes < PIECE {
            return None;
        }
        // What comes late would drive out what came early.
        let room = memory::system().map_or(u64::MAX, |memory| memory.available);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("outrigger-reader".into());
        let stopped = stop.clone();
        let started = thread.spawn(move || {
            let read = read(&weights, room, &stopped);
            tracing::debug!(bytes, read, "weights read ahead");
        });
        started.ok().map(|_| Self { stop })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// Brings the first `room` bytes of `weights` into memory, in their order.
/// Returns how many were not there.
fn read(weights: &[TensorBytes], room: usize, stop: &AtomicBool) -> usize {
    let (mut left, mut read) = (room, 0);
    for weight in weights {
        for range in pieces(weight.len()) {
            let bytes = &weight[range];
            if stop.load(Relaxed) || bytes.len() > left {
                return read;
            }
            left -= bytes.len();
            let path = weight.path();
            if path.and_then(|path| advise::resident(bytes, path)) != Some(true) {
                advise::populate(bytes);
                read += bytes.len();
            }
        }
    }
    read
}

fn pieces(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len)
        .step_by(PIECE)
        .map(move |start| start..len.min(start + PIECE))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{
        loaded::LoadedModel,
        model::{
            ModelOptions,
            synthetic::{SyntheticFormats, SyntheticModel, SyntheticShape},
        },
    };
    use outrigger_kernels::format::Format;
    use std::{fs::File, os::fd::AsRawFd, path::Path};

    /// A model of 12 MB on the disk whose pages are not in memory.
    fn cold(path: &Path) -> Vec<TensorBytes> {
        let shape = SyntheticShape {
            ff: 2048,
            ..SyntheticShape::preset("tiny").unwrap()
        };
        let model = SyntheticModel::new(&shape, &SyntheticFormats::all(Format::F32), 1).unwrap();
        let file = File::create(path).unwrap();
        model.write(&file).unwrap();
        file.sync_all().unwrap();
        // Before its pages are dropped, because opening reads ahead.
        let model = LoadedModel::open(path, &ModelOptions::default()).unwrap();
        // SAFETY: an advice about an open file.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        let matrices = model.model().pass_matrices();
        matrices.map(Matrix::data).cloned().collect()
    }

    fn resident(weights: &[TensorBytes]) -> usize {
        let pieces = weights.iter().flat_map(|weight| weight.chunks(1 << 16));
        let path = weights[0].path().unwrap();
        let resident = pieces.filter(|piece| advise::resident(piece, path) == Some(true));
        resident.map(<[u8]>::len).sum()
    }

    #[test]
    fn cold_weights_are_read_once_as_far_as_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let weights = cold(&folder.path().join("model.gguf"));
        let all: usize = weights.iter().map(|weight| weight.len()).sum();
        let go = AtomicBool::new(false);
        if resident(&weights) > all / 2 {
            eprintln!("skipped: this file system keeps its pages");
            return;
        }
        assert_eq!(read(&weights, usize::MAX, &AtomicBool::new(true)), 0);
        assert_eq!(read(&weights, 0, &go), 0);
        let half = read(&weights, all / 2, &go);
        assert!(half > 0 && half <= all / 2, "{half} of {all}");
        // How much this reads depends on how far the system read ahead.
        read(&weights, usize::MAX, &go);
        assert_eq!(resident(&weights), all);
        assert_eq!(read(&weights, usize::MAX, &go), 0, "they are there");
    }

    #[test]
    fn pieces_cover_everything_once() {
        for len in [0, 1, PIECE, PIECE + 1, 5 * PIECE - 1] {
            let pieces: Vec<_> = pieces(len).collect();
            assert_eq!(pieces.iter().map(|piece| piece.len()).sum::<usize>(), len);
            assert!(pieces.windows(2).all(|two| two[0].end == two[1].start));
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        }
    }
}
