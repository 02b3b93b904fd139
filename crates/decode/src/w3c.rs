use std::borrow::Cow;

use reeve_record::{Certainty, EventTime};

use crate::form::Line;
use crate::time::{stamp, whole_stamp};
use crate::{Map, Problem, Value, delimited, family};

/// What the directive lines of a log in W3C's extended format say about the rows below them.
///
/// IIS, CloudFront, the Windows firewall, Exchange and many proxies write it; which of them is told by `#Software` and the columns.
#[derive(Default)]
pub(crate) struct Header {
    software: String,
    /// `#Date`, for rows with a time of day only.
    date: String,
    /// `#Time Format: Local`, as the Windows firewall writes.
    local: bool,
    separator: Separator,
    fields: Vec<String>,
    decoder: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Separator {
    #[default]
    Blank,
    Tab,
    Comma,
}

impl Header {
    /// Takes in a `#` line; false if it is no directive.
    pub(crate) fn directive(header: &mut Option<Self>, line: &str) -> bool {
        let Some((name, value)) = line.strip_prefix('#').and_then(|line| line.split_once(':')) else { return false };
        let value = value.trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("Fields") && !value.is_empty() {
            header.get_or_insert_default().columns(value);
        } else if is("Software") {
            *header = Some(Self { software: value.to_owned(), ..Self::default() });
        } else if is("Version") && value.starts_with(|first: char| first.is_ascii_digit()) {
            // CloudFront and the Windows firewall start their files with this line; after `#Software` it says nothing new.
            if header.as_ref().is_none_or(|header| !header.fields.is_empty()) {
                *header = Some(Self::default());
            }
        } else {
            // Alone these would be anybody's comment.
            let Some(header) = header else { return false };
            if is("Date") {
                header.date = value.split([' ', 'T']).next().unwrap_or_default().to_owned();
            } else if is("Time Format") {
                header.local = value.eq_ignore_ascii_case("local");
            } else {
                return DIRECTIVES.iter().any(|known| is(known));
            }
        }
        true
    }

    fn columns(&mut self, value: &str) {
        let commas = value.contains(',');
        self.fields = value.split([',', ' ', '\t']).filter(|name| !name.is_empty()).take(FIELDS_MAX).map(str::to_owned).collect();
        let has = |name: &str| self.fields.iter().any(|field| field == name);
        (self.decoder, self.separator) = if has("x-edge-location") {
            ("aws.cloudfront", Separator::Tab)
        } else if self.software.contains("Internet Information Services") || has("s-sitename") || has("sc-win32-status") {
            ("web.iis", Separator::Blank)
        } else if self.software.contains("Windows Firewall") {
            ("windows.firewall", Separator::Blank)
        } else if commas {
            ("w3c", Separator::Comma)
        } else if value.contains('\t') {
            ("w3c", Separator::Tab)
        } else {
            ("w3c", Separator::Blank)
        };
    }

    /// A row under this header; `None` if the line is none: it lacks the date that the first column is, or its number of values differs
    /// and there is no such column to know it by.
    pub(crate) fn row<'a>(&self, line: &'a str) -> Option<Line<'a>> {
        if self.fields.is_empty() {
            return None;
        }
        let words = self.words(line)?;
        let mut problems = Vec::new();
        let by_date = self.fields[0] == "date";
        if by_date && stamp(&format!("{}T00:00", words[0])).is_none() || words.len() < 2 {
            return None;
        }
        if words.len() != self.fields.len() {
            if !by_date {
                return None;
            }
            let detail = format!("{} values under {} column names", words.len(), self.fields.len());
            problems.push(Problem { code: "w3c.columns", offset: 0, detail: Cow::Owned(detail) });
        }
        let mut native = Map(Vec::with_capacity(self.fields.len() + 2));
        let mut words = words.into_iter();
        for (name, word) in self.fields.iter().zip(words.by_ref()) {
            if word != "-" && !word.is_empty() {
                native.push(name.clone(), word);
            }
        }
        let rest: Vec<Value<'a>> = words.map(Value::from).collect();
        if !rest.is_empty() {
            native.push("rest", Value::List(rest));
        }
        self.user_agent(&mut native);
        let time = self.time(&native);
        if time.is_none() && TIMES.iter().any(|name| native.get(name).is_some()) {
            let detail = Cow::Borrowed("its time is in no known form or names a moment that does not exist");
            problems.push(Problem { code: "time.unreadable", offset: 0, detail });
        }
        Some(Line { decoder: self.decoder, native, time, problems })
    }

    fn words<'a>(&self, line: &'a str) -> Option<Vec<Cow<'a, str>>> {
        match self.separator {
            Separator::Comma => delimited::cells(line, ','),
            Separator::Tab => Some(line.split('\t').map(Cow::Borrowed).collect()),
            Separator::Blank => Some(delimited::words(line).into_iter().map(Cow::Borrowed).collect()),
        }
    }

    /// The client's name of itself as it sent it: IIS writes `+` for a blank, CloudFront percent signs.
    fn user_agent(&self, native: &mut Map<'_>) {
        let Some(written) = native.get("cs(User-Agent)").and_then(Value::as_str) else { return };
        let sent = match self.decoder {
            "aws.cloudfront" => percent_decoded(written),
            "web.iis" => written.replace('+', " "),
            _ => written.to_owned(),
        };
        native.push("cs-user-agent", sent);
    }

    /// Date and time are UTC by the standard; `local` times are of an unknown zone.
    fn time(&self, native: &Map<'_>) -> Option<EventTime> {
        let text = |name| native.get(name).and_then(Value::as_str);
        let found = match (text("date"), text("time")) {
            (Some(date), Some(time)) => whole_stamp(&format!("{date}T{time}")),
            (None, Some(time)) if !self.date.is_empty() => whole_stamp(&format!("{}T{time}", self.date)),
            _ => TIMES[2..].iter().find_map(|name| family::moment(native.get(name)?)),
        }?;
        let certainty = if self.local { Certainty::ZoneInferred } else { Certainty::Exact };
        Some(EventTime { at: found.at, certainty })
    }
}

