//! Segment files taken apart into rows and put together again, as somebody with the signing key could.
use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryBuilder, RecordBatch, StringArray, TimestampMicrosecondArray,
        UInt8Array, UInt32Array, UInt64Array,
    },
    compute::concat_batches,
    datatypes::{TimestampMicrosecondType, UInt8Type, UInt32Type, UInt64Type},
};
use jiff::Timestamp;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::ColumnPath,
};
use reeve_ledger::tree;
use reeve_record::{EventTime, Hash, Leaf, Receipt, RecordId, SaltSecret, certainty_from_code, commit, leaf_hash, lost_leaf};

#[derive(Clone, Debug)]
pub struct Row {
    pub index: u32,
    pub raw: Option<Vec<u8>>,
    pub source: String,
    pub sequence: u64,
    pub received_at: i64,
    pub transport: String,
    pub claimed_at: Option<i64>,
    pub certainty: Option<u8>,
    pub policy: String,
    pub previous: Option<Hash>,
}

/// Rows, the file's own metadata, and its schema.
#[derive(Clone)]
pub struct Table {
    pub rows: Vec<Row>,
    pub pairs: Vec<(String, String)>,
    schema: arrow::datatypes::SchemaRef,
}

impl Table {
    pub fn read(file: &[u8]) -> Self {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes_of(file)).unwrap();
        let schema = reader.schema().clone();
        let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap().iter();
        let pairs =
            pairs.filter(|pair| pair.key.starts_with("reeve.")).map(|pair| (pair.key.clone(), pair.value.clone().unwrap()));
        let pairs = pairs.collect();
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        let batch = concat_batches(&schema, &batches).unwrap();
        let rows = (0..batch.num_rows()).map(|n| row(&batch, n)).collect();
        Self { rows, pairs, schema }
    }

    /// As the ledger writes it; `pages` rows a page.
    pub fn write(&self, pages: usize) -> Vec<u8> {
        let rows = &self.rows;
        let text =
            |pick: fn(&Row) -> &str| -> ArrayRef { Arc::new(rows.iter().map(|row| Some(pick(row))).collect::<StringArray>()) };
        let mut previous = FixedSizeBinaryBuilder::new(32);
        for row in rows {
            match &row.previous {
                Some(hash) => previous.append_value(hash).unwrap(),
                None => previous.append_null(),
            }
        }
        let received: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.received_at)).collect();
        let claimed: TimestampMicrosecondArray = rows.iter().map(|row| row.claimed_at).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.index)).collect::<UInt32Array>()),
            Arc::new(rows.iter().map(|row| row.raw.as_deref()).collect::<BinaryArray>()),
            text(|row| &row.source),
            Arc::new(rows.iter().map(|row| Some(row.sequence)).collect::<UInt64Array>()),
            Arc::new(received.with_timezone("UTC")),
            text(|row| &row.transport),
            Arc::new(claimed.with_timezone("UTC")),
            Arc::new(rows.iter().map(|row| row.certainty).collect::<UInt8Array>()),
            text(|row| &row.policy),
            Arc::new(previous.finish()),
        ];
        let batch = RecordBatch::try_new(self.schema.clone(), columns).unwrap();
        let options = ArrowWriterOptions::new().with_properties(self.properties(pages));
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), self.schema.clone(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn properties(&self, pages: usize) -> WriterProperties {
        let pairs = self.pairs.iter().map(|(key, value)| KeyValue::new(key.clone(), Some(value.clone()))).collect();
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_data_page_row_count_limit(pages)
            .set_write_batch_size(pages)
            .set_key_value_metadata(Some(pairs));
        for column in ["raw", "previous"] {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
        }
        for column in ["index", "sequence", "received_at", "claimed_at"] {
            let column = ColumnPath::from(column);
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
            properties = properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
        properties.build()
    }

    fn pair(&self, key: &str) -> &str {
        self.pairs.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    /// The batch root of the rows as they are now; `None` where a row makes no leaf.
    pub fn root(&self) -> Option<Hash> {
        let segment = self.pair("reeve.segment").parse().ok()?;
        let epoch = self.pair("reeve.epoch").parse().ok()?;
        let secret = SaltSecret::new(hex::decode(self.pair("reeve.salt_secret")).ok()?.try_into().ok()?);
        let salts = secret.salts(segment);
        let mut heads = std::collections::HashMap::new();
        let mut leaves = Vec::new();
        for (row, index) in self.rows.iter().zip(0..) {
            let id = RecordId { segment, index };
            let Some(raw) = &row.raw else {
                leaves.push(leaf_hash(&lost_leaf(id)));
                continue;
            };
            let claimed = match certainty_from_code(row.certainty.unwrap_or(0))? {
                None => None,
                Some(certainty) => Some(EventTime { at: Timestamp::from_microsecond(row.claimed_at?).ok()?, certainty }),
            };
            let receipt = Receipt {
                source: row.source.as_str().into(),
                epoch,
                sequence: row.sequence,
                received_at: Timestamp::from_microsecond(row.received_at).ok()?,
                transport: row.transport.parse().ok()?,
                claimed,
                policy: row.policy.as_str().into(),
            };
            let previous = row.previous.or_else(|| heads.get(&row.source).copied()).unwrap_or_default();
            let commitment = commit(&salts.salt(index), raw);
            let hash = Leaf { id, previous, receipt, raw_length: raw.len() as u64, commitment }.hash();
            heads.insert(row.source.clone(), hash);
            leaves.push(hash);
        }
        Some(tree::root(&leaves))
    }
}

/// The reader wants to own what it reads.
fn bytes_of(file: &[u8]) -> impl parquet::file::reader::ChunkReader + 'static {
    let mut copy = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut copy, file).unwrap();
    copy
}

fn row(batch: &RecordBatch, n: usize) -> Row {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let text = |name: &str| column(name).as_string::<i32>().value(n).to_owned();
    let time = |name: &str| column(name).as_primitive::<TimestampMicrosecondType>();
    let (raw, previous) = (column("raw").as_binary::<i32>(), column("previous").as_fixed_size_binary());
    let certainty = column("claimed_certainty").as_primitive::<UInt8Type>();
    Row {
        index: column("index").as_primitive::<UInt32Type>().value(n),
        raw: raw.is_valid(n).then(|| raw.value(n).to_vec()),
        source: text("source"),
        sequence: column("sequence").as_primitive::<UInt64Type>().value(n),
        received_at: time("received_at").value(n),
        transport: text("transport"),
        claimed_at: time("claimed_at").is_valid(n).then(|| time("claimed_at").value(n)),
        certainty: certainty.is_valid(n).then(|| certainty.value(n)),
        policy: text("policy"),
        previous: previous.is_valid(n).then(|| previous.value(n).try_into().unwrap()),
    }
}
