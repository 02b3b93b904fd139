//! `reeve backup` and `reeve restore`: the record and the audit log as they are, accounts and alert queue as one moment had them.
//!
//! The lake is left out: it is read again from the record. So are the keys of the hour, which must never be in two places; a restored record therefore
//! goes on by the hands of two people only (`reeve ledger fork`).

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use reeve_ledger::{Report, VerifierKey, VerifyOptions, verify};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use serde_json::json;
use walkdir::WalkDir;

use crate::{
    asked::{self, Act},
    exit::{Failure, UNUSABLE, UNVERIFIED, USAGE},
    folder::Folder,
    ledger_cmd::read_key,
    output,
};

/// Copy a data folder
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve backup --data /var/lib/reeve --to /backup/reeve
  reeve backup --data /var/lib/reeve --to /backup/reeve --without-key

A server may be running on the folder. Given the same --to again, only what is new is copied. What is copied is verified before the command ends.
The audit log tells who made it and where. The lake is not copied: a restored server reads the record again. Keys of the hour are never copied; the stable key is, unless --without-key.")]
pub(crate) struct Args {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where the backup is, or is made
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Leave the stable signing key out; keep it elsewhere, restoring needs it
    #[arg(long)]
    without_key: bool,
}

/// Make a data folder out of a backup
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  reeve restore /backup/reeve --data /var/lib/reeve --key reeve.vkey
  reeve restore /backup/reeve --data /tmp/look && reeve search '*' --data /tmp/look

The backup is verified first. Then, so that the record can be signed again, two people let it go on: `reeve ledger fork --help`.")]
pub(crate) struct RestoreArgs {
    /// The backup
    backup: PathBuf,
    /// Data folder to make; must not be there yet, or be empty
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// File with the record's public key (vkey) kept from before; without it the backup's own is trusted
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// `backup.json`: what the backup holds. Removed while one is being made.
#[derive(Serialize, Deserialize, Debug)]
struct Note {
    format: u32,
    made_at: Timestamp,
    version: String,
    record: LogNote,
    audit: LogNote,
}

#[derive(Serialize, Deserialize, Debug)]
struct LogNote {
    /// Entries under the checkpoint.
    size: u64,
    segments: u32,
    records: u64,
    /// Durable records that were not sealed yet.
    open_records: u64,
}

impl LogNote {
    fn of(report: &Report) -> Self {
        Self { size: report.log_size, segments: report.segments, records: report.records, open_records: report.open_records }
    }
}

/// Runs `reeve backup`.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if !args.data.join("ledger").is_dir() || !args.data.join("audit").is_dir() {
        return Err(Failure::new(USAGE, format!("`{}` is no data folder", args.data.display())));
    }
    if args.to.exists() && !args.to.join("backup.json").exists() && !args.to.join("unfinished").exists() && !is_empty(&args.to) {
        return Err(Failure::new(
            USAGE,
            format!("`{}` holds something else: name an empty folder or an earlier backup", args.to.display()),
        ));
    }
    // Whoever makes a copy can read what is in it: that is in the audit log before the copy is, and so in the copy, too.
    asked::record(&args.data, Act::Backup, json!({ "to": std::path::absolute(&args.to).unwrap_or_else(|_| args.to.clone()) }))?;
    fs::create_dir_all(&args.to).map_err(failed("make", &args.to))?;
    close_to_others(&args.to)?;
    fs::write(args.to.join("unfinished"), "").map_err(failed("write into", &args.to))?;
    remove(&args.to.join("backup.json"))?;
    let mut copied = Copied::default();
    let mut reports = Vec::new();
    for name in ["ledger", "audit"] {
        reports.push(copy_log(&args.data.join(name), &args.to.join(name), args.without_key, &mut copied)?);
    }
    for name in ["access.sqlite", "case.sqlite"] {
        copy_database(&args.data.join(name), &args.to.join(name))?;
    }
    for path in list(&args.data, 1)?.into_iter().filter(|path| is_note(path)) {
        copied.take(&args.data, &args.to, &path)?;
    }
    let [record, audit] = &reports[..] else { return Err(Failure::new(UNUSABLE, "the logs were not copied")) };
    let note = Note {
        format: 1,
        made_at: Timestamp::now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        record: LogNote::of(record),
        audit: LogNote::of(audit),
    };
    let text = serde_json::to_string_pretty(&note).map_err(|error| Failure::new(UNUSABLE, error))?;
    sync(&args.to)?;
    fs::write(args.to.join("backup.json"), text + "\n").map_err(failed("write into", &args.to))?;
    remove(&args.to.join("unfinished"))?;
    sync(&args.to)?;
    output::json(&json!({ "backup": args.to, "made_at": note.made_at, "copied_files": copied.files, "copied_bytes": copied.bytes,
        "unchanged_files": copied.unchanged, "record": note.record, "audit": note.audit }))
}

