//! `reeve doctor`: what is wrong with an installation, and what to do about it.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use reeve_ledger::VerifyOptions;
use serde::Serialize;

use crate::{
    client::health,
    exit::{Failure, UNUSABLE, UNVERIFIED, USAGE},
    output::{self, Format},
    serve::config::{self, Config},
};

/// Look at a data folder, a configuration, a running server
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve doctor --data /var/lib/reeve
  reeve doctor --config /etc/reeve.toml --server http://127.0.0.1:8420
  reeve doctor --data /var/lib/reeve --verify

A server may be running on the folder. Exit codes: 0 nothing is broken (warnings may be listed), 2 something is, 4 the record does not verify.")]
pub(crate) struct Args {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file; its data folder is looked at too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of a running server, as in http://127.0.0.1:8420
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Recompute the whole record too, as `reeve ledger verify` does
    #[arg(long)]
    verify: bool,
    /// How the checks are shown [default: table on a terminal, ndjson into a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Warning,
    Broken,
    /// The record is not what was sealed.
    Unverified,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    state: State,
    what: String,
    /// What to do; empty if nothing.
    hint: String,
}

/// What was seen so far.
#[derive(Default)]
struct Sheet(Vec<Check>);

impl Sheet {
    fn ok(&mut self, check: &'static str, what: impl Into<String>) {
        self.0.push(Check { check, state: State::Ok, what: what.into(), hint: String::new() });
    }

    fn warn(&mut self, check: &'static str, what: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Check { check, state: State::Warning, what: what.into(), hint: hint.into() });
    }

    fn broken(&mut self, check: &'static str, what: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Check { check, state: State::Broken, what: what.into(), hint: hint.into() });
    }
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let mut sheet = Sheet::default();
    let mut data = args.data.clone();
    if args.config.is_some() {
        match Config::load(config::Args { config: args.config.clone(), data: args.data.clone(), ..config::Args::default() }) {
            Ok(config) => {
                look_at_config(&config, &mut sheet);
                data = Some(config.data);
            }
            Err(failure) => {
                sheet.broken("configuration", failure.message, "mend the file; `reeve serve --help` shows what there is")
            }
        }
    }
    if data.is_none() && args.server.is_none() && sheet.0.is_empty() {
        return Err(Failure::new(USAGE, "nothing to look at: give --data DIR, --config FILE or --server URL"));
    }
    look_at_machine(&mut sheet);
    if let Some(data) = &data {
        look_at_folder(data, &mut sheet);
        if args.verify {
            look_at_record(data, &mut sheet);
        }
    }
    if let Some(server) = &args.server {
        look_at_server(server, &mut sheet);
    }
    show(&sheet, Format::or_default(args.format))?;
    match sheet.0.iter().map(|check| check.state).max() {
        Some(State::Unverified) => Err(Failure::new(UNVERIFIED, "the record does not verify: see above")),
        Some(State::Broken) => Err(Failure::new(UNUSABLE, "something is broken: see above")),
        _ => Ok(()),
    }
}

fn show(sheet: &Sheet, format: Format) -> Result<(), Failure> {
    if format == Format::Ndjson {
        return sheet.0.iter().try_for_each(output::json);
    }
    let name = |state| match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Broken => "BROKEN",
        State::Unverified => "UNVERIFIED",
    };
    let row = |check: &Check| vec![name(check.state).to_owned(), check.check.to_owned(), check.what.clone(), check.hint.clone()];
    output::table(&["state", "check", "found", "what to do"], sheet.0.iter().map(row))
}

