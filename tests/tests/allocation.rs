//! What a decode step allocates, and what a loaded model holds in memory.

use outrigger_kernels::format::Format;
use outrigger_runtime::{
    kv::SequenceId,
    loaded::{LoadedModel, RunOptions},
    model::{
        ModelOptions,
        synthetic::{SyntheticFormats, SyntheticModel, SyntheticShape},
    },
    stage::{Batch, Pipeline},
    transcript::Class,
};
use outrigger_tests::{
    local::{Options, load, logits, pipeline},
    stages::{batch, reference_file, tokens},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs::File,
    io::BufWriter,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting the calls of all threads.
struct Counting;

// SAFETY: every call is passed on unchanged, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counter and the process's memory are shared: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const ID: SequenceId = SequenceId(0);

/// What a thread of the team allocates when it starts, which may be later than
/// the first steps. Less, for all threads, than one for each step.
const PER_THREAD: usize = 8;

/// Allocations of `steps` decode steps from where the sequence ends.
fn decode(pipeline: &mut Pipeline, steps: u32) -> usize {
    let mut step = Batch::default();
    let start = pipeline.len(ID).unwrap();
    let never = AtomicBool::new(false);
    let mut calls = 0;
    // The first step makes the batch's own buffers.
    for position in start..=start + steps {
        let one = batch(ID, position, Class::Generated, &[position % 200]);
        step.clear();
        step.push(one.columns[0], one.tokens[0]);
        drop(one);
        let before = CALLS.load(Ordering::Relaxed);
        pipeline.forward(&mut step, &never).unwrap();
        if position > start {
            calls += CALLS.load(Ordering::Relaxed) - before;
        }
    }
    calls
}

#[test]
fn a_decode_step_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, format) in [
        ("llama3-rope", "Q8_0"),
        ("llama3-rope", "F16"),
        ("qwen2moe", "Q8_0"),
        ("gemma3", "Q4_0"),
        ("olmo2", "F16"),
        ("command-r-qk-norm", "F16"),
        ("phi3-window", "F16"),
    ] {
        for threads in [1, 3] {
            let options = Options {
                threads,
                ..Options::default()
            };
            let model = load(&reference_file(name, format), &options);
            let mut pipeline = pipeline(&model, &options);
            pipeline.create(ID).unwrap();
            logits(&mut pipeline, ID, &tokens(5, 256, 1), Class::Prompt, 5).unwrap();
            let calls = decode(&mut pipeline, 50);
            println!("{name}-{format}, {threads} threads: {calls} in 50 steps");
            assert!(
                calls <= threads * PER_THREAD,
                "{name}-{format}, {threads} threads: {calls} allocations in 50 steps"
            );
            // From 56 on across two edges of pages, the first within a window.
            let calls = decode(&mut pipeline, 80);
            assert!(
                calls <= threads * PER_THREAD,
                "{name}-{format}, {threads} threads: {calls} across pages"
            );
        }
    }
}

/// Kilobytes in a line of `/proc/self/status`.
#[cfg(target_os = "linux")]
fn status(key: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn weights_stay_where_the_file_is_mapped() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let shape = SyntheticShape {
        layers: 8,
        width: 1024,
        ff: 2048,
        head_dim: 64,
        heads: 16,
        kv_heads: 4,
        // So much that the cache may not become resident as a whole.
        context: 131_072,
        ..SyntheticShape::preset("tiny").unwrap()
    };
    let model = SyntheticModel::new(&shape, &SyntheticFormats::all(Format::Q8_0), 1).unwrap();
    let out = BufWriter::new(File::create(&path).unwrap());
    drop(model.write(out).unwrap());
    let size = std::fs::metadata(&path).unwrap().len() as usize / 1024;
    assert!(size > 60 * 1024, "{size} kB");
    let (anon, file) = (status("RssAnon"), status("RssFile"));
    let loaded = LoadedModel::open(&path, &ModelOptions::default()).unwrap();
    let mut pipeline = loaded.pipeline(&RunOptions::default()).unwrap();
    pipeline.create(ID).unwrap();
    decode(&mut pipeline, 5);
    let (anon, file) = (status("RssAnon") - anon, status("RssFile") - file);
    println!("file {size} kB, anonymous {anon} kB, mapped {file} kB");
    assert!(anon < 8 * 1024, "{anon} kB of anonymous memory");
    assert!(file > size * 9 / 10, "{file} kB of {size} are mapped");
}
