//! The web worker with the engine on several threads (`detox_lab::kernels::tab`); build.rs has its link options.

#[global_allocator]
static ALLOCATOR: detox_lab::kernels::tab::Allocator = detox_lab::kernels::tab::Allocator;

fn main() {
    detox_lab::web::worker::browser::start();
}
