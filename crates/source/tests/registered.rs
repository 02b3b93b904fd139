//! Registered sources over real sockets: whose a record is, and what one that is disabled is told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it is wrong")]
mod common;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use common::{Memory, intake, runtime};
use jiff::Timestamp;
use reeve_source::{
    Change, Elastic, ForwardOptions, HttpLimits, Intake, Place, Registry, StreamLimits, Tokens, new_token, serve_forward,
    serve_gelf_tcp, serve_http, serve_relp, serve_tcp, serve_udp, token_hash,
};
use tokio::sync::watch;

/// Listeners with a registry behind them.
struct Listening {
    runtime: tokio::runtime::Runtime,
    memory: Arc<Memory>,
    intake: Intake,
    registry: Registry,
    stop: watch::Receiver<bool>,
    _stopping: watch::Sender<bool>,
}

impl Listening {
    fn new() -> Self {
        let (memory, intake) = intake();
        let (stopping, stop) = watch::channel(false);
        Self { runtime: runtime(), memory, intake, registry: Registry::default(), stop, _stopping: stopping }
    }

    fn change(&mut self, change: Change) {
        self.registry.change(&change, "ana", Timestamp::UNIX_EPOCH).unwrap();
        self.intake.senders.set(self.registry.sources());
    }

    /// Registers a source by token; gives the token.
    fn with_token(&mut self, name: &str) -> String {
        let token = new_token().unwrap();
        self.change(add(name, Some(&token), &[]));
        token
    }

    fn http(&self, tokens: Tokens) -> SocketAddr {
        let (place, limits) = (place("http"), HttpLimits::default());
        let opening = serve_http(&place, self.intake.clone(), tokens, limits, Elastic::default(), self.stop.clone());
        self.runtime.block_on(opening).unwrap().address
    }

    fn last_source(&self, records: usize) -> String {
        self.memory.wait_for(records);
        assert_eq!(self.memory.sources().len(), records);
        self.memory.sources().pop().unwrap()
    }

    fn refused(&self, source: &str) -> u64 {
        let snapshot = self.intake.counters.snapshot();
        let line = snapshot.sources.into_iter().find(|line| line.source == source);
        line.map_or(0, |line| line.refused.get("source_disabled").or(line.dropped.get("source_disabled")).copied().unwrap_or(0))
    }
}

fn place(name: &str) -> Place {
    Place::plain(name, "127.0.0.1:0".parse().unwrap())
}

