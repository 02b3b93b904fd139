//! Attacks on a sealed store by somebody with root on its machine, and what catches each of them, offline.
//!
//! Each attack names the weakest evidence that catches it; that weaker evidence does not is asserted too, so that nobody trusts a store alone for more
//! than it can show. `Own`: nothing but the folder. `Key`: the public key, noted when the ledger was made. `Root`: that of the first key epoch too.
//! `Checkpoint`: one signed checkpoint that was kept elsewhere, as it is in every proof. The attacker has every key on the machine.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use reeve_ledger::{Ledger, NewRecord, Options, Report, Statement, VerifierKey, VerifyOptions, tree, verify};
use reeve_record::{Transport, leaf_hash};
use sha2::{Digest, Sha256};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Evidence {
    Own,
    Key,
    Root,
    Checkpoint,
}
use Evidence::{Checkpoint, Key, Own, Root};

type Attack = (&'static str, Evidence, fn(&Store));

/// A folder under attack, and what its rightful owner has elsewhere.
struct Store {
    _temporary: tempfile::TempDir,
    dir: PathBuf,
    /// A copy of the folder from when it had two sealed segments.
    older: PathBuf,
}

/// What was kept elsewhere.
struct Kept {
    key: VerifierKey,
    root: VerifierKey,
    /// From when the log covered three of its four segments.
    checkpoint: String,
}

const ORIGIN: &str = "reeve.example/record";
/// Records a segment.
const RECORDS: usize = 6;

fn raw(segment: usize, index: usize) -> String {
    format!("segment {segment} record {index}: ana opened case {}", segment * 31 + index)
}

/// Records of one segment, by source.
type Batch = Vec<(String, String)>;

fn batch(segment: usize) -> Batch {
    (0..RECORDS).map(|index| (format!("host{}", index % 2), raw(segment, index))).collect()
}

fn append(ledger: &Ledger, batch: Batch) {
    let records = batch.into_iter().map(|(source, raw)| NewRecord::new(source, Transport::SyslogTcp, raw)).collect();
    ledger.append(records).unwrap();
}

/// Four sealed segments, and a fifth that is only in the write-ahead log, in two groups.
fn build(root: &Path) -> Kept {
    let dir = root.join("ledger");
    let ledger = Ledger::open(&dir, options()).unwrap();
    let mut checkpoint = String::new();
    for segment in 0..4 {
        append(&ledger, batch(segment));
        ledger.seal_now().unwrap();
        match segment {
            1 => copy(&dir, &root.join("older")),
            2 => checkpoint = ledger.checkpoint().unwrap(),
            _ => {}
        }
    }
    append(&ledger, batch(4));
    append(&ledger, batch(5));
    append(&ledger, batch(6));
    let root = VerifierKey::parse(fs::read_to_string(dir.join("keys/root.vkey")).unwrap().trim()).unwrap();
    Kept { key: ledger.verifier_key(), root, checkpoint }
}

/// Keys live for an hour: longer than the test.
fn options() -> Options {
    Options { epoch: Some(Duration::from_secs(3600)), ..Options::new(ORIGIN) }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { _ = fs::copy(entry.path(), target).unwrap() }
    }
}

impl Store {
    fn new(root: &Path) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        copy(root, temporary.path());
        Self { dir: temporary.path().join("ledger"), older: temporary.path().join("older"), _temporary: temporary }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn segment(&self, segment: u32) -> PathBuf {
        self.path(&format!("segments/{segment:08}.parquet"))
    }

    fn map(&self, segment: u32) -> PathBuf {
        self.path(&format!("segments/{segment:08}.map"))
    }

    fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        edit_file(&self.path(name), edit);
    }

    fn edit_segment(&self, segment: u32, edit: impl FnOnce(&mut Vec<u8>)) {
        edit_file(&self.segment(segment), edit);
    }

    fn edit_text(&self, name: &str, edit: impl FnOnce(String) -> String) {
        let path = self.path(name);
        let text = fs::read_to_string(&path).unwrap();
        let edited = edit(text.clone());
        assert_ne!(edited, text, "the attack does something");
        fs::write(path, edited).unwrap();
    }

    /// Entries under the checkpoint, as text.
    fn entries(&self) -> Vec<String> {
        entries(&self.dir)
    }

    /// Writes tiles and bundle for `entries`; the checkpoint stays.
    fn write_tiles(&self, entries: &[String]) {
        let tile = self.path("log/tile");
        fs::remove_dir_all(&tile).unwrap();
        let bundle: Vec<u8> =
            entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry.as_bytes()].concat()).collect();
        let hashes: Vec<u8> = entries.iter().flat_map(|entry| leaf_hash(entry.as_bytes())).collect();
        for (kind, content) in [("entries", bundle), ("0", hashes)] {
            fs::create_dir_all(tile.join(format!("{kind}/000.p"))).unwrap();
            fs::write(tile.join(format!("{kind}/000.p/{}", entries.len())), content).unwrap();
        }
    }

    /// Writes the log anew over `entries`, under a checkpoint signed with the keys in the folder.
    fn sign_log(&self, entries: &[String]) {
        self.sign_log_at(entries, &self.checkpoint_lines()[3]);
    }

    fn sign_log_at(&self, entries: &[String], time: &str) {
        self.write_tiles(entries);
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry.as_bytes())).collect();
        let root = STANDARD.encode(tree::root(&leaves));
        self.sign(&format!("{ORIGIN}\n{}\n{root}\n{time}\n", entries.len()));
    }

    fn checkpoint_lines(&self) -> Vec<String> {
        fs::read_to_string(self.path("log/checkpoint")).unwrap().lines().map(str::to_owned).collect()
    }

    /// Signs a checkpoint text with every signing key in the folder.
    fn sign(&self, text: &str) {
        let mut note = format!("{text}\n");
        for (name, key) in signing_keys(&self.dir) {
            let blob = [&key_id(&name, &key)[..], &key.sign(text.as_bytes()).to_bytes()].concat();
            note.push_str(&format!("— {name} {}\n", STANDARD.encode(blob)));
        }
        fs::write(self.path("log/checkpoint"), note).unwrap();
    }

    /// Changes one batch statement of the log and nothing else.
    fn edit_statement(&self, segment: usize, edit: impl FnOnce(String) -> String) {
        let entries = edited(self.entries(), segment, edit);
        self.write_tiles(&entries);
    }

    /// Changes one batch statement, and signs the log that comes of it.
    fn sign_statement(&self, segment: usize, edit: impl FnOnce(String) -> String) {
        self.sign_log(&edited(self.entries(), segment, edit));
    }

    /// Puts the attacker's own key pair in the place of the ledger's.
    fn replace_key(&self) {
        let key = SigningKey::from_bytes(&[66; 32]);
        let (id, seed) = (hex::encode(key_id(ORIGIN, &key)), [&[1][..], &key.to_bytes()].concat());
        let public = [&[1][..], key.verifying_key().as_bytes()].concat();
        fs::write(self.path("keys/checkpoint.key"), format!("PRIVATE+KEY+{ORIGIN}+{id}+{}\n", STANDARD.encode(seed))).unwrap();
        fs::write(self.path("keys/checkpoint.vkey"), format!("{ORIGIN}+{id}+{}\n", STANDARD.encode(public))).unwrap();
    }

    /// The ledger as it would be had it been given other records, made by Reeve itself with the keys in the folder.
    fn forge(&self, segments: Vec<Batch>) {
        let forged = self.dir.with_extension("forged");
        copy(&self.path("keys"), &forged.join("keys"));
        let ledger = Ledger::open(&forged, options()).unwrap();
        for batch in segments {
            append(&ledger, batch);
            ledger.seal_now().unwrap();
        }
        drop(ledger);
        fs::remove_dir_all(&self.dir).unwrap();
        fs::rename(forged, &self.dir).unwrap();
    }

    /// What the folder holds, changed, and put under its own log by the keys of the day: the epoch goes on as if nothing had been.
    fn forge_within_epoch(&self, edit: impl FnOnce(&mut Vec<Batch>)) {
        let other = Store::new(self.dir.parent().unwrap());
        other.forge_edited(edit);
        let is_batch = |entry: &String| Statement::parse(entry).is_some();
        let (kept, forged) =
            (self.entries().into_iter().filter(|entry| !is_batch(entry)), other.entries().into_iter().filter(is_batch));
        let entries: Vec<String> = kept.chain(forged).collect();
        for folder in ["segments", "wal"] {
            fs::remove_dir_all(self.path(folder)).unwrap();
            copy(&other.path(folder), &self.path(folder));
        }
        self.sign_log_at(&entries, &other.checkpoint_lines()[3]);
    }

    /// What the folder holds, changed, and forged.
    fn forge_edited(&self, edit: impl FnOnce(&mut Vec<Batch>)) {
        let mut segments: Vec<Batch> = (0..4).map(batch).collect();
        edit(&mut segments);
        self.forge(segments);
    }

    fn report(&self, kept: &Kept, evidence: Evidence) -> Report {
        let options = VerifyOptions {
            key: (evidence >= Key).then(|| kept.key.clone()),
            root: (evidence >= Root).then(|| kept.root.clone()),
            against: if evidence >= Checkpoint { vec![kept.checkpoint.clone()] } else { Vec::new() },
            ..VerifyOptions::default()
        };
        verify(&self.dir, &options, &mut |_| {}).unwrap()
    }
}

