//! Any messages, in any order, leave a node's copy of a transcript where the
//! rules of epochs say, and within the context.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_offload::{
    session::{NodeSession, PassRecord},
    wire::{Append, Open, Run, Stop, Verify},
};
use outrigger_runtime::{
    decoder::Decoded,
    sampler::{SamplerParams, SamplerState},
};

const CONTEXT: u32 = 24;
const PASS: PassRecord = PassRecord {
    took_ms: 1.0,
    columns: 1,
    sharing: 1,
};
const STATE: SamplerState = SamplerState { mirostat_mu: 1.0 };

/// The rules, said once more: an older epoch does nothing, a newer one cuts,
/// and in the same one the transcript only grows.
#[derive(Default)]
struct Model {
    epoch: u32,
    tokens: Vec<u32>,
}

impl Model {
    /// Whether a message at this place is to be looked at further; an error if
    /// it is to be refused.
    fn at(&mut self, epoch: u32, position: u32) -> Result<bool, ()> {
        if epoch < self.epoch {
            return Ok(false);
        }
        if position as usize > self.tokens.len() {
            return Err(());
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            self.tokens.truncate(position as usize);
        }
        Ok(true)
    }

    fn append(&mut self, append: &Append) -> Result<(), ()> {
        if !self.at(append.epoch, append.position)? {
            return Ok(());
        }
        let known = &self.tokens[append.position as usize..];
        if known.iter().zip(&append.tokens).any(|(a, b)| a != b) {
            return Err(());
        }
        let new = append
            .tokens
            .get(known.len()..)
            .unwrap_or_default()
            .to_vec();
        if !new.is_empty() && self.tokens.len() + new.len() > CONTEXT as usize {
            return Err(());
        }
        self.tokens.extend(new);
        Ok(())
    }
}

/// Numbers out of the fuzzer's bytes.
struct Source<'a>(std::slice::Iter<'a, u8>);

impl Source<'_> {
    fn next(&mut self, below: u8) -> Option<u32> {
        self.0.next().map(|&byte| u32::from(byte % below))
    }

    /// A place: mostly a small one, at times the last that there is.
    fn place(&mut self) -> Option<u32> {
        Some(match self.next(64)? {
            63 => u32::MAX,
            place => place % 32,
        })
    }

    fn tokens(&mut self) -> Option<Vec<u32>> {
        let count = self.next(8)?;
        (0..count).map(|_| self.next(3)).collect()
    }
}

fn step(source: &mut Source<'_>, session: &mut NodeSession, model: &mut Model) -> Option<()> {
    let late = |session: &NodeSession, epoch| {
        let wants = session.requested().map(|r| r.guesses.to_vec());
        (epoch < session.epoch()).then_some(wants)
    };
    match source.next(6)? {
        0 => {
            let (epoch, position, flags) = (source.place()?, source.place()?, source.next(4)?);
            let append = Append {
                epoch,
                position,
                prompt: flags & 1 > 0,
                begins: flags & 2 > 0,
                tokens: source.tokens()?,
            };
            let before = late(session, epoch);
            let taken = session.append(&append).is_ok();
            assert_eq!(taken, model.append(&append).is_ok());
            if let Some(wants) = before {
                assert_eq!(session.requested().map(|r| r.guesses.to_vec()), wants);
            }
        }
        1 => {
            let run = Run {
                epoch: source.place()?,
                position: source.place()?,
                tokens_max: source.place()?,
                state: STATE,
            };
            let before = late(session, run.epoch);
            let place = model.at(run.epoch, run.position);
            let taken = session.run(&run).is_ok();
            let end = u64::from(run.position) + u64::from(run.tokens_max);
            let fits = !model.tokens.is_empty() && end <= u64::from(CONTEXT) + 1;
            assert_eq!(taken, place.is_ok_and(|new| !new || fits));
            if let Some(wants) = before {
                assert_eq!(session.requested().map(|r| r.guesses.to_vec()), wants);
            }
        }
        2 => {
            let verify = Verify {
                epoch: source.place()?,
                position: source.place()?,
                state: STATE,
                tokens: source.tokens()?,
            };
            let before = late(session, verify.epoch);
            // Guesses may stand behind guesses, which only the session knows.
            if verify.epoch > model.epoch {
                let _ = model.at(verify.epoch, verify.position);
            }
            let _ = session.verify(&verify);
            if let Some(wants) = before {
                assert_eq!(session.requested().map(|r| r.guesses.to_vec()), wants);
            }
        }
        3 => {
            let epoch = source.place()?;
            session.stop(Stop { epoch });
            model.epoch = model.epoch.max(epoch);
        }
        4 => {
            let Some(requested) = session.requested() else {
                return Some(());
            };
            // As a pass does: so many guesses, and what the model says of them.
            let most = source.next(8)? as usize;
            let guesses = requested.guesses[..requested.guesses.len().min(most)].to_vec();
            let mut chosen = Vec::new();
            loop {
                let token = source.next(3)?;
                chosen.push(token);
                if guesses.get(chosen.len() - 1) != Some(&token) {
                    break;
                }
            }
            let decoded = chosen.iter().map(|&token| Decoded {
                token,
                logprob: None,
                top: Vec::new(),
                state: STATE,
            });
            let tokens = session.chosen(decoded.collect(), PASS, |token| token == 2);
            assert_eq!(
                (tokens.epoch, tokens.position as usize),
                (model.epoch, model.tokens.len())
            );
            assert_eq!(tokens.tokens.len(), chosen.len());
            model.tokens.extend(chosen);
        }
        _ => session.give_up(),
    }
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    let open = Open {
        session: 1,
        sampling: SamplerParams {
            seed: Some(1),
            ..SamplerParams::default()
        },
        logprobs: None,
        tokens_max: u32::MAX,
        draft: false,
    };
    let mut session = NodeSession::new(open, CONTEXT);
    let mut model = Model::default();
    let mut source = Source(bytes.iter());
    while step(&mut source, &mut session, &mut model).is_some() {
        assert_eq!(session.epoch(), model.epoch);
        assert_eq!(session.transcript().tokens(), model.tokens);
        assert!(model.tokens.len() <= CONTEXT as usize + 1);
        if let Some(requested) = session.requested() {
            assert!(!model.tokens.is_empty() && model.tokens.len() <= CONTEXT as usize);
            assert!(model.tokens.len() + requested.guesses.len() <= CONTEXT as usize);
        }
    }
});
