//! `reeve search`: the search bar's language or SQL, streamed.

use futures::StreamExt as _;
use jiff::Timestamp;
use reeve_access::{Action, Digest};
use reeve_lake::{Cost, SearchEvent, SearchRequest};
use serde_json::{Value, json};

use crate::{
    client::{Client, Where},
    exit::{Failure, UNUSABLE, USAGE},
    folder::Folder,
    output,
};

/// Arguments of `reeve search`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve search 'process.cmd_line:*base64* AND device.hostname:web1' --data /var/lib/reeve
  reeve search 'src_ip:10.0.0.0/8 | stats count by user.name | sort -count' --data case-17
  reeve search 'device.hostname:web1 | fields time, user.name, process.cmd_line' --data case-17 --format csv > web1.csv
  reeve search --sql 'SELECT class_uid, count(*) FROM events GROUP BY 1' --server http://127.0.0.1:8420

The language is described in docs/reference/search.md.")]
pub(crate) struct Args {
    /// The query; everything if it is empty
    query: String,
    /// Read the query as SQL over the table `events`
    #[arg(long)]
    sql: bool,
    /// Only events at or after this time, RFC 3339
    #[arg(long, value_name = "T")]
    from: Option<Timestamp>,
    /// Only events before this time, RFC 3339
    #[arg(long, value_name = "T")]
    to: Option<Timestamp>,
    /// Rows to give at most; all without it
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How rows are shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    place: Where,
}

/// How rows are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Format {
    /// One JSON object a line
    Ndjson,
    /// Aligned columns
    Table,
    /// RFC 4180 with a heading; text a spreadsheet would run as a formula gets an apostrophe in front
    Csv,
}

impl Format {
    /// What was asked for, else a table on a terminal and NDJSON into a pipe.
    fn or_default(asked: Option<Self>) -> Self {
        asked.unwrap_or(match output::Format::or_default(None) {
            output::Format::Ndjson => Self::Ndjson,
            output::Format::Table => Self::Table,
        })
    }
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let mut shown = Shown { format: Format::or_default(args.format), columns: Vec::new(), rows: Vec::new(), truncated: false };
    match (&args.place.server, &args.place.data) {
        (Some(server), _) => remote(&args, server, &mut shown)?,
        (None, Some(data)) => local(&args, &Folder::existing(data)?, &mut shown)?,
        (None, None) => return Err(Failure::new(USAGE, "give --data DIR or --server URL")),
    }
    shown.finish()
}

