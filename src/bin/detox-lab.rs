//! The command line's entry; everything is in `detox_lab::cli`.

#[global_allocator]
static HEAP: detox_lab::cli::heap::Heap = detox_lab::cli::heap::Heap;

fn main() -> std::process::ExitCode {
    detox_lab::cli::main()
}
