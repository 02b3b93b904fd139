//! What the ledger writes about witnesses and time-stamps fails at every write, each way: policy, cosigned checkpoint, note, response, the mark
//! that a witness saw more. The log goes on and verifies, and what must not be signed is not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod support;
#[path = "support/tsa.rs"]
mod tsa;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use reeve_ledger::{Answer, Disk, Ledger, Net, NewRecord, Options, Policy, Request, Status, TimeStamper, VerifyOptions, verify};
use reeve_record::Transport;
use sha2::{Digest, Sha256};
use support::{Fault, MemoryDisk, Reboot};

const DIR: &str = "/ledger";
const ORIGIN: &str = "reeve.example/record";
const WITNESS: &str = "w.example";

/// A witness and an authority without a network. It believes what it is shown; `witness.py` is the one that checks.
struct Others {
    key: SigningKey,
    size: Mutex<u64>,
}

impl Others {
    fn new(size: u64) -> Arc<Self> {
        Arc::new(Self { key: SigningKey::from_bytes(&[9; 32]), size: Mutex::new(size) })
    }

    fn key_id(&self) -> [u8; 4] {
        let public = self.key.verifying_key();
        let hash = Sha256::new().chain_update(WITNESS).chain_update([b'\n', 4]).chain_update(public.as_bytes()).finalize();
        hash[..4].try_into().unwrap()
    }

    fn policy(&self) -> Policy {
        let key = [&[4], &self.key.verifying_key().as_bytes()[..]].concat();
        let id = u32::from_be_bytes(self.key_id());
        format!("witness w {WITNESS}+{id:08x}+{} http://w\nquorum w\n", STANDARD.encode(key)).parse().unwrap()
    }

    fn cosign(&self, body: &str) -> Answer {
        let (head, note) = body.split_once("\n\n").unwrap();
        let old: u64 = head.lines().next().unwrap().strip_prefix("old ").unwrap().parse().unwrap();
        let mut size = self.size.lock().unwrap();
        if old != *size {
            return Answer { status: 409, content_type: "text/x.tlog.size".into(), body: format!("{size}\n").into() };
        }
        *size = note.lines().nth(1).unwrap().parse().unwrap();
        let text = &note[..=note.find("\n\n").unwrap()];
        let signature = self.key.sign(format!("cosignature/v1\ntime 1767607201\n{text}").as_bytes()).to_bytes();
        let blob = [&self.key_id()[..], &1_767_607_201_u64.to_be_bytes(), &signature].concat();
        Answer {
            status: 200,
            content_type: String::new(),
            body: format!("\u{2014} {WITNESS} {}\n", STANDARD.encode(blob)).into(),
        }
    }
}

impl Net for Others {
    fn post(&self, request: &Request<'_>) -> Result<Answer, String> {
        if request.url.contains("tsa") {
            return Ok(Answer { status: 200, content_type: String::new(), body: tsa::stamp(request.body) });
        }
        Ok(self.cosign(std::str::from_utf8(request.body).unwrap()))
    }
}

fn open(disk: &MemoryDisk, others: &Arc<Others>, known: bool) -> Result<Ledger, reeve_ledger::Error> {
    let options = Options {
        disk: Arc::new(disk.clone()),
        net: others.clone(),
        epoch: Some(Duration::from_secs(3600)),
        policy: known.then(|| others.policy()),
        time_stampers: vec![TimeStamper::new("tsa", "http://tsa")?],
        witness_patience: Duration::from_secs(5),
        ..Options::new(ORIGIN)
    };
    Ledger::open(Path::new(DIR), options)
}

fn batch(n: u32) -> Vec<NewRecord> {
    vec![NewRecord::new("web1", Transport::File, format!("record {n}"))]
}

fn wait_for(ledger: &Ledger, patience: Duration, wanted: impl Fn(&Status) -> bool) -> Status {
    let deadline = Instant::now() + patience;
    loop {
        let status = ledger.status();
        if wanted(&status) || Instant::now() > deadline {
            return status;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_cosigned(status: &Status) -> bool {
    status.segments > 0 && status.cosigned_segments == status.segments
}

fn bytes_of(disk: &MemoryDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(&Path::new(DIR).join(name)).ok()?;
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

#[test]
fn policy_cosigned_checkpoint_and_stamps_fail_at_every_write_and_the_log_goes_on() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::FailBefore, Fault::FailAfter] {
        for write in 0.. {
            let (disk, others) = (MemoryDisk::default(), Others::new(0));
            disk.plan(write, fault);
            if let Ok(ledger) = open(&disk, &others, true) {
                let _ = ledger.append(batch(0)).and_then(|_| ledger.seal_now());
                wait_for(&ledger, Duration::from_millis(100), |status| {
                    is_cosigned(status) && status.time_stamps[0].epoch.is_some()
                });
            }
            let met = disk.met();
            let reboot = if write % 2 == 0 { Reboot::Kill } else { Reboot::PowerCut };
            let case = format!("{fault:?} at write {write}, then {reboot:?}");
            let disk = disk.reboot(reboot);
            let ledger = open(&disk, &others, true).unwrap_or_else(|error| panic!("{case}: {error}"));
            ledger.append(batch(1)).unwrap();
            ledger.seal_now().unwrap_or_else(|error| panic!("{case}: {error}"));
            let status = wait_for(&ledger, Duration::from_secs(20), is_cosigned);
            assert!(is_cosigned(&status), "{case}: {status:#?}");
            drop(ledger);
            let options =
                VerifyOptions { disk: Arc::new(disk.clone()), policy: Some(others.policy()), ..VerifyOptions::default() };
            let report = verify(Path::new(DIR), &options, &mut |_| {}).unwrap();
            assert_eq!(report.faults, [], "{case}");
            // The folder knows its witnesses by itself.
            assert!(bytes_of(&disk, "log/policy").is_some(), "{case}");
            if !met {
                eprintln!("{fault:?}: {write} writes failed");
                assert!(write > 60, "the script writes more than that");
                break;
            }
        }
    }
}

#[test]
fn a_server_that_was_told_of_more_signs_nothing_whatever_fails() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::FailBefore, Fault::FailAfter] {
        for write in 0..30 {
            let (disk, honest) = (MemoryDisk::default(), Others::new(0));
            {
                let ledger = open(&disk, &honest, true).unwrap();
                ledger.append(batch(0)).unwrap();
                ledger.seal_now().unwrap();
            }
            let disk = disk.reboot(Reboot::PowerCut);
            let signed = bytes_of(&disk, "log/checkpoint").unwrap();
            let ahead = Others::new(100);
            disk.plan(write, fault);
            if let Ok(ledger) = open(&disk, &ahead, true) {
                let _ = ledger.append(batch(1));
                let _ = ledger.seal_now();
            }
            let _ = disk.met();
            for reboot in [Reboot::Kill, Reboot::PowerCut] {
                let case = format!("{fault:?} at write {write}, then {reboot:?}");
                let disk = disk.reboot(reboot);
                assert_eq!(bytes_of(&disk, "log/checkpoint").as_ref(), Some(&signed), "{case}");
                let ledger = open(&disk, &ahead, false).unwrap_or_else(|error| panic!("{case}: {error}"));
                ledger.append(batch(2)).unwrap();
                assert_eq!(ledger.seal_now().unwrap_err().code(), "LEDGER-015", "{case}");
                assert_eq!(bytes_of(&disk, "log/checkpoint").as_ref(), Some(&signed), "{case}");
            }
        }
    }
}
