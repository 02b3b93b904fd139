//! `reeve retention`: what is due to go, taking it out, and what was taken out. Also `reeve ledger redact`.
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use reeve_access::Action;
use reeve_ledger::{Act, Disposal, DisposalAuthority, Facts, Plan, RetentionPolicy};
use reeve_record::RecordId;
use serde_json::{Value, json};

use crate::{
    ceremony::TwoPeople,
    exit::{Failure, UNUSABLE, USAGE},
    folder::Folder,
    output::{self, Format},
    serve::config::read_retention,
};

/// What is due to go by a policy, and taking it out; the folder's server must be stopped
#[derive(clap::Subcommand, Debug)]
#[command(after_help = "Examples:
  reeve retention plan --policy m-21-31 --data /var/lib/reeve
  reeve retention run --policy m-21-31 --requester ana --approver ben --reason 'yearly run' --data /var/lib/reeve
  reeve retention report --data /var/lib/reeve")]
pub(crate) enum Command {
    /// Show what a run would take out, how much, why, and which holds keep what; changes nothing
    Plan(PlanArgs),
    /// Take out what is due: two people, and an entry in the log for each segment
    Run(Run),
    /// List what was taken out, by whom and why
    Report(Report),
}

/// By which policy, and where.
#[derive(clap::Args, Debug)]
pub(crate) struct By {
    /// m-26-14, m-21-31, or a policy file (TOML) [default: that of --config]
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// Longest step of time that is believed, in days: a clock that jumps, or a server that stands still, for longer ages nothing by more
    /// [default: that of --config, else 7]
    #[arg(long, value_name = "DAYS")]
    longest_step: Option<u32>,
    /// Configuration file of the server, for its [retention]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Show what a run would take out
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve retention plan --policy m-26-14 --data /var/lib/reeve
  reeve retention plan --config /etc/reeve.toml --data /var/lib/reeve --format ndjson | jq .waiting")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    by: By,
    /// How the plan is shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Take out what is due
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve retention run --policy m-26-14 --requester ana --approver ben --reason 'monthly run' --data /var/lib/reeve
  REEVE_REQUESTER_PASSWORD=... REEVE_APPROVER_PASSWORD=... reeve retention run --config /etc/reeve.toml --requester ana --approver ben --reason '...' --data DIR

Both are accounts of this folder with the role administrator or auditor, and give their passwords in REEVE_REQUESTER_PASSWORD and
REEVE_APPROVER_PASSWORD. Look at `reeve retention plan` first: nothing that was taken out comes back.")]
pub(crate) struct Run {
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    people: TwoPeople,
    /// Why, in one line of at most 1,024 bytes
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only the oldest so many segments
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// List what was taken out
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve retention report --data /var/lib/reeve
  reeve retention report --data /var/lib/reeve --format ndjson | jq 'select(.approver == \"ben\")'")]
pub(crate) struct Report {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How acts are shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Take the content of records out of the record; their leaves, and all proofs of others, stay
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve ledger redact 12-3407 --requester ana --approver ben --reason 'a password in clear text' --authority 'GRS 3.2 item 030' --data DIR
  REEVE_REQUESTER_PASSWORD=... REEVE_APPROVER_PASSWORD=... reeve ledger redact 12-3407 12-3408 --requester ana --approver ben \\
      --reason 'order of the court' --authority 'case 4:26-cv-17' --data /var/lib/reeve

The server must be stopped. What was redacted does not come back; search rows and evidence in alerts made from it go as well.")]
pub(crate) struct Redact {
    /// Records, as in 12-3407
    #[arg(required = true, value_name = "RECORD")]
    records: Vec<RecordId>,
    #[command(flatten)]
    people: TwoPeople,
    /// Why, in one line of at most 1,024 bytes
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// What permits it: a records schedule, an order
    #[arg(long, value_name = "TEXT")]
    authority: String,
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Plan(args) => plan(&args),
        Command::Run(args) => run_plan(&args),
        Command::Report(args) => report(&args),
    }
}

fn refused(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(USAGE, error)
}

/// The policy and the longest step of time.
fn policy(by: &By) -> Result<(RetentionPolicy, SignedDuration), Failure> {
    let configured = by.config.as_deref().map(read_retention).transpose()?.unwrap_or_default();
    let name = by.policy.clone().or(configured.policy);
    let name =
        name.ok_or_else(|| Failure::new(USAGE, "give --policy m-26-14, m-21-31 or a file, or --config with a [retention]"))?;
    let days = by.longest_step.or(configured.longest_step_days).unwrap_or(LONGEST_STEP_DAYS);
    Ok((read_policy(&name)?, SignedDuration::from_hours(24 * i64::from(days))))
}

fn read_policy(name: &str) -> Result<RetentionPolicy, Failure> {
    let built_in = PACKS.iter().find(|(pack, _)| pack.eq_ignore_ascii_case(name)).map(|(_, text)| (*text).to_owned());
    let text = match built_in {
        Some(text) => text,
        None => std::fs::read_to_string(Path::new(name)).map_err(|error| {
            Failure::new(USAGE, format!("cannot read the policy `{name}`: {error}; the built-in ones are m-26-14 and m-21-31"))
        })?,
    };
    let policy: RetentionPolicy =
        toml::from_str(&text).map_err(|error| Failure::new(USAGE, format!("policy `{name}`: {error}")))?;
    policy.check().map_err(|error| Failure::new(USAGE, format!("policy `{name}`: {error}")))?;
    Ok(policy)
}

/// What the reading knows of the records of a segment.
fn facts(folder: &Folder, segment: u32) -> HashMap<u32, Facts> {
    let mut facts: HashMap<u32, Facts> = HashMap::new();
    let events = folder.lake.facts(segment).unwrap_or_else(|error| {
        // Without the reading a record is as old as its receipt says, which is never older than it is.
        tracing::error!(segment, %error, "event times of this segment cannot be read");
        Vec::new()
    });
    for event in events {
        let known = facts.entry(event.record.index).or_default();
        known.event = known.event.max(Some(event.time));
        known.classes.push(event.class_uid);
    }
    facts
}

fn make_plan(folder: &Folder, policy: &RetentionPolicy, longest: SignedDuration) -> Result<Plan, Failure> {
    folder.ledger.plan(policy, longest, &|segment| facts(folder, segment)).map_err(|error| refused(&error))
}

fn plan(args: &PlanArgs) -> Result<(), Failure> {
    let (policy, longest) = policy(&args.by)?;
    let folder = Folder::existing(&args.by.data)?;
    let detail = json!({ "retention_plan": policy.name });
    folder.access.ask(&Folder::person(), Action::ReadStatus, detail, ()).map_err(|error| refused(&error))?;
    let plan = make_plan(&folder, &policy, longest)?;
    if Format::or_default(args.format) == Format::Ndjson {
        return output::json(&plan);
    }
    let rows = plan.segments.iter().map(|planned| {
        let act = match &planned.act {
            Act::Destroy => "destroy".to_owned(),
            Act::Redact(_) => "redact".to_owned(),
        };
        let why: Vec<String> = planned.rules.iter().map(|(rule, count)| format!("{count} by {rule}")).collect();
        vec![planned.segment.to_string(), act, planned.records.to_string(), planned.file_bytes.to_string(), why.join("; ")]
    });
    output::table(&["segment", "act", "records", "file bytes", "why"], rows)?;
    output::text(&summary(&plan))
}

/// What stays and why, in words.
fn summary(plan: &Plan) -> String {
    let records: u64 = plan.segments.iter().map(|planned| planned.records).sum();
    let bytes: u64 = plan.segments.iter().map(|planned| planned.file_bytes).sum();
    let mut said = format!(
        "\n{records} records in {} segments ({bytes} bytes of files) are due by {} at {:.0}\n",
        plan.segments.len(),
        plan.policy,
        plan.time.now
    );
    if plan.time.uncounted_seconds > 0 {
        let days = plan.time.uncounted_seconds / 86_400;
        said.push_str(&format!(
            "{days} days are not counted: the log has longer steps in time than are believed (a server that stood still, or a wrong clock); the machine says {:.0}\n",
            plan.time.clock
        ));
    }
    for (hold, count) in &plan.held {
        said.push_str(&format!("{count} due records stay: hold {hold}\n"));
    }
    if plan.waiting > 0 {
        said.push_str(&format!("{} due records wait for the rest of their segment, due within a month\n", plan.waiting));
    }
    for (segment, why) in &plan.unread {
        said.push_str(&format!("segment {segment} stays, since it cannot be read: {why}\n"));
    }
    said.push_str(&format!("{} records are not due\n", plan.kept));
    said
}

fn run_plan(args: &Run) -> Result<(), Failure> {
    let (policy, longest) = policy(&args.by)?;
    let people = &args.people;
    let authority = DisposalAuthority::new(&people.requester, &people.approver, &args.reason, &policy.authority, &policy.name)
        .map_err(|error| refused(&error))?;
    let folder = Folder::existing(&args.by.data)?;
    let detail = json!({ "retention_run": policy.name, "reason": args.reason });
    people.ask(&folder.accounts, &folder.access, Action::DisposeContent, &detail)?;
    let plan = make_plan(&folder, &policy, longest)?;
    for planned in plan.segments.iter().take(args.limit.unwrap_or(usize::MAX)) {
        let known = facts(&folder, planned.segment);
        let event = |id: RecordId| event_of(&known, planned.segment, id);
        let done = match &planned.act {
            Act::Destroy => folder.ledger.destroy(planned.segment, &authority, &event).map(|done| done.into_iter().collect()),
            Act::Redact(ranges) => folder.ledger.redact(&ids(planned.segment, ranges), &authority, &event),
        };
        done.map_err(|error| refused(&error))?.iter().try_for_each(output::json)?;
    }
    forget(&folder)
}

fn event_of(known: &HashMap<u32, Facts>, segment: u32, id: RecordId) -> Option<Timestamp> {
    known.get(&id.index).filter(|_| id.segment == segment)?.event
}

fn ids(segment: u32, ranges: &[(u32, u32)]) -> Vec<RecordId> {
    ranges.iter().flat_map(|(first, count)| (*first..first + count).map(|index| RecordId { segment, index })).collect()
}

/// Carries out what acts mean for what was made from the content: rows of the lake, evidence in alerts. Always for all acts there were, so that one that was
/// cut short is finished by the next.
fn forget(folder: &Folder) -> Result<(), Failure> {
    let disposals = folder.ledger.disposals().map_err(|error| refused(&error))?;
    let segments: Vec<u32> = disposals.iter().map(|(_, disposal)| disposal.segment).collect();
    let (Some(first), Some(last)) = (segments.iter().min(), segments.iter().max()) else { return Ok(()) };
    let gone = |id: RecordId| folder.ledger.disposed_by(id).is_some();
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(
            UNUSABLE,
            format!("the content is out of the record, but not of everything made from it: {error}; run it again"),
        )
    };
    let lake = folder.lake.forget(*first..=*last, &gone).map_err(|error| failed(&error))?;
    let cases = folder.queue.forget(&gone).map_err(|error| failed(&error))?;
    output::json(
        &json!({ "forgotten": { "events": lake.events, "event_files": lake.files, "alerts": cases.alerts, "incidents": cases.incidents } }),
    )
}

/// `reeve ledger redact`.
pub(crate) fn redact(args: &Redact) -> Result<(), Failure> {
    let people = &args.people;
    let authority = DisposalAuthority::new(&people.requester, &people.approver, &args.reason, &args.authority, "none")
        .map_err(|error| refused(&error))?;
    let folder = Folder::existing(&args.data)?;
    let detail = json!({ "redact": args.records, "reason": args.reason, "authority": args.authority });
    people.ask(&folder.accounts, &folder.access, Action::DisposeContent, &detail)?;
    let mut known: BTreeMap<u32, HashMap<u32, Facts>> = BTreeMap::new();
    for id in &args.records {
        known.entry(id.segment).or_insert_with(|| facts(&folder, id.segment));
    }
    let event = |id: RecordId| event_of(known.get(&id.segment)?, id.segment, id);
    let done: Vec<Disposal> = folder.ledger.redact(&args.records, &authority, &event).map_err(|error| refused(&error))?;
    done.iter().try_for_each(output::json)?;
    forget(&folder)
}

fn report(args: &Report) -> Result<(), Failure> {
    let folder = Folder::existing(&args.data)?;
    let detail = json!({ "retention_report": true });
    folder.access.ask(&Folder::person(), Action::ReadStatus, detail, ()).map_err(|error| refused(&error))?;
    let disposals = folder.ledger.disposals().map_err(|error| refused(&error))?;
    let acts = disposals.iter().map(|(entry, disposal)| {
        let records =
            disposal.redaction.as_ref().map(|(_, ranges)| ranges.iter().map(|(_, count)| u64::from(*count)).sum::<u64>());
        let act = if records.is_some() { "redacted" } else { "destroyed" };
        let authority = serde_json::to_value(&disposal.authority).unwrap_or(Value::Null);
        let mut told = json!({ "entry": entry, "at": disposal.at, "act": act, "segment": disposal.segment, "records": records });
        if let (Some(told), Value::Object(authority)) = (told.as_object_mut(), authority) {
            told.extend(authority);
        }
        told
    });
    if Format::or_default(args.format) == Format::Ndjson {
        return acts.into_iter().try_for_each(|act| output::json(&act));
    }
    let heading = ["entry", "at", "act", "segment", "records", "requester", "approver", "policy", "authority", "reason"];
    let rows = acts.map(|act| {
        let cell = |name: &&str| match &act[*name] {
            Value::String(text) => text.clone(),
            Value::Null => "all".into(),
            other => other.to_string(),
        };
        heading.iter().map(cell).collect()
    });
    output::table(&heading, rows)
}

const PACKS: [(&str, &str); 2] = [
    ("m-26-14", include_str!("../../../content/policies/m-26-14.toml")),
    ("m-21-31", include_str!("../../../content/policies/m-21-31.toml")),
];
const LONGEST_STEP_DAYS: u32 = 7;
