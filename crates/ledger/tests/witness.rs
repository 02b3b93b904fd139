//! Witnesses that others run, as processes: a quorum, one that is away, an old backup, the ceremony after it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

#[path = "support/forge.rs"]
#[allow(dead_code)]
mod forge;
#[path = "support/witnesses.rs"]
mod witnesses;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use forge::{Forger, ORIGIN, entries_of};
use reeve_ledger::{
    Answer, ForkAuthority, Ledger, Net, NewRecord, Options, Policy, RealNet, Report, Request, Status, Trust, VerifierKey,
    VerifyOptions, prove, verify, verify_proof,
};
use reeve_record::{RecordId, Transport};
use witnesses::{Witness, python};

fn batch(n: u32) -> Vec<NewRecord> {
    vec![NewRecord::new("web1", Transport::File, format!("record {n}"))]
}

fn options() -> Options {
    Options { epoch: Some(Duration::from_secs(3600)), ..Options::new(ORIGIN) }
}

/// A ledger folder with `count` witnesses, of which `quorum` must cosign.
struct House {
    scratch: tempfile::TempDir,
    witnesses: Vec<Witness>,
    policy: Policy,
    key: VerifierKey,
}

impl House {
    fn new(python: &Path, count: usize, quorum: usize) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("ledger");
        let key = Ledger::open(&dir, options()).unwrap().verifier_key();
        let make =
            |n: usize| Witness::new(python, &scratch.path().join(format!("w{n}")), &format!("w{n}.example"), &[key.to_string()]);
        let witnesses: Vec<Witness> = (0..count).map(make).collect();
        let mut text = format!("log {key}\n");
        for (n, witness) in witnesses.iter().enumerate() {
            text.push_str(&format!("witness w{n} {} {}\n", witness.vkey, witness.url));
        }
        let names: String = (0..count).map(|n| format!(" w{n}")).collect();
        text.push_str(&format!("group all {quorum}{names}\nquorum all\n"));
        Self { policy: text.parse().unwrap(), scratch, witnesses, key }
    }

    fn dir(&self) -> PathBuf {
        self.scratch.path().join("ledger")
    }

    fn options(&self) -> Options {
        let patience = Duration::from_secs(3);
        Options { policy: Some(self.policy.clone()), witness_patience: patience, ..options() }
    }

    fn open(&self) -> Ledger {
        Ledger::open(&self.dir(), self.options()).unwrap()
    }

    fn report(&self, forks: &[reeve_record::Hash]) -> Report {
        let options = VerifyOptions { policy: Some(self.policy.clone()), forks: forks.to_vec(), ..VerifyOptions::default() };
        verify(&self.dir(), &options, &mut |_| {}).unwrap()
    }
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.faults.iter().map(|fault| fault.code).collect()
}

/// Waits until the status is as wanted.
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

fn all_cosigned(status: &Status) -> bool {
    let size = |checkpoint: &Option<reeve_ledger::CheckpointStatus>| checkpoint.as_ref().map(|checkpoint| checkpoint.size);
    status.segments > 0 && size(&status.cosigned) == size(&status.last_checkpoint) && status.cosigned_segments == status.segments
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            _ = fs::copy(entry.path(), target).unwrap()
        }
    }
}

