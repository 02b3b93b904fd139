//! One expectation against the events of its input.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    expect::{Case, Expected},
    pair::{Field, Join, Pair, Reason, fits},
    same::{converted, equal, text},
};

/// What comparing a pair came to.
pub struct Result<'p> {
    pub pair: &'p Pair,
    /// Inputs, and events expected of them.
    pub inputs: usize,
    pub events: usize,
    /// Fields expected of an event, not counting those outside.
    pub fields: usize,
    /// Of these: there, whatever the value.
    pub present: usize,
    /// Of these: there and equal.
    pub equal: usize,
    /// Fields that say nothing of the event, by the reason's place in the pair's file.
    pub outside: BTreeMap<usize, usize>,
    /// Differences with a reason, by the reason's place in the pair's file.
    pub explained: BTreeMap<usize, usize>,
    pub unexplained: Vec<Difference>,
}

/// An expected field that is not there, or not equal.
pub struct Difference {
    pub input: String,
    pub field: String,
    pub theirs: Value,
    /// Empty if we have nothing there.
    pub ours: Vec<Value>,
    /// Whether the pair's file says where it should be.
    pub known: bool,
}

impl<'p> Result<'p> {
    pub fn new(pair: &'p Pair) -> Self {
        let (outside, explained) = (BTreeMap::new(), BTreeMap::new());
        Self { pair, inputs: 0, events: 0, fields: 0, present: 0, equal: 0, outside, explained, unexplained: Vec::new() }
    }

    /// Finds each expected event among `events` and counts its fields.
    pub fn add(&mut self, case: &Case, events: &[Value]) {
        self.inputs += 1;
        let mut taken = vec![false; events.len()];
        for (at, expected) in case.expected.iter().enumerate() {
            self.events += 1;
            let found = match self.pair.join {
                Join::Order => events.get(at).map(|event| (at, event)),
                Join::Best => best(self.pair, expected, events, &taken),
            };
            if let Some((at, _)) = found {
                taken[at] = true;
            }
            let event = found.map_or(&Value::Null, |(_, event)| event);
            expected.iter().for_each(|(field, theirs)| self.count(case, event, field, theirs));
        }
    }

    fn count(&mut self, case: &Case, event: &Value, field: &str, theirs: &Value) {
        if let Some(reason) = reason(&self.pair.outside, case, field, theirs) {
            *self.outside.entry(reason).or_default() += 1;
            return;
        }
        self.fields += 1;
        let (ours, same, known) = match judged(self.pair, event, field, theirs) {
            Some((ours, same)) => (ours, same, true),
            None => (Vec::new(), false, false),
        };
        self.present += usize::from(!ours.is_empty());
        self.equal += usize::from(same);
        if same {
            return;
        }
        if let Some(reason) = reason(&self.pair.explained, case, field, theirs) {
            *self.explained.entry(reason).or_default() += 1;
        } else {
            let ours = ours.into_iter().cloned().collect();
            self.unexplained.push(Difference {
                input: case.name.clone(),
                field: field.into(),
                theirs: theirs.clone(),
                ours,
                known,
            });
        }
    }
}

fn reason(reasons: &[Reason], case: &Case, field: &str, theirs: &Value) -> Option<usize> {
    reasons.iter().position(|reason| {
        (reason.inputs.is_empty() || reason.inputs.iter().any(|part| case.name.contains(part)))
            && (reason.values.is_empty() || reason.values.iter().any(|value| value == theirs))
            && reason.fields.iter().any(|pattern| fits(pattern, field).is_some())
    })
}

/// The event that agrees in most fields; of equals the first that no other expectation took.
fn best<'e>(pair: &Pair, expected: &Expected, events: &'e [Value], taken: &[bool]) -> Option<(usize, &'e Value)> {
    let agreeing = |event: &Value| {
        let judged = expected.iter().filter_map(|(field, theirs)| judged(pair, event, field, theirs));
        judged.filter(|(_, same)| *same).count()
    };
    let scored = events.iter().enumerate().map(|(at, event)| ((agreeing(event), !taken[at]), at, event));
    let (_, at, event) = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    Some((at, event))
}

/// Our values for a field of theirs, and whether one is equal; nothing if the pair's file has no line for it.
fn judged<'e>(pair: &Pair, event: &'e Value, field: &str, theirs: &Value) -> Option<(Vec<&'e Value>, bool)> {
    let (line, stars) = pair.field.iter().find_map(|line| Some((line, fits(&line.theirs, field)?)))?;
    let ours: Vec<&Value> = line.ours.iter().flat_map(|path| find(event, &filled(path, &stars))).collect();
    // A list of ours says a single value of theirs if one of its items does.
    let items = |ours: &'e Value| ours.as_array().filter(|_| !theirs.is_array()).into_iter().flatten();
    let same = ours.iter().any(|ours| says(line, ours, theirs) || items(ours).any(|item| says(line, item, theirs)));
    Some((ours, same))
}

