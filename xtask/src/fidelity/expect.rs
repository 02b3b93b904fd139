//! Golden files of every shape as one list of cases: an input, and what is expected of its events.
mod archive; // what lies in ZIP, gzip and tar
mod security_lake;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    pair::{Pair, Reader, fits},
    yaml,
};

/// An input and what is expected of it.
pub struct Case {
    /// As a person would name the input.
    pub name: String,
    /// The file that Reeve gets.
    pub file_name: String,
    pub bytes: Vec<u8>,
    pub expected: Vec<Expected>,
}

/// Fields expected of one event: path and value.
pub type Expected = Vec<(String, Value)>;

/// Why a pair cannot be compared.
pub enum Cannot {
    /// Something that not every machine has.
    Skip(String),
    /// What lies there is not what the pair's file says.
    Read(String),
}

impl From<String> for Cannot {
    fn from(why: String) -> Self {
        Self::Read(why)
    }
}

type Cases = Result<Vec<Case>, Cannot>;

/// The cases of `pair`, whose files lie in `folder`.
pub fn cases(pair: &Pair, folder: &Path) -> Cases {
    if !folder.is_dir() {
        return Err(Cannot::Skip(format!("no {}", folder.display())));
    }
    match pair.reader {
        Reader::Beside => beside(pair, folder),
        Reader::Golden => golden(pair, folder),
        Reader::Coalesced => coalesced(folder),
        Reader::Rows => rows(pair, folder),
        Reader::Plaso => plaso(pair, folder),
        Reader::SecurityLake => security_lake::cases(pair, folder),
        Reader::Notations => notations(pair, folder),
        Reader::Checks => checks(pair, folder),
        Reader::Counts => counts(pair, folder),
        Reader::Ossec => ossec(pair, folder),
        Reader::Documents => documents(pair, folder),
    }
}

/// Every leaf of `value` with its path. Lists of scalars are leaves; lists with objects are numbered. What is empty says nothing.
pub fn leaves(value: &Value) -> Expected {
    let mut leaves = Vec::new();
    collect(value, String::new(), &mut leaves);
    leaves
}

fn collect(value: &Value, path: String, leaves: &mut Expected) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| collect(value, below(name), leaves)),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().enumerate().for_each(|(at, value)| collect(value, below(&at.to_string()), leaves));
        }
        Value::Null => {}
        Value::String(text) if text.is_empty() => {}
        Value::Array(items) if items.is_empty() => {}
        leaf => leaves.push((path, leaf.clone())),
    }
}

fn beside(pair: &Pair, folder: &Path) -> Cases {
    let mut cases = Vec::new();
    for path in files(folder)? {
        let name = name(&path);
        let golden = path.with_extension("json");
        if fits(pair.option("inputs"), &name).is_some() && golden.exists() {
            let text = read(&golden)?;
            let events = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
            let expected = events.map(|event| event.map(|event| leaves(&event))).collect::<Result<_, _>>();
            let expected = expected.map_err(|error| format!("{}: {error}", golden.display()))?;
            cases.push(Case { bytes: read(&path)?, file_name: name.clone(), name, expected });
        }
    }
    Ok(cases)
}

fn golden(pair: &Pair, folder: &Path) -> Cases {
    let mut cases = Vec::new();
    for input in pair.list("inputs") {
        let list = folder.join(format!("{input}.golden"));
        let list = json(&read(&list)?, &list)?;
        // A record's fields stand below its type with us, as one event may have several records.
        let expected = list.as_array().into_iter().flatten().map(|event| {
            let mut event = event.clone();
            let kind = event["record_type"].as_str().unwrap_or_default().to_uppercase();
            let data = event["data"].take();
            event["record"] = serde_json::json!({ kind: data });
            leaves(&event)
        });
        let expected = expected.collect();
        cases.push(Case { name: input.into(), file_name: input.into(), bytes: read(&folder.join(input))?, expected });
    }
    Ok(cases)
}

