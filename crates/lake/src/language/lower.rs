//! From a query to the engine's expressions and plans.

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, ScalarValue},
    functions::expr_fn::coalesce,
    functions_aggregate::expr_fn::{avg, count, count_distinct, max, min, sum},
    functions_window::expr_fn::row_number,
    logical_expr::{
        Expr, ExprFunctionExt, SortExpr, cast, lit, try_cast,
        utils::{conjunction, disjunction},
    },
    prelude::{DataFrame, col, ident},
};
use ipnet::IpNet;
use reeve_record::RecordId;
use regex::bytes::Regex;

use super::{
    ast::{Aggregate, Call, Command, Named, Operator, Pattern, Piece, Query, Search, Test},
    fields::{Fields, Place},
};
use crate::{
    Error,
    functions::{self, Limit, Matcher},
    minutes::{EVENTS, MINUTE_US},
    needles::Grams,
    promoted::Kind,
    rows,
    schema::{OBSERVED, promoted, timestamp},
    search::is_counted,
    texts::TextTest,
};

/// What comes out of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Events, in the order the caller wants.
    Events,
    /// Events in the order the query's own `sort` and `head` give.
    OrderedEvents,
    /// A table of its own columns.
    Table,
}

/// A query split into what selects events and what is done with them.
pub(crate) struct Lowered {
    /// Which events; `None` is all.
    pub(crate) filter: Option<Expr>,
    /// Commands left to apply.
    pub(crate) commands: Vec<Command>,
    /// What comes out.
    pub(crate) shape: Shape,
    /// Rows a plain `head` asks for.
    pub(crate) head: Option<usize>,
}

/// Gives the tests of a query their meaning, and sorts its commands.
pub(crate) fn lower(query: Query, fields: &Fields<'_>) -> Result<Lowered, Error> {
    let mut filters = Vec::new();
    filters.extend(lower_search(&query.search, fields)?);
    let mut commands = query.commands;
    while let Some(Command::Where(_)) = commands.first() {
        if let Command::Where(search) = commands.remove(0) {
            filters.extend(lower_search(&search, fields)?);
        }
    }
    let filter = conjunction(filters);
    let events = commands.iter().all(|command| matches!(command, Command::Where(_) | Command::Sort(_) | Command::Head(_)));
    let (shape, head) = match commands.as_slice() {
        [] => (Shape::Events, None),
        [Command::Head(count)] => (Shape::Events, Some(*count)),
        _ if events => (Shape::OrderedEvents, None),
        _ => (Shape::Table, None),
    };
    if shape == Shape::Events {
        commands.clear();
    }
    Ok(Lowered { filter, commands, shape, head })
}

/// The condition as an expression on the table; `None` is every event.
pub(crate) fn lower_search(search: &Search, fields: &Fields<'_>) -> Result<Option<Expr>, Error> {
    if *search == Search::All {
        return Ok(None);
    }
    condition(search, &Scope::Events(fields)).map(Some)
}

impl Lowered {
    /// Applies the commands to filtered events.
    pub(crate) fn apply(&self, frame: DataFrame, fields: &Fields<'_>) -> Result<DataFrame, Error> {
        self.apply_in(frame, Scope::Events(fields))
    }

    /// Applies the commands to events told as counts; [`Lowered::is_counted`] has said that this can be done.
    pub(crate) fn apply_to_counts(&self, frame: DataFrame, fields: &Fields<'_>) -> Result<DataFrame, Error> {
        self.apply_in(frame, Scope::Counts(fields))
    }