#[test]
fn two_of_three_are_a_quorum_and_proofs_carry_it() {
    let Some(python) = python() else { return };
    let mut house = House::new(&python, 3, 2);
    let ledger = house.open();
    let id = ledger.append(batch(0)).unwrap()[0];
    ledger.seal_now().unwrap();
    let status = wait_for(&ledger, "cosigned by all", |status| {
        all_cosigned(status) && status.witnesses.iter().all(|witness| witness.cosigned_size == Some(2))
    });
    assert!(ledger.is_cosigned(id) && status.witnesses.iter().all(|witness| witness.last_error.is_none()), "{status:#?}");

    // One away: the quorum is reached without it, and the status says why it is not asked.
    house.witnesses[1].stop();
    for n in 1..4 {
        ledger.append(batch(n)).unwrap();
        ledger.seal_now().unwrap();
    }
    wait_for(&ledger, "cosigned by two", all_cosigned);
    let status = wait_for(&ledger, "aware of the third", |status| status.witnesses[1].last_error.is_some());
    assert!(status.witnesses[1].last_error.as_ref().unwrap().contains("no answer"), "{status:#?}");
    assert!(house.report(&[]).is_intact(), "{:#?}", house.report(&[]).faults);

    // Two away: nothing that is acknowledged waits, nothing is lost, and verify names what is not under a quorum.
    house.witnesses[2].stop();
    let asked = Instant::now();
    let late = ledger.append(batch(4)).unwrap()[0];
    assert!(asked.elapsed() < Duration::from_secs(2));
    ledger.seal_now().unwrap();
    assert!(ledger.is_sealed(late) && !ledger.is_cosigned(late));
    let report = house.report(&[]);
    assert_eq!(codes(&report), ["LEDGER-033"], "{:#?}", report.faults);
    assert_eq!(report.faults[0].records.iter().map(ToString::to_string).collect::<Vec<_>>(), ["4-0"]);

    // Back again: it is caught up on by itself, with a proof that leads from where each of them stood.
    house.witnesses[1].start();
    house.witnesses[2].start();
    wait_for(&ledger, "caught up", all_cosigned);
    assert!(ledger.is_cosigned(late));
    let report = house.report(&[]);
    assert_eq!((report.faults.len(), report.cosigned_size), (0, Some(6)), "{:#?}", report.faults);

    let proof = prove(&house.dir(), late).unwrap();
    let trust = Trust { key: &house.key, policy: Some(&house.policy) };
    let proven = verify_proof(&proof, b"record 4", trust).unwrap();
    assert!(proven.witnesses.len() >= 2, "{:?}", proven.witnesses);
    let lines: Vec<&str> = proof.split_inclusive('\n').collect();
    let alone: String = lines.iter().filter(|line| !line.starts_with("\u{2014} w")).copied().collect();
    let error = verify_proof(&alone, b"record 4", trust).unwrap_err();
    assert!(error.to_string().contains("cosigned by nobody"), "{error}");
    assert!(verify_proof(&alone, b"record 4", &house.key).is_ok(), "the log's own word is still good");
}

#[test]
fn a_restored_backup_is_not_signed_until_two_people_and_the_witness_agree() {
    let Some(python) = python() else { return };
    let mut house = House::new(&python, 1, 1);
    let dir = house.dir();
    let backup = house.scratch.path().join("backup");
    {
        let ledger = house.open();
        ledger.append(batch(0)).unwrap();
        ledger.seal_now().unwrap();
        wait_for(&ledger, "cosigned", all_cosigned);
        drop(ledger);
        copy(&dir, &backup);
        let ledger = house.open();
        for n in 1..4 {
            ledger.append(batch(n)).unwrap();
            ledger.seal_now().unwrap();
        }
        wait_for(&ledger, "cosigned", all_cosigned);
    }
    fs::remove_dir_all(&dir).unwrap();
    copy(&backup, &dir);
    let checkpoint = fs::read(dir.join("log/checkpoint")).unwrap();
    let ledger = house.open();
    let id = ledger.append(batch(10)).unwrap()[0];
    let error = ledger.seal_now().unwrap_err();
    assert_eq!(error.code(), "LEDGER-015", "{error}");
    assert!(error.to_string().contains("5 entries") && error.to_string().contains("reeve ledger fork"), "{error}");
    assert!(!ledger.is_sealed(id) && ledger.get(id).unwrap().is_some(), "durable, and not sealed");
    assert_eq!(fs::read(dir.join("log/checkpoint")).unwrap(), checkpoint, "nothing was signed");
    drop(ledger);

    // A restart that cannot reach the witness, even one that is told of no policy, still knows.
    house.witnesses[0].stop();
    let ledger = Ledger::open(&dir, Options { witness_patience: Duration::from_millis(100), ..options() }).unwrap();
    assert_eq!(ledger.seal_now().unwrap_err().code(), "LEDGER-015");
    let authority = ForkAuthority::new("ana", "ben", "the disk failed; restored from the backup of 4 January").unwrap();
    let fork = ledger.fork(&authority).unwrap();
    assert_eq!((fork.size, fork.lost, fork.requester.as_str(), fork.approver.as_str()), (2, 5, "ana", "ben"));
    assert_eq!(ledger.fork(&authority).unwrap_err().code(), "LEDGER-017", "once is enough");
    ledger.seal_now().unwrap();
    assert!(ledger.is_sealed(id));
    drop(ledger);
    assert!(codes(&house.report(&[])).contains(&"LEDGER-031"), "who was not told of the fork sees it");
    assert_eq!(codes(&house.report(&[fork.leaf_hash()])), ["LEDGER-033"]);

    // The witness does not go back by itself, only by its operator's hand, and remembers that.
    house.witnesses[0].start();
    let ledger = house.open();
    ledger.seal_now().unwrap();
    let status = wait_for(&ledger, "refused", |status| status.witnesses[0].last_error.is_some());
    assert!(status.witnesses[0].last_error.as_ref().unwrap().contains("5 entries"), "{status:#?}");
    house.witnesses[0].stop();
    let back = house.witnesses[0].roll_back(ORIGIN, fork.size, &STANDARD.encode(fork.root));
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    assert!(fs::read_to_string(house.witnesses[0].folder.join("state/history")).unwrap().contains("told by ana and ben"));
    house.witnesses[0].start();
    wait_for(&ledger, "cosigned again", all_cosigned);
    drop(ledger);
    let report = house.report(&[fork.leaf_hash()]);
    assert_eq!((report.faults.len(), report.forks.len()), (0, 1), "{:#?}", report.faults);
}

