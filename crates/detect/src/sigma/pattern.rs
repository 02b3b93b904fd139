//! Sigma's text patterns: `*` and `?` with backslash escapes, matched without regard to case unless told otherwise.

/// A compiled pattern. Lower case unless it is matched by case.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pattern {
    /// Nothing but wildcards: any text that is not empty.
    Something,
    Equals(String),
    Starts(String),
    Ends(String),
    Contains(String),
    /// Pieces of literal text and wildcards.
    Glob(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    /// `?`: exactly one character.
    One,
    /// `*`: any run of characters, also none.
    Many,
}

/// Reads a value with wildcards. A backslash makes a following `*`, `?` or backslash literal and is itself literal before anything else.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut escaped = false;
    for c in text.chars() {
        if escaped {
            if !matches!(c, '*' | '?' | '\\') {
                literal.push('\\');
            }
            literal.push(c);
            escaped = false;
            continue;
        }
        match c {
            '\\' => escaped = true,
            '*' | '?' => {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(if c == '*' { Piece::Many } else { Piece::One });
            }
            _ => literal.push(c),
        }
    }
    if escaped {
        literal.push('\\');
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    pieces
}

impl Pattern {
    /// Compiles pieces; folds case unless `cased`.
    pub(crate) fn new(pieces: Vec<Piece>, cased: bool) -> Self {
        let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match (joined.last_mut(), piece) {
                (Some(Piece::Many), Piece::Many) => {}
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&fold(text, cased)),
                (_, Piece::Text(text)) => joined.push(Piece::Text(fold(text, cased))),
                (_, piece) => joined.push(piece),
            }
        }
        match joined.as_mut_slice() {
            [] => Pattern::Equals(String::new()),
            [Piece::Many] => Pattern::Something,
            [Piece::Text(text)] => Pattern::Equals(std::mem::take(text)),
            [Piece::Text(text), Piece::Many] => Pattern::Starts(std::mem::take(text)),
            [Piece::Many, Piece::Text(text)] => Pattern::Ends(std::mem::take(text)),
            [Piece::Many, Piece::Text(text), Piece::Many] => Pattern::Contains(std::mem::take(text)),
            _ => Pattern::Glob(joined),
        }
    }

    /// Whether `text` fits, the text being folded already unless the pattern is matched by case.
    pub(crate) fn fits(&self, text: &str) -> bool {
        match self {
            Pattern::Something => !text.is_empty(),
            // Windows pads some values with blanks: an exact value also fits the text without them.
            Pattern::Equals(want) => text == want || text.trim_end() == want,
            Pattern::Starts(want) => text.starts_with(want.as_str()),
            Pattern::Ends(want) => text.ends_with(want.as_str()) || text.trim_end().ends_with(want.as_str()),
            Pattern::Contains(want) => memchr::memmem::find(text.as_bytes(), want.as_bytes()).is_some(),
            Pattern::Glob(pieces) => glob(pieces, text) || (text.ends_with(' ') && glob(pieces, text.trim_end())),
        }
    }

    /// The longest piece of text that any fitting text holds.
    pub(crate) fn longest_literal(&self) -> Option<&str> {
        match self {
            Pattern::Something => None,
            Pattern::Equals(text) | Pattern::Starts(text) | Pattern::Ends(text) | Pattern::Contains(text) => Some(text.as_str()),
            Pattern::Glob(pieces) => pieces
                .iter()
                .filter_map(|piece| if let Piece::Text(text) = piece { Some(text.as_str()) } else { None })
                .max_by_key(|text| text.len()),
        }
        .filter(|text| !text.trim().is_empty())
    }
}

fn fold(text: String, cased: bool) -> String {
    if cased { text } else { text.to_lowercase() }
}

/// Wildcard matching that goes back to the last `*` only: linear in practice, quadratic at worst, never exponential.
fn glob(pieces: &[Piece], text: &str) -> bool {
    let (mut piece, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pieces.get(piece) {
            None if at == text.len() => return true,
            None => None,
            Some(Piece::Many) => {
                if piece + 1 == pieces.len() {
                    return true;
                }
                retry = Some((piece, at));
                Some(0)
            }
            Some(Piece::One) => text[at..].chars().next().map(char::len_utf8),
            Some(Piece::Text(want)) => text[at..].starts_with(want.as_str()).then_some(want.len()),
        };
        if let Some(length) = step {
            at += length;
            piece += 1;
            continue;
        }
        let Some((star, from)) = retry else { return false };
        let Some(next) = next_try(&pieces[star + 1..], text, from) else { return false };
        retry = Some((star, next));
        (piece, at) = (star + 1, next);
    }
}

/// Where what follows a `*` may begin after `from`: the next occurrence of its text, else the next character.
fn next_try(rest: &[Piece], text: &str, from: usize) -> Option<usize> {
    let step = text[from..].chars().next()?.len_utf8();
    match rest {
        [Piece::Text(want), ..] => {
            memchr::memmem::find(&text.as_bytes()[from + step..], want.as_bytes()).map(|found| from + step + found)
        }
        _ => Some(from + step),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::new(pieces(pattern), false).fits(&text.to_lowercase())
    }

    #[test]
    fn wildcards_and_escapes() {
        assert!(fits(r"*\cmd.exe", r"C:\Windows\CMD.EXE"));
        assert!(fits(r"C:\\*\a?c", r"c:\x\y\abc"));
        assert!(!fits(r"a?c", "ac"));
        assert!(fits(r"a\*c", "a*c"));
        assert!(!fits(r"a\*c", "abc"));
        assert!(fits(r"\\\\server\\*", r"\\server\share"));
        assert!(fits(r"a\\*", r"a\b"));
        assert!(fits("*ÄÖ*", "xäöx"));
        assert!(fits("a*b*c", "aXbXbXc"));
        assert!(!fits("a*b*c?", "aXbXc"));
        assert!(fits("NtLmSsp", "NtLmSsp "));
        assert!(fits("*", "x") && !fits("*", ""));
        assert!(fits("", "") && !fits("", "x"));
        assert!(fits("*é?", "aéß"));
    }

    /// The textbook definition, exponential and obvious.
    fn slow(pieces: &[Piece], text: &str) -> bool {
        match pieces.split_first() {
            None => text.is_empty(),
            Some((Piece::Text(want), rest)) => text.strip_prefix(want.as_str()).is_some_and(|text| slow(rest, text)),
            Some((Piece::One, rest)) => text.chars().next().is_some_and(|c| slow(rest, &text[c.len_utf8()..])),
            Some((Piece::Many, rest)) => {
                (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| slow(rest, &text[at..]))
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let parsed = pieces(&pattern);
            let compiled = Pattern::new(parsed.clone(), false);
            // `*` alone asks for something, by Sigma's reading of it.
            let expected = if compiled == Pattern::Something { !text.is_empty() } else { slow(&parsed, &text) };
            prop_assert_eq!(compiled.fits(&text), expected);
        }

        #[test]
        fn any_text_compiles(pattern in "\\PC{0,40}", text in "\\PC{0,40}") {
            Pattern::new(pieces(&pattern), false).fits(&text.to_lowercase());
        }
    }
}