    /// Whether conditions and first command need no more than counts by minute, class, severity, status and host.
    pub(crate) fn is_counted(&self, fields: &Fields<'_>) -> Result<bool, Error> {
        let scope = Scope::Counts(fields);
        let plain = |aggregates: &[Aggregate]| aggregates.iter().all(|aggregate| aggregate.field.is_none());
        let keys: Vec<&Named> = match self.commands.first() {
            Some(Command::Stats(aggregates, by)) if plain(aggregates) => by.iter().collect(),
            Some(Command::Timechart { span_us, aggregates, by }) if plain(aggregates) && span_us % MINUTE_US == 0 => {
                by.iter().collect()
            }
            Some(Command::Top { field, by, .. }) => by.iter().chain([field]).collect(),
            _ => return Ok(false),
        };
        for key in keys {
            if !is_counted(&scope.value(key)?.0) {
                return Ok(false);
            }
        }
        Ok(self.filter.as_ref().is_none_or(is_counted))
    }

    fn apply_in(&self, mut frame: DataFrame, first: Scope<'_>) -> Result<DataFrame, Error> {
        let mut on_events = true;
        for command in &self.commands {
            let columns: Vec<String> = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
            let scope = if on_events { first } else { Scope::Columns(&columns) };
            frame = apply(frame, command, &scope)?;
            on_events = on_events && matches!(command, Command::Where(_) | Command::Sort(_) | Command::Head(_));
        }
        Ok(frame)
    }
}

/// What names mean at a command: fields of events, or columns of the table so far.
#[derive(Clone, Copy)]
enum Scope<'a> {
    Events(&'a Fields<'a>),
    /// Of events told as counts.
    Counts(&'a Fields<'a>),
    Columns(&'a [String]),
}

impl Scope<'_> {
    /// How many rows there are, of events or of what they were made into.
    fn count(&self) -> Expr {
        match self {
            Self::Counts(_) => sum(col(EVENTS)),
            _ => count(lit(1_i64)),
        }
    }

    fn column(&self, field: &Named) -> Result<Option<Expr>, Error> {
        let Self::Columns(columns) = self else { return Ok(None) };
        match columns.iter().find(|column| column.eq_ignore_ascii_case(&field.name)) {
            Some(column) => Ok(Some(ident(column.as_str()))),
            None => {
                let here = columns.join(", ");
                Err(Error::query(field.offset, format!("no column `{}` at this command; there are {here}", field.name)))
            }
        }
    }

    /// The field's value, and whether it is text that may be a number.
    fn value(&self, field: &Named) -> Result<(Expr, Kind), Error> {
        if let Some(column) = self.column(field)? {
            return Ok((column, Kind::Integer));
        }
        let (Self::Events(fields) | Self::Counts(fields)) = self else { return Ok((col("time"), Kind::Timestamp)) };
        Ok(match fields.resolve(field) {
            Place::Columns { columns, native } => columns_value(&columns, native),
            Place::Native(name) => (functions::field_value(&name), Kind::Text),
            Place::ClassName => (col("class_uid"), Kind::Integer),
            Place::SeverityName => (col("severity_id"), Kind::Integer),
            Place::Observable | Place::Text => {
                return Err(Error::query(field.offset, format!("`{}` can be searched but is no single value", field.name)));
            }
        })
    }
}

