//! The names under which conditions see the signals.

use super::signals::Signals;

/// What kind of value a signal or an expression has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A number; conditions know only floating-point ones.
    Number,
    /// One of a few names.
    Text,
}

impl Kind {
    /// The kind as a sentence names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
        }
    }
}

/// A signal's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Number`], finite and at least 0, but for temperatures.
    Number(f64),
    /// Of [`Kind::Text`].
    Text(&'static str),
}

/// A signal by name.
#[derive(Debug)]
pub struct Signal {
    /// The name in conditions and JSON.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    get: Get,
}

#[derive(Debug)]
enum Get {
    Bool(fn(&Signals) -> Option<bool>),
    Number(fn(&Signals) -> Option<f64>),
    Text(fn(&Signals) -> Option<&'static str>),
}

impl Signal {
    /// The signal of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|signal| signal.name == name)
    }

    /// All signals.
    pub fn all() -> &'static [Self] {
        &ALL
    }

    /// Its value; `None` if it is not known.
    pub fn value(&self, signals: &Signals) -> Option<Scalar> {
        match self.get {
            Get::Bool(get) => get(signals).map(Scalar::Bool),
            Get::Number(get) => {
                let number = get(signals).filter(|number| number.is_finite())?;
                let known = number >= 0.0 || self.name == "temperature_c";
                known.then_some(Scalar::Number(number))
            }
            Get::Text(get) => get(signals).map(Scalar::Text),
        }
    }

    const fn bool(name: &'static str, get: fn(&Signals) -> Option<bool>) -> Self {
        Self {
            name,
            kind: Kind::Bool,
            get: Get::Bool(get),
        }
    }

    const fn number(name: &'static str, get: fn(&Signals) -> Option<f64>) -> Self {
        Self {
            name,
            kind: Kind::Number,
            get: Get::Number(get),
        }
    }

    const fn text(name: &'static str, get: fn(&Signals) -> Option<&'static str>) -> Self {
        Self {
            name,
            kind: Kind::Text,
            get: Get::Text(get),
        }
    }
}

fn mean(rates: &[f32]) -> Option<f64> {
    let sum: f64 = rates.iter().map(|&rate| f64::from(rate)).sum();
    (!rates.is_empty()).then(|| sum / rates.len() as f64)
}

static ALL: [Signal; 42] = [
    Signal::bool("online", |s| s.online),
    Signal::bool("metered", |s| s.metered),
    Signal::number("rtt_ms", |s| s.rtt_ms),
    Signal::number("rtt_var_ms", |s| s.rtt_var_ms),
    Signal::number("rtt_p95_ms", |s| s.rtt_p95_ms),
    Signal::number("up_mbit_s", |s| s.up_mbit_s),
    Signal::number("down_mbit_s", |s| s.down_mbit_s),
    Signal::number("loss", |s| s.loss),
    Signal::number("queue_depth", |s| s.queue_depth),
    Signal::bool("node_model_matches", |s| s.node_model_matches),
    Signal::bool("node_tokenizer_matches", |s| s.node_tokenizer_matches),
    Signal::bool("node_kernels_match", |s| s.node_kernels_match),
    Signal::bool("node_has_draft", |s| s.node_has_draft),
    Signal::bool("edge_has_model", |s| s.edge_has_model),
    Signal::bool("edge_has_draft", |s| s.edge_has_draft),
    Signal::number("t_local_ms", |s| s.t_local_ms),
    Signal::number("t_cloud_ms", |s| s.t_cloud_ms),
    Signal::number("t_verify_base_ms", |s| s.t_verify_base_ms),
    Signal::number("t_verify_per_token_ms", |s| s.t_verify_per_token_ms),
    Signal::number("t_draft_ms", |s| s.t_draft_ms),
    Signal::number("t_node_draft_ms", |s| s.t_node_draft_ms),
    Signal::number("t_edge_split_ms", |s| s.t_edge_split_ms),
    Signal::number("t_node_split_ms", |s| s.t_node_split_ms),
    Signal::number("prefill_local_ms", |s| s.prefill_local_ms),
    Signal::number("prefill_cloud_ms", |s| s.prefill_cloud_ms),
    Signal::number("prefill_split_ms", |s| s.prefill_split_ms),
    Signal::number("acceptance", |s| mean(&s.acceptance)),
    Signal::number("node_acceptance", |s| mean(&s.node_acceptance)),
    Signal::number("hidden_bytes", |s| s.hidden_bytes),
    Signal::number("prompt_tokens", |s| s.prompt_tokens),
    Signal::number("context_tokens", |s| s.context_tokens),
    Signal::text("privacy", |s| s.privacy.map(super::Privacy::name)),
    Signal::number("deadline_ms", |s| s.deadline_ms),
    Signal::number("cost_so_far", |s| s.cost_so_far),
    Signal::number("cloud_tokens_so_far", |s| s.cloud_tokens_so_far),
    Signal::number("memory_pressure", |s| s.memory_pressure),
    Signal::bool("on_battery", |s| s.on_battery),
    Signal::number("charge", |s| s.charge),
    Signal::number("temperature_c", |s| s.temperature_c),
    Signal::bool("throttled", |s| s.throttled),
    Signal::number("load", |s| s.load),
    Signal::number("edge_power_w", |s| s.edge_power_w),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_name() {
        let fields = serde_json::to_value(Signals::default()).unwrap();
        let fields: Vec<&String> = fields.as_object().unwrap().keys().collect();
        let names: Vec<&str> = Signal::all().iter().map(|signal| signal.name).collect();
        assert_eq!(names, fields);
    }

    #[test]
    fn what_is_no_quantity_is_unknown() {
        let rtt = Signal::find("rtt_ms").unwrap();
        for (number, known) in [(3.0, true), (-1.0, false), (f64::NAN, false)] {
            let signals = Signals {
                rtt_ms: Some(number),
                temperature_c: Some(-5.0),
                ..Signals::default()
            };
            assert_eq!(rtt.value(&signals).is_some(), known, "{number}");
            let cold = Signal::find("temperature_c").unwrap().value(&signals);
            assert_eq!(cold, Some(Scalar::Number(-5.0)));
        }
        assert!(Signal::find("rtt").is_none());
    }
}
