//! An edge and a node over everything that a connection may do to them: what
//! the edge commits is what local decoding commits.

use super::{NodeSession, PassRecord};
use crate::wire::{Append, Open, Refused, Run, Stop, ToNode, Tokens, Verify};
use outrigger_runtime::{
    decoder::Decoded,
    sampler::{SamplerParams, SamplerState},
    tokenizer::TokenId,
    transcript::{Class, Positions, Transcript},
};
use proptest::prelude::*;
use std::collections::VecDeque;

const CONTEXT: u32 = 200;
const PASS: PassRecord = PassRecord {
    took_ms: 1.0,
    columns: 1,
    sharing: 1,
};

/// The token behind `prefix`: the model. Few, so that guesses can be right by
/// chance.
fn rule(prefix: &[TokenId]) -> TokenId {
    let mix = |hash: u32, &token: &u32| (hash ^ token).wrapping_mul(0x0100_0193);
    prefix.iter().fold(0x811c_9dc5, mix) >> 9 & 7
}

/// The sampler's state behind `len` tokens: another at every place.
fn state(len: u32) -> SamplerState {
    SamplerState {
        mirostat_mu: len as f32,
    }
}

fn open() -> Open {
    Open {
        session: 1,
        sampling: SamplerParams {
            seed: Some(1),
            ..SamplerParams::default()
        },
        logprobs: None,
        tokens_max: u32::MAX,
        draft: false,
    }
}

/// The edge's part: what [`Client`](crate::remote) does, without I/O.
struct Edge {
    transcript: Transcript,
    known: Positions,
    epoch: u32,
    asked: u32,
    /// Guesses under way behind what is known; `None` where guesses behind
    /// them would not be taken.
    ahead: Option<Vec<TokenId>>,
}

impl Edge {
    fn new() -> Self {
        let mut transcript = Transcript::new(open().sampling);
        transcript.push_prompt(&[1, 2, 3]);
        transcript.truncate(3, state(3));
        Self {
            transcript,
            known: Positions::new(),
            epoch: 0,
            asked: 0,
            ahead: Some(Vec::new()),
        }
    }

    fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.asked = 0;
        self.ahead = Some(Vec::new());
    }

    fn follow(&mut self, out: &mut VecDeque<ToNode>) {
        let transcript = self.transcript.clone();
        let positions = transcript.positions();
        let common = self.known.common_prefix(positions);
        let clash = common < positions.len() && common < self.asked;
        if common < self.known.len() || clash {
            self.begin_epoch();
            self.known.truncate(common);
        } else if common < positions.len() {
            self.ahead = Some(Vec::new());
        }
        for segment in positions.segments() {
            let mut start = segment.positions.start.max(common);
            // Small frames, so that prompts take several.
            while start < segment.positions.end {
                let end = segment.positions.end.min(start + 3);
                out.push_back(ToNode::Append(Append {
                    epoch: self.epoch,
                    position: start,
                    prompt: segment.class == Class::Prompt,
                    begins: start == segment.positions.start,
                    tokens: positions.tokens()[start as usize..end as usize].to_vec(),
                }));
                start = end;
            }
        }
        self.known.follow(positions, positions.len());
    }

    fn run(&mut self, tokens_max: u32, out: &mut VecDeque<ToNode>) {
        self.follow(out);
        let position = self.transcript.len();
        self.asked = self.asked.max(position + tokens_max);
        out.push_back(ToNode::Run(Run {
            epoch: self.epoch,
            position,
            tokens_max: tokens_max.min(CONTEXT + 1 - position),
            state: self.transcript.sampler_state(),
        }));
    }

    /// Asks about guesses of which the first `right` are right.
    fn verify(&mut self, count: usize, right: usize, out: &mut VecDeque<ToNode>) {
        self.follow(out);
        let mut tokens = self.transcript.tokens().to_vec();
        for index in 0..count {
            let wrong = u32::from(index >= right);
            tokens.push(rule(&tokens) ^ wrong);
        }
        self.ahead = None;
        let len = self.transcript.len();
        self.asked = self.asked.max(len + count as u32 + 1);
        out.push_back(ToNode::Verify(Verify {
            epoch: self.epoch,
            position: self.transcript.len(),
            state: self.transcript.sampler_state(),
            tokens: tokens.split_off(self.transcript.len() as usize),
        }));
    }

    /// The same behind the guesses that are under way, with a state that is
    /// as much of a guess.
    fn verify_ahead(&mut self, count: usize, right: usize, out: &mut VecDeque<ToNode>) {
        self.follow(out);
        if self.ahead.is_none() {
            self.begin_epoch();
        }
        let ahead = self.ahead.get_or_insert_default();
        let mut tokens = self.transcript.tokens().to_vec();
        tokens.extend(ahead.iter());
        let position = tokens.len();
        for index in 0..count {
            let wrong = u32::from(index >= right);
            tokens.push(rule(&tokens) ^ wrong);
        }
        let guesses = tokens.split_off(position);
        let state = match ahead.is_empty() {
            true => self.transcript.sampler_state(),
            false => state(1000),
        };
        ahead.extend(&guesses);
        self.asked = self.asked.max((position + count + 1) as u32);
        out.push_back(ToNode::Verify(Verify {
            epoch: self.epoch,
            position: position as u32,
            state,
            tokens: guesses,
        }));
    }

    /// Commits what is new of a message.
    fn take(&mut self, tokens: &Tokens) {
        if tokens.epoch != self.epoch || tokens.position > self.known.len() {
            return;
        }
        let held = (self.known.len() - tokens.position) as usize;
        for token in tokens.tokens.iter().skip(held) {
            // After going back, the edge follows before it commits.
            let goes_on = self.known == *self.transcript.positions();
            self.known.push_generated(token.token);
            if goes_on {
                self.transcript.commit(token.token, token.state);
            }
            let ahead = self.ahead.as_mut().filter(|ahead| !ahead.is_empty());
            if ahead.is_some_and(|ahead| ahead.remove(0) != token.token) {
                self.ahead = None;
            }
        }
    }
}

