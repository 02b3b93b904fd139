use std::borrow::Cow;

use reeve_record::EventTime;

use crate::value::{Map, Value};

/// One event as its source told it.
#[derive(Clone, Debug)]
pub struct Parsed<'a> {
    /// The records it was read from, by the keys the caller fed them under; never empty. Several when lines had to be joined.
    pub records: Vec<u64>,
    /// Which event of the first record this is, from 0: an EVTX chunk or a bundle holds many.
    pub part: u32,
    /// Record number in the source: the EVTX record id, else the 1-based position of the line or object.
    pub number: u64,
    /// The bytes of just this event; what `raw_sha256` is taken over.
    pub raw: Cow<'a, [u8]>,
    /// What read it, as in `evtx`, `json.winlogbeat`, `syslog`, `auditd`, `zeek.conn`. Closed list in [`crate::DECODERS`].
    pub decoder: &'static str,
    /// The fields exactly as the source names them.
    pub native: Map<'a>,
    /// When the source says it happened.
    pub time: Option<EventTime>,
    /// What Windows events have in common, whatever shape they came in; `None` for all others.
    pub head: Option<Head<'a>>,
    /// What was wrong with the bytes. Nothing is lost by a problem: `raw` and what could be read are there.
    pub problems: Vec<Problem>,
}

/// The head of a Windows event, gathered from whatever shape it arrived in (EVTX, Winlogbeat, NXLog, `EventData` JSON).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head<'a> {
    /// As in `Microsoft-Windows-Sysmon/Operational`.
    pub channel: Cow<'a, str>,
    /// Without qualifiers.
    pub event_id: u32,
    /// As in `Microsoft-Windows-Security-Auditing`.
    pub provider: Cow<'a, str>,
    /// The computer that wrote it.
    pub computer: Cow<'a, str>,
    /// Dotted paths in `native` of the maps in which a bare field name is looked up, in order; `""` is the document itself.
    pub scopes: &'static [&'static str],
}

/// Something wrong with the input, with the place it was found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// A stable name, as in `json.depth` or `evtx.record_truncated`.
    pub code: &'static str,
    /// Byte offset in the record.
    pub offset: u64,
    /// What was found there, in plain words.
    pub detail: Cow<'static, str>,
}

impl<'a> Parsed<'a> {
    /// The value of a field by the name rule authors use: looked up in the event's data first, then in its head, then as a
    /// dotted path from the document's root.
    pub fn field(&self, name: &str) -> Option<&Value<'a>> {
        let scopes = self.head.as_ref().map_or(&[""][..], |head| head.scopes);
        for scope in scopes {
            let map = if scope.is_empty() { Some(&self.native) } else { self.native.path(scope).and_then(Value::as_map) };
            if let Some(value) = map.and_then(|map| map.path(name)) {
                return Some(value);
            }
        }
        self.native.path(name)
    }
}
