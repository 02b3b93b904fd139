//! NetFlow version 5, NetFlow version 9 (RFC 3954) and IPFIX (RFC 7011): a datagram to one event a flow record.
//!
//! Fields have the names of IANA's registry in every version; what the header says is under `netflow`. Templates belong to the exporter's
//! observation domain, and one [`Templates`] to one exporter. Why this is not left to a library: `docs/decisions/0012-own-flow-decoder.md`.
mod elements; // names, types and values of fields
mod templates; // what the exporter has taught

use std::borrow::Cow;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use reeve_record::EventTime;

pub(crate) use self::elements::{mac, number};
pub(crate) use self::templates::Templates;
use self::templates::{Field, Form, Template};
use crate::decoder::Record;
use crate::flows::Exporter;
use crate::octets::{Octets, is_zero};
use crate::sequence::{Numbers, Place, Unit};
use crate::{Map, Parsed, Problem, Value};

/// Whether bytes begin as a datagram of one of the three versions does.
pub(crate) fn may_be(raw: &[u8]) -> bool {
    let at = |at: usize| raw.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let set = |start: usize, templates: [u16; 2]| match (at(start), at(start + 2)) {
        (Some(id), Some(length)) => (templates.contains(&id) || id >= 256) && length >= 4,
        _ => raw.len() == start,
    };
    match at(0) {
        Some(5) => raw.len() >= 24 && at(2).is_some_and(|records| (1..=1000).contains(&records)),
        Some(9) => raw.len() >= 20 && set(20, [0, 1]),
        Some(10) => raw.len() >= 16 && at(2).is_some_and(|length| length >= 16) && set(16, [2, 3]),
        _ => false,
    }
}

/// When a datagram for which [`may_be`] holds says it was exported; none if it says 1970 or a time that does not exist.
pub(crate) fn exported_at(raw: &[u8]) -> Option<Timestamp> {
    Head::read(&mut Octets::new(raw))?.exported.filter(|at| at.as_second() > 0)
}

/// What the head of a datagram says of its place.
pub(crate) fn numbered(raw: &[u8]) -> Option<Numbers> {
    Some(Head::read(&mut Octets::new(raw))?.numbers())
}

/// Learns the templates of a datagram and counts its records; `None` if a template is not known or lengths lie.
pub(crate) fn records(templates: &mut Templates, raw: &[u8], received: Timestamp) -> Option<u32> {
    let mut octets = Octets::new(raw);
    let head = Head::read(&mut octets)?;
    if head.version == 5 {
        return Some(head.count.into());
    }
    let mut records = Some(0_u32);
    while !is_zero(octets.rest()) {
        let (id, length) = (octets.u16()?, octets.u16()?);
        let set = octets.take(usize::from(length).checked_sub(4)?)?;
        let Some(form) = Form::of(head.version, id) else {
            let held = templates.get((head.version, head.domain, id)).and_then(|template| template.records_in(set));
            records = records.zip(held).map(|(before, held)| before.saturating_add(held));
            continue;
        };
        let mut set = Octets::new(set);
        while let Some((id, template)) = templates::next(&mut set, form, head.version == 10).ok()? {
            if let Some(template) = template {
                templates.learn((head.version, head.domain, id), template, 0, received);
            }
        }
    }
    records
}

/// How many records the sets behind a head hold; `None` if a template is not known, comes with them, or lengths lie.
fn beforehand(templates: &mut Templates, head: &Head, mut sets: Octets<'_>) -> Option<u32> {
    if head.version == 5 {
        return Some(head.count.into());
    }
    let mut records = 0_u32;
    while !is_zero(sets.rest()) {
        let (id, length) = (sets.u16()?, sets.u16()?);
        let set = sets.take(usize::from(length).checked_sub(4)?)?;
        records = records.saturating_add(templates.get((head.version, head.domain, id))?.records_in(set)?);
    }
    Some(records)
}

