//! What Linux tells in `/sys` and `/proc`. On other systems the files are not
//! there, and nothing is told.
//!
//! Whether a link is metered is known to network managers, not to the kernel,
//! so it is not told.

use super::{Source, Telemetry};
use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    thread,
};

/// Most bytes read of a file; none of the kernel's here is longer.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// Most entries looked at in a folder.
const ENTRIES_MAX: usize = 256;
/// Temperatures that a sensor may show, in degrees Celsius: some broken ones
/// show absolute zero, or the melting point of lead.
const TEMPERATURES: std::ops::Range<f64> = -60.0..150.0;

/// The files of a Linux machine.
#[derive(Debug, Clone)]
pub(crate) struct Linux {
    sys: PathBuf,
    proc: PathBuf,
    processors: usize,
}

impl Linux {
    /// This machine.
    pub(crate) fn here() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self::at("/sys", "/proc", processors)
    }

    /// A machine whose `/sys` and `/proc` are these folders.
    pub(crate) fn at(sys: impl Into<PathBuf>, proc: impl Into<PathBuf>, processors: usize) -> Self {
        Self {
            sys: sys.into(),
            proc: proc.into(),
            processors: processors.max(1),
        }
    }

    fn power(&self) -> (Option<bool>, Option<f64>) {
        let Some(supplies) = folders(&self.sys.join("class/power_supply")) else {
            return (None, None);
        };
        let mut mains = None;
        let mut discharging = None;
        let (mut charge, mut full) = (0.0, 0.0);
        for supply in supplies {
            let of_device = text(&supply.join("scope")).is_some_and(|scope| scope == "Device");
            match text(&supply.join("type")).as_deref() {
                // The battery of a mouse, say.
                _ if of_device => {}
                Some("Battery") => {
                    if let Some(status) = text(&supply.join("status")) {
                        let now = status == "Discharging";
                        discharging = Some(discharging.unwrap_or(false) || now);
                    }
                    if let Some(battery) = Battery::read(&supply) {
                        charge += battery.charge * battery.size;
                        full += battery.size;
                    }
                }
                Some("Mains" | "USB") => {
                    if let Some(online) = number(&supply.join("online")) {
                        mains = Some(mains.unwrap_or(false) || online > 0.0);
                    }
                }
                _ => {}
            }
        }
        let has_battery = discharging.is_some() || full > 0.0;
        let on_battery = match (mains, discharging) {
            // Some chargers give less than is used.
            (Some(true), _) => Some(false),
            (_, Some(discharging)) => Some(discharging),
            (Some(false), None) if has_battery => Some(true),
            _ => (!has_battery).then_some(false),
        };
        (on_battery, (full > 0.0).then(|| charge / full))
    }

    fn temperature(&self) -> Option<f64> {
        let zones = folders(&self.sys.join("class/thermal"))?;
        let zones = zones.iter().filter(|path| is_named(path, "thermal_zone"));
        let temperatures = zones.filter_map(|zone| {
            let millidegrees = number(&zone.join("temp"))?;
            let degrees = millidegrees / 1e3;
            TEMPERATURES.contains(&degrees).then_some(degrees)
        });
        temperatures.reduce(f64::max)
    }

    fn throttled(&self) -> Option<bool> {
        let devices = folders(&self.sys.join("class/thermal"))?;
        let devices = devices
            .iter()
            .filter(|path| is_named(path, "cooling_device"));
        let states = devices.filter_map(|device| {
            let kind = text(&device.join("type"))?;
            let of_processor = [
                "Processor",
                "cpufreq",
                "thermal-cpufreq",
                "intel_powerclamp",
            ];
            let slows = of_processor.iter().any(|start| kind.starts_with(start));
            // A device that is at rest shows 0, or -1.
            let state = number(&device.join("cur_state")).filter(|_| slows)?;
            Some(state > 0.0)
        });
        states.reduce(|any, state| any || state)
    }

    fn load(&self) -> Option<f64> {
        let text = text(&self.proc.join("loadavg"))?;
        let load = quantity(text.split_whitespace().next()?)?;
        Some(load / self.processors as f64)
    }

    fn memory_pressure(&self) -> Option<f64> {
        if let Some(pressure) = text(&self.proc.join("pressure/memory")) {
            let some = pressure.lines().find_map(|line| line.strip_prefix("some "));
            let average = some.and_then(|line| {
                let mut fields = line.split_whitespace();
                quantity(fields.find_map(|field| field.strip_prefix("avg10="))?)
            });
            if let Some(percent) = average {
                return Some((percent / 100.0).min(1.0));
            }
        }
        let memory = text(&self.proc.join("meminfo"))?;
        let kilobytes = |name: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
            quantity(line.strip_suffix("kB")?.trim())
        };
        let (total, available) = (kilobytes("MemTotal:")?, kilobytes("MemAvailable:")?);
        (total > 0.0).then(|| (1.0 - available / total).clamp(0.0, 1.0))
    }
}

impl Source for Linux {
    fn read(&self) -> Telemetry {
        let (on_battery, charge) = self.power();
        Telemetry {
            metered: None,
            memory_pressure: self.memory_pressure(),
            on_battery,
            charge,
            temperature_c: self.temperature(),
            throttled: self.throttled(),
            load: self.load(),
        }
    }
}

/// A battery's charge, from 0 to 1, and its weight among others.
struct Battery {
    charge: f64,
    size: f64,
}

impl Battery {
    fn read(supply: &Path) -> Option<Self> {
        let value = |name: &str| number(&supply.join(name)).filter(|value| *value >= 0.0);
        let full = value("energy_full").or_else(|| value("charge_full"));
        let full = full.filter(|full| *full > 0.0);
        let percent = value("capacity").filter(|percent| *percent <= 100.0);
        let charge = percent.map(|percent| percent / 100.0).or_else(|| {
            let now = value("energy_now").or_else(|| value("charge_now"))?;
            Some((now / full?).min(1.0))
        })?;
        Some(Self {
            charge,
            size: full.unwrap_or(1.0),
        })
    }
}

