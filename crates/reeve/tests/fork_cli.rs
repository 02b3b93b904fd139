//! `reeve ledger fork` from outside: a record whose signing key is lost goes on by the hands of two people, and everybody sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it is wrong")]
mod support;

use std::{fs, time::Duration};

use reeve_access::{Accounts, Role};
use reeve_ledger::{Ledger, NewRecord, Options};
use reeve_record::Transport;
use serde_json::Value;
use support::{reeve, reeve_with, write};

const ANA: &str = "a long password of ana";
const BEN: &str = "a long password of ben";

#[test]
fn two_people_let_a_record_go_on_and_verify_wants_to_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let place = data.to_str().unwrap();
    let input = folder.path().join("app.log");
    write(&input, "one\ntwo\n");
    reeve(["ingest", input.to_str().unwrap(), "--data", place]).ended(0);
    // An hourly key is begun and then lost, as in a backup that leaves keys out.
    {
        let options = Options { epoch: Some(Duration::from_secs(3600)), ..Options::new("reeve.local/record") };
        let ledger = Ledger::open(&data.join("ledger"), options).unwrap();
        ledger.append(vec![NewRecord::new("file/b", Transport::File, "three")]).unwrap();
        ledger.seal_now().unwrap();
    }
    for entry in fs::read_dir(data.join("ledger/keys")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("epoch-") {
            fs::remove_file(path).unwrap();
        }
    }
    let accounts = Accounts::open(&data).unwrap();
    accounts.create("ana", ANA, &[Role::Administrator]).unwrap();
    accounts.create("ben", BEN, &[Role::Analyst]).unwrap();
    drop(accounts);

    let fork = |approver: &str, password: &str| {
        let args =
            ["ledger", "fork", "--data", place, "--requester", "ana", "--approver", approver, "--reason", "the key was lost"];
        reeve_with(args, &[("REEVE_REQUESTER_PASSWORD", ANA), ("REEVE_APPROVER_PASSWORD", password)])
    };
    fork("ana", ANA).ended(3).says(&["two different people"]);
    fork("Ana", ANA).ended(3).says(&["two different people"]);
    fork("ben", ANA).ended(3).says(&["ben"]);
    let told = fork("ben", BEN).ended(0).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((told["requester"].as_str(), told["approver"].as_str()), (Some("ana"), Some("ben")));
    let hash = told["fork"].as_str().unwrap();
    fork("ben", BEN).ended(3).says(&["nothing keeps it"]);

    reeve(["ledger", "verify", "--data", place]).ended(4).says(&["faults"]);
    reeve(["ledger", "verify", "--data", place, "--fork", "ab"]).ended(3).says(&["64 digits"]);
    let ran = reeve(["ledger", "verify", "--data", place, "--fork", hash]).ended(0);
    assert!(ran.stderr.contains("2 key epochs"), "{}", ran.stderr);
    let root = data.join("ledger/keys/root.vkey");
    reeve(["ledger", "verify", "--data", place, "--fork", hash, "--root", root.to_str().unwrap()]).ended(0);
}
