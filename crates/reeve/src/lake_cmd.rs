//! `reeve lake`: the reading made again, checked against the record, tidied up.

use std::{path::PathBuf, sync::Arc};

use futures::StreamExt as _;
use jiff::Timestamp;
use reeve_lake::{Lake, SearchEvent, SearchRequest};
use reeve_ledger::Ledger;
use reeve_record::RecordId;
use serde_json::{Value, json};

use crate::{
    exit::{Failure, UNUSABLE, UNVERIFIED, USAGE},
    folder::{Folder, LedgerRaw, engine},
    output,
    serve::reading::read_again,
};

/// What to do with the lake of a data folder that no server runs on.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "Examples:
  reeve lake check --data /var/lib/reeve
  reeve lake rebuild --data /var/lib/reeve --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z")]
pub(crate) enum Command {
    /// Read records again and put what comes out in the place of their events
    Rebuild(Rebuild),
    /// Read a sample of records again and compare events and answers with the lake's; exits with 4 if they differ
    Check(Check),
    /// Merge event files and make needle filters now, as a server does in the background
    Compact(Compact),
}

/// Read records again
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve lake rebuild --data /var/lib/reeve
  reeve lake rebuild --data /var/lib/reeve --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z

Times are those of receipt; whole segments of the record are read, and as much more as missing event files held. The old events stay until
the new ones are complete. Prints what was replaced as JSON.")]
pub(crate) struct Rebuild {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only records received at or after this time, RFC 3339
    #[arg(long, value_name = "T")]
    from: Option<Timestamp>,
    /// Only records received before this time, RFC 3339
    #[arg(long, value_name = "T")]
    to: Option<Timestamp>,
}

/// Compare the lake with the record
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve lake check --data /var/lib/reeve
  reeve lake check --data /var/lib/reeve --records 100000 --seed 7

Prints one JSON object: how many records were read again, which events and which answers differ, and whether the files that should be there
are, on object storage too, and no others.")]
pub(crate) struct Check {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Records read again, about
    #[arg(long, value_name = "N", default_value_t = 16_000)]
    records: u32,
    /// Which ones: the same number takes the same [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Merge event files
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  reeve lake compact --data case-17\n  reeve lake compact --data /var/lib/reeve | jq .files")]
pub(crate) struct Compact {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Rebuild(args) => rebuild(&args),
        Command::Check(args) => check(&args),
        Command::Compact(args) => compact(&args),
    }
}

fn rebuild(args: &Rebuild) -> Result<(), Failure> {
    let folder = Folder::existing(&args.data)?;
    let (engine, _) = engine(&[])?;
    noted(&folder, "lake_rebuild")?;
    let (from, to) = records_between(&folder.ledger, args.from, args.to)?;
    let unusable = |error: reeve_lake::Error| Failure::new(UNUSABLE, error);
    let mut rereading = folder.lake.reread(from, to).map_err(unusable)?;
    let (from, to) = rereading.range();
    let read = read_again(&folder.dir, &folder.ledger, &engine, (from, to), &mut |rows| rereading.append(rows))?;
    let done = rereading.finish().map_err(unusable)?;
    output::json(&json!({ "from": from, "to": to, "records": read, "replaced": done }))
}

fn compact(args: &Compact) -> Result<(), Failure> {
    let folder = Folder::existing(&args.data)?;
    let unusable = |error: reeve_lake::Error| Failure::new(UNUSABLE, error);
    let (mut files, mut merges, mut segments, mut filter_bytes) = (0, 0, 0, 0);
    while let Some(done) = folder.lake.compact(&|| true).map_err(unusable)? {
        (files, merges) = (files + done.files, merges + 1);
    }
    while let Some(done) = folder.lake.index_raw(&|| true).map_err(unusable)? {
        (segments, filter_bytes) = (segments + 1, filter_bytes + done.bytes);
    }
    let removed = folder.lake.sweep().map_err(unusable)?;
    output::json(&json!({
        "removed": removed, "merges": merges, "files": files, "segments_filtered": segments, "filter_bytes": filter_bytes, "lake": folder.lake.status(),
    }))
}

