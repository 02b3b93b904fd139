//! RFC 3161 time-stamps over the first checkpoint of each epoch.
use std::{path::PathBuf, time::Duration};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use reeve_record::Hash;
use sha2::{Digest, Sha256};

use super::{
    Outside, StampStatus,
    der::{BOOLEAN, CONTEXT_0, GENERALIZED_TIME, INTEGER, NULL, OCTETS, OID, Reader, SEQUENCE, SET, element, integer},
};
use crate::{
    Error, Request,
    disk::{read_all, write_durably},
    env::random,
};

/// A time-stamping authority. Its name is part of file names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimeStamper {
    name: String,
    url: String,
}

impl TimeStamper {
    /// An authority that answers at `url` (HTTP, RFC 3161 section 3.4).
    ///
    /// # Errors
    /// [`Error::Policy`] unless `name` is 1 to 32 characters from a-z, 0-9 and `-`.
    pub fn new(name: &str, url: &str) -> Result<Self, Error> {
        if is_name(name) {
            return Ok(Self { name: name.into(), url: url.into() });
        }
        let reason = "the name of a time-stamping authority is 1 to 32 characters from a-z, 0-9 and `-`";
        Err(Error::Policy { place: name.chars().take(100).collect(), reason: reason.into() })
    }
}

/// Whether this can be an authority's name.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// What there is to stamp, and what was.
#[derive(Default)]
pub(super) struct StampWork {
    /// The newest epoch with the note to be stamped for it.
    pub(super) wanted: Option<(u64, String)>,
    /// By authority.
    done: Vec<Done>,
    /// The epoch all authorities have stamped.
    finished: Option<u64>,
    /// When to ask again after a failure, by [`Clock::elapsed`](crate::Clock::elapsed).
    retry: Option<Duration>,
    pause: Duration,
}

/// How one authority did.
#[derive(Clone, Default)]
struct Done {
    /// The epoch it stamped last, and the time in that stamp.
    last: Option<(u64, Timestamp)>,
    /// Why the latest attempt failed.
    problem: Option<String>,
}

impl StampWork {
    /// `kept`: the epoch that goes on, with the note that is or is to be stamped for it, which may lack a stamp because a crash came in between.
    pub(super) fn begin(&mut self, stampers: usize, kept: Option<(u64, String)>) {
        self.done = vec![Done::default(); stampers];
        self.wanted = self.wanted.take().or(kept);
    }

    /// What to stamp at this moment.
    fn due(&self, elapsed: Duration) -> Option<(u64, String)> {
        let wanted = self.unfinished().filter(|_| self.retry.is_none_or(|at| at <= elapsed));
        wanted.cloned()
    }

    fn unfinished(&self) -> Option<&(u64, String)> {
        self.wanted.as_ref().filter(|(epoch, _)| !self.done.is_empty() && Some(*epoch) != self.finished)
    }

    pub(super) fn status(&self, stampers: &[TimeStamper]) -> Vec<StampStatus> {
        let known = stampers.iter().enumerate().map(|(place, stamper)| {
            let Done { last, problem } = self.done.get(place).cloned().unwrap_or_default();
            StampStatus {
                name: stamper.name.clone(),
                epoch: last.map(|(epoch, _)| epoch),
                at: last.map(|(_, at)| at),
                last_error: problem,
            }
        });
        known.collect()
    }
}

impl Outside {
    /// The epoch with the note kept of its first checkpoint.
    pub(super) fn kept_note(&self, epoch: u64) -> Option<(u64, String)> {
        let note = read_all(&*self.disk, &self.stamp_path(epoch, "note"), 1 << 16).ok()?;
        Some((epoch, String::from_utf8(note).ok()?))
    }

    pub(super) fn run_stamps(&self) {
        while let Some((epoch, note)) = self.next_stamp() {
            self.stamp_epoch(epoch, &note);
        }
    }

    /// Asks all authorities, if there is something to stamp and it is due; whether there was.
    pub(crate) fn stamp_in_turn(&self) -> bool {
        let due = {
            let state = self.state.lock();
            state.stamps.due(self.clock.elapsed()).filter(|_| !state.closed)
        };
        due.is_some_and(|(epoch, note)| {
            self.stamp_epoch(epoch, &note);
            true
        })
    }

