//! Rules of the tree that no compiler knows.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::run::{Done, cargo, output, program, root};

/// Checks the tree: crates named in the map, no long-lived notes-to-self, licences of everything linked.
pub fn tidy() -> Done {
    let mut faults = Vec::new();
    map_names_every_crate(&mut faults)?;
    no_unfinished_marks(&mut faults)?;
    licences(&mut faults)?;
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("the tree breaks its own rules:\n  {}", faults.join("\n  ")))
}

fn map_names_every_crate(faults: &mut Vec<String>) -> Done {
    let map = read(&root().join("ARCHITECTURE.md"))?;
    let crates = fs::read_dir(root().join("crates")).map_err(|error| format!("crates/: {error}"))?;
    for entry in crates.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !map.contains(&format!("`{name}`")) {
            faults.push(format!(
                "ARCHITECTURE.md does not name the crate `{name}`: say what it guarantees and what it knows nothing of"
            ));
        }
    }
    Ok(())
}

fn no_unfinished_marks(faults: &mut Vec<String>) -> Done {
    // Split so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("unimple", "mented!(")];
    let files = output(&mut program("git", &["ls-files", "*.rs", "*.ts", "*.tsx", "*.py", "*.sh", "*.go"]))?;
    for file in String::from_utf8_lossy(&files).lines() {
        let Ok(text) = fs::read_to_string(root().join(file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                faults.push(format!("{file}:{}: unfinished work does not land: {}", number + 1, line.trim()));
            }
        }
    }
    Ok(())
}

/// Every crate that gets linked has a licence that deny.toml allows. `cargo deny` says more, where it is installed.
fn licences(faults: &mut Vec<String>) -> Done {
    let policy = read(&root().join("deny.toml"))?;
    let list = policy.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    let allowed: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    let metadata = output(&mut cargo(&["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_slice(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let licence = package["license"].as_str().unwrap_or_default();
        // A file instead of an expression: named by hand in deny.toml once, or refused.
        let fine = licence.replace('/', " OR ").split(" OR ").any(|choice| {
            let choice = choice.trim_matches(['(', ')', ' ']);
            allowed.contains(choice) || choice.split(" AND ").all(|part| allowed.contains(part.trim_matches(['(', ')', ' '])))
        });
        if !fine {
            faults.push(format!("{} {}: licence `{licence}` is not allowed by deny.toml", package["name"], package["version"]));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Done<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
