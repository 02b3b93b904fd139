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
    /// Text split at this sign, as a list.
    Split(&'static str),
    /// `SHA1=…,MD5=…` or a bare digest as a list of fingerprints.
    Hashes,
    /// The first of them alone.
    Hash,
    /// Seconds, also with a fraction, as milliseconds.
    Seconds,
    /// A path made absolute by the directory in another field.
    Under(&'static str),
    /// The value only when it is not an IP address.
    NotAddress,
    /// The value only when it is one.
    Address,
    /// The value only when it is not a number.
    NotNumber,
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
    /// Without this sign anywhere, as for `01:02:03`.
    Without(&'static str),
    /// An address without the port behind it, as in `192.0.2.1:443` or `[2001:db8::1]:443`.
    WithoutPort,
    /// Each element of a list (or the value itself) as an object with that one attribute, and a constant one beside it if the
    /// schema demands it: `each:name,type=DNS`.
    Each(&'static str, Option<(&'static str, &'static str)>),
    /// The first mail address in a text or list: `a@b.example` of `Ann <a@b.example>`; nothing if there is none.
    Email,
    /// All mail addresses in a text or list, as a list.
    Emails,
    /// The host in a URL or in `host:port`.
    UrlHost,
    /// Each map of a list (or the one map) with its members under other names: those the step lists, `theirs=ours`, and no more.
    Members(Vec<(&'static str, &'static str)>),
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
        let leak = |text: &str| -> &'static str { text.to_owned().leak() };
        let kept = || leak(argument);
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
            "split" => Self::Split(kept()),
            "hashes" => Self::Hashes,
            "hash" => Self::Hash,
            "seconds" => Self::Seconds,
            "under" => Self::Under(kept()),
            "not-address" => Self::NotAddress,
            "address" => Self::Address,
            "not-number" => Self::NotNumber,
            "before" => Self::Before(kept()),
            "after" => Self::After(kept()),
            "after-last" => Self::AfterLast(kept()),
            "before-last" => Self::BeforeLast(kept()),
            "strip" => Self::Strip(kept()),
            "unquote" => Self::Unquote,
            "without" => Self::Without(kept()),
            "without-port" => Self::WithoutPort,
            "each" => match argument.split_once(',').and_then(|(name, beside)| Some((name, beside.split_once('=')?))) {
                Some((name, (beside, constant))) => Self::Each(leak(name), Some((leak(beside), leak(constant)))),
                None => Self::Each(kept(), None),
            },
            "email" => Self::Email,
            "emails" => Self::Emails,
            "url-host" => Self::UrlHost,
            "members" => Self::Members({
                let pairs: Vec<&'static str> = list();
                pairs.into_iter().filter_map(|pair| pair.split_once('=')).collect()
            }),
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
            Self::Each(name, beside) => return each(value, name, *beside),
            Self::Email => return addresses(value).into_iter().next(),
            Self::Emails => return Some(Value::List(addresses(value))).filter(|list| *list != Value::List(Vec::new())),
            Self::Seconds => return seconds(&value),
            Self::Pluck(name) => return pluck(value, name),
            Self::Members(names) => return members(value, names),
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
            Self::Split(sign) => {
                let parts = text.split(sign).map(str::trim).filter(|part| !part.is_empty());
                return Some(Value::List(parts.map(|part| Value::from(part.to_owned())).collect()));
            }
            Self::Hashes => return hashes(&text),
            Self::Hash => {
                let Some(Value::List(list)) = hashes(&text) else { return None };
                return list.into_iter().next();
            }
            Self::UrlHost => {
                let host = url_host(&text)?;
                cut(text, |_| host)
            }
            Self::SocketIp => return socket(&text).map(|(ip, _)| Value::from(ip)),
            Self::SocketPort => return socket(&text).map(|(_, port)| Value::Int(i64::from(port))),
            Self::Under(field) => under(text, field, scope),
            Self::NotAddress => return super::address(text.clone()).is_none().then_some(Value::Str(text)),
            Self::Address => return super::address(text).map(Value::Str),
            Self::NotNumber => return text.parse::<f64>().is_err().then_some(Value::Str(text)),
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
            Self::Without(sign) => Cow::Owned(text.replace(sign, "")),
            Self::WithoutPort => cut(text, without_port),
            Self::Prefix(prefix) => Cow::Owned(format!("{prefix}{text}")),
            Self::Except(none_of) => {
                if none_of.iter().any(|one| one.eq_ignore_ascii_case(&text)) {
                    return None;
                }
                text
            }
            Self::Is(one_of) => return Some(Value::Bool(one_of.iter().any(|one| one.eq_ignore_ascii_case(&text)))),
            Self::Join | Self::Each(..) | Self::Seconds | Self::Pluck(_) | Self::Members(_) | Self::Email | Self::Emails => text,
        }))
    }
}

