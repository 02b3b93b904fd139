//! Bad input at the command line: each item is named with what and where, the rest goes on, and the exit code says that it did.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where it is wrong, and says what it passes over"
)]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use support::{Client, Ran, SCANNER, SCANNER_RULE, Server, data, reeve, unzipped, within, write, zip, zstd_bomb};
use tempfile::TempDir;

/// A folder with a bad file between two good ones, each of which has something to find.
struct Beside {
    folder: TempDir,
    bad: PathBuf,
}

const GOOD: [&str; 2] = ["0-good.log", "z-good.log"];

impl Beside {
    fn new(name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let beside = Self::only_good(name);
        write(&beside.bad, bytes);
        beside
    }

    /// The bad one is made by whoever asks.
    fn only_good(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for good in GOOD {
            write(&folder.path().join(good), format!("{SCANNER}\n"));
        }
        let bad = folder.path().join(name);
        Self { folder, bad }
    }

    fn scan(&self) -> Ran {
        self.scan_with(&[])
    }

    fn scan_with(&self, more: &[&str]) -> Ran {
        let mut args = vec!["scan", "--format", "ndjson"];
        args.extend(more);
        args.push(self.folder.path().to_str().unwrap());
        let ran = reeve(args);
        self.goes_on(&ran.lines(), |line| line["evidences"][0]["data"]["source"].clone());
        ran
    }

    fn decode(&self) -> Ran {
        let ran = reeve(["decode", "--face", "native", self.folder.path().to_str().unwrap()]);
        self.goes_on(&ran.lines(), |line| line["source"].clone());
        ran
    }

    /// The good files are there, whatever the bad one does.
    #[track_caller]
    fn goes_on(&self, lines: &[Value], source: impl Fn(&Value) -> Value) {
        for good in GOOD {
            let path = self.folder.path().join(good);
            assert!(lines.iter().any(|line| source(line) == path.to_str().unwrap()), "nothing of `{good}`");
        }
    }

    /// Both commands end with 5 and name the file and the code.
    #[track_caller]
    fn is_named(&self, code: &str) -> [Ran; 2] {
        let named = [self.bad.to_str().unwrap(), code];
        let (scan, decode) = (self.scan().ended(5), self.decode().ended(5));
        scan.says(&named);
        decode.says(&named);
        [scan, decode]
    }

    /// Decoded records of the bad file.
    fn read(&self, decode: &Ran) -> Vec<Value> {
        let path = self.bad.to_str().unwrap();
        decode.lines().into_iter().filter(|line| line["source"].as_str().unwrap().starts_with(path)).collect()
    }
}

#[test]
fn truncated_and_bit_flipped_evtx() {
    let Some(archive) = data("sigma/regression_data.zip") else { return };
    let member = "regression_data/rules/windows/sysmon/sysmon_config_modification/8ac03a65-6c84-4116-acad-dc1558ff7a77.evtx";
    let Some(whole) = unzipped(&archive, member) else { return };
    let windows = tempfile::tempdir().unwrap();
    let rule = windows.path().join("any.yml");
    write(
        &rule,
        "title: Any Sysmon Event\nid: 11111111-1111-4111-8111-111111111111\nstatus: test\nlogsource: {product: windows}\ndetection:\n  any:\n    EventID|gte: 0\n  condition: any\nlevel: low\n",
    );
    let built_in = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../content/rules";
    let rules = ["--rules", rule.to_str().unwrap(), "--rules", &built_in];
    let intact = Beside::new("intact.evtx", &whole);
    let found = intact.scan_with(&rules).ended(0).lines().len();
    assert!(found > GOOD.len(), "the intact file gives findings");

    let cut = Beside::new("cut.evtx", &whole[..4096 + 20_000]);
    cut.scan_with(&rules).ended(5).says(&[cut.bad.to_str().unwrap(), "evtx.chunk_truncated"]);
    cut.decode().ended(5).says(&[cut.bad.to_str().unwrap(), "evtx.chunk_truncated"]);

    let mut bytes = whole.clone();
    bytes[4096 + 512 + 700] ^= 0x10;
    let flipped = Beside::new("flipped.evtx", &bytes);
    flipped.scan_with(&rules).ended(5).says(&[flipped.bad.to_str().unwrap(), "evtx.chunk_checksum"]);
    let decode = flipped.decode().ended(5);
    decode.says(&[flipped.bad.to_str().unwrap(), "evtx.chunk_checksum"]);
    assert!(!flipped.read(&decode).is_empty(), "what is whole in it is read");
}