/// Runs `reeve restore`.
pub(crate) fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let path = args.backup.join("backup.json");
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::new(USAGE, format!("`{}` is no finished backup: `{}`: {error}", args.backup.display(), path.display()))
    })?;
    let note: Note =
        serde_json::from_str(&text).map_err(|error| Failure::new(UNUSABLE, format!("`{}`: {error}", path.display())))?;
    if note.format != 1 {
        return Err(Failure::new(
            UNUSABLE,
            format!("`{}` has format {}, which this version does not know", path.display(), note.format),
        ));
    }
    if args.data.exists() && !is_empty(&args.data) {
        return Err(Failure::new(
            USAGE,
            format!("`{}` is not empty: a backup is restored into a new folder", args.data.display()),
        ));
    }
    let key = args.key.as_deref().map(read_key).transpose()?;
    intact(&args.backup.join("ledger"), key)?;
    intact(&args.backup.join("audit"), None)?;
    fs::create_dir_all(&args.data).map_err(failed("make", &args.data))?;
    close_to_others(&args.data)?;
    let mut copied = Copied::default();
    for path in list(&args.backup, usize::MAX)?.into_iter().filter(|path| path != Path::new("backup.json")) {
        copied.take(&args.backup, &args.data, &path)?;
    }
    sync(&args.data)?;
    let folder = Folder::existing(&args.data)?;
    folder.access.session("restore", &Folder::person().name).map_err(|error| Failure::new(UNUSABLE, error))?;
    let status = folder.ledger.status();
    output::json(
        &json!({ "restored": args.data, "backup_made_at": note.made_at, "records": status.sealed_records + status.open_records,
        "lost_records": status.recovery.lost, "next": NEXT }),
    )
}

const NEXT: &str = "what was received after the backup is not here; two people let the record go on with `reeve ledger fork`, then `reeve serve` reads it anew";

/// Copies one ledger and verifies the copy. Write-ahead files first, then the checkpoint, then the rest: whatever is sealed meanwhile is then in one or the
/// other, and nothing that was durable at the start is missing.
fn copy_log(from: &Path, to: &Path, without_key: bool, copied: &mut Copied) -> Result<Report, Failure> {
    fs::create_dir_all(to.join("wal")).map_err(failed("make", to))?;
    let waiting: BTreeSet<PathBuf> = list(&from.join("wal"), 1)?.into_iter().collect();
    for old in list(&to.join("wal"), 1)? {
        remove(&to.join("wal").join(old))?;
    }
    for path in waiting {
        copied.take(from, to, &Path::new("wal").join(path))?;
    }
    copied.take(from, to, Path::new("log/checkpoint"))?;
    // Partial tiles vanish when the full one takes their place: then look again.
    for _ in 0..PASSES {
        let mut vanished = false;
        for path in list(from, usize::MAX)?.into_iter().filter(|path| is_kept(path, without_key)) {
            vanished |= !copied.take(from, to, &path)?;
        }
        if !vanished {
            break;
        }
    }
    let report = look(to, None)?;
    // Segments that were written after the checkpoint was: their write-ahead files may be there or not; both are fine without them.
    for path in list(&to.join("segments"), 1)? {
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u32>().ok());
        if number.is_some_and(|number| number >= report.segments) {
            remove(&to.join("segments").join(path))?;
        }
    }
    intact(to, None)
}

