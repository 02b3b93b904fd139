use std::borrow::Cow;

use jiff::Timestamp;
use reeve_record::EventTime;

use crate::decoder::Record;
use crate::{Map, Parsed, Problem, rowtime};

/// The cells of a row of RFC 4180, with doubled quotes undone; `None` if a quote stays open or a cell goes on after its closing quote.
///
/// By hand: readers of whole files mend such rows silently, and cells without quotes borrow from the record here.
pub(crate) fn cells(line: &str, separator: char) -> Option<Vec<Cow<'_, str>>> {
    let mut found = Vec::with_capacity(16);
    let mut rest = line;
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(inside) => quoted(inside)?,
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        found.push(cell);
        match after.strip_prefix(separator) {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(found),
        }
    }
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find('"')?;
        if text.as_bytes().get(at + 1) != Some(&b'"') {
            let inner = &text[..at];
            let inner = if from > 0 { Cow::Owned(inner.replace("\"\"", "\"")) } else { Cow::Borrowed(inner) };
            return Some((inner, &text[at + 1..]));
        }
        from = at + 2;
    }
}

/// Words parted by blanks; `"…"` keeps its blanks and loses its quotes if it is closed before the end or a blank.
pub(crate) fn words(line: &str) -> Vec<&str> {
    let mut found = Vec::with_capacity(32);
    let mut rest = line.trim_ascii();
    // Once no quote closes, none further on does: it is not looked for again.
    let mut closes = true;
    while !rest.is_empty() {
        let inside = rest.strip_prefix('"').filter(|_| closes);
        let enclosed = inside.and_then(|inside| match inside.find("\" ") {
            Some(end) => Some((&inside[..end], &inside[end + 2..])),
            None => inside.strip_suffix('"').map(|inside| (inside, "")),
        });
        closes &= inside.is_none() || enclosed.is_some();
        let (word, after) = enclosed.unwrap_or_else(|| rest.split_once(' ').unwrap_or((rest, "")));
        found.push(word);
        rest = after.trim_start_matches(' ');
    }
    found
}

/// Rows of comma, semicolon or tab separated values under a header line that starts their stream.
///
/// The first line is held back until the second says whether it was one: it is, if both have the same number of cells.
#[derive(Default)]
pub(crate) struct Table {
    begun: bool,
    held: Option<Held>,
    columns: Option<Columns>,
    open: Option<Open>,
}

/// A first line that may be a header.
pub(crate) struct Held {
    pub(crate) key: u64,
    pub(crate) number: u64,
    pub(crate) raw: Vec<u8>,
    pub(crate) received: Timestamp,
    pub(crate) problems: Vec<Problem>,
    pub(crate) text: String,
    columns: Columns,
}

struct Columns {
    names: Vec<String>,
    separator: char,
}

/// A row with a line break in a quoted cell, in the making.
struct Open {
    keys: Vec<u64>,
    number: u64,
    raw: Vec<u8>,
    text: String,
    received: Timestamp,
    problems: Vec<Problem>,
}

/// What [`Table::take`] made of a line.
pub(crate) enum Taken<'a> {
    /// It is kept, or was a row.
    Here,
    /// It is none of the table's, and neither was the line held before it.
    Not(Record<'a>, Option<Held>),
    /// A row that shows that the line with this key was the header.
    Row(u64),
}