#[test]
fn a_line_of_64_mib() {
    let mut bytes = vec![b'x'; 64 << 20];
    bytes.extend(format!("\n{SCANNER}\n").bytes());
    let beside = Beside::new("long.log", bytes);
    let scan = beside.scan().ended(5);
    scan.says(&[beside.bad.to_str().unwrap(), "line_too_long", "16777216"]);
    assert_eq!(scan.stderr.matches("line_too_long").count(), 1, "named once, however many records it gives");
    let found = scan.lines().into_iter().any(|line| line["evidences"][0]["data"]["source"] == beside.bad.to_str().unwrap());
    assert!(found, "the line after it is read:\n{}", scan.stderr);
    println!("a line of 64 MiB: scanned in {:?}", scan.took);
}

#[test]
fn json_100_000_levels_deep() {
    let closed = format!("{{\"a\":{}{}}}\n{{\"after\":1}}\n", "[".repeat(100_000), "]".repeat(100_000));
    let open = format!("{{\"a\":{}\n{{\"after\":1}}\n", "{\"b\":".repeat(100_000));
    for bytes in [closed, open] {
        let beside = Beside::new("deep.json", bytes);
        let [_, decode] = beside.is_named("json.depth");
        let read = beside.read(&decode);
        assert_eq!(read.last().unwrap()["native"]["after"], 1, "the next line is read");
    }
}

#[test]
fn invalid_utf8_and_nuls_keep_their_bytes() {
    let raws: [(&[u8], &str); 2] =
        [(b"{\"name\":\"a\xff\xfeb\"}", "text.invalid_utf8"), (b"a line with a \0 in its text", "text.nul")];
    for (raw, code) in raws {
        let beside = Beside::new("odd.log", [raw, b"\n{\"after\":1}\n"].concat());
        let [_, decode] = beside.is_named(code);
        let read = beside.read(&decode);
        assert_eq!(read[0]["raw_sha256"], sha256(raw), "the bytes are kept as they came");
        assert_eq!(read[0]["problems"][0]["code"], code);
        assert_eq!(read[1]["native"]["after"], 1);
    }
}

#[test]
fn the_damage_of_a_million_lines_is_one_line() {
    let beside = Beside::new("odd.log", b"a line of text with one NUL \0 byte in it\n".repeat(5000));
    let scan = beside.scan().ended(5);
    let named: Vec<&str> = scan.stderr.lines().filter(|line| line.contains("text.nul")).collect();
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(named[0].contains("record 1") && named[0].contains("4999 more"), "{}", named[0]);
}

#[test]
fn zip_slip_is_named_and_writes_nothing() {
    let archive = zip(&[("../../escaped.log", format!("{SCANNER}\n").as_bytes()), ("inside.log", b"{\"after\":1}\n")]);
    let beside = Beside::new("deep/er/slip.zip", archive);
    let [scan, decode] = beside.is_named("container.unsafe_name");
    let member = format!("{}!../../escaped.log", beside.bad.display());
    assert!(scan.lines().iter().any(|line| line["evidences"][0]["data"]["source"] == member), "it is evidence and is read");
    assert!(beside.read(&decode).iter().any(|line| line["native"]["after"] == 1));
    assert!(!beside.folder.path().join("escaped.log").exists());
}

#[test]
fn a_bomb_is_left_and_the_archive_goes_on() {
    let bomb = zstd_bomb(b'x', 1 << 30);
    assert!(bomb.len() < 40_000, "1 GiB in {} bytes", bomb.len());
    let archive = zip(&[("bomb.zst", &bomb), ("fine.log", format!("{SCANNER}\n").as_bytes())]);
    let beside = Beside::new("bomb.zip", archive);
    let scan = beside.scan().ended(5);
    scan.says(&[beside.bad.to_str().unwrap(), "bomb.zst", "container.bomb"]);
    let member = format!("{}!fine.log", beside.bad.display());
    assert!(scan.lines().iter().any(|line| line["evidences"][0]["data"]["source"] == member), "what follows the bomb is read");
    println!("a bomb of 1:{}: scanned in {:?}", (1 << 30) / bomb.len(), scan.took);
}

