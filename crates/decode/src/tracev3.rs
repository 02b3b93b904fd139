//! Apple's unified log as it lies on disk: `.tracev3` files of macOS 10.12 and iOS 10 and later.
//!
//! The text of most messages is not in these files but in the programs that logged them (`uuidtext`, `dsc`). Without those an entry has its
//! time, process, thread, level, subsystem and category, where its text is to be found, and the values that go into it.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use reeve_record::EventTime;

use crate::bytes::{Bytes, until_nul, uuid};
use crate::{Map, Parsed, Problem, Value};

/// The decoder of these entries, which is that of what `log show` prints.
pub(crate) use crate::apple::UNIFIED_LOG;

/// Bytes before a chunk's data: two tags and a size.
pub(crate) const PREAMBLE: usize = 16;
const HEADER: u32 = 0x1000;
const CATALOG: u32 = 0x600B;
const CHUNKSET: u32 = 0x600D;
const FIREHOSE: u32 = 0x6001;
const OVERSIZE: u32 = 0x6002;
const STATEDUMP: u32 = 0x6003;
const SIMPLEDUMP: u32 = 0x6004;

/// What one chunk set may unpack to, in bytes; the system writes 64 KiB.
const UNPACKED_MAX: usize = 16 << 20;
/// Processes that one catalog may name.
const PROCESSES_MAX: usize = 4096;

/// Whether a file starts with the header chunk of such a log.
pub(crate) fn is_file(head: &[u8]) -> bool {
    chunk(head).is_some_and(|(tag, len)| tag == HEADER && (64..=4096).contains(&len))
        && Bytes::from(head, 16).is_some_and(|mut at| at.le32().is_some_and(|n| n > 0) && at.le32().is_some_and(|n| n > 0))
}

/// A chunk's tag and the length of its data.
fn chunk(raw: &[u8]) -> Option<(u32, usize)> {
    let mut bytes = Bytes::new(raw);
    let (tag, _) = (bytes.le32()?, bytes.le32()?);
    Some((tag, usize::try_from(bytes.le64()?).ok()?))
}

/// How many bytes the chunk at the start takes, with what fills it up to a multiple of eight; `None` for anything but a chunk of these files.
pub(crate) fn extent(raw: &[u8]) -> Option<usize> {
    let (tag, len) = chunk(raw)?;
    let known = matches!(tag, HEADER | CATALOG | CHUNKSET | FIREHOSE | OVERSIZE | STATEDUMP | SIMPLEDUMP);
    known.then(|| len.checked_add(PREAMBLE + 7).map(|len| len & !7)).flatten()
}

/// Whether a record is a chunk of its own, by its tag and its size.
pub(crate) fn is_chunk(raw: &[u8]) -> bool {
    let whole = |len: usize| raw.len() >= PREAMBLE + len && raw.len() <= (PREAMBLE + len + 7) & !7;
    chunk(raw).is_some_and(|(tag, len)| matches!(tag, HEADER | CATALOG | CHUNKSET) && len < 1 << 31 && whole(len))
}

/// What the chunks before this one said: the clock, and the processes.
#[derive(Default)]
pub(crate) struct Log {
    clock: Option<Clock>,
    boot: String,
    processes: HashMap<(u64, u32), Process>,
}

/// Ties the continuous time of entries to the calendar.
#[derive(Clone, Copy)]
struct Clock {
    /// Ticks times `numerator` over `denominator` are nanoseconds.
    numerator: u32,
    denominator: u32,
    ticks: u64,
    at: Timestamp,
}

struct Process {
    pid: u32,
    euid: u32,
    image: String,
    /// Identifier, subsystem, category.
    subsystems: Vec<(u16, String, String)>,
}

