//! Lines that applications write in a form of their own: PostgreSQL, Java loggers, virus scanners, WinCC, Windows' program
//! compatibility log, bodyfiles.
//!
//! Most forms are a line of [`FORMS`]; what is separated by one sign is a list of columns in [`TABLES`]. Times follow the notation of their
//! program; without a zone they are taken as UTC and marked.

use std::{net::IpAddr, sync::OnceLock};

use reeve_record::EventTime;

use crate::form::Line;
use crate::time::{epoch, stamp, whole_stamp};
use crate::{Map, Value};

/// A line in a form known here.
pub(crate) fn read(text: &str) -> Option<Line<'_>> {
    // Every form starts with a time, and most lines that start with one are of none of them: it is read once.
    let start = match text.as_bytes().first()? {
        b'0'..=b'9' => stamp(text).map(|found| found.len),
        b'A'..=b'Z' | b'%' => None,
        _ => return None,
    };
    let found = start.and_then(|start| forms().iter().find_map(|form| form.read(text, start)));
    found.or_else(|| TABLES.iter().find_map(|table| table.read(text)))
}

/// Decoder and pattern. A name in braces is a field, with its [`Kind`] after the colon; without one it ends where the next literal starts.
/// A blank stands for any number of blanks.
const FORMS: [(&str, &str); 6] = [
    (POSTGRESQL, "{timestamp:time} [{pid:pid}] {severity:level}: {message:rest}"),
    (POSTGRESQL, "{timestamp:time} [{pid:pid}] {user}@{database:word} {severity:level}: {message:rest}"),
    (POSTGRESQL, "{timestamp:time} {zone:upper} [{pid:pid}] {user}@{database:word} {severity:level}: {message:rest}"),
    (
        JAVA,
        "{timestamp:time} {level:level} [{thread}] {user:word} {request_id:word} {session_id:word} {client:ip} \"{action}\" {logger:dotted} {message:rest}",
    ),
    (JAVA, "{timestamp:time} {level:level} [{thread}] {logger:dotted} {message:rest}"),
    (JAVA, "{timestamp:comma} {level:level} {message:rest}"),
];

pub(crate) const POSTGRESQL: &str = "app.postgresql";
pub(crate) const JAVA: &str = "app.java";
pub(crate) const BODYFILE: &str = "bodyfile";
pub(crate) const TREND_MICRO: &str = "app.trendmicro";
pub(crate) const MCAFEE: &str = "app.mcafee";
pub(crate) const WINCC: &str = "app.wincc";
pub(crate) const PCA: &str = "windows.pca";

/// What a field may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Up to the next literal, at least one sign.
    Until,
    /// Without blanks.
    Word,
    Rest,
    /// A process id, with PostgreSQL's line number in the session after a hyphen.
    Pid,
    Upper,
    Level,
    /// A class name with its packages.
    Dotted,
    Ip,
    /// `2024-05-01 10:00:00.5`, and with Python's comma before the fraction.
    Time,
    Comma,
}

enum Part {
    Literal(&'static str),
    Field(&'static str, Kind),
}

struct Form {
    decoder: &'static str,
    parts: Vec<Part>,
}

fn forms() -> &'static [Form] {
    static PARSED: OnceLock<Vec<Form>> = OnceLock::new();
    PARSED.get_or_init(|| FORMS.iter().map(|(decoder, pattern)| Form { decoder, parts: parts(pattern) }).collect())
}

fn parts(pattern: &'static str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some((literal, after)) = rest.split_once('{') {
        let (field, after) = after.split_once('}').unwrap_or((after, ""));
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        let (name, kind) = field.split_once(':').unwrap_or((field, ""));
        parts.push(Part::Field(name, kind_of(kind)));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest));
    }
    parts
}

fn kind_of(name: &str) -> Kind {
    match name {
        "word" => Kind::Word,
        "rest" => Kind::Rest,
        "pid" => Kind::Pid,
        "upper" => Kind::Upper,
        "level" => Kind::Level,
        "dotted" => Kind::Dotted,
        "ip" => Kind::Ip,
        "time" => Kind::Time,
        "comma" => Kind::Comma,
        _ => Kind::Until,
    }
}

impl Form {
    /// `start` is the length of the time that `text` starts with.
    fn read<'a>(&self, text: &'a str, start: usize) -> Option<Line<'a>> {
        let mut native = Map(Vec::with_capacity(self.parts.len()));
        let (mut rest, mut time) = (text, None);
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => rest = after(rest, literal)?,
                Part::Field(name, kind) => {
                    let end = match self.parts.get(at + 1) {
                        Some(Part::Literal(literal)) => literal,
                        _ => "",
                    };
                    let len = match kind {
                        Kind::Time | Kind::Comma if at == 0 => is(*kind, &text[..start]).then_some(start)?,
                        _ => length(*kind, rest, end)?,
                    };
                    let (value, after) = rest.split_at_checked(len)?;
                    if matches!(kind, Kind::Time | Kind::Comma) {
                        time = time.or_else(|| whole_stamp(value));
                    }
                    // `-` is nothing.
                    if value.trim() != "-" {
                        native.push(*name, value.trim());
                    }
                    rest = after;
                }
            }
        }
        rest.trim_ascii().is_empty().then_some(Line { decoder: self.decoder, native, time, problems: Vec::new() })
    }
}