/// Somebody with all keys of the folder writes another last hour. Its own keys say nothing against it; the witness does.
#[test]
fn a_log_rewritten_with_its_own_keys_is_caught_by_the_witness() {
    let Some(python) = python() else { return };
    let house = House::new(&python, 1, 1);
    let dir = house.dir();
    {
        let ledger = house.open();
        for n in 0..3 {
            ledger.append(batch(n)).unwrap();
            ledger.seal_now().unwrap();
        }
        wait_for(&ledger, "cosigned", all_cosigned);
    }
    let time = fs::read_to_string(dir.join("log/checkpoint")).unwrap();
    let time = time.lines().nth(3).unwrap().strip_prefix("time ").unwrap().to_owned();
    let mut entries = entries_of(&dir);
    let forger = Forger::with_keys_of(&dir);
    let own_word = |dir: &Path| {
        let _ = fs::rename(dir.join("log/policy"), dir.join("policy-away"));
        let cosigned = fs::rename(dir.join("log/cosigned"), dir.join("cosigned-away"));
        let report = verify(dir, &VerifyOptions::default(), &mut |_| {}).unwrap();
        fs::rename(dir.join("policy-away"), dir.join("log/policy")).unwrap();
        if cosigned.is_ok() {
            fs::rename(dir.join("cosigned-away"), dir.join("log/cosigned")).unwrap();
        }
        report
    };
    // The last batch is dropped, and the two before stay.
    entries.pop();
    fs::remove_file(dir.join("segments/00000002.parquet")).unwrap();
    fs::remove_file(dir.join("segments/00000002.map")).unwrap();
    forger.write_log(&dir, &entries, &time);
    assert_eq!(codes(&own_word(&dir)), [] as [&str; 0]);
    assert_eq!(codes(&house.report(&[])), ["LEDGER-032"]);

    // Grown past the size the witness saw, with other content: the witness does not find its tree in it.
    let ledger = Ledger::open(&dir, Options { policy: Some("quorum none\n".parse().unwrap()), ..options() }).unwrap();
    for n in 20..25 {
        ledger.append(batch(n)).unwrap();
        ledger.seal_now().unwrap();
    }
    drop(ledger);
    let ledger = house.open();
    let status = wait_for(&ledger, "refused", |status| status.witnesses[0].last_error.is_some());
    assert!(status.witnesses[0].last_error.as_ref().unwrap().contains("another log of 4 entries"), "{status:#?}");
    ledger.append(batch(30)).unwrap();
    assert_eq!(ledger.seal_now().unwrap_err().code(), "LEDGER-015");
    drop(ledger);
    assert!(codes(&house.report(&[])).contains(&"LEDGER-032"));
}

type Answering = fn(Answer) -> Result<Answer, String>;

/// Answers that are wrong in every way a network or a bad server can make them.
struct Liar {
    answer: Box<dyn Fn(Answer) -> Result<Answer, String> + Send + Sync>,
}

impl Net for Liar {
    fn post(&self, request: &Request<'_>) -> Result<Answer, String> {
        (self.answer)(RealNet::default().post(request)?)
    }
}

