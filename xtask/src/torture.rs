//! `cargo xtask torture`: failures injected for longer than a test may take.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    run::{Done, cargo},
    test::witness,
};

/// Ways to run it, for the help.
pub const USAGE: &str = "cargo xtask torture --ci | --full | PART [N]   with PART one of kill, server, power, sim, deliveries, syscalls, flips, sectors, mutants, full-disk, attacks";

/// One kind of injury, done by a test that takes its amount from the environment.
struct Part {
    name: &'static str,
    /// What is counted.
    unit: &'static str,
    /// The test's file and the test in it.
    test: [&'static str; 2],
    /// Environment variable with the amount.
    amount: &'static str,
    ci: u64,
    full: u64,
}

const PARTS: [Part; 11] = [
    Part {
        name: "kill",
        unit: "kill -9 of a process that appends and seals",
        test: ["kill", "nothing_acknowledged_is_lost_to_sigkill"],
        amount: "REEVE_KILL_CYCLES",
        ci: 300,
        full: 10_000,
    },
    Part {
        name: "server",
        unit: "kill -9 of `reeve serve` under load over HTTP",
        test: ["kill_loop", "what_was_acknowledged_survives_every_kill"],
        amount: "REEVE_KILL_CYCLES",
        ci: 10,
        full: 10_000,
    },
    Part {
        name: "power",
        unit: "power cuts: ext4, and XFS, shut down without the journal under a process that appends and seals",
        test: ["kill", "nothing_acknowledged_is_lost_to_a_power_cut"],
        amount: "REEVE_POWER_CYCLES",
        ci: 50,
        full: 1_000,
    },
    Part {
        name: "sim",
        unit: "seeds of the simulator",
        test: ["sim", "nothing_acknowledged_is_lost_or_altered_unnamed"],
        amount: "REEVE_SIM_SEEDS",
        ci: 400,
        full: 200_000,
    },
    Part {
        name: "deliveries",
        unit: "seeds of the simulator of deliveries",
        test: ["sim", "nothing_receipted_is_lost"],
        amount: "REEVE_SIM_SEEDS",
        ci: 60,
        full: 50_000,
    },
    Part {
        name: "syscalls",
        unit: "of one call of a scripted life fails (every call, five ways), and of one 512-byte offset the disk is full",
        test: ["sim", "may_"],
        amount: "REEVE_SIM_EVERY",
        ci: 1,
        full: 1,
    },
    Part {
        name: "flips",
        unit: "single-bit flips of a sealed store of 256 KiB",
        test: ["flips", "every_flipped_bit_is_found_and_traced"],
        amount: "REEVE_FLIPS",
        ci: 20_000,
        full: u64::MAX,
    },
    Part {
        name: "sectors",
        unit: "of one sector of that store is spoilt (every sector, three ways)",
        test: ["flips", "every_spoilt_sector_is_found_and_traced"],
        amount: "REEVE_SECTORS",
        ci: 1,
        full: 1,
    },
    Part {
        name: "mutants",
        unit: "mutants of each kind of a ledger and of a proof, before three verifiers",
        test: ["verdicts", "mutants_have_one_verdict"],
        amount: "REEVE_MUTANTS",
        ci: 300,
        full: 200_000,
    },
    Part {
        name: "full-disk",
        unit: "tmpfs filled to the last block",
        test: ["pressure", "records_give_way"],
        amount: "REEVE_PRESSURE",
        ci: 1,
        full: 1,
    },
    Part {
        name: "attacks",
        unit: "of every attack on a sealed store, with root and the keys of the day",
        test: ["attacks", ""],
        amount: "REEVE_ATTACKS",
        ci: 1,
        full: 1,
    },
];

/// `--ci`: what CI runs, minutes. `--full`: the whole, hours, in release, with its table as Markdown. Or one part, as often as said.
pub fn torture(flags: &[&str]) -> Done {
    match flags {
        ["--ci"] => table(&PARTS.each_ref().map(|part| (part, part.ci)), "debug"),
        ["--full"] => table(&PARTS.each_ref().map(|part| (part, part.full)), "release"),
        [name] => one(name, None),
        [name, amount] | [name, "--cycles" | "--seeds", amount] => one(name, Some(amount)),
        _ => Err(format!("usage: {USAGE}")),
    }
}

fn one(name: &str, amount: Option<&str>) -> Done {
    let part = PARTS.iter().find(|part| part.name == name).ok_or_else(|| format!("`{name}` is no part\n\nusage: {USAGE}"))?;
    let amount = match amount {
        None => part.ci,
        Some(text) => text.parse().map_err(|_| format!("`{text}` is no number"))?,
    };
    table(&[(part, amount)], "debug")
}

/// Runs the parts one after the other, all of them also if one fails, and prints what each came to.
#[allow(clippy::print_stdout, reason = "the table is the command's data")]
fn table(parts: &[(&Part, u64)], profile: &str) -> Done {
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for (part, amount) in parts {
        let (held, took, said) = run(part, *amount, profile)?;
        let what =
            if *amount > 1 && *amount < u64::MAX { format!("{amount} × {}", part.unit) } else { format!("each {}", part.unit) };
        rows.push(format!(
            "| `{}` | {what} | {} | {:.0} s | {} |",
            part.name,
            if held { "held" } else { "FAILED" },
            took.as_secs_f64(),
            said.join("; ")
        ));
        if !held {
            failed.push(part.name);
        }
    }
    println!("| part | injury | outcome | time | counted |\n|---|---|---|---|---|\n{}", rows.join("\n"));
    if failed.is_empty() { Ok(()) } else { Err(format!("torture: these parts failed: {}", failed.join(", "))) }
}

/// Runs a part's test; whether it held, how long it took and what it counted.
fn run(part: &Part, amount: u64, profile: &str) -> Done<(bool, Duration, Vec<String>)> {
    eprintln!("==> torture {}: {}", part.name, part.unit);
    let [file, filter] = part.test;
    // The whole workspace is named so that features, and with them what is already built, are those of the workspace's tests.
    let mut test = cargo(&["test", "--workspace", "--locked", "--quiet", "--test", file]);
    if profile == "release" {
        test.arg("--release");
    }
    test.args(["--", "--nocapture", filter]).env(part.amount, amount.to_string());
    if part.name == "mutants" {
        test.env("REEVE_PYTHON", witness()?.join("venv/bin/python"));
    }
    let started = Instant::now();
    let (held, said) = watch(&mut test)?;
    eprintln!("    {}: {:.1} s", part.name, started.elapsed().as_secs_f64());
    Ok((held, started.elapsed(), said))
}

/// Runs a command with its output passed on; whether it succeeded, and its lines that begin with `torture: `.
fn watch(command: &mut Command) -> Done<(bool, Vec<String>)> {
    let fail = |error: std::io::Error| format!("{error}");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::inherit()).stderr(Stdio::piped()).spawn().map_err(fail)?;
    let pipe = child.stderr.take().ok_or("no pipe")?;
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            eprintln!("{line}");
            // The test harness may have put its own words before it on the line.
            if let Some((_, counted)) = line.split_once("torture: ") {
                said.push(counted.to_owned());
            }
        }
        said
    });
    let status = child.wait().map_err(fail)?;
    let said = reader.join().map_err(|_| "the reader of the test's output ended")?;
    Ok((status.success(), said))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::PARTS;
    use crate::run::root;

    /// A renamed test would be tortured zero times, which passes.
    #[test]
    fn every_part_names_a_test_that_is_there() {
        for part in &PARTS {
            let [file, filter] = part.test;
            let paths = ["ledger", "completeness", "verify", "reeve"]
                .into_iter()
                .flat_map(|name| [format!("crates/{name}/tests/{file}.rs"), format!("crates/{name}/tests/{file}/main.rs")]);
            let text: String = paths.filter_map(|path| fs::read_to_string(root().join(path)).ok()).collect();
            assert!(text.contains(&format!("fn {filter}")) || text.contains(filter), "{file} has no test {filter}");
            assert!(text.contains("torture: "), "{file} does not say what it counted");
        }
    }
}
