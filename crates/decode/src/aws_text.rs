//! Logs that AWS writes as lines of text: load balancers, flows of a VPC, accesses to S3 buckets.

use reeve_record::EventTime;

use crate::form::Line;
use crate::time::{epoch, stamp, web_stamp, whole_stamp};
use crate::{Map, Value};

/// A line of a load balancer, of S3, or of a VPC flow log in its default format; `None` if it is none of these.
pub(crate) fn read(line: &str) -> Option<Line<'_>> {
    match line.as_bytes().first()? {
        b'0'..=b'9' if line.as_bytes().get(1) == Some(&b' ') => flow(line),
        b'0'..=b'9' if stamp(line).is_some() => balancer(line, "aws.elb", &CLASSIC, 0, 15),
        b'h' | b'g' | b'w' => balancer(line, "aws.alb", &APPLICATION, 1, 12),
        b't' if line.starts_with("tls ") => balancer(line, "aws.nlb", &NETWORK, 2, 15),
        _ => None,
    }
    .or_else(|| bucket(line))
}

/// A line of a load balancer whose time is the word number `timed` and which has `least` words at least.
fn balancer<'a>(line: &'a str, decoder: &'static str, names: &[&'static str], timed: usize, least: usize) -> Option<Line<'a>> {
    let at = line.match_indices(' ').nth(timed).map_or(line.len(), |(at, _)| at);
    let time = whole_stamp(line[..at].rsplit(' ').next()?)?;
    // Most dated lines end here: nothing in quotes follows.
    let words = Some(line).filter(|line| line.contains(" \"") || timed == 2).and_then(words)?;
    if words.len() < least {
        return None;
    }
    let place = |name: &str| names.iter().position(|known| *known == name);
    let address = place("client:port").and_then(|at| words.get(at))?;
    if !address.contains(':') || place("request").is_some_and(|at| words.get(at).is_none_or(|request| !request.contains(' '))) {
        return None;
    }
    let native = row(names, &words);
    // AWS writes these in UTC, for network load balancers without saying so.
    Some(Line { decoder, native, time: Some(EventTime::exact(time.at)), problems: Vec::new() })
}

/// A line of an access log of S3: the owner of the bucket is 64 hexadecimal digits.
fn bucket(line: &str) -> Option<Line<'_>> {
    let owner = line.as_bytes().get(..64)?;
    if !owner.iter().all(u8::is_ascii_hexdigit) || line.as_bytes().get(64) != Some(&b' ') {
        return None;
    }
    let words = words(line).filter(|words| words.len() >= 17)?;
    let time = web_stamp(words[2])?;
    Some(Line { decoder: "aws.s3access", native: row(&BUCKET, &words), time: Some(time), problems: Vec::new() })
}

/// A line of the default format of VPC flow logs (version 2).
fn flow(line: &str) -> Option<Line<'_>> {
    let names = &FLOW[..FLOW_DEFAULT];
    let words: Vec<&str> = line.split(' ').take(FLOW_DEFAULT + 1).collect();
    let is_flow = words.len() == FLOW_DEFAULT
        && words[2].starts_with("eni-")
        && matches!(words[13], "OK" | "NODATA" | "SKIPDATA")
        && (words[1] == "unknown" || words[1].bytes().all(|byte| byte.is_ascii_digit()));
    is_flow.then(|| flow_line(names.iter().copied(), &words))
}

/// The columns of a VPC flow log of a custom format, as its header line names them.
pub(crate) struct FlowHeader {
    names: Vec<&'static str>,
}

impl FlowHeader {
    /// The header, if the line is nothing but names of flow log fields, three at least, of which one says what flowed.
    pub(crate) fn of(line: &str) -> Option<Self> {
        let first = line.split(' ').next()?;
        if !FLOW.contains(&first) {
            return None;
        }
        let names: Vec<&'static str> =
            line.split(' ').map(|word| FLOW.into_iter().find(|known| *known == word)).collect::<Option<_>>()?;
        let tells = ["srcaddr", "dstaddr", "pkt-srcaddr", "interface-id", "log-status"];
        (names.len() >= 3 && names.iter().any(|name| tells.contains(name))).then_some(Self { names })
    }

