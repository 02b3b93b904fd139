//! What a search's results look like as a whole: counts over time, and the most frequent values of each field.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use datafusion::{
    functions_aggregate::expr_fn::{count, sum},
    logical_expr::lit,
    prelude::{Expr, col, ident},
};
use jiff::Timestamp;

use crate::{
    Error, Lake, SearchRequest, answer,
    language::{self, Fields},
    minutes::{EVENTS, MINUTE_US},
    schema::{BASE, promoted},
    search::{Running, filtered, is_counted, slices},
    store::Snapshot,
};

/// Counts over time.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Histogram {
    /// Start of the first bucket.
    pub from: Timestamp,
    /// End of the range, exclusive.
    pub to: Timestamp,
    /// Width of a bucket in milliseconds.
    pub bucket_ms: u64,
    /// All buckets in order, empty ones too.
    pub buckets: Vec<Bucket>,
    /// Events counted: the sum of the buckets.
    pub count: u64,
}

/// One bucket.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Bucket {
    /// Its start.
    pub at: Timestamp,
    /// Events in it.
    pub count: u64,
    /// Those by `severity_id`.
    pub by_severity: BTreeMap<i32, u64>,
}

/// The sidebar.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FieldsSummary {
    /// Fields that events have, the most common first.
    pub fields: Vec<FieldSummary>,
    /// Events looked at.
    pub events: u64,
    /// Whether there were more: counts are then those of a sample of the latest days.
    pub sampled: bool,
}

/// One field in the sidebar.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FieldSummary {
    /// OCSF path, or native name.
    pub name: String,
    /// `text`, `integer`, … or `native`.
    pub kind: &'static str,
    /// Events that have it.
    pub count: u64,
    /// Distinct values; 2,000 means at least that many.
    pub distinct: usize,
    /// The most frequent values.
    pub top: Vec<ValueCount>,
}

/// A value and how often it occurs.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ValueCount {
    /// The value as text.
    pub value: String,
    /// Events that have it.
    pub count: u64,
}

/// Events a sidebar looks at.
const SAMPLE_ROWS: usize = 20_000;
/// Values of a field that are told apart.
const MAX_VALUES: usize = 2_000;
/// Native fields a sidebar lists.
const MAX_NATIVE: usize = 200;
/// Buckets of a histogram.
const MAX_BUCKETS: usize = 2_000;

impl Lake {
    /// Counts the events of a query over time in about `buckets` buckets. Commands of the query after its conditions are
    /// left out. Without `from` and `to` the range is that of all events.
    ///
    /// # Errors
    /// [`Error::Query`] with offset; files that cannot be read.
    pub async fn histogram(
        &self,
        query: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        buckets: usize,
    ) -> Result<Histogram, Error> {
        let fields = Fields::new(self);
        let lowered = language::lower(language::parse(query)?, &fields)?;
        let (session, table) = self.table();
        let (first, last) = extent(&table.snapshot).unwrap_or((0, 0));
        let start = from.map_or(first, Timestamp::as_microsecond);
        let end = to.map_or(last + 1, Timestamp::as_microsecond).max(start + 1);
        let buckets = i64::try_from(buckets.clamp(1, MAX_BUCKETS)).unwrap_or(1);
        let (first, width) = grid(start, end, buckets);
        let mut histogram = empty(first, end, width)?;
        let index = (datafusion::logical_expr::cast(col("time"), arrow::datatypes::DataType::Int64) - lit(first)) / lit(width);
        let by_minutes = width % MINUTE_US == 0 && lowered.filter.as_ref().is_none_or(is_counted);
        let (frame, number) = if by_minutes {
            (self.counted(&session, &table, lowered.filter.as_ref(), Some((start, end)))?, sum(col(EVENTS)))
        } else {
            (filtered(&session, table, lowered.filter, Some((start, end)))?, count(lit(1_i64)))
        };
        let frame = frame
            .aggregate(vec![index.alias("bucket"), col("severity_id")], vec![number.alias("count")])?
            .select(vec![ident("bucket"), ident("severity_id"), ident("count")])?;
        let mut run = Running::start(&session, frame).await?;
        while let Some(batch) = run.next().await? {
            let (places, severities, counts) = (
                batch.column(0).as_primitive::<Int64Type>(),
                batch.column(1).as_primitive::<Int32Type>(),
                batch.column(2).as_primitive::<Int64Type>(),
            );
            for row in 0..batch.num_rows() {
                let bucket = usize::try_from(places.value(row)).ok().and_then(|place| histogram.buckets.get_mut(place));
                let Some(bucket) = bucket else { continue };
                let number = counts.value(row).cast_unsigned();
                bucket.count += number;
                *bucket.by_severity.entry(severities.value(row)).or_default() += number;
                histogram.count += number;
            }
        }
        Ok(histogram)
    }

