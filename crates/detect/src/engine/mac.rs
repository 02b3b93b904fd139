//! What agents on endpoints tell of programs and files, under the names that rules use: Endpoint Security, Santa and Elastic's agent.

use std::borrow::Cow;

use reeve_decode::{Parsed, Value};

/// The kind of a message of Endpoint Security, by the one object in its `event`.
pub(crate) fn endpoint_security(parsed: &Parsed<'_>) -> &'static str {
    match kind(parsed) {
        "exec" => "macos.process",
        "create" | "write" | "clone" | "copyfile" | "link" | "truncate" | "exchangedata" => "macos.file",
        "close" if parsed.native.path("event.close.modified").is_some_and(is_true) => "macos.file",
        "rename" => "macos.file_rename",
        "unlink" => "macos.file_delete",
        "mmap" => "macos.library",
        _ => "macos.endpoint",
    }
}

/// The kind of a line of Santa's.
pub(crate) fn santa(parsed: &Parsed<'_>) -> &'static str {
    match parsed.native.get("action").and_then(Value::as_str).unwrap_or_default() {
        "EXEC" => "macos.process",
        "WRITE" | "LINK" | "CLONE" | "COPYFILE" | "EXCHANGE" => "macos.file",
        "RENAME" => "macos.file_rename",
        "DELETE" => "macos.file_delete",
        _ => "macos.endpoint",
    }
}

/// The kind of an event of Elastic's agent, on each of its three systems.
pub(crate) fn elastic(parsed: &Parsed<'_>) -> &'static str {
    let text = |path: &str| parsed.native.path(path).and_then(Value::as_str).unwrap_or_default();
    let system = [text("host.os.type"), text("host.os.family"), text("host.os.platform")];
    let kinds = match system.into_iter().find(|name| !name.is_empty()).unwrap_or_default() {
        "macos" | "darwin" => &MACOS,
        "linux" | "debian" | "redhat" | "suse" | "ubuntu" => &LINUX,
        _ => &WINDOWS,
    };
    let action = text("event.action");
    let dataset = Some(text("event.dataset")).filter(|name| !name.is_empty()).unwrap_or_else(|| text("data_stream.dataset"));
    let at = match dataset.rsplit('.').next().unwrap_or_default() {
        "process" if matches!(action, "exec" | "start" | "already_running") => 0,
        "file" => match action {
            "deletion" => 2,
            "rename" => 3,
            "open" | "access" => 7,
            _ => 1,
        },
        "network" if action.starts_with("lookup_") => 5,
        "network" => 4,
        "library" => 6,
        _ => 7,
    };
    kinds[at]
}

type Kinds = [&'static str; 8];
const MACOS: Kinds = [
    "macos.process",
    "macos.file",
    "macos.file_delete",
    "macos.file_rename",
    "macos.network",
    "macos.dns",
    "macos.library",
    "macos.endpoint",
];
const LINUX: Kinds = [
    "linux.process",
    "linux.file",
    "linux.file_delete",
    "linux.file_rename",
    "linux.network",
    "linux.dns",
    "linux.library",
    "linux.endpoint",
];
const WINDOWS: Kinds = [
    "windows.process",
    "windows.file",
    "windows.file_delete",
    "windows.file_rename",
    "windows.network",
    "windows.dns",
    "windows.library",
    "windows.endpoint",
];

/// Calls `put` with each field that stands nowhere under a name of its own.
pub(crate) fn fields(parsed: &Parsed<'_>, put: &mut dyn FnMut(&str, &str)) {
    match parsed.decoder {
        "macos.es" => security_fields(parsed, put),
        "santa" => santa_fields(parsed, put),
        _ => {
            // Its arguments, where it did not write them as one line.
            for (name, process) in [("CommandLine", "process"), ("ParentCommandLine", "process.parent")] {
                let list = parsed.native.path(&format!("{process}.args"));
                if let Some(list) = list.filter(|_| parsed.native.path(&format!("{process}.command_line")).is_none()) {
                    put(name, &joined(list));
                }
            }
        }
    }
}

fn security_fields(parsed: &Parsed<'_>, put: &mut dyn FnMut(&str, &str)) {
    let text = |path: &str| parsed.native.path(path).and_then(Value::text);
    let kind = kind(parsed);
    if kind == "exec" {
        let pairs = [
            ("Image", text("event.exec.target.executable.path")),
            ("CurrentDirectory", text("event.exec.cwd.path")),
            ("ProcessId", pid(parsed, "event.exec.target")),
            // The program that the process ran before is the one that asked for this one.
            ("ParentImage", text("process.executable.path")),
            ("ParentProcessId", text("process.ppid")),
        ];
        pairs.iter().for_each(|(name, value)| value.iter().for_each(|value| put(name, value)));
        if let Some(list) = parsed.native.path("event.exec.args") {
            put("CommandLine", &joined(list));
        }
        return;
    }
    let own = [("Image", text("process.executable.path")), ("ProcessId", pid(parsed, "process"))];
    own.iter().for_each(|(name, value)| value.iter().for_each(|value| put(name, value)));
    if let Some(path) = text("event.rename.source.path") {
        put("SourceFilename", &path);
    }
    match kind {
        "mmap" => text("event.mmap.source.path").iter().for_each(|path| put("ImageLoaded", path)),
        _ => target(parsed, kind).iter().for_each(|path| put("TargetFilename", path)),
    }
}

/// The file that a message is about: what is there, or a name in a folder.
fn target(parsed: &Parsed<'_>, kind: &str) -> Option<String> {
    let text = |tail: &str| parsed.native.path(&format!("event.{kind}.{tail}")).and_then(Value::text).map(Cow::into_owned);
    let within = |folder: &str, name: &str| Some(format!("{}/{}", text(folder)?.trim_end_matches('/'), text(name)?));
    text("destination.existing_file.path")
        .or_else(|| within("destination.new_path.dir.path", "destination.new_path.filename"))
        .or_else(|| within("target_dir.path", "target_filename"))
        .or_else(|| within("target_dir.path", "target_name"))
        .or_else(|| text("target.path"))
}

fn santa_fields(parsed: &Parsed<'_>, put: &mut dyn FnMut(&str, &str)) {
    let text = |name: &str| parsed.native.get(name).and_then(Value::as_str);
    let names: &[(&str, &str)] = if text("action") == Some("EXEC") {
        &[("Image", "path"), ("CommandLine", "args"), ("ProcessId", "pid"), ("ParentProcessId", "ppid"), ("User", "user")]
    } else {
        // What was renamed or linked is found under its new name.
        &[
            ("TargetFilename", "newpath"),
            ("TargetFilename", "path"),
            ("SourceFilename", "path"),
            ("Image", "processpath"),
            ("ProcessId", "pid"),
            ("User", "user"),
        ]
    };
    names.iter().filter_map(|(name, own)| Some((*name, text(own)?))).for_each(|(name, value)| put(name, value));
}

fn kind<'p>(parsed: &'p Parsed<'_>) -> &'p str {
    let event = parsed.native.get("event").and_then(Value::as_map);
    event.and_then(|event| event.iter().next()).map_or("", |(name, _)| name)
}

/// A process's number in its audit token, an object or, since macOS 26, a list.
fn pid<'p>(parsed: &'p Parsed<'_>, process: &str) -> Option<Cow<'p, str>> {
    match parsed.native.path(&format!("{process}.audit_token"))? {
        Value::List(parts) => parts.get(5)?.text(),
        token => token.path("pid")?.text(),
    }
}

fn joined(list: &Value<'_>) -> String {
    match list {
        Value::List(items) => items.iter().filter_map(Value::text).collect::<Vec<_>>().join(" "),
        one => one.text().unwrap_or_default().into_owned(),
    }
}

fn is_true(value: &Value<'_>) -> bool {
    matches!(value, Value::Bool(true))
}