impl Log {
    /// Reads one chunk: entries for a chunk set, nothing for what only prepares them.
    pub(crate) fn feed(&mut self, key: u64, number: u64, raw: &[u8], emit: &mut dyn FnMut(Parsed<'_>)) {
        let about = |problems| Entry { key, number, part: 0, raw, problems };
        let data = raw.get(PREAMBLE..).unwrap_or_default();
        match chunk(raw).map(|(tag, _)| tag) {
            Some(HEADER) => match self.header(data) {
                Some(native) => emit(about(Vec::new()).event(native, self.clock.map(|clock| EventTime::exact(clock.at)))),
                None => emit(about(vec![problem("tracev3.header", "the file's header is cut off")]).event(Map::new(), None)),
            },
            Some(CATALOG) => {
                self.processes.clear();
                if self.catalog(data).is_none() {
                    let cut = problem("tracev3.catalog", "the catalog is cut off or damaged; processes after it have no names");
                    emit(about(vec![cut]).event(Map::new(), None));
                }
            }
            _ => match unpack(data) {
                Ok(data) => self.entries(about(Vec::new()), &data, emit),
                Err(broken) => emit(about(vec![broken]).event(Map::new(), None)),
            },
        }
    }

    fn header(&mut self, data: &[u8]) -> Option<Map<'static>> {
        *self = Self::default();
        let mut bytes = Bytes::new(data);
        let (numerator, denominator, ticks) = (bytes.le32()?, bytes.le32()?, bytes.le64()?);
        let (seconds, micros) = (i64::try_from(bytes.le64()?).ok()?, i32::try_from(bytes.le32()?).ok()?);
        let west = bytes.le32()?.cast_signed();
        let at = Timestamp::new(seconds, micros.checked_mul(1000)?).ok()?;
        self.clock = (denominator > 0).then_some(Clock { numerator, denominator, ticks, at });
        let mut native = Map(Vec::with_capacity(8));
        native.push("eventType", "fileHeader");
        native.push("timestamp", at.to_string());
        native.push("machTimestamp", i64::try_from(ticks).ok()?);
        native.push("minutesWest", i64::from(west));
        // Daylight saving and flags, then parts of their own, each with a tag and a length.
        bytes.take(8)?;
        while let (Some(tag), Some(len)) = (bytes.le32(), bytes.le32()) {
            let Some(part) = bytes.take(len as usize) else { break };
            self.part(tag, part, &mut native);
        }
        Some(native)
    }

    fn part(&mut self, tag: u32, part: &[u8], native: &mut Map<'static>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(until_nul(bytes)).into_owned();
        match tag {
            0x6101 if part.len() >= 56 => {
                native.push("buildVersion", text(&part[8..24]));
                native.push("hardwareModel", text(&part[24..56]));
            }
            0x6102 if part.len() >= 20 => {
                self.boot = uuid(&part[..16]);
                native.push("bootUUID", self.boot.clone());
            }
            0x6103 => native.push("timezoneName", text(part)),
            _ => {}
        }
    }

    fn catalog(&mut self, data: &[u8]) -> Option<()> {
        let mut bytes = Bytes::new(data);
        let (strings, processes, count) = (bytes.le16()? as usize, bytes.le16()? as usize, bytes.le16()? as usize);
        // All offsets count from behind these 24 bytes.
        let base = data.get(24..)?;
        let images: Vec<String> = base.get(..strings)?.chunks_exact(16).map(uuid).collect();
        let strings = base.get(strings..processes)?;
        let mut bytes = Bytes::from(base, processes)?;
        for _ in 0..count.min(PROCESSES_MAX) {
            let (id, process) = process(&mut bytes, &images, strings)?;
            self.processes.insert(id, process);
        }
        Some(())
    }