    /// The fields of a query's events with their `top` most frequent values, from at most 20,000 events of the latest days: of a day
    /// that has more, from events spread over it.
    ///
    /// # Errors
    /// [`Error::Query`] with offset; files that cannot be read.
    pub async fn fields(
        &self,
        query: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        top: usize,
    ) -> Result<FieldsSummary, Error> {
        let fields = Fields::new(self);
        let lowered = language::lower(language::parse(query)?, &fields)?;
        let (session, table) = self.table();
        let request = SearchRequest { from, to, ..SearchRequest::default() };
        let mut tallies = Tallies::default();
        for range in slices(&table.snapshot, &request) {
            let base = BASE.iter().filter(|field| shown(field.name())).map(|field| col(field.name()));
            let columns: Vec<_> = base.chain(promoted().map(|column| col(column.name))).chain([col("native")]).collect();
            let left = SAMPLE_ROWS - tallies.events.min(SAMPLE_ROWS);
            let matching = filtered(&session, table.clone(), lowered.filter.clone(), Some(range))?;
            let number = matching.clone().count().await?;
            let frame = if number > left { matching.filter(spread(left, number))? } else { matching };
            tallies.sampled |= number > left;
            let frame = frame.select(columns)?.limit(0, Some(left))?;
            let mut run = Running::start(&session, frame).await?;
            while let Some(batch) = run.next().await? {
                tallies.add(&batch);
            }
            if tallies.sampled {
                break;
            }
        }
        Ok(tallies.finish(top.min(100)))
    }
}

/// Keeps about `left` of `number` events, from all of them alike and always the same ones: files come in any order, and the first of
/// them may hold a single host.
fn spread(left: usize, number: usize) -> Expr {
    const PRIME: i64 = 9973;
    const FACTOR: i64 = 7919;
    let share = (PRIME as usize * left / number.max(1)).max(1);
    let place = (col("record") % lit(PRIME)) * lit(FACTOR) % lit(PRIME);
    place.lt(lit(i64::try_from(share).unwrap_or(PRIME)))
}

/// Start of the first bucket and width of all: whole minutes once a bucket is wider than that, as counts are kept by the minute, else whole
/// milliseconds, as the answer says them.
fn grid(start: i64, end: i64, buckets: i64) -> (i64, i64) {
    let width = (end.saturating_sub(start).saturating_add(buckets - 1)) / buckets;
    if width < MINUTE_US {
        return (start, (width + 999) / 1000 * 1000);
    }
    (start.div_euclid(MINUTE_US) * MINUTE_US, width.saturating_add(MINUTE_US - 1) / MINUTE_US * MINUTE_US)
}

fn shown(name: &str) -> bool {
    matches!(name, "class_uid" | "activity_id" | "severity_id" | "status_id" | "source" | "decoder")
}

