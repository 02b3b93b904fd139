//! The table, the page, and whether it is good enough.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{EQUAL_PERCENT_MIN, compare::Result, pair::Reason, same::text};
use crate::run::Done;

/// A line a pair and the total, in Markdown.
pub fn table(results: &[Result<'_>]) -> String {
    let mut table = "| pair | inputs | events | expected fields | present | equal | explained | unexplained | equal |\n\
                     |---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    let mut total = [0; 7];
    for result in results {
        let counts = counts(result);
        line(&mut table, &result.pair.title, &counts);
        total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    line(&mut table, "**all**", &total);
    _ = writeln!(table, "\nThe mean of the pairs, each counting the same: {:.1} %.", mean(results));
    table
}

fn counts(result: &Result<'_>) -> [usize; 7] {
    let explained = result.explained.values().sum();
    [result.inputs, result.events, result.fields, result.present, result.equal, explained, result.unexplained.len()]
}

fn line(table: &mut String, title: &str, counts: &[usize; 7]) {
    let [inputs, events, fields, present, equal, explained, unexplained] = counts;
    let share = percent(*equal, *fields);
    _ = writeln!(
        table,
        "| {title} | {inputs} | {events} | {fields} | {present} | {equal} | {explained} | {unexplained} | {share:.1} % |"
    );
}

/// A large pair decides the share of all fields; here each pair counts the same.
#[allow(clippy::cast_precision_loss, reason = "some tens of pairs")]
fn mean(results: &[Result<'_>]) -> f64 {
    let shares: f64 = results.iter().map(|result| percent(result.equal, result.fields)).sum();
    if results.is_empty() { 100.0 } else { shares / results.len() as f64 }
}

#[allow(clippy::cast_precision_loss, reason = "counts of fields, far below 2^52")]
fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 100.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// On standard error: which fields of a pair differ, most frequent first, `show` examples of each.
pub fn details(result: &Result<'_>, show: usize) {
    let mut fields: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, difference) in result.unexplained.iter().enumerate() {
        // Numbered places of a list are one field.
        let parts = difference.field.split('.').map(|part| if part.parse::<u32>().is_ok() { "*" } else { part });
        fields.entry(parts.collect::<Vec<_>>().join(".")).or_default().push(at);
    }
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by_key(|(_, places)| std::cmp::Reverse(places.len()));
    for (field, places) in fields.iter().take(if show == 0 { 8 } else { usize::MAX }) {
        eprintln!("      {:>6}  {field}", places.len());
        for difference in places.iter().take(show).map(|at| &result.unexplained[*at]) {
            let ours: Vec<String> = difference.ours.iter().map(text).collect();
            let ours = if difference.known { ours.join(" | ") } else { "(no line in the pair's file)".into() };
            eprintln!("              {}: theirs `{}`, ours `{ours}`", difference.input, text(&difference.theirs));
        }
    }
}

/// The page in the documentation: the table and every reason, without anything that lies in the inputs.
pub fn page(results: &[Result<'_>], table: &str) -> String {
    let mut page = format!(
        "# How far Reeve agrees with others\n\nWritten by `cargo xtask fidelity` from `cases/fidelity/`; do not edit. Each pair is a log with what another program \
         or a vendor says is in it.\nA field counts as equal if Reeve has it, in the source's own fields or in OCSF, with the same value; what is explained still \
         counts as different.\n\n{table}\n## Differences that stay\n\n| pair | fields | how many | why |\n|---|---|--:|---|\n"
    );
    for result in results {
        reasons(&mut page, &result.pair.title, &result.pair.explained, &result.explained);
    }
    page.push_str(
        "\n## Not compared\n\nFields that are not about the event, but another program's own judgement or bookkeeping.\n\n",
    );
    page.push_str("| pair | fields | how many | why |\n|---|---|--:|---|\n");
    for result in results {
        reasons(&mut page, &result.pair.title, &result.pair.outside, &result.outside);
    }
    page
}

fn reasons(page: &mut String, title: &str, reasons: &[Reason], counts: &BTreeMap<usize, usize>) {
    for (reason, count) in counts.iter().filter_map(|(at, count)| Some((reasons.get(*at)?, count))) {
        let fields: Vec<String> = reason.fields.iter().map(|field| format!("`{field}`")).collect();
        _ = writeln!(page, "| {title} | {} | {count} | {} |", fields.join(", "), reason.why);
    }
}

/// Whether the share is reached and every difference has its reason.
pub fn verdict(results: &[Result<'_>]) -> Done {
    let sum = |of: fn(&Result<'_>) -> usize| results.iter().map(of).sum::<usize>();
    let share = percent(sum(|result| result.equal), sum(|result| result.fields));
    let unexplained = sum(|result| result.unexplained.len());
    if share < EQUAL_PERCENT_MIN {
        return Err(format!("{share:.1} % of the expected fields are present and equal, below {EQUAL_PERCENT_MIN} %"));
    }
    if unexplained > 0 {
        let names: Vec<&str> =
            results.iter().filter(|result| !result.unexplained.is_empty()).map(|result| result.pair.name.as_str()).collect();
        return Err(format!(
            "{unexplained} differences without a reason in cases/fidelity/{{{}}}.toml; `--only NAME --show 3` shows them",
            names.join(",")
        ));
    }
    Ok(())
}
