//! A real ledger to be mutated, with the keys to sign it anew, and the judges that look at it.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr, reason = "shared by tests that use different parts")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use jiff::Timestamp;
use reeve_ledger::{DisposalAuthority, EpochStatement, HoldScope, Ledger, NewHold, NewRecord, Options, Seal, prove, tree};
use reeve_record::{Certainty, EventTime, RecordId, Transport};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub mod rows;

pub const ORIGIN: &str = "reeve.example/record";

/// Repeatable chance.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn record(n: u32) -> NewRecord {
    let transport = Transport::ALL[n as usize % Transport::ALL.len()];
    let text = format!("Jan  5 09:12:{:02} web{} sshd[{n}]: Accepted publickey for ana from 192.0.2.{}", n % 60, n % 4, n % 250);
    let mut record = NewRecord::new(format!("web{}", n % 4), transport, text);
    if n.is_multiple_of(3) {
        let certainty =
            [Certainty::Exact, Certainty::ZoneInferred, Certainty::YearInferred, Certainty::Received][n as usize / 3 % 4];
        record.claimed =
            Some(EventTime { at: Timestamp::from_microsecond(1_767_604_364_000_000 + i64::from(n) * 977).unwrap(), certainty });
    }
    if n.is_multiple_of(50) {
        record.raw = (0..n % 700).map(|byte| (byte * 31) as u8).collect::<Vec<u8>>().into();
        record.policy = "m-21-31".into();
    }
    record
}

pub fn batch(from: u32, count: u32) -> Vec<NewRecord> {
    (from..from + count).map(record).collect()
}

/// Keys and ids that come out the same every time, and a time that stands still: a seed then names the very same mutants.
#[derive(Default)]
struct Chance(Mutex<u64>, AtomicI64);

impl reeve_ledger::Rng for Chance {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let mut dice = Dice(*state);
        bytes.fill_with(|| dice.next() as u8);
        *state = dice.0;
        Ok(())
    }
}

impl reeve_ledger::Clock for Chance {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(1_767_604_364_123_456 + self.1.load(Ordering::SeqCst)).unwrap()
    }

    fn elapsed(&self) -> Duration {
        reeve_ledger::SystemClock.elapsed()
    }
}

fn options(chance: Arc<Chance>) -> Options {
    let hour = Duration::from_secs(3600);
    Options { seal_after: hour, heartbeat: hour, epoch: Some(hour), clock: chance.clone(), rng: chance, ..Options::new(ORIGIN) }
}

/// Where scratch is cheap, since thousands of mutants are written.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A ledger as it lies on disk, and what its owner alone has.
pub struct Store {
    pub dir: tempfile::TempDir,
    /// All files but the lock and the signing key, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    pub key: SigningKey,
    pub vkey: String,
    /// Earlier checkpoints, oldest first.
    pub older: Vec<Vec<u8>>,
    /// Proofs with the bytes they are about.
    pub proofs: Vec<(String, Vec<u8>)>,
}

