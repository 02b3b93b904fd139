//! The sources of a run: one that keeps what it sent until it is receipted, with the code of `reeve send`, and one that sends and forgets.
use std::{path::Path, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use reeve_completeness::{Head, Place, Receipt, SendError, Sender, SenderOptions, SpoolError};
use reeve_ledger::{Clock as _, Net as _, NoteKey, Request, VerifierKey};

use crate::{
    disk::{Faults, SimDisk},
    net::SimNet,
    random::{Random, SimClock},
};

pub const CAREFUL: &str = "edge/careful";
pub const CARELESS: &str = "edge/careless";

pub fn key(name: &str) -> NoteKey {
    NoteKey::new(name, &[if name == CAREFUL { 0x31 } else { 0x32 }; 32]).unwrap()
}

/// The record that is line `n` of a source's file.
pub fn line(source: &str, n: u64) -> String {
    format!("{source} {n}{}", ".".repeat((n * 7 % 90) as usize))
}

fn address(source: &str) -> String {
    format!("http://reeve/ingest/{}", source.replace('/', "%2F"))
}

/// A source with a spool.
pub struct Careful {
    pub disk: SimDisk,
    pub clock: Arc<SimClock>,
    net: SimNet,
    server_key: VerifierKey,
    open: Option<Sender>,
    /// Numbers that were receipted: from 0 up to this one.
    pub receipted: u64,
}

impl Careful {
    pub fn new(seed: u64, net: SimNet, server_key: VerifierKey, loud: bool) -> Self {
        let disk = SimDisk::new(seed, Path::new(ROOT), loud);
        Self { disk, clock: Arc::new(SimClock::new()), net, server_key, open: None, receipted: 0 }
    }

    pub fn stop(&mut self, power_fails: bool, faults: Faults) {
        self.open = None;
        if power_fails {
            self.disk.cut_power()
        } else {
            self.disk.kill()
        }
        self.disk.set_faults(faults);
    }

    fn start(&mut self) -> Result<(), SpoolError> {
        let options = SenderOptions {
            spool: Path::new(ROOT).join("spool"),
            receipts: None,
            key: key(CAREFUL),
            address: address(CAREFUL),
            server_key: Some(self.server_key.clone()),
            token: None,
            disk: Arc::new(self.disk.clone()),
            net: Arc::new(self.net.clone()),
            clock: self.clock.clone(),
        };
        self.open = Some(Sender::open(options)?);
        Ok(())
    }

    /// One attempt to send what waits, or up to `records` more lines of the file. An error ends the process, as it ends the command.
    pub fn step(&mut self, records: u64) -> Result<(), SendError> {
        let done = self.try_step(records);
        if done.as_ref().is_err_and(|error| !matches!(error, SendError::NotYet { .. })) || self.disk.is_dead() {
            self.open = None;
        }
        done
    }

    fn try_step(&mut self, records: u64) -> Result<(), SendError> {
        if self.open.is_none() {
            self.start()?;
        }
        let Some(sender) = &mut self.open else { return Ok(()) };
        if !sender.is_waiting() && records > 0 {
            let place = sender.place("file", Place { offset: 0, device: 1, inode: 1 }, u64::MAX);
            let body: String = (place.offset..place.offset + records).map(|n| line(CAREFUL, n) + "\n").collect();
            let place = Place { offset: place.offset + records, ..place };
            sender.stage(body.into_bytes(), records, vec![("file".into(), place)])?;
        }
        if sender.deliver()?.is_some() {
            self.receipted = sender.progress().1;
        }
        Ok(())
    }

    /// Says that everything so far was sent.
    pub fn beat(&mut self) {
        let _ = self.open.as_ref().map(Sender::beat);
    }

    /// Whether nothing waits; lines of the file that were sent.
    pub fn sent(&self) -> Option<u64> {
        let sender = self.open.as_ref().filter(|sender| !sender.is_waiting())?;
        Some(sender.place("file", Place { offset: 0, device: 1, inode: 1 }, u64::MAX).offset)
    }

    /// The receipts it kept.
    pub fn receipts(&self) -> Result<Vec<Receipt>, String> {
        let kept = self.disk.read(&Path::new(ROOT).join("spool/receipts")).unwrap_or_default();
        let text = String::from_utf8(kept).map_err(|error| error.to_string())?;
        let notes = text.split("reeve-receipt/v1\n").skip(1).map(|rest| format!("reeve-receipt/v1\n{rest}"));
        notes.map(|note| Receipt::open(&note, &self.server_key).map_err(|fault| format!("{fault}:\n{note}"))).collect()
    }
}

/// A source that does not wait for receipts.
pub struct Careless {
    net: SimNet,
    clock: Arc<SimClock>,
    /// What it made so far.
    deliveries: Vec<(Head, String)>,
}

impl Careless {
    pub fn new(net: SimNet, clock: Arc<SimClock>) -> Self {
        Self { net, clock, deliveries: Vec::new() }
    }

    /// Sends something new, something of before, or a heartbeat, once.
    pub fn step(&mut self, random: &mut Random) {
        let (first, previous) = self.deliveries.last().map_or((0, [0; 32]), |(last, _)| (last.end(), last.hash()));
        let count = match random.below(10) {
            0..2 if !self.deliveries.is_empty() => {
                let at = random.below(self.deliveries.len() as u64) as usize;
                let (head, body) = self.deliveries[at].clone();
                return self.post(&head, &body);
            }
            2 => 0,
            _ => 1 + random.below(6),
        };
        let body: String = (first..first + count).map(|n| line(CARELESS, n) + "\n").collect();
        let head = Head::over(CARELESS, 0, first, count, body.as_bytes(), previous, self.clock.now());
        if count > 0 {
            self.deliveries.push((head.clone(), body.clone()));
        }
        // Some are forgotten before they are sent.
        if random.chance(9, 10) {
            self.post(&head, &body);
        }
    }

    fn post(&self, head: &Head, body: &str) {
        let delivery = STANDARD.encode(head.sign(&key(CARELESS)));
        let headers = [("Reeve-Delivery", delivery.as_str())];
        let (url, patience) = (address(CARELESS), Duration::from_secs(1));
        let _ = self.net.post(&Request { url: &url, headers: &headers, body: body.as_bytes(), limit: 1 << 20, patience });
    }
}

const ROOT: &str = "/home";
