//! RFC 3161 with OpenSSL on both ends: `openssl ts -reply` is the authority, `openssl ts -verify` the judge.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

#[path = "support/time.rs"]
#[allow(dead_code)]
mod time;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reeve_ledger::{Ledger, NewRecord, Options, Report, Status, TimeStamper, VerifyOptions, verify};
use reeve_record::Transport;
use time::TestClock;

const ORIGIN: &str = "reeve.example/record";

fn openssl(dir: &Path, args: &[&str]) -> Output {
    Command::new("openssl").args(args).current_dir(dir).output().unwrap()
}

fn succeed(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate authority and a time-stamping certificate; `None` where there is no OpenSSL.
fn authority(dir: &Path, name: &str) -> Option<PathBuf> {
    let there = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !there {
        assert!(std::env::var_os("REEVE_REQUIRE_TOOLS").is_none(), "openssl is required and not there");
        eprintln!("skipped: no openssl");
        return None;
    }
    let dir = dir.join(name);
    fs::create_dir_all(&dir).unwrap();
    let config = "[tsa]\ndefault_tsa = own\n[own]\nserial = serial\nsigner_cert = tsa.pem\nsigner_key = tsa.key\nsigner_digest = sha256\n\
        default_policy = 1.2.3.4.1\ndigests = sha256\naccuracy = secs:1\nordering = yes\ntsa_name = yes\ness_cert_id_chain = no\n\
        ess_cert_id_alg = sha256\n[ext]\nextendedKeyUsage = critical,timeStamping\n[ca]\nbasicConstraints = critical,CA:true\n";
    fs::write(dir.join("tsa.cnf"), config).unwrap();
    fs::write(dir.join("serial"), "01\n").unwrap();
    let subject = format!("/CN={name} test authority");
    let ca = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", &subject,
    ];
    succeed(&openssl(&dir, &ca));
    succeed(&openssl(
        &dir,
        &["req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=time stamps"],
    ));
    let sign = [
        "x509",
        "-req",
        "-in",
        "tsa.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "tsa.pem",
        "-days",
        "30",
    ];
    succeed(&openssl(&dir, &[&sign[..], &["-extfile", "tsa.cnf", "-extensions", "ext"]].concat()));
    Some(dir)
}

/// Answers requests as RFC 3161, section 3.4, has it, as long as the test runs.
fn serve(dir: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tsa", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let head_end = loop {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).unwrap();
                assert!(read > 0, "the request ends early");
                request.extend_from_slice(&part[..read]);
                if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
                    break end + 4;
                }
            };
            let head = String::from_utf8(request[..head_end].to_ascii_lowercase()).unwrap();
            assert!(head.contains("content-type: application/timestamp-query\r\n"), "{head}");
            let length: usize = head.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap().parse().unwrap();
            while request.len() < head_end + length {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..read]);
            }
            fs::write(dir.join("query.tsq"), &request[head_end..]).unwrap();
            let reply = ["ts", "-reply", "-config", "tsa.cnf", "-section", "own", "-queryfile", "query.tsq", "-out", "reply.tsr"];
            succeed(&openssl(&dir, &reply));
            let body = fs::read(dir.join("reply.tsr")).unwrap();
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap();
        }
    });
    url
}

fn wait_for(ledger: &Ledger, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = ledger.status();
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "not {what}: {status:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn report(dir: &Path) -> Report {
    verify(dir, &VerifyOptions::default(), &mut |_| {}).unwrap()
}

