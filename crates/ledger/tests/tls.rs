//! https to witnesses and time-stamping authorities: a good certificate is needed, and what is wrong with another is said.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

#[path = "support/tsa.rs"]
mod tsa;
#[path = "support/witnesses.rs"]
#[allow(dead_code)]
mod witnesses;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use reeve_ledger::{Ledger, Net, NewRecord, Options, RealNet, Request, Status, TimeStamper, VerifyOptions, verify};
use reeve_record::Transport;
use witnesses::{Witness, python};

const ORIGIN: &str = "reeve.example/record";

/// Certificates: `ca.pem`, and `good`, `wrong-name`, `expired` and `unknown` with their keys.
fn certificates(python: &Path, folder: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/certificates.py");
    let made = Command::new(python).arg(script).arg(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// TLS before a plain server, until it is dropped.
struct Front {
    process: Child,
    url: String,
}

impl Front {
    fn new(python: &Path, certificate: PathBuf, inner: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tls.py");
        let mut command = Command::new(python);
        let mut process = command.arg(script).arg(certificate).arg(inner).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, url: format!("https://127.0.0.1:{}/", line.trim()) }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An authority that speaks plain HTTP, as long as the test runs; its address.
fn authority() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut request, mut part) = (Vec::new(), [0; 4096]);
            let body = loop {
                let Ok(read @ 1..) = stream.read(&mut part) else { break None };
                request.extend_from_slice(&part[..read]);
                let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
                let length: usize = head.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap().parse().unwrap();
                if request.len() >= end + 4 + length {
                    break Some(request[end + 4..].to_vec());
                }
            };
            let Some(body) = body else { continue };
            let reply = tsa::stamp(&body);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", reply.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&reply));
        }
    });
    address
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

#[test]
fn witness_and_authority_are_reached_over_tls() {
    let Some(python) = python() else { return };
    let scratch = tempfile::tempdir().unwrap();
    certificates(&python, scratch.path());
    let certificate = scratch.path().join("good.pem");
    let net = RealNet::trusting(&std::fs::read(scratch.path().join("ca.pem")).unwrap()).unwrap();
    let dir = scratch.path().join("ledger");
    let options = Options { epoch: Some(Duration::from_secs(3600)), net: Arc::new(net), ..Options::new(ORIGIN) };
    let key = Ledger::open(&dir, options.clone()).unwrap().verifier_key();
    let mut witness = Witness::new(&python, &scratch.path().join("w"), "w.example", &[key.to_string()]);
    witness.stop();
    witness.certificate = Some(certificate.clone());
    witness.start();
    assert!(witness.url.starts_with("https://"), "{}", witness.url);
    let policy = format!("log {key}\nwitness w {} {}\nquorum w\n", witness.vkey, witness.url).parse().unwrap();
    let front = Front::new(&python, certificate, &authority());
    let time_stampers = vec![TimeStamper::new("tsa", &front.url).unwrap()];
    let ledger = Ledger::open(&dir, Options { policy: Some(policy), time_stampers, ..options }).unwrap();
    ledger.append(vec![NewRecord::new("web1", Transport::File, "one")]).unwrap();
    ledger.seal_now().unwrap();
    wait_for(&ledger, "cosigned and stamped", |status| status.cosigned_segments == 1 && status.time_stamps[0].epoch == Some(0));
    drop(ledger);
    let report = verify(&dir, &VerifyOptions::default(), &mut |_| {}).unwrap();
    assert_eq!((report.faults.len(), report.time_stamps), (0, 1), "{:#?}", report.faults);
}

#[test]
fn a_certificate_that_is_not_good_is_refused_and_said_to_be() {
    let Some(python) = python() else { return };
    let scratch = tempfile::tempdir().unwrap();
    certificates(&python, scratch.path());
    let net = RealNet::trusting(&std::fs::read(scratch.path().join("ca.pem")).unwrap()).unwrap();
    let inner = authority();
    let ask = |net: &RealNet, certificate: &str, path: &str| {
        let front = Front::new(&python, scratch.path().join(format!("{certificate}.pem")), &inner);
        let url = format!("{}{path}", front.url);
        net.post(&Request { url: &url, headers: &[], body: &request(), limit: 1 << 16, patience: Duration::from_secs(10) })
    };
    assert_eq!(ask(&net, "good", "tsa").map(|answer| answer.status), Ok(200));
    for (certificate, said) in [
        ("wrong-name", ["elsewhere.example", "must be one of the names in its certificate"]),
        ("expired", ["certificate expired", "must renew its certificate"]),
        ("unknown", ["UnknownIssuer", "give the file of the authority"]),
    ] {
        let refused = ask(&net, certificate, "tsa").unwrap_err();
        assert!(said.iter().all(|part| refused.contains(part)), "{certificate}: {refused}");
    }
    let public = ask(&RealNet::default(), "good", "tsa").unwrap_err();
    assert!(public.contains("UnknownIssuer"), "no public authority made it: {public}");
}

/// A request as the ledger makes them.
fn request() -> Vec<u8> {
    let mut request = vec![0x30, 0x40, 2, 1, 1, 0x30, 0x31];
    request.extend([0; 0x31]);
    request.extend([2, 1, 7, 1, 1, 0xff]);
    request
}

#[test]
fn files_without_certificates_are_refused() {
    for (pem, said) in [
        ("", "no certificate"),
        ("nothing", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "cannot be read"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key"),
    ] {
        let refused = RealNet::trusting(pem.as_bytes()).err().unwrap_or_default();
        assert!(refused.contains(said), "{pem}: {refused}");
    }
}
