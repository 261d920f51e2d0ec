//! The threads of a browser's tab: workers that run this program in the same memory (static/threads.js).
//!
//! std and this crate are compiled as for one thread, only the link differs (build.rs). So that no code needs atomic
//! instructions, everything that threads agree on goes through JavaScript's `Atomics`: which task is next, whether all are done,
//! and who may allocate. Its functions also order the memory accesses before and after them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use wasm_bindgen::prelude::wasm_bindgen;

// `threads` is an object of static/threads.js; its functions have the same names there.
#[wasm_bindgen]
extern "C" {
    /// The number of threads.
    #[wasm_bindgen(js_namespace = threads)]
    fn count() -> usize;
    /// The address of the other threads' stacks, which are side by side.
    #[wasm_bindgen(js_namespace = threads)]
    fn stacks() -> usize;
    /// Starts the tasks: the other threads call [`help`].
    #[wasm_bindgen(js_namespace = threads)]
    fn begin();
    /// The number of a task that nobody has taken yet.
    #[wasm_bindgen(js_namespace = threads)]
    fn next() -> usize;
    /// Waits until the other threads have returned from [`help`]: whether all of them did so without an error.
    #[wasm_bindgen(js_namespace = threads)]
    fn finish() -> bool;
    #[wasm_bindgen(js_namespace = threads)]
    fn lock();
    #[wasm_bindgen(js_namespace = threads)]
    fn unlock();
}

/// Bytes of a stack, as in static/threads.js.
const STACK: usize = 1 << 20;

/// What all threads see. Only the first one changes it, and only while the others wait.
struct State {
    /// 0 without other threads.
    stacks: Cell<usize>,
    others: Cell<usize>,
    /// The tasks that are being done.
    job: Cell<Option<Job>>,
}

#[derive(Clone, Copy)]
struct Job {
    n: usize,
    task: *const (dyn Fn(usize) + Sync),
}

// SAFETY: see `State`; `begin` and `finish` order its accesses.
unsafe impl Sync for State {}

static STATE: State = State { stacks: Cell::new(0), others: Cell::new(0), job: Cell::new(None) };

/// Uses the threads that this worker was started with, at most `most`; returns their number.
pub fn start(most: usize) -> usize {
    let threads = count().min(most);
    if threads > 1 {
        STATE.stacks.set(stacks());
        STATE.others.set(threads - 1);
    }
    threads
}

/// The number of this thread: 0 for the first.
pub fn here() -> usize {
    let on_stack = 0u8;
    let offset = (&raw const on_stack as usize).wrapping_sub(STATE.stacks.get());
    if offset < STATE.others.get() * STACK { offset / STACK + 1 } else { 0 }
}

/// Calls `task(i)` for `0..n` on all threads. A task's own tasks stay on its thread.
pub fn run(n: usize, task: impl Fn(usize) + Sync) {
    if STATE.others.get() == 0 || STATE.job.get().is_some() {
        return (0..n).for_each(task);
    }
    let task: &(dyn Fn(usize) + Sync) = &task;
    // SAFETY: only the lifetime changes; `finish` returns after the last use.
    let task =
        unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync)>(task) };
    STATE.job.set(Some(Job { n, task }));
    begin();
    help();
    let fine = finish();
    STATE.job.set(None);
    assert!(fine, "a task failed on another thread");
}

/// Does tasks until all are taken.
#[wasm_bindgen]
pub fn help() {
    let Some(Job { n, task }) = STATE.job.get() else { return };
    loop {
        let i = next();
        if i >= n {
            return;
        }
        // SAFETY: `run` waits until all threads have returned from here.
        unsafe { (*task)(i) };
    }
}

/// std's allocator; while several threads work, one at a time uses it.
pub struct Allocator;

fn alone<T>(work: impl FnOnce() -> T) -> T {
    let several = STATE.job.get().is_some();
    if several {
        lock();
    }
    let done = work();
    if several {
        unlock();
    }
    done
}

// SAFETY: as `System`, which only one thread uses at a time.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        alone(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        alone(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        alone(|| unsafe { System.realloc(at, layout, size) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        alone(|| unsafe { System.dealloc(at, layout) });
    }
}