    /// The entries of an unpacked chunk set: chunks again, each with entries of one process.
    fn entries(&self, mut entry: Entry<'_>, data: &[u8], emit: &mut dyn FnMut(Parsed<'_>)) {
        let mut at = 0;
        while let Some((tag, len)) = data.get(at..).and_then(chunk) {
            let Some(end) = at.checked_add(PREAMBLE).and_then(|at| at.checked_add(len)) else { break };
            let Some(inner) = data.get(at + PREAMBLE..end) else {
                entry.problems.push(problem("tracev3.truncated", "a chunk is longer than what it lies in"));
                emit(entry.next().event(Map::new(), None));
                return;
            };
            let read = match tag {
                FIREHOSE => self.firehose(&mut entry, inner, emit),
                OVERSIZE => Some(()),
                STATEDUMP => self.statedump(&mut entry, inner, emit),
                SIMPLEDUMP => self.simpledump(&mut entry, inner, emit),
                _ => None,
            };
            if read.is_none() {
                entry.problems.push(Problem {
                    code: "tracev3.entry",
                    offset: at as u64,
                    detail: Cow::Borrowed("entries of a process are damaged or of an unknown kind; those before them were read"),
                });
                emit(entry.next().event(Map::new(), None));
            }
            at = (end + 7) & !7;
        }
    }

    fn firehose(&self, entry: &mut Entry<'_>, data: &[u8], emit: &mut dyn FnMut(Parsed<'_>)) -> Option<()> {
        let mut bytes = Bytes::new(data);
        let id = (bytes.le64()?, bytes.le32()?);
        bytes.take(4)?;
        let (public, private_at) = (bytes.le16()? as usize, bytes.le16()? as usize);
        bytes.take(4)?;
        let base = bytes.le64()?;
        // The size counts itself and the fifteen bytes after it.
        let public = bytes.take(public.checked_sub(16)?)?;
        // Private values fill a page of 4 KiB from its end.
        let private = 0x1000usize.checked_sub(private_at).and_then(|len| data.len().checked_sub(len));
        let private = private.and_then(|at| data.get(at..)).unwrap_or_default();
        let process = self.processes.get(&id);
        let mut bytes = Bytes::new(public);
        while bytes.rest().len() >= 24 {
            let Some(trace) = Trace::read(&mut bytes)? else { break };
            let mut native = self.start(process, base.checked_add(trace.delta)?, trace.thread);
            trace.describe(process, private, private_at, &mut native);
            let time = self.time(base.checked_add(trace.delta)?);
            emit(entry.next().event(native, time));
        }
        Some(())
    }

    /// What all entries say.
    fn start(&self, process: Option<&Process>, ticks: u64, thread: u64) -> Map<'static> {
        let mut native = Map(Vec::with_capacity(18));
        if let Some(time) = self.time(ticks) {
            native.push("timestamp", time.at.to_string());
        }
        native.push("machTimestamp", Value::Uint(ticks));
        native.push("threadID", Value::Uint(thread));
        if let Some(process) = process {
            native.push("processID", i64::from(process.pid));
            native.push("userID", i64::from(process.euid.cast_signed()));
            native.push("processImageUUID", process.image.clone());
        }
        if !self.boot.is_empty() {
            native.push("bootUUID", self.boot.clone());
        }
        native
    }

    fn time(&self, ticks: u64) -> Option<EventTime> {
        let clock = self.clock?;
        let ticks = i128::from(ticks) - i128::from(clock.ticks);
        let nanos = ticks.checked_mul(i128::from(clock.numerator))? / i128::from(clock.denominator);
        let away = SignedDuration::from_nanos(i64::try_from(nanos).ok()?);
        clock.at.checked_add(away).ok().map(EventTime::exact)
    }

    fn simpledump(&self, entry: &mut Entry<'_>, data: &[u8], emit: &mut dyn FnMut(Parsed<'_>)) -> Option<()> {
        let mut bytes = Bytes::new(data);
        let id = (bytes.le64()?, u32::try_from(bytes.le64()?).ok()?);
        let (ticks, thread) = (bytes.le64()?, bytes.le64()?);
        bytes.take(8)?;
        let sender = uuid(bytes.take(16)?);
        bytes.take(20)?;
        let (subsystem, message) = (bytes.le32()? as usize, bytes.le32()? as usize);
        let mut native = self.start(self.processes.get(&id), ticks, thread);
        native.push("eventType", "logEvent");
        native.push("messageType", "Default");
        native.push("senderImageUUID", sender);
        native.push("subsystem", String::from_utf8_lossy(until_nul(bytes.take(subsystem)?)).into_owned());
        native.push("eventMessage", String::from_utf8_lossy(until_nul(bytes.take(message)?)).into_owned());
        emit(entry.next().event(native, self.time(ticks)));
        Some(())
    }

    fn statedump(&self, entry: &mut Entry<'_>, data: &[u8], emit: &mut dyn FnMut(Parsed<'_>)) -> Option<()> {
        let mut bytes = Bytes::new(data);
        let id = (bytes.le64()?, bytes.le32()?);
        bytes.take(4)?;
        let (ticks, activity) = (bytes.le64()?, bytes.le64()?);
        let sender = uuid(bytes.take(16)?);
        let (kind, size) = (bytes.le32()?, bytes.le32()?);
        let decoder = [until_nul(bytes.take(64)?), until_nul(bytes.take(64)?)];
        let title = until_nul(bytes.take(64)?);
        let mut native = self.start(self.processes.get(&id), ticks, 0);
        native.push("eventType", "stateEvent");
        native.push("activityIdentifier", Value::Uint(activity));
        native.push("senderImageUUID", sender);
        native.push("stateKind", ["", "plist", "protobuf", "object"].get(kind as usize).copied().unwrap_or_default());
        for (name, text) in [("stateDecoder", decoder[0]), ("stateType", decoder[1]), ("title", title)] {
            if !text.is_empty() {
                native.push(name, String::from_utf8_lossy(text).into_owned());
            }
        }
        native.push("stateSize", i64::from(size));
        emit(entry.next().event(native, self.time(ticks)));
        Some(())
    }
}

