//! The one table `events`: files and unflushed batches of one snapshot, with everything pushed down that can be.

use std::{collections::BTreeSet, fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array},
    compute::cast,
    datatypes::{DataType, Int64Type, Schema, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{
        Column, DFSchema, DataFusionError, Result as EngineResult, ScalarValue,
        pruning::PruningStatistics,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::{
        listing::PartitionedFile,
        memory::MemorySourceConfig,
        object_store::ObjectStoreUrl,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource, parquet::CachedParquetFileReaderFactory},
        source::DataSourceExec,
    },
    logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType, lit, utils::conjunction},
    object_store::{ObjectMeta, ObjectStore, path::Path},
    physical_expr::expressions::Column as PhysicalColumn,
    physical_optimizer::pruning::PruningPredicateBuilder,
    physical_plan::{
        ExecutionPlan, PhysicalExpr, empty::EmptyExec, filter::FilterExecBuilder, projection::ProjectionExec, union::UnionExec,
    },
};

use reeve_record::RecordId;

use crate::{
    RawStore,
    catalog::Bound,
    functions,
    raw::RawExec,
    schema::{RAW, STORED, TABLE},
    segment::SegmentFile,
    store::Snapshot,
    texts::{Found, TextSearch, TextTest},
};

/// Events as of one moment.
pub(crate) struct EventTable {
    pub(crate) snapshot: Snapshot,
    pub(crate) raw: Arc<dyn RawStore>,
    pub(crate) texts: Arc<TextSearch>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) url: ObjectStoreUrl,
    pub(crate) threads: usize,
    pub(crate) tally: Arc<Tally>,
}

/// What the scans of one query met.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Files that were not ruled out.
    pub(crate) files: std::sync::atomic::AtomicU64,
}

impl fmt::Debug for EventTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "events ({} files, {} batches in memory)", self.snapshot.files.len(), self.snapshot.hot.len())
    }
}

#[async_trait]
impl TableProvider for EventTable {
    fn schema(&self) -> SchemaRef {
        TABLE.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..TABLE.fields().len()).collect());
        let (on_raw, mut plain): (Vec<Expr>, Vec<Expr>) = filters.iter().cloned().partition(names_raw);
        let (on_raw, answered): (Vec<Expr>, Vec<Expr>) =
            self.find_texts(state, on_raw, &plain).await?.into_iter().partition(names_raw);
        plain.extend(answered);
        let raw_place = STORED.fields().len();
        if on_raw.is_empty() && !wanted.contains(&raw_place) {
            return self.scan_stored(state, &wanted, &plain);
        }
        let mut inner: Vec<usize> = wanted.iter().copied().filter(|place| *place != raw_place).collect();
        let named = on_raw.iter().flat_map(Expr::column_refs).filter_map(|column| STORED.index_of(&column.name).ok());
        let ids = ["record", "records"].iter().filter_map(|name| STORED.index_of(name).ok());
        for place in named.chain(ids).collect::<Vec<_>>() {
            if !inner.contains(&place) {
                inner.push(place);
            }
        }
        let scan = self.scan_stored(state, &inner, &plain)?;
        let with_raw: Arc<dyn ExecutionPlan> = Arc::new(RawExec::new(scan, self.raw.clone()));
        let filtered = filtered(state, with_raw, on_raw, None)?;
        project(filtered, &wanted)
    }
}

impl EventTable {
    /// The same table with other contents, and one tally for both.
    pub(crate) fn with(&self, snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self {
            snapshot,
            raw: self.raw.clone(),
            texts: self.texts.clone(),
            store: self.store.clone(),
            url: self.url.clone(),
            threads: self.threads,
            tally: self.tally.clone(),
        })
    }
}

fn names_raw(filter: &Expr) -> bool {
    filter.column_refs().iter().any(|column| column.name == RAW)
}