/// Whoever runs this may do so; that they did is in the audit ledger first.
fn noted(folder: &Folder, act: &'static str) -> Result<(), Failure> {
    folder.access.session(act, &Folder::person().name).map_err(|error| Failure::new(USAGE, error))
}

/// The segments that hold what was received in the range, by the time of their first record.
fn records_between(ledger: &Ledger, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(RecordId, RecordId), Failure> {
    let end = ledger.durable_end();
    let mut range = (RecordId::default(), end);
    if from.is_none() && to.is_none() {
        return Ok(range);
    }
    let mut ended = false;
    for segment in 0..=end.segment {
        let first = RecordId { segment, index: 0 };
        let record = ledger.read_from(first, 1).map_err(|error| Failure::new(UNUSABLE, error))?.into_iter().next();
        let Some(at) = record.filter(|record| record.id.segment == segment).map(|record| record.receipt.received_at) else {
            continue;
        };
        if from.is_some_and(|from| at <= from) && !ended {
            range.0 = first;
        }
        // Clocks go back too: the range ends only where no later segment begins inside it.
        let outside = to.is_some_and(|to| at >= to);
        if outside && !ended {
            (range.1, ended) = (first, true);
        } else if !outside && ended {
            (range.1, ended) = (end, false);
        }
    }
    Ok(range)
}

/// Records read again together.
const STRETCH: u32 = 2000;

fn check(args: &Check) -> Result<(), Failure> {
    let folder = Folder::existing(&args.data)?;
    noted(&folder, "lake_check")?;
    let (engine, _) = engine(&[])?;
    let seed = args.seed.unwrap_or_else(|| Timestamp::now().as_nanosecond() as u64);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let place = folder.dir.join("lake/tmp").join(format!("check-{}", std::process::id()));
    let (mut records, mut events, mut differ) = (0, 0, Vec::new());
    for range in sample(&folder.ledger, folder.lake.read_through(), args.records, seed) {
        let again = Arc::new(fresh(&place, &folder)?);
        records += read_again(&folder.dir, &folder.ledger, &engine, range, &mut |rows| again.append_rows(rows))?;
        let (kept, made) = runtime.block_on(async { (answer(&folder.lake, range).await, answer(&again, range).await) });
        let made = made?;
        events += made.len();
        match kept {
            Ok(kept) => differ.extend(differences(&kept, &made)),
            Err(failure) => differ.push(json!({ "from": range.0, "to": range.1, "unreadable": failure.message })),
        }
        drop(again);
        let _ = std::fs::remove_dir_all(&place);
    }
    let answers = runtime.block_on(answers_differ(&folder.lake));
    let unusable = |error: reeve_lake::Error| Failure::new(UNUSABLE, error);
    folder.lake.sweep().map_err(unusable)?;
    let kept = folder.lake.kept().map_err(unusable)?;
    output::json(&json!({
        "seed": seed, "kept": kept, "records": records, "events": events, "differ": differ.len(), "first": differ.iter().take(20).collect::<Vec<_>>(),
        "answers": answers,
    }))?;
    if !kept.orphans.is_empty() {
        let hint = "a Reeve that was told of another catalog may have written them; nothing reads them";
        return Err(Failure::new(
            UNVERIFIED,
            format!("{} files are where files are kept and nobody names them: {hint}", kept.orphans.len()),
        ));
    }
    if differ.is_empty() && kept.missing.is_empty() && answers.iter().all(|answer| answer["same"] == true) {
        return Ok(());
    }
    let hint = "`reeve lake rebuild` makes events anew from the record; events of another Reeve's decoders differ too";
    Err(Failure::new(UNVERIFIED, format!("the lake does not say what the record says: {hint}")))
}

/// Another lake over the same record, empty.
fn fresh(place: &std::path::Path, folder: &Folder) -> Result<Lake, Failure> {
    let _ = std::fs::remove_dir_all(place);
    Lake::open(place, reeve_lake::Options::new(Arc::new(LedgerRaw(folder.ledger.clone()))))
        .map_err(|error| Failure::new(UNUSABLE, error))
}

/// Stretches of records spread over all that was read.
fn sample(ledger: &Ledger, end: RecordId, records: u32, seed: u64) -> Vec<(RecordId, RecordId)> {
    let counts: Vec<u32> = (0..=end.segment)
        .map(|segment| if segment == end.segment { end.index } else { ledger.extent(segment).map_or(0, |(records, _)| records) })
        .collect();
    let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    let stretches = u64::from(records.div_ceil(STRETCH).max(1));
    let mut random = seed | 1;
    let mut ranges: Vec<(RecordId, RecordId)> = Vec::new();
    for nth in 0..stretches.min(total.div_ceil(u64::from(STRETCH))) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // One in each equal part, somewhere in it.
        let part = (total / stretches).max(1);
        let mut place = nth * part + random % part;
        for (segment, count) in (0..).zip(&counts) {
            if place < u64::from(*count) {
                let from = RecordId { segment, index: place as u32 };
                ranges.push((from, RecordId { segment, index: from.index.saturating_add(STRETCH).min(*count) }));
                break;
            }
            place -= u64::from(*count);
        }
    }
    ranges
}

