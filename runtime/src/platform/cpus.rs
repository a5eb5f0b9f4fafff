//! The processors this process may use.

use std::collections::HashSet;

/// How many threads can run at a time: what affinity and the quota of the
/// control group leave of the machine's processors. At least 1.
pub fn usable() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many physical cores the usable processors belong to, at most
/// [`usable`]; `None` where this is not known how to ask.
///
/// Matrix products gain little from a second thread on a core.
pub fn physical() -> Option<usize> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let cores: Option<HashSet<String>> = parse_list(allowed)?
        .into_iter()
        .map(|cpu| {
            let siblings =
                format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            std::fs::read_to_string(siblings).ok()
        })
        .collect();
    Some(cores?.len().clamp(1, usable()))
}

/// What the processor calls itself; `None` where this is not known how to ask.
pub fn model_name() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The numbers of a list such as `0-3,8,10-11`.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    /// More than any machine has; keeps a strange list from growing large.
    const CPUS_MAX: usize = 1 << 16;
    let mut cpus = Vec::new();
    for piece in list.trim().split(',') {
        let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= CPUS_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(
            parse_list("0-3,8,10-11\n"),
            Some(vec![0, 1, 2, 3, 8, 10, 11])
        );
        assert_eq!(parse_list("5"), Some(vec![5]));
        assert_eq!(parse_list(""), None);
        assert_eq!(parse_list("0-99999999999"), None);
    }

    #[test]
    fn cpus_of_this_machine() {
        assert!(usable() >= 1);
        if let Some(physical) = physical() {
            assert!((1..=usable()).contains(&physical));
        }
    }
}
