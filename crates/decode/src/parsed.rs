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
    /// Dotted paths in `native` of the maps in which a bare field name is looked up, in order; `""` is the document itself, and a
    /// last part `*` stands for every map there (`Event.UserData.*`). [`Parsed::maps`] resolves them.
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
        self.maps().find_map(|map| map.path(name)).or_else(|| self.native.path(name))
    }

    /// The maps in which a bare field name is looked up, in order: those of [`Head::scopes`], or the document itself.
    pub fn maps(&self) -> impl Iterator<Item = &Map<'a>> {
        let scopes = self.head.as_ref().map_or(&[""][..], |head| head.scopes);
        scopes.iter().flat_map(|scope| self.scope(scope))
    }

    fn scope(&self, scope: &str) -> Scope<'_, 'a> {
        if scope.is_empty() {
            return Scope::One(Some(&self.native));
        }
        match scope.strip_suffix(".*") {
            Some(outer) => Scope::Inner(self.native.path(outer).and_then(Value::as_map).map_or(&[][..], |map| &map.0).iter()),
            None => Scope::One(self.native.path(scope).and_then(Value::as_map)),
        }
    }
}

enum Scope<'p, 'a> {
    One(Option<&'p Map<'a>>),
    Inner(std::slice::Iter<'p, (Cow<'a, str>, Value<'a>)>),
}

impl<'p, 'a> Iterator for Scope<'p, 'a> {
    type Item = &'p Map<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(map) => map.take(),
            Self::Inner(values) => values.find_map(|(_, value)| value.as_map()),
        }
    }
}
