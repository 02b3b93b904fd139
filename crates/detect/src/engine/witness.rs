//! The rarest text that must stand in an event for a rule to match: what decides which rules are looked at closely.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::sigma::item::{Check, Expr, FieldId, Test};

/// Texts in lower case of which at least one must occur in its field.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) texts: Vec<(FieldId, String)>,
    /// Higher is rarer.
    score: f32,
}

/// The best witness of a condition; `None` if it can hold without any text.
pub(crate) fn of(expr: &Expr) -> Option<Witness> {
    match expr {
        Expr::All(parts) => parts.iter().filter_map(of).max_by(|a, b| a.score.total_cmp(&b.score)),
        Expr::Any(parts) | Expr::Some(_, parts) => union(parts.iter().map(of)),
        Expr::Not(_) => None,
        Expr::Test(test) => of_test(test),
    }
}

fn of_test(test: &Test) -> Option<Witness> {
    let single = |text: String| Witness { score: rarity(&text), texts: vec![(test.field, text)] };
    let best = |found: Vec<Option<Witness>>, all: bool| {
        if all { found.into_iter().flatten().max_by(|a, b| a.score.total_cmp(&b.score)) } else { union(found.into_iter()) }
    };
    match &test.check {
        Check::Text { patterns, all, .. } => {
            let found =
                patterns.iter().map(|pattern| pattern.longest_literal().map(|text| single(text.to_lowercase()))).collect();
            best(found, *all)
        }
        Check::Regex { patterns, all } => {
            let found = patterns
                .iter()
                .map(|pattern| union(regex_texts(pattern.as_str())?.into_iter().map(|text| Some(single(text)))))
                .collect();
            best(found, *all)
        }
        _ => None,
    }
}

fn union(parts: impl Iterator<Item = Option<Witness>>) -> Option<Witness> {
    let mut joined = Witness { texts: Vec::new(), score: f32::MAX };
    for part in parts {
        let part = part?;
        joined.score = joined.score.min(part.score);
        for text in part.texts {
            if !joined.texts.contains(&text) {
                joined.texts.push(text);
            }
        }
    }
    joined.score -= (joined.texts.len() as f32).ln() / 2.0;
    (!joined.texts.is_empty()).then_some(joined)
}

/// How much a text tells rules apart: its length, discounted where ordinary events are full of it.
fn rarity(text: &str) -> f32 {
    const COMMON: &[&str] = &[
        "c:\\windows\\system32\\",
        "c:\\windows\\syswow64\\",
        "c:\\program files (x86)\\",
        "c:\\program files\\",
        "c:\\users\\",
        "\\appdata\\local\\",
        "\\powershell.exe",
        "\\pwsh.exe",
        "\\cmd.exe",
        "\\svchost.exe",
        "\\explorer.exe",
        "\\rundll32.exe",
        "\\services.exe",
        "\\microsoft\\windows\\",
        "\\currentversion\\",
        "\\software\\microsoft\\",
        "hklm\\software\\",
        "https://",
        "http://",
        "microsoft",
        "powershell.exe",
        "/usr/bin/",
        "/bin/bash",
        "0x0",
        "true",
        "false",
        "success",
        ".exe",
        ".dll",
        "execve",
        "syscall",
        "path",
        " -",
        "setvalue",
        "system",
        "get",
        "post",
        "amazonaws.com",
    ];
    let length = (text.len() as f32).min(24.0);
    if COMMON.iter().any(|common| common.contains(text)) { length / 4.0 } else { length }
}

/// Texts of which every match of a regular expression holds at least one, in lower case.
fn regex_texts(pattern: &str) -> Option<Vec<String>> {
    let hir = regex_syntax::ParserBuilder::new().build().parse(pattern).ok()?;
    needed(&hir).filter(|texts| texts.iter().all(|text| text.len() >= 2) && texts.len() <= 64)
}

fn needed(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Literal(_) | HirKind::Class(_) => Some(vec![fixed(hir)?]),
        HirKind::Capture(capture) => needed(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => needed(&repetition.sub),
        HirKind::Alternation(parts) => {
            let all: Option<Vec<Vec<String>>> = parts.iter().map(needed).collect();
            Some(all?.into_iter().flatten().collect())
        }
        HirKind::Concat(parts) => {
            let mut best: Option<Vec<String>> = None;
            let mut run = String::new();
            for part in parts {
                match fixed(part) {
                    Some(text) => run.push_str(&text),
                    None => {
                        better(&mut best, std::mem::take(&mut run));
                        if let Some(texts) = needed(part) {
                            best = Some(longer(best, texts));
                        }
                    }
                }
            }
            better(&mut best, run);
            best
        }
        _ => None,
    }
}

fn better(best: &mut Option<Vec<String>>, run: String) {
    if !run.is_empty() {
        *best = Some(longer(best.take(), vec![run]));
    }
}

fn longer(best: Option<Vec<String>>, other: Vec<String>) -> Vec<String> {
    let shortest = |texts: &[String]| texts.iter().map(String::len).min().unwrap_or(0);
    match best {
        Some(best) if shortest(&best) >= shortest(&other) => best,
        _ => other,
    }
}

/// The one text, in lower case, that this part always is; classes of one letter in both cases count.
fn fixed(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(std::str::from_utf8(&literal.0).ok()?.to_lowercase()),
        HirKind::Capture(capture) => fixed(&capture.sub),
        HirKind::Class(Class::Unicode(class)) => {
            let mut letters = class.iter().flat_map(|range| range.start()..=range.end()).take(5);
            let first = letters.next()?.to_ascii_lowercase();
            let same = |c: char| {
                c.to_ascii_lowercase() == first
                    || (!c.is_ascii() && c.to_uppercase().eq(first.to_uppercase()))
                    || c.to_lowercase().eq([first])
            };
            letters.all(same).then(|| first.to_lowercase().collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regexes_give_their_longest_needed_text() {
        assert_eq!(regex_texts(r"\w+Invoke-(Mimikatz|Kittenz)\s"), Some(vec!["invoke-".into()]));
        assert_eq!(regex_texts(r"(?i)certutil.*-urlcache"), Some(vec!["-urlcache".into()]));
        assert_eq!(regex_texts(r"a|b"), None);
        assert_eq!(regex_texts(r"(abc)?x{3,}"), None);
    }
}
