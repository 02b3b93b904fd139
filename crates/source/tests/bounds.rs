//! Clients that are slow, silent or too large, at each listener: answered or closed within its bounds, counted, and in nobody's way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
mod common;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use common::{Memory, intake, runtime};
use reeve_record::Transport;
use reeve_source::{
    Arrival, Elastic, ForwardOptions, HttpLimits, Intake, Place, StreamLimits, Tokens, serve_forward, serve_gelf_tcp,
    serve_gelf_udp, serve_http, serve_relp, serve_tcp,
};
use tokio::sync::watch;

struct Listeners {
    memory: Arc<Memory>,
    intake: Intake,
    addresses: BTreeMap<&'static str, SocketAddr>,
    _stop: watch::Sender<bool>,
    _runtime: tokio::runtime::Runtime,
}

fn listeners(stream: &StreamLimits, http: &HttpLimits) -> Listeners {
    let runtime = runtime();
    let (memory, intake) = intake();
    let (stop, stopped) = watch::channel(false);
    let place = |name: &str| Place::plain(name, "127.0.0.1:0".parse().unwrap());
    let addresses = runtime.block_on(async {
        let (intake, stream, http) = (|| intake.clone(), || stream.clone(), http.clone());
        let options = ForwardOptions { shared_key: None, record_bytes_max: http.record_bytes_max };
        let (record_bytes_max, at) = (http.record_bytes_max, place("http"));
        let http = serve_http(&at, intake(), Tokens::default(), http, Elastic::default(), stopped.clone());
        let opened = [
            ("http", http.await),
            ("syslog", serve_tcp(&place("syslog"), intake(), stream(), stopped.clone()).await),
            ("relp", serve_relp(&place("relp"), intake(), stream(), stopped.clone()).await),
            ("gelf_udp", serve_gelf_udp(&place("gelf_udp"), intake(), record_bytes_max, stopped.clone()).await),
            ("gelf_tcp", serve_gelf_tcp(&place("gelf_tcp"), intake(), stream(), stopped.clone()).await),
            ("forward", serve_forward(&place("forward"), intake(), stream(), options, stopped.clone()).await),
        ];
        opened.into_iter().map(|(name, running)| (name, running.unwrap().address)).collect()
    });
    Listeners { memory, intake, addresses, _stop: stop, _runtime: runtime }
}

impl Listeners {
    fn connect(&self, name: &str) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[name]).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(9))).unwrap();
        stream
    }

    /// Waits until so many records of a transport are kept.
    fn kept(&self, transport: Transport, records: usize) -> Vec<Arrival> {
        let of_it = || -> Vec<Arrival> {
            self.memory.kept.lock().iter().filter(|arrival| arrival.transport == transport).cloned().collect()
        };
        let until = Instant::now() + Duration::from_secs(9);
        while of_it().len() < records && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        of_it()
    }

    fn raws(&self, transport: Transport, records: usize) -> Vec<String> {
        self.kept(transport, records).iter().map(|arrival| String::from_utf8_lossy(&arrival.raw).into_owned()).collect()
    }

    /// How often a problem of a source was counted, once it was.
    fn problem(&self, source: &str, problem: &str) -> u64 {
        let counted = || {
            let snapshot = self.intake.counters.snapshot();
            snapshot.sources.into_iter().find(|line| line.source == source)?.problems.get(problem).copied()
        };
        let until = Instant::now() + Duration::from_secs(5);
        while counted().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        counted().unwrap_or_default()
    }

    fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = self.connect("http");
        let _ = stream.write_all(&request(path, headers, body));
        answer(&mut stream)
    }
}

fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Status and body of what the server says until it closes.
fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.split(' ').nth(1).unwrap_or("0").parse().unwrap_or(0), body.to_owned())
}

