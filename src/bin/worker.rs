//! The web worker with the engine; everything is `web::worker`'s.

fn main() {
    detox_lab::web::worker::glue::start();
}
