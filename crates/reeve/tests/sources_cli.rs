//! `reeve source` from outside: from `add` to the event in search, and what a disabled and a retired source meets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where it is wrong"
)]
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Client, Ran, SCANNER, Server, binary, reeve, within, write};

const PATIENCE: Duration = Duration::from_secs(30);

fn source<'a>(data: &'a Path, args: impl IntoIterator<Item = &'a str>) -> Ran {
    let args: Vec<&str> = ["source"].into_iter().chain(args).chain(["--data", data.to_str().unwrap()]).collect();
    reeve(args)
}

/// Posts a line with a token; status and answer.
fn post(server: &Server, path: &str, token: &str, body: &str) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.post(format!("{}{path}", server.http)).header("authorization", format!("Bearer {token}"));
    let mut answer = request.send(body.as_bytes()).unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

#[test]
fn from_source_add_to_the_event_in_search_under_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let began = Instant::now();
    let mut adding = Command::new(binary())
        .args(["source", "add", "web1", "--label", "servers", "--wait=50", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(adding.stdout.take().unwrap()).lines();
    let made: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&made["source"]["label"], &made["source"]["state"]), (&json!("servers"), &json!("enabled")));
    // What is printed is done as it is: nothing is filled in.
    let pasted = made["setup"].as_str().unwrap().lines().find(|line| line.starts_with("echo")).unwrap();
    match Command::new("sh").args(["-c", pasted]).output() {
        Ok(out) if !String::from_utf8_lossy(&out.stderr).contains("not found") => {
            let answer = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(out.status.success() && answer.contains("\"accepted\":1"), "{pasted}: {answer}");
        }
        _ => {
            println!("no curl here: what was to be pasted is sent by the test");
            let token = made["token"].as_str().unwrap();
            assert_eq!(post(&server, "/ingest/web1", token, "first event of web1\n").0, 200);
        }
    }
    let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(adding.wait().unwrap().success());
    assert_eq!((&event["source"], &event["decoder"]), (&json!("web1"), &json!("text")));
    let client = Client::signed_in(&server, &data);
    let (rows, _) = client.search("source:web1");
    println!("from `reeve source add` to the event in search: {} ms", began.elapsed().as_millis());
    assert!(began.elapsed() < Duration::from_secs(60) && rows.len() == 1);
    // The label is in the record's receipt, where retention finds it.
    let full = client.get(&format!("/events/{}/0", event["record"].as_str().unwrap()), &[]);
    assert_eq!(full["receipt"]["policy"], "servers");
    assert_eq!(server.stop(), 0);

    let acts = audited(&data);
    let find = |act: &str| acts.iter().find(|line| line["act"] == act).unwrap_or_else(|| panic!("no {act} in {acts:?}"));
    let added = find("manage_sources");
    assert_eq!(
        (&added["granted"], &added["detail"]["name"], &added["by"]["via"]),
        (&json!(true), &json!("web1"), &json!("shell"))
    );
    assert!(!json!(acts).to_string().contains("rvs_"), "a token is in no log");
    assert_eq!(find("search_events")["detail"]["source"], "web1");
}

/// The acts in the audit log of a folder that no server has.
fn audited(data: &Path) -> Vec<Value> {
    let ledger = reeve_ledger::Ledger::open(&data.join("audit"), reeve_ledger::Options::new("reeve.local/audit")).unwrap();
    let (mut next, mut acts) = (reeve_record::RecordId::default(), Vec::new());
    loop {
        let records = ledger.read_from(next, 1000).unwrap();
        let Some(last) = records.last() else { return acts };
        next = reeve_record::RecordId { index: last.id.index + 1, ..last.id };
        acts.extend(records.iter().map(|record| serde_json::from_slice::<Value>(&record.raw).unwrap()));
    }
}

