//! Senders that others wrote, against the listeners for their protocols. See `cases/clients/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use common::{Memory, intake, runtime};
use parking_lot::Mutex;
use reeve_record::{RecordId, Transport};
use reeve_source::{
    Arrival, Elastic, ForwardOptions, HttpLimits, Intake, Keeper, Kept, Place, StreamLimits, Tls, TlsFiles, Tokens,
    serve_forward, serve_gelf_tcp, serve_gelf_udp, serve_http, serve_relp, serve_tcp,
};
use tokio::sync::watch;

/// Each protocol's listener on a port of its own, into one memory.
struct Listeners {
    memory: Arc<Memory>,
    intake: Intake,
    ports: BTreeMap<&'static str, u16>,
    _stop: watch::Sender<bool>,
    _runtime: tokio::runtime::Runtime,
}

fn listeners(tls: Option<&Certificates>) -> Listeners {
    let runtime = runtime();
    let (memory, intake) = intake();
    let (stop, stopped) = watch::channel(false);
    let any = "127.0.0.1:0".parse().unwrap();
    let place = |name: &str| Place::plain(name, any);
    let secured = |name: &str| Place { tls: tls.map(Certificates::load), ..Place::plain(name, any) };
    let limits = StreamLimits::default;
    let options = ForwardOptions { shared_key: None, record_bytes_max: 8 << 20 };
    let secret = ForwardOptions { shared_key: Some("s3cret".into()), ..options.clone() };
    let chunks = StreamLimits { message_bytes_max: 64 << 20, ..limits() };
    let ports = runtime.block_on(async {
        let (intake, stopped) = (&intake, &stopped);
        let (http, open) = (place("http"), secured("open"));
        let tokens = Tokens::new(["t0ken"]);
        let http = serve_http(&http, intake.clone(), tokens, HttpLimits::default(), Elastic::default(), stopped.clone());
        let open =
            serve_http(&open, intake.clone(), Tokens::default(), HttpLimits::default(), Elastic::default(), stopped.clone());
        let opened = [
            ("http", http.await),
            ("open", open.await),
            ("syslog_tls", serve_tcp(&secured("syslog_tls"), intake.clone(), limits(), stopped.clone()).await),
            ("relp", serve_relp(&place("relp"), intake.clone(), limits(), stopped.clone()).await),
            ("gelf_udp", serve_gelf_udp(&place("gelf_udp"), intake.clone(), 8 << 20, stopped.clone()).await),
            ("gelf_tcp", serve_gelf_tcp(&secured("gelf_tcp"), intake.clone(), limits(), stopped.clone()).await),
            ("forward", serve_forward(&place("forward"), intake.clone(), chunks.clone(), options, stopped.clone()).await),
            ("secret", serve_forward(&place("secret"), intake.clone(), chunks, secret, stopped.clone()).await),
        ];
        opened.into_iter().map(|(name, running)| (name, running.unwrap().address.port())).collect()
    });
    Listeners { memory, intake, ports, _stop: stop, _runtime: runtime }
}

impl Listeners {
    fn port(&self, name: &str) -> String {
        self.ports[name].to_string()
    }

    /// Waits until so many records are kept, and looks at them.
    fn kept(&self, records: usize) -> Vec<Arrival> {
        // A daemon of somebody else's on a busy machine takes its time.
        let until = Instant::now() + Duration::from_secs(40);
        while self.memory.kept.lock().len() < records && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.memory.kept.lock().clone()
    }

    fn refused(&self, listener: &str, reason: &str) -> u64 {
        let refused = || {
            let snapshot = self.intake.counters.snapshot();
            let line = snapshot.listeners.into_iter().find(|line| line.listener == listener).unwrap();
            line.refused.get(reason).copied()
        };
        // Counted at once, but by another thread than the one that closes.
        let until = Instant::now() + Duration::from_secs(5);
        while refused().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        refused().unwrap_or_default()
    }

    /// Status and body of a request to the HTTP listener.
    fn send(&self, head: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports["http"])).unwrap();
        let (first, headers) = head.split_once('\n').unwrap_or((head, ""));
        let headers: String = headers.lines().map(|line| format!("{}\r\n", line.trim())).collect();
        write!(stream, "{first} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len())
            .unwrap();
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.split(' ').nth(1).unwrap_or("0").parse().unwrap_or(0), body.to_owned())
    }
}

fn sources(kept: &[Arrival]) -> BTreeSet<&str> {
    kept.iter().map(|arrival| &*arrival.source).collect()
}

