//! The page: rail, run controls, reading column, machine.

/// Starts the page.
pub fn main() {
    console_error_panic_hook::set_once();
}
