//! Ingest and query rates on generated events: `cargo run --release -p reeve-lake --example lake_rate [EVENTS]`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    borrow::Cow,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use reeve_decode::{Map, Parsed, Value};
use reeve_lake::{Lake, Options, RawSegment, RawStore, Row, SearchEvent, SearchRequest};
use reeve_ocsf::{Event, Observable};
use reeve_record::{EventTime, RecordId};

const BATCH: u32 = 1000;

/// Raw bytes made as they are asked for: so many records in each sealed segment.
struct Made;

/// Records of a segment.
const SEGMENT: u32 = 65_536;

fn id(index: u32) -> RecordId {
    RecordId { segment: index / SEGMENT, index: index % SEGMENT }
}

fn index_of(id: RecordId) -> u32 {
    id.segment * SEGMENT + id.index
}

impl RawStore for Made {
    fn get_many(&self, ids: &[RecordId]) -> io::Result<Vec<Option<Bytes>>> {
        Ok(ids.iter().map(|id| Some(Bytes::from(raw(index_of(*id))))).collect())
    }

    fn segment(&self, segment: u32) -> Option<RawSegment> {
        let count = COUNT.load(Ordering::Relaxed);
        let records = count.saturating_sub(segment * SEGMENT).min(SEGMENT);
        (records > 0).then_some(RawSegment { records, sealed: true })
    }
}

fn seed(index: u32) -> u64 {
    let mut x = u64::from(index) + 0x9e37_79b9_7f4a_7c15;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn raw(index: u32) -> String {
    let s = seed(index);
    let needle = if index == 77_777 { " needle-xK9q" } else { "" };
    format!(
        r#"{{"ts":{index},"host":"srv{:03}.corp.example","user":"user{}","pid":{},"exe":"/usr/bin/tool{}","cmd":"/usr/bin/tool{} --job {:x} --in /data/{}/{:x}{needle}","src":"10.{}.{}.{}","dst":"192.0.2.{}","port":{},"session":"{:016x}","cwd":"/home/user{}/work","parent":"bash","tty":"pts{}"}}"#,
        s % 200,
        s % 500,
        s % 32768,
        s % 60,
        s % 60,
        s >> 40,
        s % 90,
        s >> 20,
        s % 4,
        s / 7 % 256,
        s / 11 % 256,
        s % 250,
        [22, 53, 80, 443][s as usize % 4],
        s,
        s % 500,
        s % 8
    )
}

fn text(text: String) -> Value<'static> {
    Value::Str(Cow::Owned(text))
}

fn made(index: u32, base: i64) -> (Parsed<'static>, Event<'static>) {
    let s = seed(index);
    let (host, user, exe) =
        (format!("srv{:03}.corp.example", s % 200), format!("user{}", s % 500), format!("/usr/bin/tool{}", s % 60));
    let cmd = format!("{exe} --job {:x} --in /data/{}/{:x}", s >> 40, s % 90, s >> 20);
    let (src, dst) = (format!("10.{}.{}.{}", s % 4, s / 7 % 256, s / 11 % 256), format!("192.0.2.{}", s % 250));
    let native = Map(vec![
        ("ts".into(), Value::Int(index.into())),
        ("host".into(), text(host.clone())),
        ("user".into(), text(user.clone())),
        ("pid".into(), Value::Int((s % 32768) as i64)),
        ("exe".into(), text(exe.clone())),
        ("cmd".into(), text(cmd.clone())),
        ("src".into(), text(src.clone())),
        ("dst".into(), text(dst.clone())),
        ("session".into(), text(format!("{s:016x}"))),
        ("cwd".into(), text(format!("/home/user{}/work", s % 500))),
        ("parent".into(), text("bash".into())),
        ("tty".into(), text(format!("pts{}", s % 8))),
    ]);
    let class_uid = [1007, 4001, 3002][s as usize % 3];
    let event = Event {
        class_uid,
        activity_id: 1,
        severity_id: 1,
        status_id: Some(1),
        time: Some(EventTime::exact(Timestamp::from_microsecond(base + i64::from(index) * 20_000).unwrap())),
        attributes: vec![
            ("device.hostname", text(host)),
            ("actor.user.name", text(user.clone())),
            ("process.pid", Value::Int((s % 32768) as i64)),
            ("process.file.path", text(exe)),
            ("process.cmd_line", text(cmd)),
            ("src_endpoint.ip", text(src.clone())),
            ("dst_endpoint.ip", text(dst.clone())),
            ("dst_endpoint.port", Value::Int([22, 53, 80, 443][s as usize % 4])),
        ],
        unmapped: Map(vec![("tty".into(), text(format!("pts{}", s % 8)))]),
        observables: vec![
            Observable { type_id: 2, name: "src_endpoint.ip", value: Cow::Owned(src) },
            Observable { type_id: 2, name: "dst_endpoint.ip", value: Cow::Owned(dst) },
            Observable { type_id: 4, name: "actor.user.name", value: Cow::Owned(user) },
        ],
        mapping: "bench/1",
    };
    let id = id(index).pack();
    let parsed = Parsed {
        records: vec![id],
        part: 0,
        number: 0,
        raw: Cow::Borrowed(b""),
        decoder: "json",
        native,
        time: None,
        head: None,
        problems: Vec::new(),
    };
    (parsed, event)
}

