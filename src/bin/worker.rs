//! The worker's entry; everything is in `detox_lab::web::worker`.

fn main() {}