fn edit_file(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let whole = fs::read(path).unwrap();
    let mut edited = whole.clone();
    edit(&mut edited);
    assert_ne!(edited, whole, "the attack does something");
    fs::write(path, edited).unwrap();
}

fn entries(dir: &Path) -> Vec<String> {
    let size: usize = fs::read_to_string(dir.join("log/checkpoint")).unwrap().lines().nth(1).unwrap().parse().unwrap();
    let bundle = fs::read(dir.join(format!("log/tile/entries/000.p/{size}"))).unwrap();
    let mut rest = &bundle[..];
    let mut entries = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let (entry, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
        entries.push(String::from_utf8(entry.to_vec()).unwrap());
        rest = tail;
    }
    entries
}

/// Where in the log the statement of `segment` is: there are other entries too.
fn position(entries: &[String], segment: usize) -> usize {
    entries.iter().position(|entry| Statement::parse(entry).is_some_and(|batch| batch.segment as usize == segment)).unwrap()
}

fn edited(mut entries: Vec<String>, segment: usize, edit: impl FnOnce(String) -> String) -> Vec<String> {
    let at = position(&entries, segment);
    let before = entries[at].clone();
    entries[at] = edit(before.clone());
    assert_ne!(entries[at], before, "the attack does something");
    entries
}

/// The line of a statement that begins with `field`, with other content.
fn set(statement: String, field: &str, value: &str) -> String {
    let line = statement.lines().find(|line| line.starts_with(&format!("{field} "))).unwrap().to_owned();
    statement.replace(&line, &format!("{field} {value}"))
}

fn field(statement: &str, field: &str) -> String {
    statement.lines().find_map(|line| line.strip_prefix(&format!("{field} "))).unwrap().to_owned()
}

fn file_line(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    format!("{} {}", bytes.len(), STANDARD.encode(Sha256::digest(&bytes)))
}

fn zeros() -> String {
    STANDARD.encode([0; 32])
}

fn key_id(name: &str, key: &SigningKey) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update([0x0a, 1]).chain_update(key.verifying_key().as_bytes()).finalize();
    hash[..4].try_into().unwrap()
}

/// Every signing key that lies on the machine, by name: what root has.
fn signing_keys(dir: &Path) -> BTreeMap<String, SigningKey> {
    let mut keys = BTreeMap::new();
    for entry in fs::read_dir(dir.join("keys")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let Some(rest) = text.lines().next().and_then(|line| line.strip_prefix("PRIVATE+KEY+")) else { continue };
        let fields: Vec<&str> = rest.splitn(3, '+').collect();
        let seed = STANDARD.decode(fields[2].trim()).unwrap();
        keys.insert(fields[0].to_owned(), SigningKey::from_bytes(&seed[1..].try_into().unwrap()));
    }
    keys
}

