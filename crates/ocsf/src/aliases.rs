//! One thing, many names: OCSF paths, ECS names and the sources' own, in one table.

use std::{collections::HashMap, sync::LazyLock};

use crate::columns::Column;

/// A place that a name stands for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// An OCSF attribute path.
    Ocsf(&'static str),
    /// A native field, by the source's own name; also the part after its last dots (`EventData.X` is found as `X`).
    Native(String),
}

/// Where the name of a field may be found: the OCSF paths it stands for, then the native field of that very name.
///
/// Accepts an OCSF path (`process.cmd_line`), its flat column name (`process_cmd_line`), an ECS name (`process.command_line`) or
/// a native one (`CommandLine`), the last three in any case. A prefix of a native name is dropped: `winlog.event_data.Image` is `Image`.
pub fn aliases(name: &str) -> Vec<Target> {
    let lower = name.to_ascii_lowercase();
    let short = PREFIXES.iter().find_map(|prefix| lower.starts_with(prefix).then(|| &name[prefix.len()..])).unwrap_or(name);
    let mut targets = Vec::new();
    let mut add = |target| {
        if !targets.contains(&target) {
            targets.push(target);
        }
    };
    // An exact OCSF path stands for itself alone before it stands for what others call by that name.
    if let Some(column) = Column::find(&lower) {
        add(Target::Ocsf(column.path));
    } else if short.len() == name.len()
        && let Some(path) = schema_path(&lower)
    {
        add(Target::Ocsf(path));
    }
    for key in [lower.as_str(), &lower[lower.len() - short.len()..]] {
        TABLE.names.get(key).into_iter().flatten().for_each(|path| add(Target::Ocsf(path)));
    }
    add(Target::Native(short.to_owned()));
    targets
}

/// The other names of an OCSF path, for help texts: ECS first, then native ones.
pub fn names_of(path: &str) -> Vec<&'static str> {
    TABLE.of.get(path).cloned().unwrap_or_default()
}

/// Every entry's OCSF path with its other names, in the table's order.
pub fn all() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    TABLE.order.iter().map(|path| (*path, TABLE.of.get(path).map_or(&[][..], Vec::as_slice)))
}

/// Where shippers put a Windows event's own data.
const PREFIXES: &[&str] =
    &["winlog.event_data.", "winlog.user_data.", "event.eventdata.", "eventdata.", "event_data.", "event.system.", "native."];

struct Table {
    names: HashMap<String, Vec<&'static str>>,
    of: HashMap<&'static str, Vec<&'static str>>,
    order: Vec<&'static str>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    ocsf: Vec<String>,
    #[serde(default)]
    ecs: Vec<String>,
    #[serde(default)]
    native: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    alias: Vec<Entry>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    // The file is ours and a test reads it: a mistake in it cannot leave the build.
    let file: File = toml::from_str(include_str!("../mappings/aliases.toml")).unwrap_or(File { alias: Vec::new() });
    let mut table = Table { names: HashMap::new(), of: HashMap::new(), order: Vec::new() };
    for entry in file.alias {
        let paths: Vec<&'static str> = entry.ocsf.into_iter().map(|path| &*path.leak()).collect();
        let others: Vec<&'static str> = entry.ecs.into_iter().chain(entry.native).map(|name| &*name.leak()).collect();
        for other in &others {
            let known = table.names.entry(other.to_ascii_lowercase()).or_default();
            paths
                .iter()
                .filter(|path| !known.contains(path))
                .copied()
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|path| known.push(path));
        }
        for path in paths {
            if !table.of.contains_key(path) {
                table.order.push(path);
            }
            table.of.entry(path).or_default().extend(&others);
        }
    }
    table
});

/// A path that some class knows although it has no column of its own; interned on first use.
fn schema_path(path: &str) -> Option<&'static str> {
    static KNOWN: LazyLock<std::sync::Mutex<HashMap<String, Option<&'static str>>>> = LazyLock::new(Default::default);
    if !path.contains('.') || path.len() > 200 {
        return None;
    }
    let mut known = KNOWN.lock().ok()?;
    if let Some(found) = known.get(path) {
        return *found;
    }
    // Bounded: names come from people's queries, and what is kept must not grow with them.
    if known.len() >= 4096 {
        return None;
    }
    let found = crate::classes().iter().any(|class| class.attribute(path).is_some());
    let found = found.then(|| -> &'static str { path.to_owned().leak() });
    known.insert(path.to_owned(), found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_schools_one_thing() {
        for name in [
            "process.cmd_line",
            "process_cmd_line",
            "process.command_line",
            "CommandLine",
            "commandline",
            "winlog.event_data.CommandLine",
        ] {
            assert_eq!(aliases(name).first(), Some(&Target::Ocsf("process.cmd_line")), "{name}");
        }
        assert!(aliases("winlog.event_data.CommandLine").contains(&Target::Native("CommandLine".into())));
        assert!(aliases("user.name").starts_with(&[Target::Ocsf("user.name"), Target::Ocsf("actor.user.name")]));
        assert_eq!(aliases("SomethingOfTheirs"), [Target::Native("SomethingOfTheirs".into())]);
        assert_eq!(aliases("process.file.hashes").first(), Some(&Target::Ocsf("process.file.hashes")));
    }

    #[test]
    fn every_entry_names_attributes_that_exist() {
        let file: File = toml::from_str(include_str!("../mappings/aliases.toml")).expect("aliases.toml");
        for path in file.alias.iter().flat_map(|entry| &entry.ocsf) {
            assert!(crate::classes().iter().any(|class| class.attribute(path).is_some()), "{path}");
        }
    }
}
