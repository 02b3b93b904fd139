//! The scheduled scrub: while the server runs, record and audit log are recomputed from the disk again and again, and what came of it is an act in the
//! audit log, so that it is signed with the next checkpoint.
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use reeve_access::Access;
use reeve_ledger::{Report, VerifyOptions, verify};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What the latest scrub found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Scrubbed {
    /// When it began.
    pub(crate) began_at: Timestamp,
    /// When it ended.
    pub(crate) ended_at: Timestamp,
    /// Records recomputed, both logs together.
    pub(crate) records: u64,
    /// What is not as it was sealed.
    pub(crate) faults: u64,
}

/// Looks through the data folder on a thread of its own.
pub(crate) struct Scrub {
    data: PathBuf,
    access: Arc<Access>,
    every: Duration,
    last: Arc<Mutex<Option<Scrubbed>>>,
}

impl Scrub {
    /// A scrub each `every`; goes on from the one that an earlier run noted.
    pub(crate) fn new(data: &Path, access: Arc<Access>, every: Duration) -> Self {
        let noted = std::fs::read(data.join(NOTE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { data: data.to_owned(), access, every, last: Arc::new(Mutex::new(noted)) }
    }

    /// The latest result, to be shown elsewhere.
    pub(crate) fn last(&self) -> Arc<Mutex<Option<Scrubbed>>> {
        self.last.clone()
    }

    /// Scrubs whenever it is due, until told to stop. A scrub under way is not waited for: its next run begins anew.
    pub(crate) fn start(self, stop: Arc<AtomicBool>) {
        let spawned = std::thread::Builder::new().name("scrub".to_owned()).spawn(move || {
            while !stop.load(Relaxed) {
                std::thread::sleep(TICK);
                if self.is_due() {
                    self.run(&stop);
                }
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot start the thread that scrubs");
        }
    }

    fn is_due(&self) -> bool {
        let age = |last: &Scrubbed| Timestamp::now().duration_since(last.ended_at);
        // A clock that went back makes the age negative: then it is due too, rather than never.
        self.last.lock().as_ref().is_none_or(|last| age(last).is_negative() || age(last).unsigned_abs() >= self.every)
    }

    fn run(&self, stop: &AtomicBool) {
        let began_at = Timestamp::now();
        let mut reports = Vec::new();
        for log in ["ledger", "audit"] {
            let mut pace = |_| {
                // Gives way to what the server is there for; a segment takes a fraction of a second.
                std::thread::sleep(if stop.load(Relaxed) { Duration::ZERO } else { PAUSE });
            };
            match verify(&self.data.join(log), &VerifyOptions::default(), &mut pace) {
                Ok(report) => reports.push((log, report)),
                Err(error) => return tracing::error!(%error, log, "the scrub could not read"),
            }
            if stop.load(Relaxed) {
                return;
            }
        }
        self.tell(began_at, &reports);
    }

    fn tell(&self, began_at: Timestamp, reports: &[(&str, Report)]) {
        let faults = reports.iter().flat_map(|(log, report)| report.damage().map(move |fault| (log, fault)));
        for (log, fault) in faults.clone() {
            tracing::error!(log, code = fault.code, place = %fault.place, what = %fault.what, "the scrub found damage");
        }
        let line = |(log, report): &(&str, Report)| {
            json!({ "log": log, "key": report.key, "log_size": report.log_size, "segments": report.segments, "records": report.records,
                    "lost_records": report.lost_records, "forks": report.forks, "faults": report.damage().count() })
        };
        let named: Vec<_> = faults.clone().take(FAULTS_NAMED).map(|(log, fault)| json!({ "log": log, "fault": fault })).collect();
        let done = Scrubbed {
            began_at,
            ended_at: Timestamp::now(),
            records: reports.iter().map(|(_, report)| report.records).sum(),
            faults: faults.count() as u64,
        };
        let detail = json!({ "began_at": began_at, "logs": reports.iter().map(line).collect::<Vec<_>>(), "faults": named });
        if let Err(error) = self.access.own_act("scrub", detail) {
            return tracing::error!(%error, "the scrub's result could not be recorded; it will be made again");
        }
        tracing::info!(records = done.records, faults = done.faults, "scrubbed");
        self.note(&done);
        *self.last.lock() = Some(done);
    }

    /// Derived: without it the next start scrubs at once.
    fn note(&self, done: &Scrubbed) {
        let (path, part) = (self.data.join(NOTE), self.data.join("scrub.part"));
        let text = serde_json::to_vec(done).unwrap_or_default();
        if let Err(error) = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &path)) {
            tracing::warn!(path = %path.display(), %error, "cannot note the scrub");
        }
    }
}

const NOTE: &str = "scrub.json";
const TICK: Duration = Duration::from_secs(1);
/// Between two segments.
const PAUSE: Duration = Duration::from_millis(20);
/// Faults listed one by one in the audit log; all are counted, and `reeve ledger verify` lists them.
const FAULTS_NAMED: usize = 100;
