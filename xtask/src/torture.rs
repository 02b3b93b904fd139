//! `cargo xtask torture`: failures injected for longer than a test may take.

use crate::run::{Done, cargo, step};

/// `kill [--cycles N]`: kill -9 under load, then compare what was acknowledged with what is kept.
pub fn torture(flags: &[&str]) -> Done {
    match flags {
        ["kill"] => kill("200"),
        ["kill", "--cycles", cycles] => kill(cycles),
        _ => Err("usage: cargo xtask torture kill [--cycles N]".to_owned()),
    }
}

fn kill(cycles: &str) -> Done {
    let mut test = cargo(&["test", "--release", "--locked", "-p", "reeve", "--test", "kill_loop", "--", "--nocapture"]);
    test.env("REEVE_KILL_CYCLES", cycles);
    step(&format!("kill -9 loop, {cycles} cycles"), &mut test)
}