impl Store {
    /// Four sealed segments over three epochs: the first destroyed, the second redacted twice, the third with lost records. And a hold, and an unsealed rest.
    pub fn make() -> Self {
        let dir = scratch();
        let mut older = Vec::new();
        let mut note = |dir: &Path| older.push(fs::read(dir.join("log/checkpoint")).unwrap());
        let chance = Arc::new(Chance::default());
        let open = || Ledger::open(dir.path(), options(chance.clone())).unwrap();
        let ledger = open();
        ledger.append(batch(0, 40)).unwrap();
        ledger.seal_now().unwrap();
        note(dir.path());
        ledger.append(batch(40, 600)).unwrap();
        ledger.append(batch(640, 50)).unwrap();
        ledger.seal_now().unwrap();
        note(dir.path());
        drop(ledger);
        // The next checkpoint begins another key epoch.
        chance.1.store(7_200_000_000, Ordering::SeqCst);
        let ledger = open();
        for n in 0..3 {
            ledger.append(batch(1000 + 30 * n, 30)).unwrap();
        }
        drop(ledger);
        let wal = dir.path().join("wal/00000002.wal");
        let mut bytes = fs::read(&wal).unwrap();
        let at = bytes.windows(11).position(|window| window == b"sshd[1041]:").unwrap();
        bytes[at] ^= 1;
        fs::write(&wal, bytes).unwrap();
        let ledger = open();
        ledger.append(batch(2000, 25)).unwrap();
        ledger.seal_now().unwrap();
        for n in 0..3 {
            ledger.append(batch(3000 + 10 * n, 10)).unwrap();
        }
        let ids = [(0, 0), (0, 39), (1, 0), (1, 523), (1, 649), (2, 12), (2, 89), (3, 24)];
        let proofs = ids.map(|(segment, index)| {
            let id = RecordId { segment, index };
            (prove(dir.path(), id).unwrap(), ledger.get(id).unwrap().unwrap().raw.to_vec())
        });
        take_out(&ledger);
        drop(ledger);
        let stable = key_of(&fs::read_to_string(dir.path().join("keys/checkpoint.key")).unwrap());
        fs::create_dir_all(dir.path().join("log/stamps")).unwrap();
        let newest = fs::read_to_string(dir.path().join("log/checkpoint")).unwrap();
        for (name, content) in beside(&newest, 1) {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let files = read_files(dir.path());
        assert!(files.contains_key("wal/00000004.wal") && files.contains_key("segments/00000003.map"), "{:?}", files.keys());
        let vkey = String::from_utf8(files["keys/checkpoint.vkey"].clone()).unwrap();
        Self { dir, files, key: stable, vkey, older, proofs: proofs.into() }
    }

    /// Signed by the stable key.
    pub fn sign(&self, text: &str) -> String {
        format!("{text}\n{}", signature_line(ORIGIN, &self.key, text))
    }

    /// The entries under the checkpoint.
    pub fn entries(&self) -> Vec<Vec<u8>> {
        let bundles = self.files.iter().filter(|(name, _)| name.starts_with("log/tile/entries/"));
        let mut rest = &bundles.max_by_key(|(_, content)| content.len()).unwrap().1[..];
        let mut entries = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let (entry, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
            entries.push(entry.to_vec());
            rest = tail;
        }
        entries
    }

    /// The whole log anew over other entries, signed by the true key, by the key of the last epoch, and by the witness.
    pub fn reseal(&self, entries: &[Vec<u8>]) -> Changes {
        let tiles = self.files.keys().filter(|name| name.starts_with("log/tile/"));
        let mut changes: Changes = tiles.map(|name| (name.clone(), None)).collect();
        let hashes: Vec<_> = entries.iter().map(|entry| reeve_record::leaf_hash(entry)).collect();
        let bundle = entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat()).collect();
        if !entries.is_empty() {
            changes.insert(format!("log/tile/entries/000.p/{}", entries.len()), Some(bundle));
            changes.insert(format!("log/tile/0/000.p/{}", entries.len()), Some(hashes.concat()));
        }
        let epochs: Vec<EpochStatement> = entries.iter().filter_map(|entry| epoch(entry)).collect();
        let time = epochs.last().map_or_else(|| "2026-11-22T01:02:03".parse().unwrap(), |epoch| epoch.begins);
        let text = format!("{ORIGIN}\n{}\n{}\ntime {time:.6}\n", entries.len(), STANDARD.encode(tree::root(&hashes)));
        let mut note = self.sign(&text);
        if let Some(last) = epochs.last() {
            note.push_str(&signature_line(&format!("{ORIGIN}/epoch/{}", last.epoch), &epoch_key(last.epoch), &text));
            let root = verifier_key(&format!("{ORIGIN}/epoch/0"), 1, &epoch_key(0));
            changes.insert("keys/root.vkey".into(), Some(format!("{root}\n").into_bytes()));
        }
        changes.extend(beside(&note, epochs.last().map_or(0, |last| last.epoch)).map(|(name, content)| (name, Some(content))));
        changes.insert("log/checkpoint".into(), Some(note.into_bytes()));
        changes
    }