fn columns_value(columns: &[(&'static str, Kind)], native: Option<String>) -> (Expr, Kind) {
    let kind = columns.first().map_or(Kind::Text, |column| column.1);
    let same = columns.iter().all(|column| column.1 == kind);
    let mut values: Vec<Expr> =
        columns.iter().map(|(name, _)| if same { col(*name) } else { cast(col(*name), DataType::Utf8View) }).collect();
    let kind = if same { kind } else { Kind::Text };
    match (kind, native) {
        (Kind::Text, Some(name)) => values.push(cast(functions::field_value(&name), DataType::Utf8View)),
        (Kind::Integer, Some(name)) => values.push(try_cast(functions::field_value(&name), DataType::Int64)),
        _ => {}
    }
    let value = if values.len() == 1 { values.remove(0) } else { coalesce(values) };
    (value, kind)
}

fn condition(search: &Search, scope: &Scope<'_>) -> Result<Expr, Error> {
    Ok(match search {
        Search::All => lit(true),
        Search::And(parts) => conjunction(conditions(parts, scope)?).unwrap_or_else(|| lit(true)),
        Search::Or(parts) => disjunction(conditions(parts, scope)?).unwrap_or_else(|| lit(true)),
        // An event without the field is not one whose field has the value.
        Search::Not(inner) => Expr::IsNotTrue(Box::new(condition(inner, scope)?)),
        Search::Text(pattern) => match scope {
            Scope::Events(_) | Scope::Counts(_) => text(pattern)?,
            Scope::Columns(_) => {
                return Err(Error::query(pattern.offset, "words are searched in events only: write column:value"));
            }
        },
        Search::Field(field, test) => match scope {
            Scope::Columns(_) => column_test(scope, field, test)?,
            Scope::Events(fields) | Scope::Counts(fields) => field_condition(fields, field, test)?,
        },
    })
}

fn conditions(parts: &[Search], scope: &Scope<'_>) -> Result<Vec<Expr>, Error> {
    parts.iter().map(|part| condition(part, scope)).collect()
}

/// A test on a column of a table that commands made; its type shows only at run time, so numbers are tried first.
fn column_test(scope: &Scope<'_>, field: &Named, test: &Test) -> Result<Expr, Error> {
    let (column, _) = scope.value(field)?;
    Ok(match test {
        Test::Exists => column.is_not_null(),
        _ => functions::text_test(cast(column, DataType::Utf8View), &said(field, test), matcher(test)?),
    })
}

fn field_condition(fields: &Fields<'_>, field: &Named, test: &Test) -> Result<Expr, Error> {
    let said = said(field, test);
    Ok(match fields.resolve(field) {
        Place::Observable => observable(test, &said)?,
        Place::Native(name) => functions::field_test(&name, &said, matcher(test)?),
        Place::ClassName => class_condition(field, test, fields)?,
        Place::SeverityName => severity_condition(field, test, fields)?,
        Place::Text => match test {
            Test::Is { value, .. } => text(value)?,
            Test::Regex(pattern) => text_pattern(field.offset, pattern)?,
            _ => return Err(Error::query(field.offset, "the raw text can be searched for a word, a phrase or a /pattern/")),
        },
        Place::Columns { columns, native } => {
            let mut any = Vec::new();
            for (name, kind) in &columns {
                any.push(typed(fields, name, *kind, field, test, &said)?);
            }
            if let Some(name) = native {
                // The source's own name counts where no mapping filled a column: a search may not miss what a mapping did.
                let unfilled = conjunction(columns.iter().map(|(column, _)| col(*column).is_null())).unwrap_or_else(|| lit(true));
                any.push(unfilled.and(functions::field_test(&name, &said, matcher(test)?)));
            }
            disjunction(any).unwrap_or_else(|| lit(false))
        }
    })
}

/// Some value that the schema calls an observable passes: in a column, or in the list of those that have none.
fn observable(test: &Test, said: &str) -> Result<Expr, Error> {
    let mut any = vec![functions::observable_test(said, matcher(test)?)];
    for column in promoted().filter(|column| OBSERVED.contains_key(column.path)) {
        any.extend(match (column.kind, test) {
            (_, Test::Exists) => Some(col(column.name).is_not_null()),
            (Kind::Text, _) => Some(text_column(column.name, test, said)?),
            (_, Test::Is { value, .. }) if value.literal().is_some() => {
                value.literal().and_then(integer).map(|number| col(column.name).eq(lit(number)))
            }
            _ => Some(functions::text_test(cast(col(column.name), DataType::Utf8View), said, matcher(test)?)),
        });
    }
    Ok(disjunction(any).unwrap_or_else(|| lit(false)))
}

fn typed(fields: &Fields<'_>, name: &'static str, kind: Kind, field: &Named, test: &Test, said: &str) -> Result<Expr, Error> {
    if *test == Test::Exists {
        return Ok(col(name).is_not_null());
    }
    match kind {
        Kind::Text => text_column(name, test, said),
        Kind::Integer => integer_column(fields, name, field, test, said),
        Kind::Timestamp => time_column(name, field, test),
        Kind::Boolean => match test {
            Test::Is { value, .. } if value.literal().is_some_and(|text| text.eq_ignore_ascii_case("true")) => {
                Ok(col(name).eq(lit(true)))
            }
            Test::Is { value, .. } if value.literal().is_some_and(|text| text.eq_ignore_ascii_case("false")) => {
                Ok(col(name).eq(lit(false)))
            }
            _ => Err(Error::query(field.offset, format!("`{}` is true or false", field.name))),
        },
    }
}

fn text_column(name: &'static str, test: &Test, said: &str) -> Result<Expr, Error> {
    if let Test::Is { value, exact } = test
        && let Some(text) = value.literal()
        && network(text).is_none()
    {
        // Equality is what statistics and bloom filters can answer, so it is used wherever letter case cannot matter.
        if *exact || !text.chars().any(char::is_alphabetic) {
            return Ok(col(name).eq(lit(text)));
        }
        if text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(col(name).in_list(vec![lit(text.to_ascii_lowercase()), lit(text.to_ascii_uppercase()), lit(text)], false));
        }
    }
    Ok(functions::text_test(col(name), said, matcher(test)?))
}

fn integer_column(fields: &Fields<'_>, name: &'static str, field: &Named, test: &Test, said: &str) -> Result<Expr, Error> {
    let number = |text: &str| {
        integer(text).ok_or_else(|| Error::query(field.offset, format!("`{}` is a number, `{text}` is none", field.name)))
    };
    let column = col(name);
    Ok(match test {
        Test::Is { value, .. } => match value.literal() {
            Some(text) => match integer(text) {
                Some(number) => column.eq(lit(number)),
                None => {
                    fields.note(format!("`{}` is a number; `{text}` is none and matches nothing there", field.name));
                    lit(false)
                }
            },
            None => functions::text_test(cast(column, DataType::Utf8View), said, matcher(test)?),
        },
        Test::Compare(operator, text) => compare(column, *operator, lit(number(text)?)),
        Test::Range(low, high) => {
            let mut parts = Vec::new();
            if let Some((text, inside)) = low {
                parts.push(compare(
                    column.clone(),
                    if *inside { Operator::GreaterEqual } else { Operator::Greater },
                    lit(number(text)?),
                ));
            }
            if let Some((text, inside)) = high {
                parts.push(compare(
                    column.clone(),
                    if *inside { Operator::LessEqual } else { Operator::Less },
                    lit(number(text)?),
                ));
            }
            conjunction(parts).unwrap_or_else(|| column.is_not_null())
        }
        Test::Regex(_) => functions::text_test(cast(column, DataType::Utf8View), said, matcher(test)?),
        Test::Exists => column.is_not_null(),
    })
}

fn integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok();
    }
    // A record's id is written SEGMENT-INDEX.
    text.parse().ok().or_else(|| text.parse::<RecordId>().ok().map(rows::packed))
}

