//! The Splunk HTTP Event Collector: `/services/collector` with its event, raw, health and acknowledgement endpoints.
use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::Response,
};
use reeve_record::{RecordId, Transport};
use serde_json::{Map, Value, json};

use crate::{
    Arrival, KeepError,
    bulk::check_name,
    hec::{self, Fault},
    http::{Api, RECORDS_MAX, Refusal, Shared, json as answer_json},
    lines::{self, Cut},
    moment,
    stream::Peer,
    token::Access,
};

/// Answers a request to the collector. Success means that the events are durable, so that an acknowledgement is there as soon as it is asked for.
pub(crate) async fn answer(shared: &Shared, segments: &[&str], peer: &Peer, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = Asked { query: query(&parts.uri), headers: &parts.headers, peer };
    let post = parts.method == Method::POST;
    let result = match &segments[2..] {
        [] | ["event"] | ["event", "1.0"] if post => take_events(shared, &asked, body).await,
        ["raw"] | ["raw", "1.0"] if post => take_raw(shared, &asked, body).await,
        ["ack"] | ["ack", "1.0"] if post => acknowledge(shared, &asked, body).await,
        ["health"] | ["health", "1.0"] => Ok(health(shared)),
        [] | ["event" | "raw" | "ack"] | ["event" | "raw" | "ack", "1.0"] => Err(Refusal::Method(parts.method.clone())),
        _ => Err(Refusal::NotFound(parts.uri.path().to_owned())),
    };
    match result {
        Ok((status, body)) => answer_json(status, body.to_string().into_bytes()),
        Err(refusal) => shared.turn_away(&refusal, Api::Splunk, &parts.headers),
    }
}

/// An error as the collector words it: numbers and texts are those its clients know.
pub(crate) fn refuse(refusal: &Refusal) -> Response {
    let (status, code, text) = match refusal {
        Refusal::Hec(fault) => return refuse_event(fault),
        Refusal::Disabled(_) => (403, 1, "Token disabled"),
        Refusal::Unauthorized(Access::NoToken) => (401, 2, "Token is required"),
        Refusal::Unauthorized(Access::NoScheme) => (401, 3, "Invalid authorization"),
        Refusal::Unauthorized(_) => (403, 4, "Invalid token"),
        Refusal::TooLarge(_) | Refusal::TooManyRecords(_) => (413, 27, "Request entity too large"),
        Refusal::Keep(KeepError::Stopping) => (503, 23, "Server is shutting down"),
        Refusal::Keep(KeepError::Failed(_)) => (500, 8, "Internal server error"),
        Refusal::Keep(_) => (503, 9, "Server is busy"),
        Refusal::NotFound(_) => (404, 404, "The requested URL was not found on this server."),
        Refusal::Method(_) => (405, 404, "The method is not allowed for the requested URL."),
        _ => (400, 6, "Invalid data format"),
    };
    refuse_event(&Fault::new(status, code, text))
}

fn refuse_event(fault: &Fault) -> Response {
    let mut body = json!({ "text": fault.text, "code": fault.code });
    if let (Some(event), Some(members)) = (fault.event, body.as_object_mut()) {
        members.insert("invalid-event-number".to_owned(), event.into());
    }
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_REQUEST);
    answer_json(status, body.to_string().into_bytes())
}

/// What a request says beside its body.
struct Asked<'a> {
    query: Vec<(String, String)>,
    headers: &'a HeaderMap,
    peer: &'a Peer,
}

impl Asked<'_> {
    fn says(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The channel, if one is named; it has to be a GUID.
    fn channel(&self) -> Result<Option<&str>, Refusal> {
        let header = self.headers.get("x-splunk-request-channel").and_then(|value| value.to_str().ok());
        match header.or_else(|| self.says("channel")) {
            Some(channel) if !is_guid(channel) => Err(Refusal::Hec(Fault::new(400, 11, "Invalid data channel"))),
            channel => Ok(channel),
        }
    }

    /// What the request claims about all of its events.
    fn claims(&self) -> Option<Arc<str>> {
        let named = ["host", "source", "sourcetype", "index"].into_iter();
        let mut claims: Map<String, Value> = named.filter_map(|name| Some((name.to_owned(), self.says(name)?.into()))).collect();
        if let Some(identity) = &self.peer.identity {
            claims.insert("identity".to_owned(), Value::from(&**identity));
        }
        (!claims.is_empty()).then(|| Value::Object(claims).to_string().into())
    }
}

type Answer = Result<(StatusCode, Value), Refusal>;

