//! Link options of the workers with threads: memory that several workers share. std's objects are compiled for one thread, which
//! the linker would refuse; src/kernels/tab.rs says why they may be used.

#![allow(clippy::disallowed_methods)] // cargo says in the environment what it builds and where

use std::path::Path;

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("wasm32") {
        return Ok(());
    }
    let object = Path::new(&std::env::var("OUT_DIR").unwrap_or_default()).join("thread_local.o");
    std::fs::write(&object, thread_local())?;
    for option in [
        "--shared-memory",
        "--no-check-features",
        "--import-memory",
        "--max-memory=4294967296",
        // wasm-bindgen needs these
        "--export=__heap_base",
        "--export=__wasm_init_tls",
        "--export=__tls_size",
        "--export=__tls_align",
        "--export=__tls_base",
        // static/threads.js gives each thread a stack
        "--export=__stack_pointer",
        &object.to_string_lossy(),
    ] {
        for worker in ["worker_threads", "worker_relaxed"] {
            println!("cargo::rustc-link-arg-bin={worker}={option}");
        }
    }
    Ok(())
}

/// A WebAssembly object with one thread-local number, which nothing uses: wasm-bindgen allocates memory for thread-locals, and its
/// allocator refuses an alignment of 0, which a program without any has. The format is described in
/// <https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md>.
fn thread_local() -> Vec<u8> {
    let section = |id: u8, content: &[u8]| [&[id, content.len() as u8], content].concat();
    let named = |name: &str| [&[name.len() as u8], name.as_bytes()].concat();
    // one segment at 0 with four bytes
    let data = section(11, &[1, 0, 0x41, 0, 0x0b, 4, 0, 0, 0, 0]);
    // segment info: alignment 2², flags "thread-local" and "retain"
    let segments = section(5, &[&[1], &named(".tdata.one")[..], &[2, 2 | 4]].concat());
    // symbol table: a data symbol with the flag "thread-local" (0x100), segment 0, offset 0, four bytes
    let symbols = section(8, &[&[1, 1, 0x80, 0x02], &named("thread_local_one")[..], &[0, 0, 4]].concat());
    let linking = section(0, &[&named("linking")[..], &[2], &segments, &symbols].concat());
    [b"\0asm\x01\0\0\0", &data[..], &linking].concat()
}
