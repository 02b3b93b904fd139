//! `bench serve`: durable events per second into a running server with detection on, and where its time goes.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    bench::{build, dice::Dice, value},
    meter,
    run::{Done, program, reeve, target_dir},
};

/// How it is called.
pub const USAGE: &str =
    "       cargo xtask bench serve [--rules PATH] [--seconds N] [--rate EVENTS_PER_SECOND] [--clients N] [--shape sysmon|web]";

/// Sends JSON events of 600 bytes as fast as they are acknowledged, or at `--rate`, then waits until all are read; prints the figures.
pub fn bench(flags: &[&str]) -> Done {
    let number = |name, default| value(flags, name).map_or(Ok(default), str::parse::<u64>).map_err(|_| USAGE);
    let (seconds, rate, clients) = (number("--seconds", 30)?, number("--rate", 0)?, number("--clients", 4)?);
    let shape = value(flags, "--shape").unwrap_or("sysmon");
    build()?;
    let data = target_dir().join("bench-serve");
    let _ = fs::remove_dir_all(&data);
    let server = Server::start(&data, value(flags, "--rules"))?;
    let bodies = Arc::new(bodies(shape)?);
    let load = Load { bodies, sent: Arc::new(AtomicU64::new(0)), rate, clients, length: Duration::from_secs(seconds) };
    let (took, slowest) = load.run(&server.http)?;
    let acknowledged = load.sent.load(Relaxed);
    let lag = server.lag()?;
    let read_within = server.wait_until_read(took)?;
    let read = server.cpu();
    server.wait_until_idle(took);
    server.report(&load, took, slowest, lag, read_within, read);
    println!("\nacknowledged {acknowledged} events in {:.1} s", took.as_secs_f64());
    Ok(())
}

struct Server {
    child: Child,
    http: String,
    console: String,
}

