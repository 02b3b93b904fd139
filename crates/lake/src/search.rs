//! Queries to streams of rows. Nothing is cut silently: a limit that was hit is said, with what was scanned.

use std::{
    fmt,
    pin::Pin,
    str::FromStr,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Instant,
};

use arrow::{array::RecordBatch, datatypes::DataType};
use datafusion::{
    logical_expr::{Expr, LogicalPlan, lit, utils::conjunction},
    physical_plan::{ExecutionPlan, displayable, execute_stream},
    prelude::{DataFrame, SQLOptions, SessionContext, col},
    sql::{
        parser::{DFParser, Statement},
        sqlparser::ast,
    },
};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use reeve_record::RecordId;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Error, EventRow, Lake, answer,
    language::{self, Fields, Lowered, Shape},
    minutes::{self, COUNTED, EVENTS, MINUTE_US},
    rows,
    schema::{BASE, promoted},
    segment,
    store::Snapshot,
    table::{EventTable, Tally},
};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct SearchRequest {
    /// The query, in the search bar's language or in SQL.
    pub query: String,
    /// Whether it is SQL over the table `events`.
    pub sql: bool,
    /// Only events at or after this.
    pub from: Option<Timestamp>,
    /// Only events before this.
    pub to: Option<Timestamp>,
    /// Rows returned at most; `None` returns all.
    pub limit: Option<usize>,
    /// Order of events; queries with their own `sort`, tables and SQL keep theirs.
    pub order: Order,
    /// Goes on after the event of an earlier answer ([`Cost::next_cursor`]).
    pub after: Option<Cursor>,
    /// Whether events carry their native fields.
    pub native: bool,
}

/// Order of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Latest event first.
    #[default]
    Newest,
    /// Earliest event first.
    Oldest,
}

/// A place between two events of an ordered answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    time_us: i64,
    record: RecordId,
    part: u32,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.time_us, self.record, self.part)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let mut parts = text.splitn(3, '.');
            let time_us = parts.next()?.parse().ok()?;
            Some(Self { time_us, record: parts.next()?.parse().ok()?, part: parts.next()?.parse().ok()? })
        };
        read().ok_or_else(|| Error::query(0, "this cursor is none of ours: take `next_cursor` of an earlier answer as it is"))
    }
}

/// A part of an answer.
#[derive(Clone, Debug)]
pub enum SearchEvent {
    /// Comes first: the columns that follow, and whether rows are events.
    Columns {
        /// Events come as [`SearchEvent::Rows`], else rows of values as [`SearchEvent::Table`].
        events: bool,
        /// The columns.
        columns: Vec<ColumnInfo>,
    },
    /// Something the asker should know, as that no event has such a field.
    Note(String),
    /// Events, in order.
    Rows(Vec<EventRow>),
    /// Rows of values, as many as there are columns.
    Table(Vec<Vec<serde_json::Value>>),
    /// What was done so far.
    Progress(Cost),
    /// Comes last.
    Done(Cost),
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ColumnInfo {
    /// Its name; dotted path for OCSF attributes.
    pub name: String,
    /// `text`, `integer`, `number`, `timestamp`, `boolean` or `other`.
    pub kind: &'static str,
}

/// What an answer cost, and whether it is whole.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Cost {
    /// Rows that scans looked at.
    pub rows_scanned: u64,
    /// Bytes read from files.
    pub bytes_scanned: u64,
    /// Files opened.
    pub files: u64,
    /// Files that the catalog's ranges ruled out.
    pub files_pruned: u64,
    /// Time since the search began.
    pub elapsed_ms: u64,
    /// Rows returned.
    pub returned: u64,
    /// Rows that match in all; `None` while unknown, which it stays when the limit was hit (a histogram counts them).
    pub matched: Option<u64>,
    /// Whether there are more rows than were returned.
    pub truncated: bool,
    /// Where to go on if there are.
    pub next_cursor: Option<String>,
}

/// The answer as it comes. Dropping it stops the query.
pub struct SearchStream {
    events: mpsc::Receiver<Result<SearchEvent, Error>>,
    task: JoinHandle<()>,
}

impl Stream for SearchStream {
    type Item = Result<SearchEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context)
    }
}

