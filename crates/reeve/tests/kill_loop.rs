//! `kill -9` under load, again and again: whatever was acknowledged is in the record, bit for bit, under the id that was given.
//!
//! `REEVE_KILL_CYCLES` sets the number of kills (5 by default). What was acknowledged is compared with the sealed Parquet segments,
//! read with the parquet crate alone, by none of our code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use arrow::array::{Array as _, BinaryArray, UInt32Array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// Acknowledged: segment, index, bytes.
type Acknowledged = Vec<(u32, u32, Vec<u8>)>;

struct Server {
    child: Child,
    http: String,
    elastic: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_reeve").map(PathBuf::from);
    std::env::var_os("REEVE_BIN").map(PathBuf::from).or(built).expect("set REEVE_BIN to the reeve binary")
}

fn start(data: &Path) -> Server {
    start_with(data, &[])
}

fn start_with(data: &Path, more: &[&str]) -> Server {
    let mut command = Command::new(binary());
    command.args([
        "serve",
        "--console",
        "off",
        "--syslog-udp",
        "off",
        "--syslog-tcp",
        "off",
        "--http",
        "127.0.0.1:0",
        "--elastic",
        "127.0.0.1:0",
    ]);
    command.args(more).arg("--data").arg(data).env("REEVE_LOG", "warn").stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("no ready line but `{line}`: {error}"));
    assert_eq!(ready["ready"], true);
    let address = |name: &str| ready["listeners"][name].as_str().unwrap().trim_start_matches("http://").to_owned();
    Server { http: address("http"), elastic: address("elastic"), child }
}

/// Posts on an open connection; `None` if the server is gone or did not take it.
fn post(stream: &mut BufReader<TcpStream>, path: &str, body: &[u8]) -> Option<Value> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut status = String::new();
    stream.read_line(&mut status).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).ok()?;
    status.contains(" 200 ").then(|| serde_json::from_slice(&answer).ok()).flatten()
}

fn id(text: &str) -> (u32, u32) {
    let (segment, index) = text.split_once('-').unwrap();
    (segment.parse().unwrap(), index.parse().unwrap())
}

/// Writes until the server is gone: even writers NDJSON, odd ones bulk requests.
fn write(writer: usize, cycle: usize, address: &str, stop: &AtomicBool) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let Ok(stream) = TcpStream::connect(address) else { return acknowledged };
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut stream = BufReader::new(stream);
    for request in 0_usize.. {
        if stop.load(SeqCst) {
            break;
        }
        let records: Vec<Vec<u8>> = (0..1 + (request * 37 + writer * 11) % 150)
            .map(|nth| {
                format!(
                    "{{\"writer\":{writer},\"cycle\":{cycle},\"request\":{request},\"nth\":{nth},\"pad\":\"{}\"}}",
                    "x".repeat(nth % 400)
                )
                .into_bytes()
            })
            .collect();
        let ids: Vec<(u32, u32)> = if writer.is_multiple_of(2) {
            let Some(answer) = post(&mut stream, &format!("/ingest/writer-{writer}"), &records.join(&b'\n')) else { break };
            assert_eq!(answer["accepted"], records.len());
            let (first, last) = (id(answer["first"].as_str().unwrap()), id(answer["last"].as_str().unwrap()));
            // A request may lead over into the next segment; then only its ends are known.
            if first.0 != last.0 {
                acknowledged.push((first.0, first.1, records[0].clone()));
                acknowledged.push((last.0, last.1, records[records.len() - 1].clone()));
                continue;
            }
            (first.1..=last.1).map(|index| (first.0, index)).collect()
        } else {
            let body: Vec<u8> = records.iter().flat_map(|record| [&b"{\"index\":{}}\n"[..], record, b"\n"].concat()).collect();
            let Some(answer) = post(&mut stream, &format!("/writer-{writer}/_bulk"), &body) else { break };
            assert_eq!(answer["errors"], false);
            answer["items"].as_array().unwrap().iter().map(|item| id(item["index"]["_id"].as_str().unwrap())).collect()
        };
        assert_eq!(ids.len(), records.len());
        acknowledged.extend(ids.into_iter().zip(records).map(|((segment, index), record)| (segment, index, record)));
    }
    acknowledged
}

