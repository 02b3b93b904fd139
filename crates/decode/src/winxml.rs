//! Windows events as XML, as Sysmon for Linux writes them into syslog and Windows tools export them.
//!
//! The fields come out in the shape of `evtx`: `Event.System`, `Event.EventData` with each `Data` under its `Name`, `Event.UserData`.
//! Events of Windows hold elements, attributes, text and the predefined entities only: a reader of full XML, with its document types
//! and what they let a sender do, is left out on purpose.

use std::borrow::Cow;

use crate::{Map, Problem, Value};

/// An event as XML, with what is wrong with it.
pub(crate) struct Event<'a> {
    pub(crate) native: Map<'a>,
    /// The event's own bytes.
    pub(crate) text: &'a str,
    pub(crate) problems: Vec<Problem>,
}

/// Whether a text may be such an event, or a list of them.
pub(crate) fn may_be(text: &str) -> bool {
    is_event(text) || ((text.starts_with("<?xml") || text.starts_with("<Events>")) && find(text).is_some_and(|at| at < HEAD_MAX))
}

fn is_event(text: &str) -> bool {
    text.strip_prefix("<Event").is_some_and(|rest| rest.starts_with(['>', ' ', '\n', '\r', '\t']))
}

/// Where the next event starts.
fn find(text: &str) -> Option<usize> {
    memchr::memmem::find_iter(text.as_bytes(), b"<Event").find(|at| is_event(&text[*at..]))
}

/// The events of a text, one after the other; only what bears an event id counts as one.
pub(crate) fn read(text: &str) -> impl Iterator<Item = Event<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[find(rest)?..];
            let mut xml = Xml { text: rest, at: 0, problems: Vec::new() };
            let event = xml.element(0);
            let (text, after) = rest.split_at(xml.at.max(1));
            rest = after;
            if let Some((_, Value::Map(mut event))) = event
                && settle(&mut event)
            {
                let native = Map(vec![(Cow::Borrowed("Event"), Value::Map(event))]);
                return Some(Event { native, text, problems: xml.problems });
            }
        }
    })
}

/// Brings the event into the shape of `evtx`; false if it has no event id.
fn settle(event: &mut Map<'_>) -> bool {
    event.0.retain(|(name, _)| !name.starts_with("xmlns"));
    let mut told = false;
    for (section, content) in &mut event.0 {
        let Value::Map(content) = content else { continue };
        match section.as_ref() {
            "System" => told = system(content),
            "EventData" => data(content),
            _ => {}
        }
    }
    told
}

/// The event id as a number, its qualifiers behind all the rest.
fn system(content: &mut Map<'_>) -> bool {
    let Some((_, id)) = content.0.iter_mut().find(|(name, _)| name == "EventID") else { return false };
    let mut qualifiers = None;
    if let Value::Map(map) = id {
        let mut number = Value::Null;
        for (name, value) in map.0.drain(..) {
            match name.as_ref() {
                "#text" => number = value,
                _ => qualifiers = Some((name, value)),
            }
        }
        *id = number;
    }
    let Some(number) = id.as_i64() else { return false };
    *id = Value::Int(number);
    content.0.extend(qualifiers);
    true
}

/// `<Data Name="X">v</Data>` as `X`; those without a name stay together under `Data`.
fn data(content: &mut Map<'_>) {
    let (mut named, mut unnamed) = (Vec::with_capacity(content.len()), Vec::new());
    for (name, value) in content.0.drain(..) {
        match value {
            Value::Map(mut map) if name == "Data" && map.get("Name").is_some() => {
                let mut text = Value::from("");
                let mut own = None;
                for (part, value) in map.0.drain(..) {
                    match (part.as_ref(), value) {
                        ("Name", Value::Str(name)) => own = Some(name),
                        ("#text", value) => text = value,
                        _ => {}
                    }
                }
                named.push((own.unwrap_or(name), text));
            }
            value if name == "Data" => unnamed.push(value),
            value => named.push((name, value)),
        }
    }
    match unnamed.len() {
        0 => {}
        1 => named.extend(unnamed.pop().map(|only| (Cow::Borrowed("Data"), only))),
        _ => named.push((Cow::Borrowed("Data"), Value::List(unnamed))),
    }
    content.0 = named;
}

struct Xml<'a> {
    text: &'a str,
    at: usize,
    problems: Vec<Problem>,
}

