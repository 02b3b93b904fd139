//! Deliveries in any order, lost, doubled, and with restarts in between: what the statement says is what was sent.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it is wrong")]
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use reeve_completeness::{
    Error, Head, Notice, Numbered, NumberedOptions, Query, Receipt, SourceKey, SourceLine, Statement, check_statement, survey,
};
use reeve_ledger::{Clock, Ledger, NewRecord, NoteKey, Options, SystemClock};
use reeve_record::{Grade, RecordId, Transport};

/// A clock that is set by hand.
#[derive(Clone)]
struct Hand(Arc<Mutex<Timestamp>>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(Mutex::new("2026-01-05T09:00:00Z".parse().unwrap())))
    }

    fn on(&self, seconds: i64) -> Timestamp {
        let mut now = self.0.lock().unwrap();
        *now += SignedDuration::from_secs(seconds);
        *now
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        SystemClock.elapsed()
    }
}

type Heard = Arc<Mutex<Vec<(RecordId, Notice)>>>;

/// A record ledger, an audit ledger and the numbered sources of a folder.
struct House {
    dir: tempfile::TempDir,
    clock: Hand,
    heard: Heard,
    open: Option<(Arc<Ledger>, Arc<Ledger>, Numbered)>,
}

fn key() -> NoteKey {
    NoteKey::new("edge/web1", &[0x31; 32]).unwrap()
}

impl House {
    fn new() -> Self {
        let mut house = Self { dir: tempfile::tempdir().unwrap(), clock: Hand::new(), heard: Heard::default(), open: None };
        house.start(true);
        house
    }

    /// Ends what runs and opens it again, with or without the copy of what was known.
    fn start(&mut self, with_copy: bool) {
        if let Some((_, _, numbered)) = &self.open {
            numbered.save().unwrap();
        }
        self.open = None;
        let copy = self.dir.path().join("deliveries.json");
        if !with_copy {
            let _ = std::fs::remove_file(&copy);
        }
        let ledger = |name: &str| {
            let options = Options { clock: Arc::new(self.clock.clone()), ..Options::new(format!("reeve.example/{name}")) };
            Arc::new(Ledger::open(&self.dir.path().join(name), options).unwrap())
        };
        let (record, audit) = (ledger("record"), ledger("audit"));
        let heard = self.heard.clone();
        let sources = vec![SourceKey { key: key().verifier().clone(), heartbeat: Some(Duration::from_secs(60)) }];
        let noticed = Box::new(move |id, notice: &Notice| heard.lock().unwrap().push((id, notice.clone())));
        let numbered = Numbered::open(record.clone(), NumberedOptions { copy, sources, noticed }).unwrap();
        self.open = Some((record, audit, numbered));
    }

    fn numbered(&self) -> &Numbered {
        &self.open.as_ref().unwrap().2
    }

    fn record(&self) -> &Arc<Ledger> {
        &self.open.as_ref().unwrap().0
    }

    /// The statement, as it is after signing, sending and checking.
    fn statement(&self, query: &Query) -> Statement {
        let (record, audit, _) = self.open.as_ref().unwrap();
        let statement = survey(record, audit, query, None);
        let note = statement.sign(record).unwrap();
        assert_eq!(check_statement(&note, &record.verifier_key()).as_ref(), Ok(&statement));
        statement
    }

    fn line(&self) -> SourceLine {
        let query = Query { source: "edge/*".into(), numbered: true, ..Query::default() };
        self.statement(&query).sources.into_iter().next().unwrap()
    }

    fn send(&self, delivery: &Delivery) -> Result<reeve_completeness::Outcome, Error> {
        self.numbered().deliver("edge/web1", &delivery.note, &delivery.body)
    }

    /// Every notice in the ledger.
    fn notices(&self) -> Vec<Notice> {
        let record = self.record();
        let (mut next, mut notices) = (RecordId::default(), Vec::new());
        loop {
            let records = record.read_from(next, 1000).unwrap();
            let Some(last) = records.last() else { return notices };
            next = RecordId { index: last.id.index + 1, ..last.id };
            notices.extend(records.iter().filter_map(Notice::of));
        }
    }
}

struct Delivery {
    head: Head,
    note: String,
    body: Bytes,
}

fn delivery(first: u64, count: u64, previous: [u8; 32], what: &str, sent: Timestamp) -> Delivery {
    let body: String = (first..first + count).map(|n| format!("{what} {n}\n")).collect();
    let head = Head::over("edge/web1", 0, first, count, body.as_bytes(), previous, sent);
    Delivery { note: head.sign(&key()), head, body: body.into() }
}