/// Attacks on files alone: whoever looks at the folder sees them.
const FILES: &[Attack] = &[
    ("delete a segment", Own, |s| fs::remove_file(s.segment(1)).unwrap()),
    ("delete the last segment", Own, |s| fs::remove_file(s.segment(3)).unwrap()),
    ("delete a map", Own, |s| fs::remove_file(s.map(1)).unwrap()),
    ("delete the checkpoint", Own, |s| fs::remove_file(s.path("log/checkpoint")).unwrap()),
    ("delete the log", Own, |s| fs::remove_dir_all(s.path("log")).unwrap()),
    ("delete the entries", Own, |s| fs::remove_dir_all(s.path("log/tile/entries")).unwrap()),
    ("delete the hashes", Own, |s| fs::remove_dir_all(s.path("log/tile/0")).unwrap()),
    ("delete the public key", Own, |s| fs::remove_file(s.path("keys/checkpoint.vkey")).unwrap()),
    ("cut a segment", Own, |s| s.edit_segment(2, |bytes| bytes.truncate(bytes.len() / 2))),
    ("empty a segment", Own, |s| s.edit_segment(2, Vec::clear)),
    ("add to a segment", Own, |s| s.edit_segment(2, |bytes| bytes.push(0))),
    ("swap two segments", Own, |s| {
        fs::rename(s.segment(0), s.path("x")).unwrap();
        fs::rename(s.segment(1), s.segment(0)).unwrap();
        fs::rename(s.path("x"), s.segment(1)).unwrap();
    }),
    ("swap two segments with their maps", Own, |s| {
        for pair in [[s.segment(0), s.segment(1)], [s.map(0), s.map(1)]] {
            fs::rename(&pair[0], s.path("x")).unwrap();
            fs::rename(&pair[1], &pair[0]).unwrap();
            fs::rename(s.path("x"), &pair[1]).unwrap();
        }
    }),
    ("put an old segment in a newer one's place", Own, |s| _ = fs::copy(s.segment(0), s.segment(3)).unwrap()),
    ("swap maps", Own, |s| _ = fs::copy(s.map(0), s.map(1)).unwrap()),
    ("alter the map", Own, |s| edit_file(&s.map(1), |bytes| bytes[40] ^= 1)),
    ("empty the map", Own, |s| edit_file(&s.map(1), Vec::clear)),
    ("flip a bit of a record", Own, |s| s.edit_segment(1, |bytes| bytes[100] ^= 1)),
    ("zero a stretch of records", Own, |s| s.edit_segment(1, |bytes| bytes[4..200].fill(0))),
    ("alter the footer", Own, |s| {
        s.edit_segment(1, |bytes| {
            let at = bytes.len() - 20;
            bytes[at] ^= 1;
        })
    }),
    ("put in a segment Reeve made of other records", Own, |s| {
        let other = Store::new(s.dir.parent().unwrap());
        other.forge_edited(|segments| segments[1][2].1 = "nothing happened".into());
        fs::copy(other.segment(1), s.segment(1)).unwrap();
        fs::copy(other.map(1), s.map(1)).unwrap();
    }),
    ("flip a bit of a record that is not sealed yet", Own, |s| s.edit("wal/00000004.wal", |bytes| bytes[4096 + 200] ^= 1)),
    ("take a group out of the write-ahead log", Own, |s| s.edit("wal/00000004.wal", |bytes| bytes[4096..4096 + 300].fill(0))),
    ("spoil both heads of the write-ahead log", Own, |s| s.edit("wal/00000004.wal", |bytes| bytes[..4096].fill(0))),
];

