//! Prints `docs/settings.md` from the settings table: `make settings`.

#![allow(clippy::print_stdout)]

fn main() {
    print!("{}", detox_lab::settings::markdown::page());
}