/// Reads a datagram for which [`may_be`] holds. What is cut or contradicts itself is named, and what was read before it stands.
pub(crate) fn read<'a>(known: &mut Exporter, mut record: Record<'a>, exporter: Option<IpAddr>, emit: &mut dyn FnMut(Parsed<'_>)) {
    let mut octets = Octets::new(record.raw);
    let Some(head) = Head::read(&mut octets) else { return };
    let (numbers, mut about) = (head.numbers(), head.about(exporter));
    let key = numbers.key;
    let records = beforehand(&mut known.templates, &head, octets);
    if known.sequences.arrive(&numbers, records) == Place::Late {
        about.push("late", true);
        record.problems.push(Problem::late("netflow.late", head.sequence_at()));
    }
    let missing = known.sequences.untold(key);
    let (part, records, taught, problems) = (0, Some(0), false, Vec::new());
    let mut datagram = Datagram { head, about: &about, record, missing, waiting: None, part, records, problems, taught, emit };
    match datagram.head.version {
        5 => datagram.version_5(&mut octets),
        _ => datagram.sets(&mut octets, &mut known.templates),
    }
    known.sequences.holds(key, datagram.records);
    if let Some((missing, _)) = datagram.finish() {
        known.sequences.still_untold(key, missing);
    }
}

/// What a datagram says about itself.
struct Head {
    version: u16,
    /// Records in version 5, records and templates in version 9, bytes in IPFIX.
    count: u16,
    exported: Option<Timestamp>,
    /// Milliseconds since the exporter started.
    uptime: Option<u32>,
    sequence: u32,
    /// The observation domain; type and number of the engine in version 5.
    domain: u32,
    /// Mode and interval, of version 5 alone.
    sampling: u16,
}

impl Head {
    fn read(octets: &mut Octets<'_>) -> Option<Self> {
        let (version, count) = (octets.u16()?, octets.u16()?);
        let uptime = if version == 10 { None } else { Some(octets.u32()?) };
        let seconds = i64::from(octets.u32()?);
        let nanos = if version == 5 { octets.u32()?.min(999_999_999) } else { 0 };
        let exported = Timestamp::new(seconds, nanos as i32).ok();
        let sequence = octets.u32()?;
        let (domain, sampling) = match version {
            5 => (octets.u16()?.into(), octets.u16()?),
            _ => (octets.u32()?, 0),
        };
        Some(Self { version, count, exported, uptime, sequence, domain, sampling })
    }

    fn numbers(&self) -> Numbers {
        let unit = if self.version == 9 { Unit::Datagrams } else { Unit::Records };
        Numbers { key: (self.version, None, self.domain), unit, sequence: self.sequence, uptime: self.uptime }
    }

    /// Where the number lies.
    fn sequence_at(&self) -> u64 {
        match self.version {
            5 => 16,
            9 => 12,
            _ => 8,
        }
    }

    fn about(&self, exporter: Option<IpAddr>) -> Map<'static> {
        let mut about = Map(Vec::with_capacity(16));
        about.push("version", i64::from(self.version));
        if let Some(exporter) = exporter {
            about.push("exporter", exporter.to_string());
        }
        if let Some(exported) = self.exported {
            about.push("exportTime", exported.to_string());
        }
        if let Some(uptime) = self.uptime {
            about.push("systemUpTime", i64::from(uptime));
        }
        about.push("sequenceNumber", i64::from(self.sequence));
        if self.version != 10 {
            about.push("recordCount", i64::from(self.count));
        }
        if self.version != 5 {
            about.push("observationDomainId", i64::from(self.domain));
            return about;
        }
        about.push("engineType", i64::from(self.domain >> 8));
        about.push("engineId", i64::from(self.domain & 0xFF));
        about.push("samplingMode", i64::from(self.sampling >> 14));
        about.push("samplingInterval", i64::from(self.sampling & 0x3FFF));
        about
    }

    /// The moment of a count of milliseconds since the device started: `base`, where the head does not say how long ago that was. The count
    /// begins again after 49.7 days: what lies nearest to the export is meant.
    fn since_start(&self, millis: u32, base: Option<Timestamp>) -> Option<Timestamp> {
        let exported = self.exported?;
        let uptime = match self.uptime {
            Some(uptime) => uptime,
            None => exported.as_millisecond().wrapping_sub(base?.as_millisecond()) as u32,
        };
        let ago = i64::from(uptime.wrapping_sub(millis).cast_signed());
        exported.checked_sub(SignedDuration::from_millis(ago)).ok()
    }
}

