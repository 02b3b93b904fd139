//! Publishes event segments as a Delta Lake table, so that other engines read them without Reeve.
//!
//! Format: docs/spec/lake.md, *Delta table*; the Delta transaction protocol, reader version 1, writer version 2. The log follows the
//! catalog and decides nothing: deleted, it is written anew from what is live.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::datatypes::{DataType, Field};
use jiff::Timestamp;
use reeve_objects::Objects;
use serde_json::{Map, Value, json};

use crate::{
    Error, Lake,
    catalog::{Bound, SegmentRow},
    schema::STORED,
    segment::SegmentFile,
    store::sync_folder,
};

/// The table's folder, below the lake's; its files are the event segments themselves.
const TABLE: &str = "events";
/// How long a file that left the table stays on disk for readers of earlier versions.
const GRACE: Duration = Duration::from_secs(600);

/// What a publishing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Published {
    /// The table's version since.
    pub version: u64,
    /// Files that came into the table.
    pub added: usize,
    /// Files that left it.
    pub removed: usize,
}

/// What this process knows of the table.
pub(crate) struct Table {
    next: u64,
    /// Files of the last version. Those that are live are kept alive by this too.
    files: BTreeMap<String, Option<Arc<SegmentFile>>>,
    schema: String,
    parting: Vec<(Instant, Arc<SegmentFile>)>,
}

impl Lake {
    /// Brings the Delta table up to what is live now; `None` if it is. Events in memory are not in it.
    ///
    /// # Errors
    /// The log cannot be read or written; the table is as it was, and the next call tries again.
    pub fn publish(&self) -> Result<Option<Published>, Error> {
        let mut known = self.published.lock();
        let log = self.log();
        if known.is_none() {
            *known = Some(Table::load(&log)?);
        }
        let Some(table) = known.as_mut() else { return Ok(None) };
        let live: BTreeMap<String, Arc<SegmentFile>> = self
            .snapshot()
            .files
            .into_iter()
            .filter_map(|file| Some((file.row.path.strip_prefix("events/")?.to_owned(), file)))
            .collect();
        let done = table.follow(&log, live);
        if done.is_err() {
            // Whoever wrote meanwhile, the log tells.
            *known = None;
        }
        done
    }
}

impl Lake {
    /// Brings a table that there is up to date, and keeps no file for readers of its earlier versions.
    pub(crate) fn publish_and_let_go(&self) -> Result<(), Error> {
        self.publish_if_published()?;
        if let Some(table) = self.published.lock().as_mut() {
            table.parting.clear();
        }
        Ok(())
    }

    /// Brings a table that there is up to date.
    pub(crate) fn publish_if_published(&self) -> Result<(), Error> {
        if self.log().read(0)?.is_some() {
            self.publish()?;
        }
        Ok(())
    }

    fn log(&self) -> Log {
        Log { folder: self.folder.join(TABLE).join("_delta_log"), objects: self.files.objects().cloned() }
    }
}

/// Where the log's versions are: in a folder, or on object storage, with what was read or written of them in the folder too.
struct Log {
    folder: PathBuf,
    objects: Option<Arc<dyn Objects>>,
}

impl Log {
    /// One version; `None` if it has not been written.
    fn read(&self, version: u64) -> Result<Option<String>, Error> {
        let path = version_path(&self.folder, version);
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("read the Delta log in", path)(error)),
        }
        let Some(objects) = &self.objects else { return Ok(None) };
        let bytes = match objects.get_bytes(&version_name(version)) {
            Err(reeve_objects::Error::Missing { .. }) => return Ok(None),
            read => read?,
        };
        let _ = fs::create_dir_all(&self.folder);
        if let Err(error) = write_version(&self.folder, version, &bytes) {
            tracing::debug!(%error, version, "a version of the Delta table will be fetched again");
        }
        let damaged =
            |error: std::string::FromUtf8Error| Error::Damaged { path: version_name(version), detail: error.to_string() };
        String::from_utf8(bytes).map(Some).map_err(damaged)
    }

    /// Writes a version whole, durable, and only if nobody else did.
    fn write(&self, version: u64, text: &str) -> Result<(), Error> {
        let failed = || Error::io("write the Delta log in", &self.folder);
        fs::create_dir_all(&self.folder).map_err(failed())?;
        if let Some(objects) = &self.objects {
            objects.put_bytes(&version_name(version), text.as_bytes())?;
        }
        write_version(&self.folder, version, text.as_bytes()).map_err(failed())?;
        sync_folder(&self.folder)
    }
}

impl Table {
    /// Reads the log from its beginning.
    fn load(log: &Log) -> Result<Self, Error> {
        let mut table = Self { next: 0, files: BTreeMap::new(), schema: String::new(), parting: Vec::new() };
        while let Some(text) = log.read(table.next)? {
            for line in text.lines() {
                let damaged =
                    |error: serde_json::Error| Error::Damaged { path: version_name(table.next), detail: error.to_string() };
                let mut action: Value = serde_json::from_str(line).map_err(damaged)?;
                let path = |action: &Value| action["path"].as_str().map(str::to_owned);
                if let Some(path) = path(&action["add"]) {
                    table.files.insert(path, None);
                } else if let Some(path) = path(&action["remove"]) {
                    table.files.remove(&path);
                } else if let Value::String(schema) = action["metaData"]["schemaString"].take() {
                    table.schema = schema;
                }
            }
            table.next += 1;
        }
        Ok(table)
    }

