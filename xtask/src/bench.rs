//! `cargo xtask bench`: figures with their commands.
mod scan;
mod serve;

use crate::run::{Done, cargo, step};

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
        _ => {}
    }
    let Some((_, package, example)) = PARTS.iter().find(|(part, _, _)| part == name) else { return Err(usage()) };
    let mut words = vec!["run", "--release", "--locked", "--quiet", "-p", *package, "--example", *example, "--"];
    words.extend(rest);
    step(&format!("{name}: cargo {}", words.join(" ")), &mut cargo(&words))
}

/// The release build that is measured.
fn build() -> Done {
    step("build reeve in release", &mut cargo(&["build", "--locked", "--release", "-p", "reeve"]))
}

/// The value after `--name`.
fn value<'f>(flags: &[&'f str], name: &str) -> Option<&'f str> {
    flags.iter().position(|flag| *flag == name).and_then(|at| flags.get(at + 1)).copied()
}

fn usage() -> String {
    let names: Vec<&str> = PARTS.iter().map(|(name, _, _)| *name).collect();
    format!("usage: cargo xtask bench {}\n{}\n{}", names.join("|"), scan::USAGE, serve::USAGE)
}