fn process(bytes: &mut Bytes<'_>, images: &[String], strings: &[u8]) -> Option<((u64, u32), Process)> {
    bytes.take(4)?;
    let image = images.get(bytes.le16()? as usize).cloned().unwrap_or_default();
    bytes.take(2)?;
    let id = (bytes.le64()?, bytes.le32()?);
    let (pid, euid) = (bytes.le32()?, bytes.le32()?);
    bytes.take(4)?;
    let libraries = bytes.le32()? as usize;
    bytes.take(4)?;
    bytes.take(libraries.checked_mul(16)?)?;
    let count = bytes.le32()? as usize;
    bytes.take(4)?;
    let table = bytes.take(count.checked_mul(6)?)?;
    bytes.take((8 - count * 6 % 8) % 8)?;
    let text = |at: usize| {
        let bytes = strings.get(at..).unwrap_or_default();
        String::from_utf8_lossy(until_nul(bytes)).into_owned()
    };
    let number = |entry: &[u8], at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
    let subsystems = table
        .chunks_exact(6)
        .map(|entry| (number(entry, 0), text(number(entry, 2).into()), text(number(entry, 4).into())))
        .collect();
    Some((id, Process { pid, euid, image, subsystems }))
}

/// One entry of a firehose chunk.
struct Trace<'a> {
    kind: u8,
    level: u8,
    flags: u16,
    format: u32,
    thread: u64,
    delta: u64,
    data: &'a [u8],
}