fn compare(left: Expr, operator: Operator, right: Expr) -> Expr {
    match operator {
        Operator::Less => left.lt(right),
        Operator::LessEqual => left.lt_eq(right),
        Operator::Greater => left.gt(right),
        Operator::GreaterEqual => left.gt_eq(right),
    }
}

fn time_column(name: &'static str, field: &Named, test: &Test) -> Result<Expr, Error> {
    let span = |text: &str| {
        time_span(text).ok_or_else(|| {
            Error::query(
                field.offset,
                format!("`{text}` is not a time: write 2026-11-21, 2026-11-21T10:00 or 2026-11-21T10:00:00Z"),
            )
        })
    };
    let column = || col(name);
    Ok(match test {
        Test::Is { value, .. } => {
            let text = value.literal().ok_or_else(|| Error::query(field.offset, "a time takes no wildcards"))?;
            let (start, end) = span(text)?;
            column().gt_eq(time(start)).and(column().lt(time(end)))
        }
        Test::Compare(operator, text) => {
            let (start, end) = span(text)?;
            match operator {
                Operator::Less => column().lt(time(start)),
                Operator::LessEqual => column().lt(time(end)),
                Operator::Greater => column().gt_eq(time(end)),
                Operator::GreaterEqual => column().gt_eq(time(start)),
            }
        }
        Test::Range(low, high) => {
            let mut parts = Vec::new();
            if let Some((text, inside)) = low {
                let (start, end) = span(text)?;
                parts.push(column().gt_eq(time(if *inside { start } else { end })));
            }
            if let Some((text, inside)) = high {
                let (start, end) = span(text)?;
                parts.push(column().lt(time(if *inside { end } else { start })));
            }
            conjunction(parts).unwrap_or_else(|| column().is_not_null())
        }
        Test::Regex(_) => return Err(Error::query(field.offset, "a time is compared, not matched with a pattern")),
        Test::Exists => column().is_not_null(),
    })
}

