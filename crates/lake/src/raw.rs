//! Raw bytes in queries. Event files hold record ids only; the bytes come from the ledger while a query runs.

use std::{fmt, io, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use bytes::Bytes;
use datafusion::{
    common::{DataFusionError, Result as EngineResult, tree_node::TreeNodeRecursion},
    config::ConfigOptions,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
        filter_pushdown::{FilterDescription, FilterPushdownPhase},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use reeve_record::RecordId;

use crate::{schema::RAW, texts::RawSegment};

/// Where the bytes of records are read.
pub trait RawStore: Send + Sync {
    /// The raw bytes of each record, `None` for one that is not there (any more). Called with ids in ascending order.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get_many(&self, ids: &[RecordId]) -> io::Result<Vec<Option<Bytes>>>;

    /// What a segment of the record is; `None` if there is none, or the store cannot be read in order.
    fn segment(&self, _segment: u32) -> Option<RawSegment> {
        None
    }

    /// The records of a stretch of one segment, in order, each with its index; what is not there (any more) is left out.
    ///
    /// # Errors
    /// The store cannot be read.
    fn stretch(&self, segment: u32, indexes: Range<u32>) -> io::Result<Vec<(u32, Bytes)>> {
        let ids: Vec<RecordId> = indexes.map(|index| RecordId { segment, index }).collect();
        let found = self.get_many(&ids)?;
        Ok(ids.iter().zip(found).filter_map(|(id, raw)| Some((id.index, raw?))).collect())
    }
}

/// Rows whose bytes are fetched together.
const GROUP_ROWS: usize = 1024;
/// Bytes up to which copying is cheaper than sharing the store's buffer.
const COPIED_BYTES: usize = 4096;

/// Adds the column `raw` to its input, which must have `record` and `records`.
pub(crate) struct RawExec {
    input: Arc<dyn ExecutionPlan>,
    store: Arc<dyn RawStore>,
    properties: Arc<PlanProperties>,
}

impl RawExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, store: Arc<dyn RawStore>) -> Self {
        let mut fields: Vec<_> = input.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(RAW, DataType::BinaryView, true)));
        let schema = Arc::new(Schema::new(fields));
        let from = input.properties();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            from.partitioning.clone(),
            from.emission_type,
            from.boundedness,
        ));
        Self { input, store, properties }
    }
}

impl fmt::Debug for RawExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawExec({:?})", self.input)
    }
}

impl DisplayAs for RawExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawExec: raw bytes from the record")
    }
}

impl ExecutionPlan for RawExec {
    fn name(&self) -> &str {
        "RawExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> EngineResult<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Arc::new(Self::new(input, self.store.clone()))),
            None => Ok(self),
        }
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> EngineResult<FilterDescription> {
        // What does not name `raw` may be tested before bytes are fetched.
        FilterDescription::from_children(parent_filters, &self.children())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> EngineResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (store, schema) = (self.store.clone(), self.schema());
        let groups = input.map_ok(|batch| {
            let starts = (0..batch.num_rows()).step_by(GROUP_ROWS);
            let slices: Vec<_> = starts.map(|start| batch.slice(start, GROUP_ROWS.min(batch.num_rows() - start))).collect();
            stream::iter(slices.into_iter().map(Ok::<_, DataFusionError>))
        });
        let out = schema.clone();
        let filled = groups.try_flatten().then(move |batch| {
            let (store, schema) = (store.clone(), out.clone());
            async move {
                let batch = batch?;
                // The ledger reads files: not on a thread that serves others.
                let task = tokio::task::spawn_blocking(move || with_raw(&batch, store.as_ref(), schema));
                task.await.map_err(|error| DataFusionError::Execution(format!("reading raw bytes: {error}")))?
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, filled)))
    }
}

fn with_raw(batch: &RecordBatch, store: &dyn RawStore, schema: SchemaRef) -> EngineResult<RecordBatch> {
    let raw = raw_column(batch, store)?;
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns.push(Arc::new(raw));
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn raw_column(batch: &RecordBatch, store: &dyn RawStore) -> EngineResult<BinaryViewArray> {
    let missing = || DataFusionError::Internal("raw bytes asked for without record ids".into());
    let first = batch.column_by_name("record").and_then(|column| column.as_primitive_opt::<Int64Type>()).ok_or_else(missing)?;
    let lists = batch.column_by_name("records").and_then(|column| column.as_list_opt::<i32>()).ok_or_else(missing)?;
    let several = lists.values().as_primitive_opt::<Int64Type>().ok_or_else(missing)?;
    let ids_of = |row: usize| -> Vec<i64> {
        if lists.is_null(row) {
            return vec![first.value(row)];
        }
        let offsets = lists.value_offsets();
        (offsets[row] as usize..offsets[row + 1] as usize).map(|index| several.value(index)).collect()
    };
    let mut wanted: Vec<i64> = (0..batch.num_rows()).flat_map(ids_of).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let ids: Vec<RecordId> = wanted.iter().map(|id| RecordId::unpack(id.cast_unsigned())).collect();
    let found = store.get_many(&ids).map_err(|error| DataFusionError::External(error.into()))?;
    let bytes_of = |id: i64| wanted.binary_search(&id).ok().and_then(|index| found.get(index)).and_then(Option::as_ref);
    fill(batch.num_rows(), ids_of, bytes_of)
}

/// One value a row; the bytes of a joined event's records stand one a line, in order.
fn fill<'b>(
    rows: usize,
    ids_of: impl Fn(usize) -> Vec<i64>,
    bytes_of: impl Fn(i64) -> Option<&'b Bytes>,
) -> EngineResult<BinaryViewArray> {
    let mut column = BinaryViewBuilder::with_capacity(rows);
    let mut shared: hashbrown::HashMap<i64, u32> = hashbrown::HashMap::new();
    for row in 0..rows {
        let ids = ids_of(row);
        match ids.as_slice() {
            [id] => match bytes_of(*id) {
                None => column.append_null(),
                Some(bytes) if bytes.len() <= COPIED_BYTES => column.append_value(bytes),
                Some(bytes) => {
                    let length = u32::try_from(bytes.len()).map_err(|_| {
                        DataFusionError::Execution(format!(
                            "record {} is larger than 4 GiB",
                            RecordId::unpack(id.cast_unsigned())
                        ))
                    })?;
                    let block = *shared.entry(*id).or_insert_with(|| column.append_block(bytes.clone().into()));
                    column.try_append_view(block, 0, length)?;
                }
            },
            _ => {
                let parts: Vec<&[u8]> = ids.iter().filter_map(|id| bytes_of(*id)).map(AsRef::as_ref).collect();
                if parts.is_empty() { column.append_null() } else { column.append_value(parts.join(&b'\n')) }
            }
        }
    }
    Ok(column.finish())
}
