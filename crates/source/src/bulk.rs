//! Elastic bulk bodies: actions and documents in, one result per action out.
//!
//! A wrong item gets its own error and the rest of the body is read on. Blank lines, an empty `_id`, a missing last newline and CRLF are
//! what real clients send, and are taken.
use std::{collections::HashMap, io::Write as _, sync::Arc};

use bytes::Bytes;
use reeve_record::RecordId;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

/// A bulk body, read.
#[derive(Debug, Default)]
pub struct Bulk {
    /// One for each action, in order: what the answer lists.
    pub items: Vec<Item>,
    /// The documents to keep, each with its index name, in the order of the items that point at them.
    pub documents: Vec<(Arc<str>, Bytes)>,
}

/// One action of a bulk body.
#[derive(Debug)]
pub struct Item {
    /// Which action; the key of its result.
    pub action: Action,
    /// Where to; empty if the action did not say.
    pub index: Arc<str>,
    /// The id the client gave, if it gave one that is not empty.
    pub id: Option<String>,
    /// Taken, or refused with a reason.
    pub outcome: Outcome,
}

/// The bulk actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep a document.
    Index,
    /// Keep a document.
    Create,
    /// Refused: a record is never changed.
    Update,
    /// Refused: a record is never deleted by its sender.
    Delete,
}

/// What becomes of an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its document is the next of [`Bulk::documents`].
    Document,
    /// Not taken.
    Refused(Refused),
}

/// Why an item is not taken, in the terms of the Elastic API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// HTTP-like status of the item.
    pub status: u16,
    /// As in `document_parsing_exception`.
    pub kind: &'static str,
    /// In plain words.
    pub reason: String,
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Reads a bulk body. Documents longer than `document_bytes_max` are refused item by item.
pub fn read(body: &Bytes, default_index: Option<&str>, document_bytes_max: usize) -> Bulk {
    let mut reader = Reader { bulk: Bulk::default(), names: HashMap::new(), default_index, document_bytes_max };
    let mut lines = Lines { body, at: 0 };
    let mut waiting = lines.next();
    while let Some(line) = waiting.take() {
        let step = reader.action(body, line);
        waiting = lines.next();
        match step {
            Step::WantsDocument(target) => {
                reader.document(body, target, waiting.take());
                waiting = lines.next();
            }
            Step::Alone => {}
            // What follows a broken action is its document, unless it reads as an action itself.
            Step::Broken if waiting.is_some_and(|line| !is_action(&body[line.start..line.end])) => waiting = lines.next(),
            Step::Broken => {}
        }
    }
    reader.bulk
}

/// The answer to a bulk request: `ids` are those of the kept documents, in order.
pub fn answer(bulk: &Bulk, ids: &[RecordId], took_ms: u128) -> Vec<u8> {
    let errors = bulk.items.iter().any(|item| item.outcome != Outcome::Document);
    let mut out = Vec::with_capacity(64 + bulk.items.len() * 200);
    let mut ids = ids.iter();
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{{\"errors\":{errors},\"took\":{took_ms},\"items\":[");
    for (nth, item) in bulk.items.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        let _ = write!(out, "{{\"{}\":{{\"_index\":", item.action.name());
        text(&mut out, &item.index);
        let id = if item.outcome == Outcome::Document { ids.next() } else { None };
        let given = match (&item.id, id) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(id)) => Some(id.to_string()),
            (None, None) => None,
        };
        out.extend_from_slice(b",\"_id\":");
        match given {
            Some(given) => text(&mut out, &given),
            None => out.extend_from_slice(b"null"),
        }
        match &item.outcome {
            Outcome::Document => {
                let sequence = id.map_or(0, |id| u64::from(id.index));
                let _ = write!(
                    out,
                    ",\"_version\":1,\"result\":\"created\",\"_shards\":{{\"total\":1,\"successful\":1,\"failed\":0}},\"_seq_no\":{sequence},\"_primary_term\":1,\"status\":201}}}}"
                );
            }
            Outcome::Refused(refused) => {
                let _ = write!(out, ",\"status\":{},\"error\":{{\"type\":\"{}\",\"reason\":", refused.status, refused.kind);
                text(&mut out, &refused.reason);
                out.extend_from_slice(b"}}}");
            }
        }
    }
    out.extend_from_slice(b"]}");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

