//! Energy that the processor has taken.
//!
//! Linux shows the counters of Intel's and AMD's processors (RAPL) as
//! `intel-rapl:N` folders under `/sys/class/powercap`, one per package. On most
//! systems only root may read them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The counters of all packages.
#[derive(Debug)]
pub(crate) struct EnergyMeter {
    packages: Vec<Package>,
}

#[derive(Debug)]
struct Package {
    counter: PathBuf,
    /// Where the counter begins anew, in microjoules.
    range: u64,
}

/// What the counters said at some time.
#[derive(Debug)]
pub(crate) struct EnergyReading(Vec<u64>);

impl EnergyMeter {
    /// The meter of this machine; `None` if it has none that may be read.
    pub(crate) fn open() -> Option<Self> {
        Self::open_at(Path::new("/sys/class/powercap"))
    }

    fn open_at(root: &Path) -> Option<Self> {
        let mut packages = Vec::new();
        for folder in fs::read_dir(root).ok()?.flatten() {
            let path = folder.path();
            let rapl = folder.file_name();
            let rapl = rapl
                .to_str()
                .is_some_and(|name| name.starts_with("intel-rapl:"));
            let name = fs::read_to_string(path.join("name")).unwrap_or_default();
            // Parts of a package are counted in it, `psys` counts all over again.
            if !rapl || !name.starts_with("package-") {
                continue;
            }
            let counter = path.join("energy_uj");
            number(&counter)?;
            packages.push(Package {
                counter,
                range: number(&path.join("max_energy_range_uj"))?,
            });
        }
        (!packages.is_empty()).then_some(Self { packages })
    }

    /// The counters now; `None` if they can no longer be read.
    pub(crate) fn read(&self) -> Option<EnergyReading> {
        let counters = self.packages.iter().map(|package| number(&package.counter));
        counters.collect::<Option<_>>().map(EnergyReading)
    }

    /// Joules between two readings. A counter may have begun anew once.
    pub(crate) fn joules(&self, before: &EnergyReading, after: &EnergyReading) -> f64 {
        let packages = self.packages.iter().zip(before.0.iter().zip(&after.0));
        let microjoules = packages.map(|(package, (&before, &after))| {
            let wrapped = if after < before { package.range } else { 0 };
            (after + wrapped).saturating_sub(before)
        });
        microjoules.sum::<u64>() as f64 / 1e6
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, zone: &str, name: &str, energy: u64) {
        let folder = root.join(zone);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        fs::write(folder.join("energy_uj"), format!("{energy}\n")).unwrap();
        fs::write(folder.join("max_energy_range_uj"), "1000000000\n").unwrap();
    }

    #[test]
    fn packages_are_summed_and_counters_wrap() {
        let root = tempfile::tempdir().unwrap();
        assert!(EnergyMeter::open_at(root.path()).is_none());
        put(root.path(), "intel-rapl:0", "package-0", 999_000_000);
        put(root.path(), "intel-rapl:1", "package-1", 5_000_000);
        put(root.path(), "intel-rapl:0:0", "core", 7);
        put(root.path(), "intel-rapl:2", "psys", 7);
        let meter = EnergyMeter::open_at(root.path()).unwrap();
        let before = meter.read().unwrap();
        put(root.path(), "intel-rapl:0", "package-0", 1_500_000);
        put(root.path(), "intel-rapl:1", "package-1", 5_500_000);
        let after = meter.read().unwrap();
        assert!((meter.joules(&before, &after) - 3.0).abs() < 1e-9);
    }
}
