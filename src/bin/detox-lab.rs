//! The command line's entry; everything is in `detox_lab::cli`.

fn main() -> std::process::ExitCode {
    detox_lab::cli::main()
}