fn coalesced(folder: &Path) -> Cases {
    let mut cases = Vec::new();
    for path in files(folder)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "yaml")) {
        let inputs = yaml::read(&read(&path)?)?;
        let list = path.with_extension("json.golden");
        for test in json(&read(&list)?, &list)?.as_array().into_iter().flatten() {
            let test_name = test["test_name"].as_str().unwrap_or_default();
            let text = inputs["tests"][test_name].as_str().unwrap_or_default();
            let name = format!("{} {test_name}", name(&path));
            cases.push(Case { name, file_name: "audit.log".into(), bytes: text.into(), expected: vec![leaves(&test["event"])] });
        }
    }
    Ok(cases)
}

fn rows(pair: &Pair, folder: &Path) -> Cases {
    let mut cases = Vec::new();
    for path in files(folder)? {
        if fits(pair.option("inputs"), &name(&path)).is_none() {
            continue;
        }
        let text = archive::gunzip(&read(&path)?)?;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let row = json(line, &path)?;
            let mut expected = leaves(&row["expected"]);
            // What happened is one statement in several words.
            let words = ["subject", "action", "object"].map(|word| row["expected"][word].as_str().unwrap_or("-"));
            expected.push(("what".into(), words.join(" ").into()));
            let name = format!("{} {}", row["formula"].as_str().unwrap_or_default(), cases.len());
            let bytes = row["raw"].as_str().unwrap_or_default().as_bytes().to_vec();
            cases.push(Case { name, file_name: "event".into(), bytes, expected: vec![expected] });
        }
    }
    Ok(cases)
}

fn plaso(pair: &Pair, folder: &Path) -> Cases {
    let path = folder.join("expected.json");
    let left_out = pair.list("without");
    let mut cases = Vec::new();
    for (file, tests) in json(&read(&path)?, &path)?.as_object().into_iter().flatten() {
        if left_out.contains(&file.as_str()) {
            continue;
        }
        let mut expected = Vec::new();
        for event in tests.as_array().into_iter().flatten().flat_map(|test| test["events"].as_array().into_iter().flatten()) {
            let kind = event["values"]["data_type"].as_str().unwrap_or(file).to_owned();
            let values = leaves(&event["values"]).into_iter().filter(|(name, _)| name != "data_type");
            expected.push(values.map(|(name, value)| (format!("{kind}/{name}"), value)).collect());
        }
        let place = folder.join(file);
        let (place, file_name) = if place.exists() {
            (place, name(Path::new(file)))
        } else {
            (folder.join(format!("{file}.gz")), format!("{}.gz", name(Path::new(file))))
        };
        if place.exists() && !expected.is_empty() {
            cases.push(Case { name: file.clone(), file_name, bytes: read(&place)?, expected });
        }
    }
    Ok(cases)
}

fn notations(pair: &Pair, folder: &Path) -> Cases {
    let (theirs, ours) = (folder.join(pair.option("theirs")), folder.join(pair.option("ours")));
    let first = pair.options.get("first").and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    let mut cases = Vec::new();
    for golden in files(&theirs)? {
        let stem = name(&golden).split('.').next().unwrap_or_default().to_owned();
        let input = ours.join(format!("{stem}.log.gz"));
        if !input.exists() {
            continue;
        }
        let text = archive::gunzip(&read(&golden)?)?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(first.unwrap_or(usize::MAX));
        let expected = lines.map(|line| Ok(leaves(&json(line, &golden)?))).collect::<Result<_, String>>()?;
        cases.push(Case { name: stem, file_name: name(&input), bytes: read(&input)?, expected });
    }
    Ok(cases)
}

fn checks(pair: &Pair, folder: &Path) -> Cases {
    let tests = archive::tar_zst(&folder.join(pair.option("archive")))?;
    let mut cases = Vec::new();
    for (name, bytes) in tests.iter().filter(|(name, _)| name.ends_with("/test.yaml")) {
        let test = name.trim_end_matches("test.yaml");
        let Some((_, eve)) = tests.iter().find(|(name, _)| *name == format!("{test}eve.json")) else { continue };
        let Ok(said) = yaml::read(bytes) else { continue };
        let expected = filters(&said["checks"]);
        if !expected.is_empty() {
            cases.push(Case { name: test.into(), file_name: "eve.json".into(), bytes: eve.clone(), expected: vec![expected] });
        }
    }
    Ok(cases)
}

