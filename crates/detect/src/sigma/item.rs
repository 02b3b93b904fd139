//! One line of a search, `field|modifier|…: values`, as a test of an event.

use base64::Engine as _;
use ipnet::IpNet;

use super::pattern::{Pattern, Piece, pieces};
use crate::yaml::{Fault, Kind, Node};

/// A field name by its number in [`Fields`].
pub(crate) type FieldId = u32;

/// The place of whole-event keywords among the fields.
pub(crate) const KEYWORDS: FieldId = 0;

/// The field names that rules use, each under one number.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    names: Vec<String>,
    ids: hashbrown::HashMap<String, FieldId>,
}

impl Default for Fields {
    fn default() -> Self {
        let mut fields = Self { names: Vec::new(), ids: hashbrown::HashMap::new() };
        fields.id("(keywords)");
        fields
    }
}

impl Fields {
    pub(crate) fn id(&mut self, name: &str) -> FieldId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.names.len() as FieldId;
        self.names.push(name.to_owned());
        self.ids.insert(name.to_owned(), id);
        id
    }

    pub(crate) fn name(&self, id: FieldId) -> &str {
        self.names.get(id as usize).map_or("", String::as_str)
    }

    pub(crate) fn find(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// A compiled condition.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    /// At least so many of them.
    Some(usize, Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
}

/// A test of one field.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) field: FieldId,
    pub(crate) check: Check,
}

#[derive(Clone, Debug)]
pub(crate) enum Check {
    /// Some value fits a pattern; with `all`, every pattern is fitted by some value.
    Text {
        patterns: Vec<Pattern>,
        all: bool,
        cased: bool,
    },
    Regex {
        patterns: Vec<regex::Regex>,
        all: bool,
    },
    Network(Vec<IpNet>),
    /// The event has the field (or has not), whatever its value.
    Exists(bool),
    /// The field is absent or null.
    Null,
    Number(Order, f64),
    SameAs {
        other: FieldId,
        how: Place,
        cased: bool,
    },
    TimePart(Part, Order, i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    pub(crate) fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Order::Equal => ordering.is_eq(),
            Order::Less => ordering.is_lt(),
            Order::LessOrEqual => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::GreaterOrEqual => ordering.is_ge(),
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "lt" => Order::Less,
            "lte" => Order::LessOrEqual,
            "gt" => Order::Greater,
            "gte" => Order::GreaterOrEqual,
            _ => return None,
        })
    }
}

/// Where in a value the wanted text stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Whole,
    Start,
    End,
    Anywhere,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Regex,
    Network,
    Exists,
    FieldRef,
}

/// What the modifiers of one line ask for.
struct Modifiers {
    place: Place,
    form: Form,
    all: bool,
    cased: bool,
    negated: bool,
    order: Option<Order>,
    part: Option<Part>,
    flags: [bool; 3],
    /// Changes to the values, in the order written.
    changes: Vec<Change>,
}

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Windash,
    Utf16 { big_endian: bool, mark: bool },
    Base64,
    Base64Offset,
    Expand,
}

/// A value on its way to a pattern.
#[derive(Clone)]
enum Draft {
    /// As written, wildcards unread.
    Written(String),
    Bytes(Vec<u8>),
    /// To be matched as it stands.
    Literal(String),
}

/// Compiles one line of a search.
pub(crate) fn compile(key: &str, value: &Node, fields: &mut Fields) -> Result<Expr, Fault> {
    let line = value.line;
    let mut parts = key.split('|');
    let name = parts.next().unwrap_or_default();
    let modifiers = Modifiers::read(parts).map_err(|reason| Fault::at(line, format!("`{key}`: {reason}")))?;
    let field = if name.is_empty() { KEYWORDS } else { fields.id(name) };
    let fault = |reason: String| Fault::at(line, format!("`{key}`: {reason}"));
    if matches!(value.kind, Kind::Map(_)) {
        return Err(fault("a field takes a value or a list of values, not a map".into()));
    }
    let expr = match modifiers.form {
        Form::Exists => exists(field, value).map_err(fault)?,
        Form::FieldRef => field_ref(field, value, &modifiers, fields).map_err(fault)?,
        Form::Network => networks(field, value).map_err(fault)?,
        Form::Regex => regexes(field, value, &modifiers).map_err(fault)?,
        Form::Text if modifiers.order.is_some() || modifiers.part.is_some() => {
            numbers(field, value, &modifiers).map_err(fault)?
        }
        Form::Text => texts(field, value, &modifiers).map_err(fault)?,
    };
    Ok(if modifiers.negated { Expr::Not(Box::new(expr)) } else { expr })
}

