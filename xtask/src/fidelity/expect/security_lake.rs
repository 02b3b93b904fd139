//! AWS Security Lake's samples: what CloudTrail, Route 53, Security Hub and VPC flow logs look like natively, and the OCSF event AWS made of each.

use std::{path::Path, process::Stdio};

use serde_json::Value;

use super::{Cannot, Case, Cases, archive, files, leaves, name, read};
use crate::{
    fidelity::pair::Pair,
    run::{program, target_dir},
};

/// Prints each Parquet file of a folder as a line: its name and its rows.
const ROWS: &str = "
import json, pathlib, sys
from pyarrow import parquet
top = pathlib.Path(sys.argv[1])
for path in sorted(top.rglob('*.parquet')):
    print(json.dumps([str(path.relative_to(top)), parquet.read_table(path).to_pylist()], default=str))
";

pub fn cases(_: &Pair, folder: &Path) -> Cases {
    // Parquet is read by the engine that the lake's tests install; xtask itself would have to build Arrow.
    let python = std::env::var_os("REEVE_READERS").map_or_else(|| target_dir().join("readers/venv/bin/python"), Into::into);
    if !python.exists() {
        return Err(Cannot::Skip("no pyarrow: run cases/lake/readers/install.sh".into()));
    }
    let folder_name = folder.to_string_lossy();
    let printed = program(&python, &["-c", ROWS, &folder_name]).stdin(Stdio::null()).output();
    let printed = printed.map_err(|error| format!("{}: {error}", python.display()))?;
    let lines = printed.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let rows = lines.map(|line| serde_json::from_slice(line).map_err(|error| format!("pyarrow: {error}")));
    let rows: Vec<(String, Vec<Value>)> = rows.collect::<Result<_, _>>()?;
    let mut cases = Vec::new();
    for (path, events) in rows.iter().filter(|(path, _)| !path.contains("/inputs/")) {
        let Some(bytes) = native(&folder.join(path), &rows)? else { continue };
        let expected = events.iter().map(|event| leaves(&paired(event))).collect();
        cases.push(Case { name: path.clone(), file_name: "event.json".into(), bytes, expected });
    }
    Ok(cases)
}

/// The native input that lies beside an expectation: of the same name, or the one with the same number.
fn native(expectation: &Path, rows: &[(String, Vec<Value>)]) -> Result<Option<Vec<u8>>, String> {
    let Some(folder) = expectation.parent() else { return Ok(None) };
    let stem = name(expectation).replace(".parquet", "");
    let same = folder.join("input").join(&stem);
    if same.exists() {
        return archive::gunzip(&read(&same)?).map(Some);
    }
    let inputs = folder.join("inputs");
    let number: String = stem.chars().filter(char::is_ascii_digit).collect();
    let listed = if inputs.is_dir() { files(&inputs)? } else { Vec::new() };
    let Some(input) = listed.into_iter().find(|path| name(path).contains(&format!("{number}.json"))) else { return Ok(None) };
    if input.extension().is_none_or(|end| end != "parquet") {
        return archive::gunzip(&read(&input)?).map(Some);
    }
    let row = rows.iter().find(|(path, _)| input.ends_with(path)).and_then(|(_, rows)| rows.first());
    Ok(row.map(|row| row.to_string().into_bytes()))
}

/// Security Lake writes maps as lists of pairs.
fn paired(event: &Value) -> Value {
    let mut event = event.clone();
    if let Some(pairs) = event["unmapped"].as_array() {
        let members = pairs.iter().map(|pair| (pair[0].as_str().unwrap_or_default().to_owned(), pair[1].clone()));
        event["unmapped"] = Value::Object(members.collect());
    }
    event
}
