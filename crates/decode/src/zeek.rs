use std::borrow::Cow;

use crate::{Map, Value};

/// The decoder's name for a log, one constant each: the list in `DECODERS` and the lookup below cannot drift apart.
macro_rules! logs {
    ($($constant:ident $path:literal),* $(,)?) => {
        $(pub(crate) const $constant: &str = concat!("zeek.", $path);)*
        const LOGS: &[(&str, &str)] = &[$(($path, $constant)),*];
    };
}

logs! {
    CONN "conn",
    CAPTURE_LOSS "capture_loss",
    DCE_RPC "dce_rpc",
    DHCP "dhcp",
    DNP3 "dnp3",
    DNS "dns",
    DPD "dpd",
    FILES "files",
    FTP "ftp",
    HTTP "http",
    INTEL "intel",
    IRC "irc",
    KERBEROS "kerberos",
    KNOWN_CERTS "known_certs",
    KNOWN_HOSTS "known_hosts",
    KNOWN_SERVICES "known_services",
    LDAP "ldap",
    LDAP_SEARCH "ldap_search",
    LOADED_SCRIPTS "loaded_scripts",
    MODBUS "modbus",
    MQTT "mqtt",
    MYSQL "mysql",
    NOTICE "notice",
    NTLM "ntlm",
    NTP "ntp",
    OCSP "ocsp",
    PACKET_FILTER "packet_filter",
    PE "pe",
    POSTGRESQL "postgresql",
    QUIC "quic",
    RADIUS "radius",
    RDP "rdp",
    REPORTER "reporter",
    RFB "rfb",
    SIP "sip",
    SMB_FILES "smb_files",
    SMB_MAPPING "smb_mapping",
    SMTP "smtp",
    SNMP "snmp",
    SOCKS "socks",
    SOFTWARE "software",
    SSH "ssh",
    SSL "ssl",
    STATS "stats",
    SYSLOG "syslog",
    TELEMETRY "telemetry",
    TUNNEL "tunnel",
    WEIRD "weird",
    WEBSOCKET "websocket",
    X509 "x509",
    OTHER "other",
}

/// The decoder name for a log's path; a path nobody knows is `zeek.other`.
pub(crate) fn decoder(path: &str) -> &'static str {
    LOGS.iter().find(|(known, _)| *known == path).map_or(OTHER, |(_, name)| name)
}

/// The log a JSON object without `_path` comes from, by fields that only one log has. Ordered: the first that fits wins.
pub(crate) fn guess(map: &Map<'_>) -> Option<&'static str> {
    const SIGNS: [(&str, &str); 33] = [
        ("conn_state", "conn"),
        ("trans_id", "dns"),
        ("share_type", "smb_mapping"),
        ("smtp.helo", "smtp"),
        ("mailfrom", "smtp"),
        ("helo", "smtp"),
        ("certificate.serial", "x509"),
        ("cert_chain_fps", "ssl"),
        ("cert_chain_fuids", "ssl"),
        ("ssl_history", "ssl"),
        ("server_name", "ssl"),
        ("auth_attempts", "ssh"),
        ("cipher_alg", "ssh"),
        ("request_type", "kerberos"),
        ("named_pipe", "dce_rpc"),
        ("endpoint", "dce_rpc"),
        ("security_protocol", "rdp"),
        ("keyboard_layout", "rdp"),
        ("cookie", "rdp"),
        ("desktop_name", "rfb"),
        ("authentication_method", "rfb"),
        ("get_bulk_requests", "snmp"),
        ("trans_depth", "http"),
        ("is_orig", "files"),
        ("seen_bytes", "files"),
        ("unparsed_version", "software"),
        ("machine", "pe"),
        ("percent_lost", "capture_loss"),
        ("note", "notice"),
        ("ref_id", "ntp"),
        ("search_scope", "ldap_search"),
        ("data_channel.passive", "ftp"),
        ("tunnel_type", "tunnel"),
    ];
    if let Some((_, path)) = SIGNS.iter().find(|(field, _)| map.get(field).is_some()) {
        return Some(path);
    }
    let has = |field: &str| map.get(field).is_some();
    match () {
        () if has("action") && has("path") && has("name") => Some("smb_files"),
        () if has("command") && (has("reply_code") || has("arg")) => Some("ftp"),
        () if has("func") && has("id.orig_h") => Some("modbus"),
        () if has("domainname") || has("server_nb_computer_name") || has("server_dns_computer_name") => Some("ntlm"),
        () if has("msg_types") || has("assigned_addr") => Some("dhcp"),
        () if has("name") && (has("notice") || has("peer")) => Some("weird"),
        () if has("port_num") && has("subject") => Some("known_certs"),
        () if has("port_num") && has("service") => Some("known_services"),
        () if has("ts") && has("host") && map.len() == 2 => Some("known_hosts"),
        () => None,
    }
}

/// What the `#` lines of a Zeek log say about the rows below them.
pub(crate) struct Header {
    separator: String,
    set_separator: String,
    empty: String,
    unset: String,
    fields: Vec<(String, Kind)>,
    pub(crate) decoder: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Text,
    Time,
    Float,
    Whole,
    Bool,
    /// A set or vector of texts, times, numbers or booleans.
    List(Plain),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plain {
    Text,
    Float,
    Whole,
    Bool,
}

impl Header {
    /// Takes in a `#` line; false if it is none of Zeek's.
    pub(crate) fn directive(header: &mut Option<Self>, line: &str) -> bool {
        if let Some(written) = line.strip_prefix("#separator ") {
            *header = Some(Self {
                separator: separator(written),
                set_separator: ",".into(),
                empty: "(empty)".into(),
                unset: "-".into(),
                fields: Vec::new(),
                decoder: OTHER,
            });
            return true;
        }
        let Some(header) = header else { return false };
        let mut words = line.split(header.separator.as_str());
        match (words.next(), words.next()) {
            (Some("#set_separator"), Some(value)) => header.set_separator = value.to_owned(),
            (Some("#empty_field"), Some(value)) => header.empty = value.to_owned(),
            (Some("#unset_field"), Some(value)) => header.unset = value.to_owned(),
            (Some("#path"), Some(value)) => header.decoder = decoder(value),
            (Some("#fields"), Some(first)) => {
                header.fields =
                    std::iter::once(first).chain(words).take(FIELDS_MAX).map(|name| (name.to_owned(), Kind::Text)).collect();
            }
            (Some("#types"), Some(first)) => {
                for (field, written) in header.fields.iter_mut().zip(std::iter::once(first).chain(words)) {
                    field.1 = kind(written);
                }
            }
            (Some("#open" | "#close"), _) => {}
            _ => return false,
        }
        true
    }

    /// A row under this header; `None` if the line does not have its number of fields.
    pub(crate) fn row<'a>(&self, line: &'a str) -> Option<Map<'a>> {
        if self.fields.is_empty() {
            return None;
        }
        let mut native = Map(Vec::with_capacity(self.fields.len()));
        let mut words = line.split(self.separator.as_str());
        for (name, kind) in &self.fields {
            let word = words.next()?;
            if word != self.unset {
                native.0.push((Cow::Owned(name.clone()), self.value(word, *kind)));
            }
        }
        words.next().is_none().then_some(native)
    }

    fn value<'a>(&self, word: &'a str, kind: Kind) -> Value<'a> {
        match kind {
            Kind::List(_) if word == self.empty => Value::List(Vec::new()),
            Kind::List(plain) => Value::List(
                word.split(self.set_separator.as_str())
                    .map(|item| if item == self.unset { Value::Null } else { scalar(item, plain) })
                    .collect(),
            ),
            Kind::Text if word == self.empty => Value::from(""),
            Kind::Text => scalar(word, Plain::Text),
            Kind::Time | Kind::Float => scalar(word, Plain::Float),
            Kind::Whole => scalar(word, Plain::Whole),
            Kind::Bool => scalar(word, Plain::Bool),
        }
    }
}

