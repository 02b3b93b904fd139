//! Text to query. No separate lexer: what a character means depends on where it stands (`:` in a time, `-` in a name).

use super::ast::{Aggregate, Call, Command, Named, Operator, Pattern, Piece, Query, Search, SortKey, Test};
use crate::Error;

/// Longest query, in bytes.
pub const MAX_BYTES: usize = 32 << 10;
const MAX_DEPTH: usize = 64;
const MAX_TERMS: usize = 2000;
const MAX_COMMANDS: usize = 32;
/// Rows `head` and `top` may ask for.
const MAX_COUNT: usize = 10_000_000;
const DEFAULT_TOP: usize = 10;

/// Reads a query. The empty text is every event.
///
/// # Errors
/// [`Error::Query`] with the byte offset of what was not understood, and what to write instead.
pub fn parse(text: &str) -> Result<Query, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::query(MAX_BYTES, format!("a query has at most {MAX_BYTES} bytes, this one has {}", text.len())));
    }
    let mut parser = Parser { text, at: 0, depth: 0, terms: 0 };
    parser.space();
    let search = if parser.ended() || parser.peek() == Some('|') { Search::All } else { parser.or()? };
    let mut commands = Vec::new();
    loop {
        parser.space();
        if parser.ended() {
            return Ok(Query { search, commands });
        }
        if !parser.take('|') {
            return Err(parser.unexpected("expected AND, OR, `|` or the end"));
        }
        if commands.len() == MAX_COMMANDS {
            return Err(Error::query(parser.at, format!("a query has at most {MAX_COMMANDS} commands")));
        }
        commands.push(parser.command()?);
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn ended(&self) -> bool {
        self.at >= self.text.len()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    fn take_text(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.bump();
        }
    }

    fn unexpected(&self, hint: &str) -> Error {
        match self.peek() {
            Some(found) => Error::query(self.at, format!("unexpected `{found}`; {hint}")),
            None => Error::query(self.at, format!("unexpected end; {hint}")),
        }
    }

    /// The keyword at this place, followed by no letter.
    fn keyword(&mut self, word: &str) -> bool {
        let Some(head) = self.rest().get(..word.len()) else { return false };
        let after = self.rest()[word.len()..].chars().next();
        let whole = after.is_none_or(|next| next.is_whitespace() || matches!(next, '(' | ')' | '"' | '|' | ','));
        if head.eq_ignore_ascii_case(word) && whole {
            self.at += word.len();
            return true;
        }
        false
    }

    /// Like [`Parser::keyword`] but only in capitals: `and` is a word people search for.
    fn operator(&mut self, word: &str) -> bool {
        self.rest().starts_with(word) && self.keyword(word)
    }

    fn or(&mut self) -> Result<Search, Error> {
        let mut parts = vec![self.and()?];
        loop {
            self.space();
            if !self.operator("OR") && !self.take_text("||") {
                break;
            }
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Search::Or))
    }

    fn and(&mut self) -> Result<Search, Error> {
        let mut parts = vec![self.not()?];
        loop {
            self.space();
            let joined = self.operator("AND") || self.take_text("&&");
            let here = self.rest();
            let stops = here.is_empty() || here.starts_with([')', '|', ']']) || self.at_operator("OR");
            if !joined && stops {
                break;
            }
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Search::And))
    }

    fn at_operator(&mut self, word: &str) -> bool {
        let at = self.at;
        let found = self.operator(word);
        self.at = at;
        found
    }

    fn not(&mut self) -> Result<Search, Error> {
        self.space();
        let dash = self.rest().starts_with('-')
            && self.rest()[1..].chars().next().is_some_and(|next| !next.is_whitespace() && next != '-');
        let bang = self.rest().starts_with('!') && !self.rest().starts_with("!=");
        if dash || bang {
            self.bump();
        } else if !self.operator("NOT") {
            return self.term();
        }
        self.nested(|parser| Ok(Search::Not(Box::new(parser.not()?))))
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == MAX_DEPTH {
            return Err(Error::query(self.at, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn term(&mut self) -> Result<Search, Error> {
        self.space();
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(Error::query(self.at, format!("a query has at most {MAX_TERMS} terms")));
        }
        let open = self.at;
        if self.take('(') {
            let inner = self.nested(Self::or)?;
            self.space();
            return if self.take(')') { Ok(inner) } else { Err(Error::query(open, "this `(` has no `)`")) };
        }
        for word in ["AND", "OR"] {
            if self.at_operator(word) {
                return Err(Error::query(
                    self.at,
                    format!("`{word}` needs a term on both sides; quote it to search for the word"),
                ));
            }
        }
        if let Some((name, at)) = self.field_name() {
            self.at = at;
            return self.field_test(name);
        }
        let pattern = self.pattern()?;
        Ok(if pattern.is_any() { Search::All } else { Search::Text(pattern) })
    }

    /// A name with an operator behind it, and where the operator starts; the position stays.
    fn field_name(&self) -> Option<(Named, usize)> {
        let rest = self.rest();
        let quoted = rest.strip_prefix('`').and_then(|inner| inner.find('`').map(|end| (&inner[..end], end + 2)));
        let (name, length) = quoted.unwrap_or_else(|| {
            let length = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
            (&rest[..length], length)
        });
        let starts = quoted.is_some() || name.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '@');
        if name.is_empty() || !starts {
            return None;
        }
        let after = &rest[length..];
        let spaced = after.trim_start();
        let compares = spaced.starts_with(['>', '<', '=']) || spaced.starts_with("!=");
        // A drive letter or an address is text: `C:\Windows`, `https://…`.
        let path = after.starts_with(":\\") || after.starts_with("://");
        if !compares && (!after.starts_with(':') || path) {
            return None;
        }
        let at = self.text.len() - if compares { spaced.len() } else { after.len() };
        Some((Named { name: name.to_owned(), offset: self.at }, at))
    }

    fn field_test(&mut self, field: Named) -> Result<Search, Error> {
        if self.take_text("!=") {
            self.space();
            let test = self.value(true)?;
            return Ok(Search::Not(Box::new(Search::Field(field, test))));
        }
        let operators =
            [(">=", Operator::GreaterEqual), ("<=", Operator::LessEqual), (">", Operator::Greater), ("<", Operator::Less)];
        let colon = self.take(':');
        for (sign, operator) in operators {
            if self.take_text(sign) {
                self.space();
                return Ok(Search::Field(field, Test::Compare(operator, self.plain_value()?)));
            }
        }
        let exact = !colon && (self.take_text("==") || self.take('='));
        self.space();
        if colon && self.peek() == Some('(') {
            return self.values(&field);
        }
        let test = self.value(exact)?;
        Ok(Search::Field(field, test))
    }

    /// `field:(a OR b -c)`: each word is a test on the field.
    fn values(&mut self, field: &Named) -> Result<Search, Error> {
        let inner = self.nested(|parser| {
            let open = parser.at;
            parser.take('(');
            let inner = parser.or()?;
            parser.space();
            if parser.take(')') { Ok(inner) } else { Err(Error::query(open, "this `(` has no `)`")) }
        })?;
        Ok(on_field(inner, field))
    }

    fn value(&mut self, exact: bool) -> Result<Test, Error> {
        match self.peek() {
            Some('[' | '{') => self.range(),
            Some('/') if self.regex_ends() => self.regex(),
            _ => {
                let pattern = self.pattern()?;
                Ok(if pattern.is_any() { Test::Exists } else { Test::Is { value: pattern, exact } })
            }
        }
    }

    fn range(&mut self) -> Result<Test, Error> {
        let open = self.at;
        let low_inside = self.bump() == Some('[');
        let low = self.bound()?;
        self.space();
        if !self.keyword("TO") {
            return Err(self.unexpected("a range is `[LOW TO HIGH]`, with `*` for an open end"));
        }
        let high = self.bound()?;
        self.space();
        let high_inside = match self.bump() {
            Some(']') => true,
            Some('}') => false,
            _ => return Err(Error::query(open, "this range has no `]` or `}`")),
        };
        Ok(Test::Range(low.map(|value| (value, low_inside)), high.map(|value| (value, high_inside))))
    }

    fn bound(&mut self) -> Result<Option<String>, Error> {
        self.space();
        if self.peek() == Some('"') {
            return self.quoted().map(Some);
        }
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || c == ']' || c == '}').unwrap_or(rest.len());
        if end == 0 {
            return Err(self.unexpected("a range is `[LOW TO HIGH]`, with `*` for an open end"));
        }
        self.at += end;
        Ok((&rest[..end] != "*").then(|| rest[..end].to_owned()))
    }

    /// A path also starts with `/`: it is a regular expression only if it ends as one.
    fn regex_ends(&self) -> bool {
        let mut escaped = false;
        for (index, c) in self.rest()[1..].char_indices() {
            match c {
                '/' if !escaped => {
                    let after = self.rest()[index + 2..].chars().next();
                    return index > 0 && after.is_none_or(|next| next.is_whitespace() || matches!(next, ')' | '|'));
                }
                _ => escaped = c == '\\' && !escaped,
            }
        }
        false
    }

    fn regex(&mut self) -> Result<Test, Error> {
        let start = self.at;
        self.bump();
        let (mut pattern, mut escaped) = (String::new(), false);
        while let Some(next) = self.bump() {
            if next == '/' && !escaped {
                regex::bytes::RegexBuilder::new(&pattern)
                    .size_limit(4 << 20)
                    .build()
                    .map_err(|error| Error::query(start, format!("`/{pattern}/` is not a regular expression: {error}")))?;
                return Ok(Test::Regex(pattern));
            }
            if next == '/' {
                pattern.pop();
            }
            pattern.push(next);
            escaped = next == '\\' && !escaped;
        }
        Err(Error::query(start, "this regular expression has no closing `/`"))
    }

    fn plain_value(&mut self) -> Result<String, Error> {
        let pattern = self.pattern()?;
        pattern.literal().map(str::to_owned).ok_or_else(|| Error::query(pattern.offset, "a comparison takes no wildcards"))
    }

    /// A word, in which `*` and `?` are wildcards, `"…"` is literal and `\` makes the next special character literal.
    fn pattern(&mut self) -> Result<Pattern, Error> {
        let offset = self.at;
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut any = false;
        while let Some(next) = self.peek() {
            match next {
                '"' => {
                    literal.push_str(&self.quoted()?);
                    any = true;
                    continue;
                }
                '*' | '?' => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    if next == '?' || pieces.last() != Some(&Piece::Any) {
                        pieces.push(if next == '*' { Piece::Any } else { Piece::One });
                    }
                }
                '\\' => {
                    self.bump();
                    match self.peek() {
                        Some(special) if is_special(special) => literal.push(special),
                        // A backslash before an ordinary letter is part of a path.
                        _ => {
                            literal.push('\\');
                            any = true;
                            continue;
                        }
                    }
                }
                _ if next.is_whitespace() || matches!(next, '(' | ')' | '|') => break,
                _ => literal.push(next),
            }
            any = true;
            self.bump();
        }
        if !any {
            return Err(self.unexpected("expected a word, a \"phrase\" or field:value"));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Pattern { pieces, offset })
    }

    fn quoted(&mut self) -> Result<String, Error> {
        let open = self.at;
        self.bump();
        let mut text = String::new();
        while let Some(next) = self.bump() {
            match next {
                '"' => return Ok(text),
                '\\' if matches!(self.peek(), Some('"' | '\\')) => text.extend(self.bump()),
                _ => text.push(next),
            }
        }
        Err(Error::query(open, "this `\"` has no closing `\"`"))
    }

    fn command(&mut self) -> Result<Command, Error> {
        self.space();
        let start = self.at;
        let word = self.word();
        self.space();
        match word.to_ascii_lowercase().as_str() {
            "where" | "search" | "filter" => Ok(Command::Where(self.or()?)),
            "stats" => {
                let aggregates = self.aggregates()?;
                Ok(Command::Stats(aggregates, self.by()?))
            }
            "top" => self.top(false),
            "rare" => self.top(true),
            "timechart" => self.timechart(),
            "fields" | "table" => self.fields(),
            "sort" => self.sort(),
            "head" | "limit" => Ok(Command::Head(self.count()?)),
            "" => Err(self.unexpected("a command follows `|`: where, stats, top, rare, timechart, fields, sort, head")),
            other => {
                const KNOWN: &[&str] = &["where", "stats", "top", "rare", "timechart", "fields", "sort", "head"];
                let near = super::fields::nearest(other, KNOWN.iter().copied())
                    .map(|name| format!("; did you mean `{name}`?"))
                    .unwrap_or_default();
                Err(Error::query(
                    start,
                    format!("no command `{other}`{near} There are where, stats, top, rare, timechart, fields, sort, head"),
                ))
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn name(&mut self) -> Result<Named, Error> {
        self.space();
        let (offset, rest) = (self.at, self.rest());
        if let Some(quote @ ('`' | '"')) = self.peek() {
            let end = rest[1..].find(quote).ok_or_else(|| Error::query(offset, format!("this `{quote}` has no closing one")))?;
            self.at += end + 2;
            return Ok(Named { name: rest[1..=end].to_owned(), offset });
        }
        let mut end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
        // `count(x)` names a column that an aggregate made.
        if let Some(inner) = rest[end..].strip_prefix('(')
            && let Some(close) = inner.find(')')
            && inner[..close].chars().all(is_name)
        {
            end += close + 2;
        }
        if end == 0 {
            return Err(self.unexpected("expected the name of a field"));
        }
        self.at += end;
        Ok(Named { name: rest[..end].to_owned(), offset })
    }

    fn names(&mut self) -> Result<Vec<Named>, Error> {
        let mut names = vec![self.name()?];
        loop {
            self.space();
            let comma = self.take(',');
            self.space();
            if !comma && (self.ended() || !self.peek().is_some_and(is_name)) {
                return Ok(names);
            }
            names.push(self.name()?);
        }
    }

    fn by(&mut self) -> Result<Vec<Named>, Error> {
        self.space();
        if self.keyword("by") { self.names() } else { Ok(Vec::new()) }
    }

    fn aggregates(&mut self) -> Result<Vec<Aggregate>, Error> {
        let mut aggregates = Vec::new();
        loop {
            aggregates.push(self.aggregate()?);
            self.space();
            let comma = self.take(',');
            self.space();
            if !comma && (self.ended() || self.peek() == Some('|') || self.at_by()) {
                return Ok(aggregates);
            }
        }
    }

    fn at_by(&mut self) -> bool {
        let at = self.at;
        let found = self.keyword("by");
        self.at = at;
        found
    }

    fn aggregate(&mut self) -> Result<Aggregate, Error> {
        self.space();
        let start = self.at;
        let call = match self.word().to_ascii_lowercase().as_str() {
            "count" | "c" => Call::Count,
            "sum" => Call::Sum,
            "avg" | "mean" => Call::Avg,
            "min" => Call::Min,
            "max" => Call::Max,
            "dc" | "distinct_count" => Call::Distinct,
            _ => return Err(Error::query(start, "expected count, sum(x), avg(x), min(x), max(x) or dc(x)")),
        };
        let mut field = None;
        if self.take('(') {
            self.space();
            if self.peek() != Some(')') {
                field = Some(self.name()?);
            }
            self.space();
            if !self.take(')') {
                return Err(self.unexpected("expected `)`"));
            }
        }
        if field.is_none() && call != Call::Count {
            return Err(Error::query(start, "this function needs a field: write sum(x)"));
        }
        let written = self.text[start..self.at].to_owned();
        self.space();
        let name = if self.keyword("as") { self.name()?.name } else { written.trim_end_matches("()").to_owned() };
        Ok(Aggregate { call, field, name })
    }

    fn count(&mut self) -> Result<usize, Error> {
        self.space();
        let start = self.at;
        let word = self.word();
        let number = word.parse::<usize>().map_err(|_| Error::query(start, "expected a number of rows"))?;
        if number > MAX_COUNT {
            return Err(Error::query(start, format!("at most {MAX_COUNT} rows")));
        }
        Ok(number)
    }

    fn top(&mut self, rare: bool) -> Result<Command, Error> {
        self.space();
        let mut count = DEFAULT_TOP;
        if self.take_text("limit=") || self.peek().is_some_and(|c| c.is_ascii_digit()) {
            count = self.count()?;
        }
        let field = self.name()?;
        let by = self.by()?;
        self.space();
        if self.take_text("limit=") {
            count = self.count()?;
        }
        Ok(Command::Top { field, count, by, rare })
    }

    fn timechart(&mut self) -> Result<Command, Error> {
        let mut span_us = 3_600_000_000;
        if self.take_text("span=") {
            span_us = self.span()?;
        }
        self.space();
        let plain = self.ended() || self.peek() == Some('|') || self.at_by();
        let aggregates =
            if plain { vec![Aggregate { call: Call::Count, field: None, name: "count".into() }] } else { self.aggregates()? };
        Ok(Command::Timechart { span_us, aggregates, by: self.by()? })
    }

    fn span(&mut self) -> Result<i64, Error> {
        let start = self.at;
        let bad = || Error::query(start, "a span is a number and s, m, h, d or w, as in span=5m");
        let word = self.word();
        let cut = word.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: i64 = word[..cut].parse().map_err(|_| bad())?;
        let unit: i64 = match &word[cut..] {
            "s" | "sec" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(bad()),
        };
        number.checked_mul(unit * 1_000_000).filter(|span| *span > 0).ok_or_else(bad)
    }

    fn fields(&mut self) -> Result<Command, Error> {
        let (mut keep, mut drop) = (Vec::new(), Vec::new());
        let mut dropping = false;
        loop {
            self.space();
            if self.take('-') {
                dropping = true;
                self.space();
            } else if self.take('+') {
                dropping = false;
            }
            if dropping {
                drop.push(self.name()?)
            } else {
                keep.push(self.name()?)
            }
            // `fields - a, b` drops both; `fields a, -b` drops one.
            dropping = dropping && keep.is_empty();
            self.space();
            let comma = self.take(',');
            self.space();
            if !comma && (self.ended() || self.peek() == Some('|')) {
                return Ok(Command::Fields { keep, drop });
            }
        }
    }

    fn sort(&mut self) -> Result<Command, Error> {
        let mut keys = Vec::new();
        loop {
            self.space();
            let minus = self.take('-');
            if !minus {
                self.take('+');
            }
            let field = self.name()?;
            self.space();
            let descending = if self.keyword("desc") { true } else { !self.keyword("asc") && minus };
            keys.push(SortKey { field, descending });
            self.space();
            let comma = self.take(',');
            self.space();
            if !comma && (self.ended() || self.peek() == Some('|')) {
                return Ok(Command::Sort(keys));
            }
        }
    }
}

fn on_field(search: Search, field: &Named) -> Search {
    match search {
        Search::Text(value) => Search::Field(field.clone(), Test::Is { value, exact: false }),
        Search::All => Search::Field(field.clone(), Test::Exists),
        Search::And(parts) => Search::And(parts.into_iter().map(|part| on_field(part, field)).collect()),
        Search::Or(parts) => Search::Or(parts.into_iter().map(|part| on_field(part, field)).collect()),
        Search::Not(inner) => Search::Not(Box::new(on_field(*inner, field))),
        other => other,
    }
}

fn one_or(mut parts: Vec<Search>, join: fn(Vec<Search>) -> Search) -> Search {
    if parts.len() == 1 { parts.remove(0) } else { join(parts) }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '@' | '-' | '$' | '{' | '}')
}

fn is_special(c: char) -> bool {
    c.is_whitespace() || matches!(c, '*' | '?' | '"' | '\\' | ':' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(text: &str) -> usize {
        parse(text).expect_err(text).offset().expect("an offset")
    }

    #[test]
    fn errors_name_their_place() {
        assert_eq!(offset("user:\"root"), 5);
        assert_eq!(offset("a AND (b OR c"), 6);
        assert_eq!(offset("a )"), 2);
        assert_eq!(offset("a | sats count"), 4);
        assert_eq!(offset("AND a"), 0);
        assert_eq!(offset("a | head x"), 9);
        assert_eq!(offset("x:[1 TO"), 7);
        assert_eq!(offset("x:/a(/"), 2);
    }

    #[test]
    fn paths_and_addresses_are_text() {
        for text in [r"C:\Windows\System32", "https://example.org/a?b", "10.0.0.1:443", "and"] {
            let query = parse(text).expect(text);
            assert!(matches!(query.search, Search::Text(_)), "{text}: {query:?}");
        }
        let Search::Field(_, Test::Is { value, .. }) = parse("file.path:/etc/shadow").expect("a path").search else {
            panic!("no field")
        };
        assert_eq!(value.literal(), Some("/etc/shadow"));
    }

    #[test]
    fn backslashes_stay_in_paths() {
        let Search::Field(_, Test::Is { value, .. }) = parse(r"Image:*\cmd.exe").expect("a path").search else {
            panic!("no field")
        };
        assert_eq!(value.pieces, [Piece::Any, Piece::Literal(r"\cmd.exe".into())]);
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_place_in_it() {
        const PIECES: &[&str] = &[
            "a",
            "user",
            ":",
            "=",
            "!=",
            ">=",
            "<",
            "\"",
            "\\",
            "*",
            "?",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            " TO ",
            " AND ",
            " OR ",
            "NOT ",
            "-",
            "|",
            " | stats ",
            "count",
            "sum(",
            " by ",
            "top 5 ",
            "sort -",
            "fields ",
            "timechart span=",
            "5m",
            "/x+/",
            "/",
            ",",
            "ü",
            "\u{0}",
            "10.0.0.0/8",
            "`",
            " ",
            "head ",
            "as ",
            "where ",
        ];
        let mut seed: u64 = 7;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..1 + seed % 13 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(PIECES[(seed >> 33) as usize % PIECES.len()]);
            }
            if let Err(error) = parse(&text) {
                let at = error.offset().expect("an offset");
                assert!(text.is_char_boundary(at), "{at} in {text:?}: {error}");
            }
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_run_into() {
        let text = format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(parse(&text).is_err());
        assert!(parse(&"NOT ".repeat(5000)).is_err());
    }
}
