//! Logs of macOS, iOS and Android against what plaso reads out of the same files; and what is broken in them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where it is wrong and says what it skipped")]
mod shared;

use std::path::{Path, PathBuf};

use reeve_decode::{Limits, Sink};
use serde_json::{Value, json};
use shared::{Collected, Seen};

/// One of our events beside the values that plaso expects of it.
struct Case<'s> {
    event: &'s Seen,
    values: Value,
}

/// The events of a decoder in a file, with their number and plaso's, and those that it names values of.
fn cases<'s>(folder: &Path, file: &str, read: &'s Collected, ours: impl Fn(&Seen) -> bool) -> (usize, u64, Vec<Case<'s>>) {
    let text = std::fs::read_to_string(folder.join("expected.json")).expect("it reads");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let found: Vec<&Seen> = read.all().map(|(_, event)| event).filter(|event| ours(event)).collect();
    let want = &expected[file][0];
    let case = |case: &Value| {
        let event = *found.get(case["event_data_index"].as_u64()? as usize)?;
        Some(Case { event, values: case["values"].clone() })
    };
    let cases = want["events"].as_array().into_iter().flatten().filter_map(case).collect();
    (found.len(), want["counts"]["event_data"].as_u64().unwrap_or_default(), cases)
}

/// Checks each named value; both sides as text. Says how many were compared.
fn check(what: &str, cases: &[Case<'_>], names: &[(&str, &str)]) {
    let (mut compared, mut different) = (0, Vec::new());
    for case in cases {
        for (theirs, ours) in names {
            let want = &case.values[*theirs];
            if want.is_null() {
                continue;
            }
            compared += 1;
            let found = ours.split('.').fold(&case.event.native, |value, part| &value[part]);
            if plain(found) != plain(want) {
                different.push(format!("{theirs}: ours {found}, theirs {want}"));
            }
        }
    }
    println!("{what}: {} of {compared} values equal to plaso's", compared - different.len());
    assert!(different.is_empty() && compared > 0, "{what}: {different:#?}");
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn at(event: &Seen) -> String {
    event.time.expect("a time").at.to_string()
}

fn is(decoder: &'static str) -> impl Fn(&Seen) -> bool {
    move |event| event.decoder == decoder
}

#[test]
fn santa_against_plaso() {
    let Some(folder) = shared::data("macos/plaso") else { return };
    for file in ["santa.log", "santa2.log"] {
        let read = shared::read(&folder.join(file));
        let (found, theirs, cases) = cases(&folder, file, &read, is("santa"));
        assert_eq!(found as u64, theirs, "{file}");
        for case in &cases {
            let written = ["last_run_time", "exit_time", "last_written_time"].iter().find_map(|name| case.values[*name].as_str());
            assert_eq!(at(case.event).parse::<jiff::Timestamp>().ok(), written.and_then(|text| text.parse().ok()), "{file}");
        }
        let names = [
            ("decision", "decision"),
            ("process_hash", "sha256"),
            ("quarantine_url", "quarantine_url"),
            ("certificate_common_name", "cert_cn"),
            ("certificate_hash", "cert_sha256"),
            ("long_reason", "explain"),
            ("mode", "mode"),
            ("process_arguments", "args"),
            ("reason", "reason"),
            ("gid", "gid"),
            ("group", "group"),
            ("pid", "pid"),
            ("pid_version", "pidversion"),
            ("ppid", "ppid"),
            ("uid", "uid"),
            ("username", "user"),
            ("file_path", "path"),
            ("file_new_path", "newpath"),
            ("process", "process"),
            ("bsd_name", "bsdname"),
            ("bus", "bus"),
            ("dmg_path", "dmgpath"),
            ("fs", "fs"),
            ("model", "model"),
            ("volume", "volume"),
        ];
        check(file, &cases, &names);
    }
}

#[test]
fn log_files_of_macos_against_plaso() {
    let Some(folder) = shared::data("macos/plaso") else { return };
    let read = shared::read(&folder.join("appfirewall.log"));
    let (found, theirs, firewall) = cases(&folder, "appfirewall.log", &read, is("macos.syslog"));
    // One line only says that the one before it came again, which plaso counts as that line.
    assert_eq!(found as u64 + 1, theirs);
    check("appfirewall.log", &firewall[..1], &[("hostname", "hostname"), ("process_name", "parsed.app"), ("status", "level")]);
    let read = shared::read(&folder.join("security.log"));
    let (found, _, security) = cases(&folder, "security.log", &read, is("macos.syslog"));
    // Plaso's ninth is such a line.
    assert_eq!(found, 8);
    let names = [
        ("facility", "facility"),
        ("level", "level"),
        ("message_body", "message"),
        ("sender", "app_name"),
        ("sender_pid", "procid"),
    ];
    check("security.log", &security, &names);
    let read = shared::read(&folder.join("logd.0.log"));
    let (found, theirs, logd) = cases(&folder, "logd.0.log", &read, |event| !event.native["app_name"].is_null());
    assert_eq!(found as u64, theirs);
    check("logd.0.log", &logd, &[("message_body", "message")]);
    assert_eq!(at(logd[0].event), "2021-08-11T12:50:23Z");
}

#[test]
fn stores_and_trails_against_plaso() {
    let Some(folder) = shared::data("macos/plaso") else { return };
    let read = shared::read(&folder.join("applesystemlog.asl"));
    let (found, theirs, stores) = cases(&folder, "applesystemlog.asl", &read, is("macos.asl"));
    // Plaso counts the file's own creation as well.
    assert_eq!(found as u64 + 1, theirs);
    let names = [
        ("facility", "Facility"),
        ("group_identifier", "GID"),
        ("hostname", "Host"),
        ("level", "Level"),
        ("message_body", "Message"),
        ("message_identifier", "ASLMessageID"),
        ("process_identifier", "PID"),
        ("sender", "Sender"),
        ("user_identifier", "UID"),
        ("read_user_identifier", "ReadUID"),
        ("read_group_identifier", "ReadGID"),
    ];
    check("applesystemlog.asl", &stores, &names);
    assert_eq!(at(stores[0].event), "2013-11-25T09:45:35.705481Z");
    let read = shared::read(&folder.join("apple.bsm"));
    let (found, theirs, trail) = cases(&folder, "apple.bsm", &read, is("macos.bsm"));
    assert_eq!((found as u64, read.all().flat_map(|(_, event)| &event.codes).count()), (theirs, 0));
    check("apple.bsm", &trail, &[("event_type", "event_type")]);
    let first = &trail[0].event.native;
    assert_eq!((&first["text"], &first["return"]["error"]), (&json!("launchctl::Audit recovery"), &json!(0)));
    assert_eq!(first["path"], "/var/audit/20131104171720.crash_recovery");
    // The field holds milliseconds, which plaso takes as microseconds.
    assert_eq!(at(trail[0].event), "2013-11-04T18:36:20.381Z");
}

#[test]
fn the_unified_log_on_disk() {
    let Some(path) = shared::data("macos/unifiedlog/0000000000000030.tracev3") else { return };
    let read = shared::read(&path);
    let events: Vec<&Seen> = read.all().map(|(_, event)| event).collect();
    assert_eq!(events.iter().filter(|event| event.decoder == "macos.unifiedlog" && event.time.is_some()).count(), events.len());
    let entry = events.iter().find(|event| event.native["subsystem"] == "com.apple.AssetCache").expect("an entry");
    assert_eq!((&entry.native["category"], &entry.native["processID"]), (&json!("builtin"), &json!(14_225)));
    assert!(events.iter().any(|event| event.native["values"].as_array().is_some_and(|values| values.contains(&json!("214.2")))));
    assert!(events.len() >= 4, "{}", events.len());
}

#[test]
fn phones_against_plaso() {
    let Some(folder) = shared::data("mobile/android-plaso") else { return };
    let read = shared::read(&folder.join("android_logcat.log"));
    let (found, theirs, logcat) = cases(&folder, "android_logcat.log", &read, |event| {
        event.decoder == "android.logcat" && event.native["buffer"].is_null()
    });
    assert_eq!(found as u64, theirs);
    let names = [
        ("component_tag", "tag"),
        ("message_body", "message"),
        ("pid", "pid"),
        ("priority", "priority"),
        ("thread_identifier", "tid"),
        ("user_identifier", "uid"),
    ];
    check("android_logcat.log", &logcat, &names);
    assert_eq!(at(logcat[3].event), "2022-01-02T01:20:07.171997Z");
    let Some(folder) = shared::data("mobile/ios-plaso") else { return };
    let read = shared::read(&folder.join("ios_sysdiag.log"));
    let (found, theirs, sysdiagnose) = cases(&folder, "ios_sysdiag.log", &read, is("ios.sysdiagnose"));
    assert_eq!(found as u64, theirs);
    let names =
        [("message_body", "message"), ("originating_call", "function"), ("process_identifier", "pid"), ("severity", "level")];
    check("ios_sysdiag.log", &sysdiagnose, &names);
    let read = shared::read(&folder.join("ios_app_privacy_report.ndjson"));
    let (found, theirs, privacy) = cases(&folder, "ios_app_privacy_report.ndjson", &read, is("ios.privacy"));
    assert_eq!(found as u64, theirs);
    let names = [
        ("accessor_identifier", "accessor.identifier"),
        ("resource_category", "category"),
        ("resource_identifier", "identifier"),
        ("bundle_identifier", "bundleID"),
        ("domain", "domain"),
    ];
    check("ios_app_privacy_report.ndjson", &privacy, &names);
}

#[test]
fn elastic_endpoint_answers_are_taken_apart() {
    let Some(folder) = shared::data("macos/attack-dataset") else { return };
    let read = shared::read(&folder);
    let found: Vec<&Seen> = read.all().map(|(_, event)| event).filter(|event| event.decoder == "elastic.endpoint").collect();
    let timed = found.iter().filter(|event| event.time.is_some() && event.native["process"]["pid"].is_i64()).count();
    println!("macOS attack data set: {} events, {timed} with time and process: {:?}", found.len(), read.by_decoder());
    assert!(found.len() >= 60 && timed >= 60, "{} {timed}", found.len());
}

/// Every file of the cases for these decoders, cut at each place and with bytes changed, is read to its end.
#[test]
fn nothing_broken_stops_the_reading() {
    struct Nothing;
    impl Sink for Nothing {}
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../cases/decode");
    let limits = Limits { record_bytes_max: 1 << 16, ..Limits::default() };
    let mut tried = 0;
    for name in
        ["macos.bsm/trail", "macos.asl/store", "macos.unifiedlog/persist", "macos.fsevents/pages", "android.tombstone/two"]
    {
        let whole = std::fs::read(root.join(format!("{name}.input"))).expect("the case reads");
        let mut read = |bytes: &[u8]| {
            reeve_decode::read(Box::new(bytes), "broken", &limits, &mut Nothing);
            tried += 1;
        };
        for at in 0..whole.len() {
            read(&whole[..at]);
            for byte in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut changed = whole.clone();
                changed[at] = byte;
                read(&changed);
            }
        }
    }
    println!("{tried} broken files were read");
    assert!(tried > 10_000, "{tried}");
}
