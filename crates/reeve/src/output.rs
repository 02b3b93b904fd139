//! Standard output, the one place data goes to.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::exit::Failure;

/// How rows are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line
    Ndjson,
    /// Aligned columns
    Table,
}

impl Format {
    /// What was asked for, else a table on a terminal and NDJSON into a pipe.
    pub(crate) fn or_default(asked: Option<Format>) -> Format {
        asked.unwrap_or(if std::io::stdout().is_terminal() { Format::Table } else { Format::Ndjson })
    }
}

/// Writes text as it is.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())
}

/// Writes bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes one JSON object and a newline.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value).map_err(|error| Failure::new(crate::exit::UNUSABLE, error))?;
    line.push(b'\n');
    bytes(&line)
}

/// Writes a table with a heading row; cells are cut by the terminal's width, never by rows.
pub(crate) fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), Failure> {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    table.set_header(heading.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>());
    for row in rows {
        table.add_row(row);
    }
    text(&format!("{table}\n"))
}

/// A row by RFC 4180. A cell that a spreadsheet would take for a formula, and that is no number, starts with an apostrophe.
pub(crate) fn csv_row(cells: &[String]) -> String {
    let mut row = String::new();
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            row.push(',');
        }
        let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
        let guarded = if formula { format!("'{cell}") } else { cell.clone() };
        if guarded.contains(['"', ',', '\n', '\r']) {
            row.push_str(&format!("\"{}\"", guarded.replace('"', "\"\"")));
        } else {
            row.push_str(&guarded);
        }
    }
    row.push_str("\r\n");
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_disarmed() {
        let row = csv_row(&["a,b".into(), "=cmd|' /C calc'!A0".into(), "say \"hi\"".into(), "-7".into(), "-7+A1".into()]);
        assert_eq!(row, "\"a,b\",'=cmd|' /C calc'!A0,\"say \"\"hi\"\"\",-7,'-7+A1\r\n");
    }
}
