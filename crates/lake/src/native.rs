//! Native fields: dotted paths of the source's own document, list positions included, with their values as text.

use arrow::{
    array::{Array, AsArray, MapArray, StringArray},
    datatypes::Int32Type,
};

/// The native fields of a batch. A name stands once in the batch and rows refer to it, so a name is looked at once a batch, not once a row.
pub(crate) struct Natives<'a> {
    offsets: &'a [i32],
    ids: &'a [i32],
    /// Each name; the same one may stand more than once where batches were joined.
    pub(crate) names: &'a StringArray,
    /// All values, in order of row.
    pub(crate) values: &'a StringArray,
}

impl<'a> Natives<'a> {
    /// The column's parts; `None` if it is not of the type events are kept with.
    pub(crate) fn of(column: &'a MapArray) -> Option<Self> {
        let keys = column.keys().as_dictionary_opt::<Int32Type>()?;
        Some(Self {
            offsets: column.value_offsets(),
            ids: keys.keys().values(),
            names: keys.values().as_string_opt()?,
            values: column.values().as_string_opt()?,
        })
    }

    /// Places of a row's fields in [`Natives::values`].
    pub(crate) fn entries(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    /// The name of the field at this place.
    pub(crate) fn name(&self, place: usize) -> &'a str {
        self.names.value(self.id(place))
    }

    /// For each of [`Natives::names`] whether a user means it by `name`.
    pub(crate) fn meant(&self, name: &str) -> Vec<bool> {
        self.names.iter().map(|known| known.is_some_and(|known| is_named(known, name))).collect()
    }

    /// The values of a row's fields that [`Natives::meant`] marked.
    pub(crate) fn values_of<'m>(&'m self, row: usize, meant: &'m [bool]) -> impl Iterator<Item = &'a str> + 'm {
        self.entries(row)
            .filter(move |&place| meant[self.id(place)] && self.values.is_valid(place))
            .map(|place| self.values.value(place))
    }

    fn id(&self, place: usize) -> usize {
        // A dictionary's ids are checked to be within it when the array is made.
        self.ids[place] as usize
    }
}

/// Writes `key` without the components that are list positions, as `PATH.name` for `PATH.0.name`.
pub(crate) fn without_indexes(key: &str, out: &mut String) {
    out.clear();
    for part in key.split('.').filter(|part| !is_index(part)) {
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(part);
    }
}

/// Whether `key` is the field a user means by `name`: the whole path or its end, in any letter case. List positions in
/// `key` count only if `name` has some too.
pub(crate) fn is_named(key: &str, name: &str) -> bool {
    if key.len() < name.len() {
        return false;
    }
    if key.eq_ignore_ascii_case(name) {
        return true;
    }
    let with_indexes = name.split('.').any(is_index);
    let mut parts = key.rsplit('.').filter(|part| with_indexes || !is_index(part));
    name.rsplit('.').all(|wanted| parts.next().is_some_and(|part| part.eq_ignore_ascii_case(wanted)))
}

fn is_index(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_end_of_a_path() {
        assert!(is_named("Event.EventData.CommandLine", "CommandLine"));
        assert!(is_named("Event.EventData.CommandLine", "eventdata.commandline"));
        assert!(is_named("PATH.0.name", "PATH.name"));
        assert!(is_named("PATH.0.name", "PATH.0.name"));
        assert!(!is_named("PATH.1.name", "PATH.0.name"));
        assert!(is_named("types.0", "types"));
        assert!(!is_named("Event.EventData.ParentCommandLine", "CommandLine"));
        assert!(is_named("id.orig_h", "id.orig_h"));
    }
}