impl Drop for SearchStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Rows handed on together.
const GROUP_ROWS: usize = 500;
/// Events of neighbouring days sorted together: few enough to answer soon, enough to keep threads busy.
const SLICE_ROWS: u64 = 1_000_000;

impl Lake {
    /// Runs a search. Must be called within a tokio runtime. The query is read before this returns, so that a mistake in
    /// it is an error here and not in the stream.
    ///
    /// # Errors
    /// [`Error::Query`] with offset, or [`Error::Sql`].
    pub fn search(self: &Arc<Self>, request: SearchRequest) -> Result<SearchStream, Error> {
        if request.sql {
            check_sql(&request.query)?
        } else {
            self.check(&request.query)?
        }
        let (sender, events) = mpsc::channel(8);
        let lake = self.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = Run::new(&lake, &request, &sender).run().await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(SearchStream { events, task })
    }

    /// Reads a query of the search bar without running it: mistakes are found, names resolved.
    ///
    /// # Errors
    /// [`Error::Query`] with offset.
    pub fn check(&self, query: &str) -> Result<(), Error> {
        let fields = Fields::new(self);
        language::lower(language::parse(query)?, &fields).map(drop)
    }

    /// The plan a search would run, as text: logical, then physical.
    ///
    /// # Errors
    /// As [`Lake::search`].
    pub async fn explain(&self, request: &SearchRequest) -> Result<String, Error> {
        let (session, table) = self.table_for(request.sql);
        let frame = if request.sql {
            check_sql(&request.query)?;
            sql_frame(&session, table, request).await?
        } else {
            let fields = Fields::new(self);
            let lowered = language::lower(language::parse(&request.query)?, &fields)?;
            let frame = filtered(&session, table, lowered.filter.clone(), time_range(request.from, request.to))?;
            let frame = lowered.apply(frame, &fields)?;
            if lowered.shape == Shape::Events {
                ordered(frame, request.order)?.limit(0, request.limit.or(lowered.head))?
            } else {
                frame
            }
        };
        let logical: LogicalPlan = frame.clone().into_optimized_plan()?;
        let physical = frame.create_physical_plan().await?;
        Ok(format!("{}\n\n{}", logical.display_indent(), displayable(physical.as_ref()).indent(true)))
    }

    /// A session and the table as of now.
    pub(crate) fn table(&self) -> (SessionContext, Arc<EventTable>) {
        self.table_for(false)
    }

    fn table_for(&self, sql: bool) -> (SessionContext, Arc<EventTable>) {
        let engine = &self.engine;
        let session = if sql { engine.sql_session() } else { engine.session() };
        let table = EventTable {
            snapshot: self.snapshot(),
            raw: self.raw().clone(),
            texts: self.texts.clone(),
            store: engine.store.clone(),
            url: engine.url.clone(),
            threads: engine.threads,
            tally: Arc::new(Tally::default()),
        };
        (session, Arc::new(table))
    }
}

