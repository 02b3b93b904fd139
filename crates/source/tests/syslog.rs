//! Syslog over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
mod common;

use std::{
    io::Write as _,
    net::{TcpStream, UdpSocket},
    time::Duration,
};

use common::{intake, runtime};
use reeve_source::{Place, StreamLimits, serve_tcp, serve_udp};
use tokio::sync::watch;

const ANY: &str = "127.0.0.1:0";

#[test]
fn datagrams_are_records() {
    let runtime = runtime();
    let (memory, intake) = intake();
    let (stop, stopped) = watch::channel(false);
    let running =
        runtime.block_on(serve_udp(&Place::plain("syslog_udp", ANY.parse().unwrap()), intake.clone(), stopped)).unwrap();
    let socket = UdpSocket::bind(ANY).unwrap();
    for nth in 0..500 {
        socket.send_to(format!("<13>message {nth}\n").as_bytes(), running.address).unwrap();
        if nth % 50 == 0 {
            memory.wait_for(nth);
        }
    }
    let kept = memory.wait_for(500);
    assert_eq!(kept.len(), 500);
    assert_eq!(kept[499], "<13>message 499\n");
    assert_eq!(memory.sources()[0], "syslog/127.0.0.1");
    stop.send(true).unwrap();
    runtime.block_on(running.done).unwrap();
    let snapshot = intake.counters.snapshot();
    assert_eq!(snapshot.sources[0].records, 500);
    assert!(snapshot.sources[0].last_seen_at.is_some());
}

#[test]
fn a_stream_mixes_framings_and_keeps_its_end() {
    let runtime = runtime();
    let (memory, intake) = intake();
    let (stop, stopped) = watch::channel(false);
    let running = runtime
        .block_on(serve_tcp(&Place::plain("syslog_tcp", ANY.parse().unwrap()), intake.clone(), StreamLimits::default(), stopped))
        .unwrap();
    let mut stream = TcpStream::connect(running.address).unwrap();
    stream.write_all(b"<13>first\n16 <13>octet\ninside\n<13>third\n<13>last with").unwrap();
    memory.wait_for(3);
    stream.write_all(b"out end").unwrap();
    drop(stream);
    assert_eq!(memory.wait_for(4), ["<13>first", "<13>octet\ninside", "<13>third", "<13>last without end"]);
    stop.send(true).unwrap();
    runtime.block_on(running.done).unwrap();
}

#[test]
fn a_full_disk_slows_the_sender_and_loses_nothing() {
    let runtime = runtime();
    let (memory, intake) = intake();
    let (stop, stopped) = watch::channel(false);
    let running = runtime
        .block_on(serve_tcp(&Place::plain("syslog_tcp", ANY.parse().unwrap()), intake, StreamLimits::default(), stopped))
        .unwrap();
    memory.mood.store(2, std::sync::atomic::Ordering::SeqCst);
    let mut stream = TcpStream::connect(running.address).unwrap();
    stream.write_all(b"<13>waits\n").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(memory.raws().is_empty());
    memory.mood.store(0, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(memory.wait_for(1), ["<13>waits"]);
    // A stop takes in what has arrived, also without its end.
    stream.write_all(b"<13>at the stop").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    stop.send(true).unwrap();
    runtime.block_on(running.done).unwrap();
    assert_eq!(memory.raws()[1], "<13>at the stop");
}

#[test]
fn too_many_connections_are_closed_and_counted() {
    let runtime = runtime();
    let (_memory, intake) = intake();
    let (_stop, stopped) = watch::channel(false);
    let limits = StreamLimits { connections_per_peer_max: 1, ..StreamLimits::default() };
    let running =
        runtime.block_on(serve_tcp(&Place::plain("syslog_tcp", ANY.parse().unwrap()), intake.clone(), limits, stopped)).unwrap();
    let _first = TcpStream::connect(running.address).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let mut second = TcpStream::connect(running.address).unwrap();
    assert_eq!(std::io::Read::read(&mut second, &mut [0; 1]).unwrap_or(0), 0);
    let line = &intake.counters.snapshot().listeners[0];
    assert_eq!(line.refused.get("too_many_connections_of_peer"), Some(&1));
}

#[test]
fn a_port_in_use_is_named() {
    let runtime = runtime();
    let (_memory, intake) = intake();
    let (_stop, stopped) = watch::channel(false);
    let taken = std::net::TcpListener::bind(ANY).unwrap();
    let error = runtime
        .block_on(serve_tcp(&Place::plain("syslog_tcp", taken.local_addr().unwrap()), intake, StreamLimits::default(), stopped))
        .map(|running| running.address)
        .unwrap_err();
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()), "{error}");
}