#[test]
fn two_authorities_stamp_each_epoch_and_openssl_accepts_them() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(first) = authority(scratch.path(), "first") else { return };
    let second = authority(scratch.path(), "second").unwrap();
    let dir = scratch.path().join("ledger");
    let stamper = |name: &str, tsa: &Path| TimeStamper::new(name, &serve(tsa.into())).unwrap();
    let clock = TestClock::at(&Timestamp::now().to_string());
    let options = Options {
        time_stampers: vec![stamper("first", &first), stamper("second", &second)],
        clock: Arc::new(clock.clone()),
        epoch: Some(Duration::from_secs(60)),
        ..Options::new(ORIGIN)
    };
    let ledger = Ledger::open(&dir, options).unwrap();
    ledger.append(vec![NewRecord::new("web1", Transport::File, "one")]).unwrap();
    ledger.seal_now().unwrap();
    let stamped = |epoch: u64| move |status: &Status| status.time_stamps.iter().all(|stamp| stamp.epoch == Some(epoch));
    wait_for(&ledger, "stamped", stamped(0));
    clock.pass(Duration::from_secs(61));
    ledger.append(vec![NewRecord::new("web1", Transport::File, "two")]).unwrap();
    ledger.seal_now().unwrap();
    wait_for(&ledger, "stamped again", stamped(1));
    drop(ledger);

    let stamps = dir.join("log/stamps");
    let judge = |epoch: u64, name: &str, ca: &Path| {
        let (note, reply) = (stamps.join(format!("{epoch:08}.note")), stamps.join(format!("{epoch:08}.{name}.tsr")));
        let mut command = Command::new("openssl");
        command.args(["ts", "-verify", "-data"]).arg(note).arg("-in").arg(reply).arg("-CAfile").arg(ca.join("ca.pem"));
        command.output().unwrap()
    };
    for epoch in 0..2 {
        succeed(&judge(epoch, "first", &first));
        succeed(&judge(epoch, "second", &second));
        assert!(!judge(epoch, "first", &second).status.success(), "another authority's root");
    }
    let intact = report(&dir);
    assert_eq!((intact.faults.len(), intact.time_stamps), (0, 4), "{:#?}", intact.faults);

    // Swapped, cut and altered responses, and a note that is not of this log: each is named, and no record suffers from it.
    let file = stamps.join("00000001.first.tsr");
    let good = fs::read(&file).unwrap();
    let swapped = fs::read(stamps.join("00000000.first.tsr")).unwrap();
    let mut refusal = good.clone();
    let status = refusal.windows(3).position(|window| window == [2, 1, 0]).unwrap() + 2;
    refusal[status] = 2;
    for (what, bytes) in [("another epoch's", swapped), ("cut", good[..good.len() - 1].to_vec()), ("a refusal", refusal)] {
        fs::write(&file, bytes).unwrap();
        let report = report(&dir);
        let named: Vec<_> = report.faults.iter().map(|fault| (fault.code, fault.place.as_str(), fault.records.len())).collect();
        assert_eq!(named, [("LEDGER-034", "log/stamps/00000001.first.tsr", 0)], "{what}");
        assert!(!judge(1, "first", &first).status.success(), "{what}: openssl accepts it");
    }
    fs::write(&file, good).unwrap();
    fs::copy(stamps.join("00000000.note"), stamps.join("00000001.note")).unwrap();
    assert!(report(&dir).faults.iter().all(|fault| fault.code == "LEDGER-034") && !report(&dir).is_intact());
}

#[test]
fn an_authority_that_is_away_delays_nothing_and_is_asked_again_after_a_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(tsa) = authority(scratch.path(), "late") else { return };
    let dir = scratch.path().join("ledger");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let open = |url: &str| {
        let time_stampers = vec![TimeStamper::new("late", url).unwrap()];
        Ledger::open(&dir, Options { time_stampers, epoch: Some(Duration::from_secs(3600)), ..Options::new(ORIGIN) }).unwrap()
    };
    let ledger = open(&format!("http://{nobody}/"));
    ledger.append(vec![NewRecord::new("web1", Transport::File, "one")]).unwrap();
    ledger.seal_now().unwrap();
    let status = wait_for(&ledger, "told", |status| status.time_stamps[0].last_error.is_some());
    assert!(status.time_stamps[0].last_error.as_ref().unwrap().contains("no answer"), "{status:#?}");
    drop(ledger);
    // A note without response, as a crash in between leaves it.
    let stamps = dir.join("log/stamps");
    assert!(stamps.join("00000000.note").exists() && !stamps.join("00000000.late.tsr").exists());
    assert!(report(&dir).is_intact());
    let url = serve(tsa);
    let ledger = open(&url);
    wait_for(&ledger, "stamped", |status| status.time_stamps[0].epoch == Some(0));
    drop(ledger);
    assert_eq!(report(&dir).time_stamps, 1);

    // Neither note nor response, as after a crash before both, or where nobody was asked until now: the newest checkpoint stands for the first.
    fs::remove_dir_all(&stamps).unwrap();
    let ledger = open(&url);
    wait_for(&ledger, "stamped", |status| status.time_stamps[0].epoch == Some(0));
    drop(ledger);
    let report = report(&dir);
    assert!(report.is_intact() && report.time_stamps == 1, "{report:?}");
}
