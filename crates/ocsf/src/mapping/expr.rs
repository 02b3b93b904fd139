//! Where an attribute's value comes from: `Field // OtherField | step | step // =constant`. Steps are for their own alternative and
//! for those right before it that have none.

use std::borrow::Cow;

use reeve_decode::{Map, Parsed, Value};

use super::steps::Step;

/// Alternatives, tried in order; the first that gives a value counts.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) terms: Vec<Term>,
}

/// One source and what is done to its value.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    source: Source,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Source {
    Constant(Value<'static>),
    Head(Head),
    /// A plain name or dotted path.
    Field(Name<'static>),
    /// A path that reaches into lists.
    Walk(Vec<Hop>),
}

#[derive(Debug, Clone)]
enum Head {
    Channel,
    Provider,
    Computer,
    EventId,
    Number,
    Decoder,
}

/// One hop of a path that reaches into lists.
#[derive(Debug, Clone)]
enum Hop {
    Name(&'static str),
    Index(usize),
    /// `[-1]`: the last of the list.
    Last,
    /// The first map of the list whose `.0` is one of `.1`.
    Where(&'static str, Vec<&'static str>),
}

/// A field's name or dotted path, with the names in which a map must have one to hold it at all: most maps hold few of the fields a
/// mapping asks for, and are passed by with one look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'n> {
    text: &'n str,
    starts: Names,
}

impl<'n> Name<'n> {
    pub(crate) fn new(text: &'n str) -> Self {
        // `a.b.c` may stand as such, or below `a.b`, or below `a`.
        let mut starts = Names::default();
        starts.add(text);
        text.match_indices('.').for_each(|(dot, _)| starts.add(&text[..dot]));
        Self { text, starts }
    }
}

/// A set of names that may claim one it does not hold, never deny one it does.
#[derive(Debug, Clone, Copy, Default)]
struct Names([u64; 4]);

impl Names {
    fn of(map: &Map<'_>) -> Self {
        let mut names = Self::default();
        map.0.iter().for_each(|(name, _)| names.add(name));
        names
    }

    fn add(&mut self, name: &str) {
        let bytes = name.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return self.0[0] |= 1 };
        let middle = bytes[bytes.len() / 2];
        let mixed = bytes.len() * 7 + usize::from(*first) * 31 + usize::from(middle) * 101 + usize::from(*last) * 197;
        self.0[(mixed >> 6) & 3] |= 1 << (mixed & 63);
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(own, others)| own & others != 0)
    }
}

/// What one event is looked up in, and which of its values have found a place.
pub(crate) struct Scope<'p, 'a> {
    pub(crate) parsed: &'p Parsed<'a>,
    maps: Vec<(&'p Map<'a>, Names)>,
    used: Vec<usize>,
}

impl<'p, 'a> Scope<'p, 'a> {
    pub(crate) fn new(parsed: &'p Parsed<'a>) -> Self {
        let paths = parsed.head.as_ref().map_or(&[""][..], |head| head.scopes);
        let mut maps: Vec<(&Map<'a>, Names)> = Vec::with_capacity(4);
        let native = &parsed.native;
        let mut add = |map: &'p Map<'a>| {
            if !maps.iter().any(|(known, _)| std::ptr::eq(*known, map)) {
                maps.push((map, Names::of(map)));
            }
        };
        for path in paths {
            // `UserData.*`: whatever one name the provider chose for its data.
            match path.strip_suffix(".*") {
                Some(outer) => native
                    .path(outer)
                    .and_then(Value::as_map)
                    .into_iter()
                    .flat_map(|map| &map.0)
                    .filter_map(|(_, value)| value.as_map())
                    .for_each(&mut add),
                None if path.is_empty() => add(native),
                None => native.path(path).and_then(Value::as_map).into_iter().for_each(&mut add),
            }
        }
        add(native);
        Self { parsed, maps, used: Vec::with_capacity(48) }
    }

    fn field(&self, name: &Name<'_>) -> Option<&'p Value<'a>> {
        let mut maps = self.maps.iter().filter(|(_, names)| names.meets(&name.starts));
        maps.find_map(|(map, _)| map.path(name.text)).filter(|value| !is_absent(value))
    }

    /// A field's text.
    pub(crate) fn text_of(&self, name: &str) -> Option<Cow<'a, str>> {
        self.field(&Name::new(name)).cloned().and_then(into_text)
    }

    /// Notes that a value now stands in an attribute, so that it does not stand in `unmapped` as well.
    pub(crate) fn mark(&mut self, value: &Value<'a>) {
        self.used.push(std::ptr::from_ref(value) as usize);
    }

