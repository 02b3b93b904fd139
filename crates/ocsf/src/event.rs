use std::borrow::Cow;

use reeve_decode::{Map, Value};
use reeve_record::EventTime;

/// An OCSF event, flat: attributes by dotted path, in the order the mapping set them.
///
/// Paths are those of the schema (`process.cmd_line`, `actor.user.name`, `src_endpoint.ip`). An attribute that the schema makes an
/// array holds a [`Value::List`]; nothing below a list has a path of its own.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// The OCSF class, as in 1007 for Process Activity; 0 is Base Event.
    pub class_uid: u32,
    /// The class's activity, 0 unknown, 99 other.
    pub activity_id: u32,
    /// 0 unknown, 1 informational … 5 critical, 6 fatal, 99 other.
    pub severity_id: u32,
    /// 0 unknown, 1 success, 2 failure, 99 other; `None` where the class has none or the source says nothing.
    pub status_id: Option<u32>,
    /// When it happened; `None` if the source says nothing, then the time of receipt stands in.
    pub time: Option<EventTime>,
    /// All further attributes. Paths are interned by the mapping, hence `'static`.
    pub attributes: Vec<(&'static str, Value<'a>)>,
    /// What no attribute took, under the source's own names.
    pub unmapped: Map<'a>,
    /// Everything one may search for by value.
    pub observables: Vec<Observable<'a>>,
    /// Mapping and its version, as in `windows.sysmon/1`.
    pub mapping: &'static str,
}

/// One value to search for: its OCSF type, the attribute it stands in, and the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observable<'a> {
    /// OCSF observable `type_id`, as in 2 for IP Address.
    pub type_id: u32,
    /// The attribute's path, as in `src_endpoint.ip`.
    pub name: &'static str,
    /// The value as text.
    pub value: Cow<'a, str>,
}

impl<'a> Event<'a> {
    /// `class_uid` × 100 + `activity_id`.
    pub fn type_uid(&self) -> u64 {
        u64::from(self.class_uid) * 100 + u64::from(self.activity_id)
    }

    /// The attribute at exactly this path.
    pub fn get(&self, path: &str) -> Option<&Value<'a>> {
        self.attributes.iter().find(|(name, _)| *name == path).map(|(_, value)| value)
    }

    /// The attribute's text at exactly this path.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).and_then(Value::as_str)
    }
}
