//! The closed set of things a mapping may do to a value.

use std::borrow::Cow;

use reeve_decode::{Map, Value};

use super::expr::{Scope, into_text};

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// The part after the last `/` or `\`.
    Basename,
    Lower,
    Upper,
    /// `name` of `domain\name` or `name@domain`.
    User,
    /// `domain` of `domain\name`; nothing without one.
    Domain,
    /// A table's entry for the value, by its text in lower case; nothing if it has none.
    Table(&'static super::compile::Table),
    /// The same, by the table whose name is the prefix and another field's text (without `0x`).
    TableBy(Vec<(String, &'static super::compile::Table)>, &'static str),
    /// The first characters, that many.
    First(usize),
    /// The first word of a name in camel case: `Create` of `CreateUser`.
    Verb,
    /// One member of each map of a list, as a list of texts.
    Pluck(&'static str),
    /// A list's texts joined by blanks.
    Join,
    /// Text split at white space and commas, as a list.
    Words,
    /// `SHA1=…,MD5=…` or a bare digest as a list of fingerprints.
    Hashes,
    /// Seconds, also with a fraction, as milliseconds.
    Seconds,
    /// A path made absolute by the directory in another field.
    Under(&'static str),
    /// The value only when it is not an IP address.
    NotAddress,
    /// The text before the first of this sign, or all of it.
    Before(&'static str),
    /// The text after the first of this sign; nothing without one.
    After(&'static str),
    /// The text after the last of this sign, or all of it.
    AfterLast(&'static str),
    /// The text before the last of this sign; nothing without one.
    BeforeLast(&'static str),
    /// Drops a prefix if it is there.
    Strip(&'static str),
    /// Without the quotes around it.
    Unquote,
    /// An address without the port behind it, as in `192.0.2.1:443` or `[2001:db8::1]:443`.
    WithoutPort,
    /// Each element of a list (or the value itself) as an object with that one attribute.
    Each(&'static str),
    /// The address in a kernel socket address, raw (hexadecimal) or interpreted.
    SocketIp,
    /// The port in one.
    SocketPort,
    /// A fixed text in front of the value.
    Prefix(&'static str),
    /// Anything but these.
    Except(Vec<&'static str>),
    /// True if the value is one of these, else false.
    Is(Vec<&'static str>),
}

impl Step {
    pub(crate) fn parse(text: &str, tables: &super::compile::Tables) -> Result<Self, String> {
        let (name, argument) = text.split_once(':').unwrap_or((text, ""));
        let kept = || -> &'static str { argument.to_owned().leak() };
        let list = || argument.split(',').map(|one| -> &'static str { one.trim().to_owned().leak() }).collect();
        Ok(match name {
            "basename" => Self::Basename,
            "lower" => Self::Lower,
            "upper" => Self::Upper,
            "user" => Self::User,
            "domain" => Self::Domain,
            "table" => Self::Table(tables.get(argument).copied().ok_or_else(|| format!("no table `{argument}`"))?),
            "table-by" => {
                let (prefix, field) = argument.split_once(',').ok_or("table-by:PREFIX,FIELD")?;
                let named = tables.iter().filter_map(|(name, table)| Some((name.strip_prefix(prefix)?.to_owned(), *table)));
                Self::TableBy(named.collect(), field.to_owned().leak())
            }
            "first" => Self::First(argument.parse().map_err(|_| format!("`{argument}` is no count"))?),
            "verb" => Self::Verb,
            "pluck" => Self::Pluck(kept()),
            "join" => Self::Join,
            "words" => Self::Words,
            "hashes" => Self::Hashes,
            "seconds" => Self::Seconds,
            "under" => Self::Under(kept()),
            "not-address" => Self::NotAddress,
            "before" => Self::Before(kept()),
            "after" => Self::After(kept()),
            "after-last" => Self::AfterLast(kept()),
            "before-last" => Self::BeforeLast(kept()),
            "strip" => Self::Strip(kept()),
            "unquote" => Self::Unquote,
            "without-port" => Self::WithoutPort,
            "each" => Self::Each(kept()),
            "socket-ip" => Self::SocketIp,
            "socket-port" => Self::SocketPort,
            "prefix" => Self::Prefix(kept()),
            "except" => Self::Except(list()),
            "is" => Self::Is(list()),
            other => return Err(format!("`{other}` is no step")),
        })
    }

    pub(crate) fn apply<'a>(&self, value: Value<'a>, scope: &Scope<'_, 'a>) -> Option<Value<'a>> {
        match self {
            Self::Join => return join(value),
            Self::Each(name) => return each(value, name),
            Self::Seconds => return seconds(&value),
            Self::Pluck(name) => return pluck(value, name),
            Self::Words if matches!(value, Value::List(_)) => return Some(value),
            _ => {}
        }
        let text = into_text(value)?;
        Some(Value::Str(match self {
            Self::Basename => cut(text, |text| text.rfind(['/', '\\']).map_or(0, |at| at + 1)..text.len()),
            Self::Lower if text.bytes().any(|byte| byte.is_ascii_uppercase()) => Cow::Owned(text.to_lowercase()),
            Self::Upper if text.bytes().any(|byte| byte.is_ascii_lowercase()) => Cow::Owned(text.to_uppercase()),
            Self::Lower | Self::Upper => text,
            Self::User => cut(text, |text| match (text.rfind('\\'), text.find('@')) {
                (Some(at), _) => at + 1..text.len(),
                (None, Some(at)) if at > 0 => 0..at,
                _ => 0..text.len(),
            }),
            Self::Domain => {
                let at = text.find('\\')?;
                cut(text, |_| 0..at)
            }
            Self::Table(table) => return table.get(&text),
            Self::TableBy(tables, field) => {
                let key = scope.text_of(field)?;
                let key = key.strip_prefix("0x").unwrap_or(&key);
                return tables.iter().find(|(name, _)| name == key)?.1.get(&text);
            }
            Self::First(count) => cut(text, |text| 0..text.char_indices().nth(*count).map_or(text.len(), |(at, _)| at)),
            Self::Verb => cut(text, |text| {
                0..text.char_indices().skip(1).find(|(_, sign)| !sign.is_lowercase()).map_or(text.len(), |(at, _)| at)
            }),
            Self::Words => {
                return Some(Value::List(
                    text.split([' ', ',', '\t', '\n', '\r'])
                        .filter(|word| !word.is_empty())
                        .map(|word| Value::from(word.to_owned()))
                        .collect(),
                ));
            }
            Self::Hashes => return hashes(&text),
            Self::SocketIp => return socket(&text).map(|(ip, _)| Value::from(ip)),
            Self::SocketPort => return socket(&text).map(|(_, port)| Value::Int(i64::from(port))),
            Self::Under(field) => under(text, field, scope),
            Self::NotAddress => return super::address(text.clone()).is_none().then_some(Value::Str(text)),
            Self::Before(sign) => cut(text, |text| 0..text.find(sign).unwrap_or(text.len())),
            Self::After(sign) => {
                let at = text.find(sign)? + sign.len();
                cut(text, |text| at..text.len())
            }
            Self::AfterLast(sign) => cut(text, |text| text.rfind(sign).map_or(0, |at| at + sign.len())..text.len()),
            Self::BeforeLast(sign) => {
                let at = text.rfind(sign)?;
                cut(text, |_| 0..at)
            }
            Self::Strip(prefix) => {
                cut(text, |text| if text.starts_with(prefix) { prefix.len()..text.len() } else { 0..text.len() })
            }
            Self::Unquote => cut(text, |text| {
                if text.len() > 1 && text.starts_with('"') && text.ends_with('"') { 1..text.len() - 1 } else { 0..text.len() }
            }),
            Self::WithoutPort => cut(text, without_port),
            Self::Prefix(prefix) => Cow::Owned(format!("{prefix}{text}")),
            Self::Except(none_of) => {
                if none_of.iter().any(|one| one.eq_ignore_ascii_case(&text)) {
                    return None;
                }
                text
            }
            Self::Is(one_of) => return Some(Value::Bool(one_of.iter().any(|one| one.eq_ignore_ascii_case(&text)))),
            Self::Join | Self::Each(_) | Self::Seconds | Self::Pluck(_) => text,
        }))
    }
}

/// Where in a text the address is that a port may follow.
fn without_port(text: &str) -> std::ops::Range<usize> {
    if let Some(end) = text.strip_prefix('[').and_then(|rest| rest.find(']')) {
        return 1..end + 1;
    }
    match text.split_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => 0..host.len(),
        _ => 0..text.len(),
    }
}

/// Part of a text, still borrowing if the text did.
fn cut<'a>(text: Cow<'a, str>, part: impl FnOnce(&str) -> std::ops::Range<usize>) -> Cow<'a, str> {
    let range = part(&text);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or(text)),
        Cow::Owned(text) => Cow::Owned(text.get(range).unwrap_or(&text).to_owned()),
    }
}

fn join<'a>(value: Value<'a>) -> Option<Value<'a>> {
    let Value::List(items) = value else { return Some(value) };
    let mut joined = String::new();
    for text in items.into_iter().filter_map(into_text) {
        if !joined.is_empty() {
            joined.push(' ');
        }
        // An argument with blanks keeps its edges, so that `sh -c "id; ls"` does not read as five words.
        if text.is_empty() || text.contains([' ', '\t', '\n']) {
            joined.push('"');
            joined.push_str(&text);
            joined.push('"');
        } else {
            joined.push_str(&text);
        }
    }
    (!joined.is_empty()).then_some(Value::from(joined))
}

fn each<'a>(value: Value<'a>, name: &'static str) -> Option<Value<'a>> {
    let items = if let Value::List(items) = value { items } else { vec![value] };
    let object = |item| {
        into_text(item).filter(|text| !text.is_empty()).map(|text| Value::Map(Map(vec![(Cow::Borrowed(name), Value::Str(text))])))
    };
    let objects: Vec<_> = items.into_iter().filter_map(object).collect();
    (!objects.is_empty()).then_some(Value::List(objects))
}

fn pluck<'a>(value: Value<'a>, name: &str) -> Option<Value<'a>> {
    let items = if let Value::List(items) = value { items } else { vec![value] };
    let texts: Vec<_> = items.iter().filter_map(|item| item.path(name).cloned()).collect();
    (!texts.is_empty()).then_some(Value::List(texts))
}

fn seconds<'a>(value: &Value<'a>) -> Option<Value<'a>> {
    let seconds: f64 = match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        other => other.text()?.parse().ok()?,
    };
    let millis = seconds * 1000.0;
    (millis.is_finite() && millis.abs() < 9.0e15).then_some(Value::Int(millis.round() as i64))
}

