//! What a field's name stands for.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use parking_lot::Mutex;
use reeve_ocsf::{Target, aliases};

use super::ast::Named;
use crate::{
    Lake,
    promoted::Kind,
    schema::{BASE, promoted},
};

/// Where the values of a field are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// In these columns, the first that has one. `native` is also looked at in events where none of them has.
    Columns { columns: Vec<(&'static str, Kind)>, native: Option<String> },
    /// In a native field, or an OCSF attribute without a column.
    Native(String),
    /// In the list of observables.
    Observable,
    /// The event's class by name, as in `Process Activity`.
    ClassName,
    /// The severity by name, as in `high`.
    SeverityName,
    /// The text of the event.
    Text,
}

/// Resolves names for one query, and notes those that no event has.
pub(crate) struct Fields<'a> {
    lake: &'a Lake,
    known: Mutex<Option<BTreeSet<String>>>,
    notes: Mutex<Vec<String>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(lake: &'a Lake) -> Self {
        Self { lake, known: Mutex::new(None), notes: Mutex::new(Vec::new()) }
    }

    /// What the caller should show beside the result.
    pub(crate) fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }

    pub(crate) fn note(&self, note: String) {
        let mut notes = self.notes.lock();
        if notes.len() < 20 && !notes.contains(&note) {
            notes.push(note);
        }
    }

    pub(crate) fn resolve(&self, field: &Named) -> Place {
        let name = field.name.as_str();
        match name.to_ascii_lowercase().as_str() {
            "observable" | "observables" => return Place::Observable,
            "class" | "class_name" => return Place::ClassName,
            "severity" | "level" => return Place::SeverityName,
            "raw" | "_raw" | "raw_data" => return Place::Text,
            "_time" | "@timestamp" => return Place::Columns { columns: vec![("time", Kind::Timestamp)], native: None },
            _ => {}
        }
        if let Some(column) = base_column(name) {
            return Place::Columns { columns: vec![column], native: None };
        }
        let own = promoted().any(|column| column.name == name || column.path == name);
        let mut columns = Vec::new();
        let mut native = None;
        let mut attribute = None;
        for target in aliases(name) {
            match target {
                Target::Ocsf(path) => match column_at(path) {
                    Some(column) => columns.push(column),
                    None => attribute = attribute.or(Some(path)),
                },
                Target::Native(name) => native = native.or(Some(name)),
            }
        }
        if !columns.is_empty() {
            return Place::Columns { columns, native: native.filter(|_| !own) };
        }
        if let Some(path) = attribute {
            return Place::Native(path.to_owned());
        }
        let name = native.unwrap_or_else(|| name.to_owned());
        self.suggest(&name);
        Place::Native(name)
    }

    /// Notes a native name that no event has, with the nearest one that some have.
    fn suggest(&self, name: &str) {
        let mut known = self.known.lock();
        let known = known.get_or_insert_with(|| self.lake.native_names());
        if known.iter().any(|seen| crate::native::is_named(seen, name)) {
            return;
        }
        let flat = promoted().map(|column| column.path);
        let lasts = known.iter().map(|seen| seen.rsplit('.').next().unwrap_or(seen));
        let note = match nearest(name, flat.chain(lasts).chain(known.iter().map(String::as_str))) {
            Some(near) => format!("no event has a field `{name}`; did you mean `{near}`?"),
            None => format!("no event has a field `{name}`"),
        };
        self.note(note);
    }
}

fn base_column(name: &str) -> Option<(&'static str, Kind)> {
    let field = BASE.iter().find(|field| field.name() == name)?;
    let kind = match field.data_type() {
        DataType::Utf8 => Kind::Text,
        DataType::Timestamp(..) => Kind::Timestamp,
        DataType::Int32 | DataType::Int64 => Kind::Integer,
        _ => return None,
    };
    Some((field.name().as_str(), kind))
}

fn column_at(path: &str) -> Option<(&'static str, Kind)> {
    base_column(path).or_else(|| promoted().find(|column| column.path == path).map(|column| (column.name, column.kind)))
}

/// The name nearest to `wanted`, if near enough to be meant.
pub(super) fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = wanted.to_ascii_lowercase();
    let limit = 1 + wanted.chars().count() / 4;
    names
        .filter(|name| name.len().abs_diff(wanted.len()) <= limit)
        .map(|name| (distance(&wanted, &name.to_ascii_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Edits between two names, swaps of neighbours counting two.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(200).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(200).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.iter().enumerate() {
            let cost = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
