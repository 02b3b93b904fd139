//! `reeve serve` with the listeners that a configuration turns on: what they acknowledge is in the record, searchable and provable.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where it is wrong, and says what it measured"
)]
mod support;

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    time::Duration,
};

use reeve_ledger::{Ledger, Options};
use reeve_record::RecordId;
use support::{Client, Server, reeve, within, write};

/// A chunk of two events, `docs/spec/envelope.md`.
const CHUNK: &[u8] = b"\x93\xa9app.login\x92\x92\xd7\0\x69\x5b\x7f\x3c\x07\x5b\xcd\x15\x81\xa3msg\xa3one\x92\xd7\0\x69\x5b\x7f\x3d\0\0\0\0\x81\xa3msg\xa3two\x81\xa5chunk\xa1x";
const ENTRY: &[u8] = b"\x92\xd7\0\x69\x5b\x7f\x3c\x07\x5b\xcd\x15\x81\xa3msg\xa3one";

#[test]
fn every_listener_that_acknowledges_does_so_for_what_is_in_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("reeve.toml"));
    let on = |name: &str| format!("[{name}]\naddress = \"127.0.0.1:0\"\n");
    let names = ["relp", "gelf_udp", "gelf_tcp", "forward", "splunk", "otlp", "gelf_http", "journal"];
    write(&config, names.map(on).concat());
    let server = Server::start(&data, &["--config", config.to_str().unwrap()]);
    let say = |name: &str, said: &[u8], answer: &[u8]| {
        let mut stream = TcpStream::connect(server.listener(name)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(said).unwrap();
        let mut got = vec![0; answer.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(answer), "{name}");
    };
    let opened = "1 rsp 58 200 OK\nrelp_version=0\nrelp_software=reeve\ncommands=syslog\n\n2 rsp 6 200 OK\n";
    say("relp", b"1 open 0\n2 syslog 39 <13>Nov 22 09:00:00 web1 probe: by-relp\n", opened.as_bytes());
    say("forward", CHUNK, b"\x81\xa3ack\xa1x");
    let post = |name: &str, path: &str, body: &str| {
        let answer =
            ureq::post(format!("http://{}{path}", server.listener(name))).header("content-type", "application/json").send(body);
        assert!(answer.unwrap().status().is_success(), "{name}");
    };
    post("splunk", "/services/collector", "{\"event\":\"by-hec\",\"sourcetype\":\"probe\"}");
    post(
        "otlp",
        "/v1/logs",
        "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{\"stringValue\":\"by-otlp\"}}]}]}]}",
    );
    post("gelf_http", "/gelf", "{\"version\":\"1.1\",\"host\":\"h\",\"short_message\":\"by-gelf\"}");
    post("journal", "/upload", "__REALTIME_TIMESTAMP=1767604364000001\nMESSAGE=by-journal\n\n");
    let client = Client::signed_in(&server, &data);
    for (name, source) in [
        ("by-relp", "syslog/127.0.0.1"),
        ("by-hec", "splunk/probe"),
        ("by-otlp", "otlp"),
        ("by-gelf", "gelf/127.0.0.1"),
        ("by-journal", "journal/127.0.0.1"),
    ] {
        let (row, _) = within(Duration::from_secs(30), name, || client.search(&format!("\"{name}\"")).0.into_iter().next());
        assert_eq!(row["source"], source, "{row}");
    }
    assert_eq!(server.stop(), 0);

    // The chunk's tag stands before its events; every verifier's rules hold.
    reeve(["ledger", "verify", "--data", data.to_str().unwrap()]).ended(0);
    let ledger = Ledger::open(&data.join("ledger"), Options::new("reeve.local/record")).unwrap();
    let mut records = Vec::new();
    let mut next = RecordId::default();
    loop {
        let read = ledger.read_from(next, 1000).unwrap();
        let Some(last) = read.last() else { break };
        next = RecordId { index: last.id.index + 1, ..last.id };
        records.extend(read);
    }
    let at = records.iter().position(|record| &*record.receipt.source == "reeve/envelope/forward/app.login").unwrap();
    let envelope =
        "{\"reeve\":\"envelope/v1\",\"source\":\"forward/app.login\",\"records\":2,\"claims\":{\"tag\":\"app.login\"}}";
    assert_eq!(String::from_utf8_lossy(&records[at].raw), envelope);
    assert_eq!((&records[at + 1].raw[..], &*records[at + 2].receipt.source), (ENTRY, "forward/app.login"));
}

#[test]
fn templates_of_flows_are_found_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("reeve.toml"));
    write(&config, "[netflow]\naddress = \"127.0.0.1:0\"\n[sflow]\naddress = \"127.0.0.1:0\"\n".to_owned());
    // IPFIX: source and destination address and a user's name in a set of number 300.
    let template = [0, 2, 0, 20, 1, 44, 0, 3, 0, 8, 0, 4, 0, 12, 0, 4, 1, 115, 0xFF, 0xFF];
    let flow = |user: &[u8]| {
        let record = [&[192, 0, 2, 7, 198, 51, 100, 9, user.len() as u8][..], user].concat();
        [&[1, 44][..], &(record.len() as u16 + 4).to_be_bytes(), &record].concat()
    };
    let message = |sets: &[u8]| {
        let head = [&[0, 10][..], &(sets.len() as u16 + 16).to_be_bytes(), &1_767_604_364_u32.to_be_bytes(), &[0; 8]].concat();
        [&head[..], sets].concat()
    };
    // The second time without the template, and at the listener that is there for sFlow.
    for (listener, user, sets) in
        [("netflow", "by-template", [&template[..], &flow(b"by-template")].concat()), ("sflow", "by-memory", flow(b"by-memory"))]
    {
        let server = Server::start(&data, &["--config", config.to_str().unwrap()]);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&message(&sets), server.listener(listener)).unwrap();
        let client = Client::signed_in(&server, &data);
        let (row, _) = within(Duration::from_secs(30), user, || client.search(&format!("\"{user}\"")).0.into_iter().next());
        assert_eq!(row["source"], "netflow/127.0.0.1", "{row}");
        let path = format!("/events/{}/{}", row["record"].as_str().unwrap(), row["part"]);
        // Read by itself the second datagram lacks its template; the event is shown as it was read behind the first.
        let event = client.get(&path, &[]);
        assert_eq!((event["native"]["userName"].as_str(), &event["problems"]), (Some(user), &serde_json::json!([])), "{event}");
        // A template that never comes: kept, named, counted.
        socket.send_to(&message(&[9, 9, 0, 8, 1, 2, 3, 4]), server.listener(listener)).unwrap();
        let named = || client.get("/status", &[])["reading"]["problems_by_name"]["netflow.no_template"].as_u64();
        let (count, _) = within(Duration::from_secs(30), "a set without a template", named);
        assert_eq!(count, 1);
        assert_eq!(server.stop(), 0);
    }
}