/// What belongs into a backup besides write-ahead files and checkpoint, which are copied before.
fn is_kept(path: &Path, without_key: bool) -> bool {
    let text = path.to_string_lossy();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let dropped = text.starts_with("wal/")
        || text == "log/checkpoint"
        || text.starts_with("keys/epoch-")
        || (without_key && name == "checkpoint.key")
        || name.ends_with(".tmp")
        || matches!(name.as_str(), "lock" | "reserve");
    !dropped
}

/// How far watched folders were read, where the stable key is if it is not here, and the registered sources.
fn is_note(path: &Path) -> bool {
    path.to_str().is_some_and(|name| {
        name == "pkcs11.json" || name == "sources.json" || (name.starts_with("watch-") && name.ends_with(".json"))
    })
}

/// A database as one moment had it, whoever writes to it.
fn copy_database(from: &Path, to: &Path) -> Result<(), Failure> {
    if !from.exists() {
        return Ok(());
    }
    remove(to)?;
    let broken = |error: rusqlite::Error| Failure::new(UNUSABLE, format!("cannot copy `{}`: {error}", from.display()));
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(broken)?;
    source.busy_timeout(std::time::Duration::from_secs(10)).map_err(broken)?;
    source.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map_err(broken)?;
    Ok(())
}

fn look(dir: &Path, key: Option<VerifierKey>) -> Result<Report, Failure> {
    verify(dir, &VerifyOptions { key, ..VerifyOptions::default() }, &mut |_| ())
        .map_err(|error| Failure::new(UNUSABLE, format!("`{}`: {error}", dir.display())))
}

fn intact(dir: &Path, key: Option<VerifierKey>) -> Result<Report, Failure> {
    let report = look(dir, key)?;
    let first = report.damage().next().cloned();
    match first {
        None => Ok(report),
        Some(fault) => {
            let (dir, faults) = (dir.display(), report.damage().count());
            Err(Failure::new(
                UNVERIFIED,
                format!("`{dir}` does not verify, {faults} faults, the first: {} ({})", fault.what, fault.place),
            ))
        }
    }
}

/// What was done.
#[derive(Default)]
struct Copied {
    files: u64,
    bytes: u64,
    unchanged: u64,
}

impl Copied {
    /// Copies a file; one that never changes once it is there is left alone. False if it vanished meanwhile.
    fn take(&mut self, from: &Path, to: &Path, path: &Path) -> Result<bool, Failure> {
        let (from, to) = (from.join(path), to.join(path));
        let Ok(meta) = fs::metadata(&from) else { return Ok(false) };
        if is_final(path) && fs::metadata(&to).is_ok_and(|there| there.len() == meta.len()) {
            self.unchanged += 1;
            return Ok(true);
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(failed("make", folder))?;
        }
        // Under another name first, so that a copy cut short never looks like the file.
        let part = to.with_extension("copying");
        match fs::copy(&from, &part) {
            Ok(bytes) => (self.files, self.bytes) = (self.files + 1, self.bytes + bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("copy", &from)(error)),
        }
        fs::rename(&part, &to).map_err(failed("put in place", &to))?;
        Ok(true)
    }
}

/// Sealed segments, their maps and full tiles never change.
fn is_final(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.starts_with("segments/") || (text.starts_with("log/tile/") && !text.contains(".p/"))
}

/// Files below `dir`, relative to it; empty if it is not there.
fn list(dir: &Path, depth: usize) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in WalkDir::new(dir).max_depth(depth).sort_by_file_name() {
        match entry {
            Ok(entry) if entry.file_type().is_file() => {
                files.extend(entry.path().strip_prefix(dir).ok().map(Path::to_owned));
            }
            Ok(_) => {}
            Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => {}
            Err(error) => return Err(Failure::new(UNUSABLE, error)),
        }
    }
    Ok(files)
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

fn close_to_others(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed("close to others", dir))
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn sync(dir: &Path) -> Result<(), Failure> {
    let folder = fs::File::open(dir).map_err(failed("open", dir))?;
    rustix::fs::syncfs(&folder).map_err(|error| failed("make durable", dir)(error.into()))
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let place = format!("cannot {what} `{}`", path.display());
    move |error| Failure::new(UNUSABLE, format!("{place}: {error}"))
}

/// Looks at a folder whose files come and go.
const PASSES: usize = 8;