/// Every column of the events of these records but the raw bytes, which both read from the same place.
async fn answer(lake: &Arc<Lake>, (from, to): (RecordId, RecordId)) -> Result<Vec<Vec<Value>>, Failure> {
    let query = format!(
        "SELECT * EXCLUDE (raw) FROM events WHERE record >= {} AND record < {} ORDER BY record, part",
        from.pack(),
        to.pack()
    );
    ask(lake, &query, true).await
}

async fn ask(lake: &Arc<Lake>, query: &str, sql: bool) -> Result<Vec<Vec<Value>>, Failure> {
    let failed = |error: reeve_lake::Error| Failure::new(UNUSABLE, error);
    let mut stream = lake.search(SearchRequest { query: query.to_owned(), sql, ..SearchRequest::default() }).map_err(failed)?;
    let mut rows = Vec::new();
    while let Some(part) = stream.next().await {
        if let SearchEvent::Table(part) = part.map_err(failed)? {
            rows.extend(part);
        }
    }
    Ok(rows)
}

/// The events that only one has, or that are not the same in both.
fn differences(kept: &[Vec<Value>], made: &[Vec<Value>]) -> Vec<Value> {
    let lines = |rows: &[Vec<Value>]| {
        rows.iter().map(|row| Value::from(row.clone()).to_string()).collect::<std::collections::BTreeSet<_>>()
    };
    let (kept, made) = (lines(kept), lines(made));
    let only =
        |side: &str, line: &String| json!({ "only": side, "event": serde_json::from_str::<Value>(line).unwrap_or_default() });
    let lake = kept.difference(&made).map(|line| only("lake", line));
    lake.chain(made.difference(&kept).map(|line| only("record", line))).collect()
}

/// Answers from what is kept beside files, and the same counted event by event.
async fn answers_differ(lake: &Arc<Lake>) -> Vec<Value> {
    const PAIRS: [(&str, &str); 3] = [
        ("* | stats count by class_uid", "SELECT class_uid, count(*) FROM events GROUP BY 1 ORDER BY 1"),
        (
            "* | stats count by severity_id, status_id",
            "SELECT severity_id, status_id, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
        ),
        (
            "* | timechart span=1h count by device.hostname",
            "SELECT date_trunc('hour', time) AS t, device_hostname, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
        ),
    ];
    let mut answers = Vec::new();
    for (query, sql) in PAIRS {
        let (kept, counted) = match (ask(lake, query, false).await, ask(lake, sql, true).await) {
            (Ok(kept), Ok(counted)) => (kept, counted),
            (Err(failure), _) | (_, Err(failure)) => {
                answers.push(json!({ "query": query, "same": false, "unreadable": failure.message }));
                continue;
            }
        };
        let sorted = |rows: Vec<Vec<Value>>| {
            let mut rows: Vec<String> = rows.into_iter().map(|row| Value::from(row).to_string()).collect();
            rows.sort();
            rows
        };
        answers.push(json!({ "query": query, "rows": kept.len(), "same": sorted(kept) == sorted(counted) }));
    }
    answers
}