/// What may happen next.
#[derive(Debug, Clone)]
enum Event {
    Run(u32),
    /// Guesses, and how many of them are right.
    Verify(usize, usize),
    /// The same, behind those that are under way.
    Ahead(usize, usize),
    Stop,
    /// The edge goes back and on with another prompt.
    Rewind(usize, Vec<TokenId>),
    /// So many messages arrive at the node.
    Arrive(usize),
    /// A message arrives that had arrived before.
    Again(prop::sample::Index),
    /// The node computes a pass, of so many guesses at most.
    Pass(usize),
    /// So many messages arrive at the edge.
    Hear(usize),
    /// What is under way is lost; whether the node still knows the session.
    Reconnect(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (1..12_u32).prop_map(Event::Run),
        3 => (0..6_usize, 0..7_usize).prop_map(|(count, right)| Event::Verify(count, right)),
        4 => (1..6_usize, 0..9_usize).prop_map(|(count, right)| Event::Ahead(count, right)),
        1 => Just(Event::Stop),
        1 => (0..20_usize, prop::collection::vec(0..8_u32, 1..8))
            .prop_map(|(back, prompt)| Event::Rewind(back, prompt)),
        6 => (1..6_usize).prop_map(Event::Arrive),
        3 => any::<prop::sample::Index>().prop_map(Event::Again),
        8 => (0..6_usize).prop_map(Event::Pass),
        6 => (1..6_usize).prop_map(Event::Hear),
        1 => any::<bool>().prop_map(Event::Reconnect),
    ]
}

/// Both ends, and what is under way between them.
struct Pair {
    edge: Edge,
    node: NodeSession,
    up: VecDeque<ToNode>,
    down: VecDeque<Tokens>,
    /// What has arrived over the stream there is or those before it.
    arrived: Vec<ToNode>,
}

/// What of a session a message can change.
fn seen(node: &NodeSession) -> (Transcript, u32, Option<Vec<TokenId>>) {
    let wants = node.requested().map(|r| r.guesses.to_vec());
    (node.transcript().clone(), node.epoch(), wants)
}

impl Pair {
    fn new() -> Self {
        Self {
            edge: Edge::new(),
            node: NodeSession::new(open(), CONTEXT),
            up: VecDeque::new(),
            down: VecDeque::new(),
            arrived: Vec::new(),
        }
    }

