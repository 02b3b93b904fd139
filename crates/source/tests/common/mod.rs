//! A keeper in memory, and listeners on free ports.
#![allow(dead_code, reason = "each test file uses its part")]
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use reeve_record::RecordId;
use reeve_source::{Arrival, Intake, KeepError, Keeper, Kept};

/// Keeps records in memory; can be told to be overloaded or full.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) kept: Mutex<Vec<Arrival>>,
    pub(crate) mood: AtomicU8,
    /// How many records there is room for.
    pub(crate) full_after: Mutex<Option<usize>>,
}

impl Keeper for Memory {
    fn keep(&self, batch: Vec<Arrival>) -> Kept {
        let answer = match self.mood.load(SeqCst) {
            0 => {
                let mut kept = self.kept.lock();
                if self.full_after.lock().is_some_and(|most| kept.len() + batch.len() > most) {
                    return Box::pin(async { Err(KeepError::Full("test".to_owned())) });
                }
                let first = kept.len() as u32;
                let ids = (0..batch.len() as u32).map(|nth| RecordId { segment: 0, index: first + nth }).collect();
                kept.extend(batch);
                Ok(ids)
            }
            1 => Err(KeepError::Overloaded),
            _ => Err(KeepError::Full("test".to_owned())),
        };
        Box::pin(async move { answer })
    }

    fn end(&self) -> RecordId {
        RecordId { segment: 0, index: self.kept.lock().len() as u32 }
    }
}

impl Memory {
    pub(crate) fn raws(&self) -> Vec<String> {
        self.kept.lock().iter().map(|arrival| String::from_utf8_lossy(&arrival.raw).into_owned()).collect()
    }

    pub(crate) fn sources(&self) -> Vec<String> {
        self.kept.lock().iter().map(|arrival| arrival.source.to_string()).collect()
    }

    /// Waits until so many records are kept.
    pub(crate) fn wait_for(&self, records: usize) -> Vec<String> {
        let until = Instant::now() + Duration::from_secs(10);
        while self.kept.lock().len() < records && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.raws()
    }
}

pub(crate) fn intake() -> (Arc<Memory>, Intake) {
    let memory = Arc::new(Memory::default());
    (memory.clone(), Intake::new(memory))
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
