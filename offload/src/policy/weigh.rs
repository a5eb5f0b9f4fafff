//! What a policy makes of the signals: each mode barred or at its cost.

use super::{
    Bar, Candidate, Mode, Policy, Signals, Standing,
    gate::State,
    predict::{Unfit, known, predict},
};

impl Policy {
    /// Every mode with its cost or what bars it, in the order of [`Mode::ALL`].
    pub fn weigh(&self, signals: &Signals) -> Vec<Candidate> {
        let states: Vec<State> = self.gates.iter().map(|gate| gate.state(signals)).collect();
        let mut candidates: Vec<Candidate> = Mode::ALL
            .into_iter()
            .map(|mode| Candidate {
                mode,
                standing: match self.bar(mode, signals, &states) {
                    Some(bar) => Standing::Barred(bar),
                    None => match predict(mode, signals, &self.terms) {
                        Ok(prediction) => Standing::Open(prediction),
                        Err(Unfit::Unmeasured(unmeasured)) => Standing::Unpredicted { unmeasured },
                        Err(unfit) => Standing::Barred(Bar::Unfit {
                            reason: unfit.to_string(),
                        }),
                    },
                },
            })
            .collect();
        bar_the_late(&mut candidates, signals);
        candidates
    }

    fn bar(&self, mode: Mode, signals: &Signals, states: &[State]) -> Option<Bar> {
        if !self.modes_allowed.contains(&mode) {
            return Some(Bar::Policy);
        }
        let mut gates = self.gates.iter().zip(states);
        if let Some((gate, state)) = gates.find(|(gate, state)| gate.bars(state, mode)) {
            let name = gate.name.clone();
            return Some(match state {
                State::Undecided(why) => Bar::UndecidedGate {
                    gate: name,
                    reason: why.to_string(),
                },
                State::Open | State::Shut => Bar::Gate {
                    gate: name,
                    reason: gate.reason.clone(),
                },
            });
        }
        let same_bits = signals.node_kernels_match == Some(true);
        (self.require_bitwise && mode.is_remote() && !same_bits).then_some(Bar::Bitwise)
    }

    /// What a decision takes for granted or cannot weigh, a sentence each.
    pub(super) fn notes(&self, signals: &Signals) -> Vec<String> {
        let mut notes = Vec::new();
        for gate in &self.gates {
            if let State::Undecided(why) = gate.state(signals) {
                notes.push(format!(
                    "gate `{}` cannot be decided: {why}; it lets nothing leave this machine",
                    gate.name
                ));
            }
        }
        if self.modes_allowed.iter().any(|mode| mode.is_remote()) && signals.online == Some(true) {
            let assumed = [
                (signals.loss, "`loss` is not known and counted as none"),
                (
                    signals.rtt_var_ms,
                    "`rtt_var_ms` is not known and taken as half of the RTT",
                ),
            ];
            let unknown = assumed
                .iter()
                .filter(|(signal, _)| known(*signal).is_none());
            notes.extend(unknown.map(|(_, note)| (*note).to_owned()));
        }
        let weighs_energy = self.terms.lambda_energy_ms_per_joule > 0.0;
        if weighs_energy && known(signals.edge_power_w).is_none() {
            notes.push("`edge_power_w` is not known, so energy is not weighed".to_owned());
        }
        notes
    }
}

/// Bars modes whose first token would be late, if one is in time.
fn bar_the_late(candidates: &mut [Candidate], signals: &Signals) {
    let answer_begun = match (known(signals.context_tokens), known(signals.prompt_tokens)) {
        (Some(context), Some(prompt)) => context > prompt,
        _ => false,
    };
    let Some(deadline) = known(signals.deadline_ms).filter(|_| !answer_begun) else {
        return;
    };
    let ttft = |candidate: &Candidate| candidate.prediction()?.ttft_ms;
    let in_time = |one: &Candidate| ttft(one).is_some_and(|ms| ms <= deadline);
    if !candidates.iter().any(in_time) {
        return;
    }
    for candidate in candidates {
        if ttft(candidate).is_some_and(|ms| ms > deadline) {
            candidate.standing = Standing::Barred(Bar::Deadline);
        }
    }
}