/// Attacks on the log without its key.
const LOG: &[Attack] = &[
    ("drop the last statement", Own, |s| {
        let entries = s.entries();
        s.write_tiles(&entries[..entries.len() - 1]);
    }),
    ("add a statement", Own, |s| {
        let entries = s.entries();
        s.write_tiles(&[&entries[..], &[entries.last().unwrap().replace("segment 3", "segment 4")]].concat());
        s.edit_text("log/checkpoint", |text| {
            text.replace(&format!("\n{}\n", entries.len()), &format!("\n{}\n", entries.len() + 1))
        });
    }),
    ("swap two statements", Own, |s| {
        let mut entries = s.entries();
        let (a, b) = (position(&entries, 1), position(&entries, 2));
        entries.swap(a, b);
        s.write_tiles(&entries);
    }),
    ("say a statement twice", Own, |s| {
        let mut entries = s.entries();
        let (a, b) = (position(&entries, 1), position(&entries, 2));
        entries[b] = entries[a].clone();
        s.write_tiles(&entries);
    }),
    ("alter a batch root", Own, |s| s.edit_statement(1, |text| set(text, "root", &zeros()))),
    ("alter a record and its file's hash in the statement", Own, |s| {
        s.edit_segment(1, |bytes| bytes[100] ^= 1);
        let line = file_line(&s.segment(1));
        s.edit_statement(1, |text| set(text, "file", &line));
    }),
    ("say fewer records", Own, |s| s.edit_statement(1, |text| set(text, "records", "5"))),
    ("say that records were lost", Own, |s| s.edit_statement(1, |text| format!("{text}lost 2 1\n"))),
    ("re-date a batch", Own, |s| s.edit_statement(1, |text| set(text, "sealed", "2020-01-01T00:00:00.000000Z"))),
    ("re-date its receipt", Own, |s| {
        s.edit_statement(1, |text| set(text, "received", "2020-01-01T00:00:00.000000Z 2020-01-01T00:00:01.000000Z"))
    }),
    ("alter the salts' commitment", Own, |s| s.edit_statement(1, |text| set(text, "salts", &zeros()))),
    ("alter the chain of batches", Own, |s| s.edit_statement(1, |text| set(text, "previous", &zeros()))),
    ("say another log's name", Own, |s| s.edit_statement(1, |text| set(text, "origin", "other.example/record"))),
    ("lower the checkpoint's size", Own, |s| {
        let size = s.entries().len();
        s.edit_text("log/checkpoint", |text| text.replace(&format!("\n{size}\n"), &format!("\n{}\n", size - 1)));
    }),
    ("alter the checkpoint's root", Own, |s| {
        let root = s.checkpoint_lines()[2].clone();
        s.edit_text("log/checkpoint", |text| text.replace(&root, &zeros()));
    }),
    ("re-date the checkpoint", Own, |s| {
        let time = s.checkpoint_lines()[3].clone();
        s.edit_text("log/checkpoint", |text| text.replace(&time, "time 2020-01-01T00:00:00.000000Z"));
    }),
    ("take the signature off", Own, |s| {
        s.edit_text("log/checkpoint", |text| {
            text.lines().filter(|line| !line.starts_with('—')).map(|line| format!("{line}\n")).collect()
        })
    }),
    ("put an older checkpoint before a newer log", Checkpoint, |s| {
        _ = fs::copy(s.older.join("log/checkpoint"), s.path("log/checkpoint")).unwrap();
        // Without what lies past it, so that nothing in the folder speaks of more.
        let entries = entries(&s.dir.with_file_name("older"));
        s.write_tiles(&entries);
        for number in 2..4 {
            fs::remove_file(s.segment(number)).unwrap();
            fs::remove_file(s.map(number)).unwrap();
        }
        fs::remove_dir_all(s.path("wal")).unwrap();
        fs::create_dir(s.path("wal")).unwrap();
    }),
    ("change the public key alone", Own, |s| {
        let private = fs::read(s.path("keys/checkpoint.key")).unwrap();
        s.replace_key();
        fs::write(s.path("keys/checkpoint.key"), private).unwrap();
    }),
];

/// Attacks with a key of the attacker's own: the folder agrees with itself, and only who noted the key sees it.
const OWN_KEY: &[Attack] = &[
    ("sign the log as it is with another key", Key, |s| {
        s.replace_key();
        s.sign_log(&s.entries());
    }),
    ("drop the last batch and sign with another key", Key, |s| {
        s.replace_key();
        let entries = s.entries();
        s.sign_log(&entries[..entries.len() - 1]);
        fs::remove_file(s.segment(3)).unwrap();
        fs::remove_dir_all(s.path("wal")).unwrap();
        fs::create_dir(s.path("wal")).unwrap();
    }),
    ("forge everything with another key", Key, |s| {
        s.replace_key();
        s.forge_edited(|segments| segments[1][2].1 = "nothing happened".into());
    }),
    ("start an empty log with another key", Key, |s| {
        s.replace_key();
        s.forge(vec![vec![("host".into(), "hello".into())]]);
    }),
];