impl Lake {
    /// The events of a table as counts, each row standing for `events` of them: from the counts beside files where these are there, and
    /// else from the events themselves. Rows of counts have the start of their minute as time. `filter` may name only
    /// [`COUNTED`] columns.
    pub(crate) fn counted(
        &self,
        session: &SessionContext,
        table: &EventTable,
        filter: Option<&Expr>,
        range: Option<(i64, i64)>,
    ) -> Result<DataFrame, Error> {
        let (start, end) = range.unwrap_or((i64::MIN, i64::MAX));
        // Whole minutes inside the range; what is left of it at both ends is counted event by event.
        let inner_start = start.checked_add(MINUTE_US - 1).map_or(start, |up| up.div_euclid(MINUTE_US) * MINUTE_US);
        let inner_end = if end == i64::MAX { end } else { end.div_euclid(MINUTE_US) * MINUTE_US }.max(inner_start);
        let (mut batches, mut counted, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for file in &table.snapshot.files {
            if file.row.time.1 < start || file.row.time.0 >= end {
                continue;
            }
            match self.counts.of(&self.files, &file.row) {
                Some(counts) => {
                    batches.push(minutes::within(&counts, inner_start, inner_end).map_err(Error::columns("read counts"))?);
                    counted.push(file.clone());
                }
                None => others.push(file.clone()),
            }
        }
        let rest = table.with(Snapshot { files: others, hot: table.snapshot.hot.clone() });
        let mut all = as_counts(filtered(session, rest, filter.cloned(), range)?)?;
        for edge in [(start, inner_start.min(end)), (inner_end, end)] {
            let reaches = counted.iter().any(|file| file.row.time.1 >= edge.0 && file.row.time.0 < edge.1);
            if edge.0 < edge.1 && reaches {
                let edges = table.with(Snapshot { files: counted.clone(), hot: Vec::new() });
                all = all.union(as_counts(filtered(session, edges, filter.cloned(), Some(edge))?)?)?;
            }
        }
        batches.retain(|batch| batch.num_rows() > 0);
        if !batches.is_empty() {
            let counts = session.read_batches(batches)?;
            all = all.union(match filter {
                Some(filter) => counts.filter(filter.clone())?,
                None => counts,
            })?;
        }
        Ok(all)
    }
}

/// Events as rows of counts that stand for one each.
fn as_counts(frame: DataFrame) -> Result<DataFrame, Error> {
    let columns = COUNTED.iter().map(|name| col(*name));
    Ok(frame.select(std::iter::once(col("time")).chain(columns).chain([lit(1_i64).alias(EVENTS)]).collect::<Vec<_>>())?)
}

/// Whether an expression can be answered from counts.
pub(crate) fn is_counted(expr: &Expr) -> bool {
    expr.column_refs().iter().all(|column| COUNTED.contains(&column.name.as_str()))
}

/// One running search.
struct Run<'a> {
    lake: &'a Lake,
    request: &'a SearchRequest,
    sender: &'a mpsc::Sender<Result<SearchEvent, Error>>,
    started: Instant,
    session: SessionContext,
    table: Arc<EventTable>,
    cost: Cost,
}

/// The asker has gone: there is nobody to tell.
struct Gone;

impl<'a> Run<'a> {
    fn new(lake: &'a Lake, request: &'a SearchRequest, sender: &'a mpsc::Sender<Result<SearchEvent, Error>>) -> Self {
        let (session, table) = lake.table_for(request.sql);
        Self { lake, request, sender, started: Instant::now(), session, table, cost: Cost::default() }
    }

    async fn run(mut self) -> Result<(), Error> {
        let told = if self.request.sql {
            let frame = sql_frame(&self.session, self.table.clone(), self.request).await?;
            self.table_rows(frame, Vec::new()).await?
        } else {
            self.search().await?
        };
        if told.is_ok() {
            self.update(None);
            let _ = self.send(SearchEvent::Done(self.cost.clone())).await;
        }
        Ok(())
    }

    async fn search(&mut self) -> Result<Result<(), Gone>, Error> {
        let fields = Fields::new(self.lake);
        let lowered = language::lower(language::parse(&self.request.query)?, &fields)?;
        match lowered.shape {
            Shape::Events => {
                let notes = fields.into_notes();
                self.events(lowered, notes).await
            }
            Shape::OrderedEvents => {
                let frame = filtered(
                    &self.session,
                    self.table.clone(),
                    lowered.filter.clone(),
                    time_range(self.request.from, self.request.to),
                )?;
                let frame = lowered.apply(frame, &fields)?;
                if self.begin_events(fields.into_notes()).await.is_err() {
                    return Ok(Err(Gone));
                }
                let told = self.event_rows(frame, self.request.limit).await?;
                self.cost.matched = (!self.cost.truncated).then_some(self.cost.returned);
                Ok(told)
            }
            Shape::Table => {
                let range = time_range(self.request.from, self.request.to);
                let frame = if lowered.is_counted(&fields)? {
                    let counts = self.lake.counted(&self.session, &self.table, lowered.filter.as_ref(), range)?;
                    lowered.apply_to_counts(counts, &fields)?
                } else {
                    let events = filtered(&self.session, self.table.clone(), lowered.filter.clone(), range)?;
                    lowered.apply(events, &fields)?
                };
                self.table_rows(frame, fields.into_notes()).await
            }
        }
    }

