//! How far our reading agrees with that of other programs over the same logs. Each test prints its rate.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where it is wrong and says what it skipped"
)]
mod shared;

use std::collections::BTreeMap;

use serde_json::Value;
use shared::{Collected, Seen};

/// go-libaudit's golden files: every record's type, serial, time and fields.
#[test]
fn audit_records_against_go_libaudit() {
    let Some(folder) = shared::data("linux/auditd-go-libaudit/auparse/testdata") else { return };
    let (mut fields, mut same) = (0, 0);
    let mut different = Vec::new();
    for log in ["audit-ubuntu14.log", "audit-ubuntu16.log", "test3.log"] {
        let golden: Vec<Value> =
            serde_json::from_str(&std::fs::read_to_string(folder.join(format!("{log}.golden"))).expect("it reads"))
                .expect("JSON");
        let read = shared::read(&folder.join(log));
        for want in &golden {
            let serial = want["sequence"].to_string();
            let kind = want["record_type"].as_str().unwrap_or_default().to_uppercase();
            let record = read.all().filter(|(_, event)| event.native["serial"] == serial.as_str()).find_map(|(_, event)| {
                let found = &event.native[&kind];
                if found.is_array() { found.get(0).cloned() } else { found.as_object().map(|map| Value::Object(map.clone())) }
            });
            let Some(record) = record else {
                panic!("{log}: no {kind} record {serial}");
            };
            let Some(data) = want["data"].as_object() else { continue };
            for (name, value) in data {
                // The parts of an SELinux label, which the record writes as one field.
                if name.starts_with("subj_") || name.starts_with("obj_") {
                    continue;
                }
                // go-libaudit names some values anew; what it derives is checked by its source field.
                let ours = match name.as_str() {
                    "result" => &record[if record["res"].is_null() { "success" } else { "res" }],
                    "saddr" | "syscall" | "arch" | "exit" | "sig" | "family" | "addr"
                        if record[name].as_str() != value.as_str() =>
                    {
                        continue;
                    }
                    name => &record[name],
                };
                fields += 1;
                let ours = ours.as_str().unwrap_or_default();
                let theirs = value.as_str().unwrap_or_default();
                let ours = match ours {
                    "4294967295" | "-1" => "unset",
                    "yes" | "1" | "success" if name == "result" => "success",
                    "no" | "0" | "failed" if name == "result" => "fail",
                    other => other,
                };
                if ours == theirs {
                    same += 1;
                } else {
                    different.push(format!("{log} {serial} {kind} {name}: ours {ours:?}, theirs {theirs:?}"));
                }
            }
        }
    }
    println!("audit fields equal to go-libaudit's: {same} of {fields}");
    different.iter().take(20).for_each(|line| println!("  {line}"));
    assert!(same * 100 >= fields * 97, "{different:#?}");
}

/// LAUREL's own pairs of raw records and JSON.
#[test]
fn audit_events_against_laurel() {
    let Some(folder) = shared::data("linux/auditd-laurel/testdata") else { return };
    let (mut fields, mut same, mut files) = (0, 0, 0);
    let mut different = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("it lists").flatten() {
        let json = entry.path();
        if json.extension().is_none_or(|end| end != "json") {
            continue;
        }
        files += 1;
        let theirs = shared::read(&json);
        let (_, theirs) = theirs.all().next().expect("one event");
        assert_eq!(theirs.decoder, "auditd.laurel", "{}", json.display());
        let ours = shared::read(&json.with_extension("txt"));
        let (_, ours) = ours.all().next().expect("one event");
        assert_eq!(ours.time, theirs.time, "{}", json.display());
        for (kind, want) in theirs.native.as_object().expect("an object") {
            if kind == "ID" || kind == "NODE" {
                continue;
            }
            let (want, ours) = (list(want), list(&ours.native[kind]));
            for (want, ours) in want.iter().zip(&ours) {
                for (name, want) in want.as_object().into_iter().flatten() {
                    // LAUREL writes numbers in its own notation and gathers a0, a1, … in ARGV.
                    let ours = match (kind.as_str(), name.as_str()) {
                        ("EXECVE", "ARGV") => ours["argv"].clone(),
                        ("PROCTITLE", "ARGV") => {
                            Value::from(ours["proctitle"].as_str().unwrap_or_default().split(' ').collect::<Vec<_>>())
                        }
                        (_, "ARGV" | "SADDR") | ("SOCKADDR", "saddr") => continue,
                        _ => ours[name].clone(),
                    };
                    fields += 1;
                    if plain(&ours) == plain(want) {
                        same += 1;
                    } else {
                        different.push(format!("{} {kind}.{name}: ours {ours}, theirs {want}", json.display()));
                    }
                }
            }
        }
    }
    println!("audit fields equal to LAUREL's: {same} of {fields} in {files} events");
    different.iter().take(20).for_each(|line| println!("  {line}"));
    assert!(same * 100 >= fields * 95, "{different:#?}");
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

/// Text in one notation: LAUREL's `0x…` and `0o…` prefixes, nulls for `(null)`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "(null)".into(),
        Value::Number(number) => plain(&Value::from(number.to_string())),
        Value::String(text) => {
            let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0o")).unwrap_or(text);
            if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                digits.trim_start_matches('0').to_lowercase()
            } else {
                text.clone()
            }
        }
        other => other.to_string(),
    }
}