impl<'a> Xml<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The element that starts here: its name, and its text, or its attributes and elements with the text under `#text`.
    fn element(&mut self, depth: usize) -> Option<(&'a str, Value<'a>)> {
        let inside = self.rest().strip_prefix('<')?;
        let len = inside.find(|sign: char| sign.is_ascii_whitespace() || matches!(sign, '>' | '/')).unwrap_or(inside.len());
        let name = &inside[..len];
        self.at += 1 + len;
        let mut map = Map::new();
        if self.attributes(&mut map) {
            return Some((name, if map.is_empty() { Value::from("") } else { Value::Map(map) }));
        }
        if depth >= DEPTH_MAX {
            self.problem("xml.depth", "elements nest deeper than in any event of Windows");
            self.at = self.text.len();
            return Some((name, Value::Map(map)));
        }
        let text = self.content(&mut map, depth);
        if map.is_empty() {
            return Some((name, Value::Str(text)));
        }
        if !text.trim_ascii().is_empty() {
            map.push("#text", Value::Str(text));
        }
        Some((name, Value::Map(map)))
    }

    /// The attributes up to the end of the tag; whether the element ends with it.
    fn attributes(&mut self, map: &mut Map<'a>) -> bool {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_ascii_start().len();
            let rest = self.rest();
            if rest.starts_with("/>") {
                self.at += 2;
                return true;
            }
            if rest.starts_with('>') {
                self.at += 1;
                return false;
            }
            let attribute = rest.split_once('=').and_then(|(name, value)| {
                let value = value.trim_ascii_start();
                let quote = value.chars().next().filter(|sign| matches!(sign, '"' | '\''))?;
                let end = value[1..].find(quote)?;
                let used = rest.len() - value.len() + end + 2;
                (!name.contains(['<', '>'])).then(|| (name.trim_ascii(), &value[1..=end], used))
            });
            let Some((name, value, used)) = attribute else {
                self.problem("xml.truncated", "the text ends, or makes no sense, inside a tag");
                self.at = self.text.len();
                return true;
            };
            map.push(name, Value::Str(plain(value)));
            self.at += used;
        }
    }

    /// The elements up to the closing tag go into `map`; the text between them comes back.
    fn content(&mut self, map: &mut Map<'a>, depth: usize) -> Cow<'a, str> {
        let mut text = Cow::Borrowed("");
        loop {
            let rest = self.rest();
            let Some(tag) = rest.find('<') else {
                self.problem("xml.truncated", "the text ends inside an element");
                self.at = self.text.len();
                join(&mut text, plain(rest));
                return text;
            };
            join(&mut text, plain(&rest[..tag]));
            self.at += tag;
            let rest = &rest[tag..];
            if let Some(inside) = rest.strip_prefix("<![CDATA[") {
                let (data, len) = inside.find("]]>").map_or((inside, rest.len()), |end| (&inside[..end], end + 12));
                join(&mut text, Cow::Borrowed(data));
                self.at += len;
            } else if rest.starts_with("<!--") || rest.starts_with("<?") {
                self.at += rest.find('>').map_or(rest.len(), |end| end + 1);
            } else if rest.starts_with("</") {
                self.at += rest.find('>').map_or(rest.len(), |end| end + 1);
                return text;
            } else if let Some((name, value)) = self.element(depth + 1) {
                map.push(name, value);
            }
        }
    }

    fn problem(&mut self, code: &'static str, detail: &'static str) {
        if self.problems.is_empty() {
            self.problems.push(Problem { code, offset: self.at as u64, detail: Cow::Borrowed(detail) });
        }
    }
}

fn join<'a>(text: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if text.is_empty() {
        *text = more;
    } else if !more.is_empty() {
        text.to_mut().push_str(&more);
    }
}

/// Text with its entities undone; one that is none stays as it is.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(ENTITY_MAX).position(|byte| byte == b';');
        let (sign, len) = end.and_then(|end| Some((entity(&rest[1..end])?, end + 1))).unwrap_or(('&', 1));
        plain.push(sign);
        rest = &rest[len..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|sign| *sign != '\0')?
        }
    })
}

/// How far into a text the first event of a list may start, in bytes.
const HEAD_MAX: usize = 512;
/// How deep elements may nest.
const DEPTH_MAX: usize = 24;
/// Longest entity, in bytes, as in `&#x10FFFF;`.
const ENTITY_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(String, Vec<&'static str>)> {
        let one = |event: Event<'_>| {
            (
                serde_json::to_string(&event.native).expect("fields serialise"),
                event.problems.iter().map(|problem| problem.code).collect(),
            )
        };
        read(text).map(one).collect()
    }

    #[test]
    fn an_event_comes_out_as_of_a_file() {
        let text = "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name=\"Linux-Sysmon\" Guid='{1}'/>\
            <EventID Qualifiers='0'>1</EventID><TimeCreated SystemTime=\"2026-03-02T08:00:00Z\"/><Computer>desk&amp;1</Computer></System>\
            <EventData><Data Name=\"CommandLine\">sh -c &quot;id &#38;&#x26; a&lt;b&quot;</Data><Data Name=\"User\"></Data><Data>x</Data></EventData></Event>";
        let want = r#"{"Event":{"System":{"Provider":{"Name":"Linux-Sysmon","Guid":"{1}"},"EventID":1,"TimeCreated":{"SystemTime":"2026-03-02T08:00:00Z"},"Computer":"desk&1","Qualifiers":"0"},"EventData":{"CommandLine":"sh -c \"id && a<b\"","User":"","Data":"x"}}}"#;
        assert_eq!(all(text), [(want.to_owned(), vec![])]);
        let several = format!("<?xml version=\"1.0\"?><Events>{text}{text}</Events>");
        assert!(may_be(&several) && may_be(text) && !may_be("<Eventual>") && !may_be("<34>x"));
        assert_eq!(all(&several).len(), 2);
        assert_eq!(read(&several).map(|event| event.text.len()).collect::<Vec<_>>(), [text.len(), text.len()]);
    }

    #[test]
    fn what_could_be_read_is_kept() {
        let head = "<Event><System><EventID>5</EventID></System><EventData><Data Name=\"Image\">/bin/";
        assert_eq!(all(head)[0].1, ["xml.truncated"]);
        assert!(all(head)[0].0.contains(r#""Image":"/bin/""#));
        assert_eq!(all("<Event><System><EventID>5</EventID><A b=")[0].1, ["xml.truncated"]);
        let deep = format!("<Event><System><EventID>5</EventID></System>{}", "<a>".repeat(100_000));
        assert_eq!(all(&deep)[0].1, ["xml.depth"]);
        for none in
            ["<Event>", "<Event></Event>", "<Event><System/></Event>", "<Event a=<Event <Event ", "<Event>&#0;&#xFFFFFFFF;&"]
        {
            assert_eq!(all(none), [], "{none}");
        }
    }
}