/// A literal of the table's time type, from microseconds since 1970.
pub(crate) fn time(us: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())))
}

/// The microseconds that a written time covers: a day, a minute, a second or one microsecond. End exclusive.
fn time_span(text: &str) -> Option<(i64, i64)> {
    const DAY: i64 = 86_400_000_000;
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some((at.as_microsecond(), at.as_microsecond() + 1));
    }
    if !text.contains(['T', ' ', ':']) {
        let date = text.parse::<jiff::civil::Date>().ok()?;
        let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
        return Some((start, start + DAY));
    }
    let at = text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
    let width = match text.matches(':').count() {
        0 => 3_600_000_000,
        1 => 60_000_000,
        _ if text.contains('.') => 1,
        _ => 1_000_000,
    };
    Some((at, at + width))
}

fn class_condition(field: &Named, test: &Test, fields: &Fields<'_>) -> Result<Expr, Error> {
    let matcher = matcher(test)?;
    let numbered = matches!(test, Test::Is { value, .. } if value.literal().is_some_and(|text| integer(text).is_some()));
    if numbered {
        return integer_column(fields, "class_uid", field, test, "");
    }
    let found: Vec<Expr> = reeve_ocsf::classes()
        .iter()
        .filter(|class| matcher.matches(class.caption) || matcher.matches(class.key))
        .filter_map(|class| i32::try_from(class.uid).ok().map(lit))
        .collect();
    if found.is_empty() {
        fields.note(format!("no OCSF class is called so; `{}` matches nothing", said(field, test)));
        return Ok(lit(false));
    }
    Ok(col("class_uid").in_list(found, false))
}

const SEVERITIES: &[(i32, &str)] = &[
    (0, "unknown"),
    (1, "informational"),
    (1, "info"),
    (2, "low"),
    (3, "medium"),
    (4, "high"),
    (5, "critical"),
    (6, "fatal"),
    (99, "other"),
];

fn severity_condition(field: &Named, test: &Test, fields: &Fields<'_>) -> Result<Expr, Error> {
    let id = |text: &str| SEVERITIES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(id, _)| id.to_string());
    let worded = |text: &String| id(text).unwrap_or_else(|| text.clone());
    let numbered = match test {
        Test::Is { value, exact } => {
            let matcher = matcher(test)?;
            match value.literal().and_then(id) {
                Some(number) => {
                    Test::Is { value: Pattern { pieces: vec![Piece::Literal(number)], offset: value.offset }, exact: *exact }
                }
                None if value.literal().is_some() => test.clone(),
                None => {
                    let found = SEVERITIES.iter().filter(|(_, name)| matcher.matches(name)).map(|(id, _)| lit(*id)).collect();
                    return Ok(col("severity_id").in_list(found, false));
                }
            }
        }
        Test::Compare(operator, text) => Test::Compare(*operator, worded(text)),
        Test::Range(low, high) => {
            let end = |end: &Option<(String, bool)>| end.as_ref().map(|(text, inside)| (worded(text), *inside));
            Test::Range(end(low), end(high))
        }
        other => other.clone(),
    };
    integer_column(fields, "severity_id", field, &numbered, &said(field, test))
}

