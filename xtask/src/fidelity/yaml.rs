//! YAML as JSON: as much as test files of others need.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// The first document. Anchors are not followed: none of the files has any.
///
/// # Errors
/// Says what is not YAML.
pub fn read(bytes: &[u8]) -> Result<Value, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut open: Vec<(Value, Option<String>)> = Vec::new();
    for event in Parser::new_from_str(&text) {
        let (event, _) = event.map_err(|error| format!("YAML: {error}"))?;
        let done = match event {
            Event::SequenceStart(..) => {
                open.push((Value::Array(Vec::new()), None));
                None
            }
            Event::MappingStart(..) => {
                open.push((Value::Object(Map::new()), None));
                None
            }
            Event::Scalar(text, style, ..) => Some(scalar(&text, style == ScalarStyle::Plain)),
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(|(value, _)| value),
            _ => None,
        };
        let Some(done) = done else { continue };
        match open.last_mut() {
            None => return Ok(done),
            Some((Value::Array(items), _)) => items.push(done),
            Some((Value::Object(members), key)) => match key.take() {
                None => *key = Some(super::same::text(&done)),
                Some(name) => _ = members.insert(name, done),
            },
            Some(_) => {}
        }
    }
    Err("YAML: no document".into())
}

fn scalar(text: &str, plain: bool) -> Value {
    match text {
        _ if !plain => text.into(),
        "" | "~" | "null" => Value::Null,
        "true" | "True" | "yes" => true.into(),
        "false" | "False" | "no" => false.into(),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => whole.into(),
            (_, Ok(number)) => number.into(),
            _ => text.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn maps_lists_and_blocks_are_what_they_are_in_json() {
        let text = b"tests:\n  one: |\n    a\n    b\nchecks:\n  - filter: {count: 2, match: {event_type: alert, x: 'null'}}\n";
        let read = super::read(text).expect("YAML");
        let expected = serde_json::json!({"tests": {"one": "a\nb\n"}, "checks": [{"filter": {"count": 2, "match": {"event_type": "alert", "x": "null"}}}]});
        assert_eq!(read, expected);
    }
}
