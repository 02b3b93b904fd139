//! A real ledger to be mutated, with the keys to sign it anew, and the judges that look at it.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr, reason = "shared by tests that use different parts")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use jiff::Timestamp;
use reeve_ledger::{Ledger, NewRecord, Options, prove, tree};
use reeve_record::{Certainty, EventTime, RecordId, Transport};
use serde_json::{Value, json};

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
    let transport = Transport::ALL[n as usize % 7];
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
struct Chance(Mutex<u64>);

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
        Timestamp::from_microsecond(1_767_604_364_123_456).unwrap()
    }

    fn elapsed(&self) -> Duration {
        reeve_ledger::SystemClock.elapsed()
    }
}

fn options(chance: Arc<Chance>) -> Options {
    let hour = Duration::from_secs(3600);
    Options { seal_after: hour, heartbeat: hour, clock: chance.clone(), rng: chance, ..Options::new(ORIGIN) }
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
    /// Four sealed segments over three epochs, one of them with lost records, and an unsealed rest.
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
        drop(ledger);
        let files = read_files(dir.path());
        assert!(files.contains_key("wal/00000004.wal") && files.contains_key("segments/00000003.map"), "{:?}", files.keys());
        let secret = fs::read_to_string(dir.path().join("keys/checkpoint.key")).unwrap();
        let seed = STANDARD.decode(secret.trim().splitn(5, '+').nth(4).unwrap()).unwrap();
        let vkey = String::from_utf8(files["keys/checkpoint.vkey"].clone()).unwrap();
        let key = SigningKey::from_bytes(&seed[1..].try_into().unwrap());
        Self { dir, files, key, vkey, older, proofs: proofs.into() }
    }

    pub fn sign(&self, text: &str) -> String {
        let id = self.vkey.split('+').nth(1).unwrap();
        let blob = [&hex::decode(id).unwrap()[..], &self.key.sign(text.as_bytes()).to_bytes()].concat();
        format!("{text}\n— {ORIGIN} {}\n", STANDARD.encode(blob))
    }

    pub fn checkpoint(&self, size: usize, root: &[u8; 32]) -> String {
        self.sign(&format!("{ORIGIN}\n{size}\n{}\ntime 2026-11-22T01:02:03.000000Z\n", STANDARD.encode(root)))
    }

    /// The entries under the checkpoint.
    pub fn entries(&self) -> Vec<Vec<u8>> {
        let mut rest = &self.files["log/tile/entries/000.p/4"][..];
        let mut entries = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let (entry, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
            entries.push(entry.to_vec());
            rest = tail;
        }
        entries
    }

    /// The whole log anew over other entries, signed by the true key.
    pub fn reseal(&self, entries: &[Vec<u8>]) -> Changes {
        let tiles = self.files.keys().filter(|name| name.starts_with("log/tile/"));
        let mut changes: Changes = tiles.map(|name| (name.clone(), None)).collect();
        let hashes: Vec<_> = entries.iter().map(|entry| reeve_record::leaf_hash(entry)).collect();
        let bundle = entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat()).collect();
        if !entries.is_empty() {
            changes.insert(format!("log/tile/entries/000.p/{}", entries.len()), Some(bundle));
            changes.insert(format!("log/tile/0/000.p/{}", entries.len()), Some(hashes.concat()));
        }
        changes.insert("log/checkpoint".into(), Some(self.checkpoint(entries.len(), &tree::root(&hashes)).into_bytes()));
        changes
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
    use sha2::{Digest, Sha256};
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
    let own = std::env::var_os("REEVE_WITNESS").map(PathBuf::from);
    let folder = own.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/witness"));
    for python in [folder.join("venv/bin/python"), "python3".into()] {
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