impl EventTable {
    /// The filters with their tests of text answered from the record, where that can be read in order.
    async fn find_texts(&self, state: &dyn Session, filters: Vec<Expr>, plain: &[Expr]) -> EngineResult<Vec<Expr>> {
        let mut tests: Vec<Arc<TextTest>> = Vec::new();
        for filter in &filters {
            filter.apply(|expr| {
                let new = functions::text_of(expr).filter(|test| tests.iter().all(|known| known.said != test.said));
                tests.extend(new.cloned());
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        if tests.is_empty() {
            return Ok(filters);
        }
        let (search, segments) = (self.texts.clone(), self.record_segments(&self.prune(state, plain)?));
        // Reads files: not on a thread that serves others.
        let task = tokio::task::spawn_blocking(move || {
            tests.iter().map(|test| search.find(test, &segments)).collect::<std::io::Result<Vec<_>>>()
        });
        let found = task.await.map_err(|error| DataFusionError::Execution(format!("searching the record: {error}")))?;
        let found: Vec<Arc<Found>> =
            found.map_err(|error| DataFusionError::External(error.into()))?.into_iter().flatten().map(Arc::new).collect();
        let answered = |expr: Expr| {
            let set = functions::text_of(&expr).and_then(|test| found.iter().find(|found| found.test.said == test.said));
            Ok(set.map(functions::found_test).map_or_else(|| Transformed::no(expr), Transformed::yes))
        };
        filters.into_iter().map(|filter| filter.transform_up(answered).map(|filter| filter.data)).collect()
    }

    /// The segments of the record that events of these files and of memory were read from.
    fn record_segments(&self, files: &[Arc<SegmentFile>]) -> BTreeSet<u32> {
        let of_files = files.iter().filter_map(|file| record_range(file));
        let of_hot = self.snapshot.hot.iter().filter_map(|batch| {
            let records = batch.column_by_name("record")?.as_primitive_opt::<Int64Type>()?.values();
            Some((*records.iter().min()?, *records.iter().max()?))
        });
        let segment = |packed: i64| RecordId::unpack(packed.cast_unsigned()).segment;
        of_files.chain(of_hot).flat_map(|(low, high)| segment(low)..=segment(high)).collect()
    }

    /// Files and memory without `raw`; the output has exactly the columns `wanted`.
    fn scan_stored(&self, state: &dyn Session, wanted: &[usize], filters: &[Expr]) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let mut columns = wanted.to_vec();
        for place in filters.iter().flat_map(Expr::column_refs).filter_map(|column| STORED.index_of(&column.name).ok()) {
            if !columns.contains(&place) {
                columns.push(place);
            }
        }
        let output: Option<Vec<usize>> = (columns.len() > wanted.len()).then(|| (0..wanted.len()).collect());
        let mut parts = Vec::new();
        for (files, filters) in by_filter(self.prune(state, filters)?, filters) {
            if filters.contains(&lit(false)) {
                continue;
            }
            if let Some(scan) = self.scan_files(state, &columns, files)? {
                parts.push(filtered(state, scan, filters, output.clone())?);
            }
        }
        if let Some(hot) = self.scan_hot(&columns)? {
            parts.push(filtered(state, hot, filters.to_vec(), output)?);
        }
        match parts.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(TABLE.project(wanted)?)))),
            1 => Ok(parts.remove(0)),
            _ => UnionExec::try_new(parts),
        }
    }

    fn scan_files(
        &self,
        state: &dyn Session,
        columns: &[usize],
        mut files: Vec<Arc<SegmentFile>>,
    ) -> EngineResult<Option<Arc<dyn ExecutionPlan>>> {
        self.tally.files.fetch_add(files.len() as u64, std::sync::atomic::Ordering::Relaxed);
        if files.is_empty() {
            return Ok(None);
        }
        // Newest first: a search for the latest events soon knows a time below which it need not look.
        files.sort_by_key(|file| std::cmp::Reverse(file.row.time.1));
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let factory = Arc::new(CachedParquetFileReaderFactory::new(self.store.clone(), cache));
        let schema = Arc::new(Schema::new(TABLE.fields()[..STORED.fields().len()].to_vec()));
        let source = ParquetSource::new(schema)
            .with_table_parquet_options(state.default_table_options().parquet)
            .with_parquet_file_reader_factory(factory)
            .with_pushdown_filters(true)
            .with_reorder_filters(true)
            .with_metadata_size_hint(64 << 10);
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(self.deal(&files))
            .with_projection_indices(Some(columns.to_vec()))?
            .build();
        Ok(Some(DataSourceExec::from_data_source(config)))
    }

    /// Files in as many groups as there are threads, about equal in bytes. When one file outweighs the rest they stay
    /// together, and the engine deals out its row groups instead.
    fn deal(&self, files: &[Arc<SegmentFile>]) -> Vec<FileGroup> {
        let total: u64 = files.iter().map(|file| file.row.bytes).sum();
        let largest = files.iter().map(|file| file.row.bytes).max().unwrap_or_default();
        let threads = self.threads.max(1);
        let count = if files.len() < threads || largest * 2 > total { 1 } else { threads };
        let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); count];
        for file in files {
            if let Some(group) = groups.iter_mut().min_by_key(|group| group.0) {
                group.0 += file.row.bytes;
                group.1.push(partitioned(file));
            }
        }
        groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
    }

    fn scan_hot(&self, columns: &[usize]) -> EngineResult<Option<Arc<dyn ExecutionPlan>>> {
        if self.snapshot.hot.is_empty() {
            return Ok(None);
        }
        let schema = Arc::new(TABLE.project(columns)?);
        let batches = self.snapshot.hot.iter().map(|batch| viewed(batch, columns, &schema)).collect::<EngineResult<Vec<_>>>()?;
        let partitions: Vec<Vec<RecordBatch>> = deal_evenly(batches, self.threads.max(1));
        Ok(Some(MemorySourceConfig::try_new_exec(&partitions, schema, None)?))
    }

    /// The files that can hold a row passing all filters, by what the catalog knows of them.
    fn prune(&self, state: &dyn Session, filters: &[Expr]) -> EngineResult<Vec<Arc<SegmentFile>>> {
        let files = &self.snapshot.files;
        let Some(all) = conjunction(filters.to_vec()) else { return Ok(files.clone()) };
        let predicate = state.create_physical_expr(all, &DFSchema::try_from(TABLE.as_ref().clone())?)?;
        let Some(pruning) = PruningPredicateBuilder::new().with_file_schema(TABLE.clone()).build(predicate) else {
            return Ok(files.clone());
        };
        let keep = pruning.prune(&CatalogRanges(files))?;
        Ok(files.iter().zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| file.clone()).collect())
    }
}