impl Table {
    /// Takes a line of text if it is a row, or may be the header.
    pub(crate) fn take<'a>(&mut self, record: Record<'a>, line: &str, emit: &mut dyn FnMut(Parsed<'_>)) -> Taken<'a> {
        if self.open.is_some() {
            self.go_on(record, line, emit);
            return Taken::Here;
        }
        if let Some(held) = self.held.take() {
            if !held.columns.fits(line) {
                return Taken::Not(record, Some(held));
            }
            self.columns = Some(held.columns);
            self.row(record, line, emit);
            return Taken::Row(held.key);
        }
        if self.columns.is_some() {
            return self.row_or_not(record, line, emit);
        }
        if std::mem::replace(&mut self.begun, true) {
            return Taken::Not(record, None);
        }
        match Columns::of(line) {
            Some(columns) => {
                let Record { key, number, received, problems, .. } = record;
                let (raw, text) = (record.raw.to_vec(), line.to_owned());
                self.held = Some(Held { key, number, raw, received, problems, text, columns });
                Taken::Here
            }
            None => Taken::Not(record, None),
        }
    }

    /// The line that waits to be known as a header, when nothing follows it.
    pub(crate) fn release(&mut self) -> Option<Held> {
        self.held.take()
    }

    /// Emits a row whose quote never closed.
    pub(crate) fn flush(&mut self, emit: &mut dyn FnMut(Parsed<'_>)) {
        let Some(open) = self.open.take() else { return };
        let mut problems = open.problems;
        let detail = Cow::Borrowed("a quoted cell is never closed; kept as text");
        problems.push(Problem { code: "csv.open_quote", offset: 0, detail });
        let mut native = Map::new();
        native.push("message", open.text.as_str());
        emit(event(open.keys, open.number, &open.raw, "text", native, None, problems));
    }

    fn row_or_not<'a>(&mut self, record: Record<'a>, line: &str, emit: &mut dyn FnMut(Parsed<'_>)) -> Taken<'a> {
        // A header in the middle: the next file of a source that is followed.
        if self.columns.as_ref().is_some_and(|columns| columns.is_header(line)) {
            return Taken::Row(record.key);
        }
        if !self.columns.as_ref().is_some_and(|columns| columns.fits(line)) {
            return Taken::Not(record, None);
        }
        self.row(record, line, emit);
        Taken::Here
    }

    /// A line that fits the columns: a whole row, or the start of one.
    fn row(&mut self, record: Record<'_>, line: &str, emit: &mut dyn FnMut(Parsed<'_>)) {
        if is_open(line) {
            let Record { key, number, received, problems, .. } = record;
            let (raw, text) = (record.raw.to_vec(), line.to_owned());
            self.open = Some(Open { keys: vec![key], number, raw, text, received, problems });
        } else if let Some(columns) = &self.columns {
            columns.emit(vec![record.key], record.number, record.raw, line, record.received, record.problems, emit);
        }
    }

    fn go_on(&mut self, record: Record<'_>, line: &str, emit: &mut dyn FnMut(Parsed<'_>)) {
        let Some(open) = &mut self.open else { return };
        open.keys.push(record.key);
        open.raw.push(b'\n');
        open.raw.extend_from_slice(record.raw);
        open.text.push('\n');
        open.text.push_str(line);
        open.problems.extend(record.problems);
        let closed = is_open(line);
        if !closed && open.keys.len() < LINES_MAX && open.raw.len() < BYTES_MAX {
            return;
        }
        let fits = |columns: &&Columns| closed && columns.fits(&open.text);
        match self.columns.as_ref().filter(fits) {
            Some(columns) => {
                if let Some(open) = self.open.take() {
                    columns.emit(open.keys, open.number, &open.raw, &open.text, open.received, open.problems, emit);
                }
            }
            None => self.flush(emit),
        }
    }
}

impl Columns {
    /// The columns that a first line names, if it can be a header: three names at least, each once, some of them known to name columns.
    fn of(line: &str) -> Option<Self> {
        if line.len() > HEADER_BYTES_MAX {
            return None;
        }
        let (separator, cells) = [',', '\t', ';'].into_iter().find_map(|separator| {
            let cells = cells(line, separator).filter(|cells| (3..=COLUMNS_MAX).contains(&cells.len()))?;
            Some((separator, cells))
        })?;
        let mut names: Vec<String> = cells.iter().map(|cell| cell.trim_ascii().to_owned()).collect();
        // Tables written out of data frames have no name over their row numbers.
        if names[0].is_empty() {
            names[0] = "column_1".to_owned();
        }
        let unique: std::collections::HashSet<&str> = names.iter().map(String::as_str).collect();
        let plausible = unique.len() == names.len() && names.iter().all(|name| is_name(name));
        let known = names.iter().filter(|name| is_known(name)).count();
        let timed = names.iter().any(|name| rowtime::is_time(name));
        // In prose a blank follows the comma.
        let tight = cells.iter().all(|cell| !cell.starts_with(' '));
        (plausible && (timed && tight || known >= 3)).then_some(Self { names, separator })
    }

    /// Whether a line has as many cells as there are columns, or starts a row that may.
    fn fits(&self, line: &str) -> bool {
        is_open(line) && line.contains(self.separator)
            || cells(line, self.separator).is_some_and(|cells| cells.len() == self.names.len())
    }

    fn is_header(&self, line: &str) -> bool {
        line.starts_with(self.names[0].as_str())
            && cells(line, self.separator).is_some_and(|cells| {
                cells.len() == self.names.len() && cells.iter().zip(&self.names).all(|(cell, name)| cell.trim_ascii() == name)
            })
    }

