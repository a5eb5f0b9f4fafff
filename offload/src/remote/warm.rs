//! A decoder that keeps up while another one generates.

use outrigger_runtime::{
    decoder::{DecodeError, DecodeRequest, Decoded, Decoder, Follower, Provenance, Speculation},
    transcript::{Positions, Transcript},
};
use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

/// Computes what others generate on a thread of its own, in bounded steps, so
/// that at a takeover only the last positions are left.
///
/// Whoever generates is not held up: following only leaves word of the
/// transcript, of which the latest counts. Decoding waits for the step under
/// way and then has the decoder to itself.
pub struct WarmDecoder<F> {
    shared: Arc<Shared<F>>,
    worker: Option<JoinHandle<()>>,
    context: u32,
    provenance: Provenance,
}

struct Shared<F> {
    decoder: Mutex<F>,
    wanted: Mutex<Wanted>,
    bell: Condvar,
    /// Whether the worker leaves the decoder alone.
    paused: AtomicBool,
    /// Whether it ends, also within a step.
    ended: AtomicBool,
}

#[derive(Default)]
struct Wanted {
    positions: Positions,
    /// Whether the worker has not seen them.
    fresh: bool,
}

impl<F: Follower + 'static> WarmDecoder<F> {
    /// A decoder that can follow.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn new(decoder: F) -> io::Result<Self> {
        let (context, provenance) = (decoder.context(), decoder.provenance().clone());
        let shared = Arc::new(Shared {
            decoder: Mutex::new(decoder),
            wanted: Mutex::default(),
            bell: Condvar::new(),
            paused: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let worker = shared.clone();
        let worker = thread::Builder::new()
            .name("outrigger-warm".into())
            .spawn(move || worker.work())?;
        Ok(Self {
            shared,
            worker: Some(worker),
            context,
            provenance,
        })
    }
}

impl<F: Follower> Shared<F> {
    fn work(&self) {
        let mut positions = Positions::new();
        while self.next(&mut positions) {
            while self.take(&mut positions) {
                let mut decoder = lock(&self.decoder);
                // Who decodes has set this before waiting for the decoder.
                if self.paused.load(SeqCst) {
                    break;
                }
                match decoder.advance(&positions, &self.ended) {
                    Ok(false) => {}
                    Ok(true) => break,
                    Err(error) => {
                        // Decoding computes what is missing, or says why not.
                        tracing::debug!("following has failed: {error}");
                        break;
                    }
                }
            }
        }
    }

    /// Waits for other positions than those. False at the end.
    fn next(&self, positions: &mut Positions) -> bool {
        let mut wanted = lock(&self.wanted);
        while !wanted.fresh && !self.ended.load(SeqCst) {
            wanted = self
                .bell
                .wait(wanted)
                .unwrap_or_else(PoisonError::into_inner);
        }
        wanted.give(positions);
        !self.ended.load(SeqCst)
    }

    /// The latest positions. False where the worker has to rest.
    fn take(&self, positions: &mut Positions) -> bool {
        lock(&self.wanted).give(positions);
        !self.paused.load(SeqCst) && !self.ended.load(SeqCst)
    }
}

impl Wanted {
    fn give(&mut self, positions: &mut Positions) {
        if self.fresh {
            copy(&self.positions, positions);
            self.fresh = false;
        }
    }
}