    fn follow(&mut self, log: &Log, live: BTreeMap<String, Arc<SegmentFile>>) -> Result<Option<Published>, Error> {
        self.parting.retain(|(since, _)| since.elapsed() < GRACE);
        let now = Timestamp::now().as_millisecond();
        let mut actions = Vec::new();
        let schema = schema_text();
        if schema != self.schema {
            if self.next == 0 {
                actions.push(json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }));
            }
            actions.push(metadata(&schema, now));
        }
        let gone: Vec<String> = self.files.keys().filter(|path| !live.contains_key(*path)).cloned().collect();
        let new: Vec<&String> = live.keys().filter(|path| !self.files.contains_key(*path)).collect();
        actions
            .extend(gone.iter().map(|path| json!({ "remove": { "path": path, "deletionTimestamp": now, "dataChange": true } })));
        actions.extend(new.iter().filter_map(|path| Some(add(path, &live.get(*path)?.row, now))));
        let done = Published { version: self.next, added: new.len(), removed: gone.len() };
        let published = !actions.is_empty();
        if published {
            let operation = if done.removed == 0 { "WRITE" } else { "OPTIMIZE" };
            let engine = format!("reeve {}", env!("CARGO_PKG_VERSION"));
            actions.insert(0, json!({ "commitInfo": { "timestamp": now, "operation": operation, "engineInfo": engine } }));
            let lines: Vec<String> = actions.iter().map(|action| format!("{action}\n")).collect();
            log.write(self.next, &lines.concat())?;
            self.next += 1;
        }
        let old = std::mem::replace(&mut self.files, live.into_iter().map(|(path, file)| (path, Some(file))).collect());
        let left = old.into_iter().filter(|(path, _)| gone.contains(path)).filter_map(|(_, file)| file);
        self.parting.extend(left.map(|file| (Instant::now(), file)));
        self.schema = schema;
        Ok(published.then_some(done))
    }
}

fn version_name(version: u64) -> String {
    format!("{TABLE}/_delta_log/{version:020}.json")
}

fn version_path(log: &Path, version: u64) -> PathBuf {
    log.join(format!("{version:020}.json"))
}

fn write_version(log: &Path, version: u64, text: &[u8]) -> io::Result<()> {
    let part = log.join(format!(".{version:020}.{}.part", std::process::id()));
    let mut file = File::create(&part)?;
    file.write_all(text)?;
    file.sync_all()?;
    // A link is refused where the name is taken; a rename would replace it.
    let linked = fs::hard_link(&part, version_path(log, version));
    fs::remove_file(&part)?;
    linked
}

fn metadata(schema: &str, now: i64) -> Value {
    json!({ "metaData": {
        "id": random_uuid(), "name": "events", "description": "Events as Reeve reads them from its record",
        "format": { "provider": "parquet", "options": {} }, "schemaString": schema, "partitionColumns": [], "configuration": {},
        "createdTime": now,
    } })
}

fn add(path: &str, row: &SegmentRow, now: i64) -> Value {
    json!({ "add": {
        "path": path, "partitionValues": {}, "size": row.bytes, "modificationTime": now, "dataChange": true,
        "stats": stats(row).to_string(),
    } })
}

/// What readers may skip files by. Text bounds may be cut short, which Delta allows for the lower one only: they are left out.
fn stats(row: &SegmentRow) -> Value {
    let (mut low, mut high, mut nulls) = (Map::new(), Map::new(), Map::new());
    for (name, range) in &row.ranges {
        let Ok(field) = STORED.field_with_name(name) else { continue };
        if matches!(field.data_type(), DataType::List(_) | DataType::Map(..)) {
            continue;
        }
        nulls.insert(name.clone(), range.nulls.into());
        if let Some((Bound::Integer(least), Bound::Integer(most))) = &range.bounds
            && let Some((least, most)) = bounds(field.data_type(), *least, *most)
        {
            low.insert(name.clone(), least);
            high.insert(name.clone(), most);
        }
    }
    json!({ "numRecords": row.rows, "minValues": low, "maxValues": high, "nullCount": nulls })
}

/// Times to the millisecond, as the protocol has them: the upper one rounded up.
fn bounds(kind: &DataType, least: i64, most: i64) -> Option<(Value, Value)> {
    let DataType::Timestamp(..) = kind else { return Some((least.into(), most.into())) };
    let text = |ms: i64| {
        let at = Timestamp::from_millisecond(ms).ok()?;
        Some(Value::from(at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()))
    };
    Some((text(least.div_euclid(1000))?, text(most.div_euclid(1000) + 1)?))
}

fn schema_text() -> String {
    json!({ "type": "struct", "fields": STORED.fields().iter().map(|field| described(field)).collect::<Vec<_>>() }).to_string()
}

fn described(field: &Field) -> Value {
    // Nullable throughout: a file older than a column lacks it.
    json!({ "name": field.name(), "type": type_of(field.data_type()), "nullable": true, "metadata": {} })
}

fn type_of(kind: &DataType) -> Value {
    match kind {
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "long".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Dictionary(_, value) => type_of(value),
        DataType::List(item) => json!({ "type": "array", "elementType": type_of(item.data_type()), "containsNull": true }),
        DataType::Struct(fields) => {
            json!({ "type": "struct", "fields": fields.iter().map(|field| described(field)).collect::<Vec<_>>() })
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => json!({
                "type": "map", "keyType": type_of(fields[0].data_type()), "valueType": type_of(fields[1].data_type()),
                "valueContainsNull": true,
            }),
            _ => "string".into(),
        },
        _ => "string".into(),
    }
}

fn random_uuid() -> String {
    let number = |salt: u64| u128::from(RandomState::new().hash_one(salt));
    // Version 4, and the variant of RFC 9562.
    let bits = (((number(1) << 64) | number(2)) & !((0xf << 76) | (0xc << 60))) | (4 << 76) | (8 << 60);
    let text = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}
