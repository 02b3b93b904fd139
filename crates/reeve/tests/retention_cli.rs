//! Redaction, holds and retention from outside, with the binary and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it is wrong")]
mod support;

use std::{fs, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use reeve_ledger::{Clock, Ledger, NewRecord, Options};
use reeve_record::Transport;
use support::{Ran, SCANNER, reeve, reeve_with, write};

const ANA: &str = "a long password of ana";
const BEN: &str = "a long password of ben";
const PASSWORDS: [(&str, &str); 2] = [("REEVE_REQUESTER_PASSWORD", ANA), ("REEVE_APPROVER_PASSWORD", BEN)];

/// Two people with accounts; the second is made by the first.
fn accounts(place: &str) {
    let add = |name: &str, role: &str, by: &str, environment: &[(&str, &str)]| {
        reeve_with(["access", "add", name, "--role", role, "--by", by, "--data", place], environment)
    };
    add("ana", "administrator", "nobody", &[("REEVE_NEW_PASSWORD", ANA)]).ended(0);
    add("ben", "auditor", "ana", &[("REEVE_NEW_PASSWORD", BEN)]).ended(3).says(&["REEVE_PASSWORD"]);
    add("ben", "auditor", "ana", &[("REEVE_NEW_PASSWORD", BEN), ("REEVE_PASSWORD", BEN)]).ended(3).says(&["ana"]);
    add("ben", "auditor", "ana", &[("REEVE_NEW_PASSWORD", BEN), ("REEVE_PASSWORD", ANA)]).ended(0);
    add("eve", "analyst", "ben", &[("REEVE_PASSWORD", BEN)]).ended(3).says(&["administrator"]);
    let made = add("eve", "analyst", "ana", &[("REEVE_PASSWORD", ANA)]).ended(0).lines();
    assert!(made[0]["password"].as_str().is_some_and(|password| password.len() >= 20), "{made:?}");
    let listed = reeve(["access", "list", "--data", place]).ended(0).lines();
    let names: Vec<_> = listed.iter().map(|account| account["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ana", "ben", "eve"]);
}

fn redact(place: &str, records: &[&str], approver: &str, environment: &[(&str, &str)]) -> Ran {
    let people =
        ["--requester", "ana", "--approver", approver, "--reason", "a password in clear text", "--authority", "GRS 3.2 item 030"];
    let args = ["ledger", "redact"].into_iter().chain(records.iter().copied()).chain(people).chain(["--data", place]);
    reeve_with(args, environment)
}

fn files_with(dir: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn two_people_redact_a_record_and_it_leaves_search_and_alerts_too() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let place = data.to_str().unwrap();
    let input = folder.path().join("access.log");
    let other = SCANNER.replace("203.0.113.9", "198.51.100.77").replace("sqlmap/1.7.2#stable", "curl/8.0");
    write(&input, format!("{SCANNER}\n{other}\n"));
    reeve(["ingest", input.to_str().unwrap(), "--data", place]).ended(0);
    accounts(place);
    let search = |query: &str| reeve(["search", query, "--data", place]).ended(0).lines().len();
    assert_eq!((search("203.0.113.9"), search("198.51.100.77")), (1, 1));
    let alerts = || reeve(["alert", "list", "--data", place]).ended(0).stdout;
    assert!(alerts().contains("sqlmap") || alerts().contains("203.0.113.9"), "{}", alerts());

    let hold = ["hold", "add", "case-17", "--records", "0-0..0-9", "--owner", "counsel", "--reason", "Doe v. Agency"];
    reeve(hold.into_iter().chain(["--review", "2027-01-31", "--data", place])).ended(0);
    redact(place, &["0-0"], "ana", &PASSWORDS).ended(3).says(&["two different people"]);
    redact(place, &["0-0"], "ben", &PASSWORDS[..1]).ended(3).says(&["REEVE_APPROVER_PASSWORD"]);
    redact(place, &["0-0"], "ben", &[("REEVE_REQUESTER_PASSWORD", ANA), ("REEVE_APPROVER_PASSWORD", ANA)])
        .ended(3)
        .says(&["ben"]);
    redact(place, &["0-0"], "ben", &PASSWORDS).ended(3).says(&["case-17"]);
    reeve(["hold", "release", "case-17", "--reason", "settled", "--data", place]).ended(0);
    let holds = reeve(["hold", "list", "--data", place]).ended(0).lines();
    assert_eq!((holds[0]["name"].as_str(), holds[0]["released"]["reason"].as_str()), (Some("case-17"), Some("settled")));

    let told = redact(place, &["0-0"], "ben", &PASSWORDS).ended(0).lines();
    assert_eq!(told[0]["records"], 1);
    assert_eq!((search("203.0.113.9"), search("198.51.100.77")), (0, 1));
    assert!(!alerts().contains("sqlmap") && !alerts().contains("203.0.113.9"), "{}", alerts());
    assert_eq!(files_with(&data, b"203.0.113.9"), Vec::<String>::new());
    reeve(["ledger", "verify", "--data", place]).ended(0);
    reeve(["ledger", "prove", "0-0", "--data", place]).ended(3).says(&["redacted by entry"]);
    reeve(["ledger", "prove", "0-1", "--data", place]).ended(0);
    let report = reeve(["retention", "report", "--data", place]).ended(0).lines();
    assert_eq!((report[0]["act"].as_str(), report[0]["approver"].as_str()), (Some("redacted"), Some("ben")));
}

/// A clock that somebody sets.
struct Then(Timestamp);

impl Clock for Then {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn elapsed(&self) -> Duration {
        reeve_ledger::SystemClock.elapsed()
    }
}

#[test]
fn a_retention_run_takes_out_what_is_due_by_both_clocks() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let place = data.to_str().unwrap();
    let new = folder.path().join("app.log");
    write(&new, "of today\n");
    reeve(["ingest", new.to_str().unwrap(), "--data", place]).ended(0);
    // A ledger that took records two years ago, and goes on.
    for made in ["ledger", "lake"] {
        fs::remove_dir_all(data.join(made)).unwrap();
    }
    let past: Timestamp = Timestamp::now() - Duration::from_secs(2 * 366 * 86_400);
    let options = Options { clock: Arc::new(Then(past)), ..Options::new("reeve.local/record") };
    let ledger = Ledger::open(&data.join("ledger"), options).unwrap();
    for (source, text) in [("file/old", "long ago"), ("file/held", "long ago, and held")] {
        ledger.append(vec![NewRecord::new(source, Transport::File, text)]).unwrap();
        ledger.seal_now().unwrap();
    }
    drop(ledger);
    reeve(["ingest", new.to_str().unwrap(), "--data", place]).ended(0);
    accounts(place);
    let hold =
        ["hold", "add", "case-1", "--source", "file/he*", "--owner", "counsel", "--reason", "Doe", "--review", "2027-01-31"];
    reeve(hold.into_iter().chain(["--data", place])).ended(0);

    let plan = |more: &[&str]| {
        let args = ["retention", "plan", "--policy", "m-26-14", "--data", place];
        reeve(args.into_iter().chain(more.iter().copied())).ended(0).lines().remove(0)
    };
    // Two years in one step are not believed.
    let careful = plan(&[]);
    assert_eq!(careful["segments"].as_array().unwrap().len(), 0, "{careful}");
    assert!(careful["time"]["uncounted_seconds"].as_i64().unwrap() > 700 * 86_400, "{careful}");
    let due = plan(&["--longest-step", "4000"]);
    assert_eq!(due["segments"].as_array().unwrap().len(), 1, "{due}");
    assert_eq!(
        (due["segments"][0]["segment"].as_u64(), due["held"]["case-1"].as_u64(), due["kept"].as_u64()),
        (Some(0), Some(1), Some(1))
    );

    let run = |environment: &[(&str, &str)]| {
        let by = ["retention", "run", "--policy", "m-26-14", "--longest-step", "4000", "--data", place];
        reeve_with(by.into_iter().chain(["--requester", "ana", "--approver", "ben", "--reason", "yearly run"]), environment)
    };
    run(&[]).ended(3).says(&["REEVE_REQUESTER_PASSWORD"]);
    let done = run(&PASSWORDS).ended(0).lines();
    assert_eq!((done[0]["segment"].as_u64(), done[0]["destroyed"].as_bool()), (Some(0), Some(true)), "{done:?}");
    assert_eq!(plan(&["--longest-step", "4000"])["segments"].as_array().unwrap().len(), 0);
    let report = reeve(["retention", "report", "--data", place]).ended(0).lines();
    assert_eq!((report[0]["act"].as_str(), report[0]["policy"].as_str()), (Some("destroyed"), Some("M-26-14")));
    reeve(["ledger", "verify", "--data", place]).ended(0);
    reeve(["ledger", "prove", "0-0", "--data", place]).ended(3).says(&["destroyed by entry"]);
    reeve(["ledger", "prove", "1-0", "--data", place]).ended(0);
}