impl<'a> Trace<'a> {
    /// The next entry; `Some(None)` where the rest is unused.
    fn read(bytes: &mut Bytes<'a>) -> Option<Option<Self>> {
        let (kind, level, flags, format) = (bytes.u8()?, bytes.u8()?, bytes.le16()?, bytes.le32()?);
        let (thread, low, high, len) = (bytes.le64()?, bytes.le32()?, bytes.le16()?, bytes.le16()? as usize);
        if kind == 0 {
            return Some(None);
        }
        let data = bytes.take(len)?;
        // The last one may end without what fills it up.
        let fill = (8 - len % 8) % 8;
        bytes.take(fill.min(bytes.rest().len()))?;
        let delta = u64::from(high) << 32 | u64::from(low);
        Some(Some(Self { kind, level, flags, format, thread, delta, data }))
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn describe(&self, process: Option<&Process>, private: &[u8], private_at: usize, native: &mut Map<'static>) {
        native.push(
            "eventType",
            match self.kind {
                2 => "activityCreateEvent",
                3 => "traceEvent",
                4 => "logEvent",
                6 => "signpostEvent",
                7 => "lossEvent",
                _ => "unknownEvent",
            },
        );
        if self.kind == 4 {
            let level = match self.level {
                0 => "Default",
                1 => "Info",
                2 => "Debug",
                0x10 => "Error",
                0x11 => "Fault",
                _ => "",
            };
            native.push("messageType", level);
        }
        native.push("formatOffset", i64::from(self.format));
        if self.kind == 4 && self.log(process, private, private_at, native).is_none() {
            native.push("valuesDamaged", true);
        }
    }

    /// What a log entry has behind its head: one field for each flag, then the values of its message.
    fn log(&self, process: Option<&Process>, private: &[u8], private_at: usize, native: &mut Map<'static>) -> Option<()> {
        let mut bytes = Bytes::new(self.data);
        if self.has(0x1) {
            native.push("activityIdentifier", i64::from(bytes.le32()?));
            bytes.take(4)?;
        }
        if self.has(0x40) {
            bytes.take(4)?;
        }
        let mut hidden: &[u8] = &[];
        if self.has(0x100) {
            let (at, len) = (bytes.le16()? as usize, bytes.le16()? as usize);
            hidden = at.checked_sub(private_at).and_then(|at| private.get(at..at.checked_add(len)?)).unwrap_or_default();
        }
        native.push("senderProgramCounter", i64::from(bytes.le32()?));
        match self.flags & 0xE {
            0x4 if self.has(0x20) => {
                bytes.take(2)?;
            }
            0xC => {
                bytes.take(if self.has(0x20) { 4 } else { 2 })?;
            }
            0x8 => {
                bytes.take(2)?;
            }
            0xA => native.push("senderImageUUID", uuid(bytes.take(16)?)),
            _ => {}
        }
        if self.has(0x200) {
            let id = bytes.le16()?;
            if let Some((_, subsystem, category)) = process.and_then(|p| p.subsystems.iter().find(|(known, ..)| *known == id)) {
                native.push("subsystem", subsystem.clone());
                native.push("category", category.clone());
            }
        }
        if self.has(0x400) {
            native.push("ttl", i64::from(bytes.u8()?));
        }
        if self.has(0x800) {
            native.push("oversizeReference", i64::from(bytes.le32()?));
            return Some(());
        }
        let values = values(&mut bytes, hidden, self.has(0x1000))?;
        native.push("values", Value::List(values));
        Some(())
    }
}

/// The values of a message, in order: numbers, texts, and `<private>` for what was not kept.
fn values(bytes: &mut Bytes<'_>, hidden: &[u8], has_backtrace: bool) -> Option<Vec<Value<'static>>> {
    bytes.take(1)?;
    let count = bytes.u8()?;
    let mut items = Vec::with_capacity(count.into());
    for _ in 0..count {
        let (kind, len) = (bytes.u8()?, bytes.u8()? as usize);
        items.push((kind, bytes.take(len)?));
    }
    // Where the caller's stack comes before the texts, those are not looked for.
    let texts = if has_backtrace { &[][..] } else { bytes.rest() };
    Some(
        items
            .into_iter()
            .filter(|(kind, _)| !matches!(kind, 0x10 | 0x12))
            .map(|(kind, item)| value(kind, item, texts, hidden))
            .collect(),
    )
}

fn value(kind: u8, item: &[u8], texts: &[u8], hidden: &[u8]) -> Value<'static> {
    let place = || {
        let [a, b, c, d] = *item else { return None };
        Some((usize::from(u16::from_le_bytes([a, b])), usize::from(u16::from_le_bytes([c, d]))))
    };
    let part = |from: &[u8]| {
        let (at, len) = place()?;
        from.get(at..at + len).map(|bytes| bytes.to_vec())
    };
    let text = |bytes: Vec<u8>| Value::from(String::from_utf8_lossy(until_nul(&bytes)).into_owned());
    match kind {
        0x00 | 0x02 => number(item),
        0x20 | 0x22 => part(texts).map_or(Value::Null, text),
        // Objects are described by text; other binary values are kept as digits.
        0x40 | 0x42 => part(texts).map_or(Value::Null, text),
        0x30 | 0x32 | 0xF2 => part(texts).map_or(Value::Null, |bytes| Value::from(hex::encode(bytes))),
        0x21 | 0x25 | 0x41 => part(hidden).filter(|bytes| !bytes.is_empty()).map_or_else(|| "<private>".into(), text),
        _ => "<private>".into(),
    }
}

fn number(item: &[u8]) -> Value<'static> {
    match *item {
        [a] => Value::Int(i64::from(a.cast_signed())),
        [a, b] => Value::Int(i64::from(i16::from_le_bytes([a, b]))),
        [a, b, c, d] => Value::Int(i64::from(i32::from_le_bytes([a, b, c, d]))),
        [a, b, c, d, e, f, g, h] => Value::Int(i64::from_le_bytes([a, b, c, d, e, f, g, h])),
        _ => Value::from(hex::encode(item)),
    }
}

