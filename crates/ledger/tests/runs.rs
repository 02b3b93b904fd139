//! Verifying with many threads, and going on where an earlier run came to: the same report, and nothing taken for read that changed since.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File, FileTimes},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use reeve_ledger::{Ledger, NewRecord, Options, Report, VerifyOptions, verify};
use reeve_record::Transport;

const SEGMENTS: u32 = 24;

/// A ledger of several openings, whose sources' chains run through all segments.
fn make(dir: &Path) {
    for opening in 0..3 {
        let ledger = Ledger::open(dir, Options::new("reeve.example/record")).unwrap();
        for segment in 0..SEGMENTS / 3 {
            let record = |n: u32| {
                let text = format!("record {n} of {opening}/{segment}");
                NewRecord::new(format!("web{}", (n + segment) % 5), Transport::File, text)
            };
            ledger.append((0..40).map(record).collect()).unwrap();
            ledger.seal_now().unwrap();
        }
    }
}

fn run(dir: &Path, threads: usize, resume: Option<&Path>) -> Report {
    let options = VerifyOptions { threads, resume: resume.map(Path::to_owned), ..VerifyOptions::default() };
    let mut last = 0;
    let report = verify(dir, &options, &mut |progress| {
        assert_eq!((progress.segments, progress.segments_total), (last + 1, SEGMENTS));
        last = progress.segments;
    });
    report.unwrap()
}

/// The report but for how it was come to.
fn found(report: &Report) -> String {
    serde_json::to_string(&Report { recalled: 0, recalled_since: None, ..report.clone() }).unwrap()
}

fn segment(dir: &Path, number: u32) -> std::path::PathBuf {
    dir.join(format!("segments/{number:08}.parquet"))
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 8;
    fs::write(path, bytes).unwrap();
}

#[test]
fn any_number_of_threads_gives_the_same_report() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let intact = run(dir.path(), 1, None);
    assert!(intact.is_intact() && intact.records == 40 * u64::from(SEGMENTS), "{:?}", intact.faults);
    for threads in [0, 2, 3, 16] {
        assert_eq!(found(&run(dir.path(), threads, None)), found(&intact), "{threads} threads");
    }
    for number in [3, 4, 11] {
        flip(&segment(dir.path(), number));
    }
    fs::remove_file(segment(dir.path(), 19)).unwrap();
    fs::remove_file(dir.path().join("segments/00000007.map")).unwrap();
    let damaged = run(dir.path(), 1, None);
    assert_eq!(damaged.faults.len(), 5, "{:?}", damaged.faults);
    for threads in [2, 5] {
        assert_eq!(found(&run(dir.path(), threads, None)), found(&damaged), "{threads} threads");
    }
}

#[test]
fn a_run_goes_on_where_another_came_to() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, state) = (dir.path().join("ledger"), dir.path().join("state"));
    make(&ledger);
    // What changed so shortly before it is read that a change would not show is not taken for read.
    let fresh = run(&ledger, 2, Some(&state));
    assert!(fresh.recalled == 0 && run(&ledger, 2, Some(&state)).recalled < SEGMENTS);
    std::thread::sleep(Duration::from_millis(2100));
    fs::remove_file(&state).unwrap();

    // Stopped half way, it goes on there; half a line that was being written then costs that segment alone.
    let stopped = catch_unwind(AssertUnwindSafe(|| {
        let options = VerifyOptions { resume: Some(state.clone()), ..VerifyOptions::default() };
        verify(&ledger, &options, &mut |progress| assert!(progress.segments < 10, "stopped"))
    }));
    assert!(stopped.is_err());
    let noted = fs::read(&state).unwrap();
    fs::write(&state, &noted[..noted.len() - 30]).unwrap();
    let resumed = run(&ledger, 2, Some(&state));
    assert_eq!((resumed.recalled, found(&resumed)), (9, found(&fresh)));
    let again = run(&ledger, 1, Some(&state));
    assert_eq!((again.recalled, found(&again)), (SEGMENTS, found(&fresh)));
    assert!(
        again
            .recalled_since
            .is_some_and(|since| again.recalled_since == resumed.recalled_since && since <= jiff::Timestamp::now())
    );

    // Another ledger's run in the same file leaves these lines alone.
    let other = dir.path().join("other");
    make(&other);
    run(&other, 1, Some(&state));
    assert_eq!(run(&ledger, 1, Some(&state)).recalled, SEGMENTS);
}

#[test]
fn what_changed_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, state) = (dir.path().join("ledger"), dir.path().join("state"));
    make(&ledger);
    std::thread::sleep(Duration::from_millis(2100));
    run(&ledger, 0, Some(&state));
    let whole = run(&ledger, 0, Some(&state));
    assert_eq!(whole.recalled, SEGMENTS);

    // Damaged, and the time put back: the length is the same, too.
    let path = segment(&ledger, 13);
    let (sealed, times) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap());
    flip(&path);
    let put_back = FileTimes::new().set_modified(times.modified().unwrap()).set_accessed(times.accessed().unwrap());
    File::options().write(true).open(&path).unwrap().set_times(put_back).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), times.modified().unwrap());
    for _ in 0..2 {
        let report = run(&ledger, 2, Some(&state));
        assert_eq!((report.recalled, report.faults.len()), (SEGMENTS - 1, 1), "{:?}", report.faults);
        assert_eq!(found(&report), found(&run(&ledger, 1, None)));
    }

    // Mended by a copy: read again, found whole, and only then taken for read.
    fs::write(&path, sealed).unwrap();
    let mended = run(&ledger, 2, Some(&state));
    assert_eq!((mended.recalled, found(&mended)), (SEGMENTS - 1, found(&whole)));

    // Gone, and exchanged.
    fs::rename(segment(&ledger, 2), dir.path().join("aside")).unwrap();
    fs::copy(segment(&ledger, 3), segment(&ledger, 2)).unwrap();
    let exchanged = run(&ledger, 2, Some(&state));
    assert!(exchanged.recalled == SEGMENTS - 2 && exchanged.faults.iter().all(|fault| fault.place.contains("00000002")));

    // A state that is none, or was made up, is passed over; one that cannot be read is an error.
    fs::write(&state, b"{\"reeve_verified\":1}\nrubbish\n\xff\n").unwrap();
    assert_eq!(run(&ledger, 2, Some(&state)).recalled, 0);
    let options = VerifyOptions { resume: Some(dir.path().to_owned()), ..VerifyOptions::default() };
    assert!(verify(&ledger, &options, &mut |_| {}).is_err());

    // A file of something else is named and left as it is; one that is empty, or was begun, is ours.
    let options = VerifyOptions { resume: Some(state.clone()), ..VerifyOptions::default() };
    for other in ["notes of the case\n", "{}", "{\"reeve\":1}\n", "\n"] {
        fs::write(&state, other).unwrap();
        let error = verify(&ledger, &options, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("is not from an earlier run"), "{error}");
        assert_eq!(fs::read_to_string(&state).unwrap(), other);
    }
    for begun in ["", "{\"ree"] {
        fs::write(&state, begun).unwrap();
        run(&ledger, 2, Some(&state));
    }
}
