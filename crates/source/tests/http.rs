//! The HTTP listeners over real sockets, with requests as real clients send them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
mod common;

use std::{io::Write as _, sync::atomic::Ordering::SeqCst};

use common::{intake, runtime};
use reeve_source::{Elastic, HttpLimits, Place, Running, Tokens, serve_http};
use serde_json::Value;
use tokio::sync::watch;

struct Server {
    memory: std::sync::Arc<common::Memory>,
    intake: reeve_source::Intake,
    running: Running,
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Runtime,
}

fn server(tokens: Tokens, limits: HttpLimits) -> Server {
    let runtime = runtime();
    let (memory, intake) = intake();
    let (stop, stopped) = watch::channel(false);
    let place = Place::plain("elastic", "127.0.0.1:0".parse().unwrap());
    let opening = serve_http(&place, intake.clone(), tokens, limits, Elastic::default(), stopped);
    let running = runtime.block_on(opening).unwrap();
    Server { memory, intake, running, stop, runtime }
}

impl Server {
    /// Status, headers and body of a request written by hand.
    fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String, Value) {
        let mut stream = std::net::TcpStream::connect(self.running.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        )
        .unwrap();
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap_or(0);
        (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bulk_as_rsyslog_sends_it() {
    let server = server(Tokens::default(), HttpLimits::default());
    let body = b"{\"index\":{\"_index\": \"system-log\",\"_id\":\"\"}}\n{\"message\":\"one\"}\n\n{\"index\":{\"_index\": \"system-log\",\"_id\":\"\"}}\n{\"message\":\"two\"}\n\n";
    let (status, head, answer) = server.send("POST", "/_bulk", "content-type: application/json; charset=utf-8\r\n", body);
    assert_eq!(status, 200);
    assert!(head.contains("x-elastic-product: elasticsearch"), "{head}");
    assert_eq!(answer["errors"], false);
    assert_eq!(answer["items"][1]["index"]["_id"], "0-1");
    assert_eq!(answer["items"][1]["index"]["status"], 201);
    assert_eq!(server.memory.raws(), ["{\"message\":\"one\"}", "{\"message\":\"two\"}"]);
    assert_eq!(server.memory.sources()[0], "elastic/system-log");
}

#[test]
fn bulk_as_the_python_client_sends_it() {
    let server = server(Tokens::default(), HttpLimits::default());
    let compatible = "accept: application/vnd.elasticsearch+json; compatible-with=9\r\ncontent-type: application/vnd.elasticsearch+x-ndjson; compatible-with=9\r\ncontent-encoding: gzip\r\n";
    let body = gzip(b"{\"create\":{\"_id\":\"7\"}}\n{\"a\":1}\n{\"delete\":{\"_id\":\"7\"}}\n{\"index\":{}}\nbroken\n{\"index\":{}}\n{\"a\":2}\n");
    let (status, head, answer) = server.send("PUT", "/logs/_bulk?pipeline=x", compatible, &body);
    assert_eq!(status, 200, "{answer}");
    assert!(head.contains("content-type: application/vnd.elasticsearch+json;compatible-with=9"), "{head}");
    assert_eq!(answer["errors"], true);
    let statuses: Vec<u64> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_object().unwrap().values().next().unwrap()["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 405, 400, 201]);
    assert_eq!(answer["items"][0]["create"]["_id"], "7");
    assert_eq!(answer["items"][2]["index"]["error"]["type"], "document_parsing_exception");
    assert_eq!(server.memory.raws(), ["{\"a\":1}", "{\"a\":2}"]);
}

#[test]
fn handshakes() {
    let server = server(Tokens::default(), HttpLimits::default());
    for (method, path, status) in [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/_license", 200),
        ("GET", "/_xpack", 200),
        ("GET", "/_cluster/health", 200),
        ("GET", "/_nodes/http", 200),
        ("HEAD", "/_index_template/logs", 404),
        ("PUT", "/_index_template/logs", 200),
        ("GET", "/_ilm/policy/logs", 404),
        ("PUT", "/_ilm/policy/logs", 200),
        ("HEAD", "/logs", 200),
        ("PUT", "/logs", 200),
        ("GET", "/_search", 404),
        ("GET", "/_bulk", 405),
        ("DELETE", "/logs", 405),
    ] {
        let (got, head, answer) = server.send(method, path, "", b"");
        assert_eq!(got, status, "{method} {path}: {answer}");
        assert!(head.contains("x-elastic-product"), "{head}");
    }
    let (_, _, root) = server.send("GET", "/", "", b"");
    assert_eq!(root["tagline"], "You Know, for Search");
}

#[test]
fn one_document() {
    let server = server(Tokens::default(), HttpLimits::default());
    let (status, _, answer) = server.send("POST", "/logs/_doc", "content-type: application/json\r\n", b"{\n \"a\": 1\n}\n");
    assert_eq!((status, answer["_id"].as_str()), (201, Some("0-0")));
    let (status, _, answer) = server.send("PUT", "/logs/_create/my%20id", "", b"{}");
    assert_eq!((status, answer["_id"].as_str()), (201, Some("my id")));
    let (status, _, _) = server.send("POST", "/logs/_doc", "", b"[1]");
    assert_eq!(status, 400);
    assert_eq!(server.memory.raws(), ["{\n \"a\": 1\n}", "{}"]);
}

#[test]
fn ndjson_arrays_and_lines() {
    let server = server(Tokens::default(), HttpLimits::default());
    let (status, _, answer) =
        server.send("POST", "/ingest/app", "content-type: application/x-ndjson\r\n", b"{\"a\":1}\r\n\n{\"a\":2}\nnot json\n");
    assert_eq!(status, 200);
    assert_eq!(answer, serde_json::json!({ "accepted": 3, "first": "0-0", "last": "0-2" }));
    let (_, _, answer) = server.send("POST", "/ingest/app", "content-type: application/json\r\n", b"[{\"b\":1}, {\"b\":2}]");
    assert_eq!(answer["last"], "0-4");
    let (status, _, answer) = server.send("POST", "/ingest/app", "content-type: application/json\r\n", b"[{\"b\":1}, {\"b\":");
    assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("malformed")));
    let (_, _, answer) = server.send("POST", "/ingest/app", "content-encoding: gzip\r\n", &gzip(b"line"));
    assert_eq!(answer["accepted"], 1);
    let (_, _, answer) = server.send("POST", "/ingest/app", "", b"\n\n");
    assert_eq!(answer, serde_json::json!({ "accepted": 0, "first": null, "last": null }));
    assert_eq!(server.memory.sources(), vec!["app"; 6]);
}

#[test]
fn nothing_without_a_token() {
    let server = server(Tokens::new(["s3cret"]), HttpLimits::default());
    let (status, head, _) = server.send("POST", "/ingest/app", "", b"x");
    assert_eq!(status, 401);
    assert!(head.contains("www-authenticate"), "{head}");
    assert_eq!(server.send("POST", "/_bulk", "authorization: Bearer wrong\r\n", b"{\"index\":{\"_index\":\"a\"}}\n{}\n").0, 401);
    assert_eq!(server.send("GET", "/", "authorization: Basic ZWxhc3RpYzpzM2NyZXQ=\r\n", b"").0, 200);
    assert_eq!(server.send("POST", "/ingest/app", "authorization: Bearer s3cret\r\n", b"x").0, 200);
    assert_eq!(server.memory.raws(), ["x"]);
    assert_eq!(server.intake.counters.snapshot().listeners[0].refused["unauthorized"], 2);
}

#[test]
fn bounds_are_answered_and_counted() {
    let limits = HttpLimits { body_bytes_max: 100_000, record_bytes_max: 1000, ..HttpLimits::default() };
    let server = server(Tokens::default(), limits);
    let bomb = gzip(&vec![b'x'; 10_000_000]);
    assert_eq!(server.send("POST", "/ingest/app", "content-encoding: gzip\r\n", &bomb).0, 413);
    assert_eq!(server.send("POST", "/ingest/app", "content-encoding: gzip\r\n", b"not gzip").0, 400);
    assert_eq!(server.send("POST", "/ingest/app", "", &vec![b'x'; 200_000]).0, 413);
    let (_, _, answer) = server.send("POST", "/ingest/app", "", &vec![b'x'; 2500]);
    assert_eq!(answer["accepted"], 3);
    let long = format!(
        "{{\"index\":{{\"_index\":\"a\"}}}}\n{{\"a\":\"{}\"}}\n{{\"index\":{{\"_index\":\"a\"}}}}\n{{}}\n",
        "x".repeat(2000)
    );
    let (_, _, answer) = server.send("POST", "/_bulk", "", long.as_bytes());
    assert_eq!(
        (answer["items"][0]["index"]["status"].as_u64(), answer["items"][1]["index"]["status"].as_u64()),
        (Some(413), Some(201))
    );
    let snapshot = server.intake.counters.snapshot();
    assert_eq!(snapshot.listeners[0].refused["body_too_large"], 2);
    assert_eq!(snapshot.sources.iter().find(|line| line.source == "app").unwrap().problems["oversize_split"], 1);
}

/// Few bytes a record, and so many that what they cost would grow without bound.
#[test]
fn very_many_records_are_refused() {
    let server = server(Tokens::default(), HttpLimits::default());
    let many = (1 << 20) + 1;
    let (status, _, answer) = server.send("POST", "/ingest/app", "", "1\n".repeat(many).as_bytes());
    assert_eq!((status, answer["error"]["code"].as_str()), (413, Some("too_many_records")));
    let json = "content-type: application/json\r\n";
    let (status, _, answer) = server.send("POST", "/ingest/app", json, format!("[1{}]", ",1".repeat(many)).as_bytes());
    assert_eq!(status, 400);
    assert!(answer["error"]["message"].as_str().unwrap().contains("more than 1048576 elements"), "{answer}");
    assert_eq!(server.send("POST", "/ingest/app", json, "{}\n".repeat(many).as_bytes()).0, 413);
    assert_eq!(server.send("POST", "/_bulk", "", "{}\n".repeat(2 * many).as_bytes()).0, 413);
    assert!(server.memory.raws().is_empty());
    // As many as may be are taken.
    let (_, _, answer) = server.send("POST", "/ingest/app", "", "1\n".repeat(many - 1).as_bytes());
    assert_eq!(answer["accepted"], many - 1);
}

#[test]
fn overload_and_full_disk_are_said() {
    let server = server(Tokens::default(), HttpLimits::default());
    let bulk = b"{\"index\":{\"_index\":\"a\"}}\n{}\n";
    server.memory.mood.store(1, SeqCst);
    let (status, head, answer) = server.send("POST", "/_bulk", "", bulk);
    assert_eq!((status, answer["error"]["type"].as_str()), (429, Some("es_rejected_execution_exception")));
    assert!(head.contains("retry-after"), "{head}");
    server.memory.mood.store(2, SeqCst);
    assert_eq!(server.send("POST", "/_bulk", "", bulk).0, 503);
    assert_eq!(server.send("POST", "/ingest/a", "", b"x").0, 503);
    server.memory.mood.store(0, SeqCst);
    assert_eq!(server.send("POST", "/ingest/a", "", b"x").0, 200);
    server.stop.send(true).unwrap();
    server.runtime.block_on(server.running.done).unwrap();
}

/// Takes deliveries of `edge/web1` and gives the answer its body asks for.
struct Numbering;

impl reeve_source::Deliveries for Numbering {
    fn is_numbered(&self, source: &str) -> bool {
        source == "edge/web1"
    }

    fn deliver(&self, source: &str, head: String, body: bytes::Bytes) -> reeve_source::Delivering {
        assert_eq!((source, &*head), ("edge/web1", "the head"));
        let delivered = |duplicate, receipt| {
            let (first, last) = (Some("0-1".parse().unwrap()), Some("0-2".parse().unwrap()));
            Ok(reeve_source::Delivered { accepted: 2, first, last, duplicate, receipt })
        };
        let answer = match &body[..] {
            b"new\nnew\n" => delivered(false, Ok("the receipt".to_owned())),
            b"old\nold\n" => delivered(true, Err("nobody signs".to_owned())),
            b"lie\n" => {
                let reason = "it was otherwise".to_owned();
                Err(reeve_source::DeliveryError::Refused { status: 409, code: "contradiction", reason })
            }
            _ => Err(reeve_source::DeliveryError::Keep(reeve_source::KeepError::Full("test".to_owned()))),
        };
        Box::pin(std::future::ready(answer))
    }
}

#[test]
fn signed_deliveries_are_handed_over_and_answered() {
    let runtime = runtime();
    let (memory, intake) = intake();
    let intake = intake.with_deliveries(std::sync::Arc::new(Numbering));
    let (stop, stopped) = watch::channel(false);
    let address = "127.0.0.1:0".parse().unwrap();
    let place = Place::plain("http", address);
    let opening = serve_http(&place, intake.clone(), Tokens::default(), HttpLimits::default(), Elastic::default(), stopped);
    let running = runtime.block_on(opening).unwrap();
    let server = Server { memory, intake, running, stop, runtime };
    // base64 of `the head`
    let head = "Reeve-Delivery: dGhlIGhlYWQ=\r\n";
    let send = |headers: &str, body: &[u8]| {
        let (status, _, answer) = server.send("POST", "/ingest/edge%2Fweb1", headers, body);
        (status, answer)
    };
    let (status, answer) = send(head, b"new\nnew\n");
    assert_eq!((status, &answer["accepted"], &answer["first"], &answer["last"]), (200, &2.into(), &"0-1".into(), &"0-2".into()));
    assert_eq!((&answer["duplicate"], &answer["receipt"]), (&false.into(), &"the receipt".into()));
    let (status, answer) = send(&format!("{head}content-encoding: gzip\r\n"), &gzip(b"old\nold\n"));
    assert_eq!((status, &answer["duplicate"], &answer["receipt"]), (200, &true.into(), &Value::Null));
    assert_eq!(answer["receipt_problem"], "nobody signs");
    let (status, answer) = send(head, b"lie\n");
    assert_eq!((status, &answer["error"]["code"]), (409, &"contradiction".into()), "{answer}");
    assert_eq!(send(head, b"full\n").0, 503);
    let (status, answer) = send("", b"unsigned\n");
    assert_eq!((status, &answer["error"]["code"]), (403, &"unsigned".into()), "{answer}");
    assert_eq!(send("Reeve-Delivery: %\r\n", b"new\nnew\n").0, 400);
    let line = &server.intake.counters.snapshot().sources[0];
    assert_eq!((line.records, line.bytes, line.problems.get("duplicate")), (2, 6, Some(&2)), "{line:?}");
    assert!(server.memory.raws().is_empty());
    // Others go the way they went.
    assert_eq!(server.send("POST", "/ingest/app", "", b"plain\n").0, 200);
    assert_eq!(server.memory.raws(), ["plain"]);
}