struct Reader<'a> {
    bulk: Bulk,
    names: HashMap<String, Arc<str>>,
    default_index: Option<&'a str>,
    document_bytes_max: usize,
}

/// An action that was read, waiting for its document.
struct Target {
    action: Action,
    index: Arc<str>,
    id: Option<String>,
    refused: Option<Refused>,
}

enum Step {
    WantsDocument(Target),
    Alone,
    Broken,
}

impl Reader<'_> {
    fn action(&mut self, body: &Bytes, line: Span) -> Step {
        let bytes = &body[line.start..line.end];
        let (action, meta) = match parse_action(bytes) {
            Ok(found) => found,
            Err(detail) => {
                let reason = format!("malformed action at byte {}: {detail}", line.start);
                self.refuse(
                    Action::Index,
                    self.default_index.unwrap_or("").into(),
                    None,
                    400,
                    "illegal_argument_exception",
                    reason,
                );
                return Step::Broken;
            }
        };
        let name = meta.index.as_deref().filter(|name| !name.is_empty()).or(self.default_index).unwrap_or("");
        let mut target = Target { action, index: "".into(), id: meta.id(), refused: None };
        match check_name(name) {
            Ok(()) => target.index = self.name(name),
            Err(reason) => target.refused = Some(Refused { status: 400, kind: "invalid_index_name_exception", reason }),
        }
        if matches!(action, Action::Update | Action::Delete) {
            let reason = format!("`{}` is not possible: a record is kept as it was received", action.name());
            target.refused = Some(Refused { status: 405, kind: "action_not_allowed_exception", reason });
        }
        if action == Action::Delete {
            self.push(target, Outcome::Document);
            return Step::Alone;
        }
        Step::WantsDocument(target)
    }

    fn document(&mut self, body: &Bytes, mut target: Target, line: Option<Span>) {
        let refuse = |status, kind, reason: String| Some(Refused { status, kind, reason });
        let line = line.unwrap_or(Span { start: body.len(), end: body.len() });
        let bytes = &body[line.start..line.end];
        if target.refused.is_some() {
        } else if bytes.is_empty() {
            target.refused = refuse(400, "illegal_argument_exception", "the action has no document".to_owned());
        } else if bytes.len() > self.document_bytes_max {
            let reason = format!("the document has {} bytes, more than {} allowed", bytes.len(), self.document_bytes_max);
            target.refused = refuse(413, "document_too_large_exception", reason);
        } else if let Err(detail) = check_object(bytes) {
            let reason = format!("the document at byte {} is not a JSON object: {detail}", line.start);
            target.refused = refuse(400, "document_parsing_exception", reason);
        } else {
            self.bulk.documents.push((target.index.clone(), body.slice(line.start..line.end)));
        }
        self.push(target, Outcome::Document);
    }

    fn push(&mut self, target: Target, otherwise: Outcome) {
        let outcome = target.refused.map_or(otherwise, Outcome::Refused);
        self.bulk.items.push(Item { action: target.action, index: target.index, id: target.id, outcome });
    }

    fn refuse(&mut self, action: Action, index: Arc<str>, id: Option<String>, status: u16, kind: &'static str, reason: String) {
        self.bulk.items.push(Item { action, index, id, outcome: Outcome::Refused(Refused { status, kind, reason }) });
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(found) = self.names.get(name) {
            return found.clone();
        }
        let shared: Arc<str> = name.into();
        self.names.insert(name.to_owned(), shared.clone());
        shared
    }
}

#[derive(Deserialize)]
struct ActionLine<'a> {
    #[serde(borrow)]
    index: Option<Meta<'a>>,
    #[serde(borrow)]
    create: Option<Meta<'a>>,
    #[serde(borrow)]
    update: Option<Meta<'a>>,
    #[serde(borrow)]
    delete: Option<Meta<'a>>,
}

#[derive(Deserialize, Default)]
struct Meta<'a> {
    #[serde(rename = "_index")]
    index: Option<String>,
    /// Text, or a number as some clients have it.
    #[serde(borrow, rename = "_id")]
    id: Option<&'a RawValue>,
}

impl Meta<'_> {
    fn id(&self) -> Option<String> {
        let raw = self.id?.get();
        let id = serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
        (!id.is_empty() && id != "null").then(|| id.chars().take(ID_CHARS_MAX).collect())
    }
}