/// A datagram being read.
struct Datagram<'a, 'e> {
    head: Head,
    /// What all its events say of it.
    about: &'a Map<'static>,
    record: Record<'a>,
    /// What was to come before it, until an event tells it.
    missing: Option<(u32, Unit)>,
    /// The last event, held back until it is known what was wrong behind it.
    waiting: Option<Parsed<'a>>,
    part: u32,
    /// Records in it; none if they cannot be counted.
    records: Option<u32>,
    problems: Vec<Problem>,
    /// Whether it holds a template.
    taught: bool,
    emit: &'e mut dyn FnMut(Parsed<'_>),
}

impl<'a> Datagram<'a, '_> {
    fn version_5(&mut self, octets: &mut Octets<'a>) {
        let count = self.head.count;
        let Some(template) = Template::new(VERSION_5.map(|(element, length)| Field { id: (0, element), length }).to_vec(), 0)
        else {
            return;
        };
        let start = octets.at();
        let wanted = usize::from(count) * template.record_bytes;
        let set = octets.take(wanted).unwrap_or_else(|| {
            self.problem("netflow.truncated", start, format!("{count} records were announced"));
            let there = octets.rest();
            octets.take(there.len()).unwrap_or_default()
        });
        self.flows(&template, None, set, start, None);
        self.records = Some(count.into());
    }

    fn sets(&mut self, octets: &mut Octets<'a>, templates: &mut Templates) {
        let announced = usize::from(self.head.count);
        if self.head.version == 10 && announced > self.record.raw.len() {
            self.problem("netflow.truncated", 2, format!("{announced} bytes were announced"));
        }
        loop {
            let start = octets.at();
            if is_zero(octets.rest()) {
                return;
            }
            let (Some(id), Some(length)) = (octets.u16(), octets.u16()) else {
                return self.problem("netflow.truncated", start, "less than the head of a set is left".to_owned());
            };
            let Some(length) = usize::from(length).checked_sub(4) else {
                return self.problem("netflow.set_length", start, format!("set {id} is said to have {length} bytes"));
            };
            let body = octets.take(length).unwrap_or_else(|| {
                self.problem("netflow.truncated", start, format!("set {id} is said to have {} bytes", length + 4));
                self.records = None;
                let there = octets.rest();
                octets.take(there.len()).unwrap_or_default()
            });
            self.set(id, body, start + 4, templates);
        }
    }

    fn set(&mut self, id: u16, body: &'a [u8], start: usize, templates: &mut Templates) {
        if let Some(form) = Form::of(self.head.version, id) {
            return self.learn(form, body, start, templates);
        }
        if id < 256 {
            return self.problem("netflow.set_unknown", start, format!("a set of kind {id}"));
        }
        let started = templates.start_of(self.head.domain);
        let Some(template) = templates.get((self.head.version, self.head.domain, id)) else {
            return self.unknown(id, body, start);
        };
        if let Some(started) = self.flows(template, Some(id), body, start, started) {
            templates.started(self.head.domain, started, self.record.key, self.record.received);
        }
    }

    fn learn(&mut self, form: Form, body: &[u8], start: usize, templates: &mut Templates) {
        let mut octets = Octets::new(body);
        let enterprises = self.head.version == 10;
        loop {
            let at = start + octets.at();
            match templates::next(&mut octets, form, enterprises) {
                Ok(None) => return,
                Ok(Some((_, None))) => {}
                Ok(Some((id, Some(template)))) => {
                    self.taught = true;
                    let key = (self.head.version, self.head.domain, id);
                    if templates.learn(key, template, self.record.key, self.record.received) {
                        self.problem(
                            "netflow.templates_full",
                            at,
                            "the templates not used for longest were forgotten".to_owned(),
                        );
                    }
                }
                Err(why) => return self.problem("netflow.template", at, why.to_owned()),
            }
        }
    }

    /// The records of a set. What is left behind them is padding. `base` is the start of the device as far as it is known; given back is what
    /// options say of it.
    fn flows(
        &mut self,
        template: &Template,
        id: Option<u16>,
        set: &'a [u8],
        start: usize,
        base: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let (mut octets, mut told) = (Octets::new(set), None);
        while octets.rest().len() >= template.record_bytes {
            let at = octets.at();
            if self.part >= RECORDS_MAX {
                self.problem("netflow.too_many", start + at, format!("more than {RECORDS_MAX} records"));
                self.records = None;
                break;
            }
            let mut flow = Flow::new(&self.head, template);
            if flow.read(template, &mut octets, base).is_none() {
                self.problem("netflow.truncated", start + at, "a field is longer than its set".to_owned());
                self.records = None;
                break;
            }
            let Flow { times, base: own, mut native, .. } = flow;
            self.records = self.records.map(|records| records + 1);
            let mut about = self.about(id);
            if template.scopes > 0 {
                let scopes = template.fields.iter().take(template.scopes).map(|field| Value::from(elements::name(field.id)));
                about.push("scope", Value::List(scopes.collect()));
                told = own.or(told);
            }
            times.say(&mut about);
            if let Some((_, place)) = native.0.first_mut() {
                *place = about.into();
            }
            self.event(native, times.of_event(self.head.exported), octets.since(at));
        }
        told
    }

    /// A set whose template never came, or comes later.
    fn unknown(&mut self, id: u16, body: &'a [u8], start: usize) {
        self.records = None;
        let mut native = Map::new();
        let mut about = self.about(Some(id));
        about.push("undecodedBytes", body.len() as i64);
        native.push("netflow", about);
        let time = self.head.exported.map(EventTime::exact);
        self.event(native, time, body);
        if let Some(event) = &mut self.waiting {
            let detail = format!("template {id} of observation domain {} is not known (yet)", self.head.domain);
            event.problems.push(Problem { code: "netflow.no_template", offset: start as u64, detail: Cow::Owned(detail) });
        }
    }

    /// What the next event says of the datagram. The first tells what is missing before it.
    fn about(&mut self, template: Option<u16>) -> Map<'a> {
        let mut about = Map(Vec::with_capacity(self.about.len() + 4));
        about.0.extend(self.about.iter().map(|(name, value)| (Cow::Borrowed(name), borrowed(value))));
        if let Some(id) = template {
            about.push("templateId", i64::from(id));
        }
        if let Some((count, unit)) = self.missing.take() {
            about.push(unit.missing(), i64::from(count));
            self.record.problems.push(Problem::missing("netflow.missing", self.head.sequence_at(), count, unit));
        }
        about
    }

    fn event(&mut self, native: Map<'a>, time: Option<EventTime>, raw: &'a [u8]) {
        let record = Record { raw, problems: std::mem::take(&mut self.record.problems), ..self.record };
        let mut parsed = record.event("netflow", native, time);
        parsed.part = self.part;
        self.part += 1;
        if let Some(before) = self.waiting.replace(parsed) {
            (self.emit)(before);
        }
    }

    fn problem(&mut self, code: &'static str, offset: usize, detail: String) {
        self.problems.push(Problem { code, offset: offset as u64, detail: Cow::Owned(detail) });
    }

    /// Emits what waits, with the problems. A datagram of templates alone gives no event, one of nothing at all its head. Given back is what
    /// no event has told.
    fn finish(mut self) -> Option<(u32, Unit)> {
        if self.part == 0 && (!self.taught || !self.problems.is_empty()) {
            let mut native = Map::new();
            native.push("netflow", self.about(None));
            let time = self.head.exported.map(EventTime::exact);
            self.event(native, time, self.record.raw);
        }
        if let Some(mut last) = self.waiting.take() {
            last.problems.append(&mut self.problems);
            (self.emit)(last);
        }
        self.missing
    }
}

