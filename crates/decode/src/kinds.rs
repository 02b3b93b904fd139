use std::collections::BTreeMap;

use crate::DECODERS;

/// The names of [`DECODERS`] for people, alphabetically, families together as in `aws.{alb, cloudtrail}`, in lines of at most `width`
/// characters that start with two blanks.
pub fn kinds(width: usize) -> String {
    let mut families: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in DECODERS {
        let (family, own) = name.split_once('.').unwrap_or((name, ""));
        families.entry(family).or_default().push(own);
    }
    let mut words: Vec<String> = Vec::new();
    for (family, mut own) in families {
        own.sort_unstable();
        match own.as_slice() {
            [] | [""] => words.push(format!("{family},")),
            [one] => words.push(format!("{family}.{one},")),
            // A family's own name, as in `auditd` beside `auditd.laurel`.
            ["", rest @ ..] => {
                words.push(format!("{family},"));
                words.extend(braced(family, rest));
            }
            all => words.extend(braced(family, all)),
        }
    }
    if let Some(last) = words.last_mut() {
        last.pop();
    }
    wrap(&words, width)
}

fn braced(family: &str, names: &[&str]) -> Vec<String> {
    match names {
        [one] => vec![format!("{family}.{one},")],
        [first, between @ .., last] => std::iter::once(format!("{family}.{{{first},"))
            .chain(between.iter().map(|name| format!("{name},")))
            .chain([format!("{last}}},")])
            .collect(),
        [] => Vec::new(),
    }
}

fn wrap(words: &[String], width: usize) -> String {
    let (mut text, mut len) = (String::new(), 0);
    for word in words {
        if len > 0 && len + 1 + word.len() > width {
            text.push('\n');
            len = 0;
        }
        text.push_str(if len == 0 { "  " } else { " " });
        text.push_str(word);
        len += word.len() + if len == 0 { 2 } else { 1 };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decoder_is_in_the_list() {
        let text = kinds(100);
        assert!(text.lines().all(|line| line.starts_with("  ") && line.len() <= 100), "{text}");
        assert!(text.contains("auditd, auditd.laurel, auth0, aws.{alb,"), "{text}");
        // Taken apart again it is the list.
        let mut names = Vec::new();
        let mut family = None;
        for word in text.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty()) {
            let (name, opens) = match word.split_once(".{") {
                Some((prefix, first)) => (format!("{prefix}.{first}"), Some(prefix)),
                None => (family.map_or(word.to_owned(), |family| format!("{family}.{word}")), family),
            };
            family = opens.filter(|_| !word.ends_with('}'));
            names.push(name.trim_end_matches('}').to_owned());
        }
        let mut all: Vec<&str> = DECODERS.to_vec();
        all.sort_unstable();
        names.sort_unstable();
        assert_eq!(names, all);
    }
}
