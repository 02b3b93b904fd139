//! A pair's file: where the inputs and the expectations lie, and which field of theirs is which of ours.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use crate::run::Done;

/// One file of `cases/fidelity/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The file's own name without its end.
    #[serde(skip)]
    pub name: String,
    /// Who says what is in which logs.
    pub title: String,
    /// Below the folder of real inputs.
    pub folder: String,
    /// How the expectations are written.
    pub reader: Reader,
    /// How an expectation finds its event.
    #[serde(default)]
    pub join: Join,
    /// What a reader wants to know besides; see the README.
    #[serde(default)]
    pub options: BTreeMap<String, Value>,
    /// Fields of theirs in fields of ours; the first that fits counts.
    #[serde(default)]
    pub field: Vec<Field>,
    /// Fields of theirs that say nothing of the event.
    #[serde(default)]
    pub outside: Vec<Reason>,
    /// Differences that stay, and why.
    #[serde(default)]
    pub explained: Vec<Reason>,
}

/// The shapes of golden files.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    /// An input, and JSON of the same name beside it.
    Beside,
    /// Logs, each with a JSON list of what is in it.
    Golden,
    /// go-libaudit's YAML of named records with a JSON list.
    Coalesced,
    /// JSON lines with the raw text and the event expected of it.
    Rows,
    /// plaso's unit tests: values of chosen events of each file.
    Plaso,
    /// AWS Security Lake: native input beside Parquet.
    SecurityLake,
    /// One log in two notations: the second says what is in the first.
    Notations,
    /// Checks of OISF suricata-verify: how many events have these values.
    Checks,
    /// Counts of another reader of EVTX, a file each.
    Counts,
    /// OSSEC's rule tests: lines with the decoder that should take them.
    Ossec,
    /// A JSON list of documents that hold the raw text.
    Documents,
}

/// How an expectation finds its event.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// The event of the same input that agrees in most fields.
    #[default]
    Best,
    /// The event at the same place.
    Order,
}

/// One line of correspondence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Path of theirs; `*` stands for any text.
    pub theirs: String,
    /// Paths of ours, any of which will do; a `*` is what it was in theirs.
    pub ours: Vec<String>,
    /// What is done to both values before they are compared, in order.
    #[serde(default, rename = "as")]
    pub conversions: Vec<String>,
    /// What a value of theirs is called with us.
    #[serde(default)]
    pub values: BTreeMap<String, Vec<Value>>,
}

/// Fields, and a sentence about them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Paths of theirs; `*` stands for any text.
    pub fields: Vec<String>,
    /// Only inputs with one of these texts in their name.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Only these values of theirs.
    #[serde(default)]
    pub values: Vec<Value>,
    pub why: String,
}

impl Pair {
    /// A reader's option as text.
    pub fn option(&self, name: &str) -> &str {
        self.options.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A reader's option as a list of text.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.options.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// Every pair's file, by name.
pub fn all(folder: &Path) -> Done<Vec<Pair>> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut pairs = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "toml")) {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut pair: Pair = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        pair.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        pairs.push(pair);
    }
    pairs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(pairs)
}

/// What each `*` of `pattern` stands for in `text`, if it fits; the first `*` takes as little as it can.
pub fn fits<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let Some((before, after)) = pattern.split_once('*') else { return (pattern == text).then(Vec::new) };
    let rest = text.strip_prefix(before)?;
    let ends = (0..=rest.len()).filter(|at| rest.is_char_boundary(*at));
    for end in ends {
        if let Some(mut others) = fits(after, &rest[end..]) {
            others.insert(0, &rest[..end]);
            return Some(others);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_text_in_order() {
        assert_eq!(fits("PATH.*.name", "PATH.0.name"), Some(vec!["0"]));
        assert_eq!(fits("*/count.*", "System.evtx/count.System/7"), Some(vec!["System.evtx", "System/7"]));
        assert_eq!(fits("a", "a"), Some(vec![]));
        assert_eq!(fits("a.*", "b.c"), None);
    }
}