fn text(arrival: &Arrival) -> String {
    String::from_utf8_lossy(&arrival.raw).into_owned()
}

fn cases() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../cases/clients")
}

fn clients() -> PathBuf {
    std::env::var_os("REEVE_CLIENTS")
        .map_or_else(|| PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../target/clients"), PathBuf::from)
}

/// Whether a tool is there; if not, says so, and fails where tools are required.
fn have(tool: &str, there: bool) -> bool {
    if !there {
        assert!(std::env::var_os("REEVE_REQUIRE_TOOLS").is_none(), "{tool} is required and not there");
        eprintln!("skipped: no {tool}");
    }
    there
}

fn have_rsyslog(module: &str) -> bool {
    let folders =
        ["/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib/rsyslog", "/usr/lib64/rsyslog"];
    have(&format!("rsyslogd with {module}"), folders.iter().any(|folder| Path::new(folder).join(module).exists()))
}

fn have_openssl() -> bool {
    have("openssl", Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()))
}

fn succeed(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// rsyslogd with a configuration of `cases/clients`, reading a file of so many lines.
fn rsyslog(work: &Path, config: &str, lines: usize, filled: &[(&str, &str)]) -> Daemon {
    let input = work.join("input.log");
    fs::write(&input, (0..lines).map(|nth| format!("line {nth} with \"quotes\" and ü\n")).collect::<String>()).unwrap();
    let mut config = fs::read_to_string(cases().join(config)).unwrap();
    config = config.replace("@WORK@", work.to_str().unwrap()).replace("@INPUT@", input.to_str().unwrap());
    for (name, value) in filled {
        config = config.replace(&format!("@{name}@"), value);
    }
    let path = work.join("rsyslog.conf");
    fs::write(&path, config).unwrap();
    let mut rsyslogd = Command::new("/usr/sbin/rsyslogd");
    rsyslogd.arg("-n").arg("-f").arg(&path).arg("-i").arg(work.join("pid")).stderr(Stdio::null());
    Daemon(rsyslogd.spawn().unwrap())
}

/// Every line once, told by its number.
fn numbers(raws: impl Iterator<Item = String>) -> Vec<usize> {
    let number = |raw: &str| raw.split("line ").nth(1)?.split(' ').next()?.parse().ok();
    raws.filter_map(|raw| number(&raw)).collect()
}

/// An authority, a listener's certificate, and those of clients, made by openssl.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn make() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        fs::write(made.0.path().join("server.ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
        fs::write(made.0.path().join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
        let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        for authority in ["ca", "other"] {
            let (key, pem) = (format!("{authority}.key"), format!("{authority}.pem"));
            made.openssl(
                &[&["req", "-x509"], &new[..], &["-days", "2", "-subj", "/CN=test authority", "-keyout", &key, "-out", &pem]]
                    .concat(),
            );
        }
        for (name, subject, authority, extensions, days) in [
            ("server", "/CN=localhost", "ca", "server.ext", "2"),
            ("client", "/O=Example/CN=web1.example", "ca", "client.ext", "2"),
            ("expired", "/CN=web2.example", "ca", "client.ext", "-1"),
            ("stranger", "/CN=web3.example", "other", "client.ext", "2"),
        ] {
            let [key, csr, pem] = ["key", "csr", "pem"].map(|end| format!("{name}.{end}"));
            made.openssl(&[&["req"], &new[..], &["-subj", subject, "-keyout", &key, "-out", &csr]].concat());
            let (ca, ca_key) = (format!("{authority}.pem"), format!("{authority}.key"));
            let sign = ["x509", "-req", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", days];
            made.openssl(&[&sign[..], &["-extfile", extensions, "-out", &pem]].concat());
        }
        made
    }

    fn openssl(&self, words: &[&str]) {
        succeed(Command::new("openssl").args(words).current_dir(self.0.path()).output().unwrap());
    }

    fn path(&self, file: &str) -> String {
        self.0.path().join(file).to_str().unwrap().to_owned()
    }

    /// For a listener that knows its clients by their certificates.
    fn load(&self) -> Tls {
        let file = |name: &str| self.0.path().join(name);
        let files = TlsFiles {
            certificate: file("server.pem"),
            key: file("server.key"),
            client_ca: Some(file("ca.pem")),
            client_optional: false,
        };
        Tls::load(&files).unwrap()
    }
}

#[test]
fn rsyslog_over_tls_is_known_by_its_certificate() {
    if !(have_openssl() && have_rsyslog("lmnsd_gtls.so") && have_rsyslog("lmnsd_ossl.so")) {
        return;
    }
    let certificates = Certificates::make();
    for driver in ["gtls", "ossl"] {
        let listeners = listeners(Some(&certificates));
        let work = tempfile::tempdir().unwrap();
        let filled = [("PORT", listeners.port("syslog_tls")), ("DRIVER", driver.to_owned()), ("CERTS", certificates.path(""))];
        let filled: Vec<(&str, &str)> = filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let _daemon = rsyslog(work.path(), "rsyslog-tls.conf", 300, &filled);
        let kept = listeners.kept(300);
        assert_eq!(numbers(kept.iter().map(text)), (0..300).collect::<Vec<_>>(), "{driver}");
        assert_eq!(sources(&kept), BTreeSet::from(["syslog/web1.example"]));
        assert!(kept.iter().all(|arrival| arrival.transport == Transport::SyslogTls && arrival.raw.starts_with(b"<134>1 ")));
    }
}

#[test]
fn certificates_that_are_not_right_are_refused_by_name_and_hold_up_nobody() {
    if !have_openssl() {
        return;
    }
    let certificates = Certificates::make();
    let listeners = listeners(Some(&certificates));
    let address = format!("127.0.0.1:{}", listeners.port("syslog_tls"));
    // One that never says anything holds a place, not the door.
    let _silent = TcpStream::connect(&address).unwrap();
    let send = |client: Option<&str>, message: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &address, "-quiet", "-no_ign_eof", "-CAfile", &certificates.path("ca.pem")]);
        if let Some(name) = client {
            openssl.args([
                "-cert",
                &certificates.path(&format!("{name}.pem")),
                "-key",
                &certificates.path(&format!("{name}.key")),
            ]);
        }
        let mut child = openssl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(message.as_bytes());
        let _ = child.wait();
    };
    for (client, reason) in
        [(None, "certificate_missing"), (Some("expired"), "certificate_expired"), (Some("stranger"), "certificate_refused")]
    {
        send(client, "<13>must not be kept\n");
        assert_eq!(listeners.refused("syslog_tls", reason), 1, "{reason}");
    }
    let mut plain = TcpStream::connect(&address).unwrap();
    plain.write_all(b"<13>plain text on a TLS port\n").unwrap();
    let _ = plain.read_to_end(&mut Vec::new());
    assert_eq!(listeners.refused("syslog_tls", "tls_failed"), 1);
    // Octet counted, its length in a write of its own, and newline framing on one connection.
    send(Some("client"), "16 <13>octet\ninside<13>by line\n");
    let kept = listeners.kept(2);
    assert_eq!(kept.iter().map(text).collect::<Vec<_>>(), ["<13>octet\ninside", "<13>by line"]);
    assert_eq!(sources(&kept), BTreeSet::from(["syslog/web1.example"]));
    let wrong = TlsFiles {
        certificate: certificates.path("server.pem").into(),
        key: certificates.path("client.key").into(),
        ..TlsFiles::default()
    };
    assert!(Tls::load(&wrong).unwrap_err().to_string().contains("client.key"));
}

