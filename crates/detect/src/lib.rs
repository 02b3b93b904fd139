//! Sigma rules against events, as their authors meant them: loaded with every fault named, compiled together, matched in one pass.
//!
//! [`RuleSet`] reads rules, [`Engine`] looks at events with all of them at once, [`Finding`] tells a match in OCSF. This crate knows
//! neither storage nor network.
mod attack; // ATT&CK techniques and tactics by id
mod engine; // all rules against one event
mod finding; // a match as an OCSF Detection Finding
mod load; // rule files, folders, archives
mod sigma; // the rule language
mod yaml; // YAML with line numbers

pub use attack::{Tactic, Technique, VERSION as ATTACK_VERSION, tactic, technique};
pub use engine::{Correlated, Correlator, Engine, Explanation, Hit, Match, Scratch, SearchResult, TestResult};
pub use finding::{Evidence, Finding};
pub use load::{RuleProblem, RuleSet};
pub use sigma::rule::{Level, LogSource, Rule};
