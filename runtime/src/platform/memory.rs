//! How much memory there is, and how much of it this process has.

/// The memory this process may use, in bytes: that of the machine, or of the
/// control group it runs in where that is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemMemory {
    /// All of it.
    pub total: u64,
    /// What can be had without swapping; page cache that can be dropped counts.
    pub available: u64,
}

/// The memory of this process that is in RAM, in bytes. Mapped files count as
/// far as they have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Now.
    pub resident: u64,
    /// At its highest so far, or since [`reset_peak`].
    pub resident_peak: u64,
    /// The part of `resident` that is the process' own.
    pub anonymous: u64,
    /// The part of `resident` that is pages of mapped files.
    pub file: u64,
}

/// The memory there is; `None` where this is not known how to ask.
pub fn system() -> Option<SystemMemory> {
    let machine = parse_meminfo(&read("/proc/meminfo")?)?;
    let group = read("/proc/self/cgroup").and_then(|groups| group_memory(&groups));
    Some(match group {
        Some(group) => SystemMemory {
            total: machine.total.min(group.total),
            available: machine.available.min(group.available),
        },
        None => machine,
    })
}

/// The memory of this process; `None` where this is not known how to ask.
pub fn process() -> Option<ProcessMemory> {
    parse_status(&read("/proc/self/status")?)
}

/// Lets [`ProcessMemory::resident_peak`] begin anew at what is resident now.
/// Without effect where there is no such request.
pub fn reset_peak() {
    if cfg!(target_os = "linux") {
        // A kernel without the file goes on counting from the start.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
}

/// A file of the `/proc` or `/sys` kind; there are none outside Linux.
fn read(path: &str) -> Option<String> {
    if cfg!(target_os = "linux") {
        std::fs::read_to_string(path).ok()
    } else {
        None
    }
}

/// The value of a line `NAME:   123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number = line.strip_prefix(':')?.trim().strip_suffix("kB")?.trim();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

fn parse_meminfo(text: &str) -> Option<SystemMemory> {
    Some(SystemMemory {
        total: kilobytes(text, "MemTotal")?,
        available: kilobytes(text, "MemAvailable")?,
    })
}

fn parse_status(text: &str) -> Option<ProcessMemory> {
    Some(ProcessMemory {
        resident: kilobytes(text, "VmRSS")?,
        resident_peak: kilobytes(text, "VmHWM")?,
        anonymous: kilobytes(text, "RssAnon")?,
        // A file in a file system that is itself in memory counts as shared.
        file: kilobytes(text, "RssFile")? + kilobytes(text, "RssShmem").unwrap_or(0),
    })
}

/// The tightest limit of the control groups that `/proc/self/cgroup` names and
/// those around them.
fn group_memory(groups: &str) -> Option<SystemMemory> {
    let group_at = |root: &str, path: &str, limit: &str, usage: &str, cache: &str| {
        let folders = std::path::Path::new(path.trim_start_matches('/')).ancestors();
        let limits = folders.filter_map(|folder| {
            let file = |name| read(&format!("{root}/{}/{name}", folder.display()));
            parse_group(&file(limit)?, &file(usage)?, &file("memory.stat")?, cache)
        });
        limits.min_by_key(|memory| memory.available)
    };
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        match controllers {
            "" => group_at(
                "/sys/fs/cgroup",
                path,
                "memory.max",
                "memory.current",
                "inactive_file",
            ),
            _ if controllers.split(',').any(|name| name == "memory") => group_at(
                "/sys/fs/cgroup/memory",
                path,
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            ),
            _ => None,
        }
    })
}

/// A group's memory from its limit (`max` if there is none), its usage, and
/// the part of the usage that is droppable page cache.
fn parse_group(limit: &str, usage: &str, stat: &str, cache: &str) -> Option<SystemMemory> {
    let total: u64 = limit.trim().parse().ok()?;
    let usage: u64 = usage.trim().parse().ok()?;
    let cached = stat
        .lines()
        .find_map(|line| line.strip_prefix(cache)?.trim().parse::<u64>().ok())
        .unwrap_or(0);
    Some(SystemMemory {
        total,
        available: total.saturating_sub(usage.saturating_sub(cached)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       16318480 kB\nMemFree:   1 kB\nMemAvailable:    8000000 kB\n";
        let memory = parse_meminfo(text).unwrap();
        assert_eq!(memory.total, 16_318_480 * 1024);
        assert_eq!(memory.available, 8_000_000 * 1024);
        assert_eq!(parse_meminfo("MemTotal: many kB\n"), None);
        assert_eq!(parse_meminfo(""), None);
    }

    #[test]
    fn group_limits_are_read() {
        let stat = "anon 5\ninactive_file 300\nactive_file 7\n";
        let memory = parse_group("1000\n", "800\n", stat, "inactive_file").unwrap();
        assert_eq!((memory.total, memory.available), (1000, 500));
        assert_eq!(parse_group("max\n", "800\n", stat, "inactive_file"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_of_this_machine() {
        let memory = system().unwrap();
        assert!(memory.available <= memory.total && memory.total > 0);
        let process = process().unwrap();
        assert!(0 < process.resident && process.resident <= process.resident_peak);
        assert!(0 < process.anonymous && process.anonymous <= process.resident);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_begins_anew() {
        let before = process().unwrap().resident_peak;
        drop(std::hint::black_box(vec![1_u8; 64 << 20]));
        let high = process().unwrap();
        assert!(high.resident_peak >= before + (32 << 20));
        reset_peak();
        assert!(process().unwrap().resident_peak < high.resident_peak);
    }
}
