//! The page's entry; everything is in `detox_lab::web::page`.

fn main() {
    detox_lab::web::page::app::main();
}