    /// A row under this header; `None` if the line has another number of words, or words where numbers belong.
    pub(crate) fn row<'a>(&self, line: &'a str) -> Option<Line<'a>> {
        let words: Vec<&str> = line.split(' ').take(self.names.len() + 1).collect();
        let fits = |(name, word): (&&str, &&str)| *word == "-" || !FLOW_NUMBERS.contains(name) || word.parse::<i64>().is_ok();
        if words.len() != self.names.len() || !self.names.iter().zip(&words).all(fits) {
            return None;
        }
        Some(flow_line(self.names.iter().copied(), &words))
    }
}

fn flow_line<'a>(names: impl Iterator<Item = &'static str>, words: &[&'a str]) -> Line<'a> {
    let mut native = Map(Vec::with_capacity(words.len()));
    for (name, word) in names.zip(words.iter().copied()).filter(|(_, word)| *word != "-") {
        let number = FLOW_NUMBERS.contains(&name).then(|| word.parse().ok().map(Value::Int)).flatten();
        native.push(name, number.unwrap_or_else(|| Value::from(word)));
    }
    let moment = |name| native.get(name).and_then(Value::text).and_then(|text| epoch(&text));
    let time = moment("start").or_else(|| moment("end")).map(EventTime::exact);
    Line { decoder: "aws.vpcflow", native, time, problems: Vec::new() }
}

fn row<'a>(names: &[&'static str], words: &[&'a str]) -> Map<'a> {
    let mut native = Map(Vec::with_capacity(words.len() + 6));
    for (name, word) in names.iter().copied().zip(words.iter().copied()).filter(|(_, word)| !matches!(*word, "" | "-")) {
        match name {
            "client:port" => address(&mut native, "client_ip", "client_port", word),
            "target:port" => address(&mut native, "target_ip", "target_port", word),
            "request" => request(&mut native, word),
            name => native.push(name, number(name, word)),
        }
    }
    // What AWS adds at the end of the line has no name here yet.
    let rest: Vec<Value<'a>> = words.iter().skip(names.len()).map(|word| Value::from(*word)).collect();
    if !rest.is_empty() {
        native.push("rest", Value::List(rest));
    }
    native
}

fn number<'a>(name: &str, word: &'a str) -> Value<'a> {
    let counts =
        name.ends_with("_bytes") || name.ends_with("_code") || matches!(name, "http_status" | "bytes_sent" | "object_size");
    counts.then(|| word.parse().ok().map(Value::Int)).flatten().unwrap_or_else(|| Value::from(word))
}

fn address<'a>(native: &mut Map<'a>, ip_name: &'static str, port_name: &'static str, word: &'a str) {
    let (ip, port) = word.rsplit_once(':').unwrap_or((word, ""));
    native.push(ip_name, ip);
    if let Ok(port) = port.parse::<i64>() {
        native.push(port_name, port);
    }
}

/// `METHOD URL PROTOCOL` with its parts: `method`, `url` (or `uri` alone), `host`, `uri`, `protocol`.
fn request<'a>(native: &mut Map<'a>, request: &'a str) {
    let mut put = |name: &'static str, value: &'a str| {
        if !matches!(value, "" | "-") {
            native.push(name, value);
        }
    };
    put("request", request);
    let Some((method, rest)) = request.split_once(' ') else { return };
    let (url, protocol) = rest.rsplit_once(' ').unwrap_or((rest, ""));
    // A connection without a request is `- http://host:port- -`.
    let url = if method == "-" { url.trim_end_matches('-') } else { url };
    put("method", method);
    put("protocol", protocol);
    let Some((_, after)) = url.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    else {
        return put("uri", url);
    };
    put("url", url);
    let (host, uri) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
    put("host", host);
    put("uri", if uri.is_empty() { "/" } else { uri });
}

/// Words parted by blanks; those in quotes or brackets keep theirs. `None` if one is not closed, or there are too many.
fn words(line: &str) -> Option<Vec<&str>> {
    let mut found = Vec::with_capacity(40);
    let mut rest = line;
    while !rest.is_empty() && found.len() < WORDS_MAX {
        let (word, after) = match rest.as_bytes()[0] {
            b'"' => enclosed(&rest[1..], "\" ", '"')?,
            b'[' => enclosed(&rest[1..], "] ", ']')?,
            _ => rest.split_once(' ').unwrap_or((rest, "")),
        };
        found.push(word);
        rest = after;
    }
    rest.is_empty().then_some(found)
}