fn local(args: &Args, folder: &Folder, shown: &mut Shown) -> Result<(), Failure> {
    let request = SearchRequest {
        query: args.query.clone(),
        sql: args.sql,
        from: args.from,
        to: args.to,
        limit: args.limit,
        ..SearchRequest::default()
    };
    let detail = json!({ "q": args.query, "sql": args.sql, "from": args.from, "to": args.to, "limit": args.limit });
    let scoped = folder
        .access
        .ask(&Folder::person(), Action::SearchEvents, detail, request)
        .map_err(|error| Failure::new(USAGE, error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut digest = Digest::default();
    let done = runtime.block_on(async {
        let mut answer = folder.reads.search(&scoped).map_err(|error| at_offset(&args.query, &error))?;
        while let Some(part) = answer.next().await {
            let part = part.map_err(|error| Failure::new(UNUSABLE, error))?;
            for line in lines(part) {
                digest.row(line.to_string().as_bytes());
                shown.take(line)?;
            }
        }
        Ok(())
    });
    folder.access.answered(&scoped, digest);
    done
}

fn remote(args: &Args, server: &str, shown: &mut Shown) -> Result<(), Failure> {
    let client = Client::sign_in(server)?;
    let mut query =
        vec![("q", args.query.clone()), ("sql", args.sql.to_string()), ("limit", args.limit.unwrap_or(100_000).to_string())];
    query.extend(args.from.map(|time| ("from", time.to_string())));
    query.extend(args.to.map(|time| ("to", time.to_string())));
    client.lines("/search", &query, |line| shown.take(line))
}

/// The lines the API would send.
fn lines(part: SearchEvent) -> Vec<Value> {
    match part {
        SearchEvent::Columns { events, columns } => vec![json!({ "type": "columns", "events": events, "columns": columns })],
        SearchEvent::Note(message) => vec![json!({ "type": "note", "message": message })],
        SearchEvent::Rows(rows) => rows.iter().map(|row| json!({ "type": "row", "row": reeve_api::listed(row) })).collect(),
        SearchEvent::Table(rows) => vec![json!({ "type": "table", "rows": rows })],
        SearchEvent::Progress(_) => Vec::new(),
        SearchEvent::Done(cost) => vec![json!({ "type": "done", "cost": cost })],
    }
}

/// Shows an answer as it comes: NDJSON and CSV at once, a table when all of it is there.
struct Shown {
    format: Format,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    truncated: bool,
}

impl Shown {
    #[allow(clippy::print_stderr, reason = "notes and cost are not data")]
    fn take(&mut self, mut line: Value) -> Result<(), Failure> {
        match line["type"].as_str() {
            Some("columns") if line["events"] == false => {
                let names = line["columns"].as_array().into_iter().flatten();
                self.columns =
                    names.map(|column| column["name"].as_str().or(column.as_str()).unwrap_or_default().to_owned()).collect();
                self.head()?;
            }
            Some("columns") => {
                self.columns = ["time", "host", "class", "severity", "summary", "record"].map(str::to_owned).to_vec();
                self.head()?;
            }
            Some("note") => eprintln!("note: {}", line["message"].as_str().unwrap_or_default()),
            Some("row") if self.format == Format::Ndjson => output::json(&line["row"])?,
            Some("row") => self.row(cells(&line["row"]))?,
            Some("table") => self.table(line["rows"].take())?,
            Some("done") => self.cost(&serde_json::from_value(line["cost"].take()).unwrap_or_default()),
            Some("error") => return Err(Failure::new(UNUSABLE, line["error"]["message"].as_str().unwrap_or_default())),
            _ => {}
        }
        Ok(())
    }

    fn head(&self) -> Result<(), Failure> {
        if self.format == Format::Csv { output::text(&output::csv_row(&self.columns)) } else { Ok(()) }
    }

    fn row(&mut self, cells: Vec<String>) -> Result<(), Failure> {
        if self.format == Format::Csv {
            return output::text(&output::csv_row(&cells));
        }
        self.rows.push(cells);
        Ok(())
    }

    fn table(&mut self, rows: Value) -> Result<(), Failure> {
        for row in rows.as_array().into_iter().flatten() {
            let values = row.as_array().map_or(&[][..], Vec::as_slice);
            if self.format == Format::Ndjson {
                let named: serde_json::Map<String, Value> = self.columns.iter().cloned().zip(values.iter().cloned()).collect();
                output::json(&named)?;
            } else {
                self.row(values.iter().map(plain).collect())?;
            }
        }
        Ok(())
    }

    #[allow(clippy::print_stderr, reason = "notes and cost are not data")]
    fn cost(&mut self, cost: &Cost) {
        self.truncated = cost.truncated;
        eprintln!(
            "{} rows in {} ms; looked at {} rows and {} bytes in {} files, {} files ruled out",
            cost.returned, cost.elapsed_ms, cost.rows_scanned, cost.bytes_scanned, cost.files, cost.files_pruned
        );
        if self.truncated {
            eprintln!("note: there are more rows than the limit; give a larger --limit, or none");
        }
    }

    fn finish(self) -> Result<(), Failure> {
        if self.format == Format::Table && !self.columns.is_empty() {
            let names: Vec<&str> = self.columns.iter().map(String::as_str).collect();
            return output::table(&names, self.rows);
        }
        Ok(())
    }
}

fn cells(row: &Value) -> Vec<String> {
    ["time", "host", "class_name", "severity_id", "summary", "record"].iter().map(|name| plain(&row[*name])).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The query with a mark under the place where it is wrong.
fn at_offset(query: &str, error: &reeve_access::Error) -> Failure {
    if let reeve_access::Error::Lake(inner) = error
        && let Some(offset) = inner.offset()
    {
        let before = query.get(..offset).map_or(0, |text| text.chars().count());
        return Failure::new(USAGE, format!("{inner}\n  {query}\n  {}^", " ".repeat(before)));
    }
    Failure::new(USAGE, error)
}