/// Files with the filters each needs. A name that is also a native one is tested in its columns, and in native fields where
/// those are null; in a file where they never are the second half cannot hold, and without it the filter can be pushed down.
fn by_filter(files: Vec<Arc<SegmentFile>>, filters: &[Expr]) -> Vec<(Vec<Arc<SegmentFile>>, Vec<Expr>)> {
    let mut groups: Vec<(Vec<Arc<SegmentFile>>, Vec<Expr>)> = Vec::new();
    for file in files {
        let reduced: Vec<Expr> = filters.iter().map(|filter| reduced_for(&file, filter.clone())).collect();
        match groups.iter_mut().find(|(_, filters)| *filters == reduced) {
            Some((group, _)) => group.push(file),
            None => groups.push((vec![file], reduced)),
        }
    }
    groups
}

fn reduced_for(file: &SegmentFile, filter: Expr) -> Expr {
    let reduced = filter.clone().transform_up(|expr| Ok(reduce(file, expr)));
    reduced.map_or(filter, |reduced| reduced.data)
}

fn reduce(file: &SegmentFile, expr: Expr) -> Transformed<Expr> {
    let truth = |expr: &Expr| if let Expr::Literal(ScalarValue::Boolean(truth), _) = expr { *truth } else { None };
    let new = match &expr {
        Expr::ScalarFunction(_) => functions::found_of(&expr).and_then(|found| found_in(file, found)),
        Expr::IsNull(inner) if never_null(file, inner) => Some(lit(false)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right })
            if truth(left) == Some(false) || truth(right) == Some(false) =>
        {
            Some(lit(false))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => match (truth(left), truth(right)) {
            (Some(false), _) => Some(right.as_ref().clone()),
            (_, Some(false)) => Some(left.as_ref().clone()),
            _ => None,
        },
        Expr::IsNotTrue(inner) if truth(inner) == Some(false) => Some(lit(true)),
        _ => None,
    };
    new.map_or_else(|| Transformed::no(expr.clone()), Transformed::yes)
}

/// A cheaper test for this file than [`functions::found_test`], if it has none of the events that need more than a record's id.
fn found_in(file: &SegmentFile, found: &Arc<Found>) -> Option<Expr> {
    let (low, high) = record_range(file)?;
    let any = found.between(low, high)?;
    let joined = file.row.ranges.get("records").is_none_or(|range| range.nulls != file.row.rows);
    let chunked = match file.row.ranges.get("decoder").and_then(|range| range.bounds.as_ref()) {
        Some((Bound::Text(low), Bound::Text(high))) => low.as_str() <= functions::CHUNKED && functions::CHUNKED <= high.as_str(),
        _ => true,
    };
    (!joined && !chunked).then(|| if any { functions::found_record(found) } else { lit(false) })
}