/// Whether the server closes the connection, and how long that takes.
fn closes(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}"),
    }
    begun.elapsed()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn a_byte_at_a_time_is_understood_and_holds_up_nobody() {
    let listeners = listeners(&StreamLimits::default(), &HttpLimits::default());
    let otlp = b"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"n\":1}]}]}]}";
    let all: Vec<(&str, Vec<u8>)> = vec![
        ("syslog", b"9 <13>octet<13>line\n".to_vec()),
        ("relp", b"1 open 0\n2 syslog 8 <13>relp\n".to_vec()),
        ("gelf_tcp", b"{\"a\":\n1}\0".to_vec()),
        ("forward", b"\x93\xa1t\x91\x92\x01\x80\x81\xa5chunk\xa1c".to_vec()),
        ("http", request("/services/collector", "", b"{\"event\":1}")),
        ("http", request("/v1/logs", JSON, otlp)),
        ("http", request("/gelf", "", b"{\"h\":1}")),
        ("http", request("/upload", "", b"A=b\nM\n\x01\0\0\0\0\0\0\0\n\n\n")),
    ];
    let transports = [Transport::SyslogTcp, Transport::Relp, Transport::GelfTcp, Transport::FluentForward];
    let over_http = [Transport::SplunkHec, Transport::OtlpHttp, Transport::GelfHttp, Transport::JournalUpload];
    let slow = |(name, bytes): &(&str, Vec<u8>)| {
        let mut stream = listeners.connect(name);
        for byte in bytes {
            stream.write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut answer = [0; 64];
        let length = if *name == "syslog" || *name == "gelf_tcp" { 0 } else { stream.read(&mut answer).unwrap() };
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    std::thread::scope(|threads| {
        let slow: Vec<_> = all.iter().map(|client| threads.spawn(move || slow(client))).collect();
        // Meanwhile one that says all at once is answered at once.
        let begun = Instant::now();
        assert_eq!(listeners.post("/services/collector", "", b"{\"event\":\"quick\"}").0, 200);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let answers: Vec<String> = slow.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(answers[1].starts_with("1 rsp ") && answers[3].contains("ack"), "{answers:?}");
        assert!(answers[4..].iter().all(|answer| answer.starts_with("HTTP/1.1 20")), "{answers:?}");
    });
    let counts: Vec<usize> = transports.iter().chain(&over_http).map(|way| listeners.kept(*way, 1).len()).collect();
    assert_eq!(counts, [2, 1, 1, 1, 2, 1, 1, 1]);
    assert_eq!(listeners.raws(Transport::SyslogTcp, 2), ["<13>octet", "<13>line"]);
    assert_eq!(listeners.raws(Transport::GelfTcp, 1), ["{\"a\":\n1}"]);
}

#[test]
fn who_falls_silent_or_dribbles_is_closed_and_counted() {
    let idle = Duration::from_millis(400);
    let stream = StreamLimits { idle, message_bytes_max: 8 << 20, ..StreamLimits::default() };
    let listeners = listeners(&stream, &HttpLimits { idle, ..HttpLimits::default() });
    let part = request("/services/collector", "", b"{\"event\":1}");
    for (name, half, source) in [
        ("syslog", &b"99 <13>half"[..], "syslog/127.0.0.1"),
        ("relp", b"1 open 0\n2 sys", "syslog/127.0.0.1"),
        ("gelf_tcp", b"{\"half\"", "gelf/127.0.0.1"),
        ("forward", b"\x93\xa1t\x91", "forward/127.0.0.1"),
        ("http", &part[..part.len() - 3], ""),
    ] {
        let mut client = listeners.connect(name);
        client.write_all(half).unwrap();
        let took = closes(&mut client);
        assert!((idle / 2..Duration::from_secs(5)).contains(&took), "{name} {took:?}");
        assert!(source.is_empty() || listeners.problem(source, "idle_closed") > 0, "{name}");
    }
    // A byte now and then is not silence. What holds room that others wait for has to come at a pace.
    let dribble = |stream: &mut TcpStream| {
        let begun = Instant::now();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut answer = [0; 512];
        loop {
            assert!(begun.elapsed() < Duration::from_secs(8), "it is still listened to");
            if stream.write_all(b"x").is_err() {
                return String::new();
            }
            match stream.read(&mut answer) {
                Ok(length) => return String::from_utf8_lossy(&answer[..length]).into_owned(),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return String::new(),
                Err(_) => {}
            }
        }
    };
    assert_eq!(dribble(&mut listeners.connect("http")), "", "a head that never ends");
    let mut body = listeners.connect("http");
    body.write_all(b"POST /services/collector HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{").unwrap();
    let said = dribble(&mut body);
    assert!(said.starts_with("HTTP/1.1 40"), "{said}");
    // A message of 4 MiB, of which somewhat more than the first comes quickly.
    let mut large = listeners.connect("forward");
    large.write_all(&[&b"\x92\xa1t\xc6\x00\x40\x00\x00"[..], &vec![0; (1 << 20) + 10_000]].concat()).unwrap();
    dribble(&mut large);
    assert_eq!(listeners.problem("forward/127.0.0.1", "large_message_slow"), 1);
    assert!(listeners.kept(Transport::FluentForward, 0).is_empty());
}

#[test]
fn what_is_too_large_is_cut_or_refused_in_the_words_of_each_protocol() {
    let stream = StreamLimits { message_bytes_max: 100, ..StreamLimits::default() };
    let http = HttpLimits { body_bytes_max: 4000, record_bytes_max: 100, ..HttpLimits::default() };
    let listeners = listeners(&stream, &http);
    let long = "x".repeat(250);
    // In pieces, none longer than a message may be; where there is an answer, one for the whole.
    let pieces = ["x".repeat(100), "x".repeat(100), "x".repeat(50)];
    listeners.connect("syslog").write_all(format!("{long}\n").as_bytes()).unwrap();
    assert_eq!(listeners.raws(Transport::SyslogTcp, 3), pieces);
    let mut relp = listeners.connect("relp");
    relp.write_all(format!("1 open 0\n2 syslog 250 {long}\n3 close 0\n").as_bytes()).unwrap();
    let mut answers = String::new();
    relp.read_to_string(&mut answers).unwrap();
    assert!(answers.ends_with("\n\n2 rsp 6 200 OK\n3 rsp 0\n0 serverclose 0\n"), "{answers:?}");
    assert_eq!(listeners.raws(Transport::Relp, 3), pieces);
    listeners.connect("gelf_tcp").write_all(format!("{long}\0").as_bytes()).unwrap();
    assert_eq!(listeners.raws(Transport::GelfTcp, 3), pieces);
    assert!(listeners.problem("gelf/127.0.0.1", "oversize_split") > 0);
    let entry = format!("A={}\n", "x".repeat(240));
    assert_eq!(listeners.post("/upload", "", format!("{entry}\n").as_bytes()).0, 202);
    assert_eq!(listeners.raws(Transport::JournalUpload, 3).concat(), entry);
    assert!(listeners.problem("journal/127.0.0.1", "oversize_split") > 0);
    // A message of Forward is a chunk: it is refused by its head, and the connection closed.
    let mut forward = listeners.connect("forward");
    forward.write_all(b"\x92\xa1t\xc4\xff").unwrap();
    closes(&mut forward);
    assert_eq!(listeners.problem("forward/127.0.0.1", "forward_too_long"), 1);
    // A datagram that is too large when unpacked is kept as it came.
    let packed = gzip(format!("{{\"short_message\":\"{long}\"}}").as_bytes());
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&packed, listeners.addresses["gelf_udp"]).unwrap();
    assert_eq!(listeners.kept(Transport::GelfUdp, 1)[0].raw, packed);
    // Bodies: by what is announced, by what comes out of them, packed with and without saying so.
    let bomb = gzip(&vec![b' '; 4001]);
    for (path, headers, said) in [
        ("/services/collector", "", "{\"text\":\"Request entity too large\",\"code\":27}"),
        ("/v1/logs", JSON, "{\"code\":3,\"message\":"),
        ("/gelf", "", "{\"error\":{\"code\":\"body_too_large\""),
    ] {
        for (body, packed) in [(&vec![b'x'; 4001], ""), (&bomb, "content-encoding: gzip\r\n"), (&bomb, "")] {
            // Only of GELF are the bytes asked.
            if packed.is_empty() && body == &bomb && path != "/gelf" {
                continue;
            }
            let (status, answer) = listeners.post(path, &format!("{headers}{packed}"), body);
            assert!(status == 413 && answer.starts_with(said), "{path} {packed}: {status} {answer}");
        }
    }
    assert!(listeners.kept(Transport::SplunkHec, 0).is_empty() && listeners.kept(Transport::GelfHttp, 0).is_empty());
}

#[test]
fn very_many_records_and_very_much_said_of_them_are_refused() {
    let listeners = listeners(&StreamLimits::default(), &HttpLimits::default());
    let many = (1 << 18) + 1;
    let (status, answer) = listeners.post("/gelf", "", "1 ".repeat(many).as_bytes());
    assert!(status == 413 && answer.contains("too_many_records"), "{status} {answer}");
    let (status, answer) = listeners.post("/services/collector/raw", "", "1\n".repeat(many).as_bytes());
    assert!(status == 413 && answer.contains("\"code\":27"), "{status} {answer}");
    let (status, answer) = listeners.post("/services/collector", "", "{\"event\":1}".repeat(many).as_bytes());
    assert!(status == 413 && answer.contains("\"code\":27"), "{status} {answer}");
    let logs = |scopes: &str, resource: &str| {
        let body = format!("{{\"resourceLogs\":[{{\"resource\":{{\"a\":\"{resource}\"}},\"scopeLogs\":[{scopes}]}}]}}");
        listeners.post("/v1/logs", JSON, body.as_bytes())
    };
    let one = "{\"logRecords\":[1]}";
    let (status, answer) = logs(&format!("{{\"logRecords\":[1{}]}}", ",1".repeat(many)), "");
    assert!(status == 400 && answer.contains("more than 262144 records"), "{status} {answer}");
    let (status, answer) = logs(one, &"x".repeat(1 << 20));
    assert!(status == 400 && answer.contains("more than 1048576 bytes"), "{status} {answer}");
    // A request of a megabyte that would be gigabytes of envelopes.
    let (status, answer) = logs(&format!("{one}{}", format!(",{one}").repeat(10_000)), &"x".repeat(1_000_000));
    assert!(status == 400 && answer.contains("for so many scopes"), "{status} {answer}");
    assert!(listeners.memory.kept.lock().is_empty());
    assert_eq!(logs(&format!("{one},{{}},{one}"), "y").0, 200);
    let kept = listeners.kept(Transport::OtlpHttp, 2);
    assert_eq!(kept.iter().filter(|arrival| arrival.claims.as_deref() == Some("{\"resource\":{\"a\":\"y\"}}")).count(), 2);
}

#[test]
fn a_chunk_of_very_many_events_is_acknowledged_once_all_are_kept() {
    let listeners = listeners(&StreamLimits { message_bytes_max: 64 << 20, ..StreamLimits::default() }, &HttpLimits::default());
    let events = 100_000;
    let packed = gzip(&b"\x92\x01\x80".repeat(events));
    let mut chunk = b"\x93\xa1t\xc5".to_vec();
    chunk.extend(u16::try_from(packed.len()).unwrap().to_be_bytes());
    chunk.extend(packed);
    chunk.extend(b"\x82\xa5chunk\xa1c\xaacompressed\xa4gzip");
    let mut stream = listeners.connect("forward");
    stream.write_all(&chunk).unwrap();
    let mut ack = [0; 7];
    stream.read_exact(&mut ack).unwrap();
    assert_eq!(&ack, b"\x81\xa3ack\xa1c");
    assert_eq!(listeners.memory.kept.lock().len(), events);
    // Kept in part is not kept: no acknowledgement, and the connection ends.
    *listeners.memory.full_after.lock() = Some(events + events / 2);
    stream.write_all(&chunk).unwrap();
    closes(&mut stream);
    let kept = listeners.memory.kept.lock().len();
    assert!((events + 1..=events + events / 2).contains(&kept), "{kept}");
    assert_eq!(listeners.problem("forward/127.0.0.1", "closed_unkept"), 1);
}
