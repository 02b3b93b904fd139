use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use reeve_detect::{Finding, Level};
use serde_json::json;

use super::{Format, html, summary::Totals};
use crate::output::csv_row;

/// How many findings the HTML report shows one by one; the rest is counted in it.
const REPORT_ROWS_MAX: u64 = 50_000;

/// Writes findings in one format.
pub(crate) struct Render {
    format: Format,
    color: bool,
    width: usize,
}

/// One finding, written.
pub(crate) struct Rendered {
    text: String,
    /// The rule's title, for the summary.
    pub(crate) rule: String,
}

impl Render {
    /// A writer for a format; `color` only where the reader sees colour.
    pub(crate) fn new(format: Format, color: bool) -> Self {
        let width = comfy_table::Table::new().width().map_or(160, usize::from).clamp(80, 400);
        Self { format, color, width }
    }

    /// What comes before the first finding.
    pub(crate) fn head(&self) -> String {
        match self.format {
            Format::Ndjson => String::new(),
            Format::Csv => csv_row(&CSV_COLUMNS.map(str::to_owned)),
            Format::Timesketch => csv_row(&TIMESKETCH_COLUMNS.map(str::to_owned)),
            Format::Table => self.row(&["TIME", "LEVEL", "HOST", "RULE", "WHERE"].map(str::to_owned), Style::new().bold()),
            Format::Html => html::HEAD.to_owned(),
        }
    }

    /// One finding.
    pub(crate) fn one(&self, finding: &Finding) -> Rendered {
        let text = match self.format {
            Format::Ndjson => format!("{}\n", finding.to_ocsf()),
            Format::Csv => csv_row(&csv_cells(finding)),
            Format::Timesketch => csv_row(&timesketch_cells(finding)),
            Format::Table => self.row(&table_cells(finding), style(finding.level)),
            Format::Html => html_row(finding),
        };
        Rendered { text, rule: finding.title.clone() }
    }

    /// Writes a finding; `written` counts them.
    pub(crate) fn write(&self, out: &mut dyn Write, line: &Rendered, written: &mut u64) -> io::Result<()> {
        *written += 1;
        if self.format == Format::Html {
            if *written > REPORT_ROWS_MAX {
                return Ok(());
            }
            if *written > 1 {
                out.write_all(b",\n")?;
            }
        }
        out.write_all(line.text.as_bytes())
    }

