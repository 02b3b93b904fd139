//! `reeve incident` and `reeve alert`.

use reeve_access::{Action, Digest};
use reeve_case::{AlertFilter, Seed, reconstruct_and_keep};
use reeve_record::RecordId;
use serde_json::{Value, json};

use crate::{
    client::{Client, Where},
    exit::{Failure, UNUSABLE, USAGE},
    folder::Folder,
    output::{self, Format},
};

/// What to do with incidents.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "Examples:
  reeve incident reconstruct --from-finding 0b5c6f1f2d3a4e51 --data case-17
  reeve incident list --data case-17")]
pub(crate) enum Command {
    /// Walk causes and consequences from a finding or a record; keeps the incident and prints it
    Reconstruct(Reconstruct),
    /// Print a kept incident
    Show(Show),
    /// List kept incidents
    List(List),
}

/// What to do with alerts.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "Examples:
  reeve alert list --data case-17
  reeve alert list --server http://127.0.0.1:8420 --format ndjson")]
pub(crate) enum AlertCommand {
    /// List alerts, most severe and latest first
    List(List),
}

/// How an incident is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Told {
    /// The whole document, one JSON object
    Json,
    /// A readable story
    Story,
}

/// Reconstruct an incident
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve incident reconstruct --from-finding 0b5c6f1f2d3a4e51 --data case-17
  reeve incident reconstruct --from-record 12-3407 --format json --server http://127.0.0.1:8420

Findings are the alerts of `reeve alert list`, records those of `reeve search`.")]
pub(crate) struct Reconstruct {
    /// Start from this alert
    #[arg(long, value_name = "ID", conflicts_with = "from_record", required_unless_present = "from_record")]
    from_finding: Option<String>,
    /// Start from this record, as in 12-3407
    #[arg(long, value_name = "ID")]
    from_record: Option<RecordId>,
    /// How it is shown [default: story on a terminal, json into a pipe]
    #[arg(long, value_enum)]
    format: Option<Told>,
    #[command(flatten)]
    place: Where,
}

/// Print a kept incident
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve incident show ID --data case-17
  reeve incident show ID --format json --server http://127.0.0.1:8420 | jq .steps")]
pub(crate) struct Show {
    /// The incident's id
    id: String,
    /// How it is shown [default: story on a terminal, json into a pipe]
    #[arg(long, value_enum)]
    format: Option<Told>,
    #[command(flatten)]
    place: Where,
}

/// Where to list from
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples: `--data case-17` for a folder that nobody serves, `--server http://127.0.0.1:8420` for a running server"
)]
pub(crate) struct List {
    /// How rows are shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    place: Where,
}

/// Runs `reeve incident`.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Reconstruct(args) => reconstruct(&args),
        Command::Show(args) => show(&args),
        Command::List(args) => list(&args),
    }
}

/// Runs `reeve alert`.
pub(crate) fn alerts(command: AlertCommand) -> Result<(), Failure> {
    let AlertCommand::List(args) = command;
    let rows = match open(&args.place)? {
        Place::Server(client) => pages(&client)?,
        Place::Folder(folder) => local_alerts(&folder)?,
    };
    let heading = ["severity", "title", "host", "user", "count", "first", "last", "status", "id"];
    let keys = ["level", "title", "host", "user", "count", "first_at", "last_at", "status", "id"];
    listed(Format::or_default(args.format), &heading, &keys, rows)
}

fn local_alerts(folder: &Folder) -> Result<Vec<Value>, Failure> {
    let mut filter = AlertFilter { limit: 1000, ..AlertFilter::default() };
    let scoped =
        folder.access.ask(&Folder::person(), Action::ReadAlerts, json!({}), ()).map_err(|error| Failure::new(USAGE, error))?;
    let (mut rows, mut digest) = (Vec::new(), Digest::default());
    loop {
        let page = folder.queue.alerts(&filter).map_err(|error| Failure::new(UNUSABLE, error))?;
        filter.offset += page.alerts.len() as u64;
        for alert in &page.alerts {
            digest.row(alert.id.as_bytes());
            rows.push(serde_json::to_value(alert).unwrap_or_default());
        }
        if page.alerts.is_empty() || filter.offset >= page.total {
            folder.access.answered(&scoped, digest);
            return Ok(rows);
        }
    }
}