    /// Waits until there is something to stamp. `None` when the ledger is closed.
    fn next_stamp(&self) -> Option<(u64, String)> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            let elapsed = self.clock.elapsed();
            if let Some(due) = state.stamps.due(elapsed) {
                return Some(due);
            }
            match state.stamps.retry.filter(|_| state.stamps.unfinished().is_some()) {
                Some(at) => _ = self.changed.wait_for(&mut state, at.saturating_sub(elapsed)),
                None => self.changed.wait(&mut state),
            }
        }
    }

    fn stamp_epoch(&self, epoch: u64, note: &str) {
        let all = self.stamp_all(epoch, note);
        let work = &mut self.state.lock().stamps;
        if all {
            (work.finished, work.retry, work.pause) = (Some(epoch), None, Duration::ZERO);
        } else {
            work.pause = (work.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
            work.retry = Some(self.clock.elapsed() + work.pause);
        }
    }

    /// Whether every authority's stamp of this epoch is on disk.
    fn stamp_all(&self, epoch: u64, note: &str) -> bool {
        let mut all = true;
        for (place, stamper) in self.stampers.iter().enumerate() {
            let outcome = self.stamp(epoch, note, stamper);
            all &= outcome.is_ok();
            let mut state = self.state.lock();
            if let Some(done) = state.stamps.done.get_mut(place) {
                match outcome {
                    Ok(at) => *done = Done { last: Some((epoch, at)), problem: None },
                    Err(reason) => done.problem = Some(reason),
                }
            }
        }
        all
    }

    fn stamp(&self, epoch: u64, note: &str, stamper: &TimeStamper) -> Result<Timestamp, String> {
        let hash: Hash = Sha256::digest(note).into();
        let path = self.stamp_path(epoch, &format!("{}.tsr", stamper.name));
        if let Ok(have) = read_all(&*self.disk, &path, RESPONSE_MAX)
            && let Ok(stamp) = read_response(&have, &hash, None)
        {
            return Ok(stamp);
        }
        // The note first: a crash in between leaves a note without response, which is asked for again.
        self.keep(&self.stamp_path(epoch, "note"), note.as_bytes())?;
        let mut nonce = [0; 8];
        random(&*self.rng, &mut nonce).map_err(|error| error.to_string())?;
        let headers = &[("Content-Type", "application/timestamp-query")];
        let (url, body) = (&stamper.url, &request(&hash, &nonce)[..]);
        let answer = self.net.post(&Request { url, headers, body, limit: RESPONSE_MAX, patience: PATIENCE })?;
        if answer.status != 200 {
            return Err(format!("it answered {}", answer.status));
        }
        let at = read_response(&answer.body, &hash, Some(&nonce))?;
        self.keep(&path, &answer.body)?;
        Ok(at)
    }

    /// Writes a file beside the log, unless the ledger was closed: then another process may have it.
    fn keep(&self, path: &std::path::Path, content: &[u8]) -> Result<(), String> {
        let folder = self.log.join("stamps");
        let state = self.state.lock();
        if state.closed {
            return Err("the ledger is closed".into());
        }
        let made = self.disk.create_dir(&folder).and_then(|()| self.disk.sync_dir(&self.log));
        let kept = made.and_then(|()| write_durably(&*self.disk, path, content, false));
        kept.map_err(|error| Error::io("write", path, error).to_string())
    }

    fn stamp_path(&self, epoch: u64, kind: &str) -> PathBuf {
        self.log.join(format!("stamps/{epoch:08}.{kind}"))
    }
}

/// `TimeStampReq` for a SHA-256, asking for the certificate.
fn request(hash: &Hash, nonce: &[u8; 8]) -> Vec<u8> {
    let algorithm = element(SEQUENCE, &[&element(OID, &[SHA_256]), &element(NULL, &[])]);
    let imprint = element(SEQUENCE, &[&algorithm, &element(OCTETS, &[hash])]);
    element(SEQUENCE, &[&integer(&[1]), &imprint, &integer(nonce), &element(BOOLEAN, &[&[0xff]])])
}