/// The same Zeek logs as TSV and as JSON.
#[test]
fn zeek_tsv_equals_zeek_json() {
    let Some(folder) = shared::data("network/zeek/zed-sample-data") else { return };
    let (mut events, mut same, mut logs, mut named, mut guessed) = (0, 0, 0, 0, 0);
    for entry in std::fs::read_dir(folder.join("zeek-default")).expect("it lists").flatten() {
        let path = entry.path();
        let name = path.file_name().expect("a name").to_string_lossy().replace(".log.gz", "");
        let tsv = shared::read(&path);
        let json = shared::read(&folder.join("zeek-json").join(format!("{name}.json.gz")));
        let (tsv, json) = (only(&tsv), only(&json));
        assert_eq!(tsv.len(), json.len(), "{name}");
        logs += 1;
        named += usize::from(json.iter().all(|event| event.decoder == tsv[0].decoder));
        guessed += json.iter().filter(|event| without_path(event) == tsv[0].decoder).count();
        let mut shown = 0;
        for (ours, want) in tsv.iter().zip(json.iter()) {
            assert_eq!(ours.decoder, format!("zeek.{name}"), "{name}");
            events += 1;
            if normal(ours) == normal(want) {
                same += 1;
            } else if shown == 0 {
                shown += 1;
                println!("  {name}: {} != {}", ours.native, want.native);
            }
        }
    }
    println!(
        "Zeek TSV equal to JSON: {same} of {events} events; {named} of {logs} logs named alike; {guessed} events also without `_path`"
    );
    assert!(same * 1000 >= events * 999);
}

/// The decoder of an event whose `_path` was taken away, as Zeek's own JSON writer leaves it out.
fn without_path(event: &Seen) -> &'static str {
    let mut native = event.native.clone();
    native.as_object_mut().expect("an object").remove("_path");
    let mut decoder = "";
    let text = native.to_string();
    reeve_decode::Decoder::new(reeve_decode::Hint::default()).feed(
        1,
        1,
        text.as_bytes(),
        jiff::Timestamp::UNIX_EPOCH,
        &mut |parsed| decoder = parsed.decoder,
    );
    decoder
}

fn only(collected: &Collected) -> &[Seen] {
    collected.events.values().next().expect("one source")
}

/// Fields sorted; numbers to the microsecond and times as numbers, because the JSON of these logs writes ISO 8601.
fn normal(event: &Seen) -> BTreeMap<String, Value> {
    let mut fields: BTreeMap<String, Value> =
        event.native.as_object().expect("an object").iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    for value in fields.values_mut() {
        if let Some(time) = value.as_str().and_then(reeve_decode::time::whole_stamp) {
            *value = Value::from(time.at.as_microsecond() as f64 / 1e6);
        }
        if let Some(number) = value.as_f64() {
            *value = Value::from((number * 1e6).round() / 1e6);
        }
    }
    fields.remove("_path");
    fields.remove("_write_ts");
    let micros = event.time.map(|time| time.at.as_microsecond());
    fields.insert("ts".into(), Value::from(micros));
    fields
}