/// What a chunk set holds: a list of blocks, packed by LZ4 or not, up to the end mark `bv4$`.
fn unpack(data: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::new();
    let mut bytes = Bytes::new(data);
    let cut = || problem("tracev3.unpack", "the packed entries are cut off or damaged");
    loop {
        let mark = bytes.take(4).ok_or_else(cut)?;
        if mark == b"bv4$" {
            return Ok(out);
        }
        let unpacked = bytes.le32().ok_or_else(cut)? as usize;
        if !matches!(mark, b"bv41" | b"bv4-") {
            return Err(problem("tracev3.packing", "entries are packed in a way that is not read here; only LZ4 is"));
        }
        if unpacked > UNPACKED_MAX - out.len() {
            return Err(problem("tracev3.unpack", "more than 16 MiB of entries in one set"));
        }
        if mark == b"bv4-" {
            out.extend_from_slice(bytes.take(unpacked).ok_or_else(cut)?);
            continue;
        }
        let packed = bytes.le32().ok_or_else(cut)? as usize;
        let end = out.len() + unpacked;
        lz4(bytes.take(packed).ok_or_else(cut)?, end, &mut out).filter(|()| out.len() == end).ok_or_else(cut)?;
    }
}

/// Unpacks one LZ4 block behind what `out` holds, up to `end` bytes in all.
fn lz4(packed: &[u8], end: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut bytes = Bytes::new(packed);
    while !bytes.rest().is_empty() {
        let token = usize::from(bytes.u8()?);
        let literals = length(&mut bytes, token >> 4)?;
        if literals > end - out.len() {
            return None;
        }
        out.extend_from_slice(bytes.take(literals)?);
        // The last sequence has no match.
        if bytes.rest().is_empty() {
            break;
        }
        let back = usize::from(bytes.le16()?);
        let len = length(&mut bytes, token & 15)? + 4;
        let from = out.len().checked_sub(back).filter(|_| back > 0)?;
        if len > end - out.len() {
            return None;
        }
        // It may reach into what it is writing.
        for at in from..from + len {
            out.push(out[at]);
        }
    }
    Some(())
}

/// Fifteen means that more bytes follow; the last is below 255.
fn length(bytes: &mut Bytes<'_>, start: usize) -> Option<usize> {
    let mut len = start;
    if start == 15 {
        loop {
            let more = bytes.u8()?;
            len += usize::from(more);
            if more < 255 {
                break;
            }
        }
    }
    Some(len)
}

fn problem(code: &'static str, detail: &'static str) -> Problem {
    Problem { code, offset: 0, detail: Cow::Borrowed(detail) }
}

/// The entries of one chunk, counted.
struct Entry<'r> {
    key: u64,
    number: u64,
    part: u32,
    raw: &'r [u8],
    problems: Vec<Problem>,
}

impl<'r> Entry<'r> {
    /// Itself for the next entry, which has the problems found so far.
    fn next(&mut self) -> Self {
        let part = self.part;
        self.part += 1;
        Self { key: self.key, number: self.number, part, raw: self.raw, problems: std::mem::take(&mut self.problems) }
    }

    fn event<'b>(self, native: Map<'b>, time: Option<EventTime>) -> Parsed<'b>
    where
        'r: 'b,
    {
        Parsed {
            records: vec![self.key],
            part: self.part,
            number: self.number,
            raw: Cow::Borrowed(self.raw),
            decoder: UNIFIED_LOG,
            native,
            time,
            head: None,
            problems: self.problems,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lz4_blocks() {
        // "abcd", then 8 bytes from 4 back, then "!".
        let packed = [0x44, b'a', b'b', b'c', b'd', 4, 0, 0x10, b'!'];
        let mut out = Vec::new();
        assert_eq!((lz4(&packed, 13, &mut out), out.as_slice()), (Some(()), &b"abcdabcdabcd!"[..]));
        for broken in [&packed[..6], &[0x40, b'a'], &[0x14, b'a', 9, 0], &[0xFF, 255, 255]] {
            assert_eq!(lz4(broken, 13, &mut Vec::new()), None, "{broken:?}");
        }
        assert_eq!(lz4(&packed, 12, &mut Vec::new()), None, "more than was said");
    }

    #[test]
    fn sizes_that_lie_give_a_problem() {
        let mut set = Vec::new();
        set.extend_from_slice(b"bv41");
        set.extend_from_slice(&u32::MAX.to_le_bytes());
        set.extend_from_slice(&4u32.to_le_bytes());
        assert_eq!(unpack(&set).map_err(|problem| problem.code), Err("tracev3.unpack"));
        assert_eq!(unpack(b"ZBM\x09....").map_err(|problem| problem.code), Err("tracev3.packing"));
        assert_eq!(unpack(b"").map_err(|problem| problem.code), Err("tracev3.unpack"));
    }
}
