//! Clients that others wrote, against the listeners. See `cases/clients/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use common::{intake, runtime};
use reeve_source::{Elastic, HttpLimits, Place, StreamLimits, Tokens, serve_http, serve_tcp, serve_udp};
use tokio::sync::watch;

struct Listeners {
    memory: std::sync::Arc<common::Memory>,
    elastic: u16,
    tcp: u16,
    udp: u16,
    _stop: watch::Sender<bool>,
    _runtime: tokio::runtime::Runtime,
}

fn listeners() -> Listeners {
    let runtime = runtime();
    let (memory, intake) = intake();
    let (stop, stopped) = watch::channel(false);
    let any = "127.0.0.1:0".parse().unwrap();
    let (elastic, tcp, udp) = runtime.block_on(async {
        let limits = HttpLimits::default();
        let elastic = serve_http(
            &Place::plain("elastic", any),
            intake.clone(),
            Tokens::default(),
            limits,
            Elastic::default(),
            stopped.clone(),
        )
        .await
        .unwrap();
        let tcp =
            serve_tcp(&Place::plain("syslog_tcp", any), intake.clone(), StreamLimits::default(), stopped.clone()).await.unwrap();
        let udp = serve_udp(&Place::plain("syslog_udp", any), intake.clone(), stopped).await.unwrap();
        (elastic.address.port(), tcp.address.port(), udp.address.port())
    });
    Listeners { memory, elastic, tcp, udp, _stop: stop, _runtime: runtime }
}

fn cases() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../cases/clients")
}

fn clients() -> PathBuf {
    std::env::var_os("REEVE_CLIENTS")
        .map_or_else(|| PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../target/clients"), PathBuf::from)
}

/// Whether a tool answers; if not, says so, and fails where tools are required.
fn have(tool: &str, try_it: &mut Command) -> bool {
    let there = try_it.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        assert!(std::env::var_os("REEVE_REQUIRE_TOOLS").is_none(), "{tool} is required and not there");
        eprintln!("skipped: no {tool}");
    }
    there
}

fn succeed(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn logger() {
    if !have("logger", Command::new("logger").arg("--version")) {
        return;
    }
    let listeners = listeners();
    let ways: [(&[&str], u16); 5] = [
        (&["--udp", "--rfc5424"], listeners.udp),
        (&["--udp", "--rfc3164"], listeners.udp),
        (&["--tcp", "--rfc5424"], listeners.tcp),
        (&["--tcp", "--rfc5424", "--octet-count"], listeners.tcp),
        (&["--tcp", "--rfc3164", "--octet-count"], listeners.tcp),
    ];
    for (nth, (way, port)) in ways.iter().enumerate() {
        let message = format!("message {nth} über 'quotes'");
        let mut logger = Command::new("logger");
        logger.args(["--server", "127.0.0.1", "--port", &port.to_string(), "--tag", "probe"]).args(*way).arg(&message);
        succeed(logger.output().unwrap());
        let kept = listeners.memory.wait_for(nth + 1);
        assert!(kept[nth].starts_with('<') && kept[nth].contains(&message), "{way:?}: {kept:?}");
    }
    assert_eq!(listeners.memory.raws().len(), ways.len());
}

#[test]
fn python() {
    let python = clients().join("venv/bin/python");
    if !have("Python elasticsearch client", Command::new(&python).args(["-c", "import elasticsearch"])) {
        return;
    }
    let listeners = listeners();
    let url = format!("http://127.0.0.1:{}", listeners.elastic);
    let sent = succeed(Command::new(python).arg(cases().join("bulk.py")).args([&url, "500"]).output().unwrap());
    assert_eq!(listeners.memory.raws().len(), sent.trim().parse::<usize>().unwrap());
    assert!(listeners.memory.sources().contains(&"elastic/py-parallel".to_owned()));
}

#[test]
fn javascript() {
    let modules = clients().join("node_modules");
    let mut probe = Command::new("node");
    if !have(
        "JavaScript elasticsearch client",
        probe.args(["-e", "require('@elastic/elasticsearch')"]).env("NODE_PATH", &modules),
    ) {
        return;
    }
    let listeners = listeners();
    let url = format!("http://127.0.0.1:{}", listeners.elastic);
    let sent = succeed(
        Command::new("node").arg(cases().join("bulk.cjs")).args([&url, "500"]).env("NODE_PATH", &modules).output().unwrap(),
    );
    assert_eq!(listeners.memory.raws().len(), sent.trim().parse::<usize>().unwrap());
}

/// Ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn rsyslog() {
    let module = [
        "/usr/lib/x86_64-linux-gnu/rsyslog/omelasticsearch.so",
        "/usr/lib/rsyslog/omelasticsearch.so",
        "/usr/lib64/rsyslog/omelasticsearch.so",
    ];
    let there = module.iter().any(|path| Path::new(path).exists());
    if !have("rsyslogd with omelasticsearch", Command::new(if there { "rsyslogd" } else { "rsyslogd-not-there" }).arg("-v")) {
        return;
    }
    let listeners = listeners();
    let work = tempfile::tempdir().unwrap();
    let input = work.path().join("input.log");
    let lines = 300;
    fs::write(&input, (0..lines).map(|nth| format!("line {nth} with \"quotes\" and ü\n")).collect::<String>()).unwrap();
    let config = fs::read_to_string(cases().join("rsyslog.conf")).unwrap();
    let config = config
        .replace("@WORK@", &work.path().display().to_string())
        .replace("@INPUT@", &input.display().to_string())
        .replace("@TCP@", &listeners.tcp.to_string())
        .replace("@UDP@", &listeners.udp.to_string())
        .replace("@ELASTIC@", &listeners.elastic.to_string());
    let path = work.path().join("rsyslog.conf");
    fs::write(&path, config).unwrap();
    let mut rsyslogd = Command::new("rsyslogd");
    rsyslogd.arg("-n").arg("-f").arg(&path).arg("-i").arg(work.path().join("pid")).stderr(Stdio::null());
    let _daemon = Daemon(rsyslogd.spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(20);
    while listeners.memory.kept.lock().len() < 4 * lines && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let kept = listeners.memory.raws();
    assert_eq!(kept.iter().filter(|raw| raw.starts_with('{')).count(), lines, "omelasticsearch");
    assert_eq!(kept.iter().filter(|raw| raw.starts_with("<134>1 ")).count(), lines, "octet-counted");
    assert_eq!(kept.len(), 4 * lines);
    assert!(kept.iter().filter(|raw| raw.starts_with('{')).all(|raw| serde_json::from_str::<serde_json::Value>(raw).is_ok()));
    for nth in [0, lines - 1] {
        assert_eq!(kept.iter().filter(|raw| raw.contains(&format!("line {nth} with"))).count(), 4);
    }
}
