//! Bodies of the Splunk HTTP Event Collector: event objects one after another, each kept as it was written.
use std::borrow::Cow;

use bytes::Bytes;
use reeve_record::EventTime;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::moment;

/// An event object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The object, from `{` to `}`.
    pub raw: Bytes,
    /// Its `time`, if it has one that can be read.
    pub claimed: Option<EventTime>,
    /// Its `sourcetype`, if that is a text.
    pub sourcetype: Option<String>,
}

/// Why a request is not taken, in the terms of the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    /// The collector's number for it.
    pub code: u16,
    /// The collector's words for it.
    pub text: &'static str,
    /// Which event of the body, from 0.
    pub event: Option<usize>,
}

impl Fault {
    pub(crate) const fn new(status: u16, code: u16, text: &'static str) -> Self {
        Self { status, code, text, event: None }
    }

    /// The name it is counted under.
    pub const fn name(&self) -> &'static str {
        match self.code {
            5 => "hec_no_data",
            10 => "hec_no_channel",
            11 => "hec_invalid_channel",
            12 => "hec_event_required",
            13 => "hec_event_blank",
            27 => "too_many_records",
            _ => "hec_invalid_format",
        }
    }
}

/// The event objects of a body, at most `events_max`. All of them are right, or none is taken.
///
/// # Errors
/// [`Fault`] with the number of the first event that is wrong, or one too many.
pub fn events(body: &Bytes, events_max: usize) -> Result<Vec<Event>, Fault> {
    let mut out = Vec::new();
    for value in serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>() {
        if out.len() == events_max {
            return Err(Fault::new(413, 27, "Request entity too large"));
        }
        let wrong = |(code, text)| Fault { status: 400, code, text, event: Some(out.len()) };
        let value = value.map_err(|_| wrong(FORMAT))?;
        let event = event(body, value).map_err(wrong)?;
        out.push(event);
    }
    if out.is_empty() { Err(Fault::new(400, 5, "No data")) } else { Ok(out) }
}

fn event(body: &Bytes, value: &RawValue) -> Result<Event, (u16, &'static str)> {
    let members: Members<'_> = serde_json::from_str(value.get()).map_err(|_| FORMAT)?;
    match members.event.map(RawValue::get) {
        None | Some("null") => return Err((12, "Event field is required")),
        Some("\"\"") => return Err((13, "Event field cannot be blank")),
        Some(_) => {}
    }
    let time = members.time.map(RawValue::get).and_then(|time| moment::seconds(time.trim_matches('"')));
    let sourcetype = members.sourcetype.and_then(|name| serde_json::from_str::<Cow<'_, str>>(name.get()).ok());
    Ok(Event { raw: body.slice_ref(value.get().as_bytes()), claimed: time, sourcetype: sourcetype.map(Cow::into_owned) })
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    sourcetype: Option<&'a RawValue>,
}

const FORMAT: (u16, &str) = (6, "Invalid data format");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<Event>, Fault> {
        events(&Bytes::copy_from_slice(body.as_bytes()), 1000)
    }

    #[test]
    fn objects_one_after_another_keep_their_bytes() {
        let got = read("{\"event\":\"a\", \"time\": 1767604364.5}{\"time\":\"1767604364.5\",\"event\":{\"x\":[1]},\"sourcetype\":\"s\\u00fc\"}\n\n {\"event\":1,\"time\":\"soon\"}").unwrap();
        assert_eq!(&got[0].raw[..], b"{\"event\":\"a\", \"time\": 1767604364.5}");
        assert_eq!(got[0].claimed.map(|time| time.at.as_millisecond()), Some(1_767_604_364_500));
        assert_eq!((got[1].claimed, got[1].sourcetype.as_deref()), (got[0].claimed, Some("sü")));
        assert_eq!((got.len(), got[2].claimed), (3, None));
    }

    #[test]
    fn faults_have_the_collectors_numbers() {
        for (body, code, event) in [
            ("", 5, None),
            ("  \n", 5, None),
            ("{\"event\":1}{\"time\":1}", 12, Some(1)),
            ("{\"event\":null}", 12, Some(0)),
            ("{\"event\":1}{\"event\":2}{\"event\":\"\"}", 13, Some(2)),
            ("{\"event\":1}\n{\"event\":", 6, Some(1)),
            ("plain text", 6, Some(0)),
            ("[{\"event\":1}]", 6, Some(0)),
            ("{\"event\":1,\"event\":2}", 6, Some(0)),
        ] {
            let fault = read(body).unwrap_err();
            assert_eq!((fault.code, fault.event, fault.status), (code, event, 400), "{body}");
        }
    }

    #[test]
    fn one_event_too_many_is_the_end() {
        assert_eq!(read(&"{\"event\":1}".repeat(1000)).unwrap().len(), 1000);
        let fault = read(&"{\"event\":1}".repeat(1001)).unwrap_err();
        assert_eq!((fault.status, fault.code, fault.name()), (413, 27, "too_many_records"));
    }

    #[test]
    fn depth_does_not_matter() {
        let deep = format!("{{\"event\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep).unwrap().len(), 1);
    }
}
