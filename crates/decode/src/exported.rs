//! Windows events that a converter made of XML, in the shape that the decoder of EVTX gives: `<Data Name="A">b</Data>` is the field `A`.
//!
//! Converters write it as `{"Data": [{"Name": "A", "text": "b"}, …]}`, with `@` before attributes and `#` before text, or with a single object.
//! What SQL Server's audit writes into one text is taken apart too (event 33205): its fields are lines `name:value`.

use std::borrow::Cow;

use crate::{Map, Value};

/// Gives an exported event the fields it has in an EVTX file. Anything else is left as it is.
pub(crate) fn named(mut map: Map<'_>) -> Map<'_> {
    let inner = map.0.iter().position(|(name, value)| name == "Event" && value.as_map().is_some());
    match inner {
        Some(at) => {
            if let Value::Map(event) = &mut map.0[at].1 {
                event_fields(event);
            }
        }
        None if map.path("System.EventID").is_some() => event_fields(&mut map),
        None => {}
    }
    map
}

fn event_fields(event: &mut Map<'_>) {
    for (name, value) in &mut event.0 {
        match (name.as_ref(), value) {
            ("EventData", Value::Map(data)) => data_fields(data),
            ("System", Value::Map(system)) => event_id(system),
            _ => {}
        }
    }
}

/// `{"text": "1644", "Qualifiers": "16384"}` as two fields.
fn event_id(system: &mut Map<'_>) {
    let Some(at) = system.0.iter().position(|(name, _)| name == "EventID") else { return };
    let Value::Map(parts) = &system.0[at].1 else { return };
    let Some(number) = member(parts, &["text", "#text"]).filter(|_| parts.get("#attributes").is_none()).cloned() else { return };
    let qualifiers = member(parts, &["Qualifiers", "@Qualifiers"]).cloned();
    system.0[at].1 = number;
    if let Some(qualifiers) = qualifiers {
        system.push("Qualifiers", qualifiers);
    }
}

fn data_fields(data: &mut Map<'_>) {
    let Some(at) = data.0.iter().position(|(name, _)| name == "Data") else { return };
    let named = |item: &Value<'_>| item.as_map().is_some_and(|map| member(map, &NAMES).is_some());
    match &data.0[at].1 {
        Value::List(items) if !items.is_empty() && items.iter().all(named) => {}
        single if named(single) => {}
        _ => return sql_audit(data),
    }
    let items = match data.0.remove(at).1 {
        Value::List(items) => items,
        single => vec![single],
    };
    for item in items {
        let Value::Map(parts) = item else { continue };
        let Some(Value::Str(name)) = member(&parts, &NAMES).cloned() else { continue };
        data.0.push((name, text_of(parts)));
    }
}

/// The text beside a name; what is no text, as the elements of a task's definition, stays an object.
fn text_of(mut parts: Map<'_>) -> Value<'_> {
    if let Some(at) = parts.0.iter().position(|(name, _)| TEXTS.contains(&name.as_ref())) {
        return parts.0.swap_remove(at).1;
    }
    parts.0.retain(|(name, _)| !NAMES.contains(&name.as_ref()));
    if parts.is_empty() { Value::Null } else { Value::Map(parts) }
}

fn member<'m, 'a>(map: &'m Map<'a>, names: &[&str]) -> Option<&'m Value<'a>> {
    names.iter().find_map(|name| map.get(name))
}

/// The fields of SQL Server's audit event in place of the text that holds them.
pub(crate) fn sql_audit(data: &mut Map<'_>) {
    let Some(at) = data.0.iter().position(|(name, _)| name == "Data") else { return };
    let text = match &data.0[at].1 {
        Value::Str(text) => text,
        Value::Map(parts) => match member(parts, &TEXTS) {
            Some(Value::Str(text)) => text,
            _ => return,
        },
        _ => return,
    };
    if !text.starts_with("audit_schema_version:") {
        return;
    }
    let mut fields: Vec<(Cow<'_, str>, String)> = Vec::with_capacity(AUDIT.len());
    for line in text.split('\n') {
        // A statement may go on over lines, and hold colons.
        match line.split_once(':').filter(|(name, _)| AUDIT.contains(name)) {
            Some((name, value)) => fields.push((name.to_owned().into(), value.trim_end_matches('\r').to_owned())),
            None => {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line);
                }
            }
        }
    }
    data.0.remove(at);
    data.0.extend(fields.into_iter().map(|(name, value)| (name, Value::from(value.trim_end().to_owned()))));
}

/// Names under which converters put the attribute `Name`.
const NAMES: [&str; 3] = ["Name", "@Name", "name"];
/// Names under which they put an element's text.
const TEXTS: [&str; 7] = ["text", "#text", "Text", "Value", "value", "Content", "content"];

/// Fields of SQL Server's audit record, from Microsoft's description of `sys.fn_get_audit_file`.
const AUDIT: [&str; 44] = [
    "audit_schema_version",
    "event_time",
    "sequence_number",
    "action_id",
    "succeeded",
    "is_column_permission",
    "permission_bitmask",
    "session_id",
    "server_principal_id",
    "database_principal_id",
    "target_server_principal_id",
    "target_database_principal_id",
    "object_id",
    "user_defined_event_id",
    "transaction_id",
    "class_type",
    "duration_milliseconds",
    "response_rows",
    "affected_rows",
    "client_ip",
    "sequence_group_id",
    "session_server_principal_name",
    "server_principal_name",
    "server_principal_sid",
    "database_principal_name",
    "target_server_principal_name",
    "target_server_principal_sid",
    "target_database_principal_name",
    "server_instance_name",
    "database_name",
    "schema_name",
    "object_name",
    "statement",
    "additional_information",
    "user_defined_information",
    "application_name",
    "connection_id",
    "data_sensitivity_information",
    "host_name",
    "session_context",
    "client_tls_version",
    "client_tls_version_name",
    "external_policy_permissions_checked",
    "obo_middle_tier_app_id",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let (Value::Map(map), problems) = crate::json::parse(text) else { unreachable!("an object: {text}") };
        assert_eq!(problems, []);
        assert_eq!(serde_json::to_string(&named(map)).expect("fields serialise"), want);
    }

    #[test]
    fn attributes_of_any_spelling_name_their_field() {
        for (name, text) in [("Name", "text"), ("@Name", "#text"), ("Name", "Value")] {
            check(
                &format!(
                    r#"{{"Event":{{"System":{{"EventID":{{"text":"13","Qualifiers":"1"}}}},"EventData":{{"Data":[{{"{text}":"b","{name}":"A"}},{{"{name}":"C"}},{{"{name}":"D","Task":{{"x":1}}}}]}}}}}}"#
                ),
                r#"{"Event":{"System":{"EventID":"13","Qualifiers":"1"},"EventData":{"A":"b","C":null,"D":{"Task":{"x":1}}}}}"#,
            );
        }
        check(
            r#"{"System":{"EventID":1},"EventData":{"Data":{"Name":"A","text":"b"}}}"#,
            r#"{"System":{"EventID":1},"EventData":{"A":"b"}}"#,
        );
    }

    #[test]
    fn what_has_no_names_stays() {
        for text in [r#"{"Event":{"EventData":{"Data":["a","b"]}}}"#, r#"{"Data":[{"Name":"A","text":"b"}]}"#] {
            check(text, text);
        }
    }

    #[test]
    fn an_audit_record_in_one_text_is_taken_apart() {
        check(
            r#"{"Event":{"EventData":{"Data":"audit_schema_version:1\naction_id:SL\nstatement:SELECT 1\r\n-- a: b\nobject_name:t\n"}}}"#,
            r#"{"Event":{"EventData":{"audit_schema_version":"1","action_id":"SL","statement":"SELECT 1\n-- a: b","object_name":"t"}}}"#,
        );
    }
}