/// The text up to the closing sign that a blank or the end follows: the sign alone may stand inside.
fn enclosed<'a>(text: &'a str, close: &str, last: char) -> Option<(&'a str, &'a str)> {
    match text.find(close) {
        Some(end) => Some((&text[..end], &text[end + close.len()..])),
        None => Some((text.strip_suffix(last)?, "")),
    }
}

const WORDS_MAX: usize = 96;

const CLASSIC: [&str; 15] = [
    "time",
    "elb",
    "client:port",
    "target:port",
    "request_processing_time",
    "backend_processing_time",
    "response_processing_time",
    "elb_status_code",
    "backend_status_code",
    "received_bytes",
    "sent_bytes",
    "request",
    "user_agent",
    "ssl_cipher",
    "ssl_protocol",
];

const APPLICATION: [&str; 33] = [
    "type",
    "time",
    "elb",
    "client:port",
    "target:port",
    "request_processing_time",
    "target_processing_time",
    "response_processing_time",
    "elb_status_code",
    "target_status_code",
    "received_bytes",
    "sent_bytes",
    "request",
    "user_agent",
    "ssl_cipher",
    "ssl_protocol",
    "target_group_arn",
    "trace_id",
    "domain_name",
    "chosen_cert_arn",
    "matched_rule_priority",
    "request_creation_time",
    "actions_executed",
    "redirect_url",
    "error_reason",
    "target_port_list",
    "target_status_code_list",
    "classification",
    "classification_reason",
    "conn_trace_id",
    "transformed_host",
    "transformed_uri",
    "request_transform_status",
];

const NETWORK: [&str; 22] = [
    "type",
    "version",
    "time",
    "elb",
    "listener",
    "client:port",
    "target:port",
    "connection_time",
    "tls_handshake_time",
    "received_bytes",
    "sent_bytes",
    "incoming_tls_alert",
    "chosen_cert_arn",
    "chosen_cert_serial",
    "tls_cipher",
    "tls_protocol_version",
    "tls_named_group",
    "domain_name",
    "alpn_fe_protocol",
    "alpn_be_protocol",
    "alpn_client_preference_list",
    "tls_connection_creation_time",
];

const BUCKET: [&str; 26] = [
    "bucket_owner",
    "bucket",
    "time",
    "remote_ip",
    "requester",
    "request_id",
    "operation",
    "key",
    "request",
    "http_status",
    "error_code",
    "bytes_sent",
    "object_size",
    "total_time",
    "turn_around_time",
    "referer",
    "user_agent",
    "version_id",
    "host_id",
    "signature_version",
    "cipher_suite",
    "authentication_type",
    "host_header",
    "tls_version",
    "access_point_arn",
    "acl_required",
];

/// How many of [`FLOW`], from the first, the default format has.
const FLOW_DEFAULT: usize = 14;

/// Every field a flow log may have; those of the default format first, in its order.
const FLOW: [&str; 42] = [
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
    "vpc-id",
    "subnet-id",
    "instance-id",
    "tcp-flags",
    "type",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "region",
    "az-id",
    "sublocation-type",
    "sublocation-id",
    "pkt-src-aws-service",
    "pkt-dst-aws-service",
    "flow-direction",
    "traffic-path",
    "ecs-cluster-arn",
    "ecs-cluster-name",
    "ecs-container-instance-arn",
    "ecs-container-instance-id",
    "ecs-container-id",
    "ecs-second-container-id",
    "ecs-service-name",
    "ecs-task-definition-arn",
    "ecs-task-arn",
    "ecs-task-id",
    "reject-reason",
    "resource-id",
    "encryption-status",
];

