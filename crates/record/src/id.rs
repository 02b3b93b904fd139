use std::{fmt, str::FromStr};

/// Where a record lies in the ledger: segment number and index in it, both from 0. Assigned at append, never reused.
///
/// Text form `SEGMENT-INDEX` in decimal, as in `12-3407`. Packs into a `u64` so that tables can carry it in one column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RecordId {
    /// Segment number in the record ledger.
    pub segment: u32,
    /// Index of the record in its segment.
    pub index: u32,
}

impl RecordId {
    /// The id as one number, segment in the upper 32 bits: sorts as the ids do.
    pub const fn pack(self) -> u64 {
        ((self.segment as u64) << 32) | self.index as u64
    }

    /// Undoes [`RecordId::pack`].
    pub const fn unpack(packed: u64) -> Self {
        Self { segment: (packed >> 32) as u32, index: packed as u32 }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.segment, self.index)
    }
}

/// The text is no record id.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a record id: write SEGMENT-INDEX, as in 12-3407")]
pub struct ParseIdError(String);

impl FromStr for RecordId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let bad = || ParseIdError(text.chars().take(80).collect());
        let (segment, index) = text.split_once('-').ok_or_else(bad)?;
        Ok(Self { segment: segment.parse().map_err(|_| bad())?, index: index.parse().map_err(|_| bad())? })
    }
}

impl serde::Serialize for RecordId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for RecordId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
