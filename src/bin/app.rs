//! The page's entry; everything is in `detox_lab::web`.

fn main() {
    detox_lab::web::app::main();
}
