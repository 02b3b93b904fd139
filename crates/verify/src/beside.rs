//! What others said about the log, and what it said to others: witnesses, time-stamping authorities, checkpoints kept elsewhere.
//! `docs/spec/log.md`, V5 and V6.
use std::io::ErrorKind;

use sha2::{Digest, Sha256};

use crate::{
    Checkpoint, Files, Policy, Report, Trust, VerifierKey,
    epoch::Epoch,
    files::read_all,
    log::Log,
    note::NOTE_LIMIT,
    stamp,
    text::{self, need},
};

/// A checkpoint beside the newest one, or what is wrong with it.
type Read = Result<Checkpoint, String>;

/// What lies beside the checkpoint.
pub(crate) struct Beside {
    /// `None`: it is not there.
    cosigned: Option<Read>,
    /// The names in `log/stamps`, and the notes among them: the first checkpoint of an epoch each.
    names: Vec<String>,
    stamps: Vec<(String, Read)>,
    kept: Vec<Read>,
}

/// The signed checkpoint in a file; `None` if it is not there. The reason follows "it".
pub(crate) fn note(files: &dyn Files, name: &str, key: Option<&VerifierKey>) -> Option<Read> {
    match read_all(files, name, NOTE_LIMIT as u64) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        read => Some(unread(read).and_then(|bytes| open(&bytes, key))),
    }
}

fn open(note: &[u8], key: Option<&VerifierKey>) -> Read {
    Checkpoint::open(note, key.ok_or("has no key to be checked with")?)
}

impl Beside {
    pub(crate) fn read(files: &dyn Files, trusted: &Trust, report: &mut Report) -> Self {
        let key = trusted.key.as_ref();
        let listed = files.list("log/stamps").map_err(|error| format!("it cannot be listed: {error}"));
        let names = report.expect("LEDGER-034", "log/stamps", Vec::new, listed).unwrap_or_default();
        let missing = || Err("is missing".into());
        let stamp = |name: &String| (name.clone(), note(files, &format!("log/stamps/{name}"), key).unwrap_or_else(missing));
        let stamps = names.iter().filter(|name| name.ends_with(".note")).map(stamp).collect();
        let kept = trusted.against.iter().map(|note| open(note.as_bytes(), key)).collect();
        Self { cosigned: note(files, "log/cosigned", key), names, stamps, kept }
    }

    /// Sizes at which the log's root is wanted.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        let notes = self.stamps.iter().map(|(_, note)| note).chain(&self.cosigned).chain(&self.kept);
        notes.flatten().map(|checkpoint| checkpoint.size).collect()
    }

    pub(crate) fn check(&self, files: &dyn Files, log: &Log<'_>, policy: Option<&Policy>, report: &mut Report) {
        let all = || log.entries.from(0);
        for kept in &self.kept {
            let held = kept.as_ref().map_err(Clone::clone).and_then(|kept| is_part(kept, log));
            let held = held.map_err(|what| format!("the checkpoint kept elsewhere {what}"));
            report.expect("LEDGER-035", "log/checkpoint", all, held);
        }
        let cosigned = match (&self.cosigned, policy) {
            (None, None) => None,
            (None, Some(_)) => Some(Err("no checkpoint reached the quorum of witnesses".into())),
            (Some(read), policy) => Some(cosigned(read, log, policy).map_err(|what| format!("it {what}"))),
        };
        let size = cosigned.and_then(|held| report.expect("LEDGER-032", "log/cosigned", all, held));
        if let Some(size) = size.filter(|_| policy.is_some()) {
            report.cosigned = Some(size);
            let past = log.entries.from(size);
            if !past.is_empty() {
                let what = format!("only the first {size} entries are under a quorum of witnesses");
                report.fault("LEDGER-033", "log/cosigned", what, past);
            }
        }
        for (name, note) in &self.stamps {
            let held = stamped(name, note, log).map_err(|what| format!("it {what}"));
            let place = format!("log/stamps/{name}");
            let Some(checkpoint) = report.expect("LEDGER-034", place, Vec::new, held) else { continue };
            let number = name.trim_end_matches(".note");
            for response in self.names.iter().filter(|name| name.strip_prefix(number).is_some_and(is_response)) {
                let place = format!("log/stamps/{response}");
                let read = unread(read_all(files, &place, RESPONSE_LIMIT));
                let held = read.and_then(|response| answers(&response, checkpoint));
                let held = held.map_err(|what| format!("the response {what}"));
                report.time_stamps += u64::from(report.expect("LEDGER-034", place, Vec::new, held).is_some());
            }
        }
    }
}

fn unread(read: std::io::Result<Vec<u8>>) -> Result<Vec<u8>, String> {
    read.map_err(|error| format!("cannot be read: {error}"))
}

/// The size up to which the log is cosigned as the policy demands. The reason follows "it".
fn cosigned(read: &Read, log: &Log<'_>, policy: Option<&Policy>) -> Result<u64, String> {
    let cosigned = read.as_ref().map_err(Clone::clone)?;
    fits(cosigned, log)?;
    policy.map_or(Ok(()), |policy| policy.check(&cosigned.note))?;
    Ok(cosigned.size)
}

/// Whether a signed checkpoint covers the first entries of this log. The reason follows "it".
fn is_part(checkpoint: &Checkpoint, log: &Log<'_>) -> Result<(), String> {
    let (size, newest) = (checkpoint.size, log.newest.size);
    need(size <= newest, format!("covers {size} entries, and the log has {newest}"))?;
    let same = log.at.get(&size).is_some_and(|(root, _)| *root == checkpoint.root);
    need(same, "is about another log than the one stored")
}

/// Whether it is also signed by the epoch of then, and which that is.
fn fits<'a>(checkpoint: &Checkpoint, log: &'a Log<'_>) -> Result<Option<&'a Epoch>, String> {
    is_part(checkpoint, log)?;
    let epoch = log.at.get(&checkpoint.size).and_then(|(_, epoch)| epoch.as_ref());
    epoch.map_or(Ok(()), |epoch| epoch.check(checkpoint))?;
    Ok(epoch)
}

/// The checkpoint in a note that is of the epoch it is named for.
fn stamped<'a>(name: &str, note: &'a Read, log: &Log<'_>) -> Result<&'a Checkpoint, String> {
    let checkpoint = note.as_ref().map_err(Clone::clone)?;
    let named = fits(checkpoint, log)?.is_some_and(|epoch| format!("{:08}.note", epoch.number) == name);
    need(named, "is not of the epoch it is named for").map(|()| checkpoint)
}

fn answers(response: &[u8], checkpoint: &Checkpoint) -> Result<(), String> {
    let at = stamp::read(response, &Sha256::digest(&checkpoint.note).into())?;
    // One of the two clocks is wrong, or somebody's word.
    need(checkpoint.at - at <= 300_000_000, format!("has the time {}, before that of the checkpoint", text::time_text(at)))
}

/// Whether a name ends as that of a response: `.<authority>.tsr`.
fn is_response(ending: &str) -> bool {
    let Some(name) = ending.strip_prefix('.').and_then(|ending| ending.strip_suffix(".tsr")) else { return false };
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (1..=32).contains(&name.len()) && plain
}

const RESPONSE_LIMIT: u64 = 256 << 10;
