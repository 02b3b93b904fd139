//! A full disk, shared by the record and the audit.
use std::{path::Path, sync::Arc, time::Duration};

use reeve_ledger::{Ledger, NewRecord, Options, Priority, Turns};
use reeve_record::Transport;

use crate::{
    disk::SimDisk,
    random::{Random, SimClock, SimRng},
};

struct Log {
    ledger: Ledger,
    turns: Turns,
}

impl Log {
    fn open(disk: &SimDisk, clock: &Arc<SimClock>, name: &str, priority: Priority) -> Self {
        let options = Options {
            reserve: 64 << 10,
            priority,
            segment_bytes: 16 << 10,
            disk: Arc::new(disk.clone()),
            clock: clock.clone(),
            rng: Arc::new(SimRng::new(1)),
            ..Options::new(format!("reeve.example/{name}"))
        };
        let (ledger, turns) = Ledger::open_in_turns(&Path::new("/srv/reeve").join(name), options).unwrap();
        Self { ledger, turns }
    }

    /// Whether a record of 2 KiB was taken.
    fn takes(&mut self) -> bool {
        let end = self.ledger.durable_end();
        self.ledger.submit_with(vec![NewRecord::new("host", Transport::Http, noise())], |_| ());
        self.turns.commit();
        self.turns.seal();
        self.ledger.durable_end() > end
    }

    fn is_pressed(&self) -> bool {
        self.ledger.status().pressure.is_some()
    }
}

/// 2 KiB that do not compress.
fn noise() -> Vec<u8> {
    let mut random = Random::new(3);
    std::iter::repeat_with(|| random.next() as u8).take(2048).collect()
}

/// Records are refused first; they are sealed, and the audit goes on, from the reserves; with room again, everything resumes.
pub fn records_give_way_first() {
    let (disk, clock) = (SimDisk::new(1, Path::new("/srv"), false), Arc::new(SimClock::new()));
    disk.set_space(Some(600 << 10));
    let mut record = Log::open(&disk, &clock, "record", Priority::Record);
    let mut audit = Log::open(&disk, &clock, "audit", Priority::Audit);
    let taken = (0..1000).take_while(|_| record.takes()).count();
    assert!((100..400).contains(&taken) && record.is_pressed(), "{taken} taken");
    assert!(!record.takes(), "records do not eat the reserve");
    while record.turns.seal() {}
    assert_eq!(record.ledger.status().seal_problem, None);
    assert!((0..20).all(|_| audit.takes()));

    disk.set_space(Some(0));
    assert!((0..20).all(|_| audit.takes()) && audit.is_pressed() && !record.takes());
    record.turns.end_segment();
    audit.turns.end_segment();

    disk.set_space(Some(600 << 10));
    clock.advance(Duration::from_secs(2));
    assert!(record.takes() && audit.takes());
    for log in [&mut record, &mut audit] {
        log.turns.end_segment();
        while log.turns.seal() {}
        assert!(!log.is_pressed());
        assert_eq!((log.ledger.status().open_records, log.ledger.status().lost_records), (0, 0));
    }
}
