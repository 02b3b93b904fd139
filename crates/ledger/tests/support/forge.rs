//! What somebody does who has the folder and every key in it: writes a log of their own, with every tile, hash and signature in order.
use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use reeve_ledger::{EpochStatement, Seal, tree};
use reeve_record::{Hash, leaf_hash};
use sha2::{Digest, Sha256};

pub const ORIGIN: &str = "reeve.example/record";

/// The keys found.
pub struct Forger {
    stable: SigningKey,
    /// Number and key of the epoch that goes on.
    epoch: (u64, SigningKey),
}

impl Forger {
    pub fn with_keys_of(dir: &Path) -> Self {
        let name = fs::read_dir(dir.join("keys")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let name = name.into_iter().filter(|name| name.starts_with("epoch-")).max().unwrap();
        let number = name[6..14].parse().unwrap();
        Self { stable: key_in(&dir.join("keys/checkpoint.key")), epoch: (number, key_in(&dir.join("keys").join(name))) }
    }

    /// The batches of `entries` under epochs of new keys, each of which signs the next as it should.
    pub fn new_chain(&self, entries: &[String]) -> (Self, Vec<String>) {
        let mut chain = Vec::new();
        let mut last: Option<SigningKey> = None;
        let mut number = 0;
        for entry in entries {
            let Some(mut epoch) = EpochStatement::parse(entry) else {
                chain.push(entry.clone());
                continue;
            };
            let key = SigningKey::from_bytes(&[epoch.epoch as u8 + 100; 32]);
            epoch.key = key.verifying_key().to_bytes();
            number = epoch.epoch;
            let root = root_of(&chain);
            epoch.seal = epoch.seal.map(|seal| Seal { size: chain.len() as u64, root, ..seal });
            if let Some(last) = last {
                let text = epoch.to_text();
                let signed = &text[..text.rfind("signature ").unwrap()];
                epoch.signature = Some(last.sign(signed.as_bytes()).to_bytes());
            }
            last = Some(key);
            chain.push(epoch.to_text());
        }
        (Self { stable: self.stable.clone(), epoch: (number, last.unwrap()) }, chain)
    }

    /// Replaces the log of `dir`.
    pub fn write_log(&self, dir: &Path, entries: &[String], time: &str) {
        write_tiles(dir, entries);
        let text = checkpoint_text(entries, time);
        let (number, key) = &self.epoch;
        let note =
            format!("{text}\n{}{}", line(ORIGIN, &self.stable, &text), line(&format!("{ORIGIN}/epoch/{number}"), key, &text));
        fs::write(dir.join("log/checkpoint"), note).unwrap();
    }

    /// As [`Forger::write_log`], without the epoch's key.
    pub fn write_log_unsigned(&self, dir: &Path, entries: &[String], time: &str) {
        write_tiles(dir, entries);
        let text = checkpoint_text(entries, time);
        fs::write(dir.join("log/checkpoint"), format!("{text}\n{}", line(ORIGIN, &self.stable, &text))).unwrap();
    }
}

/// The entries of a log of fewer than 256.
pub fn entries_of(dir: &Path) -> Vec<String> {
    let folder = dir.join("log/tile/entries/000.p");
    let widest =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap().parse::<u32>().unwrap());
    let bytes = fs::read(folder.join(widest.max().unwrap().to_string())).unwrap();
    let (mut rest, mut entries) = (&bytes[..], Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let (entry, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
        entries.push(String::from_utf8(entry.to_vec()).unwrap());
        rest = tail;
    }
    entries
}

fn write_tiles(dir: &Path, entries: &[String]) {
    let tiles = dir.join("log/tile");
    fs::remove_dir_all(&tiles).unwrap();
    let width = entries.len();
    for (kind, content) in [
        (
            "entries",
            entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry.as_bytes()].concat()).collect(),
        ),
        ("0", entries.iter().flat_map(|entry| leaf_hash(entry.as_bytes())).collect::<Vec<u8>>()),
    ] {
        fs::create_dir_all(tiles.join(kind).join("000.p")).unwrap();
        fs::write(tiles.join(kind).join(format!("000.p/{width}")), content).unwrap();
    }
}

fn root_of(entries: &[String]) -> Hash {
    tree::root(&entries.iter().map(|entry| leaf_hash(entry.as_bytes())).collect::<Vec<_>>())
}

fn checkpoint_text(entries: &[String], time: &str) -> String {
    format!("{ORIGIN}\n{}\n{}\ntime {time}\n", entries.len(), STANDARD.encode(root_of(entries)))
}

fn line(name: &str, key: &SigningKey, text: &str) -> String {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', 1]).chain_update(key.verifying_key().as_bytes()).finalize();
    let blob = [&hash[..4], &key.sign(text.as_bytes()).to_bytes()].concat();
    format!("\u{2014} {name} {}\n", STANDARD.encode(blob))
}

fn key_in(path: &Path) -> SigningKey {
    named_key(&fs::read(path).unwrap()).unwrap().1
}

/// Name and key in what may be the file of an epoch's key.
pub fn epoch_key(bytes: &[u8]) -> Option<(String, SigningKey)> {
    named_key(bytes).filter(|(name, _)| name.contains("/epoch/"))
}

fn named_key(bytes: &[u8]) -> Option<(String, SigningKey)> {
    let text = bytes.split(|byte| *byte == 0).find_map(|text| std::str::from_utf8(text).ok()?.strip_prefix("PRIVATE+KEY+"))?;
    // Base64 may have `+` in it: the key begins after the second one from here.
    let mut parts = text.trim_end().splitn(3, '+');
    let (name, key) = (parts.next()?, parts.nth(1)?);
    let secret = STANDARD.decode(key).ok()?;
    Some((name.into(), SigningKey::from_bytes(secret.get(1..)?.try_into().ok()?)))
}