/// plaso's expectations for syslog files: every line an event, the named values equal.
#[test]
fn syslog_files_against_plaso() {
    let Some(folder) = shared::data("linux/plaso") else { return };
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).expect("it reads")).expect("JSON");
    let (mut values, mut same) = (0, 0);
    let mut different = Vec::new();
    for file in [
        "syslog/syslog",
        "syslog/syslog_rsyslog",
        "syslog/syslog_rsyslog_traditional",
        "syslog/syslog_rsyslog_SyslogProtocol23Format",
    ] {
        let read = shared::read(&folder.join(file));
        let events: Vec<_> = only(&read).iter().filter(|event| event.decoder.starts_with("syslog.")).collect();
        let want = &expected[file][0];
        println!("{file}: {} messages, plaso {}", events.len(), want["counts"]["event_data"]);
        for case in want["events"].as_array().into_iter().flatten() {
            let Some(event) = events.get(case["event_data_index"].as_u64().unwrap_or(0) as usize) else { continue };
            for (theirs, ours) in
                [("hostname", "hostname"), ("message_body", "message"), ("pid", "procid"), ("reporter", "app_name")]
            {
                let want = &case["values"][theirs];
                if want.is_null() {
                    continue;
                }
                values += 1;
                let got = event.native[ours].as_str().unwrap_or_default();
                if got.trim() == want.as_str().map_or_else(|| want.to_string(), str::to_owned).trim() {
                    same += 1;
                } else {
                    different.push(format!("{file} {theirs}: ours {got:?}, plaso {want}"));
                }
            }
        }
    }
    println!("syslog values equal to plaso's: {same} of {values}");
    different.iter().for_each(|line| println!("  {line}"));
    assert!(same * 10 >= values * 9, "{different:#?}");
}

/// Each folder of the shared data is read by the decoders it was recorded for.
#[test]
fn content_finds_its_decoder() {
    for (path, decoder, share) in [
        ("windows/splunk-attack-data", "json.nxlog", 99),
        ("cloud/invictus-aws/CloudTrail.zip", "aws.cloudtrail", 99),
        ("cloud/opensearch-catalog/aws_cloudtrail-raw-sample.json", "aws.cloudtrail", 99),
        ("cloud/plaso/jsonl/azure_activity_log.jsonl", "azure.activity", 100),
        // Two of eleven are of its load balancer.
        ("cloud/gcp-csa", "gcp.audit", 80),
        ("ocsf/aws-security-lake/1.0.0-rc.2/ROUTE53/inputs", "aws.route53", 100),
        ("cloud/opensearch-catalog/nginx-raw.log.gz", "web.access", 99),
        ("network/suricata/verify-eve.tar.zst", "suricata.eve", 99),
        ("network/suricata/eve-alert-samples", "suricata.eve", 99),
        ("web/apache_access.log.gz", "web.access", 99),
        ("linux/authlog/auth.log.gz", "syslog.3164", 100),
        ("linux/msticpy/auditd_log.txt.gz", "auditd", 99),
        ("linux/plaso/audit_enriched.log", "auditd", 99),
        ("sigma/regression_data.zip", "evtx", 30),
    ] {
        let Some(path) = shared::data(path) else { return };
        let read = shared::read(&path);
        let counts = read.by_decoder();
        // Archives also hold descriptions of the logs in them; what is neither text nor binary counts.
        let total: usize = counts.iter().filter(|(name, _)| !matches!(**name, "text" | "unknown")).map(|(_, count)| count).sum();
        let timed = read.all().filter(|(_, event)| event.decoder == decoder && event.time.is_some()).count();
        let found = counts.get(decoder).copied().unwrap_or(0);
        let problems: BTreeMap<&str, usize> = read
            .problems
            .iter()
            .map(|(_, problem)| problem.code)
            .chain(read.all().flat_map(|(_, event)| event.codes.iter().copied()))
            .fold(BTreeMap::new(), |mut counts, code| {
                *counts.entry(code).or_default() += 1;
                counts
            });
        println!("{}: {total} events {counts:?}, {timed} with a time, problems {problems:?}", path.display());
        assert!(found * 100 >= total * share, "{}: {found} of {total} read as {decoder}", path.display());
        assert!(timed * 100 >= found * 95, "{}: {timed} of {found} with a time", path.display());
    }
}
