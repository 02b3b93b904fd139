use std::fmt::Write as _;

use crate::model::{Incident, Link, Order};

/// The incident as one reads it aloud: a head, then a paragraph per step with time, claim, reason and records.
pub fn story(incident: &Incident) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}", incident.title);
    let _ = writeln!(out, "{} to {}, {} steps on {}", incident.from, incident.to, incident.steps.len(), list(&incident.hosts));
    if !incident.users.is_empty() {
        let _ = writeln!(out, "Acting as {}", list(&incident.users));
    }
    if !incident.addresses.is_empty() {
        let _ = writeln!(out, "Outside addresses: {}", list(&incident.addresses));
    }
    for step in &incident.steps {
        let doubt = match step.certainty {
            Order::Certain => "",
            Order::Likely => " (order likely)",
            Order::Unknown => " (order unknown)",
        };
        let _ = writeln!(out, "\n{:>3}. {}{doubt}", step.n, step.time);
        let _ = writeln!(out, "     {}.", step.action);
        let why = match step.because.step {
            Some(other) => format!("{} step {other}", reason(step.because.kind)),
            None if step.because.kind == Link::Finding => reason(Link::Finding).to_owned(),
            None => format!("{} the incident", reason(step.because.kind)),
        };
        let _ = writeln!(out, "     {} {} ({}); {}", step.technique.uid, step.technique.name, step.tactic, why);
        let shown: Vec<String> = step.records.iter().take(8).map(ToString::to_string).collect();
        let more = step.records.len().saturating_sub(8) + step.records_omitted;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "     records {}{more}", shown.join(" "));
    }
    for note in &incident.notes {
        let _ = writeln!(out, "\nNote: {note}.");
    }
    out
}

fn reason(link: Link) -> &'static str {
    match link {
        Link::Finding => "where the walk started",
        Link::ProcessLineage => "by processes of",
        Link::LogonSession => "in the logon session of",
        Link::FileWriteExecute => "through a file of",
        Link::RemoteLogon => "by a connection of",
        Link::WebRequest => "by a web request of",
        Link::SharedAddress => "with an outside address of",
        Link::AccountUse => "with an account of",
        Link::ServiceStart => "by a service or task of",
    }
}

fn list(texts: &[String]) -> String {
    texts.join(", ")
}
