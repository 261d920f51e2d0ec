//! Memory settings for the commands that compute with models: freed memory is kept for the next block, and large blocks lie in
//! pages of 2 MB. A PPO step asks for the same gigabytes again and again; with its default settings the allocator of glibc gives them
//! back each time and gets them again in pages of 4 KB, through which every weight is then read. glibc reads these settings only
//! when a program starts, so the program starts itself once more with them in its environment.

/// The settings (glibc manual, "Memory Allocation Tunables"): large pages; no block in a mapping of its own; nothing given back; growth
/// by 32 MB, since glibc asks for large pages only where it grows by one of them or more; and one heap for all threads, since only that
/// one is made of large pages.
const TUNABLES: &str = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736:\
                        glibc.malloc.top_pad=33554432:glibc.malloc.arena_max=1";

/// Starts the program again, in the same process, with [`TUNABLES`]. Returns where the caller has set tunables, on systems without
/// glibc, or where the system refuses; the program then works as well, only slower.
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
    drop(again.args(args).env("GLIBC_TUNABLES", TUNABLES).exec()); // returns only where it failed
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn restart() {}