fn members<'a>(value: Value<'a>, names: &[(&'static str, &'static str)]) -> Option<Value<'a>> {
    let items = match value {
        Value::List(items) => items,
        single => vec![single],
    };
    let renamed = items.iter().filter_map(Value::as_map).map(|item| {
        let found = names.iter().filter_map(|(theirs, ours)| Some((*ours, item.path(theirs)?)));
        let kept = found.filter(|(_, value)| !matches!(value, Value::Null));
        Map(kept.map(|(name, value)| (Cow::Borrowed(name), value.clone())).collect())
    });
    let renamed: Vec<_> = renamed.filter(|item| !item.is_empty()).map(Value::Map).collect();
    (!renamed.is_empty()).then_some(Value::List(renamed))
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

fn each<'a>(value: Value<'a>, name: &'static str, beside: Option<(&'static str, &'static str)>) -> Option<Value<'a>> {
    let items = if let Value::List(items) = value { items } else { vec![value] };
    let object = |item| {
        let mut object = Map(vec![(Cow::Borrowed(name), Value::Str(into_text(item).filter(|text| !text.is_empty())?))]);
        if let Some((name, constant)) = beside {
            object.push(name, constant);
        }
        Some(Value::Map(object))
    };
    let objects: Vec<_> = items.into_iter().filter_map(object).collect();
    (!objects.is_empty()).then_some(Value::List(objects))
}

/// The mail addresses in a text or in the texts of a list, each without the name before it.
///
/// At most [`ADDRESSES_MAX`]: a mail to a whole company is known by the first of them.
fn addresses<'a>(value: Value<'a>) -> Vec<Value<'a>> {
    let items = if let Value::List(items) = value { items } else { vec![value] };
    let mut found = Vec::new();
    for text in items.into_iter().filter_map(into_text) {
        // A comma in somebody's name leaves a piece that is no address.
        for piece in text.split([',', ';']) {
            let address = piece.rsplit_once('<').map_or(piece, |(_, address)| address.split('>').next().unwrap_or(address));
            let address = address.trim().trim_start_matches("mailto:");
            if found.len() < ADDRESSES_MAX && crate::validate::is_email(address) {
                found.push(Value::from(address.to_owned()));
            }
        }
    }
    found
}

const ADDRESSES_MAX: usize = 256;

/// Where in a text its host stands: `scheme://user@host:port/path`, or the same without scheme and path.
fn url_host(text: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find("://").map_or(0, |at| at + 3);
    let authority = &text[start..start + text[start..].find(['/', '?', '#']).unwrap_or(text.len() - start)];
    let start = start + authority.rfind('@').map_or(0, |at| at + 1);
    let authority = &text[start..start + authority.len() - authority.rfind('@').map_or(0, |at| at + 1)];
    let host = without_port(authority);
    (!host.is_empty()).then_some(start + host.start..start + host.end)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url() {
        for (url, host) in [
            ("https://ann:pw@shop.example:8443/cart?x=1", "shop.example"),
            ("http://[2001:db8::1]:80/", "2001:db8::1"),
            ("shop.example:443", "shop.example"),
            ("shop.example", "shop.example"),
            ("ftp://files.example", "files.example"),
            ("http://a.example?u=b@c", "a.example"),
        ] {
            assert_eq!(url_host(url).map(|range| &url[range]), Some(host), "{url}");
        }
        for url in ["/cart", "https:///x", "", "http://@/"] {
            assert_eq!(url_host(url), None, "{url}");
        }
    }

    #[test]
    fn the_addresses_of_a_mail() {
        let text = |text: &'static str| Value::from(text);
        let found = |value| addresses(value).iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found(text("\"Doe, Jo\" <jo@a.example>, <kim@b.example>; lee@c.example")),
            ["jo@a.example", "kim@b.example", "lee@c.example"]
        );
        let list = Value::List(vec![text("Ann <ann@a.example>"), Value::Null, text("nobody")]);
        assert_eq!(found(list), ["ann@a.example"]);
        assert_eq!(found(text("postmaster")), [""; 0]);
    }
}