#[test]
fn what_is_not_the_witnesses_own_cosignature_does_not_count() {
    let Some(python) = python() else { return };
    let house = House::new(&python, 1, 1);
    let cases: [(&str, &str, Answering); 6] = [
        ("a flipped bit", "answered 200", |mut answer| {
            let middle = answer.body.len() - 20;
            answer.body[middle] ^= 1;
            Ok(answer)
        }),
        ("nothing", "no cosignature", |answer| Ok(Answer { body: Vec::new(), ..answer })),
        ("another status", "500", |answer| Ok(Answer { status: 500, ..answer })),
        ("a size without its type", "409", |answer| Ok(Answer { status: 409, body: b"3\n".to_vec(), ..answer })),
        ("no number", "no number", |_| {
            Ok(Answer { status: 409, content_type: "text/x.tlog.size".into(), body: b"03\n".to_vec() })
        }),
        ("no answer", "cut", |_| Err("the line was cut".into())),
    ];
    for (what, said, answer) in cases {
        let net = Liar { answer: Box::new(move |honest| if honest.status == 200 { answer(honest) } else { Ok(honest) }) };
        let patience = Duration::from_millis(500);
        let ledger =
            Ledger::open(&house.dir(), Options { net: Arc::new(net), witness_patience: patience, ..house.options() }).unwrap();
        ledger.append(batch(0)).unwrap();
        ledger.seal_now().unwrap();
        let status = wait_for(&ledger, what, |status| status.witnesses[0].last_error.is_some());
        let error = status.witnesses[0].last_error.clone().unwrap();
        assert!(error.contains(said), "{what}: {error}");
        assert!(status.cosigned.is_none(), "{what}");
    }
    let ledger = house.open();
    ledger.seal_now().unwrap();
    wait_for(&ledger, "cosigned after all", all_cosigned);
    assert!(
        verify_proof(
            &prove(&house.dir(), RecordId::default()).unwrap(),
            b"record 0",
            Trust { key: &house.key, policy: Some(&house.policy) }
        )
        .is_ok()
    );
}

/// The witness's own rules, each broken once by hand.
#[test]
fn the_witness_refuses_what_it_should() {
    let Some(python) = python() else { return };
    let house = House::new(&python, 1, 1);
    let ledger = house.open();
    for n in 0..3 {
        ledger.append(batch(n)).unwrap();
        ledger.seal_now().unwrap();
    }
    wait_for(&ledger, "cosigned", all_cosigned);
    drop(ledger);
    let note = fs::read_to_string(house.dir().join("log/checkpoint")).unwrap();
    let url = format!("{}/add-checkpoint", house.witnesses[0].url);
    let ask = |body: String| {
        let (headers, patience) = (&[("Content-Type", "text/plain")], Duration::from_secs(10));
        let request = Request { url: &url, headers, body: body.as_bytes(), limit: 1 << 16, patience };
        RealNet::default().post(&request).unwrap()
    };
    let zeros = STANDARD.encode([0; 32]);
    let other = note.replacen("/record\n4\n", "/other\n4\n", 1);
    let flipped = note.replacen("time 2", "time 1", 1);
    let unsigned: String =
        note.split_inclusive('\n').filter(|line| !line.starts_with("\u{2014} reeve.example/record ")).collect();
    for (what, status, body) in [
        ("as it is", 200, format!("old 4\n\n{note}")),
        ("from a size it has not", 409, format!("old 3\n\n{note}")),
        ("from a size above", 400, format!("old 5\n\n{note}")),
        ("a proof where none belongs", 422, format!("old 4\n{zeros}\n\n{note}")),
        ("leading zero", 400, format!("old 04\n\n{note}")),
        ("no empty line", 400, format!("old 4\n{note}")),
        ("a hash of 31 bytes", 400, format!("old 4\n{}\n\n{note}", STANDARD.encode([0; 31]))),
        ("64 hashes", 400, format!("old 4\n{}\n{note}", format!("{zeros}\n").repeat(64))),
        ("an unknown log", 404, format!("old 4\n\n{other}")),
        ("an altered text", 403, format!("old 4\n\n{flipped}")),
        ("only the epoch's signature", 403, format!("old 4\n\n{unsigned}")),
        ("rubbish", 400, "\u{1}".into()),
    ] {
        let answer = ask(body);
        assert_eq!(answer.status, status, "{what}: {}", String::from_utf8_lossy(&answer.body));
        if status == 409 {
            assert_eq!((answer.content_type.as_str(), &answer.body[..]), ("text/x.tlog.size", &b"4\n"[..]));
        }
    }
    // The same size with another root, signed by the log's own keys: evidence against the log, which the witness keeps.
    let entries = entries_of(&house.dir());
    let altered: Vec<String> = entries.iter().map(|entry| entry.replace("records 1\n", "records 2\n")).collect();
    let time = note.lines().nth(3).unwrap().strip_prefix("time ").unwrap().to_owned();
    Forger::with_keys_of(&house.dir()).write_log(&house.dir(), &altered, &time);
    let forged = fs::read_to_string(house.dir().join("log/checkpoint")).unwrap();
    assert_eq!(ask(format!("old 4\n\n{forged}")).status, 422);
    let history = fs::read_to_string(house.witnesses[0].folder.join("state/history")).unwrap();
    assert!(history.contains("another root of the same size"), "{history}");
}