/// Attacks with the stolen key and Reeve itself: the store verifies, and only what was kept elsewhere shows that it was another.
const STOLEN_KEY: &[Attack] = &[
    ("alter a record and all above it", Root, |s| s.forge_edited(|segments| segments[1][2].1 = "nothing happened".into())),
    ("alter the first record", Root, |s| s.forge_edited(|segments| segments[0][0].1 = "nothing happened".into())),
    ("leave a record out", Root, |s| s.forge_edited(|segments| drop(segments[1].remove(2)))),
    ("slip a record in", Root, |s| s.forge_edited(|segments| segments[1].insert(2, ("host0".into(), "planted".into())))),
    ("swap two records", Root, |s| s.forge_edited(|segments| segments[1].swap(2, 4))),
    ("move a record to another batch", Root, |s| {
        s.forge_edited(|segments| {
            let moved = segments[1].remove(2);
            segments[2].push(moved);
        })
    }),
    ("say that another host sent it", Root, |s| s.forge_edited(|segments| segments[1][2].0 = "host9".into())),
    ("leave a batch out", Root, |s| s.forge_edited(|segments| drop(segments.remove(1)))),
    ("slip a batch in", Root, |s| s.forge_edited(|segments| segments.insert(1, vec![("host0".into(), "planted".into())]))),
    ("join two batches", Root, |s| {
        s.forge_edited(|segments| {
            let second = segments.remove(2);
            segments[1].extend(second);
        })
    }),
    ("receive everything anew today", Root, |s| s.forge_edited(|_| ())),
    ("forge only the end of what the checkpoint covers", Root, |s| s.forge_edited(|segments| segments[2][5].1 = "x".into())),
    ("wipe the log and start anew", Root, |s| s.forge(vec![vec![("host".into(), "hello".into())]])),
    ("alter a record and all above it, within the epoch", Checkpoint, |s| {
        s.forge_within_epoch(|segments| segments[1][2].1 = "nothing happened".into())
    }),
    ("leave a record out, within the epoch", Checkpoint, |s| s.forge_within_epoch(|segments| drop(segments[1].remove(2)))),
    ("leave a batch out, within the epoch", Checkpoint, |s| s.forge_within_epoch(|segments| drop(segments.remove(1)))),
    ("roll everything back to an older copy", Checkpoint, |s| {
        fs::remove_dir_all(&s.dir).unwrap();
        copy(&s.older, &s.dir);
    }),
    ("roll back and go on with other records", Checkpoint, |s| {
        fs::remove_dir_all(&s.dir).unwrap();
        copy(&s.older, &s.dir);
        let ledger = Ledger::open(&s.dir, options()).unwrap();
        for segment in 2..5 {
            append(&ledger, vec![("host0".into(), format!("instead of {segment}"))]);
            ledger.seal_now().unwrap();
        }
    }),
    ("declare records lost and sign that", Own, |s| s.sign_statement(1, |text| format!("{text}lost 2 1\n"))),
    ("say fewer records and sign that", Own, |s| s.sign_statement(1, |text| set(text, "records", "5"))),
    ("alter a record, its file's hash, and sign that", Own, |s| {
        s.edit_segment(1, |bytes| bytes[100] ^= 1);
        let line = file_line(&s.segment(1));
        s.sign_statement(1, |text| set(text, "file", &line));
    }),
    ("swap two batches and sign that", Own, |s| {
        let mut entries = s.entries();
        let (a, b) = (position(&entries, 1), position(&entries, 2));
        entries.swap(a, b);
        s.sign_log(&entries);
    }),
    ("leave a batch out of the log and sign that", Own, |s| {
        let mut entries = s.entries();
        entries.remove(position(&entries, 1));
        s.sign_log(&entries);
    }),
    ("re-date the last batch and sign that", Own, |s| {
        let before = field(&s.entries()[position(&s.entries(), 3)], "sealed");
        assert_ne!(before, "2020-01-01T00:00:00.000000Z");
        // The time a batch was sealed is before it was received: nothing but the record's own times says so.
        s.sign_statement(3, |text| set(text, "received", "2020-01-01T00:00:00.000000Z 2020-01-01T00:00:01.000000Z"));
    }),
];

#[test]
fn every_attack_is_caught_by_the_evidence_named() {
    let root = tempfile::tempdir().unwrap();
    let kept = build(root.path());
    for evidence in [Own, Key, Root, Checkpoint] {
        let report = Store::new(root.path()).report(&kept, evidence);
        assert!(report.is_intact(), "unharmed, with {evidence:?}: {:#?}", report.faults);
    }
    let mut caught: BTreeMap<Evidence, usize> = BTreeMap::new();
    let mut missed = Vec::new();
    for (name, evidence, attack) in [FILES, LOG, OWN_KEY, STOLEN_KEY].concat() {
        let store = Store::new(root.path());
        attack(&store);
        let report = store.report(&kept, evidence);
        if report.is_intact() {
            missed.push(format!("{name}: not caught with {evidence:?}"));
        }
        for weaker in [Own, Key, Root].into_iter().filter(|weaker| *weaker < evidence) {
            let report = store.report(&kept, weaker);
            if !report.is_intact() {
                missed.push(format!("{name}: caught with {weaker:?} already: {:?}", report.faults.first()));
            }
        }
        *caught.entry(evidence).or_default() += 1;
    }
    assert!(missed.is_empty(), "{missed:#?}");
    let total: usize = caught.values().sum();
    assert!(total >= 60, "{total} attacks");
    eprintln!("torture: {total} of {total} attacks caught offline, by the weakest evidence that shows them: {caught:?}");
}