    #[expect(clippy::too_many_arguments, reason = "a row is one record or several joined, and nothing else has all of these")]
    fn emit(
        &self,
        keys: Vec<u64>,
        number: u64,
        raw: &[u8],
        text: &str,
        received: Timestamp,
        mut problems: Vec<Problem>,
        emit: &mut dyn FnMut(Parsed<'_>),
    ) {
        let mut native = Map(Vec::with_capacity(self.names.len()));
        for (name, cell) in self.names.iter().zip(cells(text, self.separator).unwrap_or_default()) {
            if !cell.is_empty() {
                native.push(name.as_str(), cell);
            }
        }
        let time = rowtime::of_row(&native, received, &mut problems);
        emit(event(keys, number, raw, "csv", native, time, problems));
    }
}

fn event<'a>(
    records: Vec<u64>,
    number: u64,
    raw: &'a [u8],
    decoder: &'static str,
    native: Map<'a>,
    time: Option<EventTime>,
    problems: Vec<Problem>,
) -> Parsed<'a> {
    Parsed { records, part: 0, number, raw: Cow::Borrowed(raw), decoder, native, time, head: None, problems }
}

/// Whether a quote stays open at the end of the line, or one opened before it closes: quotes inside cells are doubled.
fn is_open(line: &str) -> bool {
    memchr::memchr_iter(b'"', line.as_bytes()).count() % 2 == 1
}

/// A name as people give columns: a few words of letters and digits that starts with no digit.
fn is_name(name: &str) -> bool {
    let letter = |first: char| first.is_alphabetic() || matches!(first, '_' | '@' | '#');
    let part = |sign: char| sign.is_alphanumeric() || " _-.@()/[]#:".contains(sign);
    name.len() <= 80 && name.starts_with(letter) && name.chars().all(part) && name.split(' ').count() <= 5
}

/// Whether events often have a column of this name, however it is written.
fn is_known(name: &str) -> bool {
    rowtime::is_time(name) || KNOWN.contains(&rowtime::plain(name).as_str())
}

const HEADER_BYTES_MAX: usize = 64 << 10;
const COLUMNS_MAX: usize = 1024;
/// Lines of one row; a row that goes on longer is read as text.
const LINES_MAX: usize = 256;
/// Bytes of one row.
const BYTES_MAX: usize = 1 << 20;

/// Names of columns, in lower case and without signs.
const KNOWN: [&str; 64] = [
    "account",
    "action",
    "agent",
    "alert",
    "application",
    "bytes",
    "category",
    "channel",
    "client",
    "clientip",
    "command",
    "commandline",
    "computer",
    "computername",
    "country",
    "description",
    "destination",
    "destinationip",
    "destinationport",
    "device",
    "domain",
    "dst",
    "dstaddr",
    "dstip",
    "dstport",
    "duration",
    "event",
    "eventid",
    "eventname",
    "eventtype",
    "facility",
    "file",
    "filename",
    "hash",
    "host",
    "hostip",
    "hostname",
    "image",
    "ip",
    "ipaddress",
    "level",
    "logname",
    "message",
    "method",
    "operation",
    "path",
    "pid",
    "port",
    "process",
    "processid",
    "processname",
    "protocol",
    "rule",
    "severity",
    "source",
    "sourceip",
    "sourceport",
    "src",
    "srcip",
    "srcport",
    "status",
    "url",
    "user",
    "username",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_as_rfc_4180_has_them() {
        assert_eq!(cells(r#"a,"b, ""c""",,d"#, ',').expect("cells"), ["a", r#"b, "c""#, "", "d"]);
        assert_eq!(cells("", ',').expect("cells"), [""]);
        assert!(cells(r#"a,"b"#, ',').is_none());
        assert!(cells(r#"a,"b"c,d"#, ',').is_none());
    }

    #[test]
    fn words_with_and_without_quotes() {
        assert_eq!(words(r#"a  "b c" - "d"#), ["a", "b c", "-", "\"d"]);
        assert_eq!(words(r#""" "x y""#), ["", "x y"]);
    }

    #[test]
    fn headers_and_what_only_looks_like_one() {
        for line in [",TimeGenerated,Computer", "timestamp;src_ip;dst_ip", "Date\tTime\tUser Name", "user,host,action"] {
            assert!(Columns::of(line).is_some(), "{line}");
        }
        for line in [
            "Hello, world, again",
            "user,host",
            "2026-11-20,user,host",
            "user,user,host",
            "a plain line of text",
            "red,green,blue",
            "Dear user, the host is down, so take action",
            "time, and time again, he said: host",
        ] {
            assert!(Columns::of(line).is_none(), "{line}");
        }
    }
}