const FLOW_NUMBERS: [&str; 10] =
    ["version", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "tcp-flags", "traffic-path"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: Option<Line<'_>>, decoder: &str, time: &str, want: &str) {
        let line = line.expect("a line of AWS");
        assert_eq!(line.decoder, decoder);
        assert_eq!(line.time.map(|time| time.at.to_string()).unwrap_or_default(), time);
        assert_eq!(serde_json::to_string(&line.native).expect("fields serialise"), want);
    }

    #[test]
    fn flows_with_and_without_a_header() {
        check(
            read("2 111122223333 eni-0a 192.0.2.7 10.0.0.5 44321 22 6 4 240 1763632800 1763632860 REJECT OK"),
            "aws.vpcflow",
            "2025-11-20T10:00:00Z",
            r#"{"version":2,"account-id":"111122223333","interface-id":"eni-0a","srcaddr":"192.0.2.7","dstaddr":"10.0.0.5","srcport":44321,"dstport":22,"protocol":6,"packets":4,"bytes":240,"start":1763632800,"end":1763632860,"action":"REJECT","log-status":"OK"}"#,
        );
        check(
            read("2 111122223333 eni-0a - - - - - - - 1763632800 1763632860 - NODATA"),
            "aws.vpcflow",
            "2025-11-20T10:00:00Z",
            r#"{"version":2,"account-id":"111122223333","interface-id":"eni-0a","start":1763632800,"end":1763632860,"log-status":"NODATA"}"#,
        );
        let header = FlowHeader::of("srcaddr dstaddr action start flow-direction").expect("a header");
        let want =
            r#"{"srcaddr":"192.0.2.7","dstaddr":"10.0.0.5","action":"ACCEPT","start":1763632800,"flow-direction":"ingress"}"#;
        check(header.row("192.0.2.7 10.0.0.5 ACCEPT 1763632800 ingress"), "aws.vpcflow", "2025-11-20T10:00:00Z", want);
        assert!(header.row("these are five other words").is_none());
        assert!(FlowHeader::of("version of the action").is_none());
        assert!(FlowHeader::of("start end action").is_none());
    }

    #[test]
    fn load_balancers_and_buckets() {
        check(
            read(
                r#"2026-11-20T10:00:00.5Z web 192.0.2.7:40000 10.0.0.5:80 0.1 0.2 0.3 200 200 0 29 "GET http://www.example.org:80/a?b=c HTTP/1.1" "curl/8" - -"#,
            ),
            "aws.elb",
            "2026-11-20T10:00:00.5Z",
            r#"{"time":"2026-11-20T10:00:00.5Z","elb":"web","client_ip":"192.0.2.7","client_port":40000,"target_ip":"10.0.0.5","target_port":80,"request_processing_time":"0.1","backend_processing_time":"0.2","response_processing_time":"0.3","elb_status_code":200,"backend_status_code":200,"received_bytes":0,"sent_bytes":29,"request":"GET http://www.example.org:80/a?b=c HTTP/1.1","method":"GET","protocol":"HTTP/1.1","url":"http://www.example.org:80/a?b=c","host":"www.example.org:80","uri":"/a?b=c","user_agent":"curl/8"}"#,
        );
        let owner = "79a5".repeat(16);
        let line = format!(
            r#"{owner} logs [20/Nov/2026:10:00:00 +0000] 192.0.2.7 - 3E57 REST.GET.OBJECT a%20b "GET /a%20b HTTP/1.1" 404 NoSuchKey 243 - 7 - "-" "S3 console" - host="#
        );
        let want = format!(
            r#"{{"bucket_owner":"{owner}","bucket":"logs","time":"20/Nov/2026:10:00:00 +0000","remote_ip":"192.0.2.7","request_id":"3E57","operation":"REST.GET.OBJECT","key":"a%20b","request":"GET /a%20b HTTP/1.1","method":"GET","protocol":"HTTP/1.1","uri":"/a%20b","http_status":404,"error_code":"NoSuchKey","bytes_sent":243,"total_time":"7","user_agent":"S3 console","host_id":"host="}}"#
        );
        check(read(&line), "aws.s3access", "2026-11-20T10:00:00Z", &want);
    }

    #[test]
    fn other_lines_that_start_alike() {
        for line in [
            "http request failed",
            "http 2026-11-20T10:00:00Z is no load balancer, though it has many words in one line of text like this",
            "tls 1.3 handshake",
            "2 eggs and a pan",
            "2026-11-20T10:00:00Z INFO started",
        ] {
            assert!(read(line).is_none(), "{line}");
        }
    }
}