impl Server {
    fn start(data: &Path, rules: Option<&str>) -> Done<Self> {
        let mut command = Command::new(reeve("release"));
        command.arg("serve").arg("--data").arg(data).args(["--console", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.args(["--syslog-udp", "off", "--syslog-tcp", "off", "--elastic", "off"]).env("REEVE_LOG", "warn");
        if let Some(rules) = rules {
            command.args(["--rules", rules]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("reeve serve has no standard output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("reeve serve: {error}"))?;
        let ready: Value = serde_json::from_str(&line).map_err(|error| format!("reeve serve is not ready: `{line}`: {error}"))?;
        let address = |of: &Value| of.as_str().unwrap_or_default().trim_start_matches("http://").to_owned();
        Ok(Self { child, http: address(&ready["listeners"]["http"]), console: address(&ready["console"]) })
    }

    fn cpu(&self) -> f64 {
        meter::cpu_seconds(self.child.id()).unwrap_or_default()
    }

    /// Records that are durable and not read yet, as the server's metrics tell.
    fn lag(&self) -> Done<u64> {
        let failed = |error: std::io::Error| format!("the server's metrics: {error}");
        let mut stream = TcpStream::connect(&self.console).map_err(failed)?;
        stream.write_all(b"GET /api/v1/metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").map_err(failed)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(failed)?;
        let lag = text.lines().find_map(|line| line.strip_prefix("reeve_reading_lag_records ")?.trim().parse().ok());
        lag.ok_or_else(|| format!("no reading lag in the server's metrics: {text}"))
    }

    /// Gives the seconds from now until every durable record is read.
    fn wait_until_read(&self, limit: Duration) -> Done<f64> {
        let started = Instant::now();
        while self.lag()? > 0 {
            if started.elapsed() > limit * 4 {
                return Err(format!("{} records are still unread after {:?}", self.lag()?, limit * 4));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Waits until what goes on in the background is done too: the threads stand still.
    fn wait_until_idle(&self, limit: Duration) {
        let started = Instant::now();
        let mut last = (self.cpu(), Instant::now());
        while last.1.elapsed() < Duration::from_secs(1) && started.elapsed() < limit * 4 {
            thread::sleep(Duration::from_millis(100));
            let now = self.cpu();
            if now - last.0 > 0.05 {
                last = (now, Instant::now());
            }
        }
    }

    fn report(&self, load: &Load, took: Duration, slowest: Duration, lag: u64, read_within: f64, read: f64) {
        let events = load.sent.load(Relaxed) as f64;
        let cpu = self.cpu();
        println!("\n| figure | |\n|---|---|");
        println!("| event size, bytes | {:.0} |", load.event_bytes());
        println!("| acknowledged, durable, events/s | {:.0} |", events / took.as_secs_f64());
        println!("| slowest acknowledgement, ms | {:.0} |", slowest.as_secs_f64() * 1e3);
        println!("| not read yet at the last acknowledgement, events | {lag} |");
        println!("| read and detected through, seconds after the last acknowledgement | {read_within:.1} |");
        println!("| read and detected, events/s over all | {:.0} |", events / (took.as_secs_f64() + read_within));
        println!("| CPU µs an event until all was read | {:.1} |", read * 1e6 / events);
        println!("| CPU µs an event until nothing was left to do | {:.1} |", cpu * 1e6 / events);
        println!("| peak memory, MiB | {:.0} |", meter::peak(self.child.id()).unwrap_or_default());
        println!("\nCPU by thread, µs an event:");
        let mut threads: Vec<(String, f64)> = meter::by_thread(&self.child).into_iter().collect();
        threads.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (name, seconds) in threads.iter().filter(|(_, seconds)| *seconds > 0.05) {
            println!("  {name:16} {:6.2}", seconds * 1e6 / events);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = program("kill", &["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

struct Load {
    bodies: Arc<Vec<Vec<u8>>>,
    sent: Arc<AtomicU64>,
    /// Events a second in all; 0 for as many as are acknowledged.
    rate: u64,
    clients: u64,
    length: Duration,
}

impl Load {
    /// Sends from all clients until the time is over; gives the time taken and the slowest answer.
    fn run(&self, http: &str) -> Done<(Duration, Duration)> {
        let started = Instant::now();
        let slowest = thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients).map(|nth| scope.spawn(move || self.client(http, nth, started))).collect();
            let ends = clients.into_iter().map(|client| client.join().unwrap_or_else(|_| Err("a client panicked".to_owned())));
            ends.collect::<Done<Vec<Duration>>>()
        })?;
        Ok((started.elapsed(), slowest.into_iter().max().unwrap_or_default()))
    }

    fn client(&self, http: &str, nth: u64, started: Instant) -> Done<Duration> {
        let failed = |error: std::io::Error| format!("client {nth}: {error}");
        let mut stream = TcpStream::connect(http).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (mut slowest, mut turn) = (Duration::ZERO, nth as usize);
        while started.elapsed() < self.length {
            self.keep_pace(started);
            let body = &self.bodies[turn % self.bodies.len()];
            turn += self.clients as usize;
            let asked = Instant::now();
            post(&mut stream, &format!("/ingest/bench-{nth}"), body).map_err(failed)?;
            slowest = slowest.max(asked.elapsed());
            self.sent.fetch_add(BATCH as u64, Relaxed);
        }
        Ok(slowest)
    }

    fn keep_pace(&self, started: Instant) {
        while self.rate > 0 && self.sent.load(Relaxed) as f64 > started.elapsed().as_secs_f64() * self.rate as f64 {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn event_bytes(&self) -> f64 {
        let bytes: usize = self.bodies.iter().map(Vec::len).sum();
        bytes as f64 / (self.bodies.len() * BATCH) as f64 - 1.0
    }
}

/// Posts a body and reads the answer; only 200 is fine.
fn post(stream: &mut TcpStream, path: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        let read = stream.read(&mut part)?;
        answer.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&answer);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, rest)| rest.len() >= content_length(head));
        if read == 0 || whole {
            let fine = text.starts_with("HTTP/1.1 200");
            return if fine { Ok(()) } else { Err(std::io::Error::other(text.into_owned())) };
        }
    }
}

fn content_length(head: &str) -> usize {
    let of = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:").and_then(|size| size.trim().parse().ok());
    head.lines().find_map(of).unwrap_or_default()
}

/// Bodies of [`BATCH`] lines; hosts, people, programs and numbers vary as in a fleet.
fn bodies(shape: &str) -> Done<Vec<Vec<u8>>> {
    let line: fn(&mut Dice) -> String = match shape {
        "sysmon" => sysmon,
        "web" => web,
        other => return Err(format!("`{other}` is no shape\n{USAGE}")),
    };
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let body = |dice: &mut Dice| {
        let mut body = String::new();
        for _ in 0..BATCH {
            let _ = writeln!(body, "{}", line(dice));
        }
        body.into_bytes()
    };
    Ok((0..BODIES).map(|_| body(&mut dice)).collect())
}

/// A Sysmon event as Winlogbeat's nested JSON: process creation, network connection or DNS query of ordinary programs; one in 5,000 is
/// a shell that a document started, so that detection has something to find.
fn sysmon(dice: &mut Dice) -> String {
    let (host, user, pid) = (dice.below(400), dice.below(900), dice.below(30_000));
    let [image, parent, arguments] = PROGRAMS[dice.below(PROGRAMS.len() as u64) as usize];
    let clock = format!("2026-11-20T{:02}:{:02}:{:02}.{:03}Z", dice.below(24), dice.below(60), dice.below(60), dice.below(1000));
    let guid = format!("{:016x}", dice.next());
    let attack = dice.below(5000) == 0;
    let (id, data) = match dice.below(3) {
        _ if attack => (
            1,
            r#""Image":"C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe","CommandLine":"powershell.exe -nop -w hidden -enc SQBFAFgA","ParentImage":"C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE""#.to_owned(),
        ),
        0 => (
            1,
            format!(
                r#""Image":"{image}","CommandLine":"{image} {arguments}","ParentImage":"{parent}","ParentProcessId":"{}","IntegrityLevel":"Medium","LogonId":"0x{:x}","Hashes":"SHA256={:016x}{:016x}{:016x}{guid}""#,
                dice.below(30_000),
                dice.below(1 << 24),
                dice.next(),
                dice.next(),
                dice.next()
            ),
        ),
        1 => (
            3,
            format!(
                r#""Image":"{image}","Protocol":"tcp","Initiated":"true","SourceIp":"10.{}.{}.{}","SourcePort":"{}","SourceHostname":"ws-{host}.corp.example","DestinationIp":"10.9.{}.{}","DestinationPort":"443","DestinationHostname":"app-{}.corp.example""#,
                dice.below(4),
                dice.below(250),
                dice.below(250),
                20_000 + dice.below(40_000),
                dice.below(100),
                dice.below(250),
                dice.below(5000)
            ),
        ),
        _ => (
            22,
            format!(
                r#""Image":"{image}","QueryName":"host-{}.service-{}.example","QueryStatus":"0","QueryResults":"type: 5 edge-{}.cdn.example;203.0.113.{};203.0.113.{};""#,
                dice.below(9000),
                dice.below(300),
                dice.below(900),
                dice.below(250),
                dice.below(250)
            ),
        ),
    };
    let mut line = format!(
        r#"{{"@timestamp":"{clock}","winlog":{{"channel":"Microsoft-Windows-Sysmon/Operational","provider_name":"Microsoft-Windows-Sysmon","event_id":{id},"computer_name":"ws-{host}.corp.example","event_data":{{"UtcTime":"{clock}","ProcessGuid":"{{{guid}}}","ProcessId":"{pid}","User":"CORP\\u{user}",{data}"#
    );
    pad(&mut line, "}}}");
    line
}

/// Programs as they run in offices: image, who starts it, how.
const PROGRAMS: [[&str; 3]; 6] = [
    [r"C:\\Windows\\System32\\svchost.exe", r"C:\\Windows\\System32\\services.exe", "-k netsvcs -p -s Schedule"],
    [r"C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe", r"C:\\Windows\\explorer.exe", "--type=renderer --lang=en-US"],
    [r"C:\\Program Files\\Microsoft VS Code\\Code.exe", r"C:\\Windows\\explorer.exe", "--type=utility --enable-crash-reporter"],
    [r"C:\\Program Files\\Mozilla Firefox\\firefox.exe", r"C:\\Windows\\explorer.exe", "-contentproc -childID 7"],
    [r"C:\\Windows\\System32\\SearchIndexer.exe", r"C:\\Windows\\System32\\services.exe", "/Embedding"],
    [r"C:\\Program Files\\Vendor\\Agent\\agent.exe", r"C:\\Windows\\System32\\services.exe", "--service --config agent.toml"],
];

/// A web server's access log as JSON.
fn web(dice: &mut Dice) -> String {
    let clock = format!("2026-11-20T{:02}:{:02}:{:02}+00:00", dice.below(24), dice.below(60), dice.below(60));
    let agent = dice.of(&[
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
        "curl/8.14.1",
    ]);
    let mut line = format!(
        r#"{{"time":"{clock}","remote_addr":"203.0.113.{}","request_method":"GET","request_uri":"/api/v2/orders/{}?page={}&ref={:016x}","status":{},"body_bytes_sent":{},"http_referer":"https://shop.example/list/{}","http_user_agent":"{agent}","host":"shop.example","upstream_response_time":"0.{:03}""#,
        dice.below(250),
        dice.below(1_000_000),
        dice.below(40),
        dice.next(),
        dice.of(&["200", "200", "200", "304", "404", "500"]),
        dice.below(90_000),
        dice.below(5000),
        dice.below(1000)
    );
    pad(&mut line, "}");
    line
}

/// Makes every line [`EVENT_BYTES`] long, with a trailing text field.
fn pad(line: &mut String, end: &str) {
    let rest = EVENT_BYTES.saturating_sub(line.len() + end.len() + r#","note":"""#.len());
    let _ = write!(line, r#","note":"{}"{end}"#, "lorem ipsum dolor sit amet ".chars().cycle().take(rest).collect::<String>());
}

const EVENT_BYTES: usize = 600;
const BATCH: usize = 500;
const BODIES: usize = 200;
