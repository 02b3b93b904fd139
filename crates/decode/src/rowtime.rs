//! The time of a row or of a set of pairs, by the names under which sources write it.

use jiff::Timestamp;
use reeve_record::{Certainty, EventTime};

use crate::cef::{moment, problem};
use crate::time::{web_stamp, zone};
use crate::{Map, Problem};

/// The time under the best known name; one that is there and cannot be read is named in `problems`.
pub(crate) fn of_row(native: &Map<'_>, received: Timestamp, problems: &mut Vec<Problem>) -> Option<EventTime> {
    let mut candidates: Vec<(usize, &str)> = Vec::new();
    let (mut date, mut clock, mut offset) = (None, None, None);
    for (name, value) in native.iter() {
        let Some(text) = value.as_str().filter(|text| !text.is_empty() && text.len() <= TEXT_MAX) else { continue };
        // Most columns are no times: what cannot be one by its length is not looked at.
        if name.len() > NAME_MAX {
            continue;
        }
        match plain(name).as_str() {
            "date" => date = date.or(Some(text)),
            "time" => clock = clock.or(Some(text)),
            "tz" | "timezone" => offset = offset.or(Some(text)),
            name => candidates.extend(rank(name).map(|rank| (rank, text))),
        }
    }
    candidates.sort_by_key(|(rank, _)| *rank);
    let best = candidates.iter().find_map(|(_, text)| read(text, received));
    let found = best.or_else(|| joined(date, clock, offset)).or_else(|| read(clock.or(date)?, received));
    // A duration may be called `time` as well.
    let claims = |text: &str| text.bytes().filter(u8::is_ascii_digit).count() >= 8;
    if found.is_none() && candidates.iter().map(|(_, text)| *text).chain(clock).any(claims) {
        problems.push(problem("time.unreadable", "its time is in no known form or names a moment that does not exist".into()));
    }
    found
}

/// Whether a column of this name holds the time of its row.
pub(crate) fn is_time(name: &str) -> bool {
    let name = plain(name);
    matches!(name.as_str(), "date" | "time") || rank(&name).is_some()
}

/// A name in lower case, letters and digits only.
pub(crate) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|sign| sign.to_ascii_lowercase()).collect()
}

fn rank(plain: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == plain)
}

fn read(text: &str, received: Timestamp) -> Option<EventTime> {
    moment(text, received).or_else(|| web_stamp(text.trim_matches(['[', ']'])))
}

/// A date and a time of day in fields of their own, with the zone if a third names it.
fn joined(date: Option<&str>, clock: Option<&str>, offset: Option<&str>) -> Option<EventTime> {
    let found = crate::time::whole_stamp(&format!("{}T{}", date?, clock?))?;
    let east = offset.and_then(|text| zone(text.strip_prefix("UTC").filter(|rest| !rest.is_empty()).unwrap_or(text)));
    match east {
        Some(east) if found.certainty == Certainty::ZoneInferred => {
            found.at.checked_sub(jiff::SignedDuration::from_secs(east)).ok().map(EventTime::exact)
        }
        _ => Some(found),
    }
}

/// Longest text that is looked at as a time, in bytes.
const TEXT_MAX: usize = 64;
const NAME_MAX: usize = 64;

/// Names of times, the best first, as [`plain`] makes them.
const NAMES: [&str; 22] = [
    "eventtime",
    "timestamp",
    "datetime",
    "timegenerated",
    "timecreated",
    "utctime",
    "ts",
    "creationdate",
    "createdat",
    "logtime",
    "eventdate",
    "occurredat",
    "createddatetime",
    "activitydatetime",
    "timestamputc",
    "starttime",
    "start",
    "firstseen",
    "datetimeutc",
    "receivetime",
    "generatedtime",
    "endtime",
];
