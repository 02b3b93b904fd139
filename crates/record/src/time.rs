use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far a claimed time can be trusted to name the moment it says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// The source wrote date, time and offset.
    Exact,
    /// No offset in the source: taken as UTC unless the source says otherwise.
    ZoneInferred,
    /// No year in the source: the year that puts it nearest before the time of receipt.
    YearInferred,
    /// No usable time in the source: the time of receipt stands in.
    Received,
}

/// When a source says something happened, and how sure that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EventTime {
    /// The moment, in UTC.
    pub at: Timestamp,
    /// What had to be inferred to know it.
    pub certainty: Certainty,
}

impl EventTime {
    /// A time the source wrote in full.
    pub const fn exact(at: Timestamp) -> Self {
        Self { at, certainty: Certainty::Exact }
    }
}
