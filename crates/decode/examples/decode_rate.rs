//! Events per second and core of decoders, over input made here: `cargo run --release -p reeve-decode --example decode_rate [FILE]`.
//!
//! With a file, that file is read whole into memory first and its rate printed instead. Rates are per second of CPU time where the
//! system tells it (Linux), so that a busy machine does not blur them.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and its own input is good")]

use std::time::Instant;

use reeve_decode::{Decoder, Hint, Limits, Parsed, Sink};

fn main() {
    if let Some(path) = std::env::args().nth(1) {
        return file(&path);
    }
    let winlogbeat = r#"{"@timestamp":"2024-05-01T12:30:00.123Z","host":{"name":"ws1.corp.example"},"event":{"code":"1","kind":"event"},"winlog":{"channel":"Microsoft-Windows-Sysmon/Operational","provider_name":"Microsoft-Windows-Sysmon","event_id":"1","computer_name":"ws1.corp.example","record_id":83213,"event_data":{"UtcTime":"2024-05-01 12:30:00.120","ProcessGuid":"{5770385f-c22a-43e0-bf4c-06f5698ffbd9}","ProcessId":"4460","Image":"C:\\Windows\\System32\\cmd.exe","CommandLine":"cmd.exe /c whoami /all","User":"CORP\\alice","ParentImage":"C:\\Windows\\explorer.exe","ParentProcessId":"1200"}}}"#;
    let flat = r#"{"EventTime":"2024-05-01 12:30:00","Hostname":"ws1.corp.example","Keywords":-9223372036854775808,"EventType":"INFO","SeverityValue":2,"EventID":1,"SourceName":"Microsoft-Windows-Sysmon","Channel":"Microsoft-Windows-Sysmon/Operational","RecordNumber":83213,"ProcessID":3544,"ThreadID":4272,"Domain":"NT AUTHORITY","AccountName":"SYSTEM","UtcTime":"2024-05-01 12:30:00.120","ProcessGuid":"{5770385f-c22a-43e0-bf4c-06f5698ffbd9}","ProcessId":"4460","Image":"C:\\Windows\\System32\\cmd.exe","CommandLine":"cmd.exe /c whoami /all","User":"CORP\\alice","@timestamp":"2024-05-01T12:30:00.123Z"}"#;
    let plain = r#"{"timestamp":"2024-05-01T12:30:00.123Z","level":"info","service":"checkout","host":"web-17","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","user":"alice","src":"10.20.30.40","method":"POST","path":"/api/v2/cart/items","status":201,"bytes":5123,"duration_ms":34.25,"agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36","message":"item added to the cart after the stock of the warehouse had been confirmed by the upstream service in time","tags":["cart","stock","eu-west-1"],"ok":true,"retry":null}"#;
    let cases: [(&str, Vec<String>); 7] = [
        ("json.winlogbeat", vec![winlogbeat.into()]),
        ("json.nxlog", vec![flat.into()]),
        ("json", vec![plain.into()]),
        ("syslog.3164", vec!["<86>May  1 12:30:00 web-17 sshd[4242]: Failed password for invalid user admin from 10.20.30.40 port 51514 ssh2".into()]),
        ("syslog.5424", vec!["<134>1 2024-05-01T12:30:00.123456Z web-17 checkout 4242 ID47 [origin ip=\"10.20.30.40\"] item added to the cart".into()]),
        ("web.access", vec!["10.20.30.40 - alice [01/May/2024:12:30:00 +0000] \"GET /api/v2/cart HTTP/1.1\" 200 5123 \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"".into()]),
        ("auditd", audit()),
    ];
    for (name, lines) in cases {
        rate(name, &lines.into_iter().map(String::into_bytes).collect::<Vec<_>>());
    }
    rate("netflow 5", &[five()]);
    rate("netflow 9", &nine());
    rate("sflow", &[sflow()]);
}

/// Thirty flows, as many as fit.
fn five() -> Vec<u8> {
    let flow = "0a1e0207c633640900000000000300040000000c0000232800015f90000184acc3cb01bb001b0600fbf0fbff18180000";
    let head = format!("0005001e000186a0695b808c1dcd65000000002900034064{}", flow.repeat(30));
    hex::decode(head).unwrap()
}

/// Twenty datagrams of 24 flows with 18 fields, the first with their template too.
fn nine() -> Vec<Vec<u8>> {
    let fields = [(8, 4), (12, 4), (15, 4), (10, 4), (14, 4), (2, 4), (1, 4), (22, 4), (21, 4), (7, 2), (11, 2), (6, 1), (4, 1)];
    let more: [(u16, u16); 5] = [(5, 1), (16, 4), (17, 4), (9, 1), (61, 1)];
    let fields: Vec<(u16, u16)> = fields.into_iter().chain(more).collect();
    let set = |id: u16, body: &[u8]| [&id.to_be_bytes()[..], &(body.len() as u16 + 4).to_be_bytes(), body].concat();
    let numbers = [256, fields.len() as u16].into_iter().chain(fields.iter().flat_map(|(element, length)| [*element, *length]));
    let template = set(0, &numbers.flat_map(u16::to_be_bytes).collect::<Vec<u8>>());
    let flow: Vec<u8> = (0..fields.iter().map(|(_, length)| *length as u8).sum()).collect();
    let head = hex::decode("00090018000186a0695b808c0000002900000005").unwrap();
    let datagram = |template: &[u8]| [&head[..], template, &set(256, &flow.repeat(24))].concat();
    std::iter::once(datagram(&template)).chain(std::iter::repeat_n(datagram(&[]), 19)).collect()
}

/// Seven samples of packets, 128 bytes of each.
fn sflow() -> Vec<u8> {
    let words = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let frame = "02000000000102000000000281000007080045000400000040004006 0000c0000207c6336409c3ce01bb00000000000000005010"
        .replace(' ', "");
    let mut frame = hex::decode(frame).unwrap();
    frame.resize(128, b'x');
    let header = [&words(&[1, 144, 1, 1042, 4, 128])[..], &frame].concat();
    let sample = [&words(&[1, 32 + header.len() as u32, 21, 3, 512, 9000, 2, 11, 12, 1])[..], &header].concat();
    [&words(&[5, 1, 0xC000_0201, 0, 40, 100_000, 7])[..], &sample.repeat(7)].concat()
}

fn audit() -> Vec<String> {
    [
        "type=SYSCALL msg=audit(1615114232.375:15558): arch=c000003e syscall=59 success=yes exit=0 a0=63b29337fd18 a1=63b293387d58 a2=63b293375640 a3=fffffffffffff000 items=2 ppid=10883 pid=10884 auid=1000 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts1 ses=1 comm=\"whoami\" exe=\"/usr/bin/whoami\" key=(null)",
        "type=EXECVE msg=audit(1615114232.375:15558): argc=1 a0=\"whoami\"",
        "type=CWD msg=audit(1615114232.375:15558): cwd=\"/home/user/tmp\"",
        "type=PATH msg=audit(1615114232.375:15558): item=0 name=\"/usr/bin/whoami\" inode=261214 dev=ca:03 mode=0100755 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL",
        "type=PROCTITLE msg=audit(1615114232.375:15558): proctitle=\"whoami\"",
        "type=EOE msg=audit(1615114232.375:15558): ",
    ]
    .map(String::from)
    .into()
}

/// The rate of records that the decoder whose name `name` begins with reads.
fn rate(name: &str, lines: &[Vec<u8>]) {
    let wanted = name.split(' ').next().unwrap();
    let received = "2024-05-01T12:30:01Z".parse().unwrap();
    let mut decoder = Decoder::new(Hint::default());
    let (mut events, mut records, mut bytes, mut fields) = (0u64, 0u64, 0u64, 0usize);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    while started.elapsed().as_millis() < 700 {
        for _ in 0..500 {
            for line in lines {
                records += 1;
                bytes += line.len() as u64;
                decoder.feed(records, records, line, received, &mut |parsed: Parsed<'_>| {
                    assert!(parsed.decoder == wanted, "read as {}", parsed.decoder);
                    events += 1;
                    fields += parsed.native.len();
                });
            }
        }
    }
    report(name, events, records, bytes, spent(cpu, started));
    assert!(fields > 0);
}

fn file(path: &str) {
    #[derive(Default)]
    struct Count(u64, u64, u64);
    impl Sink for Count {
        fn raw(&mut self, record: reeve_decode::RawRecord<'_>) {
            self.1 += 1;
            self.2 += record.raw.len() as u64;
        }
        fn event(&mut self, _source: &str, parsed: Parsed<'_>) {
            self.0 += u64::from(!parsed.native.is_empty());
        }
    }
    let bytes = std::fs::read(path).unwrap();
    let (mut count, started, cpu, mut rounds) = (Count::default(), Instant::now(), cpu_seconds(), 0);
    while rounds == 0 || started.elapsed().as_millis() < 1000 {
        reeve_decode::read(Box::new(&bytes[..]), path, &Limits::default(), &mut count);
        rounds += 1;
    }
    report(path, count.0, count.1, count.2, spent(cpu, started));
}

/// Seconds this thread has been on a processor.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse::<f64>().ok().map(|nanos| nanos / 1e9)
}

fn spent(before: Option<f64>, started: Instant) -> f64 {
    match (before, cpu_seconds()) {
        (Some(before), Some(after)) => after - before,
        _ => started.elapsed().as_secs_f64(),
    }
}

fn report(name: &str, events: u64, records: u64, bytes: u64, seconds: f64) {
    let (events_rate, bytes_rate) = (events as f64 / seconds, bytes as f64 / seconds / 1e6);
    println!("{name:<16} {events_rate:>10.0} events/s  {:>10.0} records/s  {bytes_rate:>7.0} MB/s", records as f64 / seconds);
}
