//! `reeve scan` and `reeve decode` as scripts see them: formats, files, exit codes, help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it is wrong")]
mod support;

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use support::{SCANNER, SCANNER_RULE, binary, reeve, write};
use tempfile::TempDir;

/// A folder with a log that has one medium finding in its second record.
fn log() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let plain = SCANNER.replace("sqlmap/1.7.2#stable (https://sqlmap.org)", "Mozilla/5.0");
    write(&path, format!("{plain}\n{SCANNER}\n"));
    (folder, path)
}

#[test]
fn a_finding_is_one_ocsf_object_a_line() {
    let (_folder, log) = log();
    let path = log.to_str().unwrap();
    // Into a pipe NDJSON is the default.
    for args in [&["scan", path][..], &["scan", "--format", "ndjson", path]] {
        let ran = reeve(args).ended(0);
        let lines = ran.lines();
        assert_eq!(lines.len(), 1);
        let finding = &lines[0];
        assert_eq!((&finding["class_uid"], &finding["type_uid"]), (&Value::from(2004), &Value::from(200_401)));
        assert_eq!(finding["severity_id"], 3);
        assert_eq!(finding["time"], 1_795_255_200_000_u64, "the event's own time");
        assert_eq!(finding["finding_info"]["analytic"]["uid"], SCANNER_RULE);
        assert_eq!(finding["finding_info"]["analytic"]["name"], "Web Scanner Named In The User Agent");
        assert_eq!(finding["finding_info"]["attacks"][0]["sub_technique"]["uid"], "T1595.002");
        assert_eq!(finding["unmapped"]["rule"]["author"], "Reeve project", "authors are credited");
        assert_eq!(finding["metadata"]["version"], "1.8.0");
        let data = &finding["evidences"][0]["data"];
        assert_eq!(data["source"], path, "the path as given");
        assert_eq!(data["record"], 2);
        assert_eq!(data["fields"]["c-useragent"], "sqlmap/1.7.2#stable (https://sqlmap.org)");
        assert_eq!(data["raw_sha256"], sha256(SCANNER));
        ran.says(&["1 files", "2 events", "0 problems", "1 findings", "1 medium"]);
    }
    let again = |_| reeve(["scan", path]).ended(0).lines()[0]["finding_info"]["uid"].clone();
    assert_eq!(again(0), again(1), "a finding's uid is that of rule and record");
}

#[test]
fn a_table_has_a_heading_and_no_colour_in_a_pipe() {
    let (_folder, log) = log();
    let ran = reeve(["scan", "--format", "table", log.to_str().unwrap()]).ended(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.stdout);
    assert!(lines[0].starts_with("TIME") && lines[0].contains("RULE"));
    assert!(lines[1].starts_with("2026-11-21T10:00:00Z  medium") && lines[1].ends_with("access.log #2"), "{}", lines[1]);
    assert!(!ran.stdout.contains('\x1b'));
}

#[test]
fn csv_and_timesketch_have_their_columns() {
    let (_folder, log) = log();
    let csv = reeve(["scan", "--format", "csv", log.to_str().unwrap()]).ended(0).stdout;
    let rows: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(rows[0], "time,level,rule,rule_id,host,user,source,record,channel,event_id,tactics,techniques,fields,author");
    assert!(rows[1].starts_with(&format!("2026-11-21T10:00:00Z,medium,Web Scanner Named In The User Agent,{SCANNER_RULE},")));
    assert_eq!(rows.len(), 3, "one finding, and the end of its line");

    let timesketch = reeve(["scan", "--format", "timesketch", log.to_str().unwrap()]).ended(0).stdout;
    let header = timesketch.lines().next().unwrap();
    // What Timesketch demands of a CSV file.
    for needed in ["message", "datetime", "timestamp_desc"] {
        assert!(header.split(',').any(|column| column == needed), "{header}");
    }
    assert!(timesketch.contains(",2026-11-21T10:00:00.000000+00:00,1795255200000000,Event Time,"), "{timesketch}");
}

#[test]
fn the_html_report_needs_nothing_else() {
    let (folder, log) = log();
    write(&log, SCANNER.replace("sqlmap/", "sqlmap</script><b>owned</b>/"));
    let report = folder.path().join("report.html");
    let ran = reeve(["scan", "--format", "html", "-o", report.to_str().unwrap(), log.to_str().unwrap()]).ended(0);
    assert!(ran.stdout.is_empty());
    let html = std::fs::read_to_string(&report).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
    assert!(html.contains(SCANNER_RULE) && html.contains("Web Scanner Named In The User Agent"));
    // Data in the report may hold addresses; nothing in its frame loads one.
    for loads in ["src=", "<link", "@import", "url(", "import(", "fetch("] {
        assert!(!html.contains(loads), "`{loads}` loads something");
    }
    assert!(html.contains("default-src 'none'"), "and the browser is told so");
    assert!(html.contains("\\u003cb>owned") && !html.contains("<b>owned"), "data cannot become markup");
}