fn text(pattern: &Pattern) -> Result<Expr, Error> {
    let (compiled, literals) = match pattern.literal() {
        Some(text) => (functions::needle(text)?, vec![Grams::of(&functions::spellings(text))]),
        None => {
            // Within a word: `pass*d` shall not join two ends of a line.
            let source: String = pattern
                .pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Literal(text) => regex::escape(text),
                    Piece::Any => r"\S*?".to_owned(),
                    Piece::One => r"\S".to_owned(),
                })
                .collect();
            let literals = pattern.pieces.iter().filter_map(|piece| {
                if let Piece::Literal(text) = piece { Some(Grams::of(std::slice::from_ref(text))) } else { None }
            });
            (functions::pattern_of(&source)?, literals.collect())
        }
    };
    let spanning = pattern.pieces.iter().any(|piece| matches!(piece, Piece::Literal(text) if text.contains('\n')));
    Ok(functions::event_test(TextTest { said: format!("{:?}", pattern.pieces), pattern: compiled, literals, spanning }))
}

/// A pattern somewhere in the text.
fn text_pattern(offset: usize, pattern: &str) -> Result<Expr, Error> {
    let said = format!("/{pattern}/");
    let test = TextTest { said, pattern: compile(offset, pattern)?, literals: Vec::new(), spanning: true };
    Ok(functions::event_test(test))
}

fn compile(offset: usize, pattern: &str) -> Result<Regex, Error> {
    functions::pattern_of(pattern).map_err(|error| Error::query(offset, error.strip_backtrace()))
}

fn matcher(test: &Test) -> Result<Matcher, Error> {
    Ok(match test {
        Test::Exists => Matcher::Exists,
        Test::Regex(pattern) => Matcher::Pattern(compile(0, pattern)?),
        Test::Compare(operator, value) => {
            let limit = |inclusive| Some(Limit { value: value.clone(), inclusive });
            match operator {
                Operator::Less => Matcher::Between(None, limit(false)),
                Operator::LessEqual => Matcher::Between(None, limit(true)),
                Operator::Greater => Matcher::Between(limit(false), None),
                Operator::GreaterEqual => Matcher::Between(limit(true), None),
            }
        }
        Test::Range(low, high) => {
            let limit = |end: &Option<(String, bool)>| end.clone().map(|(value, inclusive)| Limit { value, inclusive });
            Matcher::Between(limit(low), limit(high))
        }
        Test::Is { value, exact } => match value.literal() {
            Some(text) => match network(text) {
                Some(network) => Matcher::Network(network),
                None if *exact => Matcher::Exact(text.to_owned()),
                None => Matcher::Folded(text.to_owned()),
            },
            None => Matcher::Pattern(wildcard(value, *exact)?),
        },
    })
}

fn network(text: &str) -> Option<IpNet> {
    if text.contains('/') { text.parse().ok() } else { None }
}

/// The pattern over a whole value. Open ends need no anchor, which lets a literal in the middle be searched fast.
fn wildcard(pattern: &Pattern, exact: bool) -> Result<Regex, Error> {
    let mut pieces = pattern.pieces.as_slice();
    let mut source = String::from(if exact { "(?-i)" } else { "" });
    match pieces {
        [Piece::Any, rest @ ..] => pieces = rest,
        _ => source.push_str(r"\A"),
    }
    let open = matches!(pieces, [.., Piece::Any]);
    if let [rest @ .., Piece::Any] = pieces {
        pieces = rest;
    }
    for piece in pieces {
        match piece {
            Piece::Literal(text) => source.push_str(&regex::escape(text)),
            Piece::Any => source.push_str(".*"),
            Piece::One => source.push('.'),
        }
    }
    if !open {
        source.push_str(r"\z");
    }
    compile(pattern.offset, &source)
}

