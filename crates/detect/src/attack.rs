//! ATT&CK names by id, for findings: compact tables of Enterprise 18.1.

use std::{collections::HashMap, sync::LazyLock};

/// The version of ATT&CK the names are from.
pub const VERSION: &str = "18.1";

/// A technique or sub-technique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Technique {
    /// As in `T1059.001`.
    pub uid: &'static str,
    /// As in `PowerShell`.
    pub name: &'static str,
    /// The tactics it serves.
    pub tactics: Vec<&'static Tactic>,
}

/// A tactic: what an adversary wants to achieve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tactic {
    /// As in `TA0002`.
    pub uid: &'static str,
    /// As in `Execution`.
    pub name: &'static str,
    /// As in `execution`.
    pub short: &'static str,
}

const fn entry(uid: &'static str, short: &'static str, name: &'static str) -> Tactic {
    Tactic { uid, name, short }
}

/// In the order of the matrix.
static TACTICS: [Tactic; 14] = [
    entry("TA0043", "reconnaissance", "Reconnaissance"),
    entry("TA0042", "resource-development", "Resource Development"),
    entry("TA0001", "initial-access", "Initial Access"),
    entry("TA0002", "execution", "Execution"),
    entry("TA0003", "persistence", "Persistence"),
    entry("TA0004", "privilege-escalation", "Privilege Escalation"),
    entry("TA0005", "defense-evasion", "Defense Evasion"),
    entry("TA0006", "credential-access", "Credential Access"),
    entry("TA0007", "discovery", "Discovery"),
    entry("TA0008", "lateral-movement", "Lateral Movement"),
    entry("TA0009", "collection", "Collection"),
    entry("TA0011", "command-and-control", "Command and Control"),
    entry("TA0010", "exfiltration", "Exfiltration"),
    entry("TA0040", "impact", "Impact"),
];

static TECHNIQUES: LazyLock<HashMap<&'static str, Technique>> = LazyLock::new(|| {
    let lines = include_str!("attack.tsv").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut cells = line.split('\t');
            let (uid, name, tactics) = (cells.next()?, cells.next()?, cells.next()?);
            Some((uid, Technique { uid, name, tactics: tactics.split(',').filter_map(tactic).collect() }))
        })
        .collect()
});

/// The technique with this id, in any case.
pub fn technique(uid: &str) -> Option<&'static Technique> {
    TECHNIQUES.get(uid.to_ascii_uppercase().as_str())
}

/// The tactic with this id or name, as in `TA0002`, `execution` or `defense_evasion`.
pub fn tactic(name: &str) -> Option<&'static Tactic> {
    let short = name.to_ascii_lowercase().replace('_', "-");
    // SigmaHQ already writes the tactics that the next version splits defence evasion into.
    let short = if matches!(short.as_str(), "stealth" | "defense-impairment") { "defense-evasion".to_owned() } else { short };
    TACTICS.iter().find(|tactic| tactic.short == short || tactic.uid.eq_ignore_ascii_case(name))
}

/// The techniques and tactics among a rule's tags: each technique under the tactics the rule names for it, else its first own.
pub(crate) fn of_tags(tags: &[String]) -> Vec<(Option<&'static Technique>, Option<&'static Tactic>)> {
    let names = || tags.iter().filter_map(|tag| tag.strip_prefix("attack."));
    let tactics: Vec<&Tactic> = names().filter_map(tactic).collect();
    let techniques: Vec<&Technique> = names().filter_map(technique).collect();
    let mut pairs = Vec::new();
    for technique in &techniques {
        let named: Vec<&Tactic> = technique.tactics.iter().copied().filter(|tactic| tactics.contains(tactic)).collect();
        if named.is_empty() {
            pairs.push((Some(*technique), technique.tactics.first().copied()));
        }
        pairs.extend(named.into_iter().map(|tactic| (Some(*technique), Some(tactic))));
    }
    for tactic in tactics {
        if !pairs.iter().any(|(_, known)| *known == Some(tactic)) {
            pairs.push((None, Some(tactic)));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_techniques_with_their_tactics() {
        let tags = ["attack.execution", "attack.t1059.001", "attack.t1003", "cve.2020-1"].map(String::from);
        let pairs = of_tags(&tags);
        assert_eq!(pairs[0].0.unwrap().name, "PowerShell");
        assert_eq!(pairs[0].1.unwrap().uid, "TA0002");
        assert_eq!(pairs[1].1.unwrap().name, "Credential Access");
        assert_eq!(tactic("defense_evasion").unwrap().uid, "TA0005");
        assert_eq!(technique("t1003.001").unwrap().name, "LSASS Memory");
    }
}
