//! Events for tests, told in JSON lines, and the naive reading that searches are compared with.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::panic)]

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use parking_lot::Mutex;
use reeve_decode::{Map, Parsed, Value};
use reeve_lake::{EventRow, Lake, Options, RawSegment, RawStore, Row, Rows, SearchEvent, SearchRequest};
use reeve_ocsf::{Event, Observable};
use reeve_record::{EventTime, RecordId};

/// Raw bytes in memory; segments below the number are sealed. [`UNORDERED`] means that they cannot be read in order.
/// Last, how many records were read in order.
#[derive(Default)]
pub struct Raws(pub Mutex<BTreeMap<RecordId, Bytes>>, pub AtomicU32, pub AtomicU32);

pub const UNORDERED: u32 = u32::MAX;

impl RawStore for Raws {
    fn get_many(&self, ids: &[RecordId]) -> io::Result<Vec<Option<Bytes>>> {
        assert!(ids.is_sorted(), "ids are asked for in order");
        let raws = self.0.lock();
        Ok(ids.iter().map(|id| raws.get(id).cloned()).collect())
    }

    fn segment(&self, segment: u32) -> Option<RawSegment> {
        let sealed = self.1.load(Ordering::Relaxed);
        let raws = self.0.lock();
        let inside = raws.range(RecordId { segment, index: 0 }..=RecordId { segment, index: u32::MAX });
        let records = inside.last().map(|(id, _)| id.index + 1)?;
        (sealed != UNORDERED).then_some(RawSegment { records, sealed: segment < sealed })
    }

    fn stretch(&self, segment: u32, indexes: std::ops::Range<u32>) -> io::Result<Vec<(u32, Bytes)>> {
        let raws = self.0.lock();
        let inside = raws.range(RecordId { segment, index: indexes.start }..RecordId { segment, index: indexes.end });
        let found: Vec<_> = inside.map(|(id, raw)| (id.index, raw.clone())).collect();
        self.2.fetch_add(found.len() as u32, Ordering::Relaxed);
        Ok(found)
    }
}

/// An event told in JSON.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Told {
    pub record: Option<String>,
    #[serde(default)]
    pub records: Vec<String>,
    #[serde(default)]
    pub part: u32,
    pub time: Option<Timestamp>,
    #[serde(default)]
    pub class_uid: u32,
    #[serde(default)]
    pub activity_id: u32,
    #[serde(default)]
    pub severity_id: u32,
    pub status_id: Option<u32>,
    #[serde(default = "some_source")]
    pub source: String,
    #[serde(default = "some_decoder")]
    pub decoder: String,
    #[serde(default)]
    pub attributes: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub native: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub unmapped: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub observables: Vec<(u32, String)>,
    pub raw: String,
}

fn some_source() -> String {
    "test".into()
}

fn some_decoder() -> String {
    "json".into()
}

pub const RECEIVED: &str = "2026-11-21T12:00:00Z";

impl Told {
    pub fn id(&self) -> RecordId {
        self.record.as_deref().unwrap_or("0-0").parse().unwrap()
    }

    fn ids(&self) -> Vec<RecordId> {
        if self.records.is_empty() { vec![self.id()] } else { self.records.iter().map(|id| id.parse().unwrap()).collect() }
    }

    fn parsed(&self) -> Parsed<'static> {
        Parsed {
            records: self.ids().iter().map(|id| id.pack()).collect(),
            part: self.part,
            number: 0,
            raw: Cow::Owned(self.raw.clone().into_bytes()),
            decoder: self.decoder.clone().leak(),
            native: map(&self.native),
            time: None,
            head: None,
            problems: Vec::new(),
        }
    }

    /// The attribute that has this value.
    fn path_of(&self, value: &str) -> &'static str {
        self.attributes.iter().find(|(_, held)| held.as_str() == Some(value)).map_or("", |(path, _)| path.clone().leak())
    }

    fn event(&self) -> Event<'static> {
        Event {
            class_uid: self.class_uid,
            activity_id: self.activity_id,
            severity_id: self.severity_id,
            status_id: self.status_id,
            time: self.time.map(EventTime::exact),
            attributes: self.attributes.iter().map(|(path, value)| (&*path.clone().leak(), value_of(value))).collect(),
            unmapped: map(&self.unmapped),
            observables: self
                .observables
                .iter()
                .map(|(type_id, value)| Observable {
                    type_id: *type_id,
                    name: self.path_of(value),
                    value: Cow::Owned(value.clone()),
                })
                .collect(),
            mapping: "test/1",
        }
    }
}

