//! `bench store`: the lake whole, against ClickHouse (chDB) and DuckDB on the same events, in one round-robin run.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    bench::{build, dice::Dice, value},
    run::{Done, program, reeve, root, step, target_dir},
};

/// How it is called.
pub const USAGE: &str = "       cargo xtask bench store [--events N] [--rounds N] [--keep]";

/// Generates events, lets each engine load and compact them, asks each the same questions in turn; prints the figures.
pub fn bench(flags: &[&str]) -> Done {
    let number = |name, default| value(flags, name).map_or(Ok(default), str::parse::<u64>).map_err(|_| USAGE);
    let (events, rounds) = (number("--events", 2_000_000)?, number("--rounds", 5)?);
    build()?;
    let folder = target_dir().join("bench-store");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let input = folder.join(format!("events-{events}.ndjson"));
    if !input.exists() {
        eprintln!("==> generate {events} events");
        generate(&input, events).map_err(|error| format!("{}: {error}", input.display()))?;
    }
    let python = engines()?;
    let mut run = program(python, &[]);
    run.arg(root().join("xtask/src/bench/store.py")).arg(reeve("release")).arg(&input).arg(&folder).arg(rounds.to_string());
    if flags.contains(&"--keep") {
        run.arg("--keep");
    }
    step("load, compact and ask, engine by engine", &mut run)
}

/// Python with the engines compared with, beside the build.
fn engines() -> Done<PathBuf> {
    let folder = target_dir().join("store-engines");
    let python = folder.join("bin/python");
    if !python.exists() {
        step("make a Python environment", program("python3", &["-m", "venv"]).arg(&folder))?;
    }
    if !folder.join("installed").exists() {
        let packages = ["-m", "pip", "install", "--quiet", "chdb==4.4.0", "duckdb==2.0.0", "pyarrow"];
        step("install chDB and DuckDB into it", &mut program(&python, &packages))?;
        fs::write(folder.join("installed"), b"").map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    Ok(python)
}

/// Writes events of three days in order of arrival: one in twenty comes up to an hour late, one in two hundred up to a day.
fn generate(path: &Path, events: u64) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&part)?);
    let mut dice = Dice(20_261_117);
    let mut line = String::new();
    for nth in 0..events {
        let arrives = (nth as f64 / events as f64 * DAYS as f64 * 86_400e6) as u64;
        let late = match dice.below(200) {
            0 => dice.below(86_400_000_000),
            1..=10 => dice.below(3_600_000_000),
            _ => dice.below(5_000_000),
        };
        line.clear();
        event(&mut line, &mut dice, arrives.saturating_sub(late), nth, nth % (events / 5).max(1) == NEEDLE_AT);
        writeln!(out, "{line}")?;
    }
    out.into_inner()?.sync_all()?;
    fs::rename(part, path)
}

/// An event of a Windows fleet in the flat form that NXLog writes: a process, a connection, a name lookup or a logon.
fn event(line: &mut String, dice: &mut Dice, at_us: u64, nth: u64, needle: bool) {
    let host = dice.few(2000);
    let token = if needle { "xK9qZneedle77".to_owned() } else { format!("{:012x}", dice.next() >> 16) };
    let user = if dice.below(10) > 0 { host % 1500 } else { dice.below(3000) };
    let clock = clock(at_us);
    let address = |dice: &mut Dice| match dice.below(3) {
        0 => format!("10.{}.{}.{}", dice.below(8), dice.below(250), 1 + dice.below(250)),
        _ => outside(dice, nth),
    };
    let mut head = |channel: &str, provider: &str, id: u32| {
        let _ = write!(
            line,
            r#"{{"@timestamp":"{clock}","Hostname":"wks-{host:04}.corp.example","Channel":"{channel}","SourceName":"{provider}","EventID":{id},"RecordNumber":{nth},"Severity":"INFO","#
        );
    };
    match dice.below(100) {
        0..=34 => {
            head(SYSMON, SYSMON_PROVIDER, 1);
            process(line, dice, user, &clock, &token);
        }
        35..=64 => {
            head(SYSMON, SYSMON_PROVIDER, 3);
            let to = address(dice);
            let _ = write!(
                line,
                r#""UtcTime":"{clock}","ProcessGuid":"{{{token}-3}}","ProcessId":"{}","Image":"{}","User":"CORP\\u{user}","Protocol":"tcp","Initiated":"true","SourceIp":"10.1.{}.{}","SourceHostname":"wks-{host:04}.corp.example","SourcePort":"{}","DestinationIp":"{to}","DestinationHostname":"edge-{}.{}.example","DestinationPort":"{}"}}"#,
                dice.below(60_000),
                image(dice.few(1500)),
                host / 250,
                host % 250,
                20_000 + dice.below(40_000),
                dice.few(5000),
                dice.below(40),
                dice.of(&["443", "443", "443", "80", "53", "8443"])
            );
        }
        65..=84 => {
            head(SYSMON, SYSMON_PROVIDER, 22);
            let to = address(dice);
            let _ = write!(
                line,
                r#""UtcTime":"{clock}","ProcessGuid":"{{{token}-22}}","ProcessId":"{}","Image":"{}","User":"CORP\\u{user}","QueryName":"{}.service-{}.example","QueryStatus":"{}","QueryResults":"type:  5 cdn-{}.example;::ffff:{to};"}}"#,
                dice.below(60_000),
                image(dice.few(1500)),
                dice.of(&["www", "api", "cdn", "mail", "img", "login"]),
                dice.few(60_000),
                dice.of(&["0", "0", "0", "0", "9003"]),
                dice.few(900)
            );
        }
        _ => {
            let failed = dice.below(100) < if host.is_multiple_of(50) { 60 } else { 7 };
            head("Security", "Microsoft-Windows-Security-Auditing", if failed { 4625 } else { 4624 });
            let from = address(dice);
            let _ = write!(
                line,
                r#""SubjectUserSid":"S-1-0-0","SubjectUserName":"-","TargetUserSid":"S-1-5-21-1004336348-1177238915-{}","TargetUserName":"u{user}","TargetDomainName":"CORP","TargetLogonId":"0x{:x}","LogonType":"{}","LogonProcessName":"{}","AuthenticationPackageName":"{}","WorkstationName":"WKS-{:04}","LogonGuid":"{{{token}}}","IpAddress":"{from}","IpPort":"{}","ProcessName":"-","Status":"{}"}}"#,
                1000 + user,
                dice.below(1 << 30),
                dice.of(&["2", "3", "3", "7", "10"]),
                dice.of(&["NtLmSsp", "Kerberos"]),
                dice.of(&["NTLM", "Kerberos"]),
                dice.below(2000),
                1024 + dice.below(60_000),
                if failed { "0xc000006d" } else { "0x0" }
            );
        }
    }
}

