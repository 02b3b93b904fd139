//! The workspace's test programs, several at a time: many of them wait for a disk, a server or a clock, and `cargo test` runs one after another.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Mutex,
    time::Instant,
};

use serde_json::Value;

use crate::run::{Done, cargo, output, root, target_dir};

/// A test program that cargo built.
struct TestProgram {
    /// The crate's folder, which it runs in.
    folder: PathBuf,
    executable: PathBuf,
}

impl TestProgram {
    fn of(artifact: &Value) -> Option<Self> {
        let is_test = artifact["profile"]["test"] == true && artifact["reason"] == "compiler-artifact";
        let (executable, manifest) = (artifact["executable"].as_str()?, artifact["manifest_path"].as_str()?);
        is_test.then_some(Self { folder: Path::new(manifest).parent()?.into(), executable: executable.into() })
    }

    /// As in `crates/lake compaction`.
    fn name(&self) -> String {
        let stem = self.executable.file_stem().unwrap_or_default().to_string_lossy();
        let name = stem.rsplit_once('-').map_or(&*stem, |(name, _)| name);
        format!("{} {name}", self.folder.strip_prefix(root()).unwrap_or(&self.folder).display())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// Builds the workspace and its tests, and says what it built.
pub fn build() -> Done<Tests> {
    eprintln!("==> build the workspace and its tests");
    let started = Instant::now();
    let words = ["test", "--workspace", "--locked", "--no-run", "--quiet", "--message-format", "json-render-diagnostics"];
    let told = output(&mut cargo(&words))?;
    let artifacts = told.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let mut programs: Vec<TestProgram> = artifacts.filter_map(|artifact: Value| TestProgram::of(&artifact)).collect();
    // Those of the crates that need most others take longest: begun first, they leave short ones for the end.
    programs.sort_by_cached_key(|program| std::cmp::Reverse(program.executable.metadata().map_or(0, |file| file.len())));
    eprintln!("    build the workspace and its tests: {:.1} s", started.elapsed().as_secs_f64());
    if programs.is_empty() {
        return Err("cargo names no test program".into());
    }
    Ok(Tests(programs))
}

/// What [`build`] built.
pub struct Tests(Vec<TestProgram>);

impl Tests {
    /// Runs all of them with these variables, and the examples in the documentation; the output of each comes when it ends.
    ///
    /// # Errors
    /// Names those that failed; all were run.
    pub fn run(&self, variables: &[(&str, PathBuf)]) -> Done {
        eprintln!("==> workspace tests: {} programs, {LANES} at a time", self.0.len());
        let started = Instant::now();
        let examples =
            ("examples in the documentation".to_owned(), cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"]));
        let mut waiting: Vec<_> = self.0.iter().map(|program| (program.name(), program.command())).collect();
        waiting.push(examples);
        waiting.reverse();
        let (waiting, failed) = (Mutex::new(waiting), Mutex::new(Vec::new()));
        let next = || waiting.lock().ok()?.pop();
        let lane = || {
            while let Some((name, mut command)) = next() {
                command.envs(variables.iter().map(|(name, value)| (name, value))).env("CARGO_TARGET_DIR", target_dir());
                let told = tell(&name, &mut command);
                if let (Err(why), Ok(mut failed)) = (told, failed.lock()) {
                    failed.push(why);
                }
            }
        };
        std::thread::scope(|scope| (0..LANES).for_each(|_| _ = scope.spawn(lane)));
        eprintln!("    workspace tests: {:.1} s", started.elapsed().as_secs_f64());
        let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if failed.is_empty() { Ok(()) } else { Err(format!("tests failed: {}", failed.join("; "))) }
    }
}

/// Runs one program, then shows what it wrote.
fn tell(name: &str, command: &mut Command) -> Done {
    let started = Instant::now();
    let ended = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: cannot start {command:?}: {error}"))?;
    let Output { status, stdout, stderr } = &ended;
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(bytes));
    // One write, so that two that end at once do not mix.
    eprintln!("     Running {name}: {:.1} s\n{stdout}{stderr}", started.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(format!("{name} ended with {status}")) }
}

/// More would only make each slower on two processors, and tests that look at the clock fail.
const LANES: usize = 2;
