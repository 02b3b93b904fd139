//! The project's own commands: `cargo xtask demo`, `test`, `check`, `bench`, `torture`, `fidelity`, `fuzz`, `console`, `openapi`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a build command talks to the person at the terminal")]
mod bench;
mod demo;
mod fidelity;
mod fuzz;
mod lanes;
mod meter;
mod run;
mod test;
mod tidy;
mod tools;
mod torture;
mod truth;
mod verifier;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  demo [--check] [--dev]   build Reeve, keep the recorded scenario, find the attack in it, tell its story, open the console;
                           --check does it headless and fails unless every step of truth.json is told; --dev uses a debug build
  test [--no-install]      everything CI runs: console, workspace tests, real clients, torture --ci, the demo's check, the console in Chromium
  check                    format, lints, tree rules, dependency policy
  bench NAME               figures: ledger, decode, ocsf, detect, lake, scan, serve (each says what it wants)
  torture --ci | --full    injuries that nothing acknowledged may be lost to: kills, simulated machines, every failing call, flipped bits, attacks;
                           --ci takes minutes, --full hours; both print a table in Markdown
  torture PART [N]         one part N times: kill, server, power, sim, syscalls, flips, sectors, full-disk, attacks
  fidelity [--dev]         what vendors and other programs say is in their logs against what Reeve says, field by field, over ../shared/data;
                           a table, and docs/reference/fidelity.md; --with PROGRAM, --only PAIR, --show N examples of each difference
  fuzz [TARGET…]           the fuzz targets, --seconds N each (60), with the ordinary compiler; --with-lake builds the query engine too
  console                  build the console, with the verifier that its badges run in the browser
  openapi                  write console/openapi.json from the server's own description

demo, test and console say what they will install before they do.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flags: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let done = match args.first().map(String::as_str) {
        Some("demo") => demo::demo(&flags),
        Some("test") => test::test(&flags),
        Some("check") => test::check(),
        Some("bench") => bench::bench(&flags),
        Some("torture") => torture::torture(&flags),
        Some("fidelity") => fidelity::fidelity(&flags),
        Some("fuzz") => fuzz::fuzz(&flags),
        Some("console") => test::console(),
        Some("openapi") => test::openapi(),
        Some("-h" | "--help" | "help") | None => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("`{other}` is no xtask command\n\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