/// The entries of a folder, if it is there.
fn folders(path: &Path) -> Option<Vec<PathBuf>> {
    let entries = fs::read_dir(path).ok()?.take(ENTRIES_MAX);
    Some(entries.flatten().map(|entry| entry.path()).collect())
}

fn is_named(path: &Path, start: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(start))
}

fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

fn number(path: &Path) -> Option<f64> {
    let number: f64 = text(path)?.parse().ok()?;
    number.is_finite().then_some(number)
}

fn quantity(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A machine of these files.
    fn machine(files: &[(&str, &str)]) -> (TempDir, Telemetry) {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let linux = Linux::at(root.path().join("sys"), root.path().join("proc"), 4);
        let told = linux.read();
        (root, told)
    }

    const LAPTOP: [(&str, &str); 16] = [
        ("sys/class/power_supply/AC/type", "Mains\n"),
        ("sys/class/power_supply/AC/online", "0\n"),
        ("sys/class/power_supply/BAT0/type", "Battery\n"),
        ("sys/class/power_supply/BAT0/status", "Discharging\n"),
        ("sys/class/power_supply/BAT0/capacity", "40\n"),
        ("sys/class/power_supply/mouse/type", "Battery\n"),
        ("sys/class/power_supply/mouse/scope", "Device\n"),
        ("sys/class/power_supply/mouse/capacity", "3\n"),
        ("sys/class/thermal/thermal_zone0/temp", "45000\n"),
        ("sys/class/thermal/thermal_zone1/temp", "61500\n"),
        ("sys/class/thermal/thermal_zone2/temp", "-273200\n"),
        ("sys/class/thermal/cooling_device0/type", "Processor\n"),
        ("sys/class/thermal/cooling_device0/cur_state", "2\n"),
        ("proc/loadavg", "2.00 1.00 0.50 1/100 42\n"),
        (
            "proc/pressure/memory",
            "some avg10=12.50 avg60=1.00 avg300=0.00 total=5\nfull avg10=0.00\n",
        ),
        ("proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 25 kB\n"),
    ];

    #[test]
    fn a_laptop_on_its_battery() {
        let (_root, told) = machine(&LAPTOP);
        let expected = Telemetry {
            metered: None,
            memory_pressure: Some(0.125),
            on_battery: Some(true),
            charge: Some(0.4),
            temperature_c: Some(61.5),
            throttled: Some(true),
            load: Some(0.5),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn a_server_has_no_battery_and_no_pressure_file() {
        let (root, _) = machine(&[("proc/meminfo", LAPTOP[15].1)]);
        fs::create_dir_all(root.path().join("sys/class/power_supply")).unwrap();
        let linux = Linux::at(root.path().join("sys"), root.path().join("proc"), 1);
        let told = linux.read();
        let expected = Telemetry {
            on_battery: Some(false),
            memory_pressure: Some(0.75),
            ..Telemetry::default()
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn batteries_count_by_size() {
        let battery = "sys/class/power_supply/BAT";
        let files = [
            (format!("{battery}0/type"), "Battery"),
            (format!("{battery}0/status"), "Full"),
            (format!("{battery}0/energy_now"), "30"),
            (format!("{battery}0/energy_full"), "30"),
            (format!("{battery}1/type"), "Battery"),
            (format!("{battery}1/status"), "Unknown"),
            (format!("{battery}1/energy_now"), "0"),
            (format!("{battery}1/energy_full"), "10"),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), *b)).collect();
        let (_root, told) = machine(&files);
        assert_eq!(told.charge, Some(0.75));
        assert_eq!(told.on_battery, Some(false));
    }

    #[test]
    fn nothing_is_told_where_nothing_is() {
        let linux = Linux::at("/nowhere/sys", "/nowhere/proc", 0);
        assert_eq!(linux.read(), Telemetry::default());
        // Whatever this machine tells, it is in range.
        let here = Linux::here().read();
        for share in [here.charge, here.memory_pressure].into_iter().flatten() {
            assert!((0.0..=1.0).contains(&share), "{here:?}");
        }
    }

    #[test]
    fn hostile_files_tell_nothing() {
        let long = "9".repeat(100_000);
        let hostile = [
            "",
            "\0",
            "NaN",
            "inf",
            "-1e999",
            "some avg10=",
            &long,
            "\u{202e}",
        ];
        for content in hostile {
            let mut files: Vec<(&str, &str)> = LAPTOP.map(|(name, _)| (name, content)).to_vec();
            files.push(("sys/class/power_supply/BAT1/type", "Battery"));
            files.push(("sys/class/power_supply/BAT1/capacity", content));
            files.push(("sys/class/power_supply/BAT1/energy_full", content));
            files.push(("sys/class/power_supply/BAT1/energy_now", content));
            let (_root, told) = machine(&files);
            assert_eq!(told.charge, None, "{content:.20}");
            assert_eq!(told.load, None, "{content:.20}");
            assert_eq!(told.temperature_c, None, "{content:.20}");
            assert_eq!(told.memory_pressure, None, "{content:.20}");
        }
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/loadavg")).unwrap();
        fs::create_dir_all(root.path().join("sys/class/power_supply/BAT0/type")).unwrap();
        fs::write(root.path().join("proc/meminfo"), [0xff, 0xfe]).unwrap();
        let linux = Linux::at(root.path().join("sys"), root.path().join("proc"), 1);
        let told = linux.read();
        assert_eq!((told.load, told.memory_pressure), (None, None));
    }
}