fn empty(start: i64, end: i64, width: i64) -> Result<Histogram, Error> {
    let at = |us: i64| Timestamp::from_microsecond(us).map_err(|error| Error::query(0, error.to_string()));
    let buckets = (0..)
        .map(|index| start + index * width)
        .take_while(|us| *us < end)
        .map(|us| Ok(Bucket { at: at(us)?, count: 0, by_severity: BTreeMap::new() }))
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Histogram { from: at(start)?, to: at(end)?, bucket_ms: (width / 1000).cast_unsigned(), buckets, count: 0 })
}

/// First and last event time of a snapshot.
fn extent(snapshot: &Snapshot) -> Option<(i64, i64)> {
    let files = snapshot.files.iter().map(|file| file.row.time);
    let hot = snapshot.hot.iter().filter_map(|batch| {
        let times = batch.column_by_name("time")?.as_primitive::<TimestampMicrosecondType>().values();
        Some((*times.iter().min()?, *times.iter().max()?))
    });
    files.chain(hot).reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))
}

#[derive(Default)]
struct Tallies {
    fields: BTreeMap<String, Tally>,
    natives: usize,
    events: usize,
    sampled: bool,
}

#[derive(Default)]
struct Tally {
    kind: &'static str,
    count: u64,
    values: hashbrown::HashMap<String, u64>,
}

impl Tally {
    fn add(&mut self, value: &str) {
        self.count += 1;
        let full = self.values.len() >= MAX_VALUES;
        if let Some(count) = self.values.get_mut(value) {
            *count += 1;
        } else if !full {
            self.values.insert(value.chars().take(256).collect(), 1);
        }
    }
}

impl Tallies {
    fn add(&mut self, batch: &RecordBatch) {
        let rows = batch.num_rows();
        self.events += rows;
        let schema = batch.schema();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            if field.name() == "native" {
                self.add_native(batch, rows);
                continue;
            }
            let path = promoted().find(|known| known.name == field.name()).map_or(field.name().as_str(), |known| known.path);
            for row in (0..rows).filter(|row| column.is_valid(*row)) {
                let tally = self.fields.entry(path.to_owned()).or_default();
                tally.kind = crate::search::kind_name(field.data_type());
                match answer::cell(column, row) {
                    serde_json::Value::String(text) => tally.add(&text),
                    other => tally.add(&other.to_string()),
                }
            }
        }
    }

    /// Native fields, of events without a class only: for all others the columns say it.
    fn add_native(&mut self, batch: &RecordBatch, rows: usize) {
        let Some(natives) = batch.column_by_name("native") else { return };
        let classes = batch.column_by_name("class_uid").and_then(|column| column.as_primitive_opt::<Int32Type>());
        let mut name = String::new();
        for row in (0..rows).filter(|row| classes.is_some_and(|classes| classes.value(*row) == 0)) {
            for (key, value) in answer::texts(natives, row) {
                crate::native::without_indexes(&key, &mut name);
                if !self.fields.contains_key(&name) {
                    if self.natives == MAX_NATIVE {
                        continue;
                    }
                    self.natives += 1;
                }
                let tally = self.fields.entry(name.clone()).or_default();
                if tally.kind.is_empty() {
                    tally.kind = "native";
                }
                if tally.kind == "native" {
                    tally.add(&value);
                }
            }
        }
    }

    fn finish(self, top: usize) -> FieldsSummary {
        let mut fields: Vec<FieldSummary> = self.fields.into_iter().map(|(name, tally)| summary(name, tally, top)).collect();
        fields.sort_by(|left, right| right.count.cmp(&left.count).then_with(|| left.name.cmp(&right.name)));
        FieldsSummary { fields, events: self.events as u64, sampled: self.sampled }
    }
}

fn summary(name: String, tally: Tally, top: usize) -> FieldSummary {
    let distinct = tally.values.len();
    let mut values: Vec<ValueCount> = tally.values.into_iter().map(|(value, count)| ValueCount { value, count }).collect();
    values.sort_by(|left, right| right.count.cmp(&left.count).then_with(|| left.value.cmp(&right.value)));
    values.truncate(top);
    FieldSummary { name, kind: tally.kind, count: tally.count, distinct, top: values }
}
