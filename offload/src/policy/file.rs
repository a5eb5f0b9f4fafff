//! The policy file: read raw, then validated.

use super::{
    Mode,
    condition::Condition,
    error::{Fault, PolicyError},
    gate::{Effect, Gate},
    hysteresis::Hysteresis,
    predict::Terms,
};
use serde::Deserialize;
use std::{fs::File, io::Read as _, path::Path};
use toml::Spanned;

/// Largest policy file, in bytes.
const FILE_BYTES_MAX: usize = 64 << 10;
/// Most gates of a policy.
const GATES_MAX: usize = 64;
/// Longest name of a gate and longest reason, in characters.
const NAME_CHARS_MAX: usize = 40;
const REASON_CHARS_MAX: usize = 200;
const MODEL_CHARS_MAX: usize = 500;
/// Largest weight, in milliseconds.
const WEIGHT_MAX: f64 = 1e9;

/// What a user wants chosen. Without one, all stays on the edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Modes that may be chosen, each once, in the order of [`Mode::ALL`].
    pub modes_allowed: Vec<Mode>,
    /// Hard limits, in the order of the file.
    pub gates: Vec<Gate>,
    /// What is weighed.
    pub terms: Terms,
    /// What a change of mode must overcome.
    pub hysteresis: Hysteresis,
    /// Whether the edge computes the KV cache along while a node answers, so
    /// that it can take over at once.
    pub keep_local_warm: bool,
    /// The model that goes on where the edge does not have the node's: a path.
    pub fallback_model: Option<String>,
    /// Whether a node must compute the edge's very bits.
    pub require_bitwise: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            modes_allowed: vec![Mode::Local],
            gates: Vec::new(),
            terms: Terms {
                jitter_margin: JITTER_MARGIN,
                ..Terms::default()
            },
            hysteresis: Hysteresis::default(),
            keep_local_warm: false,
            fallback_model: None,
            require_bitwise: false,
        }
    }
}

const JITTER_MARGIN: f64 = 0.5;

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    modes_allowed: Option<Spanned<Vec<Mode>>>,
    keep_local_warm: Option<bool>,
    fallback_model: Option<Spanned<String>>,
    require_bitwise: Option<bool>,
    #[serde(default)]
    weights: RawWeights,
    #[serde(default)]
    hysteresis: RawHysteresis,
    #[serde(default)]
    gate: Vec<Spanned<RawGate>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWeights {
    lambda_cloud_ms_per_token: Option<Spanned<f64>>,
    lambda_energy_ms_per_joule: Option<Spanned<f64>>,
    jitter_margin: Option<Spanned<f64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHysteresis {
    ratio: Option<Spanned<f64>>,
    dwell_tokens: Option<Spanned<u32>>,
    dwell_ms: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGate {
    name: Spanned<String>,
    when: Spanned<String>,
    deny: Option<Spanned<Vec<Mode>>>,
    only: Option<Spanned<Vec<Mode>>>,
    reason: Spanned<String>,
}

impl Policy {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or is no policy; see [`parse`](Self::parse).
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        Self::parse_at(&read(path)?, path)
    }

    /// Reads the text of the file at `path`.
    pub(super) fn parse_at(text: &str, path: &Path) -> Result<Self, PolicyError> {
        let mut policy = Self::parse(text, &path.display().to_string())?;
        // A relative path means a file beside the policy, wherever the program
        // is started.
        if let (Some(model), Some(folder)) = (&mut policy.fallback_model, path.parent()) {
            *model = folder.join(&*model).display().to_string();
        }
        Ok(policy)
    }

    /// Reads a text; `file` names it in errors.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(text: &str, file: &str) -> Result<Self, PolicyError> {
        let place = Place { text, file };
        if text.len() > FILE_BYTES_MAX {
            let max = FILE_BYTES_MAX;
            return Err(place.refuse(0, None, Fault::TooLarge { max }));
        }
        let raw: RawPolicy = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let fault = Fault::Form(error.message().replace('\n', "; "));
            place.refuse(start, None, fault)
        })?;
        place.policy(raw)
    }
}

/// The text of a policy's file, or as much of it as shows that it is too long.
pub(super) fn read(path: &Path) -> Result<String, PolicyError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        file.take(FILE_BYTES_MAX as u64 + 1)
            .read_to_string(&mut text)
    });
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(PolicyError {
            file: path.display().to_string(),
            line: 1,
            gate: None,
            fault: Box::new(Fault::Unreadable(error.to_string())),
        }),
    }
}

/// Where a text is from.
struct Place<'a> {
    text: &'a str,
    file: &'a str,
}

