//! `cargo xtask bench`: figures with their commands.
mod dice;
mod scan;
mod serve;
mod store;

use crate::run::{Done, cargo, program, step, target_dir};

/// A part and the example program that measures it.
const PARTS: &[(&str, &str, &str)] = &[
    ("ledger", "reeve-ledger", "append_rate"),
    ("decode", "reeve-decode", "decode_rate"),
    ("ocsf", "reeve-ocsf", "ocsf_rate"),
    ("detect", "reeve-detect", "detect_rate"),
    ("lake", "reeve-lake", "lake_rate"),
];

/// Runs one part's figures, or says which there are.
pub fn bench(flags: &[&str]) -> Done {
    let Some((name, rest)) = flags.split_first() else { return Err(usage()) };
    match *name {
        "scan" => return scan::bench(rest),
        "serve" => return serve::bench(rest),
        "store" => return store::bench(rest),
        _ => {}
    }
    let Some((_, package, example)) = PARTS.iter().find(|(part, _, _)| part == name) else { return Err(usage()) };
    // With the binary's own package, so that features and with them the query engine are those of the build that is there.
    let words = ["build", "--release", "--locked", "-p", "reeve", "-p", *package, "--example", *example];
    step(&format!("build {example} in release"), &mut cargo(&words))?;
    step(name, &mut program(target_dir().join("release/examples").join(example), rest))
}

/// The release build that is measured.
fn build() -> Done {
    step("build reeve in release", &mut cargo(&["build", "--locked", "--release", "-p", "reeve"]))
}

/// The value after `--name`.
pub fn value<'f>(flags: &[&'f str], name: &str) -> Option<&'f str> {
    flags.iter().position(|flag| *flag == name).and_then(|at| flags.get(at + 1)).copied()
}

fn usage() -> String {
    let names: Vec<&str> = PARTS.iter().map(|(name, _, _)| *name).collect();
    format!("usage: cargo xtask bench {}\n{}\n{}\n{}", names.join("|"), scan::USAGE, serve::USAGE, store::USAGE)
}
