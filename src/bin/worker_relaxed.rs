//! `worker_threads` with products by relaxed SIMD (the feature `relaxed`), for browsers that have it.

#[global_allocator]
static ALLOCATOR: detox_lab::kernels::tab::Allocator = detox_lab::kernels::tab::Allocator;

fn main() {
    detox_lab::web::worker::browser::start();
}