fn look_at_config(config: &Config, sheet: &mut Sheet) {
    sheet.ok("configuration", "can be read");
    let open = |address: config::Address| address.socket().filter(|socket| !socket.ip().is_loopback());
    for (name, listener) in config.http.iter().chain(&config.streams) {
        if let Some(socket) = open(listener.address).filter(|_| !listener.knows_its_clients()) {
            let means = match *name {
                "forward" => "`shared_key_file` or `client_ca`",
                _ if config.streams.iter().any(|(stream, _)| stream == name) => "`client_ca`",
                _ => "`token_file` or `client_ca`",
            };
            sheet.warn(
                "listeners",
                format!("`{name}` takes events from anybody who reaches {socket}"),
                format!("set {means} under [{name}], or listen on 127.0.0.1"),
            );
        }
        let tls = listener.tls.as_ref().filter(|_| listener.address.socket().is_some());
        if let Some(Err(error)) = tls.map(reeve_source::Tls::load) {
            sheet.broken("listeners", format!("`{name}`: {error}"), "the server does not start until this file can be used");
        }
    }
    if let Some(socket) = open(config.console) {
        sheet.warn(
            "listeners",
            format!("the console listens on {socket} without TLS"),
            "put a TLS proxy in front and let the console listen on 127.0.0.1: browsers do not send its cookie over plain HTTP",
        );
    }
    for folder in &config.watch {
        if let Err(error) = fs::read_dir(folder) {
            sheet.broken(
                "watched folders",
                format!("`{}`: {error}", folder.display()),
                "make it readable for the server, or take it out",
            );
        }
    }
    let (rules, problems) = crate::rules::load(&config.rules);
    if rules.is_empty() {
        sheet.broken("rules", "no rule can be used", "`reeve scan --rules PATH` on any file names each with its reason");
    } else if problems.is_empty() {
        sheet.ok("rules", format!("{} rules", rules.len()));
    } else {
        let hint = "REEVE_LOG=reeve=debug lists each with its reason when the server starts";
        sheet.warn("rules", format!("{} rules; {} cannot be used", rules.len(), problems.len()), hint);
    }
    if config.ledger.policy.is_none() {
        sheet.warn(
            "witnesses",
            "no witness cosigns: somebody with root and the stable key could put the whole record back to an earlier state",
            "name witnesses in a policy file under [ledger], or keep checkpoints elsewhere (`reeve ledger checkpoint`)",
        );
    }
}

fn look_at_machine(sheet: &mut Sheet) {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match files {
        Some(files) if files < OPEN_FILES_MIN => sheet.warn(
            "open files",
            format!("this process may open {files} files"),
            format!("`ulimit -n {OPEN_FILES_MIN}` or LimitNOFILE= in the unit: each connection takes one"),
        ),
        _ => sheet.ok("open files", files.map_or("no limit".to_owned(), |files| format!("{files}"))),
    }
    // A machine that starts with a dead clock battery says it is 1970 or the day its kernel was built.
    let now = Timestamp::now();
    if now.as_second() < YEAR_2026 {
        sheet.broken("clock", format!("the clock says {now}"), "set it and start NTP: times of receipt are evidence");
    } else {
        sheet.ok("clock", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
}

fn look_at_folder(data: &Path, sheet: &mut Sheet) {
    if !data.join("ledger").is_dir() {
        let hint = "`reeve serve --data DIR` makes one";
        return sheet.broken("data folder", format!("`{}` is no data folder", data.display()), hint);
    }
    sheet.ok("data folder", data.display().to_string());
    look_at_disk(data, sheet);
    look_at_modes(data, sheet);
    let running = holder(data);
    match &running {
        Some(process) => sheet.ok("server", format!("process {process} has the folder")),
        None => sheet.ok("server", "none has the folder"),
    }
    if data.join("first-account").exists() {
        let hint = "sign in with it, change nothing else, then delete the file";
        sheet.warn("first account", "its password still lies in `first-account`", hint);
    }
    for (name, folder) in [("record", data.join("ledger")), ("audit log", data.join("audit"))] {
        look_at_log(name, &folder, running.is_some(), sheet);
    }
}

fn look_at_disk(data: &Path, sheet: &mut Sheet) {
    match rustix::fs::statvfs(data) {
        Err(error) => sheet.broken("disk", format!("`{}`: {error}", data.display()), "see that the disk is there"),
        Ok(disk) => {
            let (size, free) = (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize);
            let found = format!("{} MiB free of {}", free >> 20, size >> 20);
            match free * 100 / size.max(1) {
                0..=2 => sheet.broken("disk", found, "make room: below its reserve the server takes nothing more"),
                3..=9 => sheet.warn("disk", found, "make room, or plan retention, before it fills"),
                _ => sheet.ok("disk", found),
            }
        }
    }
    if let Ok(kind) = rustix::fs::statfs(data).map(|kind| kind.f_type) {
        match kind {
            TMPFS => sheet.broken(
                "disk",
                "the data folder is in memory (tmpfs)",
                "move it to a disk: a restart of the machine would end it all",
            ),
            NFS | CIFS | FUSE => sheet.warn(
                "disk",
                "the data folder is on a network or user-space file system",
                "a local ext4 or XFS keeps what it says it kept; others may not, and are not tested",
            ),
            _ => {}
        }
    }
}

/// What others on this machine may read or write.
fn look_at_modes(data: &Path, sheet: &mut Sheet) {
    let mode = |path: &Path| fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777);
    if mode(data).is_ok_and(|mode| mode & 0o027 != 0) {
        let hint = format!("chmod 750 {0} && chmod o= {0}", data.display());
        sheet.warn("permissions", "others on this machine may read or write the data folder", hint);
    }
    let keys =
        ["ledger/keys", "audit/keys"].iter().flat_map(|keys| fs::read_dir(data.join(keys)).into_iter().flatten().flatten());
    for key in keys.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "key")) {
        if mode(&key).is_ok_and(|mode| mode & 0o077 != 0) {
            let hint = format!("chmod 600 {}; if others could sign in here, begin a new log", key.display());
            sheet.broken("permissions", format!("others may read the signing key `{}`", key.display()), hint);
        }
    }
    let owner = |path: &Path| fs::metadata(path).map(|meta| meta.uid()).ok();
    if owner(data) != owner(&data.join("ledger")) {
        sheet.warn("permissions", "parts of the data folder belong to different users", "chown -R them to the server's user");
    }
}