/// Deliveries of these sizes, one following the other.
fn chain(sizes: &[u64], sent: Timestamp) -> Vec<Delivery> {
    let mut all: Vec<Delivery> = Vec::new();
    for size in sizes {
        let (first, previous) = all.last().map_or((0, [0; 32]), |last| (last.head.end(), last.head.hash()));
        all.push(delivery(first, *size, previous, "event", sent));
    }
    all
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    /// Other records under the numbers of a delivery, if that one was sent.
    Forge(usize),
    /// Says that everything before this delivery was sent.
    Beat(usize),
    Restart {
        with_copy: bool,
    },
    Seal,
}

fn steps() -> impl Strategy<Value = (Vec<u64>, Vec<Step>)> {
    let step = prop_oneof![
        8 => (0..12usize).prop_map(Step::Send),
        1 => (0..12usize).prop_map(Step::Forge),
        1 => (0..12usize).prop_map(Step::Beat),
        1 => any::<bool>().prop_map(|with_copy| Step::Restart { with_copy }),
        1 => Just(Step::Seal),
    ];
    (prop::collection::vec(1..6u64, 12), prop::collection::vec(step, 1..30))
}

fn cases() -> u32 {
    std::env::var("REEVE_LAW_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_statement_is_the_truth((sizes, steps) in steps()) {
        let mut house = House::new();
        let all = chain(&sizes, house.clock.now());
        let (mut there, mut forged) = (BTreeSet::new(), BTreeSet::new());
        let (mut frontier, mut late, mut receipts) = (0, 0, Vec::new());
        for step in steps {
            house.clock.on(1);
            match step {
                Step::Send(n) => {
                    let outcome = house.send(&all[n]).unwrap();
                    prop_assert_eq!(outcome.duplicate, !there.insert(n));
                    if !outcome.duplicate && all[n].head.first < frontier {
                        late += all[n].head.count;
                    }
                    frontier = all[n].head.end().max(frontier);
                    receipts.push((n, outcome.receipt.unwrap()));
                }
                Step::Forge(n) if there.contains(&n) => {
                    let Delivery { head, .. } = &all[n];
                    let lie = delivery(head.first, head.count, head.previous, "nothing", head.sent);
                    let refused = house.send(&lie);
                    prop_assert!(matches!(refused, Err(Error::Contradiction { .. })), "{:?}", refused);
                    forged.insert(n);
                }
                Step::Forge(_) => {}
                Step::Beat(n) => {
                    let previous = if n == 0 { [0; 32] } else { all[n - 1].head.hash() };
                    let first = all[n].head.first;
                    house.send(&delivery(first, 0, previous, "", house.clock.now())).unwrap();
                    frontier = first.max(frontier);
                }
                Step::Restart { with_copy } => house.start(with_copy),
                Step::Seal => house.record().seal_now().unwrap(),
            }
        }
        let line = house.line();
        let received: u64 = there.iter().map(|n| all[*n].head.count).sum();
        prop_assert_eq!((line.expected, line.received, line.missing), (Some(frontier), received, Some(frontier - received)));
        let numbers = |n: &usize| all[*n].head.first..all[*n].head.end();
        let sent: BTreeSet<u64> = there.iter().flat_map(numbers).collect();
        let missing: BTreeSet<u64> = line.missing_numbers.iter().flat_map(|gap| gap.first..gap.first + gap.count).collect();
        prop_assert_eq!(&missing, &(0..frontier).filter(|n| !sent.contains(n)).collect());
        prop_assert_eq!(line.late, late);
        prop_assert_eq!(line.contradicting, forged.iter().map(|n| all[*n].head.count).sum::<u64>());
        prop_assert_eq!((line.unproven, line.numbered), (0, true));
        prop_assert_eq!(line.grade, (!there.is_empty()).then_some(Grade::A));

        // Each number that is missing was noticed, in the ledger and to whoever listens.
        let notices = house.notices();
        let gaps = notices.iter().filter_map(|notice| match notice {
            Notice::Gap { first, count, .. } => Some(*first..first + count),
            _ => None,
        });
        let noticed: BTreeSet<u64> = gaps.flatten().collect();
        prop_assert!(noticed.is_superset(&missing), "{:?} of {:?}", noticed, missing);
        let heard = house.heard.lock().unwrap();
        for notice in notices.iter().filter(|notice| notice.rule().is_some()) {
            prop_assert!(heard.iter().any(|(_, told)| told == notice), "{:?}", notice);
        }
        // The same delivery has the same receipt whenever it is asked for, and the ledger holds what each promises.
        let key = house.record().verifier_key();
        for (n, note) in &receipts {
            let receipt = Receipt::open(note, &key).unwrap();
            prop_assert_eq!(receipt.check_in(house.record()), Ok(()));
            prop_assert_eq!(receipt.delivery, all[*n].head.hash());
            prop_assert!(receipts.iter().all(|(other, text)| (other == n) == (text == note)));
        }
    }
}

