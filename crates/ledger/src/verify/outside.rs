//! What others said about the log: witnesses and time-stamping authorities.
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Fault, Report, Trusted, VerifyOptions, entries::Entries, log::Known};
use crate::{
    Disk, Policy,
    disk::read_all,
    main_log::open_checkpoint,
    note::{Checkpoint, VerifierKey},
    outside::stamp,
    text,
};

/// A checkpoint beside the newest, as it was read.
type Read = Result<(Checkpoint, String), String>;

/// What lies beside the checkpoint.
pub(super) struct Beside {
    /// `None`: there is none.
    cosigned: Option<Read>,
    stamps: Vec<Stamp>,
}

/// The first checkpoint of an epoch, with the responses about it.
struct Stamp {
    name: String,
    epoch: Option<u64>,
    note: Read,
    /// File name and content.
    responses: Vec<(String, Result<Vec<u8>, String>)>,
}

/// The policy given, or else the folder's own.
pub(super) fn trusted_policy(disk: &dyn Disk, dir: &Path, options: &VerifyOptions, report: &mut Report) -> Option<Policy> {
    if options.policy.is_some() {
        return options.policy.clone();
    }
    let bytes = match read_all(disk, &dir.join("log/policy"), 1 << 16) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        read => read.map_err(|error| error.to_string()),
    };
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
    match text.and_then(|text| text.parse::<Policy>().map_err(|error| error.to_string())) {
        Ok(policy) => Some(policy),
        Err(what) => {
            let hint = "give the policy that was kept elsewhere".into();
            report.faults.push(Fault { code: "LEDGER-032", what, place: "log/policy".into(), records: Vec::new(), hint });
            None
        }
    }
}

impl Beside {
    pub(super) fn read(disk: &dyn Disk, dir: &Path, trusted: &Trusted<'_>, report: &mut Report) -> Self {
        let Some(key) = &trusted.key else { return Self { cosigned: None, stamps: Vec::new() } };
        let cosigned = read_note(disk, &dir.join("log/cosigned"), key);
        let folder = dir.join("log/stamps");
        let names = disk.list(&folder).unwrap_or_else(|error| {
            report.faults.push(stamp_fault(error.to_string(), "log/stamps".into()));
            Vec::new()
        });
        let notes = names.iter().filter_map(|name| Some((name, name.strip_suffix(".note")?)));
        let stamps = notes.map(|(name, number)| {
            let answers = names.iter().filter(|other| {
                let rest = other.strip_prefix(number).and_then(|rest| rest.strip_prefix('.'));
                rest.and_then(|rest| rest.strip_suffix(".tsr")).is_some_and(stamp::is_name)
            });
            let read = |other: &String| {
                let bytes = read_all(disk, &folder.join(other), stamp::RESPONSE_MAX);
                (other.clone(), bytes.map_err(|error| error.to_string()))
            };
            Stamp {
                name: name.clone(),
                epoch: number.parse().ok().filter(|epoch: &u64| format!("{epoch:08}") == number),
                note: read_note(disk, &folder.join(name), key).unwrap_or_else(|| Err("it is missing".into())),
                responses: answers.map(read).collect(),
            }
        });
        Self { cosigned, stamps: stamps.collect() }
    }

    /// Sizes at which the log's root is needed, ascending.
    pub(super) fn sizes(&self) -> Vec<u64> {
        let notes = self.stamps.iter().map(|stamp| &stamp.note).chain(&self.cosigned);
        let mut sizes: Vec<u64> = notes.flatten().map(|(checkpoint, _)| checkpoint.size).collect();
        sizes.sort_unstable();
        sizes
    }

    pub(super) fn check(
        &self,
        newest: &(Checkpoint, String),
        known: &Known,
        entries: &Entries,
        trusted: &Trusted<'_>,
        report: &mut Report,
    ) {
        match (&self.cosigned, &trusted.policy) {
            (None, None) => {}
            (None, Some(_)) => {
                let what = "no checkpoint reached the quorum of witnesses".into();
                report.faults.push(quorum_fault("LEDGER-032", what, entries.all_records()));
            }
            (Some(read), policy) => match check_cosigned(read, policy.as_ref(), newest, known) {
                Err(what) => report.faults.push(quorum_fault("LEDGER-032", what, entries.all_records())),
                Ok(size) if policy.is_some() => {
                    report.cosigned_size = Some(size);
                    let past = entries.records_past(size);
                    if !past.is_empty() {
                        let what = format!("only the first {size} entries are under a quorum of witnesses");
                        report.faults.push(quorum_fault("LEDGER-033", what, past));
                    }
                }
                Ok(_) => {}
            },
        }
        for stamp in &self.stamps {
            check_stamp(stamp, newest, known, report);
        }
    }
}