    fn deliver(&mut self, message: &ToNode) {
        let taken = match message {
            ToNode::Append(append) => self.node.append(append),
            ToNode::Run(run) => self.node.run(run),
            ToNode::Verify(verify) => self.node.verify(verify),
            ToNode::Stop(stop) => {
                self.node.stop(*stop);
                Ok(())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(taken, Ok(()), "{message:?}");
    }

    fn pass(&mut self, guesses_max: usize) {
        let Some(requested) = self.node.requested() else {
            return;
        };
        let mut prefix = self.node.transcript().tokens().to_vec();
        let guesses = requested.guesses.iter().take(guesses_max);
        let mut guesses = guesses.copied().collect::<VecDeque<_>>();
        let mut decoded = Vec::new();
        // As a sampler does, on from what the node takes the state to be.
        let mut mu = self.node.transcript().sampler_state().mirostat_mu;
        loop {
            let token = rule(&prefix);
            prefix.push(token);
            mu += 1.0;
            decoded.push(Decoded {
                token,
                logprob: None,
                top: Vec::new(),
                state: SamplerState { mirostat_mu: mu },
            });
            if guesses.pop_front() != Some(token) {
                break;
            }
        }
        let tokens = self.node.chosen(decoded, PASS, |_| false);
        self.down.push_back(tokens);
    }

    fn happen(&mut self, event: Event) {
        let room = self.edge.transcript.len() + 40 < CONTEXT;
        match event {
            Event::Run(tokens_max) if room => self.edge.run(tokens_max, &mut self.up),
            Event::Verify(count, right) if room => self.edge.verify(count, right, &mut self.up),
            Event::Ahead(count, right)
                if room && self.edge.ahead.as_ref().is_none_or(|a| a.len() < 20) =>
            {
                self.edge.verify_ahead(count, right, &mut self.up);
            }
            Event::Stop => {
                let epoch = self.edge.epoch + 1;
                self.up.push_back(ToNode::Stop(Stop { epoch }));
                // What the node chose meanwhile stays with it in the epoch of
                // the stop, so what follows is in another.
                self.edge.epoch = epoch;
                self.edge.begin_epoch();
            }
            Event::Rewind(back, prompt) if room => {
                let len = self.edge.transcript.len();
                let to = len.saturating_sub(back as u32).max(3);
                self.edge.transcript.truncate(to, state(to));
                self.edge.transcript.push_prompt(&prompt);
                let len = self.edge.transcript.len();
                self.edge.transcript.truncate(len, state(len));
            }
            Event::Arrive(count) => {
                for _ in 0..count {
                    let Some(message) = self.up.pop_front() else {
                        break;
                    };
                    self.deliver(&message);
                    self.arrived.push(message);
                }
            }
            Event::Again(index) if !self.arrived.is_empty() => {
                let message = index.get(&self.arrived).clone();
                let before = seen(&self.node);
                self.deliver(&message);
                assert_eq!(seen(&self.node), before, "{message:?} came again");
            }
            Event::Pass(guesses_max) => self.pass(guesses_max),
            Event::Hear(count) => {
                for _ in 0..count {
                    let Some(tokens) = self.down.pop_front() else {
                        break;
                    };
                    self.edge.take(&tokens);
                }
            }
            Event::Reconnect(known) => {
                self.up.clear();
                self.down.clear();
                if !known {
                    self.node = NodeSession::new(open(), CONTEXT);
                    self.arrived.clear();
                }
                // The same as `known` of a new client, in an epoch of its own.
                self.edge.known = Positions::new();
                self.edge.begin_epoch();
            }
            _ => {}
        }
        self.check();
    }

    fn check(&self) {
        let transcript = &self.edge.transcript;
        for segment in transcript.positions().segments() {
            if segment.class == Class::Generated {
                for position in segment.positions.clone() {
                    let (prefix, rest) = transcript.tokens().split_at(position as usize);
                    assert_eq!(rest[0], rule(prefix), "at {position}");
                }
            }
        }
        assert_eq!(transcript.sampler_state(), state(transcript.len()));
        let node = self.node.transcript();
        assert!(node.len() <= CONTEXT + 1);
        let guesses = self.node.requested().map_or(0, |r| r.guesses.len());
        assert!(node.len() as usize + guesses <= CONTEXT as usize + 1);
    }

    /// Lets everything arrive, and asks for `count` tokens.
    fn settle(&mut self, count: u32) {
        let end = self.edge.transcript.len() + count;
        self.edge.epoch += 1;
        self.edge.run(count, &mut self.up);
        while self.edge.transcript.len() < end {
            let before = (self.up.len(), self.down.len(), self.node.transcript().len());
            self.happen(Event::Arrive(usize::MAX));
            self.happen(Event::Pass(5));
            self.happen(Event::Hear(usize::MAX));
            let after = (self.up.len(), self.down.len(), self.node.transcript().len());
            assert_ne!(before, after, "nothing moves");
        }
        let found = self.node.transcript().positions();
        assert_eq!(found, self.edge.transcript.positions());
    }
}

proptest! {
    #[test]
    fn the_edge_commits_what_local_decoding_would(
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut pair = Pair::new();
        for event in events {
            pair.happen(event);
        }
        pair.settle(5);
    }
}

#[test]
fn more_than_was_agreed_on_is_refused() {
    let few = Open {
        tokens_max: 4,
        ..open()
    };
    let mut node = NodeSession::new(few, CONTEXT);
    let append = Append {
        epoch: 0,
        position: 0,
        prompt: true,
        begins: true,
        tokens: vec![1, 2, 3],
    };
    node.append(&append).unwrap();
    let run = |position, tokens_max| Run {
        epoch: 0,
        position,
        tokens_max,
        state: state(position),
    };
    assert_eq!(node.run(&run(3, 5)), Err(Refused::Quota));
    node.run(&run(3, 3)).unwrap();
    node.chosen(decoded(&[5, 6, 7]), PASS, |_| false);
    let verify = Verify {
        epoch: 0,
        position: 6,
        state: state(6),
        tokens: vec![1],
    };
    assert_eq!(node.verify(&verify), Err(Refused::Quota));
    node.run(&run(6, 1)).unwrap();
    assert_eq!(node.running(), 1);
}

/// A session that has the prompt, with this much asked of it.
fn verified(guesses: &[TokenId]) -> (NodeSession, Verify) {
    let mut pair = Pair::new();
    pair.edge.follow(&mut pair.up);
    pair.happen(Event::Arrive(9));
    let verify = Verify {
        epoch: 0,
        position: 3,
        state: state(3),
        tokens: guesses.to_vec(),
    };
    pair.node.verify(&verify).unwrap();
    (pair.node, verify)
}

fn decoded(tokens: &[TokenId]) -> Vec<Decoded> {
    let decoded = tokens.iter().map(|&token| Decoded {
        token,
        logprob: None,
        top: Vec::new(),
        state: state(0),
    });
    decoded.collect()
}

#[test]
fn guesses_that_a_pass_had_no_room_for_are_verified_in_the_next() {
    let (mut node, verify) = verified(&[5, 6]);
    node.chosen(decoded(&[5]), PASS, |_| false);
    assert_eq!(node.requested().unwrap().guesses, [6]);
    node.chosen(decoded(&[6]), PASS, |_| false);
    // The token behind the guesses is still due, and once only.
    assert!(node.requested().unwrap().guesses.is_empty());
    node.chosen(decoded(&[7]), PASS, |_| false);
    assert_eq!(node.requested(), None);
    node.verify(&verify).unwrap();
    assert_eq!(node.requested(), None);
}

#[test]
fn a_run_that_comes_again_does_not_end_the_next() {
    let (mut node, _) = verified(&[]);
    node.chosen(decoded(&[5]), PASS, |_| false);
    let run = |position, tokens_max| Run {
        epoch: 0,
        position,
        tokens_max,
        state: state(position),
    };
    node.run(&run(4, 2)).unwrap();
    node.chosen(decoded(&[5]), PASS, |_| false);
    node.chosen(decoded(&[5]), PASS, |_| false);
    assert_eq!(node.requested(), None);
    node.run(&run(6, 3)).unwrap();
    node.run(&run(4, 2)).unwrap();
    assert!(node.requested().is_some());
    node.chosen(decoded(&[5]), PASS, |token| token == 5);
    // Nor does it go on behind an end.
    node.run(&run(6, 3)).unwrap();
    assert_eq!(node.requested(), None);
}

#[test]
fn tokens_of_the_transcript_take_the_place_of_guesses() {
    let (mut node, _) = verified(&[5, 6, 7]);
    let append = Append {
        epoch: 0,
        position: 3,
        prompt: true,
        begins: true,
        tokens: vec![1; 4],
    };
    node.append(&append).unwrap();
    assert_eq!(node.requested(), None);
    assert_eq!(node.transcript().len(), 7);
}
