//! Names of native fields: dotted paths of the source's own document, list positions included.

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
