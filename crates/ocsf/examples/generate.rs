//! Writes `schema/ocsf-1.8.0.tsv` from a schema export: names, types, enums and requirements, without the prose.
//!
//! `cargo run -p reeve-ocsf --example generate -- ocsf-1.8.0.json.zst > crates/ocsf/schema/ocsf-1.8.0.tsv`
#![allow(clippy::print_stdout)]

use std::{collections::BTreeMap, error::Error, fmt::Write as _, fs};

use serde_json::{Map, Value};

/// Interns repeated lines: a definition used by sixty classes is written once.
#[derive(Default)]
struct Table(BTreeMap<String, usize>, Vec<String>);

impl Table {
    fn id(&mut self, line: String) -> usize {
        if let Some(id) = self.0.get(&line) {
            return *id;
        }
        self.1.push(line.clone());
        self.0.insert(line, self.1.len() - 1);
        self.1.len() - 1
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("give the schema export: ocsf-1.8.0.json.zst")?;
    let schema: Value = serde_json::from_slice(&zstd::decode_all(fs::File::open(path)?)?)?;
    let (mut enums, mut attributes) = (Table::default(), Table::default());
    let mut owners = String::new();
    for (key, object) in object(&schema["objects"]) {
        let list = attribute_list(object, &mut enums, &mut attributes);
        writeln!(
            owners,
            "O\t{key}\t{}\t{}\t{}\t{list}",
            text(&object["caption"]),
            number(&object["observable"]),
            constraints(object)
        )?;
    }
    for (key, class) in object(&schema["classes"]) {
        let list = attribute_list(class, &mut enums, &mut attributes);
        let (category, category_uid) = match class["category_uid"].as_u64() {
            Some(uid) => (text(&class["category_name"]), uid),
            None => ("Uncategorized", 0),
        };
        let head = format!("C\t{}\t{key}\t{}\t{category_uid}\t{category}", number(&class["uid"]), text(&class["caption"]));
        writeln!(owners, "{head}\t{}\t{list}", constraints(class))?;
    }
    println!("V\t{}", text(&schema["version"]));
    for (key, kind) in object(&schema["dictionary"]["types"]["attributes"]) {
        println!("T\t{key}\t{}\t{}", kind["type"].as_str().unwrap_or(key), number(&kind["observable"]));
    }
    enums.1.iter().for_each(|line| println!("E\t{line}"));
    attributes.1.iter().for_each(|line| println!("A\t{line}"));
    print!("{owners}");
    Ok(())
}

/// `index` per attribute, `!` when required, `@profile` when it comes with one.
fn attribute_list(owner: &Value, enums: &mut Table, attributes: &mut Table) -> String {
    let mut list = Vec::new();
    for (name, attribute) in object(&owner["attributes"]) {
        let values = attribute["enum"].as_object().map(|values| {
            let pairs: Vec<_> = values.iter().map(|(key, value)| format!("{key}={}", text(&value["caption"]))).collect();
            enums.id(pairs.join("\t"))
        });
        let values = values.map_or(String::new(), |id| id.to_string());
        let array = if attribute["is_array"] == true { "[]" } else { "" };
        let kind = attribute["object_type"].as_str().unwrap_or(text(&attribute["type"]));
        let line =
            format!("{name}\t{kind}\t{array}\t{values}\t{}\t{}", text(&attribute["sibling"]), number(&attribute["observable"]));
        let mut entry = attributes.id(line).to_string();
        if attribute["requirement"] == "required" {
            entry.push('!');
        }
        for profile in attribute["profiles"].as_array().into_iter().flatten() {
            entry.push('@');
            entry.push_str(text(profile));
        }
        list.push(entry);
    }
    list.join(",")
}

fn constraints(owner: &Value) -> String {
    let rules = owner["constraints"].as_object().into_iter().flatten();
    let rules = rules.map(|(rule, names)| {
        let names: Vec<_> = names.as_array().into_iter().flatten().map(text).collect();
        format!("{rule}={}", names.join("|"))
    });
    rules.collect::<Vec<_>>().join(",")
}

fn object(value: &Value) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = value.as_object().map(|map: &Map<_, _>| map.iter().collect()).unwrap_or_default();
    entries.sort_by_key(|(key, _)| key.as_str());
    entries
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> String {
    value.as_u64().map_or(String::new(), |number| number.to_string())
}
