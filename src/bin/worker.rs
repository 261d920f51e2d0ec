//! The web worker with the engine; everything is in `detox_lab::web::worker`.

fn main() {
    detox_lab::web::worker::browser::start();
}
