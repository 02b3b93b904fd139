//! A strict JSON scanner (RFC 8259) that borrows from the text and keeps what could be read when the text is broken.

use std::borrow::Cow;

use crate::{Map, Problem, Value};

/// How deep lists and objects may nest; deeper text is kept as raw bytes only.
///
/// Many readers of JSON stop at 128 levels, and what is read here lies a few levels deep in what is written.
pub const DEPTH_MAX: usize = 100;

/// Reads one JSON value that fills `text`, and what is wrong with it. On a fault the part before it is returned.
///
/// Whole numbers that fit no 64-bit integer and numbers beyond `f64` are kept as their text.
pub fn parse(text: &str) -> (Value<'_>, Vec<Problem>) {
    let mut scanner = Scanner::new(text);
    let value = scanner.document();
    (value, scanner.problems)
}

pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    stopped: bool,
    problems: Vec<Problem>,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, depth: 0, stopped: false, problems: Vec::new() }
    }

    fn document(&mut self) -> Value<'a> {
        self.blank();
        let value = self.value();
        if !self.stopped {
            self.blank();
            if self.at < self.bytes.len() {
                self.stop("json.trailing", "more text after the value");
            }
        }
        value
    }

    fn value(&mut self) -> Value<'a> {
        match self.bytes.get(self.at) {
            Some(b'"') => {
                self.at += 1;
                Value::Str(self.string())
            }
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => self.stop("json.syntax", "no JSON value starts like this"),
            None => self.stop("json.truncated", "the text ends where a value should be"),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Value<'a>) -> Value<'a> {
        if self.depth == DEPTH_MAX {
            return self.stop("json.depth", "nested deeper than 100 levels; what lies below is kept as raw bytes only");
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Value<'a> {
        // Sources write 10 to 40 fields; starting at 16 saves two of the three moves while the map grows.
        let mut map = Map(Vec::with_capacity(if self.depth == 1 { 16 } else { 4 }));
        self.blank();
        if self.eat(b'}') {
            return Value::Map(map);
        }
        loop {
            if !self.eat(b'"') {
                self.stop("json.syntax", "expected a name in double quotes");
                return Value::Map(map);
            }
            let name = self.string();
            self.blank();
            if self.stopped || !self.eat(b':') {
                self.stop("json.syntax", "expected `:` after a name");
                return Value::Map(map);
            }
            self.blank();
            let before = self.at;
            let value = self.value();
            // A value that never began adds nothing; one that was cut keeps its part.
            if !self.stopped || self.at > before {
                map.0.push((name, value));
            }
            if !self.next_item(b'}') {
                return Value::Map(map);
            }
        }
    }

    fn list(&mut self) -> Value<'a> {
        let mut items = Vec::new();
        self.blank();
        if self.eat(b']') {
            return Value::List(items);
        }
        loop {
            let before = self.at;
            let value = self.value();
            if !self.stopped || self.at > before {
                items.push(value);
            }
            if !self.next_item(b']') {
                return Value::List(items);
            }
        }
    }

    /// After an item: true if a comma says that another follows.
    fn next_item(&mut self, close: u8) -> bool {
        if self.stopped {
            return false;
        }
        self.blank();
        match self.bytes.get(self.at) {
            Some(b',') => {
                self.at += 1;
                self.blank();
                true
            }
            Some(byte) if *byte == close => {
                self.at += 1;
                false
            }
            Some(_) => {
                self.stop("json.syntax", "expected `,` or the end of the list or object");
                false
            }
            None => {
                self.stop("json.truncated", "the text ends inside a list or object");
                false
            }
        }
    }

    /// The text of a string whose opening quote was read.
    fn string(&mut self) -> Cow<'a, str> {
        let start = self.at;
        let end = special(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Cow::Borrowed(&self.text[start..end]);
        }
        self.at = end;
        let mut out = String::with_capacity((end - start) + 32);
        out.push_str(&self.text[start..end]);
        self.escaped(&mut out);
        Cow::Owned(out)
    }

    fn escaped(&mut self, out: &mut String) {
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return;
                }
                Some(b'\\') => {
                    self.at += 1;
                    if !self.escape(out) {
                        return;
                    }
                }
                Some(byte) => {
                    self.note("json.control_character", "an unescaped control character in a string");
                    out.push(char::from(*byte));
                    self.at += 1;
                }
                None => {
                    self.stop("json.truncated", "the text ends inside a string");
                    return;
                }
            }
            let end = special(self.bytes, self.at);
            out.push_str(&self.text[self.at..end]);
            self.at = end;
        }
    }

    /// One escape after its backslash; false if it is none.
    fn escape(&mut self, out: &mut String) -> bool {
        let plain = match self.bytes.get(self.at) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => {
                self.at += 1;
                return self.code_unit(out);
            }
            _ => {
                self.stop("json.escape", "no such escape");
                return false;
            }
        };
        self.at += 1;
        out.push(plain);
        true
    }

    fn code_unit(&mut self, out: &mut String) -> bool {
        let Some(first) = self.hex4() else { return false };
        let mut code = u32::from(first);
        if (0xD800..0xDC00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let Some(second) = self.hex4() else { return false };
            if (0xDC00..0xE000).contains(&second) {
                code = 0x10000 + ((code - 0xD800) << 10) + (u32::from(second) - 0xDC00);
            } else {
                self.at = back;
            }
        }
        match char::from_u32(code) {
            Some(character) => out.push(character),
            None => {
                self.note("json.surrogate", "half of a surrogate pair, replaced by U+FFFD");
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
        true
    }

    fn hex4(&mut self) -> Option<u16> {
        let mut code = 0u16;
        for byte in self.bytes.get(self.at..self.at + 4).unwrap_or(b"-") {
            let Some(digit) = char::from(*byte).to_digit(16) else {
                self.stop("json.escape", "`\\u` needs four hexadecimal digits");
                return None;
            };
            code = code << 4 | digit as u16;
        }
        self.at += 4;
        Some(code)
    }

    fn number(&mut self) -> Value<'a> {
        let start = self.at;
        let negative = self.eat(b'-');
        let first = self.at;
        let mut whole: Option<u64> = Some(0);
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            whole = whole.and_then(|n| n.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
            self.at += 1;
        }
        let digits = self.at - first;
        if digits == 0 || (digits > 1 && self.bytes[first] == b'0') {
            self.at = start;
            return self.stop("json.number", "not a JSON number");
        }
        let Some(fraction) = self.fraction() else { return self.stop("json.number", "not a JSON number") };
        let text = &self.text[start..self.at];
        if fraction || (negative && whole == Some(0)) {
            return match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Value::Float(number),
                _ => Value::Str(Cow::Borrowed(text)),
            };
        }
        match whole {
            Some(number) if !negative => i64::try_from(number).map_or(Value::Uint(number), Value::Int),
            Some(number) if number <= 1 << 63 => Value::Int((number as i64).wrapping_neg()),
            _ => Value::Str(Cow::Borrowed(text)),
        }
    }

    /// Reads what may follow the whole digits; `None` if it is broken, else whether there was anything.
    fn fraction(&mut self) -> Option<bool> {
        let mut any = false;
        if self.eat(b'.') {
            any = true;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            any = true;
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(any)
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Value<'a> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            value
        } else {
            self.stop("json.syntax", "no JSON value starts like this")
        }
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn blank(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    #[cold]
    fn stop(&mut self, code: &'static str, detail: &'static str) -> Value<'a> {
        if !self.stopped {
            self.stopped = true;
            self.problems.push(Problem { code, offset: self.at as u64, detail: Cow::Borrowed(detail) });
        }
        Value::Null
    }

    #[cold]
    fn note(&mut self, code: &'static str, detail: &'static str) {
        // One of a kind says it all; a string of control characters must not grow the list without bound.
        if !self.problems.iter().any(|problem| problem.code == code) {
            self.problems.push(Problem { code, offset: self.at as u64, detail: Cow::Borrowed(detail) });
        }
    }
}

