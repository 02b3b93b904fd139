//! Child processes, with the time they took.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

/// What an xtask command answers; the text is for a person.
pub type Done<T = ()> = Result<T, String>;

/// The workspace's root folder.
pub fn root() -> PathBuf {
    // `cargo run` says where this very clone is; a program built in another clone that shares the target folder would not know.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().unwrap_or(&here).to_path_buf()
}

/// Where cargo builds: `CARGO_TARGET_DIR`, else `target` in the workspace.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The built `reeve`.
pub fn reeve(profile: &str) -> PathBuf {
    target_dir().join(profile).join("reeve")
}

/// `cargo` with these words, in the root.
pub fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(root());
    command
}

/// Any program with these words, in the root.
pub fn program(name: impl AsRef<std::ffi::OsStr>, words: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(words).current_dir(root());
    command
}

/// Runs a step to its end, saying what it is and how long it took.
pub fn step(what: &str, command: &mut Command) -> Done {
    eprintln!("==> {what}");
    let started = Instant::now();
    let status = command.stdin(Stdio::null()).status().map_err(|error| format!("{what}: cannot start {command:?}: {error}"))?;
    eprintln!("    {what}: {:.1} s", started.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(format!("{what}: {command:?} ended with {status}")) }
}

/// Runs a command and gives its standard output; its standard error goes through.
pub fn output(command: &mut Command) -> Done<Vec<u8>> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{command:?} ended with {}", output.status)) }
}