#[test]
fn a_source_is_listed_shown_disabled_and_retired_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let made = source(&data, ["add", "shop", "--for", "filebeat"]).ended(0).lines().remove(0);
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(made["setup"].as_str().unwrap().contains(&format!("api_key: \"shop:{token}\"")));
    let body = format!("{SCANNER}\n{SCANNER}\nnothing that is known\n");
    assert_eq!(post(&server, "/ingest/web", &token, &body).0, 200);
    assert_eq!(server.ingest("stray", "a line\n").0, 200);
    let (shown, _) = within(PATIENCE, "all three are read", || {
        let shown = source(&data, ["show", "shop"]).ended(0).lines().remove(0);
        let events: u64 = shown["read_as"].as_array()?.iter().filter_map(|read| read["events"].as_u64()).sum();
        (events == 3).then_some(shown)
    });
    let read = &shown["read_as"];
    assert_eq!(
        (&read[0]["decoder"], &read[0]["events"], &read[0]["recognised"]),
        (&json!("web.access"), &json!(2), &json!(true))
    );
    assert_eq!((&read[1]["decoder"], &read[1]["recognised"]), (&json!("text"), &json!(false)));
    assert_eq!(read[0]["first_at"], "2026-11-21T10:00:00Z");
    let client = Client::signed_in(&server, &data);
    assert_eq!(client.search(read[1]["query"].as_str().unwrap()).0.len(), 1, "dead letters are found with what is said");

    let listed = source(&data, ["list"]).ended(0).lines();
    let names: Vec<_> = listed.iter().map(|line| (line["name"].as_str().unwrap(), line["state"].as_str().unwrap())).collect();
    assert_eq!(names, [("shop", "enabled"), ("stray", "unregistered")]);
    assert_eq!(listed[0]["records"], 3);
    assert!(listed[0]["rate_per_second"].as_f64().unwrap() > 0.0 && listed[0]["last_seen_at"].is_string());

    source(&data, ["disable", "shop", "--reason", "too noisy"]).ended(0);
    let (status, said) = post(&server, "/ingest/web", &token, "x\n");
    assert!(status == 403 && said.contains("reeve source enable shop"), "{status} {said}");
    let shown = source(&data, ["show", "shop"]).ended(0).lines().remove(0);
    assert_eq!((&shown["source"]["reason"], &shown["source"]["refused"]["source_disabled"]), (&json!("too noisy"), &json!(1)));
    source(&data, ["enable", "shop"]).ended(0);
    let second = source(&data, ["token", "shop"]).ended(0).lines().remove(0);
    assert_eq!(post(&server, "/ingest/web", &token, "x\n").0, 401, "the token before is refused");
    assert_eq!(post(&server, "/ingest/web", second["token"].as_str().unwrap(), "x\n").0, 200);
    source(&data, ["remove", "shop"]).ended(0);
    source(&data, ["add", "shop"]).ended(3).says(&["not used again"]);
    source(&data, ["show", "shup"]).ended(3).says(&["no source `shup`"]);
    source(&data, ["add", "edge", "--for", "rsyslog"]).ended(3).says(&["--address"]);
    source(&data, ["add", "edge", "--for", "rsyslog", "--address", "192.0.2.1/24"]).ended(3).says(&["192.0.2.0/24"]);
    assert_eq!(server.stop(), 0);
}

#[test]
fn the_api_takes_changes_of_administrators_and_a_stopped_folder_those_of_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let client = Client::signed_in(&server, &data);
    let add = json!({ "act": "add", "name": "api" });
    assert_eq!(client.post("/sources", "", &add).0, 403, "a change needs the session's token");
    let (status, made) = client.post("/sources", &client.csrf, &add);
    assert_eq!((status, &made["source"]["created_by"]), (200, &json!("admin")), "{made}");
    assert_eq!(client.post("/sources", &client.csrf, &add).0, 400);
    assert_eq!(client.post("/sources", &client.csrf, &json!({ "act": "disable", "name": "none" })).0, 404);
    assert_eq!(client.text("/sources/none", &[]).0, 404);
    assert_eq!(client.get("/sources", &[])["sources"][0]["name"], "api");
    assert_eq!(client.get("/sources/api", &[])["read_as"], json!([]));
    assert_eq!(server.stop(), 0);

    // Without a server the folder itself is changed; the next server knows it.
    let made = source(&data, ["add", "later"]).ended(0).lines().remove(0);
    assert_eq!(source(&data, ["list"]).ended(0).lines().len(), 2);
    let server = Server::start(&data, &[]);
    assert_eq!(post(&server, "/ingest/later", made["token"].as_str().unwrap(), "x\n").0, 200);
    assert_eq!(server.ingest("later", "x\n").0, 403, "nobody else writes under its name");
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_sample_is_tried_without_keeping_it() {
    let folder = tempfile::tempdir().unwrap();
    let sample = folder.path().join("sample.log");
    write(&sample, format!("{SCANNER}\n{SCANNER}\nnothing that is known\n"));
    let ran = reeve(["source", "test", "web1", sample.to_str().unwrap()]).ended(0);
    let got: Vec<_> = ran
        .lines()
        .into_iter()
        .map(|line| (line["decoder"].clone(), line["class_name"].clone(), line["events"].clone()))
        .collect();
    assert!(got.contains(&(json!("web.access"), json!("HTTP Activity"), json!(2))), "{got:?}");
    assert!(ran.lines().iter().any(|line| line["decoder"] == "text" && line["recognised"] == false), "{got:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is made");
    reeve(["source", "test", "web1", "/no/such/sample"]).ended(2);
}
