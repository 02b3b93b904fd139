//! Templates of one exporter: learned, used and, where there are too many, forgotten.

use std::collections::HashMap;

use jiff::Timestamp;

use super::elements::{Id, SCOPE};
use crate::octets::{Octets, is_zero};

/// One field of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    pub(super) id: Id,
    /// In bytes; [`VARIABLE`] where each record says it.
    pub(super) length: u16,
}

impl Field {
    /// The field's bytes; `None` if they are not all there.
    pub(super) fn take<'a>(&self, octets: &mut Octets<'a>) -> Option<&'a [u8]> {
        let length = match self.length {
            VARIABLE => match octets.u8()? {
                255 => octets.u16()?,
                short => u16::from(short),
            },
            fixed => fixed,
        };
        octets.take(usize::from(length))
    }
}

/// Length of a field that says its length itself (RFC 7011 section 7; some write it in version 9 too).
pub(super) const VARIABLE: u16 = u16::MAX;

/// How the records of a set lie in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Template {
    pub(super) fields: Vec<Field>,
    /// So many of the first fields say what the others are about; such a record is no flow.
    pub(super) scopes: usize,
    /// Bytes of the shortest record, at least 1.
    pub(super) record_bytes: usize,
}

impl Template {
    /// The template of such fields; none if its records could be empty, or have more fields than any router's.
    pub(super) fn new(fields: Vec<Field>, scopes: usize) -> Option<Self> {
        let length = |field: &Field| if field.length == VARIABLE { 1 } else { usize::from(field.length) };
        let record_bytes = fields.iter().map(length).sum();
        (record_bytes > 0 && fields.len() <= FIELDS_MAX).then_some(Self { fields, scopes, record_bytes })
    }

    /// How many records a set holds; `None` if a field is longer than it.
    pub(super) fn records_in(&self, set: &[u8]) -> Option<u32> {
        if self.fields.iter().all(|field| field.length != VARIABLE) {
            return u32::try_from(set.len() / self.record_bytes).ok();
        }
        let (mut octets, mut records) = (Octets::new(set), 0);
        while octets.rest().len() >= self.record_bytes {
            for field in &self.fields {
                field.take(&mut octets)?;
            }
            records += 1;
        }
        Some(records)
    }
}

/// Whose template it is: version, observation domain (source id), template id.
pub(super) type Key = (u16, u32, u16);

/// What an exporter has taught, each piece with the record that taught it.
#[derive(Default)]
pub(crate) struct Templates {
    known: HashMap<Key, Taught>,
    /// When the devices of observation domains started, where options said it: IPFIX counts from there and does not say it again.
    starts: HashMap<u32, Start>,
    fields: usize,
    /// Counts uses, so that the ones not used for longest are known.
    uses: u64,
    changed: bool,
}

struct Taught {
    template: Template,
    record: u64,
    /// The record that taught what this took the place of: a reading that goes on between the two needs it.
    before: Option<u64>,
    at: Timestamp,
    used: u64,
}

struct Start {
    started: Timestamp,
    record: u64,
    at: Timestamp,
}

impl Templates {
    pub(super) fn start_of(&self, domain: u32) -> Option<Timestamp> {
        Some(self.starts.get(&domain)?.started)
    }

    /// Takes the start of a domain's device that the record under the key `record` says.
    pub(super) fn started(&mut self, domain: u32, started: Timestamp, record: u64, at: Timestamp) {
        if self.starts.get(&domain).is_some_and(|known| known.started == started && !repeated_long_after(known.at, at)) {
            return;
        }
        if self.starts.len() >= DOMAINS_MAX && !self.starts.contains_key(&domain) {
            self.starts.clear();
        }
        self.starts.insert(domain, Start { started, record, at });
        self.changed = true;
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&Template> {
        self.uses += 1;
        let taught = self.known.get_mut(&key)?;
        taught.used = self.uses;
        Some(&taught.template)
    }

    /// Takes a template that the record under the key `record` holds, received at `at`; true if others had to be forgotten for it.
    pub(super) fn learn(&mut self, key: Key, template: Template, record: u64, at: Timestamp) -> bool {
        self.uses += 1;
        if let Some(taught) = self.known.get_mut(&key).filter(|taught| taught.template == template) {
            taught.used = self.uses;
            if repeated_long_after(taught.at, at) {
                (taught.before, taught.record, taught.at) = (Some(taught.record), record, at);
                self.changed = true;
            }
            return false;
        }
        self.fields += template.fields.len();
        let before = self.known.remove(&key);
        self.fields -= before.as_ref().map_or(0, |before| before.template.fields.len());
        let before = before.map(|before| before.record);
        self.known.insert(key, Taught { template, record, before, at, used: self.uses });
        self.changed = true;
        self.make_room()
    }

    /// Forgets the half not used for longest if there are too many.
    fn make_room(&mut self) -> bool {
        if self.known.len() <= TEMPLATES_MAX && self.fields <= FIELDS_IN_ALL_MAX {
            return false;
        }
        let mut uses: Vec<u64> = self.known.values().map(|taught| taught.used).collect();
        uses.sort_unstable();
        let middle = uses[uses.len() / 2];
        self.known.retain(|_, taught| taught.used >= middle);
        self.fields = self.known.values().map(|taught| taught.template.fields.len()).sum();
        true
    }

    /// Keys of the records that taught what is known and what was known before it, if they are others than when last asked; ascending. If they
    /// are many, the latest, and of those before only as many as there is room for.
    pub(crate) fn taught_by(&mut self) -> Option<Vec<u64>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let starts = self.starts.values().map(|start| start.record);
        let mut records = latest(self.known.values().map(|taught| taught.record).chain(starts).collect(), RECORDS_MAX);
        let before = self.known.values().filter_map(|taught| taught.before).filter(|before| !records.contains(before));
        let before = latest(before.collect(), RECORDS_MAX - records.len());
        records.extend(before);
        records.sort_unstable();
        Some(records)
    }
}

