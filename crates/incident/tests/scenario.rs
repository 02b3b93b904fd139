//! The recorded scenarios, read, mapped and reconstructed from memory; prints the story when asked.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use reeve_decode::{Limits, Parsed, Sink, Value, read_path};
use reeve_incident::{Error, EventRow, Events, Incident, Options, Seed, Want, reconstruct, story};
use reeve_record::{Certainty, RecordId};

/// Events in memory; record ids are (number of the file, place in it).
#[derive(Default)]
struct Memory {
    rows: Vec<EventRow>,
    root: PathBuf,
    files: Vec<String>,
}

impl Events for Memory {
    fn events(&self, want: &Want) -> Result<Vec<EventRow>, Error> {
        let fits = |row: &&EventRow| {
            want.from.is_none_or(|from| row.time >= from)
                && want.to.is_none_or(|to| row.time < to)
                && (want.class_uids.is_empty() || want.class_uids.contains(&row.class_uid))
                && (want.records.is_empty() || row.records.iter().any(|record| want.records.contains(record)))
                && want.equal.iter().all(|(path, value)| row.get(path) == value)
        };
        let mut rows: Vec<EventRow> = self.rows.iter().filter(fits).cloned().collect();
        rows.sort_by_key(|row| (row.time, row.record));
        rows.truncate(want.limit);
        Ok(rows)
    }
}

impl Sink for Memory {
    fn event(&mut self, source: &str, parsed: Parsed<'_>) {
        let event = reeve_ocsf::map(&parsed);
        let name = source.strip_prefix(self.root.to_str().unwrap()).unwrap_or(source).trim_start_matches('/').to_owned();
        let file = self.files.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.files.push(name.clone());
            self.files.len() - 1
        });
        let id = |key: u64| RecordId { segment: file as u32, index: key as u32 };
        let text =
            |value: &Value<'_>| value.text().map_or_else(|| serde_json::to_string(value).unwrap(), |text| text.into_owned());
        let attributes: BTreeMap<String, String> =
            event.attributes.iter().map(|(path, value)| ((*path).to_owned(), text(value))).collect();
        let native =
            ["SYSCALL.ppid"].iter().filter_map(|path| Some(((*path).to_owned(), text(parsed.native.path(path)?)))).collect();
        let time = event.time.map_or((jiff::Timestamp::UNIX_EPOCH, Certainty::Received), |time| (time.at, time.certainty));
        self.rows.push(EventRow {
            record: id(parsed.records[0]),
            records: parsed.records.iter().map(|key| id(*key)).collect(),
            part: parsed.part,
            time: time.0,
            certainty: time.1,
            source: name,
            number: Some(parsed.records[0]),
            host: attributes.get("device.hostname").cloned().unwrap_or_default(),
            class_uid: event.class_uid,
            activity_id: event.activity_id,
            status_id: event.status_id,
            attributes,
            native,
        });
    }
}

fn load(scenario: &Path) -> Memory {
    let mut memory = Memory { root: scenario.join("logs"), ..Memory::default() };
    let limits = Limits { received: Some("2026-11-22T00:00:00Z".parse().unwrap()), ..Limits::default() };
    read_path(&memory.root.clone(), &limits, &mut memory);
    memory
}

/// True steps told, true steps missed, steps that are in no true one.
fn compare(truth: &serde_json::Value, memory: &Memory, incident: &Incident) -> (usize, Vec<String>, Vec<String>) {
    let family = |uid: &str| uid.split('.').next().unwrap_or_default().to_owned();
    let (mut told, mut missed, mut shown) = (0, Vec::new(), vec![false; incident.steps.len()]);
    for step in truth["steps"].as_array().unwrap() {
        let mut places: Vec<RecordId> = Vec::new();
        for entry in step["records"].as_array().unwrap() {
            let name = entry["file"].as_str().unwrap().trim_start_matches("logs/");
            let Some(file) = memory.files.iter().position(|known| known == name) else { continue };
            let numbers =
                entry["lines"].as_array().into_iter().flatten().chain(entry["objects"].as_array().into_iter().flatten());
            places.extend(numbers.map(|number| RecordId { segment: file as u32, index: number.as_u64().unwrap() as u32 }));
        }
        let citing: Vec<usize> = (0..incident.steps.len())
            .filter(|at| incident.steps[*at].records.iter().any(|record| places.contains(record)))
            .collect();
        citing.iter().for_each(|at| shown[*at] = true);
        let (technique, tactic) = (step["technique"]["uid"].as_str().unwrap(), step["tactic"]["name"].as_str().unwrap());
        if citing
            .iter()
            .any(|at| family(&incident.steps[*at].technique.uid) == family(technique) || incident.steps[*at].tactic == tactic)
        {
            told += 1;
        } else {
            let near: Vec<String> = citing.iter().map(|at| format!("{}:{}", at + 1, incident.steps[*at].technique.uid)).collect();
            missed.push(format!("{} {} {} [{}]", step["id"], step["title"], technique, near.join(" ")));
        }
    }
    let extra =
        (0..shown.len()).filter(|at| !shown[*at]).map(|at| format!("{}: {}", at + 1, incident.steps[at].action)).collect();
    (told, missed, extra)
}