#[test]
fn rsyslog_by_relp() {
    if !have_rsyslog("omrelp.so") {
        return;
    }
    let listeners = listeners(None);
    let work = tempfile::tempdir().unwrap();
    let _daemon = rsyslog(work.path(), "rsyslog-relp.conf", 1000, &[("PORT", &listeners.port("relp"))]);
    let kept = listeners.kept(1000);
    assert_eq!(numbers(kept.iter().map(text)), (0..1000).collect::<Vec<_>>());
    assert_eq!(sources(&kept), BTreeSet::from(["syslog/127.0.0.1"]));
    assert!(kept.iter().all(|arrival| arrival.transport == Transport::Relp && arrival.raw.starts_with(b"<134>1 ")));
}

#[test]
fn relp_by_hand() {
    let listeners = listeners(None);
    let talk = |said: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", listeners.ports["relp"])).unwrap();
        stream.write_all(said).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let opened = "1 rsp 58 200 OK\nrelp_version=0\nrelp_software=reeve\ncommands=syslog\n\n";
    let answer =
        talk(b"1 open 31 relp_version=0\ncommands=syslog\n\n2 syslog 5 <13>a\n3 starttls 0\n4 syslog 5 <13>b\n5 close 0\n");
    let rest = answer.strip_prefix(opened).unwrap_or_else(|| panic!("{answer:?}"));
    assert_eq!(rest, "2 rsp 6 200 OK\n3 rsp 34 500 the command is not known here\n\n4 rsp 6 200 OK\n5 rsp 0\n0 serverclose 0\n");
    assert_eq!(talk(b"1 syslog 5 <13>c\n"), "0 serverclose 0\n");
    // Four gigabytes claimed: no number of nine digits. Nearly one: taken as it comes, and it does not come.
    assert_eq!(talk(b"1 open 0\n2 syslog 4294967296 x").strip_prefix(opened), Some("0 serverclose 0\n"));
    listeners.memory.mood.store(2, std::sync::atomic::Ordering::SeqCst);
    let answer = talk(b"1 open 0\n2 syslog 5 <13>d\n3 syslog 5 <13>e\n");
    assert_eq!(
        answer.strip_prefix(opened),
        Some("2 rsp 35 500 no space left, send again later\n3 rsp 35 500 no space left, send again later\n0 serverclose 0\n")
    );
    assert_eq!(listeners.memory.raws(), ["<13>a", "<13>b"]);
}