/// `None`: there is none.
fn read_note(disk: &dyn Disk, path: &Path, key: &VerifierKey) -> Option<Read> {
    match read_all(disk, path, 1 << 16) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error.to_string())),
        Ok(bytes) => Some(open_checkpoint(path, bytes, key).map_err(|error| error.to_string())),
    }
}

/// A signed checkpoint is one of this log: its root is that of the entries, and the epoch of then signed it in its time.
fn check_note((checkpoint, note): &(Checkpoint, String), newest: &(Checkpoint, String), known: &Known) -> Result<(), String> {
    if checkpoint.size > newest.0.size {
        return Err(format!("it covers {} entries, and the log has {}", checkpoint.size, newest.0.size));
    }
    let (root, epoch) = known.at.get(&checkpoint.size).ok_or("the log has no such size")?;
    if *root != checkpoint.root {
        return Err("it is about another log than the one stored".into());
    }
    epoch.as_ref().map_or(Ok(()), |epoch| epoch.check_checkpoint(note, checkpoint).map_err(|reason| format!("it {reason}")))
}

/// The size that reached the quorum.
fn check_cosigned(read: &Read, policy: Option<&Policy>, newest: &(Checkpoint, String), known: &Known) -> Result<u64, String> {
    let cosigned = read.as_ref().map_err(Clone::clone)?;
    check_note(cosigned, newest, known)?;
    if let Some(policy) = policy {
        policy.quorum_of(&cosigned.1).map_err(|reason| format!("it {reason}"))?;
    }
    Ok(cosigned.0.size)
}

fn check_stamp(stamp: &Stamp, newest: &(Checkpoint, String), known: &Known, report: &mut Report) {
    let place = |name: &str| format!("log/stamps/{name}");
    let checked = stamp.note.as_ref().map_err(Clone::clone).and_then(|note| {
        check_note(note, newest, known)?;
        let epoch = known.at.get(&note.0.size).and_then(|(_, epoch)| epoch.as_ref()).map(|epoch| epoch.epoch);
        if epoch.is_none() || epoch != stamp.epoch { Err("it is not of the epoch it is named for".into()) } else { Ok(note) }
    });
    let (checkpoint, note) = match checked {
        Ok(note) => note,
        Err(what) => return report.faults.push(stamp_fault(what, place(&stamp.name))),
    };
    let hash = Sha256::digest(note).into();
    for (name, response) in &stamp.responses {
        let at = response
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|response| stamp::read_response(response, &hash, None).map_err(|reason| format!("the response {reason}")));
        match at {
            Err(what) => report.faults.push(stamp_fault(what, place(name))),
            // A stamp from before its checkpoint: one of the two clocks is wrong, or somebody's word.
            Ok(at) if checkpoint.at.duration_since(at) > TOLERANCE => {
                let what = format!("its time {} is before that of the checkpoint, {}", text::time(at), text::time(checkpoint.at));
                report.faults.push(stamp_fault(what, place(name)));
            }
            Ok(_) => report.time_stamps += 1,
        }
    }
}

fn quorum_fault(code: &'static str, what: String, records: Vec<super::RecordRange>) -> Fault {
    let hint =
        "if the server is running, wait a minute and verify again; else its status says which witness did not answer, and why";
    Fault { code, what, place: "log/cosigned".into(), records, hint: hint.into() }
}

fn stamp_fault(what: String, place: String) -> Fault {
    let hint = "no record depends on it; a copy of the log may have it intact".into();
    Fault { code: "LEDGER-034", what, place, records: Vec::new(), hint }
}

/// How far an authority's clock may be behind ours.
const TOLERANCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(300);
pub(super) const COPY: &str = "compare with another copy of the log";
