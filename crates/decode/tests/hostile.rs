//! Input made to break parsers: each gives a problem with a name, and the rest goes on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where it is wrong and says what it skipped"
)]
mod shared;

use std::io::{Cursor, Read, Write};

use reeve_decode::{Decoder, Hint, Limits, Sink, Value, json};
use shared::Collected;

fn read(bytes: impl Read, limits: &Limits) -> Collected {
    let mut collected = Collected::default();
    reeve_decode::read(Box::new(bytes), "input", limits, &mut collected);
    collected
}

fn codes(collected: &Collected) -> Vec<&'static str> {
    collected.problems.iter().map(|(_, problem)| problem.code).collect()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).expect("a member starts");
        writer.write_all(content).expect("a member is written");
    }
    writer.finish().expect("the archive ends").into_inner()
}

#[test]
fn json_test_suite() {
    let Some(archive) = shared::data("hostile/JSONTestSuite.zip") else { return };
    let mut archive = zip::ZipArchive::new(std::fs::File::open(archive).expect("it opens")).expect("it is a zip archive");
    let (mut yes, mut no, mut either) = (0, 0, 0);
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).expect("a member");
        let path = member.name().expect("a name").into_owned();
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).expect("it unpacks");
        let text = String::from_utf8_lossy(&bytes);
        let replaced = matches!(text, std::borrow::Cow::Owned(_));
        let (_, problems) = json::parse(&text);
        let broken = replaced || !problems.is_empty();
        if name.starts_with("y_") {
            assert!(!broken, "{name} must parse: {problems:?}");
            yes += 1;
        } else if name.starts_with("n_") {
            assert!(broken, "{name} must give a problem");
            no += 1;
        } else if name.starts_with("i_") {
            either += 1;
        }
    }
    println!("JSONTestSuite: {yes} parse, {no} give a problem, {either} may do either and do not panic");
    assert!(yes > 70 && no > 140, "the suite was not found where it should be: {yes} and {no}");
}

#[test]
fn naughty_strings_come_back_unchanged() {
    let Some(path) = shared::data("hostile/blns.json") else { return };
    let text = std::fs::read_to_string(path).expect("it reads");
    let (Value::List(ours), problems) = json::parse(&text) else { panic!("a list") };
    let theirs: Vec<String> = serde_json::from_str(&text).expect("serde_json reads it");
    assert_eq!(problems, []);
    assert_eq!(ours.iter().map(|value| value.as_str().unwrap_or_default()).collect::<Vec<_>>(), theirs);
}

#[test]
fn a_hundred_thousand_levels() {
    for open in ["{\"a\":", ""] {
        let deep = format!("{open}{}\n{{\"b\":1}}\n", "[".repeat(100_000));
        let seen = read(deep.as_bytes(), &Limits::default());
        let events = &seen.events["input"];
        assert_eq!(events[0].codes, ["json.depth"], "{open}");
        assert_eq!(events.last().expect("the next line").native, serde_json::json!({"b": 1}));
    }
}

#[test]
fn an_endless_line_is_cut() {
    let line = std::io::repeat(b'x').take(20 << 20).chain(&b"\nnext\n"[..]);
    struct Peak(usize, u64);
    impl Sink for Peak {
        fn raw(&mut self, record: reeve_decode::RawRecord<'_>) {
            self.0 = self.0.max(record.raw.len());
            self.1 += record.raw.len() as u64;
        }
        fn wants_events(&self) -> bool {
            false
        }
    }
    let mut peak = Peak(0, 0);
    let limits = Limits { record_bytes_max: 1 << 20, ..Limits::default() };
    reeve_decode::read(Box::new(line), "input", &limits, &mut peak);
    assert!(peak.0 <= 1 << 20, "a record of {} bytes", peak.0);
    assert_eq!(peak.1, (20 << 20) + 4, "no byte is lost");
}

#[test]
fn a_bomb_is_named_and_left() {
    let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    let block = vec![b'x'; 1 << 20];
    for _ in 0..16 {
        packed.write_all(&block).expect("it packs");
    }
    let bomb = packed.finish().expect("it ends");
    let archive = zip(&[("bomb.zst", &bomb), ("fine.log", b"hello\n")]);
    let by_ratio = Limits { expand_free_bytes: 2 << 20, record_bytes_max: 1 << 20, ..Limits::default() };
    let by_size = Limits { expand_bytes_max: 2 << 20, record_bytes_max: 1 << 20, ..Limits::default() };
    for limits in [by_ratio, by_size] {
        let seen = read(Cursor::new(&archive), &limits);
        assert!(codes(&seen).contains(&"container.bomb"), "{:?}", codes(&seen));
        assert!(seen.raw_bytes < 4 << 20, "{} bytes were read on", seen.raw_bytes);
        assert_eq!(seen.events["input!fine.log"].len(), 1);
    }
}