/// Keeps lines in a file, durable before each answer, which is late enough to be hit by a kill.
struct Lines(Mutex<fs::File>);

impl Keeper for Lines {
    fn keep(&self, batch: Vec<Arrival>) -> Kept {
        let text: Vec<u8> = batch.iter().flat_map(|arrival| [&arrival.raw[..], b"\n"].concat()).collect();
        {
            let mut file = self.0.lock();
            file.write_all(&text).unwrap();
            file.sync_data().unwrap();
        }
        let ids = (0..batch.len() as u32).map(|index| RecordId { segment: 0, index }).collect();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(ids)
        })
    }

    fn end(&self) -> RecordId {
        RecordId { segment: 0, index: 0 }
    }
}

/// Not a test of its own: the process that `rsyslog_loses_nothing_when_the_server_is_killed` kills.
#[test]
fn relp_server_to_be_killed() {
    let Some(folder) = std::env::var_os("REEVE_RELP_FOLDER").map(PathBuf::from) else { return };
    let port = std::env::var("REEVE_RELP_PORT").unwrap();
    let file = fs::File::options().create(true).append(true).open(folder.join("kept")).unwrap();
    let intake = Intake::new(Arc::new(Lines(Mutex::new(file))));
    let (_stop, stopped) = watch::channel(false);
    runtime().block_on(async {
        let place = Place::plain("relp", format!("127.0.0.1:{port}").parse().unwrap());
        let running = serve_relp(&place, intake, StreamLimits::default(), stopped).await.unwrap();
        running.done.await.unwrap();
    });
}

