//! What rule files may do wrong, and what correlations count.
#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use reeve_decode::{Decoder, Hint};
use reeve_detect::{Engine, Finding, RuleSet, Scratch};

const FAILED: &str = "title: failed\nname: failed\nid: f\nlogsource: {product: windows, service: security}\ndetection:\n  s: {EventID: 4625}\n  condition: s\n";

fn correlated(correlation: &str, events: &[(&str, &str, u32)]) -> usize {
    let text = format!(
        "{FAILED}---\ntitle: worked\nname: worked\nid: w\nlogsource: {{product: windows, service: security}}\ndetection:\n  s: {{EventID: 4624}}\n  condition: s\n---\n{correlation}"
    );
    let (set, problems) = RuleSet::from_texts([("t.yml", text.as_str())]);
    assert!(problems.is_empty(), "{problems:?}");
    let engine = Engine::new(&set);
    let mut scratch = Scratch::new();
    let mut found = 0;
    for (at, user, id) in events {
        let raw =
            format!(r#"{{"Channel":"Security","EventID":{id},"TargetUserName":"{user}","EventTime":"2024-01-01T00:{at}Z"}}"#);
        Decoder::new(Hint::default()).feed(1, 1, raw.as_bytes(), Timestamp::UNIX_EPOCH, &mut |parsed| {
            engine.evaluate(&parsed, &mut scratch, &mut |one| found += usize::from(one.rule.is_correlation()));
        });
    }
    found
}

#[test]
fn event_count_counts_within_its_window_and_group() {
    let rule = "title: c\nid: c\ncorrelation:\n  type: event_count\n  rules: [failed]\n  group-by: [TargetUserName]\n  timespan: 1m\n  condition: {gte: 3}\n";
    assert_eq!(correlated(rule, &[("00:00", "a", 4625), ("00:10", "a", 4625), ("00:20", "a", 4625)]), 1);
    assert_eq!(correlated(rule, &[("00:00", "a", 4625), ("00:10", "b", 4625), ("00:20", "a", 4625)]), 0);
    assert_eq!(correlated(rule, &[("00:00", "a", 4625), ("00:40", "a", 4625), ("01:20", "a", 4625)]), 0);
}

#[test]
fn value_count_counts_distinct_values() {
    let rule = "title: c\nid: c\ncorrelation:\n  type: value_count\n  rules: [failed]\n  timespan: 1m\n  condition: {gte: 2, field: TargetUserName}\n";
    assert_eq!(correlated(rule, &[("00:00", "a", 4625), ("00:10", "a", 4625)]), 0);
    assert_eq!(correlated(rule, &[("00:00", "a", 4625), ("00:10", "b", 4625)]), 1);
}

#[test]
fn temporal_wants_all_rules_and_ordered_their_order() {
    let rule = |kind: &str| {
        format!(
            "title: c\nid: c\ncorrelation:\n  type: {kind}\n  rules: [failed, worked]\n  group-by: [TargetUserName]\n  timespan: 1m\n"
        )
    };
    assert_eq!(correlated(&rule("temporal"), &[("00:00", "a", 4625), ("00:01", "a", 4625)]), 0);
    assert_eq!(correlated(&rule("temporal"), &[("00:00", "a", 4624), ("00:01", "a", 4625)]), 1);
    assert_eq!(correlated(&rule("temporal_ordered"), &[("00:00", "a", 4624), ("00:01", "a", 4625)]), 0);
    assert_eq!(correlated(&rule("temporal_ordered"), &[("00:00", "a", 4625), ("00:01", "a", 4624)]), 1);
}

#[test]
fn one_bad_rule_never_stops_the_others() {
    let bad = [
        ("a.yml", "title: a\nlogsource: {product: windows}\ndetection:\n  s:\n    F|nope: x\n  condition: s\n", 5, "`nope`"),
        ("b.yml", "title: b\nlogsource: {product: windows}\ndetection:\n  s: {F: x}\n  condition: t\n", 5, "`t`"),
        ("c.yml", "title: c\nlogsource: [\n", 3, "YAML"),
        (
            "d.yml",
            "title: d\nlogsource: {product: windows}\ndetection:\n  s:\n    F|re: '(['\n  condition: s\n",
            5,
            "regular expression",
        ),
    ];
    let texts = bad.iter().map(|(name, text, ..)| (*name, *text)).chain([("good.yml", FAILED)]);
    let (set, problems) = RuleSet::from_texts(texts);
    assert_eq!(set.len(), 1);
    assert_eq!(problems.len(), bad.len());
    for ((name, _, line, reason), problem) in bad.iter().zip(&problems) {
        assert_eq!(problem.path, *name);
        assert!(problem.reason.contains(reason), "{problem}");
        assert!(problem.line.abs_diff(*line) <= 1, "{problem}");
    }
}

#[test]
fn a_finding_names_its_rule_record_and_technique() {
    let text = FAILED.replace("id: f\n", "id: f\nlevel: high\nauthor: Ada\ntags: [attack.credential-access, attack.t1110.001]\n");
    let (set, _) = RuleSet::from_texts([("t.yml", text.as_str())]);
    let engine = Engine::new(&set);
    let raw = r#"{"Channel":"Security","EventID":4625,"Computer":"dc1","EventTime":"2024-01-01T00:00:00Z"}"#;
    let mut findings = Vec::new();
    Decoder::new(Hint::default()).feed(7, 7, raw.as_bytes(), Timestamp::UNIX_EPOCH, &mut |parsed| {
        engine.evaluate(&parsed, &mut Scratch::new(), &mut |found| {
            findings.push(Finding::new(found.rule, &parsed, "x.json", parsed.number.into(), found.fields).to_ocsf());
        });
    });
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(finding["finding_info"]["analytic"]["uid"], "f");
    assert_eq!(finding["finding_info"]["attacks"][0]["sub_technique"]["uid"], "T1110.001");
    assert_eq!(finding["evidences"][0]["data"]["source"], "x.json");
    assert_eq!(finding["evidences"][0]["data"]["record"], 7);
    assert_eq!(finding["severity_id"], 4);
    assert_eq!(finding["unmapped"]["rule"]["author"], "Ada");
    assert_eq!(reeve_ocsf::validate(finding), Vec::new());
}