#[test]
fn names_that_leave_the_folder_are_named_and_read() {
    let seen = read(Cursor::new(zip(&[("../../etc/passwd", b"root\n"), ("ok", b"{\"a\":1}\n")])), &Limits::default());
    assert_eq!(codes(&seen), ["container.unsafe_name"]);
    assert_eq!(seen.events["input!../../etc/passwd"][0].native["message"], "root");
    assert_eq!(seen.events["input!ok"][0].decoder, "json");
}

#[test]
fn containers_in_containers_are_bounded() {
    let mut bytes = b"inside\n".to_vec();
    for _ in 0..9 {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&bytes).expect("it packs");
        bytes = packer.finish().expect("it ends");
    }
    assert_eq!(codes(&read(Cursor::new(bytes.clone()), &Limits::default())), ["container.nesting"]);
    let deeper = Limits { nesting_max: 9, ..Limits::default() };
    assert_eq!(read(Cursor::new(bytes), &deeper).events["input"][0].native["message"], "inside");
}

#[test]
fn broken_archives_give_what_they_can() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packer.write_all(&b"line\n".repeat(1000)).expect("it packs");
    let mut bytes = packer.finish().expect("it ends");
    bytes.truncate(bytes.len() / 2);
    let seen = read(Cursor::new(bytes), &Limits::default());
    assert_eq!(codes(&seen), ["input.unreadable"]);
    assert!(seen.raw > 100, "the lines before the cut: {}", seen.raw);
    assert_eq!(codes(&read(&b"PK\x03\x04 no archive"[..], &Limits::default())), ["container.broken"]);
    assert_eq!(codes(&read(&b"BZh91AY&SY"[..], &Limits::default())), ["container.unsupported"]);
}

#[test]
fn text_in_any_encoding() {
    let wide: Vec<u8> = "\u{feff}{\"a\":\"é\"}\r\nplain\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let seen = read(Cursor::new(wide), &Limits::default());
    assert_eq!(seen.events["input"][0].native, serde_json::json!({"a": "é"}));
    assert_eq!(seen.events["input"][1].native["message"], "plain");
    let broken = read(&b"{\"a\":\"\xff\"}\nNUL\0here it is in a line\n"[..], &Limits::default());
    assert_eq!(broken.events["input"][0].codes, ["text.invalid_utf8"]);
    assert_eq!(broken.events["input"][0].native["a"], "\u{fffd}");
    assert_eq!(broken.events["input"][1].codes, ["text.nul"]);
}

#[test]
fn damaged_event_logs_give_the_rest() {
    let Some(archive) = shared::data("sigma/regression_data.zip") else { return };
    let mut archive = zip::ZipArchive::new(std::fs::File::open(archive).expect("it opens")).expect("a zip archive");
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut counts = (0, 0, 0);
    for index in 0..archive.len().min(60) {
        let mut member = archive.by_index(index).expect("a member");
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).expect("it unpacks");
        if !bytes.starts_with(b"ElfFile") {
            continue;
        }
        let cut = bytes[..4096 + 512 + (random() as usize % 60_000)].to_vec();
        for _ in 0..20 {
            let at = 4096 + random() as usize % (bytes.len() - 4096);
            bytes[at] ^= 1 << (random() % 8);
        }
        for damaged in [bytes, cut] {
            let seen = read(Cursor::new(damaged), &Limits::default());
            let named = !seen.problems.is_empty() || seen.all().any(|(_, event)| !event.codes.is_empty());
            counts.0 += 1;
            counts.1 += usize::from(named);
            counts.2 += usize::from(seen.all().any(|(_, event)| event.head.is_some()));
        }
    }
    println!("damaged EVTX: {} read, {} with the damage named, {} still giving events", counts.0, counts.1, counts.2);
    // A flipped bit behind the last record is outside every checksum.
    assert!(counts.1 * 10 >= counts.0 * 5, "{counts:?}");
}

#[test]
fn an_unreadable_path_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("b.log"), "fine\n").expect("a file");
    std::os::unix::fs::symlink("/nowhere/at/all", folder.path().join("a.log")).expect("a link");
    let seen = shared::read(folder.path());
    assert_eq!(codes(&seen), ["input.unreadable"]);
    assert!(seen.problems[0].0.ends_with("a.log"));
    assert_eq!(seen.raw, 1);
}

#[test]
fn rsyslog_testbench_does_not_break_us() {
    let Some(archive) = shared::data("hostile/rsyslog-testbench.zip") else { return };
    let seen = shared::read(&archive);
    println!("rsyslog test bench: {} records, {:?}", seen.raw, seen.by_decoder());
    assert!(seen.raw > 0);
}

#[test]
fn a_decoder_takes_any_bytes() {
    let mut decoder = Decoder::new(Hint::default());
    for raw in [
        &b""[..],
        b"\0",
        b"ElfChnk\0",
        b"ElfFile\0",
        b"\xff\xfe",
        b"<",
        b"<1",
        b"<>",
        b"{",
        b"[",
        b"[{",
        b"type=",
        b"#",
        b"__CURSOR=",
    ] {
        decoder.feed(1, 1, raw, jiff::Timestamp::UNIX_EPOCH, &mut |_| {});
    }
    decoder.flush(&mut |_| {});
}