fn add(name: &str, token: Option<&str>, addresses: &[&str]) -> Change {
    Change::Add {
        name: name.to_owned(),
        way: "curl".to_owned(),
        label: "default".to_owned(),
        token: token.map(token_hash),
        certificate: None,
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn disable(name: &str) -> Change {
    Change::Disable { name: name.to_owned(), reason: Some("a test".to_owned()) }
}

fn enable(name: &str) -> Change {
    Change::Enable { name: name.to_owned(), reason: None }
}

/// Status and body of a POST.
fn post(to: SocketAddr, path: &str, authorization: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    let authorization = if authorization.is_empty() { String::new() } else { format!("authorization: {authorization}\r\n") };
    write!(stream, "{head}{authorization}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

const LOGS: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]},"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#;

#[test]
fn a_token_names_the_records_of_every_http_protocol() {
    let mut listening = Listening::new();
    let token = listening.with_token("web1");
    let http = listening.http(Tokens::new(["of the listener"]));
    let (bearer, splunk) = (format!("Bearer {token}"), format!("Splunk {token}"));
    let (bearer, splunk) = (bearer.as_str(), splunk.as_str());
    for (nth, (path, authorization, body, source)) in [
        ("/ingest/web1", bearer, "a line", "web1"),
        ("/ingest/web1%2Fnginx", bearer, "a line", "web1/nginx"),
        ("/ingest/nginx", bearer, "a line", "web1/nginx"),
        ("/_bulk", bearer, "{\"index\":{\"_index\":\"logs\"}}\n{\"a\":1}\n", "web1/logs"),
        ("/logs/_doc", bearer, "{\"a\":1}", "web1/logs"),
        ("/services/collector/event", splunk, "{\"event\":\"x\",\"sourcetype\":\"app\"}", "web1/app"),
        ("/services/collector/raw", splunk, "x", "web1"),
        ("/gelf", bearer, "{\"version\":\"1.1\",\"host\":\"h\",\"short_message\":\"x\"}", "web1/127.0.0.1"),
        ("/upload", bearer, "MESSAGE=x\n\n", "web1/127.0.0.1"),
        // What a listener's own token sends is nobody's.
        ("/logs/_doc", "Bearer of the listener", "{\"a\":1}", "elastic/logs"),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, answer) = post(http, path, authorization, body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        assert_eq!(listening.last_source(nth + 1), source, "{path}");
    }
    let otlp = format!("{bearer}\r\ncontent-type: application/json");
    assert_eq!(post(http, "/v1/logs", &otlp, LOGS).0, 200);
    assert_eq!(listening.last_source(11), "web1/checkout");
}

#[test]
fn nobody_writes_under_anothers_name_or_with_a_token_that_is_none() {
    let mut listening = Listening::new();
    let token = listening.with_token("web1");
    listening.with_token("web2");
    let http = listening.http(Tokens::default());
    assert_eq!(post(http, "/ingest/app", "", "anyone may").0, 200);
    assert_eq!(listening.last_source(1), "app");
    for (path, authorization, status, said) in [
        ("/ingest/web1", String::new(), 403, "not_this_source"),
        ("/ingest/web1%2Fapp", String::new(), 403, "not_this_source"),
        ("/ingest/app", format!("Bearer {token}x"), 401, "unauthorized"),
        ("/_bulk", "Bearer rvs_nobodys".to_owned(), 401, "security_exception"),
    ] {
        let (got, answer) = post(http, path, &authorization, "x\n");
        assert!(got == status && answer.contains(said), "{path}: {got} {answer}");
    }
    // Another's name is put behind its own.
    assert_eq!(post(http, "/ingest/web2", &format!("Bearer {token}"), "x").0, 200);
    assert_eq!(listening.last_source(2), "web1/web2");
    listening.change(Change::Retire { name: "web1".to_owned(), reason: None });
    assert_eq!(post(http, "/ingest/web1", &format!("Bearer {token}"), "x").0, 401);
    assert_eq!(post(http, "/ingest/web1", "", "x").0, 403, "its name stays taken");
    assert_eq!(listening.memory.sources().len(), 2);
}

#[test]
fn a_disabled_source_is_told_in_the_words_of_each_http_protocol() {
    let mut listening = Listening::new();
    let token = listening.with_token("web1");
    let http = listening.http(Tokens::default());
    listening.change(disable("web1"));
    let bearer = format!("Bearer {token}");
    for (nth, (path, said)) in [
        ("/ingest/web1", "\"source_disabled\""),
        ("/_bulk", "security_exception"),
        ("/services/collector/event", "Token disabled"),
        ("/gelf", "reeve source enable web1"),
        ("/upload", "source_disabled"),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, answer) = post(http, path, &bearer, "{}");
        assert!(status == 403 && answer.contains(said), "{path}: {status} {answer}");
        assert_eq!(listening.refused("web1"), nth as u64 + 1);
    }
    let (status, answer) = post(http, "/v1/logs", &format!("{bearer}\r\ncontent-type: application/json"), LOGS);
    assert!(status == 403 && answer.contains("\"code\":7"), "{status} {answer}");
    assert!(listening.memory.raws().is_empty());
    listening.change(enable("web1"));
    assert_eq!(post(http, "/ingest/web1", &bearer, "x").0, 200);
    assert_eq!(listening.last_source(1), "web1");
}

/// Waits until the other end has closed the connection; gives what it said before.
fn until_closed(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn an_address_names_a_stream_also_one_that_is_open_and_ends_it() {
    let mut listening = Listening::new();
    let at = place("syslog_tcp");
    let opening = serve_tcp(&at, listening.intake.clone(), StreamLimits::default(), listening.stop.clone());
    let syslog = listening.runtime.block_on(opening).unwrap().address;
    let mut stream = TcpStream::connect(syslog).unwrap();
    stream.write_all(b"<13>nobody's\n").unwrap();
    assert_eq!(listening.last_source(1), "syslog/127.0.0.1");
    listening.change(add("edge", None, &["127.0.0.0/8"]));
    stream.write_all(b"<13>of a network\n").unwrap();
    assert_eq!(listening.last_source(2), "edge/127.0.0.1");
    listening.change(add("host", None, &["127.0.0.1"]));
    stream.write_all(b"<13>of one address\n").unwrap();
    assert_eq!(listening.last_source(3), "host");
    listening.change(disable("host"));
    stream.write_all(b"<13>not taken\n").unwrap();
    until_closed(stream);
    assert_eq!((listening.refused("host"), listening.memory.raws().len()), (1, 3));
}

#[test]
fn a_disabled_source_is_told_by_relp_forward_and_gelf() {
    let mut listening = Listening::new();
    let (intake, stop) = (listening.intake.clone(), listening.stop.clone());
    let limits = StreamLimits::default;
    let options = ForwardOptions { record_bytes_max: 1 << 20, ..ForwardOptions::default() };
    let open = async {
        [
            serve_relp(&place("relp"), intake.clone(), limits(), stop.clone()).await.unwrap().address,
            serve_forward(&place("forward"), intake.clone(), limits(), options, stop.clone()).await.unwrap().address,
            serve_gelf_tcp(&place("gelf_tcp"), intake.clone(), limits(), stop.clone()).await.unwrap().address,
        ]
    };
    let [relp, forward, gelf] = listening.runtime.block_on(open);
    listening.change(add("host", None, &["127.0.0.1"]));
    listening.change(disable("host"));
    let refused = |to: SocketAddr, bytes: &[u8]| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(bytes).unwrap();
        until_closed(stream)
    };
    let said = refused(relp, b"1 open 0\n2 syslog 8 <13>relp\n");
    assert_eq!(said, "1 rsp 26 500 the source is disabled\n0 serverclose 0\n");
    // ["tag", 0, {"a": "b"}, {"chunk": "x"}]: nothing acknowledges it.
    let chunk = b"\x94\xa3tag\x00\x81\xa1a\xa1b\x81\xa5chunk\xa1x";
    assert_eq!(refused(forward, chunk), "");
    assert_eq!(refused(gelf, b"{\"short_message\":\"x\"}\0"), "");
    assert_eq!((listening.refused("host"), listening.memory.raws().len()), (3, 0));

    listening.change(enable("host"));
    let mut stream = TcpStream::connect(forward).unwrap();
    stream.write_all(chunk).unwrap();
    let mut ack = [0; 7];
    stream.read_exact(&mut ack).unwrap();
    assert_eq!(listening.last_source(1), "host/tag");
}

#[test]
fn datagrams_of_a_disabled_source_are_dropped_and_counted() {
    let mut listening = Listening::new();
    let at = place("syslog_udp");
    let opening = serve_udp(&at, listening.intake.clone(), listening.stop.clone());
    let udp = listening.runtime.block_on(opening).unwrap().address;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |text: &[u8]| socket.send_to(text, udp).map(drop).unwrap();
    send(b"<13>nobody's");
    assert_eq!(listening.last_source(1), "syslog/127.0.0.1");
    listening.change(add("host", None, &["127.0.0.1"]));
    send(b"<13>known");
    assert_eq!(listening.last_source(2), "host");
    listening.change(disable("host"));
    send(b"<13>dropped");
    let until = Instant::now() + Duration::from_secs(10);
    while listening.refused("host") == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((listening.refused("host"), listening.memory.raws().len()), (1, 2));
    listening.change(enable("host"));
    send(b"<13>taken again");
    assert_eq!(listening.last_source(3), "host");
}