    /// Events by time, days at a time: the first rows come before the last day is read, and a limit ends the work.
    async fn events(&mut self, lowered: Lowered, notes: Vec<String>) -> Result<Result<(), Gone>, Error> {
        if self.begin_events(notes).await.is_err() {
            return Ok(Err(Gone));
        }
        let limit = [self.request.limit, lowered.head].into_iter().flatten().min();
        let asked = lowered.head.is_some_and(|head| Some(head) == limit);
        for (start, end) in slices(&self.table.snapshot, self.request) {
            let left = limit.map(|limit| limit.saturating_sub(usize::try_from(self.cost.returned).unwrap_or(usize::MAX)));
            let mut filter: Vec<Expr> = lowered.filter.clone().into_iter().collect();
            filter.extend(self.request.after.map(|cursor| after(cursor, self.request.order)));
            let frame = filtered(&self.session, self.table.clone(), conjunction(filter), Some((start, end)))?;
            let told = self.event_rows(ordered(frame, self.request.order)?, left).await?;
            if told.is_err() || self.send(SearchEvent::Progress(self.cost.clone())).await.is_err() {
                return Ok(Err(Gone));
            }
            if self.cost.truncated {
                break;
            }
        }
        // A `head` in the query is what was asked for, not a cap.
        self.cost.truncated &= !asked;
        self.cost.matched = (!self.cost.truncated && !asked).then_some(self.cost.returned);
        Ok(Ok(()))
    }

    async fn begin_events(&self, notes: Vec<String>) -> Result<(), Gone> {
        let base = BASE.iter().map(|field| ColumnInfo { name: field.name().clone(), kind: kind_name(field.data_type()) });
        let own = promoted().map(|column| ColumnInfo {
            name: column.path.to_owned(),
            kind: match column.kind {
                crate::promoted::Kind::Text => "text",
                crate::promoted::Kind::Integer => "integer",
                crate::promoted::Kind::Timestamp => "timestamp",
                crate::promoted::Kind::Boolean => "boolean",
            },
        });
        self.send(SearchEvent::Columns { events: true, columns: base.chain(own).collect() }).await?;
        self.notes(notes).await
    }

    async fn notes(&self, notes: Vec<String>) -> Result<(), Gone> {
        for note in notes {
            self.send(SearchEvent::Note(note)).await?;
        }
        Ok(())
    }

    /// Streams events of a frame, up to `limit`; one row more is read to know whether there are more.
    async fn event_rows(&mut self, frame: DataFrame, limit: Option<usize>) -> Result<Result<(), Gone>, Error> {
        let frame = event_columns(frame, self.request.native)?;
        let frame = frame.limit(0, limit.map(|limit| limit.saturating_add(1)))?;
        let (mut left, before) = (limit.unwrap_or(usize::MAX), self.cost.clone());
        let mut run = Running::start(&self.session, frame).await?;
        while let Some(batch) = run.next().await? {
            if batch.num_rows() > left {
                self.cost.truncated = true;
            }
            let kept = batch.slice(0, batch.num_rows().min(left));
            left -= kept.num_rows();
            for start in (0..kept.num_rows()).step_by(GROUP_ROWS) {
                let events = answer::event_rows(&kept.slice(start, GROUP_ROWS.min(kept.num_rows() - start)));
                self.cost.next_cursor = events.last().map(|event| cursor_of(event).to_string());
                self.cost.returned += events.len() as u64;
                if self.send(SearchEvent::Rows(events)).await.is_err() {
                    return Ok(Err(Gone));
                }
            }
        }
        self.update(Some((&run, &before)));
        Ok(Ok(()))
    }

