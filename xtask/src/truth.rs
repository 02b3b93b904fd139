//! The incident's story against what really happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::run::Done;

/// Of all steps told, at most this share may show nothing of the truth, in percent.
const EXTRA_PERCENT_MAX: usize = 10;

/// A record by the file it came from and its place in it, from 1.
type Place = (String, u64);

/// Compares and prints a line per true step. Fails if a step is not told, or if too many steps told are not in the truth.
///
/// A true step is told by a step that cites one of its records and names its technique (or one of the same family) or its tactic.
pub fn compare(scenario: &Path, incident: &Value) -> Done {
    let path = scenario.join("truth.json");
    let truth = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let truth: Value = serde_json::from_slice(&truth).map_err(|error| format!("{}: {error}", path.display()))?;
    let places = citations(incident)?;
    let told: Vec<Told> = list(&incident["steps"]).iter().map(|step| Told::new(step, &places)).collect();
    let steps = list(&truth["steps"]);
    let (mut missing, mut shown) = (Vec::new(), BTreeSet::new());
    for step in steps {
        let records = true_places(step);
        let citing: Vec<usize> =
            (0..told.len()).filter(|at| told[*at].places.iter().any(|place| records.contains(place))).collect();
        shown.extend(citing.iter().copied());
        let matching = citing.iter().find(|at| told[**at].names(step));
        let name = format!("{} {} on {}", text(&step["id"]), text(&step["title"]), text(&step["host"]));
        match matching {
            Some(at) => eprintln!("    told    {name}: step {}", at + 1),
            None => {
                let near: Vec<String> = citing.iter().take(4).map(|at| format!("{} {}", at + 1, told[*at].technique)).collect();
                eprintln!("    MISSING {name}: {} [{}]", text(&step["technique"]["uid"]), near.join(", "));
                missing.push(name);
            }
        }
    }
    let extra: Vec<usize> = (0..told.len()).filter(|at| !shown.contains(at)).collect();
    for at in &extra {
        eprintln!("    extra   step {}: {} {}", at + 1, told[*at].technique, told[*at].action);
    }
    println!(
        "{} of {} true steps told; {} of {} steps told are not in the truth",
        steps.len() - missing.len(),
        steps.len(),
        extra.len(),
        told.len()
    );
    if !missing.is_empty() {
        return Err(format!("the story misses {} steps: {}", missing.len(), missing.join("; ")));
    }
    if extra.len() * 100 > told.len() * EXTRA_PERCENT_MAX {
        return Err(format!("{} of {} steps are not in the truth, more than {EXTRA_PERCENT_MAX} %", extra.len(), told.len()));
    }
    Ok(())
}

struct Told {
    places: Vec<Place>,
    technique: String,
    tactic: String,
    action: String,
}

impl Told {
    fn new(step: &Value, places: &BTreeMap<String, Place>) -> Self {
        let cited = list(&step["records"]).iter().filter_map(|record| places.get(record.as_str()?).cloned()).collect();
        let tactic = if step["tactic"].is_object() { text(&step["tactic"]["name"]) } else { text(&step["tactic"]) };
        Self { places: cited, technique: text(&step["technique"]["uid"]), tactic, action: text(&step["action"]) }
    }

    fn names(&self, step: &Value) -> bool {
        let family = |uid: &str| uid.split('.').next().unwrap_or_default().to_owned();
        let plain = |name: &str| name.to_lowercase().replace(['-', '_'], " ");
        let (technique, tactic) = (text(&step["technique"]["uid"]), text(&step["tactic"]["name"]));
        family(&self.technique) == family(&technique) || plain(&self.tactic) == plain(&tactic)
    }
}

fn citations(incident: &Value) -> Done<BTreeMap<String, Place>> {
    let cited = incident["citations"].as_object().ok_or("the incident has no `citations`: record id to source and number")?;
    Ok(cited
        .iter()
        .map(|(record, place)| (record.clone(), (text(&place["source"]), place["number"].as_u64().unwrap_or(0))))
        .collect())
}

fn true_places(step: &Value) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for entry in list(&step["records"]) {
        let file = text(&entry["file"]);
        let file = file.trim_start_matches("logs/");
        let numbers = list(&entry["lines"]).iter().chain(list(&entry["objects"]));
        places.extend(numbers.filter_map(Value::as_u64).map(|number| (file.to_owned(), number)));
    }
    places
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_by_record_and_technique_not_by_record_alone() {
        let step = serde_json::json!({"technique": {"uid": "T1070.002"}, "tactic": {"name": "Defense Evasion"},
            "records": [{"file": "logs/app1/auth.log.zst", "lines": [3]}]});
        assert_eq!(true_places(&step).len(), 1);
        let told = |uid: &str, tactic: &str| {
            let places = BTreeMap::from([("0-2".to_owned(), ("app1/auth.log.zst".to_owned(), 3))]);
            let step = serde_json::json!({"records": ["0-2"], "technique": {"uid": uid}, "tactic": tactic});
            Told::new(&step, &places)
        };
        assert_eq!(told("T1070.004", "").places, vec![("app1/auth.log.zst".to_owned(), 3)]);
        assert!(told("T1070.004", "").names(&step) && told("", "defense-evasion").names(&step));
        assert!(!told("T1082", "Discovery").names(&step));
    }
}
