//! A checkpoint kept elsewhere: the log must still hold what that one covered.
use std::path::Path;

use reeve_record::{Hash, leaf_hash};

use super::{Fault, RecordRange, Report, whole};
use crate::{
    Disk, Statement,
    main_log::read_entries,
    note::{Checkpoint, VerifierKey},
    tree,
};

/// Checks that the log in `dir` continues the signed checkpoint `note`: it has at least as many entries, and the first of them give its root.
pub(super) fn check(
    disk: &dyn Disk,
    dir: &Path,
    key: Option<&VerifierKey>,
    note: &str,
    statements: &[Option<Statement>],
    report: &mut Report,
) {
    let seen = key.ok_or_else(|| "there is no key to check it with".to_owned()).and_then(|key| Checkpoint::open(note, key));
    let problem = match &seen {
        Err(reason) => Some((format!("the checkpoint kept elsewhere {reason}"), every(statements))),
        Ok(seen) if seen.size > report.log_size => {
            let what = format!(
                "the log has {} entries and had {} when the checkpoint kept elsewhere was signed",
                report.log_size, seen.size
            );
            let from = RecordRange { segment: statements.len() as u32, first: 0, count: u32::MAX };
            Some((what, vec![from]))
        }
        Ok(seen) if root(disk, dir, seen.size) != Some(seen.root) => {
            let what = format!("its first {} entries are not those of the checkpoint kept elsewhere", seen.size);
            Some((what, every(statements)))
        }
        Ok(_) => None,
    };
    if let Some((what, records)) = problem {
        let hint = "the log was rolled back or written anew: look for the one the kept checkpoint belongs to".into();
        report.faults.push(Fault { code: "LEDGER-035", what, place: "log/checkpoint".into(), records, hint });
    }
}

fn every(statements: &[Option<Statement>]) -> Vec<RecordRange> {
    (0..).zip(statements).map(|(segment, statement)| whole(segment, statement.as_ref())).collect()
}

/// Root over the first `size` stored entries, if they can be read.
fn root(disk: &dyn Disk, dir: &Path, size: u64) -> Option<Hash> {
    let mut leaves = Vec::new();
    let take = |_, entry: &[u8]| {
        leaves.push(leaf_hash(entry));
        Ok(())
    };
    read_entries(disk, &dir.join("log"), size, take).ok()?;
    Some(tree::root(&leaves))
}