/// A test in words, unique to it: functions with the same words are the same to the engine.
fn said(field: &Named, test: &Test) -> String {
    let test = match test {
        Test::Is { value, exact } => format!("{}{:?}", if *exact { "=" } else { ":" }, value.pieces),
        other => format!("{other:?}"),
    };
    format!("{} {test}", field.name)
}

fn apply(frame: DataFrame, command: &Command, scope: &Scope<'_>) -> Result<DataFrame, Error> {
    Ok(match command {
        Command::Where(search) => frame.filter(condition(search, scope)?)?,
        Command::Head(count) => frame.limit(0, Some(*count))?,
        Command::Sort(keys) => {
            let keys = keys.iter().map(|key| Ok(scope.value(&key.field)?.0.sort(!key.descending, false)));
            frame.sort(keys.collect::<Result<Vec<_>, Error>>()?)?
        }
        Command::Fields { keep, drop } => fields(frame, keep, drop, scope)?,
        Command::Stats(aggregates, by) => {
            let keys = by.iter().map(|field| named(scope, field)).collect::<Result<Vec<_>, _>>()?;
            let order = sort_by_names(by.iter().map(|field| field.name.as_str()));
            let grouped = grouped(frame, keys, aggregates, scope)?;
            if order.is_empty() { grouped } else { grouped.sort(order)? }
        }
        Command::Timechart { span_us, aggregates, by } => {
            let mut keys = vec![bucket(col("time"), *span_us).alias("time")];
            if matches!(scope, Scope::Columns(columns) if !columns.iter().any(|column| column == "time")) {
                return Err(Error::query(0, "timechart needs the events' time: put it before stats"));
            }
            for field in by {
                keys.push(named(scope, field)?);
            }
            let order = sort_by_names(std::iter::once("time").chain(by.iter().map(|field| field.name.as_str())));
            grouped(frame, keys, aggregates, scope)?.sort(order)?
        }
        Command::Top { field, count, by, rare } => top(frame, field, *count, by, *rare, scope)?,
    })
}

fn named(scope: &Scope<'_>, field: &Named) -> Result<Expr, Error> {
    Ok(scope.value(field)?.0.alias(field.name.as_str()))
}

fn sort_by_names<'n>(names: impl Iterator<Item = &'n str>) -> Vec<SortExpr> {
    names.map(|name| ident(name).sort(true, false)).collect()
}

fn fields(frame: DataFrame, keep: &[Named], drop: &[Named], scope: &Scope<'_>) -> Result<DataFrame, Error> {
    let dropped = |name: &str| drop.iter().any(|field| field.name.eq_ignore_ascii_case(name));
    if keep.is_empty() {
        let mut left = Vec::new();
        for column in frame.schema().fields().iter().map(|field| field.name().clone()) {
            let path = crate::schema::promoted().find(|known| known.name == column).map(|known| known.path);
            // Raw bytes are fetched one by one: only on explicit request.
            if !dropped(&column) && !path.is_some_and(dropped) && column != crate::schema::RAW {
                left.push(Expr::Column(Column::from_name(column)));
            }
        }
        return Ok(frame.select(left)?);
    }
    let kept = keep.iter().filter(|field| !dropped(&field.name)).map(|field| {
        let raw = matches!(scope, Scope::Events(_)) && field.name == crate::schema::RAW;
        if raw { Ok(col(crate::schema::RAW)) } else { named(scope, field) }
    });
    Ok(frame.select(kept.collect::<Result<Vec<_>, _>>()?)?)
}