/// The greatest `most` of these, each once, ascending.
fn latest(mut records: Vec<u64>, most: usize) -> Vec<u64> {
    records.sort_unstable();
    records.dedup();
    records.split_off(records.len().saturating_sub(most))
}

/// Exporters repeat themselves every minute or every few packets; a note of each repetition would be written all the time.
fn repeated_long_after(noted: Timestamp, at: Timestamp) -> bool {
    at.duration_since(noted).as_secs() >= REPEATED_SECONDS
}

/// What a set of templates is written in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// Scope and other fields by their bytes (RFC 3954 section 6.1).
    Options9,
    /// Fields in all and scope fields by their number (RFC 7011 section 3.4.2.2).
    Options10,
}

impl Form {
    /// What a set of templates is written in; `None` if the set is another.
    pub(super) fn of(version: u16, id: u16) -> Option<Self> {
        match (version, id) {
            (9, 0) | (10, 2) => Some(Self::Plain),
            (9, 1) => Some(Self::Options9),
            (10, 3) => Some(Self::Options10),
            _ => None,
        }
    }
}

/// The next template of a set with its id. `Ok(None)` at the end.
///
/// # Errors
/// What is wrong with it: nothing behind it can be read.
pub(super) fn next(
    octets: &mut Octets<'_>,
    form: Form,
    enterprises: bool,
) -> Result<Option<(u16, Option<Template>)>, &'static str> {
    if octets.rest().len() < 4 || is_zero(octets.rest()) {
        return Ok(None);
    }
    let cut = "a template is longer than its set";
    let id = octets.u16().ok_or(cut)?;
    if id < 256 {
        return Err("a template has a number below 256");
    }
    let first = usize::from(octets.u16().ok_or(cut)?);
    let (count, scopes) = match form {
        Form::Plain => (first, 0),
        // A template that is taken back has no second number. Over UDP that means nothing (RFC 7011 section 8.4).
        Form::Options10 if first == 0 => (0, 0),
        Form::Options10 => (first, usize::from(octets.u16().ok_or(cut)?)),
        Form::Options9 => {
            let others = usize::from(octets.u16().ok_or(cut)?);
            ((first + others) / 4, first / 4)
        }
    };
    let mut fields = Vec::with_capacity(count.min(FIELDS_MAX));
    for nth in 0..count {
        let scope = form == Form::Options9 && nth < scopes;
        fields.push(field(octets, scope, enterprises).ok_or(cut)?);
    }
    if count == 0 {
        return Ok(Some((id, None)));
    }
    let template =
        Template::new(fields, scopes.min(count)).ok_or("a template of empty records, or of more fields than are read")?;
    Ok(Some((id, Some(template))))
}

fn field(octets: &mut Octets<'_>, scope: bool, enterprises: bool) -> Option<Field> {
    let (element, length) = (octets.u16()?, octets.u16()?);
    let id = match element {
        _ if scope => (SCOPE, element),
        0x8000.. if enterprises => (octets.u32()?, element & 0x7FFF),
        _ => (0, element),
    };
    Some(Field { id, length })
}

/// Templates of one exporter; a chassis with many cards has some hundred.
const TEMPLATES_MAX: usize = 1024;
const DOMAINS_MAX: usize = 256;
/// Fields of all of them.
const FIELDS_IN_ALL_MAX: usize = 8192;
const FIELDS_MAX: usize = 512;
/// Records that are to be seen again after a restart.
const RECORDS_MAX: usize = 64;
const REPEATED_SECONDS: i64 = 3600;
