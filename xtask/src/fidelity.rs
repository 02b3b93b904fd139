//! `cargo xtask fidelity`: what others say is in a log against what Reeve says, field by field.
//!
//! Other programs' golden files and vendors' own pairs lie in `../shared/data`; which field of theirs is which of ours is said in `cases/fidelity/`,
//! a file a pair (format: `cases/fidelity/README.md`). The inputs go through `reeve decode --face both` as a user's would.
mod compare; // one expectation against the events of its input
mod expect; // golden files of every shape as one list of cases
mod pair; // cases/fidelity/*.toml
mod report; // the table
mod run; // inputs through `reeve decode`
mod same; // when two values say the same
mod yaml; // YAML as JSON

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::run::{Done, root};

/// The share of expected fields that must be present and equal, in percent.
const EQUAL_PERCENT_MIN: f64 = 95.0;

/// Flags of the command.
pub const USAGE: &str = "cargo xtask fidelity [--dev] [--with PROGRAM] [--only NAME] [--show N]";

/// Compares every pair, prints the table, and writes `docs/reference/fidelity.md`.
///
/// # Errors
/// Fewer than 95 % of the expected fields are equal, or a difference has no explanation in the pair's file.
pub fn fidelity(flags: &[&str]) -> Done {
    let Some(data) = data() else {
        eprintln!("fidelity: skipped: no ../shared/data beside the workspace (REEVE_SHARED_DATA names another place)");
        return Ok(());
    };
    let program = run::program(flags)?;
    let only = crate::bench::value(flags, "--only");
    let show = crate::bench::value(flags, "--show").and_then(|count| count.parse().ok()).unwrap_or(0);
    let pairs = pair::all(&root().join("cases/fidelity"))?;
    let mut results = Vec::new();
    for pair in pairs.iter().filter(|pair| only.is_none_or(|only| only == pair.name)) {
        let started = std::time::Instant::now();
        match expect::cases(pair, &data.join(&pair.folder)) {
            Ok(cases) => {
                let mut result = compare::Result::new(pair);
                run::decode(&program, pair, cases, |case, events| result.add(&case, &events))?;
                eprintln!("    {}: {:.1} s", pair.name, started.elapsed().as_secs_f64());
                report::details(&result, show);
                results.push(result);
            }
            Err(expect::Cannot::Skip(why)) => eprintln!("    {}: skipped: {why}", pair.name),
            Err(expect::Cannot::Read(why)) => return Err(format!("{}: {why}", pair.name)),
        }
    }
    let table = report::table(&results);
    println!("{table}");
    if only.is_none() {
        let page = root().join("docs/reference/fidelity.md");
        fs::write(&page, report::page(&results, &table)).map_err(|error| format!("{}: {error}", page.display()))?;
    }
    report::verdict(&results)
}

/// The folder of real inputs, if this machine has it.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("REEVE_SHARED_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    Path::new(&folder).is_dir().then_some(folder)
}