async fn take_events(shared: &Shared, asked: &Asked<'_>, body: Body) -> Answer {
    let channel = asked.channel()?;
    let (body, room) = shared.body(asked.headers, body).await?;
    let (claims, default) = (asked.claims(), asked.says("sourcetype"));
    let mut sources = Sources::of(asked.peer);
    let mut batch = Vec::new();
    for event in hec::events(&body, RECORDS_MAX).map_err(Refusal::Hec)? {
        let source = sources.named(event.sourcetype.as_deref().or(default));
        for raw in counted(shared, Cut::of(event.raw, shared.limits.record_bytes_max), &source) {
            let arrival = Arrival::new(raw, source.clone(), Transport::SplunkHec);
            batch.push(Arrival { claimed: event.claimed, claims: claims.clone(), ..arrival });
        }
    }
    Ok(success(channel, &shared.keep(batch, room).await?))
}

async fn take_raw(shared: &Shared, asked: &Asked<'_>, body: Body) -> Answer {
    let channel = asked.channel()?;
    let (body, room) = shared.body(asked.headers, body).await?;
    let source = Sources::of(asked.peer).named(asked.says("sourcetype"));
    let (claims, claimed) = (asked.claims(), asked.says("time").and_then(moment::seconds));
    let records = counted(shared, lines::lines(&body, shared.limits.record_bytes_max), &source).into_iter();
    let batch: Vec<Arrival> = records
        .map(|raw| Arrival { claimed, claims: claims.clone(), ..Arrival::new(raw, source.clone(), Transport::SplunkHec) })
        .collect();
    if batch.is_empty() {
        return Err(Refusal::Hec(Fault::new(400, 5, "No data")));
    }
    Ok(success(channel, &shared.keep(batch, room).await?))
}

/// Which of the asked numbers are of durable records. A number is given out only then, so this holds over restarts with nothing to remember.
async fn acknowledge(shared: &Shared, asked: &Asked<'_>, body: Body) -> Answer {
    if asked.channel()?.is_none() {
        return Err(Refusal::Hec(Fault::new(400, 10, "Data channel is missing")));
    }
    let (body, _room) = shared.body(asked.headers, body).await?;
    let malformed = || Refusal::Hec(Fault::new(400, 6, "Invalid data format"));
    let question: Acks = serde_json::from_slice(&body).map_err(|_| malformed())?;
    if question.acks.len() > ACKS_MAX {
        return Err(malformed());
    }
    let end = shared.intake.keeper.end().pack();
    let acks: Map<String, Value> = question.acks.iter().map(|ack| (ack.to_string(), (*ack < end).into())).collect();
    Ok((StatusCode::OK, json!({ "acks": acks })))
}

#[derive(serde::Deserialize)]
struct Acks {
    acks: Vec<u64>,
}

fn health(shared: &Shared) -> (StatusCode, Value) {
    if shared.intake.keeper.is_taking() {
        (StatusCode::OK, json!({ "text": "HEC is healthy", "code": 17 }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, json!({ "text": "HEC is unhealthy, queues are full", "code": 18 }))
    }
}

/// On a channel with the number under which the acknowledgement can be asked for: that of the last record.
fn success(channel: Option<&str>, ids: &[RecordId]) -> (StatusCode, Value) {
    let mut answer = json!({ "text": "Success", "code": 0 });
    if let (Some(_), Some(last), Some(members)) = (channel, ids.last(), answer.as_object_mut()) {
        members.insert("ackId".to_owned(), last.pack().into());
    }
    (StatusCode::OK, answer)
}

/// The records of a cut, with those that were too long counted.
fn counted(shared: &Shared, cut: Cut, source: &str) -> Vec<bytes::Bytes> {
    if cut.oversize > 0 {
        shared.intake.counters.source(source).problem("oversize_split", cut.oversize);
    }
    cut.records
}

/// Source names by sourcetype, the last one kept: events of a request are nearly always of one.
struct Sources<'p> {
    peer: &'p Peer,
    last: Option<(String, Arc<str>)>,
}

impl<'p> Sources<'p> {
    fn of(peer: &'p Peer) -> Self {
        Self { peer, last: None }
    }

    fn named(&mut self, sourcetype: Option<&str>) -> Arc<str> {
        let name = sourcetype.filter(|name| check_name(name).is_ok()).unwrap_or("");
        match &self.last {
            Some((last, source)) if last == name => source.clone(),
            _ => self.last.insert((name.to_owned(), self.peer.stream("splunk", name))).1.clone(),
        }
    }
}

/// The members of a query string.
fn query(uri: &Uri) -> Vec<(String, String)> {
    let text = uri.query().unwrap_or("");
    let plain = |part: &str| crate::http::unescape(&part.replace('+', " "));
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (plain(key), plain(value))).collect()
}

fn is_guid(text: &str) -> bool {
    let sizes = [8, 4, 4, 4, 12];
    let mut parts = text.split('-');
    let fits = sizes
        .iter()
        .all(|size| parts.next().is_some_and(|part| part.len() == *size && part.bytes().all(|byte| byte.is_ascii_hexdigit())));
    fits && parts.next().is_none()
}

/// How many acknowledgements may be asked for at once.
const ACKS_MAX: usize = 100_000;