#[test]
fn an_output_file_is_not_overwritten_unasked() {
    let (folder, log) = log();
    let out = folder.path().join("out.ndjson");
    write(&out, "mine\n");
    let (log, path) = (log.to_str().unwrap(), out.to_str().unwrap());
    reeve(["scan", log, "-o", path]).ended(3).says(&[path, "exists", "--clobber"]);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "mine\n");
    reeve(["scan", log, "-o", path, "--clobber"]).ended(0);
    assert!(std::fs::read_to_string(&out).unwrap().starts_with("{\"activity_id\""));
    let nowhere = folder.path().join("no/such/folder/out");
    reeve(["scan", log, "-o", nowhere.to_str().unwrap()]).ended(3).says(&["cannot write", "no/such/folder/out"]);
}

#[test]
fn levels_filter_and_fail() {
    let (_folder, log) = log();
    let log = log.to_str().unwrap();
    for (level, code) in [("informational", 1), ("medium", 1), ("high", 0), ("critical", 0)] {
        let ran = reeve(["scan", log, "--fail-on", level]).ended(code);
        assert_eq!(ran.lines().len(), 1, "--fail-on leaves the output as it is");
    }
    assert_eq!(reeve(["scan", log, "--min-level", "medium"]).ended(0).lines().len(), 1);
    assert_eq!(reeve(["scan", log, "--min-level", "high"]).ended(0).lines().len(), 0);
    reeve(["scan", log, "--min-level", "grave"]).ended(3).says(&["grave"]);
}

#[test]
fn a_reader_who_has_enough_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("many.log");
    write(&log, format!("{SCANNER}\n").repeat(20_000));
    for args in [&["scan"][..], &["decode", "--face", "native"]] {
        let mut child =
            Command::new(binary()).args(args).arg(&log).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 100];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
        assert!(!said.contains("error") && !said.contains("panic"), "{said}");
    }
}

#[test]
fn an_empty_result_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("app.json");
    write(&log, "{\"level\":\"info\",\"message\":\"started\"}\n");
    let ran = reeve(["scan", log.to_str().unwrap()]).ended(0);
    assert!(ran.stdout.is_empty());
    ran.says(&["nothing matched"]).says(&["1 events", "0 rules", "application"]).says(&["rules", "webserver"]);
    ran.says(&["No loaded rule looks at any of these events", "--rules"]);
}

#[test]
fn what_a_log_says_does_not_steer_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd\x1b[2Jname.log");
    write(&path, SCANNER.replace("/admin", "/\x1b]0;owned\x07") + "\nNUL \0 here\n");
    for format in ["table", "csv", "ndjson"] {
        let ran = reeve(["scan", "--format", format, path.to_str().unwrap()]).ended(5);
        assert!(!ran.stderr.contains('\x1b'), "{:?}", ran.stderr);
        assert!(format == "csv" || !ran.stdout.contains('\x1b'), "{format}: {:?}", ran.stdout);
    }
}

#[test]
fn many_threads_give_the_same_output() {
    let folder = tempfile::tempdir().unwrap();
    for nth in 0..40 {
        write(&folder.path().join(format!("{nth:02}.log")), format!("{SCANNER}\n").repeat(nth % 7));
    }
    let path = folder.path().to_str().unwrap();
    let one = reeve(["scan", "--threads", "1", path]).ended(0).stdout;
    assert_eq!(one, reeve(["scan", "--threads", "8", path]).ended(0).stdout);
    let found = one.lines().filter(|line| line.contains(SCANNER_RULE)).count();
    assert_eq!(found, (0..40).map(|nth| nth % 7).sum::<usize>());
}

