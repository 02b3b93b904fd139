//! Rules: those given, or those built in.

use std::path::PathBuf;

use reeve_detect::{RuleProblem, RuleSet};

/// Name and text of each rule in `content/rules`.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// Loads rules from files, folders or archives; without any, the built-in ones. What cannot be used is named.
pub(crate) fn load(paths: &[PathBuf]) -> (RuleSet, Vec<RuleProblem>) {
    if paths.is_empty() { RuleSet::from_texts(BUILT_IN.iter().copied()) } else { RuleSet::load(paths) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_rule_is_usable() {
        let (rules, problems) = load(&[]);
        assert!(problems.is_empty(), "unusable built-in rules: {problems:?}");
        assert!(rules.len() >= 60, "only {} built-in rules", rules.len());
    }
}