/// Compiles a bare value: a keyword looked for anywhere in the event.
pub(crate) fn keyword(value: &Node) -> Result<Expr, Fault> {
    let Some(text) = value.text() else { return Err(Fault::at(value.line, "a keyword must be text")) };
    Ok(Expr::Test(Test {
        field: KEYWORDS,
        check: Check::Text { patterns: vec![keyword_pattern(pieces(text), false)], all: false, cased: false },
    }))
}

fn keyword_pattern(mut pieces: Vec<Piece>, cased: bool) -> Pattern {
    pieces.insert(0, Piece::Many);
    pieces.push(Piece::Many);
    Pattern::new(pieces, cased)
}

impl Modifiers {
    fn read<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut it = Self {
            place: Place::Whole,
            form: Form::Text,
            all: false,
            cased: false,
            negated: false,
            order: None,
            part: None,
            flags: [false; 3],
            changes: Vec::new(),
        };
        for name in names {
            it.add(name)?;
        }
        if it.form == Form::Regex && (it.place != Place::Whole || !it.changes.is_empty()) {
            return Err("`re` cannot be joined with other text modifiers".into());
        }
        if it.flags != [false; 3] && it.form != Form::Regex {
            return Err("`i`, `m` and `s` belong to `re`".into());
        }
        Ok(it)
    }

    fn add(&mut self, name: &str) -> Result<(), String> {
        match name {
            "contains" => self.place = Place::Anywhere,
            "startswith" => self.place = Place::Start,
            "endswith" => self.place = Place::End,
            "all" => self.all = true,
            "cased" => self.cased = true,
            "neq" => self.negated = true,
            "re" => self.form = Form::Regex,
            "i" => self.flags[0] = true,
            "m" => self.flags[1] = true,
            "s" => self.flags[2] = true,
            "cidr" => self.form = Form::Network,
            "exists" => self.form = Form::Exists,
            "fieldref" => self.form = Form::FieldRef,
            "windash" => self.changes.push(Change::Windash),
            "wide" | "utf16le" => self.changes.push(Change::Utf16 { big_endian: false, mark: false }),
            "utf16be" => self.changes.push(Change::Utf16 { big_endian: true, mark: false }),
            "utf16" => self.changes.push(Change::Utf16 { big_endian: false, mark: true }),
            "base64" => self.changes.push(Change::Base64),
            "base64offset" => self.changes.push(Change::Base64Offset),
            "expand" => self.changes.push(Change::Expand),
            "minute" => self.part = Some(Part::Minute),
            "hour" => self.part = Some(Part::Hour),
            "day" => self.part = Some(Part::Day),
            "week" => self.part = Some(Part::Week),
            "month" => self.part = Some(Part::Month),
            "year" => self.part = Some(Part::Year),
            other => match Order::named(other) {
                Some(order) => self.order = Some(order),
                None => return Err(format!("unknown modifier `{other}`")),
            },
        }
        Ok(())
    }
}

fn scalars(value: &Node) -> Result<Vec<&str>, String> {
    let texts: Option<Vec<&str>> = value.items().iter().map(Node::text).collect();
    match texts {
        Some(texts) if !texts.is_empty() => Ok(texts),
        Some(_) => Err("has no value".into()),
        None => Err("values must be plain, not lists or maps".into()),
    }
}

fn either(mut parts: Vec<Expr>, all: bool) -> Expr {
    if parts.len() == 1 {
        parts.swap_remove(0)
    } else if all {
        Expr::All(parts)
    } else {
        Expr::Any(parts)
    }
}

fn exists(field: FieldId, value: &Node) -> Result<Expr, String> {
    match value.text().map(str::to_ascii_lowercase).as_deref() {
        Some("true" | "yes") => Ok(Expr::Test(Test { field, check: Check::Exists(true) })),
        Some("false" | "no") => Ok(Expr::Test(Test { field, check: Check::Exists(false) })),
        _ => Err("`exists` takes true or false".into()),
    }
}

fn field_ref(field: FieldId, value: &Node, modifiers: &Modifiers, fields: &mut Fields) -> Result<Expr, String> {
    let tests = scalars(value)?
        .into_iter()
        .map(|name| Test { field, check: Check::SameAs { other: fields.id(name), how: modifiers.place, cased: modifiers.cased } })
        .map(Expr::Test)
        .collect();
    Ok(either(tests, modifiers.all))
}