const FIELDS_MAX: usize = 1024;

/// The separator as its own line writes it, usually `\\x09`.
fn separator(written: &str) -> String {
    match written.as_bytes() {
        [b'\\', b'x', high, low] => hex_byte(*high, *low).map_or_else(|| "\t".into(), |byte| char::from(byte).to_string()),
        _ => written.to_owned(),
    }
}

fn kind(written: &str) -> Kind {
    let inner =
        written.strip_prefix("set[").or_else(|| written.strip_prefix("vector[")).and_then(|inner| inner.strip_suffix(']'));
    match (inner, written) {
        (Some("double" | "interval" | "time"), _) => Kind::List(Plain::Float),
        (Some("count" | "int" | "port"), _) => Kind::List(Plain::Whole),
        (Some("bool"), _) => Kind::List(Plain::Bool),
        (Some(_), _) => Kind::List(Plain::Text),
        (None, "time") => Kind::Time,
        (None, "double" | "interval") => Kind::Float,
        (None, "count" | "int" | "port") => Kind::Whole,
        (None, "bool") => Kind::Bool,
        (None, _) => Kind::Text,
    }
}

fn scalar(word: &str, kind: Plain) -> Value<'_> {
    let read = match kind {
        Plain::Text => None,
        Plain::Float => word.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
        Plain::Whole => word.parse().ok().map(Value::Int).or_else(|| word.parse().ok().map(Value::Uint)),
        Plain::Bool => match word {
            "T" => Some(Value::Bool(true)),
            "F" => Some(Value::Bool(false)),
            _ => None,
        },
    };
    read.unwrap_or_else(|| Value::Str(unescape(word)))
}

/// `\\` and `\xHH` undone. Control characters and what is no UTF-8 stay escaped, as in Zeek's own JSON.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(first) = rest.first() {
        let (byte, len) = match rest {
            [b'\\', b'\\', ..] => (b'\\', 2),
            [b'\\', b'x', high, low, ..] => match hex_byte(*high, *low) {
                Some(byte) if byte >= 0x20 && byte != 0x7F => (byte, 4),
                _ => (b'\\', 1),
            },
            _ => (*first, 1),
        };
        bytes.push(byte);
        rest = &rest[len..];
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_their_header() {
        let mut header = None;
        for line in [
            "#separator \\x09",
            "#set_separator\t,",
            "#empty_field\t(empty)",
            "#unset_field\t-",
            "#path\tdns",
            "#fields\tts\tuid\tid.resp_p\tanswers\tTTLs\trejected\tquery",
            "#types\ttime\tstring\tport\tvector[string]\tvector[interval]\tbool\tstring",
        ] {
            assert!(Header::directive(&mut header, line), "{line}");
        }
        let header = header.expect("a header");
        assert_eq!(header.decoder, "zeek.dns");
        let row = header.row("1500.25\tC1\t53\ta,b\t(empty)\tF\t-").expect("a row");
        let text = serde_json::to_string(&row).expect("fields serialise");
        assert_eq!(text, r#"{"ts":1500.25,"uid":"C1","id.resp_p":53,"answers":["a","b"],"TTLs":[],"rejected":false}"#);
        assert!(header.row("1\t2").is_none());
        assert_eq!(unescape("a\\x20b\\xff"), "a\\x20b\\xff");
        assert_eq!(unescape("a\\x20b\\\\c\\x00"), "a b\\c\\x00");
    }
}