fn parse_action(line: &[u8]) -> Result<(Action, Meta<'_>), String> {
    let actions: ActionLine<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let mut given = [
        (Action::Index, actions.index),
        (Action::Create, actions.create),
        (Action::Update, actions.update),
        (Action::Delete, actions.delete),
    ]
    .into_iter()
    .filter_map(|(action, meta)| Some((action, meta?)));
    match (given.next(), given.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err("expected `index`, `create`, `update` or `delete`".to_owned()),
        (Some(_), Some(_)) => Err("more than one action in a line".to_owned()),
    }
}

fn is_action(line: &[u8]) -> bool {
    parse_action(line).is_ok()
}

/// Whether the name can be that of a stream of events.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("no index is given, neither in the path nor in the action".to_owned()),
        _ if name.len() > NAME_BYTES_MAX => Err(format!("the name has {} bytes, more than {NAME_BYTES_MAX} allowed", name.len())),
        _ if name.chars().any(char::is_control) => Err("the name has control characters".to_owned()),
        _ => Ok(()),
    }
}

fn check_object(document: &[u8]) -> Result<(), String> {
    if document.first() != Some(&b'{') {
        return Err("it does not start with `{`".to_owned());
    }
    // Checks the grammar without recursion, whatever the depth.
    serde_json::from_slice::<IgnoredAny>(document).map(drop).map_err(|error| error.to_string())
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

/// The lines that are not blank, without surrounding white space.
struct Lines<'a> {
    body: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        while self.at < self.body.len() {
            let rest = &self.body[self.at..];
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..length];
            let start = self.at + (line.len() - line.trim_ascii_start().len());
            self.at += (length + 1).min(rest.len());
            let trimmed = line.trim_ascii();
            if !trimmed.is_empty() {
                return Some(Span { start, end: start + trimmed.len() });
            }
        }
        None
    }
}

const NAME_BYTES_MAX: usize = 255;
const ID_CHARS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bulk(body: &str) -> Bulk {
        read(&Bytes::copy_from_slice(body.as_bytes()), Some("d"), 1000)
    }

    #[test]
    fn a_body_with_blank_lines_and_an_empty_id() {
        let got = bulk("{\"index\":{\"_index\":\"a\",\"_id\":\"\"}}\n{\"x\":1}\n\n\n{\"create\":{}}\r\n {\"x\":2}");
        assert_eq!(got.documents.len(), 2);
        assert_eq!(&got.documents[0].1[..], b"{\"x\":1}");
        assert_eq!(&*got.documents[1].0, "d");
        assert_eq!(got.items[0].id, None);
    }

    #[test]
    fn a_document_in_an_actions_place_is_one_error() {
        let got = bulk("{\"x\":1}\n{\"y\":1}\n{\"index\":{}}\n{\"z\":1}\n");
        assert_eq!(got.items.len(), 2);
        assert_eq!(got.documents.len(), 1);
    }

    #[test]
    fn depth_does_not_matter() {
        let deep = format!("{{\"index\":{{}}}}\n{{\"a\":{}1{}}}\n", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&Bytes::from(deep), Some("d"), 1 << 20).documents.len(), 1);
    }

    proptest! {
        #[test]
        fn documents_and_taken_items_are_as_many_and_the_answer_is_json(body in proptest::collection::vec(prop_oneof![
            Just("{\"index\":{}}"), Just("{\"create\":{\"_index\":\"i\",\"_id\":7}}"), Just("{\"delete\":{\"_id\":\"1\"}}"),
            Just("{\"update\":{\"_id\":\"1\"}}"), Just("{\"a\":\"b\"}"), Just("{broken"), Just(""), Just("[1]"), Just("\u{1}"),
        ], 0..30)) {
            let got = bulk(&body.join("\n"));
            let taken = got.items.iter().filter(|item| item.outcome == Outcome::Document).count();
            prop_assert_eq!(taken, got.documents.len());
            let ids: Vec<RecordId> = (0..taken as u32).map(|index| RecordId { segment: 0, index }).collect();
            let answer: serde_json::Value = serde_json::from_slice(&answer(&got, &ids, 1)).unwrap();
            prop_assert_eq!(answer["items"].as_array().unwrap().len(), got.items.len());
            prop_assert_eq!(answer["errors"].as_bool().unwrap(), taken != got.items.len());
        }

        #[test]
        fn any_bytes_are_read(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let got = read(&Bytes::from(body), None, 100);
            prop_assert!(got.items.len() >= got.documents.len());
        }
    }
}