fn under<'a>(text: Cow<'a, str>, field: &str, scope: &Scope<'_, 'a>) -> Cow<'a, str> {
    if text.starts_with('/') {
        return text;
    }
    let Some(directory) = scope.text_of(field) else { return text };
    let name = text.strip_prefix("./").unwrap_or(&text);
    Cow::Owned(if name == "." { directory.into_owned() } else { format!("{}/{name}", directory.trim_end_matches('/')) })
}

/// Address and port of an INET or INET6 socket address: `02000050A9FEA9FE…`, `%02%00…` or `{ saddr_fam=inet laddr=… lport=… }`.
fn socket(text: &str) -> Option<(String, u16)> {
    if text.contains("laddr=") {
        let after = |name: &str| text.split(name).nth(1).map(|rest| rest.split([' ', '}']).next().unwrap_or(rest));
        return Some((after("laddr=")?.to_owned(), after("lport=")?.parse().ok()?));
    }
    let bytes = socket_bytes(text)?;
    let port = u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]);
    // The family is in the byte order of the machine that wrote it.
    match (bytes.first()?, bytes.get(1)?) {
        (2, 0) | (0, 2) => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some((std::net::Ipv4Addr::from(ip).to_string(), port))
        }
        (10, 0) | (0, 10) => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let ip = std::net::Ipv6Addr::from(ip);
            Some((ip.to_ipv4_mapped().map_or_else(|| ip.to_string(), |ip| ip.to_string()), port))
        }
        _ => None,
    }
}

