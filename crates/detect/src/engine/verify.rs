//! Tests of one event: does a condition hold, and which fields say so.

use std::net::IpAddr;

use jiff::{Timestamp, tz::TimeZone};

use super::slots::{Seen, Slots};
use crate::sigma::item::{Check, Expr, FieldId, Order, Part, Place, Test};

/// Whether the condition holds.
pub(crate) fn holds(expr: &Expr, slots: &Slots) -> bool {
    match expr {
        Expr::All(parts) => parts.iter().all(|part| holds(part, slots)),
        Expr::Any(parts) => parts.iter().any(|part| holds(part, slots)),
        Expr::Some(count, parts) => parts.iter().filter(|part| holds(part, slots)).take(*count).count() == *count,
        Expr::Not(part) => !holds(part, slots),
        Expr::Test(test) => test_holds(test, slots),
    }
}

/// The fields, with their values, whose tests made a condition hold; nothing of what it excluded.
pub(crate) fn matched_fields(expr: &Expr, slots: &Slots, found: &mut Vec<(FieldId, String)>) {
    match expr {
        Expr::All(parts) | Expr::Any(parts) | Expr::Some(_, parts) => {
            parts.iter().filter(|part| holds(part, slots)).for_each(|part| matched_fields(part, slots, found));
        }
        Expr::Not(_) => {}
        Expr::Test(test) => {
            for seen in slots.get(test.field) {
                let entry = (test.field, shortened(seen.text));
                if value_holds(&test.check, seen) && !found.contains(&entry) {
                    found.push(entry);
                }
            }
        }
    }
}

/// A value short enough to show: whole up to 2,000 bytes.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN: usize = 2_000;
    if text.len() <= SHOWN {
        return text.to_owned();
    }
    let cut = (0..=SHOWN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}… ({} bytes)", &text[..cut], text.len())
}

pub(crate) fn test_holds(test: &Test, slots: &Slots) -> bool {
    match &test.check {
        Check::Exists(wanted) => slots.is_empty(test.field) != *wanted,
        Check::Null => slots.get(test.field).all(|seen| seen.null),
        Check::Text { patterns, all: true, cased } => {
            patterns.iter().all(|pattern| slots.get(test.field).any(|seen| !seen.null && pattern.fits(text(seen, *cased))))
        }
        Check::Regex { patterns, all: true } => {
            patterns.iter().all(|pattern| slots.get(test.field).any(|seen| !seen.null && pattern.is_match(seen.text)))
        }
        Check::SameAs { other, how, cased } => slots.get(test.field).any(|seen| {
            !seen.null && slots.get(*other).any(|other| !other.null && same(text(seen, *cased), text(other, *cased), *how))
        }),
        check => slots.get(test.field).any(|seen| value_holds(check, seen)),
    }
}

fn text(seen: Seen<'_>, cased: bool) -> &str {
    if cased { seen.text } else { seen.folded }
}

fn same(text: &str, other: &str, how: Place) -> bool {
    match how {
        Place::Whole => text == other,
        Place::Start => text.starts_with(other),
        Place::End => text.ends_with(other),
        Place::Anywhere => text.contains(other),
    }
}

/// Whether one value meets a test, alternatives taken singly.
fn value_holds(check: &Check, seen: Seen<'_>) -> bool {
    match check {
        Check::Exists(wanted) => *wanted,
        Check::Null => seen.null,
        _ if seen.null => false,
        Check::Text { patterns, cased, .. } => patterns.iter().any(|pattern| pattern.fits(text(seen, *cased))),
        Check::Regex { patterns, .. } => patterns.iter().any(|pattern| pattern.is_match(seen.text)),
        Check::Network(networks) => {
            address(seen.text).is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
        }
        Check::Number(order, wanted) => {
            number(seen.text).and_then(|number| number.partial_cmp(wanted)).is_some_and(|ordering| order.holds(ordering))
        }
        Check::SameAs { .. } => true,
        Check::TimePart(part, order, wanted) => {
            time_part(seen.text, *part).is_some_and(|value| Order::holds(*order, value.cmp(wanted)))
        }
    }
}

/// An address; one that carries IPv4 inside IPv6 counts as the IPv4 address.
fn address(text: &str) -> Option<IpAddr> {
    Some(text.trim().parse::<IpAddr>().ok()?.to_canonical())
}

fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|number| number as f64),
        None => text.parse().ok(),
    }
}

fn time_part(text: &str, part: Part) -> Option<i64> {
    let text = text.trim();
    let time = match text.parse::<Timestamp>() {
        Ok(stamp) => stamp.to_zoned(TimeZone::UTC).datetime(),
        Err(_) => text.parse::<jiff::civil::DateTime>().ok()?,
    };
    Some(match part {
        Part::Minute => i64::from(time.minute()),
        Part::Hour => i64::from(time.hour()),
        Part::Day => i64::from(time.day()),
        Part::Week => i64::from(time.date().iso_week_date().week()),
        Part::Month => i64::from(time.month()),
        Part::Year => i64::from(time.year()),
    })
}