impl Place<'_> {
    fn refuse(&self, at: usize, gate: Option<&str>, fault: Fault) -> PolicyError {
        let before = self.text.bytes().take(at);
        PolicyError {
            file: self.file.to_owned(),
            line: 1 + before.filter(|&byte| byte == b'\n').count(),
            gate: gate.map(str::to_owned),
            fault: Box::new(fault),
        }
    }

    fn policy(&self, raw: RawPolicy) -> Result<Policy, PolicyError> {
        let default = Policy::default();
        let modes_allowed = match &raw.modes_allowed {
            Some(modes) => self.modes("modes_allowed", None, modes)?,
            None => default.modes_allowed,
        };
        let fallback_model = match &raw.fallback_model {
            Some(model) => Some(self.line("fallback_model", None, model, MODEL_CHARS_MAX)?),
            None => None,
        };
        if raw.gate.len() > GATES_MAX {
            let at = raw.gate[GATES_MAX].span().start;
            let (max, found) = (GATES_MAX, raw.gate.len());
            return Err(self.refuse(at, None, Fault::TooManyGates { max, found }));
        }
        let mut gates: Vec<Gate> = Vec::with_capacity(raw.gate.len());
        for gate in &raw.gate {
            let gate = self.gate(gate, &gates)?;
            gates.push(gate);
        }
        let terms = Terms {
            lambda_cloud_ms_per_token: self.number(
                "weights.lambda_cloud_ms_per_token",
                raw.weights.lambda_cloud_ms_per_token,
                WEIGHT_MAX,
                default.terms.lambda_cloud_ms_per_token,
            )?,
            lambda_energy_ms_per_joule: self.number(
                "weights.lambda_energy_ms_per_joule",
                raw.weights.lambda_energy_ms_per_joule,
                WEIGHT_MAX,
                default.terms.lambda_energy_ms_per_joule,
            )?,
            jitter_margin: self.number(
                "weights.jitter_margin",
                raw.weights.jitter_margin,
                1.0,
                default.terms.jitter_margin,
            )?,
            ..default.terms
        };
        let hysteresis = raw.hysteresis;
        let dwell = default.hysteresis;
        Ok(Policy {
            modes_allowed,
            gates,
            terms,
            hysteresis: Hysteresis {
                ratio: self.number("hysteresis.ratio", hysteresis.ratio, 0.9, dwell.ratio)?,
                dwell_tokens: hysteresis
                    .dwell_tokens
                    .map_or(dwell.dwell_tokens, Spanned::into_inner),
                dwell_ms: hysteresis
                    .dwell_ms
                    .map_or(dwell.dwell_ms, Spanned::into_inner),
            },
            keep_local_warm: raw.keep_local_warm.unwrap_or(default.keep_local_warm),
            fallback_model,
            require_bitwise: raw.require_bitwise.unwrap_or(default.require_bitwise),
        })
    }

    fn gate(&self, raw: &Spanned<RawGate>, before: &[Gate]) -> Result<Gate, PolicyError> {
        let start = raw.span().start;
        let raw = raw.get_ref();
        let name = self.line("name", None, &raw.name, NAME_CHARS_MAX)?;
        let gate = Some(name.as_str());
        if before.iter().any(|other| other.name == name) {
            return Err(self.refuse(raw.name.span().start, gate, Fault::Twice));
        }
        let when = Condition::parse(raw.when.get_ref())
            .map_err(|error| self.refuse(raw.when.span().start, gate, error.into()))?;
        let effect = match (&raw.deny, &raw.only) {
            (Some(modes), None) => Effect::Deny(self.modes("deny", gate, modes)?),
            (None, Some(modes)) => Effect::Only(self.modes("only", gate, modes)?),
            _ => return Err(self.refuse(start, gate, Fault::Effect)),
        };
        let reason = self.line("reason", gate, &raw.reason, REASON_CHARS_MAX)?;
        Ok(Gate {
            name,
            when,
            effect,
            reason,
        })
    }

    fn modes(
        &self,
        field: &'static str,
        gate: Option<&str>,
        modes: &Spanned<Vec<Mode>>,
    ) -> Result<Vec<Mode>, PolicyError> {
        if modes.get_ref().is_empty() {
            return Err(self.refuse(modes.span().start, gate, Fault::NoModes(field)));
        }
        let named = |mode: &Mode| modes.get_ref().contains(mode);
        Ok(Mode::ALL.into_iter().filter(named).collect())
    }

    fn line(
        &self,
        field: &'static str,
        gate: Option<&str>,
        text: &Spanned<String>,
        max: usize,
    ) -> Result<String, PolicyError> {
        let value = text.get_ref();
        let fits = !value.trim().is_empty() && value.chars().count() <= max;
        if fits && !value.contains(char::is_control) {
            return Ok(value.clone());
        }
        Err(self.refuse(text.span().start, gate, Fault::Text { field, max }))
    }

    fn number(
        &self,
        field: &'static str,
        number: Option<Spanned<f64>>,
        max: f64,
        default: f64,
    ) -> Result<f64, PolicyError> {
        let Some(number) = number else {
            return Ok(default);
        };
        let value = *number.get_ref();
        if (0.0..=max).contains(&value) {
            return Ok(value);
        }
        let fault = Fault::Range {
            field,
            min: "0".into(),
            max: max.to_string(),
            value: value.to_string(),
        };
        Err(self.refuse(number.span().start, None, fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_said_is_local_only() {
        let policy = Policy::parse("", "p.toml").unwrap();
        assert_eq!(policy, Policy::default());
        assert_eq!(policy.modes_allowed, [Mode::Local]);
    }

    #[test]
    fn a_whole_file_is_read() {
        let text = "modes_allowed = [\"verify\", \"local\"]\nkeep_local_warm = true\n\
                    fallback_model = \"small.gguf\"\nrequire_bitwise = true\n\
                    [weights]\nlambda_cloud_ms_per_token = 2\njitter_margin = 0.25\n\
                    [hysteresis]\nratio = 0.2\ndwell_tokens = 3\ndwell_ms = 0\n\
                    [[gate]]\nname = \"offline\"\nwhen = \"!online\"\nonly = [\"local\"]\n\
                    reason = \"there is no link\"\n";
        let policy = Policy::parse(text, "p.toml").unwrap();
        assert_eq!(policy.modes_allowed, [Mode::Local, Mode::VerifySequential]);
        assert!(policy.keep_local_warm && policy.require_bitwise);
        assert_eq!(policy.fallback_model.as_deref(), Some("small.gguf"));
        assert_eq!(policy.terms.lambda_cloud_ms_per_token, 2.0);
        assert_eq!(policy.terms.jitter_margin, 0.25);
        assert_eq!(policy.hysteresis.dwell_tokens, 3);
        assert_eq!(policy.gates.len(), 1);
        assert_eq!(policy.gates[0].effect, Effect::Only(vec![Mode::Local]));
    }

    #[test]
    fn errors_name_the_place() {
        let gate = "[[gate]]\nname = \"g\"\nreason = \"r\"\n";
        for (text, error) in [
            (
                "\nmode = 1\n".to_owned(),
                "p.toml, line 2: unknown field `mode`",
            ),
            (
                "modes_allowed = []".to_owned(),
                "p.toml, line 1: `modes_allowed` must name at least one mode",
            ),
            (
                "modes_allowed = [\"cloud\"]".to_owned(),
                "p.toml, line 1: unknown variant `cloud`",
            ),
            (
                "[weights]\njitter_margin = 2.0".to_owned(),
                "p.toml, line 2: `weights.jitter_margin` must be from 0 to 1, not 2",
            ),
            (
                "[weights]\njitter_margin = nan".to_owned(),
                "must be from 0 to 1, not NaN",
            ),
            (
                format!("{gate}when = \"rtt > 1\"\ndeny = [\"stream\"]\n"),
                "p.toml, line 4: gate `g`: `when`, column 1 of the condition: `rtt` is not a \
                 signal; did you mean `rtt_ms`?",
            ),
            (
                format!("{gate}when = \"online\"\n"),
                "p.toml, line 1: gate `g`: a gate says either `deny = [...]` or `only = [...]`",
            ),
            (
                format!("{gate}when = \"online\"\ndeny = []\n"),
                "p.toml, line 5: gate `g`: `deny` must name at least one mode",
            ),
            (
                format!("{gate}when = \"online\"\ndeny = [\"split\"]\n").repeat(2),
                "p.toml, line 7: gate `g`: another gate has this name",
            ),
            (
                "[[gate]]\nname = \"\"\nwhen = \"online\"\nreason = \"r\"\n".to_owned(),
                "p.toml, line 2: `name` must have 1 to 40 characters",
            ),
            (
                " ".repeat(FILE_BYTES_MAX + 1),
                "p.toml, line 1: a policy may have 65536 bytes",
            ),
        ] {
            let said = Policy::parse(&text, "p.toml").unwrap_err().to_string();
            assert!(said.starts_with(error) || said.contains(error), "{said}");
        }
        let said = Policy::load(Path::new("/nowhere/p.toml")).unwrap_err();
        assert!(said.to_string().contains("cannot be read"), "{said}");
    }

    #[test]
    fn gates_are_bounded() {
        let gates: String = (0..=GATES_MAX)
            .map(|i| {
                format!(
                    "[[gate]]\nname = \"g{i}\"\nwhen = \"online\"\ndeny = [\"split\"]\n\
                     reason = \"r\"\n"
                )
            })
            .collect();
        let error = Policy::parse(&gates, "p.toml").unwrap_err();
        assert_eq!(*error.fault, Fault::TooManyGates { max: 64, found: 65 });
    }

    /// Each ready policy says every field, so that it teaches them all.
    #[test]
    fn the_ready_policies_load() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/policies");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let policy = Policy::load(&path);
            policy.unwrap_or_else(|error| panic!("{error}"));
            names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
        names.sort();
        let ready = [
            "always-cloud",
            "battery-saver",
            "cheapest",
            "fastest",
            "private",
        ];
        assert_eq!(names, ready);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = Policy::parse(&text, "p.toml");
        }
    }
}