#[test]
fn decode_gives_the_faces_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("mixed.log");
    let line = "<38>Nov 21 10:00:00 web1 sshd[815]: Failed password for root from 203.0.113.9 port 4242 ssh2";
    write(&log, format!("{line}\n{{\"any\":{{\"thing\":[1,2.50,null]}}}}\n"));
    let decode = |face: &str| reeve(["decode", "--face", face, log.to_str().unwrap()]).ended(0).lines();
    let keys = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let both = decode("both");
    assert_eq!(keys(&both[0]), ["source", "record", "raw_sha256", "decoder", "native", "ocsf", "problems"]);
    assert_eq!(keys(&decode("native")[0]), ["source", "record", "raw_sha256", "decoder", "native", "problems"]);
    assert_eq!(keys(&decode("ocsf")[0]), ["source", "record", "raw_sha256", "decoder", "ocsf", "problems"]);
    assert_eq!(decode("native")[0]["native"], both[0]["native"]);

    assert_eq!(both[0]["source"], log.to_str().unwrap());
    assert_eq!((&both[0]["record"], &both[1]["record"]), (&Value::from(1), &Value::from(2)));
    assert_eq!(both[0]["raw_sha256"], sha256(line));
    assert_eq!(both[0]["decoder"], "syslog.3164");
    assert_eq!(both[0]["native"]["hostname"], "web1");
    let ocsf = &both[0]["ocsf"];
    assert_eq!((&ocsf["class_uid"], &ocsf["status_id"]), (&Value::from(3002), &Value::from(2)), "a refused sign-in: {ocsf}");
    assert_eq!(ocsf["src_endpoint"]["ip"], "203.0.113.9");
    assert_eq!(ocsf["user"]["name"], "root");
    assert_eq!(ocsf["metadata"]["version"], "1.8.0");
    // What has no class keeps everything it says.
    assert_eq!(both[1]["ocsf"]["class_uid"], 0);
    assert_eq!(both[1]["ocsf"]["unmapped"]["any"]["thing"][0], 1);
}

#[test]
fn every_command_helps_with_examples() {
    let commands = [
        "",
        "scan",
        "decode",
        "serve",
        "ingest",
        "search",
        "incident",
        "incident reconstruct",
        "incident show",
        "incident list",
        "alert",
        "alert list",
        "source",
        "source add",
        "source list",
        "source show",
        "source test",
        "source disable",
        "source retire",
        "source token",
        "source key",
        "ledger",
        "ledger verify",
        "ledger prove",
        "ledger check",
        "ledger checkpoint",
        "ledger fork",
        "openapi",
        "completions",
    ];
    for command in commands {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let ran = reeve(&args).ended(0);
        assert!(ran.stderr.is_empty(), "{command}: help is an answer");
        assert!(
            ran.stdout.contains("Usage:") && ran.stdout.contains("Examples:"),
            "`{command}` has no examples:\n{}",
            ran.stdout
        );
    }
    assert!(reeve(["scan", "--help"]).stdout.contains("[default: table on a terminal"));
    assert!(reeve(["--version"]).ended(0).stdout.starts_with("reeve "));
}

#[test]
fn wrong_usage_ends_with_3_and_says_how() {
    let wrong: [&[&str]; 7] = [
        &["scan", "--bogus", "x"],
        &["scan"],
        &["bogus"],
        &["search", "a"],
        &["search", "a", "--data", "x", "--server", "y"],
        &["ledger", "prove", "not-a-record", "--data", "x"],
        &["ingest", "x"],
    ];
    for args in wrong {
        let ran = reeve(args).ended(3);
        assert!(
            ran.stdout.is_empty() && ran.stderr.contains("error:") && ran.stderr.contains("--help"),
            "{args:?}: {}",
            ran.stderr
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    reeve(["search", "", "--data", none.to_str().unwrap()]).ended(3).says(&["is no data folder", "reeve ingest"]);
    assert!(!none.exists(), "asking makes no folder");
    reeve(["search", "", "--server", "http://127.0.0.1:1"]).ended(3).says(&["REEVE_USER"]);
}

#[test]
fn scripts_for_shells_and_the_api_description_are_printed() {
    assert!(reeve(["completions", "bash"]).ended(0).stdout.contains("_reeve"));
    let api: Value = serde_json::from_str(&reeve(["openapi"]).ended(0).stdout).unwrap();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in ["/api/v1/search", "/api/v1/session", "/api/v1/records/{record}/proof", "/api/v1/alerts"] {
        assert!(api["paths"][path].is_object(), "{path}");
    }
    assert!(reeve(["man"]).ended(0).stdout.contains(".TH reeve"));
}

fn sha256(text: impl AsRef<[u8]>) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(text))
}

#[test]
fn a_folder_is_read_in_the_order_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.log", "a.log", "c/d.log"] {
        write(&folder.path().join(name), format!("{SCANNER}\n"));
    }
    let sources: Vec<String> = reeve(["scan", folder.path().to_str().unwrap()])
        .ended(0)
        .lines()
        .iter()
        .map(|line| {
            Path::new(line["evidences"][0]["data"]["source"].as_str().unwrap())
                .strip_prefix(folder.path())
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    assert_eq!(sources, ["a.log", "b.log", "c/d.log"]);
}
