//! `cargo xtask fuzz`: the fuzz targets with the ordinary compiler; no nightly and no further tool is needed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::run::{Done, program, root, step, target_dir};

/// How it is called.
pub const USAGE: &str = "cargo xtask fuzz [TARGET…] [--seconds N] [--with-lake]";

/// Folders below `cases/` whose files are where each target begins.
const SEEDS: &[(&str, &str)] = &[
    ("decode_stream", "decode"),
    ("decode_record", "decode"),
    ("decode_json", "decode"),
    ("decode_flows", "decode/flows"),
    ("source_framing", "source/framing"),
    ("source_protocols", "source/hostile"),
    ("lake_query", "lake/search"),
    ("sigma_rule", "detect"),
];

/// The instrumentation that libFuzzer reads: a counter at each edge, the places of the counters, and what is compared.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks";

/// Builds and runs targets, each for so long; fails at the first input that brings one down, and says where it is kept.
pub fn fuzz(flags: &[&str]) -> Done {
    let seconds = crate::bench::value(flags, "--seconds").unwrap_or("60");
    seconds.parse::<u64>().map_err(|_| format!("`--seconds {seconds}` is no number\nusage: {USAGE}"))?;
    let with_lake = flags.contains(&"--with-lake");
    let wanted: Vec<&str> = {
        let mut names = flags.iter().copied();
        let mut wanted = Vec::new();
        while let Some(flag) = names.next() {
            match flag {
                "--seconds" => drop(names.next()),
                "--with-lake" => {}
                name => wanted.push(name),
            }
        }
        wanted
    };
    let targets: Vec<String> =
        targets(with_lake)?.into_iter().filter(|name| wanted.is_empty() || wanted.contains(&name.as_str())).collect();
    if targets.len() < wanted.len() || targets.is_empty() {
        return Err(format!("no such target\nusage: {USAGE}"));
    }
    build(with_lake, &targets)?;
    targets.iter().try_for_each(|name| run(name, seconds))
}

/// The targets there are: the files of `fuzz/fuzz_targets`.
fn targets(with_lake: bool) -> Done<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
    let names = entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()));
    let mut names: Vec<String> = names.filter(|name| with_lake || !name.starts_with("lake_")).collect();
    names.sort();
    Ok(names)
}

fn folder() -> PathBuf {
    target_dir().join("fuzz")
}

fn build(with_lake: bool, targets: &[String]) -> Done {
    let mut words = vec!["build", "--release", "--manifest-path", "fuzz/Cargo.toml"];
    if with_lake {
        words.extend(["--features", "lake"]);
    }
    for name in targets {
        words.extend(["--bin", name]);
    }
    // A target of its own keeps build scripts and macros without instrumentation: nothing would define what it calls.
    let triple = host()?;
    words.extend(["--target", &triple]);
    let mut command = crate::run::cargo(&words);
    command.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", folder());
    step(&format!("build {} fuzz targets", targets.len()), &mut command)
}

fn host() -> Done<String> {
    let said = crate::run::output(Command::new("rustc").arg("-vV"))?;
    let said = String::from_utf8_lossy(&said).into_owned();
    said.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| "rustc does not name its host".to_owned())
}

fn run(name: &str, seconds: &str) -> Done {
    let (corpus, crashes) = (folder().join("corpus").join(name), folder().join("crashes"));
    for made in [&corpus, &crashes] {
        fs::create_dir_all(made).map_err(|error| format!("`{}`: {error}", made.display()))?;
    }
    let binary = folder().join(host()?).join("release").join(name);
    let mut command = program(binary, &[]);
    command
        .arg(&corpus)
        .args(SEEDS.iter().filter(|(target, _)| *target == name).map(|(_, seeds)| root().join("cases").join(seeds)))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{name}-", crashes.display()))
        .args([
            "-timeout=20",
            "-rss_limit_mb=3072",
            "-malloc_limit_mb=2048",
            "-print_final_stats=1",
            "-verbosity=0",
            "-max_len=65536",
        ]);
    step(&format!("fuzz {name} for {seconds} s"), &mut command).map_err(|error| told(&crashes, name, &error))
}

fn told(crashes: &Path, name: &str, error: &str) -> String {
    format!("{error}\nthe input is in {} and begins with `{name}-`: make it a case", crashes.display())
}
