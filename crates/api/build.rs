//! Embeds the built console, or a page that says how to build it: `cargo test` needs no Node.

use std::path::Path;

fn main() {
    let built = Path::new("../../console/dist/index.html").exists();
    println!("cargo::rerun-if-changed=../../console/dist");
    memory_serve::load_directory(if built { "../../console/dist" } else { "without-console" });
}
