//! What others said about the log: witnesses and time-stamping authorities. `docs/spec/log.md`, V5 and V6.
use std::io::ErrorKind;

use sha2::{Digest, Sha256};

use crate::{Checkpoint, Fault, Files, Policy, Report, VerifierKey, files::read_all, log::Log, note::NOTE_LIMIT, stamp, text};

/// A checkpoint beside the newest one, or what is wrong with it.
type Read = Result<Checkpoint, String>;

/// What lies beside the checkpoint.
pub(crate) struct Beside {
    /// `None`: it is not there.
    cosigned: Option<Read>,
    /// The first checkpoint of an epoch, by file name, with names and contents of the responses about it.
    stamps: Vec<(String, Read, Vec<Response>)>,
    unlisted: Option<String>,
}

type Response = (String, Result<Vec<u8>, String>);

impl Beside {
    pub(crate) fn read(files: &dyn Files, key: Option<&VerifierKey>) -> Self {
        let Some(key) = key else { return Self { cosigned: None, stamps: Vec::new(), unlisted: None } };
        let note = |name: &str| match read_all(files, name, NOTE_LIMIT as u64) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Err(format!("cannot be read: {error}"))),
            Ok(bytes) => Some(Checkpoint::open(&bytes, key)),
        };
        let listed = files.list("log/stamps");
        let unlisted = listed.as_ref().err().map(ToString::to_string);
        let names = listed.unwrap_or_default();
        let responses = |number: &str| {
            let of_it = names.iter().filter(|name| name.strip_prefix(number).and_then(authority).is_some());
            let read = |name: &String| {
                let bytes = read_all(files, &format!("log/stamps/{name}"), RESPONSE_LIMIT);
                (name.clone(), bytes.map_err(|error| format!("cannot be read: {error}")))
            };
            of_it.map(read).collect()
        };
        let stamps = names.iter().filter_map(|name| {
            let number = name.strip_suffix(".note")?;
            let note = note(&format!("log/stamps/{name}")).unwrap_or_else(|| Err("is missing".into()));
            Some((name.clone(), note, responses(number)))
        });
        Self { cosigned: note("log/cosigned"), stamps: stamps.collect(), unlisted }
    }

    /// Sizes at which the log's root is wanted.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        let notes = self.stamps.iter().map(|(_, note, _)| note).chain(&self.cosigned);
        notes.flatten().map(|checkpoint| checkpoint.size).collect()
    }

    pub(crate) fn check(&self, log: &Log, policy: Option<&Policy>, report: &mut Report) {
        let quorum = |code, what: String, records| Fault::new(code, "log/cosigned", what, records);
        let cosigned = self.cosigned.as_ref().map(|read| -> Result<u64, String> {
            let cosigned = read.as_ref().map_err(Clone::clone)?;
            fits(cosigned, log)?;
            policy.map_or(Ok(()), |policy| policy.check(&cosigned.note))?;
            Ok(cosigned.size)
        });
        match cosigned {
            None if policy.is_some() => {
                report.faults.push(quorum(
                    "LEDGER-032",
                    "no checkpoint reached the quorum of witnesses".into(),
                    log.entries.from(0),
                ));
            }
            Some(Err(what)) => report.faults.push(quorum("LEDGER-032", format!("it {}", what), log.entries.from(0))),
            Some(Ok(size)) if policy.is_some() => {
                report.cosigned = Some(size);
                let past = log.entries.from(size);
                if !past.is_empty() {
                    let what = format!("only the first {size} entries are under a quorum of witnesses");
                    report.faults.push(quorum("LEDGER-033", what, past));
                }
            }
            _ => {}
        }
        let stamp_fault = |name: &str, what: String| Fault::new("LEDGER-034", format!("log/stamps{name}"), what, Vec::new());
        report.faults.extend(self.unlisted.iter().map(|what| stamp_fault("", what.clone())));
        for (name, note, responses) in &self.stamps {
            match stamped(name, note, log) {
                Err(what) => report.faults.push(stamp_fault(&format!("/{name}"), format!("it {what}"))),
                Ok(checkpoint) => {
                    for (name, response) in responses {
                        match answers(response, checkpoint) {
                            Ok(()) => report.stamps += 1,
                            Err(what) => report.faults.push(stamp_fault(&format!("/{name}"), format!("the response {what}"))),
                        }
                    }
                }
            }
        }
    }
}

/// Whether a signed checkpoint is one of this log, and signed by the epoch of then. The reason follows "it".
fn fits(checkpoint: &Checkpoint, log: &Log) -> Result<(), String> {
    if checkpoint.size > log.newest.size {
        return Err(format!("covers {} entries, and the log has {}", checkpoint.size, log.newest.size));
    }
    match log.at.get(&checkpoint.size) {
        Some((root, epoch)) if *root == checkpoint.root => epoch.as_ref().map_or(Ok(()), |epoch| epoch.check(checkpoint)),
        _ => Err("is about another log than the one stored".into()),
    }
}

/// The checkpoint in a note that is of the epoch it is named for.
fn stamped<'a>(name: &str, note: &'a Read, log: &Log) -> Result<&'a Checkpoint, String> {
    let checkpoint = note.as_ref().map_err(Clone::clone)?;
    fits(checkpoint, log)?;
    let epoch = log.at.get(&checkpoint.size).and_then(|(_, epoch)| epoch.as_ref());
    let named = epoch.is_some_and(|epoch| format!("{:08}.note", epoch.number) == name);
    if named { Ok(checkpoint) } else { Err("is not of the epoch it is named for".into()) }
}

fn answers(response: &Result<Vec<u8>, String>, checkpoint: &Checkpoint) -> Result<(), String> {
    let at = stamp::read(response.as_ref().map_err(Clone::clone)?, &Sha256::digest(&checkpoint.note).into())?;
    // One of the two clocks is wrong, or somebody's word.
    let early = checkpoint.at - at > 300_000_000;
    if early { Err(format!("has the time {}, before that of the checkpoint", text::time_text(at))) } else { Ok(()) }
}

/// The authority's name in `.<authority>.tsr`.
fn authority(ending: &str) -> Option<&str> {
    let name = ending.strip_prefix('.')?.strip_suffix(".tsr")?;
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    ((1..=32).contains(&name.len()) && plain).then_some(name)
}

const RESPONSE_LIMIT: u64 = 256 << 10;