/// Checks that a `TimeStampResp` grants a stamp over `hash`, and for this nonce where one is given; gives its time. The signature is not looked at.
///
/// # Errors
/// What is wrong, in words that follow "the response …".
pub(crate) fn read_response(response: &[u8], hash: &Hash, nonce: Option<&[u8; 8]>) -> Result<Timestamp, String> {
    let mut outer = Reader::new(response);
    let parsed = outer.enter(SEQUENCE).filter(|_| outer.is_empty()).and_then(|mut body| {
        let status = body.enter(SEQUENCE)?.take(INTEGER)?;
        Some((status, body))
    });
    let (status, token) = parsed.ok_or("is no TimeStampResp")?;
    if !matches!(status, [0 | 1]) {
        return Err(format!("is a refusal, status {}", status.last().copied().unwrap_or_default()));
    }
    let info = signed_content(token).ok_or("holds no signed TSTInfo")?;
    let info = read_info(info).ok_or("holds a TSTInfo that cannot be read")?;
    if info.algorithm != SHA_256 || info.imprint != hash {
        return Err("is about something else".into());
    }
    if nonce.is_some_and(|nonce| info.nonce != Some(&integer(nonce)[2..])) {
        return Err("does not repeat the nonce".into());
    }
    Ok(info.at)
}

/// The TSTInfo inside a ContentInfo with SignedData (RFC 5652).
fn signed_content(mut token: Reader<'_>) -> Option<&[u8]> {
    let mut content = token.enter(SEQUENCE).filter(|_| token.is_empty())?;
    if content.take(OID)? != SIGNED_DATA {
        return None;
    }
    let mut signed = content.enter(CONTEXT_0)?.enter(SEQUENCE)?;
    signed.take(INTEGER)?;
    signed.take(SET)?;
    let mut encapsulated = signed.enter(SEQUENCE)?;
    if encapsulated.take(OID)? != TST_INFO {
        return None;
    }
    encapsulated.enter(CONTEXT_0)?.take(OCTETS)
}

struct Info<'a> {
    algorithm: &'a [u8],
    imprint: &'a [u8],
    at: Timestamp,
    /// Content of the INTEGER.
    nonce: Option<&'a [u8]>,
}

fn read_info(bytes: &[u8]) -> Option<Info<'_>> {
    let mut outer = Reader::new(bytes);
    let mut info = outer.enter(SEQUENCE).filter(|_| outer.is_empty())?;
    if info.take(INTEGER)? != [1] {
        return None;
    }
    info.take(OID)?;
    let mut imprint = info.enter(SEQUENCE)?;
    let algorithm = imprint.enter(SEQUENCE)?.take(OID)?;
    let imprint = imprint.take(OCTETS)?;
    info.take(INTEGER)?;
    let at = read_time(info.take(GENERALIZED_TIME)?)?;
    info.skip(SEQUENCE);
    info.skip(BOOLEAN);
    let nonce = if info.peek() == Some(INTEGER) { info.take(INTEGER) } else { None };
    Some(Info { algorithm, imprint, at, nonce })
}

/// `YYYYMMDDhhmmss[.fraction]Z`.
fn read_time(bytes: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.len() != 14 || fraction.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let number = |range: std::ops::Range<usize>| whole[range].parse::<i16>().ok();
    let small = |range: std::ops::Range<usize>| whole[range].parse::<i8>().ok();
    let nanos = format!("{fraction:0<9.9}").parse().ok()?;
    let (year, month, day) = (number(0..4)?, small(4..6)?, small(6..8)?);
    let at = DateTime::new(year, month, day, small(8..10)?, small(10..12)?, small(12..14)?, nanos).ok()?;
    TimeZone::UTC.to_timestamp(at).ok()
}

/// 2.16.840.1.101.3.4.2.1
const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.9.16.1.4
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
pub(crate) const RESPONSE_MAX: u64 = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LAST_PAUSE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_rfc_3161_writes_them() {
        let time = |text: &str| read_time(text.as_bytes()).map(|at| at.to_string());
        assert_eq!(time("20260105091244Z").as_deref(), Some("2026-01-05T09:12:44Z"));
        assert_eq!(time("20260105091244.34Z").as_deref(), Some("2026-01-05T09:12:44.34Z"));
        for wrong in ["", "Z", "20260105091244", "20261305091244Z", "2026010509124Z", "20260105091244.Z", "+0260105091244Z"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_response_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read_response(&bytes, &[0; 32], None).is_err());
        }
    }
}
