//! Measures durable appends: records/s, CPU per record, bytes per record on disk, verify rate.
//!
//! `cargo run --release -p reeve-ledger --example append_rate -- [RECORDS] [BATCH] [THREADS] [DIR]`, records of about 600 bytes of JSON.
#![allow(clippy::print_stdout)]

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use reeve_ledger::{Ledger, NewRecord, Options, VerifyOptions, verify};
use reeve_record::Transport;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (records, batch, threads) = (number(1_000_000)?, number(1000)?, number(4)?);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let ledger = Arc::new(Ledger::open(dir.path(), Options::new("reeve.example/bench"))?);
    let per_thread = records / threads / batch;
    let records = per_thread * threads * batch;
    println!("{records} records, batches of {batch}, {threads} threads");

    // Made beforehand, so that only the ledger is measured.
    let samples: Vec<Vec<NewRecord>> = (0..threads).map(|thread| samples(thread, batch)).collect();
    let (start, cpu) = (Instant::now(), cpu_time()?);
    let writers: Vec<_> = samples
        .into_iter()
        .map(|sample| {
            let ledger = ledger.clone();
            std::thread::spawn(move || -> Result<Vec<Duration>, reeve_ledger::Error> {
                (0..per_thread)
                    .map(|_| {
                        let start = Instant::now();
                        ledger.append(sample.clone())?;
                        Ok(start.elapsed())
                    })
                    .collect()
            })
        })
        .collect();
    let mut waits = Vec::new();
    for writer in writers {
        waits.extend(writer.join().map_err(|_| "a writer panicked")??);
    }
    let elapsed = start.elapsed().as_secs_f64();
    waits.sort();
    println!("appended, durable: {:.0} records/s ({elapsed:.2} s)", records as f64 / elapsed);
    println!("  acknowledgement: median {:?}, 99th percentile {:?}", waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    ledger.seal_now()?;
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_time()? - cpu);
    println!(
        "sealed too: {:.0} records/s ({elapsed:.2} s); CPU {:.2} µs a record in all",
        records as f64 / elapsed,
        1e6 * cpu / records as f64
    );
    let status = ledger.status();
    println!(
        "on disk {:.1} bytes a record of {:.1} raw, in {} segments; peak memory {} MiB",
        status.sealed_file_bytes as f64 / records as f64,
        status.sealed_raw_bytes as f64 / records as f64,
        status.segments,
        peak_memory()? / 1024
    );
    let start = Instant::now();
    let report = verify(dir.path(), &VerifyOptions::default(), &mut |_| {})?;
    println!("verified: {:.0} records/s, {} faults", records as f64 / start.elapsed().as_secs_f64(), report.faults.len());
    Ok(())
}

fn samples(thread: usize, count: usize) -> Vec<NewRecord> {
    let source: Arc<str> = format!("http/agent{thread}").into();
    let policy: Arc<str> = "default".into();
    let mut state = 88_172_645_463_325_252_u64 + thread as u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count)
        .map(|n| {
            let raw = format!(
                concat!(
                    r#"{{"@timestamp":"2026-01-05T09:12:{:02}.{:06}Z","event":{{"code":4688,"provider":"Microsoft-Windows-Security-Auditing","action":"created-process","id":"{:016x}{:016x}"}},"#,
                    r#""host":{{"name":"ws{:04}.corp.example","os":{{"family":"windows","version":"10.0"}}}},"process":{{"pid":{},"executable":"C:\\Windows\\System32\\svchost.exe","#,
                    r#""command_line":"svchost.exe -k netsvcs -p -s Schedule","parent":{{"pid":{},"name":"services.exe"}}}},"user":{{"name":"SYSTEM","domain":"NT AUTHORITY","id":"S-1-5-18"}},"#,
                    r#""source":{{"ip":"10.{}.{}.{}","port":{}}},"message":"A new process has been created."}}"#
                ),
                n % 60, random() % 1_000_000, random(), random(), random() % 2000, random() % 30000, random() % 30000,
                random() % 256, random() % 256, random() % 256, random() % 65536
            );
            NewRecord { raw: Bytes::from(raw), source: source.clone(), transport: Transport::Http, claimed: None, policy: policy.clone() }
        })
        .collect()
}

/// Seconds of user and system time of this process.
fn cpu_time() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}

/// High-water mark of resident memory in KiB.
fn peak_memory() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).unwrap_or("0").parse()?)
}