#[test]
fn rsyslog_loses_nothing_when_the_server_is_killed_between_receipt_and_answer() {
    if !have_rsyslog("omrelp.so") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let server = || {
        let mut server = Command::new(std::env::current_exe().unwrap());
        server.args(["--exact", "relp_server_to_be_killed"]).env("REEVE_RELP_FOLDER", work.path()).env("REEVE_RELP_PORT", &port);
        Daemon(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let lines = 3000;
    let kept = || {
        let text = fs::read(work.path().join("kept")).unwrap_or_default();
        numbers(String::from_utf8_lossy(&text).lines().map(str::to_owned))
    };
    let mut running = server();
    let _daemon = rsyslog(work.path(), "rsyslog-relp.conf", lines, &[("PORT", &port)]);
    let mut before = 0;
    for _ in 0..2 {
        // Killed in the middle of something: more was kept than at the last kill, and not everything.
        let until = Instant::now() + Duration::from_secs(10);
        while kept().len() < before + 200 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(running);
        before = kept().len();
        running = server();
    }
    let until = Instant::now() + Duration::from_secs(20);
    while kept().iter().collect::<BTreeSet<_>>().len() < lines && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let kept = kept();
    let once: BTreeSet<usize> = kept.iter().copied().collect();
    assert_eq!(once.len(), lines, "lost between receipt and answer");
    eprintln!("{} of {lines} came twice, after two kills", kept.len() - lines);
}

/// Runs `senders.py`; what it says it sent.
fn sender(words: &[&str]) -> Option<usize> {
    let python = clients().join("venv/bin/python");
    let there = Command::new(&python)
        .args(["-c", "import splunk_handler, graypy, pygelf, fluent, opentelemetry, grpc"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !have("Python log handlers", there) {
        return None;
    }
    let sent = succeed(Command::new(python).arg(cases().join("senders.py")).args(words).output().unwrap());
    Some(sent.trim().lines().last().unwrap().parse().unwrap())
}

#[test]
fn splunk_handler() {
    let listeners = listeners(None);
    let Some(sent) = sender(&["splunk", "127.0.0.1", &listeners.port("http"), "50", "t0ken"]) else { return };
    let kept = listeners.kept(sent);
    assert_eq!((kept.len(), sources(&kept)), (sent, BTreeSet::from(["splunk/probe"])));
    assert!(kept.iter().all(|arrival| arrival.transport == Transport::SplunkHec && arrival.claimed.is_some()));
    let event: serde_json::Value = serde_json::from_slice(&kept[49].raw).unwrap();
    assert!(event.to_string().contains("message 49 über"), "{event}");
}

#[test]
fn the_collector_by_hand() {
    let listeners = listeners(None);
    let post = |path: &str, body: &[u8]| {
        let head = format!(
            "POST /services/collector{path}\nauthorization: Splunk t0ken\ncontent-type: application/x-www-form-urlencoded"
        );
        let (status, body) = listeners.send(&head, body);
        (status, serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default())
    };
    let answer = |status: u16, text: &str, code: u16| (status, serde_json::json!({ "text": text, "code": code }));
    let channel = "?channel=00872DC6-AC83-4EDE-8AFE-8413C3825C4C";
    let (status, first) =
        post(&format!("/event{channel}"), b"{\"event\":\"a\",\"time\":1.5}{\"event\":{\"b\":1},\"sourcetype\":\"x\"}");
    assert_eq!((status, &first["text"], &first["ackId"]), (200, &"Success".into(), &1.into()));
    let (_, acks) = post(&format!("/ack{channel}"), b"{\"acks\":[1,2]}");
    assert_eq!(acks, serde_json::json!({ "acks": { "1": true, "2": false } }));
    assert_eq!(post("/raw/1.0?sourcetype=nginx&host=web%201&index=main", b"line one\r\nline two\n"), answer(200, "Success", 0));
    assert_eq!(post("", b""), answer(400, "No data", 5));
    assert_eq!(post("/ack", b"{\"acks\":[1]}"), answer(400, "Data channel is missing", 10));
    assert_eq!(post("?channel=x", b"{\"event\":1}"), answer(400, "Invalid data channel", 11));
    let (status, wrong) = post("/event/1.0", b"{\"event\":1}{\"event\":\"\"}");
    assert_eq!((status, &wrong["code"], &wrong["invalid-event-number"]), (400, &13.into(), &1.into()));
    assert_eq!(post("/mint", b"x").0, 404);
    let unauthorized = |header: &str| listeners.send(&format!("POST /services/collector\n{header}"), b"{\"event\":1}");
    assert_eq!(unauthorized(""), (401, "{\"text\":\"Token is required\",\"code\":2}".to_owned()));
    assert_eq!(unauthorized("authorization: Digest x"), (401, "{\"text\":\"Invalid authorization\",\"code\":3}".to_owned()));
    assert_eq!(unauthorized("authorization: Splunk wrong"), (403, "{\"text\":\"Invalid token\",\"code\":4}".to_owned()));
    assert_eq!(listeners.send("GET /services/collector/health/1.0", b"").0, 200);
    listeners.memory.mood.store(1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(post("", b"{\"event\":1}"), answer(503, "Server is busy", 9));
    let kept = listeners.kept(4);
    let raws: Vec<String> = kept.iter().map(text).collect();
    assert_eq!(raws, ["{\"event\":\"a\",\"time\":1.5}", "{\"event\":{\"b\":1},\"sourcetype\":\"x\"}", "line one", "line two"]);
    assert_eq!(sources(&kept), BTreeSet::from(["splunk", "splunk/x", "splunk/nginx"]));
    assert_eq!(kept[3].claims.as_deref(), Some("{\"host\":\"web 1\",\"sourcetype\":\"nginx\",\"index\":\"main\"}"));
    assert_eq!(
        (kept[0].claimed.map(|time| time.at.as_millisecond()), kept[1].claimed, &kept[1].claims),
        (Some(1500), None, &None)
    );
}

#[test]
fn gelf_handlers() {
    let listeners = listeners(None);
    let mut sent = 0;
    for client in ["graypy", "pygelf"] {
        for (way, port) in [("udp", "gelf_udp"), ("tcp", "gelf_tcp"), ("http", "open")] {
            let Some(more) = sender(&[client, "127.0.0.1", &listeners.port(port), "40", way]) else { return };
            sent += more;
            let kept = listeners.kept(sent);
            assert_eq!(kept.len(), sent, "{client} {way}");
            let messages = kept[sent - more..].iter().filter(|arrival| text(arrival).contains("message 39 ")).count();
            assert_eq!(messages, 1, "{client} {way}");
        }
    }
    let kept = listeners.kept(sent);
    assert_eq!(sources(&kept), BTreeSet::from(["gelf/127.0.0.1"]));
    assert_eq!(kept.iter().filter(|arrival| arrival.raw.len() > 60_000).count(), 2, "put together from chunks");
    for arrival in &kept {
        let message: serde_json::Value = serde_json::from_slice(&arrival.raw).unwrap();
        assert!(message["version"].is_string() && arrival.claimed.is_some(), "{message}");
    }
    let ways: BTreeSet<&str> = kept.iter().map(|arrival| arrival.transport.name()).collect();
    assert_eq!(ways, BTreeSet::from(["gelf_http", "gelf_tcp", "gelf_udp"]));
}

#[test]
fn fluent_logger() {
    let listeners = listeners(None);
    let Some(sent) = sender(&["fluent", "127.0.0.1", &listeners.port("forward"), "40"]) else { return };
    let kept = listeners.kept(sent);
    assert_eq!((kept.len(), sources(&kept)), (sent, BTreeSet::from(["forward/probe.app"])));
    assert!(
        kept.iter()
            .all(|arrival| arrival.transport == Transport::FluentForward && arrival.raw.starts_with(b"\x93\xa9probe.app\xd7\0"))
    );
    assert_eq!(kept[0].claimed.map(|time| time.at.to_string()).as_deref(), Some("2026-01-05T09:12:44.25Z"));
}

#[test]
fn fluent_clients_with_a_shared_key() {
    let modules = clients().join("node_modules");
    let there = Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !have("the Fluent Forward clients for Node", there && modules.join("@fluent-org/logger").exists()) {
        return;
    }
    let listeners = listeners(None);
    let run = |key: &str| {
        let mut node = Command::new("node");
        node.arg(cases().join("forward.cjs")).args([&listeners.port("secret"), key, "20"]).env("NODE_PATH", &modules);
        node.output().unwrap()
    };
    // Each client checks that the listener knows the key as well, and waits for its acknowledgements.
    let sent: usize = succeed(run("s3cret")).trim().lines().last().unwrap().parse().unwrap();
    let kept = listeners.kept(sent);
    assert_eq!((sent, kept.len()), (100, 100));
    let modes = ["Message", "Forward", "PackedForward", "CompressedPackedForward"];
    let tags: Vec<String> = modes.iter().map(|mode| format!("forward/newer.{mode}")).collect();
    let expected = tags.iter().map(String::as_str).chain(["forward/older.app"]).collect();
    assert_eq!(sources(&kept), expected);
    assert!(kept.iter().all(|arrival| arrival.claimed.is_some() && text(arrival).contains("über")));
    let wrong = run("another");
    assert!(!wrong.status.success(), "{}", String::from_utf8_lossy(&wrong.stdout));
    assert_eq!(listeners.kept(100).len(), 100);
    let snapshot = listeners.intake.counters.snapshot();
    let line = snapshot.sources.into_iter().find(|line| line.source == "forward/127.0.0.1").unwrap();
    assert_eq!(line.problems.get("shared_key_wrong"), Some(&1));
}

#[test]
fn forward_by_hand() {
    let listeners = listeners(None);
    let entry = b"\x92\xd7\0\x69\x5b\x7f\x3c\0\0\0\0\x81\xa1n\x01";
    let chunk = [&b"\x93\xa3app\x92"[..], entry, entry, b"\x82\xa5chunk\xa4abcd\xa4size\x02"].concat();
    let connect = |name: &str| {
        let stream = TcpStream::connect(("127.0.0.1", listeners.ports[name])).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    };
    // In three reads, with a nil between: acknowledged once it is kept.
    let mut stream = connect("forward");
    for part in [&chunk[..7], &chunk[7..20], &chunk[20..], b"\xc0"] {
        stream.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut ack = [0; 10];
    stream.read_exact(&mut ack).unwrap();
    assert_eq!(&ack, b"\x81\xa3ack\xa4abcd");
    let kept = listeners.kept(2);
    assert_eq!((&kept[1].raw[..], kept[1].claims.as_deref()), (&entry[..], Some("{\"tag\":\"app\"}")));
    // Four gigabytes claimed, and no message at all: closed, and others go on.
    for wrong in [&b"\x92\xa3app\xdd\xff\xff\xff\xff"[..], b"\x92\xa3app\xc6\xff\xff\xff\xff", b"\xc1", b"GET / HTTP/1.1\r\n\r\n"]
    {
        let mut other = connect("forward");
        other.write_all(wrong).unwrap();
        assert_eq!(other.read_to_end(&mut Vec::new()).unwrap_or(0), 0, "{wrong:?}");
    }
    // What cannot be kept is not acknowledged: the connection ends, and the client will send it again.
    listeners.memory.mood.store(2, std::sync::atomic::Ordering::SeqCst);
    stream.write_all(&chunk).unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    listeners.memory.mood.store(0, std::sync::atomic::Ordering::SeqCst);
    // Who does not know the shared key is told so and keeps nothing.
    let mut stranger = connect("secret");
    let mut hello = [0; 256];
    let length = stranger.read(&mut hello).unwrap();
    assert!(hello[..length].windows(4).any(|window| window == b"HELO"));
    stranger.write_all(b"\x96\xa4PING\xa1h\xa1s\xa1d\xa0\xa0").unwrap();
    stranger.write_all(&chunk).unwrap();
    let mut pong = Vec::new();
    let _ = stranger.read_to_end(&mut pong);
    assert!(pong.windows(8).any(|window| window == b"mismatch"), "{pong:?}");
    assert_eq!(listeners.kept(2).len(), 2);
}

#[test]
fn opentelemetry_sdk() {
    let listeners = listeners(None);
    let Some(sent) = sender(&["otlp", "127.0.0.1", &listeners.port("http"), "50", "t0ken"]) else { return };
    let kept = listeners.kept(sent);
    assert_eq!((kept.len(), sources(&kept)), (sent, BTreeSet::from(["otlp/checkout"])));
    assert!(kept.iter().all(|arrival| arrival.transport == Transport::OtlpHttp && text(arrival).contains("message ")));
    assert_eq!(kept[1].claimed.map(|time| time.at.as_microsecond()), Some(1_767_604_364_000_001));
    let claims: serde_json::Value = serde_json::from_str(kept[0].claims.as_deref().unwrap()).unwrap();
    assert!(claims["resource_protobuf"].as_str().unwrap().len() > 20 && claims["scope_protobuf"].is_string(), "{claims}");
}

#[test]
fn opentelemetry_sdk_over_grpc() {
    let listeners = listeners(None);
    let port = listeners.port("http");
    let Some(sent) = sender(&["otlp_grpc", "127.0.0.1", &port, "50", "t0ken"]) else { return };
    let kept = listeners.kept(sent);
    assert_eq!((kept.len(), sources(&kept)), (sent, BTreeSet::from(["otlp/checkout"])));
    assert!(kept.iter().all(|arrival| arrival.transport == Transport::OtlpGrpc && text(arrival).contains("message ")));
    assert_eq!(kept[1].claimed.map(|time| time.at.as_microsecond()), Some(1_767_604_364_000_001));
    sender(&["otlp_grpc", "127.0.0.1", &port, "5", "wrong"]);
    assert_eq!(listeners.refused("http", "unauthorized"), 1);
    // Told that there is no room, it sends again.
    listeners.memory.mood.store(1, std::sync::atomic::Ordering::SeqCst);
    let sending = std::thread::spawn(move || sender(&["otlp_grpc", "127.0.0.1", &port, "20", "t0ken"]));
    let until = Instant::now() + Duration::from_secs(40);
    while listeners.refused("http", "overloaded") == 0 && Instant::now() < until {}
    listeners.memory.mood.store(0, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(sending.join().unwrap(), Some(20));
    assert_eq!(listeners.kept(sent + 20).len(), sent + 20);
    assert!(listeners.refused("http", "overloaded") > 0);
}

#[test]
fn opentelemetry_over_grpc_and_tls_is_known_by_its_certificate() {
    if !have_openssl() {
        return;
    }
    let certificates = Certificates::make();
    let listeners = listeners(Some(&certificates));
    let words = ["otlp_grpc", "localhost", &listeners.port("open"), "5", "none", &certificates.path("")];
    let Some(sent) = sender(&words) else { return };
    let kept = listeners.kept(sent);
    assert_eq!(kept.len(), sent);
    let claims: serde_json::Value = serde_json::from_str(kept[0].claims.as_deref().unwrap()).unwrap();
    assert_eq!(claims["identity"], "web1.example");
}

#[test]
fn opentelemetry_by_hand() {
    let listeners = listeners(None);
    let post = |kind: &str, body: &[u8]| {
        listeners.send(&format!("POST /v1/logs\nauthorization: Bearer t0ken\ncontent-type: {kind}"), body)
    };
    let body =
        b"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":\"1000\",\"body\":{\"stringValue\":\"a\"}}]}]}]}";
    assert_eq!(post("application/json", body), (200, "{}".to_owned()));
    let (status, answer) = post("application/json", b"{\"resourceLogs\":7}");
    assert!(status == 400 && answer.starts_with("{\"code\":3,\"message\":"), "{status} {answer}");
    assert_eq!(post("application/x-protobuf", b""), (200, String::new()));
    let (status, answer) = post("application/x-protobuf", b"\xff");
    assert!(status == 400 && answer.starts_with("\x08\x03\x12"), "{status} {answer:?}");
    assert_eq!(listeners.send("POST /v1/logs\ncontent-type: application/json", body).0, 401);
    listeners.memory.mood.store(1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(post("application/json", body).0, 429);
    let kept = listeners.kept(1);
    assert_eq!(kept.iter().map(text).collect::<Vec<_>>(), ["{\"timeUnixNano\":\"1000\",\"body\":{\"stringValue\":\"a\"}}"]);
    assert_eq!(sources(&kept), BTreeSet::from(["otlp"]));
}

#[test]
fn journal_upload() {
    let [remote, upload] = ["systemd-journal-remote", "systemd-journal-upload"].map(|name| Path::new("/lib/systemd").join(name));
    if !have("systemd-journal-upload", upload.exists() && remote.exists()) {
        return;
    }
    let listeners = listeners(None);
    let work = tempfile::tempdir().unwrap();
    let entry = |nth: u64| {
        let binary = [&b"MESSAGE\n"[..], &12_u64.to_le_bytes(), b"two\n\nlines=\xff\n"].concat();
        let time = 1_767_604_364_000_000 + nth;
        let boot = "_BOOT_ID=0123456789abcdef0123456789abcdef";
        [
            format!("__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={nth}\n{boot}\nNTH={nth}\n").into_bytes(),
            binary,
            b"\n".to_vec(),
        ]
        .concat()
    };
    let (export, journal) = (work.path().join("export"), work.path().join("made.journal"));
    fs::write(&export, (1..=200).flat_map(entry).collect::<Vec<u8>>()).unwrap();
    succeed(Command::new(remote).arg("-o").arg(&journal).arg(&export).output().unwrap());
    let url = format!("http://127.0.0.1:{}", listeners.port("open"));
    let state = work.path().join("state");
    let run = || {
        let mut command = Command::new(&upload);
        command
            .arg("--follow=no")
            .arg(format!("--url={url}"))
            .arg(format!("--file={}", journal.display()))
            .arg(format!("--save-state={}", state.display()));
        succeed(command.output().unwrap())
    };
    run();
    let kept = listeners.kept(200);
    assert_eq!((kept.len(), sources(&kept)), (200, BTreeSet::from(["journal/127.0.0.1"])));
    for (nth, arrival) in kept.iter().enumerate() {
        assert_eq!(arrival.claimed.map(|time| time.at.as_microsecond()), Some(1_767_604_364_000_001 + nth as i64));
        assert!(arrival.raw.windows(13).any(|window| window == b"two\n\nlines=\xff\n") && arrival.raw.ends_with(b"\n"));
    }
    // It goes on where the answer said everything was kept; with nothing new it sends its last entry once more.
    run();
    let again = listeners.kept(200);
    assert!(again.len() <= 201 && again.iter().skip(200).all(|arrival| arrival.raw == kept[199].raw), "{}", again.len());
    listeners.memory.mood.store(2, std::sync::atomic::Ordering::SeqCst);
    let (status, _) = listeners.send("POST /upload\nauthorization: Bearer t0ken", b"__CURSOR=a\nMESSAGE=b\n\n");
    assert_eq!(status, 503);
}

#[test]
fn gelf_over_tls_is_known_by_its_certificate() {
    if !have_openssl() {
        return;
    }
    let certificates = Certificates::make();
    let listeners = listeners(Some(&certificates));
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail", "--cacert", &certificates.path("ca.pem"), "--cert", &certificates.path("client.pem")]);
    curl.args(["--key", &certificates.path("client.key"), "-d", "{\"version\":\"1.1\",\"host\":\"h\",\"short_message\":\"m\"}"]);
    curl.arg(format!("https://localhost:{}/gelf", listeners.port("open")));
    let there = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if have("curl", there) {
        succeed(curl.output().unwrap());
        assert_eq!(sources(&listeners.kept(1)), BTreeSet::from(["gelf/web1.example"]));
    }
}
