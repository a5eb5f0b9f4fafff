//! What is known at one time of the edge, the link and the node.

use crate::telemetry::{Linux, Source as _};
use outrigger_offload::{policy::Signals, remote::NodeLink};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub(super) struct Senses {
    /// What changes with the node alone.
    known: Arc<Mutex<Signals>>,
    link: NodeLink,
    machine: Linux,
}

impl Senses {
    pub(super) fn new(known: Arc<Mutex<Signals>>, link: NodeLink) -> Self {
        let machine = Linux::here();
        Self {
            known,
            link,
            machine,
        }
    }

    pub(super) fn read(&self) -> Signals {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut signals = known.clone();
        drop(known);
        self.machine.read().fill(&mut signals);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let estimate = self.link.estimate();
        let estimate = estimate.as_ref();
        let srtt = estimate.and_then(|estimate| estimate.srtt());
        signals.rtt_ms = srtt.or(self.link.rtt()).map(ms);
        signals.rtt_var_ms = estimate.and_then(|e| e.rttvar()).map(ms);
        signals.rtt_p95_ms = estimate.and_then(|e| e.rtt_p95()).map(ms);
        signals.loss = estimate.map(|estimate| estimate.loss());
        let mbit_s = |bytes_s: f64| bytes_s * 8.0 / 1e6;
        signals.up_mbit_s = estimate.and_then(|e| e.up_bytes_s()).map(mbit_s);
        signals.down_mbit_s = estimate.and_then(|e| e.down_bytes_s()).map(mbit_s);
        if let Some(times) = self.link.times() {
            let (base, each) = times.verify_ms();
            signals.t_cloud_ms = Some(times.step_ms());
            signals.prefill_cloud_ms = Some(times.prefill_ms());
            signals.t_verify_base_ms = Some(base);
            signals.t_verify_per_token_ms = Some(each);
            signals.queue_depth = times.queue();
        }
        signals
    }
}
