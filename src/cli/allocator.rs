//! Memory settings for the commands that compute with models: the allocator keeps freed memory and uses pages of 2 MB. By
//! default, glibc returns the gigabytes of a PPO step to the system after each use and gets them again in pages of 4 KB, which
//! makes every weight slower to read. glibc reads these settings only when a program starts, so the program restarts itself
//! with them in its environment.

/// The settings (glibc manual, "Memory Allocation Tunables"): use large pages; never map a block separately; never return
/// memory; grow by 32 MB, because glibc asks for large pages only when it grows by at least one; use one heap for all threads,
/// because only the main heap has large pages.
const TUNABLES: &str = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736:\
                        glibc.malloc.top_pad=33554432:glibc.malloc.arena_max=1";

/// Restarts the program in the same process with `TUNABLES`. Returns if tunables are already set, on systems without glibc, or
/// if the system refuses; the program then works too, but more slowly.
pub fn restart_with_tunables() {
    if std::env::var_os("GLIBC_TUNABLES").is_none() {
        restart();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn restart() {
    use std::os::unix::process::CommandExt;
    let Ok(program) = std::env::current_exe() else { return };
    let mut args = std::env::args_os();
    let mut again = std::process::Command::new(program);
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    drop(again.args(args).env("GLIBC_TUNABLES", TUNABLES).exec()); // returns only if it failed
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn restart() {}
