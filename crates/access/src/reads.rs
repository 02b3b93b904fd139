use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use reeve_decode::{Decoder, Hint, Parsed};
use reeve_lake::{EventDetail, EventFilter, EventRow, FieldsSummary, Histogram, Lake, SearchRequest, SearchStream};
use reeve_ledger::{Ledger, StoredRecord};
use reeve_record::RecordId;

use crate::{Error, Scoped};

/// The only way to events and records: every method wants a [`Scoped`] request.
pub struct Reads {
    lake: Arc<Lake>,
    ledger: Arc<Ledger>,
}

/// A query over a range of event time, for the histogram and the field sidebar.
#[derive(Clone, Debug)]
pub struct Range {
    /// In the search bar's language.
    pub query: String,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Buckets of the histogram, or values per field.
    pub parts: usize,
}

/// One event: its first record, and which event of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventKey {
    /// The record.
    pub record: RecordId,
    /// Which event of the record, from 0.
    pub part: u32,
}

/// An event with its four faces.
pub struct FullEvent {
    /// What the lake holds of it; `None` if nothing was read out of the record.
    pub event: Option<EventDetail>,
    /// The records it was read from; never empty, the first is the one asked for.
    pub records: Vec<StoredRecord>,
    /// The event's own bytes: the first record, or the part of it that this event is.
    pub raw: Bytes,
    /// The fields as the source names them: nested where reading the bytes again gives this event, else as the lake keeps them.
    pub native: serde_json::Value,
    /// What was wrong with the bytes.
    pub problems: Vec<reeve_decode::Problem>,
}

impl FullEvent {
    fn read_again(event: Option<EventDetail>, records: Vec<StoredRecord>, part: u32) -> Self {
        let mut decoder = Decoder::new(Hint::of_source(&records[0].receipt.source));
        let mut found: Option<(Bytes, serde_json::Value, Vec<reeve_decode::Problem>)> = None;
        let mut without_template = false;
        let wanted = event.as_ref().map(|event| event.event.decoder.as_str());
        let mut take = |parsed: Parsed<'_>| {
            without_template |= parsed.problems.iter().any(|problem| problem.code == NO_TEMPLATE);
            // Without the lines before it a record may read as something else, as a Zeek line does without its header.
            if parsed.part == part && wanted.is_none_or(|decoder| decoder == parsed.decoder) && found.is_none() {
                let native = serde_json::to_value(&parsed.native).unwrap_or_default();
                found = Some((Bytes::copy_from_slice(&parsed.raw), native, parsed.problems));
            }
        };
        for (number, record) in records.iter().enumerate() {
            decoder.feed(record.id.pack(), number as u64 + 1, &record.raw, record.receipt.received_at, &mut take);
        }
        decoder.flush(&mut take);
        let kept = event.as_ref().and_then(|event| event.event.native.as_ref());
        let lacks = kept.is_some_and(|kept| kept.contains_key(UNDECODED));
        // Flows whose templates, or whose neighbours, came in other datagrams: what was read in their company stands.
        if without_template || kept.is_some_and(|kept| IN_COMPANY.iter().any(|name| kept.contains_key(*name))) {
            found = found.filter(|_| lacks && part == 0);
        }
        let kept = || kept.and_then(|kept| serde_json::to_value(kept).ok()).unwrap_or_default();
        let (raw, native, problems) = found.unwrap_or_else(|| (records[0].raw.clone(), kept(), Vec::new()));
        Self { event, records, raw, native, problems }
    }
}

/// The problem of a set of flows whose template is not known.
const NO_TEMPLATE: &str = "netflow.no_template";
/// The field that an event has whose flows were never read for want of a template.
const UNDECODED: &str = "netflow.undecodedBytes";
/// Fields that follow from other datagrams than the event's own.
const IN_COMPANY: [&str; 5] =
    ["netflow.missingRecords", "netflow.missingDatagrams", "netflow.late", "sflow.missingDatagrams", "sflow.late"];

impl Reads {
    /// Reads from this lake and this record ledger.
    pub fn new(lake: Arc<Lake>, ledger: Arc<Ledger>) -> Self {
        Self { lake, ledger }
    }

    /// Runs a search. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Lake`], with the offset of a mistake in the query.
    pub fn search(&self, scoped: &Scoped<SearchRequest>) -> Result<SearchStream, Error> {
        Ok(self.lake.search(scoped.what().clone())?)
    }

    /// Counts over time.
    ///
    /// # Errors
    /// [`Error::Lake`].
    pub async fn histogram(&self, scoped: &Scoped<Range>) -> Result<Histogram, Error> {
        let range = scoped.what();
        Ok(self.lake.histogram(&range.query, range.from, range.to, range.parts).await?)
    }

    /// Fields with their top values.
    ///
    /// # Errors
    /// [`Error::Lake`].
    pub async fn fields(&self, scoped: &Scoped<Range>) -> Result<FieldsSummary, Error> {
        let range = scoped.what();
        Ok(self.lake.fields(&range.query, range.from, range.to, range.parts).await?)
    }

    /// One event with all its faces; `None` if there is no such record. An event that is not in the lake, because nothing was read
    /// out of its record, still shows its bytes.
    ///
    /// # Errors
    /// [`Error::Lake`], [`Error::Audit`] if the record's segment cannot be read.
    pub async fn event(&self, scoped: &Scoped<EventKey>) -> Result<Option<FullEvent>, Error> {
        let key = *scoped.what();
        let event = self.lake.event(key.record, key.part).await?;
        let ids = match &event {
            Some(event) if !event.event.records.is_empty() => event.event.records.clone(),
            _ => vec![key.record],
        };
        let ledger = Arc::clone(&self.ledger);
        let stored = tokio::task::spawn_blocking(move || ledger.get_many(&ids))
            .await
            .map_err(|error| Error::Credential(error.to_string()))??;
        let records: Vec<StoredRecord> = stored.into_iter().flatten().collect();
        if records.first().is_none_or(|record| record.id != key.record) {
            return Ok(None);
        }
        Ok(Some(FullEvent::read_again(event, records, key.part)))
    }

    /// The bytes of one record as received; `None` if there is no such record, or its content is lost or was taken out. Blocks.
    ///
    /// # Errors
    /// [`Error::Audit`] if the record's segment cannot be read.
    pub fn raw(&self, scoped: &Scoped<RecordId>) -> Result<Option<Bytes>, Error> {
        Ok(self.ledger.get(*scoped.what())?.map(|record| record.raw))
    }

    /// Events by attribute, for the reconstruction of an incident that was asked for.
    ///
    /// # Errors
    /// [`Error::Lake`].
    pub async fn events_for<T>(&self, _incident: &Scoped<T>, want: &EventFilter) -> Result<Vec<EventRow>, Error> {
        Ok(self.lake.events_by(want).await?)
    }

    /// Receipts of records cited by an incident that was asked for, without their content.
    ///
    /// # Errors
    /// [`Error::Audit`] if a segment cannot be read.
    pub fn receipts_for<T>(&self, _incident: &Scoped<T>, ids: &[RecordId]) -> Result<Vec<Option<reeve_record::Receipt>>, Error> {
        Ok(self.ledger.get_many(ids)?.into_iter().map(|record| record.map(|record| record.receipt)).collect())
    }
}