/// `%HH` undone; what is no UTF-8 then is replaced. CloudFront encodes the percent sign itself twice, so `%2520` is a blank too.
fn percent_decoded(text: &str) -> String {
    let once = |text: &str| {
        let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
        while let Some((first, tail)) = rest.split_first() {
            let code = tail.get(..2).filter(|_| *first == b'%').and_then(|digits| hex::decode(digits).ok());
            bytes.push(code.as_ref().map_or(*first, |code| code[0]));
            rest = if code.is_some() { &tail[2..] } else { tail };
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    if text.contains("%25") { once(&once(text)) } else { once(text) }
}

const FIELDS_MAX: usize = 1024;
/// Directives that say nothing about the rows.
const DIRECTIVES: [&str; 5] = ["Remark", "Start-Date", "End-Date", "Log-type", "GMT-Offset"];
/// Columns that hold a time.
const TIMES: [&str; 6] = ["date", "time", "date-time", "DateTime", "timestamp", "x-timestamp"];

#[cfg(test)]
mod tests {
    use super::*;

    fn header(lines: &[&str]) -> Header {
        let mut header = None;
        for line in lines {
            assert!(Header::directive(&mut header, line), "{line}");
        }
        header.expect("a header")
    }

    fn check(header: &Header, line: &str, decoder: &str, time: &str, want: &str) {
        let row = header.row(line).unwrap_or_else(|| panic!("no row: {line}"));
        assert_eq!(row.decoder, decoder, "{line}");
        assert_eq!(row.time.map(|time| format!("{} {:?}", time.at, time.certainty)).unwrap_or_default(), time, "{line}");
        assert_eq!(serde_json::to_string(&row.native).expect("fields serialise"), want, "{line}");
    }

    #[test]
    fn iis_firewall_cloudfront_and_exchange() {
        let iis = header(&[
            "#Software: Microsoft Internet Information Services 10.0",
            "#Version: 1.0",
            "#Fields: date time cs(User-Agent) sc-status",
        ]);
        let want = r#"{"date":"2026-11-20","time":"10:00:00","cs(User-Agent)":"a+b","sc-status":"200","cs-user-agent":"a b"}"#;
        check(&iis, "2026-11-20 10:00:00 a+b 200", "web.iis", "2026-11-20T10:00:00Z Exact", want);
        let cut = iis.row("2026-11-20 10:00:00 a+b").expect("a row");
        assert_eq!(cut.problems[0].code, "w3c.columns");
        assert!(iis.row("a line of text").is_none());

        let firewall = header(&[
            "#Version: 1.5",
            "#Software: Microsoft Windows Firewall",
            "#Time Format: Local",
            "#Fields: date time action src-ip",
        ]);
        let want = r#"{"date":"2026-11-20","time":"10:00:00","action":"DROP","src-ip":"192.0.2.1"}"#;
        check(&firewall, "2026-11-20 10:00:00 DROP 192.0.2.1", "windows.firewall", "2026-11-20T10:00:00Z ZoneInferred", want);

        let cdn = header(&["#Version: 1.0", "#Fields: date time x-edge-location cs(User-Agent)"]);
        let want = r#"{"date":"2026-11-20","time":"10:00:00","x-edge-location":"FRA2","cs(User-Agent)":"a%2520b","cs-user-agent":"a b"}"#;
        check(&cdn, "2026-11-20\t10:00:00\tFRA2\ta%2520b", "aws.cloudfront", "2026-11-20T10:00:00Z Exact", want);

        let mail = header(&["#Software: Microsoft Exchange Server", "#Fields: date-time,client-ip,subject"]);
        let want = r#"{"date-time":"2026-11-20T10:00:00.5Z","client-ip":"192.0.2.1","subject":"a, b"}"#;
        check(&mail, r#"2026-11-20T10:00:00.5Z,192.0.2.1,"a, b""#, "w3c", "2026-11-20T10:00:00.5Z Exact", want);
    }

    #[test]
    fn other_comments_are_no_directives() {
        for line in ["# a comment", "#!/bin/sh", "#Fields:", "#hello: world", "#Date: today", "#Version: new"] {
            assert!(!Header::directive(&mut None, line), "{line}");
        }
    }
}