#[test]
fn cases_are_told_as_written_down() {
    let mut cases: Vec<PathBuf> = fs::read_dir(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../cases/incident")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("seed").exists())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "the cases are there");
    for case in cases {
        let memory = load(&case);
        let start = fs::read_to_string(case.join("seed")).unwrap();
        let seed =
            memory.rows.iter().find(|row| row.get("process.cmd_line").starts_with(start.trim())).expect("the seed's event");
        let told = story(&reconstruct(&memory, &[], &Seed::Record(seed.record), &Options::default()).unwrap());
        if std::env::var_os("REEVE_UPDATE").is_some() {
            fs::write(case.join("story.txt"), &told).unwrap();
        }
        assert_eq!(told, fs::read_to_string(case.join("story.txt")).unwrap(), "{}", case.display());
    }
}

#[test]
fn what_is_not_there_is_said_so() {
    let error =
        reconstruct(&Memory::default(), &[], &Seed::Record(RecordId { segment: 1, index: 2 }), &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "no event belongs to record 1-2: it may not be decoded yet, or lies outside the searched time");
    let error = reconstruct(&Memory::default(), &[], &Seed::Finding("f1".into()), &Options::default()).unwrap_err();
    assert!(error.to_string().starts_with("no event belongs to finding f1"), "{error}");
}

fn scenarios() -> Vec<PathBuf> {
    let folder = std::env::var_os("REEVE_SCENARIOS")
        .map_or_else(|| PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../cases/scenarios"), PathBuf::from);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("truth.json").exists()).collect();
    found.sort();
    found
}

#[test]
fn every_true_step_is_told_wherever_one_starts() {
    let all = scenarios();
    if all.is_empty() {
        println!("skipped: no recorded scenario");
    }
    for scenario in all {
        let truth: serde_json::Value = serde_json::from_slice(&fs::read(scenario.join("truth.json")).unwrap()).unwrap();
        let memory = load(&scenario);
        println!("{}: {} events from {} files", scenario.display(), memory.rows.len(), memory.files.len());
        let mut failures = Vec::new();
        // From the web shell, from the log tampering, and from the upload: one story.
        for start in ["rm -f /opt/portal/hooks/status.sh", "truncate -s 0 /var/log/wtmp", "curl -s -A sync/1.0 -T /tmp/"] {
            let Some(seed) =
                memory.rows.iter().find(|row| row.class_uid == 1007 && row.get("process.cmd_line").starts_with(start))
            else {
                println!("    nothing starts with `{start}`");
                continue;
            };
            let incident = reconstruct(&memory, &[], &Seed::Record(seed.record), &Options::default()).unwrap();
            let again = reconstruct(&memory, &[], &Seed::Record(seed.record), &Options::default()).unwrap();
            assert_eq!(
                serde_json::to_string(&incident).unwrap(),
                serde_json::to_string(&again).unwrap(),
                "the same start gives the same bytes"
            );
            let (told, missed, extra) = compare(&truth, &memory, &incident);
            println!(
                "  from `{start}`: {told} told, {} missed, {} of {} steps extra",
                missed.len(),
                extra.len(),
                incident.steps.len()
            );
            if std::env::var_os("REEVE_STORY").is_some() {
                println!("{}", story(&incident));
            }
            missed.iter().for_each(|step| println!("    MISSED {step}"));
            extra.iter().for_each(|step| println!("    EXTRA {step}"));
            if !missed.is_empty() || extra.len() * 10 > incident.steps.len() {
                failures.push(start);
            }
        }
        assert!(failures.is_empty(), "not the whole story from {failures:?}");
    }
}