fn networks(field: FieldId, value: &Node) -> Result<Expr, String> {
    let networks: Result<Vec<IpNet>, String> = scalars(value)?
        .into_iter()
        .map(|text| {
            let whole = || text.parse::<std::net::IpAddr>().map(IpNet::from);
            text.parse::<IpNet>().or_else(|_| whole()).map_err(|_| format!("`{text}` is no network"))
        })
        .collect();
    Ok(Expr::Test(Test { field, check: Check::Network(networks?) }))
}

fn regexes(field: FieldId, value: &Node, modifiers: &Modifiers) -> Result<Expr, String> {
    let [ignore_case, multi_line, dot_all] = modifiers.flags;
    let compile = |text: &str| {
        regex::RegexBuilder::new(text)
            .case_insensitive(ignore_case)
            .multi_line(multi_line)
            .dot_matches_new_line(dot_all)
            .size_limit(4 << 20)
            .dfa_size_limit(1 << 20)
            .build()
            .map_err(|error| format!("regular expression `{text}`: {}", one_line(&error.to_string())))
    };
    let patterns: Result<Vec<_>, _> = scalars(value)?.into_iter().map(compile).collect();
    Ok(Expr::Test(Test { field, check: Check::Regex { patterns: patterns?, all: modifiers.all } }))
}

/// The last line of a regex error says what is wrong; the lines above draw where.
fn one_line(text: &str) -> &str {
    text.lines().last().map_or(text, |line| line.trim_start_matches("error: "))
}

fn numbers(field: FieldId, value: &Node, modifiers: &Modifiers) -> Result<Expr, String> {
    let order = modifiers.order.unwrap_or(Order::Equal);
    let tests: Result<Vec<Expr>, String> = scalars(value)?
        .into_iter()
        .map(|text| {
            let check = match modifiers.part {
                Some(part) => Check::TimePart(part, order, text.parse().map_err(|_| format!("`{text}` is no whole number"))?),
                None => Check::Number(order, text.parse().map_err(|_| format!("`{text}` is no number"))?),
            };
            Ok(Expr::Test(Test { field, check }))
        })
        .collect();
    Ok(either(tests?, modifiers.all))
}

fn texts(field: FieldId, value: &Node, modifiers: &Modifiers) -> Result<Expr, String> {
    let mut patterns = Vec::new();
    let mut nulls = false;
    if value.is_null() {
        nulls = true;
    }
    for item in value.items() {
        match item.text() {
            Some(_) if item.is_null() => nulls = true,
            Some(text) => patterns.extend(text_patterns(text, field, modifiers)?),
            None => return Err("values must be plain, not lists or maps".into()),
        }
    }
    if patterns.is_empty() && !nulls {
        return Err("has no value".into());
    }
    let mut tests = Vec::new();
    if !patterns.is_empty() {
        tests.push(patterns_test(field, patterns, modifiers));
    }
    if nulls {
        tests.push(Expr::Test(Test { field, check: Check::Null }));
    }
    Ok(either(tests, modifiers.all))
}

/// Patterns grown out of one value are alternatives of it: with `all`, each value must be met by one of its own.
fn patterns_test(field: FieldId, patterns: Vec<Vec<Pattern>>, modifiers: &Modifiers) -> Expr {
    let cased = modifiers.cased;
    let text = |patterns, all| Expr::Test(Test { field, check: Check::Text { patterns, all, cased } });
    if !modifiers.all {
        return text(patterns.into_iter().flatten().collect(), false);
    }
    if patterns.iter().all(|alternatives| alternatives.len() == 1) {
        return text(patterns.into_iter().flatten().collect(), true);
    }
    Expr::All(patterns.into_iter().map(|alternatives| text(alternatives, false)).collect())
}

fn text_patterns(text: &str, field: FieldId, modifiers: &Modifiers) -> Result<Option<Vec<Pattern>>, String> {
    let mut drafts = vec![Draft::Written(text.to_owned())];
    for change in &modifiers.changes {
        drafts = apply(*change, drafts)?;
    }
    let mut patterns = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let mut parts = match draft {
            Draft::Written(text) => pieces(&text),
            Draft::Literal(text) => vec![Piece::Text(text)],
            Draft::Bytes(bytes) => {
                vec![Piece::Text(
                    String::from_utf8(bytes).map_err(|_| "the encoded value is no text: add `base64` or `base64offset`")?,
                )]
            }
        };
        if field == KEYWORDS {
            patterns.push(keyword_pattern(parts, modifiers.cased));
            continue;
        }
        if matches!(modifiers.place, Place::Anywhere | Place::End) {
            parts.insert(0, Piece::Many);
        }
        if matches!(modifiers.place, Place::Anywhere | Place::Start) {
            parts.push(Piece::Many);
        }
        patterns.push(Pattern::new(parts, modifiers.cased));
    }
    Ok(Some(patterns))
}