    pub(crate) fn mark_field(&mut self, name: &Name<'_>) {
        if let Some(value) = self.field(name) {
            self.mark(value);
        }
    }

    /// Everything no attribute took, in the source's order and under its names.
    pub(crate) fn unmapped(mut self) -> Map<'a> {
        self.used.sort_unstable();
        rest_of(&self.parsed.native, &self.used)
    }
}

/// What sources write for "nothing".
fn is_absent(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Str(text) => matches!(text.as_ref(), "" | "-" | "?" | "(null)" | "(none)" | "(empty)"),
        _ => false,
    }
}

fn rest_of<'a>(map: &Map<'a>, used: &[usize]) -> Map<'a> {
    let mut rest = Vec::with_capacity(map.0.len());
    for (name, value) in &map.0 {
        if let Some(value) = rest_of_value(value, used) {
            rest.push((name.clone(), value));
        }
    }
    Map(rest)
}

fn rest_of_value<'a>(value: &Value<'a>, used: &[usize]) -> Option<Value<'a>> {
    if used.binary_search(&(std::ptr::from_ref(value) as usize)).is_ok() {
        return None;
    }
    match value {
        Value::Map(map) => Some(rest_of(map, used)).filter(|rest| map.is_empty() || !rest.is_empty()).map(Value::Map),
        Value::List(items) => {
            let rest: Vec<_> = items.iter().filter_map(|item| rest_of_value(item, used)).collect();
            (items.is_empty() || !rest.is_empty()).then_some(Value::List(rest))
        }
        other => Some(other.clone()),
    }
}

impl Expr {
    /// Reads the text form. `lets` are the file's own names, written `$name`.
    pub(crate) fn parse(
        text: &str,
        lets: &dyn Fn(&str) -> Option<Expr>,
        tables: &super::compile::Tables,
    ) -> Result<Self, String> {
        // Read from the end: alternatives without steps of their own share those of the next one that has some.
        let (mut parts, mut shared) = (Vec::new(), Vec::new());
        for part in text.split(" // ").collect::<Vec<_>>().into_iter().rev() {
            let mut pieces = part.split(" | ").map(str::trim);
            let source = pieces.next().unwrap_or_default();
            let own = pieces.map(|piece| Step::parse(piece, tables)).collect::<Result<Vec<_>, _>>()?;
            if !own.is_empty() {
                shared.clone_from(&own);
            }
            let steps = if source.starts_with('=') { own } else { shared.clone() };
            if let Some(name) = source.strip_prefix('$') {
                let inner = lets(name).ok_or_else(|| format!("no `{name}` under [let]"))?;
                let with_steps = |mut term: Term| {
                    term.steps.extend(steps.iter().cloned());
                    term
                };
                parts.push(inner.terms.into_iter().map(with_steps).collect());
            } else {
                parts.push(vec![Term { source: Source::parse(source)?, steps }]);
            }
        }
        let terms = parts.into_iter().rev().flatten().collect();
        Ok(Self { terms })
    }

    pub(crate) fn constant(value: Value<'static>) -> Self {
        Self { terms: vec![Term { source: Source::Constant(value), steps: Vec::new() }] }
    }

    /// Whether it gives the same for every event.
    pub(crate) fn is_constant(&self) -> bool {
        self.terms.iter().all(|term| matches!(term.source, Source::Constant(_)))
    }

    /// The first alternative's value, with the document's value it was made from.
    pub(crate) fn eval<'p, 'a>(&self, scope: &Scope<'p, 'a>) -> Option<(Value<'a>, Option<&'p Value<'a>>)> {
        self.terms.iter().find_map(|term| term.eval(scope))
    }

    /// The value as text, for conditions.
    pub(crate) fn text<'a>(&self, scope: &Scope<'_, 'a>) -> Option<Cow<'a, str>> {
        self.eval(scope).and_then(|(value, _)| into_text(value))
    }

    /// The same expression with one more step at the end of every alternative.
    pub(crate) fn then(&self, step: Step) -> Self {
        let mut expr = self.clone();
        expr.terms.iter_mut().for_each(|term| term.steps.push(step.clone()));
        expr
    }
}

