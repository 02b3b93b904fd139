//! `reeve hold`: what must stay, whatever its age.
use std::path::PathBuf;

use jiff::Timestamp;
use reeve_access::{Action, Person};
use reeve_ledger::{Hold, HoldScope, NewHold};
use reeve_record::RecordId;
use serde_json::json;

use crate::{
    ceremony::sign_in,
    exit::{Failure, USAGE},
    folder::Folder,
    output::{self, Format},
};

/// Holds forbid redaction and destruction of what they cover; the folder's server must be stopped
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "Examples:
  reeve hold add case-17 --source 'syslog/web*' --owner counsel --reason 'Doe v. Agency' --review 2027-01-31 --data /var/lib/reeve
  reeve hold list --data /var/lib/reeve
  reeve hold release case-17 --reason 'settled, order of 3 May' --data /var/lib/reeve")]
pub(crate) enum Command {
    /// Add a hold
    Add(Add),
    /// List holds, released ones too
    List(List),
    /// Release one hold; others that cover the same records stay
    Release(Release),
}

/// Add a hold
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve hold add case-17 --source 'syslog/web*' --owner counsel --reason 'Doe v. Agency' --review 2027-01-31 --data /var/lib/reeve
  reeve hold add breach-4 --records 12-0..14-3407 --from 2026-03-01 --to 2026-04-01 --owner ciso --reason 'breach 4' --review 2026-12-01 --data DIR

A hold covers what fits all that is given: any of the sources, the time, any of the record ranges. With nothing given it covers everything.")]
pub(crate) struct Add {
    /// Its name: 1 to 64 of a-z, 0-9 and -; never used again
    name: String,
    /// Sources, with * for any characters; may be given again
    #[arg(long, value_name = "PATTERN")]
    source: Vec<String>,
    /// Only what was received, is claimed or happened at or after this time (RFC 3339, or a day)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// … and at or before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// A record, or first and last, as in 12-0..14-3407; may be given again
    #[arg(long, value_name = "RECORDS", value_parser = records)]
    records: Vec<(RecordId, RecordId)>,
    /// Who answers for it
    #[arg(long, value_name = "TEXT")]
    owner: String,
    /// Why, in one line
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// When the owner looks at it again; nothing ends by itself then
    #[arg(long, value_name = "TIME", value_parser = time)]
    review: Timestamp,
    #[command(flatten)]
    place: Place,
}

/// List holds
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve hold list --data /var/lib/reeve
  reeve hold list --data /var/lib/reeve --format ndjson | jq 'select(.released == null)'")]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// How holds are shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Release a hold
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve hold release case-17 --reason 'settled, order of 3 May' --data /var/lib/reeve
  REEVE_PASSWORD=... reeve hold release case-17 --reason 'settled' --by ana --data /var/lib/reeve")]
pub(crate) struct Release {
    /// Its name
    name: String,
    /// Why, in one line
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    place: Place,
}

/// Where, and as whom.
#[derive(clap::Args, Debug)]
struct Place {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Account, with its password in REEVE_PASSWORD [default: the operating system's user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Place {
    fn open(&self) -> Result<(Folder, Person), Failure> {
        let folder = Folder::existing(&self.data)?;
        let person = match &self.by {
            Some(name) => sign_in(&folder.accounts, name, "REEVE_PASSWORD")?,
            None => Folder::person(),
        };
        Ok((folder, person))
    }
}

/// A time, or the first moment of a day, UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    let day = format!("{text}T00:00:00Z");
    text.parse().or_else(|_| day.parse()).map_err(|_| format!("`{text}` is no time: write 2026-03-01 or 2026-03-01T09:00:00Z"))
}

fn records(text: &str) -> Result<(RecordId, RecordId), String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let id = |text: &str| text.parse::<RecordId>().map_err(|_| format!("`{text}` is no record: they are as 12-3407"));
    let (first, last) = (id(first)?, id(last)?);
    if first <= last { Ok((first, last)) } else { Err(format!("{last} is before {first}")) }
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::new(USAGE, error);
    match command {
        Command::Add(args) => {
            let (folder, person) = args.place.open()?;
            let Add { name, source, from, to, records, owner, reason, review, .. } = args;
            let scope = HoldScope { sources: source, from, to, records };
            let hold = NewHold { name, by: person.name.clone(), owner, reason, review, scope };
            folder.access.ask(&person, Action::HoldContent, json!({ "add": hold }), ()).map_err(|error| refused(&error))?;
            output::json(&folder.ledger.hold(&hold).map_err(|error| refused(&error))?)
        }
        Command::Release(args) => {
            let (folder, person) = args.place.open()?;
            let detail = json!({ "release": args.name, "reason": args.reason });
            folder.access.ask(&person, Action::HoldContent, detail, ()).map_err(|error| refused(&error))?;
            let released = folder.ledger.release(&args.name, &person.name, &args.reason).map_err(|error| refused(&error))?;
            output::json(&released)
        }
        Command::List(args) => {
            let (folder, person) = args.place.open()?;
            folder.access.ask(&person, Action::HoldContent, json!({ "list": true }), ()).map_err(|error| refused(&error))?;
            list(&folder.ledger.holds(), Format::or_default(args.format))
        }
    }
}

fn list(holds: &[Hold], format: Format) -> Result<(), Failure> {
    if format == Format::Ndjson {
        return holds.iter().try_for_each(output::json);
    }
    let rows = holds.iter().map(|hold| {
        let state = match &hold.released {
            None if hold.review.is_some_and(|review| review < Timestamp::now()) => "active, review is due".to_owned(),
            None => "active".into(),
            Some(release) => format!("released {:.0}", release.at),
        };
        let review = hold.review.map(|review| format!("{review:.0}")).unwrap_or_default();
        vec![hold.name.clone(), state, hold.owner.clone(), review, covers(hold.scope.as_ref()), hold.reason.clone()]
    });
    output::table(&["hold", "state", "owner", "review", "covers", "reason"], rows)
}

/// What a hold covers, in words.
fn covers(scope: Option<&HoldScope>) -> String {
    let Some(scope) = scope else { return "everything (written by a newer Reeve)".into() };
    let mut said: Vec<String> = scope.sources.clone();
    said.extend(scope.from.map(|from| format!("from {from:.0}")));
    said.extend(scope.to.map(|to| format!("to {to:.0}")));
    said.extend(scope.records.iter().map(|(first, last)| format!("{first}..{last}")));
    if said.is_empty() { "everything".into() } else { said.join(" ") }
}