#[tokio::main]
async fn main() {
    let count: u32 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(500_000);
    COUNT.store(count, Ordering::Relaxed);
    let folder = tempfile::tempdir().unwrap();
    let lake = Arc::new(Lake::open(folder.path(), Options::new(Arc::new(Made))).unwrap());
    ingest(&lake, count);
    compact(&lake);
    println!("words, every record's bytes made and tested:");
    for query in NEEDLES {
        ask(&lake, query).await;
    }
    filter(&lake, count);
    println!("the same with needle filters:");
    for query in NEEDLES {
        ask(&lake, query).await;
    }
    println!("other questions:");
    for query in [
        "",
        "src_endpoint.ip:10.1.2.3",
        "actor.user.name:user77 device.hostname:srv077*",
        "process.cmd_line:*--job*ff* dst_endpoint.port:443",
        "user:user77",
        "* | stats count by class_uid",
        "* | stats count by class_uid, dst_endpoint.port",
        "* | top 10 device.hostname",
        "* | timechart span=10m count by class_uid",
        "* | stats dc(src_endpoint.ip) by device.hostname | sort -dc(src_endpoint.ip) | head 5",
    ] {
        ask(&lake, query).await;
    }
    let start = Instant::now();
    let histogram = lake.histogram("", None, None, 100).await.unwrap();
    println!("histogram: {} events in {} ms", histogram.count, start.elapsed().as_millis());
    let start = Instant::now();
    let fields = lake.fields("", None, None, 5).await.unwrap();
    println!("sidebar: {} fields of {} events in {} ms", fields.fields.len(), fields.events, start.elapsed().as_millis());
}

/// One record holds it, none does, and many do.
const NEEDLES: &[&str] = &["needle-xK9q", "needle-xK9r", "\"10.3.255.255\""];

static COUNT: AtomicU32 = AtomicU32::new(0);

fn compact(lake: &Lake) {
    let start = Instant::now();
    let (mut merges, mut rows, mut before, mut after) = (0, 0, 0, 0);
    while let Some(done) = lake.compact(&|| true).unwrap() {
        (merges, rows, before, after) = (merges + 1, rows + done.rows, before + done.bytes_before, after + done.bytes_after);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{merges} merges: {rows} events in {seconds:.1} s ({:.0} events/s), {before} bytes became {after}; {} files",
        rows as f64 / seconds,
        lake.status().segments
    );
}

fn filter(lake: &Lake, count: u32) {
    let start = Instant::now();
    let (mut bytes, mut raw_bytes) = (0, 0);
    while let Some(done) = lake.index_raw(&|| true).unwrap() {
        (bytes, raw_bytes) = (bytes + done.bytes, raw_bytes + done.raw_bytes);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "needle filters: {:.1} bytes/event ({:.1} % of the raw bytes), {:.0} events/s, making the bytes included",
        bytes as f64 / f64::from(count),
        bytes as f64 / raw_bytes as f64 * 100.0,
        f64::from(count) / seconds
    );
}

fn ingest(lake: &Lake, count: u32) {
    let base: i64 = 1_795_219_200_000_000;
    let (mut appending, mut flushing, mut raw_bytes, mut peak) = (0.0, 0.0, 0, 0);
    for start in (0..count).step_by(BATCH as usize) {
        let events: Vec<_> = (start..(start + BATCH).min(count)).map(|index| made(index, base)).collect();
        let ids: Vec<_> = (start..).take(events.len()).map(|index| [id(index)]).collect();
        raw_bytes += (start..).take(events.len()).map(|index| raw(index).len()).sum::<usize>();
        let rows: Vec<Row<'_>> = events
            .iter()
            .zip(&ids)
            .map(|((parsed, event), id)| Row {
                records: id,
                part: 0,
                received_at: Timestamp::UNIX_EPOCH,
                source: "bench",
                parsed,
                event,
            })
            .collect();
        let clock = Instant::now();
        lake.append(&rows).unwrap();
        appending += clock.elapsed().as_secs_f64();
        peak = peak.max(lake.status().hot_bytes);
        if lake.flush_due() || start + BATCH >= count {
            let clock = Instant::now();
            lake.flush(id((start + BATCH).min(count))).unwrap();
            flushing += clock.elapsed().as_secs_f64();
        }
    }
    let status = lake.status();
    let rate = |seconds: f64| (f64::from(count) / seconds) as u64;
    println!(
        "{count} events: append {} events/s, flush {} events/s, both {} events/s",
        rate(appending),
        rate(flushing),
        rate(appending + flushing)
    );
    println!(
        "{} flushes, {} files, {:.1} bytes/event stored, {:.1} bytes/event raw (kept in the record), hot peak {} MiB",
        status.flushes,
        status.segments,
        status.stored_bytes as f64 / f64::from(count),
        raw_bytes as f64 / f64::from(count),
        peak >> 20
    );
}

async fn ask(lake: &Arc<Lake>, query: &str) {
    for round in 0..2 {
        let start = Instant::now();
        let request = SearchRequest { query: query.into(), limit: Some(100), ..SearchRequest::default() };
        let mut stream = lake.search(request).unwrap();
        while let Some(event) = stream.next().await {
            if let SearchEvent::Done(cost) = event.unwrap()
                && round == 1
            {
                println!(
                    "{:>6} ms  {:>8} rows scanned  {:>10} bytes  {:>4} returned  `{query}`",
                    start.elapsed().as_millis(),
                    cost.rows_scanned,
                    cost.bytes_scanned,
                    cost.returned
                );
            }
        }
    }
}
