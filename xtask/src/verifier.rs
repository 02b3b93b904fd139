//! The stand-alone verifier as WebAssembly: the console's badge runs it in the browser.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::run::{Done, cargo, output, program, root, step, target_dir};

/// What `reeve-verify` is built for: it reads a question and writes an answer, and needs nothing else of its host.
const TARGET: &str = "wasm32-wasip1";

/// Says what of the build for the browser would have to be fetched; nothing if all is there.
pub fn announce() {
    if !target_is_there() {
        eprintln!(
            "Rust's standard library for {TARGET} is not here (about 25 MB); it is added with `rustup target add {TARGET}`."
        );
    }
}

/// Builds it to where the console's build picks it up.
///
/// Where its standard library cannot be had, the console is built without: its badges then show the server's word, and say so.
pub fn build(may_install: bool) -> Done {
    let place = root().join("console/src/evidence/reeve-verify.wasm");
    let there = target_is_there() || (may_install && add_target());
    if !there {
        eprintln!(
            "==> console: WITHOUT the verifier: its badges will show the server's own word, and say so.\n    \
             For the real thing: rustup target add {TARGET}"
        );
        // One of an earlier source would be worse than none.
        return if place.exists() {
            fs::remove_file(&place).map_err(|error| format!("{}: {error}", place.display()))
        } else {
            Ok(())
        };
    }
    let mut build = cargo(&["build", "--locked", "-p", "reeve-verify", "--bin", "reeve-verify", "--target", TARGET]);
    build.args(["--profile", "browser"]).env("CARGO_ENCODED_RUSTFLAGS", without_places()).env_remove("RUSTFLAGS");
    step("console: build reeve-verify for the browser", &mut build)?;
    let built = target_dir().join(TARGET).join("browser/reeve-verify.wasm");
    let bytes = fs::read(&built).map_err(|error| format!("{}: {error}", built.display()))?;
    // The console is built anew only for another verifier.
    if fs::read(&place).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(&place, bytes).map_err(|error| format!("{}: {error}", place.display()))
}

fn target_is_there() -> bool {
    let asked = output(&mut program(rustc(), &["--print", "target-libdir", "--target", TARGET]));
    asked.is_ok_and(|path| Path::new(String::from_utf8_lossy(&path).trim()).is_dir())
}

fn add_target() -> bool {
    step(
        &format!("needed and not here: Rust's standard library for {TARGET}"),
        &mut program("rustup", &["target", "add", TARGET]),
    )
    .is_ok_and(|()| target_is_there())
}

/// Keeps this machine's folders out of what every browser is sent, so that the same compiler makes the same bytes anywhere. (Our own
/// sources are named from the workspace's root already.)
fn without_places() -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())).unwrap_or_default()
}

fn rustc() -> std::ffi::OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}
