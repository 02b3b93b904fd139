use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use evtx::{EvtxChunkData, EvtxRecord, ParserSettings};
use reeve_record::EventTime;

use crate::{Map, Parsed, Problem, Value, exported, family, json};

const CHUNK: usize = 65_536;
const RECORD_HEADER: u64 = 24;
/// The hash buckets of a chunk's string table, in its header.
const STRING_TABLE: std::ops::Range<usize> = 128..384;

/// Reads EVTX chunks: each 64 KiB chunk stands alone, with its own string and template tables.
pub(crate) struct Chunks {
    plain: Arc<ParserSettings>,
    recovering: Arc<ParserSettings>,
    always_recover: bool,
}

impl Chunks {
    /// `always_recover` also looks for old records in the unused space of whole chunks; in damaged ones that is always done.
    pub(crate) fn new(always_recover: bool) -> Self {
        let (plain, recovering) = (ParserSettings::new(), ParserSettings::new().recover_records(true));
        Self { plain: Arc::new(plain), recovering: Arc::new(recovering), always_recover }
    }

    /// Reads one chunk's records. What cannot be read is emitted without a head, with its bytes and the reason.
    pub(crate) fn feed(&self, key: u64, raw: &[u8], emit: &mut dyn FnMut(Parsed<'_>)) {
        let mut bytes = raw.to_vec();
        let mut problems = Vec::new();
        if raw.len() < CHUNK {
            let detail = Cow::Owned(format!("{} of the chunk's {CHUNK} bytes are there", raw.len()));
            problems.push(Problem { code: "evtx.chunk_truncated", offset: raw.len() as u64, detail });
            bytes.resize(CHUNK, 0);
        }
        let chunk = match EvtxChunkData::new(bytes, false) {
            Ok(chunk) => chunk,
            Err(error) => {
                problems.push(Problem { code: "evtx.chunk_header", offset: 0, detail: Cow::Owned(error.to_string()) });
                return emit(unread(key, 0, 0, raw, problems));
            }
        };
        if !chunk.validate_header_checksum() {
            let detail = Cow::Borrowed("the chunk header does not match its checksum");
            problems.push(Problem { code: "evtx.chunk_checksum", offset: 124, detail });
        }
        if !chunk.validate_data_checksum() {
            let detail = Cow::Borrowed("the chunk's records do not match their checksum");
            problems.push(Problem { code: "evtx.chunk_checksum", offset: 52, detail });
        }
        self.records(key, raw, chunk, problems, emit);
    }

    fn records(
        &self,
        key: u64,
        raw: &[u8],
        mut data: EvtxChunkData,
        mut problems: Vec<Problem>,
        emit: &mut dyn FnMut(Parsed<'_>),
    ) {
        let settings = if self.always_recover || !problems.is_empty() { &self.recovering } else { &self.plain };
        if let Err(error) = data.parse(Arc::clone(settings)) {
            // The table only saves time: names are found by their offsets without it.
            problems.push(Problem { code: "evtx.string_table", offset: 128, detail: Cow::Owned(error.to_string()) });
            data.data[STRING_TABLE].fill(0);
            match EvtxChunkData::new(std::mem::take(&mut data.data), false) {
                Ok(again) => data = again,
                Err(_) => return emit(unread(key, 0, 0, raw, problems)),
            }
        }
        let mut chunk = match data.parse(Arc::clone(settings)) {
            Ok(chunk) => chunk,
            Err(error) => {
                problems.push(Problem { code: "evtx.string_table", offset: 128, detail: Cow::Owned(error.to_string()) });
                return emit(unread(key, 0, 0, raw, problems));
            }
        };
        let mut part = 0;
        let mut live = HashSet::new();
        for record in chunk.iter() {
            match record {
                Ok(record) => {
                    let recovered = record.recovered;
                    if !recovered {
                        live.insert(record.event_record_id);
                    } else if live.contains(&record.event_record_id) {
                        // An older copy of a record that is still there.
                        continue;
                    } else {
                        let detail = Cow::Borrowed("found in space the chunk no longer uses: deleted or overwritten once");
                        problems.push(Problem { code: "evtx.recovered", offset: record.binxml_offset, detail });
                    }
                    emit_record(key, part, raw, record, std::mem::take(&mut problems), emit);
                }
                Err(error) => {
                    problems.push(Problem { code: "evtx.record", offset: 0, detail: Cow::Owned(error.to_string()) });
                    emit(unread(key, part, 0, raw, std::mem::take(&mut problems)));
                }
            }
            part += 1;
        }
        if !problems.is_empty() {
            emit(unread(key, part, 0, raw, problems));
        }
    }
}

/// The file's header block: checked, no event.
pub(crate) fn header(key: u64, raw: &[u8], emit: &mut dyn FnMut(Parsed<'_>)) {
    let problem = match raw.get(..128) {
        None => Some(("evtx.header_truncated", "the file ends inside its header")),
        Some(head) if crc32(&head[..120]) != u32::from_le_bytes([head[124], head[125], head[126], head[127]]) => {
            Some(("evtx.header_checksum", "the file header does not match its checksum"))
        }
        Some(_) => None,
    };
    if let Some((code, detail)) = problem {
        emit(unread(key, 0, 0, raw, vec![Problem { code, offset: 0, detail: Cow::Borrowed(detail) }]));
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    evtx::checksum_ieee(bytes)
}

fn emit_record(
    key: u64,
    part: u32,
    chunk: &[u8],
    record: EvtxRecord<'_>,
    mut problems: Vec<Problem>,
    emit: &mut dyn FnMut(Parsed<'_>),
) {
    let number = record.event_record_id;
    let start = record.binxml_offset.saturating_sub(RECORD_HEADER) as usize;
    // Header, content, and the copy of the size that ends a record.
    let end = record.binxml_offset as usize + record.binxml_size as usize + 4;
    let raw = chunk.get(start..end.min(chunk.len())).unwrap_or(chunk);
    let time = EventTime::exact(record.timestamp);
    let rendered = match record.into_json_bytes() {
        Ok(rendered) => rendered.data,
        Err(error) => {
            problems.push(Problem { code: "evtx.record", offset: start as u64, detail: Cow::Owned(error.to_string()) });
            let mut parsed = unread(key, part, number, raw, problems);
            parsed.time = Some(time);
            return emit(parsed);
        }
    };
    let text = String::from_utf8_lossy(&rendered);
    let (value, broken) = json::parse(&text);
    problems.extend(broken);
    let native = if let Value::Map(map) = value { document(map) } else { Map::new() };
    let head = native.path("Event.System.EventID").is_some().then(|| family::evtx_head(&native));
    if head.is_none() {
        let detail = Cow::Borrowed("a record without an event id in its System part");
        problems.push(Problem { code: "evtx.no_system", offset: start as u64, detail });
    }
    if head.as_ref().is_some_and(|head| head.channel.is_empty()) {
        let detail = Cow::Borrowed("a record without a channel: half written, or not written by Windows");
        problems.push(Problem { code: "evtx.record_damaged", offset: start as u64, detail });
    }
    let time = written_time(&native).unwrap_or(time);
    emit(Parsed {
        records: vec![key],
        part,
        number,
        raw: Cow::Borrowed(raw),
        decoder: "evtx",
        native,
        time: Some(time),
        head,
        problems,
    });
}

fn unread(key: u64, part: u32, number: u64, raw: &[u8], problems: Vec<Problem>) -> Parsed<'_> {
    Parsed {
        records: vec![key],
        part,
        number,
        raw: Cow::Borrowed(raw),
        decoder: "evtx",
        native: Map::new(),
        time: None,
        head: None,
        problems,
    }
}

/// `TimeCreated`, which is the event's own; a forwarded record's header holds when the collector stored it.
fn written_time(native: &Map<'_>) -> Option<EventTime> {
    let text = native.path("Event.System.TimeCreated.SystemTime")?.as_str()?;
    crate::time::whole_stamp(text)
}

/// Attributes as plain fields: `Provider: {"Name", "Guid"}` in place of `{"#attributes": {…}}`, and no namespace.
fn document(mut root: Map<'_>) -> Map<'_> {
    for (_, event) in &mut root.0 {
        let Value::Map(event) = event else { continue };
        event.0.retain(|(name, _)| name != "#attributes");
        for (section, content) in &mut event.0 {
            let Value::Map(content) = content else { continue };
            if section == "System" {
                system(content);
            } else {
                fold_attributes(content);
                exported::sql_audit(content);
            }
        }
    }
    root
}

fn system(content: &mut Map<'_>) {
    let mut qualifiers = None;
    for (name, value) in &mut content.0 {
        let Value::Map(map) = value else { continue };
        fold_attributes(map);
        if name == "EventID" {
            let mut number = Value::Null;
            for (inner, value) in map.0.drain(..) {
                match inner.as_ref() {
                    "#text" => number = value,
                    _ => qualifiers = Some((inner, value)),
                }
            }
            *value = number;
        }
    }
    content.0.extend(qualifiers);
}

/// Lifts what stands under `#attributes` one level up, everywhere below `map`.
fn fold_attributes(map: &mut Map<'_>) {
    if let Some(at) = map.0.iter().position(|(name, _)| name == "#attributes")
        && let (_, Value::Map(attributes)) = map.0.remove(at)
    {
        map.0.splice(at..at, attributes.0);
    }
    for (_, value) in &mut map.0 {
        match value {
            Value::Map(inner) => fold_attributes(inner),
            Value::List(items) => items.iter_mut().for_each(|item| {
                if let Value::Map(inner) = item {
                    fold_attributes(inner);
                }
            }),
            _ => {}
        }
    }
}