/// Every record of the sealed segments.
fn sealed(data: &Path) -> HashMap<(u32, u32), Vec<u8>> {
    let mut found = HashMap::new();
    for entry in fs::read_dir(data.join("ledger/segments")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "parquet") {
            continue;
        }
        let segment: u32 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let indexes = batch.column_by_name("index").unwrap().as_any().downcast_ref::<UInt32Array>().unwrap();
            let raws = batch.column_by_name("raw").unwrap().as_any().downcast_ref::<BinaryArray>().unwrap();
            for row in 0..batch.num_rows() {
                assert!(!raws.is_null(row), "record {segment}-{} is lost", indexes.value(row));
                found.insert((segment, indexes.value(row)), raws.value(row).to_vec());
            }
        }
    }
    found
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let cycles: usize = std::env::var("REEVE_KILL_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut acknowledged = Acknowledged::new();
    for cycle in 0..cycles {
        let mut server = start(&data);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let address = if writer % 2 == 0 { server.http.clone() } else { server.elastic.clone() };
                let stop = stop.clone();
                std::thread::spawn(move || write(writer, cycle, &address, &stop))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(60 + (cycle as u64 * 7919) % 700));
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        stop.store(true, SeqCst);
        for writer in writers {
            acknowledged.extend(writer.join().unwrap());
        }
    }
    let mut server = start(&data);
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let stopping = Instant::now();
    let status = server.child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "SIGTERM ends with 0");
    let kept = sealed(&data);
    let lost = acknowledged.iter().filter(|(segment, index, raw)| kept.get(&(*segment, *index)) != Some(raw)).count();
    eprintln!(
        "torture: {cycles} kills, {} acknowledged, {} kept, {lost} lost; stopped in {:?}",
        acknowledged.len(),
        kept.len(),
        stopping.elapsed()
    );
    assert!(!acknowledged.is_empty());
    assert_eq!(lost, 0);
}

#[test]
fn a_second_server_on_the_folder_and_a_port_in_use_end_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = start(&data);
    let second =
        Command::new(binary()).args(["serve", "--console", "off", "--data"]).arg(&data).env("REEVE_LOG", "off").output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(3), "{said}");
    assert!(said.contains(&first.child.id().to_string()) && said.contains("in use"), "{said}");
    let other = Command::new(binary())
        .args([
            "serve",
            "--console",
            "off",
            "--syslog-udp",
            "off",
            "--syslog-tcp",
            "off",
            "--elastic",
            "off",
            "--http",
            &first.http,
            "--data",
        ])
        .arg(folder.path().join("other"))
        .env("REEVE_LOG", "off")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(3), "{said}");
    assert!(said.contains(&first.http), "{said}");
}

#[test]
fn a_disk_without_room_refuses_and_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("reeve.toml"));
    fs::write(&config, "[limits]\ndisk_reserve_bytes = 4611686018427387904\n").unwrap();
    let mut full = start_with(&data, &["--config", config.to_str().unwrap()]);
    let connect = |address: &str| BufReader::new(TcpStream::connect(address).unwrap());
    let bulk = b"{\"index\":{\"_index\":\"a\"}}\n{}\n";
    assert_eq!(post(&mut connect(&full.http), "/ingest/a", b"refused"), None);
    assert_eq!(post(&mut connect(&full.elastic), "/_bulk", bulk), None);
    assert!(full.child.try_wait().unwrap().is_none(), "still serving");
    drop(full);
    let roomy = start(&data);
    assert_eq!(post(&mut connect(&roomy.http), "/ingest/a", b"taken").unwrap()["accepted"], 1);
}