/// First and last record (packed) that the file's events are named by.
fn record_range(file: &SegmentFile) -> Option<(i64, i64)> {
    match file.row.ranges.get("record")?.bounds.as_ref()? {
        (Bound::Integer(low), Bound::Integer(high)) => Some((*low, *high)),
        _ => None,
    }
}

fn never_null(file: &SegmentFile, expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if file.row.ranges.get(&column.name).is_some_and(|range| range.nulls == 0))
}

fn partitioned(file: &Arc<SegmentFile>) -> PartitionedFile {
    let meta = ObjectMeta {
        location: Path::from(file.row.path.as_str()),
        // Files never change under their name, so any constant does: cached footers stay valid.
        last_modified: Default::default(),
        size: file.row.bytes,
        e_tag: None,
        version: None,
    };
    // The plan holds the file alive: a merge that replaces it during the query removes it from disk only afterwards.
    PartitionedFile::new_from_meta(meta).with_extension(file.clone())
}

fn filtered(
    state: &dyn Session,
    input: Arc<dyn ExecutionPlan>,
    filters: Vec<Expr>,
    output: Option<Vec<usize>>,
) -> EngineResult<Arc<dyn ExecutionPlan>> {
    match conjunction(filters) {
        Some(all) => {
            let schema = DFSchema::try_from(input.schema().as_ref().clone())?;
            let predicate = state.create_physical_expr(all, &schema)?;
            Ok(Arc::new(FilterExecBuilder::new(predicate, input).apply_projection(output)?.build()?))
        }
        None => Ok(input),
    }
}

fn project(input: Arc<dyn ExecutionPlan>, wanted: &[usize]) -> EngineResult<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    let columns = wanted.iter().map(|place| {
        let name = TABLE.field(*place).name();
        let column: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new(name, schema.index_of(name)?));
        Ok((column, name.clone()))
    });
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<EngineResult<Vec<_>>>()?, input)?))
}

/// A stored batch's columns as queries see them: text as views over the same bytes.
fn viewed(batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> EngineResult<RecordBatch> {
    let arrays = columns.iter().zip(schema.fields()).map(|(place, field)| {
        let column = batch.column(*place);
        if column.data_type() == field.data_type() { Ok(column.clone()) } else { cast(column, field.data_type()) }
    });
    let arrays = arrays.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
}

fn deal_evenly(batches: Vec<RecordBatch>, threads: usize) -> Vec<Vec<RecordBatch>> {
    let count = threads.min(batches.len()).max(1);
    let mut partitions = vec![Vec::new(); count];
    for (index, batch) in batches.into_iter().enumerate() {
        partitions[index % count].push(batch);
    }
    partitions
}

/// What the catalog knows of each file, as the pruning of predicates wants it.
struct CatalogRanges<'a>(&'a [Arc<SegmentFile>]);

impl CatalogRanges<'_> {
    fn bounds(&self, column: &Column, pick: impl Fn(&(Bound, Bound)) -> &Bound) -> Option<ArrayRef> {
        let field = TABLE.field_with_name(column.name()).ok()?;
        let values = self.0.iter().map(|file| {
            let bound = file.row.ranges.get(column.name()).and_then(|range| range.bounds.as_ref()).map(&pick);
            scalar(bound, field.data_type())
        });
        ScalarValue::iter_to_array(values.collect::<Option<Vec<_>>>()?).ok()
    }
}

fn scalar(bound: Option<&Bound>, kind: &DataType) -> Option<ScalarValue> {
    let Some(bound) = bound else { return ScalarValue::try_from(kind).ok() };
    match (bound, kind) {
        (Bound::Integer(number), DataType::Int64) => Some(ScalarValue::Int64(Some(*number))),
        (Bound::Integer(number), DataType::Int32) => Some(ScalarValue::Int32(Some(i32::try_from(*number).ok()?))),
        (Bound::Integer(us), DataType::Timestamp(_, zone)) => Some(ScalarValue::TimestampMicrosecond(Some(*us), zone.clone())),
        (Bound::Text(text), DataType::Utf8View) => Some(ScalarValue::Utf8View(Some(text.clone()))),
        _ => None,
    }
}

impl PruningStatistics for CatalogRanges<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |bounds| &bounds.0)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |bounds| &bounds.1)
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts: UInt64Array = self.0.iter().map(|file| file.row.ranges.get(column.name()).map(|range| range.nulls)).collect();
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts: UInt64Array = self.0.iter().map(|file| Some(file.row.rows)).collect();
        Some(Arc::new(counts))
    }

    fn contained(&self, _: &Column, _: &std::collections::HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