/// What follows `literal`, in which a blank stands for several.
fn after<'a>(mut text: &'a str, literal: &str) -> Option<&'a str> {
    for sign in literal.chars() {
        text = text.strip_prefix(sign)?;
        if sign == ' ' {
            text = text.trim_start_matches(' ');
        }
    }
    Some(text)
}

/// How many bytes at the start of `text` are a `kind`; `end` is the literal after it.
fn length(kind: Kind, text: &str, end: &str) -> Option<usize> {
    let word = || text.find([' ', '\t', '\n']).unwrap_or(text.len());
    let run = |of: fn(&u8) -> bool| text.bytes().take_while(of).count();
    let len = match kind {
        Kind::Until => text.find(end)?,
        Kind::Word | Kind::Dotted | Kind::Ip => word(),
        Kind::Rest => return Some(text.len()),
        Kind::Pid => run(|byte| byte.is_ascii_digit() || *byte == b'-'),
        Kind::Upper => run(u8::is_ascii_uppercase),
        Kind::Level => run(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()),
        Kind::Time | Kind::Comma => stamp(text)?.len,
    };
    let value = text.get(..len).filter(|value| !value.is_empty())?;
    is(kind, value).then_some(len)
}

fn is(kind: Kind, value: &str) -> bool {
    match kind {
        Kind::Level => LEVELS.contains(&value.trim_end_matches(|digit: char| digit.is_ascii_digit())),
        Kind::Dotted => value.contains('.') && !value.starts_with('.') && !value.ends_with(['.', ':']),
        Kind::Ip => value.parse::<IpAddr>().is_ok(),
        Kind::Comma => value.contains(','),
        _ => true,
    }
}

/// `20-02-2024 13:10:33`, or with points.
fn day_month_year(value: &str) -> Option<EventTime> {
    let (date, clock) = value.split_once(' ')?;
    let mut parts = date.splitn(3, ['-', '.']);
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    whole_stamp(&format!("{year}-{month}-{day}T{clock}"))
}

/// Levels that programs write in capitals, without a number after them.
const LEVELS: [&str; 21] = [
    "TRACE",
    "DEBUG",
    "INFO",
    "NOTICE",
    "WARN",
    "WARNING",
    "ERROR",
    "FATAL",
    "CRITICAL",
    "SEVERE",
    "FINE",
    "FINER",
    "FINEST",
    "LOG",
    "PANIC",
    "DETAIL",
    "HINT",
    "STATEMENT",
    "CONTEXT",
    "QUERY",
    "LOCATION",
];

/// Columns between one separator.
struct Table {
    decoder: &'static str,
    separator: &'static str,
    /// Empty names are left out.
    columns: &'static [&'static str],
    /// Whether a line with this many columns is one of this table.
    is: fn(&[&str]) -> bool,
    time: fn(&[&str]) -> Option<EventTime>,
}

static TABLES: [Table; 6] = [
    Table {
        decoder: BODYFILE,
        separator: "|",
        columns: &["md5", "name", "inode", "mode", "uid", "gid", "size", "atime", "mtime", "ctime", "crtime"],
        is: |cells| {
            cells[3].contains("rwx") || cells[3].contains('/') && cells[6..11].iter().all(|cell| cell.parse::<f64>().is_ok())
        },
        time: |cells| epoch(cells[8]).map(EventTime::exact),
    },
    Table {
        decoder: PCA,
        separator: "|",
        columns: &["time", "run_status", "executable", "description", "vendor", "version", "program_id", "exit_code"],
        is: |cells| whole_stamp(cells[0]).is_some() && cells[1].parse::<u8>().is_ok(),
        time: |cells| whole_stamp(cells[0]),
    },
    Table {
        decoder: PCA,
        separator: "|",
        columns: &["executable", "time"],
        is: |cells| cells[0].contains('\\') && whole_stamp(cells[1]).is_some(),
        time: |cells| whole_stamp(cells[1]),
    },
    Table {
        decoder: TREND_MICRO,
        separator: "<;>",
        columns: &[
            "date",
            "clock",
            "block_mode",
            "url",
            "group_code",
            "group_name",
            "credibility_rating",
            "policy_id",
            "application",
            "credibility_score",
            "ip",
            "threshold",
            "time",
            "",
        ],
        is: |cells| cells[12].parse::<i64>().is_ok(),
        time: |cells| epoch(cells[12]).map(EventTime::exact),
    },
    Table {
        decoder: MCAFEE,
        separator: "\t",
        columns: &["date", "time", "status", "user", "file", "trigger", "rule", "action"],
        is: |cells| american(cells[0], cells[1]).is_some(),
        time: |cells| american(cells[0], cells[1]),
    },
    Table {
        decoder: WINCC,
        separator: ",",
        columns: &["log_id", "date", "time", "event_number", "", "", "host", "device", "message"],
        is: |cells| cells[3].parse::<u64>().is_ok() && points(cells[1], cells[2]).is_some(),
        time: |cells| points(cells[1], cells[2]),
    },
];