#[test]
fn broken_archives_are_named() {
    for (name, bytes) in
        [("half.zip", &b"PK\x03\x04 no archive"[..]), ("half.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03half"), ("x.bz2", b"BZh91AY&SY")]
    {
        let beside = Beside::new(name, bytes);
        let scan = beside.scan().ended(5);
        scan.says(&["unreadable", beside.bad.to_str().unwrap()]);
    }
}

#[test]
fn a_faulty_rule_is_named_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, log) = (folder.path().join("rules"), folder.path().join("a.log"));
    write(&log, format!("{SCANNER}\n"));
    let good = include_str!("../../../content/rules/web/scanner_user_agent.yml");
    let syntax = "title: No End\nid: 22222222-2222-4222-8222-222222222222\nlogsource: {category: webserver}\ndetection:\n  a: [1, 2\n  condition: a\n";
    let condition = "title: No Such Search\nid: 33333333-3333-4333-8333-333333333333\nlogsource: {category: webserver}\ndetection:\n  a:\n    b: 1\n  condition: c\n";
    write(&rules.join("good.yml"), good);
    write(&rules.join("syntax.yml"), syntax);
    write(&rules.join("condition.yml"), condition);
    let scan = |rules: &Path| reeve(["scan", "--format", "ndjson", "--rules", rules.to_str().unwrap(), log.to_str().unwrap()]);

    let all = scan(&rules).ended(0);
    assert_eq!(all.lines()[0]["finding_info"]["analytic"]["uid"], SCANNER_RULE, "the good rule works");
    all.says(&["rule not used", &format!("{}:7:", rules.join("condition.yml").display()), "`c`"]);
    let named = all.stderr.lines().find(|line| line.contains("syntax.yml")).unwrap();
    let line: u32 = named.split("syntax.yml:").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
    assert!((5..=7).contains(&line), "{named}");

    for faulty in ["syntax.yml", "condition.yml"] {
        scan(&rules.join(faulty)).ended(2).says(&["rule not used", &format!("{faulty}:")]);
    }
    // Given by itself beside a good one: the good one works, and the author is told.
    let both = reeve(["scan", "--rules"].map(Path::new).into_iter().chain([
        rules.join("good.yml").as_path(),
        Path::new("--rules"),
        &rules.join("condition.yml"),
        &log,
    ]))
    .ended(2);
    assert_eq!(both.lines().len(), 1);
    scan(&folder.path().join("nowhere")).ended(2).says(&["nowhere", "No such file"]);
}

#[test]
fn what_cannot_be_opened_in_a_big_folder() {
    let beside = Beside::only_good("a-link.log");
    for nth in 0..300 {
        write(&beside.folder.path().join(format!("many/{nth}.log")), format!("{{\"nth\":{nth}}}\n"));
    }
    std::os::unix::fs::symlink("/nowhere/at/all", &beside.bad).unwrap();
    let pipe = beside.folder.path().join("b-pipe.log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let scan = beside.scan().ended(5);
    scan.says(&["unreadable", beside.bad.to_str().unwrap()]);
    scan.says(&["unreadable", pipe.to_str().unwrap(), "neither a file nor a folder"]);
    scan.says(&["302 files", "302 events"]);
    let decode = beside.decode().ended(5);
    assert_eq!(decode.lines().len(), 302);

    // Into the record too: the rest is taken, and the code says that it is not all.
    let data = beside.folder.path().join("data");
    let ingest = reeve([
        "ingest",
        beside.folder.path().join("a-link.log").to_str().unwrap(),
        beside.folder.path().join(GOOD[0]).to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ])
    .ended(5);
    ingest.says(&["a-link.log"]);
    assert_eq!(ingest.lines()[0]["records"], 1);
}

#[test]
fn nothing_to_read_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere.evtx");
    for command in ["scan", "decode"] {
        reeve([command, nowhere.to_str().unwrap()]).ended(2).says(&["unreadable", "nowhere.evtx", "No such file"]);
    }
}

#[test]
fn a_port_in_use_ends_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let off = ["--console", "--http", "--elastic", "--syslog-udp", "--syslog-tcp"];
    for (nth, listener) in ["--console", "--http", "--elastic", "--syslog-tcp"].into_iter().enumerate() {
        let mut args = vec!["serve".to_owned(), "--data".to_owned(), folder.path().join(nth.to_string()).display().to_string()];
        for name in off {
            args.extend([name.to_owned(), if name == listener { address.clone() } else { "off".to_owned() }]);
        }
        let ran = reeve(&args).ended(3);
        ran.says(&["cannot listen", &address, "in use"]);
        assert!(ran.stdout.is_empty(), "never ready: {}", ran.stdout);
    }
}