#[test]
fn old_duplicates_are_known_from_the_ledger() {
    let mut house = House::new();
    let all = chain(&[2; 150], house.clock.now());
    let first = house.send(&all[0]).unwrap().receipt.unwrap();
    all[1..].iter().for_each(|delivery| assert!(!house.send(delivery).unwrap().duplicate));
    house.record().seal_now().unwrap();
    for with_copy in [true, false] {
        house.start(with_copy);
        for n in [0, 1, 70, 149] {
            let again = house.send(&all[n]).unwrap();
            assert!(again.duplicate && (n > 0 || again.receipt == Ok(first.clone())), "{n}");
        }
        let lie = delivery(2, 2, all[0].head.hash(), "nothing", all[1].head.sent);
        assert!(matches!(house.send(&lie), Err(Error::Contradiction { .. })));
        let cut_otherwise = delivery(1, 3, [7; 32], "event", all[1].head.sent);
        assert!(matches!(house.send(&cut_otherwise), Err(Error::Contradiction { .. })));
    }
    let line = house.line();
    assert_eq!((line.expected, line.missing, line.contradicting), (Some(300), Some(0), 5), "each lie is kept once");
}

#[test]
fn two_missed_heartbeats_are_noticed_once() {
    let mut house = House::new();
    let silences = |house: &House| house.notices().iter().filter(|notice| matches!(notice, Notice::Silence { .. })).count();
    house.clock.on(120);
    house.numbered().watch();
    assert_eq!(silences(&house), 0, "two intervals are not more than two");
    house.clock.on(1);
    house.numbered().watch();
    house.numbered().watch();
    assert_eq!(silences(&house), 1, "never heard since the start");
    house.start(false);
    house.clock.on(200);
    house.numbered().watch();
    assert_eq!(silences(&house), 1, "it was noticed before the restart");
    let all = chain(&[3, 3], house.clock.now());
    house.send(&all[0]).unwrap();
    let heard = house.clock.now();
    let until = house.clock.on(121);
    house.numbered().watch();
    assert_eq!(silences(&house), 2, "it was heard in between");
    let heard_of = house.heard.lock().unwrap().last().unwrap().1.clone();
    assert_eq!((heard_of.rule(), heard_of.at()), (Some("reeve.sequence.silence"), until));
    house.send(&all[1]).unwrap();
    let spans = house.line().silences;
    assert_eq!(spans.last().map(|span| (span.from, span.to)), Some((heard, until)), "{spans:?}");
}

#[test]
fn a_range_expects_what_was_sent_in_it() {
    let house = House::new();
    let all = chain(&[10, 10, 10, 10], house.clock.now());
    house.send(&all[0]).unwrap();
    let from = house.clock.on(10);
    house.send(&all[2]).unwrap();
    let to = house.clock.on(10);
    house.send(&all[3]).unwrap();
    let line = |from, to| {
        let query = Query { source: "edge/web1".into(), from, to, numbered: true };
        let line = house.statement(&query).sources.remove(0);
        (line.expected, line.received, line.missing, line.late)
    };
    assert_eq!(line(Some(from), Some(to)), (Some(20), 10, Some(10), 0));
    assert_eq!(line(None, Some(from)), (Some(10), 10, Some(0), 0));
    assert_eq!(line(Some(to), None), (Some(10), 10, Some(0), 0));
    house.send(&all[1]).unwrap();
    assert_eq!(line(Some(from), Some(to)), (Some(20), 20, Some(0), 10), "what came later is there");
}

#[test]
fn sources_that_do_not_number_are_counted_and_nothing_is_expected() {
    let house = House::new();
    let at = house.clock.now();
    let claimed = |seconds| Some(reeve_record::EventTime::exact(at + SignedDuration::from_secs(seconds)));
    let record = |source: &str, transport, claimed| NewRecord { claimed, ..NewRecord::new(source, transport, "x") };
    let batch = vec![
        record("syslog/a", Transport::SyslogUdp, None),
        record("syslog/a", Transport::SyslogTcp, claimed(-301)),
        record("elastic/b", Transport::ElasticBulk, claimed(6)),
        record("elastic/b", Transport::ElasticBulk, claimed(-10)),
        record("reeve/delivery/edge/web1", Transport::Http, None),
    ];
    house.record().append(batch).unwrap();
    house.record().checkpoint().unwrap();
    let statement = house.statement(&Query { source: "*".into(), ..Query::default() });
    let figures: Vec<_> = statement
        .sources
        .iter()
        .map(|line| (&*line.source, line.grade, line.numbered, line.expected, line.received, line.late, line.clock_ahead))
        .collect();
    let expected = [
        ("edge/web1", None, true, Some(0), 0, 0, 0),
        ("elastic/b", Some(Grade::B), false, None, 2, 0, 1),
        ("reeve/delivery/edge/web1", Some(Grade::B), false, None, 1, 0, 0),
        ("syslog/a", Some(Grade::C), false, None, 2, 1, 0),
    ];
    assert_eq!(figures, expected);
    assert!(statement.checkpoint.is_some() && statement.unsealed > 0, "{statement:?}");
}