/// The process that has the folder.
fn holder(data: &Path) -> Option<String> {
    let mut file = File::open(data.join("reeve.lock")).ok()?;
    let mut process = String::new();
    file.read_to_string(&mut process).ok()?;
    // A shared lock is refused only while the server holds its own.
    matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)).then(|| process.trim().to_owned())
}

fn look_at_log(name: &'static str, folder: &Path, running: bool, sheet: &mut Sheet) {
    let waiting = fs::read_dir(folder.join("wal"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|end| end == "wal"))
        .count();
    if waiting > WAITING_MAX {
        let hint = "the server's log says why sealing fails; events are taken until 8 segments wait";
        sheet.warn(name, format!("{waiting} segments wait to be sealed"), hint);
    }
    let checkpoint = match fs::read_to_string(folder.join("log/checkpoint")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return sheet.ok(name, "has no checkpoint yet"),
        Err(error) => {
            return sheet.broken(
                name,
                format!("its checkpoint cannot be read: {error}"),
                "look at the disk; then `reeve ledger verify`",
            );
        }
        Ok(text) => text,
    };
    let signed = checkpoint.lines().find_map(|line| line.strip_prefix("time ")).and_then(|at| at.parse::<Timestamp>().ok());
    let Some(signed) = signed else {
        return sheet.broken(
            name,
            "its checkpoint is damaged",
            "`reeve ledger verify` says what is damaged; restore from a backup",
        );
    };
    let age = Timestamp::now().as_second() - signed.as_second();
    if age < -5 {
        sheet.broken(
            name,
            format!("its last checkpoint is {} s in the future", -age),
            "the clock went back: set it before the server goes on",
        );
    } else if running && age > 180 {
        sheet.broken(
            name,
            format!("its last checkpoint is {age} s old; one is signed each minute"),
            "the server's log says why nothing is signed",
        );
    } else {
        sheet.ok(name, format!("last checkpoint {signed}, {age} s old"));
    }
}

fn look_at_record(data: &Path, sheet: &mut Sheet) {
    for (name, folder) in [("record", "ledger"), ("audit log", "audit")] {
        match reeve_ledger::verify(&data.join(folder), &VerifyOptions::default(), &mut |_| ()) {
            Err(error) => sheet.broken(name, error.to_string(), "see that the folder can be read"),
            Ok(report) if report.damage().next().is_none() => {
                sheet.ok(name, format!("{} records in {} segments recomputed", report.records, report.segments))
            }
            Ok(report) => sheet.0.push(Check {
                check: name,
                state: State::Unverified,
                what: format!("{} faults", report.damage().count()),
                hint: "`reeve ledger verify` names each with the records it hits".to_owned(),
            }),
        }
    }
}

fn look_at_server(server: &str, sheet: &mut Sheet) {
    let health = match health(server) {
        Ok(health) => health,
        Err(failure) => return sheet.broken("server", failure.message, "see that it runs and the address is its console's"),
    };
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    sheet.ok("server", format!("{} answers, version {}: {}", server, text(&health["version"]), text(&health["status"])));
    for problem in health["problems"].as_array().into_iter().flatten() {
        let (what, hint) = (text(&problem["what"]), text(&problem["hint"]));
        if problem["state"] == "failing" { sheet.broken("server", what, hint) } else { sheet.warn("server", what, hint) }
    }
}

const OPEN_FILES_MIN: u64 = 4096;
/// 2026-01-01, in seconds.
const YEAR_2026: i64 = 1_767_225_600;
/// Segments waiting to be sealed that are nothing to speak of.
const WAITING_MAX: usize = 3;
// File system magic numbers, statfs(2).
const TMPFS: i64 = 0x0102_1994;
const NFS: i64 = 0x6969;
const CIFS: i64 = 0xff53_4d42;
const FUSE: i64 = 0x6573_5546;