fn socket_bytes(text: &str) -> Option<Vec<u8>> {
    if !text.contains('%') {
        return hex::decode(text).ok();
    }
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&[*high, *low]).ok()?, 16).ok()?);
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    Some(bytes)
}

/// Digests by the name the source gives them, else by their length.
fn hashes<'a>(text: &str) -> Option<Value<'a>> {
    let one = |part: &str| {
        let (name, digest) = part.trim().split_once('=').unwrap_or(("", part.trim()));
        let digest = digest.strip_prefix("0x").unwrap_or(digest);
        if digest.is_empty() || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) || digest.bytes().all(|byte| byte == b'0') {
            return None;
        }
        let (id, caption) = match (name.to_ascii_uppercase().as_str(), digest.len()) {
            ("MD5", _) | ("", 32) => (1, "MD5"),
            ("SHA1" | "SHA-1", _) | ("", 40) => (2, "SHA-1"),
            ("SHA256" | "SHA-256", _) | ("", 64) => (3, "SHA-256"),
            ("SHA512" | "SHA-512", _) | ("", 128) => (4, "SHA-512"),
            ("IMPHASH", _) => (18, "Imphash"),
            _ => return None,
        };
        let members =
            [("algorithm", Value::from(caption)), ("algorithm_id", Value::Int(id)), ("value", Value::from(digest.to_owned()))];
        Some(Value::Map(Map(members.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect())))
    };
    let list: Vec<_> = text.split(',').filter_map(one).collect();
    (!list.is_empty()).then_some(Value::List(list))
}
