//! The condition language: names of searches joined by `and`, `or`, `not`, brackets and `1 of` / `all of`.

/// A condition over searches, given by their index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    Search(usize),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// At least so many of them.
    Some(usize, Vec<Condition>),
    Not(Box<Condition>),
}

/// How deep brackets and `not` may nest.
const DEPTH_MAX: usize = 64;

/// Reads a condition; `searches` are the names it may use.
pub(crate) fn parse(text: &str, searches: &[String]) -> Result<Condition, String> {
    if text.contains('|') {
        return Err("aggregation after `|` was removed from Sigma: write it as a correlation rule".into());
    }
    let mut reader = Reader { tokens: tokens(text), at: 0, searches };
    let condition = reader.any(0)?;
    match reader.peek() {
        None => Ok(condition),
        Some(token) => Err(format!("condition: `{token}` is one word too many")),
    }
}

fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for word in text.split_whitespace() {
        let mut rest = word;
        while let Some(at) = rest.find(['(', ')']) {
            if at > 0 {
                tokens.push(&rest[..at]);
            }
            tokens.push(&rest[at..=at]);
            rest = &rest[at + 1..];
        }
        if !rest.is_empty() {
            tokens.push(rest);
        }
    }
    tokens
}

struct Reader<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    searches: &'a [String],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.all(depth)?];
        while self.take("or") {
            parts.push(self.all(depth)?);
        }
        Ok(single(parts, Condition::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.not(depth)?];
        while self.take("and") {
            parts.push(self.not(depth)?);
        }
        Ok(single(parts, Condition::All))
    }

    fn not(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > DEPTH_MAX {
            return Err(format!("condition: nested deeper than {DEPTH_MAX}"));
        }
        if self.take("not") {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.any(depth + 1)?;
            return if self.take(")") { Ok(inner) } else { Err("condition: a closing bracket is missing".into()) };
        }
        self.search()
    }

    fn search(&mut self) -> Result<Condition, String> {
        let Some(word) = self.peek() else { return Err("condition: ends where a search is expected".into()) };
        self.at += 1;
        let followed_by_of = self.peek().is_some_and(|token| token.eq_ignore_ascii_case("of"));
        if followed_by_of
            && (word.eq_ignore_ascii_case("all") || word.eq_ignore_ascii_case("any") || word.parse::<usize>().is_ok())
        {
            self.at += 1;
            return self.of(word);
        }
        match self.searches.iter().position(|name| name == word) {
            Some(index) => Ok(Condition::Search(index)),
            None => Err(format!("condition: no search is called `{word}`")),
        }
    }

    fn of(&mut self, count: &str) -> Result<Condition, String> {
        let Some(names) = self.peek() else { return Err("condition: ends after `of`".into()) };
        self.at += 1;
        let matching: Vec<Condition> = self
            .searches
            .iter()
            .enumerate()
            .filter(|(_, name)| if names.eq_ignore_ascii_case("them") { !name.starts_with('_') } else { name_fits(names, name) })
            .map(|(index, _)| Condition::Search(index))
            .collect();
        if matching.is_empty() {
            return Err(format!("condition: no search fits `{names}`"));
        }
        if count.eq_ignore_ascii_case("all") {
            return Ok(Condition::All(matching));
        }
        match count.parse::<usize>() {
            Err(_) | Ok(1) => Ok(Condition::Any(matching)),
            Ok(0) => Err("condition: `0 of` is always true".into()),
            Ok(wanted) => Ok(Condition::Some(wanted, matching)),
        }
    }
}

fn single(mut parts: Vec<Condition>, join: fn(Vec<Condition>) -> Condition) -> Condition {
    if parts.len() == 1 { parts.swap_remove(0) } else { join(parts) }
}

/// Whether a name fits a pattern in which `*` stands for any run of characters.
fn name_fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::{Condition::*, *};

    fn read(text: &str) -> Result<Condition, String> {
        parse(text, &["sel_a", "sel_b", "filter", "_hidden"].map(String::from))
    }

    #[test]
    fn precedence_and_brackets() {
        assert_eq!(
            read("sel_a or sel_b AND not filter"),
            Ok(Any(vec![Search(0), All(vec![Search(1), Not(Box::new(Search(2)))])]))
        );
        assert_eq!(read("not(sel_a or sel_b)"), Ok(Not(Box::new(Any(vec![Search(0), Search(1)])))));
    }

    #[test]
    fn of_counts_and_patterns() {
        assert_eq!(read("1 of sel_*"), Ok(Any(vec![Search(0), Search(1)])));
        assert_eq!(read("all of them"), Ok(All(vec![Search(0), Search(1), Search(2)])));
        assert_eq!(read("2 of *_*"), Ok(Some(2, vec![Search(0), Search(1), Search(3)])));
        assert_eq!(read("1 of filter"), Ok(Any(vec![Search(2)])));
    }

    #[test]
    fn faults_name_the_word() {
        assert!(read("sel_a and nope").unwrap_err().contains("`nope`"));
        assert!(read("sel_a sel_b").unwrap_err().contains("`sel_b`"));
        assert!(read("(sel_a").unwrap_err().contains("bracket"));
        assert!(read("").unwrap_err().contains("ends"));
        assert!(read("sel_a | count() > 3").unwrap_err().contains("correlation"));
        assert!(read(&"(".repeat(10_000)).unwrap_err().contains("deeper"));
        assert!(read("1 of x*").unwrap_err().contains("`x*`"));
    }
}