fn apply(change: Change, drafts: Vec<Draft>) -> Result<Vec<Draft>, String> {
    let mut changed = Vec::new();
    for draft in drafts {
        match change {
            Change::Expand => match draft {
                Draft::Written(text) if text.split('%').count() > 2 => {
                    return Err(format!("the placeholder in `{text}` has no values here"));
                }
                other => changed.push(other),
            },
            Change::Windash => match draft {
                Draft::Written(text) => changed.extend(dashes(&text).into_iter().map(Draft::Written)),
                other => changed.push(other),
            },
            Change::Utf16 { big_endian, mark } => changed.push(Draft::Bytes(utf16(&bytes(draft)?, big_endian, mark)?)),
            Change::Base64 => {
                changed.push(Draft::Literal(base64::engine::general_purpose::STANDARD.encode(bytes(draft)?)));
            }
            Change::Base64Offset => changed.extend(base64_offsets(&bytes(draft)?).into_iter().map(Draft::Literal)),
        }
    }
    Ok(changed)
}

/// The bytes a value stands for. Wildcards have none.
fn bytes(draft: Draft) -> Result<Vec<u8>, String> {
    match draft {
        Draft::Bytes(bytes) => Ok(bytes),
        Draft::Literal(text) => Ok(text.into_bytes()),
        Draft::Written(text) => match pieces(&text).as_slice() {
            [] => Ok(Vec::new()),
            [Piece::Text(text)] => Ok(text.clone().into_bytes()),
            _ => Err(format!("wildcards in `{text}` cannot be encoded")),
        },
    }
}

fn utf16(bytes: &[u8], big_endian: bool, mark: bool) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "only text can be encoded as UTF-16")?;
    let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
    Ok(units.flat_map(|unit: u16| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect())
}

/// The base64 text of `bytes` at each of the three places it can have in a longer text, without the characters that depend
/// on its neighbours.
fn base64_offsets(bytes: &[u8]) -> Vec<String> {
    (0..3)
        .map(|offset| {
            let padded: Vec<u8> = std::iter::repeat_n(b' ', offset).chain(bytes.iter().copied()).collect();
            let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&padded);
            let first = (offset * 8).div_ceil(6);
            let last = (padded.len() * 8) / 6;
            encoded.get(first..last).unwrap_or_default().to_owned()
        })
        .filter(|text| !text.is_empty())
        .collect()
}

/// Every way to write the value's option dashes. Beyond three options all are written alike.
fn dashes(text: &str) -> Vec<String> {
    const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];
    let chars: Vec<char> = text.chars().collect();
    let word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let places: Vec<usize> = (0..chars.len())
        .filter(|&at| matches!(chars[at], '-' | '/'))
        .filter(|&at| !(at > 0 && word(chars.get(at - 1))) && word(chars.get(at + 1)))
        .collect();
    let mut forms = vec![chars.clone()];
    if places.len() > 3 {
        forms = DASHES
            .iter()
            .map(|dash| chars.iter().enumerate().map(|(at, c)| if places.contains(&at) { *dash } else { *c }).collect())
            .collect();
        forms.push(chars);
    } else {
        for place in places {
            forms = forms
                .into_iter()
                .flat_map(|form| {
                    DASHES.map(|dash| {
                        let mut form = form.clone();
                        form[place] = dash;
                        form
                    })
                })
                .collect();
        }
    }
    forms.into_iter().map(String::from_iter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_offsets_are_found_in_any_longer_text() {
        let engine = base64::engine::general_purpose::STANDARD;
        for before in 0..7 {
            let text = format!("{}powershell{}", "x".repeat(before), "yz");
            let encoded = engine.encode(&text);
            assert!(base64_offsets(b"powershell").iter().any(|part| encoded.contains(part)), "{before}");
        }
    }

    #[test]
    fn windash_writes_every_dash_but_not_inside_words() {
        let forms = dashes("cmd -a x-y");
        assert_eq!(forms.len(), 5);
        assert!(forms.contains(&"cmd /a x-y".to_owned()));
        assert_eq!(dashes("-a /b").len(), 25);
        assert_eq!(dashes("-a -b -c -d").len(), 6);
    }
}