    async fn table_rows(&mut self, frame: DataFrame, notes: Vec<String>) -> Result<Result<(), Gone>, Error> {
        let columns = frame
            .schema()
            .fields()
            .iter()
            .map(|field| ColumnInfo { name: field.name().clone(), kind: kind_name(field.data_type()) });
        let columns = SearchEvent::Columns { events: false, columns: columns.collect() };
        if self.send(columns).await.is_err() || self.notes(notes).await.is_err() {
            return Ok(Err(Gone));
        }
        let frame = frame.limit(0, self.request.limit.map(|limit| limit.saturating_add(1)))?;
        let mut left = self.request.limit.unwrap_or(usize::MAX);
        let mut run = Running::start(&self.session, frame).await?;
        while let Some(batch) = run.next().await? {
            self.cost.truncated |= batch.num_rows() > left;
            let kept = batch.slice(0, batch.num_rows().min(left));
            left -= kept.num_rows();
            self.cost.returned += kept.num_rows() as u64;
            for start in (0..kept.num_rows()).step_by(GROUP_ROWS) {
                let rows = answer::table_rows(&kept.slice(start, GROUP_ROWS.min(kept.num_rows() - start)));
                if self.send(SearchEvent::Table(rows)).await.is_err() {
                    return Ok(Err(Gone));
                }
            }
        }
        self.update(Some((&run, &Cost::default())));
        self.cost.matched = (!self.cost.truncated).then_some(self.cost.returned);
        Ok(Ok(()))
    }

    async fn send(&self, event: SearchEvent) -> Result<(), Gone> {
        self.sender.send(Ok(event)).await.map_err(|_| Gone)
    }

    fn update(&mut self, run: Option<(&Running, &Cost)>) {
        if let Some((run, before)) = run {
            let (rows, bytes) = scanned(run.plan.as_ref());
            self.cost.rows_scanned = before.rows_scanned + rows;
            self.cost.bytes_scanned = before.bytes_scanned + bytes;
        }
        self.cost.files = self.table.tally.files.load(Ordering::Relaxed);
        // Each slice of days prunes the same list: what no slice opened was pruned.
        self.cost.files_pruned = (self.table.snapshot.files.len() as u64).saturating_sub(self.cost.files);
        self.cost.elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if !self.cost.truncated {
            self.cost.next_cursor = None;
        }
    }
}

/// A plan in execution, kept for its counters.
pub(crate) struct Running {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    stream: datafusion::execution::SendableRecordBatchStream,
}

impl Running {
    pub(crate) async fn start(session: &SessionContext, frame: DataFrame) -> Result<Self, Error> {
        let plan = frame.create_physical_plan().await?;
        let stream = execute_stream(plan.clone(), session.task_ctx())?;
        Ok(Self { plan, stream })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        Ok(self.stream.next().await.transpose()?)
    }
}

