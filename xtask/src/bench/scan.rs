//! `bench scan`: a folder of evidence with all rules, in turn with a peer on the same files and machine.

use std::{fs, path::Path, process::Command};

use crate::{
    bench::{build, value},
    meter::{self, Cost, median},
    run::{Done, reeve, target_dir},
};

/// How it is called.
pub const USAGE: &str =
    "       cargo xtask bench scan FOLDER --rules PATH [--rounds N] [--peer hayabusa=PATH --peer-rules FOLDER]";

/// Times `reeve scan`, and Hayabusa when its binary is given, in alternating rounds; prints medians and the ratio of each pair.
pub fn bench(flags: &[&str]) -> Done {
    let folder = flags.first().filter(|flag| !flag.starts_with("--")).ok_or(USAGE)?;
    let rules = value(flags, "--rules").ok_or(USAGE)?;
    let rounds: usize = value(flags, "--rounds").unwrap_or("5").parse().map_err(|_| USAGE)?;
    let peer = Peer::of(flags)?;
    build()?;
    let out = target_dir().join("bench-scan");
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let _ = fs::remove_file(out.join("reeve.ndjson"));
        let our = meter::run(&mut scan(folder, rules, &out), &[0, 5])?;
        let their = peer.as_ref().map(|peer| meter::run(&mut peer.command(folder, &out), &[0])).transpose()?;
        // The first round only warms the page cache.
        if round > 0 {
            ours.push(our);
            theirs.extend(their);
        }
    }
    println!("{rounds} rounds over {folder}, medians\n");
    println!("| | wall s | CPU s | peak MiB | lines out |\n|---|---|---|---|---|");
    row("reeve scan", &ours, &out.join("reeve.ndjson"));
    if let Some(peer) = peer {
        row(&peer.name, &theirs, &out.join("peer.jsonl"));
        let ratio = |figure: fn(&Cost) -> f64| median(ours.iter().zip(&theirs).map(|(a, b)| figure(a) / figure(b)).collect());
        println!("\nreeve / {}: wall {:.3}, CPU {:.3}", peer.name, ratio(|cost| cost.wall), ratio(|cost| cost.cpu));
    }
    Ok(())
}

fn scan(folder: &str, rules: &str, out: &Path) -> Command {
    let mut command = Command::new(reeve("release"));
    command.args(["scan", folder, "--rules", rules, "--format", "ndjson", "-o"]).arg(out.join("reeve.ndjson"));
    command
}

struct Peer {
    name: String,
    program: String,
    rules: String,
}

impl Peer {
    fn of(flags: &[&str]) -> Done<Option<Self>> {
        let Some(peer) = value(flags, "--peer") else { return Ok(None) };
        let (name, program) = peer.split_once('=').filter(|(name, _)| *name == "hayabusa").ok_or(USAGE)?;
        let rules = value(flags, "--peer-rules").ok_or("a peer needs its own rules: --peer-rules FOLDER")?;
        Ok(Some(Self { name: name.to_owned(), program: program.to_owned(), rules: rules.to_owned() }))
    }

    /// Every event, every rule level, no questions, no summary: the least it can do.
    fn command(&self, folder: &str, out: &Path) -> Command {
        let out = out.join("peer.jsonl");
        let _ = fs::remove_file(&out);
        let mut command = Command::new(&self.program);
        command.args(["dfir-timeline", "-d", folder, "-r", &self.rules, "-w", "-C", "-q", "-Q", "-n", "-K", "-N"]);
        command.args(["-t", "jsonl", "-o"]).arg(out);
        // It looks for its configuration beside its rules.
        if let Some(home) = Path::new(&self.rules).parent() {
            command.current_dir(home);
        }
        command
    }
}

fn row(name: &str, costs: &[Cost], out: &Path) {
    let of = |figure: fn(&Cost) -> f64| median(costs.iter().map(figure).collect());
    let lines = fs::read(out).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count());
    println!("| {name} | {:.2} | {:.2} | {:.0} | {lines} |", of(|cost| cost.wall), of(|cost| cost.cpu), of(|cost| cost.peak_mib));
}