    /// Gives every epoch a key of ours, and makes it seal and sign what it should.
    pub fn mend_epochs(entries: &mut [Vec<u8>]) {
        for n in 0..entries.len() {
            let Some(mut next) = epoch(&entries[n]) else { continue };
            next.key = epoch_key(next.epoch).verifying_key().to_bytes();
            let root = tree::root(&entries[..n].iter().map(|entry| reeve_record::leaf_hash(entry)).collect::<Vec<_>>());
            next.seal = next.seal.map(|seal| Seal { size: n as u64, root, ..seal });
            if let (Some(_), Some(before)) = (&next.signature, next.epoch.checked_sub(1)) {
                let text = next.to_text();
                let signed = &text[..text.rfind("signature ").unwrap()];
                next.signature = Some(epoch_key(before).sign(signed.as_bytes()).to_bytes());
            }
            entries[n] = next.to_text().into_bytes();
        }
    }

    pub fn apply(&self, changes: &Changes) {
        for (name, content) in changes {
            let path = self.dir.path().join(name);
            match content {
                Some(content) => {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, content).unwrap();
                }
                None => _ = fs::remove_file(path),
            }
        }
    }

    pub fn restore(&self, changes: &Changes) {
        self.apply(&changes.keys().map(|name| (name.clone(), self.files.get(name).cloned())).collect());
    }
}

/// Destroys the first segment, redacts in the second, and holds the others.
fn take_out(ledger: &Ledger) {
    let authority = DisposalAuthority::new("ana", "ben", "a password in clear text", "GRS 3.2 item 030", "none").unwrap();
    let id = |segment, index| RecordId { segment, index };
    let scope = HoldScope { records: vec![(id(2, 0), id(3, 24))], ..HoldScope::default() };
    let [name, by, owner, reason] = ["case-17", "ana", "counsel", "Doe v. Agency"].map(String::from);
    let review = "2027-01-31T00:00:00Z".parse().unwrap();
    ledger.hold(&NewHold { name, by, owner, reason, review, scope }).unwrap();
    ledger.redact(&[id(1, 5), id(1, 6), id(1, 300)], &authority, &|_| None).unwrap();
    ledger.redact(&[id(1, 7)], &authority, &|_| None).unwrap();
    ledger.destroy(0, &authority, &|_| None).unwrap();
    assert_eq!(ledger.redact(&[id(2, 0)], &authority, &|_| None).unwrap_err().code(), "LEDGER-019");
}

fn epoch(entry: &[u8]) -> Option<EpochStatement> {
    EpochStatement::parse(std::str::from_utf8(entry).ok()?)
}

/// The keys of epochs made anew.
fn epoch_key(epoch: u64) -> SigningKey {
    SigningKey::from_bytes(&[100 + epoch as u8; 32])
}

fn witness_key() -> SigningKey {
    SigningKey::from_bytes(&[33; 32])
}

fn key_of(file: &str) -> SigningKey {
    let seed = STANDARD.decode(file.trim().splitn(5, '+').nth(4).unwrap()).unwrap();
    SigningKey::from_bytes(&seed[1..].try_into().unwrap())
}