/// Rows that the leaves of a plan looked at, and bytes they read.
fn scanned(plan: &dyn ExecutionPlan) -> (u64, u64) {
    let children = plan.children();
    if children.is_empty() {
        let Some(metrics) = plan.metrics() else { return (0, 0) };
        let sum = |name: &str| metrics.sum_by_name(name).map_or(0, |value| value.as_usize()) as u64;
        return (metrics.output_rows().unwrap_or_default() as u64 + sum("pushdown_rows_pruned"), sum("bytes_scanned"));
    }
    children.into_iter().map(|child| scanned(child.as_ref())).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

/// The table's events that pass the filter and lie in the time range (microseconds, end exclusive).
pub(crate) fn filtered(
    session: &SessionContext,
    table: Arc<EventTable>,
    filter: Option<Expr>,
    range: Option<(i64, i64)>,
) -> Result<DataFrame, Error> {
    let mut all: Vec<Expr> = filter.into_iter().collect();
    if let Some((start, end)) = range {
        if start > i64::MIN {
            all.push(col("time").gt_eq(language::time(start)));
        }
        if end < i64::MAX {
            all.push(col("time").lt(language::time(end)));
        }
    }
    let frame = session.read_table(table)?;
    Ok(match conjunction(all) {
        Some(filter) => frame.filter(filter)?,
        None => frame,
    })
}

pub(crate) fn time_range(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<(i64, i64)> {
    let range = (from.map_or(i64::MIN, Timestamp::as_microsecond), to.map_or(i64::MAX, Timestamp::as_microsecond));
    (range != (i64::MIN, i64::MAX)).then_some(range)
}

pub(crate) fn ordered(frame: DataFrame, order: Order) -> Result<DataFrame, Error> {
    let ascending = order == Order::Oldest;
    Ok(frame.sort(["time", "record", "part"].map(|name| col(name).sort(ascending, false)).to_vec())?)
}

/// All that an [`EventRow`] shows.
pub(crate) fn event_columns(frame: DataFrame, native: bool) -> Result<DataFrame, Error> {
    let base = BASE.iter().map(|field| col(field.name()));
    let own = promoted().map(|column| col(column.name));
    Ok(frame.select(base.chain(own).chain(native.then(|| col("native"))).collect::<Vec<_>>())?)
}

fn cursor_of(event: &EventRow) -> Cursor {
    Cursor { time_us: event.time.as_microsecond(), record: event.record, part: event.part }
}

fn after(cursor: Cursor, order: Order) -> Expr {
    let beyond = |left: Expr, right: Expr| if order == Order::Newest { left.lt(right) } else { left.gt(right) };
    let (at, record, part) = (language::time(cursor.time_us), lit(rows::packed(cursor.record)), lit(cursor.part.cast_signed()));
    let same_record = col("record").eq(record.clone()).and(beyond(col("part"), part));
    let same_time = col("time").eq(at.clone()).and(beyond(col("record"), record).or(same_record));
    // Redundant, but what statistics can be tested against.
    let bound = if order == Order::Newest { col("time").lt_eq(at.clone()) } else { col("time").gt_eq(at.clone()) };
    bound.and(beyond(col("time"), at).or(same_time))
}

/// The days that hold events, in order of the request, joined while they are small; microseconds, end exclusive.
pub(crate) fn slices(snapshot: &Snapshot, request: &SearchRequest) -> Vec<(i64, i64)> {
    const DAY: i64 = 86_400_000_000;
    let (from, to) = time_range(request.from, request.to).unwrap_or((i64::MIN, i64::MAX));
    let mut days = std::collections::BTreeMap::<i32, u64>::new();
    for file in &snapshot.files {
        *days.entry(file.row.day).or_default() += file.row.rows;
    }
    for (slot, rows) in segment::by_slot(&snapshot.hot) {
        *days.entry(slot.day).or_default() += rows.len() as u64;
    }
    let mut days: Vec<(i64, u64)> = days
        .into_iter()
        .map(|(day, rows)| (i64::from(day) * DAY, rows))
        .filter(|(start, _)| start + DAY > from && *start < to)
        .collect();
    if request.order == Order::Newest {
        days.reverse();
    }
    let mut slices: Vec<(i64, i64, u64)> = Vec::new();
    for (start, rows) in days {
        match slices.last_mut() {
            Some(last) if last.2 + rows <= SLICE_ROWS => *last = (last.0.min(start), last.1.max(start + DAY), last.2 + rows),
            _ => slices.push((start, start + DAY, rows)),
        }
    }
    slices.into_iter().map(|(start, end, _)| (start.max(from), end.min(to))).collect()
}

pub(crate) fn kind_name(kind: &DataType) -> &'static str {
    match kind {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "text",
        kind if kind.is_integer() => "integer",
        kind if kind.is_numeric() => "number",
        DataType::Timestamp(..) => "timestamp",
        DataType::Boolean => "boolean",
        _ => "other",
    }
}

/// SQL is one SELECT (or WITH … SELECT); nothing that writes, sets or names files.
fn check_sql(sql: &str) -> Result<(), Error> {
    let refuse = |message: &str| Err(Error::Sql { message: message.to_owned() });
    if sql.len() > language::MAX_BYTES {
        return refuse("the text is too long");
    }
    let statements = DFParser::parse_sql(sql).map_err(|error| Error::Sql { message: error.strip_backtrace() })?;
    if statements.len() != 1 {
        return refuse("write exactly one SELECT");
    }
    match statements.front() {
        Some(Statement::Statement(statement)) if matches!(statement.as_ref(), ast::Statement::Query(_)) => Ok(()),
        _ => refuse("only SELECT is allowed: the lake is read, never written, through queries"),
    }
}

async fn sql_frame(session: &SessionContext, table: Arc<EventTable>, request: &SearchRequest) -> Result<DataFrame, Error> {
    let events = filtered(session, table, None, time_range(request.from, request.to))?;
    session.register_table("events", events.into_view())?;
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    session.sql_with_options(&request.query, options).await.map_err(|error| Error::Sql { message: error.strip_backtrace() })
}