/// Index of the first quote, backslash or control character at or after `at`, else the length. Eight bytes a step.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let mut word = [0u8; 8];
        word.copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        // The usual "has a zero byte" test per wanted byte. It may mark bytes above the first hit wrongly, never below it.
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        let hit =
            (quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash) | (word.wrapping_sub(ONES * 0x20) & !word);
        let hit = hit & HIGH;
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at) {
        if *byte == b'"' || *byte == b'\\' || *byte < 0x20 {
            return at;
        }
        at += 1;
    }
    at
}

/// Where the JSON object or list that starts at the beginning of `bytes` ends, looking at quotes and brackets only.
///
/// [`Extent::Cut`] is the place where a broken value was given up for the next one: a line that starts with `{` where no value may start.
pub(crate) fn extent(bytes: &[u8]) -> Extent {
    let mut depth = 0u64;
    let mut at = 0;
    let mut last = 0u8;
    while at < bytes.len() {
        let byte = bytes[at];
        match byte {
            b'"' => {
                let Some(end) = string_end(bytes, at + 1) else { return Extent::More };
                if bytes[end] != b'"' {
                    return Extent::Cut(end);
                }
                at = end;
            }
            b'{' if depth > 0 && !matches!(last, b'[' | b',' | b':') && line_start(bytes, at) => {
                return Extent::Cut(at);
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Extent::Whole(at + 1);
                }
            }
            _ => {}
        }
        if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
            last = byte;
        }
        at += 1;
    }
    Extent::More
}

/// What [`extent`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The value ends before this index.
    Whole(usize),
    /// The value is broken; the next record starts at this index or after the newline there.
    Cut(usize),
    /// The bytes end inside the value.
    More,
}

/// Index of the closing quote, or of a newline that a string may not hold; `None` if the bytes end first.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = special(bytes, at);
        match bytes.get(at)? {
            b'"' | b'\n' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn line_start(bytes: &[u8], at: usize) -> bool {
    at > 0 && bytes[at - 1] == b'\n'
}