fn key_id(name: &str, algorithm: u8, key: &SigningKey) -> [u8; 4] {
    let hash =
        Sha256::new().chain_update(name).chain_update([b'\n', algorithm]).chain_update(key.verifying_key().as_bytes()).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn verifier_key(name: &str, algorithm: u8, key: &SigningKey) -> String {
    let blob = [&[algorithm][..], key.verifying_key().as_bytes()].concat();
    format!("{name}+{}+{}", hex::encode(key_id(name, algorithm, key)), STANDARD.encode(blob))
}

fn signature_line(name: &str, key: &SigningKey, text: &str) -> String {
    let blob = [&key_id(name, 1, key)[..], &key.sign(text.as_bytes()).to_bytes()].concat();
    format!("— {name} {}\n", STANDARD.encode(blob))
}

/// What others say about a checkpoint: a policy of two witnesses, its cosignature by one of them, a time-stamp.
fn beside(note: &str, epoch: u64) -> [(String, Vec<u8>); 4] {
    let (name, key) = ("witness.example/w1", witness_key());
    let text = &note[..=note.rfind("\n\n").unwrap()];
    let seconds = 1_767_607_201u64;
    let signature = key.sign(format!("cosignature/v1\ntime {seconds}\n{text}").as_bytes()).to_bytes();
    let blob = [&key_id(name, 4, &key)[..], &seconds.to_be_bytes(), &signature].concat();
    let other = verifier_key("witness.example/w2", 4, &SigningKey::from_bytes(&[34; 32]));
    let policy = format!(
        "# who watches\nwitness w1 {} https://w1.example\nwitness w2 {other}\ngroup both 1 w1 w2\nquorum both\n",
        verifier_key(name, 4, &key)
    );
    [
        ("log/policy".into(), policy.into_bytes()),
        ("log/cosigned".into(), format!("{note}— {name} {}\n", STANDARD.encode(blob)).into_bytes()),
        (format!("log/stamps/{epoch:08}.note"), note.as_bytes().to_vec()),
        (format!("log/stamps/{epoch:08}.tsa.tsr"), time_stamp(note.as_bytes())),
    ]
}

/// A granted RFC 3161 response about these bytes, whose signature nobody here looks at.
fn time_stamp(bytes: &[u8]) -> Vec<u8> {
    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = content.len();
        let head = if length < 128 { vec![tag, length as u8] } else { vec![tag, 0x82, (length >> 8) as u8, length as u8] };
        // One byte of length where one is enough: DER has no other.
        let head = if (128..256).contains(&length) { vec![tag, 0x81, length as u8] } else { head };
        [head, content].concat()
    }
    let sha = der(0x30, &[&der(6, &[&hex::decode("608648016503040201").unwrap()]), &[5, 0]]);
    let imprint = der(0x30, &[&sha, &der(4, &[&Sha256::digest(bytes)])]);
    let info = der(0x30, &[&[2, 1, 1], &der(6, &[&[0x2a, 3, 4]]), &imprint, &[2, 1, 9], &der(0x18, &[b"20261122010203.5Z"])]);
    let inner = der(0x30, &[&der(6, &[&hex::decode("2a864886f70d0109100104").unwrap()]), &der(0xa0, &[&der(4, &[&info])])]);
    let signed = der(0x30, &[&[2, 1, 3], &der(0x31, &[&sha]), &inner, &der(0x31, &[])]);
    let token = der(0x30, &[&der(6, &[&hex::decode("2a864886f70d010702").unwrap()]), &der(0xa0, &[&signed])]);
    der(0x30, &[&der(0x30, &[&[2, 1, 0]]), &token])
}

/// File names and what they then hold; `None`: they are gone.
pub type Changes = BTreeMap<String, Option<Vec<u8>>>;

pub fn read_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name != "lock" && !name.ends_with(".key") {
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// Replaces the value of a statement's line.
pub fn with_line(entry: &[u8], name: &str, value: impl FnOnce(&str) -> String) -> Vec<u8> {
    let text = String::from_utf8(entry.to_vec()).unwrap();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap().to_owned();
    let changed = format!("{name} {}", value(&line[name.len() + 1..]));
    text.replacen(&format!("\n{line}\n"), &format!("\n{changed}\n"), 1).into_bytes()
}

pub fn file_hash(content: &[u8]) -> String {
    format!("{} {}", content.len(), STANDARD.encode(Sha256::digest(content)))
}

/// `witness/verify.py --batch`: one process for all questions.
pub struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

pub fn python_verifier() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../witness/verify.py")
}

/// The interpreter that has what verify.py needs; says so where there is none, and fails where tools are required.
pub fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/witness/venv/bin/python");
    let candidates = [std::env::var_os("REEVE_PYTHON").map(PathBuf::from), Some(own), Some("python3".into())];
    for python in candidates.into_iter().flatten() {
        let probe = Command::new(&python).args(["-c", "import cryptography, pyarrow.parquet"]).stderr(Stdio::null()).status();
        if probe.is_ok_and(|status| status.success()) {
            return Some(python);
        }
    }
    let required = std::env::var("REEVE_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    assert!(!required, "no Python with cryptography and pyarrow: run witness/install.sh");
    eprintln!("skipped: no Python with cryptography and pyarrow (witness/install.sh makes one)");
    None
}

impl Python {
    pub fn start() -> Option<Self> {
        let mut verify = Command::new(python()?);
        verify.arg(python_verifier()).arg("--batch").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = verify.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, input, output })
    }

    pub fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|_| json!({ "verdict": "crashed" }))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