impl Table {
    fn read<'a>(&self, text: &'a str) -> Option<Line<'a>> {
        // Only a last column of prose may hold the separator itself.
        let cells: Vec<&str> = text.splitn(self.columns.len(), self.separator).collect();
        let prose = self.columns.last() == Some(&"message");
        let exact =
            cells.len() == self.columns.len() && (prose || !cells.last().is_some_and(|cell| cell.contains(self.separator)));
        if !exact || !(self.is)(&cells) {
            return None;
        }
        let mut native = Map(Vec::with_capacity(cells.len()));
        for (name, cell) in self.columns.iter().zip(&cells).filter(|(name, cell)| !name.is_empty() && !cell.trim().is_empty()) {
            native.push(*name, Value::from(cell.trim()));
        }
        Some(Line { decoder: self.decoder, native, time: (self.time)(&cells), problems: Vec::new() })
    }
}

/// `9/27/2013` and `2:42:26 PM`.
fn american(date: &str, clock: &str) -> Option<EventTime> {
    let mut parts = date.trim().splitn(3, '/').map(|part| part.parse::<u32>().ok());
    let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, half) = clock.trim().split_once(' ')?;
    let (hour, rest) = clock.split_once(':')?;
    let hour = hour.parse::<u32>().ok().filter(|hour| *hour <= 12)? % 12 + if half == "PM" { 12 } else { 0 };
    whole_stamp(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{rest}"))
}

/// `27.05.2019` and `10:09:04:540`, as WinCC writes them.
fn points(date: &str, clock: &str) -> Option<EventTime> {
    let (clock, thousandths) = clock.rsplit_once(':')?;
    day_month_year(&format!("{date} {clock}.{thousandths}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, want: Option<(&str, &str, &str)>) {
        let found = read(line).map(|line| {
            let native = serde_json::to_string(&line.native).expect("fields serialise");
            (line.decoder, line.time.map(|time| time.at.to_string()).unwrap_or_default(), native)
        });
        assert_eq!(found, want.map(|(decoder, time, native)| (decoder, time.to_owned(), native.to_owned())), "{line}");
    }

    #[test]
    fn a_line_of_each_form() {
        check(
            "2026-01-02 03:04:05.678 UTC [77] ann@shop FATAL:  no password given",
            Some((
                POSTGRESQL,
                "2026-01-02T03:04:05.678Z",
                r#"{"timestamp":"2026-01-02 03:04:05.678 UTC","pid":"77","user":"ann","database":"shop","severity":"FATAL","message":"no password given"}"#,
            )),
        );
        check(
            "2026-01-02 03:04:05,678 WARN  [main-1] c.example.Store it is\n\tat c.example",
            Some((
                JAVA,
                "2026-01-02T03:04:05.678Z",
                r#"{"timestamp":"2026-01-02 03:04:05,678","level":"WARN","thread":"main-1","logger":"c.example.Store","message":"it is\n\tat c.example"}"#,
            )),
        );
    }

    #[test]
    fn rows_of_each_table() {
        check(
            "0|/a|11|d/drwx------|0|5|12288|1337961350|1337961351|1337961352|0",
            Some((
                BODYFILE,
                "2012-05-25T15:55:51Z",
                r#"{"md5":"0","name":"/a","inode":"11","mode":"d/drwx------","uid":"0","gid":"5","size":"12288","atime":"1337961350","mtime":"1337961351","ctime":"1337961352","crtime":"0"}"#,
            )),
        );
        check(
            r"C:\a.exe|2022-11-15 00:02:08.476",
            Some((PCA, "2022-11-15T00:02:08.476Z", r#"{"executable":"C:\\a.exe","time":"2022-11-15 00:02:08.476"}"#)),
        );
        check(
            "9/27/2013\t12:42:26 PM\tBlocked \tD\\u\ta.exe\tb.exe\tr\tx",
            Some((
                MCAFEE,
                "2013-09-27T12:42:26Z",
                r#"{"date":"9/27/2013","time":"12:42:26 PM","status":"Blocked","user":"D\\u","file":"a.exe","trigger":"b.exe","rule":"r","action":"x"}"#,
            )),
        );
        check(
            "23,27.05.2019,10:09:04:540,1012301,4,,HOST,Server,[a,b] c,d",
            Some((
                WINCC,
                "2019-05-27T10:09:04.54Z",
                r#"{"log_id":"23","date":"27.05.2019","time":"10:09:04:540","event_number":"1012301","host":"HOST","device":"Server","message":"[a,b] c,d"}"#,
            )),
        );
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "2026-01-02T03:04:05Z host prog[1]: message",
            "2026-01-02 03:04:05 host prog: LOG: message",
            "Info: a line",
            "1|2|3",
            "[Mon Oct 11 14:32:52 2000] [error] [client 192.0.2.1] no",
            "",
        ] {
            check(line, None);
        }
    }
}