#[test]
fn strangers_and_broken_deliveries_are_refused_and_leave_nothing() {
    let house = House::new();
    let good = delivery(0, 2, [0; 32], "event", house.clock.now());
    let end = house.record().durable_end();
    let other = NoteKey::new("edge/web1", &[0x32; 32]).unwrap();
    let send = |source: &str, note: &str, body: &str| house.numbered().deliver(source, note, &body.to_owned().into());
    let body = std::str::from_utf8(&good.body).unwrap();
    assert!(matches!(send("edge/web2", &good.note, body), Err(Error::NotThisSource(_))));
    assert!(matches!(send("edge/web1", &good.head.sign(&other), body), Err(Error::NotThisSource(_))));
    assert!(matches!(send("edge/web1", &good.note, &body.replace("event", "evenT")), Err(Error::Malformed(_))));
    assert!(matches!(send("edge/web1", "", body), Err(Error::NotThisSource(_) | Error::Malformed(_))));
    assert_eq!(house.record().durable_end(), end);
    assert_eq!(house.send(&good).unwrap().accepted, 2);
}

#[test]
fn what_lay_in_a_segment_that_is_gone_is_not_said_to_be_missing() {
    let mut house = House::new();
    let all = chain(&[5, 5, 5, 5], house.clock.now());
    house.send(&all[0]).unwrap();
    house.record().seal_now().unwrap();
    house.send(&all[1]).unwrap();
    house.record().seal_now().unwrap();
    let from = house.clock.on(10);
    // The third never comes.
    house.send(&all[3]).unwrap();
    let figures = |line: &SourceLine| (line.expected, line.received, line.missing, line.removed);
    assert_eq!(figures(&house.line()), (Some(20), 15, Some(5), 0));
    house.open = None;
    let segments = house.dir.path().join("record/segments");
    std::fs::remove_file(segments.join("00000000.parquet")).unwrap();
    house.start(true);
    assert_eq!(figures(&house.line()), (Some(15), 10, Some(5), 5), "the first delivery may have been in it");
    let later = Query { source: "edge/web1".into(), from: Some(from), numbered: true, ..Query::default() };
    assert_eq!(figures(&house.statement(&later).sources[0]), (Some(10), 5, Some(5), 0));
    house.open = None;
    std::fs::remove_file(segments.join("00000001.parquet")).unwrap();
    house.start(true);
    assert_eq!(figures(&house.line()), (Some(5), 5, Some(0), 15), "nobody can know any more what was missing");
}

#[test]
fn a_receipt_is_signed_by_the_key_epoch_too() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Some(Duration::from_secs(3600));
    let clock = Hand::new();
    let options = Options { epoch: hour, clock: Arc::new(clock.clone()), ..Options::new("reeve.example/record") };
    let ledger = Arc::new(Ledger::open(dir.path(), options).unwrap());
    let copy = dir.path().join("deliveries.json");
    let sources = vec![SourceKey { key: key().verifier().clone(), heartbeat: None }];
    let options = NumberedOptions { copy, sources, noticed: Box::new(|_, _| ()) };
    let numbered = Numbered::open(ledger.clone(), options).unwrap();
    for (epoch, delivery) in chain(&[1, 1], clock.now()).iter().enumerate() {
        let receipt = numbered.deliver("edge/web1", &delivery.note, &delivery.body).unwrap().receipt.unwrap();
        assert!(Receipt::open(&receipt, &ledger.verifier_key()).is_ok());
        assert!(receipt.contains(&format!("\n\u{2014} reeve.example/record/epoch/{epoch} ")), "{receipt}");
        clock.on(3600);
    }
}

/// What the records of a ledger folder are, for a receipt that another ledger gave.
#[test]
fn a_receipt_does_not_hold_in_another_ledger() {
    let (house, other) = (House::new(), House::new());
    let first = delivery(0, 2, [0; 32], "event", house.clock.now());
    let note = house.send(&first).unwrap().receipt.unwrap();
    let receipt = Receipt::open(&note, &house.record().verifier_key()).unwrap();
    assert_eq!(receipt.check_in(house.record()), Ok(()));
    assert!(receipt.check_in(other.record()).is_err(), "nothing is there");
    other.send(&delivery(0, 2, [0; 32], "lie", other.clock.now())).unwrap();
    assert!(receipt.check_in(other.record()).is_err(), "something else is there");
    assert!(Path::new(house.dir.path()).exists());
}
