//! What the machine tells of itself: battery, heat, load, memory.

#[cfg(test)]
mod fake;
mod linux;

#[cfg(test)]
pub(crate) use fake::Fake;
pub(crate) use linux::Linux;

use outrigger_offload::policy::Signals;

/// The signals that a machine tells of itself.
pub(crate) const NAMES: [&str; 7] = [
    "metered",
    "memory_pressure",
    "on_battery",
    "charge",
    "temperature_c",
    "throttled",
    "load",
];

/// What a machine says at one time; `None` is what it does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Telemetry {
    /// Whether the link is paid for by volume.
    pub(crate) metered: Option<bool>,
    /// Share of time in which work waits for memory, or of memory in use where
    /// that is not measured, from 0 to 1.
    pub(crate) memory_pressure: Option<f64>,
    /// Whether it runs on its battery.
    pub(crate) on_battery: Option<bool>,
    /// Charge of its batteries, from 0 to 1.
    pub(crate) charge: Option<f64>,
    /// Temperature of its hottest sensor, in degrees Celsius.
    pub(crate) temperature_c: Option<f64>,
    /// Whether its processor is slowed down to cool.
    pub(crate) throttled: Option<bool>,
    /// Runnable tasks over the last minute, per processor.
    pub(crate) load: Option<f64>,
}

impl Telemetry {
    /// Puts what is told among the signals.
    pub(crate) fn fill(&self, signals: &mut Signals) {
        signals.metered = self.metered;
        signals.memory_pressure = self.memory_pressure;
        signals.on_battery = self.on_battery;
        signals.charge = self.charge;
        signals.temperature_c = self.temperature_c;
        signals.throttled = self.throttled;
        signals.load = self.load;
    }
}

/// Something that tells of a machine.
pub(crate) trait Source {
    /// What it says now.
    fn read(&self) -> Telemetry;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_named() {
        let told = Telemetry {
            metered: Some(true),
            memory_pressure: Some(0.1),
            on_battery: Some(true),
            charge: Some(0.5),
            temperature_c: Some(40.0),
            throttled: Some(false),
            load: Some(0.2),
        };
        let mut signals = Signals::default();
        Fake(told).read().fill(&mut signals);
        let shown = serde_json::to_value(&signals).unwrap();
        let shown = shown.as_object().unwrap();
        let known = shown
            .iter()
            .filter(|(_, value)| !value.is_null() && !value.is_array())
            .map(|(name, _)| name.as_str());
        assert_eq!(known.collect::<Vec<_>>(), NAMES);
    }
}