fn says(line: &Field, ours: &Value, theirs: &Value) -> bool {
    if let Some(names) = line.values.get(&text(theirs)) {
        return names.iter().any(|name| equal(name, ours));
    }
    let contains = line.conversions.iter().any(|name| name == "within");
    let [ours, theirs] = [ours, theirs].map(|value| converted(value, &line.conversions));
    if contains { text(&ours).contains(&text(&theirs)) } else { equal(&ours, &theirs) }
}

fn filled(path: &str, stars: &[&str]) -> String {
    if let Some(above) = path.strip_suffix("**") {
        return format!("{}**", filled(above, stars));
    }
    let mut stars = stars.iter();
    let mut parts = path.split('*');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        filled.push_str(stars.next().unwrap_or(&"*"));
        filled.push_str(part);
    }
    filled
}

/// The values at `path`: `**` is every value below, names with dots are tried whole, a list without a number means each of its items, and an only item is its own first.
pub fn find<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    if path.is_empty() {
        return if value.is_null() { Vec::new() } else { vec![value] };
    }
    if path == "**" {
        let mut leaves = Vec::new();
        below(value, &mut leaves);
        return leaves;
    }
    if let Some(items) = value.as_array() {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        return match first.parse::<usize>() {
            Ok(at) => items.get(at).map_or_else(Vec::new, |item| find(item, rest)),
            Err(_) => items.iter().flat_map(|item| find(item, path)).collect(),
        };
    }
    let Some(members) = value.as_object() else {
        return if path == "0" { vec![value] } else { Vec::new() };
    };
    let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
    let found: Vec<&Value> = ends
        .filter_map(|end| Some((members.get(&path[..end])?, path.get(end + 1..).unwrap_or_default())))
        .flat_map(|(member, rest)| find(member, rest))
        .collect();
    match path.strip_prefix("0.") {
        Some(rest) if found.is_empty() && !members.contains_key("0") => find(value, rest),
        _ => found,
    }
}

fn below<'v>(value: &'v Value, leaves: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => members.values().for_each(|value| below(value, leaves)),
        Value::Array(items) => {
            // A list is a value too, for those who expect one.
            leaves.push(value);
            items.iter().for_each(|value| below(value, leaves));
        }
        Value::Null => {}
        leaf => leaves.push(leaf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_go_through_lists_and_names_with_dots() {
        let event = json!({"native": {"id.orig_h": "1.2.3.4", "PATH": [{"name": "a"}, {"name": "b"}], "CWD": {"cwd": "/"}}});
        assert_eq!(find(&event, "native.id.orig_h"), [&json!("1.2.3.4")]);
        assert_eq!(find(&event, "native.PATH.1.name"), [&json!("b")]);
        assert_eq!(find(&event, "native.PATH.name"), [&json!("a"), &json!("b")]);
        assert_eq!(find(&event, "native.CWD.0.cwd"), [&json!("/")]);
        assert!(find(&event, "native.PATH.2.name").is_empty());
        assert_eq!(find(&event, "native.CWD.**"), [&json!("/")]);
    }

    #[test]
    fn what_is_missing_different_or_explained_is_counted_as_such() {
        let pair: Pair = toml::from_str(
            "title='t'\nfolder='f'\nreader='rows'\n[[field]]\ntheirs='*'\nours=['native.*']\n\
             [[explained]]\nfields=['c']\nwhy='w'\n[[outside]]\nfields=['d']\nwhy='w'\n",
        )
        .expect("a pair");
        let expected = vec![vec![("a".into(), json!(1)), ("b".into(), json!(2)), ("c".into(), json!(3)), ("d".into(), json!(4))]];
        let case = Case { name: "x".into(), file_name: "x".into(), bytes: Vec::new(), expected };
        let mut result = Result::new(&pair);
        result.add(&case, &[json!({"native": {"b": 0}}), json!({"native": {"a": 1, "b": 5}})]);
        assert_eq!((result.fields, result.present, result.equal), (3, 2, 1));
        assert_eq!((result.outside.len(), result.explained.len(), result.unexplained.len()), (1, 1, 1));
        assert_eq!(result.unexplained[0].field, "b");
    }
}