/// Each check on `eve.json` as one field: what must match, and how many events do.
fn filters(checks: &Value) -> Expected {
    let mut expected = Vec::new();
    for check in checks.as_array().into_iter().flatten() {
        let filter = &check["filter"];
        let other_file = filter["filename"].as_str().is_some_and(|name| name != "eve.json");
        // What only some versions do is not known to be true of these files; `stats` were left out of them.
        let versions = ["requires", "lt-version", "min-version"];
        let conditional = versions.iter().any(|name| !filter[*name].is_null() || !check[*name].is_null());
        let stats = filter["match"]["event_type"] == "stats";
        if let (Some(count), Some(matched), false) =
            (filter["count"].as_u64(), filter["match"].as_object(), other_file || conditional || stats)
        {
            expected.push((Value::Object(matched.clone()).to_string(), count.into()));
        }
    }
    expected
}

fn counts(pair: &Pair, folder: &Path) -> Cases {
    let mut cases = Vec::new();
    for archive_name in pair.list("archives") {
        let golden = ["", ".gz"].map(|end| folder.join(format!("{archive_name}.expected-libevtx.json{end}")));
        let Some(golden) = golden.into_iter().find(|path| path.exists()) else {
            return Err(Cannot::Read(format!("no expected-libevtx.json for {archive_name}")));
        };
        let golden = json(&archive::gunzip(&read(&golden)?)?, &golden)?;
        for (name, bytes) in archive::unzip(&folder.join(format!("{archive_name}.zip")))? {
            let Some(counted) = golden.get(&name) else { continue };
            cases.push(Case { file_name: "log.evtx".into(), bytes, expected: vec![of_libevtx(counted)], name });
        }
    }
    Ok(cases)
}

/// Where the other reader stopped early, only the file's own count is to be trusted.
fn of_libevtx(counted: &Value) -> Expected {
    let mut expected = vec![("records_libevtx".to_owned(), counted["records_libevtx"].clone())];
    if counted["exit"] == 0 {
        let whole = ["exported", "first_record_id", "last_record_id", "first_time", "last_time"];
        expected
            .extend(whole.iter().filter(|name| !counted[**name].is_null()).map(|name| ((*name).into(), counted[*name].clone())));
        for kind in ["by_channel_event_id", "computers"] {
            let each = counted[kind].as_object().into_iter().flatten();
            expected.extend(each.map(|(name, count)| (format!("{kind}.{name}"), count.clone())));
        }
    }
    expected
}

fn ossec(pair: &Pair, folder: &Path) -> Cases {
    let mut cases = Vec::new();
    for (name, bytes) in archive::unzip(&folder.join(pair.option("archive")))? {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for block in text.split("\n[") {
            let decoder = block.lines().find_map(|line| line.strip_prefix("decoder = "));
            let lines = block.lines().filter(|line| line.starts_with("log ")).filter_map(|line| line.split_once(" = "));
            for (_, line) in lines {
                let expected = decoder.map(|decoder| ("decoder".to_owned(), Value::from(decoder.trim())));
                let name = format!("{name} {}", cases.len());
                let expected = vec![expected.into_iter().collect()];
                cases.push(Case { name, file_name: "log".into(), bytes: format!("{line}\n").into(), expected });
            }
        }
    }
    Ok(cases)
}

fn documents(pair: &Pair, folder: &Path) -> Cases {
    let path = folder.join(pair.option("inputs"));
    let list = json(&archive::gunzip(&read(&path)?)?, &path)?;
    let mut cases = Vec::new();
    for document in list.as_array().into_iter().flatten() {
        let raw = document.pointer(pair.option("raw")).unwrap_or(&Value::Null);
        let raw = super::same::text(raw);
        let name = format!("{} {}", name(&path), cases.len());
        cases.push(Case { name, file_name: "event".into(), bytes: format!("{raw}\n").into(), expected: vec![leaves(document)] });
    }
    Ok(cases)
}

/// Files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn json(bytes: &[u8], path: &Path) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_named_by_their_path_and_what_is_empty_says_nothing() {
        let value =
            serde_json::json!({"a": {"b": 1, "c": null, "d": ""}, "e": [{"f": "x"}, {"f": "y"}], "g": ["1", "2"], "h": []});
        let paths: Vec<String> = leaves(&value).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["a.b", "e.0.f", "e.1.f", "g"]);
    }
}