fn grouped(frame: DataFrame, keys: Vec<Expr>, aggregates: &[Aggregate], scope: &Scope<'_>) -> Result<DataFrame, Error> {
    let count_of_keys = keys.len();
    let mut computed = Vec::new();
    let mut shown = Vec::new();
    for (index, aggregate) in aggregates.iter().enumerate() {
        compute(aggregate, index, scope, &mut computed, &mut shown)?;
    }
    let grouped = frame.aggregate(keys, computed)?;
    let keys = grouped.schema().fields().iter().take(count_of_keys).map(|field| ident(field.name().as_str()));
    let columns: Vec<Expr> = keys.chain(shown).collect();
    Ok(grouped.select(columns)?)
}

/// Adds what the engine computes for an aggregate, and the column made of it.
fn compute(
    aggregate: &Aggregate,
    index: usize,
    scope: &Scope<'_>,
    computed: &mut Vec<Expr>,
    shown: &mut Vec<Expr>,
) -> Result<(), Error> {
    let (plain, numeric) = (format!("#{index}"), format!("#{index} as number"));
    let show = ident(plain.as_str());
    let Some(field) = &aggregate.field else {
        computed.push(scope.count().alias(plain));
        // The sum of nothing is null, the number of nothing is 0.
        let show = if let Scope::Counts(_) = scope { coalesce(vec![show, lit(0_i64)]) } else { show };
        shown.push(show.alias(aggregate.name.as_str()));
        return Ok(());
    };
    let (value, kind) = scope.value(field)?;
    let number = if kind == Kind::Text { functions::number(value.clone()) } else { value.clone() };
    let call = match aggregate.call {
        Call::Count => count(value),
        Call::Sum => sum(number),
        Call::Avg => avg(number),
        Call::Distinct => count_distinct(value),
        Call::Min | Call::Max => {
            let pick = if aggregate.call == Call::Min { min } else { max };
            // Native values are text: where they are numbers they shall be compared as such.
            if kind == Kind::Text {
                computed.push(pick(number).alias(numeric.as_str()));
                computed.push(pick(value).alias(plain));
                let either = coalesce(vec![cast(ident(numeric), DataType::Utf8View), cast(show, DataType::Utf8View)]);
                shown.push(either.alias(aggregate.name.as_str()));
                return Ok(());
            }
            pick(value)
        }
    };
    computed.push(call.alias(plain));
    shown.push(show.alias(aggregate.name.as_str()));
    Ok(())
}

/// The start of the bucket a time lies in; buckets are counted from 1970, before it too.
pub(crate) fn bucket(time: Expr, span_us: i64) -> Expr {
    let us = cast(time, DataType::Int64);
    let over = ((us.clone() % lit(span_us)) + lit(span_us)) % lit(span_us);
    cast(us - over, timestamp())
}

fn top(frame: DataFrame, field: &Named, limit: usize, by: &[Named], rare: bool, scope: &Scope<'_>) -> Result<DataFrame, Error> {
    let mut keys = by.iter().map(|group| named(scope, group)).collect::<Result<Vec<_>, _>>()?;
    keys.push(named(scope, field)?);
    let counted = frame.aggregate(keys, vec![scope.count().alias("count")])?.filter(ident(field.name.as_str()).is_not_null())?;
    // Equal counts in the order of values, so that the same data gives the same list.
    let order = || vec![ident("count").sort(rare, false), ident(field.name.as_str()).sort(true, false)];
    if by.is_empty() {
        return Ok(counted.sort(order())?.limit(0, Some(limit))?);
    }
    let groups: Vec<Expr> = by.iter().map(|group| ident(group.name.as_str())).collect();
    let rank = row_number().partition_by(groups).order_by(order()).build()?.alias("rank");
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut sorted = sort_by_names(by.iter().map(|group| group.name.as_str()));
    sorted.extend(order());
    let names: Vec<Expr> = by.iter().chain([field]).map(|name| ident(name.name.as_str())).chain([ident("count")]).collect();
    Ok(counted.window(vec![rank])?.filter(ident("rank").lt_eq(lit(limit)))?.select(names)?.sort(sorted)?)
}