fn pages(client: &Client) -> Result<Vec<Value>, Failure> {
    let (mut rows, mut cursor) = (Vec::new(), Value::from(0));
    while !cursor.is_null() {
        let mut page = client.get(&format!("/alerts?limit=1000&cursor={cursor}"))?;
        rows.extend(page["alerts"].as_array_mut().map(std::mem::take).unwrap_or_default());
        cursor = page["next_cursor"].take();
    }
    Ok(rows)
}

fn reconstruct(args: &Reconstruct) -> Result<(), Failure> {
    let seed = match (&args.from_finding, args.from_record) {
        (Some(alert), _) => Seed::Alert(alert.clone()),
        (None, Some(record)) => Seed::Record(record),
        (None, None) => return Err(Failure::new(USAGE, "give --from-finding ID or --from-record ID")),
    };
    let document = match open(&args.place)? {
        Place::Server(client) => {
            let start = match &seed {
                Seed::Alert(id) => json!({ "from_finding": id }),
                Seed::Record(id) => json!({ "from_record": id }),
            };
            client.post("/incidents", &start)?
        }
        Place::Folder(folder) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let detail = json!({ "from": seed.to_string() });
            let ask = folder.access.ask(&Folder::person(), Action::ReconstructIncident, detail, seed);
            let scoped = ask.map_err(|error| Failure::new(USAGE, error))?;
            let document = reconstruct_and_keep(&folder.queue, &folder.reads, &scoped, runtime.handle()).map_err(of_case)?;
            let mut digest = Digest::default();
            digest.row(document.to_string().as_bytes());
            folder.access.answered(&scoped, digest);
            document
        }
    };
    tell(&document, args.format)
}

fn show(args: &Show) -> Result<(), Failure> {
    let document = match open(&args.place)? {
        Place::Server(client) => client.get(&format!("/incidents/{}", args.id))?,
        Place::Folder(folder) => {
            let ask =
                folder.access.ask(&Folder::person(), Action::ReadIncidents, json!({ "incident": args.id }), args.id.clone());
            let scoped = ask.map_err(|error| Failure::new(USAGE, error))?;
            folder.queue.incident(scoped.what()).map_err(of_case)?
        }
    };
    tell(&document, args.format)
}

fn list(args: &List) -> Result<(), Failure> {
    let rows = match open(&args.place)? {
        Place::Server(client) => client.get("/incidents")?["incidents"].as_array().cloned().unwrap_or_default(),
        Place::Folder(folder) => {
            let scoped = folder
                .access
                .ask(&Folder::person(), Action::ReadIncidents, json!({}), ())
                .map_err(|error| Failure::new(USAGE, error))?;
            let rows = folder.queue.incidents().map_err(of_case)?;
            folder.access.answered(&scoped, Digest::default());
            rows.iter().map(|row| serde_json::to_value(row).unwrap_or_default()).collect()
        }
    };
    let keys = ["id", "title", "from", "to", "steps", "created_at", "created_by"];
    listed(Format::or_default(args.format), &keys, &keys, rows)
}

enum Place {
    Server(Client),
    Folder(Box<Folder>),
}

fn open(place: &Where) -> Result<Place, Failure> {
    match (&place.server, &place.data) {
        (Some(server), _) => Ok(Place::Server(Client::sign_in(server)?)),
        (None, Some(data)) => Ok(Place::Folder(Box::new(Folder::existing(data)?))),
        (None, None) => Err(Failure::new(USAGE, "give --data DIR or --server URL")),
    }
}

fn listed(format: Format, heading: &[&str], keys: &[&str], rows: Vec<Value>) -> Result<(), Failure> {
    if format == Format::Ndjson {
        return rows.iter().try_for_each(output::json);
    }
    let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    output::table(heading, rows.iter().map(|row| keys.iter().map(|key| cell(&row[*key])).collect()))
}

fn tell(document: &Value, format: Option<Told>) -> Result<(), Failure> {
    let told = format.unwrap_or(if std::io::IsTerminal::is_terminal(&std::io::stdout()) { Told::Story } else { Told::Json });
    match told {
        Told::Json => output::json(document),
        Told::Story => output::text(&format!("{}\n", document["story"].as_str().unwrap_or_default().trim_end())),
    }
}

fn of_case(error: reeve_case::Error) -> Failure {
    Failure::new(if matches!(error, reeve_case::Error::NotFound { .. }) { USAGE } else { UNUSABLE }, error)
}