    /// What comes after the last finding.
    pub(crate) fn tail(&self, totals: &Totals) -> String {
        if self.format != Format::Html {
            return String::new();
        }
        let found: u64 = totals.by_level.values().sum();
        let facts = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "made_at": jiff::Timestamp::now().to_string(),
            "events": totals.events,
            "problems": totals.problems.values().sum::<u64>(),
            "unreadable": totals.unreadable,
            "findings": found,
            "not_shown": found.saturating_sub(REPORT_ROWS_MAX),
            "seen": totals.seen.iter().map(|(name, (events, rules))| json!([name, events, rules])).collect::<Vec<_>>(),
        });
        html::MIDDLE.to_owned() + &script_safe(&facts.to_string()) + html::TAIL
    }

    /// A row of the table: fixed columns, the last two share what is left of the width.
    fn row(&self, cells: &[String; 5], style: Style) -> String {
        let left = self.width.saturating_sub(20 + 2 + 13 + 2 + 20 + 2 + 2);
        let widths = [20, 13, 20, left * 3 / 5, left - left * 3 / 5];
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
            // What comes from a log must not steer the terminal.
            let clean: String = cell.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
            let shown = if at == 4 { tail_cut(&clean, width) } else { cut(&clean, width) };
            let padded = format!("{shown:width$}");
            if at == 1 && self.color {
                line += &format!("{style}{padded}{style:#}");
            } else {
                line += &padded;
            }
            line += "  ";
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

fn style(level: Level) -> Style {
    match level {
        Level::Critical => Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
        Level::High => Style::new().fg_color(Some(AnsiColor::Red.into())),
        Level::Medium => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        Level::Low => Style::new().fg_color(Some(AnsiColor::Cyan.into())),
        Level::Informational => Style::new(),
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Paths are told apart by their end.
fn tail_cut(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    ['…'].into_iter().chain(text.chars().skip(count - width.saturating_sub(1))).collect()
}

fn place(finding: &Finding) -> (String, String) {
    let piece = finding.evidence.first();
    (piece.map(|piece| piece.source.clone()).unwrap_or_default(), piece.map(|piece| piece.record.to_string()).unwrap_or_default())
}

fn fields_text(finding: &Finding) -> String {
    let fields = finding.evidence.first().map_or(&[][..], |piece| &piece.fields);
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" | ")
}

fn joined(texts: impl Iterator<Item = &'static str>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.join(" ")
}

fn table_cells(finding: &Finding) -> [String; 5] {
    let (source, record) = place(finding);
    let at = format!("{:.0}", finding.at);
    [
        at,
        finding.level.to_string(),
        finding.host().unwrap_or("-").to_owned(),
        finding.title.clone(),
        format!("{source} #{record}"),
    ]
}

const CSV_COLUMNS: [&str; 14] = [
    "time",
    "level",
    "rule",
    "rule_id",
    "host",
    "user",
    "source",
    "record",
    "channel",
    "event_id",
    "tactics",
    "techniques",
    "fields",
    "author",
];

fn csv_cells(finding: &Finding) -> [String; 14] {
    let (source, record) = place(finding);
    let piece = finding.evidence.first();
    let attacks = finding.attacks();
    [
        finding.at.to_string(),
        finding.level.to_string(),
        finding.title.clone(),
        finding.rule_id.clone(),
        finding.host().unwrap_or_default().to_owned(),
        piece.and_then(|piece| piece.user.clone()).unwrap_or_default(),
        source,
        record,
        piece.and_then(|piece| piece.channel.clone()).unwrap_or_default(),
        piece.and_then(|piece| piece.event_id).map(|id| id.to_string()).unwrap_or_default(),
        attacks
            .iter()
            .map(|(_, _, tactic)| *tactic)
            .filter(|tactic| !tactic.is_empty())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join("; "),
        joined(attacks.iter().map(|(uid, _, _)| *uid)),
        fields_text(finding),
        finding.author().to_owned(),
    ]
}

const TIMESKETCH_COLUMNS: [&str; 14] = [
    "message",
    "datetime",
    "timestamp",
    "timestamp_desc",
    "data_type",
    "rule_level",
    "rule_id",
    "hostname",
    "username",
    "source_file",
    "record_number",
    "techniques",
    "matched_fields",
    "rule_author",
];

fn timesketch_cells(finding: &Finding) -> [String; 14] {
    let (source, record) = place(finding);
    let fields = fields_text(finding);
    [
        format!("[{}] {}{}{}", finding.level, finding.title, if fields.is_empty() { "" } else { ": " }, fields),
        format!("{:.6}", finding.at).replace('Z', "+00:00"),
        finding.at.as_microsecond().to_string(),
        "Event Time".to_owned(),
        "reeve:sigma:finding".to_owned(),
        finding.level.to_string(),
        finding.rule_id.clone(),
        finding.host().unwrap_or_default().to_owned(),
        finding.evidence.first().and_then(|piece| piece.user.clone()).unwrap_or_default(),
        source,
        record,
        joined(finding.attacks().iter().map(|(uid, _, _)| *uid)),
        fields,
        finding.author().to_owned(),
    ]
}

fn html_row(finding: &Finding) -> String {
    let (source, record) = place(finding);
    let piece = finding.evidence.first();
    let row = json!({
        "t": finding.at.as_millisecond(),
        "l": finding.level.severity_id(),
        "r": finding.title,
        "i": finding.rule_id,
        "h": finding.host().unwrap_or_default(),
        "u": piece.and_then(|piece| piece.user.clone()).unwrap_or_default(),
        "s": source,
        "n": record,
        "c": finding.author(),
        "e": finding.evidence.len(),
        "a": finding.attacks(),
        "f": piece.map(|piece| &piece.fields),
    });
    script_safe(&row.to_string())
}

/// JSON inside a script element must not end it.
fn script_safe(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_can_neither_end_a_script_nor_steer_the_terminal() {
        assert!(!script_safe("</script><!--").contains('<'));
        let render = Render { format: Format::Table, color: false, width: 120 };
        let row = render.row(&["t", "high", "h\x1b[2J", "rule", "where"].map(str::to_owned), Style::new());
        assert!(!row.contains('\x1b'));
    }
}