#[test]
fn a_second_serve_on_the_folder_names_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut first = Server::start(&data, &[]);
    let pid = first.pid().to_string();
    let path = data.to_str().unwrap();
    let second = reeve([
        "serve",
        "--console",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--elastic",
        "off",
        "--syslog-udp",
        "off",
        "--syslog-tcp",
        "off",
        "--data",
        path,
    ]);
    second.ended(3).says(&[path, "in use by process", &pid]);
    // Every command that would work on the folder says the same.
    for args in
        [&["search", "", "--data", path][..], &["ingest", "/dev/null", "--data", path], &["alert", "list", "--data", path]]
    {
        reeve(args).ended(3).says(&["in use by process", &pid]);
    }
    assert!(first.is_running());
    let (status, _) = first.ingest("a", "still here\n");
    assert_eq!(status, 200);
    assert_eq!(first.stop(), 0);
}

#[test]
fn wrong_configuration_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("reeve.toml");
    write(&config, "[elastic]\nadress = \"0.0.0.0:9201\"\n");
    let config = config.to_str().unwrap();
    reeve(["serve", "--config", config]).ended(3).says(&["reeve.toml"]).says(&["adress"]);
    let missing = folder.path().join("none.toml");
    reeve(["serve", "--config", missing.to_str().unwrap()]).ended(3).says(&["none.toml", "No such file"]);
    reeve(["serve", "--http", "here"]).ended(3).says(&["`here`", "127.0.0.1:9200"]);
}

#[test]
fn a_full_disk_under_the_output_ends_with_2() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: no /dev/full");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("a.log");
    write(&log, format!("{SCANNER}\n"));
    let scan = reeve(["scan", log.to_str().unwrap(), "--clobber", "-o", "/dev/full"]).ended(2);
    scan.says(&["cannot write", "No space left"]);
}

/// A small disk of its own, taken down at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "reeve-test"]).arg(at).output();
        if mounted.is_ok_and(|out| out.status.success()) {
            return Some(Self(at.to_owned()));
        }
        println!("skipped: a small disk cannot be mounted here");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&at, "20m") else { return };
    let data = at.join("data");
    let mut server = Server::start(&data, &[]);
    let (mut acknowledged, mut refused) = (0u64, None);
    for round in 0..2000u64 {
        // Noise, so that nothing compresses it away.
        let lines: String = (0..500u64)
            .map(|nth| format!("{{\"n\":{},\"noise\":\"{}\"}}\n", round * 500 + nth, noise(round * 500 + nth)))
            .collect();
        match server.ingest("full", &lines) {
            (200, answer) => acknowledged += answer["accepted"].as_u64().unwrap(),
            (status, answer) => {
                refused = Some((status, answer));
                break;
            }
        }
    }
    let (status, answer) = refused.expect("the disk gets full");
    assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("disk_full")), "{answer}");
    assert!(acknowledged > 0 && server.is_running(), "it serves on");
    let client = Client::signed_in(&server, &data);
    // What was acknowledged is all there, now and after a restart with room.
    let count = |client: &Client| -> Option<u64> {
        let (_, text) = client.text("/search", &[("q", "source:full | stats count")]);
        let table = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|line| line["type"] == "table")?;
        table["rows"][0][0].as_u64()
    };
    within(Duration::from_secs(30), "all acknowledged events are found", || (count(&client)? == acknowledged).then_some(()));
    assert_eq!(server.stop(), 0);
    assert!(Command::new("mount").args(["-o", "remount,size=256m"]).arg(&at).status().unwrap().success());
    let server = Server::start(&data, &[]);
    let client = Client::signed_in(&server, &data);
    within(Duration::from_secs(30), "all are found after a restart", || (count(&client)? == acknowledged).then_some(()));
    let (status, answer) = server.ingest("full", "{\"room\":\"again\"}\n");
    assert_eq!((status, &answer["accepted"]), (200, &Value::from(1)));
    assert_eq!(server.stop(), 0);
    reeve(["ledger", "verify", "--data", data.to_str().unwrap()]).ended(0);
    println!("full disk: {acknowledged} acknowledged, all kept");
}

/// Text that does not compress: a linear congruential generator's high bits.
fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..40).map(|_| format!("{:08x}", next())).collect()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}