/// The same value, its text not copied.
fn borrowed<'v>(value: &'v Value<'static>) -> Value<'v> {
    match value {
        Value::Str(text) => Value::Str(Cow::Borrowed(text)),
        other => other.clone(),
    }
}

/// A flow record being read.
struct Flow<'a, 'h> {
    head: &'h Head,
    times: Times,
    /// When the exporter started, where the record says it.
    base: Option<Timestamp>,
    /// The first place is kept for what the datagram says.
    native: Map<'a>,
}

impl<'a, 'h> Flow<'a, 'h> {
    fn new(head: &'h Head, template: &Template) -> Self {
        let mut native = Map(Vec::with_capacity(template.fields.len() + 1));
        native.push("netflow", Map::new());
        Self { head, times: Times::default(), base: None, native }
    }

    /// Reads one record; `None` if it is not all there.
    fn read(&mut self, template: &Template, octets: &mut Octets<'a>, base: Option<Timestamp>) -> Option<()> {
        let mut after_start = Vec::new();
        for field in &template.fields {
            let (id, bytes) = (field.id, field.take(octets)?);
            if bytes.is_empty() || id == PADDING {
                continue;
            }
            if id.0 == 0 {
                self.clock(id.1, bytes, &mut after_start);
            }
            self.native.push(elements::name(id), elements::value(id, bytes));
        }
        self.since_start(&after_start, base);
        Some(())
    }