fn process(line: &mut String, dice: &mut Dice, user: u64, clock: &str, token: &str) {
    let rare = dice.below(200_000) == 0;
    let parent = if rare { 5 } else { dice.few(1500) };
    let child = if rare { 7 } else { (parent * 7 + dice.few(12)) % 1500 };
    let _ = write!(
        line,
        r#""UtcTime":"{clock}","ProcessGuid":"{{{token}-1}}","ProcessId":"{}","Image":"{child_image}","CommandLine":"{child_image} --mode {} --id {token} /{}","CurrentDirectory":"C:\\Windows\\system32\\","User":"CORP\\u{user}","LogonId":"0x{:x}","IntegrityLevel":"{}","Hashes":"SHA256={:064x}","ParentProcessId":"{}","ParentImage":"{}","ParentCommandLine":"{}"}}"#,
        dice.below(60_000),
        dice.of(&["run", "sync", "update", "daemon"]),
        dice.below(900),
        dice.below(1 << 24),
        dice.of(&["Medium", "Medium", "High", "System"]),
        Dice(child + 1).wide(),
        dice.below(60_000),
        image(parent),
        image(parent),
        child_image = image(child),
    );
}

fn image(nth: u64) -> String {
    const PROGRAMS: [&str; 12] = [
        "svchost",
        "explorer",
        "chrome",
        "outlook",
        "winword",
        "excel",
        "powershell",
        "cmd",
        "msedge",
        "teams",
        "onedrive",
        "agent",
    ];
    let program = PROGRAMS[(nth % 12) as usize];
    if nth < 12 {
        format!(r"C:\\Windows\\System32\\{program}.exe")
    } else {
        format!(r"C:\\Program Files\\Vendor {}\\{program}-{nth}.exe", nth % 90)
    }
}

/// One of 200,000 public addresses, few of them often; one address stands in 37 events.
fn outside(dice: &mut Dice, nth: u64) -> String {
    if nth % 54_054 == 17 {
        return "203.0.113.77".to_owned();
    }
    let word = Dice(dice.few(200_000)).next();
    format!("{}.{}.{}.{}", 23 + word % 170, (word >> 8) % 256, (word >> 16) % 256, 1 + (word >> 24) % 254)
}

fn clock(at_us: u64) -> String {
    let (day, second, us) = (at_us / 86_400_000_000, at_us / 1_000_000 % 86_400, at_us % 1_000_000);
    format!("2026-11-{:02}T{:02}:{:02}:{:02}.{us:06}Z", 16 + day, second / 3600, second / 60 % 60, second % 60)
}

const DAYS: u64 = 3;
const NEEDLE_AT: u64 = 4321;
const SYSMON: &str = "Microsoft-Windows-Sysmon/Operational";
const SYSMON_PROVIDER: &str = "Microsoft-Windows-Sysmon";
