//! Reads from Linux's /proc and control groups how much memory this process may use, and the processor's SIMD. Other systems
//! give `None`.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct SystemMemory {
    /// What this process may use in total.
    pub total: u64,
    /// What it may still use: the minimum of what the system and the process's control groups have left.
    pub free: u64,
}

/// The minimum of what the system, control groups and the process's limits (`ulimit -v`) allow; none if unknown.
pub fn memory() -> Option<SystemMemory> {
    let system = system(&read_to_string("/proc/meminfo").ok()?)?;
    let groups = groups(&read_to_string("/proc/self/cgroup").unwrap_or_default());
    let limits = groups.iter().filter_map(|folder| group(folder));
    let own = read_to_string("/proc/self/limits").unwrap_or_default();
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let limits = limits.chain(addresses(&own, &status, "Max address space", "VmSize:"));
    let limits = limits.chain(addresses(&own, &status, "Max data size", "VmData:"));
    Some(limits.fold(system, |a, b| SystemMemory { total: a.total.min(b.total), free: a.free.min(b.free) }))
}

/// `MemTotal` and `MemAvailable` of /proc/meminfo.
fn system(meminfo: &str) -> Option<SystemMemory> {
    let bytes = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb * 1024)
    };
    Some(SystemMemory { total: bytes("MemTotal")?, free: bytes("MemAvailable")? })
}

/// A limit in /proc/self/limits on the memory that the process may map, and what /proc/self/status leaves of it.
fn addresses(limits: &str, status: &str, limit: &str, used: &str) -> Option<SystemMemory> {
    let soft = limits.lines().find_map(|line| line.strip_prefix(limit))?.split_whitespace().next()?;
    let total = soft.parse::<u64>().ok()?; // "unlimited" is not a number
    let used = status.lines().find_map(|line| line.strip_prefix(used))?.split_whitespace().next()?;
    Some(SystemMemory { total, free: total.saturating_sub(used.parse::<u64>().ok()? * 1024) })
}

/// The control group (version 2) in `/proc/self/cgroup` and its parents; for version 1 the root that containers see.
fn groups(cgroup: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let mut folders: Vec<PathBuf> =
        root.join(own).ancestors().take_while(|path| path.starts_with(root)).map(Path::to_path_buf).collect();
    folders.push(root.join("memory"));
    folders
}

/// A control group's limit, and what is left of it; cached file pages that can be dropped count as free.
fn group(folder: &Path) -> Option<SystemMemory> {
    let number = |file: &str| read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok();
    let total = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
    let stat = read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let cached = stat.lines().find_map(|line| {
        line.strip_prefix("inactive_file ").or_else(|| line.strip_prefix("total_inactive_file "))?.trim().parse().ok()
    });
    Some(SystemMemory { total, free: total.saturating_sub(used.saturating_sub(cached.unwrap_or(0))) })
}

/// SIMD that our kernels can use, with the names of /proc/cpuinfo; none if unknown.
pub fn simd() -> Option<Vec<&'static str>> {
    const KNOWN: [&str; 12] = [
        "sse4_2",
        "avx",
        "fma",
        "f16c",
        "avx2",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "avx512_fp16",
        "amx_tile",
        "asimd",
        "sve",
    ];
    let info = read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"))?;
    let has: Vec<&str> = line.split_whitespace().collect();
    Some(KNOWN.into_iter().filter(|name| has.contains(name)).collect())
}

/// The processor's name, if known.
pub fn processor() -> Option<String> {
    let info = read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn meminfo_is_read_in_bytes() {
        let text = "MemTotal:       25165824 kB\nMemFree:         1000 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(system(text), Some(SystemMemory { total: 24 << 30, free: 2 << 20 }));
        assert_eq!(system("MemTotal: 5 kB\n"), None);
    }

    #[test]
    fn a_limit_on_addresses_counts() {
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax data size   unlimited  unlimited  bytes\nMax address space   \
                      6144000000   unlimited  bytes\n";
        let status = "Name:\tx\nVmSize:\t   1000000 kB\nVmData:\t 500 kB\n";
        let left = SystemMemory { total: 6_144_000_000, free: 6_144_000_000 - 1_024_000_000 };
        assert_eq!(addresses(limits, status, "Max address space", "VmSize:"), Some(left));
        assert_eq!(addresses(limits, status, "Max data size", "VmData:"), None);
    }

    #[test]
    fn a_groups_limit_counts_with_those_above_it() {
        let folders = groups("1:name=systemd:/x\n0::/user.slice/run\n");
        let path = |p: &str| Path::new("/sys/fs/cgroup").join(p);
        assert_eq!(folders, [path("user.slice/run"), path("user.slice"), path(""), path("memory")]);
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(group(dir.path()), None);
        write("memory.max", "max\n");
        write("memory.current", "900\n");
        assert_eq!(group(dir.path()), None, "no limit");
        write("memory.max", "1000\n");
        write("memory.stat", "anon 5\ninactive_file 300\n");
        assert_eq!(group(dir.path()), Some(SystemMemory { total: 1000, free: 400 }));
    }
}