    /// What an element says of when the flow was.
    fn clock(&mut self, element: u16, bytes: &[u8], after_start: &mut Vec<(u16, u32)>) {
        let (absolute, times) = (|| elements::time((0, element), bytes), &mut self.times);
        match element {
            21 | 22 | 161 if bytes.len() <= 4 => after_start.push((element, crate::octets::unsigned(bytes) as u32)),
            150 | 152 | 154 | 156 => times.start = absolute().or(times.start),
            151 | 153 | 155 | 157 => times.end = absolute().or(times.end),
            158 | 159 if bytes.len() <= 4 => {
                let before = SignedDuration::from_micros(crate::octets::unsigned(bytes) as i64);
                let at = self.head.exported.and_then(|exported| exported.checked_sub(before).ok());
                if element == 158 { times.start = at } else { times.end = at }
            }
            160 => self.base = absolute(),
            258 | 322..=325 => times.other = absolute(),
            _ => {}
        }
    }

    /// What is counted from the exporter's or the flow's start, once all of the record is known.
    fn since_start(&mut self, counts: &[(u16, u32)], base: Option<Timestamp>) {
        for (element, millis) in counts {
            let duration = SignedDuration::from_millis(i64::from(*millis));
            let (at, times) = (self.head.since_start(*millis, self.base.or(base)), &mut self.times);
            match element {
                21 => times.end = times.end.or(at),
                22 => times.start = times.start.or(at),
                _ => times.end = times.end.or_else(|| times.start?.checked_add(duration).ok()),
            }
        }
    }
}

/// When a flow was.
#[derive(Clone, Copy, Default)]
struct Times {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    /// When something else than a flow was observed.
    other: Option<Timestamp>,
}

impl Times {
    /// When it was over; where that is not said, when it was observed, begun or exported.
    fn of_event(&self, exported: Option<Timestamp>) -> Option<EventTime> {
        self.end.or(self.other).or(self.start).or(exported).map(EventTime::exact)
    }

    fn say(&self, about: &mut Map<'_>) {
        for (name, at) in [("start", self.start), ("end", self.end)] {
            if let Some(at) = at {
                about.push(name, at.to_string());
            }
        }
    }
}

/// `paddingOctets`.
const PADDING: elements::Id = (0, 210);
/// A datagram of the largest size has so many records only if they are tiny.
const RECORDS_MAX: u32 = 4096;
/// The record of version 5: elements and bytes.
const VERSION_5: [(u16, u16); 20] = [
    (8, 4),
    (12, 4),
    (15, 4),
    (10, 2),
    (14, 2),
    (2, 4),
    (1, 4),
    (22, 4),
    (21, 4),
    (7, 2),
    (11, 2),
    (210, 1),
    (6, 1),
    (4, 1),
    (5, 1),
    (16, 2),
    (17, 2),
    (9, 1),
    (13, 1),
    (210, 2),
];