/// Makes one the same as the other, of which it usually is the beginning.
fn copy(from: &Positions, to: &mut Positions) {
    to.truncate(to.common_prefix(from));
    to.follow(from, from.len());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A decoder that panicked is asked again, and computes what it lacks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: Follower> Decoder for WarmDecoder<F> {
    fn decode(
        &mut self,
        request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        self.shared.paused.store(true, SeqCst);
        lock(&self.shared.decoder).decode(request, out)
    }

    fn context(&self) -> u32 {
        self.context
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn speculation(&self) -> Option<&Speculation> {
        None
    }

    fn follow(&mut self, transcript: &Transcript) {
        let mut wanted = lock(&self.shared.wanted);
        copy(transcript.positions(), &mut wanted.positions);
        wanted.fresh = true;
        self.shared.paused.store(false, SeqCst);
        drop(wanted);
        self.shared.bell.notify_one();
    }

    fn behind(&self, transcript: &Transcript) -> Option<u32> {
        self.shared.paused.store(true, SeqCst);
        lock(&self.shared.decoder).behind(transcript)
    }
}

impl<F> Drop for WarmDecoder<F> {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        // Held while the flag is looked at, so that the bell is not missed.
        drop(lock(&self.shared.wanted));
        self.shared.bell.notify_one();
        if let Some(worker) = self.worker.take() {
            // It has nothing left to say.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_runtime::sampler::{SamplerParams, SamplerState};
    use std::time::{Duration, Instant};

    /// Takes a while for each position, and remembers which it has.
    struct Slow {
        held: Positions,
        step: Duration,
        provenance: Provenance,
    }

    impl Decoder for Slow {
        fn decode(
            &mut self,
            request: DecodeRequest<'_>,
            out: &mut Vec<Decoded>,
        ) -> Result<(), DecodeError> {
            let state = SamplerState::initial(request.transcript.sampling());
            out.push(Decoded {
                token: self.behind(request.transcript).unwrap_or(0),
                logprob: None,
                top: Vec::new(),
                state,
            });
            Ok(())
        }

        fn context(&self) -> u32 {
            1000
        }

        fn provenance(&self) -> &Provenance {
            &self.provenance
        }

        fn behind(&self, transcript: &Transcript) -> Option<u32> {
            Some(transcript.len() - self.held.common_prefix(transcript.positions()))
        }
    }

    impl Follower for Slow {
        fn advance(&mut self, positions: &Positions, _: &AtomicBool) -> Result<bool, DecodeError> {
            thread::sleep(self.step);
            self.held.truncate(self.held.common_prefix(positions));
            let goal = positions.len() - 1;
            self.held.follow(positions, goal.min(self.held.len() + 8));
            Ok(self.held.len() >= goal)
        }
    }

    fn warm(step_ms: u64) -> WarmDecoder<Slow> {
        let provenance = Provenance {
            source: "slow".into(),
            model: String::new(),
            kernel_set: String::new(),
        };
        let slow = Slow {
            held: Positions::new(),
            step: Duration::from_millis(step_ms),
            provenance,
        };
        WarmDecoder::new(slow).unwrap()
    }

    fn transcript(tokens: &[u32]) -> Transcript {
        let mut transcript = Transcript::new(SamplerParams::default());
        transcript.push_prompt(tokens);
        transcript
    }

    /// What the decoder had left to do for this transcript.
    fn left(decoder: &mut WarmDecoder<Slow>, transcript: &Transcript) -> u32 {
        let mut out = Vec::new();
        let request = DecodeRequest {
            transcript,
            tokens_max: 1,
            logprobs: None,
            cancel: &AtomicBool::new(false),
            progress: &mut |_| (),
        };
        decoder.decode(request, &mut out).unwrap();
        out[0].token
    }

    /// Whether it is soon left with one position to do.
    fn catches_up(decoder: &mut WarmDecoder<Slow>, transcript: &Transcript) -> bool {
        (0..500).any(|_| {
            thread::sleep(Duration::from_millis(20));
            let done = decoder.behind(transcript) == Some(1);
            decoder.follow(transcript);
            done
        })
    }

    #[test]
    fn it_keeps_up_and_takes_over_with_one_position_left() {
        let mut decoder = warm(1);
        let mut transcript = transcript(&[1, 2, 3]);
        let state = transcript.sampler_state();
        for token in 0..40 {
            transcript.commit(token, state);
            decoder.follow(&transcript);
            thread::sleep(Duration::from_millis(2));
        }
        assert!(catches_up(&mut decoder, &transcript));
    }

    #[test]
    fn a_takeover_waits_for_one_step_and_not_for_all() {
        let mut decoder = warm(50);
        let transcript = transcript(&[7; 800]);
        decoder.follow(&transcript);
        thread::sleep(Duration::from_millis(20));
        let started = Instant::now();
        let left = left(&mut decoder, &transcript);
        // All of it takes 5 s.
        assert!(started.elapsed() < Duration::from_secs(2));
        assert!(left >= 500, "{left}");
        // Nothing goes on behind the back of who decodes.
        let held = || lock(&decoder.shared.decoder).held.len();
        let before = held();
        thread::sleep(Duration::from_millis(200));
        assert_eq!(held(), before);
    }

    #[test]
    fn it_follows_another_transcript_and_ends_with_work_left() {
        let mut decoder = warm(5);
        decoder.follow(&transcript(&[7; 900]));
        let other = transcript(&[8, 9, 10]);
        decoder.follow(&other);
        assert!(catches_up(&mut decoder, &other));
        decoder.follow(&transcript(&[7; 900]));
    }
}