fn map(object: &serde_json::Map<String, serde_json::Value>) -> Map<'static> {
    Map(object.iter().map(|(key, value)| (Cow::Owned(key.clone()), value_of(value))).collect())
}

fn value_of(value: &serde_json::Value) -> Value<'static> {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap()), Value::Int),
        serde_json::Value::String(text) => Value::Str(Cow::Owned(text.clone())),
        serde_json::Value::Array(items) => Value::List(items.iter().map(value_of).collect()),
        serde_json::Value::Object(object) => Value::Map(map(object)),
    }
}

pub fn read_events(path: &Path) -> Vec<Told> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut events: Vec<Told> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    for (index, event) in events.iter_mut().enumerate() {
        event.record.get_or_insert_with(|| format!("0-{index}"));
    }
    events
}

/// A lake in a folder of its own, with the raw bytes it reads from.
pub struct World {
    pub folder: tempfile::TempDir,
    pub raws: Arc<Raws>,
    pub lake: Arc<Lake>,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let raws = Arc::new(Raws::default());
        let lake = open(folder.path(), &raws);
        Self { folder, raws, lake }
    }

    pub fn append(&self, events: &[Told]) {
        for event in events {
            let mut raws = self.raws.0.lock();
            // The raw text of a joined event has one line a record.
            let ids = event.ids();
            let mut lines = if ids.len() > 1 { event.raw.split('\n').collect() } else { vec![event.raw.as_str()] };
            lines.resize(ids.len(), "");
            for (id, line) in ids.into_iter().zip(lines) {
                raws.entry(id).or_insert_with(|| Bytes::from(line.to_owned().into_bytes()));
            }
        }
        append(&self.lake, events).unwrap();
    }

    pub fn reopen(self) -> Self {
        let Self { folder, raws, lake } = self;
        drop(lake);
        let lake = open(folder.path(), &raws);
        Self { folder, raws, lake }
    }
}

pub fn options(raws: &Arc<Raws>) -> Options {
    Options { threads: 2, ..Options::new(raws.clone()) }
}

pub fn open(folder: &Path, raws: &Arc<Raws>) -> Arc<Lake> {
    Arc::new(Lake::open(&folder.join("lake"), options(raws)).unwrap())
}

pub fn append(lake: &Lake, events: &[Told]) -> Result<(), reeve_lake::Error> {
    lake.append_rows(gathered(events))
}

pub fn gathered(events: &[Told]) -> Rows {
    let parsed: Vec<_> = events.iter().map(Told::parsed).collect();
    let mapped: Vec<_> = events.iter().map(Told::event).collect();
    let ids: Vec<_> = events.iter().map(Told::ids).collect();
    let mut rows = Rows::with_capacity(events.len());
    for index in 0..events.len() {
        rows.push(&Row {
            records: &ids[index],
            part: events[index].part,
            received_at: RECEIVED.parse().unwrap(),
            source: &events[index].source,
            parsed: &parsed[index],
            event: &mapped[index],
        });
    }
    rows
}

/// All of an answer.
#[derive(Default, Debug)]
pub struct Answer {
    pub columns: Vec<String>,
    pub events: Vec<EventRow>,
    pub table: Vec<Vec<serde_json::Value>>,
    pub notes: Vec<String>,
    pub cost: reeve_lake::Cost,
}

pub async fn ask(lake: &Arc<Lake>, request: SearchRequest) -> Result<Answer, reeve_lake::Error> {
    let mut stream = lake.search(request)?;
    let mut answer = Answer::default();
    let mut done = false;
    while let Some(event) = stream.next().await {
        match event? {
            SearchEvent::Columns { columns, .. } => answer.columns = columns.into_iter().map(|column| column.name).collect(),
            SearchEvent::Note(note) => answer.notes.push(note),
            SearchEvent::Rows(rows) => answer.events.extend(rows),
            SearchEvent::Table(rows) => answer.table.extend(rows),
            SearchEvent::Progress(_) => {}
            SearchEvent::Done(cost) => {
                answer.cost = cost;
                done = true;
            }
        }
    }
    assert!(done, "an answer ends with its cost");
    Ok(answer)
}

pub async fn query(lake: &Arc<Lake>, text: &str) -> Result<Answer, reeve_lake::Error> {
    ask(lake, SearchRequest { query: text.into(), ..SearchRequest::default() }).await
}

pub fn identities(events: &[EventRow]) -> Vec<String> {
    events.iter().map(|event| format!("{}/{}", event.record, event.part)).collect()
}