impl Term {
    pub(crate) fn eval<'p, 'a>(&self, scope: &Scope<'p, 'a>) -> Option<(Value<'a>, Option<&'p Value<'a>>)> {
        let (mut value, origin) = match &self.source {
            Source::Constant(value) => (value.clone(), None),
            Source::Field(name) => {
                let found = scope.field(name)?;
                (found.clone(), Some(found))
            }
            Source::Walk(hops) => {
                let found = scope.maps.iter().find_map(|(map, _)| walk(map, hops)).filter(|value| !is_absent(value))?;
                (found.clone(), Some(found))
            }
            Source::Head(field) => (field.eval(scope)?, None),
        };
        for step in &self.steps {
            value = step.apply(value, scope)?;
        }
        Some((value, origin))
    }
}

impl Head {
    fn eval<'a>(&self, scope: &Scope<'_, 'a>) -> Option<Value<'a>> {
        let text = |text: &Cow<'a, str>| Some(Value::Str(text.clone())).filter(|value| !is_absent(value));
        let head = scope.parsed.head.as_ref();
        match self {
            Head::Channel => text(&head?.channel),
            Head::Provider => text(&head?.provider),
            Head::Computer => text(&head?.computer),
            Head::EventId => Some(Value::Int(i64::from(head?.event_id))),
            Head::Decoder => Some(Value::Str(Cow::Borrowed(scope.parsed.decoder))),
            Head::Number => i64::try_from(scope.parsed.number).ok().map(Value::Int),
        }
    }
}

impl Source {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(constant) = text.strip_prefix('=') {
            let constant = constant.trim();
            return Ok(Self::Constant(constant.parse().map_or_else(|_| Value::from(constant.to_owned()), Value::Int)));
        }
        if let Some(name) = text.strip_prefix('@') {
            return Ok(Self::Head(match name {
                "channel" => Head::Channel,
                "provider" => Head::Provider,
                "computer" => Head::Computer,
                "event_id" => Head::EventId,
                "number" => Head::Number,
                "decoder" => Head::Decoder,
                // `@@timestamp` is the field `@timestamp`.
                field if field.starts_with('@') => return Ok(Self::Field(Name::new(field.to_owned().leak()))),
                other => return Err(format!("`@{other}` is none of @channel @provider @computer @event_id @number @decoder")),
            }));
        }
        if text.is_empty() {
            return Err("a field name is missing before `|` or `//`".into());
        }
        if !text.contains('[') {
            return Ok(Self::Field(Name::new(text.to_owned().leak())));
        }
        let mut hops = Vec::new();
        for part in outside_brackets(text) {
            let (name, rest) = part.split_once('[').map_or((part, None), |(name, rest)| (name, Some(rest)));
            hops.push(Hop::Name(name.to_owned().leak()));
            let Some(inside) = rest else { continue };
            let inside = inside.strip_suffix(']').ok_or_else(|| format!("`{text}` lacks a `]`"))?;
            hops.push(match inside.split_once('=') {
                Some((key, values)) => {
                    Hop::Where(key.to_owned().leak(), values.split(',').map(|value| &*value.to_owned().leak()).collect())
                }
                None if inside == "-1" => Hop::Last,
                None => Hop::Index(inside.parse().map_err(|_| format!("`[{inside}]` is neither a position nor `[key=value]`"))?),
            });
        }
        Ok(Self::Walk(hops))
    }
}

/// The parts of a path between its dots; a dot inside `[key=value]` belongs to the value.
fn outside_brackets(path: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    let parts = path.split(move |sign| {
        inside = if sign == '[' { true } else { inside && sign != ']' };
        sign == '.' && !inside
    });
    parts.filter(|part| !part.is_empty())
}

fn walk<'p, 'a>(map: &'p Map<'a>, hops: &[Hop]) -> Option<&'p Value<'a>> {
    let (Hop::Name(first), rest) = hops.split_first()? else { return None };
    let mut value = map.path(first)?;
    for hop in rest {
        value = match hop {
            Hop::Name(name) => value.path(name)?,
            Hop::Index(index) => match value {
                Value::List(items) => items.get(*index)?,
                only if *index == 0 => only,
                _ => return None,
            },
            Hop::Last => match value {
                Value::List(items) => items.last()?,
                only => only,
            },
            Hop::Where(key, wanted) => {
                let fits = |item: &Value<'a>| item.path(key).and_then(Value::as_str).is_some_and(|text| wanted.contains(&text));
                match value {
                    Value::List(items) => items.iter().find(|item| fits(item))?,
                    only if fits(only) => only,
                    _ => return None,
                }
            }
        };
    }
    Some(value)
}

/// A scalar as text.
pub(crate) fn into_text<'a>(value: Value<'a>) -> Option<Cow<'a, str>> {
    match value {
        Value::Str(text) => Some(text),
        other => other.text().map(|text| Cow::Owned(text.into_owned())),
    }
}
